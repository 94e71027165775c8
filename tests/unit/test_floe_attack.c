/* FLOE against whoever alters, cuts, extends, reorders or mixes sealed bytes: refused, and nothing is given
 * out. */
#include "tests/test.h"

#include "base/mem.h"
#include "tests/unit/floe_small.h"

#include <stdlib.h>
#include <string.h>

/* The message that is attacked: four full segments and a part of one. */
enum { VICTIM_PLAIN = 4 * SMALL_PLAIN + 5 };
struct victim {
    uint8_t plain[VICTIM_PLAIN];
    struct buf sealed, other; /* `other`: the same key and context, another message of the same length */
};

static int victim_new(void **state)
{
    struct victim *v = mem_new(sizeof(*v));
    uint8_t other[VICTIM_PLAIN];
    v->sealed = (struct buf)BUF_INIT(4096);
    v->other = (struct buf)BUF_INIT(4096);
    fill(v->plain, sizeof(v->plain), 1);
    fill(other, sizeof(other), 2);
    seal_small(1, "aad", v->plain, sizeof(v->plain), &v->sealed);
    seal_small(1, "aad", other, sizeof(other), &v->other);
    *state = v;
    return 0;
}

static int victim_free(void **state)
{
    struct victim *v = *state;
    buf_done(&v->sealed);
    buf_done(&v->other);
    free(v);
    return 0;
}

static uint8_t *segment(struct buf *sealed, size_t i)
{
    return sealed->data + FLOE_HEADER_BYTES + i * small.segment_bytes;
}

static void the_victim_itself_opens(void **state)
{
    struct victim *v = *state;
    assert_opens(&v->sealed, v->plain, VICTIM_PLAIN);
}

static void cut_anywhere(void **state) /* at each segment's border and inside of each */
{
    struct victim *v = *state;
    for (size_t n = 0; n < v->sealed.len; n++)
        assert_refused_with(1, "aad", v->sealed.data, n);
}

static void extended(void **state)
{
    struct victim *v = *state;
    for (size_t n = 1; n <= small.segment_bytes + 1; n++) {
        CLEANUP(buf_done) struct buf longer = BUF_INIT(4096);
        buf_add(&longer, v->sealed.data, v->sealed.len);
        for (size_t i = 0; i < n; i++)
            buf_add_byte(&longer, (uint8_t)i);
        assert_refused(&longer);
    }
}

static void extended_by_its_own_segments(void **state)
{
    struct victim *v = *state;
    CLEANUP(buf_done) struct buf last_again = BUF_INIT(4096), inner_again = BUF_INIT(4096);
    size_t last_n = SMALL_PLAIN - 3 + FLOE_SEGMENT_OVERHEAD;
    buf_add(&last_again, v->sealed.data, v->sealed.len);
    buf_add(&last_again, segment(&v->sealed, 4), last_n);
    assert_refused(&last_again);
    buf_add(&inner_again, v->sealed.data, FLOE_HEADER_BYTES + small.segment_bytes);
    buf_add(&inner_again, segment(&v->sealed, 0), v->sealed.len - FLOE_HEADER_BYTES);
    assert_refused(&inner_again);
}

static void reordered(void **state)
{
    struct victim *v = *state;
    for (size_t i = 0; i < 4; i++)
        for (size_t j = i + 1; j < 4; j++) {
            CLEANUP(buf_done) struct buf mixed = BUF_INIT(4096);
            buf_add(&mixed, v->sealed.data, v->sealed.len);
            memcpy(segment(&mixed, i), segment(&v->sealed, j), small.segment_bytes);
            memcpy(segment(&mixed, j), segment(&v->sealed, i), small.segment_bytes);
            assert_refused(&mixed);
        }
}

static void an_inner_segment_removed(void **state)
{
    struct victim *v = *state;
    for (size_t i = 0; i < 4; i++) {
        CLEANUP(buf_done) struct buf shorter = BUF_INIT(4096);
        buf_add(&shorter, v->sealed.data, FLOE_HEADER_BYTES + i * small.segment_bytes);
        buf_add(&shorter, segment(&v->sealed, i + 1),
                v->sealed.len - FLOE_HEADER_BYTES - (i + 1) * small.segment_bytes);
        assert_refused(&shorter);
    }
}

static void spliced_from_another_message(void **state) /* of the same key, context and length */
{
    struct victim *v = *state;
    assert_int_equal(v->sealed.len, v->other.len);
    for (size_t i = 0; i < 5; i++) {
        CLEANUP(buf_done) struct buf mixed = BUF_INIT(4096);
        buf_add(&mixed, v->sealed.data, v->sealed.len);
        size_t n =
            MIN((size_t)small.segment_bytes, v->sealed.len - FLOE_HEADER_BYTES - i * small.segment_bytes);
        memcpy(segment(&mixed, i), segment(&v->other, i), n);
        assert_refused(&mixed);
    }
}

static void under_the_header_of_another_message(void **state)
{
    struct victim *v = *state;
    CLEANUP(buf_done) struct buf mixed = BUF_INIT(4096);
    buf_add(&mixed, v->other.data, FLOE_HEADER_BYTES);
    buf_add(&mixed, segment(&v->sealed, 0), v->sealed.len - FLOE_HEADER_BYTES);
    assert_refused(&mixed);
}

static void wrong_associated_data(void **state)
{
    struct victim *v = *state;
    static const char *const wrong[] = { "", "aa", "aae", "aad ", "AAD" };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        assert_refused_with(1, wrong[i], v->sealed.data, v->sealed.len);
}

static void wrong_key(void **state)
{
    struct victim *v = *state;
    assert_refused_with(2, "aad", v->sealed.data, v->sealed.len);
}

static void wrong_segment_size(void **state)
{
    struct victim *v = *state;
    struct err e = ERR_INIT;
    const struct floe_params other = { .segment_bytes = 41, .rotation_log2 = 2 };
    CLEANUP(secret_freep) struct secret *key = test_key(1);
    CLEANUP(buf_done) struct buf out = BUF_INIT(4096);
    assert_int_equal(floe_open(&other, key, "aad", 3, v->sealed.data, v->sealed.len, &out, &e), ERR_CORRUPT);
}

static void each_flipped_bit(void **state)
{
    struct victim *v = *state;
    for (size_t bit = 0; bit < 8 * v->sealed.len; bit++) {
        v->sealed.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_refused(&v->sealed);
        v->sealed.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_opens(&v->sealed, v->plain, VICTIM_PLAIN);
}

/* An inner segment is made to look like the last by its length word, or the last like an inner one. */
static void last_segment_flag_forged(void **state)
{
    struct victim *v = *state;
    CLEANUP(buf_done) struct buf cut = BUF_INIT(4096), full = BUF_INIT(4096), inner = BUF_INIT(4096);
    buf_add(&cut, v->sealed.data, FLOE_HEADER_BYTES + 2 * small.segment_bytes);
    memcpy(segment(&cut, 1), "\0\0\0\x28", 4); /* 40 */
    assert_refused(&cut);
    seal_small(1, "aad", v->plain, (size_t)2 * SMALL_PLAIN, &full); /* its last segment is full */
    memset(segment(&full, 1), 0xff, 4);
    assert_refused(&full);
    buf_add(&inner, full.data, full.len);
    buf_add(&inner, segment(&v->sealed, 4),
            v->sealed.len - FLOE_HEADER_BYTES - (size_t)4 * small.segment_bytes);
    assert_refused(&inner);
}

static void nothing_at_all(void **state)
{
    (void)state;
    assert_refused_with(1, "aad", "", 0);
    static const uint8_t zero[FLOE_HEADER_BYTES + FLOE_SEGMENT_OVERHEAD];
    assert_refused_with(1, "aad", zero, sizeof(zero));
}

#define ATTACK(fn) cmocka_unit_test_setup_teardown(fn, victim_new, victim_free)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        ATTACK(the_victim_itself_opens),
        ATTACK(cut_anywhere),
        ATTACK(extended),
        ATTACK(extended_by_its_own_segments),
        ATTACK(reordered),
        ATTACK(an_inner_segment_removed),
        ATTACK(spliced_from_another_message),
        ATTACK(under_the_header_of_another_message),
        ATTACK(wrong_associated_data),
        ATTACK(wrong_key),
        ATTACK(wrong_segment_size),
        ATTACK(each_flipped_bit),
        ATTACK(last_segment_flag_forged),
        cmocka_unit_test(nothing_at_all),
    };
    return cmocka_run_group_tests_name("floe_attack", tests, NULL, NULL);
}
