/* data stage, ls, verify: what is in the store to train on. */
#include "base/mem.h"
#include "base/num.h"
#include "base/text.h"
#include "runner/cli/cli.h"
#include "runner/cli/commands.h"
#include "runner/cli/follow.h"
#include "runner/cli/print.h"
#include "runner/cli/stage.h"

#include <inttypes.h>
#include <pwd.h>
#include <string.h>

enum { CATALOGUE_MAX = 10000 };

/* The address of a dataset, with the store that holds it. */
struct place {
    struct cluster *cluster;                                  /* owned */
    struct store *store;                                      /* owned */
    char bucket[STORE_BUCKET_BYTES], prefix[STORE_KEY_BYTES]; /* no slash at its end */
};

static void place_done(struct place *p)
{
    store_close(p->store);
    cluster_free(p->cluster);
}

static enum err_code place_open(const struct cli *c, const char *uri, struct place *out, struct err *e)
{
    if (store_uri_parse(uri, out->bucket, out->prefix, e))
        return e->code;
    for (size_t n = strlen(out->prefix); n > 0 && out->prefix[n - 1] == '/'; n--)
        out->prefix[n - 1] = '\0';
    if (!out->prefix[0])
        return err_set(e, ERR_USAGE, "'%s' must name a place in the bucket, as in s3://%s/NAME/v1", uri,
                       out->bucket);
    if (cli_cluster(c, &out->cluster, e))
        return e->code;
    return cluster_open_store(out->cluster, out->bucket, &out->store, e);
}

/* ---- stage ---- */

struct stage_settings {
    const char *data_class, *owner, *basis, *name;
    int64_t shards, shard_records;
    struct opt_list columns, missing;
};

static enum err_code read_class(const char *text, enum data_class *out, struct err *e)
{
    for (int i = 0; data_class_names[i]; i++)
        if (strcmp(data_class_names[i], text) == 0) {
            *out = (enum data_class)i;
            return OK;
        }
    return err_set(e, ERR_USAGE, "--class '%s': must be public, internal, pseudonymized or personal", text);
}

static enum err_code stage_options_of(const struct stage_settings *s, struct stage_options *out,
                                      struct err *e)
{
    const struct passwd *user = getpwuid(geteuid());
    struct stage_options o = {
        .data_class = CLASS_PERSONAL,
        .name = s->name,
        .owner = s->owner ? s->owner
                 : user   ? user->pw_name
                          : "",
        .basis = s->basis,
        .shards = s->shards,
        .shard_records = s->shard_records,
        .columns = &s->columns,
    };
    if (s->shards && s->shard_records)
        return err_set(e, ERR_USAGE,
                       "--shards and --shard-records say the same thing twice; give one of them");
    if (s->data_class && read_class(s->data_class, &o.data_class, e))
        return e->code;
    for (size_t i = 0; i < s->missing.count; i++) {
        if (i == STAGE_MISSING_MAX)
            return err_set(e, ERR_USAGE, "--missing may be given at most %d times", STAGE_MISSING_MAX);
        o.missing[o.missing_count++] = s->missing.items[i];
    }
    *out = o;
    return OK;
}

static enum err_code tell_staged(struct cli *c, const char *bucket, const char *prefix,
                                 const struct stage_result *r, const struct stage_options *o, struct err *e)
{
    char bytes[NUM_TEXT_BYTES];
    CLEANUP(freep) char *uri = mem_printf("s3://%s/%s", bucket, prefix);
    if (c->json) {
        CLEANUP(json_donep)
        json_t *doc =
            json_pack("{s:s,s:b,s:I,s:I,s:I,s:s,s:s}", "uri", uri, "already", (int)r->already, "records",
                      (json_int_t)r->records, "shards", (json_int_t)r->shards, "bytes", (json_int_t)r->bytes,
                      "class", data_class_names[o->data_class], "digest", r->digest);
        return print_json(doc, e);
    }
    return print_line(e, "%s %s: %" PRIu64 " records in %zu shards, %s, class %s",
                      r->already ? "already there:" : "staged", uri, r->records, r->shards,
                      format_size(r->bytes, bytes), data_class_names[o->data_class]);
}

static enum err_code check_place(const struct place *p, enum data_class data_class, struct err *e)
{
    if (cluster_is_ledgers(p->cluster, p->bucket, p->prefix))
        return err_set(e, ERR_DENIED, "s3://%s/%s is where the ledger lies: choose another place", p->bucket,
                       p->prefix);
    return stage_check_policy(&p->cluster->policy, p->bucket, data_class, e);
}

static enum err_code stage_run(struct cli *c, const struct arguments *a, const void *settings, struct err *e)
{
    const struct stage_settings *s = settings;
    CLEANUP(place_done) struct place p = { .store = NULL };
    CLEANUP(csv_facts_done) struct csv_facts facts = { .columns = NULL };
    const char *path = a->list[0] + (text_starts(a->list[0], "file://") ? strlen("file://") : 0);
    struct progress progress = follow_progress(c);
    struct stage_options o = { .name = NULL };
    struct stage_result r = { .already = false };

    if (stage_options_of(s, &o, e) || place_open(c, a->list[1], &p, e) || check_place(&p, o.data_class, e))
        return e->code;
    o.progress = &progress;
    enum err_code code = stage_survey(path, &o, &facts, e);
    if (code == OK)
        code = stage_file(path, &facts, p.store, p.bucket, p.prefix, &o, &r, e);
    progress_clear(&progress);
    if (code)
        return code;
    if (!s->data_class)
        cli_say("classed as personal, the strictest; --class says otherwise");
    return tell_staged(c, p.bucket, p.prefix, &r, &o, e);
}

static const struct opt stage_rows[] = {
    OPT_TEXT_ROW(stage_settings, data_class, "class", 'c', "CLASS",
                 "public, internal, pseudonymized or personal [personal]"),
    OPT_TEXT_ROW(stage_settings, owner, "owner", 'o', "WHO", "who answers for the data [you]"),
    OPT_TEXT_ROW(stage_settings, basis, "basis", 'b', "TEXT", "the legal basis of its use"),
    OPT_TEXT_ROW(stage_settings, name, "name", 'n', "NAME", "what it is called [the file's name]"),
    OPT_INT_ROW(stage_settings, shards, "shards", 0, "N", 1, DATASET_SHARDS_MAX, "cut it into N shards [8]"),
    OPT_INT_ROW(stage_settings, shard_records, "shard-records", 0, "N", 1, INT64_MAX,
                "cut it into shards of at most N records"),
    OPT_LIST_ROW(stage_settings, columns, "column", 0, "NAME=KIND", "take a column as category or numeric"),
    OPT_LIST_ROW(stage_settings, missing, "missing", 0, "TEXT",
                 "a value that stands for \"not known\", beside \"\" and \"?\""),
    OPT_END,
};
const struct cmd cmd_data_stage = {
    .name = "data stage",
    .args = "FILE.csv URI",
    .args_min = 2,
    .args_max = 2,
    .help = "put a CSV file into the store, in shards",
    .more = "URI is s3://BUCKET/PREFIX, the address that a job's data.train then names. The same content "
            "again does nothing.",
    .options = stage_rows,
    .settings_bytes = sizeof(struct stage_settings),
    .run = stage_run,
};

/* ---- ls ---- */

struct catalogue {
    char (*prefixes)[STORE_KEY_BYTES]; /* owned */
    size_t count;
};

static void catalogue_done(struct catalogue *k)
{
    free(k->prefixes);
}

static enum err_code add_manifest(void *context, const struct store_info *info, struct err *e)
{
    static const char ending[] = "/" DATASET_MANIFEST_NAME;
    struct catalogue *k = context;
    size_t n = strlen(info->key);
    if (!text_ends(info->key, ending))
        return OK;
    if (k->count == CATALOGUE_MAX)
        return err_set(e, ERR_LIMIT, "more than %d datasets; name a prefix", CATALOGUE_MAX);
    k->prefixes = mem_grow(k->prefixes, k->count + 1, sizeof(*k->prefixes));
    snprintf(k->prefixes[k->count++], STORE_KEY_BYTES, "%.*s", (int)(n - strlen(ending)), info->key);
    return OK;
}

static json_t *dataset_json(const char *bucket, const char *prefix, const struct dataset *d,
                            const char *digest)
{
    CLEANUP(freep) char *uri = mem_printf("s3://%s/%s", bucket, prefix);
    uint64_t records = 0, bytes = 0;
    for (size_t i = 0; i < d->shard_count; i++) {
        records += d->shards[i].records;
        bytes += d->shards[i].bytes;
    }
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:s,s:n}", "uri", uri, "name", d->name,
                     "class", data_class_names[d->data_class], "owner", d->owner, "basis", d->basis, "source",
                     d->source, "columns", (json_int_t)d->column_count, "records", (json_int_t)records,
                     "bytes", (json_int_t)bytes, "shards", (json_int_t)d->shard_count, "created_ms",
                     (json_int_t)d->created_ms, "digest", digest, "bad");
}

/* A manifest that cannot be read is shown as that, and does not hide the others. */
static enum err_code list_one(struct store *store, const char *bucket, const char *prefix, json_t *list,
                              struct err *e)
{
    CLEANUP(dataset_done) struct dataset d = { .columns = NULL };
    char digest[65];
    if (dataset_load(store, prefix, &d, digest, e) == OK) {
        json_array_append_new(list, dataset_json(bucket, prefix, &d, digest));
        return OK;
    }
    if (e->code == ERR_NOT_FOUND || e->code == ERR_CORRUPT) {
        CLEANUP(freep) char *uri = mem_printf("s3://%s/%s", bucket, prefix);
        if (e->code == ERR_CORRUPT)
            json_array_append_new(list, json_pack("{s:s,s:s}", "uri", uri, "bad", e->text));
        err_clear(e);
    }
    return e->code;
}

static enum err_code list_datasets(const json_t *list, struct err *e)
{
    static const char *const headings[] = { "URI",    "CLASS",        "OWNER", ">RECORDS", ">SHARDS",
                                            ">BYTES", "STAGED (UTC)", "NAME",  NULL };
    CLEANUP(print_table_done) struct print_table t = print_table_new(headings);
    size_t i;
    json_t *d;
    json_array_foreach(list, i, d)
    {
        const char *bad = json_text_or(d, "bad", NULL);
        char number[48], bytes[NUM_TEXT_BYTES], time[32];
        print_text_cell(&t, json_text_or(d, "uri", ""));
        print_text_cell(&t, json_text_or(d, "class", "-"));
        print_text_cell(&t, json_text_or(d, "owner", "-"));
        print_text_cell(&t, bad ? "-" : progress_count((double)json_i64_or(d, "records", 0), number));
        print_cell(&t, COLOUR_NONE, "%" PRId64, json_i64_or(d, "shards", 0));
        print_text_cell(&t, format_size((uint64_t)json_i64_or(d, "bytes", 0), bytes));
        print_text_cell(&t, print_time(json_i64_or(d, "created_ms", 0), time));
        print_cell(&t, bad ? COLOUR_BAD : COLOUR_NONE, "%s%s", bad ? "BAD: " : json_text_or(d, "name", ""),
                   bad ? bad : "");
    }
    return print_table_out(&t, e);
}

static enum err_code ls_run(struct cli *c, const struct arguments *a, const void *settings, struct err *e)
{
    CLEANUP(cluster_freep) struct cluster *cluster = NULL;
    CLEANUP(store_closep) struct store *store = NULL;
    CLEANUP(catalogue_done) struct catalogue k = { .count = 0 };
    CLEANUP(json_donep) json_t *list = json_array();
    char bucket[STORE_BUCKET_BYTES], prefix[STORE_KEY_BYTES] = "";
    (void)settings;

    if (cli_cluster(c, &cluster, e))
        return e->code;
    memcpy(bucket, cluster->default_data_bucket, sizeof(bucket));
    if ((a->count && store_uri_parse(a->list[0], bucket, prefix, e)) ||
        cluster_open_store(cluster, bucket, &store, e) ||
        store_list(store, prefix, NULL, add_manifest, &k, e))
        return e->code;
    for (size_t i = 0; i < k.count; i++)
        if (list_one(store, bucket, k.prefixes[i], list, e))
            return e->code;
    if (!c->json)
        return list_datasets(list, e);
    CLEANUP(json_donep) json_t *doc = json_pack("{s:O}", "datasets", list);
    return print_json(doc, e);
}

const struct cmd cmd_data_ls = {
    .name = "data ls",
    .args = "[URI]",
    .args_max = 1,
    .help = "the datasets in the store",
    .run = ls_run,
};

/* ---- verify ---- */

struct findings {
    json_t *bad; /* owned */
    bool say;
    struct progress *progress;
};

static void note_bad(void *context, const struct dataset_shard *shard, const char *why)
{
    struct findings *f = context;
    json_array_append_new(f->bad, json_pack("{s:s,s:s,s:s}", "key", shard->key, "version", shard->version,
                                            "why", why));
    if (!f->say)
        return;
    progress_clear(f->progress);
    cli_say("%s: %s", shard->key, why);
}

static enum err_code verify_run(struct cli *c, const struct arguments *a, const void *settings, struct err *e)
{
    CLEANUP(place_done) struct place p = { .store = NULL };
    CLEANUP(dataset_done) struct dataset d = { .columns = NULL };
    CLEANUP(json_donep) json_t *bad = json_array();
    struct progress progress = follow_progress(c);
    struct findings f = { bad, !c->json, &progress };
    char digest[65];
    size_t count = 0;
    (void)settings;

    if (place_open(c, a->list[0], &p, e) || dataset_load(p.store, p.prefix, &d, digest, e))
        return e->code;
    enum err_code code = stage_verify(p.store, &d, &progress, note_bad, &f, &count, e);
    progress_clear(&progress);
    if (code)
        return code;
    c->status = count ? CLI_FAILED : CLI_DONE;
    if (c->json) {
        CLEANUP(json_donep)
        json_t *doc = json_pack("{s:b,s:s,s:s,s:I,s:O}", "ok", (int)(count == 0), "uri", a->list[0], "digest",
                                digest, "shards", (json_int_t)d.shard_count, "bad", bad);
        return print_json(doc, e);
    }
    if (count)
        return print_line(e, "%zu of %zu shards are not as the manifest says", count, d.shard_count);
    return print_line(e, "ok: %zu shards, manifest sha256:%s", d.shard_count, digest);
}

const struct cmd cmd_data_verify = {
    .name = "data verify",
    .args = "URI",
    .args_min = 1,
    .args_max = 1,
    .help = "read every shard again, by its hash",
    .more = "Names each shard that is not as the manifest says; then the exit code is 1.",
    .run = verify_run,
};
