/*
 * judge.h - how an attempt ended, and in one sentence why. Pure.
 *
 * The strongest reason first: a lost lease, then a success (it was done before it heard), then that it was
 * asked to stop, then what mpirun's exit status says. Where the status is no trainer's, mpirun's own messages
 * tell a rank that died from ranks that never started.
 */
#ifndef RUNNER_ATTEMPT_JUDGE_H
#define RUNNER_ATTEMPT_JUDGE_H

#include "core/job/attempt.h"
#include "runner/attempt/output.h"

enum stop_cause {
    STOP_NONE,
    STOP_CANCELLED, /* the job is STOPPING */
    STOP_SERVICE,   /* SIGTERM or SIGINT to the supervisor */
    STOP_TIME_LIMIT,
    STOP_FENCED,     /* the lease is somebody else's, or the job has moved on */
    STOP_LEASE_OVER, /* the state was away for longer than the lease */
};

struct ending {
    enum stop_cause cause;
    bool killed; /* by us, by force: there is no status */
    int status;  /* of mpirun, as a shell says it */
    int64_t stop_grace_ms;
    const struct output_notes *notes;
};
void judge(const struct ending *end, enum attempt_outcome *out, char out_reason[JOB_REASON_BYTES]);

/* For an attempt that failed before its ranks were started. */
enum attempt_outcome judge_start(enum err_code code);

#endif
