#include "core/state/state_redis.h"

#include "base/mem.h"
#include "base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct state_redis {
    struct state base;
    struct state_config config;
    struct secret *password; /* owned, NULL for none: reconnecting needs it */
    struct wire wire;
};

/* Whether a command may be sent again where nobody knows if it arrived. */
enum resend { RESEND, SEND_ONCE };

static enum err_code connect_unless_connected(struct state_redis *r, int64_t deadline_ms, bool *out_fresh,
                                              struct err *e)
{
    /* Noticed before anything is sent, so even a commit survives a Redis that was restarted meanwhile. */
    if (r->wire.fd >= 0 && wire_lost(&r->wire))
        wire_close(&r->wire);
    *out_fresh = r->wire.fd < 0;
    return *out_fresh ? wire_open(&r->wire, &r->config, r->password, deadline_ms, e) : OK;
}

static enum err_code call(struct state_redis *r, const struct redis_cmd *cmd, enum resend resend,
                          redisReply **out, struct err *e)
{
    int64_t deadline_ms = clock_mono_ms() + r->config.timeout_ms;
    bool fresh;

    for (int tries = 0; tries < 2; tries++) {
        CLEANUP(redis_reply_freep) redisReply *reply = NULL;
        if (connect_unless_connected(r, deadline_ms, &fresh, e))
            return e->code;
        if (wire_call(&r->wire, cmd, deadline_ms, &reply, e) == OK) {
            if (redis_reply_check(reply, e))
                return e->code;
            *out = TAKE(reply);
            return OK;
        }
        wire_close(&r->wire);
        if (fresh || resend == SEND_ONCE)
            break;
    }
    return e->code;
}

static void redis_close(struct state *s)
{
    struct state_redis *r = (struct state_redis *)s;

    wire_close(&r->wire);
    secret_free(r->password);
    free(r);
}

/* ---- reading ---- */

static enum err_code redis_get(struct state *s, const char *name, struct buf *out, int64_t *out_version,
                               struct err *e)
{
    struct state_redis *r = (struct state_redis *)s;
    CLEANUP(redis_cmd_done) struct redis_cmd cmd = REDIS_CMD_INIT(SCRIPT_NONE);
    CLEANUP(redis_reply_freep) redisReply *reply = NULL;
    int64_t version;

    redis_arg_text(&cmd, "HMGET");
    redis_arg_key(&cmd, r->config.cluster, "v:", name);
    redis_arg_text(&cmd, "v");
    redis_arg_text(&cmd, "d");
    if (call(r, &cmd, RESEND, &reply, e) || redis_reply_is(reply, REDIS_REPLY_ARRAY, 2, e))
        return e->code;
    const redisReply *data = redis_reply_at(reply, 1, REDIS_REPLY_STRING);
    if (redis_reply_at(reply, 0, REDIS_REPLY_NIL))
        return err_set(e, ERR_NOT_FOUND, "there is no such value");
    if (!data)
        return err_set(e, ERR_CORRUPT, "redis: a version without data");
    if (redis_reply_i64(redis_reply_at(reply, 0, REDIS_REPLY_STRING), &version, e))
        return e->code;
    if (out && data->len > out->max - out->len)
        return err_set(e, ERR_LIMIT, "its %zu bytes do not fit into %zu", (size_t)data->len,
                       out->max - out->len);
    if (out)
        buf_add(out, data->str, data->len);
    *out_version = version;
    return OK;
}

static enum err_code redis_range(struct state *s, const char *set, double min, double max, bool descending,
                                 int64_t skip, int64_t limit, state_each_fn *each, void *context,
                                 struct err *e)
{
    struct state_redis *r = (struct state_redis *)s;
    CLEANUP(redis_cmd_done) struct redis_cmd cmd = REDIS_CMD_INIT(SCRIPT_NONE);
    CLEANUP(redis_reply_freep) redisReply *reply = NULL;

    redis_arg_text(&cmd, "ZRANGE");
    redis_arg_key(&cmd, r->config.cluster, "z:", set);
    redis_argf(&cmd, "%.17g", descending ? max : min);
    redis_argf(&cmd, "%.17g", descending ? min : max);
    redis_arg_text(&cmd, "BYSCORE");
    if (descending)
        redis_arg_text(&cmd, "REV");
    redis_arg_text(&cmd, "LIMIT");
    redis_argf(&cmd, "%" PRId64, skip);
    redis_argf(&cmd, "%" PRId64, limit);
    redis_arg_text(&cmd, "WITHSCORES");
    if (call(r, &cmd, RESEND, &reply, e) || redis_reply_is(reply, REDIS_REPLY_ARRAY, 0, e))
        return e->code;
    for (size_t i = 0; i + 1 < reply->elements; i += 2) {
        const redisReply *member = redis_reply_at(reply, i, REDIS_REPLY_STRING);
        const redisReply *score = redis_reply_at(reply, i + 1, REDIS_REPLY_STRING);
        char *end = NULL;
        double v = score ? strtod(score->str, &end) : 0;
        if (!member || !score || end != score->str + score->len)
            return err_set(e, ERR_CORRUPT, "redis: a member without its score");
        if (each(context, member->str, v, e))
            return e->code;
    }
    return OK;
}

static enum err_code redis_count(struct state *s, const char *set, int64_t *out, struct err *e)
{
    struct state_redis *r = (struct state_redis *)s;
    CLEANUP(redis_cmd_done) struct redis_cmd cmd = REDIS_CMD_INIT(SCRIPT_NONE);
    CLEANUP(redis_reply_freep) redisReply *reply = NULL;

    redis_arg_text(&cmd, "ZCARD");
    redis_arg_key(&cmd, r->config.cluster, "z:", set);
    if (call(r, &cmd, RESEND, &reply, e) || redis_reply_is(reply, REDIS_REPLY_INTEGER, 0, e))
        return e->code;
    *out = reply->integer;
    return OK;
}

static enum err_code redis_read(struct state *s, const char *stream, struct state_id after, int64_t limit,
                                state_entry_fn *each, void *context, struct err *e)
{
    struct state_redis *r = (struct state_redis *)s;
    CLEANUP(redis_cmd_done) struct redis_cmd cmd = REDIS_CMD_INIT(SCRIPT_NONE);
    CLEANUP(redis_reply_freep) redisReply *reply = NULL;
    char id[STATE_ID_BYTES];

    state_id_format(after, id);
    redis_arg_text(&cmd, "XRANGE");
    redis_arg_key(&cmd, r->config.cluster, "s:", stream);
    redis_argf(&cmd, "(%s", id);
    redis_arg_text(&cmd, "+");
    redis_arg_text(&cmd, "COUNT");
    redis_argf(&cmd, "%" PRId64, limit);
    if (call(r, &cmd, RESEND, &reply, e) || redis_reply_is(reply, REDIS_REPLY_ARRAY, 0, e))
        return e->code;
    for (size_t i = 0; i < reply->elements; i++) {
        const redisReply *entry_id = redis_reply_at(reply->element[i], 0, REDIS_REPLY_STRING);
        const redisReply *fields = redis_reply_at(reply->element[i], 1, REDIS_REPLY_ARRAY);
        const redisReply *data = fields ? redis_reply_at(fields, 1, REDIS_REPLY_STRING) : NULL;
        if (!entry_id || !data)
            return err_set(e, ERR_CORRUPT, "redis: a stream entry that is not ours");
        if (each(context, entry_id->str, data->str, data->len, e))
            return e->code;
    }
    return OK;
}

static enum err_code redis_now(struct state *s, int64_t *out_wall_ms, struct err *e)
{
    CLEANUP(redis_cmd_done) struct redis_cmd cmd = REDIS_CMD_INIT(SCRIPT_NONE);
    CLEANUP(redis_reply_freep) redisReply *reply = NULL;
    int64_t seconds, us;

    redis_arg_text(&cmd, "TIME");
    if (call((struct state_redis *)s, &cmd, RESEND, &reply, e) ||
        redis_reply_is(reply, REDIS_REPLY_ARRAY, 2, e) ||
        redis_reply_i64(redis_reply_at(reply, 0, REDIS_REPLY_STRING), &seconds, e) ||
        redis_reply_i64(redis_reply_at(reply, 1, REDIS_REPLY_STRING), &us, e))
        return e->code;
    *out_wall_ms = seconds * 1000 + us / 1000;
    return OK;
}

/* ---- commit ---- */

/* For each kind: its word in the script, and what its name is a name of. */
static const struct {
    const char *word, *key_kind;
} op_kinds[] = {
    [STATE_FENCE] = { "fence", "l:" },   [STATE_EXPECT] = { "expect", "v:" },
    [STATE_PUT] = { "put", "v:" },       [STATE_DELETE] = { "delete", "v:" },
    [STATE_RANK] = { "rank", "z:" },     [STATE_UNRANK] = { "unrank", "z:" },
    [STATE_APPEND] = { "append", "s:" }, [STATE_DROP] = { "drop", "s:" },
};

/* Two arguments, for every kind. */
static void commit_args(struct redis_cmd *cmd, const struct state_op *op)
{
    char id[STATE_ID_BYTES + 2];

    switch (op->kind) {
    case STATE_FENCE:
    case STATE_EXPECT:
        redis_argf(cmd, "%" PRId64, op->number);
        break;
    case STATE_PUT:
    case STATE_APPEND:
        redis_arg(cmd, op->data, op->n);
        break;
    case STATE_DELETE:
        redis_arg_text(cmd, "");
        break;
    case STATE_RANK:
        redis_arg_text(cmd, op->member);
        redis_argf(cmd, "%.17g", op->score);
        return;
    case STATE_UNRANK:
        redis_arg_text(cmd, op->member);
        break;
    case STATE_DROP: /* MINID keeps what it names, so name the next */
        state_id_format(state_id_next(op->id), id);
        redis_arg_text(cmd, id);
        break;
    }
    redis_arg_text(cmd, "");
}

static enum err_code commit_refused(const struct state_tx *tx, const redisReply *reply, struct err *e)
{
    int64_t i = 0, found = 0;

    if (redis_reply_i64(redis_reply_at(reply, 1, REDIS_REPLY_INTEGER), &i, e))
        return e->code;
    if (i < 1 || (uint64_t)i > tx->count)
        return err_set(e, ERR_CORRUPT, "redis: the refusal of an operation that was not asked for");
    const struct state_op *op = &tx->ops[i - 1];
    if (op->kind == STATE_FENCE)
        return state_refuse_fence(op, e);
    if (redis_reply_i64(redis_reply_at(reply, 2, REDIS_REPLY_STRING), &found, e))
        return e->code;
    return state_refuse_expect(op, found, e);
}

static enum err_code redis_commit(struct state *s, const struct state_tx *tx, struct err *e)
{
    struct state_redis *r = (struct state_redis *)s;
    CLEANUP(redis_cmd_done) struct redis_cmd cmd = REDIS_CMD_INIT(SCRIPT_COMMIT);
    CLEANUP(redis_reply_freep) redisReply *reply = NULL;

    redis_argf(&cmd, "%zu", tx->count + 1);
    redis_arg_key(&cmd, r->config.cluster, "floor", "");
    for (size_t i = 0; i < tx->count; i++)
        redis_arg_key(&cmd, r->config.cluster, op_kinds[tx->ops[i].kind].key_kind, tx->ops[i].name);
    for (size_t i = 0; i < tx->count; i++) {
        redis_arg_text(&cmd, op_kinds[tx->ops[i].kind].word);
        commit_args(&cmd, &tx->ops[i]);
    }
    if (call(r, &cmd, SEND_ONCE, &reply, e) || redis_reply_is(reply, REDIS_REPLY_ARRAY, 1, e))
        return e->code;
    const redisReply *word = redis_reply_at(reply, 0, REDIS_REPLY_STRING);
    if (word && strcmp(word->str, "done") == 0)
        return OK;
    return commit_refused(tx, reply, e);
}

/* ---- leases ---- */

static enum err_code redis_lease(struct state *s, const struct lease_ask *ask, struct lease_answer *out,
                                 struct err *e)
{
    static const char *const verbs[] = {
        [LEASE_TAKE] = "take",   [LEASE_RENEW] = "renew", [LEASE_RELEASE] = "release",
        [LEASE_BREAK] = "break", [LEASE_LOOK] = "look",
    };
    struct state_redis *r = (struct state_redis *)s;
    CLEANUP(redis_cmd_done) struct redis_cmd cmd = REDIS_CMD_INIT(SCRIPT_LEASE);
    CLEANUP(redis_reply_freep) redisReply *reply = NULL;
    struct lease_answer answer = { .done = false };
    int64_t done;

    redis_arg_text(&cmd, "1");
    redis_arg_key(&cmd, r->config.cluster, "l:", ask->name);
    redis_arg_text(&cmd, verbs[ask->verb]);
    redis_arg_text(&cmd, ask->owner);
    redis_argf(&cmd, "%" PRId64, ask->token);
    redis_argf(&cmd, "%" PRId64, ask->ttl_ms);
    enum resend resend = ask->verb == LEASE_LOOK || ask->verb == LEASE_RENEW ? RESEND : SEND_ONCE;
    if (call(r, &cmd, resend, &reply, e) || redis_reply_is(reply, REDIS_REPLY_ARRAY, 4, e) ||
        redis_reply_i64(redis_reply_at(reply, 0, REDIS_REPLY_INTEGER), &done, e) ||
        redis_reply_i64(redis_reply_at(reply, 1, REDIS_REPLY_STRING), &answer.token, e) ||
        redis_reply_i64(redis_reply_at(reply, 3, REDIS_REPLY_STRING), &answer.left_ms, e))
        return e->code;
    const redisReply *owner = redis_reply_at(reply, 2, REDIS_REPLY_STRING);
    if (!owner || text_copy(answer.owner, sizeof(answer.owner), owner->str, "the owner", e))
        return err_set(e, ERR_CORRUPT, "redis: a lease without a sound owner");
    answer.done = done == 1;
    *out = answer;
    return OK;
}

static const struct clock *redis_clock(struct state *s)
{
    (void)s;
    return &clock_real;
}

static enum err_code redis_watch(struct state *s, const char *const *streams, size_t count,
                                 struct state_watch **out, struct err *e)
{
    const struct state_redis *r = (const struct state_redis *)s;
    return redis_watch_open(&r->config, r->password, streams, count, out, e);
}

static const struct state_ops redis_ops = {
    .name = "redis",
    .close = redis_close,
    .get = redis_get,
    .range = redis_range,
    .count = redis_count,
    .read = redis_read,
    .now = redis_now,
    .commit = redis_commit,
    .lease = redis_lease,
    .clock = redis_clock,
    .watch_open = redis_watch,
};

enum err_code state_redis_open(const struct state_config *config, const struct secret *password,
                               struct state **out, struct err *e)
{
    CLEANUP(state_closep) struct state *made = NULL;
    struct state_redis *r = mem_new(sizeof(*r));

    made = &r->base;
    made->ops = &redis_ops;
    r->config = *config;
    r->password = password ? secret_copy(password) : NULL;
    r->wire = (struct wire)WIRE_INIT;
    if (wire_open(&r->wire, config, password, clock_mono_ms() + config->timeout_ms, e))
        return e->code;
    *out = TAKE(made);
    return OK;
}
