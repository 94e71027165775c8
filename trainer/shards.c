#include "trainer/shards.h"

#include "base/log.h"
#include "base/mem.h"
#include "trainer/sequences.h"

#include <inttypes.h>
#include <string.h>

/* A shard as it is used: rows with labels, or tokens. */
struct kept {
    float *features;
    int32_t *labels, *tokens;
    size_t rows;    /* or tokens */
    uint64_t bytes; /* 0: not here */
    uint64_t last_used;
};
struct shards {
    struct store *store;
    const struct dataset *dataset;
    const struct spec_data *spec;
    const struct encoding *encoding; /* rows */
    size_t vocab;                    /* tokens */
    uint64_t bytes_max, bytes, uses;
    struct kept *kept; /* one for each shard */
    size_t *expected;  /* owned: what is read next, in this order */
    size_t expected_count;
    struct buf ahead[SHARDS_AHEAD]; /* fetched and not read yet */
    size_t ahead_shard[SHARDS_AHEAD], ahead_count;
};

struct shards *shards_new(struct store *store, const struct dataset *dataset, const struct spec_data *spec,
                          uint64_t bytes_max)
{
    struct shards *s = mem_new(sizeof(*s));
    s->store = store;
    s->dataset = dataset;
    s->spec = spec;
    s->bytes_max = bytes_max;
    s->kept = mem_array(dataset->shard_count, sizeof(*s->kept));
    return s;
}

static void drop_ahead(struct shards *s)
{
    for (size_t i = 0; i < s->ahead_count; i++)
        buf_done(&s->ahead[i]);
    s->ahead_count = 0;
}

static void forget(struct shards *s, struct kept *k)
{
    s->bytes -= k->bytes;
    free(TAKE(k->features)); // NOLINTBEGIN(clang-analyzer-unix.Malloc): what was freed is NULL
    free(TAKE(k->labels));
    free(TAKE(k->tokens)); // NOLINTEND(clang-analyzer-unix.Malloc)
    *k = (struct kept){ .bytes = 0 };
}

static void forget_all(struct shards *s)
{
    for (size_t i = 0; i < s->dataset->shard_count; i++)
        forget(s, &s->kept[i]);
}

void shards_free(struct shards *s)
{
    if (!s)
        return;
    forget_all(s);
    drop_ahead(s);
    free(s->expected);
    free(s->kept);
    free(s);
}

void shards_set_encoding(struct shards *s, const struct encoding *encoding)
{
    forget_all(s); /* they are of another encoding */
    s->encoding = encoding;
}

void shards_set_vocabulary(struct shards *s, size_t vocab)
{
    forget_all(s);
    s->vocab = vocab;
}

/* ---- from the store to text ---- */

void shards_expect(struct shards *s, const size_t *order, size_t count)
{
    drop_ahead(s);
    free(s->expected);
    s->expected = mem_array(MAX(count, (size_t)1), sizeof(*s->expected));
    if (count > 0)
        memcpy(s->expected, order, count * sizeof(*s->expected));
    s->expected_count = count;
}

static enum err_code keep_ahead(void *context, size_t index, struct buf *body, struct err *e)
{
    struct shards *s = context;
    (void)e;
    buf_move(&s->ahead[index], body);
    return OK;
}

/* `shard` and what is expected behind it, at once. What is wrong with one of them is nobody's yet: whoever
 * reads that shard meets it. ERR_RETRY: the store stayed away for as long as it is waited for. */
static enum err_code fetch_ahead(struct shards *s, size_t shard, struct err *e)
{
    struct store_read reads[SHARDS_AHEAD];
    uint64_t bytes = 0;
    size_t at = 0, count = 0;

    while (at < s->expected_count && s->expected[at] != shard)
        at++;
    for (; at < s->expected_count && count < SHARDS_AHEAD; at++) {
        const struct dataset_shard *want = &s->dataset->shards[s->expected[at]];
        if ((count > 0 && bytes + want->bytes > SHARDS_AHEAD_BYTES) || want->bytes > STORE_OBJECT_BYTES_MAX)
            break;
        bytes += want->bytes;
        reads[count] = (struct store_read){ want->key, want->version, 0, want->bytes };
        s->ahead[count] = (struct buf)BUF_INIT(want->bytes);
        s->ahead_shard[count++] = s->expected[at];
    }
    s->ahead_count = count;
    if (count <= 1 || store_get_many(s->store, reads, count, keep_ahead, s, e) == OK)
        return OK;
    drop_ahead(s);
    if (e->code != ERR_RETRY)
        err_clear(e);
    return e->code;
}

/* True, and its bytes, where it was fetched before. */
static bool take_ahead(struct shards *s, size_t shard, struct buf *out)
{
    for (size_t i = 0; i < s->ahead_count; i++)
        if (s->ahead_shard[i] == shard && s->ahead[i].data) {
            size_t max = out->max;
            buf_move(out, &s->ahead[i]);
            out->max = max;
            s->ahead[i] = (struct buf)BUF_INIT(0);
            return true;
        }
    return false;
}

static enum err_code fetch_bytes(struct shards *s, size_t shard, struct buf *out, struct err *e)
{
    const struct dataset_shard *want = &s->dataset->shards[shard];

    if (take_ahead(s, shard, out))
        return OK;
    drop_ahead(s);
    if (fetch_ahead(s, shard, e))
        return e->code;
    if (take_ahead(s, shard, out))
        return OK;
    return store_get(s->store, want->key, want->version, 0, UINT64_MAX, out, NULL, e);
}

static enum err_code fetch_once(struct shards *s, size_t shard, struct buf *out, struct err *e)
{
    const struct dataset_shard *want = &s->dataset->shards[shard];

    if (fetch_bytes(s, shard, out, e)) {
        if (e->code == ERR_NOT_FOUND)
            e->code = ERR_CORRUPT; /* the manifest names it */
        if (e->code == ERR_LIMIT)
            return err_set(e, ERR_CORRUPT,
                           "shard %s has more than the %" PRIu64 " bytes of its manifest: it was changed",
                           want->key, want->bytes);
        return err_wrap(e, "shard %s", want->key);
    }
    if (dataset_open_shard(s->dataset, shard, out, e))
        return err_wrap(e, "shard %s", want->key);
    return OK;
}

/* Bytes may also be damaged on their way: what is wrong in the store is wrong the second time, too. */
static enum err_code fetch(struct shards *s, size_t shard, struct buf *out, struct err *e)
{
    if (fetch_once(s, shard, out, e) != ERR_CORRUPT)
        return e->code;
    log_warn("shard.reread", "why=\"%s\"", e->text);
    err_clear(e);
    buf_reset(out);
    return fetch_once(s, shard, out, e);
}

/* The header line: which field of a line is which column of the schema. */
static enum err_code read_header(const struct dataset *d, char *const *names, size_t count,
                                 size_t *out_field_of, struct err *e)
{
    for (size_t column = 0; column < d->column_count; column++) {
        size_t field = 0;
        while (field < count && strcmp(names[field], d->columns[column].name) != 0)
            field++;
        if (field == count)
            return err_set(e, ERR_USAGE, "column '%s' of the dataset's schema is missing in the header line",
                           d->columns[column].name);
        out_field_of[column] = field;
    }
    return OK;
}

static enum err_code parse_lines(const struct dataset *d, size_t rows, struct table *t, char *end,
                                 struct err *e)
{
    CLEANUP(freep) char **fields = mem_array(DATASET_COLUMNS_MAX, sizeof(*fields));
    CLEANUP(freep) size_t *field_of = mem_array(d->column_count, sizeof(*field_of));
    size_t count, lines, line = 1;
    char *at = t->text;

    if (csv_next(&at, end, fields, DATASET_COLUMNS_MAX, &count, &lines, e) ||
        read_header(d, fields, count, field_of, e))
        return err_wrap(e, "line 1");
    size_t header_count = count;
    t->columns = d->column_count;
    /* A field takes a byte, the last one perhaps none: more cannot be there, whatever the manifest says. */
    if (rows > ((size_t)(end - t->text) + 1) / t->columns)
        return err_set(e, ERR_CORRUPT, "its manifest says %zu records, more than its bytes can hold", rows);
    t->fields = mem_try(rows * t->columns * sizeof(*t->fields));
    if (!t->fields)
        return err_set(e, ERR_LIMIT, "no memory for %zu records; stage smaller shards", rows);
    for (;;) {
        line += lines;
        if (csv_next(&at, end, fields, DATASET_COLUMNS_MAX, &count, &lines, e))
            return err_wrap(e, "line %zu", line);
        if (count == 0)
            break;
        if (count != header_count)
            return err_set(e, ERR_USAGE, "line %zu: %zu fields where the header line has %zu", line, count,
                           header_count);
        if (t->rows == rows)
            return err_set(e, ERR_CORRUPT, "line %zu: more records than the manifest says (%zu)", line, rows);
        for (size_t column = 0; column < t->columns; column++)
            t->fields[t->rows * t->columns + column] = fields[field_of[column]];
        t->rows++;
    }
    if (t->rows != rows)
        return err_set(e, ERR_CORRUPT, "%zu records; its manifest says %zu", t->rows, rows);
    return OK;
}

enum err_code shards_read(struct shards *s, size_t shard, struct table *out, struct err *e)
{
    const struct dataset_shard *want = &s->dataset->shards[shard];
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(want->bytes);
    CLEANUP(table_done) struct table t = { 0 };

    if (fetch(s, shard, &bytes, e))
        return e->code;
    t.text = (char *)bytes.data; /* owned by the table from here on; still NUL-terminated */
    char *end = t.text + bytes.len;
    bytes = (struct buf)BUF_INIT(0);
    if (parse_lines(s->dataset, want->records, &t, end, e))
        return err_wrap(e, "shard %s", want->key);
    *out = t;
    t = (struct table){ 0 };
    return OK;
}

/* ---- what is kept ---- */

static struct kept *least_recently_used(struct shards *s)
{
    struct kept *oldest = NULL;
    for (size_t i = 0; i < s->dataset->shard_count; i++)
        if (s->kept[i].bytes && (!oldest || s->kept[i].last_used < oldest->last_used))
            oldest = &s->kept[i];
    return oldest;
}

static void make_room(struct shards *s, uint64_t bytes)
{
    struct kept *oldest;
    while (s->bytes + bytes > s->bytes_max && (oldest = least_recently_used(s)) != NULL)
        forget(s, oldest);
}

static void keep(struct shards *s, size_t shard, const struct kept *k)
{
    s->kept[shard] = *k;
    s->bytes += k->bytes;
}

static enum err_code encode_shard(struct shards *s, size_t shard, struct err *e)
{
    CLEANUP(table_done) struct table t = { 0 };
    size_t width = s->encoding->width;
    CLEANUP(freep) float *features = NULL;
    CLEANUP(freep) int32_t *labels = NULL;

    if (shards_read(s, shard, &t, e))
        return e->code;
    uint64_t bytes = t.rows * (width * sizeof(*features) + sizeof(*labels));
    make_room(s, bytes);
    features = mem_try(t.rows * width * sizeof(*features));
    labels = mem_try(t.rows * sizeof(*labels));
    if (!features || !labels)
        return err_set(e, ERR_LIMIT,
                       "no memory for shard %s: %zu records of %zu numbers; stage smaller shards",
                       s->dataset->shards[shard].key, t.rows, width);
    for (size_t row = 0; row < t.rows; row++)
        if (encode_row(s->encoding, t.fields + row * t.columns, features + row * width, &labels[row], e))
            return err_wrap(e, "shard %s, record %zu", s->dataset->shards[shard].key, row + 1);
    keep(s, shard,
         &(struct kept){
             .features = TAKE(features), .labels = TAKE(labels), .rows = t.rows, .bytes = bytes });
    return OK;
}

enum err_code shards_get(struct shards *s, size_t shard, struct shard_rows *out, struct err *e)
{
    struct kept *k = &s->kept[shard];

    invariant(s->encoding != NULL && shard < s->dataset->shard_count);
    if (!k->bytes && encode_shard(s, shard, e))
        return e->code;
    k->last_used = ++s->uses;
    *out = (struct shard_rows){
        .rows = k->rows,
        .train_rows = k->rows - dataset_holdout(k->rows, s->spec->holdout),
        .features = k->features,
        .labels = k->labels,
    };
    return OK;
}

static enum err_code read_tokens(struct shards *s, size_t shard, struct err *e)
{
    const struct dataset_shard *want = &s->dataset->shards[shard];
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(want->bytes);
    CLEANUP(freep) int32_t *tokens = NULL;

    if (fetch(s, shard, &bytes, e))
        return e->code;
    if (bytes.len != want->records * (uint64_t)s->dataset->token_bytes)
        return err_set(e, ERR_CORRUPT, "shard %s: %zu bytes are not the %" PRIu64 " tokens of its manifest",
                       want->key, bytes.len, want->records);
    uint64_t room = want->records * sizeof(*tokens);
    make_room(s, room);
    tokens = mem_try(room);
    if (!tokens)
        return err_set(e, ERR_LIMIT, "no memory for shard %s: %" PRIu64 " tokens; stage smaller shards",
                       want->key, want->records);
    if (sequence_tokens(bytes.data, want->records, (size_t)s->dataset->token_bytes, s->vocab, tokens, e))
        return err_wrap(e, "shard %s", want->key);
    keep(s, shard, &(struct kept){ .tokens = TAKE(tokens), .rows = want->records, .bytes = room });
    return OK;
}

enum err_code shards_tokens(struct shards *s, size_t shard, struct shard_tokens *out, struct err *e)
{
    struct kept *k = &s->kept[shard];

    invariant(s->vocab > 0 && shard < s->dataset->shard_count);
    if (!k->bytes && read_tokens(s, shard, e))
        return e->code;
    k->last_used = ++s->uses;
    *out = (struct shard_tokens){ .count = k->rows, .tokens = k->tokens };
    return OK;
}
