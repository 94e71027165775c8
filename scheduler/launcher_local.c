/* Supervisors as processes of this host. */
#include "scheduler/launcher.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/num.h"
#include "core/cluster/fence.h"
#include "core/cluster/scratch.h"
#include "scheduler/leftover.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

struct launcher_local {
    struct launcher base;
    const char *home; /* borrowed */
    char *program;
};

/* The log outlives the attempt; a second start of the same one, should it ever happen, adds to it. */
static enum err_code open_log(const char *dir, int *out_fd, struct err *e)
{
    CLEANUP(freep) char *path = mem_printf("%s/supervisor.log", dir);
    int fd;

    if (dir_make(dir, 0700, e))
        return e->code;
    fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_errno(e, "open '%s'", path);
    *out_fd = fd;
    return OK;
}

static enum err_code local_start(struct launcher *base, const char *job, int64_t attempt, struct proc_id *out,
                                 struct err *e)
{
    struct launcher_local *l = (struct launcher_local *)base;
    CLEANUP(freep) char *dir = launcher_dir(l->home, job, attempt);
    CLEANUP(fd_closep) int log = -1;
    char number[NUM_TEXT_BYTES];
    const char *argv[] = { l->program, "attempt", "--home", l->home, job, number, NULL };
    struct proc_options o = PROC_OPTIONS_INIT;

    if (open_log(dir, &log, e))
        return err_wrap(e, "launch %s.%" PRId64, job, attempt);
    snprintf(number, sizeof(number), "%" PRId64, attempt);
    o.argv = argv;
    o.out = o.err = log;
    o.new_session = true;
    if (proc_start(&o, out, e))
        return err_wrap(e, "launch %s.%" PRId64, job, attempt);
    return OK;
}

static enum sight_life local_life(struct launcher *l, struct proc_id id)
{
    (void)l;
    return proc_alive(id) ? SIGHT_ALIVE : SIGHT_DEAD;
}

/* The descriptor may be of a process that took the number over meanwhile, so look again once it is open. */
static int local_watch_fd(struct launcher *l, struct proc_id id)
{
    (void)l;
    int fd = (int)syscall(SYS_pidfd_open, id.pid, 0);

    if (fd >= 0 && !proc_alive(id)) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Supervisors are the only children that the scheduler has; those of an earlier one belong to init. */
static void local_reap(struct launcher *l)
{
    pid_t pid;

    (void)l;
    do
        pid = waitpid(-1, NULL, WNOHANG);
    while (pid > 0 || (pid < 0 && errno == EINTR));
}

static bool anything_left(struct proc_id supervisor, struct proc_id mpirun)
{
    bool left = false;

    if (mpirun.pid > 1 && proc_alive(mpirun)) {
        proc_signal_group(mpirun, SIGKILL);
        proc_signal(mpirun, SIGKILL);
        left = true;
    }
    if (supervisor.pid > 1 && proc_alive(supervisor)) {
        proc_signal(supervisor, SIGKILL);
        left = true;
    }
    return leftover_kill(supervisor) > 0 || left;
}

static enum err_code local_end(struct launcher *l, const char *job, struct proc_id supervisor,
                               struct proc_id mpirun, struct err *e)
{
    enum { LOOK_MS = 5 };

    for (int64_t spent = 0; spent < LAUNCHER_END_MS; spent += LOOK_MS) {
        if (!anything_left(supervisor, mpirun)) {
            local_reap(l);
            scratch_sweep_job(job);
            fence_sweep_job(job);
            return OK;
        }
        clock_real.sleep_ms(&clock_real, LOOK_MS);
    }
    return err_set(e, ERR_IO, "processes of supervisor %d do not end", (int)supervisor.pid);
}

static void local_close(struct launcher *base)
{
    struct launcher_local *l = (struct launcher_local *)base;

    free(l->program);
    free(l);
}

static const struct launcher_ops local_ops = {
    .name = "local",
    .start = local_start,
    .life = local_life,
    .watch_fd = local_watch_fd,
    .reap = local_reap,
    .end = local_end,
    .close = local_close,
};

/* The `sovrun` of the same installation, not whatever PATH finds. */
static enum err_code find_program(char **out, struct err *e)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (n < 0)
        return err_errno(e, "read /proc/self/exe");
    self[n] = '\0';
    CLEANUP(freep) char *dir = path_parent(self);
    CLEANUP(freep) char *program = path_join(dir, "sovrun");
    if (access(program, X_OK) != 0)
        return err_errno(e, "the program '%s', which starts attempts", program);
    *out = TAKE(program);
    return OK;
}

/* Of this boot of this host. */
static enum err_code read_host(char out[LAUNCHER_HOST_BYTES], struct err *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(256);

    if (file_read("/proc/sys/kernel/random/boot_id", &text, e))
        return e->code;
    size_t n = strcspn(buf_text(&text), " \n");
    if (n == 0 || n >= LAUNCHER_HOST_BYTES)
        return err_set(e, ERR_CORRUPT, "/proc/sys/kernel/random/boot_id has an unknown form");
    memcpy(out, text.data, n);
    out[n] = '\0';
    return OK;
}

enum err_code launcher_local_new(const char *home, struct launcher **out, struct err *e)
{
    CLEANUP(launcher_closep) struct launcher *base = mem_new(sizeof(struct launcher_local));
    struct launcher_local *l = (struct launcher_local *)base;

    base->ops = &local_ops;
    l->home = home;
    if (find_program(&l->program, e) || read_host(base->host, e))
        return e->code;
    *out = TAKE(base);
    return OK;
}
