#include "core/state/lease.h"

#include "base/clock.h"
#include "base/text.h"
#include "core/state/state_ops.h"

#include <inttypes.h>
#include <string.h>

static enum err_code check_text(const char *what, const char *text, size_t bytes, struct err *e)
{
    size_t n = text ? strnlen(text, bytes) : 0;

    if (n == 0 || n >= bytes)
        return err_set(e, ERR_USAGE, "the %s has %s bytes; 1 to %zu are allowed", what, n ? "too many" : "no",
                       bytes - 1);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return err_set(e, ERR_USAGE, "the %s holds a control character", what);
    return OK;
}

/* A lease put together from a token that came by another way has no clock of its own. */
static int64_t mono_ms(const struct clock *clock)
{
    const struct clock *c = clock ? clock : &clock_real;
    return c->mono_ms(c);
}

static enum err_code ask_state(struct state *s, const struct lease_ask *ask, struct lease_answer *out,
                               struct err *e)
{
    if (check_text("name", ask->name, STATE_NAME_BYTES, e))
        return err_wrap(e, "lease");
    if (s->ops->lease(s, ask, out, e))
        return err_wrap(e, "lease '%s'", ask->name);
    return OK;
}

enum err_code lease_take(struct state *s, const char *name, const char *owner, int64_t ttl_ms,
                         struct lease *out, struct err *e)
{
    struct lease_ask ask = { .verb = LEASE_TAKE, .name = name, .owner = owner, .ttl_ms = ttl_ms };
    struct lease_answer got = { .done = false };
    struct lease l = { .ttl_ms = ttl_ms, .clock = s->ops->clock(s) };

    if (check_text("owner", owner, sizeof(l.owner), e))
        return err_wrap(e, "lease");
    if (ttl_ms < 1 || ttl_ms > LEASE_TTL_MS_MAX)
        return err_set(e, ERR_USAGE, "lease: %" PRId64 " ms is not in 1 to %d", ttl_ms, LEASE_TTL_MS_MAX);
    l.good_until_mono_ms = mono_ms(l.clock) + ttl_ms;
    if (ask_state(s, &ask, &got, e))
        return e->code;
    if (!got.done)
        return err_set(e, ERR_CONFLICT, "lease '%s' is held by '%s' for another %" PRId64 " ms", name,
                       got.owner, got.left_ms);
    l.token = got.token;
    if (text_copy(l.name, sizeof(l.name), name, "name", e) ||
        text_copy(l.owner, sizeof(l.owner), owner, "owner", e))
        return e->code;
    *out = l;
    return OK;
}

enum err_code lease_renew(struct state *s, struct lease *l, struct err *e)
{
    struct lease_ask ask = {
        .verb = LEASE_RENEW, .name = l->name, .owner = "", .token = l->token, .ttl_ms = l->ttl_ms
    };
    struct lease_answer got = { .done = false };
    int64_t good_until = mono_ms(l->clock) + l->ttl_ms;

    if (ask_state(s, &ask, &got, e))
        return e->code;
    if (!got.done) {
        l->good_until_mono_ms = 0; /* whatever our clock thinks: it is lost */
        return err_set(e, ERR_DENIED, "lease '%s' under token %" PRId64 " is lost%s%s%s", l->name, l->token,
                       got.owner[0] ? " to '" : "", got.owner, got.owner[0] ? "'" : "");
    }
    l->good_until_mono_ms = good_until;
    return OK;
}

enum err_code lease_release(struct state *s, struct lease *l, struct err *e)
{
    struct lease_ask ask = { .verb = LEASE_RELEASE, .name = l->name, .owner = "", .token = l->token };
    struct lease_answer got = { .done = false };

    if (ask_state(s, &ask, &got, e))
        return e->code;
    l->good_until_mono_ms = 0;
    return OK;
}

int64_t lease_left_ms(const struct lease *l)
{
    if (l->good_until_mono_ms == 0)
        return 0;
    return MAX(0, l->good_until_mono_ms - mono_ms(l->clock));
}

enum err_code lease_break(struct state *s, const char *name, int64_t token, struct err *e)
{
    struct lease_ask ask = { .verb = LEASE_BREAK, .name = name, .owner = "", .token = token };
    struct lease_answer got = { .done = false };

    if (ask_state(s, &ask, &got, e))
        return e->code;
    if (!got.done)
        return err_set(e, ERR_CONFLICT, "lease '%s' has token %" PRId64 " by now, not %" PRId64, name,
                       got.token, token);
    return OK;
}

enum err_code lease_look(struct state *s, const char *name, struct lease_facts *out, struct err *e)
{
    struct lease_ask ask = { .verb = LEASE_LOOK, .name = name, .owner = "" };
    struct lease_answer got = { .done = false };

    if (ask_state(s, &ask, &got, e))
        return e->code;
    *out = (struct lease_facts){ .held = got.done, .token = got.token, .left_ms = got.left_ms };
    memcpy(out->owner, got.owner, sizeof(out->owner));
    return OK;
}
