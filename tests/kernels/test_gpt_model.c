/*
 * A whole GPT on every device and in each of its precisions, beside the CPU: loss, gradients and
 * probabilities from the same parameters. tests/unit/test_gpt.c has what the CPU's are measured against.
 */
#include "tests/kernels/run.h"
#include "trainer/model.h"

enum { SEQUENCES = 2, CONTEXT = 37, VOCAB = 53, TOKENS = SEQUENCES * CONTEXT };

struct gpt_case {
    const char *name;
    struct model_config config;
};

static const struct gpt_case cases[] = {
    { "GPT-2's",
      { .layers = 2,
        .heads = 2,
        .width = 32,
        .context = CONTEXT,
        .classes = VOCAB,
        .records_max = SEQUENCES,
        .slices = 2 } },
    { "today's, computed again, with dropout",
      { .layers = 2,
        .heads = 2,
        .width = 48,
        .context = CONTEXT,
        .classes = VOCAB,
        .records_max = SEQUENCES,
        .slices = 2,
        .norm = MODEL_NORM_RMS,
        .positions = MODEL_POSITIONS_ROTARY,
        .mlp = MODEL_MLP_SWIGLU,
        .recompute = true,
        .dropout = 0.1 } },
};

/* What one device makes of the case. */
struct made {
    size_t count;
    float *params, *grad; // owned: (count)
    double loss, evaluated;
    float probs[SEQUENCES * VOCAB];
    struct params *layout; // owned
};

static void made_done(struct made *m)
{
    free(m->params);
    free(m->grad);
    free(m->layout);
}

static void batch_of(struct batch *b, int32_t tokens[TOKENS], int32_t labels[TOKENS], int32_t starts[TOKENS])
{
    for (int i = 0; i < TOKENS; i++) {
        tokens[i] = (i * 31 + i / 7) % VOCAB;
        labels[i] = i % 11 == 5 ? -1 : (i * 17 + 3) % VOCAB;
        starts[i] = i % CONTEXT / 20 * 20;
    }
    *b = (struct batch){
        .n = SEQUENCES, .length = CONTEXT, .tokens = tokens, .labels = labels, .starts = starts
    };
}

/* `params`: to begin with; NULL: drawn. */
static void make(const struct gpt_case *c, const char *device, enum device_precision precision,
                 const float *params, struct made *out)
{
    struct err e = ERR_INIT;
    CLEANUP(device_closep) struct device *d = NULL;
    struct model *m = NULL;
    int32_t tokens[TOKENS], labels[TOKENS], starts[TOKENS];
    struct batch b;
    void *weights, *grad;

    batch_of(&b, tokens, labels, starts);
    assert_ok(device_open(device, &d, &e));
    assert_ok(device_use_precision(d, precision, &e));
    assert_ok(model_open("gpt", &c->config, d, &m, &e));
    assert_ok(device_alloc(d, m->params.padded, sizeof(float), &weights, &e));
    assert_ok(device_alloc(d, m->params.padded, sizeof(float), &grad, &e));
    out->count = m->params.count;
    out->layout = mem_new(sizeof(*out->layout));
    *out->layout = m->params;
    out->params = mem_array(m->params.padded, sizeof(float));
    out->grad = mem_array(m->params.padded, sizeof(float));
    if (params)
        device_put(d, weights, params, m->params.padded * sizeof(float));
    else
        model_init(m, 5, weights);
    assert_ok(model_backward(m, weights, &b, 99, grad, &out->loss, &e));
    device_get(d, out->grad, grad, m->params.padded * sizeof(float));
    device_get(d, out->params, weights, m->params.padded * sizeof(float));
    assert_ok(model_evaluate(m, weights, &b, &out->evaluated, &e));
    assert_ok(model_predict(m, weights, &b, out->probs, &e));
    device_free(d, weights);
    device_free(d, grad);
    model_close(m);
}

/* |got - want| of a tensor's gradient, as a share of |want|. */
static double off_by(const struct made *got, const struct made *want, const struct param_tensor *t)
{
    double off = 0, all = 0;
    for (size_t i = t->first; i < t->first + t->count; i++) {
        off += pow((double)got->grad[i] - (double)want->grad[i], 2);
        all += pow(want->grad[i], 2);
    }
    assert_true(all > 0 && isfinite(off));
    return sqrt(off / all);
}

static void it_agrees_with_the_cpu(void **state)
{
    static const double of_loss[] = { 1e-5, 1e-3, 1e-3 }, of_grad[] = { 1e-4, 1e-2, 2e-2 },
                        of_prob[] = { 1e-5, 2e-3, 5e-3 };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP(made_done) struct made want = { 0 }, got = { 0 };
        make(&cases[i], "cpu", DEVICE_FP32, NULL, &want);
        make(&cases[i], run_device, run_precision, want.params, &got);
        assert_memory_equal(got.params, want.params, want.count * sizeof(float)); // borrowed, and not written
        assert_near(got.loss / want.loss, 1, of_loss[run_precision]);
        assert_near(got.evaluated / want.evaluated, 1, of_loss[run_precision]);
        for (size_t t = 0; t < want.layout->tensor_count; t++) {
            const struct param_tensor *tensor = &want.layout->tensors[t];
            double off = off_by(&got, &want, tensor);
            if (!(off <= of_grad[run_precision]))
                fail_msg("%s: the gradient of %s is off by %g of it", cases[i].name, tensor->name, off);
        }
        for (size_t p = 0; p < ARRAY_LEN(want.probs); p++)
            assert_near(got.probs[p], want.probs[p], of_prob[run_precision]);
    }
}

static void the_same_inputs_give_the_same_bits(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP(made_done) struct made one = { 0 }, two = { 0 };
        make(&cases[i], run_device, run_precision, NULL, &one);
        make(&cases[i], run_device, run_precision, NULL, &two);
        assert_memory_equal(one.grad, two.grad, one.count * sizeof(float));
        assert_memory_equal(one.probs, two.probs, sizeof(one.probs));
        assert_true(one.loss == two.loss && one.evaluated == two.evaluated);
    }
}

/* Loss and gradient of the batch, whose tokens are turned by `by`. */
static void pass(struct model *m, void *weights, void *grad, int by, float *out, double *out_loss)
{
    struct err e = ERR_INIT;
    int32_t tokens[TOKENS], labels[TOKENS], starts[TOKENS];
    struct batch b;

    batch_of(&b, tokens, labels, starts);
    for (int i = 0; i < TOKENS; i++)
        tokens[i] = (tokens[i] + by) % VOCAB;
    assert_ok(model_backward(m, weights, &b, 99, grad, out_loss, &e));
    device_get(m->device, out, grad, m->params.padded * sizeof(float));
}

/* Drawn weights change a pass a little, by the key alone, and only where there is something to draw. */
static void drawn_weights_repeat_by_their_key(void **state)
{
    struct gpt_case drawn = cases[0];
    CLEANUP(made_done) struct made nearest = { 0 }, one = { 0 }, two = { 0 };
    (void)state;
    drawn.config.draw_weights = true;
    make(&cases[0], run_device, run_precision, NULL, &nearest);
    make(&drawn, run_device, run_precision, NULL, &one);
    make(&drawn, run_device, run_precision, NULL, &two);
    assert_memory_equal(one.grad, two.grad, one.count * sizeof(float));
    assert_true(one.loss == two.loss);
    assert_true(one.evaluated == nearest.evaluated); /* to the nearest, as it is no training */
    assert_true((one.loss == nearest.loss) == (run_precision != DEVICE_BF16));
    assert_near(one.loss / nearest.loss, 1, 2e-3);
}

/* A card records a pass the second time it is the same, and repeats it from then on: of whatever is in the
 * batch, and whether or not the driver lets it. */
static void repeat_passes(const char *refused)
{
    enum { PASSES = 5, BATCHES = 2 };
    struct err e = ERR_INIT;
    struct model *m = NULL;
    struct kernel_run r = run_open();
    void *weights, *grad;
    double loss, first_loss[BATCHES];
    assert_int_equal(setenv("EMULATED_GRAPHS", refused, 1), 0);
    assert_ok(model_open("gpt", &cases[0].config, r.d, &m, &e));
    const size_t n = m->params.padded;
    CLEANUP(freep) float *got = mem_array(n, sizeof(float)), *first = mem_array(BATCHES * n, sizeof(float));
    assert_ok(device_alloc(r.d, n, sizeof(float), &weights, &e));
    assert_ok(device_alloc(r.d, n, sizeof(float), &grad, &e));
    model_init(m, 5, weights);
    for (int batch = 0; batch < BATCHES;
         batch++) { /* each in a model of its own, so that nothing is repeated */
        model_close(m);
        assert_ok(model_open("gpt", &cases[0].config, r.d, &m, &e));
        pass(m, weights, grad, batch * 3, first + (size_t)batch * n, &first_loss[batch]);
    }
    assert_true(first_loss[0] != first_loss[1]);
    for (int i = 0; i < PASSES; i++) {
        int batch = i % BATCHES;
        pass(m, weights, grad, batch * 3, got, &loss);
        assert_memory_equal(got, first + (size_t)batch * n, n * sizeof(float));
        assert_true(loss == first_loss[batch]);
    }
    device_free(r.d, weights);
    device_free(r.d, grad);
    model_close(m);
    device_close(r.d);
}

static void a_repeated_pass_has_the_same_bits(void **state)
{
    (void)state;
    repeat_passes("");
    repeat_passes("unrecorded");
    repeat_passes("unlaunched");
    unsetenv("EMULATED_GRAPHS");
}

static void reals_of_two_bytes_halve_the_activations(void **state)
{
    struct err e = ERR_INIT;
    struct kernel_run r = run_open();
    struct model_memory fp32, own;
    (void)state;
    assert_ok(model_plan("gpt", &cases[0].config, r.d, NULL, &own, &e));
    assert_ok(device_use_precision(r.d, DEVICE_FP32, &e));
    assert_ok(model_plan("gpt", &cases[0].config, r.d, NULL, &fp32, &e));
    device_close(r.d);
    if (run_precision == DEVICE_BF16)
        assert_true(own.activations < fp32.activations * 6 / 10);
    else
        assert_memory_equal(&own, &fp32, sizeof(own));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_agrees_with_the_cpu),
        cmocka_unit_test(the_same_inputs_give_the_same_bits),
        cmocka_unit_test(drawn_weights_repeat_by_their_key),
        cmocka_unit_test(a_repeated_pass_has_the_same_bits),
        cmocka_unit_test(reals_of_two_bytes_halve_the_activations),
    };
    return run_in_each_precision(cmocka_run_group_tests_name("a GPT on each device", tests, NULL, NULL));
}
