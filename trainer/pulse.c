#include "trainer/pulse.h"

#include "base/clock.h"
#include "base/mem.h"

#include <inttypes.h>
#include <string.h>

enum {
    PROGRESS_EVERY_MS = 500,
    RETRY_EVERY_MS = 1000,
    CALL_TIMEOUT_MS = 500, /* a state that hangs may cost a step that much, once a second */
    WAITING_MAX = 4096,
    EVENT_BYTES_MAX = 64 << 10,
};

struct waiting {
    char *event;               /* owned: outbox entry */
    char *put_name, *put_text; /* owned; may be NULL */
};
struct pulse_line {
    const struct attempt_doc *doc;
    struct state *state; /* NULL: not connected */
    char lease[JOB_KEY_BYTES], actor[64];
    int64_t progress_due, retry_due; /* monotonic */
    struct waiting *waiting;
    size_t waiting_count;
    bool fenced;
};

struct pulse_line *pulse_line_new(const struct attempt_doc *doc)
{
    struct pulse_line *l = mem_new(sizeof(*l));
    l->doc = doc;
    job_lease_name(doc->job, l->lease);
    snprintf(l->actor, sizeof(l->actor), "attempt:%s.%" PRId64, doc->job, doc->attempt);
    l->waiting = mem_array(WAITING_MAX, sizeof(*l->waiting));
    return l;
}

static void waiting_done(struct waiting *w)
{
    free(w->event);
    free(w->put_name);
    free(w->put_text);
}

void pulse_line_free(struct pulse_line *l)
{
    if (!l)
        return;
    for (size_t i = 0; i < l->waiting_count; i++)
        waiting_done(&l->waiting[i]);
    free(l->waiting);
    state_close(l->state);
    free(l);
}

/* One commit. Away: ERR_RETRY, and nothing is tried for a while. Fenced: ERR_DENIED, for ever. */
static enum err_code commit(struct pulse_line *l, const struct state_tx *tx, struct err *e)
{
    if (l->fenced)
        return err_set(e, ERR_DENIED, "another attempt of this job holds its lease");
    if (clock_mono_ms() < l->retry_due)
        return err_set(e, ERR_RETRY, "the state did not answer a moment ago");
    if (!l->state) {
        struct state_config config = l->doc->state;
        config.timeout_ms = CALL_TIMEOUT_MS;
        if (state_open(&config, l->doc->state_password, &l->state, e)) {
            l->retry_due = clock_mono_ms() + RETRY_EVERY_MS;
            e->code = ERR_RETRY;
            return e->code;
        }
    }
    if (state_commit(l->state, tx, e) == OK)
        return OK;
    if (e->code == ERR_DENIED)
        l->fenced = true;
    else
        l->retry_due = clock_mono_ms() + RETRY_EVERY_MS;
    return e->code;
}

/* What waits, oldest first, until one fails. */
static enum err_code send_waiting(struct pulse_line *l, struct err *e)
{
    size_t sent = 0;
    enum err_code code = OK;

    while (sent < l->waiting_count) {
        struct waiting *w = &l->waiting[sent];
        CLEANUP(state_tx_freep) struct state_tx *tx = state_tx_new();
        state_tx_fence(tx, l->lease, l->doc->token);
        if (w->put_name)
            state_tx_put_text(tx, w->put_name, w->put_text);
        state_tx_append(tx, JOB_OUTBOX, w->event, strlen(w->event));
        code = commit(l, tx, e);
        if (code != OK)
            break;
        waiting_done(w);
        sent++;
    }
    l->waiting_count -= sent;
    memmove(l->waiting, l->waiting + sent, l->waiting_count * sizeof(*l->waiting));
    return code;
}

enum err_code pulse_progress(struct pulse_line *l, const struct pulse *p, bool now, struct err *e)
{
    struct err away = ERR_INIT;
    char name[JOB_KEY_BYTES];
    CLEANUP(buf_done) struct buf text = BUF_INIT(4096);

    if (!now && clock_mono_ms() < l->progress_due)
        return OK;
    l->progress_due = clock_mono_ms() + PROGRESS_EVERY_MS;
    if (pulse_to_text(p, &text, e))
        return e->code;
    CLEANUP(state_tx_freep) struct state_tx *tx = state_tx_new();
    state_tx_fence(tx, l->lease, l->doc->token);
    state_tx_put(tx, job_pulse_key(l->doc->job, name), text.data, text.len);
    if (send_waiting(l, &away) != OK || commit(l, tx, &away) != OK)
        if (away.code == ERR_DENIED) {
            *e = away;
            return e->code;
        }
    return OK;
}

enum err_code pulse_event(struct pulse_line *l, const char *event, json_t *data, const char *put_name,
                          const char *put_text, struct err *e)
{
    CLEANUP(json_donep) json_t *taken = data;
    CLEANUP(buf_done) struct buf text = BUF_INIT(EVENT_BYTES_MAX);
    struct err away = ERR_INIT;

    if (l->waiting_count == WAITING_MAX)
        return err_set(e, ERR_RETRY, "the state has been away for %d events", WAITING_MAX);
    if (job_event_text(l->actor, event, l->doc->job, clock_wall_ms(), taken, &text, e))
        return e->code;
    l->waiting[l->waiting_count++] = (struct waiting){
        .event = mem_text(buf_text(&text)),
        .put_name = mem_text(put_name),
        .put_text = mem_text(put_text),
    };
    if (send_waiting(l, &away) == ERR_DENIED) {
        *e = away;
        return e->code;
    }
    return OK;
}

enum err_code pulse_flush(struct pulse_line *l, int64_t within_ms, struct err *e)
{
    int64_t until = clock_mono_ms() + within_ms;

    while (send_waiting(l, e) != OK) {
        if (e->code == ERR_DENIED || clock_mono_ms() >= until)
            return err_wrap(e, "the job's result could not be recorded in the state");
        clock_real.sleep_ms(&clock_real, RETRY_EVERY_MS / 4);
        err_clear(e);
    }
    return OK;
}
