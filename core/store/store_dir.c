#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "core/store/dir_meta.h"
#include "core/store/dir_path.h"
#include "core/store/dir_versions.h"
#include "core/store/dir_walk.h"
#include "core/store/dir_write.h"
#include "core/store/store_ops.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct store_dir {
    struct store base;
    char *bucket_dir, *objects;
    struct dir_bucket bucket; /* as it was when the store was opened */
};

static char *bucket_file(const char *bucket_dir)
{
    return path_join(bucket_dir, "bucket.txt");
}

static enum err_code read_bucket(const char *bucket_dir, struct dir_bucket *out, struct err *e)
{
    CLEANUP(freep) char *path = bucket_file(bucket_dir);
    CLEANUP(buf_done) struct buf text = BUF_INIT(DIR_META_BYTES_MAX);
    if (file_read(path, &text, e))
        return e->code == ERR_NOT_FOUND ? err_set(e, ERR_NOT_FOUND, "there is no bucket at '%s'", bucket_dir)
                                        : e->code;
    if (dir_bucket_parse(buf_text(&text), out, e))
        return err_wrap(e, "'%s'", path);
    return OK;
}

/* A disk that is not mounted looks like an empty one: then nothing was found because the bucket itself is
 * away, and the next try may find it. `code` is what a call came to. */
static enum err_code unless_away(const struct store_dir *d, enum err_code code, struct err *e)
{
    CLEANUP(freep) char *path = bucket_file(d->bucket_dir);
    if ((code != OK && code != ERR_NOT_FOUND) || file_exists(path))
        return code;
    return err_set(e, ERR_RETRY, "the bucket's folder '%s' is away; is its disk mounted?", d->bucket_dir);
}

/* The folder of a key's versions. The caller frees. */
static enum err_code versions_folder(const struct store_dir *d, const char *key, char **out, struct err *e)
{
    CLEANUP(buf_done) struct buf path = BUF_INIT(DIR_PATH_BYTES_MAX - DIR_VERSION_BYTES - 8);
    buf_addf(&path, "%s/", d->objects);
    dir_encode_key(key, &path);
    buf_add_text(&path, "/" DIR_VERSIONS);
    if (path.full)
        return err_set(e, ERR_USAGE, "the key is too long for a path below '%s'", d->objects);
    *out = mem_text(buf_text(&path));
    return OK;
}

static void fill_info(const char *key, const char *version, uint64_t bytes, struct store_info *out)
{
    *out = (struct store_info){ .bytes = bytes, .modified_ms = dir_version_ms(version) };
    snprintf(out->key, sizeof(out->key), "%s", key);
    snprintf(out->version, sizeof(out->version), "%s", version);
}

/* ---- put ---- */

static enum err_code newest_id(const char *folder, char out[DIR_VERSION_BYTES], struct err *e)
{
    struct dir_version newest = { .id = "" };
    if (dir_versions_newest(folder, &newest, e)) {
        if (e->code != ERR_NOT_FOUND)
            return e->code;
        err_clear(e);
    }
    memcpy(out, newest.id, sizeof(newest.id));
    return OK;
}

/* The lock's file first: a version that is to be locked is never seen without. */
static enum err_code place_lock(const struct store_dir *d, const char *path, const struct store_lock *lock,
                                struct err *e)
{
    CLEANUP(dir_temp_done) struct dir_temp t = DIR_TEMP_INIT;
    CLEANUP(buf_done) struct buf text = BUF_INIT(DIR_META_BYTES_MAX);
    dir_lock_format(lock, &text);
    if (dir_temp_write(d->bucket_dir, path, text.data, text.len, &t, e) || dir_temp_move(&t, path, e))
        return e->code;
    return dir_sync_up(path, d->objects, e);
}

static enum err_code place_version(const struct store_dir *d, const char *folder, const char *version,
                                   const void *data, size_t n, const struct store_lock *lock, struct err *e)
{
    CLEANUP(dir_temp_done) struct dir_temp t = DIR_TEMP_INIT;
    CLEANUP(freep) char *path = dir_data_path(folder, version);
    CLEANUP(freep) char *lock_path = dir_lock_path(folder, version);
    bool locked = lock->mode != STORE_LOCK_NONE || lock->legal_hold;
    if (dir_temp_write(d->bucket_dir, path, data, n, &t, e))
        return e->code;
    if (locked && place_lock(d, lock_path, lock, e))
        return e->code;
    if (dir_temp_move(&t, path, e)) {
        if (locked)
            unlink(lock_path);
        return e->code;
    }
    return dir_sync_up(path, d->objects, e);
}

static enum err_code put(const struct store_dir *d, const char *key, const void *data, size_t n,
                         const struct store_put_options *options, struct store_info *out, struct err *e)
{
    CLEANUP(freep) char *folder = NULL;
    char before[DIR_VERSION_BYTES], version[DIR_VERSION_BYTES];
    struct store_lock got;
    struct store_lock lock = store_lock_for_put(&options->lock, &d->bucket.default_lock, clock_wall_ms());
    if (!d->bucket.lockable && (lock.mode != STORE_LOCK_NONE || lock.legal_hold))
        return err_set(e, ERR_DENIED, "the bucket was made without object lock, so it cannot keep one");
    if (versions_folder(d, key, &folder, e) || newest_id(folder, before, e))
        return e->code;
    dir_version_new(before, version);
    if (place_version(d, folder, version, data, n, &lock, e) || dir_lock_read(folder, version, &got, e))
        return e->code;
    if (store_lock_was_kept(&lock, &got, e))
        return e->code;
    if (out) {
        fill_info(key, version, n, out);
        out->lock = got;
        out->is_latest = true;
    }
    return OK;
}

static enum err_code dir_put(struct store *s, const char *key, const void *data, size_t n,
                             const struct store_put_options *options, struct store_info *out, struct err *e)
{
    const struct store_dir *d = (const struct store_dir *)s;
    enum err_code code = put(d, key, data, n, options, out, e);
    return code ? unless_away(d, code, e) : OK;
}

/* ---- head and get ---- */

/* An open file of one version: it stays readable when the version is deleted meanwhile. */
struct opened {
    int fd;
    uint64_t bytes;
    char version[DIR_VERSION_BYTES];
};
#define OPENED_INIT                                                                                          \
    {                                                                                                        \
        .fd = -1                                                                                             \
    }

static void opened_done(struct opened *o)
{
    if (o->fd >= 0)
        close(o->fd);
}

static enum err_code open_data(const char *folder, const char *version, struct opened *out, struct err *e)
{
    struct stat st;
    CLEANUP(freep) char *path = dir_data_path(folder, version);
    CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return err_set(e, ERR_NOT_FOUND, "there is no such version");
    if (fd < 0)
        return err_errno(e, "open '%s'", path);
    if (fstat(fd, &st) != 0)
        return err_errno(e, "stat '%s'", path);
    out->bytes = (uint64_t)st.st_size;
    out->fd = TAKE_FD(fd);
    snprintf(out->version, sizeof(out->version), "%s", version);
    return OK;
}

static enum err_code open_version(const char *folder, const char *version, struct opened *out, struct err *e)
{
    if (!dir_version_valid(version, strlen(version)))
        return err_set(e, ERR_NOT_FOUND, "there is no such version");
    return open_data(folder, version, out, e);
}

static enum err_code open_latest(const char *folder, struct opened *out, struct err *e)
{
    enum { TRIES = 100 }; /* the newest may be deleted between finding and opening it */
    struct dir_version newest;
    for (int i = 0; i < TRIES; i++) {
        if (dir_versions_newest(folder, &newest, e))
            return e->code;
        if (newest.gone)
            return err_set(e, ERR_NOT_FOUND, "the object was deleted");
        enum err_code code = open_data(folder, newest.id, out, e);
        if (code != ERR_NOT_FOUND)
            return code; /* not e->code: what `e` held before is not ours */
        err_clear(e);
    }
    return err_set(e, ERR_RETRY, "the newest version is deleted faster than it can be opened");
}

static enum err_code open_object(const struct store_dir *d, const char *key, const char *version,
                                 struct opened *out, struct store_info *info, struct err *e)
{
    CLEANUP(freep) char *folder = NULL;
    struct store_lock lock;
    if (versions_folder(d, key, &folder, e))
        return e->code;
    if (version ? open_version(folder, version, out, e) : open_latest(folder, out, e))
        return e->code;
    if (dir_lock_read(folder, out->version, &lock, e))
        return e->code;
    fill_info(key, out->version, out->bytes, info);
    info->lock = lock;
    info->is_latest = version == NULL;
    return OK;
}

static enum err_code dir_head(struct store *s, const char *key, const char *version, struct store_info *out,
                              struct err *e)
{
    const struct store_dir *d = (const struct store_dir *)s;
    CLEANUP(opened_done) struct opened file = OPENED_INIT;
    if (open_object(d, key, version, &file, out, e))
        return unless_away(d, e->code, e);
    return OK;
}

static enum err_code read_range(int fd, uint64_t offset, uint64_t length, struct buf *body, struct err *e)
{
    uint8_t *to = buf_reserve(body, length);
    if (!to)
        return err_set(e, ERR_LIMIT, "%" PRIu64 " bytes do not fit into what is left of %zu", length,
                       body->max);
    for (uint64_t done = 0; done < length;) {
        ssize_t n = pread(fd, to + done, length - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(e, "read");
        if (n == 0)
            return err_set(e, ERR_CORRUPT, "the file became shorter while it was read");
        done += (uint64_t)n;
    }
    buf_commit(body, length);
    return OK;
}

static enum err_code dir_get(struct store *s, const char *key, const char *version, uint64_t offset,
                             uint64_t length, struct buf *body, struct store_info *out, struct err *e)
{
    const struct store_dir *d = (const struct store_dir *)s;
    CLEANUP(opened_done) struct opened file = OPENED_INIT;
    if (open_object(d, key, version, &file, out, e))
        return unless_away(d, e->code, e);
    if (offset >= file.bytes || length == 0)
        return OK;
    return read_range(file.fd, offset, MIN(length, file.bytes - offset), body, e);
}

/* ---- lists ---- */

struct dir_listing {
    const char *after_key, *after_version;
    store_each_fn *each;
    void *context;
};

static enum err_code list_latest(void *context, const char *key, const char *folder, struct err *e)
{
    const struct dir_listing *l = context;
    CLEANUP(freep) char *versions = path_join(folder, DIR_VERSIONS);
    CLEANUP(opened_done) struct opened file = OPENED_INIT;
    struct store_info info;
    if (strcmp(key, l->after_key) == 0)
        return OK;
    if (open_latest(versions, &file, e)) {
        if (e->code != ERR_NOT_FOUND)
            return e->code;
        err_clear(e);
        return OK;
    }
    fill_info(key, file.version, file.bytes, &info);
    info.version[0] = '\0';
    info.is_latest = true;
    return l->each(l->context, &info, e);
}

/* False where it is gone since the folder was read. */
static bool version_info(const char *key, const char *versions, const struct dir_version *v,
                         struct store_info *out)
{
    CLEANUP(freep) char *path = v->gone ? dir_gone_path(versions, v->id) : dir_data_path(versions, v->id);
    struct stat st;
    if (stat(path, &st) != 0)
        return false;
    fill_info(key, v->id, v->gone ? 0 : (uint64_t)st.st_size, out);
    out->is_delete_marker = v->gone;
    return true;
}

static enum err_code list_all(void *context, const char *key, const char *folder, struct err *e)
{
    const struct dir_listing *l = context;
    CLEANUP(freep) char *versions = path_join(folder, DIR_VERSIONS);
    CLEANUP(dir_versions_done) struct dir_versions all = { .list = NULL };
    bool resumed = strcmp(key, l->after_key) == 0;
    if (dir_versions_read(versions, &all, e))
        return e->code;
    for (size_t i = 0; i < all.count; i++) {
        struct store_info info;
        if (resumed && strcmp(all.list[i].id, l->after_version) >= 0)
            continue;
        if (!version_info(key, versions, &all.list[i], &info))
            continue;
        info.is_latest = i == 0;
        enum err_code code = l->each(l->context, &info, e);
        if (code)
            return code;
    }
    return OK;
}

static enum err_code dir_list(struct store *s, const char *prefix, const char *after, store_each_fn *each,
                              void *context, struct err *e)
{
    const struct store_dir *d = (const struct store_dir *)s;
    struct dir_listing l = { .after_key = after, .after_version = "", .each = each, .context = context };
    return unless_away(d, dir_walk(d->objects, prefix, after, list_latest, &l, e), e);
}

static enum err_code dir_list_versions(struct store *s, const char *prefix, const char *after_key,
                                       const char *after_version, store_each_fn *each, void *context,
                                       struct err *e)
{
    const struct store_dir *d = (const struct store_dir *)s;
    struct dir_listing l = {
        .after_key = after_key, .after_version = after_version, .each = each, .context = context
    };
    return unless_away(d, dir_walk(d->objects, prefix, after_key, list_all, &l, e), e);
}

/* ---- delete and lock ---- */

static enum err_code add_marker(const struct store_dir *d, const char *folder, struct err *e)
{
    CLEANUP(dir_temp_done) struct dir_temp t = DIR_TEMP_INIT;
    struct dir_version newest;
    char version[DIR_VERSION_BYTES];
    if (dir_versions_newest(folder, &newest, e)) {
        if (e->code != ERR_NOT_FOUND)
            return e->code;
        err_clear(e);
        return OK; /* nothing to hide */
    }
    if (newest.gone)
        return OK;
    dir_version_new(newest.id, version);
    CLEANUP(freep) char *path = dir_gone_path(folder, version);
    if (dir_temp_write(d->bucket_dir, path, "", 0, &t, e) || dir_temp_move(&t, path, e))
        return e->code;
    return dir_sync_up(path, d->objects, e);
}

/* The data before its lock: there is no moment at which the one stands without the other. */
static enum err_code remove_version(const struct store_dir *d, const char *folder, const char *version,
                                    struct err *e)
{
    CLEANUP(fd_closep) int held = -1;
    CLEANUP(freep) char *data = dir_data_path(folder, version);
    CLEANUP(freep) char *gone = dir_gone_path(folder, version);
    CLEANUP(freep) char *lock_path = dir_lock_path(folder, version);
    struct store_lock lock;
    char until[CLOCK_TEXT_BYTES];
    if (dir_lock_bucket(d->bucket_dir, &held, e))
        return e->code;
    if (!file_exists(data) && !file_exists(gone))
        return OK;
    if (dir_lock_read(folder, version, &lock, e))
        return e->code;
    if (store_lock_active(&lock, clock_wall_ms()))
        return err_set(e, ERR_DENIED, "the version is locked: %s until %s%s", store_lock_names[lock.mode],
                       clock_format(lock.retain_until_ms, until), lock.legal_hold ? ", legal hold" : "");
    if (file_remove(data, e) || file_remove(gone, e))
        return e->code;
    if (file_sync_parent(data, e) || file_remove(lock_path, e))
        return e->code;
    dir_prune_up(data, d->objects);
    return OK;
}

static enum err_code dir_remove(struct store *s, const char *key, const char *version, struct err *e)
{
    const struct store_dir *d = (const struct store_dir *)s;
    CLEANUP(freep) char *folder = NULL;
    if (versions_folder(d, key, &folder, e))
        return e->code;
    if (!version)
        return unless_away(d, add_marker(d, folder, e), e);
    if (!dir_version_valid(version, strlen(version)))
        return OK;
    return unless_away(d, remove_version(d, folder, version, e), e);
}

static enum err_code set_lock(const struct store_dir *d, const char *key, const char *version,
                              const struct store_lock *lock, struct err *e)
{
    CLEANUP(fd_closep) int held = -1;
    CLEANUP(opened_done) struct opened file = OPENED_INIT;
    CLEANUP(freep) char *folder = NULL;
    struct store_info info;
    struct store_lock got;
    if (!d->bucket.lockable)
        return err_set(e, ERR_DENIED, "the bucket was made without object lock");
    if (versions_folder(d, key, &folder, e) || dir_lock_bucket(d->bucket_dir, &held, e) ||
        open_object(d, key, version, &file, &info, e) ||
        store_lock_may_change(&info.lock, lock, clock_wall_ms(), e))
        return e->code;
    CLEANUP(freep) char *path = dir_lock_path(folder, info.version);
    if (place_lock(d, path, lock, e) || dir_lock_read(folder, info.version, &got, e))
        return e->code;
    return store_lock_was_kept(lock, &got, e);
}

static enum err_code dir_set_lock(struct store *s, const char *key, const char *version,
                                  const struct store_lock *lock, struct err *e)
{
    const struct store_dir *d = (const struct store_dir *)s;
    enum err_code code = set_lock(d, key, version, lock, e);
    return code ? unless_away(d, code, e) : OK;
}

/* ---- the bucket ---- */

static enum err_code dir_facts(struct store *s, struct store_facts *out, struct err *e)
{
    const struct store_dir *d = (const struct store_dir *)s;
    struct dir_bucket now;
    if (read_bucket(d->bucket_dir, &now, e))
        return unless_away(d, e->code, e);
    *out =
        (struct store_facts){ .versioned = true, .lockable = now.lockable, .default_lock = now.default_lock };
    memcpy(out->location, now.location, sizeof(out->location));
    return OK;
}

static void dir_close(struct store *s)
{
    struct store_dir *d = (struct store_dir *)s;
    free(d->bucket_dir);
    free(d->objects);
    free(d);
}

static const struct store_ops store_dir_ops = {
    .name = "dir",
    .put = dir_put,
    .get = dir_get,
    .get_many = store_get_each,
    .head = dir_head,
    .list = dir_list,
    .list_versions = dir_list_versions,
    .remove = dir_remove,
    .abort_uploads = store_no_uploads,
    .set_lock = dir_set_lock,
    .facts = dir_facts,
    .close = dir_close,
};

static enum err_code dir_open(const struct store_place *place, const struct store_credentials *credentials,
                              struct store **out, struct err *e)
{
    struct dir_bucket bucket;
    (void)credentials;
    if (place->root[0] == '\0')
        return err_set(e, ERR_USAGE, "a dir store needs the folder that holds its buckets (root)");
    CLEANUP(freep) char *bucket_dir = path_join(place->root, place->bucket);
    if (read_bucket(bucket_dir, &bucket, e))
        return e->code;
    dir_sweep(bucket_dir);
    struct store_dir *d = mem_new(sizeof(*d));
    d->base.ops = &store_dir_ops;
    snprintf(d->base.name, sizeof(d->base.name), "dir:%s", bucket_dir);
    d->objects = path_join(bucket_dir, "objects");
    d->bucket_dir = TAKE(bucket_dir);
    d->bucket = bucket;
    *out = &d->base;
    return OK;
}

/* bucket.txt last: before it there is no bucket. Two makers at once: one creates it, both compare. */
static enum err_code dir_make_bucket(const struct store_place *place,
                                     const struct store_credentials *credentials, bool object_lock,
                                     struct err *e)
{
    struct dir_bucket wanted = { .lockable = object_lock }, got = { .lockable = false };
    CLEANUP(buf_done) struct buf text = BUF_INIT(DIR_META_BYTES_MAX);
    (void)credentials;
    if (place->root[0] == '\0')
        return err_set(e, ERR_USAGE, "a dir store needs the folder that holds its buckets (root)");
    if (place->region[0] && !text_is_name(place->region, sizeof(place->region) - 1))
        return err_set(e, ERR_USAGE, "region '%s' is no name", place->region);
    CLEANUP(freep) char *bucket_dir = path_join(place->root, place->bucket);
    CLEANUP(freep) char *objects = path_join(bucket_dir, "objects");
    CLEANUP(freep) char *tmp = path_join(bucket_dir, "tmp");
    CLEANUP(freep) char *path = bucket_file(bucket_dir);
    memcpy(wanted.location, place->region, sizeof(wanted.location));
    dir_bucket_format(&wanted, &text);
    if (dir_make(objects, 0700, e) || dir_make(tmp, 0700, e))
        return e->code;
    if (file_create(path, text.data, text.len, 0600, e) && e->code != ERR_CONFLICT)
        return e->code;
    err_clear(e);
    if (read_bucket(bucket_dir, &got, e))
        return e->code;
    if (object_lock && !got.lockable)
        return err_set(e, ERR_CONFLICT, "'%s' is there already, without object lock", bucket_dir);
    if (strcmp(got.location, wanted.location) != 0)
        return err_set(e, ERR_CONFLICT, "'%s' is there already, in '%s' and not in '%s'", bucket_dir,
                       got.location, wanted.location);
    return OK;
}

const struct store_backend store_dir_backend = { .open = dir_open, .make_bucket = dir_make_bucket };
