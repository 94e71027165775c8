#include "scheduler/moves.h"

#include "base/fit.h"
#include "scheduler/text_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { EVENT_BYTES_MAX = 64 << 10 };

const char *moves_queue_set(const char *queue, char out[JOB_KEY_BYTES])
{
    snprintf(out, JOB_KEY_BYTES, JOB_SET_WAITING "/%s", queue);
    return out;
}

const char *moves_delay_key(const char *id, char out[JOB_KEY_BYTES])
{
    snprintf(out, JOB_KEY_BYTES, "delay/%s", id);
    return out;
}

double moves_score(const struct cluster *c, const struct job *j)
{
    int64_t priority = j->spec.priority;

    for (size_t i = 0; i < c->queue_count; i++)
        if (strcmp(c->queues[i].name, j->spec.queue) == 0)
            priority += c->queues[i].priority;
    return job_queue_score(priority, j->submitted_ms);
}

enum err_code moves_read(struct state *s, const char *id, struct job *out, int64_t *out_version,
                         struct err *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(JOB_TEXT_BYTES_MAX);
    char key[JOB_KEY_BYTES];
    int64_t version;

    if (!job_id_is_valid(id))
        return err_set(e, ERR_NOT_FOUND, "'%.40s' is no job id; one looks like 261122-k3m9qz", id);
    if (state_get(s, job_key(id, key), &text, &version, e))
        return e->code == ERR_NOT_FOUND ? err_set(e, ERR_NOT_FOUND, "there is no job '%s'", id) : e->code;
    if (job_from_text(text.data, text.len, out, e))
        return err_wrap(e, "job '%s'", id);
    if (out_version)
        *out_version = version;
    return OK;
}

enum err_code moves_fence(const struct moves *m, struct state_tx *tx, struct err *e)
{
    const int64_t token = lead_token(m->lead);

    if (token == 0)
        return err_set(e, ERR_RETRY, "this scheduler does not lead at the moment");
    state_tx_fence(tx, JOB_LEADER_LEASE, token);
    return OK;
}

enum err_code moves_event(const struct moves *m, struct state_tx *tx, const char *actor, const char *event,
                          const char *job, json_t *data, struct err *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(EVENT_BYTES_MAX);

    if (job_event_text(actor, event, job, m->clock->wall_ms(m->clock), data, &text, e) ||
        buf_check(&text, "event", e))
        return err_wrap(e, "event '%s'", event);
    state_tx_append(tx, JOB_OUTBOX, text.data, text.len);
    return OK;
}

void moves_enter_sets(const struct moves *m, struct state_tx *tx, const struct job *j)
{
    char queue[JOB_KEY_BYTES];

    moves_queue_set(j->spec.queue, queue);
    if (j->state == JOB_QUEUED) {
        const double score = moves_score(m->cluster, j);
        state_tx_rank(tx, JOB_SET_WAITING, j->id, score);
        state_tx_rank(tx, queue, j->id, score);
        state_tx_unrank(tx, JOB_SET_ACTIVE, j->id);
        return;
    }
    state_tx_unrank(tx, JOB_SET_WAITING, j->id);
    state_tx_unrank(tx, queue, j->id);
    if (job_is_over(j->state))
        state_tx_unrank(tx, JOB_SET_ACTIVE, j->id);
}

enum err_code moves_put(const struct moves *m, struct state_tx *tx, const struct job *j, struct err *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(JOB_TEXT_BYTES_MAX);
    char key[JOB_KEY_BYTES];

    if (job_to_text(j, &text, e) || buf_check(&text, "job record", e))
        return err_wrap(e, "job '%s'", j->id);
    state_tx_put(tx, job_key(j->id, key), text.data, text.len);
    moves_enter_sets(m, tx, j);
    return OK;
}

/* What follows from the event alone. */
static void edit_by_event(const struct moves *m, const struct move *mv, struct job *j, struct state_tx *tx)
{
    const int64_t now = m->clock->wall_ms(m->clock);
    char stream[JOB_KEY_BYTES];

    if (mv->event == JOB_PLACE)
        state_tx_rank(tx, JOB_SET_ACTIVE, j->id, (double)now);
    if (mv->event == JOB_STARTED && j->started_ms == 0)
        j->started_ms = now;
    if (mv->event == JOB_CANCEL && j->state == JOB_STOPPING)
        state_tx_append(tx, job_control_stream(j->id, stream), "stop", strlen("stop"));
    if (job_is_over(j->state)) {
        j->ended_ms = now;
        j->not_before_ms = 0;
    }
    if (mv->reason)
        text_fit(j->reason, sizeof(j->reason), mv->reason);
}

static enum err_code prepare(const struct moves *m, const struct move *mv, struct job *j, int64_t version,
                             struct state_tx *tx, struct err *e)
{
    CLEANUP(json_donep) json_t *data = json_object();
    char key[JOB_KEY_BYTES], event[40];

    if (mv->attempt >= 0 && j->attempts != mv->attempt)
        return err_set(e, ERR_CONFLICT, "job '%s' is at attempt %" PRId64 ", not %" PRId64, j->id,
                       j->attempts, mv->attempt);
    if (job_move(j->state, mv->event, &j->state, e))
        return err_wrap(e, "job '%s'", j->id);
    if (moves_fence(m, tx, e))
        return e->code;
    state_tx_expect(tx, job_key(j->id, key), version);
    edit_by_event(m, mv, j, tx);
    if (mv->edit && mv->edit(mv->context, j, data, tx, e))
        return err_wrap(e, "job '%s'", j->id);
    if (j->attempts)
        json_object_set_new(data, "attempt", json_integer(j->attempts));
    if (mv->reason)
        json_object_set_new(data, "reason", text_json(j->reason));
    /* An active job is not cancelled yet: it may even finish before it hears of it. */
    if (j->state == JOB_STOPPING)
        snprintf(event, sizeof(event), "job.stopping");
    else
        snprintf(event, sizeof(event), "job.%s", job_event_names[mv->event]);
    if (moves_put(m, tx, j, e) || moves_event(m, tx, mv->actor, event, j->id, data, e))
        return e->code;
    return OK;
}

enum err_code moves_apply(const struct moves *m, const struct move *mv, struct job *out, struct err *e)
{
    for (int i = 0; i < MOVES_TRIES_MAX; i++) {
        CLEANUP(state_tx_freep) struct state_tx *tx = state_tx_new();
        CLEANUP(job_done) struct job j = { .result = NULL };
        int64_t version = 0;

        if (moves_read(m->state, mv->job, &j, &version, e) || prepare(m, mv, &j, version, tx, e))
            return e->code;
        if (state_commit(m->state, tx, e) == OK) {
            if (out) {
                *out = j;
                j.result = NULL;
            }
            return OK;
        }
        if (e->code != ERR_CONFLICT)
            return err_wrap(e, "job '%s'", mv->job);
    }
    return err_wrap(e, "job '%s' changed %d times meanwhile", mv->job, MOVES_TRIES_MAX);
}
