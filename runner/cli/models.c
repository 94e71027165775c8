#include "runner/cli/models.h"

#include "base/mem.h"
#include "base/num.h"
#include "core/artifact/model_read.h"
#include "core/artifact/rewrap.h"
#include "runner/cli/client.h"

#include <inttypes.h>
#include <string.h>

void models_done(struct models *m)
{
    store_close(m->store);
    cluster_free(m->cluster);
    m->store = NULL;
    m->cluster = NULL;
}

static enum err_code ask_place(const struct cli *c, struct models *m, struct err *e)
{
    CLEANUP(api_closep) struct api_client *api = NULL;
    CLEANUP(json_donep) json_t *shown = NULL;

    if (client_open(c, &api, e))
        return e->code;
    if (client_job(api, "GET", m->job, "", &shown, e)) {
        if (e->code == ERR_RETRY)
            return err_wrap(e, "where the job's model lies is not known (--prefix s3://BUCKET/PREFIX, its "
                               "checkpoint.to, says it "
                               "without a scheduler)");
        return e->code;
    }
    snprintf(m->name, sizeof(m->name), "%s", client_text(shown, NULL, "name"));
    snprintf(m->data, sizeof(m->data), "%s", client_text(shown, "data", "train"));
    return store_uri_parse(client_text(shown, "checkpoint", "to"), m->bucket, m->prefix, e);
}

enum err_code models_open(const struct cli *c, const char *job, const char *prefix_uri, struct models *out,
                          struct err *e)
{
    CLEANUP(models_done) struct models m = { .trust = { .count = 1 } };

    if (client_check_job(job, e) || cli_cluster(c, &m.cluster, e))
        return e->code;
    snprintf(m.job, sizeof(m.job), "%s", job);
    if (prefix_uri ? store_uri_parse(prefix_uri, m.bucket, m.prefix, e) : ask_place(c, &m, e))
        return e->code;
    for (size_t n = strlen(m.prefix); n > 0 && m.prefix[n - 1] == '/'; n--)
        m.prefix[n - 1] = '\0';
    if (cluster_public_key(m.cluster, m.trust.public_key[0], e) ||
        cluster_open_store(m.cluster, m.bucket, &m.store, e))
        return e->code;
    *out = m;
    m.store = NULL;
    m.cluster = NULL;
    return OK;
}

enum err_code models_each(const struct models *m, enum artifact_kind kind, models_each_fn *each,
                          void *context, struct err *e)
{
    CLEANUP(freep) char(*keys)[STORE_KEY_BYTES] = NULL;
    size_t count = 0;

    if (artifact_list(m->store, m->prefix, m->job, kind, MODELS_MAX, &keys, &count, e))
        return e->code;
    for (size_t i = 0; i < count; i++) {
        CLEANUP(artifact_done) struct artifact a = { .parts = NULL };
        struct err said = ERR_INIT;
        enum err_code code = artifact_load(m->store, keys[i], &m->trust, &a, &said);
        if (code == ERR_NOT_FOUND) /* an old checkpoint that was removed while we looked */
            continue;
        if (code != OK && code != ERR_CORRUPT) {
            *e = said;
            return e->code;
        }
        if (each(context, keys[i], code ? NULL : &a, said.text, e))
            return e->code;
    }
    return OK;
}

/* The first that fits. */
struct wanted {
    int64_t step; /* -1: the final model */
    struct artifact *found;
    bool has_found;
    const struct models *models;
    char why[ERR_TEXT_BYTES]; /* of the newest that did not verify */
};

static enum err_code take_wanted(void *context, const char *key, const struct artifact *a, const char *why,
                                 struct err *e)
{
    struct wanted *w = context;
    if (!a && !w->why[0])
        snprintf(w->why, sizeof(w->why), "%s", why);
    if (!a || w->has_found || (w->step >= 0 && a->step != w->step))
        return OK;
    w->has_found = true;
    return artifact_load(w->models->store, key, &w->models->trust, w->found, e);
}

enum err_code models_step(const char *text, int64_t *out, struct err *e)
{
    *out = -1;
    if (text && (parse_i64(text, out, e) || *out < 0))
        return err_set(e, ERR_USAGE, "--step '%s': must be the number of a step", text);
    return OK;
}

enum err_code models_find(const struct models *m, int64_t step, struct artifact *out, struct err *e)
{
    struct wanted w = { .step = step, .models = m, .found = out };
    enum artifact_kind kind = step >= 0 ? ARTIFACT_CHECKPOINT : ARTIFACT_MODEL;
    if (models_each(m, kind, take_wanted, &w, e))
        return e->code;
    if (w.has_found)
        return OK;
    if (w.why[0])
        return err_set(e, ERR_CORRUPT, "%s", w.why);
    if (step >= 0)
        return err_set(e, ERR_NOT_FOUND,
                       "job %s has no checkpoint of step %" PRId64
                       "; `sovrun model ls %s` lists what there is",
                       m->job, step, m->job);
    return err_set(e, ERR_NOT_FOUND,
                   "job %s has no finished model; `sovrun model ls %s` lists its checkpoints (take one with "
                   "--step N)",
                   m->job, m->job);
}

enum err_code models_unwrap(const struct models *m, const struct artifact *a, struct secret **out,
                            struct err *e)
{
    CLEANUP(keys_closep) struct keys *keys = NULL;
    if (cluster_open_keys(m->cluster, &keys, e))
        return e->code;
    return artifact_unwrap(m->store, keys, &m->trust, a, out, e);
}

enum err_code models_file(const struct models *m, const struct artifact *a, struct buf *out, struct err *e)
{
    CLEANUP(secret_freep) struct secret *key = NULL;
    return models_unwrap(m, a, &key, e) ? e->code : model_read(m->store, key, a, out, e);
}
