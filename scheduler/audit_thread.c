/* The thread that keeps the outbox short. */
#include "scheduler/audit.h"

#include "base/log.h"
#include "base/mem.h"
#include "core/job/job.h"

#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>

struct audit_thread {
    const struct cluster *cluster;
    const struct lead *lead;
    const struct clock *clock;
    int quit_fd; /* readable: end */
    int wake_fd; /* readable: look again, we may lead */
    pthread_t thread;
    /* Below: the thread's own. */
    struct state *state;
    struct state_watch *watch;
    struct store *store;
    struct signer signer;
    struct audit audit;
    int64_t backoff_ms; /* 0: all is well */
};

static void close_all(struct audit_thread *t)
{
    audit_done(&t->audit);
    state_watch_close(t->watch);
    store_close(t->store);
    state_close(t->state);
    signer_done(&t->signer);
    t->watch = NULL;
    t->store = NULL;
    t->state = NULL;
}

static enum err_code open_all(struct audit_thread *t, struct err *e)
{
    static const char *const streams[] = { JOB_OUTBOX };

    if (!t->state && cluster_open_state(t->cluster, &t->state, e))
        return e->code;
    if (!t->signer.seed && cluster_signer(t->cluster, &t->signer, e))
        return e->code;
    if (!t->store && cluster_open_store(t->cluster, t->cluster->ledger.bucket, &t->store, e))
        return e->code;
    if (!t->watch && state_watch_open(t->state, streams, ARRAY_LEN(streams), &t->watch, e))
        return e->code;
    t->audit.cluster = t->cluster;
    t->audit.state = t->state;
    t->audit.store = t->store;
    t->audit.signer = &t->signer;
    t->audit.clock = t->clock;
    return OK;
}

/* All that is there. The watch is read first: what comes after that wakes us again. */
static enum err_code drain(struct audit_thread *t, int64_t token, struct err *e)
{
    size_t count = 0, sum = 0;
    bool woken = false;

    if (open_all(t, e))
        return e->code;
    do
        if (state_watch_read(t->watch, &woken, e)) {
            state_watch_close(t->watch);
            t->watch = NULL;
            return e->code;
        }
    while (woken);
    do {
        if (audit_step(&t->audit, token, &count, e))
            return e->code;
        sum += count;
    } while (count == LEDGER_BATCH_MAX);
    if (sum)
        log_debug("audit.recorded", "events=%zu", sum);
    return OK;
}

static int turn(struct audit_thread *t)
{
    const int64_t token = lead_token(t->lead);
    struct err e = ERR_INIT;

    if (token == 0)
        return AUDIT_FOLLOW_MS;
    if (drain(t, token, &e) == OK) {
        if (t->backoff_ms)
            log_info("audit.recovered", "the ledger is written again");
        t->backoff_ms = 0;
        return AUDIT_IDLE_MS;
    }
    if (e.code == ERR_DENIED && lead_token(t->lead) != token)
        return 0; /* we lead under another token by now, or not at all */
    if (t->backoff_ms == 0)
        log_warn("audit.behind", "events wait in the outbox: %s", e.text);
    t->backoff_ms = t->backoff_ms ? MIN(2 * t->backoff_ms, (int64_t)AUDIT_BACKOFF_MS_MAX) : AUDIT_BACKOFF_MS;
    return (int)t->backoff_ms;
}

/* True where it is time to end. */
static bool wait_for_events(const struct audit_thread *t, int wait_ms)
{
    struct pollfd fds[3] = { { .fd = t->quit_fd, .events = POLLIN },
                             { .fd = -1, .events = POLLIN },
                             { .fd = t->wake_fd, .events = POLLIN } };
    eventfd_t ignored;

    /* While the store is away new events do not hurry us. */
    if (t->watch && t->backoff_ms == 0 && lead_token(t->lead))
        fds[1].fd = state_watch_fd(t->watch);
    poll(fds, ARRAY_LEN(fds), wait_ms);
    if (fds[2].revents)
        (void)eventfd_read(t->wake_fd, &ignored);
    if (!fds[0].revents && fds[1].revents)
        poll(fds, 1, AUDIT_GATHER_MS);
    return fds[0].revents != 0;
}

static void *run(void *arg)
{
    struct audit_thread *t = arg;

    while (!wait_for_events(t, turn(t)))
        ;
    if (t->backoff_ms == 0)
        (void)turn(t);
    close_all(t);
    return NULL;
}

struct audit_thread *audit_start(const struct cluster *cluster, const struct lead *lead,
                                 const struct clock *clock, struct audit_counts *counts)
{
    struct audit_thread *t = mem_new(sizeof(*t));

    t->cluster = cluster;
    t->lead = lead;
    t->clock = clock;
    t->audit.counts = counts;
    t->quit_fd = eventfd(0, EFD_CLOEXEC);
    t->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    invariant(t->quit_fd >= 0 && t->wake_fd >= 0);
    invariant(pthread_create(&t->thread, NULL, run, t) == 0);
    return t;
}

void audit_wake(struct audit_thread *t)
{
    invariant(eventfd_write(t->wake_fd, 1) == 0);
}

void audit_stop(struct audit_thread *t)
{
    if (!t)
        return;
    invariant(eventfd_write(t->quit_fd, 1) == 0);
    pthread_join(t->thread, NULL);
    close(t->quit_fd);
    close(t->wake_fd);
    free(t);
}
