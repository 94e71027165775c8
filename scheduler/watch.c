#include "scheduler/watch.h"

#include "base/log.h"
#include "base/mem.h"
#include "core/state/lease.h"
#include "scheduler/ending.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { ATTEMPT_BYTES_MAX = 16 << 10 };

void watch_init(struct watch *w, const struct moves *moves, struct launcher *launcher,
                const struct clock *clock, struct fleet *fleet, int64_t stop_grace_ms)
{
    *w = (struct watch){
        .moves = moves,
        .launcher = launcher,
        .clock = clock,
        .fleet = fleet,
        .stop_grace_ms = stop_grace_ms,
    };
}

/* ---- the table ---- */

static void remove_row(struct watch *w, size_t i)
{
    struct watched *row = &w->list[i];

    fleet_use(w->fleet, row->node, row->queue, -row->slots);
    if (row->fd >= 0)
        close(row->fd);
    *row = w->list[--w->count];
}

void watch_clear(struct watch *w)
{
    while (w->count)
        remove_row(w, w->count - 1);
}

void watch_done(struct watch *w)
{
    watch_clear(w);
    free(w->list);
    w->list = NULL;
    w->size = 0;
}

static struct watched *find(const struct watch *w, const char *job)
{
    for (size_t i = 0; i < w->count; i++)
        if (strcmp(w->list[i].id, job) == 0)
            return &w->list[i];
    return NULL;
}

bool watch_has(const struct watch *w, const char *job)
{
    return find(w, job) != NULL;
}

static struct watched *add_row(struct watch *w, const struct job *j)
{
    if (w->count == w->size) {
        w->size = w->size ? 2 * w->size : 16;
        w->list = mem_grow(w->list, w->size, sizeof(*w->list));
    }
    struct watched *row = &w->list[w->count++];
    *row = (struct watched){ .slots = j->slots, .attempt = j->attempts, .state = j->state, .fd = -1 };
    memcpy(row->id, j->id, sizeof(row->id));
    memcpy(row->queue, j->spec.queue, sizeof(row->queue));
    memcpy(row->node, j->node, sizeof(row->node));
    return row;
}

static void know_supervisor(struct watch *w, struct watched *row, struct proc_id id)
{
    row->supervisor = id;
    row->launched = true;
    if (row->fd < 0)
        row->fd = w->launcher->ops->watch_fd(w->launcher, id);
}

void watch_add(struct watch *w, const struct job *j, struct proc_id id, const char *failure)
{
    struct watched *row = add_row(w, j);

    row->here = true;
    row->placed_ms = w->clock->wall_ms(w->clock);
    row->failed = id.pid == 0;
    if (row->failed)
        snprintf(row->failure, sizeof(row->failure), "%s", failure);
    else
        know_supervisor(w, row, id);
}

void watch_wake(struct watch *w)
{
    for (size_t i = 0; i < w->count; i++)
        w->list[i].look_mono_ms = 0;
}

int64_t watch_next_mono_ms(const struct watch *w)
{
    int64_t next = INT64_MAX;

    for (size_t i = 0; i < w->count; i++)
        next = MIN(next, w->list[i].look_mono_ms);
    return next;
}

size_t watch_poll_fill(const struct watch *w, struct pollfd *out, size_t max)
{
    size_t n = 0;

    for (size_t i = 0; i < w->count && n < max; i++)
        if (w->list[i].fd >= 0)
            out[n++] = (struct pollfd){ .fd = w->list[i].fd, .events = POLLIN };
    return n;
}

void watch_poll_read(struct watch *w, const struct pollfd *polled, size_t count)
{
    for (size_t p = 0; p < count; p++) {
        if (!polled[p].revents)
            continue;
        for (size_t i = 0; i < w->count; i++) {
            if (w->list[i].fd != polled[p].fd)
                continue;
            /* It stays readable for ever: the process has ended, and that is all there is to know. */
            close(w->list[i].fd);
            w->list[i].fd = -1;
            w->list[i].look_mono_ms = 0;
        }
    }
}

/* ---- from the state alone ---- */

struct loading {
    struct watch *watch;
    struct watched *found; /* ids and times of placement, read first: the handle is needed for the rest */
    size_t count;
};

static enum err_code note_active(void *context, const char *member, double score, struct err *e)
{
    struct loading *l = context;
    (void)e;
    if (strlen(member) < JOB_ID_BYTES && l->count < WATCH_ACTIVE_MAX) {
        if (l->count % 64 == 0)
            l->found = mem_grow(l->found, l->count + 64, sizeof(*l->found));
        l->found[l->count] = (struct watched){ .placed_ms = (int64_t)score };
        memcpy(l->found[l->count++].id, member, strlen(member) + 1);
    }
    return OK;
}

/* What an earlier scheduler noted of the supervisor. No note, or one that cannot be read: nothing is known.
 */
static enum err_code read_note(struct watch *w, struct watched *row, struct err *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(LAUNCHER_NOTE_BYTES);
    struct launcher_note note;
    char key[JOB_KEY_BYTES];

    if (state_get(w->moves->state, launcher_note_key(row->id, row->attempt, key), &text, NULL, e) ||
        launcher_note_parse(buf_text(&text), &note, e)) {
        if (e->code == ERR_RETRY)
            return e->code;
        err_clear(e);
        return OK;
    }
    row->here = strcmp(note.host, w->launcher->host) == 0;
    row->launched = note.id.pid != 0;
    if (row->here && note.id.pid)
        know_supervisor(w, row, note.id);
    return OK;
}

static enum err_code load_one(struct watch *w, const struct watched *found, struct err *e)
{
    CLEANUP(job_done) struct job j = { .result = NULL };

    if (moves_read(w->moves->state, found->id, &j, NULL, e)) {
        if (e->code == ERR_RETRY)
            return e->code;
        log_error("job.unreadable", "job=%s %s", found->id, e->text);
        err_clear(e);
        return OK;
    }
    if (!job_is_active(j.state))
        return OK;
    struct watched *row = add_row(w, &j);
    row->placed_ms = found->placed_ms;
    fleet_use(w->fleet, row->node, row->queue, row->slots);
    return read_note(w, row, e);
}

enum err_code watch_load(struct watch *w, struct err *e)
{
    struct loading l = { .watch = w };
    enum err_code code;

    watch_clear(w);
    code = state_range(w->moves->state, JOB_SET_ACTIVE, -INFINITY, INFINITY, false, 0, WATCH_ACTIVE_MAX,
                       note_active, &l, e);
    for (size_t i = 0; i < l.count && code == OK; i++)
        code = load_one(w, &l.found[i], e);
    free(l.found);
    return code;
}

/* ---- one look ---- */

struct look {
    struct job job;
    struct attempt attempt; /* zeros where there is no record */
    int64_t attempt_version;
    struct lease_facts lease;
    struct sight sight;
};

static void look_done(struct look *l)
{
    job_done(&l->job);
}

static enum err_code read_attempt(struct watch *w, const struct watched *row, struct look *l, struct err *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(ATTEMPT_BYTES_MAX);
    char key[JOB_KEY_BYTES];

    if (state_get(w->moves->state, job_attempt_key(row->id, row->attempt, key), &text, &l->attempt_version,
                  e)) {
        if (e->code != ERR_NOT_FOUND)
            return e->code;
        err_clear(e);
        return OK;
    }
    if (attempt_from_text(text.data, text.len, &l->attempt, e))
        return err_wrap(e, "job '%s'", row->id);
    l->sight.has_record = true;
    l->sight.phase = l->attempt.phase;
    return OK;
}

/* The record says who the supervisor is, if nothing else has. Its number means something on the host of the
 * note only. */
static void learn_supervisor(struct watch *w, struct watched *row, const struct look *l)
{
    const struct attempt *a = &l->attempt;

    if (!l->sight.has_record || a->phase == ATTEMPT_ENDED || !row->here || row->supervisor.pid ||
        a->supervisor_pid <= 0)
        return;
    know_supervisor(w, row,
                    (struct proc_id){ .pid = (pid_t)a->supervisor_pid,
                                      .start_ticks = (uint64_t)a->supervisor_start });
}

static int64_t since(int64_t *start, bool holds, int64_t now)
{
    if (!holds)
        *start = 0;
    else if (*start == 0)
        *start = MAX(1, now);
    return holds ? now - *start : 0;
}

static enum err_code see(struct watch *w, struct watched *row, struct look *l, struct err *e)
{
    const int64_t now = w->clock->mono_ms(w->clock);
    struct sight *s = &l->sight;
    char lease[JOB_KEY_BYTES];

    if (moves_read(w->moves->state, row->id, &l->job, NULL, e) || read_attempt(w, row, l, e) ||
        lease_look(w->moves->state, job_lease_name(row->id, lease), &l->lease, e))
        return e->code;
    learn_supervisor(w, row, l);
    s->state = row->state = l->job.state;
    s->lease_held = l->lease.held;
    s->launched = row->launched;
    s->lease_gone_ms = since(&row->lease_gone_mono_ms, !s->lease_held, now);
    s->stopping_ms = since(&row->stopping_mono_ms, s->state == JOB_STOPPING, now);
    s->stop_grace_ms = w->stop_grace_ms;
    s->placed_ago_ms = w->clock->wall_ms(w->clock) - row->placed_ms;
    if (row->failed)
        s->supervisor = SIGHT_DEAD;
    else if (row->here && row->supervisor.pid)
        s->supervisor = w->launcher->ops->life(w->launcher, row->supervisor);
    return OK;
}

/* ---- acting on it ---- */

static const char *const verdict_reasons[] = {
    [SIGHT_LOST] = "its supervisor died, or could not renew its lease",
    [SIGHT_NO_START] = "its supervisor ended before it said anything; see supervisor.log of the attempt",
    [SIGHT_FORGOTTEN] = "the scheduler ended between placing and launching it",
};

/* Nothing of it may run on, and nothing that it still commits may count. */
static enum err_code make_sure_dead(struct watch *w, const struct watched *row, const struct look *l,
                                    struct err *e)
{
    const struct attempt *a = &l->attempt;
    const struct proc_id mpirun = { .pid = (pid_t)a->launcher_pid,
                                    .start_ticks = (uint64_t)a->launcher_start };
    char lease[JOB_KEY_BYTES];

    if (row->here && w->launcher->ops->end(w->launcher, row->id, row->supervisor, mpirun, e))
        return err_wrap(e, "job '%s'", row->id);
    if (!l->lease.token)
        return OK;
    if (lease_break(w->moves->state, job_lease_name(row->id, lease), l->lease.token, e) &&
        e->code != ERR_CONFLICT)
        return e->code;
    err_clear(e);
    return OK;
}

static enum err_code finish_lost(struct watch *w, const struct watched *row, const struct look *l,
                                 enum sight_verdict verdict, struct job *out, struct err *e)
{
    struct ending end = { .job = &l->job, .attempt = l->attempt, .write_attempt = true };

    if (make_sure_dead(w, row, l, e))
        return e->code;
    if (!l->sight.has_record) {
        memcpy(end.attempt.job, row->id, sizeof(end.attempt.job));
        memcpy(end.attempt.node, row->node, sizeof(end.attempt.node));
        end.attempt.number = row->attempt;
        end.attempt.ranks = l->job.spec.resources.ranks;
        end.attempt.started_ms = row->placed_ms;
    }
    end.attempt_version = l->attempt_version;
    end.attempt.phase = ATTEMPT_ENDED;
    end.attempt.outcome = verdict == SIGHT_LOST ? OUTCOME_SUPERVISOR_LOST : OUTCOME_LAUNCH_FAILED;
    end.attempt.ended_ms = w->clock->wall_ms(w->clock);
    end.uncounted = verdict == SIGHT_FORGOTTEN;
    snprintf(end.attempt.reason, sizeof(end.attempt.reason), "%s",
             row->failed ? row->failure : verdict_reasons[verdict]);
    log_warn("attempt.lost", "job=%s attempt=%" PRId64 " %s", row->id, row->attempt, end.attempt.reason);
    return ending_apply(w->moves, &end, out, e);
}

static enum err_code move_started(struct watch *w, const struct watched *row, struct job *out, struct err *e)
{
    const struct move mv = {
        .job = row->id, .event = JOB_STARTED, .actor = "scheduler", .attempt = row->attempt
    };
    return moves_apply(w->moves, &mv, out, e);
}

/* Its record is its last word: nothing is committed under its token any more, so the lease may go now and not
 * by itself. */
static enum err_code finish_ended(struct watch *w, const struct watched *row, struct look *l, struct job *out,
                                  struct err *e)
{
    const struct ending end = { .job = &l->job, .attempt = l->attempt };
    char lease[JOB_KEY_BYTES];

    if (l->lease.held && l->lease.token == l->attempt.token &&
        lease_break(w->moves->state, job_lease_name(row->id, lease), l->lease.token, e) &&
        e->code != ERR_CONFLICT)
        return e->code;
    err_clear(e);
    if (l->job.state == JOB_STARTING && l->attempt.outcome == OUTCOME_SUCCEEDED) {
        struct job started = { .result = NULL };
        if (move_started(w, row, &started, e)) /* it was faster than our eyes */
            return e->code;
        job_done(&l->job);
        l->job = started;
    }
    return ending_apply(w->moves, &end, out, e);
}

static enum err_code act(struct watch *w, const struct watched *row, struct look *l, bool *out_over,
                         struct err *e)
{
    CLEANUP(job_done) struct job now = { .result = NULL };
    const enum sight_verdict verdict = sight_decide(&l->sight);

    *out_over = verdict != SIGHT_WAIT && verdict != SIGHT_STARTED;
    switch (verdict) {
    case SIGHT_WAIT:
        return OK;
    case SIGHT_STARTED:
        if (move_started(w, row, &now, e))
            return e->code;
        break;
    case SIGHT_ENDED:
        if (finish_ended(w, row, l, &now, e))
            return e->code;
        break;
    case SIGHT_LOST:
    case SIGHT_NO_START:
    case SIGHT_FORGOTTEN:
        if (finish_lost(w, row, l, verdict, &now, e))
            return e->code;
        break;
    }
    log_info("job.moved", "job=%s attempt=%" PRId64 " state=%s%s%s", row->id, row->attempt,
             job_state_names[now.state], now.outcome[0] ? " outcome=" : "", now.outcome);
    return OK;
}

/* True where the row is done with. */
static enum err_code look_at(struct watch *w, struct watched *row, bool *out_over, struct err *e)
{
    CLEANUP(look_done) struct look l;

    memset(&l, 0, sizeof(l));
    *out_over = false;
    if (see(w, row, &l, e))
        return e->code;
    if (!job_is_active(l.job.state) || l.job.attempts != row->attempt) {
        *out_over = true; /* it was moved without us: an earlier commit of ours whose answer was lost */
        return OK;
    }
    return act(w, row, &l, out_over, e);
}

enum err_code watch_turn(struct watch *w, bool *out_freed, struct err *e)
{
    const int64_t now = w->clock->mono_ms(w->clock);

    w->launcher->ops->reap(w->launcher);
    for (size_t i = w->count; i-- > 0;) {
        struct watched *row = &w->list[i];
        bool over = false;
        if (row->look_mono_ms > now)
            continue;
        enum err_code code = look_at(w, row, &over, e);
        if (code == ERR_RETRY || code == ERR_DENIED)
            return code;
        /* CONFLICT: it changed under our hands; the next look sees how. Anything else will not go away by
         * itself. */
        if (code != OK && code != ERR_CONFLICT)
            log_error("job.stuck", "job=%s %s", row->id, e->text);
        row->look_mono_ms = now + (row->state == JOB_STARTING ? WATCH_STARTING_MS : WATCH_RUNNING_MS);
        if (code == OK && over) {
            *out_freed = true;
            remove_row(w, i);
        }
    }
    err_clear(e);
    return OK;
}
