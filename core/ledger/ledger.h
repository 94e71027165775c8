/*
 * ledger.h - the audit trail: append-only, hash-chained, signed, in the store.
 *
 * A record is one line of canonical JSON: {"actor","data","event","job","prev","seq","source","time"}. `prev` is the
 * SHA-256 of the line before it (64 zeros for the first), so no record can be changed, removed or moved without breaking
 * every one after it. Records lie in segments (one object for each batch, never rewritten); after each segment a head is
 * written: {cluster, seq, hash, segment, token, time}, signed with the cluster's key. Both are put under lock where asked.
 *
 *     PREFIX/segment/000000000001-7.jsonl     first seq - writer's fencing token
 *     PREFIX/head/000000000012-7.json         last seq - token; DSSE envelope, payload type application/vnd.sovrun.head+json
 *
 * One writer: the scheduler that leads. It copies events from the state's outbox; `source` is the outbox id, so a writer that
 * died between append and clearing the outbox writes nothing twice (ledger_last_source). Should a deposed writer have left a
 * head of the same or lower seq with an older token, the newer token's chain counts; verification reports the other as superseded.
 *
 * What a chain cannot show by itself is that its end was cut off: a verifier that also knows the last head (the state keeps it)
 * passes it in.
 */
#ifndef CORE_LEDGER_LEDGER_H
#define CORE_LEDGER_LEDGER_H

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "core/crypto/crypto.h"
#include "core/json/json.h"
#include "core/store/store.h"

enum { LEDGER_BATCH_MAX = 512, LEDGER_TRUST_MAX = 8 };

struct ledger_config {
    char cluster[64];
    char prefix[256];
    int64_t token;             /* the writer's fencing token */
    int lock_mode;             /* enum store_lock_mode */
    int64_t retain_ms;         /* with a lock mode */
};

struct ledger;
/* Reads the newest valid head and its segment. `store` and `signer` are borrowed. ERR_CORRUPT: the newest head does not verify
 * with the signer's own key (the text says which object). An empty prefix starts a new chain. */
enum err_code ledger_open(const struct ledger_config *config, struct store *store, const struct signer *signer,
                          const struct clock *clock, struct ledger **out, struct err *e);
void ledger_close(struct ledger *l);
DEFINE_CLEANUP_PTR(struct ledger, ledger_close)

/* One event to be recorded. Borrowed. */
struct ledger_event {
    const char *source;  /* outbox id */
    int64_t time_ms;     /* when it happened */
    const char *actor;   /* "user:ana", "scheduler", "attempt:261122-k3m9qz.2" */
    const char *event;   /* "job.submitted", "key.generated", ... docs/FORMATS.md lists them */
    const char *job;     /* "" for none */
    json_t *data;        /* an object; integers and text only (reals are refused: they have no canonical form) */
};
/* 1 to LEDGER_BATCH_MAX events become one segment and one head; on return both are durable. On failure nothing counts, and
 * the same call may be made again. */
enum err_code ledger_append(struct ledger *l, const struct ledger_event *events, size_t count, struct err *e);

struct ledger_head {
    int64_t seq; /* of the last record; 0: none yet */
    char hash[SHA256_HEX_BYTES];
    char source[64];
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
    int64_t records, segments, heads, superseded;
    struct ledger_head last;
    int64_t bad_seq;    /* where !ok: the first bad record (0: the fault is not in a record) */
    char bad_key[STORE_KEY_BYTES];
    char why[256];      /* "record 7 was changed: its successor expects hash ..." */
};
/* Recompute everything from the store. `expected` (may be NULL) is a head known from elsewhere: the chain must contain it.
 * Returns OK with report.ok false where the ledger is bad; an error only where it could not be read. `each` may be NULL. */
enum err_code ledger_verify(struct store *store, const char *cluster, const char *prefix, const struct ledger_trust *trust,
                            const struct ledger_head *expected, ledger_each_fn *each, void *context,
                            struct ledger_report *out, struct err *e);

#endif
