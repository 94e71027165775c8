/*
 * attention_tiles.h - what the three attention kernels share: tiles of 64 tokens in shared memory, and products
 * of two of them.
 *
 * A block is 16 x 16 threads, (ty, tx). Of a 64 x 64 product thread (ty, tx) has rows 4 ty .. 4 ty + 3 and columns
 * tx, tx + 16, tx + 32, tx + 48; of a 64 x SIZE one, the same rows and columns 64 j + 4 tx .. + 3. Rows of a tile
 * are SIZE + 4 floats apart: then eight threads that read a float4 each from eight rows meet all 32 banks once,
 * and 16-byte alignment stays.
 *
 * SIZE is the head's, rounded up to 64 or 128; what is beyond it is zero.
 */
#ifndef KERNELS_CUDA_ATTENTION_TILES_H
#define KERNELS_CUDA_ATTENTION_TILES_H

#include "kernels/cuda/cuda.h"

enum { TILE = 64, SIDE = 16, EACH = 4, THREADS = SIDE * SIDE, WEIGHT_ROW = TILE + 4 };
#define TILE_FLOATS(SIZE) ((size_t)TILE * ((SIZE) + 4))

/* Where the heads of one sequence lie, and what the kernels need of the rest. */
struct heads {
    int T, count, size;
    float scale; // 1 / sqrt(size)
};

/* TILE tokens from `first` on of one head: `from` is token 0's, `row` floats lie between two tokens. */
template <int SIZE>
static __device__ inline void load_tile(float *to, const float *from, size_t row, int first, const heads &h,
                                        float factor)
{
    for (int i = (int)threadIdx.x; i < TILE * SIZE; i += THREADS) {
        int r = i / SIZE, c = i % SIZE;
        bool there = first + r < h.T && c < h.size;
        to[r * (SIZE + 4) + c] = there ? from[(size_t)(first + r) * row + c] * factor : 0;
    }
}

/* out[i][j] = a[4 ty + i,:] . b[tx + 16 j,:] */
template <int SIZE>
static __device__ inline void multiply_rows(float out[EACH][EACH], const float *a, const float *b)
{
    const float *rows = a + (threadIdx.x / SIDE) * EACH * (SIZE + 4);
    const float *columns = b + (threadIdx.x % SIDE) * (SIZE + 4);

    for (int i = 0; i < EACH; i++)
        for (int j = 0; j < EACH; j++)
            out[i][j] = 0;
#pragma unroll 4
    for (int c = 0; c < SIZE; c += 4) {
        float4 x[EACH], y[EACH];
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            x[i] = *(const float4 *)(rows + i * (SIZE + 4) + c);
            y[i] = *(const float4 *)(columns + i * SIDE * (SIZE + 4) + c);
        }
#pragma unroll
        for (int i = 0; i < EACH; i++)
#pragma unroll
            for (int j = 0; j < EACH; j++)
                out[i][j] = fmaf(x[i].x, y[j].x,
                                 fmaf(x[i].y, y[j].y, fmaf(x[i].z, y[j].z, fmaf(x[i].w, y[j].w, out[i][j]))));
    }
}

/* weights[4 ty + i, tx + 16 j] = of[i][j]. Rows are read again by the half of a warp that wrote them. */
static __device__ inline void store_weights(float *weights, const float of[EACH][EACH])
{
    float *to = weights + (threadIdx.x / SIDE) * EACH * WEIGHT_ROW + threadIdx.x % SIDE;

    __syncwarp();
    for (int i = 0; i < EACH; i++)
        for (int j = 0; j < EACH; j++)
            to[i * WEIGHT_ROW + j * SIDE] = of[i][j];
    __syncwarp();
}

/* sum[i][4 j + l] += weights[4 ty + i,:] . tile[:, 64 j + 4 tx + l] */
template <int SIZE>
static __device__ inline void add_weighted(float sum[EACH][SIZE / SIDE], const float *weights, const float *tile)
{
    const float *rows = weights + (threadIdx.x / SIDE) * EACH * WEIGHT_ROW;
    const float *columns = tile + (threadIdx.x % SIDE) * 4;

#pragma unroll 2
    for (int k = 0; k < TILE; k += 4) {
        float w[EACH][4];
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            float4 four = *(const float4 *)(rows + i * WEIGHT_ROW + k);
            w[i][0] = four.x;
            w[i][1] = four.y;
            w[i][2] = four.z;
            w[i][3] = four.w;
        }
#pragma unroll
        for (int l = 0; l < 4; l++)
#pragma unroll
            for (int j = 0; j < SIZE / TILE; j++) {
                float4 v = *(const float4 *)(columns + (k + l) * (SIZE + 4) + j * TILE);
#pragma unroll
                for (int i = 0; i < EACH; i++) {
                    float *to = &sum[i][4 * j];
                    to[0] = fmaf(w[i][l], v.x, to[0]);
                    to[1] = fmaf(w[i][l], v.y, to[1]);
                    to[2] = fmaf(w[i][l], v.z, to[2]);
                    to[3] = fmaf(w[i][l], v.w, to[3]);
                }
            }
    }
}

/* Writes what add_weighted() summed to token first + 4 ty + i of one head, times factor[i]. */
template <int SIZE>
static __device__ inline void write_rows(float *to, size_t row, int first, const heads &h,
                                         const float sum[EACH][SIZE / SIDE], const float factor[EACH])
{
    int tx = (int)threadIdx.x % SIDE;

    for (int i = 0; i < EACH; i++) {
        int t = first + (int)threadIdx.x / SIDE * EACH + i;
        for (int j = 0; j < SIZE / SIDE; j++) {
            int c = j / 4 * TILE + tx * 4 + j % 4;
            if (t < h.T && c < h.size)
                to[(size_t)t * row + c] = sum[i][j] * factor[i];
        }
    }
}

#endif
