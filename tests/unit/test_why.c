/* Why is my job not running. */
#include "scheduler/why.h"
#include "tests/scheduler.h"

#include <stdio.h>
#include <string.h>

enum { NOW_MS = 1000000 };

static void explain(struct job *j, int64_t used, size_t ahead, int64_t more, const char *delay,
                    struct why *out)
{
    CLEANUP(cluster_freep) struct cluster *c = test_cluster("a:4", "default:0");
    CLEANUP(fleet_done) struct fleet f = fleet_new(c);
    struct place_job line[20] = { { .slots = 0 } };

    for (size_t i = 0; i < ahead; i++) {
        test_id((int)i + 100, line[i].id);
        memcpy(line[i].queue, "default", sizeof("default"));
        line[i].slots = 3;
    }
    fleet_use(&f, "a", "default", used);
    why_job(j, &f, line, ahead, more, delay, NOW_MS, out);
}

static void the_first_in_line_is_told_what_it_needs(void **state)
{
    struct why w;
    struct job j;
    (void)state;

    test_job(&j, 1, "default", 4);
    explain(&j, 1, 0, 0, NULL, &w);
    assert_int_equal(w.state, JOB_QUEUED);
    assert_int_equal(w.ahead, 0);
    assert_int_equal(w.needs, 4);
    assert_int_equal(w.free, 3);
    assert_int_equal(w.free_total, 3);
    assert_string_equal(w.reason,
                        "needs 4 slots on one node; the most that is free on one is 3 (3 over all 1 nodes)");
}

static void who_is_ahead_is_counted_and_named(void **state)
{
    struct why w;
    struct job j;
    (void)state;

    test_job(&j, 1, "default", 1);
    explain(&j, 2, 12, 30, NULL, &w);
    assert_int_equal(w.ahead, 42);
    assert_int_equal(w.shown_count, WHY_AHEAD_SHOWN);
    assert_string_equal(w.shown[0], "261122-000100");
    assert_non_null(strstr(w.reason, "the first is 261122-000100, which needs 3 slots"));
}

static void a_backoff_says_how_long(void **state)
{
    struct why w;
    struct job j;
    (void)state;

    test_job(&j, 1, "default", 1);
    j.not_before_ms = NOW_MS + 5000;
    explain(&j, 0, 0, 0, NULL, &w);
    assert_int_equal(w.backoff_ms, 5000);
    assert_non_null(strstr(w.reason, "5.0s more"));
}

static void room_means_the_next_turn(void **state)
{
    struct why w;
    struct job j;
    (void)state;

    test_job(&j, 1, "default", 1);
    explain(&j, 0, 1, 0, NULL, &w); /* the one ahead takes 3 of 4 */
    assert_string_equal(w.reason, "there is room: it starts at the scheduler's next turn");
    explain(&j, 0, 0, 0, "store away", &w);
    assert_string_equal(w.reason, "there is room, but it was put off for a moment: store away");
}

static const struct row {
    const char *name;
    enum job_state state;
    const char *reason, *want;
} rows[] = {
    { "a starting job says where", JOB_STARTING, "", "attempt 2 is starting on node 'a'" },
    { "a running job says where", JOB_RUNNING, "", "attempt 2 runs on node 'a'" },
    { "a stopping job says so", JOB_STOPPING, "cancelled by ana", "attempt 2 was asked to stop" },
    { "a job that is over says how", JOB_FAILED, "attempt 2: diverged",
      "it has failed: attempt 2: diverged" },
    { "a job that is over without a word says that much", JOB_SUCCEEDED, "", "it has succeeded" },
};

static void other_states(void **state)
{
    const struct row *r = *state;
    struct why w;
    struct job j;

    test_job(&j, 1, "default", 2);
    j.state = r->state;
    j.attempts = 2;
    snprintf(j.node, sizeof(j.node), "a");
    snprintf(j.reason, sizeof(j.reason), "%s", r->reason);
    explain(&j, 2, 0, 0, NULL, &w);
    assert_int_equal(w.state, r->state);
    assert_string_equal(w.reason, r->want);
}

static void the_answer_has_the_names_of_the_wire(void **state)
{
    struct why w = {
        .state = JOB_QUEUED, .reason = "caf\xe9", .ahead = 1, .needs = 2, .free = 3, .shown_count = 1
    };
    static const char *const names[] = { "state", "reason", "ahead", "needs", "free" };
    (void)state;

    test_id(7, w.shown[0]);
    CLEANUP(json_donep) json_t *j = why_to_json(&w);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        assert_non_null(json_object_get(j, names[i]));
    assert_string_equal(json_text_or(j, "state", ""), "queued");
    assert_string_equal(json_text_or(j, "reason", ""),
                        "caf?"); /* bytes that are no UTF-8 do not break the answer */
    assert_int_equal(json_i64_or(j, "ahead", -1), 1);
}

int main(void)
{
    static struct CMUnitTest tests[ARRAY_LEN(rows) + 5] = {
        cmocka_unit_test(the_first_in_line_is_told_what_it_needs),
        cmocka_unit_test(who_is_ahead_is_counted_and_named),
        cmocka_unit_test(a_backoff_says_how_long),
        cmocka_unit_test(room_means_the_next_turn),
        cmocka_unit_test(the_answer_has_the_names_of_the_wire),
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        tests[5 + i] = (struct CMUnitTest){ rows[i].name, other_states, NULL, NULL, (void *)&rows[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
