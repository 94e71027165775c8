/* Bad servers held up to our own client: none of them gets a request, and a good one does. */
#include "core/crypto/trap.h"
#include "base/file.h"
#include "base/mem.h"
#include "core/http/http.h"
#include "tests/test.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static const char fine[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

static const struct row {
    const char *name;
    enum trap_kind kind;
    enum err_code want;
    int handshakes_most, requests;
} rows[] = {
    { "a good certificate is spoken to", TRAP_GOOD, OK, 1, 1 },
    { "one whose time is over is not", TRAP_EXPIRED, ERR_DENIED, 1, 0 },
    { "one for another host is not", TRAP_OTHER_NAME, ERR_DENIED, 1, 0 },
    { "one of another authority is not", TRAP_OTHER_AUTHORITY, ERR_DENIED, 1, 0 },
    { "TLS 1.1 is not", TRAP_OLD_TLS, ERR_RETRY, 0, 0 },
    { "plain HTTP on this machine is", TRAP_PLAIN, OK, 0, 1 },
};

static void is_spoken_to_or_not(void **state)
{
    const struct row *row = *state;
    CLEANUP(trap_stopp) struct trap *t = NULL;
    CLEANUP(http_closep) struct http_client *c = NULL;
    CLEANUP(http_response_done) struct http_response r = HTTP_RESPONSE_INIT(1000);
    CLEANUP(freep) char *ca = mem_printf("build/trap-%d.pem", (int)getpid());
    struct err e = ERR_INIT;
    char origin[64];
    assert_ok(trap_start(row->kind, fine, &t, &e));
    assert_ok(file_write(ca, trap_authority(t), strlen(trap_authority(t)), 0600, &e));
    snprintf(origin, sizeof(origin), "http%s://127.0.0.1:%d", row->kind == TRAP_PLAIN ? "" : "s",
             trap_port(t));
    const struct http_options o = { .origin = origin, .ca_file = row->kind == TRAP_PLAIN ? NULL : ca };
    assert_ok(http_open(&o, &c, &e));
    enum err_code code = http_do(c, &(struct http_request){ .method = "GET", .target = "/" }, &r, &e);
    if (code != row->want)
        fail_msg("%s, not %s: %s", err_name(code), err_name(row->want), e.text);
    struct trap_seen seen = trap_seen(t);
    assert_int_equal(seen.connections, 1);
    assert_true(seen.handshakes <= row->handshakes_most);
    assert_int_equal(seen.requests, row->requests);
    assert_ok(file_remove(ca, &e));
}

static void a_stranger_has_a_certificate_and_its_key(void **state)
{
    CLEANUP(buf_done) struct buf certificate = BUF_INIT(16384);
    CLEANUP(buf_wipe) struct buf key = BUF_INIT(16384);
    struct err e = ERR_INIT;
    (void)state;
    assert_ok(trap_stranger(&certificate, &key, &e));
    assert_non_null(strstr(buf_text(&certificate), "-----BEGIN CERTIFICATE-----"));
    assert_non_null(strstr(buf_text(&key), "-----BEGIN PRIVATE KEY-----"));
}

static void a_client_that_says_nothing_does_not_hold_up_the_end(void **state)
{
    struct trap *t = NULL;
    struct err e = ERR_INIT;
    (void)state;
    assert_ok(trap_start(TRAP_GOOD, fine, &t, &e));
    trap_stop(t);
    trap_stop(NULL);
}

int main(void)
{
    static const struct CMUnitTest whole[] = {
        cmocka_unit_test(a_stranger_has_a_certificate_and_its_key),
        cmocka_unit_test(a_client_that_says_nothing_does_not_hold_up_the_end),
    };
    static struct CMUnitTest tests[ARRAY_LEN(rows) + ARRAY_LEN(whole)];
    size_t n = 0;
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        tests[n++] = (struct CMUnitTest){ rows[i].name, is_spoken_to_or_not, NULL, NULL, (void *)&rows[i] };
    for (size_t i = 0; i < ARRAY_LEN(whole); i++)
        tests[n++] = whole[i];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
