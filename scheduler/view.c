#include "scheduler/view.h"

#include "base/mem.h"
#include "base/rng.h"
#include "core/state/lease.h"
#include "scheduler/moves.h"

#include <math.h>
#include <string.h>

enum { RECORD_BYTES_MAX = 64 << 10 };

/* ---- the number ---- */

/* As large as a number in JSON may be everywhere. */
static int64_t seen_of(int64_t job, int64_t attempts, int64_t attempt, int64_t pulse)
{
    uint64_t h = rng_key((uint64_t)job, (uint64_t)attempts);

    h = rng_key(h, (uint64_t)attempt);
    h = rng_key(h, (uint64_t)pulse);
    return (int64_t)(h >> 11);
}

/* 0: there is none. */
static enum err_code version_of(struct state *s, const char *name, int64_t *out, struct err *e)
{
    if (state_get(s, name, NULL, out, e)) {
        if (e->code != ERR_NOT_FOUND)
            return e->code;
        err_clear(e);
        *out = 0;
    }
    return OK;
}

static enum err_code seen_with(struct state *s, const struct job *j, int64_t job_version, int64_t *out,
                               struct err *e)
{
    char key[JOB_KEY_BYTES];
    int64_t attempt = 0, pulse = 0;

    if ((j->attempts && version_of(s, job_attempt_key(j->id, j->attempts, key), &attempt, e)) ||
        version_of(s, job_pulse_key(j->id, key), &pulse, e))
        return e->code;
    *out = seen_of(job_version, j->attempts, attempt, pulse);
    return OK;
}

enum err_code view_seen(struct state *s, const char *id, int64_t *out, struct err *e)
{
    CLEANUP(job_done) struct job j = { .result = NULL };
    int64_t version;

    if (moves_read(s, id, &j, &version, e))
        return e->code;
    return seen_with(s, &j, version, out, e);
}

/* ---- the parts ---- */

enum err_code view_attempt(struct state *s, const char *id, int64_t number, struct attempt *out,
                           struct err *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(RECORD_BYTES_MAX);
    char key[JOB_KEY_BYTES];

    if (state_get(s, job_attempt_key(id, number, key), &text, NULL, e))
        return e->code;
    return attempt_from_text(text.data, text.len, out, e);
}

static enum err_code add_attempts(struct state *s, const struct job *j, json_t *view, struct err *e)
{
    json_t *list = json_array();
    struct attempt a;

    json_object_set_new(view, "attempts", list);
    for (int64_t n = MAX(1, j->attempts - VIEW_ATTEMPTS_MAX + 1); n <= j->attempts; n++) {
        if (view_attempt(s, j->id, n, &a, e) == OK)
            json_array_append_new(list, attempt_to_json(&a));
        else if (e->code != ERR_NOT_FOUND)
            return e->code;
        err_clear(e);
    }
    return OK;
}

/* As it is: its form is between the trainer and whoever reads the answer. */
static enum err_code add_pulse(struct state *s, const char *id, json_t *view, struct err *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(RECORD_BYTES_MAX);
    char key[JOB_KEY_BYTES];
    json_t *pulse = NULL;

    if (state_get(s, job_pulse_key(id, key), &text, NULL, e)) {
        if (e->code != ERR_NOT_FOUND)
            return e->code;
    } else if (json_parse(text.data, text.len, "pulse", &pulse, e)) {
        pulse = NULL; /* progress that cannot be read hides nothing else */
    }
    err_clear(e);
    json_object_set_new(view, "pulse", pulse ? pulse : json_null());
    return OK;
}

static enum err_code add_lease(struct state *s, const char *id, json_t *view, struct err *e)
{
    struct lease_facts facts;
    char name[JOB_KEY_BYTES];

    if (lease_look(s, job_lease_name(id, name), &facts, e))
        return e->code;
    json_t *lease = json_pack("{s:b,s:s,s:I}", "held", facts.held, "owner", facts.owner, "left_ms",
                              (json_int_t)facts.left_ms);
    json_object_set_new(view, "lease", lease ? lease : json_null());
    return OK;
}

enum err_code view_job(struct state *s, const char *id, json_t **out, int64_t *out_seen, struct err *e)
{
    CLEANUP(json_donep) json_t *view = json_object();
    CLEANUP(job_done) struct job j = { .result = NULL };
    int64_t version, seen;

    /* The number first: what changes after it is shown early, and shown again. */
    if (moves_read(s, id, &j, &version, e) || seen_with(s, &j, version, &seen, e))
        return e->code;
    json_object_set_new(view, "job", job_to_json(&j));
    json_object_set_new(view, "seen", json_integer(seen));
    if (add_attempts(s, &j, view, e) || add_pulse(s, id, view, e) || add_lease(s, id, view, e))
        return err_wrap(e, "job '%s'", id);
    *out = TAKE(view);
    if (out_seen)
        *out_seen = seen;
    return OK;
}

/* ---- the fleet ---- */

struct ids {
    char (*list)[JOB_ID_BYTES];
    size_t count;
};

static enum err_code add_id(void *context, const char *member, double score, struct err *e)
{
    struct ids *ids = context;
    (void)score, (void)e;
    if (strlen(member) >= JOB_ID_BYTES)
        return OK;
    if (ids->count % 64 == 0)
        ids->list = mem_grow(ids->list, ids->count + 64, sizeof(*ids->list));
    memcpy(ids->list[ids->count++], member, strlen(member) + 1);
    return OK;
}

enum err_code view_fleet(struct state *s, const struct cluster *c, struct fleet *out, struct err *e)
{
    struct ids ids = { .list = NULL };
    struct fleet fleet = fleet_new(c);
    enum err_code code =
        state_range(s, JOB_SET_ACTIVE, -INFINITY, INFINITY, false, 0, VIEW_ACTIVE_MAX, add_id, &ids, e);

    for (size_t i = 0; i < ids.count && code == OK; i++) {
        CLEANUP(job_done) struct job j = { .result = NULL };
        code = moves_read(s, ids.list[i], &j, NULL, e);
        if (code == OK && job_is_active(j.state))
            fleet_use(&fleet, j.node, j.spec.queue, j.slots);
        else if (code == ERR_NOT_FOUND || code == ERR_CORRUPT)
            code = OK; /* the scheduler's log names it */
    }
    free(ids.list);
    if (code) {
        fleet_done(&fleet);
        return code;
    }
    err_clear(e);
    *out = fleet;
    return OK;
}
