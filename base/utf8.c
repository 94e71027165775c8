#include "base/utf8.h"

#include <string.h>

size_t utf8_next(const void *text, size_t n, uint32_t *out_character)
{
    const uint8_t *s = text;
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    if (n == 0)
        return 0;
    size_t length = s[0] < 0x80             ? 1
                    : (s[0] & 0xe0) == 0xc0 ? 2
                    : (s[0] & 0xf0) == 0xe0 ? 3
                    : (s[0] & 0xf8) == 0xf0 ? 4
                                            : 0;
    if (length == 0 || length > n)
        return 0;
    uint32_t c = length == 1 ? s[0] : s[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (s[i] & 0x3fu);
    }
    /* Shortest form only, no surrogates, nothing beyond Unicode (RFC 3629). */
    if (c < least[length] || (c >= 0xd800 && c <= 0xdfff) || c > 0x10ffff)
        return 0;
    *out_character = c;
    return length;
}

size_t utf8_valid(const void *text, size_t n)
{
    const uint8_t *s = text;
    size_t i = 0, length;
    uint64_t word;
    uint32_t c;

    while (i < n) {
        while (n - i >= sizeof(word)) { /* most text is ASCII: eight at a time */
            memcpy(&word, s + i, sizeof(word));
            if (word & 0x8080808080808080)
                break;
            i += sizeof(word);
        }
        if (i == n || (length = utf8_next(s + i, n - i, &c)) == 0)
            break;
        i += length;
    }
    return i;
}
