/* The notes that say how a data key is wrapped now: whose they are, which counts, and what a bad one does. */
#include "core/artifact/rewrap.h"
#include "tests/fake/small_job.h"

#include "core/crypto/dsse.h"

#include <stdio.h>
#include <string.h>

struct setup {
    struct small_job *job;
    struct artifact a; /* a checkpoint, as it was read back */
    struct artifact_trust trust;
};

static int begin(void **state)
{
    struct setup *s = calloc(1, sizeof(*s));
    struct err e = ERR_INIT;
    char key[STORE_KEY_BYTES];
    json_t *meta = json_object();
    s->job = small_job_new();
    s->trust.count = 1;
    memcpy(s->trust.public_key[0], s->job->signer.public_key, SIGN_PUBLIC_BYTES);
    small_job_train(s->job, 1, 1);
    enum err_code code = small_job_save(s->job, 1, meta, key, &e);
    json_decref(meta);
    if (code || artifact_load(s->job->store, key, &s->trust, &s->a, &e))
        return -1;
    *state = s;
    return 0;
}

static int end(void **state)
{
    struct setup *s = *state;
    struct err ignored = ERR_INIT;
    artifact_done(&s->a);
    for (int64_t version = 2; version < 6; version++)
        IGNORE(keys_destroy(s->job->keys, "demo", version, &ignored));
    small_job_free(s->job);
    free(s);
    return 0;
}

static enum err_code opens(struct setup *s, struct err *e)
{
    CLEANUP(secret_freep) struct secret *key = NULL;
    if (artifact_unwrap(s->job->store, s->job->keys, &s->trust, &s->a, &key, e))
        return e->code;
    assert_true(secret_equal(key, s->job->doc.data_key));
    return OK;
}

static bool rewrap(struct setup *s, const char *name)
{
    struct err e = ERR_INIT;
    bool done = false;
    assert_ok(
        artifact_rewrap(s->job->store, s->job->keys, &s->job->signer, &s->trust, &s->a, name, &done, &e));
    return done;
}

static void note_key(const struct setup *s, int number, char out[STORE_KEY_BYTES])
{
    snprintf(out, STORE_KEY_BYTES, "%.*s.rewrapped-%04d", (int)(strlen(s->a.manifest_key) - strlen(".json")),
             s->a.manifest_key, number);
}

static void under_the_newest_version_there_is_nothing_to_do(void **state)
{
    struct setup *s = *state;
    struct err e = ERR_INIT;
    assert_false(rewrap(s, "demo"));
    assert_false(rewrap(s, "other"));
    assert_ok(opens(s, &e));
}

static void a_new_version_takes_over_and_the_old_may_go(void **state)
{
    struct setup *s = *state;
    struct err e = ERR_INIT;
    for (int64_t version = 2; version <= 4; version++) {
        assert_ok(keys_create(s->job->keys, "demo", &e));
        assert_true(rewrap(s, "demo"));
        assert_false(rewrap(s, "demo")); /* once more changes nothing */
        assert_ok(keys_destroy(s->job->keys, "demo", version - 1, &e));
        assert_ok(opens(s, &e));
    }
    assert_ok(keys_destroy(s->job->keys, "demo", 4, &e));
    assert_int_equal(opens(s, &e), ERR_NOT_FOUND);
}

static void a_note_that_does_not_verify_is_passed_over(void **state)
{
    struct setup *s = *state;
    struct err e = ERR_INIT;
    char key[STORE_KEY_BYTES];
    assert_ok(keys_create(s->job->keys, "demo", &e));
    assert_true(rewrap(s, "demo"));
    note_key(s, 2, key);
    assert_ok(store_put(s->job->store, key, "no envelope", 11, NULL, NULL, &e));
    assert_ok(opens(s, &e));
    assert_ok(keys_destroy(s->job->keys, "demo", 1, &e));
    assert_ok(opens(s, &e)); /* by note 1 */
}

/* Signed by us, and yet of another place. */
static void a_note_of_another_artifact_is_none(void **state)
{
    struct setup *s = *state;
    struct err e = ERR_INIT;
    char key[STORE_KEY_BYTES], text[KEYS_WRAPPED_BYTES_MAX];
    static const char other[] = "{\"created_ms\":1,\"manifest\":\"x/checkpoint/1-1-1.json\",\"version\":1,"
                                "\"wrapped_key\":\"{}\"}";
    CLEANUP(buf_done) struct buf envelope = BUF_INIT(REWRAP_BYTES_MAX);
    assert_ok(dsse_sign(&s->job->signer, "application/vnd.sovrun.rewrap+json", other, strlen(other),
                        &envelope, &e));
    note_key(s, 1, key);
    assert_ok(store_put(s->job->store, key, envelope.data, envelope.len, NULL, NULL, &e));
    assert_ok(opens(s, &e)); /* by the manifest's own */
    assert_int_equal(rewrap_from_text(other, strlen(other), s->a.manifest_key, text, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.text, "another artifact"));
}

static void notes_are_no_manifests_and_parts_beside_them_no_orphans(void **state)
{
    struct setup *s = *state;
    struct err e = ERR_INIT;
    CLEANUP(freep) char(*keys)[STORE_KEY_BYTES] = NULL;
    size_t count = 0, removed = 0;
    assert_ok(keys_create(s->job->keys, "demo", &e));
    assert_true(rewrap(s, "demo"));
    assert_ok(
        artifact_list(s->job->store, "credit", s->job->doc.job, ARTIFACT_CHECKPOINT, 10, &keys, &count, &e));
    assert_int_equal(count, 1);
    assert_ok(artifact_sweep(s->job->store, "credit", s->job->doc.job, ARTIFACT_CHECKPOINT, INT64_MAX / 2,
                             100, &removed, &e));
    assert_int_equal(removed, 0);
    char note[STORE_KEY_BYTES];
    note_key(s, 1, note);
    assert_ok(store_delete(s->job->store, note, NULL, &e));
    assert_ok(keys_destroy(s->job->keys, "demo", 1, &e));
    assert_int_equal(opens(s, &e), ERR_NOT_FOUND);
}

static const struct key_row {
    const char *key;
    bool is_manifest;
} key_rows[] = {
    { "credit/261122-k3m9qz/checkpoint/000000000120-0002-1795356957229.json", true },
    { "a/b/c/261122-k3m9qz/model/000000000120-0002-1795356957229.json", true },
    { "261122-k3m9qz/model/1-2-3.json", true },
    { "credit/261122-k3m9qz/checkpoint/000000000120-0002-1795356957229.rewrapped-0001", false },
    { "credit/261122-k3m9qz/checkpoint/000000000120-0002-1795356957229/part-0000.sealed", false },
    { "credit/261122-k3m9qz/checkpoints/1-2-3.json", false },
    { "credit/xcheckpoint/1-2-3.json", false },
    { "checkpoint/1-2-3.json", false },
    { "j/checkpoint/1-2.json", false },
    { "j/checkpoint/1-2-3-4.json", false },
    { "j/checkpoint/1-2-x.json", false },
    { "j/checkpoint/1-2-3.jsonx", false },
    { "ledger/head/000000000012-7.json", false },
    { "1-2-3.json", false },
    { "", false },
};

static void a_manifest_is_known_by_its_key(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(key_rows); i++)
        if (artifact_is_manifest_key(key_rows[i].key) != key_rows[i].is_manifest)
            fail_msg("%s", key_rows[i].key);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, begin, end)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(under_the_newest_version_there_is_nothing_to_do),
        TEST(a_new_version_takes_over_and_the_old_may_go),
        TEST(a_note_that_does_not_verify_is_passed_over),
        TEST(a_note_of_another_artifact_is_none),
        TEST(notes_are_no_manifests_and_parts_beside_them_no_orphans),
        cmocka_unit_test(a_manifest_is_known_by_its_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
