/*
 * elements.h - what is done to one element, as plain arithmetic: the kernels' inside, and tested on the host.
 *
 * Formulas and sources are in kernels.h. The same operations in the same order as kernels/cpu, so that what
 * takes + - * / and sqrt alone (AdamW, dropout, rotary) has the CPU's bits on any device that rounds as IEEE
 * 754 says, compiled without contraction.
 */
#ifndef KERNELS_CUDA_ELEMENTS_H
#define KERNELS_CUDA_ELEMENTS_H

#include "base/rng.h"
#include "kernels/kernels.h"

#include <math.h>
#include <string.h>

static inline HOST_DEVICE float relu_of(float x)
{
    return x < 0 ? 0 : x; // a comparison with not-a-number is false
}

static inline HOST_DEVICE float relu_gradient(float dout, float out)
{
    return out > 0 ? dout : 0;
}

/* The bits of x as bf16: of the two next to it, the one away from zero where the lower 16 bits of x and those of
 * `draw` come to 2^16. What is no number stays none; beyond the largest is infinite. */
static inline HOST_DEVICE uint16_t drawn_bf16(float x, uint64_t draw)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof(bits));
    return isnan(x) ? (uint16_t)0x7fff : (uint16_t)((bits + (uint32_t)(draw & 0xffff)) >> 16);
}

static inline HOST_DEVICE float of_bf16_bits(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float x;
    memcpy(&x, &bits, sizeof(x));
    return x;
}

/* kept: 1 / (1 - rate) */
static inline HOST_DEVICE float dropout_of(float x, uint64_t key, uint64_t index, float rate, float kept)
{
    return rng_f32(key, index) >= rate ? x * kept : 0;
}

/* rate 0: nothing is dropped */
static inline HOST_DEVICE float residual_of(float branch, float x, uint64_t key, uint64_t index, float rate,
                                            float kept)
{
    return (rate > 0 ? dropout_of(branch, key, index, rate, kept) : branch) + x;
}

#define GELU_INNER 0.7978845608f /* sqrt(2 / pi) */
#define GELU_CUBIC 0.044715f

static inline HOST_DEVICE float gelu_of(float x)
{
    return 0.5f * x * (1.0f + tanhf(GELU_INNER * (x + GELU_CUBIC * x * x * x)));
}

static inline HOST_DEVICE float gelu_gradient(float dout, float x)
{
    float t = tanhf(GELU_INNER * (x + GELU_CUBIC * x * x * x));
    float slope = GELU_INNER * (1.0f + 3.0f * GELU_CUBIC * x * x);
    return dout * (0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * slope);
}

static inline HOST_DEVICE float swiglu_of(float gate, float up)
{
    return gate / (1.0f + expf(-gate)) * up;
}

static inline HOST_DEVICE void swiglu_gradient(float *dgate, float *dup, float dout, float gate, float up)
{
    float s = 1.0f / (1.0f + expf(-gate));
    *dgate = dout * up * s * (1.0f + gate * (1.0f - s));
    *dup = dout * gate * s;
}

/* One pair of a head by the angle whose cosine and sine are given; back: sine negated. */
static inline HOST_DEVICE void rotary_turn(float *low, float *high, float cosine, float sine)
{
    float a = *low, b = *high;
    *low = a * cosine - b * sine;
    *high = b * cosine + a * sine;
}

static inline HOST_DEVICE void adamw_update(float *w, float *m, float *v, float g, const struct adamw *a)
{
    float grad = g * a->grad_scale, decay = a->lr * a->weight_decay;
    *m = a->beta1 * *m + (1 - a->beta1) * grad;
    *v = a->beta2 * *v + (1 - a->beta2) * (grad * grad);
    *w = *w - decay * *w - a->lr * (*m * a->correct1) / (sqrtf(*v * a->correct2) + a->epsilon);
}

#endif
