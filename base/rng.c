#include "base/rng.h"

#include "base/err.h"
#include "base/fixed.h"

#include <errno.h>
#include <math.h>
#include <sys/random.h>

double rng_normal(uint64_t key, uint64_t index)
{
    double u = (double)((rng_u64(key, 2 * index) >> 11) + 1) * 0x1p-53; // (0, 1]
    double v = (double)(rng_u64(key, 2 * index + 1) >> 11) * 0x1p-53;   // [0, 1)
    return sqrt(-2 * fixed_log(u)) * fixed_cos_turn(v);
}

uint64_t rng_below(uint64_t key, uint64_t index, uint64_t n)
{
    invariant(n >= 1);
    return (uint64_t)((unsigned __int128)rng_u64(key, index) * n >> 64);
}

void rng_permutation(uint64_t key, uint32_t *out, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        out[i] = i;
    for (uint32_t i = n; i > 1; i--) {
        uint32_t j = (uint32_t)rng_below(key, i - 1, i);
        uint32_t kept = out[i - 1];
        out[i - 1] = out[j];
        out[j] = kept;
    }
}

void random_bytes(void *out, size_t n)
{
    uint8_t *to = out;
    while (n > 0) {
        ssize_t got = getrandom(to, n, 0);
        if (got < 0 && errno == EINTR)
            continue;
        invariant(got > 0);
        to += got;
        n -= (size_t)got;
    }
}
