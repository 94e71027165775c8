/*
 * sched_world.h - one scheduler's core in a world of fakes: a state in memory that may fail, a clock that is
 * turned by hand, supervisors that do what the test says, plans made of nothing.
 */
#ifndef TESTS_FAKE_SCHED_WORLD_H
#define TESTS_FAKE_SCHED_WORLD_H

#include "core/job/attempt.h"
#include "core/state/lease.h"
#include "scheduler/core.h"
#include "tests/fake/launcher_fake.h"
#include "tests/fake/state_fault.h"
#include "tests/scheduler.h"

struct sched_world {
    struct cluster *cluster;
    struct clock_fake clock;
    struct state *state;      /* everybody else's: never fails */
    struct state_fault fault; /* the scheduler's */
    struct launcher_fake launcher;
    struct planner *planner;
    struct err plan_error; /* code not OK: plans fail so */
    struct core core;
    bool up;
    int jobs;
};

void sched_open(struct sched_world *w, const char *nodes, const char *queues);
void sched_close(struct sched_world *w);

void sched_up(struct sched_world *w);    /* a scheduler starts */
void sched_crash(struct sched_world *w); /* and is gone from one instruction to the next */
void sched_turn(struct sched_world *w);  /* until there is nothing to do now; the state may be away */
void sched_pass(struct sched_world *w,
                int64_t ms); /* time passes, in steps, and the scheduler does what it does */

/* A job in line, as `submit` commits it; its id in `out`. */
void sched_submit(struct sched_world *w, const char *queue, int64_t ranks, char out[JOB_ID_BYTES]);
enum err_code sched_cancel(struct sched_world *w, const char *id, struct err *e);

bool sched_newest(struct sched_world *w,
                  const struct fake_start *start); /* the job is at this attempt, and expects it */

/* The supervisor of the newest start of a job: each step as the real one commits it. */
struct supervisor {
    struct lease lease;
    struct attempt attempt;
};
bool supervisor_begin(struct sched_world *w, const char *id,
                      struct supervisor *out); /* lease and first word; false: refused */
void supervisor_runs(struct sched_world *w, struct supervisor *s);
void supervisor_result(struct sched_world *w, struct supervisor *s);
bool supervisor_ends(struct sched_world *w, struct supervisor *s,
                     enum attempt_outcome outcome);          /* last word and exit; false: refused */
void supervisor_dies(struct sched_world *w, const char *id); /* without a word */

struct job sched_job(struct sched_world *w, const char *id); /* job_done() */
enum job_state sched_state(struct sched_world *w, const char *id);
const char *sched_state_name(struct sched_world *w, const char *id);
/* Its events so far: "submitted placed started ...". */
const char *sched_events(struct sched_world *w, const char *id, char out[512]);
/* The sets hold exactly the jobs that they should, each once. */
void sched_check_sets(struct sched_world *w);

#endif
