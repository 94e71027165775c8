/*
 * AdamW against its own paper, written down a second time in doubles (Loshchilov and Hutter 2019, algorithm
 * 2).
 */
#include "base/mem.h"
#include "base/rng.h"
#include "kernels/kernels.h"
#include "tests/test.h"

#include <math.h>

enum { N_MAX = 1000 };

static const struct row {
    const char *name;
    size_t n;
    struct adamw a;
    int64_t steps;
} rows[] = {
    { "one parameter, one step",
      1,
      { .lr = 0.1f, .beta1 = 0.9f, .beta2 = 0.999f, .epsilon = 1e-8f, .grad_scale = 1 },
      1 },
    { "weight decay",
      17,
      { .lr = 0.01f, .beta1 = 0.9f, .beta2 = 0.95f, .epsilon = 1e-8f, .weight_decay = 0.1f, .grad_scale = 1 },
      50 },
    { "the gradient is scaled",
      63,
      { .lr = 0.01f, .beta1 = 0.9f, .beta2 = 0.999f, .epsilon = 1e-6f, .grad_scale = 0.03125f },
      50 },
    { "no first moment",
      64,
      { .lr = 0.01f, .beta1 = 0, .beta2 = 0.99f, .epsilon = 1e-8f, .grad_scale = 1 },
      20 },
    { "no moments: the sign of the gradient",
      65,
      { .lr = 0.01f, .beta1 = 0, .beta2 = 0, .epsilon = 1e-8f, .grad_scale = 1 },
      3 },
    { "many parameters, many steps",
      N_MAX,
      { .lr = 1e-3f,
        .beta1 = 0.9f,
        .beta2 = 0.999f,
        .epsilon = 1e-8f,
        .weight_decay = 0.01f,
        .grad_scale = 0.5f },
      200 },
};

static void reference(double *w, double *m, double *v, double g, const struct adamw *a, int64_t t)
{
    g *= a->grad_scale;
    *m = a->beta1 * *m + (1 - a->beta1) * g;
    *v = a->beta2 * *v + (1 - a->beta2) * g * g;
    double m_hat = *m / (1 - pow(a->beta1, (double)t)), v_hat = *v / (1 - pow(a->beta2, (double)t));
    *w -= a->lr * (m_hat / (sqrt(v_hat) + a->epsilon) + a->weight_decay * *w);
}

static void agrees_with_doubles(void **state)
{
    const struct row *row = *state;
    static float w[N_MAX], m[N_MAX], v[N_MAX], g[N_MAX];
    static double want_w[N_MAX], want_m[N_MAX], want_v[N_MAX];
    struct err e = ERR_INIT;
    CLEANUP(device_closep) struct device *d = NULL;
    struct adamw a = row->a;

    assert_ok(device_open("cpu", &d, &e));
    for (size_t i = 0; i < N_MAX; i++) {
        want_w[i] = w[i] = rng_f32(1, i) * 2 - 1;
        want_m[i] = m[i] = want_v[i] = v[i] = 0;
    }
    for (int64_t t = 1; t <= row->steps; t++) {
        for (size_t i = 0; i < N_MAX; i++)
            g[i] = rng_f32(100 + (uint64_t)t, i) * 2 - 1;
        adamw_prepare(&a, t);
        kernels_for(d)->adamw(d, w, m, v, g, row->n, &a);
        for (size_t i = 0; i < row->n; i++)
            reference(&want_w[i], &want_m[i], &want_v[i], g[i], &a, t);
    }
    for (size_t i = 0; i < N_MAX; i++) { // beyond n nothing moved
        assert_true(fabs(w[i] - want_w[i]) < 2e-6 * (double)row->steps);
        assert_true(fabs(m[i] - want_m[i]) < 1e-6);
        assert_true(fabs(v[i] - want_v[i]) < 1e-6);
        assert_true(i < row->n ? w[i] != rng_f32(1, i) * 2 - 1 : m[i] == 0);
    }
}

/* By hand: g = 2, m = 0.2, v = 0.004; both corrections give back 2 and 4, so the step is lr * 2 / sqrt(4) =
 * lr. */
static void the_first_step_is_the_rate(void **state)
{
    struct err e = ERR_INIT;
    CLEANUP(device_closep) struct device *d = NULL;
    struct adamw a = { .lr = 0.125f, .beta1 = 0.9f, .beta2 = 0.999f, .epsilon = 1e-12f, .grad_scale = 1 };
    float w = 1, m = 0, v = 0, g = 2;
    assert_ok(device_open("cpu", &d, &e));
    adamw_prepare(&a, 1);
    kernels_for(d)->adamw(d, &w, &m, &v, &g, 1, &a);
    assert_true(fabsf(w - 0.875f) < 1e-6f && fabsf(m - 0.2f) < 1e-6f && fabsf(v - 0.004f) < 1e-7f);
    (void)state;
}

static void zeros_stay_zero(void **state)
{
    struct err e = ERR_INIT;
    CLEANUP(device_closep) struct device *d = NULL;
    struct adamw a = {
        .lr = 1, .beta1 = 0.9f, .beta2 = 0.999f, .epsilon = 1e-8f, .weight_decay = 0.1f, .grad_scale = 1
    };
    float w = 0, m = 0, v = 0, g = 0;
    assert_ok(device_open("cpu", &d, &e));
    adamw_prepare(&a, 1);
    kernels_for(d)->adamw(d, &w, &m, &v, &g, 1, &a); // padding is such a parameter
    assert_true(w == 0 && m == 0 && v == 0);
    (void)state;
}

static void corrections_fade(void **state)
{
    struct adamw a = { .beta1 = 0.9f, .beta2 = 0.999f };
    adamw_prepare(&a, 1);
    assert_true(fabsf(a.correct1 - 10) < 1e-4f && fabsf(a.correct2 - 1000) < 0.1f);
    adamw_prepare(&a, 1000000);
    assert_true(a.correct1 == 1 && a.correct2 == 1);
    (void)state;
}

int main(void)
{
    static struct CMUnitTest tests[ARRAY_LEN(rows) + 3];
    size_t n = 0;
    for (; n < ARRAY_LEN(rows); n++)
        tests[n] = (struct CMUnitTest){ rows[n].name, agrees_with_doubles, NULL, NULL, (void *)&rows[n] };
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(the_first_step_is_the_rate);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(zeros_stay_zero);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(corrections_fade);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
