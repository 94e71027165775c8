/* list: the jobs there are, newest first. */
#include "base/clock.h"
#include "runner/cli/cli.h"
#include "runner/cli/client.h"
#include "runner/cli/commands.h"
#include "runner/cli/print.h"
#include "runner/cli/progress.h"

#include "core/job/job.h"

#include <inttypes.h>
#include <string.h>

enum { LIST_DEFAULT = 50, PULSES_MAX = 32 };

struct list_settings {
    const char *state;
    int64_t limit;
};

static enum err_code check_state(const char *state, struct err *e)
{
    for (size_t i = 0; job_state_names[i]; i++)
        if (strcmp(job_state_names[i], state) == 0)
            return OK;
    return err_set(
        e, ERR_USAGE,
        "--state '%s': must be queued, starting, running, stopping, succeeded, failed or cancelled", state);
}

/* An active job's progress stands in its pulse, which a list does not carry. */
static void progress_cell(struct api_client *api, const json_t *job, bool ask, struct print_table *t)
{
    CLEANUP(json_donep) json_t *shown = NULL;
    struct err ignored = ERR_INIT;
    struct progress_view v = { .steps = 0 };

    if (ask && client_job(api, "GET", json_text_or(job, "id", ""), "", &shown, &ignored) == OK)
        progress_view_of(shown, &v);
    if (strcmp(json_text_or(job, "state", ""), "succeeded") == 0)
        print_text_cell(t, "100%");
    else if (v.has_pulse && v.steps > 0)
        print_cell(t, COLOUR_NONE, "%" PRId64 "%%", 100 * v.step / v.steps);
    else
        print_text_cell(t, "-");
}

static bool is_active(const char *state)
{
    return strcmp(state, "running") == 0 || strcmp(state, "stopping") == 0;
}

static enum err_code list_table(struct api_client *api, const json_t *jobs, struct err *e)
{
    static const char *const headings[] = { "JOB",       "NAME", "STATE",     "QUEUE",  ">RANKS",
                                            ">ATTEMPTS", ">AGE", ">PROGRESS", "REASON", NULL };
    CLEANUP(print_table_done) struct print_table t = print_table_new(headings);
    int64_t now = clock_wall_ms();
    size_t i, asked = 0;
    json_t *job;

    json_array_foreach(jobs, i, job)
    {
        const json_t *spec = json_object_get(job, "spec");
        const char *state = json_text_or(job, "state", "");
        char age[32];
        print_text_cell(&t, json_text_or(job, "id", ""));
        print_text_cell(&t, json_text_or(spec, "name", ""));
        print_cell(&t, print_state_colour(state), "%s", state);
        print_text_cell(&t, json_text_or(spec, "queue", ""));
        print_cell(&t, COLOUR_NONE, "%" PRId64, json_i64_or(json_object_get(spec, "resources"), "ranks", 0));
        print_cell(&t, COLOUR_NONE, "%" PRId64, json_i64_or(job, "attempts", 0));
        print_text_cell(&t, print_age(now - json_i64_or(job, "submitted_ms", now), age));
        progress_cell(api, job, is_active(state) && asked++ < PULSES_MAX, &t);
        print_text_cell(&t, json_text_or(job, "reason", ""));
    }
    return print_table_out(&t, e);
}

static enum err_code list_run(struct cli *c, const struct arguments *a, const void *settings, struct err *e)
{
    const struct list_settings *s = settings;
    CLEANUP(api_closep) struct api_client *api = NULL;
    CLEANUP(json_donep) json_t *answer = NULL;
    char target[128];
    (void)a;

    if (s->state && check_state(s->state, e))
        return e->code;
    snprintf(target, sizeof(target), "/v1/jobs?limit=%" PRId64 "%s%s",
             s->limit ? s->limit : (int64_t)LIST_DEFAULT, s->state ? "&state=" : "",
             s->state ? s->state : "");
    if (client_open(c, &api, e) || api_call(api, "GET", target, NULL, &answer, e))
        return e->code;
    return c->json ? print_json(answer, e) : list_table(api, json_object_get(answer, "jobs"), e);
}

static const struct opt list_options[] = {
    OPT_TEXT_ROW(list_settings, state, "state", 0, "STATE", "only jobs in that state"),
    OPT_INT_ROW(list_settings, limit, "limit", 'n', "N", 1, API_LIST_MAX, "at most so many [50]"),
    OPT_END,
};
const struct cmd cmd_list = {
    .name = "list",
    .args = "",
    .help = "the jobs, newest first",
    .options = list_options,
    .settings_bytes = sizeof(struct list_settings),
    .run = list_run,
};
