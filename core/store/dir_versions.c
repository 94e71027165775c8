#include "core/store/dir_versions.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/mem.h"
#include "core/store/dir_meta.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

static const char suffix_gone[] = ".gone", suffix_lock[] = ".lock";

char *dir_data_path(const char *folder, const char *version)
{
    return mem_printf("%s/%s", folder, version);
}

char *dir_lock_path(const char *folder, const char *version)
{
    return mem_printf("%s/%s%s", folder, version, suffix_lock);
}

char *dir_gone_path(const char *folder, const char *version)
{
    return mem_printf("%s/%s%s", folder, version, suffix_gone);
}

void dir_versions_done(struct dir_versions *v)
{
    free(v->list);
    *v = (struct dir_versions){ .list = NULL };
}

static void dir_closep(DIR **d)
{
    if (*d)
        closedir(*d);
}

/* False for the names of locks and of files that are not ours. */
static bool parse_name(const char *name, struct dir_version *out)
{
    enum { ID_BYTES = DIR_VERSION_BYTES - 1 };
    if (strlen(name) < ID_BYTES || !dir_version_valid(name, ID_BYTES))
        return false;
    out->gone = strcmp(name + ID_BYTES, suffix_gone) == 0;
    if (!out->gone && name[ID_BYTES])
        return false;
    memcpy(out->id, name, ID_BYTES);
    out->id[ID_BYTES] = '\0';
    return true;
}

/* The next version in the folder, in no order; *out_more false at the end. */
static enum err_code next_version(DIR *d, const char *folder, struct dir_version *out, bool *out_more,
                                  struct err *e)
{
    const struct dirent *entry;
    do {
        errno = 0;
        entry = readdir(d);
        if (!entry && errno)
            return err_errno(e, "read folder '%s'", folder);
    } while (entry && !parse_name(entry->d_name, out));
    *out_more = entry != NULL;
    return OK;
}

static int newest_first(const void *a, const void *b)
{
    return strcmp(((const struct dir_version *)b)->id, ((const struct dir_version *)a)->id);
}

enum err_code dir_versions_read(const char *folder, struct dir_versions *out, struct err *e)
{
    CLEANUP(dir_versions_done) struct dir_versions v = { .list = NULL };
    CLEANUP(dir_closep) DIR *d = opendir(folder);
    struct dir_version next;
    size_t room = 0;
    if (!d && errno != ENOENT && errno != ENOTDIR)
        return err_errno(e, "read folder '%s'", folder);
    for (bool more = d != NULL; more;) {
        if (next_version(d, folder, &next, &more, e))
            return e->code;
        if (!more)
            break;
        if (v.count == STORE_LIST_MAX)
            return err_set(e, ERR_LIMIT, "more than %d versions in '%s'", STORE_LIST_MAX, folder);
        if (v.count == room) {
            room = MAX(room * 2, (size_t)8);
            v.list = mem_grow(v.list, room, sizeof(v.list[0]));
        }
        v.list[v.count++] = next;
    }
    if (v.count)
        qsort(v.list, v.count, sizeof(v.list[0]), newest_first);
    *out = v;
    v.list = NULL;
    return OK;
}

enum err_code dir_versions_newest(const char *folder, struct dir_version *out, struct err *e)
{
    CLEANUP(dir_closep) DIR *d = opendir(folder);
    struct dir_version newest = { .id = "" }, next;
    bool more = d != NULL;
    if (!d && errno != ENOENT && errno != ENOTDIR)
        return err_errno(e, "read folder '%s'", folder);
    while (more) {
        if (next_version(d, folder, &next, &more, e))
            return e->code;
        if (more && strcmp(next.id, newest.id) > 0)
            newest = next;
    }
    if (!newest.id[0])
        return err_set(e, ERR_NOT_FOUND, "there is no such object");
    *out = newest;
    return OK;
}

enum err_code dir_lock_read(const char *folder, const char *version, struct store_lock *out, struct err *e)
{
    CLEANUP(freep) char *path = dir_lock_path(folder, version);
    CLEANUP(buf_done) struct buf text = BUF_INIT(DIR_META_BYTES_MAX);
    enum err_code code = file_read(path, &text, e);
    if (code == ERR_NOT_FOUND) {
        err_clear(e);
        *out = (struct store_lock){ .mode = STORE_LOCK_NONE };
        return OK;
    }
    if (code)
        return code;
    if (dir_lock_parse(buf_text(&text), out, e))
        return err_wrap(e, "'%s'", path);
    return OK;
}
