/*
 * conf.h - YAML (or JSON, which is YAML) into a struct, by a table of fields.
 *
 * One row a setting says its name, type, default, range and help, once: the reader, the range check, the
 * defaults, `sovrun config explain` and the JSON form all come from it. Unknown keys, wrong types, values out
 * of range, duplicate keys, anchors, aliases, tags and what is beyond a limit are refused (ERR_USAGE) as
 *
 *     job.yaml:12: train.lr: must be from 0 to 1, not '3'
 *     job.yaml:14: train.epohcs: no such setting; did you mean 'epochs'?
 *
 * The kind of the field decides what a scalar means, not its looks: `positive: yes` is text. A number, true
 * or false must stand without quotes. What has no value (`lr:`, `~`, null) is refused.
 *
 * Strings live in fixed arrays inside the struct, so a struct is a plain value. Lists of structs are fixed
 * arrays with a count beside them. Limits: 1 MiB of text, depth 16, 20,000 nodes.
 */
#ifndef CORE_CONF_CONF_H
#define CORE_CONF_CONF_H

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "core/json/json.h"

#include <stdint.h>

enum { CONF_BYTES_MAX = 1024 * 1024, CONF_DEPTH_MAX = 16, CONF_NODES_MAX = 20000 };

enum conf_kind {
    CONF_KIND_TEXT,     /* char[size]: min..max bytes */
    CONF_KIND_NAME,     /* char[size]: text_is_name() */
    CONF_KIND_INT,      /* int64_t */
    CONF_KIND_REAL,     /* double */
    CONF_KIND_BOOL,     /* bool */
    CONF_KIND_DURATION, /* int64_t ms, written "30s", "2h", "30d" */
    CONF_KIND_SIZE,     /* uint64_t bytes, written "64MiB" */
    CONF_KIND_CHOICE,   /* int: index into choices[] (NULL-terminated) */
    CONF_KIND_CUSTOM,   /* scalar text, checked and stored by parse() */
    CONF_KIND_SECTION,  /* a nested struct, its own table */
    CONF_KIND_LIST,     /* a list: fixed array of `element` + size_t count */
};

struct conf_field {
    const char *name;
    enum conf_kind kind;
    size_t offset, size; /* in the struct; size is of the whole member */
    bool required;       /* no default: absence is an error */
    /* As it would be written. NULL: "", zero, an empty list; a section has its fields' defaults. */
    const char *def;
    /* Numbers: the value. Text and lists: the length. Durations in ms, sizes in bytes. Both 0: any. */
    double min, max;
    const char *const *choices;
    /* Custom: sets the error's text only ("must be ..."); the member is zero before. A section may have one
     * too: then one scalar may stand for it ("ranks: 2" for "ranks: {min: 2, max: 2}"); its defaults are set
     * before. */
    enum err_code (*parse)(const char *text, void *member, struct err *e);
    /* Custom: as it would be written; nothing: left out. */
    void (*print)(const void *member, struct buf *out);
    const struct conf_field *fields;  /* section: its table; list of structs: the element's; NULL-name ends */
    const struct conf_field *element; /* list of scalars: one row: kind, min, max, offset 0, size = stride */
    size_t count_offset, stride;      /* list: where the size_t count is; bytes from element to element */
    const char *help;
};

/* clang-format off */
/* Rows. `s` is the struct's tag without the word struct. */
#define CONF_AT(s, m) offsetof(struct s, m), sizeof(((struct s *)0)->m)
#define CONF_TEXT_MAX(s, m) (sizeof(((struct s *)0)->m) - 1)
#define CONF_TEXT(s, m, def_, help_) \
    { #m, CONF_KIND_TEXT, CONF_AT(s, m), false, def_, 0, CONF_TEXT_MAX(s, m), .help = help_ }
#define CONF_TEXT_REQUIRED(s, m, help_) \
    { #m, CONF_KIND_TEXT, CONF_AT(s, m), true, NULL, 1, CONF_TEXT_MAX(s, m), .help = help_ }
#define CONF_NAME(s, m, def_, help_) \
    { #m, CONF_KIND_NAME, CONF_AT(s, m), false, def_, 0, CONF_TEXT_MAX(s, m), .help = help_ }
#define CONF_NAME_REQUIRED(s, m, help_) \
    { #m, CONF_KIND_NAME, CONF_AT(s, m), true, NULL, 1, CONF_TEXT_MAX(s, m), .help = help_ }
#define CONF_INT(s, m, def_, min_, max_, help_) \
    { #m, CONF_KIND_INT, CONF_AT(s, m), false, def_, min_, max_, .help = help_ }
#define CONF_REAL(s, m, def_, min_, max_, help_) \
    { #m, CONF_KIND_REAL, CONF_AT(s, m), false, def_, min_, max_, .help = help_ }
#define CONF_BOOL(s, m, def_, help_) \
    { #m, CONF_KIND_BOOL, CONF_AT(s, m), false, def_, 0, 1, .help = help_ }
#define CONF_DURATION(s, m, name_, def_, min_, max_, help_) \
    { name_, CONF_KIND_DURATION, CONF_AT(s, m), false, def_, min_, max_, .help = help_ }
#define CONF_SIZE(s, m, name_, def_, min_, max_, help_) \
    { name_, CONF_KIND_SIZE, CONF_AT(s, m), false, def_, min_, max_, .help = help_ }
#define CONF_CHOICE(s, m, def_, choices_, help_) \
    { #m, CONF_KIND_CHOICE, CONF_AT(s, m), false, def_, .choices = choices_, .help = help_ }
#define CONF_CUSTOM(s, m, def_, parse_, print_, help_) \
    { #m, CONF_KIND_CUSTOM, CONF_AT(s, m), false, def_, .parse = parse_, .print = print_, .help = help_ }
#define CONF_SECTION(s, m, fields_, help_) \
    { #m, CONF_KIND_SECTION, CONF_AT(s, m), false, NULL, .fields = fields_, .help = help_ }
/* A list of structs (fields_) or of scalars (element_); `count_` is the size_t member that counts. */
#define CONF_LIST(s, m, count_, max_, fields_, element_, help_) \
    { #m, CONF_KIND_LIST, CONF_AT(s, m), false, NULL, 0, max_, .fields = fields_, .element = element_, \
      .count_offset = offsetof(struct s, count_), .stride = sizeof(((struct s *)0)->m[0]), .help = help_ }
#define CONF_END { .name = NULL }
/* clang-format on */

/* A parsed document, still with its lines: what --set changes before it is bound to a struct. */
struct conf_doc;

/* `file` names it in errors (copied). */
enum err_code conf_parse(const char *file, const void *text, size_t n, struct conf_doc **out, struct err *e);
enum err_code conf_parse_file(const char *path, struct conf_doc **out, struct err *e);
enum err_code conf_read_file(const char *path, struct buf *out, struct err *e); /* the text alone */
/* The same from JSON that is parsed already, at a fraction of the cost; its errors can name no line, and what
 * is beyond a limit is ERR_LIMIT: no person wrote it. */
enum err_code conf_from_json(const char *file, const json_t *j, struct conf_doc **out, struct err *e);
void conf_free(struct conf_doc *doc);
DEFINE_CLEANUP_PTR(struct conf_doc, conf_free)

/* "train.lr=0.1": makes the sections it needs, replaces what stands there. Errors name it as "--set
 * train.lr". The value is YAML: [64, 32] works. */
enum err_code conf_set(struct conf_doc *doc, const char *assignment, struct err *e);

/* Fill `out_struct` (of the table) with defaults, then with what the document says. On failure it is
 * unspecified. An absent section keeps its defaults; a required setting inside it is still required. */
enum err_code conf_bind(const struct conf_doc *doc, const struct conf_field *fields, void *out_struct,
                        struct err *e);

/* Where `path` ("train.lr", "users[0].name") stands, for a later check's message: "job.yaml:12: train.lr";
 * without the line where it is not given; "--set train.lr". The text lies in `scratch`. */
const char *conf_where(const struct conf_doc *doc, const char *path, struct buf *scratch);

/* The line at which `path` stands; 0 where it is not given, or not by the file. */
int64_t conf_line(const struct conf_doc *doc, const char *path);

/* Is something given at `path`? */
bool conf_has(const struct conf_doc *doc, const char *path);

/* The struct as JSON: every field, defaults too; conf_parse() and conf_bind() read it back to the same
 * struct. Left out is what was not given, has no default, and may not be written empty. */
json_t *conf_to_json(const struct conf_field *fields, const void *in_struct);

/* The manual of a table: name, default, help, type and range, as YAML that can be copied; what is optional
 * and has no default stands in comments. `indent` is in spaces. */
void conf_explain(const struct conf_field *fields, int indent, struct buf *out);
json_t *conf_explain_json(const struct conf_field *fields);

#endif
