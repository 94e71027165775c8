#include "trainer/export.h"

#include "base/clock.h"
#include "base/mem.h"
#include "core/artifact/model_file.h"

#include <string.h>
#include <sys/resource.h>

enum { MODEL_BYTES_MAX = STORE_OBJECT_BYTES_MAX };

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

static enum err_code write_file(const struct model *model, const float *params,
                                const struct encoding *encoding, const struct dataset *dataset,
                                struct buf *out, struct err *e)
{
    CLEANUP(freep) struct tensor *tensors = mem_array(model->params.tensor_count, sizeof(*tensors));
    CLEANUP(json_donep) json_t *shape = encoding_to_json(encoding, dataset);
    CLEANUP(json_donep) json_t *metadata = NULL;
    char content[SHA256_HEX_BYTES];

    fill_tensors(&model->params, params, tensors);
    dataset_content_digest(dataset, content);
    if (model_file_metadata(shape, content, &metadata, e))
        return e->code;
    return tensors_write(tensors, model->params.tensor_count, metadata, out, e);
}

/* Reals have no canonical form: a manifest holds them as text. */
static json_t *metrics_text(const struct metrics *m)
{
    char loss[32], accuracy[32], auc[32];
    snprintf(loss, sizeof(loss), "%.17g", m->loss);
    snprintf(accuracy, sizeof(accuracy), "%.17g", m->accuracy);
    snprintf(auc, sizeof(auc), "%.17g", m->auc);
    return json_pack("{s:I,s:s,s:s,s:s}", "holdout_records", (json_int_t)m->records, "holdout_loss",
                     m->records ? loss : "", "holdout_accuracy", m->records ? accuracy : "", "holdout_auc",
                     m->has_auc ? auc : "");
}

enum err_code export_model(const struct checkpoint_place *p, const struct model *model, const float *params,
                           const struct encoding *encoding, const struct dataset *dataset, int64_t step,
                           const struct metrics *metrics, struct export_result *out, struct err *e)
{
    CLEANUP(buf_done) struct buf file = BUF_INIT(MODEL_BYTES_MAX);
    CLEANUP(artifact_done) struct artifact a = { 0 };
    struct store_lock lock = checkpoint_lock(&p->doc->spec, clock_wall_ms());
    struct export_result r = { 0 };

    if (write_file(model, params, encoding, dataset, &file, e))
        return err_wrap(e, "model file");
    checkpoint_describe(p, ARTIFACT_MODEL, step, &a);
    a.part_count = 1;
    a.parts = mem_array(1, sizeof(*a.parts));
    a.meta = json_pack("{s:o}", "metrics", metrics_text(metrics));
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
    json_t *metrics = json_pack("{s:I,s:I,s:f}", "steps", (json_int_t)steps, "holdout_records",
                                (json_int_t)m->records, "train_loss", loss);
    if (m->records) {
        json_object_set_new(metrics, "holdout_loss", json_real(m->loss));
        json_object_set_new(metrics, "holdout_accuracy", json_real(m->accuracy));
    }
    if (m->has_auc)
        json_object_set_new(metrics, "holdout_auc", json_real(m->auc));
    return json_pack("{s:o,s:{s:s,s:s,s:s,s:s,s:I},s:I}", "metrics", metrics, "model", "sha256", r->sha256,
                     "uri", r->uri, "version", r->version, "manifest", r->manifest, "bytes",
                     (json_int_t)r->bytes, "rank0_peak_rss_kib", (json_int_t)usage.ru_maxrss);
}

json_t *export_event_json(const struct export_result *r)
{
    return json_pack("{s:s,s:s,s:s,s:s,s:I}", "sha256", r->sha256, "uri", r->uri, "version", r->version,
                     "manifest", r->manifest, "bytes", (json_int_t)r->bytes);
}
