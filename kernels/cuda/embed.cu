/*
 * Tokens and positions to vectors, and gradients back to their rows.
 *
 * Backward without atomics: the block of row n does nothing where an earlier row has the same token; else it
 * finds all later ones and adds them in their order, which is the CPU's, to the bit.
 *
 * Floor: bytes. Forward 12 N C (8 without positions); backward 4 N C and 8 for each float of a row that is met.
 * Backward is far from it: each of the distinct tokens looks through all N of them, N^2 / 2 comparisons of whole
 * numbers at worst. A sort of the batch's tokens on the host would end that.
 */
#include "kernels/cuda/cuda.h"

enum { THREADS = 256, WARPS = THREADS / WARP, EACH = 4 /* columns of a thread */ };

static __global__ void embed_kernel(float *out, const float *tokens, const float *positions,
                                    const int32_t *token, const int32_t *position, size_t C)
{
    size_t n = blockIdx.x;
    const float *of_token = tokens + (size_t)token[n] * C;
    const float *of_position = positions ? positions + (size_t)position[n] * C : NULL;

    for (size_t c = threadIdx.x; c < C; c += THREADS)
        out[n * C + c] = of_position ? of_token[c] + of_position[c] : of_token[c];
}

void cuda_embed(struct device *d, float *out, const float *tokens, const float *positions,
                const int32_t *token, const int32_t *position, size_t N, size_t C)
{
    if (N == 0)
        return;
    embed_kernel<<<(unsigned)N, THREADS, 0, device_stream(d)>>>(out, tokens, positions, token, position, C);
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
static __global__ void embed_backward_kernel(float *rows, const float *dout, const int32_t *which, size_t N,
                                             size_t C)
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
                    const float *from = dout + row * C + column + threadIdx.x;
                    for (int j = 0; j < EACH; j++)
                        if (column + threadIdx.x + j * THREADS < C)
                            sum[j] = sum[j] + from[j * THREADS];
                }
        }
        for (int j = 0; j < EACH; j++)
            if (column + threadIdx.x + j * THREADS < C)
                into[j * THREADS] = sum[j];
    }
}

void cuda_embed_backward(struct device *d, float *dtokens, float *dpositions, const float *dout,
                         const int32_t *token, const int32_t *position, size_t N, size_t C)
{
    if (N == 0)
        return;
    embed_backward_kernel<<<(unsigned)N, THREADS, 0, device_stream(d)>>>(dtokens, dout, token, N, C);
    device_launched(d, "embed_backward");
    if (!dpositions)
        return;
    embed_backward_kernel<<<(unsigned)N, THREADS, 0, device_stream(d)>>>(dpositions, dout, position, N, C);
    device_launched(d, "embed_backward");
}
