#include "base/buf.h"

#include "tests/test.h"

#include "base/cleanup.h"

#include <string.h>

static void an_empty_buffer_reads_as_empty_text(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct buf b = BUF_INIT(10);
    assert_string_equal(buf_text(&b), "");
    assert_ok(buf_check(&b, "it", &e));
    buf_done(&b);
    buf_done(&b); /* releasing twice does no harm */
}

static void additions_follow_each_other(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf b = BUF_INIT(1000);
    buf_add_text(&b, "job ");
    buf_addf(&b, "%s has %d ranks", "k3m9qz", 4);
    buf_add_byte(&b, '.');
    buf_add(&b, NULL, 0);
    assert_string_equal(buf_text(&b), "job k3m9qz has 4 ranks.");
    assert_int_equal(b.len, strlen("job k3m9qz has 4 ranks."));
}

static void numbers_are_big_endian(void **state)
{
    (void)state;
    static const uint8_t want[] = { 1, 2, 3, 4, 0xf0, 0, 0, 0, 0, 0, 0, 9 };
    CLEANUP(buf_done) struct buf b = BUF_INIT(12);
    buf_add_u32be(&b, 0x01020304);
    buf_add_u64be(&b, 0xf000000000000009);
    assert_int_equal(b.len, sizeof(want));
    assert_memory_equal(b.data, want, sizeof(want));
}

static void exactly_the_maximum_fits(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    CLEANUP(buf_done) struct buf b = BUF_INIT(5);
    buf_add_text(&b, "12345");
    assert_ok(buf_check(&b, "it", &e));
    assert_string_equal(buf_text(&b), "12345");
}

static void one_more_is_refused_and_so_is_all_that_follows(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    CLEANUP(buf_done) struct buf b = BUF_INIT(5);
    buf_add_text(&b, "1234");
    buf_addf(&b, "%d", 56);
    buf_add_byte(&b, '7'); /* would fit, but the text would have a hole */
    assert_string_equal(buf_text(&b), "1234");
    assert_int_equal(buf_check(&b, "the answer", &e), ERR_LIMIT);
    assert_non_null(strstr(e.text, "the answer"));
    buf_reset(&b);
    buf_add_byte(&b, '8');
    assert_ok(buf_check(&b, "the answer", &e));
    assert_string_equal(buf_text(&b), "8");
}

static void a_size_that_would_overflow_is_refused(void **state)
{
    (void)state;
    struct buf b = BUF_INIT(100);
    buf_add_text(&b, "x");
    assert_null(buf_reserve(&b, SIZE_MAX));
    assert_true(b.full);
    buf_done(&b);
}

static void reserved_room_counts_once_committed(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf b = BUF_INIT(100);
    uint8_t *room = buf_reserve(&b, 50);
    assert_non_null(room);
    assert_int_equal(b.len, 0);
    memcpy(room, "abc", 3);
    buf_commit(&b, 3);
    assert_string_equal(buf_text(&b), "abc");
}

static void the_front_is_dropped(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf b = BUF_INIT(100);
    buf_add_text(&b, "one two");
    buf_drop_front(&b, 4);
    assert_string_equal(buf_text(&b), "two");
    buf_drop_front(&b, 0);
    buf_drop_front(&b, 3);
    assert_string_equal(buf_text(&b), "");
}

static void growing_keeps_every_byte(void **state)
{
    (void)state;
    enum { COUNT = 10000 };
    CLEANUP(buf_done) struct buf b = BUF_INIT(COUNT);
    for (int i = 0; i < COUNT; i++)
        buf_add_byte(&b, (uint8_t)(i % 251));
    assert_int_equal(b.len, COUNT);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(b.data[i], i % 251);
    assert_false(b.full);
}

static void moving_hands_the_bytes_over(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf from = BUF_INIT(20);
    CLEANUP(buf_done) struct buf to = BUF_INIT(10);
    buf_add_text(&from, "new");
    buf_add_text(&to, "old");
    buf_move(&to, &from);
    assert_string_equal(buf_text(&to), "new");
    assert_string_equal(buf_text(&from), "");
    assert_int_equal(to.max, 20);
}

static void wiping_leaves_it_empty_and_usable(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf b = BUF_INIT(20);
    buf_add_text(&b, "secret");
    buf_wipe(&b);
    assert_null(b.data);
    buf_add_text(&b, "plain");
    assert_string_equal(buf_text(&b), "plain");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_buffer_reads_as_empty_text),
        cmocka_unit_test(additions_follow_each_other),
        cmocka_unit_test(numbers_are_big_endian),
        cmocka_unit_test(exactly_the_maximum_fits),
        cmocka_unit_test(one_more_is_refused_and_so_is_all_that_follows),
        cmocka_unit_test(a_size_that_would_overflow_is_refused),
        cmocka_unit_test(reserved_room_counts_once_committed),
        cmocka_unit_test(the_front_is_dropped),
        cmocka_unit_test(growing_keeps_every_byte),
        cmocka_unit_test(moving_hands_the_bytes_over),
        cmocka_unit_test(wiping_leaves_it_empty_and_usable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
