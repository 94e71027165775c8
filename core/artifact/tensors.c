#include "core/artifact/tensors.h"

#include "base/mem.h"
#include "base/text.h"

#include <inttypes.h>
#include <string.h>

enum { LENGTH_BYTES = 8, ALIGN_BYTES = 8 };

const char *const tensor_type_names[] = {
    [TENSOR_F32] = "F32", [TENSOR_F64] = "F64",   [TENSOR_I64] = "I64", [TENSOR_U8] = "U8",
    [TENSOR_F16] = "F16", [TENSOR_BF16] = "BF16", [TENSOR_I32] = "I32", [TENSOR_BOOL] = "BOOL",
};
static const uint64_t widths[] = {
    [TENSOR_F32] = 4, [TENSOR_F64] = 8,  [TENSOR_I64] = 8, [TENSOR_U8] = 1,
    [TENSOR_F16] = 2, [TENSOR_BF16] = 2, [TENSOR_I32] = 4, [TENSOR_BOOL] = 1,
};

/* ---- writing ---- */

static json_t *entry_of(const struct tensor *t, uint64_t begin)
{
    json_t *shape = json_array();
    for (size_t d = 0; d < t->dim_count; d++)
        json_array_append_new(shape, json_integer((int64_t)t->dims[d]));
    const json_int_t first = (json_int_t)begin, end = (json_int_t)begin + (json_int_t)t->bytes;
    return json_pack("{s:s,s:o,s:[I,I]}", "dtype", tensor_type_names[t->type], "shape", shape, "data_offsets",
                     first, end);
}

static enum err_code add_entry(const char *name, const json_t *value, bool first, struct buf *header,
                               struct err *e)
{
    CLEANUP(json_donep) json_t *text = json_string(name);
    if (!text)
        return err_set(e, ERR_USAGE, "a tensor's name is no UTF-8");
    if (!first)
        buf_add_byte(header, ',');
    char *quoted = json_dumps(text, JSON_ENCODE_ANY);
    invariant(quoted != NULL);
    buf_add_text(header, quoted);
    free(quoted);
    buf_add_byte(header, ':');
    return json_canonical(value, header, e);
}

/* The header names tensors in the order of their data: so it is put together by hand from canonical pieces.
 */
static enum err_code make_header(const struct tensor *tensors, size_t count, const json_t *metadata,
                                 struct buf *header, struct err *e)
{
    uint64_t begin = 0;

    buf_add_byte(header, '{');
    if (metadata && add_entry("__metadata__", metadata, true, header, e))
        return err_wrap(e, "tensor metadata");
    for (size_t i = 0; i < count; i++) {
        CLEANUP(json_donep) json_t *entry = entry_of(&tensors[i], begin);
        if (add_entry(tensors[i].name, entry, !metadata && i == 0, header, e))
            return e->code;
        begin += tensors[i].bytes;
    }
    buf_add_byte(header, '}');
    while (!header->full && header->len % ALIGN_BYTES != 0)
        buf_add_byte(header, ' ');
    return buf_check(header, "tensor header", e);
}

static bool shape_fits(const struct tensor *t)
{
    uint64_t elements = 1, bytes;
    for (size_t d = 0; d < t->dim_count; d++)
        if (__builtin_mul_overflow(elements, t->dims[d], &elements))
            return false;
    return !__builtin_mul_overflow(elements, widths[t->type], &bytes) && bytes == t->bytes;
}

enum err_code tensors_write(const struct tensor *tensors, size_t count, const json_t *metadata,
                            struct buf *out, struct err *e)
{
    CLEANUP(buf_done) struct buf header = BUF_INIT(TENSORS_HEADER_BYTES_MAX);

    for (size_t i = 0; i < count; i++)
        invariant(tensors[i].dim_count <= TENSOR_DIMS_MAX && shape_fits(&tensors[i]));
    if (make_header(tensors, count, metadata, &header, e))
        return e->code;
    for (int shift = 0; shift < 64; shift += 8)
        buf_add_byte(out, (uint8_t)((uint64_t)header.len >> shift));
    buf_add(out, header.data, header.len);
    for (size_t i = 0; i < count; i++)
        buf_add(out, tensors[i].data, tensors[i].bytes);
    return buf_check(out, "tensor file", e);
}

/* ---- reading ---- */

void tensors_done(struct tensors *t)
{
    free(t->list);
    json_decref(t->metadata);
    *t = (struct tensors){ 0 };
}

static enum err_code read_type(const char *name, enum tensor_type *out, struct err *e)
{
    for (size_t i = 0; i < ARRAY_LEN(widths); i++)
        if (strcmp(tensor_type_names[i], name) == 0) {
            *out = (enum tensor_type)i;
            return OK;
        }
    return err_set(e, ERR_CORRUPT, "dtype '%s' is not one that we read", name);
}

static enum err_code read_shape(const json_t *shape, struct tensor *t, struct err *e)
{
    t->dim_count = json_array_size(shape);
    if (t->dim_count > TENSOR_DIMS_MAX)
        return err_set(e, ERR_CORRUPT, "%zu dimensions; at most %d are read", t->dim_count, TENSOR_DIMS_MAX);
    for (size_t d = 0; d < t->dim_count; d++) {
        const json_t *dim = json_array_get(shape, d);
        if (!json_is_integer(dim) || json_integer_value(dim) < 0)
            return err_set(e, ERR_CORRUPT, "a dimension is no natural number");
        t->dims[d] = (uint64_t)json_integer_value(dim);
    }
    return OK;
}

static enum err_code read_entry(const char *name, const json_t *entry, const uint8_t *data,
                                uint64_t data_bytes, struct tensor *out, struct err *e)
{
    const char *type;
    json_t *shape, *offsets;

    if (!json_is_object(entry))
        return err_set(e, ERR_CORRUPT, "is no object");
    if (text_copy(out->name, sizeof(out->name), name, "tensor name", e) ||
        json_get_text(entry, "tensor", "dtype", &type, e) || read_type(type, &out->type, e) ||
        json_get_array(entry, "tensor", "shape", &shape, e) || read_shape(shape, out, e) ||
        json_get_array(entry, "tensor", "data_offsets", &offsets, e))
        return e->code;
    const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end) ||
        json_integer_value(begin) < 0 || json_integer_value(end) < json_integer_value(begin) ||
        (uint64_t)json_integer_value(end) > data_bytes)
        return err_set(e, ERR_CORRUPT, "its data_offsets do not lie in the file");
    out->data = data + json_integer_value(begin);
    out->bytes = (uint64_t)(json_integer_value(end) - json_integer_value(begin));
    if (!shape_fits(out))
        return err_set(e, ERR_CORRUPT, "its shape and its length differ");
    return OK;
}

static int by_place(const void *a, const void *b)
{
    const struct tensor *x = a, *y = b;
    if (x->data != y->data)
        return (const char *)x->data < (const char *)y->data ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes); /* empty tensors before the one that starts there */
}

/* In file order each tensor starts where the one before it ended, and the last ends with the file. */
static enum err_code check_no_holes(const struct tensors *t, const uint8_t *data, uint64_t data_bytes,
                                    struct err *e)
{
    const uint8_t *at = data;
    for (size_t i = 0; i < t->count; i++) {
        if (t->list[i].data != at)
            return err_set(e, ERR_CORRUPT, "tensor '%s' overlaps another or follows a hole", t->list[i].name);
        at += t->list[i].bytes;
    }
    if (at != data + data_bytes)
        return err_set(e, ERR_CORRUPT, "there are bytes behind the last tensor");
    return OK;
}

static bool is_text_object(json_t *o)
{
    const char *name;
    json_t *value;

    json_object_foreach(o, name, value) if (!json_is_string(value)) return false;
    return json_is_object(o);
}

static enum err_code read_file(const void *file, size_t n, struct tensors *out, struct err *e)
{
    CLEANUP(tensors_done) struct tensors t = { 0 };
    CLEANUP(json_donep) json_t *header = NULL;
    const uint8_t *bytes = file;
    uint64_t header_bytes = 0;
    const char *name;
    json_t *entry;

    if (n < LENGTH_BYTES)
        return err_set(e, ERR_CORRUPT, "a tensor file of %zu bytes lacks its length", n);
    for (int i = LENGTH_BYTES - 1; i >= 0; i--)
        header_bytes = header_bytes << 8 | bytes[i];
    if (header_bytes > TENSORS_HEADER_BYTES_MAX || header_bytes > n - LENGTH_BYTES)
        return err_set(e, ERR_CORRUPT, "a tensor file says that its header has %" PRIu64 " bytes",
                       header_bytes);
    if (json_parse(bytes + LENGTH_BYTES, header_bytes, "tensor header", &header, e))
        return e->code;
    if (!json_is_object(header) || json_object_size(header) > TENSORS_MAX)
        return err_set(e, ERR_CORRUPT, "a tensor file's header is no object of at most %d tensors",
                       TENSORS_MAX);

    const uint8_t *data = bytes + LENGTH_BYTES + header_bytes;
    uint64_t data_bytes = n - LENGTH_BYTES - header_bytes;
    t.list = mem_array(json_object_size(header), sizeof(*t.list));
    json_object_foreach(header, name, entry)
    {
        if (strcmp(name, "__metadata__") == 0)
            t.metadata = json_incref(entry);
        else if (read_entry(name, entry, data, data_bytes, &t.list[t.count++], e))
            return err_wrap(e, "tensor '%s'", name);
    }
    if (t.metadata && !is_text_object(t.metadata))
        return err_set(e, ERR_CORRUPT, "a tensor file's __metadata__ is no object of texts");
    qsort(t.list, t.count, sizeof(*t.list), by_place);
    if (check_no_holes(&t, data, data_bytes, e))
        return e->code;
    *out = t;
    t = (struct tensors){ 0 };
    return OK;
}

enum err_code tensors_read(const void *file, size_t n, struct tensors *out, struct err *e)
{
    enum err_code code = read_file(file, n, out, e);
    if (code == ERR_LIMIT)
        code = e->code = ERR_CORRUPT; /* too deep, too long a name: no file of ours */
    return code;
}

const struct tensor *tensors_find(const struct tensors *t, const char *name)
{
    for (size_t i = 0; i < t->count; i++)
        if (strcmp(t->list[i].name, name) == 0)
            return &t->list[i];
    return NULL;
}
