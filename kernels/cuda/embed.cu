/*
 * Tokens and positions to vectors, and gradients back to their rows.
 *
 * Backward without atomics: the batch's rows are sorted by their numbers, and those of one number are added in the
 * order of the batch, which is the CPU's, to the bit. The sort merges runs: as no two keys are equal, a key's place
 * is its place in its own run and the number of smaller keys in the other. Of 65536 rows that are 7 launches.
 *
 * Floor: bytes, with reals of r bytes. Forward 3 r N C (2 r without positions); backward r N C and 8 for each float of
 * a row that is met, for tokens and for positions.
 * One number's rows are added one after the other by as many lanes as there are chunks: a number that 5 % of 65536 rows
 * have takes 3277 / 16 times the wait for memory, about 0.2 ms.
 */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/real.h"
#include "kernels/cuda/reduce.h"

enum {
    THREADS = 256,
    TILE = 1024, /* rows that a block sorts: a thread each */
    WARPS = 4,   /* of a block that adds rows */
    AHEAD = 16,  /* rows on their way to a warp */
};

template <typename T>
static __global__ void embed_kernel(T *out, const T *tokens, const T *positions, const int32_t *token,
                                    const int32_t *position, size_t C)
{
    size_t n = blockIdx.x;
    const T *of_token = tokens + (size_t)token[n] * C;
    const T *of_position = positions ? positions + (size_t)position[n] * C : of_token;
    bool chunks = C % CHUNK(T) == 0 && in_chunks(out) && in_chunks(tokens) && in_chunks(of_position);

    for (size_t c = threadIdx.x * CHUNK(T); c < C; c += blockDim.x * CHUNK(T)) {
        float v[CHUNK(T)], more[CHUNK(T)];
        load_chunk(v, of_token + c, C - c, chunks);
        load_chunk(more, of_position + c, C - c, chunks);
#pragma unroll
        for (int i = 0; i < CHUNK(T); i++)
            v[i] = positions ? v[i] + more[i] : v[i];
        store_chunk(out + n * C + c, v, C - c, chunks);
    }
}

template <typename T>
static void embed(struct device *d, T *out, const T *tokens, const T *positions, const int32_t *token,
                  const int32_t *position, size_t N, size_t C)
{
    /* Whole warps, no more than a row has chunks for. */
    const unsigned threads = (unsigned)MIN((size_t)THREADS, BLOCKS(C, WARP * CHUNK(T)) * (size_t)WARP);
    auto kernel = embed_kernel<T>;
    kernel<<<(unsigned)N, threads, 0, device_stream(d)>>>(out, tokens, positions, token, position, C);
}

void cuda_embed(struct device *d, real *out, const real *tokens, const real *positions,
                const int32_t *token, const int32_t *position, size_t N, size_t C)
{
    if (N == 0 || C == 0)
        return;
    WITH_REAL(d, embed(d, (T *)out, (const T *)tokens, (const T *)positions, token, position, N, C));
    device_launched(d, "embed");
}

/* ---- rows in the order of their numbers ---- */

/* A row's number (a token or a position) above its index: no two are equal, and those of one number are in the order
 * of their rows. */
static __device__ inline uint32_t number_of(uint64_t key)
{
    return (uint32_t)(key >> 32);
}

/* Where key i of n goes when runs of `run` keys (a power of 2), each in order, are merged two by two: behind the keys
 * of its own run that are before it, and behind the smaller ones of the other. */
static __device__ inline size_t place_of(const uint64_t *keys, size_t n, size_t run, size_t i)
{
    const size_t own = i & ~(run - 1), other = own ^ run, first = own & ~run;
    const uint64_t key = keys[i];
    size_t low = other < n ? other : n, high = other + run < n ? other + run : n;
    const size_t begin = low;

    while (low < high) {
        size_t middle = (low + high) / 2;
        if (keys[middle] < key)
            low = middle + 1;
        else
            high = middle;
    }
    return first + (i - own) + (low - begin);
}

static __global__ void __launch_bounds__(TILE) sort_tiles_kernel(uint64_t *out, const int32_t *which, size_t N)
{
    __shared__ uint64_t keys[TILE];
    const size_t first = (size_t)blockIdx.x * TILE, i = threadIdx.x, n = MIN(N - first, (size_t)TILE);
    uint64_t key = i < n ? (uint64_t)(uint32_t)which[first + i] << 32 | (first + i) : 0;

    keys[i] = key;
    __syncthreads();
    for (size_t run = 1; run < n; run *= 2) {
        size_t to = i < n ? place_of(keys, n, run, i) : i;
        __syncthreads();
        keys[to] = key;
        __syncthreads();
        key = keys[i];
    }
    if (i < n)
        out[first + i] = key;
}

static __global__ void merge_runs_kernel(uint64_t *out, const uint64_t *keys, size_t N, size_t run)
{
    const size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (i < N)
        out[place_of(keys, N, run, i)] = keys[i];
}

/* The keys of all rows, in order, in the scratch memory; NULL: there is too little. */
static const uint64_t *sort_rows(struct device *d, const int32_t *which, size_t N)
{
    uint64_t *keys = (uint64_t *)device_scratch(d, 2 * N * sizeof(*keys), "embed_backward");

    if (!keys)
        return NULL;
    uint64_t *other = keys + N;
    sort_tiles_kernel<<<BLOCKS(N, TILE), TILE, 0, device_stream(d)>>>(keys, which, N);
    device_launched(d, "sort_tiles");
    for (size_t run = TILE; run < N; run *= 2) {
        uint64_t *from = keys;
        merge_runs_kernel<<<BLOCKS(N, THREADS), THREADS, 0, device_stream(d)>>>(other, from, N, run);
        device_launched(d, "merge_runs");
        keys = other;
        other = from;
    }
    return keys;
}

/* ---- sums ---- */

/* Adds a lane's chunk, c on, of `count` rows, in their order: lane j has the index of the j-th. Several are on their
 * way before the first is added. `whole`: 16 bytes at a time. */
template <typename T>
static __device__ inline void add_chunks(float sum[CHUNK(T)], const T *dout, uint32_t index, unsigned count, size_t c,
                                         size_t C, bool whole)
{
    const unsigned all = (unsigned)EVERY_LANE;
    float v[CHUNK(T)];

    for (unsigned j = 0; !whole && j < count; j++) {
        const size_t row = __shfl_sync(all, index, (int)j);
        load_chunk(v, dout + row * C + c, c < C ? C - c : 0, false);
#pragma unroll
        for (int i = 0; i < CHUNK(T); i++)
            sum[i] = sum[i] + v[i];
    }
    for (unsigned j = 0; whole && j < count; j += AHEAD) {
        uint4 bits[AHEAD];
#pragma unroll
        for (unsigned k = 0; k < AHEAD; k++) {
            const size_t row = __shfl_sync(all, index, (int)(j + k < count ? j + k : 0));
            if (j + k < count && c < C)
                bits[k] = *(const uint4 *)(dout + row * C + c);
        }
#pragma unroll
        for (unsigned k = 0; k < AHEAD; k++)
            if (j + k < count && c < C) {
                floats_of<T>(v, bits[k]);
#pragma unroll
                for (int i = 0; i < CHUNK(T); i++)
                    sum[i] = sum[i] + v[i];
            }
    }
}

/* rows[number,:] += dout[n,:] for all n of that number, in their order. A warp looks at one key and takes `WARP` chunks
 * of columns; it does something where the key is the first of its number. */
template <typename T>
static __global__ void __launch_bounds__(WARPS * WARP)
    add_rows_kernel(float *rows, const T *dout, const uint64_t *keys, unsigned N, size_t C, unsigned panels)
{
    const unsigned warp = blockIdx.x * WARPS + threadIdx.x / WARP, at = warp / panels, lane = threadIdx.x % WARP;
    const size_t c = (size_t)(warp % panels * WARP + lane) * CHUNK(T), left = c < C ? C - c : 0;
    const bool whole = C % CHUNK(T) == 0 && in_chunks(dout) && in_chunks(rows);

    if (at >= N)
        return;
    const uint32_t number = number_of(keys[at]);
    if (at > 0 && number_of(keys[at - 1]) == number)
        return;
    float sum[CHUNK(T)], *into = rows + (size_t)number * C + c;
    uint64_t next = at + lane < N ? keys[at + lane] : 0;
    unsigned count = WARP;
    load_floats<CHUNK(T)>(sum, into, left, whole && left > 0);
    for (unsigned first = at; count == WARP; first += WARP) {
        const uint64_t key = next;
        count = (unsigned)__popc(__ballot_sync((unsigned)EVERY_LANE, first + lane < N && number_of(key) == number));
        next = first + WARP + lane < N ? keys[first + WARP + lane] : 0;
        add_chunks(sum, dout, (uint32_t)key, count, c, C, whole);
    }
    store_floats<CHUNK(T)>(into, sum, left, whole && left > 0);
}

template <typename T>
static void add_rows(struct device *d, float *rows, const T *dout, const uint64_t *keys, size_t N, size_t C)
{
    const size_t panels = (C + WARP * CHUNK(T) - 1) / (WARP * CHUNK(T));
    auto kernel = add_rows_kernel<T>;

    kernel<<<BLOCKS(N * panels, WARPS), WARPS * WARP, 0, device_stream(d)>>>(rows, dout, keys, (unsigned)N, C,
                                                                        (unsigned)panels);
    device_launched(d, "embed_backward");
}

/* rows[which[n],:] += dout[n,:] */
static void add_by_number(struct device *d, float *rows, const real *dout, const int32_t *which, size_t N, size_t C)
{
    const uint64_t *keys = sort_rows(d, which, N);
    if (keys)
        WITH_REAL(d, add_rows(d, rows, (const T *)dout, keys, N, C));
}

void cuda_embed_backward(struct device *d, float *dtokens, float *dpositions, const real *dout, const int32_t *token,
                         const int32_t *position, size_t N, size_t C)
{
    if (N == 0 || C == 0)
        return;
    add_by_number(d, dtokens, dout, token, N, C);
    if (dpositions)
        add_by_number(d, dpositions, dout, position, N, C);
}
