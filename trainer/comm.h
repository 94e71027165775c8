/*
 * comm.h - the ranks of one attempt talking to each other.
 *
 * Three backends: `mpi` (Open MPI; mpi.h is included nowhere else), `self` (one rank, no MPI at all) and
 * `nccl` (comm_nccl.h), which stands on one of the others: sums and spreading go from card to card, all else
 * by what it stands on. Every call here is collective: all ranks make the same calls in the same order, with
 * the same sizes unless the line says otherwise. A rank that leaves early makes the others wait forever; so
 * what can fail on one rank alone is followed by comm_agree().
 *
 * The exact sum keeps the promise of tree.h: the same bits on any number of ranks. It is a reduce-scatter by
 * recursive halving; comm_spread() is its way back, by recursive doubling. Over MPI messages travel in pieces
 * of COMM_PIECE_FLOATS, several in flight, and are added while the next are under way.
 *
 * Where `on_device` is set, sums and spreading take the device's memory (device.h), behind all that the
 * device was given before, and a range's sum may still be under way when the call returns: comm_finish()
 * waits for all of them. Elsewhere they take host memory, and are done when they return.
 *
 * Every failure of MPI or NCCL is ERR_RETRY with its text, and sets `broken`: another attempt may work, this
 * one cannot. Ranks are then no longer together; what is left to do is comm_abort(), as comm_close() may
 * hang.
 *
 * Whoever knows when the others must have come sets that moment (comm_until()); without it a rank that hangs
 * is waited for until somebody from outside ends them all.
 *
 * Threads: one at a time; and where not `any_thread`, only the one that opened it.
 */
#ifndef TRAINER_COMM_H
#define TRAINER_COMM_H

#include "base/cleanup.h"
#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

enum { COMM_PIECE_FLOATS = 64 << 10, COMM_PIECES_IN_FLIGHT = 4 };
#define COMM_GATHER_BYTES_MAX ((size_t)1 << 30)

struct comm;
/* Floats sent to a partner, and received from it; `add`: added to `into` instead of stored. */
struct comm_swap {
    int partner;
    const float *send;
    size_t send_count;
    float *into;
    size_t into_count;
    bool add;
};
struct comm_ops {
    const char *name; /* "mpi", "self", "nccl" */
    enum err_code (*barrier)(struct comm *c, struct err *e);
    enum err_code (*broadcast)(struct comm *c, void *data, size_t bytes, int root, struct err *e);
    enum err_code (*gather)(struct comm *c, const void *own, size_t bytes, void *all, struct err *e);
    enum err_code (*gather_sized)(struct comm *c, const void *own, size_t bytes, void *all,
                                  const size_t *starts, struct err *e);
    enum err_code (*max)(struct comm *c, int64_t *value, struct err *e);
    /* *out_missing: a rank that has not come by then (clock_mono_ms()), or -1. */
    enum err_code (*meet)(struct comm *c, int64_t until_ms, int *out_missing, struct err *e);
    enum err_code (*swap)(struct comm *c, const struct comm_swap *s, struct err *e);
    enum err_code (*sum_fast)(struct comm *c, float *data, size_t n, size_t first, size_t count,
                              struct err *e);
    enum err_code (*finish)(struct comm *c, struct err *e);
    void (*abort)(struct comm *c, int exit_status); /* does not return */
    void (*close)(struct comm *c);
};
struct comm { /* first member of each backend's struct */
    const struct comm_ops *ops;
    int rank, size;
    struct comm *under;  /* the one that this one stands on; NULL: none */
    bool broken;         /* and so are those under it */
    bool on_device;      /* sums and spreading take the device's memory */
    bool any_thread;     /* MPI copes with calls from several threads, one at a time */
    int64_t until_ms;    /* comm_until() */
    _Atomic bool gentle; /* comm_gently() */
};

/* The world that mpirun started; argc and argv may be NULL. Once a process. Opens MPI, comm_close() finalises
 * it. */
enum err_code comm_mpi_open(int *argc, char ***argv, struct comm **out, struct err *e);
struct comm *comm_self_new(void);
void comm_close(
    struct comm *c); /* collective: after a failure that the others do not know of, comm_abort() */
DEFINE_CLEANUP_PTR(struct comm, comm_close)

/* For backends: this one and those under it are of no use any more. */
void comm_break(struct comm *c);
/* For a rank that cannot go on and cannot tell the others: ends all of them, with this exit status. */
_Noreturn void comm_abort(struct comm *c, int exit_status);

enum err_code comm_barrier(struct comm *c, struct err *e);
enum err_code comm_broadcast(struct comm *c, void *data, size_t bytes, int root, struct err *e);
/* `all`: size * bytes, in rank order; the same `bytes` on every rank. */
enum err_code comm_gather(struct comm *c, const void *own, size_t bytes, void *all, struct err *e);

/* Any number of bytes from each rank, to all. ERR_LIMIT above COMM_GATHER_BYTES_MAX in sum. */
struct comm_parts {
    uint8_t *data;  /* owned */
    size_t *starts; /* owned; rank r's bytes are data[starts[r]] .. data[starts[r + 1] - 1] */
};
void comm_parts_done(struct comm_parts *p);
enum err_code comm_gather_sized(struct comm *c, const void *own, size_t bytes, struct comm_parts *out,
                                struct err *e);

enum err_code comm_max(struct comm *c, int64_t *value, struct err *e); /* the largest of all ranks' values */

/* Wait for all ranks, until the moment `until_ms` of clock_mono_ms(). Where one has not come by then this
 * rank can do no more together with the others: ERR_RETRY, which names it, and `broken`. */
enum err_code comm_meet(struct comm *c, int64_t until_ms, struct err *e);

/* From now on sums, spreading and comm_gather(), of this comm and those under it, wait no longer than until
 * this moment of clock_mono_ms(); then they are ERR_RETRY and say who did not come, as comm_meet() does. 0:
 * as long as it takes. */
void comm_until(struct comm *c, int64_t mono_ms);

/* Wait for other ranks by looking now and then, instead of all the time: for a thread beside one that
 * computes. May be called while another thread waits. */
void comm_gently(struct comm *c, bool gently);

/* What one rank met belongs to all. Pass how it went here: e->code OK or a failure. All ranks return with the
 * same code, OK only where all were OK, and the same text: of the largest code, the lowest rank ("rank 2:
 * ..."). */
enum err_code comm_agree(struct comm *c, struct err *e);

/* Exact: sums `data` (n floats; n a multiple of size, size a power of two) over the ranks. Afterwards this
 * rank's part of the sum, n / size floats, stands in its place in `data`: that of its slices
 * (slices_of_rank()); the rest of `data` is rubbish. */
enum err_code comm_sum_scatter(struct comm *c, float *data, size_t n, struct err *e);
/* The same for floats first .. first + count - 1 alone, which every rank has then. Ranges in whatever order
 * that make up the whole give the same bits as the whole at once. */
enum err_code comm_sum_scatter_range(struct comm *c, float *data, size_t n, size_t first, size_t count,
                                     struct err *e);
/* Each rank's part, in its place in `data`, to all ranks: what comm_sum_scatter() scattered is whole again.
 * */
enum err_code comm_spread(struct comm *c, float *data, size_t n, struct err *e);
/* No promise of bits: the library's own order. Afterwards at least this rank's part of the sum stands in its
 * place, as behind comm_sum_scatter(); over MPI it is the whole sum. */
enum err_code comm_sum_fast(struct comm *c, float *data, size_t n, struct err *e);
enum err_code comm_sum_fast_range(struct comm *c, float *data, size_t n, size_t first, size_t count,
                                  struct err *e);
/* What the calls of ranges began is done; what the device is given from now on comes behind it. */
enum err_code comm_finish(struct comm *c, struct err *e);

#endif
