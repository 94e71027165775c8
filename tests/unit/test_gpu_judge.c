/* What readings and Xids mean, row by row. */
#include "core/gpu/judge.h"
#include "tests/test.h"

#include <string.h>

enum { LOST = 100, RESET_REQUIRED }; /* in place of a figure */

static struct gpu_reading reading_with(int what, int64_t value)
{
    struct gpu_reading r = { .lost = what == LOST, .reset_required = what == RESET_REQUIRED };

    for (size_t i = 0; i < GPU_FIGURE_COUNT; i++)
        r.figure[i] = 0;
    if (what >= 0 && what < GPU_FIGURE_COUNT)
        r.figure[what] = value;
    return r;
}

/* `says`: NULL where it is fit. */
static const struct fit_row {
    const char *name;
    int what;
    int64_t value;
    const char *says;
} fit_rows[] = {
    { "a card without a blemish is fit", -1, 0, NULL },
    { "one that was never asked for its errors is fit", GPU_ECC_UNCORRECTED, GPU_UNKNOWN, NULL },
    { "one that knows nothing of rows is fit", GPU_ROWS_FAILED, GPU_UNKNOWN, NULL },
    { "one without ECC is fit", GPU_ECC_ON, 0, NULL },
    { "corrected errors were corrected", GPU_ECC_CORRECTED, 100000, NULL },
    { "a hot card is fit: it slows down by itself", GPU_CELSIUS, 95, NULL },
    { "an uncorrected error is not", GPU_ECC_UNCORRECTED, 1,
      "since the driver was loaded: 1: reset the card" },
    { "a row that waits for a reset is not", GPU_ROWS_PENDING, 1, "waits to be replaced: reset the card" },
    { "a row that could not be replaced is not", GPU_ROWS_FAILED, 1, "have the card replaced" },
    { "a card that is lost is not", LOST, 0, "does not answer any more: restart the host" },
    { "a card that must be reset is not", RESET_REQUIRED, 0, "must be reset: reset the card" },
};

static void fitness(void **state)
{
    const struct fit_row *row = *state;
    struct gpu_reading r = reading_with(row->what, row->value);
    char why[GPU_WHY_BYTES];

    assert_int_equal(gpu_is_fit(&r, why), row->says == NULL);
    if (row->says)
        assert_non_null(strstr(why, row->says));
    else
        assert_string_equal(why, "");
}

static const struct stay_row {
    const char *name;
    int what;
    int64_t before, now;
    const char *says;
} stay_rows[] = {
    { "a new uncorrected error ends it", GPU_ECC_UNCORRECTED, 0, 2,
      "since the job began: 2: reset the card" },
    { "an old one does not", GPU_ECC_UNCORRECTED, 2, 2, NULL },
    { "a counter that begins anew does not", GPU_ECC_UNCORRECTED, 2, 0, NULL },
    { "a count that was not known before does not", GPU_ECC_UNCORRECTED, GPU_UNKNOWN, 1, NULL },
    { "a count that is not known any more does not", GPU_ECC_UNCORRECTED, 0, GPU_UNKNOWN, NULL },
    { "a row that is replaced at the next reset does not", GPU_ROWS_PENDING, 0, 1, NULL },
    { "a card that is lost ends it", LOST, 0, 0, "restart the host" },
};

static void staying(void **state)
{
    const struct stay_row *row = *state;
    struct gpu_reading before = reading_with(row->what == LOST ? -1 : row->what, row->before);
    struct gpu_reading now = reading_with(row->what, row->now);
    char why[GPU_WHY_BYTES];

    assert_int_equal(gpu_stays_fit(&before, &now, why), row->says == NULL);
    if (row->says)
        assert_non_null(strstr(why, row->says));
    else
        assert_string_equal(why, "");
}

static const struct xid_row {
    const char *name;
    uint32_t xid;
    enum xid_kind kind;
    const char *text;
} xid_rows[] = {
    { "Xid 13 is a program's", 13, XID_PROGRAM, "Xid 13: a program's kernel faulted" },
    { "Xid 31 is a program's", 31, XID_PROGRAM, "Xid 31: a program touched memory that it does not have" },
    { "Xid 43 is a program's", 43, XID_PROGRAM, "Xid 43: a program's work was stopped" },
    { "Xid 45 is a program's", 45, XID_PROGRAM, "Xid 45: " },
    { "Xid 48 is the card's", 48, XID_CARD, "could not be corrected: reset the card" },
    { "Xid 62 is the card's", 62, XID_CARD, "halted: reset the card" },
    { "Xid 63 is noted", 63, XID_NOTED, "next reset" },
    { "Xid 64 is the card's", 64, XID_CARD, "could not be replaced: reset the card" },
    { "Xid 74 is noted", 74, XID_NOTED, "NVLink" },
    { "Xid 79 is the card's", 79, XID_CARD, "Xid 79: the card has fallen off the bus: restart the host" },
    { "Xid 92 is noted", 92, XID_NOTED, "corrected memory errors come often" },
    { "Xid 94 is noted", 94, XID_NOTED, "hit one program alone" },
    { "Xid 95 is the card's", 95, XID_CARD, "may have hit any program: reset the card" },
    { "Xid 119 is the card's", 119, XID_CARD, "does not answer: reset the card" },
    { "Xid 120 is the card's", 120, XID_CARD, "has failed: reset the card" },
    { "an Xid that is not in the table is named", 4711, XID_OTHER, "Xid 4711: see NVIDIA's Xid catalogue" },
    { "Xid 0 is none", 0, XID_OTHER, "Xid 0: " },
};

static void meaning(void **state)
{
    const struct xid_row *row = *state;
    char text[GPU_WHY_BYTES];

    assert_int_equal(xid_kind(row->xid), row->kind);
    xid_text(row->xid, text);
    assert_non_null(strstr(text, row->text));
}

static void every_sentence_fits(void **state)
{
    char text[GPU_WHY_BYTES];
    (void)state;

    for (uint32_t xid = 0; xid < 256; xid++) {
        xid_text(xid, text);
        assert_true(strlen(text) < GPU_WHY_BYTES - 1);
    }
}

static void the_weightiest_is_the_cards(void **state)
{
    static const uint32_t seen[] = { 45, 4711, 63, 48, 79 };
    (void)state;

    assert_int_equal(xid_weightiest(seen, 1), 0);
    assert_int_equal(xid_weightiest(seen, 2), 1);
    assert_int_equal(xid_weightiest(seen, 3), 2);
    assert_int_equal(xid_weightiest(seen, 5), 3); /* of equals, the first */
}

int main(void)
{
    static struct CMUnitTest tests[ARRAY_LEN(fit_rows) + ARRAY_LEN(stay_rows) + ARRAY_LEN(xid_rows) + 2];
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(fit_rows); i++)
        tests[n++] = (struct CMUnitTest){ fit_rows[i].name, fitness, NULL, NULL, (void *)&fit_rows[i] };
    for (size_t i = 0; i < ARRAY_LEN(stay_rows); i++)
        tests[n++] = (struct CMUnitTest){ stay_rows[i].name, staying, NULL, NULL, (void *)&stay_rows[i] };
    for (size_t i = 0; i < ARRAY_LEN(xid_rows); i++)
        tests[n++] = (struct CMUnitTest){ xid_rows[i].name, meaning, NULL, NULL, (void *)&xid_rows[i] };
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(every_sentence_fits);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(the_weightiest_is_the_cards);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
