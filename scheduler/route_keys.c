/*
 * /v1/keys: list, create, wrap again, destroy. Whatever changes a key needs the role admin, and stands in the
 * ledger's outbox before it is done: what cannot be recorded does not happen.
 *
 * Wrapping again goes through a bucket in portions, so that a request stays short; the caller passes on where
 * the last one ended.
 */
#include "scheduler/routes.h"

#include "base/mem.h"
#include "base/text.h"
#include "core/artifact/rewrap.h"
#include "scheduler/role.h"
#include "scheduler/text_json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { STATUS_CREATED = 201, PORTION_MAX = 32, LOOKED_AT_MAX = 20000 };

/* ---- shared ---- */

static enum err_code record(struct api *a, struct state *s, const char *user, const char *event, json_t *data,
                            struct err *e)
{
    return routes_record(a, s, user, event, "", data, e);
}

/* A refusal is recorded as well; where that fails, it is still a refusal. */
static enum err_code require_admin(struct api *a, struct state *s, const struct request *q, const char *act,
                                   struct err *e)
{
    struct err ignored = ERR_INIT;
    if (role_require(a->cluster, q->user, ROLE_ADMIN, e) == OK)
        return OK;
    CLEANUP(json_donep)
    json_t *data = json_pack("{s:s,s:o,s:s}", "act", act, "key", text_json(q->id), "role",
                             role_names[role_of(a->cluster, q->user)]);
    IGNORE(record(a, s, q->user, "key.refused", data, &ignored));
    return e->code;
}

/* ---- list ---- */

static enum err_code add_version(void *context, const char *name, int64_t version, struct err *e)
{
    json_t *all = context, *versions = json_object_get(all, name);
    (void)e;
    if (!versions) {
        versions = json_array();
        json_object_set_new(all, name, versions);
    }
    size_t at = 0;
    while (at < json_array_size(versions) && json_integer_value(json_array_get(versions, at)) < version)
        at++;
    json_array_insert_new(versions, at, json_integer(version));
    return OK;
}

static json_t *bucket_names(const struct cluster *c)
{
    json_t *list = json_array();
    for (size_t i = 0; i < c->store_count; i++)
        for (size_t b = 0; b < c->stores[i].bucket_count; b++)
            json_array_append_new(list, json_string(c->stores[i].buckets[b]));
    return list;
}

enum err_code route_keys(struct api *a, struct state *s, const struct request *q, struct reply *r,
                         struct err *e)
{
    CLEANUP(keys_closep) struct keys *keys = NULL;
    CLEANUP(json_donep) json_t *found = json_object();
    json_t *list = json_array(), *versions;
    const char *name;
    (void)s, (void)q;

    r->json = json_pack("{s:o,s:s,s:o}", "keys", list, "provider",
                        keys_provider_names[a->cluster->keys.provider], "buckets", bucket_names(a->cluster));
    if (cluster_open_keys(a->cluster, &keys, e) || keys_list(keys, add_version, found, e))
        return e->code;
    json_object_foreach(found, name, versions)
    {
        json_array_append_new(list, json_pack("{s:s,s:O}", "name", name, "versions", versions));
    }
    return OK;
}

/* ---- create ---- */

enum err_code route_key_create(struct api *a, struct state *s, const struct request *q, struct reply *r,
                               struct err *e)
{
    static const char *const members[] = { "next", NULL };
    CLEANUP(keys_closep) struct keys *keys = NULL;
    CLEANUP(json_donep) json_t *body = NULL;
    int64_t newest = 0;

    if (require_admin(a, s, q, "create", e) || request_body(q, members, &body, e) ||
        cluster_open_keys(a->cluster, &keys, e))
        return e->code;
    bool next = json_is_true(json_object_get(body, "next"));
    enum err_code code = keys_newest(keys, q->id, &newest, e);
    if (code == OK && !next)
        return err_set(e, ERR_CONFLICT, "there is a key '%s' already; rotate makes its next version", q->id);
    if (code == ERR_NOT_FOUND && !next) {
        err_clear(e);
        code = OK;
    }
    CLEANUP(json_donep)
    json_t *data = json_pack("{s:s,s:s,s:I}", "provider", keys_provider_names[a->cluster->keys.provider],
                             "key", q->id, "version", (json_int_t)newest + 1);
    if (code || record(a, s, q->user, "key.create", data, e) || keys_create(keys, q->id, e) ||
        keys_newest(keys, q->id, &newest, e))
        return e->code;
    json_object_set_new(data, "version", json_integer(newest)); /* somebody else may have made one, too */
    if (record(a, s, q->user, "key.created", data, e))
        return e->code;
    r->status = STATUS_CREATED;
    r->json = json_pack("{s:s,s:I}", "name", q->id, "version", (json_int_t)newest);
    return OK;
}

/* ---- wrap again ---- */

/* One portion of a bucket. */
struct portion {
    const char *name;
    struct store *store;
    struct keys *keys;
    struct signer signer;
    struct artifact_trust trust;
    char after[STORE_KEY_BYTES]; /* the last key that was looked at */
    int64_t looked_at, found, rewrapped;
    json_t *failed; /* of texts */
    bool full;
    char manifests[PORTION_MAX][STORE_KEY_BYTES];
    size_t count;
};

static void portion_done(struct portion *p)
{
    store_close(p->store);
    keys_close(p->keys);
    signer_done(&p->signer);
    json_decref(p->failed);
}

/* ERR_CANCELED ends the listing: the portion is full. */
static enum err_code take_manifest(void *context, const struct store_info *info, struct err *e)
{
    struct portion *p = context;
    p->full = p->count == PORTION_MAX || p->looked_at == LOOKED_AT_MAX;
    if (p->full)
        return err_set(e, ERR_CANCELED, "enough for one portion");
    memcpy(p->after, info->key, sizeof(p->after));
    p->looked_at++;
    if (artifact_is_manifest_key(info->key))
        memcpy(p->manifests[p->count++], info->key, STORE_KEY_BYTES);
    return OK;
}

/* What cannot be wrapped again does not hold up the others: it is told, and may be tried again. */
static void rewrap_one(struct portion *p, const char *manifest)
{
    CLEANUP(artifact_done) struct artifact a = { 0 };
    struct err e = ERR_INIT;
    struct keys_facts facts;
    bool done = false;
    enum err_code code = artifact_load(p->store, manifest, &p->trust, &a, &e);
    if (code == ERR_NOT_FOUND) /* removed meanwhile */
        return;
    if (code == OK &&
        artifact_rewrap(p->store, p->keys, &p->signer, &p->trust, &a, p->name, &done, &e) == OK) {
        p->found += keys_describe(a.wrapped_key, &facts, &e) == OK && strcmp(facts.key, p->name) == 0;
        p->rewrapped += done;
        return;
    }
    json_array_append_new(p->failed,
                          json_pack("{s:o,s:o}", "manifest", text_json(manifest), "why", text_json(e.text)));
}

static enum err_code portion_open(struct api *a, const struct request *q, const json_t *body,
                                  struct portion *p, struct err *e)
{
    const char *bucket = json_text_or(body, "bucket", "");
    p->name = q->id;
    p->failed = json_array();
    p->trust.count = 1;
    if (text_copy(p->after, sizeof(p->after), json_text_or(body, "after", ""), "'after'", e) ||
        cluster_open_store(a->cluster, bucket, &p->store, e) || cluster_open_keys(a->cluster, &p->keys, e) ||
        cluster_signer(a->cluster, &p->signer, e))
        return e->code;
    memcpy(p->trust.public_key[0], p->signer.public_key, SIGN_PUBLIC_BYTES);
    return OK;
}

static enum err_code run_portion(struct portion *p, struct err *e)
{
    char from[STORE_KEY_BYTES];
    memcpy(from, p->after, sizeof(from));
    if (store_list(p->store, "", from[0] ? from : NULL, take_manifest, p, e) && e->code != ERR_CANCELED)
        return e->code;
    err_clear(e);
    for (size_t i = 0; i < p->count; i++)
        rewrap_one(p, p->manifests[i]);
    return OK;
}

enum err_code route_key_rewrap(struct api *a, struct state *s, const struct request *q, struct reply *r,
                               struct err *e)
{
    static const char *const members[] = { "bucket", "after", NULL };
    CLEANUP(json_donep) json_t *body = NULL;
    CLEANUP(freep) struct portion *p = mem_new(sizeof(*p));
    int64_t version = 0;

    if (require_admin(a, s, q, "rewrap", e) || request_body(q, members, &body, e))
        return e->code;
    enum err_code code = portion_open(a, q, body, p, e);
    if (code == OK)
        code = keys_newest(p->keys, q->id, &version, e);
    if (code == OK)
        code = run_portion(p, e);
    CLEANUP(json_donep)
    json_t *data = json_pack("{s:s,s:I,s:s,s:I,s:I}", "key", q->id, "version", (json_int_t)version, "bucket",
                             json_text_or(body, "bucket", ""), "rewrapped", (json_int_t)p->rewrapped,
                             "failed", (json_int_t)json_array_size(p->failed));
    if (code == OK && (p->rewrapped > 0 || json_array_size(p->failed) > 0))
        code = record(a, s, q->user, "key.rewrapped", data, e);
    if (code == OK)
        r->json =
            json_pack("{s:I,s:I,s:O,s:s,s:b}", "found", (json_int_t)p->found, "rewrapped",
                      (json_int_t)p->rewrapped, "failed", p->failed, "after", p->after, "more", p->full);
    portion_done(p);
    return code;
}

/* ---- destroy ---- */

struct victims {
    const char *name;
    int64_t only; /* 0: every version */
    int64_t versions[PORTION_MAX];
    size_t count;
};

static enum err_code add_victim(void *context, const char *name, int64_t version, struct err *e)
{
    struct victims *v = context;
    if (strcmp(name, v->name) != 0 || (v->only && version != v->only))
        return OK;
    if (v->count == PORTION_MAX)
        return err_set(e, ERR_LIMIT, "key '%s' has more than %d versions: destroy them one by one", name,
                       PORTION_MAX);
    v->versions[v->count++] = version;
    return OK;
}

/* Who would lose what he is about to write: attempts under way wrap nothing again by themselves. */
struct users {
    const char *key;
    struct state *state;
    char job[JOB_ID_BYTES]; /* the first one; "": nobody */
};

static enum err_code find_user(void *context, const char *member, double score, struct err *e)
{
    struct users *u = context;
    CLEANUP(job_done) struct job j = { .result = NULL };
    struct err ignored = ERR_INIT;
    (void)score, (void)e;
    if (!u->job[0] && strlen(member) < JOB_ID_BYTES &&
        moves_read(u->state, member, &j, NULL, &ignored) == OK && strcmp(j.spec.checkpoint.key, u->key) == 0)
        snprintf(u->job, sizeof(u->job), "%s", j.id);
    return OK;
}

static enum err_code check_unused(struct state *s, const char *key, struct err *e)
{
    struct users u = { .key = key, .state = s };
    if (state_range(s, JOB_SET_ACTIVE, -INFINITY, INFINITY, true, 0, STATE_PAGE_MAX, find_user, &u, e))
        return e->code;
    if (u.job[0])
        return err_set(e, ERR_CONFLICT,
                       "job %s runs under key '%s', and what it writes from now on would be lost: let it end "
                       "or cancel it, "
                       "then `sovrun key rotate %s --no-new`, then destroy the old version",
                       u.job, key, key);
    return OK;
}

static enum err_code destroy_all(struct api *a, struct state *s, const char *user, struct keys *keys,
                                 const struct victims *v, json_t *out_versions, struct err *e)
{
    for (size_t i = 0; i < v->count; i++) {
        CLEANUP(json_donep)
        json_t *data = json_pack("{s:s,s:s,s:I}", "provider", keys_provider_names[a->cluster->keys.provider],
                                 "key", v->name, "version", (json_int_t)v->versions[i]);
        if (record(a, s, user, "key.destroy", data, e) || keys_destroy(keys, v->name, v->versions[i], e) ||
            record(a, s, user, "key.destroyed", data, e))
            return e->code;
        json_array_append_new(out_versions, json_integer(v->versions[i]));
    }
    return OK;
}

enum err_code route_key_destroy(struct api *a, struct state *s, const struct request *q, struct reply *r,
                                struct err *e)
{
    static const char *const members[] = { "version", "confirm", NULL };
    CLEANUP(keys_closep) struct keys *keys = NULL;
    CLEANUP(json_donep) json_t *body = NULL;

    if (require_admin(a, s, q, "destroy", e) || request_body(q, members, &body, e))
        return e->code;
    struct victims v = { .name = q->id, .only = json_i64_or(body, "version", 0) };
    if (strcmp(json_text_or(body, "confirm", ""), q->id) != 0)
        return err_set(e, ERR_USAGE,
                       "'confirm' must be the key's name once more: what it sealed is lost for good");
    if (v.only < 0)
        return err_set(e, ERR_USAGE, "'version' must be at least 1, or 0 for all of them");
    if (check_unused(s, q->id, e) || cluster_open_keys(a->cluster, &keys, e) ||
        keys_list(keys, add_victim, &v, e))
        return e->code;
    if (v.count == 0)
        return err_set(e, ERR_NOT_FOUND, "there is no key '%s'%s", q->id, v.only ? " of that version" : "");
    r->json = json_pack("{s:s,s:[]}", "name", q->id, "destroyed");
    return destroy_all(a, s, q->user, keys, &v, json_object_get(r->json, "destroyed"), e);
}
