/*
 * A stand-in for NCCL under the emulated device: the functions that trainer/comm_nccl.c uses, as nccl.h and
 * the library's manual describe them for a communicator that does not block, over MPI's messages between the
 * program's own ranks. Operations wait on the emulated streams (streams.h). It refuses what NCCL would: a
 * call while another is under way, a message outside its group. It says nothing of NCCL itself.
 *
 * EMULATED_NCCL makes it fail: "old" is another version; "lonely" never connects; "error N" fails at this
 * rank's group N with the error of a lost peer; "stuck N" does nothing from group N on. Groups count from 1.
 */
#include "tests/emulate/streams.h"

#include <mpi.h>
#include <nccl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPS_MAX = 64, RANKS_MAX = 16, TAG = 1000, LOOKS = 3 };

struct op {
    enum { OP_SEND, OP_RECV, OP_REDUCE } kind;
    const float *from;
    float *into;
    size_t count;
    int peer; /* or the root */
};
struct ncclComm {
    int rank, size;
    ncclResult_t state;
    int looks_left; /* until what is under way is done */
    bool connecting, gone, finalized;
    unsigned groups;
    char own_id[NCCL_UNIQUE_ID_BYTES], ids[RANKS_MAX][NCCL_UNIQUE_ID_BYTES];
    MPI_Request meeting[2 * RANKS_MAX];
};
struct group {
    struct ncclComm *comm;
    cudaStream_t stream;
    bool started;
    struct op ops[OPS_MAX];
    size_t count;
    float *parts[OPS_MAX]; /* of a reduction to this rank: what the others have, in rank order */
    MPI_Request requests[OPS_MAX * RANKS_MAX];
    int request_count;
};

static struct group *open_group; /* one thread, one group at a time */
static int depth;
static const char *last_error = "";

static bool told_to(const char *what, unsigned *out_at)
{
    const char *told = getenv("EMULATED_NCCL");
    size_t n = strlen(what);
    if (!told || strncmp(told, what, n) != 0)
        return false;
    *out_at = (unsigned)strtoul(told + n, NULL, 10);
    return true;
}

static ncclResult_t refuse(const char *why)
{
    last_error = why;
    return ncclInvalidUsage;
}

ncclResult_t ncclGetVersion(int *version)
{
    unsigned at;
    *version = told_to("old", &at) ? NCCL_VERSION(2, 10, 3) : NCCL_VERSION_CODE;
    return ncclSuccess;
}

const char *ncclGetErrorString(ncclResult_t result)
{
    static const char *const texts[ncclNumResults] = { [ncclSuccess] = "no error",
                                                       [ncclRemoteError] = "remote process exited",
                                                       [ncclInvalidUsage] = "invalid usage" };
    return texts[result] ? texts[result] : "another error";
}

const char *ncclGetLastError(ncclComm_t comm)
{
    (void)comm;
    return last_error;
}

ncclResult_t ncclGetUniqueId(ncclUniqueId *id)
{
    memset(id->internal, 0x5a, sizeof(id->internal));
    return ncclSuccess;
}

/* ---- communicators ---- */

ncclResult_t ncclCommInitRankConfig(ncclComm_t *out, int size, ncclUniqueId id, int rank,
                                    ncclConfig_t *config)
{
    struct ncclComm *c;
    unsigned at;
    if (config->blocking != 0 || size > RANKS_MAX || rank >= size)
        return refuse("this stand-in does not block, and is of few ranks");
    *out = c = calloc(1, sizeof(*c));
    c->rank = rank;
    c->size = size;
    c->connecting = true;
    c->state = ncclInProgress;
    memcpy(c->own_id, id.internal, sizeof(c->own_id));
    bool lonely = told_to("lonely", &at);
    for (int r = 0; r < size; r++) {
        c->meeting[r] = c->meeting[RANKS_MAX + r] = MPI_REQUEST_NULL;
        if (r == rank || lonely)
            continue;
        MPI_Irecv(c->ids[r], NCCL_UNIQUE_ID_BYTES, MPI_BYTE, r, TAG, MPI_COMM_WORLD, &c->meeting[r]);
        MPI_Isend(c->own_id, NCCL_UNIQUE_ID_BYTES, MPI_BYTE, r, TAG, MPI_COMM_WORLD,
                  &c->meeting[RANKS_MAX + r]);
    }
    for (int r = size; r < RANKS_MAX; r++)
        c->meeting[r] = c->meeting[RANKS_MAX + r] = MPI_REQUEST_NULL;
    return ncclInProgress;
}

static ncclResult_t connected(struct ncclComm *c)
{
    unsigned at;
    int done = 0;
    if (c->size == 1) /* which needs no MPI */
        done = 1;
    else
        MPI_Testall(2 * RANKS_MAX, c->meeting, &done, MPI_STATUSES_IGNORE);
    if (!done || told_to("lonely", &at))
        return ncclInProgress;
    c->connecting = false;
    for (int r = 0; r < c->size; r++)
        if (r != c->rank && memcmp(c->ids[r], c->own_id, NCCL_UNIQUE_ID_BYTES) != 0)
            return refuse("a rank came with another id");
    return ncclSuccess;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t c, ncclResult_t *out)
{
    if (c->connecting)
        c->state = connected(c);
    else if (c->state == ncclInProgress && --c->looks_left <= 0)
        c->state = ncclSuccess;
    *out = c->state;
    return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t c)
{
    if (c->state != ncclSuccess || c->finalized)
        return refuse("finalized in the midst of something, or twice");
    c->finalized = true;
    c->state = ncclInProgress;
    c->looks_left = LOOKS;
    return ncclInProgress;
}

ncclResult_t ncclCommDestroy(ncclComm_t c)
{
    if (!c->finalized)
        return refuse("destroyed, and not finalized");
    free(c);
    return ncclSuccess;
}

/* Its operations end without having happened. What they point at stays: they may still be on a stream. */
ncclResult_t ncclCommAbort(ncclComm_t c)
{
    c->gone = true;
    return ncclSuccess;
}

/* ---- operations on a stream ---- */

static void start_reduce(struct group *g, size_t i)
{
    const struct op *o = &g->ops[i];
    struct ncclComm *c = g->comm;
    if (c->rank != o->peer) {
        MPI_Isend(o->from, (int)o->count, MPI_FLOAT, o->peer, TAG, MPI_COMM_WORLD,
                  &g->requests[g->request_count++]);
        return;
    }
    g->parts[i] = calloc((size_t)c->size * o->count, sizeof(float));
    for (int r = 0; r < c->size; r++)
        if (r != c->rank)
            MPI_Irecv(g->parts[i] + (size_t)r * o->count, (int)o->count, MPI_FLOAT, r, TAG, MPI_COMM_WORLD,
                      &g->requests[g->request_count++]);
}

/* A message of this rank to itself: one a group. */
static void receive_own(struct group *g, const struct op *recv)
{
    for (size_t i = 0; i < g->count; i++)
        if (g->ops[i].kind == OP_SEND && g->ops[i].peer == recv->peer && g->ops[i].count == recv->count)
            memcpy(recv->into, g->ops[i].from, recv->count * sizeof(float));
}

static void start_op(struct group *g, size_t i)
{
    const struct op *o = &g->ops[i];
    if (o->kind == OP_REDUCE)
        start_reduce(g, i);
    else if (o->kind == OP_RECV && o->peer == g->comm->rank)
        receive_own(g, o);
    else if (o->peer == g->comm->rank)
        return;
    else if (o->kind == OP_SEND)
        MPI_Isend(o->from, (int)o->count, MPI_FLOAT, o->peer, TAG, MPI_COMM_WORLD,
                  &g->requests[g->request_count++]);
    else
        MPI_Irecv(o->into, (int)o->count, MPI_FLOAT, o->peer, TAG, MPI_COMM_WORLD,
                  &g->requests[g->request_count++]);
}

/* Around the ring, the root last: another order than that of the tree. */
static void add_parts(struct group *g, size_t i)
{
    const struct op *o = &g->ops[i];
    int size = g->comm->size;
    memcpy(g->parts[i] + (size_t)o->peer * o->count, o->from, o->count * sizeof(float));
    for (size_t k = 0; k < o->count; k++) {
        float sum = g->parts[i][(size_t)((o->peer + 1) % size) * o->count + k];
        for (int hop = 2; hop <= size; hop++)
            sum += g->parts[i][(size_t)((o->peer + hop) % size) * o->count + k];
        o->into[k] = sum;
    }
}

static bool look_at_group(void *context)
{
    struct group *g = context;
    int done = 0;
    unsigned at;
    if (g->comm->gone)
        return true;
    if (!g->started) {
        g->comm->groups++;
        g->started = true;
        if (told_to("error ", &at) && g->comm->groups == at) {
            last_error = "the peer closed its connection";
            g->comm->state = ncclRemoteError;
        }
        if (g->comm->state != ncclRemoteError)
            for (size_t i = 0; i < g->count; i++)
                start_op(g, i);
    }
    if (g->comm->state == ncclRemoteError || (told_to("stuck ", &at) && g->comm->groups >= at))
        return false;
    if (g->request_count == 0)
        done = 1;
    else
        MPI_Testall(g->request_count, g->requests, &done, MPI_STATUSES_IGNORE);
    for (size_t i = 0; done && i < g->count; i++)
        if (g->parts[i])
            add_parts(g, i);
    return done;
}

static void drop_group(void *context)
{
    struct group *g = context;
    for (size_t i = 0; i < g->count; i++)
        free(g->parts[i]);
    free(g);
}

/* ---- groups ---- */

ncclResult_t ncclGroupStart(void); /* nccl.h says nothing of the arguments */
ncclResult_t ncclGroupEnd(void);

ncclResult_t ncclGroupStart(void)
{
    depth++;
    if (!open_group)
        open_group = calloc(1, sizeof(*open_group));
    return ncclSuccess;
}

static ncclResult_t add_op(struct op o, ncclDataType_t type, ncclComm_t comm, cudaStream_t stream)
{
    struct group *g = open_group;
    if (depth == 0 || !stream || type != ncclFloat32 || g->count == OPS_MAX || o.count == 0)
        return refuse("a message outside a group, on no stream, of no floats, or one too many");
    if (comm->state != ncclSuccess)
        return refuse("a call while another is under way");
    g->comm = comm;
    g->stream = stream;
    g->ops[g->count++] = o;
    return ncclSuccess;
}

ncclResult_t ncclSend(const void *from, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream)
{
    return add_op((struct op){ OP_SEND, from, NULL, count, peer }, type, comm, stream);
}

ncclResult_t ncclRecv(void *into, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream)
{
    return add_op((struct op){ OP_RECV, NULL, into, count, peer }, type, comm, stream);
}

ncclResult_t ncclReduce(const void *from, void *into, size_t count, ncclDataType_t type, ncclRedOp_t what,
                        int root, ncclComm_t comm, cudaStream_t stream)
{
    if (what != ncclSum)
        return refuse("this stand-in only adds");
    return add_op((struct op){ OP_REDUCE, from, into, count, root }, type, comm, stream);
}

ncclResult_t ncclGroupEnd(void)
{
    struct group *g = open_group;
    if (depth == 0 || --depth > 0)
        return depth > 0 ? ncclSuccess : refuse("the end of no group");
    open_group = NULL;
    if (g->count == 0) {
        free(g);
        return ncclSuccess;
    }
    g->comm->state = ncclInProgress;
    g->comm->looks_left = LOOKS;
    emulated_give(g->stream, (struct emulated_task){ look_at_group, drop_group, g });
    return ncclInProgress;
}
