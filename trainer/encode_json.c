#include "trainer/encode.h"

#include "base/mem.h"
#include "base/num.h"

#include <string.h>

static const char what[] = "encoding";

static json_t *texts_to_json(char *const *texts, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_string(texts[i]));
    return list;
}

static json_t *column_to_json(const struct encode_column *c)
{
    char mean[32], scale[32];
    if (c->kind == COLUMN_CATEGORY)
        return json_pack("{s:s,s:s,s:b,s:o}", "name", c->name, "kind", "category", "missing",
                         (int)c->has_missing, "values", texts_to_json(c->values, c->value_count));
    snprintf(mean, sizeof(mean), "%.17g", c->mean);
    snprintf(scale, sizeof(scale), "%.17g", c->scale);
    return json_pack("{s:s,s:s,s:b,s:s,s:s}", "name", c->name, "kind", "numeric", "missing",
                     (int)c->has_missing, "mean", mean, "scale", scale);
}

json_t *encoding_to_json(const struct encoding *c, const struct dataset *d)
{
    json_t *columns = json_array(), *missing = json_array();
    for (size_t i = 0; i < c->column_count; i++)
        json_array_append_new(columns, column_to_json(&c->columns[i]));
    for (size_t i = 0; i < c->missing_count; i++)
        json_array_append_new(missing, json_string(c->missing[i]));
    return json_pack("{s:o,s:o,s:s,s:o,s:s}", "columns", columns, "missing", missing, "target",
                     d->columns[c->target].name, "classes", texts_to_json(c->classes, c->class_count),
                     "positive", c->positive >= 0 ? c->classes[c->positive] : "");
}

static enum err_code texts_from_json(const json_t *o, const char *name, size_t max, char ***out,
                                     size_t *out_count, struct err *e)
{
    json_t *list;
    if (json_get_array(o, what, name, &list, e))
        return e->code;
    if (json_array_size(list) > max)
        return err_set(e, ERR_CORRUPT, "%s: '%s' has more than %zu members", what, name, max);
    *out = mem_array(json_array_size(list), sizeof(**out));
    for (*out_count = 0; *out_count < json_array_size(list); (*out_count)++) {
        const char *text = json_string_value(json_array_get(list, *out_count));
        if (!text)
            return err_set(e, ERR_CORRUPT, "%s: '%s' holds something that is no text", what, name);
        if (*out_count && strcmp((*out)[*out_count - 1], text) >= 0) /* readers search by halving */
            return err_set(e, ERR_CORRUPT, "%s: '%s' is not sorted", what, name);
        (*out)[*out_count] = mem_text(text);
    }
    return OK;
}

static enum err_code exact_f64(const json_t *o, const char *name, double *out, struct err *e)
{
    const char *text;
    if (json_get_text(o, what, name, &text, e))
        return e->code;
    if (parse_f64(text, out, e))
        return err_set(e, ERR_CORRUPT, "%s: '%s' is no number", what, name);
    return OK;
}

static enum err_code schema_index(const struct dataset *d, const char *name, size_t *out, struct err *e)
{
    for (size_t i = 0; i < d->column_count; i++)
        if (strcmp(d->columns[i].name, name) == 0) {
            *out = i;
            return OK;
        }
    return err_set(e, ERR_CORRUPT, "%s: column '%s' is not in the dataset", what, name);
}

static enum err_code column_from_json(const json_t *o, const struct dataset *d, struct encode_column *c,
                                      struct err *e)
{
    const char *kind;
    if (json_copy_text(o, what, "name", c->name, sizeof(c->name), e) ||
        schema_index(d, c->name, &c->source, e) || json_get_text(o, what, "kind", &kind, e) ||
        json_get_bool(o, what, "missing", &c->has_missing, e))
        return e->code;
    if (strcmp(kind, "category") != 0 && strcmp(kind, "numeric") != 0)
        return err_set(e, ERR_CORRUPT, "%s: 'kind' of column '%s' is not one that we read", what, c->name);
    c->kind = strcmp(kind, "category") == 0 ? COLUMN_CATEGORY : COLUMN_NUMERIC;
    if (c->kind != d->columns[c->source].kind)
        return err_set(e, ERR_CORRUPT, "%s: column '%s' has another kind in the dataset", what, c->name);
    if (c->kind == COLUMN_CATEGORY)
        return texts_from_json(o, "values", ENCODE_VALUES_MAX, &c->values, &c->value_count, e);
    if (exact_f64(o, "mean", &c->mean, e) || exact_f64(o, "scale", &c->scale, e))
        return e->code;
    return c->scale > 0 ? OK : err_set(e, ERR_CORRUPT, "%s: 'scale' must be above zero", what);
}

static enum err_code missing_from_json(const json_t *j, struct encoding *c, struct err *e)
{
    json_t *missing;
    if (json_get_array(j, what, "missing", &missing, e))
        return e->code;
    if (json_array_size(missing) > SPEC_MISSING_MAX)
        return err_set(e, ERR_CORRUPT, "%s: 'missing' has too many members", what);
    for (size_t i = 0; i < json_array_size(missing); i++) {
        const char *text = json_string_value(json_array_get(missing, i));
        if (!text || strlen(text) >= SPEC_NAME_BYTES)
            return err_set(e, ERR_CORRUPT, "%s: a member of 'missing' is no short text", what);
        memcpy(c->missing[c->missing_count++], text, strlen(text) + 1);
    }
    return OK;
}

enum err_code encoding_from_json(const json_t *j, const struct dataset *d, struct encoding *out,
                                 struct err *e)
{
    CLEANUP(encoding_done) struct encoding c = { .positive = -1 };
    const char *target, *positive;
    json_t *columns;

    if (json_get_array(j, what, "columns", &columns, e) || json_get_text(j, what, "target", &target, e) ||
        json_get_text(j, what, "positive", &positive, e) || schema_index(d, target, &c.target, e) ||
        missing_from_json(j, &c, e) ||
        texts_from_json(j, "classes", ENCODE_VALUES_MAX, &c.classes, &c.class_count, e))
        return e->code;
    if (json_array_size(columns) > DATASET_COLUMNS_MAX)
        return err_set(e, ERR_CORRUPT, "%s: too many columns", what);
    c.columns = mem_array(json_array_size(columns), sizeof(*c.columns));
    for (size_t i = 0; i < json_array_size(columns); i++) {
        if (column_from_json(json_array_get(columns, i), d, &c.columns[c.column_count++], e))
            return e->code;
    }
    encoding_place(&c);
    for (size_t i = 0; i < c.class_count; i++)
        if (positive[0] && strcmp(c.classes[i], positive) == 0)
            c.positive = (int)i;
    if (positive[0] && c.positive < 0)
        return err_set(e, ERR_CORRUPT, "%s: 'positive' is none of the classes", what);
    *out = c;
    c = (struct encoding){ 0 };
    return OK;
}
