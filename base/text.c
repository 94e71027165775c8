#include "base/text.h"

#include <string.h>

void hex_encode(const void *data, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *bytes = data;
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * n] = '\0';
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Neither decoder quotes the text: it may be a key. */
enum err_code hex_decode(const char *text, uint8_t *out, size_t n, struct err *e)
{
    size_t len = strlen(text);
    if (len != 2 * n)
        return err_set(e, ERR_USAGE, "expected %zu hexadecimal digits, not %zu characters", 2 * n, len);
    for (size_t i = 0; i < len; i++)
        if (hex_value(text[i]) < 0)
            return err_set(e, ERR_USAGE, "character %zu is not a hexadecimal digit", i + 1);
    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)((unsigned)hex_value(text[2 * i]) << 4 | (unsigned)hex_value(text[2 * i + 1]));
    return OK;
}

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(const void *data, size_t n, struct buf *out)
{
    const uint8_t *bytes = data;
    for (size_t i = 0; i < n; i += 3) {
        size_t have = MIN(n - i, (size_t)3);
        uint32_t v = (uint32_t)bytes[i] << 16;
        v |= have > 1 ? (uint32_t)bytes[i + 1] << 8 : 0;
        v |= have > 2 ? bytes[i + 2] : 0;
        char four[4] = { base64_digits[v >> 18], base64_digits[v >> 12 & 63], '=', '=' };
        if (have > 1)
            four[2] = base64_digits[v >> 6 & 63];
        if (have > 2)
            four[3] = base64_digits[v & 63];
        buf_add(out, four, sizeof(four));
    }
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Four digits to at most three bytes; the number of bytes, or 0 where they are no base64. */
static size_t base64_decode_four(const char *four, bool last, uint8_t bytes[3])
{
    size_t padding = !last || four[3] != '=' ? 0 : four[2] != '=' ? 1 : 2;
    uint32_t v = 0;
    for (size_t i = 0; i < 4; i++) {
        int value = i < 4 - padding ? base64_value(four[i]) : 0;
        if (value < 0)
            return 0;
        v = v << 6 | (uint32_t)value;
    }
    bytes[0] = (uint8_t)(v >> 16);
    bytes[1] = (uint8_t)(v >> 8);
    bytes[2] = (uint8_t)v;
    /* Bits that no byte holds must be zero, or two texts would mean the same bytes. */
    if ((padding > 0 && bytes[2]) || (padding > 1 && bytes[1]))
        return 0;
    return 3 - padding;
}

enum err_code base64_decode(const char *text, struct buf *out, struct err *e)
{
    size_t len = strlen(text);
    if (len % 4)
        return err_set(e, ERR_USAGE, "base64 comes in groups of 4 characters, not %zu", len);
    size_t padding = len == 0 ? 0 : (size_t)(text[len - 1] == '=') + (size_t)(text[len - 2] == '=');
    size_t bytes_count = len / 4 * 3 - padding;
    if (out->full || bytes_count > out->max - out->len)
        return err_set(e, ERR_LIMIT, "base64 text is larger than %zu bytes", out->max);
    size_t len_before = out->len;
    for (size_t i = 0; i < len; i += 4) {
        uint8_t bytes[3];
        size_t n = base64_decode_four(text + i, i + 4 == len, bytes);
        if (n == 0) {
            out->len = len_before;
            if (out->data)
                out->data[len_before] = '\0';
            return err_set(e, ERR_USAGE, "characters %zu to %zu are not base64", i + 1, i + 4);
        }
        buf_add(out, bytes, n);
    }
    return OK;
}

bool text_starts(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool text_ends(const char *text, const char *suffix)
{
    size_t n = strlen(text), m = strlen(suffix);
    return n >= m && memcmp(text + n - m, suffix, m) == 0;
}

enum err_code text_copy(char *out, size_t out_bytes, const char *text, const char *what, struct err *e)
{
    size_t n = strlen(text);
    if (n >= out_bytes)
        return err_set(e, ERR_LIMIT, "%s has %zu characters, more than %zu", what, n,
                       out_bytes ? out_bytes - 1 : 0);
    memmove(out, text, n + 1);
    return OK;
}

bool text_is_name(const char *text, size_t max)
{
    size_t n = 0;
    for (; text[n]; n++) {
        char c = text[n];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        bool mark = c == '-' || c == '_' || c == '.';
        if (n >= max || !(alnum || (mark && n > 0)))
            return false;
    }
    return n > 0;
}

enum { NEAREST_BYTES_MAX = 48 };

static size_t min3(size_t a, size_t b, size_t c)
{
    return MIN(MIN(a, b), c);
}

/* Insertions, deletions, substitutions and swaps of neighbours; n and m are at most NEAREST_BYTES_MAX. */
static size_t edit_distance(const char *a, size_t n, const char *b, size_t m)
{
    size_t rows[3][NEAREST_BYTES_MAX + 1];
    size_t *above2 = rows[0], *above = rows[1], *row = rows[2];
    for (size_t j = 0; j <= m; j++)
        above[j] = j;
    for (size_t i = 1; i <= n; i++) {
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            row[j] = min3(above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = MIN(row[j], above2[j - 2] + 1);
        }
        size_t *oldest = above2;
        above2 = above;
        above = row;
        row = oldest;
    }
    return above[m];
}

const char *text_nearest(const char *text, const char *const *candidates, size_t count)
{
    size_t n = strlen(text);
    if (n == 0 || n > NEAREST_BYTES_MAX)
        return NULL;
    /* Up to a third of it mistyped; beyond that a suggestion is noise. */
    size_t best = n / 3 + 2;
    const char *nearest = NULL;
    for (size_t i = 0; i < count; i++) {
        size_t m = strlen(candidates[i]);
        if (m > NEAREST_BYTES_MAX)
            continue;
        size_t distance = edit_distance(text, n, candidates[i], m);
        if (distance < best && distance < MAX(n, m)) {
            best = distance;
            nearest = candidates[i];
        }
    }
    return nearest;
}
