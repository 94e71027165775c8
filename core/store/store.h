/*
 * store.h - objects by key: versioned, lockable, in one bucket.
 *
 * One interface, one contract (tests/contract/test_store.c), several backends: `dir` (embedded: files on this
 * host), `s3` (any S3 service; tried on Ceph RGW), `mem` (tests), and two that wrap another: `retry`
 * (bounded, with jitter; store_open() puts it on) and `fault` (tests). Encryption is core/seal's.
 *
 * What every backend promises:
 *  1. put is atomic: readers see the old object, the new one, or none; never half. It returns when it is
 * durable.
 *  2. Every put makes a new version with an id of its own; earlier versions stay readable by that id.
 *  3. A version whose lock has not ended can be neither deleted nor overwritten, nor its retention be
 * shortened: ERR_DENIED. GOVERNANCE is treated like COMPLIANCE: nothing here bypasses it. Extending is
 * allowed.
 *  4. A lock or an encryption asked for is read back before put returns; a store that dropped it fails the
 * put (ERR_DENIED).
 *  5. A failing list is an error, never an empty list. A store that is away is ERR_RETRY, never "not found".
 *
 * Keys are 1 to 1024 bytes of UTF-8 with no control characters; no empty, "." or ".." path segment, no
 * leading slash (ERR_USAGE). Threads: one handle, one thread (but store_until()); open one for each.
 */
#ifndef CORE_STORE_STORE_H
#define CORE_STORE_STORE_H

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "core/crypto/secret.h"
#include "core/http/guard.h"

#include <stdint.h>

enum {
    STORE_KEY_BYTES = 1025,
    STORE_VERSION_BYTES = 129,
    STORE_BUCKET_BYTES = 64,
    STORE_PART_BYTES = 16 << 20,      /* s3: puts above it go as multipart */
    STORE_LIST_MAX = 1000000,
};
/* One put: room for the model file of 1.5 billion parameters. Larger things are cut into parts by their
 * owner. */
#define STORE_OBJECT_BYTES_MAX ((int64_t)8 << 30)

enum store_kind { STORE_DIR, STORE_S3, STORE_MEM };
extern const char *const store_kind_names[]; /* "dir", "s3", "mem", NULL: for configuration */

/* What of a put's bytes is signed. auto: nothing over TLS, which guards them by itself, else a hash of them
 * all. hash, chunks (64 KiB each, signed one after the other), unsigned: that. */
enum store_payload { STORE_PAYLOAD_AUTO, STORE_PAYLOAD_HASH, STORE_PAYLOAD_CHUNKS, STORE_PAYLOAD_UNSIGNED };
extern const char *const store_payload_names[];

/* Encryption by the store itself, beneath ours: not asked for; under the store's own keys; under a key of its
 * key service. What was asked for is read back, as a lock is. */
enum store_sse { STORE_SSE_NONE, STORE_SSE_S3, STORE_SSE_KMS };
extern const char *const store_sse_names[]; /* "none", "s3", "kms" */
enum { STORE_SSE_KEY_BYTES = 512, STORE_SSE_CONTEXT_BYTES = 1024 };

/* Where one bucket lives. Plain and self-contained: it travels to ranks by broadcast. */
struct store_place {
    int kind; /* enum store_kind */
    char bucket[STORE_BUCKET_BYTES];
    char root[512];     /* dir: folder that holds the buckets' folders */
    char endpoint[256]; /* s3: "https://s3.eusc-de-east-1.amazonaws.eu" */
    char region[64];    /* s3: must be given; also the dir store's answer to "where is this" */
    char ca_file[512];  /* s3: PEM, "" for the system's */
    char cert_file[512], key_file[512]; /* s3: our client certificate and its key (0600), PEM; "": none */
    struct http_guard guard;            /* s3: where its host may be found; all zeros: loopback only */
    bool path_style;                    /* s3: endpoint/bucket/key rather than bucket.endpoint/key */
    int payload, sse;                   /* s3: enum store_payload, enum store_sse */
    char sse_key[STORE_SSE_KEY_BYTES];  /* kms: the key, as the store itself calls it */
    char sse_context[STORE_SSE_CONTEXT_BYTES]; /* kms: JSON object of texts; "": none */
    int64_t patience_ms; /* a store that is away is waited for so long, call by call; 0: a few tries */
    int64_t deadline_ms; /* s3: of one transfer, and a second more for each MiB; 0: 30 s */
};

/* Credentials with an end, as whoever made them owns them. */
struct store_session {
    struct secret *access_key, *secret_key, *session_token; /* the last may be NULL */
    int64_t expires_ms;                                     /* wall clock; 0: no end, or none that is known */
};
void store_session_done(struct store_session *s);
bool store_session_equal(const struct store_session *a, const struct store_session *b);
void store_session_move(struct store_session *from,
                        struct store_session *out); /* `from` has none afterwards */
void store_session_copy(const struct store_session *from, struct store_session *out); /* `out`: none before */

/* Credentials as they are now, which the store takes over: newer than the last, or the same, or ERR_RETRY
 * where there are none yet. It is asked shortly before the present ones end, in the middle of a transfer too,
 * and when the service says that they are over. */
typedef enum err_code store_renew_fn(void *context, struct store_session *out, struct err *e);

/* s3 only; NULL members elsewhere. Borrowed during store_open(), copied by it. */
struct store_credentials {
    const struct secret *access_key, *secret_key, *session_token; /* the last may be NULL */
    int64_t expires_ms;                                           /* as in struct store_session */
    store_renew_fn *renew;                                        /* NULL: there will be no others */
    void *renew_context;                                          /* borrowed as long as the store is open */
};
struct store_credentials store_lend(const struct store_session *s); /* without renewal */

struct store;

/* What a call met that is about to be tried again after a pause; `why` NULL: it worked in the end. */
struct store_wait {
    const char *call, *key; /* "put", and of what; lists: the prefix, "" for the bucket itself */
    int failures;
    int64_t waited_ms; /* since the first of them */
    const char *why;
};
typedef void store_wait_fn(void *context, const struct store_wait *w);
/* Each pause is told to `fn`; of a store that store_open() gave. `context` is borrowed. */
void store_on_wait(struct store *s, store_wait_fn *fn, void *context);

/* From now on no call, its retries included, lasts beyond this moment of clock_mono_ms(): ERR_RETRY. 0: as
 * long as it takes. The one thing that another thread may do with a handle: it cuts short what is under way
 * there, at its next try or pause. */
void store_until(struct store *s, int64_t mono_ms);

/* Does not create the bucket. ERR_NOT_FOUND where there is none (dir: at once; s3: at the first call). mem:
 * each call makes a bucket of its own, empty and lockable. */
enum err_code store_open(const struct store_place *place, const struct store_credentials *credentials,
                         struct store **out, struct err *e);
void store_close(struct store *s);
DEFINE_CLEANUP_PTR(struct store, store_close)

/* Create the bucket with versioning and, where asked, object lock. Fine if it is there already and fits. */
enum err_code store_make_bucket(const struct store_place *place, const struct store_credentials *credentials,
                                bool object_lock, struct err *e);

enum store_lock_mode { STORE_LOCK_NONE, STORE_LOCK_GOVERNANCE, STORE_LOCK_COMPLIANCE };
extern const char *const store_lock_names[]; /* "none", "governance", "compliance", NULL */

struct store_lock {
    enum store_lock_mode mode;
    int64_t retain_until_ms; /* wall clock; S3 keeps whole seconds: what is read back is never earlier than
                                asked */
    bool legal_hold;         /* no end of its own: until store_set_lock() lifts it */
};

struct store_info {
    char key[STORE_KEY_BYTES];
    char version[STORE_VERSION_BYTES]; /* "" from store_list(): S3 does not tell it there */
    uint64_t bytes;
    int64_t modified_ms;
    struct store_lock lock; /* filled by put, get and head; not by lists */
    bool is_latest;         /* told by lists, and by head and get where no version was named */
    bool is_delete_marker;
};

struct store_put_options {
    struct store_lock lock;
    const char *content_type; /* NULL: application/octet-stream */
};

/* NULL options: no lock. `out` may be NULL. */
enum err_code store_put(struct store *s, const char *key, const void *data, size_t n,
                        const struct store_put_options *options, struct store_info *out, struct err *e);

/* Adds bytes [offset, offset + length) to `body` (its max is the limit); length UINT64_MAX: to the end.
 * `version` NULL: the latest. A range that starts at or behind the end gives no bytes. `out` may be NULL
 * (key, version, whole size). */
enum err_code store_get(struct store *s, const char *key, const char *version, uint64_t offset,
                        uint64_t length, struct buf *body, struct store_info *out, struct err *e);

/* One of many reads: a range of one version. `length` is the most that may come: UINT64_MAX is none that
 * could be had. */
struct store_read {
    const char *key, *version; /* version NULL: the latest */
    uint64_t offset, length;
};
/* Bytes of reads[index], which the callee may move out of `body`. A non-zero return ends it all and is
 * returned. */
typedef enum err_code store_read_fn(void *context, size_t index, struct buf *body, struct err *e);
/* All of them, several at once where the backend can (s3: each over a connection of its own, tried again by
 * itself, and going on where it broke off). `each` is called once for every read, in whatever order they come
 * in. At most as many bodies are held at once as there are connections. ERR_*: the first read that failed for
 * good, by its key. */
enum err_code store_get_many(struct store *s, const struct store_read *reads, size_t count,
                             store_read_fn *each, void *context, struct err *e);

enum err_code store_head(struct store *s, const char *key, const char *version, struct store_info *out,
                         struct err *e);

/* Calls `each` for the latest version of every live key with the prefix, in byte order of the key, from the
 * first behind `after` (NULL: the start). A non-zero return of `each` ends the listing and is returned as it
 * is. */
typedef enum err_code store_each_fn(void *context, const struct store_info *info, struct err *e);
enum err_code store_list(struct store *s, const char *prefix, const char *after, store_each_fn *each,
                         void *context, struct err *e);
/* Every version and delete marker, newest first within a key. */
enum err_code store_list_versions(struct store *s, const char *prefix, store_each_fn *each, void *context,
                                  struct err *e);

/* version NULL: hide the key behind a delete marker (always allowed); else remove that version for good. Fine
 * if it is not there. */
enum err_code store_delete(struct store *s, const char *key, const char *version, struct err *e);

/* Give up uploads in parts below `prefix` that were begun before that wall time and never completed: what a
 * killed process leaves, at most a thousand a call. Fine where a backend knows no such thing. */
enum err_code store_abort_uploads(struct store *s, const char *prefix, int64_t before_ms, size_t *out_aborted,
                                  struct err *e);

/* Set or extend the lock of one version; read back before it returns. */
enum err_code store_set_lock(struct store *s, const char *key, const char *version,
                             const struct store_lock *lock, struct err *e);

/* What the store says of the bucket: read back, for evidence and preflight. */
struct store_facts {
    char location[64];
    bool versioned, lockable;
    struct store_lock default_lock; /* mode and, in retain_until_ms, the period in ms */
};
enum err_code store_facts(struct store *s, struct store_facts *out, struct err *e);

/* "s3://bucket/some/key" -> bucket and key (key may be empty). Errors are ERR_USAGE. */
enum err_code store_uri_parse(const char *uri, char out_bucket[STORE_BUCKET_BYTES],
                              char out_key[STORE_KEY_BYTES], struct err *e);

/* For tests. `fault` borrows `inner`: the Nth call from now (1 = the next) fails with `code`; 0: none. With
 * `torn` a put reaches the inner store first and then reports the failure; a list shows its first entry
 * before. */
struct store *store_fault_new(struct store *inner);
void store_fault_at(struct store *fault, int64_t nth_call, enum err_code code, bool torn);
/* Retries ERR_RETRY around `inner` (taken over), with full jitter from base_ms doubling to max_ms: at most
 * `tries` calls; or, with patience_ms > 0, as many as begin within it, counted from the first failure. */
struct store_retry_rule {
    int tries;
    int64_t patience_ms, base_ms, max_ms;
};
struct store *store_retry_new(struct store *inner, const struct store_retry_rule *rule,
                              const struct clock *clock);

#endif
