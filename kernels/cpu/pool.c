#include "kernels/cpu/pool.h"

#include "base/err.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

/*
 * Between two lists there is often less to do than a sleeping thread takes to wake (tens of microseconds on a
 * virtual machine), so a wait begins with some looks at what is awaited. That alone decides nothing: what is
 * true is asked again under the lock.
 */
enum { LOOKS = 1000 }; /* about 50 us where a pause takes 140 cycles */

struct cpu_pool {
    size_t threads;
    pthread_t *workers; /* threads - 1 */
    void *scratch;      /* the caller's; a worker has its own */
    pthread_mutex_t lock;
    pthread_cond_t start, done;
    /* The list at hand; guarded by the lock but for `next`. */
    cpu_task_fn *task;
    void *context;
    size_t count;
    atomic_size_t next;
    atomic_size_t list, busy; /* its number; workers that have not left it. Written under the lock */
    bool stop;
};

static void *scratch_new(void)
{
    void *scratch = mem_try(CPU_POOL_SCRATCH_BYTES);
    invariant(scratch != NULL);
    return scratch;
}

static void work(struct cpu_pool *p, void *scratch)
{
    for (;;) {
        size_t i = atomic_fetch_add_explicit(&p->next, 1, memory_order_relaxed);
        if (i >= p->count)
            return;
        p->task(p->context, i, scratch);
    }
}

static void pause_a_little(void)
{
#ifdef __x86_64__
    __builtin_ia32_pause();
#endif
}

/* Returns as soon as *value is `that`, or after a while. */
static void look_until(atomic_size_t *value, size_t that)
{
    for (int i = 0; i < LOOKS && atomic_load_explicit(value, memory_order_relaxed) != that; i++)
        pause_a_little();
}

static void *run_worker(void *argument)
{
    struct cpu_pool *p = argument;
    CLEANUP(freep) void *scratch = scratch_new(); /* by the thread that uses it: near to it */
    size_t seen = 0;
    for (;;) {
        look_until(&p->list, seen + 1); /* no list passes without each worker */
        pthread_mutex_lock(&p->lock);
        while (p->list == seen && !p->stop)
            pthread_cond_wait(&p->start, &p->lock);
        if (p->stop)
            break;
        seen = p->list;
        pthread_mutex_unlock(&p->lock);
        work(p, scratch);
        pthread_mutex_lock(&p->lock);
        if (--p->busy == 0)
            pthread_cond_signal(&p->done);
        pthread_mutex_unlock(&p->lock);
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
    p->scratch = scratch_new();
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->start, NULL);
    pthread_cond_init(&p->done, NULL);
    for (size_t i = 1; i < threads; i++)
        invariant(pthread_create(&p->workers[i - 1], NULL, run_worker, p) == 0);
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
            task(context, i, p->scratch);
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
    work(p, p->scratch);
    look_until(&p->busy, 0);
    pthread_mutex_lock(&p->lock);
    while (p->busy > 0)
        pthread_cond_wait(&p->done, &p->lock);
    pthread_mutex_unlock(&p->lock);
}
