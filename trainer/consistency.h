/*
 * consistency.h - do all ranks have the same parameters?
 *
 * Between steps they must, to the bit: each owner of a slice sent it to all. A bit that flipped in one rank's
 * memory would go on in its forward passes, unseen. So a step looks behind its backward pass, before the
 * owners send again what would hide it. Each rank hashes each slice; the digests are gathered and
 * the rank that stands alone is named. Of two that differ, no one can say which is right, and both are named.
 * Cost: one SHA-256 of all parameters on each rank, and 32 bytes a slice between them.
 */
#ifndef TRAINER_CONSISTENCY_H
#define TRAINER_CONSISTENCY_H

#include "trainer/comm.h"
#include "trainer/params.h"

/* Collective. `values`: params->padded floats. ERR_CORRUPT on every rank, with the same text: "rank 2 has
 * other parameters than the rest, first in 'h.3.ln_1.weight': ...". */
enum err_code consistency_check(struct comm *comm, const struct params *params, const float *values,
                                struct err *e);

#endif
