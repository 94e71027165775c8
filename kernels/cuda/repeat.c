#include "kernels/cuda/repeat.h"

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
static cudaGraphExec_t record(cudaStream_t stream, void (*calls)(void *context), void *context)
{
    cudaGraph_t graph = NULL;
    cudaGraphExec_t out = NULL;

    if (cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal) != cudaSuccess)
        return NULL;
    calls(context);
    if (cudaStreamEndCapture(stream, &graph) != cudaSuccess || !graph)
        return NULL;
    if (cudaGraphInstantiate(&out, graph, 0) != cudaSuccess)
        out = NULL;
    cudaGraphDestroy(graph);
    return out;
}

void repeats_run(struct repeats *r, cudaStream_t stream, const void *what, size_t bytes,
                 void (*calls)(void *context), void *context)
{
    struct repeated *known = find(r, what, bytes);

    if (!known && r->count < REPEATS_MAX) {
        struct repeated *new = &r->list[r->count++];
        *new = (struct repeated){ .bytes = bytes };
        memcpy(new->what, what, bytes);
    }
    if (known && !known->graph && !known->never) {
        known->graph = record(stream, calls, context);
        known->never = !known->graph;
        if (known->never)
            cudaGetLastError(); // it is called as it is: nobody's failure
    }
    if (!known || !known->graph)
        calls(context);
    else if (cudaGraphLaunch(known->graph, stream) != cudaSuccess) {
        cudaGetLastError(); // the driver has no room for it, perhaps: without it then
        known->never = true;
        cudaGraphExecDestroy(known->graph);
        known->graph = NULL;
        calls(context);
    }
}
