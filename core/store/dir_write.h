/*
 * dir_write.h - how a dir store changes its disk: new files whole or not at all, and one deleter at a time.
 * Private to core/store.
 *
 * A new file is written under BUCKET/tmp, flushed, then renamed to its place, and every folder on the way
 * there is flushed. Its writer holds a flock on it until then: what lies in tmp without one belonged to a
 * process that was killed, and dir_sweep() removes it.
 */
#ifndef CORE_STORE_DIR_WRITE_H
#define CORE_STORE_DIR_WRITE_H

#include "base/cleanup.h"
#include "base/err.h"

#include <stdint.h>

struct dir_temp {
    char *path; /* NULL once it has moved */
    int fd;
};
#define DIR_TEMP_INIT                                                                                        \
    {                                                                                                        \
        .path = NULL, .fd = -1                                                                               \
    }
void dir_temp_done(struct dir_temp *t); /* removes it unless it has moved */

/* `target` is where it will go: what errors name. */
enum err_code dir_temp_write(const char *bucket_dir, const char *target, const void *data, size_t n,
                             struct dir_temp *out, struct err *e);

/* To `target`, over what is there; makes its folder, also when a deleter removes it at the same time. Not yet
 * flushed. */
enum err_code dir_temp_move(struct dir_temp *t, const char *target, struct err *e);

/* Flush the folder of `path` and all folders above it, up to and with `top`. */
enum err_code dir_sync_up(const char *path, const char *top, struct err *e);

/* Remove the folder of `path` and those above it as long as they are empty, below `top`. */
void dir_prune_up(const char *path, const char *top);

/* The bucket's lock, for whoever removes a version or changes a lock. Close the descriptor to give it back.
 * ERR_RETRY after DIR_LOCK_WAIT_MS. */
enum { DIR_LOCK_WAIT_MS = 10000 };
enum err_code dir_lock_bucket(const char *bucket_dir, int *out_fd, struct err *e);

/* Remove what killed writers left in tmp. */
void dir_sweep(const char *bucket_dir);

#endif
