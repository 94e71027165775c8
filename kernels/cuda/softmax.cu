/*
 * Softmax and cross-entropy of small models: a warp is a record, in doubles as on the CPU.
 *
 * Floor: bytes. 8 B K forward, 8 B K backward; with few classes the launch is what takes the time.
 */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/reduce.h"

enum { THREADS = 256, RECORDS_AT_ONCE = THREADS / WARP };

/* losses and labels NULL: the probabilities alone. A logit that is no number makes the loss none. */
static __global__ void softmax_kernel(double *losses, float *probs, const float *logits, const int32_t *labels,
                                      size_t B, size_t K)
{
    size_t b = (size_t)blockIdx.x * RECORDS_AT_ONCE + threadIdx.x / WARP, lane = threadIdx.x % WARP;
    if (b >= B)
        return;
    logits += b * K;
    probs += b * K;
    double most = -INFINITY, sum = 0, of_label = labels ? logits[labels[b]] : 0; // first: probs may be logits
    for (size_t k = lane; k < K; k += WARP)
        most = fmax(most, (double)logits[k]);
    most = warp_max_f64(most);
    for (size_t k = lane; k < K; k += WARP)
        sum += exp((double)logits[k] - most);
    sum = warp_sum_f64(sum);
    for (size_t k = lane; k < K; k += WARP)
        probs[k] = (float)(exp((double)logits[k] - most) / sum);
    if (losses && lane == 0)
        losses[b] = isfinite(sum) ? most + log(sum) - of_label : NAN;
}

void cuda_softmax(struct device *d, float *probs, const float *logits, size_t B, size_t K)
{
    if (B == 0)
        return;
    softmax_kernel<<<BLOCKS(B, RECORDS_AT_ONCE), THREADS, 0, device_stream(d)>>>(NULL, probs, logits, NULL, B, K);
    device_launched(d, "softmax");
}

void cuda_cross_entropy(struct device *d, double *loss_sum, float *probs, const float *logits,
                        const int32_t *labels, size_t B, size_t K)
{
    double *losses = (double *)device_scratch(d, B * sizeof(double), "cross_entropy");

    if (!losses)
        return;
    if (B > 0) {
        softmax_kernel<<<BLOCKS(B, RECORDS_AT_ONCE), THREADS, 0, device_stream(d)>>>(losses, probs, logits,
                                                                                    labels, B, K);
        device_launched(d, "cross_entropy");
    }
    cuda_sum_f64(d, loss_sum, losses, B);
}

static __global__ void cross_entropy_backward_kernel(float *dlogits, const float *probs, const int32_t *labels,
                                                     size_t n, size_t K)
{
    size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (i < n)
        dlogits[i] = probs[i] - ((int32_t)(i % K) == labels[i / K] ? 1.0f : 0.0f);
}

void cuda_cross_entropy_backward(struct device *d, float *dlogits, const float *probs, const int32_t *labels,
                                 size_t B, size_t K)
{
    if (B * K == 0)
        return;
    cross_entropy_backward_kernel<<<BLOCKS(B * K, THREADS), THREADS, 0, device_stream(d)>>>(dlogits, probs, labels,
                                                                                           B * K, K);
    device_launched(d, "cross_entropy_backward");
}
