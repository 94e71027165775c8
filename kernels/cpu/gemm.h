/*
 * gemm.h - matrix products by oneDNN (dnnl_sgemm), the one file that knows it.
 *
 * c = alpha op(a) op(b) + beta c, row-major, op as it is or transposed; with beta 0, c need not hold numbers.
 * The bits depend on the shape, the strides and the kind of processor, not on what else runs: it is called with
 * one thread, on tiles whose cut depends on the shape alone.
 */
#ifndef KERNELS_CPU_GEMM_H
#define KERNELS_CPU_GEMM_H

#include "kernels/device.h"

struct gemm {
    bool a_transposed, b_transposed; /* a is (M,K), or (K,M) where transposed; b (K,N) or (N,K) */
    size_t M, N, K;
    float alpha;
    const float *a;
    size_t a_row; /* floats from one row of what is stored to the next */
    const float *b;
    size_t b_row;
    float beta;
    float *c;
    size_t c_row;
    const float *bias; /* (N), added to each row; then beta must be 0. NULL: none */
};
void cpu_gemm(struct device *d, const struct gemm *g); /* by the device's threads */
void cpu_gemm_here(const struct gemm *g);              /* by the calling thread alone: from inside a task */

#endif
