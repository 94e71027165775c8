#include "trainer/beside.h"

#include "base/mem.h"

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

enum { POLITE_NICE = 10 };

struct beside {
    pthread_t thread;
    bool running, polite;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    beside_fn *work; /* NULL: nothing is under way */
    void *context;
    bool closing;
};

static void *run(void *context)
{
    struct beside *b = context;

    if (b->polite)
        IGNORE(setpriority(PRIO_PROCESS, 0, POLITE_NICE)); /* of this thread alone, on Linux */
    pthread_mutex_lock(&b->lock);
    while (b->work || !b->closing) {
        if (!b->work) {
            pthread_cond_wait(&b->changed, &b->lock);
            continue;
        }
        pthread_mutex_unlock(&b->lock);
        b->work(b->context); /* both stay as they are until it is done */
        pthread_mutex_lock(&b->lock);
        b->work = NULL;
        pthread_cond_broadcast(&b->changed);
    }
    pthread_mutex_unlock(&b->lock);
    return NULL;
}

static bool start_thread(struct beside *b)
{
    sigset_t all, before;

    sigfillset(&all);
    invariant(pthread_sigmask(SIG_SETMASK, &all, &before) == 0); /* a thread inherits it */
    b->running = pthread_create(&b->thread, NULL, run, b) == 0;
    invariant(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    return b->running;
}

enum err_code beside_open(bool polite, struct beside **out, struct err *e)
{
    CLEANUP(beside_closep) struct beside *b = mem_new(sizeof(*b));

    b->polite = polite;
    invariant(pthread_mutex_init(&b->lock, NULL) == 0 && pthread_cond_init(&b->changed, NULL) == 0);
    if (!start_thread(b))
        return err_set(e, ERR_IO, "no thread could be started");
    *out = TAKE(b);
    return OK;
}

void beside_close(struct beside *b)
{
    if (!b)
        return;
    if (b->running) {
        pthread_mutex_lock(&b->lock);
        b->closing = true;
        pthread_cond_broadcast(&b->changed);
        pthread_mutex_unlock(&b->lock);
        pthread_join(b->thread, NULL);
    }
    pthread_cond_destroy(&b->changed);
    pthread_mutex_destroy(&b->lock);
    free(b);
}

void beside_start(struct beside *b, beside_fn *work, void *context)
{
    pthread_mutex_lock(&b->lock);
    invariant(!b->work && !b->closing);
    b->work = work;
    b->context = context;
    pthread_cond_broadcast(&b->changed);
    pthread_mutex_unlock(&b->lock);
}

bool beside_done(struct beside *b)
{
    pthread_mutex_lock(&b->lock);
    bool done = !b->work;
    pthread_mutex_unlock(&b->lock);
    return done;
}

void beside_wait(struct beside *b)
{
    pthread_mutex_lock(&b->lock);
    while (b->work)
        pthread_cond_wait(&b->changed, &b->lock);
    pthread_mutex_unlock(&b->lock);
}
