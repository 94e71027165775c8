/*
 * bench_gpt.c - steps of a GPT by one device of this machine: forward, backward and AdamW, as one rank does
 * them.
 *
 *     bench_gpt LAYERS HEADS WIDTH CONTEXT VOCAB SEQUENCES STEPS THREADS [DEVICE [PRECISION]]
 *
 * DEVICE: cpu where none is named, or cuda; PRECISION: fp32, tf32, bf16.
 *
 * One line a step: milliseconds of all of it, and of the update alone, and the loss. The first steps warm up;
 * whoever compares drops them. The last line: the most memory that was resident, in MiB.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/rng.h"
#include "trainer/model.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

enum { ARGS = 9 };

struct bench {
    struct model_config config;
    size_t sequences, steps, threads;
    const char *device;
    enum device_precision precision;
    struct device *d;
    struct model *m;
    float *params, *grad, *moment1, *moment2;
    int32_t *tokens, *labels;
};

static enum err_code prepare(struct bench *b, struct err *e)
{
    size_t n = b->sequences * b->config.context;
    float **const vectors[] = { &b->params, &b->grad, &b->moment1, &b->moment2 };
    b->config.slices = 1;
    b->config.records_max = b->sequences;
    if (device_open(b->device, &b->d, e) || device_use_precision(b->d, b->precision, e))
        return e->code;
    device_use_threads(b->d, b->threads);
    if (model_open("gpt", &b->config, b->d, &b->m, e))
        return e->code;
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++)
        if (device_alloc(b->d, b->m->params.padded, sizeof(float), (void **)vectors[i], e))
            return e->code;
    b->tokens = mem_array(n, sizeof(int32_t));
    b->labels = mem_array(n, sizeof(int32_t));
    for (size_t i = 0; i < n; i++) {
        b->tokens[i] = (int32_t)(rng_f32(1, i) * (float)b->config.classes) % (int32_t)b->config.classes;
        b->labels[i] = (int32_t)(rng_f32(1, i + 1) * (float)b->config.classes) % (int32_t)b->config.classes;
    }
    model_init(b->m, 1, b->params);
    return OK;
}

static enum err_code one_step(struct bench *b, size_t step, struct err *e)
{
    const struct batch batch = {
        .n = b->sequences, .length = b->config.context, .tokens = b->tokens, .labels = b->labels
    };
    struct adamw a = { .lr = 3e-4f,
                       .beta1 = 0.9f,
                       .beta2 = 0.95f,
                       .epsilon = 1e-8f,
                       .weight_decay = 0.1f,
                       .grad_scale = 1.0f / (float)(b->sequences * b->config.context) };
    double loss;
    int64_t from = clock_mono_us();
    if (model_backward(b->m, b->params, &batch, step, b->grad, &loss, e))
        return e->code;
    int64_t between = clock_mono_us();
    adamw_prepare(&a, (int64_t)step);
    kernels_for(b->d)->adamw(b->d, b->params, b->moment1, b->moment2, b->grad, b->m->params.padded, &a);
    if (device_sync(b->d, e))
        return e->code;
    int64_t now = clock_mono_us();
    printf("%.2f %.2f %.6f\n", (double)(now - from) / 1e3, (double)(now - between) / 1e3,
           loss / (double)(b->sequences * b->config.context));
    fflush(stdout);
    return OK;
}

int main(int argc, char **argv)
{
    struct bench b = { .device = argc > ARGS ? argv[ARGS] : "cpu" };
    const char *precision = argc > ARGS + 1 ? argv[ARGS + 1] : "fp32";
    struct err e = ERR_INIT;
    size_t *const numbers[] = { &b.config.layers,  &b.config.heads, &b.config.width, &b.config.context,
                                &b.config.classes, &b.sequences,    &b.steps,        &b.threads };
    while (b.precision < DEVICE_PRECISIONS && strcmp(precision, device_precision_names[b.precision]) != 0)
        b.precision++;
    if (argc < ARGS || argc > ARGS + 2 || b.precision == DEVICE_PRECISIONS) {
        fprintf(stderr, "usage: bench_gpt LAYERS HEADS WIDTH CONTEXT VOCAB SEQUENCES STEPS THREADS"
                        " [cpu|cuda [fp32|tf32|bf16]]\n");
        return 2;
    }
    for (size_t i = 0; i < ARRAY_LEN(numbers) && e.code == OK; i++) {
        uint64_t n = 0;
        IGNORE(parse_u64(argv[1 + i], &n, &e));
        *numbers[i] = n;
    }
    if (e.code == OK)
        IGNORE(prepare(&b, &e));
    for (size_t step = 1; step <= b.steps && e.code == OK; step++)
        IGNORE(one_step(&b, step, &e));
    if (e.code)
        fprintf(stderr, "bench_gpt: %s\n", e.text);
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    printf("memory %ld\n", used.ru_maxrss / 1024);
    return e.code ? 1 : 0; /* the memory goes with the process */
}
