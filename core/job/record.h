/*
 * record.h - a plain struct to a JSON object and back, by a table of members. Private to core/job.
 *
 * For what programs write and programs read: each member must be there, of its type and within its range, and
 * there must be no other. Whatever is wrong is ERR_CORRUPT with the record and the member named: "job record:
 * 'retries' must be from 0 to 100, not 101". (What people write is read by core/conf, which is kinder.)
 */
#ifndef CORE_JOB_RECORD_H
#define CORE_JOB_RECORD_H

#include "core/json/json.h"

#include <stddef.h>

enum record_kind {
    RECORD_TEXT,   /* char[size]: min..max bytes */
    RECORD_HEX,    /* char[65]: 64 lower-case hex digits; with min 0 also "" */
    RECORD_INT,    /* int64_t */
    RECORD_UINT,   /* uint64_t */
    RECORD_REAL,   /* double; what is not finite travels as null and comes back as NaN */
    RECORD_CHOICE, /* int or enum: index into choices[] (NULL-terminated) */
    RECORD_OTHER,  /* read and written by the caller; must be there */
};

struct record_member {
    const char *name;
    enum record_kind kind;
    size_t offset, size;
    int64_t min, max;
    const char *const *choices;
};

/* clang-format off */
/* Rows. `s` is the struct's tag; the member's name in JSON is its name in C. */
#define RECORD_TEXT_ROW(s, m, min_) \
    { #m, RECORD_TEXT, offsetof(struct s, m), sizeof(((struct s *)0)->m), min_, \
      sizeof(((struct s *)0)->m) - 1, NULL }
#define RECORD_HEX_ROW(s, m, min_) \
    { #m, RECORD_HEX, offsetof(struct s, m), sizeof(((struct s *)0)->m), min_, 64, NULL }
#define RECORD_INT_ROW(s, m, min_, max_) \
    { #m, RECORD_INT, offsetof(struct s, m), sizeof(int64_t), min_, max_, NULL }
#define RECORD_UINT_ROW(s, m, min_, max_) \
    { #m, RECORD_UINT, offsetof(struct s, m), sizeof(uint64_t), min_, max_, NULL }
#define RECORD_REAL_ROW(s, m) { #m, RECORD_REAL, offsetof(struct s, m), sizeof(double), 0, 0, NULL }
#define RECORD_CHOICE_ROW(s, m, choices_) \
    { #m, RECORD_CHOICE, offsetof(struct s, m), sizeof(int), 0, 0, choices_ }
#define RECORD_OTHER_ROW(name_) { name_, RECORD_OTHER, 0, 0, 0, 0, NULL }
#define RECORD_END { .name = NULL }
/* clang-format on */

/* The members that are not RECORD_OTHER, as a new object. Text that is not UTF-8 gets a '?' for each byte
 * that does not fit: a reason quoted from a broken file must not keep the record from being written. */
json_t *record_to_json(const struct record_member *members, const void *in_struct);

/* `what` names the record in errors. Writes to *out_struct member by member: undefined on failure. */
enum err_code record_from_json(const json_t *o, const char *what, const struct record_member *members,
                               void *out_struct, struct err *e);

/* `name` of object `o`; takes `value` over. Aborts where memory is out. */
void record_set(json_t *o, const char *name, json_t *value);

/* Text as JSON, with '?' for what is not UTF-8. */
json_t *record_text(const char *text);

/* SHA-256 of the canonical text, which is at most JSON_BYTES_MAX long. */
void record_digest(const json_t *j, char out_hex[65]);
bool record_is_digest(const char *text); /* 64 lower-case hex digits */

#endif
