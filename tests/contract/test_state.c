/*
 * The contract of core/state/state.h: values, guards, ordered sets, streams, commits. Leases and watches are
 * in test_state_lease.c and test_state_watch.c.
 */
#include "tests/contract/state_rows.h"

#include <math.h>

/* ---- values ---- */

static void nothing_there(struct fixture *f)
{
    CLEANUP(buf_done) struct buf got = BUF_INIT(64);
    struct err e = ERR_INIT;
    int64_t version = 7;

    assert_int_equal(state_get(f->s, "job/none", &got, &version, &e), ERR_NOT_FOUND);
    assert_int_equal(version, 0);
    assert_int_equal(got.len, 0);
    assert_non_null(strstr(e.text, "job/none"));
}

static void value_comes_back(struct fixture *f)
{
    put_text(f->s, "job/a", "hello");
    assert_value(f->s, "job/a", "hello");
    assert_int_equal(version_of(f->s, "job/a"), 1);
}

static void any_bytes(struct fixture *f)
{
    uint8_t bytes[512];
    struct err e = ERR_INIT;
    CLEANUP(buf_done) struct buf got = BUF_INIT(1024);
    struct state_tx *tx = state_tx_new();

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)i;
    memcpy(bytes + 100, "\r\n$5\r\n\0\0", 8);
    state_tx_put(tx, "bytes", bytes, sizeof(bytes));
    state_tx_put(tx, "none", NULL, 0);
    assert_ok(commit_freeing(f->s, tx, &e));
    assert_ok(state_get(f->s, "bytes", &got, NULL, &e));
    assert_int_equal(got.len, sizeof(bytes));
    assert_memory_equal(got.data, bytes, sizeof(bytes));
    buf_reset(&got);
    assert_ok(state_get(f->s, "none", &got, NULL, &e));
    assert_int_equal(got.len, 0);
    assert_int_equal(version_of(f->s, "none"), 1);
}

static void get_adds(struct fixture *f)
{
    CLEANUP(buf_done) struct buf got = BUF_INIT(8);
    struct err e = ERR_INIT;
    int64_t version = 7;

    put_text(f->s, "a", "12345");
    buf_add_text(&got, "abc");
    assert_ok(state_get(f->s, "a", &got, NULL, &e));
    assert_string_equal(buf_text(&got), "abc12345");
    assert_int_equal(state_get(f->s, "a", &got, &version, &e), ERR_LIMIT);
    assert_string_equal(buf_text(&got), "abc12345");
    assert_false(got.full);
    assert_int_equal(version, 7);
}

static void largest_value(struct fixture *f)
{
    CLEANUP(buf_done) struct buf got = BUF_INIT(STATE_VALUE_BYTES_MAX);
    CLEANUP(freep) uint8_t *big = mem_new(STATE_VALUE_BYTES_MAX + 1);
    struct err e = ERR_INIT;
    struct state_tx *tx = state_tx_new();

    memset(big, 0xa5, STATE_VALUE_BYTES_MAX + 1);
    state_tx_put(tx, "big", big, STATE_VALUE_BYTES_MAX);
    assert_ok(commit_freeing(f->s, tx, &e));
    assert_ok(state_get(f->s, "big", &got, NULL, &e));
    assert_int_equal(got.len, STATE_VALUE_BYTES_MAX);
    assert_memory_equal(got.data, big, STATE_VALUE_BYTES_MAX);

    tx = state_tx_new();
    state_tx_put_text(tx, "before", "x");
    state_tx_put(tx, "big", big, STATE_VALUE_BYTES_MAX + 1);
    state_tx_put_text(tx, "after", "x");
    assert_int_equal(commit_freeing(f->s, tx, &e), ERR_LIMIT);
    assert_int_equal(version_of(f->s, "big"), 1);
    assert_int_equal(version_of(f->s, "before") + version_of(f->s, "after"), 0);
}

static void versions_grow(struct fixture *f)
{
    for (int64_t want = 1; want <= 12; want++) {
        put_text(f->s, "a", want % 2 ? "odd" : "even, and longer");
        assert_int_equal(version_of(f->s, "a"), want);
    }
    assert_value(f->s, "a", "even, and longer");
}

static void delete_name(struct fixture *f, const char *name)
{
    struct err e = ERR_INIT;
    struct state_tx *tx = state_tx_new();

    state_tx_delete(tx, name);
    assert_ok(commit_freeing(f->s, tx, &e));
    assert_int_equal(version_of(f->s, name), 0);
}

static void versions_never_come_back(struct fixture *f)
{
    int64_t last = 0;

    for (int life = 0; life < 5; life++) {
        for (int i = 0; i < 3; i++) {
            put_text(f->s, "a", "x");
            int64_t version = version_of(f->s, "a");
            assert_true(version > last);
            last = version;
        }
        delete_name(f, "a");
        delete_name(f, "a"); /* no matter */
        put_text(f->s, "b", "x");
        delete_name(f, "b");
    }
}

static void old_version_after_delete(struct fixture *f)
{
    struct err e = ERR_INIT;

    put_text(f->s, "a", "first life");
    delete_name(f, "a");
    put_text(f->s, "a", "second life");
    struct state_tx *tx = state_tx_new();
    state_tx_expect(tx, "a", 1);
    state_tx_put_text(tx, "a", "by a reader of the first");
    assert_int_equal(commit_freeing(f->s, tx, &e), ERR_CONFLICT);
    assert_value(f->s, "a", "second life");
}

/* ---- guards ---- */

static const struct expectation {
    const char *name;
    int64_t version;
    enum err_code want;
} expectations[] = {
    { "new", 0, OK },
    { "new", 1, ERR_CONFLICT },
    { "thrice", 3, OK },
    { "thrice", 2, ERR_CONFLICT },
    { "thrice", 4, ERR_CONFLICT },
    { "thrice", 0, ERR_CONFLICT },
    { "thrice", -3, ERR_CONFLICT },
    { "deleted", 0, OK },
    { "deleted", 1, ERR_CONFLICT },
};

static void expected_versions(struct fixture *f)
{
    for (int i = 0; i < 3; i++)
        put_text(f->s, "thrice", "x");
    put_text(f->s, "deleted", "x");
    delete_name(f, "deleted");
    for (size_t i = 0; i < ARRAY_LEN(expectations); i++) {
        struct err e = ERR_INIT;
        struct state_tx *tx = state_tx_new();
        state_tx_expect(tx, expectations[i].name, expectations[i].version);
        enum err_code code = commit_freeing(f->s, tx, &e);
        if (code != expectations[i].want)
            fail_msg("%s at %d: %s", expectations[i].name, (int)expectations[i].version, err_name(code));
        if (code == ERR_CONFLICT)
            assert_non_null(strstr(e.text, expectations[i].name));
    }
}

static void first_mismatch_is_named(struct fixture *f)
{
    struct err e = ERR_INIT;
    struct state_tx *tx = state_tx_new();

    state_tx_expect(tx, "right", 0);
    state_tx_expect(tx, "wrong-one", 4);
    state_tx_expect(tx, "wrong-two", 5);
    assert_int_equal(commit_freeing(f->s, tx, &e), ERR_CONFLICT);
    assert_non_null(strstr(e.text, "wrong-one"));
    assert_null(strstr(e.text, "wrong-two"));
}

static void add_every_write(struct state_tx *tx, const char *id)
{
    state_tx_put_text(tx, "value", "new");
    state_tx_put_text(tx, "another", "new");
    state_tx_delete(tx, "doomed");
    state_tx_rank(tx, "set", "m", 9);
    state_tx_unrank(tx, "set", "n");
    state_tx_append(tx, "stream", "new", 3);
    state_tx_drop(tx, "stream", id);
}

static void prepare_every_write(struct fixture *f, char id[STATE_ID_BYTES])
{
    struct err e = ERR_INIT;
    struct state_tx *tx = state_tx_new();

    state_tx_put_text(tx, "value", "old");
    state_tx_put_text(tx, "doomed", "old");
    state_tx_rank(tx, "set", "m", 1);
    state_tx_rank(tx, "set", "n", 2);
    state_tx_append(tx, "stream", "old", 3);
    assert_ok(commit_freeing(f->s, tx, &e));
    struct ids ids = ids_of(f->s, "stream");
    memcpy(id, ids.id[0], STATE_ID_BYTES);
}

static void assert_untouched(struct fixture *f)
{
    assert_value(f->s, "value", "old");
    assert_value(f->s, "doomed", "old");
    assert_int_equal(version_of(f->s, "value"), 1);
    assert_int_equal(version_of(f->s, "another"), 0);
    assert_range(f->s, "set", -INFINITY, INFINITY, false, 0, 10, "m=1 n=2 ");
    assert_entries(f->s, "stream", "", "old ");
}

static void applies_whole(struct fixture *f)
{
    struct err e = ERR_INIT;
    char id[STATE_ID_BYTES];
    struct state_tx *tx = state_tx_new();

    prepare_every_write(f, id);
    state_tx_expect(tx, "value", 1);
    add_every_write(tx, id);
    assert_ok(commit_freeing(f->s, tx, &e));
    assert_value(f->s, "value", "new");
    assert_value(f->s, "another", "new");
    assert_int_equal(version_of(f->s, "doomed"), 0);
    assert_range(f->s, "set", -INFINITY, INFINITY, false, 0, 10, "m=9 ");
    assert_entries(f->s, "stream", "", "new ");
}

static void or_not_at_all(struct fixture *f)
{
    char id[STATE_ID_BYTES];
    const int before_and_after = 2;

    prepare_every_write(f, id);
    for (int where = 0; where < before_and_after; where++) {
        struct err e = ERR_INIT;
        struct state_tx *tx = state_tx_new();
        if (where == 0)
            state_tx_expect(tx, "doomed", 5);
        add_every_write(tx, id);
        if (where == 1)
            state_tx_expect(tx, "doomed", 5);
        assert_int_equal(commit_freeing(f->s, tx, &e), ERR_CONFLICT);
        assert_untouched(f);
    }
}

static void fence_comes_first(struct fixture *f)
{
    struct err e = ERR_INIT;
    char id[STATE_ID_BYTES];
    struct state_tx *tx = state_tx_new();

    prepare_every_write(f, id);
    state_tx_expect(tx, "doomed", 5);
    add_every_write(tx, id);
    state_tx_fence(tx, "leader", 5);
    assert_int_equal(commit_freeing(f->s, tx, &e), ERR_DENIED);
    assert_non_null(strstr(e.text, "leader"));
    assert_untouched(f);
}

static void in_the_order_given(struct fixture *f)
{
    struct err e = ERR_INIT;
    struct state_tx *tx = state_tx_new();

    state_tx_put_text(tx, "a", "1");
    state_tx_delete(tx, "a");
    state_tx_put_text(tx, "a", "2");
    state_tx_put_text(tx, "b", "1");
    state_tx_delete(tx, "b");
    state_tx_rank(tx, "set", "m", 1);
    state_tx_rank(tx, "set", "m", 2);
    state_tx_append(tx, "stream", "1", 1);
    state_tx_append(tx, "stream", "2", 1);
    state_tx_expect(tx, "a", 0); /* looks at what was there before */
    assert_ok(commit_freeing(f->s, tx, &e));
    assert_value(f->s, "a", "2");
    assert_true(version_of(f->s, "a") > 1);
    assert_int_equal(version_of(f->s, "b"), 0);
    assert_range(f->s, "set", 0, 9, false, 0, 10, "m=2 ");
    assert_entries(f->s, "stream", "", "1 2 ");
}

static void names_apart(struct fixture *f)
{
    struct err e = ERR_INIT;
    struct state_tx *tx = state_tx_new();

    state_tx_put_text(tx, "x", "value");
    state_tx_rank(tx, "x", "member", 1);
    state_tx_append(tx, "x", "entry", 5);
    assert_ok(commit_freeing(f->s, tx, &e));
    assert_value(f->s, "x", "value");
    assert_range(f->s, "x", 0, 9, false, 0, 10, "member=1 ");
    assert_entries(f->s, "x", "", "entry ");
    put_text(f->s, "floor", "a name like any other");
    delete_name(f, "x");
    assert_range(f->s, "x", 0, 9, false, 0, 10, "member=1 ");
}

static void sound_names(struct fixture *f)
{
    char longest[STATE_NAME_BYTES];
    const char *const names[] = { "a b", "a{b}c", "{}", "a:b*?[c]", "\xc3\xa4\xff", "%s%n", "a", longest };

    memset(longest, 'n', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        put_text(f->s, names[i], names[i]);
        assert_value(f->s, names[i], names[i]);
    }
}

static void unsound_names(struct fixture *f)
{
    char too_long[STATE_NAME_BYTES + 1];
    const char *const names[] = { "", "a\nb", "\x7f", "\x01", too_long, NULL };
    struct err e = ERR_INIT;
    int64_t n;

    memset(too_long, 'n', sizeof(too_long) - 1);
    too_long[sizeof(too_long) - 1] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct state_tx *put = state_tx_new(), *rank = state_tx_new(), *member = state_tx_new();
        state_tx_put_text(put, names[i], "x");
        state_tx_rank(rank, names[i], "m", 1);
        state_tx_rank(member, "set", names[i], 1);
        assert_int_equal(commit_freeing(f->s, put, &e), ERR_USAGE);
        assert_int_equal(commit_freeing(f->s, rank, &e), ERR_USAGE);
        assert_int_equal(commit_freeing(f->s, member, &e), ERR_USAGE);
        assert_int_equal(state_get(f->s, names[i], NULL, NULL, &e), ERR_USAGE);
        assert_int_equal(state_count(f->s, names[i], &n, &e), ERR_USAGE);
        assert_int_equal(state_range(f->s, names[i], 0, 1, false, 0, 1, add_member, NULL, &e), ERR_USAGE);
        assert_int_equal(state_read(f->s, names[i], "", 1, add_entry, NULL, &e), ERR_USAGE);
    }
}

static void too_many_operations(struct fixture *f)
{
    struct err e = ERR_INIT;
    struct state_tx *tx = state_tx_new();
    char name[32];

    for (int i = 0; i < STATE_OPS_MAX; i++) {
        snprintf(name, sizeof(name), "n%d", i);
        state_tx_put_text(tx, name, "x");
    }
    assert_ok(state_commit(f->s, tx, &e));
    state_tx_expect(tx, "n0", 1);
    assert_int_equal(commit_freeing(f->s, tx, &e), ERR_LIMIT);
    assert_int_equal(version_of(f->s, "n0"), 1);
    assert_int_equal(version_of(f->s, "n255"), 1);
}

static void too_many_bytes(struct fixture *f)
{
    CLEANUP(freep) uint8_t *big = mem_new(STATE_VALUE_BYTES_MAX);
    struct err e = ERR_INIT;
    struct state_tx *tx = state_tx_new();

    for (size_t sum = 0; sum < STATE_TX_BYTES_MAX; sum += STATE_VALUE_BYTES_MAX)
        state_tx_put(tx, "same", big, STATE_VALUE_BYTES_MAX);
    assert_ok(state_commit(f->s, tx, &e));
    state_tx_append(tx, "stream", "x", 1);
    assert_int_equal(commit_freeing(f->s, tx, &e), ERR_LIMIT);
    assert_entries(f->s, "stream", "", "");
}

static void unsound_operations(struct fixture *f)
{
    static const char *const ids[] = {
        "", "1", "1-", "-1", "1-2-3", "01-2", "a-b", "1-2 ", "99999999999999999999-1", "+1-1"
    };
    struct err e = ERR_INIT;
    struct state_tx *tx = state_tx_new();

    state_tx_rank(tx, "set", "m", NAN);
    assert_int_equal(commit_freeing(f->s, tx, &e), ERR_USAGE);
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        tx = state_tx_new();
        state_tx_drop(tx, "stream", ids[i]);
        assert_int_equal(commit_freeing(f->s, tx, &e), ERR_USAGE);
        if (*ids[i])
            assert_int_equal(state_read(f->s, "stream", ids[i], 1, add_entry, NULL, &e), ERR_USAGE);
    }
    tx = state_tx_new();
    assert_ok(commit_freeing(f->s, tx, &e)); /* nothing to do is done */
}

/* ---- ordered sets ---- */

static void prepare_set(struct fixture *f)
{
    struct err e = ERR_INIT;
    struct state_tx *tx = state_tx_new();

    state_tx_rank(tx, "q", "d", 2);
    state_tx_rank(tx, "q", "b", 1);
    state_tx_rank(tx, "q", "c", 1);
    state_tx_rank(tx, "q", "a", 3);
    state_tx_rank(tx, "q", "e", -4.5);
    assert_ok(commit_freeing(f->s, tx, &e));
}

static const struct range_row {
    double min, max;
    bool descending;
    int64_t skip, limit;
    const char *want;
} range_rows[] = {
    { -INFINITY, INFINITY, false, 0, 100, "e=-4.5 b=1 c=1 d=2 a=3 " },
    { -INFINITY, INFINITY, true, 0, 100, "a=3 d=2 c=1 b=1 e=-4.5 " },
    { 1, 2, false, 0, 100, "b=1 c=1 d=2 " }, /* bounds belong to it */
    { 1, 2, true, 0, 100, "d=2 c=1 b=1 " },
    { 1.5, 1.9, false, 0, 100, "" },
    { 2, 1, false, 0, 100, "" },
    { 2, 1, true, 0, 100, "" },
    { -INFINITY, INFINITY, false, 0, 2, "e=-4.5 b=1 " },
    { -INFINITY, INFINITY, false, 1, 2, "b=1 c=1 " },
    { -INFINITY, INFINITY, false, 4, 2, "a=3 " },
    { -INFINITY, INFINITY, false, 5, 2, "" },
    { -INFINITY, INFINITY, false, INT64_MAX, 2, "" },
    { -INFINITY, INFINITY, true, 1, 2, "d=2 c=1 " },
    { -INFINITY, INFINITY, true, 4, 2, "e=-4.5 " },
    { -INFINITY, INFINITY, false, 0, 0, "" },
    { INFINITY, INFINITY, false, 0, 9, "" },
};

static void ranges(struct fixture *f)
{
    prepare_set(f);
    for (size_t i = 0; i < ARRAY_LEN(range_rows); i++) {
        const struct range_row *r = &range_rows[i];
        assert_range(f->s, "q", r->min, r->max, r->descending, r->skip, r->limit, r->want);
    }
    assert_range(f->s, "no-such-set", -INFINITY, INFINITY, false, 0, 9, "");
}

static void bad_ranges(struct fixture *f)
{
    struct err e = ERR_INIT;

    assert_int_equal(state_range(f->s, "q", NAN, 1, false, 0, 1, add_member, NULL, &e), ERR_USAGE);
    assert_int_equal(state_range(f->s, "q", 0, NAN, false, 0, 1, add_member, NULL, &e), ERR_USAGE);
    assert_int_equal(state_range(f->s, "q", 0, 1, false, -1, 1, add_member, NULL, &e), ERR_USAGE);
    assert_int_equal(state_range(f->s, "q", 0, 1, false, 0, -1, add_member, NULL, &e), ERR_USAGE);
    assert_int_equal(state_range(f->s, "q", 0, 1, false, 0, STATE_PAGE_MAX + 1, add_member, NULL, &e),
                     ERR_LIMIT);
    assert_ok(state_range(f->s, "q", 0, 1, false, 0, STATE_PAGE_MAX, add_member, NULL, &e));
}

static void members_move_and_go(struct fixture *f)
{
    struct err e = ERR_INIT;
    int64_t n = -1;
    struct state_tx *tx = state_tx_new();

    prepare_set(f);
    state_tx_rank(tx, "q", "b", 10);
    state_tx_rank(tx, "q", "a", 3); /* stays */
    state_tx_unrank(tx, "q", "d");
    state_tx_unrank(tx, "q", "never-there");
    state_tx_unrank(tx, "no-such-set", "a");
    assert_ok(commit_freeing(f->s, tx, &e));
    assert_range(f->s, "q", -INFINITY, INFINITY, false, 0, 100, "e=-4.5 c=1 a=3 b=10 ");
    assert_ok(state_count(f->s, "q", &n, &e));
    assert_int_equal(n, 4);
    assert_ok(state_count(f->s, "no-such-set", &n, &e));
    assert_int_equal(n, 0);
}

static enum err_code keep_score(void *context, const char *member, double score, struct err *e)
{
    (void)member, (void)e;
    *(double *)context = score;
    return OK;
}

static void scores_are_exact(struct fixture *f)
{
    static const double scores[] = { 0.1,      1.0 / 3,  -1e300, 5e-324, 9007199254740993.0, 1795344000123.0,
                                     INFINITY, -INFINITY };

    for (size_t i = 0; i < ARRAY_LEN(scores); i++) {
        struct err e = ERR_INIT;
        double got = 0;
        struct state_tx *tx = state_tx_new();
        state_tx_rank(tx, "q", "m", scores[i]);
        assert_ok(commit_freeing(f->s, tx, &e));
        assert_ok(state_range(f->s, "q", scores[i], scores[i], false, 0, 1, keep_score, &got, &e));
        assert_memory_equal(&got, &scores[i], sizeof(got));
    }
}

struct visit {
    struct fixture *f;
    int seen;
};

static enum err_code stop_at_second(void *context, const char *member, double score, struct err *e)
{
    struct visit *v = context;

    (void)score;
    put_text(v->f->s, member, "seen"); /* the handle may be used */
    return ++v->seen == 2 ? err_set(e, ERR_CANCELED, "enough") : OK;
}

static enum err_code stop_at_entry(void *context, const char *id, const void *data, size_t n, struct err *e)
{
    (void)data, (void)n;
    return stop_at_second(context, id, 0, e);
}

static void reading_can_be_ended(struct fixture *f)
{
    struct err e = ERR_INIT;
    struct visit sets = { f, 0 }, streams = { f, 0 };

    prepare_set(f);
    assert_int_equal(state_range(f->s, "q", 0, 9, false, 0, 9, stop_at_second, &sets, &e), ERR_CANCELED);
    assert_int_equal(sets.seen, 2);
    assert_value(f->s, "c", "seen");
    for (int i = 0; i < 3; i++)
        append_text(f->s, "stream", "x");
    assert_int_equal(state_read(f->s, "stream", "", 9, stop_at_entry, &streams, &e), ERR_CANCELED);
    assert_int_equal(streams.seen, 2);
}

static const struct row rows[] = {
    { "where there is no value, it is not found, at version 0", nothing_there },
    { "a value comes back as it was put, at version 1", value_comes_back },
    { "a value may hold any bytes, and none", any_bytes },
    { "get adds to the buffer, and leaves it alone where the value does not fit", get_adds },
    { "the largest value fits; one byte more refuses the commit", largest_value },
    { "each write adds one to the version", versions_grow },
    { "a version never comes back for a name, whatever is deleted", versions_never_come_back },
    { "whoever read a value before it was deleted and made anew is in conflict", old_version_after_delete },
    { "an expectation holds for the very version alone", expected_versions },
    { "a conflict names the first mismatch", first_mismatch_is_named },
    { "a commit applies whole", applies_whole },
    { "a commit whose expectation fails changes nothing, wherever it stands", or_not_at_all },
    { "a stale fence refuses before any expectation is looked at, and changes nothing", fence_comes_first },
    { "writes apply in the order given, guards look at what was before", in_the_order_given },
    { "a value, a set and a stream of one name do not meet", names_apart },
    { "names may hold anything but control characters", sound_names },
    { "unsound names are refused everywhere", unsound_names },
    { "the largest number of operations fits; one more refuses the commit", too_many_operations },
    { "the largest commit fits; one byte more is refused", too_many_bytes },
    { "unsound operations refuse the commit; an empty commit is done", unsound_operations },
    { "ranges go by score, then by name; bounds, order, skip and limit hold", ranges },
    { "unsound ranges are refused", bad_ranges },
    { "members move and go, and are counted", members_move_and_go },
    { "scores come back to the bit", scores_are_exact },
    { "a reading ends where its function says so, and it may use the handle", reading_can_be_ended },
};

int main(void)
{
    return run_rows(rows, ARRAY_LEN(rows), 0);
}
