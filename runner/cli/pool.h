/*
 * pool.h - one thread gives out jobs, a few work on them; the first failure ends it all and is told.
 *
 * Memory is bounded by what jobs weigh: giving one waits while those that wait or are worked on weigh more
 * than the limit together (one job alone may). Threads are started as they are needed, at most `threads`;
 * each has a thing of its own (a store handle, say) from `start` to `stop`. While the giver waits it is
 * called back, to show progress.
 */
#ifndef RUNNER_CLI_POOL_H
#define RUNNER_CLI_POOL_H

#include "base/cleanup.h"
#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

enum { POOL_THREADS_MAX = 64, POOL_TICK_MS = 200 };

struct pool_ops {
    /* In the new thread, before its first job. */
    enum err_code (*start)(void *context, void **out_mine, struct err *e);
    enum err_code (*work)(void *context, void *mine, void *job, struct err *e);
    void (*stop)(void *context, void *mine); /* `mine` NULL: start failed */
    void (*drop)(void *job);                 /* after work, or instead of it */
    void (*tick)(void *context);             /* in the giver's thread; may be NULL */
};

struct pool;
struct pool *pool_new(size_t threads, uint64_t weight_max, const struct pool_ops *ops, void *context);
/* Takes the job over, also on failure: then it is the first failure of those before. */
enum err_code pool_give(struct pool *p, void *job, uint64_t weight, struct err *e);
/* Until all is worked off: the first failure, if there was one. */
enum err_code pool_end(struct pool *p, struct err *e);
/* Whatever has not begun is dropped; what is worked on is waited for. */
void pool_free(struct pool *p);
DEFINE_CLEANUP_PTR(struct pool, pool_free)

#endif
