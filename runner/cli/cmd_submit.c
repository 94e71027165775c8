/* submit and run: a job on its way, and with it to its end. */
#include "base/stop.h"
#include "runner/cli/cli.h"
#include "runner/cli/client.h"
#include "runner/cli/commands.h"
#include "runner/cli/follow.h"
#include "runner/cli/print.h"
#include "runner/cli/refusals.h"
#include "runner/cli/services.h"
#include "runner/cli/submission.h"

#include <inttypes.h>
#include <string.h>

struct submit_settings {
    bool wait;
    struct opt_list sets;
};

static const char *job_id(const json_t *answer)
{
    return json_text_or(json_object_get(answer, "job"), "id", "");
}

static enum err_code submit_run(struct cli *c, const struct arguments *a, const void *settings, struct err *e)
{
    const struct submit_settings *s = settings;
    CLEANUP(api_closep) struct api_client *api = NULL;
    CLEANUP(json_donep) json_t *answer = NULL;
    CLEANUP(json_donep) json_t *shown = NULL;
    struct progress progress = follow_progress(c);

    if (client_open(c, &api, e) || submission_send(c, api, a->list[0], &s->sets, &progress, &answer, e))
        return e->code;
    if (!s->wait)
        return c->json ? print_json(answer, e) : print_line(e, "%s", job_id(answer));
    stop_init();
    progress_say(&progress, "submitted %s", job_id(answer));
    struct follow f = { .api = api, .job = job_id(answer), .progress = &progress };
    enum err_code code = follow_job(&f, &shown, e);
    progress_clear(&progress);
    return code ? code : follow_result(c, shown, e);
}

static const struct opt submit_options[] = {
    OPT_FLAG_ROW(submit_settings, wait, "wait", 'w',
                 "stay until the job is over; the exit code is its (5: it failed)"),
    OPT_LIST_ROW(submit_settings, sets, "set", 's', "KEY=VALUE",
                 "change a setting of the file, as in train.lr=0.01"),
    OPT_END,
};
const struct cmd cmd_submit = {
    .name = "submit",
    .args = "JOB.yaml",
    .args_min = 1,
    .args_max = 1,
    .help = "queue a job; prints its id",
    .more =
        "JOB.yaml may be - for standard input. Data in a plain file (data.train: file://data.csv, relative "
        "to JOB.yaml) is "
        "staged into the cluster's data bucket first. With --wait, Ctrl-C ends the waiting and not the job.",
    .options = submit_options,
    .settings_bytes = sizeof(struct submit_settings),
    .run = submit_run,
};

/* ---- run ---- */

struct run_settings {
    struct opt_list sets;
};

/* The end of the log of the last attempt: after `down` nobody can ask for it any more. */
static void show_log_end(struct api_client *api, const json_t *shown)
{
    enum { SHOWN_BYTES = 3000 };
    const json_t *job = json_object_get(shown, "job");
    CLEANUP(buf_done) struct buf end = BUF_INIT(SHOWN_BYTES + API_LOG_CHUNK_BYTES);
    struct err ignored = ERR_INIT;
    int64_t offset = 0, next = 0, attempt = json_i64_or(job, "attempts", 0);
    bool over = attempt == 0;

    for (int chunks = 0; !over && chunks < 10000; chunks++, offset = next) {
        if (end.len > SHOWN_BYTES)
            buf_drop_front(&end, end.len - SHOWN_BYTES);
        if (api_logs(api, json_text_or(job, "id", ""), attempt, offset, 0, &end, &next, &over, &ignored) ||
            next <= offset)
            break;
    }
    if (end.len > SHOWN_BYTES)
        buf_drop_front(&end, end.len - SHOWN_BYTES);
    if (end.len > 0) {
        const char *text = buf_text(&end), *line = end.len >= SHOWN_BYTES ? strchr(text, '\n') : NULL;
        cli_say_block("the end of its log", line ? line + 1 : text);
    }
}

static bool has_failed(const json_t *shown)
{
    return strcmp(json_text_or(json_object_get(shown, "job"), "state", ""), "failed") == 0;
}

static enum err_code run_one(struct cli *c, const struct arguments *a, const struct run_settings *s,
                             struct err *e)
{
    CLEANUP(api_closep) struct api_client *api = NULL;
    CLEANUP(json_donep) json_t *answer = NULL;
    CLEANUP(json_donep) json_t *shown = NULL;
    struct progress progress = follow_progress(c);

    if (client_open(c, &api, e) || submission_send(c, api, a->list[0], &s->sets, &progress, &answer, e))
        return e->code;
    progress_say(&progress, "submitted %s", job_id(answer));
    struct follow f = { .api = api, .job = job_id(answer), .cancel_on_stop = true, .progress = &progress };
    enum err_code code = follow_job(&f, &shown, e);
    progress_clear(&progress);
    if (code)
        return code;
    if (has_failed(shown))
        show_log_end(api, shown);
    return follow_result(c, shown, e);
}

/* Jobs that somebody else submitted meanwhile are not to be stopped by our leaving. */
static int64_t count_unfinished(const struct cli *c)
{
    CLEANUP(api_closep) struct api_client *api = NULL;
    CLEANUP(json_donep) json_t *answer = NULL;
    struct err ignored = ERR_INIT;
    int64_t count = 0;
    size_t i;
    json_t *job;

    if (client_open(c, &api, &ignored) ||
        api_call(api, "GET", "/v1/jobs?limit=1000", NULL, &answer, &ignored))
        return 0;
    json_array_foreach(json_object_get(answer, "jobs"), i, job)
    {
        CLEANUP(json_donep) json_t *shown = json_pack("{s:O}", "job", job);
        count += !client_is_over(shown);
    }
    return count;
}

/* What this or another run brought up goes down with the last of them. */
static void leave(const struct cli *c, struct services_claim *claim)
{
    struct err e = ERR_INIT;
    struct services_down down;
    bool last = false;
    int64_t others;

    if (services_leave(c, claim, &last, &e) == OK && last) {
        others = count_unfinished(c);
        if (others > 0)
            cli_say("%" PRId64
                    " other job(s) are not over, so the services stay up; `sovrun down` stops them",
                    others);
        else
            IGNORE(services_down(c, &down, &e));
    }
    if (e.code)
        cli_say("the services could not be stopped: %s", e.text);
}

static void unclaim(struct services_claim *claim)
{
    services_unclaim(claim);
}

static enum err_code run_run(struct cli *c, const struct arguments *a, const void *settings, struct err *e)
{
    CLEANUP(unclaim) struct services_claim claim = SERVICES_CLAIM_INIT;
    const struct run_settings *s = settings;
    struct services_up up;

    if (c->url)
        return err_set(e, ERR_USAGE,
                       "`run` works on this machine's own cluster; with --url use `sovrun submit --wait`");
    if (submission_check_file(a->list[0], &s->sets, e)) /* a mistake in the file should not cost a start */
        return e->code;
    stop_init();
    if (services_claim(c, &claim, e) || services_up(c, true, &up, e))
        return e->code;
    enum err_code code = stop_asked() ? err_set(e, ERR_CANCELED, "interrupted before the job was submitted")
                                      : run_one(c, a, s, e);
    refusals_tell(c); /* while there is a state to tell */
    leave(c, &claim);
    return code;
}

static const struct opt run_options[] = {
    OPT_LIST_ROW(run_settings, sets, "set", 's', "KEY=VALUE",
                 "change a setting of the file, as in train.lr=0.01"),
    OPT_END,
};
const struct cmd cmd_run = {
    .name = "run",
    .args = "JOB.yaml",
    .args_min = 1,
    .args_max = 1,
    .help = "all in one on this machine: start, train, result",
    .more = "Starts what is not up (and stops it again at the end), submits the job, shows its progress, and "
            "exits with its "
            "status: 0 it succeeded, 5 it failed or was cancelled. Ctrl-C cancels the job and waits for its "
            "checkpoint; a second "
            "one leaves at once, and then the services stay up.",
    .options = run_options,
    .settings_bytes = sizeof(struct run_settings),
    .run = run_run,
};
