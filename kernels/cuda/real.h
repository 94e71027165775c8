/*
 * real.h - reals in a kernel: floats or bf16, 16 bytes at a time where they lie so.
 *
 * Kernels over reals are templates of the type T; arithmetic is in floats, and a result is rounded once, where it is
 * stored. A host function picks T by the device's precision: WITH_REAL.
 */
#ifndef KERNELS_CUDA_REAL_H
#define KERNELS_CUDA_REAL_H

#include "kernels/cuda/cuda.h"

#include <cuda_bf16.h>

typedef __nv_bfloat16 bf16;

/* The statement, with T as the type of this device's reals. */
#define WITH_REAL(d, ...)                                                                                              \
    do {                                                                                                               \
        if (cuda_precision(d) == DEVICE_BF16) {                                                                        \
            typedef bf16 T;                                                                                            \
            __VA_ARGS__;                                                                                               \
        } else {                                                                                                       \
            typedef float T;                                                                                           \
            __VA_ARGS__;                                                                                               \
        }                                                                                                              \
    } while (0)

enum { CHUNK_BYTES = 16 };
/* Reals of one access. */
#define CHUNK(T) ((int)(CHUNK_BYTES / sizeof(T)))

static __device__ inline float float_of(float x)
{
    return x;
}

static __device__ inline float float_of(bf16 x)
{
    return __bfloat162float(x);
}

static __device__ inline void set_real(float *to, float x)
{
    *to = x;
}

static __device__ inline void set_real(bf16 *to, float x)
{
    *to = __float2bfloat16_rn(x);
}

static __device__ inline bool in_chunks(const void *p)
{
    return (uintptr_t)p % CHUNK_BYTES == 0;
}

/* By value, so that the 16 bytes have been one access. */
template <typename T> static __device__ inline void floats_of(float v[CHUNK(T)], const uint4 bits)
{
    T each[CHUNK(T)];
    memcpy((void *)each, &bits, sizeof(bits));
#pragma unroll
    for (int i = 0; i < CHUNK(T); i++)
        v[i] = float_of(each[i]);
}

/* The first `count` of a chunk from x on; 0 for what is beyond. `whole`: in_chunks(x), and all of it is there. */
template <typename T>
static __device__ inline void load_chunk(float v[CHUNK(T)], const T *x, size_t count, bool whole)
{
    if (whole) {
        const uint4 bits = *(const uint4 *)x;
        floats_of<T>(v, bits);
        return;
    }
#pragma unroll
    for (int i = 0; i < CHUNK(T); i++)
        v[i] = (size_t)i < count ? float_of(x[i]) : 0;
}

template <typename T>
static __device__ inline void store_chunk(T *to, const float v[CHUNK(T)], size_t count, bool whole)
{
    if (whole) {
        T each[CHUNK(T)];
        uint4 bits;
#pragma unroll
        for (int i = 0; i < CHUNK(T); i++)
            set_real(&each[i], v[i]);
        memcpy(&bits, each, sizeof(bits));
        *(uint4 *)to = bits;
        return;
    }
#pragma unroll
    for (int i = 0; i < CHUNK(T); i++)
        if ((size_t)i < count)
            set_real(&to[i], v[i]);
}

/* COUNT floats, a multiple of a chunk of them: what belongs to a chunk of reals. */
template <int COUNT>
static __device__ inline void load_floats(float v[COUNT], const float *from, size_t left, bool whole)
{
#pragma unroll
    for (int i = 0; i < COUNT; i += CHUNK(float))
        load_chunk(v + i, from + i, left > (size_t)i ? left - i : 0, whole);
}

template <int COUNT>
static __device__ inline void store_floats(float *to, const float v[COUNT], size_t left, bool whole)
{
#pragma unroll
    for (int i = 0; i < COUNT; i += CHUNK(float))
        store_chunk(to + i, v + i, left > (size_t)i ? left - i : 0, whole);
}

/* What a kernel does element by element: each thread of a block of ELEMENT_THREADS takes the chunk of its number.
 * f(i, in, out) computes element i from one float of each input. */
enum { ELEMENT_THREADS = 256 };
#define ELEMENT_BLOCKS(T, n) BLOCKS(n, (size_t)ELEMENT_THREADS * CHUNK(T))
template <typename T, int INPUTS, int OUTPUTS, typename F>
static __device__ inline void by_element(T *const (&outs)[OUTPUTS], const T *const (&ins)[INPUTS], size_t n, F f)
{
    const size_t first = ((size_t)blockIdx.x * ELEMENT_THREADS + threadIdx.x) * CHUNK(T);
    float in[INPUTS][CHUNK(T)], out[OUTPUTS][CHUNK(T)];
    bool whole = first + CHUNK(T) <= n;

    if (first >= n)
        return;
#pragma unroll
    for (int j = 0; j < INPUTS; j++)
        whole = whole && in_chunks(ins[j]);
#pragma unroll
    for (int j = 0; j < OUTPUTS; j++)
        whole = whole && in_chunks(outs[j]);
#pragma unroll
    for (int j = 0; j < INPUTS; j++)
        load_chunk(in[j], ins[j] + first, n - first, whole);
#pragma unroll
    for (int i = 0; i < CHUNK(T); i++) {
        float x[INPUTS], y[OUTPUTS];
#pragma unroll
        for (int j = 0; j < INPUTS; j++)
            x[j] = in[j][i];
        f(first + i, x, y);
#pragma unroll
        for (int j = 0; j < OUTPUTS; j++)
            out[j][i] = y[j];
    }
#pragma unroll
    for (int j = 0; j < OUTPUTS; j++)
        store_chunk(outs[j] + first, out[j], n - first, whole);
}

#endif
