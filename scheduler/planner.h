/*
 * planner.h - the shard plan of an attempt's first epoch, made from the dataset as it lies in the store.
 *
 * A job names its dataset by the digest that the manifest had at submission. Before each attempt the manifest
 * is read again and must still have it: what a job trains on cannot change under it. Reading takes as long as
 * the store takes, and the loop that places jobs must not wait: so a thread does the reading, one request
 * after the other, and the loop collects what is ready. A store that is slow or away holds up only the jobs
 * that need it.
 *
 * Where `threaded` is false planner_ask() does the work itself: for tests, and the simulator.
 */
#ifndef SCHEDULER_PLANNER_H
#define SCHEDULER_PLANNER_H

#include "core/cluster/cluster.h"
#include "core/job/job.h"
#include "core/job/plan.h"

enum { PLANNER_ASKED_MAX = 256, PLAN_TEXT_BYTES_MAX = STATE_VALUE_BYTES_MAX };

/* Makes one plan as canonical JSON. ERR_RETRY: later, perhaps. Anything else: this job can never be started.
 * Called from the planner's thread. */
typedef enum err_code planner_make_fn(void *context, const struct job *job, struct buf *out_plan,
                                      struct err *e);

/* The real one. `context` is a struct cluster *. */
enum err_code planner_make(void *context, const struct job *job, struct buf *out_plan, struct err *e);

struct planned {
    char job[JOB_ID_BYTES];
    struct err error; /* code OK: there is a plan */
    struct buf plan;  /* canonical JSON */
    char digest[65];  /* its SHA-256 */
};
void planned_done(struct planned *p);

struct planner;
struct planner *planner_new(planner_make_fn *make, void *context, bool threaded);
void planner_free(struct planner *p); /* waits for the request that is being worked on */
DEFINE_CLEANUP_PTR(struct planner, planner_free)

/* ERR_LIMIT: PLANNER_ASKED_MAX are under way; ask again when some are done. */
enum err_code planner_ask(struct planner *p, const struct job *job, struct err *e);
/* The next that is ready, failed or not; false: none is. The caller's planned_done(). */
bool planner_collect(struct planner *p, struct planned *out);
int planner_fd(const struct planner *p); /* readable when there may be something to collect */

#endif
