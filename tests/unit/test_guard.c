/* Where a connection may go: ranges, addresses, and what a client does with a no. */
#include "base/text.h"
#include "core/http/http.h"
#include "tests/fake/http_fake.h"
#include "tests/test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* ---- ranges ---- */

static const struct range_row {
    const char *name, *text, *as; /* `as` NULL: refused */
} range_rows[] = {
    { "a network", "10.1.0.0/16", "10.1.0.0/16" },
    { "one address", "192.0.2.7", "192.0.2.7/32" },
    { "everything of version 4", "0.0.0.0/0", "0.0.0.0/0" },
    { "a network of version 6", "2001:db8::/32", "2001:db8::/32" },
    { "one address of version 6", "2001:db8::7", "2001:db8::7/128" },
    { "everything of version 6", "::/0", "::/0" },
    { "a mapped address is the one of version 4", "::ffff:192.0.2.7", "192.0.2.7/32" },
    { "bits behind the prefix are a mistake", "10.1.2.0/16", NULL },
    { "bits behind a prefix of version 6, too", "2001:db8::1/64", NULL },
    { "a prefix that is too long", "10.0.0.0/33", NULL },
    { "a prefix of version 6 that is too long", "2001:db8::/129", NULL },
    { "a negative prefix", "10.0.0.0/-1", NULL },
    { "an empty prefix", "10.0.0.0/", NULL },
    { "two prefixes", "10.0.0.0/8/8", NULL },
    { "a name", "s3.example", NULL },
    { "a short form", "10.1/16", NULL },
    { "an octal form", "010.0.0.0/8", NULL },
    { "nothing", "", NULL },
    { "a space", " 10.0.0.0/8", NULL },
    { "a zone", "fe80::1%lo", NULL },
    { "very long", "1111111111111111111111111111111111111111111111111111111111111111111111111111111", NULL },
};

static void reads_range(void **state)
{
    const struct range_row *row = *state;
    struct http_range r;
    struct err e = ERR_INIT;
    char text[HTTP_RANGE_TEXT_BYTES];
    if (!row->as) {
        assert_int_equal(http_range_parse(row->text, &r, &e), ERR_USAGE);
        return;
    }
    assert_ok(http_range_parse(row->text, &r, &e));
    assert_string_equal(http_range_format(&r, text), row->as);
}

/* ---- addresses ---- */

static const struct address_row {
    const char *name, *ranges[3], *address;
    bool allowed;
} address_rows[] = {
    { "no range: loopback", { NULL }, "127.0.0.1", true },
    { "no range: all of loopback", { NULL }, "127.255.255.254", true },
    { "no range: loopback of version 6", { NULL }, "::1", true },
    { "no range: loopback in mapped form", { NULL }, "::ffff:127.0.0.1", true },
    { "no range: nobody else", { NULL }, "128.0.0.1", false },
    { "no range: not a private address either", { NULL }, "10.0.0.1", false },
    { "no range: not the unspecified address", { NULL }, "0.0.0.0", false },
    { "with a range loopback is not listed", { "10.1.0.0/16" }, "127.0.0.1", false },
    { "the first address of a range", { "10.1.0.0/16" }, "10.1.0.0", true },
    { "the last address of a range", { "10.1.0.0/16" }, "10.1.255.255", true },
    { "one before it", { "10.1.0.0/16" }, "10.0.255.255", false },
    { "one behind it", { "10.1.0.0/16" }, "10.2.0.0", false },
    { "a mapped address in a range of version 4", { "10.1.0.0/16" }, "::ffff:10.1.2.3", true },
    { "a prefix inside a byte", { "192.0.2.64/26" }, "192.0.2.127", true },
    { "one behind a prefix inside a byte", { "192.0.2.64/26" }, "192.0.2.128", false },
    { "the second range counts", { "10.1.0.0/16", "192.0.2.7" }, "192.0.2.7", true },
    { "version 6 in its range", { "2001:db8::/32" }, "2001:db8:ffff::1", true },
    { "version 6 out of it", { "2001:db8::/32" }, "2001:db9::1", false },
    { "everything of version 4 is not version 6", { "0.0.0.0/0" }, "2001:db8::1", false },
    { "what is no address", { "0.0.0.0/0" }, "s3.example", false },
    { "an empty text", { NULL }, "", false },
};

static void add_range(struct http_guard *g, const char *text)
{
    struct err e = ERR_INIT;
    assert_ok(http_range_parse(text, &g->ranges[g->range_count++], &e));
}

static void decides(void **state)
{
    const struct address_row *row = *state;
    struct http_guard g = { .range_count = 0 };
    for (size_t i = 0; i < ARRAY_LEN(row->ranges) && row->ranges[i]; i++)
        add_range(&g, row->ranges[i]);
    assert_int_equal(http_guard_allows_text(&g, row->address), row->allowed);
    struct sockaddr_in v4 = { .sin_family = AF_INET };
    if (inet_pton(AF_INET, row->address, &v4.sin_addr) == 1)
        assert_int_equal(http_guard_allows(&g, (struct sockaddr *)&v4), row->allowed);
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
    if (inet_pton(AF_INET6, row->address, &v6.sin6_addr) == 1)
        assert_int_equal(http_guard_allows(&g, (struct sockaddr *)&v6), row->allowed);
}

static void another_family_is_not_allowed(void **state)
{
    struct http_guard g = { .range_count = 0 };
    struct sockaddr unix_address = { .sa_family = AF_UNIX };
    (void)state;
    add_range(&g, "0.0.0.0/0");
    assert_false(http_guard_allows(&g, &unix_address));
}

/* ---- a client ---- */

struct seen {
    int count;
    enum http_refusal_kind kind;
    char place[128], detail[128];
};

static void see(void *context, const struct http_refusal *r)
{
    struct seen *seen = context;
    seen->count++;
    seen->kind = r->kind;
    snprintf(seen->place, sizeof(seen->place), "%s", r->place);
    snprintf(seen->detail, sizeof(seen->detail), "%s", r->detail);
}

static const struct http_fake_reply fine = { HTTP_FAKE_SAY,
                                             "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" };

/* One GET to `origin` under `g`. */
static enum err_code get(const char *origin, const struct http_guard *g, struct seen *seen, struct err *e)
{
    CLEANUP(http_closep) struct http_client *c = NULL;
    CLEANUP(http_response_done) struct http_response r = HTTP_RESPONSE_INIT(100);
    struct http_options o = { .origin = origin, .request_timeout_ms = 2000, .guard = g };
    *seen = (struct seen){ .count = 0 };
    http_on_refusal(see, seen);
    enum err_code code = http_open(&o, &c, e);
    if (code == OK)
        code = http_do(c, &(struct http_request){ .method = "GET", .target = "/" }, &r, e);
    http_on_refusal(NULL, NULL);
    return code;
}

static void an_address_outside_is_never_connected_to(void **state)
{
    struct http_fake *server = http_fake_start(&fine, 1, NULL);
    struct http_guard g = { .range_count = 0 };
    struct seen seen;
    struct err e = ERR_INIT;
    uint64_t before = http_refusals();
    (void)state;
    add_range(&g, "127.0.0.2/32"); /* where nobody listens; the server is at 127.0.0.1 */
    assert_int_equal(get(http_fake_origin(server), &g, &seen, &e), ERR_DENIED);
    assert_non_null(strstr(e.text, "127.0.0.1 is outside the ranges"));
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.kind, HTTP_REFUSED_ADDRESS);
    assert_string_equal(seen.detail, "127.0.0.1");
    assert_string_equal(seen.place, http_fake_origin(server));
    assert_int_equal(http_refusals(), before + 1);
    assert_int_equal(http_fake_connections(server), 0);
    http_fake_stop(server);
}

static void an_address_inside_is(void **state)
{
    struct http_fake *server = http_fake_start(&fine, 1, NULL);
    struct http_guard g = { .range_count = 0 };
    struct seen seen;
    struct err e = ERR_INIT;
    (void)state;
    add_range(&g, "127.0.0.0/30");
    assert_ok(get(http_fake_origin(server), &g, &seen, &e));
    assert_int_equal(seen.count, 0);
    http_fake_stop(server);
}

/* A name may have several addresses: those that are not allowed are passed over, and told. */
static void a_name_goes_to_its_allowed_addresses_only(void **state)
{
    struct http_fake *server = http_fake_start(&fine, 1, NULL);
    struct http_guard g = { .range_count = 0 };
    struct seen seen;
    struct err e = ERR_INIT;
    char origin[64];
    (void)state;
    snprintf(origin, sizeof(origin), "http://localhost:%s", strrchr(http_fake_origin(server), ':') + 1);
    add_range(&g, "127.0.0.1/32");
    assert_ok(get(origin, &g, &seen, &e));
    g.range_count = 0;
    add_range(&g, "::2/128");
    assert_int_equal(get(origin, &g, &seen, &e), ERR_DENIED);
    assert_true(seen.count >= 1);
    assert_int_equal(http_fake_connections(server), 1);
    http_fake_stop(server);
}

static void without_tls_nothing_leaves_this_machine(void **state)
{
    struct http_guard g = { .range_count = 0 };
    struct seen seen;
    struct err e = ERR_INIT;
    (void)state;
    add_range(&g, "192.0.2.0/24"); /* listed, and all the same */
    assert_int_equal(get("http://192.0.2.1:9", &g, &seen, &e), ERR_DENIED);
    assert_non_null(strstr(e.text, "https://"));
    assert_int_equal(seen.kind, HTTP_REFUSED_PLAIN);
    assert_string_equal(seen.detail, "192.0.2.1");
}

static void tls_may_be_required_on_loopback_too(void **state)
{
    struct http_guard g = { .tls_required = true };
    struct seen seen;
    struct err e = ERR_INIT;
    (void)state;
    assert_int_equal(get("http://127.0.0.1:9", &g, &seen, &e), ERR_DENIED);
    assert_non_null(strstr(e.text, "requires TLS"));
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.kind, HTTP_REFUSED_PLAIN);
}

static void a_redirect_is_told(void **state)
{
    static const struct http_fake_reply away = {
        HTTP_FAKE_SAY,
        "HTTP/1.1 307 Elsewhere\r\nLocation: http://198.51.100.7/x\r\nContent-Length: 0\r\n\r\n"
    };
    struct http_fake *server = http_fake_start(&away, 1, NULL);
    struct seen seen;
    struct err e = ERR_INIT;
    (void)state;
    assert_int_equal(get(http_fake_origin(server), NULL, &seen, &e), ERR_DENIED);
    assert_int_equal(seen.kind, HTTP_REFUSED_REDIRECT);
    assert_string_equal(seen.detail, "http://198.51.100.7/x");
    assert_int_equal(http_fake_connections(server), 1);
    http_fake_stop(server);
}

/* Every way that a library may read a proxy from. */
static void a_proxy_in_the_environment_is_not_used(void **state)
{
    static const char *const names[] = { "http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy",
                                         "ALL_PROXY" };
    struct http_fake *server = http_fake_start(&fine, 1, NULL), *proxy = http_fake_start(&fine, 1, NULL);
    struct seen seen;
    struct err e = ERR_INIT;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        setenv(names[i], http_fake_origin(proxy), 1);
    assert_ok(get(http_fake_origin(server), NULL, &seen, &e));
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        unsetenv(names[i]);
    assert_int_equal(http_fake_connections(proxy), 0);
    assert_int_equal(http_fake_connections(server), 1);
    http_fake_stop(server);
    http_fake_stop(proxy);
}

int main(void)
{
    static const struct CMUnitTest whole[] = {
        cmocka_unit_test(another_family_is_not_allowed),
        cmocka_unit_test(an_address_outside_is_never_connected_to),
        cmocka_unit_test(an_address_inside_is),
        cmocka_unit_test(a_name_goes_to_its_allowed_addresses_only),
        cmocka_unit_test(without_tls_nothing_leaves_this_machine),
        cmocka_unit_test(tls_may_be_required_on_loopback_too),
        cmocka_unit_test(a_redirect_is_told),
        cmocka_unit_test(a_proxy_in_the_environment_is_not_used),
    };
    static struct CMUnitTest tests[ARRAY_LEN(range_rows) + ARRAY_LEN(address_rows) + ARRAY_LEN(whole)];
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(range_rows); i++)
        tests[n++] =
            (struct CMUnitTest){ range_rows[i].name, reads_range, NULL, NULL, (void *)&range_rows[i] };
    for (size_t i = 0; i < ARRAY_LEN(address_rows); i++)
        tests[n++] =
            (struct CMUnitTest){ address_rows[i].name, decides, NULL, NULL, (void *)&address_rows[i] };
    for (size_t i = 0; i < ARRAY_LEN(whole); i++)
        tests[n++] = whole[i];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
