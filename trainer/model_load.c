#include "trainer/model_load.h"

#include "base/mem.h"
#include "base/text.h"
#include "core/job/job_spec.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char what[] = "the model file";

/* ---- numbers ---- */

/* IEEE 754 binary16. Exact: every one is a float. */
static float half_to_float(uint16_t h)
{
    int exponent = h >> 10 & 0x1f, fraction = h & 0x3ff;
    float magnitude;

    if (exponent == 0x1f)
        magnitude = fraction ? NAN : INFINITY;
    else if (exponent == 0)
        magnitude = ldexpf((float)fraction, -24);
    else
        magnitude = ldexpf((float)(fraction | 0x400), exponent - 25);
    return h & 0x8000 ? -magnitude : magnitude;
}

/* The upper half of a float. */
static float bfloat_to_float(uint16_t b)
{
    uint32_t bits = (uint32_t)b << 16;
    float out;
    memcpy(&out, &bits, sizeof(out));
    return out;
}

static float number_at(const struct tensor *t, uint64_t i)
{
    uint16_t two;
    float four;

    if (t->type == TENSOR_F32) {
        memcpy(&four, (const char *)t->data + i * sizeof(four), sizeof(four));
        return four;
    }
    memcpy(&two, (const char *)t->data + i * sizeof(two), sizeof(two));
    return t->type == TENSOR_F16 ? half_to_float(two) : bfloat_to_float(two);
}

static bool is_number_type(enum tensor_type type)
{
    return type == TENSOR_F32 || type == TENSOR_F16 || type == TENSOR_BF16;
}

/* ---- names and shapes ---- */

static const char *bare_name(const char *name)
{
    static const char above[] = "transformer.";
    return text_starts(name, above) ? name + strlen(above) : name;
}

/* h.N.attn.bias and h.N.attn.masked_bias: what a position may see, which follows from the model. */
static bool is_mask(const char *name)
{
    const char *rest = bare_name(name);
    size_t digits;

    if (!text_starts(rest, "h."))
        return false;
    rest += strlen("h.");
    digits = strspn(rest, "0123456789");
    return digits > 0 &&
           (strcmp(rest + digits, ".attn.bias") == 0 || strcmp(rest + digits, ".attn.masked_bias") == 0);
}

/* The next behind `after` (NULL: the first); NULL: no more. */
static const struct tensor *find_tensor(const struct tensors *file, const char *name,
                                        const struct tensor *after)
{
    for (const struct tensor *t = after ? after + 1 : file->list; t < file->list + file->count; t++)
        if (strcmp(bare_name(t->name), name) == 0)
            return t;
    return NULL;
}

static void add_shape(struct buf *out, const uint64_t *dims, size_t n)
{
    buf_add_byte(out, '(');
    for (size_t i = 0; i < n; i++)
        buf_addf(out, "%s%" PRIu64, i ? ", " : "", dims[i]);
    buf_add_byte(out, ')');
}

static enum err_code refuse_shape(const struct tensor *t, const struct param_tensor *want, struct err *e)
{
    CLEANUP(buf_done) struct buf is = BUF_INIT(256), should = BUF_INIT(256);
    uint64_t dims[PARAM_DIMS_MAX];
    bool positions = strcmp(want->name, "wpe.weight") == 0, words = strcmp(want->name, "wte.weight") == 0;

    for (size_t d = 0; d < want->dim_count; d++)
        dims[d] = want->dims[d];
    add_shape(&is, t->dims, t->dim_count);
    add_shape(&should, dims, want->dim_count);
    return err_set(e, ERR_USAGE, "tensor '%s' is %s, and the model's %s%s", t->name, buf_text(&is),
                   buf_text(&should),
                   positions ? ": its rows are model.context, its columns model.width"
                   : words   ? ": its rows are model.vocab, its columns model.width"
                             : "");
}

/* A table of positions may be longer: a model of a shorter context has no use for the rest. */
static bool shape_fits(const struct tensor *t, const struct param_tensor *want)
{
    bool longer = strcmp(want->name, "wpe.weight") == 0;

    if (t->dim_count != want->dim_count)
        return false;
    for (size_t d = 0; d < want->dim_count; d++)
        if (longer && d == 0 ? t->dims[d] < want->dims[d] : t->dims[d] != want->dims[d])
            return false;
    return true;
}

static enum err_code check_one(const struct tensors *file, const struct param_tensor *want, struct err *e)
{
    const struct tensor *t = find_tensor(file, want->name, NULL);
    const struct tensor *other = t ? find_tensor(file, want->name, t) : NULL;

    if (!t)
        return err_set(e, ERR_USAGE, "tensor '%s' is missing in it", want->name);
    if (other)
        return err_set(e, ERR_USAGE, "tensor '%s' is there twice, as '%s' and '%s'", want->name, t->name,
                       other->name);
    if (!shape_fits(t, want))
        return refuse_shape(t, want, e);
    if (!is_number_type(t->type))
        return err_set(e, ERR_USAGE, "tensor '%s' is of type %s; F32, F16 and BF16 are read", t->name,
                       tensor_type_names[t->type]);
    return OK;
}

static bool is_params(const struct params *p, const char *name)
{
    for (size_t i = 0; i < p->tensor_count; i++)
        if (strcmp(p->tensors[i].name, name) == 0)
            return true;
    return false;
}

/* The last matrix is the embeddings: two that differ would be another model. */
static enum err_code check_head(const struct tensors *file, const struct tensor *head, struct err *e)
{
    const struct tensor *words = find_tensor(file, "wte.weight", NULL);
    uint64_t n = 1;

    bool same = words && is_number_type(head->type) && head->dim_count == words->dim_count &&
                memcmp(head->dims, words->dims, head->dim_count * sizeof(head->dims[0])) == 0;
    for (size_t d = 0; same && d < head->dim_count; d++)
        n *= head->dims[d];
    for (uint64_t i = 0; words && same && i < n; i++)
        same = number_at(head, i) == number_at(words, i);
    if (!same)
        return err_set(e, ERR_USAGE,
                       "tensor '%s' is not wte.weight again: a model here has one matrix for both",
                       head->name);
    return OK;
}

static enum err_code check_others(const struct params *p, const struct tensors *file, struct err *e)
{
    for (size_t i = 0; i < file->count; i++) {
        const struct tensor *t = &file->list[i];
        if (is_params(p, bare_name(t->name)) || is_mask(t->name))
            continue;
        if (strcmp(bare_name(t->name), "lm_head.weight") != 0)
            return err_set(e, ERR_USAGE, "tensor '%s' is none of the model's", t->name);
        if (check_head(file, t, e))
            return e->code;
    }
    return OK;
}

static enum err_code take(const struct tensors *file, const struct param_tensor *want, float *params,
                          struct model_load_notes *notes, struct err *e)
{
    const struct tensor *t = find_tensor(file, want->name, NULL);

    invariant(t != NULL); /* check_one() found it */
    for (size_t i = 0; i < want->count; i++) {
        float number = number_at(t, i);
        if (!isfinite(number))
            return err_set(e, ERR_USAGE, "tensor '%s' holds what is no number, at %zu", t->name, i);
        params[want->first + i] = number;
    }
    if (t->dims[0] > want->dims[0])
        notes->positions = t->dims[0];
    return OK;
}

enum err_code model_load(const struct model *m, const struct tensors *file, float *params,
                         struct model_load_notes *out, struct err *e)
{
    const struct params *p = &m->params;

    *out = (struct model_load_notes){ 0 };
    for (size_t i = 0; i < p->tensor_count; i++)
        if (check_one(file, &p->tensors[i], e))
            return e->code;
    if (check_others(p, file, e))
        return e->code;
    for (size_t i = 0; i < p->tensor_count; i++)
        if (take(file, &p->tensors[i], params, out, e))
            return e->code;
    memset(params + p->count, 0, (p->padded - p->count) * sizeof(*params));
    return OK;
}

/* ---- what a file of ours says of itself ---- */

static bool is_ours(const struct tensors *file)
{
    return file->metadata && text_starts(json_text_or(file->metadata, "format", ""), "sovrun.");
}

static enum err_code read_member(const struct tensors *file, const char *name, json_t **out, struct err *e)
{
    const char *text = json_text_or(file->metadata, name, "");
    if (json_parse(text, strlen(text), what, out, e))
        return err_wrap(e, "'%s' of its metadata", name);
    return OK;
}

static void add_value(struct buf *out, const json_t *value)
{
    CLEANUP(freep) char *text = value ? json_dumps(value, JSON_ENCODE_ANY) : NULL;
    buf_add_text(out, text ? text : "nothing");
}

static enum err_code check_shape(const json_t *theirs, const json_t *ours, struct err *e)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)ours, name, value)
    {
        CLEANUP(buf_done) struct buf is = BUF_INIT(256), should = BUF_INIT(256);
        const json_t *other = json_object_get(theirs, name);
        if (json_equal(other, value) || strcmp(name, "context") == 0)
            continue;
        add_value(&is, other);
        add_value(&should, value);
        return err_set(e, ERR_USAGE, "it was made with model.%s %s, and the job has %s", name, buf_text(&is),
                       buf_text(&should));
    }
    return OK;
}

enum err_code model_load_check(const struct tensors *file, const json_t *description, struct err *e)
{
    CLEANUP(json_donep) json_t *model = NULL, *tokenizer = NULL;
    const json_t *own = json_object_get(description, "tokenizer");

    if (!is_ours(file))
        return OK;
    if (read_member(file, "model", &model, e) ||
        check_shape(model, json_object_get(description, "model"), e) ||
        read_member(file, "tokenizer", &tokenizer, e))
        return e->code;
    bool named = strcmp(json_text_or(tokenizer, "name", "none"), "none") != 0 &&
                 strcmp(json_text_or(own, "name", "none"), "none") != 0;
    if (named && !json_equal(tokenizer, own))
        return err_set(e, ERR_USAGE,
                       "its tokens are those of another tokenizer than the dataset's: stage the text with "
                       "the tokenizer that it was trained with");
    return OK;
}

static enum err_code read_choice(const json_t *model, const char *name, const char *const *names, int *out,
                                 struct err *e)
{
    const char *text = json_text_or(model, name, "");
    for (int i = 0; names[i]; i++)
        if (strcmp(names[i], text) == 0) {
            *out = i;
            return OK;
        }
    return err_set(e, ERR_USAGE, "%s: its metadata has %s '%.40s'", what, name, text);
}

enum err_code model_load_config(const struct tensors *file, struct model_config *out, struct err *e)
{
    CLEANUP(json_donep) json_t *model = NULL;
    struct model_config c = { .records_max = 1, .slices = 1 };
    const struct {
        const char *name;
        size_t *to;
    } sizes[] = { { "layers", &c.layers },
                  { "heads", &c.heads },
                  { "width", &c.width },
                  { "context", &c.context },
                  { "vocab", &c.classes } };
    int norm, positions, mlp;

    if (!is_ours(file) || strcmp(json_text_or(file->metadata, "format", ""), "sovrun.gpt.v1") != 0)
        return err_set(e, ERR_USAGE, "%s is not of a gpt (format '%.60s')", what,
                       json_text_or(file->metadata, "format", "none"));
    if (read_member(file, "model", &model, e) || read_choice(model, "norm", norm_names, &norm, e) ||
        read_choice(model, "positions", positions_names, &positions, e) ||
        read_choice(model, "mlp", mlp_names, &mlp, e))
        return e->code;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        int64_t n;
        if (json_get_i64(model, what, sizes[i].name, &n, e))
            return e->code;
        if (n < 1 || n > INT32_MAX)
            return err_set(e, ERR_USAGE, "%s: its metadata has %s %" PRId64, what, sizes[i].name, n);
        *sizes[i].to = (size_t)n;
    }
    c.norm = norm == NORM_RMS ? MODEL_NORM_RMS : MODEL_NORM_LAYER;
    c.positions = positions == POSITIONS_ROTARY ? MODEL_POSITIONS_ROTARY : MODEL_POSITIONS_LEARNED;
    c.mlp = mlp == MLP_SWIGLU ? MODEL_MLP_SWIGLU : MODEL_MLP_GELU;
    *out = c;
    return OK;
}
