/*
 * Blocks of 8 x 48: 24 sums in registers, 3 vectors of b, a broadcast of a. Wide rather than square, since
 * what holds a block up is its loads: 11 for 24 multiplications here, 16 for 28 with 14 x 32.
 */
#include "base/num.h"
#include "kernels/cpu/gemm_path.h"

#ifdef __x86_64__
#include <immintrin.h>

#define AVX512 __attribute__((target("avx512f")))
#define INLINE_AVX512 static inline __attribute__((always_inline, target("avx512f")))

enum { LANES = 16, ROWS = 8, VECTORS = 3, COLUMNS = VECTORS * LANES };
enum { AHEAD = 16 };

static bool available(void)
{
    return __builtin_cpu_supports("avx512f");
}

INLINE_AVX512 __mmask16 first_lanes(size_t n)
{
    return (__mmask16)(n >= LANES ? 0xffff : (1U << n) - 1);
}

/* All but `b` are constants wherever this is called: the loops over them unroll, and sum[][] is registers.
 * `packed`: a's rows lie side by side. Else along them k does, and two pointers reach eight rows. */
INLINE_AVX512 void block_of(const struct gemm_block *b, const size_t rows, const size_t vectors,
                            const bool packed)
{
    __m512 sum[ROWS][VECTORS];
    const __mmask16 last = first_lanes(b->columns - (vectors - 1) * LANES), all = first_lanes(LANES);
    const size_t row_step = packed ? 1 : b->a_row_step, k_step = packed ? b->a_k_step : 1, b_step = b->b_step;
    const float *four[2] = { b->a, b->a + 4 * row_step }, *across = b->b;
#pragma GCC unroll 8
    for (size_t i = 0; i < rows; i++)
#pragma GCC unroll 3
        for (size_t v = 0; v < vectors; v++)
            sum[i][v] =
                _mm512_maskz_loadu_ps(v + 1 < vectors ? all : last, b->start + i * b->start_row + v * LANES);
#pragma GCC unroll 4
    for (size_t k = b->depth; k > 0; k--, four[0] += k_step, four[1] += k_step, across += b_step) {
        __m512 row[VECTORS];
#pragma GCC unroll 3
        for (size_t v = 0; v < vectors; v++)
            row[v] = _mm512_loadu_ps(across + v * LANES);
#pragma GCC unroll 8
        for (size_t i = 0; i < rows; i++) {
            __m512 one = _mm512_set1_ps(four[i / 4][i % 4 * row_step]);
#pragma GCC unroll 3
            for (size_t v = 0; v < vectors; v++)
                sum[i][v] = _mm512_fmadd_ps(one, row[v], sum[i][v]);
        }
    }
#pragma GCC unroll 8
    for (size_t i = 0; i < rows; i++)
#pragma GCC unroll 3
        for (size_t v = 0; v < vectors; v++)
            _mm512_mask_storeu_ps(b->c + i * b->c_row + v * LANES, v + 1 < vectors ? all : last, sum[i][v]);
}

INLINE_AVX512 void block_by_width(const struct gemm_block *b, const size_t rows, const bool packed)
{
    if (b->columns > 2 * LANES)
        block_of(b, rows, 3, packed);
    else if (b->columns > LANES)
        block_of(b, rows, 2, packed);
    else
        block_of(b, rows, 1, packed);
}

INLINE_AVX512 void block_by_layout(const struct gemm_block *b, const size_t rows)
{
    if (b->a_row_step == 1)
        block_by_width(b, rows, true);
    else
        block_by_width(b, rows, false);
}

AVX512 static void block(const struct gemm_block *b)
{
    switch (b->rows) {
    case 1:
        return block_by_layout(b, 1);
    case 2:
        return block_by_layout(b, 2);
    case 3:
        return block_by_layout(b, 3);
    case 4:
        return block_by_layout(b, 4);
    case 5:
        return block_by_layout(b, 5);
    case 6:
        return block_by_layout(b, 6);
    case 7:
        return block_by_layout(b, 7);
    case 8:
        return block_by_layout(b, 8);
    }
}

INLINE_AVX512 void transpose(__m512 r[LANES])
{
    __m512 t[LANES];
#pragma GCC unroll 8
    for (size_t i = 0; i < LANES; i += 2) {
        t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
#pragma GCC unroll 4
    for (size_t i = 0; i < LANES; i += 4)
#pragma GCC unroll 2
        for (size_t h = 0; h < 2; h++) {
            __m512d x = _mm512_castps_pd(t[i + h]), y = _mm512_castps_pd(t[i + h + 2]);
            r[i + 2 * h] = _mm512_castpd_ps(_mm512_unpacklo_pd(x, y));
            r[i + 2 * h + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(x, y));
        }
        /* r[4 q + c], quarter p: column 4 p + c of rows 4 q .. 4 q + 3. What is left is to transpose the
         * quarters. */
#pragma GCC unroll 4
    for (size_t c = 0; c < 4; c++) {
        __m512 low = _mm512_shuffle_f32x4(r[c], r[4 + c], 0x44),
               high = _mm512_shuffle_f32x4(r[c], r[4 + c], 0xee);
        __m512 low2 = _mm512_shuffle_f32x4(r[8 + c], r[12 + c], 0x44),
               high2 = _mm512_shuffle_f32x4(r[8 + c], r[12 + c], 0xee);
        t[c] = _mm512_shuffle_f32x4(low, low2, 0x88);
        t[4 + c] = _mm512_shuffle_f32x4(low, low2, 0xdd);
        t[8 + c] = _mm512_shuffle_f32x4(high, high2, 0x88);
        t[12 + c] = _mm512_shuffle_f32x4(high, high2, 0xdd);
    }
#pragma GCC unroll 16
    for (size_t i = 0; i < LANES; i++)
        r[i] = t[i];
}

/* Where in panels of `width` column j begins. */
static inline float *panel_of(float *panels, size_t width, size_t depth, size_t j)
{
    return panels + j / width * width * depth + j % width;
}

/* 16 deep, of up to 16 rows that lie side by side in the panel. */
INLINE_AVX512 void pack_square(float *to, size_t width, const float *from, size_t step, size_t count,
                               size_t depth, __m512 factor)
{
    __m512 r[LANES];
    const __mmask16 deep = first_lanes(depth);
#pragma GCC unroll 16
    for (size_t j = 0; j < LANES; j++)
        r[j] = j < count ? _mm512_maskz_loadu_ps(deep, from + j * step) : _mm512_setzero_ps();
    transpose(r);
#pragma GCC unroll 16
    for (size_t k = 0; k < LANES; k++)
        if (k < depth)
            _mm512_storeu_ps(to + k * width, _mm512_mul_ps(r[k], factor));
}

/* Up to 32 columns beginning with the j-th: a pair of cache lines, which memory hands over together. What is
 * strided waits for each pair, so the next ones are asked for. */
INLINE_AVX512 void pack_columns(float *panels, size_t width, const struct gemm_part *p, size_t j,
                                const size_t vectors)
{
    const size_t count = p->count > j ? MIN(p->count - j, vectors * LANES) : 0, last = count ? count - 1 : 0;
    const __mmask16 mask[2] = { first_lanes(count), first_lanes(count > LANES ? count - LANES : 0) };
    const float *from = p->from + (count ? j : 0);
    const __m512 factor = _mm512_set1_ps(p->factor);
    float *to[2];
    for (size_t v = 0; v < vectors; v++)
        to[v] = panel_of(panels, width, p->depth, j + v * LANES);
    for (size_t k = 0; k < p->depth; k++) {
        const float *row = from + k * p->k_step, *soon = from + MIN(k + AHEAD, p->depth - 1) * p->k_step;
        __builtin_prefetch(soon);
        __builtin_prefetch(soon + last);
#pragma GCC unroll 2
        for (size_t v = 0; v < vectors; v++)
            _mm512_storeu_ps(to[v] + k * width,
                             _mm512_mul_ps(_mm512_maskz_loadu_ps(mask[v], row + v * LANES), factor));
    }
}

AVX512 static void pack(float *panels, size_t width, const struct gemm_part *p)
{
    const __m512 factor = _mm512_set1_ps(p->factor);
    const size_t wide = (p->count + width - 1) / width * width;
    if (p->j_step == 1) {
        size_t j = 0;
        for (; j + 2 * LANES <= wide; j += 2 * LANES)
            pack_columns(panels, width, p, j, 2);
        if (j < wide)
            pack_columns(panels, width, p, j, 1);
        return;
    }
    for (size_t j = 0; j < wide; j += LANES)
        for (size_t k = 0; k < p->depth; k += LANES)
            pack_square(panel_of(panels, width, p->depth, j) + k * width, width, p->from + k + j * p->j_step,
                        p->j_step, p->count > j ? p->count - j : 0, p->depth - k, factor);
}

const struct gemm_path gemm_avx512 = {
    .name = "avx512",
    .rows = ROWS,
    .columns = COLUMNS,
    .packed_rows = LANES,
    .available = available,
    .block = block,
    .pack = pack,
};
#endif
