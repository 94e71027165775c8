/*
 * floe_small.h - for the tests of FLOE: messages in segments of 40 bytes, so that a few bytes make many
 * segments.
 */
#ifndef TESTS_UNIT_FLOE_SMALL_H
#define TESTS_UNIT_FLOE_SMALL_H

#include "tests/test.h"

#include "base/rng.h"
#include "core/seal/seal.h"

#include <string.h>

enum { MESSAGE_BYTES_MAX = 1 << 20 };

static const struct floe_params small = { .segment_bytes = 40, .rotation_log2 = 2 };
enum { SMALL_PLAIN = 8 };

static inline struct secret *test_key(uint8_t byte)
{
    uint8_t bytes[FLOE_KEY_BYTES];
    memset(bytes, byte, sizeof(bytes));
    return secret_new(bytes, sizeof(bytes));
}

static inline void fill(uint8_t *out, size_t n, uint64_t seed)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)rng_u64(rng_key(seed, 1), i);
}

static inline void seal_small(uint8_t key_byte, const char *aad, const void *plain, size_t n, struct buf *out)
{
    struct err e = ERR_INIT;
    CLEANUP(secret_freep) struct secret *key = test_key(key_byte);
    assert_ok(floe_seal(&small, key, aad, strlen(aad), plain, n, out, &e));
}

static inline enum err_code open_small(uint8_t key_byte, const char *aad, const void *sealed, size_t n,
                                       struct buf *out)
{
    struct err e = ERR_INIT;
    CLEANUP(secret_freep) struct secret *key = test_key(key_byte);
    return floe_open(&small, key, aad, strlen(aad), sealed, n, out, &e);
}

/* Refused as corrupt, and nothing of the plain text is in `out`, neither before nor behind its end. */
static inline void assert_refused_with(uint8_t key_byte, const char *aad, const void *sealed, size_t n)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(MESSAGE_BYTES_MAX);
    buf_add_text(&out, "before");
    assert_int_equal(open_small(key_byte, aad, sealed, n, &out), ERR_CORRUPT);
    assert_string_equal(buf_text(&out), "before");
    for (size_t i = out.len; i < out.size; i++)
        assert_int_equal(out.data[i], 0);
}

static inline void assert_refused(const struct buf *sealed)
{
    assert_refused_with(1, "aad", sealed->data, sealed->len);
}

static inline void assert_opens(const struct buf *sealed, const void *plain, size_t n)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(MESSAGE_BYTES_MAX);
    assert_int_equal(open_small(1, "aad", sealed->data, sealed->len, &out), OK);
    assert_int_equal(out.len, n);
    assert_memory_equal(buf_text(&out), n ? plain : "", n);
}

#endif
