/* Reals are floats here: what there is to do with them beside the layers. */
#include "kernels/cpu/cpu.h"

#include "base/rng.h"

#include <string.h>

struct reals {
    float *out;
    const float *x, *branch;
    float rate, kept;
    uint64_t key;
};

static void copy_some(void *context, size_t first, size_t count)
{
    const struct reals *r = context;
    memcpy(r->out + first, r->x + first, count * sizeof(float));
}

void cpu_to_real(struct device *d, real *out, const float *x, size_t n)
{
    struct reals r = { .out = out, .x = x };
    cpu_for(d, n, copy_some, &r);
}

/* A float is itself: nothing is drawn. */
void cpu_draw_real(struct device *d, real *out, const float *x, size_t n, uint64_t key)
{
    (void)key;
    cpu_to_real(d, out, x, n);
}

void cpu_from_real(struct device *d, float *out, const real *x, size_t n)
{
    struct reals r = { .out = out, .x = x };
    cpu_for(d, n, copy_some, &r);
}

void cpu_clear(struct device *d, real *x, size_t n)
{
    cpu_zero(d, x, n);
}

void cpu_drop(struct device *d, real *out, const real *x, size_t n, float rate, uint64_t key)
{
    cpu_dropout(d, out, x, n, rate, key);
}

VECTOR_CLONES static void add_block(float *out, const float *branch, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = branch[i] + x[i];
}

static void add_some(void *context, size_t first, size_t count)
{
    const struct reals *r = context;
    add_block(r->out + first, r->branch + first, r->x + first, count);
}

static void drop_and_add_some(void *context, size_t first, size_t count)
{
    const struct reals *r = context;
    for (size_t i = first; i < first + count; i++)
        r->out[i] = (rng_f32(r->key, i) >= r->rate ? r->branch[i] * r->kept : 0) + r->x[i];
}

void cpu_residual(struct device *d, real *out, const real *branch, const real *x, size_t n, float rate,
                  uint64_t key)
{
    struct reals r = { out, x, branch, rate, 1 / (1 - rate), key };
    cpu_for(d, n, rate > 0 ? drop_and_add_some : add_some, &r);
}

void cpu_residual_layernorm(struct device *d, real *sum, real *out, float *mean, float *rstd,
                            const struct residual *r, const real *w, const real *b, size_t N, size_t C)
{
    cpu_residual(d, sum, r->branch, r->x, N * C, r->rate, r->key);
    cpu_layernorm(d, out, mean, rstd, sum, w, b, N, C);
}

void cpu_residual_rmsnorm(struct device *d, real *sum, real *out, float *rstd, const struct residual *r,
                          const real *w, size_t N, size_t C)
{
    cpu_residual(d, sum, r->branch, r->x, N * C, r->rate, r->key);
    cpu_rmsnorm(d, out, rstd, sum, w, N, C);
}
