/*
 * Causal attention on tensor cores, forward and backward, of bf16 in memory: sums and softmax are fp32. Tiles and order
 * of sums as in attention.cu and attention_backward.cu; no atomics.
 *
 * A block is four warps; each has 16 of the 64 rows of a product, as mma.sync.m16n8k16 takes them. Of its 16 x 8
 * result lane 4 g + t has columns 2 t and 2 t + 1 of rows g and g + 8 (PTX ISA, "Matrix Fragments for
 * mma.m16n8k16"); two such results side by side are, rounded, the left operand of the next product, so weights
 * never leave the registers. Operands come from shared memory by ldmatrix, four 8 x 8 matrices at a time, turned where
 * the sum runs down a tile's columns. Rows are 8 numbers longer than they need be: the eight rows of a matrix then meet
 * all 32 banks.
 *
 * Weights are powers of two: e^(scale s) = 2^(scale s / ln 2), which is what the hardware computes.
 *
 * Floor: operations, as for fp32, at the tensor cores' rate. A warp's 16 rows are little work for what it loads, and no
 * copies are asynchronous yet: about a half of that rate is the most to expect of A100, a third of H100, whose wgmma
 * this does not use.
 */
#include "kernels/cuda/attention_bf16.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/real.h"

enum { TILE = 64, THREADS = 128, WARP_ROWS = 16, NARROW = 8 /* columns of one product */, PAD = 8 };
enum { TILES = TILE / NARROW };
#define LOG2_E 1.4426950408889634f
#define LN_2 0.6931471805599453f

struct heads {
    int T, count, size;
    float scale; // 1 / sqrt(size)
    bool chunks; // heads begin and end with a whole chunk
};

/* Which rows and columns of a result this lane has. */
static __device__ inline int own_row(void)
{
    return (int)threadIdx.x / WARP * WARP_ROWS + (int)threadIdx.x % WARP / 4;
}

static __device__ inline int own_column(void)
{
    return (int)threadIdx.x % 4 * 2;
}

/* ---- tiles ---- */

/* TILE tokens from `first` on of one head, (TILE, SIZE + PAD); zeros beyond the sequence and the head. */
template <int SIZE>
static __device__ inline void load_tile(bf16 *to, const bf16 *from, size_t row, int first, const heads &h)
{
    constexpr int EACH = CHUNK(bf16), ACROSS = SIZE / EACH;

#pragma unroll 4
    for (int i = (int)threadIdx.x; i < TILE * ACROSS; i += THREADS) {
        int r = i / ACROSS, c = i % ACROSS * EACH;
        int there = first + r < h.T ? h.size - c : 0; // of this chunk, or more
        const bf16 *x = from + (size_t)(first + r) * row + c;
        uint4 bits = {};
        if (h.chunks && there > 0)
            bits = *(const uint4 *)x;
        else if (there > 0) {
            bf16 each[EACH];
#pragma unroll
            for (int j = 0; j < EACH; j++)
                each[j] = j < there ? x[j] : bf16(0.0f);
            memcpy(&bits, each, sizeof(bits));
        }
        *(uint4 *)(to + r * (SIZE + PAD) + c) = bits;
    }
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

/* out = the warp's 16 rows of a times 8 COUNT rows of b, both SIZE + PAD apart */
template <int SIZE, int COUNT>
static __device__ inline void multiply_rows(float out[COUNT][4], const bf16 *a, const bf16 *b)
{
    const int lane = (int)threadIdx.x % WARP, in_matrix = lane % 8, matrix = lane / 8;
    const bf16 *left_at = a + ((int)threadIdx.x / WARP * WARP_ROWS + matrix % 2 * 8 + in_matrix) * (SIZE + PAD) +
                          matrix / 2 * 8;
    const bf16 *right_at = b + (matrix / 2 * 8 + in_matrix) * (SIZE + PAD) + matrix % 2 * 8;

#pragma unroll
    for (int n = 0; n < COUNT; n++)
        out[n][0] = out[n][1] = out[n][2] = out[n][3] = 0;
#pragma unroll
    for (int k = 0; k < SIZE; k += 16) {
        uint32_t left[4], right[4];
        load_matrices(left, left_at + k);
#pragma unroll
        for (int n = 0; n < COUNT; n += 2) {
            load_matrices(right, right_at + n * NARROW * (SIZE + PAD) + k);
            multiply(out[n], left, right[0], right[1]);
            multiply(out[n + 1], left, right[2], right[3]);
        }
    }
}

/* sum += weights (16, 8 COUNT) times as many rows of a tile */
template <int SIZE, int COUNT>
static __device__ inline void add_weighted(float sum[SIZE / NARROW][4], const float weights[COUNT][4],
                                           const bf16 *tile)
{
    const int lane = (int)threadIdx.x % WARP, in_matrix = lane % 8, matrix = lane / 8;
    const bf16 *right_at = tile + (matrix % 2 * 8 + in_matrix) * (SIZE + PAD) + matrix / 2 * 8;

#pragma unroll
    for (int k = 0; k < COUNT; k += 2) {
        const float *w = weights[k], *next = weights[k + 1];
        const uint32_t left[4] = { pair_of(w[0], w[1]), pair_of(w[2], w[3]), pair_of(next[0], next[1]),
                                   pair_of(next[2], next[3]) };
        uint32_t right[4];
#pragma unroll
        for (int n = 0; n < SIZE / NARROW; n += 2) {
            load_turned(right, right_at + k * NARROW * (SIZE + PAD) + n * NARROW);
            multiply(sum[n], left, right[0], right[1]);
            multiply(sum[n + 1], left, right[2], right[3]);
        }
    }
}

/* To token first + own_row() (+ 8) of one head, times factor[0] (and [1]). */
template <int SIZE>
static __device__ inline void write_rows(bf16 *to, size_t row, int first, const heads &h,
                                         const float sum[SIZE / NARROW][4], const float factor[2])
{
#pragma unroll
    for (int n = 0; n < SIZE / NARROW; n++)
#pragma unroll
 #pragma unroll
       for (int r = 0; r < 2; r++) {
            int t = first + own_row() + 8 * r, c = n * NARROW + own_column();
            bf16 *at = to + (size_t)t * row + c;
            const float low = sum[n][2 * r] * factor[r], high = sum[n][2 * r + 1] * factor[r];
            if (t >= h.T || c >= h.size)
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

/* ---- forward ---- */

/* One tile of keys from `first` on: s becomes its weights; shrink, by how much those before weigh less; most is the
 * largest score's power of two. Row i / 2 of this lane is query + 8 (i / 2). */
static __device__ inline void soften(float s[TILES][4], float most[2], float total[2], float shrink[2],
                                     const heads &h, int first, int query, const int begin[2])
{
    float base[2], sum[2] = { 0, 0 };

#pragma unroll
    for (int r = 0; r < 2; r++) {
        float largest = most[r];
#pragma unroll
        for (int n = 0; n < TILES; n++)
#pragma unroll
            for (int i = 2 * r; i < 2 * r + 2; i++) {
                int key = first + n * NARROW + own_column() + i % 2;
                bool seen = key <= query + 8 * r && key >= begin[r];
                s[n][i] = seen ? s[n][i] * (h.scale * LOG2_E) : -INFINITY;
                largest = fmaxf(largest, s[n][i]);
            }
        for (int other = 2; other > 0; other /= 2)
            largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, other));
        base[r] = largest == -INFINITY ? 0 : largest; // no key so far: all weights are 0
        shrink[r] = exp2f(most[r] - base[r]);
        most[r] = largest;
    }
#pragma unroll
    for (int n = 0; n < TILES; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            s[n][i] = exp2f(s[n][i] - base[i / 2]);
            sum[i / 2] += s[n][i];
        }
#pragma unroll
    for (int r = 0; r < 2; r++) {
        for (int other = 2; other > 0; other /= 2)
            sum[r] += __shfl_xor_sync(0xffffffffu, sum[r], other);
        total[r] = total[r] * shrink[r] + sum[r];
    }
}

template <int SIZE>
static __global__ void __launch_bounds__(THREADS)
    attention_bf16_kernel(bf16 *out, float *lse, const bf16 *qkv, const int32_t *starts, heads h)
{
    extern __shared__ float4 shared[];
    bf16 *q = (bf16 *)shared, *k = q + TILE * (SIZE + PAD), *v = k + TILE * (SIZE + PAD);
    int first = (int)(gridDim.x - 1 - blockIdx.x) * TILE, query = first + own_row();
    size_t C = (size_t)h.count * h.size, row = 3 * C, head = blockIdx.y, b = blockIdx.z;
    const bf16 *from = qkv + b * h.T * row + head * h.size;
    const int32_t *begins = starts ? starts + b * h.T : NULL;
    float s[TILES][4], sum[SIZE / NARROW][4] = {}, most[2] = { -INFINITY, -INFINITY }, total[2] = {}, factor[2];
    int begin[2];

#pragma unroll
    for (int r = 0; r < 2; r++)
        begin[r] = begins && query + 8 * r < h.T ? begins[query + 8 * r] : 0;
    load_tile<SIZE>(q, from, row, first, h);
    for (int key = begins ? begins[first] / TILE * TILE : 0; key <= first; key += TILE) {
        __syncthreads(); // the tile before has been used
        load_tile<SIZE>(k, from + C, row, key, h);
        load_tile<SIZE>(v, from + 2 * C, row, key, h);
        __syncthreads();
        multiply_rows<SIZE, TILES>(s, q, k);
        soften(s, most, total, factor, h, key, query, begin);
#pragma unroll
        for (int n = 0; n < SIZE / NARROW; n++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                sum[n][i] *= factor[i / 2];
        add_weighted<SIZE, TILES>(sum, s, v);
    }
#pragma unroll
    for (int r = 0; r < 2; r++) {
        factor[r] = 1 / total[r];
        if (threadIdx.x % 4 == 0 && query + 8 * r < h.T)
            lse[(b * h.count + head) * h.T + query + 8 * r] = most[r] * LN_2 + logf(total[r]);
    }
    write_rows<SIZE>(out + b * h.T * C + head * h.size, C, first, h, sum, factor);
}

/* ---- backward ---- */

template <int SIZE>
static __global__ void __launch_bounds__(THREADS, 2)
    attention_bf16_dq_kernel(bf16 *dqkv, const bf16 *dout, const bf16 *qkv, const float *lse, const float *delta,
                             const int32_t *starts, heads h)
{
    extern __shared__ float4 shared[];
    bf16 *q = (bf16 *)shared, *g = q + TILE * (SIZE + PAD), *k = g + TILE * (SIZE + PAD),
         *v = k + TILE * (SIZE + PAD);
    int first = (int)(gridDim.x - 1 - blockIdx.x) * TILE, query = first + own_row();
    size_t C = (size_t)h.count * h.size, row = 3 * C, head = blockIdx.y, b = blockIdx.z;
    size_t at = b * h.T * row + head * h.size, by_head = (b * h.count + head) * h.T;
    const int32_t *begins = starts ? starts + b * h.T : NULL;
    const float factor[2] = { h.scale, h.scale };
    float s[TILES][4], dp[TILES][4], sum[SIZE / NARROW][4] = {}, own_lse[2], own_delta[2];
    int begin[2];

#pragma unroll
    for (int r = 0; r < 2; r++) {
        bool there = query + 8 * r < h.T;
        own_lse[r] = there ? lse[by_head + query + 8 * r] * LOG2_E : 0;
        own_delta[r] = there ? delta[by_head + query + 8 * r] : 0;
        begin[r] = begins && there ? begins[query + 8 * r] : 0;
    }
    load_tile<SIZE>(q, qkv + at, row, first, h);
    load_tile<SIZE>(g, dout + b * h.T * C + head * h.size, C, first, h);
    for (int key = begins ? begins[first] / TILE * TILE : 0; key <= first; key += TILE) {
        __syncthreads();
        load_tile<SIZE>(k, qkv + at + C, row, key, h);
        load_tile<SIZE>(v, qkv + at + 2 * C, row, key, h);
        __syncthreads();
        multiply_rows<SIZE, TILES>(s, q, k);
        multiply_rows<SIZE, TILES>(dp, g, v);
#pragma unroll
        for (int n = 0; n < TILES; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                int u = key + n * NARROW + own_column() + i % 2, t = query + i / 2 * 8;
                bool seen = u <= t && u >= begin[i / 2] && t < h.T;
                float p = seen ? exp2f(s[n][i] * (h.scale * LOG2_E) - own_lse[i / 2]) : 0;
                s[n][i] = p * (dp[n][i] - own_delta[i / 2]);
            }
        add_weighted<SIZE, TILES>(sum, s, k);
    }
    write_rows<SIZE>(dqkv + at, row, first, h, sum, factor);
}

/* Rows of the products are keys here, columns queries. */
template <int SIZE>
static __global__ void __launch_bounds__(THREADS)
    attention_bf16_dkv_kernel(bf16 *dqkv, const bf16 *dout, const bf16 *qkv, const float *lse, const float *delta,
                              const int32_t *starts, heads h)
{
    extern __shared__ float4 shared[];
    bf16 *q = (bf16 *)shared, *g = q + TILE * (SIZE + PAD), *k = g + TILE * (SIZE + PAD),
         *v = k + TILE * (SIZE + PAD);
    int first = (int)blockIdx.x * TILE, key = first + own_row();
    size_t C = (size_t)h.count * h.size, row = 3 * C, head = blockIdx.y, b = blockIdx.z;
    size_t at = b * h.T * row + head * h.size, by_head = (b * h.count + head) * h.T;
    const bf16 *of_out = dout + b * h.T * C + head * h.size;
    const int32_t *begins = starts ? starts + b * h.T : NULL;
    const float once[2] = { 1, 1 }, scaled[2] = { h.scale, h.scale };
    constexpr int COUNT = SIZE > 64 ? TILES / 2 : TILES; // of wide heads half a tile at a time: registers
    float s[COUNT][4], dp[COUNT][4], dk[SIZE / NARROW][4] = {}, dv[SIZE / NARROW][4] = {};

    load_tile<SIZE>(k, qkv + at + C, row, first, h);
    load_tile<SIZE>(v, qkv + at + 2 * C, row, first, h);
    for (int query = first; query < h.T; query += TILE) {
        if (begins && begins[query] >= first + TILE)
            break; // documents follow one another: none of these keys is seen any more
        __syncthreads();
        load_tile<SIZE>(q, qkv + at, row, query, h);
        load_tile<SIZE>(g, of_out, C, query, h);
        __syncthreads();
        for (int part = 0; part < TILES; part += COUNT) {
            multiply_rows<SIZE, COUNT>(s, k, q + part * NARROW * (SIZE + PAD));
            multiply_rows<SIZE, COUNT>(dp, v, g + part * NARROW * (SIZE + PAD));
#pragma unroll
            for (int n = 0; n < COUNT; n++)
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    int t = query + (part + n) * NARROW + own_column() + i % 2, u = key + i / 2 * 8;
                    bool there = t < h.T, seen = there && u <= t && (!begins || u >= begins[t]);
                    float of_t = there ? lse[by_head + t] * LOG2_E : 0, less = there ? delta[by_head + t] : 0;
                    s[n][i] = seen ? exp2f(s[n][i] * (h.scale * LOG2_E) - of_t) : 0;
                    dp[n][i] = s[n][i] * (dp[n][i] - less);
                }
            add_weighted<SIZE, COUNT>(dv, s, g + part * NARROW * (SIZE + PAD));
            add_weighted<SIZE, COUNT>(dk, dp, q + part * NARROW * (SIZE + PAD));
        }
    }
    write_rows<SIZE>(dqkv + at + C, row, first, h, dk, scaled);
    write_rows<SIZE>(dqkv + at + 2 * C, row, first, h, dv, once);
}

/* ---- launches ---- */

static heads heads_of(const struct attention_shape *s, const real *qkv, const real *out)
{
    const size_t chunk = CHUNK(bf16);
    bool chunks = s->size % chunk == 0 && (uintptr_t)qkv % CHUNK_BYTES == 0 && (uintptr_t)out % CHUNK_BYTES == 0;
    return heads{ (int)s->T, (int)s->heads, (int)s->size, 1.0f / sqrtf((float)s->size), chunks };
}

static size_t tile_bytes(int size, int tiles)
{
    return sizeof(bf16) * (size_t)tiles * TILE * (size + PAD);
}

void cuda_attention_bf16(struct device *d, real *out, float *lse, const real *qkv, const int32_t *starts,
                         const struct attention_shape *s)
{
    const heads h = heads_of(s, qkv, out);
    const dim3 blocks(BLOCKS(s->T, TILE), (unsigned)s->heads, (unsigned)s->B);
    bool wide = s->size > 64;
    size_t bytes = tile_bytes(wide ? 128 : 64, 3);
    auto kernel = wide ? attention_bf16_kernel<128> : attention_bf16_kernel<64>;

    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes);
    kernel<<<blocks, THREADS, bytes, device_stream(d)>>>((bf16 *)out, lse, (const bf16 *)qkv, starts, h);
    device_launched(d, "attention, bf16");
}

void cuda_attention_bf16_backward(struct device *d, real *dqkv, const real *dout, const real *qkv, const float *lse,
                                  const float *delta, const int32_t *starts, const struct attention_shape *s)
{
    heads h = heads_of(s, qkv, dout);
    const dim3 blocks(BLOCKS(s->T, TILE), (unsigned)s->heads, (unsigned)s->B);
    bool wide = s->size > 64;
    size_t bytes = tile_bytes(wide ? 128 : 64, 4);
    auto dq = wide ? attention_bf16_dq_kernel<128> : attention_bf16_dq_kernel<64>;
    auto dkv = wide ? attention_bf16_dkv_kernel<128> : attention_bf16_dkv_kernel<64>;
    bf16 *to = (bf16 *)dqkv;
    const bf16 *of_out = (const bf16 *)dout, *from = (const bf16 *)qkv;

    h.chunks = h.chunks && (uintptr_t)dqkv % CHUNK_BYTES == 0;
    cudaFuncSetAttribute(dq, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes);
    cudaFuncSetAttribute(dkv, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes);
    dq<<<blocks, THREADS, bytes, device_stream(d)>>>(to, of_out, from, lse, delta, starts, h);
    device_launched(d, "attention_backward, bf16");
    dkv<<<blocks, THREADS, bytes, device_stream(d)>>>(to, of_out, from, lse, delta, starts, h);
    device_launched(d, "attention_backward, bf16");
}
