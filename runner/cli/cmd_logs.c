/* logs: what the ranks and their supervisor wrote. */
#include "base/clock.h"
#include "base/stop.h"
#include "runner/cli/cli.h"
#include "runner/cli/client.h"
#include "runner/cli/commands.h"
#include "runner/cli/follow.h"
#include "runner/cli/print.h"
#include "runner/cli/utf8.h"

#include <inttypes.h>
#include <poll.h>

enum { LOG_WAIT_MS = 1000, LOG_JSON_BYTES_MAX = 16 << 20, ATTEMPT_MAX = 100000 };

struct logs_settings {
    bool follow;
    int64_t attempt;
};

/* On a terminal nothing but text; into a file or a pipe the bytes as they are. */
static enum err_code put_chunk(const struct buf *chunk, struct err *e)
{
    CLEANUP(buf_done) struct buf clean = BUF_INIT(4 * (size_t)API_ANSWER_BYTES_MAX);
    if (!isatty(STDOUT_FILENO))
        return print_out(chunk, e);
    utf8_clean(buf_text(chunk), chunk->len, true, &clean);
    return print_out(&clean, e);
}

/* One attempt's log from `*io_offset` to its end so far, or with wait_ms to its very end. */
static enum err_code copy_log(struct api_client *api, const char *job, int64_t attempt, int64_t wait_ms,
                              int64_t *io_offset, bool *out_over, struct err *e)
{
    *out_over = false;
    while (!*out_over && !stop_asked()) { /* ends with the attempt, or with what there is */
        CLEANUP(buf_done) struct buf chunk = BUF_INIT(API_ANSWER_BYTES_MAX);
        int64_t next = *io_offset;
        if (api_logs(api, job, attempt, *io_offset, wait_ms, &chunk, &next, out_over, e) ||
            (chunk.len > 0 && put_chunk(&chunk, e)))
            return e->code;
        if (next <= *io_offset && wait_ms == 0)
            break;
        *io_offset = MAX(next, *io_offset);
    }
    return OK;
}

static enum err_code job_facts(struct api_client *api, const char *job, int64_t *out_attempts, bool *out_over,
                               struct err *e)
{
    CLEANUP(json_donep) json_t *shown = NULL;
    if (client_job(api, "GET", job, "", &shown, e))
        return e->code;
    *out_attempts = json_i64_or(json_object_get(shown, "job"), "attempts", 0);
    *out_over = client_is_over(shown);
    return OK;
}

static void wait_a_little(void)
{
    struct pollfd stop = { .fd = stop_fd(), .events = POLLIN };
    poll(&stop, 1, FOLLOW_RETRY_MS);
}

/* The scheduler may be away for a while; the log does not run away. */
static enum err_code bear(int64_t *io_away_since, struct err *e)
{
    if (e->code != ERR_RETRY)
        return e->code;
    *io_away_since = *io_away_since ? *io_away_since : clock_mono_ms();
    if (clock_mono_ms() - *io_away_since > FOLLOW_AWAY_MS_MAX)
        return e->code;
    err_clear(e);
    wait_a_little();
    return OK;
}

/* One attempt's log as far as it goes now; *out_over: there will be no more of it. */
static enum err_code follow_one(struct api_client *api, const char *job, int64_t attempt, int64_t attempts,
                                int64_t *io_offset, bool *out_over, struct err *e)
{
    *out_over = false;
    if (attempt < 1 || attempt > attempts)
        return OK;
    if (copy_log(api, job, attempt, LOG_WAIT_MS, io_offset, out_over, e) != ERR_NOT_FOUND)
        return e->code;
    err_clear(e); /* not written yet; or never, where a later attempt runs already */
    *out_over = attempt < attempts;
    return OK;
}

/* `only`: this attempt and no later one; 0: from the current one on until the job is over. */
static enum err_code follow_logs(struct api_client *api, const char *job, int64_t only, struct err *e)
{
    int64_t attempt = only, attempts = 0, offset = 0, away_since = 0;

    while (!stop_asked()) { /* ends with the job, a signal, or a scheduler that stays away */
        bool job_over = false, log_over = false;
        if (job_facts(api, job, &attempts, &job_over, e) == OK && attempt == 0)
            attempt = attempts;
        if (e->code || follow_one(api, job, attempt, attempts, &offset, &log_over, e)) {
            if (bear(&away_since, e))
                return e->code;
            continue;
        }
        away_since = 0;
        if ((only && log_over) || (job_over && attempt >= attempts))
            return OK;
        if (log_over) {
            attempt++;
            offset = 0;
        } else {
            wait_a_little();
        }
    }
    return OK;
}

static enum err_code logs_json(struct api_client *api, const char *job, int64_t attempt, struct err *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(LOG_JSON_BYTES_MAX);
    CLEANUP(buf_done) struct buf clean = BUF_INIT(4 * (size_t)LOG_JSON_BYTES_MAX);
    int64_t offset = 0, next = 0;
    bool over = false;

    do { /* to the end of the log, or the buffer's */
        offset = next;
        if (api_logs(api, job, attempt, offset, 0, &text, &next, &over, e))
            return e->code;
    } while (!over && next > offset);
    utf8_clean(buf_text(&text), text.len, true, &clean);
    CLEANUP(json_donep)
    json_t *doc = json_pack("{s:s,s:I,s:b,s:s}", "job", job, "attempt", (json_int_t)attempt, "over",
                            (int)over, "text", buf_text(&clean));
    return print_json(doc, e);
}

static enum err_code logs_run(struct cli *c, const struct arguments *a, const void *settings, struct err *e)
{
    const struct logs_settings *s = settings;
    const char *job = a->list[0];
    CLEANUP(api_closep) struct api_client *api = NULL;
    int64_t attempts = 0, offset = 0;
    bool over;

    if (c->json && s->follow)
        return err_set(e, ERR_USAGE, "--json gives one document, so it does not go with --follow");
    if (client_check_job(job, e) || client_open(c, &api, e) || job_facts(api, job, &attempts, &over, e))
        return e->code;
    if (s->attempt > attempts && !s->follow)
        return err_set(e, ERR_NOT_FOUND, "job %s has no attempt %" PRId64 "; it has had %" PRId64, job,
                       s->attempt, attempts);
    if (attempts == 0 && !s->follow)
        return err_set(e, ERR_NOT_FOUND,
                       "job %s has not started yet, so it has no log; `sovrun why %s` says why", job, job);
    stop_init();
    if (s->follow)
        return follow_logs(api, job, s->attempt, e);
    if (c->json)
        return logs_json(api, job, s->attempt ? s->attempt : attempts, e);
    return copy_log(api, job, s->attempt ? s->attempt : attempts, 0, &offset, &over, e);
}

static const struct opt logs_options[] = {
    OPT_FLAG_ROW(logs_settings, follow, "follow", 'f', "stay, also over attempts, until the job is over"),
    OPT_INT_ROW(logs_settings, attempt, "attempt", 'a', "N", 1, ATTEMPT_MAX,
                "of attempt N; without it, of the last one"),
    OPT_END,
};
const struct cmd cmd_logs = {
    .name = "logs",
    .args = "JOB",
    .args_min = 1,
    .args_max = 1,
    .help = "what a job wrote",
    .options = logs_options,
    .settings_bytes = sizeof(struct logs_settings),
    .run = logs_run,
};
