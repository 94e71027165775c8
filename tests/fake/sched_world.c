#include "tests/fake/sched_world.h"

#include "base/mem.h"
#include "core/json/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { TURNS_MAX = 100, START_WALL_MS = 1795348800 };

static enum err_code make_plan(void *context, const struct job *job, struct buf *out, struct err *e)
{
    const struct sched_world *w = context;

    (void)job;
    if (w->plan_error.code) {
        *e = w->plan_error;
        return e->code;
    }
    buf_add_text(out, "{}");
    return OK;
}

void sched_open(struct sched_world *w, const char *nodes, const char *queues)
{
    const struct state_config config = { .address = "mem:sched", .cluster = "test" };
    struct err e = ERR_INIT;

    memset(w, 0, sizeof(*w));
    w->cluster = test_cluster(nodes, queues);
    w->clock = clock_fake_at((int64_t)START_WALL_MS * 1000);
    assert_ok(state_open(&config, NULL, &w->state, &e));
    state_mem_set_clock(w->state, &w->clock.base);
    state_fault_init(&w->fault, w->state);
    launcher_fake_init(&w->launcher, "host-1");
    w->planner = planner_new(make_plan, w, false);
    sched_up(w);
}

void sched_close(struct sched_world *w)
{
    if (w->up)
        core_done(&w->core);
    planner_free(w->planner);
    state_close(w->state);
    cluster_free(w->cluster);
}

void sched_up(struct sched_world *w)
{
    core_init(&w->core, "scheduler@test", w->cluster, &w->fault.base, &w->launcher.base, w->planner,
              &w->clock.base);
    w->up = true;
}

/* Nothing of it reaches the state any more; only our own memory is tidied. */
void sched_crash(struct sched_world *w)
{
    struct planned lost;

    state_fault_at(&w->fault, 1, INT32_MAX, false);
    core_done(&w->core);
    while (planner_collect(w->planner, &lost))
        planned_done(&lost);
    state_fault_at(&w->fault, 1, 0, false);
    w->up = false;
}

void sched_turn(struct sched_world *w)
{
    struct err e = ERR_INIT;

    core_wake(&w->core);
    for (int i = 0; i < TURNS_MAX; i++) {
        if (core_turn(&w->core, &e))
            return;
        if (core_next_mono_ms(&w->core) > w->clock.mono)
            return;
    }
    fail_msg("the scheduler does not come to rest");
}

void sched_pass(struct sched_world *w, int64_t ms)
{
    enum { STEP_MS = 500 };

    for (; ms > 0; ms -= STEP_MS) {
        w->clock.base.sleep_ms(&w->clock.base, MIN(ms, (int64_t)STEP_MS));
        sched_turn(w);
    }
}

/* ---- jobs ---- */

/* Whoever has the lease may do what the leader may; here the test itself, with the newest token. */
static struct moves own_moves(struct sched_world *w, struct lead *lead)
{
    struct lease_facts facts;
    struct err e = ERR_INIT;

    lead_init(lead, "test", 1000, &w->clock.base);
    assert_ok(lease_look(w->state, JOB_LEADER_LEASE, &facts, &e));
    atomic_store(&lead->token, (long long)facts.token);
    return (struct moves){ .state = w->state, .cluster = w->cluster, .clock = &w->clock.base, .lead = lead };
}

void sched_submit(struct sched_world *w, const char *queue, int64_t ranks, char out[JOB_ID_BYTES])
{
    CLEANUP(state_tx_freep) struct state_tx *tx = state_tx_new();
    struct lead lead;
    struct moves m;
    struct job j;
    struct err e = ERR_INIT;

    sched_turn(w);
    m = own_moves(w, &lead);
    test_job(&j, ++w->jobs, queue, ranks);
    j.submitted_ms = w->clock.wall++;
    assert_ok(moves_fence(&m, tx, &e));
    state_tx_rank(tx, JOB_SET_ALL, j.id, (double)j.submitted_ms);
    assert_ok(moves_put(&m, tx, &j, &e));
    assert_ok(moves_event(&m, tx, "user:ana", "job.submitted", j.id, NULL, &e));
    assert_ok(state_commit(w->state, tx, &e));
    memcpy(out, j.id, JOB_ID_BYTES);
}

enum err_code sched_cancel(struct sched_world *w, const char *id, struct err *e)
{
    struct lead lead;
    const struct moves m = own_moves(w, &lead);
    const struct move mv = {
        .job = id, .event = JOB_CANCEL, .actor = "user:ana", .reason = "cancelled by ana", .attempt = -1
    };

    return moves_apply(&m, &mv, NULL, e);
}

struct job sched_job(struct sched_world *w, const char *id)
{
    struct job j = { .result = NULL };
    struct err e = ERR_INIT;

    assert_ok(moves_read(w->state, id, &j, NULL, &e));
    return j;
}

enum job_state sched_state(struct sched_world *w, const char *id)
{
    CLEANUP(job_done) struct job j = sched_job(w, id);
    return j.state;
}

const char *sched_state_name(struct sched_world *w, const char *id)
{
    return job_state_names[sched_state(w, id)];
}

bool sched_newest(struct sched_world *w, const struct fake_start *start)
{
    CLEANUP(job_done) struct job j = sched_job(w, start->job);
    return j.attempts == start->attempt && job_is_active(j.state);
}

/* ---- supervisors ---- */

static struct fake_start *start_of(struct sched_world *w, const char *id)
{
    for (size_t i = w->launcher.count; i-- > 0;)
        if (strcmp(w->launcher.starts[i].job, id) == 0)
            return &w->launcher.starts[i];
    fail_msg("no supervisor of '%s' was ever started", id);
    return NULL;
}

static bool write_attempt(struct sched_world *w, struct supervisor *s, int64_t expect)
{
    CLEANUP(state_tx_freep) struct state_tx *tx = state_tx_new();
    CLEANUP(buf_done) struct buf text = BUF_INIT(16384);
    char key[JOB_KEY_BYTES], lease[JOB_KEY_BYTES];
    struct err e = ERR_INIT;

    assert_ok(attempt_to_text(&s->attempt, &text, &e));
    job_attempt_key(s->attempt.job, s->attempt.number, key);
    state_tx_fence(tx, job_lease_name(s->attempt.job, lease), s->lease.token);
    if (expect >= 0)
        state_tx_expect(tx, key, expect);
    state_tx_put(tx, key, text.data, text.len);
    return state_commit(w->state, tx, &e) == OK;
}

bool supervisor_begin(struct sched_world *w, const char *id, struct supervisor *out)
{
    const struct fake_start *start = start_of(w, id);
    char lease[JOB_KEY_BYTES], owner[64];
    struct err e = ERR_INIT;

    memset(out, 0, sizeof(*out));
    snprintf(owner, sizeof(owner), "pid %d", (int)start->id.pid);
    if (lease_take(w->state, job_lease_name(id, lease), owner, w->cluster->timing.attempt_lease_ms,
                   &out->lease, &e))
        return false;
    out->attempt = (struct attempt){
        .number = start->attempt,
        .token = out->lease.token,
        .phase = ATTEMPT_LAUNCHING,
        .ranks = 1,
        .supervisor_pid = start->id.pid,
        .supervisor_start = (int64_t)start->id.start_ticks,
        .started_ms = w->clock.wall,
    };
    snprintf(out->attempt.job, sizeof(out->attempt.job), "%s", id);
    return write_attempt(w, out, 0);
}

void supervisor_runs(struct sched_world *w, struct supervisor *s)
{
    s->attempt.phase = ATTEMPT_RUNNING;
    assert_true(write_attempt(w, s, -1));
}

void supervisor_result(struct sched_world *w, struct supervisor *s)
{
    CLEANUP(state_tx_freep) struct state_tx *tx = state_tx_new();
    char key[JOB_KEY_BYTES], lease[JOB_KEY_BYTES];
    struct err e = ERR_INIT;

    state_tx_fence(tx, job_lease_name(s->attempt.job, lease), s->lease.token);
    state_tx_put_text(tx, job_result_key(s->attempt.job, key), "{\"auc\":0.5}");
    assert_ok(state_commit(w->state, tx, &e));
}

bool supervisor_ends(struct sched_world *w, struct supervisor *s, enum attempt_outcome outcome)
{
    struct err e = ERR_INIT;

    s->attempt.phase = ATTEMPT_ENDED;
    s->attempt.outcome = outcome;
    s->attempt.ended_ms = w->clock.wall;
    bool heard = write_attempt(w, s, -1);
    assert_ok(lease_release(w->state, &s->lease, &e));
    start_of(w, s->attempt.job)->alive = false;
    return heard;
}

void supervisor_dies(struct sched_world *w, const char *id)
{
    start_of(w, id)->alive = false;
}

/* ---- looking ---- */

struct events {
    const char *job;
    char *out;
};

static enum err_code add_event(void *context, const char *id, const void *data, size_t n, struct err *e)
{
    const struct events *v = context;
    CLEANUP(json_donep) json_t *doc = NULL;

    (void)id;
    assert_int_equal(json_parse(data, n, "event", &doc, e), OK);
    if (strcmp(json_text_or(doc, "job", ""), v->job) == 0) {
        const char *event = json_text_or(doc, "event", "?");
        snprintf(v->out + strlen(v->out), 512 - strlen(v->out), "%s%s", v->out[0] ? " " : "",
                 event + strlen("job."));
    }
    return OK;
}

const char *sched_events(struct sched_world *w, const char *id, char out[512])
{
    struct events v = { .job = id, .out = out };
    struct err e = ERR_INIT;

    out[0] = '\0';
    assert_ok(state_read(w->state, JOB_OUTBOX, NULL, 1000, add_event, &v, &e));
    return out;
}

struct set_check {
    struct sched_world *world;
    bool active;
    size_t count;
};

static enum err_code check_member(void *context, const char *member, double score, struct err *e)
{
    struct set_check *c = context;
    const enum job_state s = sched_state(c->world, member);

    (void)score, (void)e;
    assert_true(c->active ? job_is_active(s) : s == JOB_QUEUED);
    c->count++;
    return OK;
}

static size_t check_set(struct sched_world *w, const char *set, bool active)
{
    struct set_check c = { .world = w, .active = active };
    struct err e = ERR_INIT;

    assert_ok(state_range(w->state, set, -INFINITY, INFINITY, false, 0, 1000, check_member, &c, &e));
    return c.count;
}

void sched_check_sets(struct sched_world *w)
{
    size_t queued = 0, active = 0, in_queues = 0;
    char id[JOB_ID_BYTES], set[JOB_KEY_BYTES];

    for (int i = 1; i <= w->jobs; i++) {
        const enum job_state s = sched_state(w, test_id(i, id));
        queued += s == JOB_QUEUED;
        active += job_is_active(s);
    }
    assert_int_equal(check_set(w, JOB_SET_WAITING, false), queued);
    assert_int_equal(check_set(w, JOB_SET_ACTIVE, true), active);
    for (size_t i = 0; i < w->cluster->queue_count; i++)
        in_queues += check_set(w, moves_queue_set(w->cluster->queues[i].name, set), false);
    assert_int_equal(in_queues, queued);
}
