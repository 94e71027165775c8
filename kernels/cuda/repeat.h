/*
 * repeat.h - work that a stream is given again and again, as CUDA graphs (CUDA Runtime API, "Graph Management"):
 * device_repeat() of a card.
 *
 * The first time the calls are made as they are: libraries load, shapes get their algorithms. The second time they
 * are recorded, from then on launched whole. What cannot be recorded is called each time, and the log says so once;
 * what comes after REPEATS_MAX others is called each time, too.
 */
#ifndef KERNELS_CUDA_REPEAT_H
#define KERNELS_CUDA_REPEAT_H

#include "kernels/cuda/cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { REPEATS_MAX = 32 };

struct repeats;
struct repeats *repeats_new(void); /* owned: repeats_free() */
void repeats_free(struct repeats *r);
/* Before memory is given back that the calls may have had. */
void repeats_forget(struct repeats *r);
/* `failure`: the device's, which device_keep() fills; what it gets while nothing can be recorded is nobody's. */
void repeats_run(struct repeats *r, cudaStream_t stream, struct err *failure, const void *what, size_t bytes,
                 void (*calls)(void *context), void *context);

#ifdef __cplusplus
}
#endif
#endif
