/*
 * origin.h - what a job begins with (model.from), looked at before its ranks start.
 *
 * A manifest must be signed by this cluster, and its data key is unwrapped here, once: the ranks get it in
 * their document and ask no HSM. Of a plain file only its size and its version are looked at; what is in it
 * is the trainer's to check. The ranks load the version that was looked at, and no later one.
 */
#ifndef RUNNER_ATTEMPT_ORIGIN_H
#define RUNNER_ATTEMPT_ORIGIN_H

#include "core/cluster/attempt_doc.h"

/* Fills d->from's version and key, where the spec has a model.from. ERR_USAGE: it is not there, too large,
 * not signed by us, or its key was destroyed: trying again would not help. That is no failure of an attempt
 * that has checkpoints to go on from: the version stays "" then. */
enum err_code origin_find(const struct cluster *c, struct keys *k, struct attempt_doc *d, struct err *e);

#endif
