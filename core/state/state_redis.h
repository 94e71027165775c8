/*
 * state_redis.h - inside the redis backend: one connection, its commands and its scripts.
 *
 * Everything lies under "sovrun:{cluster}:", so Redis Cluster keeps it in one slot:
 *
 *     v:NAME     hash     v = version, d = data
 *     z:NAME     zset     an ordered set
 *     s:NAME     stream   entries with one field, d; never deleted, so that ids never come back
 *     l:NAME     hash     o = owner, t = newest token, u = held until (ms of TIME); without TTL, so tokens
 *                         outlive the claim
 *     floor      string   the largest version ever deleted
 *
 * hiredis serves as the reader of replies alone. The socket is ours: each call has one deadline for all its
 * reads and writes, a closed peer is no SIGPIPE, a watch reads without blocking, and the buffer that held the
 * password is wiped. Commands are written straight into a `struct buf`: values of megabytes are copied once.
 *
 * A user restricted by ACL needs ~sovrun:{CLUSTER}:* and +auth +config|get +script|load +eval +evalsha +hget
 * +hmget +hset +hincrby +hdel +get +set +del +zadd +zrem +zrange +zcard +xadd +xtrim +xrange +xrevrange
 * +xread +time.
 */
#ifndef CORE_STATE_STATE_REDIS_H
#define CORE_STATE_STATE_REDIS_H

#include "core/state/state_ops.h"

#include <hiredis/hiredis.h>

static inline void redis_reply_freep(redisReply **r)
{
    if (*r)
        freeReplyObject(*r);
    *r = NULL;
}

/* ---- commands ---- */

enum redis_script { SCRIPT_NONE, SCRIPT_COMMIT, SCRIPT_LEASE, SCRIPT_TAILS, SCRIPT_COUNT };

struct redis_cmd {
    enum redis_script script; /* SCRIPT_NONE: the arguments are a command; else what follows EVALSHA sha */
    int argc;
    struct buf args;
};
enum { REDIS_CMD_BYTES_MAX = STATE_TX_BYTES_MAX + (1 << 20) };
#define REDIS_CMD_INIT(which)                                                                                \
    {                                                                                                        \
        .script = (which), .argc = 0, .args = BUF_INIT(REDIS_CMD_BYTES_MAX)                                  \
    }
void redis_cmd_done(struct redis_cmd *c);
void redis_arg(struct redis_cmd *c, const void *data, size_t n);
void redis_arg_text(struct redis_cmd *c, const char *text);
void redis_argf(struct redis_cmd *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
void redis_arg_key(struct redis_cmd *c, const char *cluster, const char *kind, const char *name);

/* ---- one connection ---- */

enum { REDIS_SHA_BYTES = 41 };

struct wire {
    int fd; /* -1: not connected */
    redisReader *reader;
    char sha[SCRIPT_COUNT][REDIS_SHA_BYTES];
};
#define WIRE_INIT                                                                                            \
    {                                                                                                        \
        .fd = -1                                                                                             \
    }

/* Connected, authenticated, seen to be durable, scripts loaded; or closed, and an error. */
enum err_code wire_open(struct wire *w, const struct state_config *config, const struct secret *password,
                        int64_t deadline_ms, struct err *e);
void wire_close(struct wire *w);
bool wire_lost(const struct wire *w); /* the peer has gone, or has sent what nobody asked for */

/* One round trip. A failure here leaves the connection unusable; close it. Redis's own "-ERR" is a reply like
 * others. */
enum err_code wire_call(struct wire *w, const struct redis_cmd *cmd, int64_t deadline_ms, redisReply **out,
                        struct err *e);
enum err_code wire_send(struct wire *w, const struct redis_cmd *cmd, int64_t deadline_ms, struct err *e);
/* The next reply; waits for it. Replies come in the order of the commands. */
enum err_code wire_receive(struct wire *w, int64_t deadline_ms, redisReply **out, struct err *e);
/* *out stays NULL where no whole reply has come yet; never blocks. */
enum err_code wire_poll(struct wire *w, redisReply **out, struct err *e);

/* ---- scripts and replies ---- */

/* All of them are sent; then their answers are taken. */
enum err_code redis_scripts_ask(struct wire *w, int64_t deadline_ms, struct err *e);
enum err_code redis_scripts_take(struct wire *w, int64_t deadline_ms, struct err *e);
const char *redis_script_body(enum redis_script which);

/* OK unless it is an error reply; which of our codes Redis's word means is decided here alone. */
enum err_code redis_reply_check(const redisReply *r, struct err *e);
bool redis_reply_starts(const redisReply *r, const char *word); /* it is an error of this kind */
/* The reply has this type and at least so many elements; ERR_CORRUPT otherwise. An error reply is what it
 * says. */
enum err_code redis_reply_is(const redisReply *r, int type, size_t elements_min, struct err *e);
const redisReply *redis_reply_at(const redisReply *r, size_t i,
                                 int type); /* NULL where it is not of that type */
enum err_code redis_reply_i64(const redisReply *r, int64_t *out,
                              struct err *e); /* an integer, or text of one */

enum err_code redis_watch_open(const struct state_config *config, const struct secret *password,
                               const char *const *streams, size_t count, struct state_watch **out,
                               struct err *e);

#endif
