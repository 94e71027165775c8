#include "runner/cli/services.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "core/api/api.h"
#include "core/cluster/scratch.h"
#include "runner/cli/client.h"
#include "runner/cli/service_parts.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

enum {
    LOOK_MS = 20,
    SUPERVISORS_MAX = 1024,
    SUPERVISOR_MARGIN_MS = 15000,
    LAST_WORDS_BYTES = 300,
    TERM_AGAIN_MS = 1000
};
static const char unix_scheme[] = "unix:";

/* The caller frees. */
static char *in_home(const struct cluster *c, const char *name)
{
    return path_join(c->home, name);
}

static const char *redis_socket(const struct cluster *c)
{
    return c->state.address + (text_starts(c->state.address, unix_scheme) ? strlen(unix_scheme) : 0);
}

/* ---- up ---- */

static enum err_code check_embedded(const struct cluster *c, struct err *e)
{
    if (c->state.embedded && !text_starts(c->state.address, unix_scheme))
        return err_set(e, ERR_USAGE,
                       "state.embedded needs a Unix socket (address: \"unix:run/redis.sock\"), not '%s'",
                       c->state.address);
    return OK;
}

/* It did not come up: what its log says last is the reason. */
static enum err_code failed_to_start(const char *what, const char *log, struct err *e)
{
    char words[LAST_WORDS_BYTES];
    service_last_words(log, words, sizeof(words));
    return err_set(e, ERR_IO, "%s ended at once: %s (all of it: %s)", what,
                   words[0] ? words : "it said nothing", log);
}

/* `again` says ERR_RETRY until the thing answers; the process behind it must stay alive meanwhile. */
typedef enum err_code answer_fn(const struct cluster *c, struct err *e);
static enum err_code wait_for_answer(const struct cluster *c, const char *what, struct proc_id id,
                                     const char *log, answer_fn *answer, struct err *e)
{
    int64_t until = clock_mono_ms() + SERVICES_START_MS_MAX;
    while (answer(c, e)) {
        if (e->code != ERR_RETRY && e->code != ERR_IO && e->code != ERR_NOT_FOUND)
            return err_wrap(e, "%s", what);
        if (id.pid && !proc_alive(id))
            return failed_to_start(what, log, e);
        if (clock_mono_ms() >= until)
            return err_wrap(e, "%s (process %d) does not answer; `sovrun down` ends it", what, (int)id.pid);
        err_clear(e);
        clock_real.sleep_ms(&clock_real, LOOK_MS);
    }
    return OK;
}

static enum err_code redis_answers(const struct cluster *c, struct err *e)
{
    CLEANUP(state_closep) struct state *s = NULL;
    return cluster_open_state(c, &s, e);
}

static enum err_code start_redis(const struct cluster *c, struct service_fact *out, struct err *e)
{
    CLEANUP(freep) char *conf = in_home(c, "redis/redis.conf");
    CLEANUP(freep) char *log = in_home(c, "log/redis.log");
    CLEANUP(freep) char *pid_file = in_home(c, "run/redis.pid");
    const char *argv[] = { "redis-server", conf, NULL };
    struct proc_id id;

    /* One that runs and does not listen (yet) must not get a second one beside it on the same files. */
    out->started = !service_listener(redis_socket(c), &id) && !service_noted(pid_file, &id);
    if (out->started) {
        if (service_redis_write_conf(c, e))
            return e->code;
        if (service_start(argv, log, pid_file, &id, e)) {
            if (e->code == ERR_NOT_FOUND)
                return err_set(
                    e, ERR_NOT_FOUND,
                    "redis-server is not installed (Debian: apt-get install redis-server); or name "
                    "a Redis of your own in %s/sovrun.yaml (state.address, state.embedded: false)",
                    c->home);
            return err_wrap(e, "start Redis");
        }
    }
    out->pid = id.pid;
    return wait_for_answer(c, "Redis", id, log, redis_answers, e);
}

/* The scheduler of the same installation, not whatever PATH finds. The caller frees. */
static enum err_code find_scheduler(char **out, struct err *e)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (n < 0)
        return err_errno(e, "read /proc/self/exe");
    self[n] = '\0';
    CLEANUP(freep) char *dir = path_parent(self);
    CLEANUP(freep) char *program = path_join(dir, "sovrun-scheduler");
    if (access(program, X_OK) != 0)
        return err_errno(e, "the program '%s'", program);
    *out = TAKE(program);
    return OK;
}

/* Healthy is: it answers and somebody leads. */
static enum err_code scheduler_answers(const struct cluster *c, struct err *e)
{
    CLEANUP(api_closep) struct api_client *api = NULL;
    CLEANUP(json_donep) json_t *health = NULL;
    CLEANUP(freep) char *url = mem_printf("%s%s", unix_scheme, c->api.socket);

    if (api_open(url, NULL, &api, e) || api_call(api, "GET", "/v1/health", NULL, &health, e))
        return e->code;
    const json_t *leader = json_object_get(health, "leader");
    bool leads = json_is_true(leader) || (json_is_string(leader) && json_string_value(leader)[0]);
    return leads ? OK : err_set(e, ERR_RETRY, "no scheduler leads yet");
}

static enum err_code start_scheduler(const struct cli *cli, const struct cluster *c, struct service_fact *out,
                                     struct err *e)
{
    CLEANUP(freep) char *program = NULL;
    CLEANUP(freep) char *log = in_home(c, "log/scheduler.log");
    CLEANUP(freep) char *pid_file = in_home(c, "run/scheduler.pid");
    CLEANUP(freep) char *config = cli->config ? realpath(cli->config, NULL) : NULL;
    struct proc_id id;

    out->started = !service_listener(c->api.socket, &id) && !service_noted(pid_file, &id);
    if (out->started) {
        if (find_scheduler(&program, e))
            return e->code;
        const char *argv[] = { program, "--home", c->home, config ? "--config" : NULL, config, NULL };
        if (service_start(argv, log, pid_file, &id, e))
            return err_wrap(e, "start the scheduler");
    }
    out->pid = id.pid;
    return wait_for_answer(c, "the scheduler", id, log, scheduler_answers, e);
}

static enum err_code load(const struct cli *cli, bool make, struct cluster **out, struct err *e)
{
    enum err_code code = make && !cli->config ? cluster_init_home(cli->home, e) : OK;
    if (code == OK)
        code = cli_cluster(cli, out, e);
    return code ? code : check_embedded(*out, e);
}

static enum err_code make_folders(const struct cluster *c, struct err *e)
{
    static const char *const folders[] = { "run", "log", "redis" };
    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        CLEANUP(freep) char *path = in_home(c, folders[i]);
        if (dir_make(path, 0700, e))
            return e->code;
    }
    return OK;
}

/* `up` makes them permanent; a `run` that finds nothing up marks what it starts as its own. */
static enum err_code set_mark(const struct cluster *c, bool transient, const struct services_up *facts,
                              struct err *e)
{
    CLEANUP(freep) char *mark = in_home(c, "run/transient");
    bool nothing_was_up = facts->scheduler.started && (facts->redis.started || !c->state.embedded);
    if (!transient)
        return file_remove(mark, e);
    return nothing_was_up ? file_write(mark, "", 0, 0600, e) : OK;
}

enum err_code services_up(const struct cli *cli, bool transient, struct services_up *out, struct err *e)
{
    CLEANUP(cluster_freep) struct cluster *c = NULL;
    CLEANUP(fd_closep) int lock = -1;
    struct services_up facts = { .redis = { 0 } };

    if (load(cli, true, &c, e) || make_folders(c, e))
        return e->code;
    CLEANUP(freep) char *lock_path = in_home(c, "run/lock");
    if (service_lock(lock_path, false, SERVICES_LOCK_MS_MAX, &lock, e))
        return e->code;
    if ((c->state.embedded && start_redis(c, &facts.redis, e)) ||
        start_scheduler(cli, c, &facts.scheduler, e) || set_mark(c, transient, &facts, e))
        return e->code;
    memcpy(facts.socket, c->api.socket, sizeof(facts.socket));
    *out = facts;
    return OK;
}

/* ---- down ---- */

/* Asked again each second, for one that appears late; a supervisor takes the second time for the first. */
static void stop_supervisors(const struct cluster *c, struct services_down *io)
{
    CLEANUP(freep) struct proc_id *list = mem_array(SUPERVISORS_MAX, sizeof(*list));
    int64_t until = clock_mono_ms() + c->timing.stop_grace_ms + SUPERVISOR_MARGIN_MS, again = 0;
    size_t count;

    while ((count = service_supervisors(c->home, list, SUPERVISORS_MAX)) > 0) {
        int64_t now = clock_mono_ms();
        io->supervisors = MAX(io->supervisors, (int64_t)count);
        for (size_t i = 0; i < count && now >= again; i++)
            proc_signal(list[i], SIGTERM);
        if (now >= again)
            again = now + TERM_AGAIN_MS;
        if (now >= until)
            break;
        clock_real.sleep_ms(&clock_real, LOOK_MS);
    }
    for (size_t i = 0; i < count; i++) {
        struct proc_id supervisor = list[i];
        bool killed;
        io->killed++;
        service_end(supervisor, 0, &killed);
        for (int tries = 0; tries < 100 && service_kill_session(supervisor) > 0; tries++)
            clock_real.sleep_ms(&clock_real, LOOK_MS);
    }
    fence_sweep_home(c->home);
    scratch_sweep_home(c->home); /* of those that were killed, now or before */
}

static bool end_listener(const char *socket, int64_t *io_killed)
{
    struct proc_id id;
    bool killed = false, there = service_listener(socket, &id);
    if (there)
        service_end(id, SERVICES_END_MS_MAX, &killed);
    *io_killed += killed;
    return there;
}

/* A daemon that is up but does not listen yet, or any more: its pid file knows it. */
static bool end_by_pid_file(const struct cluster *c, const char *name, int64_t *io_killed)
{
    CLEANUP(freep) char *path = in_home(c, name);
    struct err ignored = ERR_INIT;
    struct proc_id id;
    bool killed = false, there = service_noted(path, &id);

    if (there)
        service_end(id, SERVICES_END_MS_MAX, &killed);
    *io_killed += killed;
    IGNORE(file_remove(path, &ignored));
    return there;
}

static void remove_traces(const struct cluster *c)
{
    struct err ignored = ERR_INIT;
    CLEANUP(freep) char *mark = in_home(c, "run/transient");
    IGNORE(file_remove(mark, &ignored));
    IGNORE(file_remove(c->api.socket, &ignored));
    if (c->state.embedded)
        IGNORE(file_remove(redis_socket(c), &ignored));
}

enum err_code services_down(const struct cli *cli, struct services_down *out, struct err *e)
{
    CLEANUP(cluster_freep) struct cluster *c = NULL;
    CLEANUP(fd_closep) int lock = -1;
    struct services_down facts = { 0 };

    if (load(cli, false, &c, e) || make_folders(c, e))
        return e->code;
    CLEANUP(freep) char *lock_path = in_home(c, "run/lock");
    if (service_lock(lock_path, false, SERVICES_LOCK_MS_MAX, &lock, e))
        return e->code;
    facts.scheduler = end_listener(c->api.socket, &facts.killed);
    facts.scheduler = end_by_pid_file(c, "run/scheduler.pid", &facts.killed) || facts.scheduler;
    if (c->state.embedded) {
        stop_supervisors(c, &facts);
        service_redis_ask_to_end(redis_socket(c));
        facts.redis = end_listener(redis_socket(c), &facts.killed);
        facts.redis = end_by_pid_file(c, "run/redis.pid", &facts.killed) || facts.redis;
    }
    remove_traces(c);
    *out = facts;
    return OK;
}

/* ---- a run's claim ---- */

static enum err_code open_users(const struct cli *cli, bool shared, int *out_fd, struct err *e)
{
    CLEANUP(freep) char *run = path_join(cli->home, "run");
    CLEANUP(freep) char *path = path_join(run, "users");
    if (dir_make(run, 0700, e))
        return e->code;
    return service_lock(path, shared, SERVICES_LOCK_MS_MAX, out_fd, e);
}

enum err_code services_claim(const struct cli *cli, struct services_claim *out, struct err *e)
{
    return open_users(cli, true, &out->fd, e);
}

void services_unclaim(struct services_claim *claim)
{
    if (claim->fd >= 0)
        close(claim->fd);
    claim->fd = -1;
}

enum err_code services_leave(const struct cli *cli, struct services_claim *claim, bool *out_last,
                             struct err *e)
{
    CLEANUP(freep) char *mark = path_join(cli->home, "run/transient");
    *out_last = false;
    /* Whoever lets go last gets it: the kernel drops the shared lock before it asks for the other. */
    if (flock(claim->fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK)
            return err_errno(e, "lock '%s/run/users'", cli->home);
        return OK;
    }
    *out_last = file_exists(mark);
    return OK;
}
