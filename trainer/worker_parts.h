/*
 * worker_parts.h - the parts of a rank's work, and what they share. Private to worker*.c; worker.h is the
 * door.
 *
 *     worker_prepare   stores, dataset, plan; the newest checkpoint, or a beginning
 *     worker_train     step by step, with a checkpoint every now and then
 *     worker_finish    how good it is, and the model as a file
 *     worker_begin     the parameters of model.from
 *     worker_evaluate  task evaluate: in place of the model as a file
 *     worker_tell      what rank 0 says on the way
 *     worker_cards     the ranks' cards, where they have any: first and last
 *     worker_networks  the hosts' interfaces, where ranks are on several
 *
 * All are collective and return the same code on every rank.
 */
#ifndef TRAINER_WORKER_PARTS_H
#define TRAINER_WORKER_PARTS_H

#include "trainer/begin_from.h"
#include "trainer/cards.h"
#include "trainer/checkpoint.h"
#include "trainer/feed.h"
#include "trainer/loader.h"
#include "trainer/pulse.h"
#include "trainer/renewal.h"
#include "trainer/saver.h"
#include "trainer/schedule.h"
#include "trainer/times.h"
#include "trainer/worker.h"

enum { WORKER_NO_CHECKPOINT = -1 };

/* Each store's waiting is told of by itself: other threads wait for other stores. */
struct worker_wait {
    int rank;
    int64_t said_ms; /* when it was last told */
};

struct worker {
    const struct attempt_doc *doc;
    struct comm *comm;
    struct store *data;    /* the loader's thread's while it is open */
    struct store *models;  /* the main thread's */
    struct store *uploads; /* the same bucket, for the saver's thread */
    struct renewal data_renewal, models_renewal;
    struct worker_wait data_wait, models_wait, uploads_wait;
    struct signer signer;
    struct dataset dataset;
    struct shards *shards;
    struct feed *feed;
    struct device *device;
    struct comm *cards;        /* comm_for_device(): the steps' sums; NULL: by comm */
    struct network_pins *pins; /* owned; of this host, where the ranks are held to networks; else NULL */
    struct cards *health;      /* of the ranks' cards; NULL: no rank computes on one */
    struct model *model;
    struct step *step;
    struct loader *loader;
    struct saver *saver;
    struct times *times;
    struct schedule schedule;
    struct pulse_line *line; /* rank 0 */
    struct pulse pulse;
    struct checkpoint_place place;
    bool swept;
    int64_t step_ms_max;             /* the longest step yet */
    int64_t train_began_ms, records; /* in this attempt */
    bool fenced;                     /* rank 0 was refused: all hear of it by the next vote */
    struct err untold;               /* rank 0 could not even keep an event: the same */
    enum trainer_exit ended;         /* where the error's code does not say it: the same on all ranks */
};

/* *out_step: that of the checkpoint it goes on from; 0: from the beginning. */
enum err_code worker_prepare(struct worker *w, int64_t *out_step, struct err *e);
enum err_code worker_train(struct worker *w, int64_t from, struct err *e);
enum err_code worker_finish(struct worker *w, struct err *e);
/* model.from into `params`, host memory; rank 0 tells of it. */
enum err_code worker_begin_from(struct worker *w, float *params, struct begun *out, struct err *e);
enum err_code worker_evaluate(struct worker *w, struct err *e);
/* Rank 0: the result and its event in one commit, under the attempt's token; `data` is taken over. */
enum err_code worker_record(struct worker *w, const char *event, json_t *data, const json_t *result,
                            struct err *e);
/* After a failure to record, agreed on: sets w->ended. */
enum err_code worker_untold(struct worker *w, struct err *e);

/* An event by rank 0; `data` is taken over. Nobody else knows how that went, so nobody leaves here: the next
 * vote tells. */
void worker_tell(struct worker *w, const char *event, json_t *data, const char *put_name,
                 const char *put_text);
/* Rank 0 only, and at most now and then unless `now`. */
void worker_progress(struct worker *w, const char *phase, bool now);
/* A store_wait_fn: a store that is waited for is told of at once, and then every now and then. Called by
 * whichever thread uses the store; `worker_wait` is that store's. */
void worker_waits(void *worker_wait, const struct store_wait *wait);
/* Where the policy names networks and ranks are on several hosts: pins each to its host's interfaces in them,
 * and tells of them; refuses a host that has none. */
enum err_code worker_open_networks(struct worker *w, struct err *e);
/* Tells of the ranks' cards, and refuses one that is not fit. */
enum err_code worker_open_cards(struct worker *w, struct err *e);
/* However it went: tells what the cards used; *e names what befell a card where that may be why it failed. */
void worker_end_cards(struct worker *w, struct err *e);
/* Sets w->ended. */
enum err_code worker_fenced(struct worker *w, struct err *e);

#endif
