/*
 * submit.h - from a spec that somebody sent to a job that waits in line.
 *
 * All that can be known to be wrong is said now, with the file's line, before anything is stored: the spec
 * itself, the queue, the size, the dataset, what policy allows, the key. Then one commit makes the job, puts
 * it in line, records "job.submitted", and remembers the caller's idempotency key: whoever asks again with
 * it, not having heard the answer, gets the same job. An acknowledged job is as durable as the state. What
 * policy denies is recorded as "job.refused".
 */
#ifndef SCHEDULER_SUBMIT_H
#define SCHEDULER_SUBMIT_H

#include "scheduler/moves.h"

enum {
    SUBMIT_SETS_MAX = 64,
    SUBMIT_KEY_BYTES = 65,
    SUBMIT_FILE_BYTES = 256,
    SUBMIT_IDS_MAX = 4,
    SUBMIT_WAITING_MAX = 200000
};

struct submission {
    char file[SUBMIT_FILE_BYTES]; /* names the spec in errors */
    const char *spec;             /* YAML; borrowed from the body, as are the sets */
    const char *sets[SUBMIT_SETS_MAX];
    size_t set_count;
    char key[SUBMIT_KEY_BYTES]; /* "": none */
};

/* {"file","spec","set","key"}, strictly. ERR_USAGE. Texts are borrowed from `body`. */
enum err_code submission_from_json(const json_t *body, struct submission *out, struct err *e);

/* `out`: the new job, or the one that this key made before; the caller's job_done(). */
enum err_code submit_job(const struct moves *m, const struct submission *s, const char *user, struct job *out,
                         struct err *e);

#endif
