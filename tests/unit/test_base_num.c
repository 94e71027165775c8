#include "base/num.h"

#include "tests/test.h"

#include <math.h>
#include <string.h>

/* One row a text. A text that is refused must leave the output as it was. */
struct row {
    const char *name;
    enum err_code (*parse)(const char *text, struct err *e, double *out);
    const char *text;
    enum err_code code;
    double want; /* exact: every number here fits a double */
};

static const double untouched = 12345;

static enum err_code i64(const char *text, struct err *e, double *out)
{
    int64_t v = (int64_t)untouched;
    enum err_code code = parse_i64(text, &v, e);
    *out = (double)v;
    return code;
}

static enum err_code u64(const char *text, struct err *e, double *out)
{
    uint64_t v = (uint64_t)untouched;
    enum err_code code = parse_u64(text, &v, e);
    *out = (double)v;
    return code;
}

static enum err_code f64(const char *text, struct err *e, double *out)
{
    *out = untouched;
    return parse_f64(text, out, e);
}

static enum err_code size(const char *text, struct err *e, double *out)
{
    uint64_t v = (uint64_t)untouched;
    enum err_code code = parse_size(text, &v, e);
    *out = (double)v;
    return code;
}

static enum err_code duration(const char *text, struct err *e, double *out)
{
    int64_t v = (int64_t)untouched;
    enum err_code code = parse_duration(text, &v, e);
    *out = (double)v;
    return code;
}

static const struct row rows[] = {
    { "a whole number is read", i64, "42", OK, 42 },
    { "a negative whole number is read", i64, "-42", OK, -42 },
    { "minus nought is nought", i64, "-0", OK, 0 },
    { "leading noughts stay decimal", i64, "010", OK, 10 },
    { "the smallest 64-bit number is read", i64, "-9223372036854775808", OK, -0x1p63 },
    { "one below the smallest is refused", i64, "-9223372036854775809", ERR_USAGE, 0 },
    { "one above the largest is refused", i64, "9223372036854775808", ERR_USAGE, 0 },
    { "an empty text is no number", i64, "", ERR_USAGE, 0 },
    { "a minus alone is no number", i64, "-", ERR_USAGE, 0 },
    { "a plus is refused", i64, "+1", ERR_USAGE, 0 },
    { "two signs are refused", i64, "--1", ERR_USAGE, 0 },
    { "leading space is refused", i64, " 1", ERR_USAGE, 0 },
    { "trailing space is refused", i64, "1 ", ERR_USAGE, 0 },
    { "a trailing newline is refused", i64, "1\n", ERR_USAGE, 0 },
    { "hexadecimal is refused", i64, "0x10", ERR_USAGE, 0 },
    { "a fraction is no whole number", i64, "1.0", ERR_USAGE, 0 },
    { "digits too many to count are refused", i64, "99999999999999999999999999", ERR_USAGE, 0 },

    { "an unsigned number is read", u64, "7", OK, 7 },
    { "the largest unsigned number is read", u64, "18446744073709551615", OK, 0x1p64 },
    { "one above the largest unsigned is refused", u64, "18446744073709551616", ERR_USAGE, 0 },
    { "an unsigned number has no minus", u64, "-1", ERR_USAGE, 0 },
    { "an unsigned number has no plus", u64, "+1", ERR_USAGE, 0 },

    { "a decimal is read", f64, "0.25", OK, 0.25 },
    { "an exponent is read", f64, "3e-4", OK, 3e-4 },
    { "a large exponent with a sign is read", f64, "1E+3", OK, 1000 },
    { "a decimal may begin with its point", f64, ".5", OK, 0.5 },
    { "a decimal may end with its point", f64, "5.", OK, 5 },
    { "a negative decimal is read", f64, "-1.5", OK, -1.5 },
    { "a decimal too small becomes nought", f64, "1e-999", OK, 0 },
    { "a decimal too large is refused", f64, "1e999", ERR_USAGE, 0 },
    { "infinity is refused", f64, "inf", ERR_USAGE, 0 },
    { "not-a-number is refused", f64, "nan", ERR_USAGE, 0 },
    { "a hexadecimal decimal is refused", f64, "0x1p3", ERR_USAGE, 0 },
    { "a decimal comma is refused", f64, "1,5", ERR_USAGE, 0 },
    { "a point alone is no number", f64, ".", ERR_USAGE, 0 },
    { "an exponent alone is no number", f64, "e5", ERR_USAGE, 0 },
    { "an exponent needs digits", f64, "1e", ERR_USAGE, 0 },
    { "an exponent needs digits after its sign", f64, "1e+", ERR_USAGE, 0 },
    { "a decimal has no leading space", f64, " 1", ERR_USAGE, 0 },
    { "a decimal has no second point", f64, "1.2.3", ERR_USAGE, 0 },
    { "an empty text is no decimal", f64, "", ERR_USAGE, 0 },

    { "a size without a unit is bytes", size, "4096", OK, 4096 },
    { "a size in bytes is read", size, "12B", OK, 12 },
    { "KiB is 1024", size, "64KiB", OK, 65536 },
    { "KB is 1000", size, "64KB", OK, 64000 },
    { "a fraction of GiB is read", size, "1.5GiB", OK, 1610612736.0 },
    { "TiB is 2^40", size, "2TiB", OK, 0x1p41 },
    { "a size may be nought", size, "0", OK, 0 },
    { "a fraction of a byte is refused", size, "1.5", ERR_USAGE, 0 },
    { "a fraction that is no whole byte is refused", size, "0.1KiB", ERR_USAGE, 0 },
    { "a unit is case-sensitive", size, "1kib", ERR_USAGE, 0 },
    { "an ambiguous unit is refused", size, "1K", ERR_USAGE, 0 },
    { "a size has no space", size, "1 KiB", ERR_USAGE, 0 },
    { "a unit needs a number", size, "KiB", ERR_USAGE, 0 },
    { "a fraction needs digits", size, "1.KiB", ERR_USAGE, 0 },
    { "a size has no minus", size, "-1KiB", ERR_USAGE, 0 },
    { "a size of 64 bits is refused", size, "16777216TiB", ERR_USAGE, 0 },
    { "a size has no time unit", size, "1s", ERR_USAGE, 0 },

    { "milliseconds are read", duration, "250ms", OK, 250 },
    { "seconds are read", duration, "10s", OK, 10000 },
    { "minutes are read", duration, "5m", OK, 300000 },
    { "hours are read", duration, "2h", OK, 7200000 },
    { "days are read", duration, "30d", OK, 2592000000.0 },
    { "a fraction of an hour is read", duration, "1.5h", OK, 5400000 },
    { "nought needs no unit", duration, "0", OK, 0 },
    { "a duration needs a unit", duration, "10", ERR_USAGE, 0 },
    { "a fraction of a millisecond is refused", duration, "0.0001s", ERR_USAGE, 0 },
    { "a fraction with too many digits is refused", duration, "1.0000000s", ERR_USAGE, 0 },
    { "a duration has no minus", duration, "-1s", ERR_USAGE, 0 },
    { "two units are refused", duration, "1h30m", ERR_USAGE, 0 },
    { "a duration beyond 63 bits is refused", duration, "106751991168d", ERR_USAGE, 0 },
};

static void text_is_parsed(void **state)
{
    const struct row *r = *state;
    struct err e = ERR_INIT;
    double got;
    assert_int_equal(r->parse(r->text, &e, &got), r->code);
    assert_true(got == (r->code == OK ? r->want : untouched));
    if (r->code != OK)
        assert_non_null(strstr(e.text, r->text)); /* the error quotes what it refuses */
}

static void exact_limits_survive(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    int64_t i;
    uint64_t u;
    assert_ok(parse_i64("9223372036854775807", &i, &e));
    assert_true(i == INT64_MAX);
    assert_ok(parse_i64("-9223372036854775808", &i, &e));
    assert_true(i == INT64_MIN);
    assert_ok(parse_u64("18446744073709551615", &u, &e));
    assert_true(u == UINT64_MAX);
    assert_ok(parse_size("16777215TiB", &u, &e));
    assert_true(u == 16777215ull << 40);
}

static void only_true_and_false_are_truth_values(void **state)
{
    (void)state;
    static const char *const others[] = { "", "True", "yes", "1", "truee", "false " };
    struct err e = ERR_INIT;
    bool v = false;
    assert_ok(parse_bool("true", &v, &e));
    assert_true(v);
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        assert_int_equal(parse_bool(others[i], &v, &e), ERR_USAGE);
        assert_true(v);
    }
    assert_ok(parse_bool("false", &v, &e));
    assert_false(v);
}

static void a_long_text_is_quoted_in_part(void **state)
{
    (void)state;
    char text[5000];
    struct err e = ERR_INIT;
    int64_t v;
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    assert_int_equal(parse_i64(text, &v, &e), ERR_USAGE);
    assert_true(strlen(e.text) < 200);
}

static void durations_read_well(void **state)
{
    (void)state;
    static const struct {
        int64_t ms;
        const char *want;
    } cases[] = {
        { 0, "0ms" },
        { 999, "999ms" },
        { 1000, "1.0s" },
        { 12345, "12.3s" },
        { 59999, "59.9s" },
        { 60000, "1m 00s" },
        { 3599999, "59m 59s" },
        { 3900000, "1h 05m" },
        { 86399999, "23h 59m" },
        { 86400000, "1d 00h" },
        { -1500, "-1.5s" },
        { INT64_MIN, "-106751991167d 07h" },
    };
    char text[NUM_TEXT_BYTES];
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_string_equal(format_duration(cases[i].ms, text), cases[i].want);
}

static void sizes_read_well(void **state)
{
    (void)state;
    static const struct {
        uint64_t bytes;
        const char *want;
    } cases[] = {
        { 0, "0 B" },
        { 1023, "1023 B" },
        { 1024, "1.0 KiB" },
        { 1572864, "1.5 MiB" },
        { 1073741823, "1023.9 MiB" },
        { 1ull << 40, "1.0 TiB" },
        { UINT64_MAX, "15.9 EiB" },
    };
    char text[NUM_TEXT_BYTES];
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_string_equal(format_size(cases[i].bytes, text), cases[i].want);
}

int main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(exact_limits_survive),
        cmocka_unit_test(only_true_and_false_are_truth_values),
        cmocka_unit_test(a_long_text_is_quoted_in_part),
        cmocka_unit_test(durations_read_well),
        cmocka_unit_test(sizes_read_well),
    };
    static struct CMUnitTest tests[ARRAY_LEN(rows)];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        tests[i] = (struct CMUnitTest){ rows[i].name, text_is_parsed, NULL, NULL, (void *)&rows[i] };
    return cmocka_run_group_tests(tests, NULL, NULL) + cmocka_run_group_tests(others, NULL, NULL);
}
