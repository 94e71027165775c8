#include "runner/cli/stage_tokens.h"

#include "base/mem.h"
#include "runner/cli/pool.h"

#include <pthread.h>
#include <string.h>

enum { BLOCK_BYTES = 256 << 10, RING_MAX = 2 * POOL_THREADS_MAX + 2, RING_BYTES_MAX = 64 << 20 };

/* A line, or what a document ends with. */
struct segment {
    size_t text_end;   /* in the block's text */
    size_t tokens_end; /* in its tokens, in bytes; once they are there */
    bool ends_document;
};

/* What one thread works on at a time. */
struct block {
    struct stage_tokens *owner;
    struct buf text;
    struct segment *segments; /* owned */
    size_t count, size;
    size_t file, line; /* of its first line */
    struct buf tokens;
    struct err failure;
    bool done; /* under the owner's lock; then the rest is the reader's again */
};

struct stage_tokens {
    const struct source *source;
    struct records *in;
    const struct stage_tokenizer *tokenizer;
    size_t token_bytes, ring_size;
    struct buf rest; /* read, but not to be cut from what follows yet */
    size_t file;     /* of the document that is open */
    bool open, over;
    struct block *ring[RING_MAX]; /* owned: given out, oldest first, from `first` on */
    size_t first, count, ring_bytes;
    struct block *current; /* owned: what is being read from; NULL: none */
    size_t segment, at;    /* of it: which comes next, and where */
    pthread_mutex_t lock;
    pthread_cond_t one_done;
    struct pool *pool; /* owned */
};

static void block_free(struct block *b)
{
    if (!b)
        return;
    buf_done(&b->text);
    buf_done(&b->tokens);
    free(b->segments);
    free(b);
}

/* ---- in the threads ---- */

struct worker {
    struct encoder *encoder; /* owned */
    struct token_ids ids;
};

static enum err_code start_worker(void *context, void **out_mine, struct err *e)
{
    const struct stage_tokens *s = context;
    struct worker *w = mem_new(sizeof(*w));
    (void)e;
    w->encoder = encoder_new(s->tokenizer->is);
    *out_mine = w;
    return OK;
}

static void stop_worker(void *context, void *mine)
{
    struct worker *w = mine;
    (void)context;
    encoder_free(w->encoder);
    token_ids_done(&w->ids);
    free(w);
}

static enum err_code pack(const struct token_ids *ids, size_t width, struct buf *out, struct err *e)
{
    uint8_t *at = buf_reserve(out, ids->count * width);

    if (!at)
        return buf_check(out, "a block of tokens", e);
    for (size_t i = 0; i < ids->count; i++)
        for (size_t byte = 0; byte < width; byte++)
            *at++ = (uint8_t)(ids->ids[i] >> (8 * byte));
    buf_commit(out, ids->count * width);
    return OK;
}

static enum err_code encode(struct worker *w, struct block *b, struct err *e)
{
    size_t from = 0;

    for (size_t i = 0; i < b->count; i++) {
        struct segment *s = &b->segments[i];
        w->ids.count = 0;
        if (encoder_add(w->encoder, b->text.data + from, s->text_end - from, &w->ids, e))
            return err_wrap(e, "%s, from line %zu", source_path(b->owner->source, b->file), b->line);
        if (s->ends_document)
            token_ids_add(&w->ids, b->owner->tokenizer->end);
        if (pack(&w->ids, b->owner->token_bytes, &b->tokens, e))
            return e->code;
        s->tokens_end = b->tokens.len;
        from = s->text_end;
    }
    return OK;
}

/* A failure stays with its block: the reader comes to the first one first. */
static enum err_code work_block(void *context, void *mine, void *job, struct err *e)
{
    struct stage_tokens *s = context;
    struct block *b = job;
    (void)e;

    IGNORE(encode(mine, b, &b->failure));
    pthread_mutex_lock(&s->lock);
    b->done = true;
    pthread_cond_broadcast(&s->one_done);
    pthread_mutex_unlock(&s->lock);
    return OK;
}

static void drop_block(void *job)
{
    (void)job; /* the ring's */
}

static const struct pool_ops token_ops = {
    .start = start_worker, .work = work_block, .stop = stop_worker, .drop = drop_block
};

/* ---- reading ---- */

struct stage_tokens *stage_tokens_new(const struct source *source, struct records *in,
                                      const struct stage_tokenizer *tokenizer, size_t threads)
{
    struct stage_tokens *s = mem_new(sizeof(*s));

    s->source = source;
    s->in = in;
    s->tokenizer = tokenizer;
    s->token_bytes = (size_t)stage_tokenizer_bytes(tokenizer);
    s->ring_size = MIN(2 * threads + 2, (size_t)RING_MAX);
    s->rest.max = STAGE_SPACE_BYTES_MAX + RECORD_BYTES_MAX;
    invariant(pthread_mutex_init(&s->lock, NULL) == 0 && pthread_cond_init(&s->one_done, NULL) == 0);
    s->pool = pool_new(threads, UINT64_MAX, &token_ops, s); /* the ring is the limit */
    return s;
}

void stage_tokens_free(struct stage_tokens *s)
{
    if (!s)
        return;
    pool_free(s->pool);
    for (size_t i = 0; i < s->count; i++)
        block_free(s->ring[(s->first + i) % RING_MAX]);
    block_free(s->current);
    buf_done(&s->rest);
    pthread_cond_destroy(&s->one_done);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static size_t cut_so_far(const struct block *b)
{
    return b->count ? b->segments[b->count - 1].text_end : 0;
}

static void add_segment(struct block *b, size_t text_end, bool ends_document)
{
    if (b->count == b->size) {
        b->size = MAX(2 * b->size, (size_t)256);
        b->segments = mem_grow(b->segments, b->size, sizeof(*b->segments));
    }
    b->segments[b->count++] = (struct segment){ .text_end = text_end, .ends_document = ends_document };
}

static enum err_code add_line(struct stage_tokens *s, struct block *b, const struct record *r, struct err *e)
{
    size_t before = b->text.len, cut = token_cut(r->raw, r->raw_bytes);

    if (before - cut_so_far(b) > STAGE_SPACE_BYTES_MAX)
        return err_set(e, ERR_LIMIT, "%s:%zu: more than %d bytes of white space end here; remove them",
                       source_path(s->source, r->file), r->line, STAGE_SPACE_BYTES_MAX);
    if (b->count == 0) {
        b->file = r->file;
        b->line = r->line;
    }
    buf_add(&b->text, r->raw, r->raw_bytes);
    if (cut > 0)
        add_segment(b, before + cut, false);
    return buf_check(&b->text, "a block of text", e);
}

/* Lines until the block is large enough; what may not be cut off yet is left for the next. */
static enum err_code fill(struct stage_tokens *s, struct block *b, struct err *e)
{
    struct record r = { .raw = NULL };
    bool over = false;

    buf_add(&b->text, s->rest.data, s->rest.len);
    buf_reset(&s->rest);
    while (cut_so_far(b) < BLOCK_BYTES && !s->over) {
        if (records_next(s->in, 1, &r, &over, e))
            return e->code;
        if (s->open && (over || r.file != s->file))
            add_segment(b, b->text.len, true);
        s->open = !over;
        s->over = over;
        s->file = r.file;
        if (!over && add_line(s, b, &r, e))
            return e->code;
    }
    buf_add(&s->rest, b->text.data + cut_so_far(b), b->text.len - cut_so_far(b));
    return buf_check(&s->rest, "a line of text", e);
}

static enum err_code give_block(struct stage_tokens *s, struct err *e)
{
    struct block *b = mem_new(sizeof(*b));

    b->owner = s;
    b->file = s->file;
    b->text.max = BLOCK_BYTES + STAGE_SPACE_BYTES_MAX + 2 * RECORD_BYTES_MAX;
    b->tokens.max = (b->text.max + 1) * s->token_bytes + BLOCK_BYTES;
    if (fill(s, b, e) || b->count == 0) {
        block_free(b);
        return e->code;
    }
    s->ring[(s->first + s->count++) % RING_MAX] = b;
    s->ring_bytes += b->text.len;
    return pool_give(s->pool, b, b->text.len, e);
}

static struct block *take_oldest(struct stage_tokens *s)
{
    struct block *b = s->ring[s->first];

    pthread_mutex_lock(&s->lock);
    while (!b->done)
        pthread_cond_wait(&s->one_done, &s->lock);
    pthread_mutex_unlock(&s->lock);
    s->first = (s->first + 1) % RING_MAX;
    s->count--;
    s->ring_bytes -= b->text.len;
    return b;
}

enum err_code stage_tokens_next(struct stage_tokens *s, uint64_t units_max, struct record *out,
                                bool *out_over, struct err *e)
{
    while (!s->current || s->segment == s->current->count) {
        block_free(TAKE(s->current));
        while (!s->over && s->count < s->ring_size && (s->count == 0 || s->ring_bytes < RING_BYTES_MAX))
            if (give_block(s, e))
                return e->code;
        *out_over = s->count == 0;
        if (*out_over)
            return OK;
        s->current = take_oldest(s);
        s->segment = s->at = 0;
        if (s->current->failure.code) {
            *e = s->current->failure;
            return e->code;
        }
    }
    const struct block *b = s->current;
    uint64_t units = MIN((b->segments[s->segment].tokens_end - s->at) / s->token_bytes, units_max);
    *out = (struct record){ .file = b->file,
                            .line = b->line,
                            .units = units,
                            .raw = (const char *)b->tokens.data + s->at,
                            .raw_bytes = (size_t)units * s->token_bytes };
    s->at += out->raw_bytes;
    s->segment += s->at == b->segments[s->segment].tokens_end;
    *out_over = false;
    return OK;
}

enum err_code stage_tokens_count(const struct source *source, const struct stage_tokenizer *tokenizer,
                                 size_t threads, uint64_t *out, struct err *e)
{
    CLEANUP(records_closep) struct records *in = NULL;
    CLEANUP(stage_tokens_freep) struct stage_tokens *s = NULL;
    struct record r = { .raw = NULL };
    uint64_t count = 0;
    bool over = false;

    if (records_open(source, RECORDS_TEXT, 0, &in, e))
        return e->code;
    s = stage_tokens_new(source, in, tokenizer, threads);
    for (;;) { /* to the end of the source */
        if (stage_tokens_next(s, UINT64_MAX, &r, &over, e))
            return e->code;
        if (over)
            break;
        count += r.units;
    }
    *out = count;
    return OK;
}
