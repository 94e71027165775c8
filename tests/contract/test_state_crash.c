/*
 * redis-server is killed (SIGKILL) in the middle of a storm of commits, several times. What was acknowledged
 * is there, what is there is whole, and the writers' handles go on by themselves.
 *
 * Each writer counts: commit i writes its count, a value, a member of a set and an entry of a stream of its
 * own. After an ERR_RETRY it reads its count to learn whether that commit was applied, as the header tells
 * callers to do.
 */
#include "tests/contract/redis_server.h"

#include "base/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <poll.h>
#include <sys/wait.h>

enum { WRITERS = 3, COMMITS = 250, KILLS = 3, GIVE_UP_MS = 60000 };

static void open_or_exit(const struct redis_server *r, struct state **out)
{
    struct state_config config = { .cluster = "crash", .timeout_ms = 2000 };
    struct err e = ERR_INIT;

    memcpy(config.address, r->address, sizeof(r->address));
    if (state_open(&config, NULL, out, &e)) {
        fprintf(stderr, "%s\n", e.text);
        _exit(2);
    }
}

static enum err_code commit_one(struct state *s, int writer, int64_t i, int64_t version, struct err *e)
{
    CLEANUP(state_tx_freep) struct state_tx *tx = state_tx_new();
    char count[32], name[64], text[64];

    snprintf(count, sizeof(count), "count/%d", writer);
    snprintf(name, sizeof(name), "value/%d/%" PRId64, writer, i);
    snprintf(text, sizeof(text), "%" PRId64, i);
    state_tx_expect(tx, count, version);
    state_tx_put_text(tx, count, text);
    state_tx_expect(tx, name, 0);
    state_tx_put_text(tx, name, text);
    state_tx_rank(tx, writer == 0 ? "set/0" : writer == 1 ? "set/1" : "set/2", text, (double)i);
    state_tx_append(tx, writer == 0 ? "log/0" : writer == 1 ? "log/1" : "log/2", text, strlen(text));
    return state_commit(s, tx, e);
}

static enum err_code read_count(struct state *s, int writer, int64_t *out_i, int64_t *out_version,
                                struct err *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(32);
    char name[32];

    snprintf(name, sizeof(name), "count/%d", writer);
    enum err_code code = state_get(s, name, &text, out_version, e);
    if (code != OK && code != ERR_NOT_FOUND)
        return code;
    *out_i = strtoll(buf_text(&text), NULL, 10);
    return OK;
}

/* A process. Tells each acknowledged commit by one byte; its exit status says whether it came through. */
static int writer_main(const struct redis_server *r, int writer, int acks)
{
    struct state *s = NULL;
    int64_t done = 0, version = 0, retries = 0, give_up = clock_mono_ms() + GIVE_UP_MS;

    open_or_exit(r, &s);
    while (done < COMMITS && clock_mono_ms() < give_up) {
        struct err e = ERR_INIT;
        enum err_code code = commit_one(s, writer, done + 1, version, &e);
        if (code == OK) {
            done++;
            version++;
            if (write(acks, "+", 1) != 1)
                return 3;
            continue;
        }
        if (code != ERR_RETRY) {
            fprintf(stderr, "writer %d: %s\n", writer, e.text);
            return 4;
        }
        retries++;
        int64_t before = done;
        while (read_count(s, writer, &done, &version, &e) && clock_mono_ms() < give_up)
            usleep(5000);
        if (done != before && done != before + 1) { /* one commit was open: it is there or it is not */
            fprintf(stderr, "writer %d: %" PRId64 " was acknowledged, %" PRId64 " is there\n", writer, before,
                    done);
            return 5;
        }
    }
    state_close(s);
    if (done == COMMITS && retries > 0)
        return 0;
    fprintf(stderr, "writer %d: %" PRId64 " commits, %" PRId64 " retries\n", writer, done, retries);
    return done == COMMITS ? 7 : 6;
}

static int64_t read_acks(int fd, int64_t until)
{
    char bytes[256];
    int64_t got = 0, give_up = clock_mono_ms() + GIVE_UP_MS;

    while (got < until && clock_mono_ms() < give_up) {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        ssize_t n = poll(&p, 1, 100) > 0 ? read(fd, bytes, sizeof(bytes)) : 0;
        if (n < 0 || (n == 0 && (p.revents & POLLHUP)))
            break;
        got += n;
    }
    return got;
}

static enum err_code next_entry(void *context, const char *id, const void *data, size_t n, struct err *e)
{
    int64_t *i = context;
    char want[32];

    (void)id, (void)e;
    assert_int_equal(snprintf(want, sizeof(want), "%" PRId64, ++*i), n);
    assert_memory_equal(data, want, n);
    return OK;
}

static enum err_code next_member(void *context, const char *member, double score, struct err *e)
{
    (void)e;
    assert_true((double)++*(int64_t *)context == score);
    assert_int_equal(strtoll(member, NULL, 10), (int64_t)score);
    return OK;
}

static void assert_whole(const struct redis_server *r)
{
    struct state *s = NULL;
    struct err e = ERR_INIT;
    char set[16], log[16], name[64];

    open_or_exit(r, &s);
    for (int writer = 0; writer < WRITERS; writer++) {
        int64_t count = 0, version = 0, members = 0, entries = 0;
        snprintf(set, sizeof(set), "set/%d", writer);
        snprintf(log, sizeof(log), "log/%d", writer);
        assert_ok(read_count(s, writer, &count, &version, &e));
        assert_int_equal(count, COMMITS);
        assert_int_equal(version, COMMITS);
        assert_ok(
            state_range(s, set, -INFINITY, INFINITY, false, 0, STATE_PAGE_MAX, next_member, &members, &e));
        assert_ok(state_read(s, log, NULL, STATE_PAGE_MAX, next_entry, &entries, &e));
        assert_int_equal(members, COMMITS);
        assert_int_equal(entries, COMMITS);
        for (int64_t i = 1; i <= COMMITS; i++) {
            snprintf(name, sizeof(name), "value/%d/%" PRId64, writer, i);
            assert_ok(state_get(s, name, NULL, &version, &e));
            assert_int_equal(version, 1);
        }
    }
    state_close(s);
}

static void nothing_lost_nothing_torn(void **state)
{
    struct err e = ERR_INIT;
    pid_t writers[WRITERS];
    int acks[2], status, bad = 0;

    (void)state;
    if (redis_server_find(&e)) {
        print_message("redis: not tried (%s)\n", e.text);
        skip();
    }
    struct redis_server r = redis_server_start("");
    assert_int_equal(pipe(acks), 0);
    for (int i = 0; i < WRITERS; i++) {
        writers[i] = fork();
        assert_true(writers[i] >= 0);
        if (writers[i] == 0) {
            close(acks[0]);
            _exit(writer_main(&r, i, acks[1]));
        }
    }
    close(acks[1]);
    int64_t acked = 0;
    for (int kill_nr = 0; kill_nr < KILLS; kill_nr++) {
        acked += read_acks(acks[0], WRITERS * COMMITS / (KILLS + 2));
        redis_server_kill(&r);
        redis_server_script(&r, "start");
    }
    acked += read_acks(acks[0], WRITERS * COMMITS);
    close(acks[0]);
    for (int i = 0; i < WRITERS; i++) {
        assert_int_equal(waitpid(writers[i], &status, 0), writers[i]);
        bad += status != 0;
    }
    assert_int_equal(bad, 0);
    assert_in_range(acked, WRITERS * (COMMITS - KILLS),
                    WRITERS * COMMITS); /* the others were open at a kill */
    assert_whole(&r);
    redis_server_end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        { "a Redis killed in a storm of commits loses no acknowledged one and tears none",
          nothing_lost_nothing_torn, NULL, redis_server_teardown, NULL },
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
