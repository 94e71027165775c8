/* model sample: text from a model. */
#include "base/file.h"
#include "base/num.h"
#include "core/artifact/tensors.h"
#include "runner/cli/cli.h"
#include "runner/cli/commands.h"
#include "runner/cli/export_gate.h"
#include "runner/cli/model_tokenizer.h"
#include "runner/cli/models.h"
#include "runner/cli/print.h"
#include "runner/cli/sampler.h"
#include "runner/cli/utf8.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { PROMPT_BYTES_MAX = 1 << 20, TEXT_BYTES_MAX = 64 << 20 };

struct sample_settings {
    const char *prompt, *temperature, *step_text, *prefix, *data;
    int64_t tokens, seed, top_k;
};

/* ---- the prompt ---- */

static enum err_code read_stdin(struct buf *out, struct err *e)
{
    for (;;) {
        enum { PIECE = 64 << 10 };
        uint8_t *to = buf_reserve(out, PIECE);
        if (!to)
            return err_set(e, ERR_LIMIT, "--prompt -: more than %d bytes", PROMPT_BYTES_MAX);
        ssize_t n = read(STDIN_FILENO, to, PIECE);
        if (n < 0 && errno != EINTR)
            return err_errno(e, "--prompt -");
        if (n == 0)
            return OK;
        buf_commit(out, (size_t)MAX(n, (ssize_t)0));
    }
}

static enum err_code read_prompt(const char *setting, struct buf *out, struct err *e)
{
    if (setting && strcmp(setting, "-") == 0)
        return read_stdin(out, e);
    buf_add_text(out, setting ? setting : "");
    return buf_check(out, "--prompt", e);
}

/* Without a word to begin with it begins as a document does: behind the end of another. */
static enum err_code encode_prompt(const struct tokenizer *t, const struct buf *text, struct token_ids *out,
                                   struct err *e)
{
    CLEANUP(encoder_freep) struct encoder *encoder = encoder_new(t);
    uint32_t end;

    if (encoder_add(encoder, text->data, text->len, out, e))
        return err_wrap(e, "--prompt");
    if (out->count > 0)
        return OK;
    if (!tokenizer_end(t, &end))
        return err_set(e, ERR_USAGE,
                       "--prompt: give a text to begin with: this tokenizer has no end of a "
                       "document to begin behind");
    token_ids_add(out, end);
    return OK;
}

/* ---- the text ---- */

struct text {
    const struct tokenizer *tokenizer;
    bool show; /* as it comes */
    struct buf raw;
    size_t cleaned; /* bytes of `raw` that are in `clean` */
    struct buf clean;
    json_t *ids; /* owned */
};

static void text_done(struct text *t)
{
    buf_wipe(&t->raw);
    buf_wipe(&t->clean);
    json_decref(t->ids);
}

/* How much of it ends with whole characters: what lacks its end may get it from the next token. */
static size_t whole(const uint8_t *text, size_t n)
{
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        uint8_t c = text[n - back];
        size_t needed = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
        if (c >= 0xc0)
            return needed > back ? n - back : n;
        if (c < 0x80)
            return n;
    }
    return n;
}

static enum err_code show(struct text *t, size_t until, struct err *e)
{
    size_t before = t->clean.len;

    utf8_clean((const char *)t->raw.data + t->cleaned, until - t->cleaned, true, &t->clean);
    t->cleaned = until;
    if (!t->show || t->clean.len == before)
        return OK;
    return file_write_all(STDOUT_FILENO, t->clean.data + before, t->clean.len - before, e);
}

static enum err_code take_token(void *context, uint32_t id, struct err *e)
{
    struct text *t = context;

    json_array_append_new(t->ids, json_integer(id));
    if (tokenizer_decode(t->tokenizer, &id, 1, &t->raw, e) || buf_check(&t->raw, "text", e))
        return e->code;
    return show(t, whole(t->raw.data, t->raw.len), e);
}

static enum err_code finish_text(struct text *t, struct err *e)
{
    if (show(t, t->raw.len, e))
        return e->code;
    return t->show ? file_write_all(STDOUT_FILENO, "\n", 1, e) : OK;
}

/* ---- the command ---- */

/* What is opened, and read by its own tokenizer. */
struct opened {
    struct models models;
    struct artifact found;
    struct buf file;
    struct tokenizer *tokenizer;
};

static void opened_done(struct opened *o)
{
    tokenizer_free(o->tokenizer);
    buf_wipe(&o->file);
    artifact_done(&o->found);
    models_done(&o->models);
}

/* The gate before the key: a model's text tells of its data as the model does. */
static enum err_code open_model(struct cli *c, const char *job, const struct sample_settings *s, int64_t step,
                                struct opened *o, struct err *e)
{
    CLEANUP(tensors_done) struct tensors t = { .list = NULL };

    if (models_open(c, job, s->prefix, &o->models, e) || models_find(&o->models, step, &o->found, e) ||
        export_gate(c, &o->models, &o->found, e) || models_file(&o->models, &o->found, &o->file, e) ||
        tensors_read(o->file.data, o->file.len, &t, e))
        return e->code;
    return model_tokenizer_open(o->models.cluster, t.metadata, s->data ? s->data : o->models.data,
                                &o->tokenizer, e);
}

static enum err_code say_json(const struct sample_settings *s, const struct opened *o,
                              const struct buf *prompt, const struct text *t, bool ended, struct err *e)
{
    CLEANUP(buf_done) struct buf clean = BUF_INIT(TEXT_BYTES_MAX);
    char sha256[SHA256_HEX_BYTES];

    utf8_clean((const char *)prompt->data, prompt->len, true, &clean);
    sha256_hex(o->file.data, o->file.len, sha256);
    CLEANUP(json_donep)
    json_t *doc = json_pack("{s:s,s:s,s:I,s:O,s:b,s:s,s:I,s:I,s:s,s:I,s:s}", "prompt", buf_text(&clean),
                            "text", buf_text(&t->clean), "tokens", (json_int_t)json_array_size(t->ids), "ids",
                            t->ids, "ended", (int)ended, "temperature", s->temperature, "top_k",
                            (json_int_t)s->top_k, "seed", (json_int_t)s->seed, "sha256", sha256, "step",
                            (json_int_t)o->found.step, "manifest", o->found.manifest_key);
    return print_json(doc, e);
}

static enum err_code check_settings(struct sample_settings *s, int64_t *out_step, struct err *e)
{
    double temperature;

    s->tokens = s->tokens ? s->tokens : 100;
    s->temperature = s->temperature ? s->temperature : "1";
    if (parse_f64(s->temperature, &temperature, e) || !(temperature >= 0 && temperature <= 100))
        return err_set(e, ERR_USAGE, "--temperature '%.40s': must be from 0 to 100", s->temperature);
    return models_step(s->step_text, out_step, e);
}

static enum err_code sample_run(struct cli *c, const struct arguments *a, const void *settings, struct err *e)
{
    struct sample_settings s = *(const struct sample_settings *)settings;
    CLEANUP(opened_done) struct opened o = { .file = BUF_INIT(STORE_OBJECT_BYTES_MAX) };
    CLEANUP(buf_done) struct buf prompt = BUF_INIT(PROMPT_BYTES_MAX);
    CLEANUP(token_ids_done) struct token_ids ids = { .count = 0 };
    CLEANUP(text_done)
    struct text t = { .show = !c->json,
                      .raw = BUF_INIT(TEXT_BYTES_MAX),
                      .clean = BUF_INIT(TEXT_BYTES_MAX),
                      .ids = json_array() };
    bool ended = false;
    uint32_t end = 0;
    int64_t step = -1;

    if (check_settings(&s, &step, e) || read_prompt(s.prompt, &prompt, e) ||
        open_model(c, a->list[0], &s, step, &o, e) || encode_prompt(o.tokenizer, &prompt, &ids, e))
        return e->code;
    t.tokenizer = o.tokenizer;
    const struct sampler_request request = { .file = &o.file,
                                             .prompt = &ids,
                                             .tokens = s.tokens,
                                             .top_k = s.top_k,
                                             .seed = s.seed,
                                             .temperature = s.temperature,
                                             .vocabulary = tokenizer_size(o.tokenizer),
                                             .end = tokenizer_end(o.tokenizer, &end) ? (int64_t)end : -1 };
    if (sampler_run(&o.models.cluster->launch, &request, take_token, &t, &ended, e) || finish_text(&t, e))
        return e->code;
    return c->json ? say_json(&s, &o, &prompt, &t, ended, e) : OK;
}

static const struct opt sample_options[] = {
    OPT_TEXT_ROW(sample_settings, prompt, "prompt", 'p', "TEXT",
                 "what it goes on from; - reads it from standard input [the start of a document]"),
    OPT_INT_ROW(sample_settings, tokens, "tokens", 'n', "N", 1, SAMPLER_TOKENS_MAX, "at most so many [100]"),
    OPT_TEXT_ROW(sample_settings, temperature, "temperature", 't', "T",
                 "0: always the most probable token; above 1: bolder than the model is [1]"),
    OPT_INT_ROW(sample_settings, top_k, "top-k", 'k', "K", 0, 1 << 18,
                "only of the K most probable; 0: of all [0]"),
    OPT_INT_ROW(sample_settings, seed, "seed", 's', "S", 0, INT64_MAX,
                "the same seed gives the same text [0]"),
    OPT_TEXT_ROW(sample_settings, step_text, "step", 0, "N",
                 "from the model as it was at the checkpoint of step N"),
    OPT_TEXT_ROW(sample_settings, prefix, "prefix", 0, "URI",
                 "its checkpoint.to, s3://BUCKET/PREFIX: then the scheduler is not asked where it lies"),
    OPT_TEXT_ROW(sample_settings, data, "data", 0, "URI",
                 "the dataset beside which the tokenizer's files lie [the job's]"),
    OPT_END,
};
const struct cmd cmd_model_sample = {
    .name = "model sample",
    .args = "JOB",
    .args_min = 1,
    .args_max = 1,
    .help = "let a job's model write text",
    .more =
        "Only a gpt does. The text is what follows the prompt; it ends early where the model ends the "
        "document. What a model says tells of the data it was trained on: so the policy must allow it as it "
        "does `model get` (exports), and the ledger gets to know.",
    .options = sample_options,
    .settings_bytes = sizeof(struct sample_settings),
    .run = sample_run,
};
