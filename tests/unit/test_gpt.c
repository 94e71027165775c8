/*
 * What a gpt is made of, the memory it takes, its recomputation and its evaluation. That its numbers are
 * right is for tests/system/test_gpt.py, which has a second one.
 */
#include "base/mem.h"
#include "base/rng.h"
#include "tests/test.h"
#include "trainer/model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SEQUENCES = 3, LENGTH = 21, TOKENS = SEQUENCES * LENGTH, VOCAB = 50 };

static const struct model_config gpt2 = { .width = 24,
                                          .layers = 3,
                                          .heads = 2,
                                          .context = 32,
                                          .classes = VOCAB,
                                          .records_max = SEQUENCES,
                                          .slices = 4 };

static struct model_config today(struct model_config c)
{
    c.norm = MODEL_NORM_RMS;
    c.positions = MODEL_POSITIONS_ROTARY;
    c.mlp = MODEL_MLP_SWIGLU;
    return c;
}

static struct model_config again(struct model_config c)
{
    c.recompute = true;
    return c;
}

/* ---- a device that counts ---- */

/* One device at a time: the CPU's operations know no context of ours. */
static struct {
    const struct device_ops *cpu;
    size_t bytes, pieces, live;
    size_t fails_at; /* the number of a piece; SIZE_MAX: none */
} counted;

static void *counting_alloc(struct device *d, size_t bytes)
{
    if (counted.pieces == counted.fails_at)
        return NULL;
    counted.bytes += bytes;
    counted.pieces++;
    counted.live++;
    return counted.cpu->alloc(d, bytes);
}

static void counting_free(struct device *d, void *memory)
{
    counted.live--;
    counted.cpu->free(d, memory);
}

static struct device *counting_device(struct device_ops *ops)
{
    struct err e = ERR_INIT;
    struct device *d = NULL;
    assert_ok(device_open("cpu", &d, &e));
    *ops = *d->ops;
    memset(&counted, 0, sizeof(counted));
    counted.cpu = d->ops;
    counted.fails_at = SIZE_MAX;
    ops->alloc = counting_alloc;
    ops->free = counting_free;
    d->ops = ops;
    return d;
}

static size_t configs(const char *kinds[12], struct model_config out[12])
{
    size_t n = 0;
    for (int bits = 0; bits < 8; bits++, n++) {
        kinds[n] = "gpt";
        out[n] = gpt2;
        out[n].norm = bits & 1 ? MODEL_NORM_RMS : MODEL_NORM_LAYER;
        out[n].positions = bits & 2 ? MODEL_POSITIONS_ROTARY : MODEL_POSITIONS_LEARNED;
        out[n].mlp = bits & 4 ? MODEL_MLP_SWIGLU : MODEL_MLP_GELU;
    }
    kinds[n] = "gpt", out[n++] = again(gpt2);
    kinds[n] = "gpt", out[n++] = again(today(gpt2));
    kinds[n] = "mlp",
    out[n++] = (struct model_config){ .width = 5, .classes = 2, .records_max = 8, .slices = 1 };
    kinds[n] = "mlp", out[n++] = (struct model_config){
        .width = 7, .hidden = { 9, 33 }, .hidden_count = 2, .classes = 3, .records_max = 16, .slices = 2
    };
    return n;
}

static void what_is_planned_is_what_is_taken(void **state)
{
    const char *kinds[12];
    struct model_config c[12];
    size_t n = configs(kinds, c);
    (void)state;
    for (size_t i = 0; i < n; i++) {
        struct device_ops ops;
        struct err e = ERR_INIT;
        CLEANUP(device_closep) struct device *d = counting_device(&ops);
        struct params *layout = mem_new(sizeof(*layout));
        struct model_memory memory;
        struct model *m = NULL;
        assert_ok(model_plan(kinds[i], &c[i], d, layout, &memory, &e));
        assert_int_equal(counted.pieces, 0);
        assert_ok(model_open(kinds[i], &c[i], d, &m, &e));
        assert_int_equal(counted.bytes, memory.activations + memory.workspace);
        assert_memory_equal(layout, &m->params, sizeof(*layout));
        model_close(m);
        assert_int_equal(counted.live, 0);
        free(layout);
    }
}

static void a_plan_adds_up(void **state)
{
    struct device_ops ops;
    struct err e = ERR_INIT;
    CLEANUP(device_closep) struct device *d = counting_device(&ops);
    const size_t N = SEQUENCES * 32, L = 3, C = 24, W = 64, heads = 2; /* 8/3 of 24 is 64 */
    struct model_config c = today(gpt2);
    struct model_memory kept, recomputed;
    size_t inside = N * 4 * (C + 3 * C + C + C + C + 3 * W + 2 + heads);
    (void)state;
    assert_ok(model_plan("gpt", &c, d, NULL, &kept, &e));
    assert_int_equal(kept.activations, L * (N * 4 * C + inside) + N * 4 * (2 * C + 1));
    size_t logits = kernels_for(d)->classify_work(N, VOCAB) * 4;
    assert_int_equal(kept.workspace,
                     N * 4 * (C + C + 2 * W + 3 * C) + logits + 32 * C / heads * 4 + N * (4 * 4 + 8));
    c = again(c);
    assert_ok(model_plan("gpt", &c, d, NULL, &recomputed, &e));
    assert_int_equal(recomputed.activations, kept.activations - L * inside);
    assert_int_equal(recomputed.workspace, kept.workspace + inside);
}

static void what_cannot_be_is_not_planned(void **state)
{
    struct device_ops ops;
    struct err e = ERR_INIT;
    CLEANUP(device_closep) struct device *d = counting_device(&ops);
    struct model_memory memory = { 1, 2 };
    struct model_config xl = { .width = 1600,
                               .layers = 48,
                               .heads = 25,
                               .context = 1024,
                               .classes = 50257,
                               .records_max = 16,
                               .slices = 1 };
    (void)state;
    assert_ok(model_plan("gpt", &xl, d, NULL, &memory, &e)); /* more than any test's machine has */
    assert_true(memory.activations > (size_t)50 << 30);
    xl.records_max = MODEL_RECORDS_MAX;
    memory.activations = 1;
    assert_int_equal(model_plan("gpt", &xl, d, NULL, &memory, &e), ERR_LIMIT);
    assert_int_equal(memory.activations, 1);
    assert_int_equal(model_plan("oracle", &xl, d, NULL, &memory, &e), ERR_USAGE);
    xl.heads = 7;
    assert_int_equal(model_plan("gpt", &xl, d, NULL, &memory, &e), ERR_USAGE);
    assert_int_equal(counted.pieces, 0);
}

static void memory_that_is_not_there_is_given_back(void **state)
{
    const char *kinds[12];
    struct model_config c[12];
    size_t n = configs(kinds, c);
    (void)state;
    for (size_t i = n - 3; i < n; i++) /* the smaller ones */
        for (size_t at = 0;; at++) {
            struct device_ops ops;
            struct err e = ERR_INIT;
            CLEANUP(device_closep) struct device *d = counting_device(&ops);
            struct model *m = NULL;
            counted.fails_at = at;
            enum err_code code = model_open(kinds[i], &c[i], d, &m, &e);
            model_close(m);
            assert_int_equal(counted.live, 0);
            if (code == OK)
                break;
            assert_int_equal(code, ERR_LIMIT);
            assert_null(m);
            assert_non_null(strstr(e.text, kinds[i]));
        }
}

/* ---- what it is made of ---- */

static void assert_tensors(const struct model_config *c, const char *const *names, size_t n)
{
    struct err e = ERR_INIT;
    CLEANUP(device_closep) struct device *d = NULL;
    CLEANUP(freep) struct params *p = mem_new(sizeof(*p));
    struct model_memory memory;
    assert_ok(device_open("cpu", &d, &e));
    assert_ok(model_plan("gpt", c, d, p, &memory, &e));
    assert_int_equal(p->tensor_count, n);
    for (size_t i = 0, first = 0; i < n; first += p->tensors[i++].count) {
        char name[PARAM_NAME_BYTES * 2];
        const struct param_tensor *t = &p->tensors[i];
        int used = snprintf(name, sizeof(name), "%s", t->name);
        for (size_t k = 0; k < t->dim_count; k++)
            used += snprintf(name + used, sizeof(name) - (size_t)used, " %zu", t->dims[k]);
        assert_string_equal(name, names[i]);
        assert_int_equal(t->first, first);
    }
}

static void tensors_have_the_names_of_gpt2(void **state)
{
    static const char *const names[] = {
        "wte.weight 50 24",
        "wpe.weight 32 24",
        "h.0.ln_1.weight 24",
        "h.0.ln_1.bias 24",
        "h.0.attn.c_attn.weight 24 72",
        "h.0.attn.c_attn.bias 72",
        "h.0.attn.c_proj.weight 24 24",
        "h.0.attn.c_proj.bias 24",
        "h.0.ln_2.weight 24",
        "h.0.ln_2.bias 24",
        "h.0.mlp.c_fc.weight 24 96",
        "h.0.mlp.c_fc.bias 96",
        "h.0.mlp.c_proj.weight 96 24",
        "h.0.mlp.c_proj.bias 24",
        "ln_f.weight 24",
        "ln_f.bias 24",
    };
    struct model_config c = gpt2;
    c.layers = 1;
    assert_tensors(&c, names, ARRAY_LEN(names));
    (void)state;
}

static void options_have_tensors_of_their_own(void **state)
{
    static const char *const names[] = {
        "wte.weight 50 24",
        "h.0.ln_1.weight 24",
        "h.0.attn.c_attn.weight 24 72",
        "h.0.attn.c_attn.bias 72",
        "h.0.attn.c_proj.weight 24 24",
        "h.0.attn.c_proj.bias 24",
        "h.0.ln_2.weight 24",
        "h.0.mlp.c_gate.weight 24 64",
        "h.0.mlp.c_gate.bias 64",
        "h.0.mlp.c_fc.weight 24 64",
        "h.0.mlp.c_fc.bias 64",
        "h.0.mlp.c_proj.weight 64 24",
        "h.0.mlp.c_proj.bias 24",
        "ln_f.weight 24",
    };
    struct model_config c = today(gpt2);
    c.layers = 1;
    assert_tensors(&c, names, ARRAY_LEN(names));
    (void)state;
}

static void a_gated_mlp_is_of_8_thirds(void **state)
{
    static const size_t widths[][2] = { { 1, 64 },   { 24, 64 },    { 25, 128 },    { 48, 128 },
                                        { 49, 192 }, { 768, 2048 }, { 4096, 10944 } }; /* C, W */
    struct err e = ERR_INIT;
    CLEANUP(device_closep) struct device *d = NULL;
    CLEANUP(freep) struct params *p = mem_new(sizeof(*p));
    struct model_memory memory;
    (void)state;
    assert_ok(device_open("cpu", &d, &e));
    for (size_t i = 0; i < ARRAY_LEN(widths); i++) {
        struct model_config c = gpt2;
        c.mlp = MODEL_MLP_SWIGLU;
        c.heads = c.layers = 1;
        c.width = widths[i][0];
        assert_ok(model_plan("gpt", &c, d, p, &memory, &e));
        assert_string_equal(p->tensors[10].name, "h.0.mlp.c_gate.weight");
        assert_int_equal(p->tensors[10].dims[1], widths[i][1]);
    }
}

static void pairs_need_heads_of_an_even_size(void **state)
{
    struct err e = ERR_INIT;
    CLEANUP(device_closep) struct device *d = NULL;
    CLEANUP(model_closep) struct model *m = NULL;
    struct model_config c = gpt2;
    (void)state;
    c.width = 15;
    c.heads = 3;
    assert_ok(device_open("cpu", &d, &e));
    c.positions = MODEL_POSITIONS_ROTARY;
    assert_int_equal(model_open("gpt", &c, d, &m, &e), ERR_USAGE);
    assert_non_null(strstr(e.text, "even size, not 5"));
    c.positions = MODEL_POSITIONS_LEARNED;
    assert_ok(model_open("gpt", &c, d, &m, &e));
}

/* ---- what it computes ---- */

struct setting {
    struct device *d;
    struct model *m;
    float *params, *grad; /* the CPU's memory is the host's */
    int32_t tokens[TOKENS], labels[TOKENS], starts[TOKENS];
    struct batch batch;
};

static void setting_done(struct setting *s)
{
    model_close(s->m);
    device_close(s->d);
    free(s->params);
    free(s->grad);
}

static void setting_of(struct setting *s, const struct model_config *c)
{
    struct err e = ERR_INIT;
    assert_ok(device_open("cpu", &s->d, &e));
    assert_ok(model_open("gpt", c, s->d, &s->m, &e));
    s->params = mem_array(s->m->params.padded, sizeof(float));
    s->grad = mem_array(s->m->params.padded, sizeof(float));
    model_init(s->m, 1, s->params);
    for (size_t i = 0; i < s->m->params.count; i++) /* biases of zero would hide mistakes */
        s->params[i] += 0.1f * rng_f32(13, i) - 0.05f;
    for (size_t i = 0; i < TOKENS; i++) {
        s->tokens[i] = (int32_t)rng_below(11, i, VOCAB);
        s->labels[i] = i % 5 == 2 ? -1 : (int32_t)rng_below(12, i, VOCAB);
        s->starts[i] = i % LENGTH >= 8 ? 8 : 0;
    }
    s->batch = (struct batch){
        .n = SEQUENCES, .length = LENGTH, .tokens = s->tokens, .labels = s->labels, .starts = s->starts
    };
}

static void computed_again_gives_the_same_bits(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        CLEANUP(setting_done) struct setting keeps = { 0 }, repeats = { 0 };
        struct model_config c = i & 1 ? today(gpt2) : gpt2, r;
        struct err e = ERR_INIT;
        double loss, same, ignored;
        c.dropout = i & 2 ? 0.2 : 0;
        r = again(c);
        setting_of(&keeps, &c);
        setting_of(&repeats, &r);
        for (uint64_t key = 5; key < 7; key++) {
            assert_ok(model_backward(keeps.m, keeps.params, &keeps.batch, key, keeps.grad, &loss, &e));
            memset(repeats.grad, 0x7f, repeats.m->params.padded * sizeof(float));
            assert_ok(
                model_backward(repeats.m, repeats.params, &repeats.batch, key, repeats.grad, &same, &e));
            assert_true(loss == same && loss > 0);
            assert_memory_equal(keeps.grad, repeats.grad, keeps.m->params.padded * sizeof(float));
            assert_ok(model_evaluate(keeps.m, keeps.params, &keeps.batch, &loss, &e));
            assert_ok(model_evaluate(repeats.m, repeats.params, &repeats.batch, &ignored, &e));
            assert_true(loss == ignored);
        }
    }
}

static void evaluation_is_the_loss_without_dropout(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        CLEANUP(setting_done) struct setting plain = { 0 }, dropping = { 0 };
        struct model_config c = i ? today(gpt2) : gpt2;
        struct err e = ERR_INIT;
        double want, got, dropped;
        setting_of(&plain, &c);
        c.dropout = 0.3;
        setting_of(&dropping, &c);
        assert_ok(model_backward(plain.m, plain.params, &plain.batch, 5, plain.grad, &want, &e));
        assert_ok(
            model_backward(dropping.m, dropping.params, &dropping.batch, 5, dropping.grad, &dropped, &e));
        assert_ok(model_evaluate(dropping.m, dropping.params, &dropping.batch, &got, &e));
        assert_true(got == want && dropped != want);
    }
}

static void evaluation_counts_what_has_a_label(void **state)
{
    CLEANUP(setting_done) struct setting s = { 0 };
    struct err e = ERR_INIT;
    struct batch empty = { .n = 0, .length = LENGTH };
    int32_t all[TOKENS];
    double whole, part, sum = 0;
    (void)state;
    setting_of(&s, &gpt2);
    memcpy(all, s.labels, sizeof(all));
    assert_ok(model_evaluate(s.m, s.params, &s.batch, &whole, &e));
    for (size_t i = 0; i < TOKENS; i++) /* one label at a time */
        s.labels[i] = -1;
    for (size_t i = 0; i < TOKENS; i++) {
        s.labels[i] = all[i];
        assert_ok(model_evaluate(s.m, s.params, &s.batch, &part, &e));
        assert_true(all[i] < 0 ? part == 0 : part > 0);
        sum += part;
        s.labels[i] = -1;
    }
    assert_true(fabs(sum - whole) < 1e-9);
    assert_ok(model_evaluate(s.m, s.params, &empty, &part, &e));
    assert_true(part == 0);
    s.labels[3] = VOCAB;
    part = 7;
    assert_int_equal(model_evaluate(s.m, s.params, &s.batch, &part, &e), ERR_USAGE);
    assert_non_null(strstr(e.text, "token 3"));
    assert_true(part == 7);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_planned_is_what_is_taken),
        cmocka_unit_test(a_plan_adds_up),
        cmocka_unit_test(what_cannot_be_is_not_planned),
        cmocka_unit_test(memory_that_is_not_there_is_given_back),
        cmocka_unit_test(tensors_have_the_names_of_gpt2),
        cmocka_unit_test(options_have_tensors_of_their_own),
        cmocka_unit_test(a_gated_mlp_is_of_8_thirds),
        cmocka_unit_test(pairs_need_heads_of_an_even_size),
        cmocka_unit_test(computed_again_gives_the_same_bits),
        cmocka_unit_test(evaluation_is_the_loss_without_dropout),
        cmocka_unit_test(evaluation_counts_what_has_a_label),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
