/*
 * cards_parts.h - what ranks tell each other of their cards. Private to cards*.c.
 */
#ifndef TRAINER_CARDS_PARTS_H
#define TRAINER_CARDS_PARTS_H

#include "core/gpu/judge.h"
#include "trainer/cards.h"

#include <limits.h>

/* One rank's, as it travels. Ranks run the same program, so it travels as it lies. */
struct card_report {
    bool here;    /* this rank has told */
    bool on_card; /* its device is a card */
    bool known;   /* and NVML tells of it */
    bool watched; /* and of its Xids */
    char host[HOST_NAME_MAX + 1];
    char bus[GPU_BUS_BYTES];
    char why[ERR_TEXT_BYTES / 4]; /* where it is not known */
    struct gpu_card card;
    struct gpu_reading reading; /* the last */
    int64_t held_back;          /* all that was met of GPU_HELD_BACK, or GPU_UNKNOWN */
    uint32_t xids[GPU_XIDS_MAX];
    size_t xid_count;           /* may be more than have room */
    char failed[GPU_WHY_BYTES]; /* why it must not go on, or "" */
};

struct cards {
    struct comm *comm; /* borrowed */
    struct gpu_driver *driver;
    struct gpu *gpu; /* NULL: nothing to look at on this rank */
    int64_t look_due_ms;
    struct card_report own;
    struct card_report *opened, *ended; /* owned; of each rank */
};

/* What it is called in a sentence: by its UUID or, where that is not known, its place. */
const char *card_name(const struct card_report *r);

#endif
