#include "base/clock.h"

#include "tests/test.h"

#include <string.h>

static const struct row {
    const char *name, *text;
    enum err_code code;
    int64_t want;
} rows[] = {
    { "the epoch is nought", "1970-01-01T00:00:00Z", OK, 0 },
    { "a time with milliseconds is read", "2026-11-22T10:15:00.123Z", OK, 1795342500123 },
    { "one digit of fraction is tenths", "1970-01-01T00:00:00.5Z", OK, 500 },
    { "nanoseconds are cut off", "1970-01-01T00:00:00.123999999Z", OK, 123 },
    { "the leap day of a leap year exists", "2024-02-29T00:00:00Z", OK, 1709164800000 },
    { "a time before the epoch is negative", "1969-12-31T23:59:59.999Z", OK, -1 },
    { "the year 0 is read", "0000-01-01T00:00:00Z", OK, -62167219200000 },
    { "the last moment of 9999 is read", "9999-12-31T23:59:59.999Z", OK, 253402300799999 },
    { "an offset of nought is UTC", "1970-01-01T00:00:01+00:00", OK, 1000 },
    { "another offset is refused", "1970-01-01T00:00:01+01:00", ERR_USAGE, 0 },
    { "an unknown offset is refused", "1970-01-01T00:00:01-00:00", ERR_USAGE, 0 },
    { "a time without a zone is refused", "1970-01-01T00:00:01", ERR_USAGE, 0 },
    { "29 February of a common year is refused", "2025-02-29T00:00:00Z", ERR_USAGE, 0 },
    { "29 February of 1900 is refused", "1900-02-29T00:00:00Z", ERR_USAGE, 0 },
    { "month 13 is refused", "2025-13-01T00:00:00Z", ERR_USAGE, 0 },
    { "month 0 is refused", "2025-00-01T00:00:00Z", ERR_USAGE, 0 },
    { "day 0 is refused", "2025-01-00T00:00:00Z", ERR_USAGE, 0 },
    { "day 31 of April is refused", "2025-04-31T00:00:00Z", ERR_USAGE, 0 },
    { "hour 24 is refused", "2025-01-01T24:00:00Z", ERR_USAGE, 0 },
    { "minute 60 is refused", "2025-01-01T00:60:00Z", ERR_USAGE, 0 },
    { "a leap second is refused", "2016-12-31T23:59:60Z", ERR_USAGE, 0 },
    { "a space for the T is refused", "2025-01-01 00:00:00Z", ERR_USAGE, 0 },
    { "a point without digits is refused", "2025-01-01T00:00:00.Z", ERR_USAGE, 0 },
    { "ten digits of fraction are refused", "2025-01-01T00:00:00.1234567890Z", ERR_USAGE, 0 },
    { "a short year is refused", "25-01-01T00:00:00Z", ERR_USAGE, 0 },
    { "a sign is refused", "-025-01-01T00:00:00Z", ERR_USAGE, 0 },
    { "what follows is refused", "2025-01-01T00:00:00Z ", ERR_USAGE, 0 },
    { "a day alone is refused", "2025-01-01", ERR_USAGE, 0 },
    { "an empty text is refused", "", ERR_USAGE, 0 },
};

static void time_is_parsed(void **state)
{
    const struct row *r = *state;
    struct err e = ERR_INIT;
    int64_t got = 77;
    assert_int_equal(clock_parse(r->text, &got, &e), r->code);
    assert_true(got == (r->code == OK ? r->want : 77));
}

static void times_are_written_as_they_are_read(void **state)
{
    (void)state;
    static const int64_t times[] = { 0, -1, 1, 999, 1000, 1795342500123, -62167219200000, 253402300799999,
                                     -58979923200000 };
    struct err e = ERR_INIT;
    char text[CLOCK_TEXT_BYTES];
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        int64_t back;
        assert_ok(clock_parse(clock_format(times[i], text), &back, &e));
        assert_true(back == times[i]);
    }
    assert_string_equal(clock_format(1795342500123, text), "2026-11-22T10:15:00.123Z");
    assert_string_equal(clock_format(-1, text), "1969-12-31T23:59:59.999Z");
    assert_string_equal(clock_format(-58979923200000, text), "0101-01-01T00:00:00.000Z");
    assert_string_equal(clock_format_s3(1795342500123, text), "20261122T101500Z");
    assert_string_equal(clock_format_s3(-1, text), "19691231T235959Z");
}

static void times_beyond_four_digits_stop_at_the_edge(void **state)
{
    (void)state;
    char text[CLOCK_TEXT_BYTES];
    assert_string_equal(clock_format(INT64_MAX, text), "9999-12-31T23:59:59.999Z");
    assert_string_equal(clock_format(INT64_MIN, text), "0000-01-01T00:00:00.000Z");
    assert_string_equal(clock_format_s3(INT64_MAX, text), "99991231T235959Z");
}

static void a_fake_clock_stands_still_until_turned(void **state)
{
    (void)state;
    struct clock_fake fake = clock_fake_at(5000);
    const struct clock *c = &fake.base;
    int64_t mono = c->mono_ms(c);
    assert_true(c->wall_ms(c) == 5000);
    assert_true(c->wall_ms(c) == 5000);
    c->sleep_ms(c, 250);
    assert_true(c->wall_ms(c) == 5250);
    assert_true(c->mono_ms(c) == mono + 250);
    c->sleep_ms(c, -1);
    assert_true(c->mono_ms(c) == mono + 250);
    fake.wall -= 1000; /* someone set the clock: durations must not notice */
    assert_true(c->wall_ms(c) == 4250);
    assert_true(c->mono_ms(c) == mono + 250);
}

static void the_real_clock_goes_forward(void **state)
{
    (void)state;
    const struct clock *c = &clock_real;
    int64_t before_us = clock_mono_us(), before_ms = c->mono_ms(c);
    c->sleep_ms(c, 2);
    c->sleep_ms(c, 0);
    c->sleep_ms(c, -5);
    assert_true(clock_mono_us() - before_us >= 2000);
    assert_true(c->mono_ms(c) >= before_ms + 1);
    assert_true(c->wall_ms(c) > 1700000000000); /* later than 2023 */
}

int main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(times_are_written_as_they_are_read),
        cmocka_unit_test(times_beyond_four_digits_stop_at_the_edge),
        cmocka_unit_test(a_fake_clock_stands_still_until_turned),
        cmocka_unit_test(the_real_clock_goes_forward),
    };
    static struct CMUnitTest tests[ARRAY_LEN(rows)];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        tests[i] = (struct CMUnitTest){ rows[i].name, time_is_parsed, NULL, NULL, (void *)&rows[i] };
    return cmocka_run_group_tests(tests, NULL, NULL) + cmocka_run_group_tests(others, NULL, NULL);
}
