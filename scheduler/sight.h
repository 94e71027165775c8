/*
 * sight.h - what the watcher sees of one active job, and what follows from it. Pure.
 *
 * The supervisor of an attempt holds the lease attempt/ID and keeps the record attempt/ID/N; on the host
 * where it runs we also see whether the process lives. The rules stand in one table-like function, in the
 * order in which they apply; what they promise: a job moves on only when its last attempt has said that it
 * ended, or is known to be dead, or can no longer commit anything (its lease is gone and will be broken), so
 * two attempts never count at once.
 */
#ifndef SCHEDULER_SIGHT_H
#define SCHEDULER_SIGHT_H

#include "core/job/attempt.h"

enum {
    SIGHT_START_MS = 30000, /* from placement to the supervisor's first sign */
    SIGHT_LEASE_GRACE_MS =
        2000, /* a lease seen unheld for so long is lost; a renewal may be on its way after an outage */
    SIGHT_STOP_MARGIN_MS = 30000, /* behind the grace that the supervisor itself gives its ranks */
};

enum sight_life {
    SIGHT_UNKNOWN, /* another host's, or we were never told its number */
    SIGHT_ALIVE,
    SIGHT_DEAD,
};

struct sight {
    enum job_state state; /* STARTING, RUNNING, STOPPING */
    bool has_record;      /* attempt/ID/N is there */
    enum attempt_phase phase;
    enum sight_life supervisor;
    bool lease_held;
    int64_t lease_gone_ms; /* seen unheld for so long, without a break */
    int64_t placed_ago_ms;
    int64_t stopping_ms;   /* seen STOPPING for so long */
    int64_t stop_grace_ms; /* what the supervisor gives its ranks */
    bool launched;         /* a process was started, as far as the records tell */
};

enum sight_verdict {
    SIGHT_WAIT,
    SIGHT_STARTED,   /* the ranks run */
    SIGHT_ENDED,     /* the record says how */
    SIGHT_LOST,      /* there was a supervisor, and it is gone or must go */
    SIGHT_NO_START,  /* it never showed up, or died before its first word */
    SIGHT_FORGOTTEN, /* placed, but never launched: the scheduler died in between. Nobody's fault but ours */
};

enum sight_verdict sight_decide(const struct sight *s);

#endif
