/*
 * Causal attention of bf16 in memory on tensor cores: sums and softmax are fp32. A block has 64 queries of a wide head,
 * 128 of one of up to 64, and goes through the keys in tiles of 64 with a running maximum, as attention.cu does; the
 * next tile is copied while one is used.
 *
 * Floor: operations, 2 B heads T^2 size, at the tensor cores' rate. Of a narrow head's tile a warp multiplies 128 times
 * and loads 32 times four matrices: about as long as the products take on A100, twice as long as on H100, whose wgmma
 * this does not use.
 */
#include "kernels/cuda/attention_bf16.h"
#include "kernels/cuda/attention_mma.h"

/* What a warp has of its queries' softmax so far. */
template <int SIZE, int ROWS> struct running {
    float sum[ROWS][SIZE / NARROW][4], most[ROWS][2], total[ROWS][2];
    int begin[ROWS][2]; // of the query's document
};

template <int SIZE, int ROWS>
static __device__ inline void use_tile(running<SIZE, ROWS> *u, const kept_rows<SIZE, ROWS> &q, const bf16 *k,
                                       const bf16 *v, const heads &h, int key, int query, bool all_seen)
{
    float s[ROWS][TILES][4], shrink[2];

    multiply_kept<SIZE, TILES, ROWS>(s, q, k);
#pragma unroll
    for (int m = 0; m < ROWS; m++) {
        if (!all_seen)
            hide_keys(s[m], key, query + m * WARP_ROWS, u->begin[m]);
        soften(s[m], u->most[m], u->total[m], shrink, h);
#pragma unroll
        for (int n = 0; n < SIZE / NARROW; n++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                u->sum[m][n][i] *= shrink[i / 2];
    }
    add_weighted<SIZE, TILES, ROWS>(u->sum, s, v);
}

template <int SIZE, int ROWS>
static __device__ inline void begin_queries(running<SIZE, ROWS> *u, const int32_t *begins, int query, const heads &h)
{
#pragma unroll
    for (int m = 0; m < ROWS; m++) {
#pragma unroll
        for (int r = 0; r < 2; r++) {
            int t = query + m * WARP_ROWS + 8 * r;
            u->begin[m][r] = begins && t < h.T ? begins[t] : 0;
            u->most[m][r] = -INFINITY;
            u->total[m][r] = 0;
        }
#pragma unroll
        for (int n = 0; n < SIZE / NARROW; n++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                u->sum[m][n][i] = 0;
    }
}

template <int SIZE, int ROWS>
static __global__ void __launch_bounds__(THREADS, 2)
    attention_bf16_kernel(bf16 *out, float *lse, const bf16 *qkv, const int32_t *starts, heads h)
{
    constexpr int QUERIES = TILE * ROWS;
    extern __shared__ float4 shared[];
    bf16 *q = (bf16 *)shared, *tiles = q + ROWS * TILE_REALS(SIZE);
    const int first = (int)(gridDim.x - 1 - blockIdx.x) * QUERIES; // the longest rows begin
    const int of_warp = (int)threadIdx.x / WARP * WARP_ROWS * ROWS, query = first + of_warp + own_row();
    const int end = first + QUERIES < h.T ? first + QUERIES : h.T;
    size_t C = (size_t)h.count * h.size, head = blockIdx.y, b = blockIdx.z;
    const bf16 *from = qkv + b * h.T * 3 * C + head * h.size, *keys = from + C, *values = keys + C;
    const int32_t *begins = starts ? starts + b * h.T : NULL;
    kept_rows<SIZE, ROWS> rows;
    running<SIZE, ROWS> u;

    begin_queries(&u, begins, query, h);
    int key = begins ? begins[first] / TILE * TILE : 0, stage = 0;
    load_tile<SIZE, QUERIES>(q, from, 3 * C, first, h);
    load_two<SIZE>(tiles, keys, 3 * C, values, 3 * C, key, h);
    copies_group();
    for (bool begun = false; key < end; key += TILE, stage ^= 1) {
        const bf16 *k = tiles + stage * 2 * TILE_REALS(SIZE);
        if (key + TILE < end)
            load_two<SIZE>(tiles + (stage ^ 1) * 2 * TILE_REALS(SIZE), keys, 3 * C, values, 3 * C, key + TILE, h);
        copies_group();
        copies_wait<1>(); // this tile is there, the next one on its way
        __syncthreads();
        if (!begun)
            keep_rows(&rows, q + of_warp * (SIZE + PAD));
        begun = true;
        if (key < first + of_warp + WARP_ROWS * ROWS) { // else nothing of it is seen by this warp
            bool all_seen = !begins && key + TILE <= first + of_warp + 1;
            use_tile(&u, rows, k, k + TILE_REALS(SIZE), h, key, query, all_seen);
        }
        __syncthreads(); // it has been used
    }
#pragma unroll
    for (int m = 0; m < ROWS; m++) {
        float factor[2];
#pragma unroll
        for (int r = 0; r < 2; r++) {
            int t = query + m * WARP_ROWS + 8 * r;
            factor[r] = 1 / u.total[m][r];
            if (threadIdx.x % 4 == 0 && t < h.T)
                lse[(b * h.count + head) * h.T + t] = u.most[m][r] * LN_2 + logf(u.total[m][r]);
        }
        write_rows<SIZE>(out + b * h.T * C + head * h.size, C, query + m * WARP_ROWS, h, u.sum[m], factor);
    }
}

template <int SIZE, int ROWS>
static void launch(struct device *d, bf16 *out, float *lse, const bf16 *qkv, const int32_t *starts,
                   const struct attention_shape *s)
{
    const heads h = heads_of(s, out, qkv, NULL);
    const dim3 blocks(BLOCKS(s->T, TILE * ROWS), (unsigned)s->heads, (unsigned)s->B);
    const size_t bytes = (ROWS + 4) * TILE_REALS(SIZE) * sizeof(bf16);
    auto kernel = attention_bf16_kernel<SIZE, ROWS>;

    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes);
    kernel<<<blocks, THREADS, bytes, device_stream(d)>>>(out, lse, qkv, starts, h);
    device_launched(d, "attention, bf16");
}

void cuda_attention_bf16(struct device *d, real *out, float *lse, const real *qkv, const int32_t *starts,
                         const struct attention_shape *s)
{
    if (cuda_attention_wgmma(d, out, lse, qkv, starts, s))
        return;
    if (s->size > 64)
        launch<128, 1>(d, (bf16 *)out, lse, (const bf16 *)qkv, starts, s);
    else
        launch<64, 2>(d, (bf16 *)out, lse, (const bf16 *)qkv, starts, s);
}
