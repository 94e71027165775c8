/* Tokens and positions to vectors, and gradients back to their rows. */
#include "kernels/cpu/cpu.h"

enum { ROWS = 64, COLUMNS = 32 };

struct embed {
    float *out, *dtokens, *dpositions;
    const float *tokens, *positions, *dout;
    const int32_t *token, *position;
    size_t N, C;
};

static void forward_task(void *context, size_t task, void *scratch)
{
    const struct embed *e = context;
    (void)scratch;
    for (size_t n = task * ROWS; n < MIN((task + 1) * ROWS, e->N); n++) {
        const float *token = e->tokens + (size_t)e->token[n] * e->C;
        const float *position = e->positions ? e->positions + (size_t)e->position[n] * e->C : NULL;
        for (size_t c = 0; c < e->C; c++)
            e->out[n * e->C + c] = position ? token[c] + position[c] : token[c];
    }
}

void cpu_embed(struct device *d, real *out, const real *tokens, const real *positions, const int32_t *token,
               const int32_t *position, size_t N, size_t C)
{
    struct embed e = { .out = out,
                       .tokens = tokens,
                       .positions = positions,
                       .token = token,
                       .position = position,
                       .N = N,
                       .C = C };
    cpu_run(d, (N + ROWS - 1) / ROWS, forward_task, &e);
}

/* Some columns of all rows, in the order of the batch: two rows may be the same token's. */
static void backward_task(void *context, size_t task, void *scratch)
{
    const struct embed *e = context;
    size_t first = task * COLUMNS, end = MIN(first + COLUMNS, e->C);
    (void)scratch;
    for (size_t n = 0; n < e->N; n++) {
        float *token = e->dtokens + (size_t)e->token[n] * e->C;
        float *position = e->dpositions ? e->dpositions + (size_t)e->position[n] * e->C : NULL;
        const float *dout = e->dout + n * e->C;
        for (size_t c = first; c < end; c++)
            token[c] = token[c] + dout[c];
        for (size_t c = first; position && c < end; c++)
            position[c] = position[c] + dout[c];
    }
}

void cpu_embed_backward(struct device *d, float *dtokens, float *dpositions, const real *dout,
                        const int32_t *token, const int32_t *position, size_t N, size_t C)
{
    struct embed e = { .dtokens = dtokens,
                       .dpositions = dpositions,
                       .dout = dout,
                       .token = token,
                       .position = position,
                       .N = N,
                       .C = C };
    cpu_run(d, (C + COLUMNS - 1) / COLUMNS, backward_task, &e);
}
