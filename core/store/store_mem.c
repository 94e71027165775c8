/* A bucket in memory, for tests and simulations. Each store_open() makes one of its own, empty and lockable.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "core/store/store_ops.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct mem_version {
    struct mem_version *older;
    struct store_info info;
    uint8_t *data;
};

struct mem_key {
    char *key;
    struct mem_version *newest; /* never NULL */
};

struct store_mem {
    struct store base;
    struct mem_key *keys; /* in byte order */
    size_t count, room;
    uint64_t puts;
    char location[64];
};

/* The index of the first key that is not less. */
static size_t lower_bound(const struct store_mem *m, const char *key)
{
    size_t low = 0, high = m->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(m->keys[middle].key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct mem_key *find_key(const struct store_mem *m, const char *key)
{
    size_t i = lower_bound(m, key);
    return i < m->count && strcmp(m->keys[i].key, key) == 0 ? &m->keys[i] : NULL;
}

static struct mem_key *add_key(struct store_mem *m, const char *key)
{
    size_t i = lower_bound(m, key);
    if (m->count == m->room) {
        m->room = MAX(m->room * 2, (size_t)16);
        m->keys = mem_grow(m->keys, m->room, sizeof(m->keys[0]));
    }
    memmove(&m->keys[i + 1], &m->keys[i], (m->count - i) * sizeof(m->keys[0]));
    m->count++;
    m->keys[i] = (struct mem_key){ .key = mem_text(key) };
    return &m->keys[i];
}

static void remove_key(struct store_mem *m, struct mem_key *k)
{
    size_t i = (size_t)(k - m->keys);
    free(k->key);
    m->count--;
    memmove(&m->keys[i], &m->keys[i + 1], (m->count - i) * sizeof(m->keys[0]));
}

static struct mem_version *push_version(struct store_mem *m, const char *key, const void *data, size_t n)
{
    struct mem_key *k = find_key(m, key);
    if (!k)
        k = add_key(m, key);
    struct mem_version *v = mem_new(sizeof(*v));
    v->data = mem_new(n);
    if (n)
        memcpy(v->data, data, n);
    v->info.bytes = n;
    v->info.modified_ms = clock_wall_ms();
    snprintf(v->info.key, sizeof(v->info.key), "%s", key);
    snprintf(v->info.version, sizeof(v->info.version), "v%016" PRIx64, ++m->puts);
    v->older = k->newest;
    k->newest = v;
    return v;
}

/* version NULL: the newest, unless it is a delete marker. NULL where there is none. */
static struct mem_version *find_version(struct store *s, const char *key, const char *version, struct err *e)
{
    const struct mem_key *k = find_key((const struct store_mem *)s, key);
    struct mem_version *v = k ? k->newest : NULL;
    while (v && version && strcmp(v->info.version, version) != 0)
        v = v->older;
    if (v && !v->info.is_delete_marker)
        return v;
    IGNORE(err_set(e, ERR_NOT_FOUND, "%s",
                   v         ? "the object was deleted"
                   : version ? "there is no such version"
                             : "there is no such object"));
    return NULL;
}

static enum err_code mem_put(struct store *s, const char *key, const void *data, size_t n,
                             const struct store_put_options *options, struct store_info *out, struct err *e)
{
    (void)e;
    struct mem_version *v = push_version((struct store_mem *)s, key, data, n);
    v->info.lock = options->lock;
    if (out) {
        *out = v->info;
        out->is_latest = true;
    }
    return OK;
}

static enum err_code mem_head(struct store *s, const char *key, const char *version, struct store_info *out,
                              struct err *e)
{
    const struct mem_version *v = find_version(s, key, version, e);
    if (!v)
        return e->code;
    *out = v->info;
    out->is_latest = version == NULL;
    return OK;
}

static enum err_code mem_get(struct store *s, const char *key, const char *version, uint64_t offset,
                             uint64_t length, struct buf *body, struct store_info *out, struct err *e)
{
    const struct mem_version *v = find_version(s, key, version, e);
    if (!v)
        return e->code;
    if (offset < v->info.bytes) {
        uint64_t n = MIN(length, v->info.bytes - offset);
        if (n > body->max - body->len)
            return err_set(e, ERR_LIMIT, "%" PRIu64 " bytes do not fit into what is left of %zu", n,
                           body->max);
        buf_add(body, v->data + offset, n);
    }
    *out = v->info;
    out->is_latest = version == NULL;
    return OK;
}

/* What `each` is shown: a copy, for it may delete what it is shown. */
static struct store_info listed_info(const struct mem_version *v, bool latest)
{
    struct store_info info = v->info;
    info.lock = (struct store_lock){ .mode = STORE_LOCK_NONE };
    info.is_latest = latest;
    return info;
}

static bool starts(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* By key and not by index from one to the next: `each` may change the store. */
static enum err_code mem_list(struct store *s, const char *prefix, const char *after, store_each_fn *each,
                              void *context, struct err *e)
{
    const struct store_mem *m = (const struct store_mem *)s;
    struct store_info info = { .bytes = 0 };
    size_t i = lower_bound(m, strcmp(prefix, after) > 0 ? prefix : after);
    while (i < m->count && starts(m->keys[i].key, prefix)) {
        snprintf(info.key, sizeof(info.key), "%s", m->keys[i].key);
        if (strcmp(info.key, after) != 0 && !m->keys[i].newest->info.is_delete_marker) {
            info = listed_info(m->keys[i].newest, true);
            info.version[0] = '\0';
            enum err_code code = each(context, &info, e);
            if (code)
                return code;
        }
        i = lower_bound(m, info.key);
        i += i < m->count && strcmp(m->keys[i].key, info.key) == 0;
    }
    return OK;
}

/* The newest version that is older than the one named ("": of all). Ids grow with time. */
static const struct mem_version *next_older(const struct mem_key *k, const char *version)
{
    const struct mem_version *v = k->newest;
    while (v && version[0] && strcmp(v->info.version, version) >= 0)
        v = v->older;
    return v;
}

static enum err_code mem_list_versions(struct store *s, const char *prefix, const char *after_key,
                                       const char *after_version, store_each_fn *each, void *context,
                                       struct err *e)
{
    const struct store_mem *m = (const struct store_mem *)s;
    char key[STORE_KEY_BYTES], version[STORE_VERSION_BYTES];
    snprintf(key, sizeof(key), "%s", strcmp(prefix, after_key) > 0 ? prefix : after_key);
    snprintf(version, sizeof(version), "%s", after_version);
    for (;;) {
        size_t i = lower_bound(m, key);
        if (i < m->count && strcmp(m->keys[i].key, key) != 0)
            version[0] = '\0';
        const struct mem_version *v = i < m->count ? next_older(&m->keys[i], version) : NULL;
        if (!v && ++i < m->count)
            v = m->keys[i].newest;
        if (!v || !starts(m->keys[i].key, prefix))
            return OK;
        struct store_info info = listed_info(v, v == m->keys[i].newest);
        memcpy(key, info.key, sizeof(key));
        memcpy(version, info.version, sizeof(version));
        enum err_code code = each(context, &info, e);
        if (code)
            return code;
    }
}

static enum err_code remove_version(struct store_mem *m, struct mem_key *k, const char *version,
                                    struct err *e)
{
    struct mem_version **link = &k->newest;
    while (*link && strcmp((*link)->info.version, version) != 0)
        link = &(*link)->older;
    struct mem_version *v = *link;
    if (!v)
        return OK;
    if (store_lock_active(&v->info.lock, clock_wall_ms())) {
        char until[CLOCK_TEXT_BYTES];
        return err_set(e, ERR_DENIED, "the version is locked: %s until %s%s",
                       store_lock_names[v->info.lock.mode], clock_format(v->info.lock.retain_until_ms, until),
                       v->info.lock.legal_hold ? ", legal hold" : "");
    }
    *link = v->older;
    free(v->data);
    free(v);
    if (!k->newest)
        remove_key(m, k);
    return OK;
}

static enum err_code mem_remove(struct store *s, const char *key, const char *version, struct err *e)
{
    struct store_mem *m = (struct store_mem *)s;
    struct mem_key *k = find_key(m, key);
    if (!k)
        return OK;
    if (version)
        return remove_version(m, k, version, e);
    if (!k->newest->info.is_delete_marker)
        push_version(m, key, NULL, 0)->info.is_delete_marker = true;
    return OK;
}

static enum err_code mem_set_lock(struct store *s, const char *key, const char *version,
                                  const struct store_lock *lock, struct err *e)
{
    struct mem_version *v = find_version(s, key, version, e);
    if (!v || store_lock_may_change(&v->info.lock, lock, clock_wall_ms(), e))
        return e->code;
    v->info.lock = *lock;
    return OK;
}

static enum err_code mem_facts(struct store *s, struct store_facts *out, struct err *e)
{
    (void)e;
    *out = (struct store_facts){ .versioned = true, .lockable = true };
    memcpy(out->location, ((const struct store_mem *)s)->location, sizeof(out->location));
    return OK;
}

static void mem_close(struct store *s)
{
    struct store_mem *m = (struct store_mem *)s;
    for (size_t i = 0; i < m->count; i++) {
        for (struct mem_version *v = m->keys[i].newest, *older; v; v = older) {
            older = v->older;
            free(v->data);
            free(v);
        }
        free(m->keys[i].key);
    }
    free(m->keys);
    free(m);
}

static const struct store_ops store_mem_ops = {
    .name = "mem",
    .put = mem_put,
    .get = mem_get,
    .get_many = store_get_each,
    .head = mem_head,
    .list = mem_list,
    .list_versions = mem_list_versions,
    .remove = mem_remove,
    .abort_uploads = store_no_uploads,
    .set_lock = mem_set_lock,
    .facts = mem_facts,
    .close = mem_close,
};

static enum err_code mem_open(const struct store_place *place, const struct store_credentials *credentials,
                              struct store **out, struct err *e)
{
    (void)credentials;
    (void)e;
    struct store_mem *m = mem_new(sizeof(*m));
    m->base.ops = &store_mem_ops;
    snprintf(m->base.name, sizeof(m->base.name), "mem:%s", place->bucket);
    memcpy(m->location, place->region, sizeof(m->location));
    *out = &m->base;
    return OK;
}

static enum err_code mem_make_bucket(const struct store_place *place,
                                     const struct store_credentials *credentials, bool object_lock,
                                     struct err *e)
{
    (void)place;
    (void)credentials;
    (void)object_lock;
    (void)e;
    return OK; /* every store_open() makes its own */
}

const struct store_backend store_mem_backend = { .open = mem_open, .make_bucket = mem_make_bucket };
