/* The operations that are one or two matrix products. Floors: gemm.c. */
#include "kernels/cuda/cuda.h"

void cuda_dense(struct device *d, real *out, const real *x, const real *w, const real *bias, size_t B,
                size_t I, size_t O)
{
    const struct cuda_gemm g = { .M = B, .N = O, .K = I, .a = x, .b = w, .bias = bias, .c = out };
    cuda_gemm(d, &g);
}

void cuda_dense_backward_input(struct device *d, real *dx, const real *dout, const real *w, size_t B,
                               size_t I, size_t O)
{
    const struct cuda_gemm g = { .b_transposed = true, .M = B, .N = I, .K = O, .a = dout, .b = w, .c = dx };
    cuda_gemm(d, &g);
}

void cuda_dense_backward_weight(struct device *d, float *dw, float *dbias, const real *dout, const real *x,
                                size_t B, size_t I, size_t O)
{
    const struct cuda_gemm g = {
        .a_transposed = true, .c_is_float = true, .M = I, .N = O, .K = B, .a = x, .b = dout, .c = dw
    };
    cuda_gemm(d, &g);
    if (dbias)
        cuda_sum_columns(d, dbias, dout, B, O);
}

void cuda_logits(struct device *d, float *out, const real *x, const real *w, size_t N, size_t C, size_t V)
{
    const struct cuda_gemm g = {
        .b_transposed = true, .c_is_float = true, .M = N, .N = V, .K = C, .a = x, .b = w, .c = out
    };
    cuda_gemm(d, &g);
}
