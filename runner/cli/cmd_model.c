/* model ls, get, verify: what a job has left in the store. */
#include "base/file.h"
#include "base/mem.h"
#include "base/num.h"
#include "runner/cli/cli.h"
#include "runner/cli/commands.h"
#include "runner/cli/export_gate.h"
#include "runner/cli/models.h"
#include "runner/cli/print.h"

#include <inttypes.h>
#include <string.h>

struct model_settings {
    const char *prefix;
};
#define PREFIX_ROW(s)                                                                                        \
    OPT_TEXT_ROW(s, prefix, "prefix", 0, "URI",                                                              \
                 "its checkpoint.to, s3://BUCKET/PREFIX: then no scheduler is asked")
static const struct opt model_options[] = { PREFIX_ROW(model_settings), OPT_END };

/* ---- ls ---- */

static const char *lock_text(const struct store_lock *lock, char out[64])
{
    char time[32];
    if (lock->mode == STORE_LOCK_NONE)
        snprintf(out, 64, "%s", lock->legal_hold ? "legal hold" : "-");
    else
        snprintf(out, 64, "%s until %.10s", store_lock_names[lock->mode],
                 print_time(lock->retain_until_ms, time));
    return out;
}

static json_t *artifact_json(const char *key, const struct artifact *a, const char *why)
{
    uint64_t bytes = 0;
    if (!a)
        return json_pack("{s:s,s:b,s:s}", "manifest", key, "ok", 0, "why", why);
    for (size_t i = 0; i < a->part_count; i++)
        bytes += a->parts[i].plain_bytes;
    const struct store_lock none = { .mode = STORE_LOCK_NONE },
                            *lock = a->part_count ? &a->parts[0].lock : &none;
    return json_pack("{s:s,s:b,s:s,s:I,s:I,s:I,s:I,s:I,s:s,s:s,s:I}", "manifest", key, "ok", 1, "kind",
                     artifact_kind_names[a->kind], "step", (json_int_t)a->step, "attempt",
                     (json_int_t)a->attempt, "created_ms", (json_int_t)a->created_ms, "parts",
                     (json_int_t)a->part_count, "bytes", (json_int_t)bytes, "sha256",
                     a->kind == ARTIFACT_MODEL && a->part_count == 1 ? a->parts[0].plain_sha256 : "", "lock",
                     store_lock_names[lock->mode], "retain_until_ms", (json_int_t)lock->retain_until_ms);
}

static enum err_code add_json(void *context, const char *key, const struct artifact *a, const char *why,
                              struct err *e)
{
    (void)e;
    json_array_append_new(context, artifact_json(key, a, why));
    return OK;
}

static enum err_code list_artifacts(const json_t *list, struct err *e)
{
    static const char *const headings[] = { "KIND", ">STEP", ">ATTEMPT", "WRITTEN (UTC)", ">PARTS", ">BYTES",
                                            "LOCK", "STATE", NULL };
    CLEANUP(print_table_done) struct print_table t = print_table_new(headings);
    size_t i;
    json_t *a;

    json_array_foreach(list, i, a)
    {
        bool ok = json_is_true(json_object_get(a, "ok"));
        char time[32], bytes[NUM_TEXT_BYTES], lock[64];
        struct store_lock held = { .retain_until_ms = json_i64_or(a, "retain_until_ms", 0) };
        for (int m = 0; store_lock_names[m]; m++)
            if (strcmp(store_lock_names[m], json_text_or(a, "lock", "none")) == 0)
                held.mode = (enum store_lock_mode)m;
        print_text_cell(&t, json_text_or(a, "kind", "?"));
        print_cell(&t, COLOUR_NONE, "%" PRId64, json_i64_or(a, "step", 0));
        print_cell(&t, COLOUR_NONE, "%" PRId64, json_i64_or(a, "attempt", 0));
        print_text_cell(&t, print_time(json_i64_or(a, "created_ms", 0), time));
        print_cell(&t, COLOUR_NONE, "%" PRId64, json_i64_or(a, "parts", 0));
        print_text_cell(&t, format_size((uint64_t)json_i64_or(a, "bytes", 0), bytes));
        print_text_cell(&t, lock_text(&held, lock));
        print_cell(&t, ok ? COLOUR_GOOD : COLOUR_BAD, "%s%s%s",
                   ok ? "signed" : "BAD: ", ok ? "" : json_text_or(a, "why", ""),
                   ok && strcmp(json_text_or(a, "kind", ""), "model") == 0 ? ", final" : "");
    }
    return print_table_out(&t, e);
}

static enum err_code ls_run(struct cli *c, const struct arguments *a, const void *settings, struct err *e)
{
    const struct model_settings *s = settings;
    CLEANUP(models_done) struct models m = { .store = NULL };
    CLEANUP(json_donep) json_t *list = json_array();

    if (models_open(c, a->list[0], s->prefix, &m, e) || models_each(&m, ARTIFACT_MODEL, add_json, list, e) ||
        models_each(&m, ARTIFACT_CHECKPOINT, add_json, list, e))
        return e->code;
    if (!c->json)
        return list_artifacts(list, e);
    CLEANUP(json_donep) json_t *doc = json_pack("{s:s,s:O}", "job", m.job, "artifacts", list);
    return print_json(doc, e);
}

const struct cmd cmd_model_ls = {
    .name = "model ls",
    .args = "JOB",
    .args_min = 1,
    .args_max = 1,
    .help = "a job's checkpoints and its model",
    .options = model_options,
    .settings_bytes = sizeof(struct model_settings),
    .run = ls_run,
};

/* ---- get ---- */

struct get_settings {
    const char *prefix, *output, *step_text;
};

static enum err_code get_run(struct cli *c, const struct arguments *a, const void *settings, struct err *e)
{
    const struct get_settings *s = settings;
    CLEANUP(models_done) struct models m = { .store = NULL };
    CLEANUP(artifact_done) struct artifact found = { .parts = NULL };
    CLEANUP(buf_wipe) struct buf file = BUF_INIT(STORE_OBJECT_BYTES_MAX);
    CLEANUP(freep) char *output = NULL;
    char sha256[SHA256_HEX_BYTES], bytes[NUM_TEXT_BYTES];
    int64_t step;

    if (models_step(s->step_text, &step, e))
        return e->code;
    /* The gate before the key: what may not leave is not even opened. */
    if (models_open(c, a->list[0], s->prefix, &m, e) || models_find(&m, step, &found, e) ||
        export_gate(c, &m, &found, e) || models_file(&m, &found, &file, e))
        return e->code;
    output = s->output ? mem_text(s->output) : mem_printf("%s.safetensors", m.name[0] ? m.name : m.job);
    /* It was learned from data that others may not see. */
    if (file_write(output, file.data, file.len, 0600, e))
        return e->code;
    sha256_hex(file.data, file.len, sha256);
    if (c->json) {
        CLEANUP(json_donep)
        json_t *doc =
            json_pack("{s:s,s:s,s:I,s:I,s:s}", "file", output, "sha256", sha256, "bytes",
                      (json_int_t)file.len, "step", (json_int_t)found.step, "manifest", found.manifest_key);
        return print_json(doc, e);
    }
    return print_line(e, "%s: step %" PRId64 ", %s\nsha256 %s", output, found.step,
                      format_size(file.len, bytes), sha256);
}

static const struct opt get_options[] = {
    OPT_TEXT_ROW(get_settings, output, "output", 'o', "FILE", "write it there [NAME.safetensors]"),
    OPT_TEXT_ROW(get_settings, step_text, "step", 0, "N", "the model as it was at the checkpoint of step N"),
    PREFIX_ROW(get_settings),
    OPT_END,
};
const struct cmd cmd_model_get = {
    .name = "model get",
    .args = "JOB",
    .args_min = 1,
    .args_max = 1,
    .help = "fetch a job's model, opened, as a safetensors file",
    .more =
        "The policy must allow it (exports), and the ledger gets to know. Its signature, its hashes and its "
        "seal are checked on the way; the SHA-256 of the file is printed.",
    .options = get_options,
    .settings_bytes = sizeof(struct get_settings),
    .run = get_run,
};

/* ---- verify ---- */

struct verdicts {
    const struct models *models;
    json_t *list; /* owned */
    size_t bad;
    bool json;
};

static void verdicts_done(struct verdicts *v)
{
    json_decref(v->list);
}

static enum err_code verify_one(void *context, const char *key, const struct artifact *a, const char *why,
                                struct err *e)
{
    struct verdicts *v = context;
    CLEANUP(secret_freep) struct secret *data_key = NULL;
    struct err said = ERR_INIT;

    if (!a)
        IGNORE(err_set(&said, ERR_CORRUPT, "%s", why));
    else if (models_unwrap(v->models, a, &data_key, &said) == OK)
        IGNORE(artifact_verify(v->models->store, data_key, a, &said));
    if (said.code == ERR_RETRY || said.code == ERR_IO) { /* it cannot be told */
        *e = said;
        return e->code;
    }
    v->bad += said.code != OK;
    json_array_append_new(v->list, json_pack("{s:s,s:b,s:s}", "manifest", key, "ok", (int)(said.code == OK),
                                             "why", said.text));
    if (v->json)
        return OK;
    return print_line(e, "%-4s %s%s%s", said.code ? "BAD" : "ok", key, said.code ? ": " : "", said.text);
}

static enum err_code verify_run(struct cli *c, const struct arguments *a, const void *settings, struct err *e)
{
    const struct model_settings *s = settings;
    CLEANUP(models_done) struct models m = { .store = NULL };
    CLEANUP(verdicts_done) struct verdicts v = { .models = &m, .list = json_array(), .json = c->json };

    if (models_open(c, a->list[0], s->prefix, &m, e) || models_each(&m, ARTIFACT_MODEL, verify_one, &v, e) ||
        models_each(&m, ARTIFACT_CHECKPOINT, verify_one, &v, e))
        return e->code;
    size_t count = json_array_size(v.list);
    if (count == 0)
        return err_set(e, ERR_NOT_FOUND, "job %s has neither a model nor a checkpoint under s3://%s/%s",
                       m.job, m.bucket, m.prefix);
    c->status = v.bad ? CLI_FAILED : CLI_DONE;
    if (c->json) {
        CLEANUP(json_donep)
        json_t *doc = json_pack("{s:b,s:s,s:I,s:O}", "ok", (int)(v.bad == 0), "job", m.job, "bad",
                                (json_int_t)v.bad, "artifacts", v.list);
        return print_json(doc, e);
    }
    return v.bad ? print_line(e, "%zu of %zu are not as they were signed", v.bad, count)
                 : print_line(e, "%zu verified", count);
}

const struct cmd cmd_model_verify = {
    .name = "model verify",
    .args = "JOB",
    .args_min = 1,
    .args_max = 1,
    .help = "check signatures, hashes, seals and locks of all that a job stored",
    .options = model_options,
    .settings_bytes = sizeof(struct model_settings),
    .run = verify_run,
};
