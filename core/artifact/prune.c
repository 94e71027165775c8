/*
 * Keeping few: which artifacts go, and which versions of those that stay.
 *
 * One listing of all versions tells both. In byte order a manifest (NAME.json) comes before its notes
 * (NAME.rewrapped-N) and its parts (NAME/part-N.sealed), and of one key the newest version comes first.
 */
#include "core/artifact/artifact.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "core/artifact/rewrap.h"

#include <stdio.h>
#include <string.h>

enum { PRUNED_MAX = 64, VERSIONS_MAX = 4 * ARTIFACT_PARTS_MAX };

struct version {
    char key[STORE_KEY_BYTES], version[STORE_VERSION_BYTES];
};
struct versions {
    struct version *list;
    size_t count, size;
};

static void versions_done(struct versions *v)
{
    free(v->list);
}

/* What does not fit is left for another time. */
static void versions_add(struct versions *v, const char *key, const char *version)
{
    if (v->count == VERSIONS_MAX)
        return;
    if (v->count == v->size) {
        v->size = MAX(v->size * 2, (size_t)16);
        v->list = mem_grow(v->list, v->size, sizeof(*v->list));
    }
    struct version *added = &v->list[v->count++];
    snprintf(added->key, sizeof(added->key), "%s", key);
    snprintf(added->version, sizeof(added->version), "%s", version);
}

/* ---- looking ---- */

/* All artifacts of a job and kind. */
struct folder {
    char under[STORE_KEY_BYTES];
    char (*names)[ARTIFACT_NAME_BYTES]; /* STEP-ATTEMPT-TOKEN of each manifest, oldest first */
    size_t count, size;
    struct version last; /* of the parts listed so far; key "": none */
    bool last_is_twin;
    struct versions twins; /* of parts that have several, all of them */
};

static void folder_done(struct folder *f)
{
    free(f->names);
    versions_done(&f->twins);
}

static void add_name(struct folder *f, const char *name, size_t n)
{
    if (n >= ARTIFACT_NAME_BYTES || f->count == STORE_LIST_MAX)
        return;
    if (f->count == f->size) {
        f->size = MAX(f->size * 2, (size_t)16);
        f->names = mem_grow(f->names, f->size, sizeof(*f->names));
    }
    snprintf(f->names[f->count++], ARTIFACT_NAME_BYTES, "%.*s", (int)n, name);
}

static void look_at_part(struct folder *f, const struct store_info *info)
{
    bool again = strcmp(f->last.key, info->key) == 0;
    if (again && !f->last_is_twin)
        versions_add(&f->twins, f->last.key, f->last.version);
    if (again)
        versions_add(&f->twins, info->key, info->version);
    f->last_is_twin = again;
    memcpy(f->last.key, info->key, sizeof(f->last.key));
    memcpy(f->last.version, info->version, sizeof(f->last.version));
}

static enum err_code look_at(void *context, const struct store_info *info, struct err *e)
{
    struct folder *f = context;
    const char *name = info->key + strlen(f->under);
    (void)e;
    if (info->is_delete_marker)
        return OK;
    if (strchr(name, '/'))
        look_at_part(f, info);
    else if (info->is_latest && artifact_is_manifest_key(info->key))
        add_name(f, name, strlen(name) - strlen(".json"));
    return OK;
}

/* Its manifest: verified, or it is none of ours. */
static enum err_code load(struct store *s, const struct folder *f, const char *name,
                          const struct artifact_trust *trust, struct artifact *out, struct err *e)
{
    char key[STORE_KEY_BYTES];
    int n = snprintf(key, sizeof(key), "%s%s.json", f->under, name);
    if (n < 0 || (size_t)n >= sizeof(key))
        return err_set(e, ERR_LIMIT, "the artifact's key is too long");
    return artifact_load(s, key, trust, out, e);
}

/* ---- what goes ---- */

struct own {
    size_t stem; /* bytes of its keys up to STEP-ATTEMPT-TOKEN */
    struct versions versions;
};

static void own_done(struct own *o)
{
    versions_done(&o->versions);
}

static bool is_manifest(const struct own *o, const char *key)
{
    return strcmp(key + o->stem, ".json") == 0;
}

static enum err_code add_own(void *context, const struct store_info *info, struct err *e)
{
    struct own *o = context;
    const char *rest = info->key + o->stem;
    (void)e;
    if (is_manifest(o, info->key) || text_starts(rest, ".rewrapped-") || text_starts(rest, "/part-"))
        versions_add(&o->versions, info->key, info->version);
    return OK;
}

static bool is_locked(const struct artifact *a, int64_t now_ms)
{
    for (size_t i = 0; i < a->part_count; i++)
        if (a->parts[i].lock.mode != STORE_LOCK_NONE && a->parts[i].lock.retain_until_ms > now_ms)
            return true;
    return false;
}

/* The manifest first, all its versions: without it the parts are nothing. What is locked stays as it is, and
 * may be tried again later. */
static void remove_whole(struct store *s, const struct folder *f, const char *name,
                         const struct artifact_trust *trust)
{
    CLEANUP(artifact_done) struct artifact a = { .parts = NULL };
    CLEANUP(own_done) struct own own = { .stem = strlen(f->under) + strlen(name) };
    struct err e = ERR_INIT;
    char stem[STORE_KEY_BYTES];

    if (load(s, f, name, trust, &a, &e) || is_locked(&a, clock_wall_ms()))
        return;
    snprintf(stem, sizeof(stem), "%.*s", (int)own.stem, a.manifest_key);
    if (store_list_versions(s, stem, add_own, &own, &e))
        return;
    for (size_t i = 0; i < own.versions.count; i++) {
        const struct version *v = &own.versions.list[i];
        if (store_delete(s, v->key, v->version, &e) && is_manifest(&own, v->key))
            return;
        err_clear(&e);
    }
}

/* ---- what is there twice ---- */

static const struct artifact_part *part_of(const struct artifact *a, const char *key)
{
    for (size_t i = 0; i < a->part_count; i++)
        if (strcmp(a->parts[i].key, key) == 0)
            return &a->parts[i];
    return NULL;
}

static bool is_there(const struct versions *v, const struct artifact_part *part)
{
    for (size_t i = 0; i < v->count; i++)
        if (strcmp(v->list[i].key, part->key) == 0 && strcmp(v->list[i].version, part->version) == 0)
            return true;
    return false;
}

/* Which of names[first .. last] the part at `key` belongs to; NULL: none of them. */
static const char *owner(const struct folder *f, size_t first, size_t last, const char *key)
{
    const char *name = key + strlen(f->under);
    size_t n = strcspn(name, "/");
    for (size_t i = first; i <= last; i++)
        if (strlen(f->names[i]) == n && memcmp(f->names[i], name, n) == 0)
            return f->names[i];
    return NULL;
}

/* Never the version that the manifest names, and nothing while that one is not there: the other has its
 * bytes. */
static void remove_twins(struct store *s, const struct folder *f, size_t first, size_t last,
                         const struct artifact_trust *trust)
{
    CLEANUP(artifact_done) struct artifact a = { .parts = NULL };
    const char *loaded = NULL;

    for (size_t i = 0; i < f->twins.count; i++) {
        const struct version *v = &f->twins.list[i];
        const char *name = owner(f, first, last, v->key);
        struct err e = ERR_INIT;
        if (!name)
            continue;
        if (name != loaded) {
            artifact_done(&a);
            IGNORE(load(s, f, name, trust, &a, &e)); /* where it does not verify it has no parts */
            loaded = name;
        }
        const struct artifact_part *part = part_of(&a, v->key);
        if (part && strcmp(part->version, v->version) != 0 && is_there(&f->twins, part))
            IGNORE(store_delete(s, v->key, v->version, &e));
    }
}

enum err_code artifact_prune(struct store *s, const char *saved_key, size_t keep,
                             const struct artifact_trust *trust, struct err *e)
{
    CLEANUP(folder_done) struct folder f = { .count = 0 };
    const char *slash = strrchr(saved_key, '/');
    size_t saved = 0;

    invariant(slash && keep > 0 && artifact_is_manifest_key(saved_key));
    snprintf(f.under, sizeof(f.under), "%.*s", (int)(slash + 1 - saved_key), saved_key);
    if (store_list_versions(s, f.under, look_at, &f, e))
        return err_wrap(e, "what is older than %s", saved_key);
    size_t n = strlen(slash + 1) - strlen(".json");
    while (saved < f.count && (strlen(f.names[saved]) != n || memcmp(f.names[saved], slash + 1, n) != 0))
        saved++;
    if (saved == f.count) /* somebody removed it already */
        return OK;
    size_t first = saved + 1 - MIN(keep, saved + 1);
    for (size_t i = 0; i < MIN(first, (size_t)PRUNED_MAX); i++)
        remove_whole(s, &f, f.names[i], trust);
    remove_twins(s, &f, first, saved, trust);
    return OK;
}
