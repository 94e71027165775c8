#include "core/job/plan.h"

#include "base/mem.h"
#include "base/rng.h"
#include "core/job/record.h"

#include <inttypes.h>
#include <string.h>

void plan_done(struct plan *p)
{
    free(p->segments);
    free(p->leaf_start);
    *p = (struct plan){ .segments = NULL };
}

static enum err_code total_of(const uint64_t *records, size_t shards, uint64_t *out, struct err *e)
{
    uint64_t total = 0;
    for (size_t i = 0; i < shards; i++)
        if (__builtin_add_overflow(total, records[i], &total) || total > (uint64_t)DATASET_RECORDS_MAX)
            return err_set(e, ERR_LIMIT, "more than %" PRId64 " training records", DATASET_RECORDS_MAX);
    *out = total;
    return OK;
}

/* The ring of shards: where the next record is taken from. */
struct ring {
    const uint64_t *records;
    const uint32_t *order;
    size_t shards;
    size_t at;      /* index into order */
    uint64_t first; /* the next record of that shard */
};

static void ring_turn_to(struct ring *r, uint64_t position)
{
    while (position >= r->records[r->order[r->at]])
        position -= r->records[r->order[r->at++]];
    r->first = position;
}

/* At most `count` records that lie together, and behind them. There must be a shard that is not empty. */
static struct plan_segment ring_take(struct ring *r, uint64_t count)
{
    while (r->first == r->records[r->order[r->at]]) {
        r->at = (r->at + 1) % r->shards;
        r->first = 0;
    }
    uint32_t shard = r->order[r->at];
    struct plan_segment s = { .shard = shard,
                              .first = r->first,
                              .count = MIN(count, r->records[shard] - r->first) };
    r->first += s.count;
    return s;
}

static void deal(struct plan *p, struct ring *r)
{
    uint32_t used = 0;
    for (uint32_t leaf = 0; leaf < p->leaves; leaf++) {
        p->leaf_start[leaf] = used;
        for (uint64_t due = p->records_per_leaf; due > 0; used++) {
            p->segments[used] = ring_take(r, due);
            due -= p->segments[used].count;
        }
    }
    p->leaf_start[p->leaves] = used;
}

enum err_code plan_make(const uint64_t *train_records, size_t shards, int64_t seed, int64_t epoch,
                        uint32_t leaves, struct plan *out, struct err *e)
{
    uint64_t total = 0;
    if (leaves == 0 || epoch < 0)
        return err_set(e, ERR_USAGE, "a plan needs at least one leaf and an epoch from 0");
    if (leaves > PLAN_LEAVES_MAX)
        return err_set(e, ERR_LIMIT, "more than %d leaves: %" PRIu32, PLAN_LEAVES_MAX, leaves);
    if (shards > DATASET_SHARDS_MAX)
        return err_set(e, ERR_LIMIT, "more than %d shards: %zu", DATASET_SHARDS_MAX, shards);
    if (total_of(train_records, shards, &total, e))
        return e->code;
    if (total < leaves)
        return err_set(e, ERR_USAGE,
                       "%" PRIu64 " training records cannot be dealt to %" PRIu32
                       " leaves: lower train.leaves",
                       total, leaves);

    uint64_t key = rng_key(rng_key((uint64_t)seed, PLAN_STREAM), (uint64_t)epoch);
    CLEANUP(freep) uint32_t *order = mem_array(shards, sizeof(*order));
    rng_permutation(key, order, (uint32_t)shards);
    struct ring ring = { .records = train_records, .order = order, .shards = shards };
    ring_turn_to(&ring, rng_below(rng_key(key, PLAN_START), 0, total));
    /* A segment ends where its shard or its leaf does, or where the ring's start cut its shard in two. */
    struct plan p = {
        .seed = seed,
        .epoch = epoch,
        .leaves = leaves,
        .records_per_leaf = total / leaves,
        .left_out = total % leaves,
        .segments = mem_array(shards + leaves + 1, sizeof(struct plan_segment)),
        .leaf_start = mem_array((size_t)leaves + 1, sizeof(uint32_t)),
    };
    deal(&p, &ring);
    *out = p;
    return OK;
}

struct plan_rule plan_rule_of(const struct job_spec *spec)
{
    return (struct plan_rule){ .holdout = spec->data.holdout,
                               .context = job_spec_context(spec),
                               .seed = spec->train.seed,
                               .leaves = (uint32_t)spec->train.leaves };
}

enum err_code plan_for_dataset(const struct dataset *d, const struct plan_rule *rule, int64_t epoch,
                               struct plan *out, struct err *e)
{
    CLEANUP(freep) uint64_t *records = mem_array(MAX(d->shard_count, 1), sizeof(*records));
    for (size_t i = 0; i < d->shard_count; i++) {
        uint64_t all = dataset_examples(d->shards[i].records, rule->context);
        records[i] = all - dataset_holdout(all, rule->holdout);
    }
    if (plan_make(records, d->shard_count, rule->seed, epoch, rule->leaves, out, e) == OK)
        return OK;
    if (rule->context > 0)
        IGNORE(err_wrap(e, "in sequences of %" PRIu64 " tokens (a smaller model.context makes more)",
                        rule->context));
    return err_wrap(e, "plan epoch %" PRId64 " of dataset '%s'", epoch, d->name);
}

static json_t *segment_to_json(const struct plan_segment *s)
{
    json_t *j = json_array();
    invariant(json_array_append_new(j, json_integer(s->shard)) == 0 &&
              json_array_append_new(j, json_integer((json_int_t)s->first)) == 0 &&
              json_array_append_new(j, json_integer((json_int_t)s->count)) == 0);
    return j;
}

json_t *plan_to_json(const struct plan *p)
{
    json_t *o = json_object(), *leaves = json_array();
    for (uint32_t leaf = 0; leaf < p->leaves; leaf++) {
        json_t *segments = json_array();
        for (uint32_t i = p->leaf_start[leaf]; i < p->leaf_start[leaf + 1]; i++)
            invariant(json_array_append_new(segments, segment_to_json(&p->segments[i])) == 0);
        invariant(json_array_append_new(leaves, segments) == 0);
    }
    record_set(o, "epoch", json_integer(p->epoch));
    record_set(o, "leaves", leaves);
    record_set(o, "left_out", json_integer((json_int_t)p->left_out));
    record_set(o, "records_per_leaf", json_integer((json_int_t)p->records_per_leaf));
    record_set(o, "seed", json_integer(p->seed));
    return o;
}

void plan_digest(const struct plan *p, char out_hex[65])
{
    CLEANUP(json_donep) json_t *j = plan_to_json(p);
    record_digest(j, out_hex);
}
