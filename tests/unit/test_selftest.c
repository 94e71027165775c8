/* Rows of the selftest that a real store cannot be made to fail: an open guard, a place that cannot be asked.
 */
#include "runner/cli/selftest.h"
#include "tests/fake/http_fake.h"
#include "tests/home.h"
#include "tests/test.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static const struct http_fake_reply location = {
    HTTP_FAKE_SAY, "HTTP/1.1 200 OK\r\nContent-Length: 52\r\nx-amz-request-id: 7\r\n\r\n"
                   "<LocationConstraint>eu-test-1</LocationConstraint>  "
};

struct world {
    char *home;
    struct cluster *cluster;
    struct selftest t;
    struct http_fake *server;
    struct store_place place;
    struct store_session credentials;
};

static int set_up(void **state)
{
    static struct world w;
    struct err e = ERR_INIT;
    w = (struct world){ .home = home_make("selftest") };
    assert_ok(cluster_load(w.home, NULL, &w.cluster, &e));
    assert_ok(selftest_begin(&w.t, w.cluster, NULL, &e));
    w.server = http_fake_start(&location, 1, NULL);
    w.place =
        (struct store_place){ .kind = STORE_S3, .bucket = "data", .region = "eu-test-1", .path_style = true };
    snprintf(w.place.endpoint, sizeof(w.place.endpoint), "%s", http_fake_origin(w.server));
    w.credentials.access_key = secret_new("AK", 2);
    w.credentials.secret_key = secret_new("SK", 2);
    *state = &w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    selftest_done(&w->t);
    http_fake_stop(w->server);
    store_session_done(&w->credentials);
    cluster_free(w->cluster);
    home_remove(w->home);
    return 0;
}

static const struct selftest_row *row(const struct world *w, const char *act)
{
    for (size_t i = 0; i < w->t.row_count; i++)
        if (strcmp(w->t.rows[i].act, act) == 0)
            return &w->t.rows[i];
    fail_msg("no row '%s'", act);
    return NULL;
}

static void try_place(struct world *w, const struct err *problem)
{
    const struct err none = ERR_INIT;
    selftest_place(&w->t, &w->place, &w->credentials, problem ? problem : &none);
}

static void with_the_guard_closed_no_socket_is_opened(void **state)
{
    struct world *w = *state;
    try_place(w, NULL);
    assert_int_equal(row(w, "address outside the ranges")->outcome, SELFTEST_REFUSED);
    assert_int_equal(row(w, "proxy in the environment")->outcome, SELFTEST_REFUSED);
    assert_int_equal(row(w, "plain HTTP")->outcome, SELFTEST_NONE); /* on this machine alone */
    assert_int_equal(row(w, "no client certificate")->outcome, SELFTEST_NONE);
}

static void an_open_guard_is_seen(void **state)
{
    struct world *w = *state;
    struct err e = ERR_INIT;
    assert_ok(http_range_parse("127.0.0.0/8", &w->place.guard.ranges[0], &e));
    assert_ok(http_range_parse("2001:db8::/32", &w->place.guard.ranges[1], &e));
    w->place.guard.range_count = 2;
    try_place(w, NULL);
    const struct selftest_row *r = row(w, "address outside the ranges");
    assert_int_equal(r->outcome, SELFTEST_ALLOWED);
    assert_non_null(strstr(r->observed, "2001:db8::1"));
    assert_int_equal(selftest_count(&w->t, SELFTEST_ALLOWED), 1);
}

static void what_is_not_configured_well_is_not_tried(void **state)
{
    struct world *w = *state;
    struct err problem = ERR_INIT;
    IGNORE(err_set(&problem, ERR_IO, "no such file"));
    try_place(w, &problem);
    assert_int_equal(w->t.row_count, selftest_count(&w->t, SELFTEST_UNTRIED));
    assert_int_equal(http_fake_connections(w->server), 0);
}

/* The same acts but for those that need a store's calls. */
static void a_key_service_is_an_endpoint_too(void **state)
{
    struct world *w = *state;
    struct keys_config *k = &w->cluster->keys;
    selftest_key_service(&w->t);
    assert_int_equal(w->t.row_count, 0); /* files */
    k->provider = KEYS_KMS;
    snprintf(k->endpoint, sizeof(k->endpoint), "%s", http_fake_origin(w->server));
    snprintf(k->arns[0], sizeof(k->arns[0]), "arn:aws-eusc:kms:eusc-de-east-1:111122223333:key/*");
    k->arn_count = 1;
    selftest_key_service(&w->t);
    assert_int_equal(w->t.row_count, 4);
    assert_int_equal(row(w, "address outside the ranges")->outcome, SELFTEST_REFUSED);
    assert_int_equal(row(w, "proxy in the environment")->outcome, SELFTEST_REFUSED);
}

static void a_pattern_that_takes_foreign_keys_is_seen(void **state)
{
    struct world *w = *state;
    struct keys_config *k = &w->cluster->keys;
    snprintf(k->arns[0], sizeof(k->arns[0]), "arn:*:kms:*:*:key/*");
    k->arn_count = 1;
    selftest_client(&w->t);
    assert_int_equal(row(w, "key of another account and region")->outcome, SELFTEST_ALLOWED);
    assert_int_equal(selftest_count(&w->t, SELFTEST_ALLOWED), 1);
}

static void our_own_client_stands_every_test(void **state)
{
    struct world *w = *state;
    selftest_client(&w->t);
    for (size_t i = 0; i < w->t.row_count; i++)
        if (w->t.rows[i].outcome != SELFTEST_REFUSED)
            fail_msg("%s: %s (%s)", w->t.rows[i].act, w->t.rows[i].observed, w->t.rows[i].evidence);
}

static void a_report_says_what_the_rows_do(void **state)
{
    struct world *w = *state;
    selftest_says(selftest_row(&w->t, "act", "refused", "place"), SELFTEST_ALLOWED, "\xff evidence", "it %s",
                  "happened");
    CLEANUP(json_donep) json_t *report = selftest_report(&w->t, "digest", 7);
    const json_t *r = json_array_get(json_object_get(report, "rows"), 0);
    assert_string_equal(json_text_or(r, "observed", ""), "it happened");
    assert_string_equal(json_text_or(r, "evidence", ""), "? evidence");
    assert_string_equal(json_text_or(r, "outcome", ""), "allowed");
    assert_int_equal(json_i64_or(json_object_get(report, "summary"), "allowed", -1), 1);
    assert_int_equal(json_i64_or(report, "time_ms", -1), 7);
}

#define WITH(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        WITH(with_the_guard_closed_no_socket_is_opened),
        WITH(an_open_guard_is_seen),
        WITH(what_is_not_configured_well_is_not_tried),
        WITH(a_key_service_is_an_endpoint_too),
        WITH(a_pattern_that_takes_foreign_keys_is_seen),
        WITH(our_own_client_stands_every_test),
        WITH(a_report_says_what_the_rows_do),
    };
    signal(SIGPIPE, SIG_IGN); /* as the command does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
