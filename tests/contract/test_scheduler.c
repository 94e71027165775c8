/*
 * A job's life under the scheduler's core: every state, every way out, and a scheduler that dies, sleeps or
 * is cut off at any point. Outages and crashes at each single call are in test_scheduler_torture.c.
 */
#include "tests/fake/sched_world.h"

#include <stdio.h>
#include <string.h>

static int set_up(void **state)
{
    static struct sched_world w;
    sched_open(&w, "a:4", "default:0 small:2");
    *state = &w;
    return 0;
}

static int tear_down(void **state)
{
    sched_close(*state);
    return 0;
}

/* ---- the plain life ---- */

static void a_job_is_placed_started_and_finished(void **state)
{
    struct sched_world *w = *state;
    struct supervisor s;
    char id[JOB_ID_BYTES], events[512];

    sched_submit(w, "default", 2, id);
    sched_turn(w);
    assert_string_equal(sched_state_name(w, id), "starting");
    assert_int_equal(w->launcher.count, 1);
    assert_true(supervisor_begin(w, id, &s));
    supervisor_runs(w, &s);
    sched_turn(w);
    assert_string_equal(sched_state_name(w, id), "running");
    supervisor_result(w, &s);
    assert_true(supervisor_ends(w, &s, OUTCOME_SUCCEEDED));
    sched_turn(w);

    CLEANUP(job_done) struct job j = sched_job(w, id);
    assert_int_equal(j.state, JOB_SUCCEEDED);
    assert_string_equal(j.outcome, "succeeded");
    assert_string_equal(j.reason, "done");
    assert_string_equal(j.node, "a");
    assert_int_equal(j.attempts, 1);
    assert_true(j.submitted_ms <= j.started_ms && j.started_ms <= j.ended_ms && j.started_ms > 0);
    assert_non_null(json_object_get(j.result, "auc"));
    assert_string_equal(sched_events(w, id, events), "submitted placed started finished");
    sched_check_sets(w);
    assert_int_equal(fleet_free(&w->core.fleet), 4);
}

static void placing_writes_the_plan_and_a_note_of_the_supervisor(void **state)
{
    struct sched_world *w = *state;
    CLEANUP(buf_done) struct buf text = BUF_INIT(4096);
    struct launcher_note note;
    struct err e = ERR_INIT;
    char id[JOB_ID_BYTES], key[JOB_KEY_BYTES];

    sched_submit(w, "default", 1, id);
    sched_turn(w);
    assert_ok(state_get(w->state, job_plan_key(id, 1, key), &text, NULL, &e));
    assert_string_equal(buf_text(&text), "{}");
    buf_reset(&text);
    assert_ok(state_get(w->state, launcher_note_key(id, 1, key), &text, NULL, &e));
    assert_ok(launcher_note_parse(buf_text(&text), &note, &e));
    assert_string_equal(note.host, "host-1");
    assert_int_equal(note.id.pid, launcher_fake_last(&w->launcher)->id.pid);
}

static void a_job_faster_than_our_eyes_has_started_all_the_same(void **state)
{
    struct sched_world *w = *state;
    struct supervisor s;
    char id[JOB_ID_BYTES], events[512];

    sched_submit(w, "default", 1, id);
    sched_turn(w);
    assert_true(supervisor_begin(w, id, &s));
    supervisor_result(w, &s);
    assert_true(supervisor_ends(w, &s, OUTCOME_SUCCEEDED));
    sched_turn(w);
    assert_string_equal(sched_events(w, id, events), "submitted placed started finished");
}

static void slots_are_given_to_the_next_when_they_are_free(void **state)
{
    struct sched_world *w = *state;
    struct supervisor s;
    char first[JOB_ID_BYTES], second[JOB_ID_BYTES];

    sched_submit(w, "default", 4, first);
    sched_submit(w, "default", 1, second);
    sched_turn(w);
    assert_string_equal(sched_state_name(w, first), "starting");
    assert_string_equal(sched_state_name(w, second), "queued");
    assert_true(supervisor_begin(w, first, &s));
    supervisor_result(w, &s);
    assert_true(supervisor_ends(w, &s, OUTCOME_SUCCEEDED));
    sched_turn(w);
    assert_string_equal(sched_state_name(w, first), "succeeded");
    assert_string_equal(sched_state_name(w, second), "starting");
}

static void a_queue_keeps_its_limit_and_the_other_goes_on(void **state)
{
    struct sched_world *w = *state;
    char id[4][JOB_ID_BYTES];

    sched_submit(w, "small", 2, id[0]);
    sched_submit(w, "small", 1, id[1]);
    sched_submit(w, "default", 1, id[2]);
    sched_turn(w);
    assert_string_equal(sched_state_name(w, id[0]), "starting");
    assert_string_equal(sched_state_name(w, id[1]), "queued");
    assert_string_equal(sched_state_name(w, id[2]), "starting");
    sched_check_sets(w);
}

/* ---- ends ---- */

/* Runs the newest attempt to this end. */
static void attempt_ends(struct sched_world *w, const char *id, enum attempt_outcome outcome)
{
    struct supervisor s;

    assert_true(supervisor_begin(w, id, &s));
    supervisor_runs(w, &s);
    sched_turn(w);
    assert_true(supervisor_ends(w, &s, outcome));
    sched_turn(w);
}

static void what_may_pass_is_tried_again_after_a_backoff_and_then_given_up(void **state)
{
    struct sched_world *w = *state;
    char id[JOB_ID_BYTES], events[512];

    sched_submit(w, "default", 1, id); /* retry: max 2, backoff 10s */
    sched_turn(w);
    attempt_ends(w, id, OUTCOME_RANK_LOST);
    assert_string_equal(sched_state_name(w, id), "queued");
    sched_pass(w, 9500);
    assert_string_equal(sched_state_name(w, id), "queued");
    sched_pass(w, 1000);
    assert_string_equal(sched_state_name(w, id), "starting");
    attempt_ends(w, id, OUTCOME_RANK_LOST);
    sched_pass(w, 19500);
    assert_string_equal(sched_state_name(w, id), "queued"); /* twice as long now */
    sched_pass(w, 1000);
    attempt_ends(w, id, OUTCOME_RANK_LOST);

    CLEANUP(job_done) struct job j = sched_job(w, id);
    assert_int_equal(j.state, JOB_FAILED);
    assert_int_equal(j.attempts, 3);
    assert_int_equal(j.retries, 2);
    assert_string_equal(j.outcome, "rank_lost");
    assert_non_null(strstr(j.reason, "2 of 2 retries used"));
    assert_string_equal(sched_events(w, id, events),
                        "submitted placed started retried placed started retried placed started failed");
    sched_check_sets(w);
}

static void a_backoff_holds_no_slots(void **state)
{
    struct sched_world *w = *state;
    char first[JOB_ID_BYTES], second[JOB_ID_BYTES];

    sched_submit(w, "default", 4, first);
    sched_turn(w);
    attempt_ends(w, first, OUTCOME_RANK_LOST);
    sched_submit(w, "default", 4, second);
    sched_turn(w);
    assert_string_equal(sched_state_name(w, first), "queued");
    assert_string_equal(sched_state_name(w, second), "starting");
}

static void a_users_mistake_is_not_tried_again(void **state)
{
    struct sched_world *w = *state;
    char id[JOB_ID_BYTES];

    sched_submit(w, "default", 1, id);
    sched_turn(w);
    attempt_ends(w, id, OUTCOME_USER_ERROR);
    CLEANUP(job_done) struct job j = sched_job(w, id);
    assert_int_equal(j.state, JOB_FAILED);
    assert_string_equal(j.reason, "attempt 1: user_error");
}

static void success_without_a_result_is_a_failure(void **state)
{
    struct sched_world *w = *state;
    char id[JOB_ID_BYTES];

    sched_submit(w, "default", 1, id);
    sched_turn(w);
    attempt_ends(w, id, OUTCOME_SUCCEEDED);
    CLEANUP(job_done) struct job j = sched_job(w, id);
    assert_int_equal(j.state, JOB_FAILED);
    assert_string_equal(j.reason, "attempt 1 reported success but committed no result");
}

static void a_stop_by_the_service_is_tried_again_at_once_and_costs_no_retry(void **state)
{
    struct sched_world *w = *state;
    char id[JOB_ID_BYTES];

    sched_submit(w, "default", 1, id);
    sched_turn(w);
    attempt_ends(w, id, OUTCOME_STOPPED);
    CLEANUP(job_done) struct job j = sched_job(w, id);
    assert_int_equal(j.state, JOB_STARTING);
    assert_int_equal(j.attempts, 2);
    assert_int_equal(j.retries, 0);
}

static void an_ended_attempt_may_not_keep_its_lease(void **state)
{
    struct sched_world *w = *state;
    struct lease_facts facts;
    struct supervisor s;
    struct err e = ERR_INIT;
    char id[JOB_ID_BYTES], name[JOB_KEY_BYTES];

    sched_submit(w, "default", 1, id);
    sched_turn(w);
    assert_true(supervisor_begin(w, id, &s));
    struct lease kept = s.lease;
    assert_true(supervisor_ends(w, &s, OUTCOME_RANK_LOST));
    assert_ok(lease_take(w->state, job_lease_name(id, name), "x", 10000, &kept,
                         &e)); /* as if it had not been released */
    w->launcher.starts[0].alive = true;
    sched_turn(w);
    assert_ok(lease_look(w->state, name, &facts, &e));
    assert_true(facts.held); /* of another token: not the attempt's, so not ours to break */
    assert_string_equal(sched_state_name(w, id), "queued");
}

/* ---- cancelling ---- */

static void a_queued_job_is_cancelled_at_once(void **state)
{
    struct sched_world *w = *state;
    struct err e = ERR_INIT;
    char blocker[JOB_ID_BYTES], id[JOB_ID_BYTES], events[512];

    sched_submit(w, "default", 4, blocker);
    sched_submit(w, "default", 4, id);
    sched_turn(w);
    assert_ok(sched_cancel(w, id, &e));
    assert_string_equal(sched_state_name(w, id), "cancelled");
    assert_string_equal(sched_events(w, id, events), "submitted cancelled");
    sched_turn(w);
    sched_check_sets(w);
}

static void a_job_cancelled_in_its_backoff_waits_for_nothing(void **state)
{
    struct sched_world *w = *state;
    struct err e = ERR_INIT;
    char id[JOB_ID_BYTES];

    sched_submit(w, "default", 1, id);
    sched_turn(w);
    attempt_ends(w, id, OUTCOME_RANK_LOST);
    assert_ok(sched_cancel(w, id, &e));
    CLEANUP(job_done) struct job j = sched_job(w, id);
    assert_int_equal(j.state, JOB_CANCELLED);
    assert_int_equal(j.not_before_ms, 0);
    assert_true(j.ended_ms > 0);
}

static void a_starting_job_stops_when_its_supervisor_says_so(void **state)
{
    struct sched_world *w = *state;
    struct supervisor s;
    struct err e = ERR_INIT;
    char id[JOB_ID_BYTES], events[512];

    sched_submit(w, "default", 1, id);
    sched_turn(w);
    assert_ok(sched_cancel(w, id, &e));
    assert_string_equal(sched_state_name(w, id), "stopping");
    assert_true(supervisor_begin(w, id, &s));
    sched_turn(w);
    assert_string_equal(sched_state_name(w, id), "stopping");
    assert_true(supervisor_ends(w, &s, OUTCOME_STOPPED));
    sched_turn(w);
    assert_string_equal(sched_state_name(w, id), "cancelled");
    assert_string_equal(sched_events(w, id, events), "submitted placed stopping stopped");
    assert_int_equal(fleet_free(&w->core.fleet), 4);
}

static void a_starting_job_whose_supervisor_died_is_cancelled(void **state)
{
    struct sched_world *w = *state;
    struct err e = ERR_INIT;
    char id[JOB_ID_BYTES];

    sched_submit(w, "default", 1, id);
    sched_turn(w);
    assert_ok(sched_cancel(w, id, &e));
    supervisor_dies(w, id);
    sched_turn(w);
    assert_string_equal(sched_state_name(w, id), "cancelled");
}

static enum err_code count_entry(void *context, const char *id, const void *data, size_t n, struct err *e)
{
    (void)id, (void)data, (void)n, (void)e;
    ++*(int *)context;
    return OK;
}

static void a_running_job_is_told_and_stops(void **state)
{
    struct sched_world *w = *state;
    struct supervisor s;
    struct err e = ERR_INIT;
    int told = 0;
    char id[JOB_ID_BYTES], stream[JOB_KEY_BYTES];

    sched_submit(w, "default", 1, id);
    sched_turn(w);
    assert_true(supervisor_begin(w, id, &s));
    supervisor_runs(w, &s);
    sched_turn(w);
    assert_ok(sched_cancel(w, id, &e));
    assert_ok(state_read(w->state, job_control_stream(id, stream), NULL, 10, count_entry, &told, &e));
    assert_int_equal(told, 1);
    assert_true(supervisor_ends(w, &s, OUTCOME_RANK_LOST)); /* it did not end well, but it was to end */
    sched_turn(w);
    CLEANUP(job_done) struct job j = sched_job(w, id);
    assert_int_equal(j.state, JOB_CANCELLED);
    assert_int_equal(j.retries, 0);
}

static void a_job_that_was_done_before_it_heard_has_succeeded(void **state)
{
    struct sched_world *w = *state;
    struct supervisor s;
    struct err e = ERR_INIT;
    char id[JOB_ID_BYTES], events[512];

    sched_submit(w, "default", 1, id);
    sched_turn(w);
    assert_true(supervisor_begin(w, id, &s));
    supervisor_runs(w, &s);
    sched_turn(w);
    assert_ok(sched_cancel(w, id, &e));
    supervisor_result(w, &s);
    assert_true(supervisor_ends(w, &s, OUTCOME_SUCCEEDED));
    sched_turn(w);
    assert_string_equal(sched_state_name(w, id), "succeeded");
    assert_string_equal(sched_events(w, id, events), "submitted placed started stopping finished");
}

static void a_job_that_is_over_cannot_be_cancelled(void **state)
{
    struct sched_world *w = *state;
    struct err e = ERR_INIT;
    char id[JOB_ID_BYTES];

    sched_submit(w, "default", 1, id);
    sched_turn(w);
    attempt_ends(w, id, OUTCOME_USER_ERROR);
    assert_int_equal(sched_cancel(w, id, &e), ERR_CONFLICT);
    assert_non_null(strstr(e.text, "a failed job cannot be cancelled"));
}

static void a_supervisor_that_does_not_stop_is_stopped_by_force(void **state)
{
    struct sched_world *w = *state;
    struct supervisor s;
    struct err e = ERR_INIT;
    char id[JOB_ID_BYTES];

    sched_submit(w, "default", 1, id);
    sched_turn(w);
    assert_true(supervisor_begin(w, id, &s));
    supervisor_runs(w, &s);
    sched_turn(w);
    assert_ok(sched_cancel(w, id, &e));
    for (int64_t waited = 0; waited < 60000 && sched_state(w, id) == JOB_STOPPING; waited += 1000) {
        assert_ok(lease_renew(w->state, &s.lease, &e)); /* it lives, and will not listen */
        sched_pass(w, 1000);
    }
    assert_string_equal(sched_state_name(w, id), "cancelled");
    assert_true(launcher_fake_last(&w->launcher)->killed);
    assert_false(supervisor_ends(w, &s, OUTCOME_SUCCEEDED));
}

/* ---- moves that meet ---- */

struct meeting {
    struct sched_world *world;
    const char *id;
    int calls, cancel_at; /* 0: at each call the record is written again */
};

/* While our move is being made somebody else makes one. */
static enum err_code meet(void *context, struct job *j, json_t *data, struct state_tx *tx, struct err *e)
{
    struct meeting *m = context;
    CLEANUP(state_tx_freep) struct state_tx *other = state_tx_new();
    CLEANUP(buf_done) struct buf text = BUF_INIT(65536);
    char key[JOB_KEY_BYTES];

    (void)j, (void)data, (void)tx;
    if (++m->calls == m->cancel_at)
        return sched_cancel(m->world, m->id, e);
    if (m->cancel_at)
        return OK;
    job_key(m->id, key);
    if (state_get(m->world->state, key, &text, NULL, e))
        return e->code;
    state_tx_put(other, key, text.data, text.len);
    return state_commit(m->world->state, other, e);
}

static void of_two_moves_at_once_the_second_sees_the_first(void **state)
{
    struct sched_world *w = *state;
    char id[JOB_ID_BYTES], events[512];
    struct meeting m = { .world = w, .id = id, .cancel_at = 1 };
    const struct move mv = {
        .job = id, .event = JOB_RETRY, .actor = "scheduler", .attempt = 1, .edit = meet, .context = &m
    };
    struct err e = ERR_INIT;

    sched_submit(w, "default", 1, id);
    sched_turn(w);
    assert_int_equal(moves_apply(&w->core.moves, &mv, NULL, &e), ERR_CONFLICT);
    assert_non_null(strstr(e.text, "a stopping job cannot be retried"));
    assert_string_equal(sched_state_name(w, id), "stopping");
    assert_string_equal(sched_events(w, id, events), "submitted placed stopping");
}

static void a_move_that_is_always_too_late_gives_up(void **state)
{
    struct sched_world *w = *state;
    char id[JOB_ID_BYTES];
    struct meeting m = { .world = w, .id = id };
    const struct move mv = {
        .job = id, .event = JOB_RETRY, .actor = "scheduler", .attempt = 1, .edit = meet, .context = &m
    };
    struct err e = ERR_INIT;

    sched_submit(w, "default", 1, id);
    sched_turn(w);
    assert_int_equal(moves_apply(&w->core.moves, &mv, NULL, &e), ERR_CONFLICT);
    assert_int_equal(m.calls, MOVES_TRIES_MAX);
    assert_string_equal(sched_state_name(w, id), "starting");
}

static void a_move_of_another_attempt_is_refused(void **state)
{
    struct sched_world *w = *state;
    char id[JOB_ID_BYTES];
    const struct move mv = { .job = id, .event = JOB_RETRY, .actor = "scheduler", .attempt = 2 };
    struct err e = ERR_INIT;

    sched_submit(w, "default", 1, id);
    sched_turn(w);
    assert_int_equal(moves_apply(&w->core.moves, &mv, NULL, &e), ERR_CONFLICT);
    assert_non_null(strstr(e.text, "is at attempt 1, not 2"));
}

#define LIFE(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIFE(of_two_moves_at_once_the_second_sees_the_first),
        LIFE(a_move_that_is_always_too_late_gives_up),
        LIFE(a_move_of_another_attempt_is_refused),
        LIFE(a_job_is_placed_started_and_finished),
        LIFE(placing_writes_the_plan_and_a_note_of_the_supervisor),
        LIFE(a_job_faster_than_our_eyes_has_started_all_the_same),
        LIFE(slots_are_given_to_the_next_when_they_are_free),
        LIFE(a_queue_keeps_its_limit_and_the_other_goes_on),
        LIFE(what_may_pass_is_tried_again_after_a_backoff_and_then_given_up),
        LIFE(a_backoff_holds_no_slots),
        LIFE(a_users_mistake_is_not_tried_again),
        LIFE(success_without_a_result_is_a_failure),
        LIFE(a_stop_by_the_service_is_tried_again_at_once_and_costs_no_retry),
        LIFE(an_ended_attempt_may_not_keep_its_lease),
        LIFE(a_queued_job_is_cancelled_at_once),
        LIFE(a_job_cancelled_in_its_backoff_waits_for_nothing),
        LIFE(a_starting_job_stops_when_its_supervisor_says_so),
        LIFE(a_starting_job_whose_supervisor_died_is_cancelled),
        LIFE(a_running_job_is_told_and_stops),
        LIFE(a_job_that_was_done_before_it_heard_has_succeeded),
        LIFE(a_job_that_is_over_cannot_be_cancelled),
        LIFE(a_supervisor_that_does_not_stop_is_stopped_by_force),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
