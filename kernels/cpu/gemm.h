/*
 * gemm.h - matrix products in single precision, with the same bits on every processor.
 *
 * c[i,j] = start + sum over k of op(a)[i,k] (alpha op(b)[k,j]), row-major, op as it is or transposed. Each
 * element of c is one chain of fused multiply-adds, k = 0, 1, 2, ...: the first adds to the start (0, bias[j]
 * or what c holds), each next to the one before, each rounded once. alpha is multiplied into b beforehand,
 * which rounds unless it is a power of two. Nothing else is left open, so the bits are the same for any
 * number of threads, any cut into tiles and any path of gemm_path.h: a fleet of unlike processors computes
 * the same. Only which not-a-number comes out of one that went in is the processor's business.
 *
 * How (Goto and van de Geijn 2008, with a's part and b's exchanged): a task is a tile of c. It copies (packs)
 * as much of b as half a second cache holds, DEPTH deep, in the order of use, into its own thread's memory,
 * and then goes down a's rows, few at a time, which stay in the first cache while all of that b streams past.
 * Rows of a are read where they lie, unless a is transposed. A sum that is deeper goes through c in between.
 * Tasks share nothing, so nobody waits for anybody; the price, that each tile packs its own b, is small as
 * tiles are tall.
 */
#ifndef KERNELS_CPU_GEMM_H
#define KERNELS_CPU_GEMM_H

#include "kernels/device.h"

enum { GEMM_WORK_BYTES = 640 << 10 }; /* of a thread's scratch */

struct gemm {
    bool a_transposed, b_transposed; /* a is (M,K), or (K,M) where transposed; b (K,N) or (N,K) */
    bool add;                        /* to what c holds; else c need not hold numbers */
    size_t M, N, K;
    float alpha;
    const float *a;
    size_t a_row; /* floats from one row of what is stored to the next */
    const float *b;
    size_t b_row;
    float *c;
    size_t c_row;
    const float *bias; /* (N), starts each row; then not `add`. NULL: zeros */
};
void cpu_gemm(struct device *d, const struct gemm *g); /* by the device's threads */

/* By the calling thread alone, from inside a task: `work` holds GEMM_WORK_BYTES, 64-byte aligned. */
void cpu_gemm_here(const struct gemm *g, void *work);

/* The same by a path of the caller's choice, for tests and measurements. */
struct gemm_path;
void cpu_gemm_by(const struct gemm_path *path, struct device *d, const struct gemm *g);

#endif
