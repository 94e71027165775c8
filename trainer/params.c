#include "trainer/params.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum err_code params_add(struct params *p, const size_t *dims, size_t dim_count, struct err *e,
                         const char *fmt, ...)
{
    struct param_tensor t = { .dim_count = dim_count, .first = p->count, .count = 1 };
    va_list ap;

    invariant(dim_count >= 1 && dim_count <= PARAM_DIMS_MAX);
    va_start(ap, fmt);
    vsnprintf(t.name, sizeof(t.name), fmt, ap);
    va_end(ap);
    for (size_t i = 0; i < dim_count; i++) {
        t.dims[i] = dims[i];
        if (__builtin_mul_overflow(t.count, dims[i], &t.count) || t.count > PARAM_COUNT_MAX - p->count)
            return err_set(e, ERR_LIMIT, "more than %zu parameters, at '%s'", PARAM_COUNT_MAX, t.name);
    }
    if (p->tensor_count == PARAM_TENSORS_MAX)
        return err_set(e, ERR_LIMIT, "more than %d tensors, at '%s'", PARAM_TENSORS_MAX, t.name);
    p->tensors[p->tensor_count++] = t;
    p->count += t.count;
    return OK;
}

void params_cut(struct params *p, size_t slices)
{
    size_t each = (p->count + slices - 1) / slices;

    invariant(slices >= 1);
    p->slices = slices;
    p->slice_count = (each + PARAM_SLICE_ALIGN - 1) / PARAM_SLICE_ALIGN * PARAM_SLICE_ALIGN;
    p->padded = p->slices * p->slice_count;
}

const struct param_tensor *params_tensor_at(const struct params *p, size_t index)
{
    size_t i = p->tensor_count;

    while (i > 1 && p->tensors[i - 1].first > index)
        i--;
    return &p->tensors[i - 1];
}
