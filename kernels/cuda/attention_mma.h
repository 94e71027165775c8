/*
 * attention_mma.h - tiles of 64 tokens in shared memory, and their products by mma.sync.
 *
 * A block is four warps; each has 16 rows of a product, or twice that, as mma.sync.m16n8k16 takes them
 * (attention_lanes.h). Operands come from shared memory by ldmatrix, four 8 x 8 matrices at a time, turned where the
 * sum runs down a tile's columns. Rows of a tile are 8 numbers longer than they need be: the eight rows of a matrix
 * then meet all 32 banks.
 *
 * SIZE is the head's, rounded up to 64 or 128; what is beyond it is zero. ROWS: how often a warp has 16 rows; what it
 * loads of the other operand serves all of them.
 */
#ifndef KERNELS_CUDA_ATTENTION_MMA_H
#define KERNELS_CUDA_ATTENTION_MMA_H

#include "kernels/cuda/attention_lanes.h"

enum { THREADS = 128, PAD = 8 };
#define TILE_REALS(SIZE) ((size_t)TILE * ((SIZE) + PAD))

/* ---- tiles ---- */

/* 16 bytes to shared memory, some time before copies_wait() says so; zeros where not `there`. */
static __device__ inline void copy_chunk(bf16 *to, const bf16 *from, bool there)
{
    uint32_t at = (uint32_t)__cvta_generic_to_shared(to), bytes = there ? CHUNK_BYTES : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from), "r"(bytes));
}

/* What was copied since the last time is a group. */
static __device__ inline void copies_group(void)
{
    asm volatile("cp.async.commit_group;");
}

/* This thread's groups but the last LEFT are there. */
template <int LEFT> static __device__ inline void copies_wait(void)
{
    asm volatile("cp.async.wait_group %0;" ::"n"(LEFT));
}

/* COUNT tokens from `first` on of one head, (COUNT, SIZE + PAD); zeros beyond the sequence and the head. There when
 * copies_wait() says so, and the block has met. */
template <int SIZE, int COUNT>
static __device__ inline void load_tile(bf16 *to, const bf16 *from, size_t row, int first, const heads &h)
{
    constexpr int EACH = CHUNK(bf16), ACROSS = SIZE / EACH;

#pragma unroll 2
    for (int i = (int)threadIdx.x; i < COUNT * ACROSS; i += THREADS) {
        int r = i / ACROSS, c = i % ACROSS * EACH, left = first + r < h.T ? h.size - c : 0;
        bf16 *at = to + r * (SIZE + PAD) + c;
        const bf16 *x = from + (size_t)(first + r) * row + c;
        if (h.chunks) {
            copy_chunk(at, left > 0 ? x : from, left > 0);
            continue;
        }
#pragma unroll
        for (int j = 0; j < EACH; j++)
            at[j] = j < left ? x[j] : bf16(0.0f);
    }
}

/* Two tiles of the same tokens, one behind the other. */
template <int SIZE>
static __device__ inline void load_two(bf16 *to, const bf16 *one, size_t one_row, const bf16 *two, size_t two_row,
                                       int first, const heads &h)
{
    load_tile<SIZE, TILE>(to, one, one_row, first, h);
    load_tile<SIZE, TILE>(to + TILE_REALS(SIZE), two, two_row, first, h);
}

/* ---- products ---- */

/* load_matrices() with each matrix turned: a lane gets column l / 4 of rows 2 (l % 4) and the next. */
static __device__ inline void load_turned(uint32_t r[4], const bf16 *p)
{
    uint32_t at = (uint32_t)__cvta_generic_to_shared(p);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at));
}

static __device__ inline void multiply(float c[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
                 "{%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* Columns k .. k + 15 of 16 rows of a tile, as a left operand. */
template <int SIZE> static __device__ inline void load_left(uint32_t left[4], const bf16 *rows, int k)
{
    const int lane = (int)threadIdx.x % WARP;
    load_matrices(left, rows + (lane / 8 % 2 * 8 + lane % 8) * (SIZE + PAD) + lane / 16 * 8 + k);
}

/* All columns of a warp's rows: kept in registers where a kernel multiplies them again and again. */
template <int SIZE, int ROWS> struct kept_rows {
    uint32_t left[ROWS][SIZE / 16][4];
};

template <int SIZE, int ROWS>
static __device__ inline void keep_rows(kept_rows<SIZE, ROWS> *kept, const bf16 *rows)
{
#pragma unroll
    for (int m = 0; m < ROWS; m++)
#pragma unroll
        for (int k = 0; k < SIZE; k += 16)
            load_left<SIZE>(kept->left[m][k / 16], rows + m * WARP_ROWS * (SIZE + PAD), k);
}

/* out = 16 ROWS rows times 8 COUNT rows of a tile. left(k, m, to): the mth 16 rows' columns k .. k + 15. */
template <int SIZE, int COUNT, int ROWS, typename LEFT>
static __device__ inline void multiply_rows(float out[ROWS][COUNT][4], const bf16 *tile, LEFT left)
{
    const int lane = (int)threadIdx.x % WARP;
    const bf16 *right_at = tile + (lane / 16 * 8 + lane % 8) * (SIZE + PAD) + lane / 8 % 2 * 8;

#pragma unroll
    for (int m = 0; m < ROWS; m++)
#pragma unroll
        for (int n = 0; n < COUNT; n++)
            out[m][n][0] = out[m][n][1] = out[m][n][2] = out[m][n][3] = 0;
#pragma unroll
    for (int k = 0; k < SIZE; k += 16) {
        uint32_t of_rows[ROWS][4], right[4];
#pragma unroll
        for (int m = 0; m < ROWS; m++)
            left(k, m, of_rows[m]);
#pragma unroll
        for (int n = 0; n < COUNT; n += 2) {
            load_matrices(right, right_at + n * NARROW * (SIZE + PAD) + k);
#pragma unroll
            for (int m = 0; m < ROWS; m++) {
                multiply(out[m][n], of_rows[m], right[0], right[1]);
                multiply(out[m][n + 1], of_rows[m], right[2], right[3]);
            }
        }
    }
}

template <int SIZE, int COUNT, int ROWS>
static __device__ inline void multiply_kept(float out[ROWS][COUNT][4], const kept_rows<SIZE, ROWS> &rows,
                                            const bf16 *tile)
{
    multiply_rows<SIZE, COUNT, ROWS>(out, tile, [&](int k, int m, uint32_t to[4]) {
#pragma unroll
        for (int i = 0; i < 4; i++)
            to[i] = rows.left[m][k / 16][i];
    });
}

/* The same with rows in shared memory: of wide heads, which registers do not hold. */
template <int SIZE, int COUNT, int ROWS>
static __device__ inline void multiply_loaded(float out[ROWS][COUNT][4], const bf16 *rows, const bf16 *tile)
{
    multiply_rows<SIZE, COUNT, ROWS>(out, tile, [&](int k, int m, uint32_t to[4]) {
        load_left<SIZE>(to, rows + m * WARP_ROWS * (SIZE + PAD), k);
    });
}

/* sum += weights (16 ROWS, 8 COUNT) times as many rows of a tile */
template <int SIZE, int COUNT, int ROWS>
static __device__ inline void add_weighted(float sum[ROWS][SIZE / NARROW][4], const float weights[ROWS][COUNT][4],
                                           const bf16 *tile)
{
    const int lane = (int)threadIdx.x % WARP;
    const bf16 *right_at = tile + (lane / 8 % 2 * 8 + lane % 8) * (SIZE + PAD) + lane / 16 * 8;

#pragma unroll
    for (int k = 0; k < COUNT; k += 2) {
        uint32_t left[ROWS][4], right[4];
#pragma unroll
        for (int m = 0; m < ROWS; m++)
            left_of(left[m], weights[m] + k);
#pragma unroll
        for (int n = 0; n < SIZE / NARROW; n += 2) {
            load_turned(right, right_at + k * NARROW * (SIZE + PAD) + n * NARROW);
#pragma unroll
            for (int m = 0; m < ROWS; m++) {
                multiply(sum[m][n], left[m], right[0], right[1]);
                multiply(sum[m][n + 1], left[m], right[2], right[3]);
            }
        }
    }
}

#endif
