/*
 * token.h - text to numbers and back: bytes, or byte pairs as GPT-2's.
 *
 * A tokenizer is a fixed list of byte strings, the vocabulary; a token is the number of one. There are two:
 *   bytes  a token is a byte, 0 to 255; 256 ends a document. Any bytes are text to it
 *   bpe    byte-pair encoding by GPT-2's two files. vocab.json is a JSON object: a token's text -> its
 * number. The text is in GPT-2's alphabet, which has one printable character for each byte ("Ġ" is a space).
 *          merges.txt has a pair of such texts a line, "A B"; the first line counts most. It may start with a
 *          line "#version: ...". The token of the text "<|endoftext|>" ends a document
 *
 * How bpe encodes: the text, which must be UTF-8, is split into pieces by GPT-2's pattern
 *     's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 * and each piece, alone, starts as its bytes; of all neighbours that a line of merges.txt names, those of the
 * first such line, and of these the leftmost, become one token, until there are none. What "\p{L}", "\p{N}"
 * and
 * "\s" (White_Space) are is Unicode's, in the version that split_table.c names.
 *
 * What holds: decoding what was encoded gives the same bytes, whatever they were. Encoding never gives the
 * end of a document: "<|endoftext|>" in a text is fourteen characters like others, and only who joins
 * documents adds that token. So a text cannot end the document that it stands in.
 *
 * Limits: files to TOKEN_FILE_BYTES_MAX, TOKEN_VOCABULARY_MAX tokens of at most TOKEN_TEXT_BYTES_MAX bytes.
 * Time is n log n in the length of a piece, memory 28 bytes for each byte of the longest; common pieces are
 * remembered, in 2 MiB an encoder.
 *
 * Threads: a tokenizer does not change once it is there: any number of threads may use it. An encoder belongs
 * to one thread at a time.
 */
#ifndef CORE_TOKEN_TOKEN_H
#define CORE_TOKEN_TOKEN_H

#include "base/buf.h"
#include "base/cleanup.h"

enum {
    TOKEN_FILE_BYTES_MAX = 32 << 20,
    TOKEN_VOCABULARY_MAX = 1 << 20,
    TOKEN_TEXT_BYTES_MAX = 1024, /* of one token */
    TOKEN_INPUT_BYTES_MAX = 64 << 20,
    TOKEN_BYTES_END = 256, /* of the byte tokenizer: a document ends */
};
#define TOKEN_END_TEXT "<|endoftext|>"

struct tokenizer;
/* Never fails. The caller gives it back, after all encoders, with tokenizer_free(). */
struct tokenizer *tokenizer_bytes(void);

/* A file's bytes and what errors call it. */
struct token_file {
    const char *name;
    const void *text;
    size_t n;
};
/* Both are read at once; nothing of them is kept. ERR_CORRUPT says file, line and what is wrong: no JSON
 * object of numbers, a number twice or left out, a token that is empty or outside the alphabet, a byte
 * without a token, a pair of what is no token or that makes none, a pair twice. ERR_LIMIT: larger than the
 * limits. */
enum err_code tokenizer_bpe(const struct token_file *vocab, const struct token_file *merges,
                            struct tokenizer **out, struct err *e);
void tokenizer_free(struct tokenizer *t);
DEFINE_CLEANUP_PTR(struct tokenizer, tokenizer_free)

uint32_t tokenizer_size(const struct tokenizer *t); /* tokens are 0 to size - 1 */
/* The token that ends a document. False: the vocabulary has none. */
bool tokenizer_end(const struct tokenizer *t, uint32_t *out);
/* Adds the bytes of these tokens. The byte tokenizer's end of a document has none; that of bpe is its text.
 * ERR_CORRUPT: token number I is none of the vocabulary; `out` then has the ones before it. The caller looks
 * whether `out` was large enough. */
enum err_code tokenizer_decode(const struct tokenizer *t, const uint32_t *ids, size_t n, struct buf *out,
                               struct err *e);

/* A list that grows. {0} is an empty one. */
struct token_ids {
    uint32_t *ids; /* owned */
    size_t count, size;
};
void token_ids_add(struct token_ids *t, uint32_t id);
void token_ids_done(struct token_ids *t);

struct encoder;
struct encoder *encoder_new(const struct tokenizer *t); /* `t` is borrowed */
void encoder_free(struct encoder *c);
DEFINE_CLEANUP_PTR(struct encoder, encoder_free)
/* Adds the tokens of a text that stands alone (token_cut() says where a longer one may be cut before).
 * ERR_USAGE: bpe, and it is not UTF-8, with the byte where that is so, from 0. ERR_LIMIT: more than
 * TOKEN_INPUT_BYTES_MAX. `out` does not change then. */
enum err_code encoder_add(struct encoder *c, const void *text, size_t n, struct token_ids *out,
                          struct err *e);

/* Where a text may be cut in two so that the tokens of both are the tokens of the whole, with any tokenizer:
 * the largest such place that needs no look at what follows the text, or 0. That is behind a character that
 * is no white space and before one that is. Bytes that are no UTF-8 count as the former. Pure. */
size_t token_cut(const void *text, size_t n);

#endif
