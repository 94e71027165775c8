/*
 * The backward pass of attention_bf16.cu, without atomics: as in attention_backward.cu one kernel goes through the keys
 * of 64 queries for dq, another through the queries of 64 keys for dk and dv. A warp has 16 of the 64; what it
 * multiplies again and again stays in its registers, but for wide heads, and the next tile is copied while one is used.
 *
 * Floor: operations, 7 B heads T^2 size (5 with atomics), at the tensor cores' rate.
 */
#include "kernels/cuda/attention_bf16.h"
#include "kernels/cuda/attention_mma.h"

/* The rows that a warp multiplies: in its registers, or where they lie. */
template <int SIZE, bool KEPT> struct own_rows {
    const bf16 *at;
    kept_rows<SIZE, KEPT ? 1 : 0> kept;
};
template <int SIZE> struct own_rows<SIZE, false> {
    const bf16 *at;
};

template <int SIZE, int COUNT>
static __device__ inline void multiply_own(float out[1][COUNT][4], const own_rows<SIZE, true> &rows, const bf16 *tile)
{
    multiply_kept<SIZE, COUNT, 1>(out, rows.kept, tile);
}

template <int SIZE, int COUNT>
static __device__ inline void multiply_own(float out[1][COUNT][4], const own_rows<SIZE, false> &rows, const bf16 *tile)
{
    multiply_loaded<SIZE, COUNT, 1>(out, rows.at, tile);
}

template <int SIZE> static __device__ inline void begin_rows(own_rows<SIZE, true> *rows)
{
    keep_rows(&rows->kept, rows->at);
}

template <int SIZE> static __device__ inline void begin_rows(own_rows<SIZE, false> *rows)
{
    (void)rows;
}

template <int SIZE, bool KEPT>
static __global__ void __launch_bounds__(THREADS, 2)
    attention_bf16_dq_kernel(bf16 *dqkv, const bf16 *dout, const bf16 *qkv, const float *lse, const float *delta,
                             const int32_t *starts, heads h)
{
    extern __shared__ float4 shared[];
    bf16 *q = (bf16 *)shared, *g = q + TILE_REALS(SIZE), *tiles = g + TILE_REALS(SIZE);
    const int first = (int)(gridDim.x - 1 - blockIdx.x) * TILE, of_warp = (int)threadIdx.x / WARP * WARP_ROWS;
    const int query = first + of_warp + own_row();
    size_t C = (size_t)h.count * h.size, row = 3 * C, head = blockIdx.y, b = blockIdx.z;
    size_t at = b * h.T * row + head * h.size, by_head = (b * h.count + head) * h.T;
    const int32_t *begins = starts ? starts + b * h.T : NULL;
    const bf16 *keys = qkv + at + C, *values = keys + C;
    const float factor[2] = { h.scale, h.scale };
    own_rows<SIZE, KEPT> of_q, of_g;
    float s[1][TILES][4], dp[1][TILES][4], sum[1][SIZE / NARROW][4] = {};
    of_queries o;

    look_up(&o, lse + by_head, delta + by_head, begins, query, h);
    of_q.at = q + of_warp * (SIZE + PAD);
    of_g.at = g + of_warp * (SIZE + PAD);
    int key = begins ? begins[first] / TILE * TILE : 0, stage = 0;
    load_tile<SIZE, TILE>(q, qkv + at, row, first, h);
    load_tile<SIZE, TILE>(g, dout + b * h.T * C + head * h.size, C, first, h);
    load_two<SIZE>(tiles, keys, row, values, row, key, h);
    copies_group();
    for (bool begun = false; key <= first; key += TILE, stage ^= 1) {
        const bf16 *k = tiles + stage * 2 * TILE_REALS(SIZE), *v = k + TILE_REALS(SIZE);
        if (key + TILE <= first)
            load_two<SIZE>(tiles + (stage ^ 1) * 2 * TILE_REALS(SIZE), keys, row, values, row, key + TILE, h);
        copies_group();
        copies_wait<1>();
        __syncthreads();
        if (!begun) {
            begin_rows(&of_q);
            begin_rows(&of_g);
        }
        begun = true;
        multiply_own<SIZE, TILES>(s, of_q, k);
        multiply_own<SIZE, TILES>(dp, of_g, v);
#pragma unroll
        for (int n = 0; n < TILES; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                int u = key + n * NARROW + own_column() + i % 2, t = query + i / 2 * 8;
                bool seen = u <= t && u >= o.begin[i / 2] && t < h.T;
                float p = seen ? power_of_two(fmaf(s[0][n][i], h.log2_scale, -o.lse[i / 2])) : 0;
                s[0][n][i] = p * (dp[0][n][i] - o.delta[i / 2]);
            }
        add_weighted<SIZE, TILES, 1>(sum, s, k);
        __syncthreads();
    }
    write_rows<SIZE>(dqkv + at, row, query, h, sum[0], factor);
}

/* What dk and dv need of 64 queries beside their rows, in shared memory. */
struct query_notes {
    float lse[TILE], delta[TILE];
    int begin[TILE];
};

/* Thread i writes query i's. Queries beyond the sequence begin behind every key. */
static __device__ inline void note_queries(query_notes *to, const float *lse, const float *delta,
                                           const int32_t *begins, int first, const heads &h)
{
    int i = (int)threadIdx.x, t = first + i;
    if (i >= TILE)
        return;
    to->lse[i] = t < h.T ? lse[t] * LOG2_E : 0;
    to->delta[i] = t < h.T ? delta[t] : 0;
    to->begin[i] = t < h.T ? (begins ? begins[t] : 0) : INT32_MAX;
}

/* p and ds of 8 COUNT queries from `first` on, the part's first; rows are keys, `key` and key + 8. */
template <int COUNT>
static __device__ inline void weigh_queries(float s[COUNT][4], float dp[COUNT][4], const query_notes &notes, int first,
                                            int part, int key, const heads &h)
{
#pragma unroll
    for (int n = 0; n < COUNT; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int column = (part + n) * NARROW + own_column() + i % 2, u = key + i / 2 * 8;
            bool seen = u <= first + column && u >= notes.begin[column];
            s[n][i] = seen ? power_of_two(fmaf(s[n][i], h.log2_scale, -notes.lse[column])) : 0;
            dp[n][i] = s[n][i] * (dp[n][i] - notes.delta[column]);
        }
}

/* Rows of the products are keys here, columns queries. Half a tile of queries at a time: registers. */
template <int SIZE, bool KEPT>
static __global__ void __launch_bounds__(THREADS, 2)
    attention_bf16_dkv_kernel(bf16 *dqkv, const bf16 *dout, const bf16 *qkv, const float *lse, const float *delta,
                              const int32_t *starts, heads h)
{
    constexpr int COUNT = TILES / 2;
    extern __shared__ float4 shared[];
    bf16 *k = (bf16 *)shared, *v = k + TILE_REALS(SIZE), *tiles = v + TILE_REALS(SIZE);
    query_notes *notes = (query_notes *)(tiles + 4 * TILE_REALS(SIZE));
    const int first = (int)blockIdx.x * TILE, of_warp = (int)threadIdx.x / WARP * WARP_ROWS;
    const int key = first + of_warp + own_row();
    size_t C = (size_t)h.count * h.size, row = 3 * C, head = blockIdx.y, b = blockIdx.z;
    size_t at = b * h.T * row + head * h.size, by_head = (b * h.count + head) * h.T;
    const bf16 *queries = qkv + at, *gradients = dout + b * h.T * C + head * h.size;
    const int32_t *begins = starts ? starts + b * h.T : NULL;
    const float once[2] = { 1, 1 }, scaled[2] = { h.scale, h.scale };
    own_rows<SIZE, KEPT> of_k, of_v;
    float s[1][COUNT][4], dp[1][COUNT][4], dk[1][SIZE / NARROW][4] = {}, dv[1][SIZE / NARROW][4] = {};

    of_k.at = k + of_warp * (SIZE + PAD);
    of_v.at = v + of_warp * (SIZE + PAD);
    load_two<SIZE>(k, qkv + at + C, row, qkv + at + 2 * C, row, first, h);
    load_two<SIZE>(tiles, queries, row, gradients, C, first, h);
    note_queries(&notes[0], lse + by_head, delta + by_head, begins, first, h);
    copies_group();
    for (int query = first, stage = 0; query < h.T; query += TILE, stage ^= 1) {
        const bf16 *q = tiles + stage * 2 * TILE_REALS(SIZE), *g = q + TILE_REALS(SIZE);
        if (query + TILE < h.T) {
            load_two<SIZE>(tiles + (stage ^ 1) * 2 * TILE_REALS(SIZE), queries, row, gradients, C, query + TILE, h);
            note_queries(&notes[stage ^ 1], lse + by_head, delta + by_head, begins, query + TILE, h);
        }
        copies_group();
        copies_wait<1>();
        __syncthreads();
        if (notes[stage].begin[0] >= first + TILE)
            break; // documents follow one another: none of these keys is seen any more
        if (query == first) {
            begin_rows(&of_k);
            begin_rows(&of_v);
        }
        for (int part = 0; part < TILES; part += COUNT) {
            const size_t rows = (size_t)part * NARROW * (SIZE + PAD);
            multiply_own<SIZE, COUNT>(s, of_k, q + rows);
            multiply_own<SIZE, COUNT>(dp, of_v, g + rows);
            weigh_queries<COUNT>(s[0], dp[0], notes[stage], query, part, key, h);
            add_weighted<SIZE, COUNT, 1>(dv, s, g + rows);
            add_weighted<SIZE, COUNT, 1>(dk, dp, q + rows);
        }
        __syncthreads();
    }
    copies_wait<0>();
    write_rows<SIZE>(dqkv + at + C, row, key, h, dk[0], scaled);
    write_rows<SIZE>(dqkv + at + 2 * C, row, key, h, dv[0], once);
}

template <int SIZE, bool KEPT>
static void launch(struct device *d, bf16 *dqkv, const bf16 *dout, const bf16 *qkv, const float *lse,
                   const float *delta, const int32_t *starts, const struct attention_shape *s)
{
    const heads h = heads_of(s, dqkv, dout, qkv);
    const dim3 blocks(BLOCKS(s->T, TILE), (unsigned)s->heads, (unsigned)s->B);
    const size_t bytes = 6 * TILE_REALS(SIZE) * sizeof(bf16) + 2 * sizeof(query_notes);
    auto dq = attention_bf16_dq_kernel<SIZE, KEPT>;
    auto dkv = attention_bf16_dkv_kernel<SIZE, KEPT>;

    cudaFuncSetAttribute(dq, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes);
    cudaFuncSetAttribute(dkv, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes);
    dq<<<blocks, THREADS, bytes, device_stream(d)>>>(dqkv, dout, qkv, lse, delta, starts, h);
    device_launched(d, "attention_backward, bf16");
    dkv<<<blocks, THREADS, bytes, device_stream(d)>>>(dqkv, dout, qkv, lse, delta, starts, h);
    device_launched(d, "attention_backward, bf16");
}

void cuda_attention_bf16_backward(struct device *d, real *dqkv, const real *dout, const real *qkv, const float *lse,
                                  const float *delta, const int32_t *starts, const struct attention_shape *s)
{
    if (cuda_attention_wgmma_backward(d, dqkv, dout, qkv, lse, delta, starts, s))
        return;
    if (s->size > 64)
        launch<128, false>(d, (bf16 *)dqkv, (const bf16 *)dout, (const bf16 *)qkv, lse, delta, starts, s);
    else
        launch<64, true>(d, (bf16 *)dqkv, (const bf16 *)dout, (const bf16 *)qkv, lse, delta, starts, s);
}
