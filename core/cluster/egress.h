/*
 * egress.h - refused connections, on their way into the ledger.
 *
 * The HTTP client tells the process's one observer of each connection that it did not make (http_on_refusal).
 * The observer is called from whichever thread met the refusal and may not block, so it only adds to a queue
 * here; the program's own loop tells the state what waits, as events "egress.refused" in the outbox. What is
 * said again before it was told is counted up and not said twice: a store that is tried six times is one
 * event. The queue is bounded; what does not fit is counted too, and that number goes along with the next
 * event.
 *
 *     scheduler, supervisor    their loops, with the state handle that they have
 *     trainer                  each rank writes a line to its standard error, which the supervisor reads: so
 *                              a rank that the state cannot hear, or that ends at once, is heard all the same
 *     sovrun                   when the command has ended, where the state can be reached; else it says so
 *
 * Told at least once: where the answer to a commit was lost, the event may stand in the ledger twice.
 *
 * Threads: egress_add() and egress_on_refusal() from any; the rest from one.
 */
#ifndef CORE_CLUSTER_EGRESS_H
#define CORE_CLUSTER_EGRESS_H

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "core/http/guard.h"
#include "core/state/state.h"

enum { EGRESS_WAITING_MAX = 64, EGRESS_TEXT_BYTES = 200, EGRESS_NO_RANK = -1 };
#define EGRESS_EVENT "egress.refused"
#define EGRESS_LINE "sovrun-trainer: egress: " /* how a rank's line begins; JSON follows */

extern const char *const egress_programs[]; /* "scheduler", "supervisor", "trainer", "sovrun", NULL */
enum egress_program {
    EGRESS_SCHEDULER,
    EGRESS_SUPERVISOR,
    EGRESS_TRAINER,
    EGRESS_SOVRUN,
    EGRESS_PROGRAM_COUNT
};
enum { EGRESS_KIND_COUNT = HTTP_REFUSED_CLIENT + 1 };

struct egress_refusal {
    enum egress_program program;
    enum http_refusal_kind kind;
    char place[EGRESS_TEXT_BYTES], detail[EGRESS_TEXT_BYTES]; /* printable ASCII */
    int64_t rank;                                             /* EGRESS_NO_RANK: none */
    int64_t count;                                            /* so often */
    int64_t time_ms;                                          /* the first time */
};
/* What http tells, as it will be kept: cut to size and printable. */
void egress_from_http(enum egress_program program, int64_t rank, int64_t time_ms,
                      const struct http_refusal *told, struct egress_refusal *out);

/* ---- a rank's line ---- */

/* EGRESS_LINE, JSON, a line feed: what egress_from_line() reads behind EGRESS_LINE. Shorter than
 * OUTPUT_LINE_BYTES of runner/attempt. */
void egress_to_line(const struct egress_refusal *r, struct buf *out);
/* ERR_CORRUPT: not such a line. It comes from a rank; time_ms is the caller's. */
enum err_code egress_from_line(const char *json, int64_t time_ms, struct egress_refusal *out, struct err *e);

/* ---- the queue ---- */

struct egress;
struct egress *egress_new(enum egress_program program, const struct clock *clock); /* clock borrowed */
void egress_free(struct egress *q); /* NULL is fine; what waits is lost */
DEFINE_CLEANUP_PTR(struct egress, egress_free)

void egress_add(struct egress *q, const struct egress_refusal *r);
http_refused_fn egress_on_refusal;     /* context: the queue. For http_on_refusal() */
int egress_fd(const struct egress *q); /* readable when something new waits; egress_tell() empties it */
size_t egress_waiting(struct egress *q);

/* Who says it. */
struct egress_teller {
    const char *actor; /* "scheduler", "supervisor:JOB.N", "user:ana" */
    const char *job;   /* "": none */
    int64_t attempt;   /* 0: none */
    const char *lease; /* NULL: told without a fence */
    int64_t token;
};
/* All that waits, in one commit. What could not be told keeps waiting. */
enum err_code egress_tell(struct egress *q, struct state *s, const struct egress_teller *t, struct err *e);

#endif
