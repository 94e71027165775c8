/*
 * token_small.h - hand-made vocabularies: all bytes as 0 to 255, then what the given merges make, then the
 * end of a document.
 */
#ifndef TESTS_TOKEN_SMALL_H
#define TESTS_TOKEN_SMALL_H

#include "core/token/token.h"

#include <stdio.h>
#include <string.h>

/* The byte in GPT-2's alphabet. */
static inline void token_small_byte(struct buf *out, unsigned byte, bool json)
{
    unsigned c = 0x100;
    for (unsigned b = 0; b < byte; b++)
        c += !((b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || b >= 0xae);
    if ((byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae)
        c = byte;
    if (json && (c == '"' || c == '\\'))
        buf_add_byte(out, '\\');
    if (c >= 0x80)
        buf_add_byte(out, (uint8_t)(0xc0 | c >> 6));
    buf_add_byte(out, (uint8_t)(c < 0x80 ? c : 0x80 | (c & 0x3f)));
}

/* One entry a line; `merges` are lines of "A B" in the alphabet and fit in 50 bytes. */
static inline void token_small_vocab(const char *merges, struct buf *out)
{
    unsigned id = 0;
    buf_add_text(out, "{\n");
    for (; id < 256; id++) {
        buf_add_byte(out, '"');
        token_small_byte(out, id, true);
        buf_addf(out, "\": %u,\n", id);
    }
    for (const char *space, *end; *merges; merges = end + 1) {
        char entry[64];
        space = strchr(merges, ' ');
        end = strchr(merges, '\n');
        snprintf(entry, sizeof(entry), "\"%.*s%.*s\": ", (int)(space - merges), merges,
                 (int)(end - space - 1), space + 1);
        if (!strstr(buf_text(out), entry))
            buf_addf(out, "%s%u,\n", entry, id++);
    }
    buf_addf(out, "\"" TOKEN_END_TEXT "\": %u\n}\n", id);
}

static inline enum err_code token_small(const char *merges, struct tokenizer **out, struct err *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(1 << 20);
    token_small_vocab(merges, &text);
    struct token_file vocab = { "vocab.json", text.data, text.len };
    struct token_file file = { "merges.txt", merges, strlen(merges) };
    return tokenizer_bpe(&vocab, &file, out, e);
}

#endif
