/*
 * model_tokenizer.h - the tokenizer that a model's metadata names, to read what the model says.
 *
 * Bytes need nothing. The files of bpe lie beside the dataset that the model was trained on; they count only
 * where their SHA-256 are those in the model.
 */
#ifndef RUNNER_CLI_MODEL_TOKENIZER_H
#define RUNNER_CLI_MODEL_TOKENIZER_H

#include "core/cluster/cluster.h"
#include "core/token/token.h"

/* `metadata`: of a model file (core/artifact/model_file.h). data_uri "": not known. ERR_USAGE: it is no model
 * of tokens, or nobody said how they were made. ERR_NOT_FOUND: the dataset or its files are gone. */
enum err_code model_tokenizer_open(const struct cluster *c, const json_t *metadata, const char *data_uri,
                                   struct tokenizer **out, struct err *e);

#endif
