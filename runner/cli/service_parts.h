/*
 * service_parts.h - one background process: who listens on a socket, starting it, ending it. Private to
 * services.c.
 */
#ifndef RUNNER_CLI_SERVICE_PARTS_H
#define RUNNER_CLI_SERVICE_PARTS_H

#include "base/proc.h"
#include "core/cluster/cluster.h"

/* Who listens on that Unix socket; false: nobody, also where the socket's file is left over. pid 0: somebody
 * without a number here. */
bool service_listener(const char *socket_path, struct proc_id *out);

/* HOME/run/lock or run/users; polls until it is free. ERR_RETRY after timeout_ms. */
enum err_code service_lock(const char *path, bool shared, int64_t timeout_ms, int *out_fd, struct err *e);

/* Detached (a session of its own), output to `log` (appended). Writes the pid file. */
enum err_code service_start(const char *const *argv, const char *log, const char *pid_file,
                            struct proc_id *out, struct err *e);

/* The process that a pid file names; false: none, or it is gone. */
bool service_noted(const char *pid_file, struct proc_id *out);

/* SIGTERM, at most so long, then SIGKILL. *out_killed: it took that. */
void service_end(struct proc_id id, int64_t within_ms, bool *out_killed);

/* The Redis of an embedded cluster: its configuration and its command line. */
enum err_code service_redis_write_conf(const struct cluster *c, struct err *e);
/* Through its socket, as it looks for a SIGTERM once a second only. Returns at once; SIGTERM is to follow. */
void service_redis_ask_to_end(const char *socket_path);
/* ERR_CORRUPT-proof: each value in quotes. For tests. */
void service_redis_conf(const struct cluster *c, struct buf *out);

/* The end of a log, for an error's text: its last line that says something. */
void service_last_words(const char *log, char *out, size_t out_bytes);

/* Supervisors of this home on this host: `sovrun attempt --home HOME ...` at most `max`. */
size_t service_supervisors(const char *home, struct proc_id *out, size_t max);
/* SIGKILL to what is left of the sessions that they led; how many there were. */
size_t service_kill_session(struct proc_id leader);

#endif
