/*
 * judge.h - what a card's readings and Xids mean for a job on it. Pure.
 *
 * A reading is fit unless the card itself says that what it computes or keeps cannot be relied on until
 * somebody has seen to it; what is not known speaks against nobody. Each sentence says what to do.
 */
#ifndef CORE_GPU_JUDGE_H
#define CORE_GPU_JUDGE_H

#include "core/gpu/gpu.h"

enum { GPU_WHY_BYTES = 192 };

bool gpu_is_fit(const struct gpu_reading *r, char out_why[GPU_WHY_BYTES]); /* fit: out_why is "" */

/* Whether a card that was fit at `before` may go on at `now`: no data was lost since, and it still answers. A
 * row that waits for a reset to be replaced is no reason to stop; the next start is refused. */
bool gpu_stays_fit(const struct gpu_reading *before, const struct gpu_reading *now,
                   char out_why[GPU_WHY_BYTES]);

/* Whose an Xid is. In order of weight. */
enum xid_kind {
    XID_PROGRAM, /* a program's doing; says nothing of the card */
    XID_OTHER,   /* not in our table */
    XID_NOTED,   /* the card's, and it may go on */
    XID_CARD,    /* the card's, and it must not go on */
};
enum xid_kind xid_kind(uint32_t xid);
void xid_text(uint32_t xid,
              char out[GPU_WHY_BYTES]); /* "Xid 79: the card has fallen off the bus: restart the host" */
/* The index of the weightiest of n >= 1; of equals, the first. */
size_t xid_weightiest(const uint32_t *xids, size_t n);

#endif
