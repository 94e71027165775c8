#include "trainer/metrics.h"

#include "base/cleanup.h"
#include "base/fixed.h"
#include "base/mem.h"

#include <float.h>
#include <inttypes.h>

static enum err_code check(const float *probs, const int32_t *labels, size_t n, size_t classes, int positive,
                           struct err *e)
{
    if (n == 0 || n > METRICS_RECORDS_MAX)
        return err_set(e, ERR_USAGE, "metrics are of 1 to %d records, not %zu", METRICS_RECORDS_MAX, n);
    if (positive < -1 || (positive >= 0 && (size_t)positive >= classes))
        return err_set(e, ERR_USAGE, "positive class %d: there are %zu classes", positive, classes);
    for (size_t i = 0; i < n; i++) {
        if (labels[i] < 0 || (size_t)labels[i] >= classes)
            return err_set(e, ERR_USAGE, "record %zu has label %" PRId32 ", there are %zu classes", i,
                           labels[i], classes);
        for (size_t k = 0; k < classes; k++)
            if (!(probs[i * classes + k] >= 0 && probs[i * classes + k] <= 1))
                return err_set(e, ERR_USAGE, "record %zu has probability %g for class %zu", i,
                               (double)probs[i * classes + k], k);
    }
    return OK;
}

size_t most_probable(const float *probs, size_t classes)
{
    size_t best = 0;
    for (size_t k = 1; k < classes; k++)
        if (probs[k] > probs[best])
            best = k;
    return best;
}

struct scored {
    float score;
    bool positive;
};

static int by_score(const void *a, const void *b)
{
    float x = ((const struct scored *)a)->score, y = ((const struct scored *)b)->score;
    return (x > y) - (x < y);
}

/*
 * Positives win against the negatives below them and half against their equals. Doubled, that is a whole
 * number: 2 U = sum over groups of equals of positives * (2 * negatives below + negatives among them), at
 * most 2 * (METRICS_RECORDS_MAX / 2)^2, so 64 bits hold it.
 */
static bool auc_of(struct scored *s, size_t n, double *out)
{
    uint64_t doubled = 0, negatives = 0;

    qsort(s, n, sizeof(*s), by_score);
    for (size_t i = 0, end; i < n; i = end) {
        uint64_t positives_here = 0;
        for (end = i; end < n && s[end].score == s[i].score; end++)
            positives_here += s[end].positive;
        uint64_t negatives_here = end - i - positives_here;
        doubled += positives_here * (2 * negatives + negatives_here);
        negatives += negatives_here;
    }
    uint64_t positives = n - negatives;
    if (positives == 0 || negatives == 0)
        return false;
    *out = (double)doubled / (2.0 * (double)positives * (double)negatives);
    return true;
}

enum err_code metrics_compute(const float *probs, const int32_t *labels, size_t n, size_t classes,
                              int positive, struct metrics *out, struct err *e)
{
    CLEANUP(freep) struct scored *scored = NULL;
    struct metrics m = { .records = n };
    size_t right = 0;

    if (check(probs, labels, n, classes, positive, e))
        return e->code;
    for (size_t i = 0; i < n; i++) {
        const float *p = probs + i * classes;
        m.loss -= fixed_log(p[labels[i]] > FLT_MIN ? p[labels[i]] : FLT_MIN);
        right += most_probable(p, classes) == (size_t)labels[i];
    }
    m.loss /= (double)n;
    m.accuracy = (double)right / (double)n;
    if (positive >= 0) {
        scored = mem_array(n, sizeof(*scored));
        for (size_t i = 0; i < n; i++)
            scored[i] = (struct scored){ probs[i * classes + (size_t)positive], labels[i] == positive };
        m.has_auc = auc_of(scored, n, &m.auc);
    }
    *out = m;
    return OK;
}
