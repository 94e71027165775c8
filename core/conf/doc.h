/*
 * doc.h - a parsed document inside core/conf: a tree of nodes that know their lines. Private to the module.
 *
 * conf_parse.c (from YAML) and conf_json.c build the tree, conf_set.c changes it, conf_bind.c reads it;
 * conf_scalar.c turns one scalar's text into a member and back, conf_print.c prints structs and tables. A
 * scalar keeps its text as written: only the field that it is bound to decides what it means.
 */
#ifndef CORE_CONF_DOC_H
#define CORE_CONF_DOC_H

#include "core/conf/conf.h"

enum conf_node_kind { NODE_SCALAR, NODE_LIST, NODE_MAP };

struct conf_node {
    enum conf_node_kind kind;
    bool plain;                     /* a scalar without quotes */
    bool from_set;                  /* made by conf_set(): it has no line */
    int line;                       /* of the name where it has one; 0 where none can be told */
    char *name;                     /* inside a map */
    char *text;                     /* of a scalar */
    struct conf_node *first, *last; /* in a list or a map */
    struct conf_node *next;
};

struct conf_doc {
    char *file;
    struct conf_node *root; /* a map */
    size_t node_count;
};

/* Where we are, from the inside out: train, then lr. A name, or an index where name is NULL. The root is
 * NULL. */
struct conf_at {
    const struct conf_at *up;
    const char *name;
    size_t index;
};

struct conf_node *conf_node_new(enum conf_node_kind kind, int line);
void conf_node_free(struct conf_node *n);
DEFINE_CLEANUP_PTR(struct conf_node, conf_node_free)
void conf_node_append(struct conf_node *to, struct conf_node *child);
struct conf_node *conf_node_find(const struct conf_node *map, const char *name); /* NULL: none, or no map */
bool conf_is_printable(const char *text, size_t n); /* see conf_parse.c; there is a NUL behind the n bytes */
bool conf_node_is_null(const struct conf_node *n);                               /* nothing, ~ or null */

/* The one value in a YAML text; NULL where the text holds none. `file` NULL: it comes from --set. `at` is
 * where the value will stand and `depth` how many levels are above it; *node_count is counted up and kept
 * below its limit. */
enum err_code conf_read_value(const char *file, const struct conf_at *at, int depth, const void *text,
                              size_t n, size_t *node_count, struct conf_node **out, struct err *e);

/* "job.yaml:12: train.lr: <sentence>", or "--set train.lr: <sentence>" where file is NULL. Line 0 is left
 * out. */
enum err_code conf_fail(const char *file, int line, const struct conf_at *at, enum err_code code,
                        struct err *e, const char *fmt, ...) PRINTF_LIKE(6, 7);

/* The text of a value or a name as an error shows it: cut, and nothing in it that would upset a terminal. */
enum { CONF_SHOWN_BYTES = 80 };
const char *conf_shown(const char *text, char out[CONF_SHOWN_BYTES]);

size_t conf_list_max(const struct conf_field *f); /* entries: what the range allows and the array holds */

/* One scalar by its field. The error is a sentence without a place: "must be from 0 to 1, not '3'". */
enum err_code conf_scalar_read(const struct conf_field *f, const char *text, bool plain, void *member,
                               struct err *e);

/* What conf_scalar_read() takes: a number, a boolean or text. NULL: the member was left empty and has no
 * default, so it has no written form and is left out. */
json_t *conf_scalar_to_json(const struct conf_field *f, const void *member);

/* What may be written there: "number from 0 to 1", "text of 1 to 63 bytes", "csv, tokens or text". */
void conf_scalar_describe(const struct conf_field *f, struct buf *out);

#endif
