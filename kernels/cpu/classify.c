/*
 * The end of a language model: logits, softmax, loss, and all three gradients, some rows at a time. The
 * logits of the whole batch are never there.
 */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/fast_math.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/lanes.h"

#include <math.h>

enum { RUN = 512 };

struct rows {
    float *logits;
    const int32_t *labels;
    double *loss;
    size_t V;
    bool gradient;
};

VECTOR_CLONES static float largest(const float *x, size_t n)
{
    float most[LANES], result = x[0];
    for (size_t j = 0; j < LANES; j++)
        most[j] = x[0];
    BY_LANES(i, j, n, most[j] = x[i] > most[j] ? x[i] : most[j]);
    for (size_t j = 0; j < LANES; j++)
        result = most[j] > result ? most[j] : result;
    return result;
}

/* e^(x - shift) in place; their sum, in floats along a run and in doubles over runs. */
VECTOR_CLONES static double exponentiate(float *x, size_t n, float shift)
{
    double sum = 0;
    for (size_t first = 0; first < n; first += RUN) {
        float s[LANES] = { 0 };
        size_t end = MIN(first + RUN, n);
        for (size_t i = first; i < end; i++)
            x[i] = fast_exp(x[i] - shift);
        BY_LANES(i, j, end - first, s[j] += x[first + i]);
        sum += sum_of_lanes(s);
    }
    return sum;
}

static void one_row(void *context, size_t row, void *scratch)
{
    const struct rows *r = context;
    float *x = r->logits + row * r->V;
    int32_t label = r->labels[row];
    (void)scratch;
    if (label < 0) { /* nothing is to be predicted here */
        r->loss[row] = 0;
        for (size_t v = 0; r->gradient && v < r->V; v++)
            x[v] = 0;
        return;
    }
    double of_label = x[label];
    float most = largest(x, r->V);
    double sum = exponentiate(x, r->V, most);
    r->loss[row] = (double)most + log(sum) - of_label;
    if (!r->gradient)
        return;
    float factor = (float)(1 / sum);
    for (size_t v = 0; v < r->V; v++)
        x[v] = x[v] * factor;
    x[label] = x[label] - 1.0f;
}

size_t cpu_classify_work(size_t N, size_t V)
{
    return MIN(N, (size_t)CLASSIFY_ROWS) * V;
}

void cpu_logits(struct device *d, float *out, const real *x, const real *w, size_t N, size_t C, size_t V)
{
    const struct gemm g = { .b_transposed = true,
                            .M = N,
                            .N = V,
                            .K = C,
                            .alpha = 1,
                            .a = x,
                            .a_row = C,
                            .b = w,
                            .b_row = C,
                            .c = out,
                            .c_row = V };
    cpu_gemm(d, &g);
}

void cpu_classify(struct device *d, double *loss, real *dx, float *dw, const real *x, const real *w,
                  const int32_t *labels, real *work, size_t N, size_t C, size_t V)
{
    float *logits = work, *down_to = dx;
    const float *from = x;

    for (size_t n = 0; n < N; n += CLASSIFY_ROWS) {
        size_t rows = MIN((size_t)CLASSIFY_ROWS, N - n);
        struct rows r = { logits, labels + n, loss + n, V, dx != NULL };
        cpu_logits(d, logits, from + n * C, w, rows, C, V);
        cpu_run(d, rows, one_row, &r);
        if (!dx)
            continue;
        const struct gemm down = { .M = rows,
                                   .N = C,
                                   .K = V,
                                   .alpha = 1,
                                   .a = logits,
                                   .a_row = V,
                                   .b = w,
                                   .b_row = C,
                                   .c = down_to + n * C,
                                   .c_row = C };
        const struct gemm weight = { .a_transposed = true,
                                     .M = V,
                                     .N = C,
                                     .K = rows,
                                     .alpha = 1,
                                     .a = logits,
                                     .a_row = V,
                                     .b = from + n * C,
                                     .b_row = C,
                                     .add = n > 0,
                                     .c = dw,
                                     .c_row = C };
        cpu_gemm(d, &down);
        cpu_gemm(d, &weight);
    }
}
