/*
 * comm_mpi.c - Open MPI behind comm.h.
 *
 * Errors are returned, not fatal: MPI_COMM_WORLD gets MPI_ERRORS_RETURN. What Open MPI notices by itself (a
 * rank that died) still ends all ranks from outside; what it does not notice is the business of the pulse.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "trainer/comm.h"

#include <limits.h>
#include <mpi.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

enum { SWAP_TAG = 1, HERE_TAG, ALL_HERE_TAG, MESSAGE_BYTES_MAX = 1 << 30 };
enum { LOOK_EVERY_US = 200, ANSWER_MS = 2000, MISSED_MS = 3000 };

struct comm_mpi {
    struct comm comm;
    float *pieces[COMM_PIECES_IN_FLIGHT]; /* what arrives and is to be added */
    MPI_Request *arrivals;                /* one for each rank, of mpi_meet() */
};

static enum err_code failed(struct comm *c, int code, const char *what, struct err *e)
{
    char text[MPI_MAX_ERROR_STRING] = "unknown error";
    int length = 0;

    c->broken = true;
    if (MPI_Error_string(code, text, &length) != MPI_SUCCESS)
        length = 0;
    return err_set(e, ERR_RETRY, "%s: MPI: %s", what, text);
}

static enum err_code check(struct comm *c, int code, const char *what, struct err *e)
{
    return code == MPI_SUCCESS ? OK : failed(c, code, what, e);
}

static enum err_code mpi_barrier(struct comm *c, struct err *e)
{
    return check(c, MPI_Barrier(MPI_COMM_WORLD), "MPI_Barrier", e);
}

static enum err_code mpi_broadcast(struct comm *c, void *data, size_t bytes, int root, struct err *e)
{
    for (size_t done = 0; done < bytes;) {
        size_t n = MIN(bytes - done, (size_t)MESSAGE_BYTES_MAX);
        int code = MPI_Bcast((uint8_t *)data + done, (int)n, MPI_BYTE, root, MPI_COMM_WORLD);
        if (code != MPI_SUCCESS)
            return failed(c, code, "MPI_Bcast", e);
        done += n;
    }
    return OK;
}

static enum err_code mpi_gather_sized(struct comm *c, const void *own, size_t bytes, void *all,
                                      const size_t *starts, struct err *e)
{
    CLEANUP(freep) int *counts = mem_array((size_t)c->size, sizeof(*counts));
    CLEANUP(freep) int *places = mem_array((size_t)c->size, sizeof(*places));

    for (int r = 0; r < c->size; r++) {
        counts[r] = (int)(starts[r + 1] - starts[r]);
        places[r] = (int)starts[r];
    }
    return check(c, MPI_Allgatherv(own, (int)bytes, MPI_BYTE, all, counts, places, MPI_BYTE, MPI_COMM_WORLD),
                 "MPI_Allgatherv", e);
}

static enum err_code mpi_max(struct comm *c, int64_t *value, struct err *e)
{
    return check(c, MPI_Allreduce(MPI_IN_PLACE, value, 1, MPI_INT64_T, MPI_MAX, MPI_COMM_WORLD),
                 "MPI_Allreduce", e);
}

/* Until *request is done, or it is late: asked again and again, as MPI knows no time-outs. */
static enum err_code wait_until(struct comm *c, MPI_Request *request, int64_t until_ms, bool *out_done,
                                struct err *e)
{
    for (;;) {
        int done = 0;
        if (check(c, MPI_Test(request, &done, MPI_STATUS_IGNORE), "MPI_Test", e))
            return e->code;
        *out_done = done;
        if (done || clock_mono_ms() >= until_ms)
            return OK;
        usleep(LOOK_EVERY_US);
    }
}

/* Rank 0 hears from each, and then tells each. */
static enum err_code meet_all(struct comm_mpi *m, int64_t until_ms, int *out_missing, struct err *e)
{
    struct comm *c = &m->comm;

    for (int r = 1; r < c->size; r++)
        if (check(c, MPI_Irecv(NULL, 0, MPI_BYTE, r, HERE_TAG, MPI_COMM_WORLD, &m->arrivals[r]), "MPI_Irecv",
                  e))
            return e->code;
    for (int r = 1; r < c->size; r++) {
        bool here = false;
        if (wait_until(c, &m->arrivals[r], until_ms, &here, e))
            return e->code;
        if (!here) {
            *out_missing = r;
            return OK;
        }
    }
    for (int r = 1; r < c->size; r++)
        if (check(c, MPI_Send(NULL, 0, MPI_BYTE, r, ALL_HERE_TAG, MPI_COMM_WORLD), "MPI_Send", e))
            return e->code;
    return OK;
}

/* The others leave it to rank 0 to find who is missing, and give it time to say so; then it is rank 0 itself.
 */
static enum err_code mpi_meet(struct comm *c, int64_t until_ms, int *out_missing, struct err *e)
{
    struct comm_mpi *m = (struct comm_mpi *)c;
    bool here = false;

    *out_missing = -1;
    if (c->rank == 0)
        return meet_all(m, until_ms, out_missing, e);
    if (check(c, MPI_Irecv(NULL, 0, MPI_BYTE, 0, ALL_HERE_TAG, MPI_COMM_WORLD, &m->arrivals[0]), "MPI_Irecv",
              e) ||
        check(c, MPI_Send(NULL, 0, MPI_BYTE, 0, HERE_TAG, MPI_COMM_WORLD), "MPI_Send", e) ||
        wait_until(c, &m->arrivals[0], until_ms + ANSWER_MS, &here, e))
        return e->code;
    if (!here)
        *out_missing = 0;
    return OK;
}

/* What the ranks do together did not come about in time: who of them does not even come to meet? */
static enum err_code missed(struct comm *c, struct err *e)
{
    int missing = -1;

    if (mpi_meet(c, clock_mono_ms() + MISSED_MS, &missing, e))
        return e->code;
    c->broken = true;
    if (missing < 0)
        return err_set(e, ERR_RETRY, "all ranks are here, but their messages do not come through");
    return err_set(e, ERR_RETRY, "rank %d missed the deadline", missing);
}

/* As MPI_Wait; with comm_until(), until then; with comm_gently(), with pauses. */
static enum err_code wait_for(struct comm *c, MPI_Request *request, struct err *e)
{
    if (c->until_ms == 0 && !c->gentle)
        return check(c, MPI_Wait(request, MPI_STATUS_IGNORE), "MPI_Wait", e);
    for (;;) {
        int done = 0;
        if (check(c, MPI_Test(request, &done, MPI_STATUS_IGNORE), "MPI_Test", e) || done)
            return e->code;
        if (c->until_ms != 0 && clock_mono_ms() >= c->until_ms)
            return missed(c, e);
        if (c->gentle)
            usleep(LOOK_EVERY_US);
        else
            sched_yield();
    }
}

static enum err_code mpi_gather(struct comm *c, const void *own, size_t bytes, void *all, struct err *e)
{
    MPI_Request request;

    if (c->until_ms == 0)
        return check(c, MPI_Allgather(own, (int)bytes, MPI_BYTE, all, (int)bytes, MPI_BYTE, MPI_COMM_WORLD),
                     "MPI_Allgather", e);
    if (check(c,
              MPI_Iallgather(own, (int)bytes, MPI_BYTE, all, (int)bytes, MPI_BYTE, MPI_COMM_WORLD, &request),
              "MPI_Iallgather", e))
        return e->code;
    return wait_for(c, &request, e);
}

static void add_floats(float *restrict sum, const float *restrict x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sum[i] = sum[i] + x[i];
}

/* One exchange under way: of each direction, pieces 0 .. started - 1 were handed to MPI, each in the place
 * number % IN_FLIGHT. */
struct swap {
    struct comm_mpi *m;
    const struct comm_swap *of;
    MPI_Request sent[COMM_PIECES_IN_FLIGHT], got[COMM_PIECES_IN_FLIGHT];
};

/* Of a direction with n floats in all; 0 behind its end. */
static size_t piece_floats(size_t n, size_t number)
{
    size_t first = number * COMM_PIECE_FLOATS;
    return first < n ? MIN((size_t)COMM_PIECE_FLOATS, n - first) : 0;
}

static enum err_code start_piece(struct swap *s, size_t number, struct err *e)
{
    const struct comm_swap *of = s->of;
    struct comm *c = &s->m->comm;
    size_t place = number % COMM_PIECES_IN_FLIGHT, first = number * COMM_PIECE_FLOATS;
    int in = (int)piece_floats(of->into_count, number), out = (int)piece_floats(of->send_count, number);

    if (in > 0 && check(c,
                        MPI_Irecv(of->add ? s->m->pieces[place] : of->into + first, in, MPI_FLOAT,
                                  of->partner, SWAP_TAG, MPI_COMM_WORLD, &s->got[place]),
                        "MPI_Irecv", e))
        return e->code;
    if (out > 0 && check(c,
                         MPI_Isend(of->send + first, out, MPI_FLOAT, of->partner, SWAP_TAG, MPI_COMM_WORLD,
                                   &s->sent[place]),
                         "MPI_Isend", e))
        return e->code;
    return OK;
}

static enum err_code finish_piece(struct swap *s, size_t number, struct err *e)
{
    const struct comm_swap *of = s->of;
    size_t place = number % COMM_PIECES_IN_FLIGHT, in = piece_floats(of->into_count, number);

    if (in > 0 && wait_for(&s->m->comm, &s->got[place], e))
        return e->code;
    if (in > 0 && of->add)
        add_floats(of->into + number * COMM_PIECE_FLOATS, s->m->pieces[place], in);
    return piece_floats(of->send_count, number) > 0 ? wait_for(&s->m->comm, &s->sent[place], e) : OK;
}

static enum err_code mpi_swap(struct comm *c, const struct comm_swap *of, struct err *e)
{
    struct swap s = { .m = (struct comm_mpi *)c, .of = of };
    size_t n = MAX(of->send_count, of->into_count);
    size_t count = (n + COMM_PIECE_FLOATS - 1) / COMM_PIECE_FLOATS, started = 0;

    for (size_t done = 0; done < count; done++) {
        for (; started < count && started < done + COMM_PIECES_IN_FLIGHT; started++)
            if (start_piece(&s, started, e))
                return e->code;
        if (finish_piece(&s, done, e))
            return e->code;
    }
    return OK;
}

/* A sum that cannot be waited for differently without perhaps being another one: so they meet before. */
static enum err_code mpi_sum_fast(struct comm *c, float *data, size_t n, size_t first, size_t count,
                                  struct err *e)
{
    (void)n;
    if (c->until_ms != 0 && comm_meet(c, c->until_ms, e))
        return e->code;
    for (size_t done = 0; done < count; done += COMM_PIECE_FLOATS) {
        int some = (int)MIN(count - done, (size_t)COMM_PIECE_FLOATS);
        int code = MPI_Allreduce(MPI_IN_PLACE, data + first + done, some, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
        if (code != MPI_SUCCESS)
            return failed(c, code, "MPI_Allreduce", e);
    }
    return OK;
}

static enum err_code mpi_finish(struct comm *c, struct err *e)
{
    (void)c;
    (void)e;
    return OK;
}

static void mpi_abort(struct comm *c, int exit_status)
{
    (void)c;
    MPI_Abort(MPI_COMM_WORLD, exit_status);
}

static void mpi_close(struct comm *c)
{
    struct comm_mpi *m = (struct comm_mpi *)c;

    for (size_t i = 0; i < COMM_PIECES_IN_FLIGHT; i++)
        free(m->pieces[i]);
    free(m->arrivals);
    free(m);
    MPI_Finalize();
}

static const struct comm_ops mpi_ops = {
    .name = "mpi",
    .barrier = mpi_barrier,
    .broadcast = mpi_broadcast,
    .gather = mpi_gather,
    .gather_sized = mpi_gather_sized,
    .max = mpi_max,
    .meet = mpi_meet,
    .swap = mpi_swap,
    .sum_fast = mpi_sum_fast,
    .finish = mpi_finish,
    .abort = mpi_abort,
    .close = mpi_close,
};

static enum err_code join_world(struct comm *c, int *argc, char ***argv, struct err *e)
{
    int level = 0;

    if (check(c, MPI_Init_thread(argc, argv, MPI_THREAD_SERIALIZED, &level), "MPI_Init_thread", e) ||
        check(c, MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler", e) ||
        check(c, MPI_Comm_rank(MPI_COMM_WORLD, &c->rank), "MPI_Comm_rank", e) ||
        check(c, MPI_Comm_size(MPI_COMM_WORLD, &c->size), "MPI_Comm_size", e))
        return e->code;
    if (level < MPI_THREAD_FUNNELED)
        return err_set(e, ERR_USAGE, "this MPI was built without threads");
    c->any_thread = level >= MPI_THREAD_SERIALIZED;
    return OK;
}

enum err_code comm_mpi_open(int *argc, char ***argv, struct comm **out, struct err *e)
{
    CLEANUP(freep) struct comm_mpi *m = mem_new(sizeof(*m));

    /* Ranks on one host read each other's memory where the kernel lets them. It does not let them read a
     * process that holds secrets (secret_harden_process()): each message would fail first, and say so. */
    setenv("OMPI_MCA_btl_vader_single_copy_mechanism", "none", 0);
    m->comm.ops = &mpi_ops;
    if (join_world(&m->comm, argc, argv, e))
        return e->code;
    for (size_t i = 0; i < COMM_PIECES_IN_FLIGHT; i++)
        m->pieces[i] = mem_array(COMM_PIECE_FLOATS, sizeof(float));
    m->arrivals =
        mem_array((size_t)m->comm.size, sizeof(MPI_Request)); // NOLINT(bugprone-sizeof-expression): pointers
    *out = &TAKE(m)->comm;
    return OK;
}
