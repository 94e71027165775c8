#include "trainer/renewal.h"

enum { CALL_MS = 1000 };

static enum err_code read_doc(const struct renewal *r, struct buf *out, struct err *e)
{
    CLEANUP(state_closep) struct state *state = NULL;
    struct state_config config = r->doc->state;
    char key[JOB_KEY_BYTES];
    config.timeout_ms = CALL_MS;
    if (r->open(&config, r->doc->state_password, &state, e) ||
        state_get(state, job_sessions_key(r->doc->job, r->doc->attempt, key), out, NULL, e)) {
        e->code = ERR_RETRY;
        return err_wrap(e, "newer credentials");
    }
    return OK;
}

enum err_code renewal_look(void *renewal, struct store_session *out, struct err *e)
{
    const struct renewal *r = renewal;
    const struct attempt_doc *d = r->doc;
    CLEANUP(buf_done) struct buf text = BUF_INIT(2 * SESSION_DOC_BYTES_MAX);
    const struct session_owner owner = { .cluster = d->cluster,
                                         .job = d->job,
                                         .attempt = d->attempt,
                                         .token = d->token,
                                         .data_key = d->data_key };
    if (read_doc(r, &text, e))
        return e->code;
    return session_doc_open(&owner, buf_text(&text), r->use, out, e);
}

enum err_code renewal_open_store(struct renewal *r, struct store **out, struct err *e)
{
    const struct attempt_store *const all[SESSION_USES] = {
        [SESSION_DATA] = &r->doc->data, [SESSION_MODELS] = &r->doc->models, [SESSION_FROM] = &r->doc->from.at
    };
    const struct attempt_store *at = all[r->use];
    struct store_credentials c = store_lend(&at->session);
    c.renew = renewal_look;
    c.renew_context = r;
    return cluster_open_place(&at->place, &c, out, e);
}
