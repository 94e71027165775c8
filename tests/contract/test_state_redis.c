/*
 * What only a Redis of one's own can show: settings that lose writes, passwords and rights, restarts, stalls,
 * a peer that is no Redis. The contract itself is in test_state.c and its neighbours.
 */
#include "tests/contract/redis_server.h"

#include "base/clock.h"
#include "base/text.h"
#include "core/state/lease.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>

static int need_redis(void **state)
{
    struct err e = ERR_INIT;

    (void)state;
    if (redis_server_find(&e) == OK)
        return 0;
    print_message("redis: not tried (%s)\n", e.text);
    return 1;
}

static enum err_code open_at(const char *address, bool dev, int64_t timeout_ms, const struct secret *password,
                             struct state **out, struct err *e)
{
    struct state_config config = { .cluster = "c", .timeout_ms = timeout_ms, .durability_dev = dev };

    if (text_copy(config.address, sizeof(config.address), address, "address", e))
        return e->code;
    return state_open(&config, password, out, e);
}

static enum err_code put(struct state *s, const char *name, const char *text, struct err *e)
{
    CLEANUP(state_tx_freep) struct state_tx *tx = state_tx_new();

    state_tx_put_text(tx, name, text);
    state_tx_append(tx, "log", text, strlen(text));
    return state_commit(s, tx, e);
}

static enum err_code has(struct state *s, const char *name, const char *text, struct err *e)
{
    CLEANUP(buf_done) struct buf got = BUF_INIT(4096);

    if (state_get(s, name, &got, NULL, e))
        return e->code;
    assert_string_equal(buf_text(&got), text);
    return OK;
}

/* ---- settings ---- */

static void settings_that_lose_writes(void **state)
{
    static const char *const settings[][3] = {
        { "appendonly", "no", "yes" },
        { "appendfsync", "everysec", "always" },
        { "no-appendfsync-on-rewrite", "yes", "no" },
        { "maxmemory-policy", "allkeys-lru", "noeviction" },
    };
    struct redis_server r = redis_server_start("");
    struct state *s = NULL;
    struct err e = ERR_INIT;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        char line[80];
        redis_server_say(&r, "CONFIG", "SET", settings[i][0], settings[i][1]);
        assert_int_equal(open_at(r.address, false, 0, NULL, &s, &e), ERR_DENIED);
        assert_null(s);
        snprintf(line, sizeof(line), "\"%s %s\" (now: %s)", settings[i][0], settings[i][2], settings[i][1]);
        assert_non_null(strstr(e.text, line));
        assert_ok(open_at(r.address, true, 0, NULL, &s, &e));
        assert_ok(put(s, "a", "x", &e));
        state_close(TAKE(s));
        redis_server_say(&r, "CONFIG", "SET", settings[i][0], settings[i][2]);
    }
    assert_ok(open_at(r.address, false, 0, NULL, &s, &e));
    state_close(s);
    redis_server_end(&r);
}

static void settings_out_of_sight(void **state)
{
    struct redis_server r = redis_server_start("");
    struct state *s = NULL;
    struct err e = ERR_INIT;

    (void)state;
    redis_server_say(&r, "ACL", "SETUSER", "default", "-config");
    assert_int_equal(open_at(r.address, false, 0, NULL, &s, &e), ERR_DENIED);
    assert_non_null(strstr(e.text, "+config|get"));
    assert_ok(open_at(r.address, true, 0, NULL, &s, &e));
    state_close(s);
    redis_server_end(&r);
}

/* ---- passwords and rights ---- */

static void password(void **state)
{
    struct redis_server r = redis_server_start("requirepass correct-horse");
    CLEANUP(secret_freep)
    struct secret *right = secret_new("correct-horse", 13), *wrong = secret_new("battery", 7);
    const char *const streams[] = { "log" };
    struct state_watch *w = NULL;
    struct state *s = NULL;
    struct err e = ERR_INIT;

    (void)state;
    assert_int_equal(open_at(r.address, false, 0, NULL, &s, &e), ERR_DENIED);
    assert_int_equal(open_at(r.address, false, 0, wrong, &s, &e), ERR_DENIED);
    assert_null(strstr(e.text, "battery"));
    assert_null(strstr(e.text, "correct-horse"));
    assert_ok(open_at(r.address, false, 0, right, &s, &e));
    assert_ok(put(s, "a", "x", &e));
    assert_ok(state_watch_open(s, streams, 1, &w, &e));
    state_watch_close(w);
    redis_server_script(&r, "stop");
    redis_server_script(&r, "start");
    assert_ok(has(s, "a", "x", &e)); /* it has kept what reconnecting needs */
    state_close(s);
    redis_server_end(&r);
}

/* The rights that state_redis.h names are enough. */
static void least_rights(void **state)
{
    static const char *const commands[] = { "auth",  "config|get", "script|load", "eval",   "evalsha", "hget",
                                            "hmget", "hset",       "hincrby",     "hdel",   "get",     "set",
                                            "del",   "zadd",       "zrem",        "zrange", "zcard",   "xadd",
                                            "xtrim", "xrange",     "xrevrange",   "xread",  "time" };
    const char *const streams[] = { "log" };
    CLEANUP(buf_done) struct buf acl = BUF_INIT(4096);
    struct state_watch *w = NULL;
    struct state *s = NULL;
    struct err e = ERR_INIT;
    struct lease l;
    int64_t n;

    (void)state;
    buf_add_text(&acl, "user default on >pw ~sovrun:{c}:* -@all");
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        buf_addf(&acl, " +%s", commands[i]);
    struct redis_server r = redis_server_start(buf_text(&acl));
    CLEANUP(secret_freep) struct secret *pw = secret_new("pw", 2);
    assert_ok(open_at(r.address, false, 0, pw, &s, &e));
    assert_ok(lease_take(s, "leader", "me", 1000, &l, &e));
    assert_ok(lease_renew(s, &l, &e));
    assert_ok(put(s, "a", "x", &e));
    assert_ok(put(s, "a", "y", &e));
    CLEANUP(state_tx_freep) struct state_tx *tx = state_tx_new();
    state_tx_fence(tx, "leader", l.token);
    state_tx_expect(tx, "a", 2);
    state_tx_delete(tx, "a");
    state_tx_rank(tx, "set", "m", 1);
    state_tx_unrank(tx, "set", "n");
    state_tx_drop(tx, "log", "1-1");
    assert_ok(state_commit(s, tx, &e));
    assert_ok(state_count(s, "set", &n, &e));
    assert_ok(state_now(s, &n, &e));
    assert_ok(state_watch_open(s, streams, 1, &w, &e));
    state_watch_close(w);
    assert_ok(lease_release(s, &l, &e));
    assert_int_equal(state_get(s, "a", NULL, NULL, &e), ERR_NOT_FOUND);
    state_close(s);
    redis_server_end(&r);
}

/* ---- connections that go away ---- */

static void nobody_there(void **state)
{
    struct state *s = NULL;
    struct err e = ERR_INIT;

    (void)state;
    assert_int_equal(open_at("unix:build/test/no-such.sock", false, 0, NULL, &s, &e), ERR_RETRY);
    assert_int_equal(open_at("127.0.0.1:1", false, 0, NULL, &s, &e), ERR_RETRY);
    assert_null(s);
}

static void restarted(void **state)
{
    struct redis_server r = redis_server_start("");
    const char *const streams[] = { "log" };
    CLEANUP(state_watch_closep) struct state_watch *w = NULL;
    struct state *s = NULL;
    struct err e = ERR_INIT;
    struct lease l;
    int64_t version;
    bool some;

    (void)state;
    assert_ok(open_at(r.address, false, 0, NULL, &s, &e));
    assert_ok(put(s, "a", "x", &e));
    assert_ok(lease_take(s, "leader", "me", 60000, &l, &e));
    assert_ok(state_watch_open(s, streams, 1, &w, &e));
    redis_server_script(&r, "stop");
    struct pollfd p = { .fd = state_watch_fd(w), .events = POLLIN };
    assert_int_equal(poll(&p, 1, 5000), 1);
    assert_int_equal(state_watch_read(w, &some, &e), ERR_RETRY);
    assert_int_equal(has(s, "a", "x", &e), ERR_RETRY);
    assert_int_equal(put(s, "a", "y", &e), ERR_RETRY);
    assert_int_equal(lease_renew(s, &l, &e), ERR_RETRY);
    assert_true(lease_left_ms(&l) > 0);
    redis_server_script(&r, "start");
    assert_ok(put(s, "b", "y", &e)); /* the very next call */
    assert_ok(has(s, "a", "x", &e));
    assert_ok(state_get(s, "a", NULL, &version, &e));
    assert_int_equal(version, 1);
    assert_ok(lease_renew(s, &l, &e));
    redis_server_script(&r, "stop"); /* a connection that died in between, unseen */
    redis_server_script(&r, "start");
    assert_ok(put(s, "b", "z", &e));
    redis_server_say(&r, "SCRIPT", "FLUSH");
    assert_ok(put(s, "b", "z", &e));
    assert_ok(lease_renew(s, &l, &e));
    state_close(s);
    redis_server_end(&r);
}

static void *thaw_soon(void *context)
{
    usleep(100000);
    kill(*(pid_t *)context, SIGCONT);
    return NULL;
}

static void frozen(void **state)
{
    struct redis_server r = redis_server_start("");
    pid_t pid = redis_server_pid(&r);
    pthread_t thawer;
    struct state *s = NULL;
    struct err e = ERR_INIT;
    int64_t version, begun;

    (void)state;
    assert_ok(open_at(r.address, false, 1000, NULL, &s, &e));
    assert_ok(put(s, "a", "x", &e));
    kill(pid, SIGSTOP);
    begun = clock_mono_ms();
    assert_int_equal(put(s, "a", "y", &e), ERR_RETRY);
    assert_true(clock_mono_ms() - begun >= 990);
    /* The late answer to the put comes while the next call waits, and must not be taken for the next call's.
     */
    assert_int_equal(pthread_create(&thawer, NULL, thaw_soon, &pid), 0);
    assert_ok(state_get(s, "a", NULL, &version, &e));
    pthread_join(thawer, NULL);
    assert_in_range(version, 1, 2); /* an ERR_RETRY leaves that open, and nothing else */
    assert_ok(put(s, "a", "z", &e));
    assert_ok(has(s, "a", "z", &e));
    state_close(s);
    redis_server_end(&r);
}

static void by_tcp(void **state)
{
    struct sockaddr_in free_port = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof(free_port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    char extra[64], address[64];
    struct state *s = NULL;
    struct err e = ERR_INIT;

    (void)state;
    assert_int_equal(bind(fd, (struct sockaddr *)&free_port, n), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&free_port, &n), 0);
    close(fd);
    snprintf(extra, sizeof(extra), "bind 127.0.0.1\nport %d", ntohs(free_port.sin_port));
    snprintf(address, sizeof(address), "127.0.0.1:%d", ntohs(free_port.sin_port));
    struct redis_server r = redis_server_start(extra);
    assert_ok(open_at(address, false, 0, NULL, &s, &e));
    assert_ok(put(s, "a", "x", &e));
    assert_ok(has(s, "a", "x", &e));
    state_close(s);
    redis_server_end(&r);
}

/* ---- peers that are not what they should be ---- */

struct peer {
    int listener;
    const char *answer; /* to whatever is asked; NULL: none; "": hangs up */
    pthread_t thread;
};

static void *peer_main(void *context)
{
    const struct peer *p = context;
    char asked[4096];
    int fd;

    while ((fd = accept(p->listener, NULL, NULL)) >= 0) { /* ends when the listener is shut down */
        while (p->answer && *p->answer && recv(fd, asked, sizeof(asked), 0) > 0)
            (void)send(fd, p->answer, strlen(p->answer), MSG_NOSIGNAL);
        while (!p->answer && recv(fd, asked, sizeof(asked), 0) > 0)
            ;
        close(fd);
    }
    return NULL;
}

static const struct peer_row {
    const char *name, *answer;
    enum err_code want;
    const char *said;
} peer_rows[] = {
    { "a Redis that is loading will answer later", "-LOADING Redis is loading the dataset in memory\r\n",
      ERR_RETRY, "LOADING" },
    { "a Redis busy with a script will answer later", "-BUSY Redis is busy running a script.\r\n", ERR_RETRY,
      "BUSY" },
    { "a peer that does not answer is away", NULL, ERR_RETRY, "in time" },
    { "a peer that hangs up is away", "", ERR_RETRY, "" },
    { "a peer of another protocol is named", "HTTP/1.1 400 Bad Request\r\n\r\n", ERR_CORRUPT, "protocol" },
    { "an answer of another kind is no crash", ":1\r\n", ERR_CORRUPT, "kind" },
    { "an answer with too few parts is no crash", "*1\r\n$1\r\nx\r\n", ERR_CORRUPT, "kind" },
    { "an answer of nothing is no crash", "*-1\r\n", ERR_CORRUPT, "kind" },
    { "an unknown error is told in Redis's words", "-WEIRD things\r\n", ERR_IO, "WEIRD things" },
};

static void strange_peers(void **state)
{
    const struct peer_row *row = *state;
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct peer peer = { .answer = row->answer };
    struct state *s = NULL;
    struct err e = ERR_INIT;
    char text[128];

    snprintf(address.sun_path, sizeof(address.sun_path), "build/test/peer-%d.sock", (int)getpid());
    snprintf(text, sizeof(text), "unix:%s", address.sun_path);
    assert_ok(dir_make("build/test", 0755, &e));
    (void)unlink(address.sun_path);
    peer.listener = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(peer.listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(peer.listener, 4), 0);
    assert_int_equal(pthread_create(&peer.thread, NULL, peer_main, &peer), 0);
    enum err_code code = open_at(text, false, 200, NULL, &s, &e);
    shutdown(peer.listener, SHUT_RDWR);
    pthread_join(peer.thread, NULL);
    close(peer.listener);
    (void)unlink(address.sun_path);
    if (code != row->want)
        fail_msg("%s: %s", err_name(code), e.text);
    assert_non_null(strstr(e.text, row->said));
    assert_null(s);
}

int main(void)
{
    const struct CMUnitTest servers[] = {
        { "settings that lose writes are refused, each with the line to change", settings_that_lose_writes,
          NULL, redis_server_teardown, NULL },
        { "settings that may not be read are refused, with the right that is missing", settings_out_of_sight,
          NULL, redis_server_teardown, NULL },
        { "the password opens, a wrong one does not, and neither is told", password, NULL,
          redis_server_teardown, NULL },
        { "the rights that the header names are enough", least_rights, NULL, redis_server_teardown, NULL },
        { "a restart is ERR_RETRY while it lasts, and the next call works", restarted, NULL,
          redis_server_teardown, NULL },
        { "a frozen Redis is ERR_RETRY in time, and no answer is taken for another's", frozen, NULL,
          redis_server_teardown, NULL },
        { "an address of host and port works", by_tcp, NULL, redis_server_teardown, NULL },
        { "where nobody listens it is ERR_RETRY", nobody_there, NULL, redis_server_teardown, NULL },
    };
    struct CMUnitTest peers[ARRAY_LEN(peer_rows)];

    for (size_t i = 0; i < ARRAY_LEN(peer_rows); i++)
        peers[i] = (struct CMUnitTest){ peer_rows[i].name, strange_peers, NULL, NULL, (void *)&peer_rows[i] };
    int failed = cmocka_run_group_tests(peers, NULL, NULL);
    return need_redis(NULL) ? failed : failed + cmocka_run_group_tests(servers, NULL, NULL);
}
