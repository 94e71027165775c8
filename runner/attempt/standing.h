/*
 * standing.h - our standing in the state: the lease that makes this attempt ours, its record, and what the
 * job's record says.
 *
 * Nothing is written but under the lease's token, so a supervisor that slept past its time changes nothing. A
 * record and its events are one commit; a commit whose answer was lost is read back before it is tried again,
 * so an event is written once. An attempt's number is started once: whoever finds a record of it, however it
 * got there, leaves it alone.
 */
#ifndef RUNNER_ATTEMPT_STANDING_H
#define RUNNER_ATTEMPT_STANDING_H

#include "core/cluster/cluster.h"
#include "core/job/attempt.h"
#include "core/job/job.h"
#include "core/state/lease.h"

enum { STANDING_EVENTS_MAX = 4 };

struct standing {
    struct state *state;
    struct lease lease; /* token 0: not taken */
    struct attempt record;
    char name[JOB_ID_BYTES + 24]; /* "supervisor:JOB.N", the actor of its events */
};

/* Connects, takes the lease, reads the job. The state away, or the lease not yet given back by the attempt
 * before: waits for at most patience_ms. ERR_CONFLICT: not ours to run, for the reason that the text gives.
 * ERR_CANCELED: asked to stop. */
enum err_code standing_take(const struct cluster *c, const char *job, int64_t number, int64_t patience_ms,
                            struct standing *out, struct job *out_job, struct err *e);
void standing_done(struct standing *s); /* gives the lease back where it can, and closes */

struct standing_event {
    const char *name;
    json_t *data; /* borrowed */
};
/* s->record and the events in one commit. `first`: ERR_CONFLICT where there is a record already. ERR_DENIED:
 * the lease is somebody else's. ERR_RETRY: the state is away. */
enum err_code standing_write(struct standing *s, bool first, const struct standing_event *events,
                             size_t count, struct err *e);

/* A value beside the record, as it shall be from now on (NULL data: gone), and its event (may be NULL).
 * Errors as standing_write()'s. */
enum err_code standing_put(struct standing *s, const char *key, const void *data, size_t n,
                           const struct standing_event *event, struct err *e);

enum err_code standing_renew(struct standing *s, struct err *e); /* as lease_renew() */
int64_t standing_left_ms(const struct standing *s);              /* of the lease; never more than is sure */
int64_t standing_call_ms(const struct standing *s);              /* a call to the state may take so long */

/* The job's state. ERR_DENIED: it is gone, over, or at another attempt; ours must end. */
enum err_code standing_look(struct standing *s, enum job_state *out, struct err *e);

#endif
