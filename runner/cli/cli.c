#include "runner/cli/cli.h"

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "core/crypto/secret.h"
#include "runner/cli/help.h"
#include "runner/cli/refusals.h"
#include "runner/cli/utf8.h"

#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { COMMANDS_MAX = 64, COMMAND_NAME_BYTES = 64, SAID_BYTES_MAX = 16 * 1024 };

enum cli_exit cli_exit_of(enum err_code code)
{
    static const enum cli_exit exits[ERR_CODE_COUNT] = {
        [OK] = CLI_DONE,
        [ERR_USAGE] = CLI_USAGE,
        [ERR_NOT_FOUND] = CLI_NOT_FOUND,
        [ERR_CONFLICT] = CLI_FAILED,
        [ERR_DENIED] = CLI_DENIED,
        [ERR_LIMIT] = CLI_FAILED,
        [ERR_RETRY] = CLI_RETRY,
        [ERR_CORRUPT] = CLI_FAILED,
        [ERR_IO] = CLI_FAILED,
        [ERR_DEVICE] = CLI_FAILED,
        [ERR_CANCELED] = CLI_FAILED,
    };
    return (unsigned)code < ERR_CODE_COUNT ? exits[code] : CLI_FAILED;
}

enum err_code cli_cluster(const struct cli *c, struct cluster **out, struct err *e)
{
    return cluster_load(c->home, c->config, out, e);
}

const struct cmd *cli_find(const char *name)
{
    for (size_t i = 0; cli_commands[i]; i++)
        if (strcmp(cli_commands[i]->name, name) == 0)
            return cli_commands[i];
    return NULL;
}

/* ---- which command ---- */

static bool is_group(const char *word)
{
    size_t n = strlen(word);
    for (size_t i = 0; cli_commands[i]; i++)
        if (strncmp(cli_commands[i]->name, word, n) == 0 && cli_commands[i]->name[n] == ' ')
            return true;
    return false;
}

static enum err_code unknown(const char *name, struct err *e)
{
    const char *names[COMMANDS_MAX], *near;
    size_t count = 0;
    for (; cli_commands[count]; count++) {
        invariant(count < COMMANDS_MAX);
        names[count] = cli_commands[count]->name;
    }
    near = text_nearest(name, names, count);
    if (near)
        return err_set(e, ERR_USAGE, "there is no command '%s'; did you mean '%s'?", name, near);
    return err_set(e, ERR_USAGE, "there is no command '%s'; `sovrun help` lists them", name);
}

/* One word or, in a group, two; *out_words says which. `model --help` gives no command: it is about the
 * group. */
static enum err_code find_command(int argc, char **argv, const struct cmd **out, int *out_words,
                                  struct err *e)
{
    char name[COMMAND_NAME_BYTES];
    bool group = is_group(argv[0]);

    if (group && (argc < 2 || argv[1][0] == '-')) {
        *out = NULL;
        for (int i = 1; i < argc; i++)
            if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
                return OK;
        return err_set(e, ERR_USAGE, "'%s' needs to know what to do; `sovrun help %s` lists it", argv[0],
                       argv[0]);
    }
    snprintf(name, sizeof(name), "%s%s%s", argv[0], group ? " " : "", group ? argv[1] : "");
    *out = cli_find(name);
    *out_words = 1 + group;
    return *out ? OK : unknown(name, e);
}

/* ---- running it ---- */

static enum err_code run_command(struct cli *c, const struct cmd *cmd, int argc, char **argv, struct err *e)
{
    CLEANUP(freep) void *settings = mem_new(MAX(cmd->settings_bytes, (size_t)1));
    struct arguments arguments = { .count = 0 };
    bool help = false;

    if (options_parse(cmd, argc, argv, c, settings, &arguments, &help, e))
        return e->code;
    if (help) {
        options_help(cmd);
        return OK;
    }
    if (c->home[0] == '\0')
        return err_set(e, ERR_USAGE, "where is the cluster's folder? Give --home DIR or set SOVRUN_HOME");
    return cmd->run(c, &arguments, settings, e);
}

static enum err_code dispatch(struct cli *c, int argc, char **argv, struct err *e)
{
    const struct cmd *cmd = NULL;
    bool help = false;
    int first = argc, words = 1;

    if (options_parse_shared(argc, argv, c, &first, &help, e))
        return e->code;
    if (help || first == argc) {
        c->status = help ? CLI_DONE : CLI_USAGE;
        return help_overview(help ? stdout : stderr, NULL, e);
    }
    if (find_command(argc - first, argv + first, &cmd, &words, e))
        return e->code;
    if (!cmd)
        return help_overview(stdout, argv[first], e);
    int skip = first + words - 1; /* the last word of its name stands where argv[0] would */
    return run_command(c, cmd, argc - skip, argv + skip, e);
}

/* Where nothing says otherwise: ~/.local/state/sovrun. The caller frees. */
static char *default_home(void)
{
    const char *home = getenv("HOME");
    const struct passwd *user = home && home[0] == '/' ? NULL : getpwuid(getuid());
    if (user)
        home = user->pw_dir;
    return home && home[0] ? path_join(home, ".local/state/sovrun") : mem_text("");
}

static const char *from_environment(const char *name, const char *otherwise)
{
    const char *value = getenv(name);
    return value && value[0] ? value : otherwise;
}

void cli_say(const char *fmt, ...)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(SAID_BYTES_MAX);
    CLEANUP(buf_done) struct buf line = BUF_INIT(SAID_BYTES_MAX);
    va_list ap;
    va_start(ap, fmt);
    buf_addv(&text, fmt, ap);
    va_end(ap);
    utf8_clean(buf_text(&text), text.len, false, &line);
    fprintf(stderr, "sovrun: %s\n", buf_text(&line));
}

void cli_say_block(const char *title, const char *lines)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(SAID_BYTES_MAX);
    fprintf(stderr, "sovrun: %s:\n", title);
    while (*lines) {
        size_t n = strcspn(lines, "\n");
        buf_reset(&text);
        utf8_clean(lines, n, true, &text);
        fprintf(stderr, "    %s\n", buf_text(&text));
        lines += n + (lines[n] == '\n');
    }
}

int cli_main(int argc, char **argv)
{
    struct err e = ERR_INIT;
    CLEANUP(freep) char *home = default_home();
    struct cli c = {
        .home = from_environment("SOVRUN_HOME", home),
        .url = from_environment("SOVRUN_URL", NULL),
        .config = from_environment("SOVRUN_CONFIG", NULL),
    };

    log_init("sovrun", LOG_WARN);
    secret_harden_process();
    signal(SIGPIPE,
           SIG_IGN); /* a reader that leaves is an error of writing, and a peer that leaves is not our end */
    refusals_watch(&c);
    enum err_code code = dispatch(&c, argc, argv, &e);
    refusals_tell(&c);
    refusals_done(&c);
    if (code) {
        cli_say("%s", e.text);
        return (int)cli_exit_of(e.code);
    }
    if (fflush(stdout) != 0) {
        fprintf(stderr, "sovrun: standard output does not take what was written\n");
        return CLI_FAILED;
    }
    return (int)c.status;
}
