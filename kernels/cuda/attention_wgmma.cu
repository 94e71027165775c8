/*
 * Causal attention of bf16 by wgmma and TMA, for sm_90a: attention_bf16.cu's formulas. A block has 128 queries and goes
 * through the keys in tiles of 64 with a running maximum; two blocks of narrow heads share a multiprocessor, so four
 * warpgroups take turns at its tensor cores and at its exponentials.
 *
 * Floor: operations, 2 B heads T^2 size, at the tensor cores' rate. A group's tile of a narrow head takes them 256
 * clocks, and as long the 4096 exponentials of that tile; K and V come once for 128 queries: 32 bytes a clock at most.
 */
#include "kernels/cuda/attention_bf16.h"
#include "kernels/cuda/attention_wgmma.h"

/* What a lane has of its queries' softmax so far. */
template <int PANELS> struct running {
    float sum[PANELS * TILES][4], most[2], total[2];
    int begin[2]; // of the query's document
};

template <int PANELS>
static __device__ inline void use_tile(running<PANELS> *u, const tile<PANELS> &q, const tile<PANELS> stage[2],
                                       const heads &h, int key, int query, bool all_seen)
{
    float s[TILES][4], shrink[2];
    uint32_t weights[STEPS][4];

    multiply_rows<PANELS>(s, q, stage[0]);
    wgmma_group();
    wgmma_wait<0>();
    wgmma_settled<TILES>(s);
    if (!all_seen)
        hide_keys(s, key, query, u->begin);
    soften(s, u->most, u->total, shrink, h);
#pragma unroll
    for (int n = 0; n < PANELS * TILES; n++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            u->sum[n][i] *= shrink[i / 2];
    lefts_of(weights, s);
    add_weighted<PANELS>(u->sum, weights, stage[1]);
    wgmma_group();
    wgmma_wait<0>();
    wgmma_settled<PANELS * TILES>(u->sum);
}

template <int PANELS>
static __device__ inline void begin_queries(running<PANELS> *u, const int32_t *begins, int query, const heads &h)
{
#pragma unroll
    for (int r = 0; r < 2; r++) {
        int t = query + 8 * r;
        u->begin[r] = begins && t < h.T ? begins[t] : 0;
        u->most[r] = -INFINITY;
        u->total[r] = 0;
    }
#pragma unroll
    for (int n = 0; n < PANELS * TILES; n++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            u->sum[n][i] = 0;
}

template <int PANELS>
static __global__ void __launch_bounds__(THREADS, PANELS > 1 ? 1 : 2)
    attention_wgmma_kernel(bf16 *out, float *lse, const __grid_constant__ CUtensorMap qkv, const int32_t *starts,
                           heads h)
{
    typedef block_memory<PANELS, 1> memory;
    extern __shared__ float4 shared[];
    memory *m = begin_block<memory>(shared);
    const int first = (int)(gridDim.x - 1 - blockIdx.x) * ROWS; // the longest rows begin
    const int group = (int)threadIdx.x / GROUP, of_group = first + group * TILE;
    const int of_warp = of_group + (int)threadIdx.x % GROUP / WARP * WARP_ROWS, query = of_warp + own_row();
    const int head = (int)blockIdx.y, b = (int)blockIdx.z, C = h.count * h.size;
    const int32_t *begins = starts ? starts + (size_t)b * h.T : NULL;
    const int from = begins ? begins[first] / TILE * TILE : 0, end = min(first + ROWS, h.T);
    const sources of_q = { { &qkv }, { head }, b };
    const sources of_kv = { { &qkv, &qkv }, { h.count + head, 2 * h.count + head }, b };
    running<PANELS> u;

    begin_queries(&u, begins, query, h);
    go_through(m, of_q, first, of_kv, from, [=](int key) { return key < end; },
               [&](const tile<PANELS> stage[2], int key) {
                   if (key < of_group + TILE) // else nothing of it is seen by this group
                       use_tile<PANELS>(&u, m->own[0][group], stage, h, key, query,
                                        !begins && key + TILE <= of_warp + 1);
               });
    float factor[2];
#pragma unroll
    for (int r = 0; r < 2; r++) {
        int t = query + 8 * r;
        factor[r] = 1 / u.total[r];
        if (threadIdx.x % 4 == 0 && t < h.T)
            lse[((size_t)b * h.count + head) * h.T + t] = u.most[r] * LN_2 + logf(u.total[r]);
    }
    write_rows<PANELS * PANEL>(out + (size_t)b * h.T * C + (size_t)head * h.size, C, query, h, u.sum, factor);
}

template <int PANELS>
static void launch(struct device *d, bf16 *out, float *lse, const CUtensorMap &qkv, const int32_t *starts,
                   const struct attention_shape *s, const heads &h)
{
    const dim3 blocks(BLOCKS(s->T, ROWS), (unsigned)s->heads, (unsigned)s->B);
    const size_t bytes = block_bytes<block_memory<PANELS, 1>>();
    auto kernel = attention_wgmma_kernel<PANELS>;

    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes);
    kernel<<<blocks, THREADS, bytes, device_stream(d)>>>(out, lse, qkv, starts, h);
    device_launched(d, "attention, wgmma");
}

bool cuda_attention_wgmma(struct device *d, real *out, float *lse, const real *qkv, const int32_t *starts,
                          const struct attention_shape *s)
{
    const heads h = heads_of(s, out, qkv, NULL);
    CUtensorMap map;

    if (!h.chunks || !cuda_tensor_map(d, &map, qkv, s->B, s->T, 3 * s->heads, s->size))
        return false;
    if (s->size > PANEL)
        launch<2>(d, (bf16 *)out, lse, map, starts, s, h);
    else
        launch<1>(d, (bf16 *)out, lse, map, starts, s, h);
    return true;
}
