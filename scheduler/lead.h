/*
 * lead.h - at most one scheduler decides.
 *
 * The leader holds lease "leader" and renews it three times in its life. Its token fences every commit that a
 * scheduler makes: one that slept past its lease is refused by the state, whatever it believes. Losing the
 * lease ends nothing but deciding; the daemon goes on serving what can be read and tries to lead again.
 *
 * The owner's text is the same for each scheduler of one home on one host, of which a file lock admits one:
 * so a scheduler that was killed is followed by its successor at once, and not after the lease has run out.
 *
 * Threads: one thread calls lead_tick() and lead_release(); any thread may ask lead_token().
 */
#ifndef SCHEDULER_LEAD_H
#define SCHEDULER_LEAD_H

#include "base/clock.h"
#include "core/state/lease.h"

#include <stdatomic.h>

struct lead {
    const struct clock *clock; /* borrowed */
    char owner[LEASE_OWNER_BYTES];
    int64_t ttl_ms;
    struct lease lease;
    int64_t next_mono_ms; /* when to take or renew */
    atomic_llong token;   /* 0 while not leading */
};

void lead_init(struct lead *l, const char *owner, int64_t ttl_ms, const struct clock *clock);

enum lead_news { LEAD_SAME, LEAD_GAINED, LEAD_LOST };

/* Take or renew where it is time, and step down where it is lost. An error (ERR_RETRY: the state is away) may
 * come with LEAD_LOST, when the lease has run out by our own clock meanwhile. */
enum err_code lead_tick(struct lead *l, struct state *s, enum lead_news *out, struct err *e);

/* A commit was refused by the fence: ask the state at the next tick. */
void lead_doubt(struct lead *l);

int64_t lead_token(const struct lead *l); /* 0: not leading */

void lead_release(struct lead *l, struct state *s); /* lets the next one lead at once */

#endif
