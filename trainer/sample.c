#include "trainer/sample.h"

#include "base/cleanup.h"
#include "base/fixed.h"
#include "base/mem.h"
#include "base/rng.h"
#include "trainer/metrics.h"

#include <stdlib.h>

enum { STREAM_SAMPLE = 0x73616d70 }; /* what the seed is used for here; never changes */

struct ranked {
    float p;
    uint32_t id;
};
struct sample_scratch {
    size_t vocabulary;
    struct ranked *ranked; /* owned */
    double *weights;       /* owned */
};

struct sample_scratch *sample_scratch_new(size_t vocabulary)
{
    struct sample_scratch *s = mem_new(sizeof(*s));

    invariant(vocabulary >= 1);
    s->vocabulary = vocabulary;
    s->ranked = mem_array(vocabulary, sizeof(*s->ranked));
    s->weights = mem_array(vocabulary, sizeof(*s->weights));
    return s;
}

void sample_scratch_free(struct sample_scratch *s)
{
    if (!s)
        return;
    free(s->ranked);
    free(s->weights);
    free(s);
}

static int more_probable_first(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->p != y->p)
        return x->p > y->p ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

/* Those that may be drawn, in the order in which they are summed. Returns how many. */
static size_t choose(const struct sample_rule *rule, const float *probs, struct sample_scratch *s)
{
    for (size_t i = 0; i < s->vocabulary; i++)
        s->ranked[i] = (struct ranked){ probs[i], (uint32_t)i };
    if (rule->top_k == 0 || rule->top_k >= s->vocabulary)
        return s->vocabulary;
    qsort(s->ranked, s->vocabulary, sizeof(*s->ranked), more_probable_first);
    return rule->top_k;
}

size_t sample_next(const struct sample_rule *rule, const float *probs, uint64_t index,
                   struct sample_scratch *s)
{
    size_t best = most_probable(probs, s->vocabulary);
    double sum = 0, at;

    if (rule->temperature == 0 || !(probs[best] > 0))
        return best;
    size_t n = choose(rule, probs, s);
    double top = fixed_log(probs[best]);
    for (size_t i = 0; i < n; i++) {
        float p = s->ranked[i].p;
        s->weights[i] = p > 0 ? fixed_exp((fixed_log(p) - top) / rule->temperature) : 0;
        sum += s->weights[i];
    }
    at = (double)(rng_u64(rng_key(rule->seed, STREAM_SAMPLE), index) >> 11) / 0x1p53 * sum;
    for (size_t i = 0; i < n; i++) {
        if (at < s->weights[i])
            return s->ranked[i].id;
        at -= s->weights[i];
    }
    return best; /* rounding left a rest */
}
