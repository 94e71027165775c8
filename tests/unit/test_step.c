/*
 * One rank's view of a training step: means over uneven leaves, clipping, divergence, restart. What several
 * ranks do together is tested by tests/system/test_exact_reduce.sh.
 */
#include "base/mem.h"
#include "base/rng.h"
#include "tests/test.h"
#include "trainer/step.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { LEAVES = 4, WIDTH = 6, CLASSES = 3, RECORDS = 24 };

struct setting {
    struct device *d;
    struct comm *c;
    struct model *m;
    struct step *s;
    float features[RECORDS * WIDTH];
    int32_t labels[RECORDS];
    struct batch leaves[LEAVES];
};

static void setting_done(struct setting *t)
{
    step_close(t->s);
    model_close(t->m);
    comm_close(t->c);
    device_close(t->d);
}

static const struct step_config plain = { .seed = 3,
                                          .leaves = LEAVES,
                                          .exact = true,
                                          .weight_decay = 0.1,
                                          .beta1 = 0.9,
                                          .beta2 = 0.999,
                                          .epsilon = 1e-8 };

static struct model_config model_of(double dropout)
{
    return (struct model_config){ .width = WIDTH,
                                  .hidden = { 9 },
                                  .hidden_count = 1,
                                  .classes = CLASSES,
                                  .dropout = dropout,
                                  .records_max = RECORDS,
                                  .slices = LEAVES };
}

/* sizes: records of each leaf. */
static void deal(struct setting *t, const size_t sizes[LEAVES])
{
    size_t first = 0;
    for (size_t i = 0; i < LEAVES; i++) {
        t->leaves[i] = (struct batch){ .n = sizes[i],
                                       .features = t->features + first * WIDTH,
                                       .labels = t->labels + first };
        first += sizes[i];
    }
    assert_true(first <= RECORDS);
}

static struct setting *setting_of(const struct step_config *config, double dropout)
{
    struct err e = ERR_INIT;
    struct setting *t = mem_new(sizeof(*t));
    struct model_config mc = model_of(dropout);

    assert_ok(device_open("cpu", &t->d, &e));
    t->c = comm_self_new();
    assert_ok(model_open("mlp", &mc, t->d, &t->m, &e));
    assert_ok(step_open(config, t->m, t->c, &t->s, &e));
    for (size_t i = 0; i < RECORDS * WIDTH; i++)
        t->features[i] = (float)rng_normal(21, i);
    for (size_t i = 0; i < RECORDS; i++)
        t->labels[i] = (int32_t)rng_below(22, i, CLASSES);
    deal(t, (size_t[LEAVES]){ 6, 6, 6, 6 });
    return t;
}

static void setting_free(struct setting **t)
{
    setting_done(*t);
    free(*t);
}

static struct step_result run(struct setting *t, int64_t step, double lr)
{
    struct err e = ERR_INIT;
    struct step_result r = { 0 };
    struct step_input in = { .step = step, .lr = lr, .leaves = t->leaves, .vote = 4 };
    assert_ok(step_run(t->s, &in, &r, &e));
    assert_int_equal(r.vote_max, 4);
    return r;
}

/* Leaves of 5, 0, 11 and 1 records against the mean over 17 records at once, and AdamW in doubles. */
static void a_step_is_adamw_on_the_mean_of_all_records(void **state)
{
    struct step_config config = plain;
    config.clip = *(const double *)(*state);
    CLEANUP(setting_free) struct setting *t = setting_of(&config, 0);
    size_t n = t->m->params.padded, records = 17;
    CLEANUP(freep) float *grad = mem_array(n, sizeof(float)), *before = mem_array(n, sizeof(float));
    struct err e = ERR_INIT;
    struct batch all = { .n = records, .features = t->features, .labels = t->labels };
    double loss_sum, squares = 0, lr = 0.01;

    deal(t, (size_t[LEAVES]){ 5, 0, 11, 1 });
    memcpy(before, step_params(t->s), n * sizeof(float));
    assert_ok(model_backward(t->m, before, &all, 0, grad, &loss_sum, &e));
    for (size_t i = 0; i < n; i++)
        squares += (double)grad[i] * grad[i];
    double norm = sqrt(squares) / (double)records;
    struct step_result r = run(t, 1, lr);
    assert_int_equal(r.records, records);
    assert_true(fabs(r.loss - loss_sum / (double)records) < 1e-12);
    assert_true(fabs(r.norm - norm) < 1e-6 * norm);
    assert_false(r.diverged);
    double clip = config.clip > 0 && norm > config.clip ? config.clip / norm : 1;
    for (size_t i = 0; i < n; i++) {
        double g = grad[i] / (double)records * clip, w = before[i];
        double m = 0.1 * g, v = 0.001 * g * g;
        w -= lr * (m / 0.1 / (sqrt(v / 0.001) + 1e-8) + 0.1 * w);
        assert_true(fabs(step_params(t->s)[i] - w) < 2e-6);
        struct step_slice slice = step_slice(t->s, i / t->m->params.slice_count);
        assert_true(fabs(slice.moment1[i - slice.first] - m) <
                    1e-6); // clipping shows here, the first step hides it
        assert_true(fabs(slice.moment2[i - slice.first] - v) < 1e-7);
    }
}

static void a_step_without_records_changes_nothing(void **state)
{
    CLEANUP(setting_free) struct setting *t = setting_of(&plain, 0);
    size_t bytes = t->m->params.padded * sizeof(float);
    CLEANUP(freep) float *before = mem_new(bytes);

    deal(t, (size_t[LEAVES]){ 0, 0, 0, 0 });
    memcpy(before, step_params(t->s), bytes);
    struct step_result r = run(t, 1, 0.01);
    assert_true(r.records == 0 && r.loss == 0 && !r.diverged);
    assert_memory_equal(before, step_params(t->s), bytes);
    (void)state;
}

static void a_loss_that_is_no_number_is_divergence(void **state)
{
    CLEANUP(setting_free) struct setting *t = setting_of(&plain, 0);
    size_t bytes = t->m->params.padded * sizeof(float);
    CLEANUP(freep) float *before = mem_new(bytes);

    memcpy(before, step_params(t->s), bytes);
    t->features[13 * WIDTH] = NAN; // record 13 is in leaf 2
    struct step_result r = run(t, 12, 0.01);
    assert_true(r.diverged);
    assert_non_null(strstr(r.why, "step 12: the loss of leaf 2 is"));
    assert_non_null(strstr(r.why, "; the first gradient that is no number is in 'layers.0.weight'"));
    assert_memory_equal(before, step_params(t->s), bytes);
    (void)state;
}

static void a_loss_far_above_a_guess_is_divergence(void **state)
{
    struct step_config config = plain;
    config.explode = 2;
    CLEANUP(setting_free) struct setting *t = setting_of(&config, 0);
    size_t n = t->m->params.padded;

    struct step_result r = run(t, 1, 0.01);
    assert_false(r.diverged); /* about ln 3 */
    for (size_t i = 0; i < n; i++)
        step_params(t->s)[i] *= 100;
    r = run(t, 2, 0.01);
    assert_true(r.diverged);
    assert_true(r.loss > 2 * log(3) && isfinite(r.norm));
    assert_non_null(strstr(r.why, "step 2: the loss is "));
    assert_non_null(strstr(r.why, ", and that of a guess 1.09861"));
    (void)state;
}

static void a_gradient_without_bounds_is_divergence(void **state)
{
    CLEANUP(setting_free) struct setting *t = setting_of(&plain, 0);
    size_t n = t->m->params.padded;

    for (size_t i = 0; i < n; i++)
        step_params(t->s)[i] = 0; // so that the loss is ln 3 for any record
    size_t bias = t->m->params.tensors[1].first, last = t->m->params.tensors[2].first;
    for (size_t i = 0; i < 9; i++)
        step_params(t->s)[bias + i] = 1;
    step_params(t->s)[last] = 1;
    for (size_t i = 0; i < RECORDS; i++) {
        t->features[i * WIDTH] = 3e38f; // finite, but not 24 of them
        t->labels[i] = 1;
    }
    struct step_result r = run(t, 3, 0.01);
    assert_true(isfinite(r.loss));
    assert_true(r.diverged);
    assert_non_null(strstr(r.why, "step 3: the gradient's norm is inf"));
    assert_true(step_params(t->s)[last] == 1);
    (void)state;
}

/* Slices out of one, into another: as a checkpoint does. */
static void a_restart_continues_to_the_bit(void **state)
{
    CLEANUP(setting_free) struct setting *whole = setting_of(&plain, 0.3), *second = setting_of(&plain, 0.3);
    size_t bytes = whole->m->params.padded * sizeof(float);
    struct err e = ERR_INIT;

    for (int64_t step = 1; step <= 5; step++)
        run(whole, step, 0.01);
    assert_memory_not_equal(step_params(whole->s), step_params(second->s), bytes);
    for (size_t i = 0; i < LEAVES; i++) {
        struct step_slice from = step_slice(whole->s, i), to = step_slice(second->s, i);
        memcpy(to.params, from.params, to.count * sizeof(float));
        memcpy(to.moment1, from.moment1, to.count * sizeof(float));
        memcpy(to.moment2, from.moment2, to.count * sizeof(float));
    }
    assert_ok(step_spread(second->s, &e));
    for (int64_t step = 6; step <= 10; step++) {
        struct step_result a = run(whole, step, 0.01), b = run(second, step, 0.01);
        assert_true(a.loss == b.loss && a.norm == b.norm);
    }
    assert_memory_equal(step_params(whole->s), step_params(second->s), bytes);
    (void)state;
}

static void dropout_differs_from_step_to_step(void **state)
{
    CLEANUP(setting_free) struct setting *t = setting_of(&plain, 0.5);
    double one = run(t, 1, 0).loss, two = run(t, 2, 0).loss,
           again = run(t, 1, 0).loss; // rate 0: nothing is learned
    assert_true(one != two && one == again);
    (void)state;
}

static void fast_learns_the_same(void **state)
{
    struct step_config config = plain;
    config.exact = false;
    CLEANUP(setting_free) struct setting *exact = setting_of(&plain, 0.3), *fast = setting_of(&config, 0.3);
    for (int64_t step = 1; step <= 20; step++) {
        struct step_result a = run(exact, step, 0.01), b = run(fast, step, 0.01);
        assert_true(fabs(a.loss - b.loss) < 1e-4);
    }
    (void)state;
}

static void it_learns(void **state)
{
    CLEANUP(setting_free) struct setting *t = setting_of(&plain, 0);
    double first = run(t, 1, 0.03).loss, last = first;
    for (int64_t step = 2; step <= 200; step++)
        last = run(t, step, 0.03).loss;
    assert_true(last < first / 4);
    (void)state;
}

/* In whichever leaf, and with the others still to come. */
static void a_bad_label_is_an_error_that_names_its_leaf(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * (size_t)LEAVES; i++) {
        size_t leaf = i / 2, bad = 6 * leaf + 2;
        struct step_config config = plain;
        config.exact = i % 2;
        CLEANUP(setting_free) struct setting *t = setting_of(&config, 0);
        CLEANUP(setting_free) struct setting *unharmed = setting_of(&config, 0);
        struct err e = ERR_INIT;
        struct step_result r = { .records = 77 };
        struct step_input in = { .step = 8, .lr = 0.01, .leaves = t->leaves };
        char want[96];

        int32_t good = t->labels[bad];
        t->labels[bad] = 99;
        assert_int_equal(step_run(t->s, &in, &r, &e), ERR_USAGE);
        snprintf(want, sizeof(want), "step 8: leaf %zu: record 2 has label 99, the model has 3 classes",
                 leaf);
        assert_string_equal(e.text, want);
        assert_int_equal(r.records, 77);
        t->labels[bad] = good;
        assert_ok(step_run(t->s, &in, &r, &e)); // an old error in e is no failure of this step
        run(unharmed, 8, 0.01);
        assert_memory_equal(step_params(t->s), step_params(unharmed->s), t->m->params.padded * sizeof(float));
    }
}

static void settings_that_make_no_sense_are_refused(void **state)
{
    struct step_config bad[6];
    struct err e = ERR_INIT;
    CLEANUP(setting_free) struct setting *t = setting_of(&plain, 0);
    struct step *s = NULL;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        bad[i] = plain;
    bad[0].leaves = 8; // the model was cut into 4 slices
    bad[1].beta1 = 1;
    bad[2].beta2 = NAN;
    bad[3].epsilon = 0;
    bad[4].weight_decay = -1;
    bad[5].clip = NAN;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(step_open(&bad[i], t->m, t->c, &s, &e), ERR_USAGE);
    assert_null(s);
    (void)state;
}

static void more_ranks_than_leaves_or_an_odd_number_are_refused(void **state)
{
    const int sizes[] = { 3, 8, 16 };
    struct err e = ERR_INIT;
    CLEANUP(setting_free) struct setting *t = setting_of(&plain, 0);
    struct step *s = NULL;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct comm crowd = { .ops = t->c->ops, .rank = 0, .size = sizes[i] };
        assert_int_equal(step_open(&plain, t->m, &crowd, &s, &e), ERR_USAGE);
        assert_non_null(strstr(e.text, "4 leaves"));
    }
    (void)state;
}

int main(void)
{
    static const double no_clip = 0, clip = 0.05, far_clip = 1e6;
    static struct CMUnitTest tests[] = {
        { "a step is AdamW on the mean of all records", a_step_is_adamw_on_the_mean_of_all_records, NULL,
          NULL, (void *)&no_clip },
        { "a long gradient is clipped", a_step_is_adamw_on_the_mean_of_all_records, NULL, NULL,
          (void *)&clip },
        { "a short gradient is not clipped", a_step_is_adamw_on_the_mean_of_all_records, NULL, NULL,
          (void *)&far_clip },
        cmocka_unit_test(a_step_without_records_changes_nothing),
        cmocka_unit_test(a_loss_that_is_no_number_is_divergence),
        cmocka_unit_test(a_gradient_without_bounds_is_divergence),
        cmocka_unit_test(a_loss_far_above_a_guess_is_divergence),
        cmocka_unit_test(a_restart_continues_to_the_bit),
        cmocka_unit_test(dropout_differs_from_step_to_step),
        cmocka_unit_test(fast_learns_the_same),
        cmocka_unit_test(it_learns),
        cmocka_unit_test(a_bad_label_is_an_error_that_names_its_leaf),
        cmocka_unit_test(settings_that_make_no_sense_are_refused),
        cmocka_unit_test(more_ranks_than_leaves_or_an_odd_number_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
