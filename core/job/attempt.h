/*
 * attempt.h - one try at running a job: its record, its pulse, how it ended, and what follows from that.
 *
 * The supervisor writes attempt/ID/N under the token of lease attempt/ID; the scheduler reads it and decides.
 * Outcomes tell apart what happened because each has its own rule: a lost rank is retried, a user's mistake
 * is not.
 */
#ifndef CORE_JOB_ATTEMPT_H
#define CORE_JOB_ATTEMPT_H

#include "core/job/job.h"

enum attempt_phase { ATTEMPT_LAUNCHING, ATTEMPT_RUNNING, ATTEMPT_ENDED };
extern const char *const attempt_phase_names[];

enum attempt_outcome {
    OUTCOME_NONE, /* not over */
    OUTCOME_SUCCEEDED,
    OUTCOME_STOPPED,         /* asked to stop; checkpointed or not */
    OUTCOME_RANK_LOST,       /* a rank or mpirun died by a signal */
    OUTCOME_SUPERVISOR_LOST, /* written by the scheduler */
    OUTCOME_LAUNCH_FAILED,   /* mpirun or the trainer could not start */
    OUTCOME_STORE_AWAY,
    OUTCOME_STATE_AWAY,
    OUTCOME_FENCED, /* somebody else holds the lease */
    OUTCOME_TIME_LIMIT,
    OUTCOME_USER_ERROR, /* spec and data do not fit: missing column, not a number, ... */
    OUTCOME_BAD_DATA,   /* a shard's bytes are not those of the manifest */
    OUTCOME_DENIED,     /* policy, key or store said no */
    OUTCOME_LIMIT,      /* memory, disk or another stated maximum */
    OUTCOME_DIVERGED,   /* NaN or infinite loss */
    OUTCOME_FAILED,     /* anything else */
    OUTCOME_COUNT
};
extern const char *const attempt_outcome_names[]; /* "succeeded", "rank_lost", ..., NULL */

/* Exit codes of sovrun-trainer: the contract between it and the supervisor. */
enum trainer_exit {
    TRAINER_OK = 0,
    TRAINER_FAILED = 1,
    TRAINER_STOPPED = 10,
    TRAINER_USER_ERROR = 11,
    TRAINER_BAD_DATA = 12,
    TRAINER_STORE_AWAY = 13,
    TRAINER_STATE_AWAY = 14,
    TRAINER_DENIED = 15,
    TRAINER_LIMIT = 16,
    TRAINER_DIVERGED = 17,
    TRAINER_FENCED = 18,
};
/* 137 and other 128+N, and mpirun's 205 (a node was lost): rank lost; 126, 127: launch failed; what is
 * unknown: failed. */
enum attempt_outcome outcome_of_exit(int status);

struct attempt {
    char job[JOB_ID_BYTES];
    int64_t number, token;
    enum attempt_phase phase;
    enum attempt_outcome outcome;
    char node[64];
    int64_t ranks;
    int64_t supervisor_pid, supervisor_start; /* struct proc_id */
    int64_t launcher_pid, launcher_start;     /* mpirun */
    int64_t started_ms, ended_ms;
    int64_t exit_status;
    char reason[JOB_REASON_BYTES];
};
/* Both refuse (ERR_CORRUPT) what is not one: ended without an outcome, or with one before its end; no valid
 * job id. */
enum err_code attempt_to_text(const struct attempt *a, struct buf *out, struct err *e);
enum err_code attempt_from_text(const void *text, size_t n, struct attempt *out, struct err *e);
json_t *attempt_to_json(const struct attempt *a);

/* What follows: pure. Retried is what may pass by itself (something lost or away, a launch, "anything else");
 * not what would only happen again. delay = backoff * 2^retries used, at most 10 min. STOPPED by the service
 * itself (`down`) retries at once and is not counted. */
struct retry_decision {
    bool retry, counted;
    int64_t delay_ms;
};
struct retry_decision retry_decide(enum attempt_outcome outcome, int64_t retries_used,
                                   const struct spec_retry *rule);

/* Where the time of a step goes, in ms: means over the steps since the pulse before. On rank 0: waiting for
 * data, forward and backward passes, exchanges (with the waiting for slower ranks), the update and its
 * exchange, what checkpoints held up, all else. `slowest` is data and compute of the rank that needs most for
 * them. Zeros before the first step. */
struct pulse_times {
    double data, compute, reduce, update, checkpoint, other, slowest;
    int64_t slowest_rank;
};

/* Progress, written by rank 0 under the attempt's token, at most twice a second. Real numbers travel as JSON
 * reals; what is not finite as null, which comes back as NaN. */
struct pulse {
    int64_t attempt, step, steps, epoch, epochs, checkpoint_step, time_ms; /* checkpoint_step -1: none yet */
    double loss, records_per_second, lr;
    struct pulse_times step_ms;
    char phase[24]; /* "start", "restore", "train", "checkpoint", "evaluate", "done" */
};
enum err_code pulse_to_text(const struct pulse *p, struct buf *out, struct err *e);
enum err_code pulse_from_text(const void *text, size_t n, struct pulse *out, struct err *e);

#endif
