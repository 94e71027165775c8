/*
 * device.h - the place where the math happens: its memory, copies to and from it, and waiting for it.
 *
 * A device runs what it is given in order, perhaps later; device_sync() waits and returns the first failure
 * since the last one. Nothing else here or in kernels.h reports a failure, so a step is a list of calls with
 * one check at its end. Memory is allocated before training starts, never inside a step.
 *
 * "cpu": its memory is host memory, and it has finished when a call returns. "cuda", in a build that found
 * the toolkit: one NVIDIA card, which works behind the host's back.
 *
 * Memory is of two kinds. The device's own (device_alloc()): only the device reads and writes it, the host by
 * device_put() and device_get(). Shared (device_alloc_shared()): the host may look at it, too, through
 * device_host_view(), which waits; on a card the pages then move, and back when the card next touches them.
 * So shared is what the host needs whole now and then, own is everything else. On the CPU both are the same.
 *
 * Threads: one device, one thread, that which opened it: a card's runtime keeps by thread which card is
 * meant. Other threads may read and write what a host view shows. What a device does inside may take more of
 * the host's (device_use_threads()).
 */
#ifndef KERNELS_DEVICE_H
#define KERNELS_DEVICE_H

#include "base/cleanup.h"
#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

#define DEVICE_BYTES_MAX ((size_t)1 << 39) /* in one piece */

struct device;

enum { DEVICE_NOTE_BYTES = 256, DEVICE_CARD_BYTES = 32, DEVICE_WHAT_MAX = 64 };

/* How large models compute. DEVICE_TF32: the operands of matrix products are rounded to it. DEVICE_BF16: what
 * lies in memory is bf16 as well (`real` in kernels.h). Sums, parameters, their gradients and the optimizer
 * are fp32 always. */
enum device_precision { DEVICE_FP32, DEVICE_TF32, DEVICE_BF16, DEVICE_PRECISIONS };

struct device_ops {
    const char *name;                               /* "cpu", "cuda" */
    void *(*alloc)(struct device *d, size_t bytes); /* zeroed; NULL when there is none */
    void *(*alloc_shared)(struct device *d, size_t bytes);
    void (*free)(struct device *d, void *memory);
    void *(*alloc_pinned)(struct device *d, size_t bytes); /* the host's; NULL when there is none */
    void (*free_pinned)(struct device *d, void *memory);
    void (*put)(struct device *d, void *to, const void *from_host, size_t bytes);
    void (*get)(struct device *d, void *to_host, const void *from, size_t bytes);
    void *(*host_view)(struct device *d, void *memory); /* NULL: it is the device's own */
    size_t (*room)(struct device *d);                   /* bytes that are left; SIZE_MAX: nobody knows */
    void (*use_threads)(struct device *d, size_t threads);
    bool (*use_precision)(struct device *d, enum device_precision p); /* false: it cannot */
    void (*repeat)(struct device *d, const void *what, size_t bytes, void (*calls)(void *context),
                   void *context);
    enum err_code (*sync)(struct device *d, struct err *e);
    void (*close)(struct device *d);
};
struct device {
    const struct device_ops *ops;
    size_t real_bytes;            /* device_real_bytes() */
    char note[DEVICE_NOTE_BYTES]; /* what it is, and where "auto" passed over another, why */
    char card[DEVICE_CARD_BYTES]; /* where it is on its host, "0000:17:00.0"; "" of the CPU */
};

#ifdef __cplusplus
extern "C" {
#endif

extern const char *const device_precision_names[DEVICE_PRECISIONS]; /* "fp32", "tf32", "bf16" */

/* `name`: "auto" (the fastest there is) or a device's name. ERR_USAGE where there is none of that name in
 * this build, ERR_NOT_FOUND where there is no driver, library or card that it could use: which stays so until
 * somebody gives the host one. ERR_DEVICE, ERR_LIMIT: there is one, and it failed or has no room. */
enum err_code device_open(const char *name, struct device **out, struct err *e);
void device_close(struct device *d);
DEFINE_CLEANUP_PTR(struct device, device_close)
const char *device_name(const struct device *d);
/* The card's PCI bus id, by which other libraries know it: "0000:17:00.0"; "" of the CPU. */
const char *device_card(const struct device *d);
const char *
device_note(const struct device *d); /* for the log: "no cuda: no CUDA-capable device is detected" */
/* So many of the host's threads from now on, at least 1, as a new device has; no result depends on it. */
void device_use_threads(struct device *d, size_t threads);

/* DEVICE_FP32 is what a new device has; before any model is opened on it. ERR_USAGE where it knows no other:
 * the CPU does not. */
enum err_code device_use_precision(struct device *d, enum device_precision p, struct err *e);
/* Of one `real` (kernels.h): 4, or 2. */
size_t device_real_bytes(const struct device *d);

/* The device's own memory: zeroed, 64-byte aligned, given back by device_free(). ERR_LIMIT with the size
 * where there is no room. */
enum err_code device_alloc(struct device *d, size_t count, size_t bytes_each, void **out, struct err *e);
/* The same, but the host sees it too, through device_host_view(). */
enum err_code device_alloc_shared(struct device *d, size_t count, size_t bytes_each, void **out,
                                  struct err *e);
void device_free(struct device *d, void *memory); /* accepts NULL */
/* Bytes that are left of a card's memory, of both kinds together; SIZE_MAX: it is the host's, or nobody
 * knows. */
size_t device_room(struct device *d);

/* The host's memory, 64-byte aligned, that a card copies to at the full speed of its bus: device_get() into
 * it. Given back by device_free_pinned(). ERR_LIMIT: there is no room, or the system does not let so much be
 * pinned. */
enum err_code device_alloc_pinned(struct device *d, size_t count, size_t bytes_each, void **out,
                                  struct err *e);
void device_free_pinned(struct device *d, void *memory); /* accepts NULL */

void device_put(struct device *d, void *to, const void *from_host, size_t bytes);
void device_get(struct device *d, void *to_host, const void *from, size_t bytes); /* waits for it */

/* Gives the device what calls(context) gives it: kernels alone, no copy and no wait. `what` (DEVICE_WHAT_MAX
 * bytes at most) is all that those depend on but the memory's content. For the same `what` a device may
 * repeat by itself what it was given before, without a call: a card records it the second time, and launches
 * it whole from then on. */
void device_repeat(struct device *d, const void *what, size_t bytes, void (*calls)(void *context),
                   void *context);

/* Shared memory as the host sees it, without a copy; NULL of the device's own. Waits for what was given
 * before; who gives the device more to do with it waits again (device_sync()) before looking. */
void *device_host_view(struct device *d, void *memory);
enum err_code device_sync(struct device *d, struct err *e);

#ifdef __cplusplus
}
#endif

#endif
