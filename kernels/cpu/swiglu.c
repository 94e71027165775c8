/* The gated unit of Shazeer 2020: silu(gate) times up. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/fast_math.h"

enum { RUN = 64 };

struct swiglu {
    float *out, *dgate, *dup;
    const float *gate, *up, *dout;
};

VECTOR_CLONES static void forward_block(float *out, const float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = gate[i] / (1.0f + fast_exp(-gate[i])) * up[i];
}

/* A run at a time, kept aside until all of it was read: one of the outputs may be dout. */
VECTOR_CLONES static void backward_block(float *dgate, float *dup, const float *dout, const float *gate,
                                         const float *up, size_t n)
{
    for (size_t first = 0; first < n; first += RUN) {
        float a[RUN], b[RUN];
        size_t count = MIN((size_t)RUN, n - first);
        for (size_t i = 0; i < count; i++) {
            float g = gate[first + i], s = 1.0f / (1.0f + fast_exp(-g));
            a[i] = dout[first + i] * up[first + i] * (s * (1.0f + g * (1.0f - s)));
            b[i] = dout[first + i] * (g * s);
        }
        for (size_t i = 0; i < count; i++)
            dgate[first + i] = a[i];
        for (size_t i = 0; i < count; i++)
            dup[first + i] = b[i];
    }
}

static void forward_some(void *context, size_t first, size_t count)
{
    const struct swiglu *g = context;
    forward_block(g->out + first, g->gate + first, g->up + first, count);
}

static void backward_some(void *context, size_t first, size_t count)
{
    const struct swiglu *g = context;
    backward_block(g->dgate + first, g->dup + first, g->dout + first, g->gate + first, g->up + first, count);
}

void cpu_swiglu(struct device *d, real *out, const real *gate, const real *up, size_t n)
{
    struct swiglu g = { .out = out, .gate = gate, .up = up };
    cpu_for(d, n, forward_some, &g);
}

void cpu_swiglu_backward(struct device *d, real *dgate, real *dup, const real *dout, const real *gate,
                         const real *up, size_t n)
{
    struct swiglu g = { .dgate = dgate, .dup = dup, .dout = dout, .gate = gate, .up = up };
    cpu_for(d, n, backward_some, &g);
}
