/* GELU in its tanh form (Hendrycks and Gimpel 2016, section 2; the one that GPT-2 was trained with). */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/fast_math.h"

static const float inner = 0.7978845608f, cubic = 0.044715f; /* sqrt(2 / pi) */

struct gelu {
    float *out;
    const float *x, *dout;
};

VECTOR_CLONES static void forward_block(float *out, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = 0.5f * x[i] * (1.0f + fast_tanh(inner * (x[i] + cubic * x[i] * x[i] * x[i])));
}

VECTOR_CLONES static void backward_block(float *dx, const float *dout, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float t = fast_tanh(inner * (x[i] + cubic * x[i] * x[i] * x[i]));
        float slope = inner * (1.0f + 3.0f * cubic * x[i] * x[i]);
        dx[i] = dout[i] * (0.5f * (1.0f + t) + 0.5f * x[i] * (1.0f - t * t) * slope);
    }
}

static void forward_some(void *context, size_t first, size_t count)
{
    const struct gelu *g = context;
    forward_block(g->out + first, g->x + first, count);
}

static void backward_some(void *context, size_t first, size_t count)
{
    const struct gelu *g = context;
    backward_block(g->out + first, g->dout + first, g->x + first, count);
}

void cpu_gelu(struct device *d, real *out, const real *x, size_t n)
{
    struct gelu g = { .out = out, .x = x };
    cpu_for(d, n, forward_some, &g);
}

void cpu_gelu_backward(struct device *d, real *dx, const real *dout, const real *x, size_t n)
{
    struct gelu g = { .out = dx, .dout = dout, .x = x };
    cpu_for(d, n, backward_some, &g);
}
