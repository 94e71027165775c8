#include "runner/cli/print.h"

#include "base/clock.h"
#include "base/mem.h"
#include "runner/cli/utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

enum { CELL_BYTES_MAX = 64 * 1024, GAP = 2, LAST_COLUMN_MIN = 8 };

struct print_table print_table_new(const char *const *headings)
{
    struct print_table t = { .headings = headings };
    while (headings[t.columns])
        t.columns++;
    invariant(t.columns <= PRINT_COLUMNS_MAX);
    return t;
}

void print_table_done(struct print_table *t)
{
    for (size_t i = 0; i < t->count; i++)
        free(t->cells[i].text);
    free(t->cells);
    *t = (struct print_table){ .headings = NULL };
}

void print_cell(struct print_table *t, enum print_colour colour, const char *fmt, ...)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(CELL_BYTES_MAX);
    va_list ap;
    va_start(ap, fmt);
    buf_addv(&text, fmt, ap);
    va_end(ap);
    t->cells = mem_grow(t->cells, t->count + 1, sizeof(*t->cells));
    t->cells[t->count++] = (struct print_cell){ mem_text(buf_text(&text)), colour };
}

void print_text_cell(struct print_table *t, const char *text)
{
    print_cell(t, COLOUR_NONE, "%s", text);
}

static bool is_right(const char *heading)
{
    return heading[0] == '>';
}

static const char *heading_text(const char *heading)
{
    return heading + is_right(heading);
}

static void measure(const struct print_table *t, size_t width, size_t widths[PRINT_COLUMNS_MAX])
{
    size_t before = 0, last = t->columns - 1;
    for (size_t c = 0; c < t->columns; c++)
        widths[c] = utf8_columns(heading_text(t->headings[c]));
    for (size_t i = 0; i < t->count; i++)
        widths[i % t->columns] = MAX(widths[i % t->columns], utf8_columns(t->cells[i].text));
    for (size_t c = 0; c < last; c++)
        before += widths[c] + GAP;
    if (width && before + widths[last] > width)
        widths[last] = MAX(width > before ? width - before : 0, (size_t)LAST_COLUMN_MIN);
}

void print_coloured(struct buf *out, enum print_colour colour, bool colours, const char *text)
{
    static const char *const codes[] = {
        [COLOUR_NONE] = "",   [COLOUR_GOOD] = "32", [COLOUR_BAD] = "31",
        [COLOUR_BUSY] = "36", [COLOUR_DIM] = "2",
    };
    if (colours && colour != COLOUR_NONE)
        buf_addf(out, "\033[%sm%s\033[0m", codes[colour], text);
    else
        buf_add_text(out, text);
}

static void add_spaces(struct buf *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        buf_add_byte(out, ' ');
}

static void lay_cell(const struct print_table *t, size_t column, const char *text, enum print_colour colour,
                     size_t width, bool colours, struct buf *out)
{
    CLEANUP(buf_done) struct buf shown = BUF_INIT(CELL_BYTES_MAX);
    utf8_fit(text, width, &shown);
    size_t used = utf8_columns(buf_text(&shown)), pad = width > used ? width - used : 0;
    if (is_right(t->headings[column]))
        add_spaces(out, pad);
    print_coloured(out, colour, colours, buf_text(&shown));
    if (column + 1 == t->columns) {
        while (out->len > 0 && out->data[out->len - 1] == ' ')
            out->len--;
        buf_add_byte(out, '\n');
        return;
    }
    add_spaces(out, (is_right(t->headings[column]) ? 0 : pad) + GAP);
}

void print_table_lay(const struct print_table *t, size_t width, bool colours, struct buf *out)
{
    size_t widths[PRINT_COLUMNS_MAX];
    invariant(t->count % t->columns == 0);
    measure(t, width, widths);
    for (size_t c = 0; c < t->columns; c++)
        lay_cell(t, c, heading_text(t->headings[c]), COLOUR_DIM, widths[c], colours, out);
    for (size_t i = 0; i < t->count; i++)
        lay_cell(t, i % t->columns, t->cells[i].text, t->cells[i].colour, widths[i % t->columns], colours,
                 out);
}

enum err_code print_table_out(const struct print_table *t, struct err *e)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(PRINT_OUTPUT_BYTES_MAX);
    print_table_lay(t, print_terminal_width(STDOUT_FILENO), print_has_colours(STDOUT_FILENO), &out);
    return print_out(&out, e);
}

enum print_colour print_state_colour(const char *state)
{
    static const struct {
        const char *state;
        enum print_colour colour;
    } rows[] = {
        { "succeeded", COLOUR_GOOD }, { "ok", COLOUR_GOOD },       { "failed", COLOUR_BAD },
        { "bad", COLOUR_BAD },        { "cancelled", COLOUR_DIM }, { "starting", COLOUR_BUSY },
        { "running", COLOUR_BUSY },   { "stopping", COLOUR_BUSY },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (strcmp(rows[i].state, state) == 0)
            return rows[i].colour;
    return COLOUR_NONE;
}

size_t print_terminal_width(int fd)
{
    enum { WIDTH_UNKNOWN = 80 };
    struct winsize size = { 0 };
    if (!isatty(fd))
        return 0;
    return ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : WIDTH_UNKNOWN;
}

bool print_has_colours(int fd)
{
    const char *no_colour = getenv("NO_COLOR"), *terminal = getenv("TERM");
    return isatty(fd) && !(no_colour && no_colour[0]) && !(terminal && strcmp(terminal, "dumb") == 0);
}

const char *print_age(int64_t ms, char out[32])
{
    static const struct {
        int64_t ms;
        const char *unit;
    } units[] = { { 86400000, "d" }, { 3600000, "h" }, { 60000, "m" }, { 1000, "s" } };
    ms = MAX(ms, 0);
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (ms >= units[i].ms) {
            snprintf(out, 32, "%" PRId64 "%s", ms / units[i].ms, units[i].unit);
            return out;
        }
    snprintf(out, 32, "0s");
    return out;
}

const char *print_time(int64_t wall_ms, char out[32])
{
    enum { DATE_BYTES = 10, TIME_BYTES = 19 };
    char text[CLOCK_TEXT_BYTES];
    if (wall_ms == 0)
        return memcpy(out, "-", 2);
    snprintf(out, 32, "%.*s", TIME_BYTES, clock_format(wall_ms, text));
    out[DATE_BYTES] = ' ';
    return out;
}

enum err_code print_out(const struct buf *text, struct err *e)
{
    if (buf_check(text, "output", e))
        return e->code;
    if (fwrite(buf_text(text), 1, text->len, stdout) != text->len || fflush(stdout) != 0)
        return err_errno(e, "write to standard output");
    return OK;
}

enum err_code print_json(const json_t *doc, struct err *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(PRINT_OUTPUT_BYTES_MAX);
    if (json_pretty(doc, &text, e))
        return e->code;
    return print_out(&text, e);
}

enum err_code print_line(struct err *e, const char *fmt, ...)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(PRINT_OUTPUT_BYTES_MAX);
    CLEANUP(buf_done) struct buf line = BUF_INIT(PRINT_OUTPUT_BYTES_MAX);
    va_list ap;
    va_start(ap, fmt);
    buf_addv(&text, fmt, ap);
    va_end(ap);
    utf8_clean(buf_text(&text), text.len, true, &line);
    buf_add_byte(&line, '\n');
    return print_out(&line, e);
}
