/* /v1/jobs/ID: show, watch, cancel, why. */
#include "scheduler/routes.h"

#include "base/mem.h"
#include "scheduler/view.h"
#include "scheduler/why.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { LINE_READ_MAX = 200, LINE_MAX = STATE_PAGE_MAX, DELAY_BYTES_MAX = 2048 };

enum err_code route_show(struct api *a, struct state *s, const struct request *q, struct reply *r,
                         struct err *e)
{
    (void)a;
    return view_job(s, q->id, &r->json, NULL, e);
}

/* ---- watch ---- */

enum err_code route_watch(struct api *a, struct state *s, const struct request *q, struct reply *r,
                          struct err *e)
{
    int64_t seen, wait_ms, now_seen;

    if (request_i64(q, "seen", -1, INT64_MAX, -1, &seen, e) ||
        request_i64(q, "wait_ms", 0, API_WAIT_MS_MAX, 0, &wait_ms, e))
        return e->code;
    const int64_t until = a->clock->mono_ms(a->clock) + wait_ms;
    for (;;) {
        if (view_seen(s, q->id, &now_seen, e))
            return e->code;
        const int64_t left = until - a->clock->mono_ms(a->clock);
        if (now_seen != seen || left <= 0 || atomic_load(&a->stopping))
            return view_job(s, q->id, &r->json, NULL, e);
        a->clock->sleep_ms(a->clock, MIN(left, (int64_t)ROUTES_LOOK_MS));
    }
}

/* ---- cancel ---- */

static enum err_code answer_job(const struct job *j, struct reply *r)
{
    r->json = json_object();
    json_object_set_new(r->json, "job", job_to_json(j));
    return OK;
}

/* To ask twice is to ask once: where it stops already, or was cancelled, that is the answer. */
static enum err_code answer_repeat(struct state *s, const char *id, struct reply *r, struct err *e)
{
    CLEANUP(job_done) struct job j = { .result = NULL };
    struct err ignored = ERR_INIT;

    if (moves_read(s, id, &j, NULL, &ignored) || (j.state != JOB_STOPPING && j.state != JOB_CANCELLED))
        return e->code;
    return answer_job(&j, r);
}

enum err_code route_cancel(struct api *a, struct state *s, const struct request *q, struct reply *r,
                           struct err *e)
{
    CLEANUP(job_done) struct job j = { .result = NULL };
    const struct moves m = { .state = s, .cluster = a->cluster, .clock = a->clock, .lead = a->lead };
    char actor[JOB_USER_BYTES + 8], reason[JOB_USER_BYTES + 32];

    snprintf(actor, sizeof(actor), "user:%s", q->user);
    snprintf(reason, sizeof(reason), "cancelled by %s", q->user);
    const struct move mv = {
        .job = q->id, .event = JOB_CANCEL, .actor = actor, .reason = reason, .attempt = -1
    };
    if (moves_apply(&m, &mv, &j, e))
        return e->code == ERR_CONFLICT ? answer_repeat(s, q->id, r, e) : e->code;
    return answer_job(&j, r);
}

/* ---- why ---- */

struct ahead {
    const char *self;
    char ids[LINE_READ_MAX][JOB_ID_BYTES];
    size_t count;
    int64_t more;
    bool reached;
};

static enum err_code add_ahead(void *context, const char *member, double score, struct err *e)
{
    struct ahead *l = context;
    (void)score, (void)e;
    l->reached = l->reached || strcmp(member, l->self) == 0;
    if (l->reached)
        return OK;
    if (l->count < LINE_READ_MAX && strlen(member) < JOB_ID_BYTES)
        memcpy(l->ids[l->count++], member, strlen(member) + 1);
    else
        l->more++;
    return OK;
}

static enum err_code read_line(struct state *s, const struct ahead *ahead, struct place_job *line,
                               size_t *out_count, struct err *e)
{
    size_t n = 0;

    for (size_t i = 0; i < ahead->count; i++) {
        CLEANUP(job_done) struct job j = { .result = NULL };
        if (moves_read(s, ahead->ids[i], &j, NULL, e) == OK)
            line[n++] = place_job_of(&j);
        else if (e->code == ERR_RETRY)
            return e->code;
    }
    *out_count = n;
    return OK;
}

static enum err_code explain(struct api *a, struct state *s, const struct job *j, struct why *out,
                             struct err *e)
{
    CLEANUP(freep) struct ahead *ahead = mem_new(sizeof(*ahead));
    CLEANUP(freep) struct place_job *line = mem_array(LINE_READ_MAX, sizeof(*line));
    CLEANUP(fleet_done) struct fleet fleet = { .nodes = NULL };
    CLEANUP(buf_done) struct buf delay = BUF_INIT(DELAY_BYTES_MAX);
    char key[JOB_KEY_BYTES];
    size_t count = 0;

    ahead->self = j->id;
    if (j->state == JOB_QUEUED &&
        (state_range(s, moves_queue_set(j->spec.queue, key), -INFINITY, moves_score(a->cluster, j), false, 0,
                     LINE_MAX, add_ahead, ahead, e) ||
         read_line(s, ahead, line, &count, e)))
        return e->code;
    if (view_fleet(s, a->cluster, &fleet, e))
        return e->code;
    if (state_get(s, moves_delay_key(j->id, key), &delay, NULL, e) && e->code != ERR_NOT_FOUND &&
        e->code != ERR_LIMIT)
        return e->code;
    err_clear(e);
    why_job(j, &fleet, line, count, ahead->more, buf_text(&delay), a->clock->wall_ms(a->clock), out);
    return OK;
}

enum err_code route_why(struct api *a, struct state *s, const struct request *q, struct reply *r,
                        struct err *e)
{
    CLEANUP(job_done) struct job j = { .result = NULL };
    struct why why;

    if (moves_read(s, q->id, &j, NULL, e) || explain(a, s, &j, &why, e))
        return e->code;
    r->json = why_to_json(&why);
    return OK;
}
