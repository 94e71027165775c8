/*
 * Causal attention, forward (Dao et al. 2022, FlashAttention; Dao 2023, FlashAttention-2): a block has 64 queries
 * of a head and goes through the keys in tiles of 64, with a running maximum. No more of the T x T matrix than
 * one tile is ever there. Each sum's order is that of its tiles.
 *
 * fp32, by the ordinary units: tensor cores do not multiply fp32. attention_bf16.cu has their version.
 *
 * Floor: operations, 2 B heads T^2 size of the lower triangle's two products, twice that in whole tiles of short
 * sequences. 64 multiply-adds take 8 reads of 16 bytes from shared memory, so that about half of the units' rate
 * is the most to expect.
 */
#include "kernels/cuda/attention_bf16.h"
#include "kernels/cuda/attention_tiles.h"

/* One tile of keys: the running maximum and sum of each row, and the weights of this tile. `first` is the tile's
 * first key, t the row's query; begin its document's. */
static __device__ inline void soften(float s[EACH][EACH], float most[EACH], float total[EACH],
                                     float shrink[EACH], int first, int query, const int begin[EACH])
{
    int tx = (int)threadIdx.x % SIDE;

    for (int i = 0; i < EACH; i++) {
        float largest = most[i], sum = 0;
        for (int j = 0; j < EACH; j++) {
            int key = first + tx + j * SIDE;
            if (key > query + i || key < begin[i])
                s[i][j] = -INFINITY;
            largest = fmaxf(largest, s[i][j]);
        }
        for (int other = SIDE / 2; other > 0; other /= 2)
            largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, other, SIDE));
        float base = largest == -INFINITY ? 0 : largest; // no key so far: all weights are 0
        for (int j = 0; j < EACH; j++) {
            s[i][j] = expf(s[i][j] - base);
            sum += s[i][j];
        }
        for (int other = SIDE / 2; other > 0; other /= 2)
            sum += __shfl_xor_sync(0xffffffffu, sum, other, SIDE);
        shrink[i] = expf(most[i] - base);
        total[i] = total[i] * shrink[i] + sum;
        most[i] = largest;
    }
}

template <int SIZE>
static __global__ void __launch_bounds__(THREADS)
    attention_kernel(float *out, float *lse, const float *qkv, const int32_t *starts, heads h)
{
    extern __shared__ float4 shared[];
    float *q = (float *)shared, *k = q + TILE_FLOATS(SIZE), *v = k + TILE_FLOATS(SIZE),
          *weights = v + TILE_FLOATS(SIZE);
    int first = (int)(gridDim.x - 1 - blockIdx.x) * TILE; // the longest rows begin
    int query = first + (int)threadIdx.x / SIDE * EACH;
    size_t C = (size_t)h.count * h.size, row = 3 * C, head = blockIdx.y, b = blockIdx.z;
    const float *from = qkv + b * h.T * row + head * h.size;
    const int32_t *begins = starts ? starts + b * h.T : NULL;
    float s[EACH][EACH], sum[EACH][SIZE / SIDE] = {}, most[EACH], total[EACH] = {}, factor[EACH];
    int begin[EACH];

    for (int i = 0; i < EACH; i++) {
        most[i] = -INFINITY;
        begin[i] = begins && query + i < h.T ? begins[query + i] : 0;
    }
    load_tile<SIZE>(q, from, row, first, h, h.scale);
    for (int key = begins ? begins[first] / TILE * TILE : 0; key <= first; key += TILE) {
        __syncthreads(); // the tile before has been used
        load_tile<SIZE>(k, from + C, row, key, h, 1);
        load_tile<SIZE>(v, from + 2 * C, row, key, h, 1);
        __syncthreads();
        multiply_rows<SIZE>(s, q, k);
        soften(s, most, total, factor, key, query, begin);
        for (int i = 0; i < EACH; i++)
            for (int j = 0; j < SIZE / SIDE; j++)
                sum[i][j] *= factor[i];
        store_weights(weights, s);
        add_weighted<SIZE>(sum, weights, v);
    }
    for (int i = 0; i < EACH; i++) {
        factor[i] = 1 / total[i];
        if (threadIdx.x % SIDE == 0 && query + i < h.T)
            lse[(b * h.count + head) * h.T + query + i] = most[i] + logf(total[i]);
    }
    write_rows<SIZE>(out + b * h.T * C + head * h.size, C, first, h, sum, factor);
}

void cuda_attention(struct device *d, real *out, float *lse, const real *qkv, const int32_t *starts,
                    const struct attention_shape *s)
{
    const heads h = { (int)s->T, (int)s->heads, (int)s->size, 1.0f / sqrtf((float)s->size) };
    const dim3 blocks(BLOCKS(s->T, TILE), (unsigned)s->heads, (unsigned)s->B);
    bool wide = s->size > TILE;
    size_t bytes = (3 * TILE_FLOATS(wide ? 128 : 64) + TILE * WEIGHT_ROW) * sizeof(float);

    if (s->B * s->T == 0)
        return;
    if (s->size > CUDA_HEAD_MAX || s->B > 65535 || s->heads > 65535) {
        device_keep(d, ERR_LIMIT, "attention of %zu sequences, %zu heads of %zu: the most are 65535, 65535, %d",
                    s->B, s->heads, s->size, CUDA_HEAD_MAX);
        return;
    }
    if (cuda_precision(d) == DEVICE_BF16) {
        cuda_attention_bf16(d, out, lse, qkv, starts, s);
        return;
    }
    auto kernel = wide ? attention_kernel<128> : attention_kernel<64>;
    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes);
    kernel<<<blocks, THREADS, bytes, device_stream(d)>>>((float *)out, lse, (const float *)qkv, starts, h);
    device_launched(d, "attention");
}
