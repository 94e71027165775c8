#include "kernels/cpu/cpu.h"

/* Eight sums side by side: one after the other, each addition would wait for the one before. */
VECTOR_CLONES void cpu_sum_squares(struct device *d, double *out, const float *x, size_t n)
{
    double s[8] = { 0 };
    size_t whole = n - n % 8;
    (void)d;
    for (size_t i = 0; i < whole; i += 8)
        for (size_t j = 0; j < 8; j++)
            s[j] += (double)x[i + j] * (double)x[i + j];
    for (size_t i = whole; i < n; i++)
        s[i - whole] += (double)x[i] * (double)x[i];
    *out = ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
}

void cpu_add(struct device *d, float *sum, const float *x, size_t n)
{
    (void)d;
    for (size_t i = 0; i < n; i++)
        sum[i] = sum[i] + x[i];
}

void cpu_scale(struct device *d, float *x, size_t n, float factor)
{
    (void)d;
    for (size_t i = 0; i < n; i++)
        x[i] = x[i] * factor;
}

void cpu_zero(struct device *d, float *x, size_t n)
{
    (void)d;
    for (size_t i = 0; i < n; i++)
        x[i] = 0;
}
