/*
 * attention_lanes.h - what the attention kernels of bf16 do with a lane's part of a result, whichever instruction
 * computed it.
 *
 * Products come 16 rows a warp, 8 columns at a time: lane 4 g + t has columns 2 t and 2 t + 1 of rows g and g + 8
 * (PTX ISA, "Matrix Fragments for mma.m16n8k16"; wgmma's accumulators are the same, more of them side by side). So
 * c[n][i] is row own_row() + 8 (i / 2), column 8 n + own_column() + i % 2. Two such results side by side are, rounded,
 * the left operand of the next product: weights never leave the registers.
 *
 * Weights are powers of two: e^(scale s) = 2^(scale s / ln 2), which is what the hardware computes.
 */
#ifndef KERNELS_CUDA_ATTENTION_LANES_H
#define KERNELS_CUDA_ATTENTION_LANES_H

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/real.h"

enum { TILE = 64, WARP_ROWS = 16, NARROW = 8 /* columns of one product */ };
enum { TILES = TILE / NARROW };
#define LOG2_E 1.4426950408889634f
#define LN_2 0.6931471805599453f

struct heads {
    int T, count, size;
    float scale, log2_scale; // 1 / sqrt(size), and that over ln 2
    bool chunks;             // heads begin and end with a whole chunk
};

static inline heads heads_of(const struct attention_shape *s, const real *one, const real *two, const real *three)
{
    uintptr_t all = (uintptr_t)one | (uintptr_t)two | (uintptr_t)three;
    bool chunks = s->size % CHUNK(bf16) == 0 && all % CHUNK_BYTES == 0;
    float scale = 1.0f / sqrtf((float)s->size);
    return heads{ (int)s->T, (int)s->heads, (int)s->size, scale, scale * LOG2_E, chunks };
}

static __device__ inline int own_row(void)
{
    return (int)threadIdx.x % WARP / 4;
}

static __device__ inline int own_column(void)
{
    return (int)threadIdx.x % 4 * 2;
}

static __device__ inline uint32_t pair_of(float low, float high)
{
    __nv_bfloat162 two = __floats2bfloat162_rn(low, high);
    uint32_t bits;
    memcpy(&bits, &two, sizeof(bits));
    return bits;
}

/* 2^x; what is below 2^-126 is 0. */
static __device__ inline float power_of_two(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/* Four 8 x 8 matrices: lane l names row l % 8 of the (l / 8)th, and gets of each row l / 4, columns 2 (l % 4) and the
 * next. */
static __device__ inline void load_matrices(uint32_t r[4], const bf16 *p)
{
    uint32_t at = (uint32_t)__cvta_generic_to_shared(p);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at));
}

/* Columns 16 k .. 16 k + 15 of weights, as a left operand. */
static __device__ inline void left_of(uint32_t left[4], const float weights[2][4])
{
    left[0] = pair_of(weights[0][0], weights[0][1]);
    left[1] = pair_of(weights[0][2], weights[0][3]);
    left[2] = pair_of(weights[1][0], weights[1][1]);
    left[3] = pair_of(weights[1][2], weights[1][3]);
}

/* Scores of keys, which are columns from `first` on: not seen by queries, which are rows `query` and query + 8, are
 * those that come later or are of a document before. */
static __device__ inline void hide_keys(float s[TILES][4], int first, int query, const int begin[2])
{
#pragma unroll
    for (int n = 0; n < TILES; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int key = first + n * NARROW + own_column() + i % 2;
            if (key > query + i / 2 * 8 || key < begin[i / 2])
                s[n][i] = -INFINITY;
        }
}

/* One tile of scores becomes its weights; shrink, by how much those before weigh less; most is the largest score's
 * power of two so far, total the weights' sum. */
static __device__ inline void soften(float s[TILES][4], float most[2], float total[2], float shrink[2], const heads &h)
{
    float base[2], sum[2] = { 0, 0 };

#pragma unroll
    for (int r = 0; r < 2; r++) {
        float largest = -INFINITY;
#pragma unroll
        for (int n = 0; n < TILES; n++)
            largest = fmaxf(largest, fmaxf(s[n][2 * r], s[n][2 * r + 1]));
#pragma unroll
        for (int other = 2; other > 0; other /= 2)
            largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, other));
        largest = fmaxf(most[r], largest * h.log2_scale);
        base[r] = largest == -INFINITY ? 0 : largest; // no key so far: all weights are 0
        shrink[r] = power_of_two(most[r] - base[r]);
        most[r] = largest;
    }
#pragma unroll
    for (int n = 0; n < TILES; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            s[n][i] = power_of_two(fmaf(s[n][i], h.log2_scale, -base[i / 2]));
            sum[i / 2] += s[n][i];
        }
#pragma unroll
    for (int r = 0; r < 2; r++) {
#pragma unroll
        for (int other = 2; other > 0; other /= 2)
            sum[r] += __shfl_xor_sync(0xffffffffu, sum[r], other);
        total[r] = total[r] * shrink[r] + sum[r];
    }
}

/* What the backward pass needs of two queries that are rows, 8 apart: what the forward pass knew of their softmax, in
 * powers of two. */
struct of_queries {
    float lse[2], delta[2];
    int begin[2];
};

static __device__ inline void look_up(of_queries *o, const float *lse, const float *delta, const int32_t *begins,
                                      int query, const heads &h)
{
#pragma unroll
    for (int r = 0; r < 2; r++) {
        bool there = query + 8 * r < h.T;
        o->lse[r] = there ? lse[query + 8 * r] * LOG2_E : 0;
        o->delta[r] = there ? delta[query + 8 * r] : 0;
        o->begin[r] = begins && there ? begins[query + 8 * r] : 0;
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
