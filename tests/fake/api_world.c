#include "tests/fake/api_world.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

static enum err_code open_state(void *context, struct state **out, struct err *e)
{
    const struct state_config config = { .address = "mem:api", .cluster = "embedded" };
    (void)context;
    return state_open(&config, NULL, out, e);
}

int api_world_open(void **out)
{
    struct api_world *w = mem_new(sizeof(*w));
    enum lead_news news;
    struct err e = ERR_INIT;

    w->home = home_make("test-api");
    assert_ok(cluster_load(w->home, NULL, &w->cluster, &e));
    snprintf(w->cluster->state.address, sizeof(w->cluster->state.address),
             "mem:api"); /* for who opens it by itself */
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

int api_world_close(void **state)
{
    struct api_world *w = *state;

    handles_free(w->handles);
    state_close(w->state);
    cluster_free(w->cluster);
    home_remove(w->home);
    free(w);
    return 0;
}

/* ---- asking ---- */

/* The answer's status; its JSON where it is some. */
int api_ask_with(struct api_world *w, const char *method, const char *path, const char *query,
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

int api_ask(struct api_world *w, const char *method, const char *path, const char *query, json_t **out)
{
    return api_ask_with(w, method, path, query, NULL, 0, out, NULL);
}

const char api_spec[] = "name: nightly\nqueue: default\nmodel: { kind: mlp, hidden: [8] }\n"
                        "data: { train: s3://data/set, holdout: 0.2, target: class, positive: bad }\n"
                        "resources: { ranks: 2 }\ntrain: { epochs: 1, batch: 16, leaves: 8 }\n"
                        "checkpoint: { to: s3://models/m, key: demo }\n";

/* `set` and `key` may be NULL. */
int api_submit(struct api_world *w, const char *set, const char *key, json_t **out)
{
    CLEANUP(json_donep) json_t *body = json_pack("{s:s,s:s}", "file", "job.yaml", "spec", api_spec);
    CLEANUP(buf_done) struct buf text = BUF_INIT(65536);
    struct err e = ERR_INIT;

    if (set)
        json_object_set_new(body, "set", json_pack("[s]", set));
    if (key)
        json_object_set_new(body, "key", json_string(key));
    assert_ok(json_canonical(body, &text, &e));
    return api_ask_with(w, "POST", "/v1/jobs", NULL, text.data, text.len, out, NULL);
}

void api_submit_ok(struct api_world *w, const char *set, char out_id[JOB_ID_BYTES])
{
    CLEANUP(json_donep) json_t *answer = NULL;

    if (api_submit(w, set, NULL, &answer) != 201)
        fail_msg("submit: %s", json_text_or(json_object_get(answer, "error"), "text", ""));
    snprintf(out_id, JOB_ID_BYTES, "%s", json_text_or(json_object_get(answer, "job"), "id", ""));
    assert_true(job_id_is_valid(out_id));
}

const char *api_job_path(const char *id, const char *verb, char out[REQUEST_PATH_BYTES])
{
    snprintf(out, REQUEST_PATH_BYTES, "/v1/jobs/%s%s", id, verb);
    return out;
}

/* ---- events ---- */

static enum err_code take_last(void *context, const char *id, const void *data, size_t n, struct err *e)
{
    struct api_last *l = context;
    CLEANUP(json_donep) json_t *doc = NULL;

    (void)id;
    assert_int_equal(json_parse(data, n, "event", &doc, e), OK);
    snprintf(l->event, sizeof(l->event), "%s", json_text_or(doc, "event", ""));
    snprintf(l->job, sizeof(l->job), "%s", json_text_or(doc, "job", ""));
    snprintf(l->actor, sizeof(l->actor), "%s", json_text_or(doc, "actor", ""));
    snprintf(l->rule, sizeof(l->rule), "%s", json_text_or(json_object_get(doc, "data"), "rule", ""));
    return OK;
}

struct api_last api_last_event(struct api_world *w)
{
    struct api_last l = { .event = "" };
    struct err e = ERR_INIT;

    assert_ok(state_read(w->state, JOB_OUTBOX, NULL, 10000, take_last, &l, &e));
    return l;
}
