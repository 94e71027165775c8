/*
 * lease.h - one holder at a time, across the whole fleet.
 *
 * A lease is a named claim in the state that dies by itself unless renewed. Each grant carries a token, larger than any
 * before it for that name. Whoever writes on behalf of a lease passes it along (state_tx_fence), so a holder that slept
 * past its time is refused by the state, not trusted to notice. Time is the state's own clock; the holder's view of what is
 * left (lease_left_ms) counts from before the request was sent, by its monotonic clock, so it errs on the safe side.
 */
#ifndef CORE_STATE_LEASE_H
#define CORE_STATE_LEASE_H

#include "core/state/state.h"

struct lease {
    char name[STATE_NAME_BYTES];
    char owner[128];
    int64_t token;
    int64_t ttl_ms;
    int64_t good_until_mono_ms;
};

/* Claim `name` for ttl_ms. ERR_CONFLICT while another owner holds it (the text names it). The same owner text gets it again,
 * with a new token. */
enum err_code lease_take(struct state *s, const char *name, const char *owner, int64_t ttl_ms, struct lease *out,
                         struct err *e);

/* ERR_DENIED: it was taken by somebody else meanwhile, or broken; stop acting on its behalf. An expired lease that nobody
 * took is renewed. ERR_RETRY: the state is away; the lease holds until lease_left_ms() is 0. */
enum err_code lease_renew(struct state *s, struct lease *l, struct err *e);

enum err_code lease_release(struct state *s, struct lease *l, struct err *e); /* fine if it is no longer ours */
int64_t lease_left_ms(const struct lease *l);                                /* 0: no longer sure to be ours */

/* End somebody's lease, when it is known that the holder is dead. ERR_CONFLICT where the token is another by now. The next
 * grant's token is larger all the same; the broken holder's commits are refused from now on. */
enum err_code lease_break(struct state *s, const char *name, int64_t token, struct err *e);

struct lease_facts {
    bool held;
    char owner[128];
    int64_t token;
    int64_t left_ms;
};
/* Never taken: held = false, token 0. */
enum err_code lease_look(struct state *s, const char *name, struct lease_facts *out, struct err *e);

#endif
