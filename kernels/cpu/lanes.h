/*
 * lanes.h - long sums as LANES sums side by side: what a vector does, said so that every width of vector does
 * the same.
 */
#ifndef KERNELS_CPU_LANES_H
#define KERNELS_CPU_LANES_H

#include <stddef.h>

enum { LANES = 16 };

/* `body` for i = 0 .. n - 1, with j = i % LANES. A macro, as only a loop of constant length becomes one of
 * vectors. */
#define BY_LANES(i, j, n, body)                                                                              \
    do {                                                                                                     \
        const size_t count_ = (n), whole_ = count_ - count_ % LANES;                                         \
        for (size_t base_ = 0; base_ < whole_; base_ += LANES)                                               \
            for (size_t j = 0; j < LANES; j++) {                                                             \
                const size_t i = base_ + j;                                                                  \
                body;                                                                                        \
            }                                                                                                \
        for (size_t i = whole_, j = 0; i < count_; i++, j++) {                                               \
            body;                                                                                            \
        }                                                                                                    \
    } while (0)

/* Pairwise: ((0+8) + (4+12)) + ... */
static inline float sum_of_lanes(const float s[LANES])
{
    float t[LANES];
    for (size_t j = 0; j < LANES; j++)
        t[j] = s[j];
    for (size_t half = LANES / 2; half > 0; half /= 2)
        for (size_t j = 0; j < half; j++)
            t[j] = t[j] + t[j + half];
    return t[0];
}

#endif
