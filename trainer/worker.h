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

/* How the attempt ended, the same on all ranks; *e says why where it is not TRAINER_OK. TRAINER_STOPPED:
 * asked to stop; where training had begun, a checkpoint was made. If comm broke, it is the caller's to abort.
 */
enum trainer_exit worker_run(const struct attempt_doc *doc, struct comm *comm, struct err *e);

#endif
