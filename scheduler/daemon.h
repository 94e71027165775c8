/*
 * daemon.h - the shell around the core: sockets, threads, signals, files, and the waiting.
 *
 *     main thread     core_turn(), then poll(): the state's wake-up, supervisors that end, plans, the next
 * deadline, the stop flag planner         reads datasets            (planner.h) audit           outbox to
 * ledger          (audit.h) API             a thread a connection     (serve.h)
 *
 * Each has a state handle of its own. The state away stops nothing: the loop waits a second and tries again,
 * the API answers 503. SIGTERM: no new requests, the ones under way end, the ledger is written as far as it
 * goes, the lead is let go, files are removed; jobs run on. Killed at any point, it leaves a lock that the
 * kernel drops and files that the next one replaces.
 *
 *     HOME/run/scheduler.lock   held while it runs: one scheduler a home
 *     HOME/run/scheduler.pid    "PID START_TICKS"
 *     HOME/run/api.sock         HOME/run/api.port: the TCP port, where one is asked for
 */
#ifndef SCHEDULER_DAEMON_H
#define SCHEDULER_DAEMON_H

#include "core/cluster/cluster.h"

enum { DAEMON_RETRY_MS = 1000, DAEMON_REFUSALS_MS = 5000, DAEMON_POLL_MAX = 1024 };

/* Until SIGTERM or SIGINT (stop_init() was called), or an error that no waiting mends. ERR_CONFLICT: another
 * scheduler of this home runs. */
enum err_code daemon_run(const struct cluster *cluster, struct err *e);

#endif
