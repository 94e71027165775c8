#include "base/fixed.h"
#include "base/rng.h"
#include "tests/test.h"

#include <math.h>
#include <string.h>

/* At most `units` in the last place away from libm's. */
static void assert_close(double got, double want, double units)
{
    if (!(fabs(got - want) <= units * (nextafter(fabs(want), INFINITY) - fabs(want))))
        fail_msg("%.17g, libm says %.17g", got, want);
}

static void exp_is_near_libm(void **state)
{
    for (uint64_t i = 0; i < 20000; i++) {
        double x = -700 + 1400 * (double)rng_f32(1, i);
        assert_close(fixed_exp(x), exp(x), 4);
        assert_close(fixed_exp(x / 1000), exp(x / 1000), 4);
    }
    (void)state;
}

static void exp_at_the_edges(void **state)
{
    assert_true(fixed_exp(0) == 1);
    assert_true(fixed_exp(1000) == INFINITY);
    assert_true(fixed_exp(INFINITY) == INFINITY);
    assert_true(fixed_exp(-1000) == 0);
    assert_true(fixed_exp(-INFINITY) == 0);
    assert_true(isnan(fixed_exp(NAN)));
    assert_close(fixed_exp(709.7), exp(709.7), 4);
    assert_true(fixed_exp(-745) > 0); // the smallest doubles
    (void)state;
}

static void log_is_near_libm(void **state)
{
    for (uint64_t i = 0; i < 20000; i++) {
        double x = ldexp(1 + (double)rng_f32(2, i), (int)rng_below(3, i, 2000) - 1000);
        assert_true(fabs(fixed_log(x) - log(x)) <= 4e-16 * fmax(1, fabs(log(x))));
    }
    assert_true(fixed_log(1) == 0);
    (void)state;
}

static void cos_turn_is_near_libm(void **state)
{
    for (uint64_t i = 0; i < 20000; i++) {
        double v = rng_f32(4, i);
        assert_true(fabs(fixed_cos_turn(v) - cos(2 * M_PI * v)) < 1e-15);
    }
    assert_true(fixed_cos_turn(0) == 1 && fixed_cos_turn(0.25) == 0 && fixed_cos_turn(0.5) == -1);
    (void)state;
}

static void assert_sin_cos(double x)
{
    double s, c;
    fixed_sin_cos(x, &s, &c);
    if (!(fabs(s - sin(x)) < 1e-15 && fabs(c - cos(x)) < 1e-15))
        fail_msg("at %.17g: %.17g and %.17g, libm says %.17g and %.17g", x, s, c, sin(x), cos(x));
}

static void sin_and_cos_are_near_libm(void **state)
{
    static const double edges[] = { 0, M_PI_4, M_PI_2, M_PI, 1e-300, 65535, 0x1p20 };
    for (uint64_t i = 0; i < 20000; i++)
        for (double most = 1; most <= 0x1p20; most *= 32)
            assert_sin_cos(most * (2 * (double)rng_f32(5, i) - 1));
    for (size_t i = 0; i < ARRAY_LEN(edges); i++) {
        assert_sin_cos(edges[i]);
        assert_sin_cos(-edges[i]);
    }
    for (int quarters = -8; quarters < 9; quarters++)
        assert_sin_cos(quarters * M_PI_2);
    (void)state;
}

static void power_is_repeated_product(void **state)
{
    assert_true(fixed_power(0.9, 0) == 1);
    assert_true(fixed_power(0.9, 1) == 0.9);
    assert_true(fixed_power(0, 5) == 0);
    assert_true(fixed_power(2, 62) == 0x1p62);
    assert_true(fabs(fixed_power(0.999, 123456) / pow(0.999, 123456) - 1) < 1e-9);
    (void)state;
}

/* Checkpoints depend on these bits: whoever changes them changes every model trained before. */
static void bits_do_not_change(void **state)
{
    double s, c;
    fixed_sin_cos(12345.6, &s, &c);
    const double got[] = {
        fixed_exp(-1.25), fixed_log(10), fixed_cos_turn(0.1), fixed_power(0.999, 1000), s, c
    };
    const uint64_t want[] = { 0x3fd25618372a584f, 0x40026bb1bbb55515, 0x3fe9e3779b97f4a8,
                              0x3fd788526411edac, 0xbfe83b9626da2d7e, 0x3fe4e62cef481db3 };
    for (size_t i = 0; i < ARRAY_LEN(got); i++) {
        uint64_t bits;
        memcpy(&bits, &got[i], sizeof(bits));
        if (bits != want[i])
            fail_msg("number %zu has the bits %#lx", i, (unsigned long)bits);
    }
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exp_is_near_libm),          cmocka_unit_test(exp_at_the_edges),
        cmocka_unit_test(log_is_near_libm),          cmocka_unit_test(cos_turn_is_near_libm),
        cmocka_unit_test(sin_and_cos_are_near_libm), cmocka_unit_test(power_is_repeated_product),
        cmocka_unit_test(bits_do_not_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
