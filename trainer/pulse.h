/*
 * pulse.h - rank 0's line to the state: progress, checkpoints, results, and events for the ledger, all
 * under the attempt's token.
 *
 * Progress is written at most twice a second, besides each change of phase, and may be lost. Events and
 * results may not: they wait in order until the state takes them. With the state away training goes on;
 * what waits is sent when it is back, and pulse_flush() insists at the end. A refusal (ERR_DENIED) means
 * that another attempt has the lease: this one must end.
 *
 * No event is told twice. A commit without an answer may have been applied: so each event's commit also
 * counts the job's events up, from the number and the version that were read (value events/JOB). What was
 * applied after all is seen by the number, and a second commit of it would be refused by the version.
 *
 * Threads: one line, one thread. Blocking: a state that answers costs a round trip; one that hangs costs
 * PULSE_CALL_MS, tried again after PULSE_AWAY_MS.
 */
#ifndef TRAINER_PULSE_H
#define TRAINER_PULSE_H

#include "core/cluster/attempt_doc.h"

enum { PULSE_EVERY_MS = 500, PULSE_CALL_MS = 500, PULSE_AWAY_MS = 3000, PULSE_WAITING_MAX = 4096 };

struct pulse_line;
/* What lies outside: clock_real and state_open() but in tests. */
typedef enum err_code pulse_open_fn(const struct state_config *config, const struct secret *password,
                                    struct state **out, struct err *e);
/* doc and clock are borrowed. The state need not answer yet. */
struct pulse_line *pulse_line_new(const struct attempt_doc *doc, const struct clock *clock,
                                  pulse_open_fn *open);
void pulse_line_free(struct pulse_line *l);
DEFINE_CLEANUP_PTR(struct pulse_line, pulse_line_free)

/* Progress; `now` writes it even if the last was a moment ago. ERR_DENIED: fenced. Nothing else is
 * reported. */
enum err_code pulse_progress(struct pulse_line *l, const struct pulse *p, bool now, struct err *e);

/* One event, and with it (may be NULL) a value to put: sent now or later, in order. `data` is taken over.
 * ERR_DENIED: fenced. ERR_RETRY: the state has been away for PULSE_WAITING_MAX events. ERR_USAGE,
 * ERR_LIMIT: it is no event; nothing waits then. */
enum err_code pulse_event(struct pulse_line *l, const char *event, json_t *data, const char *put_name,
                          const char *put_text, struct err *e);

/* Nothing waits: so the state took the last event, and the job was ours then. */
bool pulse_all_told(const struct pulse_line *l);

/* Until everything is sent, at most within_ms: ERR_RETRY when the state stayed away, ERR_CANCELED when we
 * were asked to stop meanwhile. */
enum err_code pulse_flush(struct pulse_line *l, int64_t within_ms, struct err *e);

#endif
