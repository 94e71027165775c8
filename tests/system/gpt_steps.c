/*
 * gpt_steps.c - a small GPT trained for some steps on made-up tokens, everything written down for a reference
 * to check.
 *
 *     gpt_steps DIR LAYERS HEADS WIDTH CONTEXT VOCAB SEQUENCES LENGTH STEPS THREADS DOCUMENT \
 *               RMS ROTARY SWIGLU RECOMPUTE DROPOUT
 *
 * RMS to RECOMPUTE are 0 or 1, DROPOUT is in percent.
 *
 * DIR gets params.f32 (before the first step), tokens.i32, labels.i32, starts.i32 (where DOCUMENT tokens make
 * a document; 0: none), names.txt (name first count dims of each tensor), grad.f32 of the first step,
 * after.f32 (the parameters at the end) and probs.f32 of what comes next. Standard output: the loss of each
 * step, then that of the parameters at the end without dropout, "%.17g".
 */
#include "base/file.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/rng.h"
#include "trainer/model.h"

#include <stdio.h>
#include <string.h>

enum { ARGS = 17 };

struct run {
    const char *dir;
    struct model_config config;
    size_t sequences, length, steps, threads, document;
    size_t rms, rotary, swiglu, recompute, dropout;
    struct device *d;
    struct model *m;
    float *params, *grad, *moment1, *moment2;
    int32_t *tokens, *labels, *starts;
};

static enum err_code write_out(const struct run *r, const char *name, const void *data, size_t bytes,
                               struct err *e)
{
    CLEANUP(freep) char *path = path_join(r->dir, name);
    return file_write(path, data, bytes, 0600, e);
}

static enum err_code write_names(const struct run *r, struct err *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(1 << 20);
    for (size_t i = 0; i < r->m->params.tensor_count; i++) {
        const struct param_tensor *t = &r->m->params.tensors[i];
        buf_addf(&text, "%s %zu %zu", t->name, t->first, t->count);
        for (size_t k = 0; k < t->dim_count; k++)
            buf_addf(&text, " %zu", t->dims[k]);
        buf_add_byte(&text, '\n');
    }
    return write_out(r, "names.txt", text.data, text.len, e);
}

/* A text of sorts: each token mostly follows from the one before. */
static void make_tokens(struct run *r)
{
    size_t n = r->sequences * r->length;
    for (size_t i = 0; i < n; i++) {
        size_t at = i % r->length, vocab = r->config.classes;
        int32_t before = at > 0 ? r->tokens[i - 1] : 0;
        r->tokens[i] = (int32_t)(rng_f32(7, i) < 0.7f ? (size_t)before * 5 % vocab
                                                      : (size_t)(rng_f32(8, i) * (float)vocab) % vocab);
        r->starts[i] = (int32_t)(r->document ? at / r->document * r->document : 0);
    }
    for (size_t i = 0; i < n; i++)
        r->labels[i] = i % r->length + 1 < r->length ? r->tokens[i + 1] : -1;
}

static enum err_code take_memory(struct run *r, struct err *e)
{
    size_t n = r->sequences * r->length, padded = r->m->params.padded;
    r->tokens = mem_array(n, sizeof(int32_t));
    r->labels = mem_array(n, sizeof(int32_t));
    r->starts = mem_array(n, sizeof(int32_t));
    float **const vectors[] = { &r->params, &r->grad, &r->moment1, &r->moment2 };
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++)
        if (device_alloc(r->d, padded, sizeof(float), (void **)vectors[i], e))
            return e->code;
    return OK;
}

static enum err_code one_step(struct run *r, size_t step, const struct batch *b, struct err *e)
{
    struct adamw a = { .lr = 1e-3f, .beta1 = 0.9f, .beta2 = 0.95f, .epsilon = 1e-8f, .weight_decay = 0.1f };
    double loss;
    size_t counted = 0, padded = r->m->params.padded;
    for (size_t i = 0; i < b->n * b->length; i++)
        counted += b->labels[i] >= 0;
    if (model_backward(r->m, r->params, b, rng_key(3, step), r->grad, &loss, e))
        return e->code;
    if (step == 1 && write_out(r, "grad.f32", r->grad, padded * sizeof(float), e))
        return e->code;
    printf("%.17g\n", loss / (double)counted);
    a.grad_scale = 1.0f / (float)counted;
    adamw_prepare(&a, (int64_t)step);
    kernels_for(r->d)->adamw(r->d, r->params, r->moment1, r->moment2, r->grad, padded, &a);
    return OK;
}

static enum err_code train(struct run *r, struct err *e)
{
    const struct batch b = { .n = r->sequences,
                             .length = r->length,
                             .tokens = r->tokens,
                             .labels = r->labels,
                             .starts = r->document ? r->starts : NULL };
    size_t n = r->sequences * r->length, bytes = r->m->params.padded * sizeof(float);
    CLEANUP(freep) float *probs = mem_array(r->sequences * r->config.classes, sizeof(float));
    make_tokens(r);
    model_init(r->m, 11, r->params);
    if (write_names(r, e) || write_out(r, "params.f32", r->params, bytes, e) ||
        write_out(r, "tokens.i32", r->tokens, n * sizeof(int32_t), e) ||
        write_out(r, "labels.i32", r->labels, n * sizeof(int32_t), e) ||
        write_out(r, "starts.i32", r->starts, n * sizeof(int32_t), e))
        return e->code;
    for (size_t step = 1; step <= r->steps; step++)
        if (one_step(r, step, &b, e))
            return e->code;
    double loss;
    size_t counted = r->sequences * (r->length - 1);
    if (model_evaluate(r->m, r->params, &b, &loss, e))
        return e->code;
    printf("%.17g\n", loss / (double)counted);
    if (model_predict(r->m, r->params, &b, probs, e) || write_out(r, "after.f32", r->params, bytes, e))
        return e->code;
    return write_out(r, "probs.f32", probs, r->sequences * r->config.classes * sizeof(float), e);
}

static enum err_code run(char **argv, struct run *r, struct err *e)
{
    size_t *const numbers[] = { &r->config.layers,  &r->config.heads, &r->config.width, &r->config.context,
                                &r->config.classes, &r->sequences,    &r->length,       &r->steps,
                                &r->threads,        &r->document,     &r->rms,          &r->rotary,
                                &r->swiglu,         &r->recompute,    &r->dropout };
    r->dir = argv[1];
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        uint64_t n;
        if (parse_u64(argv[2 + i], &n, e))
            return e->code;
        *numbers[i] = n;
    }
    r->config.norm = r->rms ? MODEL_NORM_RMS : MODEL_NORM_LAYER;
    r->config.positions = r->rotary ? MODEL_POSITIONS_ROTARY : MODEL_POSITIONS_LEARNED;
    r->config.mlp = r->swiglu ? MODEL_MLP_SWIGLU : MODEL_MLP_GELU;
    r->config.recompute = r->recompute;
    r->config.dropout = (double)r->dropout / 100;
    r->config.slices = 1;
    r->config.records_max = MAX(r->sequences, (size_t)1);
    if (device_open("cpu", &r->d, e))
        return e->code;
    device_use_threads(r->d, r->threads);
    if (model_open("gpt", &r->config, r->d, &r->m, e) || take_memory(r, e))
        return e->code;
    return train(r, e);
}

int main(int argc, char **argv)
{
    struct run r = { .dir = NULL };
    struct err e = ERR_INIT;
    if (argc != ARGS) {
        fprintf(stderr, "usage: gpt_steps DIR LAYERS HEADS WIDTH CONTEXT VOCAB SEQUENCES LENGTH STEPS "
                        "THREADS DOCUMENT RMS ROTARY SWIGLU RECOMPUTE DROPOUT\n");
        return 2;
    }
    if (run(argv, &r, &e))
        fprintf(stderr, "gpt_steps: %s\n", e.text);
    float *const vectors[] = { r.params, r.grad, r.moment1, r.moment2 };
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++)
        if (r.d)
            device_free(r.d, vectors[i]);
    free(r.tokens);
    free(r.labels);
    free(r.starts);
    model_close(r.m);
    device_close(r.d);
    return e.code ? 1 : 0;
}
