#include "trainer/cards.h"

#include "base/clock.h"
#include "base/fit.h"
#include "base/log.h"
#include "base/mem.h"
#include "trainer/cards_parts.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MEET_MS = 10000 }; /* for ranks that failed: the others may not know */

const char *card_name(const struct card_report *r)
{
    return r->card.uuid[0] ? r->card.uuid : r->bus;
}

/* ---- the beginning ---- */

static enum err_code find_card(struct cards *c, struct err *e)
{
    if (gpu_driver_open(&c->driver, e) || gpu_open_bus(c->driver, c->own.bus, &c->gpu, e))
        return e->code;
    c->own.known = true;
    c->own.card = *gpu_card(c->gpu);
    gpu_read(c->gpu, &c->own.reading);
    return OK;
}

/* What cannot be had is said, and no reason not to train. */
static void open_own(struct cards *c, const char *bus)
{
    struct err why = ERR_INIT;

    c->own.here = true;
    c->own.on_card = bus[0] != '\0';
    c->own.held_back = GPU_UNKNOWN;
    snprintf(c->own.bus, sizeof(c->own.bus), "%s", bus);
    if (gethostname(c->own.host, sizeof(c->own.host) - 1) != 0)
        snprintf(c->own.host, sizeof(c->own.host), "unknown");
    if (!c->own.on_card) {
        snprintf(c->own.why, sizeof(c->own.why), "its device is the CPU");
        return;
    }
    if (find_card(c, &why)) {
        text_fit(c->own.why, sizeof(c->own.why), why.text);
        return;
    }
    c->own.watched = gpu_watch(c->gpu, &why) == OK;
    if (!c->own.watched)
        log_warn("gpu.unwatched", "rank=%d card=%s why=\"%s\"", c->comm->rank, card_name(&c->own), why.text);
}

static void log_cards(const struct cards *c)
{
    for (int rank = 0; rank < c->comm->size; rank++) {
        const struct card_report *r = &c->opened[rank];
        if (r->known)
            log_info("gpu.opened", "rank=%d host=%s card=%s name=\"%s\" bus=%s driver=%s", rank, r->host,
                     card_name(r), r->card.name, r->card.bus, r->card.driver);
        else
            log_warn("gpu.unknown", "rank=%d host=%s bus=%s why=\"%s\"", rank, r->host, r->bus, r->why);
    }
}

enum err_code cards_open(struct comm *comm, const char *bus, struct cards **out, struct err *e)
{
    CLEANUP(cards_closep) struct cards *c = NULL;
    int64_t any = bus[0] != '\0';

    if (comm_max(comm, &any, e) || !any)
        return e->code;
    c = mem_new(sizeof(*c));
    c->comm = comm;
    c->opened = mem_array((size_t)comm->size, sizeof(*c->opened));
    c->ended = mem_array((size_t)comm->size, sizeof(*c->ended));
    open_own(c, bus);
    if (comm_gather(comm, &c->own, sizeof(c->own), c->opened, e))
        return err_wrap(e, "tell all ranks of the cards");
    if (comm->rank == 0)
        log_cards(c);
    *out = TAKE(c);
    return OK;
}

void cards_close(struct cards *c)
{
    if (!c)
        return;
    gpu_close(c->gpu);
    gpu_driver_close(c->driver);
    free(c->opened);
    free(c->ended);
    free(c);
}

enum err_code cards_check(const struct cards *c, struct err *e)
{
    char why[GPU_WHY_BYTES];

    for (int rank = 0; c && rank < c->comm->size; rank++) {
        const struct card_report *r = &c->opened[rank];
        if (r->known && !gpu_is_fit(&r->reading, why))
            return err_set(e, ERR_DEVICE, "rank %d: card %s on host %s is not fit to train: %s", rank,
                           card_name(r), r->host, why);
    }
    return OK;
}

/* ---- looking ---- */

static void fails(struct card_report *own, const char *why)
{
    if (!own->failed[0])
        snprintf(own->failed, sizeof(own->failed), "%s", why);
}

static void take_xids(struct cards *c)
{
    char text[GPU_WHY_BYTES];
    uint32_t xid = 0;

    for (int i = 0; i < GPU_XIDS_MAX && gpu_next_xid(c->gpu, &xid); i++) {
        xid_text(xid, text);
        log_warn("gpu.xid", "rank=%d host=%s card=%s what=\"%s\"", c->comm->rank, c->own.host,
                 card_name(&c->own), text);
        if (c->own.xid_count < GPU_XIDS_MAX)
            c->own.xids[c->own.xid_count] = xid;
        c->own.xid_count++;
        if (xid_kind(xid) == XID_CARD)
            fails(&c->own, text);
    }
}

static void look(struct cards *c)
{
    struct card_report *own = &c->own;
    char why[GPU_WHY_BYTES];

    take_xids(c);
    gpu_read(c->gpu, &own->reading);
    int64_t held_back = own->reading.figure[GPU_HELD_BACK];
    if (held_back != GPU_UNKNOWN)
        own->held_back = (own->held_back == GPU_UNKNOWN ? 0 : own->held_back) | held_back;
    if (!gpu_stays_fit(&c->opened[c->comm->rank].reading, &own->reading, why))
        fails(own, why);
}

enum err_code cards_look(struct cards *c, int64_t now_ms, struct err *e)
{
    if (!c || !c->gpu || now_ms < c->look_due_ms)
        return OK;
    c->look_due_ms = now_ms + CARDS_LOOK_MS;
    look(c);
    if (!c->own.failed[0])
        return OK;
    return err_set(e, ERR_DEVICE, "card %s on host %s: %s", card_name(&c->own), c->own.host, c->own.failed);
}

/* ---- the end ---- */

/* The worst that befell a rank's card; false: nothing did. */
static bool worst_of(const struct card_report *r, enum xid_kind *out_kind, char out_text[GPU_WHY_BYTES])
{
    size_t n = MIN(r->xid_count, (size_t)GPU_XIDS_MAX);

    if (!r->here || (!r->failed[0] && n == 0))
        return false;
    if (r->failed[0]) {
        *out_kind = XID_CARD;
        snprintf(out_text, GPU_WHY_BYTES, "%s", r->failed);
        return true;
    }
    uint32_t xid = r->xids[xid_weightiest(r->xids, n)];
    *out_kind = xid_kind(xid);
    xid_text(xid, out_text);
    return true;
}

/* In front of a device's failure, or of ranks that lost each other: what befell the card that may be the
 * reason. Of equals, the lowest rank's. */
static void explain(const struct cards *c, struct err *e)
{
    char text[GPU_WHY_BYTES], worst[GPU_WHY_BYTES] = "";
    enum xid_kind kind, worst_kind = XID_PROGRAM;
    int worst_rank = -1;

    for (int rank = 0; rank < c->comm->size; rank++)
        if (worst_of(&c->ended[rank], &kind, text) && (worst_rank < 0 || kind > worst_kind)) {
            worst_rank = rank;
            worst_kind = kind;
            memcpy(worst, text, sizeof(worst));
        }
    if (worst_rank < 0 || strstr(e->text, worst) || (e->code != ERR_DEVICE && !c->comm->broken))
        return;
    const struct card_report *r = &c->ended[worst_rank];
    IGNORE(err_wrap(e, "rank %d: card %s on host %s: %s", worst_rank, card_name(r), r->host, worst));
}

/* A rank that failed by itself finds the others elsewhere: it waits for them no longer than MEET_MS. */
static enum err_code gather_ends(struct cards *c, bool failed, struct err *e)
{
    CLEANUP(freep) struct card_report *all = mem_array((size_t)c->comm->size, sizeof(*all));
    int64_t until_ms = clock_mono_ms() + MEET_MS;

    if (c->comm->broken || (failed && comm_meet(c->comm, until_ms, e)))
        return e->code;
    comm_until(c->comm, 0); /* they are together: an earlier deadline, of a checkpoint, counts no more */
    if (comm_gather(c->comm, &c->own, sizeof(c->own), all, e))
        return e->code;
    memcpy(c->ended, all, (size_t)c->comm->size * sizeof(*all));
    return OK;
}

bool cards_end(struct cards *c, struct err *e)
{
    struct err apart = ERR_INIT;
    bool failed = false;

    if (!c)
        return false;
    if (c->gpu)
        look(c);
    c->ended[c->comm->rank] = c->own;
    if (gather_ends(c, e->code != OK, &apart))
        log_warn("gpu.ends_unknown", "rank=%d why=\"%s\"", c->comm->rank, apart.text);
    if (e->code != OK)
        explain(c, e);
    for (int rank = 0; rank < c->comm->size; rank++)
        failed = failed || c->ended[rank].failed[0];
    return failed;
}
