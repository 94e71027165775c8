/*
 * launch.h - mpirun and its ranks as one thing to start, feed, ask and kill.
 *
 * Secrets go to rank 0 through a pipe that becomes its standard input; arguments and environment name nothing
 * but the program and Open MPI's settings. mpirun dies with us (PR_SET_PDEATHSIG), the ranks with mpirun (the
 * trainer sees to that itself). What Open MPI leaves behind when it is killed goes into a scratch folder
 * (core/cluster/scratch.h).
 *
 * Measured on Open MPI 4.1.4: SIGTERM to mpirun gives the ranks one second, whatever they do; SIGUSR1 it
 * would forward, with a line of noise. So the ranks, its direct children on this host, are signalled one by
 * one. odls_base_sigkill_timeout 0: when a rank dies, mpirun ends after 0.03 s and not 2 s; the others are
 * blocked in a collective and have nothing to tidy up.
 *
 * hwloc's plugins look for what ranks that are bound to nothing do not need; one of them tries ten X11
 * displays, over TCP as well. Without them, and with PMIx's plain hash table in the place of its shared
 * memory, mpirun is at MPI_Init in two thirds of the time.
 */
#ifndef RUNNER_ATTEMPT_LAUNCH_H
#define RUNNER_ATTEMPT_LAUNCH_H

#include "base/buf.h"
#include "base/proc.h"
#include "core/cluster/attempt_doc.h"
#include "core/cluster/networks.h"
#include "core/job/job.h"

enum { LAUNCH_ARGS_MAX = 48, LAUNCH_ENV_MAX = 32, LAUNCH_RANKS_MAX = SPEC_LEAVES_MAX };

/* The command and the environment as they will be started. Pure but for what `env_get` reads. `networks`:
 * what Open MPI's TCP, its own and the ranks', is pinned to, by the environment, which mpirun and srun hand
 * on alike; none: it takes what there is. */
struct launch_command {
    const char
        *argv[LAUNCH_ARGS_MAX]; /* NULL-terminated; inside points to cluster, program, scratch and ranks */
    const char *env[LAUNCH_ENV_MAX]; /* NULL-terminated; owned */
    char ranks[16];
};
void launch_command_make(const struct cluster_launch *config, const struct networks *networks, int64_t ranks,
                         const char *program, const char *scratch, char *(*env_get)(const char *name),
                         bool as_root, struct launch_command *out);
void launch_command_done(struct launch_command *c);

/* The trainer: as configured, or sovrun-trainer beside our own program. ERR_NOT_FOUND where it cannot be run.
 * The caller frees. */
enum err_code launch_find_trainer(const struct cluster_launch *config, char **out, struct err *e);

struct launch {
    struct proc_id mpirun; /* pid 0: not started, or waited for */
    int ended_fd;          /* pidfd: readable when mpirun has ended */
    int output_fd;         /* standard output and errors of all ranks; never blocks */
    int input_fd;          /* to rank 0; -1 when all is written or nobody reads */
    struct buf input;      /* wiped as soon as it is not needed */
    size_t fed;            /* so much of it is written */
};
#define LAUNCH_INIT                                                                                          \
    {                                                                                                        \
        .ended_fd = -1, .output_fd = -1, .input_fd = -1, .input = BUF_INIT(ATTEMPT_DOC_BYTES_MAX)            \
    }

/* `input` is taken over, whatever comes of it. `join`: as in struct proc_options. */
enum err_code launch_start(struct launch *l, const struct launch_command *command, int join,
                           struct buf *input, struct err *e);
void launch_done(struct launch *l); /* closes and wipes; whatever runs is not touched */

void launch_feed(struct launch *l); /* writes what the pipe takes; a reader that is gone ends it */

/* To each rank that there is by now; returns how many. */
size_t launch_signal_ranks(const struct launch *l, int signal);

#endif
