/*
 * The inside of the CUDA kernels that is plain arithmetic, on the host: against doubles, and where the header
 * promises it, against the CPU's kernels to the bit. Needs no card and no toolkit, and says nothing of what a
 * card does with it.
 */
#include "kernels/cuda/elements.h"
#include "tests/kernels/run.h"

static double gelu_f64(double x)
{
    return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

static double swiglu_f64(double gate, double up)
{
    return gate / (1 + exp(-gate)) * up;
}

static void relu_hides_no_broken_number(void **state)
{
    (void)state;
    assert_true(isnan(relu_of(NAN)));
    assert_true(relu_of(-1) == 0 && relu_of(2) == 2 && relu_of(0) == 0);
    assert_true(relu_gradient(3, 1) == 3 && relu_gradient(3, 0) == 0);
}

static void gelu_is_near_the_formula(void **state)
{
    const double h = 1e-5;
    (void)state;
    for (double x = -12; x < 12; x += 0.0037) {
        assert_near(gelu_of((float)x), gelu_f64((float)x), 2e-6);
        double slope = (gelu_f64((float)x + h) - gelu_f64((float)x - h)) / (2 * h);
        assert_near(gelu_gradient(0.7f, (float)x), (double)0.7f * slope, 2e-6);
    }
    assert_true(isnan(gelu_of(NAN)));
}

static void swiglu_is_near_the_formula(void **state)
{
    const double h = 1e-5;
    (void)state;
    for (double g = -12; g < 12; g += 0.0037) {
        float gate = (float)g, up = 1.5f, dgate, dup;
        assert_near(swiglu_of(gate, up), swiglu_f64(gate, up), 1e-6);
        swiglu_gradient(&dgate, &dup, 0.7f, gate, up);
        assert_near(dgate, (double)0.7f * (swiglu_f64(gate + h, up) - swiglu_f64(gate - h, up)) / (2 * h),
                    2e-6);
        assert_near(dup, (double)0.7f * swiglu_f64(gate, 1), 2e-6);
    }
    assert_near(swiglu_of(-1e4f, 2), 0, 1e-6);
    assert_near(swiglu_of(1e4f, 2), 2e4, 1e-6);
}

/* Of all draws as many round up as the number is far from the one below. */
static void a_drawn_bf16_has_the_right_odds(void **state)
{
    static const float numbers[] = { 1.003f, -1.003f, 0.75f, 1e-40f, 3.1e38f, -7e-3f };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        uint32_t bits, away = 0;
        memcpy(&bits, &numbers[i], sizeof(bits));
        const uint16_t below = (uint16_t)(bits >> 16);
        for (uint64_t draw = 0; draw < 1 << 16; draw++) {
            uint16_t drawn = drawn_bf16(numbers[i], draw | 0xabc0000);
            assert_true(drawn == below || drawn == below + 1);
            away += drawn != below;
        }
        assert_int_equal(away, bits & 0xffff);
    }
    assert_true(isnan(of_bf16_bits(drawn_bf16(NAN, 0xffff))) &&
                isnan(of_bf16_bits(drawn_bf16(-NAN, 0xffff))));
    assert_true(of_bf16_bits(drawn_bf16(INFINITY, 0xffff)) == INFINITY);
    assert_true(of_bf16_bits(drawn_bf16(-0.0f, 0xffff)) == 0);
}

/* The CPU's kernel on `n` random numbers beside the same function by element. */
static void dropout_has_the_cpus_bits(void **state)
{
    struct kernel_run r = run_open();
    const size_t n = 10007;
    const float rate = 0.3f;
    struct pair x = pair_random(&r, n, 1, 2), out = pair_new(&r, n);
    (void)state;
    r.k->dropout(r.d, out.dev, x.dev, n, rate, 42);
    pair_fetch(&r, &out);
    for (size_t i = 0; i < n; i++)
        assert_true(dropout_of(x.host[i], 42, i, rate, 1 / (1 - rate)) == out.host[i]);
    pair_done(&r, &x);
    pair_done(&r, &out);
    device_close(r.d);
}

static void adamw_has_the_cpus_bits(void **state)
{
    struct kernel_run r = run_open();
    const size_t n = 4099;
    struct adamw a = { .lr = 3e-4f,
                       .beta1 = 0.9f,
                       .beta2 = 0.95f,
                       .epsilon = 1e-8f,
                       .weight_decay = 0.1f,
                       .grad_scale = 0.013f };
    struct pair w = pair_random(&r, n, -1, 1), m = pair_random(&r, n, -1, 1), v = pair_random(&r, n, 0, 1),
                g = pair_random(&r, n, -9, 9);
    float *own[3] = { mem_array(n, sizeof(float)), mem_array(n, sizeof(float)), mem_array(n, sizeof(float)) };
    struct pair *all[] = { &w, &m, &v };
    (void)state;
    adamw_prepare(&a, 7);
    for (size_t i = 0; i < 3; i++)
        memcpy(own[i], all[i]->host, n * sizeof(float));
    r.k->adamw(r.d, w.dev, m.dev, v.dev, g.dev, n, &a);
    for (size_t i = 0; i < n; i++)
        adamw_update(&own[0][i], &own[1][i], &own[2][i], g.host[i], &a);
    for (size_t i = 0; i < 3; i++) {
        pair_fetch(&r, all[i]);
        assert_memory_equal(all[i]->host, own[i], n * sizeof(float));
        free(own[i]);
        pair_done(&r, all[i]);
    }
    pair_done(&r, &g);
    device_close(r.d);
}

static void rotary_has_the_cpus_bits(void **state)
{
    const struct attention_shape s = { 1, 33, 2, 6 };
    struct kernel_run r = run_open();
    size_t row = 3 * s.heads * s.size, half = s.size / 2;
    struct pair x = pair_random(&r, s.T * row, -2, 2), turns = pair_new(&r, s.T * s.size);
    CLEANUP(freep) float *own = mem_array(s.T * row, sizeof(float));
    int32_t position[33];
    (void)state;
    for (size_t t = 0; t < s.T; t++)
        position[t] = (int32_t)t;
    int32_t *at = run_memory(&r, sizeof(position));
    device_put(r.d, at, position, sizeof(position));
    rotary_prepare(turns.host, s.T, s.size);
    device_put(r.d, turns.dev, turns.host, turns.n * sizeof(float));
    memcpy(own, x.host, s.T * row * sizeof(float));
    r.k->rotary(r.d, x.dev, turns.dev, at, true, &s);
    pair_fetch(&r, &x);
    for (size_t t = 0; t < s.T; t++)
        for (size_t pair = 0; pair < 2 * s.heads * half; pair++) {
            const float *turn = turns.host + t * s.size;
            float *low = own + t * row + pair / half * s.size + pair % half;
            rotary_turn(low, low + half, turn[pair % half], -turn[pair % half + half]);
        }
    assert_memory_equal(x.host, own, s.T * row * sizeof(float));
    pair_done(&r, &x);
    pair_done(&r, &turns);
    device_free(r.d, at);
    device_close(r.d);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_drawn_bf16_has_the_right_odds), cmocka_unit_test(relu_hides_no_broken_number),
        cmocka_unit_test(gelu_is_near_the_formula),        cmocka_unit_test(swiglu_is_near_the_formula),
        cmocka_unit_test(dropout_has_the_cpus_bits),       cmocka_unit_test(adamw_has_the_cpus_bits),
        cmocka_unit_test(rotary_has_the_cpus_bits),
    };
    /* The device beside the host's arithmetic: on a card this shows whether its bits are the CPU's. */
    return run_everywhere(
        cmocka_run_group_tests_name("the kernels' arithmetic on the host", tests, NULL, NULL));
}
