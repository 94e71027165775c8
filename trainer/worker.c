#include "trainer/worker.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/stop.h"
#include "trainer/checkpoint.h"
#include "trainer/export.h"
#include "trainer/holdout.h"
#include "trainer/loader.h"
#include "trainer/pulse.h"
#include "trainer/renewal.h"
#include "trainer/schedule.h"

#include <inttypes.h>
#include <string.h>

enum {
    SAY_WAIT_MS = 10000,
    FLUSH_MS = 60000,
    LAST_WORDS_MS = 2000,
    PREDICT_RECORDS = 1024,
    NO_CHECKPOINT = -1
};
static const uint64_t cache_bytes = 2ULL << 30; /* encoded rows that a rank keeps */

/* What ranks tell each other in every step. The largest counts. */
enum vote { VOTE_GO, VOTE_STOP, VOTE_UNTOLD, VOTE_FENCED, VOTE_FAILED };

struct worker {
    const struct attempt_doc *doc;
    struct comm *comm;
    struct store *data, *models;
    struct renewal data_renewal, models_renewal;
    struct signer signer;
    struct dataset dataset;
    struct shards *shards;
    struct encoding encoding;
    struct device *device;
    struct model *model;
    struct step *step;
    struct loader *loader;
    struct schedule schedule;
    struct pulse_line *line; /* rank 0 */
    struct pulse pulse;
    struct checkpoint_place place;
    bool swept;
    int64_t wait_said_ms;    /* when it was last told that a store is waited for */
    bool fenced;             /* rank 0 was refused: all hear of it by the next vote */
    struct err untold;       /* rank 0 could not even keep an event: the same */
    enum trainer_exit ended; /* where the error's code does not say it: the same on all ranks */
};

static void worker_done(struct worker *w)
{
    pulse_line_free(w->line);
    loader_close(w->loader);
    step_close(w->step);
    model_close(w->model);
    device_close(w->device);
    encoding_done(&w->encoding);
    shards_free(w->shards);
    dataset_done(&w->dataset);
    signer_done(&w->signer);
    store_close(w->data);
    store_close(w->models);
}

/* ---- telling ---- */

/* An event by rank 0. Nobody else knows how that went, so nobody leaves here: the next vote tells. */
static void tell(struct worker *w, const char *event, json_t *data, const char *put_name,
                 const char *put_text)
{
    struct err e = ERR_INIT;

    if (w->comm->rank != 0) {
        json_decref(data);
        return;
    }
    enum err_code code = pulse_event(w->line, event, data, put_name, put_text, &e);
    if (code == ERR_DENIED)
        w->fenced = true;
    else if (code != OK && w->untold.code == OK)
        w->untold = e;
}

static void progress(struct worker *w, const char *phase, bool now)
{
    struct err fenced = ERR_INIT;
    if (w->comm->rank != 0)
        return;
    snprintf(w->pulse.phase, sizeof(w->pulse.phase), "%s", phase);
    w->pulse.time_ms = clock_wall_ms();
    if (pulse_progress(w->line, &w->pulse, now, &fenced) == ERR_DENIED)
        w->fenced = true;
}

/* A store that is waited for: at once, and then every now and then. */
static void waiting(void *context, const struct store_wait *wait)
{
    struct worker *w = context;
    char waited[NUM_TEXT_BYTES];
    int64_t now = clock_mono_ms();

    if (wait->why && wait->failures > 1 && now - w->wait_said_ms < SAY_WAIT_MS)
        return;
    w->wait_said_ms = now;
    format_duration(wait->waited_ms, waited);
    if (wait->why)
        log_warn("store.waiting", "rank=%d %s=%s failures=%d waited=\"%s\" why=\"%s\"", w->comm->rank,
                 wait->call, wait->key, wait->failures, waited, wait->why);
    else
        log_info("store.back", "rank=%d %s=%s failures=%d waited=\"%s\"", w->comm->rank, wait->call,
                 wait->key, wait->failures, waited);
}

/* ---- getting ready ---- */

static enum err_code open_stores(struct worker *w, struct err *e)
{
    const struct attempt_doc *d = w->doc;
    w->data_renewal = (struct renewal){ d, SESSION_DATA, state_open };
    w->models_renewal = (struct renewal){ d, SESSION_MODELS, state_open };
    if (renewal_open_store(&w->data_renewal, &w->data, e) ||
        renewal_open_store(&w->models_renewal, &w->models, e) ||
        signer_from_seed(d->signing_seed, &w->signer, e) ||
        checkpoint_prefix(d->spec.checkpoint.to, w->place.prefix, e))
        return e->code;
    store_on_wait(w->data, waiting, w);
    store_on_wait(w->models, waiting, w);
    w->place.doc = d;
    w->place.store = w->models;
    w->place.signer = &w->signer;
    return OK;
}

static enum err_code load_dataset(struct worker *w, struct err *e)
{
    char bucket[STORE_BUCKET_BYTES], prefix[STORE_KEY_BYTES], digest[SHA256_HEX_BYTES];

    if (store_uri_parse(w->doc->spec.data.train, bucket, prefix, e) ||
        dataset_load(w->data, prefix, &w->dataset, digest, e))
        return e->code;
    if (strcmp(digest, w->doc->dataset_digest) != 0)
        return err_set(
            e, ERR_CORRUPT,
            "the manifest at %s is not the one that the job was submitted with: it was staged anew; "
            "submit the job again",
            w->doc->spec.data.train);
    w->shards = shards_new(w->data, &w->dataset, &w->doc->spec.data, cache_bytes);
    return OK;
}

/* The trainer's first plan must be the scheduler's: two programs that disagree about data must not train. */
static enum err_code check_plan(const struct worker *w, struct err *e)
{
    const struct job_spec *spec = &w->doc->spec;
    CLEANUP(plan_done) struct plan plan = { 0 };
    char digest[SHA256_HEX_BYTES];

    if (!w->doc->first_plan_digest[0])
        return OK;
    if (plan_for_dataset(&w->dataset, spec->data.holdout, spec->train.seed, w->doc->first_plan_epoch,
                         (uint32_t)spec->train.leaves, &plan, e))
        return e->code;
    plan_digest(&plan, digest);
    if (strcmp(digest, w->doc->first_plan_digest) != 0)
        return err_set(
            e, ERR_CORRUPT,
            "the scheduler's shard plan is not the one that follows from the spec; are scheduler and "
            "trainer of one version?");
    return OK;
}

static enum err_code check_stop(struct err *e)
{
    return stop_asked() ? err_set(e, ERR_CANCELED, "asked to stop before the first step") : OK;
}

static void expect_own_shards(struct worker *w)
{
    CLEANUP(freep) size_t *own = mem_array(MAX(w->dataset.shard_count, (size_t)1), sizeof(*own));
    size_t count = 0;
    for (size_t i = (size_t)w->comm->rank; i < w->dataset.shard_count; i += (size_t)w->comm->size)
        own[count++] = i;
    shards_expect(w->shards, own, count);
}

static enum err_code survey_own_shards(struct worker *w, struct buf *out, struct err *e)
{
    expect_own_shards(w);
    for (size_t i = (size_t)w->comm->rank; i < w->dataset.shard_count; i += (size_t)w->comm->size) {
        CLEANUP(table_done) struct table t = { 0 };
        if (check_stop(e) || shards_read(w->shards, i, &t, e))
            return e->code;
        size_t train = t.rows - dataset_holdout(t.rows, w->doc->spec.data.holdout);
        if (encode_survey(&w->dataset, &w->doc->spec.data, i, &t, train, out, e))
            return e->code;
        buf_add_byte(out, '\n');
    }
    return buf_check(out, "survey of the data", e);
}

static enum err_code fit_encoding(struct worker *w, struct err *e)
{
    CLEANUP(buf_done) struct buf own = BUF_INIT(256u << 20);
    CLEANUP(comm_parts_done) struct comm_parts all = { 0 };
    size_t shards = w->dataset.shard_count;
    CLEANUP(freep)
    json_t **surveys = mem_array(shards, sizeof(json_t *)); // NOLINT(bugprone-sizeof-expression): pointers

    IGNORE(survey_own_shards(w, &own, e)); /* told to all below */
    if (comm_agree(w->comm, e) || comm_gather_sized(w->comm, own.data, own.len, &all, e))
        return e->code;
    const char *at = (const char *)all.data, *end = at + all.starts[w->comm->size];
    for (size_t i = 0; i < shards && e->code == OK; i++) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        invariant(line_end != NULL);
        json_t *one = NULL;
        if (json_parse(at, (size_t)(line_end - at), "survey", &one, e) == OK)
            surveys[json_i64_or(one, "shard", 0)] = one;
        at = line_end + 1;
    }
    if (e->code == OK)
        IGNORE(encode_fit(&w->dataset, &w->doc->spec.data, surveys, &w->encoding, e));
    for (size_t i = 0; i < shards; i++)
        json_decref(surveys[i]);
    return comm_agree(w->comm, e);
}

static enum err_code open_model(struct worker *w, struct err *e)
{
    const struct job_spec *spec = &w->doc->spec;
    size_t leaf_batch = (size_t)(spec->train.batch / spec->train.leaves);
    struct model_config config = {
        .width = w->encoding.width,
        .hidden_count = spec->model.hidden_count,
        .classes = w->encoding.class_count,
        .dropout = spec->model.dropout,
        .records_max = MAX(leaf_batch, (size_t)PREDICT_RECORDS),
        .slices = (size_t)spec->train.leaves,
    };
    struct step_config step = {
        .seed = (uint64_t)spec->train.seed,
        .leaves = (size_t)spec->train.leaves,
        .exact = spec->train.reduce == REDUCE_EXACT,
        .weight_decay = spec->train.weight_decay,
        .beta1 = spec->train.beta1,
        .beta2 = spec->train.beta2,
        .epsilon = spec->train.epsilon,
        .clip = spec->train.clip,
    };
    struct loader_config loader = {
        .seed = spec->train.seed,
        .leaves = (uint32_t)spec->train.leaves,
        .own = leaves_of_rank(w->comm->rank, w->comm->size, (size_t)spec->train.leaves),
        .leaf_batch = leaf_batch,
        .holdout = spec->data.holdout,
    };

    for (size_t i = 0; i < config.hidden_count; i++)
        config.hidden[i] = (size_t)spec->model.hidden[i];
    shards_set_encoding(w->shards, &w->encoding);
    IGNORE(model_open("mlp", &config, w->device, &w->model, e));
    if (comm_agree(w->comm, e) || step_open(&step, w->model, w->comm, &w->step, e))
        return e->code;
    IGNORE(loader_open(&loader, &w->dataset, w->shards, w->encoding.width, &w->loader, e));
    if (comm_agree(w->comm, e))
        return e->code;
    w->pulse.epochs = spec->train.epochs;
    w->pulse.steps = spec->train.epochs * loader_steps_per_epoch(w->loader);
    w->schedule = (struct schedule){
        .kind = spec->train.schedule == SCHEDULE_COSINE ? SCHEDULE_KIND_COSINE : SCHEDULE_KIND_CONSTANT,
        .peak = spec->train.lr,
        .warmup = spec->train.warmup,
        .steps = w->pulse.steps,
    };
    return OK;
}

static void close_model(struct worker *w)
{
    loader_close(TAKE(w->loader));
    step_close(TAKE(w->step));
    model_close(TAKE(w->model));
    encoding_done(&w->encoding);
}

static void report_rejected(void *context, const char *manifest_key, const char *why)
{
    struct worker *w = context;
    log_warn("checkpoint.rejected", "manifest=%s why=\"%s\"", manifest_key, why);
    tell(w, "checkpoint.rejected", json_pack("{s:s,s:s}", "manifest", manifest_key, "why", why), NULL, NULL);
}

/* The encoding, and what a result says that no further step may change. */
static enum err_code read_meta(struct worker *w, const json_t *meta, struct err *e)
{
    static const char what[] = "checkpoint meta";
    json_t *encoding;
    const char *loss;

    if (json_get_object(meta, what, "encoding", &encoding, e) ||
        json_get_text(meta, what, "loss", &loss, e) ||
        encoding_from_json(encoding, &w->dataset, &w->encoding, e))
        return e->code;
    if (parse_f64(loss, &w->pulse.loss, e))
        return err_set(e, ERR_CORRUPT, "%s: 'loss' is no number", what);
    return OK;
}

static enum err_code try_restore(struct worker *w, const struct artifact *a, struct err *e)
{
    IGNORE(read_meta(w, a->meta, e));
    if (comm_agree(w->comm, e) || open_model(w, e))
        return e->code;
    return checkpoint_restore(&w->place, w->comm, a, w->step, e);
}

/* From the newest checkpoint that verifies whole; *out_step 0 where there is none. */
static enum err_code resume(struct worker *w, int64_t *out_step, struct err *e)
{
    char before[STORE_KEY_BYTES] = "";
    size_t passed_over = 0;

    for (;;) {
        CLEANUP(artifact_done) struct artifact a = { 0 };
        bool found;
        if (checkpoint_find(&w->place, w->comm, before, &found, &a, &passed_over, report_rejected, w, e))
            return e->code;
        *out_step = 0;
        /* To start anew behind the user's back would throw work away, and hide what happened to it. */
        if (!found && passed_over > 0)
            return err_set(
                e, ERR_CORRUPT,
                "none of the job's %zu checkpoints can be used: they were changed, or their key is "
                "another; submit the job again to start from the beginning",
                passed_over);
        if (!found)
            return OK;
        if (try_restore(w, &a, e) == OK) {
            *out_step = a.step;
            if (w->comm->rank == 0)
                log_info("checkpoint.restored", "manifest=%s step=%" PRId64, a.manifest_key, a.step);
            tell(w, "checkpoint.restored",
                 json_pack("{s:s,s:I}", "manifest", a.manifest_key, "step", (json_int_t)a.step), NULL, NULL);
            return OK;
        }
        if (e->code != ERR_CORRUPT)
            return e->code;
        if (w->comm->rank == 0)
            report_rejected(w, a.manifest_key, e->text);
        err_clear(e);
        close_model(w);
        passed_over++;
        memcpy(before, a.manifest_key, sizeof(before));
    }
}

static enum err_code prepare(struct worker *w, int64_t *out_step, struct err *e)
{
    static const char *const device_names[] = { [DEVICE_AUTO] = "auto", [DEVICE_CPU] = "cpu" };

    if (w->comm->rank == 0)
        w->line = pulse_line_new(w->doc, &clock_real, state_open);
    w->pulse.attempt = w->doc->attempt;
    w->pulse.checkpoint_step = NO_CHECKPOINT;
    progress(w, "start", true);
    IGNORE(check_stop(e) || open_stores(w, e) || load_dataset(w, e) || check_plan(w, e) ||
           device_open(device_names[w->doc->spec.resources.device], &w->device, e));
    if (comm_agree(w->comm, e))
        return e->code;
    progress(w, "restore", true);
    if (resume(w, out_step, e))
        return e->code;
    if (*out_step > 0)
        return OK;
    return fit_encoding(w, e) ? e->code : open_model(w, e);
}

/* ---- training ---- */

static json_t *describe_state(const struct worker *w)
{
    char loss[NUM_TEXT_BYTES], content[SHA256_HEX_BYTES];
    snprintf(loss, sizeof(loss), "%.17g", w->pulse.loss);
    dataset_content_digest(&w->dataset, content);
    return json_pack("{s:o,s:o,s:I,s:I,s:s,s:s}", "encoding", encoding_to_json(&w->encoding, &w->dataset),
                     "tensors", export_tensor_table(&w->model->params), "epoch", (json_int_t)w->pulse.epoch,
                     "steps", (json_int_t)w->pulse.steps, "loss", loss, "dataset_content", content);
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
    CLEANUP(json_donep) json_t *meta = describe_state(w);

    progress(w, "checkpoint", false);
    if (checkpoint_save(&w->place, w->comm, w->step, step, meta, key, e))
        return e->code;
    w->pulse.checkpoint_step = step;
    if (w->comm->rank == 0)
        log_info("checkpoint.committed", "step=%" PRId64 " manifest=%s", step, key);
    tell(w, "checkpoint.committed", json_pack("{s:s,s:I}", "manifest", key, "step", (json_int_t)step),
         job_checkpoint_key(w->doc->job, name), key);
    if (w->comm->rank == 0)
        tidy_up(w, key);
    return OK;
}

static enum err_code diverged(struct worker *w, const char *why, struct err *e)
{
    char last[64] = "there is no checkpoint yet";
    if (w->pulse.checkpoint_step != NO_CHECKPOINT)
        snprintf(last, sizeof(last), "the last good checkpoint is that of step %" PRId64,
                 w->pulse.checkpoint_step);
    w->ended = TRAINER_DIVERGED;
    return err_set(e, ERR_DEVICE, "training diverged: %s; %s; try a smaller train.lr or train.clip", why,
                   last);
}

static enum err_code fenced(struct worker *w, struct err *e)
{
    w->ended = TRAINER_FENCED;
    return err_set(e, ERR_DENIED, "another attempt of this job holds its lease");
}

/* All ranks have the same votes before them. */
static enum err_code after_votes(struct worker *w, int64_t step, const struct step_result *r, struct err *e)
{
    if (r->diverged)
        return diverged(w, r->why, e);
    if (r->vote_max == VOTE_FENCED)
        return fenced(w, e);
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

static enum err_code train(struct worker *w, int64_t from, struct err *e)
{
    const struct spec_checkpoint *rule = &w->doc->spec.checkpoint;
    int64_t began = clock_mono_ms(), records = 0;

    w->pulse.step = from;
    w->pulse.checkpoint_step = from > 0 ? from : NO_CHECKPOINT;
    for (int64_t step = from + 1; step <= w->pulse.steps; step++) {
        struct step_result r;
        if (one_step(w, step, &r, e))
            return e->code;
        records += (int64_t)r.records;
        w->pulse.step = step;
        w->pulse.epoch = (step - 1) / loader_steps_per_epoch(w->loader) + 1;
        w->pulse.loss = r.loss;
        w->pulse.records_per_second = 1000.0 * (double)records / (double)MAX(clock_mono_ms() - began, 1);
        progress(w, "train", step == from + 1); /* that it trains is told at once */
        if (after_votes(w, step, &r, e))
            return e->code;
        if (step % rule->every_steps == 0 && step < w->pulse.steps && save(w, step, e))
            return e->code;
    }
    return OK;
}

/* ---- the end ---- */

/* Rank 0: the result and its event in one commit, under the attempt's token. */
static enum err_code record_result(struct worker *w, const struct export_result *model,
                                   const struct metrics *m, struct err *e)
{
    CLEANUP(json_donep) json_t *result = export_result_json(model, m, w->pulse.steps, w->pulse.loss);
    CLEANUP(buf_done) struct buf text = BUF_INIT(64 << 10);
    char name[JOB_KEY_BYTES];

    if (json_canonical(result, &text, e))
        return e->code;
    tell(w, "model.committed", export_event_json(model), job_result_key(w->doc->job, name), buf_text(&text));
    progress(w, "done", true);
    if (w->untold.code != OK) {
        *e = w->untold;
        return e->code;
    }
    return w->fenced ? fenced(w, e) : pulse_flush(w->line, FLUSH_MS, e);
}

static enum err_code finish(struct worker *w, struct err *e)
{
    struct metrics m;
    struct export_result model = { 0 };

    progress(w, "evaluate", true);
    if (holdout_evaluate(w->comm, w->model, step_params(w->step), &w->dataset, w->shards,
                         w->doc->spec.data.holdout, w->encoding.positive, &m, e))
        return e->code;
    if (w->comm->rank == 0)
        IGNORE(export_model(&w->place, w->model, step_params(w->step), &w->encoding, &w->dataset,
                            w->pulse.steps, &m, &model, e));
    if (comm_agree(w->comm, e))
        return e->code;
    if (w->comm->rank == 0)
        IGNORE(record_result(w, &model, &m, e));
    if (comm_agree(w->comm, e) == ERR_DENIED)
        w->ended = TRAINER_FENCED;
    else if (e->code == ERR_RETRY)
        w->ended = TRAINER_STATE_AWAY;
    return e->code;
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

    if (prepare(&w, &from, e) || train(&w, from, e) || finish(&w, e)) {
        struct err ignored = ERR_INIT;
        if (w.line && !w.fenced)
            IGNORE(pulse_flush(w.line, LAST_WORDS_MS, &ignored)); /* what was refused belongs in the ledger */
    }
    if (comm->broken)
        return TRAINER_FAILED;
    return w.ended ? w.ended : exit_of(e->code);
}
