/* task: evaluate. The model is there; its parameters are read, and nothing of them is changed or kept. */
#include "trainer/export.h"
#include "trainer/worker_parts.h"

#include <math.h>
#include <sys/resource.h>

struct looked_at {
    struct device *device;
    float *params; /* owned, of the device */
};

static void looked_at_done(struct looked_at *l)
{
    device_free(l->device, l->params);
}

static enum err_code take_memory(struct worker *w, struct looked_at *out, float **out_host, struct err *e)
{
    out->device = w->device;
    if (device_alloc_shared(w->device, w->model->params.padded, sizeof(float), (void **)&out->params, e))
        return e->code;
    *out_host = device_host_view(w->device, out->params);
    return *out_host ? OK : err_set(e, ERR_DEVICE, "device '%s' has no host memory", device_name(w->device));
}

static json_t *model_json(const struct worker *w, const struct begun *b)
{
    return json_pack("{s:s,s:s,s:s,s:I}", "uri", w->doc->spec.model.from, "version", b->version, "sha256",
                     b->sha256, "bytes", (json_int_t)b->bytes);
}

static enum err_code record(struct worker *w, const struct begun *b, const struct metrics *m, struct err *e)
{
    CLEANUP(json_donep)
    json_t *result = json_pack("{s:{s:I,s:f,s:f},s:o}", "metrics", "tokens", (json_int_t)m->records, "loss",
                               m->loss, "perplexity", m->perplexity, "model", model_json(w, b));
    json_t *event = model_json(w, b);
    char loss[32], perplexity[32];
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    json_object_set_new(result, "rank0_peak_rss_kib", json_integer(usage.ru_maxrss));
    snprintf(loss, sizeof(loss), "%.17g", m->loss);
    snprintf(perplexity, sizeof(perplexity), "%.17g", m->perplexity);
    json_object_set_new(event, "tokens", json_integer((json_int_t)m->records));
    json_object_set_new(event, "loss", json_string(loss));
    json_object_set_new(event, "perplexity", json_string(perplexity));
    return worker_record(w, "model.evaluated", event, result, e);
}

enum err_code worker_evaluate(struct worker *w, struct err *e)
{
    CLEANUP(looked_at_done) struct looked_at at = { .params = NULL };
    double holdout = w->doc->spec.data.holdout;
    float *host = NULL;
    struct begun begun;
    struct metrics m;

    worker_progress(w, "restore", true);
    IGNORE(take_memory(w, &at, &host, e));
    if (comm_agree(w->comm, e) || worker_begin_from(w, host, &begun, e))
        return e->code;
    worker_progress(w, "evaluate", true);
    if (feed_evaluate(w->feed, w->model, at.params, holdout > 0 ? holdout : 1, &m, e))
        return e->code;
    if (m.records == 0)
        return err_set(e, ERR_USAGE,
                       "nothing to evaluate on: no shard's %s has a whole sequence of model.context + 1 "
                       "tokens",
                       holdout > 0 ? "hold-out part" : "data");
    if (!isfinite(m.loss) || !isfinite(m.perplexity))
        return err_set(e, ERR_USAGE, "model.from: its loss on this data is %g: it is no model of it", m.loss);
    if (w->comm->rank == 0)
        IGNORE(record(w, &begun, &m, e));
    return comm_agree(w->comm, e) ? worker_untold(w, e) : OK;
}
