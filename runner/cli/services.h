/*
 * services.h - what runs behind an embedded cluster: a private Redis and the scheduler, brought up and taken
 * down.
 *
 * What runs is told by the sockets, not by notes: whoever listens on HOME/run/redis.sock is the Redis (the
 * kernel names the process behind a Unix socket), so a lost or stale pid file starts nothing twice and leaves
 * nothing behind. The pid files
 * ("pid start_ticks") are for people and scripts. HOME/run/lock, a flock, admits one up or down at a time.
 *
 * `run` may bring the services up for itself alone. It then leaves the mark run/transient, and each `run`
 * holds a shared flock on run/users; the last one out, where the mark still stands, takes them down. `up`
 * removes the mark: then they stay.
 *
 * Down: the scheduler first, so that it starts nothing more; then each attempt's supervisor is asked to stop
 * (it checkpoints, and its job goes back to the queue and on at the next up); Redis last. Each is waited for,
 * and killed when it takes too long. Where the state is not embedded (`state.embedded: false`) jobs and Redis
 * are somebody else's and go on.
 */
#ifndef RUNNER_CLI_SERVICES_H
#define RUNNER_CLI_SERVICES_H

#include "base/proc.h"
#include "runner/cli/cli.h"

enum { SERVICES_LOCK_MS_MAX = 120000, SERVICES_START_MS_MAX = 60000, SERVICES_END_MS_MAX = 30000 };

struct service_fact {
    pid_t pid;    /* 0: not there */
    bool started; /* by this call */
};
struct services_up {
    struct service_fact redis, scheduler;
    char socket[CLUSTER_PATH_BYTES];
};
/* Makes the home where there is none (not with --config), starts what is missing, waits until the scheduler
 * answers. `transient`: for a `run`; ignored where they were up already. */
enum err_code services_up(const struct cli *c, bool transient, struct services_up *out, struct err *e);

struct services_down {
    int64_t supervisors;   /* that were asked to stop */
    int64_t killed;        /* of all processes: how many did not end by themselves */
    bool scheduler, redis; /* was there, and is not any more */
};
enum err_code services_down(const struct cli *c, struct services_down *out, struct err *e);

/* A `run`'s claim on the services. */
struct services_claim {
    int fd;
};
#define SERVICES_CLAIM_INIT                                                                                  \
    {                                                                                                        \
        .fd = -1                                                                                             \
    }
enum err_code services_claim(const struct cli *c, struct services_claim *out, struct err *e);
void services_unclaim(struct services_claim *claim); /* lets go, takes nothing down */
/* Gives the claim back; *out_last: nobody else holds one and the services were brought up by a `run`: the
 * caller takes them down, and until it calls services_unclaim() no other run starts. */
enum err_code services_leave(const struct cli *c, struct services_claim *claim, bool *out_last,
                             struct err *e);

#endif
