#include "scheduler/planner.h"

#include "base/mem.h"
#include "core/cluster/cluster_policy.h"
#include "core/crypto/crypto.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>

struct request {
    struct request *next;
    struct job job; /* a plain copy: no result */
    struct planned done;
};

struct list {
    struct request *first, **end;
};

struct planner {
    planner_make_fn *make;
    void *context;
    bool threaded;
    int fd;
    pthread_t thread;
    pthread_mutex_t lock; /* all below */
    pthread_cond_t more;
    struct list asked, ready;
    size_t under_way;
    bool stop;
};

static void list_add(struct list *l, struct request *r)
{
    r->next = NULL;
    *(l->first ? l->end : &l->first) = r;
    l->end = &r->next;
}

static struct request *list_take(struct list *l)
{
    struct request *r = l->first;

    if (r)
        l->first = r->next;
    return r;
}

void planned_done(struct planned *p)
{
    buf_done(&p->plan);
}

static void request_free(struct request *r)
{
    planned_done(&r->done);
    free(r);
}

static void work(struct planner *p, struct request *r)
{
    struct planned *d = &r->done;

    if (p->make(p->context, &r->job, &d->plan, &d->error) == OK) {
        err_clear(&d->error);
        sha256_hex(d->plan.data, d->plan.len, d->digest);
    }
}

static void put_ready_locked(struct planner *p, struct request *r)
{
    const uint64_t one = 1;

    list_add(&p->ready, r);
    invariant(write(p->fd, &one, sizeof(one)) == (ssize_t)sizeof(one) || errno == EAGAIN);
}

static void *run(void *arg)
{
    struct planner *p = arg;

    pthread_mutex_lock(&p->lock);
    while (!p->stop) {
        struct request *r = list_take(&p->asked);
        if (!r) {
            pthread_cond_wait(&p->more, &p->lock);
            continue;
        }
        pthread_mutex_unlock(&p->lock);
        work(p, r);
        pthread_mutex_lock(&p->lock);
        put_ready_locked(p, r);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

struct planner *planner_new(planner_make_fn *make, void *context, bool threaded)
{
    struct planner *p = mem_new(sizeof(*p));

    p->make = make;
    p->context = context;
    p->threaded = threaded;
    p->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    invariant(p->fd >= 0);
    invariant(pthread_mutex_init(&p->lock, NULL) == 0 && pthread_cond_init(&p->more, NULL) == 0);
    if (threaded)
        invariant(pthread_create(&p->thread, NULL, run, p) == 0);
    return p;
}

void planner_free(struct planner *p)
{
    struct request *r;

    if (!p)
        return;
    if (p->threaded) {
        pthread_mutex_lock(&p->lock);
        p->stop = true;
        pthread_cond_signal(&p->more);
        pthread_mutex_unlock(&p->lock);
        pthread_join(p->thread, NULL);
    }
    while ((r = list_take(&p->asked)) || (r = list_take(&p->ready)))
        request_free(r);
    pthread_cond_destroy(&p->more);
    pthread_mutex_destroy(&p->lock);
    close(p->fd);
    free(p);
}

enum err_code planner_ask(struct planner *p, const struct job *job, struct err *e)
{
    struct request *r = mem_new(sizeof(*r));

    r->job = *job;
    r->job.result = NULL;
    r->done.plan = (struct buf)BUF_INIT(PLAN_TEXT_BYTES_MAX);
    memcpy(r->done.job, job->id, sizeof(r->done.job));
    if (!p->threaded)
        work(p, r);
    pthread_mutex_lock(&p->lock);
    bool full = p->under_way >= PLANNER_ASKED_MAX;
    if (!full) {
        p->under_way++;
        if (p->threaded)
            list_add(&p->asked, r);
        else
            put_ready_locked(p, r);
        pthread_cond_signal(&p->more);
    }
    pthread_mutex_unlock(&p->lock);
    if (full) {
        request_free(r);
        return err_set(e, ERR_LIMIT, "%d shard plans are being made already", PLANNER_ASKED_MAX);
    }
    return OK;
}

bool planner_collect(struct planner *p, struct planned *out)
{
    uint64_t times;

    pthread_mutex_lock(&p->lock);
    struct request *r = list_take(&p->ready);
    if (r)
        p->under_way--;
    else
        (void)!read(p->fd, &times, sizeof(times)); /* nothing is left: not readable any more */
    pthread_mutex_unlock(&p->lock);
    if (!r)
        return false;
    *out = r->done;
    r->done.plan = (struct buf)BUF_INIT(0);
    request_free(r);
    return true;
}

int planner_fd(const struct planner *p)
{
    return p->fd;
}

/* ---- the real one ---- */

static enum err_code check_digest(const struct job *job, const char *found, struct err *e)
{
    if (strcmp(job->dataset_digest, found) == 0)
        return OK;
    return err_set(e, ERR_CORRUPT,
                   "dataset %s has changed since the job was submitted: its manifest had digest %.16s..., "
                   "now it has %.16s...",
                   job->spec.data.train, job->dataset_digest, found);
}

/* Between submission and placement the policy may have become another one, and the scheduler with it. */
static enum err_code check_policy(const struct cluster *c, const struct job_spec *spec,
                                  const struct dataset *dataset, struct err *e)
{
    struct policy_decision d;

    cluster_admit(c, spec, dataset, &d);
    return policy_verdict(&d, e);
}

enum err_code planner_make(void *context, const struct job *job, struct buf *out_plan, struct err *e)
{
    const struct cluster *c = context;
    const struct job_spec *spec = &job->spec;
    CLEANUP(store_closep) struct store *store = NULL;
    CLEANUP(dataset_done) struct dataset dataset = { .columns = NULL };
    CLEANUP(plan_done) struct plan plan = { .segments = NULL };
    CLEANUP(json_donep) json_t *doc = NULL;
    char bucket[STORE_BUCKET_BYTES], prefix[STORE_KEY_BYTES], digest[65];

    if (store_uri_parse(spec->data.train, bucket, prefix, e) || cluster_open_store(c, bucket, &store, e) ||
        dataset_load(store, prefix, &dataset, digest, e) || check_digest(job, digest, e) ||
        check_policy(c, spec, &dataset, e))
        return err_wrap(e, "shard plan");
    const struct plan_rule rule = plan_rule_of(spec);
    if (plan_for_dataset(&dataset, &rule, 0, &plan, e))
        return err_wrap(e, "shard plan");
    doc = plan_to_json(&plan);
    if (json_canonical(doc, out_plan, e) || buf_check(out_plan, "shard plan", e))
        return err_wrap(e, "shard plan");
    return OK;
}
