#include "core/artifact/artifact_json.h"

#include "base/mem.h"

#include <inttypes.h>
#include <string.h>

static const char what[] = "artifact manifest";

static json_t *part_to_json(const struct artifact_part *p)
{
    return json_pack("{s:s,s:s,s:I,s:I,s:s,s:s,s:{s:s,s:I,s:b}}", "key", p->key, "version", p->version,
                     "plain_bytes", (json_int_t)p->plain_bytes, "sealed_bytes", (json_int_t)p->sealed_bytes,
                     "sha256", p->sha256, "plain_sha256", p->plain_sha256, "lock", "mode",
                     store_lock_names[p->lock.mode], "retain_until_ms", (json_int_t)p->lock.retain_until_ms,
                     "legal_hold", (int)p->lock.legal_hold);
}

enum err_code artifact_to_text(const struct artifact *a, struct buf *out, struct err *e)
{
    CLEANUP(json_donep) json_t *parts = json_array();
    for (size_t i = 0; i < a->part_count; i++)
        if (json_array_append_new(parts, part_to_json(&a->parts[i])))
            return err_set(e, ERR_USAGE, "%s: part %zu: a member is no UTF-8", what, i);
    CLEANUP(json_donep)
    json_t *doc =
        json_pack("{s:i,s:s,s:s,s:s,s:s,s:I,s:I,s:I,s:I,s:s,s:s,s:s,s:s,s:s,s:O,s:O}", "version",
                  ARTIFACT_VERSION, "kind", artifact_kind_names[a->kind], "cluster", a->cluster, "region",
                  a->region, "job", a->job, "step", (json_int_t)a->step, "attempt", (json_int_t)a->attempt,
                  "token", (json_int_t)a->token, "created_ms", (json_int_t)a->created_ms, "bucket", a->bucket,
                  "prefix", a->prefix, "wrapped_key", a->wrapped_key, "dataset", a->dataset_digest, "spec",
                  a->spec_digest, "parts", parts, "meta", a->meta);
    if (!doc)
        return err_set(e, ERR_USAGE, "%s: a member is no UTF-8", what);
    return json_canonical(doc, out, e);
}

static enum err_code name_index(const json_t *o, const char *member, const char *const *names, int *out,
                                struct err *e)
{
    const char *text;
    if (json_get_text(o, what, member, &text, e))
        return e->code;
    for (int i = 0; names[i]; i++)
        if (strcmp(names[i], text) == 0) {
            *out = i;
            return OK;
        }
    return err_set(e, ERR_CORRUPT, "%s: '%s' cannot be '%s'", what, member, text);
}

static enum err_code natural(const json_t *o, const char *member, int64_t *out, struct err *e)
{
    if (json_get_i64(o, what, member, out, e))
        return e->code;
    if (*out < 0)
        return err_set(e, ERR_CORRUPT, "%s: '%s' is negative", what, member);
    return OK;
}

static enum err_code hash_text(const json_t *o, const char *member, char out[SHA256_HEX_BYTES], struct err *e)
{
    if (json_copy_text(o, what, member, out, SHA256_HEX_BYTES, e))
        return e->code;
    if (strlen(out) != SHA256_HEX_BYTES - 1 || strspn(out, "0123456789abcdef") != SHA256_HEX_BYTES - 1)
        return err_set(e, ERR_CORRUPT, "%s: '%s' is no SHA-256", what, member);
    return OK;
}

static enum err_code part_from_json(const json_t *o, struct artifact_part *p, struct err *e)
{
    int64_t plain, sealed;
    int mode = 0;
    json_t *lock;

    if (!json_is_object(o))
        return err_set(e, ERR_CORRUPT, "%s: a part is no object", what);
    if (json_copy_text(o, what, "key", p->key, sizeof(p->key), e) ||
        json_copy_text(o, what, "version", p->version, sizeof(p->version), e) ||
        natural(o, "plain_bytes", &plain, e) || natural(o, "sealed_bytes", &sealed, e) ||
        hash_text(o, "sha256", p->sha256, e) || hash_text(o, "plain_sha256", p->plain_sha256, e) ||
        json_get_object(o, what, "lock", &lock, e) || name_index(lock, "mode", store_lock_names, &mode, e) ||
        natural(lock, "retain_until_ms", &p->lock.retain_until_ms, e) ||
        json_get_bool(lock, what, "legal_hold", &p->lock.legal_hold, e))
        return e->code;
    p->lock.mode = (enum store_lock_mode)mode;
    p->plain_bytes = (uint64_t)plain;
    p->sealed_bytes = (uint64_t)sealed;
    return OK;
}

static enum err_code parts_from_json(const json_t *doc, struct artifact *a, struct err *e)
{
    json_t *parts;
    if (json_get_array(doc, what, "parts", &parts, e))
        return e->code;
    if (json_array_size(parts) == 0 || json_array_size(parts) > ARTIFACT_PARTS_MAX)
        return err_set(e, ERR_CORRUPT, "%s: %zu parts; 1 to %d can be", what, json_array_size(parts),
                       ARTIFACT_PARTS_MAX);
    a->part_count = json_array_size(parts);
    a->parts = mem_array(a->part_count, sizeof(*a->parts));
    for (size_t i = 0; i < a->part_count; i++)
        if (part_from_json(json_array_get(parts, i), &a->parts[i], e))
            return err_wrap(e, "part %zu", i);
    return OK;
}

static enum err_code head_from_json(const json_t *doc, struct artifact *a, struct err *e)
{
    int64_t version;
    int kind = 0;

    if (json_get_i64(doc, what, "version", &version, e))
        return e->code;
    if (version != ARTIFACT_VERSION)
        return err_set(e, ERR_CORRUPT, "%s: version %" PRId64 " is not one that we read", what, version);
    if (name_index(doc, "kind", artifact_kind_names, &kind, e))
        return e->code;
    a->kind = (enum artifact_kind)kind;
    if (json_copy_text(doc, what, "cluster", a->cluster, sizeof(a->cluster), e) ||
        json_copy_text(doc, what, "region", a->region, sizeof(a->region), e) ||
        json_copy_text(doc, what, "job", a->job, sizeof(a->job), e) || natural(doc, "step", &a->step, e) ||
        natural(doc, "attempt", &a->attempt, e) || natural(doc, "token", &a->token, e) ||
        natural(doc, "created_ms", &a->created_ms, e) ||
        json_copy_text(doc, what, "bucket", a->bucket, sizeof(a->bucket), e) ||
        json_copy_text(doc, what, "prefix", a->prefix, sizeof(a->prefix), e) ||
        json_copy_text(doc, what, "wrapped_key", a->wrapped_key, sizeof(a->wrapped_key), e) ||
        hash_text(doc, "dataset", a->dataset_digest, e) || hash_text(doc, "spec", a->spec_digest, e))
        return e->code;
    return OK;
}

enum err_code artifact_from_text(const void *text, size_t n, struct artifact *out, struct err *e)
{
    CLEANUP(json_donep) json_t *doc = NULL;
    CLEANUP(artifact_done) struct artifact a = { 0 };
    json_t *meta;

    if (json_parse(text, n, what, &doc, e))
        return e->code;
    if (!json_is_object(doc))
        return err_set(e, ERR_CORRUPT, "%s: is no object", what);
    if (head_from_json(doc, &a, e) || parts_from_json(doc, &a, e) ||
        json_get_object(doc, what, "meta", &meta, e))
        return e->code;
    a.meta = json_incref(meta);
    *out = a;
    a = (struct artifact){ 0 };
    return OK;
}
