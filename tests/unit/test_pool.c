/* The pool: all jobs are done once, what is in flight has a weight limit, the first failure ends it. */
#include "base/mem.h"
#include "runner/cli/pool.h"
#include "tests/test.h"

#include <stdatomic.h>

enum { JOBS = 500, WEIGHT = 10, LIMIT = 35 };

struct world {
    _Atomic int started, stopped, worked, dropped;
    _Atomic long in_flight, most;
    int fail_at; /* job; -1: none */
    bool fail_start;
    _Atomic int done[JOBS];
};
struct job {
    struct world *w;
    int number;
};

static enum err_code start(void *context, void **out_mine, struct err *e)
{
    struct world *w = context;
    w->started++;
    if (w->fail_start)
        return err_set(e, ERR_RETRY, "no store");
    *out_mine = w;
    return OK;
}

static enum err_code work(void *context, void *mine, void *job, struct err *e)
{
    struct world *w = context;
    struct job *j = job;
    assert_ptr_equal(mine, w);
    w->worked++;
    w->done[j->number]++;
    return j->number == w->fail_at ? err_set(e, ERR_IO, "job %d", j->number) : OK;
}

static void stop(void *context, void *mine)
{
    (void)mine;
    ((struct world *)context)->stopped++;
}

static void drop(void *job)
{
    struct job *j = job;
    j->w->dropped++;
    j->w->in_flight -= WEIGHT;
    free(j);
}

static const struct pool_ops ops = { .start = start, .work = work, .stop = stop, .drop = drop };

static enum err_code give_all(struct world *w, size_t threads, struct err *e)
{
    CLEANUP(pool_freep) struct pool *p = pool_new(threads, LIMIT, &ops, w);
    for (int i = 0; i < JOBS; i++) {
        struct job *j = mem_new(sizeof(*j));
        *j = (struct job){ w, i };
        w->in_flight += WEIGHT; /* counted before the pool takes it: one more than it holds */
        long now = w->in_flight;
        w->most = MAX((long)w->most, now);
        if (pool_give(p, j, WEIGHT, e))
            return e->code;
    }
    return pool_end(p, e);
}

static void every_job_is_done_once(void **state)
{
    (void)state;
    for (size_t threads = 1; threads <= 8; threads *= 2) {
        struct world w = { .fail_at = -1 };
        struct err e = ERR_INIT;
        assert_ok(give_all(&w, threads, &e));
        for (int i = 0; i < JOBS; i++)
            assert_int_equal(w.done[i], 1);
        assert_int_equal(w.dropped, JOBS);
        assert_in_range(w.started, 1, threads);
        assert_int_equal(w.stopped, w.started);
        assert_true(w.most <=
                    LIMIT + 2 * WEIGHT); /* the limit, what waits to get in, and what is being dropped */
        assert_int_equal(w.in_flight, 0);
    }
}

static void the_first_failure_ends_it(void **state)
{
    (void)state;
    struct world w = { .fail_at = 20 };
    struct err e = ERR_INIT;
    assert_int_equal(give_all(&w, 4, &e), ERR_IO);
    assert_string_equal(e.text, "job 20");
    assert_true(w.worked < JOBS);
    assert_int_equal(w.in_flight, 0); /* nothing leaks */
    assert_int_equal(w.stopped, w.started);
}

static void a_thread_that_cannot_start_is_told(void **state)
{
    (void)state;
    struct world w = { .fail_at = -1, .fail_start = true };
    struct err e = ERR_INIT;
    assert_int_equal(give_all(&w, 4, &e), ERR_RETRY);
    assert_string_equal(e.text, "no store");
    assert_int_equal(w.worked, 0);
    assert_int_equal(w.in_flight, 0);
}

static void a_job_above_the_limit_goes_alone(void **state)
{
    (void)state;
    struct world w = { .fail_at = -1 };
    CLEANUP(pool_freep) struct pool *p = pool_new(2, 5, &ops, &w);
    struct err e = ERR_INIT;
    for (int i = 0; i < 3; i++) {
        struct job *j = mem_new(sizeof(*j));
        *j = (struct job){ &w, i };
        w.in_flight += WEIGHT;
        assert_ok(pool_give(p, j, WEIGHT, &e));
    }
    assert_ok(pool_end(p, &e));
    assert_int_equal(w.worked, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_job_is_done_once),
        cmocka_unit_test(the_first_failure_ends_it),
        cmocka_unit_test(a_thread_that_cannot_start_is_told),
        cmocka_unit_test(a_job_above_the_limit_goes_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
