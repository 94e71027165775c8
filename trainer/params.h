/*
 * params.h - all of a model's parameters as one flat vector of floats, and the names of its parts.
 *
 * The vector is padded with zeros so that it cuts into `slices` equal slices, as many as the job has leaves.
 * A slice is the unit in which the optimizer's state is spread over ranks and in which checkpoints are
 * written: the cut depends on the job alone, never on the number of ranks.
 *
 * Gradients have the same layout. What lies in the padding is zero and stays zero.
 */
#ifndef TRAINER_PARAMS_H
#define TRAINER_PARAMS_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

enum { PARAM_NAME_BYTES = 64, PARAM_DIMS_MAX = 4, PARAM_TENSORS_MAX = 1280, PARAM_SLICE_ALIGN = 16 };
#define PARAM_COUNT_MAX ((size_t)1 << 32)

struct param_tensor {
    char name[PARAM_NAME_BYTES]; /* "layers.0.weight" */
    size_t dims[PARAM_DIMS_MAX];
    size_t dim_count;
    size_t first, count; /* its place in the vector: floats */
};
struct params {
    struct param_tensor tensors[PARAM_TENSORS_MAX];
    size_t tensor_count;
    size_t count;       /* floats that mean something */
    size_t padded;      /* floats in the vector: slices * slice_count */
    size_t slices;      /* a power of two */
    size_t slice_count; /* floats in a slice: a multiple of PARAM_SLICE_ALIGN */
};

/* Appends a tensor behind the others. ERR_LIMIT: more than PARAM_TENSORS_MAX or PARAM_COUNT_MAX. */
enum err_code params_add(struct params *p, const size_t *dims, size_t dim_count, struct err *e,
                         const char *fmt, ...) PRINTF_LIKE(5, 6);
/* The tensor that float `index` is in; what is padding counts as the last one's. Borrowed. */
const struct param_tensor *params_tensor_at(const struct params *p, size_t index);
/* After the last tensor: fixes the padding. */
void params_cut(struct params *p, size_t slices);

#endif
