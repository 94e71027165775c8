#include "core/seal/floe_message.h"

#include "base/mem.h"

#include <inttypes.h>

/* The sealed length says which segment is the last; a wrong one shows, as the last one is sealed as such. */
struct floe_reader {
    struct floe_message message;
    uint64_t count;
    uint32_t last_bytes; /* sealed, of the last segment */
};

void floe_reader_free(struct floe_reader *r)
{
    if (!r)
        return;
    floe_message_done(&r->message);
    free(r);
}

enum err_code floe_reader_open(const struct floe_params *p, const struct secret *key, const void *aad,
                               size_t aad_n, const void *header, uint64_t sealed_bytes,
                               struct floe_reader **out, struct err *e)
{
    if (sealed_bytes < FLOE_HEADER_BYTES + FLOE_SEGMENT_OVERHEAD)
        return err_set(e, ERR_CORRUPT, "a sealed message has at least %d bytes, not %" PRIu64,
                       FLOE_HEADER_BYTES + FLOE_SEGMENT_OVERHEAD, sealed_bytes);
    CLEANUP(floe_reader_freep) struct floe_reader *r = mem_new(sizeof(*r));
    if (floe_message_resume(&r->message, p, key, aad, aad_n, header, e))
        return e->code;
    uint64_t body = sealed_bytes - FLOE_HEADER_BYTES;
    r->count = (body - 1) / p->segment_bytes + 1;
    r->last_bytes = (uint32_t)(body - (r->count - 1) * p->segment_bytes);
    if (r->last_bytes < FLOE_SEGMENT_OVERHEAD || r->count > FLOE_SEGMENTS_MAX)
        return err_set(e, ERR_CORRUPT, "no message with segments of %" PRIu32 " bytes has %" PRIu64 " bytes",
                       p->segment_bytes, sealed_bytes);
    *out = TAKE(r);
    return OK;
}

uint64_t floe_plain_bytes(const struct floe_reader *r)
{
    return (r->count - 1) * floe_segment_plain_bytes(&r->message.params) + r->last_bytes -
           FLOE_SEGMENT_OVERHEAD;
}

uint64_t floe_segment_count(const struct floe_reader *r)
{
    return r->count;
}

void floe_segment_range(const struct floe_reader *r, uint64_t index, uint64_t *out_offset,
                        uint32_t *out_bytes)
{
    invariant(index < r->count);
    *out_offset = FLOE_HEADER_BYTES + index * r->message.params.segment_bytes;
    *out_bytes = index == r->count - 1 ? r->last_bytes : r->message.params.segment_bytes;
}

enum err_code floe_open_segment(struct floe_reader *r, uint64_t index, const void *sealed, size_t n,
                                struct buf *out, struct err *e)
{
    uint64_t offset;
    uint32_t bytes;
    floe_segment_range(r, index, &offset, &bytes);
    if (n != bytes)
        return err_set(e, ERR_CORRUPT, "segment %" PRIu64 " has %" PRIu32 " bytes, not %zu", index, bytes, n);
    uint8_t *to = buf_reserve(out, n - FLOE_SEGMENT_OVERHEAD);
    if (!to)
        return buf_check(out, "opened message", e);
    if (floe_message_open(&r->message, index, index == r->count - 1, sealed, n, to, e))
        return e->code;
    buf_commit(out, n - FLOE_SEGMENT_OVERHEAD);
    return OK;
}
