#include "runner/attempt/output.h"

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/text.h"
#include "core/cluster/egress.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { END_LINE_BYTES = 128 };

struct output {
    int fd; /* -1: nothing more is written */
    uint64_t bytes, bytes_max;
    bool at_line_start;
    char line[OUTPUT_LINE_BYTES]; /* so far; what is longer is cut */
    size_t line_len;
    struct output_notes notes;
    output_egress_fn *on_egress; /* NULL: nobody listens */
    void *context;
};

/* ---- notes ---- */

static void note(char out[OUTPUT_LINE_BYTES], const char *text)
{
    snprintf(out, OUTPUT_LINE_BYTES, "%s", text);
}

static void note_dead_rank(struct output_notes *n, const char *line)
{
    int64_t rank = -1, signal = -1;
    char node[sizeof(n->dead_node)] = "";
    /* The last rank that died is often one that mpirun itself killed; the first is the cause. */
    if (n->dead_rank < 0 && sscanf(line,
                                   "mpirun noticed that process rank %" SCNd64
                                   " with PID %*d on node %63s exited on signal %" SCNd64,
                                   &rank, node, &signal) == 3) {
        n->dead_rank = rank;
        n->dead_signal = signal;
        memcpy(n->dead_node, node, sizeof(node));
    }
}

static void note_failed_rank(struct output_notes *n, const char *line)
{
    int64_t rank = -1;
    if (n->failed_rank < 0 && sscanf(line, " Process name: [[%*d,%*d],%" SCNd64 "]", &rank) == 1)
        n->failed_rank = rank;
}

void output_note_line(struct output_notes *n, const char *line)
{
    static const char trainer_error[] = "sovrun-trainer: error: ";
    if (text_starts(line, trainer_error))
        note(n->error, line + strlen(trainer_error));
    else if (text_starts(line, "mpirun was unable to ") ||
             text_starts(line, "There are not enough slots available") ||
             text_starts(line, "ORTE was unable to reliably start"))
        note(n->launch, line);
    else if (text_starts(line, "ORTE has lost communication with a remote daemon"))
        n->node_lost = true;
    note_dead_rank(n, line);
    note_failed_rank(n, line);
}

/* ---- the log ---- */

static void stop_writing(struct output *o, const char *why)
{
    log_warn("log.ends", "%s; output goes on unrecorded", why);
    close(o->fd);
    o->fd = -1;
}

static void write_log(struct output *o, const void *data, size_t n)
{
    struct err e = ERR_INIT;
    if (n > 0 && o->fd >= 0 && file_write_all(o->fd, data, n, &e))
        stop_writing(o, e.text);
}

static void write_end(struct output *o)
{
    char text[END_LINE_BYTES], size[NUM_TEXT_BYTES];
    snprintf(text, sizeof(text), "%s--- the log ends here: it has reached its limit of %s ---\n",
             o->at_line_start ? "" : "\n", format_size(o->bytes_max, size));
    write_log(o, text, strlen(text));
    if (o->fd >= 0)
        stop_writing(o, "the log has reached its limit");
}

static void add_to_log(struct output *o, const char *data, size_t n)
{
    uint64_t room = o->bytes_max - END_LINE_BYTES;
    if (o->fd < 0 || n == 0)
        return;
    size_t fits = (size_t)MIN((uint64_t)n, room > o->bytes ? room - o->bytes : 0);
    write_log(o, data, fits);
    o->bytes += fits;
    if (fits > 0)
        o->at_line_start = data[fits - 1] == '\n';
    if (fits < n)
        write_end(o);
}

enum err_code output_open(const char *path, uint64_t bytes_max, struct output **out, struct err *e)
{
    struct stat st;
    CLEANUP(output_closep) struct output *o = mem_new(sizeof(*o));
    o->bytes_max = MAX(bytes_max, (uint64_t)OUTPUT_LOG_BYTES_MIN);
    o->at_line_start = true;
    o->notes.dead_rank = o->notes.dead_signal = o->notes.failed_rank = -1;
    o->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (o->fd < 0 || fstat(o->fd, &st) != 0)
        return err_errno(e, "open log '%s'", path);
    o->bytes = (uint64_t)st.st_size;
    *out = TAKE(o);
    return OK;
}

void output_close(struct output *o)
{
    if (!o)
        return;
    if (o->fd >= 0)
        close(o->fd);
    free(o);
}

/* ---- lines ---- */

static void end_line(struct output *o)
{
    o->line[o->line_len] = '\0';
    if (o->line_len > 0)
        output_note_line(&o->notes, o->line);
    if (o->on_egress && text_starts(o->line, EGRESS_LINE))
        o->on_egress(o->context, o->line + strlen(EGRESS_LINE));
    o->line_len = 0;
}

void output_on_egress(struct output *o, output_egress_fn *fn, void *context)
{
    o->on_egress = fn;
    o->context = context;
}

void output_add(struct output *o, const void *data, size_t n)
{
    const char *text = data;
    add_to_log(o, text, n);
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '\n')
            end_line(o);
        else if (o->line_len < sizeof(o->line) - 1)
            /* It ends up in a record and on a terminal. */
            o->line[o->line_len++] = (unsigned char)text[i] < ' ' || text[i] == 0x7f ? '?' : text[i];
    }
}

const struct output_notes *output_end(struct output *o)
{
    end_line(o);
    return &o->notes;
}
