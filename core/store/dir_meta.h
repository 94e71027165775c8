/*
 * dir_meta.h - the small texts a dir store keeps beside its objects: what the bucket is, how a version is
 * locked. Private to core/store.
 *
 * Both are plain text for people to read, and are read back strictly: what dir_*_format() would not write is
 * ERR_CORRUPT, for a lock that cannot be read must not count as none.
 */
#ifndef CORE_STORE_DIR_META_H
#define CORE_STORE_DIR_META_H

#include "base/buf.h"
#include "core/store/store.h"

struct dir_bucket {
    char location[64];
    bool lockable;
    struct store_lock default_lock; /* mode, and the period in retain_until_ms */
};

enum { DIR_META_BYTES_MAX = 1024 };

void dir_bucket_format(const struct dir_bucket *b, struct buf *out);
enum err_code dir_bucket_parse(const char *text, struct dir_bucket *out, struct err *e);

void dir_lock_format(const struct store_lock *lock, struct buf *out);
enum err_code dir_lock_parse(const char *text, struct store_lock *out, struct err *e);

#endif
