/* EU VAT numbers: the check digits as the member states' tax offices publish them (collected in the VIES
 * notes). */
#include "core/scan/scan_checks.h"

#include "base/def.h"

#include <string.h>

static bool vat_at(const char *s, size_t n)
{
    unsigned sum = 4;
    if (s[0] != 'U' || !check_digits(s + 1, n - 1))
        return false;
    for (size_t i = 1; i < 8; i++) {
        unsigned d = digit_at(s, i) * (i % 2 ? 1 : 2);
        sum += d > 9 ? d - 9 : d;
    }
    return (10 - sum % 10) % 10 == digit_at(s, 8);
}

static bool vat_be(const char *s, size_t n)
{
    return check_digits(s, n) && s[0] <= '1' && check_mod(s, 8, 100000000) != 0 &&
           97 - check_mod(s, 8, 97) == pair_at(s, 8);
}

static bool vat_bg(const char *s, size_t n)
{
    unsigned check;
    if (!check_digits(s, n))
        return false;
    check = check_sum(s, "12345678") % 11;
    if (check == 10)
        check = check_sum(s, "3456789A") % 11;
    return check % 10 == digit_at(s, 8);
}

static bool vat_cy(const char *s, size_t n)
{
    static const unsigned char odd[] = { 1, 0, 5, 7, 9, 13, 15, 17, 19, 21 };
    unsigned sum = 0;
    if (!check_digits(s, n - 1) || strncmp(s, "12", 2) == 0)
        return false;
    for (size_t i = 0; i < 8; i++)
        sum += i % 2 ? digit_at(s, i) : odd[digit_at(s, i)];
    return s[8] == (char)('A' + sum % 26);
}

static bool vat_cz(const char *s, size_t n)
{
    unsigned check;
    if (!check_digits(s, n))
        return false;
    if (n > 8)
        return is_cz_birth_number(s, n);
    check = (11 - check_sum(s, "8765432") % 11) % 11;
    return s[0] != '9' && (check ? check : 1) % 10 == digit_at(s, 7);
}

static bool vat_de(const char *s, size_t n)
{
    return check_digits(s, n) && s[0] != '0' && check_mod_11_10(s, n);
}

static bool vat_dk(const char *s, size_t n)
{
    return check_digits(s, n) && s[0] != '0' && check_sum(s, "27654321") % 11 == 0;
}

static bool vat_ee(const char *s, size_t n)
{
    return check_digits(s, n) && check_sum(s, "371371371") % 10 == 0;
}

static bool vat_el(const char *s, size_t n)
{
    unsigned sum = 0;
    if (!check_digits(s, n) || strncmp(s, "000000000", 9) == 0)
        return false;
    for (size_t i = 0; i < 8; i++)
        sum = sum * 2 + digit_at(s, i);
    return sum * 2 % 11 % 10 == digit_at(s, 8);
}

/* Companies: a letter, seven digits, a digit or a letter, by the first letter. */
static bool es_company(const char *s)
{
    unsigned sum = 0;
    if (!strchr("ABCDEFGHJNPQRSUVW", s[0]) || !check_digits(s + 1, 7))
        return false;
    for (size_t i = 1; i < 8; i++) {
        unsigned d = digit_at(s, i) * (i % 2 ? 2 : 1);
        sum += d > 9 ? d - 9 : d;
    }
    unsigned check = (10 - sum % 10) % 10;
    bool letter = s[8] == "JABCDEFGHI"[check], number = s[8] == (char)('0' + check);
    if (strchr("PQRSNW", s[0]))
        return letter;
    return strchr("ABEH", s[0]) ? number : letter || number;
}

static bool vat_es(const char *s, size_t n)
{
    return is_es_person(s, n) || es_company(s);
}

static bool vat_fi(const char *s, size_t n)
{
    return check_digits(s, n) && check_sum(s, "79A58421") % 11 == 0 && check_mod(s, n, 10000000) != 0;
}

static bool vat_fr(const char *s, size_t n)
{
    return check_digits(s, n) && check_luhn(s + 2, 9) && strncmp(s + 2, "000000000", 9) != 0 &&
           (12 + 3 * check_mod(s + 2, 9, 97)) % 97 == pair_at(s, 0);
}

static bool vat_hr(const char *s, size_t n)
{
    return check_digits(s, n) && check_mod_11_10(s, n);
}

static bool vat_hu(const char *s, size_t n)
{
    return check_digits(s, n) && s[0] != '0' && (10 - check_sum(s, "9731973") % 10) % 10 == digit_at(s, 7);
}

static bool vat_ie(const char *s, size_t n)
{
    static const char letters[] = "WABCDEFGHIJKLMNOPQRSTUV";
    char digits[8];
    unsigned sum;

    if (check_digits(s, 7)) { /* 1234567T, 1234567TW */
        sum = check_sum(s, "8765432");
        if (n == 9) {
            if (s[8] < 'A' || s[8] > 'W')
                return false;
            sum += s[8] == 'W' ? 0 : 9 * (unsigned)(s[8] - 'A' + 1);
        }
        return s[7] == letters[sum % 23];
    }
    if (n != 8 || !check_digits(s, 1) || check_digits(s + 1, 1) || !check_digits(s + 2, 5))
        return false;
    digits[0] = '0'; /* the form before 2013: 8Z49289F */
    memcpy(digits + 1, s + 2, 5);
    digits[6] = s[0];
    digits[7] = '\0';
    return s[7] == letters[check_sum(digits, "8765432") % 23];
}

static bool vat_it(const char *s, size_t n)
{
    unsigned office;
    if (!check_digits(s, n) || check_mod(s, 7, 10000000) == 0)
        return false;
    office = check_mod(s + 7, 3, 1000);
    return ((office >= 1 && office <= 100) || office == 120 || office == 121 || office == 888 ||
            office == 999) &&
           check_luhn(s, n);
}

static unsigned lt_check(const char *s, size_t n)
{
    unsigned sum = 0, again = 0;
    for (size_t i = 0; i + 1 < n; i++) {
        sum += digit_at(s, i) * (unsigned)(1 + i % 9);
        again += digit_at(s, i) * (unsigned)(1 + (i + 2) % 9);
    }
    return (sum % 11 == 10 ? again : sum) % 11 % 10;
}

static bool vat_lt(const char *s, size_t n)
{
    return check_digits(s, n) && (n == 9 || n == 12) && s[n - 2] == '1' &&
           lt_check(s, n) == digit_at(s, n - 1);
}

static bool vat_lu(const char *s, size_t n)
{
    return check_digits(s, n) && check_mod(s, 6, 1000000) != 0 && check_mod(s, 6, 89) == pair_at(s, 6);
}

static bool vat_lv(const char *s, size_t n)
{
    return check_digits(s, n) && s[0] > '3' && check_sum(s, "91483A25761") % 11 == 3;
}

static bool vat_mt(const char *s, size_t n)
{
    return check_digits(s, n) && s[0] != '0' &&
           (check_sum(s, "346789") + 10 * digit_at(s, 6) + digit_at(s, 7)) % 37 == 0;
}

static bool vat_nl(const char *s, size_t n)
{
    /* Persons since 2020: the letters and all the rest modulo 97 (N is 23, L 21, B 11). */
    unsigned rest = 2321 % 97;
    if (!check_digits(s, 9) || s[9] != 'B' || !check_digits(s + 10, 2) || pair_at(s, 10) == 0)
        return false;
    for (size_t i = 0; i < n; i++)
        rest = (s[i] == 'B' ? rest * 100 + 11 : rest * 10 + digit_at(s, i)) % 97;
    return is_nl_bsn(s, 9) || rest == 1;
}

static bool vat_pl(const char *s, size_t n)
{
    return check_digits(s, n) && s[0] != '0' && check_sum(s, "657234567") % 11 == digit_at(s, 9);
}

static bool vat_pt(const char *s, size_t n)
{
    unsigned check;
    if (!check_digits(s, n) || s[0] == '0')
        return false;
    check = 11 - check_sum(s, "98765432") % 11;
    return (check > 9 ? 0 : check) == digit_at(s, 8);
}

static bool vat_ro(const char *s, size_t n)
{
    char padded[11] = "0000000000";
    if (!check_digits(s, n) || s[0] == '0')
        return false;
    memcpy(padded + (10 - n), s, n);
    return 10 * check_sum(padded, "753217532") % 11 % 10 == digit_at(padded, 9);
}

static bool vat_se(const char *s, size_t n)
{
    return check_digits(s, n) && s[0] != '0' && check_luhn(s, 10) && pair_at(s, 10) >= 1 &&
           pair_at(s, 10) <= 94;
}

static bool vat_si(const char *s, size_t n)
{
    unsigned check;
    if (!check_digits(s, n) || s[0] == '0')
        return false;
    check = 11 - check_sum(s, "8765432") % 11;
    return check < 11 && check % 10 == digit_at(s, 7);
}

static bool vat_sk(const char *s, size_t n)
{
    return check_digits(s, n) && s[0] != '0' && strchr("234789", s[2]) && check_mod(s, n, 11) == 0;
}

const struct vat_rule vat_rules[] = {
    { "AT", 9, 9, vat_at },   { "BE", 10, 10, vat_be }, { "BG", 9, 9, vat_bg },   { "CY", 9, 9, vat_cy },
    { "CZ", 8, 10, vat_cz },  { "DE", 9, 9, vat_de },   { "DK", 8, 8, vat_dk },   { "EE", 9, 9, vat_ee },
    { "EL", 9, 9, vat_el },   { "ES", 9, 9, vat_es },   { "FI", 8, 8, vat_fi },   { "FR", 11, 11, vat_fr },
    { "HR", 11, 11, vat_hr }, { "HU", 8, 8, vat_hu },   { "IE", 8, 9, vat_ie },   { "IT", 11, 11, vat_it },
    { "LT", 9, 12, vat_lt },  { "LU", 8, 8, vat_lu },   { "LV", 11, 11, vat_lv }, { "MT", 8, 8, vat_mt },
    { "NL", 12, 12, vat_nl }, { "PL", 10, 10, vat_pl }, { "PT", 9, 9, vat_pt },   { "RO", 2, 10, vat_ro },
    { "SE", 12, 12, vat_se }, { "SI", 8, 8, vat_si },   { "SK", 10, 10, vat_sk },
};
const size_t vat_rule_count = ARRAY_LEN(vat_rules);
