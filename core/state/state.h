/*
 * state.h - the cluster's shared memory: versioned values, ordered sets, streams, and one atomic commit.
 *
 * Everything that must not be lost and must not happen twice goes through state_commit(): many writes that
 * apply whole or not at all, each guarded by the version it was read at, the whole guarded by a lease's
 * fencing token. Backends: `redis` (one Lua script does every commit; all keys under one hash tag, so Redis
 * Cluster accepts it) and `mem` (the same contract, in one process, for tests and the simulator). Contract:
 * tests/contract/test_state.c.
 *
 * Names are "job/261122-k3m9qz": 1 to 255 bytes, no control characters; the backend adds its prefix. A
 * value's version grows by one with each write. A new name starts at 1, or, where values have been deleted,
 * above the largest version that was deleted in this cluster: so a version never comes back for a name, and
 * no tombstones pile up.
 *
 * Redis away: ERR_RETRY, and the handle reconnects at the next call. After an ERR_RETRY a commit may or may
 * not have been applied: read again (its expectations make that safe).
 *
 * Threads: one handle, one thread; open one for each. Blocking: each call is one round trip of at most
 * timeout_ms.
 */
#ifndef CORE_STATE_STATE_H
#define CORE_STATE_STATE_H

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "core/crypto/secret.h"

#include <stdint.h>

enum {
    STATE_NAME_BYTES = 256,          /* of names and members, with the NUL */
    STATE_VALUE_BYTES_MAX = 8 << 20, /* of one value or stream entry */
    STATE_OPS_MAX = 256,             /* of one commit, guards counted too */
    STATE_TX_BYTES_MAX = 32 << 20,   /* of one commit: values and entries together */
    STATE_PAGE_MAX = 100000,         /* largest `limit` of a reading */
    STATE_WATCH_MAX = 64,            /* streams of one watch */
    STATE_ID_BYTES = 40,
};

struct state_config {
    char address[256];  /* "unix:/path/redis.sock", "127.0.0.1:6379", or "mem:" (this process alone; shared by
                         * its handles,  gone with the last of them; "mem:NAME" for several) */
    char cluster[64];   /* the hash tag: names of different clusters do not meet */
    int64_t timeout_ms; /* of one call; 0: 2000 */
    bool durability_dev; /* do not insist on appendonly yes, appendfsync always and noeviction */
};

struct state;
/* `password` may be NULL. ERR_DENIED: a Redis that would lose writes (the text says what to change).
 * ERR_RETRY: not there. */
enum err_code state_open(const struct state_config *config, const struct secret *password, struct state **out,
                         struct err *e);
void state_close(struct state *s);
DEFINE_CLEANUP_PTR(struct state, state_close)

/* ---- reading ---- */

/* Adds the value to `out`, ERR_LIMIT where it exceeds out->max. ERR_NOT_FOUND, and version 0, where there is
 * no value. `out` and `out_version` may be NULL. */
enum err_code state_get(struct state *s, const char *name, struct buf *out, int64_t *out_version,
                        struct err *e);

typedef enum err_code state_each_fn(void *context, const char *member, double score, struct err *e);
/* Members of an ordered set by (score, member), from min to max score, at most `limit`, from the `skip`th on.
 * `descending` turns the order. -INFINITY and INFINITY are no bound. A non-zero return of `each` ends the
 * reading and is returned; `each` may use the handle. */
enum err_code state_range(struct state *s, const char *set, double min, double max, bool descending,
                          int64_t skip, int64_t limit, state_each_fn *each, void *context, struct err *e);
enum err_code state_count(struct state *s, const char *set, int64_t *out, struct err *e);

typedef enum err_code state_entry_fn(void *context, const char *id, const void *data, size_t n,
                                     struct err *e);
/* Entries behind `after` ("" or NULL: from the first), oldest first. Ids are opaque text that sorts by time
 * of arrival only through the state itself. */
enum err_code state_read(struct state *s, const char *stream, const char *after, int64_t limit,
                         state_entry_fn *each, void *context, struct err *e);

enum err_code state_now(struct state *s, int64_t *out_wall_ms, struct err *e); /* the state's own clock */

/* ---- one commit ---- */

/* What shall happen: built up, then committed once. Guards are all checked before anything is written, fences
 * first; writes apply in the order given. Building never fails on the spot: what is malformed (ERR_USAGE) or
 * too much (ERR_LIMIT) is remembered and refuses the commit. */
struct state_tx;
struct state_tx *state_tx_new(void);
void state_tx_free(struct state_tx *tx);
DEFINE_CLEANUP_PTR(struct state_tx, state_tx_free)

/* Refuse all of it (ERR_DENIED) unless `token` is the newest token of lease `name`. Several may be given. */
void state_tx_fence(struct state_tx *tx, const char *lease, int64_t token);
/* Guards. version 0: must not exist. A mismatch refuses all of it: ERR_CONFLICT, naming the first. */
void state_tx_expect(struct state_tx *tx, const char *name, int64_t version);
void state_tx_put(struct state_tx *tx, const char *name, const void *data,
                  size_t n); /* whatever the version */
void state_tx_put_text(struct state_tx *tx, const char *name, const char *text);
void state_tx_delete(struct state_tx *tx, const char *name);
void state_tx_rank(struct state_tx *tx, const char *set, const char *member, double score); /* add or move */
void state_tx_unrank(struct state_tx *tx, const char *set, const char *member);
void state_tx_append(struct state_tx *tx, const char *stream, const void *data, size_t n);
void state_tx_drop(struct state_tx *tx, const char *stream,
                   const char *up_to_id); /* entries up to and with that id */

enum err_code state_commit(struct state *s, const struct state_tx *tx, struct err *e);

/* ---- waiting ---- */

/* Wakes when something is appended to one of the streams. A connection of its own. With poll(): wait until
 * the descriptor is readable, then call state_watch_read() until it gives nothing more (it never blocks); it
 * starts behind what is there now. */
struct state_watch;
enum err_code state_watch_open(struct state *s, const char *const *streams, size_t count,
                               struct state_watch **out, struct err *e);
int state_watch_fd(const struct state_watch *w);
/* *out_woken: something came. ERR_RETRY: the connection is lost; close it, open another, and read what was
 * missed. */
enum err_code state_watch_read(struct state_watch *w, bool *out_woken, struct err *e);
void state_watch_close(struct state_watch *w);
DEFINE_CLEANUP_PTR(struct state_watch, state_watch_close)

#endif
