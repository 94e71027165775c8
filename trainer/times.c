#include "trainer/times.h"

#include "base/mem.h"

#include <string.h>

struct times {
    int ranks;
    int64_t began_us, steps;
    int64_t data_us, checkpoint_us;
    struct step_times sum;
    int64_t *busy_us; /* by rank */
};

struct times *times_new(int ranks)
{
    struct times *t = mem_new(sizeof(*t));
    t->ranks = ranks;
    t->busy_us = mem_array((size_t)ranks, sizeof(*t->busy_us));
    return t;
}

void times_free(struct times *t)
{
    if (t)
        free(t->busy_us);
    free(t);
}

void times_start(struct times *t, int64_t now_us)
{
    int64_t *busy_us = t->busy_us;

    memset(busy_us, 0, (size_t)t->ranks * sizeof(*busy_us));
    *t = (struct times){ .ranks = t->ranks, .began_us = now_us, .busy_us = busy_us };
}

void times_add_step(struct times *t, int64_t data_us, const struct step_result *r)
{
    t->steps++;
    t->data_us += data_us;
    t->sum.compute_us += r->times.compute_us;
    t->sum.reduce_us += r->times.reduce_us;
    t->sum.update_us += r->times.update_us;
    for (int rank = 0; rank < t->ranks; rank++)
        t->busy_us[rank] += r->busy_us[rank];
}

void times_add_checkpoint(struct times *t, int64_t us)
{
    t->checkpoint_us += us;
}

static double mean_ms(const struct times *t, int64_t us)
{
    return (double)us / 1000.0 / (double)t->steps;
}

bool times_tell(struct times *t, int64_t now_us, int64_t window_us, struct pulse_times *out)
{
    int64_t known = t->data_us + t->checkpoint_us + t->sum.compute_us + t->sum.reduce_us + t->sum.update_us;
    int slowest = 0;

    if (t->steps == 0 || now_us - t->began_us < window_us)
        return false;
    for (int rank = 1; rank < t->ranks; rank++)
        if (t->busy_us[rank] > t->busy_us[slowest])
            slowest = rank;
    *out = (struct pulse_times){
        .data = mean_ms(t, t->data_us),
        .compute = mean_ms(t, t->sum.compute_us),
        .reduce = mean_ms(t, t->sum.reduce_us),
        .update = mean_ms(t, t->sum.update_us),
        .checkpoint = mean_ms(t, t->checkpoint_us),
        .other = mean_ms(t, MAX(now_us - t->began_us - known, 0)),
        .slowest = mean_ms(t, t->busy_us[slowest]),
        .slowest_rank = slowest,
    };
    times_start(t, now_us);
    return true;
}
