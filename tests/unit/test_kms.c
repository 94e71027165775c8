/* The key service's answers: what each means, what is tried again and what never. */
#include "core/keys/kms_call.h"
#include "tests/fake/http_fake.h"
#include "tests/test.h"

#include <stdio.h>
#include <string.h>

#define ANSWER(status, more, body) "HTTP/1.1 " status "\r\nConnection: close\r\n" more "\r\n" body
#define FINE                                                                                                 \
    {                                                                                                        \
        HTTP_FAKE_CLOSE, ANSWER("200 OK", "", "{\"KeyId\":\"k\"}")                                           \
    }
#define SAYS(status, type)                                                                                   \
    {                                                                                                        \
        HTTP_FAKE_CLOSE,                                                                                     \
            ANSWER(status, "x-amzn-RequestId: r-7\r\n", "{\"__type\":\"" type "\",\"message\":\"why\"}")     \
    }

static const struct row {
    const char *name;
    struct http_fake_reply replies[3];
    size_t count;
    enum err_code want;
    int calls; /* that many requests were made */
    const char *says;
} rows[] = {
    { "an answer", { FINE }, 1, OK, 1, "" },
    { "throttled, then not", { SAYS("400 Bad Request", "ThrottlingException"), FINE }, 2, OK, 2, "" },
    { "its own failure, then not", { SAYS("500 Oops", "KMSInternalException"), FINE }, 2, OK, 2, "" },
    { "a 503 without a word, then not",
      { { HTTP_FAKE_CLOSE, ANSWER("503 Busy", "", "") }, FINE },
      2,
      OK,
      2,
      "" },
    { "a key that is not ready, then is",
      { SAYS("400 Bad Request", "KeyUnavailableException"), FINE },
      2,
      OK,
      2,
      "" },
    { "a reset, then not", { { HTTP_FAKE_RESET, "" }, FINE }, 2, OK, 2, "" },
    { "throttled for ever",
      { SAYS("400 Bad Request", "ThrottlingException") },
      1,
      ERR_RETRY,
      5,
      "gave up after 5 tries" },
    { "access denied is final",
      { SAYS("400 Bad Request", "AccessDeniedException") },
      1,
      ERR_DENIED,
      1,
      "127.0.0.1" },
    { "a type with its namespace",
      { SAYS("400 Bad Request", "com.amazonaws.kms#AccessDeniedException") },
      1,
      ERR_DENIED,
      1,
      "r-7" },
    { "no such key",
      { SAYS("400 Bad Request", "NotFoundException") },
      1,
      ERR_NOT_FOUND,
      1,
      "NotFoundException" },
    { "a disabled key", { SAYS("400 Bad Request", "DisabledException") }, 1, ERR_NOT_FOUND, 1, "" },
    { "a key that waits to be deleted",
      { SAYS("400 Bad Request", "KMSInvalidStateException") },
      1,
      ERR_NOT_FOUND,
      1,
      "" },
    { "another key's ciphertext",
      { SAYS("400 Bad Request", "InvalidCiphertextException") },
      1,
      ERR_CORRUPT,
      1,
      "" },
    { "an expired token",
      { SAYS("400 Bad Request", "ExpiredTokenException") },
      1,
      ERR_DENIED,
      1,
      "ExpiredToken" },
    { "a refusal that is not known",
      { SAYS("400 Bad Request", "NewException") },
      1,
      ERR_USAGE,
      1,
      "NewException" },
    { "a page of some other server",
      { { HTTP_FAKE_CLOSE, ANSWER("404 Not Found", "", "<html>") } },
      1,
      ERR_CORRUPT,
      1,
      "without a reason" },
    { "no JSON",
      { { HTTP_FAKE_CLOSE, ANSWER("200 OK", "", "hello") } },
      1,
      ERR_CORRUPT,
      1,
      "no JSON object" },
    { "a list", { { HTTP_FAKE_CLOSE, ANSWER("200 OK", "", "[]") } }, 1, ERR_CORRUPT, 1, "no JSON object" },
    { "sent elsewhere",
      { { HTTP_FAKE_CLOSE, ANSWER("307 Elsewhere", "Location: https://198.51.100.7/\r\n", "") } },
      1,
      ERR_DENIED,
      1,
      "redirect" },
};

static struct kms *open_at(const char *origin)
{
    struct err e = ERR_INIT;
    struct kms *k = NULL;
    struct keys_config config = { .provider = KEYS_KMS, .region = "eu-central-1" };
    CLEANUP(secret_freep) struct secret *id = secret_new("AKID", 4);
    CLEANUP(secret_freep) struct secret *key = secret_new("secret-of-the-test", 18);
    const struct keys_secrets secrets = { .access_key = id, .secret_key = key };
    snprintf(config.endpoint, sizeof(config.endpoint), "%s", origin);
    assert_ok(kms_open(&config, &secrets, &k, &e));
    return k;
}

static void answers(void **state)
{
    const struct row *row = *state;
    struct http_fake *server = http_fake_start(row->replies, row->count, NULL);
    CLEANUP(kms_closep) struct kms *k = open_at(http_fake_origin(server));
    CLEANUP(json_donep) json_t *request = json_pack("{s:s}", "KeyId", "k");
    CLEANUP(json_donep) json_t *answer = NULL;
    struct err e = ERR_INIT;
    enum err_code code = kms_call(k, "DescribeKey", request, &answer, &e);
    if (code != row->want || (code && !strstr(e.text, row->says)))
        fail_msg("%s: %s", err_name(code), e.text);
    assert_int_equal(http_fake_count(server), row->calls);
    assert_null(strstr(e.text, "secret-of-the-test"));
    assert_non_null(strstr(http_fake_request(server, 0), "TrentService.DescribeKey"));
    assert_null(strstr(http_fake_request(server, 0), "secret-of-the-test"));
    http_fake_stop(server);
}

/* Eight hours off, either way: the service's own date is taken, and the call signed anew. */
static void a_clock_that_is_off_is_put_right(void **state)
{
    static const struct http_fake_reply replies[] = {
        { HTTP_FAKE_CLOSE, ANSWER("400 Bad Request", "Date: Fri, 27 Nov 2037 18:00:00 GMT\r\n",
                                  "{\"__type\":\"InvalidSignatureException\",\"message\":\"Signature "
                                  "expired: 1 is now earlier\"}") },
        FINE,
    };
    struct http_fake *server = http_fake_start(replies, 2, NULL);
    CLEANUP(kms_closep) struct kms *k = open_at(http_fake_origin(server));
    CLEANUP(json_donep) json_t *request = json_object();
    CLEANUP(json_donep) json_t *answer = NULL;
    struct err e = ERR_INIT;
    (void)state;
    assert_ok(kms_call(k, "ListAliases", request, &answer, &e));
    assert_int_equal(http_fake_count(server), 2);
    assert_non_null(strstr(http_fake_request(server, 1), "20371127T18000"));
    http_fake_stop(server);
}

int main(void)
{
    static struct CMUnitTest tests[ARRAY_LEN(rows) + 1];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        tests[i] = (struct CMUnitTest){ rows[i].name, answers, NULL, NULL, (void *)(uintptr_t)&rows[i] };
    tests[ARRAY_LEN(rows)] = (struct CMUnitTest)cmocka_unit_test(a_clock_that_is_off_is_put_right);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
