#include "core/store/store.h"

#include "base/text.h"
#include "core/store/store_check.h"
#include "core/store/store_ops.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char *const store_kind_names[] = { "dir", "s3", "mem", NULL };
const char *const store_payload_names[] = { "auto", "hash", "chunks", "unsigned", NULL };
const char *const store_sse_names[] = { "none", "s3", "kms", NULL };

/* ---- credentials ---- */

void store_session_done(struct store_session *s)
{
    secret_free(s->access_key);
    secret_free(s->secret_key);
    secret_free(s->session_token);
    *s = (struct store_session){ .access_key = NULL };
}

static bool same_secret(const struct secret *a, const struct secret *b)
{
    return a && b ? secret_equal(a, b) : a == b;
}

bool store_session_equal(const struct store_session *a, const struct store_session *b)
{
    return same_secret(a->access_key, b->access_key) && same_secret(a->secret_key, b->secret_key) &&
           same_secret(a->session_token, b->session_token) && a->expires_ms == b->expires_ms;
}

void store_session_move(struct store_session *from, struct store_session *out)
{
    *out = *from;
    *from = (struct store_session){ .access_key = NULL };
}

static struct secret *copy_or_null(const struct secret *s)
{
    return s ? secret_copy(s) : NULL;
}

void store_session_copy(const struct store_session *from, struct store_session *out)
{
    *out = (struct store_session){ copy_or_null(from->access_key), copy_or_null(from->secret_key),
                                   copy_or_null(from->session_token), from->expires_ms };
}

struct store_credentials store_lend(const struct store_session *s)
{
    return (struct store_credentials){ s->access_key, s->secret_key, s->session_token,
                                       s->expires_ms, NULL,          NULL };
}

/* ---- opening ---- */

static const struct store_backend *const backends[] = {
    [STORE_DIR] = &store_dir_backend,
    [STORE_S3] = &store_s3_backend,
    [STORE_MEM] = &store_mem_backend,
};

/* NULL, with the reason, where the place cannot be one. */
static const struct store_backend *backend_of(const struct store_place *place, struct err *e)
{
    if (place->kind < 0 || (size_t)place->kind >= ARRAY_LEN(backends)) {
        IGNORE(err_set(e, ERR_USAGE, "there is no store kind %d", place->kind));
        return NULL;
    }
    return store_check_bucket(place->bucket, e) ? NULL : backends[place->kind];
}

enum err_code store_open(const struct store_place *place, const struct store_credentials *credentials,
                         struct store **out, struct err *e)
{
    const struct store_backend *backend = backend_of(place, e);
    const struct store_retry_rule rule = {
        .tries = 6, .patience_ms = place->patience_ms, .base_ms = 100, .max_ms = 5000
    };
    struct store *bare = NULL;
    if (!backend || backend->open(place, credentials, &bare, e))
        return err_wrap(e, "open store '%s'", place->bucket);
    *out = store_retry_new(bare, &rule, &clock_real);
    return OK;
}

void store_on_wait(struct store *s, store_wait_fn *fn, void *context)
{
    for (; s; s = s->below) {
        s->on_wait = fn;
        s->on_wait_context = context;
    }
}

void store_until(struct store *s, int64_t mono_ms)
{
    for (; s; s = s->below)
        s->until_ms = mono_ms;
}

void store_close(struct store *s)
{
    if (s)
        s->ops->close(s);
}

enum err_code store_make_bucket(const struct store_place *place, const struct store_credentials *credentials,
                                bool object_lock, struct err *e)
{
    const struct store_backend *backend = backend_of(place, e);
    if (!backend || backend->make_bucket(place, credentials, object_lock, e))
        return err_wrap(e, "make bucket '%s'", place->bucket);
    return OK;
}

static enum err_code check_lock(const struct store_lock *lock, struct err *e)
{
    if (lock->mode < STORE_LOCK_NONE || lock->mode > STORE_LOCK_COMPLIANCE)
        return err_set(e, ERR_USAGE, "there is no lock mode %d", (int)lock->mode);
    if (lock->mode == STORE_LOCK_NONE && lock->retain_until_ms != 0)
        return err_set(e, ERR_USAGE, "an end of retention needs a lock mode");
    if (lock->mode != STORE_LOCK_NONE && lock->retain_until_ms <= clock_wall_ms()) {
        char until[CLOCK_TEXT_BYTES];
        return err_set(e, ERR_USAGE, "the retention would end in the past, at %s",
                       clock_format(lock->retain_until_ms, until));
    }
    return OK;
}

enum err_code store_put(struct store *s, const char *key, const void *data, size_t n,
                        const struct store_put_options *options, struct store_info *out, struct err *e)
{
    static const struct store_put_options none;
    struct store_info info = { .bytes = 0 };
    if (!options)
        options = &none;
    if (store_check_key(key, e) || check_lock(&options->lock, e))
        return err_wrap(e, "put into %s", s->name);
    if (n > STORE_OBJECT_BYTES_MAX)
        return err_set(e, ERR_LIMIT, "put %s/%s: %zu bytes are more than %" PRId64, s->name, key, n,
                       STORE_OBJECT_BYTES_MAX);
    if (s->ops->put(s, key, data, n, options, out ? &info : NULL, e))
        return err_wrap(e, "put %s/%s", s->name, key);
    if (out)
        *out = info;
    return OK;
}

static enum err_code check_object(const char *key, const char *version, struct err *e)
{
    if (store_check_key(key, e))
        return e->code;
    return version ? store_check_version(version, e) : OK;
}

enum err_code store_get(struct store *s, const char *key, const char *version, uint64_t offset,
                        uint64_t length, struct buf *body, struct store_info *out, struct err *e)
{
    struct store_info info = { .bytes = 0 };
    size_t before = body->len;
    if (check_object(key, version, e))
        return err_wrap(e, "get from %s", s->name);
    if (s->ops->get(s, key, version, offset, length, body, &info, e)) {
        body->len = before;
        if (body->data)
            body->data[before] = '\0';
        return err_wrap(e, "get %s/%s", s->name, key);
    }
    if (out)
        *out = info;
    return OK;
}

enum err_code store_get_each(struct store *s, const struct store_read *reads, size_t count,
                             store_read_fn *each, void *context, struct err *e)
{
    for (size_t i = 0; i < count; i++) {
        CLEANUP(buf_done) struct buf body = BUF_INIT(reads[i].length);
        struct store_info info = { .bytes = 0 };
        if (s->ops->get(s, reads[i].key, reads[i].version, reads[i].offset, reads[i].length, &body, &info, e))
            return err_wrap(e, "%s", reads[i].key);
        if (each(context, i, &body, e))
            return e->code;
    }
    return OK;
}

enum err_code store_get_many(struct store *s, const struct store_read *reads, size_t count,
                             store_read_fn *each, void *context, struct err *e)
{
    for (size_t i = 0; i < count; i++) {
        if (check_object(reads[i].key, reads[i].version, e))
            return err_wrap(e, "get from %s", s->name);
        if (reads[i].length > STORE_OBJECT_BYTES_MAX)
            return err_set(e, ERR_LIMIT, "get %s/%s: %" PRIu64 " bytes are more than %" PRId64, s->name,
                           reads[i].key, reads[i].length, STORE_OBJECT_BYTES_MAX);
    }
    enum err_code code = s->ops->get_many(s, reads, count, each, context, e);
    return code && code != ERR_CANCELED ? err_wrap(e, "get from %s", s->name) : code;
}

enum err_code store_head(struct store *s, const char *key, const char *version, struct store_info *out,
                         struct err *e)
{
    struct store_info info = { .bytes = 0 };
    if (check_object(key, version, e))
        return err_wrap(e, "head in %s", s->name);
    if (s->ops->head(s, key, version, &info, e))
        return err_wrap(e, "head %s/%s", s->name, key);
    *out = info;
    return OK;
}

/* Tells the caller's failures, which pass as they are, from the store's, which get context. */
struct listing {
    store_each_fn *each;
    void *context;
    int64_t count;
    bool ended_by_caller;
};

static enum err_code listed(void *context, const struct store_info *info, struct err *e)
{
    struct listing *l = context;
    if (l->count++ == STORE_LIST_MAX)
        return err_set(e, ERR_LIMIT, "more than %d entries", STORE_LIST_MAX);
    enum err_code code = l->each(l->context, info, e);
    l->ended_by_caller = code != OK;
    return code;
}

enum err_code store_list(struct store *s, const char *prefix, const char *after, store_each_fn *each,
                         void *context, struct err *e)
{
    struct listing l = { .each = each, .context = context };
    if (store_check_prefix(prefix, e) || (after && store_check_prefix(after, e)))
        return err_wrap(e, "list %s", s->name);
    enum err_code code = s->ops->list(s, prefix, after ? after : "", listed, &l, e);
    if (code && !l.ended_by_caller)
        return err_wrap(e, "list %s/%s", s->name, prefix);
    return code;
}

enum err_code store_list_versions(struct store *s, const char *prefix, store_each_fn *each, void *context,
                                  struct err *e)
{
    struct listing l = { .each = each, .context = context };
    if (store_check_prefix(prefix, e))
        return err_wrap(e, "list versions in %s", s->name);
    enum err_code code = s->ops->list_versions(s, prefix, "", "", listed, &l, e);
    if (code && !l.ended_by_caller)
        return err_wrap(e, "list versions of %s/%s", s->name, prefix);
    return code;
}

enum err_code store_delete(struct store *s, const char *key, const char *version, struct err *e)
{
    if (check_object(key, version, e))
        return err_wrap(e, "delete from %s", s->name);
    if (s->ops->remove(s, key, version, e))
        return err_wrap(e, "delete %s/%s%s%s", s->name, key, version ? " version " : "",
                        version ? version : "");
    return OK;
}

enum err_code store_no_uploads(struct store *s, const char *prefix, int64_t before_ms, size_t *out_aborted,
                               struct err *e)
{
    (void)s, (void)prefix, (void)before_ms, (void)e;
    *out_aborted = 0;
    return OK;
}

enum err_code store_abort_uploads(struct store *s, const char *prefix, int64_t before_ms, size_t *out_aborted,
                                  struct err *e)
{
    size_t aborted = 0;
    if (store_check_prefix(prefix, e) || s->ops->abort_uploads(s, prefix, before_ms, &aborted, e))
        return err_wrap(e, "give up uploads below %s/%s", s->name, prefix);
    *out_aborted = aborted;
    return OK;
}

enum err_code store_set_lock(struct store *s, const char *key, const char *version,
                             const struct store_lock *lock, struct err *e)
{
    if (check_object(key, version, e) || check_lock(lock, e))
        return err_wrap(e, "lock in %s", s->name);
    if (s->ops->set_lock(s, key, version, lock, e))
        return err_wrap(e, "lock %s/%s", s->name, key);
    return OK;
}

enum err_code store_facts(struct store *s, struct store_facts *out, struct err *e)
{
    struct store_facts facts = { .versioned = false };
    if (s->ops->facts(s, &facts, e))
        return err_wrap(e, "read back the settings of %s", s->name);
    *out = facts;
    return OK;
}

enum err_code store_uri_parse(const char *uri, char out_bucket[STORE_BUCKET_BYTES],
                              char out_key[STORE_KEY_BYTES], struct err *e)
{
    static const char scheme[] = "s3://";
    char bucket[STORE_BUCKET_BYTES] = "", key[STORE_KEY_BYTES] = "";
    if (!text_starts(uri, scheme))
        return err_set(e, ERR_USAGE, "'%.200s' is no object URI: s3://BUCKET/KEY is one", uri);
    const char *rest = uri + strlen(scheme);
    size_t n = strcspn(rest, "/");
    if (n >= sizeof(bucket))
        return err_set(e, ERR_USAGE, "'%.200s': the bucket's name is too long", uri);
    snprintf(bucket, sizeof(bucket), "%.*s", (int)n, rest);
    rest += n + (rest[n] == '/');
    size_t key_n = strlen(rest);
    if (key_n > 1 && rest[key_n - 1] == '/')
        key_n--;
    if (key_n >= sizeof(key))
        return err_set(e, ERR_USAGE, "'%.200s...': the key is longer than %d bytes", uri,
                       STORE_KEY_BYTES - 1);
    snprintf(key, sizeof(key), "%.*s", (int)key_n, rest);
    if (store_check_bucket(bucket, e) || (key_n && store_check_key(key, e)))
        return err_wrap(e, "object URI '%.200s'", uri);
    memcpy(out_bucket, bucket, sizeof(bucket));
    memcpy(out_key, key, sizeof(key));
    return OK;
}
