/*
 * client.h - the scheduler's API as the commands need it: where it is, and a few calls by name.
 *
 * --url, then SOVRUN_URL, then the Unix socket that the cluster's configuration names. Over HTTP the token
 * file of the configuration (or HOME/run/token) says who we are. Answers are the API's JSON as it came
 * (core/api/api.h).
 */
#ifndef RUNNER_CLI_CLIENT_H
#define RUNNER_CLI_CLIENT_H

#include "core/api/api.h"
#include "runner/cli/cli.h"

enum err_code client_open(const struct cli *c, struct api_client **out, struct err *e);

/* ERR_USAGE where it cannot be a job's id. */
enum err_code client_check_job(const char *id, struct err *e);

/* A call about one job: METHOD /v1/jobs/ID and then `rest` ("", "/cancel", "/watch?seen=1", ...). */
enum err_code client_job(struct api_client *api, const char *method, const char *id, const char *rest,
                         json_t **out, struct err *e);

/* data.train, checkpoint.to and so on of a shown job: "" where it is not there. Borrowed. */
const char *client_text(const json_t *shown, const char *section, const char *name);
bool client_is_over(const json_t *shown);

#endif
