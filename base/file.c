#include "base/file.h"

#include "base/cleanup.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { READ_BYTES = 64 * 1024 };

/* What was read before the failure goes again, overwritten: it may be half a key. */
static void forget_tail(struct buf *out, size_t len)
{
    if (!out->data)
        return;
    explicit_bzero(out->data + len, out->size - len);
    out->len = len;
}

/* More than 0: so much was added. 0: the end, or the buffer is full with more to come (*out_over). */
static ssize_t read_some(int fd, struct buf *out, bool *out_over)
{
    size_t room = MIN(out->max - out->len, (size_t)READ_BYTES);
    uint8_t one_more = 0;
    uint8_t *to = room ? buf_reserve(out, room) : &one_more;
    ssize_t n;
    do {
        n = read(fd, to, room ? room : 1);
    } while (n < 0 && errno == EINTR);
    if (n > 0 && room)
        buf_commit(out, (size_t)n);
    *out_over = n > 0 && !room;
    return *out_over ? 0 : n;
}

static enum err_code read_open(int fd, const char *path, struct buf *out, struct err *e)
{
    size_t len_before = out->len;
    bool over = false;
    ssize_t n;
    if (out->full)
        return err_set(e, ERR_LIMIT, "read '%s': the buffer is full", path);
    do {
        n = read_some(fd, out, &over);
    } while (n > 0);
    if (n == 0 && !over)
        return OK;
    if (over)
        IGNORE(err_set(e, ERR_LIMIT, "read '%s': larger than %zu bytes", path, out->max - len_before));
    else
        IGNORE(err_errno(e, "read '%s'", path));
    forget_tail(out, len_before);
    return e->code;
}

enum err_code file_read(const char *path, struct buf *out, struct err *e)
{
    CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, "open '%s'", path);
    return read_open(fd, path, out, e);
}

enum err_code file_read_private(const char *path, struct buf *out, struct err *e)
{
    struct stat st;
    CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not block us */
    if (fd < 0)
        return err_errno(e, "open '%s'", path);
    if (fstat(fd, &st) != 0)
        return err_errno(e, "stat '%s'", path);
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_DENIED, "'%s' is not a regular file", path);
    if (st.st_uid != geteuid() && st.st_uid != 0)
        return err_set(e, ERR_DENIED, "'%s' belongs to another user (uid %u)", path, (unsigned)st.st_uid);
    if (st.st_mode & (S_IRGRP | S_IWGRP | S_IROTH | S_IWOTH))
        return err_set(e, ERR_DENIED, "'%s' is open to other users (mode %03o); use chmod 600", path,
                       (unsigned)st.st_mode & 0777);
    return read_open(fd, path, out, e);
}

enum err_code file_write_all(int fd, const void *data, size_t n, struct err *e)
{
    const uint8_t *from = data;
    while (n > 0) {
        ssize_t wrote = write(fd, from, n);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0)
            return err_errno(e, "write");
        from += wrote;
        n -= (size_t)wrote;
    }
    return OK;
}

/* A file under a name of its own, removed unless it was moved to its place. */
struct temporary {
    char *path;
    int fd;
};

static void temporary_done(struct temporary *t)
{
    if (t->fd >= 0)
        close(t->fd);
    if (t->path)
        unlink(t->path);
    free(t->path);
}

static enum err_code temporary_write(struct temporary *t, const char *path, const void *data, size_t n,
                                     mode_t mode, struct err *e)
{
    CLEANUP(freep) char *folder = path_parent(path);
    CLEANUP(freep) char *name = path_join(folder, ".tmp-XXXXXX");
    t->fd = mkostemp(name, O_CLOEXEC);
    if (t->fd < 0)
        return err_errno(e, "create a file in '%s'", folder);
    t->path = TAKE(name);
    if (fchmod(t->fd, mode) != 0)
        return err_errno(e, "set the mode of '%s'", t->path);
    if (file_write_all(t->fd, data, n, e))
        return err_wrap(e, "'%s'", path);
    if (fsync(t->fd) != 0)
        return err_errno(e, "flush '%s'", path);
    return OK;
}

enum err_code file_write(const char *path, const void *data, size_t n, mode_t mode, struct err *e)
{
    CLEANUP(temporary_done) struct temporary t = { .path = NULL, .fd = -1 };
    if (temporary_write(&t, path, data, n, mode, e))
        return e->code;
    if (rename(t.path, path) != 0)
        return err_errno(e, "rename to '%s'", path);
    free(TAKE(t.path));
    return file_sync_parent(path, e);
}

enum err_code file_create(const char *path, const void *data, size_t n, mode_t mode, struct err *e)
{
    CLEANUP(temporary_done) struct temporary t = { .path = NULL, .fd = -1 };
    if (temporary_write(&t, path, data, n, mode, e))
        return e->code;
    invariant(t.path != NULL);
    if (link(t.path, path) != 0) {
        if (errno == EEXIST)
            return err_set(e, ERR_CONFLICT, "'%s' exists already", path);
        return err_errno(e, "link to '%s'", path);
    }
    return file_sync_parent(path, e);
}

enum err_code file_sync_parent(const char *path, struct err *e)
{
    CLEANUP(freep) char *folder = path_parent(path);
    CLEANUP(fd_closep) int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, "open folder '%s'", folder);
    if (fsync(fd) != 0 && errno != EINVAL) /* EINVAL: a file system on which folders need no flush */
        return err_errno(e, "flush folder '%s'", folder);
    return OK;
}

static bool is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Flushed too: a file in a folder whose own name is lost would be lost with it. */
static enum err_code make_one(const char *path, mode_t mode, struct err *e)
{
    if (is_dir(path))
        return OK;
    if (mkdir(path, mode) == 0)
        return file_sync_parent(path, e);
    int error = errno;
    if (error == EEXIST && is_dir(path)) /* somebody else was faster */
        return OK;
    errno = error;
    return err_errno(e, "make folder '%s'", path);
}

enum err_code dir_make(const char *path, mode_t mode, struct err *e)
{
    CLEANUP(freep) char *part = mem_text(path);
    for (char *p = part; *p; p++) {
        if (*p != '/' || p == part)
            continue;
        *p = '\0';
        if (make_one(part, mode | S_IWUSR | S_IXUSR, e))
            return e->code;
        *p = '/';
    }
    return make_one(part, mode, e);
}

bool file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

enum err_code file_remove(const char *path, struct err *e)
{
    if (unlink(path) != 0 && errno != ENOENT)
        return err_errno(e, "remove '%s'", path);
    return OK;
}

char *path_join(const char *a, const char *b)
{
    if (b[0] == '/' || a[0] == '\0')
        return mem_text(b);
    return mem_printf("%s%s%s", a, a[strlen(a) - 1] == '/' ? "" : "/", b);
}

static size_t without_slashes(const char *path, size_t n)
{
    while (n > 0 && path[n - 1] == '/')
        n--;
    return n;
}

char *path_parent(const char *path)
{
    size_t n = without_slashes(path, strlen(path));
    while (n > 0 && path[n - 1] != '/')
        n--;
    if (n == 0)
        return mem_text(path[0] == '/' ? "/" : ".");
    n = without_slashes(path, n);
    return n == 0 ? mem_text("/") : mem_text_n(path, n);
}
