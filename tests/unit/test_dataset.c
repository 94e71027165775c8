/* The dataset manifest: what it looks like, what is refused in it, and how it is found in a store. */
#include "base/mem.h"
#include "core/job/dataset.h"
#include "core/job/record.h"
#include "tests/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HASH_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HASH_B "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

/* clang-format off */
static const char manifest[] =
    "{\"basis\":\"contract\",\"bucket\":\"bank-data\",\"class\":\"personal\","
    "\"columns\":[{\"kind\":\"numeric\",\"name\":\"age\"},{\"kind\":\"category\",\"name\":\"class\"}],"
    "\"compression\":\"none\",\"created_ms\":1795342500123,"
    "\"findings\":[{\"column\":\"age\",\"count\":7,\"kind\":\"birth date\"}],"
    "\"format\":\"csv\",\"name\":\"german-credit\","
    "\"override_by\":\"user:ana\",\"override_reason\":\"made up\",\"owner\":\"risk\",\"scan\":\"columns\","
    "\"shards\":["
    "{\"bytes\":1000,\"key\":\"credit/v3/shard-0000.csv\",\"plain_bytes\":1000,\"plain_sha256\":\"" HASH_A "\","
    "\"records\":25,\"sha256\":\"" HASH_A "\",\"version\":\"v1\"},"
    "{\"bytes\":2000,\"key\":\"credit/v3/shard-0001.csv\",\"plain_bytes\":2000,\"plain_sha256\":\"" HASH_B "\","
    "\"records\":50,\"sha256\":\"" HASH_B "\",\"version\":\"v2\"}],"
    "\"source\":\"german-credit.csv\",\"token_bytes\":0,"
    "\"tokenizer\":{\"end\":0,\"files\":[],\"name\":\"none\",\"vocabulary\":0},\"version\":3}";

/* As version 1 wrote it. */
static const char manifest_v1[] =
    "{\"basis\":\"contract\",\"bucket\":\"bank-data\",\"class\":\"personal\","
    "\"columns\":[{\"kind\":\"numeric\",\"name\":\"age\"},{\"kind\":\"category\",\"name\":\"class\"}],"
    "\"created_ms\":1795342500123,\"format\":\"csv\",\"name\":\"german-credit\",\"owner\":\"risk\","
    "\"shards\":["
    "{\"bytes\":1000,\"key\":\"credit/v3/shard-0000.csv\",\"records\":25,"
    "\"sha256\":\"" HASH_A "\",\"version\":\"v1\"},"
    "{\"bytes\":2000,\"key\":\"credit/v3/shard-0001.csv\",\"records\":50,"
    "\"sha256\":\"" HASH_B "\",\"version\":\"v2\"}],"
    "\"source\":\"german-credit.csv\",\"version\":1}";
/* clang-format on */

static enum err_code read_text(const char *text, struct dataset *out, struct err *e)
{
    return dataset_from_text(text, strlen(text), out, e);
}

/* ---- what is read and written ---- */

static void manifest_is_read(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    CLEANUP(dataset_done) struct dataset d = { .columns = NULL };
    assert_ok(read_text(manifest, &d, &e));
    assert_string_equal(d.name, "german-credit");
    assert_string_equal(d.owner, "risk");
    assert_string_equal(d.basis, "contract");
    assert_string_equal(d.source, "german-credit.csv");
    assert_string_equal(d.bucket, "bank-data");
    assert_int_equal(d.data_class, CLASS_PERSONAL);
    assert_int_equal(d.created_ms, 1795342500123);
    assert_int_equal(d.column_count, 2);
    assert_string_equal(d.columns[0].name, "age");
    assert_int_equal(d.columns[0].kind, COLUMN_NUMERIC);
    assert_int_equal(d.columns[1].kind, COLUMN_CATEGORY);
    assert_int_equal(d.shard_count, 2);
    assert_string_equal(d.shards[1].key, "credit/v3/shard-0001.csv");
    assert_string_equal(d.shards[1].version, "v2");
    assert_string_equal(d.shards[1].sha256, HASH_B);
    assert_int_equal(d.shards[1].bytes, 2000);
    assert_int_equal(d.shards[1].records, 50);
}

static void manifest_is_written_as_it_was_read(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    CLEANUP(dataset_done) struct dataset d = { .columns = NULL };
    CLEANUP(buf_done) struct buf text = BUF_INIT(65536);
    assert_ok(read_text(manifest, &d, &e));
    assert_ok(dataset_to_text(&d, &text, &e));
    assert_string_equal(buf_text(&text), manifest);
}

/* With `from` in place of it, and `to`. The caller frees. */
static char *replaced(const char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);
    assert_non_null(at);
    return mem_printf("%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
}

static void version_2_is_read_too(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    CLEANUP(dataset_done) struct dataset d = { .columns = NULL };
    CLEANUP(buf_done) struct buf text = BUF_INIT(65536);
    static const char tokenizer[] =
        "\"tokenizer\":{\"end\":0,\"files\":[],\"name\":\"none\",\"vocabulary\":0},\"version\":3";
    CLEANUP(freep) char *v2 = replaced(manifest, tokenizer, "\"version\":2");
    assert_ok(read_text(v2, &d, &e));
    assert_int_equal(d.tokenizer.kind, TOKENIZER_NONE);
    assert_int_equal(d.finding_count, 1);
    assert_ok(dataset_to_text(&d, &text, &e));
    assert_string_equal(buf_text(&text), manifest);
}

static void version_1_is_read_too(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    CLEANUP(dataset_done) struct dataset d = { .columns = NULL };
    CLEANUP(dataset_done) struct dataset now = { .columns = NULL };
    CLEANUP(freep)
    char *mixed = mem_printf("%.*s,\"scan\":\"none\"}", (int)strlen(manifest_v1) - 1, manifest_v1);
    char old_digest[65], new_digest[65];
    assert_ok(read_text(manifest_v1, &d, &e));
    assert_int_equal(d.compression, COMPRESSION_NONE);
    assert_int_equal(d.scan, SCANNED_NONE);
    assert_int_equal(d.finding_count, 0);
    assert_int_equal(d.shards[1].plain_bytes, 2000);
    assert_string_equal(d.shards[1].plain_sha256, HASH_B);
    assert_ok(read_text(manifest, &now, &e));
    dataset_content_digest(&d, old_digest);
    dataset_content_digest(&now, new_digest);
    assert_string_equal(old_digest, new_digest);
    assert_int_equal(read_text(mixed, &now, &e), ERR_CORRUPT);
}

/* The digest of what was staged before this version, by the lines of docs/FORMATS.md: it may not change. */
static void content_digest_stays_as_it_was(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    CLEANUP(dataset_done) struct dataset d = { .columns = NULL };
    char digest[65], want[65];
    static const char lines[] =
        "sovrun-dataset-content-v1\ncsv\n2\n2\nnumeric 3:age\ncategory 5:class\n25 " HASH_A "\n50 " HASH_B
        "\n";
    assert_ok(read_text(manifest, &d, &e));
    dataset_content_digest(&d, digest);
    dataset_digest(lines, strlen(lines), want);
    assert_string_equal(digest, want);
}

/* What the data is does not depend on how it is packed. */
static void compression_is_no_part_of_the_content(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    CLEANUP(dataset_done) struct dataset d = { .columns = NULL };
    char plain[65], packed[65];
    assert_ok(read_text(manifest, &d, &e));
    dataset_content_digest(&d, plain);
    d.compression = COMPRESSION_ZSTD;
    memset(d.shards[0].sha256, 'c', 64);
    d.shards[0].bytes = 17;
    dataset_content_digest(&d, packed);
    assert_string_equal(plain, packed);
}

/* As sha256sum says. */
static void digest_is_that_of_the_bytes(void **state)
{
    (void)state;
    char digest[65];
    dataset_digest("abc", 3, digest);
    assert_string_equal(digest,
                        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"); // FIPS 180-2 B.1
}

/* ---- what is refused: one change each ---- */

static const struct change {
    const char *name, *from, *to; /* the first `from` in the manifest becomes `to` */
    const char *want;
} changes[] = {
    { "a member may not be missing", "\"owner\":\"risk\",", "",
      "dataset manifest: 'owner' must be text; it is missing" },
    { "no other member", "\"owner\"", "\"x\":1,\"owner\"", "dataset manifest: 'x' is no member of it" },
    { "a member stands once", "\"owner\"", "\"owner\":\"a\",\"owner\"",
      "dataset manifest: line 1: duplicate object key" },
    { "a version that is known", "\"version\":3}", "\"version\":4}",
      "dataset manifest: 'version' must be from 1 to 3, not 4" },
    { "and there was none before the first", "\"version\":3}", "\"version\":0}",
      "dataset manifest: 'version' must be from 1 to 3, not 0" },
    { "a version is one thing", "\"version\":3}", "\"version\":2}",
      "dataset manifest: 'a member of version 3' is no member of it" },
    { "only tokens have a tokenizer", "\"end\":0,\"files\":[],\"name\":\"none\",\"vocabulary\":0",
      "\"end\":256,\"files\":[],\"name\":\"bytes\",\"vocabulary\":257",
      "dataset manifest: tokenizer: 'name' is 'bytes', which does not go with format 'csv'" },
    { "a format that is known", "\"csv\"", "\"parquet\"",
      "dataset manifest: 'format' must be csv, tokens or text, not 'parquet'" },
    { "text has no columns", "\"csv\"", "\"text\"",
      "dataset manifest: 'columns' has 2 entries, which does not go with format 'text'" },
    { "csv has no tokens", "\"token_bytes\":0", "\"token_bytes\":2",
      "dataset manifest: 'token_bytes' is 2, which does not go with format 'csv'" },
    { "plain shards are stored as they are", "\"plain_bytes\":1000", "\"plain_bytes\":1001",
      "dataset manifest: shards[0]: without compression, plain and stored are the same" },
    { "a compression that is known", "\"none\"", "\"gzip\"",
      "dataset manifest: 'compression' has no value 'gzip'" },
    { "a finding is of something", "\"count\":7", "\"count\":0",
      "dataset manifest: findings[0]: 'count' must be at least 1, not 0" },
    { "an override is somebody's", "user:ana", "",
      "dataset manifest: 'override_by' and 'override_reason' go together" },
    { "a class there is", "personal", "secret", "dataset manifest: 'class' has no value 'secret'" },
    { "a dataset has a name", "german-credit\",\"over", "\",\"over",
      "dataset manifest: 'name' must not be empty" },
    { "a column has a name", "\"name\":\"age\"", "\"name\":\"\"",
      "dataset manifest: columns[0]: 'name' must not be empty" },
    { "a kind of column there is", "numeric", "date",
      "dataset manifest: columns[0]: 'kind' has no value 'date'" },
    { "columns differ", "\"age\"", "\"class\"", "dataset manifest: 'columns' names 'class' twice" },
    { "a column is an object", "{\"kind\":\"numeric\",\"name\":\"age\"}", "7",
      "dataset manifest: columns[0]: must be an object" },
    { "shards differ", "shard-0001", "shard-0000",
      "dataset manifest: 'shards' names 'credit/v3/shard-0000.csv' twice" },
    { "a shard has records", "\"records\":25", "\"records\":0",
      "dataset manifest: shards[0]: 'records' must be from 1 to 8589934592, not 0" },
    { "a shard has bytes", "\"bytes\":2000", "\"bytes\":0",
      "dataset manifest: shards[1]: 'bytes' must be from 1 to 8589934592, not 0" },
    { "a count is whole", "\"bytes\":2000", "\"bytes\":2000.0",
      "dataset manifest: shards[1]: 'bytes' must be an integer, not a fraction" },
    { "no negative count", "\"bytes\":2000", "\"bytes\":-1",
      "dataset manifest: shards[1]: 'bytes' must be from 1 to 8589934592, not -1" },
    { "a shard is one object of the store", "\"bytes\":2000", "\"bytes\":8589934593",
      "dataset manifest: shards[1]: 'bytes' must be from 1 to 8589934592, not 8589934593" },
    { "a record takes a byte", "\"records\":25", "\"records\":1001",
      "dataset manifest: shards[0]: 1001 records cannot stand in 1000 bytes" },
    { "a hash is lower-case hex", "\"sha256\":\"" HASH_B,
      "\"sha256\":\"00112233445566778899AABBCCDDEEFF00112233445566778899aabbccddeeff",
      "dataset manifest: shards[1]: 'sha256' must be 64 lower-case hex digits, not "
      "'00112233445566778899AABBCCDDEEFF00112233445566778899aabbccddeeff'" },
    { "a hash is whole", "\"sha256\":\"" HASH_A, "\"sha256\":\"aa",
      "dataset manifest: shards[0]: 'sha256' must be 64 lower-case hex digits, not 'aa'" },
    { "a shard has its version", "\"version\":\"v2\"", "\"version\":\"\"",
      "dataset manifest: shards[1]: 'version' must not be empty" },
    { "a key ends with a name", "shard-0000.csv", "",
      "dataset manifest: shards[0]: 'bucket' and 'key' must be as s3://bank-data/credit/v3 names them" },
    { "a bucket is not a path", "bank-data", "bank/data",
      "dataset manifest: shards[0]: 'bucket' and 'key' must be as s3://bank/data/credit/v3/shard-0000.csv "
      "names them" },
};

static char *changed(const struct change *c)
{
    return replaced(manifest, c->from, c->to);
}

static void changed_manifest_is_corrupt(void **state)
{
    const struct change *c = *state;
    CLEANUP(freep) char *text = changed(c);
    struct err e = ERR_INIT;
    struct dataset d = { .created_ms = 77 };
    assert_int_equal(read_text(text, &d, &e), ERR_CORRUPT);
    assert_string_equal(e.text, c->want);
    assert_int_equal(d.created_ms, 77);
}

static void name_that_no_store_takes_is_corrupt(void **state)
{
    (void)state;
    static const struct change names[] = {
        { "", "credit/v3/shard-0000.csv", "/credit/v3/x", "" },
        { "", "credit/v3/shard-0000.csv", "credit//x", "" },
        { "", "credit/v3/shard-0000.csv", "credit/../x", "" },
        { "", "credit/v3/shard-0000.csv", "credit/./x", "" },
        { "", "credit/v3/shard-0000.csv", "", "" },
        { "", "credit/v3/shard-0000.csv", "credit/\\u0001", "" },
        { "", "bank-data", "Bank", "" },
        { "", "bank-data", "b", "" },
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        CLEANUP(freep) char *text = changed(&names[i]);
        struct err e = ERR_INIT;
        struct dataset d;
        assert_int_equal(read_text(text, &d, &e), ERR_CORRUPT);
    }
}

static void lists_have_their_sizes(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t count;
        const char *want;
    } cases[] = {
        { "columns", 0, "dataset manifest: 'columns' must have from 1 to 1024 entries, not 0" },
        { "columns", 1025, "dataset manifest: 'columns' must have from 1 to 1024 entries, not 1025" },
        { "shards", 0, "dataset manifest: 'shards' must have from 1 to 65536 entries, not 0" },
        { "shards", 65537, "dataset manifest: 'shards' must have from 1 to 65536 entries, not 65537" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP(json_donep) json_t *o = json_loads(manifest, 0, NULL);
        CLEANUP(buf_done) struct buf text = BUF_INIT(1 << 20);
        struct err e = ERR_INIT;
        struct dataset d;
        json_t *list = json_array();
        for (size_t n = 0; n < cases[i].count; n++)
            assert_int_equal(json_array_append_new(list, json_null()), 0);
        record_set(o, cases[i].name, list);
        assert_ok(json_canonical(o, &text, &e));
        assert_int_equal(dataset_from_text(text.data, text.len, &d, &e), ERR_CORRUPT);
        assert_string_equal(e.text, cases[i].want);
    }
}

/* `count` shards of `records` records each. */
static void write_many(size_t count, uint64_t records, struct buf *out)
{
    struct dataset_column column = { .name = "a" };
    struct dataset d = { .name = "d",
                         .format = "csv",
                         .bucket = "data",
                         .columns = &column,
                         .column_count = 1,
                         .shard_count = count };
    struct err e = ERR_INIT;
    d.shards = mem_array(count, sizeof(d.shards[0]));
    for (size_t i = 0; i < count; i++) {
        struct dataset_shard *s = &d.shards[i];
        snprintf(s->key, sizeof(s->key), "d/%zu", i);
        snprintf(s->version, sizeof(s->version), "v");
        memcpy(s->sha256, HASH_A, 65);
        s->bytes = STORE_OBJECT_BYTES_MAX;
        s->records = records;
    }
    assert_ok(dataset_to_text(&d, out, &e));
    free(d.shards);
}

static void many_shards_are_read_back(void **state)
{
    (void)state;
    enum { SHARDS = 5000 };
    CLEANUP(buf_done) struct buf text = BUF_INIT(JSON_BYTES_MAX);
    CLEANUP(dataset_done) struct dataset d = { .columns = NULL };
    struct err e = ERR_INIT;
    write_many(SHARDS, 3, &text);
    assert_ok(dataset_from_text(text.data, text.len, &d, &e));
    assert_int_equal(d.shard_count, SHARDS);
    assert_string_equal(d.shards[4999].key, "d/4999");
}

static void records_in_all_have_a_limit(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf most = BUF_INIT(JSON_BYTES_MAX);
    CLEANUP(buf_done) struct buf more = BUF_INIT(JSON_BYTES_MAX);
    CLEANUP(dataset_done) struct dataset d = { .columns = NULL };
    struct dataset none;
    struct err e = ERR_INIT;
    write_many(1024, 1 << 30, &most); // 2^40
    assert_ok(dataset_from_text(most.data, most.len, &d, &e));
    write_many(1025, 1 << 30, &more);
    assert_int_equal(dataset_from_text(more.data, more.len, &none, &e), ERR_CORRUPT);
    assert_string_equal(e.text,
                        "dataset manifest: its shards hold 1100585369600 records; at most 1099511627776 are "
                        "possible");
}

static void cut_manifest_is_corrupt(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof(manifest) - 1; n += 7) {
        struct err e = ERR_INIT;
        struct dataset d;
        assert_int_equal(dataset_from_text(manifest, n, &d, &e), ERR_CORRUPT);
    }
}

/* ---- in a store ---- */

static struct store *store_with(const char *key, const char *text)
{
    const struct store_place place = { .kind = STORE_MEM, .bucket = "bank-data", .region = "eu-test" };
    struct store *s = NULL;
    struct err e = ERR_INIT;
    assert_ok(store_make_bucket(&place, NULL, false, &e));
    assert_ok(store_open(&place, NULL, &s, &e));
    if (text)
        assert_ok(store_put(s, key, text, strlen(text), NULL, NULL, &e));
    return s;
}

static void dataset_is_found_under_its_prefix(void **state)
{
    (void)state;
    static const char *const prefixes[] = { "credit/v3", "credit/v3/" };
    CLEANUP(store_closep) struct store *s = store_with("credit/v3/manifest.json", manifest);
    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
        CLEANUP(dataset_done) struct dataset d = { .columns = NULL };
        struct err e = ERR_INIT;
        char digest[65], want[65];
        assert_ok(dataset_load(s, prefixes[i], &d, digest, &e));
        dataset_digest(manifest, strlen(manifest), want);
        assert_string_equal(digest, want);
        assert_int_equal(d.shard_count, 2);
    }
}

static void missing_dataset_says_how_to_stage_it(void **state)
{
    (void)state;
    CLEANUP(store_closep) struct store *s = store_with(NULL, NULL);
    struct dataset d = { .created_ms = 77 };
    struct err e = ERR_INIT;
    char digest[65] = "x";
    assert_int_equal(dataset_load(s, "nothing/here", &d, digest, &e), ERR_NOT_FOUND);
    assert_string_equal(
        e.text, "no dataset is staged under 'nothing/here' (there is no manifest.json): `sovrun data stage "
                "FILE s3://BUCKET/nothing/here` stages one");
    assert_int_equal(d.created_ms, 77);
    assert_string_equal(digest, "x");
}

static void shard_outside_the_prefix_is_corrupt(void **state)
{
    (void)state;
    static const char *const keys[] = { "credit/v30/x", "credit/v3", "other/x", "credit/v3x" };
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        const struct change c = { "", "credit/v3/shard-0001.csv", keys[i], "" };
        CLEANUP(freep) char *text = changed(&c);
        CLEANUP(store_closep) struct store *s = store_with("credit/v3/manifest.json", text);
        CLEANUP(freep)
        char *want = mem_printf("'credit/v3/manifest.json': dataset manifest: shards[1]: '%s' lies outside "
                                "'credit/v3/'",
                                keys[i]);
        struct dataset d;
        struct err e = ERR_INIT;
        char digest[65];
        assert_int_equal(dataset_load(s, "credit/v3", &d, digest, &e), ERR_CORRUPT);
        assert_string_equal(e.text, want);
    }
}

static void prefix_is_needed(void **state)
{
    (void)state;
    static const char *const prefixes[] = { "", "/" };
    CLEANUP(store_closep) struct store *s = store_with(NULL, NULL);
    CLEANUP(freep) char *too_long = mem_new(STORE_KEY_BYTES + 1);
    struct dataset d;
    struct err e = ERR_INIT;
    char digest[65];
    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++)
        assert_int_equal(dataset_load(s, prefixes[i], &d, digest, &e), ERR_USAGE);
    memset(too_long, 'a', STORE_KEY_BYTES);
    assert_int_equal(dataset_load(s, too_long, &d, digest, &e), ERR_USAGE);
}

static void store_failure_is_not_a_missing_dataset(void **state)
{
    (void)state;
    CLEANUP(store_closep) struct store *inner = store_with("credit/v3/manifest.json", manifest);
    CLEANUP(store_closep) struct store *s = store_fault_new(inner);
    struct dataset d;
    struct err e = ERR_INIT;
    char digest[65];
    store_fault_at(s, 1, ERR_RETRY, false);
    assert_int_equal(dataset_load(s, "credit/v3", &d, digest, &e), ERR_RETRY);
    assert_non_null(strstr(e.text, "load dataset 'credit/v3': "));
}

/* ---- the holdout ---- */

static const struct holdout_row {
    const char *name;
    uint64_t records;
    double share;
    uint64_t want;
} holdout_rows[] = {
    { "no share holds nothing", 1000, 0, 0 },
    { "a fifth of 1000", 1000, 0.2, 200 },
    { "rounds to the nearest", 7, 0.2, 1 },
    { "rounds down", 7, 0.05, 0 },
    { "a half rounds up", 1, 0.5, 1 },
    { "of nothing, nothing", 0, 0.5, 0 },
    { "a negative share holds nothing", 10, -1, 0 },
    { "a share that is no number holds nothing", 10, NAN, 0 },
    { "all", 10, 1, 10 },
    { "never more than all", 10, 7, 10 },
    { "large counts", 1000000000001, 0.1, 100000000000 },
};

static void share_is_held_out(void **state)
{
    const struct holdout_row *r = *state;
    assert_int_equal(dataset_holdout(r->records, r->share), r->want);
}

int main(void)
{
    static const struct CMUnitTest singles[] = {
        cmocka_unit_test(manifest_is_read),
        cmocka_unit_test(manifest_is_written_as_it_was_read),
        cmocka_unit_test(version_1_is_read_too),
        cmocka_unit_test(version_2_is_read_too),
        cmocka_unit_test(content_digest_stays_as_it_was),
        cmocka_unit_test(compression_is_no_part_of_the_content),
        cmocka_unit_test(digest_is_that_of_the_bytes),
        cmocka_unit_test(name_that_no_store_takes_is_corrupt),
        cmocka_unit_test(lists_have_their_sizes),
        cmocka_unit_test(many_shards_are_read_back),
        cmocka_unit_test(records_in_all_have_a_limit),
        cmocka_unit_test(cut_manifest_is_corrupt),
        cmocka_unit_test(dataset_is_found_under_its_prefix),
        cmocka_unit_test(missing_dataset_says_how_to_stage_it),
        cmocka_unit_test(shard_outside_the_prefix_is_corrupt),
        cmocka_unit_test(prefix_is_needed),
        cmocka_unit_test(store_failure_is_not_a_missing_dataset),
    };
    static struct CMUnitTest tests[ARRAY_LEN(singles) + ARRAY_LEN(changes) + ARRAY_LEN(holdout_rows)];
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(singles); i++)
        tests[n++] = singles[i];
    for (size_t i = 0; i < ARRAY_LEN(changes); i++)
        tests[n++] = (struct CMUnitTest){ changes[i].name, changed_manifest_is_corrupt, NULL, NULL,
                                          (void *)&changes[i] };
    for (size_t i = 0; i < ARRAY_LEN(holdout_rows); i++)
        tests[n++] = (struct CMUnitTest){ holdout_rows[i].name, share_is_held_out, NULL, NULL,
                                          (void *)&holdout_rows[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
