/* The next token: by which rule, how often, and always the same by the same seed. */
#include "base/cleanup.h"
#include "tests/test.h"
#include "trainer/sample.h"

#include <math.h>

enum { VOCABULARY = 5 };
static const float probs[VOCABULARY] = { 0.1f, 0.4f, 0.0f, 0.4f, 0.1f };

static void shares(const struct sample_rule *rule, double out[VOCABULARY])
{
    enum { DRAWS = 40000 };
    struct sample_scratch *s = sample_scratch_new(VOCABULARY);

    for (size_t i = 0; i < VOCABULARY; i++)
        out[i] = 0;
    for (uint64_t i = 0; i < DRAWS; i++)
        out[sample_next(rule, probs, i, s)] += 1.0 / DRAWS;
    sample_scratch_free(s);
}

static void the_coldest_takes_the_most_probable_of_equals_the_first(void **state)
{
    double is[VOCABULARY];
    (void)state;
    shares(&(struct sample_rule){ .temperature = 0, .seed = 3 }, is);
    assert_true(is[1] > 0.999);
    shares(&(struct sample_rule){ .temperature = 1, .top_k = 1, .seed = 3 }, is);
    assert_true(is[1] > 0.999);
}

/* p^(1/T), made to sum to 1: so often. */
static void each_comes_as_often_as_its_share(void **state)
{
    static const double temperatures[] = { 0.5, 1, 2 };
    (void)state;
    for (size_t t = 0; t < ARRAY_LEN(temperatures); t++) {
        double is[VOCABULARY], sum = 0;
        shares(&(struct sample_rule){ .temperature = temperatures[t], .seed = 11 }, is);
        for (size_t i = 0; i < VOCABULARY; i++)
            sum += pow((double)probs[i], 1 / temperatures[t]);
        for (size_t i = 0; i < VOCABULARY; i++) {
            double should = pow((double)probs[i], 1 / temperatures[t]) / sum;
            if (fabs(is[i] - should) > 0.01)
                fail_msg("temperature %g: token %zu came in %g of the draws, not %g", temperatures[t], i,
                         is[i], should);
        }
    }
}

static void of_k_only_the_k_most_probable_come(void **state)
{
    double is[VOCABULARY];
    (void)state;
    shares(&(struct sample_rule){ .temperature = 1, .top_k = 3, .seed = 5 }, is);
    assert_true(is[0] > 0.1 && is[1] > 0.4 && is[3] > 0.4);
    assert_true(is[2] == 0 && is[4] == 0); /* of equals the first */
    shares(&(struct sample_rule){ .temperature = 1, .top_k = 99, .seed = 5 }, is);
    assert_true(is[4] > 0.08 && is[2] == 0);
}

static void a_draw_is_a_function_of_seed_and_number(void **state)
{
    static const size_t first[] = { 1, 1, 1, 3, 0, 4, 1, 4, 4, 4 }; /* by base/rng.h, in Python */
    const struct sample_rule rule = { .temperature = 1, .seed = 7 };
    struct sample_scratch *s = sample_scratch_new(VOCABULARY);
    bool another = false;
    (void)state;
    for (size_t i = ARRAY_LEN(first); i-- > 0;) { /* in whatever order */
        assert_int_equal(sample_next(&rule, probs, i, s), first[i]);
        another = another ||
                  sample_next(&(struct sample_rule){ .temperature = 1, .seed = 8 }, probs, i, s) != first[i];
    }
    assert_true(another);
    sample_scratch_free(s);
}

/* A model that says nothing, or all of it, gives a token all the same. */
static void what_is_no_distribution_gives_a_token(void **state)
{
    static const float nothing[VOCABULARY] = { 0 }, one[VOCABULARY] = { 0, 0, 0, 1, 0 };
    const struct sample_rule rule = { .temperature = 100, .seed = 1 };
    struct sample_scratch *s = sample_scratch_new(VOCABULARY);
    (void)state;
    assert_int_equal(sample_next(&rule, nothing, 0, s), 0);
    for (uint64_t i = 0; i < 100; i++)
        assert_int_equal(sample_next(&rule, one, i, s), 3);
    sample_scratch_free(s);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_coldest_takes_the_most_probable_of_equals_the_first),
        cmocka_unit_test(each_comes_as_often_as_its_share),
        cmocka_unit_test(of_k_only_the_k_most_probable_come),
        cmocka_unit_test(a_draw_is_a_function_of_seed_and_number),
        cmocka_unit_test(what_is_no_distribution_gives_a_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
