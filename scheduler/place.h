/*
 * place.h - which waiting job starts where, and why each other one waits. Pure.
 *
 * Jobs are asked about one by one, in the order in which they are served (job_queue_score(): priority, then
 * submission). Each answer is final for the round and counts in the next one, so the same questions always
 * get the same answers:
 *
 *     - Gang: all ranks of a job start, on one node, or none.
 *     - A queue is strictly first come, first served: the first job of a queue that cannot start holds back
 * all behind it, so a large job is never overtaken for ever by small ones of its own queue.
 *     - Different queues do not hold each other back, except that they share the slots. So a large job may
 * wait for long while small jobs of another queue come and go; give its queue a higher priority, or the other
 * a limit.
 *     - A job that waits out its back-off steps aside: it holds nobody back and comes again in its old place.
 *     - Of the nodes with room the fullest is taken, so that large holes stay whole; of equals the first in
 * the configuration.
 *
 * A round is over for a queue once it is blocked: no later job of it need be read at all. With 100,000 jobs
 * waiting, a round reads about as many as it starts.
 */
#ifndef SCHEDULER_PLACE_H
#define SCHEDULER_PLACE_H

#include "core/job/job.h"
#include "scheduler/fleet.h"

struct place_job {
    char id[JOB_ID_BYTES];
    char queue[FLEET_NAME_BYTES];
    int64_t slots;
    int64_t not_before_ms; /* wall; 0: at once */
};
struct place_job place_job_of(const struct job *j);

enum place_kind {
    PLACE_START,   /* on `node` */
    PLACE_BACKOFF, /* not yet: for `wait_ms` */
    PLACE_BEHIND,  /* an earlier job of the queue waits: `blocker` */
    PLACE_QUEUE,   /* the queue's limit */
    PLACE_NODE,    /* no node has so many free slots */
    PLACE_NEVER,   /* it does not fit into this cluster, or its queue has gone */
};

struct place_answer {
    enum place_kind kind;
    size_t node;
    int64_t wait_ms;
    char blocker[JOB_ID_BYTES];
    int64_t ahead;              /* jobs of its queue that were asked about before it in this round and wait */
    char why[JOB_REASON_BYTES]; /* a sentence for a person: what it needs, what is free, who is ahead */
};

struct place {
    struct fleet *fleet; /* borrowed; what starts is counted in it at once */
    int64_t now_ms;
    struct {
        char blocker[JOB_ID_BYTES]; /* "": not blocked */
        int64_t blocker_slots, waiting;
    } queues[CLUSTER_QUEUES_MAX];
};

void place_begin(struct place *p, struct fleet *fleet, int64_t now_ms);
void place_ask(struct place *p, const struct place_job *job, struct place_answer *out);
bool place_is_blocked(const struct place *p,
                      const char *queue);  /* nothing more of this queue starts in this round */
bool place_is_full(const struct place *p); /* nothing more starts at all: no slot is free */

#endif
