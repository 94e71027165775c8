/*
 * matmul.c - the one matrix product behind every layer.
 *
 * Tiles of ROWS x COLUMNS of the result are held in registers while k runs; a strip of b, COLUMNS wide, is
 * copied once into a small buffer where it lies in the order of use. Long sums are cut into runs of DEPTH:
 * the tile goes to memory in between and comes back as it was, so the order of a sum stays that of k.
 */
#include "kernels/cpu/cpu.h"

#include <string.h>

enum { ROWS = 6, LANES = 8, COLUMNS = 16, DEPTH = 256 };
typedef float lanes __attribute__((vector_size(4 * LANES)));

/* The strip's part below `depth` x `columns`; what lies beyond is zero, its results are not used. */
static void pack(float strip[DEPTH][COLUMNS], struct matrix b, size_t depth, size_t columns)
{
    for (size_t k = 0; k < depth; k++) {
        const float *from = b.data + k * b.row;
        for (size_t j = 0; j < columns; j++)
            strip[k][j] = from[j * b.column];
        for (size_t j = columns; j < COLUMNS; j++)
            strip[k][j] = 0;
    }
}

/* sums[i][j] += a[i,k] strip[k][j] for one tile. A local array of vectors stays in registers. */
VECTOR_CLONES static void tile(float sums[ROWS][COLUMNS], const float *const rows[ROWS], size_t step,
                               const float strip[DEPTH][COLUMNS], size_t depth)
{
    lanes t[ROWS][COLUMNS / LANES], b[COLUMNS / LANES];
    memcpy(t, sums, sizeof(t));
    for (size_t k = 0; k < depth; k++) {
        memcpy(b, strip[k], sizeof(b));
        for (size_t i = 0; i < ROWS; i++)
            for (size_t j = 0; j < COLUMNS / LANES; j++)
                t[i][j] = t[i][j] + rows[i][k * step] * b[j];
    }
    memcpy(sums, t, sizeof(t));
}

static void start_sums(float *c, const float *bias, size_t M, size_t N)
{
    for (size_t i = 0; i < M; i++)
        for (size_t j = 0; j < N; j++)
            c[i * N + j] = bias ? bias[j] : 0;
}

/* Adds a strip's products to the columns of c that it belongs to: c (M, .) with N floats a row. */
static void add_strip(float *c, size_t N, struct matrix a, const float strip[DEPTH][COLUMNS], size_t M,
                      size_t columns, size_t depth)
{
    for (size_t i = 0; i < M; i += ROWS) {
        size_t count = MIN((size_t)ROWS, M - i);
        const float *rows[ROWS];
        float sums[ROWS][COLUMNS] = { 0 };
        for (size_t r = 0; r < ROWS; r++)
            rows[r] = a.data + (i + MIN(r, count - 1)) * a.row; // beyond the last row: the last again, unused
        for (size_t r = 0; r < count; r++)
            for (size_t j = 0; j < columns; j++)
                sums[r][j] = c[(i + r) * N + j];
        tile(sums, rows, a.column, strip, depth);
        for (size_t r = 0; r < count; r++)
            for (size_t j = 0; j < columns; j++)
                c[(i + r) * N + j] = sums[r][j];
    }
}

void cpu_matmul(float *c, struct matrix a, struct matrix b, const float *bias, size_t M, size_t N, size_t K)
{
    _Alignas(64) float strip[DEPTH][COLUMNS];

    start_sums(c, bias, M, N);
    if (M == 0)
        return;
    for (size_t k = 0; k < K; k += DEPTH) {
        size_t depth = MIN((size_t)DEPTH, K - k);
        struct matrix a_part = { a.data + k * a.column, a.row, a.column };
        for (size_t j = 0; j < N; j += COLUMNS) {
            size_t columns = MIN((size_t)COLUMNS, N - j);
            struct matrix b_part = { b.data + k * b.row + j * b.column, b.row, b.column };
            pack(strip, b_part, depth, columns);
            add_strip(c + j, N, a_part, strip, M, columns, depth);
        }
    }
}
