/*
 * dir_walk.h - all keys of a dir store in byte order. Private to core/store.
 *
 * The order of keys is not the order of folders: "a-b" comes before "a/b", for '-' is less than '/'. So the
 * key "a" and the folder "a/" are sorted as two things among their neighbours. Only the folders that can hold
 * a key with the prefix and not before `from` are read, one at a time.
 */
#ifndef CORE_STORE_DIR_WALK_H
#define CORE_STORE_DIR_WALK_H

#include "base/buf.h"
#include "core/store/store.h"

/* `folder`: where the key's versions lie, if it has any. */
typedef enum err_code dir_walk_fn(void *context, const char *key, const char *folder, struct err *e);

/* Every key that starts with `prefix` and is not less than `from`. A folder that vanishes meanwhile had no
 * keys left. */
enum err_code dir_walk(const char *objects, const char *prefix, const char *from, dir_walk_fn *visit,
                       void *context, struct err *e);

#endif
