#include "base/text.h"
#include "core/conf/doc.h"

#include <string.h>

enum { FIELDS_MAX = 128 }; /* of one table; a table is code, so more is a bug */

#define FAIL(doc, n, at, e, ...)                                                                             \
    conf_fail(file_of(doc, n), (n) ? (n)->line : 0, at, ERR_USAGE, e, __VA_ARGS__)

static const char *file_of(const struct conf_doc *doc, const struct conf_node *n)
{
    return n && n->from_set ? NULL : doc->file;
}

static void *member_of(const struct conf_field *f, void *base)
{
    return (uint8_t *)base + f->offset;
}

static void set_count(const struct conf_field *f, void *base, size_t count)
{
    memcpy((uint8_t *)base + f->count_offset, &count, sizeof(count));
}

static enum err_code bind_list(const struct conf_doc *doc, const struct conf_at *at,
                               const struct conf_field *f, const struct conf_node *n, void *base,
                               struct err *e);

/* A default that its own field refuses is a bug in the table: say which. */
static void check_default(const struct conf_field *f, enum err_code code, struct err *e)
{
    if (!code)
        return;
    IGNORE(err_wrap(e, "default '%s' of setting '%s'", f->def, f->name ? f->name : "(element)"));
    err_invariant_failed(e->text, __FILE__, __LINE__);
}

static void set_default_list(const struct conf_field *f, void *base)
{
    static const struct conf_doc table = { .file = NULL };
    CLEANUP(conf_node_freep) struct conf_node *n = NULL;
    struct err e = ERR_INIT;
    size_t count = 0;
    enum err_code code = conf_read_value("default", NULL, 0, f->def, strlen(f->def), &count, &n, &e);
    check_default(f, code ? code : bind_list(&table, NULL, f, n, base, &e), &e);
}

static void set_defaults(const struct conf_field *fields, void *base)
{
    for (const struct conf_field *f = fields; f->name; f++) {
        struct err e = ERR_INIT;
        void *member = member_of(f, base);
        memset(member, 0, f->size);
        if (f->kind == CONF_KIND_LIST)
            set_count(f, base, 0);
        if (f->kind == CONF_KIND_SECTION)
            set_defaults(f->fields, member);
        else if (f->kind == CONF_KIND_LIST && f->def)
            set_default_list(f, base);
        else if (f->def && *f->def)
            check_default(f, conf_scalar_read(f, f->def, true, member, &e), &e);
    }
}

/* "not 'x'", "not a list", "not a section": what stands there. */
static const char *print_found(const struct conf_node *n, struct buf *out)
{
    char shown[CONF_SHOWN_BYTES];
    if (n->kind == NODE_SCALAR)
        buf_addf(out, "not '%s'", conf_shown(n->text, shown));
    else
        buf_add_text(out, n->kind == NODE_LIST ? "not a list" : "not a section");
    return buf_text(out);
}

static enum err_code bind_scalar(const struct conf_doc *doc, const struct conf_at *at,
                                 const struct conf_field *f, const struct conf_node *n, void *member,
                                 struct err *e)
{
    CLEANUP(buf_done) struct buf wanted = BUF_INIT(4096);
    struct err said = ERR_INIT;
    if (n->kind != NODE_SCALAR) {
        bool article = f->kind != CONF_KIND_BOOL && f->kind != CONF_KIND_CHOICE;
        conf_scalar_describe(f, &wanted);
        return FAIL(doc, n, at, e, "must be %s%s, not a %s", article ? "a " : "", buf_text(&wanted),
                    n->kind == NODE_LIST ? "list" : "section");
    }
    memset(member, 0, f->size);
    if (conf_scalar_read(f, n->text, n->plain, member, &said))
        return FAIL(doc, n, at, e, "%s", said.text);
    return OK;
}

static enum err_code fail_unknown(const struct conf_doc *doc, const struct conf_at *at,
                                  const struct conf_field *fields, const struct conf_node *n, struct err *e)
{
    CLEANUP(buf_done) struct buf all = BUF_INIT(8192);
    const char *names[FIELDS_MAX];
    size_t count = 0;
    for (; fields[count].name; count++) {
        invariant(count < FIELDS_MAX);
        names[count] = fields[count].name;
        buf_addf(&all, "%s%s", count ? ", " : "", names[count]);
    }
    const char *nearest = text_nearest(n->name, names, count);
    if (nearest)
        return FAIL(doc, n, at, e, "no such setting; did you mean '%s'?", nearest);
    return FAIL(doc, n, at, e, "no such setting; there are %s", buf_text(&all));
}

static enum err_code bind_map(const struct conf_doc *doc, const struct conf_at *at,
                              const struct conf_field *fields, const struct conf_node *map, void *base,
                              struct err *e);

/* A section; where it has a parse(), one scalar may stand for it. The defaults are there already. */
static enum err_code bind_section(const struct conf_doc *doc, const struct conf_at *at,
                                  const struct conf_field *f, const struct conf_node *n, void *member,
                                  struct err *e)
{
    CLEANUP(buf_done) struct buf found = BUF_INIT(256);
    struct err said = ERR_INIT;
    if (n->kind == NODE_MAP)
        return bind_map(doc, at, f->fields, n, member, e);
    if (n->kind != NODE_SCALAR || !f->parse)
        return FAIL(doc, n, at, e, "must be a section of settings, %s", print_found(n, &found));
    if (f->parse(n->text, member, &said))
        return FAIL(doc, n, at, e, "%s", said.text);
    return OK;
}

static enum err_code check_list(const struct conf_doc *doc, const struct conf_at *at,
                                const struct conf_field *f, const struct conf_node *n, size_t *out_count,
                                struct err *e)
{
    CLEANUP(buf_done) struct buf found = BUF_INIT(256);
    size_t max = conf_list_max(f), count = 0;
    if (n->kind != NODE_LIST)
        return FAIL(doc, n, at, e, "must be a list, %s", print_found(n, &found));
    for (const struct conf_node *item = n->first; item; item = item->next)
        count++;
    if ((double)count < f->min)
        return FAIL(doc, n, at, e, "must have at least %.0f entries, not %zu", f->min, count);
    if (count > max)
        return FAIL(doc, n, at, e, "must have at most %zu entries, not %zu", max, count);
    *out_count = count;
    return OK;
}

static enum err_code bind_list(const struct conf_doc *doc, const struct conf_at *at,
                               const struct conf_field *f, const struct conf_node *n, void *base,
                               struct err *e)
{
    struct conf_at here = { .up = at };
    uint8_t *element = member_of(f, base);
    size_t count = 0;
    CLEANUP(buf_done) struct buf found = BUF_INIT(256);
    if (check_list(doc, at, f, n, &count, e))
        return e->code;
    memset(element, 0, f->size);
    for (const struct conf_node *item = n->first; item;
         item = item->next, here.index++, element += f->stride) {
        if (conf_node_is_null(item))
            return FAIL(doc, item, &here, e, "has no value");
        if (f->element ? bind_scalar(doc, &here, f->element, item, element, e) : OK)
            return e->code;
        if (f->element)
            continue;
        if (item->kind != NODE_MAP)
            return FAIL(doc, item, &here, e, "must be a section of settings, %s", print_found(item, &found));
        set_defaults(f->fields, element);
        if (bind_map(doc, &here, f->fields, item, element, e))
            return e->code;
    }
    set_count(f, base, count);
    return OK;
}

static enum err_code bind_field(const struct conf_doc *doc, const struct conf_at *at,
                                const struct conf_field *f, const struct conf_node *n, void *base,
                                struct err *e)
{
    if (conf_node_is_null(n))
        return FAIL(doc, n, at, e, "has no value");
    if (f->kind == CONF_KIND_SECTION)
        return bind_section(doc, at, f, n, member_of(f, base), e);
    if (f->kind == CONF_KIND_LIST)
        return bind_list(doc, at, f, n, base, e);
    return bind_scalar(doc, at, f, n, member_of(f, base), e);
}

/* What the document leaves out keeps its default, or must not be left out: so also within an absent section.
 */
static enum err_code check_absent(const struct conf_doc *doc, const struct conf_at *at,
                                  const struct conf_field *fields, const struct conf_node *map, void *base,
                                  struct err *e)
{
    for (const struct conf_field *f = fields; f->name; f++) {
        struct conf_at here = { .up = at, .name = f->name };
        if (conf_node_find(map, f->name))
            continue;
        if (f->required)
            return FAIL(doc, map, &here, e, "must be given");
        if (f->kind == CONF_KIND_SECTION && bind_map(doc, &here, f->fields, NULL, member_of(f, base), e))
            return e->code;
    }
    return OK;
}

static enum err_code bind_map(const struct conf_doc *doc, const struct conf_at *at,
                              const struct conf_field *fields, const struct conf_node *map, void *base,
                              struct err *e)
{
    for (const struct conf_node *n = map ? map->first : NULL; n; n = n->next) {
        struct conf_at here = { .up = at, .name = n->name };
        const struct conf_field *f = fields;
        while (f->name && strcmp(f->name, n->name) != 0)
            f++;
        if (!f->name)
            return fail_unknown(doc, &here, fields, n, e);
        if (bind_field(doc, &here, f, n, base, e))
            return e->code;
    }
    return check_absent(doc, at, fields, map, base, e);
}

enum err_code conf_bind(const struct conf_doc *doc, const struct conf_field *fields, void *out_struct,
                        struct err *e)
{
    set_defaults(fields, out_struct);
    return bind_map(doc, NULL, fields, doc->root, out_struct, e);
}
