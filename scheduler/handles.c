#include "scheduler/handles.h"

#include "base/mem.h"

#include <pthread.h>

struct handles {
    handles_open_fn *open;
    void *context;
    pthread_mutex_t lock; /* all below */
    struct state *idle[HANDLES_MAX];
    size_t idle_count, lent;
};

struct handles *handles_new(handles_open_fn *open, void *context)
{
    struct handles *h = mem_new(sizeof(*h));

    h->open = open;
    h->context = context;
    invariant(pthread_mutex_init(&h->lock, NULL) == 0);
    return h;
}

void handles_free(struct handles *h)
{
    if (!h)
        return;
    invariant(h->lent == 0);
    for (size_t i = 0; i < h->idle_count; i++)
        state_close(h->idle[i]);
    pthread_mutex_destroy(&h->lock);
    free(h);
}

enum err_code handles_take(struct handles *h, struct state **out, struct err *e)
{
    struct state *s = NULL;

    pthread_mutex_lock(&h->lock);
    bool full = h->lent == HANDLES_MAX;
    if (!full) {
        h->lent++;
        if (h->idle_count)
            s = h->idle[--h->idle_count];
    }
    pthread_mutex_unlock(&h->lock);
    if (full)
        return err_set(e, ERR_LIMIT, "%d requests are under way; try again", HANDLES_MAX);
    if (!s && h->open(h->context, &s, e)) {
        pthread_mutex_lock(&h->lock);
        h->lent--;
        pthread_mutex_unlock(&h->lock);
        return e->code;
    }
    *out = s;
    return OK;
}

void handles_give(struct handles *h, struct state *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&h->lock);
    h->lent--;
    h->idle[h->idle_count++] = s;
    pthread_mutex_unlock(&h->lock);
}
