/*
 * Whatever call of the scheduler to the state fails, and at whatever call it is killed: every job comes to
 * its end, no attempt is launched twice, no two attempts of a job live at once, and the events tell one
 * story.
 */
#include "tests/fake/sched_world.h"

#include <stdio.h>
#include <string.h>

enum { STEP_MS = 500, STEPS_MAX = 400, CALLS_MAX = 2000 };

/* Supervisors that do their work: first word, ranks run, result and last word; one step at a time. */
struct crew {
    struct supervisor supervisor[FAKE_STARTS_MAX];
    int step[FAKE_STARTS_MAX];
};

static void crew_works(struct sched_world *w, struct crew *crew)
{
    for (size_t i = 0; i < w->launcher.count; i++) {
        struct fake_start *start = &w->launcher.starts[i];
        struct supervisor *s = &crew->supervisor[i];
        if (!start->alive)
            continue;
        switch (crew->step[i]++) {
        case 0:
            start->alive = sched_newest(w, start) && supervisor_begin(w, start->job, s);
            break;
        case 1:
            supervisor_runs(w, s);
            break;
        case 2:
            supervisor_result(w, s);
            break;
        default:
            supervisor_ends(w, s, OUTCOME_SUCCEEDED);
            break;
        }
    }
}

static void check_no_twins(const struct sched_world *w)
{
    for (size_t i = 0; i < w->launcher.count; i++)
        for (size_t k = 0; k < i; k++) {
            const struct fake_start *a = &w->launcher.starts[i], *b = &w->launcher.starts[k];
            if (strcmp(a->job, b->job) != 0)
                continue;
            assert_false(a->alive && b->alive);
            assert_int_not_equal(a->attempt, b->attempt);
        }
}

static bool all_over(struct sched_world *w)
{
    char id[JOB_ID_BYTES];

    for (int i = 1; i <= w->jobs; i++)
        if (!job_is_over(sched_state(w, test_id(i, id))))
            return false;
    return true;
}

struct trouble {
    const char *name;
    int64_t times; /* calls that fail in a row; 0: the scheduler is killed */
    bool torn;
};

/* Two jobs that need the same slots, with trouble at the nth call. False: it made fewer calls than that. */
static bool run(const struct trouble *t, int64_t nth)
{
    static struct sched_world w;
    struct crew crew = { .step = { 0 } };
    char first[JOB_ID_BYTES], second[JOB_ID_BYTES], events[512], want[512];
    int steps = 0;

    sched_open(&w, "a:4", "default:0 small:2");
    sched_submit(&w, "default", 4, first);
    sched_submit(&w, "small", 2, second);
    const int64_t before = w.fault.calls;
    state_fault_at(&w.fault, nth, t->times ? t->times : INT32_MAX, t->torn);
    for (; steps < STEPS_MAX && !all_over(&w); steps++) {
        sched_pass(&w, STEP_MS);
        if (!t->times && w.up && w.fault.calls >= before + nth) {
            sched_crash(&w);
            sched_up(&w);
        }
        crew_works(&w, &crew);
        check_no_twins(&w);
        sched_check_sets(&w);
    }
    const bool reached = w.fault.calls >= before + nth;
    if (!all_over(&w))
        fail_msg("%s at call %d: %s, %s after %d steps", t->name, (int)nth, sched_state_name(&w, first),
                 sched_state_name(&w, second), steps);
    for (int i = 1; i <= w.jobs; i++) {
        char id[JOB_ID_BYTES];
        CLEANUP(job_done) struct job j = sched_job(&w, test_id(i, id));
        if (j.state != JOB_SUCCEEDED || j.retries != 0)
            fail_msg("%s at call %d: job %d: %s: %s", t->name, (int)nth, i, job_state_names[j.state],
                     j.reason);
        /* A kill between commit and launch costs an attempt, though no retry; an outage costs nothing. */
        snprintf(want, sizeof(want), "submitted %splaced started finished",
                 j.attempts > 1 ? "placed retried " : "");
        assert_string_equal(sched_events(&w, id, events), want);
        assert_true(j.attempts <= (t->times ? 1 : 2));
    }
    sched_pass(&w, 10000);
    assert_int_equal(launcher_fake_alive(&w.launcher), 0);
    assert_int_equal(fleet_free(&w.core.fleet), 4);
    sched_close(&w);
    return reached;
}

static void every_call_once(void **state)
{
    int64_t nth = 1;

    while (nth < CALLS_MAX && run(*state, nth))
        nth++;
    assert_in_range(nth, 50, CALLS_MAX - 1); /* it did reach them all */
}

static const struct trouble troubles[] = {
    { "one call that fails", 1, false },
    { "one call whose answer is lost", 1, true },
    { "ten calls that fail in a row", 10, false },
    { "ten calls whose answers are lost", 10, true },
    { "the scheduler is killed", 0, false },
    { "the scheduler is killed, its last call reached the state", 0, true },
};

int main(void)
{
    static struct CMUnitTest tests[ARRAY_LEN(troubles)];
    for (size_t i = 0; i < ARRAY_LEN(troubles); i++)
        tests[i] = (struct CMUnitTest){ troubles[i].name, every_call_once, NULL, NULL, (void *)&troubles[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
