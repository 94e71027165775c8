/* show: all there is to know of one job. */
#include "base/clock.h"
#include "base/num.h"
#include "runner/cli/cli.h"
#include "runner/cli/client.h"
#include "runner/cli/commands.h"
#include "runner/cli/print.h"
#include "runner/cli/progress.h"
#include "runner/cli/utf8.h"

#include <inttypes.h>
#include <string.h>

static void row(struct buf *out, const char *name, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void row(struct buf *out, const char *name, const char *fmt, ...)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(64 * 1024);
    va_list ap;
    va_start(ap, fmt);
    buf_addv(&text, fmt, ap);
    va_end(ap);
    if (text.len == 0)
        return;
    buf_addf(out, "%-16s ", name);
    utf8_clean(buf_text(&text), text.len, false, out);
    buf_add_byte(out, '\n');
}

static void add_times(const json_t *job, struct buf *out)
{
    int64_t submitted = json_i64_or(job, "submitted_ms", 0), started = json_i64_or(job, "started_ms", 0);
    int64_t ended = json_i64_or(job, "ended_ms", 0);
    char time[32], duration[NUM_TEXT_BYTES];

    row(out, "submitted", "%s UTC by %s", print_time(submitted, time), json_text_or(job, "user", "?"));
    if (started)
        row(out, "started", "%s UTC, after %s", print_time(started, time),
            format_duration(MAX(started - submitted, 0), duration));
    if (ended && started)
        row(out, "ended", "%s UTC, after %s", print_time(ended, time),
            format_duration(MAX(ended - started, 0), duration));
}

static void add_result(const json_t *result, struct buf *out)
{
    const json_t *metrics = json_object_get(result, "metrics"), *model = json_object_get(result, "model");
    const char *name;
    json_t *value;

    if (!json_is_object(result))
        return;
    json_object_foreach((json_t *)metrics, name, value)
    {
        if (json_is_integer(value))
            row(out, name, "%" PRId64, (int64_t)json_integer_value(value));
        else if (json_is_real(value))
            row(out, name, "%.6g", json_real_value(value));
    }
    row(out, "model", "%s", json_text_or(model, "uri", ""));
    row(out, "sha256", "%s", json_text_or(model, "sha256", ""));
}

static void add_attempts(const json_t *attempts, struct buf *out)
{
    static const char *const headings[] = { ">ATTEMPT", "NODE",  ">RANKS", "PHASE",  "OUTCOME",
                                            "STARTED",  ">TOOK", ">EXIT",  "REASON", NULL };
    CLEANUP(print_table_done) struct print_table t = print_table_new(headings);
    int64_t now = clock_wall_ms();
    size_t i;
    json_t *a;

    if (json_array_size(attempts) == 0)
        return;
    json_array_foreach(attempts, i, a)
    {
        int64_t started = json_i64_or(a, "started_ms", 0), ended = json_i64_or(a, "ended_ms", 0);
        const char *outcome = json_text_or(a, "outcome", "");
        char time[32], duration[NUM_TEXT_BYTES];
        print_cell(&t, COLOUR_NONE, "%" PRId64, json_i64_or(a, "number", 0));
        print_text_cell(&t, json_text_or(a, "node", ""));
        print_cell(&t, COLOUR_NONE, "%" PRId64, json_i64_or(a, "ranks", 0));
        print_text_cell(&t, json_text_or(a, "phase", ""));
        print_cell(&t, print_state_colour(outcome), "%s", strcmp(outcome, "none") == 0 ? "-" : outcome);
        print_text_cell(&t, print_time(started, time));
        print_text_cell(&t,
                        started ? format_duration(MAX((ended ? ended : now) - started, 0), duration) : "-");
        print_cell(&t, COLOUR_NONE, ended ? "%" PRId64 : "-", json_i64_or(a, "exit_status", 0));
        print_text_cell(&t, json_text_or(a, "reason", ""));
    }
    buf_add_byte(out, '\n');
    print_table_lay(&t, print_terminal_width(STDOUT_FILENO), print_has_colours(STDOUT_FILENO), out);
}

static void add_progress(const json_t *shown, const char *state, struct buf *out)
{
    CLEANUP(buf_done) struct buf line = BUF_INIT(4096);
    struct progress_view v;
    progress_view_of(shown, &v);
    if (!v.has_pulse || (strcmp(state, "running") != 0 && strcmp(state, "stopping") != 0))
        return;
    v.reason[0] = '\0';
    progress_line(&v, 0, &line);
    /* Behind "ID NAME  STATE  ", which stand above already. */
    const char *at = strstr(buf_text(&line), "  step ");
    row(out, "progress", "%s", at ? at + 2 : v.phase);
}

/* Three digits or so: "0.42", "12.5", "1204". */
static void add_ms(struct buf *out, const char *before, double ms)
{
    buf_addf(out, "%s%.*f", before, ms < 10 ? 2 : ms < 100 ? 1 : 0, ms);
}

static void add_step_times(const json_t *shown, const char *state, struct buf *out)
{
    static const char *const parts[] = { "data", "compute", "reduce", "update", "checkpoint", "other" };
    const json_t *times = json_object_get(json_object_get(shown, "pulse"), "step_ms");
    const json_t *spec = json_object_get(json_object_get(shown, "job"), "spec");
    CLEANUP(buf_done) struct buf text = BUF_INIT(1024);
    double whole = 0;

    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        whole += json_f64_or(times, parts[i], 0);
    if (!(whole > 0) || (strcmp(state, "running") != 0 && strcmp(state, "stopping") != 0))
        return;
    add_ms(&text, "", whole);
    buf_add_text(&text, " ms:");
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        buf_addf(&text, "%s %s", i ? "," : "", parts[i]);
        add_ms(&text, " ", json_f64_or(times, parts[i], 0));
    }
    if (json_i64_or(json_object_get(spec, "resources"), "ranks", 1) > 1) {
        buf_addf(&text, "; slowest is rank %" PRId64 " with", json_i64_or(times, "slowest_rank", 0));
        add_ms(&text, " ", json_f64_or(times, "slowest", 0));
    }
    row(out, "step time", "%s", buf_text(&text));
}

static void show_text(const json_t *shown, struct buf *out)
{
    const json_t *job = json_object_get(shown, "job"), *spec = json_object_get(job, "spec");
    const char *state = json_text_or(job, "state", "");
    const char *node = json_text_or(job, "node", "");
    bool colours = print_has_colours(STDOUT_FILENO);

    row(out, "job", "%s", json_text_or(job, "id", ""));
    row(out, "name", "%s", json_text_or(spec, "name", ""));
    buf_addf(out, "%-16s ", "state");
    print_coloured(out, print_state_colour(state), colours, state);
    buf_add_byte(out, '\n');
    row(out, "reason", "%s", json_text_or(job, "reason", ""));
    row(out, "queue", "%s", json_text_or(spec, "queue", ""));
    row(out, "ranks", "%" PRId64 "%s%s", json_i64_or(json_object_get(spec, "resources"), "ranks", 0),
        node[0] ? " on " : "", node);
    add_times(job, out);
    row(out, "data", "%s", client_text(shown, "data", "train"));
    row(out, "dataset", "sha256:%s", json_text_or(job, "dataset_digest", ""));
    row(out, "checkpoints", "%s", client_text(shown, "checkpoint", "to"));
    add_progress(shown, state, out);
    add_step_times(shown, state, out);
    add_result(json_object_get(job, "result"), out);
    add_attempts(json_object_get(shown, "attempts"), out);
}

static enum err_code show_run(struct cli *c, const struct arguments *a, const void *settings, struct err *e)
{
    CLEANUP(api_closep) struct api_client *api = NULL;
    CLEANUP(json_donep) json_t *shown = NULL;
    CLEANUP(buf_done) struct buf out = BUF_INIT(PRINT_OUTPUT_BYTES_MAX);
    (void)settings;

    if (client_check_job(a->list[0], e) || client_open(c, &api, e) ||
        client_job(api, "GET", a->list[0], "", &shown, e))
        return e->code;
    if (c->json)
        return print_json(shown, e);
    show_text(shown, &out);
    return print_out(&out, e);
}

const struct cmd cmd_show = {
    .name = "show",
    .args = "JOB",
    .args_min = 1,
    .args_max = 1,
    .help = "one job: state, progress, attempts, result",
    .run = show_run,
};
