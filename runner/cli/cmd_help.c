/* help, version and completion: what is said from the table of commands alone. */
#include "runner/cli/cli.h"
#include "runner/cli/commands.h"
#include "runner/cli/help.h"
#include "runner/cli/print.h"

#include "core/api/api.h"

#include <string.h>

static bool is_in_group(const struct cmd *cmd, const char *group)
{
    size_t n = strlen(group);
    return strncmp(cmd->name, group, n) == 0 && cmd->name[n] == ' ';
}

enum err_code help_overview(FILE *out, const char *group, struct err *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(64 * 1024);

    buf_add_text(&text, "Usage: sovrun COMMAND [OPTION...]\n");
    if (!group)
        buf_add_text(&text, "Distributed training jobs on data that may not leave its region.\n");
    buf_add_byte(&text, '\n');
    for (size_t i = 0; cli_commands[i]; i++) {
        const struct cmd *cmd = cli_commands[i];
        char left[128];
        if (group && !is_in_group(cmd, group))
            continue;
        snprintf(left, sizeof(left), "%s %s", cmd->name, cmd->args);
        buf_addf(&text, "  %-30s %s\n", left, cmd->help);
    }
    if (!group) {
        buf_add_text(&text, "\nOptions of every command:\n");
        for (const struct opt *o = options_shared; o->name; o++)
            buf_addf(&text, "  --%s %-*s %s\n", o->name, (int)(27 - strlen(o->name)),
                     o->value ? o->value : "", o->help);
        buf_add_text(&text, "\n`sovrun help COMMAND` says more. Exit codes: 0 done, 1 failed, 2 bad usage or "
                            "spec, 3 denied, 4 try\n"
                            "again later, 5 the job itself failed, 6 not found.\n");
    }
    if (buf_check(&text, "help", e))
        return e->code;
    if (fwrite(text.data, 1, text.len, out) != text.len)
        return err_errno(e, "write help");
    return OK;
}

static enum err_code help_run(struct cli *c, const struct arguments *a, const void *settings, struct err *e)
{
    char name[128];
    (void)c;
    (void)settings;
    if (a->count == 0)
        return help_overview(stdout, NULL, e);
    snprintf(name, sizeof(name), "%s%s%s", a->list[0], a->count > 1 ? " " : "",
             a->count > 1 ? a->list[1] : "");
    const struct cmd *cmd = cli_find(name);
    if (cmd) {
        options_help(cmd);
        return OK;
    }
    for (size_t i = 0; cli_commands[i]; i++)
        if (is_in_group(cli_commands[i], name))
            return help_overview(stdout, name, e);
    return err_set(e, ERR_USAGE, "there is no command '%s'; `sovrun help` lists them", name);
}

const struct cmd cmd_help = {
    .name = "help",
    .args = "[COMMAND]",
    .args_max = 2,
    .help = "what a command does, and its options",
    .run = help_run,
};

static enum err_code version_run(struct cli *c, const struct arguments *a, const void *settings,
                                 struct err *e)
{
    (void)a;
    (void)settings;
    if (c->json) {
        CLEANUP(json_donep) json_t *doc = json_pack("{s:s,s:s}", "version", CLI_VERSION, "api", API_VERSION);
        return print_json(doc, e);
    }
    return print_line(e, "sovrun %s (API %s)", CLI_VERSION, API_VERSION);
}

const struct cmd cmd_version = {
    .name = "version",
    .args = "",
    .help = "which version this is",
    .run = version_run,
};

/* ---- completion ---- */

static void add_options(struct buf *out, const struct opt *options)
{
    for (const struct opt *o = options; o && o->name; o++) {
        buf_addf(out, " --%s", o->name);
        if (o->key)
            buf_addf(out, " -%c", o->key);
    }
}

/* First words, then what a group offers. */
static void add_words(struct buf *out, const char *group)
{
    char last[64] = "";
    for (size_t i = 0; cli_commands[i]; i++) {
        const char *name = cli_commands[i]->name;
        const char *word = group ? name + strlen(group) + 1 : name;
        if (group && !is_in_group(cli_commands[i], group))
            continue;
        size_t n = strcspn(word, " ");
        if (strncmp(last, word, n) == 0 && last[n] == '\0')
            continue;
        snprintf(last, sizeof(last), "%.*s", (int)n, word);
        buf_addf(out, " %s", last);
    }
}

static void add_groups(struct buf *out)
{
    char last[64] = "";
    for (size_t i = 0; cli_commands[i]; i++) {
        const char *name = cli_commands[i]->name;
        size_t n = strcspn(name, " ");
        if (name[n] == '\0' || (strncmp(last, name, n) == 0 && last[n] == '\0'))
            continue;
        snprintf(last, sizeof(last), "%.*s", (int)n, name);
        buf_addf(out, "    %s) words=\"", last);
        add_words(out, last);
        buf_add_text(out, "\" ;;\n");
    }
}

static enum err_code completion_run(struct cli *c, const struct arguments *a, const void *settings,
                                    struct err *e)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(256 * 1024);
    (void)c;
    (void)settings;
    if (a->count && strcmp(a->list[0], "bash") != 0)
        return err_set(e, ERR_USAGE, "completion is there for bash, not for '%s'", a->list[0]);
    buf_add_text(&out,
                 "# bash completion of sovrun: source <(sovrun completion)\n_sovrun()\n{\n"
                 "    local word=${COMP_WORDS[COMP_CWORD]} words='' options='' command=${COMP_WORDS[1]:-}\n"
                 "    if [ \"$COMP_CWORD\" = 1 ]; then\n        words=\"");
    add_words(&out, NULL);
    buf_add_text(&out, "\"\n    elif [ \"$COMP_CWORD\" = 2 ]; then\n    case $command in\n");
    add_groups(&out);
    buf_add_text(&out, "    esac\n    fi\n    case \"$command ${COMP_WORDS[2]:-}\" in\n");
    for (size_t i = 0; cli_commands[i]; i++) {
        buf_addf(&out, "    \"%s\"*) options=\"", cli_commands[i]->name);
        add_options(&out, cli_commands[i]->options);
        buf_add_text(&out, "\" ;;\n");
    }
    buf_add_text(&out, "    esac\n    options=\"$options");
    add_options(&out, options_shared);
    buf_add_text(
        &out,
        " --help\"\n    case $word in\n    -*) mapfile -t COMPREPLY < <(compgen -W \"$options\" -- "
        "\"$word\") ;;\n"
        "    *) if [ -n \"$words\" ]; then mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n"
        "       else mapfile -t COMPREPLY < <(compgen -f -- \"$word\"); fi ;;\n    esac\n}\n"
        "complete -o filenames -F _sovrun sovrun\n");
    return print_out(&out, e);
}

const struct cmd cmd_completion = {
    .name = "completion",
    .args = "[bash]",
    .args_max = 1,
    .help = "a completion script: source <(sovrun completion)",
    .run = completion_run,
};
