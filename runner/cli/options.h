/*
 * options.h - a command's options as a table: parsed, explained and completed from the same rows.
 *
 * Each command has a plain struct of settings and rows that say where in it a value goes. glibc's argp does
 * the parsing; the rows that every command shares (--home, --url, --config, --json, --help) are added here.
 * What argp does not know, a value that is no number or too many arguments, is refused in the same way.
 */
#ifndef RUNNER_CLI_OPTIONS_H
#define RUNNER_CLI_OPTIONS_H

#include "base/buf.h"
#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

enum { OPTIONS_MAX = 32, OPTION_LIST_MAX = 256, ARGUMENTS_MAX = 256 };

enum opt_kind {
    OPT_FLAG, /* bool */
    OPT_TEXT, /* const char *: borrowed from argv */
    OPT_INT,  /* int64_t, min to max */
    OPT_LIST, /* struct opt_list: may be given several times */
};
struct opt_list {
    const char *items[OPTION_LIST_MAX];
    size_t count;
};
struct opt {
    const char *name;
    char key;          /* the short form; 0: none */
    const char *value; /* as shown; NULL for a flag */
    enum opt_kind kind;
    size_t offset;
    int64_t min, max;
    const char *help;
};
/* clang-format off */
/* Rows. `s` is the struct's tag without the word struct. */
#define OPT_AT(s, m) offsetof(struct s, m)
#define OPT_FLAG_ROW(s, m, name_, key_, help_) { name_, key_, NULL, OPT_FLAG, OPT_AT(s, m), 0, 0, help_ }
#define OPT_TEXT_ROW(s, m, name_, key_, value_, help_) { name_, key_, value_, OPT_TEXT, OPT_AT(s, m), 0, 0, help_ }
#define OPT_INT_ROW(s, m, name_, key_, value_, min_, max_, help_) \
    { name_, key_, value_, OPT_INT, OPT_AT(s, m), min_, max_, help_ }
#define OPT_LIST_ROW(s, m, name_, key_, value_, help_) { name_, key_, value_, OPT_LIST, OPT_AT(s, m), 0, 0, help_ }
#define OPT_END { .name = NULL }
/* clang-format on */

struct cli;
struct arguments {
    const char *list[ARGUMENTS_MAX]; /* borrowed from argv */
    size_t count;
};
/* A command; cli.h says how to add one. */
struct cmd {
    const char *name; /* "submit", "model get" */
    const char *args; /* as shown: "JOB.yaml" */
    size_t args_min, args_max;
    const char *help; /* one line */
    const char *more; /* what else there is to say, or NULL */
    const struct opt *options;
    size_t settings_bytes;
    enum err_code (*run)(struct cli *c, const struct arguments *a, const void *settings, struct err *e);
};

extern const struct opt options_shared[]; /* into struct cli */

/* argv[0] is not looked at. `settings` starts with the command's defaults. *out_help: --help was given, the
 * rest does not matter. */
enum err_code options_parse(const struct cmd *cmd, int argc, char **argv, struct cli *c, void *settings,
                            struct arguments *out, bool *out_help, struct err *e);

/* The shared options in front of the command's name; *out_next: index of the first argument that is none. */
enum err_code options_parse_shared(int argc, char **argv, struct cli *c, int *out_next, bool *out_help,
                                   struct err *e);

void options_help(const struct cmd *cmd); /* to standard output */

#endif
