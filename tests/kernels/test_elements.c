/*
 * The operations that look at one element at a time, and the two sums over a whole vector.
 */
#include "tests/kernels/run.h"

static const size_t sizes[] = { 0, 1, 7, 8, 9, 63, 64, 65, 10007 };

static void relu_lets_through_what_is_above_zero(void **state)
{
    struct kernel_run r = run_open();
    for (size_t s = 0; s < ARRAY_LEN(sizes); s++) {
        struct pair x = pair_random(&r, sizes[s], -1, 1), out = pair_new(&r, sizes[s]);
        struct pair dout = pair_random(&r, sizes[s], -1, 1), dx = pair_new(&r, sizes[s]);
        r.k->relu(r.d, out.dev, x.dev, sizes[s]);
        r.k->relu_backward(r.d, dx.dev, dout.dev, out.dev, sizes[s]);
        pair_fetch(&r, &out);
        pair_fetch(&r, &dx);
        for (size_t i = 0; i < sizes[s]; i++) {
            assert_true(out.host[i] == (x.host[i] > 0 ? x.host[i] : 0));
            assert_true(dx.host[i] == (x.host[i] > 0 ? dout.host[i] : 0));
        }
        r.k->relu(r.d, x.dev, x.dev, sizes[s]); // in place
        pair_fetch(&r, &x);
        assert_memory_equal(x.host, out.host, sizes[s] * sizeof(float));
        pair_done(&r, &x);
        pair_done(&r, &out);
        pair_done(&r, &dout);
        pair_done(&r, &dx);
    }
    device_close(r.d);
    (void)state;
}

static void relu_hides_no_broken_number(void **state)
{
    struct kernel_run r = run_open();
    struct pair x = pair_new(&r, 3), out = pair_random(&r, 3, 0, 1);
    r.k->relu(r.d, out.dev, x.dev, 3);
    pair_fetch(&r, &out);
    assert_true(isnan(out.host[0]) && isnan(out.host[1]) && isnan(out.host[2]));
    pair_done(&r, &x);
    pair_done(&r, &out);
    device_close(r.d);
    (void)state;
}

static void dropout_is_a_function_of_key_and_index(void **state)
{
    struct kernel_run r = run_open();
    const float rate = 0.3f;
    size_t n = 10007, dropped = 0;
    struct pair x = pair_random(&r, n, 1, 2), out = pair_new(&r, n), part = pair_new(&r, 100);
    r.k->dropout(r.d, out.dev, x.dev, n, rate, 42);
    r.k->dropout(r.d, part.dev, x.dev, 100, rate, 42);
    pair_fetch(&r, &out);
    pair_fetch(&r, &part);
    for (size_t i = 0; i < n; i++) {
        if (rng_f32(42, i) >= rate)
            assert_near(out.host[i], x.host[i] / 0.7, 1e-6);
        else
            assert_true(out.host[i] == 0);
        dropped += out.host[i] == 0;
    }
    assert_memory_equal(out.host, part.host, 100 * sizeof(float));
    assert_in_range(dropped, 2800, 3200);
    r.k->dropout(r.d, out.dev, x.dev, n, rate, 43);
    pair_fetch(&r, &out);
    assert_memory_not_equal(out.host, part.host, 100 * sizeof(float));
    pair_done(&r, &x);
    pair_done(&r, &out);
    pair_done(&r, &part);
    device_close(r.d);
    (void)state;
}

static void dropout_at_rate_zero_changes_nothing(void **state)
{
    struct kernel_run r = run_open();
    struct pair x = pair_random(&r, 1000, -1, 1), out = pair_new(&r, 1000);
    r.k->dropout(r.d, out.dev, x.dev, 1000, 0, 1);
    pair_fetch(&r, &out);
    assert_memory_equal(out.host, x.host, 1000 * sizeof(float));
    pair_done(&r, &x);
    pair_done(&r, &out);
    device_close(r.d);
    (void)state;
}

static void add_scale_and_zero(void **state)
{
    struct kernel_run r = run_open();
    for (size_t s = 0; s < ARRAY_LEN(sizes); s++) {
        size_t n = sizes[s];
        struct pair a = pair_random(&r, n, -1, 1), b = pair_random(&r, n, -1, 1);
        float *first = mem_array(n + 1, sizeof(float));
        memcpy(first, a.host, n * sizeof(float));
        r.k->add(r.d, a.dev, b.dev, n);
        pair_fetch(&r, &a);
        for (size_t i = 0; i < n; i++)
            assert_true(a.host[i] == first[i] + b.host[i]);
        r.k->scale(r.d, b.dev, n, 0.25f);
        float *before = first;
        memcpy(before, b.host, n * sizeof(float));
        pair_fetch(&r, &b);
        for (size_t i = 0; i < n; i++)
            assert_true(b.host[i] == before[i] * 0.25f);
        r.k->zero(r.d, b.dev, n);
        pair_fetch(&r, &b);
        for (size_t i = 0; i < n; i++)
            assert_true(b.host[i] == 0);
        free(first);
        pair_done(&r, &a);
        pair_done(&r, &b);
    }
    device_close(r.d);
    (void)state;
}

static void sum_squares_agrees_with_long_doubles(void **state)
{
    struct kernel_run r = run_open();
    double *out = run_memory(&r, sizeof(double)), got;
    for (size_t s = 0; s < ARRAY_LEN(sizes); s++) {
        struct pair x = pair_random(&r, sizes[s], -3, 3);
        long double want = 0;
        for (size_t i = 0; i < sizes[s]; i++)
            want += (long double)x.host[i] * (long double)x.host[i];
        r.k->sum_squares(r.d, out, x.dev, sizes[s]);
        device_get(r.d, &got, out, sizeof(got));
        assert_near(got, (double)want, 1e-13);
        pair_done(&r, &x);
    }
    device_free(r.d, out);
    device_close(r.d);
    (void)state;
}

/* 1 + 2^-53 + 2^-53 is 1 from the left, but 1 + 2^-52 where the small ones meet first: element 8 joins
 * element 0, and 1 and 2 are added before they meet it. */
static void sum_squares_adds_in_the_stated_order(void **state)
{
    struct kernel_run r = run_open();
    double *out = run_memory(&r, sizeof(double)), got;
    float *dev = run_memory(&r, 9 * sizeof(float));
    const float small = 0x1.6a09e6p-27f, zero = 0; // its square is just below 2^-53
    double square = (double)small * (double)small;
    float host[9] = { 1, zero, small, small, zero, zero, zero, zero, small };
    device_put(r.d, dev, host, sizeof(host));
    r.k->sum_squares(r.d, out, dev, 9);
    device_get(r.d, &got, out, sizeof(got));
    volatile double pair = square + square, first = 1.0 + square;
    volatile double want = first + pair;
    assert_true(got == want);
    assert_true(((first + square) + square) != want); // else the test says nothing
    device_free(r.d, out);
    device_free(r.d, dev);
    device_close(r.d);
    (void)state;
}

static void a_device_that_is_not_there_is_refused(void **state)
{
    struct err e = ERR_INIT;
    struct device *d = NULL;
    assert_int_equal(device_open("abacus", &d, &e), ERR_USAGE);
    assert_non_null(strstr(e.text, "abacus"));
    assert_null(d);
    (void)state;
}

static void the_best_device_says_what_it_is_and_what_it_is_not(void **state)
{
    struct err e = ERR_INIT;
    struct device *best = NULL, *cuda = NULL;
    assert_ok(device_open("auto", &best, &e));
    enum err_code code = device_open("cuda", &cuda, &e);
    if (code == OK)
        assert_string_equal(device_name(best), "cuda");
    else
        assert_string_equal(device_name(best), "cpu");
    if (code == ERR_NOT_FOUND) /* compiled in, and no card: the reason is there to be read */
        assert_non_null(strstr(device_note(best), "no cuda: "));
    device_close(cuda);
    device_close(best);
    (void)state;
}

static void the_cpu_multiplies_in_fp32_alone(void **state)
{
    struct err e = ERR_INIT;
    struct kernel_run r = run_open();
    bool cpu = strcmp(device_name(r.d), "cpu") == 0;
    assert_ok(device_use_precision(r.d, DEVICE_FP32, &e));
    assert_int_equal(device_use_precision(r.d, DEVICE_BF16, &e), cpu ? ERR_USAGE : OK);
    assert_int_equal(device_use_precision(r.d, DEVICE_TF32, &e), cpu ? ERR_USAGE : OK);
    if (cpu)
        assert_non_null(strstr(e.text, "tf32"));
    device_close(r.d);
    (void)state;
}

static void memory_that_is_not_there_is_a_limit(void **state)
{
    struct err e = ERR_INIT;
    struct kernel_run r = run_open();
    void *p = NULL;
    assert_int_equal(device_alloc(r.d, SIZE_MAX / 2, 4, &p, &e), ERR_LIMIT);
    assert_int_equal(device_alloc(r.d, SIZE_MAX / 8, 4, &p, &e), ERR_LIMIT);
    assert_null(p);
    device_close(r.d);
    (void)state;
}

static void the_host_sees_what_is_shared(void **state)
{
    struct kernel_run r = run_open();
    const size_t n = 1000;
    struct err e = ERR_INIT;
    struct pair x = pair_random(&r, n, -1, 1);
    float *shared = NULL, *own = NULL;
    (void)state;
    assert_ok(device_alloc_shared(r.d, n, sizeof(float), (void **)&shared, &e));
    assert_ok(device_alloc(r.d, n, sizeof(float), (void **)&own, &e));
    float *host = device_host_view(r.d, shared);
    assert_non_null(host);
    for (size_t i = 0; i < n; i++) {
        assert_true(host[i] == 0);
        host[i] = (float)i;
    }
    r.k->add(r.d, shared, x.dev, n);
    assert_true(device_host_view(r.d, shared) == host);
    for (size_t i = 0; i < n; i++)
        assert_true(host[i] == (float)i + x.host[i]);
    assert_true((device_host_view(r.d, own) == NULL) == (strcmp(device_name(r.d), "cpu") != 0));
    device_free(r.d, shared);
    device_free(r.d, own);
    pair_done(&r, &x);
    device_close(r.d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(relu_lets_through_what_is_above_zero),
        cmocka_unit_test(relu_hides_no_broken_number),
        cmocka_unit_test(dropout_is_a_function_of_key_and_index),
        cmocka_unit_test(dropout_at_rate_zero_changes_nothing),
        cmocka_unit_test(add_scale_and_zero),
        cmocka_unit_test(sum_squares_agrees_with_long_doubles),
        cmocka_unit_test(sum_squares_adds_in_the_stated_order),
        cmocka_unit_test(a_device_that_is_not_there_is_refused),
        cmocka_unit_test(the_best_device_says_what_it_is_and_what_it_is_not),
        cmocka_unit_test(the_cpu_multiplies_in_fp32_alone),
        cmocka_unit_test(memory_that_is_not_there_is_a_limit),
        cmocka_unit_test(the_host_sees_what_is_shared),
    };
    return run_everywhere(cmocka_run_group_tests(tests, NULL, NULL));
}
