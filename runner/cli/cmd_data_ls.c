/* data ls, verify: what is in the store to train on. */
#include "base/mem.h"
#include "base/num.h"
#include "base/text.h"
#include "runner/cli/cli.h"
#include "runner/cli/commands.h"
#include "runner/cli/data_place.h"
#include "runner/cli/follow.h"
#include "runner/cli/print.h"

#include <inttypes.h>
#include <string.h>

enum { CATALOGUE_MAX = 10000, TOKENIZER_FILES = 2 };

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

static json_t *findings_json(const struct dataset *d)
{
    json_t *list = json_array();
    for (size_t i = 0; i < d->finding_count; i++)
        json_array_append_new(list,
                              json_pack("{s:s,s:s,s:I}", "column", d->findings[i].column, "kind",
                                        d->findings[i].kind, "count", (json_int_t)d->findings[i].count));
    return list;
}

/* bytes: of the data; stored_bytes: as it lies there. */
static json_t *dataset_json(const char *bucket, const char *prefix, const struct dataset *d,
                            const char *digest)
{
    CLEANUP(freep) char *uri = mem_printf("s3://%s/%s", bucket, prefix);
    uint64_t bytes = 0, stored = 0;
    for (size_t i = 0; i < d->shard_count; i++) {
        bytes += dataset_plain_bytes(d, i);
        stored += d->shards[i].bytes;
    }
    return json_pack(
        "{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:s,s:s,s:s,s:s,s:s,s:I,s:o,s:n}", "uri",
        uri, "name", d->name, "class", data_class_names[d->data_class], "owner", d->owner, "basis", d->basis,
        "source", d->source, "format", d->format, "compression", compression_names[d->compression], "columns",
        (json_int_t)d->column_count, "records", (json_int_t)dataset_records(d), "bytes", (json_int_t)bytes,
        "stored_bytes", (json_int_t)stored, "shards", (json_int_t)d->shard_count, "created_ms",
        (json_int_t)d->created_ms, "digest", digest, "scan", dataset_scan_names[d->scan], "override_by",
        d->override_by, "override_reason", d->override_reason, "tokenizer",
        tokenizer_kind_names[d->tokenizer.kind], "vocabulary", (json_int_t)d->tokenizer.vocabulary,
        "findings", findings_json(d), "bad");
}

/* A manifest that cannot be read is shown as that, and does not hide the others. */
static enum err_code list_one(struct store *store, const char *bucket, const char *prefix,
                              const char *version, json_t *list, struct err *e)
{
    CLEANUP(dataset_done) struct dataset d = { .columns = NULL };
    char digest[65];
    if (dataset_load_version(store, prefix, version, &d, digest, e) == OK) {
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

/* The versions of one key. */
struct versions {
    const char *key;
    char (*list)[STORE_VERSION_BYTES]; /* owned */
    size_t count;
};

static enum err_code add_version(void *context, const struct store_info *info, struct err *e)
{
    struct versions *v = context;
    if (strcmp(info->key, v->key) != 0 || info->is_delete_marker)
        return OK;
    if (v->count == CATALOGUE_MAX)
        return err_set(e, ERR_LIMIT, "more than %d versions of '%s'", CATALOGUE_MAX, v->key);
    v->list = mem_grow(v->list, v->count + 1, sizeof(*v->list));
    memcpy(v->list[v->count++], info->version, STORE_VERSION_BYTES);
    return OK;
}

/* Newest first: every manifest that ever stood there. */
static enum err_code list_versions(struct store *store, const char *bucket, const char *prefix, json_t *list,
                                   struct err *e)
{
    CLEANUP(freep) char *key = mem_printf("%s/" DATASET_MANIFEST_NAME, prefix);
    struct versions v = { .key = key };
    enum err_code code = store_list_versions(store, key, add_version, &v, e);

    for (size_t i = 0; i < v.count && code == OK; i++)
        code = list_one(store, bucket, prefix, v.list[i], list, e);
    free(v.list);
    return code;
}

static void print_format(struct print_table *t, const json_t *d)
{
    bool packed = strcmp(json_text_or(d, "compression", "none"), "none") != 0;
    print_cell(t, COLOUR_NONE, "%s%s%s", json_text_or(d, "format", "-"), packed ? "+" : "",
               packed ? json_text_or(d, "compression", "") : "");
}

/* "-": nothing; "not scanned"; "3" findings; "3, overridden". */
static void print_found(struct print_table *t, const json_t *d)
{
    size_t count = json_array_size(json_object_get(d, "findings"));
    bool overridden = json_text_or(d, "override_by", "")[0] != '\0';

    if (strcmp(json_text_or(d, "scan", "none"), "none") == 0)
        print_text_cell(t, "not scanned");
    else if (count == 0)
        print_text_cell(t, "-");
    else
        print_cell(t, overridden ? COLOUR_BUSY : COLOUR_NONE, "%zu%s", count,
                   overridden ? ", overridden" : "");
}

static enum err_code list_datasets(const json_t *list, struct err *e)
{
    static const char *const headings[] = { "URI",          "CLASS",  "OWNER",  "BASIS", ">RECORDS",
                                            ">SHARDS",      ">BYTES", "FORMAT", "FOUND", "DIGEST",
                                            "STAGED (UTC)", "NAME",   NULL };
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
        print_text_cell(&t, json_text_or(d, "basis", "-"));
        print_text_cell(&t, bad ? "-" : progress_count((double)json_i64_or(d, "records", 0), number));
        print_cell(&t, COLOUR_NONE, "%" PRId64, json_i64_or(d, "shards", 0));
        print_text_cell(&t, format_size((uint64_t)json_i64_or(d, "bytes", 0), bytes));
        print_format(&t, d);
        print_found(&t, d);
        print_cell(&t, COLOUR_NONE, "%.12s", json_text_or(d, "digest", "-"));
        print_text_cell(&t, print_time(json_i64_or(d, "created_ms", 0), time));
        print_cell(&t, bad ? COLOUR_BAD : COLOUR_NONE, "%s%s", bad ? "BAD: " : json_text_or(d, "name", ""),
                   bad ? bad : "");
    }
    return print_table_out(&t, e);
}

struct ls_settings {
    const char *data_class, *owner;
    bool all;
};

/* What cannot be read is shown whatever is asked for: nobody knows what it is. */
static bool is_wanted(const struct ls_settings *s, const json_t *d)
{
    if (!json_object_get(d, "class"))
        return true;
    return (!s->data_class || strcmp(json_text_or(d, "class", ""), s->data_class) == 0) &&
           (!s->owner || strcmp(json_text_or(d, "owner", ""), s->owner) == 0);
}

static enum err_code check_class(const char *text, struct err *e)
{
    for (int i = 0; text && data_class_names[i]; i++)
        if (strcmp(data_class_names[i], text) == 0)
            return OK;
    return text ? err_set(e, ERR_USAGE, "--class '%s': must be public, internal, pseudonymized or personal",
                          text)
                : OK;
}

static enum err_code ls_run(struct cli *c, const struct arguments *a, const void *settings, struct err *e)
{
    CLEANUP(cluster_freep) struct cluster *cluster = NULL;
    CLEANUP(store_closep) struct store *store = NULL;
    CLEANUP(catalogue_done) struct catalogue k = { .count = 0 };
    CLEANUP(json_donep) json_t *list = json_array();
    char bucket[STORE_BUCKET_BYTES], prefix[STORE_KEY_BYTES] = "";
    const struct ls_settings *s = settings;

    if (check_class(s->data_class, e) || cli_cluster(c, &cluster, e))
        return e->code;
    memcpy(bucket, cluster->default_data_bucket, sizeof(bucket));
    if ((a->count && store_uri_parse(a->list[0], bucket, prefix, e)) ||
        cluster_open_store(cluster, bucket, &store, e) ||
        store_list(store, prefix, NULL, add_manifest, &k, e))
        return e->code;
    for (size_t i = 0; i < k.count; i++)
        if (s->all ? list_versions(store, bucket, k.prefixes[i], list, e)
                   : list_one(store, bucket, k.prefixes[i], NULL, list, e))
            return e->code;
    for (size_t i = json_array_size(list); i-- > 0;)
        if (!is_wanted(s, json_array_get(list, i)))
            json_array_remove(list, i);
    if (!c->json)
        return list_datasets(list, e);
    CLEANUP(json_donep) json_t *doc = json_pack("{s:O}", "datasets", list);
    return print_json(doc, e);
}

static const struct opt ls_rows[] = {
    OPT_TEXT_ROW(ls_settings, data_class, "class", 'c', "CLASS", "only of that class"),
    OPT_FLAG_ROW(ls_settings, all, "all", 'a', "earlier manifests too, newest first"),
    OPT_TEXT_ROW(ls_settings, owner, "owner", 'o', "WHO", "only whose owner that is"),
    OPT_END,
};
const struct cmd cmd_data_ls = {
    .name = "data ls",
    .args = "[URI]",
    .args_max = 1,
    .help = "the datasets in the store",
    .options = ls_rows,
    .settings_bytes = sizeof(struct ls_settings),
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

/* The tokenizer's files are part of it. */
static enum err_code verify_tokenizer(struct store *store, const struct dataset *d, struct findings *f,
                                      size_t *io_bad, struct err *e)
{
    const struct dataset_file *const files[TOKENIZER_FILES] = { &d->tokenizer.vocab, &d->tokenizer.merges };

    for (size_t i = 0; d->tokenizer.kind == TOKENIZER_BPE && i < TOKENIZER_FILES; i++) {
        struct dataset_shard shown = { .bytes = 0 };
        struct err why = ERR_INIT;
        if (stage_tokenizer_verify(store, files[i], &why, e))
            return e->code;
        if (!why.code)
            continue;
        memcpy(shown.key, files[i]->key, sizeof(shown.key));
        memcpy(shown.version, files[i]->version, sizeof(shown.version));
        note_bad(f, &shown, why.text);
        ++*io_bad;
    }
    return OK;
}

struct verify_settings {
    int64_t parallel;
};

static enum err_code verify_run(struct cli *c, const struct arguments *a, const void *settings, struct err *e)
{
    const struct verify_settings *s = settings;
    CLEANUP(data_place_done) struct data_place p = { .cluster = NULL };
    CLEANUP(store_closep) struct store *store = NULL;
    CLEANUP(dataset_done) struct dataset d = { .columns = NULL };
    CLEANUP(json_donep) json_t *bad = json_array();
    struct progress progress = follow_progress(c);
    struct findings f = { bad, !c->json, &progress };
    char digest[65];
    size_t count = 0;

    if (data_place_open(c, a->list[0], &p, e) || p.target.open(p.target.context, &store, e) ||
        dataset_load(store, p.prefix, &d, digest, e))
        return e->code;
    enum err_code code = stage_verify(&p.target, &d, (size_t)s->parallel, &progress, note_bad, &f, &count, e);
    if (code == OK)
        code = verify_tokenizer(store, &d, &f, &count, e);
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
        return print_line(e, "%zu of %zu %s are not as the manifest says", count,
                          d.shard_count + (d.tokenizer.kind == TOKENIZER_BPE ? TOKENIZER_FILES : 0),
                          d.tokenizer.kind == TOKENIZER_BPE ? "shards and files" : "shards");
    return print_line(e, "ok: %zu shards, manifest sha256:%s", d.shard_count, digest);
}

static const struct opt verify_rows[] = {
    OPT_INT_ROW(verify_settings, parallel, "parallel", 'p', "N", 1, STAGE_PARALLEL_MAX,
                "threads that read [4]"),
    OPT_END,
};
const struct cmd cmd_data_verify = {
    .name = "data verify",
    .args = "URI",
    .args_min = 1,
    .args_max = 1,
    .help = "read every shard again, by its hash",
    .more = "Names each shard, or file of the tokenizer, that is not as the manifest says; then the exit "
            "code is 1.",
    .options = verify_rows,
    .settings_bytes = sizeof(struct verify_settings),
    .run = verify_run,
};
