/*
 * attention_mma.h - what the attention kernels of bf16 share: tiles of 64 tokens in shared memory, and their products
 * on tensor cores.
 *
 * A block is four warps; each has 16 rows of a product, or twice that, as mma.sync.m16n8k16 takes them. Of a 16 x 8
 * result lane 4 g + t has columns 2 t and 2 t + 1 of rows g and g + 8 (PTX ISA, "Matrix Fragments for
 * mma.m16n8k16"); two such results side by side are, rounded, the left operand of the next product, so weights
 * never leave the registers. Operands come from shared memory by ldmatrix, four 8 x 8 matrices at a time, turned where
 * the sum runs down a tile's columns. Rows of a tile are 8 numbers longer than they need be: the eight rows of a matrix
 * then meet all 32 banks.
 *
 * SIZE is the head's, rounded up to 64 or 128; what is beyond it is zero. ROWS: how often a warp has 16 rows; what it
 * loads of the other operand serves all of them.
 */
#ifndef KERNELS_CUDA_ATTENTION_MMA_H
#define KERNELS_CUDA_ATTENTION_MMA_H

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/real.h"

enum { TILE = 64, THREADS = 128, WARP_ROWS = 16, NARROW = 8 /* columns of one product */, PAD = 8 };
enum { TILES = TILE / NARROW };
#define TILE_REALS(SIZE) ((size_t)TILE * ((SIZE) + PAD))
#define LOG2_E 1.4426950408889634f
#define LN_2 0.6931471805599453f

struct heads {
    int T, count, size;
    float scale; // 1 / sqrt(size)
    bool chunks; // heads begin and end with a whole chunk
};

static inline heads heads_of(const struct attention_shape *s, const real *one, const real *two, const real *three)
{
    uintptr_t all = (uintptr_t)one | (uintptr_t)two | (uintptr_t)three;
    bool chunks = s->size % CHUNK(bf16) == 0 && all % CHUNK_BYTES == 0;
    return heads{ (int)s->T, (int)s->heads, (int)s->size, 1.0f / sqrtf((float)s->size), chunks };
}

/* Which row and column of a warp's result, 16 x 8, this lane has first. */
static __device__ inline int own_row(void)
{
    return (int)threadIdx.x % WARP / 4;
}

static __device__ inline int own_column(void)
{
    return (int)threadIdx.x % 4 * 2;
}

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

/* Four 8 x 8 matrices: lane l names row l % 8 of the (l / 8)th, and gets of each row l / 4, columns 2 (l % 4) and the
 * next; turned, column l / 4 of rows 2 (l % 4) and the next. */
static __device__ inline void load_matrices(uint32_t r[4], const bf16 *p)
{
    uint32_t at = (uint32_t)__cvta_generic_to_shared(p);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at));
}

static __device__ inline void load_turned(uint32_t r[4], const bf16 *p)
{
    uint32_t at = (uint32_t)__cvta_generic_to_shared(p);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at));
}

static __device__ inline uint32_t pair_of(float low, float high)
{
    __nv_bfloat162 two = __floats2bfloat162_rn(low, high);
    uint32_t bits;
    memcpy(&bits, &two, sizeof(bits));
    return bits;
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
        for (int m = 0; m < ROWS; m++) {
            const float *w = weights[m][k], *next = weights[m][k + 1];
            left[m][0] = pair_of(w[0], w[1]);
            left[m][1] = pair_of(w[2], w[3]);
            left[m][2] = pair_of(next[0], next[1]);
            left[m][3] = pair_of(next[2], next[3]);
        }
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

/* To tokens t and t + 8 of one head, this lane's two rows of 16, times factor[0] and [1]. */
template <int SIZE>
static __device__ inline void write_rows(bf16 *to, size_t row, int t, const heads &h,
                                         const float sum[SIZE / NARROW][4], const float factor[2])
{
#pragma unroll
    for (int n = 0; n < SIZE / NARROW; n++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
            int c = n * NARROW + own_column();
            bf16 *at = to + (size_t)(t + 8 * r) * row + c;
            const float low = sum[n][2 * r] * factor[r], high = sum[n][2 * r + 1] * factor[r];
            if (t + 8 * r >= h.T || c >= h.size)
                continue;
            if (h.chunks) {
                *(uint32_t *)at = pair_of(low, high);
                continue;
            }
            set_real(&at[0], low);
            if (c + 1 < h.size)
                set_real(&at[1], high);
        }
}

#endif
