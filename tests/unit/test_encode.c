/*
 * From text to numbers: what is fitted, what is refused, and that it does not matter how the shards are cut.
 */
#include "tests/test.h"

#include "base/mem.h"
#include "base/rng.h"
#include "trainer/encode.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { COLUMNS = 3, SHARDS_MAX = 4, ROWS_MAX = 64 };

/* Column `n` is numeric, `c` a category, `class` the target. */
static struct dataset_column columns[COLUMNS] = { { "n", COLUMN_NUMERIC },
                                                  { "c", COLUMN_CATEGORY },
                                                  { "class", COLUMN_CATEGORY } };
static struct dataset_shard shards[SHARDS_MAX] = {
    { .key = "s0" }, { .key = "s1" }, { .key = "s2" }, { .key = "s3" }
};

static struct dataset dataset_of(size_t shard_count)
{
    return (struct dataset){
        .name = "d", .columns = columns, .column_count = COLUMNS, .shards = shards, .shard_count = shard_count
    };
}
static const struct spec_data spec = {
    .target = "class", .positive = "bad", .missing = { "?" }, .missing_count = 1
};

/* Fit on `rows` rows of three fields, cut into `shard_count` shards as even as can be. */
static enum err_code fit(const char *const *fields, size_t rows, size_t shard_count, struct encoding *out,
                         struct err *e)
{
    struct dataset d = dataset_of(shard_count);
    json_t *surveys[SHARDS_MAX] = { NULL };

    err_clear(e);
    for (size_t i = 0; i < shard_count && e->code == OK; i++) {
        size_t first = rows * i / shard_count, end = rows * (i + 1) / shard_count;
        struct table t = { .fields = (const char **)fields + first * COLUMNS,
                           .rows = end - first,
                           .columns = COLUMNS };
        CLEANUP(buf_done) struct buf text = BUF_INIT(64 << 20);
        if (encode_survey(&d, &spec, i, &t, t.rows, &text, e) == OK)
            IGNORE(json_parse(text.data, text.len, "survey", &surveys[i], e));
    }
    if (e->code == OK)
        IGNORE(encode_fit(&d, &spec, surveys, out, e));
    for (size_t i = 0; i < shard_count; i++)
        json_decref(surveys[i]);
    return e->code;
}

/* ---- numbers ---- */

static const struct moments_row {
    const char *name;
    const char *numbers[8];
    size_t count;
    double mean, scale;
} moments_rows[] = {
    { "mean and deviation of a few numbers", { "1", "2", "3", "6" }, 4, 3, 1.8708286933869707 },
    { "a column that never changes has scale 1", { "0.1", "0.1", "0.1", "0.1" }, 4, 0.1, 1 },
    { "zeros have scale 1", { "0", "0", "0", "0" }, 4, 0, 1 },
    { "times in milliseconds keep their scale",
      { "1700000000000", "1700000000001", "1700000000002", "1700000000003" },
      4,
      1700000000001.5,
      1.1180339887498949 },
    { "large and small ones keep their scale", { "1e100", "3e100", "1e100", "3e100" }, 4, 2e100, 1e100 },
    { "what is missing does not count", { "1", "?", "3", "?" }, 4, 2, 1 },
    { "nothing but missing values has mean 0 and scale 1", { "?", "?", "?", "?" }, 4, 0, 1 },
};

static void numbers_are_fitted(void **state)
{
    const struct moments_row *row = *state;
    const char *fields[8 * COLUMNS];

    for (size_t i = 0; i < row->count; i++) {
        fields[i * COLUMNS] = row->numbers[i];
        fields[i * COLUMNS + 1] = "x";
        fields[i * COLUMNS + 2] = i % 2 ? "good" : "bad";
    }
    for (size_t shard_count = 1; shard_count <= SHARDS_MAX; shard_count++) {
        struct err e = ERR_INIT;
        CLEANUP(encoding_done) struct encoding c = { 0 };
        assert_ok(fit(fields, row->count, shard_count, &c, &e));
        assert_true(fabs(c.columns[0].mean - row->mean) <= 1e-15 * fabs(row->mean));
        assert_true(fabs(c.columns[0].scale - row->scale) <= 1e-9 * row->scale);
    }
}

/* ---- refusals ---- */

static const struct refused_row {
    const char *name;
    const char *fields[4][COLUMNS];
    const char *where, *why, *unsaid; /* unsaid: must not be in the error */
} refused_rows[] = {
    { "a word for a number",
      { { "1", "x", "good" }, { "secret", "x", "bad" }, { "1", "x", "bad" }, { "1", "x", "bad" } },
      "shard s0, record 2, column 'n'",
      "is no number",
      "secret" },
    { "infinity for a number",
      { { "1", "x", "good" }, { "1", "x", "bad" }, { "1", "x", "bad" }, { "inf", "x", "bad" } },
      "shard s1, record 2, column 'n'",
      "is no number",
      "inf" },
    { "a number too far from the others",
      { { "1", "x", "good" }, { "1e308", "x", "bad" }, { "1", "x", "bad" }, { "1", "x", "bad" } },
      "shard s0, record 2, column 'n'",
      "too far",
      "1e308" },
    { "shards too far from each other",
      { { "-1e300", "x", "good" },
        { "-1e300", "x", "bad" },
        { "1e300", "x", "bad" },
        { "1e300", "x", "bad" } },
      "column 'n'",
      "too far apart",
      "1e300" },
    { "a value that is no UTF-8",
      { { "1", "x", "good" }, { "1", "x", "bad" }, { "1", "se\xff", "bad" }, { "1", "x", "bad" } },
      "shard s1, record 1, column 'c'",
      "no UTF-8",
      "se"
      "\xff" },
    { "a target that is missing",
      { { "1", "x", "good" }, { "1", "x", "?" }, { "1", "x", "bad" }, { "1", "x", "bad" } },
      "shard s0, record 2, column 'class'",
      "the target is missing",
      NULL },
    { "one class only",
      { { "1", "x", "bad" }, { "1", "x", "bad" }, { "1", "x", "bad" }, { "1", "x", "bad" } },
      "data.target",
      "one class only",
      NULL },
    { "a positive class that is not there",
      { { "1", "x", "good" }, { "1", "x", "ugly" }, { "1", "x", "good" }, { "1", "x", "good" } },
      "data.positive",
      "no class of column 'class'",
      NULL },
};

static void data_is_refused(void **state)
{
    const struct refused_row *row = *state;
    struct err e = ERR_INIT;
    CLEANUP(encoding_done) struct encoding c = { 0 };

    assert_int_equal(fit(&row->fields[0][0], 4, 2, &c, &e), ERR_USAGE);
    assert_non_null(strstr(e.text, row->where));
    assert_non_null(strstr(e.text, row->why));
    assert_true(!row->unsaid || !strstr(e.text, row->unsaid));
    assert_int_equal(c.column_count, 0);
}

/* `count` values over two shards, each shard with half of them. */
static enum err_code fit_values(size_t count, size_t bytes_each, struct encoding *out, struct err *e)
{
    CLEANUP(freep) const char **fields = mem_array(count * COLUMNS, sizeof(*fields));
    CLEANUP(freep) char *texts = mem_array(count, bytes_each + 1);

    for (size_t i = 0; i < count; i++) {
        char *text = texts + i * (bytes_each + 1);
        snprintf(text, bytes_each + 1, "%0*zu", (int)bytes_each, i);
        fields[i * COLUMNS] = "1";
        fields[i * COLUMNS + 1] = text;
        fields[i * COLUMNS + 2] = i % 2 ? "good" : "bad";
    }
    return fit(fields, count, 2, out, e);
}

static void a_category_may_have_so_many_values(void **state)
{
    struct err e = ERR_INIT;
    struct dataset d = dataset_of(2);
    CLEANUP(encoding_done) struct encoding c = { 0 }, back = { 0 };
    (void)state;

    assert_ok(fit_values(ENCODE_VALUES_MAX, 6, &c, &e));
    CLEANUP(json_donep) json_t *j = encoding_to_json(&c, &d);
    assert_ok(encoding_from_json(j, &d, &back, &e)); /* what a checkpoint holds can be read back */
    assert_int_equal(back.width, c.width);
}

static void a_category_may_not_have_more(void **state)
{
    struct err e = ERR_INIT;
    CLEANUP(encoding_done) struct encoding c = { 0 };
    (void)state;
    assert_int_equal(fit_values(ENCODE_VALUES_MAX + 1, 6, &c, &e), ERR_USAGE);
    assert_non_null(strstr(e.text, "column 'c'"));
}

static void all_values_together_have_a_limit(void **state)
{
    struct err e = ERR_INIT;
    CLEANUP(encoding_done) struct encoding c = { 0 };
    (void)state;
    assert_int_equal(fit_values(5000, 1000, &c, &e), ERR_USAGE);
    assert_non_null(strstr(e.text, "4 MiB"));
}

/* ---- rows ---- */

static const struct use_row {
    const char *name;
    const char *fields[COLUMNS];
    enum err_code want;
    float row[4]; /* n, missing n, x, y */
} use_rows[] = {
    { "a number is scaled", { "3", "x", "bad" }, OK, { 1, 0, 1, 0 } },
    { "a missing number is the mean, and says so", { "?", "y", "bad" }, OK, { 0, 1, 0, 1 } },
    { "a category never seen is nothing", { "2", "z", "bad" }, OK, { 0, 0, 0, 0 } },
    { "a word is refused", { "two", "x", "bad" }, ERR_USAGE, { 0 } },
    { "a number that floats cannot hold is refused", { "1e300", "x", "bad" }, ERR_USAGE, { 0 } },
    { "an unknown class is refused", { "2", "x", "ugly" }, ERR_USAGE, { 0 } },
};

static void rows_are_encoded(void **state)
{
    static const char *const fields[] = { "1", "x", "bad", "3", "y", "good", "?", "x", "bad" };
    const struct use_row *row = *state;
    struct err e = ERR_INIT;
    CLEANUP(encoding_done) struct encoding c = { 0 };
    float got[4];
    int32_t label;

    assert_ok(fit(fields, 3, 1, &c, &e));
    assert_int_equal(c.width, ARRAY_LEN(got));
    assert_int_equal(encode_row(&c, row->fields, got, &label, &e), row->want);
    if (row->want == OK)
        assert_memory_equal(got, row->row, sizeof(got));
}

/* ---- as JSON ---- */

static const struct json_row {
    const char *name, *text; /* of one numeric column `n`, one category `c` */
    const char *why;         /* NULL: fine */
} json_rows[] = {
#define HEAD                                                                                                 \
    "{\"target\":\"class\",\"positive\":\"bad\",\"missing\":[\"?\"],\"classes\":[\"bad\",\"good\"],"         \
    "\"columns\":["
#define N "{\"name\":\"n\",\"kind\":\"numeric\",\"missing\":false,\"mean\":\"0.5\",\"scale\":\"2\"}"
    { "what we write",
      HEAD N ",{\"name\":\"c\",\"kind\":\"category\",\"missing\":true,\"values\":[\"x\",\"y\"]}]}", NULL },
    { "values out of order",
      HEAD "{\"name\":\"c\",\"kind\":\"category\",\"missing\":true,\"values\":[\"y\",\"x\"]}]}", "sorted" },
    { "a value twice",
      HEAD "{\"name\":\"c\",\"kind\":\"category\",\"missing\":true,\"values\":[\"x\",\"x\"]}]}", "sorted" },
    { "a value that is no text",
      HEAD "{\"name\":\"c\",\"kind\":\"category\",\"missing\":true,\"values\":[1]}]}", "no text" },
    { "an unknown column",
      HEAD "{\"name\":\"z\",\"kind\":\"numeric\",\"missing\":false,\"mean\":\"0\",\"scale\":\"1\"}]}",
      "'z' is not in" },
    { "an unknown kind",
      HEAD "{\"name\":\"n\",\"kind\":\"magic\",\"missing\":false,\"mean\":\"0\",\"scale\":\"1\"}]}",
      "'kind'" },
    { "another kind than the dataset's",
      HEAD "{\"name\":\"n\",\"kind\":\"category\",\"missing\":false,\"values\":[]}]}", "another kind" },
    { "a scale of zero",
      HEAD "{\"name\":\"n\",\"kind\":\"numeric\",\"missing\":false,\"mean\":\"0\",\"scale\":\"0\"}]}",
      "'scale'" },
    { "a mean that is no number",
      HEAD "{\"name\":\"n\",\"kind\":\"numeric\",\"missing\":false,\"mean\":\"nan\",\"scale\":\"1\"}]}",
      "'mean'" },
    { "a column that is no object", HEAD "7]}", "" },
    { "a positive class that is none",
      "{\"target\":\"class\",\"positive\":\"ugly\",\"missing\":[],\"classes\":[\"bad\"],\"columns\":[]}",
      "'positive'" },
    { "an unknown target",
      "{\"target\":\"z\",\"positive\":\"\",\"missing\":[],\"classes\":[\"bad\"],\"columns\":[]}", "'z'" },
    { "an empty object", "{}", "" },
#undef HEAD
#undef N
};

static void json_is_read_strictly(void **state)
{
    const struct json_row *row = *state;
    struct err e = ERR_INIT;
    struct dataset d = dataset_of(1);
    CLEANUP(json_donep) json_t *j = NULL;
    CLEANUP(encoding_done) struct encoding c = { 0 };

    assert_ok(json_parse(row->text, strlen(row->text), "test", &j, &e));
    enum err_code code = encoding_from_json(j, &d, &c, &e);
    if (!row->why) {
        assert_int_equal(code, OK);
        assert_int_equal(c.width, 1 + 3);
        return;
    }
    assert_int_equal(code, ERR_CORRUPT);
    assert_non_null(strstr(e.text, row->why));
    assert_int_equal(c.column_count, 0);
}

/* How the records are cut into shards changes the last bits at most; who reads which shard changes none. */
static void numbers_at_random_agree_with_two_passes(void **state)
{
    struct err e = ERR_INIT;
    char texts[ROWS_MAX][32];
    const char *fields[ROWS_MAX * COLUMNS];
    double sum = 0, squares = 0, x[ROWS_MAX];
    CLEANUP(encoding_done) struct encoding c = { 0 };
    (void)state;

    for (size_t i = 0; i < ROWS_MAX; i++) {
        x[i] = 1e6 + rng_normal(5, i);
        snprintf(texts[i], sizeof(texts[i]), "%.17g", x[i]);
        fields[i * COLUMNS] = texts[i];
        fields[i * COLUMNS + 1] = "x";
        fields[i * COLUMNS + 2] = i % 2 ? "good" : "bad";
        sum += x[i];
    }
    for (size_t i = 0; i < ROWS_MAX; i++)
        squares += (x[i] - sum / ROWS_MAX) * (x[i] - sum / ROWS_MAX);
    assert_ok(fit(fields, ROWS_MAX, 3, &c, &e));
    assert_true(fabs(c.columns[0].mean - sum / ROWS_MAX) < 1e-9);
    assert_true(fabs(c.columns[0].scale - sqrt(squares / ROWS_MAX)) < 1e-9);
}

static const struct CMUnitTest plain_rows[] = {
    { "a category may have so many values", a_category_may_have_so_many_values, NULL, NULL, NULL },
    { "a category may not have more, over all shards", a_category_may_not_have_more, NULL, NULL, NULL },
    { "all values together have a limit", all_values_together_have_a_limit, NULL, NULL, NULL },
    { "numbers at random agree with two passes", numbers_at_random_agree_with_two_passes, NULL, NULL, NULL },
};

#define RUN(rows, fn) run_rows(rows, sizeof((rows)[0]), ARRAY_LEN(rows), fn)
static int run_rows(const void *rows, size_t row_bytes, size_t count, CMUnitTestFunction fn)
{
    struct CMUnitTest tests[32];
    assert_true(count <= ARRAY_LEN(tests));
    for (size_t i = 0; i < count; i++) {
        const char *row = (const char *)rows + i * row_bytes; /* each row starts with its name */
        const char *name;
        memcpy(&name, row, sizeof(name));
        tests[i] = (struct CMUnitTest){ name, fn, NULL, NULL, (void *)row };
    }
    return _cmocka_run_group_tests("rows", tests, count, NULL, NULL);
}

int main(void)
{
    int failed = cmocka_run_group_tests(plain_rows, NULL, NULL);
    failed += RUN(moments_rows, numbers_are_fitted);
    failed += RUN(refused_rows, data_is_refused);
    failed += RUN(use_rows, rows_are_encoded);
    return failed + RUN(json_rows, json_is_read_strictly);
}
