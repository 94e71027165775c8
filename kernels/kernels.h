/*
 * kernels.h - the operations of training, each once, with shapes and formula.
 *
 * kernels/cpu is the specification: plain loops, every sum in a fixed order, no fused multiply-add, no
 * function of libm but sqrt (base/fixed.h has the others). So the CPU's bits depend on the inputs alone: not
 * on threads, ranks, compiler flags or the processor's model. Another device computes the same formulas, with
 * other rounding.
 *
 * All pointers are memory of the device, matrices are row-major. Outputs may not overlap inputs unless the
 * line says "may be". Operations with B, n or both 0 do nothing but what the formula says of an empty sum.
 */
#ifndef KERNELS_KERNELS_H
#define KERNELS_KERNELS_H

#include "kernels/device.h"

/* One step of AdamW (Loshchilov and Hutter 2019, algorithm 2), for the step number t = 1, 2, ... */
struct adamw {
    float lr, beta1, beta2, epsilon;
    float weight_decay; /* decoupled: w loses lr * weight_decay * w */
    float grad_scale;   /* g is multiplied by it first: 1 / records, and clipping */
    float correct1;     /* 1 / (1 - beta1^t) */
    float correct2;     /* 1 / (1 - beta2^t) */
};
/* Fills correct1 and correct2 for step t >= 1 from the other fields; powers by repeated squaring in double.
 * */
void adamw_prepare(struct adamw *a, int64_t t);

struct kernels {
    const char *device;

    /* out[b,o] = bias[o] + sum over i of x[b,i] w[o,i]             out (B,O)  x (B,I)  w (O,I)  bias (O) */
    void (*linear)(struct device *d, float *out, const float *x, const float *w, const float *bias, size_t B,
                   size_t I, size_t O);
    /* dx[b,i] = sum over o of dout[b,o] w[o,i]                     dx (B,I)  dout (B,O)  w (O,I) */
    void (*linear_backward_input)(struct device *d, float *dx, const float *dout, const float *w, size_t B,
                                  size_t I, size_t O);
    /* dw[o,i] = sum over b of dout[b,o] x[b,i]; dbias[o] = sum over b of dout[b,o]; B = 0 writes zeros */
    void (*linear_backward_weight)(struct device *d, float *dw, float *dbias, const float *dout,
                                   const float *x, size_t B, size_t I, size_t O);

    /* out = max(x, 0); not a number stays so. out may be x. */
    void (*relu)(struct device *d, float *out, const float *x, size_t n);
    /* dx = dout where out > 0, else 0. dx may be dout. */
    void (*relu_backward)(struct device *d, float *dx, const float *dout, const float *out, size_t n);

    /* out[i] = x[i] (1 / (1 - rate)) where rng_f32(key, i) >= rate, else 0; rate in [0, 1). out may be x.
     * The backward pass is the same call on the gradient (Srivastava et al. 2014, inverted). */
    void (*dropout)(struct device *d, float *out, const float *x, size_t n, float rate, uint64_t key);

    /* probs[b,:] = softmax(logits[b,:]) (B,K), K >= 2. probs may be logits. */
    void (*softmax)(struct device *d, float *probs, const float *logits, size_t B, size_t K);
    /* The same, and *loss_sum = sum over b of -ln softmax(logits[b,:])[labels[b]], one double; labels in [0,
     * K) */
    void (*cross_entropy)(struct device *d, double *loss_sum, float *probs, const float *logits,
                          const int32_t *labels, size_t B, size_t K);
    /* dlogits[b,k] = probs[b,k] - (k == labels[b]): of the sum, not of the mean. dlogits may be probs. */
    void (*cross_entropy_backward)(struct device *d, float *dlogits, const float *probs,
                                   const int32_t *labels, size_t B, size_t K);

    /* g' = g grad_scale; m = beta1 m + (1 - beta1) g'; v = beta2 v + (1 - beta2) g'^2
     * w = w - lr weight_decay w - lr (m correct1) / (sqrt(v correct2) + epsilon)            all (n) */
    void (*adamw)(struct device *d, float *w, float *m, float *v, const float *g, size_t n,
                  const struct adamw *a);

    /* *out = sum of x[i]^2, one double: in 8 sums of every 8th element, these added as
     * ((0+1)+(2+3))+((4+5)+(6+7)) */
    void (*sum_squares)(struct device *d, double *out, const float *x, size_t n);
    void (*add)(struct device *d, float *sum, const float *x, size_t n); /* sum[i] = sum[i] + x[i] */
    void (*scale)(struct device *d, float *x, size_t n, float factor);   /* x[i] = x[i] factor */
    void (*zero)(struct device *d, float *x, size_t n);
};

const struct kernels *kernels_for(const struct device *d);

#endif
