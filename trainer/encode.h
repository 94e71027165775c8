/*
 * encode.h - from a record's text to a row of numbers, and everything that a reader of the model needs to
 * do the same.
 *
 * Numbers are standardised, (x - mean) / scale; where the training part lacked values, an indicator column
 * follows and a missing value counts as the mean. A category becomes one column for each value seen in
 * training (sorted by bytes), and one for "missing" where the training part had that; a value never seen is
 * all zeros (or "missing" where that column is there). All of it is fitted on the training part alone.
 *
 * Errors say where (shard, record, column), never what stood there: data may be personal, and errors end up
 * in logs.
 *
 * Fitting is spread over ranks by shard and merged in shard order, so that it has the same bits on any
 * number of ranks. The result travels as JSON inside checkpoints and the model file; means and scales as
 * text with 17 digits, which is exact.
 */
#ifndef TRAINER_ENCODE_H
#define TRAINER_ENCODE_H

#include "core/job/dataset.h"
#include "core/job/job_spec.h"
#include "core/json/json.h"

enum { ENCODE_VALUES_MAX = 10000, ENCODE_VALUE_BYTES_MAX = 1024, ENCODE_BYTES_MAX = 4 << 20 };
#define ENCODE_FAR_MAX                                                                                       \
    1e12 /* scales from the mean: beyond, floats would not hold what a model makes of it                     \
          */

struct encode_column {
    char name[DATASET_NAME_BYTES];
    size_t source; /* index in the dataset's schema */
    enum column_kind kind;
    double mean, scale; /* numeric */
    bool has_missing;   /* numeric: an indicator follows; category: a column of its own, the last */
    char **values;      /* category: owned, sorted */
    size_t value_count;
    size_t first, width; /* columns of the row */
};
struct encoding {
    struct encode_column *columns; /* owned; the schema without the target */
    size_t column_count;
    size_t target;  /* index in the schema */
    char **classes; /* owned, sorted */
    size_t class_count;
    int positive; /* index in classes, -1: none */
    char missing[SPEC_MISSING_MAX][SPEC_NAME_BYTES];
    size_t missing_count;
    size_t width; /* of a row */
};
void encoding_done(struct encoding *c);
void encoding_place(struct encoding *c); /* first and width of each column, and of the row, from the rest */

/* A shard's records as text: `rows` rows of `columns` fields. */
struct table {
    char *text;          /* owned; the fields point into it */
    const char **fields; /* owned */
    size_t rows, columns;
};
void table_done(struct table *t);

/* What one shard's training part says: canonical JSON, to be gathered and merged. ERR_USAGE names shard,
 * record and column. */
enum err_code encode_survey(const struct dataset *d, const struct spec_data *spec, size_t shard,
                            const struct table *t, size_t train_rows, struct buf *out, struct err *e);

/* Merge the surveys of all shards, in shard order. ERR_USAGE: target not in the schema, one class only,
 * `positive` no class, nothing but the target, too many values. */
enum err_code encode_fit(const struct dataset *d, const struct spec_data *spec, json_t *const *surveys,
                         struct encoding *out, struct err *e);

/* One row: out_row[width] and the class. ERR_USAGE: no number, too far a number, a class never seen. */
enum err_code encode_row(const struct encoding *c, const char *const *fields, float *out_row,
                         int32_t *out_label, struct err *e);

json_t *encoding_to_json(const struct encoding *c, const struct dataset *d);
enum err_code encoding_from_json(const json_t *j, const struct dataset *d, struct encoding *out,
                                 struct err *e);

#endif
