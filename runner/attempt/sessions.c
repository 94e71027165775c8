#include "runner/attempt/sessions.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "core/artifact/rewrap.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    SECOND_MS = 1000,
    LOOK_EVERY_MS = 15 * SECOND_MS, /* at a file whose credentials have no end that is known */
    AGAIN_MS = 5 * SECOND_MS        /* after a failure */
};
#define NEVER INT64_MAX

int64_t sessions_call_ms(const struct sessions *s)
{
    return s->cluster->timing.attempt_lease_ms / 4;
}

static void set_due(struct sessions *s, size_t use)
{
    const struct store_session *now = &s->now[use];
    int64_t mono_ms = clock_mono_ms();
    if (!now->access_key)
        s->sources[use].due_at = NEVER; /* folders need none */
    else if (now->expires_ms == 0)
        s->sources[use].due_at = mono_ms + LOOK_EVERY_MS;
    else
        s->sources[use].due_at = mono_ms + MAX((now->expires_ms - clock_wall_ms()) / 2, (int64_t)SECOND_MS);
}

static enum err_code fetch(const struct sessions *s, size_t use, struct store_session *out, struct err *e)
{
    const struct session_source *from = &s->sources[use];
    return cluster_session(s->cluster, from->bucket, from->prefix, from->reach, s->name, sessions_call_ms(s),
                           out, e);
}

/* A manifest's parts lie beside it, in a folder of its name. */
static enum err_code find_from(const struct job *job, struct session_source *from, struct err *e)
{
    static const char ending[] = ".json";
    if (store_uri_parse(job->spec.model.from, from->bucket, from->prefix, e))
        return e->code;
    from->reach = artifact_is_manifest_key(from->prefix) ? REACH_READ_ALIKE : REACH_READ_ONE;
    if (from->reach == REACH_READ_ALIKE)
        from->prefix[strlen(from->prefix) - strlen(ending)] = '\0';
    return OK;
}

/* Ranks read the dataset below its own prefix, and write below the job's. */
static enum err_code find_sources(const struct job *job, struct sessions *s, struct err *e)
{
    struct session_source *data = &s->sources[SESSION_DATA], *models = &s->sources[SESSION_MODELS];
    char above[STORE_KEY_BYTES];
    if (store_uri_parse(job->spec.data.train, data->bucket, data->prefix, e) ||
        store_uri_parse(job->spec.checkpoint.to, models->bucket, above, e))
        return e->code;
    size_t n = (size_t)snprintf(models->prefix, sizeof(models->prefix), "%s%s%s", above,
                                above[0] && above[strlen(above) - 1] != '/' ? "/" : "", job->id);
    if (n >= sizeof(models->prefix))
        return err_set(e, ERR_USAGE, "checkpoint.to: too long");
    models->reach = REACH_WRITE_BELOW;
    n = strlen(data->prefix);
    while (n > 0 && data->prefix[n - 1] == '/')
        data->prefix[--n] = '\0';
    return job->spec.model.from[0] ? find_from(job, &s->sources[SESSION_FROM], e) : OK;
}

enum err_code sessions_begin(const struct cluster *c, const struct job *job, int64_t attempt,
                             struct sessions *out, struct err *e)
{
    struct sessions s = { .cluster = c };
    snprintf(s.name, sizeof(s.name), "sovrun-%.40s.%" PRId64, job->id, attempt);
    enum err_code code = find_sources(job, &s, e);
    for (size_t use = 0; use < SESSION_USES && code == OK; use++) {
        if (s.sources[use].bucket[0])
            code = fetch(&s, use, &s.now[use], e);
        set_due(&s, use);
    }
    if (code)
        sessions_done(&s);
    else
        *out = s;
    return code;
}

void sessions_done(struct sessions *s)
{
    for (size_t use = 0; use < SESSION_USES; use++)
        store_session_done(&s->now[use]);
    secret_free(s->data_key);
    *s = (struct sessions){ .cluster = s->cluster };
}

int64_t sessions_due_at(const struct sessions *s)
{
    int64_t due_at = NEVER;
    for (size_t use = 0; use < SESSION_USES && s->data_key; use++)
        due_at = MIN(due_at, s->sources[use].due_at);
    return due_at;
}

static json_t *describe(const struct sessions *s, size_t use)
{
    const struct session_source *from = &s->sources[use];
    return json_pack("{s:s, s:s, s:s, s:I}", "bucket", from->bucket, "prefix", from->prefix, "role",
                     cluster_role(s->cluster, from->bucket), "until_ms", (json_int_t)s->now[use].expires_ms);
}

json_t *sessions_json(const struct sessions *s)
{
    json_t *list = json_array();
    for (size_t use = 0; use < SESSION_USES; use++)
        if (s->now[use].access_key)
            json_array_append_new(list, describe(s, use));
    return list;
}

static enum err_code publish(struct sessions *s, struct standing *standing, size_t use, struct err *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(2 * SESSION_DOC_BYTES_MAX);
    CLEANUP(json_donep) json_t *data = describe(s, use);
    const struct attempt *a = &standing->record;
    const struct session_owner owner = { .cluster = s->cluster->name,
                                         .job = a->job,
                                         .attempt = a->number,
                                         .token = a->token,
                                         .data_key = s->data_key };
    const struct standing_event event = { "session.renewed", data };
    char key[JOB_KEY_BYTES];
    json_object_set_new(data, "attempt", json_integer(a->number));
    if (session_doc_seal(&owner, s->now, &text, e) ||
        standing_put(standing, job_sessions_key(a->job, a->number, key), text.data, text.len, &event, e))
        return e->code;
    s->published = true;
    log_info("session.renewed", "job=%s attempt=%" PRId64 " bucket=%s", a->job, a->number,
             s->sources[use].bucket);
    return OK;
}

/* Kept only where it could be told: what the ranks do not have is not ours to go by. */
static enum err_code renew(struct sessions *s, struct standing *standing, size_t use, struct err *e)
{
    CLEANUP(store_session_done) struct store_session fresh = { .access_key = NULL };
    if (fetch(s, use, &fresh, e))
        return e->code;
    if (store_session_equal(&fresh, &s->now[use]))
        return OK;
    struct store_session before = s->now[use];
    s->now[use] = fresh;
    fresh = before;
    if (publish(s, standing, use, e) == OK)
        return OK;
    before = s->now[use];
    s->now[use] = fresh;
    fresh = before;
    return e->code;
}

void sessions_keep(struct sessions *s, struct standing *standing)
{
    struct err e = ERR_INIT;
    size_t use = 0;
    while (use < SESSION_USES && s->sources[use].due_at > clock_mono_ms())
        use++;
    if (use == SESSION_USES)
        return;
    bool failed = renew(s, standing, use, &e) != OK;
    if (failed && !s->failing)
        log_warn("session.not_renewed", "job=%s bucket=%s why=\"%s\"", standing->record.job,
                 s->sources[use].bucket, e.text);
    s->failing = failed;
    if (failed)
        s->sources[use].due_at = clock_mono_ms() + AGAIN_MS;
    else
        set_due(s, use);
}

void sessions_drop(struct sessions *s, struct standing *standing)
{
    struct err ignored = ERR_INIT;
    char key[JOB_KEY_BYTES];
    if (s->published)
        IGNORE(standing_put(standing, job_sessions_key(standing->record.job, standing->record.number, key),
                            NULL, 0, NULL, &ignored));
}
