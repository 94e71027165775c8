/*
 * audit.h - from the outbox into the ledger: every event, in order, once.
 *
 * A move of a job and its event are one commit, so the outbox in the state misses nothing. Here the events
 * are copied into the signed chain in the store, batch by batch: append (durable on return), then one fenced
 * commit that drops them from the outbox and keeps the new head under "ledger/head", where a verifier finds
 * what the end of the chain must be. Who dies between the two leaves events that the chain has already: the
 * head names the last one's outbox id, and what stands before it is skipped.
 *
 * Each batch is two objects in the store, so events are gathered for AUDIT_GATHER_MS before they are written.
 * It runs on a thread with handles of its own, so a store that is slow or away delays the ledger and nothing
 * else; the events wait in the outbox, which is as durable as the jobs themselves. An entry that is no event
 * is recorded as "outbox.malformed" with its digest: it must neither be lost nor hold up what comes behind
 * it.
 */
#ifndef SCHEDULER_AUDIT_H
#define SCHEDULER_AUDIT_H

#include "core/cluster/cluster.h"
#include "core/cluster/egress.h"
#include "core/ledger/ledger.h"
#include "scheduler/lead.h"

#include <stdatomic.h>

enum {
    AUDIT_BACKOFF_MS = 1000,
    AUDIT_BACKOFF_MS_MAX = 30000,
    AUDIT_IDLE_MS = 60000,
    AUDIT_FOLLOW_MS = 1000,
    AUDIT_GATHER_MS = 200
};
#define AUDIT_HEAD_KEY "ledger/head"

/* What went into the ledger since this scheduler began, for its metrics. All zeros at first; written by the
 * audit's thread, read by any. */
struct audit_counts {
    atomic_uint_fast64_t events;
    atomic_uint_fast64_t refused[EGRESS_PROGRAM_COUNT][EGRESS_KIND_COUNT]; /* connections, of all programs */
};
uint64_t audit_refused(const struct audit_counts *c); /* the sum */

/* ---- one batch ---- */

struct audit {
    const struct cluster *cluster; /* borrowed, all five */
    struct state *state;
    struct store *store;
    const struct signer *signer;
    const struct clock *clock;
    struct audit_counts *counts; /* borrowed; NULL: nobody counts */
    struct ledger *ledger;       /* owned; NULL: not open under `token` */
    int64_t token;
};
void audit_done(struct audit *a);

/* At most LEDGER_BATCH_MAX events. *out_count: how many left the outbox; 0: it is empty. ERR_RETRY: state or
 * store away. ERR_DENIED: `token` is no longer the leader's. ERR_CORRUPT: the chain in the store does not
 * verify; nothing is written. */
enum err_code audit_step(struct audit *a, int64_t token, size_t *out_count, struct err *e);

/* ---- the thread ---- */

struct audit_thread;
/* Opens what it needs by itself, and again until it can. All borrowed. */
struct audit_thread *audit_start(const struct cluster *cluster, const struct lead *lead,
                                 const struct clock *clock, struct audit_counts *counts);
/* We lead now: what waits in the outbox is recorded at once. */
void audit_wake(struct audit_thread *t);
/* Drains once more where the last batch went well, then ends. NULL is fine. */
void audit_stop(struct audit_thread *t);

#endif
