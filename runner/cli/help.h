/*
 * help.h - the commands in an overview, from the table.
 */
#ifndef RUNNER_CLI_HELP_H
#define RUNNER_CLI_HELP_H

#include "base/err.h"

#include <stdio.h>

/* All commands, or those of one group ("model"; NULL: all). */
enum err_code help_overview(FILE *out, const char *group, struct err *e);

#endif
