#include "core/state/state_redis.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/text.h"

#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

/* ---- commands ---- */

void redis_cmd_done(struct redis_cmd *c)
{
    buf_done(&c->args);
}

void redis_arg(struct redis_cmd *c, const void *data, size_t n)
{
    buf_addf(&c->args, "$%zu\r\n", n);
    buf_add(&c->args, data, n);
    buf_add_text(&c->args, "\r\n");
    c->argc++;
}

void redis_arg_text(struct redis_cmd *c, const char *text)
{
    redis_arg(c, text, strlen(text));
}

void redis_argf(struct redis_cmd *c, const char *fmt, ...)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(1024);
    va_list ap;

    va_start(ap, fmt);
    buf_addv(&text, fmt, ap);
    va_end(ap);
    invariant(!text.full);
    redis_arg(c, buf_text(&text), text.len);
}

void redis_arg_key(struct redis_cmd *c, const char *cluster, const char *kind, const char *name)
{
    redis_argf(c, "sovrun:{%s}:%s%s", cluster, kind, name);
}

/* ---- the socket ---- */

static enum err_code wait_for(int fd, short events, int64_t deadline_ms, struct err *e)
{
    struct pollfd p = { .fd = fd, .events = events };

    for (;;) { /* ends at the deadline */
        int64_t left = deadline_ms - clock_mono_ms();
        int n = poll(&p, 1, (int)MAX(0, left));
        if (n > 0)
            return OK;
        if (n < 0 && errno != EINTR)
            return err_errno(e, "poll");
        if (n == 0 && left <= 0)
            return err_set(e, ERR_RETRY, "redis did not answer in time");
    }
}

static enum err_code connect_failed(int error, struct err *e)
{
    enum err_code code = error == EACCES || error == EPERM ? ERR_DENIED : ERR_RETRY;
    return err_set(e, code, "connect: %s", strerror(error));
}

static enum err_code connect_to(const struct sockaddr *address, socklen_t n, int64_t deadline_ms, int *out_fd,
                                struct err *e)
{
    CLEANUP(fd_closep) int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int error = 0;
    socklen_t error_n = sizeof(error);

    if (fd < 0)
        return err_errno(e, "socket");
    if (connect(fd, address, n) != 0) {
        if (errno != EINPROGRESS)
            return connect_failed(errno, e);
        if (wait_for(fd, POLLOUT, deadline_ms, e))
            return err_wrap(e, "connect");
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_n) != 0 || error != 0)
            return connect_failed(error ? error : errno, e);
    }
    *out_fd = TAKE_FD(fd);
    return OK;
}

static enum err_code connect_unix(const char *path, int64_t deadline_ms, int *out_fd, struct err *e)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    if (text_copy(address.sun_path, sizeof(address.sun_path), path, "the path of the socket", e))
        return e->code;
    return connect_to((struct sockaddr *)&address, sizeof(address), deadline_ms, out_fd, e);
}

static void addrinfo_freep(struct addrinfo **list)
{
    if (*list)
        freeaddrinfo(*list);
}

/* A dead peer that says nothing (power cut, cable) is noticed after about 15 s also where nobody asks it
 * anything. */
static void tune_tcp(int fd)
{
    const struct {
        int level, name, value;
    } options[] = {
        { IPPROTO_TCP, TCP_NODELAY, 1 },   { SOL_SOCKET, SO_KEEPALIVE, 1 }, { IPPROTO_TCP, TCP_KEEPIDLE, 5 },
        { IPPROTO_TCP, TCP_KEEPINTVL, 3 }, { IPPROTO_TCP, TCP_KEEPCNT, 3 },
    };
    for (size_t i = 0; i < ARRAY_LEN(options); i++) /* without them it works all the same */
        (void)setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof(int));
}

static enum err_code connect_tcp(const char *address, int64_t deadline_ms, int *out_fd, struct err *e)
{
    const char *colon = strrchr(address, ':');
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
    CLEANUP(addrinfo_freep) struct addrinfo *list = NULL;
    uint64_t port = 0;

    if (!colon || colon == address || parse_u64(colon + 1, &port, e) || port == 0 || port > UINT16_MAX)
        return err_set(e, ERR_USAGE, "not \"unix:/path\", \"host:port\" or \"mem:\"");
    bool brackets = address[0] == '[' && colon[-1] == ']'; /* [::1]:6379 */
    CLEANUP(freep) char *host = mem_text_n(address + brackets, (size_t)(colon - address) - 2 * brackets);
    int error = getaddrinfo(host, colon + 1, &hints, &list);
    if (error)
        return err_set(e, ERR_RETRY, "look up '%s': %s", host, gai_strerror(error));
    for (const struct addrinfo *a = list; a; a = a->ai_next)
        if (connect_to(a->ai_addr, a->ai_addrlen, deadline_ms, out_fd, e) == OK) {
            tune_tcp(*out_fd);
            return OK;
        }
    return e->code;
}

void wire_close(struct wire *w)
{
    if (w->fd >= 0)
        close(w->fd);
    if (w->reader)
        redisReaderFree(w->reader);
    *w = (struct wire)WIRE_INIT;
}

bool wire_lost(const struct wire *w)
{
    char byte;
    ssize_t n = recv(w->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n >= 0 || (errno != EAGAIN && errno != EINTR);
}

/* ---- sending and receiving ---- */

static enum err_code send_all(struct wire *w, struct iovec *part, size_t parts, int64_t deadline_ms,
                              struct err *e)
{
    while (parts > 0) { /* each turn sends something or waits, at most until the deadline */
        struct msghdr message = { .msg_iov = part, .msg_iovlen = parts };
        ssize_t sent = sendmsg(w->fd, &message, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            if (wait_for(w->fd, POLLOUT, deadline_ms, e))
                return e->code;
            continue;
        }
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return err_set(e, ERR_RETRY, "the connection is lost: %s", strerror(errno));
        for (size_t left = (size_t)sent; parts > 0 && left >= part->iov_len; part++, parts--)
            left -= part->iov_len, sent = (ssize_t)left;
        if (parts > 0) {
            part->iov_base = (char *)part->iov_base + sent;
            part->iov_len -= (size_t)sent;
        }
    }
    return OK;
}

static enum err_code send_as(struct wire *w, const struct redis_cmd *cmd, const char *verb,
                             const char *script, int64_t deadline_ms, struct err *e)
{
    CLEANUP(buf_done) struct buf head = BUF_INIT(64 * 1024);

    if (buf_check(&cmd->args, "the command", e))
        return e->code;
    buf_addf(&head, "*%d\r\n", cmd->argc + (verb ? 2 : 0));
    if (verb)
        buf_addf(&head, "$%zu\r\n%s\r\n$%zu\r\n%s\r\n", strlen(verb), verb, strlen(script), script);
    struct iovec parts[] = {
        { .iov_base = head.data, .iov_len = head.len },
        { .iov_base = cmd->args.data, .iov_len = cmd->args.len },
    };
    return send_all(w, parts, ARRAY_LEN(parts), deadline_ms, e);
}

enum err_code wire_send(struct wire *w, const struct redis_cmd *cmd, int64_t deadline_ms, struct err *e)
{
    if (cmd->script == SCRIPT_NONE)
        return send_as(w, cmd, NULL, NULL, deadline_ms, e);
    return send_as(w, cmd, "EVALSHA", w->sha[cmd->script], deadline_ms, e);
}

/* What the reader can make of the bytes that it has. */
static enum err_code reader_take(struct wire *w, redisReply **out, struct err *e)
{
    void *reply = NULL;

    if (redisReaderGetReply(w->reader, &reply) != REDIS_OK)
        return err_set(e, ERR_CORRUPT, "what answers does not speak Redis's protocol (%s)",
                       w->reader->errstr);
    *out = reply;
    return OK;
}

/* *out_some: bytes came. */
static enum err_code reader_fill(struct wire *w, bool *out_some, struct err *e)
{
    char bytes[64 * 1024];
    ssize_t n = recv(w->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

    *out_some = n > 0;
    if (n == 0)
        return err_set(e, ERR_RETRY, "redis closed the connection");
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        return err_set(e, ERR_RETRY, "the connection is lost: %s", strerror(errno));
    if (n > 0 && redisReaderFeed(w->reader, bytes, (size_t)n) != REDIS_OK)
        return err_set(e, ERR_CORRUPT, "what answers does not speak Redis's protocol (%s)",
                       w->reader->errstr);
    return OK;
}

enum err_code wire_poll(struct wire *w, redisReply **out, struct err *e)
{
    redisReply *reply = NULL;
    bool some = true;

    while (!reply && some) /* ends with the first reply */
        if (reader_take(w, &reply, e) || (!reply && reader_fill(w, &some, e)))
            return e->code;
    *out = reply;
    return OK;
}

enum err_code wire_receive(struct wire *w, int64_t deadline_ms, redisReply **out, struct err *e)
{
    redisReply *reply = NULL;

    for (;;) { /* ends at the deadline */
        if (wire_poll(w, &reply, e))
            return e->code;
        if (reply)
            break;
        if (wait_for(w->fd, POLLIN, deadline_ms, e))
            return e->code;
    }
    *out = reply;
    return OK;
}

enum err_code wire_call(struct wire *w, const struct redis_cmd *cmd, int64_t deadline_ms, redisReply **out,
                        struct err *e)
{
    CLEANUP(redis_reply_freep) redisReply *reply = NULL;

    if (wire_send(w, cmd, deadline_ms, e) || wire_receive(w, deadline_ms, &reply, e))
        return e->code;
    if (cmd->script != SCRIPT_NONE && redis_reply_starts(reply, "NOSCRIPT")) {
        /* Somebody flushed the scripts; nothing was run. EVAL brings it back for the calls to come. */
        redis_reply_freep(&reply);
        if (send_as(w, cmd, "EVAL", redis_script_body(cmd->script), deadline_ms, e) ||
            wire_receive(w, deadline_ms, &reply, e))
            return e->code;
    }
    *out = TAKE(reply);
    return OK;
}

/* ---- opening ---- */

static enum err_code authenticate(struct wire *w, const struct secret *password, int64_t deadline_ms,
                                  struct err *e)
{
    struct redis_cmd cmd = REDIS_CMD_INIT(SCRIPT_NONE);
    CLEANUP(redis_reply_freep) redisReply *reply = NULL;

    redis_arg_text(&cmd, "AUTH");
    redis_arg(&cmd, secret_bytes(password), secret_len(password));
    enum err_code code = wire_call(w, &cmd, deadline_ms, &reply, e);
    buf_wipe(&cmd.args);
    if (code || redis_reply_check(reply, e))
        return err_wrap(e, "authenticate");
    return OK;
}

/* What a connection must know before its first call is asked all at once, and the answers are read in that
 * order: to wait for each of seven would be most of what connecting costs. */
static const char *const settings[][2] = {
    { "appendonly", "yes" },
    { "appendfsync", "always" },
    { "no-appendfsync-on-rewrite", "no" },
    { "maxmemory-policy", "noeviction" },
};

static enum err_code ask_settings(struct wire *w, int64_t deadline_ms, struct err *e)
{
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        CLEANUP(redis_cmd_done) struct redis_cmd cmd = REDIS_CMD_INIT(SCRIPT_NONE);
        redis_arg_text(&cmd, "CONFIG");
        redis_arg_text(&cmd, "GET");
        redis_arg_text(&cmd, settings[i][0]);
        if (wire_send(w, &cmd, deadline_ms, e))
            return e->code;
    }
    return OK;
}

/* Redis tells its setting, or ERR_DENIED with what the operator has to change. */
static enum err_code take_setting(struct wire *w, const char *name, const char *want, int64_t deadline_ms,
                                  struct buf *out_change, struct err *e)
{
    CLEANUP(redis_reply_freep) redisReply *reply = NULL;

    if (wire_receive(w, deadline_ms, &reply, e))
        return e->code;
    if (redis_reply_starts(reply, "NOPERM") || redis_reply_starts(reply, "ERR"))
        return err_set(
            e, ERR_DENIED,
            "this user may not read Redis's settings, so nobody can tell whether it keeps what it accepts: "
            "allow it CONFIG GET (ACL +config|get), or set durability to dev");
    if (redis_reply_is(reply, REDIS_REPLY_ARRAY, 2, e))
        return err_wrap(e, "read the setting %s", name);
    const redisReply *value = redis_reply_at(reply, 1, REDIS_REPLY_STRING);
    if (!value || strcmp(value->str, want) != 0)
        buf_addf(out_change, "%s\"%s %s\" (now: %.40s)", out_change->len ? ", " : "", name, want,
                 value ? value->str : "unknown");
    return OK;
}

static enum err_code check_durability(struct wire *w, int64_t deadline_ms, struct err *e)
{
    CLEANUP(buf_done) struct buf change = BUF_INIT(1024);

    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        if (take_setting(w, settings[i][0], settings[i][1], deadline_ms, &change, e))
            return e->code;
    if (change.len)
        return err_set(e, ERR_DENIED,
                       "this Redis would lose what it has accepted; its redis.conf must say %s; or set "
                       "durability to dev",
                       buf_text(&change));
    return OK;
}

static enum err_code introduce(struct wire *w, bool durable, int64_t deadline_ms, struct err *e)
{
    if ((durable && ask_settings(w, deadline_ms, e)) || redis_scripts_ask(w, deadline_ms, e) ||
        (durable && check_durability(w, deadline_ms, e)))
        return e->code;
    return redis_scripts_take(w, deadline_ms, e);
}

enum err_code wire_open(struct wire *w, const struct state_config *config, const struct secret *password,
                        int64_t deadline_ms, struct err *e)
{
    struct wire made = WIRE_INIT;
    bool is_unix = text_starts(config->address, "unix:");

    if (is_unix ? connect_unix(config->address + strlen("unix:"), deadline_ms, &made.fd, e)
                : connect_tcp(config->address, deadline_ms, &made.fd, e))
        return err_wrap(e, "the Redis at %s does not answer (is it up? `sovrun up` starts an embedded one)",
                        config->address);
    made.reader = redisReaderCreate();
    invariant(made.reader != NULL);
    if ((password && authenticate(&made, password, deadline_ms, e)) ||
        introduce(&made, !config->durability_dev, deadline_ms, e)) {
        wire_close(&made);
        return e->code;
    }
    *w = made;
    return OK;
}
