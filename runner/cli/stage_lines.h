/*
 * stage_lines.h - what the scan found: in ranges of a text's lines, and as findings of a dataset. Private to
 * data stage.
 */
#ifndef RUNNER_CLI_STAGE_LINES_H
#define RUNNER_CLI_STAGE_LINES_H

#include "core/scan/scan.h"
#include "runner/cli/stage.h"

/* At most 64 ranges of equal length, which doubles as the text grows. Safe to use from several threads. */
struct stage_lines;
struct stage_lines *stage_lines_new(void);
void stage_lines_free(struct stage_lines *l);
/* Whole lines; the first is number `line`, from 0. */
void stage_lines_scan(struct stage_lines *l, const char *text, size_t n, uint64_t line);
/* Into facts->findings: "lines 1-4096". */
void stage_lines_find(const struct stage_lines *l, struct stage_facts *facts);

/* What counts as found under that name: a finding for each kind, and the class that they ask for. */
void stage_note_findings(struct stage_facts *facts, const char *column, const struct scan_counts *counts);

#endif
