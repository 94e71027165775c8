#include "core/job/dataset.h"

#include "base/mem.h"
#include "base/text.h"
#include "core/crypto/crypto.h"
#include "core/job/record.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define WHAT "dataset manifest"
enum { MANIFEST_VERSION = 1 };

const char *const data_class_names[] = { "public", "internal", "pseudonymized", "personal", NULL };
const char *const column_kind_names[] = { "numeric", "category", NULL };

static const struct record_member members[] = {
    RECORD_TEXT_ROW(dataset, name, 1),
    RECORD_TEXT_ROW(dataset, owner, 0),
    RECORD_TEXT_ROW(dataset, basis, 0),
    RECORD_TEXT_ROW(dataset, source, 0),
    { "class", RECORD_CHOICE, offsetof(struct dataset, data_class), sizeof(int), 0, 0, data_class_names },
    RECORD_TEXT_ROW(dataset, format, 1),
    RECORD_TEXT_ROW(dataset, bucket, 1),
    RECORD_INT_ROW(dataset, created_ms, 0, INT64_MAX),
    RECORD_OTHER_ROW("columns"),
    RECORD_OTHER_ROW("shards"),
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
    RECORD_END,
};

void dataset_done(struct dataset *d)
{
    free(d->columns);
    free(d->shards);
    *d = (struct dataset){ .columns = NULL };
}

static json_t *list_to_json(const struct record_member *of, const void *first, size_t count, size_t stride)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        invariant(json_array_append_new(list, record_to_json(of, (const uint8_t *)first + i * stride)) == 0);
    return list;
}

enum err_code dataset_to_text(const struct dataset *d, struct buf *out, struct err *e)
{
    CLEANUP(json_donep) json_t *o = record_to_json(members, d);
    record_set(o, "columns",
               list_to_json(column_members, d->columns, d->column_count, sizeof(d->columns[0])));
    record_set(o, "shards", list_to_json(shard_members, d->shards, d->shard_count, sizeof(d->shards[0])));
    record_set(o, "version", json_integer(MANIFEST_VERSION));
    return json_canonical(o, out, e);
}

/* An array of records into a new array of structs. The caller frees *out, also after a failure. */
static enum err_code read_list(const json_t *o, const char *name, const struct record_member *of, size_t max,
                               size_t stride, void **out, size_t *out_count, struct err *e)
{
    json_t *list, *item;
    size_t i;
    if (json_get_array(o, WHAT, name, &list, e))
        return e->code;
    size_t count = json_array_size(list);
    if (count == 0 || count > max)
        return err_set(e, ERR_CORRUPT, WHAT ": '%s' must have from 1 to %zu entries, not %zu", name, max,
                       count);
    *out = mem_array(count, stride);
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
        if (s->records > s->bytes)
            return err_set(e, ERR_CORRUPT,
                           WHAT ": shards[%zu]: %" PRIu64 " records cannot stand in %" PRIu64 " bytes", i,
                           s->records, s->bytes);
        records += s->records; /* 65,536 shards of 2^30 do not overflow */
    }
    if (records > (uint64_t)DATASET_RECORDS_MAX)
        return err_set(e, ERR_CORRUPT,
                       WHAT ": its shards hold %" PRIu64 " records; at most %" PRId64 " are possible",
                       records, DATASET_RECORDS_MAX);
    return OK;
}

static enum err_code check(const json_t *o, const struct dataset *d, struct err *e)
{
    int64_t version;
    if (json_get_i64(o, WHAT, "version", &version, e))
        return e->code;
    if (version != MANIFEST_VERSION)
        return err_set(e, ERR_CORRUPT, WHAT ": 'version' must be %d, not %" PRId64, MANIFEST_VERSION,
                       version);
    if (strcmp(d->format, "csv") != 0)
        return err_set(e, ERR_CORRUPT, WHAT ": 'format' must be csv, not '%s'", d->format);
    if (check_unique("columns", d->columns, d->column_count, sizeof(d->columns[0]), e) ||
        check_unique("shards", d->shards, d->shard_count, sizeof(d->shards[0]), e))
        return e->code;
    return check_shards(d, e);
}

enum err_code dataset_from_text(const void *text, size_t n, struct dataset *out, struct err *e)
{
    CLEANUP(json_donep) json_t *o = NULL;
    CLEANUP(freep) void *columns = NULL;
    CLEANUP(freep) void *shards = NULL;
    struct dataset d;
    memset(&d, 0, sizeof(d));
    if (json_parse(text, n, WHAT, &o, e) || record_from_json(o, WHAT, members, &d, e) ||
        read_list(o, "columns", column_members, DATASET_COLUMNS_MAX, sizeof(d.columns[0]), &columns,
                  &d.column_count, e) ||
        read_list(o, "shards", shard_members, DATASET_SHARDS_MAX, sizeof(d.shards[0]), &shards,
                  &d.shard_count, e))
        return e->code;
    d.columns = columns;
    d.shards = shards;
    if (check(o, &d, e))
        return e->code;
    columns = shards = NULL; /* they are out's now */
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
        buf_addf(&text, "%" PRIu64 " %s\n", d->shards[i].records, d->shards[i].sha256);
    invariant(!text.full);
    sha256_add(h, text.data, text.len);
    sha256_end(h, hash);
    hex_encode(hash, sizeof(hash), out_hex);
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
    return OK;
}

enum err_code dataset_load(struct store *store, const char *prefix, struct dataset *out, char out_digest[65],
                           struct err *e)
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
    enum err_code code = store_get(store, key, NULL, 0, UINT64_MAX, &text, NULL, e);
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

uint64_t dataset_holdout(uint64_t records, double share)
{
    if (!(share > 0))
        return 0;
    if (share >= 1)
        return records;
    uint64_t held = (uint64_t)floor((double)records * share + 0.5);
    return MIN(held, records);
}
