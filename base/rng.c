#include "base/rng.h"

#include "base/err.h"

#include <errno.h>
#include <math.h>
#include <sys/random.h>

static const uint64_t gamma_golden = 0x9e3779b97f4a7c15; // 2^64 / golden ratio, odd

uint64_t rng_mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

uint64_t rng_u64(uint64_t key, uint64_t index)
{
    return rng_mix(key + (index + 1) * gamma_golden);
}

/* Mixed before the stream is added: else stream 1 of a seed would be the seed's own sequence, one step on. */
uint64_t rng_key(uint64_t seed, uint64_t stream)
{
    return rng_u64(rng_u64(seed, 0), stream);
}

float rng_f32(uint64_t key, uint64_t index)
{
    return (float)(rng_u64(key, index) >> 40) * 0x1p-24f;
}

/* 1/1, 1/3, 1/5, ...: ln m = 2 s (1 + s^2/3 + s^4/5 + ...) for s = (m - 1) / (m + 1). */
static const double log_terms[] = { 1.0,      1.0 / 3,  1.0 / 5,  1.0 / 7,  1.0 / 9, 1.0 / 11,
                                    1.0 / 13, 1.0 / 15, 1.0 / 17, 1.0 / 19, 1.0 / 21 };

/* Taylor, in x^2: cos x and (sin x) / x, both to x^16. On |x| <= pi/4 what is left out is below 1e-16. */
static const double cos_terms[] = {
    1.0, -1.0 / 2, 1.0 / 24, -1.0 / 720, 1.0 / 40320, -1.0 / 3628800, 1.0 / 479001600, -1.0 / 87178291200,
    1.0 / 20922789888000,
};
static const double sin_terms[] = {
    1.0, -1.0 / 6, 1.0 / 120, -1.0 / 5040, 1.0 / 362880, -1.0 / 39916800, 1.0 / 6227020800,
    -1.0 / 1307674368000, 1.0 / 355687428096000,
};

static double polynomial(const double *terms, size_t n, double x)
{
    double sum = terms[n - 1];
    for (size_t i = n - 1; i > 0; i--)
        sum = sum * x + terms[i - 1];
    return sum;
}

/* Not libm's log() and cos(): their last bits change with its version and with the processor. */
static double log_fixed(double u)
{
    const double ln_2 = 0x1.62e42fefa39efp-1, root_half = 0x1.6a09e667f3bcdp-1;
    int exponent;
    double m = frexp(u, &exponent);
    if (m < root_half) {
        m *= 2;
        exponent--;
    }
    double s = (m - 1) / (m + 1);
    return exponent * ln_2 + 2 * s * polynomial(log_terms, ARRAY_LEN(log_terms), s * s);
}

/* cos(2 pi v) for v in [0, 1): whole quarter turns are split off exactly. */
static double cos_turn(double v)
{
    const double half_pi = 0x1.921fb54442d18p0;
    int quarters = (int)(4 * v + 0.5);
    double x = (4 * v - quarters) * half_pi;
    if (quarters % 2 == 0) {
        double c = polynomial(cos_terms, ARRAY_LEN(cos_terms), x * x);
        return quarters == 2 ? -c : c;
    }
    double s = x * polynomial(sin_terms, ARRAY_LEN(sin_terms), x * x);
    return quarters == 1 ? -s : s;
}

double rng_normal(uint64_t key, uint64_t index)
{
    double u = (double)((rng_u64(key, 2 * index) >> 11) + 1) * 0x1p-53; // (0, 1]
    double v = (double)(rng_u64(key, 2 * index + 1) >> 11) * 0x1p-53;   // [0, 1)
    return sqrt(-2 * log_fixed(u)) * cos_turn(v);
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
