/* Arithmetic that several kinds share, IBAN and payment cards. */
#include "core/scan/scan_checks.h"

#include "base/def.h"

#include <string.h>

bool check_digits(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (s[i] < '0' || s[i] > '9')
            return false;
    return n > 0;
}

/* ISO/IEC 7812-1 annex B. */
bool check_luhn(const char *s, size_t n)
{
    unsigned sum = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned d = digit_at(s, n - 1 - i) * (1 + i % 2);
        sum += d > 9 ? d - 9 : d;
    }
    return sum % 10 == 0;
}

bool check_mod_11_10(const char *s, size_t n)
{
    unsigned p = 10;
    for (size_t i = 0; i + 1 < n; i++) {
        unsigned sum = (p + digit_at(s, i)) % 10;
        p = (sum ? sum : 10) * 2 % 11;
    }
    return (11 - p) % 10 == digit_at(s, n - 1);
}

unsigned check_mod(const char *s, size_t n, unsigned modulus)
{
    unsigned rest = 0;
    for (size_t i = 0; i < n; i++)
        rest = (rest * 10 + digit_at(s, i)) % modulus;
    return rest;
}

unsigned check_sum(const char *s, const char *weights)
{
    unsigned sum = 0;
    for (size_t i = 0; weights[i]; i++)
        sum += digit_at(s, i) * (unsigned)(weights[i] >= 'A' ? weights[i] - 'A' + 10 : weights[i] - '0');
    return sum;
}

bool check_date(unsigned year, unsigned month, unsigned day)
{
    static const unsigned char days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return month >= 1 && month <= 12 && day >= 1 && day <= days[month - 1] + (month == 2 && leap ? 1u : 0u);
}

/* ---- IBAN: ISO 13616; lengths from the registry of SWIFT ---- */

static size_t iban_length(const char *country)
{
    static const char lengths[] =
        "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BR29BY28CH21CR22CY28CZ24DE22DK18DO28EE20EG29ES24"
        "FI18FO18FR27GB22GE22GI23GL18GR27GT28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32"
        "LI21LT20LU20LV21LY25MC27MD24ME22MK19MR27MT31MU30NL18NO15PK24PL28PS29PT25QA29RO24RS22"
        "SA24SC31SE24SI19SK24SM27ST25SV28TL23TN24TR26UA29VA22VG24XK20";
    for (const char *p = lengths; *p; p += 4)
        if (p[0] == country[0] && p[1] == country[1])
            return (size_t)pair_at(p, 2);
    return 0;
}

bool is_iban(const char *s, size_t n)
{
    unsigned rest = 0;

    if (n < 15 || !check_digits(s + 2, 2) || iban_length(s) != n)
        return false;
    for (size_t i = 0; i < n; i++) {
        char c = s[(i + 4) % n];
        unsigned v = c >= 'A' ? (unsigned)(c - 'A') + 10 : (unsigned)(c - '0');
        rest = (rest * (v > 9 ? 100 : 10) + v) % 97;
    }
    return rest == 1;
}

/* ---- payment cards: Luhn, and a prefix and length that an issuer uses ---- */

static const struct issuer {
    unsigned first, last; /* of the leading six digits */
    unsigned char min, max;
} issuers[] = {
    { 400000, 499999, 13, 19 },                             // Visa
    { 510000, 559999, 16, 16 },                             // Mastercard
    { 222100, 272099, 16, 16 },                             // Mastercard since 2017
    { 340000, 349999, 15, 15 },                             // American Express
    { 370000, 379999, 15, 15 }, { 300000, 305999, 14, 19 }, // Diners Club
    { 360000, 369999, 14, 19 }, { 380000, 399999, 16, 19 }, { 601100, 601199, 16, 19 }, // Discover
    { 644000, 659999, 16, 19 }, { 352800, 358999, 16, 19 },                             // JCB
    { 620000, 629999, 16, 19 },                                                         // UnionPay
    { 500000, 509999, 13, 19 },                                                         // Maestro
    { 560000, 589999, 13, 19 }, { 639000, 639999, 13, 19 }, { 670000, 679999, 13, 19 },
};

bool is_card(const char *s, size_t n)
{
    bool known = false, varied = false;
    unsigned first;

    if (n < 13 || n > 19 || !check_digits(s, n))
        return false;
    first = 0;
    for (size_t i = 0; i < 6; i++)
        first = first * 10 + digit_at(s, i);
    for (size_t i = 0; i < ARRAY_LEN(issuers); i++)
        known = known || (first >= issuers[i].first && first <= issuers[i].last && n >= issuers[i].min &&
                          n <= issuers[i].max);
    /* Rounded amounts: nothing but zeros behind the prefix. */
    for (size_t i = 6; i < n; i++)
        varied = varied || s[i] != '0';
    return known && varied && check_luhn(s, n);
}
