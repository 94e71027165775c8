#include "kernels/cpu/gemm.h"

#include "kernels/cpu/cpu.h"

#include <dnnl.h>
#include <omp.h>
#include <string.h>

enum { TILE_ROWS = 128, TILE_COLUMNS = 384 };

struct tiles {
    const struct gemm *g;
    size_t across; /* tiles in a row of them */
};

void cpu_gemm_here(const struct gemm *g)
{
    float beta = g->beta;
    if (g->M == 0 || g->N == 0)
        return;
    if (g->bias) {
        for (size_t i = 0; i < g->M; i++)
            memcpy(g->c + i * g->c_row, g->bias, g->N * sizeof(float));
        beta = 1;
    }
    if (g->K == 0) { /* an empty sum */
        for (size_t i = 0; i < g->M; i++)
            for (size_t j = 0; j < g->N; j++)
                g->c[i * g->c_row + j] = beta == 0 ? 0 : beta * g->c[i * g->c_row + j];
        return;
    }
    omp_set_num_threads(1); /* of this thread alone: ours share the work out */
    dnnl_status_t status =
        dnnl_sgemm(g->a_transposed ? 'T' : 'N', g->b_transposed ? 'T' : 'N', (dnnl_dim_t)g->M,
                   (dnnl_dim_t)g->N, (dnnl_dim_t)g->K, g->alpha, g->a, (dnnl_dim_t)g->a_row, g->b,
                   (dnnl_dim_t)g->b_row, beta, g->c, (dnnl_dim_t)g->c_row);
    invariant(status == dnnl_success); /* it refuses nothing but impossible sizes */
}

static void one_tile(void *context, size_t i, void *scratch)
{
    const struct tiles *t = context;
    const struct gemm *g = t->g;
    size_t row = i / t->across * TILE_ROWS, column = i % t->across * TILE_COLUMNS;
    struct gemm part = *g;
    (void)scratch;
    part.M = MIN((size_t)TILE_ROWS, g->M - row);
    part.N = MIN((size_t)TILE_COLUMNS, g->N - column);
    part.a += row * (g->a_transposed ? 1 : g->a_row);
    part.b += column * (g->b_transposed ? g->b_row : 1);
    part.c += row * g->c_row + column;
    if (g->bias)
        part.bias += column;
    cpu_gemm_here(&part);
}

void cpu_gemm(struct device *d, const struct gemm *g)
{
    struct tiles t = { g, (g->N + TILE_COLUMNS - 1) / TILE_COLUMNS };
    cpu_run(d, t.across * ((g->M + TILE_ROWS - 1) / TILE_ROWS), one_tile, &t);
}
