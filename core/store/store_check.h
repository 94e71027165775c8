/*
 * store_check.h - what may be a key, a prefix, a version id, a bucket's name. Private to core/store.
 *
 * The rules are those of store.h. They are also what keeps a key from climbing out of a dir store's folder,
 * so they stand in one place and are checked before any backend is called.
 */
#ifndef CORE_STORE_STORE_CHECK_H
#define CORE_STORE_STORE_CHECK_H

#include "core/store/store.h"

enum err_code store_check_key(const char *key, struct err *e);
/* Like a key, but may be empty and may end anywhere, also behind a slash. */
enum err_code store_check_prefix(const char *prefix, struct err *e);
enum err_code store_check_version(const char *version, struct err *e);
/* 3 to 63 of a-z 0-9 . -, letters or digits at both ends and around each dot. */
enum err_code store_check_bucket(const char *bucket, struct err *e);

#endif
