/*
 * Sums and spreading over NCCL; all else is handed to the comm below. comm_nccl.h has the story.
 *
 * The communicator does not block: a call may return ncclInProgress, and then settled() asks until the work
 * is on the stream. That is a matter of microseconds, but for the first exchange with a partner, which
 * connects.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "kernels/cuda/cuda.h"
#include "trainer/comm_nccl.h"
#include "trainer/comm_nccl_parts.h"
#include "trainer/tree.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { CLOSE_MS = 10 * 1000, MEET_MS = 5 * 1000, HASTY_LOOKS = 200, LOOK_EVERY_US = 50, HOST_BYTES = 64 };

struct comm_nccl {
    struct comm comm;
    struct device *device;
    const struct network_pins *pins; /* borrowed, until it is open */
    struct nccl lib;
    ncclComm_t nccl; /* NULL: not yet, or given up */
    cudaStream_t stream;
    cudaEvent_t given, done; /* the device's stream came so far; this one did */
    float *staging;          /* what arrives and is to be added: `piece` floats */
    size_t piece;
};

static struct comm_nccl *of(struct comm *c)
{
    return (struct comm_nccl *)c;
}

/* ---- failures ---- */

/* Kernels that wait for other ranks end, and with them whatever waits for the stream. */
static void give_up(struct comm_nccl *n)
{
    if (n->nccl)
        n->lib.ncclCommAbort_(n->nccl);
    n->nccl = NULL;
    comm_break(&n->comm);
}

static enum err_code failed(struct comm_nccl *n, ncclResult_t code, const char *what, struct err *e)
{
    const char *last = n->lib.ncclGetLastError_(n->nccl);

    IGNORE(err_set(e, ERR_RETRY, "%s: NCCL on rank %d of %d: %s%s%.600s", what, n->comm.rank, n->comm.size,
                   n->lib.ncclGetErrorString_(code), last && *last ? ": " : "", last ? last : ""));
    give_up(n);
    return e->code;
}

static enum err_code card_failed(struct comm_nccl *n, cudaError_t code, const char *what, struct err *e)
{
    cudaGetLastError(); /* it is told here: not the next kernel's failure */
    IGNORE(err_set(e, ERR_RETRY, "%s: rank %d of %d: %s", what, n->comm.rank, n->comm.size,
                   cudaGetErrorString(code)));
    give_up(n);
    return e->code;
}

/* What the ranks do together did not come about in time: who of them does not even come to meet? */
static enum err_code missed(struct comm_nccl *n, struct err *e)
{
    struct comm *under = n->comm.under;
    int missing = -1;

    IGNORE(under->ops->meet(under, clock_mono_ms() + MEET_MS, &missing, e));
    give_up(n);
    if (e->code != OK)
        return e->code;
    if (missing < 0)
        return err_set(e, ERR_RETRY, "all ranks are here, but NCCL's messages do not come through");
    return err_set(e, ERR_RETRY, "rank %d missed the deadline", missing);
}

static bool is_late(int64_t until_ms)
{
    return until_ms != 0 && clock_mono_ms() >= until_ms;
}

static void pause_between(int look)
{
    if (look < HASTY_LOOKS)
        sched_yield();
    else
        usleep(LOOK_EVERY_US);
}

/* How the communicator is by its own account; ncclInProgress: a call is still under way. */
static ncclResult_t state_of(struct comm_nccl *n)
{
    ncclResult_t state = ncclInternalError, asked = n->lib.ncclCommGetAsyncError_(n->nccl, &state);
    return asked == ncclSuccess ? state : asked;
}

/* A call that returned `code` has put its work on the stream, or failed. */
static enum err_code settled(struct comm_nccl *n, ncclResult_t code, const char *what, struct err *e)
{
    for (int look = 0; code == ncclInProgress; look++) {
        if (is_late(n->comm.under->until_ms))
            return missed(n, e);
        pause_between(look);
        code = state_of(n);
    }
    return code == ncclSuccess ? OK : failed(n, code, what, e);
}

/* ---- streams ---- */

/* What comes on our stream comes behind all that the device was given. */
static enum err_code follow_device(struct comm_nccl *n, struct err *e)
{
    cudaError_t code;

    if (!n->nccl)
        return err_set(e, ERR_RETRY, "NCCL was given up before");
    if ((code = cudaEventRecord(n->given, device_stream(n->device))) != cudaSuccess ||
        (code = cudaStreamWaitEvent(n->stream, n->given, 0)) != cudaSuccess)
        return card_failed(n, code, "wait for the device's work", e);
    return OK;
}

/* cudaStreamSynchronize() would wait for ever for a rank that is gone. */
static enum err_code nccl_finish(struct comm *c, struct err *e)
{
    struct comm_nccl *n = of(c);
    cudaError_t code;

    if (!n->nccl)
        return err_set(e, ERR_RETRY, "NCCL was given up before");
    if ((code = cudaEventRecord(n->done, n->stream)) != cudaSuccess)
        return card_failed(n, code, "end an exchange", e);
    for (int look = 0; (code = cudaEventQuery(n->done)) != cudaSuccess; look++) {
        ncclResult_t state = state_of(n);
        if (code != cudaErrorNotReady)
            return card_failed(n, code, "wait for an exchange", e);
        cudaGetLastError(); /* that it is not ready is kept as a failure, too */
        if (state != ncclSuccess && state != ncclInProgress)
            return failed(n, state, "wait for an exchange", e);
        if (is_late(c->under->until_ms))
            return missed(n, e);
        pause_between(look);
    }
    if ((code = cudaStreamWaitEvent(device_stream(n->device), n->done, 0)) != cudaSuccess)
        return card_failed(n, code, "go on behind an exchange", e);
    return OK;
}

/* ---- sums ---- */

/* Within a group a call may say that it is under way: its end is the group's. */
static bool goes_on(ncclResult_t code)
{
    return code == ncclSuccess || code == ncclInProgress;
}

/* One message each way, or one way, or none. */
static ncclResult_t exchange(struct comm_nccl *n, int partner, const float *send, size_t send_count,
                             float *into, size_t into_count)
{
    const struct nccl *lib = &n->lib;
    ncclResult_t end, code = lib->ncclGroupStart_();

    if (goes_on(code) && send_count > 0)
        code = lib->ncclSend_(send, send_count, ncclFloat32, partner, n->nccl, n->stream);
    if (goes_on(code) && into_count > 0)
        code = lib->ncclRecv_(into, into_count, ncclFloat32, partner, n->nccl, n->stream);
    end = lib->ncclGroupEnd_();
    return goes_on(code) ? end : code;
}

/* What of n floats is in the piece that begins at `first`. */
static size_t piece_floats(const struct comm_nccl *n, size_t floats, size_t first)
{
    return first < floats ? MIN(n->piece, floats - first) : 0;
}

static enum err_code nccl_swap(struct comm *c, const struct comm_swap *s, struct err *e)
{
    struct comm_nccl *n = of(c);

    if (follow_device(n, e))
        return e->code;
    for (size_t first = 0; first < MAX(s->send_count, s->into_count); first += n->piece) {
        size_t out = piece_floats(n, s->send_count, first), in = piece_floats(n, s->into_count, first);
        float *to = s->add ? n->staging : s->into + first;
        if (settled(n, exchange(n, s->partner, s->send + first, out, to, in), "exchange", e))
            return e->code;
        if (s->add)
            cuda_add_on(n->device, n->stream, s->into + first, to, in);
    }
    return OK;
}

/* Each rank's part of the range, to that rank. */
static ncclResult_t reduce_parts(struct comm_nccl *n, float *data, size_t each, size_t first, size_t count)
{
    const struct nccl *lib = &n->lib;
    int size = n->comm.size;
    ncclResult_t end, code = lib->ncclGroupStart_();

    for (int r = 0; r < size && goes_on(code); r++) {
        size_t part = slices_of_rank(r, size, (size_t)size).first * each;
        size_t from = MAX(first, part), to = MIN(first + count, part + each);
        if (from < to)
            code = lib->ncclReduce_(data + from, data + from, to - from, ncclFloat32, ncclSum, r, n->nccl,
                                    n->stream);
    }
    end = lib->ncclGroupEnd_();
    return goes_on(code) ? end : code;
}

static enum err_code nccl_sum_fast(struct comm *c, float *data, size_t n_floats, size_t first, size_t count,
                                   struct err *e)
{
    struct comm_nccl *n = of(c);

    if (follow_device(n, e))
        return e->code;
    return settled(n, reduce_parts(n, data, n_floats / (size_t)c->size, first, count), "reduce", e);
}

/* ---- what the comm below does ---- */

static enum err_code nccl_barrier(struct comm *c, struct err *e)
{
    return c->under->ops->barrier(c->under, e);
}

static enum err_code nccl_broadcast(struct comm *c, void *data, size_t bytes, int root, struct err *e)
{
    return c->under->ops->broadcast(c->under, data, bytes, root, e);
}

static enum err_code nccl_gather(struct comm *c, const void *own, size_t bytes, void *all, struct err *e)
{
    return c->under->ops->gather(c->under, own, bytes, all, e);
}

static enum err_code nccl_gather_sized(struct comm *c, const void *own, size_t bytes, void *all,
                                       const size_t *starts, struct err *e)
{
    return c->under->ops->gather_sized(c->under, own, bytes, all, starts, e);
}

static enum err_code nccl_max(struct comm *c, int64_t *value, struct err *e)
{
    return c->under->ops->max(c->under, value, e);
}

static enum err_code nccl_meet(struct comm *c, int64_t until_ms, int *out_missing, struct err *e)
{
    return c->under->ops->meet(c->under, until_ms, out_missing, e);
}

static void nccl_abort(struct comm *c, int exit_status)
{
    give_up(of(c));
    c->under->ops->abort(c->under, exit_status);
}

/* ---- opening and closing ---- */

/* True where the communicator ended as it should: together with the others, and in time. */
static bool ended_well(struct comm_nccl *n)
{
    int64_t until_ms = clock_mono_ms() + CLOSE_MS;
    ncclResult_t code = n->lib.ncclCommFinalize_(n->nccl);

    for (int look = 0; code == ncclInProgress && !is_late(until_ms); look++) {
        pause_between(look);
        code = state_of(n);
    }
    return code == ncclSuccess;
}

/* Copes with what is half open. What is below stays open. */
static void nccl_close(struct comm *c)
{
    struct comm_nccl *n = of(c);

    if (n->nccl && !c->broken && !c->under->broken && ended_well(n))
        n->lib.ncclCommDestroy_(n->nccl);
    else if (n->nccl)
        n->lib.ncclCommAbort_(n->nccl);
    if (n->stream)
        cudaStreamDestroy(n->stream);
    if (n->given)
        cudaEventDestroy(n->given);
    if (n->done)
        cudaEventDestroy(n->done);
    device_free(n->device, n->staging);
    free(n);
}

static const struct comm_ops nccl_ops = {
    .name = "nccl",
    .barrier = nccl_barrier,
    .broadcast = nccl_broadcast,
    .gather = nccl_gather,
    .gather_sized = nccl_gather_sized,
    .max = nccl_max,
    .meet = nccl_meet,
    .swap = nccl_swap,
    .sum_fast = nccl_sum_fast,
    .finish = nccl_finish,
    .abort = nccl_abort,
    .close = nccl_close,
};

/* Where a rank's card is. */
struct place {
    char host[HOST_BYTES], card[DEVICE_CARD_BYTES];
};

/* What all ranks can say alike once they know where each is. */
static enum err_code check_places(const struct place *all, int size, bool pinned, bool *out_one_host,
                                  struct err *e)
{
    *out_one_host = true;
    for (int r = 0; r < size; r++) {
        if (!all[r].card[0])
            return err_set(e, ERR_DEVICE, "rank %d has no card", r);
        for (int other = 0; other < r; other++)
            if (memcmp(&all[r], &all[other], sizeof(all[r])) == 0)
                return err_set(e, ERR_DEVICE, "ranks %d and %d are both on card %s of %s", other, r,
                               all[r].card, all[r].host);
        *out_one_host = *out_one_host && strcmp(all[r].host, all[0].host) == 0;
    }
    if (!*out_one_host && !pinned && !getenv("NCCL_SOCKET_IFNAME"))
        return err_set(e, ERR_DEVICE,
                       "the ranks are on several hosts, and neither the policy (`networks`) nor "
                       "NCCL_SOCKET_IFNAME names a network for them");
    return OK;
}

static enum err_code share_places(struct comm_nccl *n, bool *out_one_host, struct err *e)
{
    struct comm *under = n->comm.under;
    struct place own = { .host = "" };
    CLEANUP(freep) struct place *all = mem_array((size_t)under->size, sizeof(*all));

    IGNORE(gethostname(own.host, sizeof(own.host) - 1) != 0);
    snprintf(own.card, sizeof(own.card), "%s", device_card(n->device));
    if (comm_gather(under, &own, sizeof(own), all, e))
        return e->code;
    IGNORE(check_places(all, under->size, n->pins != NULL, out_one_host, e));
    return comm_agree(under, e);
}

/* What this rank needs for itself. */
static enum err_code prepare(struct comm_nccl *n, bool one_host, struct err *e)
{
    int least = 0, most = 0;
    cudaError_t code;

    if (nccl_load(one_host, n->pins, &n->lib, e) ||
        device_alloc(n->device, n->piece, sizeof(float), (void **)&n->staging, e))
        return e->code;
    /* Messages go first where kernels wait for room on the card: the other ranks wait for them. */
    if ((code = cudaDeviceGetStreamPriorityRange(&least, &most)) != cudaSuccess ||
        (code = cudaStreamCreateWithPriority(&n->stream, cudaStreamNonBlocking, most)) != cudaSuccess ||
        (code = cudaEventCreateWithFlags(&n->given, cudaEventDisableTiming)) != cudaSuccess ||
        (code = cudaEventCreateWithFlags(&n->done, cudaEventDisableTiming)) != cudaSuccess) {
        cudaGetLastError();
        return err_set(e, ERR_DEVICE, "a stream for NCCL: %s", cudaGetErrorString(code));
    }
    return OK;
}

static enum err_code connect_ranks(struct comm_nccl *n, ncclUniqueId id, int64_t until_ms, struct err *e)
{
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    ncclResult_t code;

    config.blocking = 0;
    code = n->lib.ncclCommInitRankConfig_(&n->nccl, n->comm.size, id, n->comm.rank, &config);
    for (int look = 0; code == ncclInProgress && n->nccl && !is_late(until_ms); look++) {
        pause_between(look);
        code = state_of(n);
    }
    if (code == ncclInProgress)
        return err_set(e, ERR_RETRY, "NCCL's ranks are not connected in time (NCCL_DEBUG=INFO says more)");
    return code == ncclSuccess ? OK : failed(n, code, "connect", e);
}

/* Whoever waits for a rank that will not come gets out by the deadline, and is told by the comm below. */
static enum err_code join(struct comm_nccl *n, int64_t init_ms, struct err *e)
{
    struct comm *under = n->comm.under;
    ncclUniqueId id = { { 0 } };
    int64_t until_ms;

    if (under->rank == 0) {
        ncclResult_t code = n->lib.ncclGetUniqueId_(&id);
        if (code != ncclSuccess)
            IGNORE(failed(n, code, "make an id", e));
    }
    if (comm_agree(under, e) || comm_broadcast(under, &id, sizeof(id), 0, e))
        return e->code;
    until_ms = clock_mono_ms() + init_ms;
    IGNORE(connect_ranks(n, id, until_ms, e));
    struct err e_meet = ERR_INIT;
    if (comm_meet(under, until_ms + MEET_MS, &e_meet)) {
        *e = e_meet;
        return e->code;
    }
    return comm_agree(under, e);
}

/* The first message to each partner connects, and takes memory of the card: now, before a model has the rest.
 */
static enum err_code warm_up(struct comm_nccl *n, int64_t init_ms, struct err *e)
{
    struct comm *c = &n->comm;
    size_t floats = (size_t)c->size;
    int64_t before_ms = c->under->until_ms;
    float *zeros = n->staging + n->piece - floats;

    invariant(n->piece >= 2 * floats); /* what arrives lies before them */
    comm_until(c, clock_mono_ms() + init_ms);
    IGNORE(comm_sum_scatter(c, zeros, floats, e) || comm_spread(c, zeros, floats, e) ||
           comm_sum_fast(c, zeros, floats, e));
    comm_until(c, before_ms);
    return e->code;
}

enum err_code comm_nccl_open(struct comm *under, struct device *d, const struct comm_nccl_config *config,
                             struct comm **out, struct err *e)
{
    struct comm_nccl *n = mem_new(sizeof(*n));
    CLEANUP(comm_closep) struct comm *c = &n->comm;
    bool one_host = false;

    n->comm = (struct comm){
        .ops = &nccl_ops, .rank = under->rank, .size = under->size, .under = under, .on_device = true
    };
    n->device = d;
    n->piece = config->piece_floats;
    n->pins = config->pins;
    if (share_places(n, &one_host, e))
        return e->code;
    IGNORE(prepare(n, one_host, e));
    if (comm_agree(under, e))
        return e->code;
    if (join(n, config->init_ms, e) || warm_up(n, config->init_ms, e)) {
        give_up(n);
        return err_wrap(e, "open NCCL");
    }
    *out = TAKE(c);
    return OK;
}
