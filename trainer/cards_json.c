#include "trainer/cards_parts.h"

#include <string.h>

static json_t *opened_json(const struct card_report *r, int rank)
{
    json_t *o = json_pack("{s:i,s:s}", "rank", rank, "host", r->host);

    if (!r->known) {
        json_object_set_new(o, "bus", r->bus[0] ? json_string(r->bus) : json_null());
        json_object_set_new(o, "why", json_string(r->why));
        return o;
    }
    gpu_to_json(&r->card, &r->reading, o);
    return o;
}

/* How far a counter went; GPU_UNKNOWN where it was not known or began anew meanwhile. */
static int64_t grown(const struct card_report *from, const struct card_report *to, enum gpu_figure figure)
{
    int64_t a = from->reading.figure[figure], b = to->reading.figure[figure];
    return !from->known || !to->here || a == GPU_UNKNOWN || b < a ? GPU_UNKNOWN : b - a;
}

static int64_t joules(const struct cards *c, int rank)
{
    int64_t mj = grown(&c->opened[rank], &c->ended[rank], GPU_MILLIJOULES);
    return mj == GPU_UNKNOWN ? GPU_UNKNOWN : mj / 1000;
}

static bool shares_card(const struct cards *c, int rank, int with)
{
    const struct card_report *a = &c->opened[rank], *b = &c->opened[with];
    return b->on_card && strcmp(a->host, b->host) == 0 && strcmp(a->bus, b->bus) == 0;
}

/* Of all ranks' cards, each once. Where one does not say, nobody can. */
static int64_t sum_joules(const struct cards *c)
{
    int64_t sum = 0;

    for (int rank = 0; rank < c->comm->size; rank++) {
        bool counted = !c->opened[rank].on_card;
        for (int before = 0; before < rank && !counted; before++)
            counted = shares_card(c, rank, before);
        if (!counted && joules(c, rank) == GPU_UNKNOWN)
            return GPU_UNKNOWN;
        sum += counted ? 0 : joules(c, rank);
    }
    return sum;
}

static json_t *xids_json(const struct card_report *r)
{
    json_t *list = r->watched ? json_array() : json_null();

    for (size_t i = 0; r->watched && i < MIN(r->xid_count, (size_t)GPU_XIDS_MAX); i++)
        json_array_append_new(list, json_integer(r->xids[i]));
    return list;
}

static json_t *used_json(const struct cards *c, int rank)
{
    const struct card_report *from = &c->opened[rank], *to = &c->ended[rank];
    json_t *o = json_pack("{s:i,s:s,s:s}", "rank", rank, "host", from->host, "card", card_name(from));

    json_object_set_new(o, "joules", gpu_number_json(joules(c, rank)));
    json_object_set_new(o, "ecc_corrected", gpu_number_json(grown(from, to, GPU_ECC_CORRECTED)));
    json_object_set_new(o, "ecc_uncorrected", gpu_number_json(grown(from, to, GPU_ECC_UNCORRECTED)));
    json_object_set_new(o, "held_back", gpu_held_back_json(to->held_back));
    json_object_set_new(o, "xids", xids_json(to));
    json_object_set_new(o, "failed", json_string(to->failed));
    return o;
}

json_t *cards_opened_json(const struct cards *c, int first)
{
    if (!c || first >= c->comm->size)
        return NULL;
    json_t *ranks = json_array();
    for (int rank = first; rank < MIN(first + CARDS_RANKS_AN_EVENT, c->comm->size); rank++)
        json_array_append_new(ranks, opened_json(&c->opened[rank], rank));
    return json_pack("{s:i,s:o}", "of_ranks", c->comm->size, "ranks", ranks);
}

json_t *cards_used_json(const struct cards *c, int first)
{
    if (!c || first >= c->comm->size)
        return NULL;
    json_t *ranks = json_array();
    for (int rank = first; rank < MIN(first + CARDS_RANKS_AN_EVENT, c->comm->size); rank++)
        if (c->ended[rank].here)
            json_array_append_new(ranks, used_json(c, rank));
    return json_pack("{s:o,s:i,s:o}", "joules", gpu_number_json(sum_joules(c)), "of_ranks", c->comm->size,
                     "ranks", ranks);
}
