#include "kernels/cpu/pool.h"

#include "base/err.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { ALIGNMENT = 64 };

struct cpu_pool {
    size_t threads;
    pthread_t *workers; /* threads - 1 */
    void **scratch;     /* one for each, the caller's first */
    pthread_mutex_t lock;
    pthread_cond_t start, done;
    /* The list at hand; guarded by the lock but for `next`. */
    cpu_task_fn *task;
    void *context;
    size_t count;
    atomic_size_t next;
    size_t list, busy; /* its number; workers that have not left it */
    bool stop;
};

struct worker {
    struct cpu_pool *pool;
    size_t index;
};

static void work(struct cpu_pool *p, void *scratch)
{
    for (;;) {
        size_t i = atomic_fetch_add_explicit(&p->next, 1, memory_order_relaxed);
        if (i >= p->count)
            return;
        p->task(p->context, i, scratch);
    }
}

static void *run_worker(void *argument)
{
    struct worker w = *(struct worker *)argument;
    struct cpu_pool *p = w.pool;
    size_t seen = 0;
    free(argument);
    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (p->list == seen && !p->stop)
            pthread_cond_wait(&p->start, &p->lock);
        if (p->stop)
            break;
        seen = p->list;
        pthread_mutex_unlock(&p->lock);
        work(p, p->scratch[w.index]);
        pthread_mutex_lock(&p->lock);
        if (--p->busy == 0)
            pthread_cond_signal(&p->done);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

struct cpu_pool *cpu_pool_new(size_t threads)
{
    struct cpu_pool *p = mem_new(sizeof(*p));
    invariant(threads >= 1 && threads <= CPU_POOL_THREADS_MAX);
    p->threads = threads;
    p->workers = mem_array(threads, sizeof(*p->workers));
    p->scratch = mem_array(threads, sizeof(*p->scratch)); // NOLINT(bugprone-sizeof-expression): pointers
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->start, NULL);
    pthread_cond_init(&p->done, NULL);
    for (size_t i = 0; i < threads; i++)
        invariant(posix_memalign(&p->scratch[i], ALIGNMENT, CPU_POOL_SCRATCH_BYTES) == 0);
    for (size_t i = 1; i < threads; i++) {
        struct worker *w = mem_new(sizeof(*w));
        *w = (struct worker){ p, i };
        invariant(pthread_create(&p->workers[i - 1], NULL, run_worker, w) == 0);
    }
    return p;
}

void cpu_pool_free(struct cpu_pool *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    pthread_cond_broadcast(&p->start);
    pthread_mutex_unlock(&p->lock);
    for (size_t i = 1; i < p->threads; i++)
        pthread_join(p->workers[i - 1], NULL);
    for (size_t i = 0; i < p->threads; i++)
        free(p->scratch[i]);
    pthread_cond_destroy(&p->done);
    pthread_cond_destroy(&p->start);
    pthread_mutex_destroy(&p->lock);
    free(p->scratch);
    free(p->workers);
    free(p);
}

size_t cpu_pool_threads(const struct cpu_pool *p)
{
    return p->threads;
}

void cpu_pool_run(struct cpu_pool *p, size_t count, cpu_task_fn *task, void *context)
{
    if (p->threads == 1 || count <= 1) {
        for (size_t i = 0; i < count; i++)
            task(context, i, p->scratch[0]);
        return;
    }
    pthread_mutex_lock(&p->lock);
    p->task = task;
    p->context = context;
    p->count = count;
    atomic_store_explicit(&p->next, 0, memory_order_relaxed);
    p->busy = p->threads - 1;
    p->list++;
    pthread_cond_broadcast(&p->start);
    pthread_mutex_unlock(&p->lock);
    work(p, p->scratch[0]);
    pthread_mutex_lock(&p->lock);
    while (p->busy > 0)
        pthread_cond_wait(&p->done, &p->lock);
    pthread_mutex_unlock(&p->lock);
}
