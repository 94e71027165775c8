/*
 * scratch.h - the folder in which the ranks of one attempt share memory, and how it goes.
 *
 * What Open MPI leaves behind when it is killed (session folders, 4 MiB of shared memory a rank) lies in one
 * folder of /dev/shm, sovrun.UID.JOB.N-XXXXXX. The supervisor makes it and removes it. One that was killed
 * cannot: then whoever comes next does, the job's next attempt, the scheduler that ends what was left of this
 * one, or `sovrun down`.
 */
#ifndef CORE_CLUSTER_SCRATCH_H
#define CORE_CLUSTER_SCRATCH_H

#include "base/err.h"

#include <stdint.h>

/* A fresh folder (0700), those of the job's earlier attempts removed; in `fallback_dir` where /dev/shm takes
 * none. The caller frees. */
enum err_code scratch_make(const char *job, int64_t attempt, const char *fallback_dir, char **out,
                           struct err *e);
void scratch_remove(const char *path); /* NULL is fine */

/* None of the job's attempts may run. */
void scratch_sweep_job(const char *job);
/* No attempt of this cluster may run: those that HOME/attempts knows are removed, others' are left alone. */
void scratch_sweep_home(const char *home);

#endif
