/*
 * why.h - why is my job not running: an answer in numbers and in one sentence. Pure.
 *
 * It asks the same function that decides (place.h), with the same fleet and the same line, so the answer
 * cannot differ from the decision. Jobs ahead are those of the job's own queue that are served before it.
 */
#ifndef SCHEDULER_WHY_H
#define SCHEDULER_WHY_H

#include "scheduler/place.h"

enum { WHY_AHEAD_SHOWN = 10 };

struct why {
    enum job_state state;
    char reason[JOB_REASON_BYTES];
    int64_t ahead;                             /* jobs served before it */
    int64_t needs;                             /* slots, on one node */
    int64_t free;                              /* the most on any one node */
    int64_t free_total;                        /* over all nodes */
    int64_t backoff_ms;                        /* left of it; 0: none */
    char shown[WHY_AHEAD_SHOWN][JOB_ID_BYTES]; /* the first of those ahead */
    size_t shown_count;
};

/* `line`: the waiting jobs of its queue that are served before it, in order; `line_more`: how many of the
 * line were left out behind those (for a very long line). `fleet` is what is in use now; it is changed by the
 * asking, so give it away. `delay`: why the scheduler has put the job off for a moment ("" or NULL: it has
 * not). */
void why_job(const struct job *job, struct fleet *fleet, const struct place_job *line, size_t line_count,
             int64_t line_more, const char *delay, int64_t now_ms, struct why *out);

json_t *why_to_json(const struct why *w);

#endif
