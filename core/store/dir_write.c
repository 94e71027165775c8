#include "core/store/dir_write.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

void dir_temp_done(struct dir_temp *t)
{
    if (t->path)
        unlink(t->path);
    if (t->fd >= 0)
        close(t->fd);
    free(t->path);
    *t = (struct dir_temp)DIR_TEMP_INIT;
}

static enum err_code temp_create(const char *bucket_dir, const char *target, struct dir_temp *out,
                                 struct err *e)
{
    uint8_t random[12];
    char name[2 * sizeof(random) + 1];
    random_bytes(random, sizeof(random));
    hex_encode(random, sizeof(random), name);
    char *path = mem_printf("%s/tmp/%s", bucket_dir, name);
    /* Never written again: what is stored stays as it was put. */
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0400);
    if (fd < 0) {
        IGNORE(err_errno(e, "create '%s' for '%s'", path, target));
        free(path);
        return e->code;
    }
    *out = (struct dir_temp){ .path = path, .fd = fd };
    return OK;
}

enum err_code dir_temp_write(const char *bucket_dir, const char *target, const void *data, size_t n,
                             struct dir_temp *out, struct err *e)
{
    CLEANUP(dir_temp_done) struct dir_temp t = DIR_TEMP_INIT;
    if (temp_create(bucket_dir, target, &t, e))
        return e->code;
    if (flock(t.fd, LOCK_EX | LOCK_NB) != 0)
        return err_errno(e, "lock '%s'", t.path);
    if (file_write_all(t.fd, data, n, e))
        return err_wrap(e, "'%s'", target);
    if (fsync(t.fd) != 0)
        return err_errno(e, "flush '%s'", target);
    *out = t;
    t = (struct dir_temp)DIR_TEMP_INIT;
    return OK;
}

enum err_code dir_temp_move(struct dir_temp *t, const char *target, struct err *e)
{
    enum { TRIES = 100 }; /* a deleter may take the folder away between our two steps, but not for ever */
    CLEANUP(freep) char *folder = path_parent(target);
    for (int i = 0; i < TRIES; i++) {
        if (rename(t->path, target) == 0) {
            free(TAKE(t->path));
            return OK;
        }
        if (errno != ENOENT)
            return err_errno(e, "rename to '%s'", target);
        /* The whole bucket went away: folders made now would stand where it comes back. */
        if (!file_exists(t->path))
            return err_set(e, ERR_RETRY, "rename to '%s': the new file '%s' has vanished", target, t->path);
        if (dir_make(folder, 0700, e) && e->code != ERR_NOT_FOUND)
            return e->code;
    }
    return err_set(e, ERR_RETRY, "rename to '%s': its folder vanishes again and again", target);
}

enum err_code dir_sync_up(const char *path, const char *top, struct err *e)
{
    CLEANUP(freep) char *at = mem_text(path);
    while (strlen(at) > strlen(top)) {
        if (file_sync_parent(at, e))
            return e->code;
        char *above = path_parent(at);
        free(at);
        at = above;
    }
    return OK;
}

void dir_prune_up(const char *path, const char *top)
{
    CLEANUP(freep) char *at = path_parent(path);
    while (strlen(at) > strlen(top) && rmdir(at) == 0) {
        char *above = path_parent(at);
        free(at);
        at = above;
    }
}

enum err_code dir_lock_bucket(const char *bucket_dir, int *out_fd, struct err *e)
{
    enum { PAUSE_MS_MAX = 50 };
    CLEANUP(freep) char *path = path_join(bucket_dir, "lock");
    CLEANUP(fd_closep) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(e, "open '%s'", path);
    int64_t until = clock_mono_ms() + DIR_LOCK_WAIT_MS;
    for (int64_t pause_ms = 1; flock(fd, LOCK_EX | LOCK_NB) != 0;
         pause_ms = MIN(pause_ms * 2, PAUSE_MS_MAX)) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return err_errno(e, "lock '%s'", path);
        if (clock_mono_ms() >= until)
            return err_set(e, ERR_RETRY, "'%s' was held by another process for %d s", path,
                           DIR_LOCK_WAIT_MS / 1000);
        clock_real.sleep_ms(&clock_real, pause_ms);
    }
    *out_fd = TAKE_FD(fd);
    return OK;
}

/* The writer takes its flock right after creating the file; the age covers the moment between. */
static void sweep_one(const char *path)
{
    enum { AGE_S = 3600 };
    struct stat st;
    CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || time(NULL) - st.st_mtime < AGE_S)
        return;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        unlink(path);
}

void dir_sweep(const char *bucket_dir)
{
    enum { FILES_MAX = 10000 };
    CLEANUP(freep) char *tmp = path_join(bucket_dir, "tmp");
    DIR *d = opendir(tmp);
    if (!d)
        return;
    const struct dirent *entry;
    for (int i = 0; i < FILES_MAX && (entry = readdir(d)); i++) {
        CLEANUP(freep) char *path = path_join(tmp, entry->d_name);
        sweep_one(path);
    }
    closedir(d);
}
