#include "tests/fake/small_job.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"

#include <stdio.h>
#include <string.h>

static const struct step_config step_config = { .seed = 3,
                                                .leaves = SMALL_LEAVES,
                                                .exact = true,
                                                .weight_decay = 0.1,
                                                .beta1 = 0.9,
                                                .beta2 = 0.999,
                                                .epsilon = 1e-8 };

static void open_step(struct small_job *j)
{
    struct err e = ERR_INIT;
    const struct model_config config = { .width = SMALL_WIDTH,
                                         .hidden = { 5 },
                                         .hidden_count = 1,
                                         .classes = SMALL_CLASSES,
                                         .records_max = SMALL_RECORDS,
                                         .slices = SMALL_LEAVES };
    assert_ok(model_open("mlp", &config, j->device, &j->model, &e));
    assert_ok(step_open(&step_config, j->model, j->comm, &j->step, &e));
}

static void close_step(struct small_job *j)
{
    step_close(TAKE(j->step));
    model_close(TAKE(j->model));
}

static void make_doc(struct small_job *j)
{
    struct attempt_doc *d = &j->doc;
    char *folder = j->keys_config.dir;

    snprintf(d->cluster, sizeof(d->cluster), "eu-1");
    snprintf(d->region, sizeof(d->region), "eu");
    snprintf(d->job, sizeof(d->job), "261122-k3m9qz");
    snprintf(d->models.place.bucket, sizeof(d->models.place.bucket), "models");
    d->models.place.kind = STORE_MEM;
    d->token = 1795000000000;
    memset(d->dataset_digest, 'a', 64);
    memset(d->spec_digest, 'b', 64);
    d->spec.train.leaves = SMALL_LEAVES;
    d->spec.checkpoint.keep = 3;
    snprintf(folder, sizeof(j->keys_config.dir), "build/test-keys-XXXXXX");
    assert_non_null(mkdtemp(folder));
}

struct small_job *small_job_new(void)
{
    struct err e = ERR_INIT;
    struct small_job *j = mem_new(sizeof(*j));
    CLEANUP(secret_freep) struct secret *seed = secret_random(32);

    assert_ok(dir_make("build", 0755, &e));
    make_doc(j);
    assert_ok(device_open("cpu", &j->device, &e));
    j->comm = comm_self_new();
    assert_ok(store_open(&j->doc.models.place, NULL, &j->store, &e));
    assert_ok(keys_open(&j->keys_config, NULL, &j->keys, &e));
    assert_ok(keys_create(j->keys, "demo", &e));
    assert_ok(signer_from_seed(seed, &j->signer, &e));
    j->place = (struct checkpoint_place){
        .doc = &j->doc, .store = j->store, .signer = &j->signer, .began_ms = INT64_MAX
    };
    snprintf(j->place.prefix, sizeof(j->place.prefix), "credit");
    for (size_t i = 0; i < ARRAY_LEN(j->features); i++)
        j->features[i] = (float)rng_normal(21, i);
    for (size_t i = 0; i < ARRAY_LEN(j->labels); i++)
        j->labels[i] = (int32_t)rng_below(22, i, SMALL_CLASSES);
    small_job_next_attempt(j);
    return j;
}

void small_job_next_attempt(struct small_job *j)
{
    struct err e = ERR_INIT;
    struct keys_context context;
    CLEANUP(buf_done) struct buf wrapped = BUF_INIT(KEYS_WRAPPED_BYTES_MAX - 1);

    close_step(j);
    j->doc.attempt++;
    j->doc.token += 1000;
    if (j->doc.data_key) {
        struct attempt_key *before = &j->doc.earlier[j->doc.earlier_count++];
        *before = (struct attempt_key){ .attempt = j->doc.attempt - 1, .token = j->doc.token - 1000 };
        before->key = TAKE(j->doc.data_key);
    }
    artifact_key_context(j->doc.cluster, j->doc.region, j->doc.job, &context);
    assert_ok(keys_generate(j->keys, "demo", &context, &j->doc.data_key, &wrapped, &e));
    snprintf(j->doc.wrapped_key, sizeof(j->doc.wrapped_key), "%s", buf_text(&wrapped));
    open_step(j);
}

void small_job_train(struct small_job *j, int64_t from, int64_t to)
{
    struct err e = ERR_INIT;
    struct step_result r;
    struct batch leaves[SMALL_LEAVES];
    size_t each = SMALL_RECORDS / SMALL_LEAVES;

    for (size_t i = 0; i < SMALL_LEAVES; i++)
        leaves[i] = (struct batch){ .n = each,
                                    .features = j->features + i * each * SMALL_WIDTH,
                                    .labels = j->labels + i * each };
    for (int64_t step = from; step <= to; step++) {
        struct step_input in = { .step = step, .lr = 0.01, .leaves = leaves };
        assert_ok(step_run(j->step, &in, &r, &e));
    }
}

/* FNV-1a, 64 bits. */
static uint64_t digest(uint64_t h, const void *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        h = (h ^ ((const uint8_t *)data)[i]) * 0x100000001b3;
    return h;
}

uint64_t small_job_digest(const struct small_job *j)
{
    uint64_t h = 0xcbf29ce484222325;
    for (size_t i = 0; i < SMALL_LEAVES; i++) {
        struct step_slice s = step_slice(j->step, i);
        h = digest(h, s.params, s.count * sizeof(float));
        h = digest(h, s.moment1, s.count * sizeof(float));
        h = digest(h, s.moment2, s.count * sizeof(float));
    }
    return h;
}

enum err_code small_job_save(struct small_job *j, int64_t step, json_t *meta, char key[STORE_KEY_BYTES],
                             struct err *e)
{
    CLEANUP(saver_closep) struct saver *s = NULL;
    struct saver_result r;

    if (saver_open(&j->place, j->comm, j->step, false, &s, e))
        return e->code;
    saver_begin(s, step, json_incref(meta), 0);
    if (saver_finish(s, &r, e))
        return e->code;
    assert_true(r.committed);
    memcpy(key, r.key, STORE_KEY_BYTES);
    return OK;
}

void small_job_forget_keys(struct small_job *j)
{
    for (size_t i = 0; i < j->doc.earlier_count; i++)
        secret_free(TAKE(j->doc.earlier[i].key));
    j->doc.earlier_count = 0;
}

void small_job_free(struct small_job *j)
{
    struct err ignored = ERR_INIT;
    if (!j)
        return;
    small_job_forget_keys(j);
    IGNORE(keys_destroy(j->keys, "demo", 1, &ignored));
    rmdir(j->keys_config.dir);
    close_step(j);
    comm_close(j->comm);
    device_close(j->device);
    keys_close(j->keys);
    signer_done(&j->signer);
    secret_free(j->doc.data_key);
    store_close(j->store);
    free(j);
}
