#include "core/aws/sigv4.h"

#include "base/clock.h"
#include "core/crypto/crypto.h"
#include "core/store/crc32c.h"
#include "tests/test.h"
#include "tests/unit/sigv4_suite.h"

#include <stdio.h>
#include <string.h>

/*
 * AWS, "Signature Calculations for the Authorization Header: Transferring Payload in a Single Chunk" (and the
 * seed of "... in Multiple Chunks"): published requests of 2013-05-24 with their signatures. The keys are
 * AWS's own documentation keys.
 */
static const char access_text[] = "AKIAIOSFODNN7EXAMPLE",
                  secret_text[] = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
static const char empty_hash[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
static const char hello_hash[] = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
static const char at[] = "20130524T000000Z";

static const struct row {
    const char *name, *method, *path, *query, *payload_hash;
    struct http_header headers[8];
    const char *signature;
} rows[] = {
    { "get a range of an object",
      "GET",
      "/test.txt",
      "",
      empty_hash,
      { { "Host", "examplebucket.s3.amazonaws.com" },
        { "Range", "bytes=0-9" },
        { "x-amz-content-sha256", empty_hash },
        { "x-amz-date", at } },
      "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41" },
    { "put an object whose key is encoded",
      "PUT",
      "/test%24file.text",
      "",
      hello_hash,
      { { "Date", "Fri, 24 May 2013 00:00:00 GMT" },
        { "Host", "examplebucket.s3.amazonaws.com" },
        { "x-amz-content-sha256", hello_hash },
        { "x-amz-date", at },
        { "x-amz-storage-class", "REDUCED_REDUNDANCY" } },
      "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd" },
    { "a parameter without a value",
      "GET",
      "/",
      "lifecycle=",
      empty_hash,
      { { "Host", "examplebucket.s3.amazonaws.com" },
        { "x-amz-content-sha256", empty_hash },
        { "x-amz-date", at } },
      "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543" },
    { "list with two parameters",
      "GET",
      "/",
      "max-keys=2&prefix=J",
      empty_hash,
      { { "Host", "examplebucket.s3.amazonaws.com" },
        { "x-amz-content-sha256", empty_hash },
        { "x-amz-date", at } },
      "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7" },
    { "the seed of an upload in chunks",
      "PUT",
      "/examplebucket/chunkObject.txt",
      "",
      "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
      { { "host", "s3.amazonaws.com" },
        { "x-amz-date", at },
        { "x-amz-storage-class", "REDUCED_REDUNDANCY" },
        { "content-encoding", "aws-chunked" },
        { "content-length", "66824" },
        { "x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" },
        { "x-amz-decoded-content-length", "66560" } },
      "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9" },
};

struct keys {
    struct secret *access, *secret;
};

static void keys_done(struct keys *k)
{
    secret_free(k->access);
    secret_free(k->secret);
}

static struct keys keys_new(void)
{
    return (struct keys){ secret_new(access_text, strlen(access_text)),
                          secret_new(secret_text, strlen(secret_text)) };
}

static size_t count_of(const struct http_header *headers, size_t max)
{
    size_t n = 0;
    while (n < max && headers[n].name)
        n++;
    return n;
}

static struct sigv4_request signing_of(const struct row *row, const struct keys *k)
{
    struct err e = ERR_INIT;
    struct sigv4_request q = {
        .access_key = k->access,
        .secret_key = k->secret,
        .region = "us-east-1",
        .service = "s3",
        .method = row->method,
        .path = row->path,
        .query = row->query,
        .headers = row->headers,
        .header_count = count_of(row->headers, ARRAY_LEN(row->headers)),
        .payload_hash = row->payload_hash,
    };
    assert_ok(clock_parse("2013-05-24T00:00:00Z", &q.time_ms, &e));
    return q;
}

/* "...Signature=" and then 64 digits. */
static const char *signature_in(struct buf *authorization)
{
    static const char mark[] = ", Signature=";
    const char *at_mark = strstr(buf_text(authorization), mark);
    assert_non_null(at_mark);
    return at_mark + strlen(mark);
}

static void agrees_with_aws(void **state)
{
    const struct row *row = *state;
    CLEANUP(keys_done) struct keys k = keys_new();
    CLEANUP(buf_done) struct buf out = BUF_INIT(2000);
    struct err e = ERR_INIT;
    struct sigv4_request q = signing_of(row, &k);
    assert_ok(sigv4_sign(&q, &out, &e));
    const char *text = buf_text(&out);
    const char *start =
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, SignedHeaders=";
    assert_int_equal(strncmp(text, start, strlen(start)), 0);
    assert_string_equal(signature_in(&out), row->signature);
    assert_null(strstr(text, secret_text));
}

/* What S3 alone does otherwise is asked for: the path is signed in another form than it is sent in. */
static void agrees_with_the_suite(void **state)
{
    static const char suite_access[] = "AKIDEXAMPLE",
                      suite_secret[] = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    const struct suite_case *c = *state;
    CLEANUP(keys_done)
    struct keys k = { secret_new(suite_access, strlen(suite_access)),
                      secret_new(suite_secret, strlen(suite_secret)) };
    CLEANUP(buf_done) struct buf query = BUF_INIT(2000), out = BUF_INIT(2000);
    struct http_header headers[8] = { { "Host", "example.amazonaws.com" },
                                      { "X-Amz-Date", "20150830T123600Z" } };
    struct err e = ERR_INIT;
    char hash[SHA256_HEX_BYTES];
    size_t count = count_of(c->headers, ARRAY_LEN(c->headers)), params = 0;
    memcpy(headers + 2, c->headers, count * sizeof(headers[0]));
    while (params < ARRAY_LEN(c->params) && c->params[params].name)
        params++;
    assert_ok(sigv4_query(c->params, params, &query, &e));
    sha256_hex(c->body ? c->body : "", c->body ? strlen(c->body) : 0, hash);
    struct sigv4_request q = {
        .access_key = k.access,
        .secret_key = k.secret,
        .region = "us-east-1",
        .service = "service",
        .method = c->method,
        .path = c->path,
        .path_normalised = c->normalised,
        .path_encoded_again = true,
        .query = buf_text(&query),
        .headers = headers,
        .header_count = 2 + count,
        .payload_hash = hash,
    };
    assert_ok(clock_parse("2015-08-30T12:36:00Z", &q.time_ms, &e));
    assert_ok(sigv4_sign(&q, &out, &e));
    assert_string_equal(signature_in(&out), c->signature);
}

/* The same document's example goes on: 65 KiB of "a", in chunks of 64 KiB. */
static void chunks_agree_with_aws(void **state)
{
    static const char *const signatures[] = {
        "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
        "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
        "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"
    };
    static const size_t sizes[] = { 65536, 1024, 0 };
    static char data[66560];
    (void)state;
    CLEANUP(keys_done) struct keys k = keys_new();
    CLEANUP(buf_done) struct buf authorization = BUF_INIT(2000), body = BUF_INIT(70000);
    struct err e = ERR_INIT;
    struct sigv4_request q = signing_of(&rows[ARRAY_LEN(rows) - 1], &k);
    memset(data, 'a', sizeof(data));
    assert_ok(sigv4_sign(&q, &authorization, &e));
    assert_ok(sigv4_chunks(&q, buf_text(&authorization), data, sizeof(data), 65536, &body, &e));
    assert_int_equal(body.len, 66824); /* the Content-Length that was signed */
    assert_int_equal(sigv4_chunks_bytes(sizeof(data), 65536), body.len);
    const char *from = buf_text(&body);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        char head[128];
        int n = snprintf(head, sizeof(head), "%zx;chunk-signature=%s\r\n", sizes[i], signatures[i]);
        assert_int_equal(strncmp(from, head, (size_t)n), 0);
        from += (size_t)n + sizes[i];
        assert_int_equal(strncmp(from, "\r\n", 2), 0);
        from += 2;
    }
    for (size_t n = 0; n < 40; n++) {
        CLEANUP(buf_done) struct buf small = BUF_INIT(10000);
        assert_ok(sigv4_chunks(&q, buf_text(&authorization), data, n, 17, &small, &e));
        assert_int_equal(sigv4_chunks_bytes(n, 17), small.len);
    }
}

static void signature_of(const struct sigv4_request *q, char out[65])
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(4000);
    struct err e = ERR_INIT;
    assert_ok(sigv4_sign(q, &text, &e));
    memcpy(out, signature_in(&text), 65);
}

/* ':' sorts behind '-', so names are compared and not whole lines; case and order of what is given do not
 * matter. */
static void headers_are_sorted_by_name(void **state)
{
    (void)state;
    CLEANUP(keys_done) struct keys k = keys_new();
    struct row one = { .method = "PUT",
                       .path = "/a",
                       .query = "",
                       .payload_hash = SIGV4_UNSIGNED_PAYLOAD,
                       .headers = { { "x-amz-server-side-encryption", "aws:kms" },
                                    { "x-amz-server-side-encryption-aws-kms-key-id", "k" },
                                    { "Host", "h" },
                                    { "X-Amz-Meta-a-b", "1" },
                                    { "x-amz-meta-a", "2" } } };
    struct row two = one;
    memcpy(two.headers,
           (struct http_header[]){ one.headers[4], one.headers[3], one.headers[2], one.headers[1],
                                   one.headers[0] },
           5 * sizeof(struct http_header));
    two.headers[1].name = "x-amz-meta-A-B";
    struct sigv4_request a = signing_of(&one, &k), b = signing_of(&two, &k);
    CLEANUP(buf_done) struct buf text = BUF_INIT(2000);
    struct err e = ERR_INIT;
    char first[65], second[65];
    signature_of(&a, first);
    signature_of(&b, second);
    assert_string_equal(first, second);
    assert_ok(sigv4_sign(&a, &text, &e));
    assert_non_null(strstr(buf_text(&text),
                           "SignedHeaders=host;x-amz-meta-a;x-amz-meta-a-b;x-amz-server-side-encryption;"
                           "x-amz-server-side-encryption-aws-kms-key-id,"));
}

static void spaces_in_values_are_folded(void **state)
{
    static const struct {
        const char *one, *two;
        bool same;
    } pairs[] = {
        { "a b", "a   b", true }, { "a b", "  a b  ", true }, { "", "   ", true },
        { "a b", "ab", false },   { "a b", "a\tb", false },
    };
    (void)state;
    CLEANUP(keys_done) struct keys k = keys_new();
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        struct row one = { .method = "PUT",
                           .path = "/a",
                           .query = "",
                           .payload_hash = SIGV4_UNSIGNED_PAYLOAD,
                           .headers = { { "x-amz-meta-a", pairs[i].one } } };
        struct row two = one;
        char first[65], second[65];
        two.headers[0].value = pairs[i].two;
        struct sigv4_request a = signing_of(&one, &k), b = signing_of(&two, &k);
        signature_of(&a, first);
        signature_of(&b, second);
        assert_int_equal(strcmp(first, second) == 0, pairs[i].same);
    }
}

/* Every part of a request counts: changing any changes the signature. */
static void everything_is_signed(void **state)
{
    (void)state;
    CLEANUP(keys_done) struct keys k = keys_new();
    const struct row *row = &rows[1];
    struct sigv4_request q = signing_of(row, &k), changed[9];
    char plain[65], other[65];
    signature_of(&q, plain);
    for (size_t i = 0; i < ARRAY_LEN(changed); i++)
        changed[i] = q;
    struct keys wrong = { k.access, k.access };
    changed[0].method = "POST";
    changed[1].path = "/test%24file.tex";
    changed[2].query = "a=";
    changed[3].region = "us-east-2";
    changed[4].service = "kms";
    changed[5].time_ms += 86400000;
    changed[6].header_count--;
    changed[7].payload_hash = SIGV4_UNSIGNED_PAYLOAD;
    changed[8].secret_key = wrong.secret;
    for (size_t i = 0; i < ARRAY_LEN(changed); i++) {
        signature_of(&changed[i], other);
        assert_string_not_equal(plain, other);
    }
}

static void too_much_is_refused(void **state)
{
    (void)state;
    CLEANUP(keys_done) struct keys k = keys_new();
    CLEANUP(buf_done) struct buf out = BUF_INIT(2000), small = BUF_INIT(20);
    struct err e = ERR_INIT;
    char zeros[300] = { 0 };
    struct sigv4_request q = signing_of(&rows[0], &k);
    q.header_count = SIGV4_HEADERS_MAX + 1;
    assert_int_equal(sigv4_sign(&q, &out, &e), ERR_LIMIT);
    q = signing_of(&rows[0], &k);
    assert_int_equal(sigv4_sign(&q, &small, &e), ERR_LIMIT);
    struct secret *long_key = secret_new(zeros, sizeof(zeros));
    q.secret_key = long_key;
    assert_int_equal(sigv4_sign(&q, &out, &e), ERR_USAGE);
    secret_free(long_key);
}

static void a_query_is_sorted_and_encoded(void **state)
{
    static const struct {
        struct sigv4_param params[4];
        const char *want;
    } queries[] = {
        { { { NULL, NULL } }, "" },
        { { { "uploads", "" } }, "uploads=" },
        { { { "uploadId", "a/b+c=" }, { "partNumber", "2" } }, "partNumber=2&uploadId=a%2Fb%2Bc%3D" },
        { { { "prefix", "ä b&c=d" }, { "list-type", "2" } }, "list-type=2&prefix=%C3%A4%20b%26c%3Dd" },
        { { { "a", "2" }, { "a", "1" }, { "A", "3" } }, "A=3&a=1&a=2" },
        { { { "a-b", "1" }, { "a", "2" } }, "a=2&a-b=1" }, /* by name, not by "name=" */
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(queries); i++) {
        CLEANUP(buf_done) struct buf out = BUF_INIT(500);
        struct err e = ERR_INIT;
        size_t n = 0;
        while (queries[i].params[n].name)
            n++;
        assert_ok(sigv4_query(queries[i].params, n, &out, &e));
        assert_string_equal(buf_text(&out), queries[i].want);
    }
    struct sigv4_param many[SIGV4_PARAMS_MAX + 1];
    struct err e = ERR_INIT;
    CLEANUP(buf_done) struct buf out = BUF_INIT(500);
    for (size_t i = 0; i < ARRAY_LEN(many); i++)
        many[i] = (struct sigv4_param){ "a", "b" };
    assert_int_equal(sigv4_query(many, ARRAY_LEN(many), &out, &e), ERR_LIMIT);
}

/* RFC 3720, appendix B.4, and the usual check value. */
static void crc32c_agrees_with_the_standard(void **state)
{
    (void)state;
    uint8_t zeros[32] = { 0 }, ones[32], up[32], down[32];
    char text[CRC32C_TEXT_BYTES];
    for (size_t i = 0; i < 32; i++) {
        ones[i] = 0xff;
        up[i] = (uint8_t)i;
        down[i] = (uint8_t)(31 - i);
    }
    assert_int_equal(crc32c(zeros, 32), 0x8a9136aa);
    assert_int_equal(crc32c(ones, 32), 0x62a8ab43);
    assert_int_equal(crc32c(up, 32), 0x46dd794e);
    assert_int_equal(crc32c(down, 32), 0x113fdb5c);
    assert_int_equal(crc32c("123456789", 9), 0xe3069283);
    assert_int_equal(crc32c("", 0), 0);
    assert_string_equal(crc32c_text("123456789", 9, text), "4waSgw==");
    for (size_t n = 0; n <= 32; n++)
        assert_int_equal(crc32c(up, n), crc32c_portable(up, n));
}

int main(void)
{
    static struct CMUnitTest tests[ARRAY_LEN(rows) + ARRAY_LEN(suite) + 8];
    size_t n = 0;
    for (; n < ARRAY_LEN(rows); n++)
        tests[n] = (struct CMUnitTest){ rows[n].name, agrees_with_aws, NULL, NULL, (void *)&rows[n] };
    for (size_t i = 0; i < ARRAY_LEN(suite); i++)
        tests[n++] =
            (struct CMUnitTest){ suite[i].name, agrees_with_the_suite, NULL, NULL, (void *)&suite[i] };
    const struct CMUnitTest more[] = {
        cmocka_unit_test(headers_are_sorted_by_name),
        cmocka_unit_test(spaces_in_values_are_folded),
        cmocka_unit_test(everything_is_signed),
        cmocka_unit_test(too_much_is_refused),
        cmocka_unit_test(chunks_agree_with_aws),
        cmocka_unit_test(a_query_is_sorted_and_encoded),
        cmocka_unit_test(crc32c_agrees_with_the_standard),
    };
    for (size_t i = 0; i < ARRAY_LEN(more); i++)
        tests[n++] = more[i];
    return _cmocka_run_group_tests("s3 sign", tests, n, NULL, NULL);
}
