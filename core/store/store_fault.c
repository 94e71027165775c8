#include "base/mem.h"
#include "core/store/store_ops.h"

#include <string.h>

struct store_fault {
    struct store base;
    struct store *inner; /* borrowed */
    int64_t calls_left;  /* 0: no fault is due */
    enum err_code code;
    bool torn;
};

/* Counts a call; is it the one that fails? */
static bool due(struct store_fault *f)
{
    return f->calls_left > 0 && --f->calls_left == 0;
}

static enum err_code fail(const struct store_fault *f, struct err *e)
{
    return err_set(e, f->code, "injected fault");
}

static enum err_code fault_put(struct store *s, const char *key, const void *data, size_t n,
                               const struct store_put_options *options, struct store_info *out, struct err *e)
{
    struct store_fault *f = (struct store_fault *)s;
    if (!due(f))
        return f->inner->ops->put(f->inner, key, data, n, options, out, e);
    if (f->torn && f->inner->ops->put(f->inner, key, data, n, options, out, e))
        return e->code;
    return fail(f, e);
}

static enum err_code fault_get(struct store *s, const char *key, const char *version, uint64_t offset,
                               uint64_t length, struct buf *body, struct store_info *out, struct err *e)
{
    struct store_fault *f = (struct store_fault *)s;
    return due(f) ? fail(f, e) : f->inner->ops->get(f->inner, key, version, offset, length, body, out, e);
}

static enum err_code fault_head(struct store *s, const char *key, const char *version, struct store_info *out,
                                struct err *e)
{
    struct store_fault *f = (struct store_fault *)s;
    return due(f) ? fail(f, e) : f->inner->ops->head(f->inner, key, version, out, e);
}

/* A listing that is to fail shows its first entry before: the store broke off in the middle. */
struct broken {
    struct store_fault *fault;
    store_each_fn *each;
    void *context;
    bool shown;
};

static enum err_code show_one(void *context, const struct store_info *info, struct err *e)
{
    struct broken *b = context;
    if (b->shown)
        return fail(b->fault, e);
    b->shown = true;
    return b->each(b->context, info, e);
}

static enum err_code fault_list(struct store *s, const char *prefix, const char *after, store_each_fn *each,
                                void *context, struct err *e)
{
    struct store_fault *f = (struct store_fault *)s;
    struct broken b = { .fault = f, .each = each, .context = context };
    if (!due(f))
        return f->inner->ops->list(f->inner, prefix, after, each, context, e);
    enum err_code code = f->inner->ops->list(f->inner, prefix, after, show_one, &b, e);
    return code ? code : fail(f, e);
}

static enum err_code fault_list_versions(struct store *s, const char *prefix, const char *after_key,
                                         const char *after_version, store_each_fn *each, void *context,
                                         struct err *e)
{
    struct store_fault *f = (struct store_fault *)s;
    struct broken b = { .fault = f, .each = each, .context = context };
    if (!due(f))
        return f->inner->ops->list_versions(f->inner, prefix, after_key, after_version, each, context, e);
    enum err_code code =
        f->inner->ops->list_versions(f->inner, prefix, after_key, after_version, show_one, &b, e);
    return code ? code : fail(f, e);
}

static enum err_code fault_remove(struct store *s, const char *key, const char *version, struct err *e)
{
    struct store_fault *f = (struct store_fault *)s;
    return due(f) ? fail(f, e) : f->inner->ops->remove(f->inner, key, version, e);
}

static enum err_code fault_set_lock(struct store *s, const char *key, const char *version,
                                    const struct store_lock *lock, struct err *e)
{
    struct store_fault *f = (struct store_fault *)s;
    return due(f) ? fail(f, e) : f->inner->ops->set_lock(f->inner, key, version, lock, e);
}

static enum err_code fault_facts(struct store *s, struct store_facts *out, struct err *e)
{
    struct store_fault *f = (struct store_fault *)s;
    return due(f) ? fail(f, e) : f->inner->ops->facts(f->inner, out, e);
}

static void fault_close(struct store *s)
{
    free(s);
}

static const struct store_ops store_fault_ops = {
    .name = "fault",
    .put = fault_put,
    .get = fault_get,
    .get_many = store_get_each,
    .head = fault_head,
    .list = fault_list,
    .list_versions = fault_list_versions,
    .remove = fault_remove,
    .abort_uploads = store_no_uploads,
    .set_lock = fault_set_lock,
    .facts = fault_facts,
    .close = fault_close,
};

struct store *store_fault_new(struct store *inner)
{
    struct store_fault *f = mem_new(sizeof(*f));
    f->base.ops = &store_fault_ops;
    memcpy(f->base.name, inner->name, sizeof(f->base.name));
    f->base.below = inner;
    f->inner = inner;
    return &f->base;
}

void store_fault_at(struct store *fault, int64_t nth_call, enum err_code code, bool torn)
{
    struct store_fault *f = (struct store_fault *)fault;
    invariant(fault->ops == &store_fault_ops && nth_call >= 0 && (nth_call == 0 || code != OK));
    f->calls_left = nth_call;
    f->code = code;
    f->torn = torn;
}
