/*
 * Awkward requests to a real S3 service, below the store's own rule for keys: names that must be encoded and
 * signed just so, queries and headers whose order or spaces matter. Each row is one request or more that the
 * service must understand as we mean it: what is put under a key is read back under it, by another request,
 * and listed under no other.
 */
#include "tests/test.h"

#include "base/mem.h"
#include "core/store/s3.h"

#include <stdio.h>
#include <string.h>

static struct store *store; /* NULL: no service */
static struct store_s3 *s3;

static int open_store(void **state)
{
    const char *endpoint = getenv("SOVRUN_TEST_S3_ENDPOINT"), *region = getenv("SOVRUN_TEST_S3_REGION"),
               *id = getenv("SOVRUN_TEST_S3_ACCESS_KEY"), *key = getenv("SOVRUN_TEST_S3_SECRET_KEY");
    struct store_place place = { .kind = STORE_S3, .path_style = true };
    struct err e = ERR_INIT;
    (void)state;
    if (!endpoint || !region || !id || !key)
        return 0;
    CLEANUP(secret_freep) struct secret *access = secret_new(id, strlen(id));
    CLEANUP(secret_freep) struct secret *secret = secret_new(key, strlen(key));
    const struct store_credentials credentials = { .access_key = access, .secret_key = secret };
    snprintf(place.endpoint, sizeof(place.endpoint), "%s", endpoint);
    snprintf(place.region, sizeof(place.region), "%s", region);
    snprintf(place.bucket, sizeof(place.bucket), "awkward-names");
    if (store_make_bucket(&place, &credentials, false, &e) ||
        s3_open(&place, &credentials, &s3_options_default, &store, &e)) {
        print_error("%s\n", e.text);
        return -1;
    }
    s3 = (struct store_s3 *)store;
    return 0;
}

static int close_store(void **state)
{
    (void)state;
    store_close(store);
    return 0;
}

static enum err_code call(struct s3_call *c, struct http_response *r, struct err *e)
{
    return s3_do(s3, c, r, NULL, e);
}

/* ---- keys ---- */

static const struct key_row {
    const char *name, *key;
} keys[] = {
    { "a plain key", "plain" },
    { "a space", "a b" },
    { "two spaces", "a  b" },
    { "a space first", " a" },
    { "a space last", "a " },
    { "a plus", "a+b" },
    { "a percent", "a%b" },
    { "what looks encoded", "a%20b" },
    { "what looks encoded twice", "a%2520b" },
    { "a percent at the end", "a%" },
    { "an encoded slash", "a%2Fb" },
    { "a tilde", "a~b" },
    { "an equals sign", "a=b" },
    { "an ampersand", "a&b" },
    { "a number sign", "a#b" },
    { "a question mark", "a?b" },
    { "a whole query", "a?versionId=x&b" },
    { "what looks like a setting", "a?acl" },
    { "a colon", "a:b" },
    { "a semicolon", "a;b" },
    { "a comma", "a,b" },
    { "a dollar", "a$b" },
    { "an at sign", "a@b" },
    { "an exclamation mark", "a!b" },
    { "a star", "a*b" },
    { "an apostrophe", "a'b" },
    { "a quotation mark", "a\"b" },
    { "round brackets", "a(b)c" },
    { "square brackets", "a[b]c" },
    { "curly brackets", "a{b}c" },
    { "angle brackets", "a<b>c" },
    { "a bar", "a|b" },
    { "a backslash", "a\\b" },
    { "a caret", "a^b" },
    { "a grave", "a`b" },
    { "a tab", "a\tb" },
    { "an underscore and a hyphen", "a_b-c" },
    { "dots", "a.b..c" },
    { "two slashes", "a//b" },
    { "three slashes", "a///b" },
    { "a slash last", "a/" },
    { "two slashes last", "a//" },
    { "a slash first", "/a" },
    { "a dot segment", "a/./b" },
    { "two dots as a segment", "a/../b" },
    { "two dots first", "../a" },
    { "a dot first", "./a" },
    { "a dot alone as the last segment", "a/." },
    { "two dots alone as the last segment", "a/.." },
    { "an umlaut", "\xc3\xa4" },
    { "the same umlaut put together", "a\xcc\x88" },
    { "the euro", "\xe2\x82\xac" },
    { "Chinese", "\xe4\xb8\xad\xe6\x96\x87" },
    { "Arabic, from right to left", "\xd8\xb9\xd8\xb1\xd8\xa8" },
    { "an emoji", "\xf0\x9f\x94\x92" },
    { "a no-break space", "a\xc2\xa0"
                          "b" },
    { "upper and lower case", "aB" },
    { "the other case", "Ab" },
    { "a number", "000" },
    { "everything at once", "a b+c%d~e=f&g#h?i:j;k,l$m@n!o*p'q(r)s/\xc3\xa4" },
};

/* Put under it, got back by GET and HEAD, and removed. */
static void a_key_is_kept_as_it_is(void **state)
{
    const struct key_row *row = *state;
    struct err e = ERR_INIT;
    if (!store)
        skip();
    char key[256];
    snprintf(key, sizeof(key), "%s", row->key);
    CLEANUP(http_response_done) struct http_response r = HTTP_RESPONSE_INIT(64 * 1024);
    struct s3_call put = { .method = "PUT", .key = key, .body = row->name, .body_bytes = strlen(row->name) };
    struct s3_call get = { .method = "GET", .key = key }, head = { .method = "HEAD", .key = key };
    struct s3_call gone = { .method = "DELETE", .key = key };
    assert_ok(call(&put, &r, &e));
    assert_ok(call(&get, &r, &e));
    assert_string_equal(buf_text(&r.body), row->name);
    assert_ok(call(&head, &r, &e));
    assert_ok(call(&gone, &r, &e));
}

static void a_key_as_long_as_it_goes(void **state)
{
    struct err e = ERR_INIT;
    char key[1025];
    (void)state;
    if (!store)
        skip();
    memset(key, 'k', 1024);
    key[1024] = '\0';
    CLEANUP(http_response_done) struct http_response r = HTTP_RESPONSE_INIT(64 * 1024);
    struct s3_call put = { .method = "PUT", .key = key, .body = "x", .body_bytes = 1 };
    struct s3_call get = { .method = "GET", .key = key };
    assert_ok(call(&put, &r, &e));
    assert_ok(call(&get, &r, &e));
    assert_string_equal(buf_text(&r.body), "x");
}

/* ---- queries ---- */

static const struct query_row {
    const char *name, *method;
    bool of_key; /* of an object that is there */
    const char *params[4][2];
    const char *says; /* in the answer */
} queries[] = {
    { "a setting without a value", "GET", false, { { "versioning", "" } }, "VersioningConfiguration" },
    { "another", "GET", false, { { "location", "" } }, "LocationConstraint" },
    { "uploads", "GET", false, { { "uploads", "" } }, "ListMultipartUploadsResult" },
    { "versions", "GET", false, { { "versions", "" } }, "ListVersionsResult" },
    { "names out of order",
      "GET",
      false,
      { { "prefix", "there" }, { "list-type", "2" }, { "max-keys", "5" } },
      "there" },
    { "an empty value among others",
      "GET",
      false,
      { { "prefix", "" }, { "list-type", "2" }, { "delimiter", "" } },
      "ListBucketResult" },
    { "a prefix with a space", "GET", false, { { "list-type", "2" }, { "prefix", "a b" } }, "a b" },
    { "a prefix with a plus", "GET", false, { { "list-type", "2" }, { "prefix", "a+b" } }, "a+b" },
    { "a prefix with a percent", "GET", false, { { "list-type", "2" }, { "prefix", "a%20b" } }, "a%20b" },
    { "a prefix with an ampersand", "GET", false, { { "list-type", "2" }, { "prefix", "a&b" } }, "a&amp;b" },
    { "a prefix with an umlaut",
      "GET",
      false,
      { { "list-type", "2" }, { "prefix", "\xc3\xa4" } },
      "\xc3\xa4" },
    { "a prefix with a slash", "GET", false, { { "list-type", "2" }, { "prefix", "a/b" } }, "a/b" },
    { "a delimiter", "GET", false, { { "delimiter", "/" }, { "list-type", "2" } }, "<Delimiter>/" },
    { "a type in the answer's place", "GET", true, { { "response-content-type", "text/x y+z" } }, "there" },
    { "tags of an object", "GET", true, { { "tagging", "" } }, "Tagging" },
    { "an encoded list", "GET", false, { { "encoding-type", "url" }, { "list-type", "2" } }, "EncodingType" },
};

static void a_query_is_understood(void **state)
{
    const struct query_row *row = *state;
    struct err e = ERR_INIT;
    if (!store)
        skip();
    CLEANUP(http_response_done) struct http_response r = HTTP_RESPONSE_INIT(1 << 20);
    struct s3_call put = { .method = "PUT", .key = "there", .body = "there", .body_bytes = 5 };
    struct s3_call ask = { .method = row->method, .key = row->of_key ? "there" : NULL };
    for (size_t i = 0; i < ARRAY_LEN(row->params) && row->params[i][0]; i++)
        s3_param(&ask, row->params[i][0], row->params[i][1]);
    assert_ok(call(&put, &r, &e));
    assert_ok(call(&ask, &r, &e));
    if (!strstr(buf_text(&r.body), row->says))
        fail_msg("'%.300s' lacks '%s'", buf_text(&r.body), row->says);
}

/* ---- headers ---- */

static const struct header_row {
    const char *name, *headers[4][2];
    const char *want[2]; /* a header of the answer to HEAD, and its value; or none */
} headers[] = {
    { "one that is the beginning of another",
      { { "x-amz-meta-a-b", "2" }, { "x-amz-meta-a", "1" } },
      { "x-amz-meta-a", "1" } },
    { "the other way round",
      { { "x-amz-meta-a", "1" }, { "x-amz-meta-a-b", "2" } },
      { "x-amz-meta-a-b", "2" } },
    { "spaces inside a value", { { "x-amz-meta-s", "one  two" } }, { NULL } },
    { "an equals sign and a semicolon", { { "x-amz-meta-e", "a=b;c" } }, { "x-amz-meta-e", "a=b;c" } },
    { "a comma and a quote", { { "x-amz-meta-c", "a,\"b\"" } }, { "x-amz-meta-c", "a,\"b\"" } },
    { "upper case in a name", { { "X-Amz-Meta-Upper", "v" } }, { "x-amz-meta-upper", "v" } },
    { "a content type with a parameter",
      { { "content-type", "text/plain; charset=utf-8" } },
      { "content-type", "text/plain; charset=utf-8" } },
};

static void a_header_is_signed_as_it_is_sent(void **state)
{
    const struct header_row *row = *state;
    struct err e = ERR_INIT;
    char value[128];
    if (!store)
        skip();
    CLEANUP(http_response_done) struct http_response r = HTTP_RESPONSE_INIT(64 * 1024);
    struct s3_call put = { .method = "PUT", .key = "headers", .body = "x", .body_bytes = 1 };
    struct s3_call head = { .method = "HEAD", .key = "headers" };
    for (size_t i = 0; i < ARRAY_LEN(row->headers) && row->headers[i][0]; i++)
        s3_header(&put, row->headers[i][0], row->headers[i][1]);
    assert_ok(call(&put, &r, &e));
    assert_ok(call(&head, &r, &e));
    if (!row->want[0])
        return;
    assert_non_null(http_header(&r, row->want[0], value, sizeof(value)));
    assert_string_equal(value, row->want[1]);
}

#define ADD(rows, fn)                                                                                        \
    for (size_t i_ = 0; i_ < ARRAY_LEN(rows); i_++)                                                          \
        tests[count++] = (struct CMUnitTest)                                                                 \
        {                                                                                                    \
            (rows)[i_].name, fn, NULL, NULL, (void *)(uintptr_t) & (rows)[i_]                                \
        }

int main(void)
{
    static struct CMUnitTest tests[ARRAY_LEN(keys) + ARRAY_LEN(queries) + ARRAY_LEN(headers) + 1];
    size_t count = 0;
    ADD(keys, a_key_is_kept_as_it_is);
    ADD(queries, a_query_is_understood);
    ADD(headers, a_header_is_signed_as_it_is_sent);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(a_key_as_long_as_it_goes);
    return _cmocka_run_group_tests("s3 awkward", tests, count, open_store, close_store);
}
