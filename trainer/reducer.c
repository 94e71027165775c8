#include "trainer/reducer.h"

#include "base/mem.h"
#include "trainer/beside.h"

#include <pthread.h>

struct reducer {
    struct comm *comm;
    size_t n, bucket;
    struct beside *beside;
    float *sum;         /* the thread's from `ready` on */
    struct err failure; /* the thread's */
    pthread_mutex_t lock;
    pthread_cond_t more;
    size_t ready; /* floats from here on are */
};

enum err_code reducer_open(struct comm *comm, size_t n, size_t bucket, struct reducer **out, struct err *e)
{
    CLEANUP(reducer_closep) struct reducer *r = mem_new(sizeof(*r));

    *r = (struct reducer){ .comm = comm, .n = n, .bucket = bucket };
    invariant(pthread_mutex_init(&r->lock, NULL) == 0 && pthread_cond_init(&r->more, NULL) == 0);
    if (beside_open(false, &r->beside, e))
        return e->code;
    *out = TAKE(r);
    return OK;
}

void reducer_close(struct reducer *r)
{
    if (!r)
        return;
    beside_close(r->beside);
    pthread_cond_destroy(&r->more);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

static void wait_until_ready(struct reducer *r, size_t first)
{
    pthread_mutex_lock(&r->lock);
    while (r->ready > first)
        pthread_cond_wait(&r->more, &r->lock);
    pthread_mutex_unlock(&r->lock);
}

static void sum_buckets(void *context)
{
    struct reducer *r = context;
    size_t first;

    for (size_t end = r->n; end > 0 && r->failure.code == OK; end = first) {
        first = end - MIN(r->bucket, end);
        wait_until_ready(r, first);
        IGNORE(comm_sum_scatter_range(r->comm, r->sum, r->n, first, end - first, &r->failure));
    }
}

void reducer_start(struct reducer *r, float *sum)
{
    r->sum = sum;
    r->ready = r->n;
    err_clear(&r->failure);
    comm_gently(r->comm, true); /* the pass needs the processor more */
    beside_start(r->beside, sum_buckets, r);
}

void reducer_ready(struct reducer *r, size_t first)
{
    pthread_mutex_lock(&r->lock);
    invariant(first <= r->ready);
    r->ready = first;
    pthread_cond_signal(&r->more);
    pthread_mutex_unlock(&r->lock);
}

enum err_code reducer_finish(struct reducer *r, struct err *e)
{
    comm_gently(r->comm, false); /* nothing else is to be done now */
    reducer_ready(r, 0);
    beside_wait(r->beside);
    if (r->failure.code != OK)
        *e = r->failure;
    return e->code;
}
