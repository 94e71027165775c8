#include "tests/test.h"

#include "base/text.h"
#include "core/json/json.h"
#include "tests/attempt_doc_sample.h"

#include <stdio.h>
#include <string.h>

/* ---- helpers ---- */

static json_t *sample_json(void)
{
    CLEANUP(attempt_doc_done) struct attempt_doc d;
    CLEANUP(buf_wipe) struct buf text = BUF_INIT(ATTEMPT_DOC_BYTES_MAX);
    json_t *j = NULL;
    struct err e = ERR_INIT;
    assert_ok(sample_doc(&d, &e));
    assert_ok(attempt_doc_to_text(&d, &text, &e));
    assert_ok(json_parse(text.data, text.len, "sample", &j, &e));
    return j;
}

static enum err_code read_json(const json_t *j, struct err *e)
{
    CLEANUP(attempt_doc_done) struct attempt_doc d = { .attempt = 0 };
    CLEANUP(buf_wipe) struct buf text = BUF_INIT(ATTEMPT_DOC_BYTES_MAX);
    *e = (struct err)ERR_INIT;
    if (json_canonical(j, &text, e))
        return e->code;
    return attempt_doc_from_text(text.data, text.len, &d, e);
}

/* Neither the secret, nor its base64, nor a part of either that is long enough to be told. */
static void assert_keeps_secret(const char *text, const char *secret)
{
    enum { TELLING = 6 };
    CLEANUP(buf_done) struct buf coded = BUF_INIT(256);
    char piece[TELLING + 1] = "";
    base64_encode(secret, strlen(secret), &coded);
    const char *forms[] = { secret, buf_text(&coded) };
    for (size_t f = 0; f < ARRAY_LEN(forms); f++)
        for (size_t i = 0; i + TELLING <= strlen(forms[f]); i++) {
            memcpy(piece, forms[f] + i, TELLING);
            if (strstr(text, piece))
                fail_msg("'%s' tells of '%s'", text, secret);
        }
}

static void assert_no_secret(const struct err *e)
{
    assert_keeps_secret(e->text, SAMPLE_DATA_KEY);
    assert_keeps_secret(e->text, SAMPLE_SEED);
    assert_keeps_secret(e->text, SAMPLE_EARLIER_KEY);
    assert_keeps_secret(e->text, SAMPLE_FROM_KEY);
    assert_keeps_secret(e->text, SAMPLE_PASSWORD);
    assert_keeps_secret(e->text, SAMPLE_SECRET_KEY);
}

/* Calls `try_one` for each member of each object in the document, the specification's own left out. The names
 * first, as what is taken out and put back stands last. */
typedef void member_fn(const json_t *doc, json_t *object, const char *name);
static void for_each_member(const json_t *doc, json_t *object, member_fn *try_one)
{
    CLEANUP(json_donep) json_t *names = json_array();
    const char *name;
    json_t *value;
    size_t i;
    json_object_foreach(object, name, value)
    {
        json_array_append_new(names, json_string(name));
    }
    json_array_foreach(names, i, value)
    {
        name = json_string_value(value);
        if (json_is_object(json_object_get(object, name)) && strcmp(name, "spec") != 0)
            for_each_member(doc, json_object_get(object, name), try_one);
        try_one(doc, object, name);
    }
}

/* ---- tests ---- */

static void assert_same_secret(const struct secret *a, const struct secret *b)
{
    assert_true(a ? b && secret_equal(a, b) : !b);
}

static void assert_same_store(const struct attempt_store *a, const struct attempt_store *b)
{
    assert_int_equal(a->place.kind, b->place.kind);
    assert_string_equal(a->place.bucket, b->place.bucket);
    assert_string_equal(a->place.root, b->place.root);
    assert_string_equal(a->place.endpoint, b->place.endpoint);
    assert_string_equal(a->place.region, b->place.region);
    assert_string_equal(a->place.ca_file, b->place.ca_file);
    assert_string_equal(a->place.cert_file, b->place.cert_file);
    assert_string_equal(a->place.key_file, b->place.key_file);
    assert_memory_equal(&a->place.guard, &b->place.guard, sizeof(a->place.guard));
    assert_int_equal(a->place.path_style, b->place.path_style);
    assert_int_equal(a->place.patience_ms, b->place.patience_ms);
    assert_int_equal(a->place.deadline_ms, b->place.deadline_ms);
    assert_int_equal(a->place.payload, b->place.payload);
    assert_int_equal(a->place.sse, b->place.sse);
    assert_string_equal(a->place.sse_key, b->place.sse_key);
    assert_string_equal(a->place.sse_context, b->place.sse_context);
    assert_true(store_session_equal(&a->session, &b->session));
}

static void assert_same_doc(const struct attempt_doc *a, const struct attempt_doc *b)
{
    assert_string_equal(a->cluster, b->cluster);
    assert_string_equal(a->region, b->region);
    assert_string_equal(a->job, b->job);
    assert_int_equal(a->attempt, b->attempt);
    assert_int_equal(a->token, b->token);
    assert_string_equal(a->spec.name, b->spec.name);
    assert_int_equal(a->spec.resources.ranks, b->spec.resources.ranks);
    assert_string_equal(a->spec_digest, b->spec_digest);
    assert_string_equal(a->dataset_digest, b->dataset_digest);
    assert_same_store(&a->data, &b->data);
    assert_same_store(&a->models, &b->models);
    assert_same_store(&a->from.at, &b->from.at);
    assert_string_equal(a->from.version, b->from.version);
    assert_same_secret(a->from.data_key, b->from.data_key);
    assert_memory_equal(&a->networks, &b->networks, sizeof(a->networks));
    assert_string_equal(a->state.address, b->state.address);
    assert_string_equal(a->state.cluster, b->state.cluster);
    assert_int_equal(a->state.timeout_ms, b->state.timeout_ms);
    assert_int_equal(a->state.durability_dev, b->state.durability_dev);
    assert_same_secret(a->state_password, b->state_password);
    assert_int_equal(a->earlier_count, b->earlier_count);
    for (size_t i = 0; i < a->earlier_count; i++) {
        assert_int_equal(a->earlier[i].attempt, b->earlier[i].attempt);
        assert_int_equal(a->earlier[i].token, b->earlier[i].token);
        assert_same_secret(a->earlier[i].key, b->earlier[i].key);
    }
    assert_same_secret(a->data_key, b->data_key);
    assert_string_equal(a->wrapped_key, b->wrapped_key);
    assert_same_secret(a->signing_seed, b->signing_seed);
    assert_string_equal(a->first_plan_digest, b->first_plan_digest);
    assert_int_equal(a->first_plan_epoch, b->first_plan_epoch);
}

static void what_is_written_is_read_back(void **state)
{
    CLEANUP(attempt_doc_done) struct attempt_doc d;
    CLEANUP(attempt_doc_done) struct attempt_doc back = { .attempt = 0 };
    CLEANUP(buf_wipe) struct buf text = BUF_INIT(ATTEMPT_DOC_BYTES_MAX);
    struct err e = ERR_INIT;
    (void)state;
    assert_ok(sample_doc(&d, &e));
    assert_ok(attempt_doc_to_text(&d, &text, &e));
    assert_ok(attempt_doc_from_text(text.data, text.len, &back, &e));
    assert_same_doc(&d, &back);
}

static void a_state_without_password_is_fine(void **state)
{
    CLEANUP(json_donep) json_t *j = sample_json();
    struct err e;
    (void)state;
    json_object_set_new(json_object_get(j, "state"), "password", json_null());
    assert_ok(read_json(j, &e));
}

static void from_goes_with_the_specs(void **state)
{
    CLEANUP(attempt_doc_done) struct attempt_doc d, back = { .attempt = 0 };
    CLEANUP(buf_wipe) struct buf text = BUF_INIT(ATTEMPT_DOC_BYTES_MAX);
    CLEANUP(json_donep) json_t *j = sample_json();
    struct err e = ERR_INIT;
    (void)state;
    json_object_set_new(json_object_get(j, "from"), "data_key", json_null()); /* a plain file */
    assert_ok(read_json(j, &e));
    json_object_set_new(j, "from", json_null());
    assert_int_equal(read_json(j, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.text, "do not go together"));
    err_clear(&e);
    assert_ok(sample_doc(&d, &e));
    d.spec.model.from[0] = '\0';
    assert_ok(attempt_doc_to_text(&d, &text, &e));
    assert_ok(attempt_doc_from_text(text.data, text.len, &back, &e));
    assert_null(back.from.data_key);
    assert_string_equal(back.from.at.place.bucket, "");
}

static int members_tried;

static void try_without(const json_t *doc, json_t *object, const char *name)
{
    CLEANUP(json_donep) json_t *kept = json_incref(json_object_get(object, name));
    struct err e;
    json_object_del(object, name);
    enum err_code code = read_json(doc, &e);
    if (code != ERR_CORRUPT || !strstr(e.text, name))
        fail_msg("without '%s': %s: %s", name, err_name(code), e.text);
    assert_no_secret(&e);
    json_object_set(object, name, kept);
    members_tried++;
}

static void a_missing_member_is_refused_by_its_name(void **state)
{
    enum { MEMBERS = 19 + 3 * (17 + 3 + 4) + 3 + 5 + 2 };
    CLEANUP(json_donep) json_t *j = sample_json();
    (void)state;
    members_tried = 0;
    for_each_member(j, j, try_without);
    assert_int_equal(members_tried, MEMBERS);
}

/* A value of another type, and a value that is too long. Secrets that may be left out are null then. */
static void try_other_values(const json_t *doc, json_t *object, const char *name)
{
    CLEANUP(json_donep) json_t *kept = json_incref(json_object_get(object, name));
    char lengthy[8192];
    memset(lengthy, 'x', sizeof(lengthy) - 1);
    lengthy[sizeof(lengthy) - 1] = '\0';
    json_t *others[] = { json_array(), json_string(lengthy), json_integer(-5), json_real(1.5) };
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        struct err e;
        json_object_set_new(object, name, others[i]);
        enum err_code code = read_json(doc, &e);
        /* Any bytes are a password. */
        bool fits = i == 1 && (strstr("access_key secret_key session_token password", name) != NULL);
        fits = fits || (i == 0 && strstr("ranges earlier networks", name) != NULL); /* none */
        if (!fits && code != ERR_CORRUPT)
            fail_msg("another '%s' (%zu): %s: %s", name, i, err_name(code), e.text);
        assert_no_secret(&e);
    }
    json_object_set(object, name, kept);
}

static void a_member_of_another_kind_is_refused(void **state)
{
    CLEANUP(json_donep) json_t *j = sample_json();
    (void)state;
    for_each_member(j, j, try_other_values);
}

static void a_member_that_is_not_known_is_refused(void **state)
{
    static const char *const objects[] = { NULL, "data", "models", "from", "state", "first_plan" };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(objects); i++) {
        CLEANUP(json_donep) json_t *j = sample_json();
        struct err e;
        json_object_set_new(objects[i] ? json_object_get(j, objects[i]) : j, "more",
                            json_string(SAMPLE_PASSWORD));
        assert_int_equal(read_json(j, &e), ERR_CORRUPT);
        assert_non_null(strstr(e.text, "does not know"));
        assert_no_secret(&e);
    }
}

static void another_version_is_refused(void **state)
{
    CLEANUP(json_donep) json_t *j = sample_json();
    struct err e;
    (void)state;
    json_object_set_new(j, "version", json_integer(2));
    assert_int_equal(read_json(j, &e), ERR_CORRUPT);
    assert_string_equal(e.text, "attempt document: has version 2, and this program knows 5");
}

static void a_text_cut_anywhere_is_refused_and_not_quoted(void **state)
{
    CLEANUP(attempt_doc_done) struct attempt_doc d;
    CLEANUP(attempt_doc_done) struct attempt_doc back = { .attempt = 0 };
    CLEANUP(buf_wipe) struct buf text = BUF_INIT(ATTEMPT_DOC_BYTES_MAX);
    struct err e = ERR_INIT;
    (void)state;
    assert_ok(sample_doc(&d, &e));
    assert_ok(attempt_doc_to_text(&d, &text, &e));
    for (size_t n = 0; n < text.len; n++) {
        assert_int_equal(attempt_doc_from_text(text.data, n, &back, &e), ERR_CORRUPT);
        assert_no_secret(&e);
    }
    assert_int_equal(back.attempt, 0);
}

/* One row a text that is no document at all. */
static void what_is_no_document_is_refused(void **state)
{
    static const char *const texts[] = { "",    "{}", "[]", "null", "{\"version\":1}", "{\"version\":\"1\"}",
                                         "\xff" };
    CLEANUP(attempt_doc_done) struct attempt_doc back = { .attempt = 0 };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct err e = ERR_INIT;
        assert_int_equal(attempt_doc_from_text(texts[i], strlen(texts[i]), &back, &e), ERR_CORRUPT);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(a_state_without_password_is_fine),
        cmocka_unit_test(from_goes_with_the_specs),
        cmocka_unit_test(a_missing_member_is_refused_by_its_name),
        cmocka_unit_test(a_member_of_another_kind_is_refused),
        cmocka_unit_test(a_member_that_is_not_known_is_refused),
        cmocka_unit_test(another_version_is_refused),
        cmocka_unit_test(a_text_cut_anywhere_is_refused_and_not_quoted),
        cmocka_unit_test(what_is_no_document_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
