/*
 * A watch keeps one XREAD BLOCK 0 outstanding, from ids that it knows, never from "$": what is appended
 * between two of them is found by the next. When it is answered, the ids of the newest entries are asked for,
 * and only then is the caller woken: so a burst of a thousand entries wakes once, and whatever those ids skip
 * is read by the caller after the wake.
 */
#include "core/state/state_redis.h"

#include "base/mem.h"

#include <string.h>

struct watch_redis {
    struct state_watch base;
    struct wire wire;
    int64_t timeout_ms;
    char cluster[64];
    enum { ASKED_ENTRIES, ASKED_TAILS } asked;
    size_t count;
    struct {
        char *name;
        struct state_id id;
    } streams[STATE_WATCH_MAX];
};

static enum err_code ask_entries(struct watch_redis *w, struct err *e)
{
    CLEANUP(redis_cmd_done) struct redis_cmd cmd = REDIS_CMD_INIT(SCRIPT_NONE);
    static const char *const verb[] = { "XREAD", "COUNT", "1", "BLOCK", "0", "STREAMS" };
    char id[STATE_ID_BYTES];

    for (size_t i = 0; i < ARRAY_LEN(verb); i++)
        redis_arg_text(&cmd, verb[i]);
    for (size_t i = 0; i < w->count; i++)
        redis_arg_key(&cmd, w->cluster, "s:", w->streams[i].name);
    for (size_t i = 0; i < w->count; i++) {
        state_id_format(w->streams[i].id, id);
        redis_arg_text(&cmd, id);
    }
    w->asked = ASKED_ENTRIES;
    return wire_send(&w->wire, &cmd, clock_mono_ms() + w->timeout_ms, e);
}

static void tails_cmd(const struct watch_redis *w, struct redis_cmd *cmd)
{
    redis_argf(cmd, "%zu", w->count);
    for (size_t i = 0; i < w->count; i++)
        redis_arg_key(cmd, w->cluster, "s:", w->streams[i].name);
}

static enum err_code ask_tails(struct watch_redis *w, struct err *e)
{
    CLEANUP(redis_cmd_done) struct redis_cmd cmd = REDIS_CMD_INIT(SCRIPT_TAILS);

    tails_cmd(w, &cmd);
    w->asked = ASKED_TAILS;
    return wire_send(&w->wire, &cmd, clock_mono_ms() + w->timeout_ms, e);
}

static enum err_code take_tails(struct watch_redis *w, const redisReply *reply, struct err *e)
{
    if (redis_reply_is(reply, REDIS_REPLY_ARRAY, w->count, e))
        return e->code;
    for (size_t i = 0; i < w->count; i++) {
        const redisReply *tail = redis_reply_at(reply, i, REDIS_REPLY_STRING);
        struct state_id id;
        if (!tail || tail->len == 0) /* emptied: what comes next has a larger id than anything before */
            continue;
        if (state_id_parse(tail->str, &id, e))
            return e->code;
        if (state_id_compare(id, w->streams[i].id) > 0)
            w->streams[i].id = id;
    }
    return OK;
}

static enum err_code watch_read(struct state_watch *base, bool *out_woken, struct err *e)
{
    struct watch_redis *w = (struct watch_redis *)base;

    /* Two replies make a wake; then we leave it to the caller to come again. Nothing is left in the reader,
     * as only one command is outstanding, so the descriptor tells the truth. */
    for (int replies = 0; replies < 2; replies++) {
        CLEANUP(redis_reply_freep) redisReply *reply = NULL;
        if (wire_poll(&w->wire, &reply, e))
            return e->code;
        if (!reply)
            break;
        if (redis_reply_check(reply, e))
            return e->code;
        if (w->asked == ASKED_TAILS) {
            if (take_tails(w, reply, e) || ask_entries(w, e))
                return e->code;
            *out_woken = true;
            return OK;
        }
        if (ask_tails(w, e))
            return e->code;
    }
    *out_woken = false;
    return OK;
}

static int watch_fd(const struct state_watch *base)
{
    return ((const struct watch_redis *)base)->wire.fd;
}

static void watch_close(struct state_watch *base)
{
    struct watch_redis *w = (struct watch_redis *)base;

    wire_close(&w->wire);
    for (size_t i = 0; i < w->count; i++)
        free(w->streams[i].name);
    free(w);
}

static const struct state_watch_ops watch_ops = { .fd = watch_fd, .read = watch_read, .close = watch_close };

enum err_code redis_watch_open(const struct state_config *config, const struct secret *password,
                               const char *const *streams, size_t count, struct state_watch **out,
                               struct err *e)
{
    CLEANUP(state_watch_closep) struct state_watch *made = NULL;
    CLEANUP(redis_cmd_done) struct redis_cmd cmd = REDIS_CMD_INIT(SCRIPT_TAILS);
    CLEANUP(redis_reply_freep) redisReply *reply = NULL;
    int64_t deadline_ms = clock_mono_ms() + config->timeout_ms;
    struct watch_redis *w = mem_new(sizeof(*w));

    made = &w->base;
    made->ops = &watch_ops;
    w->wire = (struct wire)WIRE_INIT;
    w->timeout_ms = config->timeout_ms;
    memcpy(w->cluster, config->cluster, sizeof(w->cluster));
    for (; w->count < count; w->count++)
        w->streams[w->count].name = mem_text(streams[w->count]);
    tails_cmd(w, &cmd);
    if (wire_open(&w->wire, config, password, deadline_ms, e) ||
        wire_call(&w->wire, &cmd, deadline_ms, &reply, e) || take_tails(w, reply, e) || ask_entries(w, e))
        return e->code;
    *out = TAKE(made);
    return OK;
}
