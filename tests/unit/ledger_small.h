/*
 * ledger_small.h - a small ledger in memory, with its keys: three batches under token 7, records 1-3, 4-8 and
 * 9-12.
 */
#ifndef TESTS_UNIT_LEDGER_SMALL_H
#define TESTS_UNIT_LEDGER_SMALL_H

#include "base/clock.h"
#include "core/ledger/ledger_format.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct ledger_small {
    struct clock_fake clock;
    struct signer signer, stranger;
    struct store *store;
};

static inline struct signer small_signer(uint8_t fill)
{
    uint8_t bytes[32];
    struct err e = ERR_INIT;
    struct signer s;

    memset(bytes, fill, sizeof(bytes));
    CLEANUP(secret_freep) struct secret *seed = secret_new(bytes, sizeof(bytes));
    invariant(signer_from_seed(seed, &s, &e) == OK);
    return s;
}

static inline struct store *small_store(void)
{
    const struct store_place place = { .kind = STORE_MEM, .bucket = "audit" };
    struct store *s = NULL;
    struct err e = ERR_INIT;

    invariant(store_open(&place, NULL, &s, &e) == OK);
    return s;
}

static inline struct ledger_config small_config(const char *cluster, int64_t token)
{
    struct ledger_config c = { .prefix = "audit/one", .token = token };

    snprintf(c.cluster, sizeof(c.cluster), "%s", cluster);
    return c;
}

/* Events from..to, each the same whenever it is made, but for `what`. */
static inline enum err_code small_append(struct ledger *l, int64_t from, int64_t to, const char *what,
                                         struct err *e)
{
    struct ledger_event events[LEDGER_BATCH_MAX] = { { .source = "" } };
    char source[LEDGER_BATCH_MAX][24];
    size_t n = 0;

    for (int64_t i = from; i <= to; i++, n++) {
        snprintf(source[n], sizeof(source[n]), "1-%" PRId64, i);
        events[n] = (struct ledger_event){
            .source = source[n],
            .time_ms = 1800000000000 + i,
            .actor = "user:ana",
            .event = what,
            .job = "261122-k3m9qz",
            .data = json_pack("{s:I,s:s}", "number", (json_int_t)i, "text", "a\nb \xc3\xa4"),
        };
    }
    enum err_code code = ledger_append(l, events, n, e);
    for (size_t i = 0; i < n; i++)
        json_decref(events[i].data);
    return code;
}

/* The three batches, into any store. */
static inline void small_fill(struct store *store, const struct ledger_small *s, const char *cluster,
                              int64_t token, const char *what)
{
    const struct ledger_config config = small_config(cluster, token);
    CLEANUP(ledger_closep) struct ledger *l = NULL;
    struct err e = ERR_INIT;

    invariant(ledger_open(&config, store, &s->signer, &s->clock.base, &l, &e) == OK);
    invariant(small_append(l, 1, 3, what, &e) == OK);
    invariant(small_append(l, 4, 8, what, &e) == OK);
    invariant(small_append(l, 9, 12, what, &e) == OK);
}

static inline struct ledger_small small_open(void)
{
    struct ledger_small s = { .clock = clock_fake_at(clock_wall_ms()) };

    s.signer = small_signer(1);
    s.stranger = small_signer(2);
    s.store = small_store();
    small_fill(s.store, &s, "one", 7, "job.submitted");
    return s;
}

static inline void small_close(struct ledger_small *s)
{
    store_close(s->store);
    signer_done(&s->signer);
    signer_done(&s->stranger);
}

static inline struct ledger_trust small_trust(const struct signer *a, const struct signer *b)
{
    struct ledger_trust t = { .count = b ? 2 : 1 };

    memcpy(t.public_key[0], a->public_key, SIGN_PUBLIC_BYTES);
    if (b)
        memcpy(t.public_key[1], b->public_key, SIGN_PUBLIC_BYTES);
    return t;
}

static inline struct ledger_report small_verify(struct store *store, const struct ledger_small *s,
                                                const struct ledger_head *expected)
{
    const struct ledger_trust trust = small_trust(&s->signer, NULL);
    struct ledger_report r;
    struct err e = ERR_INIT;

    invariant(ledger_verify(store, "one", "audit/one", &trust, expected, NULL, NULL, &r, &e) == OK);
    return r;
}

#endif
