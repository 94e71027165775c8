/*
 * submission.h - a job's file on its way to the scheduler: checked here first, its plain data staged. For
 * `submit` and `run`.
 */
#ifndef RUNNER_CLI_SUBMISSION_H
#define RUNNER_CLI_SUBMISSION_H

#include "core/api/api.h"
#include "runner/cli/cli.h"
#include "runner/cli/progress.h"

/* `file` "-": standard input. `sets`: --set, in order. *out: {"job":{...}}; the caller's json_decref(). A
 * job's data.train that is file://PATH (relative to the job's file) is staged into the default data bucket
 * first, unless it is there already. */
enum err_code submission_send(const struct cli *c, struct api_client *api, const char *file,
                              const struct opt_list *sets, struct progress *progress, json_t **out,
                              struct err *e);

/* The file with the settings applied: ERR_USAGE with file and line, as the scheduler would say it. Standard
 * input is not read for this. */
enum err_code submission_check_file(const char *file, const struct opt_list *sets, struct err *e);

#endif
