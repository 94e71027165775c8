/* /v1/exports: what the policy lets out, by whom; and that the ledger has it before anybody is told yes. */
#include "tests/fake/api_world.h"

#include "base/mem.h"
#include "core/artifact/artifact.h"

#include <stdio.h>
#include <string.h>

#define JOB "261122-k3m9qz"

/* A signed model of one part in the models bucket; its manifest's URI. */
static void commit_model(struct api_world *w, enum artifact_kind kind, char out_uri[STORE_KEY_BYTES])
{
    CLEANUP(artifact_done)
    struct artifact a = { .kind = kind, .step = 120, .attempt = 2, .token = 7, .created_ms = 1 };
    CLEANUP(store_closep) struct store *store = NULL;
    CLEANUP(secret_freep) struct secret *key = secret_random(DATA_KEY_BYTES);
    CLEANUP(signer_done) struct signer signer = { 0 };
    const struct store_lock none = { .mode = STORE_LOCK_NONE };
    struct err e = ERR_INIT;

    snprintf(a.cluster, sizeof(a.cluster), "%s", w->cluster->name);
    snprintf(a.region, sizeof(a.region), "%s", w->cluster->region);
    snprintf(a.job, sizeof(a.job), JOB);
    snprintf(a.bucket, sizeof(a.bucket), "models");
    snprintf(a.prefix, sizeof(a.prefix), "credit");
    snprintf(a.wrapped_key, sizeof(a.wrapped_key), "{}");
    memset(a.dataset_digest, 'a', 64);
    memset(a.spec_digest, 'b', 64);
    a.part_count = 1;
    a.parts = mem_array(1, sizeof(*a.parts));
    a.meta = json_object();
    assert_ok(cluster_open_store(w->cluster, "models", &store, &e));
    assert_ok(cluster_signer(w->cluster, &signer, &e));
    assert_ok(artifact_put_part(store, key, &a, 0, "weights", 7, &none, &a.parts[0], &e));
    assert_ok(artifact_commit(store, &signer, &a, &none, &e));
    snprintf(out_uri, STORE_KEY_BYTES, "s3://models/%.900s", a.manifest_key);
}

static int ask_for(struct api_world *w, const char *uri, json_t **out)
{
    CLEANUP(json_donep) json_t *body = json_pack("{s:s}", "manifest", uri);
    CLEANUP(buf_done) struct buf text = BUF_INIT(65536);
    struct err e = ERR_INIT;
    assert_ok(json_canonical(body, &text, &e));
    return api_ask_with(w, "POST", "/v1/exports", NULL, text.data, text.len, out, NULL);
}

static const char *said(const json_t *answer)
{
    return json_text_or(json_object_get(answer, "error"), "text", "");
}

static void assert_last_event(struct api_world *w, const char *event)
{
    const struct api_last l = api_last_event(w);
    assert_string_equal(l.event, event);
    assert_string_equal(l.job, JOB);
    assert_string_equal(l.actor, "user:ana");
    assert_string_equal(l.rule, "export");
}

static void what_a_row_lets_out_is_recorded_and_allowed(void **state)
{
    struct api_world *w = *state;
    CLEANUP(json_donep) json_t *answer = NULL;
    char uri[STORE_KEY_BYTES];

    commit_model(w, ARTIFACT_MODEL, uri);
    assert_int_equal(ask_for(w, uri, &answer), 200); /* the embedded policy lets its admins */
    const json_t *export = json_object_get(answer, "export");
    assert_string_equal(json_text_or(answer, "job", ""), JOB);
    assert_string_equal(json_text_or(export, "artifact", ""), "model");
    assert_string_equal(json_text_or(export, "manifest", ""), uri);
    assert_string_equal(json_text_or(export, "to", ""), "outside");
    assert_string_equal(json_text_or(export, "role", ""), "admin");
    assert_int_equal(strlen(json_text_or(export, "sha256", "")), 64);
    assert_int_equal(json_i64_or(export, "step", 0), 120);
    assert_last_event(w, "export.allowed");
}

static void a_checkpoints_model_is_a_model(void **state)
{
    struct api_world *w = *state;
    CLEANUP(json_donep) json_t *answer = NULL;
    char uri[STORE_KEY_BYTES];

    commit_model(w, ARTIFACT_CHECKPOINT, uri);
    assert_int_equal(ask_for(w, uri, &answer), 200);
    assert_string_equal(json_text_or(json_object_get(answer, "export"), "artifact", ""), "checkpoint");
    assert_string_equal(json_text_or(json_object_get(answer, "export"), "kind", ""), "model");
    w->cluster->policy.export_count = 0;
    assert_int_equal(ask_for(w, uri, NULL), 403);
}

static void without_a_row_nobody_takes_anything(void **state)
{
    struct api_world *w = *state;
    CLEANUP(json_donep) json_t *answer = NULL;
    char uri[STORE_KEY_BYTES];

    commit_model(w, ARTIFACT_MODEL, uri);
    w->cluster->policy.export_count = 0;
    assert_int_equal(ask_for(w, uri, &answer), 403);
    assert_non_null(strstr(said(answer), "denied by policy rule export: policy.yaml: exports: no row"));
    assert_non_null(strstr(said(answer), "{ who: [ana], kinds: [model], to: [outside] } would"));
    assert_last_event(w, "export.refused");
}

static void who_asks_decides(void **state)
{
    struct api_world *w = *state;
    CLEANUP(json_donep) json_t *role = NULL;
    struct policy_export *row = &w->cluster->policy.exports[0];
    char uri[STORE_KEY_BYTES], place[64];

    commit_model(w, ARTIFACT_MODEL, uri);
    w->cluster->roles.admin_count = 1; /* so ana is an engineer, and the row is for admins */
    snprintf(w->cluster->roles.admin[0], CLUSTER_USER_BYTES, "eva");
    assert_int_equal(ask_for(w, uri, &role), 403);
    snprintf(place, sizeof(place), "policy.yaml:%d: exports", (int)row->line);
    assert_true(row->line > 0);
    assert_non_null(strstr(said(role), place));
    assert_non_null(strstr(said(role), "'ana' (role engineer)"));
    assert_last_event(w, "export.refused");

    snprintf(row->who[0], POLICY_NAME_BYTES, "bob");
    assert_int_equal(ask_for(w, uri, NULL), 403);
    snprintf(row->who[0], POLICY_NAME_BYTES, "ana");
    assert_int_equal(ask_for(w, uri, NULL), 200);
    assert_last_event(w, "export.allowed");
    row->kinds[0] = EXPORT_METRICS;
    assert_int_equal(ask_for(w, uri, NULL), 403);
    row->kinds[0] = EXPORT_MODEL;
    snprintf(row->to[0], POLICY_NAME_BYTES, "here"); /* a region: a file lies in none */
    assert_int_equal(ask_for(w, uri, NULL), 403);
}

static void what_cannot_be_recorded_is_not_allowed(void **state)
{
    struct api_world *w = *state;
    struct lead nobody = { 0 };
    char uri[STORE_KEY_BYTES];

    commit_model(w, ARTIFACT_MODEL, uri);
    lead_init(&nobody, "another", 600000, &clock_real);
    w->api.lead = &nobody;
    assert_int_equal(ask_for(w, uri, NULL), 503);
    w->cluster->policy.export_count = 0;
    assert_int_equal(ask_for(w, uri, NULL), 403); /* and a refusal is one all the same */
    assert_string_equal(api_last_event(w).event, "");
}

static void only_a_signed_manifest_of_ours_is_spoken_of(void **state)
{
    struct api_world *w = *state;
    CLEANUP(store_closep) struct store *store = NULL;
    struct err e = ERR_INIT;
    char uri[STORE_KEY_BYTES];

    commit_model(w, ARTIFACT_MODEL, uri);
    assert_int_equal(ask_for(w, "credit", NULL), 400);
    assert_int_equal(ask_for(w, "s3://models/credit/notes.txt", NULL), 400);
    assert_int_equal(ask_for(w, "s3://elsewhere/c/" JOB "/model/000000000120-0002-0000000000007.json", NULL),
                     403);
    assert_int_equal(ask_for(w, "s3://models/x/" JOB "/model/000000000120-0002-0000000000007.json", NULL),
                     404);
    assert_int_equal(api_ask_with(w, "POST", "/v1/exports", NULL, "{\"to\":\"here\"}", 13, NULL, NULL), 400);
    assert_ok(cluster_open_store(w->cluster, "models", &store, &e));
    assert_ok(store_put(store, uri + strlen("s3://models/"), "{}", 2, NULL, NULL, &e));
    assert_true(ask_for(w, uri, NULL) >= 500);
    assert_string_equal(api_last_event(w).event, "");
}

#define ROW(fn)                                                                                              \
    {                                                                                                        \
#fn, fn, api_world_open, api_world_close, NULL                                                       \
    }
int main(void)
{
    static const struct CMUnitTest tests[] = {
        ROW(what_a_row_lets_out_is_recorded_and_allowed), ROW(a_checkpoints_model_is_a_model),
        ROW(without_a_row_nobody_takes_anything),         ROW(who_asks_decides),
        ROW(what_cannot_be_recorded_is_not_allowed),      ROW(only_a_signed_manifest_of_ours_is_spoken_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
