/*
 * progress.h - how far it is: one live line on a terminal, a plain line now and then elsewhere.
 *
 * On a terminal the line is redrawn in place, at most four times a second, and cleared at the end. Elsewhere
 * (a log of CI, say) there is one line for each change of state and one every ten seconds. It goes to
 * standard error, so that standard output is the result's alone. What a line says is a pure function of a
 * view.
 */
#ifndef RUNNER_CLI_PROGRESS_H
#define RUNNER_CLI_PROGRESS_H

#include "base/buf.h"
#include "base/clock.h"
#include "core/json/json.h"

#include <stdio.h>

enum { PROGRESS_REDRAW_MS = 250, PROGRESS_PLAIN_MS = 10000 };

struct progress_view {
    char name[64], id[32], state[16], phase[24], reason[512];
    int64_t attempt, batch;
    int64_t context; /* tokens of a record; 0: it has none */
    bool has_pulse;
    int64_t step, steps, epoch, epochs, checkpoint_step; /* checkpoint_step -1: none yet */
    double loss, records_per_second;
};
/* From what GET /v1/jobs/ID gives. A pulse of an earlier attempt does not count. */
void progress_view_of(const json_t *shown, struct progress_view *out);
/* One line without its end; `columns` 0: not cut. */
void progress_line(const struct progress_view *v, size_t columns, struct buf *out);
int64_t progress_eta_ms(const struct progress_view *v); /* -1: cannot be told */

struct progress {
    FILE *out; /* borrowed; NULL: says nothing */
    const struct clock *clock;
    size_t columns; /* of the terminal; 0: none */
    bool drawn;
    int64_t last_ms;
    char last_state[64];
};
/* `out` is standard error in programs. */
struct progress progress_new(FILE *out, size_t columns, const struct clock *clock);
void progress_show(struct progress *p, const struct progress_view *v);
/* Any other thing that takes its time, in the same rhythm; nothing where there is no terminal. */
void progress_note(struct progress *p, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* A line of its own, above the live one. */
void progress_say(struct progress *p, const char *fmt, ...) PRINTF_LIKE(2, 3);
void progress_clear(struct progress *p);

/* "1,234,567": for people. */
const char *progress_count(double n, char out[48]);

#endif
