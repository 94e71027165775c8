/* Staging what is there in part: only what changed travels. And the other formats, folders, packed sources,
 * and what the scan makes of it all. */
#include "base/cleanup.h"
#include "base/file.h"
#include "base/mem.h"
#include "core/zip/zip.h"
#include "runner/cli/stage.h"
#include "tests/test.h"

#include <ftw.h>
#include <string.h>
#include <sys/stat.h>

enum { TEXT_MAX = 1 << 24 };

/* ---- a folder below build/ with a store in it ---- */

struct scene {
    char folder[64], file[128];
    struct store_place place;
    struct store *store, *faulty; /* faulty: every thread's, where it is set */
};

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st, (void)kind, (void)where;
    return remove(path);
}

static int scene_open(void **state)
{
    struct scene *s = mem_new(sizeof(*s));
    struct err e = ERR_INIT;
    snprintf(s->folder, sizeof(s->folder), "build/test-again-XXXXXX");
    if (dir_make("build", 0755, &e) || !mkdtemp(s->folder))
        return -1;
    snprintf(s->file, sizeof(s->file), "%s/data.csv", s->folder);
    s->place = (struct store_place){ .kind = STORE_DIR, .bucket = "data", .region = "eu" };
    snprintf(s->place.root, sizeof(s->place.root), "%s/store", s->folder);
    if (dir_make(s->place.root, 0700, &e) || store_make_bucket(&s->place, NULL, false, &e) ||
        store_open(&s->place, NULL, &s->store, &e))
        return -1;
    *state = s;
    return 0;
}

static int scene_close(void **state)
{
    struct scene *s = *state;
    store_close(s->store);
    nftw(s->folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(s);
    return 0;
}

static enum err_code open_store(void *context, struct store **out, struct err *e)
{
    struct scene *s = context;
    if (!s->faulty)
        return store_open(&s->place, NULL, out, e);
    *out = store_fault_new(s->faulty);
    return OK;
}

static void put_file(const char *path, const void *text, size_t n)
{
    struct err e = ERR_INIT;
    assert_ok(file_write(path, text, n, 0600, &e));
}

static enum err_code survey(const char *what, const struct stage_options *o, struct stage_facts *out,
                            struct err *e)
{
    CLEANUP(source_closep) struct source *source = NULL;
    if (source_open(what, "build", 0, &source, e))
        return e->code;
    return stage_survey(source, o, out, e);
}

static enum err_code stage(struct scene *s, const char *what, const struct stage_options *o,
                           struct stage_result *r, struct err *e)
{
    CLEANUP(source_closep) struct source *source = NULL;
    CLEANUP(stage_facts_done) struct stage_facts facts = { .columns = NULL };
    struct stage_target target = { .open = open_store, .context = s, .bucket = "data", .prefix = "set/v1" };
    if (source_open(what, "build", 0, &source, e) || stage_survey(source, o, &facts, e))
        return e->code;
    return stage_send(source, &facts, &target, o, r, e);
}

static void load(const struct scene *s, struct dataset *out)
{
    struct err e = ERR_INIT;
    char digest[65];
    assert_ok(dataset_load(s->store, "set/v1", out, digest, &e));
}

static void no_bad(void *context, const struct dataset_shard *shard, const char *why)
{
    (void)context;
    fail_msg("%s: %s", shard->key, why);
}

static void verify(struct scene *s, const struct dataset *d)
{
    struct stage_target target = { .open = open_store, .context = s, .bucket = "data", .prefix = "set/v1" };
    struct err e = ERR_INIT;
    size_t bad = 9;
    assert_ok(stage_verify(&target, d, 4, NULL, no_bad, NULL, &bad, &e));
    assert_int_equal(bad, 0);
}

/* What all shards unpack to, one behind the other; of CSV the header line once. */
static void join(const struct scene *s, const struct dataset *d, size_t header, struct buf *out)
{
    for (size_t i = 0; i < d->shard_count; i++) {
        CLEANUP(buf_done) struct buf text = BUF_INIT(TEXT_MAX);
        struct err e = ERR_INIT;
        assert_ok(
            store_get(s->store, d->shards[i].key, d->shards[i].version, 0, UINT64_MAX, &text, NULL, &e));
        assert_ok(dataset_open_shard(d, i, &text, &e));
        buf_add(out, text.data + (i ? header : 0), text.len - (i ? header : 0));
    }
}

static void make_rows(int count, int changed, struct buf *out)
{
    buf_reset(out);
    buf_add_text(out, "id,word\n");
    for (int i = 0; i < count; i++)
        buf_addf(out, "%d,w%d\n", i, i == changed ? 999999 : i * 7919 % 1000);
}

/* ---- only what changed ---- */

static void what_is_there_does_not_travel(void **state)
{
    struct scene *s = *state;
    CLEANUP(buf_done) struct buf rows = BUF_INIT(TEXT_MAX);
    struct stage_options o = { .shard_bytes = 4096, .parallel = 4 };
    static const struct {
        const char *name;
        int count, changed;
        size_t sent_min, sent_max;
        bool already;
    } steps[] = {
        { "the first time all of it", 20000, -1, 40, 200, false },
        { "the same again: nothing", 20000, -1, 0, 0, true },
        { "a row in the middle", 20000, 9000, 1, 4, false },
        { "and back: that is still there", 20000, -1, 0, 0, false },
        { "rows behind the end", 20010, -1, 1, 2, false },
    };
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        CLEANUP(dataset_done) struct dataset d = { .columns = NULL };
        CLEANUP(buf_done) struct buf joined = BUF_INIT(TEXT_MAX);
        struct stage_result r;
        struct err e = ERR_INIT;
        make_rows(steps[i].count, steps[i].changed, &rows);
        put_file(s->file, rows.data, rows.len);
        assert_ok(stage(s, s->file, &o, &r, &e));
        if (r.sent < steps[i].sent_min || r.sent > steps[i].sent_max || r.already != steps[i].already)
            fail_msg("%s: %zu of %zu sent", steps[i].name, r.sent, r.shards);
        load(s, &d);
        join(s, &d, strlen("id,word\n"), &joined);
        assert_int_equal(joined.len, rows.len);
        assert_memory_equal(joined.data, rows.data, rows.len);
        verify(s, &d);
    }
}

/* Whatever call the store fails at: the next staging sends the rest, not all. */
static void an_interrupted_staging_goes_on(void **state)
{
    struct scene *s = *state;
    CLEANUP(buf_done) struct buf rows = BUF_INIT(TEXT_MAX);
    CLEANUP(store_closep) struct store *fault = store_fault_new(s->store);
    struct stage_options o = { .shards = 10, .parallel = 1 };
    struct stage_result r;
    struct err e = ERR_INIT;
    make_rows(1000, -1, &rows);
    put_file(s->file, rows.data, rows.len);
    s->faulty = fault;
    store_fault_at(fault, 2 + 6, ERR_RETRY, false); /* the manifest, the list, and the sixth shard */
    assert_int_equal(stage(s, s->file, &o, &r, &e), ERR_RETRY);
    s->faulty = NULL;
    err_clear(&e);
    o.dry_run = true;
    assert_ok(stage(s, s->file, &o, &r, &e));
    assert_int_equal(r.sent, 5);
    o.dry_run = false;
    assert_ok(stage(s, s->file, &o, &r, &e));
    assert_int_equal(r.sent, 5);
    assert_int_equal(r.shards, 10);
    CLEANUP(dataset_done) struct dataset d = { .columns = NULL };
    load(s, &d);
    verify(s, &d);
}

static void a_dry_run_sends_nothing(void **state)
{
    struct scene *s = *state;
    struct stage_options o = { .shards = 2, .dry_run = true };
    struct stage_result r;
    struct err e = ERR_INIT;
    struct dataset d;
    char digest[65];
    put_file(s->file, "a\n1\n2\n", 6);
    assert_ok(stage(s, s->file, &o, &r, &e));
    assert_int_equal(r.sent, 2);
    assert_int_equal(dataset_load(s->store, "set/v1", &d, digest, &e), ERR_NOT_FOUND);
}

/* What lies under a shard's key is not believed unless it has the shard's length. */
static void a_left_over_of_another_length_is_not_used(void **state)
{
    struct scene *s = *state;
    CLEANUP(dataset_done) struct dataset d = { .columns = NULL };
    struct stage_options o = { .shards = 1 };
    struct stage_result r;
    struct err e = ERR_INIT;
    char hex[SHA256_HEX_BYTES], key[STORE_KEY_BYTES];
    put_file(s->file, "a\n1\n2\n", 6);
    sha256_hex("a\n1\n2\n", 6, hex);
    snprintf(key, sizeof(key), "set/v1/shards/%.32s.csv", hex);
    assert_ok(store_put(s->store, key, "a\n1", 3, NULL, NULL, &e));
    assert_ok(stage(s, s->file, &o, &r, &e));
    assert_int_equal(r.sent, 1);
    load(s, &d);
    assert_string_equal(d.shards[0].key, key);
    verify(s, &d);
}

static void equal_shards_have_keys_of_their_own(void **state)
{
    struct scene *s = *state;
    CLEANUP(dataset_done) struct dataset d = { .columns = NULL };
    struct stage_options o = { .shard_records = 1 };
    struct stage_result r;
    struct err e = ERR_INIT;
    put_file(s->file, "a\n1\n1\n2\n1\n", 10);
    assert_ok(stage(s, s->file, &o, &r, &e));
    load(s, &d);
    assert_int_equal(d.shard_count, 4);
    assert_string_equal(d.shards[0].sha256, d.shards[3].sha256);
    assert_string_not_equal(d.shards[0].key, d.shards[3].key);
    verify(s, &d);
    assert_ok(stage(s, s->file, &o, &r, &e));
    assert_true(r.already);
}

/* ---- packed ---- */

static void packed_shards_hold_the_same(void **state)
{
    struct scene *s = *state;
    CLEANUP(buf_done) struct buf rows = BUF_INIT(TEXT_MAX);
    CLEANUP(buf_done) struct buf joined = BUF_INIT(TEXT_MAX);
    CLEANUP(dataset_done) struct dataset plain = { .columns = NULL };
    CLEANUP(dataset_done) struct dataset packed = { .columns = NULL };
    struct stage_options o = { .shards = 4 };
    struct stage_result r;
    struct err e = ERR_INIT;
    char one[65], other[65];
    make_rows(5000, -1, &rows);
    put_file(s->file, rows.data, rows.len);
    assert_ok(stage(s, s->file, &o, &r, &e));
    load(s, &plain);
    o.compression = COMPRESSION_ZSTD;
    assert_ok(stage(s, s->file, &o, &r, &e));
    assert_int_equal(r.sent, 4);
    assert_true(r.stored_bytes < r.bytes / 2);
    load(s, &packed);
    assert_non_null(strstr(packed.shards[0].key, ".csv.zst"));
    join(s, &packed, strlen("id,word\n"), &joined);
    assert_memory_equal(joined.data, rows.data, rows.len);
    dataset_content_digest(&plain, one);
    dataset_content_digest(&packed, other);
    assert_string_equal(one, other);
    verify(s, &packed);
    assert_ok(stage(s, s->file, &o, &r, &e));
    assert_true(r.already);
}

/* The manifest says how much a shard unpacks to; not a byte more is made of it. */
static void a_packed_shard_may_not_grow(void **state)
{
    (void)state;
    CLEANUP(freep) uint8_t *zeros = mem_new(8 << 20);
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(TEXT_MAX);
    struct dataset_shard shard = { .records = 1, .plain_bytes = 1000 };
    struct dataset d = {
        .format = "csv", .compression = COMPRESSION_ZSTD, .shards = &shard, .shard_count = 1
    };
    struct err e = ERR_INIT;
    assert_ok(zip_pack(zeros, 8 << 20, &bytes, &e));
    shard.bytes = bytes.len;
    sha256_hex(bytes.data, bytes.len, shard.sha256);
    sha256_hex(zeros, 1000, shard.plain_sha256);
    assert_int_equal(dataset_open_shard(&d, 0, &bytes, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.text, "more than the 1000 bytes"));
}

static void a_packed_source_is_read_as_what_it_holds(void **state)
{
    struct scene *s = *state;
    CLEANUP(buf_done) struct buf packed = BUF_INIT(TEXT_MAX);
    CLEANUP(stage_facts_done) struct stage_facts plain = { .columns = NULL };
    CLEANUP(stage_facts_done) struct stage_facts facts = { .columns = NULL };
    CLEANUP(freep) char *path = mem_printf("%s.zst", s->file);
    struct stage_options o = { .shards = 1 };
    struct stage_facts none;
    struct err e = ERR_INIT;
    put_file(s->file, "a\n1\n2\n", 6);
    assert_ok(survey(s->file, &o, &plain, &e));
    assert_ok(zip_pack("a\n1\n2\n", 6, &packed, &e));
    put_file(path, packed.data, packed.len);
    assert_ok(survey(path, &o, &facts, &e));
    assert_string_equal(facts.sha256, plain.sha256);
    assert_int_equal(facts.bytes, 6);
    put_file(path, packed.data, packed.len - 3);
    assert_int_equal(survey(path, &o, &none, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.text, "cut off"));
    packed.data[6] ^= 0xff;
    put_file(path, packed.data, packed.len);
    assert_int_equal(survey(path, &o, &none, &e), ERR_CORRUPT);
    put_file(path, "a\n1\n", 4);
    assert_int_equal(survey(path, &o, &none, &e), ERR_CORRUPT);
}

/* ---- folders ---- */

static void a_folder_is_its_files_in_order(void **state)
{
    struct scene *s = *state;
    CLEANUP(freep) char *folder = mem_printf("%s/in", s->folder);
    CLEANUP(freep) char *b = mem_printf("%s/b.csv", folder);
    CLEANUP(freep) char *a = mem_printf("%s/a.csv", folder);
    CLEANUP(freep) char *hidden = mem_printf("%s/.x", folder);
    CLEANUP(freep) char *below = mem_printf("%s/c", folder);
    CLEANUP(dataset_done) struct dataset d = { .columns = NULL };
    CLEANUP(buf_done) struct buf joined = BUF_INIT(TEXT_MAX);
    struct stage_options o = { .shards = 2 };
    struct stage_result r;
    struct err e = ERR_INIT;
    assert_ok(dir_make(folder, 0700, &e));
    put_file(b, "id,w\r\n3,z\n", 10);
    put_file(a, "id,w\n1,x\n2,y", 12);
    put_file(hidden, "?", 1);
    assert_ok(stage(s, folder, &o, &r, &e));
    assert_int_equal(r.records, 3);
    load(s, &d);
    join(s, &d, 5, &joined);
    assert_string_equal(buf_text(&joined), "id,w\n1,x\n2,y\n3,z\n");
    put_file(b, "id,v\n3,z\n", 9);
    assert_int_equal(stage(s, folder, &o, &r, &e), ERR_USAGE);
    assert_non_null(strstr(e.text, "b.csv:1: its header line is not that of"));
    put_file(b, "", 0);
    assert_int_equal(stage(s, folder, &o, &r, &e), ERR_USAGE);
    assert_non_null(strstr(e.text, "b.csv' is empty"));
    assert_ok(dir_make(below, 0700, &e));
    assert_int_equal(stage(s, folder, &o, &r, &e), ERR_USAGE);
    assert_non_null(strstr(e.text, "no regular file"));
}

/* ---- text and tokens ---- */

static void text_is_lines(void **state)
{
    struct scene *s = *state;
    static const char text[] = "\xc3\xa4 first\nsecond\n\nthird without an end";
    CLEANUP(dataset_done) struct dataset d = { .columns = NULL };
    CLEANUP(buf_done) struct buf joined = BUF_INIT(TEXT_MAX);
    struct stage_options o = { .format = RECORDS_TEXT };
    struct stage_result r;
    struct err e = ERR_INIT;
    put_file(s->file, text, strlen(text));
    assert_ok(stage(s, s->file, &o, &r, &e));
    assert_int_equal(r.records, 4);
    load(s, &d);
    assert_string_equal(d.format, "text");
    assert_int_equal(d.column_count, 0);
    assert_int_equal(d.scan, SCANNED_LINES);
    join(s, &d, 0, &joined);
    assert_int_equal(joined.len, strlen(text) + 1);
    assert_memory_equal(joined.data, text, strlen(text));
}

static void bytes_le(struct buf *b, uint32_t v, int n)
{
    for (int i = 0; i < n; i++)
        buf_add_byte(b, (uint8_t)(v >> (8 * i)));
}

static void tokens_file(struct buf *b, uint32_t version, uint32_t count, uint32_t tokens)
{
    buf_reset(b);
    bytes_le(b, TOKENS_MAGIC, 4);
    bytes_le(b, version, 4);
    bytes_le(b, count, 4);
    for (int i = 3; i < 256; i++)
        bytes_le(b, 0, 4);
    for (uint32_t i = 0; i < tokens; i++)
        bytes_le(b, i, 2);
}

static void tokens_are_cut_by_number(void **state)
{
    struct scene *s = *state;
    CLEANUP(buf_done) struct buf file = BUF_INIT(TEXT_MAX);
    CLEANUP(buf_done) struct buf joined = BUF_INIT(TEXT_MAX);
    CLEANUP(dataset_done) struct dataset d = { .columns = NULL };
    struct stage_options o = { .format = RECORDS_TOKENS, .shard_bytes = 4096 };
    struct stage_result r;
    struct err e = ERR_INIT;
    tokens_file(&file, 1, 10000, 10000);
    put_file(s->file, file.data, file.len);
    assert_ok(stage(s, s->file, &o, &r, &e));
    assert_int_equal(r.records, 10000);
    assert_int_equal(r.shards, 5);
    load(s, &d);
    assert_int_equal(d.token_bytes, 2);
    assert_int_equal(d.shards[0].records, 2048);
    join(s, &d, 0, &joined);
    assert_int_equal(joined.len, 20000);
    assert_memory_equal(joined.data, file.data + TOKENS_HEADER_BYTES, 20000);
    file.data[TOKENS_HEADER_BYTES + 9000] ^= 1; /* one token: one shard */
    put_file(s->file, file.data, file.len);
    assert_ok(stage(s, s->file, &o, &r, &e));
    assert_int_equal(r.sent, 1);
}

static void bad_input_is_refused(void **state)
{
    struct scene *s = *state;
    CLEANUP(buf_done) struct buf cut = BUF_INIT(TEXT_MAX);
    CLEANUP(buf_done) struct buf more = BUF_INIT(TEXT_MAX);
    CLEANUP(buf_done) struct buf old = BUF_INIT(TEXT_MAX);
    CLEANUP(buf_done) struct buf none = BUF_INIT(TEXT_MAX);
    tokens_file(&cut, 1, 100, 99);
    tokens_file(&more, 1, 100, 101);
    tokens_file(&old, 3, 100, 100);
    tokens_file(&none, 1, 0, 0);
    const struct {
        const char *name;
        enum records_format format;
        int token_bytes;
        const void *bytes;
        size_t n;
        const char *want;
    } rows[] = {
        { "tokens cut off by their header", RECORDS_TOKENS, 0, cut.data, cut.len,
          "its header counts 1 tokens more" },
        { "tokens behind the header's count", RECORDS_TOKENS, 0, more.data, more.len,
          "goes on behind the tokens" },
        { "a header of a later version", RECORDS_TOKENS, 0, old.data, old.len, "version 3" },
        { "a header that counts none", RECORDS_TOKENS, 0, none.data, none.len, "counts 0 tokens" },
        { "a header that is cut off", RECORDS_TOKENS, 0, cut.data, 500, "cut off inside its header" },
        { "a header and 4 bytes", RECORDS_TOKENS, 4, cut.data, cut.len, "--token-bytes says 4" },
        { "half a token", RECORDS_TOKENS, 2, "abc", 3, "no whole number of tokens of 2 bytes" },
        { "a quarter of a token", RECORDS_TOKENS, 4, "abcde", 5, "no whole number of tokens of 4 bytes" },
        { "no tokens", RECORDS_TOKENS, 2, "", 0, "is empty" },
        { "no text", RECORDS_TEXT, 0, "", 0, "is empty" },
        { "text that is none", RECORDS_TEXT, 0, "a\nb\xff\n", 5, ":2: not UTF-8" },
        { "text with a NUL", RECORDS_TEXT, 0, "a\nb\0\n", 5, ":2: a NUL byte" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct stage_options o = { .format = rows[i].format, .token_bytes = rows[i].token_bytes };
        struct stage_facts facts;
        struct err e = ERR_INIT;
        put_file(s->file, rows[i].bytes, rows[i].n);
        enum err_code code = survey(s->file, &o, &facts, &e);
        if (code != ERR_USAGE || !strstr(e.text, rows[i].want))
            fail_msg("%s: %s: '%s' lacks '%s'", rows[i].name, err_name(code), e.text, rows[i].want);
    }
}

/* ---- personal data ---- */

static void a_class_below_the_findings_is_refused(void **state)
{
    struct scene *s = *state;
    static const struct {
        const char *name, *text;
        enum records_format format;
        enum data_class needed;
    } rows[] = {
        { "nothing", "a,b\n1,x\n", RECORDS_CSV, CLASS_PUBLIC },
        { "an address", "a,b\n1,ana@example.org\n", RECORDS_CSV, CLASS_PERSONAL },
        { "an IBAN in a note", "a,b\n1,\"see DE89 3704 0044 0532 0130 00, thanks\"\n", RECORDS_CSV,
          CLASS_PERSONAL },
        { "a date of birth", "a,birth_date\n1,1980-02-29\n", RECORDS_CSV, CLASS_PSEUDONYMIZED },
        { "a VAT number", "a,b\n1,DE136695976\n", RECORDS_CSV, CLASS_INTERNAL },
        { "an address in text", "hello\nana@example.org\n", RECORDS_TEXT, CLASS_PERSONAL },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(stage_facts_done) struct stage_facts facts = { .columns = NULL };
        struct stage_options o = { .format = rows[i].format };
        struct err e = ERR_INIT;
        put_file(s->file, rows[i].text, strlen(rows[i].text));
        assert_ok(survey(s->file, &o, &facts, &e));
        for (int c = CLASS_PUBLIC; c <= CLASS_PERSONAL; c++) {
            enum err_code code = stage_check_class(&facts, (enum data_class)c, &e);
            if ((code == OK) != (c >= (int)rows[i].needed) || (code != OK && code != ERR_DENIED))
                fail_msg("%s as %s: %s", rows[i].name, data_class_names[c], err_name(code));
            if (code && (strstr(e.text, "example.org") || strstr(e.text, "DE89") || strstr(e.text, "1980")))
                fail_msg("%s: the refusal says what it should keep: %s", rows[i].name, e.text);
        }
    }
}

static void findings_stand_in_the_manifest(void **state)
{
    struct scene *s = *state;
    CLEANUP(dataset_done) struct dataset d = { .columns = NULL };
    struct stage_options o = { .data_class = CLASS_PUBLIC,
                               .override_by = "user:ana",
                               .override_reason = "made up" };
    struct stage_result r;
    struct err e = ERR_INIT;
    put_file(s->file, "a,mail\n1,x@example.org\n2,\n3,y@example.org\n", 41);
    assert_ok(stage(s, s->file, &o, &r, &e));
    load(s, &d);
    assert_int_equal(d.finding_count, 1);
    assert_string_equal(d.findings[0].column, "mail");
    assert_string_equal(d.findings[0].kind, "e-mail address");
    assert_int_equal(d.findings[0].count, 2);
    assert_int_equal(d.scan, SCANNED_COLUMNS);
    assert_string_equal(d.override_by, "user:ana");
    assert_string_equal(d.override_reason, "made up");
}

/* Where in a long text it stands: by ranges of lines that grow with it. */
static void findings_of_text_name_their_lines(void **state)
{
    struct scene *s = *state;
    CLEANUP(buf_done) struct buf text = BUF_INIT(TEXT_MAX);
    CLEANUP(stage_facts_done) struct stage_facts facts = { .columns = NULL };
    struct stage_options o = { .format = RECORDS_TEXT, .parallel = 4 };
    struct err e = ERR_INIT;
    for (int i = 0; i < 300000; i++)
        buf_add_text(&text, i % 100000 == 50000 ? "mail to ana@example.org\n" : "nothing here\n");
    put_file(s->file, text.data, text.len);
    assert_ok(survey(s->file, &o, &facts, &e));
    static const char *const want[] = { "lines 49153-57344", "lines 147457-155648", "lines 245761-253952" };
    assert_int_equal(facts.finding_count, ARRAY_LEN(want));
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        assert_string_equal(facts.findings[i].column, want[i]);
        assert_int_equal(facts.findings[i].count, 1);
    }
}

static void the_demo_holds_no_findings(void **state)
{
    CLEANUP(stage_facts_done) struct stage_facts facts = { .columns = NULL };
    struct stage_options o = { .parallel = 2 };
    struct err e = ERR_INIT;
    (void)state;
    assert_ok(survey("configs/demo/german-credit.csv", &o, &facts, &e));
    assert_int_equal(facts.records, 1000);
    assert_int_equal(facts.finding_count, 0);
    assert_int_equal(facts.class_needed, CLASS_PUBLIC);
}

#define SCENE_TEST(f) cmocka_unit_test_setup_teardown(f, scene_open, scene_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(what_is_there_does_not_travel),
        SCENE_TEST(an_interrupted_staging_goes_on),
        SCENE_TEST(a_dry_run_sends_nothing),
        SCENE_TEST(a_left_over_of_another_length_is_not_used),
        SCENE_TEST(equal_shards_have_keys_of_their_own),
        SCENE_TEST(packed_shards_hold_the_same),
        SCENE_TEST(a_packed_shard_may_not_grow),
        SCENE_TEST(a_packed_source_is_read_as_what_it_holds),
        SCENE_TEST(a_folder_is_its_files_in_order),
        SCENE_TEST(text_is_lines),
        SCENE_TEST(tokens_are_cut_by_number),
        SCENE_TEST(bad_input_is_refused),
        SCENE_TEST(a_class_below_the_findings_is_refused),
        SCENE_TEST(findings_stand_in_the_manifest),
        SCENE_TEST(findings_of_text_name_their_lines),
        cmocka_unit_test(the_demo_holds_no_findings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
