/* Text to tokens: how a text is split, how pairs merge, what vocabularies are refused, where a text may be
 * cut. */
#include "base/mem.h"
#include "core/token/bpe.h"
#include "core/token/split.h"
#include "tests/test.h"
#include "tests/token_small.h"

#include <stdlib.h>

enum { TEXT_MAX = 1 << 22 };

/* ---- splitting ---- */

/* Pieces are shown with a bar between them. */
static const struct split_row {
    const char *name, *want;
} split_rows[] = {
    { "words take the space before them", "two| words" },
    { "only a space, and only one", "a| | b|\t|c|\t| d" },
    { "the last space goes with what follows", "a|   | b" },
    { "or stays alone where it is none", "a|\n|\n|b" },
    { "white space at the end is one piece", "a| \n\t " },
    { "a text of nothing else too", " \n\t " },
    { "letters, numbers and the rest part", "abc|123|.?!|x|9" },
    { "each takes a space", " abc| 123| .?!" },
    { "contractions", "I|'ll|'ve|'s|'t|'re|'m|'d" },
    { "only in small letters", "I|'|LL|'|S" },
    { "only those", "y|'|all|'|r|'" },
    { "behind a space they are none", "a| '|s" },
    { "nor inside other signs", "a|!'|s" },
    { "they take no more than they are", "'s|s|'re|al|'ll|ll" },
    { "letters of all scripts", "\xc3\xa4\xd0\xb6\xe4\xb8\xad| \xd7\xa9\xf0\x9d\x94\x84" },
    { "numbers of all scripts", "1\xd9\xa1\xe0\xa5\xa7\xe2\x85\xa7\xc2\xb2\xe2\x85\x93|a" },
    { "combining marks are no letters", "e|\xcc\x81|e" },
    { "emoji are signs", "a|\xf0\x9f\x91\x8d\xf0\x9f\x8f\xbd|a" },
    { "white space of all kinds", "a|\xc2\xa0|b|\xe3\x80\x80|c|\xe2\x80\xa8\xe2\x80\x89|\xc2\x85|d" },
    { "what only looks like it is a sign", "a|\xe2\x80\x8b|b|\x1c|c|\xef\xbb\xbf|d" },
    { "the last of white space may have several bytes", "a| |\xe3\x80\x80|b" },
    { "and be a space", "a|\xe3\x80\x80| b" },
    { "controls are signs", "\x01\x7f|a" },
};

static void text_is_split(void **state)
{
    const struct split_row *row = *state;
    CLEANUP(freep) char *text = mem_text(row->want);
    CLEANUP(buf_done) struct buf got = BUF_INIT(1024);
    size_t n = 0;
    for (const char *p = row->want; *p; p++)
        if (*p != '|')
            text[n++] = *p;
    for (size_t at = 0, length; at < n; at += length) {
        length = split_piece((const uint8_t *)text + at, n - at);
        assert_in_range(length, 1, n - at);
        buf_add(&got, text + at, length);
        if (at + length < n)
            buf_add_byte(&got, '|');
    }
    assert_string_equal(buf_text(&got), row->want);
}

static void tables_are_in_order(void **state)
{
    (void)state;
    for (size_t i = 0; i < split_range_count; i++) {
        assert_true(split_ranges[i].first <= split_ranges[i].last && split_ranges[i].first >= 0x80);
        assert_true(i == 0 || split_ranges[i].first > split_ranges[i - 1].last);
        assert_int_equal(split_class(split_ranges[i].first), split_ranges[i].kind);
        assert_int_equal(split_class(split_ranges[i].last), split_ranges[i].kind);
    }
    assert_int_equal(split_class(0x10ffff), SPLIT_OTHER);
    assert_int_equal(split_class(0x1f600), SPLIT_OTHER);
}

/* ---- merging ---- */

/* Tokens are shown as their text with a bar between them. The vocabulary numbers what merges make from 256
 * on. */
static const struct merge_row {
    const char *name, *merges, *want;
} merge_rows[] = {
    { "without merges, bytes", "", "a|b|c" },
    { "a pair", "a b\n", "ab|c|ab|b" },
    { "the first line first", "b c\na b\n", "a|bc" },
    { "the other way round", "a b\nb c\n", "ab|c" },
    { "merges of merges", "a b\nab c\nabc abc\n", "abcabc|abc" },
    { "of equals, from the left", "a a\n", "aa|aa|a" },
    { "a later line waits for all of an earlier one", "a b\nb a\nab ab\n", "abab|ab|a" },
    { "never across pieces", "a Ġ\nĠ a\na a\n", "a| a| a" },
    { "a first line with a version", "#version: 0.2\na b\n", "ab" },
    { "any bytes", "Ã ¤\nĠ Ã¤\n", "\xc3\xa4| \xc3\xa4" },
    { "the end of a document is no token of a text", "e n\n", "<|||en|d|o|f|t|e|x|t|||>" },
};

/* The want without its bars; three bars are a bar of the text between two. */
static size_t without_bars(const char *want, char *out)
{
    size_t n = 0;
    for (const char *p = want; *p; p++) {
        bool three = strncmp(p, "|||", 3) == 0;
        if (*p != '|' || three)
            out[n++] = *p;
        p += three ? 2 : 0;
    }
    return n;
}

static void show(const struct tokenizer *t, const struct token_ids *ids, struct buf *out)
{
    struct err e = ERR_INIT;
    for (size_t i = 0; i < ids->count; i++) {
        if (i > 0)
            buf_add_byte(out, '|');
        assert_ok(tokenizer_decode(t, ids->ids + i, 1, out, &e));
    }
}

static void make(const char *merges, struct tokenizer **out)
{
    const char *pairs = strncmp(merges, "#version", 8) == 0 ? strchr(merges, '\n') + 1 : merges;
    CLEANUP(buf_done) struct buf text = BUF_INIT(TEXT_MAX);
    struct err e = ERR_INIT;
    token_small_vocab(pairs, &text);
    struct token_file vocab = { "v", text.data, text.len }, file = { "m", merges, strlen(merges) };
    assert_ok(tokenizer_bpe(&vocab, &file, out, &e));
}

static void pairs_merge(void **state)
{
    const struct merge_row *row = *state;
    CLEANUP(tokenizer_freep) struct tokenizer *t = NULL;
    CLEANUP(token_ids_done) struct token_ids ids = { .ids = NULL };
    CLEANUP(buf_done) struct buf got = BUF_INIT(1024);
    CLEANUP(freep) char *text = mem_text(row->want);
    struct err e = ERR_INIT;
    size_t n = without_bars(row->want, text);
    make(row->merges, &t);
    CLEANUP(encoder_freep) struct encoder *c = encoder_new(t);
    for (int again = 0; again < 2; again++) { /* the second time from what was remembered */
        ids.count = 0;
        buf_reset(&got);
        assert_ok(encoder_add(c, text, n, &ids, &e));
        show(t, &ids, &got);
        assert_string_equal(buf_text(&got), row->want);
    }
}

/* As the definition says it, step by step. */
static size_t merge_plainly(const struct tokenizer *t, uint32_t *ids, size_t n)
{
    for (;;) {
        size_t best = n;
        uint32_t rank = BPE_NO_RANK;
        for (size_t i = 0; i + 1 < n; i++)
            if (bpe_rank(t, ids[i], ids[i + 1]) < rank) {
                best = i;
                rank = bpe_rank(t, ids[i], ids[i + 1]);
            }
        if (best == n)
            return n;
        ids[best] = t->made[rank];
        memmove(ids + best + 1, ids + best + 2, (n - best - 2) * sizeof(*ids));
        n--;
    }
}

/* Merges in an order that no training gives, where the ways to do it could part. */
static void long_and_short_pieces_merge_alike(void **state)
{
    (void)state;
    CLEANUP(tokenizer_freep) struct tokenizer *t = NULL;
    struct bpe_scratch scratch = { .size = 0 };
    uint32_t ids[400], want[400], draw = 1;
    make("ab a\na a\na b\nb c\nab c\naa ab\nc ab\nbc bc\nabc a\nca b\nc a\n", &t);
    for (size_t n = 1; n < ARRAY_LEN(ids); n++) {
        for (size_t i = 0; i < n; i++) {
            draw = draw * 1664525 + 1013904223;
            ids[i] = want[i] = 'a' + (draw >> 16) % 3;
        }
        size_t got = bpe_merge(t, &scratch, ids, n);
        assert_int_equal(got, merge_plainly(t, want, n));
        assert_memory_equal(ids, want, got * sizeof(*ids));
    }
    bpe_scratch_done(&scratch);
}

/* A piece of a megabyte: quadratic time would be hours. */
static void long_piece_is_no_trouble(void **state)
{
    (void)state;
    enum { N = 1 << 20 };
    CLEANUP(tokenizer_freep) struct tokenizer *t = NULL;
    CLEANUP(token_ids_done) struct token_ids ids = { .ids = NULL };
    CLEANUP(buf_done) struct buf back = BUF_INIT(N);
    CLEANUP(freep) char *text = mem_new(N);
    struct err e = ERR_INIT;
    make("a a\naa aa\naaaa aaaa\naaaaaaaa aaaaaaaa\n", &t);
    CLEANUP(encoder_freep) struct encoder *c = encoder_new(t);
    memset(text, 'a', N);
    assert_ok(encoder_add(c, text, N, &ids, &e));
    assert_int_equal(ids.count, N / 16);
    assert_ok(tokenizer_decode(t, ids.ids, ids.count, &back, &e));
    assert_int_equal(back.len, N);
    assert_memory_equal(back.data, text, N);
}

/* ---- encoding and decoding ---- */

static void bytes_are_tokens(void **state)
{
    (void)state;
    CLEANUP(tokenizer_freep) struct tokenizer *t = tokenizer_bytes();
    CLEANUP(encoder_freep) struct encoder *c = encoder_new(t);
    CLEANUP(token_ids_done) struct token_ids ids = { .ids = NULL };
    CLEANUP(buf_done) struct buf back = BUF_INIT(64);
    static const uint8_t text[] = { 0, 255, 'a', 0xc3 };
    struct err e = ERR_INIT;
    uint32_t end = 0;
    assert_ok(encoder_add(c, text, sizeof(text), &ids, &e));
    assert_int_equal(ids.count, 4);
    assert_int_equal(ids.ids[1], 255);
    assert_true(tokenizer_end(t, &end));
    assert_int_equal(end, 256);
    assert_int_equal(tokenizer_size(t), 257);
    token_ids_add(&ids, end);
    assert_ok(tokenizer_decode(t, ids.ids, ids.count, &back, &e));
    assert_int_equal(back.len, 4);
    assert_memory_equal(back.data, text, 4);
    ids.ids[2] = 257;
    assert_int_equal(tokenizer_decode(t, ids.ids, ids.count, &back, &e), ERR_CORRUPT);
    assert_string_equal(e.text, "token number 2 is 257; the vocabulary ends at 256");
}

static void end_of_a_document_is_in_the_vocabulary(void **state)
{
    (void)state;
    CLEANUP(tokenizer_freep) struct tokenizer *t = NULL;
    CLEANUP(buf_done) struct buf back = BUF_INIT(64);
    struct err e = ERR_INIT;
    uint32_t end = 0;
    make("a b\n", &t);
    assert_true(tokenizer_end(t, &end));
    assert_int_equal(end, 257);
    assert_int_equal(tokenizer_size(t), 258);
    assert_ok(tokenizer_decode(t, &end, 1, &back, &e));
    assert_string_equal(buf_text(&back), TOKEN_END_TEXT);
}

static void text_that_is_no_utf8_says_where(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t at;
    } rows[] = {
        { "\x80", 0 },
        { "abcdefgh\xff", 8 },
        { "abc\xc3", 3 },
        { "\xc3\xa4\xe4\xb8", 2 },
        { "a\xed\xa0\x80", 1 },
        { "\xc0\x80", 0 },
        { "\xf4\x90\x80\x80", 0 },
        { "0123456789ab\xe2(\xa1", 12 },
    };
    CLEANUP(tokenizer_freep) struct tokenizer *t = NULL;
    CLEANUP(token_ids_done) struct token_ids ids = { .ids = NULL };
    make("a b\n", &t);
    CLEANUP(encoder_freep) struct encoder *c = encoder_new(t);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err e = ERR_INIT;
        CLEANUP(freep)
        char *want =
            mem_printf("the text is not UTF-8 at byte %zu; convert it first (iconv -t UTF-8)", rows[i].at);
        assert_int_equal(encoder_add(c, rows[i].text, strlen(rows[i].text), &ids, &e), ERR_USAGE);
        assert_string_equal(e.text, want);
        assert_int_equal(ids.count, 0);
    }
}

static void text_may_be_cut_before_white_space(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t cut;
    } rows[] = {
        { "", 0 },           { "abc", 0 },          { "abc\n", 3 },          { "abc \t\n", 3 },
        { " \n", 0 },        { "a b", 1 },          { "a b c", 3 },          { "\n\nab\xc2\xa0\n", 4 },
        { " \xc3\xa4 ", 3 }, { "\xe3\x80\x80", 0 }, { "x\xe3\x80\x80y", 1 }, { "\xff ", 1 },
        { "\xe3\x80 ", 2 },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(token_cut(rows[i].text, strlen(rows[i].text)), rows[i].cut);
}

/* ---- the files ---- */

/* The first `from` of the vocabulary (or the merges) becomes `to`. */
static const struct change {
    const char *name, *from, *to;
    bool merges;
    const char *want;
} changes[] = {
    { "it is JSON", "{", "[", false, "v.json: line 2: ']' expected" },
    { "with no name twice", "\"b\":", "\"a\":", false, "v.json: line 100: duplicate object key" },
    { "no number twice", "\"b\": 98", "\"b\": 97", false,
      "v.json:100: token 'b': its number 97 is that of 'a' too" },
    { "no gap", "\"b\": 98", "\"b\": 258", false,
      "v.json:100: token 'b': must have a number from 0 to 257, as there are 258 tokens: none is left out" },
    { "no number below", "\"b\": 98", "\"b\": -1", false,
      "v.json:100: token 'b': must have a number from 0 to 257, as there are 258 tokens: none is left out" },
    { "numbers are whole", "\"b\": 98", "\"b\": 98.0", false,
      "v.json:100: token 'b': must have a number from 0 to 257, as there are 258 tokens: none is left out" },
    { "a token has a text", "\"ab\"", "\"\"", false, "v.json:258: token '': must have from 1 to 1024 bytes" },
    { "of the alphabet", "\"ab\"", "\"a b\"", false,
      "v.json:258: token 'a b': U+0020 is none of the 256 characters that stand for bytes" },
    { "and of that alone", "\"ab\"", "\"a\xe4\xb8\xad\"", false,
      "v.json:258: token 'a\xe4\xb8\xad': U+4E2D is none of the 256 characters that stand for bytes" },
    { "each byte is a token", "\"b\":", "\"bb\":", false,
      "v.json: no token for the byte 0x62 alone: with it, not every text has tokens" },
    { "a merge is two tokens", "a b", "a", true, "m.txt:1: must be two tokens with a space between them" },
    { "not three", "a b", "a b c", true, "m.txt:1: must be two tokens with a space between them" },
    { "no space at the end", "a b", "a b ", true, "m.txt:1: must be two tokens with a space between them" },
    { "nor a carriage return", "a b", "a b\r", true, "m.txt:1: the vocabulary has no token 'b\r'" },
    { "no empty line", "a b", "\na b", true, "m.txt:1: an empty line; remove it" },
    { "of tokens that there are", "a b", "#version: 0.2\na b\nab zz", true,
      "m.txt:3: the vocabulary has no token 'zz'" },
    { "on the left too", "a b", "zz a", true, "m.txt:1: the vocabulary has no token 'zz'" },
    { "that make one", "a b", "a b\nb a", true,
      "m.txt:2: the pair makes what is no token of the vocabulary: 'ba'" },
    { "each pair once", "a b", "a b\na b", true, "m.txt:2: this pair stands in an earlier line too" },
};

static char *changed(const char *text, const struct change *c, bool this_one)
{
    const char *at = strstr(text, c->from);
    if (!this_one)
        return mem_text(text);
    assert_non_null(at);
    return mem_printf("%.*s%s%s", (int)(at - text), text, c->to, at + strlen(c->from));
}

static void changed_file_is_refused(void **state)
{
    const struct change *c = *state;
    static const char pairs[] = "a b\n";
    CLEANUP(buf_done) struct buf text = BUF_INIT(TEXT_MAX);
    token_small_vocab(pairs, &text);
    CLEANUP(freep) char *v = changed(buf_text(&text), c, !c->merges);
    CLEANUP(freep) char *m = changed(pairs, c, c->merges);
    struct token_file vocab = { "v.json", v, strlen(v) }, merges = { "m.txt", m, strlen(m) };
    struct tokenizer *t = NULL;
    struct err e = ERR_INIT;
    assert_int_equal(tokenizer_bpe(&vocab, &merges, &t, &e), ERR_CORRUPT);
    assert_string_equal(e.text, c->want);
    assert_null(t);
}

static void other_documents_are_no_vocabulary(void **state)
{
    (void)state;
    static const char *const texts[] = { "", "[]", "{}", "7", "{\"a\":0", "{\"a\":0}x", "[1,2]" };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct token_file vocab = { "v.json", texts[i], strlen(texts[i]) }, merges = { "m.txt", "", 0 };
        struct tokenizer *t = NULL;
        struct err e = ERR_INIT;
        assert_int_equal(tokenizer_bpe(&vocab, &merges, &t, &e), ERR_CORRUPT);
        assert_int_equal(strncmp(e.text, "v.json:", 7), 0);
    }
}

static void files_have_a_limit(void **state)
{
    (void)state;
    CLEANUP(freep) char *large = mem_new(TOKEN_FILE_BYTES_MAX + 1);
    CLEANUP(freep) char *lines = mem_new(TOKEN_VOCABULARY_MAX + 1);
    CLEANUP(buf_done) struct buf text = BUF_INIT(TEXT_MAX);
    struct tokenizer *t = NULL;
    struct err e = ERR_INIT;
    token_small_vocab("", &text);
    memset(lines, '\n', TOKEN_VOCABULARY_MAX + 1);
    struct token_file good = { "v", text.data, text.len }, more = { "big", large, TOKEN_FILE_BYTES_MAX + 1 },
                      many = { "many", lines, TOKEN_VOCABULARY_MAX + 1 };
    assert_int_equal(tokenizer_bpe(&more, &good, &t, &e), ERR_LIMIT);
    assert_string_equal(e.text, "big: is larger than 32 MiB");
    assert_int_equal(tokenizer_bpe(&good, &more, &t, &e), ERR_LIMIT);
    assert_int_equal(tokenizer_bpe(&good, &many, &t, &e), ERR_LIMIT);
    assert_string_equal(e.text, "many: more than 1048576 lines");
}

int main(void)
{
    static const struct CMUnitTest singles[] = {
        cmocka_unit_test(tables_are_in_order),
        cmocka_unit_test(long_and_short_pieces_merge_alike),
        cmocka_unit_test(long_piece_is_no_trouble),
        cmocka_unit_test(bytes_are_tokens),
        cmocka_unit_test(end_of_a_document_is_in_the_vocabulary),
        cmocka_unit_test(text_that_is_no_utf8_says_where),
        cmocka_unit_test(text_may_be_cut_before_white_space),
        cmocka_unit_test(other_documents_are_no_vocabulary),
        cmocka_unit_test(files_have_a_limit),
    };
    static struct CMUnitTest
        tests[ARRAY_LEN(singles) + ARRAY_LEN(split_rows) + ARRAY_LEN(merge_rows) + ARRAY_LEN(changes)];
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(singles); i++)
        tests[n++] = singles[i];
    for (size_t i = 0; i < ARRAY_LEN(split_rows); i++)
        tests[n++] =
            (struct CMUnitTest){ split_rows[i].name, text_is_split, NULL, NULL, (void *)&split_rows[i] };
    for (size_t i = 0; i < ARRAY_LEN(merge_rows); i++)
        tests[n++] =
            (struct CMUnitTest){ merge_rows[i].name, pairs_merge, NULL, NULL, (void *)&merge_rows[i] };
    for (size_t i = 0; i < ARRAY_LEN(changes); i++)
        tests[n++] =
            (struct CMUnitTest){ changes[i].name, changed_file_is_refused, NULL, NULL, (void *)&changes[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
