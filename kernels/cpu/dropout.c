#include "base/rng.h"
#include "kernels/cpu/cpu.h"

void cpu_dropout(struct device *d, float *out, const float *x, size_t n, float rate, uint64_t key)
{
    (void)d;
    float kept = 1 / (1 - rate);
    for (size_t i = 0; i < n; i++)
        out[i] = rng_f32(key, i) >= rate ? x[i] * kept : 0;
}
