/*
 * fast_math.h - exp and tanh in single precision, written so that a compiler makes vectors of them.
 *
 * + - * / and bit operations alone, so the bits are the same for every width of vector. Errors measured by
 * tests/kernels/test_gpt.c: exp 2 units in the last place, tanh 4e-7.
 */
#ifndef KERNELS_CPU_FAST_MATH_H
#define KERNELS_CPU_FAST_MATH_H

#include <stdint.h>
#include <string.h>

/* e^x for x <= 88; 0 below -87.3. exp(x) = 2^n exp(r), |r| <= ln2 / 2, with ln 2 in two parts (Cephes, expf).
 */
static inline float fast_exp(float x)
{
    const float rounder = 12582912.0f; /* 1.5 2^23: adding it leaves the nearest integer in the low bits */
    float clamped = x < -87.3f ? -87.3f : x > 88.0f ? 88.0f : x;
    float shifted = clamped * 1.44269504f + rounder, n = shifted - rounder;
    float r = clamped - n * 0.693359375f - n * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    float e = p * r * r + r + 1.0f, power;
    int32_t bits = ((int32_t)n + 127) * (1 << 23);
    memcpy(&power, &bits, sizeof(power));
    return x < -87.3f ? 0.0f : e * power;
}

static inline float fast_tanh(float x)
{
    float e = fast_exp(2.0f * (x < -15.0f ? -15.0f : x > 15.0f ? 15.0f : x));
    return 1.0f - 2.0f / (e + 1.0f);
}

#endif
