/* Texts that are too long keep their front and their end. */
#include "tests/test.h"

#include "base/fit.h"

#include <string.h>

static const struct row {
    const char *name, *text, *want;
} rows[] = {
    { "a short text is copied", "short", "short" },
    { "a text that just fits is copied", "123456789012345", "123456789012345" },
    { "a longer one loses its middle", "1234567890123456", "12345 ... 23456" },
    { "a sequence of two bytes is not cut in front", "1234\xc3\xa4 7890 abcdef", "1234 ... bcdef" },
    { "nor behind", "1234567890123\xc3\xa4wxyz", "12345 ... wxyz" },
    { "nothing stays nothing", "", "" },
};

static void fits(void **state)
{
    const struct row *r = *state;
    char out[16];
    text_fit(out, sizeof(out), r->text);
    assert_string_equal(out, r->want);
}

int main(void)
{
    static struct CMUnitTest tests[ARRAY_LEN(rows)];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        tests[i] = (struct CMUnitTest){ rows[i].name, fits, NULL, NULL, (void *)&rows[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
