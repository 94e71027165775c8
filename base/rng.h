/*
 * rng.h - seeded random numbers that are a pure function of (key, index), and true random bytes.
 *
 * The seeded kind is a counter hash, with no state: record 7 of epoch 3 draws the same number on any rank, in
 * any order, after any restart. Not for secrets; random_bytes() is. Checkpoints and their digests depend on
 * every bit of it, so these definitions never change (arithmetic modulo 2^64; G = 0x9e3779b97f4a7c15):
 *
 *     rng_mix(x)         x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9
 *                        x = (x ^ x >> 27) * 0x94d049bb133111eb
 *                        x ^ x >> 31
 *     rng_u64(k, i)      rng_mix(k + (i + 1) * G): output number i, from 0, of SplitMix64 seeded with k
 *     rng_key(s, t)      rng_u64(rng_u64(s, 0), t): a key is a seed again, so keys nest
 *     rng_f32(k, i)      (rng_u64(k, i) >> 40) / 2^24
 *     rng_below(k, i, n) the upper 64 bits of the 128-bit product rng_u64(k, i) * n
 *     rng_normal(k, i)   sqrt(-2 ln u) cos(2 pi v), u = ((rng_u64(k, 2 i) >> 11) + 1) / 2^53,
 *                        v = (rng_u64(k, 2 i + 1) >> 11) / 2^53; ln and cos are those of base/fixed.h
 *     rng_permutation    out = 0 .. n-1; for i = n-1 down to 1: swap out[i] and out[rng_below(k, i, i + 1)]
 *
 * SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
 */
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include "base/def.h"

#include <stddef.h>
#include <stdint.h>

/* The finaliser alone: rng_mix(0) is 0. */
static inline HOST_DEVICE uint64_t rng_mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

static inline HOST_DEVICE uint64_t rng_u64(uint64_t key, uint64_t index)
{
    const uint64_t gamma_golden = 0x9e3779b97f4a7c15; // 2^64 / golden ratio, odd
    return rng_mix(key + (index + 1) * gamma_golden);
}

/* A key for one purpose: rng_key(seed, RNG_DROPOUT). Mixed before the stream is added: else stream 1 of a
 * seed would be the seed's own sequence, one step on. */
static inline HOST_DEVICE uint64_t rng_key(uint64_t seed, uint64_t stream)
{
    return rng_u64(rng_u64(seed, 0), stream);
}

/* [0, 1), 24 bits */
static inline HOST_DEVICE float rng_f32(uint64_t key, uint64_t index)
{
    return (float)(rng_u64(key, index) >> 40) * (1.0f / (1 << 24));
}

double rng_normal(uint64_t key, uint64_t index);  /* Box-Muller; draws 2 index and 2 index + 1 */
uint64_t rng_below(uint64_t key, uint64_t index, uint64_t n); /* [0, n) by multiply-shift; n >= 1 */

/* Fisher-Yates over 0 .. n-1 by (key): the same order everywhere. */
void rng_permutation(uint64_t key, uint32_t *out, uint32_t n);

void random_bytes(void *out, size_t n); /* from the kernel; aborts if it has none */

#endif
