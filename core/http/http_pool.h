/*
 * http_pool.h - many requests at once to one origin, on one thread.
 *
 * A pool is a fixed number of clients (http.h: the same guard, limits and rules for each) that libcurl's
 * multi interface drives together; connections are kept between requests and shared. Work is pulled: whenever
 * a client is free the caller is asked for the next exchange, and is told of each that has ended, in whatever
 * order. So memory is bounded by the number of clients times what one exchange may hold, and who has to wait
 * before he tries again (WAIT) holds up nobody else.
 *
 * Threads: one pool, one thread.
 */
#ifndef CORE_HTTP_HTTP_POOL_H
#define CORE_HTTP_HTTP_POOL_H

#include "core/http/http.h"

enum { HTTP_POOL_MAX = 64 };

struct http_pool;
/* `o` as for http_open(). */
enum err_code http_pool_open(const struct http_options *o, size_t connections, struct http_pool **out,
                             struct err *e);
void http_pool_close(struct http_pool *p);
DEFINE_CLEANUP_PTR(struct http_pool, http_pool_close)
size_t http_pool_size(const struct http_pool *p);

/* A client's place: what is asked there now and what came back. */
struct http_exchange {
    size_t slot;            /* 0 to connections - 1: for the caller's own room beside it */
    size_t task;            /* the caller's: which of his tasks this is */
    struct http_request q;  /* all of its texts and its body stay until `done` was called */
    struct http_response r; /* `next` sets r.body.max; `done` may move r.body away */
};

enum http_next { HTTP_NEXT_READY, HTTP_NEXT_WAIT, HTTP_NEXT_END };

struct http_work {
    void *context;
    /* Fill x->task, x->q and x->r.body.max. WAIT: nothing can be sent for *out_wait_ms; it is asked again
     * then, or when an exchange has ended. END: nothing is left, unless one that is under way comes back. */
    enum http_next (*next)(void *context, struct http_exchange *x, int64_t *out_wait_ms);
    /* How it ended: `failure` as http_do() would have it (OK: x->r has an answer). Anything but OK ends the
     * run: what is under way is broken off, and the code is returned. */
    enum err_code (*done)(void *context, struct http_exchange *x, const struct err *failure, struct err *e);
};
enum err_code http_pool_run(struct http_pool *p, const struct http_work *w, struct err *e);

#endif
