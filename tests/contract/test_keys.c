/* The contract of core/keys, for every provider: files, an HSM (both mechanisms), a key service. */
#include "tests/keys_world.h"

#include "base/mem.h"
#include "base/text.h"
#include "core/json/json.h"
#include "core/keys/keys_ops.h"

#include <stdio.h>
#include <string.h>

/* ---- what every provider promises ---- */

static void what_was_wrapped_unwraps(void **state)
{
    struct keys_world *s = keys_world_of(state);
    assert_int_equal(secret_len(s->data_key), DATA_KEY_BYTES);
    assert_unwraps(s, buf_text(&s->wrapped));
}

static void another_handle_unwraps(void **state)
{
    struct keys_world *s = keys_world_of(state);
    struct err e = ERR_INIT;
    CLEANUP(keys_closep) struct keys *other = NULL;
    CLEANUP(secret_freep) struct secret *key = NULL;
    assert_ok(keys_open(&s->config, &s->secrets, &other, &e));
    assert_ok(keys_unwrap(other, buf_text(&s->wrapped), &keys_world_context, &key, &e));
    assert_true(secret_equal(key, s->data_key));
}

static void each_data_key_is_new(void **state)
{
    struct keys_world *s = keys_world_of(state);
    struct err e = ERR_INIT;
    CLEANUP(secret_freep) struct secret *other = NULL;
    CLEANUP(buf_done) struct buf wrapped = BUF_INIT(KEYS_WRAPPED_BYTES_MAX);
    assert_ok(keys_generate(s->keys, "demo", &keys_world_context, &other, &wrapped, &e));
    assert_false(secret_equal(other, s->data_key));
    assert_string_not_equal(buf_text(&wrapped), buf_text(&s->wrapped));
}

static void the_order_of_the_context_does_not_matter(void **state)
{
    struct keys_world *s = keys_world_of(state);
    struct err e = ERR_INIT;
    const struct keys_context turned = {
        .pair = { { "attempt", "2" }, { "cluster", "eu-1" }, { "job", "261122-k3m9qz" } },
        .count = 3,
    };
    CLEANUP(secret_freep) struct secret *key = NULL;
    assert_ok(keys_unwrap(s->keys, buf_text(&s->wrapped), &turned, &key, &e));
}

static const struct context_row {
    const char *name;
    struct keys_context context;
} context_rows[] = {
    { "refused: no context", { .count = 0 } },
    { "refused: a pair is missing", { { { "cluster", "eu-1" }, { "job", "261122-k3m9qz" } }, 2 } },
    { "refused: a pair more",
      { { { "cluster", "eu-1" }, { "job", "261122-k3m9qz" }, { "attempt", "2" }, { "x", "" } }, 4 } },
    { "refused: another cluster",
      { { { "cluster", "eu-2" }, { "job", "261122-k3m9qz" }, { "attempt", "2" } }, 3 } },
    { "refused: another job",
      { { { "cluster", "eu-1" }, { "job", "261122-k3m9qy" }, { "attempt", "2" } }, 3 } },
    { "refused: another attempt",
      { { { "cluster", "eu-1" }, { "job", "261122-k3m9qz" }, { "attempt", "3" } }, 3 } },
    { "refused: another name",
      { { { "cluster", "eu-1" }, { "jobs", "261122-k3m9qz" }, { "attempt", "2" } }, 3 } },
    { "refused: name and value moved against each other",
      { { { "cluster", "eu-1" }, { "job2", "61122-k3m9qz" }, { "attempt", "2" } }, 3 } },
    { "refused: two values swapped",
      { { { "cluster", "261122-k3m9qz" }, { "job", "eu-1" }, { "attempt", "2" } }, 3 } },
};

static void another_context_is_refused(void **state)
{
    struct keys_world *s = keys_world_of(state);
    for (size_t i = 0; i < ARRAY_LEN(context_rows); i++) {
        struct err e = ERR_INIT;
        struct secret *key = NULL;
        enum err_code code = keys_unwrap(s->keys, buf_text(&s->wrapped), &context_rows[i].context, &key, &e);
        if (code != ERR_CORRUPT)
            fail_msg("%s: %s: %s", context_rows[i].name, err_name(code), e.text);
        assert_null(key);
    }
}

static void a_context_is_checked(void **state)
{
    struct keys_world *s = keys_world_of(state);
    struct err e = ERR_INIT;
    const struct keys_context twice = { .pair = { { "job", "a" }, { "job", "b" } }, .count = 2 };
    const struct keys_context nameless = { .pair = { { "", "a" } }, .count = 1 };
    const struct keys_context many = { .count = KEYS_CONTEXT_MAX + 1 };
    struct secret *key = NULL;
    CLEANUP(buf_done) struct buf wrapped = BUF_INIT(KEYS_WRAPPED_BYTES_MAX);
    assert_int_equal(keys_generate(s->keys, "demo", &twice, &key, &wrapped, &e), ERR_USAGE);
    assert_int_equal(keys_generate(s->keys, "demo", &nameless, &key, &wrapped, &e), ERR_USAGE);
    assert_int_equal(keys_generate(s->keys, "demo", &many, &key, &wrapped, &e), ERR_LIMIT);
    assert_null(key);
    assert_int_equal(wrapped.len, 0);
}

static void the_wrapped_form_is_one_canonical_line(void **state)
{
    struct keys_world *s = keys_world_of(state);
    struct err e = ERR_INIT;
    struct keys_facts facts;
    CLEANUP(json_donep) json_t *doc = NULL;
    CLEANUP(buf_done) struct buf again = BUF_INIT(KEYS_WRAPPED_BYTES_MAX);
    assert_null(strchr(buf_text(&s->wrapped), '\n'));
    assert_ok(json_parse(s->wrapped.data, s->wrapped.len, "test", &doc, &e));
    assert_ok(json_canonical(doc, &again, &e));
    assert_string_equal(buf_text(&again), buf_text(&s->wrapped));
    assert_facts(&s->wrapped, "demo", 1);
    assert_ok(keys_describe(buf_text(&s->wrapped), &facts, &e));
    assert_string_equal(facts.provider, keys_provider_names[s->config.provider]);
}

static void the_wrapped_form_does_not_hold_the_key(void **state)
{
    struct keys_world *s = keys_world_of(state);
    char hex[2 * DATA_KEY_BYTES + 1];
    CLEANUP(buf_wipe) struct buf base64 = BUF_INIT(256);
    hex_encode(secret_bytes(s->data_key), DATA_KEY_BYTES, hex);
    base64_encode(secret_bytes(s->data_key), DATA_KEY_BYTES - 2, &base64); /* whole groups of three */
    assert_null(strstr(buf_text(&s->wrapped), hex));
    assert_null(strstr(buf_text(&s->wrapped), buf_text(&base64)));
}

/* Whatever character changes, no key comes out. The altered name may be of a key that is not there. */
static void each_altered_character_is_refused(void **state)
{
    struct keys_world *s = keys_world_of(state);
    struct err e = ERR_INIT;
    static const char other[] = "A0\"}";
    for (size_t i = 0; i < s->wrapped.len; i++)
        for (const char *c = other; *c; c++) {
            CLEANUP(freep) char *text = mem_text(buf_text(&s->wrapped));
            struct secret *key = NULL;
            if (text[i] == *c)
                continue;
            text[i] = *c;
            enum err_code code = keys_unwrap(s->keys, text, &keys_world_context, &key, &e);
            /* Of a key service: the ARN in front may have become a foreign one. */
            assert_true(code == ERR_CORRUPT || code == ERR_NOT_FOUND ||
                        (code == ERR_DENIED && s->config.provider == KEYS_KMS));
            assert_null(key);
        }
}

#define WRAPPED(key, provider, version, wrapped)                                                             \
    "{\"key\":" key ",\"provider\":" provider ",\"version\":" version ",\"wrapped\":" wrapped "}"

static const struct text_row {
    const char *name, *text;
} text_rows[] = {
    { "refused: no text", "" },
    { "refused: no JSON", "demo" },
    { "refused: no object", "[]" },
    { "refused: an empty object", "{}" },
    { "refused: a member is missing", "{\"key\":\"demo\",\"provider\":\"file\",\"version\":1}" },
    { "refused: a member too many", WRAPPED("\"demo\"", "\"file\"", "1", "\"AAAA\",\"x\":1") },
    { "refused: the version is no number", WRAPPED("\"demo\"", "\"file\"", "\"1\"", "\"AAAA\"") },
    { "refused: version 0", WRAPPED("\"demo\"", "\"file\"", "0", "\"AAAA\"") },
    { "refused: a key name that is a path", WRAPPED("\"../demo\"", "\"file\"", "1", "\"AAAA\"") },
    { "refused: a provider that is not this one", WRAPPED("\"demo\"", "\"vault\"", "1", "\"AAAA\"") },
    { "refused: too few wrapped bytes", WRAPPED("\"demo\"", "\"file\"", "1", "\"AAAA\"") },
    { "refused: no wrapped bytes", WRAPPED("\"demo\"", "\"file\"", "1", "\"\"") },
    { "refused: no base64", WRAPPED("\"demo\"", "\"file\"", "1", "\"AAA\"") },
};

static void a_malformed_text_is_refused(void **state)
{
    struct keys_world *s = keys_world_of(state);
    for (size_t i = 0; i < ARRAY_LEN(text_rows); i++) {
        struct err e = ERR_INIT;
        struct secret *key = NULL;
        enum err_code code = keys_unwrap(s->keys, text_rows[i].text, &keys_world_context, &key, &e);
        if (code != ERR_CORRUPT)
            fail_msg("%s: %s: %s", text_rows[i].name, err_name(code), e.text);
        assert_null(key);
    }
}

static void too_long_a_text_is_refused(void **state)
{
    struct keys_world *s = keys_world_of(state);
    CLEANUP(freep) char *text = mem_new(KEYS_WRAPPED_BYTES_MAX + 2);
    memset(text, ' ', KEYS_WRAPPED_BYTES_MAX + 1);
    assert_unwrap_fails(s, text, &keys_world_context, ERR_CORRUPT);
}

static void a_new_version_wraps_and_the_old_still_unwraps(void **state)
{
    struct keys_world *s = keys_world_of(state);
    struct err e = ERR_INIT;
    CLEANUP(secret_freep) struct secret *key = NULL;
    CLEANUP(buf_done) struct buf wrapped = BUF_INIT(KEYS_WRAPPED_BYTES_MAX);
    assert_ok(keys_create(s->keys, "demo", &e));
    assert_ok(keys_generate(s->keys, "demo", &keys_world_context, &key, &wrapped, &e));
    assert_facts(&wrapped, "demo", 2);
    assert_unwraps(s, buf_text(&s->wrapped));
}

static void the_version_is_bound(void **state) /* version 2 does not open what version 1 wrapped */
{
    struct keys_world *s = keys_world_of(state);
    struct err e = ERR_INIT;
    assert_ok(keys_create(s->keys, "demo", &e));
    CLEANUP(freep) char *text = mem_text(buf_text(&s->wrapped));
    char *version = strstr(text, "\"version\":1");
    assert_non_null(version);
    version[strlen("\"version\":")] = '2';
    assert_unwrap_fails(s, text, &keys_world_context, ERR_CORRUPT);
}

static void rewrap_keeps_the_data_key(void **state)
{
    struct keys_world *s = keys_world_of(state);
    struct err e = ERR_INIT;
    CLEANUP(buf_done) struct buf newer = BUF_INIT(KEYS_WRAPPED_BYTES_MAX);
    CLEANUP(buf_done) struct buf other = BUF_INIT(KEYS_WRAPPED_BYTES_MAX);
    assert_ok(keys_create(s->keys, "demo", &e));
    assert_ok(keys_rewrap(s->keys, buf_text(&s->wrapped), &keys_world_context, "demo", &newer, &e));
    assert_facts(&newer, "demo", 2);
    assert_unwraps(s, buf_text(&newer));
    assert_ok(keys_create(s->keys, "other", &e));
    assert_ok(keys_rewrap(s->keys, buf_text(&s->wrapped), &keys_world_context, "other", &other, &e));
    assert_facts(&other, "other", 1);
    assert_unwraps(s, buf_text(&other));
}

static void rewrap_needs_the_right_context(void **state)
{
    struct keys_world *s = keys_world_of(state);
    struct err e = ERR_INIT;
    const struct keys_context none = { .count = 0 };
    CLEANUP(buf_done) struct buf out = BUF_INIT(KEYS_WRAPPED_BYTES_MAX);
    assert_int_equal(keys_rewrap(s->keys, buf_text(&s->wrapped), &none, "demo", &out, &e), ERR_CORRUPT);
    assert_int_equal(out.len, 0);
}

static void a_key_that_is_not_there(void **state)
{
    struct keys_world *s = keys_world_of(state);
    struct err e = ERR_INIT;
    struct secret *key = NULL;
    CLEANUP(buf_done) struct buf out = BUF_INIT(KEYS_WRAPPED_BYTES_MAX);
    assert_true(keys_has(s->keys, "demo"));
    assert_false(keys_has(s->keys, "absent"));
    assert_int_equal(keys_generate(s->keys, "absent", &keys_world_context, &key, &out, &e), ERR_NOT_FOUND);
    assert_int_equal(keys_rewrap(s->keys, buf_text(&s->wrapped), &keys_world_context, "absent", &out, &e),
                     ERR_NOT_FOUND);
    assert_null(key);
    assert_int_equal(out.len, 0);
}

static void key_names_are_names(void **state)
{
    struct keys_world *s = keys_world_of(state);
    struct err e = ERR_INIT;
    static const char *const wrong[] = { "", ".", "..", "a/b", "../demo", "Demo", "demo\n", " demo" };
    char long_name[KEYS_NAME_BYTES + 1];
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_int_equal(keys_create(s->keys, wrong[i], &e), ERR_USAGE);
        assert_false(keys_has(s->keys, wrong[i]));
    }
    memset(long_name, 'a', sizeof(long_name));
    long_name[KEYS_NAME_BYTES] = '\0';
    assert_int_equal(keys_create(s->keys, long_name, &e), ERR_USAGE);
    long_name[KEYS_NAME_BYTES - 1] = '\0';
    assert_ok(keys_create(s->keys, long_name, &e));
    assert_true(keys_has(s->keys, long_name));
}

static void too_small_an_output_is_a_limit(void **state)
{
    struct keys_world *s = keys_world_of(state);
    struct err e = ERR_INIT;
    struct secret *key = NULL;
    CLEANUP(buf_done) struct buf out = BUF_INIT(20);
    assert_int_equal(keys_generate(s->keys, "demo", &keys_world_context, &key, &out, &e), ERR_LIMIT);
    assert_null(key);
    assert_int_equal(out.len, 0);
}

static enum err_code count_demo(void *context, const char *name, int64_t version, struct err *e)
{
    int64_t *sum = context;
    (void)e;
    if (strcmp(name, "demo") == 0)
        *sum += version;
    return OK;
}

static void every_version_is_listed(void **state)
{
    struct keys_world *s = keys_world_of(state);
    struct err e = ERR_INIT;
    int64_t sum = 0, newest = 0;
    assert_ok(keys_create(s->keys, "demo", &e));
    assert_ok(keys_create(s->keys, "other", &e));
    assert_ok(keys_list(s->keys, count_demo, &sum, &e));
    assert_int_equal(sum, 1 + 2);
    assert_ok(keys_newest(s->keys, "demo", &newest, &e));
    assert_int_equal(newest, 2);
}

static void what_a_destroyed_version_wrapped_is_gone(void **state)
{
    struct keys_world *s = keys_world_of(state);
    struct err e = ERR_INIT;
    CLEANUP(buf_done) struct buf newer = BUF_INIT(KEYS_WRAPPED_BYTES_MAX);
    assert_ok(keys_create(s->keys, "demo", &e));
    assert_ok(keys_rewrap(s->keys, buf_text(&s->wrapped), &keys_world_context, "demo", &newer, &e));
    assert_ok(keys_destroy(s->keys, "demo", 1, &e));
    assert_unwrap_fails(s, buf_text(&s->wrapped), &keys_world_context, ERR_NOT_FOUND);
    assert_unwraps(s, buf_text(&newer)); /* what was wrapped again is not */
    assert_int_equal(keys_destroy(s->keys, "demo", 1, &e), ERR_NOT_FOUND);
    assert_true(keys_has(s->keys, "demo"));
    assert_ok(keys_destroy(s->keys, "demo", 2, &e));
    assert_unwrap_fails(s, buf_text(&newer), &keys_world_context, ERR_NOT_FOUND);
    assert_false(keys_has(s->keys, "demo"));
}

static const struct promise {
    const char *name;
    CMUnitTestFunction test;
} promises[] = {
    { "what was wrapped unwraps", what_was_wrapped_unwraps },
    { "another handle unwraps", another_handle_unwraps },
    { "each data key is new", each_data_key_is_new },
    { "the order of the context does not matter", the_order_of_the_context_does_not_matter },
    { "another context is refused", another_context_is_refused },
    { "a context is checked", a_context_is_checked },
    { "the wrapped form is one canonical line", the_wrapped_form_is_one_canonical_line },
    { "the wrapped form does not hold the key", the_wrapped_form_does_not_hold_the_key },
    { "each altered character is refused", each_altered_character_is_refused },
    { "a malformed text is refused", a_malformed_text_is_refused },
    { "too long a text is refused", too_long_a_text_is_refused },
    { "a new version wraps and the old still unwraps", a_new_version_wraps_and_the_old_still_unwraps },
    { "the version is bound", the_version_is_bound },
    { "rewrap keeps the data key", rewrap_keeps_the_data_key },
    { "rewrap needs the right context", rewrap_needs_the_right_context },
    { "a key that is not there", a_key_that_is_not_there },
    { "key names are names", key_names_are_names },
    { "too small an output is a limit", too_small_an_output_is_a_limit },
    { "every version is listed", every_version_is_listed },
    { "what a destroyed version wrapped is gone", what_a_destroyed_version_wrapped_is_gone },
};
static const struct provider {
    const char *name;
    CMFixtureFunction begin;
} providers[] = {
    { "file", keys_world_file },
    { "pkcs11 (gcm)", keys_world_hsm },
    { "pkcs11 (wrap)", keys_world_hsm_wrap },
    { "kms", keys_world_kms },
};

int main(void)
{
    static struct CMUnitTest tests[ARRAY_LEN(promises) * ARRAY_LEN(providers)];
    size_t count = 0;
    for (size_t p = 0; p < ARRAY_LEN(providers); p++)
        for (size_t i = 0; i < ARRAY_LEN(promises); i++)
            tests[count++] =
                (struct CMUnitTest){ mem_printf("%s: %s", providers[p].name, promises[i].name),
                                     promises[i].test, providers[p].begin, keys_world_end, NULL };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    for (size_t i = 0; i < count; i++)
        free((void *)(uintptr_t)tests[i].name);
    return failed;
}
