/* What a rank needs of memory: counted before it is taken, and refused in time. */
#include "tests/test.h"

#include "trainer/budget.h"

#include <string.h>

static struct job_spec spec = { .train = { .batch = 32, .leaves = 4, .reduce = REDUCE_EXACT } };
static const struct model_config config = {
    .width = 64, .layers = 2, .heads = 4, .context = 32, .classes = 100, .records_max = 8, .slices = 4
};

static struct budget budget_of(size_t ranks, const struct model_config *c, const struct job_spec *s)
{
    struct err e = ERR_INIT;
    struct device *d = NULL;
    struct budget b;
    assert_ok(device_open("cpu", &d, &e));
    const struct budget_question q = { "gpt", c, s, d, ranks, 1000 };
    assert_ok(budget_make(&q, &b, &e));
    device_close(d);
    return b;
}

static void each_part_is_what_is_taken(void **state)
{
    (void)state;
    /* 100 x 64 + 32 x 64 + 2 (12 x 64^2 + 13 x 64) + 2 x 64 = 108,544 floats; a slice 27,136. */
    enum { VECTOR = 108544 * 4, SLICE = VECTOR / 4 };
    struct budget one = budget_of(1, &config, &spec), four = budget_of(4, &config, &spec);
    assert_int_equal(one.parameters, VECTOR);
    assert_int_equal(one.moments, 2 * VECTOR);
    assert_int_equal(one.gradients, 3 * VECTOR); /* log2(4) + 1 */
    assert_int_equal(one.checkpoint, 3 * VECTOR + 2 * VECTOR);
    assert_int_equal(one.data, 1000 + 2 * 32 * 32 * 12); /* of this step and of the next */
    assert_int_equal(one.total, one.parameters + one.moments + one.gradients + one.activations +
                                    one.workspace + one.checkpoint + one.data);
    assert_int_equal(four.parameters, VECTOR);
    assert_int_equal(four.moments, 2 * SLICE);
    assert_int_equal(four.gradients, VECTOR);
    assert_int_equal(four.checkpoint, 3 * SLICE + 2 * VECTOR);
    assert_int_equal(four.activations, one.activations);
}

static void what_is_to_be_reduced_reduces(void **state)
{
    (void)state;
    struct model_config c = config;
    struct job_spec fast = spec;
    struct budget all = budget_of(1, &config, &spec);
    c.recompute = true;
    assert_true(budget_of(1, &c, &spec).activations < all.activations);
    c = config;
    c.records_max = 4;
    assert_true(budget_of(1, &c, &spec).activations < all.activations);
    fast.train.reduce = REDUCE_FAST;
    assert_true(budget_of(1, &config, &fast).gradients < all.gradients);
}

static void what_does_not_fit_is_refused_with_the_sizes(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    const uint64_t mib = 1 << 20;
    struct budget b = { .parameters = 10 * mib, .activations = 80 * mib, .total = 90 * mib };
    assert_ok(budget_check(&b, 2, 180 * mib, &e));
    assert_ok(budget_check(&b, 2, 0, &e)); /* not known */
    assert_int_equal(budget_check(&b, 2, 180 * mib - 1, &e), ERR_LIMIT);
    assert_string_equal(e.text, "2 ranks would need 180.0 MiB of memory where 179.9 MiB can be had; each: "
                                "parameters 10.0 MiB, moments 0 B, gradients 0 B, activations 80.0 MiB, "
                                "workspace 0 B, checkpoint 0 B, data 0 B. To reduce: a smaller train.batch, "
                                "more train.leaves, or model.recompute: true");
    err_clear(&e);
    b = (struct budget){ .parameters = 90 * mib, .total = 90 * mib };
    assert_int_equal(budget_check(&b, 1, mib, &e), ERR_LIMIT);
    assert_non_null(strstr(e.text, "a smaller model"));
    err_clear(&e);
    b = (struct budget){ .data = 90 * mib, .total = UINT64_MAX };
    assert_int_equal(budget_check(&b, 3, UINT64_MAX - 1, &e), ERR_LIMIT); /* the product does not wrap */
    assert_non_null(strstr(e.text, "stage smaller shards"));
}

static size_t two_mib(struct device *d)
{
    (void)d;
    return 2 << 20;
}

/* A device whose memory is not the host's: what it holds does not count there, and must fit on it. */
static void a_card_holds_its_own_part(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct device *d = NULL;
    struct budget b, here = budget_of(1, &config, &spec);
    assert_int_equal(here.card, 0);
    assert_ok(budget_check_card(&here, SIZE_MAX, &e));
    assert_ok(device_open("cpu", &d, &e));
    struct device_ops ops = *d->ops;
    const struct device_ops *own = d->ops;
    ops.room = two_mib;
    d->ops = &ops;
    const struct budget_question q = { "gpt", &config, &spec, d, 1, 1000 };
    assert_ok(budget_make(&q, &b, &e));
    assert_int_equal(b.total, here.total);
    assert_int_equal(b.card, here.total - here.checkpoint - here.data);
    assert_ok(budget_check(&b, 1, here.checkpoint + here.data, &e));
    assert_int_equal(budget_check(&b, 1, here.checkpoint + here.data - 1, &e), ERR_LIMIT);
    err_clear(&e);
    assert_ok(budget_check_card(&b, b.card, &e));
    assert_int_equal(budget_check_card(&b, device_room(d), &e), ERR_LIMIT);
    assert_non_null(strstr(e.text, "of its card's memory where 2.0 MiB can be had: parameters"));
    d->ops = own;
    device_close(d);
}

static void what_no_object_can_hold_is_refused(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct device *d = NULL;
    struct budget b;
    struct model_config c = { .width = 4096,
                              .layers = 11,
                              .heads = 16,
                              .context = 1024,
                              .classes = 50257,
                              .records_max = 1,
                              .slices = 8 };
    assert_ok(device_open("cpu", &d, &e));
    const struct budget_question q = { "gpt", &c, &spec, d, 1, 0 };
    assert_int_equal(budget_make(&q, &b, &e), ERR_LIMIT);
    assert_non_null(
        strstr(e.text, "a model file of 2425233408 parameters has 9.0 GiB, and an object at most 8.0 GiB"));
    err_clear(&e);
    c = (struct model_config){ .width = 1600,
                               .layers = 48,
                               .heads = 25,
                               .context = 1024,
                               .classes = 50257,
                               .records_max = 1,
                               .slices = 2 };
    assert_int_equal(budget_make(&q, &b, &e), ERR_LIMIT);
    assert_non_null(strstr(e.text, "more train.leaves"));
    err_clear(&e);
    c.slices = 4;
    assert_ok(budget_make(&q, &b, &e)); /* GPT-2 1558M */
    device_close(d);
}

static void this_machine_has_some(void **state)
{
    (void)state;
    assert_true(budget_available() > 1 << 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_part_is_what_is_taken),
        cmocka_unit_test(what_is_to_be_reduced_reduces),
        cmocka_unit_test(what_does_not_fit_is_refused_with_the_sizes),
        cmocka_unit_test(a_card_holds_its_own_part),
        cmocka_unit_test(what_no_object_can_hold_is_refused),
        cmocka_unit_test(this_machine_has_some),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
