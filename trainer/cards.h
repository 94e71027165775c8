/*
 * cards.h - the cards that a job's ranks compute on: which they are, whether they may be relied on, what
 * befell them, and what they used.
 *
 * Each rank looks at its own card; all know all ranks' at the beginning and at the end. Where no rank's
 * device is a card there is nothing to look at: cards_open() gives NULL, and every other call accepts that. A
 * card that NVML cannot tell of is used, and that is said.
 *
 * A step does not wait for this: a look every CARDS_LOOK_MS takes the driver some milliseconds.
 *
 * Threads: comm's.
 */
#ifndef TRAINER_CARDS_H
#define TRAINER_CARDS_H

#include "core/json/json.h"
#include "trainer/comm.h"

enum { CARDS_LOOK_MS = 10000, CARDS_RANKS_AN_EVENT = 32 };

struct cards;

/* Collective. `bus`: this rank's device_card(), "" on the CPU. `comm` is borrowed. */
enum err_code cards_open(struct comm *comm, const char *bus, struct cards **out, struct err *e);
void cards_close(struct cards *c);
DEFINE_CLEANUP_PTR(struct cards, cards_close)

/* ERR_DEVICE, the same on all ranks, where one's card is not fit: rank, host, card, and what to do. */
enum err_code cards_check(const struct cards *c, struct err *e);

/* ERR_DEVICE, on this rank alone, where its card must not go on. Asks the card where the last look is long
 * enough ago. */
enum err_code cards_look(struct cards *c, int64_t now_ms, struct err *e);

/* The end, once; `e` has how it went. Collective, unless comm is broken: it breaks here where the ranks did
 * not all come to their end. A failure that may be a card's doing is given the name of what befell the card.
 * True: a card did not stay fit; the same on all ranks. */
bool cards_end(struct cards *c, struct err *e);

/* The data of events, for the ranks from `first` on, at most CARDS_RANKS_AN_EVENT of them; NULL behind the
 * last. The caller owns it. What was used is known after cards_end(). */
json_t *cards_opened_json(const struct cards *c, int first);
json_t *cards_used_json(const struct cards *c, int first);

#endif
