#include "tests/kernels/run.h"

static const struct row {
    const char *name;
    size_t B, K;
    float spread; // logits are within +- this
} rows[] = {
    { "one record, two classes", 1, 2, 3 },
    { "no records", 0, 2, 3 },
    { "odd sizes", 7, 3, 3 },
    { "many classes", 33, 1001, 5 },
    { "logits that overflow a naive exponential", 9, 4, 2000 },
    { "logits that are all the same", 5, 6, 0 },
};

static double reference(const float *logits, size_t K, size_t label, double *probs)
{
    double largest = -INFINITY, sum = 0;
    for (size_t k = 0; k < K; k++)
        largest = fmax(largest, logits[k]);
    for (size_t k = 0; k < K; k++)
        sum += exp(logits[k] - largest);
    for (size_t k = 0; k < K; k++)
        probs[k] = exp(logits[k] - largest) / sum;
    return log(fmax(sum, 1)) + largest - logits[label];
}

struct setting {
    struct kernel_run r;
    struct pair logits, probs, dlogits;
    int32_t *labels, *dev_labels;
    double *dev_loss;
};

static struct setting setting_of(const struct row *row)
{
    struct setting s = { .r = run_open() };
    s.logits = pair_random(&s.r, row->B * row->K, -row->spread, row->spread);
    s.probs = pair_new(&s.r, row->B * row->K);
    s.dlogits = pair_new(&s.r, row->B * row->K);
    s.labels = mem_array(row->B + 1, sizeof(int32_t));
    for (size_t b = 0; b < row->B; b++)
        s.labels[b] = (int32_t)rng_below(9, b, row->K);
    s.dev_labels = run_memory(&s.r, (row->B + 1) * sizeof(int32_t));
    s.dev_loss = run_memory(&s.r, sizeof(double));
    device_put(s.r.d, s.dev_labels, s.labels, row->B * sizeof(int32_t));
    return s;
}

static void setting_done(struct setting *s)
{
    pair_done(&s->r, &s->logits);
    pair_done(&s->r, &s->probs);
    pair_done(&s->r, &s->dlogits);
    free(s->labels);
    device_free(s->r.d, s->dev_labels);
    device_free(s->r.d, s->dev_loss);
    device_close(s->r.d);
}

static void agrees_with_doubles(void **state)
{
    const struct row *row = *state;
    struct setting s = setting_of(row);
    const struct kernels *k = s.r.k;
    size_t B = row->B, K = row->K;
    double *want = mem_array(K, sizeof(double)), want_loss = 0, loss;

    k->cross_entropy(s.r.d, s.dev_loss, s.probs.dev, s.logits.dev, s.dev_labels, B, K);
    k->cross_entropy_backward(s.r.d, s.dlogits.dev, s.probs.dev, s.dev_labels, B, K);
    device_get(s.r.d, &loss, s.dev_loss, sizeof(loss));
    pair_fetch(&s.r, &s.probs);
    pair_fetch(&s.r, &s.dlogits);
    for (size_t b = 0; b < B; b++) {
        want_loss += reference(s.logits.host + b * K, K, (size_t)s.labels[b], want);
        for (size_t c = 0; c < K; c++) {
            assert_near(s.probs.host[b * K + c], want[c], 1e-7);
            assert_near(s.dlogits.host[b * K + c], want[c] - ((size_t)s.labels[b] == c), 1e-7);
        }
    }
    assert_near(loss, want_loss, 1e-12);
    /* softmax alone, and in place */
    k->softmax(s.r.d, s.logits.dev, s.logits.dev, B, K);
    pair_fetch(&s.r, &s.logits);
    assert_memory_equal(s.logits.host, s.probs.host, B * K * sizeof(float));
    free(want);
    setting_done(&s);
}

static void works_in_place(void **state)
{
    const struct row *row = *state;
    struct setting s = setting_of(row);
    double apart, in_place;
    size_t bytes = row->B * row->K * sizeof(float);

    s.r.k->cross_entropy(s.r.d, s.dev_loss, s.probs.dev, s.logits.dev, s.dev_labels, row->B, row->K);
    device_get(s.r.d, &apart, s.dev_loss, sizeof(apart));
    s.r.k->cross_entropy(s.r.d, s.dev_loss, s.logits.dev, s.logits.dev, s.dev_labels, row->B, row->K);
    device_get(s.r.d, &in_place, s.dev_loss, sizeof(in_place));
    pair_fetch(&s.r, &s.probs);
    pair_fetch(&s.r, &s.logits);
    assert_true(apart == in_place);
    assert_memory_equal(s.probs.host, s.logits.host, bytes);
    setting_done(&s);
}

static void backward_is_the_slope_of_the_loss(void **state)
{
    const struct row *row = *state;
    struct setting s = setting_of(row);
    size_t B = row->B, K = row->K;
    double *probs = mem_array(K, sizeof(double));

    s.r.k->cross_entropy(s.r.d, s.dev_loss, s.probs.dev, s.logits.dev, s.dev_labels, B, K);
    s.r.k->cross_entropy_backward(s.r.d, s.dlogits.dev, s.probs.dev, s.dev_labels, B, K);
    pair_fetch(&s.r, &s.dlogits);
    for (uint64_t i = 0; i < 16 && B > 0; i++) {
        size_t at = rng_below(4, i, B * K), b = at / K;
        float *x = &s.logits.host[at], kept = *x, up = kept + 0.01f, down = kept - 0.01f;
        *x = up;
        double above = reference(s.logits.host + b * K, K, (size_t)s.labels[b], probs);
        *x = down;
        double below = reference(s.logits.host + b * K, K, (size_t)s.labels[b], probs);
        *x = kept;
        assert_near(s.dlogits.host[at], (above - below) / ((double)up - down), 1e-4);
    }
    free(probs);
    setting_done(&s);
}

static void a_broken_logit_shows_in_the_loss(void **state)
{
    const struct row *row = &rows[2];
    const float broken[] = { NAN, INFINITY };
    for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
        struct setting s = setting_of(row);
        double loss;
        device_put(s.r.d, (float *)s.logits.dev + 4, &broken[i], sizeof(float));
        s.r.k->cross_entropy(s.r.d, s.dev_loss, s.probs.dev, s.logits.dev, s.dev_labels, row->B, row->K);
        device_get(s.r.d, &loss, s.dev_loss, sizeof(loss));
        assert_false(isfinite(loss));
        setting_done(&s);
    }
    (void)state;
}

int main(void)
{
    static struct CMUnitTest tests[3 * ARRAY_LEN(rows) + 1];
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        void *row = (void *)&rows[i];
        tests[n++] = (struct CMUnitTest){ rows[i].name, agrees_with_doubles, NULL, NULL, row };
        tests[n++] = (struct CMUnitTest){ rows[i].name, works_in_place, NULL, NULL, row };
        if (rows[i].spread < 100)
            tests[n++] =
                (struct CMUnitTest){ rows[i].name, backward_is_the_slope_of_the_loss, NULL, NULL, row };
    }
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(a_broken_logit_shows_in_the_loss);
    return run_everywhere(_cmocka_run_group_tests("softmax", tests, n, NULL, NULL));
}
