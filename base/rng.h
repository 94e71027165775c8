/*
 * rng.h - seeded random numbers that are a pure function of (seed, stream, index), and true random bytes.
 *
 * The seeded kind is a counter hash (the SplitMix64 finaliser over a mixed key): no state, so record 7 of
 * epoch 3 draws the same number on any rank, in any order, after any restart. Not for secrets; random_bytes() is.
 */
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

uint64_t rng_mix(uint64_t x); /* SplitMix64 finaliser (Steele, Lea, Flood 2014) */
uint64_t rng_key(uint64_t seed, uint64_t stream); /* a key for one purpose: rng_key(seed, RNG_DROPOUT) */
uint64_t rng_u64(uint64_t key, uint64_t index);
float rng_f32(uint64_t key, uint64_t index);      /* [0, 1), 24 bits */
double rng_normal(uint64_t key, uint64_t index);  /* Box-Muller; draws 2 index and 2 index + 1 */
uint64_t rng_below(uint64_t key, uint64_t index, uint64_t n); /* [0, n) by multiply-shift; n >= 1 */

/* Fisher-Yates over 0 .. n-1 by (key): the same order everywhere. */
void rng_permutation(uint64_t key, uint32_t *out, uint32_t n);

void random_bytes(void *out, size_t n); /* from the kernel; aborts if it has none */

#endif
