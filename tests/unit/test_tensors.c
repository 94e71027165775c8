/* Safetensors files: what we write reads back; what is malformed is refused with a reason. */
#include "tests/test.h"

#include "core/artifact/tensors.h"

#include <stdio.h>
#include <string.h>

static const float weights[6] = { 1, 2, 3, 4, 5, 6 };
static const int64_t steps[1] = { 42 };

static void write_two(struct buf *out)
{
    struct err e = ERR_INIT;
    struct tensor t[2] = {
        { .name = "layers.0.weight",
          .type = TENSOR_F32,
          .dims = { 2, 3 },
          .dim_count = 2,
          .data = weights,
          .bytes = 24 },
        { .name = "a", .type = TENSOR_I64, .dims = { 1 }, .dim_count = 1, .data = steps, .bytes = 8 },
    };
    CLEANUP(json_donep) json_t *metadata = json_pack("{s:s}", "format", "test");
    assert_ok(tensors_write(t, 2, metadata, out, &e));
}

static void what_is_written_reads_back(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    CLEANUP(buf_done) struct buf file = BUF_INIT(4096);
    CLEANUP(tensors_done) struct tensors t = { 0 };

    write_two(&file);
    assert_ok(tensors_read(file.data, file.len, &t, &e));
    assert_int_equal(t.count, 2);
    assert_string_equal(t.list[0].name,
                        "layers.0.weight"); /* file order is the order given, not the alphabet */
    const struct tensor *w = tensors_find(&t, "layers.0.weight");
    assert_int_equal(w->dim_count, 2);
    assert_int_equal(w->dims[1], 3);
    assert_memory_equal(w->data, weights, sizeof(weights));
    assert_int_equal((uintptr_t)w->data % 8,
                     (uintptr_t)file.data % 8); /* data starts 8-aligned in the file */
    assert_string_equal(json_text_or(t.metadata, "format", ""), "test");
    assert_null(tensors_find(&t, "b"));
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf file = BUF_INIT(4096);
    write_two(&file);
    for (size_t n = 0; n < file.len; n++) {
        struct err e = ERR_INIT;
        struct tensors t = { 0 };
        assert_int_equal(tensors_read(file.data, n, &t, &e), ERR_CORRUPT);
    }
}

static const struct row {
    const char *name, *header;
    size_t data_bytes;
    const char *why;
} rows[] = {
    { "a hole between tensors", "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}", 2,
      "hole" },
    { "tensors that overlap",
      "{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},\"b\":{\"dtype\":\"U8\",\"shape\":[2],"
      "\"data_offsets\":[1,3]}}",
      3, "overlaps" },
    { "bytes behind the last", "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 2,
      "behind the last" },
    { "a shape that is not the length", "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4,
      "differ" },
    { "a shape that overflows",
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,0]}}", 0, "differ" },
    { "a negative dimension", "{\"a\":{\"dtype\":\"U8\",\"shape\":[-1],\"data_offsets\":[0,0]}}", 0,
      "natural" },
    { "offsets beyond the file", "{\"a\":{\"dtype\":\"U8\",\"shape\":[9],\"data_offsets\":[0,9]}}", 1,
      "do not lie" },
    { "offsets turned round", "{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[1,0]}}", 1,
      "do not lie" },
    { "an unknown type", "{\"a\":{\"dtype\":\"BF8\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0, "dtype" },
    { "the same name twice",
      "{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},\"a\":{\"dtype\":\"U8\",\"shape\":[0],"
      "\"data_offsets\":[0,0]}}",
      0, "" },
    { "an entry that is no object", "{\"a\":7}", 0, "object" },
    { "metadata that is no object", "{\"__metadata__\":[]}", 0, "object" },
    { "a list", "[]", 0, "object" },
    { "no JSON", "{", 0, "" },
};

static void malformed_is_refused(void **state)
{
    const struct row *r = *state;
    struct err e = ERR_INIT;
    CLEANUP(buf_done) struct buf file = BUF_INIT(4096);
    struct tensors t = { 0 };
    uint64_t n = strlen(r->header);

    for (int i = 0; i < 8; i++)
        buf_add_byte(&file, (uint8_t)(n >> (8 * i)));
    buf_add_text(&file, r->header);
    for (size_t i = 0; i < r->data_bytes; i++)
        buf_add_byte(&file, 0);
    assert_int_equal(tensors_read(file.data, file.len, &t, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.text, r->why));
}

int main(void)
{
    static struct CMUnitTest tests[2 + ARRAY_LEN(rows)] = {
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(every_truncation_is_refused),
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        tests[2 + i] =
            (struct CMUnitTest){ rows[i].name, malformed_is_refused, NULL, NULL, (void *)&rows[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
