/* Layer normalisation (Ba et al. 2016): rows by many threads; sums in 16 lanes, whatever the width of a
 * vector. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/lanes.h"

#include <math.h>

enum { ROWS = 32, COLUMNS = 64 };

struct norm {
    float *out, *mean, *rstd, *dx, *dw, *db;
    const float *x, *w, *b, *dout, *means, *rstds;
    size_t N, C;
};

VECTOR_CLONES static void forward_row(const struct norm *n, size_t row)
{
    const float *x = n->x + row * n->C;
    float *out = n->out + row * n->C, s[LANES] = { 0 }, v[LANES] = { 0 };
    BY_LANES(i, j, n->C, s[j] += x[i]);
    float mean = sum_of_lanes(s) / (float)n->C;
    BY_LANES(i, j, n->C, v[j] += (x[i] - mean) * (x[i] - mean));
    float rstd = 1.0f / sqrtf(sum_of_lanes(v) / (float)n->C + NORM_EPSILON);
    for (size_t i = 0; i < n->C; i++)
        out[i] = (x[i] - mean) * rstd * n->w[i] + n->b[i];
    n->mean[row] = mean;
    n->rstd[row] = rstd;
}

static void forward_rows(void *context, size_t task, void *scratch)
{
    const struct norm *n = context;
    (void)scratch;
    for (size_t row = task * ROWS; row < MIN((task + 1) * ROWS, n->N); row++)
        forward_row(n, row);
}

void cpu_layernorm(struct device *d, real *out, float *mean, float *rstd, const real *x, const real *w,
                   const real *b, size_t N, size_t C)
{
    struct norm n = { .out = out, .mean = mean, .rstd = rstd, .x = x, .w = w, .b = b, .N = N, .C = C };
    cpu_run(d, (N + ROWS - 1) / ROWS, forward_rows, &n);
}

VECTOR_CLONES static void backward_row(const struct norm *n, size_t row)
{
    const float *x = n->x + row * n->C, *dout = n->dout + row * n->C;
    float *dx = n->dx + row * n->C, one[LANES] = { 0 }, two[LANES] = { 0 };
    float mean = n->means[row], rstd = n->rstds[row];
    BY_LANES(i, j, n->C, one[j] += n->w[i] * dout[i]; two[j] += n->w[i] * dout[i] * ((x[i] - mean) * rstd));
    float mean_one = sum_of_lanes(one) / (float)n->C, mean_two = sum_of_lanes(two) / (float)n->C;
    for (size_t i = 0; i < n->C; i++)
        dx[i] = dx[i] + (n->w[i] * dout[i] - mean_one - (x[i] - mean) * rstd * mean_two) * rstd;
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
    float dw[COLUMNS] = { 0 }, db[COLUMNS] = { 0 };
    for (size_t row = 0; row < n->N; row++) {
        const float *x = n->x + row * n->C + first, *dout = n->dout + row * n->C + first;
        float mean = n->means[row], rstd = n->rstds[row];
        for (size_t i = 0; i < count; i++) {
            dw[i] += dout[i] * ((x[i] - mean) * rstd);
            db[i] += dout[i];
        }
    }
    for (size_t i = 0; i < count; i++) {
        n->dw[first + i] = dw[i];
        n->db[first + i] = db[i];
    }
}

static void backward_weights(void *context, size_t task, void *scratch)
{
    const struct norm *n = context;
    size_t first = task * COLUMNS;
    (void)scratch;
    weight_columns(n, first, MIN((size_t)COLUMNS, n->C - first));
}

void cpu_layernorm_backward(struct device *d, real *dx, float *dw, float *db, const real *dout, const real *x,
                            const real *w, const float *mean, const float *rstd, size_t N, size_t C)
{
    struct norm n = { .dx = dx,
                      .dw = dw,
                      .db = db,
                      .dout = dout,
                      .x = x,
                      .w = w,
                      .means = mean,
                      .rstds = rstd,
                      .N = N,
                      .C = C };
    cpu_run(d, (N + ROWS - 1) / ROWS, backward_rows, &n);
    cpu_run(d, (C + COLUMNS - 1) / COLUMNS, backward_weights, &n);
}
