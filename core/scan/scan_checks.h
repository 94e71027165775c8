/*
 * scan_checks.h - the check digits behind scan.h. Private to core/scan.
 *
 * Each takes `n` characters that the caller has already normalised: upper-case letters and digits only, of a
 * length that the kind's row allows. Sources are named where the algorithm stands.
 */
#ifndef CORE_SCAN_SCAN_CHECKS_H
#define CORE_SCAN_SCAN_CHECKS_H

#include <stdbool.h>
#include <stddef.h>

/* ---- shared arithmetic; digits only ---- */
bool check_luhn(const char *s, size_t n);
bool check_mod_11_10(const char *s, size_t n);                 /* ISO 7064 */
unsigned check_mod(const char *s, size_t n, unsigned modulus); /* the number's remainder */
unsigned check_sum(const char *s, const char *weights);        /* weights: 'A' is 10; as many as it is long */
bool check_date(unsigned year, unsigned month, unsigned day);  /* a day of the calendar */
bool check_digits(const char *s, size_t n);
static inline unsigned digit_at(const char *s, size_t i)
{
    return (unsigned)(s[i] - '0');
}
static inline unsigned pair_at(const char *s, size_t i)
{
    return digit_at(s, i) * 10 + digit_at(s, i + 1);
}

/* ---- kinds ---- */
bool is_iban(const char *s, size_t n);
bool is_card(const char *s, size_t n);

/* Behind the country's letters. */
struct vat_rule {
    char country[3];
    unsigned char min, max; /* characters behind the letters */
    bool (*check)(const char *s, size_t n);
};
extern const struct vat_rule vat_rules[];
extern const size_t vat_rule_count;

struct id_rule {
    const char *name; /* "national id (PL)" */
    unsigned char min, max;
    bool digits;         /* else it has letters */
    unsigned char share; /* scan.h; 0: unmistakable */
    bool (*check)(const char *s, size_t n);
    const char *words; /* of column names that say it: "pesel|…" */
};
extern const struct id_rule id_rules[];
extern const size_t id_rule_count;

/* The same number is an id and a VAT number in some countries. */
bool is_nl_bsn(const char *s, size_t n);
bool is_es_person(const char *s, size_t n); /* DNI, NIE */
bool is_cz_birth_number(const char *s, size_t n);

#endif
