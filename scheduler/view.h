/*
 * view.h - one job as the API shows it: its record, its attempts, its progress, its lease, and a number that
 * changes with them.
 *
 * `seen` is made from the versions of what is shown, so that a caller who names it learns at once whether
 * anything is new. It is opaque: only equality means something.
 *
 * Threads: any, with a state handle of its own.
 */
#ifndef SCHEDULER_VIEW_H
#define SCHEDULER_VIEW_H

#include "core/job/attempt.h"
#include "core/job/job.h"
#include "core/state/state.h"
#include "scheduler/fleet.h"

enum { VIEW_ATTEMPTS_MAX = 100, VIEW_ACTIVE_MAX = 10000 };

/* {"job","attempts","pulse","lease","seen"}: at most VIEW_ATTEMPTS_MAX attempts, the newest last. A new
 * reference. */
enum err_code view_job(struct state *s, const char *id, json_t **out, int64_t *out_seen, struct err *e);
enum err_code view_seen(struct state *s, const char *id, int64_t *out, struct err *e); /* the number alone */

enum err_code view_attempt(struct state *s, const char *id, int64_t number, struct attempt *out,
                           struct err *e);

/* What is in use, by the records of the active jobs (at most VIEW_ACTIVE_MAX of them). The caller's
 * fleet_done(). */
enum err_code view_fleet(struct state *s, const struct cluster *c, struct fleet *out, struct err *e);

#endif
