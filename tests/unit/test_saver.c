/*
 * Checkpoints beside the steps: training stands still for a copy alone, and what goes up meanwhile is whole,
 * or nothing is left of it.
 */
#include "tests/fake/small_job.h"

#include "base/clock.h"
#include "base/mem.h"

#include <semaphore.h>
#include <stdio.h>
#include <string.h>

enum { DEADLINE_MS = 600000, LATE_MS = 3000 };

/* A store in which a chosen call fails once, and its retry waits until the test lets it go: a put that hangs.
 */
struct world {
    struct small_job *job;
    struct saver *saver;
    struct store *fault; /* the store in memory, with a fault */
    struct clock_fake clock;
    sem_t hangs, go;
    struct saver_result saved;
};

static void hang(void *context, const struct store_wait *wait)
{
    struct world *w = context;
    if (!wait->why)
        return; /* it worked in the end */
    sem_post(&w->hangs);
    while (sem_wait(&w->go) != 0)
        ;
}

static void say_nothing(void *context, const struct store_wait *wait)
{
    (void)context;
    (void)wait;
}

static int begin(void **state)
{
    struct err e = ERR_INIT;
    struct world *w = mem_new(sizeof(*w));
    const struct store_retry_rule rule = {
        .tries = 1, .patience_ms = INT64_MAX / 4, .base_ms = 1000, .max_ms = 10000
    };

    w->job = small_job_new();
    w->job->doc.spec.checkpoint.deadline_ms = DEADLINE_MS;
    w->clock = clock_fake_at(clock_wall_ms());
    w->clock.mono = clock_mono_ms();
    w->fault = store_fault_new(w->job->store);
    assert_int_equal(sem_init(&w->hangs, 0, 0), 0);
    assert_int_equal(sem_init(&w->go, 0, 0), 0);
    struct checkpoint_place place = w->job->place;
    place.store = store_retry_new(w->fault, &rule, &w->clock.base);
    store_on_wait(place.store, hang, w);
    w->job->place.store = place.store;
    assert_ok(saver_open(&place, w->job->comm, w->job->step, true, &w->saver, &e));
    *state = w;
    return 0;
}

static int end(void **state)
{
    struct world *w = *state;
    saver_close(w->saver);
    store_close(w->job->place.store);
    w->job->place.store = w->job->store;
    small_job_free(w->job);
    free(w);
    return 0;
}

/* ---- helpers ---- */

static void start(struct world *w, int64_t step)
{
    saver_begin(w->saver, step, json_pack("{s:I}", "epoch", (json_int_t)step), 0);
}

/* What a rank does behind each step. */
static enum err_code step_boundary(struct world *w, struct err *e)
{
    return saver_hear(w->saver, saver_mark(w->saver), &w->saved, e);
}

static void until_committed(struct world *w)
{
    struct err e = ERR_INIT;
    for (w->saved.committed = false; !w->saved.committed;)
        assert_ok(step_boundary(w, &e));
}

static void wait_for_hang(struct world *w)
{
    while (sem_wait(&w->hangs) != 0)
        ;
}

static void let_go(struct world *w)
{
    sem_post(&w->go);
}

static enum err_code count_one(void *context, const struct store_info *info, struct err *e)
{
    (void)e;
    (void)info;
    ++*(int *)context;
    return OK;
}

static int object_count(struct world *w)
{
    struct err e = ERR_INIT;
    int count = 0;
    assert_ok(store_list_versions(w->job->store, "", count_one, &count, &e));
    return count;
}

static void never_rejected(void *context, const char *manifest_key, const char *why)
{
    (void)context;
    print_error("%s: %s\n", manifest_key, why);
    fail();
}

/* The step of the newest checkpoint, -1: none; and *out_digest of what is in it. */
static int64_t newest(struct world *w, uint64_t *out_digest)
{
    struct err e = ERR_INIT;
    CLEANUP(artifact_done) struct artifact a = { 0 };
    struct checkpoint_place place = w->job->place;
    bool found;
    size_t passed_over = 0;

    place.store = w->job->store;
    assert_ok(checkpoint_find(&place, w->job->comm, "", &found, &a, &passed_over, never_rejected, NULL, &e));
    if (!found)
        return -1;
    small_job_next_attempt(w->job);
    assert_ok(checkpoint_restore(&place, w->job->comm, &a, w->job->step, &e));
    *out_digest = small_job_digest(w->job);
    return a.step;
}

/* ---- beside the steps ---- */

static void steps_go_on_while_a_put_hangs(void **state)
{
    struct world *w = *state;
    struct err e = ERR_INIT;
    uint64_t at_three, restored = 0;

    small_job_train(w->job, 1, 3);
    at_three = small_job_digest(w->job);
    store_fault_at(w->fault, 2, ERR_RETRY, false);
    start(w, 3);
    wait_for_hang(w);
    for (int64_t step = 4; step <= 9; step++) {
        small_job_train(w->job, step, step);
        assert_ok(step_boundary(w, &e));
        assert_false(w->saved.committed || saver_idle(w->saver));
    }
    assert_int_equal(object_count(w), 1); /* the part before the one that hangs; and no manifest */
    let_go(w);
    until_committed(w);
    assert_int_equal(w->saved.step, 3);
    assert_true(saver_idle(w->saver));
    assert_int_equal(object_count(w), SMALL_LEAVES + 1);
    assert_int_equal(newest(w, &restored), 3);
    assert_true(restored == at_three); /* what was copied, not what was learnt meanwhile */
}

static void a_manifest_that_hangs_holds_nothing_up_either(void **state)
{
    struct world *w = *state;
    struct err e = ERR_INIT;
    uint64_t digest;

    small_job_train(w->job, 1, 1);
    store_fault_at(w->fault, SMALL_LEAVES + 1, ERR_RETRY, false);
    start(w, 1);
    while (sem_trywait(&w->hangs) != 0) /* the manifest is begun at the step by which all parts are up */
        assert_ok(step_boundary(w, &e));
    small_job_train(w->job, 2, 2);
    assert_ok(step_boundary(w, &e));
    assert_false(w->saved.committed);
    let_go(w);
    until_committed(w);
    assert_int_equal(newest(w, &digest), 1);
}

static void what_falls_due_meanwhile_waits_for_the_one_before(void **state)
{
    struct world *w = *state;
    struct err e = ERR_INIT;
    uint64_t digest, at_two;

    small_job_train(w->job, 1, 1);
    store_fault_at(w->fault, 1, ERR_RETRY, false);
    start(w, 1);
    wait_for_hang(w);
    small_job_train(w->job, 2, 2);
    at_two = small_job_digest(w->job);
    let_go(w);
    assert_ok(saver_finish(w->saver, &w->saved, &e));
    assert_true(w->saved.committed && w->saved.step == 1);
    start(w, 2);
    assert_ok(saver_finish(w->saver, &w->saved, &e));
    assert_true(w->saved.committed && w->saved.step == 2);
    assert_int_equal(newest(w, &digest), 2);
    assert_true(digest == at_two);
    assert_ok(saver_finish(w->saver, &w->saved, &e));
    assert_false(w->saved.committed); /* there is nothing under way */
}

static enum err_code sync_fails(struct device *d, struct err *e)
{
    (void)d;
    return err_set(e, ERR_DEVICE, "the card fell off");
}

static void a_copy_that_fails_is_no_checkpoint(void **state)
{
    struct world *w = *state;
    struct err e = ERR_INIT;
    struct device *d = step_device(w->job->step);
    const struct device_ops *own = d->ops;
    struct device_ops ops = *own;
    uint64_t digest;

    small_job_train(w->job, 1, 1);
    ops.sync = sync_fails;
    d->ops = &ops;
    start(w, 1);
    d->ops = own;
    assert_int_equal(saver_finish(w->saver, &w->saved, &e), ERR_DEVICE);
    assert_string_equal(e.text, "checkpoint at step 1: copy slice 0: the card fell off");
    assert_int_equal(object_count(w), 0);
    err_clear(&e);
    start(w, 1); /* and the next one is as if nothing had been */
    assert_ok(saver_finish(w->saver, &w->saved, &e));
    assert_int_equal(newest(w, &digest), 1);
}

static void old_ones_go_beside_the_steps_too(void **state)
{
    struct world *w = *state;
    struct err e = ERR_INIT;

    for (int64_t step = 1; step <= 3; step++) {
        start(w, step);
        assert_ok(saver_finish(w->saver, &w->saved, &e));
        saver_tidy(w->saver, w->saved.key, 1, step == 1);
        small_job_train(w->job, step, step);
    }
    saver_close(TAKE(w->saver)); /* waits for it */
    assert_int_equal(object_count(w), SMALL_LEAVES + 1);
}

/* ---- when it fails ---- */

static void an_upload_that_fails_is_told_at_the_next_step(void **state)
{
    struct world *w = *state;
    struct err e = ERR_INIT;

    small_job_train(w->job, 1, 1);
    store_fault_at(w->fault, 3, ERR_DENIED, false);
    start(w, 1);
    while (step_boundary(w, &e) == OK)
        small_job_train(w->job, 2, 2);
    assert_int_equal(e.code, ERR_DENIED);
    assert_non_null(strstr(e.text, "checkpoint at step 1: "));
    assert_non_null(strstr(e.text, "part-0002.sealed"));
    assert_true(saver_idle(w->saver));
    assert_int_equal(object_count(w), 0); /* its parts went with it */
}

static void a_manifest_that_fails_is_told_too(void **state)
{
    struct world *w = *state;
    struct err e = ERR_INIT;

    store_fault_at(w->fault, SMALL_LEAVES + 1, ERR_DENIED, false);
    start(w, 1);
    while (step_boundary(w, &e) == OK)
        ;
    assert_int_equal(e.code, ERR_DENIED);
    assert_true(saver_idle(w->saver));
    assert_int_equal(object_count(w), SMALL_LEAVES); /* nobody knows: the store may have it after all */
}

static void the_deadline_holds_from_the_beginning(void **state)
{
    struct world *w = *state;
    struct err e = ERR_INIT;

    store_on_wait(w->job->place.store, say_nothing, NULL); /* the clock's hands turn instead */
    w->clock.mono += DEADLINE_MS + 60000;
    store_fault_at(w->fault, 2, ERR_RETRY, false);
    start(w, 7);
    while (step_boundary(w, &e) == OK)
        ;
    assert_int_equal(e.code, ERR_RETRY);
    assert_non_null(strstr(e.text, "checkpoint at step 7: "));
    assert_non_null(strstr(e.text, "part-0001.sealed"));
    assert_non_null(strstr(e.text, "its deadline came"));
    assert_int_equal(object_count(w), 0);
}

static void an_upload_that_does_not_even_notice_its_deadline_has_failed(void **state)
{
    struct world *w = *state;
    struct err e = ERR_INIT;

    store_fault_at(w->fault, 1, ERR_RETRY, false);
    start(w, 1);
    wait_for_hang(w);
    saver_hurry(w->saver, -LATE_MS - 1); /* as if so much time had gone by */
    int64_t mark = saver_mark(w->saver);
    let_go(w); /* or saver_hear() would wait for ever, and other ranks name this one */
    assert_int_equal(saver_hear(w->saver, mark, &w->saved, &e), ERR_RETRY);
    assert_non_null(strstr(e.text, "behind the deadline"));
    assert_int_equal(object_count(w), 0);
}

/* As at the end of an attempt that failed for another reason. */
static void hurrying_cuts_the_deadline(void **state)
{
    struct world *w = *state;
    struct err e = ERR_INIT;

    store_fault_at(w->fault, 1, ERR_RETRY, false);
    start(w, 1);
    wait_for_hang(w);
    saver_hurry(w->saver, 0);
    w->clock.mono += 60000;
    store_fault_at(w->fault, 1, ERR_RETRY, false);
    store_on_wait(w->job->place.store, say_nothing, NULL);
    let_go(w);
    assert_int_equal(saver_finish(w->saver, &w->saved, &e), ERR_RETRY);
    assert_non_null(strstr(e.text, "its deadline came"));
}

static void one_that_is_given_up_leaves_the_one_before_it(void **state)
{
    struct world *w = *state;
    struct err e = ERR_INIT;
    uint64_t at_one, digest = 0;

    small_job_train(w->job, 1, 1);
    at_one = small_job_digest(w->job);
    start(w, 1);
    assert_ok(saver_finish(w->saver, &w->saved, &e));
    small_job_train(w->job, 2, 2);
    store_fault_at(w->fault, 3, ERR_RETRY, false);
    start(w, 2);
    wait_for_hang(w);
    assert_int_equal(object_count(w), SMALL_LEAVES + 1 + 2);
    let_go(w);
    saver_close(TAKE(w->saver)); /* as at the end of an attempt that fails */
    assert_int_equal(object_count(w), SMALL_LEAVES + 1);
    assert_int_equal(newest(w, &digest), 1);
    assert_true(digest == at_one);
}

#define ROW(name, fn)                                                                                        \
    {                                                                                                        \
        name, fn, begin, end, NULL                                                                           \
    }
static const struct CMUnitTest rows[] = {
    ROW("steps go on while a put hangs", steps_go_on_while_a_put_hangs),
    ROW("a manifest that hangs holds nothing up either", a_manifest_that_hangs_holds_nothing_up_either),
    ROW("what falls due meanwhile waits for the one before",
        what_falls_due_meanwhile_waits_for_the_one_before),
    ROW("a copy that fails is no checkpoint", a_copy_that_fails_is_no_checkpoint),
    ROW("old ones go beside the steps, too", old_ones_go_beside_the_steps_too),
    ROW("an upload that fails is told at the next step", an_upload_that_fails_is_told_at_the_next_step),
    ROW("a manifest that fails is told, too", a_manifest_that_fails_is_told_too),
    ROW("the deadline holds from the beginning", the_deadline_holds_from_the_beginning),
    ROW("an upload that does not even notice its deadline has failed",
        an_upload_that_does_not_even_notice_its_deadline_has_failed),
    ROW("hurrying cuts the deadline short", hurrying_cuts_the_deadline),
    ROW("one that is given up leaves the one before it, and no parts",
        one_that_is_given_up_leaves_the_one_before_it),
};

int main(void)
{
    return cmocka_run_group_tests(rows, NULL, NULL);
}
