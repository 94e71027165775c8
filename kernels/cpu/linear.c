#include "kernels/cpu/cpu.h"

void cpu_linear(struct device *d, float *out, const float *x, const float *w, const float *bias, size_t B,
                size_t I, size_t O)
{
    (void)d;
    cpu_matmul(out, (struct matrix){ x, I, 1 }, (struct matrix){ w, 1, I }, bias, B, O, I);
}

void cpu_linear_backward_input(struct device *d, float *dx, const float *dout, const float *w, size_t B,
                               size_t I, size_t O)
{
    (void)d;
    cpu_matmul(dx, (struct matrix){ dout, O, 1 }, (struct matrix){ w, I, 1 }, NULL, B, I, O);
}

void cpu_linear_backward_weight(struct device *d, float *dw, float *dbias, const float *dout, const float *x,
                                size_t B, size_t I, size_t O)
{
    (void)d;
    cpu_matmul(dw, (struct matrix){ dout, 1, O }, (struct matrix){ x, I, 1 }, NULL, O, I, B);
    for (size_t o = 0; o < O; o++)
        dbias[o] = 0;
    for (size_t b = 0; b < B; b++)
        for (size_t o = 0; o < O; o++)
            dbias[o] = dbias[o] + dout[b * O + o];
}
