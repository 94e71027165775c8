/* The threads around the core, in one process: the HTTP server, the planner, the audit. */
#include "base/mem.h"
#include "scheduler/audit.h"
#include "scheduler/listen.h"
#include "scheduler/planner.h"
#include "scheduler/serve.h"
#include "tests/fake/api_world.h"

#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

struct served {
    struct api_world *w;
    struct secret *token, *wrong;
    struct auth auth;
    struct serve *unix_server, *tcp_server;
    char unix_url[256], tcp_url[64];
};

static int serve_up(void **state)
{
    struct served *s = mem_new(sizeof(*s));
    void *world = NULL;
    uint16_t port;
    int fd;
    struct err e = ERR_INIT;

    assert_int_equal(api_world_open(&world), 0);
    s->w = world;
    s->token = secret_new("open sesame", 11);
    s->wrong = secret_new("open barley", 11);
    s->auth = (struct auth){ .uid = geteuid(), .token = s->token };
    snprintf(s->unix_url, sizeof(s->unix_url), "unix:%s/run/api.sock", s->w->home);
    assert_ok(listen_unix(s->unix_url + strlen("unix:"), &fd, &e));
    assert_ok(serve_start(&s->w->api, &s->auth, fd, false, &s->unix_server, &e));
    assert_ok(listen_tcp("127.0.0.1:0", &fd, &port, &e));
    snprintf(s->tcp_url, sizeof(s->tcp_url), "http://127.0.0.1:%u", (unsigned)port);
    assert_ok(serve_start(&s->w->api, &s->auth, fd, true, &s->tcp_server, &e));
    *state = s;
    return 0;
}

static void servers_stop(struct served *s)
{
    atomic_store(&s->w->api.stopping, true);
    serve_stop(s->unix_server);
    serve_stop(s->tcp_server);
    s->unix_server = s->tcp_server = NULL;
}

static int serve_down(void **state)
{
    struct served *s = *state;
    void *world = s->w;

    servers_stop(s);
    secret_free(s->token);
    secret_free(s->wrong);
    api_world_close(&world);
    free(s);
    return 0;
}

/* OK, or the error that the API answered with. */
static enum err_code get(const char *url, const struct secret *token, const char *target, json_t **out)
{
    CLEANUP(api_closep) struct api_client *c = NULL;
    CLEANUP(json_donep) json_t *answer = NULL;
    struct err e = ERR_INIT;

    if (api_open(url, token, &c, &e) || api_call(c, "GET", target, NULL, &answer, &e))
        return e.code;
    if (out)
        *out = TAKE(answer);
    return OK;
}

static void the_product_s_own_client_is_answered(void **state)
{
    struct served *s = *state;
    CLEANUP(json_donep) json_t *health = NULL;
    CLEANUP(json_donep) json_t *jobs = NULL;
    char id[JOB_ID_BYTES];

    api_submit_ok(s->w, NULL, id);
    assert_int_equal(get(s->unix_url, NULL, "/v1/health", &health), OK);
    assert_true(json_is_true(json_object_get(health, "leader")));
    assert_int_equal(get(s->tcp_url, s->token, "/v1/jobs?limit=5&state=queued", &jobs), OK);
    assert_string_equal(json_text_or(json_array_get(json_object_get(jobs, "jobs"), 0), "id", ""), id);
}

/* The text, as any HTTP client gets it: with its type, and a line for each program and kind. */
static void metrics_are_text(void **state)
{
    struct served *s = *state;
    CLEANUP(http_closep) struct http_client *c = NULL;
    CLEANUP(http_response_done) struct http_response r = HTTP_RESPONSE_INIT(1 << 20);
    const struct http_options o = { .origin = "http://scheduler",
                                    .unix_socket = s->unix_url + strlen("unix:") };
    struct err e = ERR_INIT;
    char type[64];

    atomic_store(&s->w->counts.refused[EGRESS_TRAINER][HTTP_REFUSED_ADDRESS], 3);
    s->w->api.counts = &s->w->counts;
    assert_ok(http_open(&o, &c, &e));
    assert_ok(http_do(c, &(struct http_request){ .method = "GET", .target = "/v1/metrics" }, &r, &e));
    assert_int_equal(r.status, 200);
    assert_non_null(http_header(&r, "content-type", type, sizeof(type)));
    assert_string_equal(type, "text/plain; version=0.0.4; charset=utf-8");
    assert_non_null(strstr(buf_text(&r.body), "\nsovrun_leader 1\n"));
    assert_non_null(
        strstr(buf_text(&r.body), "\nsovrun_egress_refused_total{program=\"trainer\",kind=\"address\"} 3\n"));
    assert_non_null(
        strstr(buf_text(&r.body), "\nsovrun_egress_refused_total{program=\"sovrun\",kind=\"client\"} 0\n"));
}

static void over_tcp_a_token_is_needed(void **state)
{
    struct served *s = *state;

    assert_int_equal(get(s->tcp_url, NULL, "/v1/health", NULL), ERR_DENIED);
    assert_int_equal(get(s->tcp_url, s->wrong, "/v1/health", NULL), ERR_DENIED);
    assert_int_equal(get(s->tcp_url, s->token, "/v1/health", NULL), OK);
}

static void a_job_of_the_socket_belongs_to_who_called(void **state)
{
    struct served *s = *state;
    CLEANUP(api_closep) struct api_client *c = NULL;
    CLEANUP(json_donep) json_t *answer = NULL;
    CLEANUP(json_donep)
    json_t *body = json_pack("{s:s}", "spec",
                             "name: n\nqueue: default\nmodel: { kind: mlp, hidden: [8] }\n"
                             "data: { train: s3://data/set, target: class, positive: bad }\n"
                             "resources: { ranks: 1 }\ntrain: { epochs: 1, batch: 16, leaves: 8 }\n"
                             "checkpoint: { to: s3://models/m, key: demo }\n");
    struct err e = ERR_INIT;
    char user[JOB_USER_BYTES];

    assert_ok(auth_uid(&s->auth, geteuid(), user, &e));
    assert_ok(api_open(s->unix_url, NULL, &c, &e));
    assert_ok(api_call(c, "POST", "/v1/jobs", body, &answer, &e));
    assert_string_equal(json_text_or(json_object_get(answer, "job"), "user", ""), user);
}

/* ---- many at once ---- */

enum { CALLERS = 6, CALLS = 8 };

struct caller {
    const struct served *s;
    char target[128];
    int answered;
    pthread_t thread;
};

static void *call_often(void *arg)
{
    struct caller *c = arg;

    for (int i = 0; i < CALLS; i++)
        c->answered += get(c->s->unix_url, NULL, i % 2 ? c->target : "/v1/nodes", NULL) == OK;
    return NULL;
}

static void *call_once(void *arg)
{
    struct caller *c = arg;

    c->answered = get(c->s->unix_url, NULL, c->target, NULL) == OK;
    return NULL;
}

static int64_t seen_of(const struct served *s, const char *id)
{
    CLEANUP(json_donep) json_t *shown = NULL;
    char target[128];

    snprintf(target, sizeof(target), "/v1/jobs/%s", id);
    assert_int_equal(get(s->unix_url, NULL, target, &shown), OK);
    return json_i64_or(shown, "seen", -1);
}

static void many_are_answered_while_one_waits_and_a_stop_answers_that_one(void **state)
{
    struct served *s = *state;
    struct caller callers[CALLERS], waiter = { .s = s };
    char id[JOB_ID_BYTES];

    api_submit_ok(s->w, NULL, id);
    snprintf(waiter.target, sizeof(waiter.target), "/v1/jobs/%s/watch?wait_ms=30000&seen=%" PRId64, id,
             seen_of(s, id));
    assert_int_equal(pthread_create(&waiter.thread, NULL, call_once, &waiter), 0);
    for (size_t i = 0; i < CALLERS; i++) {
        callers[i] = (struct caller){ .s = s };
        snprintf(callers[i].target, sizeof(callers[i].target), "/v1/jobs/%s/%s", id,
                 i % 2 ? "why" : "logs?wait_ms=0");
        if (i % 2 == 0)
            snprintf(callers[i].target, sizeof(callers[i].target), "/v1/jobs/%s", id);
        assert_int_equal(pthread_create(&callers[i].thread, NULL, call_often, &callers[i]), 0);
    }
    for (size_t i = 0; i < CALLERS; i++) {
        pthread_join(callers[i].thread, NULL);
        assert_int_equal(callers[i].answered, CALLS);
    }
    servers_stop(s);
    pthread_join(waiter.thread, NULL);
    assert_int_equal(waiter.answered, 1);
    assert_int_equal(get(s->unix_url, NULL, "/v1/health", NULL), ERR_RETRY); /* nobody is there any more */
}

/* ---- sockets ---- */

static void a_socket_that_is_in_use_is_not_taken_and_one_left_behind_is(void **state)
{
    struct served *s = *state;
    const char *path = s->unix_url + strlen("unix:");
    int fd = -1;
    struct err e = ERR_INIT;

    assert_int_equal(listen_unix(path, &fd, &e), ERR_CONFLICT);
    servers_stop(s);
    assert_ok(listen_unix(path, &fd, &e));
    close(fd);
}

static const struct address {
    const char *name, *text;
    enum err_code want;
} addresses[] = {
    { "loopback, any port", "127.0.0.1:0", OK },
    { "another loopback address", "127.1.2.3:0", OK },
    { "every address", "0.0.0.0:0", ERR_DENIED },
    { "another address", "10.0.0.1:80", ERR_DENIED },
    { "a name", "localhost:0", ERR_DENIED },
    { "no port", "127.0.0.1", ERR_USAGE },
    { "a port that is none", "127.0.0.1:x", ERR_USAGE },
    { "a port too large", "127.0.0.1:65536", ERR_USAGE },
    { "nothing", "", ERR_USAGE },
    { "a port alone", ":80", ERR_USAGE },
};

static void listens(void **state)
{
    const struct address *a = *state;
    uint16_t port = 0;
    int fd = -1;
    struct err e = ERR_INIT;

    assert_int_equal(listen_tcp(a->text, &fd, &port, &e), a->want);
    assert_int_equal(fd >= 0, a->want == OK);
    assert_int_equal(port != 0, a->want == OK);
    if (fd >= 0)
        close(fd);
}

/* ---- who is calling ---- */

static const struct caller_row {
    const char *name, *header;
    enum err_code want;
} headers[] = {
    { "the token", "Bearer open sesame", OK },
    { "the scheme in other letters", "bearer open sesame", OK },
    { "no header", NULL, ERR_DENIED },
    { "no token", "Bearer ", ERR_DENIED },
    { "another token", "Bearer open barley", ERR_DENIED },
    { "a part of it", "Bearer open sesam", ERR_DENIED },
    { "more than it", "Bearer open sesame!", ERR_DENIED },
    { "another scheme", "Basic open sesame", ERR_DENIED },
    { "the bare token", "open sesame", ERR_DENIED },
};

static void knows_bearer(void **state)
{
    const struct caller_row *r = *state;
    CLEANUP(secret_freep) struct secret *token = secret_new("open sesame", 11);
    const struct auth with = { .uid = 1, .token = token }, without = { .uid = 1 };
    char user[JOB_USER_BYTES] = "";
    struct err e = ERR_INIT;

    assert_int_equal(auth_bearer(&with, r->header, user, &e), r->want);
    assert_string_equal(user, r->want ? "" : "token");
    assert_int_equal(auth_bearer(&without, r->header, user, &e), ERR_DENIED);
    assert_null(strstr(e.text, "sesame"));
}

static void only_root_and_our_own_user_are_let_in(void **state)
{
    const struct auth a = { .uid = 12345 };
    char user[JOB_USER_BYTES] = "";
    struct err e = ERR_INIT;
    int pair[2];

    (void)state;
    assert_ok(auth_uid(&a, 0, user, &e));
    assert_string_equal(user, "root");
    assert_ok(auth_uid(&a, 12345, user, &e));
    assert_string_equal(user, "uid-12345");
    assert_int_equal(auth_uid(&a, 12346, user, &e), ERR_DENIED);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    const struct auth self = { .uid = geteuid() };
    assert_ok(auth_peer(&self, pair[0], user, &e));
    close(pair[0]);
    close(pair[1]);
    assert_int_equal(auth_peer(&self, -1, user, &e), ERR_DENIED);
}

/* ---- the planner's thread ---- */

static void wait_readable(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    assert_int_equal(poll(&p, 1, 20000), 1);
}

static void plans_come_in_the_order_in_which_they_were_asked_for(void **state)
{
    struct served *s = *state;
    CLEANUP(planner_freep) struct planner *p = planner_new(planner_make, s->w->cluster, true);
    struct err e = ERR_INIT;
    char id[3][JOB_ID_BYTES];

    for (int i = 0; i < 3; i++) {
        CLEANUP(job_done) struct job j = { .result = NULL };
        api_submit_ok(s->w, NULL, id[i]);
        assert_ok(moves_read(s->w->state, id[i], &j, NULL, &e));
        if (i == 1)
            memset(j.dataset_digest, '0', 64); /* another dataset than what is there */
        assert_ok(planner_ask(p, &j, &e));
    }
    for (int i = 0; i < 3; i++) {
        CLEANUP(planned_done) struct planned plan = { .job = "" };
        do
            wait_readable(planner_fd(p));
        while (!planner_collect(p, &plan));
        assert_string_equal(plan.job, id[i]);
        assert_int_equal(plan.error.code, i == 1 ? ERR_CORRUPT : OK);
        assert_int_equal(strlen(plan.digest), i == 1 ? 0 : 64);
    }
}

static void a_planner_may_be_ended_with_work_under_way(void **state)
{
    struct served *s = *state;
    struct planner *p = planner_new(planner_make, s->w->cluster, true);
    CLEANUP(job_done) struct job j = { .result = NULL };
    struct err e = ERR_INIT;
    char id[JOB_ID_BYTES];

    api_submit_ok(s->w, NULL, id);
    assert_ok(moves_read(s->w->state, id, &j, NULL, &e));
    for (int i = 0; i < PLANNER_ASKED_MAX; i++)
        assert_ok(planner_ask(p, &j, &e));
    planner_free(p);
}

/* ---- the audit's thread ---- */

static enum err_code count_entry(void *context, const char *id, const void *data, size_t n, struct err *e)
{
    (void)id, (void)data, (void)n, (void)e;
    ++*(int *)context;
    return OK;
}

static void the_audit_drains_the_outbox_before_it_ends(void **state)
{
    struct served *s = *state;
    struct audit_thread *audit = audit_start(s->w->cluster, &s->w->lead, &clock_real, NULL);
    int left = 0;
    struct err e = ERR_INIT;
    char id[JOB_ID_BYTES];

    for (int i = 0; i < 3; i++)
        api_submit_ok(s->w, NULL, id);
    audit_stop(audit);
    assert_ok(state_read(s->w->state, JOB_OUTBOX, NULL, 100, count_entry, &left, &e));
    assert_int_equal(left, 0);
    assert_ok(state_get(s->w->state, AUDIT_HEAD_KEY, NULL, NULL, &e));
}

#define WITH(fn) cmocka_unit_test_setup_teardown(fn, serve_up, serve_down)

int main(void)
{
    static struct CMUnitTest tests[10 + ARRAY_LEN(addresses) + ARRAY_LEN(headers)] = {
        WITH(the_product_s_own_client_is_answered),
        WITH(metrics_are_text),
        WITH(over_tcp_a_token_is_needed),
        WITH(a_job_of_the_socket_belongs_to_who_called),
        WITH(many_are_answered_while_one_waits_and_a_stop_answers_that_one),
        WITH(a_socket_that_is_in_use_is_not_taken_and_one_left_behind_is),
        WITH(plans_come_in_the_order_in_which_they_were_asked_for),
        WITH(a_planner_may_be_ended_with_work_under_way),
        WITH(the_audit_drains_the_outbox_before_it_ends),
        cmocka_unit_test(only_root_and_our_own_user_are_let_in),
    };
    size_t n = 10;
    for (size_t i = 0; i < ARRAY_LEN(addresses); i++)
        tests[n++] = (struct CMUnitTest){ addresses[i].name, listens, NULL, NULL, (void *)&addresses[i] };
    for (size_t i = 0; i < ARRAY_LEN(headers); i++)
        tests[n++] = (struct CMUnitTest){ headers[i].name, knows_bearer, NULL, NULL, (void *)&headers[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
