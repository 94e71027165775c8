#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/stop.h"
#include "trainer/export.h"
#include "trainer/worker_parts.h"

#include <inttypes.h>

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
    checkpoint_prune(&w->place, saved_key, w->doc->spec.checkpoint.keep);
    if (w->swept)
        return;
    w->swept = true;
    size_t removed = checkpoint_sweep(&w->place);
    if (removed)
        log_info("checkpoint.swept", "parts=%zu", removed);
}

static enum err_code save(struct worker *w, int64_t step, struct err *e)
{
    char key[STORE_KEY_BYTES], name[JOB_KEY_BYTES];
    CLEANUP(json_donep) json_t *meta = NULL;

    worker_progress(w, "checkpoint", false);
    if (describe_state(w, &meta, e) || checkpoint_save(&w->place, w->comm, w->step, step, meta, key, e))
        return e->code;
    w->pulse.checkpoint_step = step;
    if (w->comm->rank == 0)
        log_info("checkpoint.committed", "step=%" PRId64 " manifest=%s", step, key);
    worker_tell(w, "checkpoint.committed", json_pack("{s:s,s:I}", "manifest", key, "step", (json_int_t)step),
                job_checkpoint_key(w->doc->job, name), key);
    if (w->comm->rank == 0)
        tidy_up(w, key);
    return OK;
}

static enum err_code diverged(struct worker *w, const char *why, struct err *e)
{
    char last[64] = "there is no checkpoint yet";
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
        if (save(w, step, e))
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

/* A shard that one rank cannot read is everybody's failure. That rank takes part in the step with nothing,
 * and says so by its vote: cheaper than asking all ranks before each step. What the step did is not kept: the
 * attempt ends here. */
static enum err_code one_step(struct worker *w, int64_t step, struct step_result *r, struct err *e)
{
    CLEANUP(freep) struct batch *nothing = NULL;
    struct err own = ERR_INIT;
    struct step_input in = { .step = step, .lr = schedule_lr(&w->schedule, step), .vote = own_vote(w) };

    w->pulse.lr = in.lr;
    if (loader_step(w->loader, step, &in.leaves, &own)) {
        in.vote = VOTE_FAILED;
        nothing = mem_array((size_t)w->doc->spec.train.leaves, sizeof(*nothing));
        in.leaves = nothing;
    }
    if (step_run(w->step, &in, r, e))
        return e->code;
    if (r->vote_max != VOTE_FAILED)
        return OK;
    *e = own;
    return comm_agree(w->comm, e);
}

enum err_code worker_train(struct worker *w, int64_t from, struct err *e)
{
    const struct spec_checkpoint *rule = &w->doc->spec.checkpoint;
    int64_t began = clock_mono_ms(), records = 0;

    w->pulse.step = from;
    w->pulse.checkpoint_step = from > 0 ? from : WORKER_NO_CHECKPOINT;
    for (int64_t step = from + 1; step <= w->pulse.steps; step++) {
        struct step_result r;
        if (one_step(w, step, &r, e))
            return e->code;
        records += (int64_t)r.records;
        w->pulse.step = step;
        w->pulse.epoch = (step - 1) / loader_steps_per_epoch(w->loader) + 1;
        w->pulse.loss = r.loss;
        w->pulse.records_per_second = 1000.0 * (double)records / (double)MAX(clock_mono_ms() - began, 1);
        worker_progress(w, "train", step == from + 1); /* that it trains is told at once */
        if (after_votes(w, step, &r, e))
            return e->code;
        if (step % rule->every_steps == 0 && step < w->pulse.steps && save(w, step, e))
            return e->code;
    }
    return OK;
}
