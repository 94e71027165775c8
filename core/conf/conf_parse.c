#include "base/file.h"
#include "base/mem.h"
#include "core/conf/doc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

/* One run of libyaml over one text. */
struct reader {
    yaml_parser_t yaml;
    const char *file; /* NULL: --set */
    const uint8_t *text;
    size_t text_bytes;
    size_t *node_count;
};

static int line_of(const yaml_mark_t *mark)
{
    return (int)mark->line + 1; /* of 1 MiB at most */
}

#define FAIL(r, line, at, code, e, ...) conf_fail((r)->file, (r)->file ? (line) : 0, at, code, e, __VA_ARGS__)

/* libyaml's word for it ("found character that cannot start any token") helps nobody. */
static bool is_indented_by_tab(const struct reader *r, int line)
{
    size_t i = 0;
    for (; line > 1 && i < r->text_bytes; i++)
        line -= r->text[i] == '\n';
    while (i < r->text_bytes && r->text[i] == ' ')
        i++;
    return i < r->text_bytes && r->text[i] == '\t';
}

static enum err_code fail_syntax(const struct reader *r, const struct conf_at *at, struct err *e)
{
    const yaml_parser_t *y = &r->yaml;
    const char *problem = y->problem ? y->problem : "it cannot be read";
    int line = line_of(&y->problem_mark), context_line = line_of(&y->context_mark);
    if (y->error == YAML_READER_ERROR) { /* it knows the byte, not the line */
        line = 1;
        for (size_t i = 0; i < y->problem_offset && i < r->text_bytes; i++)
            line += r->text[i] == '\n';
    }
    if (y->error == YAML_SCANNER_ERROR && is_indented_by_tab(r, line))
        return FAIL(r, line, at, ERR_USAGE, e, "not valid YAML: a tab cannot indent; use spaces");
    if (y->context && r->file && context_line != line)
        return FAIL(r, line, at, ERR_USAGE, e, "not valid YAML: %s %s that starts on line %d", problem,
                    y->context, context_line);
    return FAIL(r, line, at, ERR_USAGE, e, "not valid YAML: %s", problem);
}

static enum err_code next_event(struct reader *r, const struct conf_at *at, yaml_event_t *out, struct err *e)
{
    yaml_event_delete(out);
    if (!yaml_parser_parse(&r->yaml, out))
        return fail_syntax(r, at, e);
    return OK;
}

/* Characters that JSON would not carry back to us (libyaml reads a raw U+2028 as a line's end), or that would
 * act on a terminal: control characters but tab and newline, line and paragraph separator, byte order mark,
 * U+FFFE, U+FFFF. */
bool conf_is_printable(const char *text, size_t n)
{
    const unsigned char *p = (const unsigned char *)text;
    for (size_t i = 0; i < n; i++) {
        if ((p[i] < 0x20 && p[i] != '\t' && p[i] != '\n') || p[i] == 0x7F)
            return false;
        if (p[i] == 0xC2 && p[i + 1] < 0xA0)
            return false;
        if (p[i] == 0xE2 && p[i + 1] == 0x80 && (p[i + 2] == 0xA8 || p[i + 2] == 0xA9))
            return false;
        if (p[i] == 0xEF && p[i + 1] == 0xBB && p[i + 2] == 0xBF)
            return false;
        if (p[i] == 0xEF && p[i + 1] == 0xBF && p[i + 2] >= 0xBE)
            return false;
    }
    return true;
}

static enum err_code check_marks(const struct reader *r, const yaml_event_t *event, const struct conf_at *at,
                                 struct err *e)
{
    const yaml_char_t *anchor = NULL, *tag = NULL;
    int line = line_of(&event->start_mark);
    if (event->type == YAML_SCALAR_EVENT) {
        anchor = event->data.scalar.anchor;
        tag = event->data.scalar.tag;
    } else if (event->type == YAML_SEQUENCE_START_EVENT) {
        anchor = event->data.sequence_start.anchor;
        tag = event->data.sequence_start.tag;
    } else if (event->type == YAML_MAPPING_START_EVENT) {
        anchor = event->data.mapping_start.anchor;
        tag = event->data.mapping_start.tag;
    }
    if (event->type == YAML_ALIAS_EVENT)
        return FAIL(r, line, at, ERR_USAGE, e, "aliases (*name) are not allowed; write the value again");
    if (anchor)
        return FAIL(r, line, at, ERR_USAGE, e, "anchors (&name) are not allowed");
    if (tag)
        return FAIL(r, line, at, ERR_USAGE, e, "tags (!name) are not allowed");
    return OK;
}

/* What every node goes through: the limits, and what is refused wherever it stands. */
static enum err_code check_node(const struct reader *r, const yaml_event_t *event, const struct conf_at *at,
                                struct err *e)
{
    int line = line_of(&event->start_mark);
    if (check_marks(r, event, at, e))
        return e->code;
    if (++*r->node_count > CONF_NODES_MAX)
        return FAIL(r, line, at, ERR_USAGE, e, "more than %d names and values", CONF_NODES_MAX);
    if (event->type != YAML_SCALAR_EVENT)
        return OK;
    const char *text = (const char *)event->data.scalar.value;
    if (!conf_is_printable(text, event->data.scalar.length))
        return FAIL(r, line, at, ERR_USAGE, e, "holds a character that cannot be printed");
    return OK;
}

/* The value that `event` starts, nodes below it included. */
static enum err_code read_node(struct reader *r, yaml_event_t *event, const struct conf_at *at, int depth,
                               struct conf_node **out, struct err *e);

static enum err_code read_list(struct reader *r, const struct conf_at *at, int depth, struct conf_node *list,
                               struct err *e)
{
    CLEANUP(yaml_event_delete) yaml_event_t event = { .type = YAML_NO_EVENT };
    for (struct conf_at item = { .up = at };; item.index++) {
        struct conf_node *child = NULL;
        if (next_event(r, &item, &event, e))
            return e->code;
        if (event.type == YAML_SEQUENCE_END_EVENT)
            return OK;
        if (read_node(r, &event, &item, depth, &child, e))
            return e->code;
        conf_node_append(list, child);
    }
}

static int by_name_then_line(const void *a, const void *b)
{
    const struct conf_node *const *x = a, *const *y = b;
    int order = strcmp((*x)->name, (*y)->name);
    return order ? order : ((*x)->line > (*y)->line) - ((*x)->line < (*y)->line);
}

/* Sorted, so that a hostile map with 10,000 names costs no 10,000 squared. */
static enum err_code check_duplicates(const struct reader *r, const struct conf_at *at,
                                      const struct conf_node *map, struct err *e)
{
    size_t count = 0, i = 0;
    for (const struct conf_node *n = map->first; n; n = n->next)
        count++;
    CLEANUP(freep) const struct conf_node **sorted = mem_array(count, sizeof(void *));
    for (const struct conf_node *n = map->first; n; n = n->next)
        sorted[i++] = n;
    qsort(sorted, count, sizeof(void *), by_name_then_line);
    for (i = 1; i < count; i++) {
        struct conf_at twice = { .up = at, .name = sorted[i]->name };
        if (strcmp(sorted[i - 1]->name, sorted[i]->name) == 0)
            return r->file ? FAIL(r, sorted[i]->line, &twice, ERR_USAGE, e, "is set twice, first on line %d",
                                  sorted[i - 1]->line)
                           : FAIL(r, 0, &twice, ERR_USAGE, e, "is set twice");
    }
    return OK;
}

static enum err_code read_map(struct reader *r, const struct conf_at *at, int depth, struct conf_node *map,
                              struct err *e)
{
    CLEANUP(yaml_event_delete) yaml_event_t key = { .type = YAML_NO_EVENT };
    CLEANUP(yaml_event_delete) yaml_event_t value = { .type = YAML_NO_EVENT };
    for (;;) {
        struct conf_node *child = NULL;
        if (next_event(r, at, &key, e))
            return e->code;
        if (key.type == YAML_MAPPING_END_EVENT)
            return check_duplicates(r, at, map, e);
        int line = line_of(&key.start_mark);
        if (check_node(r, &key, at, e))
            return e->code;
        if (key.type != YAML_SCALAR_EVENT)
            return FAIL(r, line, at, ERR_USAGE, e,
                        "the name of a setting must be text, not a list or a section");
        const char *name = (const char *)key.data.scalar.value;
        if (!*name)
            return FAIL(r, line, at, ERR_USAGE, e, "the name of a setting is empty");
        struct conf_at here = { .up = at, .name = name };
        if (next_event(r, &here, &value, e) || read_node(r, &value, &here, depth, &child, e))
            return e->code;
        child->name = mem_text(name);
        child->line = r->file ? line : 0; /* an empty value may be said to stand on the next line */
        conf_node_append(map, child);
    }
}

static enum err_code read_node(struct reader *r, yaml_event_t *event, const struct conf_at *at, int depth,
                               struct conf_node **out, struct err *e)
{
    int line = line_of(&event->start_mark);
    if (check_node(r, event, at, e))
        return e->code;
    CLEANUP(conf_node_freep) struct conf_node *n = conf_node_new(NODE_SCALAR, r->file ? line : 0);
    n->from_set = r->file == NULL;
    if (event->type == YAML_SCALAR_EVENT) {
        n->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
        n->text = mem_text_n((const char *)event->data.scalar.value, event->data.scalar.length);
        *out = TAKE(n);
        return OK;
    }
    if (depth >= CONF_DEPTH_MAX)
        return FAIL(r, line, at, ERR_USAGE, e, "nested deeper than %d", CONF_DEPTH_MAX);
    n->kind = event->type == YAML_MAPPING_START_EVENT ? NODE_MAP : NODE_LIST;
    if (n->kind == NODE_MAP ? read_map(r, at, depth + 1, n, e) : read_list(r, at, depth + 1, n, e))
        return e->code;
    *out = TAKE(n);
    return OK;
}

static enum err_code check_document_start(const struct reader *r, const yaml_event_t *event,
                                          const struct conf_at *at, struct err *e)
{
    if (event->data.document_start.tag_directives.start != event->data.document_start.tag_directives.end)
        return FAIL(r, line_of(&event->start_mark), at, ERR_USAGE, e, "tags (%%TAG) are not allowed");
    return OK;
}

/* STREAM-START, then nothing or DOCUMENT-START value DOCUMENT-END, then STREAM-END. */
static enum err_code read_stream(struct reader *r, const struct conf_at *at, int depth,
                                 struct conf_node **out, struct err *e)
{
    CLEANUP(yaml_event_delete) yaml_event_t event = { .type = YAML_NO_EVENT };
    CLEANUP(conf_node_freep) struct conf_node *n = NULL;
    if (next_event(r, at, &event, e) || next_event(r, at, &event, e))
        return e->code;
    if (event.type == YAML_DOCUMENT_START_EVENT) {
        if (check_document_start(r, &event, at, e) || next_event(r, at, &event, e) ||
            read_node(r, &event, at, depth, &n, e) || next_event(r, at, &event, e) ||
            next_event(r, at, &event, e))
            return e->code;
    }
    if (event.type != YAML_STREAM_END_EVENT)
        return FAIL(r, line_of(&event.start_mark), at, ERR_USAGE, e,
                    "a second document (---) is not allowed");
    *out = TAKE(n);
    return OK;
}

enum err_code conf_read_value(const char *file, const struct conf_at *at, int depth, const void *text,
                              size_t n, size_t *node_count, struct conf_node **out, struct err *e)
{
    struct reader r = { .file = file, .text = text, .text_bytes = n, .node_count = node_count };
    if (n > CONF_BYTES_MAX)
        return FAIL(&r, 0, at, ERR_USAGE, e, "larger than %d bytes", CONF_BYTES_MAX);
    invariant(yaml_parser_initialize(&r.yaml)); /* fails only without memory */
    /* Stated, so that a text in UTF-16 is refused, not guessed. */
    yaml_parser_set_encoding(&r.yaml, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.yaml, text, n);
    enum err_code code = read_stream(&r, at, depth, out, e);
    yaml_parser_delete(&r.yaml);
    return code;
}

enum { FILE_SHOWN_BYTES_MAX = 240 };

/* A file's name may come over the wire: it must neither fill an error nor upset a terminal. Its end tells
 * most. */
static char *shown_file(const char *file)
{
    size_t n = strlen(file);
    bool cut = n > FILE_SHOWN_BYTES_MAX;
    char *shown = mem_printf("%s%s", cut ? "..." : "", cut ? file + n - FILE_SHOWN_BYTES_MAX : file);
    for (char *p = shown; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7F || (cut && (unsigned char)*p >= 0x80))
            *p = '?';
    return shown;
}

enum err_code conf_parse(const char *file, const void *text, size_t n, struct conf_doc **out, struct err *e)
{
    CLEANUP(conf_freep) struct conf_doc *doc = mem_new(sizeof(*doc));
    char shown[CONF_SHOWN_BYTES];
    doc->file = shown_file(file);
    if (conf_read_value(doc->file, NULL, 0, n ? text : "", n, &doc->node_count, &doc->root, e))
        return e->code;
    /* Nothing but comments: no setting is given, every default holds. */
    if (!doc->root || conf_node_is_null(doc->root)) {
        conf_node_free(doc->root);
        doc->root = conf_node_new(NODE_MAP, 0);
    }
    if (doc->root->kind == NODE_SCALAR)
        return conf_fail(doc->file, doc->root->line, NULL, ERR_USAGE, e,
                         "must be settings (name: value), not '%s'", conf_shown(doc->root->text, shown));
    if (doc->root->kind == NODE_LIST)
        return conf_fail(doc->file, doc->root->line, NULL, ERR_USAGE, e,
                         "must be settings (name: value), not a list");
    doc->root->line = 0; /* what is missing is missing from the file */
    *out = TAKE(doc);
    return OK;
}

enum err_code conf_read_file(const char *path, struct buf *out, struct err *e)
{
    enum err_code code = file_read(path, out, e);
    if (code == ERR_LIMIT)
        return err_set(e, ERR_USAGE, "%s: larger than %d bytes", path, CONF_BYTES_MAX);
    if (code && e->cause == EISDIR)
        return err_set(e, ERR_USAGE, "%s: is a folder", path);
    return code;
}

enum err_code conf_parse_file(const char *path, struct conf_doc **out, struct err *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(CONF_BYTES_MAX);
    if (conf_read_file(path, &text, e))
        return e->code;
    return conf_parse(path, text.data, text.len, out, e);
}
