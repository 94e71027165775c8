#include "base/rng.h"
#include "kernels/cpu/cpu.h"

struct drop {
    float *out;
    const float *x;
    float rate, kept;
    uint64_t key;
};

static void drop_some(void *context, size_t first, size_t count)
{
    const struct drop *p = context;
    for (size_t i = first; i < first + count; i++)
        p->out[i] = rng_f32(p->key, i) >= p->rate ? p->x[i] * p->kept : 0;
}

void cpu_dropout(struct device *d, float *out, const float *x, size_t n, float rate, uint64_t key)
{
    struct drop p = { out, x, rate, 1 / (1 - rate), key };
    cpu_for(d, n, drop_some, &p);
}
