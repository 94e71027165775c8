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

/* Where the library does not do it in one, it is two. */
void cuda_dense_gelu(struct device *d, real *out, real *before, const real *x, const real *w,
                     const real *bias, size_t B, size_t I, size_t O)
{
    const struct cuda_gemm g = { .M = B,
                                 .N = O,
                                 .K = I,
                                 .a = x,
                                 .b = w,
                                 .bias = bias,
                                 .c = out,
                                 .gelu = CUDA_GEMM_GELU,
                                 .before = before };
    if (cuda_gemm_gelu(d, &g))
        return;
    cuda_dense(d, before, x, w, bias, B, I, O);
    cuda_gelu(d, out, before, B * O);
}

void cuda_dense_backward_gelu(struct device *d, real *dx, const real *dout, const real *w, const real *before,
                              size_t B, size_t I, size_t O)
{
    const struct cuda_gemm g = { .b_transposed = true,
                                 .M = B,
                                 .N = I,
                                 .K = O,
                                 .a = dout,
                                 .b = w,
                                 .c = dx,
                                 .gelu = CUDA_GEMM_GELU_SLOPE,
                                 .before = (real *)before }; // read
    if (cuda_gemm_gelu(d, &g))
        return;
    cuda_dense_backward_input(d, dx, dout, w, B, I, O);
    cuda_gelu_backward(d, dx, dx, before, B * I);
}
