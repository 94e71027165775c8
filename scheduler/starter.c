#include "scheduler/starter.h"

#include "base/log.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void starter_init(struct starter *s, const struct moves *moves, struct launcher *launcher,
                  const struct clock *clock, struct fleet *fleet, struct planner *planner,
                  struct watch *watch)
{
    *s = (struct starter){
        .moves = moves,
        .launcher = launcher,
        .clock = clock,
        .fleet = fleet,
        .planner = planner,
        .watch = watch,
    };
}

/* ---- the table ---- */

static bool holds_slots(const struct starting *row)
{
    return row->phase != STARTING_WAITS;
}

static void give_slots_back(struct starter *s, const struct starting *row)
{
    if (holds_slots(row))
        fleet_use(s->fleet, row->node, row->queue, -row->slots);
}

/* Without giving back its slots: they have been, or somebody else holds them now. */
static void remove_row(struct starter *s, struct starting *row)
{
    *row = s->list[--s->count];
}

static void drop_row(struct starter *s, struct starting *row)
{
    give_slots_back(s, row);
    remove_row(s, row);
}

void starter_clear(struct starter *s)
{
    while (s->count)
        drop_row(s, &s->list[s->count - 1]);
}

void starter_done(struct starter *s)
{
    starter_clear(s);
    free(s->list);
    s->list = NULL;
    s->size = 0;
}

static struct starting *find(const struct starter *s, const char *job)
{
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(s->list[i].id, job) == 0)
            return &s->list[i];
    return NULL;
}

bool starter_has(const struct starter *s, const char *job)
{
    const struct starting *row = find(s, job);

    /* A delay that is over: the placer may have it again. The row stays, as it knows how long the next delay
     * is. */
    return row && !(row->phase == STARTING_WAITS && row->until_mono_ms == 0);
}

int64_t starter_next_mono_ms(const struct starter *s)
{
    const int64_t now = s->clock->mono_ms(s->clock);
    int64_t next = INT64_MAX;

    for (size_t i = 0; i < s->count; i++) {
        const struct starting *row = &s->list[i];
        if (row->phase == STARTING_UNSURE)
            next = MIN(next, now);
        else if (row->phase == STARTING_WAITS && row->until_mono_ms)
            next = MIN(next, row->until_mono_ms);
    }
    return next;
}

enum err_code starter_begin(struct starter *s, const struct job *job, const char *node, struct err *e)
{
    struct starting *row = find(s, job->id);
    struct starting fresh = { .phase = STARTING_PLANS, .slots = job->slots, .attempt = job->attempts + 1 };

    invariant(!row || row->phase == STARTING_WAITS);
    snprintf(fresh.node, sizeof(fresh.node), "%s", node);
    memcpy(fresh.id, job->id, sizeof(fresh.id));
    memcpy(fresh.queue, job->spec.queue, sizeof(fresh.queue));
    if (row)
        fresh.delay_ms = row->delay_ms;
    if ((!row && s->count == STARTER_ROWS_MAX) || planner_ask(s->planner, job, e)) {
        give_slots_back(s, &fresh);
        return err_set(e, ERR_LIMIT, "%zu jobs are being started already", s->count);
    }
    if (!row) {
        if (s->count == s->size) {
            s->size = s->size ? 2 * s->size : 16;
            s->list = mem_grow(s->list, s->size, sizeof(*s->list));
        }
        row = &s->list[s->count++];
    }
    *row = fresh;
    return OK;
}

/* ---- launch ---- */

static void note_launch(struct starter *s, const struct starting *row, struct proc_id id)
{
    CLEANUP(state_tx_freep) struct state_tx *tx = state_tx_new();
    struct launcher_note note = { .id = id };
    char key[JOB_KEY_BYTES], text[LAUNCHER_NOTE_BYTES];
    struct err e = ERR_INIT;

    memcpy(note.host, s->launcher->host, sizeof(note.host));
    state_tx_put_text(tx, launcher_note_key(row->id, row->attempt, key), launcher_note_text(&note, text));
    /* Only a later scheduler would miss it, and the supervisor's own record tells that one as well. */
    if (moves_fence(s->moves, tx, &e) || state_commit(s->moves->state, tx, &e))
        log_warn("launch.unnoted", "job=%s attempt=%" PRId64 " %s", row->id, row->attempt, e.text);
}

/* The watcher takes over the row and its slots. */
static void launch(struct starter *s, struct starting *row, const struct job *placed)
{
    struct proc_id id = { .pid = 0 };
    struct err e = ERR_INIT;

    if (s->launcher->ops->start(s->launcher, row->id, row->attempt, &id, &e)) {
        log_error("attempt.unlaunched", "job=%s attempt=%" PRId64 " %s", row->id, row->attempt, e.text);
        id.pid = 0;
    } else {
        log_info("attempt.launched", "job=%s attempt=%" PRId64 " node=%s pid=%d", row->id, row->attempt,
                 row->node, (int)id.pid);
        note_launch(s, row, id);
    }
    watch_add(s->watch, placed, id, e.text);
    remove_row(s, row);
}

/* ---- commit ---- */

struct placing {
    const struct starter *starter;
    const struct starting *row;
    const struct planned *plan;
};

static enum err_code edit_placed(void *context, struct job *j, json_t *data, struct state_tx *tx,
                                 struct err *e)
{
    const struct placing *p = context;
    struct launcher_note note = { .id = { .pid = 0 } };
    char key[JOB_KEY_BYTES], text[LAUNCHER_NOTE_BYTES];

    (void)e;
    j->attempts++;
    j->not_before_ms = 0;
    memcpy(j->node, p->row->node, sizeof(j->node));
    json_object_set_new(data, "node", json_string(j->node));
    json_object_set_new(data, "slots", json_integer(j->slots));
    json_object_set_new(data, "plan_sha256", json_string(p->plan->digest));
    state_tx_put(tx, job_plan_key(j->id, j->attempts, key), p->plan->plan.data, p->plan->plan.len);
    memcpy(note.host, p->starter->launcher->host, sizeof(note.host));
    state_tx_put_text(tx, launcher_note_key(j->id, j->attempts, key), launcher_note_text(&note, text));
    state_tx_delete(tx, moves_delay_key(j->id, key));
    return OK;
}

static enum err_code commit(struct starter *s, struct starting *row, const struct planned *plan,
                            struct err *e)
{
    CLEANUP(job_done) struct job placed = { .result = NULL };
    struct placing p = { .starter = s, .row = row, .plan = plan };
    const struct move mv = {
        .job = row->id,
        .event = JOB_PLACE,
        .actor = "scheduler",
        .reason = "",
        .attempt = row->attempt - 1,
        .edit = edit_placed,
        .context = &p,
    };

    switch (moves_apply(s->moves, &mv, &placed, e)) {
    case OK:
        launch(s, row, &placed);
        return OK;
    case ERR_RETRY:
        row->phase = STARTING_UNSURE;
        return e->code;
    case ERR_CONFLICT: /* cancelled meanwhile */
        drop_row(s, row);
        err_clear(e);
        return OK;
    default:
        drop_row(s, row);
        return e->code;
    }
}

/* ---- what the planner says ---- */

static void put_off(struct starter *s, struct starting *row, const char *why)
{
    CLEANUP(state_tx_freep) struct state_tx *tx = state_tx_new();
    char key[JOB_KEY_BYTES];
    struct err e = ERR_INIT;

    log_warn("job.put_off", "job=%s %s", row->id, why);
    give_slots_back(s, row);
    row->phase = STARTING_WAITS;
    row->delay_ms = row->delay_ms ? MIN(2 * row->delay_ms, (int64_t)START_DELAY_MS_MAX) : START_DELAY_MS;
    row->until_mono_ms = s->clock->mono_ms(s->clock) + row->delay_ms;
    state_tx_put_text(tx, moves_delay_key(row->id, key), why);
    if (moves_fence(s->moves, tx, &e) || state_commit(s->moves->state, tx, &e))
        log_debug("job.put_off", "job=%s %s", row->id, e.text); /* `why` will say less; no more */
}

/* This job can never be started: its dataset has changed, or is gone. */
static enum err_code give_up(struct starter *s, struct starting *row, const char *why, struct err *e)
{
    const struct move mv = {
        .job = row->id,
        .event = JOB_GIVE_UP,
        .actor = "scheduler",
        .reason = why,
        .attempt = row->attempt - 1,
    };
    enum err_code code = moves_apply(s->moves, &mv, NULL, e);

    log_error("job.failed", "job=%s %s", row->id, why);
    drop_row(s, row); /* had it not been moved, it would be found waiting again */
    return code == ERR_CONFLICT ? OK : code;
}

static enum err_code take_plan(struct starter *s, const struct planned *plan, bool *out_freed, struct err *e)
{
    struct starting *row = find(s, plan->job);

    if (!row || row->phase != STARTING_PLANS)
        return OK; /* asked before we lost the lead */
    if (plan->error.code == OK)
        return commit(s, row, plan, e);
    *out_freed = true;
    if (plan->error.code == ERR_RETRY || plan->error.code == ERR_IO) {
        put_off(s, row, plan->error.text);
        return OK;
    }
    return give_up(s, row, plan->error.text, e);
}

/* ---- a lost answer ---- */

static enum err_code make_sure(struct starter *s, struct starting *row, bool *out_freed, struct err *e)
{
    CLEANUP(job_done) struct job j = { .result = NULL };

    if (moves_read(s->moves->state, row->id, &j, NULL, e))
        return e->code;
    if (job_is_active(j.state) && j.attempts == row->attempt) {
        launch(s, row, &j);
        return OK;
    }
    *out_freed = true;
    drop_row(s, row);
    return OK;
}

/* Said once for each. Where the job does not come again, as it was cancelled, its row goes. */
static void end_delays(struct starter *s, bool *out_freed)
{
    const int64_t now = s->clock->mono_ms(s->clock);

    for (size_t i = s->count; i-- > 0;) {
        struct starting *row = &s->list[i];
        if (row->phase != STARTING_WAITS)
            continue;
        if (row->until_mono_ms && row->until_mono_ms <= now) {
            row->until_mono_ms = 0;
            row->forget_mono_ms = now + START_FORGET_MS;
            *out_freed = true;
        } else if (row->until_mono_ms == 0 && row->forget_mono_ms <= now) {
            remove_row(s, row);
        }
    }
}

enum err_code starter_turn(struct starter *s, bool *out_freed, struct err *e)
{
    for (size_t i = s->count; i-- > 0;) {
        if (s->list[i].phase == STARTING_UNSURE && make_sure(s, &s->list[i], out_freed, e))
            return e->code;
    }
    end_delays(s, out_freed);
    for (;;) {
        CLEANUP(planned_done) struct planned plan = { .job = "" };
        if (!planner_collect(s->planner, &plan))
            return OK;
        if (take_plan(s, &plan, out_freed, e))
            return e->code;
    }
}
