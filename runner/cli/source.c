#include "runner/cli/source.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/text.h"
#include "core/zip/zip.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { CHUNK_BYTES = 1 << 20 };
static const uint8_t zstd_magic[] = { 0x28, 0xb5, 0x2f, 0xfd };

struct source {
    char *name;   /* owned */
    char **paths; /* owned, and each in it */
    size_t count;
    uint64_t bytes;
    int spool; /* standard input's copy; -1: none */
    bool spool_packed;
};

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* ---- opening ---- */

static enum err_code add_file(struct source *s, char *path, struct err *e)
{
    struct stat st;

    s->paths = mem_grow(s->paths, s->count + 1, sizeof(*s->paths));
    s->paths[s->count++] = path; /* taken over, also on failure */
    if (stat(path, &st) != 0)
        return err_errno(e, "open '%s'", path);
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_USAGE, "'%s' is no regular file", path);
    s->bytes += (uint64_t)st.st_size;
    return OK;
}

static int is_shown(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static enum err_code add_folder(struct source *s, const char *path, struct err *e)
{
    struct dirent **entries = NULL;
    int count = scandir(path, &entries, is_shown, by_bytes);

    if (count < 0)
        return err_errno(e, "open folder '%s'", path);
    enum err_code code = OK;
    if (count == 0)
        code = err_set(e, ERR_USAGE, "folder '%s' has no files", path);
    if (count > SOURCE_FILES_MAX)
        code = err_set(e, ERR_LIMIT, "folder '%s' has %d files; at most %d are taken", path, count,
                       SOURCE_FILES_MAX);
    for (int i = 0; i < count; i++) {
        if (code == OK)
            code = add_file(s, path_join(path, entries[i]->d_name), e);
        free(entries[i]);
    }
    free(entries);
    return code;
}

/* A file that has no name from the start: nobody else can open it, and no crash leaves it behind. */
static enum err_code open_spool(const char *folder, int *out, struct err *e)
{
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR)) {
        CLEANUP(freep) char *path = path_join(folder, ".spool-XXXXXX");
        fd = mkostemp(path, O_CLOEXEC);
        if (fd >= 0)
            unlink(path);
    }
    if (fd < 0)
        return err_errno(e, "a temporary file in '%s' for standard input", folder);
    *out = fd;
    return OK;
}

static enum err_code fill_spool(struct source *s, uint64_t bytes_max, struct err *e)
{
    CLEANUP(freep) uint8_t *chunk = mem_new(CHUNK_BYTES);
    char size[NUM_TEXT_BYTES];

    for (;;) { /* to the end of input, or the limit */
        ssize_t n = read(STDIN_FILENO, chunk, CHUNK_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(e, "read standard input");
        if (n == 0)
            return OK;
        if (s->bytes == 0 && n >= (ssize_t)sizeof(zstd_magic))
            s->spool_packed = memcmp(chunk, zstd_magic, sizeof(zstd_magic)) == 0;
        s->bytes += (uint64_t)n;
        if (s->bytes > bytes_max)
            return err_set(e, ERR_LIMIT,
                           "standard input has more than the %s that are kept of it (--spool-max)",
                           format_size(bytes_max, size));
        if (file_write_all(s->spool, chunk, (size_t)n, e))
            return err_wrap(e, "keep standard input meanwhile");
    }
}

static enum err_code take_input(struct source *s, const char *folder, uint64_t bytes_max, struct err *e)
{
    s->name = mem_text("standard input");
    s->paths = mem_array(1, sizeof(*s->paths));
    s->paths[s->count++] = mem_text("standard input");
    if (open_spool(folder, &s->spool, e))
        return e->code;
    return fill_spool(s, bytes_max, e);
}

enum err_code source_open(const char *what, const char *spool_folder, uint64_t spool_bytes_max,
                          struct source **out, struct err *e)
{
    CLEANUP(source_closep) struct source *s = mem_new(sizeof(*s));
    struct stat st;

    s->spool = -1;
    if (strcmp(what, "-") == 0) {
        if (take_input(s, spool_folder, spool_bytes_max, e))
            return e->code;
        *out = TAKE(s);
        return OK;
    }
    CLEANUP(freep) char *path = mem_text(what + (text_starts(what, "file://") ? strlen("file://") : 0));
    for (size_t n = strlen(path); n > 1 && path[n - 1] == '/'; n--)
        path[n - 1] = '\0';
    if (stat(path, &st) != 0)
        return err_errno(e, "open '%s'", path);
    s->name = mem_text(last_part(path));
    if (S_ISDIR(st.st_mode) ? add_folder(s, path, e) : add_file(s, TAKE(path), e))
        return e->code;
    *out = TAKE(s);
    return OK;
}

void source_close(struct source *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->count; i++)
        free(s->paths[i]);
    free(s->paths);
    free(s->name);
    if (s->spool >= 0)
        close(s->spool);
    free(s);
}

const char *source_name(const struct source *s)
{
    return s->name;
}

size_t source_count(const struct source *s)
{
    return s->count;
}

const char *source_path(const struct source *s, size_t i)
{
    return s->paths[i];
}

const char *source_plain_name(const struct source *s, size_t i, char out[256])
{
    const char *name = last_part(s->paths[i]);
    size_t n = strlen(name) - (text_ends(name, ".zst") ? strlen(".zst") : 0);
    snprintf(out, 256, "%.*s", (int)n, name);
    return out;
}

uint64_t source_bytes(const struct source *s)
{
    return s->bytes;
}

/* ---- reading ---- */

struct source_file {
    const char *path; /* borrowed */
    int fd;
    bool borrowed; /* the spool's */
    off_t at;
    struct zip_reader *zip; /* owned; NULL: as it is */
    uint8_t *packed;        /* owned; with zip */
    size_t packed_at, packed_n;
    bool packed_over;
};

enum err_code source_file_open(const struct source *s, size_t i, struct source_file **out, struct err *e)
{
    CLEANUP(source_file_closep) struct source_file *f = mem_new(sizeof(*f));

    f->path = s->paths[i];
    f->borrowed = s->spool >= 0;
    f->fd = f->borrowed ? s->spool : open(f->path, O_RDONLY | O_CLOEXEC);
    if (f->fd < 0)
        return err_errno(e, "open '%s'", f->path);
    if (f->borrowed ? s->spool_packed : text_ends(f->path, ".zst")) {
        f->zip = zip_reader_new();
        f->packed = mem_new(CHUNK_BYTES);
    }
    *out = TAKE(f);
    return OK;
}

void source_file_close(struct source_file *f)
{
    if (!f)
        return;
    if (f->fd >= 0 && !f->borrowed)
        close(f->fd);
    zip_reader_free(f->zip);
    free(f->packed);
    free(f);
}

/* By place: the spool's descriptor is shared by both readings. */
static enum err_code read_raw(struct source_file *f, void *out, size_t n, size_t *out_n, struct err *e)
{
    ssize_t got;
    do
        got = pread(f->fd, out, n, f->at);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return err_errno(e, "read '%s'", f->path);
    f->at += got;
    *out_n = (size_t)got;
    return OK;
}

static enum err_code read_packed(struct source_file *f, void *out, size_t n, size_t *out_n, struct err *e)
{
    for (;;) { /* each turn reads a chunk */
        if (zip_reader_next(f->zip, f->packed, f->packed_n, &f->packed_at, out, n, out_n, e))
            return err_wrap(e, "'%s'", f->path);
        if (*out_n > 0 || f->packed_over)
            break;
        f->packed_at = 0;
        if (read_raw(f, f->packed, CHUNK_BYTES, &f->packed_n, e))
            return e->code;
        f->packed_over = f->packed_n == 0;
    }
    if (*out_n == 0 && !zip_reader_is_whole(f->zip))
        return err_set(e, ERR_CORRUPT, "'%s': zstd: it is cut off", f->path);
    return OK;
}

enum err_code source_file_read(struct source_file *f, void *out, size_t n, size_t *out_n, struct err *e)
{
    return f->zip ? read_packed(f, out, n, out_n, e) : read_raw(f, out, n, out_n, e);
}
