/*
 * json.h - JSON through jansson, with errors that name the place and one canonical form.
 *
 * jansson's json_t is used as it is: json_object(), json_pack() and so on are called directly. What is added:
 * parsing with limits (depth, size, no duplicate names), reading members with a typed error ("checkpoint
 * manifest: 'step' must be an integer"), and json_canonical(): names sorted, no space, so that equal values
 * are equal bytes and can be hashed. Canonical numbers are integers only; fractions travel as text where they
 * are hashed. What jansson frees is overwritten before: a document may carry keys.
 */
#ifndef CORE_JSON_JSON_H
#define CORE_JSON_JSON_H

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"

#include <jansson.h>
#include <stdint.h>

static inline void json_donep(json_t **j)
{
    json_decref(*j);
    *j = NULL;
}
/* CLEANUP(json_donep) json_t *doc = NULL; */

enum { JSON_BYTES_MAX = 64 * 1024 * 1024, JSON_DEPTH_MAX = 64 };

/* One whole document, an object or an array. `what` names it in errors (ERR_CORRUPT: it was written by a
 * program; ERR_LIMIT: too large or too deep). Text with a NUL in it is refused, bad input is not quoted. */
enum err_code json_parse(const void *text, size_t n, const char *what, json_t **out, struct err *e);

/* Sorted names, no white space, one line. ERR_LIMIT where `out` is too small. Reals print with 17 digits. */
enum err_code json_canonical(const json_t *j, struct buf *out, struct err *e);
/* The same for people: two-space indent, a newline at the end. */
enum err_code json_pretty(const json_t *j, struct buf *out, struct err *e);

/* Members of an object. Missing or of another type: ERR_CORRUPT "<what>: '<name>' must be ...". Text, objects
 * and arrays are borrowed. A whole number is also a json_get_f64(). */
enum err_code json_get_text(const json_t *o, const char *what, const char *name, const char **out,
                            struct err *e);
enum err_code json_get_i64(const json_t *o, const char *what, const char *name, int64_t *out, struct err *e);
enum err_code json_get_f64(const json_t *o, const char *what, const char *name, double *out, struct err *e);
enum err_code json_get_bool(const json_t *o, const char *what, const char *name, bool *out, struct err *e);
enum err_code json_get_object(const json_t *o, const char *what, const char *name, json_t **out,
                              struct err *e);
enum err_code json_get_array(const json_t *o, const char *what, const char *name, json_t **out,
                             struct err *e);
/* Copies into a fixed array; ERR_CORRUPT where it does not fit. */
enum err_code json_copy_text(const json_t *o, const char *what, const char *name, char *out, size_t out_bytes,
                             struct err *e);

/* For output: where absent, the default. Never an error. */
const char *json_text_or(const json_t *o, const char *name, const char *otherwise);
int64_t json_i64_or(const json_t *o, const char *name, int64_t otherwise);
double json_f64_or(const json_t *o, const char *name, double otherwise);

#endif
