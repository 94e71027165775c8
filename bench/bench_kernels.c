/*
 * bench_kernels.c - each kernel of a GPT's step by itself, beside its floor: the time that its bytes or its
 * operations take at the device's peak.
 *
 *     bench_kernels HEADS WIDTH CONTEXT VOCAB SEQUENCES THREADS [DEVICE PRECISION GB_S TFLOP_S]
 *
 * One line a kernel: name, milliseconds (the median of five rounds of as many calls as take a while), the
 * floor in milliseconds, and what of the peak that is in percent; 0 and 0 where no peak is given. Floors are
 * those of docs/GPU.md: each byte that must be touched once, each operation that must be done.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "kernels/kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBERS = 6, ROUNDS = 5, ROUND_US = 50000, CALLS_MAX = 200 };

struct bench {
    size_t heads, C, T, V, sequences, threads;
    size_t N, W;
    struct attention_shape shape;
    struct device *d;
    const struct kernels *k;
    void *x, *y, *z, *wide, *weights, *work; /* reals: (N, 4 C) each, weights (V, C) and (C, 4 C) */
    float *params, *grad, *moments, *more;   /* (V, C), and (C, 4 C) */
    float *lse, *mean, *rstd;
    double *loss;
    void *tokens, *positions, *labels;
};

/* ---- a step's kernels ---- */

static void to_real(struct bench *b)
{
    b->k->to_real(b->d, b->weights, b->params, b->V * b->C);
}
static void embed(struct bench *b)
{
    b->k->embed(b->d, b->x, b->weights, b->weights, b->tokens, b->positions, b->N, b->C);
}
static void embed_backward(struct bench *b)
{
    b->k->embed_backward(b->d, b->grad, b->more, b->x, b->tokens, b->positions, b->N, b->C);
}
static void residual_layernorm(struct bench *b)
{
    const struct residual r = { b->y, b->x, 0, 0 };
    b->k->residual_layernorm(b->d, b->y, b->z, b->mean, b->rstd, &r, b->weights, b->weights, b->N, b->C);
}
static void layernorm_backward(struct bench *b)
{
    b->k->layernorm_backward(b->d, b->z, b->grad, b->more, b->x, b->y, b->weights, b->mean, b->rstd, b->N,
                             b->C);
}
static void dense_qkv(struct bench *b)
{
    b->k->dense(b->d, b->wide, b->x, b->weights, b->weights, b->N, b->C, 3 * b->C);
}
static void dense_qkv_input(struct bench *b)
{
    b->k->dense_backward_input(b->d, b->x, b->wide, b->weights, b->N, b->C, 3 * b->C);
}
static void dense_qkv_weight(struct bench *b)
{
    b->k->dense_backward_weight(b->d, b->grad, b->more, b->wide, b->x, b->N, b->C, 3 * b->C);
}
static void dense_proj(struct bench *b)
{
    b->k->dense(b->d, b->y, b->x, b->weights, b->weights, b->N, b->C, b->C);
}
static void dense_fc_gelu(struct bench *b)
{
    b->k->dense_gelu(b->d, b->wide, b->z, b->x, b->weights, b->weights, b->N, b->C, b->W);
}
static void dense_out(struct bench *b)
{
    b->k->dense(b->d, b->y, b->wide, b->weights, b->weights, b->N, b->W, b->C);
}
static void dense_out_gelu(struct bench *b)
{
    b->k->dense_backward_gelu(b->d, b->wide, b->y, b->weights, b->z, b->N, b->W, b->C);
}
static void dense_fc_weight(struct bench *b)
{
    b->k->dense_backward_weight(b->d, b->grad, b->more, b->wide, b->x, b->N, b->C, b->W);
}
static void attention(struct bench *b)
{
    b->k->attention(b->d, b->y, b->lse, b->wide, NULL, &b->shape);
}
static void attention_backward(struct bench *b)
{
    b->k->attention_backward(b->d, b->z, b->x, b->wide, b->y, b->lse, NULL, &b->shape);
}
static void classify(struct bench *b)
{
    b->k->classify(b->d, b->loss, b->y, b->grad, b->x, b->weights, b->labels, b->work, b->N, b->C, b->V);
}
static void adamw(struct bench *b)
{
    struct adamw a = { 1e-6f, 0.9f, 0.95f, 1e-8f, 0.1f, 1e-6f, 1, 1 };
    b->k->adamw(b->d, b->params, b->moments, b->more, b->grad, b->V * b->C, &a);
}
static void sum_squares(struct bench *b)
{
    b->k->sum_squares(b->d, b->loss, b->grad, b->V * b->C);
}

/* Bytes and operations of a call. */
struct kernel {
    const char *name;
    void (*call)(struct bench *b);
    double bytes, operations;
};

static double product(size_t M, size_t N, size_t K)
{
    return 2.0 * (double)M * (double)N * (double)K;
}

static size_t list(const struct bench *b, struct kernel to[])
{
    const double r = (double)device_real_bytes(b->d), nc = (double)b->N * (double)b->C,
                 n = (double)b->V * (double)b->C, vn = (double)b->V * (double)b->N;
    const double scores = (double)b->N * (double)b->T * (double)b->C; /* below the diagonal, twice */
    const double qkv = product(b->N, 3 * b->C, b->C), fc = product(b->N, b->W, b->C);
    const struct kernel all[] = {
        { "to_real", to_real, (4 + r) * n, 0 },
        { "embed", embed, 3 * r * nc, 0 },
        { "residual_layernorm", residual_layernorm, 4 * r * nc, 0 },
        { "dense_qkv", dense_qkv, 4 * r * nc, qkv },
        { "attention", attention, 4 * r * nc, 2 * scores },
        { "dense_proj", dense_proj, 2 * r * nc, qkv / 3 },
        { "dense_fc_gelu", dense_fc_gelu, 9 * r * nc, fc },
        { "dense_out", dense_out, 5 * r * nc, fc },
        { "classify", classify, 6 * r * vn, 3 * product(b->N, b->V, b->C) },
        { "dense_out_gelu_backward", dense_out_gelu, 9 * r * nc, fc },
        { "dense_fc_weight", dense_fc_weight, 5 * r * nc, fc },
        { "layernorm_backward", layernorm_backward, 4 * r * nc, 0 },
        { "attention_backward", attention_backward, 8 * r * nc, 7 * scores },
        { "dense_qkv_input", dense_qkv_input, 4 * r * nc, qkv },
        { "dense_qkv_weight", dense_qkv_weight, 4 * r * nc, qkv },
        { "embed_backward", embed_backward, r * nc, 0 },
        { "sum_squares", sum_squares, 4 * n, 0 },
        { "adamw", adamw, 28 * n, 0 },
    };
    memcpy(to, all, sizeof(all));
    return ARRAY_LEN(all);
}

/* ---- memory ---- */

static enum err_code take_reals(struct bench *b, size_t n, float around, void **out, struct err *e)
{
    enum { PIECE = 1 << 16 };
    CLEANUP(freep) float *piece = mem_array(PIECE, sizeof(float));
    void *floats;

    for (size_t i = 0; i < PIECE; i++)
        piece[i] = around * ((float)(i * 2654435761u % 1000) / 500 - 1);
    if (device_alloc(b->d, n, device_real_bytes(b->d), out, e) ||
        device_alloc(b->d, PIECE, sizeof(float), &floats, e))
        return e->code;
    device_put(b->d, floats, piece, PIECE * sizeof(float));
    for (size_t first = 0; first < n; first += PIECE)
        b->k->to_real(b->d, (char *)*out + first * device_real_bytes(b->d), floats,
                      MIN(n - first, (size_t)PIECE));
    device_free(b->d, floats);
    return OK;
}

static enum err_code take_numbers(struct bench *b, size_t below, size_t step, void **out, struct err *e)
{
    CLEANUP(freep) int32_t *host = mem_array(b->N, sizeof(int32_t));

    for (size_t i = 0; i < b->N; i++)
        host[i] = (int32_t)(i * step % below);
    if (device_alloc(b->d, b->N, sizeof(int32_t), out, e))
        return e->code;
    device_put(b->d, *out, host, b->N * sizeof(int32_t));
    return OK;
}

static enum err_code prepare(struct bench *b, const char *device, enum device_precision precision,
                             struct err *e)
{
    float **const floats[] = { &b->params, &b->grad, &b->moments, &b->more };

    if (device_open(device, &b->d, e) || device_use_precision(b->d, precision, e))
        return e->code;
    device_use_threads(b->d, b->threads);
    b->k = kernels_for(b->d);
    b->N = b->sequences * b->T;
    b->W = 4 * b->C;
    b->shape = (struct attention_shape){ b->sequences, b->T, b->heads, b->C / b->heads };
    const size_t weights = MAX(MAX(b->V, b->T), b->W) * b->C, wide = b->N * b->W;
    for (size_t i = 0; i < ARRAY_LEN(floats); i++)
        if (device_alloc(b->d, weights, sizeof(float), (void **)floats[i], e))
            return e->code;
    if (take_reals(b, wide, 1, &b->x, e) || take_reals(b, wide, 1, &b->y, e) ||
        take_reals(b, wide, 1, &b->z, e) || take_reals(b, wide, 1, &b->wide, e) ||
        take_reals(b, weights, 0.02f, &b->weights, e) ||
        take_reals(b, b->k->classify_work(b->N, b->V), 0, &b->work, e) ||
        take_numbers(b, b->V, 7919, &b->tokens, e) || take_numbers(b, b->T, 1, &b->positions, e) ||
        take_numbers(b, b->V, 104729, &b->labels, e))
        return e->code;
    if (device_alloc(b->d, b->N * b->heads, sizeof(float), (void **)&b->lse, e) ||
        device_alloc(b->d, b->N, sizeof(float), (void **)&b->mean, e) ||
        device_alloc(b->d, b->N, sizeof(float), (void **)&b->rstd, e) ||
        device_alloc(b->d, b->N, sizeof(double), (void **)&b->loss, e))
        return e->code;
    return device_sync(b->d, e);
}

/* ---- measuring ---- */

static int by_size(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

static enum err_code round_ms(struct bench *b, const struct kernel *k, size_t calls, double *out,
                              struct err *e)
{
    int64_t from = clock_mono_us();
    for (size_t i = 0; i < calls; i++)
        k->call(b);
    if (device_sync(b->d, e))
        return err_wrap(e, "%s", k->name);
    *out = (double)(clock_mono_us() - from) / 1e3 / (double)calls;
    return OK;
}

static enum err_code measure(struct bench *b, const struct kernel *k, double gb_s, double tflop_s,
                             struct err *e)
{
    double ms[ROUNDS], once = 0, floor_ms = 0;

    if (round_ms(b, k, 1, &once, e) || round_ms(b, k, 1, &once, e)) /* the first warms up */
        return e->code;
    size_t calls = (size_t)MIN(MAX(ROUND_US / 1e3 / once, 1.0), (double)CALLS_MAX);
    for (size_t i = 0; i < ROUNDS; i++)
        if (round_ms(b, k, calls, &ms[i], e))
            return e->code;
    qsort(ms, ROUNDS, sizeof(ms[0]), by_size);
    if (gb_s > 0 && tflop_s > 0)
        floor_ms = MAX(k->bytes / gb_s / 1e6, k->operations / tflop_s / 1e9);
    printf("%-26s %10.4f %10.4f %5.1f\n", k->name, ms[ROUNDS / 2], floor_ms, 100 * floor_ms / ms[ROUNDS / 2]);
    fflush(stdout);
    return OK;
}

int main(int argc, char **argv)
{
    struct bench b = { 0 };
    struct kernel all[32];
    struct err e = ERR_INIT;
    size_t *const numbers[NUMBERS] = { &b.heads, &b.C, &b.T, &b.V, &b.sequences, &b.threads };
    enum device_precision precision = DEVICE_FP32;
    const bool peaks = argc == 1 + NUMBERS + 4;

    if (peaks)
        while (precision < DEVICE_PRECISIONS && strcmp(argv[8], device_precision_names[precision]) != 0)
            precision++;
    if ((argc != 1 + NUMBERS && !peaks) || precision == DEVICE_PRECISIONS) {
        fprintf(stderr, "usage: bench_kernels HEADS WIDTH CONTEXT VOCAB SEQUENCES THREADS"
                        " [cpu|cuda fp32|tf32|bf16 GB_S TFLOP_S]\n");
        return 2;
    }
    for (size_t i = 0; i < NUMBERS && e.code == OK; i++) {
        uint64_t n = 0;
        IGNORE(parse_u64(argv[1 + i], &n, &e));
        *numbers[i] = n;
    }
    if (e.code == OK && (b.heads == 0 || b.C % b.heads != 0))
        IGNORE(err_set(&e, ERR_USAGE, "%zu heads do not share a width of %zu", b.heads, b.C));
    if (e.code == OK)
        IGNORE(prepare(&b, peaks ? argv[7] : "cpu", precision, &e));
    for (size_t i = 0, count = e.code == OK ? list(&b, all) : 0; i < count && e.code == OK; i++)
        IGNORE(
            measure(&b, &all[i], peaks ? strtod(argv[9], NULL) : 0, peaks ? strtod(argv[10], NULL) : 0, &e));
    if (e.code)
        fprintf(stderr, "bench_kernels: %s\n", e.text);
    return e.code ? 1 : 0; /* the memory goes with the process */
}
