/*
 * The stores of a cluster: where a bucket is, how it is reached, and under which credentials.
 */
#include "tests/unit/cluster_scene.h"

#define S3                                                                                                   \
    "stores:\n  - { kind: s3, endpoint: \"https://s3\", credentials_file: s3.yaml, path_style: true, "       \
    "buckets: [data, evidence] }\n"

static struct cluster *load(const char *home, const char *text)
{
    struct cluster *c = NULL;
    struct err e = ERR_INIT;
    write_home(home, text);
    assert_ok(cluster_load(home, NULL, &c, &e));
    return c;
}

static void a_bucket_of_nobody_is_denied(void **state)
{
    CLEANUP(cluster_freep) struct cluster *c = load(*state, HEAD STORES NODES);
    CLEANUP(store_closep) struct store *s = NULL;
    struct store_place place;
    struct err e = ERR_INIT;
    assert_int_equal(cluster_place(c, "other", &place, &e), ERR_DENIED);
    assert_string_equal(e.text, "bucket 'other' belongs to none of the cluster's stores");
    assert_int_equal(cluster_open_store(c, "other", &s, &e), ERR_DENIED);
}

static void a_place_says_all_that_a_rank_needs(void **state)
{
    CLEANUP(cluster_freep) struct cluster *c = load(*state, HEAD S3 NODES);
    struct store_place place;
    struct err e = ERR_INIT;
    assert_ok(cluster_place(c, "evidence", &place, &e));
    assert_int_equal(place.kind, STORE_S3);
    assert_string_equal(place.bucket, "evidence");
    assert_string_equal(place.endpoint, "https://s3");
    assert_string_equal(place.region, "eu-1");
    assert_true(place.path_style);
}

static void credentials_come_from_their_file(void **state)
{
    CLEANUP(cluster_freep) struct cluster *c = load(*state, HEAD S3 NODES);
    CLEANUP(store_session_done) struct store_session k = { .access_key = NULL };
    struct err e = ERR_INIT;
    write_text(*state, "s3.yaml", "access_key: AKIA\nsecret_key: \"s/e+c\"\n", 0600);
    assert_ok(cluster_credentials(c, "data", &k, &e));
    assert_string_equal(secret_bytes(k.access_key), "AKIA");
    assert_string_equal(secret_bytes(k.secret_key), "s/e+c");
    assert_null(k.session_token);
}

static void temporary_credentials_say_when_they_end(void **state)
{
    CLEANUP(cluster_freep) struct cluster *c = load(*state, HEAD S3 NODES);
    CLEANUP(store_session_done) struct store_session k = { .access_key = NULL };
    struct err e = ERR_INIT;
    write_text(*state, "s3.yaml",
               "access_key: AKIA\nsecret_key: s\nsession_token: t\nexpires: 2026-11-22T14:12:30Z\n", 0600);
    assert_ok(cluster_credentials(c, "data", &k, &e));
    assert_string_equal(secret_bytes(k.session_token), "t");
    assert_int_equal(k.expires_ms, 1795356750000);
    store_session_done(&k);
    write_text(*state, "s3.yaml", "access_key: AKIA\nsecret_key: s\nexpires: tomorrow\n", 0600);
    assert_int_equal(cluster_credentials(c, "data", &k, &e), ERR_USAGE);
}

static void a_place_says_how_to_put(void **state)
{
    CLEANUP(cluster_freep) struct cluster *c = NULL;
    struct store_place place;
    struct err e = ERR_INIT;
    write_home(
        *state,
        HEAD "stores: [{ kind: s3, endpoint: \"https://s3\", credentials_file: c, buckets: [data, evidence], "
             "payload: chunks, sse: kms, sse_key: \"arn:aws:kms:eu-1:1:key/k\", sse_context: [b=2, a=x=y] "
             "}]\n" NODES);
    write_text(*state, "policy.yaml",
               POLICY(REMOTE) "keys: { providers: [file], arns: [\"arn:aws:kms:eu-1:1:key/*\"] }\n", 0600);
    assert_ok(cluster_load(*state, NULL, &c, &e));
    assert_ok(cluster_place(c, "data", &place, &e));
    assert_int_equal(place.payload, STORE_PAYLOAD_CHUNKS);
    assert_int_equal(place.sse, STORE_SSE_KMS);
    assert_string_equal(place.sse_key, "arn:aws:kms:eu-1:1:key/k");
    assert_string_equal(place.sse_context, "{\"a\":\"x=y\",\"b\":\"2\"}");
}

static void credentials_that_others_can_read_are_denied(void **state)
{
    CLEANUP(cluster_freep) struct cluster *c = load(*state, HEAD S3 NODES);
    CLEANUP(store_session_done) struct store_session k = { .access_key = NULL };
    struct err e = ERR_INIT;
    write_text(*state, "s3.yaml", "access_key: AKIA\nsecret_key: topsecret\n", 0644);
    assert_int_equal(cluster_credentials(c, "data", &k, &e), ERR_DENIED);
    assert_null(strstr(e.text, "topsecret"));
}

static void bad_credentials_are_refused_and_not_quoted(void **state)
{
    static const char *const texts[] = {
        "topsecret",
        "access_key: AKIA\nsecret_key: [topsecret]\n",
        "access_key: AKIA\nsecret_key: {a: topsecret}\n",
        "access_key: AKIA\ntopsecret: x\n",
        "access_key: AKIA\nsecret_key: \"topsecret\n",
        "access_key: AKIA\nsecret_key: *topsecret\n",
        "access_key: topsecret\n",
    };
    CLEANUP(cluster_freep) struct cluster *c = load(*state, HEAD S3 NODES);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        CLEANUP(store_session_done) struct store_session k = { .access_key = NULL };
        struct err e = ERR_INIT;
        write_text(*state, "s3.yaml", texts[i], 0600);
        assert_int_equal(cluster_credentials(c, "data", &k, &e), ERR_USAGE);
        assert_null(strstr(e.text, "topsecret"));
        assert_non_null(strstr(e.text, "must be YAML with access_key, secret_key"));
    }
}

/* What the policy says of an endpoint travels with the place to every rank. */
static void a_place_carries_its_guard(void **state)
{
    CLEANUP(cluster_freep) struct cluster *c = NULL;
    struct store_place place;
    struct err e = ERR_INIT;
    write_home(
        *state,
        HEAD "stores: [{ kind: s3, endpoint: \"https://s3\", credentials_file: c, buckets: [data, evidence] "
             "}]\n" NODES);
    assert_ok(cluster_load(*state, NULL, &c, &e));
    assert_ok(cluster_place(c, "data", &place, &e));
    assert_int_equal(place.guard.range_count, 1);
    assert_true(http_guard_allows_text(&place.guard, "10.1.2.3"));
    assert_false(http_guard_allows_text(&place.guard, "10.2.0.1"));
    assert_false(http_guard_allows_text(&place.guard, "127.0.0.1"));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        WITH_FOLDER(a_bucket_of_nobody_is_denied),
        WITH_FOLDER(a_place_says_all_that_a_rank_needs),
        WITH_FOLDER(credentials_come_from_their_file),
        WITH_FOLDER(temporary_credentials_say_when_they_end),
        WITH_FOLDER(a_place_says_how_to_put),
        WITH_FOLDER(credentials_that_others_can_read_are_denied),
        WITH_FOLDER(bad_credentials_are_refused_and_not_quoted),
        WITH_FOLDER(a_place_carries_its_guard),
    };
    return cmocka_run_group_tests_name("cluster store", tests, NULL, NULL);
}
