#include "runner/cli/stage.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "core/crypto/crypto.h"
#include "runner/cli/csv_file.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

enum { MANIFEST_BYTES_MAX = JSON_BYTES_MAX, PREFIX_DIGITS = 12, STEM_BYTES_MAX = 60 };

uint64_t stage_cut(uint64_t records, uint64_t shards, uint64_t i)
{
    return records / shards + (i < records % shards);
}

uint64_t stage_shard_count(uint64_t records, const struct stage_options *o)
{
    uint64_t shards = o->shards > 0 ? (uint64_t)o->shards : STAGE_SHARDS_DEFAULT;
    if (o->shard_records > 0)
        shards = (records - 1) / (uint64_t)o->shard_records + 1;
    return MIN(shards, records); /* none is empty */
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* ---- cutting ---- */

struct cutter {
    struct csv_file *file;
    struct store *store;
    const char *prefix;
    const struct buf *header;
};

/* A last line without its end gets one, so that shards can be joined again. */
static void add_raw(struct buf *out, const struct csv_record *r)
{
    buf_add(out, r->raw, r->raw_bytes);
    if (r->raw_bytes == 0 || r->raw[r->raw_bytes - 1] != '\n')
        buf_add_byte(out, '\n');
}

static enum err_code changed(const char *path, struct err *e)
{
    return err_set(e, ERR_CONFLICT, "'%s' changed while it was being read; stage it again", path);
}

static enum err_code put_shard(struct cutter *c, size_t i, uint64_t records, struct dataset_shard *out,
                               struct err *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(STORE_OBJECT_BYTES_MAX);
    struct store_put_options options = { .content_type = "text/csv" };
    struct dataset_shard s = { .records = records };
    struct store_info info;
    struct csv_record r;
    bool over;

    buf_add(&text, c->header->data, c->header->len);
    for (uint64_t n = 0; n < records; n++) {
        if (csv_file_next(c->file, &r, &over, e))
            return e->code;
        if (over)
            return changed(c->file->path, e);
        add_raw(&text, &r);
    }
    if (text.full)
        return err_set(e, ERR_LIMIT,
                       "a shard of %" PRIu64 " records has more than %d bytes: more shards make smaller ones "
                       "(--shards N)",
                       records, STORE_OBJECT_BYTES_MAX);
    if (snprintf(s.key, sizeof(s.key), "%s/shard-%05zu.csv", c->prefix, i) >= (int)sizeof(s.key))
        return err_set(e, ERR_USAGE, "the prefix is too long for an object's key");
    if (store_put(c->store, s.key, text.data, text.len, &options, &info, e))
        return err_wrap(e, "put shard %zu", i);
    sha256_hex(text.data, text.len, s.sha256);
    memcpy(s.version, info.version, sizeof(s.version));
    s.bytes = text.len;
    *out = s;
    return OK;
}

/* The second reading. Its hash must be the first one's. */
static enum err_code put_shards(const char *path, struct store *store, const char *prefix,
                                const struct stage_options *o, const struct csv_facts *facts,
                                struct dataset *d, struct err *e)
{
    CLEANUP(csv_file_closep) struct csv_file *f = NULL;
    CLEANUP(buf_done) struct buf header = BUF_INIT(STAGE_RECORD_BYTES_MAX);
    struct cutter c = { .store = store, .prefix = prefix, .header = &header };
    struct csv_record r;
    char sha256[SHA256_HEX_BYTES];
    bool over;

    if (csv_file_open(path, &f, e) || csv_file_next(f, &r, &over, e))
        return e->code;
    if (over)
        return changed(path, e);
    add_raw(&header, &r);
    c.file = f;
    for (size_t i = 0; i < d->shard_count; i++) {
        if (o->progress)
            progress_note(o->progress, "staging %s: shard %zu of %zu", path, i + 1, d->shard_count);
        if (put_shard(&c, i, stage_cut(facts->records, d->shard_count, i), &d->shards[i], e))
            return e->code;
    }
    if (csv_file_next(f, &r, &over, e))
        return e->code;
    csv_file_digest(f, sha256);
    return over && strcmp(sha256, facts->sha256) == 0 ? OK : changed(path, e);
}

/* ---- the manifest ---- */

static enum err_code describe(const char *path, const char *bucket, const struct stage_options *o,
                              const struct csv_facts *facts, struct dataset *d, struct err *e)
{
    uint64_t shards = stage_shard_count(facts->records, o);

    if (shards > DATASET_SHARDS_MAX)
        return err_set(e, ERR_LIMIT, "%" PRIu64 " shards are too many; at most %d", shards,
                       DATASET_SHARDS_MAX);
    if (text_copy(d->name, sizeof(d->name), o->name && o->name[0] ? o->name : base_name(path),
                  "the dataset's name", e) ||
        text_copy(d->owner, sizeof(d->owner), o->owner ? o->owner : "", "the owner's name", e) ||
        text_copy(d->basis, sizeof(d->basis), o->basis ? o->basis : "", "the legal basis", e) ||
        text_copy(d->bucket, sizeof(d->bucket), bucket, "the bucket's name", e))
        return e->code;
    snprintf(d->source, sizeof(d->source), "%.200s sha256:%s", base_name(path), facts->sha256);
    snprintf(d->format, sizeof(d->format), "csv");
    d->data_class = o->data_class;
    d->created_ms = clock_wall_ms();
    d->column_count = facts->column_count;
    d->columns = mem_array(facts->column_count, sizeof(*d->columns));
    memcpy(d->columns, facts->columns, facts->column_count * sizeof(*d->columns));
    d->shard_count = (size_t)shards;
    d->shards = mem_array(d->shard_count, sizeof(*d->shards));
    return OK;
}

static const char *source_hash(const struct dataset *d)
{
    size_t n = strlen(d->source), length = strlen("sha256:") + SHA256_HEX_BYTES - 1;
    return n > length ? d->source + n - length : "";
}

/* Would staging `wanted` give what is there? When and by whom does not matter; what it holds and how it is
 * classed does. */
static bool is_same(const struct dataset *there, const struct dataset *wanted)
{
    if (strcmp(source_hash(there), source_hash(wanted)) != 0 || there->data_class != wanted->data_class ||
        there->shard_count != wanted->shard_count || there->column_count != wanted->column_count ||
        strcmp(there->name, wanted->name) != 0 || strcmp(there->basis, wanted->basis) != 0)
        return false;
    for (size_t i = 0; i < there->column_count; i++)
        if (there->columns[i].kind != wanted->columns[i].kind ||
            strcmp(there->columns[i].name, wanted->columns[i].name) != 0)
            return false;
    return true;
}

static void ignore_bad(void *context, const struct dataset_shard *shard, const char *why)
{
    (void)context;
    (void)shard;
    (void)why;
}

/* The same content, whole and sound: nothing to do. What is broken is staged again. */
static enum err_code look_there(struct store *store, const char *prefix, const struct dataset *wanted,
                                bool *out_already, struct stage_result *io, struct err *e)
{
    CLEANUP(dataset_done) struct dataset there = { .columns = NULL };
    char digest[65];
    size_t bad = 0;

    *out_already = false;
    if (dataset_load(store, prefix, &there, digest, e)) {
        if (e->code != ERR_NOT_FOUND && e->code != ERR_CORRUPT)
            return e->code;
        err_clear(e);
        return OK;
    }
    if (!is_same(&there, wanted))
        return OK;
    if (stage_verify(store, &there, NULL, ignore_bad, NULL, &bad, e))
        return e->code;
    *out_already = bad == 0;
    memcpy(io->digest, digest, sizeof(io->digest));
    return OK;
}

static enum err_code put_manifest(struct store *store, const char *prefix, const struct dataset *d,
                                  char out_digest[65], struct err *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(MANIFEST_BYTES_MAX);
    struct store_put_options options = { .content_type = "application/json" };
    char key[STORE_KEY_BYTES];

    if (dataset_to_text(d, &text, e))
        return e->code;
    if (snprintf(key, sizeof(key), "%s/" DATASET_MANIFEST_NAME, prefix) >= (int)sizeof(key))
        return err_set(e, ERR_USAGE, "the prefix is too long for an object's key");
    if (store_put(store, key, text.data, text.len, &options, NULL, e))
        return err_wrap(e, "put the manifest");
    dataset_digest(text.data, text.len, out_digest);
    return OK;
}

enum err_code stage_file(const char *path, const struct csv_facts *facts, struct store *store,
                         const char *bucket, const char *prefix, const struct stage_options *o,
                         struct stage_result *out, struct err *e)
{
    CLEANUP(dataset_done) struct dataset d = { .columns = NULL };
    struct stage_result r = { .already = false };

    if (describe(path, bucket, o, facts, &d, e) || look_there(store, prefix, &d, &r.already, &r, e))
        return e->code;
    if (!r.already &&
        (put_shards(path, store, prefix, o, facts, &d, e) || put_manifest(store, prefix, &d, r.digest, e)))
        return err_wrap(e, "stage '%s'", path);
    r.records = facts->records;
    r.bytes = facts->bytes;
    r.shards = d.shard_count;
    *out = r;
    return OK;
}

enum err_code stage_check_policy(const struct policy *policy, const char *bucket, enum data_class data_class,
                                 struct err *e)
{
    struct policy_decision d;
    policy_check_staging(policy, bucket, data_class, &d);
    return policy_verdict(&d, e);
}

/* ---- verifying ---- */

/* OK with `why` filled where it is bad; an error where it cannot be told. */
static enum err_code verify_shard(struct store *store, const struct dataset_shard *s, char why[256],
                                  struct err *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(STORE_OBJECT_BYTES_MAX);
    char sha256[SHA256_HEX_BYTES];

    why[0] = '\0';
    if (store_get(store, s->key, s->version, 0, UINT64_MAX, &text, NULL, e)) {
        if (e->code != ERR_NOT_FOUND && e->code != ERR_CORRUPT)
            return e->code;
        snprintf(why, 256, "%.200s", e->text);
        err_clear(e);
        return OK;
    }
    sha256_hex(text.data, text.len, sha256);
    if (text.len != s->bytes)
        snprintf(why, 256, "it has %zu bytes where the manifest says %" PRIu64, text.len, s->bytes);
    else if (strcmp(sha256, s->sha256) != 0)
        snprintf(why, 256, "its bytes were changed: its SHA-256 is not the manifest's");
    return OK;
}

enum err_code stage_verify(struct store *store, const struct dataset *d, struct progress *progress,
                           stage_bad_fn *bad, void *context, size_t *out_bad, struct err *e)
{
    size_t count = 0;
    for (size_t i = 0; i < d->shard_count; i++) {
        char why[256];
        if (progress)
            progress_note(progress, "verifying shard %zu of %zu", i + 1, d->shard_count);
        if (verify_shard(store, &d->shards[i], why, e))
            return err_wrap(e, "shard %s", d->shards[i].key);
        if (!why[0])
            continue;
        bad(context, &d->shards[i], why);
        count++;
    }
    *out_bad = count;
    return OK;
}

/* ---- where a job's own file goes ---- */

/* The file's name without its ending, in letters that may stand in a key. */
static void make_stem(const char *path, char out[STEM_BYTES_MAX + 1])
{
    const char *name = base_name(path), *dot = strrchr(name, '.');
    size_t n = dot && dot != name ? (size_t)(dot - name) : strlen(name), at = 0;
    for (size_t i = 0; i < n && at < STEM_BYTES_MAX; i++) {
        int c = tolower((unsigned char)name[i]);
        bool fine = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
        if (fine || (at > 0 && out[at - 1] != '-'))
            out[at++] = fine ? (char)c : '-';
    }
    out[at] = '\0';
}

enum err_code stage_prefix(const char *path, const struct csv_facts *facts, const struct stage_options *o,
                           char out[STORE_KEY_BYTES], struct err *e)
{
    char stem[STEM_BYTES_MAX + 1], digest[SHA256_HEX_BYTES];
    CLEANUP(buf_done) struct buf reading = BUF_INIT(64 * 1024);

    /* Other words for "not given" may make other kinds of columns of the same bytes. */
    memcpy(digest, facts->sha256, sizeof(digest));
    for (size_t i = 0; i < o->missing_count; i++)
        if (o->missing[i][0] && strcmp(o->missing[i], "?") != 0)
            buf_add(&reading, o->missing[i], strlen(o->missing[i]) + 1);
    if (reading.len > 0) {
        buf_add_text(&reading, facts->sha256);
        if (buf_check(&reading, "data.missing", e))
            return e->code;
        sha256_hex(reading.data, reading.len, digest);
    }
    make_stem(path, stem);
    snprintf(out, STORE_KEY_BYTES, "staged/%s-%.*s", stem[0] ? stem : "data", PREFIX_DIGITS, digest);
    return OK;
}
