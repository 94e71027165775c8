/*
 * sequences.h - from the bytes of a token shard to what a language model reads. Pure.
 *
 * Sequence i of a shard are its tokens i T to i T + T - 1; to be predicted are the tokens behind each,
 * i T + 1 to i T + T. A document begins with the token that ended the one before it: so every token is
 * predicted from its own document alone, the first one from that end, and a text can be begun from there.
 */
#ifndef TRAINER_SEQUENCES_H
#define TRAINER_SEQUENCES_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

/* n little-endian numbers of 2 or 4 bytes. ERR_CORRUPT: one is not below `vocab`. */
enum err_code sequence_tokens(const uint8_t *bytes, size_t n, size_t token_bytes, size_t vocab, int32_t *out,
                              struct err *e);

/* Sequence `i` of `context` tokens; `tokens` has i * context + context + 1 at least. `end`: the token that
 * ends a document, -1: unknown, then the sequence is one. Each output has `context` numbers; starts: where in
 * the sequence the document of each token begins. */
void sequence_take(const int32_t *tokens, size_t i, size_t context, int64_t end, int32_t *out_tokens,
                   int32_t *out_labels, int32_t *out_starts);

#endif
