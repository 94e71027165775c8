/*
 * store_ops.h - what a backend of core/store is made of, and the rules of locks that all of them share.
 *
 * Private to core/store and its tests. A backend is a struct whose first member is a `struct store`. The
 * facade (store.c) has checked every argument, and it puts "put s3://bucket/key: " in front of errors: a
 * backend checks and says only what it alone can know. No member is optional.
 */
#ifndef CORE_STORE_STORE_OPS_H
#define CORE_STORE_STORE_OPS_H

#include "core/store/store.h"

enum { STORE_NAME_BYTES = 640 };

struct store_ops {
    const char *name;
    /* `options` is never NULL; `out` may be: then what costs a round trip and serves only `out` is left out.
     */
    enum err_code (*put)(struct store *s, const char *key, const void *data, size_t n,
                         const struct store_put_options *options, struct store_info *out, struct err *e);
    /* `out` is never NULL here and below. What was added to `body` before a failure is dropped by the facade.
     */
    enum err_code (*get)(struct store *s, const char *key, const char *version, uint64_t offset,
                         uint64_t length, struct buf *body, struct store_info *out, struct err *e);
    /* store_get_each(), but for backends that can have many on the way at once. */
    enum err_code (*get_many)(struct store *s, const struct store_read *reads, size_t count,
                              store_read_fn *each, void *context, struct err *e);
    enum err_code (*head)(struct store *s, const char *key, const char *version, struct store_info *out,
                          struct err *e);
    /* `after` "": from the start. */
    enum err_code (*list)(struct store *s, const char *prefix, const char *after, store_each_fn *each,
                          void *context, struct err *e);
    /* From the first entry behind (after_key, after_version); after_key "": from the start. So a listing that
     * broke off can be taken up again. */
    enum err_code (*list_versions)(struct store *s, const char *prefix, const char *after_key,
                                   const char *after_version, store_each_fn *each, void *context,
                                   struct err *e);
    enum err_code (*remove)(struct store *s, const char *key, const char *version, struct err *e);
    enum err_code (*abort_uploads)(struct store *s, const char *prefix, int64_t before_ms,
                                   size_t *out_aborted, struct err *e);
    enum err_code (*set_lock)(struct store *s, const char *key, const char *version,
                              const struct store_lock *lock, struct err *e);
    enum err_code (*facts)(struct store *s, struct store_facts *out, struct err *e);
    void (*close)(struct store *s);
};

struct store {
    const struct store_ops *ops;
    char name[STORE_NAME_BYTES]; /* "s3://bucket", for error texts */
    struct store *below;         /* the one that it wraps; NULL: a backend */
    _Atomic int64_t until_ms;    /* store_until() */
    store_wait_fn *on_wait;      /* store_on_wait(); NULL: nobody */
    void *on_wait_context;
};

/* A row of the table of backends in store.c. */
struct store_backend {
    enum err_code (*open)(const struct store_place *place, const struct store_credentials *credentials,
                          struct store **out, struct err *e);
    enum err_code (*make_bucket)(const struct store_place *place, const struct store_credentials *credentials,
                                 bool object_lock, struct err *e);
};
/* For backends whose puts leave nothing behind. */
enum err_code store_no_uploads(struct store *s, const char *prefix, int64_t before_ms, size_t *out_aborted,
                               struct err *e);

/* One read after the other, in order. */
enum err_code store_get_each(struct store *s, const struct store_read *reads, size_t count,
                             store_read_fn *each, void *context, struct err *e);

extern const struct store_backend store_dir_backend, store_mem_backend, store_s3_backend;

/* May this version be deleted or weakened at `now_ms`? */
bool store_lock_active(const struct store_lock *lock, int64_t now_ms);

/* ERR_DENIED where `wanted` weakens `held` before its end. Lifting a legal hold is no weakening: it has no
 * end of its own. */
enum err_code store_lock_may_change(const struct store_lock *held, const struct store_lock *wanted,
                                    int64_t now_ms, struct err *e);

/* Promise 4: what was read back holds at least what was asked for; else ERR_DENIED. */
enum err_code store_lock_was_kept(const struct store_lock *asked, const struct store_lock *got,
                                  struct err *e);

/* The lock that a new version gets: the one asked for, or else the bucket's default (a period in
 * retain_until_ms). */
struct store_lock store_lock_for_put(const struct store_lock *asked, const struct store_lock *bucket_default,
                                     int64_t now_ms);

/* How long to wait after so many failures in a row: full jitter, anywhere between nothing and base_ms doubled
 * each time up to max_ms, so that many ranks that failed together do not come back together. */
int64_t store_backoff_ms(int64_t base_ms, int64_t max_ms, int failures);

/* One call of the caller's, through all of its tries. */
struct store_patience {
    const char *call, *key; /* for whoever is told */
    int failures;
    int64_t since_ms; /* of the first failure */
};
/* After a failure (monotonic `now_ms`): is there to be another try, after *out_pause_ms? Where not, `e` says
 * how often it was tried. `until_ms` as in struct store. */
bool store_patience_again(struct store_patience *p, const struct store_retry_rule *rule, int64_t now_ms,
                          int64_t until_ms, int64_t *out_pause_ms, struct err *e);
/* Tell store_on_wait()'s; `why` NULL: it has worked. */
void store_patience_tell(const struct store_patience *p, const struct store *s, int64_t now_ms,
                         const char *why);

enum err_code store_lock_mode_parse(const char *text, enum store_lock_mode *out, struct err *e);

#endif
