/*
 * utf8.h - text of unknown origin, made fit for a terminal.
 *
 * Names, reasons and log lines come from files and programs. Before they are shown, each byte that is no
 * UTF-8 and each control character becomes '?': so no text can move the cursor, and columns stay columns.
 * Widths are those of most terminals: two for East Asian wide characters, none for combining marks.
 */
#ifndef RUNNER_CLI_UTF8_H
#define RUNNER_CLI_UTF8_H

#include "base/buf.h"
#include "base/utf8.h"

int utf8_width(uint32_t character);    /* 0, 1 or 2 columns */
size_t utf8_columns(const char *text); /* of the whole text, as utf8_clean() would show it */
void utf8_clean(const char *text, size_t n, bool keep_lines,
                struct buf *out); /* keep_lines: \n and \t stay */
/* At most `columns` columns, with "…" at the end where something was cut. */
void utf8_fit(const char *text, size_t columns, struct buf *out);

#endif
