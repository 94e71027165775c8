/*
 * ledger.h - the audit trail: append-only, hash-chained, signed, in the store.
 *
 * A record is one line of canonical JSON: {"actor","data","event","job","prev","seq","source","time"}; time
 * is RFC 3339 text. `prev` is the SHA-256 of the line before it, without its newline (64 zeros for the
 * first), so no record can be changed, removed or moved without breaking every one after it. Records lie in
 * segments (one object for each batch, never rewritten); after each segment a head is written: {cluster,
 * hash, prev, segment, seq, time, token}, signed with the cluster's key. `hash` is that of the segment's last
 * record, `prev` the hash that its first one builds on: so the heads make a chain of their own. Both are put
 * under lock where asked.
 *
 *     PREFIX/segment/000000000001-7.jsonl     first seq - writer's fencing token
 *     PREFIX/head/000000000012-7.json         last seq - token; DSSE envelope, payload type
 *                                             application/vnd.sovrun.head+json
 *
 * One writer: the scheduler that leads. It copies events from the state's outbox; `source` is the outbox id,
 * so a writer that died between append and clearing the outbox writes nothing twice (ledger_head() tells the
 * last source). A deposed writer may have left heads of an older token; the chain that ends in the newest
 * token's last head counts, and verification reports the others as superseded. Two chains under one token are
 * a forgery, and are told as one.
 *
 * What a chain cannot show by itself is that its end was cut off: a verifier that also knows the last head
 * (the state keeps it) passes it in.
 */
#ifndef CORE_LEDGER_LEDGER_H
#define CORE_LEDGER_LEDGER_H

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "core/crypto/crypto.h"
#include "core/json/json.h"
#include "core/store/store.h"

enum {
    LEDGER_BATCH_MAX = 512,
    LEDGER_TRUST_MAX = 8,
    LEDGER_SOURCE_BYTES = 64,
    LEDGER_RECORD_BYTES_MAX = 256 * 1024,
};

struct ledger_config {
    char cluster[64];
    char prefix[256];
    int64_t token;     /* the writer's fencing token */
    int lock_mode;     /* enum store_lock_mode */
    int64_t retain_ms; /* with a lock mode */
};

struct ledger;
/* Reads the newest head and its segment. `store`, `signer` and `clock` are borrowed. ERR_CORRUPT: they do not
 * verify with the signer's own key (the text says which object). ERR_DENIED: a newer token has written
 * already. Where there is no head a new chain starts. */
enum err_code ledger_open(const struct ledger_config *config, struct store *store,
                          const struct signer *signer, const struct clock *clock, struct ledger **out,
                          struct err *e);
void ledger_close(struct ledger *l);
DEFINE_CLEANUP_PTR(struct ledger, ledger_close)

/* One event to be recorded. Borrowed. */
struct ledger_event {
    const char *source; /* outbox id; never "" */
    int64_t time_ms;    /* when it happened */
    const char *actor;  /* "user:ana", "scheduler", "attempt:261122-k3m9qz.2" */
    const char *event;  /* "job.submitted", "key.generated", ... docs/FORMATS.md lists them */
    const char *job;    /* "" for none */
    json_t *data;       /* an object, or NULL for an empty one; no reals: they have no canonical form */
};
/* 1 to LEDGER_BATCH_MAX events become one segment and one head; on return both are durable. ERR_USAGE,
 * ERR_LIMIT: an event is malformed or too large, and nothing was written. After any other failure nothing
 * counts yet, and nobody knows whether it was written: make the same call again, or close the ledger and open
 * another. A different call is ERR_CONFLICT. */
enum err_code ledger_append(struct ledger *l, const struct ledger_event *events, size_t count, struct err *e);

struct ledger_head {
    int64_t seq; /* of the last record; 0: none yet */
    char hash[SHA256_HEX_BYTES];
    char source[LEDGER_SOURCE_BYTES];
    int64_t token;
};
void ledger_head(const struct ledger *l, struct ledger_head *out);

struct ledger_trust {
    uint8_t public_key[LEDGER_TRUST_MAX][SIGN_PUBLIC_BYTES];
    size_t count;
};

/* Called for each verified record in order: the parsed line and its hash. */
typedef enum err_code ledger_each_fn(void *context, const json_t *record, const char *hash, struct err *e);

struct ledger_report {
    bool ok;
    int64_t records, segments, heads; /* of the chain that counts */
    int64_t superseded;               /* segments beside it: of deposed writers, or never finished */
    struct ledger_head last;
    int64_t bad_seq; /* where !ok: the bad record, the last one of its segment; 0: it is not in a record */
    char bad_key[STORE_KEY_BYTES];
    char why[256]; /* "record 7 was changed: its successor expects hash ..." */
};
/* Recompute everything from the store. `expected` (may be NULL) is a head known from elsewhere: the chain
 * must contain it. Returns OK with report.ok false where the ledger is bad; an error only where it could not
 * be read. `each` may be NULL; it is called for a segment once that is verified, so before a fault behind it
 * is found. */
enum err_code ledger_verify(struct store *store, const char *cluster, const char *prefix,
                            const struct ledger_trust *trust, const struct ledger_head *expected,
                            ledger_each_fn *each, void *context, struct ledger_report *out, struct err *e);

#endif
