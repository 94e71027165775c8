/*
 * stage_tokens.h - lines of text become records of tokens, in their order, by several threads. Private to
 * data stage.
 *
 * A file of the source is a document: the tokens of its text (without a byte order mark), then the end of a
 * document. The text is handed out in blocks that end where it may be cut (token_cut()), so the tokens are
 * those of the whole file, whatever the blocks. A record is a line, with the white space in front of it, for
 * the same reason: white space belongs to what follows it. So a change of one line changes the tokens of that
 * line.
 *
 * Memory: two blocks of 256 KiB of text and their tokens for each thread, more only for lines that are
 * larger. More than STAGE_SPACE_BYTES_MAX of white space in a row is ERR_LIMIT.
 */
#ifndef RUNNER_CLI_STAGE_TOKENS_H
#define RUNNER_CLI_STAGE_TOKENS_H

#include "runner/cli/records.h"
#include "runner/cli/stage_tokenizer.h"

enum { STAGE_SPACE_BYTES_MAX = RECORD_BYTES_MAX };

struct stage_tokens;
/* `in` has RECORDS_TEXT. All are borrowed; nobody else may read from `in`. */
struct stage_tokens *stage_tokens_new(const struct source *source, struct records *in,
                                      const struct stage_tokenizer *tokenizer, size_t threads);
void stage_tokens_free(struct stage_tokens *s);
DEFINE_CLEANUP_PTR(struct stage_tokens, stage_tokens_free)
/* The next line's tokens, little-endian, at most units_max of them (then the next call goes on with it); they
 * are there until the next call. *out_over: there is no more. */
enum err_code stage_tokens_next(struct stage_tokens *s, uint64_t units_max, struct record *out,
                                bool *out_over, struct err *e);

/* How many there are, by reading all of the source. */
enum err_code stage_tokens_count(const struct source *source, const struct stage_tokenizer *tokenizer,
                                 size_t threads, uint64_t *out, struct err *e);

#endif
