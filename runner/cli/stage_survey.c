/* The first reading of what is staged: what it holds, and whether it is what it should be. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "core/scan/scan.h"
#include "runner/cli/pool.h"
#include "runner/cli/stage.h"
#include "runner/cli/stage_lines.h"
#include "runner/cli/stage_tokens.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES = 1 << 20 };

void stage_facts_done(struct stage_facts *f)
{
    free(f->columns);
    free(f->findings);
    *f = (struct stage_facts){ .columns = NULL };
}

/* What is known of a column so far. */
struct guess {
    bool any, not_numeric;
    size_t file, line; /* where the first value that is no number stands */
    char value[64];
};

/* What one thread has seen; joined at the end. */
struct part {
    struct guess *guesses;      /* owned; one a column, as the counts are */
    struct scan_counts *counts; /* owned */
    struct part *next;
};

struct survey {
    const struct stage_options *o;
    const struct source *source;
    struct stage_facts *facts;
    int year;
    int64_t started_ms;
    const struct records *records; /* for progress */
    pthread_mutex_t lock;
    struct part *parts;        /* owned */
    struct stage_lines *lines; /* owned; of text */
};

/* Whole records, to be looked at by whoever is free. */
struct block {
    struct buf raw;
    size_t file, line; /* of its first record */
};

static void survey_done(struct survey *s)
{
    for (struct part *p; (p = s->parts) != NULL; free(p)) {
        s->parts = p->next;
        free(p->guesses);
        free(p->counts);
    }
    stage_lines_free(s->lines);
    pthread_mutex_destroy(&s->lock);
}

/* ---- the header ---- */

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

static enum err_code take_header(const char *path, const struct record *r, struct stage_facts *out,
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

static enum err_code check_record(const struct survey *s, const struct record *r, struct err *e)
{
    const char *path = source_path(s->source, r->file);

    if (r->count == 1 && r->fields[0][0] == '\0' && s->facts->column_count > 1)
        return err_set(e, ERR_USAGE, "%s:%zu: an empty line; remove it", path, r->line);
    if (r->count != s->facts->column_count)
        return err_set(e, ERR_USAGE, "%s:%zu: %zu fields where the header has %zu", path, r->line, r->count,
                       s->facts->column_count);
    return OK;
}

/* ---- in the threads ---- */

static bool is_missing(const struct stage_options *o, const char *text)
{
    if (text[0] == '\0' || strcmp(text, "?") == 0)
        return true;
    for (size_t i = 0; i < o->missing_count; i++)
        if (strcmp(o->missing[i], text) == 0)
            return true;
    return false;
}

static void guess_kind(const struct survey *s, struct guess *g, const char *text, size_t file, size_t line,
                       struct err *ignored)
{
    double number;

    if (g->not_numeric || is_missing(s->o, text))
        return;
    g->any = true;
    if (parse_f64(text, &number, ignored) == OK)
        return;
    g->not_numeric = true;
    g->file = file;
    g->line = line;
    snprintf(g->value, sizeof(g->value), "%s", text);
}

static enum err_code start_part(void *context, void **out_mine, struct err *e)
{
    struct survey *s = context;
    size_t columns = MAX(s->facts->column_count, (size_t)1);
    struct part *p = mem_new(sizeof(*p));
    (void)e;

    p->guesses = mem_array(columns, sizeof(*p->guesses));
    p->counts = mem_array(columns, sizeof(*p->counts));
    pthread_mutex_lock(&s->lock);
    p->next = s->parts;
    s->parts = p;
    pthread_mutex_unlock(&s->lock);
    *out_mine = p;
    return OK;
}

static void stop_part(void *context, void *mine)
{
    (void)context;
    (void)mine; /* the survey's */
}

static enum err_code look_at_records(const struct survey *s, struct part *p, struct block *b, struct err *e)
{
    CLEANUP(freep) char **fields = mem_array(s->facts->column_count + 1, sizeof(*fields));
    char *at = (char *)b->raw.data, *end = at + b->raw.len;
    size_t count, lines, line = b->line;
    struct err ignored = ERR_INIT; /* one for all: it is large */

    while (at < end) {
        /* It was cut into the same fields before. */
        if (csv_next(&at, end, fields, s->facts->column_count + 1, &count, &lines, e))
            return e->code;
        for (size_t i = 0; i < count; i++) {
            guess_kind(s, &p->guesses[i], fields[i], b->file, line, &ignored);
            scan_value(fields[i], strlen(fields[i]), s->year, &p->counts[i]);
        }
        line += lines;
    }
    return OK;
}

static enum err_code work_block(void *context, void *mine, void *job, struct err *e)
{
    struct survey *s = context;
    struct block *b = job;

    if (s->facts->format == RECORDS_CSV)
        return look_at_records(s, mine, b, e);
    stage_lines_scan(s->lines, (const char *)b->raw.data, b->raw.len, b->line);
    return OK;
}

static void drop_block(void *job)
{
    struct block *b = job;
    buf_done(&b->raw);
    free(b);
}

static void show_reading(void *context)
{
    const struct survey *s = context;
    char done[NUM_TEXT_BYTES], rate[NUM_TEXT_BYTES], number[48];
    uint64_t bytes = records_bytes(s->records);
    int64_t ms = MAX(clock_mono_ms() - s->started_ms, (int64_t)1);

    if (s->o->progress)
        progress_note(s->o->progress, "reading %s: %s, %s records, %s/s", source_name(s->source),
                      format_size(bytes, done), progress_count((double)s->facts->records, number),
                      format_size(bytes * 1000 / (uint64_t)ms, rate));
}

static const struct pool_ops survey_ops = {
    .start = start_part, .work = work_block, .stop = stop_part, .drop = drop_block, .tick = show_reading
};

/* ---- reading ---- */

static struct block *new_block(const struct record *first, uint64_t line)
{
    struct block *b = mem_new(sizeof(*b));
    b->raw.max = BLOCK_BYTES + 2 * RECORD_BYTES_MAX + 2;
    b->file = first->file;
    b->line = (size_t)line;
    return b;
}

/* Text is counted in lines of the whole source, CSV by file and line. */
static enum err_code give_block(struct pool *pool, struct block **io, struct err *e)
{
    struct block *b = TAKE(*io);
    if (!b)
        return OK;
    buf_add_byte(&b->raw, '\0'); /* csv_next() writes there */
    b->raw.len--;
    return pool_give(pool, b, b->raw.len, e);
}

static enum err_code add_record(struct survey *s, struct pool *pool, struct block **io,
                                const struct record *r, struct err *e)
{
    if (*io && ((*io)->raw.len >= BLOCK_BYTES || (*io)->file != r->file) && give_block(pool, io, e))
        return e->code;
    if (!*io)
        *io = new_block(r, s->facts->format == RECORDS_CSV ? r->line : s->facts->records);
    struct buf *raw = &(*io)->raw;
    buf_add(raw, r->raw, r->raw_bytes);
    if (raw->data[raw->len - 1] != '\n')
        buf_add_byte(raw, '\n'); /* the last of a file that is followed by another */
    return OK;
}

static enum err_code read_records(struct survey *s, struct records *in, struct pool *pool, struct block **io,
                                  struct err *e)
{
    struct record r;
    bool over;

    for (;;) { /* to the end of the source */
        if (records_next(in, UINT64_MAX, &r, &over, e))
            return e->code;
        if (over)
            return give_block(pool, io, e);
        if (s->facts->format == RECORDS_CSV && check_record(s, &r, e))
            return e->code;
        if (s->facts->format != RECORDS_TOKENS && add_record(s, pool, io, &r, e))
            return e->code;
        s->facts->records += r.units;
        if (s->facts->records % 65536 == 0)
            show_reading(s);
    }
}

static enum err_code read_all(struct survey *s, struct records *in, struct err *e)
{
    CLEANUP(pool_freep)
    struct pool *pool = pool_new(s->o->parallel ? s->o->parallel : STAGE_PARALLEL_DEFAULT,
                                 STAGE_FLIGHT_BYTES / 8, &survey_ops, s);
    struct block *block = NULL;

    enum err_code code = read_records(s, in, pool, &block, e);
    if (block)
        drop_block(block);
    if (code || (code = pool_end(pool, e)) != OK)
        return code;
    if (s->facts->records == 0)
        return err_set(e, ERR_USAGE, "'%s' %s", source_name(s->source),
                       s->facts->format == RECORDS_CSV ? "has no records behind its header" : "is empty");
    if (s->facts->records > (uint64_t)DATASET_RECORDS_MAX)
        return err_set(e, ERR_LIMIT, "'%s' has more than %" PRId64 " records", source_name(s->source),
                       DATASET_RECORDS_MAX);
    return OK;
}

/* ---- what it comes to ---- */

static void join_guess(struct guess *io, const struct guess *other)
{
    bool earlier = other->not_numeric && (!io->not_numeric || other->file < io->file ||
                                          (other->file == io->file && other->line < io->line));
    bool any = io->any || other->any;
    if (earlier)
        *io = *other;
    io->any = any;
}

/* "NAME=category"; a name may hold '=' itself, so the last one counts. */
static enum err_code apply_override(const struct survey *s, const char *text, const struct guess *guesses,
                                    struct err *e)
{
    const char *equals = strrchr(text, '=');
    size_t n = equals ? (size_t)(equals - text) : 0;
    int kind = -1;

    for (int k = 0; equals && column_kind_names[k]; k++)
        if (strcmp(column_kind_names[k], equals + 1) == 0)
            kind = k;
    if (kind < 0)
        return err_set(e, ERR_USAGE, "--column '%s': must be NAME=category or NAME=numeric", text);
    for (size_t i = 0; i < s->facts->column_count; i++) {
        struct dataset_column *c = &s->facts->columns[i];
        if (strlen(c->name) != n || strncmp(c->name, text, n) != 0)
            continue;
        if (kind == COLUMN_NUMERIC && guesses[i].not_numeric)
            return err_set(
                e, ERR_USAGE,
                "%s:%zu: column '%s': '%s' is no number (--missing says what stands for \"not known\")",
                source_path(s->source, guesses[i].file), guesses[i].line, c->name, guesses[i].value);
        c->kind = (enum column_kind)kind;
        return OK;
    }
    return err_set(e, ERR_USAGE, "--column '%s': the file has no column of that name", text);
}

static enum err_code decide_kinds(struct survey *s, struct err *e)
{
    CLEANUP(freep) struct guess *guesses = mem_array(s->facts->column_count, sizeof(*guesses));

    for (size_t i = 0; i < s->facts->column_count; i++) {
        for (const struct part *p = s->parts; p; p = p->next)
            join_guess(&guesses[i], &p->guesses[i]);
        s->facts->columns[i].kind =
            guesses[i].any && !guesses[i].not_numeric ? COLUMN_NUMERIC : COLUMN_CATEGORY;
    }
    for (size_t i = 0; s->o->columns && i < s->o->columns->count; i++)
        if (apply_override(s, s->o->columns->items[i], guesses, e))
            return e->code;
    return OK;
}

static void find_in_columns(struct survey *s)
{
    s->facts->scan = SCANNED_COLUMNS;
    for (size_t i = 0; i < s->facts->column_count; i++) {
        struct scan_counts counts = { .values = 0 };
        for (const struct part *p = s->parts; p; p = p->next)
            scan_add(&counts, &p->counts[i]);
        stage_note_findings(s->facts, s->facts->columns[i].name, &counts);
    }
}

static int year_now(void)
{
    char text[CLOCK_TEXT_BYTES];
    return (int)strtol(clock_format(clock_wall_ms(), text), NULL, 10);
}

/* From here on they are what is stored. */
static enum err_code become_tokens(struct survey *s, struct err *e)
{
    size_t threads = s->o->parallel ? s->o->parallel : STAGE_PARALLEL_DEFAULT;

    s->facts->format = RECORDS_TOKENS;
    s->facts->token_bytes = stage_tokenizer_bytes(s->o->tokenizer);
    s->facts->records = 0;
    return s->o->shards > 0 ? stage_tokens_count(s->source, s->o->tokenizer, threads, &s->facts->records, e)
                            : OK;
}

static enum err_code survey(struct survey *s, struct records *in, struct err *e)
{
    struct record header;
    bool over;

    s->records = in;
    if (s->facts->format == RECORDS_CSV && (records_header(in, &header, &over, e) ||
                                            take_header(source_path(s->source, 0), &header, s->facts, e)))
        return e->code;
    if (s->facts->format == RECORDS_TEXT)
        s->lines = stage_lines_new();
    if (read_all(s, in, e))
        return e->code;
    if (s->facts->format == RECORDS_CSV) {
        if (decide_kinds(s, e))
            return e->code;
        find_in_columns(s);
    }
    if (s->lines)
        stage_lines_find(s->lines, s->facts);
    records_digest(in, s->facts->sha256);
    s->facts->bytes = records_bytes(in);
    s->facts->token_bytes = s->facts->format == RECORDS_TOKENS ? records_token_bytes(in) : 0;
    return s->o->tokenizer ? become_tokens(s, e) : OK;
}

enum err_code stage_survey(const struct source *source, const struct stage_options *o,
                           struct stage_facts *out, struct err *e)
{
    CLEANUP(stage_facts_done) struct stage_facts facts = { .format = o->format };
    CLEANUP(records_closep) struct records *in = NULL;
    CLEANUP(survey_done)
    struct survey s = { .o = o,
                        .source = source,
                        .facts = &facts,
                        .year = year_now(),
                        .started_ms = clock_mono_ms(),
                        .lock = PTHREAD_MUTEX_INITIALIZER };

    if (records_open(source, o->format, o->token_bytes, &in, e) || survey(&s, in, e))
        return e->code;
    *out = facts;
    facts = (struct stage_facts){ .columns = NULL };
    return OK;
}
