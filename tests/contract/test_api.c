/*
 * The API's handlers over a real home and a state in memory: submit with all its refusals, list, show, watch,
 * why, cancel, logs, queues, nodes. The scheduler's loop is not there: jobs wait, or are where the test puts
 * them.
 */
#include "base/file.h"
#include "base/mem.h"
#include "core/job/attempt.h"
#include "scheduler/launcher.h"
#include "scheduler/planner.h"
#include "scheduler/routes.h"
#include "tests/home.h"
#include "tests/scheduler.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct world {
    char *home;
    struct cluster *cluster;
    struct state *state; /* keeps the memory alive */
    struct lead lead;
    struct handles *handles;
    struct api api;
    char dataset_digest[65];
};

static enum err_code open_state(void *context, struct state **out, struct err *e)
{
    const struct state_config config = { .address = "mem:api", .cluster = "test" };
    (void)context;
    return state_open(&config, NULL, out, e);
}

static int open_world(void **out)
{
    struct world *w = mem_new(sizeof(*w));
    enum lead_news news;
    struct err e = ERR_INIT;

    w->home = home_make("test-api");
    assert_ok(cluster_load(w->home, NULL, &w->cluster, &e));
    w->cluster->nodes[0].slots = 8;
    w->cluster->queues[w->cluster->queue_count++] = (struct cluster_queue){ .name = "small", .slots_max = 2 };
    assert_ok(home_stage(w->cluster, "set", w->dataset_digest, &e));
    assert_ok(open_state(NULL, &w->state, &e));
    lead_init(&w->lead, "test", 600000, &clock_real);
    assert_ok(lead_tick(&w->lead, w->state, &news, &e));
    w->handles = handles_new(open_state, NULL);
    w->api =
        (struct api){ .cluster = w->cluster, .clock = &clock_real, .lead = &w->lead, .handles = w->handles };
    *out = w;
    return 0;
}

static int close_world(void **state)
{
    struct world *w = *state;

    handles_free(w->handles);
    state_close(w->state);
    cluster_free(w->cluster);
    home_remove(w->home);
    free(w);
    return 0;
}

/* ---- asking ---- */

/* The answer's status; its JSON where it is some. */
static int ask_with(struct world *w, const char *method, const char *path, const char *query,
                    const void *body, size_t n, json_t **out, struct reply *out_reply)
{
    struct reply r = REPLY_INIT;
    struct request q = { .method = method, .path = path, .user = "ana", .body = body, .body_bytes = n };
    struct err e = ERR_INIT;
    char copy[256], *rest = copy, *pair;

    snprintf(copy, sizeof(copy), "%s", query ? query : "");
    while ((pair = strsep(&rest, "&")) && *pair) {
        char *value = strchr(pair, '=');
        *value++ = '\0';
        snprintf(q.query[q.query_count].name, REQUEST_VALUE_BYTES, "%s", pair);
        snprintf(q.query[q.query_count++].value, REQUEST_VALUE_BYTES, "%s", value);
    }
    routes_answer(&w->api, &q, &r);
    const int status = r.status;
    if (out)
        assert_ok(json_parse(r.text.data, r.text.len, "answer", out, &e));
    if (out_reply)
        *out_reply = r;
    else
        reply_done(&r);
    return status;
}

static int ask(struct world *w, const char *method, const char *path, const char *query, json_t **out)
{
    return ask_with(w, method, path, query, NULL, 0, out, NULL);
}

static const char spec[] = "name: nightly\nqueue: default\nmodel: { kind: mlp, hidden: [8] }\n"
                           "data: { train: s3://data/set, holdout: 0.2, target: class, positive: bad }\n"
                           "resources: { ranks: 2 }\ntrain: { epochs: 1, batch: 16, leaves: 8 }\n"
                           "checkpoint: { to: s3://models/m, key: demo }\n";

/* `set` and `key` may be NULL. */
static int submit(struct world *w, const char *set, const char *key, json_t **out)
{
    CLEANUP(json_donep) json_t *body = json_pack("{s:s,s:s}", "file", "job.yaml", "spec", spec);
    CLEANUP(buf_done) struct buf text = BUF_INIT(65536);
    struct err e = ERR_INIT;

    if (set)
        json_object_set_new(body, "set", json_pack("[s]", set));
    if (key)
        json_object_set_new(body, "key", json_string(key));
    assert_ok(json_canonical(body, &text, &e));
    return ask_with(w, "POST", "/v1/jobs", NULL, text.data, text.len, out, NULL);
}

static void submit_ok(struct world *w, const char *set, char out_id[JOB_ID_BYTES])
{
    CLEANUP(json_donep) json_t *answer = NULL;

    if (submit(w, set, NULL, &answer) != 201)
        fail_msg("submit: %s", json_text_or(json_object_get(answer, "error"), "text", ""));
    snprintf(out_id, JOB_ID_BYTES, "%s", json_text_or(json_object_get(answer, "job"), "id", ""));
    assert_true(job_id_is_valid(out_id));
}

static const char *job_path(const char *id, const char *verb, char out[REQUEST_PATH_BYTES])
{
    snprintf(out, REQUEST_PATH_BYTES, "/v1/jobs/%s%s", id, verb);
    return out;
}

/* ---- events ---- */

struct last {
    char event[64], job[JOB_ID_BYTES], actor[64], rule[64];
};

static enum err_code take_last(void *context, const char *id, const void *data, size_t n, struct err *e)
{
    struct last *l = context;
    CLEANUP(json_donep) json_t *doc = NULL;

    (void)id;
    assert_int_equal(json_parse(data, n, "event", &doc, e), OK);
    snprintf(l->event, sizeof(l->event), "%s", json_text_or(doc, "event", ""));
    snprintf(l->job, sizeof(l->job), "%s", json_text_or(doc, "job", ""));
    snprintf(l->actor, sizeof(l->actor), "%s", json_text_or(doc, "actor", ""));
    snprintf(l->rule, sizeof(l->rule), "%s", json_text_or(json_object_get(doc, "data"), "rule", ""));
    return OK;
}

static struct last last_event(struct world *w)
{
    struct last l = { .event = "" };
    struct err e = ERR_INIT;

    assert_ok(state_read(w->state, JOB_OUTBOX, NULL, 10000, take_last, &l, &e));
    return l;
}

/* ---- submit ---- */

static void a_job_is_taken_recorded_and_waits(void **state)
{
    struct world *w = *state;
    CLEANUP(json_donep) json_t *answer = NULL;
    const struct last before = last_event(w);
    struct last l;
    (void)before;

    assert_int_equal(submit(w, "train.lr=0.25", NULL, &answer), 201);
    const json_t *j = json_object_get(answer, "job");
    assert_string_equal(json_text_or(j, "state", ""), "queued");
    assert_string_equal(json_text_or(j, "user", ""), "ana");
    assert_string_equal(json_text_or(j, "dataset_digest", ""), w->dataset_digest);
    assert_int_equal(json_i64_or(j, "slots", 0), 2);
    assert_string_equal(json_text_or(json_object_get(json_object_get(j, "spec"), "train"), "lr", ""), "0.25");
    l = last_event(w);
    assert_string_equal(l.event, "job.submitted");
    assert_string_equal(l.job, json_text_or(j, "id", "?"));
    assert_string_equal(l.actor, "user:ana");
}

static void the_same_key_gives_the_same_job(void **state)
{
    struct world *w = *state;
    CLEANUP(json_donep) json_t *first = NULL;
    CLEANUP(json_donep) json_t *again = NULL;
    CLEANUP(json_donep) json_t *other = NULL;
    int64_t before, after;
    struct err e = ERR_INIT;

    assert_int_equal(submit(w, NULL, "nightly-1", &first), 201);
    assert_ok(state_count(w->state, JOB_SET_ALL, &before, &e));
    assert_int_equal(submit(w, NULL, "nightly-1", &again), 201);
    assert_ok(state_count(w->state, JOB_SET_ALL, &after, &e));
    assert_int_equal(before, after);
    assert_string_equal(json_text_or(json_object_get(first, "job"), "id", "a"),
                        json_text_or(json_object_get(again, "job"), "id", "b"));
    assert_int_equal(submit(w, NULL, "nightly-2", &other), 201);
    assert_string_not_equal(json_text_or(json_object_get(first, "job"), "id", "a"),
                            json_text_or(json_object_get(other, "job"), "id", "a"));
}

static const struct refusal {
    const char *name, *set;
    int status;
    const char *text; /* in the error */
} refusals[] = {
    { "a wrong setting is named with its place", "train.epohcs=3", 400, "--set train.epohcs" },
    { "a queue that is not there, and the nearest one", "queue=defualt", 400, "did you mean 'default'?" },
    { "more ranks than any node has slots", "resources.ranks=16", 400, "resources.ranks" },
    { "more ranks than the queue may hold", "queue=small", 201, "" },
    { "a dataset that is not staged", "data.train=s3://data/none", 404, "data.train" },
    { "a key that is not there", "checkpoint.key=other", 400, "there is no key 'other'" },
    { "a bucket that is not the cluster's", "data.train=s3://elsewhere/set", 403, "bucket" },
    { "a file of the client's machine", "data.train=file://x.csv", 403, "data_staged" },
    { "checkpoints in a bucket that is not the cluster's", "checkpoint.to=s3://elsewhere/m", 403, "bucket" },
};

static void refuses(void **state)
{
    const struct refusal *r = *state;
    void *world = NULL;
    CLEANUP(json_donep) json_t *answer = NULL;

    assert_int_equal(open_world(&world), 0);
    struct world *w = world;
    int64_t jobs = -1;
    struct err e = ERR_INIT;
    assert_int_equal(submit(w, r->set, NULL, &answer), r->status);
    const char *text = json_text_or(json_object_get(answer, "error"), "text", "");
    if (!strstr(text, r->text))
        fail_msg("'%s' is not in '%s'", r->text, text);
    assert_ok(state_count(w->state, JOB_SET_ALL, &jobs, &e));
    assert_int_equal(jobs, r->status == 201);
    const struct last l = last_event(w);
    if (r->status == 403) {
        assert_string_equal(l.event, "job.refused");
        assert_true(l.rule[0]);
    } else {
        assert_string_equal(l.event, r->status == 201 ? "job.submitted" : "");
    }
    close_world(&world);
}

static const struct body {
    const char *name, *text;
    const char *want;
} bodies[] = {
    { "no body", "", "request" },
    { "no JSON", "{\"spec\":", "request" },
    { "a list", "[]", "must be an object" },
    { "no spec", "{}", "'spec' must be a text" },
    { "a spec that is no text", "{\"spec\":1}", "'spec' must be a text" },
    { "a member that is not known", "{\"spec\":\"a\",\"spce\":1}", "no member 'spce'" },
    { "a set that is no list", "{\"spec\":\"a\",\"set\":\"b\"}", "'set' must be a list" },
    { "a set of numbers", "{\"spec\":\"a\",\"set\":[1]}", "'set' must be a list of texts" },
    { "a key with a slash", "{\"spec\":\"a\",\"key\":\"a/b\"}", "'key' must be" },
    { "a key that is a number", "{\"spec\":\"a\",\"key\":1}", "'key' must be" },
    { "a file without a name", "{\"spec\":\"a\",\"file\":\"\"}", "'file' must be" },
    { "a spec that is no YAML", "{\"spec\":\"a: [\",\"file\":\"x.yaml\"}", "x.yaml:" },
    { "a spec that is empty", "{\"spec\":\"\",\"file\":\"x.yaml\"}", "x.yaml" },
};

static void refuses_body(void **state)
{
    const struct body *b = *state;
    void *world = NULL;
    CLEANUP(json_donep) json_t *answer = NULL;

    assert_int_equal(open_world(&world), 0);
    assert_int_equal(ask_with(world, "POST", "/v1/jobs", NULL, b->text, strlen(b->text), &answer, NULL), 400);
    const char *text = json_text_or(json_object_get(answer, "error"), "text", "");
    assert_string_equal(json_text_or(json_object_get(answer, "error"), "code", ""), "usage");
    if (!strstr(text, b->want))
        fail_msg("'%s' is not in '%s'", b->want, text);
    close_world(&world);
}

static void who_does_not_lead_takes_no_job(void **state)
{
    struct world *w = *state;
    CLEANUP(json_donep) json_t *answer = NULL;

    lead_release(&w->lead, w->state);
    assert_int_equal(submit(w, NULL, NULL, &answer), 503);
    assert_non_null(strstr(json_text_or(json_object_get(answer, "error"), "text", ""), "does not lead"));
}

/* ---- reading ---- */

static void the_newest_jobs_are_listed_first(void **state)
{
    struct world *w = *state;
    CLEANUP(json_donep) json_t *answer = NULL;
    CLEANUP(json_donep) json_t *two = NULL;
    CLEANUP(json_donep) json_t *none = NULL;
    char id[3][JOB_ID_BYTES];

    for (int i = 0; i < 3; i++) {
        submit_ok(w, NULL, id[i]);
        clock_real.sleep_ms(&clock_real, 2); /* ordered by the millisecond */
    }
    assert_int_equal(ask(w, "GET", "/v1/jobs", NULL, &answer), 200);
    const json_t *jobs = json_object_get(answer, "jobs");
    assert_int_equal(json_array_size(jobs), 3);
    for (size_t i = 0; i < 3; i++)
        assert_string_equal(json_text_or(json_array_get(jobs, i), "id", ""), id[2 - i]);
    assert_int_equal(ask(w, "GET", "/v1/jobs", "limit=2&state=queued", &two), 200);
    assert_int_equal(json_array_size(json_object_get(two, "jobs")), 2);
    assert_int_equal(ask(w, "GET", "/v1/jobs", "state=running", &none), 200);
    assert_int_equal(json_array_size(json_object_get(none, "jobs")), 0);
    assert_int_equal(ask(w, "GET", "/v1/jobs", "state=sleeping", NULL), 400);
    assert_int_equal(ask(w, "GET", "/v1/jobs", "limit=0", NULL), 400);
    assert_int_equal(ask(w, "GET", "/v1/jobs", "limit=1001", NULL), 400);
}

/* As the scheduler and a supervisor would: attempt 1 of `id` runs. */
static void make_running(struct world *w, const char *id, bool ended)
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
    struct world *w = *state;
    CLEANUP(json_donep) json_t *waiting = NULL;
    CLEANUP(json_donep) json_t *running = NULL;
    struct lease lease;
    struct err e = ERR_INIT;
    char id[JOB_ID_BYTES], path[REQUEST_PATH_BYTES], name[JOB_KEY_BYTES];

    submit_ok(w, NULL, id);
    assert_int_equal(ask(w, "GET", job_path(id, "", path), NULL, &waiting), 200);
    assert_int_equal(json_array_size(json_object_get(waiting, "attempts")), 0);
    assert_true(json_is_null(json_object_get(waiting, "pulse")));
    assert_true(json_is_false(json_object_get(json_object_get(waiting, "lease"), "held")));
    make_running(w, id, false);
    assert_ok(lease_take(w->state, job_lease_name(id, name), "supervisor 77", 60000, &lease, &e));
    assert_int_equal(ask(w, "GET", path, NULL, &running), 200);
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
    struct world *w = *state;

    assert_int_equal(ask(w, "GET", "/v1/jobs/261122-zzzzzz", NULL, NULL), 404);
    assert_int_equal(ask(w, "GET", "/v1/jobs/../../etc/passwd", NULL, NULL), 404);
    assert_int_equal(ask(w, "GET", "/v1/jobs/..%2f..", NULL, NULL), 404);
    assert_int_equal(ask(w, "GET", "/v1/jobs/261122-zzzzzz/why", NULL, NULL), 404);
    assert_int_equal(ask(w, "GET", "/v1/jobs/261122-zzzzzz/logs", NULL, NULL), 404);
    assert_int_equal(ask(w, "GET", "/v1/jobs/261122-zzzzzz/watch", NULL, NULL), 404);
    assert_int_equal(ask(w, "POST", "/v1/jobs/261122-zzzzzz/cancel", NULL, NULL), 404);
}

static void watching_answers_when_something_is_new(void **state)
{
    struct world *w = *state;
    CLEANUP(json_donep) json_t *first = NULL;
    CLEANUP(json_donep) json_t *same = NULL;
    CLEANUP(json_donep) json_t *changed = NULL;
    char id[JOB_ID_BYTES], path[REQUEST_PATH_BYTES], query[64];

    submit_ok(w, NULL, id);
    job_path(id, "/watch", path);
    assert_int_equal(ask(w, "GET", path, "wait_ms=30000", &first), 200); /* nothing was seen yet: at once */
    const int64_t seen = json_i64_or(first, "seen", -1);
    snprintf(query, sizeof(query), "seen=%" PRId64 "&wait_ms=1", seen);
    assert_int_equal(ask(w, "GET", path, query, &same), 200); /* the time is up */
    assert_int_equal(json_i64_or(same, "seen", -1), seen);
    make_running(w, id, false);
    snprintf(query, sizeof(query), "seen=%" PRId64 "&wait_ms=30000", seen);
    assert_int_equal(ask(w, "GET", path, query, &changed), 200);
    assert_true(json_i64_or(changed, "seen", -1) != seen);
    assert_int_equal(ask(w, "GET", path, "wait_ms=30001", NULL), 400);
}

static void whoever_waits_is_answered_when_the_scheduler_stops(void **state)
{
    struct world *w = *state;
    CLEANUP(json_donep) json_t *first = NULL;
    char id[JOB_ID_BYTES], path[REQUEST_PATH_BYTES], query[64];

    submit_ok(w, NULL, id);
    job_path(id, "/watch", path);
    assert_int_equal(ask(w, "GET", path, NULL, &first), 200);
    atomic_store(&w->api.stopping, true);
    snprintf(query, sizeof(query), "seen=%" PRId64 "&wait_ms=30000", json_i64_or(first, "seen", -1));
    const int64_t start = clock_mono_ms();
    assert_int_equal(ask(w, "GET", path, query, NULL), 200);
    assert_int_equal(ask(w, "GET", job_path(id, "/logs", path), "wait_ms=30000", NULL), 200);
    assert_true(clock_mono_ms() - start < 20000);
}

static void a_waiting_job_is_explained(void **state)
{
    struct world *w = *state;
    CLEANUP(json_donep) json_t *why = NULL;
    char first[JOB_ID_BYTES], second[JOB_ID_BYTES], path[REQUEST_PATH_BYTES];

    submit_ok(w, "resources.ranks=8", first);
    make_running(w, first, false);
    submit_ok(w, "resources.ranks=8", first);
    clock_real.sleep_ms(&clock_real, 2);
    submit_ok(w, NULL, second);
    assert_int_equal(ask(w, "GET", job_path(second, "/why", path), NULL, &why), 200);
    assert_int_equal(json_i64_or(why, "ahead", -1), 1);
    assert_int_equal(json_i64_or(why, "needs", -1), 2);
    assert_int_equal(json_i64_or(why, "free", -1), 0);
    assert_non_null(strstr(json_text_or(why, "reason", ""), first));
}

/* ---- cancel ---- */

static void cancel_is_the_same_twice_and_refused_when_it_is_too_late(void **state)
{
    struct world *w = *state;
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

    submit_ok(w, NULL, id);
    assert_int_equal(ask(w, "POST", job_path(id, "/cancel", path), NULL, &once), 200);
    assert_string_equal(json_text_or(json_object_get(once, "job"), "state", ""), "cancelled");
    assert_string_equal(json_text_or(json_object_get(once, "job"), "reason", ""), "cancelled by ana");
    assert_int_equal(ask(w, "POST", path, NULL, &twice), 200);
    assert_string_equal(json_text_or(json_object_get(twice, "job"), "state", ""), "cancelled");
    submit_ok(w, NULL, id);
    make_running(w, id, false);
    assert_int_equal(ask(w, "POST", job_path(id, "/cancel", path), NULL, &running), 200);
    assert_string_equal(json_text_or(json_object_get(running, "job"), "state", ""), "stopping");
    assert_int_equal(ask(w, "POST", path, NULL, NULL), 200);
    assert_ok(moves_read(w->state, id, &j, NULL, &e));
    j.state = JOB_SUCCEEDED;
    assert_ok(moves_put(&m, tx, &j, &e));
    assert_ok(state_commit(w->state, tx, &e));
    assert_int_equal(ask(w, "POST", path, NULL, NULL), 409);
}

/* ---- logs ---- */

static void write_log(struct world *w, const char *id, const char *text)
{
    CLEANUP(freep) char *dir = launcher_dir(w->cluster->home, id, 1);
    CLEANUP(freep) char *path = mem_printf("%s/log", dir);
    struct err e = ERR_INIT;

    assert_ok(dir_make(dir, 0700, &e));
    assert_ok(file_write(path, text, strlen(text), 0600, &e));
}

static void assert_log(struct world *w, const char *id, const char *query, const char *want, int64_t next,
                       bool over)
{
    CLEANUP(reply_done) struct reply r = REPLY_INIT;
    char path[REQUEST_PATH_BYTES];

    assert_int_equal(ask_with(w, "GET", job_path(id, "/logs", path), query, NULL, 0, NULL, &r), 200);
    assert_true(r.is_log);
    assert_string_equal(buf_text(&r.text), want);
    assert_int_equal(r.next, next);
    assert_int_equal(r.over, over);
}

static void a_log_is_read_from_any_byte_until_it_is_over(void **state)
{
    struct world *w = *state;
    char id[JOB_ID_BYTES], path[REQUEST_PATH_BYTES];

    submit_ok(w, NULL, id);
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
    job_path(id, "/logs", path);
    assert_int_equal(ask(w, "GET", path, "attempt=2", NULL), 404);
    assert_int_equal(ask(w, "GET", path, "attempt=-1", NULL), 400);
    assert_int_equal(ask(w, "GET", path, "offset=-1", NULL), 400);
}

static void a_long_log_comes_in_pieces(void **state)
{
    struct world *w = *state;
    const size_t n = API_LOG_CHUNK_BYTES + 10;
    CLEANUP(freep) char *text = mem_new(n + 1);
    CLEANUP(reply_done) struct reply r = REPLY_INIT;
    char id[JOB_ID_BYTES], path[REQUEST_PATH_BYTES], query[64];

    memset(text, 'x', n);
    submit_ok(w, NULL, id);
    make_running(w, id, true);
    write_log(w, id, text);
    assert_int_equal(ask_with(w, "GET", job_path(id, "/logs", path), NULL, NULL, 0, NULL, &r), 200);
    assert_int_equal(r.text.len, API_LOG_CHUNK_BYTES);
    assert_false(r.over);
    snprintf(query, sizeof(query), "offset=%d", API_LOG_CHUNK_BYTES);
    assert_log(w, id, query, "xxxxxxxxxx", (int64_t)n, true);
}

static void a_link_is_no_log(void **state)
{
    struct world *w = *state;
    char id[JOB_ID_BYTES], path[REQUEST_PATH_BYTES];

    submit_ok(w, NULL, id);
    make_running(w, id, false);
    write_log(w, id, "");
    CLEANUP(freep) char *dir = launcher_dir(w->cluster->home, id, 1);
    CLEANUP(freep) char *log = mem_printf("%s/log", dir);
    assert_int_equal(unlink(log), 0);
    assert_int_equal(symlink("/etc/hostname", log), 0);
    assert_int_equal(ask(w, "GET", job_path(id, "/logs", path), NULL, NULL), 500);
}

/* ---- the cluster ---- */

static void queues_and_nodes_tell_what_is_in_use(void **state)
{
    struct world *w = *state;
    CLEANUP(json_donep) json_t *queues = NULL;
    CLEANUP(json_donep) json_t *nodes = NULL;
    char id[JOB_ID_BYTES];

    submit_ok(w, NULL, id);
    make_running(w, id, false);
    submit_ok(w, NULL, id);
    assert_int_equal(ask(w, "GET", "/v1/queues", NULL, &queues), 200);
    const json_t *q = json_array_get(json_object_get(queues, "queues"), 0);
    assert_string_equal(json_text_or(q, "name", ""), "default");
    assert_int_equal(json_i64_or(q, "slots_used", -1), 2);
    assert_int_equal(json_i64_or(q, "active", -1), 1);
    assert_int_equal(json_i64_or(q, "waiting", -1), 1);
    assert_int_equal(ask(w, "GET", "/v1/nodes", NULL, &nodes), 200);
    const json_t *n = json_array_get(json_object_get(nodes, "nodes"), 0);
    assert_int_equal(json_i64_or(n, "slots", -1), 8);
    assert_int_equal(json_i64_or(n, "slots_free", -1), 6);
}

/* ---- plans ---- */

static void the_plan_needs_the_dataset_as_it_was(void **state)
{
    struct world *w = *state;
    CLEANUP(buf_done) struct buf text = BUF_INIT(PLAN_TEXT_BYTES_MAX);
    CLEANUP(job_done) struct job j = { .result = NULL };
    char id[JOB_ID_BYTES], digest[65];
    struct err e = ERR_INIT;

    submit_ok(w, NULL, id);
    assert_ok(moves_read(w->state, id, &j, NULL, &e));
    assert_ok(planner_make(w->cluster, &j, &text, &e));
    assert_true(text.len > 10);
    assert_ok(home_stage(w->cluster, "set", digest, &e)); /* staged again: other versions, another manifest */
    assert_int_equal(planner_make(w->cluster, &j, &text, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.text, "has changed since the job was submitted"));
}

#define WITH(fn) cmocka_unit_test_setup_teardown(fn, open_world, close_world)

int main(void)
{
    static struct CMUnitTest tests[16 + ARRAY_LEN(refusals) + ARRAY_LEN(bodies)] = {
        WITH(a_job_is_taken_recorded_and_waits),
        WITH(the_same_key_gives_the_same_job),
        WITH(who_does_not_lead_takes_no_job),
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
    size_t n = 15;
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++)
        tests[n++] = (struct CMUnitTest){ refusals[i].name, refuses, NULL, NULL, (void *)&refusals[i] };
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++)
        tests[n++] = (struct CMUnitTest){ bodies[i].name, refuses_body, NULL, NULL, (void *)&bodies[i] };
    return _cmocka_run_group_tests("api", tests, n, NULL, NULL);
}
