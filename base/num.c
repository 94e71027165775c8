#include "base/num.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How much of a refused text an error quotes. */
#define QUOTED "'%.60s'"

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Reads the digits at *p and moves it past them; false where there are none or they exceed 64 bits. */
static bool take_digits(const char **p, uint64_t *out)
{
    uint64_t v = 0;
    if (!is_digit(**p))
        return false;
    for (; is_digit(**p); (*p)++)
        if (__builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, (uint64_t)(**p - '0'), &v))
            return false;
    *out = v;
    return true;
}

enum err_code parse_u64(const char *text, uint64_t *out, struct err *e)
{
    const char *p = text;
    uint64_t v;
    if (!take_digits(&p, &v) || *p)
        return err_set(e, ERR_USAGE, QUOTED " is not a whole number from 0 to %" PRIu64, text, UINT64_MAX);
    *out = v;
    return OK;
}

enum err_code parse_i64(const char *text, int64_t *out, struct err *e)
{
    bool negative = text[0] == '-';
    const char *p = text + negative;
    uint64_t v, v_max = (uint64_t)INT64_MAX + negative;
    if (!take_digits(&p, &v) || *p || v > v_max)
        return err_set(e, ERR_USAGE, QUOTED " is not a whole number of 64 bits", text);
    *out = negative ? (int64_t)(0 - v) : (int64_t)v;
    return OK;
}

static const char *skip_digits(const char *p)
{
    while (is_digit(*p))
        p++;
    return p;
}

/* [-] digits [. digits] [e [+-] digits], with a digit before or after the point. */
static bool is_decimal(const char *text)
{
    const char *whole = text + (*text == '-');
    const char *p = skip_digits(whole);
    ptrdiff_t digits = p - whole;
    if (*p == '.') {
        const char *fraction = p + 1;
        p = skip_digits(fraction);
        digits += p - fraction;
    }
    if (digits == 0)
        return false;
    if (*p == 'e' || *p == 'E') {
        p++;
        p += *p == '+' || *p == '-';
        if (!is_digit(*p))
            return false;
        p = skip_digits(p);
    }
    return *p == '\0';
}

enum err_code parse_f64(const char *text, double *out, struct err *e)
{
    if (!is_decimal(text))
        return err_set(e, ERR_USAGE, QUOTED " is not a number", text);
    /* The end is compared too: under a locale with another decimal sign strtod() would stop at the point. */
    char *end;
    double v = strtod(text, &end);
    if (*end)
        return err_set(e, ERR_USAGE, QUOTED " cannot be read in this locale", text);
    if (!isfinite(v))
        return err_set(e, ERR_USAGE, QUOTED " is too large for a number", text);
    *out = v;
    return OK;
}

enum err_code parse_bool(const char *text, bool *out, struct err *e)
{
    if (strcmp(text, "true") == 0)
        *out = true;
    else if (strcmp(text, "false") == 0)
        *out = false;
    else
        return err_set(e, ERR_USAGE, QUOTED " is neither true nor false", text);
    return OK;
}

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit size_units[] = {
    { "", 1 },
    { "B", 1 },
    { "KiB", 1ull << 10 },
    { "MiB", 1ull << 20 },
    { "GiB", 1ull << 30 },
    { "TiB", 1ull << 40 },
    { "KB", 1000ull },
    { "MB", 1000000ull },
    { "GB", 1000000000ull },
    { "TB", 1000000000000ull },
};

static const struct unit duration_units[] = {
    { "ms", 1 },
    { "s", 1000 },
    { "m", 60 * 1000 },
    { "h", 60 * 60 * 1000 },
    { "d", 24 * 60 * 60 * 1000 },
};

enum { FRACTION_DIGITS_MAX = 6 };

/* digits [. digits] unit, where the result is a whole number: "1.5KiB" is 1536, "0.1KiB" is refused. */
static bool take_quantity(const char *text, const struct unit *units, size_t unit_count, uint64_t *out)
{
    const char *p = text;
    uint64_t whole, fraction = 0, scale = 1;
    if (!take_digits(&p, &whole))
        return false;
    if (*p == '.') {
        const char *first = ++p;
        if (!take_digits(&p, &fraction) || p - first > FRACTION_DIGITS_MAX)
            return false;
        for (; first < p; first++)
            scale *= 10;
    }
    for (size_t i = 0; i < unit_count; i++) {
        if (strcmp(p, units[i].name) != 0)
            continue;
        uint64_t more = fraction * units[i].factor; /* < 10^6 * 2^40 */
        if (more % scale != 0)
            return false;
        return !__builtin_mul_overflow(whole, units[i].factor, &whole) &&
               !__builtin_add_overflow(whole, more / scale, out);
    }
    return false;
}

enum err_code parse_size(const char *text, uint64_t *out_bytes, struct err *e)
{
    uint64_t v;
    if (!take_quantity(text, size_units, ARRAY_LEN(size_units), &v))
        return err_set(e, ERR_USAGE, QUOTED " is not a size such as 4096, 64KiB or 1.5GiB", text);
    *out_bytes = v;
    return OK;
}

enum err_code parse_duration(const char *text, int64_t *out_ms, struct err *e)
{
    uint64_t v = 0;
    bool valid = strcmp(text, "0") == 0 || /* alone in meaning the same in every unit */
                 take_quantity(text, duration_units, ARRAY_LEN(duration_units), &v);
    if (!valid || v > INT64_MAX)
        return err_set(e, ERR_USAGE, QUOTED " is not a duration such as 500ms, 30s, 1.5h or 7d", text);
    *out_ms = (int64_t)v;
    return OK;
}

/* Both forms cut off and never round up, so that "60.0s" or "1024.0 KiB" cannot appear. */
const char *format_duration(int64_t ms, char out[NUM_TEXT_BYTES])
{
    const char *sign = ms < 0 ? "-" : "";
    uint64_t v = ms < 0 ? 0 - (uint64_t)ms : (uint64_t)ms;
    uint64_t s = v / 1000, m = s / 60, h = m / 60, d = h / 24;
    if (s == 0)
        snprintf(out, NUM_TEXT_BYTES, "%s%" PRIu64 "ms", sign, v);
    else if (m == 0)
        snprintf(out, NUM_TEXT_BYTES, "%s%" PRIu64 ".%us", sign, s, (unsigned)(v % 1000 / 100));
    else if (h == 0)
        snprintf(out, NUM_TEXT_BYTES, "%s%" PRIu64 "m %02us", sign, m, (unsigned)(s % 60));
    else if (d == 0)
        snprintf(out, NUM_TEXT_BYTES, "%s%" PRIu64 "h %02um", sign, h, (unsigned)(m % 60));
    else
        snprintf(out, NUM_TEXT_BYTES, "%s%" PRIu64 "d %02uh", sign, d, (unsigned)(h % 24));
    return out;
}

const char *format_size(uint64_t bytes, char out[NUM_TEXT_BYTES])
{
    static const char *const names[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    size_t i = 0;
    uint64_t whole = bytes, rest = 0;
    while (whole >= 1024) {
        rest = whole % 1024;
        whole /= 1024;
        i++;
    }
    if (i == 0)
        snprintf(out, NUM_TEXT_BYTES, "%" PRIu64 " B", bytes);
    else
        snprintf(out, NUM_TEXT_BYTES, "%" PRIu64 ".%u %s", whole, (unsigned)(rest * 10 / 1024), names[i]);
    return out;
}
