/*
 * Tokens and positions to vectors, and gradients back to their rows.
 *
 * Backward without atomics: the block of row n does nothing where an earlier row has the same token; else it
 * finds all later ones and adds them in their order, which is the CPU's, to the bit.
 *
 * Floor: bytes, with reals of r bytes. Forward 3 r N C (2 r without positions); backward r N C and 8 for each float of
 * a row that is met.
 * Backward is far from it: each of the distinct tokens looks through all N of them, N^2 / 2 comparisons of whole
 * numbers at worst. A sort of the batch's tokens on the host would end that.
 */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/real.h"

enum { THREADS = 256, WARPS = THREADS / WARP, EACH = 4 /* columns of a thread */ };

template <typename T>
static __global__ void embed_kernel(T *out, const T *tokens, const T *positions, const int32_t *token,
                                    const int32_t *position, size_t C)
{
    size_t n = blockIdx.x;
    const T *of_token = tokens + (size_t)token[n] * C;
    const T *of_position = positions ? positions + (size_t)position[n] * C : of_token;
    bool chunks = C % CHUNK(T) == 0 && in_chunks(out) && in_chunks(tokens) && in_chunks(of_position);

    for (size_t c = threadIdx.x * CHUNK(T); c < C; c += THREADS * CHUNK(T)) {
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
    auto kernel = embed_kernel<T>;
    kernel<<<(unsigned)N, THREADS, 0, device_stream(d)>>>(out, tokens, positions, token, position, C);
}

void cuda_embed(struct device *d, real *out, const real *tokens, const real *positions,
                const int32_t *token, const int32_t *position, size_t N, size_t C)
{
    if (N == 0)
        return;
    WITH_REAL(d, embed(d, (T *)out, (const T *)tokens, (const T *)positions, token, position, N, C));
    device_launched(d, "embed");
}

/* Is there a row before `own` with its number? The nearest ones are looked at first. */
static __device__ bool met_before(const int32_t *which, size_t own)
{
    for (size_t end = own; end > 0; end = end > THREADS ? end - THREADS : 0) {
        bool same = threadIdx.x < end && which[end - 1 - threadIdx.x] == which[own];
        if (__syncthreads_or(same))
            return true;
    }
    return false;
}

/* rows[which[n],:] += dout[n,:] for all n of the own number, in the order of n. */
template <typename T>
static __global__ void embed_backward_kernel(float *rows, const T *dout, const int32_t *which, size_t N, size_t C)
{
    __shared__ unsigned same[WARPS]; // of 256 rows, a bit each
    size_t own = blockIdx.x;
    int32_t number = which[own];

    if (met_before(which, own))
        return;
    for (size_t column = 0; column < C; column += (size_t)EACH * THREADS) {
        float sum[EACH];
        float *into = rows + (size_t)number * C + column + threadIdx.x;
        for (int j = 0; j < EACH; j++)
            sum[j] = column + threadIdx.x + j * THREADS < C ? into[j * THREADS] : 0;
        for (size_t first = own; first < N; first += THREADS) {
            size_t n = first + threadIdx.x;
            unsigned ballot = __ballot_sync(0xffffffffu, n < N && which[n] == number);
            __syncthreads(); // the bits of the rows before these have been used
            if (threadIdx.x % WARP == 0)
                same[threadIdx.x / WARP] = ballot;
            __syncthreads();
            for (int group = 0; group < WARPS; group++)
                for (unsigned bits = same[group]; bits; bits &= bits - 1) {
                    size_t row = first + (size_t)group * WARP + (size_t)(__ffs((int)bits) - 1);
                    const T *from = dout + row * C + column + threadIdx.x;
                    for (int j = 0; j < EACH; j++)
                        if (column + threadIdx.x + j * THREADS < C)
                            sum[j] = sum[j] + float_of(from[j * THREADS]);
                }
        }
        for (int j = 0; j < EACH; j++)
            if (column + threadIdx.x + j * THREADS < C)
                into[j * THREADS] = sum[j];
    }
}

template <typename T>
static void add_rows(struct device *d, float *rows, const T *dout, const int32_t *which, size_t N, size_t C)
{
    auto kernel = embed_backward_kernel<T>;
    kernel<<<(unsigned)N, THREADS, 0, device_stream(d)>>>(rows, dout, which, N, C);
}

void cuda_embed_backward(struct device *d, float *dtokens, float *dpositions, const real *dout,
                         const int32_t *token, const int32_t *position, size_t N, size_t C)
{
    if (N == 0)
        return;
    WITH_REAL(d, add_rows(d, dtokens, (const T *)dout, token, N, C));
    device_launched(d, "embed_backward");
    if (!dpositions)
        return;
    WITH_REAL(d, add_rows(d, dpositions, (const T *)dout, position, N, C));
    device_launched(d, "embed_backward");
}
