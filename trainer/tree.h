/*
 * tree.h - the fixed binary tree in which everything is summed, and who holds which slice of the result.
 *
 * V leaves (a power of two) are summed pairwise: 0+1, 2+3, ...; then pairs of pairs. Each of p ranks (a power
 * of two, at most V) has V/p leaves in a row, so the lower levels of the tree lie inside ranks and the upper
 * log2(p) between them. Rounding makes (a+b)+c differ from a+(b+c), but a+b is b+a to the bit: as long as the
 * tree is the same, so is the sum, on any number of ranks.
 *
 * Inside a rank the tree is a binary counter: a leaf's vector comes in, two sums of the same level become one
 * of the next. So log2(V/p) + 1 vectors are enough, never V.
 *
 * Between ranks (comm.h) rank r first meets r^1, then r^2, r^4, ...; each time the two halve what both hold:
 * who has the bit 0 keeps the lower half, the other the upper. Rank r therefore ends with the slices at
 * bit_reverse(r): they lie in a row, V/p of them.
 */
#ifndef TRAINER_TREE_H
#define TRAINER_TREE_H

#include "kernels/kernels.h"

enum { TREE_LEAVES_MAX = 1024, TREE_LEVELS_MAX = 11 }; // log2(TREE_LEAVES_MAX) + 1

bool is_power_of_two(uint64_t n);
unsigned log2_of(uint64_t power_of_two);

struct slice_range {
    size_t first, count;
};
struct slice_range slices_of_rank(int rank, int size, size_t slices);
int rank_of_slice(size_t slice, int size, size_t slices);
struct slice_range leaves_of_rank(int rank, int size, size_t leaves);

/* The sum of n (a power of two) doubles in the fixed tree. */
double tree_sum_f64(const double *values, size_t n);

/* The binary counter. */
struct tree;
/* `shared`: the result is memory that the host sees, too (device_alloc_shared()). */
enum err_code tree_open(struct device *d, size_t leaves, size_t count, bool shared, struct tree **out,
                        struct err *e);
void tree_close(struct tree *t);
DEFINE_CLEANUP_PTR(struct tree, tree_close)
void tree_start(struct tree *t);  /* forgets what was pushed */
float *tree_next(struct tree *t); /* where the next leaf's vector (count floats) is to be written */
void tree_push(struct tree *t);   /* it has been written: add it to the sums */
/* Of the last leaf, whose vector may be final bit by bit: these floats of it have been written. The same
 * floats of the result are there then. All of them, in any order, are its tree_push(). */
float *tree_result_place(struct tree *t); /* where tree_result() will be */
void tree_push_part(struct tree *t, size_t first, size_t count);
float *tree_result(struct tree *t); /* after `leaves` pushes: the sum; valid until the next tree_start() */

#endif
