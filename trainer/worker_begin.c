#include "base/log.h"
#include "trainer/worker_parts.h"

#include <inttypes.h>
#include <string.h>

/* Rank 0's alone, and only while it is read. */
static enum err_code open_store(struct worker *w, struct renewal *r, struct worker_wait *wait,
                                struct store **out, struct err *e)
{
    *r = (struct renewal){ w->doc, SESSION_FROM, state_open };
    if (w->comm->rank != 0)
        return OK;
    if (renewal_open_store(r, out, e))
        return err_wrap(e, "model.from");
    store_on_wait(*out, worker_waits, wait);
    return OK;
}

static void tell(struct worker *w, const struct begun *b)
{
    const char *uri = w->doc->spec.model.from;

    if (w->comm->rank == 0) {
        log_info("model.begun_from", "uri=%s version=%s sha256=%s", uri, b->version, b->sha256);
        if (b->positions)
            log_warn("model.positions_cut", "file=%" PRIu64 " context=%zu", b->positions,
                     w->model->config.context);
    }
    worker_tell(w, "model.begun_from",
                json_pack("{s:s,s:s,s:s,s:I}", "uri", uri, "version", b->version, "sha256", b->sha256,
                          "bytes", (json_int_t)b->bytes),
                NULL, NULL);
}

enum err_code worker_begin_from(struct worker *w, float *params, struct begun *out, struct err *e)
{
    struct renewal renewal;
    struct worker_wait wait = { .rank = w->comm->rank };
    CLEANUP(store_closep) struct store *store = NULL;
    CLEANUP(json_donep) json_t *description = NULL;

    IGNORE(open_store(w, &renewal, &wait, &store, e) || feed_describe(w->feed, w->model, &description, e));
    if (comm_agree(w->comm, e))
        return e->code;
    const struct begin_place place = { w->comm, w->doc, store, &w->signer };
    if (begin_from(&place, w->model, description, params, out, e))
        return e->code;
    memcpy(w->feed->begun_from, out->sha256, sizeof(w->feed->begun_from));
    tell(w, out);
    return OK;
}
