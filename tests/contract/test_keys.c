/* The contract of core/keys, for every provider (so far: file), then what is special to each. */
#include "tests/test.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "core/json/json.h"
#include "core/keys/keys.h"
#include "core/keys/keys_ops.h"

#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct setup {
    struct keys_config config;
    struct keys *keys;
    struct buf wrapped; /* of `data_key`, under "demo", bound to the context below */
    struct secret *data_key;
};

static const struct keys_context context = {
    .pair = { { "cluster", "eu-1" }, { "job", "261122-k3m9qz" }, { "attempt", "2" } },
    .count = 3,
};

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st, (void)kind, (void)where;
    return remove(path);
}

static int setup_file(void **state)
{
    struct err e = ERR_INIT;
    struct setup *s = mem_new(sizeof(*s));
    s->config.provider = KEYS_FILE;
    s->wrapped = (struct buf)BUF_INIT(KEYS_WRAPPED_BYTES_MAX);
    snprintf(s->config.dir, sizeof(s->config.dir), "build/test-keys-XXXXXX");
    if (dir_make("build", 0755, &e) || !mkdtemp(s->config.dir))
        return -1;
    if (keys_open(&s->config, &s->keys, &e) || keys_create(s->keys, "demo", &e) ||
        keys_generate(s->keys, "demo", &context, &s->data_key, &s->wrapped, &e)) {
        print_error("%s\n", e.text);
        return -1;
    }
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct setup *s = *state;
    nftw(s->config.dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    keys_close(s->keys);
    secret_free(s->data_key);
    buf_done(&s->wrapped);
    free(s);
    return 0;
}

static void assert_unwraps(struct setup *s, const char *wrapped)
{
    struct err e = ERR_INIT;
    CLEANUP(secret_freep) struct secret *again = NULL;
    assert_ok(keys_unwrap(s->keys, wrapped, &context, &again, &e));
    assert_true(secret_equal(again, s->data_key));
}

static void assert_unwrap_fails(struct setup *s, const char *wrapped, const struct keys_context *c,
                                enum err_code want)
{
    struct err e = ERR_INIT;
    struct secret *key = NULL;
    assert_int_equal(keys_unwrap(s->keys, wrapped, c, &key, &e), want);
    assert_null(key);
}

static void assert_facts(const struct buf *wrapped, const char *key, int64_t version)
{
    struct err e = ERR_INIT;
    struct keys_facts facts;
    assert_ok(keys_describe(buf_text(wrapped), &facts, &e));
    assert_string_equal(facts.key, key);
    assert_int_equal(facts.version, version);
}

/* ---- what every provider promises ---- */

static void what_was_wrapped_unwraps(void **state)
{
    struct setup *s = *state;
    assert_int_equal(secret_len(s->data_key), DATA_KEY_BYTES);
    assert_unwraps(s, buf_text(&s->wrapped));
}

static void another_handle_unwraps(void **state)
{
    struct setup *s = *state;
    struct err e = ERR_INIT;
    CLEANUP(keys_closep) struct keys *other = NULL;
    CLEANUP(secret_freep) struct secret *key = NULL;
    assert_ok(keys_open(&s->config, &other, &e));
    assert_ok(keys_unwrap(other, buf_text(&s->wrapped), &context, &key, &e));
    assert_true(secret_equal(key, s->data_key));
}

static void each_data_key_is_new(void **state)
{
    struct setup *s = *state;
    struct err e = ERR_INIT;
    CLEANUP(secret_freep) struct secret *other = NULL;
    CLEANUP(buf_done) struct buf wrapped = BUF_INIT(KEYS_WRAPPED_BYTES_MAX);
    assert_ok(keys_generate(s->keys, "demo", &context, &other, &wrapped, &e));
    assert_false(secret_equal(other, s->data_key));
    assert_string_not_equal(buf_text(&wrapped), buf_text(&s->wrapped));
}

static void the_order_of_the_context_does_not_matter(void **state)
{
    struct setup *s = *state;
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
    const struct context_row *r = *state;
    void *made = NULL;
    assert_int_equal(setup_file(&made), 0);
    assert_unwrap_fails(made, buf_text(&((struct setup *)made)->wrapped), &r->context, ERR_CORRUPT);
    teardown(&made);
}

static void a_context_is_checked(void **state)
{
    struct setup *s = *state;
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
    struct setup *s = *state;
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
    struct setup *s = *state;
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
    struct setup *s = *state;
    struct err e = ERR_INIT;
    static const char other[] = "A0\"}";
    for (size_t i = 0; i < s->wrapped.len; i++)
        for (const char *c = other; *c; c++) {
            CLEANUP(freep) char *text = mem_text(buf_text(&s->wrapped));
            struct secret *key = NULL;
            if (text[i] == *c)
                continue;
            text[i] = *c;
            enum err_code code = keys_unwrap(s->keys, text, &context, &key, &e);
            assert_true(code == ERR_CORRUPT || code == ERR_NOT_FOUND);
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
    { "refused: a provider that is not this one", WRAPPED("\"demo\"", "\"kms\"", "1", "\"AAAA\"") },
    { "refused: too few wrapped bytes", WRAPPED("\"demo\"", "\"file\"", "1", "\"AAAA\"") },
    { "refused: no wrapped bytes", WRAPPED("\"demo\"", "\"file\"", "1", "\"\"") },
    { "refused: no base64", WRAPPED("\"demo\"", "\"file\"", "1", "\"AAA\"") },
};

static void a_malformed_text_is_refused(void **state)
{
    const struct text_row *r = *state;
    void *made = NULL;
    assert_int_equal(setup_file(&made), 0);
    assert_unwrap_fails(made, r->text, &context, ERR_CORRUPT);
    teardown(&made);
}

static void too_long_a_text_is_refused(void **state)
{
    struct setup *s = *state;
    CLEANUP(freep) char *text = mem_new(KEYS_WRAPPED_BYTES_MAX + 2);
    memset(text, ' ', KEYS_WRAPPED_BYTES_MAX + 1);
    assert_unwrap_fails(s, text, &context, ERR_CORRUPT);
}

static void a_new_version_wraps_and_the_old_still_unwraps(void **state)
{
    struct setup *s = *state;
    struct err e = ERR_INIT;
    CLEANUP(secret_freep) struct secret *key = NULL;
    CLEANUP(buf_done) struct buf wrapped = BUF_INIT(KEYS_WRAPPED_BYTES_MAX);
    assert_ok(keys_create(s->keys, "demo", &e));
    assert_ok(keys_generate(s->keys, "demo", &context, &key, &wrapped, &e));
    assert_facts(&wrapped, "demo", 2);
    assert_unwraps(s, buf_text(&s->wrapped));
}

static void the_version_is_bound(void **state) /* version 2 does not open what version 1 wrapped */
{
    struct setup *s = *state;
    struct err e = ERR_INIT;
    assert_ok(keys_create(s->keys, "demo", &e));
    CLEANUP(freep) char *text = mem_text(buf_text(&s->wrapped));
    char *version = strstr(text, "\"version\":1");
    assert_non_null(version);
    version[strlen("\"version\":")] = '2';
    assert_unwrap_fails(s, text, &context, ERR_CORRUPT);
}

static void rewrap_keeps_the_data_key(void **state)
{
    struct setup *s = *state;
    struct err e = ERR_INIT;
    CLEANUP(buf_done) struct buf newer = BUF_INIT(KEYS_WRAPPED_BYTES_MAX);
    CLEANUP(buf_done) struct buf other = BUF_INIT(KEYS_WRAPPED_BYTES_MAX);
    assert_ok(keys_create(s->keys, "demo", &e));
    assert_ok(keys_rewrap(s->keys, buf_text(&s->wrapped), &context, "demo", &newer, &e));
    assert_facts(&newer, "demo", 2);
    assert_unwraps(s, buf_text(&newer));
    assert_ok(keys_create(s->keys, "other", &e));
    assert_ok(keys_rewrap(s->keys, buf_text(&s->wrapped), &context, "other", &other, &e));
    assert_facts(&other, "other", 1);
    assert_unwraps(s, buf_text(&other));
}

static void rewrap_needs_the_right_context(void **state)
{
    struct setup *s = *state;
    struct err e = ERR_INIT;
    const struct keys_context none = { .count = 0 };
    CLEANUP(buf_done) struct buf out = BUF_INIT(KEYS_WRAPPED_BYTES_MAX);
    assert_int_equal(keys_rewrap(s->keys, buf_text(&s->wrapped), &none, "demo", &out, &e), ERR_CORRUPT);
    assert_int_equal(out.len, 0);
}

static void a_key_that_is_not_there(void **state)
{
    struct setup *s = *state;
    struct err e = ERR_INIT;
    struct secret *key = NULL;
    CLEANUP(buf_done) struct buf out = BUF_INIT(KEYS_WRAPPED_BYTES_MAX);
    assert_true(keys_has(s->keys, "demo"));
    assert_false(keys_has(s->keys, "absent"));
    assert_int_equal(keys_generate(s->keys, "absent", &context, &key, &out, &e), ERR_NOT_FOUND);
    assert_int_equal(keys_rewrap(s->keys, buf_text(&s->wrapped), &context, "absent", &out, &e),
                     ERR_NOT_FOUND);
    assert_null(key);
    assert_int_equal(out.len, 0);
}

static void key_names_are_names(void **state)
{
    struct setup *s = *state;
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
    struct setup *s = *state;
    struct err e = ERR_INIT;
    struct secret *key = NULL;
    CLEANUP(buf_done) struct buf out = BUF_INIT(20);
    assert_int_equal(keys_generate(s->keys, "demo", &context, &key, &out, &e), ERR_LIMIT);
    assert_null(key);
    assert_int_equal(out.len, 0);
}

/* ---- file ---- */

static char *kek_path(struct setup *s, const char *file)
{
    return path_join(s->config.dir, file);
}

static void a_kek_is_a_private_file(void **state)
{
    struct setup *s = *state;
    struct stat st;
    CLEANUP(freep) char *path = kek_path(s, "demo.v1.key");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_size, 65); /* 64 hex digits, a newline */
}

static void a_kek_that_others_may_read_is_refused(void **state)
{
    struct setup *s = *state;
    struct err e = ERR_INIT;
    struct secret *key = NULL;
    CLEANUP(buf_done) struct buf out = BUF_INIT(KEYS_WRAPPED_BYTES_MAX);
    CLEANUP(freep) char *path = kek_path(s, "demo.v1.key");
    static const mode_t modes[] = { 0640, 0604, 0620, 0602, 0666 };
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        assert_int_equal(chmod(path, modes[i]), 0);
        assert_int_equal(keys_unwrap(s->keys, buf_text(&s->wrapped), &context, &key, &e), ERR_DENIED);
        assert_non_null(strstr(e.text, "chmod 600"));
        assert_int_equal(keys_generate(s->keys, "demo", &context, &key, &out, &e), ERR_DENIED);
    }
    assert_null(key);
    assert_int_equal(chmod(path, 0600), 0);
    assert_unwraps(s, buf_text(&s->wrapped));
}

static void a_folder_that_others_may_write_is_refused(void **state)
{
    struct setup *s = *state;
    struct err e = ERR_INIT;
    struct secret *key = NULL;
    assert_int_equal(chmod(s->config.dir, 0770), 0);
    assert_int_equal(keys_unwrap(s->keys, buf_text(&s->wrapped), &context, &key, &e), ERR_DENIED);
    assert_non_null(strstr(e.text, "chmod 700"));
    assert_int_equal(keys_create(s->keys, "demo", &e), ERR_DENIED);
    assert_null(key);
    assert_int_equal(chmod(s->config.dir, 0700), 0);
}

static void a_removed_kek_shreds_what_it_wrapped(void **state)
{
    struct setup *s = *state;
    struct err e = ERR_INIT;
    CLEANUP(freep) char *path = kek_path(s, "demo.v1.key");
    assert_ok(keys_create(s->keys, "demo", &e));
    assert_ok(file_remove(path, &e));
    assert_unwrap_fails(s, buf_text(&s->wrapped), &context, ERR_NOT_FOUND);
    assert_true(keys_has(s->keys, "demo")); /* version 2 */
}

static void another_kek_in_its_place_is_refused(void **state)
{
    struct setup *s = *state;
    struct err e = ERR_INIT;
    CLEANUP(freep) char *path = kek_path(s, "demo.v1.key");
    assert_ok(file_remove(path, &e));
    assert_ok(keys_create(s->keys, "demo", &e));
    assert_unwrap_fails(s, buf_text(&s->wrapped), &context, ERR_CORRUPT);
}

static void a_damaged_kek_is_told_without_its_bytes(void **state)
{
    struct setup *s = *state;
    struct err e = ERR_INIT;
    struct secret *key = NULL;
    CLEANUP(freep) char *path = kek_path(s, "demo.v1.key");
    static const char *const wrong[] = {
        "", "\n", "abcdef", "secret-that-must-not-be-quoted-in-any-error-text-0123456789-012\n",
        "secret-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789\n"
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_ok(file_write(path, wrong[i], strlen(wrong[i]), 0600, &e));
        enum err_code code = keys_unwrap(s->keys, buf_text(&s->wrapped), &context, &key, &e);
        assert_true(code == ERR_CORRUPT || code == ERR_LIMIT);
        assert_null(strstr(e.text, "secret"));
    }
    assert_null(key);
}

/* Names and versions may look alike: "a", "a.v1", "a.v1.v2". Only NAME.vN.key with a plain N counts. */
static void look_alikes_are_other_keys(void **state)
{
    struct setup *s = *state;
    struct err e = ERR_INIT;
    static const char *const noise[] = { "a.v01.key",    "a.v0.key",
                                         "a.v-1.key",    "a.v.key",
                                         "a.v9.key.bak", "a.v1.v2.key",
                                         "a.v+3.key",    "a.v99999999999999999999.key" };
    for (size_t i = 0; i < ARRAY_LEN(noise); i++) {
        CLEANUP(freep) char *path = kek_path(s, noise[i]);
        assert_ok(file_write(path, "x", 1, 0600, &e));
    }
    assert_false(keys_has(s->keys, "a"));
    assert_true(keys_has(s->keys, "a.v1"));
    assert_ok(keys_create(s->keys, "a", &e));
    CLEANUP(freep) char *first = kek_path(s, "a.v1.key");
    assert_true(file_exists(first));
}

static void policy_refuses_files_at_every_use(void **state)
{
    struct setup *s = *state;
    struct err e = ERR_INIT;
    struct secret *key = NULL;
    CLEANUP(keys_closep) struct keys *k = NULL;
    CLEANUP(buf_done) struct buf out = BUF_INIT(KEYS_WRAPPED_BYTES_MAX);
    s->config.kms_required = true;
    assert_ok(keys_open(&s->config, &k, &e));
    assert_int_equal(keys_create(k, "demo", &e), ERR_DENIED);
    assert_int_equal(keys_generate(k, "demo", &context, &key, &out, &e), ERR_DENIED);
    assert_int_equal(keys_unwrap(k, buf_text(&s->wrapped), &context, &key, &e), ERR_DENIED);
    assert_int_equal(keys_rewrap(k, buf_text(&s->wrapped), &context, "demo", &out, &e), ERR_DENIED);
    assert_false(keys_has(k, "demo"));
    assert_null(key);
    assert_int_equal(out.len, 0);
}

static void open_checks_its_configuration(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct keys *k = NULL;
    const struct keys_config no_dir = { .provider = KEYS_FILE };
    const struct keys_config no_provider = { .provider = 99, .dir = "build" };
    assert_int_equal(keys_open(&no_dir, &k, &e), ERR_USAGE);
    assert_int_equal(keys_open(&no_provider, &k, &e), ERR_USAGE);
    assert_null(k);
    keys_close(NULL);
}

/* Fixed here, since it is on disk for as long as the objects are. */
static void bound_bytes_are_fixed(void **state)
{
    (void)state;
    static const char want[] = "sovrun-wrap-v1\0\0\0\4file\0\0\0\4demo\0\0\0\10\0\0\0\0\0\0\0\3"
                               "\0\0\0\1a\0\0\0\1y\0\0\0\1b\0\0\0\0";
    const struct keys_context c = { .pair = { { "b", "" }, { "a", "y" } }, .count = 2 };
    CLEANUP(buf_done) struct buf out = BUF_INIT(256);
    keys_bound_bytes("file", "demo", 3, &c, &out);
    assert_int_equal(out.len, sizeof(want) - 1);
    assert_memory_equal(out.data, want, out.len);
}

#define FILE_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup_file, teardown)

enum { TESTS_MAX = 64 };
#define ADD_ROWS(rows, fn)                                                                                   \
    for (size_t i_ = 0; i_ < ARRAY_LEN(rows); i_++)                                                          \
        tests[count++] = (struct CMUnitTest)                                                                 \
        {                                                                                                    \
            (rows)[i_].name, fn, NULL, NULL, (void *)(uintptr_t) & (rows)[i_]                                \
        }

int main(void)
{
    static const struct CMUnitTest others[] = {
        FILE_TEST(what_was_wrapped_unwraps),
        FILE_TEST(another_handle_unwraps),
        FILE_TEST(each_data_key_is_new),
        FILE_TEST(the_order_of_the_context_does_not_matter),
        FILE_TEST(a_context_is_checked),
        FILE_TEST(the_wrapped_form_is_one_canonical_line),
        FILE_TEST(the_wrapped_form_does_not_hold_the_key),
        FILE_TEST(each_altered_character_is_refused),
        FILE_TEST(too_long_a_text_is_refused),
        FILE_TEST(a_new_version_wraps_and_the_old_still_unwraps),
        FILE_TEST(the_version_is_bound),
        FILE_TEST(rewrap_keeps_the_data_key),
        FILE_TEST(rewrap_needs_the_right_context),
        FILE_TEST(a_key_that_is_not_there),
        FILE_TEST(key_names_are_names),
        FILE_TEST(too_small_an_output_is_a_limit),
        FILE_TEST(a_kek_is_a_private_file),
        FILE_TEST(a_kek_that_others_may_read_is_refused),
        FILE_TEST(a_folder_that_others_may_write_is_refused),
        FILE_TEST(a_removed_kek_shreds_what_it_wrapped),
        FILE_TEST(another_kek_in_its_place_is_refused),
        FILE_TEST(a_damaged_kek_is_told_without_its_bytes),
        FILE_TEST(look_alikes_are_other_keys),
        FILE_TEST(policy_refuses_files_at_every_use),
        cmocka_unit_test(open_checks_its_configuration),
        cmocka_unit_test(bound_bytes_are_fixed),
    };
    static struct CMUnitTest tests[TESTS_MAX];
    size_t count = 0;
    ADD_ROWS(context_rows, another_context_is_refused);
    ADD_ROWS(text_rows, a_malformed_text_is_refused);
    memcpy(&tests[count], others, sizeof(others));
    return _cmocka_run_group_tests("keys", tests, count + ARRAY_LEN(others), NULL, NULL);
}
