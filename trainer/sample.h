/*
 * sample.h - the next token, drawn from a model's probabilities by a seed; and `sovrun-trainer sample`.
 *
 * Drawn is as p^(1/temperature), over the top_k most probable tokens or all; temperature 0 takes the most
 * probable, of equals the first. Sums go in a fixed order, and draw number i is a pure function of (seed, i):
 * the same probabilities give the same tokens, anywhere.
 *
 * The program reads one request from standard input, by its own user's `sovrun model sample`: a line of JSON
 *     {"end","file_bytes","prompt":[tokens],"seed","temperature":"0.8","tokens","top_k","version":1,
 *      "vocabulary"}
 * and behind it the bytes of the model file (core/artifact/model_file.h), which is never on disk nor in
 * arguments. It writes each token as a line of its own while it goes on; then "over", or "end" where the
 * token that ends a document came first (that one is not written); or "error SENTENCE". Nothing else is read
 * or written, and no connection made.
 */
#ifndef TRAINER_SAMPLE_H
#define TRAINER_SAMPLE_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

enum { SAMPLE_VERSION = 1, SAMPLE_TOKENS_MAX = 1 << 20, SAMPLE_PROMPT_MAX = 1 << 16 };

struct sample_rule {
    double temperature; /* 0: the most probable */
    size_t top_k;       /* 0: all */
    uint64_t seed;
};
struct sample_scratch;
struct sample_scratch *sample_scratch_new(size_t vocabulary);
void sample_scratch_free(struct sample_scratch *s);

/* Draw number `index`, from 0, of probs[0 .. vocabulary of the scratch - 1]; they need not sum to 1. */
size_t sample_next(const struct sample_rule *rule, const float *probs, uint64_t index,
                   struct sample_scratch *s);

/* `sovrun-trainer sample`: its exit status. */
int sample_main(int in_fd, int out_fd);

#endif
