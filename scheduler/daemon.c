#include "scheduler/daemon.h"

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/proc.h"
#include "base/stop.h"
#include "core/cluster/egress.h"
#include "core/crypto/crypto.h"
#include "scheduler/audit.h"
#include "scheduler/core.h"
#include "scheduler/listen.h"
#include "scheduler/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

struct daemon {
    const struct cluster *cluster;
    int lock_fd;
    struct launcher *launcher;
    struct planner *planner;
    struct state *state;       /* the loop's; NULL until it was reached once */
    struct state_watch *watch; /* NULL while there is none */
    struct core core;
    bool core_ready;
    struct audit_counts counts;
    struct audit_thread *audit;
    struct egress *egress; /* our own refused connections */
    int64_t refusals_at;   /* monotonic: not told before; what comes until then is counted up */
    struct handles *handles;
    struct secret *token;
    struct auth auth;
    struct api api;
    struct serve *unix_server, *tcp_server;
    bool files_written;
    char trouble[ERR_TEXT_BYTES]; /* the last one logged: said once, not every second */
};

/* ---- files ---- */

static char *run_path(const struct cluster *c, const char *name)
{
    return mem_printf("%s/run/%s", c->home, name);
}

static enum err_code take_lock(struct daemon *d, struct err *e)
{
    CLEANUP(freep) char *path = run_path(d->cluster, "scheduler.lock");
    CLEANUP(freep) char *dir = path_parent(path);

    if (dir_make(dir, 0700, e))
        return e->code;
    d->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (d->lock_fd < 0)
        return err_errno(e, "open '%s'", path);
    if (flock(d->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return OK;
    if (errno == EWOULDBLOCK)
        return err_set(e, ERR_CONFLICT, "a scheduler of '%s' runs already", d->cluster->home);
    return err_errno(e, "lock '%s'", path);
}

static enum err_code write_run_file(const struct daemon *d, const char *name, const char *text, struct err *e)
{
    CLEANUP(freep) char *path = run_path(d->cluster, name);

    return file_write(path, text, strlen(text), 0600, e);
}

static enum err_code write_pid(struct daemon *d, struct err *e)
{
    struct proc_id self;
    char text[64];

    if (proc_identify(getpid(), &self, e))
        return e->code;
    snprintf(text, sizeof(text), "%d %" PRIu64 "\n", (int)self.pid, self.start_ticks);
    d->files_written = true;
    return write_run_file(d, "scheduler.pid", text, e);
}

static void remove_files(const struct daemon *d)
{
    static const char *const names[] = { "scheduler.pid", "api.port" };
    struct err ignored = ERR_INIT;

    if (!d->files_written)
        return;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        CLEANUP(freep) char *path = run_path(d->cluster, names[i]);
        IGNORE(file_remove(path, &ignored));
    }
    if (d->unix_server)
        IGNORE(file_remove(d->cluster->api.socket, &ignored));
}

/* ---- the API ---- */

static enum err_code open_handle(void *context, struct state **out, struct err *e)
{
    return cluster_open_state(context, out, e);
}

static enum err_code serve_unix(struct daemon *d, struct err *e)
{
    int fd;

    if (listen_unix(d->cluster->api.socket, &fd, e))
        return e->code;
    return serve_start(&d->api, &d->auth, fd, false, &d->unix_server, e);
}

static enum err_code serve_tcp(struct daemon *d, struct err *e)
{
    const struct cluster_api *settings = &d->cluster->api;
    char text[16];
    uint16_t port;
    int fd;

    if (!settings->listen[0])
        return OK;
    if (secret_from_file(settings->token_file, &d->token, e))
        return err_wrap(e, "api.token_file");
    if (secret_len(d->token) == 0)
        return err_set(e, ERR_DENIED, "api.token_file '%s' is empty", settings->token_file);
    d->auth.token = d->token;
    if (listen_tcp(settings->listen, &fd, &port, e) ||
        serve_start(&d->api, &d->auth, fd, true, &d->tcp_server, e))
        return e->code;
    snprintf(text, sizeof(text), "%u\n", (unsigned)port);
    log_info("api.listening", "socket=%s port=%u", settings->socket, (unsigned)port);
    return write_run_file(d, "api.port", text, e);
}

static enum err_code serve(struct daemon *d, struct err *e)
{
    d->handles = handles_new(open_handle, (void *)d->cluster);
    d->auth.uid = geteuid();
    d->api.cluster = d->cluster;
    d->api.clock = &clock_real;
    d->api.lead = &d->core.lead;
    d->api.handles = d->handles;
    d->api.counts = &d->counts;
    d->api.started_ms = clock_wall_ms();
    atomic_init(&d->api.stopping, false);
    if (serve_unix(d, e) || serve_tcp(d, e))
        return err_wrap(e, "serve the API");
    return OK;
}

/* ---- the loop ---- */

static enum err_code reach_state(struct daemon *d, struct err *e)
{
    static const char *const streams[] = { JOB_OUTBOX };

    if (!d->state) {
        if (cluster_open_state(d->cluster, &d->state, e))
            return e->code;
        d->core.moves.state = d->state;
    }
    if (d->watch)
        return OK;
    if (state_watch_open(d->state, streams, ARRAY_LEN(streams), &d->watch, e))
        return e->code;
    core_wake(&d->core); /* what came before it was open */
    return OK;
}

static enum err_code read_watch(struct daemon *d, struct err *e)
{
    bool woken = false;

    do {
        if (state_watch_read(d->watch, &woken, e)) {
            state_watch_close(d->watch);
            d->watch = NULL;
            return e->code;
        }
        if (woken)
            core_wake(&d->core);
    } while (woken);
    return OK;
}

static enum err_code tell_refusals(struct daemon *d, struct err *e)
{
    static const struct egress_teller teller = { .actor = "scheduler", .job = "" };

    if (clock_mono_ms() < d->refusals_at || egress_waiting(d->egress) == 0)
        return OK;
    if (egress_tell(d->egress, d->state, &teller, e))
        return e->code;
    d->refusals_at = clock_mono_ms() + DAEMON_REFUSALS_MS;
    return OK;
}

static enum err_code turn(struct daemon *d, struct err *e)
{
    const int64_t before = lead_token(&d->core.lead);

    if (reach_state(d, e) || read_watch(d, e) || core_turn(&d->core, e) || tell_refusals(d, e))
        return e->code;
    if (lead_token(&d->core.lead) != before)
        audit_wake(d->audit);
    return OK;
}

static void note_trouble(struct daemon *d, const struct err *e)
{
    const char *text = e ? e->text : "";

    if (strcmp(d->trouble, text) == 0)
        return;
    if (e)
        log_warn("scheduler.waiting", "%s", text);
    else
        log_info("scheduler.going_on", "after: %s", d->trouble);
    snprintf(d->trouble, sizeof(d->trouble), "%s", text);
}

static int wait_ms_of(const struct daemon *d)
{
    const int64_t next = egress_waiting(d->egress) ? MIN(core_next_mono_ms(&d->core), d->refusals_at)
                                                   : core_next_mono_ms(&d->core);
    const int64_t left = next - clock_mono_ms();

    return (int)MAX(0, MIN(left, (int64_t)60000));
}

/* Until something may be there to do. In trouble: a second, whatever happens but the stop. */
static void wait_for_work(struct daemon *d, bool in_trouble)
{
    struct pollfd fds[DAEMON_POLL_MAX] = { { .fd = stop_fd(), .events = POLLIN } };
    size_t count = 1;

    if (in_trouble) {
        poll(fds, 1, DAEMON_RETRY_MS);
        return;
    }
    fds[count++] = (struct pollfd){ .fd = planner_fd(d->planner), .events = POLLIN };
    if (clock_mono_ms() >= d->refusals_at)
        fds[count++] = (struct pollfd){ .fd = egress_fd(d->egress), .events = POLLIN };
    if (d->watch)
        fds[count++] = (struct pollfd){ .fd = state_watch_fd(d->watch), .events = POLLIN };
    const size_t first = count;
    count += watch_poll_fill(&d->core.watch, fds + count, DAEMON_POLL_MAX - count);
    if (poll(fds, count, wait_ms_of(d)) > 0)
        watch_poll_read(&d->core.watch, fds + first, count - first);
}

/* Only what no waiting mends ends the loop: a configuration that the state refuses. */
static enum err_code loop(struct daemon *d, struct err *e)
{
    while (!stop_asked()) {
        struct err problem = ERR_INIT;
        enum err_code code = turn(d, &problem);
        if (code != OK && !d->state && code != ERR_RETRY) {
            *e = problem;
            return e->code;
        }
        note_trouble(d, code ? &problem : NULL);
        wait_for_work(d, code != OK);
    }
    return OK;
}

/* ---- start and stop ---- */

static void make_owner(const struct cluster *c, char out[LEASE_OWNER_BYTES])
{
    char host[64] = "", home[SHA256_HEX_BYTES];

    gethostname(host, sizeof(host) - 1);
    sha256_hex(c->home, strlen(c->home), home); /* a path may be too long, and is nobody's business */
    snprintf(out, LEASE_OWNER_BYTES, "scheduler@%s/%.12s", host, home);
}

static enum err_code start(struct daemon *d, struct err *e)
{
    char owner[LEASE_OWNER_BYTES];

    if (take_lock(d, e) || write_pid(d, e) || launcher_local_new(d->cluster->home, &d->launcher, e))
        return e->code;
    d->egress = egress_new(EGRESS_SCHEDULER, &clock_real);
    http_on_refusal(egress_on_refusal, d->egress);
    make_owner(d->cluster, owner);
    d->planner = planner_new(planner_make, (void *)d->cluster, true);
    core_init(&d->core, owner, d->cluster, NULL, d->launcher, d->planner, &clock_real);
    d->core_ready = true;
    d->audit = audit_start(d->cluster, &d->core.lead, &clock_real, &d->counts);
    return serve(d, e);
}

static void stop(struct daemon *d)
{
    atomic_store(&d->api.stopping, true);
    serve_stop(d->unix_server);
    serve_stop(d->tcp_server);
    audit_stop(d->audit);
    if (d->core_ready)
        core_done(&d->core);
    remove_files(d);
    handles_free(d->handles);
    planner_free(d->planner);
    launcher_close(d->launcher);
    http_on_refusal(NULL, NULL);
    egress_free(d->egress);
    state_watch_close(d->watch);
    state_close(d->state);
    secret_free(d->token);
    if (d->lock_fd >= 0)
        close(d->lock_fd);
}

enum err_code daemon_run(const struct cluster *cluster, struct err *e)
{
    CLEANUP(freep) struct daemon *d = mem_new(sizeof(*d));

    d->cluster = cluster;
    d->lock_fd = -1;
    enum err_code code = start(d, e);
    if (code == OK) {
        log_info("scheduler.started", "cluster=%s home=%s", cluster->name, cluster->home);
        code = loop(d, e);
        log_info("scheduler.stopping", "jobs run on");
    }
    stop(d);
    return code;
}
