/*
 * state_ops.h - what a backend of core/state implements. Only core/state and its tests include it.
 *
 * The facade (state.c, lease.c) has checked every argument before a backend sees it: names are well formed,
 * limits hold, ids parse, a transaction is sound. It also adds the context to errors. A backend says only
 * what went wrong.
 *
 * Stream ids are "ms-seq" in every backend, as Redis makes them, so that one parser serves all.
 */
#ifndef CORE_STATE_STATE_OPS_H
#define CORE_STATE_STATE_OPS_H

#include "base/clock.h"
#include "core/state/lease.h"
#include "core/state/state.h"

struct state_id {
    uint64_t ms, seq;
};
enum err_code state_id_parse(const char *text, struct state_id *out, struct err *e);
void state_id_format(struct state_id id, char out[STATE_ID_BYTES]);
int state_id_compare(struct state_id a, struct state_id b);
struct state_id state_id_next(struct state_id id); /* the smallest behind it */

enum state_op_kind {
    STATE_FENCE,
    STATE_EXPECT,
    STATE_PUT,
    STATE_DELETE,
    STATE_RANK,
    STATE_UNRANK,
    STATE_APPEND,
    STATE_DROP,
};

struct state_op {
    enum state_op_kind kind;
    char *name;    /* of the lease, value, set or stream */
    char *member;  /* rank, unrank */
    uint8_t *data; /* put, append; never NULL there */
    size_t n;
    int64_t number;     /* fence: token; expect: version */
    double score;       /* rank */
    struct state_id id; /* drop */
};

struct state_tx {
    struct state_op *ops;
    size_t count, size;
    size_t bytes;
    struct err failed; /* the first thing wrong with it */
};

/* The two refusals of a commit, in the same words for every backend. */
enum err_code state_refuse_fence(const struct state_op *fence, struct err *e);
enum err_code state_refuse_expect(const struct state_op *expect, int64_t found_version, struct err *e);

/* ---- leases: five verbs, one entry, so that each backend states the rules in one place ---- */

enum lease_verb { LEASE_TAKE, LEASE_RENEW, LEASE_RELEASE, LEASE_BREAK, LEASE_LOOK };

struct lease_ask {
    enum lease_verb verb;
    const char *name;
    const char *owner; /* take; "" otherwise */
    int64_t token;     /* renew, release, break */
    int64_t ttl_ms;    /* take, renew */
};

struct lease_answer {
    bool done;       /* take: granted; renew, release, break: the token was the newest; look: held */
    int64_t token;   /* the newest, after the call */
    int64_t left_ms; /* of whoever holds it, 0 if nobody */
    char owner[LEASE_OWNER_BYTES]; /* whoever holds it, "" if nobody */
};

struct state_ops {
    const char *name;
    void (*close)(struct state *s);
    enum err_code (*get)(struct state *s, const char *name, struct buf *out, int64_t *out_version,
                         struct err *e);
    enum err_code (*range)(struct state *s, const char *set, double min, double max, bool descending,
                           int64_t skip, int64_t limit, state_each_fn *each, void *context, struct err *e);
    enum err_code (*count)(struct state *s, const char *set, int64_t *out, struct err *e);
    enum err_code (*read)(struct state *s, const char *stream, struct state_id after, int64_t limit,
                          state_entry_fn *each, void *context, struct err *e);
    enum err_code (*now)(struct state *s, int64_t *out_wall_ms, struct err *e);
    enum err_code (*commit)(struct state *s, const struct state_tx *tx, struct err *e);
    enum err_code (*lease)(struct state *s, const struct lease_ask *ask, struct lease_answer *out,
                           struct err *e);
    const struct clock *(*clock)(struct state *s); /* by which a holder counts what is left of its lease */
    enum err_code (*watch_open)(struct state *s, const char *const *streams, size_t count,
                                struct state_watch **out, struct err *e);
};

struct state {
    const struct state_ops *ops;
};

struct state_watch_ops {
    int (*fd)(const struct state_watch *w);
    enum err_code (*read)(struct state_watch *w, bool *out_woken, struct err *e);
    void (*close)(struct state_watch *w);
};

struct state_watch {
    const struct state_watch_ops *ops;
};

/* A backend's open: `config` is sound and its timeout_ms set. `password` may be NULL. */
typedef enum err_code state_open_fn(const struct state_config *config, const struct secret *password,
                                    struct state **out, struct err *e);
state_open_fn state_mem_open, state_redis_open;

/* For tests and the simulator: the clock of a mem state, for all its handles. Borrowed; must outlive them. */
void state_mem_set_clock(struct state *s, const struct clock *clock);

#endif
