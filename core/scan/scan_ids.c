/* National ids whose form and check digits are published. */
#include "core/scan/scan_checks.h"

#include "base/def.h"

#include <string.h>

/* Two digits of a year can be either century: the day must exist in one of them. */
static bool short_date(unsigned yy, unsigned month, unsigned day)
{
    return check_date(1900 + yy, month, day) || check_date(2000 + yy, month, day);
}

static bool id_at(const char *s, size_t n)
{
    (void)n;
    return s[0] != '0' && check_sum(s, "3790584216") % 11 == digit_at(s, 3) &&
           short_date(pair_at(s, 8), pair_at(s, 6), pair_at(s, 4));
}

static bool id_be(const char *s, size_t n)
{
    unsigned old = check_mod(s, 9, 97),
             now = (check_mod(s, 9, 97) + 2 * check_mod("1000000000", 10, 97)) % 97;
    (void)n;
    if (!short_date(pair_at(s, 0), pair_at(s, 2), pair_at(s, 4)))
        return false;
    return 97 - old == pair_at(s, 9) || 97 - now == pair_at(s, 9);
}

static bool id_bg(const char *s, size_t n)
{
    unsigned month = pair_at(s, 2), century = month > 40 ? 2000 : month > 20 ? 1800 : 1900;
    (void)n;
    return check_date(century + pair_at(s, 0), month % 20 ? month % 20 : 20, pair_at(s, 4)) &&
           check_sum(s, "2485A9736") % 11 % 10 == digit_at(s, 9);
}

/* 756, and the check digit of EAN-13. */
static bool id_ch(const char *s, size_t n)
{
    (void)n;
    return strncmp(s, "756", 3) == 0 && check_sum(s, "1313131313131") % 10 == 0;
}

bool is_cz_birth_number(const char *s, size_t n)
{
    unsigned yy = pair_at(s, 0), month = pair_at(s, 2) % 50;
    if (month > 20)
        month -= 20;
    if (!short_date(yy, month, pair_at(s, 4)))
        return false;
    if (n == 9) /* before 1954 there was no check digit */
        return yy < 54;
    return check_mod(s, 10, 11) == 0 || (yy >= 54 && yy <= 85 && check_mod(s, 9, 11) == 10 && s[9] == '0');
}

/* Among the first ten digits exactly one comes twice or three times, every other once or not at all. */
static bool id_de(const char *s, size_t n)
{
    unsigned char times[10] = { 0 };
    unsigned repeated = 0;
    for (size_t i = 0; i < 10; i++)
        times[digit_at(s, i)]++;
    for (size_t i = 0; i < 10; i++) {
        if (times[i] > 3)
            return false;
        repeated += times[i] > 1;
    }
    return s[0] != '0' && repeated == 1 && check_mod_11_10(s, n);
}

static bool id_dk(const char *s, size_t n)
{
    (void)n;
    return short_date(pair_at(s, 4), pair_at(s, 2), pair_at(s, 0)) && check_sum(s, "4327654321") % 11 == 0;
}

/* Estonia and Lithuania share it: the first digit tells the century. */
static bool id_ee_lt(const char *s, size_t n)
{
    unsigned century = 1800 + 100 * ((digit_at(s, 0) + 1) / 2 - 1), check;
    (void)n;
    if (s[0] < '1' || s[0] > '6' || !check_date(century + pair_at(s, 1), pair_at(s, 3), pair_at(s, 5)))
        return false;
    check = check_sum(s, "1234567891") % 11;
    if (check == 10)
        check = check_sum(s, "3456789123") % 11;
    return check % 10 == digit_at(s, 10);
}

bool is_es_person(const char *s, size_t n)
{
    static const char letters[] = "TRWAGMYFPDXBNJZSQVHLCKE";
    const char *foreigner = s[0] ? strchr("XYZ", s[0]) : NULL;
    char number[9];

    if (n != 9)
        return false;
    memcpy(number, s, 8);
    number[8] = '\0';
    if (foreigner)
        number[0] = (char)('0' + (s[0] - 'X'));
    else if (strchr("KLM", s[0]))
        number[0] = '0';
    return check_digits(number, 8) && s[8] == letters[check_mod(number, 8, 23)];
}

static bool id_fi(const char *s, size_t n)
{
    static const char letters[] = "0123456789ABCDEFHJKLMNPRSTUVWXY";
    char number[10];
    const char *rest = s + 6;

    if (n == 11) { /* a letter between date and number; the hyphen is a separator and gone */
        if (!strchr("ABCDEFYXWVU", s[6]))
            return false;
        rest++;
    }
    if (!check_digits(s, 6) || !check_digits(rest, 3) ||
        !short_date(pair_at(s, 4), pair_at(s, 2), pair_at(s, 0)))
        return false;
    memcpy(number, s, 6);
    memcpy(number + 6, rest, 3);
    return rest[3] == letters[check_mod(number, 9, 31)];
}

static bool id_fr(const char *s, size_t n)
{
    unsigned month = pair_at(s, 3);
    (void)n;
    return strchr("123478", s[0]) && ((month >= 1 && month <= 12) || (month >= 20 && month <= 42)) &&
           pair_at(s, 5) != 0 && 97 - check_mod(s, 13, 97) == pair_at(s, 13);
}

static bool id_gr(const char *s, size_t n)
{
    return short_date(pair_at(s, 4), pair_at(s, 2), pair_at(s, 0)) && check_luhn(s, n);
}

static bool id_hr(const char *s, size_t n)
{
    return check_mod_11_10(s, n);
}

static bool id_hu(const char *s, size_t n)
{
    (void)n;
    return check_sum(s, "37373737") % 10 == digit_at(s, 8) && check_mod(s, 8, 100000000) != 0;
}

static bool id_ie(const char *s, size_t n)
{
    static const char letters[] = "WABCDEFGHIJKLMNOPQRSTUV";
    unsigned sum;
    if (!check_digits(s, 7) || (n == 9 && (s[8] < 'A' || s[8] > 'W')))
        return false;
    sum = check_sum(s, "8765432") + (n == 9 && s[8] != 'W' ? 9 * (unsigned)(s[8] - 'A' + 1) : 0);
    return s[7] == letters[sum % 23];
}

/* Where two people would have the same code, letters stand for digits. */
static int it_digit(char c)
{
    static const char letters[] = "LMNPQRSTUV";
    const char *at = c ? strchr(letters, c) : NULL;
    return c >= '0' && c <= '9' ? c - '0' : at ? (int)(at - letters) : -1;
}

static bool id_it(const char *s, size_t n)
{
    static const unsigned char odd[] = { 1,  0,  5, 7, 9, 13, 15, 17, 19, 21, 2,  4,  18,
                                         20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23 };
    static const char form[] = "AAAAAA99A99A999A", months[] = "ABCDEHLMPRST";
    unsigned sum = 0;

    for (size_t i = 0; i < n; i++)
        if (form[i] == '9' ? it_digit(s[i]) < 0 : s[i] < 'A' || s[i] > 'Z')
            return false;
    for (size_t i = 0; i + 1 < n; i++) {
        unsigned v = s[i] >= 'A' ? (unsigned)(s[i] - 'A') : digit_at(s, i);
        sum += i % 2 ? v : odd[v];
    }
    int day = it_digit(s[9]) * 10 + it_digit(s[10]);
    return strchr(months, s[8]) && day % 40 >= 1 && day <= 71 && day % 40 <= 31 &&
           s[15] == (char)('A' + sum % 26);
}

/* Verhoeff 1969: the product in the group of a pentagon's symmetries; 0 to 4 turn it, 5 to 9 mirror it. */
static unsigned pentagon(unsigned a, unsigned b)
{
    if (a < 5)
        return b < 5 ? (a + b) % 5 : 5 + (a + b) % 5;
    return b < 5 ? 5 + (a - b) % 5 : (a - b + 5) % 5;
}

static bool check_verhoeff(const char *s, size_t n)
{
    static const unsigned char moved[] = { 1, 5, 7, 6, 2, 8, 3, 0, 9, 4 };
    unsigned sum = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned d = digit_at(s, n - 1 - i);
        for (size_t times = i % 8; times > 0; times--)
            d = moved[d];
        sum = pentagon(sum, d);
    }
    return sum == 0;
}

/* The twelfth digit is Luhn's over the eleven before it, the thirteenth Verhoeff's. */
static bool id_lu(const char *s, size_t n)
{
    unsigned year = pair_at(s, 0) * 100 + pair_at(s, 2);
    char without[13];

    (void)n;
    memcpy(without, s, 11);
    without[11] = s[12];
    return year >= 1850 && year < 2100 && check_date(year, pair_at(s, 4), pair_at(s, 6)) &&
           check_luhn(s, 12) && check_verhoeff(without, 12);
}

static bool id_lv(const char *s, size_t n)
{
    (void)n;
    return s[6] <= '2' && short_date(pair_at(s, 4), pair_at(s, 2), pair_at(s, 0)) &&
           (1 + check_sum(s, "A584216379")) % 11 % 10 == digit_at(s, 10);
}

bool is_nl_bsn(const char *s, size_t n)
{
    unsigned sum = check_sum(s, "98765432") + 10 * digit_at(s, 8); // the last counts -1
    (void)n;
    return sum % 11 == 0 && sum > 0;
}

static bool id_no(const char *s, size_t n)
{
    unsigned day = pair_at(s, 0);
    (void)n;
    return short_date(pair_at(s, 4), pair_at(s, 2), day > 40 ? day - 40 : day) &&
           check_sum(s, "3761894521") % 11 == 0 && check_sum(s, "54327654321") % 11 == 0;
}

static bool id_pl(const char *s, size_t n)
{
    unsigned month = pair_at(s, 2), century = month > 20 ? 2000 : 1900;
    (void)n;
    return check_date(century + pair_at(s, 0), month > 20 ? month - 20 : month, pair_at(s, 4)) &&
           check_sum(s, "13791379131") % 10 == 0;
}

static bool id_pt(const char *s, size_t n)
{
    unsigned check = 11 - check_sum(s, "98765432") % 11;
    (void)n;
    return strchr("123", s[0]) && (check > 9 ? 0 : check) == digit_at(s, 8);
}

static bool id_ro(const char *s, size_t n)
{
    static const unsigned centuries[] = { 0, 1900, 1900, 1800, 1800, 2000, 2000, 1900, 1900, 1900 };
    unsigned check = check_sum(s, "279146358279") % 11, county = pair_at(s, 7);
    (void)n;
    return s[0] != '0' &&
           check_date(centuries[digit_at(s, 0)] + pair_at(s, 1), pair_at(s, 3), pair_at(s, 5)) &&
           (county >= 1 && county <= 52) && (check == 10 ? 1 : check) == digit_at(s, 12);
}

static bool id_se(const char *s, size_t n)
{
    const char *ten = s + (n - 10);
    unsigned day = pair_at(ten, 4);
    if (n != 10 && (n != 12 || (strncmp(s, "19", 2) != 0 && strncmp(s, "20", 2) != 0)))
        return false;
    return short_date(pair_at(ten, 0), pair_at(ten, 2), day > 60 ? day - 60 : day) && check_luhn(ten, 10);
}

static bool id_si(const char *s, size_t n)
{
    unsigned year = digit_at(s, 4) * 100 + pair_at(s, 5);
    (void)n;
    return check_date(year < 800 ? 2000 + year : 1000 + year, pair_at(s, 2), pair_at(s, 0)) &&
           (11 - check_sum(s, "765432765432") % 11) % 11 % 10 == digit_at(s, 12);
}

/* The share is far above what chance gives: mod 11 lets 9 of 100 random numbers through, a date and a check
 * digit less than 1. */
const struct id_rule id_rules[] = {
    { "national id (AT)", 10, 10, true, 10, id_at, "svnr|sozialversicherung" },
    { "national id (BE)", 11, 11, true, 5, id_be, "rijksregister|registrenational|niss|insz" },
    { "national id (BG)", 10, 10, true, 10, id_bg, "egn" },
    { "national id (CH)", 13, 13, true, 5, id_ch, "ahv|avs" },
    { "national id (CZ, SK)", 10, 10, true, 15, is_cz_birth_number, "rodnecislo|rodne" },
    { "national id (DE)", 11, 11, true, 10, id_de, "steuerid|steueridentifikation|idnr" },
    { "national id (DK)", 10, 10, true, 10, id_dk, "cpr|personnummer" },
    { "national id (EE, LT)", 11, 11, true, 10, id_ee_lt, "isikukood|asmenskodas" },
    { "national id (ES)", 9, 9, false, 20, is_es_person, "dni|nie|nif" },
    { "national id (FI)", 10, 11, false, 5, id_fi, "henkilotunnus|hetu" },
    { "national id (FR)", 15, 15, true, 5, id_fr, "nir|insee|securitesociale" },
    { "national id (GR)", 11, 11, true, 10, id_gr, "amka" },
    { "national id (HR)", 11, 11, true, 40, id_hr, "oib" },
    { "national id (HU)", 9, 9, true, 40, id_hu, "taj" },
    { "national id (IE)", 8, 9, false, 20, id_ie, "pps|ppsn" },
    { "national id (IT)", 16, 16, false, 0, id_it, "codicefiscale" },
    { "national id (LU)", 13, 13, true, 5, id_lu, "matricule" },
    { "national id (LV)", 11, 11, true, 10, id_lv, "personaskods" },
    { "national id (NL)", 9, 9, true, 40, is_nl_bsn, "bsn|burgerservice|sofi" },
    { "national id (NO)", 11, 11, true, 5, id_no, "fodselsnummer" },
    { "national id (PL)", 11, 11, true, 10, id_pl, "pesel" },
    { "national id (PT)", 9, 9, true, 40, id_pt, "nif|contribuinte" },
    { "national id (RO)", 13, 13, true, 10, id_ro, "cnp" },
    { "national id (SE)", 10, 12, true, 10, id_se, "personnummer|samordningsnummer" },
    { "national id (SI)", 13, 13, true, 10, id_si, "emso" },
};
const size_t id_rule_count = ARRAY_LEN(id_rules);
