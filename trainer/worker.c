#include "trainer/worker.h"

#include "trainer/worker_parts.h"

enum { LAST_WORDS_MS = 2000 };

static void worker_done(struct worker *w)
{
    pulse_line_free(w->line);
    saver_close(w->saver);   /* before what its thread uses */
    store_until(w->data, 1); /* nobody needs what the loader may still wait for */
    loader_close(w->loader);
    times_free(w->times);
    step_close(w->step);
    model_close(w->model);
    comm_close(w->cards);
    cards_close(w->health);
    free(w->pins);
    device_close(w->device);
    feed_free(w->feed);
    shards_free(w->shards);
    dataset_done(&w->dataset);
    signer_done(&w->signer);
    store_close(w->data);
    store_close(w->models);
    store_close(w->uploads);
}

static enum trainer_exit exit_of(enum err_code code)
{
    static const enum trainer_exit exits[ERR_CODE_COUNT] = {
        [OK] = TRAINER_OK,
        [ERR_USAGE] = TRAINER_USER_ERROR,
        [ERR_NOT_FOUND] = TRAINER_BAD_DATA,
        [ERR_CONFLICT] = TRAINER_FAILED,
        [ERR_DENIED] = TRAINER_DENIED,
        [ERR_LIMIT] = TRAINER_LIMIT,
        [ERR_RETRY] = TRAINER_STORE_AWAY,
        [ERR_CORRUPT] = TRAINER_BAD_DATA,
        [ERR_IO] = TRAINER_FAILED,
        [ERR_DEVICE] = TRAINER_FAILED,
        [ERR_CANCELED] = TRAINER_STOPPED,
    };
    return exits[code];
}

enum trainer_exit worker_run(const struct attempt_doc *doc, struct comm *comm, struct err *e)
{
    CLEANUP(worker_done) struct worker w = { .doc = doc, .comm = comm };
    int64_t from = 0;

    struct err ignored = ERR_INIT;

    IGNORE(worker_prepare(&w, &from, e) || worker_train(&w, from, e) || worker_finish(&w, e));
    worker_end_cards(&w, e);
    if (w.line && !w.fenced)
        IGNORE(pulse_flush(w.line, LAST_WORDS_MS, &ignored)); /* what was refused belongs in the ledger */
    if (comm->broken)
        return TRAINER_FAILED;
    return w.ended ? w.ended : exit_of(e->code);
}
