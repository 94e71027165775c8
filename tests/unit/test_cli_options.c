/* Words on the command line: what they mean, and how a slip is answered. And the exit codes. */
#include "base/mem.h"
#include "runner/cli/cli.h"
#include "runner/cli/config_kind.h"
#include "tests/test.h"

#include <string.h>

struct settings {
    bool follow;
    int64_t count;
    const char *name;
    struct opt_list sets;
};
static const struct opt rows[] = {
    OPT_FLAG_ROW(settings, follow, "follow", 'f', "stay"),
    OPT_INT_ROW(settings, count, "count", 'n', "N", 1, 100, "so many"),
    OPT_TEXT_ROW(settings, name, "name", 0, "NAME", "a name"),
    OPT_LIST_ROW(settings, sets, "set", 's', "KEY=VALUE", "a setting"),
    OPT_END,
};
static const struct cmd cmd = {
    .name = "try",
    .args = "A [B]",
    .args_min = 1,
    .args_max = 2,
    .options = rows,
    .settings_bytes = sizeof(struct settings),
};

enum { WORDS_MAX = 12 };

/* What is left of a parse, in one line. */
static enum err_code parse(const char *const *words, struct buf *out, struct err *e)
{
    char *argv[WORDS_MAX + 2] = { (char *)"try" };
    int argc = 1;
    struct cli c = { .home = "H" };
    struct settings s = { .count = 5 };
    struct arguments a = { .count = 0 };
    bool help = false;

    for (; words[argc - 1]; argc++)
        argv[argc] = (char *)words[argc - 1];
    if (options_parse(&cmd, argc, argv, &c, &s, &a, &help, e))
        return e->code;
    buf_addf(out, "%s%s n=%d %s", help ? "help " : "", s.follow ? "f" : "-", (int)s.count,
             s.name ? s.name : "-");
    for (size_t i = 0; i < s.sets.count; i++)
        buf_addf(out, " set:%s", s.sets.items[i]);
    for (size_t i = 0; i < a.count; i++)
        buf_addf(out, " %s", a.list[i]);
    buf_addf(out, " home=%s%s", c.home, c.json ? " json" : "");
    return OK;
}

static const struct good {
    const char *name;
    const char *words[WORDS_MAX];
    const char *want;
} good[] = {
    { "an argument alone leaves the defaults", { "a" }, "- n=5 - a home=H" },
    { "options may stand behind the arguments", { "a", "-f", "b", "--name=x" }, "f n=5 x a b home=H" },
    { "a value may stand in a word of its own", { "--count", "7", "-n8", "a" }, "- n=8 - a home=H" },
    { "a list keeps its order",
      { "--set=a=1", "-s", "b=2", "-sc=3", "a" },
      "- n=5 - set:a=1 set:b=2 set:c=3 a home=H" },
    { "shared options stand anywhere", { "a", "--json", "--home", "/x" }, "- n=5 - a home=/x json" },
    { "an option may be cut short while it is clear", { "--fol", "a" }, "f n=5 - a home=H" },
    { "behind -- all is an argument", { "--", "-f" }, "- n=5 - -f home=H" },
    { "a single - is an argument", { "-" }, "- n=5 - - home=H" },
    { "help needs no argument", { "--help" }, "help - n=5 - home=H" },
    { "-h is help too", { "-h", "a" }, "help - n=5 - a home=H" },
};

static const struct bad {
    const char *name;
    const char *words[WORDS_MAX];
    const char *want;
} bad[] = {
    { "a missing argument is named", { NULL }, "A [B] is missing; usage: sovrun try A [B]" },
    { "one argument too many is named",
      { "a", "b", "c" },
      "'c' is one argument too many; usage: sovrun try A [B]" },
    { "the nearest option is offered",
      { "--folow", "a" },
      "there is no option '--folow'; did you mean '--follow'?" },
    { "what is near to nothing points to help",
      { "--zzzzzz", "a" },
      "there is no option '--zzzzzz'; `sovrun try --help` lists them" },
    { "an unknown letter points to help",
      { "-fz", "a" },
      "there is no option '-z'; `sovrun try --help` lists them" },
    { "a cut option that could be several is refused",
      { "--h", "a" },
      "'--h' may be more than one option; write it out" },
    { "a flag takes no value", { "--follow=1", "a" }, "--follow takes no value" },
    { "a value must be there", { "a", "--name" }, "--name needs a value: --name=NAME" },
    { "also of a letter", { "a", "-n" }, "-n needs a value: -n N" },
    { "a number must be one",
      { "a", "-n", "many" },
      "--count must be a whole number from 1 to 100, not 'many'" },
    { "a number must be in range",
      { "a", "--count=101" },
      "--count must be a whole number from 1 to 100, not '101'" },
};

static void words_are_understood(void **state)
{
    const struct good *row = *state;
    CLEANUP(buf_done) struct buf out = BUF_INIT(4096);
    struct err e = ERR_INIT;
    assert_ok(parse(row->words, &out, &e));
    assert_string_equal(buf_text(&out), row->want);
}

static void words_are_refused(void **state)
{
    const struct bad *row = *state;
    CLEANUP(buf_done) struct buf out = BUF_INIT(4096);
    struct err e = ERR_INIT;
    assert_int_equal(parse(row->words, &out, &e), ERR_USAGE);
    assert_string_equal(e.text, row->want);
}

static void shared_options_stop_at_the_command(void **state)
{
    char *argv[] = {
        (char *)"sovrun", (char *)"--home", (char *)"/x", (char *)"list", (char *)"--json", NULL
    };
    struct cli c = { .home = "H" };
    struct err e = ERR_INIT;
    int next = 0;
    bool help = false;
    (void)state;
    assert_ok(options_parse_shared(5, argv, &c, &next, &help, &e));
    assert_string_equal(c.home, "/x");
    assert_int_equal(next, 3);
    assert_false(c.json);
    assert_ok(options_parse_shared(3, argv, &c, &next, &help, &e));
    assert_int_equal(next, 3); /* no command */
}

/* ---- the table of commands ---- */

static void every_command_is_complete(void **state)
{
    (void)state;
    for (size_t i = 0; cli_commands[i]; i++) {
        const struct cmd *k = cli_commands[i];
        assert_true(k->name && k->args && k->help && k->run);
        assert_true(k->args_min <= k->args_max);
        assert_ptr_equal(cli_find(k->name), k);
        for (const struct opt *o = k->options; o && o->name; o++) {
            assert_true(o->help && (o->value != NULL) == (o->kind != OPT_FLAG));
            assert_true(o->offset < k->settings_bytes);
            assert_true(o->key != 'h');
            for (const struct opt *other = options_shared; other->name; other++)
                assert_string_not_equal(o->name, other->name);
        }
    }
    assert_null(cli_find("lst"));
}

static void exit_codes_are_the_contract(void **state)
{
    static const struct {
        enum err_code code;
        int want;
    } table[] = {
        { OK, 0 },         { ERR_USAGE, 2 },  { ERR_NOT_FOUND, 6 }, { ERR_CONFLICT, 1 },
        { ERR_DENIED, 3 }, { ERR_LIMIT, 1 },  { ERR_RETRY, 4 },     { ERR_CORRUPT, 1 },
        { ERR_IO, 1 },     { ERR_DEVICE, 1 }, { ERR_CANCELED, 1 },
    };
    (void)state;
    assert_int_equal(ARRAY_LEN(table), ERR_CODE_COUNT);
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        assert_int_equal(cli_exit_of(table[i].code), table[i].want);
    assert_int_equal(CLI_JOB_FAILED, 5);
}

/* ---- which kind of file ---- */

static const struct kind_row {
    const char *name, *text;
    enum err_code want;
    enum config_kind kind;
} kind_rows[] = {
    { "a job is told by its settings", "name: a\ndata: {}\ncheckpoint: {}\n", OK, CONFIG_JOB },
    { "a job with one setting too", "{ model: { kind: mlp } }", OK, CONFIG_JOB },
    { "a cluster is told by its settings", "name: a\nregion: b\nstores: []\n", OK, CONFIG_CLUSTER },
    { "a policy is told by its settings", "version: 1\nregions: []\nlocks: {}\n", OK, CONFIG_POLICY },
    { "a name alone tells nothing", "name: a\n", ERR_USAGE, CONFIG_JOB },
    { "as much of one as of another tells nothing", "model: {}\nstores: []\n", ERR_USAGE, CONFIG_JOB },
};

static void kind_is_told(void **state)
{
    const struct kind_row *row = *state;
    CLEANUP(conf_freep) struct conf_doc *doc = NULL;
    enum config_kind kind = CONFIG_JOB;
    struct err e = ERR_INIT;
    assert_ok(conf_parse("f.yaml", row->text, strlen(row->text), &doc, &e));
    assert_int_equal(config_kind_of(doc, "f.yaml", &kind, &e), row->want);
    if (row->want == OK)
        assert_int_equal(kind, row->kind);
    else
        assert_non_null(strstr(e.text, "--kind"));
}

int main(void)
{
    static struct CMUnitTest tests[ARRAY_LEN(good) + ARRAY_LEN(bad) + ARRAY_LEN(kind_rows) + 3];
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        tests[n++] = (struct CMUnitTest){ good[i].name, words_are_understood, NULL, NULL, (void *)&good[i] };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        tests[n++] = (struct CMUnitTest){ bad[i].name, words_are_refused, NULL, NULL, (void *)&bad[i] };
    for (size_t i = 0; i < ARRAY_LEN(kind_rows); i++)
        tests[n++] =
            (struct CMUnitTest){ kind_rows[i].name, kind_is_told, NULL, NULL, (void *)&kind_rows[i] };
    const struct CMUnitTest others[] = {
        cmocka_unit_test(shared_options_stop_at_the_command),
        cmocka_unit_test(every_command_is_complete),
        cmocka_unit_test(exit_codes_are_the_contract),
    };
    memcpy(tests + n, others, sizeof(others));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
