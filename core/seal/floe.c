#include "core/seal/floe_message.h"

#include <string.h>

uint64_t floe_sealed_bytes(const struct floe_params *p, uint64_t plain_bytes)
{
    invariant(p->segment_bytes > FLOE_SEGMENT_OVERHEAD);
    uint64_t full = floe_segment_plain_bytes(p);
    uint64_t count = plain_bytes ? (plain_bytes - 1) / full + 1 : 1;
    return FLOE_HEADER_BYTES + plain_bytes + count * FLOE_SEGMENT_OVERHEAD;
}

static enum err_code seal_all(const struct floe_params *p, const struct secret *key, const void *aad,
                              size_t aad_n, const void *plain, size_t n, struct buf *out, struct err *e)
{
    CLEANUP(floe_writer_freep) struct floe_writer *w = NULL;
    if (floe_writer_open(p, key, aad, aad_n, &w, out, e) || floe_write(w, plain, n, out, e) ||
        floe_writer_end(w, out, e))
        return e->code;
    return OK;
}

/* `out` as it was: what a failure left behind its end is overwritten. */
static void cut_back(struct buf *out, size_t len)
{
    if (!out->data || out->len == len)
        return;
    explicit_bzero(out->data + len, out->len - len);
    out->len = len;
}

enum err_code floe_seal(const struct floe_params *p, const struct secret *key, const void *aad, size_t aad_n,
                        const void *plain, size_t n, struct buf *out, struct err *e)
{
    const size_t len = out->len;
    /* All the room at once: growing step by step would copy. A size that does not fit is told by the writer.
     */
    if (p->segment_bytes > FLOE_SEGMENT_OVERHEAD && !buf_reserve(out, floe_sealed_bytes(p, n)))
        return buf_check(out, "sealed message", e);
    if (seal_all(p, key, aad, aad_n, plain, n, out, e)) {
        cut_back(out, len);
        return e->code;
    }
    return OK;
}

enum err_code floe_open(const struct floe_params *p, const struct secret *key, const void *aad, size_t aad_n,
                        const void *sealed, size_t n, struct buf *out, struct err *e)
{
    const size_t len = out->len;
    CLEANUP(floe_reader_freep) struct floe_reader *r = NULL;
    if (n < FLOE_HEADER_BYTES)
        return err_set(e, ERR_CORRUPT, "a sealed message has at least %d bytes, not %zu",
                       FLOE_HEADER_BYTES + FLOE_SEGMENT_OVERHEAD, n);
    if (floe_reader_open(p, key, aad, aad_n, sealed, n, &r, e))
        return e->code;
    if (!buf_reserve(out, floe_plain_bytes(r)))
        return buf_check(out, "opened message", e);
    for (uint64_t i = 0; i < floe_segment_count(r); i++) {
        uint64_t offset;
        uint32_t bytes;
        floe_segment_range(r, i, &offset, &bytes);
        if (floe_open_segment(r, i, (const uint8_t *)sealed + offset, bytes, out, e)) {
            cut_back(out, len);
            return e->code;
        }
    }
    return OK;
}
