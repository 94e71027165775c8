/* Parameters from a file of tensors: numbers of half the width to the bit, and what a file of ours says. */
#include "base/mem.h"
#include "tests/test.h"
#include "trainer/model_load.h"

#include <math.h>
#include <string.h>

enum { VOCAB = 4, WIDTH = 2, CONTEXT = 2 };

struct rig {
    struct device *device;
    struct model *model;
    struct tensor *tensors;
    struct tensors file;
    uint16_t *halves; /* one for each parameter */
    float *params;
};

static int begin(void **state)
{
    struct rig *r = mem_new(sizeof(*r));
    const struct model_config c = { .layers = 1,
                                    .heads = 1,
                                    .width = WIDTH,
                                    .context = CONTEXT,
                                    .classes = VOCAB,
                                    .records_max = 1,
                                    .slices = 4 };
    struct err e = ERR_INIT;
    assert_ok(device_open("cpu", &r->device, &e));
    assert_ok(model_open("gpt", &c, r->device, &r->model, &e));
    const struct params *p = &r->model->params;
    r->halves = mem_array(p->count, sizeof(*r->halves));
    r->params = mem_array(p->padded, sizeof(*r->params));
    r->tensors = mem_array(p->tensor_count, sizeof(*r->tensors));
    for (size_t i = 0; i < p->tensor_count; i++) {
        const struct param_tensor *t = &p->tensors[i];
        struct tensor *out = &r->tensors[i];
        *out = (struct tensor){ .type = TENSOR_F16,
                                .dim_count = t->dim_count,
                                .data = r->halves + t->first,
                                .bytes = t->count * sizeof(uint16_t) };
        memcpy(out->name, t->name, sizeof(t->name));
        for (size_t d = 0; d < t->dim_count; d++)
            out->dims[d] = t->dims[d];
    }
    r->file = (struct tensors){ .list = r->tensors, .count = p->tensor_count };
    *state = r;
    return 0;
}

static int end(void **state)
{
    struct rig *r = *state;
    json_decref(r->file.metadata);
    model_close(r->model);
    device_close(r->device);
    free(r->tensors);
    free(r->halves);
    free(r->params);
    free(r);
    return 0;
}

static void halves_are_exact(void **state)
{
    static const struct {
        enum tensor_type type;
        uint16_t bits;
        float is;
    } rows[] = {
        { TENSOR_F16, 0x0000, 0.0f },        { TENSOR_F16, 0x3c00, 1.0f },
        { TENSOR_F16, 0xc000, -2.0f },       { TENSOR_F16, 0x7bff, 65504.0f },
        { TENSOR_F16, 0x0400, 0x1p-14f },    { TENSOR_F16, 0x0001, 0x1p-24f },
        { TENSOR_F16, 0x83ff, -0x3ffp-24f }, { TENSOR_F16, 0x3555, 0x1.554p-2f },
        { TENSOR_BF16, 0x3f80, 1.0f },       { TENSOR_BF16, 0xc049, -3.140625f },
        { TENSOR_BF16, 0x0001, 0x1p-133f },  { TENSOR_BF16, 0x7f7f, 0x1.fep127f },
    };
    struct rig *r = *state;
    struct model_load_notes notes;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err e = ERR_INIT;
        r->tensors[0].type = rows[i].type;
        r->halves[3] = rows[i].bits;
        assert_ok(model_load(r->model, &r->file, r->params, &notes, &e));
        if (memcmp(&r->params[3], &rows[i].is, sizeof(float)) != 0)
            fail_msg("%s %04x became %a, not %a", tensor_type_names[rows[i].type], rows[i].bits,
                     (double)r->params[3], (double)rows[i].is);
    }
}

static void what_is_no_number_is_refused_by_its_place(void **state)
{
    static const uint16_t bits[] = { 0x7c00, 0xfc00, 0x7e00 };
    struct rig *r = *state;
    struct model_load_notes notes;
    for (size_t i = 0; i < ARRAY_LEN(bits); i++) {
        struct err e = ERR_INIT;
        r->halves[3] = bits[i];
        assert_int_equal(model_load(r->model, &r->file, r->params, &notes, &e), ERR_USAGE);
        assert_string_equal(e.text, "tensor 'wte.weight' holds what is no number, at 3");
    }
}

static void the_padding_is_zero_whatever_it_was(void **state)
{
    struct rig *r = *state;
    const struct params *p = &r->model->params;
    struct model_load_notes notes;
    struct err e = ERR_INIT;
    assert_true(p->padded > p->count);
    memset(r->params, 0xff, p->padded * sizeof(float));
    assert_ok(model_load(r->model, &r->file, r->params, &notes, &e));
    for (size_t i = 0; i < p->padded; i++)
        assert_true(r->params[i] == 0);
}

static void a_name_twice_is_refused(void **state)
{
    struct rig *r = *state;
    struct tensor more[64];
    struct model_load_notes notes;
    struct err e = ERR_INIT;
    memcpy(more, r->tensors, r->file.count * sizeof(*more));
    more[r->file.count] = more[0];
    snprintf(more[r->file.count].name, sizeof(more[0].name), "transformer.wte.weight");
    const struct tensors file = { .list = more, .count = r->file.count + 1 };
    assert_int_equal(model_load(r->model, &file, r->params, &notes, &e), ERR_USAGE);
    assert_non_null(strstr(e.text, "is there twice"));
}

static json_t *description(int heads, int context, const char *tokenizer)
{
    return json_pack("{s:s,s:{s:s,s:i,s:i},s:{s:s,s:i}}", "format", "sovrun.gpt.v1", "model", "kind", "gpt",
                     "heads", heads, "context", context, "tokenizer", "name", tokenizer, "end", 256);
}

static void a_file_of_ours_must_say_the_same(void **state)
{
    static const struct {
        int heads, context;
        const char *tokenizer, *refusal;
    } rows[] = {
        { 1, 2, "bytes", NULL },
        { 1, 9, "bytes", NULL },
        { 1, 2, "none", NULL },
        { 2, 2, "bytes", "it was made with model.heads 1, and the job has 2" },
        { 1, 2, "bpe", "another tokenizer" },
    };
    struct rig *r = *state;
    r->file.metadata = json_pack("{s:s,s:s,s:s}", "format", "sovrun.gpt.v1", "model",
                                 "{\"context\":2,\"heads\":1,\"kind\":\"gpt\"}", "tokenizer",
                                 "{\"end\":256,\"name\":\"bytes\"}");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(json_donep) json_t *ours = description(rows[i].heads, rows[i].context, rows[i].tokenizer);
        struct err e = ERR_INIT;
        assert_int_equal(model_load_check(&r->file, ours, &e), rows[i].refusal ? ERR_USAGE : OK);
        assert_true(!rows[i].refusal || strstr(e.text, rows[i].refusal));
    }
    json_object_set_new(r->file.metadata, "format", json_string("pt"));
    CLEANUP(json_donep) json_t *other = description(7, 7, "bpe");
    struct err e = ERR_INIT;
    assert_ok(model_load_check(&r->file, other, &e));
}

static void a_configuration_is_read_back(void **state)
{
    struct rig *r = *state;
    struct model_config c;
    struct err e = ERR_INIT;
    r->file.metadata = json_pack(
        "{s:s,s:s}", "format", "sovrun.gpt.v1", "model",
        "{\"context\":8,\"heads\":2,\"kind\":\"gpt\",\"layers\":3,\"mlp\":\"swiglu\",\"norm\":\"rms\","
        "\"positions\":\"rotary\",\"vocab\":257,\"width\":16}");
    assert_ok(model_load_config(&r->file, &c, &e));
    assert_true(c.context == 8 && c.heads == 2 && c.layers == 3 && c.classes == 257 && c.width == 16);
    assert_true(c.norm == MODEL_NORM_RMS && c.positions == MODEL_POSITIONS_ROTARY &&
                c.mlp == MODEL_MLP_SWIGLU);
    json_object_set_new(r->file.metadata, "model", json_string("{\"context\":8}"));
    assert_int_equal(model_load_config(&r->file, &c, &e), ERR_USAGE);
    err_clear(&e);
    json_object_set_new(r->file.metadata, "format", json_string("sovrun.mlp.v1"));
    assert_int_equal(model_load_config(&r->file, &c, &e), ERR_USAGE);
    assert_non_null(strstr(e.text, "sovrun.mlp.v1"));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(halves_are_exact, begin, end),
        cmocka_unit_test_setup_teardown(what_is_no_number_is_refused_by_its_place, begin, end),
        cmocka_unit_test_setup_teardown(the_padding_is_zero_whatever_it_was, begin, end),
        cmocka_unit_test_setup_teardown(a_name_twice_is_refused, begin, end),
        cmocka_unit_test_setup_teardown(a_file_of_ours_must_say_the_same, begin, end),
        cmocka_unit_test_setup_teardown(a_configuration_is_read_back, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
