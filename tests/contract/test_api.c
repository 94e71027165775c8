/* The API's handlers beside submit: list, show, watch, why, cancel, logs, queues, nodes; and the planner. */
#include "base/file.h"
#include "base/mem.h"
#include "core/job/attempt.h"
#include "scheduler/launcher.h"
#include "scheduler/planner.h"
#include "tests/fake/api_world.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- reading ---- */

static void the_newest_jobs_are_listed_first(void **state)
{
    struct api_world *w = *state;
    CLEANUP(json_donep) json_t *answer = NULL;
    CLEANUP(json_donep) json_t *two = NULL;
    CLEANUP(json_donep) json_t *none = NULL;
    char id[3][JOB_ID_BYTES];

    for (int i = 0; i < 3; i++) {
        api_submit_ok(w, NULL, id[i]);
        clock_real.sleep_ms(&clock_real, 2); /* ordered by the millisecond */
    }
    assert_int_equal(api_ask(w, "GET", "/v1/jobs", NULL, &answer), 200);
    const json_t *jobs = json_object_get(answer, "jobs");
    assert_int_equal(json_array_size(jobs), 3);
    for (size_t i = 0; i < 3; i++)
        assert_string_equal(json_text_or(json_array_get(jobs, i), "id", ""), id[2 - i]);
    assert_int_equal(api_ask(w, "GET", "/v1/jobs", "limit=2&state=queued", &two), 200);
    assert_int_equal(json_array_size(json_object_get(two, "jobs")), 2);
    assert_int_equal(api_ask(w, "GET", "/v1/jobs", "state=running", &none), 200);
    assert_int_equal(json_array_size(json_object_get(none, "jobs")), 0);
    assert_int_equal(api_ask(w, "GET", "/v1/jobs", "state=sleeping", NULL), 400);
    assert_int_equal(api_ask(w, "GET", "/v1/jobs", "limit=0", NULL), 400);
    assert_int_equal(api_ask(w, "GET", "/v1/jobs", "limit=1001", NULL), 400);
}

/* As the scheduler and a supervisor would: attempt 1 of `id` runs. */
static void make_running(struct api_world *w, const char *id, bool ended)
{
    CLEANUP(state_tx_freep) struct state_tx *tx = state_tx_new();
    CLEANUP(job_done) struct job j = { .result = NULL };
    CLEANUP(buf_done) struct buf record = BUF_INIT(65536);
    const struct moves m = {
        .state = w->state, .cluster = w->cluster, .clock = &clock_real, .lead = &w->lead
    };
    struct attempt a = { .number = 1,
                         .phase = ended ? ATTEMPT_ENDED : ATTEMPT_RUNNING,
                         .ranks = 2,
                         .supervisor_pid = 77,
                         .outcome = ended ? OUTCOME_FAILED : OUTCOME_NONE };
    struct err e = ERR_INIT;
    char key[JOB_KEY_BYTES];

    assert_ok(moves_read(w->state, id, &j, NULL, &e));
    j.state = JOB_RUNNING;
    j.attempts = 1;
    snprintf(j.node, sizeof(j.node), "local");
    snprintf(a.job, sizeof(a.job), "%s", id);
    assert_ok(moves_put(&m, tx, &j, &e));
    state_tx_rank(tx, JOB_SET_ACTIVE, id, 1);
    assert_ok(attempt_to_text(&a, &record, &e));
    state_tx_put(tx, job_attempt_key(id, 1, key), record.data, record.len);
    state_tx_put_text(tx, job_pulse_key(id, key), "{\"step\":5,\"loss\":0.5}");
    assert_ok(state_commit(w->state, tx, &e));
}

static void a_job_is_shown_with_attempts_progress_and_lease(void **state)
{
    struct api_world *w = *state;
    CLEANUP(json_donep) json_t *waiting = NULL;
    CLEANUP(json_donep) json_t *running = NULL;
    struct lease lease;
    struct err e = ERR_INIT;
    char id[JOB_ID_BYTES], path[REQUEST_PATH_BYTES], name[JOB_KEY_BYTES];

    api_submit_ok(w, NULL, id);
    assert_int_equal(api_ask(w, "GET", api_job_path(id, "", path), NULL, &waiting), 200);
    assert_int_equal(json_array_size(json_object_get(waiting, "attempts")), 0);
    assert_true(json_is_null(json_object_get(waiting, "pulse")));
    assert_true(json_is_false(json_object_get(json_object_get(waiting, "lease"), "held")));
    make_running(w, id, false);
    assert_ok(lease_take(w->state, job_lease_name(id, name), "supervisor 77", 60000, &lease, &e));
    assert_int_equal(api_ask(w, "GET", path, NULL, &running), 200);
    const json_t *attempts = json_object_get(running, "attempts");
    assert_int_equal(json_array_size(attempts), 1);
    assert_int_equal(json_i64_or(json_array_get(attempts, 0), "supervisor_pid", 0), 77);
    assert_int_equal(json_i64_or(json_object_get(running, "pulse"), "step", 0), 5);
    assert_true(json_is_true(json_object_get(json_object_get(running, "lease"), "held")));
    assert_string_equal(json_text_or(json_object_get(running, "lease"), "owner", ""), "supervisor 77");
    assert_true(json_i64_or(running, "seen", 0) != json_i64_or(waiting, "seen", 0));
}

static void unknown_jobs_are_not_found(void **state)
{
    struct api_world *w = *state;

    assert_int_equal(api_ask(w, "GET", "/v1/jobs/261122-zzzzzz", NULL, NULL), 404);
    assert_int_equal(api_ask(w, "GET", "/v1/jobs/../../etc/passwd", NULL, NULL), 404);
    assert_int_equal(api_ask(w, "GET", "/v1/jobs/..%2f..", NULL, NULL), 404);
    assert_int_equal(api_ask(w, "GET", "/v1/jobs/261122-zzzzzz/why", NULL, NULL), 404);
    assert_int_equal(api_ask(w, "GET", "/v1/jobs/261122-zzzzzz/logs", NULL, NULL), 404);
    assert_int_equal(api_ask(w, "GET", "/v1/jobs/261122-zzzzzz/watch", NULL, NULL), 404);
    assert_int_equal(api_ask(w, "POST", "/v1/jobs/261122-zzzzzz/cancel", NULL, NULL), 404);
}

static void watching_answers_when_something_is_new(void **state)
{
    struct api_world *w = *state;
    CLEANUP(json_donep) json_t *first = NULL;
    CLEANUP(json_donep) json_t *same = NULL;
    CLEANUP(json_donep) json_t *changed = NULL;
    char id[JOB_ID_BYTES], path[REQUEST_PATH_BYTES], query[64];

    api_submit_ok(w, NULL, id);
    api_job_path(id, "/watch", path);
    assert_int_equal(api_ask(w, "GET", path, "wait_ms=30000", &first),
                     200); /* nothing was seen yet: at once */
    const int64_t seen = json_i64_or(first, "seen", -1);
    snprintf(query, sizeof(query), "seen=%" PRId64 "&wait_ms=1", seen);
    assert_int_equal(api_ask(w, "GET", path, query, &same), 200); /* the time is up */
    assert_int_equal(json_i64_or(same, "seen", -1), seen);
    make_running(w, id, false);
    snprintf(query, sizeof(query), "seen=%" PRId64 "&wait_ms=30000", seen);
    assert_int_equal(api_ask(w, "GET", path, query, &changed), 200);
    assert_true(json_i64_or(changed, "seen", -1) != seen);
    assert_int_equal(api_ask(w, "GET", path, "wait_ms=30001", NULL), 400);
}

static void whoever_waits_is_answered_when_the_scheduler_stops(void **state)
{
    struct api_world *w = *state;
    CLEANUP(json_donep) json_t *first = NULL;
    char id[JOB_ID_BYTES], path[REQUEST_PATH_BYTES], query[64];

    api_submit_ok(w, NULL, id);
    api_job_path(id, "/watch", path);
    assert_int_equal(api_ask(w, "GET", path, NULL, &first), 200);
    atomic_store(&w->api.stopping, true);
    snprintf(query, sizeof(query), "seen=%" PRId64 "&wait_ms=30000", json_i64_or(first, "seen", -1));
    const int64_t start = clock_mono_ms();
    assert_int_equal(api_ask(w, "GET", path, query, NULL), 200);
    assert_int_equal(api_ask(w, "GET", api_job_path(id, "/logs", path), "wait_ms=30000", NULL), 200);
    assert_true(clock_mono_ms() - start < 20000);
}

static void a_waiting_job_is_explained(void **state)
{
    struct api_world *w = *state;
    CLEANUP(json_donep) json_t *why = NULL;
    char first[JOB_ID_BYTES], second[JOB_ID_BYTES], path[REQUEST_PATH_BYTES];

    api_submit_ok(w, "resources.ranks=8", first);
    make_running(w, first, false);
    api_submit_ok(w, "resources.ranks=8", first);
    clock_real.sleep_ms(&clock_real, 2);
    api_submit_ok(w, NULL, second);
    assert_int_equal(api_ask(w, "GET", api_job_path(second, "/why", path), NULL, &why), 200);
    assert_int_equal(json_i64_or(why, "ahead", -1), 1);
    assert_int_equal(json_i64_or(why, "needs", -1), 2);
    assert_int_equal(json_i64_or(why, "free", -1), 0);
    assert_non_null(strstr(json_text_or(why, "reason", ""), first));
}

/* ---- cancel ---- */

static void cancel_is_the_same_twice_and_refused_when_it_is_too_late(void **state)
{
    struct api_world *w = *state;
    CLEANUP(json_donep) json_t *once = NULL;
    CLEANUP(json_donep) json_t *twice = NULL;
    CLEANUP(json_donep) json_t *running = NULL;
    CLEANUP(job_done) struct job j = { .result = NULL };
    CLEANUP(state_tx_freep) struct state_tx *tx = state_tx_new();
    const struct moves m = {
        .state = w->state, .cluster = w->cluster, .clock = &clock_real, .lead = &w->lead
    };
    struct err e = ERR_INIT;
    char id[JOB_ID_BYTES], path[REQUEST_PATH_BYTES];

    api_submit_ok(w, NULL, id);
    assert_int_equal(api_ask(w, "POST", api_job_path(id, "/cancel", path), NULL, &once), 200);
    assert_string_equal(json_text_or(json_object_get(once, "job"), "state", ""), "cancelled");
    assert_string_equal(json_text_or(json_object_get(once, "job"), "reason", ""), "cancelled by ana");
    assert_int_equal(api_ask(w, "POST", path, NULL, &twice), 200);
    assert_string_equal(json_text_or(json_object_get(twice, "job"), "state", ""), "cancelled");
    api_submit_ok(w, NULL, id);
    make_running(w, id, false);
    assert_int_equal(api_ask(w, "POST", api_job_path(id, "/cancel", path), NULL, &running), 200);
    assert_string_equal(json_text_or(json_object_get(running, "job"), "state", ""), "stopping");
    assert_int_equal(api_ask(w, "POST", path, NULL, NULL), 200);
    assert_ok(moves_read(w->state, id, &j, NULL, &e));
    j.state = JOB_SUCCEEDED;
    assert_ok(moves_put(&m, tx, &j, &e));
    assert_ok(state_commit(w->state, tx, &e));
    assert_int_equal(api_ask(w, "POST", path, NULL, NULL), 409);
}

/* ---- logs ---- */

static void write_log(struct api_world *w, const char *id, const char *text)
{
    CLEANUP(freep) char *dir = launcher_dir(w->cluster->home, id, 1);
    CLEANUP(freep) char *path = mem_printf("%s/log", dir);
    struct err e = ERR_INIT;

    assert_ok(dir_make(dir, 0700, &e));
    assert_ok(file_write(path, text, strlen(text), 0600, &e));
}

static void assert_log(struct api_world *w, const char *id, const char *query, const char *want, int64_t next,
                       bool over)
{
    CLEANUP(reply_done) struct reply r = REPLY_INIT;
    char path[REQUEST_PATH_BYTES];

    assert_int_equal(api_ask_with(w, "GET", api_job_path(id, "/logs", path), query, NULL, 0, NULL, &r), 200);
    assert_true(r.is_log);
    assert_string_equal(buf_text(&r.text), want);
    assert_int_equal(r.next, next);
    assert_int_equal(r.over, over);
}

static void a_log_is_read_from_any_byte_until_it_is_over(void **state)
{
    struct api_world *w = *state;
    char id[JOB_ID_BYTES], path[REQUEST_PATH_BYTES];

    api_submit_ok(w, NULL, id);
    assert_log(w, id, NULL, "", 0, false); /* no attempt yet */
    make_running(w, id, false);
    assert_log(w, id, NULL, "", 0, false); /* no file yet */
    write_log(w, id, "hello\n");
    assert_log(w, id, NULL, "hello\n", 6, false);
    assert_log(w, id, "attempt=1&offset=2", "llo\n", 6, false);
    assert_log(w, id, "offset=6&wait_ms=1", "", 6, false);
    assert_log(w, id, "offset=100", "", 100, false);
    make_running(w, id, true);
    assert_log(w, id, "offset=0", "hello\n", 6, true);
    assert_log(w, id, "offset=6&wait_ms=30000", "", 6, true); /* there is nothing to wait for */
    api_job_path(id, "/logs", path);
    assert_int_equal(api_ask(w, "GET", path, "attempt=2", NULL), 404);
    assert_int_equal(api_ask(w, "GET", path, "attempt=-1", NULL), 400);
    assert_int_equal(api_ask(w, "GET", path, "offset=-1", NULL), 400);
}

static void a_long_log_comes_in_pieces(void **state)
{
    struct api_world *w = *state;
    const size_t n = API_LOG_CHUNK_BYTES + 10;
    CLEANUP(freep) char *text = mem_new(n + 1);
    CLEANUP(reply_done) struct reply r = REPLY_INIT;
    char id[JOB_ID_BYTES], path[REQUEST_PATH_BYTES], query[64];

    memset(text, 'x', n);
    api_submit_ok(w, NULL, id);
    make_running(w, id, true);
    write_log(w, id, text);
    assert_int_equal(api_ask_with(w, "GET", api_job_path(id, "/logs", path), NULL, NULL, 0, NULL, &r), 200);
    assert_int_equal(r.text.len, API_LOG_CHUNK_BYTES);
    assert_false(r.over);
    snprintf(query, sizeof(query), "offset=%d", API_LOG_CHUNK_BYTES);
    assert_log(w, id, query, "xxxxxxxxxx", (int64_t)n, true);
}

static void a_link_is_no_log(void **state)
{
    struct api_world *w = *state;
    char id[JOB_ID_BYTES], path[REQUEST_PATH_BYTES];

    api_submit_ok(w, NULL, id);
    make_running(w, id, false);
    write_log(w, id, "");
    CLEANUP(freep) char *dir = launcher_dir(w->cluster->home, id, 1);
    CLEANUP(freep) char *log = mem_printf("%s/log", dir);
    assert_int_equal(unlink(log), 0);
    assert_int_equal(symlink("/etc/hostname", log), 0);
    assert_int_equal(api_ask(w, "GET", api_job_path(id, "/logs", path), NULL, NULL), 500);
}

/* ---- the cluster ---- */

static void queues_and_nodes_tell_what_is_in_use(void **state)
{
    struct api_world *w = *state;
    CLEANUP(json_donep) json_t *queues = NULL;
    CLEANUP(json_donep) json_t *nodes = NULL;
    char id[JOB_ID_BYTES];

    api_submit_ok(w, NULL, id);
    make_running(w, id, false);
    api_submit_ok(w, NULL, id);
    assert_int_equal(api_ask(w, "GET", "/v1/queues", NULL, &queues), 200);
    const json_t *q = json_array_get(json_object_get(queues, "queues"), 0);
    assert_string_equal(json_text_or(q, "name", ""), "default");
    assert_int_equal(json_i64_or(q, "slots_used", -1), 2);
    assert_int_equal(json_i64_or(q, "active", -1), 1);
    assert_int_equal(json_i64_or(q, "waiting", -1), 1);
    assert_int_equal(api_ask(w, "GET", "/v1/nodes", NULL, &nodes), 200);
    const json_t *n = json_array_get(json_object_get(nodes, "nodes"), 0);
    assert_int_equal(json_i64_or(n, "slots", -1), 8);
    assert_int_equal(json_i64_or(n, "slots_free", -1), 6);
}

/* ---- plans ---- */

static void the_plan_needs_the_dataset_as_it_was(void **state)
{
    struct api_world *w = *state;
    CLEANUP(buf_done) struct buf text = BUF_INIT(PLAN_TEXT_BYTES_MAX);
    CLEANUP(job_done) struct job j = { .result = NULL };
    char id[JOB_ID_BYTES], digest[65];
    struct err e = ERR_INIT;

    api_submit_ok(w, NULL, id);
    assert_ok(moves_read(w->state, id, &j, NULL, &e));
    assert_ok(planner_make(w->cluster, &j, &text, &e));
    assert_true(text.len > 10);
    assert_ok(home_stage(w->cluster, "set", digest, &e)); /* staged again: other versions, another manifest */
    assert_int_equal(planner_make(w->cluster, &j, &text, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.text, "has changed since the job was submitted"));
}

#define WITH(fn) cmocka_unit_test_setup_teardown(fn, api_world_open, api_world_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(the_newest_jobs_are_listed_first),
        WITH(a_job_is_shown_with_attempts_progress_and_lease),
        WITH(unknown_jobs_are_not_found),
        WITH(watching_answers_when_something_is_new),
        WITH(whoever_waits_is_answered_when_the_scheduler_stops),
        WITH(a_waiting_job_is_explained),
        WITH(cancel_is_the_same_twice_and_refused_when_it_is_too_late),
        WITH(a_log_is_read_from_any_byte_until_it_is_over),
        WITH(a_long_log_comes_in_pieces),
        WITH(a_link_is_no_log),
        WITH(queues_and_nodes_tell_what_is_in_use),
        WITH(the_plan_needs_the_dataset_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
