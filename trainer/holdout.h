/*
 * holdout.h - how good the model is on the records that were kept aside: the tail of every shard.
 *
 * Each rank predicts the shards i with i mod ranks = rank; all are gathered and put in shard order, so that
 * the figures have the same bits on any number of ranks. Collective.
 */
#ifndef TRAINER_HOLDOUT_H
#define TRAINER_HOLDOUT_H

#include "trainer/comm.h"
#include "trainer/metrics.h"
#include "trainer/model.h"
#include "trainer/shards.h"

/* out->records = 0 where nothing is held out. */
enum err_code holdout_evaluate(struct comm *comm, struct model *model, const float *params,
                               const struct dataset *dataset, struct shards *shards, double holdout,
                               int positive, struct metrics *out, struct err *e);

#endif
