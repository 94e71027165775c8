/*
 * comm_self.c - one rank, alone: everything has already happened.
 */
#include "base/mem.h"
#include "trainer/comm.h"

#include <string.h>

static enum err_code self_barrier(struct comm *c, struct err *e)
{
    (void)c;
    (void)e;
    return OK;
}

static enum err_code self_broadcast(struct comm *c, void *data, size_t bytes, int root, struct err *e)
{
    (void)c;
    (void)data;
    (void)bytes;
    (void)root;
    (void)e;
    return OK;
}

static enum err_code self_gather(struct comm *c, const void *own, size_t bytes, void *all, struct err *e)
{
    (void)c;
    (void)e;
    if (bytes > 0)
        memcpy(all, own, bytes);
    return OK;
}

static enum err_code self_gather_sized(struct comm *c, const void *own, size_t bytes, void *all,
                                       const size_t *starts, struct err *e)
{
    (void)starts;
    return self_gather(c, own, bytes, all, e);
}

static enum err_code self_max(struct comm *c, int64_t *value, struct err *e)
{
    (void)c;
    (void)value;
    (void)e;
    return OK;
}

static enum err_code self_meet(struct comm *c, int64_t until_ms, int *out_missing, struct err *e)
{
    (void)c;
    (void)until_ms;
    (void)e;
    *out_missing = -1;
    return OK;
}

static enum err_code self_swap(struct comm *c, const struct comm_swap *of, struct err *e)
{
    (void)e;
    invariant(of->partner == c->rank); // never: one rank has no partner
    return OK;
}

static enum err_code self_sum_fast(struct comm *c, float *data, size_t n, size_t first, size_t count,
                                   struct err *e)
{
    (void)c;
    (void)data;
    (void)n;
    (void)first;
    (void)count;
    (void)e;
    return OK;
}

static enum err_code self_finish(struct comm *c, struct err *e)
{
    (void)c;
    (void)e;
    return OK;
}

static void self_abort(struct comm *c, int exit_status)
{
    (void)c;
    _exit(exit_status);
}

static void self_close(struct comm *c)
{
    free(c);
}

static const struct comm_ops self_ops = {
    .name = "self",
    .barrier = self_barrier,
    .broadcast = self_broadcast,
    .gather = self_gather,
    .gather_sized = self_gather_sized,
    .max = self_max,
    .meet = self_meet,
    .swap = self_swap,
    .sum_fast = self_sum_fast,
    .finish = self_finish,
    .abort = self_abort,
    .close = self_close,
};

struct comm *comm_self_new(void)
{
    struct comm *c = mem_new(sizeof(*c));
    *c = (struct comm){ .ops = &self_ops, .rank = 0, .size = 1 };
    return c;
}
