#include "kernels/cuda/repeat.h"

#include "base/log.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

struct repeated {
    unsigned char what[DEVICE_WHAT_MAX];
    size_t bytes;
    bool never;            // it could not be recorded
    cudaGraphExec_t graph; // NULL: not yet
};
struct repeats {
    struct repeated list[REPEATS_MAX];
    size_t count;
};

struct repeats *repeats_new(void)
{
    return mem_new(sizeof(struct repeats));
}

void repeats_forget(struct repeats *r)
{
    for (size_t i = 0; i < r->count; i++)
        if (r->list[i].graph)
            cudaGraphExecDestroy(r->list[i].graph);
    r->count = 0;
}

void repeats_free(struct repeats *r)
{
    if (!r)
        return;
    repeats_forget(r);
    free(r);
}

static struct repeated *find(struct repeats *r, const void *what, size_t bytes)
{
    for (size_t i = 0; i < r->count; i++)
        if (r->list[i].bytes == bytes && memcmp(r->list[i].what, what, bytes) == 0)
            return &r->list[i];
    return NULL;
}

/* Nothing of what is recorded has run. */
static cudaError_t record(cudaStream_t stream, void (*calls)(void *context), void *context,
                          cudaGraphExec_t *out)
{
    cudaGraph_t graph = NULL;
    cudaError_t code = cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);

    if (code != cudaSuccess)
        return code;
    calls(context);
    if ((code = cudaStreamEndCapture(stream, &graph)) != cudaSuccess)
        return code;
    code = cudaGraphInstantiate(out, graph, 0);
    cudaGraphDestroy(graph);
    return code;
}

/* Without its graph, for good. */
static void give_up(struct repeated *r, const char *what, const char *why)
{
    log_warn("cuda.graph", "note=\"%s: passes go on as they are\" why=\"%s\"", what, why);
    cudaGetLastError(); // nobody's failure
    r->never = true;
    if (r->graph)
        cudaGraphExecDestroy(r->graph);
    r->graph = NULL;
}

/* What failed while it was recorded may fail for real when it is called without. */
static void record_once(struct repeated *r, cudaStream_t stream, struct err *failure,
                        void (*calls)(void *context), void *context)
{
    const struct err before = *failure;
    cudaError_t code = record(stream, calls, context, &r->graph);

    if (code == cudaSuccess && failure->code == before.code)
        return;
    give_up(r, "could not be recorded", code == cudaSuccess ? failure->text : cudaGetErrorString(code));
    *failure = before;
}

void repeats_run(struct repeats *r, cudaStream_t stream, struct err *failure, const void *what, size_t bytes,
                 void (*calls)(void *context), void *context)
{
    struct repeated *known = find(r, what, bytes);

    if (!known && r->count < REPEATS_MAX) {
        struct repeated *new = &r->list[r->count++];
        *new = (struct repeated){ .bytes = bytes };
        memcpy(new->what, what, bytes);
    }
    if (known && !known->graph && !known->never)
        record_once(known, stream, failure, calls, context);
    if (known && known->graph) {
        cudaError_t code = cudaGraphLaunch(known->graph, stream);
        if (code == cudaSuccess)
            return;
        give_up(known, "could not be launched", cudaGetErrorString(code)); // no room for it, perhaps
    }
    calls(context);
}
