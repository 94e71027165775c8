#include "runner/cli/options.h"

#include "base/num.h"
#include "base/text.h"
#include "runner/cli/cli.h"

#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { LONG_KEYS = 1000, SHARED_KEYS = 2000, HELP_KEY = 3000, GROUP_SHARED = 1, NAME_BYTES = 64 };

const struct opt options_shared[] = {
    OPT_TEXT_ROW(cli, home, "home", 0, "DIR",
                 "folder of the cluster [SOVRUN_HOME, or ~/.local/state/sovrun]"),
    OPT_TEXT_ROW(
        cli, url, "url", 0, "URL",
        "where the scheduler is: unix:PATH or http://HOST:PORT [SOVRUN_URL, or by the configuration]"),
    OPT_TEXT_ROW(cli, config, "config", 0, "FILE",
                 "the cluster's configuration [SOVRUN_CONFIG, or sovrun.yaml in its home]"),
    OPT_FLAG_ROW(cli, json, "json", 0, "one JSON document on standard output, and nothing else there"),
    OPT_END,
};

struct parse {
    const struct cmd *cmd; /* NULL: the shared options alone, up to the first argument */
    struct cli *cli;
    void *settings;
    struct arguments arguments;
    int next; /* where the shared options ended */
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
            return err_set(e, ERR_USAGE,
                           "--%s must be a whole number from %" PRId64 " to %" PRId64 ", not '%s'", row->name,
                           row->min, row->max, value);
        memcpy(member, &number, sizeof(number));
        break;
    case OPT_LIST: {
        struct opt_list *list = (struct opt_list *)(void *)member;
        if (list->count == OPTION_LIST_MAX)
            return err_set(e, ERR_USAGE, "--%s may be given at most %d times", row->name, OPTION_LIST_MAX);
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
    IGNORE(err_set(p->e, ERR_USAGE, "'%s' is one argument too many; usage: sovrun %s %s", value, p->cmd->name,
                   p->cmd->args));
    return EINVAL;
}

static error_t on_option(int key, char *value, struct argp_state *state)
{
    struct parse *p = state->input;
    const struct opt *row;
    switch (key) {
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
        out[(*io_count)++] = (struct argp_option){ .name = rows[i].name,
                                                   .key = key_of(&rows[i], i, base),
                                                   .arg = rows[i].value,
                                                   .doc = rows[i].help,
                                                   .group = group };
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
    out[count] =
        (struct argp_option){ .name = "help", .key = 'h', .doc = "this text", .group = GROUP_SHARED };
}

/* ---- what argp did not understand ---- */

/* argp only says that something is wrong; a sentence needs to know what. So the words are gone through once
 * more. */
struct search {
    const struct argp_option *options;
    const char *command; /* "" or " submit" */
};

static const struct argp_option *find_long(const struct search *s, const char *name, size_t n,
                                           size_t *out_matches)
{
    const struct argp_option *found = NULL;
    *out_matches = 0;
    for (const struct argp_option *o = s->options; o->name; o++) {
        if (strncmp(o->name, name, n) != 0)
            continue;
        found = o;
        if (o->name[n] == '\0') {
            *out_matches = 1;
            return o;
        }
        ++*out_matches;
    }
    return found;
}

static enum err_code unknown_long(const struct search *s, const char *word, size_t n, struct err *e)
{
    const char *names[OPTIONS_MAX + 2], *near;
    char name[NAME_BYTES];
    size_t count = 0;
    for (const struct argp_option *o = s->options; o->name; o++)
        names[count++] = o->name;
    snprintf(name, sizeof(name), "%.*s", (int)MIN(n, sizeof(name) - 1), word);
    near = text_nearest(name, names, count);
    if (near)
        return err_set(e, ERR_USAGE, "there is no option '--%s'; did you mean '--%s'?", name, near);
    return err_set(e, ERR_USAGE, "there is no option '--%s'; `sovrun%s --help` lists them", name, s->command);
}

/* *io_i moves over a value that stands in a word of its own. */
static enum err_code check_long(const struct search *s, int argc, char **argv, int *io_i, struct err *e)
{
    const char *word = argv[*io_i] + 2;
    size_t n = strcspn(word, "="), matches;
    const struct argp_option *o = find_long(s, word, n, &matches);
    if (!o)
        return unknown_long(s, word, n, e);
    if (matches > 1)
        return err_set(e, ERR_USAGE, "'--%.*s' may be more than one option; write it out", (int)n, word);
    if (word[n] == '=')
        return o->arg ? OK : err_set(e, ERR_USAGE, "--%s takes no value", o->name);
    if (o->arg && ++*io_i == argc)
        return err_set(e, ERR_USAGE, "--%s needs a value: --%s=%s", o->name, o->name, o->arg);
    return OK;
}

static enum err_code check_short(const struct search *s, int argc, char **argv, int *io_i, struct err *e)
{
    for (const char *p = argv[*io_i] + 1; *p; p++) {
        const struct argp_option *o = s->options;
        while (o->name && o->key != *p)
            o++;
        if (!o->name)
            return err_set(e, ERR_USAGE, "there is no option '-%c'; `sovrun%s --help` lists them", *p,
                           s->command);
        if (!o->arg)
            continue;
        if (!p[1] && ++*io_i == argc)
            return err_set(e, ERR_USAGE, "-%c needs a value: -%c %s", *p, *p, o->arg);
        return OK;
    }
    return OK;
}

static enum err_code say_what_is_wrong(const struct search *s, int argc, char **argv, struct err *e)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (argv[i][0] != '-' || !argv[i][1])
            continue;
        if (argv[i][1] == '-' ? check_long(s, argc, argv, &i, e) : check_short(s, argc, argv, &i, e))
            return e->code;
    }
    return err_set(e, ERR_USAGE, "the options are not understood; `sovrun%s --help` lists them", s->command);
}

static enum err_code parse(struct parse *p, int argc, char **argv)
{
    struct argp_option options[OPTIONS_MAX + 2];
    struct argp argp = { .options = options, .parser = on_option };
    char command[NAME_BYTES];

    make_options(p->cmd, options);
    if (argp_parse(&argp, argc, argv, ARGP_NO_HELP | ARGP_NO_EXIT | ARGP_NO_ERRS | ARGP_IN_ORDER, NULL, p) ==
        0)
        return OK;
    if (p->e->code)
        return p->e->code;
    snprintf(command, sizeof(command), "%s%s", p->cmd ? " " : "", p->cmd ? p->cmd->name : "");
    const struct search s = { .options = options, .command = command };
    return say_what_is_wrong(&s, argc, argv, p->e);
}

enum err_code options_parse(const struct cmd *cmd, int argc, char **argv, struct cli *c, void *settings,
                            struct arguments *out, bool *out_help, struct err *e)
{
    struct parse p = { .cmd = cmd, .cli = c, .settings = settings, .e = e };
    if (parse(&p, argc, argv))
        return e->code;
    *out_help = p.help;
    if (!p.help && p.arguments.count < cmd->args_min)
        return err_set(e, ERR_USAGE, "%s is missing; usage: sovrun %s %s",
                       p.arguments.count ? "an argument" : cmd->args, cmd->name, cmd->args);
    *out = p.arguments;
    return OK;
}

enum err_code options_parse_shared(int argc, char **argv, struct cli *c, int *out_next, bool *out_help,
                                   struct err *e)
{
    struct parse p = { .cli = c, .e = e, .next = argc };
    if (parse(&p, argc, argv))
        return e->code;
    *out_next = p.next;
    *out_help = p.help;
    return OK;
}

static char *filter_help(int key, const char *text, void *input)
{
    (void)input;
    return key == ARGP_KEY_HELP_DUP_ARGS_NOTE ? NULL : (char *)text;
}

void options_help(const struct cmd *cmd)
{
    struct argp_option options[OPTIONS_MAX + 2];
    char invocation[NAME_BYTES], doc[2048];
    make_options(cmd, options);
    snprintf(invocation, sizeof(invocation), "sovrun %s", cmd->name);
    snprintf(doc, sizeof(doc), "%s%s%s\v", cmd->help, cmd->more ? "\n\n" : "", cmd->more ? cmd->more : "");
    struct argp argp = {
        .options = options, .parser = on_option, .args_doc = cmd->args, .doc = doc, .help_filter = filter_help
    };
    argp_help(&argp, stdout, ARGP_HELP_SHORT_USAGE | ARGP_HELP_LONG | ARGP_HELP_PRE_DOC, invocation);
}
