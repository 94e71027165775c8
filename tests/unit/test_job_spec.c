/* The job spec: what people may write, what they are told otherwise, and the form that is stored. */
#include "core/job/job_spec.h"
#include "core/job/record.h"
#include "core/store/store.h"
#include "tests/test.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Lines 1 to 3: all that must be given. */
#define MINIMAL                                                                                              \
    "name: a\n"                                                                                              \
    "data: { train: s3://bank-data/credit/v3, target: class, positive: bad }\n"                              \
    "checkpoint: { to: s3://models/credit }\n"

/* The same for a language model. */
#define GPT_DATA                                                                                             \
    "name: a\n"                                                                                              \
    "data: { train: s3://data/bible/v1, format: tokens }\n"                                                  \
    "checkpoint: { to: s3://models/bible }\n"
#define GPT GPT_DATA "model: { kind: gpt, layers: 2, heads: 2, width: 64, context: 32"

static const char full[] =
    "name: credit-risk-nightly\n"
    "queue: research\n"
    "task: train\n"
    "priority: -7\n"
    "model: { kind: mlp, hidden: [64, 32], dropout: 0.1 }\n"
    "data:\n"
    "  train: s3://bank-data/german-credit/v3\n"
    "  holdout: 0.2\n"
    "  format: csv\n"
    "  target: class\n"
    "  positive: bad\n"
    "  missing: [\"?\", \"\"]\n"
    "resources: { ranks: 2, device: auto, cpus_per_rank: 3, gpus_per_rank: 0, time_limit: 2h }\n"
    "train: { epochs: 40, batch: 64, lr: 3e-3, schedule: cosine, warmup: 20, weight_decay: 0.01,\n"
    "         beta1: 0.8, beta2: 0.99, epsilon: 1e-9, clip: 1.5, seed: 12, leaves: 16,\n"
    "         reduce: fast, precision: fp32 }\n"
    "checkpoint: { to: s3://bank-models/credit, every: 300 steps, keep: 5, lock: compliance,\n"
    "              retain: 30d, key: demo }\n"
    "retry: { max: 4, backoff: 15s }\n";

static enum err_code spec_of(const char *text, struct job_spec *out, struct err *e)
{
    CLEANUP(conf_freep) struct conf_doc *doc = NULL;
    if (conf_parse("job.yaml", text, strlen(text), &doc, e))
        return e->code;
    return job_spec_from_doc(doc, out, e);
}

static json_t *json_of(const char *text)
{
    struct err e = ERR_INIT;
    struct job_spec spec;
    assert_ok(spec_of(text, &spec, &e));
    return job_spec_to_json(&spec);
}

/* ---- what is refused, and in which words ---- */

static const struct refusal {
    const char *name, *text, *want;
} refusals[] = {
    { "a job has a name",
      "data: { train: s3://data/x, target: t, positive: p }\ncheckpoint: { to: s3://models/x }\n",
      "job.yaml: name: must be given" },
    { "a job has data", "name: a\ncheckpoint: { to: s3://models/x }\n",
      "job.yaml: data.train: must be given" },
    { "a job says what to predict",
      "name: a\ndata: { train: s3://data/x, positive: p }\ncheckpoint: { to: s3://models/x }\n",
      "job.yaml:2: data.target: must be given" },
    { "a job says which value is the positive one",
      "name: a\ndata: { train: s3://data/x, target: t }\ncheckpoint: { to: s3://models/x }\n",
      "job.yaml:2: data.positive: must be given" },
    { "a job says where checkpoints go", "name: a\ndata: { train: s3://data/x, target: t, positive: p }\n",
      "job.yaml: checkpoint.to: must be given" },
    { "an unknown setting is named with the nearest known one", MINIMAL "train: { epohcs: 3 }\n",
      "job.yaml:4: train.epohcs: no such setting; did you mean 'epochs'?" },
    { "a rate has its range", MINIMAL "train:\n  batch: 8\n  lr: 300\n",
      "job.yaml:6: train.lr: must be from 1e-12 to 100, not '300'" },
    { "a rate is more than zero", MINIMAL "train: { lr: 0 }\n",
      "job.yaml:4: train.lr: must be from 1e-12 to 100, not '0'" },
    { "dropout leaves something", MINIMAL "model: { dropout: 1 }\n",
      "job.yaml:4: model.dropout: must be from 0 to 0.95, not '1'" },
    { "priority has its range", MINIMAL "priority: 101\n",
      "job.yaml:4: priority: must be from -100 to 100, not '101'" },
    { "a layer has units", MINIMAL "model: { hidden: [64, 0] }\n",
      "job.yaml:4: model.hidden[1]: must be from 1 to 16384, not '0'" },
    { "layers are limited", MINIMAL "model: { hidden: [1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1] }\n",
      "job.yaml:4: model.hidden: must have at most 16 entries, not 17" },
    { "leaves are a power of two", MINIMAL "train: { leaves: 6 }\n",
      "job.yaml:4: train.leaves: must be a power of two (1, 2, 4, ... 1024), not 6" },
    { "leaves are limited", MINIMAL "train: { leaves: 2048 }\n",
      "job.yaml:4: train.leaves: must be from 1 to 1024, not '2048'" },
    { "ranks are a power of two", MINIMAL "resources:\n  ranks: 3\n",
      "job.yaml:5: resources.ranks: must be a power of two (1, 2, 4, ...), not 3" },
    { "each rank needs a leaf", MINIMAL "resources: { ranks: 4 }\ntrain: { leaves: 2, batch: 8 }\n",
      "job.yaml:4: resources.ranks: must be at most train.leaves (2), not 4: each rank needs a leaf" },
    { "a batch is cut evenly", MINIMAL "train: { batch: 20 }\n",
      "job.yaml:4: train.batch: must be a multiple of train.leaves (8), not 20" },
    { "a default that does not fit is named without a line", MINIMAL "train: { leaves: 128 }\n",
      "job.yaml: train.batch: must be a multiple of train.leaves (128), not 64" },
    { "a GPU is not promised", MINIMAL "resources: { gpus_per_rank: 1 }\n",
      "job.yaml:4: resources.gpus_per_rank: must be 0: a rank takes the card of its number on its "
      "host, and none is counted yet" },
    { "only bf16 is rounded by drawing", MINIMAL "train: { rounding: stochastic, precision: tf32 }\n",
      "job.yaml:4: train.rounding: stochastic is for train.precision bf16, not tf32" },
    { "data is in the store or in a file",
      "name: a\ndata: { train: /tmp/x.csv, target: t, positive: p }\n"
      "checkpoint: { to: s3://models/x }\n",
      "job.yaml:2: data.train: must start with s3:// (a staged dataset) or file:// (a file to stage)" },
    { "a file has a name",
      "name: a\ndata: { train: 'file://', target: t, positive: p }\ncheckpoint: { to: s3://models/x }\n",
      "job.yaml:2: data.train: must name a file, as in file://data.csv" },
    { "a dataset is a folder, not a bucket",
      "name: a\ndata: { train: s3://bank, target: t, positive: p }\ncheckpoint: { to: s3://models/x }\n",
      "job.yaml:2: data.train: must name a folder in the bucket, as in s3://bank/NAME" },
    { "checkpoints go to the store",
      "name: a\ndata: { train: s3://data/x, target: t, positive: p }\ncheckpoint:\n  to: file://x\n",
      "job.yaml:4: checkpoint.to: must start with s3://, as in s3://models/credit" },
    { "a missing value cannot be the positive one",
      "name: a\ndata: { train: s3://data/x, target: t, positive: '?', missing: [x, '?'] }\n"
      "checkpoint: { to: s3://models/x }\n",
      "job.yaml:2: data.positive: '?' is also listed in data.missing" },
    { "a missing value is listed once",
      "name: a\ndata: { train: s3://data/x, target: t, positive: p, missing: ['', x, ''] }\n"
      "checkpoint: { to: s3://models/x }\n",
      "job.yaml:2: data.missing: '' is listed twice" },
    { "a missing value is listed once, side by side too",
      "name: a\ndata: { train: s3://data/x, target: t, positive: p, missing: [y, x, x] }\n"
      "checkpoint: { to: s3://models/x }\n",
      "job.yaml:2: data.missing: 'x' is listed twice" },
    { "retention needs a lock",
      "name: a\ndata: { train: s3://data/x, target: t, positive: p }\n"
      "checkpoint: { to: s3://models/x, retain: 30d }\n",
      "job.yaml:3: checkpoint.retain: needs checkpoint.lock: governance or compliance" },
    { "a lock needs retention",
      "name: a\ndata: { train: s3://data/x, target: t, positive: p }\n"
      "checkpoint: { to: s3://models/x, lock: compliance }\n",
      "job.yaml:3: checkpoint.lock: needs checkpoint.retain: how long the lock holds, as in 30d" },
    { "a misspelt lock is named with the nearest known one",
      "name: a\ndata: { train: s3://data/x, target: t, positive: p }\n"
      "checkpoint: { to: s3://models/x, lock: complience }\n",
      "job.yaml:3: checkpoint.lock: must be none, governance or compliance, not 'complience'; did you mean "
      "'compliance'?" },
    { "what is a gpt's is refused for an mlp", MINIMAL "model: { kind: mlp, layers: 3 }\n",
      "job.yaml:4: model.layers: goes with model.kind gpt, not with mlp" },
    { "where to begin is a gpt's, too", MINIMAL "model: { from: s3://models/x.safetensors }\n",
      "job.yaml:4: model.from: goes with model.kind gpt, not with mlp" },
    { "what is an mlp's is refused for a gpt", GPT ", hidden: [3] }\n",
      "job.yaml:4: model.hidden: goes with model.kind mlp, not with gpt" },
    { "a gpt has its sizes", GPT_DATA "model: { kind: gpt, layers: 2, heads: 2, width: 64 }\n",
      "job.yaml:4: model.context: must be given for a gpt, or model.preset" },
    { "a preset is known", GPT_DATA "model: { kind: gpt, preset: gpt2-123M }\n",
      "job.yaml:4: model.preset: must be none, gpt2-124M, gpt2-350M, gpt2-774M or gpt2-1558M, not "
      "'gpt2-123M'; did you mean 'gpt2-124M'?" },
    { "heads divide the width", GPT_DATA "model: { kind: gpt, preset: gpt2-124M, heads: 7 }\n",
      "job.yaml: model.width: must be a multiple of model.heads (7), not 768" },
    { "rotary positions turn pairs",
      GPT_DATA "model: { kind: gpt, layers: 1, heads: 2, width: 6, context: 8, positions: rotary }\n",
      "job.yaml:4: model.positions: rotary turns pairs: model.width / model.heads must be even, not 3" },
    { "a vocabulary has two tokens", GPT ", vocab: 1 }\n", "job.yaml:4: model.vocab: must be at least 2" },
    { "a gpt reads tokens", MINIMAL "model: { kind: gpt, preset: gpt2-124M }\n",
      "job.yaml: data.format: must be tokens for model.kind gpt, not csv" },
    { "an mlp reads columns", GPT_DATA,
      "job.yaml:2: data.format: must be csv for model.kind mlp, not tokens" },
    { "tokens have no target",
      "name: a\ndata: { train: s3://data/x, format: tokens, target: t }\n"
      "checkpoint: { to: s3://models/x }\nmodel: { kind: gpt, preset: gpt2-124M }\n",
      "job.yaml:2: data.target: goes with data.format csv, not with tokens" },
    { "text is of a file",
      "name: a\ndata: { train: s3://data/x, format: text }\n"
      "checkpoint: { to: s3://models/x }\nmodel: { kind: gpt, preset: gpt2-124M }\n",
      "job.yaml:2: data.format: text is for a plain file (file://...), which is staged as tokens; a staged "
      "dataset has tokens already: data.format: tokens" },
    { "a beginning lies in the store", GPT ", from: gpt2.safetensors }\n",
      "job.yaml:4: model.from: must start with s3://, as in s3://models/gpt2.safetensors" },
    { "a beginning is a file of tensors or a manifest", GPT ", from: s3://models/gpt2.bin }\n",
      "job.yaml:4: model.from: must be a .safetensors file, or the .json manifest of a model" },
    { "to evaluate takes a model", GPT " }\ntask: evaluate\n",
      "job.yaml:4: model.from: must be given to evaluate: what is looked at" },
    { "an mlp is not evaluated by itself", MINIMAL "task: evaluate\n",
      "job.yaml:4: task: evaluate is for model.kind gpt; an mlp's figures come with its training" },
    { "an interval counts steps, not time",
      "name: a\ndata: { train: s3://data/x, target: t, positive: p }\n"
      "checkpoint: { to: s3://models/x, every: 10 minutes }\n",
      "job.yaml:3: checkpoint.every: must be from 1 to 1000000000 steps, as in '200 steps', "
      "not '10 minutes'" },
    { "an interval is at least a step",
      "name: a\ndata: { train: s3://data/x, target: t, positive: p }\n"
      "checkpoint: { to: s3://models/x, every: 0 steps }\n",
      "job.yaml:3: checkpoint.every: must be from 1 to 1000000000 steps, as in '200 steps', not '0 steps'" },
    { "a duration has its unit", MINIMAL "retry: { backoff: 10 }\n",
      "job.yaml:4: retry.backoff: must be a duration from 0s to 10m, not '10'" },
    { "a back-off is at most ten minutes", MINIMAL "retry: { backoff: 11m }\n",
      "job.yaml:4: retry.backoff: must be from 0s to 10m, not '11m'" },
};

static void bad_spec_is_refused(void **state)
{
    const struct refusal *r = *state;
    struct err e = ERR_INIT;
    struct job_spec spec;
    assert_int_equal(spec_of(r->text, &spec, &e), ERR_USAGE);
    assert_string_equal(e.text, r->want);
}

/* ---- what is read ---- */

static void full_spec_is_read(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct job_spec s;
    assert_ok(spec_of(full, &s, &e));
    assert_string_equal(s.name, "credit-risk-nightly");
    assert_string_equal(s.queue, "research");
    assert_int_equal(s.priority, -7);
    assert_int_equal(s.model.hidden_count, 2);
    assert_int_equal(s.model.hidden[1], 32);
    assert_true(s.model.dropout == 0.1 && s.data.holdout == 0.2);
    assert_int_equal(s.data.missing_count, 2);
    assert_string_equal(s.data.missing[0], "?");
    assert_string_equal(s.data.missing[1], "");
    assert_int_equal(s.resources.time_limit_ms, 2 * 60 * 60 * 1000);
    assert_int_equal(s.train.schedule, SCHEDULE_COSINE);
    assert_int_equal(s.train.reduce, REDUCE_FAST);
    assert_true(s.train.lr == 0.003 && s.train.beta2 == 0.99);
    assert_int_equal(s.checkpoint.every_steps, 300);
    assert_int_equal(s.checkpoint.lock, STORE_LOCK_COMPLIANCE);
    assert_int_equal(s.checkpoint.retain_ms, 30ll * 24 * 60 * 60 * 1000);
    assert_int_equal(s.checkpoint.deadline_ms, 10 * 60 * 1000);
    assert_int_equal(s.retry.backoff_ms, 15000);
}

static void little_is_enough(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct job_spec s;
    assert_ok(spec_of(MINIMAL, &s, &e));
    assert_string_equal(s.queue, "default");
    assert_string_equal(s.checkpoint.key, "demo");
    assert_int_equal(s.train.leaves, 8);
    assert_int_equal(s.train.batch, 64);
    assert_int_equal(s.checkpoint.every_steps, 200);
    assert_int_equal(s.resources.ranks, 1);
    assert_int_equal(s.retry.max, 3);
    assert_int_equal(s.model.hidden_count, 0);
}

static void interval_may_leave_its_unit_out(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct job_spec s;
    assert_ok(spec_of("name: a\ndata: { train: file://x.csv, target: t, positive: p }\n"
                      "checkpoint: { to: s3://models/x, every: 7 }\n",
                      &s, &e));
    assert_int_equal(s.checkpoint.every_steps, 7);
    CLEANUP(json_donep) json_t *j = job_spec_to_json(&s);
    assert_string_equal(json_text_or(json_object_get(j, "checkpoint"), "every", ""), "7 steps");
}

static void prefix_leaves_room_for_keys_behind_it(void **state)
{
    (void)state;
    for (int n = 768; n <= 769; n++) {
        struct err e = ERR_INIT;
        struct job_spec s;
        char text[1024];
        snprintf(text, sizeof(text),
                 "name: a\ndata: { train: s3://data/x, target: t, positive: p }\n"
                 "checkpoint: { to: s3://models/%0*d }\n",
                 n, 0);
        assert_int_equal(spec_of(text, &s, &e), n == 768 ? OK : ERR_USAGE);
        assert_string_equal(e.text, n == 768
                                        ? ""
                                        : "job.yaml:3: checkpoint.to: must be at most 768 bytes behind the "
                                          "bucket, not 769");
    }
}

static void refused_spec_leaves_the_output_alone(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct job_spec s = { .name = "before" };
    assert_int_equal(spec_of(MINIMAL "train: { leaves: 6 }\n", &s, &e), ERR_USAGE);
    assert_string_equal(s.name, "before");
}

/* ---- the stored form ---- */

static void spec_comes_back_from_json(void **state)
{
    (void)state;
    static const char *const texts[] = { full, MINIMAL };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct err e = ERR_INIT;
        struct job_spec s, back;
        assert_ok(spec_of(texts[i], &s, &e));
        CLEANUP(json_donep) json_t *j = job_spec_to_json(&s);
        assert_ok(job_spec_from_json(j, &back, &e));
        assert_memory_equal(&s, &back, sizeof(s));
    }
}

static void canonical_form_is_known(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf text = BUF_INIT(65536);
    CLEANUP(json_donep) json_t *j = json_of(full);
    struct err e = ERR_INIT;
    assert_ok(json_canonical(j, &text, &e));
    assert_string_equal(
        buf_text(&text),
        "{\"checkpoint\":{\"deadline\":\"10m\","
        "\"every\":\"300 steps\",\"keep\":5,\"key\":\"demo\",\"lock\":\"compliance\",\"retain\":\"30d\","
        "\"to\":\"s3://bank-models/credit\"},"
        "\"data\":{\"format\":\"csv\",\"holdout\":\"0.2\",\"missing\":[\"?\",\"\"],"
        "\"positive\":\"bad\",\"target\":\"class\",\"train\":\"s3://bank-data/german-credit/v3\"},"
        "\"model\":{\"context\":0,\"dropout\":\"0.1\",\"from\":\"\",\"heads\":0,\"hidden\":[64,32],"
        "\"kind\":\"mlp\",\"layers\":0,\"mlp\":\"gelu\",\"norm\":\"layer\",\"positions\":\"learned\","
        "\"preset\":\"none\",\"recompute\":false,\"vocab\":0,\"width\":0},"
        "\"name\":\"credit-risk-nightly\",\"priority\":-7,\"queue\":\"research\","
        "\"resources\":{\"cpus_per_rank\":3,\"device\":\"auto\",\"gpus_per_rank\":0,\"ranks\":2,"
        "\"time_limit\":\"2h\"},"
        "\"retry\":{\"backoff\":\"15s\",\"max\":4},\"task\":\"train\","
        "\"train\":{\"batch\":64,\"beta1\":\"0.8\",\"beta2\":\"0.99\",\"clip\":\"1.5\","
        "\"compare_every\":0,\"epochs\":40,\"epsilon\":\"1e-09\",\"explode\":\"10\",\"leaves\":16,\"lr\":\"0."
        "003\",\"precision\":\"fp32\","
        "\"reduce\":\"fast\",\"rounding\":\"nearest\",\"schedule\":\"cosine\",\"seed\":12,\"warmup\":20,"
        "\"weight_decay\":\"0.01\"}}");
}

static void a_preset_fills_in_what_is_not_given(void **state)
{
    (void)state;
    static const struct {
        const char *preset;
        int64_t layers, heads, width;
    } rows[] = { { "gpt2-124M", 12, 12, 768 },
                 { "gpt2-350M", 24, 16, 1024 },
                 { "gpt2-774M", 36, 20, 1280 },
                 { "gpt2-1558M", 48, 25, 1600 } };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[512];
        struct err e = ERR_INIT;
        struct job_spec s;
        snprintf(text, sizeof(text), GPT_DATA "model: { kind: gpt, preset: %s, context: 256 }\n",
                 rows[i].preset);
        assert_ok(spec_of(text, &s, &e));
        assert_int_equal(s.model.layers, rows[i].layers);
        assert_int_equal(s.model.heads, rows[i].heads);
        assert_int_equal(s.model.width, rows[i].width);
        assert_int_equal(s.model.context, 256);
        assert_int_equal(s.model.vocab, 50257);
        assert_int_equal(job_spec_context(&s), 256);
        CLEANUP(json_donep) json_t *j = job_spec_to_json(&s);
        struct job_spec back;
        assert_ok(job_spec_from_json(j, &back, &e));
        assert_memory_equal(&back, &s, sizeof(s));
    }
}

static void the_examples_are_good(void **state)
{
    (void)state;
    static const char *const files[] = { "configs/demo/credit-risk.yaml", "configs/demo/kjv-gpt.yaml",
                                         "configs/demo/text-gpt.yaml" };
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        CLEANUP(buf_done) struct buf text = BUF_INIT(CONF_BYTES_MAX);
        CLEANUP(conf_freep) struct conf_doc *doc = NULL;
        struct err e = ERR_INIT;
        struct job_spec s;
        assert_ok(conf_read_file(files[i], &text, &e));
        assert_ok(conf_parse(files[i], buf_text(&text), text.len, &doc, &e));
        assert_ok(job_spec_from_doc(doc, &s, &e));
    }
}

/* The digest is the SHA-256 of the text above, as any tool computes it: it never changes. */
static void digest_is_known(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct job_spec s;
    char digest[65];
    assert_ok(spec_of(full, &s, &e));
    job_spec_digest(&s, digest);
    assert_string_equal(digest, "6a2eceaaecefb018bc7221805b1e0072beee5e08f1ca298c3c7d8c792aa8ac71");
}

static void digest_sees_the_last_bit_of_a_fraction(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct job_spec s, back;
    char digest[65], other[65];
    assert_ok(spec_of(full, &s, &e));
    job_spec_digest(&s, digest);
    s.train.lr = nextafter(s.train.lr, 1);
    job_spec_digest(&s, other);
    assert_string_not_equal(digest, other);
    CLEANUP(json_donep) json_t *j = job_spec_to_json(&s);
    assert_ok(job_spec_from_json(j, &back, &e));
    assert_true(back.train.lr == s.train.lr);
}

/* ---- stored forms that are refused: one change each ---- */

static const struct change {
    const char *name, *section, *member, *value /* JSON; NULL: removed */, *want;
} changes[] = {
    { "a setting may not be missing", "train", "lr", NULL, "job spec: 'train.lr' is missing" },
    { "a section may not be missing", "", "retry", NULL, "job spec: 'retry' is missing" },
    { "a setting may not be unknown", "train", "lrr", "\"1\"",
      "job spec: train.lrr: no such setting; did you mean 'lr'?" },
    { "a fraction may not be a JSON number", "train", "lr", "0.003",
      "job spec: 'train.lr' is not in its canonical form" },
    { "a fraction has one form", "train", "lr", "\"3e-3\"",
      "job spec: 'train.lr' is not in its canonical form" },
    { "a fraction is a number", "train", "lr", "\"fast\"",
      "job spec: train.lr: must be a number from 1e-12 to 100, not the quoted text 'fast'" },
    { "a number keeps its range", "priority", "", "1000",
      "job spec: priority: must be from -100 to 100, not '1000'" },
    { "leaves stay a power of two", "train", "leaves", "3",
      "job spec: train.leaves: must be a power of two (1, 2, 4, ... 1024), not 3" },
    { "a duration has one form", "checkpoint", "retain", "\"720h\"",
      "job spec: 'checkpoint.retain' is not in its canonical form" },
    { "a section is an object", "train", "", "[]",
      "job spec: train: must be a section of settings, not a list" },
};

static void changed_json_is_corrupt(void **state)
{
    const struct change *c = *state;
    CLEANUP(json_donep) json_t *j = json_of(full);
    json_t *o = *c->section && *c->member ? json_object_get(j, c->section) : j;
    const char *member = *c->member ? c->member : c->section;
    struct err e = ERR_INIT;
    struct job_spec s = { .name = "before" };
    if (c->value)
        record_set(o, member, json_loads(c->value, JSON_DECODE_ANY, NULL));
    else
        assert_int_equal(json_object_del(o, member), 0);
    assert_int_equal(job_spec_from_json(j, &s, &e), ERR_CORRUPT);
    assert_string_equal(e.text, c->want);
    assert_string_equal(s.name, "before");
}

static void json_that_is_no_object_is_corrupt(void **state)
{
    (void)state;
    CLEANUP(json_donep) json_t *j = json_array();
    struct err e = ERR_INIT;
    struct job_spec s;
    assert_int_equal(job_spec_from_json(j, &s, &e), ERR_CORRUPT);
    assert_int_equal(job_spec_from_json(NULL, &s, &e), ERR_CORRUPT);
    assert_string_equal(e.text, "job spec: must be an object");
}

/* Every setting says what it is for: `sovrun config explain job` prints it. */
static void every_setting_has_help(void **state)
{
    (void)state;
    for (const struct conf_field *f = job_spec_fields; f->name; f++) {
        assert_true(f->help && *f->help);
        for (const struct conf_field *g = f->kind == CONF_KIND_SECTION ? f->fields : NULL; g && g->name; g++)
            assert_true(g->help && *g->help);
    }
}

int main(void)
{
    static const struct CMUnitTest singles[] = {
        cmocka_unit_test(full_spec_is_read),
        cmocka_unit_test(little_is_enough),
        cmocka_unit_test(interval_may_leave_its_unit_out),
        cmocka_unit_test(prefix_leaves_room_for_keys_behind_it),
        cmocka_unit_test(refused_spec_leaves_the_output_alone),
        cmocka_unit_test(spec_comes_back_from_json),
        cmocka_unit_test(canonical_form_is_known),
        cmocka_unit_test(a_preset_fills_in_what_is_not_given),
        cmocka_unit_test(the_examples_are_good),
        cmocka_unit_test(digest_is_known),
        cmocka_unit_test(digest_sees_the_last_bit_of_a_fraction),
        cmocka_unit_test(json_that_is_no_object_is_corrupt),
        cmocka_unit_test(every_setting_has_help),
    };
    static struct CMUnitTest tests[ARRAY_LEN(singles) + ARRAY_LEN(refusals) + ARRAY_LEN(changes)];
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(singles); i++)
        tests[n++] = singles[i];
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++)
        tests[n++] =
            (struct CMUnitTest){ refusals[i].name, bad_spec_is_refused, NULL, NULL, (void *)&refusals[i] };
    for (size_t i = 0; i < ARRAY_LEN(changes); i++)
        tests[n++] =
            (struct CMUnitTest){ changes[i].name, changed_json_is_corrupt, NULL, NULL, (void *)&changes[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
