#include "scheduler/core.h"

#include "base/log.h"
#include "base/mem.h"
#include "scheduler/place.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

void core_init(struct core *c, const char *owner, const struct cluster *cluster, struct state *state,
               struct launcher *launcher, struct planner *planner, const struct clock *clock)
{
    memset(c, 0, sizeof(*c));
    c->clock = clock;
    lead_init(&c->lead, owner, cluster->timing.leader_lease_ms, clock);
    c->moves = (struct moves){ .state = state, .cluster = cluster, .clock = clock, .lead = &c->lead };
    c->fleet = fleet_new(cluster);
    watch_init(&c->watch, &c->moves, launcher, clock, &c->fleet, cluster->timing.stop_grace_ms);
    starter_init(&c->starter, &c->moves, launcher, clock, &c->fleet, planner, &c->watch);
}

void core_done(struct core *c)
{
    lead_release(&c->lead, c->moves.state);
    starter_done(&c->starter);
    watch_done(&c->watch);
    fleet_done(&c->fleet);
}

void core_wake(struct core *c)
{
    watch_wake(&c->watch);
    c->look_for_work = true;
}

/* ---- waiting jobs, in the order in which they are served ---- */

enum { LINE_PAGE = 64 };

/* The front of one queue's line, read page by page. */
struct line {
    char set[JOB_KEY_BYTES];
    char ids[LINE_PAGE][JOB_ID_BYTES];
    double scores[LINE_PAGE];
    size_t count, at;
    int64_t read, skipped;
    bool over;
};

static enum err_code line_add(void *context, const char *member, double score, struct err *e)
{
    struct line *l = context;
    (void)e;
    if (strlen(member) < JOB_ID_BYTES) {
        memcpy(l->ids[l->count], member, strlen(member) + 1);
        l->scores[l->count++] = score;
    }
    return OK;
}

static enum err_code line_fill(struct line *l, struct state *s, struct err *e)
{
    if (l->over || l->at < l->count)
        return OK;
    l->count = l->at = 0;
    if (state_range(s, l->set, -INFINITY, INFINITY, false, l->read, LINE_PAGE, line_add, l, e))
        return e->code;
    l->read += LINE_PAGE;
    l->over = l->count == 0;
    return OK;
}

static struct line *line_first(struct line *lines, size_t count)
{
    struct line *first = NULL;

    for (size_t i = 0; i < count; i++)
        if (!lines[i].over && (!first || lines[i].scores[lines[i].at] < first->scores[first->at]))
            first = &lines[i];
    return first;
}

/* ---- placing ---- */

struct round {
    struct core *core;
    struct place place;
    struct line lines[CLUSTER_QUEUES_MAX];
    size_t started;
};

static void note_backoff(struct core *c, int64_t until_wall_ms)
{
    if (c->backoff_wall_ms == 0 || until_wall_ms < c->backoff_wall_ms)
        c->backoff_wall_ms = until_wall_ms;
}

static enum err_code place_one(struct round *r, struct line *line, const char *id, struct err *e)
{
    struct core *c = r->core;
    CLEANUP(job_done) struct job j = { .result = NULL };
    struct place_answer answer;

    if (starter_has(&c->starter, id) || watch_has(&c->watch, id))
        return OK;
    if (moves_read(c->moves.state, id, &j, NULL, e)) {
        if (e->code == ERR_RETRY)
            return e->code;
        log_error("job.unreadable", "job=%s %s", id, e->text); /* it must not hold back the others */
        return OK;
    }
    if (j.state != JOB_QUEUED)
        return OK; /* cancelled since the line was read */
    const struct place_job ask = place_job_of(&j);
    place_ask(&r->place, &ask, &answer);
    if (answer.kind == PLACE_BACKOFF) {
        note_backoff(c, j.not_before_ms);
        line->over = ++line->skipped >= CORE_BACKOFF_SKIPS_MAX;
    } else if (answer.kind == PLACE_START) {
        r->started++;
        if (starter_begin(&c->starter, &j, c->fleet.nodes[answer.node].name, e)) {
            c->look_for_work = true;
            return e->code;
        }
        log_info("job.placed", "job=%s attempt=%" PRId64 " node=%s slots=%" PRId64, j.id, j.attempts + 1,
                 c->fleet.nodes[answer.node].name, j.slots);
    }
    line->over = line->over || place_is_blocked(&r->place, ask.queue);
    return OK;
}

static enum err_code place_round(struct round *r, struct err *e)
{
    struct core *c = r->core;
    const size_t count = c->fleet.queue_count;

    c->backoff_wall_ms = 0;
    place_begin(&r->place, &c->fleet, c->clock->wall_ms(c->clock));
    for (size_t i = 0; i < count; i++)
        moves_queue_set(c->fleet.queues[i].name, r->lines[i].set);
    while (r->started < CORE_STARTS_MAX && !place_is_full(&r->place)) {
        for (size_t i = 0; i < count; i++)
            if (line_fill(&r->lines[i], c->moves.state, e))
                return e->code;
        struct line *line = line_first(r->lines, count);
        if (!line)
            return OK;
        const char *id = line->ids[line->at++];
        if (place_one(r, line, id, e))
            return e->code;
    }
    c->look_for_work = r->started >= CORE_STARTS_MAX;
    return OK;
}

static enum err_code place_waiting(struct core *c, struct err *e)
{
    CLEANUP(freep) struct round *r = mem_new(sizeof(*r));
    r->core = c;
    c->look_for_work = false;
    if (place_round(r, e) == OK)
        return OK;
    c->look_for_work = true;
    if (e->code != ERR_LIMIT)
        return e->code;
    err_clear(e); /* enough at once: the placement of the first of them wakes us for the rest */
    c->look_for_work = false;
    return OK;
}

/* ---- the turn ---- */

static void forget(struct core *c)
{
    starter_clear(&c->starter);
    watch_clear(&c->watch);
    c->loaded = false;
}

static enum err_code load(struct core *c, struct err *e)
{
    forget(c);
    if (watch_load(&c->watch, e))
        return err_wrap(e, "load the active jobs");
    c->loaded = true;
    c->look_for_work = true;
    log_info("scheduler.loaded", "active=%zu", c->watch.count);
    return OK;
}

static enum err_code keep_lead(struct core *c, struct err *e)
{
    enum lead_news news;
    enum err_code code = lead_tick(&c->lead, c->moves.state, &news, e);

    if (news == LEAD_GAINED) {
        log_info("leader.gained", "token=%" PRId64, lead_token(&c->lead));
        forget(c);
    } else if (news == LEAD_LOST) {
        log_warn("leader.lost", "%s", e->text);
        forget(c);
    }
    return code;
}

static enum err_code work(struct core *c, struct err *e)
{
    bool freed = false, put_off = false;

    if (c->backoff_wall_ms && c->clock->wall_ms(c->clock) >= c->backoff_wall_ms)
        c->look_for_work = true;
    if (watch_turn(&c->watch, &freed, e) || starter_turn(&c->starter, &freed, e))
        return e->code;
    c->look_for_work = c->look_for_work || freed;
    /* What is placed without a wait for its plan is launched in the same turn. */
    if (c->look_for_work && (place_waiting(c, e) || starter_turn(&c->starter, &put_off, e)))
        return e->code;
    c->look_for_work = c->look_for_work || put_off;
    return OK;
}

enum err_code core_turn(struct core *c, struct err *e)
{
    if (keep_lead(c, e))
        return e->code;
    if (lead_token(&c->lead) == 0)
        return OK;
    if (!c->loaded && load(c, e))
        return e->code;
    if (work(c, e) == OK)
        return OK;
    if (e->code == ERR_DENIED)
        lead_doubt(&c->lead);
    return e->code;
}

int64_t core_next_mono_ms(const struct core *c)
{
    const int64_t now = c->clock->mono_ms(c->clock);
    int64_t next = c->lead.next_mono_ms;

    if (lead_token(&c->lead) == 0)
        return next;
    if (c->look_for_work || !c->loaded)
        return now;
    next = MIN(next, watch_next_mono_ms(&c->watch));
    next = MIN(next, starter_next_mono_ms(&c->starter));
    if (c->backoff_wall_ms)
        next = MIN(next, now + MAX(0, c->backoff_wall_ms - c->clock->wall_ms(c->clock)));
    return next;
}
