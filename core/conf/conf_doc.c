#include "base/mem.h"
#include "core/conf/doc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct conf_node *conf_node_new(enum conf_node_kind kind, int line)
{
    struct conf_node *n = mem_new(sizeof(*n));
    n->kind = kind;
    n->line = line;
    return n;
}

/* As deep as CONF_DEPTH_MAX at most. */
void conf_node_free(struct conf_node *n)
{
    if (!n)
        return;
    for (struct conf_node *child = n->first, *next; child; child = next) {
        next = child->next;
        conf_node_free(child);
    }
    free(n->name);
    free(n->text);
    free(n);
}

void conf_free(struct conf_doc *doc)
{
    if (!doc)
        return;
    conf_node_free(doc->root);
    free(doc->file);
    free(doc);
}

void conf_node_append(struct conf_node *to, struct conf_node *child)
{
    if (to->last)
        to->last->next = child;
    else
        to->first = child;
    to->last = child;
}

struct conf_node *conf_node_find(const struct conf_node *map, const char *name)
{
    if (!map || map->kind != NODE_MAP)
        return NULL;
    for (struct conf_node *n = map->first; n; n = n->next)
        if (strcmp(n->name, name) == 0)
            return n;
    return NULL;
}

bool conf_node_is_null(const struct conf_node *n)
{
    static const char *const nulls[] = { "", "~", "null", "Null", "NULL" };
    if (n->kind != NODE_SCALAR || !n->plain)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(nulls); i++)
        if (strcmp(n->text, nulls[i]) == 0)
            return true;
    return false;
}

const char *conf_shown(const char *text, char out[CONF_SHOWN_BYTES])
{
    size_t n = strlen(text);
    bool cut = n >= CONF_SHOWN_BYTES;
    if (cut)
        n = CONF_SHOWN_BYTES - 4;
    while (cut && n > 0 && ((unsigned char)text[n] & 0xC0) == 0x80)
        n--; /* not through the middle of a character */
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        out[i] = c < 0x20 || c == 0x7F ? '?' : (char)c;
    }
    memcpy(out + n, "...", cut ? 4 : 1);
    if (!cut)
        out[n] = '\0';
    return out;
}

/* From the outside in: the frames point the other way. */
static void print_path(const struct conf_at *at, struct buf *out)
{
    char shown[CONF_SHOWN_BYTES];
    if (!at)
        return;
    print_path(at->up, out);
    if (at->name)
        buf_addf(out, "%s%s", at->up ? "." : "", conf_shown(at->name, shown));
    else
        buf_addf(out, "[%zu]", at->index);
}

static void print_place(const char *file, int line, struct buf *out)
{
    if (!file)
        buf_add_text(out, "--set ");
    else if (line > 0)
        buf_addf(out, "%s:%d: ", file, line);
    else
        buf_addf(out, "%s: ", file);
}

enum err_code conf_fail(const char *file, int line, const struct conf_at *at, enum err_code code,
                        struct err *e, const char *fmt, ...)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(8192);
    va_list ap;
    print_place(file, line, &text);
    if (at) {
        print_path(at, &text);
        buf_add_text(&text, ": ");
    }
    va_start(ap, fmt);
    buf_addv(&text, fmt, ap);
    va_end(ap);
    return err_set(e, code, "%s", buf_text(&text));
}

/* The next part of a path: a name up to '.' or '[', or an index in brackets; NULL where there is no such
 * node. */
static const struct conf_node *step_down(const struct conf_node *n, const char **path)
{
    char name[256];
    const char *p = *path;
    if (*p == '[') {
        char *end;
        unsigned long index = strtoul(p + 1, &end, 10);
        *path = *end == ']' ? end + 1 : "";
        const struct conf_node *child = n->kind == NODE_LIST && *end == ']' ? n->first : NULL;
        while (child && index-- > 0)
            child = child->next;
        return child;
    }
    p += *p == '.';
    size_t len = strcspn(p, ".[");
    *path = p + len;
    if (len == 0 || len >= sizeof(name))
        return NULL;
    memcpy(name, p, len);
    name[len] = '\0';
    return conf_node_find(n, name);
}

static const struct conf_node *find_path(const struct conf_doc *doc, const char *path)
{
    const struct conf_node *n = doc->root;
    for (const char *rest = path; n && *rest;)
        n = step_down(n, &rest);
    return n;
}

int64_t conf_line(const struct conf_doc *doc, const char *path)
{
    const struct conf_node *n = find_path(doc, path);
    return n && !n->from_set ? n->line : 0;
}

bool conf_has(const struct conf_doc *doc, const char *path)
{
    return find_path(doc, path) != NULL;
}

const char *conf_where(const struct conf_doc *doc, const char *path, struct buf *scratch)
{
    const struct conf_node *n = find_path(doc, path);
    buf_reset(scratch);
    print_place(n && n->from_set ? NULL : doc->file, n ? n->line : 0, scratch);
    buf_add_text(scratch, path);
    return buf_text(scratch);
}
