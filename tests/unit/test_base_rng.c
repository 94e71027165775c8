#include "base/rng.h"

#include "tests/test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Weights, batches and checkpoints depend on these bits. A failure here means: do not change rng.c. */

static void the_published_outputs_of_splitmix64_come_out(void **state)
{
    (void)state;
    /* As found in the tests of other SplitMix64 implementations, for the seeds 1234567 and 0. */
    static const uint64_t want[] = { 6457827717110365317u, 3203168211198807973u, 9817491932198370423u,
                                     4593380528125082431u, 16408922859458223821u };
    static const uint64_t want_0[] = { 0xe220a8397b1dcdaf, 0x6e789e6aa1b965f4, 0x06c45d188009454f };
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        assert_true(rng_u64(1234567, i) == want[i]);
    for (size_t i = 0; i < ARRAY_LEN(want_0); i++)
        assert_true(rng_u64(0, i) == want_0[i]);
    assert_true(rng_mix(0) == 0);
    assert_true(rng_mix(0x9e3779b97f4a7c15) == want_0[0]);
}

static void keys_are_fixed_for_ever(void **state)
{
    (void)state;
    /* From an independent computation of the definition in rng.h. */
    static const uint64_t want[] = { 0x86bf2042062b0cc9, 0xb49a95e7eb5b2db7, 0xff5a7968cc4a2bbc,
                                     0xeefaef6e07f1389b };
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        assert_true(rng_key(1234567, i) == want[i]);
}

static void other_kinds_of_number_are_fixed_for_ever(void **state)
{
    (void)state;
    static const float f32[] = { 0x1.667b4p-2f, 0x1.639f8p-3f, 0x1.107d78p-1f, 0x1.fdf7b8p-3f };
    static const uint64_t below_1000[] = { 350, 173, 532, 249 };
    static const double normal[] = { 0x1.566554d8c0569p-1, 0x1.caefc44cb059cp-8, -0x1.b6bd57050617fp-2,
                                     -0x1.4c84bb02908f5p-3 };
    static const uint32_t order[] = { 5, 9, 1, 0, 6, 7, 4, 2, 3, 8 };
    uint32_t got[ARRAY_LEN(order)];
    for (size_t i = 0; i < 4; i++) {
        assert_true(rng_f32(1234567, i) == f32[i]);
        assert_true(rng_below(1234567, i, 1000) == below_1000[i]);
        assert_true(rng_normal(1234567, i) == normal[i]);
    }
    rng_permutation(1234567, got, ARRAY_LEN(got));
    assert_memory_equal(got, order, sizeof(order));
}

/* One number that depends on every bit of many draws: compilers, flags and hosts must agree on it. */
static void many_normal_draws_have_a_fixed_digest(void **state)
{
    (void)state;
    uint64_t digest = 0;
    for (uint64_t i = 0; i < 20000; i++) {
        double x = rng_normal(8, i);
        uint64_t bits;
        memcpy(&bits, &x, sizeof(bits));
        digest = rng_mix(digest ^ bits) + i;
    }
    assert_true(digest == 0xef984397afbe5114);
}

static void normal_draws_agree_with_libm(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 20000; i++) {
        double u = (double)((rng_u64(5, 2 * i) >> 11) + 1) * 0x1p-53;
        double v = (double)(rng_u64(5, 2 * i + 1) >> 11) * 0x1p-53;
        double want = sqrt(-2 * log(u)) * cos(2 * acos(-1) * v);
        assert_true(fabs(rng_normal(5, i) - want) < 1e-14);
    }
}

static void normal_draws_have_the_moments_of_the_bell(void **state)
{
    (void)state;
    enum { COUNT = 100000 };
    double sum[5] = { 0 };
    for (uint64_t i = 0; i < COUNT; i++) {
        double x = rng_normal(11, i), power = 1;
        for (int k = 0; k < 5; k++, power *= x)
            sum[k] += power;
    }
    /* Bounds of about 5 standard errors; the draws are fixed, so this cannot fail by chance. */
    assert_true(fabs(sum[1] / COUNT) < 0.016);
    assert_true(fabs(sum[2] / COUNT - 1) < 0.023);
    assert_true(fabs(sum[3] / COUNT) < 0.062);
    assert_true(fabs(sum[4] / COUNT - 3) < 0.16);
}

static void fractions_fill_the_unit_interval_evenly(void **state)
{
    (void)state;
    enum { COUNT = 100000, BINS = 10 };
    int bins[BINS] = { 0 };
    for (uint64_t i = 0; i < COUNT; i++) {
        float x = rng_f32(3, i);
        assert_true(x >= 0 && x < 1);
        bins[(int)(x * BINS)]++;
    }
    for (int i = 0; i < BINS; i++)
        assert_true(abs(bins[i] - COUNT / BINS) < 500);
}

static void bounded_numbers_stay_below(void **state)
{
    (void)state;
    int seen[3] = { 0 };
    for (uint64_t i = 0; i < 3000; i++) {
        assert_true(rng_below(9, i, 1) == 0);
        assert_true(rng_below(9, i, UINT64_MAX) < UINT64_MAX);
        seen[rng_below(9, i, 3)]++;
    }
    for (int i = 0; i < 3; i++)
        assert_true(abs(seen[i] - 1000) < 150);
}

static void a_permutation_holds_each_once(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    uint32_t out[COUNT];
    char seen[COUNT] = { 0 };
    rng_permutation(42, out, COUNT);
    for (int i = 0; i < COUNT; i++) {
        assert_true(out[i] < COUNT);
        assert_int_equal(seen[out[i]]++, 0);
    }
    rng_permutation(42, out, 1);
    assert_int_equal(out[0], 0);
    rng_permutation(42, out, 0);
}

static void each_of_six_orders_comes_equally_often(void **state)
{
    (void)state;
    int seen[27] = { 0 };
    for (uint64_t key = 0; key < 6000; key++) {
        uint32_t p[3];
        rng_permutation(rng_key(1, key), p, 3);
        seen[9 * p[0] + 3 * p[1] + p[2]]++;
    }
    int orders = 0;
    for (size_t i = 0; i < ARRAY_LEN(seen); i++) {
        orders += seen[i] > 0;
        assert_true(seen[i] == 0 || abs(seen[i] - 1000) < 150);
    }
    assert_int_equal(orders, 6);
}

static void streams_do_not_follow_each_other(void **state)
{
    (void)state;
    /* A stream that were another one, shifted, would show the same number at a neighbouring index. */
    uint64_t a = rng_key(1, 1), b = rng_key(1, 2), c = rng_key(2, 1);
    for (uint64_t i = 0; i < 64; i++)
        for (uint64_t j = 0; j < 64; j++) {
            assert_true(rng_u64(a, i) != rng_u64(b, j));
            assert_true(rng_u64(a, i) != rng_u64(c, j));
            assert_true(rng_u64(a, i) != rng_u64(1, j));
        }
}

static void random_bytes_fill_all_and_differ(void **state)
{
    (void)state;
    uint8_t a[600] = { 0 }, b[600] = { 0 };
    random_bytes(a, sizeof(a) - 8);
    random_bytes(b, sizeof(b) - 8);
    assert_memory_not_equal(a, b, 32);
    assert_memory_not_equal(a + sizeof(a) - 40, b + sizeof(b) - 40, 32);
    for (size_t i = sizeof(a) - 8; i < sizeof(a); i++)
        assert_int_equal(a[i], 0); /* not one more than asked for */
    random_bytes(a, 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_published_outputs_of_splitmix64_come_out),
        cmocka_unit_test(keys_are_fixed_for_ever),
        cmocka_unit_test(other_kinds_of_number_are_fixed_for_ever),
        cmocka_unit_test(many_normal_draws_have_a_fixed_digest),
        cmocka_unit_test(normal_draws_agree_with_libm),
        cmocka_unit_test(normal_draws_have_the_moments_of_the_bell),
        cmocka_unit_test(fractions_fill_the_unit_interval_evenly),
        cmocka_unit_test(bounded_numbers_stay_below),
        cmocka_unit_test(a_permutation_holds_each_once),
        cmocka_unit_test(each_of_six_orders_comes_equally_often),
        cmocka_unit_test(streams_do_not_follow_each_other),
        cmocka_unit_test(random_bytes_fill_all_and_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
