#include "core/job/dataset.h"

#include "base/mem.h"
#include "base/text.h"
#include "core/crypto/crypto.h"
#include "core/job/dataset_tokenizer.h"
#include "core/job/record.h"
#include "core/zip/zip.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define WHAT "dataset manifest"
enum { MANIFEST_VERSION = 3 };

const char *const data_class_names[] = { "public", "internal", "pseudonymized", "personal", NULL };
const char *const column_kind_names[] = { "numeric", "category", NULL };
const char *const compression_names[] = { "none", "zstd", NULL };
const char *const dataset_scan_names[] = { "none", "columns", "lines", NULL };

static const struct record_member members[] = {
    RECORD_TEXT_ROW(dataset, name, 1),
    RECORD_TEXT_ROW(dataset, owner, 0),
    RECORD_TEXT_ROW(dataset, basis, 0),
    RECORD_TEXT_ROW(dataset, source, 0),
    { "class", RECORD_CHOICE, offsetof(struct dataset, data_class), sizeof(int), 0, 0, data_class_names },
    RECORD_TEXT_ROW(dataset, format, 1),
    RECORD_TEXT_ROW(dataset, bucket, 1),
    RECORD_INT_ROW(dataset, created_ms, 0, INT64_MAX),
    RECORD_CHOICE_ROW(dataset, compression, compression_names),
    RECORD_INT_ROW(dataset, token_bytes, 0, 4),
    RECORD_CHOICE_ROW(dataset, scan, dataset_scan_names),
    RECORD_TEXT_ROW(dataset, override_by, 0),
    RECORD_TEXT_ROW(dataset, override_reason, 0),
    RECORD_OTHER_ROW("columns"),
    RECORD_OTHER_ROW("findings"),
    RECORD_OTHER_ROW("shards"),
    RECORD_OTHER_ROW("tokenizer"),
    RECORD_OTHER_ROW("version"),
    RECORD_END,
};

static const struct record_member column_members[] = {
    RECORD_TEXT_ROW(dataset_column, name, 1),
    RECORD_CHOICE_ROW(dataset_column, kind, column_kind_names),
    RECORD_END,
};

static const struct record_member shard_members[] = {
    RECORD_TEXT_ROW(dataset_shard, key, 1),
    RECORD_TEXT_ROW(dataset_shard, version, 1),
    RECORD_HEX_ROW(dataset_shard, sha256, 1),
    RECORD_UINT_ROW(dataset_shard, bytes, 1, STORE_OBJECT_BYTES_MAX),
    RECORD_UINT_ROW(dataset_shard, records, 1, STORE_OBJECT_BYTES_MAX),
    RECORD_UINT_ROW(dataset_shard, plain_bytes, 1, STORE_OBJECT_BYTES_MAX),
    RECORD_HEX_ROW(dataset_shard, plain_sha256, 1),
    RECORD_END,
};

static const struct record_member finding_members[] = {
    RECORD_TEXT_ROW(dataset_finding, column, 1),
    RECORD_TEXT_ROW(dataset_finding, kind, 1),
    RECORD_UINT_ROW(dataset_finding, count, 1, INT64_MAX),
    RECORD_END,
};

void dataset_done(struct dataset *d)
{
    free(d->columns);
    free(d->shards);
    free(d->findings);
    *d = (struct dataset){ .columns = NULL };
}

static json_t *list_to_json(const struct record_member *of, const void *first, size_t count, size_t stride)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        invariant(json_array_append_new(list, record_to_json(of, (const uint8_t *)first + i * stride)) == 0);
    return list;
}

uint64_t dataset_records(const struct dataset *d)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < d->shard_count; i++)
        sum += d->shards[i].records;
    return sum;
}

uint64_t dataset_plain_bytes(const struct dataset *d, size_t shard)
{
    invariant(d->shards != NULL && shard < d->shard_count);
    return d->compression == COMPRESSION_NONE ? d->shards[shard].bytes : d->shards[shard].plain_bytes;
}

const char *dataset_plain_sha256(const struct dataset *d, size_t shard)
{
    return d->compression == COMPRESSION_NONE ? d->shards[shard].sha256 : d->shards[shard].plain_sha256;
}

static json_t *shards_to_json(const struct dataset *d)
{
    json_t *list = list_to_json(shard_members, d->shards, d->shard_count, sizeof(d->shards[0]));
    for (size_t i = 0; i < d->shard_count; i++) {
        json_t *shard = json_array_get(list, i);
        record_set(shard, "plain_bytes", json_integer((json_int_t)dataset_plain_bytes(d, i)));
        record_set(shard, "plain_sha256", record_text(dataset_plain_sha256(d, i)));
    }
    return list;
}

enum err_code dataset_to_text(const struct dataset *d, struct buf *out, struct err *e)
{
    CLEANUP(json_donep) json_t *o = record_to_json(members, d);
    record_set(o, "findings",
               list_to_json(finding_members, d->findings, d->finding_count, sizeof(d->findings[0])));
    record_set(o, "columns",
               list_to_json(column_members, d->columns, d->column_count, sizeof(d->columns[0])));
    record_set(o, "shards", shards_to_json(d));
    record_set(o, "tokenizer", dataset_tokenizer_to_json(&d->tokenizer));
    record_set(o, "version", json_integer(MANIFEST_VERSION));
    return json_canonical(o, out, e);
}

/* An array of records into a new array of structs. The caller frees *out, also after a failure. */
static enum err_code read_list(const json_t *o, const char *name, const struct record_member *of, size_t min,
                               size_t max, size_t stride, void **out, size_t *out_count, struct err *e)
{
    json_t *list, *item;
    size_t i;
    if (json_get_array(o, WHAT, name, &list, e))
        return e->code;
    size_t count = json_array_size(list);
    if (count < min || count > max)
        return err_set(e, ERR_CORRUPT, WHAT ": '%s' must have from %zu to %zu entries, not %zu", name, min,
                       max, count);
    *out = mem_array(MAX(count, (size_t)1), stride);
    json_array_foreach(list, i, item)
    {
        char what[64];
        snprintf(what, sizeof(what), WHAT ": %s[%zu]", name, i);
        if (record_from_json(item, what, of, (uint8_t *)*out + i * stride, e))
            return e->code;
    }
    *out_count = count;
    return OK;
}

/* Both kinds of entry start with the text that must be unique, so an entry's address is the text's. */
static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}
_Static_assert(offsetof(struct dataset_column, name) == 0 && offsetof(struct dataset_shard, key) == 0,
               "the text comes first");

static enum err_code check_unique(const char *list, const void *first, size_t count, size_t stride,
                                  struct err *e)
{
    CLEANUP(freep) const char **sorted = mem_array(count, sizeof(*sorted));
    for (size_t i = 0; i < count; i++)
        sorted[i] = (const char *)first + i * stride;
    qsort(sorted, count, sizeof(*sorted), by_text);
    for (size_t i = 1; i < count; i++)
        if (strcmp(sorted[i - 1], sorted[i]) == 0)
            return err_set(e, ERR_CORRUPT, WHAT ": '%s' names '%.200s' twice", list, sorted[i]);
    return OK;
}

static enum err_code check_shards(const struct dataset *d, struct err *e)
{
    char uri[STORE_BUCKET_BYTES + STORE_KEY_BYTES + 8], bucket[STORE_BUCKET_BYTES], key[STORE_KEY_BYTES];
    struct err said = ERR_INIT;
    uint64_t records = 0;
    for (size_t i = 0; i < d->shard_count; i++) {
        const struct dataset_shard *s = &d->shards[i];
        snprintf(uri, sizeof(uri), "s3://%s/%s", d->bucket, s->key);
        if (store_uri_parse(uri, bucket, key, &said))
            return err_set(e, ERR_CORRUPT, WHAT ": shards[%zu]: %s", i, said.text);
        if (strcmp(bucket, d->bucket) != 0 || strcmp(key, s->key) != 0)
            return err_set(e, ERR_CORRUPT,
                           WHAT ": shards[%zu]: 'bucket' and 'key' must be as s3://%s/%s names them", i,
                           bucket, key);
        if (s->records > dataset_plain_bytes(d, i))
            return err_set(e, ERR_CORRUPT,
                           WHAT ": shards[%zu]: %" PRIu64 " records cannot stand in %" PRIu64 " bytes", i,
                           s->records, dataset_plain_bytes(d, i));
        records += s->records; /* 65,536 shards of 2^30 do not overflow */
    }
    if (records > (uint64_t)DATASET_RECORDS_MAX)
        return err_set(e, ERR_CORRUPT,
                       WHAT ": its shards hold %" PRIu64 " records; at most %" PRId64 " are possible",
                       records, DATASET_RECORDS_MAX);
    return OK;
}

/* What follows from the format. */
static enum err_code check_format(const struct dataset *d, struct err *e)
{
    bool csv = strcmp(d->format, "csv") == 0, tokens = strcmp(d->format, "tokens") == 0;

    if (!csv && !tokens && strcmp(d->format, "text") != 0)
        return err_set(e, ERR_CORRUPT, WHAT ": 'format' must be csv, tokens or text, not '%s'", d->format);
    if (csv != (d->column_count > 0))
        return err_set(e, ERR_CORRUPT, WHAT ": 'columns' has %zu entries, which does not go with format '%s'",
                       d->column_count, d->format);
    if (tokens ? d->token_bytes != 2 && d->token_bytes != 4 : d->token_bytes != 0)
        return err_set(e, ERR_CORRUPT,
                       WHAT ": 'token_bytes' is %" PRId64 ", which does not go with format '%s'",
                       d->token_bytes, d->format);
    for (size_t i = 0; tokens && i < d->shard_count; i++)
        if (dataset_plain_bytes(d, i) != d->shards[i].records * (uint64_t)d->token_bytes)
            return err_set(e, ERR_CORRUPT,
                           WHAT ": shards[%zu]: %" PRIu64 " tokens cannot be %" PRIu64 " bytes", i,
                           d->shards[i].records, dataset_plain_bytes(d, i));
    return OK;
}

static enum err_code check_plain(const struct dataset *d, struct err *e)
{
    for (size_t i = 0; d->compression == COMPRESSION_NONE && i < d->shard_count; i++)
        if (d->shards[i].bytes != d->shards[i].plain_bytes ||
            strcmp(d->shards[i].sha256, d->shards[i].plain_sha256) != 0)
            return err_set(e, ERR_CORRUPT,
                           WHAT ": shards[%zu]: without compression, plain and stored are the same", i);
    return OK;
}

static enum err_code check(const struct dataset *d, struct err *e)
{
    if (check_format(d, e) || check_plain(d, e) || dataset_tokenizer_check(d, e))
        return e->code;
    if ((d->override_by[0] != '\0') != (d->override_reason[0] != '\0'))
        return err_set(e, ERR_CORRUPT, WHAT ": 'override_by' and 'override_reason' go together");
    if ((d->column_count > 0 &&
         check_unique("columns", d->columns, d->column_count, sizeof(d->columns[0]), e)) ||
        check_unique("shards", d->shards, d->shard_count, sizeof(d->shards[0]), e))
        return e->code;
    return check_shards(d, e);
}

/* An earlier version lacks what a later one adds; a member that it may not have is left for others to refuse.
 */
static void add_members(json_t *o, const char *of, const json_t *added)
{
    const char *name;
    json_t *value;

    invariant(added != NULL);
    json_object_foreach((json_t *)added, name, value)
    {
        if (json_object_get(o, name)) /* then it is no earlier version, and 'x' is no member of it */
            record_set(o, of, json_null());
        record_set(o, name, json_incref(value));
    }
}

static void upgrade_from_1(json_t *o)
{
    json_t *shards = json_object_get(o, "shards"), *shard;
    CLEANUP(json_donep)
    json_t *added = json_pack("{s:s,s:i,s:s,s:s,s:s,s:[]}", "compression", "none", "token_bytes", 0, "scan",
                              "none", "override_by", "", "override_reason", "", "findings");
    size_t i;

    add_members(o, "a member of version 2", added);
    json_array_foreach(shards, i, shard)
    {
        json_t *bytes = json_object_get(shard, "bytes"), *hash = json_object_get(shard, "sha256");
        if (json_is_object(shard) && bytes && !json_object_get(shard, "plain_bytes"))
            record_set(shard, "plain_bytes", json_incref(bytes));
        if (json_is_object(shard) && hash && !json_object_get(shard, "plain_sha256"))
            record_set(shard, "plain_sha256", json_incref(hash));
    }
}

static void upgrade_from_2(json_t *o)
{
    static const struct dataset_tokenizer none = { .kind = TOKENIZER_NONE };
    CLEANUP(json_donep) json_t *added = json_pack("{s:o}", "tokenizer", dataset_tokenizer_to_json(&none));
    add_members(o, "a member of version 3", added);
}

static enum err_code read_version(json_t *o, struct err *e)
{
    int64_t version;
    if (json_get_i64(o, WHAT, "version", &version, e))
        return e->code;
    if (version < 1 || version > MANIFEST_VERSION)
        return err_set(e, ERR_CORRUPT, WHAT ": 'version' must be from 1 to %d, not %" PRId64,
                       MANIFEST_VERSION, version);
    if (version < 2)
        upgrade_from_1(o);
    if (version < 3)
        upgrade_from_2(o);
    return OK;
}

enum err_code dataset_from_text(const void *text, size_t n, struct dataset *out, struct err *e)
{
    CLEANUP(json_donep) json_t *o = NULL;
    CLEANUP(freep) void *columns = NULL;
    CLEANUP(freep) void *shards = NULL;
    CLEANUP(freep) void *findings = NULL;
    struct dataset d;
    memset(&d, 0, sizeof(d));
    if (json_parse(text, n, WHAT, &o, e) || read_version(o, e) || record_from_json(o, WHAT, members, &d, e) ||
        dataset_tokenizer_from_json(o, &d.tokenizer, e) ||
        read_list(o, "columns", column_members, strcmp(d.format, "csv") == 0, DATASET_COLUMNS_MAX,
                  sizeof(d.columns[0]), &columns, &d.column_count, e) ||
        read_list(o, "findings", finding_members, 0, DATASET_FINDINGS_MAX, sizeof(d.findings[0]), &findings,
                  &d.finding_count, e) ||
        read_list(o, "shards", shard_members, 1, DATASET_SHARDS_MAX, sizeof(d.shards[0]), &shards,
                  &d.shard_count, e))
        return e->code;
    d.columns = columns;
    d.shards = shards;
    d.findings = findings;
    if (check(&d, e))
        return e->code;
    columns = shards = findings = NULL; /* they are out's now */
    *out = d;
    return OK;
}

void dataset_digest(const void *text, size_t n, char out_hex[65])
{
    sha256_hex(text, n, out_hex);
}

void dataset_content_digest(const struct dataset *d, char out_hex[65])
{
    CLEANUP(sha256_freep) struct sha256 *h = sha256_new();
    CLEANUP(buf_done) struct buf text = BUF_INIT(JSON_BYTES_MAX);
    uint8_t hash[SHA256_BYTES];

    /* Names carry their length, so that nothing can be read in two ways. */
    buf_addf(&text, "sovrun-dataset-content-v1\n%s\n%zu\n%zu\n", d->format, d->column_count, d->shard_count);
    for (size_t i = 0; i < d->column_count; i++)
        buf_addf(&text, "%s %zu:%s\n", column_kind_names[d->columns[i].kind], strlen(d->columns[i].name),
                 d->columns[i].name);
    for (size_t i = 0; i < d->shard_count; i++)
        buf_addf(&text, "%" PRIu64 " %s\n", d->shards[i].records, dataset_plain_sha256(d, i));
    if (d->token_bytes)
        buf_addf(&text, "token_bytes %" PRId64 "\n", d->token_bytes);
    invariant(!text.full);
    sha256_add(h, text.data, text.len);
    sha256_end(h, hash);
    hex_encode(hash, sizeof(hash), out_hex);
}

/* ---- one shard ---- */

static enum err_code check_bytes(const struct buf *b, uint64_t bytes, const char *sha256, struct err *e)
{
    char hex[SHA256_HEX_BYTES];

    if (b->len != bytes)
        return err_set(e, ERR_CORRUPT, "it has %zu bytes where the manifest says %" PRIu64, b->len, bytes);
    sha256_hex(b->data, b->len, hex);
    if (strcmp(hex, sha256) != 0)
        return err_set(e, ERR_CORRUPT, "its bytes were changed: its SHA-256 is not the manifest's");
    return OK;
}

enum err_code dataset_open_shard(const struct dataset *d, size_t shard, struct buf *io, struct err *e)
{
    const struct dataset_shard *s = &d->shards[shard];
    CLEANUP(buf_done) struct buf plain = BUF_INIT(dataset_plain_bytes(d, shard));

    if (check_bytes(io, s->bytes, s->sha256, e))
        return e->code;
    if (d->compression == COMPRESSION_NONE)
        return OK;
    if (zip_unpack(io->data, io->len, (size_t)s->plain_bytes, &plain, e) ||
        check_bytes(&plain, s->plain_bytes, s->plain_sha256, e))
        return err_wrap(e, "unpacked");
    size_t max = io->max;
    buf_move(io, &plain);
    io->max = MAX(max, io->len);
    return OK;
}

/* Whoever may write the manifest may not point it at what lies elsewhere in the bucket. */
static enum err_code check_prefix(const struct dataset *d, const char *prefix, size_t prefix_n, struct err *e)
{
    for (size_t i = 0; i < d->shard_count; i++) {
        const char *key = d->shards[i].key;
        if (strncmp(key, prefix, prefix_n) != 0 || key[prefix_n] != '/')
            return err_set(e, ERR_CORRUPT, WHAT ": shards[%zu]: '%.200s' lies outside '%.*s/'", i, key,
                           (int)prefix_n, prefix);
    }
    return dataset_tokenizer_check_prefix(&d->tokenizer, prefix, prefix_n, e);
}

enum err_code dataset_load(struct store *store, const char *prefix, struct dataset *out, char out_digest[65],
                           struct err *e)
{
    return dataset_load_version(store, prefix, NULL, out, out_digest, e);
}

enum err_code dataset_load_version(struct store *store, const char *prefix, const char *version,
                                   struct dataset *out, char out_digest[65], struct err *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(JSON_BYTES_MAX);
    CLEANUP(dataset_done) struct dataset d = { .columns = NULL };
    char key[STORE_KEY_BYTES];
    size_t prefix_n = strlen(prefix);
    if (prefix_n > 0 && prefix[prefix_n - 1] == '/')
        prefix_n--;
    int n =
        snprintf(key, sizeof(key), "%.*s/" DATASET_MANIFEST_NAME, (int)MIN(prefix_n, sizeof(key)), prefix);
    if (prefix_n == 0 || n < 0 || (size_t)n >= sizeof(key))
        return err_set(e, ERR_USAGE, "a dataset lies below a prefix of 1 to %zu bytes, not %zu",
                       sizeof(key) - sizeof("/" DATASET_MANIFEST_NAME), prefix_n);
    enum err_code code = store_get(store, key, version, 0, UINT64_MAX, &text, NULL, e);
    if (code == ERR_NOT_FOUND)
        return err_set(e, code,
                       "no dataset is staged under '%.200s' (there is no " DATASET_MANIFEST_NAME
                       "): `sovrun data stage FILE s3://BUCKET/%.200s` stages one",
                       prefix, prefix);
    if (code)
        return err_wrap(e, "load dataset '%.200s'", prefix);
    if (dataset_from_text(text.data, text.len, &d, e) || check_prefix(&d, prefix, prefix_n, e))
        return err_wrap(e, "'%.200s'", key);
    dataset_digest(text.data, text.len, out_digest);
    *out = d;
    d = (struct dataset){ .columns = NULL };
    return OK;
}

uint64_t dataset_examples(uint64_t records, uint64_t context)
{
    if (context == 0)
        return records;
    return records > 0 ? (records - 1) / context : 0;
}

uint64_t dataset_holdout(uint64_t records, double share)
{
    if (!(share > 0))
        return 0;
    if (share >= 1)
        return records;
    uint64_t held = (uint64_t)floor((double)records * share + 0.5);
    return MIN(held, records);
}
