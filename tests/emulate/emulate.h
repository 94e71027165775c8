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
#include <tuple>
#include <type_traits>
#include <vector_types.h>

#undef NULL
#define NULL nullptr /* an argument of a launch keeps its kind */
#undef __global__
#undef __device__
#undef __shared__
#undef __launch_bounds__
#undef __grid_constant__
#define __global__
#define __device__
#define __shared__ static
#define __launch_bounds__(...)
#define __grid_constant__

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
static inline void emulate_task(dim3 grid, dim3 threads, size_t shared_bytes, cudaStream_t stream, F thread)
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
/* Arguments are what they are at the launch, whenever the kernel runs. */
template <typename... PARAMETERS, typename... ARGUMENTS>
static inline void emulate_launch(dim3 grid, dim3 threads, size_t shared_bytes, cudaStream_t stream,
                                  void (*kernel)(PARAMETERS...), ARGUMENTS... arguments)
{
    std::tuple<typename std::decay<PARAMETERS>::type...> given(arguments...);
    emulate_task(grid, threads, shared_bytes, stream, [=] { std::apply(kernel, given); });
}

/* For emulated instructions: this thread's number, letting others run, and that something did go on. */
unsigned emulated_thread_index(void);
void emulated_yield(void);
void emulated_progress(void);
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
/* Shared memory begins at 16 here, which is no address that a panel may have. */
enum { EMULATED_SHARED_AT = 16 };
#define __cvta_generic_to_shared(p) ((const char *)(p) - (const char *)emulated_shared + EMULATED_SHARED_AT)
/* cp.async of 16 bytes, `bytes` of which are read: done no sooner than the group that it is in is waited for. */
void emulated_copy(void *to, const void *from, uint32_t bytes);
void emulated_copies_group(void);
void emulated_copies_wait(unsigned left);
/* mbarrier: wants `arrivals`, and the bytes that were announced. Asking whether it has passed lets others run. */
void emulated_barrier_init(uint64_t *barrier, uint32_t arrivals);
void emulated_barriers_told(void);
void emulated_barrier_arrive(uint64_t *barrier, uint32_t announced_bytes);
bool emulated_barrier_passed(uint64_t *barrier, uint32_t parity);
/* cp.async.bulk.tensor of a box of 64 x 64, swizzled: what was there is not-a-number at once, and what comes is there
 * no sooner than somebody waits at the barrier. */
void emulated_bulk_copy(void *to, const void *map, int column, int head, int token, int b, uint64_t *barrier);
/* wgmma.mma_async.m64n64k16: done no sooner than its group is waited for; till then the sum is not-a-number. */
void emulated_wgmma_block(void); // a block begins
void emulated_wgmma_begin(void);
void emulated_wgmma(float sum[8][4], const uint32_t left[4], uint64_t right, bool add, bool turned);
void emulated_wgmma_group(void);
void emulated_wgmma_wait(unsigned left);

static inline int min(int x, int y)
{
    return x < y ? x : y;
}
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
#define __expf(x) expf(x) /* the C library has another of that name */
#define cudaFuncSetAttribute(...) ((void)0)
static inline cudaError_t emulate_memset(void *to, int byte, size_t bytes, cudaStream_t stream)
{
    emulate_task(dim3(1), dim3(1), 0, stream, [=] { memset(to, byte, bytes); });
    return cudaSuccess;
}
#define cudaMemsetAsync emulate_memset

#endif
