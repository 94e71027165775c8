/*
 * tensor_map.h - what TMA needs to know of a tensor (CUDA driver API, "Tensor Map Object Management").
 */
#ifndef KERNELS_CUDA_TENSOR_MAP_H
#define KERNELS_CUDA_TENSOR_MAP_H

#include "kernels/cuda/cuda.h"

#include <cuda.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The map of bf16 (B,T,heads,size) at `memory`, on 16 bytes, size a multiple of 8: boxes of 64 tokens and 64 columns of
 * one head, swizzled by 128 bytes, zeros beyond the tensor. False: this card has no TMA, and kernels for it must not be
 * launched. */
bool cuda_tensor_map(struct device *d, CUtensorMap *out, const void *memory, size_t B, size_t T, size_t heads,
                     size_t size);
/* The driver's function for that, or NULL: a driver before 12.0. */
void *cuda_tensor_encoder(void);

#ifdef __cplusplus
}
#endif
#endif
