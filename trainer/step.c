#include "trainer/step.h"

#include "base/clock.h"
#include "base/fixed.h"
#include "base/mem.h"
#include "base/rng.h"
#include "trainer/consistency.h"
#include "trainer/reducer.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* What the seed is used for here. Never changes: checkpoints go on with them. */
enum { STREAM_INIT = 0x696e6974, STREAM_DROPOUT = 0x64726f70 };

/* A leaf's loss, and the squared norm of a slice's gradient: a rank has as many of the ones as of the others.
 */
struct share {
    double loss_sum;
    uint64_t records, predicted;
    double squares;
    uint64_t bad; /* 1 + the place in the vector of the slice's first gradient that is not finite; 0: none */
};
/* What a rank tells all others, once a step; the same layout on every rank of one binary. */
struct report {
    int64_t code, vote, mark, busy_us;
    struct share shares[]; /* this rank's leaves and slices, each in order */
};

struct step {
    struct step_config config;
    struct model *model;
    struct comm *comm;
    struct device *device;
    const struct kernels *k;
    struct slice_range leaves, slices; /* this rank's */
    float *params;                     /* whole, seen by the host too */
    float *moment1, *moment2;          /* own slices */
    struct tree *tree;                 /* exact */
    struct reducer *reducer;           /* in buckets; else NULL */
    size_t final;                      /* of the last leaf's gradient: from here on it is in the sum */
    struct err on_the_way;             /* what the device met before the last leaf was done */
    float *sum, *leaf;                 /* fast: the running sum and the leaf at hand */
    double *one;                       /* a double on the device */
    size_t report_bytes;
    struct report *own_report;
    uint8_t *all_reports;
    double *by_leaf, *by_slice; /* losses and squared norms, in tree order */
    uint64_t bad;               /* of all ranks: as in struct share */
    double guess;               /* the loss where nothing is known: ln(classes) */
    int64_t *busy_us;           /* by rank */
};

void step_close(struct step *s)
{
    if (!s)
        return;
    device_free(s->device, s->params);
    device_free(s->device, s->moment1);
    device_free(s->device, s->moment2);
    device_free(s->device, s->sum);
    device_free(s->device, s->leaf);
    device_free(s->device, s->one);
    reducer_close(s->reducer);
    tree_close(s->tree);
    free(s->own_report);
    free(s->all_reports);
    free(s->by_leaf);
    free(s->by_slice);
    free(s->busy_us);
    free(s);
}

static enum err_code check_config(const struct step_config *c, const struct model *model,
                                  const struct comm *comm, struct err *e)
{
    size_t ranks = (size_t)comm->size;

    if (!is_power_of_two(ranks) || ranks > c->leaves || c->leaves != model->params.slices)
        return err_set(e, ERR_USAGE,
                       "%zu ranks cannot share %zu leaves (%zu slices): ranks are a power of two, "
                       "at most as many as leaves",
                       ranks, c->leaves, model->params.slices);
    if (!(c->beta1 >= 0 && c->beta1 < 1 && c->beta2 >= 0 && c->beta2 < 1))
        return err_set(e, ERR_USAGE, "AdamW's betas are from 0 to below 1, not %g and %g", c->beta1,
                       c->beta2);
    if (!((float)c->epsilon > 0) || !(c->weight_decay >= 0) || !(c->clip >= 0))
        return err_set(e, ERR_USAGE,
                       "AdamW's epsilon %g is to be above 0, weight decay %g and clip %g at least 0",
                       c->epsilon, c->weight_decay, c->clip);
    return OK;
}

static enum err_code take_floats(struct step *s, size_t n, bool shared, float **out, struct err *e)
{
    return shared ? device_alloc_shared(s->device, n, sizeof(float), (void **)out, e)
                  : device_alloc(s->device, n, sizeof(float), (void **)out, e);
}

static enum err_code take_memory(struct step *s, struct err *e)
{
    const struct params *p = &s->model->params;
    size_t own, ranks = (size_t)s->comm->size;
    bool by_host = ranks > 1 && !s->comm->on_device; /* ranks exchange what the host sees */
    bool overlapped = s->comm->on_device || (s->config.exact && s->comm->any_thread);

    s->leaves = leaves_of_rank(s->comm->rank, s->comm->size, s->config.leaves);
    s->slices = slices_of_rank(s->comm->rank, s->comm->size, s->config.leaves);
    own = s->slices.count * p->slice_count;
    if (take_floats(s, p->padded, true, &s->params, e) || take_floats(s, own, true, &s->moment1, e) ||
        take_floats(s, own, true, &s->moment2, e) ||
        device_alloc(s->device, 1, sizeof(double), (void **)&s->one, e))
        return e->code;
    if (s->config.exact
            ? tree_open(s->device, s->leaves.count, p->padded, by_host, &s->tree, e)
            : take_floats(s, p->padded, by_host, &s->sum, e) || take_floats(s, p->padded, false, &s->leaf, e))
        return e->code;
    if (overlapped && s->config.bucket > 0 && ranks > 1 &&
        reducer_open(s->comm, p->padded, s->config.bucket, s->config.exact, &s->reducer, e))
        return e->code;
    s->report_bytes = sizeof(struct report) + s->leaves.count * sizeof(struct share);
    s->own_report = mem_new(s->report_bytes);
    s->all_reports = mem_array(ranks, s->report_bytes);
    s->by_leaf = mem_array(s->config.leaves, sizeof(double));
    s->by_slice = mem_array(s->config.leaves, sizeof(double));
    s->busy_us = mem_array(ranks, sizeof(*s->busy_us));
    return OK;
}

enum err_code step_open(const struct step_config *config, struct model *model, struct comm *comm,
                        struct step **out, struct err *e)
{
    CLEANUP(step_closep) struct step *s = mem_new(sizeof(*s));

    *s = (struct step){ .config = *config,
                        .model = model,
                        .comm = comm,
                        .device = model->device,
                        .k = model->k,
                        .guess = fixed_log((double)model->config.classes) };
    err_clear(e);
    if (!check_config(config, model, comm, e))
        IGNORE(take_memory(s, e));
    if (comm_agree(comm, e))
        return err_wrap(e, "prepare to train %zu parameters", model->params.count);
    if (!config->blank)
        model_init(model, rng_key(config->seed, STREAM_INIT), s->params);
    *out = TAKE(s);
    return OK;
}

/* Memory of the device as the ranks exchange it. */
static float *exchanged(struct step *s, float *memory)
{
    return s->comm->on_device || s->comm->size == 1 ? memory : device_host_view(s->device, memory);
}

float *step_params(struct step *s)
{
    return device_host_view(s->device, s->params);
}

struct slice_range step_own_slices(const struct step *s)
{
    return s->slices;
}

struct step_slice step_slice(struct step *s, size_t slice)
{
    size_t count = s->model->params.slice_count;
    struct step_slice out = { .slice = slice, .first = slice * count, .count = count };

    invariant(slice < s->model->params.slices);
    out.params = step_params(s) + out.first;
    if (slice >= s->slices.first && slice < s->slices.first + s->slices.count) {
        size_t place = (slice - s->slices.first) * count;
        out.moment1 = (float *)device_host_view(s->device, s->moment1) + place;
        out.moment2 = (float *)device_host_view(s->device, s->moment2) + place;
    }
    return out;
}

enum err_code step_copy_slice(struct step *s, size_t slice, float *params, float *moment1, float *moment2,
                              struct err *e)
{
    const size_t count = s->model->params.slice_count, bytes = count * sizeof(float);
    const size_t place = (slice - s->slices.first) * count;

    invariant(slice >= s->slices.first && slice < s->slices.first + s->slices.count);
    device_get(s->device, params, s->params + slice * count, bytes);
    device_get(s->device, moment1, s->moment1 + place, bytes);
    device_get(s->device, moment2, s->moment2 + place, bytes);
    return device_sync(s->device, e) ? err_wrap(e, "copy slice %zu", slice) : OK;
}

struct device *step_device(struct step *s)
{
    return s->device;
}

enum err_code step_spread(struct step *s, struct err *e)
{
    return comm_spread(s->comm, exchanged(s, s->params), s->model->params.padded, e);
}

static uint64_t dropout_key(const struct step *s, int64_t step, size_t leaf)
{
    return rng_key(rng_key(rng_key(s->config.seed, STREAM_DROPOUT), (uint64_t)step), leaf);
}

static float *leaf_gradient(struct step *s)
{
    return s->config.exact ? tree_next(s->tree) : s->leaf;
}

static void take_leaf(struct step *s, const float *grad)
{
    if (s->config.exact)
        tree_push(s->tree);
    else
        s->k->add(s->device, s->sum, grad, s->model->params.padded);
}

static uint64_t predictions(const struct step *s, const struct batch *b)
{
    uint64_t count = 0;

    if (!s->model->ops->sequences)
        return b->n;
    for (size_t i = 0; i < b->n * b->length; i++)
        count += b->labels[i] >= 0;
    return count;
}

/* A model_final_fn: the last leaf's gradient is final from float `first` on; so is this rank's sum. */
static void leaf_is_final(void *context, size_t first)
{
    struct step *s = context;

    if (first >= s->final)
        return;
    if (s->config.exact)
        tree_push_part(s->tree, first, s->final - first);
    else
        s->k->add(s->device, s->sum + first, s->leaf + first, s->final - first);
    s->final = first;
    if (!s->comm->on_device && s->on_the_way.code == OK)
        IGNORE(device_sync(s->device, &s->on_the_way));
    reducer_ready(s->reducer, first);
}

/* Of what is not in the sum yet. */
static void zero_rest(struct step *s, float *grad, bool in_parts)
{
    s->k->zero(s->device, grad, in_parts ? s->final : s->model->params.padded);
}

static void run_leaf(struct step *s, const struct step_input *in, size_t i, bool in_parts, struct err *e)
{
    struct share *share = &s->own_report->shares[i];
    size_t leaf = s->leaves.first + i;
    float *grad = leaf_gradient(s);

    *share = (struct share){ .records = in->leaves[i].n, .predicted = predictions(s, &in->leaves[i]) };
    if (e->code == OK && model_backward(s->model, s->params, &in->leaves[i], dropout_key(s, in->step, leaf),
                                        grad, &share->loss_sum, e))
        IGNORE(err_wrap(e, "leaf %zu", leaf));
    if (e->code != OK)
        zero_rest(s, grad, in_parts);
    if (in_parts)
        leaf_is_final(s, 0);
    else
        take_leaf(s, grad);
}

/* The last of them, whose sum over the ranks begins before it is done. */
static void run_last_leaf(struct step *s, const struct step_input *in, struct err *e)
{
    s->final = s->model->params.padded;
    err_clear(&s->on_the_way);
    reducer_start(s->reducer, exchanged(s, s->config.exact ? tree_result_place(s->tree) : s->sum));
    model_on_final(s->model, leaf_is_final, s);
    run_leaf(s, in, s->leaves.count - 1, true, e);
    model_on_final(s->model, NULL, NULL);
    if (e->code == OK)
        *e = s->on_the_way;
}

/* Forward and backward of the own leaves; their gradients end up summed in the tree, or in s->sum. After a
 * failure zeros stand for the leaves that are left: the rank still takes part in the sum, so that the step
 * needs no exchange just to ask whether it will. */
static void run_leaves(struct step *s, const struct step_input *in, struct err *e)
{
    size_t whole = s->leaves.count - (s->reducer ? 1 : 0);

    if (s->config.exact)
        tree_start(s->tree);
    else
        s->k->zero(s->device, s->sum, s->model->params.padded);
    for (size_t i = 0; i < whole; i++)
        run_leaf(s, in, i, false, e);
    if (s->reducer)
        run_last_leaf(s, in, e);
}

/* Sets r->diverged, and r->why to "step 12: " and the rest. */
static void diverged(struct step_result *r, int64_t step, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void diverged(struct step_result *r, int64_t step, const char *fmt, ...)
{
    va_list ap;
    int n = snprintf(r->why, sizeof(r->why), "step %" PRId64 ": ", step);

    r->diverged = true;
    va_start(ap, fmt);
    vsnprintf(r->why + n, sizeof(r->why) - (size_t)n, fmt, ap);
    va_end(ap);
}

/* The gradient's sum over all leaves: at least the own slices of it, in their place. */
static enum err_code sum_gradient(struct step *s, float **out, struct err *e)
{
    size_t padded = s->model->params.padded;
    float *sum = exchanged(s, s->config.exact ? tree_result(s->tree) : s->sum);

    if (s->reducer        ? reducer_finish(s->reducer, e)
        : s->config.exact ? comm_sum_scatter(s->comm, sum, padded, e)
                          : comm_sum_fast(s->comm, sum, padded, e))
        return err_wrap(e, "sum the gradients");
    *out = sum;
    return OK;
}

static uint64_t first_bad(struct step *s, const float *grad, size_t first, size_t count)
{
    enum { PIECE = 4096 };
    float piece[PIECE];

    for (size_t end = first + count, n; first < end; first += n) {
        n = MIN(end - first, (size_t)PIECE);
        device_get(s->device, piece, grad + first, n * sizeof(float));
        for (size_t i = 0; i < n; i++)
            if (!isfinite(piece[i]))
                return first + i + 1;
    }
    return 0;
}

static void measure_own_slices(struct step *s, const float *grad)
{
    size_t count = s->model->params.slice_count;

    for (size_t i = 0; i < s->slices.count; i++) {
        struct share *share = &s->own_report->shares[i];
        size_t first = (s->slices.first + i) * count;
        s->k->sum_squares(s->device, s->one, grad + first, count);
        device_get(s->device, &share->squares, s->one, sizeof(double));
        if (!isfinite(share->squares))
            share->bad = first_bad(s, grad, first, count);
    }
}

static void read_report(struct step *s, int rank, const struct report *report, struct step_result *r)
{
    size_t leaf = leaves_of_rank(rank, s->comm->size, s->config.leaves).first;
    size_t slice = slices_of_rank(rank, s->comm->size, s->config.leaves).first;

    r->vote_max = MAX(r->vote_max, report->vote);
    r->mark_min = MIN(r->mark_min, report->mark);
    s->busy_us[rank] = report->busy_us;
    for (size_t i = 0; i < s->leaves.count; i++) {
        s->by_leaf[leaf + i] = report->shares[i].loss_sum;
        s->by_slice[slice + i] = report->shares[i].squares;
        if (report->shares[i].bad && (!s->bad || report->shares[i].bad < s->bad))
            s->bad = report->shares[i].bad;
        r->records += report->shares[i].records;
        r->predicted += report->shares[i].predicted;
    }
}

/* All ranks' reports become the step's loss, norm, records and vote. A rank's failure becomes everybody's. */
static enum err_code share_reports(struct step *s, const struct step_input *in, struct step_result *r,
                                   struct err *e)
{
    struct err e_comm = ERR_INIT;
    bool failed = false;

    s->bad = 0;
    s->own_report->code = e->code;
    s->own_report->vote = in->vote;
    s->own_report->mark = in->mark;
    s->own_report->busy_us = in->waited_us + r->times.compute_us;
    if (comm_gather(s->comm, s->own_report, s->report_bytes, s->all_reports, &e_comm)) {
        *e = e_comm;
        return e->code;
    }
    r->vote_max = in->vote;
    r->mark_min = in->mark;
    r->busy_us = s->busy_us;
    for (int rank = 0; rank < s->comm->size; rank++) {
        const struct report *report = (const void *)(s->all_reports + (size_t)rank * s->report_bytes);
        failed = failed || report->code != OK;
        read_report(s, rank, report, r);
    }
    if (failed)
        return comm_agree(s->comm, e);
    if (r->predicted == 0)
        return OK;
    r->loss = tree_sum_f64(s->by_leaf, s->config.leaves) / (double)r->predicted;
    r->norm = sqrt(tree_sum_f64(s->by_slice, s->config.leaves)) / (double)r->predicted;
    return OK;
}

static void look_for_divergence(const struct step *s, int64_t step, struct step_result *r)
{
    const char *tensor = s->bad ? params_tensor_at(&s->model->params, s->bad - 1)->name : NULL;
    const char *begin = tensor ? "; the first gradient that is no number is in '" : "",
               *end = tensor ? "'" : "";

    for (size_t leaf = 0; leaf < s->config.leaves; leaf++)
        if (!isfinite(s->by_leaf[leaf])) {
            r->norm = 0;
            diverged(r, step, "the loss of leaf %zu is %g%s%s%s", leaf, s->by_leaf[leaf], begin,
                     tensor ? tensor : "", end);
            return;
        }
    if (!isfinite(r->norm))
        diverged(r, step, "the gradient's norm is %g%s%s%s", r->norm, begin, tensor ? tensor : "", end);
    else if (s->config.explode > 0 && r->loss > s->config.explode * s->guess)
        diverged(r, step, "the loss is %g, and that of a guess %g", r->loss, s->guess);
}

/* AdamW on the own slices, then everybody gets them. */
static enum err_code update(struct step *s, const struct step_input *in, const struct step_result *r,
                            const float *grad, struct err *e)
{
    const struct step_config *c = &s->config;
    double clip = c->clip > 0 && r->norm > c->clip ? c->clip / r->norm : 1;
    size_t count = s->model->params.slice_count, first = s->slices.first * count;
    struct adamw a = { .lr = (float)in->lr,
                       .beta1 = (float)c->beta1,
                       .beta2 = (float)c->beta2,
                       .epsilon = (float)c->epsilon,
                       .weight_decay = (float)c->weight_decay,
                       .grad_scale = (float)(clip / (double)r->predicted) };

    adamw_prepare(&a, in->step);
    s->k->adamw(s->device, s->params + first, s->moment1, s->moment2, grad + first, s->slices.count * count,
                &a);
    return step_spread(s, e) ? err_wrap(e, "spread the parameters") : OK;
}

/* The time since *io_at_us, which is now afterwards. */
static int64_t lap(int64_t *io_at_us)
{
    int64_t before = *io_at_us;

    *io_at_us = clock_mono_us();
    return *io_at_us - before;
}

/* Three exchanges: the gradients' sum, the reports, the new parameters. */
static enum err_code run(struct step *s, const struct step_input *in, struct step_result *r, struct err *e)
{
    struct err e_comm = ERR_INIT;
    float *grad = NULL;
    int64_t at_us = clock_mono_us();

    run_leaves(s, in, e); // a failure is told to all in the report
    r->times.compute_us = lap(&at_us);
    if (sum_gradient(s, &grad, &e_comm)) {
        *e = e_comm;
        return e->code;
    }
    invariant(grad != NULL);
    measure_own_slices(s, grad);
    if (e->code ==
        OK) /* what befell the device behind the leaves: else its numbers would be taken for a divergence */
        IGNORE(device_sync(s->device, e));
    if (share_reports(s, in, r, e))
        return e->code;
    r->times.reduce_us = lap(&at_us);
    look_for_divergence(s, in->step, r);
    if (r->diverged || r->predicted == 0)
        return OK;
    if (in->compare && consistency_check(s->comm, &s->model->params, step_params(s), e))
        return e->code;
    if (update(s, in, r, grad, e))
        return e->code;
    if (device_sync(s->device, e)) { /* nobody is told of it any more in this step */
        comm_break(s->comm);
        return e->code;
    }
    r->times.update_us = lap(&at_us);
    return OK;
}

enum err_code step_run(struct step *s, const struct step_input *in, struct step_result *out, struct err *e)
{
    struct step_result r = { 0 };

    invariant(in->step >= 1);
    err_clear(e);
    if (run(s, in, &r, e))
        return err_wrap(e, "step %" PRId64, in->step);
    *out = r;
    return OK;
}
