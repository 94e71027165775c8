/*
 * pool.h - the CPU device's threads: one list of independent tasks at a time, shared out as they come.
 *
 * A task writes what no other task reads or writes, and computes it in an order that depends on the task
 * alone. So which thread runs it, and how many there are, changes no bit of any result. The caller works
 * along; with one thread nothing is started at all.
 *
 * Threads: one caller. Blocking: cpu_pool_run() returns when all tasks are done.
 */
#ifndef KERNELS_CPU_POOL_H
#define KERNELS_CPU_POOL_H

#include "base/cleanup.h"

#include <stddef.h>

enum { CPU_POOL_THREADS_MAX = 256, CPU_POOL_SCRATCH_BYTES = 2 << 20 /* a large page */ };

struct cpu_pool;

/* `threads` with the caller's; each has CPU_POOL_SCRATCH_BYTES of its own, 64-byte aligned. */
struct cpu_pool *cpu_pool_new(size_t threads);
void cpu_pool_free(struct cpu_pool *p);
size_t cpu_pool_threads(const struct cpu_pool *p);

/* Calls task(context, i, scratch) for i = 0 .. count - 1, in any order. */
typedef void cpu_task_fn(void *context, size_t i, void *scratch);
void cpu_pool_run(struct cpu_pool *p, size_t count, cpu_task_fn *task, void *context);

#endif
