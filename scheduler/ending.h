/*
 * ending.h - an attempt is over: what becomes of its job, in one move.
 *
 * The outcome decides (core/job/attempt.h): done, tried again later, or failed. Whatever it is, one commit
 * carries the job's new state, the ledger event and, where the attempt could not write its own last word,
 * that as well. Success without a committed result is a failure: what cannot be shown did not happen.
 */
#ifndef SCHEDULER_ENDING_H
#define SCHEDULER_ENDING_H

#include "core/job/attempt.h"
#include "scheduler/moves.h"

struct ending {
    const struct job *job;   /* borrowed: as it was read just now */
    struct attempt attempt;  /* its outcome says what happened; number and reason count too */
    bool write_attempt;      /* it is we who say how it ended */
    int64_t attempt_version; /* then: of the record that is replaced; 0: there must be none */
    bool uncounted;          /* not the job's fault: tried again at once, and no retry is used up */
};

/* Pure: the event that follows, the decision behind it, and the sentence for a person. `has_result`: a result
 * was committed. */
enum job_event ending_event(const struct ending *end, bool has_result, struct retry_decision *out_retry);
void ending_reason(const struct ending *end, enum job_event event, bool has_result,
                   const struct retry_decision *retry, char out[JOB_REASON_BYTES]);

/* Reads the result where there should be one, and moves the job. Errors as of moves_apply(). */
enum err_code ending_apply(const struct moves *m, const struct ending *end, struct job *out, struct err *e);

#endif
