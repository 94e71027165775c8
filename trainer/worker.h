/*
 * worker.h - the life of one rank: join, read the data's shape, resume, train, save, leave.
 *
 *     dataset ─▶ encoding ─▶ model ─▶ restore ─▶ steps … ─▶ hold-out ─▶ model file ─▶ result
 *               (fitted, or from               │ every N steps, and when asked to stop
 *                the checkpoint)               └▶ checkpoint
 *
 * Collective throughout: a failure of one rank is agreed on and returned by all of them with the same text.
 */
#ifndef TRAINER_WORKER_H
#define TRAINER_WORKER_H

#include "core/cluster/attempt_doc.h"
#include "trainer/comm.h"

/* ERR_CANCELED: asked to stop, and a checkpoint was made. ERR_DEVICE: the loss diverged. */
enum err_code worker_run(const struct attempt_doc *doc, struct comm *comm, struct err *e);

#endif
