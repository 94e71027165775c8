/*
 * sampler.h - tokens drawn from a model by `sovrun-trainer sample`, a process of its own: what computes with
 * models is linked into no command.
 *
 * The model's bytes and the prompt go to its standard input, never onto a disk, into arguments or the
 * environment; the tokens come back one by one (trainer/sample.h says in which words).
 */
#ifndef RUNNER_CLI_SAMPLER_H
#define RUNNER_CLI_SAMPLER_H

#include "core/cluster/cluster.h"
#include "core/token/token.h"

enum { SAMPLER_PROMPT_MAX = 1 << 16, SAMPLER_TOKENS_MAX = 1 << 20 };

struct sampler_request {
    const struct buf *file;         /* the model's */
    const struct token_ids *prompt; /* at least one token; of more than SAMPLER_PROMPT_MAX the last ones */
    int64_t tokens, top_k, seed;
    const char *temperature;
    int64_t vocabulary, end; /* of the tokenizer; end -1: none */
};

/* A token, as soon as it is there. A non-zero return ends it all and is returned. */
typedef enum err_code sampler_fn(void *context, uint32_t id, struct err *e);
/* *out_ended: the end of a document was drawn before the last token asked for. ERR_CANCELED: a signal. Else
 * the sentence is the trainer's. */
enum err_code sampler_run(const struct cluster_launch *config, const struct sampler_request *r,
                          sampler_fn *each, void *context, bool *out_ended, struct err *e);

#endif
