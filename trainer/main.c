/*
 * sovrun-trainer: one rank of one attempt. Started by mpirun, which the supervisor starts; rank 0 gets the
 * attempt's document on standard input and broadcasts it. Exit codes: enum trainer_exit
 * (core/job/attempt.h).
 *
 * `sovrun-trainer sample` is something else: one process, alone, that draws tokens from a model (sample.h).
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/stop.h"
#include "core/cluster/egress.h"
#include "trainer/sample.h"
#include "trainer/worker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static enum err_code read_stdin(struct buf *out, struct err *e)
{
    for (;;) {
        uint8_t *to = buf_reserve(out, 64 << 10);
        if (!to)
            return buf_check(out, "attempt document", e);
        ssize_t n = read(STDIN_FILENO, to, 64 << 10);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(e, "read the attempt document from standard input");
        if (n == 0)
            return OK;
        buf_commit(out, (size_t)n);
    }
}

static enum err_code receive_document(struct comm *comm, struct attempt_doc *out, struct err *e)
{
    CLEANUP(buf_wipe) struct buf text = BUF_INIT(ATTEMPT_DOC_BYTES_MAX);
    uint64_t bytes = 0;

    if (comm->rank == 0)
        IGNORE(read_stdin(&text, e));
    if (comm_agree(comm, e))
        return e->code;
    bytes = text.len;
    if (comm_broadcast(comm, &bytes, sizeof(bytes), 0, e))
        return e->code;
    if (comm->rank != 0) {
        invariant(buf_reserve(&text, bytes) != NULL); /* rank 0 has it in one of the same size */
        buf_commit(&text, bytes);
    }
    if (comm_broadcast(comm, text.data, bytes, 0, e))
        return e->code;
    IGNORE(attempt_doc_from_text(text.data, text.len, out, e));
    return comm_agree(comm, e);
}

/* Before MPI connects to anybody: a network that fits none of the host's interfaces it would pass over, and
 * take any. The document, which comes by MPI, is what counts in the end (worker_open_networks()). */
static enum err_code check_networks(struct err *e)
{
    const char *given = getenv(NETWORKS_MPI_SETTING);
    struct network_pins pins;
    struct networks n;
    struct err ignored = ERR_INIT;

    if (!given || networks_parse(given, &n, &ignored)) /* interfaces by name: an operator's own */
        return OK;
    return networks_pin(&n, &pins, e) ? err_wrap(e, "denied by policy rule networks") : OK;
}

/* What is wrong with the document is not the user's mistake, nor the data's: starting anew may help. */
static enum trainer_exit run(struct comm *comm, struct err *e)
{
    CLEANUP(attempt_doc_done) struct attempt_doc doc = { 0 };

    if (receive_document(comm, &doc, e))
        return TRAINER_FAILED;
    if (comm->size != doc.spec.resources.ranks) {
        IGNORE(err_set(e, ERR_USAGE, "%d ranks were started where the job has %lld", comm->size,
                       (long long)doc.spec.resources.ranks));
        return TRAINER_FAILED;
    }
    return worker_run(&doc, comm, e);
}

/* All ranks end alike, and one says why; but where they can no longer hear each other, each speaks for
 * itself. */
static void say(const struct comm *comm, enum trainer_exit status, const struct err *e)
{
    if (comm->broken)
        fprintf(stderr, "sovrun-trainer: error: rank %d: %s\n", comm->rank, e->text);
    else if (status != TRAINER_OK && comm->rank == 0)
        fprintf(stderr, "sovrun-trainer: %s: %s\n", status == TRAINER_STOPPED ? "stopped" : "error", e->text);
}

/* One write, so that lines of several ranks do not mix. The supervisor reads it. */
static void connection_refused(void *context, const struct http_refusal *told)
{
    const struct comm *comm = context;
    CLEANUP(buf_done) struct buf line = BUF_INIT(4096);
    struct egress_refusal r;
    egress_from_http(EGRESS_TRAINER, comm->rank, clock_wall_ms(), told, &r);
    egress_to_line(&r, &line);
    while (write(STDERR_FILENO, line.data, line.len) < 0 && errno == EINTR)
        ;
}

int main(int argc, char **argv)
{
    struct err e = ERR_INIT;
    struct comm *comm = NULL;

    /* mpirun gone, by whatever signal: a rank must not train on behind a new attempt's back. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    secret_harden_process();
    log_init("trainer", LOG_INFO);
    if (argc == 2 && strcmp(argv[1], "sample") == 0)
        return sample_main(STDIN_FILENO, STDOUT_FILENO);
    stop_init();
    if (check_networks(&e)) {
        fprintf(stderr, "sovrun-trainer: error: %s\n", e.text);
        return TRAINER_DENIED;
    }
    if (comm_mpi_open(&argc, &argv, &comm, &e)) {
        fprintf(stderr, "sovrun-trainer: error: %s\n", e.text);
        return TRAINER_FAILED;
    }
    http_on_refusal(connection_refused, comm);
    enum trainer_exit status = run(comm, &e);
    http_on_refusal(NULL, NULL);
    say(comm, status, &e);
    if (comm->broken)
        comm_abort(comm, status); /* to finalise could wait for ever */
    comm_close(comm);
    return (int)status;
}
