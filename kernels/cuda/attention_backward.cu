/*
 * Causal attention, backward, without atomics: one kernel goes through the keys of 64 queries for dq, another
 * through the queries of 64 keys for dk and dv. Both compute the weights anew, from q, k and the forward pass's
 * lse; so seven products of tiles stand for FlashAttention-2's five, and each sum has one order.
 *
 * With p = exp(q k - lse) and dp = dout v: ds = p (dp - delta), delta = sum of dout out of each query.
 *
 * Floor: operations, 7 B heads T^2 size (5 with atomics), and the reads of shared memory as in attention.cu.
 */
#include "kernels/cuda/attention_bf16.h"
#include "kernels/cuda/attention_tiles.h"
#include "kernels/cuda/real.h"
#include "kernels/cuda/reduce.h"

/* Blocks of narrow heads that fit on a multiprocessor: A100's shared memory holds one, H100's two. */
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
#define TOGETHER 2
#else
#define TOGETHER 1
#endif

/* A head of a token is `lanes` of a warp, a power of 2: as many as it has chunks, but no more than a warp. delta
 * (B,heads,T) as lse is. */
template <typename T>
static __global__ void attention_delta_kernel(float *delta, const T *dout, const T *out, size_t n, heads h,
                                              unsigned lanes)
{
    const size_t i = ((size_t)blockIdx.x * THREADS + threadIdx.x) / lanes; // (B,T,heads)
    const int lane = (int)(threadIdx.x % lanes), size = i < n ? h.size : 0;
    const bool whole = h.size % CHUNK(T) == 0 && in_chunks(dout) && in_chunks(out);
    float sum = 0;

    for (int c = lane * CHUNK(T); c < size; c += (int)lanes * CHUNK(T)) {
        float x[CHUNK(T)], y[CHUNK(T)];
        load_chunk(x, dout + i * size + c, size - c, whole);
        load_chunk(y, out + i * size + c, size - c, whole);
#pragma unroll
        for (int j = 0; j < CHUNK(T); j++) // beyond the end both are 0
            sum = fmaf(x[j], y[j], sum);
    }
    for (int other = (int)lanes / 2; other > 0; other /= 2)
        sum += __shfl_xor_sync((unsigned)EVERY_LANE, sum, other);
    if (lane > 0 || i >= n)
        return;
    size_t head = i % h.count, t = i / h.count % h.T, b = i / h.count / h.T;
    delta[(b * h.count + head) * h.T + t] = sum;
}

template <int SIZE>
static __global__ void __launch_bounds__(THREADS, SIZE > 64 ? 1 : TOGETHER)
    attention_dq_kernel(float *dqkv, const float *dout, const float *qkv, const float *lse, const float *delta,
                        const int32_t *starts, heads h)
{
    extern __shared__ float4 shared[];
    float *q = (float *)shared, *g = q + TILE_FLOATS(SIZE), *k = g + TILE_FLOATS(SIZE),
          *v = k + TILE_FLOATS(SIZE), *weights = v + TILE_FLOATS(SIZE);
    int first = (int)(gridDim.x - 1 - blockIdx.x) * TILE, tx = (int)threadIdx.x % SIDE;
    int query = first + (int)threadIdx.x / SIDE * EACH;
    size_t C = (size_t)h.count * h.size, row = 3 * C, head = blockIdx.y, b = blockIdx.z;
    size_t at = b * h.T * row + head * h.size, by_head = (b * h.count + head) * h.T;
    const int32_t *begins = starts ? starts + b * h.T : NULL;
    float s[EACH][EACH], dp[EACH][EACH], sum[EACH][SIZE / SIDE] = {}, own_lse[EACH], own_delta[EACH],
        factor[EACH];
    int begin[EACH];

    for (int i = 0; i < EACH; i++) {
        bool there = query + i < h.T;
        own_lse[i] = there ? lse[by_head + query + i] : 0;
        own_delta[i] = there ? delta[by_head + query + i] : 0;
        begin[i] = begins && there ? begins[query + i] : 0;
        factor[i] = h.scale;
    }
    load_tile<SIZE>(q, qkv + at, row, first, h, h.scale);
    load_tile<SIZE>(g, dout + b * h.T * C + head * h.size, C, first, h, 1);
    for (int key = begins ? begins[first] / TILE * TILE : 0; key <= first; key += TILE) {
        __syncthreads();
        load_tile<SIZE>(k, qkv + at + C, row, key, h, 1);
        load_tile<SIZE>(v, qkv + at + 2 * C, row, key, h, 1);
        __syncthreads();
        multiply_rows<SIZE>(s, q, k);
        multiply_rows<SIZE>(dp, g, v);
        for (int i = 0; i < EACH; i++)
            for (int j = 0; j < EACH; j++) {
                int u = key + tx + j * SIDE;
                bool seen = u <= query + i && u >= begin[i] && query + i < h.T;
                s[i][j] = seen ? expf(s[i][j] - own_lse[i]) * (dp[i][j] - own_delta[i]) : 0;
            }
        store_weights(weights, s);
        add_weighted<SIZE>(sum, weights, k);
    }
    write_rows<SIZE>(dqkv + at, row, first, h, sum, factor);
}

/* Rows of the products are keys here, columns queries. */
template <int SIZE>
static __global__ void __launch_bounds__(THREADS)
    attention_dkv_kernel(float *dqkv, const float *dout, const float *qkv, const float *lse, const float *delta,
                         const int32_t *starts, heads h)
{
    extern __shared__ float4 shared[];
    float *q = (float *)shared, *g = q + TILE_FLOATS(SIZE), *k = g + TILE_FLOATS(SIZE),
          *v = k + TILE_FLOATS(SIZE), *weights = v + TILE_FLOATS(SIZE);
    int first = (int)blockIdx.x * TILE, tx = (int)threadIdx.x % SIDE;
    int key = first + (int)threadIdx.x / SIDE * EACH;
    size_t C = (size_t)h.count * h.size, row = 3 * C, head = blockIdx.y, b = blockIdx.z;
    size_t at = b * h.T * row + head * h.size, by_head = (b * h.count + head) * h.T;
    const int32_t *begins = starts ? starts + b * h.T : NULL;
    const float once[EACH] = { 1, 1, 1, 1 };
    float s[EACH][EACH], dp[EACH][EACH], dk[EACH][SIZE / SIDE] = {}, dv[EACH][SIZE / SIDE] = {};

    load_tile<SIZE>(k, qkv + at + C, row, first, h, 1);
    load_tile<SIZE>(v, qkv + at + 2 * C, row, first, h, 1);
    for (int query = first; query < h.T; query += TILE) {
        if (begins && begins[query] >= first + TILE)
            break; // documents follow one another: none of these keys is seen any more
        __syncthreads();
        load_tile<SIZE>(q, qkv + at, row, query, h, h.scale);
        load_tile<SIZE>(g, dout + b * h.T * C + head * h.size, C, query, h, 1);
        __syncthreads();
        multiply_rows<SIZE>(s, k, q);
        multiply_rows<SIZE>(dp, v, g);
        for (int j = 0; j < EACH; j++) {
            int t = query + tx + j * SIDE, begin = begins && t < h.T ? begins[t] : 0;
            float of_t = t < h.T ? lse[by_head + t] : 0, less = t < h.T ? delta[by_head + t] : 0;
            for (int i = 0; i < EACH; i++) {
                bool seen = t < h.T && key + i <= t && key + i >= begin;
                s[i][j] = seen ? expf(s[i][j] - of_t) : 0;
                dp[i][j] = s[i][j] * (dp[i][j] - less);
            }
        }
        store_weights(weights, s);
        add_weighted<SIZE>(dv, weights, g);
        store_weights(weights, dp);
        add_weighted<SIZE>(dk, weights, q); // q has been scaled: so is dk
    }
    write_rows<SIZE>(dqkv + at + C, row, first, h, dk, once);
    write_rows<SIZE>(dqkv + at + 2 * C, row, first, h, dv, once);
}

template <typename T>
static void sum_delta(struct device *d, float *delta, const T *dout, const T *out, size_t n, const heads &h)
{
    auto kernel = attention_delta_kernel<T>;
    unsigned lanes = 1;

    while (lanes < WARP && (int)lanes * CHUNK(T) < h.size)
        lanes *= 2;
    kernel<<<BLOCKS(n, THREADS / lanes), THREADS, 0, device_stream(d)>>>(delta, dout, out, n, h, lanes);
    device_launched(d, "attention_backward");
}

void cuda_attention_backward(struct device *d, real *dqkv, const real *dout, const real *qkv,
                             const real *out, const float *lse, const int32_t *starts,
                             const struct attention_shape *s)
{
    const heads h = { (int)s->T, (int)s->heads, (int)s->size, 1.0f / sqrtf((float)s->size) };
    const dim3 blocks(BLOCKS(s->T, TILE), (unsigned)s->heads, (unsigned)s->B);
    bool wide = s->size > TILE;
    size_t bytes = (4 * TILE_FLOATS(wide ? 128 : 64) + TILE * WEIGHT_ROW) * sizeof(float);
    size_t n = s->B * s->T * s->heads;
    float *delta = (float *)device_scratch(d, n * sizeof(float), "attention_backward");

    if (n == 0 || !delta)
        return;
    if (s->size > CUDA_HEAD_MAX || s->B > 65535 || s->heads > 65535) {
        device_keep(d, ERR_LIMIT, "attention of %zu sequences, %zu heads of %zu: the most are 65535, 65535, %d",
                    s->B, s->heads, s->size, CUDA_HEAD_MAX);
        return;
    }
    WITH_REAL(d, sum_delta(d, delta, (const T *)dout, (const T *)out, n, h));
    if (cuda_precision(d) == DEVICE_BF16) {
        cuda_attention_bf16_backward(d, dqkv, dout, qkv, lse, delta, starts, s);
        return;
    }
    auto dq = wide ? attention_dq_kernel<128> : attention_dq_kernel<64>;
    auto dkv = wide ? attention_dkv_kernel<128> : attention_dkv_kernel<64>;
    cudaFuncSetAttribute(dq, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes);
    cudaFuncSetAttribute(dkv, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes);
    float *to = (float *)dqkv;
    const float *of_out = (const float *)dout, *from = (const float *)qkv;
    dq<<<blocks, THREADS, bytes, device_stream(d)>>>(to, of_out, from, lse, delta, starts, h);
    device_launched(d, "attention_backward");
    dkv<<<blocks, THREADS, bytes, device_stream(d)>>>(to, of_out, from, lse, delta, starts, h);
    device_launched(d, "attention_backward");
}
