#include "core/store/store_check.h"

#include <string.h>

/* Length of the UTF-8 sequence at `s` (RFC 3629: shortest form, no surrogates), 0 where it is none. */
static size_t utf8_sequence(const unsigned char *s)
{
    if (s[0] < 0x80)
        return 1;
    size_t n = s[0] >= 0xc2 && s[0] <= 0xdf   ? 2
               : (s[0] & 0xf0) == 0xe0        ? 3
               : s[0] >= 0xf0 && s[0] <= 0xf4 ? 4
                                              : 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90);
    bool surrogate = s[0] == 0xed && s[1] > 0x9f;
    bool beyond = s[0] == 0xf4 && s[1] > 0x8f;
    return overlong || surrogate || beyond ? 0 : n;
}

static bool is_control(const unsigned char *s, size_t n)
{
    return n == 1 ? s[0] < 0x20 || s[0] == 0x7f : n == 2 && s[0] == 0xc2 && s[1] < 0xa0;
}

/* The text itself is not quoted in errors before it is known to be printable. */
static enum err_code check_text(const char *text, const char *what, struct err *e)
{
    const unsigned char *s = (const unsigned char *)text;
    if (strlen(text) >= STORE_KEY_BYTES)
        return err_set(e, ERR_USAGE, "%s is longer than %d bytes", what, STORE_KEY_BYTES - 1);
    while (*s) {
        size_t n = utf8_sequence(s);
        if (n == 0)
            return err_set(e, ERR_USAGE, "%s is not valid UTF-8", what);
        if (is_control(s, n))
            return err_set(e, ERR_USAGE, "%s has a control character in it", what);
        s += n;
    }
    return OK;
}

/* Each segment that ends in a slash, and the last one too where `whole`. */
static enum err_code check_segments(const char *text, bool whole, const char *what, struct err *e)
{
    for (const char *s = text;; s++) {
        size_t n = strcspn(s, "/");
        bool last = s[n] == '\0';
        if (last && !whole)
            return OK;
        if (n == 0)
            return err_set(e, ERR_USAGE, "%s '%s' has an empty path segment", what, text);
        if ((n == 1 && s[0] == '.') || (n == 2 && s[0] == '.' && s[1] == '.'))
            return err_set(e, ERR_USAGE, "%s '%s' has a '.' or '..' path segment", what, text);
        if (last)
            return OK;
        s += n;
    }
}

enum err_code store_check_key(const char *key, struct err *e)
{
    if (key[0] == '\0')
        return err_set(e, ERR_USAGE, "the key is empty");
    if (check_text(key, "the key", e))
        return e->code;
    return check_segments(key, true, "key", e);
}

enum err_code store_check_prefix(const char *prefix, struct err *e)
{
    if (check_text(prefix, "the prefix", e))
        return e->code;
    return check_segments(prefix, false, "prefix", e);
}

enum err_code store_check_version(const char *version, struct err *e)
{
    size_t n = strlen(version);
    if (n == 0 || n >= STORE_VERSION_BYTES)
        return err_set(e, ERR_USAGE, "a version id has 1 to %d characters, not %zu", STORE_VERSION_BYTES - 1,
                       n);
    for (size_t i = 0; i < n; i++)
        if (version[i] <= ' ' || version[i] > '~')
            return err_set(e, ERR_USAGE, "the version id has a character that is not printable ASCII");
    return OK;
}

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

enum err_code store_check_bucket(const char *bucket, struct err *e)
{
    size_t n = strlen(bucket);
    if (n < 3 || n >= STORE_BUCKET_BYTES)
        return err_set(e, ERR_USAGE, "a bucket's name has 3 to %d characters, not %zu",
                       STORE_BUCKET_BYTES - 1, n);
    for (size_t i = 0; i < n; i++) {
        bool inside = i > 0 && i < n - 1;
        bool dash = inside && bucket[i] == '-';
        bool dot = inside && bucket[i] == '.' && is_alnum(bucket[i - 1]) && is_alnum(bucket[i + 1]);
        if (!is_alnum(bucket[i]) && !dash && !dot)
            return err_set(
                e, ERR_USAGE,
                "bucket name '%s': only a-z, 0-9, '-' and '.', with a letter or digit at both ends and "
                "around each dot",
                bucket);
    }
    return OK;
}
