#include "core/token/split.h"

#include "base/def.h"
#include "base/utf8.h"

#include <string.h>

enum split_class split_class(uint32_t c)
{
    size_t low = 0, high = split_range_count;

    if (c < 0x80)
        return (enum split_class)split_ascii[c];
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (split_ranges[middle].last < c)
            low = middle + 1;
        else
            high = middle;
    }
    return low < split_range_count && split_ranges[low].first <= c ? (enum split_class)split_ranges[low].kind
                                                                   : SPLIT_OTHER;
}

/* The class at text[i], and the character's length. */
static enum split_class class_at(const uint8_t *text, size_t n, size_t i, size_t *out_length)
{
    uint32_t c = 0;

    if (text[i] < 0x80) {
        *out_length = 1;
        return (enum split_class)split_ascii[text[i]];
    }
    *out_length = MAX(utf8_next(text + i, n - i, &c), (size_t)1);
    return split_class(c);
}

/* Behind the characters of one class that start at i. */
static size_t run_end(const uint8_t *text, size_t n, size_t i, enum split_class kind)
{
    size_t length;

    while (i < n) {
        if (text[i] < 0x80 && split_ascii[text[i]] == kind)
            i++;
        else if (text[i] >= 0x80 && class_at(text, n, i, &length) == kind)
            i += length;
        else
            break;
    }
    return i;
}

/* 's 't 're 've 'm 'll 'd; 0: none of them. */
static size_t contraction(const uint8_t *text, size_t n)
{
    static const char pairs[][3] = { "re", "ve", "ll" };

    if (n < 2 || text[0] != '\'')
        return 0;
    if (text[1] == 's' || text[1] == 't' || text[1] == 'm' || text[1] == 'd')
        return 2;
    for (size_t i = 0; n >= 3 && i < ARRAY_LEN(pairs); i++)
        if (memcmp(text + 1, pairs[i], 2) == 0)
            return 3;
    return 0;
}

/* White space goes up to its last character, which is left for what follows; all of it, where nothing does or
 * where it is but one. */
static size_t white_space(const uint8_t *text, size_t n)
{
    size_t end = run_end(text, n, 0, SPLIT_SPACE), last = end - 1;

    if (end == n)
        return n;
    while ((text[last] & 0xc0) == 0x80)
        last--;
    return last > 0 ? last : end;
}

size_t split_piece(const uint8_t *text, size_t n)
{
    size_t length = contraction(text, n), space = text[0] == ' ' && n > 1;

    if (length > 0)
        return length;
    enum split_class kind = class_at(text, n, space, &length);
    return kind == SPLIT_SPACE ? white_space(text, n) : run_end(text, n, space + length, kind);
}
