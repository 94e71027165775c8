/* Paths, methods, queries, errors: what of the API needs no job. */
#include "scheduler/routes.h"
#include "tests/scheduler.h"

#include <stdio.h>
#include <string.h>

static const struct row {
    const char *name, *method, *path;
    enum err_code want;
    route_fn *handle;
    const char *id;
} rows[] = {
    { "jobs are listed", "GET", "/v1/jobs", OK, route_list, "" },
    { "jobs are submitted to the same path", "POST", "/v1/jobs", OK, route_submit, "" },
    { "a job is shown", "GET", "/v1/jobs/261122-k3m9qz", OK, route_show, "261122-k3m9qz" },
    { "a job is watched", "GET", "/v1/jobs/x/watch", OK, route_watch, "x" },
    { "a job is cancelled", "POST", "/v1/jobs/x/cancel", OK, route_cancel, "x" },
    { "a job is explained", "GET", "/v1/jobs/x/why", OK, route_why, "x" },
    { "a job's log is read", "GET", "/v1/jobs/x/logs", OK, route_logs, "x" },
    { "the scheduler counts for others", "GET", "/v1/metrics", OK, route_metrics, "" },
    { "the scheduler says how it is", "GET", "/v1/health", OK, route_health, "" },
    { "queues are listed", "GET", "/v1/queues", OK, route_queues, "" },
    { "nodes are listed", "GET", "/v1/nodes", OK, route_nodes, "" },
    { "what stands for the id is taken as it is", "GET", "/v1/jobs/..%2f", OK, route_show, "..%2f" },
    { "an empty id is none", "GET", "/v1/jobs/", ERR_NOT_FOUND, NULL, NULL },
    { "an empty id before a verb is none", "GET", "/v1/jobs//why", ERR_NOT_FOUND, NULL, NULL },
    { "a slash at the end is another path", "GET", "/v1/health/", ERR_NOT_FOUND, NULL, NULL },
    { "a path too long is another path", "GET", "/v1/jobs/x/why/x", ERR_NOT_FOUND, NULL, NULL },
    { "a path too short is another path", "GET", "/v1", ERR_NOT_FOUND, NULL, NULL },
    { "no path is no path", "GET", "", ERR_NOT_FOUND, NULL, NULL },
    { "the root is no path", "GET", "/", ERR_NOT_FOUND, NULL, NULL },
    { "a longer word is another word", "GET", "/v1/healthy", ERR_NOT_FOUND, NULL, NULL },
    { "capitals are other letters", "GET", "/v1/Health", ERR_NOT_FOUND, NULL, NULL },
    { "a known path with another method", "POST", "/v1/health", ERR_USAGE, NULL, NULL },
    { "a job cannot be deleted", "DELETE", "/v1/jobs/x", ERR_USAGE, NULL, NULL },
    { "a cancel cannot be got", "GET", "/v1/jobs/x/cancel", ERR_USAGE, NULL, NULL },
};

static void matches(void **state)
{
    const struct row *r = *state;
    const struct route *route = NULL;
    char id[REQUEST_PATH_BYTES] = "";
    struct err e = ERR_INIT;

    assert_int_equal(routes_match(r->method, r->path, &route, id, &e), r->want);
    if (r->want) {
        assert_null(route);
        return;
    }
    assert_ptr_equal(route->handle, r->handle);
    assert_string_equal(id, r->id);
}

static void an_id_as_long_as_the_room_is_no_path(void **state)
{
    const struct route *route;
    char path[2 * REQUEST_PATH_BYTES] = "/v1/jobs/", id[REQUEST_PATH_BYTES];
    const size_t start = strlen(path);
    struct err e = ERR_INIT;
    (void)state;

    memset(path + start, 'x', REQUEST_PATH_BYTES - 1);
    assert_ok(routes_match("GET", path, &route, id, &e));
    assert_int_equal(strlen(id), REQUEST_PATH_BYTES - 1);
    memset(path + start, 'x', REQUEST_PATH_BYTES);
    assert_int_equal(routes_match("GET", path, &route, id, &e), ERR_NOT_FOUND);
}

/* ---- queries ---- */

static const struct number {
    const char *name, *value;
    enum err_code want;
    int64_t out;
} numbers[] = {
    { "a number in range", "7", OK, 7 },
    { "the least", "1", OK, 1 },
    { "the most", "1000", OK, 1000 },
    { "below the least", "0", ERR_USAGE, 0 },
    { "above the most", "1001", ERR_USAGE, 0 },
    { "a word", "many", ERR_USAGE, 0 },
    { "nothing", "", ERR_USAGE, 0 },
    { "a number and more", "7x", ERR_USAGE, 0 },
    { "not given: the default", NULL, OK, 100 },
};

static void reads_number(void **state)
{
    const struct number *n = *state;
    struct request q = { .query_count = n->value ? 1 : 0, .query = { { "limit", "" } } };
    struct err e = ERR_INIT;
    int64_t got = -5;

    if (n->value)
        snprintf(q.query[0].value, sizeof(q.query[0].value), "%s", n->value);
    assert_int_equal(request_i64(&q, "limit", 1, 1000, 100, &got, &e), n->want);
    assert_int_equal(got, n->want ? -5 : n->out);
    if (n->want)
        assert_non_null(strstr(e.text, "limit must be a number from 1 to 1000"));
}

/* ---- answers ---- */

static enum err_code no_state(void *context, struct state **out, struct err *e)
{
    (void)context, (void)out;
    return err_set(e, ERR_RETRY, "the state is away");
}

/* The status, and the error's code or "" for none. */
static int ask(const char *method, const char *path, char out_code[32])
{
    CLEANUP(cluster_freep) struct cluster *c = test_cluster("a:4", "default:0");
    CLEANUP(handles_freep) struct handles *h = handles_new(no_state, NULL);
    CLEANUP(reply_done) struct reply r = REPLY_INIT;
    CLEANUP(json_donep) json_t *doc = NULL;
    struct lead lead;
    struct api api = { .cluster = c, .clock = &clock_real, .lead = &lead, .handles = h, .started_ms = 5 };
    struct request q = { .method = method, .path = path };
    struct err e = ERR_INIT;

    lead_init(&lead, "test", 1000, &clock_real);
    routes_answer(&api, &q, &r);
    assert_ok(json_parse(r.text.data, r.text.len, "answer", &doc, &e));
    const json_t *error = json_object_get(doc, "error");
    snprintf(out_code, 32, "%s", json_text_or(error, "code", ""));
    if (!error) {
        assert_string_equal(json_text_or(doc, "cluster", ""), "test");
        assert_true(json_is_false(json_object_get(doc, "leader")));
        assert_int_equal(json_i64_or(doc, "since_ms", 0), 5);
        assert_string_equal(json_text_or(doc, "version", ""), API_VERSION);
    }
    return r.status;
}

static const struct answer {
    const char *name, *method, *path;
    int status;
    const char *code;
} answers[] = {
    { "health is answered without a state", "GET", "/v1/health", 200, "" },
    { "a job without a state: 503", "GET", "/v1/jobs/x", 503, "retry" },
    { "an unknown path: 404", "GET", "/v2/jobs", 404, "not_found" },
    { "another method: 405", "PUT", "/v1/jobs", 405, "usage" },
};

static void answers_with(void **state)
{
    const struct answer *a = *state;
    char code[32];

    assert_int_equal(ask(a->method, a->path, code), a->status);
    assert_string_equal(code, a->code);
}

int main(void)
{
    static struct CMUnitTest tests[ARRAY_LEN(rows) + ARRAY_LEN(numbers) + ARRAY_LEN(answers) + 1] = {
        cmocka_unit_test(an_id_as_long_as_the_room_is_no_path),
    };
    size_t n = 1;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        tests[n++] = (struct CMUnitTest){ rows[i].name, matches, NULL, NULL, (void *)&rows[i] };
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        tests[n++] = (struct CMUnitTest){ numbers[i].name, reads_number, NULL, NULL, (void *)&numbers[i] };
    for (size_t i = 0; i < ARRAY_LEN(answers); i++)
        tests[n++] = (struct CMUnitTest){ answers[i].name, answers_with, NULL, NULL, (void *)&answers[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
