/*
 * supervisor.h - one attempt of one job, from its lease to its last word.
 *
 *     lease ─▶ record: launching ─▶ mpirun ─▶ record: running ─▶ … ─▶ nothing left alive ─▶ record: ended ─▶
 * lease given back
 *
 * One thread, one poll(): the ranks' output, rank 0's input, the end of mpirun, the job's control stream, our
 * own stop signal, and three timers (lease, time limit, grace). What always holds:
 *
 *  - No rank runs unless we are sure that the lease is ours, by our own clock. When that is over, or somebody
 * else's, all ranks are killed at once, before anything else is done.
 *  - While the state is away the ranks keep running, for as long as the lease lasts.
 *  - Asked to stop (the job is STOPPING, SIGTERM to us, the time limit), the ranks get SIGTERM, which asks
 * them for a checkpoint, then stop_grace, then SIGKILL.
 *  - We end after our last descendant, unless killed; then mpirun ends with us, and the ranks with mpirun.
 *  - How it ended is in HOME/attempts/JOB.N/ended.json before it is told to the state, so that an outage
 * loses nothing.
 */
#ifndef RUNNER_ATTEMPT_SUPERVISOR_H
#define RUNNER_ATTEMPT_SUPERVISOR_H

#include "core/cluster/cluster.h"

/* Needs stop_init() and proc_become_subreaper() before, and SIGPIPE ignored. ERR_CONFLICT: the attempt is not
 * ours to run. OK: it ended, however it did, and the state knows. Else its end may stand in ended.json only.
 */
enum err_code supervise(const struct cluster *c, const char *job, int64_t number, struct err *e);

#endif
