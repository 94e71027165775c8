#include "core/store/dir_walk.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/text.h"
#include "core/store/dir_path.h"
#include "core/store/store_check.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

/* One key ("a"), or all keys behind a folder ("a/"). */
struct item {
    char *text; /* what it adds to the key */
    char *path; /* its folder, below the one that is read */
    bool is_folder;
};

struct items {
    struct item *list;
    size_t count, room;
};

struct walk {
    const char *objects, *prefix, *from;
    struct buf key, path; /* where we are */
    dir_walk_fn *visit;
    void *context;
};

static void items_done(struct items *items)
{
    for (size_t i = 0; i < items->count; i++) {
        free(items->list[i].text);
        free(items->list[i].path);
    }
    free(items->list);
}

static void dir_closep(DIR **d)
{
    if (*d)
        closedir(*d);
}

static void add_item(struct items *items, const char *text, const char *suffix, const char *path,
                     bool is_folder)
{
    if (items->count == items->room) {
        items->room = MAX(items->room * 2, (size_t)64);
        items->list = mem_grow(items->list, items->room, sizeof(items->list[0]));
    }
    items->list[items->count++] = (struct item){
        .text = mem_printf("%s%s", text, suffix),
        .path = mem_text(path),
        .is_folder = is_folder,
    };
}

static void buf_cut(struct buf *b, size_t len)
{
    b->len = len;
    if (b->data)
        b->data[len] = '\0';
}

static enum err_code read_folder(struct walk *w, const char *below, const char *begun, struct items *items,
                                 struct err *e);

static enum err_code read_name(struct walk *w, const char *name, const char *below, const char *begun,
                               struct items *items, struct err *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(STORE_KEY_BYTES);
    CLEANUP(buf_done) struct buf path = BUF_INIT(DIR_PATH_BYTES_MAX);
    bool more;
    buf_add_text(&text, begun);
    if (!dir_decode_name(name, &text, &more))
        return OK; /* not ours: versions, or something that a person put there */
    buf_addf(&path, "%s/%s", below, name);
    if (buf_check(&path, "a folder's path", e))
        return e->code;
    if (more)
        return read_folder(w, buf_text(&path), buf_text(&text), items, e);
    if (items->count >= 2 * (size_t)STORE_LIST_MAX)
        return err_set(e, ERR_LIMIT, "folder '%s' holds more than %d keys", buf_text(&w->path),
                       STORE_LIST_MAX);
    add_item(items, buf_text(&text), "", buf_text(&path), false);
    add_item(items, buf_text(&text), "/", buf_text(&path), true);
    return OK;
}

/* The folder `below` w->path, whose keys go on from `begun`: names that were cut into pieces are put together
 * here. */
static enum err_code read_folder(struct walk *w, const char *below, const char *begun, struct items *items,
                                 struct err *e)
{
    CLEANUP(freep) char *path = mem_printf("%s%s", buf_text(&w->path), below);
    CLEANUP(dir_closep) DIR *d = opendir(path);
    if (!d)
        return errno == ENOENT || errno == ENOTDIR ? OK : err_errno(e, "read folder '%s'", path);
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(d);
        if (!entry)
            return errno ? err_errno(e, "read folder '%s'", path) : OK;
        if (read_name(w, entry->d_name, below, begun, items, e))
            return e->code;
    }
}

static int by_text(const void *a, const void *b)
{
    return strcmp(((const struct item *)a)->text, ((const struct item *)b)->text);
}

static enum err_code walk_here(struct walk *w, struct err *e);

/* A folder that a person made may decode to a key and yet not be where that key's versions lie. */
static bool is_where_puts_go(const struct walk *w)
{
    CLEANUP(buf_done) struct buf path = BUF_INIT(DIR_PATH_BYTES_MAX);
    struct err ignored = ERR_INIT;
    if (store_check_key(buf_text(&w->key), &ignored))
        return false;
    buf_addf(&path, "%s/", w->objects);
    dir_encode_key(buf_text(&w->key), &path);
    return strcmp(buf_text(&path), buf_text(&w->path)) == 0;
}

static enum err_code walk_item(struct walk *w, const struct item *item, struct err *e)
{
    const char *key = buf_text(&w->key);
    size_t n = w->key.len;
    if (!item->is_folder) {
        if (!text_starts(key, w->prefix) || strcmp(key, w->from) < 0 || !is_where_puts_go(w))
            return OK;
        return w->visit(w->context, key, buf_text(&w->path), e);
    }
    bool may_hold_prefix = text_starts(key, w->prefix) || text_starts(w->prefix, key);
    bool all_before_from = strncmp(key, w->from, n) < 0;
    return may_hold_prefix && !all_before_from ? walk_here(w, e) : OK;
}

/* Depth is bounded by the length of a key. */
static enum err_code walk_here(struct walk *w, struct err *e)
{
    CLEANUP(items_done) struct items items = { .list = NULL };
    size_t key_n = w->key.len, path_n = w->path.len;
    if (read_folder(w, "", "", &items, e))
        return e->code;
    if (items.count)
        qsort(items.list, items.count, sizeof(items.list[0]), by_text);
    for (size_t i = 0; i < items.count; i++) {
        buf_add_text(&w->key, items.list[i].text);
        buf_add_text(&w->path, items.list[i].path);
        bool too_long = w->key.full || w->path.full; /* no key that a put accepted */
        enum err_code code = too_long ? OK : walk_item(w, &items.list[i], e);
        w->key.full = w->path.full = false;
        buf_cut(&w->key, key_n);
        buf_cut(&w->path, path_n);
        if (code)
            return code;
    }
    return OK;
}

static void walk_done(struct walk *w)
{
    buf_done(&w->key);
    buf_done(&w->path);
}

enum err_code dir_walk(const char *objects, const char *prefix, const char *from, dir_walk_fn *visit,
                       void *context, struct err *e)
{
    CLEANUP(walk_done)
    struct walk w = {
        .objects = objects,
        .prefix = prefix,
        .from = from,
        .visit = visit,
        .context = context,
        .key = BUF_INIT(STORE_KEY_BYTES),
        .path = BUF_INIT(DIR_PATH_BYTES_MAX),
    };
    CLEANUP(dir_closep) DIR *there = opendir(objects);
    if (!there)
        return err_errno(e, "read folder '%s'", objects);
    buf_add_text(&w.path, objects);
    const char *slash = strrchr(prefix, '/');
    if (slash) { /* straight to the folder that the prefix names */
        buf_add(&w.key, prefix, (size_t)(slash - prefix) + 1);
        buf_add_byte(&w.path, '/');
        CLEANUP(freep) char *above = mem_text_n(prefix, (size_t)(slash - prefix));
        dir_encode_key(above, &w.path);
    }
    if (buf_check(&w.path, "the folder's path", e))
        return e->code;
    return walk_here(&w, e);
}
