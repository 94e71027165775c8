#include "trainer/pulse.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/stop.h"
#include "core/state/lease.h"

#include <inttypes.h>
#include <string.h>

enum {
    EVENT_BYTES_MAX = 64 << 10,
    FLUSH_EVERY_MS = 250,
    REREAD_MAX = 4, /* a commit that lost its race with itself, in a row */
};

struct waiting {
    char *event;               /* owned: outbox entry */
    char *put_name, *put_text; /* owned; may be NULL */
};
struct pulse_line {
    const struct attempt_doc *doc;
    const struct clock *clock;
    pulse_open_fn *open;
    struct state *state; /* NULL: not connected */
    char lease[JOB_KEY_BYTES], events[JOB_KEY_BYTES], actor[64];
    int64_t progress_due, retry_due; /* monotonic */
    struct waiting *waiting;
    size_t waiting_count;
    int64_t told, told_version; /* the job's count of events as it was read or written last */
    bool told_known;            /* false: read it before the next event */
    bool in_doubt;              /* the first that waits was sent, and nobody said what became of it */
    bool fenced, away;
};

struct pulse_line *pulse_line_new(const struct attempt_doc *doc, const struct clock *clock,
                                  pulse_open_fn *open)
{
    struct pulse_line *l = mem_new(sizeof(*l));
    l->doc = doc;
    l->clock = clock;
    l->open = open;
    l->progress_due = l->retry_due = INT64_MIN;
    job_lease_name(doc->job, l->lease);
    job_events_key(doc->job, l->events);
    snprintf(l->actor, sizeof(l->actor), "attempt:%s.%" PRId64, doc->job, doc->attempt);
    l->waiting = mem_array(PULSE_WAITING_MAX, sizeof(*l->waiting));
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

static int64_t now_ms(const struct pulse_line *l)
{
    return l->clock->mono_ms(l->clock);
}

/* ---- there, away, fenced ---- */

/* Whatever it says: nothing is tried for a while, and what was known of the state is asked for again. */
static enum err_code went_away(struct pulse_line *l, struct err *e)
{
    if (!l->away)
        log_warn("state.away", "job=%s why=\"%s\"", l->doc->job, e->text);
    l->away = true;
    l->told_known = false;
    l->retry_due = now_ms(l) + PULSE_AWAY_MS;
    e->code = ERR_RETRY;
    return e->code;
}

static enum err_code connect_state(struct pulse_line *l, struct err *e)
{
    struct state_config config = l->doc->state;

    if (l->fenced)
        return err_set(e, ERR_DENIED, "another attempt of this job holds its lease");
    if (now_ms(l) < l->retry_due)
        return err_set(e, ERR_RETRY, "the state did not answer a moment ago");
    config.timeout_ms = PULSE_CALL_MS;
    if (!l->state && l->open(&config, l->doc->state_password, &l->state, e))
        return went_away(l, e);
    return OK;
}

/* A commit is refused for the fence, or because the state does not know our password any more. A state that
 * still answers us means the fence. */
static enum err_code refused(struct pulse_line *l, struct err *e)
{
    struct lease_facts facts;
    struct err e_look = ERR_INIT;

    if (lease_look(l->state, l->lease, &facts, &e_look))
        return went_away(l, e);
    l->fenced = true;
    return e->code;
}

/* ERR_CONFLICT is the caller's to understand. */
static enum err_code commit(struct pulse_line *l, const struct state_tx *tx, struct err *e)
{
    if (connect_state(l, e))
        return e->code;
    enum err_code code = state_commit(l->state, tx, e);
    if (code == ERR_DENIED)
        return refused(l, e);
    if (code != OK && code != ERR_CONFLICT)
        return went_away(l, e);
    if (l->away)
        log_info("state.back", "job=%s waiting=%zu", l->doc->job, l->waiting_count);
    l->away = false;
    return code;
}

/* ---- events ---- */

static void drop_first(struct pulse_line *l)
{
    waiting_done(&l->waiting[0]);
    l->waiting_count--;
    memmove(l->waiting, l->waiting + 1, l->waiting_count * sizeof(*l->waiting));
    l->in_doubt = false;
}

/* How many events the job has told. One more than we know of is the one that was in doubt. Fewer: the state
 * was emptied or restored from a copy; we go on from there. */
static enum err_code read_told(struct pulse_line *l, struct err *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(NUM_TEXT_BYTES);
    int64_t version = 0, told = 0;

    if (connect_state(l, e))
        return e->code;
    enum err_code code = state_get(l->state, l->events, &text, &version, e);
    if (code == ERR_NOT_FOUND)
        err_clear(e);
    else if (code != OK || parse_i64(buf_text(&text), &told, e))
        return went_away(l, e);
    if (l->in_doubt && told == l->told + 1)
        drop_first(l);
    l->told = told; /* not there yet: it may still come, so it stays in doubt until the next has an answer */
    l->told_version = version;
    l->told_known = true;
    return OK;
}

static enum err_code commit_event(struct pulse_line *l, const struct waiting *w, struct err *e)
{
    CLEANUP(state_tx_freep) struct state_tx *tx = state_tx_new();
    char number[NUM_TEXT_BYTES];

    snprintf(number, sizeof(number), "%" PRId64, l->told + 1);
    state_tx_fence(tx, l->lease, l->doc->token);
    state_tx_expect(tx, l->events, l->told_version);
    state_tx_put_text(tx, l->events, number);
    if (w->put_name)
        state_tx_put_text(tx, w->put_name, w->put_text);
    state_tx_append(tx, JOB_OUTBOX, w->event, strlen(w->event));
    return commit(l, tx, e);
}

static enum err_code send_first(struct pulse_line *l, struct err *e)
{
    for (int i = 0; i < REREAD_MAX; i++) {
        if (!l->told_known && read_told(l, e))
            return e->code;
        if (l->waiting_count == 0)
            return OK; /* it was in doubt, and had been applied */
        enum err_code code = commit_event(l, &l->waiting[0], e);
        if (code == OK) {
            l->told++;
            l->told_version++;
            l->told_known = l->told_version > 1; /* where a new value starts is the state's business */
            drop_first(l);
            return OK;
        }
        if (code != ERR_CONFLICT) {
            l->in_doubt = true;
            return code;
        }
        l->told_known = false; /* one in doubt came through late, or the state is an older copy: look */
        err_clear(e);
    }
    return err_set(e, ERR_RETRY, "the count of the job's events changes faster than it can be read");
}

/* What waits, oldest first, until one fails. */
static enum err_code send_waiting(struct pulse_line *l, struct err *e)
{
    while (l->waiting_count > 0)
        if (send_first(l, e))
            return e->code;
    return OK;
}

/* ---- the calls ---- */

enum err_code pulse_progress(struct pulse_line *l, const struct pulse *p, bool now, struct err *e)
{
    struct err away = ERR_INIT;
    char name[JOB_KEY_BYTES];
    CLEANUP(buf_done) struct buf text = BUF_INIT(4096);

    if (!now && now_ms(l) < l->progress_due)
        return OK;
    l->progress_due = now_ms(l) + PULSE_EVERY_MS;
    if (pulse_to_text(p, &text, &away))
        return OK;
    CLEANUP(state_tx_freep) struct state_tx *tx = state_tx_new();
    state_tx_fence(tx, l->lease, l->doc->token);
    state_tx_put(tx, job_pulse_key(l->doc->job, name), text.data, text.len);
    if (send_waiting(l, &away) == OK)
        IGNORE(commit(l, tx, &away));
    if (away.code == ERR_DENIED)
        *e = away;
    return away.code == ERR_DENIED ? ERR_DENIED : OK;
}

enum err_code pulse_event(struct pulse_line *l, const char *event, json_t *data, const char *put_name,
                          const char *put_text, struct err *e)
{
    CLEANUP(json_donep) json_t *taken = data;
    CLEANUP(buf_done) struct buf text = BUF_INIT(EVENT_BYTES_MAX);
    struct err away = ERR_INIT;

    if (l->waiting_count == PULSE_WAITING_MAX)
        return err_set(e, ERR_RETRY, "the state has been away for %d events", PULSE_WAITING_MAX);
    if (job_event_text(l->actor, event, l->doc->job, l->clock->wall_ms(l->clock), taken, &text, e))
        return err_wrap(e, "event %s", event);
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

bool pulse_all_told(const struct pulse_line *l)
{
    return l->waiting_count == 0 && !l->fenced;
}

enum err_code pulse_flush(struct pulse_line *l, int64_t within_ms, struct err *e)
{
    int64_t until = now_ms(l) + within_ms;
    struct err away = ERR_INIT;

    for (;;) {
        l->retry_due = INT64_MIN;
        if (send_waiting(l, &away) == OK)
            return OK;
        if (away.code != ERR_DENIED && stop_asked())
            away.code = ERR_CANCELED;
        if (away.code != ERR_RETRY || now_ms(l) >= until)
            break;
        l->clock->sleep_ms(l->clock, FLUSH_EVERY_MS);
        err_clear(&away);
    }
    *e = away;
    return err_wrap(e, "what the job has to tell could not be recorded in the state");
}
