#include "kernels/cpu/cpu.h"

#include <string.h>

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

struct vectors {
    float *out;
    const float *x;
    float factor;
};

static void add_some(void *context, size_t first, size_t count)
{
    const struct vectors *v = context;
    for (size_t i = first; i < first + count; i++)
        v->out[i] = v->out[i] + v->x[i];
}

static void scale_some(void *context, size_t first, size_t count)
{
    const struct vectors *v = context;
    for (size_t i = first; i < first + count; i++)
        v->out[i] = v->out[i] * v->factor;
}

static void zero_some(void *context, size_t first, size_t count)
{
    const struct vectors *v = context;
    memset(v->out + first, 0, count * sizeof(float));
}

void cpu_add(struct device *d, float *sum, const float *x, size_t n)
{
    struct vectors v = { sum, x, 0 };
    cpu_for(d, n, add_some, &v);
}

void cpu_scale(struct device *d, float *x, size_t n, float factor)
{
    struct vectors v = { x, NULL, factor };
    cpu_for(d, n, scale_some, &v);
}

void cpu_zero(struct device *d, float *x, size_t n)
{
    struct vectors v = { x, NULL, 0 };
    cpu_for(d, n, zero_some, &v);
}
