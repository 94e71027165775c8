#include "base/proc.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* ---- what the kernel says of a process ---- */

struct proc_stat {
    char state; /* R, S, Z, ... */
    pid_t parent;
    uint64_t start_ticks;
};

/* The name in field 2 may hold spaces and brackets, so counting starts at the last ')'. */
static bool parse_stat(const char *text, struct proc_stat *out)
{
    enum { FIRST_FIELD = 3, PARENT_FIELD = 4, START_FIELD = 22 };
    const char *p = strrchr(text, ')');
    if (!p || p[1] != ' ')
        return false;
    p += 2;
    out->state = *p;
    for (int field = FIRST_FIELD; field < START_FIELD; field++) {
        if (field == PARENT_FIELD)
            out->parent = (pid_t)strtol(p, NULL, 10);
        p = strchr(p, ' ');
        if (!p)
            return false;
        p++;
    }
    out->start_ticks = strtoull(p, NULL, 10);
    return out->start_ticks > 0 || *p == '0';
}

static enum err_code read_stat(pid_t pid, struct proc_stat *out, struct err *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(4096);
    char path[40];
    struct proc_stat st = { 0 };
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    if (pid <= 0)
        return err_set(e, ERR_NOT_FOUND, "no process has the number %d", (int)pid);
    if (file_read(path, &text, e))
        return e->code == ERR_NOT_FOUND || e->cause == ESRCH
                   ? err_set(e, ERR_NOT_FOUND, "there is no process %d", (int)pid)
                   : e->code;
    if (!parse_stat(buf_text(&text), &st))
        return err_set(e, ERR_CORRUPT, "'%s' has an unknown form", path);
    *out = st;
    return OK;
}

enum err_code proc_identify(pid_t pid, struct proc_id *out, struct err *e)
{
    struct proc_stat st;
    if (read_stat(pid, &st, e))
        return e->code;
    *out = (struct proc_id){ .pid = pid, .start_ticks = st.start_ticks };
    return OK;
}

/* It, dead or alive: as long as a zombie is not waited for, its number is not given away. */
static bool same_process(struct proc_id id, struct proc_stat *st)
{
    struct err ignored = ERR_INIT;
    *st = (struct proc_stat){ .state = 0 };
    return read_stat(id.pid, st, &ignored) == OK && st->start_ticks == id.start_ticks;
}

bool proc_alive(struct proc_id id)
{
    struct proc_stat st = { .state = 0 };
    return same_process(id, &st) && st.state != 'Z' && st.state != 'X';
}

void proc_signal(struct proc_id id, int signal)
{
    struct proc_stat st;
    /* The descriptor pins the process, so the number cannot change hands between the look and the signal. */
    CLEANUP(fd_closep) int fd = (int)syscall(SYS_pidfd_open, id.pid, 0);
    bool old_kernel = fd < 0 && errno == ENOSYS;
    if (!same_process(id, &st))
        return;
    if (fd >= 0)
        syscall(SYS_pidfd_send_signal, fd, signal, NULL, 0);
    else if (old_kernel)
        kill(id.pid, signal);
}

void proc_signal_group(struct proc_id id, int signal)
{
    struct proc_stat st;
    if (id.pid > 1 && same_process(id, &st))
        kill(-id.pid, signal);
}

/* ---- starting ---- */

static bool is_program(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* Looked up here and not in the child, which may not allocate. NULL where there is none. */
static char *find_program(const char *name)
{
    if (strchr(name, '/'))
        return mem_text(name);
    const char *path = getenv("PATH");
    for (const char *p = path ? path : "/usr/local/bin:/usr/bin:/bin"; *p;) {
        size_t n = strcspn(p, ":");
        CLEANUP(freep) char *folder = mem_text_n(p, n);
        CLEANUP(freep) char *file = path_join(folder, name);
        /* A relative entry would mean another program in each folder. */
        if (folder[0] == '/' && is_program(file))
            return TAKE(file);
        p += n + (p[n] == ':');
    }
    return NULL;
}

/* What the child says of its failure, through a pipe that a successful exec closes. */
struct child_failure {
    int error;
    int step; /* index into child_steps */
};

enum { STEP_DESCRIPTORS, STEP_GROUP, STEP_JOIN, STEP_DIR, STEP_EXEC };
static const char *const child_steps[] = {
    "set up its input and output",
    "make its process group",
    "put it into its control group",
    "enter its folder",
    "execute it",
};

static _Noreturn void child_fails(int status_fd, int step)
{
    struct child_failure failure = { .error = errno, .step = step };
    while (write(status_fd, &failure, sizeof(failure)) < 0 && errno == EINTR)
        ;
    _exit(127);
}

/* Handlers of ours must not run in the child, and SIG_IGN would survive exec. SIGKILL just says no. */
static void child_reset_signals(void)
{
    struct sigaction action = { .sa_handler = SIG_DFL };
    sigset_t none;
    for (int s = 1; s < NSIG; s++)
        sigaction(s, &action, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* A copy of fd, or of /dev/null, that is above 2 and so not in the way. */
static int child_lift(int fd)
{
    int from = fd >= 0 ? fd : open("/dev/null", O_RDWR | O_CLOEXEC);
    return from < 0 ? -1 : fcntl(from, F_DUPFD_CLOEXEC, 3);
}

static bool child_set_descriptors(const struct proc_options *o)
{
    int fds[3] = { child_lift(o->in), child_lift(o->out), child_lift(o->err) };
    for (int i = 0; i < 3; i++)
        if (fds[i] < 0 || dup2(fds[i], i) < 0)
            return false;
    return true;
}

/* Marked and not closed, so that the status pipe lives until exec. */
static void child_close_others(void)
{
    enum { FD_OLD_KERNEL_MAX = 65536 };
    struct rlimit limit = { .rlim_cur = FD_OLD_KERNEL_MAX };
    if (close_range(3, ~0u, CLOSE_RANGE_CLOEXEC) == 0)
        return;
    getrlimit(RLIMIT_NOFILE, &limit);
    for (int fd = 3; fd < (int)MIN(limit.rlim_cur, (rlim_t)FD_OLD_KERNEL_MAX); fd++)
        fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/* Between fork and exec: only calls that a signal handler may make, as other threads may hold locks. */
static _Noreturn void child_run(const struct proc_options *o, const char *program, pid_t parent,
                                int status_pipe)
{
    int status_fd = fcntl(status_pipe, F_DUPFD_CLOEXEC, 3);
    if (status_fd < 0)
        _exit(127);
    if (o->die_with_parent) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) /* it died before we asked */
            _exit(127);
    }
    child_reset_signals();
    if (o->new_session ? setsid() < 0 : o->new_group && setpgid(0, 0) != 0)
        child_fails(status_fd, STEP_GROUP);
    if (o->join >= 0 && write(o->join, "0", 1) != 1)
        child_fails(status_fd, STEP_JOIN);
    if (!child_set_descriptors(o))
        child_fails(status_fd, STEP_DESCRIPTORS);
    child_close_others();
    if (o->dir && chdir(o->dir) != 0)
        child_fails(status_fd, STEP_DIR);
    execve(program, (char *const *)o->argv, o->env ? (char *const *)o->env : environ);
    child_fails(status_fd, STEP_EXEC);
}

/* Blocked over the fork: a signal to the child alone must not run our handler there. */
static pid_t fork_quietly(const struct proc_options *o, const char *program, int status_pipe)
{
    sigset_t all, before;
    pid_t parent = getpid();
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork();
    if (pid == 0)
        child_run(o, program, parent, status_pipe);
    int error = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return pid;
}

/* True where the child reported a failure; false at the end of the pipe, which is a successful exec. */
static bool read_failure(int fd, struct child_failure *out)
{
    ssize_t n;
    do {
        n = read(fd, out, sizeof(*out));
    } while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof(*out);
}

static void reap(pid_t pid)
{
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

enum err_code proc_start(const struct proc_options *o, struct proc_id *out, struct err *e)
{
    int ends[2];
    struct child_failure failure;
    CLEANUP(freep) char *program = find_program(o->argv[0]);
    if (!program)
        return err_set(e, ERR_NOT_FOUND, "there is no program '%s' on PATH", o->argv[0]);
    if (pipe2(ends, O_CLOEXEC) != 0)
        return err_errno(e, "start '%s': pipe", o->argv[0]);
    CLEANUP(fd_closep) int status_read = ends[0];
    CLEANUP(fd_closep) int status_write = ends[1];
    pid_t pid = fork_quietly(o, program, status_write);
    if (pid < 0)
        return err_errno(e, "start '%s': fork", o->argv[0]);
    close(TAKE_FD(status_write));
    if (read_failure(status_read, &failure)) {
        reap(pid);
        errno = failure.error;
        return err_errno(e, "start '%s': %s", o->argv[0], child_steps[failure.step]);
    }
    if (proc_identify(pid, out, e)) {
        kill(pid, SIGKILL);
        reap(pid);
        return err_wrap(e, "start '%s'", o->argv[0]);
    }
    return OK;
}

/* ---- ending ---- */

static int shell_status(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

enum err_code proc_wait(struct proc_id id, int *out_status, struct err *e)
{
    int status;
    pid_t pid;
    do {
        pid = waitpid(id.pid, &status, 0);
    } while (pid < 0 && errno == EINTR);
    if (pid < 0 && errno == ECHILD)
        return err_set(e, ERR_NOT_FOUND, "process %d is no child of ours", (int)id.pid);
    if (pid < 0)
        return err_errno(e, "wait for process %d", (int)id.pid);
    *out_status = shell_status(status);
    return OK;
}

void proc_become_subreaper(void)
{
    prctl(PR_SET_CHILD_SUBREAPER, 1);
}

size_t proc_children(pid_t parent, struct proc_id *out, size_t max)
{
    struct err ignored = ERR_INIT;
    struct proc_stat st = { .state = 0 };
    struct dirent *entry;
    size_t count = 0;
    DIR *proc = opendir("/proc");
    if (!proc)
        return 0;
    while (count < max && (entry = readdir(proc)) != NULL) {
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (pid > 0 && read_stat(pid, &st, &ignored) == OK && st.parent == parent && st.state != 'Z')
            out[count++] = (struct proc_id){ .pid = pid, .start_ticks = st.start_ticks };
    }
    closedir(proc);
    return count;
}

static void kill_each_child(void)
{
    enum { AT_ONCE = 64 }; /* who calls this calls it again */
    struct proc_id children[AT_ONCE];
    size_t count = proc_children(getpid(), children, AT_ONCE);
    for (size_t i = 0; i < count; i++)
        kill(children[i].pid, SIGKILL); /* it is ours to wait for, so its number cannot have changed hands */
}

void proc_kill_children(int64_t within_ms)
{
    int64_t deadline = clock_mono_ms() + within_ms;
    for (;;) {
        /* Again each time: the children of whom we killed are ours now. */
        kill_each_child();
        pid_t pid;
        do {
            pid = waitpid(-1, NULL, WNOHANG);
        } while (pid > 0 || (pid < 0 && errno == EINTR));
        if (pid < 0 || clock_mono_ms() >= deadline)
            return;
        clock_real.sleep_ms(&clock_real, 2);
    }
}

/* ---- running to the end ---- */

/* One read; false at the end of the pipe. `out` may be NULL: dropped. */
static bool read_output(int fd, struct buf *out)
{
    uint8_t chunk[4096];
    ssize_t n = read(fd, chunk, sizeof(chunk));
    if (n > 0 && out)
        buf_add(out, chunk, (size_t)n);
    return n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN));
}

static bool is_full(const struct buf *out)
{
    return out && out->full;
}

/* What a child that has ended left in the pipe; not, without end, what others still add. */
static void drain_output(int fd, struct buf *out)
{
    enum { PIPE_READS_MAX = 256 }; /* 1 MiB, the largest pipe without privilege, in chunks of read_output() */
    struct pollfd wait = { .fd = fd, .events = POLLIN };
    for (int i = 0; i < PIPE_READS_MAX && !is_full(out) && poll(&wait, 1, 0) > 0 && read_output(fd, out); i++)
        ;
}

/*
 * Until the child has ended, not until its output has: a grandchild may keep the pipe open.
 * Looks for the end every few milliseconds, and at once when the pipe closes.
 */
static bool run_to_end(pid_t pid, int fd, int64_t deadline, struct buf *out, int *out_status)
{
    enum { LOOK_MS = 10, LOOK_CLOSED_MS = 1 };
    struct pollfd wait = { .fd = fd, .events = POLLIN };
    for (;;) {
        int64_t left = deadline - clock_mono_ms();
        int look_ms = wait.fd < 0 ? LOOK_CLOSED_MS : LOOK_MS;
        if (left <= 0 || is_full(out))
            return false;
        if (poll(&wait, 1, (int)MIN(left, (int64_t)look_ms)) > 0 && !read_output(fd, out))
            wait.fd = -1; /* poll() skips it */
        int status;
        if (waitpid(pid, &status, WNOHANG) == pid) {
            if (wait.fd >= 0)
                drain_output(fd, out);
            *out_status = shell_status(status);
            return true;
        }
    }
}

static enum err_code run_result(const char *name, bool ended, int status, const struct buf *text,
                                struct err *e)
{
    if (text->full)
        return err_set(e, ERR_LIMIT, "'%s' wrote more than %zu bytes", name, text->max);
    if (!ended)
        return err_set(e, ERR_RETRY, "'%s' did not end in time", name);
    if (status != 0)
        return err_set(e, ERR_IO, "'%s' ended with status %d", name, status);
    return OK;
}

enum err_code proc_run(const char *const *argv, int64_t timeout_ms, struct buf *out, struct err *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(out ? out->max - out->len : 0);
    struct proc_options o = PROC_OPTIONS_INIT;
    struct proc_id id = { .pid = 0 };
    int ends[2], status = 0;
    int64_t deadline = clock_mono_ms() + timeout_ms;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return err_errno(e, "run '%s': pipe", argv[0]);
    CLEANUP(fd_closep) int out_read = ends[0];
    CLEANUP(fd_closep) int out_write = ends[1];
    o.argv = argv;
    o.out = out_write;
    o.err = STDERR_FILENO;
    o.new_group = true;
    o.die_with_parent = true;
    if (proc_start(&o, &id, e))
        return e->code;
    close(TAKE_FD(out_write));
    bool ended = run_to_end(id.pid, out_read, deadline, out ? &text : NULL, &status);
    if (!ended) {
        kill(-id.pid, SIGKILL);
        reap(id.pid);
    }
    if (run_result(argv[0], ended, status, &text, e))
        return e->code;
    if (out)
        buf_add(out, text.data, text.len);
    return OK;
}
