/* watch, cancel, why: one job, looked at and spoken to. */
#include "base/stop.h"
#include "runner/cli/cli.h"
#include "runner/cli/client.h"
#include "runner/cli/commands.h"
#include "runner/cli/follow.h"
#include "runner/cli/print.h"

#include <inttypes.h>
#include <string.h>

static enum err_code watch_run(struct cli *c, const struct arguments *a, const void *settings, struct err *e)
{
    CLEANUP(api_closep) struct api_client *api = NULL;
    CLEANUP(json_donep) json_t *shown = NULL;
    struct progress progress = follow_progress(c);
    (void)settings;

    if (client_check_job(a->list[0], e) || client_open(c, &api, e))
        return e->code;
    stop_init();
    struct follow f = { .api = api, .job = a->list[0], .progress = &progress };
    enum err_code code = follow_job(&f, &shown, e);
    progress_clear(&progress);
    if (code == ERR_CANCELED) { /* leaving is how a watch ends */
        err_clear(e);
        return OK;
    }
    if (code)
        return code;
    code = follow_result(c, shown, e);
    c->status = CLI_DONE; /* the job's end is what was to be seen, whatever it was */
    return code;
}

const struct cmd cmd_watch = {
    .name = "watch",
    .args = "JOB",
    .args_min = 1,
    .args_max = 1,
    .help = "one job's progress, live, until it is over",
    .run = watch_run,
};

static enum err_code cancel_run(struct cli *c, const struct arguments *a, const void *settings, struct err *e)
{
    CLEANUP(api_closep) struct api_client *api = NULL;
    CLEANUP(json_donep) json_t *answer = NULL;
    (void)settings;

    if (client_check_job(a->list[0], e) || client_open(c, &api, e) ||
        client_job(api, "POST", a->list[0], "/cancel", &answer, e))
        return e->code;
    if (c->json)
        return print_json(answer, e);
    const char *state = json_text_or(json_object_get(answer, "job"), "state", "");
    bool stopping = strcmp(state, "stopping") == 0;
    return print_line(e, "job %s %s", a->list[0],
                      stopping ? "is stopping: it makes a last checkpoint" : "is cancelled");
}

const struct cmd cmd_cancel = {
    .name = "cancel",
    .args = "JOB",
    .args_min = 1,
    .args_max = 1,
    .help = "stop a job at its next checkpoint",
    .run = cancel_run,
};

static enum err_code why_run(struct cli *c, const struct arguments *a, const void *settings, struct err *e)
{
    CLEANUP(api_closep) struct api_client *api = NULL;
    CLEANUP(json_donep) json_t *why = NULL;
    (void)settings;

    if (client_check_job(a->list[0], e) || client_open(c, &api, e) ||
        client_job(api, "GET", a->list[0], "/why", &why, e))
        return e->code;
    if (c->json)
        return print_json(why, e);
    const char *state = json_text_or(why, "state", ""), *reason = json_text_or(why, "reason", "");
    if (print_line(e, "%s%s%s", state, reason[0] ? ": " : "", reason))
        return e->code;
    if (strcmp(state, "queued") != 0)
        return OK;
    return print_line(e, "jobs ahead: %" PRId64 "; it needs %" PRId64 " slot(s), %" PRId64 " are free",
                      json_i64_or(why, "ahead", 0), json_i64_or(why, "needs", 0),
                      json_i64_or(why, "free", 0));
}

const struct cmd cmd_why = {
    .name = "why",
    .args = "JOB",
    .args_min = 1,
    .args_max = 1,
    .help = "why a job waits, or why it ended so",
    .run = why_run,
};
