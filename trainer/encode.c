#include "trainer/encode.h"

#include "base/mem.h"
#include "base/num.h"

#include <math.h>
#include <string.h>

void table_done(struct table *t)
{
    free(t->text);
    free(t->fields);
    *t = (struct table){ 0 };
}

static void texts_free(char **texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(texts[i]);
    free(texts);
}

void encoding_done(struct encoding *c)
{
    for (size_t i = 0; i < c->column_count; i++)
        texts_free(c->columns[i].values, c->columns[i].value_count);
    free(c->columns);
    texts_free(c->classes, c->class_count);
    *c = (struct encoding){ 0 };
}

static bool is_missing(const char (*missing)[SPEC_NAME_BYTES], size_t count, const char *text)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(missing[i], text) == 0)
            return true;
    return false;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Index of `text` in sorted `texts`, or -1. */
static int find_text(char *const *texts, size_t count, const char *text)
{
    const char *key = text;
    char *const *found = bsearch(&key, texts, count, sizeof(*texts), by_text);
    return found ? (int)(found - texts) : -1;
}

/* ---- fitting ---- */

/* Puts in front of the error where it was met. What stood there is not repeated: it may be somebody's. */
static enum err_code at_field(const struct dataset *d, size_t shard, size_t row, size_t column, struct err *e)
{
    return err_wrap(e, "shard %s, record %zu, column '%s'", d->shards[shard].key, row + 1,
                    d->columns[column].name);
}

/* Mean and squared distances from it, kept as numbers come in (Welford) and merged from several (Chan and
 * others): sums of squares would lose all digits of a column such as the time in milliseconds. */
struct moments {
    double count, mean, squares;
};

static void moments_add(struct moments *m, double x)
{
    double before = x - m->mean;
    m->count++;
    m->mean += before / m->count;
    m->squares += before * (x - m->mean);
}

static void moments_merge(struct moments *m, const struct moments *more)
{
    double count = m->count + more->count, apart = more->mean - m->mean;
    if (more->count == 0)
        return;
    m->squares += more->squares + apart * apart * (m->count * more->count / count);
    m->mean += apart * (more->count / count);
    m->count = count;
}

struct survey {
    size_t missing;
    struct moments moments; /* of the numbers that are there */
    const char **values;    /* distinct, borrowed, sorted */
    size_t value_count;
};

static enum err_code survey_number(struct survey *s, const char *text, struct err *e)
{
    double x;
    if (parse_f64(text, &x, e))
        return err_set(e, ERR_USAGE, "is no number (data.missing names what stands for none)");
    moments_add(&s->moments, x);
    if (!isfinite(s->moments.squares))
        return err_set(e, ERR_USAGE, "is too far from the others to be computed with");
    return OK;
}

static enum err_code check_value(const char *text, struct err *e)
{
    CLEANUP(json_donep) json_t *utf8 = json_string(text);
    if (strlen(text) > ENCODE_VALUE_BYTES_MAX)
        return err_set(e, ERR_USAGE, "is longer than %d bytes", ENCODE_VALUE_BYTES_MAX);
    return utf8 ? OK : err_set(e, ERR_USAGE, "is no UTF-8");
}

static enum err_code survey_value(struct survey *s, const char *text, struct err *e)
{
    /* Few values a column: kept sorted by insertion. */
    size_t low = 0, high = s->value_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = strcmp(s->values[middle], text);
        if (order == 0)
            return OK;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (check_value(text, e))
        return e->code;
    if (s->value_count == ENCODE_VALUES_MAX)
        return err_set(e, ERR_USAGE, "more than %d values are too many for a category", ENCODE_VALUES_MAX);
    s->values = mem_grow(s->values, s->value_count + 1, sizeof(*s->values));
    memmove(s->values + low + 1, s->values + low, (s->value_count - low) * sizeof(*s->values));
    s->values[low] = text;
    s->value_count++;
    return OK;
}

static json_t *survey_to_json(const struct survey *s)
{
    json_t *values = json_array();
    for (size_t i = 0; i < s->value_count; i++)
        json_array_append_new(values, json_string(s->values[i]));
    return json_pack("{s:I,s:f,s:f,s:f,s:o}", "missing", (json_int_t)s->missing, "count", s->moments.count,
                     "mean", s->moments.mean, "squares", s->moments.squares, "values", values);
}

static enum err_code survey_field(const struct spec_data *spec, bool is_target, bool numeric,
                                  const char *text, struct survey *s, struct err *e)
{
    if (!is_missing(spec->missing, spec->missing_count, text))
        return numeric ? survey_number(s, text, e) : survey_value(s, text, e);
    s->missing++;
    return is_target ? err_set(e, ERR_USAGE, "the target is missing") : OK;
}

static enum err_code survey_column(const struct dataset *d, const struct spec_data *spec, size_t shard,
                                   size_t column, const struct table *t, size_t rows, json_t **out,
                                   struct err *e)
{
    struct survey s = { 0 };
    bool is_target = strcmp(d->columns[column].name, spec->target) == 0;
    bool numeric = d->columns[column].kind == COLUMN_NUMERIC && !is_target;
    enum err_code code = OK;

    for (size_t row = 0; row < rows && code == OK; row++)
        if (survey_field(spec, is_target, numeric, t->fields[row * t->columns + column], &s, e))
            code = at_field(d, shard, row, column, e);
    if (code == OK)
        *out = survey_to_json(&s);
    free(s.values);
    return code;
}

enum err_code encode_survey(const struct dataset *d, const struct spec_data *spec, size_t shard,
                            const struct table *t, size_t train_rows, struct buf *out, struct err *e)
{
    CLEANUP(json_donep) json_t *columns = json_array();

    for (size_t column = 0; column < d->column_count; column++) {
        json_t *one = NULL;
        if (survey_column(d, spec, shard, column, t, train_rows, &one, e))
            return e->code;
        json_array_append_new(columns, one);
    }
    CLEANUP(json_donep) json_t *doc = json_pack("{s:I,s:O}", "shard", (json_int_t)shard, "columns", columns);
    return json_canonical(doc, out, e);
}

/* Sorted union of what the shards saw in one column. */
static enum err_code merge_values(const struct dataset *d, json_t *const *surveys, size_t column, char ***out,
                                  size_t *out_count, struct err *e)
{
    char **all = NULL;
    size_t count = 0;
    for (size_t shard = 0; shard < d->shard_count; shard++) {
        const json_t *values =
            json_object_get(json_array_get(json_object_get(surveys[shard], "columns"), column), "values");
        for (size_t i = 0; i < json_array_size(values); i++) {
            all = mem_grow(all, count + 1, sizeof(*all));
            all[count++] = mem_text(json_string_value(json_array_get(values, i)));
        }
    }
    size_t kept = 0;
    if (count)
        qsort(all, count, sizeof(*all), by_text);
    for (size_t i = 0; i < count; i++) {
        if (kept && strcmp(all[kept - 1], all[i]) == 0)
            free(all[i]);
        else
            all[kept++] = all[i];
    }
    *out = all;
    *out_count = kept;
    if (kept > ENCODE_VALUES_MAX)
        return err_set(e, ERR_USAGE, "column '%s': %zu values are too many for a category (%d at most)",
                       d->columns[column].name, kept, ENCODE_VALUES_MAX);
    return OK;
}

static enum err_code fit_number(const struct dataset *d, json_t *const *surveys, size_t column,
                                struct encode_column *c, struct err *e)
{
    struct moments all = { 0 };
    for (size_t shard = 0; shard < d->shard_count; shard++) {
        const json_t *s = json_array_get(json_object_get(surveys[shard], "columns"), column);
        struct moments one = { json_f64_or(s, "count", 0), json_f64_or(s, "mean", 0),
                               json_f64_or(s, "squares", 0) };
        moments_merge(&all, &one);
    }
    if (!isfinite(all.mean) || !isfinite(all.squares))
        return err_set(e, ERR_USAGE, "column '%s': its numbers are too far apart to be computed with",
                       c->name);
    double deviation = all.count > 0 ? sqrt(all.squares / all.count) : 0;
    c->mean = all.mean;
    /* A column that never changes, but for its last digits, says nothing: it becomes zero, not infinity. */
    c->scale = deviation > 1e-14 * fabs(c->mean) ? deviation : 1;
    return OK;
}

static bool any_missing(const struct dataset *d, json_t *const *surveys, size_t column)
{
    for (size_t shard = 0; shard < d->shard_count; shard++)
        if (json_i64_or(json_array_get(json_object_get(surveys[shard], "columns"), column), "missing", 0) > 0)
            return true;
    return false;
}

void encoding_place(struct encoding *c)
{
    c->width = 0;
    for (size_t i = 0; i < c->column_count; i++) {
        struct encode_column *column = &c->columns[i];
        size_t own = column->kind == COLUMN_NUMERIC ? 1 : column->value_count;
        column->first = c->width;
        column->width = own + column->has_missing;
        c->width += column->width;
    }
}

static enum err_code find_target(const struct dataset *d, const char *target, size_t *out, struct err *e)
{
    for (size_t i = 0; i < d->column_count; i++)
        if (strcmp(d->columns[i].name, target) == 0) {
            *out = i;
            return OK;
        }
    return err_set(e, ERR_USAGE, "data.target: dataset '%s' has no column '%s'", d->name, target);
}

static enum err_code check_classes(struct encoding *c, const struct spec_data *spec, struct err *e)
{
    if (c->class_count < 2)
        return err_set(e, ERR_USAGE, "data.target: column '%s' has %s in the training part; it takes two",
                       spec->target, c->class_count ? "one class only" : "no class");
    c->positive = -1;
    if (spec->positive[0]) {
        c->positive = find_text(c->classes, c->class_count, spec->positive);
        if (c->positive < 0)
            return err_set(e, ERR_USAGE, "data.positive: '%s' is no class of column '%s'", spec->positive,
                           spec->target);
    }
    return OK;
}

static enum err_code fit_column(const struct dataset *d, json_t *const *surveys, size_t column,
                                struct encode_column *c, struct err *e)
{
    memcpy(c->name, d->columns[column].name, sizeof(c->name));
    c->source = column;
    c->kind = d->columns[column].kind;
    c->has_missing = any_missing(d, surveys, column);
    return c->kind == COLUMN_NUMERIC ? fit_number(d, surveys, column, c, e)
                                     : merge_values(d, surveys, column, &c->values, &c->value_count, e);
}

/* It stands in each checkpoint's manifest and in the model file: said now, not after the training. */
static enum err_code check_size(const struct encoding *c, const struct dataset *d, struct err *e)
{
    CLEANUP(json_donep) json_t *doc = encoding_to_json(c, d);
    CLEANUP(buf_done) struct buf text = BUF_INIT(ENCODE_BYTES_MAX);
    if (json_canonical(doc, &text, e))
        return err_set(e, ERR_USAGE, "the values of all categories take more than %d MiB",
                       ENCODE_BYTES_MAX >> 20);
    return OK;
}

enum err_code encode_fit(const struct dataset *d, const struct spec_data *spec, json_t *const *surveys,
                         struct encoding *out, struct err *e)
{
    CLEANUP(encoding_done) struct encoding c = { 0 };

    if (find_target(d, spec->target, &c.target, e))
        return e->code;
    if (d->column_count < 2)
        return err_set(e, ERR_USAGE, "dataset '%s' has no column but the target", d->name);
    c.missing_count = spec->missing_count;
    memcpy(c.missing, spec->missing, sizeof(c.missing));
    c.columns = mem_array(d->column_count, sizeof(*c.columns));
    for (size_t i = 0; i < d->column_count; i++)
        if (i != c.target && fit_column(d, surveys, i, &c.columns[c.column_count++], e))
            return e->code;
    if (merge_values(d, surveys, c.target, &c.classes, &c.class_count, e) || check_classes(&c, spec, e))
        return e->code;
    encoding_place(&c);
    if (check_size(&c, d, e))
        return e->code;
    *out = c;
    c = (struct encoding){ 0 };
    return OK;
}

/* ---- using ---- */

static enum err_code encode_number(const struct encode_column *column, const char *text, bool missing,
                                   float *out, struct err *e)
{
    double x = column->mean;
    if (!missing && parse_f64(text, &x, e))
        return err_set(e, ERR_USAGE, "column '%s': is no number", column->name);
    double scaled = (x - column->mean) / column->scale;
    if (!(fabs(scaled) <= ENCODE_FAR_MAX))
        return err_set(e, ERR_USAGE, "column '%s': is too far from the numbers of the training part",
                       column->name);
    out[0] = (float)scaled;
    if (column->has_missing)
        out[1] = missing ? 1.0f : 0.0f;
    return OK;
}

static void encode_category(const struct encode_column *column, const char *text, bool missing, float *out)
{
    memset(out, 0, column->width * sizeof(*out));
    int index = missing ? -1 : find_text(column->values, column->value_count, text);
    if (index >= 0)
        out[index] = 1.0f;
    else if (column->has_missing)
        out[column->value_count] = 1.0f;
}

enum err_code encode_row(const struct encoding *c, const char *const *fields, float *out_row,
                         int32_t *out_label, struct err *e)
{
    for (size_t i = 0; i < c->column_count; i++) {
        const struct encode_column *column = &c->columns[i];
        const char *text = fields[column->source];
        bool missing = is_missing(c->missing, c->missing_count, text);
        if (column->kind == COLUMN_CATEGORY)
            encode_category(column, text, missing, out_row + column->first);
        else if (encode_number(column, text, missing, out_row + column->first, e))
            return e->code;
    }
    int label = find_text(c->classes, c->class_count, fields[c->target]);
    if (label < 0)
        return err_set(e, ERR_USAGE,
                       "the target is missing, or a class that the training part does not have");
    *out_label = label;
    return OK;
}
