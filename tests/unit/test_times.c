/* Where the time of a step goes: means over a little while, all of which is accounted for. */
#include "tests/test.h"
#include "trainer/times.h"

enum { RANKS = 3 };

/* A step of rank 0 with 40 ms of passes, 20 of exchanges, 10 of update; others compute for as long as it
 * says. */
static void add_step(struct times *t, int64_t data_us, int64_t busy1_us, int64_t busy2_us)
{
    const int64_t busy_us[RANKS] = { data_us + 40000, busy1_us, busy2_us };
    const struct step_result r = { .times = { .compute_us = 40000, .reduce_us = 20000, .update_us = 10000 },
                                   .busy_us = busy_us };
    times_add_step(t, data_us, &r);
}

static void means_make_up_the_whole(void **state)
{
    (void)state;
    CLEANUP(times_freep) struct times *t = times_new(RANKS);
    struct pulse_times p = { .data = -1 };

    times_start(t, 1000000);
    add_step(t, 2000, 0, 0);
    assert_false(times_tell(t, 1099999, 100000, &p));
    assert_true(p.data == -1); /* too early: nothing is told */
    add_step(t, 4000, 0, 0);
    times_add_checkpoint(t, 6000);
    assert_true(times_tell(t, 1156000, 100000, &p));
    assert_true(p.data == 3 && p.compute == 40 && p.reduce == 20 && p.update == 10 && p.checkpoint == 3);
    assert_true(p.other == 2); /* of 156 ms in two steps, 4 are none of these */
    assert_true(p.data + p.compute + p.reduce + p.update + p.checkpoint + p.other == 78);
}

static void the_next_while_starts_from_nothing(void **state)
{
    (void)state;
    CLEANUP(times_freep) struct times *t = times_new(RANKS);
    struct pulse_times p;

    times_start(t, 0);
    times_add_checkpoint(t, 500);
    add_step(t, 100, 99000, 0);
    assert_true(times_tell(t, 80000, 0, &p));
    assert_int_equal(p.slowest_rank, 1);
    assert_false(times_tell(t, 900000, 0, &p)); /* without a step there is no mean */
    add_step(t, 0, 0, 0);
    assert_true(times_tell(t, 980000, 0, &p));
    assert_true(p.checkpoint == 0 && p.data == 0 && p.slowest_rank == 0);
}

static void the_slowest_rank_is_named(void **state)
{
    (void)state;
    CLEANUP(times_freep) struct times *t = times_new(RANKS);
    struct pulse_times p;

    times_start(t, 0);
    add_step(t, 0, 50000, 45000);
    add_step(t, 0, 50000, 65000);
    assert_true(times_tell(t, 1, 0, &p));
    assert_int_equal(p.slowest_rank, 2);
    assert_true(p.slowest == 55);
    assert_true(p.other == 0); /* clocks that do not fit make nothing negative */
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(means_make_up_the_whole),
        cmocka_unit_test(the_next_while_starts_from_nothing),
        cmocka_unit_test(the_slowest_rank_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
