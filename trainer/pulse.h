/*
 * pulse.h - rank 0's line to the state: progress, checkpoints, results, and events for the ledger, all
 * under the attempt's token.
 *
 * Progress is written at most twice a second and may be lost. Events and results may not: they wait in
 * order until the state takes them. With the state away training goes on; what waits is sent when it is
 * back, and pulse_flush() insists at the end. A refusal (ERR_DENIED) means that another attempt has the
 * lease: this one must end.
 */
#ifndef TRAINER_PULSE_H
#define TRAINER_PULSE_H

#include "core/cluster/attempt_doc.h"

struct pulse_line;
/* doc is borrowed. The state need not answer yet. */
struct pulse_line *pulse_line_new(const struct attempt_doc *doc);
void pulse_line_free(struct pulse_line *l);
DEFINE_CLEANUP_PTR(struct pulse_line, pulse_line_free)

/* Progress; `now` writes it even if the last was a moment ago. ERR_DENIED: fenced. Nothing else is
 * reported. */
enum err_code pulse_progress(struct pulse_line *l, const struct pulse *p, bool now, struct err *e);

/* One event, and with it (may be NULL) a value to put: sent now or later, in order. `data` is taken over. */
enum err_code pulse_event(struct pulse_line *l, const char *event, json_t *data, const char *put_name,
                          const char *put_text, struct err *e);

/* Until everything is sent, at most within_ms: ERR_RETRY when the state stayed away. */
enum err_code pulse_flush(struct pulse_line *l, int64_t within_ms, struct err *e);

#endif
