/*
 * print.h - what goes to standard output: tables for people, one JSON document for programs.
 *
 * A table is collected first and then laid out: columns as wide as their widest cell; where the terminal is
 * too narrow, the last column gives way. Not on a terminal nothing is cut. Colours only on a terminal and
 * without NO_COLOR. Everything shown is cleaned (utf8.h).
 */
#ifndef RUNNER_CLI_PRINT_H
#define RUNNER_CLI_PRINT_H

#include "base/buf.h"
#include "base/err.h"
#include "core/json/json.h"

#include <stdint.h>

enum { PRINT_COLUMNS_MAX = 16, PRINT_OUTPUT_BYTES_MAX = 64 << 20 };

enum print_colour { COLOUR_NONE, COLOUR_GOOD, COLOUR_BAD, COLOUR_BUSY, COLOUR_DIM };
struct print_cell {
    char *text; /* owned */
    enum print_colour colour;
};
struct print_table {
    const char *const *headings; /* NULL-terminated; one that starts with '>' is right-aligned. Borrowed */
    size_t columns;
    struct print_cell *cells; /* owned; row by row */
    size_t count;
};
struct print_table print_table_new(const char *const *headings);
void print_table_done(struct print_table *t);
/* The next cell, left to right, row by row. */
void print_cell(struct print_table *t, enum print_colour colour, const char *fmt, ...) PRINTF_LIKE(3, 4);
void print_text_cell(struct print_table *t, const char *text);
/* `width` columns, 0: as wide as it gets. */
void print_table_lay(const struct print_table *t, size_t width, bool colours, struct buf *out);
enum err_code print_table_out(const struct print_table *t, struct err *e);

enum print_colour print_state_colour(const char *state);
void print_coloured(struct buf *out, enum print_colour colour, bool colours, const char *text);

size_t print_terminal_width(int fd); /* 0: no terminal */
bool print_has_colours(int fd);
const char *print_age(int64_t ms, char out[32]);       /* "12s", "5m", "3h", "2d": one unit is enough */
const char *print_time(int64_t wall_ms, char out[32]); /* "2026-11-22 10:15:00" UTC; "-" for 0 */

enum err_code print_json(const json_t *doc, struct err *e);
enum err_code print_out(const struct buf *text,
                        struct err *e); /* ERR_IO where standard output does not take it */
enum err_code print_line(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
