/* A document from JSON that is parsed already: the same as from its text, but without lines in errors. */
#include "tests/test.h"

#include "base/mem.h"
#include "tests/conf_sample.h"

static enum err_code bind(struct conf_doc *doc, struct sample *out, struct err *e)
{
    memset(out, 0, sizeof(*out)); /* padding too: structs are compared as bytes */
    return conf_bind(doc, sample_fields, out, e);
}

static enum err_code from_json(const char *text, struct sample *out, struct err *e)
{
    CLEANUP(conf_freep) struct conf_doc *doc = NULL;
    CLEANUP(json_donep) json_t *j = json_loads(text, JSON_DECODE_ANY, NULL);
    assert_non_null(j);
    if (conf_from_json("f", j, &doc, e))
        return e->code;
    return bind(doc, out, e);
}

/* JSON is YAML, so both readers take it. */
static void both_readers_agree(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{\"data\": {\"train\": \"x\"}}",
        "{\"name\": \"a\", \"note\": \"null\", \"data\": {\"train\": \"~\", \"missing\": [\"\", \"?\"]}}",
        "{\"data\": {\"train\": \"x\"}, \"train\": {\"lr\": 0.1, \"epochs\": 7, \"shuffle\": false, "
        "\"every\": \"5 steps\"}}",
        "{\"data\": {\"train\": \"x\"}, \"train\": {\"lr\": 1e-3}, \"hidden\": [8, 4], \"memory\": 2000000}",
        "{\"data\": {\"train\": \"x\"}, \"ranks\": 4, \"users\": [{\"name\": \"a\", \"share\": "
        "0.30000000000000004}]}",
        "{\"data\": {\"train\": \"\\u20ac \\u00e4\\n\"}, \"ranks\": {\"max\": 3}, \"time_limit\": \"90s\"}",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        CLEANUP(conf_freep) struct conf_doc *doc = NULL;
        struct sample s, same;
        struct err e = ERR_INIT;
        assert_ok(from_json(texts[i], &s, &e));
        assert_ok(conf_parse("f", texts[i], strlen(texts[i]), &doc, &e));
        assert_ok(bind(doc, &same, &e));
        assert_memory_equal(&s, &same, sizeof(s));
    }
}

#define DEEP16 "[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]"

static const struct row {
    const char *name, *text, *want;
    enum err_code code;
} rows[] = {
    { "settings are an object", "[]", "f: must be settings (an object)", ERR_USAGE },
    { "a value out of range is named", "{\"data\":{\"train\":\"x\"},\"train\":{\"lr\":2}}",
      "f: train.lr: must be from 0 to 1, not '2'", ERR_USAGE },
    { "an unknown name is named", "{\"data\":{\"train\":\"x\"},\"train\":{\"epohcs\":2}}",
      "f: train.epohcs: no such setting; did you mean 'epochs'?", ERR_USAGE },
    { "text is no number", "{\"data\":{\"train\":\"x\"},\"train\":{\"lr\":\"0.1\"}}",
      "f: train.lr: must be a number from 0 to 1, not the quoted text '0.1'", ERR_USAGE },
    { "a number is no boolean", "{\"data\":{\"train\":\"x\"},\"train\":{\"shuffle\":1}}",
      "f: train.shuffle: must be true or false, not '1'", ERR_USAGE },
    { "null is no value", "{\"data\":{\"train\":null}}", "f: data.train: has no value", ERR_USAGE },
    { "an empty name", "{\"data\":{\"\":1}}", "f: data: the name of a setting is empty", ERR_USAGE },
    { "text that cannot be printed", "{\"data\":{\"train\":\"a\\u2028\"}}",
      "f: data.train: holds a character that cannot be printed", ERR_USAGE },
    { "a name that cannot be printed", "{\"data\":{\"\\u007f\":1}}",
      "f: data: holds a character that cannot be printed", ERR_USAGE },
    { "too deep", "{\"hidden\":" DEEP16 "}",
      "f: hidden[0][0][0][0][0][0][0][0][0][0][0][0][0][0][0]: nested deeper than 16", ERR_LIMIT },
};

static void json_is_refused(void **state)
{
    const struct row *r = *state;
    struct sample s;
    struct err e = ERR_INIT;
    assert_int_equal(from_json(r->text, &s, &e), r->code);
    assert_string_equal(e.text, r->want);
}

static void too_many_values_are_refused(void **state)
{
    (void)state;
    CLEANUP(json_donep) json_t *j = json_object();
    CLEANUP(conf_freep) struct conf_doc *doc = NULL;
    struct err e = ERR_INIT;
    json_t *list = json_array();
    for (size_t i = 0; i < CONF_NODES_MAX; i++)
        assert_int_equal(json_array_append_new(list, json_true()), 0);
    assert_int_equal(json_object_set_new(j, "hidden", list), 0);
    assert_int_equal(conf_from_json("f", j, &doc, &e), ERR_LIMIT);
    assert_null(doc);
}

int main(void)
{
    static const struct CMUnitTest singles[] = {
        cmocka_unit_test(both_readers_agree),
        cmocka_unit_test(too_many_values_are_refused),
    };
    static struct CMUnitTest tests[ARRAY_LEN(singles) + ARRAY_LEN(rows)];
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(singles); i++)
        tests[n++] = singles[i];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        tests[n++] = (struct CMUnitTest){ rows[i].name, json_is_refused, NULL, NULL, (void *)&rows[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
