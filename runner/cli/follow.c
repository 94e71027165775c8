#include "runner/cli/follow.h"

#include "base/stop.h"
#include "base/num.h"
#include "runner/cli/client.h"
#include "runner/cli/print.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

struct progress follow_progress(const struct cli *c)
{
    size_t columns = print_terminal_width(STDERR_FILENO);
    return progress_new(columns || !c->json ? stderr : NULL, columns, &clock_real);
}

/* The next signal ends the process: whoever asks twice does not want to wait. */
static void leave_at_next_signal(void)
{
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
}

static enum err_code cancel(const struct follow *f, bool *io_said, struct err *e)
{
    CLEANUP(json_donep) json_t *answer = NULL;
    leave_at_next_signal();
    if (!*io_said)
        progress_say(f->progress,
                     "cancelling %s and waiting for its last checkpoint; Ctrl-C again leaves at once",
                     f->job);
    *io_said = true;
    if (client_job(f->api, "POST", f->job, "/cancel", &answer, e) == ERR_CONFLICT)
        err_clear(e); /* it was over before it heard */
    return e->code;
}

/* Between two tries; a signal ends the pause. */
static void pause_ms(int64_t ms, bool stop_heard)
{
    struct pollfd stop = { .fd = stop_heard ? -1 : stop_fd(), .events = POLLIN };
    poll(&stop, 1, (int)ms);
}

enum err_code follow_job(const struct follow *f, json_t **out, struct err *e)
{
    int64_t seen = -1, away_since = 0; /* -1: nothing yet */
    bool cancelled = false, said = false;

    for (;;) { /* ends with the job, a signal, or a scheduler that stays away */
        CLEANUP(json_donep) json_t *shown = NULL;
        char rest[96];
        if (stop_asked() && !f->cancel_on_stop)
            return err_set(e, ERR_CANCELED, "stopped watching; job %s goes on (`sovrun cancel %s` stops it)",
                           f->job, f->job);
        if (stop_asked() && !cancelled && cancel(f, &said, e) == OK)
            cancelled = true;
        snprintf(rest, sizeof(rest), "/watch?seen=%" PRId64 "&wait_ms=%d", seen, FOLLOW_WAIT_MS);
        if (e->code == OK && client_job(f->api, "GET", f->job, rest, &shown, e) == OK) {
            struct progress_view view;
            progress_view_of(shown, &view);
            progress_show(f->progress, &view);
            seen = json_i64_or(shown, "seen", seen);
            away_since = 0;
            if (!client_is_over(shown))
                continue;
            *out = TAKE(shown);
            progress_clear(f->progress);
            return OK;
        }
        if (e->code != ERR_RETRY)
            return e->code;
        if (!away_since)
            progress_say(f->progress, "the scheduler is away; the job goes on, waiting for it");
        away_since = away_since ? away_since : clock_mono_ms();
        if (clock_mono_ms() - away_since > FOLLOW_AWAY_MS_MAX)
            return err_wrap(e, "watching job %s", f->job);
        err_clear(e);
        pause_ms(FOLLOW_RETRY_MS, cancelled || stop_asked());
    }
}

/* ---- the result ---- */

static void copy_member(json_t *to, const json_t *from, const char *name)
{
    json_t *value = json_object_get(from, name);
    json_object_set(to, name, value ? value : json_null());
}

json_t *follow_result_json(const json_t *shown)
{
    const json_t *job = json_object_get(shown, "job"), *result = json_object_get(job, "result");
    json_t *doc = json_object();
    copy_member(doc, job, "state");
    json_object_set_new(doc, "job", json_string(json_text_or(job, "id", "")));
    copy_member(doc, job, "attempts");
    copy_member(doc, result, "metrics");
    copy_member(doc, result, "model");
    copy_member(doc, job, "reason");
    return doc;
}

static void add_metrics(const json_t *metrics, struct buf *out)
{
    static const struct {
        const char *name, *shown;
    } rows[] = { { "holdout_auc", "AUC" },
                 { "holdout_accuracy", "accuracy" },
                 { "holdout_perplexity", "perplexity" },
                 { "holdout_loss", "loss" },
                 { "perplexity", "perplexity" },
                 { "loss", "loss" } };
    int64_t records = json_i64_or(metrics, "holdout_records", 0);
    int64_t evaluated = json_i64_or(metrics, "tokens", 0); /* by a job that does nothing else */
    int64_t tokens = evaluated ? evaluated : json_i64_or(metrics, "holdout_tokens", 0);
    if (records == 0 && tokens == 0)
        return;
    buf_addf(out, "  %s  %" PRId64 " %s", evaluated ? "looked at" : "hold-out ", tokens ? tokens : records,
             tokens ? "tokens" : "records");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (json_is_number(json_object_get(metrics, rows[i].name)))
            buf_addf(out, ", %s %.4f", rows[i].shown, json_f64_or(metrics, rows[i].name, 0));
    buf_add_byte(out, '\n');
}

static enum err_code tell_success(const json_t *job, struct err *e)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(64 * 1024);
    const json_t *result = json_object_get(job, "result"), *model = json_object_get(result, "model");
    const json_t *spec = json_object_get(job, "spec");
    const char *id = json_text_or(job, "id", "");
    const char *to = json_text_or(json_object_get(spec, "checkpoint"), "to", "");
    char duration[NUM_TEXT_BYTES];
    int64_t attempts = json_i64_or(job, "attempts", 1);
    int64_t took = json_i64_or(job, "ended_ms", 0) - json_i64_or(job, "started_ms", 0);

    buf_addf(&out, "job %s succeeded in %s, %" PRId64 " attempt%s\n", id,
             format_duration(MAX(took, 0), duration), attempts, attempts == 1 ? "" : "s");
    add_metrics(json_object_get(result, "metrics"), &out);
    if (json_is_object(model)) {
        buf_addf(&out, "  model     %s\n", json_text_or(model, "uri", "-"));
        buf_addf(&out, "  sha256    %s\n", json_text_or(model, "sha256", "-"));
        if (strcmp(json_text_or(spec, "task", ""), "evaluate") == 0)
            return print_out(&out, e);
        /* With its place it is found without a scheduler, too: `run` has taken its own down by then. */
        buf_addf(&out, "  fetch it: sovrun model get %s%s%s\n", id, to[0] ? " --prefix " : "", to);
    }
    return print_out(&out, e);
}

enum err_code follow_result(struct cli *c, const json_t *shown, struct err *e)
{
    const json_t *job = json_object_get(shown, "job");
    const char *state = json_text_or(job, "state", ""), *reason = json_text_or(job, "reason", "");
    bool succeeded = strcmp(state, "succeeded") == 0;

    c->status = succeeded ? CLI_DONE : CLI_JOB_FAILED;
    if (c->json) {
        CLEANUP(json_donep) json_t *doc = follow_result_json(shown);
        return print_json(doc, e);
    }
    if (succeeded)
        return tell_success(job, e);
    cli_say("job %s %s%s%s", json_text_or(job, "id", ""), state, reason[0] ? ": " : "", reason);
    return OK;
}
