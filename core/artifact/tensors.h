/*
 * tensors.h - safetensors files: named arrays of numbers that every framework reads.
 *
 * Layout: u64 little-endian header length, a JSON header {"__metadata__": {text: text}, name: {"dtype",
 * "shape", "data_offsets": [begin, end]}}, padded with spaces so that data starts 8-aligned, then the data
 * without holes in the header's order. We write names in the order given and read strictly: no holes, no
 * overlap, no duplicate names, shape times width equal to the length, header at most 16 MiB (the format
 * allows 100 MB). Source: huggingface/safetensors, format description.
 */
#ifndef CORE_ARTIFACT_TENSORS_H
#define CORE_ARTIFACT_TENSORS_H

#include "base/buf.h"
#include "base/err.h"
#include "core/json/json.h"

enum {
    TENSOR_NAME_BYTES = 128,
    TENSOR_DIMS_MAX = 4,
    TENSORS_MAX = 4096,
    TENSORS_HEADER_BYTES_MAX = 16 << 20
};

/* We write the first four; others are what files of other makers hold. */
enum tensor_type {
    TENSOR_F32,
    TENSOR_F64,
    TENSOR_I64,
    TENSOR_U8,
    TENSOR_F16,
    TENSOR_BF16,
    TENSOR_I32,
    TENSOR_BOOL,
};
extern const char *const tensor_type_names[]; /* "F32", ... */

struct tensor {
    char name[TENSOR_NAME_BYTES];
    enum tensor_type type;
    uint64_t dims[TENSOR_DIMS_MAX];
    size_t dim_count;
    const void *data; /* borrowed; when read: inside the file's bytes */
    uint64_t bytes;
};

/* `metadata`: an object of text members, or NULL. Adds the whole file to `out`. */
enum err_code tensors_write(const struct tensor *tensors, size_t count, const json_t *metadata,
                            struct buf *out, struct err *e);

struct tensors {
    struct tensor *list; /* owned; in file order */
    size_t count;
    json_t *metadata; /* owned; NULL where there is none */
};
void tensors_done(struct tensors *t);
/* `file` is borrowed by the result. ERR_CORRUPT says what is wrong. */
enum err_code tensors_read(const void *file, size_t n, struct tensors *out, struct err *e);
const struct tensor *tensors_find(const struct tensors *t, const char *name); /* NULL where there is none */

#endif
