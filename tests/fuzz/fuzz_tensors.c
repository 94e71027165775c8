/* Any bytes as a safetensors file: refused, or read into tensors that fill the file's data without a hole;
 * and what was read can be written, and is then read as the same. */
#include "core/artifact/tensors.h"
#include "tests/fuzz/replay.h"

#include "base/mem.h"

#include <string.h>

enum { BYTES_MAX = 8 * 1024 * 1024 };

static void check_places(const struct tensors *t, const uint8_t *data, size_t n)
{
    const uint8_t *at = NULL;
    for (size_t i = 0; i < t->count; i++) {
        const struct tensor *one = &t->list[i];
        const uint8_t *begin = one->data;
        invariant(begin >= data + 8 && begin <= data + n && one->bytes <= (size_t)(data + n - begin));
        invariant(!at || begin == at);
        invariant(tensors_find(t, one->name) == one && strlen(one->name) < TENSOR_NAME_BYTES);
        at = begin + one->bytes;
    }
    invariant(t->count == 0 || at == data + n);
}

static bool is_same(const struct tensor *a, const struct tensor *b)
{
    return strcmp(a->name, b->name) == 0 && a->type == b->type && a->dim_count == b->dim_count &&
           memcmp(a->dims, b->dims, sizeof(a->dims)) == 0 && a->bytes == b->bytes &&
           (a->bytes == 0 || memcmp(a->data, b->data, a->bytes) == 0);
}

static void write_and_read_again(const struct tensors *t)
{
    struct err e = ERR_INIT;
    CLEANUP(buf_done) struct buf file = BUF_INIT(BYTES_MAX);
    CLEANUP(tensors_done) struct tensors again = { 0 };

    if (tensors_write(t->list, t->count, t->metadata, &file, &e)) {
        invariant(e.code == ERR_LIMIT);
        return;
    }
    invariant(tensors_read(file.data, file.len, &again, &e) == OK);
    invariant(again.count == t->count && json_equal(again.metadata, t->metadata) == (t->metadata != NULL));
    /* Tensors of no bytes may change places among each other: they all start where the next one does. */
    for (size_t i = 0; i < t->count; i++) {
        const struct tensor *found = tensors_find(&again, t->list[i].name);
        invariant(found && is_same(found, &t->list[i]));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct err e = ERR_INIT;
    CLEANUP(tensors_done) struct tensors t = { 0 };

    if (tensors_read(data, n, &t, &e)) {
        invariant(e.code == ERR_CORRUPT && t.count == 0 && !t.list && !t.metadata);
        return 0;
    }
    check_places(&t, data, n);
    write_and_read_again(&t);
    return 0;
}

REPLAY_MAIN("tensors")
