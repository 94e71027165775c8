#include "core/json/json.h"

#include <malloc.h>
#include <string.h>

/* Before main(), so that no document can be older: what jansson frees may have been a key (attempt_doc.h). */
static void free_wiped(void *p)
{
    if (p)
        explicit_bzero(p, malloc_usable_size(p));
    free(p);
}

__attribute__((constructor)) static void wipe_what_is_freed(void)
{
    json_set_alloc_funcs(malloc, free_wiped);
}

enum { JSON_REAL_DIGITS = 17 }; /* every double comes back as it was */

/* jansson itself stops at 2048; what our own programs write stays far below. */
static bool is_shallow(const json_t *j, int levels_left)
{
    size_t i;
    const char *name;
    json_t *child;
    if (!json_is_object(j) && !json_is_array(j))
        return true;
    if (levels_left == 0)
        return false;
    json_array_foreach((json_t *)j, i, child) if (!is_shallow(child, levels_left - 1)) return false;
    json_object_foreach((json_t *)j, name, child) if (!is_shallow(child, levels_left - 1)) return false;
    return true;
}

enum err_code json_parse(const void *text, size_t n, const char *what, json_t **out, struct err *e)
{
    json_error_t at;
    if (n > JSON_BYTES_MAX)
        return err_set(e, ERR_LIMIT, "%s: is larger than %d bytes", what, JSON_BYTES_MAX);
    CLEANUP(json_donep) json_t *j = json_loadb(n ? text : "", n, JSON_REJECT_DUPLICATES, &at);
    if (!j) {
        /* jansson quotes the bytes where it stopped ("... near 'x'"); they may be anything, so they are left
         * out. */
        const char *near = strstr(at.text, " near ");
        int shown = (int)(near ? (size_t)(near - at.text) : strlen(at.text));
        return err_set(e, ERR_CORRUPT, "%s: line %d: %.*s", what, at.line, shown, at.text);
    }
    if (!is_shallow(j, JSON_DEPTH_MAX))
        return err_set(e, ERR_LIMIT, "%s: is nested deeper than %d", what, JSON_DEPTH_MAX);
    *out = TAKE(j);
    return OK;
}

static int add_to_buf(const char *text, size_t n, void *buf)
{
    struct buf *out = buf;
    buf_add(out, text, n);
    return out->full ? -1 : 0;
}

static enum err_code dump(const json_t *j, size_t flags, const char *end, struct buf *out, struct err *e)
{
    size_t len_before = out->len;
    flags |= JSON_SORT_KEYS | JSON_ENCODE_ANY | JSON_REAL_PRECISION(JSON_REAL_DIGITS);
    int failed = json_dump_callback(j, add_to_buf, out, flags);
    if (!failed)
        buf_add_text(out, end);
    if (!failed && !out->full)
        return OK;
    out->len = len_before; /* all of it or nothing */
    if (out->data)
        out->data[len_before] = '\0';
    if (buf_check(out, "JSON text", e))
        return e->code;
    return err_set(e, ERR_CORRUPT, "value has no form as JSON (not UTF-8, or inside itself)");
}

enum err_code json_canonical(const json_t *j, struct buf *out, struct err *e)
{
    return dump(j, JSON_COMPACT, "", out, e);
}

enum err_code json_pretty(const json_t *j, struct buf *out, struct err *e)
{
    return dump(j, JSON_INDENT(2), "\n", out, e);
}

static const char *type_name(const json_t *j)
{
    switch (json_typeof(j)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "text";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a fraction";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    case JSON_NULL:
        break;
    }
    return "null";
}

/* Member `name`, or the error that says what stands in its place. `wanted` is a type in words. */
static enum err_code member(const json_t *o, const char *what, const char *name, const char *wanted,
                            bool (*fits)(const json_t *), json_t **out, struct err *e)
{
    json_t *j = json_object_get(o, name);
    if (!json_is_object(o))
        return err_set(e, ERR_CORRUPT, "%s: must be an object", what);
    if (!j)
        return err_set(e, ERR_CORRUPT, "%s: '%s' must be %s; it is missing", what, name, wanted);
    if (!fits(j))
        return err_set(e, ERR_CORRUPT, "%s: '%s' must be %s, not %s", what, name, wanted, type_name(j));
    *out = j;
    return OK;
}

/* jansson's tests are macros. */
static bool is_text(const json_t *j)
{
    return json_is_string(j);
}

static bool is_integer(const json_t *j)
{
    return json_is_integer(j);
}

static bool is_number(const json_t *j)
{
    return json_is_number(j);
}

static bool is_bool(const json_t *j)
{
    return json_is_boolean(j);
}

static bool is_object(const json_t *j)
{
    return json_is_object(j);
}

static bool is_array(const json_t *j)
{
    return json_is_array(j);
}

enum err_code json_get_text(const json_t *o, const char *what, const char *name, const char **out,
                            struct err *e)
{
    json_t *j = NULL;
    if (member(o, what, name, "text", is_text, &j, e))
        return e->code;
    *out = json_string_value(j);
    return OK;
}

enum err_code json_get_i64(const json_t *o, const char *what, const char *name, int64_t *out, struct err *e)
{
    json_t *j = NULL;
    if (member(o, what, name, "an integer", is_integer, &j, e))
        return e->code;
    *out = json_integer_value(j);
    return OK;
}

enum err_code json_get_f64(const json_t *o, const char *what, const char *name, double *out, struct err *e)
{
    json_t *j = NULL;
    if (member(o, what, name, "a number", is_number, &j, e))
        return e->code;
    *out = json_number_value(j);
    return OK;
}

enum err_code json_get_bool(const json_t *o, const char *what, const char *name, bool *out, struct err *e)
{
    json_t *j = NULL;
    if (member(o, what, name, "a boolean", is_bool, &j, e))
        return e->code;
    *out = json_is_true(j);
    return OK;
}

enum err_code json_get_object(const json_t *o, const char *what, const char *name, json_t **out,
                              struct err *e)
{
    return member(o, what, name, "an object", is_object, out, e);
}

enum err_code json_get_array(const json_t *o, const char *what, const char *name, json_t **out, struct err *e)
{
    return member(o, what, name, "an array", is_array, out, e);
}

enum err_code json_copy_text(const json_t *o, const char *what, const char *name, char *out, size_t out_bytes,
                             struct err *e)
{
    json_t *j = NULL;
    if (member(o, what, name, "text", is_text, &j, e))
        return e->code;
    size_t n = json_string_length(j);
    if (n >= out_bytes)
        return err_set(e, ERR_CORRUPT, "%s: '%s' must be at most %zu bytes, not %zu", what, name,
                       out_bytes - 1, n);
    memcpy(out, json_string_value(j), n + 1);
    return OK;
}

const char *json_text_or(const json_t *o, const char *name, const char *otherwise)
{
    const char *text = json_string_value(json_object_get(o, name));
    return text ? text : otherwise;
}

int64_t json_i64_or(const json_t *o, const char *name, int64_t otherwise)
{
    const json_t *j = json_object_get(o, name);
    return json_is_integer(j) ? json_integer_value(j) : otherwise;
}

double json_f64_or(const json_t *o, const char *name, double otherwise)
{
    const json_t *j = json_object_get(o, name);
    return json_is_number(j) ? json_number_value(j) : otherwise;
}
