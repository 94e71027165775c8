#include "core/store/dir_path.h"

#include "base/rng.h"
#include "base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static bool stays_as_it_is(unsigned char c, bool first)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '~' || (c == '.' && !first);
}

static void encode_segment(const char *segment, size_t n, struct buf *out)
{
    size_t name_bytes = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)segment[i];
        bool plain = stays_as_it_is(c, name_bytes == 0);
        if (name_bytes + (plain ? 1 : 3) > DIR_NAME_BYTES_MAX) {
            buf_add_text(out, "+/");
            name_bytes = 0;
            plain = stays_as_it_is(c, true);
        }
        if (plain)
            buf_add_byte(out, c);
        else
            buf_addf(out, "%%%02X", c);
        name_bytes += plain ? 1 : 3;
    }
}

void dir_encode_key(const char *key, struct buf *out)
{
    while (*key) {
        size_t n = strcspn(key, "/");
        encode_segment(key, n, out);
        key += n;
        if (*key == '/') {
            buf_add_byte(out, '/');
            key++;
        }
    }
}

bool dir_decode_name(const char *name, struct buf *out, bool *out_more)
{
    size_t n = strlen(name), before = out->len;
    *out_more = n > 0 && name[n - 1] == '+';
    if (*out_more)
        n--;
    if (n == 0 || n > DIR_NAME_BYTES_MAX)
        return false;
    for (size_t i = 0; i < n; i++) {
        uint8_t byte = (uint8_t)name[i];
        char hex[3] = { 0 };
        if (byte == '%') {
            struct err e = ERR_INIT;
            if (i + 2 >= n)
                return false;
            memcpy(hex, name + i + 1, 2);
            /* Upper case and only where it must be: another spelling would be another path of the same key.
             */
            if (strpbrk(hex, "abcdef") || hex_decode(hex, &byte, 1, &e) ||
                stays_as_it_is(byte, out->len == before) || byte == '\0' || byte == '/')
                return false;
            i += 2;
        } else if (!stays_as_it_is(byte, out->len == before)) {
            return false;
        }
        buf_add_byte(out, byte);
    }
    return !out->full;
}

static uint64_t version_ns(const char *version)
{
    return strtoull(version, NULL, 16); /* stops at the dash; the shape was checked when it was read */
}

void dir_version_new(const char *newest_so_far, char out[DIR_VERSION_BYTES])
{
    struct timespec t;
    uint8_t random[6];
    char tail[13];
    invariant(clock_gettime(CLOCK_REALTIME, &t) == 0);
    uint64_t ns = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
    if (newest_so_far[0])
        ns = MAX(ns, version_ns(newest_so_far) + 1);
    random_bytes(random, sizeof(random));
    hex_encode(random, sizeof(random), tail);
    snprintf(out, DIR_VERSION_BYTES, "%016" PRIx64 "-%s", ns, tail);
}

bool dir_version_valid(const char *text, size_t n)
{
    if (n != DIR_VERSION_BYTES - 1)
        return false;
    for (size_t i = 0; i < n; i++) {
        bool hex = (text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f');
        if (i == 16 ? text[i] != '-' : !hex)
            return false;
    }
    return true;
}

int64_t dir_version_ms(const char *version)
{
    return (int64_t)(version_ns(version) / 1000000u);
}
