#include "core/store/store.h"

#include "core/store/store_check.h"
#include "tests/test.h"

#include <stdio.h>
#include <string.h>

static const struct row {
    const char *name, *uri;
    enum err_code want;
    const char *bucket, *key;
} rows[] = {
    { "bucket and key", "s3://bank-data/german-credit/v3", OK, "bank-data", "german-credit/v3" },
    { "a bucket alone", "s3://bank-data", OK, "bank-data", "" },
    { "a bucket and its slash", "s3://bank-data/", OK, "bank-data", "" },
    { "one slash at the end is dropped", "s3://bank-data/a/", OK, "bank-data", "a" },
    { "the key is taken as it stands", "s3://b-1.x/a b?c#d%20e", OK, "b-1.x", "a b?c#d%20e" },
    { "a key in another script", "s3://abc/größe/日本", OK, "abc", "größe/日本" },
    { "two slashes at the end are not", "s3://bank-data/a//", ERR_USAGE, NULL, NULL },
    { "a slash alone is no key", "s3://bank-data//", ERR_USAGE, NULL, NULL },
    { "no scheme", "bank-data/a", ERR_USAGE, NULL, NULL },
    { "another scheme", "file:///tmp/a", ERR_USAGE, NULL, NULL },
    { "nothing", "", ERR_USAGE, NULL, NULL },
    { "no bucket", "s3://", ERR_USAGE, NULL, NULL },
    { "no bucket but a key", "s3:///a", ERR_USAGE, NULL, NULL },
    { "a bucket that is too short", "s3://ab/c", ERR_USAGE, NULL, NULL },
    { "a bucket of 63", "s3://aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggg/c", OK,
      "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggg", "c" },
    { "a bucket of 64", "s3://aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggg/c", ERR_USAGE,
      NULL, NULL },
    { "upper case", "s3://Bank/c", ERR_USAGE, NULL, NULL },
    { "an underscore", "s3://bank_data/c", ERR_USAGE, NULL, NULL },
    { "a dash at the end", "s3://bank-/c", ERR_USAGE, NULL, NULL },
    { "a dot at the start", "s3://.bank/c", ERR_USAGE, NULL, NULL },
    { "two dots", "s3://ba..nk/c", ERR_USAGE, NULL, NULL },
    { "dots alone", "s3://.../c", ERR_USAGE, NULL, NULL },
    { "a dot beside a dash", "s3://ba.-nk/c", ERR_USAGE, NULL, NULL },
    { "climbing out", "s3://bank/../c", ERR_USAGE, NULL, NULL },
    { "an empty segment", "s3://bank/a//c", ERR_USAGE, NULL, NULL },
    { "a line break", "s3://bank/a\nc", ERR_USAGE, NULL, NULL },
    { "a user", "s3://user@bank/c", ERR_USAGE, NULL, NULL },
};

static void uri_parses(void **state)
{
    const struct row *row = *state;
    struct err e = ERR_INIT;
    char bucket[STORE_BUCKET_BYTES] = "before", key[STORE_KEY_BYTES] = "before";
    assert_int_equal(store_uri_parse(row->uri, bucket, key, &e), row->want);
    assert_string_equal(bucket, row->want ? "before" : row->bucket);
    assert_string_equal(key, row->want ? "before" : row->key);
}

static void a_key_has_1024_bytes_at_most(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    char uri[2000], bucket[STORE_BUCKET_BYTES], key[STORE_KEY_BYTES];
    for (int n = 1023; n <= 1025; n++) {
        snprintf(uri, sizeof(uri), "s3://bank/%0*d", n, 7);
        assert_int_equal(store_uri_parse(uri, bucket, key, &e), n <= 1024 ? OK : ERR_USAGE);
    }
    snprintf(uri, sizeof(uri), "s3://bank/%01024d/", 7);
    err_clear(&e);
    assert_ok(store_uri_parse(uri, bucket, key, &e));
    assert_int_equal(strlen(key), 1024);
}

static void a_prefix_may_end_anywhere(void **state)
{
    static const struct {
        const char *prefix;
        enum err_code want;
    } prefixes[] = {
        { "", OK },
        { "a", OK },
        { "a/", OK },
        { "a/.", OK },
        { "a/..", OK },
        { "../", ERR_USAGE },
        { "a/../b", ERR_USAGE },
        { "/", ERR_USAGE },
        { "a//", ERR_USAGE },
        { "./a", ERR_USAGE },
        { "a\xff", ERR_USAGE },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
        struct err e = ERR_INIT;
        assert_int_equal(store_check_prefix(prefixes[i].prefix, &e), prefixes[i].want);
    }
}

int main(void)
{
    static struct CMUnitTest tests[ARRAY_LEN(rows) + 2];
    size_t n = 0;
    for (; n < ARRAY_LEN(rows); n++)
        tests[n] = (struct CMUnitTest){ rows[n].name, uri_parses, NULL, NULL, (void *)&rows[n] };
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(a_key_has_1024_bytes_at_most);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(a_prefix_may_end_anywhere);
    return _cmocka_run_group_tests("store uri", tests, n, NULL, NULL);
}
