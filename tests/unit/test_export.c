/*
 * The finished model: one safetensors file with everything that predicting takes, sealed, signed, or not
 * there.
 */
#include "core/artifact/rewrap.h"
#include "tests/fake/small_job.h"

#include "base/mem.h"
#include "trainer/encode.h"
#include "trainer/export.h"

#include <stdio.h>
#include <string.h>

struct setup {
    struct small_job *job;
    struct dataset dataset;
    struct dataset_column columns[SMALL_WIDTH + 1];
    struct encoding encoding;
    struct metrics metrics;
};

static void make_encoding(struct setup *s)
{
    struct encoding *c = &s->encoding;

    c->column_count = SMALL_WIDTH;
    c->columns = mem_array(SMALL_WIDTH, sizeof(*c->columns));
    for (size_t i = 0; i < SMALL_WIDTH; i++) {
        snprintf(s->columns[i].name, sizeof(s->columns[i].name), "n%zu \"x\"", i);
        memcpy(c->columns[i].name, s->columns[i].name, sizeof(c->columns[i].name));
        c->columns[i].source = i;
        c->columns[i].kind = s->columns[i].kind = COLUMN_NUMERIC;
        c->columns[i].mean = 0.1 * (double)i;
        c->columns[i].scale = 2;
    }
    s->columns[SMALL_WIDTH] = (struct dataset_column){ "class", COLUMN_CATEGORY };
    c->target = SMALL_WIDTH;
    c->class_count = SMALL_CLASSES;
    c->classes = mem_array(SMALL_CLASSES, sizeof(*c->classes));
    c->classes[0] = mem_text("bad");
    c->classes[1] = mem_text("good");
    encoding_place(c);
    s->dataset = (struct dataset){ .columns = s->columns, .column_count = SMALL_WIDTH + 1 };
}

static int begin(void **state)
{
    struct setup *s = mem_new(sizeof(*s));
    s->job = small_job_new();
    make_encoding(s);
    s->metrics =
        (struct metrics){ .records = 20, .loss = 0.1, .accuracy = 0.75, .has_auc = true, .auc = 0.8 };
    small_job_train(s->job, 1, 2);
    *state = s;
    return 0;
}

static int end(void **state)
{
    struct setup *s = *state;
    encoding_done(&s->encoding);
    small_job_free(s->job);
    free(s);
    return 0;
}

/* As the feed of rows describes it (trainer/feed_rows.c). */
static json_t *describe(const struct setup *s)
{
    char content[65];
    dataset_content_digest(&s->dataset, content);
    return json_pack("{s:s,s:{s:s},s:o,s:s}", "format", "sovrun.mlp.v1", "model", "kind", "mlp", "encoding",
                     encoding_to_json(&s->encoding, &s->dataset), "dataset_content", content);
}

static enum err_code export(struct setup *s, struct export_result *r, struct err *e) {
    CLEANUP(json_donep) json_t *description = describe(s);
    return export_model(&s->job->place, s->job->model, step_params(s->job->step), description, 2, &s->metrics,
                        r, e);
}

/* The manifest's artifact and the opened file, as a reader gets them. */
static void read_back(struct setup *s, const struct export_result *r, struct artifact *a, struct buf *file)
{
    struct err e = ERR_INIT;
    struct artifact_trust trust = { .count = 1 };
    CLEANUP(secret_freep) struct secret *key = NULL;

    memcpy(trust.public_key[0], s->job->signer.public_key, SIGN_PUBLIC_BYTES);
    assert_ok(artifact_load(s->job->store, r->manifest, &trust, a, &e));
    assert_ok(artifact_unwrap(s->job->store, s->job->keys, &trust, a, &key, &e));
    assert_ok(artifact_get_part(s->job->store, key, a, 0, file, &e));
}

static void the_file_holds_the_model_by_its_tensors_names(void **state)
{
    struct setup *s = *state;
    struct err e = ERR_INIT;
    struct export_result r;
    CLEANUP(artifact_done) struct artifact a = { 0 };
    CLEANUP(buf_done) struct buf file = BUF_INIT(1 << 20);
    CLEANUP(tensors_done) struct tensors t = { 0 };
    const struct params *p = &s->job->model->params;

    assert_ok(export(s, &r, &e));
    read_back(s, &r, &a, &file);
    assert_ok(tensors_read(file.data, file.len, &t, &e));
    assert_int_equal(t.count, p->tensor_count);
    for (size_t i = 0; i < p->tensor_count; i++) {
        const struct tensor *tensor = tensors_find(&t, p->tensors[i].name);
        assert_non_null(tensor);
        assert_int_equal(tensor->type, TENSOR_F32);
        assert_int_equal(tensor->dim_count, p->tensors[i].dim_count);
        assert_int_equal(tensor->dims[0], p->tensors[i].dims[0]);
        assert_memory_equal(tensor->data, step_params(s->job->step) + p->tensors[i].first, tensor->bytes);
    }
    assert_non_null(tensors_find(&t, "layers.0.weight"));
}

static void the_file_says_how_to_predict(void **state)
{
    struct setup *s = *state;
    struct err e = ERR_INIT;
    struct export_result r;
    char content[65];
    CLEANUP(artifact_done) struct artifact a = { 0 };
    CLEANUP(buf_done) struct buf file = BUF_INIT(1 << 20);
    CLEANUP(tensors_done) struct tensors t = { 0 };
    CLEANUP(json_donep) json_t *encoding = NULL;
    CLEANUP(encoding_done) struct encoding back = { 0 };

    assert_ok(export(s, &r, &e));
    read_back(s, &r, &a, &file);
    assert_ok(tensors_read(file.data, file.len, &t, &e));
    const char *text = json_text_or(t.metadata, "encoding", "");
    assert_ok(json_parse(text, strlen(text), "encoding", &encoding, &e));
    assert_ok(encoding_from_json(encoding, &s->dataset, &back, &e));
    assert_int_equal(back.width, SMALL_WIDTH);
    assert_memory_equal(&back.columns[1].mean, &s->encoding.columns[1].mean, sizeof(double));
    assert_string_equal(json_text_or(t.metadata, "format", ""), "sovrun.mlp.v1");
    dataset_content_digest(&s->dataset, content);
    assert_string_equal(json_text_or(t.metadata, "dataset_content", ""), content);
}

static void the_result_names_what_was_stored(void **state)
{
    struct setup *s = *state;
    struct err e = ERR_INIT;
    struct export_result r;
    char hex[SHA256_HEX_BYTES], uri[STORE_KEY_BYTES + 80];
    CLEANUP(artifact_done) struct artifact a = { 0 };
    CLEANUP(buf_done) struct buf file = BUF_INIT(1 << 20);

    assert_ok(export(s, &r, &e));
    read_back(s, &r, &a, &file);
    sha256_hex(file.data, file.len, hex);
    assert_string_equal(r.sha256, hex);
    assert_int_equal(r.bytes, file.len);
    assert_string_equal(r.version, a.parts[0].version);
    snprintf(uri, sizeof(uri), "s3://models/%s", a.parts[0].key);
    assert_string_equal(r.uri, uri);
    assert_int_equal(a.kind, ARTIFACT_MODEL);
    assert_int_equal(a.step, 2);
    const json_t *metrics = json_object_get(a.meta, "metrics");
    assert_string_equal(json_text_or(metrics, "holdout_auc", ""), "0.80000000000000004");
    assert_int_equal(json_i64_or(metrics, "holdout_records", 0), 20);
}

static void the_file_does_not_depend_on_the_attempt(void **state)
{
    struct setup *s = *state;
    struct err e = ERR_INIT;
    struct export_result first, second;

    assert_ok(export(s, &first, &e));
    small_job_next_attempt(s->job);
    small_job_train(s->job, 1, 2);
    assert_ok(export(s, &second, &e));
    assert_string_equal(first.sha256, second.sha256);
    assert_string_not_equal(first.manifest, second.manifest);
}

static void an_encoding_of_the_largest_size_fits(void **state)
{
    struct setup *s = *state;
    struct err e = ERR_INIT;
    struct export_result r;
    struct encode_column *c = &s->encoding.columns[0];
    size_t count = 3900;
    char value[ENCODE_VALUE_BYTES_MAX + 1];

    c->kind = s->columns[0].kind = COLUMN_CATEGORY;
    c->values = mem_array(count, sizeof(*c->values));
    for (c->value_count = 0; c->value_count < count; c->value_count++) {
        memset(value, '"', sizeof(value) - 1); /* what takes most room: a quote within JSON within JSON */
        value[ENCODE_VALUE_BYTES_MAX / 2] = '\0';
        snprintf(value, 8, "%07zu", c->value_count);
        value[7] = '"';
        c->values[c->value_count] = mem_text(value);
    }
    assert_ok(export(s, &r, &e));
    assert_true(r.bytes > 3 << 20);
}

static enum err_code count_one(void *context, const struct store_info *info, struct err *e)
{
    (void)info;
    (void)e;
    ++*(int *)context;
    return OK;
}

static void what_fails_leaves_no_model(void **state)
{
    struct setup *s = *state;
    struct store *faulty = store_fault_new(s->job->store);
    enum err_code code = ERR_RETRY;
    int nth = 1;

    s->job->place.store = faulty;
    for (; code != OK; nth++) {
        struct err e = ERR_INIT;
        struct export_result r = { .sha256 = "untouched" };
        CLEANUP(freep) char(*keys)[STORE_KEY_BYTES] = NULL;
        size_t count;

        store_fault_at(faulty, nth, ERR_RETRY, false);
        code = export(s, &r, &e);
        store_fault_at(faulty, 0, OK, false);
        assert_ok(
            artifact_list(s->job->store, "credit", s->job->doc.job, ARTIFACT_MODEL, 10, &keys, &count, &e));
        assert_int_equal(count, code == OK);
        if (code != OK) {
            assert_int_equal(code, ERR_RETRY);
            assert_string_equal(r.sha256, "untouched");
            int objects = 0;
            assert_ok(store_list_versions(s->job->store, "", count_one, &objects, &e));
            assert_true(objects <= nth - 1);
        }
    }
    assert_true(nth > 3); /* a part, a manifest, and the one that worked */
    s->job->place.store = s->job->store;
    store_close(faulty);
}

static void results_have_the_metrics_that_there_are(void **state)
{
    struct setup *s = *state;
    struct export_result r = { .sha256 = "5ha", .bytes = 7 };
    struct metrics none = { 0 };
    CLEANUP(json_donep) json_t *full = export_result_json(&r, &s->metrics, 520, 0.25);
    CLEANUP(json_donep) json_t *bare = export_result_json(&r, &none, 520, 0.25);
    const json_t *metrics = json_object_get(full, "metrics");

    assert_true(json_f64_or(metrics, "holdout_auc", 0) == 0.8);
    assert_true(json_f64_or(metrics, "train_loss", 0) == 0.25);
    assert_int_equal(json_i64_or(metrics, "steps", 0), 520);
    assert_string_equal(json_text_or(json_object_get(full, "model"), "sha256", ""), "5ha");
    metrics = json_object_get(bare, "metrics");
    assert_null(json_object_get(metrics, "holdout_auc"));
    assert_null(json_object_get(metrics, "holdout_loss"));
    assert_int_equal(json_i64_or(metrics, "holdout_records", 9), 0);
}

static void the_event_can_stand_in_the_ledger(void **state)
{
    struct err e = ERR_INIT;
    struct export_result r = { .sha256 = "5ha", .bytes = 7 };
    CLEANUP(json_donep) json_t *event = export_event_json(&r);
    CLEANUP(buf_done) struct buf text = BUF_INIT(4096);
    (void)state;
    assert_ok(job_event_text("a", "model.committed", "261122-k3m9qz", 1, event, &text, &e));
}

#define ROW(name, fn)                                                                                        \
    {                                                                                                        \
        name, fn, begin, end, NULL                                                                           \
    }
static const struct CMUnitTest rows[] = {
    ROW("the file holds the model by its tensors' names", the_file_holds_the_model_by_its_tensors_names),
    ROW("the file says how to predict", the_file_says_how_to_predict),
    ROW("the result names what was stored", the_result_names_what_was_stored),
    ROW("the file does not depend on the attempt", the_file_does_not_depend_on_the_attempt),
    ROW("an encoding of the largest size fits", an_encoding_of_the_largest_size_fits),
    ROW("what fails leaves no model", what_fails_leaves_no_model),
    ROW("results have the metrics that there are", results_have_the_metrics_that_there_are),
    ROW("the event can stand in the ledger", the_event_can_stand_in_the_ledger),
};

int main(void)
{
    return cmocka_run_group_tests(rows, NULL, NULL);
}
