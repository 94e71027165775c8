/*
 * The contract of core/state/state.h where several meet: streams and their watches, clusters, handles,
 * threads, processes.
 */
#include "tests/contract/state_rows.h"

#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <sys/wait.h>

/* ---- streams ---- */

static void read_in_order(struct fixture *f)
{
    CLEANUP(buf_done) struct buf got = BUF_INIT(4096);
    struct err e = ERR_INIT;
    struct state_tx *tx = state_tx_new();

    append_text(f->s, "events", "a");
    state_tx_append(tx, "events", "b", 1);
    state_tx_append(tx, "other", "x", 1);
    state_tx_append(tx, "events", "c", 1);
    assert_ok(commit_freeing(f->s, tx, &e));
    append_text(f->s, "events", "d");
    assert_entries(f->s, "events", NULL, "a b c d ");
    assert_entries(f->s, "events", "", "a b c d ");
    struct ids ids = ids_of(f->s, "events");
    assert_int_equal(ids.count, 4);
    assert_entries(f->s, "events", ids.id[1], "c d ");
    assert_entries(f->s, "events", ids.id[3], "");
    assert_ok(state_read(f->s, "events", ids.id[0], 2, add_entry, &got, &e));
    assert_string_equal(buf_text(&got), "b c ");
    assert_entries(f->s, "no-such-stream", "", "");
    assert_int_equal(state_read(f->s, "events", "", -1, add_entry, &got, &e), ERR_USAGE);
    assert_int_equal(state_read(f->s, "events", "", STATE_PAGE_MAX + 1, add_entry, &got, &e), ERR_LIMIT);
}

static enum err_code keep_bytes(void *context, const char *id, const void *data, size_t n, struct err *e)
{
    (void)id, (void)e;
    buf_add_u32be(context, (uint32_t)n);
    buf_add(context, data, n);
    return OK;
}

static void entries_of_any_bytes(struct fixture *f)
{
    CLEANUP(buf_done) struct buf got = BUF_INIT(4096);
    struct err e = ERR_INIT;
    struct state_tx *tx = state_tx_new();

    state_tx_append(tx, "events", "\0\r\n\xff", 4);
    state_tx_append(tx, "events", NULL, 0);
    assert_ok(commit_freeing(f->s, tx, &e));
    assert_ok(state_read(f->s, "events", "", 9, keep_bytes, &got, &e));
    assert_int_equal(got.len, 12);
    assert_memory_equal(got.data, "\0\0\0\4\0\r\n\xff\0\0\0\0", 12);
}

static void drop(struct fixture *f, const char *stream, const char *id)
{
    struct err e = ERR_INIT;
    struct state_tx *tx = state_tx_new();

    state_tx_drop(tx, stream, id);
    assert_ok(commit_freeing(f->s, tx, &e));
}

static void dropped_up_to(struct fixture *f)
{
    char text[16];

    for (int i = 0; i < 9; i++) {
        snprintf(text, sizeof(text), "%d", i);
        append_text(f->s, "events", text);
    }
    struct ids ids = ids_of(f->s, "events");
    drop(f, "events", ids.id[2]);
    assert_entries(f->s, "events", "", "3 4 5 6 7 8 ");
    drop(f, "events", ids.id[2]);
    drop(f, "events", "0-0");
    drop(f, "no-such-stream", ids.id[2]);
    assert_entries(f->s, "events", "", "3 4 5 6 7 8 ");
    assert_entries(f->s, "events", ids.id[6], "7 8 ");
    drop(f, "events", "9999999999999-18446744073709551615");
    assert_entries(f->s, "events", "", "");
}

static void ids_never_come_back(struct fixture *f)
{
    char last[STATE_ID_BYTES] = "";

    for (int i = 0; i < 5; i++) {
        append_text(f->s, "events", "x");
        struct ids ids = ids_of(f->s, "events");
        assert_int_equal(ids.count, 1);
        assert_entries(f->s, "events", last, "x "); /* it lies behind all that went before */
        memcpy(last, ids.id[0], sizeof(last));
        drop(f, "events", last);
        assert_entries(f->s, "events", last, "");
        if (i == 2 && !f->real_time)
            f->hands.wall -= 5000; /* somebody sets the clock back */
    }
}

/* ---- watches ---- */

/* Waits for the descriptor, then reads until it gives nothing more. At most 5 s, so that a lost wake fails.
 */
static bool woken(struct state_watch *w, int within_ms)
{
    struct pollfd p = { .fd = state_watch_fd(w), .events = POLLIN };
    struct err e = ERR_INIT;
    bool any = false, more = true;
    int64_t deadline = clock_mono_ms() + within_ms;

    /* A descriptor may be readable before the news is whole: then wait on. */
    while (!any && clock_mono_ms() <= deadline) {
        if (poll(&p, 1, (int)MAX(0, deadline - clock_mono_ms())) <= 0)
            return false;
        for (more = true; more; any = any || more)
            assert_ok(state_watch_read(w, &more, &e));
    }
    return any;
}
enum { SURELY_MS = 5000, QUIET_MS = 60 };

static struct state_watch *watch(struct fixture *f, const char *const *streams, size_t count)
{
    struct state_watch *w = NULL;
    struct err e = ERR_INIT;

    assert_ok(state_watch_open(f->s, streams, count, &w, &e));
    return w;
}

static void wakes(struct fixture *f)
{
    const char *const streams[] = { "events" };
    CLEANUP(state_watch_closep) struct state_watch *w = watch(f, streams, 1);
    struct err e = ERR_INIT;
    bool some = true;

    assert_ok(state_watch_read(w, &some, &e)); /* does not block */
    assert_false(some);
    for (int i = 0; i < 3; i++) {
        append_text(f->s, "events", "x");
        assert_true(woken(w, SURELY_MS));
        assert_false(woken(w, QUIET_MS));
    }
    put_text(f->s, "events", "a value, not an entry");
    append_text(f->s, "other", "x");
    assert_false(woken(w, QUIET_MS));
}

static void starts_behind(struct fixture *f)
{
    const char *const streams[] = { "events", "emptied" };

    append_text(f->s, "events", "before");
    append_text(f->s, "emptied", "before");
    drop(f, "emptied", ids_of(f->s, "emptied").id[0]);
    CLEANUP(state_watch_closep) struct state_watch *w = watch(f, streams, 2);
    assert_false(woken(w, QUIET_MS));
    append_text(f->s, "emptied", "after");
    assert_true(woken(w, SURELY_MS));
}

static void misses_nothing(struct fixture *f)
{
    const char *const streams[] = { "events" };
    char text[32];

    for (int i = 0; i < 30; i++) {
        struct state_watch *w = watch(f, streams, 1);
        snprintf(text, sizeof(text), "%d",
                 i); /* at once, before the server can have seen the watch's request */
        append_text(f->s, "events", text);
        assert_true(woken(w, SURELY_MS));
        state_watch_close(w);
    }
}

static void any_of_several(struct fixture *f)
{
    const char *const streams[] = { "a", "b", "c" };
    CLEANUP(state_watch_closep) struct state_watch *w = watch(f, streams, 3);

    for (size_t i = 0; i < 2 * ARRAY_LEN(streams); i++) {
        append_text(f->s, streams[i % 3], "x");
        assert_true(woken(w, SURELY_MS));
    }
    struct err e = ERR_INIT;
    struct state_tx *tx = state_tx_new();
    for (size_t i = 0; i < ARRAY_LEN(streams); i++)
        state_tx_append(tx, streams[i], "x", 1);
    assert_ok(commit_freeing(f->s, tx, &e));
    assert_true(woken(w, SURELY_MS));
    assert_false(woken(w, QUIET_MS));
}

static void refused_commit_wakes_nobody(struct fixture *f)
{
    const char *const streams[] = { "events" };
    CLEANUP(state_watch_closep) struct state_watch *w = watch(f, streams, 1);
    struct err e = ERR_INIT;
    struct state_tx *tx = state_tx_new();

    state_tx_append(tx, "events", "x", 1);
    state_tx_expect(tx, "none", 3);
    assert_int_equal(commit_freeing(f->s, tx, &e), ERR_CONFLICT);
    assert_false(woken(w, QUIET_MS));
}

static void watch_limits(struct fixture *f)
{
    const char *streams[STATE_WATCH_MAX + 1];
    struct err e = ERR_INIT;
    struct state_watch *w = NULL;
    char longest[STATE_NAME_BYTES];

    memset(longest, 'n', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(streams); i++)
        streams[i] = longest;
    assert_int_equal(state_watch_open(f->s, streams, 0, &w, &e), ERR_USAGE);
    assert_int_equal(state_watch_open(f->s, streams, STATE_WATCH_MAX + 1, &w, &e), ERR_USAGE);
    w = watch(f, streams, STATE_WATCH_MAX);
    append_text(f->s, longest, "x");
    assert_true(woken(w, SURELY_MS));
    state_watch_close(w);
    streams[0] = "";
    w = NULL;
    assert_int_equal(state_watch_open(f->s, streams, 1, &w, &e), ERR_USAGE);
    assert_null(w);
}

static void watch_outlives_handle(struct fixture *f)
{
    const char *const streams[] = { "events" };
    struct state *o = open_state(f, f->cluster);
    CLEANUP(state_watch_closep) struct state_watch *w = NULL;
    struct err e = ERR_INIT;

    assert_ok(state_watch_open(o, streams, 1, &w, &e));
    state_close(o);
    append_text(f->s, "events", "x");
    assert_true(woken(w, SURELY_MS));
}

/* ---- clusters and handles ---- */

static void clusters_do_not_meet(struct fixture *f)
{
    char other[80];
    const char *const streams[] = { "s" };
    snprintf(other, sizeof(other), "o-%s", f->cluster);
    struct state *o = open_state(f, other);
    CLEANUP(state_watch_closep) struct state_watch *w = watch(f, streams, 1);
    struct err e = ERR_INIT;
    struct state_tx *tx = state_tx_new();

    state_tx_put_text(tx, "v", "other");
    state_tx_rank(tx, "z", "m", 1);
    state_tx_append(tx, "s", "x", 1);
    assert_ok(commit_freeing(o, tx, &e));
    assert_int_equal(version_of(f->s, "v"), 0);
    assert_range(f->s, "z", 0, 9, false, 0, 9, "");
    assert_entries(f->s, "s", "", "");
    assert_false(woken(w, QUIET_MS));
    assert_value(o, "v", "other");
    state_close(o);
}

static void handles_meet(struct fixture *f)
{
    struct state *o = open_state(f, f->cluster);

    put_text(f->s, "v", "one");
    assert_value(o, "v", "one");
    put_text(o, "v", "two");
    assert_value(f->s, "v", "two");
    assert_int_equal(version_of(f->s, "v"), 2);
    state_close(o);
    assert_value(f->s, "v", "two");
}

static void tells_the_time(struct fixture *f)
{
    struct err e = ERR_INIT;
    int64_t before, after;

    assert_ok(state_now(f->s, &before, &e));
    assert_true(before > 1700000000000);
    pass_ms(f, 25);
    assert_ok(state_now(f->s, &after, &e));
    assert_true(after >= before + 24);
}

static void bad_configurations(struct fixture *f)
{
    static const struct state_config bad[] = {
        { .address = "", .cluster = "c" },
        { .address = "mem:", .cluster = "" },
        { .address = "mem:", .cluster = "a}b" },
        { .address = "mem:", .cluster = "a b" },
        { .address = "mem:", .cluster = "c", .timeout_ms = -1 },
        { .address = "redis", .cluster = "c" },
        { .address = "localhost:", .cluster = "c" },
        { .address = ":6379", .cluster = "c" },
        { .address = "localhost:http-alt-x", .cluster = "c" },
    };
    struct err e = ERR_INIT;
    struct state *s = NULL;

    (void)f;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(state_open(&bad[i], NULL, &s, &e), ERR_USAGE);
        assert_null(s);
    }
    state_close(NULL);
    state_tx_free(NULL);
    state_watch_close(NULL);
}

/* ---- many at once ---- */

enum { WORKERS = 4, ADDS = 25, TRIES_MAX = 20000 };

/* Reads a number, adds one, commits where nobody was faster; each success is an event too. */
static int64_t add_ones(struct state *s, int count)
{
    int done = 0;

    for (int tries = 0; done < count && tries < TRIES_MAX; tries++) {
        CLEANUP(buf_done) struct buf old = BUF_INIT(64);
        CLEANUP(state_tx_freep) struct state_tx *tx = state_tx_new();
        struct err e = ERR_INIT;
        int64_t version = 0, n = 0;
        char text[32];
        enum err_code code = state_get(s, "sum", &old, &version, &e);
        if (code != OK && code != ERR_NOT_FOUND)
            break;
        n = strtoll(buf_text(&old), NULL, 10) + 1;
        snprintf(text, sizeof(text), "%" PRId64, n);
        state_tx_expect(tx, "sum", version);
        state_tx_put_text(tx, "sum", text);
        state_tx_append(tx, "sums", text, strlen(text));
        state_tx_rank(tx, "seen", text, (double)n);
        code = state_commit(s, tx, &e);
        done += code == OK;
        if (code != OK && code != ERR_CONFLICT)
            break;
    }
    return done;
}

struct worker {
    const struct fixture *f;
    pthread_t thread;
    int64_t done;
};

static void *worker_main(void *context)
{
    struct worker *w = context;
    struct state *s = open_state(w->f, w->f->cluster);

    w->done = add_ones(s, ADDS);
    state_close(s);
    return NULL;
}

static void assert_all_counted(struct fixture *f)
{
    struct err e = ERR_INIT;
    int64_t members = 0;
    char want[32];

    snprintf(want, sizeof(want), "%d", WORKERS * ADDS);
    assert_value(f->s, "sum", want);
    assert_int_equal(version_of(f->s, "sum"), WORKERS * ADDS);
    assert_ok(state_count(f->s, "seen", &members, &e));
    assert_int_equal(members, WORKERS * ADDS);
    CLEANUP(buf_done) struct buf all = BUF_INIT(1 << 16), got = BUF_INIT(1 << 16);
    for (int i = 1; i <= WORKERS * ADDS; i++)
        buf_addf(&all, "%d ", i);
    assert_ok(state_read(f->s, "sums", "", 1000, add_entry, &got, &e));
    assert_string_equal(buf_text(&got), buf_text(&all)); /* in the order of the commits */
}

static void threads_lose_nothing(struct fixture *f)
{
    struct worker workers[WORKERS];

    for (int i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){ .f = f };
        assert_int_equal(pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]), 0);
    }
    for (int i = 0; i < WORKERS; i++) {
        pthread_join(workers[i].thread, NULL);
        assert_int_equal(workers[i].done, ADDS);
    }
    assert_all_counted(f);
}

static void processes_lose_nothing(struct fixture *f)
{
    pid_t children[WORKERS];
    int status;

    for (int i = 0; i < WORKERS; i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] == 0) {
            struct worker w = { .f = f };
            (void)worker_main(&w);
            _exit(w.done == ADDS ? 0 : 1);
        }
    }
    for (int i = 0; i < WORKERS; i++) {
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    assert_all_counted(f);
}

struct watcher {
    struct fixture *f;
    char after[STATE_ID_BYTES];
    int64_t seen;
};

static enum err_code count_entry(void *context, const char *id, const void *data, size_t n, struct err *e)
{
    struct watcher *w = context;

    (void)data, (void)n;
    w->seen++;
    return text_copy(w->after, sizeof(w->after), id, "id", e);
}

/* The habit that the watch is made for: wait, read until it is quiet, read the stream, wait again. */
static void watcher_sees_all(struct fixture *f)
{
    const char *const streams[] = { "sums" };
    CLEANUP(state_watch_closep) struct state_watch *w = watch(f, streams, 1);
    struct watcher seen = { .f = f };
    struct worker workers[WORKERS];
    struct err e = ERR_INIT;

    for (int i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){ .f = f };
        assert_int_equal(pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]), 0);
    }
    while (seen.seen < WORKERS * ADDS && woken(w, SURELY_MS))
        assert_ok(state_read(f->s, "sums", seen.after, 1000, count_entry, &seen, &e));
    for (int i = 0; i < WORKERS; i++)
        pthread_join(workers[i].thread, NULL);
    assert_int_equal(seen.seen, WORKERS * ADDS);
}

static const struct row rows[] = {
    { "entries are read in the order of their commits, behind a given id", read_in_order },
    { "an entry may hold any bytes, and none", entries_of_any_bytes },
    { "drop takes the entries up to and with that id", dropped_up_to },
    { "ids grow though all entries are gone or the clock is set back", ids_never_come_back },
    { "a watch wakes for an entry, once, and for nothing else", wakes },
    { "a watch starts behind what is there", starts_behind },
    { "a watch misses nothing that comes after it was opened", misses_nothing },
    { "a watch wakes for any of its streams", any_of_several },
    { "a refused commit wakes nobody", refused_commit_wakes_nobody },
    { "a watch has 1 to 64 streams", watch_limits },
    { "a watch may outlive the handle that opened it", watch_outlives_handle },
    { "two clusters do not meet", clusters_do_not_meet },
    { "two handles of one cluster do", handles_meet },
    { "the state tells the time", tells_the_time },
    { "malformed configurations are refused", bad_configurations },
    { "additions by four threads are all counted", threads_lose_nothing },
    { "who waits by a watch sees every entry of four writers", watcher_sees_all },
    { "additions by four processes are all counted", processes_lose_nothing }, /* of a server */
};

int main(void)
{
    return run_rows(rows, ARRAY_LEN(rows), 1);
}
