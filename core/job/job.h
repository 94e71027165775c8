/*
 * job.h - what a job is, and how it moves.
 *
 *                 place             started             finished
 *     QUEUED ─────────────▶ STARTING ─────────▶ RUNNING ─────────────▶ SUCCEEDED
 *      │ ▲                    │  │               │  │                      ▲
 *      │ └────── retry ───────┴──│───────────────┘  │                      │ finished
 *      │                         └───── cancel ─────┴────▶ STOPPING ───────┤
 *      └─ cancel ─▶ CANCELLED ◀────────────────────────────────────────────┘ stopped
 *
 *     QUEUED, STARTING, RUNNING ── give up ──▶ FAILED
 *
 * A stopping job may finish: it was done before it heard.
 * A retry goes back to the queue, so that its back-off holds no slots and another node may be found.
 * The table in job.c is the only truth; each move is one commit that carries the new record and the ledger
 * event. The leading scheduler owns job records; the supervisor of an attempt owns that attempt's record
 * (attempt.h); both write under their fencing tokens. A record is stored as canonical JSON under "job/ID".
 */
#ifndef CORE_JOB_JOB_H
#define CORE_JOB_JOB_H

#include "core/job/job_spec.h"

enum { JOB_ID_BYTES = 24, JOB_USER_BYTES = 64, JOB_REASON_BYTES = 1024 };

enum job_state {
    JOB_QUEUED,
    JOB_STARTING,
    JOB_RUNNING,
    JOB_STOPPING,
    JOB_SUCCEEDED,
    JOB_FAILED,
    JOB_CANCELLED,
    JOB_STATE_COUNT
};
enum job_event {
    JOB_PLACE,
    JOB_STARTED,
    JOB_FINISHED,
    JOB_RETRY,
    JOB_GIVE_UP,
    JOB_CANCEL,
    JOB_STOPPED,
    JOB_EVENT_COUNT
};

extern const char *const job_state_names[]; /* "queued", ..., NULL */
/* "placed", "started", "finished", "retried", "failed" (give up), "cancelled", "stopped", NULL: in the ledger
 * "job.placed", ... */
extern const char *const job_event_names[];

/* ERR_CONFLICT: that event cannot happen in that state ("a succeeded job cannot be cancelled"). */
enum err_code job_move(enum job_state from, enum job_event event, enum job_state *out, struct err *e);
bool job_is_over(enum job_state s);
bool job_is_active(enum job_state s); /* has, or may have, an attempt: STARTING, RUNNING, STOPPING */

struct job {
    char id[JOB_ID_BYTES]; /* yymmdd-xxxxxx: day and six random base-32 letters; never used again */
    char user[JOB_USER_BYTES];
    enum job_state state;
    struct job_spec spec;
    char spec_digest[65];
    char dataset_digest[65]; /* of the manifest at submission: it cannot change under the job */
    int64_t attempts;        /* started so far */
    int64_t retries;         /* used of spec.retry.max */
    int64_t submitted_ms, started_ms, ended_ms, not_before_ms; /* wall; 0: not yet; not_before: backoff */
    char node[64];                                             /* where the current attempt is placed */
    int64_t slots;
    char reason[JOB_REASON_BYTES]; /* why it waits, or how it ended, for a person; need not be UTF-8 */
    char outcome[32];              /* of the last attempt: attempt_outcome_names */
    json_t *result;                /* owned; what the trainer committed: metrics, model; NULL before */
};
void job_done(struct job *j);
/* Reading is strict: every member there, in range, no other; the digest is the spec's. ERR_CORRUPT names the
 * member. */
enum err_code job_to_text(const struct job *j, struct buf *out, struct err *e);
enum err_code job_from_text(const void *text, size_t n, struct job *out, struct err *e);
json_t *job_to_json(const struct job *j);
void job_new_id(int64_t wall_ms, char out[JOB_ID_BYTES]);
bool job_id_is_valid(const char *text);

/* Names in the state. */
enum { JOB_KEY_BYTES = 128 };
const char *job_key(const char *id, char out[JOB_KEY_BYTES]);        /* job/ID */
const char *job_pulse_key(const char *id, char out[JOB_KEY_BYTES]);  /* pulse/ID: progress, see attempt.h */
const char *job_result_key(const char *id, char out[JOB_KEY_BYTES]); /* result/ID */
const char *job_events_key(const char *id,
                           char out[JOB_KEY_BYTES]); /* events/ID: how many events its attempts told */
const char *job_checkpoint_key(const char *id,
                               char out[JOB_KEY_BYTES]); /* checkpoint/ID: the newest manifest: a hint */
const char *job_attempt_key(const char *id, int64_t n, char out[JOB_KEY_BYTES]); /* attempt/ID/N */
const char *job_sessions_key(const char *id, int64_t n,
                             char out[JOB_KEY_BYTES]); /* sessions/ID/N: newer credentials, sealed */
const char *job_plan_key(const char *id, int64_t n, char out[JOB_KEY_BYTES]); /* plan/ID/N */
const char *job_lease_name(const char *id, char out[JOB_KEY_BYTES]); /* attempt/ID: one attempt at a time */
const char *job_control_stream(const char *id,
                               char out[JOB_KEY_BYTES]); /* control/ID: wakes the supervisor */
#define JOB_SET_ALL "jobs"                               /* ordered set: every job by time of submission */
#define JOB_SET_WAITING "waiting"                        /* ordered set: QUEUED, by job_queue_score() */
#define JOB_SET_ACTIVE "active" /* ordered set: STARTING, RUNNING, STOPPING, by time of placement */
#define JOB_OUTBOX "outbox"     /* stream: events on their way to the ledger; also what wakes the scheduler */
#define JOB_LEADER_LEASE "leader"
/* Priority (the queue's and the job's, within -1000 .. 1000) first, then time of submission: lower scores are
 * served first. */
double job_queue_score(int64_t priority, int64_t submitted_ms);

/* An outbox entry: canonical JSON {"actor","data","event","job","time_ms"}; data is borrowed (an object; NULL
 * for none). ERR_USAGE where it holds a real: fractions travel as text, as in job_spec_to_json(). */
enum err_code job_event_text(const char *actor, const char *event, const char *job, int64_t time_ms,
                             json_t *data, struct buf *out, struct err *e);

#endif
