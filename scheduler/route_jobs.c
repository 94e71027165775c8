/* /v1/jobs: submit and list. */
#include "scheduler/routes.h"

#include "scheduler/submit.h"

#include <math.h>
#include <string.h>

enum { LIST_DEFAULT = 100, LIST_READS_MAX = 20000, LIST_PAGE = 256, STATUS_CREATED = 201 };

static struct moves moves_of(struct api *a, struct state *s)
{
    return (struct moves){ .state = s, .cluster = a->cluster, .clock = a->clock, .lead = a->lead };
}

enum err_code route_submit(struct api *a, struct state *s, const struct request *q, struct reply *r,
                           struct err *e)
{
    CLEANUP(json_donep) json_t *body = NULL;
    CLEANUP(job_done) struct job j = { .result = NULL };
    struct submission submission;
    const struct moves m = moves_of(a, s);

    if (json_parse(q->body, q->body_bytes, "request", &body, e))
        return e->code = ERR_USAGE; /* a program's text is corrupt; a caller's is to be corrected */
    if (submission_from_json(body, &submission, e) || submit_job(&m, &submission, q->user, &j, e))
        return e->code;
    r->status = STATUS_CREATED;
    r->json = json_object();
    json_object_set_new(r->json, "job", job_to_json(&j));
    return OK;
}

/* ---- list ---- */

struct listing {
    struct state *state;
    int state_wanted; /* -1: any */
    size_t limit;
    json_t *jobs;
    char ids[LIST_PAGE][JOB_ID_BYTES];
    size_t id_count;
};

static enum err_code add_id(void *context, const char *member, double score, struct err *e)
{
    struct listing *l = context;
    (void)score, (void)e;
    if (strlen(member) < JOB_ID_BYTES)
        memcpy(l->ids[l->id_count++], member, strlen(member) + 1);
    return OK;
}

static enum err_code add_job(struct listing *l, const char *id, struct err *e)
{
    CLEANUP(job_done) struct job j = { .result = NULL };

    if (moves_read(l->state, id, &j, NULL, e)) {
        if (e->code != ERR_NOT_FOUND && e->code != ERR_CORRUPT)
            return e->code;
        err_clear(
            e); /* one that cannot be read does not hide the others; `show` says what is wrong with it */
        return OK;
    }
    if (l->state_wanted < 0 || (int)j.state == l->state_wanted)
        json_array_append_new(l->jobs, job_to_json(&j));
    return OK;
}

/* The newest first, page by page, until there are enough. */
static enum err_code list(struct listing *l, struct err *e)
{
    for (int64_t skip = 0; skip < LIST_READS_MAX; skip += LIST_PAGE) {
        l->id_count = 0;
        if (state_range(l->state, JOB_SET_ALL, -INFINITY, INFINITY, true, skip, LIST_PAGE, add_id, l, e))
            return e->code;
        for (size_t i = 0; i < l->id_count; i++) {
            if (json_array_size(l->jobs) >= l->limit)
                return OK;
            if (add_job(l, l->ids[i], e))
                return e->code;
        }
        if (l->id_count < LIST_PAGE)
            return OK;
    }
    return OK;
}

static enum err_code parse_state(const char *text, int *out, struct err *e)
{
    int found = -1;

    for (int i = 0; *text && i < JOB_STATE_COUNT; i++)
        if (strcmp(job_state_names[i], text) == 0)
            found = i;
    if (*text && found < 0)
        return err_set(
            e, ERR_USAGE,
            "state must be queued, starting, running, stopping, succeeded, failed or cancelled, not '%.40s'",
            text);
    *out = found;
    return OK;
}

enum err_code route_list(struct api *a, struct state *s, const struct request *q, struct reply *r,
                         struct err *e)
{
    struct listing l = { .state = s };
    int64_t limit;

    (void)a;
    if (request_i64(q, "limit", 1, API_LIST_MAX, LIST_DEFAULT, &limit, e) ||
        parse_state(request_text(q, "state", ""), &l.state_wanted, e))
        return e->code;
    l.limit = (size_t)limit;
    l.jobs = json_array();
    r->json = json_object();
    json_object_set_new(r->json, "jobs", l.jobs); /* borrowed by `l` from here on */
    return list(&l, e);
}
