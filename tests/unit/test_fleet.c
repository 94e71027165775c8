/* Nodes, queues, and what is in use. */
#include "scheduler/fleet.h"
#include "tests/scheduler.h"

#include <string.h>

static void nothing_is_in_use_at_first(void **state)
{
    (void)state;
    CLEANUP(cluster_freep) struct cluster *c = test_cluster("a:4 b:8", "default:0 small:2");
    CLEANUP(fleet_done) struct fleet f = fleet_new(c);

    assert_int_equal(f.node_count, 2);
    assert_int_equal(f.queue_count, 2);
    assert_int_equal(fleet_free(&f), 12);
    assert_int_equal(fleet_free_on_one(&f), 8);
    assert_true(fleet_queue_free(fleet_queue(&f, "default")) == INT64_MAX);
    assert_int_equal(fleet_queue_free(fleet_queue(&f, "small")), 2);
}

static void use_counts_in_node_and_queue_and_goes_away_again(void **state)
{
    (void)state;
    CLEANUP(cluster_freep) struct cluster *c = test_cluster("a:4 b:8", "default:0 small:2");
    CLEANUP(fleet_done) struct fleet f = fleet_new(c);

    fleet_use(&f, "b", "small", 2);
    assert_int_equal(fleet_free_on_one(&f), 6);
    assert_int_equal(fleet_queue_free(fleet_queue(&f, "small")), 0);
    assert_int_equal(fleet_node(&f, "b")->jobs, 1);
    assert_int_equal(fleet_queue(&f, "small")->jobs, 1);
    fleet_use(&f, "b", "small", -2);
    assert_int_equal(fleet_free(&f), 12);
    assert_int_equal(fleet_node(&f, "b")->jobs, 0);
}

static void a_node_that_left_still_counts_in_the_queue(void **state)
{
    (void)state;
    CLEANUP(cluster_freep) struct cluster *c = test_cluster("a:4", "small:4");
    CLEANUP(fleet_done) struct fleet f = fleet_new(c);

    fleet_use(&f, "gone", "small", 3);
    assert_int_equal(fleet_free(&f), 4);
    assert_int_equal(fleet_queue_free(fleet_queue(&f, "small")), 1);
    assert_null(fleet_node(&f, "gone"));
}

static void a_configuration_that_shrank_leaves_nothing_free(void **state)
{
    (void)state;
    CLEANUP(cluster_freep) struct cluster *c = test_cluster("a:4", "small:2");
    CLEANUP(fleet_done) struct fleet f = fleet_new(c);

    fleet_use(&f, "a", "small", 7);
    assert_int_equal(fleet_free(&f), 0);
    assert_int_equal(fleet_queue_free(fleet_queue(&f, "small")), 0);
}

static const struct row {
    const char *name, *queue;
    int64_t slots;
    enum err_code want;
    const char *text; /* in the error */
} rows[] = {
    { "one slot fits", "default", 1, OK, "" },
    { "the whole largest node fits", "default", 8, OK, "" },
    { "one more than the largest node does not", "default", 9, ERR_USAGE,
      "needs 9 slots on one node and the largest node has 8" },
    { "the queue's limit fits", "small", 2, OK, "" },
    { "one more than the queue's limit does not", "small", 3, ERR_USAGE,
      "queue 'small' may never hold more than 2" },
    { "a queue that is not there fits nothing", "none", 1, ERR_USAGE, "no queue 'none'" },
};

static void fits(void **state)
{
    const struct row *r = *state;
    CLEANUP(cluster_freep) struct cluster *c = test_cluster("a:4 b:8", "default:0 small:2");
    CLEANUP(fleet_done) struct fleet f = fleet_new(c);
    struct err e = ERR_INIT;

    fleet_use(&f, "b", "default", 8); /* what is in use does not matter */
    assert_int_equal(fleet_fits(&f, r->queue, r->slots, &e), r->want);
    if (r->want)
        assert_non_null(strstr(e.text, r->text));
}

int main(void)
{
    static struct CMUnitTest tests[ARRAY_LEN(rows) + 4] = {
        cmocka_unit_test(nothing_is_in_use_at_first),
        cmocka_unit_test(use_counts_in_node_and_queue_and_goes_away_again),
        cmocka_unit_test(a_node_that_left_still_counts_in_the_queue),
        cmocka_unit_test(a_configuration_that_shrank_leaves_nothing_free),
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        tests[4 + i] = (struct CMUnitTest){ rows[i].name, fits, NULL, NULL, (void *)&rows[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
