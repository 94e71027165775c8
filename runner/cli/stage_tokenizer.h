/*
 * stage_tokenizer.h - what makes tokens of a text that is staged, and the files that say so in the store.
 *
 * The files are GPT-2's, read once (core/token); the very bytes go beside the manifest, so that whoever has
 * the dataset can read what a model trained on it says. Private to data stage.
 */
#ifndef RUNNER_CLI_STAGE_TOKENIZER_H
#define RUNNER_CLI_STAGE_TOKENIZER_H

#include "core/job/dataset.h"
#include "core/token/token.h"

struct stage_tokenizer {
    enum tokenizer_kind kind;
    struct tokenizer *is;     /* owned; NULL: none */
    uint32_t end;             /* the token behind each document */
    struct buf vocab, merges; /* owned; bpe: the files */
};
/* The paths are those of bpe's files; NULL with bytes. ERR_USAGE: what stands in them, or that the vocabulary
 * has no end of a document. The caller calls stage_tokenizer_done(). */
enum err_code stage_tokenizer_open(enum tokenizer_kind kind, const char *vocab_path, const char *merges_path,
                                   struct stage_tokenizer *out, struct err *e);
void stage_tokenizer_done(struct stage_tokenizer *t);

int stage_tokenizer_bytes(const struct stage_tokenizer *t); /* of one token: 2 or 4 */

/* Puts the files below the prefix, where they are not there already, and says in *out how tokens are made.
 * With dry_run nothing is put, and a file that is not there has no version. */
enum err_code stage_tokenizer_send(const struct stage_tokenizer *t, struct store *store, const char *prefix,
                                   bool dry_run, struct dataset_tokenizer *out, struct err *e);
/* Reads one of them again: OK with `why` filled where it is not as the manifest says; an error where that
 * cannot be told. */
enum err_code stage_tokenizer_verify(struct store *store, const struct dataset_file *f, struct err *why,
                                     struct err *e);

#endif
