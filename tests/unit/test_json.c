#include "tests/test.h"

#include "base/def.h"
#include "core/json/json.h"

#include <string.h>

/* One text, and its canonical form, or the error it gets. */
static const struct row {
    const char *name;
    const char *text;
    const char *canonical; /* NULL: refused */
    const char *error;
} rows[] = {
    { "names are sorted, space goes", " { \"b\" : 1,\n \"a\" : [ 1 , 2 ] } ", "{\"a\":[1,2],\"b\":1}", NULL },
    { "names are sorted by their bytes", "{\"\xc3\xa9\":1,\"z\":2,\"Z\":3,\"aa\":4,\"a\":5}",
      "{\"Z\":3,\"a\":5,\"aa\":4,\"z\":2,\"\xc3\xa9\":1}", NULL },
    { "inner objects too", "[{\"b\":{\"d\":1,\"c\":2},\"a\":0}]", "[{\"a\":0,\"b\":{\"c\":2,\"d\":1}}]",
      NULL },
    { "escapes have one form", "[\"\\u0041\\/\\n\\u00e9\\u0001\"]", "[\"A/\\n\xc3\xa9\\u0001\"]", NULL },
    { "integers of 64 bits stay exact", "[9223372036854775807,-9223372036854775808]",
      "[9223372036854775807,-9223372036854775808]", NULL },
    { "reals have 17 digits", "[0.1,1e2]", "[0.10000000000000001,100.0]", NULL },
    { "words", "[true,false,null]", "[true,false,null]", NULL },
    { "empty object", "{}", "{}", NULL },
    { "a name given twice", "{\"a\":1,\n\"a\":2}", NULL, "doc: line 2: duplicate object key" },
    { "nothing", "", NULL, "doc: line 1: '[' or '{' expected" },
    { "a bare value", "17", NULL, "doc: line 1: '[' or '{' expected" },
    { "something after the end", "{} {}", NULL, "doc: line 1: end of file expected" },
    { "a comma too many", "[1,]", NULL, "doc: line 1: unexpected token" },
    { "a missing end", "{\"a\":[1", NULL, "doc: line 1: ']' expected" },
    { "bytes that are not UTF-8", "[\"\xff\"]", NULL, "doc: line 1: unable to decode byte 0xff" },
    { "half a surrogate pair", "[\"\\ud83d\"]", NULL, "doc: line 1: invalid Unicode '\\uD83D'" },
    { "a NUL in text", "[\"a\\u0000b\"]", NULL,
      "doc: line 1: \\u0000 is not allowed without JSON_ALLOW_NUL" },
    { "an integer too large", "[9223372036854775808]", NULL, "doc: line 1: too big integer" },
    { "a real too large", "[1e999]", NULL, "doc: line 1: real number overflow" },
    { "words that are none", "[nan]", NULL, "doc: line 1: invalid token" },
    { "the bytes that were wrong are not repeated", "{\"a\": \x1b]0;title\x07}", NULL,
      "doc: line 1: invalid token" },
};

static enum err_code parse(const char *text, json_t **out, struct err *e)
{
    return json_parse(text, strlen(text), "doc", out, e);
}

static void json_row(void **state)
{
    const struct row *r = *state;
    CLEANUP(json_donep) json_t *j = NULL;
    CLEANUP(buf_done) struct buf text = BUF_INIT(4096);
    struct err e = ERR_INIT;
    if (!r->canonical) {
        assert_int_equal(parse(r->text, &j, &e), ERR_CORRUPT);
        assert_string_equal(e.text, r->error);
        assert_null(j);
        return;
    }
    assert_ok(parse(r->text, &j, &e));
    assert_ok(json_canonical(j, &text, &e));
    assert_string_equal(buf_text(&text), r->canonical);
}

static void depth_has_a_limit(void **state)
{
    (void)state;
    char text[2 * (JSON_DEPTH_MAX + 1) + 1];
    for (int depth = JSON_DEPTH_MAX; depth <= JSON_DEPTH_MAX + 1; depth++) {
        CLEANUP(json_donep) json_t *j = NULL;
        struct err e = ERR_INIT;
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        text[2 * depth] = '\0';
        enum err_code code = parse(text, &j, &e);
        assert_int_equal(code, depth == JSON_DEPTH_MAX ? OK : ERR_LIMIT);
        if (code)
            assert_string_equal(e.text, "doc: is nested deeper than 64");
    }
}

static void size_has_a_limit(void **state)
{
    (void)state;
    CLEANUP(json_donep) json_t *j = NULL;
    struct err e = ERR_INIT;
    /* Refused by its length alone: not a byte of it is read. */
    assert_int_equal(json_parse("[]", (size_t)JSON_BYTES_MAX + 1, "doc", &j, &e), ERR_LIMIT);
    assert_string_equal(e.text, "doc: is larger than 67108864 bytes");
}

static void canonical_form_is_all_or_nothing(void **state)
{
    (void)state;
    CLEANUP(json_donep) json_t *j = NULL;
    CLEANUP(buf_done) struct buf small = BUF_INIT(12);
    struct err e = ERR_INIT;
    assert_ok(parse("{\"a\":[1,2,3]}", &j, &e));
    buf_add_text(&small, "x");
    assert_int_equal(json_canonical(j, &small, &e), ERR_LIMIT);
    assert_string_equal(buf_text(&small), "x");
    CLEANUP(buf_done) struct buf enough = BUF_INIT(13);
    assert_ok(json_canonical(j, &enough, &e));
    assert_int_equal(enough.len, 13);
}

static void pretty_form_is_for_people(void **state)
{
    (void)state;
    CLEANUP(json_donep) json_t *j = NULL;
    CLEANUP(buf_done) struct buf text = BUF_INIT(256);
    struct err e = ERR_INIT;
    assert_ok(parse("{\"b\":[1],\"a\":{}}", &j, &e));
    assert_ok(json_pretty(j, &text, &e));
    assert_string_equal(buf_text(&text), "{\n  \"a\": {},\n  \"b\": [\n    1\n  ]\n}\n");
}

static void what_is_not_utf8_has_no_form(void **state)
{
    (void)state;
    CLEANUP(json_donep) json_t *j = json_pack("[o]", json_string_nocheck("\xff"));
    CLEANUP(buf_done) struct buf text = BUF_INIT(256);
    struct err e = ERR_INIT;
    assert_int_equal(json_canonical(j, &text, &e), ERR_CORRUPT);
    assert_string_equal(buf_text(&text), "");
}

static void every_double_comes_back(void **state)
{
    (void)state;
    static const double values[] = { 0.1, 1.0 / 3, 5e-324, 1.7976931348623157e308, -2.5e-8, 123456789.125 };
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        CLEANUP(json_donep) json_t *j = json_pack("{s:f}", "v", values[i]);
        CLEANUP(json_donep) json_t *back = NULL;
        CLEANUP(buf_done) struct buf text = BUF_INIT(256);
        struct err e = ERR_INIT;
        double v;
        assert_ok(json_canonical(j, &text, &e));
        assert_ok(parse(buf_text(&text), &back, &e));
        assert_ok(json_get_f64(back, "doc", "v", &v, &e));
        assert_true(v == values[i]);
    }
}

static const char members[] = "{\"text\":\"abc\",\"int\":-7,\"real\":2.5,\"bool\":true,\"object\":{\"x\":1},"
                              "\"array\":[1],\"null\":null}";

static void members_are_read(void **state)
{
    (void)state;
    CLEANUP(json_donep) json_t *j = NULL;
    struct err e = ERR_INIT;
    const char *text;
    char copy[4];
    int64_t i;
    double f;
    bool b;
    json_t *inner;
    assert_ok(parse(members, &j, &e));
    assert_ok(json_get_text(j, "doc", "text", &text, &e));
    assert_string_equal(text, "abc");
    assert_ok(json_copy_text(j, "doc", "text", copy, sizeof(copy), &e));
    assert_string_equal(copy, "abc");
    assert_ok(json_get_i64(j, "doc", "int", &i, &e));
    assert_int_equal(i, -7);
    assert_ok(json_get_f64(j, "doc", "real", &f, &e));
    assert_true(f == 2.5);
    assert_ok(json_get_f64(j, "doc", "int", &f, &e));
    assert_true(f == -7);
    assert_ok(json_get_bool(j, "doc", "bool", &b, &e));
    assert_true(b);
    assert_ok(json_get_object(j, "doc", "object", &inner, &e));
    assert_int_equal(json_i64_or(inner, "x", 0), 1);
    assert_ok(json_get_array(j, "doc", "array", &inner, &e));
    assert_int_equal(json_array_size(inner), 1);
}

enum getter { GET_TEXT, GET_COPY, GET_I64, GET_F64, GET_BOOL, GET_OBJECT, GET_ARRAY };

static enum err_code get(enum getter g, const json_t *o, const char *name, struct err *e)
{
    const char *text;
    char copy[3];
    int64_t i;
    double f;
    bool b;
    json_t *j;
    switch (g) {
    case GET_TEXT:
        return json_get_text(o, "doc", name, &text, e);
    case GET_COPY:
        return json_copy_text(o, "doc", name, copy, sizeof(copy), e);
    case GET_I64:
        return json_get_i64(o, "doc", name, &i, e);
    case GET_F64:
        return json_get_f64(o, "doc", name, &f, e);
    case GET_BOOL:
        return json_get_bool(o, "doc", name, &b, e);
    case GET_OBJECT:
        return json_get_object(o, "doc", name, &j, e);
    default:
        return json_get_array(o, "doc", name, &j, e);
    }
}

static void members_of_another_type_are_refused(void **state)
{
    (void)state;
    static const struct {
        enum getter getter;
        const char *name, *error;
    } wrong[] = {
        { GET_TEXT, "int", "doc: 'int' must be text, not an integer" },
        { GET_TEXT, "none", "doc: 'none' must be text; it is missing" },
        { GET_TEXT, "null", "doc: 'null' must be text, not null" },
        { GET_COPY, "object", "doc: 'object' must be text, not an object" },
        { GET_COPY, "text", "doc: 'text' must be at most 2 bytes, not 3" },
        { GET_I64, "real", "doc: 'real' must be an integer, not a fraction" },
        { GET_I64, "text", "doc: 'text' must be an integer, not text" },
        { GET_F64, "bool", "doc: 'bool' must be a number, not a boolean" },
        { GET_BOOL, "int", "doc: 'int' must be a boolean, not an integer" },
        { GET_OBJECT, "array", "doc: 'array' must be an object, not an array" },
        { GET_ARRAY, "object", "doc: 'object' must be an array, not an object" },
    };
    CLEANUP(json_donep) json_t *j = NULL;
    struct err e = ERR_INIT;
    assert_ok(parse(members, &j, &e));
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_int_equal(get(wrong[i].getter, j, wrong[i].name, &e), ERR_CORRUPT);
        assert_string_equal(e.text, wrong[i].error);
    }
    assert_int_equal(get(GET_TEXT, json_object_get(j, "array"), "text", &e), ERR_CORRUPT);
    assert_string_equal(e.text, "doc: must be an object");
    assert_int_equal(get(GET_TEXT, NULL, "text", &e), ERR_CORRUPT);
}

static void outputs_stay_on_failure(void **state)
{
    (void)state;
    CLEANUP(json_donep) json_t *j = NULL;
    struct err e = ERR_INIT;
    char copy[4] = "old";
    int64_t i = 5;
    assert_ok(parse("{\"text\":\"abcd\",\"real\":1.5}", &j, &e));
    assert_int_equal(json_copy_text(j, "doc", "text", copy, sizeof(copy), &e), ERR_CORRUPT);
    assert_string_equal(copy, "old");
    assert_int_equal(json_get_i64(j, "doc", "real", &i, &e), ERR_CORRUPT);
    assert_int_equal(i, 5);
}

static void absent_members_have_a_default(void **state)
{
    (void)state;
    CLEANUP(json_donep) json_t *j = NULL;
    struct err e = ERR_INIT;
    assert_ok(parse(members, &j, &e));
    assert_string_equal(json_text_or(j, "text", "-"), "abc");
    assert_string_equal(json_text_or(j, "int", "-"), "-");
    assert_string_equal(json_text_or(NULL, "text", "-"), "-");
    assert_int_equal(json_i64_or(j, "int", 3), -7);
    assert_int_equal(json_i64_or(j, "real", 3), 3);
    assert_int_equal(json_i64_or(j, "none", 3), 3);
    assert_true(json_f64_or(j, "int", 3) == -7);
    assert_true(json_f64_or(j, "text", 3) == 3);
}

int main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(depth_has_a_limit),
        cmocka_unit_test(size_has_a_limit),
        cmocka_unit_test(canonical_form_is_all_or_nothing),
        cmocka_unit_test(pretty_form_is_for_people),
        cmocka_unit_test(what_is_not_utf8_has_no_form),
        cmocka_unit_test(every_double_comes_back),
        cmocka_unit_test(members_are_read),
        cmocka_unit_test(members_of_another_type_are_refused),
        cmocka_unit_test(outputs_stay_on_failure),
        cmocka_unit_test(absent_members_have_a_default),
    };
    static struct CMUnitTest tests[ARRAY_LEN(rows) + ARRAY_LEN(others)];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        tests[i] = (struct CMUnitTest){ rows[i].name, json_row, NULL, NULL, (void *)&rows[i] };
    memcpy(tests + ARRAY_LEN(rows), others, sizeof(others));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
