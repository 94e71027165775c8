/*
 * Supervisors that are lost, plans that cannot be made, schedulers that die, sleep, or are two, and a state
 * that is away.
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

/* ---- supervisors that are lost ---- */

static void a_dead_supervisor_is_noticed_fenced_and_followed_by_another(void **state)
{
    struct sched_world *w = *state;
    struct supervisor s, next;
    char id[JOB_ID_BYTES], events[512];

    sched_submit(w, "default", 1, id);
    sched_turn(w);
    assert_true(supervisor_begin(w, id, &s));
    supervisor_runs(w, &s);
    sched_turn(w);
    supervisor_dies(w, id);
    sched_turn(w);
    CLEANUP(job_done) struct job j = sched_job(w, id);
    assert_int_equal(j.state, JOB_QUEUED);
    assert_int_equal(j.retries, 1);
    assert_string_equal(j.outcome, "supervisor_lost");
    assert_true(launcher_fake_last(&w->launcher)->killed);   /* what it left behind, too */
    assert_false(supervisor_ends(w, &s, OUTCOME_SUCCEEDED)); /* from the grave: refused */
    sched_pass(w, 10500);
    assert_true(supervisor_begin(w, id, &next));
    assert_true(next.lease.token > s.lease.token);
    assert_string_equal(sched_events(w, id, events), "submitted placed started retried placed");
}

static void the_scheduler_writes_the_last_word_of_a_lost_attempt(void **state)
{
    struct sched_world *w = *state;
    CLEANUP(buf_done) struct buf text = BUF_INIT(16384);
    struct supervisor s;
    struct attempt a;
    struct err e = ERR_INIT;
    char id[JOB_ID_BYTES], key[JOB_KEY_BYTES];

    sched_submit(w, "default", 1, id);
    sched_turn(w);
    assert_true(supervisor_begin(w, id, &s));
    supervisor_dies(w, id);
    sched_turn(w);
    assert_ok(state_get(w->state, job_attempt_key(id, 1, key), &text, NULL, &e));
    assert_ok(attempt_from_text(text.data, text.len, &a, &e));
    assert_int_equal(a.phase, ATTEMPT_ENDED);
    assert_int_equal(a.outcome, OUTCOME_SUPERVISOR_LOST);
    assert_int_equal(a.token, s.lease.token);
}

static void a_supervisor_that_cannot_renew_is_ended(void **state)
{
    struct sched_world *w = *state;
    struct supervisor s;
    char id[JOB_ID_BYTES];

    sched_submit(w, "default", 1, id);
    sched_turn(w);
    assert_true(supervisor_begin(w, id, &s));
    supervisor_runs(w, &s);
    sched_pass(w, 9500);
    assert_string_equal(sched_state_name(w, id), "running"); /* its lease of 10 s holds */
    sched_pass(w, 6000);
    assert_string_equal(sched_state_name(w, id), "queued");
    assert_true(launcher_fake_last(&w->launcher)->killed);
    assert_false(supervisor_ends(w, &s, OUTCOME_SUCCEEDED));
}

static void a_lease_that_comes_back_after_an_outage_is_no_loss(void **state)
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
    w->clock.base.sleep_ms(&w->clock.base, 11000); /* nobody was there to renew, nor to look */
    sched_turn(w);
    sched_pass(w, 1000);
    assert_ok(lease_renew(w->state, &s.lease, &e));
    sched_pass(w, 4000);
    assert_string_equal(sched_state_name(w, id), "running");
}

static void what_does_not_end_holds_up_its_job_and_no_other(void **state)
{
    struct sched_world *w = *state;
    struct supervisor s;
    char id[JOB_ID_BYTES], other[JOB_ID_BYTES];

    sched_submit(w, "default", 1, id);
    sched_submit(w, "default", 1, other);
    sched_turn(w);
    assert_true(supervisor_begin(w, id, &s));
    supervisor_dies(w, id);
    w->launcher.stubborn = 2;
    sched_turn(w);
    assert_string_equal(sched_state_name(w, id), "starting"); /* until it is known to be dead */
    attempt_ends(w, other, OUTCOME_USER_ERROR);
    assert_string_equal(sched_state_name(w, other), "failed");
    sched_pass(w, 3000);
    assert_string_equal(sched_state_name(w, id), "queued");
}

static void a_supervisor_that_never_spoke_did_not_start(void **state)
{
    struct sched_world *w = *state;
    struct supervisor late;
    char id[JOB_ID_BYTES];

    sched_submit(w, "default", 1, id);
    sched_turn(w);
    sched_pass(w, SIGHT_START_MS - 1000);
    assert_string_equal(sched_state_name(w, id), "starting");
    sched_pass(w, 2000);
    CLEANUP(job_done) struct job j = sched_job(w, id);
    assert_int_equal(j.state, JOB_QUEUED);
    assert_string_equal(j.outcome, "launch_failed");
    assert_false(supervisor_begin(w, id, &late)); /* it comes too late: its place in the records is taken */
}

static void a_launch_that_fails_is_tried_again(void **state)
{
    struct sched_world *w = *state;
    char id[JOB_ID_BYTES];

    w->launcher.refuse = true;
    sched_submit(w, "default", 1, id);
    sched_turn(w);
    CLEANUP(job_done) struct job j = sched_job(w, id);
    assert_int_equal(j.state, JOB_QUEUED);
    assert_int_equal(j.retries, 1);
    assert_non_null(strstr(j.reason, "there is no program to start"));
    w->launcher.refuse = false;
    sched_pass(w, 10500);
    assert_string_equal(sched_state_name(w, id), "starting");
}

/* ---- plans ---- */

static void a_store_that_is_away_puts_a_job_off_and_holds_no_slots(void **state)
{
    struct sched_world *w = *state;
    char id[JOB_ID_BYTES], key[JOB_KEY_BYTES];
    CLEANUP(buf_done) struct buf why = BUF_INIT(1024);
    struct err e = ERR_INIT;

    IGNORE(err_set(&w->plan_error, ERR_RETRY, "the store is away"));
    sched_submit(w, "default", 4, id);
    sched_turn(w);
    assert_string_equal(sched_state_name(w, id), "queued");
    assert_int_equal(fleet_free(&w->core.fleet), 4);
    assert_ok(state_get(w->state, moves_delay_key(id, key), &why, NULL, &e));
    assert_string_equal(buf_text(&why), "the store is away");
    sched_pass(w, 10000);
    assert_int_equal(w->launcher.count, 0);
    w->plan_error.code = OK;
    sched_pass(w, 10000);
    assert_string_equal(sched_state_name(w, id), "starting");
    assert_int_equal(state_get(w->state, key, NULL, NULL, &e), ERR_NOT_FOUND);
}

static void a_dataset_that_changed_fails_the_job(void **state)
{
    struct sched_world *w = *state;
    char id[JOB_ID_BYTES], events[512];

    IGNORE(err_set(&w->plan_error, ERR_CORRUPT, "dataset s3://data/set has changed"));
    sched_submit(w, "default", 4, id);
    sched_turn(w);
    CLEANUP(job_done) struct job j = sched_job(w, id);
    assert_int_equal(j.state, JOB_FAILED);
    assert_string_equal(j.reason, "dataset s3://data/set has changed");
    assert_string_equal(sched_events(w, id, events), "submitted failed");
    assert_int_equal(w->launcher.count, 0);
    assert_int_equal(fleet_free(&w->core.fleet), 4);
    sched_check_sets(w);
}

/* ---- schedulers that come and go ---- */

static void restart(struct sched_world *w)
{
    sched_crash(w);
    sched_up(w);
    sched_turn(w);
}

static void a_restart_in_every_state_changes_nothing(void **state)
{
    struct sched_world *w = *state;
    struct supervisor s;
    char blocker[JOB_ID_BYTES], id[JOB_ID_BYTES], events[512];

    sched_submit(w, "default", 4, blocker);
    sched_turn(w);
    sched_submit(w, "default", 4, id);
    restart(w);
    assert_string_equal(sched_state_name(w, id), "queued");
    assert_string_equal(sched_state_name(w, blocker), "starting");
    attempt_ends(w, blocker, OUTCOME_USER_ERROR);
    restart(w);
    assert_string_equal(sched_state_name(w, id), "starting");
    assert_int_equal(fleet_free(&w->core.fleet), 0);
    assert_true(supervisor_begin(w, id, &s));
    restart(w);
    assert_string_equal(sched_state_name(w, id), "starting");
    supervisor_runs(w, &s);
    restart(w);
    assert_string_equal(sched_state_name(w, id), "running");
    restart(w);
    assert_string_equal(sched_state_name(w, id), "running");
    supervisor_result(w, &s);
    assert_true(supervisor_ends(w, &s, OUTCOME_SUCCEEDED));
    restart(w);
    assert_string_equal(sched_state_name(w, id), "succeeded");
    restart(w);
    assert_string_equal(sched_events(w, id, events), "submitted placed started finished");
    assert_int_equal(w->launcher.count, 2); /* never the same attempt twice */
    sched_check_sets(w);
}

static void a_new_scheduler_knows_the_old_ones_supervisors(void **state)
{
    struct sched_world *w = *state;
    char id[JOB_ID_BYTES];

    sched_submit(w, "default", 1, id);
    sched_turn(w);
    restart(w);
    supervisor_dies(w, id); /* before its first word: only the note tells who it was */
    sched_turn(w);
    CLEANUP(job_done) struct job j = sched_job(w, id);
    assert_int_equal(j.state, JOB_QUEUED);
    assert_string_equal(j.outcome, "launch_failed");
}

static void on_another_host_numbers_mean_nothing(void **state)
{
    struct sched_world *w = *state;
    struct supervisor s;
    char id[JOB_ID_BYTES];

    sched_submit(w, "default", 1, id);
    sched_turn(w);
    assert_true(supervisor_begin(w, id, &s));
    supervisor_runs(w, &s);
    sched_crash(w);
    snprintf(w->launcher.base.host, sizeof(w->launcher.base.host), "host-2");
    sched_up(w);
    supervisor_dies(w, id); /* which nobody can see from here */
    sched_pass(w, 3000);
    assert_string_equal(sched_state_name(w, id), "running");
    sched_pass(w, 12000); /* but its lease runs out */
    assert_string_equal(sched_state_name(w, id), "queued");
    assert_false(w->launcher.starts[0].killed); /* whoever has that number here is somebody else */
}

static void on_another_host_a_supervisor_that_never_spoke_did_not_start(void **state)
{
    struct sched_world *w = *state;
    char id[JOB_ID_BYTES];

    sched_submit(w, "default", 1, id);
    sched_turn(w);
    sched_crash(w);
    snprintf(w->launcher.base.host, sizeof(w->launcher.base.host), "host-2");
    sched_up(w);
    sched_pass(w, SIGHT_START_MS + 1000);
    CLEANUP(job_done) struct job j = sched_job(w, id);
    assert_int_equal(j.state, JOB_QUEUED);
    assert_int_equal(j.retries, 1); /* it was launched, says the note: a failure like any other */
}

static void a_scheduler_that_died_before_it_launched_costs_the_job_no_retry(void **state)
{
    struct sched_world *w = *state;
    struct err e = ERR_INIT;
    char id[JOB_ID_BYTES];

    sched_submit(w, "default", 1, id);
    w->launcher.refuse = true;
    core_wake(&w->core);
    /* As it would be after a crash between commit and start: placed, noted as not launched, nothing there. */
    sched_turn(w);
    w->launcher.refuse = false;
    CLEANUP(job_done) struct job j = sched_job(w, id);
    assert_int_equal(j.retries, 1);
    sched_pass(w, 10500);
    CLEANUP(state_tx_freep) struct state_tx *tx = state_tx_new();
    const struct launcher_note none = { .host = "host-1" };
    char key[JOB_KEY_BYTES], text[LAUNCHER_NOTE_BYTES];
    state_tx_put_text(tx, launcher_note_key(id, 2, key), launcher_note_text(&none, text));
    assert_ok(state_commit(w->state, tx, &e));
    supervisor_dies(w, id);
    restart(w);
    assert_string_equal(sched_state_name(w, id), "starting");
    sched_pass(w, SIGHT_START_MS + 1000);
    CLEANUP(job_done) struct job after = sched_job(w, id);
    assert_int_equal(after.retries, 1);
    assert_int_equal(after.attempts, 3); /* and it is on its way again */
    assert_int_equal(after.state, JOB_STARTING);
}

static void only_one_of_two_schedulers_decides(void **state)
{
    struct sched_world *w = *state;
    struct core other;
    struct err e = ERR_INIT;
    char id[JOB_ID_BYTES];

    sched_turn(w);
    core_init(&other, "scheduler@elsewhere", w->cluster, w->state, &w->launcher.base, w->planner,
              &w->clock.base);
    assert_ok(core_turn(&other, &e));
    assert_int_equal(lead_token(&other.lead), 0);
    sched_submit(w, "default", 1, id);
    core_wake(&other);
    assert_ok(core_turn(&other, &e));
    assert_string_equal(sched_state_name(w, id), "queued");
    sched_turn(w);
    assert_string_equal(sched_state_name(w, id), "starting");
    core_done(&other);
}

static void a_leader_that_slept_past_its_lease_is_refused(void **state)
{
    struct sched_world *w = *state;
    struct core other;
    struct err e = ERR_INIT;
    char id[JOB_ID_BYTES];

    sched_submit(w, "default", 1, id);
    core_init(&other, "scheduler@elsewhere", w->cluster, w->state, &w->launcher.base, w->planner,
              &w->clock.base);
    w->clock.base.sleep_ms(&w->clock.base, 6000);
    assert_ok(core_turn(&other, &e)); /* leads, and places */
    assert_string_equal(sched_state_name(w, id), "starting");
    assert_int_equal(w->launcher.count, 1);
    /* The old one wakes up and still believes; its clock even says that there is no need to ask. */
    w->core.lead.next_mono_ms = INT64_MAX;
    w->core.loaded = false;
    supervisor_dies(w, id);
    core_wake(&w->core);
    assert_int_equal(core_turn(&w->core, &e), ERR_DENIED);
    assert_string_equal(sched_state_name(w, id), "starting");
    assert_int_equal(core_turn(&w->core, &e), ERR_DENIED); /* it asks the state now, and steps down */
    assert_int_equal(lead_token(&w->core.lead), 0);
    assert_int_equal(w->core.watch.count, 0);
    core_wake(&other);
    assert_ok(core_turn(&other, &e));
    assert_string_equal(sched_state_name(w, id), "queued");
    core_done(&other);
}

static void a_leader_that_lets_go_is_followed_at_once(void **state)
{
    struct sched_world *w = *state;
    struct core other;
    struct err e = ERR_INIT;

    sched_turn(w);
    core_init(&other, "scheduler@elsewhere", w->cluster, w->state, &w->launcher.base, w->planner,
              &w->clock.base);
    core_done(&w->core);
    w->up = false;
    assert_ok(core_turn(&other, &e));
    assert_true(lead_token(&other.lead) > 0);
    core_done(&other);
}

static void an_idle_leader_only_wakes_to_renew(void **state)
{
    struct sched_world *w = *state;

    sched_turn(w);
    assert_true(core_next_mono_ms(&w->core) - w->clock.mono > 1000);
}

static void the_state_away_loses_nothing(void **state)
{
    struct sched_world *w = *state;
    struct supervisor s;
    char id[JOB_ID_BYTES];

    sched_submit(w, "default", 1, id);
    sched_turn(w);
    assert_true(supervisor_begin(w, id, &s));
    supervisor_runs(w, &s);
    state_fault_at(&w->fault, 1, 1000, false);
    sched_pass(w, 8000);
    assert_int_equal(lead_token(&w->core.lead), 0); /* by our own clock the lead has run out */
    supervisor_result(w, &s);
    assert_true(supervisor_ends(w, &s, OUTCOME_SUCCEEDED));
    state_fault_at(&w->fault, 1, 0, false);
    sched_pass(w, 5000);
    assert_string_equal(sched_state_name(w, id), "succeeded");
    sched_check_sets(w);
}

#define LIFE(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIFE(a_dead_supervisor_is_noticed_fenced_and_followed_by_another),
        LIFE(the_scheduler_writes_the_last_word_of_a_lost_attempt),
        LIFE(a_supervisor_that_cannot_renew_is_ended),
        LIFE(a_lease_that_comes_back_after_an_outage_is_no_loss),
        LIFE(what_does_not_end_holds_up_its_job_and_no_other),
        LIFE(a_supervisor_that_never_spoke_did_not_start),
        LIFE(a_launch_that_fails_is_tried_again),
        LIFE(a_store_that_is_away_puts_a_job_off_and_holds_no_slots),
        LIFE(a_dataset_that_changed_fails_the_job),
        LIFE(a_restart_in_every_state_changes_nothing),
        LIFE(a_new_scheduler_knows_the_old_ones_supervisors),
        LIFE(on_another_host_numbers_mean_nothing),
        LIFE(on_another_host_a_supervisor_that_never_spoke_did_not_start),
        LIFE(a_scheduler_that_died_before_it_launched_costs_the_job_no_retry),
        LIFE(only_one_of_two_schedulers_decides),
        LIFE(a_leader_that_slept_past_its_lease_is_refused),
        LIFE(a_leader_that_lets_go_is_followed_at_once),
        LIFE(an_idle_leader_only_wakes_to_renew),
        LIFE(the_state_away_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
