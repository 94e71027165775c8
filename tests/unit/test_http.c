#include "core/http/http.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/rng.h"
#include "base/text.h"
#include "tests/fake/http_fake.h"
#include "tests/test.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define OK_TEXT "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Thing:  a b \r\n\r\nhello"

/* One reply, one GET: what http_do() makes of it. */
static const struct row {
    const char *name;
    struct http_fake_reply reply;
    enum err_code want;
    const char *text; /* in the error, or the body */
} rows[] = {
    { "a plain answer is taken", { HTTP_FAKE_SAY, OK_TEXT }, OK, "hello" },
    { "a chunked answer is put together",
      { HTTP_FAKE_SAY,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n" },
      OK,
      "abcde" },
    { "an answer that ends with the connection is taken",
      { HTTP_FAKE_CLOSE, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end" },
      OK,
      "to the end" },
    { "an interim answer is passed over",
      { HTTP_FAKE_SAY, "HTTP/1.1 100 Continue\r\nX-Thing: interim\r\n\r\n" OK_TEXT },
      OK,
      "hello" },
    { "a status of 500 is an answer too",
      { HTTP_FAKE_SAY, "HTTP/1.1 500 Oops\r\nContent-Length: 3\r\n\r\nwhy" },
      OK,
      "why" },
    { "not modified is no redirect", { HTTP_FAKE_SAY, "HTTP/1.1 304 Not Modified\r\n\r\n" }, OK, "" },
    { "a moved place is refused, with its name",
      { HTTP_FAKE_SAY,
        "HTTP/1.1 301 Moved\r\nLocation: http://198.51.100.7/steal\r\nContent-Length: 0\r\n\r\n" },
      ERR_DENIED,
      "http://198.51.100.7/steal" },
    { "a temporary redirect is refused",
      { HTTP_FAKE_SAY, "HTTP/1.1 307 Elsewhere\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n" },
      ERR_DENIED,
      "redirect" },
    { "a redirect to nowhere is refused",
      { HTTP_FAKE_SAY, "HTTP/1.1 308 Gone\r\nContent-Length: 0\r\n\r\n" },
      ERR_DENIED,
      "redirect" },
    { "an answer beyond the limit is refused",
      { HTTP_FAKE_SAY,
        "HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n"
        "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567"
        "8901234567890" },
      ERR_LIMIT,
      "100 bytes" },
    { "an answer of unknown length beyond the limit is refused",
      { HTTP_FAKE_CLOSE,
        "HTTP/1.1 200 OK\r\n\r\n"
        "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123"
        "4567890123456789" },
      ERR_LIMIT,
      "100 bytes" },
    { "an answer cut short is to be tried again",
      { HTTP_FAKE_CLOSE, "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf" },
      ERR_RETRY,
      "127.0.0.1" },
    { "an answer reset half way is to be tried again",
      { HTTP_FAKE_RESET, "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf" },
      ERR_RETRY,
      "127.0.0.1" },
    { "a connection closed without a word is to be tried again",
      { HTTP_FAKE_CLOSE, "" },
      ERR_RETRY,
      "127.0.0.1" },
    { "a reset without a word is to be tried again", { HTTP_FAKE_RESET, "" }, ERR_RETRY, "127.0.0.1" },
    { "silence ends with a time-out that names the host", { HTTP_FAKE_HANG, "" }, ERR_RETRY, "127.0.0.1" },
    { "half an answer and then silence ends with a time-out",
      { HTTP_FAKE_HANG, "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf" },
      ERR_RETRY,
      "time-out" },
    { "what is not HTTP is corrupt",
      { HTTP_FAKE_CLOSE, "SSH-2.0-OpenSSH_9.2\r\n\r\n" },
      ERR_CORRUPT,
      "not HTTP" },
    { "a malformed length is corrupt or to be tried again",
      { HTTP_FAKE_CLOSE, "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n" },
      ERR_CORRUPT,
      "not HTTP" },
};

static struct http_client *client_of(const char *origin)
{
    struct err e = ERR_INIT;
    struct http_options o = { .origin = origin, .request_timeout_ms = 400 };
    struct http_client *c = NULL;
    assert_ok(http_open(&o, &c, &e));
    return c;
}

static void one_answer(void **state)
{
    const struct row *row = *state;
    struct err e = ERR_INIT;
    struct http_fake *server = http_fake_start(&row->reply, 1, NULL);
    struct http_client *c = client_of(http_fake_origin(server));
    struct http_response r = HTTP_RESPONSE_INIT(100);
    struct http_request q = { .method = "GET", .target = "/a" };
    enum err_code code = http_do(c, &q, &r, &e);
    if (code != row->want)
        fail_msg("%s, not %s: %s", err_name(code), err_name(row->want), e.text);
    if (code == OK)
        assert_string_equal(buf_text(&r.body), row->text);
    else if (!strstr(e.text, row->text))
        fail_msg("'%s' does not tell of '%s'", e.text, row->text);
    http_response_done(&r);
    http_close(c);
    http_fake_stop(server);
}

/* ---- what is sent ---- */

struct sent {
    struct http_fake *server;
    struct http_client *client;
    struct http_response answer;
};

static int start(void **state)
{
    static const struct http_fake_reply reply = { HTTP_FAKE_SAY, OK_TEXT };
    static struct sent s;
    s.server = http_fake_start(&reply, 1, NULL);
    s.client = client_of(http_fake_origin(s.server));
    s.answer = (struct http_response)HTTP_RESPONSE_INIT(100);
    *state = &s;
    return 0;
}

static int stop(void **state)
{
    struct sent *s = *state;
    http_response_done(&s->answer);
    http_close(s->client);
    http_fake_stop(s->server);
    return 0;
}

static void the_path_is_sent_byte_for_byte(void **state)
{
    struct sent *s = *state;
    static const char *const targets[] = { "/a/../b/./c", "/a//b", "/%2e%2e/%2F",
                                           "/a?x=1&x=&y", "/a?",   "/~*'()" };
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        struct err e = ERR_INIT;
        char want[64];
        struct http_request q = { .method = "GET", .target = targets[i] };
        assert_ok(http_do(s->client, &q, &s->answer, &e));
        snprintf(want, sizeof(want), "GET %s HTTP/1.1\r\n", targets[i]);
        assert_true(text_starts(http_fake_request(s->server, (int)i), want));
    }
    assert_int_equal(http_fake_connections(s->server), 1); /* kept alive */
}

static void nothing_is_added_to_a_put(void **state)
{
    struct sent *s = *state;
    struct err e = ERR_INIT;
    CLEANUP(buf_done) struct buf big = BUF_INIT(3 << 20);
    memset(buf_reserve(&big, 2 << 20), 'x', 2 << 20);
    buf_commit(&big, 2 << 20);
    const struct http_header headers[] = { { "X-Empty", "" }, { "X-Two", "a  b" } };
    struct http_request q = { .method = "PUT",
                              .target = "/a",
                              .headers = headers,
                              .header_count = 2,
                              .body = big.data,
                              .body_bytes = big.len,
                              .timeout_ms = 20000 };
    assert_ok(http_do(s->client, &q, &s->answer, &e));
    const char *got = http_fake_request(s->server, 0);
    assert_true(text_starts(got, "PUT /a HTTP/1.1\r\n"));
    assert_null(strcasestr(got, "\r\nexpect:"));
    assert_null(strcasestr(got, "\r\ncontent-type:"));
    assert_null(strcasestr(got, "\r\naccept-encoding:"));
    assert_non_null(strstr(got, "\r\nX-Empty:\r\n"));
    assert_non_null(strstr(got, "\r\nX-Two: a  b\r\n"));
    assert_non_null(strstr(got, "\r\nContent-Length: 2097152\r\n"));
    assert_int_equal(strlen(strstr(got, "\r\n\r\n") + 4), big.len);
}

static void methods_follow_one_another(void **state)
{
    struct sent *s = *state;
    static const struct {
        const char *method, *body, *want;
    } calls[] = {
        { "PUT", "abc", "Content-Length: 3\r\n" },   { "GET", NULL, NULL },
        { "POST", NULL, "Content-Length: 0\r\n" },   { "DELETE", NULL, NULL },
        { "PUT", NULL, "Content-Length: 0\r\n" },    { "POST", "abcd", "Content-Length: 4\r\n" },
        { "DELETE", "ab", "Content-Length: 2\r\n" }, { "GET", NULL, NULL },
    };
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        struct err e = ERR_INIT;
        struct http_request q = { .method = calls[i].method,
                                  .target = "/a",
                                  .body = calls[i].body,
                                  .body_bytes = calls[i].body ? strlen(calls[i].body) : 0 };
        assert_ok(http_do(s->client, &q, &s->answer, &e));
        const char *got = http_fake_request(s->server, (int)i);
        assert_true(text_starts(got, calls[i].method));
        if (calls[i].want)
            assert_non_null(strstr(got, calls[i].want));
        else
            assert_null(strstr(got, "Content-Length"));
        assert_string_equal(buf_text(&s->answer.body), "hello");
    }
}

static void a_head_has_no_body(void **state)
{
    static const struct http_fake_reply replies[] = {
        { HTTP_FAKE_SAY, "HTTP/1.1 200 OK\r\nContent-Length: 123456789\r\n\r\n" },
        { HTTP_FAKE_SAY, OK_TEXT },
    };
    (void)state;
    struct err e = ERR_INIT;
    char length[32];
    struct http_fake *server = http_fake_start(replies, 2, NULL);
    struct http_client *c = client_of(http_fake_origin(server));
    struct http_response r = HTTP_RESPONSE_INIT(100);
    struct http_request head = { .method = "HEAD", .target = "/a" },
                        get = { .method = "GET", .target = "/a" };
    assert_ok(http_do(c, &head, &r, &e));
    assert_int_equal(r.status, 200);
    assert_int_equal(r.body.len, 0);
    assert_string_equal(http_header(&r, "content-length", length, sizeof(length)), "123456789");
    assert_ok(http_do(c, &get, &r, &e));
    assert_string_equal(buf_text(&r.body), "hello");
    assert_true(text_starts(http_fake_request(server, 0), "HEAD "));
    http_response_done(&r);
    http_close(c);
    http_fake_stop(server);
}

static void headers_are_found_by_their_names(void **state)
{
    struct sent *s = *state;
    struct err e = ERR_INIT;
    char out[16], small[3];
    struct http_request q = { .method = "GET", .target = "/" };
    assert_ok(http_do(s->client, &q, &s->answer, &e));
    assert_string_equal(http_header(&s->answer, "x-thing", out, sizeof(out)), "a b");
    assert_null(http_header(&s->answer, "thing", out, sizeof(out)));
    assert_null(http_header(&s->answer, "x-thin", out, sizeof(out)));
    assert_null(http_header(&s->answer, "x-thing", small, sizeof(small)));
}

static void malformed_requests_are_refused(void **state)
{
    struct sent *s = *state;
    static const char *const targets[] = { "", "a", "http://elsewhere/", "/a b", "/a\r\nX: y", "/a#b" };
    static const struct http_header bad[] = {
        { "X-A", "b\r\nX-Injected: c" }, { "X A", "b" }, { "", "b" }, { "X:", "b" }, { "X-A", "b\nc" },
    };
    struct err e = ERR_INIT;
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        struct http_request q = { .method = "GET", .target = targets[i] };
        assert_int_equal(http_do(s->client, &q, &s->answer, &e), ERR_USAGE);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct http_request q = { .method = "GET", .target = "/", .headers = &bad[i], .header_count = 1 };
        assert_int_equal(http_do(s->client, &q, &s->answer, &e), ERR_USAGE);
    }
    struct http_request split = { .method = "GET / HTTP/1.1\r\n", .target = "/" };
    assert_int_equal(http_do(s->client, &split, &s->answer, &e), ERR_USAGE);
    assert_int_equal(http_fake_count(s->server), 0);
}

static void headers_without_end_are_a_limit(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    CLEANUP(buf_done) struct buf text = BUF_INIT(200 * 1024);
    buf_add_text(&text, "HTTP/1.1 200 OK\r\n");
    for (int i = 0; i < 1000; i++)
        buf_addf(&text,
                 "X-Filler-%d: 0123456789012345678901234567890123456789012345678901234567890123456789\r\n",
                 i);
    buf_add_text(&text, "Content-Length: 0\r\n\r\n");
    struct http_fake_reply reply = { HTTP_FAKE_SAY, buf_text(&text) };
    struct http_fake *server = http_fake_start(&reply, 1, NULL);
    struct http_client *c = client_of(http_fake_origin(server));
    struct http_response r = HTTP_RESPONSE_INIT(100);
    struct http_request q = { .method = "GET", .target = "/" };
    assert_int_equal(http_do(c, &q, &r, &e), ERR_LIMIT);
    http_response_done(&r);
    http_close(c);
    http_fake_stop(server);
}

/* ---- places ---- */

static void only_an_origin_is_a_place(void **state)
{
    static const char *const bad[] = {
        "",           "127.0.0.1:1", "ftp://a",    "http://",  "http://a/",    "http://a/b",  "http://u:p@a",
        "http://a?b", "file:///etc", "http://a b", "HTTP://a", "http://a\r\n", "https://a#b", "http://a\\b",
    };
    (void)state;
    struct err e = ERR_INIT;
    struct http_client *c = NULL;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct http_options o = { .origin = bad[i] };
        assert_int_equal(http_open(&o, &c, &e), ERR_USAGE);
    }
    struct http_options no_file = { .origin = "https://a", .ca_file = "build/no-such-file.pem" };
    assert_int_equal(http_open(&no_file, &c, &e), ERR_NOT_FOUND);
    assert_null(c);
}

static void nobody_there_is_to_be_tried_again(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof(at);
    char origin[64];
    CLEANUP(fd_closep)
    int fd = socket(AF_INET, SOCK_STREAM, 0); /* bound, so nobody else gets it; never listens */
    assert_int_equal(bind(fd, (struct sockaddr *)&at, n), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &n), 0);
    snprintf(origin, sizeof(origin), "http://127.0.0.1:%u", ntohs(at.sin_port));
    struct http_client *c = client_of(origin);
    struct http_response r = HTTP_RESPONSE_INIT(100);
    struct http_request q = { .method = "GET", .target = "/" };
    assert_int_equal(http_do(c, &q, &r, &e), ERR_RETRY);
    assert_non_null(strstr(e.text, origin));
    http_response_done(&r);
    http_close(c);
}

static void proxies_in_the_environment_are_ignored(void **state)
{
    struct sent *s = *state;
    struct err e = ERR_INIT;
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("all_proxy", "http://127.0.0.1:1", 1);
    struct http_client *c = client_of(http_fake_origin(s->server));
    struct http_request q = { .method = "GET", .target = "/" };
    assert_ok(http_do(c, &q, &s->answer, &e));
    http_close(c);
    unsetenv("http_proxy");
    unsetenv("all_proxy");
}

static void a_unix_socket_is_a_place_too(void **state)
{
    static const struct http_fake_reply reply = { HTTP_FAKE_SAY, OK_TEXT };
    (void)state;
    struct err e = ERR_INIT;
    char path[128];
    const char *build = getenv("B");
    snprintf(path, sizeof(path), "%s/test", build ? build : "build");
    assert_ok(dir_make(path, 0755, &e));
    snprintf(path, sizeof(path), "%s/test/http-%d.sock", build ? build : "build", (int)getpid());
    struct http_fake *server = http_fake_start(&reply, 1, path);
    struct http_options o = { .origin = "http://scheduler", .unix_socket = path };
    struct http_client *c = NULL;
    struct http_response r = HTTP_RESPONSE_INIT(100);
    struct http_request q = { .method = "GET", .target = "/v1/jobs" };
    assert_ok(http_open(&o, &c, &e));
    assert_ok(http_do(c, &q, &r, &e));
    assert_string_equal(buf_text(&r.body), "hello");
    assert_non_null(strstr(http_fake_request(server, 0), "\r\nHost: scheduler\r\n"));
    http_response_done(&r);
    http_close(c);
    http_fake_stop(server);
    unlink(path);
}

static void tls_is_not_believed_from_a_plain_server(void **state)
{
    struct sent *s = *state;
    struct err e = ERR_INIT;
    char origin[64];
    snprintf(origin, sizeof(origin), "https%s", http_fake_origin(s->server) + strlen("http"));
    struct http_client *c = client_of(origin);
    struct http_request q = { .method = "GET", .target = "/" };
    assert_int_equal(http_do(c, &q, &s->answer, &e), ERR_RETRY);
    http_close(c);
}

/* ---- the small functions ---- */

static void every_status_has_its_code(void **state)
{
    static const struct {
        int status;
        enum err_code want;
    } statuses[] = {
        { 200, OK },
        { 204, OK },
        { 299, OK },
        { 400, ERR_USAGE },
        { 401, ERR_DENIED },
        { 403, ERR_DENIED },
        { 404, ERR_NOT_FOUND },
        { 405, ERR_USAGE },
        { 409, ERR_CONFLICT },
        { 412, ERR_CONFLICT },
        { 429, ERR_RETRY },
        { 500, ERR_RETRY },
        { 501, ERR_USAGE },
        { 502, ERR_RETRY },
        { 503, ERR_RETRY },
        { 504, ERR_RETRY },
        { 0, ERR_USAGE },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        struct err e = ERR_INIT;
        struct http_response r = HTTP_RESPONSE_INIT(100);
        r.status = statuses[i].status;
        buf_add_text(&r.body, "be\ncause");
        assert_int_equal(http_check(&r, &e), statuses[i].want);
        if (statuses[i].want)
            assert_non_null(strstr(e.text, "be cause"));
        assert_int_equal(e.cause, statuses[i].want ? statuses[i].status : 0);
        http_response_done(&r);
    }
}

static void encoding_follows_rfc_3986(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf out = BUF_INIT(200);
    http_encode("a/b c~-._+%ä*", true, &out);
    assert_string_equal(buf_text(&out), "a/b%20c~-._%2B%25%C3%A4%2A");
    buf_reset(&out);
    http_encode("a/b", false, &out);
    assert_string_equal(buf_text(&out), "a%2Fb");
}

int main(void)
{
    static struct CMUnitTest tests[ARRAY_LEN(rows) + 15];
    size_t n = 0;
    for (; n < ARRAY_LEN(rows); n++)
        tests[n] = (struct CMUnitTest){ rows[n].name, one_answer, NULL, NULL, (void *)&rows[n] };
    const struct CMUnitTest more[] = {
        cmocka_unit_test_setup_teardown(the_path_is_sent_byte_for_byte, start, stop),
        cmocka_unit_test_setup_teardown(nothing_is_added_to_a_put, start, stop),
        cmocka_unit_test_setup_teardown(methods_follow_one_another, start, stop),
        cmocka_unit_test(a_head_has_no_body),
        cmocka_unit_test_setup_teardown(headers_are_found_by_their_names, start, stop),
        cmocka_unit_test_setup_teardown(malformed_requests_are_refused, start, stop),
        cmocka_unit_test(headers_without_end_are_a_limit),
        cmocka_unit_test(only_an_origin_is_a_place),
        cmocka_unit_test(nobody_there_is_to_be_tried_again),
        cmocka_unit_test_setup_teardown(proxies_in_the_environment_are_ignored, start, stop),
        cmocka_unit_test(a_unix_socket_is_a_place_too),
        cmocka_unit_test_setup_teardown(tls_is_not_believed_from_a_plain_server, start, stop),
        cmocka_unit_test(every_status_has_its_code),
        cmocka_unit_test(encoding_follows_rfc_3986),
    };
    _Static_assert(ARRAY_LEN(more) < 16, "room in tests[]");
    for (size_t i = 0; i < ARRAY_LEN(more); i++)
        tests[n++] = more[i];
    return _cmocka_run_group_tests("http", tests, n, NULL, NULL);
}
