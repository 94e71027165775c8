#include "runner/cli/options.h"

#include "base/num.h"
#include "runner/cli/cli.h"

#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { LONG_KEYS = 1000, SHARED_KEYS = 2000, HELP_KEY = 3000, GROUP_SHARED = 1, NAME_BYTES = 64 };

const struct opt options_shared[] = {
    OPT_TEXT_ROW(cli, home, "home", 0, "DIR", "folder of the cluster [SOVRUN_HOME, or ~/.local/state/sovrun]"),
    OPT_TEXT_ROW(cli, url, "url", 0, "URL", "where the scheduler is: unix:PATH or http://HOST:PORT [SOVRUN_URL, or by the configuration]"),
    OPT_TEXT_ROW(cli, config, "config", 0, "FILE", "the cluster's configuration [SOVRUN_CONFIG, or sovrun.yaml in its home]"),
    OPT_FLAG_ROW(cli, json, "json", 0, "one JSON document on standard output, and nothing else there"),
    OPT_END,
};

struct parse {
    const struct cmd *cmd; /* NULL: the shared options alone, up to the first argument */
    struct cli *cli;
    void *settings;
    struct arguments arguments;
    char invocation[NAME_BYTES]; /* "sovrun model get" */
    int next;                    /* where the shared options ended */
    bool help;
    struct err *e;
};

static int key_of(const struct opt *row, size_t index, int base)
{
    return row->key ? row->key : base + (int)index;
}

static enum err_code take_value(const struct opt *row, void *settings, const char *value, struct err *e)
{
    uint8_t *member = (uint8_t *)settings + row->offset;
    int64_t number;
    switch (row->kind) {
    case OPT_FLAG:
        memcpy(member, &(bool){ true }, sizeof(bool));
        break;
    case OPT_TEXT:
        memcpy(member, &value, sizeof(value));
        break;
    case OPT_INT:
        if (parse_i64(value, &number, e) || number < row->min || number > row->max)
            return err_set(e, ERR_USAGE, "--%s must be a whole number from %" PRId64 " to %" PRId64 ", not '%s'", row->name,
                           row->min, row->max, value);
        memcpy(member, &number, sizeof(number));
        break;
    case OPT_LIST: {
        struct opt_list *list = (struct opt_list *)(void *)member;
        if (list->count == OPTION_LIST_MAX)
            return err_set(e, ERR_LIMIT, "--%s may be given at most %d times", row->name, OPTION_LIST_MAX);
        list->items[list->count++] = value;
        break;
    }
    }
    return OK;
}

static const struct opt *find_row(const struct opt *rows, int base, int key)
{
    for (size_t i = 0; rows && rows[i].name; i++)
        if (key_of(&rows[i], i, base) == key)
            return &rows[i];
    return NULL;
}

/* A first word that is no option ends the shared options. */
static void stop_here(struct parse *p, struct argp_state *state)
{
    p->next = state->next - 1;
    state->next = state->argc;
}

static error_t take_argument(struct parse *p, struct argp_state *state, char *value)
{
    struct arguments *a = &p->arguments;
    if (!p->cmd) {
        stop_here(p, state);
        return 0;
    }
    if (a->count < MIN(p->cmd->args_max, (size_t)ARGUMENTS_MAX)) {
        a->list[a->count++] = value;
        return 0;
    }
    IGNORE(err_set(p->e, ERR_USAGE, "'%s' is one argument too many; usage: %s %s", value, p->invocation, p->cmd->args));
    return EINVAL;
}

static error_t on_option(int key, char *value, struct argp_state *state)
{
    struct parse *p = state->input;
    const struct opt *row;
    switch (key) {
    case ARGP_KEY_INIT:
        state->name = p->invocation; /* for "Try `sovrun submit --help'" */
        return 0;
    case ARGP_KEY_ARG:
        return take_argument(p, state, value);
    case HELP_KEY:
    case 'h':
        p->help = true;
        return 0;
    default:
        break;
    }
    if ((row = find_row(options_shared, SHARED_KEYS, key)))
        return take_value(row, p->cli, value, p->e) ? EINVAL : 0;
    if (p->cmd && (row = find_row(p->cmd->options, LONG_KEYS, key)))
        return take_value(row, p->settings, value, p->e) ? EINVAL : 0;
    return ARGP_ERR_UNKNOWN;
}

static void add_rows(const struct opt *rows, int base, int group, struct argp_option *out, size_t *io_count)
{
    for (size_t i = 0; rows && rows[i].name; i++) {
        invariant(*io_count < OPTIONS_MAX);
        out[(*io_count)++] = (struct argp_option){
            .name = rows[i].name, .key = key_of(&rows[i], i, base), .arg = rows[i].value, .doc = rows[i].help, .group = group
        };
    }
}

/* `out` ends with zeros. */
static void make_options(const struct cmd *cmd, struct argp_option out[OPTIONS_MAX + 2])
{
    size_t count = 0;
    memset(out, 0, sizeof(*out) * (OPTIONS_MAX + 2));
    if (cmd)
        add_rows(cmd->options, LONG_KEYS, 0, out, &count);
    add_rows(options_shared, SHARED_KEYS, GROUP_SHARED, out, &count);
    out[count] = (struct argp_option){
        .name = "help", .key = 'h', .doc = "this text", .group = GROUP_SHARED
    };
}

static void name_invocation(const struct cmd *cmd, char out[NAME_BYTES])
{
    snprintf(out, NAME_BYTES, "sovrun%s%s", cmd ? " " : "", cmd ? cmd->name : "");
}

static enum err_code parse(struct parse *p, int argc, char **argv)
{
    struct argp_option options[OPTIONS_MAX + 2];
    struct argp argp = { .options = options, .parser = on_option };
    char *const own = argv[0], name[] = "sovrun";

    make_options(p->cmd, options);
    name_invocation(p->cmd, p->invocation);
    argv[0] = (char *)name; /* getopt's messages start with it */
    error_t failed = argp_parse(&argp, argc, argv, ARGP_NO_HELP | ARGP_NO_EXIT | ARGP_IN_ORDER, NULL, p);
    argv[0] = own;
    if (!failed)
        return OK;
    if (p->e->code == OK) {
        p->e->code = ERR_USAGE; /* argp has said what and how to get help */
        p->e->text[0] = '\0';
    }
    return p->e->code;
}

enum err_code options_parse(const struct cmd *cmd, int argc, char **argv, struct cli *c, void *settings, struct arguments *out,
                            bool *out_help, struct err *e)
{
    struct parse p = { .cmd = cmd, .cli = c, .settings = settings, .e = e };
    if (parse(&p, argc, argv))
        return e->code;
    *out_help = p.help;
    if (!p.help && p.arguments.count < cmd->args_min)
        return err_set(e, ERR_USAGE, "%s is missing; usage: %s %s", p.arguments.count ? "an argument" : cmd->args,
                       p.invocation, cmd->args);
    *out = p.arguments;
    return OK;
}

enum err_code options_parse_shared(int argc, char **argv, struct cli *c, int *out_next, bool *out_help, struct err *e)
{
    struct parse p = { .cli = c, .e = e, .next = argc };
    if (parse(&p, argc, argv))
        return e->code;
    *out_next = p.next;
    *out_help = p.help;
    return OK;
}

void options_help(const struct cmd *cmd)
{
    struct argp_option options[OPTIONS_MAX + 2];
    char invocation[NAME_BYTES];
    char doc[2048];
    make_options(cmd, options);
    name_invocation(cmd, invocation);
    snprintf(doc, sizeof(doc), "%s%s%s\v", cmd->help, cmd->more ? "\n\n" : "", cmd->more ? cmd->more : "");
    struct argp argp = { .options = options, .parser = on_option, .args_doc = cmd->args, .doc = doc };
    argp_help(&argp, stdout, ARGP_HELP_SHORT_USAGE | ARGP_HELP_LONG | ARGP_HELP_PRE_DOC, invocation);
}
