#include "trainer/comm_nccl.h"

#include <stdio.h>
#include <string.h>

#ifdef SOVRUN_NCCL
static enum err_code open_nccl(struct comm *under, struct device *d, const struct network_pins *pins,
                               struct comm **out, struct err *e)
{
    const struct comm_nccl_config config = { .init_ms = COMM_NCCL_INIT_MS,
                                             .piece_floats = COMM_NCCL_PIECE_FLOATS,
                                             .pins = pins };
    return comm_nccl_open(under, d, &config, out, e);
}
#else
static enum err_code open_nccl(struct comm *under, struct device *d, const struct network_pins *pins,
                               struct comm **out, struct err *e)
{
    (void)under;
    (void)d;
    (void)pins;
    (void)out;
    return err_set(e, ERR_DEVICE, "this build found no nccl.h");
}
#endif

/* ", over eth1 and eth2" */
static void add_interfaces(const struct network_pins *pins, char note[COMM_NOTE_BYTES])
{
    for (size_t i = 0; pins && i < pins->count; i++) {
        size_t n = strlen(note);
        snprintf(note + n, COMM_NOTE_BYTES - n, "%s%s", i ? " and " : ", over ", pins->at[i].interface);
    }
}

enum err_code comm_for_device(struct comm *under, struct device *d, const struct network_pins *pins,
                              struct comm **out, char note[COMM_NOTE_BYTES], struct err *e)
{
    int64_t cards = device_card(d)[0] != '\0';

    *out = NULL;
    if (under->size == 1) {
        snprintf(note, COMM_NOTE_BYTES, "one rank: there is nothing to exchange");
        return OK;
    }
    if (comm_max(under, &cards, e))
        return e->code;
    if (cards == 0) {
        snprintf(note, COMM_NOTE_BYTES, "the device is %s", device_name(d));
        return OK;
    }
    if (open_nccl(under, d, pins, out, e) == OK) {
        snprintf(note, COMM_NOTE_BYTES, "%d ranks, from card to card", under->size);
        add_interfaces(pins, note);
        return OK;
    }
    if (e->code != ERR_DEVICE)
        return e->code;
    snprintf(note, COMM_NOTE_BYTES, "through the host, no NCCL: %.900s", e->text);
    err_clear(e);
    return OK;
}
