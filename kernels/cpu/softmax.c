#include "base/fixed.h"
#include "kernels/cpu/cpu.h"

#include <math.h>

/* Less the largest, no exponential overflows, and at least one of them is 1. Returns ln of the whole sum. */
static double softmax_row(float *probs, const float *logits, size_t K)
{
    double largest = logits[0], sum = 0;
    for (size_t k = 1; k < K; k++)
        if (logits[k] > largest)
            largest = logits[k];
    for (size_t k = 0; k < K; k++)
        sum += fixed_exp(logits[k] - largest);
    for (size_t k = 0; k < K; k++)
        probs[k] = (float)(fixed_exp(logits[k] - largest) / sum);
    return isfinite(sum) ? largest + fixed_log(sum) : NAN;
}

void cpu_softmax(struct device *d, float *probs, const float *logits, size_t B, size_t K)
{
    (void)d;
    for (size_t b = 0; b < B; b++)
        softmax_row(probs + b * K, logits + b * K, K);
}

void cpu_cross_entropy(struct device *d, double *loss_sum, float *probs, const float *logits,
                       const int32_t *labels, size_t B, size_t K)
{
    double sum = 0;
    (void)d;
    for (size_t b = 0; b < B; b++) {
        double of_label = logits[b * K + (size_t)labels[b]]; // first: probs may be logits
        sum += softmax_row(probs + b * K, logits + b * K, K) - of_label;
    }
    *loss_sum = sum;
}

void cpu_cross_entropy_backward(struct device *d, float *dlogits, const float *probs, const int32_t *labels,
                                size_t B, size_t K)
{
    (void)d;
    for (size_t b = 0; b < B; b++)
        for (size_t k = 0; k < K; k++)
            dlogits[b * K + k] = probs[b * K + k] - ((int32_t)k == labels[b] ? 1.0f : 0.0f);
}
