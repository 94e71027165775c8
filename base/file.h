/*
 * file.h - files, whole: read with a limit, write so that a crash leaves the old or the new, never half.
 */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include "base/buf.h"

#include <stdint.h>
#include <sys/types.h>

/* Adds the whole file to out; ERR_LIMIT where it exceeds out->max, ERR_NOT_FOUND where there is none. */
enum err_code file_read(const char *path, struct buf *out, struct err *e);

/* The same, refused (ERR_DENIED) unless a regular file, owned by us or root, closed to all other users. */
enum err_code file_read_private(const char *path, struct buf *out, struct err *e);

/* Temporary file beside it (.tmp-XXXXXX), write, fsync, rename, fsync of the folder. Replaces what is there.
 * A crash may leave the temporary file. The mode is set as given, whatever the umask. */
enum err_code file_write(const char *path, const void *data, size_t n, mode_t mode, struct err *e);

/* The same, but ERR_CONFLICT where the file exists already (decided atomically, by link(2)). */
enum err_code file_create(const char *path, const void *data, size_t n, mode_t mode, struct err *e);

enum err_code file_write_all(int fd, const void *data, size_t n, struct err *e); /* until all is written */
enum err_code file_sync_parent(const char *path, struct err *e);
enum err_code dir_make(const char *path, mode_t mode, struct err *e); /* with its parents; fine if there */
bool file_exists(const char *path);
enum err_code file_remove(const char *path, struct err *e); /* fine if it is not there */

/* "a/b": joins with one slash; b absolute stays b. The caller frees. */
char *path_join(const char *a, const char *b);
char *path_parent(const char *path); /* "." for a bare name. The caller frees. */

#endif
