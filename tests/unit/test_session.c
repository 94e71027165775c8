/*
 * What a rank's session may do, word by word, and newer credentials on their way to it.
 */
#include "core/cluster/session_doc.h"
#include "core/cluster/session_policy.h"
#include "tests/test.h"

#include <string.h>

static void a_policy_says_what_is_needed_and_no_more(void **state)
{
    (void)state;
    CLEANUP(buf_done)
    struct buf read = BUF_INIT(STS_POLICY_BYTES_MAX), write = BUF_INIT(STS_POLICY_BYTES_MAX);
    struct err e = ERR_INIT;
    assert_ok(session_policy("arn:aws-eusc:iam::123456789012:role/ranks", "bank-data", "credit/v3", "",
                             REACH_READ_BELOW, &read, &e));
    assert_string_equal(
        buf_text(&read),
        "{\"Statement\":[{\"Action\":[\"s3:GetObject\",\"s3:GetObjectVersion\"],\"Effect\":\"Allow\","
        "\"Resource\":[\"arn:aws-eusc:s3:::bank-data/credit/v3/*\"]},"
        "{\"Action\":[\"s3:ListBucket\",\"s3:ListBucketVersions\"],"
        "\"Condition\":{\"StringLike\":{\"s3:prefix\":[\"credit/v3/*\"]}},\"Effect\":\"Allow\","
        "\"Resource\":[\"arn:aws-eusc:s3:::bank-data\"]}],\"Version\":\"2012-10-17\"}");
    assert_ok(session_policy("arn:aws:iam::123456789012:role/ranks", "bank-models", "",
                             "arn:aws:kms:eu-1:1:key/k", REACH_WRITE_BELOW, &write, &e));
    const char *text = buf_text(&write);
    assert_non_null(strstr(text, "\"arn:aws:s3:::bank-models/*\""));
    assert_non_null(strstr(text, "\"s3:PutObjectRetention\""));
    assert_non_null(strstr(text, "{\"Action\":[\"kms:Decrypt\",\"kms:GenerateDataKey\"],\"Effect\":\"Allow\","
                                 "\"Resource\":[\"arn:aws:kms:eu-1:1:key/k\"]}"));
    assert_null(strstr(text, "Bypass"));
    assert_null(strstr(text, "s3:*"));
    assert_null(strstr(text, "Bucket\",\"s3:Put")); /* nothing of the bucket's own is changed */
    assert_null(strstr(text, "PutBucket"));
}

static void one_object_and_keys_that_begin_alike(void **state)
{
    static const char role[] = "arn:aws:iam::123456789012:role/ranks";
    CLEANUP(buf_done)
    struct buf one = BUF_INIT(STS_POLICY_BYTES_MAX), alike = BUF_INIT(STS_POLICY_BYTES_MAX);
    struct err e = ERR_INIT;
    (void)state;
    assert_ok(session_policy(role, "b", "gpt2.safetensors", "", REACH_READ_ONE, &one, &e));
    assert_non_null(strstr(buf_text(&one), "\"arn:aws:s3:::b/gpt2.safetensors\""));
    assert_null(strchr(buf_text(&one), '*'));
    assert_ok(session_policy(role, "b", "a/j/model/9-1-1", "", REACH_READ_ALIKE, &alike, &e));
    assert_non_null(strstr(buf_text(&alike), "\"arn:aws:s3:::b/a/j/model/9-1-1*\""));
    assert_null(strstr(buf_text(&one), "s3:Put"));
    assert_null(strstr(buf_text(&alike), "s3:Put"));
}

static void what_a_policy_would_take_for_more_is_refused(void **state)
{
    static const char *const roles[] = {
        "", "ranks", "arn:", "arn:aws:s3:::role/x", "arn::iam::1:role/x", "arn:aws:iam::1:user/x"
    };
    static const char *const prefixes[] = { "a*", "*", "a?b", "a/${aws:username}" };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
        CLEANUP(buf_done) struct buf out = BUF_INIT(STS_POLICY_BYTES_MAX);
        struct err e = ERR_INIT;
        assert_int_equal(session_policy(roles[i], "b", "p", "", REACH_READ_BELOW, &out, &e), ERR_USAGE);
        assert_int_equal(out.len, 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
        CLEANUP(buf_done) struct buf out = BUF_INIT(STS_POLICY_BYTES_MAX);
        struct err e = ERR_INIT;
        assert_int_equal(session_policy("arn:aws:iam:::role/r", "b", prefixes[i], "", REACH_WRITE_BELOW, &out,
                                        &e),
                         ERR_USAGE);
    }
}

/* Ceph refuses a policy that speaks of keys. */
static void a_tenants_role_says_nothing_of_keys(void **state)
{
    static const char *const roles[] = { "arn:aws:iam:::role/ranks", "arn:aws:iam::tenant:role/ranks",
                                         "arn:aws:iam::1234567890123:role/ranks" };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
        CLEANUP(buf_done) struct buf out = BUF_INIT(STS_POLICY_BYTES_MAX);
        struct err e = ERR_INIT;
        assert_ok(
            session_policy(roles[i], "b", "p", "arn:aws:kms:eu-1:1:key/k", REACH_WRITE_BELOW, &out, &e));
        assert_null(strstr(buf_text(&out), "kms:"));
    }
}

/* ---- on their way ---- */

static const char data_key_text[] = "kkkkKKKKkkkkKKKKkkkkKKKKkkkkKKKK";

struct sealed {
    struct secret *data_key;
    struct session_owner owner;
    struct store_session sessions[SESSION_USES];
    struct buf text;
};

static void sealed_done(struct sealed *s)
{
    secret_free(s->data_key);
    for (int i = 0; i < SESSION_USES; i++)
        store_session_done(&s->sessions[i]);
    buf_done(&s->text);
}

static struct secret *secret_of(const char *text)
{
    return secret_new(text, strlen(text));
}

static void seal(struct sealed *s)
{
    struct err e = ERR_INIT;
    *s = (struct sealed){ .data_key = secret_of(data_key_text), .text = BUF_INIT(2 * SESSION_DOC_BYTES_MAX) };
    s->owner = (struct session_owner){ "embedded", "261122-k3m9qz", 2, 7, s->data_key };
    s->sessions[SESSION_DATA] = (struct store_session){ secret_of("AKdata"), secret_of("SKdata"),
                                                        secret_of("token of the data"), 1234 };
    s->sessions[SESSION_MODELS] =
        (struct store_session){ secret_of("AKmodels"), secret_of("SKmodels"), NULL, 0 };
    s->sessions[SESSION_FROM] = (struct store_session){ secret_of("AKfrom"), secret_of("SKfrom"), NULL, 0 };
    assert_ok(session_doc_seal(&s->owner, s->sessions, &s->text, &e));
}

static void a_rank_opens_what_was_sealed_for_it(void **state)
{
    (void)state;
    CLEANUP(sealed_done) struct sealed s;
    seal(&s);
    assert_null(strstr(buf_text(&s.text), "AKdata"));
    for (int use = 0; use < SESSION_USES; use++) {
        CLEANUP(store_session_done) struct store_session got = { .access_key = NULL };
        struct err e = ERR_INIT;
        assert_ok(session_doc_open(&s.owner, buf_text(&s.text), (enum session_use)use, &got, &e));
        assert_true(store_session_equal(&got, &s.sessions[use]));
        assert_false(store_session_equal(&got, &s.sessions[(use + 1) % SESSION_USES]));
    }
}

static void nobody_else_does(void **state)
{
    (void)state;
    CLEANUP(sealed_done) struct sealed s;
    seal(&s);
    CLEANUP(secret_freep) struct secret *another = secret_of("KKKKkkkkKKKKkkkkKKKKkkkkKKKKkkkk");
    struct session_owner others[6];
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        others[i] = s.owner;
    others[0].cluster = "other";
    others[1].job = "261122-k3m9qy";
    others[2].attempt = 3;
    others[3].token = 8;
    others[4].data_key = another;
    others[5].job = "261122-k3m9qz\n2";
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        CLEANUP(store_session_done) struct store_session got = { .access_key = NULL };
        struct err e = ERR_INIT;
        assert_int_equal(session_doc_open(&others[i], buf_text(&s.text), SESSION_DATA, &got, &e),
                         ERR_CORRUPT);
        assert_null(got.access_key);
    }
}

static void a_changed_text_is_refused(void **state)
{
    (void)state;
    CLEANUP(sealed_done) struct sealed s;
    seal(&s);
    char *text = (char *)s.text.data;
    for (size_t i = 0; i < s.text.len; i += 7) {
        struct store_session got = { .access_key = NULL };
        struct err e = ERR_INIT;
        char before = text[i];
        text[i] = before == 'A' ? 'B' : 'A';
        assert_int_equal(session_doc_open(&s.owner, text, SESSION_DATA, &got, &e), ERR_CORRUPT);
        assert_null(strstr(e.text, "SKdata"));
        text[i] = before;
    }
    for (size_t n = 0; n < s.text.len; n += 5) {
        CLEANUP(buf_done) struct buf cut = BUF_INIT(2 * SESSION_DOC_BYTES_MAX);
        struct store_session got = { .access_key = NULL };
        struct err e = ERR_INIT;
        buf_add(&cut, text, n);
        assert_int_equal(session_doc_open(&s.owner, buf_text(&cut), SESSION_DATA, &got, &e), ERR_CORRUPT);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_policy_says_what_is_needed_and_no_more),
        cmocka_unit_test(one_object_and_keys_that_begin_alike),
        cmocka_unit_test(what_a_policy_would_take_for_more_is_refused),
        cmocka_unit_test(a_tenants_role_says_nothing_of_keys),
        cmocka_unit_test(a_rank_opens_what_was_sealed_for_it),
        cmocka_unit_test(nobody_else_does),
        cmocka_unit_test(a_changed_text_is_refused),
    };
    return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}
