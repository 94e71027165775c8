/*
 * listen.h - the two sockets that the API listens on, made so that nobody else can reach or take them.
 */
#ifndef SCHEDULER_LISTEN_H
#define SCHEDULER_LISTEN_H

#include "base/err.h"

#include <stdint.h>

enum { LISTEN_BACKLOG = 128 };

/* A Unix socket with mode 0600 from its first moment. What an earlier scheduler left at `path` is replaced;
 * ERR_CONFLICT where somebody still answers there, or where it is no socket. */
enum err_code listen_unix(const char *path, int *out_fd, struct err *e);

/* "127.0.0.1:4711", "[::1]:4711"; port 0: a free one. ERR_DENIED for any other address than loopback. */
enum err_code listen_tcp(const char *address, int *out_fd, uint16_t *out_port, struct err *e);

#endif
