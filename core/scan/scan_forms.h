/*
 * scan_forms.h - the kinds that have a form but no check digit: e-mail, phone, date. Private to core/scan.
 */
#ifndef CORE_SCAN_SCAN_FORMS_H
#define CORE_SCAN_SCAN_FORMS_H

#include <stdbool.h>
#include <stddef.h>

/* How many addresses the text holds. */
size_t emails_in(const char *text, size_t n);

enum phone_form {
    PHONE_NONE,
    PHONE_INTERNATIONAL, /* "+49 30 123456": E.164, 8 to 15 digits behind a country code of Europe or +1, +7
                          */
    PHONE_NATIONAL,      /* "030/123456", "06 12 34 56 78": a leading zero, 9 to 12 digits */
    PHONE_DIGITS,        /* 7 to 15 digits with or without separators: only a column's name makes it one */
};
enum phone_form phone_form(const char *text, size_t n);
/* An international number that starts at text[0] == '+': its length; 0: none. */
size_t phone_at(const char *text, size_t n);

struct day {
    int year, month, day;
};
/* 1980-02-29 (with or without a time of day behind it), 29.2.1980, 29/02/1980, 29-02-1980; a day of the
 * calendar. */
bool day_of(const char *text, size_t n, struct day *out);

#endif
