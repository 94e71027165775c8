/*
 * moves.h - the one way in which a job changes.
 *
 * A move reads the record, asks the transition table (core/job), edits the copy, and commits all of it at
 * once: the record under the version that was read, the sets that the new state belongs to, and the event for
 * the ledger; all under the leader's token. So no move can be half done, done twice, missing from the audit
 * trail, or made by a scheduler that no longer leads.
 *
 * Sets: "jobs" holds every job; a QUEUED one is in "waiting" and in "waiting/QUEUE", an active one in
 * "active", scored by the time of its placement. A retried job returns to its old place in line.
 *
 * Threads: any, each with a state handle of its own; two moves of one job are ordered by its version.
 */
#ifndef SCHEDULER_MOVES_H
#define SCHEDULER_MOVES_H

#include "core/cluster/cluster.h"
#include "core/job/job.h"
#include "scheduler/lead.h"

enum { MOVES_TRIES_MAX = 8, JOB_TEXT_BYTES_MAX = 1 << 20 };

struct moves {
    struct state *state; /* borrowed, all four */
    const struct cluster *cluster;
    const struct clock *clock;
    const struct lead *lead;
};

/* May change the job's fields (not its state), add members to the event's data, and add writes to the commit.
 * Called again for each try, with a fresh copy. A failure ends the move. */
typedef enum err_code move_edit_fn(void *context, struct job *j, json_t *data, struct state_tx *tx,
                                   struct err *e);

struct move {
    const char *job;
    enum job_event event;
    const char *actor;  /* "scheduler", "user:ana" */
    const char *reason; /* NULL: the job's stays */
    int64_t attempt;    /* of which the event speaks: another one is ERR_CONFLICT. -1: of none */
    move_edit_fn *edit; /* NULL: nothing more */
    void *context;
};

/* ERR_CONFLICT: the table does not allow it, or it speaks of another attempt. ERR_DENIED: we do not lead any
 * more. ERR_RETRY: the state is away; it may or may not have happened: read again. `out` (may be NULL; the
 * caller's job_done()) is the new record. */
enum err_code moves_apply(const struct moves *m, const struct move *mv, struct job *out, struct err *e);

/* A record and its version. ERR_NOT_FOUND: "there is no job 'x'". The caller's job_done(). */
enum err_code moves_read(struct state *s, const char *id, struct job *out, int64_t *out_version,
                         struct err *e);

/* The part of a commit that makes a new job, or says in which sets it is. */
enum err_code moves_put(const struct moves *m, struct state_tx *tx, const struct job *j, struct err *e);
void moves_enter_sets(const struct moves *m, struct state_tx *tx, const struct job *j);
/* Fence and event. ERR_RETRY where we do not lead. `data` is borrowed. */
enum err_code moves_fence(const struct moves *m, struct state_tx *tx, struct err *e);
enum err_code moves_event(const struct moves *m, struct state_tx *tx, const char *actor, const char *event,
                          const char *job, json_t *data, struct err *e);

const char *moves_queue_set(const char *queue, char out[JOB_KEY_BYTES]); /* "waiting/QUEUE" */
const char *moves_delay_key(const char *id,
                            char out[JOB_KEY_BYTES]); /* "delay/ID": why it was put off, for `why` */
double moves_score(const struct cluster *c, const struct job *j);

#endif
