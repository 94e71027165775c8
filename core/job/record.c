#include "core/job/record.h"

#include "base/mem.h"
#include "core/crypto/crypto.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { DIGEST_DIGITS = 64 };

void record_digest(const json_t *j, char out_hex[65])
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(JSON_BYTES_MAX);
    struct err e = ERR_INIT;
    enum err_code code = json_canonical(j, &text, &e);
    invariant(!code); /* built by us, of valid text, and far below the limit */
    sha256_hex(text.data, text.len, out_hex);
}

bool record_is_digest(const char *text)
{
    return strlen(text) == DIGEST_DIGITS && strspn(text, "0123456789abcdef") == DIGEST_DIGITS;
}

void record_set(json_t *o, const char *name, json_t *value)
{
    invariant(json_object_set_new(o, name, value) == 0);
}

/* jansson says whether a text is UTF-8; a character is at most four bytes, so each is found by trying. */
static size_t character_bytes(const char *text)
{
    for (size_t n = 1; n <= 4 && text[n - 1]; n++) {
        json_t *j = json_stringn(text, n);
        json_decref(j);
        if (j)
            return n;
    }
    return 0;
}

json_t *record_text(const char *text)
{
    json_t *j = json_string(text);
    if (j)
        return j;
    CLEANUP(freep) char *mended = mem_text(text);
    for (char *p = mended; *p;) {
        size_t n = character_bytes(p);
        if (n == 0)
            *p = '?';
        p += n ? n : 1;
    }
    j = json_string(mended);
    invariant(j);
    return j;
}

static json_t *real_to_json(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

static json_t *member_to_json(const struct record_member *m, const void *at)
{
    int64_t i;
    uint64_t u;
    double real;
    int choice;
    switch (m->kind) {
    case RECORD_INT:
        memcpy(&i, at, sizeof(i));
        return json_integer(i);
    case RECORD_UINT:
        memcpy(&u, at, sizeof(u));
        invariant(u <= INT64_MAX);
        return json_integer((json_int_t)u);
    case RECORD_REAL:
        memcpy(&real, at, sizeof(real));
        return real_to_json(real);
    case RECORD_CHOICE:
        memcpy(&choice, at, sizeof(choice));
        return json_string(m->choices[choice]);
    case RECORD_TEXT:
    case RECORD_HEX:
    case RECORD_OTHER:
        break;
    }
    return record_text(at);
}

json_t *record_to_json(const struct record_member *members, const void *in_struct)
{
    json_t *o = json_object();
    for (const struct record_member *m = members; m->name; m++)
        if (m->kind != RECORD_OTHER)
            record_set(o, m->name, member_to_json(m, (const uint8_t *)in_struct + m->offset));
    return o;
}

static enum err_code read_text(const json_t *o, const char *what, const struct record_member *m, char *out,
                               struct err *e)
{
    if (json_copy_text(o, what, m->name, out, m->size, e))
        return e->code;
    if ((int64_t)strlen(out) < m->min)
        return err_set(e, ERR_CORRUPT, "%s: '%s' must not be empty", what, m->name);
    return OK;
}

static enum err_code read_hex(const json_t *o, const char *what, const struct record_member *m, char *out,
                              struct err *e)
{
    const char *text;
    if (json_get_text(o, what, m->name, &text, e))
        return e->code;
    if (!record_is_digest(text) && (*text || m->min > 0))
        return err_set(e, ERR_CORRUPT, "%s: '%s' must be 64 lower-case hex digits, not '%.70s'", what,
                       m->name, text);
    memcpy(out, text, strlen(text) + 1);
    return OK;
}

/* Both kinds of integers: the range of an unsigned one starts at 0 or above, so the bits are the same. */
static enum err_code read_integer(const json_t *o, const char *what, const struct record_member *m, void *out,
                                  struct err *e)
{
    int64_t v;
    if (json_get_i64(o, what, m->name, &v, e))
        return e->code;
    if (v < m->min && m->max == INT64_MAX)
        return err_set(e, ERR_CORRUPT, "%s: '%s' must be at least %" PRId64 ", not %" PRId64, what, m->name,
                       m->min, v);
    if (v < m->min || v > m->max)
        return err_set(e, ERR_CORRUPT, "%s: '%s' must be from %" PRId64 " to %" PRId64 ", not %" PRId64, what,
                       m->name, m->min, m->max, v);
    memcpy(out, &v, sizeof(v));
    return OK;
}

static enum err_code read_real(const json_t *o, const char *what, const struct record_member *m, void *out,
                               struct err *e)
{
    double v = NAN;
    if (!json_is_null(json_object_get(o, m->name)) && json_get_f64(o, what, m->name, &v, e))
        return e->code;
    memcpy(out, &v, sizeof(v));
    return OK;
}

static enum err_code read_choice(const json_t *o, const char *what, const struct record_member *m, void *out,
                                 struct err *e)
{
    const char *text;
    if (json_get_text(o, what, m->name, &text, e))
        return e->code;
    for (int i = 0; m->choices[i]; i++) {
        if (strcmp(m->choices[i], text) != 0)
            continue;
        memcpy(out, &i, sizeof(i));
        return OK;
    }
    return err_set(e, ERR_CORRUPT, "%s: '%s' has no value '%.60s'", what, m->name, text);
}

static enum err_code read_member(const json_t *o, const char *what, const struct record_member *m, void *out,
                                 struct err *e)
{
    switch (m->kind) {
    case RECORD_TEXT:
        return read_text(o, what, m, out, e);
    case RECORD_HEX:
        return read_hex(o, what, m, out, e);
    case RECORD_INT:
    case RECORD_UINT:
        return read_integer(o, what, m, out, e);
    case RECORD_REAL:
        return read_real(o, what, m, out, e);
    case RECORD_CHOICE:
        return read_choice(o, what, m, out, e);
    case RECORD_OTHER:
        break;
    }
    if (!json_object_get(o, m->name))
        return err_set(e, ERR_CORRUPT, "%s: '%s' is missing", what, m->name);
    return OK;
}

static bool is_member(const struct record_member *members, const char *name)
{
    for (const struct record_member *m = members; m->name; m++)
        if (strcmp(m->name, name) == 0)
            return true;
    return false;
}

enum err_code record_from_json(const json_t *o, const char *what, const struct record_member *members,
                               void *out_struct, struct err *e)
{
    const char *name;
    json_t *value;
    size_t count = 0;
    if (!json_is_object(o))
        return err_set(e, ERR_CORRUPT, "%s: must be an object", what);
    for (const struct record_member *m = members; m->name; m++, count++)
        if (read_member(o, what, m, (uint8_t *)out_struct + m->offset, e))
            return e->code;
    if (json_object_size(o) == count)
        return OK;
    json_object_foreach((json_t *)o, name,
                        value) if (!is_member(members, name)) return err_set(e, ERR_CORRUPT,
                                                                             "%s: '%.60s' is no member of it",
                                                                             what, name);
    return OK;
}
