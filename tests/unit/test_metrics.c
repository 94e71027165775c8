#include "base/rng.h"
#include "tests/test.h"
#include "trainer/metrics.h"

#include <math.h>
#include <string.h>

enum { N_MAX = 8 };

/* Two classes; p is the probability of class 1. AUC by hand: of all (positive, negative) pairs the share that
 * the positive wins, an equal pair counting half. The tie of three: (1/2 + 1/2 + 1 + 0 + 0 + 1) / 6. Of equal
 * classes the first is the guess. */
static const struct row {
    const char *name;
    size_t n;
    float p[N_MAX];
    int32_t label[N_MAX];
    int positive;
    bool has_auc;
    double auc, accuracy;
} rows[] = {
    { "perfect order", 4, { .1f, .2f, .8f, .9f }, { 0, 0, 1, 1 }, 1, true, 1, 1 },
    { "perfectly wrong", 4, { .9f, .8f, .2f, .1f }, { 0, 0, 1, 1 }, 1, true, 0, 0 },
    { "one pair of four is wrong", 4, { .1f, .4f, .35f, .8f }, { 0, 0, 1, 1 }, 1, true, 0.75, 0.75 },
    { "all are equal", 4, { .5f, .5f, .5f, .5f }, { 0, 0, 1, 1 }, 1, true, 0.5, 0.5 },
    { "one tie between the sides", 4, { .1f, .6f, .6f, .9f }, { 0, 0, 1, 1 }, 1, true, 0.875, 0.75 },
    { "ties within a side change nothing", 4, { .2f, .2f, .7f, .7f }, { 0, 0, 1, 1 }, 1, true, 1, 1 },
    { "a tie of three", 5, { .3f, .3f, .1f, .3f, .2f }, { 1, 0, 0, 0, 1 }, 1, true, 3.0 / 6, 0.6 },
    { "asked about the other class", 4, { .1f, .4f, .35f, .8f }, { 0, 0, 1, 1 }, 0, true, 0.75, 0.75 },
    { "the order of records does not matter",
      4,
      { .8f, .1f, .35f, .4f },
      { 1, 0, 1, 0 },
      1,
      true,
      0.75,
      0.75 },
    { "one side only has no AUC", 3, { .1f, .4f, .35f }, { 0, 0, 0 }, 1, false, 0, 1 },
    { "nobody asked", 2, { .1f, .9f }, { 0, 1 }, -1, false, 0, 1 },
    { "one record", 1, { .9f }, { 1 }, 1, false, 0, 1 },
};

static enum err_code compute(const struct row *row, struct metrics *out, struct err *e)
{
    float probs[2 * N_MAX];
    for (size_t i = 0; i < row->n; i++) {
        probs[2 * i] = 1 - row->p[i];
        probs[2 * i + 1] = row->p[i];
    }
    return metrics_compute(probs, row->label, row->n, 2, row->positive, out, e);
}

static void metrics_are(void **state)
{
    const struct row *row = *state;
    struct err e = ERR_INIT;
    struct metrics m;
    double loss = 0;

    assert_ok(compute(row, &m, &e));
    for (size_t i = 0; i < row->n; i++)
        loss -= log(row->label[i] ? row->p[i] : 1 - row->p[i]) / (double)row->n;
    assert_int_equal(m.records, row->n);
    assert_true(fabs(m.loss - loss) < 1e-14);
    assert_true(fabs(m.accuracy - row->accuracy) < 1e-15);
    assert_int_equal(m.has_auc, row->has_auc);
    if (row->has_auc)
        assert_true(m.auc == row->auc);
}

/* Against counting every pair, with many ties. */
static void auc_agrees_with_counting_pairs(void **state)
{
    enum { N = 500 };
    static float probs[3 * N];
    static int32_t labels[N];
    struct err e = ERR_INIT;
    struct metrics m;
    double won = 0, pairs = 0;

    for (size_t i = 0; i < N; i++) {
        labels[i] = (int32_t)rng_below(1, i, 3);
        probs[3 * i + 2] = (float)rng_below(2, i, 40) / 64;
        probs[3 * i] = probs[3 * i + 1] = (1 - probs[3 * i + 2]) / 2;
    }
    assert_ok(metrics_compute(probs, labels, N, 3, 2, &m, &e));
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < N && labels[i] == 2; j++)
            if (labels[j] != 2) {
                float a = probs[3 * i + 2], b = probs[3 * j + 2];
                won += a > b ? 1 : a == b ? 0.5 : 0;
                pairs++;
            }
    assert_true(m.has_auc && m.auc == won / pairs);
    (void)state;
}

static void a_sure_mistake_has_a_finite_loss(void **state)
{
    const float probs[] = { 1, 0 };
    const int32_t labels[] = { 1 };
    struct err e = ERR_INIT;
    struct metrics m;
    assert_ok(metrics_compute(probs, labels, 1, 2, 1, &m, &e));
    assert_true(fabs(m.loss - 126 * log(2)) < 1e-12); // the smallest normal float is 2^-126
    (void)state;
}

static const struct bad {
    const char *name;
    float probs[2];
    int32_t label;
    size_t n;
    int positive;
    const char *says;
} bads[] = {
    { "no records", { .5f, .5f }, 0, 0, 1, "not 0" },
    { "a label below 0", { .5f, .5f }, -1, 1, 1, "label -1" },
    { "a label that is no class", { .5f, .5f }, 2, 1, 1, "label 2" },
    { "a positive class that is none", { .5f, .5f }, 0, 1, 2, "positive class 2" },
    { "a probability that is not a number", { .5f, NAN }, 0, 1, 1, "probability" },
    { "a probability above 1", { 1.5f, 0 }, 0, 1, 1, "probability 1.5" },
};

static void is_refused(void **state)
{
    const struct bad *bad = *state;
    struct err e = ERR_INIT;
    struct metrics m = { .records = 77 };
    assert_int_equal(metrics_compute(bad->probs, &bad->label, bad->n, 2, bad->positive, &m, &e), ERR_USAGE);
    assert_non_null(strstr(e.text, bad->says));
    assert_int_equal(m.records, 77);
}

int main(void)
{
    static struct CMUnitTest tests[ARRAY_LEN(rows) + ARRAY_LEN(bads) + 2];
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        tests[n++] = (struct CMUnitTest){ rows[i].name, metrics_are, NULL, NULL, (void *)&rows[i] };
    for (size_t i = 0; i < ARRAY_LEN(bads); i++)
        tests[n++] = (struct CMUnitTest){ bads[i].name, is_refused, NULL, NULL, (void *)&bads[i] };
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(auc_agrees_with_counting_pairs);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(a_sure_mistake_has_a_finite_loss);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
