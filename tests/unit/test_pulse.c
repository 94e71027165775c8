/*
 * Rank 0's line to the state: over a state in memory that goes away, answers late or not at all.
 */
#include "base/mem.h"
#include "core/state/state_ops.h"
#include "tests/test.h"
#include "trainer/pulse.h"

#include <string.h>

static const char job[] = "261122-k3m9qz";

enum mood {
    ANSWERS,
    AWAY,      /* nothing arrives */
    SILENT,    /* what arrives is applied, and nobody says so */
    LATE,      /* what arrives is applied before the commit after it, and nobody says so */
    FORBIDDEN, /* our password is no longer the right one */
};

/* What a test has: the state itself, seen by `direct`, and the lines' way to it, which has moods. */
struct fixture {
    struct clock_fake clock;
    struct state *direct;
    struct attempt_doc doc;
    struct lease lease;
    enum mood mood;
    bool changes; /* after one commit the state answers again */
    struct state_tx *late;
    int commits, opens;
};
static struct fixture *now; /* the open function has no context */

struct moody {
    struct state state;
    struct state *inner;
};

static enum err_code refuse(struct err *e)
{
    if (now->mood == FORBIDDEN)
        return err_set(e, ERR_DENIED, "NOAUTH");
    return err_set(e, ERR_RETRY, "the state is away");
}

static enum err_code moody_get(struct state *s, const char *name, struct buf *out, int64_t *out_version,
                               struct err *e)
{
    if (now->mood == AWAY || now->mood == FORBIDDEN)
        return refuse(e);
    return state_get(((struct moody *)s)->inner, name, out, out_version, e);
}

static enum err_code moody_lease(struct state *s, const struct lease_ask *ask, struct lease_answer *out,
                                 struct err *e)
{
    struct state *inner = ((struct moody *)s)->inner;
    return now->mood == AWAY || now->mood == FORBIDDEN ? refuse(e) : inner->ops->lease(inner, ask, out, e);
}

static struct state_tx *copy_of(const struct state_tx *tx)
{
    struct state_tx *copy = state_tx_new();
    for (size_t i = 0; i < tx->count; i++) {
        const struct state_op *op = &tx->ops[i];
        if (op->kind == STATE_FENCE)
            state_tx_fence(copy, op->name, op->number);
        else if (op->kind == STATE_EXPECT)
            state_tx_expect(copy, op->name, op->number);
        else if (op->kind == STATE_PUT)
            state_tx_put(copy, op->name, op->data, op->n);
        else if (op->kind == STATE_APPEND)
            state_tx_append(copy, op->name, op->data, op->n);
    }
    return copy;
}

static void apply_late(struct state *inner)
{
    struct err ignored = ERR_INIT;
    if (now->late)
        IGNORE(state_commit(inner, now->late, &ignored));
    state_tx_free(now->late);
    now->late = NULL;
}

static enum err_code moody_commit(struct state *s, const struct state_tx *tx, struct err *e)
{
    struct state *inner = ((struct moody *)s)->inner;
    struct err ignored = ERR_INIT;
    enum mood mood = now->mood;

    now->commits++;
    apply_late(inner);
    if (now->changes)
        now->mood = ANSWERS;
    if (mood == ANSWERS)
        return state_commit(inner, tx, e);
    if (mood == SILENT)
        IGNORE(state_commit(inner, tx, &ignored));
    if (mood == LATE)
        now->late = copy_of(tx);
    if (mood == FORBIDDEN)
        return err_set(e, ERR_DENIED, "NOAUTH");
    return err_set(e, ERR_RETRY, "no answer within 500 ms");
}

static void moody_close(struct state *s)
{
    state_close(((struct moody *)s)->inner);
    free(s);
}

static const struct state_ops moody_ops = {
    .name = "moody", .close = moody_close, .get = moody_get, .commit = moody_commit, .lease = moody_lease
};

static enum err_code moody_open(const struct state_config *config, const struct secret *password,
                                struct state **out, struct err *e)
{
    CLEANUP(state_closep) struct state *inner = NULL;

    now->opens++;
    if (now->mood == AWAY || now->mood == FORBIDDEN)
        return refuse(e);
    if (state_open(config, password, &inner, e))
        return e->code;
    struct moody *m = mem_new(sizeof(*m));
    m->state.ops = &moody_ops;
    m->inner = TAKE(inner);
    *out = &m->state;
    return OK;
}

static void take_lease(struct fixture *f, const char *owner)
{
    struct err e = ERR_INIT;
    char name[JOB_KEY_BYTES];
    assert_ok(lease_take(f->direct, job_lease_name(job, name), owner, 60000, &f->lease, &e));
}

static int begin(void **state)
{
    struct err e = ERR_INIT;
    struct fixture *f = mem_new(sizeof(*f));

    f->clock = clock_fake_at(1795000000000);
    f->doc = (struct attempt_doc){ .attempt = 1, .state = { .cluster = "c" } };
    snprintf(f->doc.state.address, sizeof(f->doc.state.address), "mem:%p", (void *)f);
    memcpy(f->doc.job, job, sizeof(job));
    assert_ok(state_open(&f->doc.state, NULL, &f->direct, &e));
    state_mem_set_clock(f->direct, &f->clock.base);
    take_lease(f, "first");
    f->doc.token = f->lease.token;
    now = f;
    *state = f;
    return 0;
}

static int end(void **state)
{
    struct fixture *f = *state;
    state_tx_free(f->late);
    state_close(f->direct);
    free(f);
    return 0;
}

static struct pulse_line *line_of(struct fixture *f)
{
    return pulse_line_new(&f->doc, &f->clock.base, moody_open);
}

static enum err_code tell(struct pulse_line *l, int step, struct err *e)
{
    char name[JOB_KEY_BYTES], text[32];
    snprintf(text, sizeof(text), "manifest-%d", step);
    return pulse_event(l, "checkpoint.committed", json_pack("{s:i}", "step", step),
                       job_checkpoint_key(job, name), text, e);
}

static enum err_code add_step(void *context, const char *id, const void *data, size_t n, struct err *e)
{
    CLEANUP(json_donep) json_t *doc = NULL;
    (void)id;
    if (json_parse(data, n, "outbox entry", &doc, e))
        return e->code;
    assert_string_equal(json_text_or(doc, "actor", ""), "attempt:261122-k3m9qz.1");
    buf_addf(context, " %d", (int)json_i64_or(json_object_get(doc, "data"), "step", -1));
    return OK;
}

/* The steps of the events in the outbox, and the pointer that the last of them put. */
static void assert_told(struct fixture *f, const char *steps, const char *pointer)
{
    struct err e = ERR_INIT;
    char name[JOB_KEY_BYTES];
    CLEANUP(buf_done) struct buf got = BUF_INIT(4096), value = BUF_INIT(4096);

    assert_ok(state_read(f->direct, JOB_OUTBOX, "", 1000, add_step, &got, &e));
    assert_string_equal(buf_text(&got), steps);
    if (state_get(f->direct, job_checkpoint_key(job, name), &value, NULL, &e) != ERR_NOT_FOUND)
        assert_int_equal(e.code, OK);
    assert_string_equal(buf_text(&value), pointer);
}

static void wait_until_tried_again(struct fixture *f)
{
    f->clock.mono += PULSE_AWAY_MS;
}

/* ---- events ---- */

static void events_stand_in_order(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    CLEANUP(pulse_line_freep) struct pulse_line *l = line_of(f);

    for (int step = 1; step <= 4; step++)
        assert_ok(tell(l, step, &e));
    assert_told(f, " 1 2 3 4", "manifest-4");
    assert_int_equal(f->opens, 1);
}

static void what_waits_is_sent_when_the_state_is_back(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    CLEANUP(pulse_line_freep) struct pulse_line *l = line_of(f);

    assert_ok(tell(l, 1, &e));
    f->mood = AWAY;
    assert_ok(tell(l, 2, &e));
    assert_ok(tell(l, 3, &e));
    assert_told(f, " 1", "manifest-1");
    assert_false(pulse_all_told(l));
    f->mood = ANSWERS;
    assert_ok(tell(l, 4, &e)); /* too early: the state was away a moment ago */
    assert_told(f, " 1", "manifest-1");
    wait_until_tried_again(f);
    assert_ok(tell(l, 5, &e));
    assert_told(f, " 1 2 3 4 5", "manifest-5");
    assert_true(pulse_all_told(l));
}

static void a_state_that_is_not_there_yet_is_no_failure(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    CLEANUP(pulse_line_freep) struct pulse_line *l = NULL;

    f->mood = AWAY;
    l = line_of(f);
    assert_ok(tell(l, 1, &e));
    f->mood = ANSWERS;
    assert_ok(pulse_flush(l, 1000, &e));
    assert_told(f, " 1", "manifest-1");
}

static void an_absent_state_is_asked_seldom(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    struct pulse p = { .attempt = 1, .phase = "train" };
    CLEANUP(pulse_line_freep) struct pulse_line *l = line_of(f);

    f->mood = AWAY;
    for (int i = 0; i < 100; i++) {
        assert_ok(tell(l, i, &e));
        assert_ok(pulse_progress(l, &p, true, &e));
    }
    assert_int_equal(f->opens, 1);
}

/* What became of a commit without an answer, for each time at which the answer may be missing. */
static void nothing_is_told_twice(struct fixture *f, enum mood mood, int lost)
{
    struct err e = ERR_INIT;
    CLEANUP(pulse_line_freep) struct pulse_line *l = line_of(f);

    for (int step = 1; step <= 4; step++) {
        f->mood = step == lost ? mood : ANSWERS;
        f->changes = true;
        assert_ok(tell(l, step, &e));
    }
    wait_until_tried_again(f);
    assert_ok(pulse_flush(l, 1000, &e));
    assert_told(f, " 1 2 3 4", "manifest-4");
}

static void applied_without_an_answer_first(void **state)
{
    nothing_is_told_twice(*state, SILENT, 1);
}

static void applied_without_an_answer_later(void **state)
{
    nothing_is_told_twice(*state, SILENT, 3);
}

static void applied_without_an_answer_last(void **state)
{
    nothing_is_told_twice(*state, SILENT, 4);
}

static void applied_only_when_it_is_sent_again_first(void **state)
{
    nothing_is_told_twice(*state, LATE, 1);
}

static void applied_only_when_it_is_sent_again_later(void **state)
{
    nothing_is_told_twice(*state, LATE, 2);
}

static void never_applied(void **state)
{
    nothing_is_told_twice(*state, AWAY, 2);
}

static void a_state_that_never_answers_applies_each_once(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    CLEANUP(pulse_line_freep) struct pulse_line *l = line_of(f);

    f->mood = SILENT;
    for (int step = 1; step <= 3; step++) {
        assert_ok(tell(l, step, &e));
        wait_until_tried_again(f);
    }
    assert_int_equal(pulse_flush(l, 10000, &e), OK); /* reading answers; that is enough to know */
    assert_told(f, " 1 2 3", "manifest-3");
}

static void an_emptied_state_gets_what_waits(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    char name[JOB_KEY_BYTES];
    CLEANUP(pulse_line_freep) struct pulse_line *l = line_of(f);
    CLEANUP(state_tx_freep) struct state_tx *wipe = state_tx_new();

    assert_ok(tell(l, 1, &e));
    assert_ok(tell(l, 2, &e));
    f->mood = AWAY;
    assert_ok(tell(l, 3, &e));
    state_tx_delete(wipe, job_events_key(job, name));
    assert_ok(state_commit(f->direct, wipe, &e));
    f->mood = ANSWERS;
    assert_ok(pulse_flush(l, 1000, &e));
    assert_ok(tell(l, 4, &e));
    assert_told(f, " 1 2 3 4", "manifest-4");
}

static void the_next_attempt_goes_on_counting(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    struct pulse_line *first = line_of(f);

    assert_ok(tell(first, 1, &e));
    assert_ok(tell(first, 2, &e));
    pulse_line_free(first);
    take_lease(f, "first");
    f->doc.token = f->lease.token;
    CLEANUP(pulse_line_freep) struct pulse_line *second = line_of(f);
    f->mood = SILENT;
    f->changes = true;
    assert_ok(tell(second, 3, &e));
    assert_ok(pulse_flush(second, 1000, &e));
    assert_ok(tell(second, 4, &e));
    assert_told(f, " 1 2 3 4", "manifest-4");
}

static void there_is_a_limit_to_waiting(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    CLEANUP(pulse_line_freep) struct pulse_line *l = line_of(f);

    f->mood = AWAY;
    for (int i = 0; i < PULSE_WAITING_MAX; i++)
        assert_ok(tell(l, i, &e));
    assert_int_equal(tell(l, PULSE_WAITING_MAX, &e), ERR_RETRY);
}

static void what_is_no_event_does_not_wait(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    CLEANUP(pulse_line_freep) struct pulse_line *l = line_of(f);

    assert_int_equal(pulse_event(l, "x", json_pack("{s:f}", "loss", 0.5), NULL, NULL, &e), ERR_USAGE);
    err_clear(&e);
    assert_ok(tell(l, 1, &e));
    assert_told(f, " 1", "manifest-1");
}

/* ---- the fence ---- */

static void who_lost_the_lease_is_told_so(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    struct pulse p = { .attempt = 1, .phase = "train" };
    char name[JOB_KEY_BYTES];
    CLEANUP(pulse_line_freep) struct pulse_line *l = line_of(f);

    assert_ok(tell(l, 1, &e));
    assert_ok(lease_release(f->direct, &f->lease, &e));
    take_lease(f, "second");
    assert_int_equal(tell(l, 2, &e), ERR_DENIED);
    assert_false(pulse_all_told(l));
    err_clear(&e);
    assert_int_equal(pulse_progress(l, &p, true, &e), ERR_DENIED);
    err_clear(&e);
    assert_int_equal(pulse_flush(l, 1000, &e), ERR_DENIED);
    err_clear(&e);
    assert_told(f, " 1", "manifest-1");
    assert_int_equal(state_get(f->direct, job_pulse_key(job, name), NULL, NULL, &e), ERR_NOT_FOUND);
}

static void a_fence_that_waited_is_seen_when_the_state_is_back(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    CLEANUP(pulse_line_freep) struct pulse_line *l = line_of(f);

    f->mood = AWAY;
    assert_ok(tell(l, 1, &e));
    assert_ok(lease_release(f->direct, &f->lease, &e));
    take_lease(f, "second");
    f->mood = ANSWERS;
    wait_until_tried_again(f);
    assert_int_equal(tell(l, 2, &e), ERR_DENIED);
    assert_told(f, "", "");
}

static void a_wrong_password_is_no_fence(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    CLEANUP(pulse_line_freep) struct pulse_line *l = line_of(f);

    assert_ok(tell(l, 1, &e));
    f->mood = FORBIDDEN;
    assert_ok(tell(l, 2, &e));
    f->mood = ANSWERS;
    assert_ok(pulse_flush(l, 1000, &e));
    assert_told(f, " 1 2", "manifest-2");
}

/* ---- progress ---- */

static int64_t step_in_state(struct fixture *f)
{
    struct err e = ERR_INIT;
    struct pulse p = { .step = -1 };
    char name[JOB_KEY_BYTES];
    CLEANUP(buf_done) struct buf text = BUF_INIT(4096);

    assert_ok(state_get(f->direct, job_pulse_key(job, name), &text, NULL, &e));
    assert_ok(pulse_from_text(text.data, text.len, &p, &e));
    return p.step;
}

static void progress_is_written_twice_a_second(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    struct pulse p = { .attempt = 1, .phase = "train" };
    CLEANUP(pulse_line_freep) struct pulse_line *l = line_of(f);

    for (p.step = 1; p.step <= 1000; p.step++) { /* a second of steps */
        assert_ok(pulse_progress(l, &p, false, &e));
        f->clock.mono++;
    }
    assert_int_equal(f->commits, 2);
    assert_int_equal(step_in_state(f), 501);
}

static void progress_can_be_urgent(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    struct pulse p = { .attempt = 1, .step = 1, .phase = "train" };
    CLEANUP(pulse_line_freep) struct pulse_line *l = line_of(f);

    assert_ok(pulse_progress(l, &p, false, &e));
    p.step = 2;
    assert_ok(pulse_progress(l, &p, true, &e));
    assert_int_equal(step_in_state(f), 2);
}

/* ---- the end ---- */

static void flushing_gives_up_in_time(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    int64_t began = f->clock.mono;
    CLEANUP(pulse_line_freep) struct pulse_line *l = line_of(f);

    f->mood = AWAY;
    assert_ok(tell(l, 1, &e));
    assert_int_equal(pulse_flush(l, 60000, &e), ERR_RETRY);
    assert_in_range(f->clock.mono - began, 60000, 61000);
}

static void flushing_nothing_needs_no_state(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    CLEANUP(pulse_line_freep) struct pulse_line *l = line_of(f);

    f->mood = AWAY;
    assert_ok(pulse_flush(l, 60000, &e));
}

#define ROW(name, fn)                                                                                        \
    {                                                                                                        \
        name, fn, begin, end, NULL                                                                           \
    }
static const struct CMUnitTest rows[] = {
    ROW("events stand in order, each with its value", events_stand_in_order),
    ROW("what waits is sent, in order, when the state is back", what_waits_is_sent_when_the_state_is_back),
    ROW("a state that is not there yet is no failure", a_state_that_is_not_there_yet_is_no_failure),
    ROW("an absent state is asked seldom", an_absent_state_is_asked_seldom),
    ROW("the first event is applied without an answer: told once", applied_without_an_answer_first),
    ROW("a later event is applied without an answer: told once", applied_without_an_answer_later),
    ROW("the last event is applied without an answer: told once", applied_without_an_answer_last),
    ROW("the first event comes through late: told once", applied_only_when_it_is_sent_again_first),
    ROW("a later event comes through late: told once", applied_only_when_it_is_sent_again_later),
    ROW("an event that was never applied is told", never_applied),
    ROW("a state that never answers applies each event once", a_state_that_never_answers_applies_each_once),
    ROW("a state that was emptied gets what waits", an_emptied_state_gets_what_waits),
    ROW("the next attempt goes on counting", the_next_attempt_goes_on_counting),
    ROW("there is a limit to waiting", there_is_a_limit_to_waiting),
    ROW("what is no event does not wait", what_is_no_event_does_not_wait),
    ROW("who lost the lease is told so, and writes nothing", who_lost_the_lease_is_told_so),
    ROW("a fence is seen when the state is back", a_fence_that_waited_is_seen_when_the_state_is_back),
    ROW("a wrong password is no fence", a_wrong_password_is_no_fence),
    ROW("progress is written twice a second", progress_is_written_twice_a_second),
    ROW("progress can be urgent", progress_can_be_urgent),
    ROW("flushing gives up in time", flushing_gives_up_in_time),
    ROW("flushing nothing needs no state", flushing_nothing_needs_no_state),
};

int main(void)
{
    return cmocka_run_group_tests(rows, NULL, NULL);
}
