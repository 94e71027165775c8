#include "runner/cli/pool.h"

#include "base/mem.h"

#include <pthread.h>
#include <time.h>

struct waiting {
    void *job;
    uint64_t weight;
    struct waiting *next;
};

struct pool {
    const struct pool_ops *ops; /* borrowed */
    void *context;
    size_t threads_max, threads, idle;
    uint64_t weight_max, weight; /* of what waits and what is worked on */
    pthread_t thread[POOL_THREADS_MAX];
    pthread_mutex_t lock;
    pthread_cond_t work_came, work_went;
    struct waiting *first, **last;
    size_t jobs;   /* waiting or worked on */
    size_t queued; /* waiting */
    bool closing;
    struct err failure; /* the first */
};

struct pool *pool_new(size_t threads, uint64_t weight_max, const struct pool_ops *ops, void *context)
{
    struct pool *p = mem_new(sizeof(*p));
    pthread_condattr_t attr;

    p->ops = ops;
    p->context = context;
    p->threads_max = MAX(MIN(threads, (size_t)POOL_THREADS_MAX), (size_t)1);
    p->weight_max = weight_max;
    p->last = &p->first;
    invariant(pthread_mutex_init(&p->lock, NULL) == 0 && pthread_condattr_init(&attr) == 0 &&
              pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0 &&
              pthread_cond_init(&p->work_came, NULL) == 0 && pthread_cond_init(&p->work_went, &attr) == 0);
    pthread_condattr_destroy(&attr);
    return p;
}

static void fail_locked(struct pool *p, const struct err *why)
{
    if (p->failure.code == OK)
        p->failure = *why;
    pthread_cond_broadcast(&p->work_came);
    pthread_cond_broadcast(&p->work_went);
}

/* NULL: there will be no more. */
static struct waiting *take(struct pool *p)
{
    struct waiting *w;

    pthread_mutex_lock(&p->lock);
    while (!p->first && !p->closing && p->failure.code == OK) {
        p->idle++;
        pthread_cond_wait(&p->work_came, &p->lock);
        p->idle--;
    }
    w = p->failure.code == OK ? p->first : NULL;
    if (w && !(p->first = w->next))
        p->last = &p->first;
    p->queued -= w != NULL;
    pthread_mutex_unlock(&p->lock);
    return w;
}

static void finish(struct pool *p, struct waiting *w, const struct err *e)
{
    p->ops->drop(w->job);
    pthread_mutex_lock(&p->lock);
    p->weight -= w->weight;
    p->jobs--;
    if (e->code)
        fail_locked(p, e);
    pthread_cond_broadcast(&p->work_went);
    pthread_mutex_unlock(&p->lock);
    free(w);
}

static void *run(void *context)
{
    struct pool *p = context;
    struct err e = ERR_INIT;
    struct waiting *w;
    void *mine = NULL;

    if (p->ops->start(p->context, &mine, &e)) {
        pthread_mutex_lock(&p->lock);
        fail_locked(p, &e);
        pthread_mutex_unlock(&p->lock);
    }
    while ((w = take(p)) != NULL) {
        IGNORE(p->ops->work(p->context, mine, w->job, &e));
        finish(p, w, &e);
    }
    p->ops->stop(p->context, mine);
    return NULL;
}

/* Wakes when something went, or after a moment, to show progress. */
static void wait_a_moment_locked(struct pool *p)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += POOL_TICK_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    pthread_cond_timedwait(&p->work_went, &p->lock, &until);
    if (!p->ops->tick)
        return;
    pthread_mutex_unlock(&p->lock);
    p->ops->tick(p->context);
    pthread_mutex_lock(&p->lock);
}

static enum err_code add_locked(struct pool *p, void *job, uint64_t weight, struct err *e)
{
    struct waiting *w = mem_new(sizeof(*w));

    if (p->idle <= p->queued && p->threads < p->threads_max) {
        if (pthread_create(&p->thread[p->threads], NULL, run, p) == 0)
            p->threads++;
        else if (p->threads == 0) {
            free(w);
            return err_set(e, ERR_IO, "no thread could be started");
        }
    }
    *w = (struct waiting){ .job = job, .weight = weight };
    *p->last = w;
    p->last = &w->next;
    p->weight += weight;
    p->jobs++;
    p->queued++;
    pthread_cond_signal(&p->work_came);
    return OK;
}

enum err_code pool_give(struct pool *p, void *job, uint64_t weight, struct err *e)
{
    enum err_code code;

    pthread_mutex_lock(&p->lock);
    while (p->failure.code == OK && p->jobs > 0 && p->weight + weight > p->weight_max)
        wait_a_moment_locked(p);
    code = p->failure.code;
    if (code)
        *e = p->failure;
    else
        code = add_locked(p, job, weight, e);
    pthread_mutex_unlock(&p->lock);
    if (code)
        p->ops->drop(job);
    return code;
}

enum err_code pool_end(struct pool *p, struct err *e)
{
    enum err_code code;

    pthread_mutex_lock(&p->lock);
    while (p->failure.code == OK && p->jobs > 0)
        wait_a_moment_locked(p);
    code = p->failure.code;
    if (code)
        *e = p->failure;
    pthread_mutex_unlock(&p->lock);
    return code;
}

void pool_free(struct pool *p)
{
    struct waiting *w, *dropped;

    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->closing = true;
    dropped = p->first;
    p->first = NULL;
    p->last = &p->first;
    pthread_cond_broadcast(&p->work_came);
    pthread_mutex_unlock(&p->lock);
    for (size_t i = 0; i < p->threads; i++)
        pthread_join(p->thread[i], NULL);
    while ((w = dropped) != NULL) {
        dropped = w->next;
        p->ops->drop(w->job);
        free(w);
    }
    pthread_cond_destroy(&p->work_came);
    pthread_cond_destroy(&p->work_went);
    pthread_mutex_destroy(&p->lock);
    free(p);
}
