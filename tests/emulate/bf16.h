/*
 * bf16.h - bf16 on the host, for tests: the upper half of a float.
 */
#ifndef TESTS_EMULATE_BF16_H
#define TESTS_EMULATE_BF16_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* A float's bf16: the nearest, ties to even; not-a-number stays so. */
static inline uint16_t bf16_of(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof(bits));
    return isnan(f) ? 0x7fff : (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static inline float of_bf16(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float f;
    memcpy(&f, &bits, sizeof(f));
    return f;
}

#endif
