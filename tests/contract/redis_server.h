/*
 * redis_server.h - a Redis of the test's own below build/, to be stopped, killed, frozen and told things.
 */
#ifndef TESTS_CONTRACT_REDIS_SERVER_H
#define TESTS_CONTRACT_REDIS_SERVER_H

#include "tests/test.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/num.h"
#include "base/proc.h"
#include "core/state/state.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct redis_server {
    char dir[64], socket[96], address[128];
};

/* ERR_NOT_FOUND where there is no redis-server: the test is skipped. */
static inline enum err_code redis_server_find(struct err *e)
{
    const char *const argv[] = { "redis-server", "--version", NULL };
    return proc_run(argv, 10000, NULL, e);
}

static inline void redis_server_script(const struct redis_server *r, const char *verb)
{
    const char *const argv[] = { "tests/redis.sh", verb, r->dir, NULL };
    struct err e = ERR_INIT;

    assert_ok(proc_run(argv, 30000, NULL, &e));
}

/* The one that runs, so that a test that fails in the middle leaves none behind: redis_server_teardown(). */
static struct redis_server redis_server_running;

/* `extra`: more lines for redis.conf. */
static inline struct redis_server redis_server_start(const char *extra)
{
    struct redis_server r;
    struct err e = ERR_INIT;

    assert_ok(dir_make("build/test", 0755, &e));
    snprintf(r.dir, sizeof(r.dir), "build/test/redis-XXXXXX");
    assert_non_null(mkdtemp(r.dir));
    snprintf(r.socket, sizeof(r.socket), "%s/redis.sock", r.dir);
    snprintf(r.address, sizeof(r.address), "unix:%s", r.socket);
    assert_int_equal(setenv("REDIS_EXTRA", extra, 1), 0);
    redis_server_running = r;
    redis_server_script(&r, "start");
    return r;
}

static inline void redis_server_end(const struct redis_server *r)
{
    const char *const argv[] = { "rm", "-rf", r->dir, NULL };
    struct err e = ERR_INIT;

    redis_server_script(r, "stop");
    assert_ok(proc_run(argv, 10000, NULL, &e));
    redis_server_running.dir[0] = '\0';
}

static inline int redis_server_teardown(void **state)
{
    (void)state;
    if (redis_server_running.dir[0])
        redis_server_script(&redis_server_running, "stop");
    redis_server_running.dir[0] = '\0';
    return 0;
}

static inline pid_t redis_server_pid(const struct redis_server *r)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(64);
    struct err e = ERR_INIT;
    char path[96];

    snprintf(path, sizeof(path), "%s/redis.pid", r->dir);
    assert_ok(file_read(path, &text, &e));
    return (pid_t)strtol(buf_text(&text), NULL, 10);
}

/* Redis is nobody's child: wait until the number is free or a zombie's. */
static inline void redis_server_kill(const struct redis_server *r)
{
    struct proc_id id;
    struct err e = ERR_INIT;

    assert_ok(proc_identify(redis_server_pid(r), &id, &e));
    proc_signal(id, SIGKILL);
    for (int i = 0; i < 5000 && proc_alive(id); i++)
        usleep(1000);
    assert_false(proc_alive(id));
}

/* redis_server_say(&r, "CONFIG", "SET", "appendonly", "no") */
#define redis_server_say(r, ...) redis_server_say_words((r), (const char *const[]){ __VA_ARGS__, NULL })
static inline void redis_server_say_words(const struct redis_server *r, const char *const *words)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(1 << 16);
    const char *argv[32] = { "redis-cli", "-s", r->socket };
    struct err e = ERR_INIT;

    for (size_t i = 3; i + 1 < ARRAY_LEN(argv) && *words; i++)
        argv[i] = *words++;
    assert_ok(proc_run(argv, 10000, &out, &e));
    assert_null(strstr(buf_text(&out), "ERR"));
}

#endif
