#include "tests/test.h"

#include "base/def.h"
#include "base/mem.h"
#include "core/conf/conf.h"
#include "tests/conf_sample.h"

/* One text, and the error it gets; or no error, and what the struct then holds as JSON has this in it. */
struct row {
    const char *name;
    const char *text;
    const char *want;
    bool fails;
    const char *set; /* an assignment to make before */
};

#define DATA "data: {train: x}\n"
#define TAKES(name_, text_, json_)                                                                           \
    {                                                                                                        \
        .name = name_, .text = text_, .want = json_                                                          \
    }
#define REFUSES(name_, text_, error_)                                                                        \
    {                                                                                                        \
        .name = name_, .text = text_, .want = error_, .fails = true                                          \
    }
#define SETS(name_, text_, set_, json_)                                                                      \
    {                                                                                                        \
        .name = name_, .text = text_, .want = json_, .set = set_                                             \
    }
#define SETS_NOT(name_, text_, set_, error_)                                                                 \
    {                                                                                                        \
        .name = name_, .text = text_, .want = error_, .fails = true, .set = set_                             \
    }

#define DEEP16 "[[[[[[[[[[[[[[[x]]]]]]]]]]]]]]]" /* 15 lists, in a map */
#define A16 "aaaaaaaaaaaaaaaa"

static const struct row rows[] = {
    /* values by the field's kind */
    TAKES("a number may have an exponent without a point", "train: {lr: 3e-3}\n" DATA, "\"lr\":0.003"),
    TAKES("a number may be whole", "train: {lr: 1}\n" DATA, "\"lr\":1.0"),
    TAKES("a whole number is one", "train: {epochs: 40}\n" DATA, "\"epochs\":40"),
    TAKES("a boolean is true or false", "train: {shuffle: false}\n" DATA, "\"shuffle\":false"),
    TAKES("text that looks like a number stays text", "note: 007\n" DATA, "\"note\":\"007\""),
    TAKES("text that looks like a boolean stays text", "note: yes\n" DATA, "\"note\":\"yes\""),
    TAKES("text may be quoted", "note: 'a: b'\n" DATA, "\"note\":\"a: b\""),
    TAKES("text may be empty in quotes", "note: \"\"\n" DATA, "\"note\":\"\""),
    TAKES("the word null in quotes is text", "note: 'null'\n" DATA, "\"note\":\"null\""),
    TAKES("text may span lines", "note: |\n  one\n  two\n" DATA, "\"note\":\"one\\ntwo\\n\""),
    TAKES("text may be of another alphabet", "note: Größe ✓\n" DATA, "\"note\":\"Größe ✓\""),
    TAKES("a name is a name", "name: credit-risk.2\n" DATA, "\"name\":\"credit-risk.2\""),
    TAKES("a duration has a unit", "time_limit: 90s\n" DATA, "\"time_limit\":\"90s\""),
    TAKES("a duration prints in its largest whole unit", "time_limit: 120m\n" DATA, "\"time_limit\":\"2h\""),
    TAKES("a size has a unit", "memory: 64MiB\n" DATA, "\"memory\":\"64MiB\""),
    TAKES("a size may count bytes", "memory: 2000001\n" DATA, "\"memory\":\"2000001\""),
    TAKES("a size may be quoted, as JSON does", "memory: \"1GiB\"\n" DATA, "\"memory\":\"1GiB\""),
    TAKES("a choice is one of its words", "train: {schedule: linear}\n" DATA, "\"schedule\":\"linear\""),
    TAKES("a setting may have a form of its own", "train: {every: 200 steps}\n" DATA,
          "\"every\":\"200 steps\""),
    TAKES("a list of numbers", "hidden: [8, 4, 2]\n" DATA, "\"hidden\":[8,4,2]"),
    TAKES("a list may be written line by line", "hidden:\n  - 8\n  - 4\n" DATA, "\"hidden\":[8,4]"),
    TAKES("a list may be empty", "hidden: []\n" DATA, "\"hidden\":[]"),
    TAKES("a list of texts holds marks and nothing", "data: {train: x, missing: [\"?\", \"\"]}\n",
          "\"missing\":[\"?\",\"\"]"),
    TAKES("a list of sections", "users: [{name: ann, role: admin}, {name: bob}]\n" DATA,
          "\"users\":[{\"name\":\"ann\",\"role\":\"admin\",\"share\":1.0},{\"name\":\"bob\",\"role\":"
          "\"viewer\""),
    TAKES("a section may have a short form", "ranks: 4\n" DATA, "\"ranks\":{\"max\":4,\"min\":4}"),
    TAKES("and its long form", "ranks: {max: 8}\n" DATA, "\"ranks\":{\"max\":8,\"min\":1}"),
    TAKES("an empty section is its defaults", "train: {}\n" DATA, "\"epochs\":10"),

    /* defaults */
    TAKES("what is absent has its default", DATA, "\"time_limit\":\"2h\""),
    TAKES("an absent section has its defaults", DATA, "\"lr\":0.003"),
    TAKES("an absent section has its choices' defaults", DATA, "\"schedule\":\"cosine\""),
    TAKES("an absent list has its default", DATA, "\"hidden\":[64,32]"),
    TAKES("an absent list without default is empty", DATA, "\"users\":[]"),

    /* JSON */
    TAKES("JSON is read as it is", "{\"data\":{\"train\":\"s3://b/k\"},\"train\":{\"lr\":0.5,\"epochs\":3}}",
          "\"epochs\":3,\"lr\":0.5"),
    TAKES("JSON over lines",
          "{\n  \"data\": {\n    \"train\": \"x\"\n  },\n  \"hidden\": [\n    1,\n    2\n  ]\n}\n",
          "\"hidden\":[1,2]"),
    TAKES("JSON escapes", "{\"note\":\"a\\u0041\\n\\\"\\/\",\"data\":{\"train\":\"x\"}}",
          "\"note\":\"aA\\n\\\"/\""),

    /* wrong types */
    REFUSES("a quoted number is no number", "train: {lr: '1'}\n" DATA,
            "f.yaml:1: train.lr: must be a number from 0 to 1, not the quoted text '1'"),
    REFUSES("a quoted whole number is none", "train:\n  epochs: \"3\"\n" DATA,
            "f.yaml:2: train.epochs: must be a whole number from 1 to 1000, not the quoted text '3'"),
    REFUSES("a word is no number", "train: {lr: fast}\n" DATA,
            "f.yaml:1: train.lr: must be a number from 0 to 1, not 'fast'"),
    REFUSES("infinity is no number", "train: {lr: .inf}\n" DATA,
            "f.yaml:1: train.lr: must be a number from 0 to 1, not '.inf'"),
    REFUSES("a fraction is no whole number", "train: {epochs: 1.5}\n" DATA,
            "f.yaml:1: train.epochs: must be a whole number from 1 to 1000, not '1.5'"),
    REFUSES("hexadecimal is no whole number", "train: {epochs: 0x10}\n" DATA,
            "f.yaml:1: train.epochs: must be a whole number from 1 to 1000, not '0x10'"),
    REFUSES("a number beyond 64 bits is refused", "train: {epochs: 99999999999999999999}\n" DATA,
            "f.yaml:1: train.epochs: must be a whole number from 1 to 1000, not '99999999999999999999'"),
    REFUSES("yes is no boolean", "train: {shuffle: yes}\n" DATA,
            "f.yaml:1: train.shuffle: must be true or false, not 'yes'"),
    REFUSES("a quoted boolean is none", "train: {shuffle: \"true\"}\n" DATA,
            "f.yaml:1: train.shuffle: must be true or false, not the quoted text 'true'"),
    REFUSES("a duration needs its unit", "time_limit: 30\n" DATA,
            "f.yaml:1: time_limit: must be a duration from 1s to 30d, not '30'"),
    REFUSES("a size has known units", "memory: 4 parsecs\n" DATA,
            "f.yaml:1: memory: must be a size from 1MiB to 1TiB, not '4 parsecs'"),
    REFUSES(
        "a name has no capitals", "name: Job\n" DATA,
        "f.yaml:1: name: must be a name of at most 15 of a-z 0-9 - _ . that starts with a letter or a digit, "
        "not 'Job'"),
    REFUSES("a name is not empty", "name: ''\n" DATA,
            "f.yaml:1: name: must be a name of at most 15 of a-z 0-9 - _ . that starts with a letter or a "
            "digit, not ''"),
    REFUSES("a choice is none of others", "train: {schedule: square}\n" DATA,
            "f.yaml:1: train.schedule: must be constant, cosine or linear, not 'square'"),
    REFUSES(
        "a mistyped choice names the nearest", "train: {schedule: cosin}\n" DATA,
        "f.yaml:1: train.schedule: must be constant, cosine or linear, not 'cosin'; did you mean 'cosine'?"),
    REFUSES("a form of its own says its own error", "train:\n  every: often\n" DATA,
            "f.yaml:2: train.every: must be such as '200 steps' or '5 epochs'"),
    REFUSES("the short form of a section says its own error", "ranks: many\n" DATA,
            "f.yaml:1: ranks: must be a number from 1 to 64 or {min: 1, max: 8}"),
    REFUSES("a number is no list", "train: {lr: [1]}\n" DATA,
            "f.yaml:1: train.lr: must be a number from 0 to 1, not a list"),
    REFUSES("a text is no section", "note: {a: b}\n" DATA,
            "f.yaml:1: note: must be a text of at most 31 bytes, not a section"),
    REFUSES("a section is no text", "train: fast\n" DATA,
            "f.yaml:1: train: must be a section of settings, not 'fast'"),
    REFUSES("a section is no list", "train: []\n" DATA,
            "f.yaml:1: train: must be a section of settings, not a list"),
    REFUSES("a short form is no list", "ranks: [1]\n" DATA,
            "f.yaml:1: ranks: must be a section of settings, not a list"),
    REFUSES("a list is no text", "hidden: 64\n" DATA, "f.yaml:1: hidden: must be a list, not '64'"),
    REFUSES("a list is no section", "hidden: {a: 1}\n" DATA,
            "f.yaml:1: hidden: must be a list, not a section"),
    REFUSES("an entry has its kind", "hidden:\n- 1\n- x\n" DATA,
            "f.yaml:3: hidden[1]: must be a whole number from 1 to 4096, not 'x'"),
    REFUSES("an entry is a section where sections are listed", "users: [ann]\n" DATA,
            "f.yaml:1: users[0]: must be a section of settings, not 'ann'"),

    /* ranges */
    REFUSES("a number above its range", "train: {lr: 3}\n" DATA,
            "f.yaml:1: train.lr: must be from 0 to 1, not '3'"),
    REFUSES("a number below its range", "train: {lr: -0.1}\n" DATA,
            "f.yaml:1: train.lr: must be from 0 to 1, not '-0.1'"),
    TAKES("the ends belong to the range", "train: {lr: 1, epochs: 1000}\n" DATA,
          "\"epochs\":1000,\"lr\":1.0"),
    REFUSES("a whole number below its range", "train: {epochs: 0}\n" DATA,
            "f.yaml:1: train.epochs: must be from 1 to 1000, not '0'"),
    REFUSES("a duration above its range", "time_limit: 31d\n" DATA,
            "f.yaml:1: time_limit: must be from 1s to 30d, not '31d'"),
    REFUSES("a size below its range", "memory: 1KiB\n" DATA,
            "f.yaml:1: memory: must be from 1MiB to 1TiB, not '1KiB'"),
    REFUSES("a text too long", "note: " A16 A16 "\n" DATA,
            "f.yaml:1: note: must be at most 31 bytes long, not 32"),
    TAKES("a text just short enough", "name: aaaaaaaaaaaaaaa\n" DATA, "\"name\":\"aaaaaaaaaaaaaaa\""),
    REFUSES("a text that must not be empty", "data:\n  train: \"\"\n",
            "f.yaml:2: data.train: must not be empty"),
    REFUSES("a list too long", "hidden: [1, 2, 3, 4, 5]\n" DATA,
            "f.yaml:1: hidden: must have at most 4 entries, not 5"),
    REFUSES("a range inside a listed section", "users:\n- name: a\n- name: b\n  share: 101\n" DATA,
            "f.yaml:4: users[1].share: must be from 0 to 100, not '101'"),

    /* absent and empty */
    REFUSES("a required setting must be given", "name: a\ndata:\n  format: csv\n",
            "f.yaml:2: data.train: must be given"),
    REFUSES("even if its section is absent", "name: a\n", "f.yaml: data.train: must be given"),
    REFUSES("even if the file is empty", "", "f.yaml: data.train: must be given"),
    REFUSES("even if the file is but a comment", "# nothing\n---\n", "f.yaml: data.train: must be given"),
    REFUSES("in each listed section", "users:\n- name: a\n- role: admin\n" DATA,
            "f.yaml:3: users[1].name: must be given"),
    REFUSES("a value may not be absent", "note:\nname: a\n" DATA, "f.yaml:1: note: has no value"),
    REFUSES("a value may not be ~", "note: ~\n" DATA, "f.yaml:1: note: has no value"),
    REFUSES("a value may not be null", "{\"train\": {\"lr\": null}, \"data\": {\"train\": \"x\"}}",
            "f.yaml:1: train.lr: has no value"),
    REFUSES("a section may not be empty of value", "train:\n" DATA, "f.yaml:1: train: has no value"),
    REFUSES("a list may not be empty of value", "hidden: NULL\n" DATA, "f.yaml:1: hidden: has no value"),
    REFUSES("an entry may not be empty of value", "data: {train: x, missing: [a, ~]}\n",
            "f.yaml:1: data.missing[1]: has no value"),

    /* names */
    REFUSES("a mistyped name names the nearest", "train:\n  epohcs: 3\n" DATA,
            "f.yaml:2: train.epohcs: no such setting; did you mean 'epochs'?"),
    REFUSES("a strange name lists those there are", "train:\n  zzzzzzzz: 3\n" DATA,
            "f.yaml:2: train.zzzzzzzz: no such setting; there are epochs, lr, schedule, shuffle, every"),
    REFUSES("names do not ignore case", "Name: a\n" DATA,
            "f.yaml:1: Name: no such setting; did you mean 'name'?"),
    REFUSES("a name from another section is unknown", "lr: 1\n" DATA,
            "f.yaml:1: lr: no such setting; there are name, note, time_limit, memory, train, data, ranks, "
            "hidden, users"),
    REFUSES("a name given twice", "name: a\nnote: b\nname: c\n" DATA,
            "f.yaml:3: name: is set twice, first on line 1"),
    REFUSES("a name given twice in a section", "train:\n  lr: 1\n  lr: 1\n" DATA,
            "f.yaml:3: train.lr: is set twice, first on line 2"),
    REFUSES("a name given twice by quotes", "{\"name\": a, name: b}",
            "f.yaml:1: name: is set twice, first on line 1"),
    REFUSES("a merge is an unknown name", "train:\n  <<: {lr: 1}\n" DATA,
            "f.yaml:2: train.<<: no such setting; there are epochs, lr, schedule, shuffle, every"),
    REFUSES("an empty name", "'': 1\n", "f.yaml:1: the name of a setting is empty"),
    REFUSES("a name that is a list", "[a]: 1\n",
            "f.yaml:1: the name of a setting must be text, not a list or a section"),
    REFUSES("a name that is a section", "train: {{a: b}: 1}\n",
            "f.yaml:1: train: the name of a setting must be text, not a list or a section"),

    /* what YAML has and we do not */
    REFUSES("anchors", "train: &a {lr: 1}\n" DATA, "f.yaml:1: train: anchors (&name) are not allowed"),
    REFUSES("anchors on scalars", "note: &a b\n" DATA, "f.yaml:1: note: anchors (&name) are not allowed"),
    REFUSES("anchors on lists", "hidden: &a [1]\n" DATA, "f.yaml:1: hidden: anchors (&name) are not allowed"),
    REFUSES("anchors on names", "&a note: b\n" DATA, "f.yaml:1: anchors (&name) are not allowed"),
    REFUSES("aliases", "note: *a\n" DATA,
            "f.yaml:1: note: aliases (*name) are not allowed; write the value again"),
    REFUSES("aliases as names", "*a : b\n" DATA,
            "f.yaml:1: aliases (*name) are not allowed; write the value again"),
    REFUSES("tags", "note: !!str 5\n" DATA, "f.yaml:1: note: tags (!name) are not allowed"),
    REFUSES("tags on sections", "train: !x {lr: 1}\n" DATA, "f.yaml:1: train: tags (!name) are not allowed"),
    REFUSES("tags on lists", "hidden: !!seq [1]\n" DATA, "f.yaml:1: hidden: tags (!name) are not allowed"),
    REFUSES("the tag that says nothing", "note: ! 5\n" DATA, "f.yaml:1: note: tags (!name) are not allowed"),
    REFUSES("declared tags", "%TAG !e! tag:example.com,2000:\n---\nnote: a\n",
            "f.yaml:1: tags (%TAG) are not allowed"),
    REFUSES("a second document", "name: a\n---\nname: b\n",
            "f.yaml:2: a second document (---) is not allowed"),
    REFUSES("a second document, empty", "name: a\n---\n", "f.yaml:2: a second document (---) is not allowed"),
    TAKES("one document may be marked", "%YAML 1.1\n---\n" DATA "...\n", "\"train\":\"x\""),

    /* the whole */
    REFUSES("a list is no file of settings", "- a\n", "f.yaml:1: must be settings (name: value), not a list"),
    REFUSES("a word is no file of settings", "\nhello\n",
            "f.yaml:2: must be settings (name: value), not 'hello'"),
    REFUSES("a file that is no YAML", "train: {lr: 1\nname: a\n",
            "f.yaml:2: train: not valid YAML: did not find expected ',' or '}' while parsing a flow mapping "
            "that starts on line 1"),
    REFUSES("tabs as indentation", "train:\n\tlr: 1\n",
            "f.yaml:2: train: not valid YAML: a tab cannot indent; use spaces"),
    REFUSES("a character that starts nothing", "note: @a\n",
            "f.yaml:1: note: not valid YAML: found character that cannot start any token"),
    REFUSES("bytes that are not UTF-8", "name: a\nnote: \xff\n",
            "f.yaml:2: not valid YAML: invalid leading UTF-8 octet"),
    REFUSES("a control character", "name: a\nnote: \x1b[31m\n",
            "f.yaml:2: not valid YAML: control characters are not allowed"),
    REFUSES("a control character by escape", "note: \"\\e[31m\"\n",
            "f.yaml:1: note: holds a character that cannot be printed"),
    REFUSES("a NUL by escape", "note: \"a\\0b\"\n",
            "f.yaml:1: note: holds a character that cannot be printed"),
    REFUSES("a C1 control character by escape", "note: \"\\x9b\"\n",
            "f.yaml:1: note: holds a character that cannot be printed"),
    REFUSES("a line separator by escape", "note: \"\\u2028\"\n",
            "f.yaml:1: note: holds a character that cannot be printed"),
    REFUSES("a byte order mark inside", "note: \"\\uFEFF\"\n",
            "f.yaml:1: note: holds a character that cannot be printed"),
    REFUSES("U+FFFF by escape", "note: \"\\uFFFF\"\n",
            "f.yaml:1: note: holds a character that cannot be printed"),
    REFUSES("a control character in a name", "\"a\\x07\": 1\n",
            "f.yaml:1: holds a character that cannot be printed"),
    TAKES("a byte order mark in front", "\xef\xbb\xbf" DATA, "\"train\":\"x\""),
    TAKES("lines that end in CR LF", "name: a\r\ndata:\r\n  train: x\r\n", "\"name\":\"a\""),
    REFUSES("16 levels are enough", "note: [" DEEP16 "]\n",
            "f.yaml:1: note[0][0][0][0][0][0][0][0][0][0][0][0][0][0][0]: nested deeper than 16"),
    REFUSES("and allowed", "note: " DEEP16 "\n",
            "f.yaml:1: note: must be a text of at most 31 bytes, not a list"),
    REFUSES("a long value is shown in part", "train: {lr: " A16 A16 A16 A16 A16 A16 "}\n",
            "f.yaml:1: train.lr: must be a number from 0 to 1, not '" A16 A16 A16 A16 "aaaaaaaaaaaa...'"),
    REFUSES("a newline in a value does not break the error", "train: {lr: \"a\\nb\"}\n",
            "f.yaml:1: train.lr: must be a number from 0 to 1, not the quoted text 'a?b'"),
    REFUSES("an unclosed quote", "note: \"abc\n",
            "f.yaml:2: note: not valid YAML: found unexpected end of stream while scanning a "
            "quoted scalar that starts on line 1"),

    /* --set */
    SETS("--set changes a value", "train: {lr: 1}\n" DATA, "train.lr=0.25", "\"lr\":0.25"),
    SETS("--set adds a value", DATA, "name=b", "\"name\":\"b\""),
    SETS("--set makes the section", DATA, "train.lr=0.25", "\"lr\":0.25"),
    SETS("--set fills a section that has no value", "train:\n" DATA, "train.lr=0.25", "\"lr\":0.25"),
    SETS("--set keeps the rest of the section", "train: {lr: 1, epochs: 7}\n" DATA, "train.lr=0.25",
         "\"epochs\":7"),
    SETS("--set gives what is required", "", "data.train=s3://b/k?x=1", "\"train\":\"s3://b/k?x=1\""),
    SETS("--set takes a list", DATA, "hidden=[9, 8]", "\"hidden\":[9,8]"),
    SETS("--set takes a section", DATA, "train={lr: 0.25}", "\"lr\":0.25"),
    SETS("--set takes quoted text", DATA, "note=\"~\"", "\"note\":\"~\""),
    SETS("--set repairs a bad value", "train: {lr: 9}\n" DATA, "train.lr=0.25", "\"lr\":0.25"),
    SETS_NOT("--set without =", DATA, "name", "--set 'name': must be name=value"),
    SETS_NOT("--set without a name", DATA, "=1", "--set '': is no name of a setting"),
    SETS_NOT("--set with an empty part", DATA, "train..lr=1", "--set 'train..lr': is no name of a setting"),
    SETS_NOT("--set with a strange part", DATA, "train.l r=1", "--set 'train.l r': is no name of a setting"),
    SETS_NOT("--set without a value", DATA, "train.lr=", "--set train.lr: has no value"),
    SETS_NOT("--set of an unknown setting", DATA, "train.epohcs=1",
             "--set train.epohcs: no such setting; did you mean 'epochs'?"),
    SETS_NOT("--set of an unknown section", DATA, "trian.lr=1",
             "--set trian: no such setting; did you mean 'train'?"),
    SETS_NOT("--set out of range", DATA, "train.lr=2", "--set train.lr: must be from 0 to 1, not '2'"),
    SETS_NOT("--set of a wrong type", DATA, "train.lr=[1]",
             "--set train.lr: must be a number from 0 to 1, not a list"),
    SETS_NOT("--set inside a value", "name: a\n" DATA, "name.x.y=1",
             "--set name.x.y: 'name' is not a section there"),
    SETS_NOT("--set of no YAML", DATA, "hidden=[1",
             "--set hidden[1]: not valid YAML: did not find expected ',' or ']'"),
    SETS_NOT("--set twice in a section", DATA, "train={lr: 1, lr: 1}", "--set train.lr: is set twice"),
    SETS_NOT("--set of two documents", DATA, "name=a\n---\nb",
             "--set name: a second document (---) is not allowed"),
    SETS_NOT("--set too deep", DATA, "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q=1",
             "--set 'a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q': nested deeper than 16"),
    SETS_NOT("--set too deep by its value", DATA, "a.b=" DEEP16,
             "--set a.b[0][0][0][0][0][0][0][0][0][0][0][0][0][0]: nested deeper than 16"),
    SETS_NOT("--set that leaves the file wrong", "name: A\n", "train.lr=1",
             "f.yaml:1: name: must be a name of at most 15 of a-z 0-9 - _ . that starts with a letter or a "
             "digit, not 'A'"),
    SETS_NOT("--set of a section lacks what it requires", "", "data.format=csv",
             "--set data.train: must be given"),
};

/* Parse, set, bind, print. The struct is dirty at first: defaults must not depend on what was there. */
static enum err_code read_sample(const char *text, const char *set, struct sample *out, struct err *e)
{
    CLEANUP(conf_freep) struct conf_doc *doc = NULL;
    memset(out, 0xA5, sizeof(*out));
    if (conf_parse("f.yaml", text, strlen(text), &doc, e) || (set && conf_set(doc, set, e)))
        return e->code;
    return conf_bind(doc, sample_fields, out, e);
}

static void print_sample(const struct sample *s, struct buf *out)
{
    CLEANUP(json_donep) json_t *j = conf_to_json(sample_fields, s);
    struct err e = ERR_INIT;
    assert_ok(json_canonical(j, out, &e));
}

/* What was taken is printed as JSON, and that reads back to the same. */
static void assert_taken(const struct row *r, const struct sample *s)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(1 << 20);
    CLEANUP(buf_done) struct buf again = BUF_INIT(1 << 20);
    struct sample back;
    struct err e = ERR_INIT;
    print_sample(s, &text);
    /* Seventeen digits are exact, not pretty: 0.003 is shown as the double next to it. */
    const char *lr = strstr(r->want, "0.003");
    if (lr ? s->train.lr != 0.003 : !strstr(buf_text(&text), r->want))
        fail_msg("%s is not in %s", r->want, buf_text(&text));
    assert_ok(read_sample(buf_text(&text), NULL, &back, &e));
    print_sample(&back, &again);
    assert_string_equal(buf_text(&text), buf_text(&again));
}

static void conf_row(void **state)
{
    const struct row *r = *state;
    struct sample s;
    struct err e = ERR_INIT;
    enum err_code code = read_sample(r->text, r->set, &s, &e);
    if (r->fails) {
        assert_int_not_equal(code, OK);
        assert_string_equal(e.text, r->want);
        assert_true(code == ERR_USAGE);
        return;
    }
    if (code)
        fail_msg("%s", e.text);
    assert_taken(r, &s);
}

static void a_struct_holds_every_value(void **state)
{
    (void)state;
    struct sample s;
    struct err e = ERR_INIT;
    assert_ok(
        read_sample("name: a\ntime_limit: 90s\nmemory: 64MiB\nranks: {min: 2, max: 4}\nhidden: [7]\n"
                    "train: {epochs: 3, lr: 3e-3, schedule: linear, shuffle: false, every: 5 epochs}\n"
                    "data: {train: x, missing: [\"?\", \"\"]}\nusers: [{name: u, role: admin, share: 2.5}]\n",
                    NULL, &s, &e));
    assert_string_equal(s.name, "a");
    assert_string_equal(s.note, "");
    assert_int_equal(s.time_limit_ms, 90000);
    assert_int_equal(s.memory_bytes, 64 << 20);
    assert_int_equal(s.train.epochs, 3);
    assert_true(s.train.lr == 3e-3);
    assert_int_equal(s.train.schedule, 2);
    assert_false(s.train.shuffle);
    assert_int_equal(s.train.every.count, 5);
    assert_true(s.train.every.epochs);
    assert_string_equal(s.data.format, "csv");
    assert_int_equal(s.data.missing_count, 2);
    assert_string_equal(s.data.missing[0], "?");
    assert_string_equal(s.data.missing[1], "");
    assert_int_equal(s.ranks.min, 2);
    assert_int_equal(s.ranks.max, 4);
    assert_int_equal(s.hidden_count, 1);
    assert_int_equal(s.hidden[0], 7);
    assert_int_equal(s.hidden[1], 0); /* nothing of the default stays behind */
    assert_int_equal(s.user_count, 1);
    assert_int_equal(s.users[0].role, 2);
    assert_true(s.users[0].share == 2.5);
}

static void a_place_is_found_by_its_path(void **state)
{
    (void)state;
    static const struct {
        const char *path, *want;
    } places[] = {
        { "train", "f.yaml:2: train" },
        { "train.lr", "f.yaml:3: train.lr" },
        { "train.epochs", "f.yaml: train.epochs" },
        { "nothing.at.all", "f.yaml: nothing.at.all" },
        { "hidden[1]", "f.yaml:6: hidden[1]" },
        { "hidden[2]", "f.yaml: hidden[2]" },
        { "hidden[x", "f.yaml: hidden[x" },
        { "users[0].name", "f.yaml:7: users[0].name" },
        { "train.shuffle", "--set train.shuffle" },
    };
    static const char text[] = "name: a\ntrain:\n  lr: 1\nhidden:\n- 1\n- 2\nusers: [{name: u}]\n";
    CLEANUP(conf_freep) struct conf_doc *doc = NULL;
    CLEANUP(buf_done) struct buf scratch = BUF_INIT(1024);
    struct err e = ERR_INIT;
    assert_ok(conf_parse("f.yaml", text, strlen(text), &doc, &e));
    assert_ok(conf_set(doc, "train.shuffle=true", &e));
    for (size_t i = 0; i < ARRAY_LEN(places); i++)
        assert_string_equal(conf_where(doc, places[i].path, &scratch), places[i].want);
}

static void a_refused_set_changes_nothing(void **state)
{
    (void)state;
    static const char text[] = "name: a\ndata: {train: x}\n";
    CLEANUP(conf_freep) struct conf_doc *doc = NULL;
    struct sample s;
    struct err e = ERR_INIT;
    assert_ok(conf_parse("f.yaml", text, strlen(text), &doc, &e));
    assert_int_equal(conf_set(doc, "name.b.c=1", &e), ERR_USAGE);
    assert_int_equal(conf_set(doc, "train.x=[", &e), ERR_USAGE);
    assert_ok(conf_bind(doc, sample_fields, &s, &e));
    assert_string_equal(s.name, "a");
}

static void the_last_set_wins(void **state)
{
    (void)state;
    CLEANUP(conf_freep) struct conf_doc *doc = NULL;
    struct sample s;
    struct err e = ERR_INIT;
    assert_ok(conf_parse("f.yaml", "", 0, &doc, &e));
    assert_ok(conf_set(doc, "data.train=x", &e));
    assert_ok(conf_set(doc, "name=first", &e));
    assert_ok(conf_set(doc, "name=second", &e));
    assert_ok(conf_bind(doc, sample_fields, &s, &e));
    assert_string_equal(s.name, "second");
}

static void add_repeated(struct buf *out, const char *text, size_t count)
{
    for (size_t i = 0; i < count; i++)
        buf_add_text(out, text);
}

static void a_text_too_large_is_refused(void **state)
{
    (void)state;
    CLEANUP(conf_freep) struct conf_doc *doc = NULL;
    CLEANUP(buf_done) struct buf text = BUF_INIT(CONF_BYTES_MAX + 1);
    struct err e = ERR_INIT;
    add_repeated(&text, "# fifteen bytes\n", CONF_BYTES_MAX / 16);
    assert_ok(conf_parse("f.yaml", text.data, text.len, &doc, &e));
    struct conf_doc *untouched = doc;
    buf_add_byte(&text, '#');
    assert_int_equal(conf_parse("f.yaml", text.data, text.len, &doc, &e), ERR_USAGE);
    assert_string_equal(e.text, "f.yaml: larger than 1048576 bytes");
    assert_ptr_equal(doc, untouched);
}

static void too_many_values_are_refused(void **state)
{
    (void)state;
    CLEANUP(conf_freep) struct conf_doc *doc = NULL;
    CLEANUP(buf_done) struct buf text = BUF_INIT(CONF_BYTES_MAX);
    struct err e = ERR_INIT;
    buf_add_text(&text, "a:\n");
    add_repeated(&text, "- 1\n", CONF_NODES_MAX - 3); /* the map, the name and the list count */
    assert_ok(conf_parse("f.yaml", text.data, text.len, &doc, &e));
    buf_add_text(&text, "- 1\n");
    struct conf_doc *none = NULL;
    assert_int_equal(conf_parse("f.yaml", text.data, text.len, &none, &e), ERR_USAGE);
    assert_string_equal(e.text, "f.yaml:19999: a[19997]: more than 20000 names and values");
    assert_null(none);
}

static void a_file_is_read_by_its_path(void **state)
{
    (void)state;
    CLEANUP(conf_freep) struct conf_doc *doc = NULL;
    struct err e = ERR_INIT;
    assert_int_equal(conf_parse_file("build/no-such-file.yaml", &doc, &e), ERR_NOT_FOUND);
    assert_non_null(strstr(e.text, "build/no-such-file.yaml"));
    assert_int_equal(conf_parse_file("build", &doc, &e), ERR_USAGE);
    assert_string_equal(e.text, "build: is a folder");
    assert_int_equal(conf_parse_file("/dev/zero", &doc, &e), ERR_USAGE);
    assert_string_equal(e.text, "/dev/zero: larger than 1048576 bytes");
    assert_null(doc);
}

/* The name may be what a client sent. */
static void a_file_name_cannot_spoil_an_error(void **state)
{
    (void)state;
    CLEANUP(conf_freep) struct conf_doc *doc = NULL;
    struct err e = ERR_INIT;
    char name[5001];
    assert_int_equal(conf_parse("a\x1b[2J\n.yaml", "x", 1, &doc, &e), ERR_USAGE);
    assert_string_equal(e.text, "a?[2J?.yaml:1: must be settings (name: value), not 'x'");
    memset(name, 'd', 5000);
    memcpy(name + 4992, "/job.yml", 9);
    assert_int_equal(conf_parse(name, "x", 1, &doc, &e), ERR_USAGE);
    assert_memory_equal(e.text, "...dddd", 7);
    assert_non_null(strstr(e.text, "d/job.yml:1: must be settings"));
}

/* The manual is itself a file of settings: with what is required it reads back to the defaults. */
static void the_manual_is_a_file_of_defaults(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf manual = BUF_INIT(64 * 1024);
    CLEANUP(buf_done) struct buf want = BUF_INIT(64 * 1024);
    CLEANUP(buf_done) struct buf got = BUF_INIT(64 * 1024);
    struct sample s;
    struct err e = ERR_INIT;
    conf_explain(sample_fields, 0, &manual);
    assert_non_null(strstr(buf_text(&manual), "  lr: 3e-3 "));
    assert_non_null(strstr(buf_text(&manual), "# peak rate (number from 0 to 1)"));
    assert_non_null(strstr(buf_text(&manual), "# who (required; name of at most 15"));
    assert_non_null(strstr(buf_text(&manual), "\n# users:"));
    assert_non_null(strstr(buf_text(&manual), "\n#   - name:"));
    assert_non_null(strstr(buf_text(&manual), "\n#     role: viewer"));
    assert_non_null(strstr(buf_text(&manual), "(constant, cosine or linear)"));
    assert_ok(read_sample(buf_text(&manual), "data.train=x", &s, &e));
    print_sample(&s, &got);
    assert_ok(read_sample("data: {train: x}", NULL, &s, &e));
    print_sample(&s, &want);
    assert_string_equal(buf_text(&got), buf_text(&want));
}

static void the_manual_is_also_json(void **state)
{
    (void)state;
    CLEANUP(json_donep) json_t *j = conf_explain_json(sample_fields);
    CLEANUP(buf_done) struct buf text = BUF_INIT(64 * 1024);
    struct err e = ERR_INIT;
    assert_ok(json_canonical(j, &text, &e));
    assert_int_equal(json_array_size(j), ARRAY_LEN(sample_fields) - 1);
    assert_non_null(strstr(buf_text(&text),
                           "{\"default\":\"10\",\"help\":\"passes over the data\",\"max\":1000.0,"
                           "\"min\":1.0,\"name\":\"epochs\",\"required\":false,\"type\":\"integer\"}"));
    assert_non_null(strstr(buf_text(&text), "\"choices\":[\"viewer\",\"engineer\",\"admin\"]"));
    assert_non_null(strstr(buf_text(&text), "\"element\":{"));
}

int main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(a_struct_holds_every_value),        cmocka_unit_test(a_place_is_found_by_its_path),
        cmocka_unit_test(a_refused_set_changes_nothing),     cmocka_unit_test(the_last_set_wins),
        cmocka_unit_test(a_text_too_large_is_refused),       cmocka_unit_test(too_many_values_are_refused),
        cmocka_unit_test(a_file_name_cannot_spoil_an_error), cmocka_unit_test(a_file_is_read_by_its_path),
        cmocka_unit_test(the_manual_is_a_file_of_defaults),  cmocka_unit_test(the_manual_is_also_json),
    };
    static struct CMUnitTest tests[ARRAY_LEN(rows) + ARRAY_LEN(others)];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        tests[i] = (struct CMUnitTest){ rows[i].name, conf_row, NULL, NULL, (void *)&rows[i] };
    memcpy(tests + ARRAY_LEN(rows), others, sizeof(others));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
