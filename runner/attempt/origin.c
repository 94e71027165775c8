#include "runner/attempt/origin.h"

#include "base/clock.h"
#include "core/artifact/rewrap.h"

#include <inttypes.h>
#include <string.h>

static enum err_code find_file(struct store *s, const char *key, struct attempt_from *out, struct err *e)
{
    struct store_info info;
    if (store_head(s, key, NULL, &info, e))
        return e->code;
    if (info.bytes > STORE_OBJECT_BYTES_MAX)
        return err_set(e, ERR_LIMIT, "it has %" PRIu64 " bytes; at most %" PRIu64 " are read", info.bytes,
                       (uint64_t)STORE_OBJECT_BYTES_MAX);
    memcpy(out->version, info.version, sizeof(out->version));
    return OK;
}

static enum err_code find_artifact(const struct cluster *c, struct store *s, struct keys *k, const char *key,
                                   struct attempt_from *out, struct err *e)
{
    CLEANUP(artifact_done) struct artifact a = { 0 };
    struct artifact_trust trust = { .count = 1 };
    if (cluster_public_key(c, trust.public_key[0], e) || artifact_load(s, key, &trust, &a, e))
        return e->code;
    if (artifact_unwrap(s, k, &trust, &a, &out->data_key, e))
        return err_wrap(e, "its data key");
    memcpy(out->version, a.manifest_version, sizeof(out->version));
    return OK;
}

/* Not with the ranks' patience: while the supervisor waits for a store it cannot renew the lease. */
static enum err_code find(const struct cluster *c, struct keys *k, const char *uri, struct attempt_from *out,
                          struct err *e)
{
    CLEANUP(store_closep) struct store *store = NULL;
    char bucket[STORE_BUCKET_BYTES], key[STORE_KEY_BYTES];
    if (store_uri_parse(uri, bucket, key, e) || cluster_open_store(c, bucket, &store, e))
        return e->code;
    store_until(store, clock_mono_ms() + c->timing.attempt_lease_ms / 4);
    return artifact_is_manifest_key(key) ? find_artifact(c, store, k, key, out, e)
                                         : find_file(store, key, out, e);
}

enum err_code origin_find(const struct cluster *c, struct keys *k, struct attempt_doc *d, struct err *e)
{
    const char *uri = d->spec.model.from;
    if (!uri[0] || find(c, k, uri, &d->from, e) == OK)
        return OK;
    bool lasts = e->code == ERR_NOT_FOUND || e->code == ERR_CORRUPT || e->code == ERR_LIMIT;
    if (lasts && d->earlier_count > 0) {
        err_clear(e);
        return OK;
    }
    if (lasts)
        e->code = ERR_USAGE;
    return err_wrap(e, "model.from: %s", uri);
}
