/*
 * core.h - the scheduler without its sockets: read, decide, commit, act.
 *
 * core_turn() does all that is to be done now and says when to come again; whoever calls it does the waiting.
 * It keeps the lead, looks at active jobs, goes on with those that start, and places waiting ones. It holds
 * nothing that the state does not hold too, so it may be dropped and made anew at any point. Clock, launcher
 * and planner come from outside: the tests and the simulator run the same code.
 *
 * Threads: one. `lead` may be asked by others.
 */
#ifndef SCHEDULER_CORE_H
#define SCHEDULER_CORE_H

#include "scheduler/lead.h"
#include "scheduler/moves.h"
#include "scheduler/starter.h"
#include "scheduler/watch.h"

enum {
    CORE_BACKOFF_SKIPS_MAX =
        1024, /* jobs of one queue that are passed over in one round, as they wait out a failure */
    CORE_STARTS_MAX = 256, /* in one round; the next follows at once */
};

struct core {
    const struct clock *clock; /* borrowed */
    struct moves moves;
    struct lead lead;
    struct fleet fleet;
    struct watch watch;
    struct starter starter;
    bool loaded;             /* the tables are those of our lead */
    bool look_for_work;      /* something changed that may let a job start */
    int64_t backoff_wall_ms; /* when the first of those that wait out a failure may start; 0: none */
};

/* All borrowed; `owner` as in lead_init(). In place: `core` must not move. */
void core_init(struct core *c, const char *owner, const struct cluster *cluster, struct state *state,
               struct launcher *launcher, struct planner *planner, const struct clock *clock);
void core_done(struct core *c); /* lets the lead go; jobs go on */

void core_wake(struct core *c); /* something happened in the state */

/* ERR_RETRY: the state is away; come again in a second. ERR_DENIED: somebody else leads by now. Both change
 * nothing that matters. */
enum err_code core_turn(struct core *c, struct err *e);
int64_t core_next_mono_ms(const struct core *c);

#endif
