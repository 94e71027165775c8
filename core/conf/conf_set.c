#include "base/mem.h"
#include "core/conf/doc.h"

#include <stdlib.h>
#include <string.h>

/* "train.lr" cut into its names, and the same as frames for errors. */
struct set_path {
    char *text; /* the dots are NUL */
    struct conf_at at[CONF_DEPTH_MAX];
    int depth;
};

static void set_path_done(struct set_path *p)
{
    free(p->text);
}

static bool is_path_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

static enum err_code cut_path(const char *assignment, struct set_path *p, const char **out_value,
                              struct err *e)
{
    char shown[CONF_SHOWN_BYTES];
    const char *equals = strchr(assignment, '=');
    if (!equals)
        return err_set(e, ERR_USAGE, "--set '%s': must be name=value", conf_shown(assignment, shown));
    p->text = mem_text_n(assignment, (size_t)(equals - assignment));
    conf_shown(p->text, shown);
    for (char *name = p->text, *end; name; name = end ? end + 1 : NULL) {
        end = strchr(name, '.');
        if (end)
            *end = '\0';
        size_t n = 0;
        while (is_path_char(name[n]))
            n++;
        if (n == 0 || name[n] != '\0')
            return err_set(e, ERR_USAGE, "--set '%s': is no name of a setting", shown);
        if (p->depth == CONF_DEPTH_MAX)
            return err_set(e, ERR_USAGE, "--set '%s': nested deeper than %d", shown, CONF_DEPTH_MAX);
        p->at[p->depth] = (struct conf_at){ .up = p->depth ? &p->at[p->depth - 1] : NULL, .name = name };
        p->depth++;
    }
    *out_value = equals + 1;
    return OK;
}

/* The deepest section on the way that is there already; *level: how many names lead to it. */
static enum err_code find_parent(struct conf_node *root, const struct set_path *p, struct conf_node **out,
                                 int *out_level, struct err *e)
{
    struct conf_node *at = root;
    int level = 0;
    for (; level < p->depth - 1; level++) {
        struct conf_node *below = conf_node_find(at, p->at[level].name);
        if (!below || conf_node_is_null(below))
            break;
        if (below->kind != NODE_MAP)
            return conf_fail(NULL, 0, &p->at[p->depth - 1], ERR_USAGE, e, "'%s' is not a section there",
                             p->at[level].name);
        at = below;
    }
    *out = at;
    *out_level = level;
    return OK;
}

/* In the place of the one of that name, or at the end. */
static void put(struct conf_node *map, struct conf_node *child)
{
    struct conf_node *old = conf_node_find(map, child->name);
    if (!old) {
        conf_node_append(map, child);
        return;
    }
    struct conf_node swap = *old;
    *old = *child;
    old->next = swap.next;
    *child = swap;
    child->next = NULL;
    conf_node_free(child);
}

enum err_code conf_set(struct conf_doc *doc, const char *assignment, struct err *e)
{
    CLEANUP(set_path_done) struct set_path p = { .text = NULL };
    CLEANUP(conf_node_freep) struct conf_node *value = NULL;
    struct conf_node *parent = NULL;
    const char *text = "";
    size_t node_count = doc->node_count + CONF_DEPTH_MAX; /* the sections that we may make */
    int level = 0;
    if (cut_path(assignment, &p, &text, e))
        return e->code;
    if (conf_read_value(NULL, &p.at[p.depth - 1], p.depth, text, strlen(text), &node_count, &value, e) ||
        find_parent(doc->root, &p, &parent, &level, e))
        return e->code;
    if (!value) {
        value = conf_node_new(NODE_SCALAR, 0);
        value->plain = value->from_set = true;
        value->text = mem_text("");
    }
    doc->node_count = node_count;
    /* From the value outwards, each in a section of its own. */
    for (int i = p.depth - 1; i > level; i--) {
        struct conf_node *section = conf_node_new(NODE_MAP, 0);
        section->from_set = true;
        value->name = mem_text(p.at[i].name);
        conf_node_append(section, value);
        value = section;
    }
    value->name = mem_text(p.at[level].name);
    put(parent, TAKE(value));
    return OK;
}
