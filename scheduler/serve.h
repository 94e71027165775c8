/*
 * serve.h - HTTP around the routes: libmicrohttpd ends here.
 *
 * One server listens on the Unix socket, a second one on loopback TCP where the configuration asks for it,
 * each with a thread a connection: a caller who waits for news (watch, logs) holds up nobody. What a caller
 * can use up is bounded: connections, the head of a request, its body, the time that a connection may be
 * silent. Before a body is read the caller is known, or refused.
 */
#ifndef SCHEDULER_SERVE_H
#define SCHEDULER_SERVE_H

#include "scheduler/auth.h"
#include "scheduler/routes.h"

enum {
    SERVE_CONNECTIONS_MAX = 64,      /* of each server */
    SERVE_SILENCE_S = 75,            /* longer than any wait that a caller may ask for */
    SERVE_HEAD_BYTES_MAX = 64 << 10, /* of a request: line and headers */
    SERVE_STOP_MS = 3000,            /* given to requests under way */
};

struct serve;
/* All borrowed, and `listen_fd` taken over. `over_tcp`: the caller shows a token; else the kernel knows. */
enum err_code serve_start(struct api *api, const struct auth *auth, int listen_fd, bool over_tcp,
                          struct serve **out, struct err *e);
/* Takes no more connections, lets what is under way end (api->stopping must be set), and closes. NULL is
 * fine. */
void serve_stop(struct serve *s);
DEFINE_CLEANUP_PTR(struct serve, serve_stop)

#endif
