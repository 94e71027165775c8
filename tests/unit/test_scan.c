/* The scan for personal data: published examples are found, one wrong digit is not, and plain numbers are
 * left alone. */
#include "base/rng.h"
#include "core/scan/scan.h"
#include "tests/test.h"

#include <stdio.h>
#include <string.h>

enum { YEAR = 2026 };

/* ---- published examples ---- */

/* From the standards, the issuers' test numbers, the offices' leaflets, and Wikipedia's articles on each
 * number. */
static const struct example {
    const char *kind, *text;
    int lets; /* of all values with one digit changed, how many pass: no check digit is perfect */
} examples[] = {
    { "IBAN", "DE89 3704 0044 0532 0130 00", 0 }, // SWIFT's registry, as those below
    { "IBAN", "FR1420041010050500013M02606", 0 },
    { "IBAN", "ES9121000418450200051332", 0 },
    { "IBAN", "IT60X0542811101000000123456", 0 },
    { "IBAN", "NL91ABNA0417164300", 0 },
    { "IBAN", "BE68 5390 0754 7034", 0 },
    { "IBAN", "AT611904300234573201", 0 },
    { "IBAN", "PL61109010140000071219812874", 0 },
    { "IBAN", "SE4550000000058398257466", 0 },
    { "IBAN", "IE29AIBK93115212345678", 0 },
    { "IBAN", "LU280019400644750000", 0 },
    { "IBAN", "PT50000201231234567890154", 0 },
    { "IBAN", "DK5000400440116243", 0 },
    { "IBAN", "FI2112345600000785", 0 },
    { "IBAN", "CZ6508000000192000145399", 0 },
    { "IBAN", "GR1601101250000000012300695", 0 },
    { "IBAN", "EE382200221020145685", 0 },
    { "IBAN", "MT84MALT011000012345MTLCAST001S", 0 },
    { "IBAN", "NO9386011117947", 0 },
    { "IBAN", "CH9300762011623852957", 0 },
    { "payment card", "4111 1111 1111 1111", 0 }, // issuers' test numbers
    { "payment card", "5555555555554444", 0 },
    { "payment card", "2223003122003222", 0 },
    { "payment card", "3782-822463-10005", 0 },
    { "payment card", "6011111111111117", 0 },
    { "payment card", "3530111333300000", 0 },
    { "payment card", "30569309025904", 0 },
    { "VAT number (AT)", "ATU13585627", 0 },
    { "VAT number (BE)", "BE 0428.759.497", 0 },
    { "VAT number (BG)", "BG175074752", 2 },
    { "VAT number (CY)", "CY10259033P", 4 },
    { "VAT number (CZ)", "CZ25123891", 6 },
    { "VAT number (DE)", "DE 136,695 976", -1 }, // a comma is no separator
    { "VAT number (DE)", "DE136695976", 0 },
    { "VAT number (DK)", "DK 13585628", 0 },
    { "VAT number (EE)", "EE100931558", 0 },
    { "VAT number (EL)", "EL094259216", 1 },
    { "VAT number (ES)", "ES A13585625", 0 },
    { "VAT number (ES)", "ESB58378431", 0 },
    { "VAT number (FI)", "FI20774740", 0 },
    { "VAT number (FR)", "FR40303265045", 0 },
    { "VAT number (HR)", "HR33392005961", 0 },
    { "VAT number (HU)", "HU12892312", 0 },
    { "VAT number (IE)", "IE6433435F", 0 },
    { "VAT number (IE)", "IE6433435OA", 0 },
    { "VAT number (IE)", "IE8D79739I", 0 },
    { "VAT number (IT)", "IT00743110157", 0 },
    { "VAT number (LT)", "LT119511515", 1 },
    { "VAT number (LT)", "LT100001919017", 1 },
    { "VAT number (LU)", "LU15027442", 0 },
    { "VAT number (LV)", "LV40003521600", 0 },
    { "VAT number (MT)", "MT11679112", 0 },
    { "VAT number (NL)", "NL004495445B01", 20 }, // BSN and modulo 97 side by side: the last pair is free
    { "VAT number (PL)", "PL8567346215", 0 },
    { "VAT number (PT)", "PT501964843", 1 },
    { "VAT number (RO)", "RO18547290", 7 },
    { "VAT number (SE)", "SE123456789701", 17 },
    { "VAT number (SI)", "SI50223054", 1 },
    { "VAT number (SK)", "SK2022749619", 0 },
    { "national id (AT)", "1237 010180", 0 },
    { "national id (BE)", "85.07.30-033.28", 0 },
    { "national id (BG)", "7523169263", 1 },
    { "national id (CH)", "756.9217.0769.85", 0 },
    { "national id (CZ, SK)", "710319/2745", 0 },
    { "national id (DE)", "36574261809", 0 },
    { "national id (DK)", "211062-5629", 0 },
    { "national id (EE, LT)", "36805280109", 1 },
    { "national id (ES)", "54362315K", 0 },
    { "national id (ES)", "X-2482300-W", 0 },
    { "national id (FI)", "131052-308T", 0 },
    { "national id (FR)", "2 95 10 99 126 111 93", 0 },
    { "national id (GR)", "01013099997", 0 },
    { "national id (HR)", "33392005961", 0 },
    { "national id (HU)", "111111110", 0 },
    { "national id (IE)", "6433435F", 0 },
    { "national id (IT)", "RCCMNL83S18D969H", 0 },
    { "national id (LU)", "1893120105732", 0 },
    { "national id (LV)", "161175-19997", 1 },
    { "national id (NL)", "111222333", 0 },
    { "national id (NO)", "15108695088", 0 },
    { "national id (PL)", "44051401359", 0 },
    { "national id (PT)", "123456789", 1 },
    { "national id (RO)", "1630615123457", 1 },
    { "national id (SE)", "880320-0016", 0 },
    { "national id (SE)", "19811228-9874", 0 },
    { "national id (SI)", "0101006500006", 1 },
    { "phone number", "+49 170 1234567", -1 },
    { "phone number", "+33 (0)1 23 45 67 89", -1 },
    { "phone number (national)", "030/123456-78", -1 },
    { "phone number (national)", "06 12 34 56 78", -1 },
    { "phone number (national)", "06.12.34.56.78", -1 },
    { "phone number (national)", "01701234567", -1 },
    { "e-mail address", "ana.muster+x@mail.example.org", -1 },
    { "birth date", "1980-02-29", -1 },
    { "birth date", "29.2.1980", -1 },
    { "birth date", "29/02/1980", -1 },
};

static size_t kind_of(const char *name)
{
    for (size_t i = 0; i < scan_kinds(); i++)
        if (strcmp(scan_kind_name(i), name) == 0)
            return i;
    fail_msg("there is no kind '%s'", name);
    return 0;
}

static bool matches(const char *text, size_t kind)
{
    struct scan_counts c = { .values = 0 };
    scan_value(text, strlen(text), YEAR, &c);
    return c.whole[kind] + c.inside[kind] > 0;
}

static void example_is_found(void **state)
{
    const struct example *x = *state;
    if (strchr(x->text, ','))
        assert_false(matches(x->text, kind_of(x->kind)));
    else
        assert_true(matches(x->text, kind_of(x->kind)));
}

/* Every digit in every place replaced by every other. */
static void a_changed_digit_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(examples); i++) {
        const struct example *x = &examples[i];
        size_t kind = kind_of(x->kind);
        int passed = 0;
        char text[64], last[64] = "";
        snprintf(text, sizeof(text), "%s", x->text);
        for (size_t at = 0; x->lets >= 0 && text[at]; at++)
            for (char d = '0'; x->text[at] >= '0' && x->text[at] <= '9' && d <= '9'; d++) {
                text[at] = d;
                if (d != x->text[at] && matches(text, kind)) {
                    passed++;
                    memcpy(last, text, sizeof(last));
                }
                text[at] = x->text[at];
            }
        if (x->lets >= 0 && passed > x->lets)
            fail_msg("%s: '%s': %d changed ones pass, '%s' for one", x->kind, x->text, passed, last);
    }
}

/* ---- what is not ---- */

static const char *const innocent[] = {
    "",
    "   ",
    "?",
    "abc",
    "12345",
    "1234567.89",
    "-123456789",
    "0.00000001",
    "1,234,567.89",
    "2026-13-40",
    "31.02.1980",
    "1e10",
    "user@host",
    "@example.org",
    "a@b.c1",
    "x@.org",
    "a@-b.org",
    "+",
    "+49",
    "+0012345678",
    "+99912345678",
    "4111111111111112",
    "DE89370400440532013001",
    "DE8937040044053201300",
    "XX89370400440532013000",
    "100.000.000",
    "12:30:00",
    "hotel 12",
    "7f3c9a1b22d4",
    "v1.2.3-rc4",
    "4000000000000000",
    "192.168.100.200",
};

static void innocent_values_are_left_alone(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(innocent); i++) {
        struct scan_counts c = { .values = 0 };
        scan_value(innocent[i], strlen(innocent[i]), YEAR, &c);
        for (size_t k = 0; k < scan_kinds(); k++)
            if (scan_found(&c, "x", k))
                fail_msg("'%s' is taken for %s", innocent[i], scan_kind_name(k));
    }
}

/* ---- free text ---- */

static const struct line {
    const char *kind, *text;
    uint64_t count;
} lines[] = {
    { "e-mail address", "write to a.b@example.org, or <c@example.com>; not to me@home", 2 },
    { "IBAN", "pay to DE89 3704 0044 0532 0130 00 by Friday 13", 1 },
    { "IBAN", "DE89370400440532013000,NL91ABNA0417164300", 2 },
    { "payment card", "card 4111 1111 1111 1111, expires 12/29", 1 },
    { "payment card", "order 4111111111111111", 0 }, // bare digits in text are anything
    { "phone number", "call +49 170 1234567 or +33 1 23 45 67 89.", 2 },
    { "VAT number (DE)", "USt-IdNr. DE136695976, HRB 12345", 1 },
    { "national id (BE)", "NISS 85.07.30-033.28", 1 },
    { "national id (BE)", "number 85073003328", 0 },
    { "national id (IT)", "C.F. RCCMNL83S18D969H, nato a Roma", 1 },
    { "national id (FR)", "n\xc2\xb0 2 95 10 99 126 111 93", 1 },
    { "IBAN",
      "\xc3\xa4"
      "DE89370400440532013000",
      0 }, // in the middle of a word
};

static void free_text_is_searched(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        struct scan_counts line = { .values = 0 }, value = { .values = 0 };
        size_t kind = kind_of(lines[i].kind);
        scan_line(lines[i].text, strlen(lines[i].text), &line);
        scan_value(lines[i].text, strlen(lines[i].text), YEAR, &value);
        if (line.inside[kind] != lines[i].count || scan_found(&value, "note", kind) != lines[i].count)
            fail_msg("'%s': %s: %d and %d", lines[i].text, lines[i].kind, (int)line.inside[kind],
                     (int)scan_found(&value, "note", kind));
    }
}

/* ---- columns ---- */

enum { MANY = 20000 };

static void add_number(struct scan_counts *c, uint64_t v, int digits)
{
    char text[32];
    snprintf(text, sizeof(text), "%0*llu", digits, (unsigned long long)v);
    scan_value(text + strlen(text) - (size_t)digits, (size_t)digits, YEAR, c);
}

/* Chance lets some through, so a column of random numbers, or of consecutive ones, must not count as found.
 */
static void columns_of_numbers_are_no_findings(void **state)
{
    (void)state;
    for (int digits = 6; digits <= 19; digits++) {
        struct scan_counts random = { .values = 0 }, consecutive = { .values = 0 };
        uint64_t first = 1;
        for (int i = 1; i < digits; i++)
            first *= 10;
        for (uint64_t i = 0; i < MANY; i++) {
            uint64_t r = rng_below(7, (uint64_t)digits * MANY + i, first * 9);
            add_number(&random, first + r, digits);
            add_number(&consecutive, first + first / 3 + i, digits);
        }
        for (size_t k = 0; k < scan_kinds(); k++)
            if (scan_found(&random, "reference", k) || scan_found(&consecutive, "reference", k))
                fail_msg("%d digits are taken for %s (%d and %d of %d)", digits, scan_kind_name(k),
                         (int)random.whole[k], (int)consecutive.whole[k], MANY);
    }
}

static void a_share_of_the_values_is_asked_for(void **state)
{
    (void)state;
    static const struct {
        int good, of;
        const char *column;
        uint64_t want;
    } rows[] = {
        { 100, 100, "x", 100 },  { 40, 100, "x", 40 },      { 39, 100, "x", 0 },      { 1, 100, "bsn", 1 },
        { 1, 100, "BSN_nr", 1 }, { 1, 100, "klantBsn", 1 }, { 1, 100, "absnorm", 0 },
    };
    size_t kind = kind_of("national id (NL)");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct scan_counts c = { .values = 0 };
        for (int n = 0; n < rows[i].of; n++)
            scan_value(n < rows[i].good ? "111222333" : "word", n < rows[i].good ? 9 : 4, YEAR, &c);
        if (scan_found(&c, rows[i].column, kind) != rows[i].want)
            fail_msg("%d of %d in '%s'", rows[i].good, rows[i].of, rows[i].column);
    }
}

/* A plain date is a birth date by the column's name, or by how the dates lie. */
static void birth_dates_are_told_from_dates(void **state)
{
    (void)state;
    static const struct {
        const char *column;
        int from, step; /* years; 20 of them */
        bool want;
    } rows[] = {
        { "date of birth", 2020, 0, true }, { "Geburtsdatum", 1990, 1, true }, { "DOB", 2000, 1, true },
        { "dateNaissance", 1950, 1, true }, { "booked", 2006, 1, false },      { "when", 1940, 3, true },
        { "when", 1990, 1, false },         { "adobe", 2006, 1, false },
    };
    size_t kind = kind_of("birth date");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct scan_counts c = { .values = 0 };
        for (int n = 0; n < 20; n++) {
            char text[32];
            scan_value(text,
                       (size_t)snprintf(text, sizeof(text), "%d-03-15", rows[i].from + rows[i].step * n),
                       YEAR, &c);
        }
        if ((scan_found(&c, rows[i].column, kind) > 0) != rows[i].want)
            fail_msg("'%s' from %d", rows[i].column, rows[i].from);
    }
}

static void a_phone_column_needs_no_form(void **state)
{
    (void)state;
    struct scan_counts c = { .values = 0 };
    size_t kind = kind_of("phone number (by name)");
    scan_value("612345678", 9, YEAR, &c);
    scan_value("612 345 678", 11, YEAR, &c);
    assert_int_equal(scan_found(&c, "telefono", kind), 2);
    assert_int_equal(scan_found(&c, "own_tel", kind), 2);
    assert_int_equal(scan_found(&c, "hotel", kind), 0);
    assert_int_equal(scan_found(&c, "amount", kind), 0);
}

static void parts_add_up(void **state)
{
    (void)state;
    struct scan_counts all = { .values = 0 }, one = { .values = 0 }, other = { .values = 0 };
    for (size_t i = 0; i < ARRAY_LEN(examples); i++) {
        scan_value(examples[i].text, strlen(examples[i].text), YEAR, &all);
        scan_value(examples[i].text, strlen(examples[i].text), YEAR, i % 3 ? &one : &other);
    }
    scan_add(&one, &other);
    assert_memory_equal(&one, &all, sizeof(all));
}

int main(void)
{
    static struct CMUnitTest tests[ARRAY_LEN(examples) + 8];
    size_t n = 0;
    for (; n < ARRAY_LEN(examples); n++)
        tests[n] =
            (struct CMUnitTest){ examples[n].text, example_is_found, NULL, NULL, (void *)&examples[n] };
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(a_changed_digit_is_refused);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(innocent_values_are_left_alone);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(free_text_is_searched);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(columns_of_numbers_are_no_findings);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(a_share_of_the_values_is_asked_for);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(birth_dates_are_told_from_dates);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(a_phone_column_needs_no_form);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(parts_add_up);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
