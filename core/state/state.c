#include "core/state/state.h"

#include "base/mem.h"
#include "base/text.h"
#include "core/state/state_ops.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { STATE_TIMEOUT_MS = 2000, STATE_TIMEOUT_MS_MAX = 10 * 60 * 1000 };

/* ---- checks ---- */

static enum err_code check_name(const char *what, const char *name, struct err *e)
{
    size_t n = name ? strnlen(name, STATE_NAME_BYTES) : 0;

    if (n == 0 || n >= STATE_NAME_BYTES)
        return err_set(e, ERR_USAGE, "%s has %s bytes; 1 to %d are allowed", what, n ? "too many" : "no",
                       STATE_NAME_BYTES - 1);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f)
            return err_set(e, ERR_USAGE, "%s holds a control character", what);
    return OK;
}

static enum err_code check_page(int64_t skip, int64_t limit, struct err *e)
{
    if (skip < 0 || limit < 0)
        return err_set(e, ERR_USAGE, "skip %" PRId64 ", limit %" PRId64 ": none may be negative", skip,
                       limit);
    if (limit > STATE_PAGE_MAX)
        return err_set(e, ERR_LIMIT, "limit %" PRId64 " is above %d", limit, STATE_PAGE_MAX);
    return OK;
}

/* ---- stream ids ---- */

static const char *id_part(const char *text, uint64_t *out)
{
    uint64_t v = 0;

    if (*text < '0' || *text > '9' || (text[0] == '0' && text[1] >= '0' && text[1] <= '9'))
        return NULL;
    for (; *text >= '0' && *text <= '9'; text++)
        if (__builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, (uint64_t)(*text - '0'), &v))
            return NULL;
    *out = v;
    return text;
}

enum err_code state_id_parse(const char *text, struct state_id *out, struct err *e)
{
    struct state_id id;
    const char *rest = text;

    if (strnlen(text, STATE_ID_BYTES) >= STATE_ID_BYTES || !(rest = id_part(rest, &id.ms)) ||
        *rest++ != '-' || !(rest = id_part(rest, &id.seq)) || *rest)
        return err_set(e, ERR_USAGE, "'%.*s' is not the id of a stream entry", STATE_ID_BYTES, text);
    *out = id;
    return OK;
}

void state_id_format(struct state_id id, char out[STATE_ID_BYTES])
{
    int n = snprintf(out, STATE_ID_BYTES, "%" PRIu64 "-%" PRIu64, id.ms, id.seq);
    invariant(n < STATE_ID_BYTES);
}

int state_id_compare(struct state_id a, struct state_id b)
{
    if (a.ms != b.ms)
        return a.ms < b.ms ? -1 : 1;
    return a.seq < b.seq ? -1 : a.seq > b.seq;
}

struct state_id state_id_next(struct state_id id)
{
    return id.seq == UINT64_MAX ? (struct state_id){ id.ms + 1, 0 } : (struct state_id){ id.ms, id.seq + 1 };
}

/* ---- open and close ---- */

enum err_code state_open(const struct state_config *config, const struct secret *password, struct state **out,
                         struct err *e)
{
    struct state_config c = *config;

    if (strnlen(c.address, sizeof(c.address)) == sizeof(c.address) || !c.address[0])
        return err_set(e, ERR_USAGE, "state: the address is empty or too long");
    if (strnlen(c.cluster, sizeof(c.cluster)) == sizeof(c.cluster) ||
        !text_is_name(c.cluster, sizeof(c.cluster) - 1))
        return err_set(e, ERR_USAGE, "state: the cluster must be 1 to %zu of a-z 0-9 - _ .",
                       sizeof(c.cluster) - 1);
    if (c.timeout_ms < 0 || c.timeout_ms > STATE_TIMEOUT_MS_MAX)
        return err_set(e, ERR_USAGE, "state: timeout of %" PRId64 " ms is not in 0 to %d", c.timeout_ms,
                       STATE_TIMEOUT_MS_MAX);
    if (c.timeout_ms == 0)
        c.timeout_ms = STATE_TIMEOUT_MS;
    state_open_fn *open = text_starts(c.address, "mem:") ? state_mem_open : state_redis_open;
    if (open(&c, password, out, e))
        return err_wrap(e, "state at '%s'", c.address);
    return OK;
}

void state_close(struct state *s)
{
    if (s)
        s->ops->close(s);
}

/* ---- reading ---- */

enum err_code state_get(struct state *s, const char *name, struct buf *out, int64_t *out_version,
                        struct err *e)
{
    int64_t version = 0;

    if (check_name("the name", name, e))
        return err_wrap(e, "state get");
    if (s->ops->get(s, name, out, &version, e)) {
        if (out_version && e->code == ERR_NOT_FOUND)
            *out_version = 0;
        return err_wrap(e, "state get '%s'", name);
    }
    if (out_version)
        *out_version = version;
    return OK;
}

enum err_code state_range(struct state *s, const char *set, double min, double max, bool descending,
                          int64_t skip, int64_t limit, state_each_fn *each, void *context, struct err *e)
{
    if (check_name("the set's name", set, e) || check_page(skip, limit, e))
        return err_wrap(e, "state range");
    if (isnan(min) || isnan(max))
        return err_set(e, ERR_USAGE, "state range '%s': a bound is not a number", set);
    if (limit == 0)
        return OK;
    if (s->ops->range(s, set, min, max, descending, skip, limit, each, context, e))
        return err_wrap(e, "state range '%s'", set);
    return OK;
}

enum err_code state_count(struct state *s, const char *set, int64_t *out, struct err *e)
{
    if (check_name("the set's name", set, e))
        return err_wrap(e, "state count");
    if (s->ops->count(s, set, out, e))
        return err_wrap(e, "state count '%s'", set);
    return OK;
}

enum err_code state_read(struct state *s, const char *stream, const char *after, int64_t limit,
                         state_entry_fn *each, void *context, struct err *e)
{
    struct state_id id = { 0, 0 };

    if (check_name("the stream's name", stream, e) || check_page(0, limit, e) ||
        (after && *after && state_id_parse(after, &id, e)))
        return err_wrap(e, "state read");
    if (limit == 0)
        return OK;
    if (s->ops->read(s, stream, id, limit, each, context, e))
        return err_wrap(e, "state read '%s'", stream);
    return OK;
}

enum err_code state_now(struct state *s, int64_t *out_wall_ms, struct err *e)
{
    if (s->ops->now(s, out_wall_ms, e))
        return err_wrap(e, "state now");
    return OK;
}

/* ---- building a commit ---- */

struct state_tx *state_tx_new(void)
{
    return mem_new(sizeof(struct state_tx));
}

void state_tx_free(struct state_tx *tx)
{
    if (!tx)
        return;
    for (size_t i = 0; i < tx->count; i++) {
        free(tx->ops[i].name);
        free(tx->ops[i].member);
        free(tx->ops[i].data);
    }
    free(tx->ops);
    free(tx);
}

/* NULL, and the reason kept, where it cannot be added. */
static struct state_op *tx_add(struct state_tx *tx, enum state_op_kind kind, const char *what,
                               const char *name)
{
    if (tx->failed.code || check_name(what, name, &tx->failed))
        return NULL;
    if (tx->count == STATE_OPS_MAX) {
        IGNORE(err_set(&tx->failed, ERR_LIMIT, "more than %d operations", STATE_OPS_MAX));
        return NULL;
    }
    if (tx->count == tx->size) {
        tx->size = tx->size ? tx->size * 2 : 8;
        tx->ops = mem_grow(tx->ops, tx->size, sizeof(*tx->ops));
    }
    struct state_op *op = &tx->ops[tx->count++];
    *op = (struct state_op){ .kind = kind, .name = mem_text(name) };
    return op;
}

static void tx_add_data(struct state_tx *tx, enum state_op_kind kind, const char *what, const char *name,
                        const void *data, size_t n)
{
    struct state_op *op = tx_add(tx, kind, what, name);

    if (!op)
        return;
    if (n > STATE_VALUE_BYTES_MAX) {
        IGNORE(err_set(&tx->failed, ERR_LIMIT, "%zu bytes for '%s'; at most %d are allowed", n, name,
                       STATE_VALUE_BYTES_MAX));
        return;
    }
    if (n > STATE_TX_BYTES_MAX - tx->bytes) {
        IGNORE(err_set(&tx->failed, ERR_LIMIT, "more than %d bytes in one commit", STATE_TX_BYTES_MAX));
        return;
    }
    tx->bytes += n;
    op->data = mem_new(n);
    op->n = n;
    if (n)
        memcpy(op->data, data, n);
}

static struct state_op *tx_add_member(struct state_tx *tx, enum state_op_kind kind, const char *set,
                                      const char *member)
{
    struct state_op *op = tx_add(tx, kind, "the set's name", set);

    if (!op || check_name("the member", member, &tx->failed))
        return NULL;
    op->member = mem_text(member);
    return op;
}

void state_tx_fence(struct state_tx *tx, const char *lease, int64_t token)
{
    struct state_op *op = tx_add(tx, STATE_FENCE, "the lease's name", lease);
    if (op)
        op->number = token;
}

void state_tx_expect(struct state_tx *tx, const char *name, int64_t version)
{
    struct state_op *op = tx_add(tx, STATE_EXPECT, "the name", name);
    if (op)
        op->number = version;
}

void state_tx_put(struct state_tx *tx, const char *name, const void *data, size_t n)
{
    tx_add_data(tx, STATE_PUT, "the name", name, data, n);
}

void state_tx_put_text(struct state_tx *tx, const char *name, const char *text)
{
    state_tx_put(tx, name, text, strlen(text));
}

void state_tx_delete(struct state_tx *tx, const char *name)
{
    (void)tx_add(tx, STATE_DELETE, "the name", name);
}

void state_tx_rank(struct state_tx *tx, const char *set, const char *member, double score)
{
    struct state_op *op = tx_add_member(tx, STATE_RANK, set, member);
    if (!op)
        return;
    if (isnan(score))
        IGNORE(err_set(&tx->failed, ERR_USAGE, "the score of '%s' in '%s' is not a number", member, set));
    op->score = score;
}

void state_tx_unrank(struct state_tx *tx, const char *set, const char *member)
{
    (void)tx_add_member(tx, STATE_UNRANK, set, member);
}

void state_tx_append(struct state_tx *tx, const char *stream, const void *data, size_t n)
{
    tx_add_data(tx, STATE_APPEND, "the stream's name", stream, data, n);
}

void state_tx_drop(struct state_tx *tx, const char *stream, const char *up_to_id)
{
    struct state_op *op = tx_add(tx, STATE_DROP, "the stream's name", stream);
    if (op)
        IGNORE(state_id_parse(up_to_id ? up_to_id : "", &op->id, &tx->failed));
}

enum err_code state_commit(struct state *s, const struct state_tx *tx, struct err *e)
{
    if (tx->failed.code) {
        *e = tx->failed;
        return err_wrap(e, "state commit");
    }
    if (tx->count == 0)
        return OK;
    if (s->ops->commit(s, tx, e))
        return err_wrap(e, "state commit");
    return OK;
}

enum err_code state_refuse_fence(const struct state_op *fence, struct err *e)
{
    return err_set(e, ERR_DENIED, "lease '%s' is no longer held under token %" PRId64, fence->name,
                   fence->number);
}

enum err_code state_refuse_expect(const struct state_op *expect, int64_t found_version, struct err *e)
{
    if (found_version == 0)
        return err_set(e, ERR_CONFLICT, "'%s' is gone; version %" PRId64 " was expected", expect->name,
                       expect->number);
    if (expect->number == 0)
        return err_set(e, ERR_CONFLICT, "'%s' is there already, at version %" PRId64, expect->name,
                       found_version);
    return err_set(e, ERR_CONFLICT, "'%s' is at version %" PRId64 "; %" PRId64 " was expected", expect->name,
                   found_version, expect->number);
}

/* ---- waiting ---- */

enum err_code state_watch_open(struct state *s, const char *const *streams, size_t count,
                               struct state_watch **out, struct err *e)
{
    if (count == 0 || count > STATE_WATCH_MAX)
        return err_set(e, ERR_USAGE, "state watch: %zu streams; 1 to %d are allowed", count, STATE_WATCH_MAX);
    for (size_t i = 0; i < count; i++)
        if (check_name("the stream's name", streams[i], e))
            return err_wrap(e, "state watch");
    if (s->ops->watch_open(s, streams, count, out, e))
        return err_wrap(e, "state watch");
    return OK;
}

int state_watch_fd(const struct state_watch *w)
{
    return w->ops->fd(w);
}

enum err_code state_watch_read(struct state_watch *w, bool *out_woken, struct err *e)
{
    if (w->ops->read(w, out_woken, e))
        return err_wrap(e, "state watch");
    return OK;
}

void state_watch_close(struct state_watch *w)
{
    if (w)
        w->ops->close(w);
}
