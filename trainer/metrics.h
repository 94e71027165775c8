/*
 * metrics.h - how good a model is on records it has not seen.
 *
 * From class probabilities and labels, in the order given; every rank computes the same from the same
 * gathered numbers. The AUC (area under the receiver operating characteristic) is the Mann-Whitney statistic
 * by ranks, ties at their middle rank: counted in integers, with one division at the end.
 */
#ifndef TRAINER_METRICS_H
#define TRAINER_METRICS_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

enum { METRICS_RECORDS_MAX = 1 << 30 };

struct metrics {
    uint64_t records;  /* or tokens that were predicted */
    bool of_tokens;    /* then there is no accuracy, and */
    double perplexity; /* e^loss */
    double loss;       /* mean of -ln p(label); p below the smallest normal float counts as that */
    double accuracy;   /* share of records whose label is the most probable class; of equals, the first */
    bool has_auc;      /* two classes or more were asked about, and both sides have records */
    double auc;        /* of `positive` against all others */
};
/* probs (n, classes), labels (n). `positive`: the class that AUC speaks of, -1: none. ERR_USAGE: n is 0 or
 * above METRICS_RECORDS_MAX, a label or `positive` that is no class, a probability that is not in [0, 1]. */
enum err_code metrics_compute(const float *probs, const int32_t *labels, size_t n, size_t classes,
                              int positive, struct metrics *out, struct err *e);

/* The index of the largest of n >= 1; of equals, the first. */
size_t most_probable(const float *probs, size_t n);

#endif
