#include "core/artifact/model_read.h"

#include "base/mem.h"
#include "core/artifact/model_file.h"

#include <string.h>

static enum err_code read_final(struct store *s, const struct secret *key, const struct artifact *a,
                                struct buf *out, struct err *e)
{
    char sha256[SHA256_HEX_BYTES];

    if (a->part_count != 1)
        return err_set(e, ERR_CORRUPT, "manifest %s: a model has one part, not %zu", a->manifest_key,
                       a->part_count);
    if (artifact_get_part(s, key, a, 0, out, e))
        return e->code;
    sha256_hex(out->data, out->len, sha256);
    if (strcmp(sha256, a->parts[0].plain_sha256) != 0)
        return err_set(e, ERR_CORRUPT, "%s: what is inside has another SHA-256 than its manifest says",
                       a->parts[0].key);
    return OK;
}

/* ---- a model out of a checkpoint ---- */

/* Every slice's `params`, one behind the other: the model's vector, with its padding. */
static enum err_code join_params(struct store *s, const struct secret *key, const struct artifact *a,
                                 struct buf *out, struct err *e)
{
    for (size_t i = 0; i < a->part_count; i++) {
        CLEANUP(buf_wipe) struct buf file = BUF_INIT(STORE_OBJECT_BYTES_MAX);
        CLEANUP(tensors_done) struct tensors t = { .list = NULL };
        if (artifact_get_part(s, key, a, i, &file, e) || tensors_read(file.data, file.len, &t, e))
            return err_wrap(e, "part %zu", i);
        const struct tensor *params = tensors_find(&t, "params");
        if (!params || params->type != TENSOR_F32)
            return err_set(e, ERR_CORRUPT, "part %zu holds no 'params'", i);
        buf_add(out, params->data, params->bytes);
    }
    return buf_check(out, "the model's parameters", e);
}

/* One row of meta.tensors: {"name","dims","first"} in floats of the vector. */
static enum err_code read_tensor(const json_t *row, const struct buf *vector, struct tensor *out,
                                 struct err *e)
{
    static const char what[] = "checkpoint meta: tensors";
    struct tensor t = { .type = TENSOR_F32 };
    uint64_t count = 1, floats = vector->len / sizeof(float);
    int64_t first;
    json_t *dims;

    if (json_copy_text(row, what, "name", t.name, sizeof(t.name), e) ||
        json_get_i64(row, what, "first", &first, e) || json_get_array(row, what, "dims", &dims, e))
        return e->code;
    t.dim_count = json_array_size(dims);
    if (t.dim_count < 1 || t.dim_count > TENSOR_DIMS_MAX)
        return err_set(e, ERR_CORRUPT, "%s: '%s' has %zu dimensions", what, t.name, t.dim_count);
    for (size_t d = 0; d < t.dim_count; d++) {
        json_int_t n = json_integer_value(json_array_get(dims, d));
        if (n < 1 || (uint64_t)n > floats || count > floats / (uint64_t)n)
            return err_set(e, ERR_CORRUPT, "%s: '%s' is larger than the checkpoint", what, t.name);
        t.dims[d] = (uint64_t)n;
        count *= (uint64_t)n;
    }
    if (first < 0 || (uint64_t)first > floats - count)
        return err_set(e, ERR_CORRUPT, "%s: '%s' lies outside the checkpoint", what, t.name);
    t.data = vector->data + (uint64_t)first * sizeof(float);
    t.bytes = count * sizeof(float);
    *out = t;
    return OK;
}

static enum err_code read_checkpoint(struct store *s, const struct secret *key, const struct artifact *a,
                                     struct buf *out, struct err *e)
{
    CLEANUP(buf_wipe) struct buf vector = BUF_INIT(STORE_OBJECT_BYTES_MAX);
    CLEANUP(json_donep) json_t *metadata = NULL;
    json_t *rows, *file;

    if (json_get_array(a->meta, "checkpoint meta", "tensors", &rows, e) ||
        json_get_object(a->meta, "checkpoint meta", "file", &file, e) ||
        model_file_metadata(file, &metadata, e) || join_params(s, key, a, &vector, e))
        return e->code;
    size_t count = json_array_size(rows);
    if (count < 1 || count > TENSORS_MAX)
        return err_set(e, ERR_CORRUPT, "checkpoint meta: %zu tensors", count);
    CLEANUP(freep) struct tensor *tensors = mem_array(count, sizeof(*tensors));
    for (size_t i = 0; i < count; i++)
        if (read_tensor(json_array_get(rows, i), &vector, &tensors[i], e))
            return e->code;
    return tensors_write(tensors, count, metadata, out, e);
}

enum err_code model_read(struct store *s, const struct secret *key, const struct artifact *a, struct buf *out,
                         struct err *e)
{
    return a->kind == ARTIFACT_MODEL ? read_final(s, key, a, out, e) : read_checkpoint(s, key, a, out, e);
}
