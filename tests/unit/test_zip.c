/* Packed bytes come back as they were, never more than was said, and nothing that is not zstd. */
#include "base/mem.h"
#include "core/zip/zip.h"
#include "tests/test.h"

#include <string.h>

enum { MOST = 64 << 20 };

static void pack(const void *data, size_t n, struct buf *out)
{
    struct err e = ERR_INIT;
    assert_ok(zip_pack(data, n, out, &e));
}

static void what_was_packed_comes_back(void **state)
{
    (void)state;
    static const size_t sizes[] = { 1, 2, 100, 4096, 1 << 20, 3000001 };
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        CLEANUP(buf_done) struct buf packed = BUF_INIT(MOST);
        CLEANUP(buf_done) struct buf again = BUF_INIT(MOST);
        CLEANUP(buf_done) struct buf plain = BUF_INIT(MOST);
        CLEANUP(freep) uint8_t *data = mem_new(sizes[i]);
        struct err e = ERR_INIT;
        for (size_t k = 0; k < sizes[i]; k++)
            data[k] = (uint8_t)(k * k >> 7);
        pack(data, sizes[i], &packed);
        pack(data, sizes[i], &again);
        assert_int_equal(packed.len, again.len);
        assert_memory_equal(packed.data, again.data, packed.len);
        assert_ok(zip_unpack(packed.data, packed.len, sizes[i], &plain, &e));
        assert_int_equal(plain.len, sizes[i]);
        assert_memory_equal(plain.data, data, sizes[i]);
    }
}

/* 32 MiB of zeros in a few kilobytes: it stops at the first byte too many. */
static void a_bomb_is_refused(void **state)
{
    (void)state;
    static const size_t said[] = { 1, 1000, (32 << 20) - 1, (32 << 20) + 1 };
    CLEANUP(buf_done) struct buf packed = BUF_INIT(MOST);
    CLEANUP(freep) uint8_t *zeros = mem_new(32 << 20);
    pack(zeros, 32 << 20, &packed);
    assert_true(packed.len < 64 << 10);
    for (size_t i = 0; i < ARRAY_LEN(said); i++) {
        CLEANUP(buf_done) struct buf plain = BUF_INIT(MOST);
        struct err e = ERR_INIT;
        assert_int_equal(zip_unpack(packed.data, packed.len, said[i], &plain, &e), ERR_CORRUPT);
        assert_true(plain.size <= said[i] + 64 * 1024); /* no room for more was ever made */
        assert_int_equal(plain.len, 0);
    }
}

static void damaged_bytes_are_refused(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf packed = BUF_INIT(MOST);
    char text[2000];
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)('a' + i * 7 % 23);
    pack(text, sizeof(text), &packed);
    for (size_t i = 0; i < packed.len; i++) {
        CLEANUP(buf_done) struct buf plain = BUF_INIT(MOST);
        CLEANUP(buf_done) struct buf cut = BUF_INIT(MOST);
        struct err e = ERR_INIT;
        assert_int_equal(zip_unpack(packed.data, i, sizeof(text), &plain, &e), ERR_CORRUPT); /* cut off */
        buf_add(&cut, packed.data, packed.len);
        cut.data[i] ^= 0x40;
        if (zip_unpack(cut.data, cut.len, sizeof(text), &plain, &e) == OK)
            assert_memory_equal(plain.data, text, sizeof(text)); /* a bit that means nothing */
    }
    buf_add_byte(&packed, 0);
    CLEANUP(buf_done) struct buf plain = BUF_INIT(MOST);
    struct err e = ERR_INIT;
    assert_int_equal(zip_unpack(packed.data, packed.len, sizeof(text), &plain, &e), ERR_CORRUPT);
}

/* By single bytes in and out; two frames are one stream. */
static void a_stream_is_read_piece_by_piece(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf packed = BUF_INIT(MOST);
    CLEANUP(buf_done) struct buf plain = BUF_INIT(MOST);
    CLEANUP(zip_reader_freep) struct zip_reader *z = zip_reader_new();
    struct err e = ERR_INIT;
    pack("hello ", 6, &packed);
    size_t first = packed.len;
    pack("world", 5, &packed);
    for (size_t i = 0; i < packed.len; i++) {
        size_t at = i, n = 1;
        while (n > 0) {
            uint8_t byte;
            assert_ok(zip_reader_next(z, packed.data, i + 1, &at, &byte, 1, &n, &e));
            buf_add(&plain, &byte, n);
        }
        assert_int_equal(at, i + 1);
        assert_int_equal(zip_reader_is_whole(z), i + 1 == first || i + 1 == packed.len);
    }
    assert_string_equal(buf_text(&plain), "hello world");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_packed_comes_back),
        cmocka_unit_test(a_bomb_is_refused),
        cmocka_unit_test(damaged_bytes_are_refused),
        cmocka_unit_test(a_stream_is_read_piece_by_piece),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
