/* How a job moves, what it is called, and the record that is stored of it. */
#include "core/job/attempt.h"
#include "core/job/job.h"
#include "core/job/record.h"
#include "tests/test.h"

#include <string.h>

/* ---- every pair of state and event; ERR_CONFLICT where `to` is JOB_STATE_COUNT ---- */

#define NO JOB_STATE_COUNT

static const struct row {
    enum job_state from;
    enum job_event event;
    enum job_state to;
    const char *name; /* where NO: what the error says */
} rows[] = {
    { JOB_QUEUED, JOB_PLACE, JOB_STARTING, "a queued job can be placed" },
    { JOB_QUEUED, JOB_STARTED, NO, "a queued job cannot be started" },
    { JOB_QUEUED, JOB_FINISHED, NO, "a queued job cannot finish" },
    { JOB_QUEUED, JOB_RETRY, NO, "a queued job cannot be retried" },
    { JOB_QUEUED, JOB_GIVE_UP, JOB_FAILED, "a queued job can be given up" },
    { JOB_QUEUED, JOB_CANCEL, JOB_CANCELLED, "a queued job is cancelled at once" },
    { JOB_QUEUED, JOB_STOPPED, NO, "a queued job cannot stop" },

    { JOB_STARTING, JOB_PLACE, NO, "a starting job cannot be placed" },
    { JOB_STARTING, JOB_STARTED, JOB_RUNNING, "a starting job can start" },
    { JOB_STARTING, JOB_FINISHED, NO, "a starting job cannot finish" },
    { JOB_STARTING, JOB_RETRY, JOB_QUEUED, "a starting job is retried through the queue" },
    { JOB_STARTING, JOB_GIVE_UP, JOB_FAILED, "a starting job can be given up" },
    { JOB_STARTING, JOB_CANCEL, JOB_STOPPING, "a starting job is stopped before it is cancelled" },
    { JOB_STARTING, JOB_STOPPED, NO, "a starting job cannot stop" },

    { JOB_RUNNING, JOB_PLACE, NO, "a running job cannot be placed" },
    { JOB_RUNNING, JOB_STARTED, NO, "a running job cannot be started" },
    { JOB_RUNNING, JOB_FINISHED, JOB_SUCCEEDED, "a running job can finish" },
    { JOB_RUNNING, JOB_RETRY, JOB_QUEUED, "a running job is retried through the queue" },
    { JOB_RUNNING, JOB_GIVE_UP, JOB_FAILED, "a running job can be given up" },
    { JOB_RUNNING, JOB_CANCEL, JOB_STOPPING, "a running job is stopped before it is cancelled" },
    { JOB_RUNNING, JOB_STOPPED, NO, "a running job cannot stop" },

    { JOB_STOPPING, JOB_PLACE, NO, "a stopping job cannot be placed" },
    { JOB_STOPPING, JOB_STARTED, NO, "a stopping job cannot be started" },
    { JOB_STOPPING, JOB_FINISHED, JOB_SUCCEEDED, "a stopping job may have been done before it heard" },
    { JOB_STOPPING, JOB_RETRY, NO, "a stopping job cannot be retried" },
    { JOB_STOPPING, JOB_GIVE_UP, NO, "a stopping job cannot be given up" },
    { JOB_STOPPING, JOB_CANCEL, NO, "a stopping job cannot be cancelled" },
    { JOB_STOPPING, JOB_STOPPED, JOB_CANCELLED, "a stopping job that has stopped is cancelled" },

    { JOB_SUCCEEDED, JOB_PLACE, NO, "a succeeded job cannot be placed" },
    { JOB_SUCCEEDED, JOB_STARTED, NO, "a succeeded job cannot be started" },
    { JOB_SUCCEEDED, JOB_FINISHED, NO, "a succeeded job cannot finish" },
    { JOB_SUCCEEDED, JOB_RETRY, NO, "a succeeded job cannot be retried" },
    { JOB_SUCCEEDED, JOB_GIVE_UP, NO, "a succeeded job cannot be given up" },
    { JOB_SUCCEEDED, JOB_CANCEL, NO, "a succeeded job cannot be cancelled" },
    { JOB_SUCCEEDED, JOB_STOPPED, NO, "a succeeded job cannot stop" },

    { JOB_FAILED, JOB_PLACE, NO, "a failed job cannot be placed" },
    { JOB_FAILED, JOB_STARTED, NO, "a failed job cannot be started" },
    { JOB_FAILED, JOB_FINISHED, NO, "a failed job cannot finish" },
    { JOB_FAILED, JOB_RETRY, NO, "a failed job cannot be retried" },
    { JOB_FAILED, JOB_GIVE_UP, NO, "a failed job cannot be given up" },
    { JOB_FAILED, JOB_CANCEL, NO, "a failed job cannot be cancelled" },
    { JOB_FAILED, JOB_STOPPED, NO, "a failed job cannot stop" },

    { JOB_CANCELLED, JOB_PLACE, NO, "a cancelled job cannot be placed" },
    { JOB_CANCELLED, JOB_STARTED, NO, "a cancelled job cannot be started" },
    { JOB_CANCELLED, JOB_FINISHED, NO, "a cancelled job cannot finish" },
    { JOB_CANCELLED, JOB_RETRY, NO, "a cancelled job cannot be retried" },
    { JOB_CANCELLED, JOB_GIVE_UP, NO, "a cancelled job cannot be given up" },
    { JOB_CANCELLED, JOB_CANCEL, NO, "a cancelled job cannot be cancelled" },
    { JOB_CANCELLED, JOB_STOPPED, NO, "a cancelled job cannot stop" },
};
_Static_assert(ARRAY_LEN(rows) == (size_t)JOB_STATE_COUNT * (size_t)JOB_EVENT_COUNT,
               "every pair has its row");

static void job_moves(void **state)
{
    const struct row *r = *state;
    struct err e = ERR_INIT;
    enum job_state to = JOB_STATE_COUNT;
    if (r->to != NO) {
        assert_ok(job_move(r->from, r->event, &to, &e));
        assert_int_equal(to, r->to);
        return;
    }
    assert_int_equal(job_move(r->from, r->event, &to, &e), ERR_CONFLICT);
    assert_string_equal(e.text, r->name);
    assert_int_equal(to, JOB_STATE_COUNT);
}

static void no_pair_has_two_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (size_t j = 0; j < i; j++)
            assert_false(rows[i].from == rows[j].from && rows[i].event == rows[j].event);
}

/* A state is over exactly when nothing can happen in it any more; the active ones are neither over nor
 * queued. */
static void over_means_that_nothing_follows(void **state)
{
    (void)state;
    for (int s = 0; s < JOB_STATE_COUNT; s++) {
        size_t exits = 0;
        for (size_t i = 0; i < ARRAY_LEN(rows); i++)
            exits += (int)rows[i].from == s && rows[i].to != NO;
        assert_int_equal(job_is_over((enum job_state)s), exits == 0);
        assert_int_equal(job_is_active((enum job_state)s), exits > 0 && s != JOB_QUEUED);
    }
}

/* ---- names ---- */

static void new_ids_are_valid_dated_and_different(void **state)
{
    (void)state;
    enum { IDS = 200 };
    static char ids[IDS][JOB_ID_BYTES];
    for (size_t i = 0; i < IDS; i++) {
        job_new_id(1795342500123, ids[i]); // 2026-11-22T10:15:00.123Z
        assert_true(job_id_is_valid(ids[i]));
        assert_memory_equal(ids[i], "261122-", 7);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(ids[i], ids[j]);
    }
}

static const struct id_row {
    const char *name, *id;
    bool valid;
} id_rows[] = {
    { "id: six digits, a dash, six letters", "261122-k3m9qz", true },
    { "id: digits count as letters", "000101-000000", true },
    { "id: not empty", "", false },
    { "id: no capitals", "261122-K3M9QZ", false },
    { "id: no letter that looks like another", "261122-k3m9ql", false },
    { "id: no more letters", "261122-k3m9qz0", false },
    { "id: no fewer letters", "261122-k3m9q", false },
    { "id: a dash", "261122_k3m9qz", false },
    { "id: a month of the year", "261322-k3m9qz", false },
    { "id: a day of the month", "261100-k3m9qz", false },
    { "id: no path", "261122-../../", false },
    { "id: no line end", "261122-k3m9q\n", false },
};

static void id_is_checked(void **state)
{
    const struct id_row *r = *state;
    assert_int_equal(job_id_is_valid(r->id), r->valid);
}

static void keys_are_known(void **state)
{
    (void)state;
    char key[JOB_KEY_BYTES];
    const char *id = "261122-k3m9qz";
    assert_string_equal(job_key(id, key), "job/261122-k3m9qz");
    assert_string_equal(job_pulse_key(id, key), "pulse/261122-k3m9qz");
    assert_string_equal(job_result_key(id, key), "result/261122-k3m9qz");
    assert_string_equal(job_checkpoint_key(id, key), "checkpoint/261122-k3m9qz");
    assert_string_equal(job_attempt_key(id, 12, key), "attempt/261122-k3m9qz/12");
    assert_string_equal(job_plan_key(id, INT64_MAX, key), "plan/261122-k3m9qz/9223372036854775807");
    assert_string_equal(job_lease_name(id, key), "attempt/261122-k3m9qz");
    assert_string_equal(job_control_stream(id, key), "control/261122-k3m9qz");
}

/* Each is served before the next. */
static void queue_is_by_priority_then_time(void **state)
{
    (void)state;
    static const struct {
        int64_t priority, ms;
    } order[] = {
        { INT64_MAX, 7 },        { 999, 1795342500123 }, { 1, 1795342500124 }, { 0, 0 },
        { 0, 1795342500123 },    { 0, 1795342500124 },   { 0, INT64_MAX },     { -1, 1795342500122 },
        { -100, 1795342500122 }, { -1000, 5 },
    };
    for (size_t i = 1; i < ARRAY_LEN(order); i++)
        assert_true(job_queue_score(order[i - 1].priority, order[i - 1].ms) <
                    job_queue_score(order[i].priority, order[i].ms));
    assert_true(job_queue_score(0, 1795342500123) == 1795342500123.0);
}

/* ---- the outbox entry ---- */

static void event_is_canonical(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    CLEANUP(buf_done) struct buf text = BUF_INIT(4096);
    CLEANUP(json_donep) json_t *data = json_pack("{s:s,s:i}", "node", "n1", "attempt", 2);
    assert_ok(job_event_text("scheduler", "job.placed", "261122-k3m9qz", 17, data, &text, &e));
    assert_string_equal(buf_text(&text),
                        "{\"actor\":\"scheduler\",\"data\":{\"attempt\":2,\"node\":\"n1\"},"
                        "\"event\":\"job.placed\",\"job\":\"261122-k3m9qz\",\"time_ms\":17}");
    assert_int_equal(data->refcount, 1);
    buf_reset(&text);
    assert_ok(job_event_text("scheduler", "started", "", 1, NULL, &text, &e));
    assert_string_equal(
        buf_text(&text),
        "{\"actor\":\"scheduler\",\"data\":{},\"event\":\"started\",\"job\":\"\",\"time_ms\":1}");
}

static void event_refuses_what_has_no_canonical_form(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    CLEANUP(buf_done) struct buf text = BUF_INIT(4096);
    CLEANUP(json_donep) json_t *real = json_pack("{s:[{s:f}]}", "deep", "loss", 0.5);
    CLEANUP(json_donep) json_t *list = json_array();
    assert_int_equal(job_event_text("a", "b", "", 1, real, &text, &e), ERR_USAGE);
    assert_string_equal(e.text, "event 'b': fractions travel as text");
    assert_int_equal(job_event_text("a", "b", "", 1, list, &text, &e), ERR_USAGE);
    assert_int_equal(text.len, 0);
}

/* ---- the record ---- */

static struct job sample_job(void)
{
    static const char spec[] =
        "{name: a, data: {train: s3://data/x, target: t, positive: p}, checkpoint: {to: "
        "s3://models/x}}";
    CLEANUP(conf_freep) struct conf_doc *doc = NULL;
    struct err e = ERR_INIT;
    struct job j;
    memset(&j, 0, sizeof(j));
    assert_ok(conf_parse("job.yaml", spec, strlen(spec), &doc, &e));
    assert_ok(job_spec_from_doc(doc, &j.spec, &e));
    job_spec_digest(&j.spec, j.spec_digest);
    memset(j.dataset_digest, 'a', 64);
    memcpy(j.id, "261122-k3m9qz", 14);
    memcpy(j.user, "ana", 4);
    memcpy(j.node, "n1", 3);
    memcpy(j.outcome, "rank_lost", 10);
    memcpy(j.reason, "rank 1 was killed", 18);
    j.state = JOB_RUNNING;
    j.attempts = 3;
    j.retries = 2;
    j.submitted_ms = 1795342500123;
    j.started_ms = j.submitted_ms + 1;
    j.not_before_ms = j.submitted_ms + 2;
    j.slots = 2;
    return j;
}

static json_t *json_of(const struct job *j)
{
    json_t *o = job_to_json(j);
    assert_non_null(o);
    return o;
}

static enum err_code read_back(const json_t *o, struct job *out, struct err *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(1 << 20);
    if (json_canonical(o, &text, e))
        return e->code;
    return job_from_text(text.data, text.len, out, e);
}

static void record_comes_back(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct job back, j = sample_job();
    CLEANUP(buf_done) struct buf text = BUF_INIT(1 << 20);
    assert_ok(job_to_text(&j, &text, &e));
    assert_ok(job_from_text(text.data, text.len, &back, &e));
    assert_memory_equal(&j, &back, sizeof(j));
}

static void result_comes_back(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    CLEANUP(job_done) struct job j = sample_job();
    CLEANUP(job_done) struct job back = { .result = NULL };
    CLEANUP(buf_done) struct buf text = BUF_INIT(1 << 20);
    j.result = json_pack("{s:f,s:s}", "auc", 0.8125, "model", "s3://models/x");
    assert_ok(job_to_text(&j, &text, &e));
    assert_ok(job_from_text(text.data, text.len, &back, &e));
    assert_true(json_equal(j.result, back.result));
}

/* A reason may quote a broken file, and may have been cut in the middle of a character. */
static void reason_need_not_be_utf8(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct job back, j = sample_job();
    CLEANUP(buf_done) struct buf text = BUF_INIT(1 << 20);
    memcpy(j.reason, "M\xfcller \xe2\x82\xac \xe2\x82", 14);
    assert_ok(job_to_text(&j, &text, &e));
    assert_ok(job_from_text(text.data, text.len, &back, &e));
    assert_string_equal(back.reason, "M?ller \xe2\x82\xac ??");
}

static const struct change {
    const char *name, *member, *value /* JSON; NULL: removed */, *want;
} changes[] = {
    { "record: a member may not be missing", "retries", NULL,
      "job record: 'retries' must be an integer; it is missing" },
    { "record: the spec may not be missing", "spec", NULL, "job record: 'spec' is missing" },
    { "record: the result may not be missing", "result", NULL, "job record: 'result' is missing" },
    { "record: no other member", "extra", "1", "job record: 'extra' is no member of it" },
    { "record: a number is a number", "slots", "\"2\"", "job record: 'slots' must be an integer, not text" },
    { "record: no negative count", "attempts", "-1", "job record: 'attempts' must be at least 0, not -1" },
    { "record: a state there is", "state", "\"paused\"", "job record: 'state' has no value 'paused'" },
    { "record: an id", "id", "\"../../etc\"",
      "job record: 'id' must look like 261122-k3m9qz, not '../../etc'" },
    { "record: a user", "user", "\"\"", "job record: 'user' must not be empty" },
    { "record: text that fits", "node",
      "\"0123456789012345678901234567890123456789012345678901234567890123\"",
      "job record: 'node' must be at most 63 bytes, not 64" },
    { "record: a digest is hex", "dataset_digest", "\"ABC\"",
      "job record: 'dataset_digest' must be 64 lower-case hex digits, not 'ABC'" },
    { "record: the digest is the spec's", "spec_digest",
      "\"0000000000000000000000000000000000000000000000000000000000000000\"",
      "job record: 'spec_digest' is not the digest of 'spec'" },
    { "record: the spec is one", "spec", "{}", "job record: job spec: name: must be given" },
    { "record: no more retries than attempts", "retries", "4",
      "job record: 'retries' must be at most 'attempts'" },
    { "record: an outcome there is", "outcome", "\"bored\"", "job record: 'outcome' has no value 'bored'" },
    { "record: a result is an object", "result", "[]", "job record: 'result' must be an object or null" },
};

static void changed_record_is_corrupt(void **state)
{
    const struct change *c = *state;
    struct err e = ERR_INIT;
    struct job j = sample_job(), back = { .slots = 77 };
    CLEANUP(json_donep) json_t *o = json_of(&j);
    if (c->value)
        record_set(o, c->member, json_loads(c->value, JSON_DECODE_ANY, NULL));
    else
        assert_int_equal(json_object_del(o, c->member), 0);
    assert_int_equal(read_back(o, &back, &e), ERR_CORRUPT);
    assert_string_equal(e.text, c->want);
    assert_int_equal(back.slots, 77);
}

static void text_that_is_no_record_is_corrupt(void **state)
{
    (void)state;
    static const char *const texts[] = { "", "[]", "null", "{", "{\"id\":1,\"id\":2}" };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct err e = ERR_INIT;
        struct job j;
        assert_int_equal(job_from_text(texts[i], strlen(texts[i]), &j, &e), ERR_CORRUPT);
    }
}

int main(void)
{
    static const struct CMUnitTest singles[] = {
        cmocka_unit_test(no_pair_has_two_rows),
        cmocka_unit_test(over_means_that_nothing_follows),
        cmocka_unit_test(new_ids_are_valid_dated_and_different),
        cmocka_unit_test(keys_are_known),
        cmocka_unit_test(queue_is_by_priority_then_time),
        cmocka_unit_test(event_is_canonical),
        cmocka_unit_test(event_refuses_what_has_no_canonical_form),
        cmocka_unit_test(record_comes_back),
        cmocka_unit_test(result_comes_back),
        cmocka_unit_test(reason_need_not_be_utf8),
        cmocka_unit_test(text_that_is_no_record_is_corrupt),
    };
    static struct CMUnitTest
        tests[ARRAY_LEN(singles) + ARRAY_LEN(rows) + ARRAY_LEN(id_rows) + ARRAY_LEN(changes)];
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        tests[n++] = (struct CMUnitTest){ rows[i].name, job_moves, NULL, NULL, (void *)&rows[i] };
    for (size_t i = 0; i < ARRAY_LEN(singles); i++)
        tests[n++] = singles[i];
    for (size_t i = 0; i < ARRAY_LEN(id_rows); i++)
        tests[n++] = (struct CMUnitTest){ id_rows[i].name, id_is_checked, NULL, NULL, (void *)&id_rows[i] };
    for (size_t i = 0; i < ARRAY_LEN(changes); i++)
        tests[n++] = (struct CMUnitTest){ changes[i].name, changed_record_is_corrupt, NULL, NULL,
                                          (void *)&changes[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
