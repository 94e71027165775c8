/*
 * gemm_path.h - what of a matrix product depends on the processor: the innermost block, and packing for it.
 *
 * All paths give the same bits (gemm.h). Adding one: a file with its `struct gemm_path`, a row in
 * gemm_paths[], best first; tests/kernels/test_gemm.c tries every path that the processor has.
 */
#ifndef KERNELS_CPU_GEMM_PATH_H
#define KERNELS_CPU_GEMM_PATH_H

#include <stdbool.h>
#include <stddef.h>

/* c[i,j] = start[i,j] + sum of a[i,k] b[k,j] over k < depth, for a block that registers hold. */
struct gemm_block {
    size_t rows, columns, depth; /* at most the path's rows and columns; at least 1 */
    const float *a;              // element (i, k) at a[i a_row_step + k a_k_step]; one of the steps is 1
    size_t a_row_step, a_k_step;
    const float *b; // element (k, j) at b[k b_step + j]; may be read up to the path's columns
    size_t b_step;
    const float *start; // element (i, j) at start[i start_row + j]; may be c
    size_t start_row;
    float *c;
    size_t c_row;
};

/* A matrix's part that becomes panels: `count` of its rows or columns side by side, `depth` deep. Element
 * (k, j) is at from[k k_step + j j_step], and one of the steps is 1. */
struct gemm_part {
    const float *from;
    size_t k_step, j_step, depth, count;
    float factor;
};

struct gemm_path {
    const char *name;
    size_t rows, columns; /* of a block */
    size_t packed_rows;   /* of a's panels: some blocks' */
    bool (*available)(void);
    void (*block)(const struct gemm_block *b);
    /* Panels of `width` (packed_rows or columns), one behind the other: panel[k width + j] = factor * element
     * (k, j) in the first, (k, width + j) in the second; 0 beyond the count. */
    void (*pack)(float *panels, size_t width, const struct gemm_part *p);
};
enum { GEMM_PACKED_ROWS_MAX = 16, GEMM_COLUMNS_MAX = 48 };

extern const struct gemm_path gemm_plain;
#ifdef __x86_64__
extern const struct gemm_path gemm_avx512, gemm_avx2;
enum { GEMM_PATHS = 3 };
#else
enum { GEMM_PATHS = 1 };
#endif
extern const struct gemm_path *const gemm_paths[GEMM_PATHS];

/* The best that this processor has. */
const struct gemm_path *gemm_path(void);

/* Any panel, one element at a time: the plain path's, and others' edges. Elements k >= first alone. */
void gemm_pack_plain(float *panels, size_t width, const struct gemm_part *p, size_t first);

#endif
