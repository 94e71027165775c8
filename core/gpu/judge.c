#include "core/gpu/judge.h"

#include <inttypes.h>
#include <stdio.h>

static const char reset[] = "reset the card (nvidia-smi --gpu-reset) or restart the host";

static bool unfit(char out_why[GPU_WHY_BYTES], const char *what, const char *remedy)
{
    snprintf(out_why, GPU_WHY_BYTES, "%s: %s", what, remedy);
    return false;
}

static bool answers(const struct gpu_reading *r, char out_why[GPU_WHY_BYTES])
{
    if (r->lost)
        return unfit(out_why, "the card does not answer any more", "restart the host");
    if (r->reset_required)
        return unfit(out_why, "the driver says that the card must be reset", reset);
    out_why[0] = '\0';
    return true;
}

bool gpu_is_fit(const struct gpu_reading *r, char out_why[GPU_WHY_BYTES])
{
    char what[96];

    if (!answers(r, out_why))
        return false;
    if (r->figure[GPU_ROWS_FAILED] > 0)
        return unfit(out_why, "a bad row of its memory could not be replaced", "have the card replaced");
    if (r->figure[GPU_ECC_UNCORRECTED] > 0) {
        snprintf(what, sizeof(what), "uncorrected memory errors since the driver was loaded: %" PRId64,
                 r->figure[GPU_ECC_UNCORRECTED]);
        return unfit(out_why, what, reset);
    }
    if (r->figure[GPU_ROWS_PENDING] > 0)
        return unfit(out_why, "a bad row of its memory waits to be replaced", reset);
    return true;
}

bool gpu_stays_fit(const struct gpu_reading *before, const struct gpu_reading *now,
                   char out_why[GPU_WHY_BYTES])
{
    int64_t was = before->figure[GPU_ECC_UNCORRECTED], is = now->figure[GPU_ECC_UNCORRECTED];
    char what[96];

    if (!answers(now, out_why))
        return false;
    if (was == GPU_UNKNOWN || is == GPU_UNKNOWN || is <= was)
        return true;
    snprintf(what, sizeof(what), "uncorrected memory errors since the job began: %" PRId64, is - was);
    return unfit(out_why, what, reset);
}

/* NVIDIA's Xid catalogue (docs.nvidia.com/deploy/xid-errors) has the meanings and the immediate actions that
 * they follow from: an application to be restarted or checked is XID_PROGRAM, nothing to be done at once
 * XID_NOTED, a card to be reset, or a host to be restarted or looked into, XID_CARD.
 *
 * Besides: 48 (uncorrected, and not said where) stops; 94 (contained in the program that met it) does not by
 * itself: where that was ours the step fails, and the count of uncorrected errors tells in any case. 74 has
 * many grades: where a link is needed, what needs it fails. 154 goes with another. */
static const struct {
    uint32_t number;
    enum xid_kind kind;
    const char *what, *remedy;
} xids[] = {
    { 13, XID_PROGRAM, "a program's kernel faulted", NULL },
    { 31, XID_PROGRAM, "a program touched memory that it does not have", NULL },
    { 32, XID_PROGRAM, "a program's commands came broken", NULL },
    { 43, XID_PROGRAM, "a program's work was stopped", NULL },
    { 45, XID_PROGRAM, "a program's work was removed after an error or at its end", NULL },
    { 46, XID_CARD, "the card stopped processing", reset },
    { 48, XID_CARD, "a memory error that could not be corrected", reset },
    { 54, XID_CARD, "the card's auxiliary power is not connected", "look at its cables" },
    { 62, XID_CARD, "the card's controller has halted", reset },
    { 63, XID_NOTED, "a bad row of its memory is replaced at the next reset", NULL },
    { 64, XID_CARD, "a bad row of its memory could not be replaced", reset },
    { 69, XID_PROGRAM, "a program's command is none of the card's", NULL },
    { 74, XID_NOTED, "an error on an NVLink", NULL },
    { 79, XID_CARD, "the card has fallen off the bus", "restart the host" },
    { 92, XID_NOTED, "corrected memory errors come often", NULL },
    { 94, XID_NOTED, "a memory error that could not be corrected, and hit one program alone", NULL },
    { 95, XID_CARD, "a memory error that could not be corrected, and may have hit any program", reset },
    { 119, XID_CARD, "the card's system processor does not answer", reset },
    { 120, XID_CARD, "the card's system processor has failed", reset },
    { 140, XID_CARD, "a memory error that the card did not recover from", reset },
    { 143, XID_CARD, "the card could not be initialised", reset },
    { 154, XID_NOTED, "the driver's advice about the card has changed: see the kernel's log", NULL },
    { 158, XID_CARD, "the card ran into a time-out that it does not recover from", reset },
};

static size_t row_of(uint32_t xid)
{
    size_t i = 0;
    while (i < ARRAY_LEN(xids) && xids[i].number != xid)
        i++;
    return i;
}

enum xid_kind xid_kind(uint32_t xid)
{
    size_t i = row_of(xid);
    return i < ARRAY_LEN(xids) ? xids[i].kind : XID_OTHER;
}

void xid_text(uint32_t xid, char out[GPU_WHY_BYTES])
{
    size_t i = row_of(xid);

    if (i == ARRAY_LEN(xids))
        snprintf(out, GPU_WHY_BYTES, "Xid %" PRIu32 ": see NVIDIA's Xid catalogue", xid);
    else
        snprintf(out, GPU_WHY_BYTES, "Xid %" PRIu32 ": %s%s%s", xid, xids[i].what, xids[i].remedy ? ": " : "",
                 xids[i].remedy ? xids[i].remedy : "");
}

size_t xid_weightiest(const uint32_t *seen, size_t n)
{
    size_t best = 0;

    for (size_t i = 1; i < n; i++)
        if (xid_kind(seen[i]) > xid_kind(seen[best]))
            best = i;
    return best;
}
