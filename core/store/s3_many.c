/* Many reads at once, each going on where it broke off. */
#include "core/store/s3.h"

#include "base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct piece {
    struct buf body; /* what has come so far */
};
struct many {
    const struct store_read *reads;
    struct piece *pieces;
    store_read_fn *each;
    void *context;
};

static enum err_code prepare(void *context, size_t task, struct s3_call *call, struct s3_flow_room *room,
                             size_t *out_answer_bytes, struct err *e)
{
    struct many *m = context;
    const struct store_read *read = &m->reads[task];
    uint64_t have = m->pieces[task].body.len, from = read->offset + have, left = read->length - have;
    (void)e;
    call->method = "GET";
    call->key = read->key;
    if (read->version)
        s3_param(call, "versionId", read->version);
    if (left > 0) {
        snprintf(room->text, sizeof(room->text), "bytes=%" PRIu64 "-%" PRIu64, from, from + left - 1);
        s3_header(call, "range", room->text);
    }
    *out_answer_bytes = left;
    return OK;
}

/* "bytes 0-99/1000": does the answer begin where it was asked to? */
static bool begins_at(const struct http_response *r, uint64_t from)
{
    char range[96], want[48];
    snprintf(want, sizeof(want), "bytes %" PRIu64 "-", from);
    return http_header(r, "content-range", range, sizeof(range)) && strncmp(range, want, strlen(want)) == 0;
}

/* The first answer's buffer is kept as it is; later ones are added. */
static enum err_code keep(struct many *m, size_t task, struct http_response *r, struct err *e)
{
    struct piece *p = &m->pieces[task];
    if (p->body.len == 0) {
        buf_move(&p->body, &r->body);
        p->body.max = m->reads[task].length;
        return OK;
    }
    buf_add(&p->body, r->body.data, r->body.len);
    return buf_check(&p->body, "the object", e);
}

static enum err_code take(void *context, size_t task, struct http_response *r, struct err *e)
{
    enum { PARTIAL = 206 };
    struct many *m = context;
    struct piece *p = &m->pieces[task];
    uint64_t have = p->body.len, from = m->reads[task].offset + have;
    bool whole = r->status != PARTIAL && from == 0; /* some answer a range with all of it */
    if (!whole && !begins_at(r, from))
        return err_set(e, ERR_CORRUPT, "the answer to a range does not begin where it was asked to");
    if (have == 0) /* as nearly always; what is not moved away serves the next answer */
        return m->each(m->context, task, &r->body, e);
    if (keep(m, task, r, e))
        return e->code;
    enum err_code code = m->each(m->context, task, &p->body, e);
    buf_done(&p->body);
    p->body = (struct buf)BUF_INIT(m->reads[task].length);
    return code;
}

/* Bytes of a version that is named are the same tomorrow: they need not come twice. */
static void broke_off(void *context, size_t task, struct http_response *r)
{
    enum { PARTIAL = 206 };
    struct many *m = context;
    struct err ignored = ERR_INIT;
    uint64_t from = m->reads[task].offset + m->pieces[task].body.len;
    bool fits = r->body.len > 0 && r->body.len + m->pieces[task].body.len <= m->reads[task].length;
    if (m->reads[task].version && fits && begins_at(r, from))
        IGNORE(keep(m, task, r, &ignored));
}

enum err_code s3_get_many(struct store *base, const struct store_read *reads, size_t count,
                          store_read_fn *each, void *context, struct err *e)
{
    CLEANUP(freep) struct piece *pieces = mem_array(MAX(count, (size_t)1), sizeof(*pieces));
    struct many m = { .reads = reads, .pieces = pieces, .each = each, .context = context };
    const struct s3_flow flow = {
        .count = count,
        .context = &m,
        .patience_ms = ((struct store_s3 *)base)->place.patience_ms,
        .prepare = prepare,
        .take = take,
        .broke_off = broke_off,
    };
    for (size_t i = 0; i < count; i++)
        pieces[i].body = (struct buf)BUF_INIT(reads[i].length);
    enum err_code code = s3_flow_run((struct store_s3 *)base, &flow, e);
    for (size_t i = 0; i < count; i++)
        buf_done(&pieces[i].body);
    return code;
}
