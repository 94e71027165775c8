/* Any bytes as vocabulary, merges and text, with a NUL byte between: files are refused with their name, or
 * make a tokenizer; with it, or with a small one of our own, the text's tokens come back to it, are those of
 * the plain definition, and do not change where the text is cut. */
#include "base/cleanup.h"
#include "base/utf8.h"
#include "core/token/bpe.h"
#include "core/token/split.h"
#include "tests/fuzz/replay.h"
#include "tests/token_small.h"

#include <string.h>

enum { PLAIN_MAX = 2000 };

static struct token_file part(const char *name, const uint8_t **at, const uint8_t *end)
{
    const uint8_t *stop = *at < end ? memchr(*at, '\0', (size_t)(end - *at)) : NULL;
    struct token_file f = { name, *at, (size_t)((stop ? stop : end) - *at) };
    *at = stop ? stop + 1 : end;
    return f;
}

/* One piece, by the definition. */
static void add_plainly(const struct tokenizer *t, const uint8_t *piece, size_t n, struct token_ids *out)
{
    size_t first = out->count;
    for (size_t i = 0; i < n; i++)
        token_ids_add(out, t->byte_id[piece[i]]);
    for (;;) {
        size_t best = 0;
        uint32_t rank = BPE_NO_RANK;
        for (size_t i = first; i + 1 < out->count; i++)
            if (bpe_rank(t, out->ids[i], out->ids[i + 1]) < rank)
                rank = bpe_rank(t, out->ids[best = i], out->ids[i + 1]);
        if (rank == BPE_NO_RANK)
            return;
        out->ids[best] = t->made[rank];
        out->count--;
        memmove(out->ids + best + 1, out->ids + best + 2, (out->count - best - 1) * sizeof(*out->ids));
    }
}

static void check_same(const struct token_ids *a, const struct token_ids *b)
{
    invariant(a->count == b->count &&
              (a->count == 0 || memcmp(a->ids, b->ids, a->count * sizeof(*a->ids)) == 0));
}

static void check_text(const struct tokenizer *t, const uint8_t *text, size_t n)
{
    CLEANUP(encoder_freep) struct encoder *c = encoder_new(t);
    CLEANUP(token_ids_done) struct token_ids ids = { .ids = NULL };
    CLEANUP(token_ids_done) struct token_ids again = { .ids = NULL };
    CLEANUP(buf_done) struct buf back = BUF_INIT(n + 1);
    struct err e = ERR_INIT;
    if (encoder_add(c, text, n, &ids, &e)) {
        invariant(e.code == ERR_USAGE && ids.count == 0 && utf8_valid(text, n) < n);
        return;
    }
    invariant(tokenizer_decode(t, ids.ids, ids.count, &back, &e) == OK);
    invariant(back.len == n && (n == 0 || memcmp(back.data, text, n) == 0));
    size_t cut = token_cut(text, n);
    invariant(cut < n || n == 0);
    invariant(encoder_add(c, text, cut, &again, &e) == OK);
    invariant(encoder_add(c, text + cut, n - cut, &again, &e) == OK);
    check_same(&ids, &again);
    again.count = 0;
    for (size_t at = 0, length; at < n && n <= PLAIN_MAX && utf8_valid(text, n) == n; at += length) {
        length = split_piece(text + at, n - at);
        invariant(length > 0 && length <= n - at);
        if (tokenizer_size(t) != TOKEN_BYTES_END + 1)
            add_plainly(t, text + at, length, &again);
    }
    if (again.count > 0)
        check_same(&ids, &again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const uint8_t *at = data, *end = data + n;
    struct token_file vocab = part("vocab", &at, end), merges = part("merges", &at, end);
    CLEANUP(tokenizer_freep) struct tokenizer *given = NULL;
    CLEANUP(tokenizer_freep) struct tokenizer *ours = NULL;
    CLEANUP(tokenizer_freep) struct tokenizer *bytes = tokenizer_bytes();
    struct err e = ERR_INIT;
    if (tokenizer_bpe(&vocab, &merges, &given, &e))
        invariant((e.code == ERR_CORRUPT || e.code == ERR_LIMIT) && !given &&
                  (strncmp(e.text, "vocab", 5) == 0 || strncmp(e.text, "merges", 6) == 0));
    else
        check_text(given, at, (size_t)(end - at));
    invariant(token_small("a a\nĠ a\nt h\nth e\naa aa\nĠ the\nĊ Ċ\n", &ours, &e) == OK);
    check_text(ours, at, (size_t)(end - at));
    check_text(bytes, at, (size_t)(end - at));
    return 0;
}

REPLAY_MAIN("token")
