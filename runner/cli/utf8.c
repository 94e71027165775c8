#include "runner/cli/utf8.h"

#include <string.h>

struct range {
    uint32_t first, last;
};

static bool is_in(const struct range *ranges, size_t count, uint32_t c)
{
    for (size_t i = 0; i < count; i++)
        if (c >= ranges[i].first && c <= ranges[i].last)
            return true;
    return false;
}

int utf8_width(uint32_t c)
{
    /* The common blocks of Unicode's combining marks and of its East Asian Wide property, not each hole in
     * them. */
    static const struct range marks[] = {
        { 0x0300, 0x036f }, { 0x0483, 0x0489 }, { 0x0591, 0x05bd }, { 0x0610, 0x061a },   { 0x064b, 0x065f },
        { 0x0e31, 0x0e31 }, { 0x0e34, 0x0e3a }, { 0x1ab0, 0x1aff }, { 0x1dc0, 0x1dff },   { 0x200b, 0x200f },
        { 0x20d0, 0x20ff }, { 0xfe00, 0xfe0f }, { 0xfe20, 0xfe2f }, { 0xe0100, 0xe01ef },
    };
    static const struct range wide[] = {
        { 0x1100, 0x115f },   { 0x2e80, 0x303e },   { 0x3041, 0x33ff }, { 0x3400, 0x4dbf },
        { 0x4e00, 0x9fff },   { 0xa000, 0xa4cf },   { 0xac00, 0xd7a3 }, { 0xf900, 0xfaff },
        { 0xfe30, 0xfe4f },   { 0xff00, 0xff60 },   { 0xffe0, 0xffe6 }, { 0x1f300, 0x1f64f },
        { 0x1f900, 0x1f9ff }, { 0x20000, 0x3fffd },
    };
    if (c < 0x300)
        return 1;
    return is_in(marks, ARRAY_LEN(marks), c) ? 0 : is_in(wide, ARRAY_LEN(wide), c) ? 2 : 1;
}

/* C0, DEL, C1, and what turns the direction of the line. */
static bool is_control(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x202a && c <= 0x202e) ||
           (c >= 0x2066 && c <= 0x2069);
}

/* One character as it may be shown: its bytes are [text, text + *out_length), or '?' where *out_shown is
 * false. */
static uint32_t shown_next(const char *text, size_t n, size_t *out_length, bool *out_shown)
{
    uint32_t c = '?';
    *out_length = utf8_next(text, n, &c);
    *out_shown = *out_length > 0 && !is_control(c);
    *out_length = MAX(*out_length, (size_t)1);
    return *out_shown ? c : '?';
}

size_t utf8_columns(const char *text)
{
    size_t columns = 0, n = strlen(text), length;
    bool shown;
    for (size_t i = 0; i < n; i += length)
        columns += (size_t)utf8_width(shown_next(text + i, n - i, &length, &shown));
    return columns;
}

void utf8_clean(const char *text, size_t n, bool keep_lines, struct buf *out)
{
    size_t length;
    bool shown;
    for (size_t i = 0; i < n; i += length) {
        shown_next(text + i, n - i, &length, &shown);
        bool kept = shown || (keep_lines && (text[i] == '\n' || text[i] == '\t'));
        buf_add(out, kept ? text + i : "?", kept ? length : 1);
    }
}

void utf8_fit(const char *text, size_t columns, struct buf *out)
{
    size_t n = strlen(text), used = 0, length;
    bool shown, whole = utf8_columns(text) <= columns;
    if (whole) {
        utf8_clean(text, n, false, out);
        return;
    }
    if (columns == 0)
        return;
    for (size_t i = 0; i < n; i += length) {
        used += (size_t)utf8_width(shown_next(text + i, n - i, &length, &shown));
        if (used > columns - 1)
            break;
        buf_add(out, shown ? text + i : "?", shown ? length : 1);
    }
    buf_add_text(out, "…");
}
