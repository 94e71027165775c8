#include "runner/attempt/supervisor.h"

#include "base/fit.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/proc.h"
#include "base/stop.h"
#include "core/cluster/egress.h"
#include "core/cluster/scratch.h"
#include "runner/attempt/document.h"
#include "runner/attempt/enclosure.h"
#include "runner/attempt/judge.h"
#include "runner/attempt/launch.h"
#include "runner/attempt/standing.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum {
    BACKOFF_MS_MIN = 100, /* between two tries to reach the state */
    BACKOFF_MS_MAX = 1000,
    ASK_AGAIN_MS = 100, /* ranks that mpirun had not started yet must hear of the stop, too */
    READS_MAX = 16,     /* of output in a turn of the loop */
    READ_BYTES = 64 * 1024,
    DRAIN_READS_MAX = 4096,  /* of output after the end */
    KILL_MS_MAX = 60 * 1000, /* a process that hangs in the kernel may need as long */
};
#define NEVER INT64_MAX

enum { POLL_OUTPUT, POLL_INPUT, POLL_CONTROL, POLL_MPIRUN, POLL_STOP, POLL_COUNT };

struct supervisor {
    const struct cluster *cluster;
    struct standing standing;
    struct job job;
    struct state_watch *control; /* NULL: not open */
    struct output *output;
    struct egress *egress; /* refused connections: our own and the ranks' */
    struct launch launch;
    struct enclosure enclosure;
    struct sessions sessions;
    char *dir, *scratch; /* owned */
    enum stop_cause cause;
    bool running_written, away;
    int64_t state_at, backoff_ms; /* when the state is next talked to; all on the monotonic clock */
    int64_t time_limit_at, ask_at, kill_at;
};

static void supervisor_done(struct supervisor *s)
{
    http_on_refusal(NULL, NULL);
    egress_free(s->egress);
    launch_done(&s->launch);
    enclosure_done(&s->enclosure);
    sessions_done(&s->sessions);
    scratch_remove(s->scratch);
    output_close(s->output);
    state_watch_close(s->control);
    standing_done(&s->standing);
    job_done(&s->job);
    free(s->dir);
    free(s->scratch);
}

/* Killed at once, without a word: the lease is not ours, or not surely. */
static bool is_fenced(const struct supervisor *s)
{
    return s->cause == STOP_FENCED || s->cause == STOP_LEASE_OVER;
}

/* ---- stopping ---- */

static void ask_ranks(struct supervisor *s, int64_t now)
{
    size_t asked = launch_signal_ranks(&s->launch, SIGTERM);
    s->ask_at = asked < (size_t)s->standing.record.ranks ? now + ASK_AGAIN_MS : NEVER;
}

static void stop(struct supervisor *s, enum stop_cause cause)
{
    static const char *const names[] = { "", "cancelled", "service", "time_limit", "fenced", "lease_over" };
    const struct attempt *a = &s->standing.record;
    int64_t now = clock_mono_ms();
    bool fenced = cause == STOP_FENCED || cause == STOP_LEASE_OVER;
    if (is_fenced(s) || (s->cause != STOP_NONE && !fenced))
        return;
    s->cause = cause;
    s->kill_at = now + (fenced ? 0 : s->cluster->timing.stop_grace_ms);
    log_info("attempt.stopping", "job=%s attempt=%" PRId64 " cause=%s", a->job, a->number, names[cause]);
    if (!fenced)
        ask_ranks(s, now);
}

/* ---- the state ---- */

static enum err_code write_running(struct supervisor *s, struct err *e)
{
    struct attempt *a = &s->standing.record;
    CLEANUP(json_donep)
    json_t *data = json_pack("{s:I, s:I}", "attempt", (json_int_t)a->number, "launcher_pid",
                             (json_int_t)a->launcher_pid);
    const struct standing_event event = { "attempt.running", data };
    if (s->running_written)
        return OK;
    if (standing_write(&s->standing, false, &event, 1, e))
        return e->code;
    s->running_written = true;
    return OK;
}

static enum err_code open_control(struct supervisor *s, struct err *e)
{
    char stream[JOB_KEY_BYTES];
    const char *streams[] = { job_control_stream(s->job.id, stream) };
    if (s->control)
        return OK;
    return state_watch_open(s->standing.state, streams, 1, &s->control, e);
}

static enum err_code look_at_job(struct supervisor *s, struct err *e)
{
    enum job_state state;
    if (standing_look(&s->standing, &state, e))
        return e->code;
    if (state == JOB_STOPPING)
        stop(s, STOP_CANCELLED);
    return OK;
}

static enum err_code tell_refusals(struct supervisor *s, struct err *e)
{
    const struct standing *st = &s->standing;
    enclosure_count(&s->enclosure, s->egress);
    const struct egress_teller teller = { st->name, st->record.job, st->record.number, st->lease.name,
                                          st->lease.token };
    return egress_tell(s->egress, st->state, &teller, e);
}

/* The stream before the record: what is appended between the two is not missed. */
static enum err_code talk(struct supervisor *s, struct err *e)
{
    if (standing_renew(&s->standing, e) || write_running(s, e) || open_control(s, e) || look_at_job(s, e) ||
        tell_refusals(s, e))
        return e->code;
    return OK;
}

static void note_away(struct supervisor *s, const struct err *e)
{
    if (!s->away)
        log_warn("state.away", "job=%s %s; the lease lasts another %" PRId64 " ms", s->job.id, e->text,
                 standing_left_ms(&s->standing));
    s->away = true;
    s->backoff_ms = s->backoff_ms ? MIN(2 * s->backoff_ms, BACKOFF_MS_MAX) : BACKOFF_MS_MIN;
    s->state_at = clock_mono_ms() + s->backoff_ms;
}

static void after_talk(struct supervisor *s, enum err_code code, const struct err *e)
{
    if (code == ERR_DENIED) {
        log_warn("attempt.fenced", "job=%s %s", s->job.id, e->text);
        stop(s, STOP_FENCED);
        return;
    }
    if (code) {
        note_away(s, e);
        return;
    }
    if (s->away)
        log_info("state.back", "job=%s", s->job.id);
    s->away = false;
    s->backoff_ms = 0;
    s->state_at = clock_mono_ms() + s->standing.lease.ttl_ms / 3; /* two in a row may be lost */
}

static void talk_to_state(struct supervisor *s)
{
    struct err e = ERR_INIT;
    after_talk(s, talk(s, &e), &e);
}

static void read_control(struct supervisor *s)
{
    struct err e = ERR_INIT;
    bool woken = false;
    if (state_watch_read(s->control, &woken, &e) == OK) {
        if (woken)
            s->state_at = 0;
        return;
    }
    state_watch_close(s->control);
    s->control = NULL;
    note_away(s, &e);
}

/* ---- the loop ---- */

static void read_output(struct supervisor *s, int reads_max)
{
    char chunk[READ_BYTES];
    for (int i = 0; i < reads_max && s->launch.output_fd >= 0; i++) {
        ssize_t n = read(s->launch.output_fd, chunk, sizeof(chunk));
        if (n > 0)
            output_add(s->output, chunk, (size_t)n);
        else if (n < 0 && errno == EINTR)
            continue;
        else if (n < 0 && errno == EAGAIN)
            return;
        else {
            close(s->launch.output_fd);
            s->launch.output_fd = -1;
        }
    }
}

/* A call may hang for so long; behind the lease's end it would hang over running ranks. */
static bool may_call(const struct supervisor *s)
{
    return standing_left_ms(&s->standing) > standing_call_ms(&s->standing);
}

static bool may_keep_sessions(const struct supervisor *s)
{
    return !s->away &&
           standing_left_ms(&s->standing) > standing_call_ms(&s->standing) + sessions_call_ms(&s->sessions);
}

static void run_timers(struct supervisor *s)
{
    int64_t now = clock_mono_ms();
    if (now >= s->state_at && may_call(s))
        talk_to_state(s);
    if (now >= sessions_due_at(&s->sessions) && may_keep_sessions(s))
        sessions_keep(&s->sessions, &s->standing);
    if (standing_left_ms(&s->standing) == 0)
        stop(s, STOP_LEASE_OVER);
    if (now >= s->time_limit_at)
        stop(s, STOP_TIME_LIMIT);
    if (s->cause != STOP_NONE && now >= s->ask_at && !is_fenced(s))
        ask_ranks(s, now);
}

static int poll_timeout(const struct supervisor *s)
{
    int64_t now = clock_mono_ms();
    int64_t next = now + standing_left_ms(&s->standing);
    if (may_call(s))
        next = MIN(next, s->state_at);
    if (may_keep_sessions(s))
        next = MIN(next, sessions_due_at(&s->sessions));
    next = MIN(next, s->kill_at);
    if (s->cause == STOP_NONE)
        next = MIN(next, s->time_limit_at);
    else
        next = MIN(next, s->ask_at);
    /* Rounded up: waking a moment too early would be a turn for nothing. */
    return (int)MAX(0, MIN(next - now + 1, (int64_t)INT32_MAX));
}

static void fill_poll(const struct supervisor *s, struct pollfd fds[POLL_COUNT])
{
    fds[POLL_OUTPUT] = (struct pollfd){ .fd = s->launch.output_fd, .events = POLLIN };
    fds[POLL_INPUT] = (struct pollfd){ .fd = s->launch.input_fd, .events = POLLOUT };
    fds[POLL_CONTROL] =
        (struct pollfd){ .fd = s->control ? state_watch_fd(s->control) : -1, .events = POLLIN };
    fds[POLL_MPIRUN] = (struct pollfd){ .fd = s->launch.ended_fd, .events = POLLIN };
    /* It stays readable: heard once is enough. */
    fds[POLL_STOP] = (struct pollfd){ .fd = s->cause == STOP_NONE ? stop_fd() : -1, .events = POLLIN };
}

/* Until mpirun has ended (true), or is to be killed (false). */
static bool watch_ranks(struct supervisor *s)
{
    struct pollfd fds[POLL_COUNT];
    for (;;) {
        run_timers(s);
        if (clock_mono_ms() >= s->kill_at)
            return false;
        fill_poll(s, fds);
        if (poll(fds, POLL_COUNT, poll_timeout(s)) <= 0)
            continue;
        if (fds[POLL_OUTPUT].revents)
            read_output(s, READS_MAX);
        if (fds[POLL_INPUT].revents)
            launch_feed(&s->launch);
        if (fds[POLL_CONTROL].revents)
            read_control(s);
        if (fds[POLL_STOP].revents)
            stop(s, STOP_SERVICE);
        if (fds[POLL_MPIRUN].revents)
            return true;
    }
}

/* ---- the end ---- */

static void kill_all(struct supervisor *s)
{
    /* The ranks first: mpirun's end would make orphans of them, for a moment. */
    launch_signal_ranks(&s->launch, SIGKILL);
    proc_kill_children(KILL_MS_MAX);
}

/* Runs the ranks to their end, whatever that is, and says how it came. */
static struct ending run_ranks(struct supervisor *s)
{
    struct ending end = { .stop_grace_ms = s->cluster->timing.stop_grace_ms };
    struct err e = ERR_INIT;
    end.killed = !watch_ranks(s);
    if (!end.killed && proc_wait(s->launch.mpirun, &end.status, &e)) {
        log_error("attempt.status", "job=%s %s", s->job.id, e.text);
        end.status = TRAINER_FAILED;
    }
    if (!end.killed)
        s->launch.mpirun.pid = 0; /* its number is free for others */
    kill_all(s);
    read_output(s, DRAIN_READS_MAX);
    end.cause = s->cause;
    end.notes = output_end(s->output);
    return end;
}

static void set_end(struct supervisor *s, enum attempt_outcome outcome, int64_t status, const char *reason)
{
    struct attempt *a = &s->standing.record;
    a->phase = ATTEMPT_ENDED;
    a->outcome = outcome;
    a->exit_status = status;
    a->ended_ms = clock_wall_ms();
    text_fit(a->reason, sizeof(a->reason), reason);
}

static void write_end_file(struct supervisor *s)
{
    CLEANUP(freep) char *path = path_join(s->dir, "ended.json");
    CLEANUP(buf_done) struct buf text = BUF_INIT(64 * 1024);
    struct err e = ERR_INIT;
    if (attempt_to_text(&s->standing.record, &text, &e) || file_write(path, text.data, text.len, 0600, &e))
        log_error("attempt.unwritten", "job=%s %s", s->job.id, e.text);
}

static json_t *end_data(const struct attempt *a)
{
    /* Through the record's own JSON, which copes with a reason that is not UTF-8. */
    CLEANUP(json_donep) json_t *record = attempt_to_json(a);
    return json_pack("{s:I, s:O, s:O, s:I, s:I}", "attempt", (json_int_t)a->number, "outcome",
                     json_object_get(record, "outcome"), "reason", json_object_get(record, "reason"),
                     "exit_status", (json_int_t)a->exit_status, "duration_ms",
                     (json_int_t)(a->ended_ms - a->started_ms));
}

/* Once at least; then for as long as the lease could be ours. */
static enum err_code write_patiently(struct supervisor *s, bool first, const struct standing_event *events,
                                     size_t count, struct err *e)
{
    for (int64_t wait_ms = BACKOFF_MS_MIN;; wait_ms = MIN(2 * wait_ms, BACKOFF_MS_MAX)) {
        if (standing_write(&s->standing, first, events, count, e) != ERR_RETRY)
            return e->code;
        if (standing_left_ms(&s->standing) <= wait_ms)
            return e->code;
        clock_real.sleep_ms(&clock_real, wait_ms);
    }
}

/* Before the end is told: who reads of the end finds why. Where it fails, they stand in our own log. */
static void tell_last_refusals(struct supervisor *s)
{
    struct err e = ERR_INIT;
    if (tell_refusals(s, &e))
        log_warn("egress.untold", "job=%s waiting=%zu %s", s->job.id, egress_waiting(s->egress), e.text);
}

static enum err_code finish(struct supervisor *s, struct err *e)
{
    const struct attempt *a = &s->standing.record;
    CLEANUP(json_donep) json_t *data = end_data(a);
    const struct standing_event event = { "attempt.ended", data };
    log_info("attempt.ended", "job=%s attempt=%" PRId64 " outcome=%s status=%" PRId64 " reason='%s'", a->job,
             a->number, attempt_outcome_names[a->outcome], a->exit_status, a->reason);
    write_end_file(s);
    tell_last_refusals(s);
    sessions_drop(&s->sessions, &s->standing);
    if (write_patiently(s, false, &event, 1, e))
        return err_wrap(e, "the end of attempt %" PRId64 " of job '%s' stands in '%s/ended.json' only",
                        a->number, a->job, s->dir);
    return OK;
}

/* ---- the start ---- */

static void rank_was_refused(void *context, const char *json)
{
    struct supervisor *s = context;
    struct egress_refusal r;
    struct err e = ERR_INIT;
    if (egress_from_line(json, clock_wall_ms(), &r, &e))
        log_warn("egress.unread", "job=%s %s", s->job.id, e.text);
    else
        egress_add(s->egress, &r);
}

static enum err_code open_output(struct supervisor *s, struct err *e)
{
    CLEANUP(freep) char *path = path_join(s->dir, "log");
    if (output_open(path, s->cluster->launch.log_bytes_max, &s->output, e))
        return e->code;
    output_on_egress(s->output, rank_was_refused, s);
    return OK;
}

static enum err_code start_ranks(struct supervisor *s, struct buf *document, struct err *e)
{
    CLEANUP(freep) char *trainer = NULL;
    CLEANUP(launch_command_done) struct launch_command command = { .argv = { NULL } };
    struct attempt *a = &s->standing.record;
    if (launch_find_trainer(&s->cluster->launch, &trainer, e) ||
        scratch_make(a->job, a->number, s->dir, &s->scratch, e))
        return e->code;
    launch_command_make(&s->cluster->launch, &s->enclosure.networks, a->ranks, trainer, s->scratch, getenv,
                        geteuid() == 0, &command);
    if (launch_start(&s->launch, &command, enclosure_join(&s->enclosure), document, e))
        return e->code;
    a->phase = ATTEMPT_RUNNING;
    a->launcher_pid = s->launch.mpirun.pid;
    a->launcher_start = (int64_t)s->launch.mpirun.start_ticks;
    log_info("attempt.running", "job=%s attempt=%" PRId64 " ranks=%" PRId64 " mpirun=%d", a->job, a->number,
             a->ranks, (int)s->launch.mpirun.pid);
    return OK;
}

static void set_timers(struct supervisor *s)
{
    int64_t now = clock_mono_ms(), limit = s->job.spec.resources.time_limit_ms;
    s->state_at = now;
    s->time_limit_at = limit > 0 ? now + limit : NEVER;
    s->ask_at = s->kill_at = NEVER;
}

/* The record first: nothing runs that nobody knows of. */
static enum err_code write_launching(struct supervisor *s, const struct document_facts *facts, struct err *e)
{
    const struct keys_facts *key = &facts->key;
    const struct attempt *a = &s->standing.record;
    CLEANUP(json_donep)
    json_t *started =
        json_pack("{s:I, s:I, s:s, s:I, s:I, s:o, s:s, s:O?, s:o}", "attempt", (json_int_t)a->number, "token",
                  (json_int_t)a->token, "node", a->node, "ranks", (json_int_t)a->ranks, "supervisor_pid",
                  (json_int_t)a->supervisor_pid, "fence", enclosure_json(&s->enclosure), "policy_sha256",
                  s->cluster->policy.digest, "readback", facts->readback, "sessions",
                  sessions_json(&s->sessions));
    CLEANUP(json_donep)
    json_t *generated = json_pack("{s:I, s:s, s:s, s:I}", "attempt", (json_int_t)a->number, "provider",
                                  key->provider, "key", key->key, "version", (json_int_t)key->version);
    const struct standing_event events[] = { { "attempt.started", started }, { "key.generated", generated } };
    return write_patiently(s, true, events, key->version > 0 ? 2 : 1, e);
}

static void run_attempt(struct supervisor *s, struct buf *document)
{
    struct err e = ERR_INIT;
    enum attempt_outcome outcome;
    char reason[JOB_REASON_BYTES];
    if (s->job.state == JOB_STOPPING || stop_asked()) {
        set_end(s, OUTCOME_STOPPED, TRAINER_STOPPED, "stopped before its ranks were started");
        return;
    }
    if (open_output(s, &e) || start_ranks(s, document, &e)) {
        set_end(s, judge_start(e.code), TRAINER_FAILED, e.text);
        return;
    }
    set_timers(s);
    struct ending end = run_ranks(s);
    judge(&end, &outcome, reason);
    set_end(s, outcome, end.killed ? 128 + SIGKILL : end.status, reason);
}

static enum err_code begin(struct supervisor *s, const char *job, int64_t number, struct err *e)
{
    if (standing_take(s->cluster, job, number, s->cluster->timing.attempt_lease_ms, &s->standing, &s->job, e))
        return e->code;
    s->dir = mem_printf("%s/attempts/%s.%" PRId64, s->cluster->home, job, number);
    return dir_make(s->dir, 0700, e);
}

/* As long as a rank would wait for the store of the checkpoints. */
static int64_t document_patience_ms(const struct supervisor *s)
{
    char bucket[STORE_BUCKET_BYTES], key[STORE_KEY_BYTES];
    struct store_place place;
    struct err ignored = ERR_INIT;
    if (store_uri_parse(s->job.spec.checkpoint.to, bucket, key, &ignored) ||
        cluster_place(s->cluster, bucket, &place, &ignored))
        return 0;
    return place.patience_ms;
}

/* False: it is not ours any more, or is to stop. */
static bool still_wanted(struct supervisor *s)
{
    struct err ignored = ERR_INIT;
    enum job_state state;
    return !stop_asked() && standing_renew(&s->standing, &ignored) == OK &&
           standing_look(&s->standing, &state, &ignored) == OK && state != JOB_STOPPING;
}

/* What the document needs may be away: the store that has the earlier checkpoints, or the key service. Waited
 * for as a rank would, under a lease that is renewed. */
static enum err_code make_document(struct supervisor *s, struct buf *out, struct document_facts *facts,
                                   struct err *e)
{
    const struct attempt *a = &s->standing.record;
    int64_t until_ms = clock_mono_ms() + document_patience_ms(s), wait_ms = BACKOFF_MS_MIN;
    for (bool first = true;; first = false, wait_ms = MIN(2 * wait_ms, BACKOFF_MS_MAX)) {
        enum err_code code = document_make(s->cluster, s->standing.state, &s->job, a->number,
                                           s->standing.lease.token, out, &s->sessions, facts, e);
        if (code != ERR_RETRY || clock_mono_ms() >= until_ms)
            return code;
        if (first)
            log_warn("attempt.waiting", "job=%s attempt=%" PRId64 " why=\"%s\"", a->job, a->number, e->text);
        clock_real.sleep_ms(&clock_real, wait_ms);
        if (!still_wanted(s))
            return code;
        buf_wipe(out);
        document_facts_done(facts);
        sessions_done(&s->sessions);
        err_clear(e);
    }
}

/* While the state answers, it was not the state that was away. */
static enum attempt_outcome judge_document(struct supervisor *s, enum err_code code)
{
    struct err ignored = ERR_INIT;
    if (code == ERR_RETRY && standing_renew(&s->standing, &ignored) == OK)
        return OUTCOME_STORE_AWAY;
    return judge_start(code);
}

enum err_code supervise(const struct cluster *c, const char *job, int64_t number, struct err *e)
{
    CLEANUP(supervisor_done)
    struct supervisor s = { .cluster = c, .launch = LAUNCH_INIT, .sessions = { .cluster = c } };
    CLEANUP(buf_wipe) struct buf document = BUF_INIT(ATTEMPT_DOC_BYTES_MAX);
    CLEANUP(document_facts_done) struct document_facts facts = { .readback = NULL };
    struct err refused = ERR_INIT;
    s.egress = egress_new(EGRESS_SUPERVISOR, &clock_real);
    http_on_refusal(egress_on_refusal, s.egress);
    if (begin(&s, job, number, e))
        return e->code;
    enum err_code code = make_document(&s, &document, &facts, &refused);
    if (code == OK)
        code = enclosure_make(c, &s.job, number, &s.enclosure, &refused);
    if (write_launching(&s, &facts, e))
        return e->code;
    log_info("attempt.started", "job=%s attempt=%" PRId64 " token=%" PRId64, job, number,
             s.standing.lease.token);
    if (code)
        set_end(&s, judge_document(&s, code), TRAINER_FAILED, refused.text);
    else
        run_attempt(&s, &document);
    buf_wipe(&document);
    return finish(&s, e);
}
