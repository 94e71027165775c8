/* How an attempt ended, what follows from that, and the records that its supervisor and its rank 0 write. */
#include "core/job/attempt.h"
#include "core/job/record.h"
#include "tests/test.h"

#include <math.h>
#include <string.h>

/* ---- exit status to outcome ---- */

static const struct exit_row {
    const char *name;
    int status;
    enum attempt_outcome want;
} exit_rows[] = {
    { "exit 0: succeeded", 0, OUTCOME_SUCCEEDED },
    { "exit 1: failed", 1, OUTCOME_FAILED },
    { "exit 10: stopped", 10, OUTCOME_STOPPED },
    { "exit 11: the user's error", 11, OUTCOME_USER_ERROR },
    { "exit 12: bad data", 12, OUTCOME_BAD_DATA },
    { "exit 13: store away", 13, OUTCOME_STORE_AWAY },
    { "exit 14: state away", 14, OUTCOME_STATE_AWAY },
    { "exit 15: denied", 15, OUTCOME_DENIED },
    { "exit 16: a limit", 16, OUTCOME_LIMIT },
    { "exit 17: diverged", 17, OUTCOME_DIVERGED },
    { "exit 18: fenced", 18, OUTCOME_FENCED },
    { "exit 19: nobody's code", 19, OUTCOME_FAILED },
    { "exit 126: the program cannot be run", 126, OUTCOME_LAUNCH_FAILED },
    { "exit 127: there is no such program", 127, OUTCOME_LAUNCH_FAILED },
    { "exit 128: no signal has number 0", 128, OUTCOME_FAILED },
    { "exit 134: a rank aborted", 134, OUTCOME_RANK_LOST },
    { "exit 137: a rank was killed", 137, OUTCOME_RANK_LOST },
    { "exit 139: a rank crashed", 139, OUTCOME_RANK_LOST },
    { "exit 192: the last signal", 192, OUTCOME_RANK_LOST },
    { "exit 193: no signal any more", 193, OUTCOME_FAILED },
    { "exit 205: mpirun lost a node", 205, OUTCOME_RANK_LOST },
    { "exit 255: failed", 255, OUTCOME_FAILED },
    { "exit -1: failed", -1, OUTCOME_FAILED },
};

static void exit_means_outcome(void **state)
{
    const struct exit_row *r = *state;
    assert_string_equal(attempt_outcome_names[outcome_of_exit(r->status)], attempt_outcome_names[r->want]);
}

/* ---- outcome to what follows: with 3 retries and 10 s of back-off ---- */

static const struct retry_row {
    const char *name;
    enum attempt_outcome outcome;
    int64_t used;
    struct retry_decision want;
} retry_rows[] = {
    { "what is not over is not retried", OUTCOME_NONE, 0, { false, false, 0 } },
    { "success is not retried", OUTCOME_SUCCEEDED, 0, { false, false, 0 } },
    { "a stopped attempt goes on at once, for free", OUTCOME_STOPPED, 0, { true, false, 0 } },
    { "a stopped attempt goes on when retries are used up", OUTCOME_STOPPED, 3, { true, false, 0 } },
    { "a lost rank is retried", OUTCOME_RANK_LOST, 0, { true, true, 10000 } },
    { "the second wait is twice the first", OUTCOME_RANK_LOST, 1, { true, true, 20000 } },
    { "the third wait is twice the second", OUTCOME_RANK_LOST, 2, { true, true, 40000 } },
    { "retries are used up", OUTCOME_RANK_LOST, 3, { false, false, 0 } },
    { "more than used up stays used up", OUTCOME_RANK_LOST, 4, { false, false, 0 } },
    { "a lost supervisor is retried", OUTCOME_SUPERVISOR_LOST, 0, { true, true, 10000 } },
    { "a failed launch is retried", OUTCOME_LAUNCH_FAILED, 0, { true, true, 10000 } },
    { "a store that was away is retried", OUTCOME_STORE_AWAY, 0, { true, true, 10000 } },
    { "a state that was away is retried", OUTCOME_STATE_AWAY, 0, { true, true, 10000 } },
    { "a fenced attempt is retried, and counted", OUTCOME_FENCED, 0, { true, true, 10000 } },
    { "an unknown failure is retried", OUTCOME_FAILED, 0, { true, true, 10000 } },
    { "the time limit is final", OUTCOME_TIME_LIMIT, 0, { false, false, 0 } },
    { "the user's error is final", OUTCOME_USER_ERROR, 0, { false, false, 0 } },
    { "bad data is final", OUTCOME_BAD_DATA, 0, { false, false, 0 } },
    { "a no is final", OUTCOME_DENIED, 0, { false, false, 0 } },
    { "a limit is final", OUTCOME_LIMIT, 0, { false, false, 0 } },
    { "divergence is final", OUTCOME_DIVERGED, 0, { false, false, 0 } },
};

static void outcome_is_followed(void **state)
{
    const struct retry_row *r = *state;
    const struct spec_retry rule = { .max = 3, .backoff_ms = 10000 };
    struct retry_decision d = retry_decide(r->outcome, r->used, &rule);
    assert_int_equal(d.retry, r->want.retry);
    assert_int_equal(d.counted, r->want.counted);
    assert_int_equal(d.delay_ms, r->want.delay_ms);
}

static void every_outcome_has_a_row(void **state)
{
    (void)state;
    for (int o = 0; o < OUTCOME_COUNT; o++) {
        size_t found = 0;
        for (size_t i = 0; i < ARRAY_LEN(retry_rows); i++)
            found += (int)retry_rows[i].outcome == o;
        assert_true(found > 0);
    }
}

static void waits_end_at_ten_minutes(void **state)
{
    (void)state;
    const struct spec_retry rule = { .max = INT64_MAX, .backoff_ms = 1 };
    assert_int_equal(retry_decide(OUTCOME_FAILED, 19, &rule).delay_ms, 524288);
    assert_int_equal(retry_decide(OUTCOME_FAILED, 20, &rule).delay_ms, 600000);
    assert_int_equal(retry_decide(OUTCOME_FAILED, INT64_MAX - 1, &rule).delay_ms, 600000);
    const struct spec_retry none = { .max = INT64_MAX, .backoff_ms = 0 };
    assert_int_equal(retry_decide(OUTCOME_FAILED, INT64_MAX - 1, &none).delay_ms, 0);
}

static void no_retries_means_none(void **state)
{
    (void)state;
    const struct spec_retry rule = { .max = 0, .backoff_ms = 10000 };
    assert_false(retry_decide(OUTCOME_RANK_LOST, 0, &rule).retry);
}

/* ---- the attempt's record ---- */

static struct attempt sample_attempt(void)
{
    struct attempt a;
    memset(&a, 0, sizeof(a));
    memcpy(a.job, "261122-k3m9qz", 14);
    memcpy(a.node, "n1", 3);
    memcpy(a.reason, "rank 1 was killed", 18);
    a.number = 2;
    a.token = 17;
    a.phase = ATTEMPT_ENDED;
    a.outcome = OUTCOME_RANK_LOST;
    a.ranks = 4;
    a.supervisor_pid = 4711;
    a.supervisor_start = 99;
    a.launcher_pid = 4712;
    a.launcher_start = 100;
    a.started_ms = 1795342500123;
    a.ended_ms = a.started_ms + 5;
    a.exit_status = 137;
    return a;
}

static void attempt_comes_back(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct attempt back, a = sample_attempt();
    CLEANUP(buf_done) struct buf text = BUF_INIT(4096);
    assert_ok(attempt_to_text(&a, &text, &e));
    assert_string_equal(
        buf_text(&text),
        "{\"ended_ms\":1795342500128,\"exit_status\":137,\"job\":\"261122-k3m9qz\",\"launcher_pid\":4712,"
        "\"launcher_start\":100,\"node\":\"n1\","
        "\"number\":2,\"outcome\":\"rank_lost\",\"phase\":\"ended\",\"ranks\":4,"
        "\"reason\":\"rank 1 was killed\",\"started_ms\":1795342500123,\"supervisor_pid\":4711,"
        "\"supervisor_start\":99,\"token\":17}");
    assert_ok(attempt_from_text(text.data, text.len, &back, &e));
    assert_memory_equal(&a, &back, sizeof(a));
}

static void attempt_that_makes_no_sense_is_not_written(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    CLEANUP(buf_done) struct buf text = BUF_INIT(4096);
    struct attempt a = sample_attempt();
    a.outcome = OUTCOME_NONE;
    assert_int_equal(attempt_to_text(&a, &text, &e), ERR_CORRUPT);
    assert_string_equal(e.text, "attempt record: 'phase' ended does not go with 'outcome' none");
    a = sample_attempt();
    a.job[0] = '\0';
    assert_int_equal(attempt_to_text(&a, &text, &e), ERR_CORRUPT);
    assert_int_equal(text.len, 0);
}

static const struct change {
    const char *name, *member, *value /* JSON; NULL: removed */, *want;
} changes[] = {
    { "attempt: a member may not be missing", "token", NULL,
      "attempt record: 'token' must be an integer; it is missing" },
    { "attempt: no other member", "extra", "1", "attempt record: 'extra' is no member of it" },
    { "attempt: the first is number 1", "number", "0", "attempt record: 'number' must be at least 1, not 0" },
    { "attempt: ranks have a limit", "ranks", "1025",
      "attempt record: 'ranks' must be from 0 to 1024, not 1025" },
    { "attempt: a phase there is", "phase", "\"over\"", "attempt record: 'phase' has no value 'over'" },
    { "attempt: an outcome goes with the end", "phase", "\"running\"",
      "attempt record: 'phase' running does not go with 'outcome' rank_lost" },
    { "attempt: the end goes with an outcome", "outcome", "\"none\"",
      "attempt record: 'phase' ended does not go with 'outcome' none" },
    { "attempt: of a job", "job", "\"x\"", "attempt record: 'job' must look like 261122-k3m9qz, not 'x'" },
};

static void changed_attempt_is_corrupt(void **state)
{
    const struct change *c = *state;
    struct err e = ERR_INIT;
    struct attempt a = sample_attempt(), back = { .number = 77 };
    CLEANUP(buf_done) struct buf text = BUF_INIT(4096);
    CLEANUP(json_donep) json_t *o = attempt_to_json(&a);
    if (c->value)
        record_set(o, c->member, json_loads(c->value, JSON_DECODE_ANY, NULL));
    else
        assert_int_equal(json_object_del(o, c->member), 0);
    assert_ok(json_canonical(o, &text, &e));
    assert_int_equal(attempt_from_text(text.data, text.len, &back, &e), ERR_CORRUPT);
    assert_string_equal(e.text, c->want);
    assert_int_equal(back.number, 77);
}

/* ---- the pulse ---- */

static struct pulse sample_pulse(void)
{
    return (struct pulse){
        .attempt = 1,
        .step = 20,
        .steps = 500,
        .epoch = 1,
        .epochs = 40,
        .checkpoint_step = -1,
        .time_ms = 17,
        .loss = 0.1,
        .records_per_second = 1e6,
        .lr = 3e-3,
        .step_ms = { .data = 0.5,
                     .compute = 380,
                     .reduce = 21,
                     .update = 9,
                     .checkpoint = 1,
                     .other = 0.25,
                     .slowest = 391.5,
                     .slowest_rank = 3 },
        .phase = "train",
    };
}

static void pulse_comes_back(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct pulse back, p = sample_pulse();
    CLEANUP(buf_done) struct buf text = BUF_INIT(4096);
    assert_ok(pulse_to_text(&p, &text, &e));
    assert_ok(pulse_from_text(text.data, text.len, &back, &e));
    assert_memory_equal(&p, &back, sizeof(p));
}

static void pulse_carries_a_loss_that_is_no_number(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct pulse back, p = sample_pulse();
    CLEANUP(buf_done) struct buf text = BUF_INIT(4096);
    p.loss = NAN;
    p.lr = INFINITY;
    assert_ok(pulse_to_text(&p, &text, &e));
    assert_ok(pulse_from_text(text.data, text.len, &back, &e));
    assert_true(isnan(back.loss) && isnan(back.lr));
    assert_true(back.records_per_second == 1e6);
}

static const struct pulse_row {
    const char *name, *change /* of the text */, *to, *want;
} pulse_rows[] = {
    { "pulse: -1 is no checkpoint yet, and less is nothing", "\"checkpoint_step\":-1",
      "\"checkpoint_step\":-2", "pulse: 'checkpoint_step' must be at least -1, not -2" },
    { "pulse: the times of a step may not be missing", ",\"step_ms\":{", ",\"steps_ms\":{",
      "pulse: 'step_ms' is missing" },
    { "pulse: the times of a step are an object", "\"step_ms\":{", "\"step_ms\":1,\"x\":{",
      "pulse: 'x' is no member of it" },
    { "pulse: each time is there", "\"update\":9.0", "\"updated\":9.0",
      "pulse 'step_ms': 'update' must be a number; it is missing" },
    { "pulse: no other time", "\"update\":9.0", "\"update\":9.0,\"z\":1",
      "pulse 'step_ms': 'z' is no member of it" },
    { "pulse: the slowest rank is one", "\"slowest_rank\":3", "\"slowest_rank\":-1",
      "pulse 'step_ms': 'slowest_rank' must be from 0 to 1024, not -1" },
};

static void changed_pulse_is_corrupt(void **state)
{
    const struct pulse_row *row = *state;
    struct err e = ERR_INIT;
    struct pulse back, p = sample_pulse();
    CLEANUP(buf_done) struct buf text = BUF_INIT(4096), changed = BUF_INIT(4096);

    assert_ok(pulse_to_text(&p, &text, &e));
    const char *at = strstr(buf_text(&text), row->change);
    assert_non_null(at);
    buf_add(&changed, text.data, (size_t)(at - buf_text(&text)));
    buf_add_text(&changed, row->to);
    buf_add_text(&changed, at + strlen(row->change));
    assert_int_equal(pulse_from_text(changed.data, changed.len, &back, &e), ERR_CORRUPT);
    assert_string_equal(e.text, row->want);
}

int main(void)
{
    static const struct CMUnitTest singles[] = {
        cmocka_unit_test(every_outcome_has_a_row),
        cmocka_unit_test(waits_end_at_ten_minutes),
        cmocka_unit_test(no_retries_means_none),
        cmocka_unit_test(attempt_comes_back),
        cmocka_unit_test(attempt_that_makes_no_sense_is_not_written),
        cmocka_unit_test(pulse_comes_back),
        cmocka_unit_test(pulse_carries_a_loss_that_is_no_number),
    };
    static struct CMUnitTest tests[ARRAY_LEN(singles) + ARRAY_LEN(exit_rows) + ARRAY_LEN(retry_rows) +
                                   ARRAY_LEN(changes) + ARRAY_LEN(pulse_rows)];
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(exit_rows); i++)
        tests[n++] =
            (struct CMUnitTest){ exit_rows[i].name, exit_means_outcome, NULL, NULL, (void *)&exit_rows[i] };
    for (size_t i = 0; i < ARRAY_LEN(retry_rows); i++)
        tests[n++] = (struct CMUnitTest){ retry_rows[i].name, outcome_is_followed, NULL, NULL,
                                          (void *)&retry_rows[i] };
    for (size_t i = 0; i < ARRAY_LEN(singles); i++)
        tests[n++] = singles[i];
    for (size_t i = 0; i < ARRAY_LEN(changes); i++)
        tests[n++] = (struct CMUnitTest){ changes[i].name, changed_attempt_is_corrupt, NULL, NULL,
                                          (void *)&changes[i] };
    for (size_t i = 0; i < ARRAY_LEN(pulse_rows); i++)
        tests[n++] = (struct CMUnitTest){ pulse_rows[i].name, changed_pulse_is_corrupt, NULL, NULL,
                                          (void *)&pulse_rows[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
