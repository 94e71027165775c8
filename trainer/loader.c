#include "trainer/loader.h"

#include "base/mem.h"
#include "base/rng.h"

#include <string.h>

enum {
    STREAM_SEGMENT_ORDER = 0x5e60
}; /* of base/rng.h; never changed: it is part of what a model's bits depend on */

/* One own leaf: where it stands in its run of the current epoch. */
struct leaf {
    uint32_t segment; /* whose order is in `order`; UINT32_MAX: none */
    uint64_t before;  /* records of the run before that segment */
    uint32_t *order;  /* owned */
    float *features;  /* owned: (leaf_batch, width) */
    int32_t *labels;  /* owned */
};
struct loader {
    struct loader_config config;
    const struct dataset *dataset;
    struct shards *shards;
    size_t width;
    struct plan plan; /* of plan.epoch; epoch -1: none yet */
    struct leaf *leaves;
    struct batch *batches;
};

static enum err_code plan_epoch(struct loader *l, int64_t epoch, struct err *e)
{
    struct plan next = { 0 };
    if (plan_for_dataset(l->dataset, l->config.holdout, l->config.seed, epoch, l->config.leaves, &next, e))
        return e->code;
    plan_done(&l->plan);
    l->plan = next;
    for (size_t i = 0; i < l->config.own.count; i++)
        l->leaves[i].segment = UINT32_MAX;
    return OK;
}

enum err_code loader_open(const struct loader_config *config, const struct dataset *dataset,
                          struct shards *shards, size_t width, struct loader **out, struct err *e)
{
    CLEANUP(loader_closep) struct loader *l = mem_new(sizeof(*l));

    l->config = *config;
    l->dataset = dataset;
    l->shards = shards;
    l->width = width;
    l->leaves = mem_array(config->own.count, sizeof(*l->leaves));
    l->batches = mem_array(config->own.count, sizeof(*l->batches));
    for (size_t i = 0; i < config->own.count; i++) {
        struct leaf *leaf = &l->leaves[i];
        leaf->features = mem_try(config->leaf_batch * width * sizeof(*leaf->features));
        leaf->labels = mem_try(config->leaf_batch * sizeof(*leaf->labels));
        if (!leaf->features || !leaf->labels)
            return err_set(e, ERR_LIMIT,
                           "no memory for a batch of %zu records of %zu numbers; make train.batch smaller",
                           config->leaf_batch, width);
    }
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

static enum err_code fill(struct loader *l, size_t own, uint64_t first, size_t n, struct err *e)
{
    struct leaf *leaf = &l->leaves[own];

    for (size_t i = 0; i < n; i++) {
        struct shard_rows rows;
        seek(l, own, first + i);
        const struct plan_segment *segment = &l->plan.segments[leaf->segment];
        if (shards_get(l->shards, segment->shard, &rows, e))
            return e->code;
        uint64_t row = segment->first + leaf->order[first + i - leaf->before];
        invariant(row < rows.train_rows);
        memcpy(leaf->features + i * l->width, rows.features + row * l->width, l->width * sizeof(float));
        leaf->labels[i] = rows.labels[row];
    }
    l->batches[own] = (struct batch){ .n = n, .features = leaf->features, .labels = leaf->labels };
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
