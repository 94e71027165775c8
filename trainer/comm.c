#include "trainer/comm.h"

#include "base/mem.h"
#include "trainer/tree.h"

#include <string.h>

void comm_close(struct comm *c)
{
    if (c)
        c->ops->close(c);
}

void comm_abort(struct comm *c, int exit_status)
{
    c->ops->abort(c, exit_status);
    _exit(exit_status);
}

enum err_code comm_barrier(struct comm *c, struct err *e)
{
    return c->ops->barrier(c, e) ? err_wrap(e, "wait for all ranks") : OK;
}

enum err_code comm_broadcast(struct comm *c, void *data, size_t bytes, int root, struct err *e)
{
    invariant(root >= 0 && root < c->size);
    return c->ops->broadcast(c, data, bytes, root, e) ? err_wrap(e, "broadcast %zu bytes", bytes) : OK;
}

enum err_code comm_gather(struct comm *c, const void *own, size_t bytes, void *all, struct err *e)
{
    if (bytes > COMM_GATHER_BYTES_MAX / (size_t)c->size)
        return err_set(e, ERR_LIMIT, "gather %zu bytes from each of %d ranks: %zu in sum are the most", bytes,
                       c->size, COMM_GATHER_BYTES_MAX);
    return c->ops->gather(c, own, bytes, all, e) ? err_wrap(e, "gather %zu bytes a rank", bytes) : OK;
}

enum err_code comm_max(struct comm *c, int64_t *value, struct err *e)
{
    return c->ops->max(c, value, e) ? err_wrap(e, "compare a number over all ranks") : OK;
}

enum err_code comm_meet(struct comm *c, int64_t until_ms, struct err *e)
{
    int missing = -1;

    if (c->ops->meet(c, until_ms, &missing, e))
        return err_wrap(e, "wait for all ranks");
    if (missing < 0)
        return OK;
    comm_break(c);
    return err_set(e, ERR_RETRY, "rank %d missed the deadline", missing);
}

void comm_break(struct comm *c)
{
    for (; c; c = c->under)
        c->broken = true;
}

void comm_until(struct comm *c, int64_t mono_ms)
{
    for (; c; c = c->under)
        c->until_ms = mono_ms;
}

void comm_gently(struct comm *c, bool gently)
{
    c->gentle = gently;
}

void comm_parts_done(struct comm_parts *p)
{
    free(p->data);
    free(p->starts);
    *p = (struct comm_parts){ 0 };
}

enum err_code comm_gather_sized(struct comm *c, const void *own, size_t bytes, struct comm_parts *out,
                                struct err *e)
{
    CLEANUP(comm_parts_done)
    struct comm_parts p = { .starts = mem_array((size_t)c->size + 1, sizeof(*p.starts)) };
    CLEANUP(freep) uint64_t *sizes = mem_array((size_t)c->size, sizeof(*sizes));
    uint64_t mine = bytes;

    if (comm_gather(c, &mine, sizeof(mine), sizes, e))
        return e->code;
    for (int r = 0; r < c->size; r++) {
        if (sizes[r] > COMM_GATHER_BYTES_MAX - p.starts[r])
            return err_set(e, ERR_LIMIT, "ranks 0 to %d have more than %zu bytes to gather", r,
                           COMM_GATHER_BYTES_MAX);
        p.starts[r + 1] = p.starts[r] + sizes[r];
    }
    p.data = mem_new(p.starts[c->size] + 1);
    if (c->ops->gather_sized(c, own, bytes, p.data, p.starts, e))
        return err_wrap(e, "gather %zu bytes of all ranks", p.starts[c->size]);
    out->data = TAKE(p.data);
    out->starts = TAKE(p.starts);
    return OK;
}

/* The lowest rank whose failure has the code `worst` tells all others its sentence. */
static enum err_code share_failure(struct comm *c, enum err_code worst, struct err *e, struct err *e_comm)
{
    int64_t speaker = e->code == worst ? c->size - 1 - c->rank : -1;
    struct err told = *e;

    if (comm_max(c, &speaker, e_comm))
        return e_comm->code;
    int rank = c->size - 1 - (int)speaker;
    if (comm_broadcast(c, &told, sizeof(told), rank, e_comm))
        return e_comm->code;
    told.text[sizeof(told.text) - 1] = '\0';
    if (c->size == 1)
        return OK;
    IGNORE(err_set(e, worst, "%s", told.text));
    e->cause = told.cause;
    IGNORE(err_wrap(e, "rank %d", rank));
    return OK;
}

enum err_code comm_agree(struct comm *c, struct err *e)
{
    struct err e_comm = ERR_INIT;
    int64_t worst = e->code;

    if (comm_max(c, &worst, &e_comm) || (worst != OK && share_failure(c, (enum err_code)worst, e, &e_comm))) {
        if (e->code == OK) // our own failure says more than that nobody could be told
            *e = e_comm;
    }
    return e->code;
}

enum err_code comm_sum_scatter(struct comm *c, float *data, size_t n, struct err *e)
{
    return comm_sum_scatter_range(c, data, n, 0, n, e) ? e->code : comm_finish(c, e);
}

/* What [first, first + count) and [from, to) have in common. */
static struct slice_range common(size_t first, size_t count, size_t from, size_t to)
{
    size_t begin = MAX(first, from), end = MIN(first + count, to);
    return (struct slice_range){ begin, end > begin ? end - begin : 0 };
}

/* In each round the two partners hold the same part of the vector; so both know what of it is in the range.
 */
enum err_code comm_sum_scatter_range(struct comm *c, float *data, size_t n, size_t first, size_t count,
                                     struct err *e)
{
    size_t at = 0, held = n;

    invariant(is_power_of_two((size_t)c->size) && n % (size_t)c->size == 0 && first + count <= n);
    for (int bit = 1; bit < c->size; bit <<= 1) {
        size_t half = held / 2;
        bool upper = c->rank & bit;
        struct slice_range low = common(first, count, at, at + half);
        struct slice_range high = common(first, count, at + half, at + held);
        struct slice_range keep = upper ? high : low, give = upper ? low : high;
        const struct comm_swap s = { .partner = c->rank ^ bit,
                                     .send = data + give.first,
                                     .send_count = give.count,
                                     .into = data + keep.first,
                                     .into_count = keep.count,
                                     .add = true };
        if (c->ops->swap(c, &s, e))
            return err_wrap(e, "sum with rank %d", s.partner);
        at += upper ? half : 0;
        held = half;
    }
    return OK;
}

enum err_code comm_spread(struct comm *c, float *data, size_t n, struct err *e)
{
    size_t count = n / (size_t)c->size;
    size_t first = slices_of_rank(c->rank, c->size, (size_t)c->size).first * count;

    invariant(n % (size_t)c->size == 0);
    for (int bit = c->size >> 1; bit > 0; bit >>= 1) {
        bool upper = c->rank & bit;
        const struct comm_swap s = { .partner = c->rank ^ bit,
                                     .send = data + first,
                                     .send_count = count,
                                     .into = upper ? data + first - count : data + first + count,
                                     .into_count = count };
        if (c->ops->swap(c, &s, e))
            return err_wrap(e, "spread with rank %d", s.partner);
        first -= upper ? count : 0;
        count *= 2;
    }
    return comm_finish(c, e);
}

enum err_code comm_sum_fast_range(struct comm *c, float *data, size_t n, size_t first, size_t count,
                                  struct err *e)
{
    invariant(is_power_of_two((size_t)c->size) && n % (size_t)c->size == 0 && first + count <= n);
    return c->ops->sum_fast(c, data, n, first, count, e) ? err_wrap(e, "sum over all ranks") : OK;
}

enum err_code comm_sum_fast(struct comm *c, float *data, size_t n, struct err *e)
{
    return comm_sum_fast_range(c, data, n, 0, n, e) ? e->code : comm_finish(c, e);
}

enum err_code comm_finish(struct comm *c, struct err *e)
{
    return c->ops->finish(c, e) ? err_wrap(e, "exchange with all ranks") : OK;
}
