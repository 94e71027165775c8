/*
 * emulate.h - CUDA's threads on the host, one after the other: so that a kernel's indices, tiles, barriers and
 * exchanges are tested where there is no card.
 *
 * emulate.py turns a .cu file into C++ that includes this. A thread is a fibre; it runs until it waits for its
 * block or its warp. Shared memory starts as not-a-number in each block. What this cannot show: races that need
 * threads side by side, a card's own rounding of expf(), limits of memory and registers, speed, cuBLASLt.
 */
#ifndef TESTS_EMULATE_EMULATE_H
#define TESTS_EMULATE_EMULATE_H

#include "kernels/cuda/cuda.h"
#include "tests/emulate/streams.h"

#include <math.h>
#include <stdint.h>
#include <string.h>
#include <vector_types.h>

#undef __global__
#undef __device__
#undef __shared__
#undef __launch_bounds__
#define __global__
#define __device__
#define __shared__ static
#define __launch_bounds__(...)

struct emulated_thread {
    uint3 thread, block;
    dim3 grid, threads;
};
extern struct emulated_thread *emulated_now;
#define threadIdx (emulated_now->thread)
#define blockIdx (emulated_now->block)
#define gridDim (emulated_now->grid)
#define blockDim (emulated_now->threads)
extern float4 emulated_shared[];

/* Runs `thread` as every thread of every block. */
typedef void emulated_body(void *context);
void emulate(dim3 grid, dim3 threads, size_t shared_bytes, emulated_body *body, void *context);
template <typename F> struct emulated_kernel {
    dim3 grid, threads;
    size_t shared_bytes;
    F thread;
};
template <typename F>
static inline void emulate_launch(dim3 grid, dim3 threads, size_t shared_bytes, cudaStream_t stream, F thread)
{
    typedef struct emulated_kernel<F> kernel;
    kernel *k = new kernel{ grid, threads, shared_bytes, thread };
    bool (*look)(void *) = [](void *context) {
        kernel *of = (kernel *)context;
        emulate(of->grid, of->threads, of->shared_bytes, [](void *f) { (*(F *)f)(); }, &of->thread);
        return true;
    };
    emulated_give(stream, emulated_task{ look, [](void *context) { delete (kernel *)context; }, k });
}

void emulated_block_wait(void);
void emulated_warp_wait(void);
/* Each lane gives `bytes`, and gets those of the lane `from`. */
void emulated_exchange(const void *own, void *out, size_t bytes, unsigned from);
unsigned emulated_lane(void);
unsigned emulated_ballot(bool is);
/* mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 */
void emulated_mma(float c[4], const uint32_t a[4], uint32_t b0, uint32_t b1);
/* ldmatrix.sync.aligned.m8n8.x4.shared.b16, or with .trans */
void emulated_ldmatrix(uint32_t r[4], const void *row, bool turned);
#define __cvta_generic_to_shared(p) ((void)(p), 0)
/* cp.async of 16 bytes, `bytes` of which are read: done no sooner than the group that it is in is waited for. */
void emulated_copy(void *to, const void *from, uint32_t bytes);
void emulated_copies_group(void);
void emulated_copies_wait(unsigned left);

static inline void __syncthreads(void)
{
    emulated_block_wait();
}
static inline void __syncwarp(void)
{
    emulated_warp_wait();
}
static inline unsigned __ballot_sync(unsigned lanes, bool is)
{
    (void)lanes;
    return emulated_ballot(is);
}
static inline int __popc(unsigned x)
{
    return __builtin_popcount(x);
}
template <typename T> static inline T __shfl_sync(unsigned lanes, T x, int from)
{
    T out;
    (void)lanes;
    emulated_exchange(&x, &out, sizeof(x), (unsigned)from);
    return out;
}
template <typename T> static inline T __shfl_xor_sync(unsigned lanes, T x, int other, int width = 32)
{
    T out;
    (void)lanes;
    (void)width; // a distance below the width stays within it
    emulated_exchange(&x, &out, sizeof(x), emulated_lane() ^ (unsigned)other);
    return out;
}
#define cudaFuncSetAttribute(...) ((void)0)
#define cudaMemsetAsync(to, byte, bytes, stream) (memset(to, byte, bytes), cudaSuccess)

#endif
