#include "runner/cli/stage.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "core/crypto/crypto.h"
#include "runner/cli/stage_send.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

enum { MANIFEST_BYTES_MAX = JSON_BYTES_MAX, PREFIX_DIGITS = 12, STEM_BYTES_MAX = 60, NAMED_FINDINGS = 6 };

struct cut_plan stage_plan(const struct stage_facts *f, const struct stage_options *o)
{
    uint64_t bytes = o->shard_bytes > 0 ? (uint64_t)o->shard_bytes : STAGE_SHARD_BYTES_DEFAULT;
    bool small = f->format == RECORDS_CSV && f->bytes <= STAGE_SMALL_BYTES && o->shard_bytes == 0;

    if (o->shard_records > 0)
        return (struct cut_plan){ .mode = CUT_COUNT, .each = (uint64_t)o->shard_records };
    if (o->shards > 0 || small) /* none is empty */
        return (struct cut_plan){ .mode = CUT_EQUAL,
                                  .records = f->records,
                                  .shards = MIN(o->shards > 0 ? (uint64_t)o->shards : STAGE_SHARDS_DEFAULT,
                                                f->records) };
    if (f->format == RECORDS_TOKENS && !o->tokenizer)
        return (struct cut_plan){ .mode = CUT_COUNT, .each = bytes / (uint64_t)f->token_bytes };
    return (struct cut_plan){ .mode = CUT_CONTENT, .each = bytes, .paragraphs = f->format == RECORDS_TEXT };
}

/* ---- the class ---- */

enum err_code stage_check_class(const struct stage_facts *f, enum data_class data_class, struct err *e)
{
    CLEANUP(buf_done) struct buf what = BUF_INIT(ERR_TEXT_BYTES);

    if (data_class >= f->class_needed)
        return OK;
    for (size_t i = 0; i < f->finding_count && i < NAMED_FINDINGS; i++)
        buf_addf(&what, "%s'%.40s': %" PRIu64 " x %s", i ? ", " : "", f->findings[i].column,
                 f->findings[i].count, f->findings[i].kind);
    if (f->finding_count > NAMED_FINDINGS)
        buf_addf(&what, " and %zu findings more", f->finding_count - NAMED_FINDINGS);
    return err_set(
        e, ERR_DENIED,
        "classed as %s, but the scan found what needs class %s or stricter (%s). Class it so, or say why "
        "not with --override \"reason\", which is recorded",
        data_class_names[data_class], data_class_names[f->class_needed], buf_text(&what));
}

enum err_code stage_check_policy(const struct policy *policy, const char *bucket, enum data_class data_class,
                                 struct err *e)
{
    struct policy_decision d;
    policy_check_staging(policy, bucket, data_class, &d);
    return policy_verdict(&d, e);
}

/* ---- the manifest ---- */

static enum err_code describe(const struct source *source, const struct stage_target *target,
                              const struct stage_options *o, const struct stage_facts *f, struct dataset *d,
                              struct err *e)
{
    const char *name = source_name(source);

    if (text_copy(d->name, sizeof(d->name), o->name && o->name[0] ? o->name : name, "the dataset's name",
                  e) ||
        text_copy(d->owner, sizeof(d->owner), o->owner ? o->owner : "", "the owner's name", e) ||
        text_copy(d->basis, sizeof(d->basis), o->basis ? o->basis : "", "the legal basis", e) ||
        text_copy(d->override_by, sizeof(d->override_by), o->override_by ? o->override_by : "", "your name",
                  e) ||
        text_copy(d->override_reason, sizeof(d->override_reason),
                  o->override_reason ? o->override_reason : "", "the reason", e) ||
        text_copy(d->bucket, sizeof(d->bucket), target->bucket, "the bucket's name", e))
        return e->code;
    snprintf(d->source, sizeof(d->source), "%.200s sha256:%s", name, f->sha256);
    snprintf(d->format, sizeof(d->format), "%s", records_format_names[f->format]);
    d->data_class = o->data_class;
    d->created_ms = clock_wall_ms();
    d->compression = o->compression;
    d->token_bytes = f->token_bytes;
    d->scan = f->scan;
    d->column_count = f->column_count;
    d->columns = mem_array(MAX(f->column_count, (size_t)1), sizeof(*d->columns));
    if (f->column_count)
        memcpy(d->columns, f->columns, f->column_count * sizeof(*d->columns));
    d->finding_count = f->finding_count;
    d->findings = mem_array(MAX(f->finding_count, (size_t)1), sizeof(*d->findings));
    if (f->finding_count)
        memcpy(d->findings, f->findings, f->finding_count * sizeof(*d->findings));
    return OK;
}

/* Would the manifest say what is there already? When does not matter, nor by whom unless that was said. */
static enum err_code is_same(const struct dataset *there, const struct dataset *d,
                             const struct stage_options *o, bool *out, struct err *e)
{
    CLEANUP(buf_done) struct buf now = BUF_INIT(MANIFEST_BYTES_MAX);
    CLEANUP(buf_done) struct buf before = BUF_INIT(MANIFEST_BYTES_MAX);
    struct dataset as_then = *d; /* borrows d's lists */

    *out = false;
    if (there->shard_count == 0)
        return OK;
    as_then.created_ms = there->created_ms;
    if (!o->owner_given)
        memcpy(as_then.owner, there->owner, sizeof(as_then.owner));
    if (there->override_by[0] && d->override_by[0])
        memcpy(as_then.override_by, there->override_by, sizeof(as_then.override_by));
    if (dataset_to_text(&as_then, &now, e) || dataset_to_text(there, &before, e))
        return e->code;
    *out = now.len == before.len && memcmp(now.data, before.data, now.len) == 0;
    return OK;
}

/* What was staged there before; an empty one where there is nothing, or nothing that can be read. */
static enum err_code look_there(struct store *store, const char *prefix, struct dataset *out, char digest[65],
                                struct err *e)
{
    if (dataset_load(store, prefix, out, digest, e) == OK)
        return OK;
    if (e->code != ERR_NOT_FOUND && e->code != ERR_CORRUPT)
        return e->code;
    err_clear(e);
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

enum err_code stage_send(const struct source *source, const struct stage_facts *facts,
                         const struct stage_target *target, const struct stage_options *o,
                         struct stage_result *out, struct err *e)
{
    CLEANUP(dataset_done) struct dataset d = { .columns = NULL };
    CLEANUP(dataset_done) struct dataset there = { .columns = NULL };
    CLEANUP(store_closep) struct store *store = NULL;
    struct stage_result r = { .bytes = facts->bytes };
    char digest[65] = "";

    if (describe(source, target, o, facts, &d, e) || target->open(target->context, &store, e) ||
        look_there(store, target->prefix, &there, digest, e) ||
        stage_send_shards(source, facts, target, store, o, &there, &d, &r, e) ||
        (o->tokenizer &&
         stage_tokenizer_send(o->tokenizer, store, target->prefix, o->dry_run, &d.tokenizer, e)))
        return err_wrap(e, "stage '%s'", source_name(source));
    r.records = dataset_records(&d);
    if (r.records > (uint64_t)DATASET_RECORDS_MAX)
        return err_set(e, ERR_LIMIT, "'%s' has more than %" PRId64 " records", source_name(source),
                       DATASET_RECORDS_MAX);
    if (r.sent == 0 && is_same(&there, &d, o, &r.already, e))
        return err_wrap(e, "stage '%s'", source_name(source));
    if (r.already)
        memcpy(r.digest, digest, sizeof(r.digest));
    else if (!o->dry_run && put_manifest(store, target->prefix, &d, r.digest, e))
        return err_wrap(e, "stage '%s'", source_name(source));
    r.shards = d.shard_count;
    *out = r;
    return OK;
}

/* ---- where a job's own file goes ---- */

/* The file's name without its ending, in letters that may stand in a key. */
static void make_stem(const char *name, char out[STEM_BYTES_MAX + 1])
{
    const char *slash = strrchr(name, '/');
    name = slash ? slash + 1 : name;
    const char *dot = strrchr(name, '.');
    size_t n = dot && dot != name ? (size_t)(dot - name) : strlen(name), at = 0;
    for (size_t i = 0; i < n && at < STEM_BYTES_MAX; i++) {
        int c = tolower((unsigned char)name[i]);
        bool fine = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
        if (fine || (at > 0 && out[at - 1] != '-'))
            out[at++] = fine ? (char)c : '-';
    }
    out[at] = '\0';
}

enum err_code stage_prefix(const char *name, const struct stage_facts *facts, const struct stage_options *o,
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
    make_stem(name, stem);
    snprintf(out, STORE_KEY_BYTES, "staged/%s-%.*s", stem[0] ? stem : "data", PREFIX_DIGITS, digest);
    return OK;
}
