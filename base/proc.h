/*
 * proc.h - child processes: start them cleanly, know them surely, leave none behind.
 *
 * A process is known by (pid, start time): a pid alone may have been given to somebody else. Everything a
 * child gets is stated: file descriptors above 2 are closed, signals are back to their defaults, the
 * environment is given.
 */
#ifndef BASE_PROC_H
#define BASE_PROC_H

#include "base/err.h"

#include <stdint.h>
#include <sys/types.h>

struct proc_id {
    pid_t pid;
    uint64_t start_ticks; /* field 22 of /proc/PID/stat */
};

struct proc_options {
    const char *const *argv; /* NULL-terminated; argv[0] is looked up in our PATH's absolute entries */
    const char *const *env;  /* NULL-terminated "NAME=value"; NULL: ours */
    const char *dir;         /* NULL: ours */
    int in, out, err;        /* descriptors to become 0, 1, 2; -1: /dev/null */
    int join;                /* a control group's cgroup.procs, to be in before it begins; -1: ours */
    bool new_group;          /* setpgid: signals to the group reach it and its children */
    bool new_session;        /* setsid: outlives us and our terminal */
    bool die_with_parent;    /* SIGKILL when the calling thread ends: call from one that stays */
};
#define PROC_OPTIONS_INIT                                                                                    \
    {                                                                                                        \
        .in = -1, .out = -1, .err = -1, .join = -1                                                           \
    }

/* ERR_NOT_FOUND where argv[0] is no program; the child's exec failure is reported here, not by its exit code.
 */
enum err_code proc_start(const struct proc_options *o, struct proc_id *out, struct err *e);

bool proc_alive(struct proc_id id); /* false for a zombie and for a pid that is somebody else now */
enum err_code proc_identify(pid_t pid, struct proc_id *out, struct err *e);
void proc_signal(struct proc_id id, int signal); /* nothing where it is gone */

/* The living children of `parent`, whichever of its threads started them; at most `max`. Returns how many. */
size_t proc_children(pid_t parent, struct proc_id *out, size_t max);

/* The same to all of the group that `id` leads (new_group, new_session). Also after the leader ended, until
 * it is waited for: so signal the group first, then wait. */
void proc_signal_group(struct proc_id id, int signal);

/* Exit status as a shell says it: 0..255, 128 + N for signal N. Waits. Only for our own child. */
enum err_code proc_wait(struct proc_id id, int *out_status, struct err *e);

/* Become the parent of orphaned descendants, and kill and reap whatever children there are. */
void proc_become_subreaper(void);
void proc_kill_children(int64_t within_ms); /* SIGKILL until none is left, at most so long */

/* Run to its end, output (stdout) added to `out` (may be NULL: dropped), nothing to read, errors to our
 * standard error. ERR_IO on a non-zero status, ERR_RETRY on time-out, ERR_LIMIT where the output does not
 * fit; in the last two its process group is killed. */
struct buf;
enum err_code proc_run(const char *const *argv, int64_t timeout_ms, struct buf *out, struct err *e);

#endif
