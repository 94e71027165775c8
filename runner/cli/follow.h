/*
 * follow.h - staying with one job until it is over: what `run`, `submit --wait` and `watch` have in common.
 *
 * A scheduler that is away for a moment is waited for: the job goes on without it. A first Ctrl-C (or
 * SIGTERM, or a terminal that is closed) either cancels the job and waits for its last checkpoint, or ends
 * only the watching; a second Ctrl-C ends us at once.
 */
#ifndef RUNNER_CLI_FOLLOW_H
#define RUNNER_CLI_FOLLOW_H

#include "core/api/api.h"
#include "runner/cli/cli.h"
#include "runner/cli/progress.h"

enum { FOLLOW_AWAY_MS_MAX = 60000, FOLLOW_WAIT_MS = 1000, FOLLOW_RETRY_MS = 200 };

struct follow {
    struct api_client *api; /* borrowed */
    const char *job;
    bool cancel_on_stop; /* else a signal ends the watching: ERR_CANCELED */
    struct progress *progress;
};
/* *out: the answer of GET /v1/jobs/ID when it was over. The caller's json_decref(). */
enum err_code follow_job(const struct follow *f, json_t **out, struct err *e);

/* Standard error's progress: live on a terminal, plain lines elsewhere, but nothing where --json and no
 * terminal. */
struct progress follow_progress(const struct cli *c);

/* The result on standard output: the one document of `run --json`, or lines for a person. Sets c->status:
 * CLI_JOB_FAILED where the job did not succeed. */
enum err_code follow_result(struct cli *c, const json_t *shown, struct err *e);
json_t *follow_result_json(const json_t *shown);

#endif
