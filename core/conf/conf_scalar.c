#include "base/num.h"
#include "base/text.h"
#include "core/conf/doc.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { DESCRIPTION_BYTES_MAX = 4096 };

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit duration_units[] = {
    { "d", 24 * 60 * 60 * 1000 }, { "h", 60 * 60 * 1000 }, { "m", 60 * 1000 }, { "s", 1000 }, { "ms", 1 },
};

static const struct unit size_units[] = {
    { "TiB", 1ull << 40 }, { "GiB", 1ull << 30 }, { "MiB", 1ull << 20 }, { "KiB", 1ull << 10 }, { "", 1 },
};

/* In the largest unit that leaves no rest, so that it reads back the same. The last unit's factor is 1. */
static void print_exact(uint64_t v, const struct unit *units, struct buf *out)
{
    while (v % units->factor != 0)
        units++;
    buf_addf(out, "%" PRIu64 "%s", v / units->factor, units->name);
}

static void print_duration(int64_t ms, struct buf *out)
{
    if (ms > 0)
        print_exact((uint64_t)ms, duration_units, out);
    else
        buf_add_text(out, "0s");
}

static void print_size(uint64_t bytes, struct buf *out)
{
    if (bytes > 0)
        print_exact(bytes, size_units, out);
    else
        buf_add_text(out, "0");
}

/* An end of a range. */
static void print_number(const struct conf_field *f, double v, struct buf *out)
{
    if (f->kind == CONF_KIND_DURATION)
        print_duration((int64_t)v, out);
    else if (f->kind == CONF_KIND_SIZE)
        print_size((uint64_t)v, out);
    else
        buf_addf(out, f->kind == CONF_KIND_INT ? "%.0f" : "%.10g", v);
}

static bool has_range(const struct conf_field *f)
{
    return f->min != 0 || f->max != 0;
}

static bool in_range(const struct conf_field *f, double v)
{
    return !has_range(f) || (v >= f->min && v <= f->max);
}

/* A maximum that stands for "none": nobody wants to read it. */
static bool is_endless(double max)
{
    return max >= 9e18;
}

static void print_range(const struct conf_field *f, struct buf *out)
{
    buf_add_text(out, is_endless(f->max) ? "at least " : "from ");
    print_number(f, f->min, out);
    if (is_endless(f->max))
        return;
    buf_add_text(out, " to ");
    print_number(f, f->max, out);
}

static size_t text_bytes_max(const struct conf_field *f)
{
    size_t room = f->size - 1;
    return f->max > 0 && f->max < (double)room ? (size_t)f->max : room;
}

size_t conf_list_max(const struct conf_field *f)
{
    size_t room = f->size / f->stride;
    return f->max > 0 && f->max < (double)room ? (size_t)f->max : room;
}

static void print_choices(const struct conf_field *f, struct buf *out)
{
    for (size_t i = 0; f->choices[i]; i++) {
        if (i > 0)
            buf_add_text(out, f->choices[i + 1] ? ", " : " or ");
        buf_add_text(out, f->choices[i]);
    }
}

static const char *kind_name(enum conf_kind kind)
{
    switch (kind) {
    case CONF_KIND_INT:
        return "whole number";
    case CONF_KIND_REAL:
        return "number";
    case CONF_KIND_DURATION:
        return "duration";
    case CONF_KIND_SIZE:
        return "size";
    default:
        return "value";
    }
}

void conf_scalar_describe(const struct conf_field *f, struct buf *out)
{
    switch (f->kind) {
    case CONF_KIND_TEXT:
        if (f->min > 0)
            buf_addf(out, "text of %.0f to %zu bytes", f->min, text_bytes_max(f));
        else
            buf_addf(out, "text of at most %zu bytes", text_bytes_max(f));
        break;
    case CONF_KIND_NAME:
        buf_addf(out, "name of at most %zu of a-z 0-9 - _ . that starts with a letter or a digit",
                 text_bytes_max(f));
        break;
    case CONF_KIND_BOOL:
        buf_add_text(out, "true or false");
        break;
    case CONF_KIND_CHOICE:
        print_choices(f, out);
        break;
    default:
        buf_add_text(out, kind_name(f->kind));
        if (f->kind == CONF_KIND_CUSTOM)
            break;
        if (has_range(f)) {
            buf_add_byte(out, ' ');
            print_range(f, out);
        } else if (f->kind == CONF_KIND_DURATION || f->kind == CONF_KIND_SIZE) {
            buf_add_text(out,
                         f->kind == CONF_KIND_DURATION ? " such as 30s, 2h or 7d" : " such as 64KiB or 2GiB");
        }
    }
}

static enum err_code fail_type(const struct conf_field *f, const char *text, bool plain, struct err *e)
{
    CLEANUP(buf_done) struct buf wanted = BUF_INIT(DESCRIPTION_BYTES_MAX);
    char shown[CONF_SHOWN_BYTES];
    bool article = f->kind != CONF_KIND_BOOL && f->kind != CONF_KIND_CHOICE;
    conf_scalar_describe(f, &wanted);
    return err_set(e, ERR_USAGE, "must be %s%s, not %s'%s'", article ? "a " : "", buf_text(&wanted),
                   plain ? "" : "the quoted text ", conf_shown(text, shown));
}

static enum err_code fail_range(const struct conf_field *f, const char *text, struct err *e)
{
    CLEANUP(buf_done) struct buf range = BUF_INIT(DESCRIPTION_BYTES_MAX);
    char shown[CONF_SHOWN_BYTES];
    print_range(f, &range);
    return err_set(e, ERR_USAGE, "must be %s, not '%s'", buf_text(&range), conf_shown(text, shown));
}

static enum err_code read_text(const struct conf_field *f, const char *text, char *member, struct err *e)
{
    size_t n = strlen(text), max = text_bytes_max(f);
    if (f->kind == CONF_KIND_NAME && !text_is_name(text, max))
        return fail_type(f, text, true, e);
    if (n == 0 && f->min > 0)
        return err_set(e, ERR_USAGE, "must not be empty");
    if ((double)n < f->min)
        return err_set(e, ERR_USAGE, "must be at least %.0f bytes long, not %zu", f->min, n);
    if (n > max)
        return err_set(e, ERR_USAGE, "must be at most %zu bytes long, not %zu", max, n);
    memset(member, 0, f->size);
    memcpy(member, text, n + 1);
    return OK;
}

/* The four kinds of numbers: parsed into `v`, whose size is the member's. */
union number {
    int64_t i;
    uint64_t u;
    double real;
};

static enum err_code parse_number(enum conf_kind kind, const char *text, union number *v, double *out_value,
                                  struct err *e)
{
    enum err_code code;
    if (kind == CONF_KIND_INT) {
        code = parse_i64(text, &v->i, e);
        *out_value = code ? 0 : (double)v->i;
    } else if (kind == CONF_KIND_DURATION) {
        code = parse_duration(text, &v->i, e);
        *out_value = code ? 0 : (double)v->i;
    } else if (kind == CONF_KIND_SIZE) {
        code = parse_size(text, &v->u, e);
        *out_value = code ? 0 : (double)v->u;
    } else {
        code = parse_f64(text, &v->real, e);
        *out_value = code ? 0 : v->real;
    }
    return code;
}

/* A quoted "5" is text where a number is due; a duration or a size is text in JSON, so there quotes are fine.
 */
static enum err_code read_number(const struct conf_field *f, const char *text, bool plain, void *member,
                                 struct err *e)
{
    bool quotes_fine = f->kind == CONF_KIND_DURATION || f->kind == CONF_KIND_SIZE;
    union number v = { .u = 0 };
    double value;
    invariant(f->size == sizeof(v));
    if ((!plain && !quotes_fine) || parse_number(f->kind, text, &v, &value, e))
        return fail_type(f, text, plain || quotes_fine, e);
    if (!in_range(f, value))
        return fail_range(f, text, e);
    memcpy(member, &v, sizeof(v));
    return OK;
}

static enum err_code read_choice(const struct conf_field *f, const char *text, void *member, struct err *e)
{
    int count = 0;
    invariant(f->size == sizeof(int));
    for (; f->choices[count]; count++) {
        if (strcmp(f->choices[count], text) != 0)
            continue;
        memcpy(member, &count, sizeof(count));
        return OK;
    }
    const char *nearest = text_nearest(text, f->choices, (size_t)count);
    IGNORE(fail_type(f, text, true, e));
    if (!nearest)
        return e->code;
    struct err said = *e;
    return err_set(e, ERR_USAGE, "%.600s; did you mean '%s'?", said.text, nearest);
}

static enum err_code read_bool(const struct conf_field *f, const char *text, bool plain, void *member,
                               struct err *e)
{
    bool v;
    invariant(f->size == sizeof(v));
    if (!plain || parse_bool(text, &v, e))
        return fail_type(f, text, plain, e);
    memcpy(member, &v, sizeof(v));
    return OK;
}

enum err_code conf_scalar_read(const struct conf_field *f, const char *text, bool plain, void *member,
                               struct err *e)
{
    switch (f->kind) {
    case CONF_KIND_TEXT:
    case CONF_KIND_NAME:
        return read_text(f, text, member, e);
    case CONF_KIND_INT:
    case CONF_KIND_REAL:
    case CONF_KIND_DURATION:
    case CONF_KIND_SIZE:
        return read_number(f, text, plain, member, e);
    case CONF_KIND_BOOL:
        return read_bool(f, text, plain, member, e);
    case CONF_KIND_CHOICE:
        return read_choice(f, text, member, e);
    default:
        invariant(f->kind == CONF_KIND_CUSTOM);
        return f->parse(text, member, e);
    }
}

/* Zero where zero may not be written and no default is either: the setting was left out. */
static bool is_left_out(const struct conf_field *f, double v)
{
    return v == 0 && !f->def && !in_range(f, 0);
}

static json_t *number_to_json(const struct conf_field *f, const void *member)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(64);
    union number v;
    memcpy(&v, member, sizeof(v));
    double value = f->kind == CONF_KIND_REAL ? v.real : f->kind == CONF_KIND_SIZE ? (double)v.u : (double)v.i;
    if (is_left_out(f, value))
        return NULL;
    if (f->kind == CONF_KIND_INT)
        return json_integer(v.i);
    if (f->kind == CONF_KIND_REAL)
        return json_real(v.real); /* NULL where it is not finite: a setting cannot be */
    if (f->kind == CONF_KIND_DURATION)
        print_duration(v.i, &text);
    else
        print_size(v.u, &text);
    return json_string(buf_text(&text));
}

/* What came through conf_parse() is UTF-8. A struct filled by other hands may hold anything: then "?". */
static json_t *text_to_json(const char *text)
{
    json_t *j = json_string(text);
    return j ? j : json_string("?");
}

static json_t *choice_to_json(const struct conf_field *f, int choice)
{
    int count = 0;
    while (f->choices[count])
        count++;
    invariant(choice >= 0 && choice < count);
    return json_string(f->choices[choice]);
}

json_t *conf_scalar_to_json(const struct conf_field *f, const void *member)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(64 * 1024);
    int choice = 0;
    switch (f->kind) {
    case CONF_KIND_TEXT:
    case CONF_KIND_NAME:
        if (*(const char *)member == '\0' && (f->kind == CONF_KIND_NAME || f->min > 0))
            return NULL;
        return text_to_json(member);
    case CONF_KIND_BOOL:
        return json_boolean(*(const bool *)member);
    case CONF_KIND_CHOICE:
        memcpy(&choice, member, sizeof(choice));
        return choice_to_json(f, choice);
    case CONF_KIND_CUSTOM:
        f->print(member, &text);
        return text.len ? text_to_json(buf_text(&text)) : NULL;
    default:
        return number_to_json(f, member);
    }
}
