/*
 * sovrun-trainer: one rank of one attempt. Started by mpirun, which the supervisor starts; rank 0 gets the
 * attempt's document on standard input and broadcasts it. Exit codes: enum trainer_exit
 * (core/job/attempt.h).
 */
#include "base/log.h"
#include "base/stop.h"
#include "trainer/worker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static enum trainer_exit exit_of(enum err_code code)
{
    static const enum trainer_exit exits[ERR_CODE_COUNT] = {
        [OK] = TRAINER_OK,
        [ERR_USAGE] = TRAINER_USER_ERROR,
        [ERR_NOT_FOUND] = TRAINER_BAD_DATA,
        [ERR_CONFLICT] = TRAINER_FAILED,
        [ERR_DENIED] = TRAINER_DENIED,
        [ERR_LIMIT] = TRAINER_LIMIT,
        [ERR_RETRY] = TRAINER_STORE_AWAY,
        [ERR_CORRUPT] = TRAINER_BAD_DATA,
        [ERR_IO] = TRAINER_FAILED,
        [ERR_DEVICE] = TRAINER_DIVERGED,
        [ERR_CANCELED] = TRAINER_STOPPED,
    };
    return exits[code];
}

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
        invariant(buf_reserve(&text, bytes) != NULL);
        buf_commit(&text, bytes);
    }
    if (comm_broadcast(comm, text.data, bytes, 0, e))
        return e->code;
    IGNORE(attempt_doc_from_text(text.data, text.len, out, e));
    return comm_agree(comm, e);
}

static enum err_code run(struct comm *comm, struct err *e)
{
    CLEANUP(attempt_doc_done) struct attempt_doc doc = { 0 };

    if (receive_document(comm, &doc, e))
        return e->code;
    if (comm->size != doc.spec.resources.ranks)
        return err_set(e, ERR_USAGE, "%d ranks were started where the job has %lld", comm->size,
                       (long long)doc.spec.resources.ranks);
    return worker_run(&doc, comm, e);
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
    if (comm_mpi_open(&argc, &argv, &comm, &e)) {
        fprintf(stderr, "sovrun-trainer: error: %s\n", e.text);
        return TRAINER_FAILED;
    }
    stop_init(); /* after MPI, which installs handlers of its own */
    enum err_code code = run(comm, &e);
    /* All ranks return the same; one says it. */
    if (code != OK && comm->rank == 0)
        fprintf(stderr, "sovrun-trainer: %s: %s\n", code == ERR_CANCELED ? "stopped" : "error", e.text);
    if (code == ERR_RETRY) /* MPI itself may be what failed: finalising could hang */
        comm_abort(comm, exit_of(code));
    comm_close(comm);
    return exit_of(code);
}
