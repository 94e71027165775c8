/*
 * starter.h - from "starts on node n" to a supervisor that runs: plan, commit, launch, in this order.
 *
 * The plan is made first, since it can take long or fail. Then one commit moves the job to STARTING and
 * carries all that the attempt needs: its number, the node, the plan under plan/ID/N, the place for the
 * launch note. Only then is a process started, and its number noted. So a scheduler that dies at any point
 * leaves either a job that still waits, or one whose attempt is known and watched; never a process that
 * nobody knows of.
 *
 * A row here holds its slots in the fleet. A store that is away puts a job off for a while, doubling up to
 * START_DELAY_MS_MAX; its slots are free meanwhile, and the reason stands under delay/ID for `why`.
 *
 * Threads: the loop's.
 */
#ifndef SCHEDULER_STARTER_H
#define SCHEDULER_STARTER_H

#include "scheduler/fleet.h"
#include "scheduler/launcher.h"
#include "scheduler/moves.h"
#include "scheduler/planner.h"
#include "scheduler/watch.h"

enum { START_DELAY_MS = 1000, START_DELAY_MS_MAX = 60000, START_FORGET_MS = 600000, STARTER_ROWS_MAX = 1024 };

enum starting_phase {
    STARTING_PLANS,  /* the planner works on it */
    STARTING_UNSURE, /* the commit's answer was lost: it may have been placed */
    STARTING_WAITS,  /* put off; holds no slots */
};

struct starting {
    enum starting_phase phase;
    char id[JOB_ID_BYTES], queue[FLEET_NAME_BYTES], node[FLEET_NAME_BYTES];
    int64_t slots, attempt;          /* the number that it will have */
    int64_t delay_ms, until_mono_ms; /* until 0: the delay is over */
    int64_t forget_mono_ms;          /* then: when it need not be remembered any more */
};

struct starter {
    const struct moves *moves; /* borrowed, all six */
    struct launcher *launcher;
    const struct clock *clock;
    struct fleet *fleet;
    struct planner *planner;
    struct watch *watch;
    struct starting *list; /* owned */
    size_t count, size;
};

void starter_init(struct starter *s, const struct moves *moves, struct launcher *launcher,
                  const struct clock *clock, struct fleet *fleet, struct planner *planner,
                  struct watch *watch);
void starter_done(struct starter *s);
void starter_clear(struct starter *s); /* forgets all rows and what they use of the fleet; plans that come in
                                          later are dropped */

/* `job` was given a place on `node` and counted in the fleet. ERR_LIMIT: too many at once; its slots are free
 * again. */
enum err_code starter_begin(struct starter *s, const struct job *job, const char *node, struct err *e);

/* This job is none of the placer's business now: on its way, or put off. */
bool starter_has(const struct starter *s, const char *job);

/* Goes on with whatever can go on. *out_freed: slots became free, or a delay is over. */
enum err_code starter_turn(struct starter *s, bool *out_freed, struct err *e);
int64_t starter_next_mono_ms(const struct starter *s);

#endif
