#include "trainer/worker_parts.h"

enum err_code worker_open_cards(struct worker *w, struct err *e)
{
    json_t *data;

    if (cards_open(w->comm, device_card(w->device), &w->health, e))
        return e->code;
    for (int at = 0; (data = cards_opened_json(w->health, at)); at += CARDS_RANKS_AN_EVENT)
        worker_tell(w, "gpu.opened", data, NULL, NULL);
    return cards_check(w->health, e);
}

void worker_end_cards(struct worker *w, struct err *e)
{
    json_t *data;

    /* Numbers from a card that failed say nothing of the job. */
    if (cards_end(w->health, e) && w->ended == TRAINER_DIVERGED)
        w->ended = TRAINER_FAILED;
    for (int at = 0; (data = cards_used_json(w->health, at)); at += CARDS_RANKS_AN_EVENT)
        worker_tell(w, "gpu.used", data, NULL, NULL);
}
