/*
 * reducer.h - the gradient summed over the ranks while the last leaf's backward pass still goes on.
 *
 * A backward pass is done with the end of the gradient first. So the vector is summed in buckets from its end
 * to its beginning, each as soon as this rank has its own sum of it: by a thread (beside.h), or, where the
 * comm works on the device, by giving it the bucket, behind the kernels that the device still has to run.
 * Where buckets begin depends on the vector's length alone: all ranks sum the same ones in the same order,
 * and the bits of an exact sum are those of one sum of the whole (comm_sum_scatter_range()).
 *
 * Threads: all calls from one, which calls nothing of comm between reducer_start() and reducer_finish().
 */
#ifndef TRAINER_REDUCER_H
#define TRAINER_REDUCER_H

#include "trainer/comm.h"

struct reducer;
/* Of vectors of n floats, in buckets of `bucket`; not `exact`: by comm_sum_fast_range(). Borrows comm. */
enum err_code reducer_open(struct comm *comm, size_t n, size_t bucket, bool exact, struct reducer **out,
                           struct err *e);
void reducer_close(struct reducer *r);
DEFINE_CLEANUP_PTR(struct reducer, reducer_close)

/* A new sum begins, in `sum`: this rank's share, which is replaced as by comm_sum_scatter(). It is the
 * device's memory where the comm takes that. */
void reducer_start(struct reducer *r, float *sum);
/* This rank's share is there from float `first` to the end; on the device, once it has run what it was given.
 */
void reducer_ready(struct reducer *r, size_t first);
/* All of it is there: waits for the whole sum. Collective. */
enum err_code reducer_finish(struct reducer *r, struct err *e);

#endif
