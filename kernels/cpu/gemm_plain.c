/* The path of any processor: fused multiply-adds by the C library, slow where it has to do without the
 * hardware's. */
#include "base/num.h"
#include "kernels/cpu/gemm_path.h"

#include <math.h>

enum { ROWS = 4, COLUMNS = 16 };

static bool available(void)
{
    return true;
}

static void block(const struct gemm_block *b)
{
    float sum[ROWS][COLUMNS];
    for (size_t i = 0; i < b->rows; i++)
        for (size_t j = 0; j < b->columns; j++)
            sum[i][j] = b->start[i * b->start_row + j];
    for (size_t k = 0; k < b->depth; k++)
        for (size_t i = 0; i < b->rows; i++)
            for (size_t j = 0; j < b->columns; j++)
                sum[i][j] =
                    fmaf(b->a[i * b->a_row_step + k * b->a_k_step], b->b[k * b->b_step + j], sum[i][j]);
    for (size_t i = 0; i < b->rows; i++)
        for (size_t j = 0; j < b->columns; j++)
            b->c[i * b->c_row + j] = sum[i][j];
}

void gemm_pack_plain(float *panels, size_t width, const struct gemm_part *p, size_t first)
{
    for (size_t left = 0; left < p->count; left += width, panels += p->depth * width)
        for (size_t k = first; k < p->depth; k++)
            for (size_t j = 0; j < width; j++)
                panels[k * width + j] =
                    left + j < p->count ? p->factor * p->from[k * p->k_step + (left + j) * p->j_step] : 0;
}

static void pack(float *panels, size_t width, const struct gemm_part *p)
{
    gemm_pack_plain(panels, width, p, 0);
}

const struct gemm_path gemm_plain = {
    .name = "plain",
    .rows = ROWS,
    .columns = COLUMNS,
    .packed_rows = ROWS,
    .available = available,
    .block = block,
    .pack = pack,
};
