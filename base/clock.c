#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static int64_t now_us(clockid_t which)
{
    struct timespec t;
    invariant(clock_gettime(which, &t) == 0);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t clock_wall_ms(void)
{
    return now_us(CLOCK_REALTIME) / 1000;
}

int64_t clock_mono_us(void)
{
    return now_us(CLOCK_MONOTONIC);
}

int64_t clock_mono_ms(void)
{
    return clock_mono_us() / 1000;
}

static int64_t real_wall_ms(const struct clock *c)
{
    (void)c;
    return clock_wall_ms();
}

static int64_t real_mono_ms(const struct clock *c)
{
    (void)c;
    return clock_mono_ms();
}

static void real_sleep_ms(const struct clock *c, int64_t ms)
{
    (void)c;
    if (ms <= 0)
        return;
    struct timespec left = { .tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000 };
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        ;
}

const struct clock clock_real = {
    .wall_ms = real_wall_ms,
    .mono_ms = real_mono_ms,
    .sleep_ms = real_sleep_ms,
};

static int64_t fake_wall_ms(const struct clock *c)
{
    return ((const struct clock_fake *)c)->wall;
}

static int64_t fake_mono_ms(const struct clock *c)
{
    return ((const struct clock_fake *)c)->mono;
}

static void fake_sleep_ms(const struct clock *c, int64_t ms)
{
    struct clock_fake *fake = (struct clock_fake *)c;
    if (ms <= 0)
        return;
    fake->wall += ms;
    fake->mono += ms;
}

struct clock_fake clock_fake_at(int64_t wall_ms)
{
    return (struct clock_fake){
        .base = { .wall_ms = fake_wall_ms, .mono_ms = fake_mono_ms, .sleep_ms = fake_sleep_ms },
        .wall = wall_ms,
        .mono = 1000, /* not 0, which code may keep for "never", and far from any wall time */
    };
}

/* What a text of four digits for the year can say; beyond it the nearest that it can. */
static const int64_t wall_ms_min = -62167219200000; /* 0000-01-01T00:00:00.000Z */
static const int64_t wall_ms_max = 253402300799999; /* 9999-12-31T23:59:59.999Z */

/* Each part is taken modulo its width, so that the compiler sees that the text fits. */
struct utc {
    unsigned year, month, day, hour, minute, second, ms;
};

static struct utc to_utc(int64_t wall_ms)
{
    int64_t ms = MAX(wall_ms_min, MIN(wall_ms, wall_ms_max));
    int64_t rest = (ms % 1000 + 1000) % 1000;
    time_t seconds = (time_t)((ms - rest) / 1000);
    struct tm tm;
    invariant(gmtime_r(&seconds, &tm) != NULL);
    return (struct utc){
        .year = (unsigned)(tm.tm_year + 1900) % 10000,
        .month = (unsigned)(tm.tm_mon + 1) % 100,
        .day = (unsigned)tm.tm_mday % 100,
        .hour = (unsigned)tm.tm_hour % 100,
        .minute = (unsigned)tm.tm_min % 100,
        .second = (unsigned)tm.tm_sec % 100,
        .ms = (unsigned)rest,
    };
}

const char *clock_format(int64_t wall_ms, char out[CLOCK_TEXT_BYTES])
{
    struct utc t = to_utc(wall_ms);
    snprintf(out, CLOCK_TEXT_BYTES, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ", t.year, t.month, t.day, t.hour,
             t.minute, t.second, t.ms);
    return out;
}

const char *clock_format_s3(int64_t wall_ms, char out[CLOCK_TEXT_BYTES])
{
    struct utc t = to_utc(wall_ms);
    snprintf(out, CLOCK_TEXT_BYTES, "%04u%02u%02uT%02u%02u%02uZ", t.year, t.month, t.day, t.hour, t.minute,
             t.second);
    return out;
}

/* Exactly n digits at *p. */
static bool take_number(const char **p, int n, int *out)
{
    int v = 0;
    for (int i = 0; i < n; i++, (*p)++) {
        if (**p < '0' || **p > '9')
            return false;
        v = v * 10 + (**p - '0');
    }
    *out = v;
    return true;
}

static bool take_char(const char **p, char c)
{
    if (**p != c)
        return false;
    (*p)++;
    return true;
}

/* "." and one digit or more, cut off below the millisecond; nothing is 0. */
static bool take_fraction(const char **p, int *out_ms)
{
    enum { DIGITS_MAX = 9 };
    int ms = 0, n = 0;
    if (take_char(p, '.')) {
        for (; **p >= '0' && **p <= '9' && n < DIGITS_MAX; n++, (*p)++)
            if (n < 3)
                ms = ms * 10 + (**p - '0');
        if (n == 0)
            return false;
        for (; n < 3; n++)
            ms *= 10;
    }
    *out_ms = ms;
    return true;
}

static bool take_time(const char *p, int64_t *out_wall_ms)
{
    struct tm tm = { .tm_isdst = 0 };
    int year, month, ms;
    if (!take_number(&p, 4, &year) || !take_char(&p, '-') || !take_number(&p, 2, &month) ||
        !take_char(&p, '-') || !take_number(&p, 2, &tm.tm_mday) || !take_char(&p, 'T') ||
        !take_number(&p, 2, &tm.tm_hour) || !take_char(&p, ':') || !take_number(&p, 2, &tm.tm_min) ||
        !take_char(&p, ':') || !take_number(&p, 2, &tm.tm_sec) || !take_fraction(&p, &ms))
        return false;
    if (strcmp(p, "Z") != 0 && strcmp(p, "+00:00") != 0)
        return false;
    tm.tm_year = year - 1900;
    tm.tm_mon = month - 1;
    /* timegm() turns 30 February into a day of March: a date that comes back changed was none. */
    struct tm same = tm;
    time_t seconds = timegm(&same);
    if (same.tm_year != tm.tm_year || same.tm_mon != tm.tm_mon || same.tm_mday != tm.tm_mday ||
        same.tm_hour != tm.tm_hour || same.tm_min != tm.tm_min || same.tm_sec != tm.tm_sec)
        return false;
    *out_wall_ms = (int64_t)seconds * 1000 + ms;
    return true;
}

enum err_code clock_parse(const char *text, int64_t *out_wall_ms, struct err *e)
{
    if (!take_time(text, out_wall_ms))
        return err_set(e, ERR_USAGE, "'%.40s' is not a time in UTC such as 2026-11-22T10:15:00Z", text);
    return OK;
}
