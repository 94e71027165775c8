/*
 * The whole model against the same model written a second time, plainly and in doubles. The gradient is
 * compared with finite differences of that one's loss, so nothing of the backward pass is believed.
 */
#include "base/mem.h"
#include "base/rng.h"
#include "tests/test.h"
#include "trainer/model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { UNITS_MAX = 64, SLICES = 4 };

static const struct row {
    const char *name;
    struct model_config config;
    size_t n;
} rows[] = {
    { "no hidden layer is logistic regression", { .width = 5, .classes = 2, .records_max = 8 }, 8 },
    { "one hidden layer",
      { .width = 7, .hidden = { 9 }, .hidden_count = 1, .classes = 2, .records_max = 8 },
      5 },
    { "two hidden layers with dropout",
      { .width = 13,
        .hidden = { 33, 17 },
        .hidden_count = 2,
        .classes = 3,
        .dropout = 0.25,
        .records_max = 16 },
      16 },
    { "three hidden layers with much dropout",
      { .width = 4,
        .hidden = { 20, 20, 20 },
        .hidden_count = 3,
        .classes = 2,
        .dropout = 0.6,
        .records_max = 9 },
      9 },
    { "one record, one input, one unit",
      { .width = 1, .hidden = { 1 }, .hidden_count = 1, .classes = 2, .records_max = 1 },
      1 },
};

struct setting {
    struct device *d;
    struct model *m;
    float *params, *grad; /* the CPU's memory is the host's */
    float *features;
    int32_t *labels;
    struct batch batch;
};

static void setting_done(struct setting *s)
{
    model_close(s->m);
    device_close(s->d);
    free(s->params);
    free(s->grad);
    free(s->features);
    free(s->labels);
}

static struct setting setting_of(const struct model_config *config, size_t n)
{
    struct setting s = { 0 };
    struct err e = ERR_INIT;
    struct model_config c = *config;

    c.slices = SLICES;
    assert_ok(device_open("cpu", &s.d, &e));
    assert_ok(model_open("mlp", &c, s.d, &s.m, &e));
    s.params = mem_array(s.m->params.padded, sizeof(float));
    s.grad = mem_array(s.m->params.padded, sizeof(float));
    s.features = mem_array(n * c.width + 1, sizeof(float));
    s.labels = mem_array(n + 1, sizeof(int32_t));
    for (size_t i = 0; i < n * c.width; i++)
        s.features[i] = (float)rng_normal(11, i);
    for (size_t i = 0; i < n; i++)
        s.labels[i] = (int32_t)rng_below(12, i, c.classes);
    model_init(s.m, 1, s.params);
    for (size_t t = 1; t < s.m->params.tensor_count; t += 2) // biases of zero would hide mistakes
        for (size_t i = 0; i < s.m->params.tensors[t].count; i++)
            s.params[s.m->params.tensors[t].first + i] = 0.2f * rng_f32(13 + t, i) - 0.1f;
    s.batch = (struct batch){ .n = n, .features = s.features, .labels = s.labels };
    return s;
}

/* One record through the second model; returns its loss. `row`: its number in the batch, for dropout. */
static double reference(const struct setting *s, const double *params, size_t row, double rate, uint64_t key,
                        double *probs)
{
    const struct model_config *c = &s->m->config;
    double in[UNITS_MAX], out[UNITS_MAX] = { 0 }, sum = 0, largest = -INFINITY;
    size_t in_count = c->width;

    for (size_t i = 0; i < in_count; i++)
        in[i] = s->features[row * c->width + i];
    for (size_t l = 0; l <= c->hidden_count; l++) {
        const double *w = params + s->m->params.tensors[2 * l].first,
                     *b = params + s->m->params.tensors[2 * l + 1].first;
        size_t out_count = l < c->hidden_count ? c->hidden[l] : c->classes;
        for (size_t o = 0; o < out_count; o++) {
            out[o] = b[o];
            for (size_t i = 0; i < in_count; i++)
                out[o] += w[o * in_count + i] * in[i];
            if (l < c->hidden_count && out[o] < 0)
                out[o] = 0;
            if (l < c->hidden_count && rate > 0)
                out[o] *= rng_f32(rng_key(key, l), row * out_count + o) >= (float)rate ? 1 / (1 - rate) : 0;
        }
        memcpy(in, out, sizeof(in));
        in_count = out_count;
    }
    for (size_t k = 0; k < c->classes; k++)
        largest = fmax(largest, in[k]);
    for (size_t k = 0; k < c->classes; k++)
        sum += exp(in[k] - largest);
    for (size_t k = 0; k < c->classes; k++)
        probs[k] = exp(in[k] - largest) / sum;
    return log(sum) + largest - in[s->labels[row]];
}

static double reference_loss(const struct setting *s, const double *params, uint64_t key)
{
    double probs[UNITS_MAX], sum = 0;
    for (size_t i = 0; i < s->batch.n; i++)
        sum += reference(s, params, i, s->m->config.dropout, key, probs);
    return sum;
}

static void gradient_is_the_slope_of_the_loss(void **state)
{
    const struct row *row = *state;
    CLEANUP(setting_done) struct setting s = setting_of(&row->config, row->n);
    CLEANUP(freep) double *params = mem_array(s.m->params.padded, sizeof(double));
    struct err e = ERR_INIT;
    const double h = 1e-6;
    const uint64_t key = 99;
    double loss;

    for (size_t i = 0; i < s.m->params.padded; i++) {
        params[i] = s.params[i];
        s.grad[i] = NAN; // all of it is to be written
    }
    assert_ok(model_backward(s.m, s.params, &s.batch, key, s.grad, &loss, &e));
    assert_true(fabs(loss - reference_loss(&s, params, key)) < 1e-5 * loss);
    for (size_t i = 0; i < s.m->params.padded; i++) {
        double kept = params[i];
        params[i] = kept + h;
        double above = reference_loss(&s, params, key);
        params[i] = kept - h;
        double below = reference_loss(&s, params, key);
        params[i] = kept;
        double want = (above - below) / (2 * h);
        if (!(fabs(s.grad[i] - want) < 1e-5 * fmax(1, fabs(want))))
            fail_msg("gradient %zu is %.9g, the slope is %.9g", i, (double)s.grad[i], want);
    }
}

static void prediction_is_without_dropout(void **state)
{
    const struct row *row = *state;
    CLEANUP(setting_done) struct setting s = setting_of(&row->config, row->n);
    CLEANUP(freep) double *params = mem_array(s.m->params.padded, sizeof(double));
    struct err e = ERR_INIT;
    float probs[UNITS_MAX * 16];
    double want[UNITS_MAX];

    for (size_t i = 0; i < s.m->params.padded; i++)
        params[i] = s.params[i];
    assert_ok(
        model_predict(s.m, s.params, &(struct batch){ .n = row->n, .features = s.features }, probs, &e));
    for (size_t i = 0; i < row->n; i++) {
        reference(&s, params, i, 0, 0, want);
        for (size_t k = 0; k < row->config.classes; k++)
            assert_true(fabs(probs[i * row->config.classes + k] - want[k]) < 1e-6);
    }
}

static void evaluation_is_the_loss_without_dropout(void **state)
{
    const struct row *row = *state;
    CLEANUP(setting_done) struct setting s = setting_of(&row->config, row->n);
    CLEANUP(freep) double *params = mem_array(s.m->params.padded, sizeof(double));
    struct err e = ERR_INIT;
    struct batch empty = { .n = 0 };
    double probs[UNITS_MAX], want = 0, loss;

    for (size_t i = 0; i < s.m->params.padded; i++)
        params[i] = s.params[i];
    for (size_t i = 0; i < row->n; i++)
        want += reference(&s, params, i, 0, 0, probs);
    assert_ok(model_evaluate(s.m, s.params, &s.batch, &loss, &e));
    assert_true(fabs(loss - want) < 1e-5 * want);
    assert_ok(model_evaluate(s.m, s.params, &empty, &loss, &e));
    assert_true(loss == 0);
    s.labels[0] = (int32_t)row->config.classes;
    assert_int_equal(model_evaluate(s.m, s.params, &s.batch, &loss, &e), ERR_USAGE);
}

static void the_same_bits_whatever_was_done_before(void **state)
{
    const struct row *row = *state;
    CLEANUP(setting_done) struct setting s = setting_of(&row->config, row->n);
    CLEANUP(freep) float *first = mem_array(s.m->params.padded, sizeof(float));
    struct err e = ERR_INIT;
    struct batch one = { .n = 1, .features = s.features, .labels = s.labels };
    float probs[UNITS_MAX * 16];
    double loss, again, ignored;

    assert_ok(model_backward(s.m, s.params, &s.batch, 5, first, &loss, &e));
    assert_ok(model_backward(s.m, s.params, &one, 6, s.grad, &ignored, &e));
    assert_ok(
        model_predict(s.m, s.params, &(struct batch){ .n = row->n, .features = s.features }, probs, &e));
    assert_ok(model_backward(s.m, s.params, &s.batch, 5, s.grad, &again, &e));
    assert_true(loss == again);
    assert_memory_equal(first, s.grad, s.m->params.padded * sizeof(float));
}

static void an_empty_leaf_has_no_gradient(void **state)
{
    const struct row *row = *state;
    CLEANUP(setting_done) struct setting s = setting_of(&row->config, row->n);
    struct batch empty = { .n = 0 };
    struct err e = ERR_INIT;
    double loss = 7;

    memset(s.grad, 0x7f, s.m->params.padded * sizeof(float));
    assert_ok(model_backward(s.m, s.params, &empty, 5, s.grad, &loss, &e));
    assert_true(loss == 0);
    for (size_t i = 0; i < s.m->params.padded; i++)
        assert_true(s.grad[i] == 0);
}

static void tensors_have_names_and_places(void **state)
{
    const struct model_config c = {
        .width = 13, .hidden = { 33 }, .hidden_count = 1, .classes = 3, .records_max = 1
    };
    CLEANUP(setting_done) struct setting s = setting_of(&c, 1);
    const struct params *p = &s.m->params;

    assert_int_equal(p->tensor_count, 4);
    assert_string_equal(p->tensors[0].name, "layers.0.weight");
    assert_string_equal(p->tensors[3].name, "layers.1.bias");
    assert_int_equal(p->tensors[2].dims[0], 3);
    assert_int_equal(p->tensors[2].dims[1], 33);
    assert_int_equal(p->tensors[2].first, 13 * 33 + 33);
    assert_int_equal(p->count, 13 * 33 + 33 + 33 * 3 + 3); // 564
    assert_int_equal(p->slice_count, 144);                 // 564 / 4 = 141, up to a multiple of 16
    assert_int_equal(p->padded, 576);
    (void)state;
}

static void weights_start_random_biases_and_padding_at_zero(void **state)
{
    const struct model_config c = {
        .width = 100, .hidden = { 60 }, .hidden_count = 1, .classes = 2, .records_max = 1
    };
    CLEANUP(setting_done) struct setting s = setting_of(&c, 1);
    const struct params *p = &s.m->params;
    const double want[] = { 2.0 / 100, 0, 2.0 / 62, 0 }; // variances: He; Glorot for the last layer

    memset(s.params, 0x7f, p->padded * sizeof(float));
    model_init(s.m, 1, s.params);
    for (size_t t = 0; t < 4; t++) {
        double squares = 0;
        for (size_t i = 0; i < p->tensors[t].count; i++)
            squares += pow(s.params[p->tensors[t].first + i], 2) / (double)p->tensors[t].count;
        assert_true(fabs(squares - want[t]) <= 0.25 * want[t]);
    }
    for (size_t i = p->count; i < p->padded; i++)
        assert_true(s.params[i] == 0);
    memcpy(s.grad, s.params, p->padded * sizeof(float));
    model_init(s.m, 1, s.params);
    assert_memory_equal(s.grad, s.params, p->padded * sizeof(float));
    model_init(s.m, 2, s.params);
    assert_memory_not_equal(s.grad, s.params, p->padded * sizeof(float));
    (void)state;
}

static void a_label_that_is_no_class_is_refused(void **state)
{
    CLEANUP(setting_done) struct setting s = setting_of(&rows[1].config, 5);
    const int32_t bad[] = { -1, 2, INT32_MAX, INT32_MIN };
    struct err e = ERR_INIT;
    double loss = 7;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        s.labels[3] = bad[i];
        assert_int_equal(model_backward(s.m, s.params, &s.batch, 5, s.grad, &loss, &e), ERR_USAGE);
        assert_non_null(strstr(e.text, "record 3"));
        assert_true(loss == 7);
    }
    (void)state;
}

static void too_many_records_are_refused(void **state)
{
    CLEANUP(setting_done) struct setting s = setting_of(&rows[1].config, 9);
    struct err e = ERR_INIT;
    float probs[18];
    double loss;
    assert_int_equal(model_backward(s.m, s.params, &s.batch, 5, s.grad, &loss, &e), ERR_USAGE);
    assert_int_equal(model_predict(s.m, s.params, &(struct batch){ .n = 9, .features = s.features }, probs,
                                   &e),
                     ERR_USAGE);
    (void)state;
}

static void sizes_that_make_no_sense_are_refused(void **state)
{
    const struct model_config good = {
        .width = 2, .hidden = { 3 }, .hidden_count = 1, .classes = 2, .records_max = 1, .slices = 4
    };
    struct model_config bad[10];
    struct err e = ERR_INIT;
    struct model *m = NULL;
    CLEANUP(device_closep) struct device *d = NULL;

    assert_ok(device_open("cpu", &d, &e));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        bad[i] = good;
    bad[0].width = 0;
    bad[1].hidden[0] = 0;
    bad[2].hidden_count = MODEL_HIDDEN_MAX + 1;
    bad[3].classes = 1;
    bad[4].dropout = 1;
    bad[5].dropout = NAN;
    bad[6].records_max = 0;
    bad[7].slices = 6;
    bad[8].width = MODEL_WIDTH_MAX + 1;
    bad[9].slices = 0;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(model_open("mlp", &bad[i], d, &m, &e), ERR_USAGE);
    assert_int_equal(model_open("oracle", &good, d, &m, &e), ERR_USAGE);
    bad[0] = good;
    bad[0].width = bad[0].hidden[0] = MODEL_WIDTH_MAX; // 2^40 weights
    assert_int_equal(model_open("mlp", &bad[0], d, &m, &e), ERR_LIMIT);
    assert_null(m);
    (void)state;
}

int main(void)
{
    static const struct {
        const char *name;
        CMUnitTestFunction test;
    } checks[] = {
        { "the gradient is the slope of the loss", gradient_is_the_slope_of_the_loss },
        { "prediction is without dropout", prediction_is_without_dropout },
        { "evaluation is the loss without dropout", evaluation_is_the_loss_without_dropout },
        { "the same bits whatever was done before", the_same_bits_whatever_was_done_before },
        { "an empty leaf has no gradient", an_empty_leaf_has_no_gradient },
    };
    static const struct CMUnitTest single[] = {
        cmocka_unit_test(tensors_have_names_and_places),
        cmocka_unit_test(weights_start_random_biases_and_padding_at_zero),
        cmocka_unit_test(a_label_that_is_no_class_is_refused),
        cmocka_unit_test(too_many_records_are_refused),
        cmocka_unit_test(sizes_that_make_no_sense_are_refused),
    };
    static struct CMUnitTest tests[ARRAY_LEN(rows) * ARRAY_LEN(checks) + ARRAY_LEN(single)];
    static char names[ARRAY_LEN(rows) * ARRAY_LEN(checks)][160];
    size_t n = 0;
    for (; n < ARRAY_LEN(names); n++) {
        const struct row *row = &rows[n / ARRAY_LEN(checks)];
        snprintf(names[n], sizeof(names[n]), "%s: %s", row->name, checks[n % ARRAY_LEN(checks)].name);
        tests[n] =
            (struct CMUnitTest){ names[n], checks[n % ARRAY_LEN(checks)].test, NULL, NULL, (void *)row };
    }
    memcpy(&tests[n], single, sizeof(single));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
