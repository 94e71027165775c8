#include "scheduler/place.h"

#include "base/num.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct place_job place_job_of(const struct job *j)
{
    struct place_job p = { .slots = j->slots, .not_before_ms = j->not_before_ms };

    _Static_assert(sizeof(p.queue) == sizeof(j->spec.queue) && sizeof(p.id) == sizeof(j->id), "copied whole");
    memcpy(p.id, j->id, sizeof(p.id));
    memcpy(p.queue, j->spec.queue, sizeof(p.queue));
    return p;
}

void place_begin(struct place *p, struct fleet *fleet, int64_t now_ms)
{
    memset(p, 0, sizeof(*p));
    p->fleet = fleet;
    p->now_ms = now_ms;
}

static size_t queue_index(const struct place *p, const char *queue)
{
    size_t i = 0;

    while (i < p->fleet->queue_count && strcmp(p->fleet->queues[i].name, queue) != 0)
        i++;
    return i;
}

bool place_is_blocked(const struct place *p, const char *queue)
{
    size_t i = queue_index(p, queue);
    return i == p->fleet->queue_count || p->queues[i].blocker[0];
}

bool place_is_full(const struct place *p)
{
    return fleet_free_on_one(p->fleet) == 0;
}

/* The fullest node with room; node_count where none has. */
static size_t choose_node(const struct fleet *f, int64_t slots)
{
    size_t best = f->node_count;

    for (size_t i = 0; i < f->node_count; i++) {
        int64_t room = fleet_node_free(&f->nodes[i]);
        if (room >= slots && (best == f->node_count || room < fleet_node_free(&f->nodes[best])))
            best = i;
    }
    return best;
}

static const char *plural(int64_t n)
{
    return n == 1 ? "" : "s";
}

static void say_node(const struct place *p, const struct place_job *job, struct place_answer *out)
{
    snprintf(out->why, sizeof(out->why),
             "needs %" PRId64 " slot%s on one node; the most that is free on one is %" PRId64 " (%" PRId64
             " over all %zu nodes)",
             job->slots, plural(job->slots), fleet_free_on_one(p->fleet), fleet_free(p->fleet),
             p->fleet->node_count);
}

static void say_queue(const struct fleet_queue *q, const struct place_job *job, struct place_answer *out)
{
    snprintf(out->why, sizeof(out->why),
             "needs %" PRId64 " slot%s; queue '%s' may hold %" PRId64 " at once and holds %" PRId64,
             job->slots, plural(job->slots), q->name, q->slots_max, q->used);
}

static void say_behind(const struct place *p, size_t queue, const struct place_job *job,
                       struct place_answer *out)
{
    const int64_t blocker_slots = p->queues[queue].blocker_slots;

    memcpy(out->blocker, p->queues[queue].blocker, sizeof(out->blocker));
    snprintf(out->why, sizeof(out->why),
             "needs %" PRId64 " slot%s; %" PRId64
             " job%s of queue '%s' wait%s ahead of it, the first is %s, which needs %" PRId64
             " slot%s; %" PRId64 " are free on one node",
             job->slots, plural(job->slots), out->ahead, plural(out->ahead), job->queue,
             out->ahead == 1 ? "s" : "", out->blocker, blocker_slots, plural(blocker_slots),
             fleet_free_on_one(p->fleet));
}

static void say_backoff(const struct place_job *job, struct place_answer *out)
{
    char left[NUM_TEXT_BYTES];

    snprintf(out->why, sizeof(out->why),
             "waits %s more after a failed attempt, then needs %" PRId64 " slot%s",
             format_duration(out->wait_ms, left), job->slots, plural(job->slots));
}

static void start(struct place *p, const struct place_job *job, size_t node, struct place_answer *out)
{
    out->kind = PLACE_START;
    out->node = node;
    fleet_use(p->fleet, p->fleet->nodes[node].name, job->queue, job->slots);
    snprintf(out->why, sizeof(out->why), "starts on node '%s'", p->fleet->nodes[node].name);
}

/* It is the first of its queue that waits: from now on it holds back those behind it. */
static void decide_head(struct place *p, size_t queue, const struct place_job *job, struct place_answer *out)
{
    const struct fleet_queue *q = &p->fleet->queues[queue];
    size_t node = choose_node(p->fleet, job->slots);

    if (fleet_queue_free(q) >= job->slots && node < p->fleet->node_count) {
        start(p, job, node, out);
        return;
    }
    if (fleet_queue_free(q) < job->slots) {
        out->kind = PLACE_QUEUE;
        say_queue(q, job, out);
    } else {
        out->kind = PLACE_NODE;
        say_node(p, job, out);
    }
    memcpy(p->queues[queue].blocker, job->id, sizeof(job->id));
    p->queues[queue].blocker_slots = job->slots;
}

void place_ask(struct place *p, const struct place_job *job, struct place_answer *out)
{
    struct err never = ERR_INIT;
    size_t queue = queue_index(p, job->queue);

    memset(out, 0, sizeof(*out));
    /* The configuration may have shrunk since it was admitted. Such a job must not hold back the others. */
    if (fleet_fits(p->fleet, job->queue, job->slots, &never)) {
        out->kind = PLACE_NEVER;
        snprintf(out->why, sizeof(out->why), "cannot start in this cluster as it is configured now: %.400s",
                 never.text);
        return;
    }
    out->ahead = p->queues[queue].waiting;
    if (job->not_before_ms > p->now_ms) {
        out->kind = PLACE_BACKOFF;
        out->wait_ms = job->not_before_ms - p->now_ms;
        say_backoff(job, out);
        return;
    }
    if (p->queues[queue].blocker[0]) {
        out->kind = PLACE_BEHIND;
        say_behind(p, queue, job, out);
    } else {
        decide_head(p, queue, job, out);
    }
    p->queues[queue].waiting += out->kind != PLACE_START;
}
