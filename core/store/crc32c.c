#include "core/store/crc32c.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

uint32_t crc32c_portable(const void *data, size_t n)
{
    static const uint32_t polynomial = 0x82f63b78; /* reflected */
    const uint8_t *bytes = data;
    uint32_t table[16], crc = 0xffffffff;
    for (uint32_t i = 0; i < 16; i++) {
        table[i] = i;
        for (int bit = 0; bit < 4; bit++)
            table[i] = table[i] >> 1 ^ (table[i] & 1 ? polynomial : 0);
    }
    for (size_t i = 0; i < n; i++) {
        crc ^= bytes[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(const void *data, size_t n)
{
    const uint8_t *bytes = data;
    unsigned long long crc = 0xffffffff;
    for (; n >= 8; n -= 8, bytes += 8) {
        unsigned long long word;
        memcpy(&word, bytes, 8);
        crc = __builtin_ia32_crc32di(crc, word);
    }
    uint32_t rest = (uint32_t)crc;
    for (; n > 0; n--, bytes++)
        rest = __builtin_ia32_crc32qi(rest, *bytes);
    return ~rest;
}
#endif

uint32_t crc32c(const void *data, size_t n)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        return crc32c_sse42(data, n);
#endif
    return crc32c_portable(data, n);
}

const char *crc32c_text(const void *data, size_t n, char out[CRC32C_TEXT_BYTES])
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(CRC32C_TEXT_BYTES - 1);
    uint32_t crc = crc32c(data, n);
    uint8_t bytes[4] = { (uint8_t)(crc >> 24), (uint8_t)(crc >> 16), (uint8_t)(crc >> 8), (uint8_t)crc };
    base64_encode(bytes, sizeof(bytes), &text);
    snprintf(out, CRC32C_TEXT_BYTES, "%s", buf_text(&text));
    return out;
}
