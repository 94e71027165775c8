#include "scheduler/ending.h"

#include "base/fit.h"
#include "base/num.h"
#include "core/crypto/crypto.h"
#include "scheduler/text_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { RESULT_BYTES_MAX = 512 << 10, ATTEMPT_BYTES_MAX = 16 << 10 };

enum job_event ending_event(const struct ending *end, bool has_result, struct retry_decision *out_retry)
{
    const enum attempt_outcome outcome = end->attempt.outcome;
    const bool succeeded = outcome == OUTCOME_SUCCEEDED && has_result;

    *out_retry = (struct retry_decision){ .retry = false };
    if (end->job->state == JOB_STOPPING)
        return succeeded ? JOB_FINISHED : JOB_STOPPED;
    if (outcome == OUTCOME_SUCCEEDED)
        return succeeded ? JOB_FINISHED : JOB_GIVE_UP;
    if (end->uncounted)
        *out_retry = (struct retry_decision){ .retry = true };
    else
        *out_retry = retry_decide(outcome, end->job->retries, &end->job->spec.retry);
    return out_retry->retry ? JOB_RETRY : JOB_GIVE_UP;
}

void ending_reason(const struct ending *end, enum job_event event, bool has_result,
                   const struct retry_decision *retry, char out[JOB_REASON_BYTES])
{
    const struct attempt *a = &end->attempt;
    const struct spec_retry *rule = &end->job->spec.retry;
    char delay[NUM_TEXT_BYTES];

    if (event == JOB_FINISHED) {
        snprintf(out, JOB_REASON_BYTES, "done");
        return;
    }
    if (event == JOB_STOPPED) {
        snprintf(out, JOB_REASON_BYTES, "stopped as asked");
        return;
    }
    if (a->outcome == OUTCOME_SUCCEEDED && !has_result) {
        snprintf(out, JOB_REASON_BYTES, "attempt %" PRId64 " reported success but committed no result",
                 a->number);
        return;
    }
    CLEANUP(buf_done) struct buf text = BUF_INIT(2 * JOB_REASON_BYTES);
    buf_addf(&text, "attempt %" PRId64 ": %s%s%s", a->number, attempt_outcome_names[a->outcome],
             a->reason[0] ? ": " : "", a->reason);
    if (event == JOB_RETRY)
        buf_addf(&text, "; next try in %s", format_duration(retry->delay_ms, delay));
    else if (rule->max > 0 && end->job->retries >= rule->max)
        buf_addf(&text, "; %" PRId64 " of %" PRId64 " retries used", end->job->retries, rule->max);
    text_fit(out, JOB_REASON_BYTES, buf_text(&text));
}

/* ---- the move ---- */

struct edit {
    const struct moves *moves;
    const struct ending *end;
    enum job_event event;
    struct retry_decision retry;
    json_t *result; /* NULL: none */
    char result_digest[65];
};

static enum err_code write_attempt(const struct ending *end, struct state_tx *tx, struct err *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(ATTEMPT_BYTES_MAX);
    char key[JOB_KEY_BYTES];

    if (attempt_to_text(&end->attempt, &text, e) || buf_check(&text, "attempt record", e))
        return e->code;
    job_attempt_key(end->job->id, end->attempt.number, key);
    state_tx_expect(tx, key, end->attempt_version);
    state_tx_put(tx, key, text.data, text.len);
    return OK;
}

static enum err_code edit(void *context, struct job *j, json_t *data, struct state_tx *tx, struct err *e)
{
    const struct edit *d = context;
    const struct clock *clock = d->moves->clock;

    snprintf(j->outcome, sizeof(j->outcome), "%s", attempt_outcome_names[d->end->attempt.outcome]);
    json_object_set_new(data, "outcome", json_string(j->outcome));
    if (d->event == JOB_FINISHED) {
        json_decref(j->result);
        j->result = json_incref(d->result);
        json_object_set_new(data, "result_sha256", json_string(d->result_digest));
    }
    if (d->event == JOB_RETRY) {
        j->retries += d->retry.counted;
        j->not_before_ms = d->retry.delay_ms ? clock->wall_ms(clock) + d->retry.delay_ms : 0;
        json_object_set_new(data, "retries", json_integer(j->retries));
        json_object_set_new(data, "not_before_ms", json_integer(j->not_before_ms));
    }
    return d->end->write_attempt ? write_attempt(d->end, tx, e) : OK;
}

static enum err_code read_result(struct state *s, const char *job, struct edit *d, struct err *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(RESULT_BYTES_MAX);
    CLEANUP(json_donep) json_t *result = NULL;
    char key[JOB_KEY_BYTES];

    if (state_get(s, job_result_key(job, key), &text, NULL, e)) {
        if (e->code != ERR_NOT_FOUND)
            return e->code;
        err_clear(e);
        return OK;
    }
    if (json_parse(text.data, text.len, "result", &result, e) || !json_is_object(result)) {
        err_clear(e); /* as good as none; the job's reason will say that there is none */
        return OK;
    }
    sha256_hex(text.data, text.len, d->result_digest);
    d->result = TAKE(result);
    return OK;
}

static void edit_done(struct edit *d)
{
    json_decref(d->result);
}

enum err_code ending_apply(const struct moves *m, const struct ending *end, struct job *out, struct err *e)
{
    CLEANUP(edit_done) struct edit d = { .moves = m, .end = end };
    char reason[JOB_REASON_BYTES];
    struct move mv = {
        .job = end->job->id,
        .actor = "scheduler",
        .reason = reason,
        .attempt = end->attempt.number,
        .edit = edit,
        .context = &d,
    };

    if (end->attempt.outcome == OUTCOME_SUCCEEDED && read_result(m->state, mv.job, &d, e))
        return e->code;
    mv.event = d.event = ending_event(end, d.result != NULL, &d.retry);
    ending_reason(end, d.event, d.result != NULL, &d.retry, reason);
    return moves_apply(m, &mv, out, e);
}
