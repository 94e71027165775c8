/* A plain CSV file becomes a dataset: what is refused, how columns are told, how it is cut, and that nothing
 * is lost. */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "core/crypto/crypto.h"
#include "runner/cli/stage.h"
#include "tests/policy_sample.h"
#include "tests/test.h"

#include <ftw.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

/* ---- a folder below build/, and a store in memory ---- */

struct scene {
    char folder[64];
    char file[128];
    struct store *store;
};

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st, (void)kind, (void)where;
    return remove(path);
}

static int scene_open(void **state)
{
    static const struct store_place place = { .kind = STORE_MEM, .bucket = "data", .region = "eu" };
    struct scene *s = mem_new(sizeof(*s));
    struct err e = ERR_INIT;
    snprintf(s->folder, sizeof(s->folder), "build/test-stage-XXXXXX");
    if (dir_make("build", 0755, &e) || !mkdtemp(s->folder) || store_open(&place, NULL, &s->store, &e))
        return -1;
    snprintf(s->file, sizeof(s->file), "%s/Some Data.csv", s->folder);
    *state = s;
    return 0;
}

static int scene_close(void **state)
{
    struct scene *s = *state;
    store_close(s->store);
    nftw(s->folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    free(s);
    return 0;
}

static void put_file(const struct scene *s, const void *text, size_t n)
{
    struct err e = ERR_INIT;
    assert_ok(file_write(s->file, text, n, 0600, &e));
}

static enum err_code look(const char *path, const struct stage_options *o, struct stage_facts *out,
                          struct err *e)
{
    CLEANUP(source_closep) struct source *source = NULL;
    if (source_open(path, "build", 0, &source, e))
        return e->code;
    return stage_survey(source, o, out, e);
}

/* A handle of its own, as every thread has, on the one store in memory: so one thread at a time. */
static enum err_code open_scene_store(void *context, struct store **out, struct err *e)
{
    (void)e;
    *out = store_fault_new(context);
    return OK;
}

static struct stage_target target_in(struct store *store)
{
    return (struct stage_target){
        .open = open_scene_store, .context = store, .bucket = "data", .prefix = "set/v1"
    };
}

static enum err_code send(const struct scene *s, struct store *store, const struct stage_facts *facts,
                          const struct stage_options *o, struct stage_result *r, struct err *e)
{
    CLEANUP(source_closep) struct source *source = NULL;
    struct stage_target target = target_in(store);
    struct stage_options one = *o;
    one.parallel = 1;
    if (source_open(s->file, "build", 0, &source, e))
        return e->code;
    return stage_send(source, facts, &target, &one, r, e);
}

/* ---- what is refused ---- */

static const struct refused_row {
    const char *name, *text;
    size_t n;         /* 0: strlen(text) */
    const char *want; /* behind the path */
} refused_rows[] = {
    { "a file without a byte", "", 0, "' is empty" },
    { "a header without records", "a,b\n", 0, "' has no records behind its header" },
    { "a record with a field too few", "a,b\n1,2\n3\n", 0, ":3: 1 fields where the header has 2" },
    { "a record with a field too many", "a,b\n1,2,3\n", 0, ":2: 3 fields where the header has 2" },
    { "an empty line", "a,b\n1,2\n\n3,4\n", 0, ":3: an empty line; remove it" },
    { "an empty line at the end", "a,b\n1,2\n\n", 0, ":3: an empty line; remove it" },
    { "a column without a name", "a,,c\n1,2,3\n", 0,
      ":1: column 2 has no name; the first line must name every column" },
    { "a column that is named twice", "a,b,a\n1,2,3\n", 0, ":1: columns 1 and 3 are both named 'a'" },
    { "a name with a control character", "a,\"b\nc\"\n1,2\n", 0,
      ":1: column 2 has a control character in its name" },
    { "a quote that is not closed", "a,b\n1,\"2\n3,4\n", 0, ":2: field 2: its quote is not closed" },
    { "a quote inside a field", "a,b\n1,2\"x\n", 0,
      ":2: field 2: holds a quote, so it must be quoted itself and the quote doubled" },
    { "a NUL byte", "a,b\n1,\0\n", 8, ":2: field 2: holds a NUL byte" },
    { "a byte that is no UTF-8", "a,b\n1,2\nx,\xe9\n", 0,
      ":3: not UTF-8; convert the file first (iconv -t UTF-8)" },
    { "lines are counted inside quotes too", "a,b\n\"1\n1\n1\",2\n3\n", 0,
      ":5: 1 fields where the header has 2" },
};

/* One test, as each row needs the folder; a failure names its row. */
static void malformed_files_are_refused(void **state)
{
    const struct scene *s = *state;
    struct stage_options o = { .shards = 2 };
    CLEANUP(stage_facts_done) struct stage_facts facts = { .columns = NULL };
    for (size_t i = 0; i < ARRAY_LEN(refused_rows); i++) {
        const struct refused_row *row = &refused_rows[i];
        struct err e = ERR_INIT;
        put_file(s, row->text, row->n ? row->n : strlen(row->text));
        enum err_code code = look(s->file, &o, &facts, &e);
        if (code != ERR_USAGE || !strstr(e.text, "Some Data.csv") || !strstr(e.text, row->want))
            fail_msg("%s: %s: '%s' lacks '%s'", row->name, err_name(code), e.text, row->want);
    }
}

static void missing_files_and_folders_are_told_apart(void **state)
{
    const struct scene *s = *state;
    struct stage_options o = { .shards = 2 };
    struct stage_facts facts;
    struct err e = ERR_INIT;
    assert_int_equal(look("build/there-is-none.csv", &o, &facts, &e), ERR_NOT_FOUND);
    assert_int_equal(look(s->folder, &o, &facts, &e), ERR_USAGE);
    assert_non_null(strstr(e.text, "has no files"));
}

/* ---- how columns are told ---- */

static enum err_code survey(const struct scene *s, const char *text, const struct stage_options *o,
                            struct stage_facts *out, struct err *e)
{
    put_file(s, text, strlen(text));
    return look(s->file, o, out, e);
}

static void kinds_follow_from_the_values(void **state)
{
    static const char text[] = "n,c,mixed,gone,bool,neg,blank\n"
                               "1,x,1,?,true,-1.5e3,\n"
                               ",y,2,,false,7,\n"
                               "?,z,three,,true,0,\n";
    static const enum column_kind want[] = { COLUMN_NUMERIC,  COLUMN_CATEGORY, COLUMN_CATEGORY,
                                             COLUMN_CATEGORY, COLUMN_CATEGORY, COLUMN_NUMERIC,
                                             COLUMN_CATEGORY };
    CLEANUP(stage_facts_done) struct stage_facts facts = { .columns = NULL };
    struct stage_options o = { .shards = 1 };
    struct err e = ERR_INIT;
    assert_ok(survey(*state, text, &o, &facts, &e));
    assert_int_equal(facts.column_count, ARRAY_LEN(want));
    assert_int_equal(facts.records, 3);
    assert_int_equal(facts.bytes, strlen(text));
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        if (facts.columns[i].kind != want[i])
            fail_msg("column '%s' is taken as %s", facts.columns[i].name,
                     column_kind_names[facts.columns[i].kind]);
}

static void what_is_not_given_can_be_said(void **state)
{
    CLEANUP(stage_facts_done) struct stage_facts facts = { .columns = NULL };
    struct stage_options o = { .shards = 1, .missing = { "NA" }, .missing_count = 1 };
    struct err e = ERR_INIT;
    assert_ok(survey(*state, "a\n1\nNA\n3\n", &o, &facts, &e));
    assert_int_equal(facts.columns[0].kind, COLUMN_NUMERIC);
}

static void columns_can_be_overridden(void **state)
{
    struct opt_list list = { .items = { "zip=category" }, .count = 1 };
    struct stage_options o = { .shards = 1, .columns = &list };
    CLEANUP(stage_facts_done) struct stage_facts facts = { .columns = NULL };
    struct stage_facts none;
    struct err e = ERR_INIT;
    static const struct {
        const char *item, *want;
    } bad[] = {
        { "zip", "must be NAME=category or NAME=numeric" },
        { "zip=number", "must be NAME=category or NAME=numeric" },
        { "zap=numeric", "no column of that name" },
        { "x=numeric", "Some Data.csv:3: column 'x': 'six' is no number" },
    };
    assert_ok(survey(*state, "zip,x\n1000,5\n2000,six\n", &o, &facts, &e));
    assert_int_equal(facts.columns[0].kind, COLUMN_CATEGORY);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        list.items[0] = bad[i].item;
        assert_int_equal(survey(*state, "zip,x\n1000,5\n2000,six\n", &o, &none, &e), ERR_USAGE);
        assert_non_null(strstr(e.text, bad[i].want));
    }
}

static void a_byte_order_mark_is_no_part_of_a_name(void **state)
{
    CLEANUP(stage_facts_done) struct stage_facts facts = { .columns = NULL };
    struct stage_options o = { .shards = 1 };
    struct err e = ERR_INIT;
    assert_ok(survey(*state,
                     "\xef\xbb\xbf"
                     "a,b\r\n1,2\r\n",
                     &o, &facts, &e));
    assert_string_equal(facts.columns[0].name, "a");
    assert_int_equal(facts.records, 1);
}

/* ---- the round trip ---- */

static enum err_code stage(const struct scene *s, const struct stage_options *o, struct stage_result *r,
                           struct err *e)
{
    CLEANUP(stage_facts_done) struct stage_facts facts = { .columns = NULL };
    if (look(s->file, o, &facts, e))
        return e->code;
    return send(s, s->store, &facts, o, r, e);
}

/* The header once, then every shard without its own: what was in the file. */
static void join(struct store *store, const struct dataset *d, struct buf *out)
{
    for (size_t i = 0; i < d->shard_count; i++) {
        CLEANUP(buf_done) struct buf text = BUF_INIT(1 << 24);
        struct err e = ERR_INIT;
        char *fields[DATASET_COLUMNS_MAX];
        size_t count, lines;
        assert_ok(store_get(store, d->shards[i].key, d->shards[i].version, 0, UINT64_MAX, &text, NULL, &e));
        assert_int_equal(text.len, d->shards[i].bytes);
        CLEANUP(freep) char *copy = mem_text_n(buf_text(&text), text.len);
        char *at = copy;
        assert_ok(csv_next(&at, copy + text.len, fields, ARRAY_LEN(fields), &count, &lines, &e));
        assert_int_equal(count, d->column_count);
        size_t header = (size_t)(at - copy);
        buf_add(out, text.data + (i ? header : 0), text.len - (i ? header : 0));
    }
}

static void count_bad(void *context, const struct dataset_shard *shard, const char *why)
{
    char *seen = context;
    snprintf(seen, 512, "%.200s: %.200s", shard->key, why);
}

static enum err_code verify(struct store *store, const struct dataset *d, char *seen, size_t *bad,
                            struct err *e)
{
    struct stage_target target = target_in(store);
    return stage_verify(&target, d, 1, NULL, count_bad, seen, bad, e);
}

static const char odd[] = "id,\"say \"\"hi\"\"\",x\r\n"
                          "1,\"a,b\",2\r\n"
                          "2,\"line\none\",3\r\n"
                          "3,\"\",\r\n"
                          "4,ü,5\r\n"
                          "5,\"\"\"\",6\r\n";

static void shards_together_are_the_file(void **state)
{
    const struct scene *s = *state;
    struct stage_options o = {
        .shards = 3, .data_class = CLASS_INTERNAL, .owner = "ana", .basis = "contract"
    };
    CLEANUP(dataset_done) struct dataset d = { .columns = NULL };
    CLEANUP(buf_done) struct buf joined = BUF_INIT(1 << 24);
    struct stage_result r;
    struct err e = ERR_INIT;
    char digest[65], seen[512] = "";
    size_t bad = 99;

    put_file(s, odd, strlen(odd));
    assert_ok(stage(s, &o, &r, &e));
    assert_false(r.already);
    assert_int_equal(r.records, 5);
    assert_ok(dataset_load(s->store, "set/v1", &d, digest, &e));
    assert_string_equal(digest, r.digest);
    assert_int_equal(d.shard_count, 3);
    assert_int_equal(d.shards[0].records, 2);
    assert_int_equal(d.shards[2].records, 1);
    assert_int_equal(d.data_class, CLASS_INTERNAL);
    assert_string_equal(d.owner, "ana");
    assert_string_equal(d.name, "Some Data.csv");
    assert_string_equal(d.columns[1].name, "say \"hi\"");
    assert_int_equal(d.columns[2].kind, COLUMN_NUMERIC);
    join(s->store, &d, &joined);
    assert_string_equal(buf_text(&joined), odd);
    assert_ok(verify(s->store, &d, seen, &bad, &e));
    assert_int_equal(bad, 0);
}

static void a_last_line_without_its_end_gets_one(void **state)
{
    const struct scene *s = *state;
    struct stage_options o = { .shards = 2 };
    CLEANUP(dataset_done) struct dataset d = { .columns = NULL };
    CLEANUP(buf_done) struct buf joined = BUF_INIT(1 << 20);
    struct stage_result r;
    struct err e = ERR_INIT;
    char digest[65];
    put_file(s, "a,b\n1,2\n3,4", 11);
    assert_ok(stage(s, &o, &r, &e));
    assert_ok(dataset_load(s->store, "set/v1", &d, digest, &e));
    join(s->store, &d, &joined);
    assert_string_equal(buf_text(&joined), "a,b\n1,2\n3,4\n");
}

/* Several windows of the reader, with records that lie across their edges. */
static void a_large_file_is_streamed(void **state)
{
    enum { RECORDS = 60000 };
    const struct scene *s = *state;
    struct stage_options o = { .shards = 7 };
    CLEANUP(buf_done) struct buf text = BUF_INIT(1 << 24);
    CLEANUP(buf_done) struct buf joined = BUF_INIT(1 << 24);
    CLEANUP(dataset_done) struct dataset d = { .columns = NULL };
    struct stage_result r;
    struct err e = ERR_INIT;
    char digest[65];
    buf_add_text(&text, "id,text\n");
    for (int i = 0; i < RECORDS; i++)
        buf_addf(
            &text, "%d,\"%.*s\n, \"\"%d\"\"\"\n", i, i % 90,
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            i);
    put_file(s, text.data, text.len);
    assert_true(text.len > 3 << 20);
    assert_ok(stage(s, &o, &r, &e));
    assert_int_equal(r.records, RECORDS);
    assert_ok(dataset_load(s->store, "set/v1", &d, digest, &e));
    join(s->store, &d, &joined);
    assert_int_equal(joined.len, text.len);
    assert_memory_equal(joined.data, text.data, text.len);
}

/* One record of several windows. */
static void a_huge_record_is_read_or_refused(void **state)
{
    const struct scene *s = *state;
    struct stage_options o = { .shards = 1 };
    CLEANUP(stage_facts_done) struct stage_facts facts = { .columns = NULL };
    struct stage_facts none;
    size_t fine = 5 << 20, too_long = RECORD_BYTES_MAX + (4 << 20);
    CLEANUP(freep) char *text = mem_new(too_long + 64);
    struct err e = ERR_INIT;

    memset(text, '\n', too_long + 32);
    memcpy(text, "a,b\n1,\"", 7);
    memcpy(text + fine, "\"\n2,x\n", 6);
    put_file(s, text, fine + 6);
    assert_ok(look(s->file, &o, &facts, &e));
    assert_int_equal(facts.records, 2);

    memset(text + fine, '\n', 6);
    memcpy(text + too_long, "\"\n", 2);
    put_file(s, text, too_long + 2);
    assert_int_equal(look(s->file, &o, &none, &e), ERR_USAGE);
    assert_non_null(strstr(e.text, ":2: field 2: its quote is not closed"));
}

/* ---- again ---- */

static void the_same_content_does_nothing(void **state)
{
    const struct scene *s = *state;
    struct stage_options o = { .shards = 2 };
    struct stage_result first, again, other;
    struct err e = ERR_INIT;
    put_file(s, odd, strlen(odd));
    assert_ok(stage(s, &o, &first, &e));
    assert_ok(stage(s, &o, &again, &e));
    assert_true(again.already);
    assert_string_equal(again.digest, first.digest);
    o.data_class = CLASS_PERSONAL; /* a class is part of what a dataset is */
    assert_ok(stage(s, &o, &other, &e));
    assert_false(other.already);
    put_file(s, "a\n1\n", 4);
    assert_ok(stage(s, &o, &other, &e));
    assert_false(other.already);
}

static void a_damaged_dataset_is_staged_again(void **state)
{
    const struct scene *s = *state;
    struct stage_options o = { .shards = 2 };
    struct stage_result r;
    struct dataset d = { .columns = NULL };
    struct err e = ERR_INIT;
    char digest[65], seen[512] = "";
    size_t bad = 0;
    put_file(s, odd, strlen(odd));
    assert_ok(stage(s, &o, &r, &e));
    assert_ok(dataset_load(s->store, "set/v1", &d, digest, &e));
    assert_ok(store_delete(s->store, d.shards[1].key, d.shards[1].version, &e));
    assert_ok(verify(s->store, &d, seen, &bad, &e));
    assert_int_equal(bad, 1);
    assert_non_null(strstr(seen, "set/v1/shards/"));
    dataset_done(&d);
    assert_ok(stage(s, &o, &r, &e));
    assert_false(r.already);
    assert_ok(dataset_load(s->store, "set/v1", &d, digest, &e));
    assert_ok(verify(s->store, &d, seen, &bad, &e));
    assert_int_equal(bad, 0);
    dataset_done(&d);
}

static void changed_bytes_are_named(void **state)
{
    const struct scene *s = *state;
    struct stage_options o = { .shards = 2 };
    struct stage_result r;
    CLEANUP(dataset_done) struct dataset d = { .columns = NULL };
    struct err e = ERR_INIT;
    char digest[65], seen[512] = "";
    size_t bad = 0;
    put_file(s, odd, strlen(odd));
    assert_ok(stage(s, &o, &r, &e));
    assert_ok(dataset_load(s->store, "set/v1", &d, digest, &e));
    d.shards[0].sha256[0] = d.shards[0].sha256[0] == 'a' ? 'b' : 'a';
    d.shards[1].bytes++;
    assert_ok(verify(s->store, &d, seen, &bad, &e));
    assert_int_equal(bad, 2);
    assert_non_null(strstr(seen, "bytes where the manifest says"));
}

static void a_file_that_changes_meanwhile_is_refused(void **state)
{
    const struct scene *s = *state;
    struct stage_options o = { .shards = 1 };
    struct stage_result r;
    struct err e = ERR_INIT;
    static const char *const later[] = { "a,b\n1,2\n3,5\n", "a,b\n1,2\n", "a,b\n1,2\n3,4\n5,6\n" };
    for (size_t i = 0; i < ARRAY_LEN(later); i++) {
        CLEANUP(stage_facts_done) struct stage_facts facts = { .columns = NULL };
        CLEANUP(dataset_done) struct dataset d = { .columns = NULL };
        char digest[65];
        assert_ok(survey(s, "a,b\n1,2\n3,4\n", &o, &facts, &e));
        put_file(s, later[i], strlen(later[i]));
        assert_int_equal(send(s, s->store, &facts, &o, &r, &e), ERR_CONFLICT);
        assert_int_equal(dataset_load(s->store, "set/v1", &d, digest, &e), ERR_NOT_FOUND);
        err_clear(&e);
    }
}

static void a_failing_store_leaves_no_manifest(void **state)
{
    const struct scene *s = *state;
    struct stage_options o = { .shards = 2 };
    put_file(s, odd, strlen(odd));
    for (int64_t nth = 1; nth <= 5; nth++) { /* the manifest, the list, two shards, the manifest */
        CLEANUP(stage_facts_done) struct stage_facts facts = { .columns = NULL };
        CLEANUP(dataset_done) struct dataset d = { .columns = NULL };
        CLEANUP(store_closep) struct store *fault = store_fault_new(s->store);
        struct stage_result r;
        struct err e = ERR_INIT;
        char digest[65];
        assert_ok(look(s->file, &o, &facts, &e));
        store_fault_at(fault, nth, ERR_RETRY, false);
        assert_int_equal(send(s, fault, &facts, &o, &r, &e), ERR_RETRY);
        err_clear(&e);
        assert_int_equal(dataset_load(s->store, "set/v1", &d, digest, &e), ERR_NOT_FOUND);
    }
}

/* ---- where a job's own file goes ---- */

static void the_place_follows_from_name_content_and_reading(void **state)
{
    struct stage_facts facts = { .sha256 =
                                     "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" };
    struct stage_options plain = { .missing = { "?", "" }, .missing_count = 2 };
    struct stage_options na = { .missing = { "NA" }, .missing_count = 1 };
    struct err e = ERR_INIT;
    char one[STORE_KEY_BYTES], other[STORE_KEY_BYTES];
    (void)state;
    assert_ok(stage_prefix("/x/German Credit (v2).csv", &facts, &plain, one, &e));
    assert_string_equal(one, "staged/german-credit-v2--0123456789ab");
    assert_ok(stage_prefix("data", &facts, &plain, one, &e));
    assert_string_equal(one, "staged/data-0123456789ab");
    assert_ok(stage_prefix("..csv", &facts, &plain, one, &e));
    assert_string_equal(one, "staged/data-0123456789ab");
    assert_ok(stage_prefix("data", &facts, &na, other, &e));
    assert_string_not_equal(one, other);
}

/* ---- what may be held here ---- */

static void policy_is_asked_before_anything_is_stored(void **state)
{
    static const struct {
        enum data_class data_class;
        const char *bucket, *want; /* want NULL: allowed */
    } rows[] = {
        { CLASS_PERSONAL, "bank-data", NULL },
        { CLASS_PSEUDONYMIZED, "bank-data", "policy.yaml:9: buckets 'bank-data'" },
        { CLASS_PUBLIC, "models", "is not for data" },
        { CLASS_PUBLIC, "other", "'other' is not in the policy" },
    };
    CLEANUP(freep) struct policy *p = mem_new(sizeof(*p));
    struct err read = ERR_INIT;
    (void)state;
    assert_int_equal(policy_read("policy.yaml", POLICY_SAMPLE, strlen(POLICY_SAMPLE), p, &read), OK);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err e = ERR_INIT;
        enum err_code code = stage_check_policy(p, rows[i].bucket, rows[i].data_class, &e);
        if (code != (rows[i].want ? ERR_DENIED : OK) || (rows[i].want && !strstr(e.text, rows[i].want)))
            fail_msg("%s: %s: %s", rows[i].bucket, err_name(code), e.text);
    }
}

#define SCENE_TEST(f) cmocka_unit_test_setup_teardown(f, scene_open, scene_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(malformed_files_are_refused),
        SCENE_TEST(missing_files_and_folders_are_told_apart),
        SCENE_TEST(kinds_follow_from_the_values),
        SCENE_TEST(what_is_not_given_can_be_said),
        SCENE_TEST(columns_can_be_overridden),
        SCENE_TEST(a_byte_order_mark_is_no_part_of_a_name),
        SCENE_TEST(shards_together_are_the_file),
        SCENE_TEST(a_last_line_without_its_end_gets_one),
        SCENE_TEST(a_large_file_is_streamed),
        SCENE_TEST(a_huge_record_is_read_or_refused),
        SCENE_TEST(the_same_content_does_nothing),
        SCENE_TEST(a_damaged_dataset_is_staged_again),
        SCENE_TEST(changed_bytes_are_named),
        SCENE_TEST(a_file_that_changes_meanwhile_is_refused),
        SCENE_TEST(a_failing_store_leaves_no_manifest),
        cmocka_unit_test(the_place_follows_from_name_content_and_reading),
        cmocka_unit_test(policy_is_asked_before_anything_is_stored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
