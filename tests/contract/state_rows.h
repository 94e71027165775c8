/*
 * state_rows.h - one table of rows, tried against every backend of core/state.
 *
 * Each row gets a cluster of its own. On mem the clock is a fake one, and waiting turns its hands; on Redis
 * waiting sleeps. Redis is tried where SOVRUN_TEST_REDIS says where one is (tests/redis.sh); else its rows
 * are skipped.
 */
#ifndef TESTS_CONTRACT_STATE_ROWS_H
#define TESTS_CONTRACT_STATE_ROWS_H

#include "tests/test.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "core/state/state_ops.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct fixture {
    const char *address; /* NULL: this backend cannot be tried */
    bool real_time;
    char cluster[64];
    struct state *s;
    struct clock_fake hands;
};

struct row {
    const char *name;
    void (*run)(struct fixture *f);
};

struct tried_row {
    const struct row *row;
    const char *address;
    bool real_time;
    int number;
};

static inline struct state *open_state(const struct fixture *f, const char *cluster)
{
    struct state_config config = { .timeout_ms = 5000 };
    struct state *s = NULL;
    struct err e = ERR_INIT;

    assert_ok(text_copy(config.address, sizeof(config.address), f->address, "address", &e));
    assert_ok(text_copy(config.cluster, sizeof(config.cluster), cluster, "cluster", &e));
    assert_ok(state_open(&config, NULL, &s, &e));
    return s;
}

static inline void pass_ms(struct fixture *f, int64_t ms)
{
    const struct clock *c = f->real_time ? &clock_real : &f->hands.base;
    c->sleep_ms(c, ms);
}

static inline void run_row(void **state)
{
    const struct tried_row *t = *state;
    struct fixture f = { .address = t->address, .real_time = t->real_time };

    if (!t->address)
        skip();
    snprintf(f.cluster, sizeof(f.cluster), "t%d-%d", (int)getpid(), t->number);
    f.s = open_state(&f, f.cluster);
    f.hands = clock_fake_at(1800000000000);
    if (!f.real_time)
        state_mem_set_clock(f.s, &f.hands.base);
    t->row->run(&f);
    state_close(f.s);
}

/* The last `server_rows` of them cannot be asked of what ends at the process. */
static inline int run_rows(const struct row *rows, size_t count, size_t server_rows)
{
    const char *redis = getenv("SOVRUN_TEST_REDIS");
    const struct {
        const char *name, *address;
        bool real_time;
        size_t count;
    } backends[] = { { "mem", "mem:", false, count - server_rows }, { "redis", redis, true, count } };
    size_t n = 0;

    struct tried_row *tried = mem_array(count * ARRAY_LEN(backends), sizeof(*tried));
    struct CMUnitTest *tests = mem_array(count * ARRAY_LEN(backends), sizeof(*tests));
    for (size_t b = 0; b < ARRAY_LEN(backends); b++)
        for (size_t i = 0; i < backends[b].count; i++, n++) {
            tried[n] = (struct tried_row){ &rows[i], backends[b].address, backends[b].real_time, (int)n };
            tests[n] = (struct CMUnitTest){ mem_printf("%s: %s", backends[b].name, rows[i].name), run_row,
                                            NULL, NULL, &tried[n] };
        }
    if (!redis)
        print_message("redis: not tried (SOVRUN_TEST_REDIS is not set)\n");
    int failed = _cmocka_run_group_tests("state", tests, n, NULL, NULL);
    for (size_t i = 0; i < n; i++)
        free((char *)tests[i].name);
    free(tests);
    free(tried);
    return failed;
}

/* ---- what rows ask again and again ---- */

static inline enum err_code commit_freeing(struct state *s, struct state_tx *tx, struct err *e)
{
    enum err_code code = state_commit(s, tx, e);
    state_tx_free(tx);
    return code;
}

static inline void put_text(struct state *s, const char *name, const char *text)
{
    struct err e = ERR_INIT;
    struct state_tx *tx = state_tx_new();

    state_tx_put_text(tx, name, text);
    assert_ok(commit_freeing(s, tx, &e));
}

static inline void append_text(struct state *s, const char *stream, const char *text)
{
    struct err e = ERR_INIT;
    struct state_tx *tx = state_tx_new();

    state_tx_append(tx, stream, text, strlen(text));
    assert_ok(commit_freeing(s, tx, &e));
}

static inline int64_t version_of(struct state *s, const char *name)
{
    struct err e = ERR_INIT;
    int64_t version = -1;
    enum err_code code = state_get(s, name, NULL, &version, &e);

    if (code != ERR_NOT_FOUND)
        assert_ok(code);
    return version;
}

static inline void assert_value(struct state *s, const char *name, const char *want)
{
    CLEANUP(buf_done) struct buf got = BUF_INIT(1 << 20);
    struct err e = ERR_INIT;

    assert_ok(state_get(s, name, &got, NULL, &e));
    assert_string_equal(buf_text(&got), want);
}

static inline enum err_code add_member(void *context, const char *member, double score, struct err *e)
{
    (void)e;
    buf_addf(context, "%s=%g ", member, score);
    return OK;
}

static inline enum err_code add_entry(void *context, const char *id, const void *data, size_t n,
                                      struct err *e)
{
    (void)id, (void)e;
    buf_add(context, data, n);
    buf_add_byte(context, ' ');
    return OK;
}

/* "a=1 b=2 " */
static inline void assert_range(struct state *s, const char *set, double min, double max, bool descending,
                                int64_t skip_n, int64_t limit, const char *want)
{
    CLEANUP(buf_done) struct buf got = BUF_INIT(1 << 20);
    struct err e = ERR_INIT;

    assert_ok(state_range(s, set, min, max, descending, skip_n, limit, add_member, &got, &e));
    assert_string_equal(buf_text(&got), want);
}

/* "first second " */
static inline void assert_entries(struct state *s, const char *stream, const char *after, const char *want)
{
    CLEANUP(buf_done) struct buf got = BUF_INIT(1 << 20);
    struct err e = ERR_INIT;

    assert_ok(state_read(s, stream, after, 1000, add_entry, &got, &e));
    assert_string_equal(buf_text(&got), want);
}

struct ids {
    size_t count;
    char id[64][STATE_ID_BYTES];
};

static inline enum err_code add_id(void *context, const char *id, const void *data, size_t n, struct err *e)
{
    struct ids *ids = context;

    (void)data, (void)n;
    assert_true(ids->count < ARRAY_LEN(ids->id));
    return text_copy(ids->id[ids->count++], STATE_ID_BYTES, id, "id", e);
}

static inline struct ids ids_of(struct state *s, const char *stream)
{
    struct ids ids = { .count = 0 };
    struct err e = ERR_INIT;

    assert_ok(state_read(s, stream, NULL, 1000, add_id, &ids, &e));
    return ids;
}

#endif
