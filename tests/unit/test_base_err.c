#include "tests/test.h"

#include <errno.h>
#include <string.h>

static void an_error_says_its_code_and_its_sentence(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    e.cause = 7;
    assert_int_equal(err_set(&e, ERR_DENIED, "key '%s' is locked", "k1"), ERR_DENIED);
    assert_int_equal(e.code, ERR_DENIED);
    assert_int_equal(e.cause, 0); /* of an earlier error nothing is left */
    assert_string_equal(e.text, "key 'k1' is locked");
}

static void context_goes_in_front(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    IGNORE(err_set(&e, ERR_RETRY, "HTTP 503"));
    e.cause = 503;
    assert_int_equal(err_wrap(&e, "get %s", "s3://d/m.json"), ERR_RETRY);
    assert_int_equal(err_wrap(&e, "submit job '%s'", "a"), ERR_RETRY);
    assert_string_equal(e.text, "submit job 'a': get s3://d/m.json: HTTP 503");
    assert_int_equal(e.cause, 503);
}

static void a_text_that_is_too_long_loses_its_middle(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    IGNORE(err_set(&e, ERR_IO, "the end"));
    for (int i = 0; i < 100; i++)
        IGNORE(err_wrap(&e, "one more layer of context, number %d", i));
    assert_int_equal(strlen(e.text), ERR_TEXT_BYTES - 1);
    assert_int_equal(strncmp(e.text, "one more layer of context, number 99: ", 38), 0);
    assert_non_null(strstr(e.text, " ... "));
    assert_string_equal(e.text + strlen(e.text) - 9, ": the end"); /* the front says where, the end why */
    assert_int_equal(e.code, ERR_IO);
}

static void errno_becomes_a_code(void **state)
{
    (void)state;
    static const struct {
        int error;
        enum err_code want;
    } cases[] = {
        { ENOENT, ERR_NOT_FOUND },   { EAGAIN, ERR_RETRY },     { ETIMEDOUT, ERR_RETRY },
        { ECONNREFUSED, ERR_RETRY }, { ECONNRESET, ERR_RETRY }, { ENOSPC, ERR_IO },
        { EACCES, ERR_IO },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err e = ERR_INIT;
        errno = cases[i].error;
        assert_int_equal(err_errno(&e, "open '%s'", "x"), cases[i].want);
        assert_int_equal(e.cause, cases[i].error);
        assert_int_equal(strncmp(e.text, "open 'x': ", 10), 0);
        assert_non_null(strstr(e.text, strerror(cases[i].error)));
    }
}

static void names_go_both_ways(void **state)
{
    (void)state;
    for (int code = OK + 1; code < ERR_CODE_COUNT; code++) {
        const char *name = err_name((enum err_code)code);
        assert_string_not_equal(name, "unknown");
        assert_int_equal(err_from_name(name), code);
    }
    assert_string_equal(err_name((enum err_code)ERR_CODE_COUNT), "unknown");
    assert_int_equal(err_from_name("no such name"), OK);
    assert_int_equal(err_from_name(""), OK);
}

static void clearing_leaves_nothing(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    IGNORE(err_set(&e, ERR_IO, "x"));
    err_clear(&e);
    assert_int_equal(e.code, OK);
    assert_string_equal(e.text, "");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_says_its_code_and_its_sentence),
        cmocka_unit_test(context_goes_in_front),
        cmocka_unit_test(a_text_that_is_too_long_loses_its_middle),
        cmocka_unit_test(errno_becomes_a_code),
        cmocka_unit_test(names_go_both_ways),
        cmocka_unit_test(clearing_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
