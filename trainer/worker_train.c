#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/stop.h"
#include "trainer/export.h"
#include "trainer/worker_parts.h"

#include <inttypes.h>

enum { KEEP_WORK_MS = 30000 };
enum { STEPS_AWAY = 4 }; /* a rank that is away for so many of the longest step yet hangs */

/* What ranks tell each other in every step. The largest counts. */
enum vote { VOTE_GO, VOTE_STOP, VOTE_UNTOLD, VOTE_FENCED, VOTE_FAILED };

static enum err_code describe_state(const struct worker *w, json_t **out, struct err *e)
{
    char loss[NUM_TEXT_BYTES];
    json_t *file;

    if (feed_describe(w->feed, w->model, &file, e))
        return e->code;
    snprintf(loss, sizeof(loss), "%.17g", w->pulse.loss);
    *out = json_pack("{s:o,s:o,s:I,s:I,s:s}", "file", file, "tensors", export_tensor_table(&w->model->params),
                     "epoch", (json_int_t)w->pulse.epoch, "steps", (json_int_t)w->pulse.steps, "loss", loss);
    return OK;
}

/* Only when the state has just said that the job is ours: what another attempt is about to restore must not
 * go. What killed attempts left is looked for once. */
static void tidy_up(struct worker *w, const char *saved_key)
{
    if (!pulse_all_told(w->line))
        return;
    saver_tidy(w->saver, saved_key, w->doc->spec.checkpoint.keep, !w->swept);
    w->swept = true;
}

static void tell_saved(struct worker *w, const struct saver_result *r)
{
    char name[JOB_KEY_BYTES];

    if (!r->committed)
        return;
    w->pulse.checkpoint_step = r->step;
    if (w->comm->rank == 0)
        log_info("checkpoint.committed", "step=%" PRId64 " manifest=%s", r->step, r->key);
    worker_tell(w, "checkpoint.committed",
                json_pack("{s:s,s:I}", "manifest", r->key, "step", (json_int_t)r->step),
                job_checkpoint_key(w->doc->job, name), r->key);
    if (w->comm->rank == 0)
        tidy_up(w, r->key);
}

/* What is under way comes to its end now. */
static enum err_code finish_save(struct worker *w, struct err *e)
{
    struct saver_result r;

    if (saver_idle(w->saver))
        return OK;
    worker_progress(w, "checkpoint", false);
    if (saver_finish(w->saver, &r, e))
        return e->code;
    tell_saved(w, &r);
    return OK;
}

/* There is one snapshot: the one before has to be up. */
static enum err_code begin_save(struct worker *w, int64_t step, struct err *e)
{
    CLEANUP(json_donep) json_t *meta = NULL;

    if (finish_save(w, e) || describe_state(w, &meta, e))
        return e->code;
    /* A rank may wait for data as long as it is told to, and work on a step as long as it takes.
     */
    int64_t began_us = clock_mono_us();
    saver_begin(w->saver, step, TAKE(meta), w->doc->data.place.patience_ms + STEPS_AWAY * w->step_ms_max);
    if (w->comm->rank == 0)
        log_info("checkpoint.copied", "step=%" PRId64 " us=%" PRId64, step, clock_mono_us() - began_us);
    return OK;
}

static enum err_code diverged(struct worker *w, const char *why, struct err *e)
{
    char last[64] = "there is no checkpoint yet";

    if (finish_save(w, e))
        return e->code;
    if (w->pulse.checkpoint_step != WORKER_NO_CHECKPOINT)
        snprintf(last, sizeof(last), "the last good checkpoint is that of step %" PRId64,
                 w->pulse.checkpoint_step);
    w->ended = TRAINER_DIVERGED;
    return err_set(e, ERR_DEVICE, "training diverged: %s; %s; try a smaller train.lr or train.clip", why,
                   last);
}

/* All ranks have the same votes before them. */
static enum err_code after_votes(struct worker *w, int64_t step, const struct step_result *r, struct err *e)
{
    if (r->diverged)
        return diverged(w, r->why, e);
    if (r->vote_max == VOTE_FENCED)
        return worker_fenced(w, e);
    if (r->vote_max == VOTE_UNTOLD) {
        if (w->comm->rank == 0)
            *e = w->untold;
        w->ended = TRAINER_STATE_AWAY;
        return comm_agree(w->comm, e);
    }
    if (r->vote_max == VOTE_STOP) {
        if (begin_save(w, step, e) || finish_save(w, e))
            return e->code;
        return err_set(e, ERR_CANCELED, "asked to stop: saved step %" PRId64, step);
    }
    return OK;
}

static enum vote own_vote(const struct worker *w)
{
    if (w->fenced)
        return VOTE_FENCED;
    if (w->untold.code != OK)
        return VOTE_UNTOLD;
    return stop_asked() ? VOTE_STOP : VOTE_GO;
}

/* A shard that one rank cannot read is everybody's failure, and so is a card that must not go on. That rank
 * takes part in the step with nothing, and says so by its vote: cheaper than asking all ranks before each
 * step. What the step did is not kept: the attempt ends here. */
static enum err_code one_step(struct worker *w, int64_t step, struct step_result *r, struct err *e)
{
    CLEANUP(freep) struct batch *nothing = NULL;
    struct err own = ERR_INIT;
    struct step_input in = {
        .step = step, .lr = schedule_lr(&w->schedule, step), .vote = own_vote(w), .mark = saver_mark(w->saver)
    };
    int64_t began_us = clock_mono_us(), compare_every = w->doc->spec.train.compare_every;

    w->pulse.lr = in.lr;
    if (cards_look(w->health, clock_mono_ms(), &own) || loader_step(w->loader, step, &in.leaves, &own)) {
        in.vote = VOTE_FAILED;
        nothing = mem_array((size_t)w->doc->spec.train.leaves, sizeof(*nothing));
        in.leaves = nothing;
    }
    in.waited_us = clock_mono_us() - began_us;
    in.compare = compare_every > 0 && step % compare_every == 0;
    if (step_run(w->step, &in, r, e)) {
        if (e->code == ERR_CORRUPT) /* a machine's fault: another attempt may have another machine */
            w->ended = TRAINER_FAILED;
        return e->code;
    }
    times_add_step(w->times, in.waited_us, r);
    if (r->vote_max != VOTE_FAILED)
        return OK;
    *e = own;
    return comm_agree(w->comm, e);
}

/* Where a rank hangs, the others meet it in the step: if they wait for that no longer than for a checkpoint,
 * it is the checkpoint that they miss it in. */
static enum err_code step_and_time(struct worker *w, int64_t step, struct step_result *r, struct err *e)
{
    int64_t began = clock_mono_ms();

    if (one_step(w, step, r, e))
        return w->comm->broken && !saver_idle(w->saver)
                   ? err_wrap(e, "checkpoint at step %" PRId64, saver_step(w->saver))
                   : e->code;
    w->step_ms_max = MAX(w->step_ms_max, clock_mono_ms() - began);
    return OK;
}

/* What the step's report said of the checkpoint under way. */
static enum err_code hear_of_save(struct worker *w, const struct step_result *r, struct err *e)
{
    struct saver_result saved;

    if (saver_hear(w->saver, r->mark_min, &saved, e))
        return e->code;
    tell_saved(w, &saved);
    return OK;
}

static void note_progress(struct worker *w, int64_t step, const struct step_result *r)
{
    w->records += (int64_t)r->records;
    w->pulse.step = step;
    w->pulse.epoch = (step - 1) / loader_steps_per_epoch(w->loader) + 1;
    w->pulse.loss = r->loss;
    w->pulse.records_per_second =
        1000.0 * (double)w->records / (double)MAX(clock_mono_ms() - w->train_began_ms, 1);
    bool first = w->records == (int64_t)r->records; /* that it trains is told at once */
    times_tell(w->times, clock_mono_us(), first ? 0 : PULSE_EVERY_MS * 1000, &w->pulse.step_ms);
    worker_progress(w, "train", first);
}

/* What is due behind a step: checkpoints, and what the ranks told each other. */
static enum err_code after_step(struct worker *w, int64_t step, const struct step_result *r, struct err *e)
{
    int64_t began_us = clock_mono_us();

    if (hear_of_save(w, r, e) || after_votes(w, step, r, e))
        return e->code;
    if (step % w->doc->spec.checkpoint.every_steps == 0 && step < w->pulse.steps && begin_save(w, step, e))
        return e->code;
    times_add_checkpoint(w->times, clock_mono_us() - began_us);
    return OK;
}

static enum err_code train(struct worker *w, int64_t from, struct err *e)
{
    w->train_began_ms = clock_mono_ms();
    times_start(w->times, clock_mono_us());
    for (int64_t step = from + 1; step <= w->pulse.steps; step++) {
        struct step_result r;
        if (step_and_time(w, step, &r, e))
            return e->code;
        note_progress(w, step, &r);
        if (after_step(w, step, &r, e))
            return e->code;
    }
    return finish_save(w, e);
}

/* Training has failed, on all ranks alike; the checkpoint under way is as good as it was. */
static void keep_work(struct worker *w)
{
    struct err e = ERR_INIT;

    if (w->comm->broken || w->ended == TRAINER_FENCED || saver_idle(w->saver))
        return;
    saver_hurry(w->saver, KEEP_WORK_MS);
    if (finish_save(w, &e) && w->comm->rank == 0)
        log_warn("checkpoint.lost", "why=\"%s\"", e.text);
}

enum err_code worker_train(struct worker *w, int64_t from, struct err *e)
{
    if (w->doc->spec.task == TASK_EVALUATE)
        return OK; /* there is nothing to step, and nothing to save */
    w->pulse.step = from;
    w->pulse.checkpoint_step = from > 0 ? from : WORKER_NO_CHECKPOINT;
    struct checkpoint_place place = w->place;
    place.store = w->uploads;
    IGNORE(saver_open(&place, w->comm, w->step, true, &w->saver, e));
    if (comm_agree(w->comm, e))
        return e->code;
    w->times = times_new(w->comm->size);
    if (train(w, from, e)) {
        keep_work(w);
        return e->code;
    }
    loader_close(TAKE(w->loader)); /* the shards are the main thread's again */
    return OK;
}
