/* Data as the trainer reads it: encoding, shards checked by hash, and positions that are a pure function of
 * the step. */
#include "tests/test.h"

#include "base/mem.h"
#include "core/crypto/crypto.h"
#include "trainer/loader.h"

#include <stdio.h>
#include <string.h>

enum { SHARDS = 4, RECORDS = 25, LEAVES = 8 };

/* Column `id` is unique over all records; `kind` is a category; `class` the target. */
struct setup {
    struct store *store;
    struct dataset d;
    struct spec_data spec;
    struct encoding encoding;
    struct shards *shards;
};

static void put_shard(struct setup *s, size_t i)
{
    struct err e = ERR_INIT;
    struct dataset_shard *shard = &s->d.shards[i];
    struct store_info info;
    CLEANUP(buf_done) struct buf text = BUF_INIT(1 << 20);

    buf_add_text(&text, "class,id,\"ki\"\"nd\"\n");
    for (size_t r = 0; r < RECORDS; r++)
        buf_addf(&text, "%s,%zu,%s\n", r % 3 ? "good" : "bad", i * RECORDS + r,
                 r % 5 == 4 ? "?"
                 : r % 2    ? "x, y"
                            : "z");
    /* A value with a comma must be quoted. */
    CLEANUP(buf_done) struct buf quoted = BUF_INIT(1 << 20);
    for (size_t at = 0; at < text.len; at++)
        if (strncmp((char *)text.data + at, "x, y", 4) == 0) {
            buf_add_text(&quoted, "\"x, y\"");
            at += 3;
        } else {
            buf_add_byte(&quoted, text.data[at]);
        }
    snprintf(shard->key, sizeof(shard->key), "d/shard-%zu.csv", i);
    assert_ok(store_put(s->store, shard->key, quoted.data, quoted.len, NULL, &info, &e));
    memcpy(shard->version, info.version, sizeof(shard->version));
    shard->bytes = quoted.len;
    shard->records = RECORDS;
    sha256_hex(quoted.data, quoted.len, shard->sha256);
}

static void fit(struct setup *s)
{
    struct err e = ERR_INIT;
    json_t *surveys[SHARDS] = { NULL };
    for (size_t i = 0; i < SHARDS; i++) {
        CLEANUP(table_done) struct table t = { 0 };
        CLEANUP(buf_done) struct buf text = BUF_INIT(1 << 20);
        assert_ok(shards_read(s->shards, i, &t, &e));
        assert_ok(encode_survey(&s->d, &s->spec, i, &t, t.rows - dataset_holdout(t.rows, s->spec.holdout),
                                &text, &e));
        assert_ok(json_parse(text.data, text.len, "survey", &surveys[i], &e));
    }
    assert_ok(encode_fit(&s->d, &s->spec, surveys, &s->encoding, &e));
    for (size_t i = 0; i < SHARDS; i++)
        json_decref(surveys[i]);
    shards_set_encoding(s->shards, &s->encoding);
}

static int setup(void **state)
{
    struct err e = ERR_INIT;
    struct setup *s = mem_new(sizeof(*s));
    struct store_place place = { .kind = STORE_MEM, .bucket = "data", .region = "eu" };

    assert_ok(store_open(&place, NULL, &s->store, &e));
    s->spec = (struct spec_data){
        .holdout = 0.2, .target = "class", .positive = "bad", .missing = { "?" }, .missing_count = 1
    };
    s->d.column_count = 3;
    s->d.columns = mem_array(3, sizeof(*s->d.columns));
    s->d.columns[0] = (struct dataset_column){ "id", COLUMN_NUMERIC };
    s->d.columns[1] = (struct dataset_column){ "ki\"nd", COLUMN_CATEGORY };
    s->d.columns[2] = (struct dataset_column){ "class", COLUMN_CATEGORY };
    s->d.shard_count = SHARDS;
    s->d.shards = mem_array(SHARDS, sizeof(*s->d.shards));
    for (size_t i = 0; i < SHARDS; i++)
        put_shard(s, i);
    s->shards = shards_new(s->store, &s->d, &s->spec, 1 << 20);
    fit(s);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct setup *s = *state;
    shards_free(s->shards);
    encoding_done(&s->encoding);
    dataset_done(&s->d);
    store_close(s->store);
    free(s);
    return 0;
}

static void encodings_are_fitted_on_the_training_part_alone(void **state)
{
    struct setup *s = *state;
    double sum = 0;
    size_t n = 0;
    for (size_t i = 0; i < SHARDS; i++)
        for (size_t r = 0; r < 20; r++, n++)
            sum += (double)(i * RECORDS + r);
    assert_true(s->encoding.columns[0].mean == sum / (double)n);
    assert_false(s->encoding.columns[0].has_missing);
    assert_true(s->encoding.columns[1].has_missing);
    assert_int_equal(s->encoding.columns[1].value_count, 2);
    assert_string_equal(s->encoding.columns[1].values[0], "x, y");
    assert_int_equal(s->encoding.width, 1 + 3);
    assert_int_equal(s->encoding.class_count, 2);
    assert_int_equal(s->encoding.positive, 0); /* "bad" sorts before "good" */
}

static void an_encoding_survives_json_to_the_bit(void **state)
{
    struct setup *s = *state;
    struct err e = ERR_INIT;
    CLEANUP(json_donep) json_t *j = encoding_to_json(&s->encoding, &s->d);
    CLEANUP(encoding_done) struct encoding back = { 0 };
    assert_ok(encoding_from_json(j, &s->d, &back, &e));
    assert_memory_equal(&back.columns[0].mean, &s->encoding.columns[0].mean, sizeof(double));
    assert_memory_equal(&back.columns[0].scale, &s->encoding.columns[0].scale, sizeof(double));
    assert_int_equal(back.width, s->encoding.width);
    assert_int_equal(back.positive, s->encoding.positive);
}

static const struct row_case {
    const char *name;
    const char *fields[3];
    float want[4];
} row_cases[] = {
    { "a known category is its column", { "44.5", "z", "good" }, { 0, 0, 1, 0 } },
    { "a missing category has its own column", { "44.5", "?", "good" }, { 0, 0, 0, 1 } },
    { "a category never seen counts as missing", { "44.5", "new", "good" }, { 0, 0, 0, 1 } },
    { "a missing number counts as the mean", { "?", "x, y", "good" }, { 0, 1, 0, 0 } },
};

static void rows_are_encoded(void **state)
{
    struct setup *s = NULL;
    const struct row_case *c = *state;
    struct err e = ERR_INIT;
    void *made = NULL;
    float row[4];
    int32_t label;

    setup(&made);
    s = made;
    s->encoding.columns[0].mean = 44.5;
    assert_ok(encode_row(&s->encoding, c->fields, row, &label, &e));
    assert_memory_equal(row, c->want, sizeof(row));
    assert_int_equal(label, 1);
    teardown(&made);
}

static void what_is_no_number_is_the_users_error(void **state)
{
    struct setup *s = *state;
    struct err e = ERR_INIT;
    const char *fields[3] = { "12a", "z", "good" }, *unknown[3] = { "1", "z", "ugly" };
    float row[4];
    int32_t label;
    assert_int_equal(encode_row(&s->encoding, fields, row, &label, &e), ERR_USAGE);
    assert_non_null(strstr(e.text, "column 'id'"));
    assert_null(strstr(e.text, "12a")); /* it may be somebody's */
    assert_int_equal(encode_row(&s->encoding, unknown, row, &label, &e), ERR_USAGE);
}

static struct loader *open_loader(struct setup *s, size_t first, size_t count, size_t leaf_batch)
{
    struct err e = ERR_INIT;
    struct loader *l = NULL;
    struct loader_config config = { .seed = 3,
                                    .leaves = LEAVES,
                                    .own = { first, count },
                                    .leaf_batch = leaf_batch,
                                    .holdout = s->spec.holdout,
                                    .width = s->encoding.width };
    assert_ok(loader_open(&config, &s->d, s->shards, &l, &e));
    return l;
}

static size_t id_of(const struct setup *s, const struct batch *b, size_t row)
{
    double x = b->features[row * s->encoding.width];
    return (size_t)(x * s->encoding.columns[0].scale + s->encoding.columns[0].mean + 0.5);
}

static void an_epoch_reads_each_training_record_once(void **state)
{
    struct setup *s = *state;
    struct err e = ERR_INIT;
    CLEANUP(loader_closep) struct loader *l = open_loader(s, 0, LEAVES, 3);
    int64_t per_epoch = loader_steps_per_epoch(l);

    assert_int_equal(per_epoch, 4); /* 80 records, 10 a leaf, 3 a step: the last step is short */
    for (int64_t epoch = 0; epoch < 3; epoch++) {
        int seen[SHARDS * RECORDS] = { 0 };
        for (int64_t i = 1; i <= per_epoch; i++) {
            const struct batch *b;
            assert_ok(loader_step(l, epoch * per_epoch + i, &b, &e));
            for (size_t leaf = 0; leaf < LEAVES; leaf++)
                for (size_t r = 0; r < b[leaf].n; r++)
                    seen[id_of(s, &b[leaf], r)]++;
        }
        for (size_t id = 0; id < SHARDS * RECORDS; id++)
            assert_int_equal(seen[id], id % RECORDS < 20); /* the tail of each shard is held out */
    }
}

static void a_step_is_the_same_from_any_start_and_on_any_rank(void **state)
{
    struct setup *s = *state;
    struct err e = ERR_INIT;
    CLEANUP(loader_closep) struct loader *whole = open_loader(s, 0, LEAVES, 3);
    CLEANUP(loader_closep) struct loader *half = open_loader(s, 4, 4, 3);
    const struct batch *all, *part;

    for (int64_t step = 1; step <= 9; step++)
        assert_ok(loader_step(whole, step, &all, &e));
    assert_ok(loader_step(half, 9, &part, &e)); /* as after a restart: straight to step 9 */
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(part[i].n, all[4 + i].n);
        assert_memory_equal(part[i].features, all[4 + i].features,
                            part[i].n * s->encoding.width * sizeof(float));
    }
}

static void epochs_differ_in_order(void **state)
{
    struct setup *s = *state;
    struct err e = ERR_INIT;
    CLEANUP(loader_closep) struct loader *l = open_loader(s, 0, LEAVES, 10);
    const struct batch *b;
    size_t first[10], same = 0;

    assert_ok(loader_step(l, 1, &b, &e));
    for (size_t i = 0; i < 10; i++)
        first[i] = id_of(s, &b[0], i);
    assert_ok(loader_step(l, 2, &b, &e));
    for (size_t i = 0; i < 10; i++)
        same += first[i] == id_of(s, &b[0], i);
    assert_true(same < 5);
}

static void a_small_cache_changes_nothing(void **state)
{
    struct setup *s = *state;
    struct err e = ERR_INIT;
    CLEANUP(loader_closep) struct loader *large = open_loader(s, 0, LEAVES, 3);
    const struct batch *a, *b;
    CLEANUP(shards_freep) struct shards *small = shards_new(s->store, &s->d, &s->spec, 1);
    shards_set_encoding(small, &s->encoding);
    struct shards *kept = s->shards;
    s->shards = small;
    CLEANUP(loader_closep) struct loader *tight = open_loader(s, 0, LEAVES, 3);
    s->shards = kept;
    for (int64_t step = 1; step <= 4; step++) {
        assert_ok(loader_step(large, step, &a, &e));
        assert_ok(loader_step(tight, step, &b, &e));
        for (size_t i = 0; i < LEAVES; i++)
            assert_memory_equal(a[i].features, b[i].features, a[i].n * s->encoding.width * sizeof(float));
    }
}

/* ---- a step ahead ---- */

/* Each with shards of its own, as each has a thread of its own. */
struct reader {
    struct shards *shards;
    struct loader *loader;
};
static void reader_done(struct reader *r)
{
    loader_close(r->loader);
    shards_free(r->shards);
}

static struct reader reader_of(struct setup *s, int64_t epochs)
{
    struct err e = ERR_INIT;
    struct reader r = { .shards = shards_new(s->store, &s->d, &s->spec, 1) };
    struct loader_config config = { .seed = 3,
                                    .leaves = LEAVES,
                                    .own = { 2, 2 },
                                    .leaf_batch = 3,
                                    .holdout = s->spec.holdout,
                                    .width = s->encoding.width,
                                    .epochs = epochs };
    shards_set_encoding(r.shards, &s->encoding);
    assert_ok(loader_open(&config, &s->d, r.shards, &r.loader, &e));
    return r;
}

enum { AHEAD_EPOCHS = 3, AHEAD_STEPS = 12, AHEAD_ROWS = 3, AHEAD_WIDTH = 4 };

/* All that a reader gives from step `from` on. */
static void read_all(struct reader *r, int64_t from, float out[AHEAD_STEPS + 1][2][AHEAD_ROWS * AHEAD_WIDTH])
{
    struct err e = ERR_INIT;
    const struct batch *b;

    assert_int_equal(loader_steps_per_epoch(r->loader) * AHEAD_EPOCHS, AHEAD_STEPS);
    for (int64_t step = from; step <= AHEAD_STEPS; step++) {
        assert_ok(loader_step(r->loader, step, &b, &e));
        for (size_t leaf = 0; leaf < 2; leaf++)
            memcpy(out[step][leaf], b[leaf].features, b[leaf].n * AHEAD_WIDTH * sizeof(float));
    }
}

static void a_step_ahead_is_the_same_batches(void **state)
{
    struct setup *s = *state;
    float want[AHEAD_STEPS + 1][2][AHEAD_ROWS * AHEAD_WIDTH] = { 0 }, got[ARRAY_LEN(want)][2][12] = { 0 };

    assert_int_equal(s->encoding.width, AHEAD_WIDTH);
    CLEANUP(reader_done) struct reader plain = reader_of(s, 0);
    read_all(&plain, 1, want);
    for (int64_t from = 1; from <= AHEAD_STEPS; from += 5) { /* as after a restart, too */
        CLEANUP(reader_done) struct reader ahead = reader_of(s, AHEAD_EPOCHS);
        read_all(&ahead, from, got);
        assert_memory_equal(got[from], want[from], (ARRAY_LEN(want) - (size_t)from) * sizeof(*want));
    }
}

static int64_t first_failure(struct reader *r, struct err *e)
{
    const struct batch *b;
    for (int64_t step = 1; step <= AHEAD_STEPS; step++)
        if (loader_step(r->loader, step, &b, e))
            return step;
    return 0;
}

/* A shard that is not there is met a step early, and told when its step has come; and again when asked again.
 */
static void what_fails_ahead_is_told_with_its_step(void **state)
{
    struct setup *s = *state;
    struct err e = ERR_INIT, e_ahead = ERR_INIT, e_again = ERR_INIT;
    const struct batch *b;

    CLEANUP(reader_done) struct reader plain = reader_of(s, 0);
    CLEANUP(reader_done) struct reader ahead = reader_of(s, AHEAD_EPOCHS);
    assert_ok(loader_step(plain.loader, 1, &b, &e)); /* of a shard that stays */
    size_t kept = 0;
    while (kept < SHARDS && id_of(s, &b[0], 0) / RECORDS != kept)
        kept++;
    memcpy(s->d.shards[(kept + 1) % SHARDS].version, "gone", 5);
    memcpy(s->d.shards[(kept + 2) % SHARDS].version, "gone", 5);
    memcpy(s->d.shards[(kept + 3) % SHARDS].version, "gone", 5);
    int64_t step = first_failure(&plain, &e);
    assert_true(step > 0);
    assert_int_equal(first_failure(&ahead, &e_ahead), step);
    assert_int_equal(e_ahead.code, ERR_CORRUPT);
    assert_string_equal(e_ahead.text, e.text);
    assert_int_equal(loader_step(ahead.loader, step, &b, &e_again), ERR_CORRUPT);
    assert_string_equal(e_again.text, e.text);
}

/* Replace shard 0's bytes by `n` bytes of `data`, keep the manifest, and read. */
static enum err_code read_changed(struct setup *s, const void *data, size_t n, struct err *e)
{
    struct table t = { 0 };
    struct store_info info;
    assert_int_equal(store_put(s->store, s->d.shards[0].key, data, n, NULL, &info, e), OK);
    memcpy(s->d.shards[0].version, info.version, sizeof(info.version));
    enum err_code code = shards_read(s->shards, 0, &t, e);
    table_done(&t);
    return code;
}

static void a_truncated_or_changed_shard_stops_with_its_name(void **state)
{
    struct setup *s = *state;
    struct err e = ERR_INIT;
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(1 << 20);
    assert_ok(store_get(s->store, s->d.shards[0].key, NULL, 0, UINT64_MAX, &bytes, NULL, &e));
    assert_int_equal(read_changed(s, bytes.data, bytes.len - 1, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.text, "d/shard-0.csv"));
    bytes.data[bytes.len / 2] ^= 1;
    assert_int_equal(read_changed(s, bytes.data, bytes.len, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.text, "SHA-256"));
}

static const struct text_case {
    const char *name, *text;
    size_t records;
    enum err_code want;
    const char *why;
} text_cases[] = {
    { "a missing column is named", "id,class\n1,good\n", 1, ERR_USAGE, "column 'ki\"nd'" },
    { "a ragged line is named", "id,\"ki\"\"nd\",class\n1,z,good\n2,z\n", 2, ERR_USAGE, "line 3: 2 fields" },
    { "more records than stated", "id,\"ki\"\"nd\",class\n1,z,good\n2,z,good\n", 1, ERR_CORRUPT,
      "more records" },
    { "fewer records than stated", "id,\"ki\"\"nd\",class\n1,z,good\n", 2, ERR_CORRUPT, "1 records" },
    { "an unclosed quote", "id,\"ki\"\"nd\",class\n1,\"z,good\n", 1, ERR_USAGE, "line 2" },
    { "an empty shard", "", 0, ERR_USAGE, "missing" },
};

static void malformed_shards_are_refused(void **state)
{
    const struct text_case *c = *state;
    struct err e = ERR_INIT;
    void *made = NULL;
    setup(&made);
    struct setup *s = made;
    s->d.shards[0].bytes = strlen(c->text);
    s->d.shards[0].records = c->records;
    sha256_hex(c->text, strlen(c->text), s->d.shards[0].sha256);
    assert_int_equal(read_changed(s, c->text, strlen(c->text), &e), c->want);
    assert_non_null(strstr(e.text, c->why));
    teardown(&made);
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
int main(void)
{
    static struct CMUnitTest tests[16 + ARRAY_LEN(row_cases) + ARRAY_LEN(text_cases)];
    static const struct CMUnitTest fixed[] = {
        WITH(encodings_are_fitted_on_the_training_part_alone),
        WITH(an_encoding_survives_json_to_the_bit),
        WITH(what_is_no_number_is_the_users_error),
        WITH(an_epoch_reads_each_training_record_once),
        WITH(a_step_is_the_same_from_any_start_and_on_any_rank),
        WITH(epochs_differ_in_order),
        WITH(a_small_cache_changes_nothing),
        WITH(a_step_ahead_is_the_same_batches),
        WITH(what_fails_ahead_is_told_with_its_step),
        WITH(a_truncated_or_changed_shard_stops_with_its_name),
    };
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
        tests[n++] = fixed[i];
    for (size_t i = 0; i < ARRAY_LEN(row_cases); i++)
        tests[n++] =
            (struct CMUnitTest){ row_cases[i].name, rows_are_encoded, NULL, NULL, (void *)&row_cases[i] };
    for (size_t i = 0; i < ARRAY_LEN(text_cases); i++)
        tests[n++] = (struct CMUnitTest){ text_cases[i].name, malformed_shards_are_refused, NULL, NULL,
                                          (void *)&text_cases[i] };
    return _cmocka_run_group_tests("loader", tests, n, NULL, NULL);
}
