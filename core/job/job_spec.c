#include "core/job/job_spec.h"

#include "base/num.h"
#include "base/text.h"
#include "core/store/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const task_names[] = { "train", "evaluate", NULL };
static const char *const model_names[] = { "mlp", "gpt", NULL };
static const char *const preset_names[] = {
    "none", "gpt2-124M", "gpt2-350M", "gpt2-774M", "gpt2-1558M", NULL
};
const char *const norm_names[] = { "layer", "rms", NULL };
const char *const positions_names[] = { "learned", "rotary", NULL };
const char *const mlp_names[] = { "gelu", "swiglu", NULL };
static const char *const format_names[] = { "csv", "tokens", "text", NULL };
static const char *const device_names[] = { "auto", "cpu", "cuda", NULL };
static const char *const schedule_names[] = { "constant", "cosine", NULL };
static const char *const reduce_names[] = { "exact", "fast", NULL };
static const char *const precision_names[] = { "fp32", "tf32", "bf16", NULL };
static const char *const rounding_names[] = { "nearest", "stochastic", NULL };

#define MS_PER_DAY (24 * 60 * 60 * 1000.0)
#define EVERY_STEPS_MAX 1000000000

/* "200 steps", "1 step" or "200". */
static enum err_code every_parse(const char *text, void *member, struct err *e)
{
    char digits[24];
    const char *unit = strchr(text, ' ');
    size_t n = unit ? (size_t)(unit - text) : strlen(text);
    int64_t steps = 0;
    bool fits = n < sizeof(digits) && (!unit || strcmp(unit, " steps") == 0 || strcmp(unit, " step") == 0);
    snprintf(digits, sizeof(digits), "%.*s", fits ? (int)n : 0, text);
    if (!fits || parse_i64(digits, &steps, e) || steps < 1 || steps > EVERY_STEPS_MAX)
        return err_set(e, ERR_USAGE, "must be from 1 to %d steps, as in '200 steps', not '%.40s'",
                       EVERY_STEPS_MAX, text);
    memcpy(member, &steps, sizeof(steps));
    return OK;
}

static void every_print(const void *member, struct buf *out)
{
    int64_t steps;
    memcpy(&steps, member, sizeof(steps));
    buf_addf(out, "%" PRId64 "%s", steps, steps == 1 ? " step" : " steps");
}

/* clang-format off */
static const struct conf_field width_element = {
    .name = "width", .kind = CONF_KIND_INT, .size = sizeof(int64_t), .min = 1, .max = 16384,
};
static const struct conf_field missing_element = {
    .name = "text", .kind = CONF_KIND_TEXT, .size = SPEC_NAME_BYTES, .max = SPEC_NAME_BYTES - 1,
};

static const struct conf_field model_fields[] = {
    CONF_CHOICE(spec_model, kind, "mlp", model_names,
                "mlp: fully connected layers over columns; gpt: a transformer over tokens"),
    CONF_LIST(spec_model, hidden, hidden_count, SPEC_HIDDEN_MAX, NULL, &width_element,
              "mlp: width of each hidden layer, first to last; none: a linear model"),
    CONF_REAL(spec_model, dropout, "0", 0, 0.95,
              "share dropped while training: of hidden layers, or of a gpt's embeddings and branches"),
    CONF_CHOICE(spec_model, preset, "none", preset_names,
                "gpt: sizes as GPT-2's; what is given besides counts more"),
    CONF_INT(spec_model, layers, "0", 0, 80, "gpt: blocks"),
    CONF_INT(spec_model, heads, "0", 0, 256, "gpt: heads of attention; they divide the width"),
    CONF_INT(spec_model, width, "0", 0, 16384, "gpt: numbers of a token's vector"),
    CONF_INT(spec_model, context, "0", 0, 65536, "gpt: tokens of a sequence"),
    CONF_INT(spec_model, vocab, "0", 0, 262144, "gpt: tokens there are; 0: as many as the dataset says"),
    CONF_CHOICE(spec_model, norm, "layer", norm_names, "gpt: LayerNorm or RMSNorm"),
    CONF_CHOICE(spec_model, positions, "learned", positions_names,
                "gpt: a vector of each position, or rotated queries and keys"),
    CONF_CHOICE(spec_model, mlp, "gelu", mlp_names, "gpt: between a block's two matrices"),
    CONF_BOOL(spec_model, recompute, "false",
              "gpt: keep a block's input alone, and compute it again on the way back: less memory, more time"),
    CONF_TEXT(spec_model, from, "",
              "gpt: parameters to begin with: s3://bucket/model.safetensors, or a manifest that "
              "`sovrun model ls` lists"),
    CONF_END,
};

static const struct conf_field data_fields[] = {
    CONF_TEXT_REQUIRED(spec_data, train,
                       "a staged dataset (s3://bucket/prefix), or a file (file://data.csv) to stage"),
    CONF_REAL(spec_data, holdout, "0", 0, 0.9, "share of each shard's end kept for evaluation"),
    CONF_CHOICE(spec_data, format, "csv", format_names,
                "of the shards: csv for an mlp, tokens for a gpt; text: a plain file that becomes tokens"),
    CONF_TEXT(spec_data, target, "", "csv: the column to predict"),
    CONF_TEXT(spec_data, positive, "", "csv: the target's value that scores and AUC speak of"),
    CONF_LIST(spec_data, missing, missing_count, SPEC_MISSING_MAX, NULL, &missing_element,
              "values that stand for \"not known\", as in [\"?\", \"\"]"),
    CONF_END,
};

static const struct conf_field resources_fields[] = {
    CONF_INT(spec_resources, ranks, "1", 1, SPEC_LEAVES_MAX, "processes that train together: a power of two"),
    CONF_CHOICE(spec_resources, device, "auto", device_names, "auto takes the best there is"),
    CONF_INT(spec_resources, cpus_per_rank, "1", 1, 1024, "processor cores of each rank"),
    CONF_INT(spec_resources, gpus_per_rank, "0", 0, 16,
             "GPUs that the scheduler counts for each rank: it counts none yet, so 0"),
    CONF_DURATION(spec_resources, time_limit_ms, "time_limit", "0", 0, 365 * MS_PER_DAY,
                  "an attempt that runs longer is stopped; 0: no limit"),
    CONF_END,
};

static const struct conf_field train_fields[] = {
    CONF_INT(spec_train, epochs, "10", 1, 1000000, "times that the data is gone through"),
    CONF_INT(spec_train, batch, "64", 1, 16777216,
             "records (of a gpt: sequences) a step, over all ranks: a multiple of leaves"),
    CONF_REAL(spec_train, lr, "1e-3", 1e-12, 100, "learning rate, at its peak"),
    CONF_CHOICE(spec_train, schedule, "constant", schedule_names, "of the learning rate, after the warm-up"),
    CONF_INT(spec_train, warmup, "0", 0, 1000000000, "steps in which the learning rate rises to its peak"),
    CONF_REAL(spec_train, weight_decay, "0", 0, 1, "AdamW's, of weights but not of biases"),
    CONF_REAL(spec_train, beta1, "0.9", 0, 0.999999, "AdamW's decay of the mean of gradients"),
    CONF_REAL(spec_train, beta2, "0.999", 0, 0.999999999, "AdamW's decay of the mean of their squares"),
    CONF_REAL(spec_train, epsilon, "1e-8", 1e-30, 1, "AdamW's guard against division by zero"),
    CONF_REAL(spec_train, clip, "1", 0, 1e9, "largest norm of the whole gradient; 0: not clipped"),
    CONF_REAL(spec_train, explode, "10", 0, 1e9,
              "stop where the loss is so many times that of a guess, ln(classes); 0: only where it is no number"),
    CONF_INT(spec_train, compare_every, "0", 0, 1000000000,
             "steps from one comparison of all ranks' parameters to the next, to find faulty memory; 0: none"),
    CONF_INT(spec_train, seed, "1", 0, 9007199254740991, "what is random follows from it"),
    CONF_INT(spec_train, leaves, "8", 1, SPEC_LEAVES_MAX,
             "parts of a batch: a power of two; ranks may change up to it, the result does not"),
    CONF_CHOICE(spec_train, reduce, "exact", reduce_names, "exact: the same bits on any number of ranks"),
    CONF_CHOICE(spec_train, precision, "fp32", precision_names,
                "of products; bf16 also what a gpt leaves in memory on the way. tf32 and bf16 take CUDA"),
    CONF_CHOICE(spec_train, rounding, "nearest", rounding_names,
                "of weights to bf16; stochastic: up or down, drawn anew for each leaf, so that none is biased"),
    CONF_END,
};

static const struct conf_field checkpoint_fields[] = {
    CONF_TEXT_REQUIRED(spec_checkpoint, to, "where checkpoints and the model go: s3://bucket/prefix"),
    { "every", CONF_KIND_CUSTOM, CONF_AT(spec_checkpoint, every_steps), false, "200 steps",
      .parse = every_parse, .print = every_print, .help = "from one checkpoint to the next, as in 200 steps" },
    CONF_INT(spec_checkpoint, keep, "3", 1, 1000, "newest checkpoints kept, as far as locks allow deleting"),
    CONF_CHOICE(spec_checkpoint, lock, "none", store_lock_names, "object lock of checkpoints and the model"),
    CONF_DURATION(spec_checkpoint, retain_ms, "retain", "0", 0, 36500 * MS_PER_DAY,
                  "how long the lock holds: goes with lock"),
    CONF_NAME(spec_checkpoint, key, "demo",
              "key-encryption key that wraps the job's data keys; the embedded cluster has one called demo"),
    CONF_DURATION(spec_checkpoint, deadline_ms, "deadline", "10m", 1000, MS_PER_DAY,
                  "one that is not whole by then is given up, and the rank that missed it named"),
    CONF_END,
};

static const struct conf_field retry_fields[] = {
    CONF_INT(spec_retry, max, "3", 0, 1000, "attempts after the first, where trying again can help"),
    CONF_DURATION(spec_retry, backoff_ms, "backoff", "10s", 0, 600000,
                  "wait before the first retry; doubles up to 10m"),
    CONF_END,
};

const struct conf_field job_spec_fields[] = {
    CONF_NAME_REQUIRED(job_spec, name, "what the job is called in lists; need not be unique"),
    CONF_NAME(job_spec, queue, "default", "where it waits for its turn"),
    CONF_CHOICE(job_spec, task, "train", task_names, "what is to be done"),
    CONF_INT(job_spec, priority, "0", -100, 100, "within the queue: higher goes first"),
    CONF_SECTION(job_spec, model, model_fields, "what is trained"),
    CONF_SECTION(job_spec, data, data_fields, "what it is trained on"),
    CONF_SECTION(job_spec, resources, resources_fields, "what it needs"),
    CONF_SECTION(job_spec, train, train_fields, "how it is trained"),
    CONF_SECTION(job_spec, checkpoint, checkpoint_fields, "what is kept"),
    CONF_SECTION(job_spec, retry, retry_fields, "when an attempt fails"),
    CONF_END,
};
/* clang-format on */

/* A later check's sentence behind the place of the setting it is about. */
static enum err_code refuse(const struct conf_doc *doc, const char *path, struct err *e, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
static enum err_code refuse(const struct conf_doc *doc, const char *path, struct err *e, const char *fmt, ...)
{
    CLEANUP(buf_done) struct buf place = BUF_INIT(4096);
    char sentence[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(sentence, sizeof(sentence), fmt, ap);
    va_end(ap);
    return err_set(e, ERR_USAGE, "%s: %s", conf_where(doc, path, &place), sentence);
}

/* The place is that of the section, as the setting has none. */
static enum err_code refuse_missing(const struct conf_doc *doc, const char *section, const char *name,
                                    const char *how, struct err *e)
{
    CLEANUP(buf_done) struct buf place = BUF_INIT(4096);
    return err_set(e, ERR_USAGE, "%s.%s: must be given%s", conf_where(doc, section, &place), name, how);
}

static bool is_power_of_two(int64_t v)
{
    return v > 0 && (v & (v - 1)) == 0;
}

static enum err_code check_numbers(const struct conf_doc *doc, const struct job_spec *s, struct err *e)
{
    int64_t leaves = s->train.leaves, ranks = s->resources.ranks, batch = s->train.batch;
    if (!is_power_of_two(leaves))
        return refuse(doc, "train.leaves", e, "must be a power of two (1, 2, 4, ... %d), not %" PRId64,
                      SPEC_LEAVES_MAX, leaves);
    if (!is_power_of_two(ranks))
        return refuse(doc, "resources.ranks", e, "must be a power of two (1, 2, 4, ...), not %" PRId64,
                      ranks);
    if (ranks > leaves)
        return refuse(doc, "resources.ranks", e,
                      "must be at most train.leaves (%" PRId64 "), not %" PRId64 ": each rank needs a leaf",
                      leaves, ranks);
    if (batch % leaves != 0)
        return refuse(doc, "train.batch", e, "must be a multiple of train.leaves (%" PRId64 "), not %" PRId64,
                      leaves, batch);
    if (s->resources.gpus_per_rank != 0)
        return refuse(doc, "resources.gpus_per_rank", e,
                      "must be 0: a rank takes the card of its number on its host, and none is counted yet");
    if (s->train.rounding == ROUNDING_STOCHASTIC && s->train.precision != PRECISION_BF16)
        return refuse(doc, "train.rounding", e, "stochastic is for train.precision bf16, not %s",
                      precision_names[s->train.precision]);
    return OK;
}

/* Room is left behind the prefix for the longest key that is made under it. */
enum { PREFIX_BYTES_MAX = 768 };

static enum err_code check_place(const struct conf_doc *doc, const char *path, const char *uri, struct err *e)
{
    char bucket[STORE_BUCKET_BYTES], prefix[STORE_KEY_BYTES];
    struct err said = ERR_INIT;
    if (store_uri_parse(uri, bucket, prefix, &said))
        return refuse(doc, path, e, "%.200s", said.text);
    if (prefix[0] == '\0')
        return refuse(doc, path, e, "must name a folder in the bucket, as in s3://%s/NAME", bucket);
    if (strlen(prefix) > PREFIX_BYTES_MAX)
        return refuse(doc, path, e, "must be at most %d bytes behind the bucket, not %zu", PREFIX_BYTES_MAX,
                      strlen(prefix));
    return OK;
}

static enum err_code check_columns(const struct conf_doc *doc, const struct spec_data *d, struct err *e)
{
    const struct {
        const char *path;
        bool given;
    } settings[] = { { "data.target", d->target[0] != '\0' },
                     { "data.positive", d->positive[0] != '\0' },
                     { "data.missing", d->missing_count > 0 } };

    if (d->format == FORMAT_CSV && !d->target[0])
        return refuse_missing(doc, "data", "target", "", e);
    if (d->format == FORMAT_CSV && !d->positive[0])
        return refuse_missing(doc, "data", "positive", "", e);
    for (size_t i = 0; d->format != FORMAT_CSV && i < ARRAY_LEN(settings); i++)
        if (settings[i].given)
            return refuse(doc, settings[i].path, e, "goes with data.format csv, not with %s",
                          format_names[d->format]);
    return OK;
}

static enum err_code check_data(const struct conf_doc *doc, const struct spec_data *d, struct err *e)
{
    bool is_file = text_starts(d->train, "file://");
    if (!is_file && !text_starts(d->train, "s3://"))
        return refuse(doc, "data.train", e,
                      "must start with s3:// (a staged dataset) or file:// (a file to stage)");
    if (is_file && d->train[strlen("file://")] == '\0')
        return refuse(doc, "data.train", e, "must name a file, as in file://data.csv");
    if (!is_file && check_place(doc, "data.train", d->train, e))
        return e->code;
    if (d->format == FORMAT_TEXT && !is_file)
        return refuse(
            doc, "data.format", e,
            "text is for a plain file (file://...), which is staged as tokens; a staged dataset has "
            "tokens already: data.format: tokens");
    if (check_columns(doc, d, e))
        return e->code;
    for (size_t i = 0; i < d->missing_count; i++) {
        if (strcmp(d->missing[i], d->positive) == 0)
            return refuse(doc, "data.positive", e, "'%s' is also listed in data.missing", d->positive);
        for (size_t j = 0; j < i; j++)
            if (strcmp(d->missing[i], d->missing[j]) == 0)
                return refuse(doc, "data.missing", e, "'%s' is listed twice", d->missing[i]);
    }
    return OK;
}

static enum err_code check_checkpoint(const struct conf_doc *doc, const struct spec_checkpoint *c,
                                      struct err *e)
{
    if (!text_starts(c->to, "s3://"))
        return refuse(doc, "checkpoint.to", e, "must start with s3://, as in s3://models/credit");
    if (check_place(doc, "checkpoint.to", c->to, e))
        return e->code;
    if (c->retain_ms > 0 && c->lock == STORE_LOCK_NONE)
        return refuse(doc, "checkpoint.retain", e, "needs checkpoint.lock: governance or compliance");
    if (c->lock != STORE_LOCK_NONE && c->retain_ms == 0)
        return refuse(doc, "checkpoint.lock", e,
                      "needs checkpoint.retain: how long the lock holds, as in 30d");
    return OK;
}

/* ---- the model ---- */

/* Radford et al. 2019, table 2, by the sizes that the published checkpoints really have. */
static const struct preset {
    int64_t layers, heads, width;
} presets[] = {
    [PRESET_GPT2_124M] = { 12, 12, 768 },
    [PRESET_GPT2_350M] = { 24, 16, 1024 },
    [PRESET_GPT2_774M] = { 36, 20, 1280 },
    [PRESET_GPT2_1558M] = { 48, 25, 1600 },
};
enum { GPT2_CONTEXT = 1024, GPT2_VOCAB = 50257 };

static void take_preset(struct spec_model *m)
{
    const struct preset *p = &presets[m->preset];
    const struct {
        int64_t *number, preset;
    } sizes[] = { { &m->layers, p->layers },
                  { &m->heads, p->heads },
                  { &m->width, p->width },
                  { &m->context, GPT2_CONTEXT },
                  { &m->vocab, GPT2_VOCAB } };

    for (size_t i = 0; m->preset != PRESET_NONE && i < ARRAY_LEN(sizes); i++)
        if (*sizes[i].number == 0)
            *sizes[i].number = sizes[i].preset;
}

static enum err_code check_mlp(const struct conf_doc *doc, const struct spec_model *m, struct err *e)
{
    const struct {
        const char *path;
        bool given;
    } of_gpt[] = {
        { "model.preset", m->preset != PRESET_NONE },
        { "model.layers", m->layers != 0 },
        { "model.heads", m->heads != 0 },
        { "model.width", m->width != 0 },
        { "model.context", m->context != 0 },
        { "model.vocab", m->vocab != 0 },
        { "model.norm", m->norm != NORM_LAYER },
        { "model.positions", m->positions != POSITIONS_LEARNED },
        { "model.mlp", m->mlp != MLP_GELU },
        { "model.recompute", m->recompute },
        { "model.from", m->from[0] != '\0' },
    };

    for (size_t i = 0; i < ARRAY_LEN(of_gpt); i++)
        if (of_gpt[i].given)
            return refuse(doc, of_gpt[i].path, e, "goes with model.kind gpt, not with mlp");
    return OK;
}

static enum err_code check_from(const struct conf_doc *doc, const struct spec_model *m, struct err *e)
{
    static const char *const endings[] = { ".safetensors", ".json" };

    if (!text_starts(m->from, "s3://"))
        return refuse(doc, "model.from", e, "must start with s3://, as in s3://models/gpt2.safetensors");
    if (check_place(doc, "model.from", m->from, e))
        return e->code;
    for (size_t i = 0; i < ARRAY_LEN(endings); i++)
        if (text_ends(m->from, endings[i]))
            return OK;
    return refuse(doc, "model.from", e, "must be a .safetensors file, or the .json manifest of a model");
}

static enum err_code check_gpt(const struct conf_doc *doc, const struct spec_model *m, struct err *e)
{
    const struct {
        const char *name;
        int64_t number;
    } sizes[] = {
        { "layers", m->layers }, { "heads", m->heads }, { "width", m->width }, { "context", m->context }
    };

    if (m->hidden_count > 0)
        return refuse(doc, "model.hidden", e, "goes with model.kind mlp, not with gpt");
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        if (sizes[i].number == 0)
            return refuse_missing(doc, "model", sizes[i].name, " for a gpt, or model.preset", e);
    if (m->width % m->heads != 0)
        return refuse(doc, "model.width", e, "must be a multiple of model.heads (%" PRId64 "), not %" PRId64,
                      m->heads, m->width);
    if (m->positions == POSITIONS_ROTARY && m->width / m->heads % 2 != 0)
        return refuse(doc, "model.positions", e,
                      "rotary turns pairs: model.width / model.heads must be even, not %" PRId64,
                      m->width / m->heads);
    if (m->vocab == 1)
        return refuse(doc, "model.vocab", e, "must be at least 2");
    return m->from[0] ? check_from(doc, m, e) : OK;
}

static enum err_code check_model(const struct conf_doc *doc, const struct job_spec *s, struct err *e)
{
    bool gpt = s->model.kind == MODEL_GPT;

    if (gpt ? check_gpt(doc, &s->model, e) : check_mlp(doc, &s->model, e))
        return e->code;
    if (gpt != (s->data.format != FORMAT_CSV))
        return refuse(doc, "data.format", e, "must be %s for model.kind %s, not %s", gpt ? "tokens" : "csv",
                      model_names[s->model.kind], format_names[s->data.format]);
    if (s->task == TASK_EVALUATE && !gpt)
        return refuse(doc, "task", e,
                      "evaluate is for model.kind gpt; an mlp's figures come with its training");
    if (s->task == TASK_EVALUATE && !s->model.from[0])
        return refuse_missing(doc, "model", "from", " to evaluate: what is looked at", e);
    return OK;
}

uint64_t job_spec_context(const struct job_spec *spec)
{
    return spec->model.kind == MODEL_GPT ? (uint64_t)spec->model.context : 0;
}

/* What no single field can say. */
static enum err_code job_spec_check(const struct conf_doc *doc, const struct job_spec *s, struct err *e)
{
    if (check_numbers(doc, s, e) || check_model(doc, s, e) || check_data(doc, &s->data, e) ||
        check_checkpoint(doc, &s->checkpoint, e))
        return e->code;
    return OK;
}

enum err_code job_spec_from_doc(const struct conf_doc *doc, struct job_spec *out, struct err *e)
{
    struct job_spec s;
    memset(&s, 0, sizeof(s)); /* the padding too */
    if (conf_bind(doc, job_spec_fields, &s, e))
        return e->code;
    take_preset(&s.model);
    if (job_spec_check(doc, &s, e))
        return e->code;
    *out = s;
    return OK;
}
