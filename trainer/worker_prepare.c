#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/stop.h"
#include "trainer/budget.h"
#include "trainer/comm_nccl.h"
#include "trainer/worker_parts.h"

#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

/* A bucket on cards costs some launches each time, and is soon through. */
enum { PREDICT_RECORDS = 1024, BUCKET_FLOATS = 1 << 20, BUCKET_FLOATS_ON_CARDS = 8 << 20 };
static const uint64_t cache_bytes = 2ULL << 30; /* rows or tokens that a rank keeps */

static enum err_code open_stores(struct worker *w, struct err *e)
{
    const struct attempt_doc *d = w->doc;
    w->data_renewal = (struct renewal){ d, SESSION_DATA, state_open };
    w->models_renewal = (struct renewal){ d, SESSION_MODELS, state_open };
    if (renewal_open_store(&w->data_renewal, &w->data, e) ||
        renewal_open_store(&w->models_renewal, &w->models, e) ||
        renewal_open_store(&w->models_renewal, &w->uploads, e) ||
        signer_from_seed(d->signing_seed, &w->signer, e) ||
        checkpoint_prefix(d->spec.checkpoint.to, w->place.prefix, e))
        return e->code;
    w->data_wait.rank = w->models_wait.rank = w->uploads_wait.rank = w->comm->rank;
    store_on_wait(w->data, worker_waits, &w->data_wait);
    store_on_wait(w->models, worker_waits, &w->models_wait);
    store_on_wait(w->uploads, worker_waits, &w->uploads_wait);
    w->place.doc = d;
    w->place.began_ms = clock_wall_ms();
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
    w->feed = feed_new(&(struct feed_place){ w->comm, &w->doc->spec, &w->dataset, w->shards });
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
    const struct plan_rule rule = plan_rule_of(spec);
    if (plan_for_dataset(&w->dataset, &rule, w->doc->first_plan_epoch, &plan, e))
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

static size_t leaf_batch(const struct job_spec *spec)
{
    return (size_t)(spec->train.batch / spec->train.leaves);
}

/* Rows are small: more of them at a time when they are only looked at. */
static size_t records_at_once(const struct job_spec *spec)
{
    return job_spec_context(spec) > 0 ? leaf_batch(spec) : MAX(leaf_batch(spec), (size_t)PREDICT_RECORDS);
}

/* The whole dataset, where it is smaller than what is kept of it. */
static uint64_t data_bytes(const struct worker *w)
{
    uint64_t records = dataset_records(&w->dataset), each = sizeof(int32_t);

    if (job_spec_context(&w->doc->spec) == 0)
        each = dataset_records(&w->dataset) > 0 ? feed_model_config(w->feed, 1).width * sizeof(float) : 0;
    return records > cache_bytes / MAX(each, 1) ? cache_bytes : records * each;
}

/* Before anything is taken: all ranks are on this machine (core/cluster has one launcher, local), and each
 * looks at its card. */
static enum err_code check_memory(struct worker *w, const struct model_config *config, struct err *e)
{
    const struct budget_question q = { .kind = w->feed->ops->model,
                                       .config = config,
                                       .spec = &w->doc->spec,
                                       .device = w->device,
                                       .ranks = (size_t)w->comm->size,
                                       .data_bytes = data_bytes(w) };
    char rows[256], total[NUM_TEXT_BYTES], card[NUM_TEXT_BYTES];
    struct budget b;

    if (budget_make(&q, &b, e))
        return comm_agree(w->comm, e);
    if (w->comm->rank == 0) {
        budget_text(&b, rows, sizeof(rows));
        log_info("memory.plan", "ranks=%d each=\"%s\" of=\"%s\" on_card=\"%s\"", w->comm->size,
                 format_size(b.total, total), rows, format_size(b.card, card));
        IGNORE(budget_check(&b, (size_t)w->comm->size, budget_available(), e));
    }
    if (e->code == OK)
        IGNORE(budget_check_card(&b, device_room(w->device), e));
    return comm_agree(w->comm, e);
}

static enum err_code open_model_alone(struct worker *w, const struct model_config *config, struct err *e)
{
    if (check_memory(w, config, e))
        return e->code;
    IGNORE(model_open(w->feed->ops->model, config, w->device, &w->model, e));
    return comm_agree(w->comm, e);
}

/* `blank`: its parameters are filled by the caller. */
static enum err_code open_model(struct worker *w, bool blank, struct err *e)
{
    const struct job_spec *spec = &w->doc->spec;
    struct model_config config = feed_model_config(w->feed, records_at_once(spec));
    struct step_config step = {
        .seed = (uint64_t)spec->train.seed,
        .blank = blank,
        .leaves = (size_t)spec->train.leaves,
        .exact = spec->train.reduce == REDUCE_EXACT,
        .bucket = w->cards ? BUCKET_FLOATS_ON_CARDS : BUCKET_FLOATS,
        .weight_decay = spec->train.weight_decay,
        .beta1 = spec->train.beta1,
        .beta2 = spec->train.beta2,
        .epsilon = spec->train.epsilon,
        .clip = spec->train.clip,
        .explode = spec->train.explode,
    };
    struct loader_config loader = {
        .seed = spec->train.seed,
        .leaves = (uint32_t)spec->train.leaves,
        .own = leaves_of_rank(w->comm->rank, w->comm->size, (size_t)spec->train.leaves),
        .leaf_batch = leaf_batch(spec),
        .holdout = spec->data.holdout,
        .width = config.width,
        .context = (size_t)job_spec_context(spec),
        .epochs = spec->train.epochs,
    };

    if (open_model_alone(w, &config, e) ||
        step_open(&step, w->model, w->cards ? w->cards : w->comm, &w->step, e))
        return e->code;
    IGNORE(loader_open(&loader, &w->dataset, w->shards, &w->loader, e));
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
}

static void report_rejected(void *context, const char *manifest_key, const char *why)
{
    struct worker *w = context;
    log_warn("checkpoint.rejected", "manifest=%s why=\"%s\"", manifest_key, why);
    worker_tell(w, "checkpoint.rejected", json_pack("{s:s,s:s}", "manifest", manifest_key, "why", why), NULL,
                NULL);
}

/* How the feed was fitted, and what a result says that no further step may change. */
static enum err_code read_meta(struct worker *w, const json_t *meta, struct err *e)
{
    static const char what[] = "checkpoint meta";
    json_t *file;
    const char *loss;

    if (json_get_object(meta, what, "file", &file, e) || json_get_text(meta, what, "loss", &loss, e) ||
        feed_restore(w->feed, file, e))
        return e->code;
    if (parse_f64(loss, &w->pulse.loss, e))
        return err_set(e, ERR_CORRUPT, "%s: 'loss' is no number", what);
    return OK;
}

static enum err_code try_restore(struct worker *w, const struct artifact *a, struct err *e)
{
    IGNORE(read_meta(w, a->meta, e));
    if (comm_agree(w->comm, e) || open_model(w, true, e))
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
        int64_t began_ms = clock_mono_ms();
        if (try_restore(w, &a, e) == OK) {
            *out_step = a.step;
            if (w->comm->rank == 0)
                log_info("checkpoint.restored", "manifest=%s step=%" PRId64 " ms=%" PRId64, a.manifest_key,
                         a.step, clock_mono_ms() - began_ms);
            worker_tell(w, "checkpoint.restored",
                        json_pack("{s:s,s:I}", "manifest", a.manifest_key, "step", (json_int_t)a.step), NULL,
                        NULL);
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

/* With the parameters of model.from, or drawn. */
static enum err_code begin(struct worker *w, struct err *e)
{
    struct begun begun;

    bool from = w->doc->spec.model.from[0] != '\0';

    if (feed_fit(w->feed, e) || open_model(w, from, e))
        return e->code;
    return from ? worker_begin_from(w, step_params(w->step), &begun, e) : OK;
}

/* A model without steps: none is to be gone through. */
static enum err_code prepare_to_look(struct worker *w, int64_t *out_step, struct err *e)
{
    *out_step = 0;
    if (feed_fit(w->feed, e))
        return e->code;
    const struct model_config config = feed_model_config(w->feed, records_at_once(&w->doc->spec));
    return open_model_alone(w, &config, e);
}

/* No card, or no driver for it: on this host another attempt would find none, either, and all attempts are on
 * it (core/cluster has one launcher, local). So the first attempt says that the job asks for what is not
 * there. A later one belongs to a job that came further: the driver may only be on its way, as behind the
 * host's restart. */
static enum err_code no_device(const struct worker *w, const char *name, struct err *e)
{
    const struct err why = *e;
    char host[HOST_NAME_MAX + 1] = "";

    IGNORE(gethostname(host, sizeof(host) - 1) != 0);
    return err_set(
        e, w->doc->attempt == 1 ? ERR_USAGE : ERR_DEVICE,
        "resources.device: %s, and host %s has nothing for it: %.600s: give the host a driver and a "
        "card, or set resources.device: auto or cpu",
        name, host, why.text);
}

static enum err_code open_device(struct worker *w, struct err *e)
{
    static const char *const device_names[] = {
        [DEVICE_AUTO] = "auto", [DEVICE_CPU] = "cpu", [DEVICE_CUDA] = "cuda"
    };
    static const enum device_precision precisions[] = {
        [PRECISION_FP32] = DEVICE_FP32, [PRECISION_TF32] = DEVICE_TF32, [PRECISION_BF16] = DEVICE_BF16
    };
    const char *name = device_names[w->doc->spec.resources.device];

    if (device_open(name, &w->device, e) == ERR_NOT_FOUND)
        return no_device(w, name, e);
    if (e->code)
        return err_wrap(e, "resources.device: %s (cpu takes no card)", name);
    if (device_use_precision(w->device, precisions[w->doc->spec.train.precision], e))
        return err_wrap(e, "train.precision (fp32 goes on every device)");
    return OK;
}

static enum err_code open_cards(struct worker *w, struct err *e)
{
    char note[COMM_NOTE_BYTES];

    if (comm_for_device(w->comm, w->device, w->pins, &w->cards, note, e))
        return e->code;
    if (w->comm->rank == 0)
        log_info("comm.opened", "comm=%s note=\"%s\"", w->cards ? w->cards->ops->name : w->comm->ops->name,
                 note);
    return OK;
}

enum err_code worker_prepare(struct worker *w, int64_t *out_step, struct err *e)
{
    if (w->comm->rank == 0)
        w->line = pulse_line_new(w->doc, &clock_real, state_open);
    w->pulse.attempt = w->doc->attempt;
    w->pulse.checkpoint_step = WORKER_NO_CHECKPOINT;
    worker_progress(w, "start", true);
    if (worker_open_networks(w, e))
        return e->code;
    IGNORE(check_stop(e) || open_stores(w, e) || load_dataset(w, e) || check_plan(w, e) || open_device(w, e));
    if (comm_agree(w->comm, e))
        return e->code;
    if (w->comm->rank == 0)
        log_info("device.opened", "device=%s note=\"%s\"", device_name(w->device), device_note(w->device));
    if (worker_open_cards(w, e))
        return e->code;
    device_use_threads(w->device, (size_t)w->doc->spec.resources.cpus_per_rank);
    if (w->doc->spec.task == TASK_EVALUATE)
        return prepare_to_look(w, out_step, e);
    if (open_cards(w, e))
        return e->code;
    worker_progress(w, "restore", true);
    if (resume(w, out_step, e))
        return e->code;
    return *out_step > 0 ? OK : begin(w, e);
}
