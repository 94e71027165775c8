#include "core/scan/scan_forms.h"

#include "core/scan/scan_checks.h"

#include <string.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* ---- e-mail: RFC 5322's atoms, RFC 1035's labels ---- */

static bool is_atom(char c)
{
    return is_letter(c) || is_digit(c) || (c && strchr("!#$%&'*+/=?^_`{|}~-.", c));
}

static size_t local_before(const char *text, size_t at)
{
    size_t from = at;
    while (from > 0 && at - from < 65 && is_atom(text[from - 1]))
        from--;
    while (from < at && text[from] == '.')
        from++;
    size_t n = at - from;
    return n > 0 && n <= 64 && text[at - 1] != '.' ? n : 0;
}

/* Two labels at least, and letters alone in the last. */
static size_t domain_behind(const char *text, size_t n)
{
    size_t label = 0, good = 0, labels = 0;
    bool letters = true;

    for (size_t i = 0; i <= n && i < 254; i++) {
        char c = i < n ? text[i] : '\0';
        if (is_letter(c) || is_digit(c) || (c == '-' && label > 0)) {
            label++;
            letters = letters && is_letter(c);
            continue;
        }
        if (label == 0 || label > 63 || text[i - 1] == '-')
            break;
        if (++labels >= 2 && letters && label >= 2)
            good = i;
        if (c != '.')
            break;
        label = 0;
        letters = true;
    }
    return good;
}

size_t emails_in(const char *text, size_t n)
{
    size_t count = 0;
    const char *end = text + n;

    for (const char *p = text; (p = memchr(p, '@', (size_t)(end - p))) != NULL;) {
        size_t domain = domain_behind(p + 1, (size_t)(end - p - 1));
        if (domain > 0 && local_before(text, (size_t)(p - text)) > 0)
            count++;
        p += 1 + domain;
    }
    return count;
}

/* ---- phone ---- */

/* E.164 country codes: Europe, and the two that are everywhere. */
static bool has_country(const char *digits)
{
    static const char codes[] =
        "1 7 20 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 90 350 351 352 353 354 355 356 357 "
        "358 359 370 371 372 373 374 375 376 377 378 380 381 382 383 385 386 387 389 420 421 423 ";
    for (const char *p = codes; *p; p = strchr(p, ' ') + 1) {
        size_t n = strcspn(p, " ");
        if (strncmp(digits, p, n) == 0)
            return true;
    }
    return false;
}

struct groups {
    char digits[17];
    size_t count; /* of digits */
    size_t groups;
    size_t end; /* behind the last digit */
    bool dots_only, separated;
};

/* Digits in groups: single separators between them, or one pair of brackets, or ") " and " (". */
static struct groups read_groups(const char *text, size_t n)
{
    struct groups g = { .dots_only = true };
    size_t gap = 2; /* of separators since the last digit */
    int open = 0;

    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (is_digit(c)) {
            if (g.count == 16)
                break;
            g.groups += gap > 0;
            g.digits[g.count++] = c;
            gap = 0;
            if (!open)
                g.end = i + 1;
            continue;
        }
        if (!(c == ' ' || (c >= '(' && c <= ')') || (c >= '-' && c <= '/')) || (gap == 2 && g.count > 0))
            break;
        if ((c == '(' && open++) || (c == ')' && open-- != 1))
            break;
        g.dots_only = g.dots_only && c == '.';
        g.separated = true;
        gap++;
    }
    g.digits[g.count] = '\0';
    return g;
}

size_t phone_at(const char *text, size_t n)
{
    struct groups g = read_groups(text + 1, n > 0 ? n - 1 : 0);
    bool starts = n > 1 && (is_digit(text[1]) || text[1] == '(');
    return starts && g.count >= 8 && g.count <= 15 && g.end > 0 && has_country(g.digits) ? g.end + 1 : 0;
}

enum phone_form phone_form(const char *text, size_t n)
{
    if (n < 7 || n > 32)
        return PHONE_NONE;
    if (text[0] == '+')
        return phone_at(text, n) == n ? PHONE_INTERNATIONAL : PHONE_NONE;
    struct groups g = read_groups(text, n);
    if (g.end != n || g.count < 7 || g.count > 15)
        return PHONE_NONE;
    /* One dot is a fraction; dates have eight digits. */
    bool grouped = g.separated && (!g.dots_only || g.groups >= 4);
    if (g.digits[0] == '0' && g.count >= 9 && g.count <= 12 && (grouped || (!g.separated && g.count >= 10)))
        return PHONE_NATIONAL;
    return !g.separated || grouped ? PHONE_DIGITS : PHONE_NONE;
}

/* ---- dates ---- */

/* 1 to `max` digits at *io. */
static bool number(const char *text, size_t n, size_t *io, size_t min, size_t max, int *out)
{
    size_t from = *io;
    int v = 0;
    while (*io < n && *io - from < max && is_digit(text[*io]))
        v = v * 10 + (text[(*io)++] - '0');
    *out = v;
    return *io - from >= min;
}

bool day_of(const char *text, size_t n, struct day *out)
{
    struct day d;
    size_t at = 0;

    if (n < 8 || n > 40)
        return false;
    bool iso = text[4] == '-';
    if (!number(text, n, &at, iso ? 4 : 1, iso ? 4 : 2, iso ? &d.year : &d.day) || at >= n)
        return false;
    char between = text[at++];
    if (!strchr("-./", between) || !number(text, n, &at, 1, 2, &d.month) || at >= n ||
        text[at++] != between || !number(text, n, &at, iso ? 1 : 4, iso ? 2 : 4, iso ? &d.day : &d.year))
        return false;
    if (at < n && (!iso || (text[at] != 'T' && text[at] != ' ')))
        return false;
    if (!check_date((unsigned)d.year, (unsigned)d.month, (unsigned)d.day))
        return false;
    *out = d;
    return true;
}
