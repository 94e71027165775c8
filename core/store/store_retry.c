#include "base/mem.h"
#include "base/num.h"
#include "base/rng.h"
#include "core/store/store_ops.h"

#include <stdio.h>
#include <string.h>

struct store_retry {
    struct store base;
    struct store *inner; /* owned */
    struct store_retry_rule rule;
    const struct clock *clock;
};

int64_t store_backoff_ms(int64_t base_ms, int64_t max_ms, int failures)
{
    int64_t longest = base_ms;
    for (int i = 1; i < failures && longest < max_ms; i++)
        longest *= 2;
    longest = MIN(longest, max_ms);
    uint64_t random;
    random_bytes(&random, sizeof(random));
    return (int64_t)(random % (uint64_t)(longest + 1));
}

void store_patience_tell(const struct store_patience *p, const struct store *s, int64_t now_ms,
                         const char *why)
{
    const struct store_wait wait = {
        .call = p->call, .key = p->key, .failures = p->failures, .waited_ms = now_ms - p->since_ms, .why = why
    };
    if (s->on_wait)
        s->on_wait(s->on_wait_context, &wait);
}

static void give_up(const struct store_patience *p, int64_t waited_ms, bool late, struct err *e)
{
    char waited[NUM_TEXT_BYTES];
    format_duration(waited_ms, waited);
    if (late)
        IGNORE(err_wrap(e, "its deadline came after %d %s in %s", p->failures,
                        p->failures == 1 ? "try" : "tries", waited));
    else if (p->failures > 1)
        IGNORE(err_wrap(e, "gave up after %d tries in %s", p->failures, waited));
}

bool store_patience_again(struct store_patience *p, const struct store_retry_rule *rule, int64_t now_ms,
                          int64_t until_ms, int64_t *out_pause_ms, struct err *e)
{
    if (p->failures++ == 0)
        p->since_ms = now_ms;
    int64_t waited_ms = now_ms - p->since_ms;
    int64_t pause_ms = store_backoff_ms(rule->base_ms, rule->max_ms, p->failures);
    bool over =
        rule->patience_ms > 0 ? waited_ms + pause_ms >= rule->patience_ms : p->failures >= rule->tries;
    bool late = until_ms != 0 && now_ms + pause_ms >= until_ms;
    *out_pause_ms = pause_ms;
    if (over || late)
        give_up(p, waited_ms, late, e);
    return !over && !late;
}

/* Call again? Waits where it says yes. */
static bool again(const struct store_retry *r, struct store_patience *p, enum err_code code, struct err *e)
{
    int64_t now_ms = r->clock->mono_ms(r->clock), pause_ms;
    if (code == OK && p->failures > 0)
        store_patience_tell(p, &r->base, now_ms, NULL);
    if (code != ERR_RETRY || !store_patience_again(p, &r->rule, now_ms, r->base.until_ms, &pause_ms, e))
        return false;
    store_patience_tell(p, &r->base, now_ms, e->text);
    r->clock->sleep_ms(r->clock, pause_ms);
    err_clear(e);
    return true;
}

#define RETRY(r, name, what, e, once)                                                                        \
    do {                                                                                                     \
        enum err_code code_;                                                                                 \
        struct store_patience patience_ = { .call = (name), .key = (what) };                                 \
        do {                                                                                                 \
            code_ = (once);                                                                                  \
        } while (again(r, &patience_, code_, e));                                                            \
        return code_;                                                                                        \
    } while (0)

static enum err_code retry_put(struct store *s, const char *key, const void *data, size_t n,
                               const struct store_put_options *options, struct store_info *out, struct err *e)
{
    const struct store_retry *r = (const struct store_retry *)s;
    RETRY(r, "put", key, e, r->inner->ops->put(r->inner, key, data, n, options, out, e));
}

static enum err_code get_once(struct store *inner, const char *key, const char *version, uint64_t offset,
                              uint64_t length, struct buf *body, size_t before, struct store_info *out,
                              struct err *e)
{
    body->len = before; /* what a failed try left */
    return inner->ops->get(inner, key, version, offset, length, body, out, e);
}

static enum err_code retry_get(struct store *s, const char *key, const char *version, uint64_t offset,
                               uint64_t length, struct buf *body, struct store_info *out, struct err *e)
{
    const struct store_retry *r = (const struct store_retry *)s;
    size_t before = body->len;
    RETRY(r, "get", key, e, get_once(r->inner, key, version, offset, length, body, before, out, e));
}

/* A backend that has many on the way tries each again by itself. */
static enum err_code retry_get_many(struct store *s, const struct store_read *reads, size_t count,
                                    store_read_fn *each, void *context, struct err *e)
{
    struct store *inner = ((struct store_retry *)s)->inner;
    if (inner->ops->get_many == store_get_each)
        return store_get_each(s, reads, count, each, context, e);
    return inner->ops->get_many(inner, reads, count, each, context, e);
}

static enum err_code retry_head(struct store *s, const char *key, const char *version, struct store_info *out,
                                struct err *e)
{
    const struct store_retry *r = (const struct store_retry *)s;
    RETRY(r, "head", key, e, r->inner->ops->head(r->inner, key, version, out, e));
}

/* Where a listing stands, so that a second try goes on behind what was shown. The caller's own ERR_RETRY ends
 * it. */
struct progress {
    char key[STORE_KEY_BYTES], version[STORE_VERSION_BYTES];
    store_each_fn *each;
    void *context;
    bool ended_by_caller;
};

static enum err_code remember(void *context, const struct store_info *info, struct err *e)
{
    struct progress *p = context;
    enum err_code code = p->each(p->context, info, e);
    p->ended_by_caller = code != OK;
    memcpy(p->key, info->key, sizeof(p->key));
    memcpy(p->version, info->version, sizeof(p->version));
    return code;
}

static enum err_code retry_list(struct store *s, const char *prefix, const char *after, store_each_fn *each,
                                void *context, struct err *e)
{
    const struct store_retry *r = (const struct store_retry *)s;
    struct progress p = { .each = each, .context = context };
    struct store_patience patience = { .call = "list", .key = prefix };
    enum err_code code;
    snprintf(p.key, sizeof(p.key), "%s", after);
    do {
        code = r->inner->ops->list(r->inner, prefix, p.key, remember, &p, e);
    } while (!p.ended_by_caller && again(r, &patience, code, e));
    return code;
}

static enum err_code retry_list_versions(struct store *s, const char *prefix, const char *after_key,
                                         const char *after_version, store_each_fn *each, void *context,
                                         struct err *e)
{
    const struct store_retry *r = (const struct store_retry *)s;
    struct progress p = { .each = each, .context = context };
    struct store_patience patience = { .call = "list", .key = prefix };
    enum err_code code;
    snprintf(p.key, sizeof(p.key), "%s", after_key);
    snprintf(p.version, sizeof(p.version), "%s", after_version);
    do {
        code = r->inner->ops->list_versions(r->inner, prefix, p.key, p.version, remember, &p, e);
    } while (!p.ended_by_caller && again(r, &patience, code, e));
    return code;
}

static enum err_code retry_remove(struct store *s, const char *key, const char *version, struct err *e)
{
    const struct store_retry *r = (const struct store_retry *)s;
    RETRY(r, "delete", key, e, r->inner->ops->remove(r->inner, key, version, e));
}

static enum err_code retry_abort_uploads(struct store *s, const char *prefix, int64_t before_ms,
                                         size_t *out_aborted, struct err *e)
{
    struct store *inner = ((struct store_retry *)s)->inner; /* which tries again by itself */
    return inner->ops->abort_uploads(inner, prefix, before_ms, out_aborted, e);
}

static enum err_code retry_set_lock(struct store *s, const char *key, const char *version,
                                    const struct store_lock *lock, struct err *e)
{
    const struct store_retry *r = (const struct store_retry *)s;
    RETRY(r, "lock", key, e, r->inner->ops->set_lock(r->inner, key, version, lock, e));
}

static enum err_code retry_facts(struct store *s, struct store_facts *out, struct err *e)
{
    const struct store_retry *r = (const struct store_retry *)s;
    RETRY(r, "facts", "", e, r->inner->ops->facts(r->inner, out, e));
}

static void retry_close(struct store *s)
{
    store_close(((struct store_retry *)s)->inner);
    free(s);
}

static const struct store_ops store_retry_ops = {
    .name = "retry",
    .put = retry_put,
    .get = retry_get,
    .get_many = retry_get_many,
    .head = retry_head,
    .list = retry_list,
    .list_versions = retry_list_versions,
    .remove = retry_remove,
    .abort_uploads = retry_abort_uploads,
    .set_lock = retry_set_lock,
    .facts = retry_facts,
    .close = retry_close,
};

struct store *store_retry_new(struct store *inner, const struct store_retry_rule *rule,
                              const struct clock *clock)
{
    invariant(rule->tries >= 1 && rule->patience_ms >= 0 && rule->base_ms >= 0 &&
              rule->max_ms >= rule->base_ms);
    struct store_retry *r = mem_new(sizeof(*r));
    r->base.ops = &store_retry_ops;
    memcpy(r->base.name, inner->name, sizeof(r->base.name));
    r->base.below = inner;
    r->inner = inner;
    r->rule = *rule;
    r->clock = clock;
    return &r->base;
}
