/*
 * watch.h - the active jobs: looked at until each attempt has come to its end.
 *
 * The table holds one row for each STARTING, RUNNING and STOPPING job, and the fleet's slots that it uses. It
 * is a copy: the state has the truth, watch_load() makes the table from it alone, and so a scheduler that
 * starts or takes over goes on where the last one was. A row is looked at when something woke us (an event,
 * the end of a supervisor's process) and every so often besides, for what gives no sign: a lease that runs
 * out. What is seen is judged by sight.h and acted upon here: one move, and before that, where a supervisor
 * is lost, its processes are killed and its lease is broken.
 *
 * Threads: the loop's.
 */
#ifndef SCHEDULER_WATCH_H
#define SCHEDULER_WATCH_H

#include "scheduler/fleet.h"
#include "scheduler/launcher.h"
#include "scheduler/moves.h"

#include <poll.h>

enum { WATCH_STARTING_MS = 1000, WATCH_RUNNING_MS = 2000, WATCH_ACTIVE_MAX = 65536 };

struct watched {
    char id[JOB_ID_BYTES], queue[FLEET_NAME_BYTES], node[FLEET_NAME_BYTES];
    int64_t slots, attempt;
    enum job_state state;      /* as it was seen last */
    struct proc_id supervisor; /* pid 0: never heard of */
    bool here;                 /* it runs, or ran, on this host */
    bool launched;             /* somebody started a process, as far as is known */
    bool failed;               /* we know that it could not be started: `failure` says why */
    char failure[JOB_REASON_BYTES];
    int fd;                                       /* readable when the process has ended; -1: none */
    int64_t placed_ms;                            /* wall */
    int64_t look_mono_ms;                         /* when next; 0: now */
    int64_t lease_gone_mono_ms, stopping_mono_ms; /* since when; 0: not */
};

struct watch {
    const struct moves *moves; /* borrowed, all four */
    struct launcher *launcher;
    const struct clock *clock;
    struct fleet *fleet;
    int64_t stop_grace_ms;
    struct watched *list; /* owned */
    size_t count, size;
};

void watch_init(struct watch *w, const struct moves *moves, struct launcher *launcher,
                const struct clock *clock, struct fleet *fleet, int64_t stop_grace_ms);
void watch_done(struct watch *w);
void watch_clear(struct watch *w); /* forgets all rows and what they use of the fleet; the jobs go on */

enum err_code watch_load(struct watch *w, struct err *e);

/* A job that was placed just now: its slots are in the fleet already. `id` {0} with a `failure`: it could not
 * be launched. */
void watch_add(struct watch *w, const struct job *j, struct proc_id id, const char *failure);
bool watch_has(const struct watch *w, const char *job);

void watch_wake(struct watch *w); /* look at all of them in the next turn */

/* Looks at those that are due. *out_freed: slots became free. On ERR_RETRY and ERR_DENIED the rest stays due.
 */
enum err_code watch_turn(struct watch *w, bool *out_freed, struct err *e);
int64_t watch_next_mono_ms(const struct watch *w); /* INT64_MAX: never */

/* The supervisors' descriptors for poll(), at most `max`; then, with what poll() found, those that have ended
 * become due. */
size_t watch_poll_fill(const struct watch *w, struct pollfd *out, size_t max);
void watch_poll_read(struct watch *w, const struct pollfd *polled, size_t count);

#endif
