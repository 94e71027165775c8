#include "core/job/dataset.h"

#include <string.h>

/* Two passes: the first finds the record's end and all that is wrong with it, and writes nothing; the second
 * cuts. */
struct scan {
    char *p, *end;
    size_t fields, lines;
};

static enum err_code refuse(const struct scan *s, const char *why, struct err *e)
{
    return err_set(e, ERR_USAGE, "field %zu: %s", s->fields + 1, why);
}

/* From behind the opening quote to behind the closing one. */
static enum err_code scan_quoted(struct scan *s, struct err *e)
{
    for (; s->p < s->end; s->p++) {
        if (*s->p == '\0')
            return refuse(s, "holds a NUL byte", e);
        s->lines += *s->p == '\n';
        if (*s->p != '"')
            continue;
        s->p++;
        if (s->p == s->end || *s->p != '"')
            return OK;
    }
    return refuse(s, "its quote is not closed", e);
}

static bool at_line_end(const char *p, const char *end)
{
    return p == end || *p == '\n' || (*p == '\r' && p + 1 < end && p[1] == '\n');
}

static enum err_code scan_plain(struct scan *s, struct err *e)
{
    for (; !at_line_end(s->p, s->end) && *s->p != ','; s->p++) {
        if (*s->p == '\0')
            return refuse(s, "holds a NUL byte", e);
        if (*s->p == '"')
            return refuse(s, "holds a quote, so it must be quoted itself and the quote doubled", e);
        if (*s->p == '\r')
            return refuse(s, "holds a carriage return that ends no line", e);
    }
    return OK;
}

static enum err_code scan_record(struct scan *s, size_t max, struct err *e)
{
    for (;;) {
        if (s->fields == max)
            return err_set(e, ERR_USAGE, "more than %zu fields", max);
        bool quoted = s->p < s->end && *s->p == '"';
        s->p += quoted;
        if (quoted ? scan_quoted(s, e) : scan_plain(s, e))
            return e->code;
        bool over = at_line_end(s->p, s->end);
        if (!over && *s->p != ',')
            return refuse(s, "goes on behind its closing quote", e);
        s->fields++;
        if (over)
            return OK;
        s->p++;
    }
}

/* Drops the quotes of a field that starts at `from`, puts a NUL behind it; returns what stood behind it. */
static char *cut_quoted(char *from, const char *end, char **out)
{
    char *to = from, *p = from + 1;
    *out = from;
    for (; *p != '"' || (p + 1 < end && p[1] == '"'); p++) {
        p += *p == '"';
        *to++ = *p;
    }
    *to = '\0';
    return p + 1;
}

/* Fields are short: a loop is faster than strcspn(). */
static char *plain_end(char *p, bool last)
{
    while (*p && (last ? *p != '\r' && *p != '\n' : *p != ','))
        p++;
    return p;
}

enum err_code csv_next(char **io_text, char *end, char **fields, size_t max, size_t *out_count,
                       size_t *out_lines, struct err *e)
{
    struct scan s = { .p = *io_text, .end = end };
    if (*io_text < end && scan_record(&s, max, e))
        return e->code;
    char *p = *io_text, *next = s.p;
    if (next < end)
        next += *next == '\r' ? 2 : 1;
    for (size_t i = 0; i < s.fields; i++) {
        bool quoted = p < end && *p == '"';
        fields[i] = p;
        p = quoted ? cut_quoted(p, end, &fields[i]) : plain_end(p, i + 1 == s.fields);
        if (p < end)
            *p = '\0';
        p++;
    }
    *io_text = next;
    *out_count = s.fields;
    *out_lines = s.lines + (next > s.p);
    return OK;
}
