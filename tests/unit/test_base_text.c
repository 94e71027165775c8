#include "base/text.h"

#include "tests/test.h"

#include "base/cleanup.h"

#include <string.h>

/* RFC 4648, section 10. */
static const struct vector {
    const char *plain, *base64, *hex;
} vectors[] = {
    { "", "", "" },
    { "f", "Zg==", "66" },
    { "fo", "Zm8=", "666f" },
    { "foo", "Zm9v", "666f6f" },
    { "foob", "Zm9vYg==", "666f6f62" },
    { "fooba", "Zm9vYmE=", "666f6f6261" },
    { "foobar", "Zm9vYmFy", "666f6f626172" },
};

static void rfc_4648_vectors_go_both_ways(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        const struct vector *v = &vectors[i];
        size_t n = strlen(v->plain);
        CLEANUP(buf_done) struct buf text = BUF_INIT(64);
        CLEANUP(buf_done) struct buf back = BUF_INIT(64);
        char hex[32];
        uint8_t bytes[16];
        base64_encode(v->plain, n, &text);
        assert_string_equal(buf_text(&text), v->base64);
        assert_ok(base64_decode(v->base64, &back, &e));
        assert_int_equal(back.len, n);
        assert_string_equal(buf_text(&back), v->plain);
        hex_encode(v->plain, n, hex);
        assert_string_equal(hex, v->hex);
        assert_ok(hex_decode(v->hex, bytes, n, &e));
        assert_memory_equal(bytes, v->plain, n);
    }
}

static void every_byte_survives(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    CLEANUP(buf_done) struct buf text = BUF_INIT(1024);
    CLEANUP(buf_done) struct buf back = BUF_INIT(256);
    uint8_t all[256], bytes[256];
    char hex[513];
    for (size_t i = 0; i < sizeof(all); i++)
        all[i] = (uint8_t)i;
    base64_encode(all, sizeof(all), &text);
    assert_ok(base64_decode(buf_text(&text), &back, &e));
    assert_int_equal(back.len, sizeof(all));
    assert_memory_equal(back.data, all, sizeof(all));
    hex_encode(all, sizeof(all), hex);
    assert_ok(hex_decode(hex, bytes, sizeof(bytes), &e));
    assert_memory_equal(bytes, all, sizeof(all));
}

static const struct row {
    const char *name, *text;
} bad_base64[] = {
    { "padding may not be missing", "Zg" },
    { "one digit is not enough", "Z===" },
    { "padding alone is nothing", "====" },
    { "nothing may follow padding", "Zg==Zg==" },
    { "padding ends the text", "Zm=v" },
    { "a newline is refused", "Zm9v\nZg=" },
    { "a space is refused", "Zm9 " },
    { "the URL alphabet is refused", "_-__" },
    { "bits that no byte holds must be zero", "Zh==" },
    { "so too with one padding", "Zm9=" },
    { "a byte above 127 is refused", "Zm9\xc3" },
};

static void base64_is_refused(void **state)
{
    const struct row *r = *state;
    struct err e = ERR_INIT;
    CLEANUP(buf_done) struct buf out = BUF_INIT(64);
    buf_add_text(&out, "kept");
    assert_int_equal(base64_decode(r->text, &out, &e), ERR_USAGE);
    assert_string_equal(buf_text(&out), "kept");
    assert_int_equal(out.len, 4);
    assert_null(strstr(e.text, r->text)); /* it may be a key */
}

static void base64_ends_at_the_maximum(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    CLEANUP(buf_done) struct buf exact = BUF_INIT(4);
    CLEANUP(buf_done) struct buf tight = BUF_INIT(3);
    assert_ok(base64_decode("Zm9vYg==", &exact, &e));
    assert_string_equal(buf_text(&exact), "foob");
    assert_int_equal(base64_decode("Zm9vYg==", &tight, &e), ERR_LIMIT);
    assert_int_equal(tight.len, 0);
}

static void hex_wants_exactly_its_digits(void **state)
{
    (void)state;
    static const char *const bad[] = { "", "0", "000", "00000", "0g00", "0x00", " 000", "00 0", "000\xff" };
    uint8_t out[2] = { 1, 2 };
    struct err e = ERR_INIT;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(hex_decode(bad[i], out, 2, &e), ERR_USAGE);
        assert_int_equal(out[0], 1);
        assert_int_equal(out[1], 2);
    }
    assert_ok(hex_decode("AbfF", out, 2, &e));
    assert_int_equal(out[0], 0xab);
    assert_int_equal(out[1], 0xff);
}

static void starts_and_ends(void **state)
{
    (void)state;
    assert_true(text_starts("s3://bucket", "s3://"));
    assert_true(text_starts("abc", ""));
    assert_true(text_starts("abc", "abc"));
    assert_false(text_starts("ab", "abc"));
    assert_false(text_starts("xabc", "abc"));
    assert_true(text_ends("shard.zst", ".zst"));
    assert_true(text_ends("abc", ""));
    assert_false(text_ends("st", ".zst"));
    assert_false(text_ends("shard.zst.tmp", ".zst"));
}

static void a_copy_fits_or_is_refused(void **state)
{
    (void)state;
    char out[4] = "old";
    struct err e = ERR_INIT;
    assert_int_equal(text_copy(out, sizeof(out), "four", "the node's name", &e), ERR_LIMIT);
    assert_string_equal(out, "old");
    assert_non_null(strstr(e.text, "the node's name"));
    assert_ok(text_copy(out, sizeof(out), "abc", "it", &e));
    assert_string_equal(out, "abc");
    assert_ok(text_copy(out, sizeof(out), "", "it", &e));
    assert_string_equal(out, "");
    assert_int_equal(text_copy(out, 0, "", "it", &e), ERR_LIMIT);
}

static void names_are_plain(void **state)
{
    (void)state;
    static const char *const bad[] = { "",    ".",   ".hidden", "-rf", "_x",
                                       "Job", "a b", "a/b",     "a\n", "caf\xc3\xa9" };
    assert_true(text_is_name("credit-risk_v1.2", 63));
    assert_true(text_is_name("0", 63));
    assert_true(text_is_name("abc", 3));
    assert_false(text_is_name("abcd", 3));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(text_is_name(bad[i], 63));
}

static void the_nearest_is_suggested(void **state)
{
    (void)state;
    static const char *const keys[] = { "k", "batch", "epochs", "lr", "seed", "weight_decay", "schedule" };
    static const struct {
        const char *text, *want;
    } cases[] = {
        { "bacth", "batch" },                 /* two neighbours swapped */
        { "bach", "batch" },                  /* one missing */
        { "epochss", "epochs" },              /* one too many */
        { "sede", "seed" },
        { "weight-decay", "weight_decay" },   /* one wrong */
        { "wieghtdecay", "weight_decay" },
        { "batch", "batch" },
        { "rl", "lr" },
        { "zzzzzz", NULL },
        { "model", NULL },
        { "x", NULL },
        { "", NULL },
        { "a-text-that-is-longer-than-any-key-that-could-be-meant-by-it", NULL },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *got = text_nearest(cases[i].text, keys, ARRAY_LEN(keys));
        if (cases[i].want) {
            assert_non_null(got);
            assert_string_equal(got, cases[i].want);
        } else {
            assert_null(got);
        }
    }
    assert_null(text_nearest("batch", keys, 0));
}

int main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(rfc_4648_vectors_go_both_ways), cmocka_unit_test(every_byte_survives),
        cmocka_unit_test(base64_ends_at_the_maximum),    cmocka_unit_test(hex_wants_exactly_its_digits),
        cmocka_unit_test(starts_and_ends),               cmocka_unit_test(a_copy_fits_or_is_refused),
        cmocka_unit_test(names_are_plain),               cmocka_unit_test(the_nearest_is_suggested),
    };
    static struct CMUnitTest tests[ARRAY_LEN(bad_base64)];
    for (size_t i = 0; i < ARRAY_LEN(bad_base64); i++)
        tests[i] = (struct CMUnitTest){ bad_base64[i].name, base64_is_refused, NULL, NULL,
                                        (void *)&bad_base64[i] };
    return cmocka_run_group_tests(tests, NULL, NULL) + cmocka_run_group_tests(others, NULL, NULL);
}
