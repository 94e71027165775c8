/* Buckets of a gradient, summed from its end as they become ready; the other rank is the test's own. */
#include "tests/test.h"
#include "trainer/reducer.h"

#include <semaphore.h>
#include <string.h>

enum { N = 100, BUCKET = 30, SWAPS_MAX = 8 };

/* Rank 0 of two: the other's vector is all ones. */
struct pair {
    struct comm comm;
    const float *data;
    size_t first[SWAPS_MAX], count[SWAPS_MAX]; /* of what was kept */
    size_t swaps;
    size_t fails_at; /* 0: never */
    size_t finished;
    sem_t swapped;
};

static enum err_code swap(struct comm *c, const struct comm_swap *s, struct err *e)
{
    struct pair *p = (struct pair *)c;
    enum err_code code = OK;

    assert_int_equal(s->partner, 1);
    assert_true(p->swaps < SWAPS_MAX && s->add);
    p->first[p->swaps] = (size_t)(s->into - p->data);
    p->count[p->swaps++] = s->into_count;
    for (size_t i = 0; i < s->into_count; i++)
        s->into[i] += 1;
    if (p->swaps == p->fails_at)
        code = err_set(e, ERR_RETRY, "rank 1 is gone");
    sem_post(&p->swapped);
    return code;
}

/* As of a library that has no promise of bits. */
static enum err_code sum_fast(struct comm *c, float *data, size_t n, size_t first, size_t count,
                              struct err *e)
{
    const struct comm_swap s = { .partner = 1, .into = data + first, .into_count = count, .add = true };
    assert_int_equal(n, N);
    return swap(c, &s, e);
}

static enum err_code finish(struct comm *c, struct err *e)
{
    (void)e;
    ((struct pair *)c)->finished++;
    return OK;
}

static const struct comm_ops pair_ops = {
    .name = "pair", .swap = swap, .sum_fast = sum_fast, .finish = finish
};

static void open_pair(struct pair *p, struct reducer **out)
{
    struct err e = ERR_INIT;
    *p = (struct pair){ .comm = { .ops = &pair_ops, .size = 2 } };
    assert_int_equal(sem_init(&p->swapped, 0, 0), 0);
    assert_ok(reducer_open(&p->comm, N, BUCKET, true, out, &e));
}

static void wait_for_swap(struct pair *p)
{
    while (sem_wait(&p->swapped) != 0)
        ;
}

/* Rank 0 keeps the lower half, 0 to 49: of the buckets 70-99, 40-69, 10-39, 0-9 that is nothing, 10, 30, 10.
 */
static void buckets_are_summed_from_the_end_as_they_become_ready(void **state)
{
    (void)state;
    static const size_t want[][2] = { { 70, 0 }, { 40, 10 }, { 10, 30 }, { 0, 10 } };
    CLEANUP(reducer_closep) struct reducer *r = NULL;
    struct err e = ERR_INIT;
    struct pair p;
    float data[N] = { 0 };

    open_pair(&p, &r);
    for (int round = 0; round < 2; round++) {
        p.data = data;
        p.swaps = 0;
        memset(data, 0, sizeof(data));
        reducer_start(r, data);
        reducer_ready(r, 71); /* one float is missing */
        reducer_ready(r, 40);
        wait_for_swap(&p);
        wait_for_swap(&p);
        for (size_t i = 0; i < 40; i++)
            data[i] = 5; /* still this thread's */
        assert_ok(reducer_finish(r, &e));
        wait_for_swap(&p);
        wait_for_swap(&p);
        assert_int_equal(p.swaps, ARRAY_LEN(want));
        for (size_t i = 0; i < ARRAY_LEN(want); i++) {
            assert_int_equal(p.count[i], want[i][1]);
            assert_true(p.count[i] == 0 || p.first[i] == want[i][0]);
        }
        assert_true(data[0] == 6 && data[39] == 6 && data[40] == 1 && data[49] == 1 && data[50] == 0);
        assert_false(p.comm.gentle);
    }
}

/* A comm that works on the device is given its buckets at once, by the caller's thread. */
static void on_a_device_there_is_no_thread(void **state)
{
    (void)state;
    static const size_t want[][2] = { { 70, 30 }, { 40, 30 }, { 10, 30 }, { 0, 10 } };
    CLEANUP(reducer_closep) struct reducer *r = NULL;
    struct err e = ERR_INIT;
    struct pair p = { .comm = { .ops = &pair_ops, .size = 2, .on_device = true } };
    float data[N] = { 0 };

    assert_int_equal(sem_init(&p.swapped, 0, 0), 0);
    p.data = data;
    assert_ok(reducer_open(&p.comm, N, BUCKET, false, &r, &e));
    reducer_start(r, data);
    reducer_ready(r, 71);
    assert_int_equal(p.swaps, 0);
    reducer_ready(r, 40);
    assert_int_equal(p.swaps, 2);
    assert_int_equal(p.finished, 0);
    assert_false(p.comm.gentle);
    assert_ok(reducer_finish(r, &e));
    assert_int_equal(p.finished, 1);
    assert_int_equal(p.swaps, ARRAY_LEN(want));
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        assert_true(p.first[i] == want[i][0] && p.count[i] == want[i][1]);
    p.swaps = 0;
    p.fails_at = 1;
    reducer_start(r, data);
    assert_int_equal(reducer_finish(r, &e), ERR_RETRY);
    assert_true(p.swaps == 1 && p.finished == 1);
}

static void a_failure_ends_it_and_is_told_at_the_end(void **state)
{
    (void)state;
    CLEANUP(reducer_closep) struct reducer *r = NULL;
    struct err e = ERR_INIT;
    struct pair p;
    float data[N] = { 0 };

    open_pair(&p, &r);
    p.data = data;
    p.fails_at = 2;
    reducer_start(r, data);
    assert_int_equal(reducer_finish(r, &e), ERR_RETRY);
    assert_non_null(strstr(e.text, "rank 1 is gone"));
    assert_int_equal(p.swaps, 2);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(buckets_are_summed_from_the_end_as_they_become_ready),
        cmocka_unit_test(on_a_device_there_is_no_thread),
        cmocka_unit_test(a_failure_ends_it_and_is_told_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
