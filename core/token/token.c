#include "core/token/token.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "core/token/bpe.h"
#include "core/token/split.h"

#include <inttypes.h>

/* ---- what there is ---- */

struct tokenizer *tokenizer_bytes(void)
{
    struct tokenizer *t = mem_new(sizeof(*t));
    t->bytes = true;
    t->size = TOKEN_BYTES_END + 1;
    t->end = TOKEN_BYTES_END;
    return t;
}

void tokenizer_free(struct tokenizer *t)
{
    if (!t)
        return;
    free(t->text);
    free(t->start);
    free(t->pairs);
    free(t->made);
    free(t);
}

uint32_t tokenizer_size(const struct tokenizer *t)
{
    return t->size;
}

bool tokenizer_end(const struct tokenizer *t, uint32_t *out)
{
    if (t->end == BPE_NO_RANK)
        return false;
    *out = t->end;
    return true;
}

enum err_code tokenizer_decode(const struct tokenizer *t, const uint32_t *ids, size_t n, struct buf *out,
                               struct err *e)
{
    for (size_t i = 0; i < n; i++) {
        if (ids[i] >= t->size)
            return err_set(e, ERR_CORRUPT, "token number %zu is %" PRIu32 "; the vocabulary ends at %" PRIu32,
                           i, ids[i], t->size - 1);
        if (!t->bytes)
            buf_add(out, t->text + t->start[ids[i]], t->start[ids[i] + 1] - t->start[ids[i]]);
        else if (ids[i] != TOKEN_BYTES_END)
            buf_add_byte(out, (uint8_t)ids[i]);
    }
    return OK;
}

/* ---- lists ---- */

/* Room for n more. */
static uint32_t *reserve(struct token_ids *t, size_t n)
{
    if (t->size - t->count < n) {
        t->size = MAX(MAX(2 * t->size, t->count + n), (size_t)256);
        t->ids = mem_grow(t->ids, t->size, sizeof(*t->ids));
    }
    return t->ids + t->count;
}

void token_ids_add(struct token_ids *t, uint32_t id)
{
    *reserve(t, 1) = id;
    t->count++;
}

void token_ids_done(struct token_ids *t)
{
    free(t->ids);
    *t = (struct token_ids){ .ids = NULL };
}

/* ---- pieces that were seen before ---- */

enum { CACHE_SLOTS = 1 << 15, CACHE_TEXT = 30, CACHE_IDS = 8 };

/* A place for each hash; whoever comes last has it. */
struct cached {
    uint8_t n, count; /* bytes, tokens; n 0: empty */
    uint8_t text[CACHE_TEXT];
    uint32_t ids[CACHE_IDS];
};
_Static_assert(sizeof(struct cached) == 64, "one line of a processor's cache");

struct encoder {
    const struct tokenizer *t;  /* borrowed */
    struct cached *cache;       /* owned; bpe */
    struct bpe_scratch scratch; /* owned */
};

struct encoder *encoder_new(const struct tokenizer *t)
{
    struct encoder *c = mem_new(sizeof(*c));
    c->t = t;
    if (!t->bytes)
        c->cache = mem_array(CACHE_SLOTS, sizeof(*c->cache));
    return c;
}

void encoder_free(struct encoder *c)
{
    if (!c)
        return;
    bpe_scratch_done(&c->scratch);
    free(c->cache);
    free(c);
}

static struct cached *cache_slot(struct encoder *c, const uint8_t *piece, size_t n)
{
    uint64_t h = n, word;

    for (; n >= sizeof(word); n -= sizeof(word), piece += sizeof(word)) {
        memcpy(&word, piece, sizeof(word));
        h = (h ^ word) * 0x9e3779b97f4a7c15;
        h ^= h >> 32;
    }
    word = 0;
    for (size_t i = 0; i < n; i++)
        word = word << 8 | piece[i];
    h = (h ^ word) * 0x9e3779b97f4a7c15;
    return &c->cache[(h >> 40) % CACHE_SLOTS];
}

static void encode_piece(struct encoder *c, const uint8_t *piece, size_t n, struct token_ids *out)
{
    uint32_t *ids = reserve(out, MAX(n, (size_t)CACHE_IDS));
    struct cached *slot = NULL;

    if (n <= CACHE_TEXT) {
        slot = cache_slot(c, piece, n);
        if (slot->n == n && memcmp(slot->text, piece, n) == 0) {
            memcpy(ids, slot->ids, sizeof(slot->ids)); /* all of them: faster than counting */
            out->count += slot->count;
            return;
        }
    }
    for (size_t i = 0; i < n; i++)
        ids[i] = c->t->byte_id[piece[i]];
    size_t count = bpe_merge(c->t, &c->scratch, ids, n);
    out->count += count;
    if (!slot || count > CACHE_IDS)
        return;
    slot->n = (uint8_t)n;
    slot->count = (uint8_t)count;
    memcpy(slot->text, piece, n);
    memcpy(slot->ids, ids, count * sizeof(*ids));
}

static void add_bytes(const uint8_t *text, size_t n, struct token_ids *out)
{
    uint32_t *ids = reserve(out, n);

    for (size_t i = 0; i < n; i++)
        ids[i] = text[i];
    out->count += n;
}

enum err_code encoder_add(struct encoder *c, const void *text, size_t n, struct token_ids *out, struct err *e)
{
    const uint8_t *at = text;

    if (n > TOKEN_INPUT_BYTES_MAX)
        return err_set(e, ERR_LIMIT, "a text of more than %d bytes", TOKEN_INPUT_BYTES_MAX);
    if (n == 0)
        return OK;
    if (c->t->bytes) {
        add_bytes(at, n, out);
        return OK;
    }
    size_t valid = utf8_valid(at, n), length;
    if (valid < n)
        return err_set(e, ERR_USAGE, "the text is not UTF-8 at byte %zu; convert it first (iconv -t UTF-8)",
                       valid);
    for (; n > 0; at += length, n -= length) {
        length = split_piece(at, n);
        encode_piece(c, at, length, out);
    }
    return OK;
}

/* ---- where a text may be cut ---- */

/* The start of the character that ends at `end`; of bytes that are no UTF-8, one byte. */
static size_t character_before(const uint8_t *text, size_t end, uint32_t *out)
{
    size_t i = end - 1, back = 0;

    while (i > 0 && back++ < 3 && (text[i] & 0xc0) == 0x80)
        i--;
    if (utf8_next(text + i, end - i, out) == end - i)
        return i;
    *out = 0xfffd;
    return end - 1;
}

size_t token_cut(const void *text, size_t n)
{
    bool space_behind = false;
    size_t end = n;

    while (end > 0) {
        uint32_t c;
        size_t start = character_before(text, end, &c);
        bool space = split_class(c) == SPLIT_SPACE;
        if (!space && space_behind)
            return end;
        space_behind = space;
        end = start;
    }
    return 0;
}
