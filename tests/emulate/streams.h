/*
 * streams.h - a card's streams and events on the host: work that waits its turn.
 *
 * A stream is a list of tasks; the first is looked at again and again until it says that it is done. All
 * streams come on a bit whenever somebody asks how far an event is, and only then: so a program that does not
 * wait for what it needs finds out. The stream NULL is the emulated device's: its work is done when it is
 * given. But a stream that does not wait, by an event, for what the device was given before it ends the
 * program.
 *
 * emulate.h's launches go through it, and the stand-in for NCCL (nccl.c).
 */
#ifndef TESTS_EMULATE_STREAMS_H
#define TESTS_EMULATE_STREAMS_H

#include <cuda_runtime_api.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

struct emulated_task {
    bool (*look)(void *context); /* true: done, and not looked at again */
    void (*drop)(void *context); /* behind its last look, or without one */
    void *context;
};
void emulated_give(cudaStream_t stream, struct emulated_task task);

#ifdef __cplusplus
}
#endif
#endif
