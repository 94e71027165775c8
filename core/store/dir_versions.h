/*
 * dir_versions.h - the versions of one key in a dir store: which there are, how each is locked. Private to
 * core/store.
 *
 * A version is there from the moment its file has its name, and that name never changes; a lock is a file
 * beside it that is there before it and is only ever replaced as a whole. So a reader needs no lock: it meets
 * a version or it does not.
 */
#ifndef CORE_STORE_DIR_VERSIONS_H
#define CORE_STORE_DIR_VERSIONS_H

#include "core/store/dir_path.h"
#include "core/store/store.h"

struct dir_version {
    char id[DIR_VERSION_BYTES];
    bool gone; /* a delete marker */
};

struct dir_versions {
    struct dir_version *list; /* newest first */
    size_t count;
};
void dir_versions_done(struct dir_versions *v);

/* No folder: no versions. */
enum err_code dir_versions_read(const char *folder, struct dir_versions *out, struct err *e);
/* ERR_NOT_FOUND where the key has no version at all. */
enum err_code dir_versions_newest(const char *folder, struct dir_version *out, struct err *e);

/* STORE_LOCK_NONE where there is no file. */
enum err_code dir_lock_read(const char *folder, const char *version, struct store_lock *out, struct err *e);

/* FOLDER/VERSION and FOLDER/VERSION.lock, FOLDER/VERSION.gone. The caller frees. */
char *dir_data_path(const char *folder, const char *version);
char *dir_lock_path(const char *folder, const char *version);
char *dir_gone_path(const char *folder, const char *version);

#endif
