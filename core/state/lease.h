/*
 * lease.h - one holder at a time, across the whole fleet.
 *
 * A lease is a named claim in the state that dies by itself unless renewed. Each grant carries a token,
 * larger than any before it for that name. Whoever writes on behalf of a lease passes it along
 * (state_tx_fence), so a holder that slept past its time is refused by the state, not trusted to notice. Time
 * is the state's own clock; the holder's view of what is left (lease_left_ms) counts from before the request
 * was sent, by its monotonic clock, so it errs on the safe side.
 *
 * A token is never below the state's clock in milliseconds at its grant: so tokens keep growing even where
 * the state was emptied or restored from an old copy, and names of objects that carry a token never come
 * back.
 */
#ifndef CORE_STATE_LEASE_H
#define CORE_STATE_LEASE_H

#include "base/clock.h"
#include "core/state/state.h"

enum { LEASE_OWNER_BYTES = 128, LEASE_TTL_MS_MAX = 24 * 60 * 60 * 1000 };

struct lease {
    char name[STATE_NAME_BYTES];
    char owner[LEASE_OWNER_BYTES];
    int64_t token;
    int64_t ttl_ms;
    int64_t good_until_mono_ms;
    const struct clock *clock; /* borrowed from the state; NULL: the real one */
};

/* Claim `name` for ttl_ms. ERR_CONFLICT while another owner holds it (the text names it). The same owner text
 * gets it again, with a new token. */
enum err_code lease_take(struct state *s, const char *name, const char *owner, int64_t ttl_ms,
                         struct lease *out, struct err *e);

/* ERR_DENIED: it was taken by somebody else meanwhile, or broken; stop acting on its behalf. An expired lease
 * that nobody took is renewed. ERR_RETRY: the state is away; the lease holds until lease_left_ms() is 0. */
enum err_code lease_renew(struct state *s, struct lease *l, struct err *e);

/* Fine if it is no longer ours. From then on our commits under its token are refused too. */
enum err_code lease_release(struct state *s, struct lease *l, struct err *e);
int64_t lease_left_ms(const struct lease *l); /* 0: no longer sure to be ours */

/* End somebody's lease, when it is known that the holder is dead. ERR_CONFLICT where the token is another by
 * now. The next grant's token is larger all the same; the broken holder's commits are refused from now on. */
enum err_code lease_break(struct state *s, const char *name, int64_t token, struct err *e);

struct lease_facts {
    bool held;
    char owner[LEASE_OWNER_BYTES];
    int64_t token;
    int64_t left_ms;
};
/* Never taken: held = false, token 0. Else the newest token, and the holder where it is held. */
enum err_code lease_look(struct state *s, const char *name, struct lease_facts *out, struct err *e);

#endif
