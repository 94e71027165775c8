/*
 * token_file.c - for test_tokens.py: core/token as a filter.
 *
 *     token_file encode|decode|speed bytes
 *     token_file encode|decode|speed VOCAB.json MERGES.txt
 *
 * encode: texts on standard input, each after its length as u32le; on standard output their tokens, u32le
 * each, after their count. decode: the other way round. speed: encodes all of standard input a few times with
 * one thread and says the best rate, in millions of bytes a second.
 */
#include "base/clock.h"
#include "base/file.h"
#include "core/token/token.h"

#include <stdio.h>
#include <string.h>

enum { INPUT_BYTES_MAX = 1 << 30, SPEED_TIMES = 5 };

static enum err_code open_tokenizer(int count, char **paths, struct tokenizer **out, struct err *e)
{
    CLEANUP(buf_done) struct buf vocab = BUF_INIT(TOKEN_FILE_BYTES_MAX);
    CLEANUP(buf_done) struct buf merges = BUF_INIT(TOKEN_FILE_BYTES_MAX);
    if (count == 1) {
        *out = tokenizer_bytes();
        return OK;
    }
    if (file_read(paths[0], &vocab, e) || file_read(paths[1], &merges, e))
        return e->code;
    struct token_file v = { paths[0], vocab.data, vocab.len }, m = { paths[1], merges.data, merges.len };
    return tokenizer_bpe(&v, &m, out, e);
}

static uint32_t next_u32(const struct buf *in, size_t *at)
{
    const uint8_t *p = in->data + *at;
    *at += 4;
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void add_u32(struct buf *out, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        buf_add_byte(out, (uint8_t)(v >> (8 * i)));
}

/* A list's length, which must be there. */
static enum err_code next_length(const struct buf *in, size_t *at, size_t each, uint32_t *out, struct err *e)
{
    if (in->len - *at < 4)
        return err_set(e, ERR_USAGE, "input is cut off");
    *out = next_u32(in, at);
    return (in->len - *at) / each >= *out ? OK : err_set(e, ERR_USAGE, "input is cut off");
}

static enum err_code encode(const struct tokenizer *t, const struct buf *in, struct buf *out, struct err *e)
{
    CLEANUP(encoder_freep) struct encoder *c = encoder_new(t);
    CLEANUP(token_ids_done) struct token_ids ids = { .ids = NULL };
    uint32_t n = 0;
    for (size_t at = 0; at < in->len; at += n) {
        ids.count = 0;
        if (next_length(in, &at, 1, &n, e) || encoder_add(c, in->data + at, n, &ids, e))
            return e->code;
        add_u32(out, (uint32_t)ids.count);
        for (size_t i = 0; i < ids.count; i++)
            add_u32(out, ids.ids[i]);
    }
    return OK;
}

static enum err_code decode(const struct tokenizer *t, const struct buf *in, struct buf *out, struct err *e)
{
    CLEANUP(token_ids_done) struct token_ids ids = { .ids = NULL };
    CLEANUP(buf_done) struct buf text = BUF_INIT(INPUT_BYTES_MAX);
    uint32_t n = 0;
    for (size_t at = 0; at < in->len;) {
        if (next_length(in, &at, 4, &n, e))
            return e->code;
        ids.count = 0;
        for (uint32_t i = 0; i < n; i++)
            token_ids_add(&ids, next_u32(in, &at));
        buf_reset(&text);
        if (tokenizer_decode(t, ids.ids, ids.count, &text, e))
            return e->code;
        add_u32(out, (uint32_t)text.len);
        buf_add(out, text.data, text.len);
    }
    return OK;
}

static enum err_code speed(const struct tokenizer *t, const struct buf *in, struct buf *out, struct err *e)
{
    int64_t best = INT64_MAX;
    for (int i = 0; i < SPEED_TIMES; i++) {
        CLEANUP(encoder_freep) struct encoder *c = encoder_new(t);
        CLEANUP(token_ids_done) struct token_ids ids = { .ids = NULL };
        int64_t start = clock_mono_us();
        if (encoder_add(c, in->data, in->len, &ids, e))
            return e->code;
        best = MIN(best, MAX(clock_mono_us() - start, (int64_t)1));
    }
    buf_addf(out, "%.1f\n", (double)in->len / (double)best);
    return OK;
}

static enum err_code run(const char *what, int count, char **paths, struct err *e)
{
    CLEANUP(tokenizer_freep) struct tokenizer *t = NULL;
    CLEANUP(buf_done) struct buf in = BUF_INIT(INPUT_BYTES_MAX);
    CLEANUP(buf_done) struct buf out = BUF_INIT(INPUT_BYTES_MAX);
    if (open_tokenizer(count, paths, &t, e) || file_read("/dev/stdin", &in, e))
        return e->code;
    enum err_code code = strcmp(what, "encode") == 0   ? encode(t, &in, &out, e)
                         : strcmp(what, "decode") == 0 ? decode(t, &in, &out, e)
                                                       : speed(t, &in, &out, e);
    if (code || buf_check(&out, "output", e))
        return e->code;
    return file_write_all(1, out.data, out.len, e);
}

int main(int argc, char **argv)
{
    struct err e = ERR_INIT;
    if (argc < 3 || argc > 4) {
        fprintf(stderr, "usage: token_file encode|decode|speed bytes|VOCAB MERGES\n");
        return 2;
    }
    if (run(argv[1], argc - 2, argv + 2, &e)) {
        fprintf(stderr, "token_file: %s\n", e.text);
        return 1;
    }
    return 0;
}
