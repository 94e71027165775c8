/*
 * attention_wgmma.h - what the attention kernels of sm_90a share: a block's tiles, how they come and are multiplied.
 *
 * A block is two warpgroups. Each has 64 tokens of its own and multiplies them by tiles of 64 tokens that both look
 * at; a ring of four such stages is filled by TMA, two ahead, so that one group may be a tile behind the other: while
 * one computes weights, the other multiplies. A tile of a head is a panel (wgmma.h), or two side by side.
 *
 * Left operands are loaded anew for each tile. They would fit in registers, but ptxas before 13.1 puts weights there as
 * well and does not load them again (tools/sass.py finds that; none of nvcc's options cures it).
 */
#ifndef KERNELS_CUDA_ATTENTION_WGMMA_H
#define KERNELS_CUDA_ATTENTION_WGMMA_H

#include "kernels/cuda/attention_lanes.h"
#include "kernels/cuda/tensor_map.h"
#include "kernels/cuda/wgmma.h"

enum { GROUPS = 2, THREADS = GROUPS * GROUP, ROWS = GROUPS * TILE, STAGES = 4, AHEAD = 2, STEPS = PANEL / 16 };

template <int PANELS> struct tile {
    bf16 panel[PANELS][PANEL * PANEL];
};

/* OPERANDS: how many tiles are a group's own. */
template <int PANELS, int OPERANDS> struct block_memory {
    tile<PANELS> own[OPERANDS][GROUPS], stage[STAGES][2];
    uint64_t own_there, full[STAGES], empty[STAGES];
};

/* Where the two tiles of a stage come from. */
struct sources {
    const CUtensorMap *map[2];
    int head[2], b;
};

template <typename MEMORY> static size_t block_bytes(void)
{
    return sizeof(MEMORY) + PANEL_ALIGN;
}

template <typename MEMORY> static __device__ inline MEMORY *begin_block(float4 *shared)
{
    MEMORY *m = (MEMORY *)((char *)shared + (PANEL_ALIGN - shared_address(shared) % PANEL_ALIGN) % PANEL_ALIGN);

    if (threadIdx.x == 0) {
        barrier_init(&m->own_there, 1);
        for (int i = 0; i < STAGES; i++) {
            barrier_init(&m->full[i], 1);
            barrier_init(&m->empty[i], THREADS / WARP);
        }
        barriers_told();
    }
    __syncthreads();
    return m;
}

template <int PANELS>
static __device__ inline void copy_tile(tile<PANELS> *to, const CUtensorMap *map, int head, int token, int b,
                                        uint64_t *barrier)
{
    for (int p = 0; p < PANELS; p++)
        bulk_copy(to->panel[p], map, p * PANEL, head, token, b, barrier);
}

/* By one thread: each group's own of the block's tokens, which begin at `first`. */
template <int PANELS, int OPERANDS>
static __device__ inline void copy_own(block_memory<PANELS, OPERANDS> *m, const sources &from, int first)
{
    barrier_expect(&m->own_there, sizeof(m->own));
    for (int i = 0; i < OPERANDS; i++)
        for (int group = 0; group < GROUPS; group++)
            copy_tile(&m->own[i][group], from.map[i], from.head[i], first + group * TILE, from.b, &m->own_there);
}

/* By one thread: the ith stage's two tiles of the tokens from `token` on, when both groups have used what is there. */
template <int PANELS, int OPERANDS>
static __device__ inline void copy_stage(block_memory<PANELS, OPERANDS> *m, const sources &from, int i, int token)
{
    const int at = i % STAGES;

    if (i >= STAGES)
        barrier_wait(&m->empty[at], (i / STAGES - 1) % 2);
    barrier_expect(&m->full[at], sizeof(m->stage[at]));
    for (int j = 0; j < 2; j++)
        copy_tile(&m->stage[at][j], from.map[j], from.head[j], token, from.b, &m->full[at]);
}

/* By whole warps, which are together again behind it. */
static __device__ inline void wait_for(uint64_t *barrier, uint32_t parity)
{
    barrier_wait(barrier, parity);
    __syncwarp();
}

/* This warp has used it. */
static __device__ inline void release_stage(uint64_t *empty)
{
    __syncwarp();
    if (threadIdx.x % WARP == 0)
        barrier_arrive(empty);
}

/* What a block does: copies its own tiles, of the tokens from `first` on, and goes through those of `from`, from
 * `begin` on while more(token) says so: use(two tiles, token), by all threads. No stage is copied that nobody waits
 * for. */
template <int PANELS, int OPERANDS, typename MORE, typename USE>
static __device__ inline void go_through(block_memory<PANELS, OPERANDS> *m, const sources &own, int first,
                                         const sources &from, int begin, MORE more, USE use)
{
    const bool copies = threadIdx.x == 0;
    int copied = 0; // stages, by the thread that copies

    if (copies) {
        copy_own(m, own, first);
        for (; copied < AHEAD && more(begin + copied * TILE); copied++)
            copy_stage(m, from, copied, begin + copied * TILE);
    }
    __syncwarp();
    wait_for(&m->own_there, 0);
    for (int i = 0, token = begin; more(token); i++, token += TILE) {
        const int at = i % STAGES;
        if (copies && copied == i + AHEAD && more(token + AHEAD * TILE))
            copy_stage(m, from, copied++, token + AHEAD * TILE);
        __syncwarp();
        wait_for(&m->full[at], i / STAGES % 2);
        use(m->stage[at], token);
        release_stage(&m->empty[at]);
    }
}

/* A warp's 16 rows of its group's tile, as left operands of 16 columns each. */
template <int PANELS>
static __device__ inline void load_lefts(uint32_t left[PANELS * STEPS][4], const tile<PANELS> &from)
{
    const int lane = (int)threadIdx.x % WARP;
    const int row = (int)threadIdx.x % GROUP / WARP * WARP_ROWS + lane % 16;

#pragma unroll
    for (int k = 0; k < PANELS * STEPS; k++) {
        int chunk = k % STEPS * 2 + lane / 16;
        load_matrices(left[k], from.panel[k / STEPS] + row * PANEL + (chunk ^ row % 8) * CHUNK(bf16));
    }
}

/* out = a tile's rows times another's */
template <int PANELS>
static __device__ inline void multiply_rows(float out[TILES][4], const tile<PANELS> &rows, const tile<PANELS> &right)
{
    uint32_t left[PANELS * STEPS][4];

    load_lefts<PANELS>(left, rows);
    wgmma_begin();
#pragma unroll
    for (int k = 0; k < PANELS * STEPS; k++)
        wgmma<false>(out, left[k], panel_at(shared_address(right.panel[k / STEPS]) + k % STEPS * 32), k > 0);
}

/* sum += weights (64,64) times a tile */
template <int PANELS>
static __device__ inline void add_weighted(float sum[PANELS * TILES][4], const uint32_t weights[STEPS][4],
                                           const tile<PANELS> &right)
{
    wgmma_begin();
#pragma unroll
    for (int p = 0; p < PANELS; p++)
#pragma unroll
        for (int k = 0; k < STEPS; k++)
            wgmma<true>(sum + p * TILES, weights[k],
                        panel_at(shared_address(right.panel[p]) + k * 2 * SWIZZLE_ROWS_BYTES), true);
}

static __device__ inline void lefts_of(uint32_t left[STEPS][4], const float weights[TILES][4])
{
#pragma unroll
    for (int k = 0; k < STEPS; k++)
        left_of(left[k], weights + 2 * k);
}

#endif
