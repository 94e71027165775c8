/*
 * store_world.h - the places in which the store's contract is tried, and small helpers for its rows.
 */
#ifndef TESTS_FAKE_STORE_WORLD_H
#define TESTS_FAKE_STORE_WORLD_H

#include "core/store/store.h"
#include "tests/test.h"

enum world_kind {
    WORLD_DIR = 1,
    WORLD_MEM = 2,
    WORLD_S3 = 4,
    WORLD_ALL = 7,
    WORLD_KEPT = WORLD_DIR | WORLD_S3
};

/* One place with a lockable bucket. Every row gets a prefix of its own, for locked objects stay. */
struct world {
    const char *name;
    enum world_kind kind;
    const char *why_not; /* NULL: it can be tried */
    struct store_place place;
    struct store_credentials credentials;
    int rows;            /* that have run */
    char prefix[32];     /* of the row that runs */
    struct store *store; /* opened for the row */
};

/* Makes the folder or bucket; for s3 from SOVRUN_TEST_S3_*. */
void world_open(struct world *w, enum world_kind kind);
void world_close(struct world *w);
void world_row_begins(struct world *w); /* opens w->store */
void world_row_ends(struct world *w);

/* Another handle on the same bucket. */
struct store *world_another(const struct world *w);

/* The row's prefix and `key`, in one of a few buffers used in turn. */
const char *world_key(const struct world *w, const char *key);

struct store_info world_put(struct world *w, const char *key, const char *text);
struct store_info world_put_locked(struct world *w, const char *key, const char *text,
                                   struct store_lock lock);
/* The text of the object; "(not found)" where there is none. In a buffer that the next call uses again. */
const char *world_text(struct world *w, const char *key, const char *version);
/* "a b c": the keys below the row's prefix, without it. In a buffer that the next call uses again. */
const char *world_list(struct world *w, const char *prefix, const char *after);
/* "b:2 a:gone a:1": keys and what each version holds. */
const char *world_list_versions(struct world *w, const char *prefix);

/* A row of a table that runs in each world of `where`. */
struct world_row {
    const char *name;
    void (*run)(struct world *w);
    int where; /* enum world_kind */
};
/* The whole main() of such a test: rows that cannot be tried are counted as skipped. */
int world_run(const char *group, const struct world_row *rows, size_t count);

struct store_lock lock_for(enum store_lock_mode mode, int64_t from_now_ms);

#endif
