/* Artifacts: parts sealed and put, one signed manifest; whatever is changed, moved or missing is refused. */
#include "tests/test.h"

#include "base/mem.h"
#include "core/artifact/artifact.h"
#include "core/crypto/dsse.h"

#include <stdio.h>
#include <string.h>

struct setup {
    struct store *store;
    struct secret *data_key;
    struct signer signer;
    struct artifact_trust trust;
    struct artifact artifact; /* committed: two parts */
};
static const char parts[2][16] = { "the first part", "the second part" };
static const struct store_lock no_lock = { .mode = STORE_LOCK_NONE };

static void describe(struct artifact *a, int64_t step)
{
    *a = (struct artifact){
        .kind = ARTIFACT_CHECKPOINT, .step = step, .attempt = 1, .token = 7, .created_ms = 1
    };
    strncpy(a->cluster, "eu-1", sizeof(a->cluster) - 1);
    strncpy(a->region, "eu", sizeof(a->region) - 1);
    strncpy(a->job, "261122-k3m9qz", sizeof(a->job) - 1);
    strncpy(a->bucket, "models", sizeof(a->bucket) - 1);
    strncpy(a->prefix, "credit", sizeof(a->prefix) - 1);
    strncpy(a->wrapped_key, "{}", sizeof(a->wrapped_key) - 1);
    memset(a->dataset_digest, 'a', 64);
    memset(a->spec_digest, 'b', 64);
    a->part_count = 2;
    a->parts = mem_array(2, sizeof(*a->parts));
    a->meta = json_pack("{s:i}", "epoch", 3);
}

static void commit(struct setup *s, struct artifact *a, int64_t step)
{
    struct err e = ERR_INIT;
    describe(a, step);
    for (size_t i = 0; i < 2; i++)
        assert_ok(artifact_put_part(s->store, s->data_key, a, i, parts[i], sizeof(parts[i]), &no_lock,
                                    &a->parts[i], &e));
    assert_ok(artifact_commit(s->store, &s->signer, a, &no_lock, &e));
}

static int setup(void **state)
{
    struct err e = ERR_INIT;
    struct setup *s = mem_new(sizeof(*s));
    struct store_place place = { .kind = STORE_MEM, .bucket = "models", .region = "eu" };
    CLEANUP(secret_freep) struct secret *seed = secret_random(32);

    assert_ok(store_open(&place, NULL, &s->store, &e));
    assert_ok(signer_from_seed(seed, &s->signer, &e));
    s->data_key = secret_random(DATA_KEY_BYTES);
    memcpy(s->trust.public_key[0], s->signer.public_key, SIGN_PUBLIC_BYTES);
    s->trust.count = 1;
    commit(s, &s->artifact, 120);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct setup *s = *state;
    artifact_done(&s->artifact);
    store_close(s->store);
    secret_free(s->data_key);
    signer_done(&s->signer);
    free(s);
    return 0;
}

static void a_committed_artifact_loads_and_verifies(void **state)
{
    struct setup *s = *state;
    struct err e = ERR_INIT;
    CLEANUP(artifact_done) struct artifact a = { 0 };
    CLEANUP(buf_done) struct buf plain = BUF_INIT(4096);

    assert_string_equal(s->artifact.manifest_key,
                        "credit/261122-k3m9qz/checkpoint/000000000120-0001-0000000000007.json");
    assert_ok(artifact_load(s->store, s->artifact.manifest_key, &s->trust, &a, &e));
    assert_int_equal(a.step, 120);
    assert_int_equal(a.part_count, 2);
    assert_int_equal(json_i64_or(a.meta, "epoch", 0), 3);
    assert_ok(artifact_get_part(s->store, s->data_key, &a, 1, &plain, &e));
    assert_memory_equal(plain.data, parts[1], sizeof(parts[1]));
    assert_ok(artifact_verify(s->store, s->data_key, &a, &e));
}

static void the_list_is_newest_first(void **state)
{
    struct setup *s = *state;
    struct err e = ERR_INIT;
    CLEANUP(artifact_done) struct artifact older = { 0 };
    CLEANUP(freep) char(*keys)[STORE_KEY_BYTES] = NULL;
    size_t count;

    commit(s, &older, 20);
    assert_ok(artifact_list(s->store, "credit", "261122-k3m9qz", ARTIFACT_CHECKPOINT, 10, &keys, &count, &e));
    assert_int_equal(count, 2);
    assert_string_equal(keys[0], s->artifact.manifest_key);
    assert_string_equal(keys[1], older.manifest_key);
}

static void a_failing_list_is_an_error_not_an_empty_list(void **state)
{
    struct setup *s = *state;
    struct err e = ERR_INIT;
    CLEANUP(freep) char(*keys)[STORE_KEY_BYTES] = NULL;
    size_t count = 99;
    struct store *faulty = store_fault_new(s->store);

    store_fault_at(faulty, 1, ERR_RETRY, false);
    assert_int_equal(artifact_list(faulty, "credit", "261122-k3m9qz", ARTIFACT_CHECKPOINT, 10, &keys, &count,
                                   &e),
                     ERR_RETRY);
    assert_int_equal(count, 99);
    store_close(faulty);
}

static void anothers_signature_is_refused(void **state)
{
    struct setup *s = *state;
    struct err e = ERR_INIT;
    struct artifact_trust other = { .count = 1 };
    struct artifact a = { 0 };
    assert_int_equal(artifact_load(s->store, s->artifact.manifest_key, &other, &a, &e), ERR_CORRUPT);
}

static void a_manifest_that_was_moved_is_refused(void **state)
{
    struct setup *s = *state;
    struct err e = ERR_INIT;
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(1 << 20);
    static const char elsewhere[] = "credit/261122-k3m9qz/checkpoint/000000000999-0001-0000000000007.json";
    struct artifact a = { 0 };

    assert_ok(store_get(s->store, s->artifact.manifest_key, NULL, 0, UINT64_MAX, &bytes, NULL, &e));
    assert_ok(store_put(s->store, elsewhere, bytes.data, bytes.len, NULL, NULL, &e));
    assert_int_equal(artifact_load(s->store, elsewhere, &s->trust, &a, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.text, "belongs at"));
}

static void a_manifest_with_any_byte_flipped_is_refused(void **state)
{
    struct setup *s = *state;
    struct err e = ERR_INIT;
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(1 << 20);

    assert_ok(store_get(s->store, s->artifact.manifest_key, NULL, 0, UINT64_MAX, &bytes, NULL, &e));
    for (size_t i = 0; i < bytes.len; i += 7) {
        struct artifact a = { 0 };
        bytes.data[i] ^= 1;
        assert_ok(store_put(s->store, s->artifact.manifest_key, bytes.data, bytes.len, NULL, NULL, &e));
        enum err_code code = artifact_load(s->store, s->artifact.manifest_key, &s->trust, &a, &e);
        /* The key id is a hint and not signed: only there a flip may pass, and changes nothing. */
        if (code == OK)
            assert_int_equal(a.step, 120);
        else
            assert_int_equal(code, ERR_CORRUPT);
        artifact_done(&a);
        bytes.data[i] ^= 1;
    }
}

/* Put something else where part 1 lies, as a version of its own, and make the manifest's copy point there. */
static enum err_code verify_with_part(struct setup *s, const void *data, size_t n, struct err *e)
{
    struct artifact_part *p = &s->artifact.parts[1];
    struct store_info info;
    assert_int_equal(store_put(s->store, p->key, data, n, NULL, &info, e), OK);
    memcpy(p->version, info.version, sizeof(p->version));
    return artifact_verify(s->store, s->data_key, &s->artifact, e);
}

static void a_part_with_a_flipped_byte_is_refused(void **state)
{
    struct setup *s = *state;
    struct err e = ERR_INIT;
    CLEANUP(buf_done) struct buf sealed = BUF_INIT(1 << 20);
    assert_ok(store_get(s->store, s->artifact.parts[1].key, NULL, 0, UINT64_MAX, &sealed, NULL, &e));
    sealed.data[sealed.len / 2] ^= 0x10;
    assert_int_equal(verify_with_part(s, sealed.data, sealed.len, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.text, "was changed"));
}

static void a_part_swapped_for_the_other_is_refused_even_with_its_hash(void **state)
{
    struct setup *s = *state;
    struct err e = ERR_INIT;
    CLEANUP(buf_done) struct buf sealed = BUF_INIT(1 << 20);
    assert_ok(store_get(s->store, s->artifact.parts[0].key, NULL, 0, UINT64_MAX, &sealed, NULL, &e));
    s->artifact.parts[1].sealed_bytes = sealed.len;
    sha256_hex(sealed.data, sealed.len, s->artifact.parts[1].sha256);
    assert_int_equal(verify_with_part(s, sealed.data, sealed.len, &e),
                     ERR_CORRUPT); /* the seal is bound to its place */
}

static void a_missing_part_is_corrupt(void **state)
{
    struct setup *s = *state;
    struct err e = ERR_INIT;
    assert_ok(store_delete(s->store, s->artifact.parts[0].key, s->artifact.parts[0].version, &e));
    assert_int_equal(artifact_verify(s->store, s->data_key, &s->artifact, &e), ERR_CORRUPT);
}

static void the_wrong_key_opens_nothing(void **state)
{
    struct setup *s = *state;
    struct err e = ERR_INIT;
    CLEANUP(secret_freep) struct secret *other = secret_random(DATA_KEY_BYTES);
    assert_int_equal(artifact_verify(s->store, other, &s->artifact, &e), ERR_CORRUPT);
}

static void a_weaker_lock_than_recorded_is_noticed(void **state)
{
    struct setup *s = *state;
    struct err e = ERR_INIT;
    s->artifact.parts[0].lock =
        (struct store_lock){ .mode = STORE_LOCK_COMPLIANCE, .retain_until_ms = INT64_MAX / 2 };
    assert_int_equal(artifact_verify(s->store, s->data_key, &s->artifact, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.text, "weaker"));
}

static void dsse_signs_the_type_with_the_payload(void **state)
{
    struct setup *s = *state;
    struct err e = ERR_INIT;
    CLEANUP(buf_done) struct buf envelope = BUF_INIT(4096);
    CLEANUP(buf_done) struct buf payload = BUF_INIT(4096);
    assert_ok(dsse_sign(&s->signer, "text/a", "hello", 5, &envelope, &e));
    assert_ok(dsse_open(envelope.data, envelope.len, "text/a", s->trust.public_key, 1, &payload, &e));
    assert_string_equal(buf_text(&payload), "hello");
    assert_int_equal(dsse_open(envelope.data, envelope.len, "text/b", s->trust.public_key, 1, &payload, &e),
                     ERR_CORRUPT);
    assert_int_equal(dsse_open(envelope.data, envelope.len, "text/a", s->trust.public_key, 0, &payload, &e),
                     ERR_CORRUPT);
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(a_committed_artifact_loads_and_verifies),
        WITH(the_list_is_newest_first),
        WITH(a_failing_list_is_an_error_not_an_empty_list),
        WITH(anothers_signature_is_refused),
        WITH(a_manifest_that_was_moved_is_refused),
        WITH(a_manifest_with_any_byte_flipped_is_refused),
        WITH(a_part_with_a_flipped_byte_is_refused),
        WITH(a_part_swapped_for_the_other_is_refused_even_with_its_hash),
        WITH(a_missing_part_is_corrupt),
        WITH(the_wrong_key_opens_nothing),
        WITH(a_weaker_lock_than_recorded_is_noticed),
        WITH(dsse_signs_the_type_with_the_payload),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
