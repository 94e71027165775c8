#include "tests/fake/state_fault.h"

static struct state_fault *of(struct state *s)
{
    return (struct state_fault *)s;
}

static bool fails(struct state *s)
{
    struct state_fault *f = of(s);
    const int64_t call = ++f->calls;

    return f->fail_from && call >= f->fail_from && call < f->fail_from + f->times;
}

static enum err_code outage(struct err *e)
{
    return err_set(e, ERR_RETRY, "the state is away (a test says so)");
}

static void fault_close(struct state *s)
{
    (void)s;
}

static enum err_code fault_get(struct state *s, const char *name, struct buf *out, int64_t *out_version,
                               struct err *e)
{
    struct state *inner = of(s)->inner;
    return fails(s) ? outage(e) : inner->ops->get(inner, name, out, out_version, e);
}

static enum err_code fault_range(struct state *s, const char *set, double min, double max, bool descending,
                                 int64_t skip, int64_t limit, state_each_fn *each, void *context,
                                 struct err *e)
{
    struct state *inner = of(s)->inner;
    return fails(s) ? outage(e)
                    : inner->ops->range(inner, set, min, max, descending, skip, limit, each, context, e);
}

static enum err_code fault_count(struct state *s, const char *set, int64_t *out, struct err *e)
{
    struct state *inner = of(s)->inner;
    return fails(s) ? outage(e) : inner->ops->count(inner, set, out, e);
}

static enum err_code fault_read(struct state *s, const char *stream, struct state_id after, int64_t limit,
                                state_entry_fn *each, void *context, struct err *e)
{
    struct state *inner = of(s)->inner;
    return fails(s) ? outage(e) : inner->ops->read(inner, stream, after, limit, each, context, e);
}

static enum err_code fault_now(struct state *s, int64_t *out_wall_ms, struct err *e)
{
    struct state *inner = of(s)->inner;
    return fails(s) ? outage(e) : inner->ops->now(inner, out_wall_ms, e);
}

static enum err_code fault_commit(struct state *s, const struct state_tx *tx, struct err *e)
{
    struct state *inner = of(s)->inner;
    void (*before)(void *context) = of(s)->before_commit;

    of(s)->before_commit = NULL;
    if (before)
        before(of(s)->context);
    if (!fails(s))
        return inner->ops->commit(inner, tx, e);
    if (of(s)->torn && inner->ops->commit(inner, tx, e))
        return e->code; /* a refusal is no outage */
    return outage(e);
}

static enum err_code fault_lease(struct state *s, const struct lease_ask *ask, struct lease_answer *out,
                                 struct err *e)
{
    struct state *inner = of(s)->inner;

    if (!fails(s))
        return inner->ops->lease(inner, ask, out, e);
    if (of(s)->torn)
        IGNORE(inner->ops->lease(inner, ask, out, e));
    return outage(e);
}

static const struct clock *fault_clock(struct state *s)
{
    struct state *inner = of(s)->inner;
    return inner->ops->clock(inner);
}

static enum err_code fault_watch_open(struct state *s, const char *const *streams, size_t count,
                                      struct state_watch **out, struct err *e)
{
    struct state *inner = of(s)->inner;
    return fails(s) ? outage(e) : inner->ops->watch_open(inner, streams, count, out, e);
}

static const struct state_ops fault_ops = {
    .name = "fault",
    .close = fault_close,
    .get = fault_get,
    .range = fault_range,
    .count = fault_count,
    .read = fault_read,
    .now = fault_now,
    .commit = fault_commit,
    .lease = fault_lease,
    .clock = fault_clock,
    .watch_open = fault_watch_open,
};

void state_fault_init(struct state_fault *f, struct state *inner)
{
    *f = (struct state_fault){ .base = { .ops = &fault_ops }, .inner = inner };
}

void state_fault_at(struct state_fault *f, int64_t nth, int64_t times, bool torn)
{
    f->fail_from = f->calls + nth;
    f->times = times;
    f->torn = torn;
}
