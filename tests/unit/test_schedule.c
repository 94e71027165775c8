#include "tests/test.h"
#include "trainer/schedule.h"

#include <math.h>

#define WARM                                                                                                 \
    {                                                                                                        \
        SCHEDULE_KIND_COSINE, 0.8, 4, 12                                                                     \
    }
#define COLD                                                                                                 \
    {                                                                                                        \
        SCHEDULE_KIND_COSINE, 0.8, 0, 8                                                                      \
    }
#define FLAT                                                                                                 \
    {                                                                                                        \
        SCHEDULE_KIND_CONSTANT, 0.8, 4, 12                                                                   \
    }

/* 8 steps of cosine: x = 0, 1/8, ..., 7/8. */
static const struct row {
    const char *name;
    struct schedule s;
    int64_t step;
    double want;
} rows[] = {
    { "warm-up starts above zero", WARM, 1, 0.2 },
    { "warm-up is a straight line", WARM, 3, 0.6 },
    { "warm-up ends at the peak", WARM, 4, 0.8 },
    { "the cosine starts at the peak", WARM, 5, 0.8 },
    { "half way the cosine is at half", WARM, 9, 0.4 },
    { "a quarter: (1 + sqrt(1/2)) / 2 of the peak", WARM, 7, 0.8 * 0.853553390593273762 },
    { "the last step still learns", WARM, 12, 0.8 * 0.038060233744356621 },
    { "no warm-up: the first step is the peak", COLD, 1, 0.8 },
    { "no warm-up: half way", COLD, 5, 0.4 },
    { "constant has a warm-up too", FLAT, 1, 0.2 },
    { "constant stays", FLAT, 12, 0.8 },
    { "a warm-up longer than the job never gets there", { SCHEDULE_KIND_COSINE, 1, 10, 5 }, 5, 0.5 },
    { "one step", { SCHEDULE_KIND_COSINE, 1, 0, 1 }, 1, 1 },
};

static void rate_is(void **state)
{
    const struct row *row = *state;
    assert_true(fabs(schedule_lr(&row->s, row->step) - row->want) < 1e-15);
}

static void never_rises_after_the_warm_up(void **state)
{
    const struct schedule s = { SCHEDULE_KIND_COSINE, 1, 20, 1000 };
    for (int64_t step = 21; step < 1000; step++)
        assert_true(schedule_lr(&s, step + 1) < schedule_lr(&s, step) || step == 20);
    assert_true(schedule_lr(&s, 1000) > 0);
    (void)state;
}

int main(void)
{
    static struct CMUnitTest tests[ARRAY_LEN(rows) + 1];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        tests[i] = (struct CMUnitTest){ rows[i].name, rate_is, NULL, NULL, (void *)&rows[i] };
    tests[ARRAY_LEN(rows)] = (struct CMUnitTest)cmocka_unit_test(never_rises_after_the_warm_up);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
