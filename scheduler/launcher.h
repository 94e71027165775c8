/*
 * launcher.h - how an attempt's supervisor comes to life, how we know that it lives, and how its remains are
 * cleared away.
 *
 * The supervisor is `sovrun attempt --home DIR JOB N`, in a session of its own: it goes on when the scheduler
 * ends, and all that it starts can be found by that session even after it is dead. What is known of it is
 * noted in the state under launch/ID/N as "HOST PID START": HOST is this host's boot, so a number is never
 * believed on another host or after a reboot. The note's place is committed with the placement, its number
 * right after the start.
 *
 * A struct of functions, so that tests start no process. Threads: one.
 */
#ifndef SCHEDULER_LAUNCHER_H
#define SCHEDULER_LAUNCHER_H

#include "base/proc.h"
#include "core/job/job.h"
#include "scheduler/sight.h"

enum { LAUNCHER_HOST_BYTES = 64, LAUNCHER_NOTE_BYTES = 160, LAUNCHER_END_MS = 2000 };

struct launcher;
struct launcher_ops {
    const char *name;
    enum err_code (*start)(struct launcher *l, const char *job, int64_t attempt, struct proc_id *out,
                           struct err *e);
    enum sight_life (*life)(struct launcher *l, struct proc_id id); /* of a process of this host */
    int (*watch_fd)(struct launcher *l,
                    struct proc_id id); /* readable once it has ended; -1: none. The caller closes it */
    void (*reap)(struct launcher *l);   /* buries those of our children that have ended */
    /* SIGKILL to the supervisor, to what it launched, and to all else of its session, until nothing of it is
     * left, nor of the job's scratch; ERR_IO where something still is after LAUNCHER_END_MS. Either may be
     * {0}. */
    enum err_code (*end)(struct launcher *l, const char *job, struct proc_id supervisor,
                         struct proc_id mpirun, struct err *e);
    void (*close)(struct launcher *l);
};
struct launcher {
    const struct launcher_ops *ops;
    char host[LAUNCHER_HOST_BYTES]; /* this host's boot */
};

/* `home` is borrowed. ERR_NOT_FOUND where there is no `sovrun` beside our own program. */
enum err_code launcher_local_new(const char *home, struct launcher **out, struct err *e);
void launcher_close(struct launcher *l);
DEFINE_CLEANUP_PTR(struct launcher, launcher_close)

/* The note. pid 0: not started yet, as far as it tells. */
struct launcher_note {
    char host[LAUNCHER_HOST_BYTES];
    struct proc_id id;
};
const char *launcher_note_key(const char *job, int64_t attempt, char out[JOB_KEY_BYTES]);
const char *launcher_note_text(const struct launcher_note *n, char out[LAUNCHER_NOTE_BYTES]);
enum err_code launcher_note_parse(const char *text, struct launcher_note *out,
                                  struct err *e); /* ERR_CORRUPT */

/* HOME/attempts/JOB.N. The caller frees. */
char *launcher_dir(const char *home, const char *job, int64_t attempt);

#endif
