/* Layers of large models: matrix products, and what is around them in one pass. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/gemm.h"

enum { COLUMNS = 64 };

struct columns {
    float *dbias;
    const float *dout;
    size_t B, O;
};

VECTOR_CLONES static void sum_columns(float *dbias, const float *dout, size_t B, size_t O, size_t count)
{
    float sums[COLUMNS] = { 0 };
    for (size_t b = 0; b < B; b++)
        for (size_t i = 0; i < count; i++)
            sums[i] += dout[b * O + i];
    for (size_t i = 0; i < count; i++)
        dbias[i] = sums[i];
}

static void bias_task(void *context, size_t task, void *scratch)
{
    const struct columns *c = context;
    size_t first = task * COLUMNS;
    (void)scratch;
    sum_columns(c->dbias + first, c->dout + first, c->B, c->O, MIN((size_t)COLUMNS, c->O - first));
}

void cpu_dense(struct device *d, real *out, const real *x, const real *w, const real *bias, size_t B,
               size_t I, size_t O)
{
    const struct gemm g = { .M = B,
                            .N = O,
                            .K = I,
                            .alpha = 1,
                            .a = x,
                            .a_row = I,
                            .b = w,
                            .b_row = O,
                            .c = out,
                            .c_row = O,
                            .bias = bias };
    cpu_gemm(d, &g);
}

void cpu_dense_backward_input(struct device *d, real *dx, const real *dout, const real *w, size_t B, size_t I,
                              size_t O)
{
    const struct gemm g = { .b_transposed = true,
                            .M = B,
                            .N = I,
                            .K = O,
                            .alpha = 1,
                            .a = dout,
                            .a_row = O,
                            .b = w,
                            .b_row = O,
                            .c = dx,
                            .c_row = I };
    cpu_gemm(d, &g);
}

void cpu_dense_backward_weight(struct device *d, float *dw, float *dbias, const real *dout, const real *x,
                               size_t B, size_t I, size_t O)
{
    const struct gemm g = { .a_transposed = true,
                            .M = I,
                            .N = O,
                            .K = B,
                            .alpha = 1,
                            .a = x,
                            .a_row = I,
                            .b = dout,
                            .b_row = O,
                            .c = dw,
                            .c_row = O };
    struct columns c = { dbias, dout, B, O };
    cpu_gemm(d, &g);
    if (dbias)
        cpu_run(d, (O + COLUMNS - 1) / COLUMNS, bias_task, &c);
}

void cpu_dense_gelu(struct device *d, real *out, real *before, const real *x, const real *w, const real *bias,
                    size_t B, size_t I, size_t O)
{
    cpu_dense(d, before, x, w, bias, B, I, O);
    cpu_gelu(d, out, before, B * O);
}

void cpu_dense_backward_gelu(struct device *d, real *dx, const real *dout, const real *w, const real *before,
                             size_t B, size_t I, size_t O)
{
    cpu_dense_backward_input(d, dx, dout, w, B, I, O);
    cpu_gelu_backward(d, dx, dx, before, B * I);
}
