/*
 * The spec as JSON. Fractions stand as text ("0.003", the fewest digits that read back the same): the
 * canonical form is hashed and goes into the ledger, and JSON libraries do not agree on how to print a real.
 */
#include "base/num.h"
#include "core/job/job_spec.h"
#include "core/job/record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WHAT "job spec"

static json_t *real_as_text(double v)
{
    char text[NUM_TEXT_BYTES];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, v);
        if (strtod(text, NULL) == v)
            break;
    }
    return json_string(text);
}

/* The table has no list of reals, nor of sections. */
static void reals_to_text(const struct conf_field *fields, json_t *o)
{
    for (const struct conf_field *f = fields; f->name; f++) {
        json_t *j = json_object_get(o, f->name);
        if (f->kind == CONF_KIND_SECTION)
            reals_to_text(f->fields, j);
        else if (json_is_real(j))
            record_set(o, f->name, real_as_text(json_real_value(j)));
    }
}

/* Whatever is no number stays as it is, and is refused when it is bound. */
static void texts_to_real(const struct conf_field *fields, json_t *o)
{
    struct err e = ERR_INIT;
    double v;
    for (const struct conf_field *f = fields; f->name; f++) {
        json_t *j = json_object_get(o, f->name);
        if (f->kind == CONF_KIND_SECTION && json_is_object(j))
            texts_to_real(f->fields, j);
        else if (f->kind == CONF_KIND_REAL && json_is_string(j) && !parse_f64(json_string_value(j), &v, &e))
            record_set(o, f->name, json_real(v));
    }
}

json_t *job_spec_to_json(const struct job_spec *spec)
{
    json_t *j = conf_to_json(job_spec_fields, spec);
    reals_to_text(job_spec_fields, j);
    return j;
}

/* The first setting, by the table, in which `read` is not what the bound spec writes. */
static enum err_code name_difference(const struct conf_field *fields, const json_t *read,
                                     const json_t *written, const char *path, struct err *e)
{
    for (const struct conf_field *f = fields; f->name; f++) {
        const json_t *r = json_object_get(read, f->name), *w = json_object_get(written, f->name);
        char here[160];
        snprintf(here, sizeof(here), "%s%s%s", path, *path ? "." : "", f->name);
        if (json_equal(r, w))
            continue;
        if (!r)
            return err_set(e, ERR_CORRUPT, WHAT ": '%s' is missing", here);
        if (f->kind == CONF_KIND_SECTION)
            return name_difference(f->fields, r, w, here, e);
        return err_set(e, ERR_CORRUPT, WHAT ": '%s' is not in its canonical form", here);
    }
    return err_set(e, ERR_CORRUPT, WHAT ": is not in its canonical form");
}

enum err_code job_spec_from_json(const json_t *j, struct job_spec *out, struct err *e)
{
    CLEANUP(conf_freep) struct conf_doc *doc = NULL;
    CLEANUP(json_donep) json_t *plain = json_deep_copy(j);
    struct err said = ERR_INIT;
    struct job_spec spec;
    if (!json_is_object(j))
        return err_set(e, ERR_CORRUPT, WHAT ": must be an object");
    texts_to_real(job_spec_fields, plain);
    if (conf_from_json(WHAT, plain, &doc, &said) || job_spec_from_doc(doc, &spec, &said))
        return err_set(e, ERR_CORRUPT, "%s", said.text);
    CLEANUP(json_donep) json_t *again = job_spec_to_json(&spec);
    if (!json_equal(j, again))
        return name_difference(job_spec_fields, j, again, "", e);
    *out = spec;
    return OK;
}

void job_spec_digest(const struct job_spec *spec, char out_hex[65])
{
    CLEANUP(json_donep) json_t *j = job_spec_to_json(spec);
    record_digest(j, out_hex);
}
