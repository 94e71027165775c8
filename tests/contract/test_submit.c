/* Submit: what is taken, what it leaves, and everything that is refused before anything is stored. */
#include "scheduler/submit.h"
#include "tests/fake/api_world.h"
#include "tests/fake/state_fault.h"

#include <stdio.h>
#include <string.h>

/* ---- submit ---- */

static void a_job_is_taken_recorded_and_waits(void **state)
{
    struct api_world *w = *state;
    CLEANUP(json_donep) json_t *answer = NULL;
    const struct api_last before = api_last_event(w);
    struct api_last l;
    (void)before;

    assert_int_equal(api_submit(w, "train.lr=0.25", NULL, &answer), 201);
    const json_t *j = json_object_get(answer, "job");
    assert_string_equal(json_text_or(j, "state", ""), "queued");
    assert_string_equal(json_text_or(j, "user", ""), "ana");
    assert_string_equal(json_text_or(j, "dataset_digest", ""), w->dataset_digest);
    assert_int_equal(json_i64_or(j, "slots", 0), 2);
    assert_string_equal(json_text_or(json_object_get(json_object_get(j, "spec"), "train"), "lr", ""), "0.25");
    l = api_last_event(w);
    assert_string_equal(l.event, "job.submitted");
    assert_string_equal(l.job, json_text_or(j, "id", "?"));
    assert_string_equal(l.actor, "user:ana");
}

static void the_same_key_gives_the_same_job(void **state)
{
    struct api_world *w = *state;
    CLEANUP(json_donep) json_t *first = NULL;
    CLEANUP(json_donep) json_t *again = NULL;
    CLEANUP(json_donep) json_t *other = NULL;
    int64_t before, after;
    struct err e = ERR_INIT;

    assert_int_equal(api_submit(w, NULL, "nightly-1", &first), 201);
    assert_ok(state_count(w->state, JOB_SET_ALL, &before, &e));
    assert_int_equal(api_submit(w, NULL, "nightly-1", &again), 201);
    assert_ok(state_count(w->state, JOB_SET_ALL, &after, &e));
    assert_int_equal(before, after);
    assert_string_equal(json_text_or(json_object_get(first, "job"), "id", "a"),
                        json_text_or(json_object_get(again, "job"), "id", "b"));
    assert_int_equal(api_submit(w, NULL, "nightly-2", &other), 201);
    assert_string_not_equal(json_text_or(json_object_get(first, "job"), "id", "a"),
                            json_text_or(json_object_get(other, "job"), "id", "a"));
}

struct twin {
    struct api_world *w;
    char id[JOB_ID_BYTES];
};

static void twin_is_faster(void *context)
{
    struct twin *t = context;
    CLEANUP(json_donep) json_t *answer = NULL;

    assert_int_equal(api_submit(t->w, NULL, "twin", &answer), 201);
    snprintf(t->id, sizeof(t->id), "%s", json_text_or(json_object_get(answer, "job"), "id", ""));
}

static void of_two_with_one_key_at_once_one_makes_the_job(void **state)
{
    struct twin twin = { .w = *state };
    struct api_world *w = *state;
    CLEANUP(job_done) struct job j = { .result = NULL };
    struct state_fault slow;
    const struct moves m = {
        .state = &slow.base, .cluster = w->cluster, .clock = &clock_real, .lead = &w->lead
    };
    const struct submission s = { .file = "job.yaml", .spec = api_spec, .key = "twin" };
    int64_t jobs = 0;
    struct err e = ERR_INIT;

    state_fault_init(&slow, w->state);
    slow.before_commit = twin_is_faster;
    slow.context = &twin;
    assert_ok(submit_job(&m, &s, "ana", &j, &e));
    assert_string_equal(j.id, twin.id);
    assert_ok(state_count(w->state, JOB_SET_ALL, &jobs, &e));
    assert_int_equal(jobs, 1);
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

    assert_int_equal(api_world_open(&world), 0);
    struct api_world *w = world;
    int64_t jobs = -1;
    struct err e = ERR_INIT;
    assert_int_equal(api_submit(w, r->set, NULL, &answer), r->status);
    const char *text = json_text_or(json_object_get(answer, "error"), "text", "");
    if (!strstr(text, r->text))
        fail_msg("'%s' is not in '%s'", r->text, text);
    assert_ok(state_count(w->state, JOB_SET_ALL, &jobs, &e));
    assert_int_equal(jobs, r->status == 201);
    const struct api_last l = api_last_event(w);
    if (r->status == 403) {
        assert_string_equal(l.event, "job.refused");
        assert_true(l.rule[0]);
    } else {
        assert_string_equal(l.event, r->status == 201 ? "job.submitted" : "");
    }
    api_world_close(&world);
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

    assert_int_equal(api_world_open(&world), 0);
    assert_int_equal(api_ask_with(world, "POST", "/v1/jobs", NULL, b->text, strlen(b->text), &answer, NULL),
                     400);
    const char *text = json_text_or(json_object_get(answer, "error"), "text", "");
    assert_string_equal(json_text_or(json_object_get(answer, "error"), "code", ""), "usage");
    if (!strstr(text, b->want))
        fail_msg("'%s' is not in '%s'", b->want, text);
    api_world_close(&world);
}

static void who_does_not_lead_takes_no_job(void **state)
{
    struct api_world *w = *state;
    CLEANUP(json_donep) json_t *answer = NULL;

    lead_release(&w->lead, w->state);
    assert_int_equal(api_submit(w, NULL, NULL, &answer), 503);
    assert_non_null(strstr(json_text_or(json_object_get(answer, "error"), "text", ""), "does not lead"));
}

#define WITH(fn) cmocka_unit_test_setup_teardown(fn, api_world_open, api_world_close)

int main(void)
{
    static struct CMUnitTest tests[4 + ARRAY_LEN(refusals) + ARRAY_LEN(bodies)] = {
        WITH(a_job_is_taken_recorded_and_waits),
        WITH(the_same_key_gives_the_same_job),
        WITH(of_two_with_one_key_at_once_one_makes_the_job),
        WITH(who_does_not_lead_takes_no_job),
    };
    size_t n = 4;
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++)
        tests[n++] = (struct CMUnitTest){ refusals[i].name, refuses, NULL, NULL, (void *)&refusals[i] };
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++)
        tests[n++] = (struct CMUnitTest){ bodies[i].name, refuses_body, NULL, NULL, (void *)&bodies[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
