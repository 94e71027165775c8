/* streams.h, and as much of the runtime's streams and events as trainer/comm_nccl.c uses. */
#include "tests/emulate/streams.h"

#include "base/def.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STREAMS_MAX = 8 };

struct waiting {
    struct emulated_task task;
    struct waiting *next;
};
struct CUstream_st {
    struct waiting *first, **end;
    unsigned behind; /* so much of the device's work */
};
/* What the device is given while it records, which is done when the graph is launched. */
struct CUgraph_st {
    struct waiting *first, **end;
    unsigned users; /* it is its own executable form */
};
/* Recorded so often; come so far. */
struct CUevent_st {
    unsigned recorded, reached;
    unsigned behind;
};
/* A mark in a stream, of an event. */
struct mark {
    cudaEvent_t event;
    unsigned number;
};

static cudaStream_t streams[STREAMS_MAX];
static unsigned device_given; /* tasks of the stream NULL */
static cudaGraph_t recording;

static void end_with(const char *why)
{
    fprintf(stderr, "emulate: %s\n", why);
    abort();
}

static void end_first(cudaStream_t s)
{
    struct waiting *w = s->first;
    s->first = w->next;
    if (!s->first)
        s->end = &s->first;
    w->task.drop(w->task.context);
    free(w);
}

static void come_on(void)
{
    for (size_t i = 0; i < STREAMS_MAX; i++)
        while (streams[i] && streams[i]->first && streams[i]->first->task.look(streams[i]->first->task.context))
            end_first(streams[i]);
}

static void append(struct waiting ***end, struct emulated_task task)
{
    struct waiting *w = (struct waiting *)calloc(1, sizeof(*w));
    w->task = task;
    **end = w;
    *end = &w->next;
}

static void give(cudaStream_t stream, struct emulated_task task)
{
    if (!stream && recording) {
        append(&recording->end, task);
        return;
    }
    if (!stream) {
        if (!task.look(task.context))
            end_with("the device was given something before it could run");
        task.drop(task.context);
        return;
    }
    append(&stream->end, task);
}

extern "C" void emulated_give(cudaStream_t stream, struct emulated_task task)
{
    if (!stream)
        device_given++;
    else if (stream->behind != device_given)
        end_with("a stream does not wait for what the device was given before");
    give(stream, task);
}

static bool reach(void *context)
{
    struct mark *m = (struct mark *)context;
    m->event->reached = m->number;
    return true;
}

static bool has_reached(void *context)
{
    struct mark *m = (struct mark *)context;
    return m->event->reached >= m->number;
}

static void give_mark(cudaStream_t stream, cudaEvent_t event, bool (*look)(void *context))
{
    struct mark *m = (struct mark *)calloc(1, sizeof(*m));
    m->event = event;
    m->number = event->recorded;
    give(stream, emulated_task{ look, free, m });
}

extern "C" cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *most)
{
    *least = 0;
    *most = -5;
    return cudaSuccess;
}

extern "C" cudaError_t cudaStreamCreateWithPriority(cudaStream_t *out, unsigned flags, int priority)
{
    (void)priority;
    for (size_t i = 0; i < STREAMS_MAX && flags == cudaStreamNonBlocking; i++)
        if (!streams[i]) {
            streams[i] = *out = (cudaStream_t)calloc(1, sizeof(**out));
            streams[i]->end = &streams[i]->first;
            return cudaSuccess;
        }
    return cudaErrorInvalidValue;
}

extern "C" cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    while (stream->first)
        end_first(stream);
    for (size_t i = 0; i < STREAMS_MAX; i++)
        if (streams[i] == stream)
            streams[i] = NULL;
    free(stream);
    return cudaSuccess;
}

extern "C" cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned flags)
{
    (void)flags;
    *out = (cudaEvent_t)calloc(1, sizeof(**out));
    return cudaSuccess;
}

extern "C" cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    free(event);
    return cudaSuccess;
}

extern "C" cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    event->recorded++;
    event->behind = stream ? stream->behind : device_given;
    give_mark(stream, event, reach);
    return cudaSuccess;
}

extern "C" cudaError_t cudaEventQuery(cudaEvent_t event)
{
    come_on();
    return event->reached == event->recorded ? cudaSuccess : cudaErrorNotReady;
}

extern "C" cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags)
{
    (void)flags;
    if (stream && event->behind > stream->behind)
        stream->behind = event->behind;
    give_mark(stream, event, has_reached);
    return cudaSuccess;
}

extern "C" cudaError_t cudaGetLastError(void)
{
    return cudaSuccess;
}

extern "C" const char *cudaGetErrorString(cudaError_t code)
{
    return code == cudaSuccess ? "success" : "the stand-in for the runtime refuses this";
}

/* ---- graphs, of the device's stream alone ---- */

/* EMULATED_GRAPHS=unrecorded, or unlaunched: what the driver refuses. */
static bool is_refused(const char *what)
{
    const char *refused = getenv("EMULATED_GRAPHS");
    return refused && strcmp(refused, what) == 0;
}

extern "C" cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode)
{
    (void)mode;
    if (stream || recording)
        return cudaErrorIllegalState;
    recording = (cudaGraph_t)calloc(1, sizeof(*recording));
    recording->end = &recording->first;
    recording->users = 1;
    return cudaSuccess;
}

extern "C" cudaError_t cudaStreamIsCapturing(cudaStream_t stream, enum cudaStreamCaptureStatus *out)
{
    *out = !stream && recording ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
    return cudaSuccess;
}

extern "C" cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *out)
{
    (void)stream;
    *out = recording;
    recording = NULL;
    if (*out && is_refused("unrecorded")) {
        cudaGraphDestroy(*out);
        *out = NULL;
        return cudaErrorStreamCaptureInvalidated;
    }
    return *out ? cudaSuccess : cudaErrorIllegalState;
}

extern "C" cudaError_t cudaGraphInstantiate(cudaGraphExec_t *out, cudaGraph_t graph, unsigned long long flags)
{
    (void)flags;
    graph->users++;
    *out = (cudaGraphExec_t)graph;
    return cudaSuccess;
}

extern "C" cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    if (stream || recording)
        return cudaErrorIllegalState;
    if (is_refused("unlaunched"))
        return cudaErrorMemoryAllocation;
    device_given++;
    for (struct waiting *w = ((cudaGraph_t)exec)->first; w; w = w->next)
        if (!w->task.look(w->task.context))
            end_with("the device was given something before it could run");
    return cudaSuccess;
}

extern "C" cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    if (--graph->users > 0)
        return cudaSuccess;
    for (struct waiting *w = graph->first, *next; w; w = next) {
        next = w->next;
        w->task.drop(w->task.context);
        free(w);
    }
    free(graph);
    return cudaSuccess;
}

extern "C" cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    return cudaGraphDestroy((cudaGraph_t)exec);
}
