/*
 * gpu.h - the host's NVIDIA cards: which they are, how they are, and what befalls them. NVML ends here.
 *
 * The library comes with the driver and is loaded when it is asked for, so the same program runs where there
 * is neither. It is only asked: no setting of a card is ever changed.
 *
 * What a card, its driver or an older library does not tell is GPU_UNKNOWN, never zero: a card that cannot
 * say how many errors it had has not had none.
 *
 * Threads: one at a time. Blocking: each call asks the driver, which takes milliseconds; a driver that hangs
 * hangs us.
 */
#ifndef CORE_GPU_GPU_H
#define CORE_GPU_GPU_H

#include "base/cleanup.h"
#include "base/err.h"
#include "core/json/json.h"

#include <stddef.h>
#include <stdint.h>

enum { GPU_UNKNOWN = -1 };
enum { GPU_TEXT_BYTES = 96, GPU_BUS_BYTES = 32, GPU_CARDS_MAX = 256, GPU_XIDS_MAX = 16 };

/* Which card it is: a plain value. Texts are "" where not known. */
struct gpu_card {
    int64_t index; /* as nvidia-smi counts */
    int64_t memory_bytes;
    int64_t mig;               /* 1: it is cut into instances */
    char name[GPU_TEXT_BYTES]; /* "NVIDIA H100 80GB HBM3" */
    char uuid[GPU_TEXT_BYTES]; /* "GPU-5a1b…": the same wherever the card is put */
    char bus[GPU_BUS_BYTES];   /* "00000000:17:00.0" */
    char driver[GPU_TEXT_BYTES];
};

/* How it is at a moment. */
enum gpu_figure {
    GPU_ECC_ON,          /* 0 or 1 */
    GPU_ECC_CORRECTED,   /* errors since the driver was loaded, of all its memories */
    GPU_ECC_UNCORRECTED, /* likewise: data was lost */
    GPU_ROWS_PENDING,    /* 1: a bad row of memory is replaced at the next reset */
    GPU_ROWS_FAILED,     /* 1: one could not be replaced */
    GPU_CELSIUS,
    GPU_SM_MHZ,
    GPU_MEMORY_MHZ,
    GPU_MILLIWATTS,
    GPU_MILLIJOULES, /* since the driver was loaded */
    GPU_HELD_BACK,   /* bits: what holds the clocks down; gpu_held_back_json() */
    GPU_FIGURE_COUNT
};
struct gpu_reading {
    int64_t figure[GPU_FIGURE_COUNT];
    bool lost, reset_required; /* the driver says so whatever it is asked */
};

struct gpu_driver; /* opaque: owns the loaded library */
struct gpu;        /* opaque: one card of it, and its events */

/* ERR_DEVICE, and why: no library, no driver, or the two do not fit together. */
enum err_code gpu_driver_open(struct gpu_driver **out, struct err *e);
void gpu_driver_close(struct gpu_driver *d); /* after its cards */
DEFINE_CLEANUP_PTR(struct gpu_driver, gpu_driver_close)

enum err_code gpu_count(const struct gpu_driver *d, size_t *out, struct err *e);
/* A card by its number, or by its place on the bus in whichever spelling ("0000:17:00.0"). The driver is
 * borrowed. ERR_DEVICE: there is no such card, or it does not answer any more. */
enum err_code gpu_open_index(const struct gpu_driver *d, size_t index, struct gpu **out, struct err *e);
enum err_code gpu_open_bus(const struct gpu_driver *d, const char *bus, struct gpu **out, struct err *e);
void gpu_close(struct gpu *g);
DEFINE_CLEANUP_PTR(struct gpu, gpu_close)

const struct gpu_card *gpu_card(const struct gpu *g);        /* as it was when it was opened */
void gpu_read(const struct gpu *g, struct gpu_reading *out); /* what cannot be read is not known */

/* From now on the card's Xid events are kept for gpu_next_xid(). ERR_DEVICE where it has none to give. */
enum err_code gpu_watch(struct gpu *g, struct err *e);
bool gpu_next_xid(struct gpu *g, uint32_t *out); /* never waits; false: there is no further */

/* Card and reading as members of `into`, one a figure; what is not known is null. */
void gpu_to_json(const struct gpu_card *card, const struct gpu_reading *r, json_t *into);
/* Figures that a driver does not tell are null. */
json_t *gpu_number_json(int64_t n);
/* Of GPU_HELD_BACK, the names of what holds a card back: ["power_cap"]. */
json_t *gpu_held_back_json(int64_t bits);

#endif
