#include "runner/attempt/standing.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/proc.h"
#include "base/stop.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

enum {
    RECORD_BYTES_MAX = 16 * 1024,
    EVENT_BYTES_MAX = 64 * 1024,
    TRY_EVERY_MS = 50,
    WRITE_TRIES_MAX = 3,
    CALL_MS_MIN = 100,
    CALL_MS_MAX = 2000,
};

/* A call that hangs must leave time to act before the lease is over. */
static int64_t call_ms(int64_t lease_ms)
{
    return MAX(CALL_MS_MIN, MIN(lease_ms / 6, CALL_MS_MAX));
}

int64_t standing_call_ms(const struct standing *s)
{
    return call_ms(s->lease.ttl_ms);
}

int64_t standing_left_ms(const struct standing *s)
{
    return lease_left_ms(&s->lease);
}

enum err_code standing_renew(struct standing *s, struct err *e)
{
    return lease_renew(s->state, &s->lease, e);
}

/* ---- taking ---- */

static enum err_code connect_state(const struct cluster *c, struct standing *s, struct err *e)
{
    CLEANUP(secret_freep) struct secret *password = NULL;
    struct state_config config;
    cluster_state_config(c, &config);
    config.timeout_ms = call_ms(c->timing.attempt_lease_ms);
    if (cluster_state_password(c, &password, e))
        return err_wrap(e, "password of the state");
    return state_open(&config, password, &s->state, e);
}

static enum err_code take_lease(const struct cluster *c, struct standing *s, struct err *e)
{
    char name[JOB_KEY_BYTES], host[65] = "", owner[128];
    struct proc_id self;
    if (proc_identify(getpid(), &self, e))
        return e->code;
    gethostname(host, sizeof(host) - 1);
    snprintf(owner, sizeof(owner), "%.64s:%d:%" PRIu64, host, (int)self.pid, self.start_ticks);
    s->record.supervisor_pid = self.pid;
    s->record.supervisor_start = (int64_t)self.start_ticks;
    return lease_take(s->state, job_lease_name(s->record.job, name), owner, c->timing.attempt_lease_ms,
                      &s->lease, e);
}

/* Connects and takes the lease, once. */
static enum err_code try_to_take(const struct cluster *c, struct standing *s, struct err *e)
{
    if (!s->state && connect_state(c, s, e))
        return e->code;
    return take_lease(c, s, e);
}

static enum err_code read_job(struct standing *s, struct job *out, struct err *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(STATE_VALUE_BYTES_MAX);
    char key[JOB_KEY_BYTES];
    if (state_get(s->state, job_key(s->record.job, key), &text, NULL, e))
        return e->code;
    return job_from_text(text.data, text.len, out, e);
}

static enum err_code check_job(const struct standing *s, const struct job *j, enum err_code code,
                               struct err *e)
{
    if (!job_is_active(j->state))
        return err_set(e, code, "job '%s' is %s", j->id, job_state_names[j->state]);
    if (j->attempts != s->record.number)
        return err_set(e, code, "job '%s' is at attempt %" PRId64 ", not %" PRId64, j->id, j->attempts,
                       s->record.number);
    return OK;
}

enum err_code standing_look(struct standing *s, enum job_state *out, struct err *e)
{
    CLEANUP(job_done) struct job j = { .result = NULL };
    if (read_job(s, &j, e)) {
        if (e->code == ERR_NOT_FOUND)
            return err_set(e, ERR_DENIED, "job '%s' is not in the state any more", s->record.job);
        return e->code;
    }
    if (check_job(s, &j, ERR_DENIED, e))
        return e->code;
    *out = j.state;
    return OK;
}

/* The job as it stands: ERR_CONFLICT where there is nothing for us to do. */
static enum err_code read_task(struct standing *s, struct job *out, struct err *e)
{
    if (read_job(s, out, e)) {
        if (e->code == ERR_NOT_FOUND)
            return err_set(e, ERR_CONFLICT, "there is no job '%s'", s->record.job);
        return e->code;
    }
    if (check_job(s, out, ERR_CONFLICT, e))
        return e->code;
    s->record.token = s->lease.token;
    s->record.ranks = out->spec.resources.ranks;
    s->record.started_ms = clock_wall_ms();
    memcpy(s->record.node, out->node, sizeof(s->record.node));
    return OK;
}

/* False when asked to stop meanwhile. */
static bool wait_a_little(void)
{
    struct pollfd stop = { .fd = stop_fd(), .events = POLLIN };
    return poll(&stop, 1, TRY_EVERY_MS) == 0 && !stop_asked();
}

static enum err_code take_in_time(const struct cluster *c, struct standing *s, int64_t patience_ms,
                                  struct err *e)
{
    const int64_t deadline = clock_mono_ms() + patience_ms;
    bool waited = false;
    for (;;) {
        if (try_to_take(c, s, e) == OK)
            return OK;
        if ((e->code != ERR_RETRY && e->code != ERR_CONFLICT) || clock_mono_ms() >= deadline)
            return e->code;
        if (!waited)
            log_info("attempt.waits", "job=%s attempt=%" PRId64 " %s", s->record.job, s->record.number,
                     e->text);
        waited = true;
        if (!wait_a_little())
            return err_set(e, ERR_CANCELED, "asked to stop before it began");
    }
}

enum err_code standing_take(const struct cluster *c, const char *job, int64_t number, int64_t patience_ms,
                            struct standing *out, struct job *out_job, struct err *e)
{
    struct standing s = { .record = { .number = number, .phase = ATTEMPT_LAUNCHING } };
    snprintf(s.record.job, sizeof(s.record.job), "%s", job);
    snprintf(s.name, sizeof(s.name), "supervisor:%s.%" PRId64, job, number);
    if (take_in_time(c, &s, patience_ms, e) || read_task(&s, out_job, e)) {
        standing_done(&s);
        return e->code;
    }
    err_clear(e);
    *out = s;
    return OK;
}

void standing_done(struct standing *s)
{
    struct err ignored = ERR_INIT;
    if (s->state && s->lease.token && lease_left_ms(&s->lease) > 0)
        IGNORE(lease_release(s->state, &s->lease, &ignored)); /* it ends by itself */
    state_close(s->state);
    *s = (struct standing){ .state = NULL };
}

/* ---- writing ---- */

static enum err_code add_events(const struct standing *s, struct state_tx *tx,
                                const struct standing_event *events, size_t count, struct err *e)
{
    for (size_t i = 0; i < count; i++) {
        CLEANUP(buf_done) struct buf text = BUF_INIT(EVENT_BYTES_MAX);
        if (job_event_text(s->name, events[i].name, s->record.job, clock_wall_ms(), events[i].data, &text, e))
            return err_wrap(e, "event '%s'", events[i].name);
        state_tx_append(tx, JOB_OUTBOX, text.data, text.len);
    }
    return OK;
}

/* One try. ERR_CONFLICT: the record changed between reading and writing it. *out_done: it stands there
 * already. */
static enum err_code try_to_write(struct standing *s, const struct buf *text, bool first,
                                  const struct standing_event *events, size_t count, struct err *e)
{
    CLEANUP(state_tx_freep) struct state_tx *tx = state_tx_new();
    CLEANUP(buf_done) struct buf there = BUF_INIT(RECORD_BYTES_MAX);
    char key[JOB_KEY_BYTES];
    int64_t version = 0;
    job_attempt_key(s->record.job, s->record.number, key);
    if (state_get(s->state, key, &there, &version, e) && e->code != ERR_NOT_FOUND)
        return e->code;
    err_clear(e);
    if (version > 0 && there.len == text->len && memcmp(there.data, text->data, text->len) == 0)
        return OK; /* an earlier try was applied, and its answer lost */
    if (first && version > 0)
        return err_set(e, ERR_CONFLICT, "attempt %" PRId64 " of job '%s' was started before",
                       s->record.number, s->record.job);
    state_tx_fence(tx, s->lease.name, s->lease.token);
    state_tx_expect(tx, key, version);
    state_tx_put(tx, key, text->data, text->len);
    if (add_events(s, tx, events, count, e))
        return e->code;
    return state_commit(s->state, tx, e);
}

enum err_code standing_write(struct standing *s, bool first, const struct standing_event *events,
                             size_t count, struct err *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(RECORD_BYTES_MAX);
    invariant(count <= STANDING_EVENTS_MAX);
    if (attempt_to_text(&s->record, &text, e))
        return e->code;
    for (int i = 0; i < WRITE_TRIES_MAX; i++)
        if (try_to_write(s, &text, first, events, count, e) != ERR_CONFLICT || first)
            return e->code;
    return e->code;
}

enum err_code standing_put(struct standing *s, const char *key, const void *data, size_t n,
                           const struct standing_event *event, struct err *e)
{
    CLEANUP(state_tx_freep) struct state_tx *tx = state_tx_new();
    state_tx_fence(tx, s->lease.name, s->lease.token);
    if (data)
        state_tx_put(tx, key, data, n);
    else
        state_tx_delete(tx, key);
    if (event && add_events(s, tx, event, 1, e))
        return e->code;
    return state_commit(s->state, tx, e);
}
