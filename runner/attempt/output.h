/*
 * output.h - what mpirun and the ranks say: kept in a bounded log file, and read for what explains an end.
 *
 * The log ends at its limit with a line that says so; from then on output is read and dropped, so that no
 * rank ever blocks on a full pipe. Nor does a full disk stop a job: what cannot be written is dropped, and
 * said once. A few lines tell why an attempt ended: the trainer's "sovrun-trainer: error: ..." and Open
 * MPI 4.1's own messages. They are looked for line by line whether or not the line still fits the log.
 */
#ifndef RUNNER_ATTEMPT_OUTPUT_H
#define RUNNER_ATTEMPT_OUTPUT_H

#include "base/cleanup.h"
#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

enum { OUTPUT_LINE_BYTES = 1024, OUTPUT_LOG_BYTES_MIN = 1024 };

struct output_notes {
    char error[OUTPUT_LINE_BYTES];  /* of the last trainer error: what follows "sovrun-trainer: error: " */
    char launch[OUTPUT_LINE_BYTES]; /* mpirun's reason for not starting the ranks */
    int64_t dead_rank,
        dead_signal; /* "mpirun noticed that process rank 1 ... exited on signal 9"; -1: none */
    char dead_node[64];
    int64_t failed_rank; /* the first that exited with a status other than 0, says mpirun; -1: none */
    bool node_lost;      /* "ORTE has lost communication with a remote daemon" */
};

/* One line, without its end. Pure. */
void output_note_line(struct output_notes *notes, const char *line);

/* What follows EGRESS_LINE in a line of a rank: core/cluster/egress.h reads it. */
typedef void output_egress_fn(void *context, const char *json);

struct output; /* a log and the notes on it */
/* Appends to what is there. bytes_max is of the whole file, at least OUTPUT_LOG_BYTES_MIN. */
enum err_code output_open(const char *path, uint64_t bytes_max, struct output **out, struct err *e);
void output_close(struct output *o); /* NULL is fine */
DEFINE_CLEANUP_PTR(struct output, output_close)

void output_on_egress(struct output *o, output_egress_fn *fn, void *context);
/* Never fails: see above. */
void output_add(struct output *o, const void *data, size_t n);
/* A last line without an end counts too. */
const struct output_notes *output_end(struct output *o);

#endif
