/* Blocks of 4 x 24: 12 sums in registers, 3 vectors of b, a broadcast of a. */
#include "base/num.h"
#include "kernels/cpu/gemm_path.h"

#ifdef __x86_64__
#include <immintrin.h>
#include <string.h>

#define AVX2 __attribute__((target("avx2,fma")))
#define INLINE_AVX2 static inline __attribute__((always_inline, target("avx2,fma")))

enum { LANES = 8, ROWS = 4, VECTORS = 3, COLUMNS = VECTORS * LANES };

static bool available(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

/* As in gemm_avx512.c: `rows` and `packed` are constants wherever this is called. */
INLINE_AVX2 void block_of(const struct gemm_block *b, const size_t rows, const bool packed)
{
    __m256 sum[ROWS][VECTORS];
    const size_t row_step = packed ? 1 : b->a_row_step, k_step = packed ? b->a_k_step : 1, b_step = b->b_step;
    const float *at = b->a, *across = b->b;
#pragma GCC unroll 4
    for (size_t i = 0; i < rows; i++)
#pragma GCC unroll 3
        for (size_t v = 0; v < VECTORS; v++)
            sum[i][v] = _mm256_loadu_ps(b->start + i * b->start_row + v * LANES);
    for (size_t k = b->depth; k > 0; k--, at += k_step, across += b_step) {
        __m256 row[VECTORS];
#pragma GCC unroll 3
        for (size_t v = 0; v < VECTORS; v++)
            row[v] = _mm256_loadu_ps(across + v * LANES);
#pragma GCC unroll 4
        for (size_t i = 0; i < rows; i++) {
            __m256 one = _mm256_broadcast_ss(at + i * row_step);
#pragma GCC unroll 3
            for (size_t v = 0; v < VECTORS; v++)
                sum[i][v] = _mm256_fmadd_ps(one, row[v], sum[i][v]);
        }
    }
#pragma GCC unroll 4
    for (size_t i = 0; i < rows; i++)
#pragma GCC unroll 3
        for (size_t v = 0; v < VECTORS; v++)
            _mm256_storeu_ps(b->c + i * b->c_row + v * LANES, sum[i][v]);
}

AVX2 static void wide_block(const struct gemm_block *b)
{
    switch (b->rows) {
    case 1:
        return b->a_row_step == 1 ? block_of(b, 1, true) : block_of(b, 1, false);
    case 2:
        return b->a_row_step == 1 ? block_of(b, 2, true) : block_of(b, 2, false);
    case 3:
        return b->a_row_step == 1 ? block_of(b, 3, true) : block_of(b, 3, false);
    case 4:
        return b->a_row_step == 1 ? block_of(b, 4, true) : block_of(b, 4, false);
    }
}

/* A block at the right edge is done on a copy that is wide enough. */
AVX2 static void block(const struct gemm_block *b)
{
    float copy[ROWS][COLUMNS] = { { 0 } };
    struct gemm_block wide = *b;
    if (b->columns == COLUMNS) {
        wide_block(b);
        return;
    }
    for (size_t i = 0; i < b->rows; i++)
        memcpy(copy[i], b->start + i * b->start_row, b->columns * sizeof(float));
    wide.start = wide.c = copy[0];
    wide.start_row = wide.c_row = COLUMNS;
    wide_block(&wide);
    for (size_t i = 0; i < b->rows; i++)
        memcpy(b->c + i * b->c_row, copy[i], b->columns * sizeof(float));
}

INLINE_AVX2 void transpose(__m256 r[LANES])
{
    __m256 t[LANES];
#pragma GCC unroll 4
    for (size_t i = 0; i < LANES; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
#pragma GCC unroll 2
    for (size_t i = 0; i < LANES; i += 4)
#pragma GCC unroll 2
        for (size_t h = 0; h < 2; h++) {
            r[i + 2 * h] = _mm256_shuffle_ps(t[i + h], t[i + h + 2], 0x44);
            r[i + 2 * h + 1] = _mm256_shuffle_ps(t[i + h], t[i + h + 2], 0xee);
        }
#pragma GCC unroll 4
    for (size_t c = 0; c < 4; c++) {
        t[c] = _mm256_permute2f128_ps(r[c], r[4 + c], 0x20);
        t[4 + c] = _mm256_permute2f128_ps(r[c], r[4 + c], 0x31);
    }
#pragma GCC unroll 8
    for (size_t i = 0; i < LANES; i++)
        r[i] = t[i];
}

/* 8 deep, of up to 8 rows that lie side by side in the panel. */
AVX2 static void pack_square(float *to, size_t width, const float *from, size_t step, size_t count,
                             __m256 factor)
{
    __m256 r[LANES];
#pragma GCC unroll 8
    for (size_t j = 0; j < LANES; j++)
        r[j] = j < count ? _mm256_loadu_ps(from + j * step) : _mm256_setzero_ps();
    transpose(r);
#pragma GCC unroll 8
    for (size_t k = 0; k < LANES; k++)
        _mm256_storeu_ps(to + k * width, _mm256_mul_ps(r[k], factor));
}

/* One panel, of which `p` is the part. */
AVX2 static void pack_panel(float *panel, size_t width, const struct gemm_part *p)
{
    const __m256 factor = _mm256_set1_ps(p->factor);
    size_t k = 0;
    if (p->j_step != 1)
        for (; k + LANES <= p->depth; k += LANES)
            for (size_t j = 0; j < width; j += LANES)
                pack_square(panel + k * width + j, width, p->from + k + j * p->j_step, p->j_step,
                            p->count > j ? p->count - j : 0, factor);
    else if (p->count == width)
        for (; k < p->depth; k++)
            for (size_t j = 0; j < width; j += LANES)
                _mm256_storeu_ps(panel + k * width + j,
                                 _mm256_mul_ps(_mm256_loadu_ps(p->from + k * p->k_step + j), factor));
    gemm_pack_plain(panel, width, p, k);
}

AVX2 static void pack(float *panels, size_t width, const struct gemm_part *p)
{
    for (size_t j = 0; j < p->count; j += width) {
        struct gemm_part one = *p;
        one.from += j * p->j_step;
        one.count = MIN(width, p->count - j);
        pack_panel(panels + j * p->depth, width, &one);
    }
}

const struct gemm_path gemm_avx2 = {
    .name = "avx2",
    .rows = ROWS,
    .columns = COLUMNS,
    .packed_rows = LANES,
    .available = available,
    .block = block,
    .pack = pack,
};
#endif
