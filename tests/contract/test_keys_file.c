/* What is special to keys in files: modes, names, damage; and what the facade checks by itself. */
#include "tests/keys_world.h"

#include "base/file.h"
#include "base/mem.h"
#include "core/keys/keys_ops.h"

#include <string.h>
#include <sys/stat.h>

/* ---- file ---- */

static char *kek_path(struct keys_world *s, const char *file)
{
    return path_join(s->config.dir, file);
}

static void a_kek_is_a_private_file(void **state)
{
    struct keys_world *s = keys_world_of(state);
    struct stat st;
    CLEANUP(freep) char *path = kek_path(s, "demo.v1.key");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_size, 65); /* 64 hex digits, a newline */
}

static void a_kek_that_others_may_read_is_refused(void **state)
{
    struct keys_world *s = keys_world_of(state);
    struct err e = ERR_INIT;
    struct secret *key = NULL;
    CLEANUP(buf_done) struct buf out = BUF_INIT(KEYS_WRAPPED_BYTES_MAX);
    CLEANUP(freep) char *path = kek_path(s, "demo.v1.key");
    static const mode_t modes[] = { 0640, 0604, 0620, 0602, 0666 };
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        assert_int_equal(chmod(path, modes[i]), 0);
        assert_int_equal(keys_unwrap(s->keys, buf_text(&s->wrapped), &keys_world_context, &key, &e),
                         ERR_DENIED);
        assert_non_null(strstr(e.text, "chmod 600"));
        assert_int_equal(keys_generate(s->keys, "demo", &keys_world_context, &key, &out, &e), ERR_DENIED);
    }
    assert_null(key);
    assert_int_equal(chmod(path, 0600), 0);
    assert_unwraps(s, buf_text(&s->wrapped));
}

static void a_folder_that_others_may_write_is_refused(void **state)
{
    struct keys_world *s = keys_world_of(state);
    struct err e = ERR_INIT;
    struct secret *key = NULL;
    assert_int_equal(chmod(s->config.dir, 0770), 0);
    assert_int_equal(keys_unwrap(s->keys, buf_text(&s->wrapped), &keys_world_context, &key, &e), ERR_DENIED);
    assert_non_null(strstr(e.text, "chmod 700"));
    assert_int_equal(keys_create(s->keys, "demo", &e), ERR_DENIED);
    assert_null(key);
    assert_int_equal(chmod(s->config.dir, 0700), 0);
}

static void a_removed_kek_shreds_what_it_wrapped(void **state)
{
    struct keys_world *s = keys_world_of(state);
    struct err e = ERR_INIT;
    CLEANUP(freep) char *path = kek_path(s, "demo.v1.key");
    assert_ok(keys_create(s->keys, "demo", &e));
    assert_ok(file_remove(path, &e));
    assert_unwrap_fails(s, buf_text(&s->wrapped), &keys_world_context, ERR_NOT_FOUND);
    assert_true(keys_has(s->keys, "demo")); /* version 2 */
}

static void another_kek_in_its_place_is_refused(void **state)
{
    struct keys_world *s = keys_world_of(state);
    struct err e = ERR_INIT;
    CLEANUP(freep) char *path = kek_path(s, "demo.v1.key");
    assert_ok(file_remove(path, &e));
    assert_ok(keys_create(s->keys, "demo", &e));
    assert_unwrap_fails(s, buf_text(&s->wrapped), &keys_world_context, ERR_CORRUPT);
}

static void a_damaged_kek_is_told_without_its_bytes(void **state)
{
    struct keys_world *s = keys_world_of(state);
    struct err e = ERR_INIT;
    struct secret *key = NULL;
    CLEANUP(freep) char *path = kek_path(s, "demo.v1.key");
    static const char *const wrong[] = {
        "", "\n", "abcdef", "secret-that-must-not-be-quoted-in-any-error-text-0123456789-012\n",
        "secret-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789\n"
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_ok(file_write(path, wrong[i], strlen(wrong[i]), 0600, &e));
        enum err_code code = keys_unwrap(s->keys, buf_text(&s->wrapped), &keys_world_context, &key, &e);
        assert_true(code == ERR_CORRUPT || code == ERR_LIMIT);
        assert_null(strstr(e.text, "secret"));
    }
    assert_null(key);
}

/* Names and versions may look alike: "a", "a.v1", "a.v1.v2". Only NAME.vN.key with a plain N counts. */
static void look_alikes_are_other_keys(void **state)
{
    struct keys_world *s = keys_world_of(state);
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
    struct keys_world *s = keys_world_of(state);
    struct err e = ERR_INIT;
    struct secret *key = NULL;
    CLEANUP(keys_closep) struct keys *k = NULL;
    CLEANUP(buf_done) struct buf out = BUF_INIT(KEYS_WRAPPED_BYTES_MAX);
    s->config.kms_required = true;
    assert_ok(keys_open(&s->config, &s->secrets, &k, &e));
    assert_int_equal(keys_create(k, "demo", &e), ERR_DENIED);
    assert_int_equal(keys_generate(k, "demo", &keys_world_context, &key, &out, &e), ERR_DENIED);
    assert_int_equal(keys_unwrap(k, buf_text(&s->wrapped), &keys_world_context, &key, &e), ERR_DENIED);
    assert_int_equal(keys_rewrap(k, buf_text(&s->wrapped), &keys_world_context, "demo", &out, &e),
                     ERR_DENIED);
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
    assert_int_equal(keys_open(&no_dir, NULL, &k, &e), ERR_USAGE);
    assert_int_equal(keys_open(&no_provider, NULL, &k, &e), ERR_USAGE);
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
    keys_bound_bytes("file", &(struct keys_use){ "demo", 3, &c }, &out);
    assert_int_equal(out.len, sizeof(want) - 1);
    assert_memory_equal(out.data, want, out.len);
}

static const struct arn_row {
    const char *pattern, *arn;
    bool fits;
} arn_rows[] = {
    { "arn:aws-eusc:kms:eusc-de-east-1:111122223333:key/*",
      "arn:aws-eusc:kms:eusc-de-east-1:111122223333:key/ab-1", true },
    { "arn:aws-eusc:kms:eusc-de-east-1:111122223333:key/ab-1",
      "arn:aws-eusc:kms:eusc-de-east-1:111122223333:key/ab-1", true },
    { "arn:aws-eusc:kms:eusc-de-east-1:*:key/*", "arn:aws-eusc:kms:eusc-de-east-1:111122223333:key/ab-1",
      true },
    { "arn:aws-eusc:kms:eusc-de-east-1:111122223333:key/*",
      "arn:aws:kms:eusc-de-east-1:111122223333:key/ab-1", false },
    { "arn:aws-eusc:kms:eusc-de-east-1:111122223333:key/*",
      "arn:aws-eusc:kms:us-east-1:111122223333:key/ab-1", false },
    { "arn:aws-eusc:kms:eusc-de-east-1:111122223333:key/*",
      "arn:aws-eusc:kms:eusc-de-east-1:999922223333:key/ab-1", false },
    { "arn:aws-eusc:kms:eusc-de-east-1:111122223333:key/*",
      "arn:aws-eusc:kms:eusc-de-east-1:111122223333:alias/x", false },
    { "arn:aws-eusc:kms:eusc-de-east-1:1111*:key/*", "arn:aws-eusc:kms:eusc-de-east-1:111122223333:key/ab-1",
      false },
    { "arn:*:key/*", "arn:aws-eusc:kms:eusc-de-east-1:111122223333:key/ab-1", false },
    { "*", "arn:aws-eusc:kms:eusc-de-east-1:111122223333:key/ab-1", false },
    { "", "", false },
    { "arn:aws:kms:r:1:key/*", "arn:aws:kms:r::key/x", false },
    { "arn:aws:kms:r:1:key/*", "arn:aws:kms:r:1:key/x:arn", false },
    { "arn:aws:kms:r:1:key/a", "arn:aws:kms:r:1:key/ab", false },
};

static void an_arn_fits_field_by_field(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(arn_rows); i++)
        if (keys_arn_fits(arn_rows[i].pattern, arn_rows[i].arn) != arn_rows[i].fits)
            fail_msg("'%s' and '%s'", arn_rows[i].pattern, arn_rows[i].arn);
}

#define FILE_TEST(fn) cmocka_unit_test_setup_teardown(fn, keys_world_file, keys_world_end)

int main(void)
{
    static const struct CMUnitTest tests[] = {
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
        cmocka_unit_test(an_arn_fits_field_by_field),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
