#include "core/seal/floe_message.h"

#include "base/mem.h"

#include <string.h>

/*
 * A segment is sealed only once more bytes are known to follow it, since the last one is sealed otherwise. So
 * up to one segment waits in `held`; what comes in large pieces goes past it without a copy.
 */
struct floe_writer {
    struct floe_message message;
    struct buf held; /* plain text: wiped */
    uint64_t index;  /* of the next segment */
    bool ended;
};

void floe_writer_free(struct floe_writer *w)
{
    if (!w)
        return;
    floe_message_done(&w->message);
    buf_wipe(&w->held);
    free(w);
}

enum err_code floe_writer_open(const struct floe_params *p, const struct secret *key, const void *aad,
                               size_t aad_n, struct floe_writer **out_writer, struct buf *out, struct err *e)
{
    uint8_t header[FLOE_HEADER_BYTES];
    CLEANUP(floe_writer_freep) struct floe_writer *w = mem_new(sizeof(*w));
    if (floe_message_start(&w->message, p, key, aad, aad_n, header, e))
        return e->code;
    w->held = (struct buf)BUF_INIT(floe_segment_plain_bytes(p));
    buf_add(out, header, sizeof(header));
    if (buf_check(out, "sealed message", e))
        return e->code;
    *out_writer = TAKE(w);
    return OK;
}

static enum err_code add_segment(struct floe_writer *w, bool final, const void *plain, size_t n,
                                 struct buf *out, struct err *e)
{
    if (!final && w->index == FLOE_SEGMENTS_MAX - 1)
        return err_set(e, ERR_LIMIT, "a FLOE message has at most 2^40 segments");
    uint8_t *to = buf_reserve(out, n + FLOE_SEGMENT_OVERHEAD);
    if (!to)
        return buf_check(out, "sealed message", e);
    floe_message_seal(&w->message, w->index, final, plain, n, to);
    buf_commit(out, n + FLOE_SEGMENT_OVERHEAD);
    w->index++;
    return OK;
}

enum err_code floe_write(struct floe_writer *w, const void *plain, size_t n, struct buf *out, struct err *e)
{
    const uint8_t *from = plain;
    const size_t full = floe_segment_plain_bytes(&w->message.params);
    invariant(!w->ended);
    while (n > 0) {
        if (w->held.len == full) {
            if (add_segment(w, false, w->held.data, full, out, e))
                return e->code;
            buf_reset(&w->held);
        }
        size_t take = MIN(n, full - w->held.len);
        if (take == full && n > full) { /* nothing is held and more follows */
            if (add_segment(w, false, from, full, out, e))
                return e->code;
        } else {
            buf_add(&w->held, from, take);
        }
        from += take;
        n -= take;
    }
    return OK;
}

enum err_code floe_writer_end(struct floe_writer *w, struct buf *out, struct err *e)
{
    invariant(!w->ended);
    if (add_segment(w, true, w->held.data, w->held.len, out, e))
        return e->code;
    w->ended = true;
    return OK;
}
