#include "trainer/loader.h"

#include "base/mem.h"
#include "base/rng.h"
#include "trainer/beside.h"
#include "trainer/feed.h"
#include "trainer/sequences.h"

#include <string.h>

enum {
    STREAM_SEGMENT_ORDER = 0x5e60
}; /* of base/rng.h; never changed: it is part of what a model's bits depend on */

/* Where an own leaf stands in its run of the current epoch. */
struct place {
    uint32_t segment; /* whose order is in `order`; UINT32_MAX: none */
    uint64_t before;  /* records of the run before that segment */
    uint32_t *order;  /* owned */
};
/* What an own leaf is fed with in one step. */
struct leaf {
    float *features; /* owned; rows: (leaf_batch, width) */
    int32_t *labels; /* owned; rows: (leaf_batch); sequences: (leaf_batch, context), as those below */
    int32_t *tokens, *starts; /* owned */
};
/* The own leaves of one step. */
struct filled {
    int64_t step; /* 0: of none */
    struct leaf *leaves;
    struct batch *batches;
    struct err failure;
};
enum { FILLED = 2 }; /* what the caller computes with, and what is filled meanwhile */

struct loader {
    struct loader_config config;
    const struct dataset *dataset;
    struct shards *shards;
    int64_t steps_per_epoch; /* the same in every epoch */
    struct filled filled[FILLED];
    struct beside *beside; /* NULL: nothing is filled ahead */

    /* The thread's while it works. */
    struct plan plan; /* of plan.epoch; epoch -1: none yet */
    struct place *places;
    struct filled *filling;
};

static enum err_code plan_epoch(struct loader *l, int64_t epoch, struct err *e)
{
    struct plan next = { 0 };
    const struct plan_rule rule = { l->config.holdout, l->config.context, l->config.seed, l->config.leaves };
    if (plan_for_dataset(l->dataset, &rule, epoch, &next, e))
        return e->code;
    plan_done(&l->plan);
    l->plan = next;
    for (size_t i = 0; i < l->config.own.count; i++)
        l->places[i].segment = UINT32_MAX;
    return OK;
}

static bool take_memory(const struct loader_config *c, struct leaf *leaf)
{
    size_t n = c->leaf_batch, tokens = n * c->context;

    if (c->context > 0) {
        leaf->tokens = mem_try(tokens * sizeof(*leaf->tokens));
        leaf->labels = mem_try(tokens * sizeof(*leaf->labels));
        leaf->starts = mem_try(tokens * sizeof(*leaf->starts));
        return leaf->tokens && leaf->labels && leaf->starts;
    }
    leaf->features = mem_try(n * c->width * sizeof(*leaf->features));
    leaf->labels = mem_try(n * sizeof(*leaf->labels));
    return leaf->features && leaf->labels;
}

static enum err_code open_filled(const struct loader_config *c, struct filled *f, struct err *e)
{
    f->leaves = mem_array(c->own.count, sizeof(*f->leaves));
    f->batches = mem_array(c->own.count, sizeof(*f->batches));
    for (size_t i = 0; i < c->own.count; i++)
        if (!take_memory(c, &f->leaves[i]))
            return err_set(e, ERR_LIMIT,
                           "no memory for a batch of %zu records of %zu numbers; make train.batch smaller",
                           c->leaf_batch, c->context > 0 ? c->context : c->width);
    return OK;
}

static void close_filled(const struct loader_config *c, struct filled *f)
{
    for (size_t i = 0; f->leaves && i < c->own.count; i++) {
        free(f->leaves[i].features);
        free(f->leaves[i].labels);
        free(f->leaves[i].tokens);
        free(f->leaves[i].starts);
    }
    free(f->leaves);
    free(f->batches);
}

enum err_code loader_open(const struct loader_config *config, const struct dataset *dataset,
                          struct shards *shards, struct loader **out, struct err *e)
{
    CLEANUP(loader_closep) struct loader *l = mem_new(sizeof(*l));
    bool ahead = config->epochs > 0;

    l->config = *config;
    l->dataset = dataset;
    l->shards = shards;
    l->places = mem_array(config->own.count, sizeof(*l->places));
    for (size_t i = 0; i < (ahead ? FILLED : 1); i++)
        if (open_filled(config, &l->filled[i], e))
            return e->code;
    if (plan_epoch(l, 0, e))
        return e->code;
    l->steps_per_epoch = (int64_t)((l->plan.records_per_leaf + config->leaf_batch - 1) / config->leaf_batch);
    if (ahead && beside_open(false, &l->beside, e))
        return e->code;
    *out = TAKE(l);
    return OK;
}

void loader_close(struct loader *l)
{
    if (!l)
        return;
    beside_close(l->beside);
    for (size_t i = 0; i < FILLED; i++)
        close_filled(&l->config, &l->filled[i]);
    for (size_t i = 0; l->places && i < l->config.own.count; i++)
        free(l->places[i].order);
    free(l->places);
    plan_done(&l->plan);
    free(l);
}

int64_t loader_steps_per_epoch(const struct loader *l)
{
    return l->steps_per_epoch;
}

/* Make an own leaf stand in the segment that holds record `k` of its run. */
static void seek(struct loader *l, size_t own, uint64_t k)
{
    struct place *place = &l->places[own];
    uint32_t id = (uint32_t)(l->config.own.first + own);
    uint32_t segment = l->plan.leaf_start[id];
    uint64_t before = 0;

    while (k >= before + l->plan.segments[segment].count)
        before += l->plan.segments[segment++].count;
    if (place->segment == segment)
        return;
    uint64_t count = l->plan.segments[segment].count;
    uint64_t key = rng_key((uint64_t)l->plan.seed, STREAM_SEGMENT_ORDER);
    key = rng_key(rng_key(rng_key(key, (uint64_t)l->plan.epoch), id), segment - l->plan.leaf_start[id]);
    invariant(count <= UINT32_MAX);
    place->order = mem_grow(place->order, count, sizeof(*place->order));
    rng_permutation(key, place->order, (uint32_t)count);
    place->segment = segment;
    place->before = before;
}

static enum err_code fill_row(struct loader *l, struct leaf *leaf, size_t shard, uint64_t row, size_t place,
                              struct err *e)
{
    size_t width = l->config.width;
    struct shard_rows rows;

    if (shards_get(l->shards, shard, &rows, e))
        return e->code;
    invariant(row < rows.train_rows);
    memcpy(leaf->features + place * width, rows.features + row * width, width * sizeof(float));
    leaf->labels[place] = rows.labels[row];
    return OK;
}

static enum err_code fill_sequence(struct loader *l, struct leaf *leaf, size_t shard, uint64_t sequence,
                                   size_t place, struct err *e)
{
    size_t T = l->config.context, at = place * T;
    struct shard_tokens t;

    if (shards_tokens(l->shards, shard, &t, e))
        return e->code;
    invariant(sequence < dataset_examples(t.count, T));
    sequence_take(t.tokens, sequence, T, feed_end_token(l->dataset), leaf->tokens + at, leaf->labels + at,
                  leaf->starts + at);
    return OK;
}

static enum err_code fill(struct loader *l, struct filled *into, size_t own, uint64_t first, size_t n,
                          struct err *e)
{
    struct leaf *leaf = &into->leaves[own];
    const struct place *at = &l->places[own];

    for (size_t i = 0; i < n; i++) {
        seek(l, own, first + i);
        const struct plan_segment *segment = &l->plan.segments[at->segment];
        uint64_t record = segment->first + at->order[first + i - at->before];
        if (l->config.context > 0 ? fill_sequence(l, leaf, segment->shard, record, i, e)
                                  : fill_row(l, leaf, segment->shard, record, i, e))
            return e->code;
    }
    into->batches[own] = (struct batch){ .n = n,
                                         .features = leaf->features,
                                         .labels = leaf->labels,
                                         .tokens = leaf->tokens,
                                         .starts = leaf->starts,
                                         .length = l->config.context };
    return OK;
}

static enum err_code fill_step(struct loader *l, struct filled *into, struct err *e)
{
    int64_t epoch = (into->step - 1) / l->steps_per_epoch;
    uint64_t first = (uint64_t)((into->step - 1) % l->steps_per_epoch) * l->config.leaf_batch;

    if (l->plan.epoch != epoch && plan_epoch(l, epoch, e))
        return e->code;
    size_t n = (size_t)MIN((uint64_t)l->config.leaf_batch, l->plan.records_per_leaf - first);
    for (size_t own = 0; own < l->config.own.count; own++)
        if (fill(l, into, own, first, n, e))
            return e->code;
    return OK;
}

static void fill_beside(void *context)
{
    struct loader *l = context;
    IGNORE(fill_step(l, l->filling, &l->filling->failure));
}

static void start_filling(struct loader *l, int64_t step)
{
    l->filling = &l->filled[step % FILLED];
    l->filling->step = step;
    err_clear(&l->filling->failure);
    beside_start(l->beside, fill_beside, l);
}

/* Most often it was filled while the step before computed. */
static enum err_code step_ahead(struct loader *l, int64_t step, const struct batch **out_leaves,
                                struct err *e)
{
    struct filled *f = &l->filled[step % FILLED];

    beside_wait(l->beside);
    if (f->step != step) {
        start_filling(l, step);
        beside_wait(l->beside);
    }
    if (f->failure.code != OK) {
        *e = f->failure;
        f->step = 0; /* asked again, it is tried again */
        return e->code;
    }
    *out_leaves = f->batches;
    if (step < l->config.epochs * l->steps_per_epoch)
        start_filling(l, step + 1);
    return OK;
}

enum err_code loader_step(struct loader *l, int64_t step, const struct batch **out_leaves, struct err *e)
{
    if (l->beside)
        return step_ahead(l, step, out_leaves, e);
    l->filled[0].step = step;
    if (fill_step(l, &l->filled[0], e))
        return e->code;
    *out_leaves = l->filled[0].batches;
    return OK;
}
