/* vocab.json and merges.txt, read strictly. */
#include "base/mem.h"
#include "base/utf8.h"
#include "core/json/json.h"
#include "core/token/bpe.h"
#include "core/token/split.h"

enum { ALPHABET_END = 0x144, ENTRY_BYTES_MAX = 2 * TOKEN_TEXT_BYTES_MAX };

/* ---- GPT-2's alphabet ---- */

static bool is_printable(uint32_t byte)
{
    return (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
}

/* By character, the byte + 1; 0: it is none of the alphabet. What prints in Latin-1 stands for itself, the
 * others follow from U+0100 on in their order. */
static void make_alphabet(uint16_t out[ALPHABET_END])
{
    uint32_t next = 0x100;

    memset(out, 0, sizeof(*out) * ALPHABET_END);
    for (uint32_t byte = 0; byte < 256; byte++)
        out[is_printable(byte) ? byte : next++] = (uint16_t)(byte + 1);
    invariant(next == ALPHABET_END);
}

/* ---- the vocabulary ---- */

struct reader {
    const struct token_file *vocab, *merges;
    struct tokenizer *t;
    json_t *doc;         /* owned */
    const char **key_of; /* owned; by token; the texts are the document's */
    uint16_t alphabet[ALPHABET_END];
};

static void reader_done(struct reader *r)
{
    json_decref(r->doc);
    free(r->key_of);
}

/* The line where entry number `wanted` (from 0) of a flat object stands: each has one colon outside of texts.
 */
static size_t line_of(const struct token_file *f, size_t wanted)
{
    const char *text = f->text;
    size_t line = 1, entries = 0;
    bool inside = false;

    for (size_t i = 0; i < f->n; i++) {
        if (text[i] == '\n')
            line++;
        else if (inside && text[i] == '\\')
            i++;
        else if (text[i] == '"')
            inside = !inside;
        else if (!inside && text[i] == ':' && entries++ == wanted)
            break;
    }
    return line;
}

static enum err_code bad_entry(const struct reader *r, size_t entry, const char *key, const char *why,
                               struct err *e)
{
    return err_set(e, ERR_CORRUPT, "%s:%zu: token '%.100s': %s", r->vocab->name, line_of(r->vocab, entry),
                   key, why);
}

static enum err_code check_number(const struct reader *r, size_t entry, const char *key, const json_t *value,
                                  struct err *e)
{
    char why[256];
    json_int_t id = json_is_integer(value) ? json_integer_value(value) : -1;

    if (id < 0 || id >= r->t->size) {
        snprintf(why, sizeof(why),
                 "must have a number from 0 to %u, as there are %u tokens: none is left out", r->t->size - 1,
                 r->t->size);
        return bad_entry(r, entry, key, why, e);
    }
    if (r->key_of[id]) {
        snprintf(why, sizeof(why), "its number %u is that of '%.100s' too", (unsigned)id, r->key_of[id]);
        return bad_entry(r, entry, key, why, e);
    }
    if (key[0] == '\0' || strlen(key) > ENTRY_BYTES_MAX) {
        snprintf(why, sizeof(why), "must have from 1 to %d bytes", TOKEN_TEXT_BYTES_MAX);
        return bad_entry(r, entry, key, why, e);
    }
    r->key_of[id] = key;
    return OK;
}

static enum err_code number_tokens(struct reader *r, struct err *e)
{
    const char *key;
    json_t *value;
    size_t entry = 0, count;

    if (json_parse(r->vocab->text, r->vocab->n, r->vocab->name, &r->doc, e))
        return e->code;
    count = json_object_size(r->doc); /* 0 of an array, too */
    if (count == 0)
        return err_set(e, ERR_CORRUPT, "%s:1: must be a JSON object of tokens and their numbers",
                       r->vocab->name);
    if (count > TOKEN_VOCABULARY_MAX)
        return err_set(e, ERR_LIMIT, "%s: more than %d tokens", r->vocab->name, TOKEN_VOCABULARY_MAX);
    r->t->size = (uint32_t)count;
    r->key_of = mem_array(count, sizeof(*r->key_of));
    json_object_foreach(r->doc, key, value) /* in the order of the file */
        if (check_number(r, entry++, key, value, e)) return e->code;
    return OK;
}

/* The number of the entry that has that key; only for errors. */
static size_t entry_of(const struct reader *r, const char *wanted)
{
    const char *key;
    json_t *value;
    size_t entry = 0;

    json_object_foreach(r->doc, key, value)
    {
        if (strcmp(key, wanted) == 0)
            break;
        entry++;
    }
    return entry;
}

static enum err_code add_text(struct reader *r, uint32_t id, uint8_t *out, size_t *out_n, struct err *e)
{
    const char *key = r->key_of[id];
    size_t length, bytes = 0;
    char why[128];
    uint32_t c = 0;

    for (size_t i = 0, n = strlen(key); i < n; i += length) {
        length = utf8_next((const uint8_t *)key + i, n - i, &c);
        if (length == 0 || c >= ALPHABET_END || r->alphabet[c] == 0) {
            snprintf(why, sizeof(why), "U+%04X is none of the 256 characters that stand for bytes", c);
            return bad_entry(r, entry_of(r, key), key, why, e);
        }
        out[bytes++] = (uint8_t)(r->alphabet[c] - 1);
    }
    if (bytes > TOKEN_TEXT_BYTES_MAX) {
        snprintf(why, sizeof(why), "must have from 1 to %d bytes", TOKEN_TEXT_BYTES_MAX);
        return bad_entry(r, entry_of(r, key), key, why, e);
    }
    *out_n = bytes;
    return OK;
}

static enum err_code check_bytes(const struct reader *r, const bool *there, struct err *e)
{
    for (uint32_t byte = 0; byte < 256; byte++)
        if (!there[byte])
            return err_set(e, ERR_CORRUPT,
                           "%s: no token for the byte 0x%02x alone: with it, not every text has tokens",
                           r->vocab->name, byte);
    return OK;
}

static enum err_code make_texts(struct reader *r, struct err *e)
{
    static const char end[] = TOKEN_END_TEXT;
    struct tokenizer *t = r->t;
    bool there[256] = { false };
    size_t at = 0, n = 0;

    t->text = mem_new(r->vocab->n + 1); /* a character has no less bytes than what it stands for */
    t->start = mem_array((size_t)t->size + 1, sizeof(*t->start));
    for (uint32_t id = 0; id < t->size; id++) {
        if (add_text(r, id, t->text + at, &n, e))
            return e->code;
        if (n == 1) {
            t->byte_id[t->text[at]] = id;
            there[t->text[at]] = true;
        }
        if (n == strlen(end) && memcmp(t->text + at, end, n) == 0)
            t->end = id;
        at += n;
        t->start[id + 1] = (uint32_t)at;
    }
    return check_bytes(r, there, e);
}

/* ---- the merges ---- */

static enum err_code bad_line(const struct reader *r, size_t line, const char *why, const char *what,
                              struct err *e)
{
    return err_set(e, ERR_CORRUPT, "%s:%zu: %s%s%.100s%s", r->merges->name, line, why, what ? " '" : "",
                   what ? what : "", what ? "'" : "");
}

static bool find(const struct reader *r, const char *key, uint32_t *out)
{
    const json_t *value = json_object_get(r->doc, key);
    *out = value ? (uint32_t)json_integer_value(value) : 0;
    return value != NULL;
}

static enum err_code add_merge(struct reader *r, size_t line, uint32_t left, uint32_t right, uint32_t made,
                               struct err *e)
{
    struct tokenizer *t = r->t;
    uint64_t pair = (uint64_t)left << 32 | right;
    size_t i = bpe_slot(t, pair);

    if (bpe_rank(t, left, right) != BPE_NO_RANK)
        return bad_line(r, line, "this pair stands in an earlier line too", NULL, e);
    while (t->pairs[i].rank != BPE_NO_RANK)
        i = (i + 1) & t->pair_mask;
    t->pairs[i] = (struct bpe_pair){ pair, t->rank_count };
    t->made[t->rank_count++] = made;
    return OK;
}

/* "A B", without its line end. */
static enum err_code read_merge(struct reader *r, size_t line, const char *text, size_t n, struct err *e)
{
    char whole[ENTRY_BYTES_MAX + 2], joined[ENTRY_BYTES_MAX + 2];
    uint32_t left, right, made;

    if (n == 0 || n > ENTRY_BYTES_MAX + 1)
        return bad_line(r, line, n ? "the line is too long" : "an empty line; remove it", NULL, e);
    memcpy(whole, text, n);
    whole[n] = '\0';
    char *space = strchr(whole, ' ');
    if (strlen(whole) != n || !space || space == whole || !space[1] || strchr(space + 1, ' '))
        return bad_line(r, line, "must be two tokens with a space between them", NULL, e);
    *space = '\0';
    snprintf(joined, sizeof(joined), "%s%s", whole, space + 1);
    if (!find(r, whole, &left))
        return bad_line(r, line, "the vocabulary has no token", whole, e);
    if (!find(r, space + 1, &right))
        return bad_line(r, line, "the vocabulary has no token", space + 1, e);
    if (!find(r, joined, &made))
        return bad_line(r, line, "the pair makes what is no token of the vocabulary:", joined, e);
    return add_merge(r, line, left, right, made, e);
}

static size_t count_lines(const struct token_file *f)
{
    const char *text = f->text, *end = text + f->n;
    size_t lines = 1;

    while (text < end && (text = memchr(text, '\n', (size_t)(end - text))) != NULL) {
        lines++;
        text++;
    }
    return lines;
}

static enum err_code make_table(struct reader *r, struct err *e)
{
    struct tokenizer *t = r->t;
    size_t lines = count_lines(r->merges), slots = 16;

    if (lines > TOKEN_VOCABULARY_MAX)
        return err_set(e, ERR_LIMIT, "%s: more than %d lines", r->merges->name, TOKEN_VOCABULARY_MAX);
    while (slots < 2 * lines)
        slots *= 2;
    t->pair_mask = slots - 1;
    t->pairs = mem_array(slots, sizeof(*t->pairs));
    for (size_t i = 0; i < slots; i++)
        t->pairs[i].rank = BPE_NO_RANK;
    t->made = mem_array(lines, sizeof(*t->made));
    return OK;
}

static enum err_code read_merges(struct reader *r, struct err *e)
{
    static const char head[] = "#version";
    const char *at = r->merges->text, *end = at + r->merges->n, *stop;

    if (make_table(r, e))
        return e->code;
    for (size_t line = 1; at < end; at = stop + 1, line++) {
        stop = memchr(at, '\n', (size_t)(end - at));
        stop = stop ? stop : end;
        size_t n = (size_t)(stop - at);
        if (line == 1 && n >= strlen(head) && memcmp(at, head, strlen(head)) == 0)
            continue;
        if (read_merge(r, line, at, n, e))
            return e->code;
    }
    return OK;
}

static enum err_code check_size(const struct token_file *f, struct err *e)
{
    return f->n <= TOKEN_FILE_BYTES_MAX
               ? OK
               : err_set(e, ERR_LIMIT, "%s: is larger than %d MiB", f->name, TOKEN_FILE_BYTES_MAX >> 20);
}

enum err_code tokenizer_bpe(const struct token_file *vocab, const struct token_file *merges,
                            struct tokenizer **out, struct err *e)
{
    CLEANUP(tokenizer_freep) struct tokenizer *t = mem_new(sizeof(*t));
    CLEANUP(reader_done) struct reader r = { .vocab = vocab, .merges = merges, .t = t };

    t->end = BPE_NO_RANK;
    make_alphabet(r.alphabet);
    if (check_size(vocab, e) || check_size(merges, e) || number_tokens(&r, e) || make_texts(&r, e) ||
        read_merges(&r, e))
        return e->code;
    *out = TAKE(t);
    return OK;
}
