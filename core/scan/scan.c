#include "core/scan/scan.h"

#include "base/err.h"
#include "core/scan/scan_checks.h"
#include "core/scan/scan_forms.h"

#include <string.h>

enum {
    DIGITS_MIN = 6,      /* "1.1.1980" */
    FORM_BYTES_MAX = 34, /* an IBAN's letters and digits */
    VALUE_BYTES_MAX = 48,
    GROUPS_MAX = 12,
    BIRTH_YEAR_MIN = 1900,
    ADULT_YEARS = 16,
    SPREAD_YEARS = 30,
    BIRTH_SHARE = 80,
    BY_NAME_ONLY = 101, /* no share is enough */
};

/* ---- the kinds: those with a row here, then VAT by country, then national ids ---- */

enum {
    KIND_EMAIL,
    KIND_IBAN,
    KIND_CARD,
    KIND_PHONE,
    KIND_PHONE_NATIONAL,
    KIND_PHONE_DIGITS,
    KIND_BIRTH,
    KIND_FIRST_VAT
};

static const struct kind {
    const char *name;
    enum scan_group group;
    unsigned char share;
    const char *words;
} kinds[KIND_FIRST_VAT] = {
    [KIND_EMAIL] = { "e-mail address", SCAN_EMAIL, 0, "" },
    [KIND_IBAN] = { "IBAN", SCAN_IBAN, 0, "" },
    [KIND_CARD] = { "payment card", SCAN_CARD, 30, "card|kreditkarte|kartennummer|pan|carte|tarjeta|carta" },
    [KIND_PHONE] = { "phone number", SCAN_PHONE, 0, "" },
    [KIND_PHONE_NATIONAL] = { "phone number (national)", SCAN_PHONE, 50,
                              "phone|telef|tel|mobil|handy|gsm|fax|cell" },
    [KIND_PHONE_DIGITS] = { "phone number (by name)", SCAN_PHONE, BY_NAME_ONLY,
                            "phone|telef|tel|mobil|handy|gsm|fax|cell" },
    [KIND_BIRTH] = { "birth date", SCAN_BIRTH_DATE, BY_NAME_ONLY,
                     "birth|dob|geburt|geboren|gebdat|naissance|nascita|nacimiento|nascimento|geboorte|"
                     "fødsel|födel|fodsel|"
                     "urodzenia|narozen|született|szulet|syntym|sünni|dzimsanas|gimimo|γέννησης|rojstva|"
                     "rođenja" },
};
static const char *const vat_names[] = {
    "VAT number (AT)", "VAT number (BE)", "VAT number (BG)", "VAT number (CY)", "VAT number (CZ)",
    "VAT number (DE)", "VAT number (DK)", "VAT number (EE)", "VAT number (EL)", "VAT number (ES)",
    "VAT number (FI)", "VAT number (FR)", "VAT number (HR)", "VAT number (HU)", "VAT number (IE)",
    "VAT number (IT)", "VAT number (LT)", "VAT number (LU)", "VAT number (LV)", "VAT number (MT)",
    "VAT number (NL)", "VAT number (PL)", "VAT number (PT)", "VAT number (RO)", "VAT number (SE)",
    "VAT number (SI)", "VAT number (SK)",
};

static size_t first_id(void)
{
    return KIND_FIRST_VAT + vat_rule_count;
}

size_t scan_kinds(void)
{
    invariant(vat_rule_count == ARRAY_LEN(vat_names) && first_id() + id_rule_count <= SCAN_KINDS_MAX);
    return first_id() + id_rule_count;
}

const char *scan_kind_name(size_t kind)
{
    return kind < KIND_FIRST_VAT ? kinds[kind].name
           : kind < first_id()   ? vat_names[kind - KIND_FIRST_VAT]
                                 : id_rules[kind - first_id()].name;
}

enum scan_group scan_kind_group(size_t kind)
{
    return kind < KIND_FIRST_VAT ? kinds[kind].group : kind < first_id() ? SCAN_VAT : SCAN_ID;
}

static unsigned share_of(size_t kind)
{
    return kind < KIND_FIRST_VAT ? kinds[kind].share
           : kind < first_id()   ? 0
                                 : id_rules[kind - first_id()].share;
}

static const char *words_of(size_t kind)
{
    return kind < KIND_FIRST_VAT ? kinds[kind].words
           : kind < first_id()   ? ""
                                 : id_rules[kind - first_id()].words;
}

/* ---- a value as a whole ---- */

/* Letters in upper case and digits; what separates them is gone. */
struct form {
    char text[FORM_BYTES_MAX + 1];
    size_t n, digits;
};

static char upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

static bool is_word(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_separator(char c)
{
    return c == ' ' || c == '-' || c == '.' || c == '/';
}

static bool add_to_form(struct form *f, char c)
{
    if (f->n == FORM_BYTES_MAX)
        return false;
    f->text[f->n++] = upper(c);
    f->digits += c >= '0' && c <= '9';
    f->text[f->n] = '\0';
    return true;
}

/* Single separators between letters or digits; "12345678.9" is a fraction and no form. */
static bool form_of(const char *text, size_t n, struct form *out)
{
    struct form f = { .n = 0 };
    size_t gaps = 0, dots = 0;

    for (size_t i = 0; i < n; i++) {
        if (is_word(text[i]) ? !add_to_form(&f, text[i])
                             : !is_separator(text[i]) || i == 0 || i + 1 == n || !is_word(text[i - 1]))
            return false;
        gaps += !is_word(text[i]);
        dots += text[i] == '.';
    }
    if (f.n == 0 || (dots == 1 && gaps == 1 && f.digits == f.n))
        return false;
    *out = f;
    return true;
}

/* `each` kind that the form passes. Letters tell VAT and IBAN by their country. */
static bool match_form(const struct form *f, bool unmistakable, bool grouped, uint64_t *counts)
{
    const char *s = f->text;
    bool all_digits = f->digits == f->n, hit = false;
    bool country = f->n > 4 && s[0] >= 'A' && s[1] >= 'A';

    if (f->digits < DIGITS_MIN)
        return false;
    if (country && is_iban(s, f->n))
        return counts[KIND_IBAN]++, true;
    if (all_digits && (!unmistakable || grouped) && is_card(s, f->n))
        counts[KIND_CARD]++, hit = true;
    for (size_t i = 0; country && i < vat_rule_count; i++) {
        const struct vat_rule *r = &vat_rules[i];
        if (s[0] == r->country[0] && s[1] == r->country[1] && f->n - 2 >= r->min && f->n - 2 <= r->max &&
            f->digits >= DIGITS_MIN && r->check(s + 2, f->n - 2))
            counts[KIND_FIRST_VAT + i]++, hit = true;
    }
    for (size_t i = 0; i < id_rule_count; i++) {
        const struct id_rule *r = &id_rules[i];
        if (f->n < r->min || f->n > r->max || (r->digits && !all_digits) || (!r->digits && all_digits) ||
            (unmistakable && r->share > (grouped ? 5 : 0)))
            continue;
        if (r->check(s, f->n))
            counts[first_id() + i]++, hit = true;
    }
    return hit;
}

static bool match_date(const char *text, size_t n, int year, struct scan_counts *io)
{
    struct day d;
    if (!day_of(text, n, &d))
        return false;
    if (d.year < BIRTH_YEAR_MIN || d.year > year)
        return true; /* a date, but nobody's birth */
    io->whole[KIND_BIRTH]++;
    io->old_dates += d.year <= year - ADULT_YEARS;
    io->year_min = io->year_min ? MIN(io->year_min, d.year) : d.year;
    io->year_max = MAX(io->year_max, d.year);
    return true;
}

static bool match_phone(const char *text, size_t n, struct scan_counts *io)
{
    enum phone_form form = phone_form(text, n);
    if (form == PHONE_INTERNATIONAL)
        io->whole[KIND_PHONE]++;
    if (form == PHONE_NATIONAL)
        io->whole[KIND_PHONE_NATIONAL]++;
    if (form == PHONE_NATIONAL || form == PHONE_DIGITS)
        io->whole[KIND_PHONE_DIGITS]++;
    return form == PHONE_INTERNATIONAL || form == PHONE_NATIONAL;
}

/* "-1234567.89": what most columns are made of. */
static bool is_number(const char *text, size_t n)
{
    size_t points = 0;
    for (size_t i = text[0] == '-'; i < n; i++) {
        bool digit = text[i] >= '0' && text[i] <= '9', point = text[i] == '.' || text[i] == ',';
        if (!digit && (!point || ++points > 1))
            return false;
    }
    return true;
}

/* Digits and nothing else. */
static void match_digits(const char *text, size_t n, struct scan_counts *io)
{
    struct form f = { .n = n, .digits = n };

    if (n > FORM_BYTES_MAX)
        return;
    if (n >= 7 && n <= 15)
        io->whole[KIND_PHONE_DIGITS]++;
    if (text[0] == '0' && n >= 10 && n <= 12)
        io->whole[KIND_PHONE_NATIONAL]++;
    memcpy(f.text, text, n);
    match_form(&f, false, false, io->whole);
}

/* ---- free text ---- */

/* The longest run of words at `text` that is something: its length; 0: none. */
static size_t match_run(const char *text, size_t n, uint64_t *counts)
{
    struct form f = { .n = 0 };
    struct {
        size_t end, n, digits;
    } stops[GROUPS_MAX] = { { .end = 0 } };
    size_t count = 0, i = 0;

    while (count < GROUPS_MAX && i < n && is_word(text[i])) {
        while (i < n && is_word(text[i]) && add_to_form(&f, text[i]))
            i++;
        if (i < n && (is_word(text[i]) || (unsigned char)text[i] >= 0x80))
            break; /* too long, or a word that goes on in other letters */
        stops[count].end = i;
        stops[count].n = f.n;
        stops[count++].digits = f.digits;
        if (count == 1 && f.digits == 0 && f.n != 2)
            return 0; /* only a country's two letters stand before the digits */
        if (i + 1 < n && is_separator(text[i]) && is_word(text[i + 1]))
            i++;
    }
    while (count-- > 0) {
        f.n = stops[count].n;
        f.digits = stops[count].digits;
        f.text[f.n] = '\0';
        if (match_form(&f, true, count > 1, counts)) /* three groups and more */
            return stops[count].end;
    }
    return 0;
}

static void search(const char *text, size_t n, struct scan_counts *io)
{
    bool inside = false; /* of a word */
    for (size_t i = 0; i < n; i++) {
        size_t matched = 0;
        if (text[i] == '+' && !inside && (matched = phone_at(text + i, n - i)) > 0)
            io->inside[KIND_PHONE]++;
        else if (is_word(text[i]) && !inside)
            matched = match_run(text + i, n - i, io->inside);
        if (matched > 0)
            i += matched - 1;
        inside = is_word(text[i]) || (unsigned char)text[i] >= 0x80;
    }
}

/* ---- what callers see ---- */

struct look {
    size_t digits;
    bool at;
};

static struct look look_at(const char *text, size_t n)
{
    struct look l = { 0 };
    for (size_t i = 0; i < n; i++) {
        l.digits += (unsigned char)(text[i] - '0') < 10;
        l.at |= text[i] == '@';
    }
    return l;
}

void scan_line(const char *text, size_t n, struct scan_counts *io)
{
    struct look l = look_at(text, n);
    io->values += n > 0;
    if (l.at)
        io->inside[KIND_EMAIL] += emails_in(text, n);
    if (l.digits >= DIGITS_MIN)
        search(text, n, io);
}

void scan_value(const char *text, size_t n, int year, struct scan_counts *io)
{
    struct form form;

    while (n > 0 && (text[0] == ' ' || text[0] == '\t'))
        text++, n--;
    while (n > 0 && (text[n - 1] == ' ' || text[n - 1] == '\t'))
        n--;
    if (n == 0)
        return;
    io->values++;
    struct look l = look_at(text, n);
    if (l.at)
        io->inside[KIND_EMAIL] += emails_in(text, n);
    if (l.digits < DIGITS_MIN)
        return;
    if (l.digits == n) {
        match_digits(text, n, io);
        return;
    }
    if (l.digits + 2 >= n && is_number(text, n))
        return;
    if (n <= VALUE_BYTES_MAX) {
        if (match_date(text, n, year, io))
            return;
        bool phone = match_phone(text, n, io), formed = form_of(text, n, &form);
        bool matched = formed && match_form(&form, false, true, io->whole);
        if (phone || matched || (formed && l.digits == form.n))
            return; /* plain digits are no text */
    }
    search(text, n, io);
}

void scan_add(struct scan_counts *io, const struct scan_counts *other)
{
    io->values += other->values;
    io->old_dates += other->old_dates;
    for (size_t i = 0; i < SCAN_KINDS_MAX; i++) {
        io->whole[i] += other->whole[i];
        io->inside[i] += other->inside[i];
    }
    if (other->year_min)
        io->year_min = io->year_min ? MIN(io->year_min, other->year_min) : other->year_min;
    io->year_max = MAX(io->year_max, other->year_max);
}

/* ---- what a column's name says ---- */

/* Lower case, without what separates: "Date of Birth" and "dateOfBirth" are "dateofbirth". */
static size_t squeeze(const char *name, char *out, size_t room)
{
    size_t n = 0;
    for (; *name && n + 1 < room; name++)
        if (is_word(*name) || (unsigned char)*name >= 0x80)
            out[n++] = *name >= 'A' && *name <= 'Z' ? (char)(*name - 'A' + 'a') : *name;
    out[n] = '\0';
    return n;
}

/* A short word must stand alone: "tel" is not in "hotel". */
static bool stands_alone(const char *name, const char *word, size_t n)
{
    for (const char *p = name; (p = strcasestr(p, word)) != NULL; p++) {
        bool starts = p == name || !is_word(p[-1]) || (p[-1] >= 'a' && p[0] >= 'A' && p[0] <= 'Z');
        bool ends =
            !is_word(p[n]) || (p[n] >= '0' && p[n] <= '9') || (p[n] >= 'A' && p[n] <= 'Z' && p[n - 1] >= 'a');
        if (starts && ends)
            return true;
    }
    return false;
}

static bool says(const char *column, const char *words)
{
    enum { WORD_BYTES = 40, SHORT = 4 };
    char squeezed[256], word[WORD_BYTES];

    squeeze(column, squeezed, sizeof(squeezed));
    for (const char *p = words; *p;) {
        size_t n = strcspn(p, "|");
        invariant(n < WORD_BYTES);
        memcpy(word, p, n);
        word[n] = '\0';
        if (n <= SHORT ? stands_alone(column, word, n) : strstr(squeezed, word) != NULL)
            return true;
        p += n + (p[n] == '|');
    }
    return false;
}

static bool looks_like_births(const struct scan_counts *c)
{
    uint64_t n = c->whole[KIND_BIRTH];
    return n * 100 >= c->values * BIRTH_SHARE && c->old_dates * 2 >= n &&
           c->year_max - c->year_min >= SPREAD_YEARS;
}

uint64_t scan_found(const struct scan_counts *c, const char *column, size_t kind)
{
    uint64_t whole = c->whole[kind];
    unsigned share = share_of(kind);

    if (kind == KIND_PHONE_DIGITS && scan_found(c, column, KIND_PHONE_NATIONAL) == whole)
        return 0; /* counted there */
    bool enough = share == 0 || (whole > 0 && whole * 100 >= c->values * share) ||
                  says(column, words_of(kind)) || (kind == KIND_BIRTH && looks_like_births(c));
    return (enough ? whole : 0) + c->inside[kind];
}
