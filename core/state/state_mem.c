/*
 * The clusters of this process lie in one registry, by address and name, so that handles of several threads
 * meet as they would in a server. That makes the registry the one thing here that no caller passes in; a
 * cluster goes with its last handle.
 */
#include "core/state/state_mem_data.h"

#include "base/mem.h"

#include <errno.h>
#include <pthread.h>
#include <search.h>
#include <string.h>
#include <sys/eventfd.h>

struct mem_cluster {
    struct mem_cluster *next; /* this and `users` belong to the registry's lock */
    size_t users;             /* handles and watches */
    char *key;
    pthread_mutex_t lock; /* all below */
    const struct clock *clock;
    void *values, *sets, *streams, *leases;
    int64_t version_floor; /* the largest version ever deleted: new names start above it */
    struct mem_watch *watches;
};

struct mem_watch {
    struct state_watch base;
    struct mem_watch *next;
    struct mem_cluster *cluster;
    int fd;
    size_t count;
    char *streams[STATE_WATCH_MAX];
};

struct state_mem {
    struct state base;
    struct mem_cluster *cluster;
};

static struct {
    pthread_mutex_t lock;
    struct mem_cluster *first;
} registry = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* ---- clusters ---- */

static struct mem_cluster *cluster_find_or_make_locked(const char *key)
{
    struct mem_cluster *c = registry.first;

    while (c && strcmp(c->key, key) != 0)
        c = c->next;
    if (!c) {
        c = mem_new(sizeof(*c));
        c->key = mem_text(key);
        c->clock = &clock_real;
        invariant(pthread_mutex_init(&c->lock, NULL) == 0);
        c->next = registry.first;
        registry.first = c;
    }
    c->users++;
    return c;
}

static void cluster_free(struct mem_cluster *c)
{
    tdestroy(c->values, mem_value_free);
    tdestroy(c->sets, mem_set_free);
    tdestroy(c->streams, mem_stream_free);
    tdestroy(c->leases, mem_lease_free);
    pthread_mutex_destroy(&c->lock);
    free(c->key);
    free(c);
}

static void cluster_leave(struct mem_cluster *c)
{
    pthread_mutex_lock(&registry.lock);
    bool last = --c->users == 0;
    if (last) {
        struct mem_cluster **at = &registry.first;
        while (*at != c)
            at = &(*at)->next;
        *at = c->next;
    }
    pthread_mutex_unlock(&registry.lock);
    if (last)
        cluster_free(c);
}

static struct mem_cluster *enter(struct state *s)
{
    struct mem_cluster *c = ((struct state_mem *)s)->cluster;
    pthread_mutex_lock(&c->lock);
    return c;
}

static void leave(struct mem_cluster *c)
{
    pthread_mutex_unlock(&c->lock);
}

static void mem_close(struct state *s)
{
    cluster_leave(((struct state_mem *)s)->cluster);
    free(s);
}

/* ---- reading ---- */

static enum err_code value_copy(const struct mem_value *v, struct buf *out, int64_t *out_version,
                                struct err *e)
{
    if (!v)
        return err_set(e, ERR_NOT_FOUND, "there is no such value");
    if (out && v->n > out->max - out->len)
        return err_set(e, ERR_LIMIT, "its %zu bytes do not fit into %zu", v->n, out->max - out->len);
    if (out)
        buf_add(out, v->data, v->n);
    *out_version = v->version;
    return OK;
}

static enum err_code mem_get(struct state *s, const char *name, struct buf *out, int64_t *out_version,
                             struct err *e)
{
    struct mem_cluster *c = enter(s);
    enum err_code code = value_copy(mem_find(&c->values, name), out, out_version, e);
    leave(c);
    return code;
}

/* What a reading found, copied, so that `each` runs without the lock and may use the state itself. */
struct copied {
    char *name; /* member or id */
    uint8_t *data;
    size_t n;
    double score;
};

static void copied_free(struct copied *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(list[i].name);
        free(list[i].data);
    }
    free(list);
}

static size_t range_copy(const struct mem_set *set, double min, double max, bool descending, int64_t skip,
                         int64_t limit, struct copied **out)
{
    size_t from = set ? mem_set_from(set, min) : 0;
    size_t to = set ? mem_set_upto(set, max) : 0;
    size_t found = to > from ? to - from : 0;

    if (found == 0 || (uint64_t)skip >= found)
        return 0;
    size_t count = MIN(found - (size_t)skip, (size_t)limit);
    *out = mem_array(count, sizeof(**out));
    for (size_t i = 0; i < count; i++) {
        size_t at = descending ? to - 1 - (size_t)skip - i : from + (size_t)skip + i;
        (*out)[i].name = mem_text(set->order[at]->member.name);
        (*out)[i].score = set->order[at]->score;
    }
    return count;
}

static enum err_code mem_range(struct state *s, const char *set, double min, double max, bool descending,
                               int64_t skip, int64_t limit, state_each_fn *each, void *context, struct err *e)
{
    struct copied *list = NULL;
    enum err_code code = OK;

    struct mem_cluster *c = enter(s);
    size_t count = range_copy(mem_find(&c->sets, set), min, max, descending, skip, limit, &list);
    leave(c);
    for (size_t i = 0; i < count && code == OK; i++)
        code = each(context, list[i].name, list[i].score, e);
    copied_free(list, count);
    return code;
}

static enum err_code mem_count(struct state *s, const char *set, int64_t *out, struct err *e)
{
    (void)e;
    struct mem_cluster *c = enter(s);
    const struct mem_set *found = mem_find(&c->sets, set);
    *out = found ? (int64_t)found->count : 0;
    leave(c);
    return OK;
}

static size_t read_copy(const struct mem_stream *stream, struct state_id after, int64_t limit,
                        struct copied **out)
{
    if (!stream)
        return 0;
    size_t from = mem_stream_behind(stream, after);
    size_t count = MIN(stream->first + stream->count - from, (size_t)limit);
    *out = mem_array(count, sizeof(**out));
    for (size_t i = 0; i < count; i++) {
        const struct mem_entry *entry = &stream->entries[from + i];
        struct copied *copy = &(*out)[i];
        copy->name = mem_new(STATE_ID_BYTES);
        state_id_format(entry->id, copy->name);
        copy->data = mem_new(entry->n);
        memcpy(copy->data, entry->data, entry->n);
        copy->n = entry->n;
    }
    return count;
}

static enum err_code mem_read(struct state *s, const char *stream, struct state_id after, int64_t limit,
                              state_entry_fn *each, void *context, struct err *e)
{
    struct copied *list = NULL;
    enum err_code code = OK;

    struct mem_cluster *c = enter(s);
    size_t count = read_copy(mem_find(&c->streams, stream), after, limit, &list);
    leave(c);
    for (size_t i = 0; i < count && code == OK; i++)
        code = each(context, list[i].name, list[i].data, list[i].n, e);
    copied_free(list, count);
    return code;
}

static enum err_code mem_now(struct state *s, int64_t *out_wall_ms, struct err *e)
{
    (void)e;
    struct mem_cluster *c = enter(s);
    *out_wall_ms = c->clock->wall_ms(c->clock);
    leave(c);
    return OK;
}

/* ---- commit ---- */

static enum err_code check_guards_locked(struct mem_cluster *c, const struct state_tx *tx, struct err *e)
{
    for (size_t i = 0; i < tx->count; i++) {
        const struct state_op *op = &tx->ops[i];
        if (op->kind != STATE_FENCE)
            continue;
        const struct mem_lease *l = mem_find(&c->leases, op->name);
        if (!l || l->token != op->number)
            return state_refuse_fence(op, e);
    }
    for (size_t i = 0; i < tx->count; i++) {
        const struct state_op *op = &tx->ops[i];
        if (op->kind != STATE_EXPECT)
            continue;
        const struct mem_value *v = mem_find(&c->values, op->name);
        int64_t found = v ? v->version : 0;
        if (found != op->number)
            return state_refuse_expect(op, found, e);
    }
    return OK;
}

static void put_locked(struct mem_cluster *c, const struct state_op *op)
{
    struct mem_value *v = mem_find(&c->values, op->name);

    if (!v) {
        v = mem_add(&c->values, op->name, sizeof(*v));
        v->version = c->version_floor;
    }
    mem_value_set(v, op->data, op->n);
}

static void delete_locked(struct mem_cluster *c, const struct state_op *op)
{
    struct mem_value *v = mem_find(&c->values, op->name);

    if (!v)
        return;
    c->version_floor = MAX(c->version_floor, v->version);
    mem_remove(&c->values, &v->named);
    mem_value_free(v);
}

static void append_locked(struct mem_cluster *c, const struct state_op *op)
{
    struct mem_stream *stream = mem_find(&c->streams, op->name);
    const uint64_t one = 1;

    if (!stream)
        stream = mem_add(&c->streams, op->name, sizeof(*stream));
    mem_stream_append(stream, (uint64_t)MAX(0, c->clock->wall_ms(c->clock)), op->data, op->n);
    /* EAGAIN: the count is full, so the descriptor is readable anyway. */
    for (struct mem_watch *w = c->watches; w; w = w->next)
        for (size_t i = 0; i < w->count; i++)
            if (strcmp(w->streams[i], op->name) == 0)
                invariant(write(w->fd, &one, sizeof(one)) == (ssize_t)sizeof(one) || errno == EAGAIN);
}

static void apply_locked(struct mem_cluster *c, const struct state_op *op)
{
    struct mem_set *set = NULL;
    struct mem_stream *stream = NULL;

    switch (op->kind) {
    case STATE_FENCE:
    case STATE_EXPECT:
        break;
    case STATE_PUT:
        put_locked(c, op);
        break;
    case STATE_DELETE:
        delete_locked(c, op);
        break;
    case STATE_RANK:
        set = mem_find(&c->sets, op->name);
        if (!set)
            set = mem_add(&c->sets, op->name, sizeof(*set));
        mem_set_rank(set, op->member, op->score);
        break;
    case STATE_UNRANK:
        set = mem_find(&c->sets, op->name);
        if (set)
            mem_set_unrank(set, op->member);
        break;
    case STATE_APPEND:
        append_locked(c, op);
        break;
    case STATE_DROP:
        stream = mem_find(&c->streams, op->name);
        if (stream)
            mem_stream_drop(stream, op->id);
        break;
    }
}

static enum err_code mem_commit(struct state *s, const struct state_tx *tx, struct err *e)
{
    struct mem_cluster *c = enter(s);
    enum err_code code = check_guards_locked(c, tx, e);

    for (size_t i = 0; code == OK && i < tx->count; i++)
        apply_locked(c, &tx->ops[i]);
    leave(c);
    return code;
}

/* ---- leases ---- */

static bool lease_take_locked(struct mem_cluster *c, struct mem_lease *l, const struct lease_ask *ask,
                              bool held)
{
    if (held && strcmp(l->owner, ask->owner) != 0)
        return false;
    l->token = MAX(l->token + 1, c->clock->wall_ms(c->clock));
    memcpy(l->owner, ask->owner, strlen(ask->owner) + 1); /* its length was checked by the facade */
    return true;
}

static enum err_code mem_lease(struct state *s, const struct lease_ask *ask, struct lease_answer *out,
                               struct err *e)
{
    (void)e;
    struct mem_cluster *c = enter(s);
    int64_t now = c->clock->mono_ms(c->clock);
    struct mem_lease *l = mem_find(&c->leases, ask->name);
    struct mem_lease none = { .token = 0 };

    if (!l)
        l = ask->verb == LEASE_TAKE ? mem_add(&c->leases, ask->name, sizeof(*l)) : &none;
    bool held = l->until_mono_ms > now;
    bool done = l->token != 0 && l->token == ask->token;
    if (ask->verb == LEASE_TAKE)
        done = lease_take_locked(c, l, ask, held);
    if (done && (ask->verb == LEASE_TAKE || ask->verb == LEASE_RENEW)) {
        l->until_mono_ms = now + ask->ttl_ms;
    } else if (done) { /* release, break: nobody holds the token that comes next */
        l->token++;
        l->until_mono_ms = 0;
    }
    held = l->until_mono_ms > now;
    *out = (struct lease_answer){ .done = ask->verb == LEASE_LOOK ? held : done, .token = l->token };
    if (held) {
        out->left_ms = l->until_mono_ms - now;
        memcpy(out->owner, l->owner, sizeof(out->owner));
    }
    leave(c);
    return OK;
}

static const struct clock *mem_clock(struct state *s)
{
    struct mem_cluster *c = enter(s);
    const struct clock *clock = c->clock;
    leave(c);
    return clock;
}

void state_mem_set_clock(struct state *s, const struct clock *clock)
{
    struct mem_cluster *c = enter(s);
    c->clock = clock;
    leave(c);
}

/* ---- waiting ---- */

static int watch_fd(const struct state_watch *base)
{
    return ((const struct mem_watch *)base)->fd;
}

static enum err_code watch_read(struct state_watch *base, bool *out_woken, struct err *e)
{
    uint64_t times;
    ssize_t n = read(((struct mem_watch *)base)->fd, &times, sizeof(times));

    if (n < 0 && errno != EAGAIN && errno != EINTR)
        return err_errno(e, "read eventfd");
    *out_woken = n > 0;
    return OK;
}

static void watch_close(struct state_watch *base)
{
    struct mem_watch *w = (struct mem_watch *)base;

    pthread_mutex_lock(&w->cluster->lock);
    struct mem_watch **at = &w->cluster->watches;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    pthread_mutex_unlock(&w->cluster->lock);
    cluster_leave(w->cluster);
    close(w->fd);
    for (size_t i = 0; i < w->count; i++)
        free(w->streams[i]);
    free(w);
}

static const struct state_watch_ops watch_ops = { .fd = watch_fd, .read = watch_read, .close = watch_close };

static enum err_code mem_watch_open(struct state *s, const char *const *streams, size_t count,
                                    struct state_watch **out, struct err *e)
{
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

    if (fd < 0)
        return err_errno(e, "eventfd");
    struct mem_watch *w = mem_new(sizeof(*w));
    w->base.ops = &watch_ops;
    w->cluster = ((struct state_mem *)s)->cluster;
    w->fd = fd;
    w->count = count;
    for (size_t i = 0; i < count; i++)
        w->streams[i] = mem_text(streams[i]);
    pthread_mutex_lock(&registry.lock);
    w->cluster->users++;
    pthread_mutex_unlock(&registry.lock);
    struct mem_cluster *c = enter(s);
    w->next = c->watches;
    c->watches = w;
    leave(c);
    *out = &w->base;
    return OK;
}

static const struct state_ops mem_ops = {
    .name = "mem",
    .close = mem_close,
    .get = mem_get,
    .range = mem_range,
    .count = mem_count,
    .read = mem_read,
    .now = mem_now,
    .commit = mem_commit,
    .lease = mem_lease,
    .clock = mem_clock,
    .watch_open = mem_watch_open,
};

enum err_code state_mem_open(const struct state_config *config, const struct secret *password,
                             struct state **out, struct err *e)
{
    (void)password, (void)e;
    struct state_mem *m = mem_new(sizeof(*m));
    CLEANUP(freep) char *key = mem_printf("%s {%s}", config->address, config->cluster);

    m->base.ops = &mem_ops;
    pthread_mutex_lock(&registry.lock);
    m->cluster = cluster_find_or_make_locked(key);
    pthread_mutex_unlock(&registry.lock);
    *out = &m->base;
    return OK;
}
