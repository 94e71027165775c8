#include "core/artifact/artifact.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "core/artifact/artifact_json.h"
#include "core/crypto/dsse.h"

#include <inttypes.h>
#include <string.h>

enum { MANIFEST_BYTES_MAX = 16 << 20 };

const char *const artifact_kind_names[] = { "checkpoint", "model", NULL };

void artifact_done(struct artifact *a)
{
    free(a->parts);
    json_decref(a->meta);
    a->parts = NULL;
    a->part_count = 0;
    a->meta = NULL;
}

/* ---- names ---- */

enum err_code artifact_name(const struct artifact *a, char out[ARTIFACT_NAME_BYTES], struct err *e)
{
    int n = snprintf(out, ARTIFACT_NAME_BYTES, "%s/%012" PRId64 "-%04" PRId64 "-%013" PRId64,
                     artifact_kind_names[a->kind], a->step, a->attempt, a->token);
    if (n >= ARTIFACT_NAME_BYTES || a->step < 0 || a->attempt < 0 || a->token < 0)
        return err_set(e, ERR_LIMIT,
                       "step %" PRId64 ", attempt %" PRId64 " or token %" PRId64 " out of range", a->step,
                       a->attempt, a->token);
    return OK;
}

static enum err_code check_key_length(int n, struct err *e)
{
    if (n < 0 || n >= STORE_KEY_BYTES)
        return err_set(e, ERR_LIMIT, "checkpoint.to is too long for an object key");
    return OK;
}

static const char *slash_after(const char *prefix)
{
    return prefix[0] ? "/" : "";
}

enum err_code artifact_part_key(const struct artifact *a, size_t part, char out[STORE_KEY_BYTES],
                                struct err *e)
{
    char name[ARTIFACT_NAME_BYTES];
    if (artifact_name(a, name, e))
        return e->code;
    return check_key_length(snprintf(out, STORE_KEY_BYTES, "%s%s%s/%s/part-%04zu.sealed", a->prefix,
                                     slash_after(a->prefix), a->job, name, part),
                            e);
}

static enum err_code manifest_key(const struct artifact *a, char out[STORE_KEY_BYTES], struct err *e)
{
    char name[ARTIFACT_NAME_BYTES];
    if (artifact_name(a, name, e))
        return e->code;
    return check_key_length(snprintf(out, STORE_KEY_BYTES, "%s%s%s/%s.json", a->prefix,
                                     slash_after(a->prefix), a->job, name),
                            e);
}

/* ---- parts ---- */

static enum err_code part_context(const struct artifact *a, size_t part, const char *key,
                                  uint64_t plain_bytes, char name[ARTIFACT_NAME_BYTES],
                                  struct seal_context *out, struct err *e)
{
    if (artifact_name(a, name, e))
        return e->code;
    *out = (struct seal_context){
        .cluster = a->cluster,
        .region = a->region,
        .job = a->job,
        .artifact = name,
        .part = (uint32_t)part,
        .part_count = (uint32_t)a->part_count,
        .bucket = a->bucket,
        .key = key,
        .plain_bytes = plain_bytes,
    };
    return OK;
}

enum err_code artifact_put_part(struct store *s, const struct secret *data_key, const struct artifact *a,
                                size_t part, const void *plain, size_t n, const struct store_lock *lock,
                                struct artifact_part *out, struct err *e)
{
    struct artifact_part p = { .plain_bytes = n };
    char name[ARTIFACT_NAME_BYTES];
    struct seal_context context;
    struct store_put_options options = { .lock = *lock };
    struct store_info info;
    uint8_t hash[SHA256_BYTES];

    invariant(part < a->part_count);
    if (artifact_part_key(a, part, p.key, e) || part_context(a, part, p.key, n, name, &context, e) ||
        seal_put(s, data_key, &context, plain, &options, &info, hash, e))
        return err_wrap(e, "part %zu of %s", part, artifact_kind_names[a->kind]);
    hex_encode(hash, sizeof(hash), p.sha256);
    sha256_hex(plain, n, p.plain_sha256);
    p.sealed_bytes = info.bytes;
    p.lock = info.lock;
    memcpy(p.version, info.version, sizeof(p.version));
    *out = p;
    return OK;
}

static enum err_code check_part_hash(const struct artifact_part *p, const struct buf *sealed, struct err *e)
{
    char hex[SHA256_HEX_BYTES];
    if (sealed->len != p->sealed_bytes)
        return err_set(e, ERR_CORRUPT, "%s: %zu bytes where the manifest says %" PRIu64, p->key, sealed->len,
                       p->sealed_bytes);
    sha256_hex(sealed->data, sealed->len, hex);
    if (strcmp(hex, p->sha256) != 0)
        return err_set(e, ERR_CORRUPT, "%s: its SHA-256 is not that of the manifest: the object was changed",
                       p->key);
    return OK;
}

static enum err_code get_sealed(struct store *s, const struct artifact_part *p, struct buf *out,
                                struct err *e)
{
    buf_reset(out);
    if (store_get(s, p->key, p->version, 0, UINT64_MAX, out, NULL, e)) {
        if (e->code == ERR_NOT_FOUND || e->code == ERR_LIMIT || e->code == ERR_USAGE)
            e->code =
                ERR_CORRUPT; /* the manifest is there; the part is not, has grown, or has no valid name */
        return e->code;
    }
    return check_part_hash(p, out, e);
}

enum err_code artifact_get_part(struct store *s, const struct secret *data_key, const struct artifact *a,
                                size_t part, struct buf *out, struct err *e)
{
    invariant(part < a->part_count);
    const struct artifact_part *p = &a->parts[part];
    CLEANUP(buf_done) struct buf sealed = BUF_INIT(MIN(p->sealed_bytes, (uint64_t)STORE_OBJECT_BYTES_MAX));
    char name[ARTIFACT_NAME_BYTES];
    struct seal_context context;

    if (get_sealed(s, p, &sealed, e) == ERR_CORRUPT) {
        err_clear(e); /* damaged on its way, perhaps: what is wrong in the store is wrong again */
        IGNORE(get_sealed(s, p, &sealed, e));
    }
    if (e->code != OK || part_context(a, part, p->key, p->plain_bytes, name, &context, e) ||
        open_object(data_key, &context, sealed.data, sealed.len, out, e))
        return err_wrap(e, "part %zu", part);
    return OK;
}

static enum err_code check_lock(struct store *s, const struct artifact_part *p, struct err *e)
{
    struct store_info info;
    if (store_head(s, p->key, p->version, &info, e))
        return e->code;
    if (p->lock.mode != STORE_LOCK_NONE &&
        (info.lock.mode < p->lock.mode || info.lock.retain_until_ms < p->lock.retain_until_ms))
        return err_set(e, ERR_CORRUPT, "%s: its lock is weaker than the manifest recorded", p->key);
    return OK;
}

enum err_code artifact_verify(struct store *s, const struct secret *data_key, const struct artifact *a,
                              struct err *e)
{
    for (size_t i = 0; i < a->part_count; i++) {
        char hex[SHA256_HEX_BYTES];
        CLEANUP(buf_wipe) struct buf plain = BUF_INIT(STORE_OBJECT_BYTES_MAX);
        if (artifact_get_part(s, data_key, a, i, &plain, e) || check_lock(s, &a->parts[i], e))
            return e->code;
        sha256_hex(plain.data, plain.len, hex);
        if (strcmp(hex, a->parts[i].plain_sha256) != 0)
            return err_set(e, ERR_CORRUPT, "%s: what is inside has another SHA-256 than the manifest says",
                           a->parts[i].key);
    }
    return OK;
}

/* ---- manifests ---- */

enum err_code artifact_commit(struct store *s, const struct signer *signer, struct artifact *a,
                              const struct store_lock *lock, struct err *e)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(MANIFEST_BYTES_MAX);
    CLEANUP(buf_done) struct buf envelope = BUF_INIT(2 * MANIFEST_BYTES_MAX);
    struct store_put_options options = { .lock = *lock, .content_type = "application/json" };
    struct store_info info;
    char key[STORE_KEY_BYTES];

    if (manifest_key(a, key, e) || artifact_to_text(a, &payload, e) ||
        dsse_sign(signer, ARTIFACT_PAYLOAD_TYPE, payload.data, payload.len, &envelope, e) ||
        store_put(s, key, envelope.data, envelope.len, &options, &info, e))
        return err_wrap(e, "manifest of %s at step %" PRId64, artifact_kind_names[a->kind], a->step);
    memcpy(a->manifest_key, key, sizeof(key));
    memcpy(a->manifest_version, info.version, sizeof(info.version));
    return OK;
}

/* Whatever keeps a manifest from being one. */
static enum err_code no_manifest(const char *key, struct err *e)
{
    if (e->code == ERR_LIMIT || e->code == ERR_USAGE)
        e->code = ERR_CORRUPT;
    return err_wrap(e, "manifest %s", key);
}

/* A signed manifest that was copied to another place is not a manifest of that place. */
static enum err_code check_place(const struct artifact *a, const char *key, struct err *e)
{
    char expected[STORE_KEY_BYTES], part[STORE_KEY_BYTES];
    if (manifest_key(a, expected, e))
        return e->code;
    if (strcmp(expected, key) != 0)
        return err_set(e, ERR_CORRUPT, "it says that it belongs at %s", expected);
    for (size_t i = 0; i < a->part_count; i++)
        if (artifact_part_key(a, i, part, e) || strcmp(part, a->parts[i].key) != 0)
            return err_set(e, ERR_CORRUPT, "part %zu has another key than it must have", i);
    return OK;
}

enum err_code artifact_load(struct store *s, const char *key, const struct artifact_trust *trust,
                            struct artifact *out, struct err *e)
{
    CLEANUP(buf_done) struct buf envelope = BUF_INIT(2 * MANIFEST_BYTES_MAX);
    CLEANUP(buf_done) struct buf payload = BUF_INIT(MANIFEST_BYTES_MAX);
    CLEANUP(artifact_done) struct artifact a = { 0 };
    struct store_info info;

    if (store_get(s, key, NULL, 0, UINT64_MAX, &envelope, &info, e))
        return e->code == ERR_LIMIT ? no_manifest(key, e) : e->code;
    if (dsse_open(envelope.data, envelope.len, ARTIFACT_PAYLOAD_TYPE, trust->public_key, trust->count,
                  &payload, e) ||
        artifact_from_text(payload.data, payload.len, &a, e) || check_place(&a, key, e))
        return no_manifest(key, e);
    if (text_copy(a.manifest_key, sizeof(a.manifest_key), key, "manifest key", e))
        return e->code;
    memcpy(a.manifest_version, info.version, sizeof(info.version));
    *out = a;
    a = (struct artifact){ 0 };
    return OK;
}

struct key_list {
    char (*keys)[STORE_KEY_BYTES];
    size_t count, size;
};

static enum err_code add_manifest(void *context, const struct store_info *info, struct err *e)
{
    struct key_list *list = context;
    if (!text_ends(info->key, ".json"))
        return OK;
    if (list->count == STORE_LIST_MAX)
        return err_set(e, ERR_LIMIT, "more than %d manifests", STORE_LIST_MAX);
    if (list->count == list->size) {
        list->size = MAX(list->size * 2, (size_t)16);
        list->keys = mem_grow(list->keys, list->size, sizeof(*list->keys));
    }
    memcpy(list->keys[list->count++], info->key, STORE_KEY_BYTES);
    return OK;
}

static enum err_code kind_prefix(const char *prefix, const char *job, enum artifact_kind kind,
                                 char out[STORE_KEY_BYTES], struct err *e)
{
    return check_key_length(snprintf(out, STORE_KEY_BYTES, "%s%s%s/%s/", prefix, slash_after(prefix), job,
                                     artifact_kind_names[kind]),
                            e);
}

enum err_code artifact_list(struct store *s, const char *prefix, const char *job, enum artifact_kind kind,
                            size_t max, char (**out_keys)[STORE_KEY_BYTES], size_t *out_count, struct err *e)
{
    struct key_list list = { 0 };
    char under[STORE_KEY_BYTES];

    if (kind_prefix(prefix, job, kind, under, e))
        return e->code;
    if (store_list(s, under, NULL, add_manifest, &list, e)) {
        free(list.keys);
        return err_wrap(e, "%ss of job %s", artifact_kind_names[kind], job);
    }
    /* Names sort by step, attempt, token: the list is oldest first. */
    for (size_t i = 0; i < list.count / 2; i++) {
        char swap[STORE_KEY_BYTES];
        memcpy(swap, list.keys[i], sizeof(swap));
        memcpy(list.keys[i], list.keys[list.count - 1 - i], sizeof(swap));
        memcpy(list.keys[list.count - 1 - i], swap, sizeof(swap));
    }
    *out_keys = list.keys;
    *out_count = MIN(list.count, max);
    return OK;
}

/* ---- what nobody names ---- */

struct orphan {
    char key[STORE_KEY_BYTES], version[STORE_VERSION_BYTES];
};
struct sweep {
    size_t under;                       /* bytes of the prefix */
    char token[ARTIFACT_NAME_BYTES];    /* of the sweeping attempt, as it stands in names */
    char manifest[ARTIFACT_NAME_BYTES]; /* STEP-ATTEMPT-TOKEN of the last that was listed */
    struct orphan *orphans;
    size_t count, max;
};

/* STEP-ATTEMPT-TOKEN/part...: is that token smaller than ours? Both are padded with zeros; longer is larger.
 */
static bool is_older(const struct sweep *w, const char *name, size_t n)
{
    const char *dash = memrchr(name, '-', n);
    size_t digits = dash ? (size_t)(name + n - dash) - 1 : 0, own = strlen(w->token);

    if (digits == 0 || strspn(dash + 1, "0123456789") != digits)
        return false;
    return digits != own ? digits < own : strncmp(dash + 1, w->token, digits) < 0;
}

/* In byte order a manifest (NAME.json) comes before its parts (NAME/part...). */
static enum err_code find_orphan(void *context, const struct store_info *info, struct err *e)
{
    struct sweep *w = context;
    const char *name = info->key + w->under;
    size_t n = strcspn(name, "/");

    (void)e;
    if (!name[n]) { /* a manifest, or a note about its key (rewrap.h) between it and its parts */
        if (text_ends(name, ".json") && n - strlen(".json") < sizeof(w->manifest))
            snprintf(w->manifest, sizeof(w->manifest), "%.*s", (int)(n - strlen(".json")), name);
        return OK;
    }
    if (strlen(w->manifest) == n && strncmp(w->manifest, name, n) == 0)
        return OK;
    if (w->count == w->max || info->is_delete_marker || !is_older(w, name, n))
        return OK;
    struct orphan *o = &w->orphans[w->count++];
    memcpy(o->key, info->key, sizeof(o->key));
    memcpy(o->version, info->version, sizeof(o->version));
    return OK;
}

enum err_code artifact_sweep(struct store *s, const char *prefix, const char *job, enum artifact_kind kind,
                             int64_t token, size_t max, size_t *out_removed, struct err *e)
{
    char under[STORE_KEY_BYTES];
    CLEANUP(freep) struct orphan *orphans = mem_array(max, sizeof(*orphans));
    struct sweep w = { .orphans = orphans, .max = max };
    struct err locked = ERR_INIT;
    size_t removed = 0;

    if (kind_prefix(prefix, job, kind, under, e))
        return e->code;
    w.under = strlen(under);
    snprintf(w.token, sizeof(w.token), "%013" PRId64, token);
    if (store_list_versions(s, under, find_orphan, &w, e))
        return err_wrap(e, "parts of %ss of job %s", artifact_kind_names[kind], job);
    for (size_t i = 0; i < w.count; i++)
        removed += store_delete(s, orphans[i].key, orphans[i].version, &locked) == OK;
    *out_removed = removed;
    return OK;
}

/* ---- the data key ---- */

void artifact_key_context(const char *cluster, const char *region, const char *job, struct keys_context *out)
{
    *out = (struct keys_context){
        .pair = { { "cluster", cluster }, { "job", job }, { "region", region } },
        .count = 3,
    };
}
