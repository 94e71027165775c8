#include "base/fixed.h"

#include "base/def.h"

#include <math.h>
#include <stdbool.h>

/* 1/1, 1/3, 1/5, ...: ln m = 2 s (1 + s^2/3 + s^4/5 + ...) for s = (m - 1) / (m + 1). */
static const double log_terms[] = { 1.0,      1.0 / 3,  1.0 / 5,  1.0 / 7,  1.0 / 9, 1.0 / 11,
                                    1.0 / 13, 1.0 / 15, 1.0 / 17, 1.0 / 19, 1.0 / 21 };

/* Taylor, in x^2: cos x and (sin x) / x, both to x^16. On |x| <= pi/4 what is left out is below 1e-16. */
static const double cos_terms[] = { 1.0,
                                    -1.0 / 2,
                                    1.0 / 24,
                                    -1.0 / 720,
                                    1.0 / 40320,
                                    -1.0 / 3628800,
                                    1.0 / 479001600,
                                    -1.0 / 87178291200,
                                    1.0 / 20922789888000 };
static const double sin_terms[] = { 1.0,
                                    -1.0 / 6,
                                    1.0 / 120,
                                    -1.0 / 5040,
                                    1.0 / 362880,
                                    -1.0 / 39916800,
                                    1.0 / 6227020800,
                                    -1.0 / 1307674368000,
                                    1.0 / 355687428096000 };
/* Taylor to x^13. On |x| <= ln(2)/2 what is left out is below 1e-17. */
static const double exp_terms[] = {
    1.0,        1.0,         1.0 / 2,      1.0 / 6,       1.0 / 24,       1.0 / 120,       1.0 / 720,
    1.0 / 5040, 1.0 / 40320, 1.0 / 362880, 1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800
};

static double polynomial(const double *terms, size_t n, double x)
{
    double sum = terms[n - 1];
    for (size_t i = n - 1; i > 0; i--)
        sum = sum * x + terms[i - 1];
    return sum;
}

double fixed_log(double x)
{
    const double ln_2 = 0x1.62e42fefa39efp-1, root_half = 0x1.6a09e667f3bcdp-1;
    int exponent;
    double m = frexp(x, &exponent);
    if (m < root_half) {
        m *= 2;
        exponent--;
    }
    double s = (m - 1) / (m + 1);
    return exponent * ln_2 + 2 * s * polynomial(log_terms, ARRAY_LEN(log_terms), s * s);
}

/* Whole quarter turns are split off exactly. */
double fixed_cos_turn(double v)
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

/* Quarter turns are taken off with pi/2 in two parts (Cody and Waite 1980): the first has 33 bits, so that
 * its multiples are exact. */
void fixed_sin_cos(double x, double *out_sin, double *out_cos)
{
    const double quarters_each = 0x1.45f306dc9c883p-1; // 2 / pi
    const double half_pi_high = 0x1.921fb544p0, half_pi_low = 0x1.0b4611a626331p-34;
    int quarters = (int)(x * quarters_each + (x < 0 ? -0.5 : 0.5));
    double r = (x - quarters * half_pi_high) - quarters * half_pi_low;
    double s = r * polynomial(sin_terms, ARRAY_LEN(sin_terms), r * r);
    double c = polynomial(cos_terms, ARRAY_LEN(cos_terms), r * r);
    bool odd = quarters & 1, behind = quarters & 2; /* two's complement: also below zero */
    *out_sin = odd ? c : s;
    *out_cos = odd ? -s : c;
    if (behind) {
        *out_sin = -*out_sin;
        *out_cos = -*out_cos;
    }
}

/* e^x = 2^n e^r. ln 2 in two parts, so that n times the first is exact and r keeps its last bits. */
double fixed_exp(double x)
{
    const double log2_e = 0x1.71547652b82fep0, ln2_high = 0x1.62e42feep-1, ln2_low = 0x1.a39ef35793c76p-33;
    if (x > 710)
        return INFINITY;
    if (x < -746)
        return 0;
    if (isnan(x))
        return x;
    int n = (int)(x * log2_e + (x < 0 ? -0.5 : 0.5));
    double r = (x - n * ln2_high) - n * ln2_low;
    return ldexp(polynomial(exp_terms, ARRAY_LEN(exp_terms), r), n);
}

double fixed_power(double x, int64_t n)
{
    double product = 1;
    for (; n > 0; n >>= 1) {
        if (n & 1)
            product *= x;
        x *= x;
    }
    return product;
}
