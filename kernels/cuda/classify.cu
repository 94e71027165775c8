/*
 * The end of a language model, some rows at a time: logits, then loss and their gradient in place, then both
 * products of the gradient. The logits of the whole batch are never there.
 *
 * A block is a row. It goes through the row once for the largest logit and the sum, with the running maximum of
 * Milakov and Gimelshein 2018, and once more to write the gradient.
 *
 * Floor: 6 N C V operations of the three products; the block's own part is bytes, 8 N V of the gradient read and
 * written once, 4 N V more where the row has left the cache.
 */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/reduce.h"

enum { THREADS = 256 };

static __global__ void classify_kernel(float *logits, double *losses, const int32_t *labels, size_t V,
                                       bool gradient)
{
    float *x = logits + blockIdx.x * V;
    int32_t label = labels[blockIdx.x];
    float most = -INFINITY, sum = 0;

    if (label < 0) { // nothing is to be predicted here
        if (threadIdx.x == 0)
            losses[blockIdx.x] = 0;
        for (size_t v = threadIdx.x; gradient && v < V; v += THREADS)
            x[v] = 0;
        return;
    }
    double of_label = x[label]; // before it is overwritten: the sums below wait for all threads
    for (size_t v = threadIdx.x; v < V; v += THREADS)
        if (x[v] > most) {
            sum = sum * expf(most - x[v]) + 1.0f;
            most = x[v];
        } else
            sum += expf(x[v] - most);
    float largest = block_max_256(most);
    double total = block_sum_256(sum > 0 || isnan(sum) ? (double)(sum * expf(most - largest)) : 0);
    if (threadIdx.x == 0)
        losses[blockIdx.x] = (double)largest + log(total) - of_label;
    if (!gradient)
        return;
    float factor = (float)(1 / total);
    for (size_t v = threadIdx.x; v < V; v += THREADS)
        x[v] = expf(x[v] - largest) * factor - (v == (size_t)label ? 1.0f : 0.0f);
}

size_t cuda_classify_work(size_t N, size_t V)
{
    return MIN(N, (size_t)CUDA_CLASSIFY_ROWS) * V;
}

void cuda_classify(struct device *d, double *loss, float *dx, float *dw, const float *x, const float *w,
                   const int32_t *labels, float *work, size_t N, size_t C, size_t V)
{
    for (size_t n = 0; n < N; n += CUDA_CLASSIFY_ROWS) {
        size_t rows = MIN((size_t)CUDA_CLASSIFY_ROWS, N - n);
        struct cuda_gemm down = {}, weight = {};

        cuda_logits(d, work, x + n * C, w, rows, C, V);
        classify_kernel<<<(unsigned)rows, THREADS, 0, device_stream(d)>>>(work, loss + n, labels + n, V,
                                                                         dx != NULL);
        device_launched(d, "classify");
        if (!dx)
            continue;
        down.M = rows; // dx = dlogits w
        down.N = C;
        down.K = V;
        down.a = work;
        down.b = w;
        down.c = dx + n * C;
        cuda_gemm(d, &down);
        weight.a_transposed = true; // dw = dlogits' x, over all rows
        weight.M = V;
        weight.N = C;
        weight.K = rows;
        weight.a = work;
        weight.b = x + n * C;
        weight.c = dw;
        weight.beta = n > 0 ? 1.0f : 0.0f;
        cuda_gemm(d, &weight);
    }
}
