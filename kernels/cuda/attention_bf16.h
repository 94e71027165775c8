/*
 * attention_bf16.h - attention of bf16: what attention.cu and attention_backward.cu hand over to
 * where reals are that. Shapes have been checked there. delta (B,heads,T): sum of dout out by query.
 */
#ifndef KERNELS_CUDA_ATTENTION_BF16_H
#define KERNELS_CUDA_ATTENTION_BF16_H

#include "kernels/kernels.h"

void cuda_attention_bf16(struct device *d, real *out, float *lse, const real *qkv, const int32_t *starts,
                         const struct attention_shape *s);
void cuda_attention_bf16_backward(struct device *d, real *dqkv, const real *dout, const real *qkv, const float *lse,
                                  const float *delta, const int32_t *starts, const struct attention_shape *s);

/* The same by wgmma, where the card and the shape allow it; false, and nothing is done, where they do not. Backward,
 * heads of up to 64. */
bool cuda_attention_wgmma(struct device *d, real *out, float *lse, const real *qkv, const int32_t *starts,
                          const struct attention_shape *s);
bool cuda_attention_wgmma_backward(struct device *d, real *dqkv, const real *dout, const real *qkv, const float *lse,
                                   const float *delta, const int32_t *starts, const struct attention_shape *s);

#endif
