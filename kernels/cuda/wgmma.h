/*
 * wgmma.h - instructions of sm_90a: products of a warpgroup (128 threads), copies of whole boxes of a tensor (TMA), and
 * the barriers in shared memory that say when those are there. Names, shapes and layouts are from the PTX ISA, "wgmma"
 * and "mbarrier".
 *
 * A panel is 64 rows of 64 bf16, 128 bytes each, on a multiple of 1024 bytes; of a row's eight chunks of 16 bytes the
 * cth lies at c ^ (row % 8): "128-byte swizzle", which is how TMA writes and wgmma reads without meeting a bank twice.
 *
 * A product is asked for, and done some time before a wait for its group returns. Until then nobody may look at its
 * sum. wgmma_settled() behind the wait keeps the compiler from reading the sum's registers before.
 */
#ifndef KERNELS_CUDA_WGMMA_H
#define KERNELS_CUDA_WGMMA_H

#include "kernels/cuda/real.h"

#include <cuda.h>

enum { GROUP = 128 /* threads of a warpgroup */, PANEL = 64, PANEL_BYTES = PANEL * PANEL * 2, PANEL_ALIGN = 1024 };
enum { SWIZZLE_ROWS_BYTES = 1024 /* from eight rows to the next eight */ };

static __device__ inline uint32_t shared_address(const void *p)
{
    return (uint32_t)__cvta_generic_to_shared(p);
}

/* ---- barriers: open when `arrivals` have come, and all bytes that were announced ---- */

static __device__ inline void barrier_init(uint64_t *barrier, uint32_t arrivals)
{
    uint32_t at = shared_address(barrier);
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(at), "r"(arrivals) : "memory");
}

/* By who initialized them, before the block meets: then all threads, and TMA, know them. */
static __device__ inline void barriers_told(void)
{
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

/* Arrives, and announces so many bytes of copies. */
static __device__ inline void barrier_expect(uint64_t *barrier, uint32_t bytes)
{
    uint32_t at = shared_address(barrier);
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(at), "r"(bytes) : "memory");
}

static __device__ inline void barrier_arrive(uint64_t *barrier)
{
    uint32_t at = shared_address(barrier);
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(at) : "memory");
}

/* Until it has opened for the (parity)th time: 0 the first, 1 the second, 0 the third. */
static __device__ inline void barrier_wait(uint64_t *barrier, uint32_t parity)
{
    uint32_t at = shared_address(barrier), done;
    do {
        asm volatile("{ .reg .pred passed; mbarrier.try_wait.parity.shared::cta.b64 passed, [%1], %2; "
                     "selp.u32 %0, 1, 0, passed; }"
                     : "=r"(done)
                     : "r"(at), "r"(parity)
                     : "memory");
    } while (!done);
}

/* ---- TMA ---- */

/* A panel of a tensor (B,T,heads,size) from its map: columns, head, tokens and sequence where it begins; zeros beyond
 * the tensor. The barrier counts its bytes. One thread asks. */
static __device__ inline void bulk_copy(bf16 *to, const CUtensorMap *map, int column, int head, int token, int b,
                                        uint64_t *barrier)
{
    uint32_t at[2] = { shared_address(to), shared_address(barrier) };
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], "
                 "[%1, {%2, %3, %4, %5}], [%6];" ::"r"(at[0]),
                 "l"(map), "r"(column), "r"(head), "r"(token), "r"(b), "r"(at[1])
                 : "memory");
}

/* ---- products ---- */

/* Before the first product, and where registers of one have changed since: sums or left operands. */
static __device__ inline void wgmma_begin(void)
{
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

/* What was asked for since the last time is a group. */
static __device__ inline void wgmma_group(void)
{
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

/* All groups but the last LEFT are done. */
template <int LEFT> static __device__ inline void wgmma_wait(void)
{
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(LEFT) : "memory");
}

template <int COUNT> static __device__ inline void wgmma_settled(float sum[COUNT][4])
{
#pragma unroll
    for (int n = 0; n < COUNT; n++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            asm volatile("// settled;" : "+f"(sum[n][i])::"memory");
}

/* A right operand in shared memory: rows from `at` on of a panel, which is 16 columns at at + 32 k. */
static __device__ inline uint64_t panel_at(uint32_t at)
{
    const uint64_t leading = 1 /* not used here */, stride = SWIZZLE_ROWS_BYTES >> 4, swizzle_128 = 1;
    return (uint64_t)((at & 0x3ffff) >> 4) | leading << 16 | stride << 32 | swizzle_128 << 62;
}

#define WGMMA_FOUR(sum, n) "+f"(sum[n][0]), "+f"(sum[n][1]), "+f"(sum[n][2]), "+f"(sum[n][3])

/* sum (64,64) = left (64,16) right + sum, or without it where not `add`. right: (64,16)^T of a panel's rows and 16
 * columns; TURNED, its (16,64): 16 rows and all columns. */
template <bool TURNED>
static __device__ inline void wgmma(float sum[8][4], const uint32_t left[4], uint64_t right, bool add)
{
    asm volatile("{ .reg .pred adds; setp.ne.b32 adds, %37, 0; "
                 "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 "
                 "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, "
                 "%22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, {%32, %33, %34, %35}, %36, adds, 1, 1, %38; }"
                 : WGMMA_FOUR(sum, 0), WGMMA_FOUR(sum, 1), WGMMA_FOUR(sum, 2), WGMMA_FOUR(sum, 3), WGMMA_FOUR(sum, 4),
                   WGMMA_FOUR(sum, 5), WGMMA_FOUR(sum, 6), WGMMA_FOUR(sum, 7)
                 : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "l"(right), "r"((int)add),
                   "n"(TURNED ? 1 : 0));
}

#endif
