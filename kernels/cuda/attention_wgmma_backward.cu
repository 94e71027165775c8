/*
 * The backward pass of attention_wgmma.cu for heads of up to 64, without atomics: as in attention_bf16_backward.cu one
 * kernel goes through the keys of 128 queries for dq, another through the queries of 128 keys for dk and dv. Of the
 * products of a tile the next is asked for before the one before it is done, so that exponentials are computed beside
 * them.
 *
 * Floor: operations, 7 B heads T^2 size (5 with atomics), at the tensor cores' rate. A group's tile takes them 384
 * clocks in the first kernel, 512 in the second, and its exponentials 256.
 */
#include "kernels/cuda/attention_bf16.h"
#include "kernels/cuda/attention_wgmma.h"

typedef block_memory<1, 2> memory;

/* ---- dq: rows are queries, columns keys ---- */

/* The sum for dq, of q, dout and a stage's k and v. */
static __device__ inline void use_keys(float dq[TILES][4], const tile<1> &q, const tile<1> &g, const tile<1> stage[2],
                                       const of_queries &o, const heads &h, int key, int query, bool all_seen)
{
    float s[TILES][4], dp[TILES][4];
    uint32_t ds[STEPS][4];

    multiply_rows<1>(s, q, stage[0]);
    wgmma_group();
    multiply_rows<1>(dp, g, stage[1]);
    wgmma_group();
    wgmma_wait<1>();
    wgmma_settled<TILES>(s);
    if (!all_seen)
        hide_keys(s, key, query, o.begin);
#pragma unroll
    for (int n = 0; n < TILES; n++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            s[n][i] = power_of_two(fmaf(s[n][i], h.log2_scale, -o.lse[i / 2]));
    wgmma_wait<0>();
    wgmma_settled<TILES>(dp);
#pragma unroll
    for (int n = 0; n < TILES; n++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            s[n][i] *= dp[n][i] - o.delta[i / 2];
    lefts_of(ds, s);
    add_weighted<1>(dq, ds, stage[0]);
    wgmma_group();
    wgmma_wait<0>();
    wgmma_settled<TILES>(dq);
}

static __global__ void __launch_bounds__(THREADS, 1)
    attention_wgmma_dq_kernel(bf16 *dqkv, const __grid_constant__ CUtensorMap qkv,
                              const __grid_constant__ CUtensorMap dout, const float *lse, const float *delta,
                              const int32_t *starts, heads h)
{
    extern __shared__ float4 shared[];
    memory *m = begin_block<memory>(shared);
    const int first = (int)(gridDim.x - 1 - blockIdx.x) * ROWS;
    const int group = (int)threadIdx.x / GROUP, of_group = first + group * TILE;
    const int of_warp = of_group + (int)threadIdx.x % GROUP / WARP * WARP_ROWS, query = of_warp + own_row();
    const int head = (int)blockIdx.y, b = (int)blockIdx.z;
    const size_t row = 3 * (size_t)h.count * h.size, by_head = ((size_t)b * h.count + head) * h.T;
    const int32_t *begins = starts ? starts + (size_t)b * h.T : NULL;
    const int from = begins ? begins[first] / TILE * TILE : 0, end = min(first + ROWS, h.T);
    const sources own = { { &qkv, &dout }, { head, head }, b };
    const sources of_kv = { { &qkv, &qkv }, { h.count + head, 2 * h.count + head }, b };
    const float factor[2] = { h.scale, h.scale };
    float dq[TILES][4] = {};
    of_queries o;

    look_up(&o, lse + by_head, delta + by_head, begins, query, h);
    go_through(m, own, first, of_kv, from, [=](int key) { return key < end; }, [&](const tile<1> stage[2], int key) {
        if (key < of_group + TILE) // else nothing of it is seen by this group
            use_keys(dq, m->own[0][group], m->own[1][group], stage, o, h, key, query,
                     !begins && key + TILE <= of_warp + 1);
    });
    write_rows<PANEL>(dqkv + (size_t)b * h.T * row + (size_t)head * h.size, row, query, h, dq, factor);
}

/* ---- dk and dv: rows are keys, columns queries ---- */

/* What the weights of a tile of queries need beside their rows: a lane has of two queries, and puts it where its warp
 * can read it. */
struct query_notes {
    float2 lse[TILE / 2], delta[TILE / 2];
    int2 begin[TILE / 2];
};
struct lane_notes {
    float2 lse, delta;
    int2 begin;
};

static __device__ inline lane_notes note_queries(const float *lse, const float *delta, const int32_t *begins, int first,
                                                 const heads &h)
{
    const int t = first + (int)threadIdx.x % WARP * 2;
    lane_notes l = {};

    if (t < h.T) {
        l.lse.x = lse[t] * LOG2_E;
        l.delta.x = delta[t];
        l.begin.x = begins ? begins[t] : 0;
    }
    if (t + 1 < h.T) {
        l.lse.y = lse[t + 1] * LOG2_E;
        l.delta.y = delta[t + 1];
        l.begin.y = begins ? begins[t + 1] : 0;
    }
    return l;
}

static __device__ inline void put_notes(query_notes *of_warp, const lane_notes &l)
{
    const int lane = (int)threadIdx.x % WARP;

    __syncwarp();
    of_warp->lse[lane] = l.lse;
    of_warp->delta[lane] = l.delta;
    of_warp->begin[lane] = l.begin;
    __syncwarp();
}

/* Scores of queries, columns from `first` on, that do not see the keys, rows `key` and key + 8. */
static __device__ inline void hide_from_queries(float s[TILES][4], const query_notes &notes, int first, int key)
{
#pragma unroll
    for (int n = 0; n < TILES; n++) {
        const int2 begin = notes.begin[(n * NARROW + own_column()) / 2];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int u = key + i / 2 * 8;
            if (u > first + n * NARROW + own_column() + i % 2 || u < (i % 2 ? begin.y : begin.x))
                s[n][i] = -INFINITY;
        }
    }
}

/* The sums for dk and dv, of k, v and a stage's q and dout. Queries beyond the sequence are rows of zeros, lse 0 and
 * delta 0: they add nothing. */
static __device__ inline void use_queries(float dk[TILES][4], float dv[TILES][4], const tile<1> &k, const tile<1> &v,
                                          const tile<1> stage[2], const query_notes &notes, const heads &h, int query,
                                          int key, bool all_seen)
{
    float s[TILES][4], dp[TILES][4];
    uint32_t p[STEPS][4], ds[STEPS][4];

    multiply_rows<1>(s, k, stage[0]);
    wgmma_group();
    multiply_rows<1>(dp, v, stage[1]);
    wgmma_group();
    wgmma_wait<1>();
    wgmma_settled<TILES>(s);
    if (!all_seen)
        hide_from_queries(s, notes, query, key);
#pragma unroll
    for (int n = 0; n < TILES; n++) {
        const float2 lse = notes.lse[(n * NARROW + own_column()) / 2];
#pragma unroll
        for (int i = 0; i < 4; i++)
            s[n][i] = power_of_two(fmaf(s[n][i], h.log2_scale, i % 2 ? -lse.y : -lse.x));
    }
    lefts_of(p, s);
    add_weighted<1>(dv, p, stage[1]);
    wgmma_group();
    wgmma_wait<1>();
    wgmma_settled<TILES>(dp);
#pragma unroll
    for (int n = 0; n < TILES; n++) {
        const float2 delta = notes.delta[(n * NARROW + own_column()) / 2];
#pragma unroll
        for (int i = 0; i < 4; i++)
            s[n][i] *= dp[n][i] - (i % 2 ? delta.y : delta.x);
    }
    lefts_of(ds, s);
    add_weighted<1>(dk, ds, stage[0]);
    wgmma_group();
    wgmma_wait<0>();
    wgmma_settled<TILES>(dv);
    wgmma_settled<TILES>(dk);
}

/* Whether there are queries from t on, of which some see keys before `end`: documents follow one another. */
static __device__ inline bool sees(const int32_t *begins, int t, int end, const heads &h)
{
    return t < h.T && (!begins || begins[t] < end);
}

static __global__ void __launch_bounds__(THREADS, 1)
    attention_wgmma_dkv_kernel(bf16 *dqkv, const __grid_constant__ CUtensorMap qkv,
                               const __grid_constant__ CUtensorMap dout, const float *lse, const float *delta,
                               const int32_t *starts, heads h)
{
    extern __shared__ float4 shared[];
    __shared__ query_notes notes[THREADS / WARP];
    memory *m = begin_block<memory>(shared);
    query_notes *of_own_warp = &notes[threadIdx.x / WARP];
    const int first = (int)blockIdx.x * ROWS, end = first + ROWS;
    const int group = (int)threadIdx.x / GROUP, of_group = first + group * TILE;
    const int of_warp = of_group + (int)threadIdx.x % GROUP / WARP * WARP_ROWS, key = of_warp + own_row();
    const int head = (int)blockIdx.y, b = (int)blockIdx.z;
    const size_t C = (size_t)h.count * h.size, row = 3 * C, by_head = ((size_t)b * h.count + head) * h.T;
    const int32_t *begins = starts ? starts + (size_t)b * h.T : NULL;
    const sources own = { { &qkv, &qkv }, { h.count + head, 2 * h.count + head }, b };
    const sources of_queries = { { &qkv, &dout }, { head, head }, b };
    const float once[2] = { 1, 1 }, scaled[2] = { h.scale, h.scale };
    float dk[TILES][4] = {}, dv[TILES][4] = {};
    lane_notes next = note_queries(lse + by_head, delta + by_head, begins, first, h);

    go_through(m, own, first, of_queries, first, [=](int query) { return sees(begins, query, end, h); },
               [&](const tile<1> stage[2], int query) {
                   put_notes(of_own_warp, next);
                   next = note_queries(lse + by_head, delta + by_head, begins, query + TILE, h);
                   if (query >= of_group) // else none of them sees any of this group's keys
                       use_queries(dk, dv, m->own[0][group], m->own[1][group], stage, *of_own_warp, h, query, key,
                                   !begins && query >= of_warp + WARP_ROWS - 1);
               });
    bf16 *to = dqkv + (size_t)b * h.T * row + (size_t)head * h.size;
    write_rows<PANEL>(to + C, row, key, h, dk, scaled);
    write_rows<PANEL>(to + 2 * C, row, key, h, dv, once);
}

bool cuda_attention_wgmma_backward(struct device *d, real *dqkv, const real *dout, const real *qkv, const float *lse,
                                   const float *delta, const int32_t *starts, const struct attention_shape *s)
{
    const heads h = heads_of(s, dqkv, dout, qkv);
    const dim3 blocks(BLOCKS(s->T, ROWS), (unsigned)s->heads, (unsigned)s->B);
    const size_t bytes = block_bytes<memory>();
    CUtensorMap of_qkv, of_dout;

    if (!h.chunks || s->size > PANEL || !cuda_tensor_map(d, &of_qkv, qkv, s->B, s->T, 3 * s->heads, s->size) ||
        !cuda_tensor_map(d, &of_dout, dout, s->B, s->T, s->heads, s->size))
        return false;
    cudaFuncSetAttribute(attention_wgmma_dq_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes);
    cudaFuncSetAttribute(attention_wgmma_dkv_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes);
    attention_wgmma_dq_kernel<<<blocks, THREADS, bytes, device_stream(d)>>>((bf16 *)dqkv, of_qkv, of_dout, lse, delta,
                                                                           starts, h);
    device_launched(d, "attention_backward, wgmma");
    attention_wgmma_dkv_kernel<<<blocks, THREADS, bytes, device_stream(d)>>>((bf16 *)dqkv, of_qkv, of_dout, lse, delta,
                                                                            starts, h);
    device_launched(d, "attention_backward, wgmma");
    return true;
}
