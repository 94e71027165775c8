#include "base/mem.h"
#include "core/conf/doc.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct reader {
    const char *file;
    size_t *node_count;
};

#define FAIL(r, at, code, e, ...) conf_fail((r)->file, 0, at, code, e, __VA_ARGS__)

static enum err_code check_text(const struct reader *r, const struct conf_at *at, const char *text, size_t n,
                                struct err *e)
{
    if (!conf_is_printable(text, n))
        return FAIL(r, at, ERR_USAGE, e, "holds a character that cannot be printed");
    return OK;
}

/* As it would be written in YAML; what JSON has in quotes is no plain scalar. */
static void take_scalar(const json_t *j, struct conf_node *n)
{
    n->plain = !json_is_string(j);
    if (json_is_string(j))
        n->text = mem_text(json_string_value(j));
    else if (json_is_integer(j))
        n->text = mem_printf("%" PRId64, (int64_t)json_integer_value(j));
    else if (json_is_real(j))
        n->text = mem_printf("%.17g", json_real_value(j));
    else
        n->text = mem_text(json_is_null(j) ? "null" : json_is_true(j) ? "true" : "false");
}

static enum err_code take(struct reader *r, const json_t *j, const struct conf_at *at, int depth,
                          struct conf_node **out, struct err *e);

static enum err_code take_list(struct reader *r, const json_t *j, const struct conf_at *at, int depth,
                               struct conf_node *list, struct err *e)
{
    struct conf_at item = { .up = at };
    json_t *value;
    json_array_foreach((json_t *)j, item.index, value)
    {
        struct conf_node *child = NULL;
        if (take(r, value, &item, depth, &child, e))
            return e->code;
        conf_node_append(list, child);
    }
    return OK;
}

static enum err_code take_map(struct reader *r, const json_t *j, const struct conf_at *at, int depth,
                              struct conf_node *map, struct err *e)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)j, name, value)
    {
        const struct conf_at here = { .up = at, .name = name };
        struct conf_node *child = NULL;
        if (!*name)
            return FAIL(r, at, ERR_USAGE, e, "the name of a setting is empty");
        if (check_text(r, at, name, strlen(name), e) || take(r, value, &here, depth, &child, e))
            return e->code;
        invariant(child);
        child->name = mem_text(name);
        conf_node_append(map, child);
    }
    return OK;
}

static enum err_code take(struct reader *r, const json_t *j, const struct conf_at *at, int depth,
                          struct conf_node **out, struct err *e)
{
    CLEANUP(conf_node_freep) struct conf_node *n = conf_node_new(NODE_SCALAR, 0);
    if (++*r->node_count > CONF_NODES_MAX)
        return FAIL(r, at, ERR_LIMIT, e, "more than %d names and values", CONF_NODES_MAX);
    if (!json_is_object(j) && !json_is_array(j)) {
        take_scalar(j, n);
        if (check_text(r, at, n->text, strlen(n->text), e))
            return e->code;
        *out = TAKE(n);
        return OK;
    }
    if (depth >= CONF_DEPTH_MAX)
        return FAIL(r, at, ERR_LIMIT, e, "nested deeper than %d", CONF_DEPTH_MAX);
    n->kind = json_is_object(j) ? NODE_MAP : NODE_LIST;
    if (n->kind == NODE_MAP ? take_map(r, j, at, depth + 1, n, e) : take_list(r, j, at, depth + 1, n, e))
        return e->code;
    *out = TAKE(n);
    return OK;
}

enum err_code conf_from_json(const char *file, const json_t *j, struct conf_doc **out, struct err *e)
{
    CLEANUP(conf_freep) struct conf_doc *doc = mem_new(sizeof(*doc));
    doc->file = mem_text(file);
    struct reader r = { .file = doc->file, .node_count = &doc->node_count };
    if (!json_is_object(j))
        return FAIL(&r, NULL, ERR_USAGE, e, "must be settings (an object)");
    if (take(&r, j, NULL, 0, &doc->root, e))
        return e->code;
    *out = TAKE(doc);
    return OK;
}
