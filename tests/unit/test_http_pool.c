/* Many requests at once: each answered once, bounded, and none in another's way. */
#include "core/http/http_pool.h"
#include "tests/fake/http_fake.h"
#include "tests/test.h"

#include <stdio.h>
#include <string.h>

enum { TASKS = 40 };

/* A caller with TASKS things to ask for. */
struct caller {
    size_t next, done, in_flight, in_flight_max;
    int waits;      /* WAIT so often before the first */
    size_t fail_at; /* end the run at that many; 0: never */
    enum err_code last;
    char targets[TASKS][16];
    int seen[TASKS];
};

static enum http_next ask(void *context, struct http_exchange *x, int64_t *out_wait_ms)
{
    struct caller *c = context;
    if (c->next == TASKS)
        return HTTP_NEXT_END;
    if (c->waits > 0) {
        c->waits--;
        *out_wait_ms = 1;
        return HTTP_NEXT_WAIT;
    }
    x->task = c->next++;
    snprintf(c->targets[x->task], sizeof(c->targets[x->task]), "/%zu", x->task);
    x->q = (struct http_request){ .method = "GET", .target = c->targets[x->task] };
    x->r.body.max = 100;
    c->in_flight++;
    c->in_flight_max = c->in_flight > c->in_flight_max ? c->in_flight : c->in_flight_max;
    return HTTP_NEXT_READY;
}

static enum err_code told(void *context, struct http_exchange *x, const struct err *failure, struct err *e)
{
    struct caller *c = context;
    c->in_flight--;
    c->seen[x->task]++;
    c->last = failure->code;
    if (failure->code == OK)
        assert_int_equal(x->r.status, 200);
    return ++c->done == c->fail_at ? err_set(e, ERR_CANCELED, "enough") : OK;
}

static struct http_pool *open_pool(const char *origin, size_t connections, const struct http_guard *guard)
{
    struct err e = ERR_INIT;
    struct http_pool *p = NULL;
    const struct http_options o = { .origin = origin, .request_timeout_ms = 2000, .guard = guard };
    assert_ok(http_pool_open(&o, connections, &p, &e));
    return p;
}

static const struct http_fake_reply fine = {
    HTTP_FAKE_CLOSE, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
};

static void each_is_answered_once(void **state)
{
    struct http_fake *server = http_fake_start(&fine, 1, NULL);
    CLEANUP(http_pool_closep) struct http_pool *p = open_pool(http_fake_origin(server), 4, NULL);
    struct err e = ERR_INIT;
    (void)state;
    for (int run = 0; run < 2; run++) { /* and the pool may be used again */
        struct caller c = { .waits = run ? 3 : 0 };
        const struct http_work w = { &c, ask, told };
        assert_ok(http_pool_run(p, &w, &e));
        assert_int_equal(c.done, TASKS);
        for (size_t i = 0; i < TASKS; i++)
            assert_int_equal(c.seen[i], 1);
        assert_true(c.in_flight_max <= 4);
        assert_int_equal(c.last, OK);
    }
    http_fake_stop(server);
}

static void who_has_enough_ends_it(void **state)
{
    struct http_fake *server = http_fake_start(&fine, 1, NULL);
    CLEANUP(http_pool_closep) struct http_pool *p = open_pool(http_fake_origin(server), 4, NULL);
    struct caller c = { .fail_at = 3 }, again = { .next = 0 };
    const struct http_work w = { &c, ask, told }, once_more = { &again, ask, told };
    struct err e = ERR_INIT;
    (void)state;
    assert_int_equal(http_pool_run(p, &w, &e), ERR_CANCELED);
    assert_int_equal(c.done, 3);
    err_clear(&e);
    assert_ok(http_pool_run(p, &once_more, &e));
    assert_int_equal(again.done, TASKS);
    http_fake_stop(server);
}

static void a_silent_server_is_told_for_each(void **state)
{
    static const struct http_fake_reply silence = { HTTP_FAKE_HANG, "" };
    struct http_fake *server = http_fake_start(&silence, 1, NULL);
    const struct http_options o = { .origin = http_fake_origin(server), .request_timeout_ms = 100 };
    CLEANUP(http_pool_closep) struct http_pool *p = NULL;
    struct caller c = { .next = TASKS - 3 };
    const struct http_work w = { &c, ask, told };
    struct err e = ERR_INIT;
    (void)state;
    assert_ok(http_pool_open(&o, 8, &p, &e));
    assert_ok(http_pool_run(p, &w, &e));
    assert_int_equal(c.done, 3);
    assert_int_equal(c.last, ERR_RETRY);
    http_fake_stop(server);
}

/* The guard holds for every one of them. */
static void no_request_passes_the_guard(void **state)
{
    struct http_fake *server = http_fake_start(&fine, 1, NULL);
    struct http_guard g = { .range_count = 1 };
    struct err e = ERR_INIT;
    (void)state;
    assert_ok(http_range_parse("127.0.0.9", &g.ranges[0], &e));
    CLEANUP(http_pool_closep) struct http_pool *p = open_pool(http_fake_origin(server), 4, &g);
    struct caller c = { .next = 0 };
    const struct http_work w = { &c, ask, told };
    assert_ok(http_pool_run(p, &w, &e));
    assert_int_equal(c.done, TASKS);
    assert_int_equal(c.last, ERR_DENIED);
    assert_int_equal(http_fake_connections(server), 0);
    http_fake_stop(server);
}

static void a_pool_has_a_size(void **state)
{
    struct http_fake *server = http_fake_start(&fine, 1, NULL);
    CLEANUP(http_pool_closep) struct http_pool *one = open_pool(http_fake_origin(server), 1, NULL);
    struct http_pool *none = NULL;
    const struct http_options o = { .origin = http_fake_origin(server) };
    struct err e = ERR_INIT;
    (void)state;
    assert_int_equal(http_pool_open(&o, 0, &none, &e), ERR_USAGE);
    assert_int_equal(http_pool_open(&o, HTTP_POOL_MAX + 1, &none, &e), ERR_USAGE);
    assert_null(none);
    assert_int_equal(http_pool_size(one), 1);
    http_fake_stop(server);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_is_answered_once),
        cmocka_unit_test(who_has_enough_ends_it),
        cmocka_unit_test(a_silent_server_is_told_for_each),
        cmocka_unit_test(no_request_passes_the_guard),
        cmocka_unit_test(a_pool_has_a_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
