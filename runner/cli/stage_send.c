#include "runner/cli/stage_send.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "core/crypto/crypto.h"
#include "core/zip/zip.h"
#include "runner/cli/pool.h"
#include "runner/cli/stage_tokens.h"

#include <inttypes.h>
#include <pthread.h>
#include <search.h>
#include <string.h>

enum { KEY_DIGITS = 32, LEFT_OVER_MAX = STORE_LIST_MAX };

/* How often a content came so far: its shards have keys of their own. */
struct seen {
    char sha256[65];
    unsigned times;
};

/* A shard of the manifest that is there. */
struct known {
    const struct dataset_shard *shard;
};

struct sender {
    const struct source *source;
    const struct stage_facts *facts;
    const struct stage_target *target;
    const struct stage_options *o;
    const struct dataset *there;
    struct known *by_hash; /* owned: there's shards, in the order of their plain hashes */
    char **left;           /* owned: keys below PREFIX/shards/, sorted */
    size_t left_count;
    void *seen; /* owned: tree of struct seen */
    struct records *records;
    struct stage_tokens *tokens; /* what makes tokens of the records; NULL: nothing does */
    int64_t started_ms;
    pthread_mutex_t lock; /* of what follows */
    struct dataset *d;
    size_t done, shards_size;
    struct stage_result *result;
};

/* One shard on its way. */
struct shard_job {
    struct sender *s;
    size_t index;
    unsigned copy; /* how many of the same content came before it */
    struct buf plain;
    uint64_t records;
    char sha256[65]; /* of plain */
};

static int by_hash(const void *a, const void *b)
{
    const struct dataset_shard *x = ((const struct known *)a)->shard, *y = ((const struct known *)b)->shard;
    int order = strcmp(x->plain_sha256, y->plain_sha256);
    return order ? order : (x > y) - (x < y); /* in the order of the manifest */
}

static int by_seen(const void *a, const void *b)
{
    return strcmp(((const struct seen *)a)->sha256, ((const struct seen *)b)->sha256);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void sender_done(struct sender *s)
{
    free(s->by_hash);
    for (size_t i = 0; i < s->left_count; i++)
        free(s->left[i]);
    free(s->left);
    tdestroy(s->seen, free);
    pthread_mutex_destroy(&s->lock);
}

/* ---- what is there ---- */

static enum err_code add_left(void *context, const struct store_info *info, struct err *e)
{
    struct sender *s = context;
    if (s->left_count == LEFT_OVER_MAX)
        return err_set(e, ERR_LIMIT, "more than %d objects lie there; choose another place", LEFT_OVER_MAX);
    if ((s->left_count & (s->left_count - 1)) == 0) /* doubles */
        s->left = mem_grow(s->left, MAX(2 * s->left_count, (size_t)1), sizeof(*s->left));
    s->left[s->left_count++] = mem_text(info->key);
    return OK;
}

static enum err_code look_there(struct sender *s, struct store *store, struct err *e)
{
    CLEANUP(freep) char *below = mem_printf("%s/shards/", s->target->prefix);

    s->by_hash = mem_array(MAX(s->there->shard_count, (size_t)1), sizeof(*s->by_hash));
    for (size_t i = 0; i < s->there->shard_count; i++)
        s->by_hash[i].shard = &s->there->shards[i];
    qsort(s->by_hash, s->there->shard_count, sizeof(*s->by_hash), by_hash);
    if (store_list(store, below, NULL, add_left, s, e))
        return e->code;
    if (s->left_count > 0)
        qsort(s->left, s->left_count, sizeof(*s->left), by_text);
    return OK;
}

/* The previous manifest's shard of this content; NULL: none. */
static const struct dataset_shard *known(const struct sender *s, const struct shard_job *j)
{
    size_t low = 0, high = s->there->shard_count;

    if (s->there->compression != s->o->compression)
        return NULL;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (strcmp(s->by_hash[middle].shard->plain_sha256, j->sha256) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    low += j->copy;
    bool same = low < s->there->shard_count && strcmp(s->by_hash[low].shard->plain_sha256, j->sha256) == 0;
    return same && s->by_hash[low].shard->records == j->records ? s->by_hash[low].shard : NULL;
}

/* The store is asked before it is believed: for the object's length, or for its bytes. */
static enum err_code is_there(const struct sender *s, struct store *store, const struct dataset_shard *shard,
                              const char *version, struct store_info *out, bool *out_is, struct err *e)
{
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(shard->bytes);
    char sha256[SHA256_HEX_BYTES] = "";

    *out_is = false;
    enum err_code code = s->o->reread ? store_get(store, shard->key, version, 0, UINT64_MAX, &bytes, out, e)
                                      : store_head(store, shard->key, version, out, e);
    if (code == ERR_NOT_FOUND || code == ERR_CORRUPT || code == ERR_LIMIT) {
        err_clear(e);
        return OK;
    }
    if (code)
        return code;
    if (s->o->reread)
        sha256_hex(bytes.data, bytes.len, sha256);
    *out_is = out->bytes == shard->bytes && (!s->o->reread || strcmp(sha256, shard->sha256) == 0);
    return OK;
}

/* ---- one shard ---- */

static enum err_code make_key(const struct shard_job *j, char out[STORE_KEY_BYTES], struct err *e)
{
    static const char *const endings[] = {
        [RECORDS_CSV] = "csv", [RECORDS_TEXT] = "txt", [RECORDS_TOKENS] = "bin"
    };
    const struct sender *s = j->s;
    char copy[16] = "";

    if (j->copy)
        snprintf(copy, sizeof(copy), "-%u", j->copy);
    if (snprintf(out, STORE_KEY_BYTES, "%s/shards/%.*s%s.%s%s", s->target->prefix, KEY_DIGITS, j->sha256,
                 copy, endings[s->facts->format],
                 s->o->compression == COMPRESSION_ZSTD ? ".zst" : "") >= STORE_KEY_BYTES)
        return err_set(e, ERR_USAGE, "the prefix is too long for an object's key");
    return OK;
}

static enum err_code put(const struct sender *s, struct store *store, struct dataset_shard *io,
                         const struct buf *bytes, bool *out_sent, struct err *e)
{
    static const char *const types[] = { [RECORDS_CSV] = "text/csv",
                                         [RECORDS_TEXT] = "text/plain; charset=utf-8",
                                         [RECORDS_TOKENS] = "application/octet-stream" };
    struct store_put_options options = { .content_type = s->o->compression == COMPRESSION_ZSTD
                                                             ? "application/zstd"
                                                             : types[s->facts->format] };
    struct store_info info = { .bytes = 0 };
    const char *key = io->key;
    bool left = s->left_count > 0 && bsearch(&key, s->left, s->left_count, sizeof(*s->left), by_text) != NULL;

    if (left && is_there(s, store, io, NULL, &info, &left, e))
        return e->code;
    *out_sent = !left;
    if (!left && s->o->dry_run)
        return OK;
    if (!left && store_put(store, io->key, bytes->data, bytes->len, &options, &info, e))
        return err_wrap(e, "put %s", io->key);
    memcpy(io->version, info.version, sizeof(io->version));
    return OK;
}

static enum err_code make_shard(const struct shard_job *j, struct store *store, struct dataset_shard *out,
                                bool *out_sent, struct err *e)
{
    const struct dataset_shard *before = known(j->s, j);
    CLEANUP(buf_done) struct buf packed = BUF_INIT(STORE_OBJECT_BYTES_MAX);
    struct dataset_shard made = { .records = j->records, .plain_bytes = j->plain.len };
    const struct buf *bytes = &j->plain;
    struct store_info info;
    bool there;

    if (before) {
        if (is_there(j->s, store, before, before->version, &info, &there, e))
            return e->code;
        if (there) {
            *out = *before;
            *out_sent = false;
            return OK;
        }
    }
    memcpy(made.plain_sha256, j->sha256, sizeof(made.plain_sha256));
    memcpy(made.sha256, j->sha256, sizeof(made.sha256));
    if (j->s->o->compression == COMPRESSION_ZSTD) {
        if (zip_pack(j->plain.data, j->plain.len, &packed, e))
            return e->code;
        bytes = &packed;
        sha256_hex(packed.data, packed.len, made.sha256);
    }
    made.bytes = bytes->len;
    if (make_key(j, made.key, e) || put(j->s, store, &made, bytes, out_sent, e))
        return e->code;
    *out = made;
    return OK;
}

static enum err_code work_shard(void *context, void *mine, void *job, struct err *e)
{
    struct sender *s = context;
    const struct shard_job *j = job;
    struct dataset_shard made = { .bytes = 0 };
    bool sent = false;

    if (make_shard(j, mine, &made, &sent, e))
        return err_wrap(e, "shard %zu", j->index);
    pthread_mutex_lock(&s->lock);
    s->d->shards[j->index] = made;
    s->done++;
    s->result->stored_bytes += made.bytes;
    if (sent) {
        s->result->sent++;
        s->result->sent_bytes += made.bytes;
    }
    pthread_mutex_unlock(&s->lock);
    return OK;
}

static enum err_code open_store(void *context, void **out_mine, struct err *e)
{
    const struct sender *s = context;
    struct store *store = NULL;
    if (s->target->open(s->target->context, &store, e))
        return e->code;
    *out_mine = store;
    return OK;
}

static void close_store(void *context, void *mine)
{
    (void)context;
    store_close(mine);
}

static void drop_shard(void *job)
{
    struct shard_job *j = job;
    buf_done(&j->plain);
    free(j);
}

static void show_sending(void *context)
{
    struct sender *s = context;
    uint64_t read = records_bytes(s->records), all = MAX(s->facts->bytes, (uint64_t)1);
    int64_t ms = MAX(clock_mono_ms() - s->started_ms, (int64_t)1);
    char done[NUM_TEXT_BYTES], of[NUM_TEXT_BYTES], sent_text[NUM_TEXT_BYTES], rate[NUM_TEXT_BYTES],
        eta[NUM_TEXT_BYTES];

    if (!s->o->progress)
        return;
    pthread_mutex_lock(&s->lock);
    size_t shards = s->done, sent = s->result->sent;
    uint64_t sent_bytes = s->result->sent_bytes;
    pthread_mutex_unlock(&s->lock);
    progress_note(s->o->progress,
                  "staging %s: %s of %s (%" PRIu64 "%%)  %s/s  ETA %s  %zu shards, %zu sent (%s)",
                  source_name(s->source), format_size(read, done), format_size(all, of), read * 100 / all,
                  format_size(read * 1000 / (uint64_t)ms, rate),
                  format_duration(read ? (int64_t)((double)ms * (double)(all - MIN(read, all)) /
                                                   (double)read) /
                                             1000 * 1000
                                       : 0,
                                  eta),
                  shards, sent, format_size(sent_bytes, sent_text));
}

static const struct pool_ops send_ops = {
    .start = open_store, .work = work_shard, .stop = close_store, .drop = drop_shard, .tick = show_sending
};

/* ---- cutting ---- */

static enum err_code changed(const struct source *source, struct err *e)
{
    return err_set(e, ERR_CONFLICT, "'%s' changed while it was being read; stage it again",
                   source_name(source));
}

static unsigned count_seen(struct sender *s, const char *sha256)
{
    struct seen *fresh = mem_new(sizeof(*fresh));
    memcpy(fresh->sha256, sha256, sizeof(fresh->sha256));
    struct seen **at = tsearch(fresh, &s->seen, by_seen);
    invariant(at != NULL);
    if (*at != fresh)
        free(fresh);
    return (*at)->times++;
}

static enum err_code give_shard(struct sender *s, struct pool *pool, struct shard_job **io, struct err *e)
{
    struct shard_job *j = TAKE(*io);

    if (s->d->shard_count == DATASET_SHARDS_MAX) {
        drop_shard(j);
        return err_set(e, ERR_LIMIT, "more than %d shards; make them larger (--shard-bytes)",
                       DATASET_SHARDS_MAX);
    }
    sha256_hex(j->plain.data, j->plain.len, j->sha256);
    j->copy = count_seen(s, j->sha256);
    pthread_mutex_lock(&s->lock);
    j->index = s->d->shard_count++;
    if (j->index == s->shards_size) {
        s->shards_size = MAX(2 * s->shards_size, (size_t)64);
        s->d->shards = mem_grow(s->d->shards, s->shards_size, sizeof(*s->d->shards));
    }
    memset(&s->d->shards[j->index], 0, sizeof(s->d->shards[0]));
    pthread_mutex_unlock(&s->lock);
    show_sending(s);
    return pool_give(pool, j, j->plain.len, e);
}

/* The shard that is being cut; CSV starts with the header line. */
static struct shard_job *new_shard(struct sender *s, const struct record *header)
{
    struct shard_job *j = mem_new(sizeof(*j));
    j->s = s;
    j->plain.max = STORE_OBJECT_BYTES_MAX;
    if (s->facts->format == RECORDS_CSV)
        buf_add(&j->plain, header->raw, header->raw_bytes);
    return j;
}

static enum err_code add_record(struct shard_job *j, const struct record *r, bool lines, struct err *e)
{
    buf_add(&j->plain, r->raw, r->raw_bytes);
    if (lines && r->raw[r->raw_bytes - 1] != '\n')
        buf_add_byte(&j->plain, '\n');
    j->records += r->units;
    if (j->plain.full)
        return err_set(e, ERR_LIMIT,
                       "a shard of %" PRIu64 " records has more than %" PRId64
                       " bytes: more shards make smaller ones "
                       "(--shards N)",
                       j->records, STORE_OBJECT_BYTES_MAX);
    return OK;
}

static enum err_code next_record(struct sender *s, uint64_t units_max, struct record *out, bool *out_over,
                                 struct err *e)
{
    return s->tokens ? stage_tokens_next(s->tokens, units_max, out, out_over, e)
                     : records_next(s->records, units_max, out, out_over, e);
}

static enum err_code cut_all(struct sender *s, struct pool *pool, struct shard_job **io, struct err *e)
{
    struct cut_plan plan = stage_plan(s->facts, s->o);
    struct cut cut = cut_new(&plan);
    struct record header = { .raw = NULL }, r;
    bool over = false, lines = s->facts->format != RECORDS_TOKENS;
    uint64_t records = 0, all = s->facts->records ? s->facts->records : UINT64_MAX; /* not counted before */

    if (s->facts->format == RECORDS_CSV && records_header(s->records, &header, &over, e))
        return e->code;
    for (;;) { /* to the end of the source */
        if (next_record(s, cut_room(&cut), &r, &over, e))
            return e->code;
        if (over)
            break;
        records += r.units;
        if (records > all)
            return changed(s->source, e);
        if (!*io)
            *io = new_shard(s, &header);
        if (add_record(*io, &r, lines, e))
            return e->code;
        if (cut_take(&cut, r.raw, r.raw_bytes, r.units) && give_shard(s, pool, io, e))
            return e->code;
    }
    if (*io && give_shard(s, pool, io, e))
        return e->code;
    return records == all || all == UINT64_MAX ? OK : changed(s->source, e);
}

enum err_code stage_send_shards(const struct source *source, const struct stage_facts *facts,
                                const struct stage_target *target, struct store *store,
                                const struct stage_options *o, const struct dataset *there, struct dataset *d,
                                struct stage_result *io, struct err *e)
{
    CLEANUP(records_closep) struct records *in = NULL;
    CLEANUP(stage_tokens_freep) struct stage_tokens *tokens = NULL;
    size_t threads = o->parallel ? o->parallel : STAGE_PARALLEL_DEFAULT;
    CLEANUP(sender_done)
    struct sender s = { .source = source,
                        .facts = facts,
                        .target = target,
                        .o = o,
                        .there = there,
                        .started_ms = clock_mono_ms(),
                        .lock = PTHREAD_MUTEX_INITIALIZER,
                        .d = d,
                        .result = io };
    CLEANUP(pool_freep) struct pool *pool = NULL;
    struct shard_job *job = NULL;
    char sha256[SHA256_HEX_BYTES];

    if (look_there(&s, store, e) ||
        records_open(source, o->tokenizer ? RECORDS_TEXT : facts->format, facts->token_bytes, &in, e))
        return e->code;
    if (o->tokenizer)
        tokens = stage_tokens_new(source, in, o->tokenizer, threads);
    s.records = in;
    s.tokens = tokens;
    pool = pool_new(threads, STAGE_FLIGHT_BYTES, &send_ops, &s);
    enum err_code code = cut_all(&s, pool, &job, e);
    if (job)
        drop_shard(job);
    if (code || pool_end(pool, e))
        return e->code;
    records_digest(in, sha256);
    return strcmp(sha256, facts->sha256) == 0 ? OK : changed(source, e);
}
