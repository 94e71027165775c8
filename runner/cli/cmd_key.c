/* key ls, create, rotate, destroy: the keys that wrap data keys. The scheduler does it, asks who we are, and
 * records it. */
#include "base/mem.h"
#include "runner/cli/cli.h"
#include "runner/cli/client.h"
#include "runner/cli/commands.h"
#include "runner/cli/follow.h"
#include "runner/cli/print.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { ANSWER_BYTES = 128, PORTIONS_MAX = 1000000 };

/* POST /v1/keys/NAME/ACT. */
static enum err_code call_key(struct api_client *api, const char *name, const char *act, const json_t *body,
                              json_t **out, struct err *e)
{
    CLEANUP(buf_done) struct buf target = BUF_INIT(1024);
    buf_add_text(&target, "/v1/keys/");
    http_encode(name, false, &target);
    buf_addf(&target, "/%s", act);
    if (buf_check(&target, "the key's name", e))
        return e->code;
    return api_call(api, "POST", buf_text(&target), body, out, e);
}

/* ---- ls ---- */

static enum err_code list_keys(const json_t *answer, struct err *e)
{
    static const char *const headings[] = { "KEY", ">NEWEST", "VERSIONS", "PROVIDER", NULL };
    CLEANUP(print_table_done) struct print_table t = print_table_new(headings);
    const json_t *keys = json_object_get(answer, "keys");
    size_t i, v;
    json_t *key, *version;
    json_array_foreach(keys, i, key)
    {
        CLEANUP(buf_done) struct buf text = BUF_INIT(4096);
        const json_t *versions = json_object_get(key, "versions");
        int64_t newest = 0;
        json_array_foreach(versions, v, version)
        {
            newest = json_integer_value(version);
            buf_addf(&text, "%s%" PRId64, v ? " " : "", newest);
        }
        print_text_cell(&t, json_text_or(key, "name", ""));
        print_cell(&t, COLOUR_NONE, "%" PRId64, newest);
        print_text_cell(&t, buf_text(&text));
        print_text_cell(&t, json_text_or(answer, "provider", ""));
    }
    return print_table_out(&t, e);
}

static enum err_code ls_run(struct cli *c, const struct arguments *a, const void *settings, struct err *e)
{
    CLEANUP(api_closep) struct api_client *api = NULL;
    CLEANUP(json_donep) json_t *answer = NULL;
    (void)a, (void)settings;
    if (client_open(c, &api, e) || api_call(api, "GET", "/v1/keys", NULL, &answer, e))
        return e->code;
    return c->json ? print_json(answer, e) : list_keys(answer, e);
}

const struct cmd cmd_key_ls = {
    .name = "key ls",
    .args = "",
    .help = "the keys that wrap data keys, and their versions",
    .run = ls_run,
};

/* ---- create ---- */

static enum err_code make(struct api_client *api, const char *name, bool next, json_t **out, struct err *e)
{
    CLEANUP(json_donep) json_t *body = json_pack("{s:b}", "next", (int)next);
    return call_key(api, name, "create", body, out, e);
}

static enum err_code create_run(struct cli *c, const struct arguments *a, const void *settings, struct err *e)
{
    CLEANUP(api_closep) struct api_client *api = NULL;
    CLEANUP(json_donep) json_t *answer = NULL;
    (void)settings;
    if (client_open(c, &api, e) || make(api, a->list[0], false, &answer, e))
        return e->code;
    return c->json ? print_json(answer, e) : print_line(e, "made key %s, version 1", a->list[0]);
}

const struct cmd cmd_key_create = {
    .name = "key create",
    .args = "NAME",
    .args_min = 1,
    .args_max = 1,
    .help = "make a key (role admin)",
    .run = create_run,
};

/* ---- rotate ---- */

struct rotate_settings {
    bool no_new;
};

/* What wrapping again came to. */
struct tally {
    int64_t found, rewrapped;
    json_t *failed; /* owned */
};

static void tally_done(struct tally *t)
{
    json_decref(t->failed);
}

static enum err_code rewrap_bucket(struct api_client *api, const char *name, const char *bucket,
                                   struct progress *progress, struct tally *io, struct err *e)
{
    CLEANUP(json_donep) json_t *body = json_pack("{s:s,s:s}", "bucket", bucket, "after", "");
    for (int portion = 0; portion < PORTIONS_MAX; portion++) {
        CLEANUP(json_donep) json_t *answer = NULL;
        if (call_key(api, name, "rewrap", body, &answer, e))
            return err_wrap(e, "bucket %s (what is done stays done; `sovrun key rotate %s --no-new` goes on)",
                            bucket, name);
        io->found += json_i64_or(answer, "found", 0);
        io->rewrapped += json_i64_or(answer, "rewrapped", 0);
        json_array_extend(io->failed, json_object_get(answer, "failed"));
        progress_note(progress, "%s: %" PRId64 " artifacts of key %s, %" PRId64 " wrapped again", bucket,
                      io->found, name, io->rewrapped);
        if (!json_is_true(json_object_get(answer, "more")))
            return OK;
        json_object_set_new(body, "after", json_string(json_text_or(answer, "after", "")));
    }
    return err_set(e, ERR_LIMIT, "bucket %s does not come to an end", bucket);
}

static enum err_code rewrap_all(struct cli *c, struct api_client *api, const char *name, struct tally *out,
                                struct err *e)
{
    CLEANUP(json_donep) json_t *keys = NULL;
    struct progress progress = follow_progress(c);
    json_t *bucket;
    size_t i;
    if (api_call(api, "GET", "/v1/keys", NULL, &keys, e))
        return e->code;
    json_array_foreach(json_object_get(keys, "buckets"), i, bucket)
    {
        if (rewrap_bucket(api, name, json_string_value(bucket), &progress, out, e))
            break;
    }
    progress_clear(&progress);
    return e->code;
}

static enum err_code tell_rotated(struct cli *c, const char *name, int64_t version, const struct tally *t,
                                  struct err *e)
{
    size_t i;
    json_t *failed;
    c->status = json_array_size(t->failed) ? CLI_FAILED : CLI_DONE;
    if (c->json) {
        CLEANUP(json_donep)
        json_t *doc =
            json_pack("{s:s,s:I,s:I,s:I,s:O}", "name", name, "version", (json_int_t)version, "found",
                      (json_int_t)t->found, "rewrapped", (json_int_t)t->rewrapped, "failed", t->failed);
        return print_json(doc, e);
    }
    json_array_foreach(t->failed, i, failed)
    {
        cli_say("%s: %s", json_text_or(failed, "manifest", ""), json_text_or(failed, "why", ""));
    }
    if (version > 0 && print_line(e, "key %s has version %" PRId64 " now", name, version))
        return e->code;
    return print_line(e, "%" PRId64 " artifacts are under it: %" PRId64 " wrapped again now, %zu failed",
                      t->found, t->rewrapped, json_array_size(t->failed));
}

static enum err_code rotate_run(struct cli *c, const struct arguments *a, const void *settings, struct err *e)
{
    const struct rotate_settings *s = settings;
    CLEANUP(api_closep) struct api_client *api = NULL;
    CLEANUP(json_donep) json_t *made = NULL;
    CLEANUP(tally_done) struct tally t = { .failed = json_array() };
    if (client_open(c, &api, e) || (!s->no_new && make(api, a->list[0], true, &made, e)) ||
        rewrap_all(c, api, a->list[0], &t, e))
        return e->code;
    return tell_rotated(c, a->list[0], made ? json_i64_or(made, "version", 0) : 0, &t, e);
}

static const struct opt rotate_options[] = {
    OPT_FLAG_ROW(rotate_settings, no_new, "no-new", 0, "no new version: only go on with wrapping again"),
    OPT_END,
};
const struct cmd cmd_key_rotate = {
    .name = "key rotate",
    .args = "NAME",
    .args_min = 1,
    .args_max = 1,
    .help = "make a key's next version and wrap again what it wrapped (role admin)",
    .more =
        "Every checkpoint and model whose data key the key wrapped gets a note beside its manifest; no "
        "locked "
        "object is touched, and what was sealed opens as before. Afterwards the old version may be destroyed "
        "(sovrun key destroy NAME --version N).",
    .options = rotate_options,
    .settings_bytes = sizeof(struct rotate_settings),
    .run = rotate_run,
};

/* ---- destroy ---- */

struct destroy_settings {
    int64_t version;
    const char *confirm;
};

/* The name once more: from the terminal, or from --confirm. */
static enum err_code ask(const char *name, const struct destroy_settings *s, struct err *e)
{
    char line[ANSWER_BYTES] = "";
    if (!s->confirm && !isatty(STDIN_FILENO))
        return err_set(e, ERR_USAGE,
                       "what key '%s' sealed is lost for good once it is destroyed: --confirm %s says that "
                       "this is meant",
                       name, name);
    if (!s->confirm) {
        fprintf(stderr,
                "What key '%s' sealed, and was not wrapped again, can never be opened from then on.\n"
                "Type the key's name to destroy it: ",
                name);
        if (!fgets(line, sizeof(line), stdin))
            line[0] = '\0';
        line[strcspn(line, "\n")] = '\0';
    }
    if (strcmp(s->confirm ? s->confirm : line, name) != 0)
        return err_set(e, ERR_USAGE, "that is not '%s': nothing was destroyed", name);
    return OK;
}

static enum err_code destroy_run(struct cli *c, const struct arguments *a, const void *settings,
                                 struct err *e)
{
    const struct destroy_settings *s = settings;
    const char *name = a->list[0];
    CLEANUP(api_closep) struct api_client *api = NULL;
    CLEANUP(json_donep) json_t *answer = NULL;
    if (ask(name, s, e))
        return e->code;
    CLEANUP(json_donep)
    json_t *body = json_pack("{s:I,s:s}", "version", (json_int_t)s->version, "confirm", name);
    if (client_open(c, &api, e) || call_key(api, name, "destroy", body, &answer, e))
        return e->code;
    if (c->json)
        return print_json(answer, e);
    return print_line(e, "destroyed %zu version(s) of key %s",
                      json_array_size(json_object_get(answer, "destroyed")), name);
}

static const struct opt destroy_options[] = {
    OPT_INT_ROW(destroy_settings, version, "version", 0, "N", 1, INT64_MAX, "that version alone [all]"),
    OPT_TEXT_ROW(destroy_settings, confirm, "confirm", 0, "NAME",
                 "the key's name once more, where nobody can be asked"),
    OPT_END,
};
const struct cmd cmd_key_destroy = {
    .name = "key destroy",
    .args = "NAME",
    .args_min = 1,
    .args_max = 1,
    .help = "destroy a key: what it sealed can never be opened again (role admin)",
    .options = destroy_options,
    .settings_bytes = sizeof(struct destroy_settings),
    .run = destroy_run,
};
