#include "trainer/models/memory.h"

#include "base/mem.h"

#include <string.h>

void memory_init(struct memory_list *l, size_t pieces_max)
{
    *l = (struct memory_list){ .pieces = mem_array(pieces_max, sizeof(*l->pieces)), .max = pieces_max };
}

void memory_done(struct memory_list *l, struct device *d)
{
    for (size_t i = 0; i < l->count; i++)
        device_free(d, l->pieces[i].taken);
    free(l->pieces);
    *l = (struct memory_list){ 0 };
}

void memory_add(struct memory_list *l, enum memory_use use, void *out, size_t count, size_t bytes_each)
{
    invariant(l->count < l->max);
    l->pieces[l->count++] = (struct memory_piece){ use, out, count, bytes_each, NULL };
}

enum err_code memory_sum(const struct memory_list *l, size_t out_bytes[MEMORY_USES], struct err *e)
{
    size_t sums[MEMORY_USES] = { 0 };
    for (size_t i = 0; i < l->count; i++) {
        const struct memory_piece *p = &l->pieces[i];
        size_t bytes;
        if (__builtin_mul_overflow(p->count, p->bytes_each, &bytes) || bytes > DEVICE_BYTES_MAX)
            return err_set(e, ERR_LIMIT, "no device has memory for %zu times %zu bytes", p->count,
                           p->bytes_each);
        sums[p->use] += bytes; /* of at most a few thousand pieces of 2^39 bytes */
    }
    memcpy(out_bytes, sums, sizeof(sums));
    return OK;
}

enum err_code memory_take(struct memory_list *l, struct device *d, struct err *e)
{
    for (size_t i = 0; i < l->count; i++) {
        struct memory_piece *p = &l->pieces[i];
        if (device_alloc(d, p->count, p->bytes_each, &p->taken, e))
            return e->code;
        memcpy(p->out, &p->taken, sizeof(p->taken));
    }
    return OK;
}
