#include "core/conf/doc.h"

#include <string.h>

enum { LINE_BYTES_MAX = 16 * 1024, COMMENT_COLUMN = 36 };

/* Members of a JSON object: a value that is NULL is left out. */
static void add_member(json_t *o, const char *name, json_t *value)
{
    if (value)
        invariant(json_object_set_new(o, name, value) == 0);
}

static json_t *list_to_json(const struct conf_field *f, const uint8_t *base)
{
    json_t *list = json_array();
    size_t count;
    memcpy(&count, base + f->count_offset, sizeof(count));
    invariant(count <= f->size / f->stride);
    for (size_t i = 0; i < count; i++) {
        const uint8_t *element = base + f->offset + i * f->stride;
        json_t *j = f->element ? conf_scalar_to_json(f->element, element) : conf_to_json(f->fields, element);
        invariant(json_array_append_new(list, j ? j : json_string("")) == 0);
    }
    /* An empty list that may not be written was left out. */
    if (count == 0 && f->min > 0) {
        json_decref(list);
        return NULL;
    }
    return list;
}

json_t *conf_to_json(const struct conf_field *fields, const void *in_struct)
{
    const uint8_t *base = in_struct;
    json_t *o = json_object();
    for (const struct conf_field *f = fields; f->name; f++) {
        if (f->kind == CONF_KIND_SECTION)
            add_member(o, f->name, conf_to_json(f->fields, base + f->offset));
        else if (f->kind == CONF_KIND_LIST)
            add_member(o, f->name, list_to_json(f, base));
        else
            add_member(o, f->name, conf_scalar_to_json(f, base + f->offset));
    }
    return o;
}

/* A default as YAML would write it. Numbers and lists stand in the table as they are written. */
static void print_default(const struct conf_field *f, struct buf *out)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./-";
    bool text = f->kind == CONF_KIND_TEXT || f->kind == CONF_KIND_NAME || f->kind == CONF_KIND_CUSTOM;
    const char *def = f->def ? f->def : "";
    bool quoted = text && (!*def || strchr("-.~", *def) || def[strspn(def, plain)] != '\0');
    CLEANUP(json_donep) json_t *j = quoted ? json_string(def) : NULL;
    struct err e = ERR_INIT;
    if (j)
        IGNORE(json_canonical(j, out, &e)); /* what does not fit shows in `out` */
    else
        buf_add_text(out, def);
}

static void describe(const struct conf_field *f, struct buf *out)
{
    if (f->required)
        buf_add_text(out, "required; ");
    if (f->kind == CONF_KIND_LIST) {
        size_t max = conf_list_max(f);
        if (f->min > 0)
            buf_addf(out, "list of %.0f to %zu", f->min, max);
        else
            buf_addf(out, "list of at most %zu", max);
        if (f->element && f->element->kind != CONF_KIND_CUSTOM) {
            buf_add_text(out, ", each: ");
            conf_scalar_describe(f->element, out);
        }
    } else if (f->kind != CONF_KIND_SECTION && f->kind != CONF_KIND_CUSTOM) {
        conf_scalar_describe(f, out);
    }
}

/* "  lr: 3e-3     # peak rate (number from 0 to 1)". `lead` is what stands before the name. */
static void explain_line(const struct conf_field *f, const char *lead, struct buf *out)
{
    CLEANUP(buf_done) struct buf type = BUF_INIT(LINE_BYTES_MAX);
    size_t start = out->len;
    buf_addf(out, "%s%s:", lead, f->name);
    if (f->kind != CONF_KIND_SECTION && !f->required && (f->def || f->kind == CONF_KIND_TEXT)) {
        buf_add_byte(out, ' ');
        print_default(f, out);
    } else if (f->kind == CONF_KIND_LIST && f->element && !f->required) {
        buf_add_text(out, " []");
    }
    size_t used = out->len - start;
    buf_addf(out, "%*s# %s", used < COMMENT_COLUMN ? (int)(COMMENT_COLUMN - used) : 1, "",
             f->help ? f->help : "");
    describe(f, &type);
    if (type.len)
        buf_addf(out, "%s(%s)", f->help ? " " : "", buf_text(&type));
    buf_add_byte(out, '\n');
}

/* Optional and without a default that could be written: shown as a comment. So is a section of nothing else.
 */
static bool is_commented(const struct conf_field *f)
{
    if (f->kind == CONF_KIND_SECTION) {
        const struct conf_field *inner = f->fields;
        while (inner->name && is_commented(inner))
            inner++;
        return !inner->name;
    }
    if (f->required)
        return false;
    if (f->kind == CONF_KIND_TEXT)
        return !f->def && f->min > 0;
    if (f->kind == CONF_KIND_LIST)
        return !f->def && (!f->element || f->min > 0);
    return !f->def || (f->kind != CONF_KIND_CUSTOM && !*f->def);
}

static void explain(const struct conf_field *fields, const char *lead, struct buf *out);

/* One element as a pattern: "- " before its first name. */
static void explain_element(const struct conf_field *fields, const char *lead, struct buf *out)
{
    CLEANUP(buf_done) struct buf first = BUF_INIT(1024);
    CLEANUP(buf_done) struct buf rest = BUF_INIT(1024);
    struct conf_field head[2] = { fields[0], CONF_END };
    buf_addf(&first, "%s  - ", lead);
    buf_addf(&rest, "%s    ", lead);
    explain(head, buf_text(&first), out);
    if (fields[0].name)
        explain(fields + 1, buf_text(&rest), out);
}

static void explain(const struct conf_field *fields, const char *lead, struct buf *out)
{
    for (const struct conf_field *f = fields; f->name; f++) {
        CLEANUP(buf_done) struct buf here = BUF_INIT(1024);
        bool in_comment = strchr(lead, '#') || strchr(lead, '-');
        buf_addf(&here, "%s%s", lead, is_commented(f) && !in_comment ? "# " : "");
        explain_line(f, buf_text(&here), out);
        if (f->kind == CONF_KIND_LIST && f->fields)
            explain_element(f->fields, buf_text(&here), out);
        if (f->kind != CONF_KIND_SECTION)
            continue;
        buf_add_text(&here, "  ");
        explain(f->fields, buf_text(&here), out);
    }
}

void conf_explain(const struct conf_field *fields, int indent, struct buf *out)
{
    CLEANUP(buf_done) struct buf lead = BUF_INIT(1024);
    buf_addf(&lead, "%*s", indent, "");
    explain(fields, buf_text(&lead), out);
}

static const char *type_name(enum conf_kind kind)
{
    static const char *const names[] = {
        [CONF_KIND_TEXT] = "text",       [CONF_KIND_NAME] = "name",     [CONF_KIND_INT] = "integer",
        [CONF_KIND_REAL] = "number",     [CONF_KIND_BOOL] = "boolean",  [CONF_KIND_DURATION] = "duration",
        [CONF_KIND_SIZE] = "size",       [CONF_KIND_CHOICE] = "choice", [CONF_KIND_CUSTOM] = "custom",
        [CONF_KIND_SECTION] = "section", [CONF_KIND_LIST] = "list",
    };
    return names[kind];
}

static json_t *field_to_json(const struct conf_field *f)
{
    bool ranged = (f->min != 0 || f->max != 0) && f->kind != CONF_KIND_BOOL && f->kind != CONF_KIND_CUSTOM;
    json_t *o = json_object();
    add_member(o, "name", f->name ? json_string(f->name) : NULL);
    add_member(o, "type", json_string(type_name(f->kind)));
    add_member(o, "help", f->help ? json_string(f->help) : NULL);
    add_member(o, "required", json_boolean(f->required));
    add_member(o, "default", f->def ? json_string(f->def) : NULL);
    add_member(o, "min", ranged ? json_real(f->min) : NULL);
    add_member(o, "max", ranged ? json_real(f->max) : NULL);
    if (f->choices) {
        json_t *choices = json_array();
        for (size_t i = 0; f->choices[i]; i++)
            invariant(json_array_append_new(choices, json_string(f->choices[i])) == 0);
        add_member(o, "choices", choices);
    }
    if (f->fields)
        add_member(o, "settings", conf_explain_json(f->fields));
    if (f->element)
        add_member(o, "element", field_to_json(f->element));
    return o;
}

json_t *conf_explain_json(const struct conf_field *fields)
{
    json_t *list = json_array();
    for (const struct conf_field *f = fields; f->name; f++)
        invariant(json_array_append_new(list, field_to_json(f)) == 0);
    return list;
}
