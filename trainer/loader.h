/*
 * loader.h - which records a step's leaves train on, as rows or as sequences of tokens.
 *
 * Everything follows from (plan, step): epoch = (step - 1) / steps an epoch, and within an epoch leaf l's
 * i-th micro-batch is records i*n to (i+1)*n - 1 of its run, the last one shorter. Within a segment the
 * records' order is permuted by (seed, epoch, leaf, segment). So nothing but the step's number has to be
 * saved to continue, and each record of an epoch is used at most once (but for those that the plan left
 * out, exactly once).
 *
 * A loader that knows when training ends is a step ahead: while the caller computes with the batches of one
 * step, a thread (beside.h) fills those of the next. What goes wrong there is told with the step it belongs
 * to.
 *
 * Threads: all calls from one. A loader that is ahead has the shards, and what they read from, for itself
 * until it is closed.
 */
#ifndef TRAINER_LOADER_H
#define TRAINER_LOADER_H

#include "core/job/plan.h"
#include "trainer/model.h"
#include "trainer/shards.h"
#include "trainer/tree.h"

struct loader;
struct loader_config {
    int64_t seed;
    uint32_t leaves;
    struct slice_range own; /* this rank's leaves */
    size_t leaf_batch;      /* records of one leaf in one step */
    double holdout;
    size_t width;   /* rows: numbers of one */
    size_t context; /* sequences: tokens of one; 0: rows */
    int64_t epochs; /* after which nothing more is asked for; 0: not known, and nothing is filled ahead */
};
/* `dataset` and `shards` are borrowed. ERR_USAGE: fewer training records than leaves. ERR_IO: no thread. */
enum err_code loader_open(const struct loader_config *config, const struct dataset *dataset,
                          struct shards *shards, struct loader **out, struct err *e);
void loader_close(struct loader *l);
DEFINE_CLEANUP_PTR(struct loader, loader_close)

int64_t loader_steps_per_epoch(const struct loader *l);
/* The micro-batches of this rank's leaves for a step (from 1), in order; borrowed until the next call. */
enum err_code loader_step(struct loader *l, int64_t step, const struct batch **out_leaves, struct err *e);

#endif
