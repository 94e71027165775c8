#include "trainer/reducer.h"

#include "base/mem.h"
#include "trainer/beside.h"

#include <pthread.h>

struct reducer {
    struct comm *comm;
    size_t n, bucket;
    bool exact;
    struct beside *beside; /* NULL: the comm works on the device */
    float *sum;            /* these three are the thread's, where there is one, from reducer_start() on */
    size_t end;            /* floats from here on were given to the comm */
    struct err failure;
    pthread_mutex_t lock;
    pthread_cond_t more;
    size_t ready; /* floats from here on are */
};

enum err_code reducer_open(struct comm *comm, size_t n, size_t bucket, bool exact, struct reducer **out,
                           struct err *e)
{
    CLEANUP(reducer_closep) struct reducer *r = mem_new(sizeof(*r));

    invariant(bucket > 0);
    *r = (struct reducer){ .comm = comm, .n = n, .bucket = bucket, .exact = exact };
    invariant(pthread_mutex_init(&r->lock, NULL) == 0 && pthread_cond_init(&r->more, NULL) == 0);
    if (!comm->on_device && beside_open(false, &r->beside, e))
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

/* The next bucket begins here, and ends at r->end. */
static size_t next_first(const struct reducer *r)
{
    return r->end - MIN(r->bucket, r->end);
}

static void sum_bucket(struct reducer *r)
{
    size_t first = next_first(r), count = r->end - first;

    IGNORE(r->exact ? comm_sum_scatter_range(r->comm, r->sum, r->n, first, count, &r->failure)
                    : comm_sum_fast_range(r->comm, r->sum, r->n, first, count, &r->failure));
    r->end = first;
}

static void sum_buckets(void *context)
{
    struct reducer *r = context;

    while (r->end > 0 && r->failure.code == OK) {
        wait_until_ready(r, next_first(r));
        sum_bucket(r);
    }
}

void reducer_start(struct reducer *r, float *sum)
{
    r->sum = sum;
    r->end = r->ready = r->n;
    err_clear(&r->failure);
    if (!r->beside)
        return;
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
    while (!r->beside && r->end > 0 && next_first(r) >= first && r->failure.code == OK)
        sum_bucket(r);
}

enum err_code reducer_finish(struct reducer *r, struct err *e)
{
    if (r->beside)
        comm_gently(r->comm, false); /* nothing else is to be done now */
    reducer_ready(r, 0);
    if (r->beside)
        beside_wait(r->beside);
    if (r->failure.code == OK)
        IGNORE(comm_finish(r->comm, &r->failure));
    if (r->failure.code != OK)
        *e = r->failure;
    return e->code;
}
