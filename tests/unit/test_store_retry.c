/*
 * Retries and injected faults over a store in memory: what is repeated, how often, and what a caller sees of
 * it.
 */
#include "base/clock.h"
#include "base/text.h"
#include "core/store/store_ops.h"
#include "tests/test.h"

#include <stdio.h>
#include <string.h>

enum { TRIES = 4, BASE_MS = 100, MS_MAX = 250 };
static const struct store_retry_rule few_tries = { .tries = TRIES, .base_ms = BASE_MS, .max_ms = MS_MAX };

static struct world {
    struct store *mem, *fault, *retry;
    struct clock_fake clock;
} w;

static int begin(void **state)
{
    static const struct store_place place = { .kind = STORE_MEM, .bucket = "bucket" };
    (void)state;
    struct err e = ERR_INIT;
    assert_ok(store_open(&place, NULL, &w.mem, &e));
    w.clock = clock_fake_at(1790000000000);
    w.fault = store_fault_new(w.mem);
    w.retry = store_retry_new(w.fault, &few_tries, &w.clock.base); /* takes `fault` over */
    return 0;
}

static int end(void **state)
{
    (void)state;
    store_close(w.retry);
    store_close(w.mem);
    return 0;
}

static enum err_code collect(void *context, const struct store_info *info, struct err *e)
{
    (void)e;
    buf_addf(context, "%s ", info->key);
    return OK;
}

/* Each operation, called once: with a fault in its first call it works all the same. */
static enum err_code do_put(struct err *e)
{
    return store_put(w.retry, "new", "x", 1, NULL, NULL, e);
}

static enum err_code do_get(struct err *e)
{
    CLEANUP(buf_done) struct buf body = BUF_INIT(100);
    enum err_code code = store_get(w.retry, "a", NULL, 0, UINT64_MAX, &body, NULL, e);
    if (code == OK)
        assert_string_equal(buf_text(&body), "1");
    return code;
}

static enum err_code do_head(struct err *e)
{
    struct store_info info;
    return store_head(w.retry, "a", NULL, &info, e);
}

static enum err_code do_list(struct err *e)
{
    CLEANUP(buf_done) struct buf keys = BUF_INIT(100);
    enum err_code code = store_list(w.retry, "", NULL, collect, &keys, e);
    if (code == OK)
        assert_string_equal(buf_text(&keys), "a b c "); /* none twice, none left out */
    return code;
}

static enum err_code do_list_versions(struct err *e)
{
    CLEANUP(buf_done) struct buf keys = BUF_INIT(100);
    enum err_code code = store_list_versions(w.retry, "", collect, &keys, e);
    if (code == OK)
        assert_string_equal(buf_text(&keys), "a a b c ");
    return code;
}

static enum err_code do_delete(struct err *e)
{
    return store_delete(w.retry, "b", NULL, e);
}

static enum err_code do_set_lock(struct err *e)
{
    struct store_lock lock = { .mode = STORE_LOCK_COMPLIANCE, .retain_until_ms = clock_wall_ms() + 60000 };
    return store_set_lock(w.retry, "a", NULL, &lock, e);
}

static enum err_code do_facts(struct err *e)
{
    struct store_facts facts;
    return store_facts(w.retry, &facts, e);
}

static const struct row {
    const char *name;
    enum err_code (*call)(struct err *e);
} rows[] = {
    { "put", do_put },
    { "get", do_get },
    { "head", do_head },
    { "list", do_list },
    { "list versions", do_list_versions },
    { "delete", do_delete },
    { "set lock", do_set_lock },
    { "facts", do_facts },
};

static void fill(void)
{
    struct err e = ERR_INIT;
    assert_ok(store_put(w.mem, "a", "0", 1, NULL, NULL, &e));
    assert_ok(store_put(w.mem, "a", "1", 1, NULL, NULL, &e));
    assert_ok(store_put(w.mem, "b", "1", 1, NULL, NULL, &e));
    assert_ok(store_put(w.mem, "c", "1", 1, NULL, NULL, &e));
}

static void one_outage_is_not_seen(void **state)
{
    const struct row *row = *state;
    struct err e = ERR_INIT;
    fill();
    store_fault_at(w.fault, 1, ERR_RETRY, false);
    assert_ok(row->call(&e));
}

/* What a second call would not change is not called a second time. */
static void other_failures_are_final(void **state)
{
    static const enum err_code codes[] = { ERR_DENIED, ERR_NOT_FOUND, ERR_CONFLICT,
                                           ERR_IO,     ERR_CORRUPT,   ERR_LIMIT };
    const struct row *row = *state;
    fill();
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        struct err e = ERR_INIT;
        int64_t before = w.clock.mono;
        store_fault_at(w.fault, 1, codes[i], false);
        assert_int_equal(row->call(&e), codes[i]);
        assert_non_null(strstr(e.text, "injected fault"));
        assert_non_null(strstr(e.text, "mem:bucket"));
        assert_int_equal(w.clock.mono, before);
    }
}

/* ---- a store that never comes back ---- */

struct dead {
    struct store base;
    int calls;
};

static enum err_code dead_put(struct store *s, const char *key, const void *data, size_t n,
                              const struct store_put_options *options, struct store_info *out, struct err *e)
{
    (void)key, (void)data, (void)n, (void)options, (void)out;
    ((struct dead *)s)->calls++;
    return err_set(e, ERR_RETRY, "nobody there");
}

static void dead_close(struct store *s)
{
    (void)s;
}

static const struct store_ops dead_ops = { .name = "dead", .put = dead_put, .close = dead_close };

static void an_outage_without_end_is_given_up(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct dead dead = { .base = { .ops = &dead_ops, .name = "s3://dead" } };
    CLEANUP(store_closep)
    struct store *s = store_retry_new(&dead.base, &few_tries, &w.clock.base);
    int64_t before = w.clock.mono;
    assert_int_equal(store_put(s, "a", "x", 1, NULL, NULL, &e), ERR_RETRY);
    assert_int_equal(dead.calls, TRIES);
    assert_non_null(strstr(e.text, "gave up after 4 tries"));
    assert_non_null(strstr(e.text, "nobody there"));
    assert_true(w.clock.mono - before <= 100 + 200 + 250);
}

enum { PATIENCE_MS = 30000 };
static const struct store_retry_rule patient = {
    .tries = 1, .patience_ms = PATIENCE_MS, .base_ms = BASE_MS, .max_ms = MS_MAX
};

/* What the observer heard. */
struct heard {
    int waits, backs, last_failures;
    int64_t last_waited_ms;
};

static void hear(void *context, const struct store_wait *wait)
{
    struct heard *h = context;
    assert_string_equal(wait->call, "put");
    assert_string_equal(wait->key, "a");
    h->last_failures = wait->failures;
    h->last_waited_ms = wait->waited_ms;
    if (!wait->why) {
        h->backs++;
        return;
    }
    assert_true(strstr(wait->why, "nobody there") || strstr(wait->why, "injected fault"));
    h->waits++;
}

static void patience_lasts_as_long_as_it_says_and_each_wait_is_told(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct heard heard = { 0 };
    struct dead dead = { .base = { .ops = &dead_ops, .name = "s3://dead" } };
    CLEANUP(store_closep) struct store *s = store_retry_new(&dead.base, &patient, &w.clock.base);
    int64_t before = w.clock.mono;
    store_on_wait(s, hear, &heard);
    assert_int_equal(store_put(s, "a", "x", 1, NULL, NULL, &e), ERR_RETRY);
    int64_t waited = w.clock.mono - before;
    assert_true(waited < PATIENCE_MS && waited >= PATIENCE_MS - MS_MAX);
    assert_true(dead.calls > PATIENCE_MS / MS_MAX);
    assert_int_equal(heard.waits, dead.calls - 1); /* behind the last there is no wait */
    assert_int_equal(heard.backs, 0);
    assert_non_null(strstr(e.text, "gave up after"));
    assert_non_null(strstr(e.text, "29.")); /* seconds */
}

static void the_end_of_a_wait_is_told(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct heard heard = { 0 };
    store_on_wait(w.retry, hear, &heard);
    assert_ok(store_put(w.retry, "a", "x", 1, NULL, NULL, &e));
    assert_int_equal(heard.waits + heard.backs, 0);
    store_fault_at(w.fault, 1, ERR_RETRY, false);
    assert_ok(store_put(w.retry, "a", "x", 1, NULL, NULL, &e));
    assert_int_equal(heard.waits, 1);
    assert_int_equal(heard.backs, 1);
    assert_int_equal(heard.last_failures, 1);
}

/* However patient: a call ends before the moment that it must not outlast, and says that this was why. */
static void no_call_outlasts_its_deadline(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct dead dead = { .base = { .ops = &dead_ops, .name = "s3://dead" } };
    CLEANUP(store_closep) struct store *s = store_retry_new(&dead.base, &patient, &w.clock.base);
    int64_t before = w.clock.mono;
    store_until(s, before + 2000);
    assert_int_equal(dead.base.until_ms, before + 2000); /* what is below hears of it too */
    assert_int_equal(store_put(s, "a", "x", 1, NULL, NULL, &e), ERR_RETRY);
    assert_true(w.clock.mono - before < 2000);
    assert_non_null(strstr(e.text, "its deadline came after"));
    assert_non_null(strstr(e.text, "nobody there"));
    err_clear(&e);
    store_until(s, 0);
    before = w.clock.mono;
    assert_int_equal(store_put(s, "a", "x", 1, NULL, NULL, &e), ERR_RETRY);
    assert_true(w.clock.mono - before > 20000);
}

static void pauses_grow_to_their_maximum_and_are_drawn(void **state)
{
    enum { DRAWS = 400 };
    (void)state;
    for (int failures = 1; failures <= 70; failures += 3) {
        int64_t longest = failures > 2 ? MS_MAX : BASE_MS << (failures - 1), most = 0, least = MS_MAX;
        for (int i = 0; i < DRAWS; i++) {
            int64_t ms = store_backoff_ms(BASE_MS, MS_MAX, failures);
            assert_true(ms >= 0 && ms <= longest);
            most = MAX(most, ms);
            least = MIN(least, ms);
        }
        assert_true(most > longest * 3 / 4 && least < longest / 4); /* 1 in 10^50 against */
    }
    assert_int_equal(store_backoff_ms(0, 0, 5), 0);
}

/* The answer to a put was lost: the second try makes a second version, and both are whole. */
static void a_torn_put_is_put_again(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    CLEANUP(buf_done) struct buf keys = BUF_INIT(100);
    struct store_info info;
    store_fault_at(w.fault, 1, ERR_RETRY, true);
    assert_ok(store_put(w.retry, "a", "x", 1, NULL, &info, &e));
    assert_ok(store_list_versions(w.mem, "", collect, &keys, &e));
    assert_string_equal(buf_text(&keys), "a a ");
}

static void a_fault_comes_at_the_call_it_was_ordered_for(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    store_fault_at(w.fault, 3, ERR_IO, false);
    assert_ok(store_put(w.fault, "a", "x", 1, NULL, NULL, &e));
    assert_ok(store_put(w.fault, "a", "x", 1, NULL, NULL, &e));
    assert_int_equal(store_put(w.fault, "a", "x", 1, NULL, NULL, &e), ERR_IO);
    err_clear(&e);
    assert_ok(store_put(w.fault, "a", "x", 1, NULL, NULL, &e));
    store_fault_at(w.fault, 1, ERR_IO, false);
    store_fault_at(w.fault, 0, OK, false);
    assert_ok(store_put(w.fault, "a", "x", 1, NULL, NULL, &e));
}

static void a_second_try_of_get_begins_afresh(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    CLEANUP(buf_done) struct buf body = BUF_INIT(100);
    fill();
    buf_add_text(&body, "front ");
    store_fault_at(w.fault, 1, ERR_RETRY, false);
    assert_ok(store_get(w.retry, "a", NULL, 0, UINT64_MAX, &body, NULL, &e));
    assert_string_equal(buf_text(&body), "front 1");
}

int main(void)
{
    static struct CMUnitTest tests[2 * ARRAY_LEN(rows) + 8];
    static char names[2 * ARRAY_LEN(rows)][64];
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        snprintf(names[n], sizeof(names[n]), "%s: one outage is not seen", rows[i].name);
        tests[n] = (struct CMUnitTest){ names[n], one_outage_is_not_seen, begin, end, (void *)&rows[i] };
        n++;
        snprintf(names[n], sizeof(names[n]), "%s: other failures are final", rows[i].name);
        tests[n] = (struct CMUnitTest){ names[n], other_failures_are_final, begin, end, (void *)&rows[i] };
        n++;
    }
    const struct CMUnitTest more[] = {
        cmocka_unit_test_setup_teardown(an_outage_without_end_is_given_up, begin, end),
        cmocka_unit_test_setup_teardown(patience_lasts_as_long_as_it_says_and_each_wait_is_told, begin, end),
        cmocka_unit_test_setup_teardown(the_end_of_a_wait_is_told, begin, end),
        cmocka_unit_test_setup_teardown(no_call_outlasts_its_deadline, begin, end),
        cmocka_unit_test_setup_teardown(pauses_grow_to_their_maximum_and_are_drawn, begin, end),
        cmocka_unit_test_setup_teardown(a_torn_put_is_put_again, begin, end),
        cmocka_unit_test_setup_teardown(a_fault_comes_at_the_call_it_was_ordered_for, begin, end),
        cmocka_unit_test_setup_teardown(a_second_try_of_get_begins_afresh, begin, end),
    };
    for (size_t i = 0; i < ARRAY_LEN(more); i++)
        tests[n++] = more[i];
    return _cmocka_run_group_tests("store retry", tests, n, NULL, NULL);
}
