#include "trainer/loader.h"

#include "base/mem.h"
#include "base/rng.h"
#include "trainer/feed.h"
#include "trainer/sequences.h"

#include <string.h>

enum {
    STREAM_SEGMENT_ORDER = 0x5e60
}; /* of base/rng.h; never changed: it is part of what a model's bits depend on */

/* One own leaf: where it stands in its run of the current epoch. */
struct leaf {
    uint32_t segment; /* whose order is in `order`; UINT32_MAX: none */
    uint64_t before;  /* records of the run before that segment */
    uint32_t *order;  /* owned */
    float *features;  /* owned; rows: (leaf_batch, width) */
    int32_t *labels;  /* owned; rows: (leaf_batch); sequences: (leaf_batch, context), as those below */
    int32_t *tokens, *starts; /* owned */
};
struct loader {
    struct loader_config config;
    const struct dataset *dataset;
    struct shards *shards;
    struct plan plan; /* of plan.epoch; epoch -1: none yet */
    struct leaf *leaves;
    struct batch *batches;
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
        l->leaves[i].segment = UINT32_MAX;
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

enum err_code loader_open(const struct loader_config *config, const struct dataset *dataset,
                          struct shards *shards, struct loader **out, struct err *e)
{
    CLEANUP(loader_closep) struct loader *l = mem_new(sizeof(*l));

    l->config = *config;
    l->dataset = dataset;
    l->shards = shards;
    l->leaves = mem_array(config->own.count, sizeof(*l->leaves));
    l->batches = mem_array(config->own.count, sizeof(*l->batches));
    for (size_t i = 0; i < config->own.count; i++)
        if (!take_memory(config, &l->leaves[i]))
            return err_set(e, ERR_LIMIT,
                           "no memory for a batch of %zu records of %zu numbers; make train.batch smaller",
                           config->leaf_batch, config->context > 0 ? config->context : config->width);
    if (plan_epoch(l, 0, e))
        return e->code;
    *out = TAKE(l);
    return OK;
}

void loader_close(struct loader *l)
{
    if (!l)
        return;
    for (size_t i = 0; l->leaves && i < l->config.own.count; i++) {
        free(l->leaves[i].order);
        free(l->leaves[i].features);
        free(l->leaves[i].labels);
        free(l->leaves[i].tokens);
        free(l->leaves[i].starts);
    }
    free(l->leaves);
    free(l->batches);
    plan_done(&l->plan);
    free(l);
}

int64_t loader_steps_per_epoch(const struct loader *l)
{
    return (int64_t)((l->plan.records_per_leaf + l->config.leaf_batch - 1) / l->config.leaf_batch);
}

/* Make `leaf` stand in the segment that holds record `k` of its run. */
static void seek(struct loader *l, size_t own, uint64_t k)
{
    struct leaf *leaf = &l->leaves[own];
    uint32_t id = (uint32_t)(l->config.own.first + own);
    uint32_t segment = l->plan.leaf_start[id];
    uint64_t before = 0;

    while (k >= before + l->plan.segments[segment].count)
        before += l->plan.segments[segment++].count;
    if (leaf->segment == segment)
        return;
    uint64_t count = l->plan.segments[segment].count;
    uint64_t key = rng_key((uint64_t)l->plan.seed, STREAM_SEGMENT_ORDER);
    key = rng_key(rng_key(rng_key(key, (uint64_t)l->plan.epoch), id), segment - l->plan.leaf_start[id]);
    invariant(count <= UINT32_MAX);
    leaf->order = mem_grow(leaf->order, count, sizeof(*leaf->order));
    rng_permutation(key, leaf->order, (uint32_t)count);
    leaf->segment = segment;
    leaf->before = before;
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

static enum err_code fill(struct loader *l, size_t own, uint64_t first, size_t n, struct err *e)
{
    struct leaf *leaf = &l->leaves[own];

    for (size_t i = 0; i < n; i++) {
        seek(l, own, first + i);
        const struct plan_segment *segment = &l->plan.segments[leaf->segment];
        uint64_t record = segment->first + leaf->order[first + i - leaf->before];
        if (l->config.context > 0 ? fill_sequence(l, leaf, segment->shard, record, i, e)
                                  : fill_row(l, leaf, segment->shard, record, i, e))
            return e->code;
    }
    l->batches[own] = (struct batch){ .n = n,
                                      .features = leaf->features,
                                      .labels = leaf->labels,
                                      .tokens = leaf->tokens,
                                      .starts = leaf->starts,
                                      .length = l->config.context };
    return OK;
}

enum err_code loader_step(struct loader *l, int64_t step, const struct batch **out_leaves, struct err *e)
{
    int64_t per_epoch = loader_steps_per_epoch(l);
    int64_t epoch = (step - 1) / per_epoch;
    uint64_t first = (uint64_t)((step - 1) % per_epoch) * l->config.leaf_batch;
    size_t n = (size_t)MIN((uint64_t)l->config.leaf_batch, l->plan.records_per_leaf - first);

    if (l->plan.epoch != epoch && plan_epoch(l, epoch, e))
        return e->code;
    for (size_t own = 0; own < l->config.own.count; own++)
        if (fill(l, own, first, n, e))
            return e->code;
    *out_leaves = l->batches;
    return OK;
}
