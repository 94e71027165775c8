/*
 * dataset_tokenizer.h - the manifest's member `tokenizer`. Private to core/job; dataset.h tells the story.
 *
 * "files" is empty, or has vocab.json and merges.txt in this order; where they lie follows from the prefix.
 */
#ifndef CORE_JOB_DATASET_TOKENIZER_H
#define CORE_JOB_DATASET_TOKENIZER_H

#include "core/job/dataset.h"

json_t *dataset_tokenizer_to_json(const struct dataset_tokenizer *t);
/* The member of that manifest. All three: ERR_CORRUPT. */
enum err_code dataset_tokenizer_from_json(const json_t *manifest, struct dataset_tokenizer *out,
                                          struct err *e);
/* Do kind, numbers, files and the tokens' format go together? */
enum err_code dataset_tokenizer_check(const struct dataset *d, struct err *e);
/* Do its files lie where they belong below that prefix, which has no slash at its end? */
enum err_code dataset_tokenizer_check_prefix(const struct dataset_tokenizer *t, const char *prefix,
                                             size_t prefix_n, struct err *e);

#endif
