/*
 * scan.h - does this column hold personal data? Counted by what can be checked, never kept or shown.
 *
 * A value is looked at as a whole first: without its separators, is it an IBAN, a payment card, a phone
 * number, an EU VAT number, a national id, a date? Each kind has a form and, where there is one, its
 * published check digits. A longer value is free text, and searched for what is unmistakable inside text.
 * E-mail addresses are found in both. What has neither an '@' nor six digits is skipped after one look.
 *
 * A number that happens to pass is no finding. So each kind has a share: what part of a column's non-empty
 * values must match before it counts as found. It lies well above what random values of the same form give: a
 * check digit modulo 11 lets every eleventh through, and 40 of 100 are asked for. Kinds that are unmistakable
 * (e-mail, IBAN,
 * "+49 …", an Italian fiscal code) have share 0: one is a finding. Where the column's name says what it is
 * ("bsn", "telefon", "date of birth"), one match is a finding too. Plain dates are birth dates where the name
 * says so, or where nearly all values are dates, most lie 16 years back, and they spread over 30 years.
 *
 * What is found asks for a class: e-mail, IBAN, card, phone and national id identify a person (personal); a
 * birth date narrows the circle (pseudonymized at least); a VAT number belongs to a business (internal at
 * least).
 *
 * Pure: no clock, no allocation, no global state. Counts add up, so parts may be scanned by several threads.
 */
#ifndef CORE_SCAN_SCAN_H
#define CORE_SCAN_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SCAN_KINDS_MAX = 64 };

enum scan_group {
    SCAN_EMAIL,
    SCAN_IBAN,
    SCAN_CARD,
    SCAN_PHONE,
    SCAN_VAT,
    SCAN_ID,
    SCAN_BIRTH_DATE,
};

size_t scan_kinds(void);
const char *scan_kind_name(size_t kind); /* "national id (PL)" */
enum scan_group scan_kind_group(size_t kind);

struct scan_counts {
    uint64_t values;                 /* non-empty ones */
    uint64_t whole[SCAN_KINDS_MAX];  /* values that are one */
    uint64_t inside[SCAN_KINDS_MAX]; /* found inside of longer text; unmistakable kinds only */
    uint64_t old_dates;              /* at least 16 years back */
    int year_min, year_max;          /* of dates; 0: none yet */
};

/* One value of a column; `year` is the present one: no birth lies behind it. */
void scan_value(const char *text, size_t n, int year, struct scan_counts *io);
/* One line of free text. */
void scan_line(const char *text, size_t n, struct scan_counts *io);
void scan_add(struct scan_counts *io, const struct scan_counts *other);

/* How many of `kind` count as found in a column of that name; 0: none. */
uint64_t scan_found(const struct scan_counts *c, const char *column, size_t kind);

#endif
