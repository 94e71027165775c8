/* Positions as angles (Su et al. 2021): each pair of a query's or a key's floats is turned. */
#include "kernels/cpu/cpu.h"

enum { ROWS = 32 };

struct rotary {
    struct attention_shape s;
    float *qkv, sign; // -1 turns back
    const float *turns;
    const int32_t *position;
};

/* The two halves of a head. */
static inline void turn(float *restrict x, float *restrict y, const float *restrict cosines,
                        const float *restrict sines, float sign, size_t half)
{
    for (size_t i = 0; i < half; i++) {
        float a = x[i], b = y[i], s = sign * sines[i];
        x[i] = a * cosines[i] - b * s;
        y[i] = b * cosines[i] + a * s;
    }
}

/* Queries and keys lie one behind the other: as many heads again. */
VECTOR_CLONES static void turn_row(const struct rotary *r, size_t row)
{
    size_t size = r->s.size, half = size / 2;
    float *x = r->qkv + row * 3 * r->s.heads * size;
    const float *turns = r->turns + (size_t)r->position[row] * size;
    for (size_t h = 0; h < 2 * r->s.heads; h++, x += size)
        turn(x, x + half, turns, turns + half, r->sign, half);
}

static void turn_rows(void *context, size_t task, void *scratch)
{
    const struct rotary *r = context;
    (void)scratch;
    for (size_t row = task * ROWS; row < MIN((task + 1) * ROWS, r->s.B * r->s.T); row++)
        turn_row(r, row);
}

void cpu_rotary(struct device *d, real *qkv, const float *turns, const int32_t *position, bool back,
                const struct attention_shape *s)
{
    struct rotary r = {
        .s = *s, .qkv = qkv, .sign = back ? -1.0f : 1.0f, .turns = turns, .position = position
    };
    cpu_run(d, (s->B * s->T + ROWS - 1) / ROWS, turn_rows, &r);
}
