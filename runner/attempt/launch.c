#include "runner/attempt/launch.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

enum { KILL_MS_MAX = 60 * 1000 };

/* ---- the command ---- */

static void add(const char **list, size_t max, const char *text)
{
    size_t n = 0;
    while (list[n])
        n++;
    invariant(n + 1 < max);
    list[n] = text;
}

static void add_parameter(struct launch_command *c, const char *name, const char *value)
{
    add(c->argv, LAUNCH_ARGS_MAX, "--mca");
    add(c->argv, LAUNCH_ARGS_MAX, name);
    add(c->argv, LAUNCH_ARGS_MAX, value);
}

static void add_env(struct launch_command *c, const char *name, const char *value)
{
    if (value)
        add(c->env, LAUNCH_ENV_MAX, mem_printf("%s=%s", name, value));
}

/* What mpirun and each rank would do at their start, and need not: see launch.h. The scratch folder holds no
 * plugins. */
static void make_env_quick(const char *scratch, struct launch_command *c)
{
    add_env(c, "HWLOC_PLUGINS_PATH", scratch);
    add_env(c, "PMIX_MCA_gds", "hash");
}

static void make_env(const struct cluster_launch *config, const char *scratch,
                     char *(*env_get)(const char *name), bool as_root, struct launch_command *c)
{
    /* Where Open MPI and the libraries are, if not where the system has them; what NCCL may do, where the
     * operator says otherwise than the trainer would (trainer/comm_nccl_load.c). */
    static const char *const kept[] = {
        "HOME",       "LD_LIBRARY_PATH", "OPAL_PREFIX",        "NCCL_ALGO",
        "NCCL_DEBUG", "NCCL_IB_HCA",     "NCCL_NET_PLUGIN",    "NCCL_NVLS_ENABLE",
        "NCCL_PROTO", "NCCL_RAS_ENABLE", "NCCL_SOCKET_IFNAME",
    };
    const char *path = env_get("PATH");
    add_env(c, "PATH", path ? path : "/usr/local/bin:/usr/bin:/bin");
    for (size_t i = 0; i < ARRAY_LEN(kept); i++)
        add_env(c, kept[i], env_get(kept[i]));
    add_env(c, "LC_ALL", "C");
    make_env_quick(scratch, c);
    if (as_root) {
        add_env(c, "OMPI_ALLOW_RUN_AS_ROOT", "1");
        add_env(c, "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    }
    if (config->oversubscribe)
        add_env(c, "OMPI_MCA_mpi_yield_when_idle", "1");
}

/* Without IPv6, which Open MPI 4.1 cannot be pinned to networks of. */
static void pin_open_mpi(const struct networks *networks, struct launch_command *c)
{
    CLEANUP(buf_done) struct buf list = BUF_INIT(NETWORKS_TEXT_BYTES);
    if (networks->count == 0)
        return;
    networks_format(networks, &list);
    add_env(c, NETWORKS_MPI_SETTING, buf_text(&list));
    add_env(c, "OMPI_MCA_btl_tcp_disable_family", "6");
    add_env(c, "OMPI_MCA_oob_tcp_if_include", buf_text(&list));
    add_env(c, "OMPI_MCA_oob_tcp_disable_ipv6_family", "1");
}

void launch_command_make(const struct cluster_launch *config, const struct networks *networks, int64_t ranks,
                         const char *program, const char *scratch, char *(*env_get)(const char *name),
                         bool as_root, struct launch_command *out)
{
    struct launch_command *c = out;
    memset(c, 0, sizeof(*c));
    snprintf(c->ranks, sizeof(c->ranks), "%" PRId64, ranks);
    add(c->argv, LAUNCH_ARGS_MAX, config->mpirun);
    add(c->argv, LAUNCH_ARGS_MAX, "-np");
    add(c->argv, LAUNCH_ARGS_MAX, c->ranks);
    if (config->oversubscribe)
        add(c->argv, LAUNCH_ARGS_MAX, "--oversubscribe");
    /* mpirun knows of its own job only: two jobs on one host would both be bound to the first cores. */
    add(c->argv, LAUNCH_ARGS_MAX, "--bind-to");
    add(c->argv, LAUNCH_ARGS_MAX, "none");
    /* Looking for others is half of the start-up. */
    add_parameter(c, "pml", "ob1");
    add_parameter(c, "btl", config->transport);
    add_parameter(c, "btl_vader_backing_directory", scratch);
    add_parameter(c, "orte_tmpdir_base", scratch);
    add_parameter(c, "odls_base_sigkill_timeout", "0");
    /* A dead link is noticed within 6 s, and not 492 s. */
    add_parameter(c, "oob_tcp_keepalive_time", "2");
    add_parameter(c, "oob_tcp_keepalive_intvl", "1");
    add_parameter(c, "oob_tcp_keepalive_probes", "3");
    add(c->argv, LAUNCH_ARGS_MAX, program);
    make_env(config, scratch, env_get, as_root, c);
    pin_open_mpi(networks, c);
}

void launch_command_done(struct launch_command *c)
{
    for (size_t i = 0; i < ARRAY_LEN(c->env) && c->env[i]; i++)
        free((char *)c->env[i]);
    memset(c, 0, sizeof(*c));
}

/* NULL, with errno, where we cannot tell what our own program is. */
static char *trainer_path(const struct cluster_launch *config)
{
    char self[PATH_MAX];
    if (config->trainer[0])
        return mem_text(config->trainer);
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (n < 0)
        return NULL;
    self[n] = '\0';
    CLEANUP(freep) char *folder = path_parent(self);
    return path_join(folder, "sovrun-trainer");
}

enum err_code launch_find_trainer(const struct cluster_launch *config, char **out, struct err *e)
{
    CLEANUP(freep) char *path = trainer_path(config);
    if (!path)
        return err_errno(e, "read /proc/self/exe");
    if (access(path, X_OK) != 0)
        return err_set(e, ERR_NOT_FOUND, "the trainer '%s' is not there or cannot be executed", path);
    *out = TAKE(path);
    return OK;
}

/* ---- starting ---- */

static enum err_code start_with_pipes(struct launch *l, const struct launch_command *command, int join,
                                      struct err *e)
{
    int in[2], out[2];
    struct proc_options o = PROC_OPTIONS_INIT;
    if (pipe2(in, O_CLOEXEC) != 0)
        return err_errno(e, "pipe");
    CLEANUP(fd_closep) int in_read = in[0];
    l->input_fd = in[1];
    if (pipe2(out, O_CLOEXEC) != 0)
        return err_errno(e, "pipe");
    l->output_fd = out[0];
    CLEANUP(fd_closep) int out_write = out[1];
    o.dir = "/"; /* ours may be gone while we run */
    o.argv = command->argv;
    o.env = command->env;
    o.in = in_read;
    o.out = o.err = out_write;
    o.join = join;
    o.new_group = true;
    o.die_with_parent = true;
    if (fcntl(l->input_fd, F_SETFL, O_NONBLOCK) != 0 || fcntl(l->output_fd, F_SETFL, O_NONBLOCK) != 0)
        return err_errno(e, "pipe");
    return proc_start(&o, &l->mpirun, e);
}

enum err_code launch_start(struct launch *l, const struct launch_command *command, int join,
                           struct buf *input, struct err *e)
{
    buf_move(&l->input, input);
    if (start_with_pipes(l, command, join, e)) {
        launch_done(l);
        return err_wrap(e, "launch");
    }
    l->ended_fd = (int)syscall(SYS_pidfd_open, l->mpirun.pid, 0);
    if (l->ended_fd < 0) {
        IGNORE(err_errno(e, "launch: watch mpirun"));
        proc_kill_children(KILL_MS_MAX);
        launch_done(l);
        return e->code;
    }
    return OK;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void launch_done(struct launch *l)
{
    close_fd(&l->ended_fd);
    close_fd(&l->output_fd);
    close_fd(&l->input_fd);
    buf_wipe(&l->input);
    l->mpirun = (struct proc_id){ .pid = 0 };
}

void launch_feed(struct launch *l)
{
    while (l->input_fd >= 0 && l->fed < l->input.len) {
        ssize_t n = write(l->input_fd, l->input.data + l->fed, l->input.len - l->fed);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0) /* EPIPE: mpirun's end will say more than we could */
            break;
        l->fed += (size_t)n;
    }
    close_fd(&l->input_fd);
    buf_wipe(&l->input);
}

/* ---- ranks ---- */

size_t launch_signal_ranks(const struct launch *l, int signal)
{
    struct proc_id ranks[LAUNCH_RANKS_MAX];
    if (l->mpirun.pid == 0)
        return 0;
    size_t count = proc_children(l->mpirun.pid, ranks, ARRAY_LEN(ranks));
    for (size_t i = 0; i < count; i++)
        proc_signal(ranks[i], signal);
    return count;
}
