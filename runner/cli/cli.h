/*
 * cli.h - the command that people type: one table of commands, one way to end.
 *
 * A command is a file cmd_NAME.c with its options (options.h), its function and a `const struct cmd`, which
 * stands in the table in commands.c. Help, completion and usage errors come from that. A command returns an
 * err_code and its sentence; it is printed here, once, and becomes the exit code. What a command finds out
 * rather than fails at (a job that failed, a bad signature) is cli->status beside OK.
 *
 * Exit codes are a contract (docs): 0 done; 1 failed; 2 bad usage or spec; 3 denied by policy or role; 4 try
 * again later; 5 the job itself failed; 6 not found.
 */
#ifndef RUNNER_CLI_CLI_H
#define RUNNER_CLI_CLI_H

#include "core/cluster/cluster.h"
#include "runner/cli/options.h"

#define CLI_VERSION "0.1.0"

enum cli_exit {
    CLI_DONE = 0,
    CLI_FAILED = 1,
    CLI_USAGE = 2,
    CLI_DENIED = 3,
    CLI_RETRY = 4,
    CLI_JOB_FAILED = 5,
    CLI_NOT_FOUND = 6,
};
enum cli_exit cli_exit_of(enum err_code code);

struct cli {
    const char *home, *url, *config; /* borrowed; url and config may be NULL */
    bool json;
    struct egress *egress; /* refused connections; refusals.h */
    enum cli_exit status;  /* where the command returns OK */
};

extern const struct cmd *const cli_commands[]; /* NULL-terminated; in the order in which help shows them */
const struct cmd *cli_find(const char *name);  /* NULL: none */

/* The configuration that --home and --config name. */
enum err_code cli_cluster(const struct cli *c, struct cluster **out, struct err *e);

/* "sovrun: ..." on standard error: a note, or how a job ended. Errors are returned instead. */
void cli_say(const char *fmt, ...) PRINTF_LIKE(1, 2);
void cli_say_block(const char *title, const char *lines); /* several lines, indented */

int cli_main(int argc, char **argv);

#endif
