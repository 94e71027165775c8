/* The first reading of a file that is staged: what it holds, and whether it is what it should be. */
#include "base/mem.h"
#include "base/num.h"
#include "runner/cli/csv_file.h"
#include "runner/cli/stage.h"
#include "runner/cli/utf8.h"

#include <inttypes.h>
#include <string.h>

enum { PROGRESS_RECORDS = 65536 };

void csv_facts_done(struct csv_facts *f)
{
    free(f->columns);
    *f = (struct csv_facts){ .columns = NULL };
}

/* What is known of a column so far. */
struct guess {
    bool any, not_numeric;
    size_t line; /* where the first value that is no number stands */
    char value[64];
};

static bool is_missing(const struct stage_options *o, const char *text)
{
    if (text[0] == '\0' || strcmp(text, "?") == 0)
        return true;
    for (size_t i = 0; i < o->missing_count; i++)
        if (strcmp(o->missing[i], text) == 0)
            return true;
    return false;
}

static enum err_code bad_name(const char *path, size_t column, const char *why, struct err *e)
{
    return err_set(e, ERR_USAGE, "%s:1: column %zu %s", path, column + 1, why);
}

static enum err_code check_name(const char *path, const char *name, size_t column, struct err *e)
{
    if (name[0] == '\0')
        return bad_name(path, column, "has no name; the first line must name every column", e);
    if (strlen(name) >= DATASET_NAME_BYTES)
        return bad_name(path, column, "has a name of more than 127 bytes", e);
    for (const char *p = name; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return bad_name(path, column, "has a control character in its name", e);
    return OK;
}

static enum err_code take_header(const char *path, const struct csv_record *r, struct csv_facts *out,
                                 struct err *e)
{
    out->columns = mem_array(r->count, sizeof(*out->columns));
    out->column_count = r->count;
    for (size_t i = 0; i < r->count; i++) {
        if (check_name(path, r->fields[i], i, e))
            return e->code;
        memcpy(out->columns[i].name, r->fields[i], strlen(r->fields[i]) + 1);
        for (size_t before = 0; before < i; before++)
            if (strcmp(out->columns[before].name, r->fields[i]) == 0)
                return err_set(e, ERR_USAGE, "%s:1: columns %zu and %zu are both named '%s'", path,
                               before + 1, i + 1, r->fields[i]);
    }
    return OK;
}

static enum err_code take_record(const char *path, const struct csv_record *r, const struct stage_options *o,
                                 const struct csv_facts *facts, struct guess *guesses, struct err *e)
{
    struct err ignored = ERR_INIT;
    double number;

    if (r->count == 1 && r->fields[0][0] == '\0' && facts->column_count > 1)
        return err_set(e, ERR_USAGE, "%s:%zu: an empty line; remove it", path, r->line);
    if (r->count != facts->column_count)
        return err_set(e, ERR_USAGE, "%s:%zu: %zu fields where the header has %zu", path, r->line, r->count,
                       facts->column_count);
    for (size_t i = 0; i < r->count; i++) {
        if (guesses[i].not_numeric || is_missing(o, r->fields[i]))
            continue;
        guesses[i].any = true;
        if (parse_f64(r->fields[i], &number, &ignored) == OK)
            continue;
        guesses[i].not_numeric = true;
        guesses[i].line = r->line;
        snprintf(guesses[i].value, sizeof(guesses[i].value), "%s", r->fields[i]);
    }
    return OK;
}

/* "NAME=category"; a name may hold '=' itself, so the last one counts. */
static enum err_code apply_override(const char *path, const char *text, struct csv_facts *facts,
                                    const struct guess *guesses, struct err *e)
{
    const char *equals = strrchr(text, '=');
    size_t n = equals ? (size_t)(equals - text) : 0;
    int kind = -1;

    for (int k = 0; equals && column_kind_names[k]; k++)
        if (strcmp(column_kind_names[k], equals + 1) == 0)
            kind = k;
    if (kind < 0)
        return err_set(e, ERR_USAGE, "--column '%s': must be NAME=category or NAME=numeric", text);
    for (size_t i = 0; i < facts->column_count; i++) {
        if (strlen(facts->columns[i].name) != n || strncmp(facts->columns[i].name, text, n) != 0)
            continue;
        if (kind == COLUMN_NUMERIC && guesses[i].not_numeric)
            return err_set(
                e, ERR_USAGE,
                "%s:%zu: column '%s': '%s' is no number (--missing says what stands for \"not known\")", path,
                guesses[i].line, facts->columns[i].name, guesses[i].value);
        facts->columns[i].kind = (enum column_kind)kind;
        return OK;
    }
    return err_set(e, ERR_USAGE, "--column '%s': the file has no column of that name", text);
}

static enum err_code decide_kinds(const char *path, const struct stage_options *o, struct csv_facts *facts,
                                  const struct guess *guesses, struct err *e)
{
    for (size_t i = 0; i < facts->column_count; i++)
        facts->columns[i].kind = guesses[i].any && !guesses[i].not_numeric ? COLUMN_NUMERIC : COLUMN_CATEGORY;
    for (size_t i = 0; o->columns && i < o->columns->count; i++)
        if (apply_override(path, o->columns->items[i], facts, guesses, e))
            return e->code;
    return OK;
}

static enum err_code survey_records(struct csv_file *f, const struct stage_options *o,
                                    struct csv_facts *facts, struct err *e)
{
    CLEANUP(freep) struct guess *guesses = mem_array(MAX(facts->column_count, (size_t)1), sizeof(*guesses));
    struct csv_record r;
    bool over;

    for (;;) { /* to the end of the file */
        if (csv_file_next(f, &r, &over, e))
            return e->code;
        if (over)
            break;
        if (take_record(f->path, &r, o, facts, guesses, e))
            return e->code;
        facts->records++;
        if (o->progress && facts->records % PROGRESS_RECORDS == 0) {
            char number[48];
            progress_note(o->progress, "reading %s: %s records", f->path,
                          progress_count((double)facts->records, number));
        }
    }
    if (facts->records == 0)
        return err_set(e, ERR_USAGE, "'%s' has no records behind its header", f->path);
    if (facts->records > (uint64_t)DATASET_RECORDS_MAX)
        return err_set(e, ERR_LIMIT, "'%s' has more than %" PRId64 " records", f->path, DATASET_RECORDS_MAX);
    return decide_kinds(f->path, o, facts, guesses, e);
}

enum err_code stage_survey(const char *path, const struct stage_options *o, struct csv_facts *out,
                           struct err *e)
{
    CLEANUP(csv_file_closep) struct csv_file *f = NULL;
    CLEANUP(csv_facts_done) struct csv_facts facts = { .columns = NULL };
    struct csv_record header;
    bool over;

    if (csv_file_open(path, &f, e) || csv_file_next(f, &header, &over, e))
        return e->code;
    if (over)
        return err_set(e, ERR_USAGE, "'%s' is empty", path);
    if (take_header(path, &header, &facts, e) || survey_records(f, o, &facts, e))
        return e->code;
    csv_file_digest(f, facts.sha256);
    facts.bytes = f->bytes;
    *out = facts;
    facts = (struct csv_facts){ .columns = NULL };
    return OK;
}
