#include "trainer/export.h"

#include "base/clock.h"
#include "base/mem.h"
#include "core/artifact/model_file.h"

#include <string.h>
#include <sys/resource.h>

json_t *export_tensor_table(const struct params *p)
{
    json_t *list = json_array();
    for (size_t i = 0; i < p->tensor_count; i++) {
        const struct param_tensor *t = &p->tensors[i];
        json_t *dims = json_array();
        for (size_t d = 0; d < t->dim_count; d++)
            json_array_append_new(dims, json_integer((json_int_t)t->dims[d]));
        json_array_append_new(list, json_pack("{s:s,s:o,s:I}", "name", t->name, "dims", dims, "first",
                                              (json_int_t)t->first));
    }
    return list;
}

static void fill_tensors(const struct params *p, const float *params, struct tensor *out)
{
    for (size_t i = 0; i < p->tensor_count; i++) {
        const struct param_tensor *t = &p->tensors[i];
        out[i] = (struct tensor){ .type = TENSOR_F32,
                                  .dim_count = t->dim_count,
                                  .data = params + t->first,
                                  .bytes = t->count * sizeof(float) };
        _Static_assert(sizeof(out[i].name) >= sizeof(t->name), "names fit");
        memcpy(out[i].name, t->name, sizeof(t->name));
        for (size_t d = 0; d < t->dim_count; d++)
            out[i].dims[d] = t->dims[d];
    }
}

static enum err_code write_file(const struct model *model, const float *params, const json_t *description,
                                struct buf *out, struct err *e)
{
    CLEANUP(freep) struct tensor *tensors = mem_array(model->params.tensor_count, sizeof(*tensors));
    CLEANUP(json_donep) json_t *metadata = NULL;

    fill_tensors(&model->params, params, tensors);
    if (model_file_metadata(description, &metadata, e))
        return e->code;
    return tensors_write(tensors, model->params.tensor_count, metadata, out, e);
}

/* What there is of figures, by name; `text`: reals as text, since they have no canonical form. */
static json_t *metrics_json(const struct metrics *m, bool text)
{
    const struct {
        const char *name;
        bool there;
        double value;
    } rows[] = {
        { "holdout_loss", m->records > 0, m->loss },
        { "holdout_accuracy", m->records > 0 && !m->of_tokens, m->accuracy },
        { "holdout_auc", m->has_auc, m->auc },
        { "holdout_perplexity", m->records > 0 && m->of_tokens, m->perplexity },
    };
    json_t *j =
        json_pack("{s:I}", m->of_tokens ? "holdout_tokens" : "holdout_records", (json_int_t)m->records);

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char digits[32];
        snprintf(digits, sizeof(digits), "%.17g", rows[i].value);
        if (rows[i].there)
            json_object_set_new(j, rows[i].name, text ? json_string(digits) : json_real(rows[i].value));
    }
    return j;
}

enum err_code export_model(const struct checkpoint_place *p, const struct model *model, const float *params,
                           const json_t *description, int64_t step, const struct metrics *metrics,
                           struct export_result *out, struct err *e)
{
    CLEANUP(buf_done) struct buf file = BUF_INIT(STORE_OBJECT_BYTES_MAX);
    CLEANUP(artifact_done) struct artifact a = { 0 };
    struct store_lock lock = checkpoint_lock(&p->doc->spec, clock_wall_ms());
    struct export_result r = { 0 };

    if (write_file(model, params, description, &file, e))
        return err_wrap(e, "model file");
    checkpoint_describe(p, ARTIFACT_MODEL, step, &a);
    a.part_count = 1;
    a.parts = mem_array(1, sizeof(*a.parts));
    a.meta = json_pack("{s:o}", "metrics", metrics_json(metrics, true));
    if (json_object_get(description, "begun_from"))
        json_object_set(a.meta, "begun_from", json_object_get(description, "begun_from"));
    if (artifact_put_part(p->store, p->doc->data_key, &a, 0, file.data, file.len, &lock, &a.parts[0], e) ||
        artifact_commit(p->store, p->signer, &a, &lock, e))
        return err_wrap(e, "model");
    memcpy(r.sha256, a.parts[0].plain_sha256, sizeof(r.sha256));
    memcpy(r.version, a.parts[0].version, sizeof(r.version));
    memcpy(r.manifest, a.manifest_key, sizeof(r.manifest));
    snprintf(r.uri, sizeof(r.uri), "s3://%s/%s", a.bucket, a.parts[0].key);
    r.bytes = file.len;
    *out = r;
    return OK;
}

json_t *export_result_json(const struct export_result *r, const struct metrics *m, int64_t steps, double loss)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    json_t *metrics = metrics_json(m, false);
    json_object_set_new(metrics, "steps", json_integer((json_int_t)steps));
    json_object_set_new(metrics, "train_loss", json_real(loss));
    return json_pack("{s:o,s:{s:s,s:s,s:s,s:s,s:I},s:I}", "metrics", metrics, "model", "sha256", r->sha256,
                     "uri", r->uri, "version", r->version, "manifest", r->manifest, "bytes",
                     (json_int_t)r->bytes, "rank0_peak_rss_kib", (json_int_t)usage.ru_maxrss);
}

json_t *export_event_json(const struct export_result *r)
{
    return json_pack("{s:s,s:s,s:s,s:s,s:I}", "sha256", r->sha256, "uri", r->uri, "version", r->version,
                     "manifest", r->manifest, "bytes", (json_int_t)r->bytes);
}
