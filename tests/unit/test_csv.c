/* CSV records by RFC 4180, cut in place: rows of text, and what a reader is told where they are none. */
#include "core/job/dataset.h"
#include "tests/test.h"

#include <stdlib.h>
#include <string.h>

enum { FIELDS = 4, TEXT_BYTES = 256 };

/* `records`: fields behind one another with '|', records with '~'. */
static const struct good {
    const char *name, *text, *records;
    size_t lines;
} goods[] = {
    { "nothing is no record", "", "", 0 },
    { "a line is a record", "a,b,c\n", "a|b|c", 1 },
    { "the last line end may be missing", "a,b,c", "a|b|c", 0 },
    { "CRLF ends a line", "a,b\r\nc,d\r\n", "a|b~c|d", 2 },
    { "line ends may be mixed", "a\nb\r\nc", "a~b~c", 2 },
    { "fields may be empty", ",,\n", "||", 1 },
    { "an empty line is one empty field", "a\n\nb\n", "a~~b", 3 },
    { "a comma may be last", "a,", "a|", 0 },
    { "spaces belong to the field", " a , b \n", " a | b ", 1 },
    { "quotes come off", "\"a\",\"b\"\n", "a|b", 1 },
    { "an empty field may be quoted", "\"\",\"\"\n", "|", 1 },
    { "a comma inside quotes is text", "\"a,b\",c\n", "a,b|c", 1 },
    { "a doubled quote is one", "\"a\"\"b\",\"\"\"\"\n", "a\"b|\"", 1 },
    { "a quoted field may be last without a line end", "a,\"b\"", "a|b", 0 },
    { "a record may span lines", "\"a\nb\",c\nd\n", "a\nb|c~d", 3 },
    { "CRLF inside quotes stays", "\"a\r\nb\"\r\n", "a\r\nb", 2 },
    { "a lone carriage return inside quotes stays", "\"a\rb\"\n", "a\rb", 1 },
    { "bytes are not looked at", "M\xfcller,\xe2\x82\xac\n", "M\xfcller|\xe2\x82\xac", 1 },
    { "as many fields as may be", "a,b,c,d\n", "a|b|c|d", 1 },
};

static void text_is_cut(void **state)
{
    const struct good *g = *state;
    CLEANUP(freep) char *text = strdup(g->text);
    CLEANUP(buf_done) struct buf got = BUF_INIT(TEXT_BYTES);
    struct err e = ERR_INIT;
    char *p = text, *end = text + strlen(g->text), *fields[FIELDS];
    size_t count, lines, lines_all = 0, records = 0;
    for (;; records++) {
        assert_ok(csv_next(&p, end, fields, FIELDS, &count, &lines, &e));
        lines_all += lines;
        if (count == 0)
            break;
        buf_add_text(&got, records ? "~" : "");
        for (size_t i = 0; i < count; i++)
            buf_addf(&got, "%s%s", i ? "|" : "", fields[i]);
    }
    assert_string_equal(buf_text(&got), g->records);
    assert_int_equal(lines_all, g->lines);
    assert_ptr_equal(p, end);
}

static const struct bad {
    const char *name, *text;
    size_t n;
    const char *want;
} bads[] = {
#define BAD(name_, text_, want_)                                                                             \
    {                                                                                                        \
        name_, text_, sizeof(text_) - 1, want_                                                               \
    }
    BAD("an open quote at the end", "a,\"b", "field 2: its quote is not closed"),
    BAD("an open quote over lines", "\"a\nb\nc", "field 1: its quote is not closed"),
    BAD("a doubled quote closes nothing", "\"a\"\"", "field 1: its quote is not closed"),
    BAD("text behind a closing quote", "\"a\"b,c\n", "field 1: goes on behind its closing quote"),
    BAD("a carriage return alone behind a closing quote", "\"a\"\rb\n",
        "field 1: goes on behind its closing quote"),
    BAD("a quote inside a plain field", "a,5\" pipe\n",
        "field 2: holds a quote, so it must be quoted itself and the quote doubled"),
    BAD("a carriage return inside a plain field", "a\rb\n",
        "field 1: holds a carriage return that ends no line"),
    BAD("a carriage return at the very end", "a,b\r", "field 2: holds a carriage return that ends no line"),
    BAD("a NUL in a plain field", "a,b\0c\n", "field 2: holds a NUL byte"),
    BAD("a NUL in a quoted field", "\"a\0\"\n", "field 1: holds a NUL byte"),
    BAD("a field too many", "a,b,c,d,e\n", "more than 4 fields"),
    BAD("an empty field too many", ",,,,", "more than 4 fields"),
};

/* On the heap at its exact size: a sanitizer sees a byte too far. */
static void text_is_refused_and_left_alone(void **state)
{
    const struct bad *b = *state;
    CLEANUP(freep) char *text = malloc(b->n + 1);
    struct err e = ERR_INIT;
    char *fields[FIELDS];
    size_t count = 77, lines = 77;
    memcpy(text, b->text, b->n + 1);
    char *p = text;
    assert_int_equal(csv_next(&p, text + b->n, fields, FIELDS, &count, &lines, &e), ERR_USAGE);
    assert_string_equal(e.text, b->want);
    assert_ptr_equal(p, text);
    assert_int_equal(count, 77);
    assert_int_equal(lines, 77);
    assert_memory_equal(text, b->text, b->n + 1);
}

int main(void)
{
    static struct CMUnitTest tests[ARRAY_LEN(goods) + ARRAY_LEN(bads)];
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(goods); i++)
        tests[n++] = (struct CMUnitTest){ goods[i].name, text_is_cut, NULL, NULL, (void *)&goods[i] };
    for (size_t i = 0; i < ARRAY_LEN(bads); i++)
        tests[n++] =
            (struct CMUnitTest){ bads[i].name, text_is_refused_and_left_alone, NULL, NULL, (void *)&bads[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
