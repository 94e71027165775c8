/*
 * plan.h - which leaf reads which records of an epoch: a pure function of (shards, seed, epoch, leaves).
 *
 * The shards' training parts are put one behind the other in an order shuffled by (seed, epoch), as a ring;
 * from a start drawn by (seed, epoch) the ring is cut into `leaves` runs of the same number of records; a run
 * is a list of segments (shard, first, count). What is left over (fewer records than leaves) is left out of
 * this epoch; another epoch, which starts elsewhere, leaves out others. Rank r of p reads leaves r*V/p to
 * (r+1)*V/p - 1, so p may change between attempts and nothing is read twice. Within a segment the reader
 * permutes the records by (seed, epoch, leaf, segment). A record is what dataset_examples() counts.
 *
 * Exactly (base/rng.h): key = rng_key(rng_key(seed, PLAN_STREAM), epoch); order = rng_permutation(key) over
 * all shards; start = rng_below(rng_key(key, PLAN_START), 0, total). The digest is that of the canonical JSON
 * of plan_to_json():
 *
 *     {"epoch","leaves":[[[shard, first, count], ...], ...],"left_out","records_per_leaf","seed"}
 *
 * Both must never change: a scheduler and a trainer of different versions compare digests. Time and memory:
 * O(shards + leaves).
 */
#ifndef CORE_JOB_PLAN_H
#define CORE_JOB_PLAN_H

#include "core/job/dataset.h"
#include "core/job/job_spec.h"

enum { PLAN_STREAM = 0x706c616e /* "plan" */, PLAN_START = 1, PLAN_LEAVES_MAX = 1024 };

struct plan_segment {
    uint32_t shard;
    uint64_t first, count;
};
struct plan {
    int64_t seed, epoch;
    uint32_t leaves;
    uint64_t records_per_leaf, left_out;
    /* Leaf l has segments[leaf_start[l]] to segments[leaf_start[l + 1] - 1]. Both owned. */
    struct plan_segment *segments;
    uint32_t *leaf_start; // leaves + 1
};
void plan_done(struct plan *p);
/* train_records[i]: records of shard i's training part; may be 0. ERR_USAGE: fewer records than leaves, no
 * leaf, epoch < 0. ERR_LIMIT: more than DATASET_SHARDS_MAX shards, DATASET_RECORDS_MAX records or
 * PLAN_LEAVES_MAX leaves. */
enum err_code plan_make(const uint64_t *train_records, size_t shards, int64_t seed, int64_t epoch,
                        uint32_t leaves, struct plan *out, struct err *e);

/* What a job's plans have in common. */
struct plan_rule {
    double holdout;
    uint64_t context; /* dataset_examples() */
    int64_t seed;
    uint32_t leaves;
};
struct plan_rule plan_rule_of(const struct job_spec *spec);
enum err_code plan_for_dataset(const struct dataset *d, const struct plan_rule *rule, int64_t epoch,
                               struct plan *out, struct err *e);
json_t *plan_to_json(const struct plan *p); /* what stands in the state under plan/ID/N */
void plan_digest(const struct plan *p, char out_hex[65]);

#endif
