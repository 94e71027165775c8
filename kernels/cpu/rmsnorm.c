/* Normalisation by the root of the mean square (Zhang and Sennrich 2019): cut as norm.c is. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/lanes.h"

#include <math.h>

enum { ROWS = 32, COLUMNS = 64 };

struct norm {
    float *out, *rstd, *dx, *dw;
    const float *x, *w, *dout, *rstds;
    size_t N, C;
};

VECTOR_CLONES static void forward_row(const struct norm *n, size_t row)
{
    const float *x = n->x + row * n->C;
    float *out = n->out + row * n->C, squares[LANES] = { 0 };
    BY_LANES(i, j, n->C, squares[j] += x[i] * x[i]);
    float rstd = 1.0f / sqrtf(sum_of_lanes(squares) / (float)n->C + NORM_EPSILON);
    for (size_t i = 0; i < n->C; i++)
        out[i] = x[i] * rstd * n->w[i];
    n->rstd[row] = rstd;
}

static void forward_rows(void *context, size_t task, void *scratch)
{
    const struct norm *n = context;
    (void)scratch;
    for (size_t row = task * ROWS; row < MIN((task + 1) * ROWS, n->N); row++)
        forward_row(n, row);
}

void cpu_rmsnorm(struct device *d, real *out, float *rstd, const real *x, const real *w, size_t N, size_t C)
{
    struct norm n = { .out = out, .rstd = rstd, .x = x, .w = w, .N = N, .C = C };
    cpu_run(d, (N + ROWS - 1) / ROWS, forward_rows, &n);
}

VECTOR_CLONES static void backward_row(const struct norm *n, size_t row)
{
    const float *x = n->x + row * n->C, *dout = n->dout + row * n->C;
    float *dx = n->dx + row * n->C, along[LANES] = { 0 }, rstd = n->rstds[row];
    BY_LANES(i, j, n->C, along[j] += n->w[i] * dout[i] * (x[i] * rstd));
    float mean = sum_of_lanes(along) / (float)n->C;
    for (size_t i = 0; i < n->C; i++)
        dx[i] = dx[i] + (n->w[i] * dout[i] - x[i] * rstd * mean) * rstd;
}

static void backward_rows(void *context, size_t task, void *scratch)
{
    const struct norm *n = context;
    (void)scratch;
    for (size_t row = task * ROWS; row < MIN((task + 1) * ROWS, n->N); row++)
        backward_row(n, row);
}

/* Columns side by side, rows one after the other: the order of each sum is that of the rows. */
VECTOR_CLONES static void weight_columns(const struct norm *n, size_t first, size_t count)
{
    float dw[COLUMNS] = { 0 };
    for (size_t row = 0; row < n->N; row++) {
        const float *x = n->x + row * n->C + first, *dout = n->dout + row * n->C + first;
        float rstd = n->rstds[row];
        for (size_t i = 0; i < count; i++)
            dw[i] += dout[i] * (x[i] * rstd);
    }
    for (size_t i = 0; i < count; i++)
        n->dw[first + i] = dw[i];
}

static void backward_weights(void *context, size_t task, void *scratch)
{
    const struct norm *n = context;
    size_t first = task * COLUMNS;
    (void)scratch;
    weight_columns(n, first, MIN((size_t)COLUMNS, n->C - first));
}

void cpu_rmsnorm_backward(struct device *d, real *dx, float *dw, const real *dout, const real *x,
                          const real *w, const float *rstd, size_t N, size_t C)
{
    struct norm n = { .dx = dx, .dw = dw, .dout = dout, .x = x, .w = w, .rstds = rstd, .N = N, .C = C };
    cpu_run(d, (N + ROWS - 1) / ROWS, backward_rows, &n);
    cpu_run(d, (C + COLUMNS - 1) / COLUMNS, backward_weights, &n);
}
