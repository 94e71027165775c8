#include "scheduler/lead.h"

#include "core/job/job.h"

#include <stdio.h>
#include <string.h>

void lead_init(struct lead *l, const char *owner, int64_t ttl_ms, const struct clock *clock)
{
    memset(l, 0, sizeof(*l));
    l->clock = clock;
    l->ttl_ms = ttl_ms;
    snprintf(l->owner, sizeof(l->owner), "%s", owner);
    l->next_mono_ms = clock->mono_ms(clock);
}

int64_t lead_token(const struct lead *l)
{
    return (int64_t)atomic_load(&l->token);
}

void lead_doubt(struct lead *l)
{
    l->next_mono_ms = 0;
}

static enum err_code take(struct lead *l, struct state *s, enum lead_news *out, struct err *e)
{
    if (lease_take(s, JOB_LEADER_LEASE, l->owner, l->ttl_ms, &l->lease, e)) {
        if (e->code != ERR_CONFLICT)
            return e->code;
        err_clear(e); /* another one leads: that is how it should be */
        return OK;
    }
    atomic_store(&l->token, (long long)l->lease.token);
    *out = LEAD_GAINED;
    return OK;
}

static enum err_code renew(struct lead *l, struct state *s, enum lead_news *out, struct err *e)
{
    if (lease_renew(s, &l->lease, e) == OK)
        return OK;
    if (e->code == ERR_DENIED || lease_left_ms(&l->lease) == 0) {
        atomic_store(&l->token, 0);
        *out = LEAD_LOST;
    }
    return e->code;
}

enum err_code lead_tick(struct lead *l, struct state *s, enum lead_news *out, struct err *e)
{
    const int64_t now = l->clock->mono_ms(l->clock);

    *out = LEAD_SAME;
    if (now < l->next_mono_ms)
        return OK;
    l->next_mono_ms = now + l->ttl_ms / 3; /* two in a row may be lost */
    return lead_token(l) ? renew(l, s, out, e) : take(l, s, out, e);
}

void lead_release(struct lead *l, struct state *s)
{
    struct err ignored = ERR_INIT;

    if (lead_token(l) == 0)
        return;
    atomic_store(&l->token, 0);
    IGNORE(lease_release(s, &l->lease, &ignored)); /* it runs out by itself */
}
