/*
 * The locks of core/store, tried in every place.
 */
#include "base/clock.h"
#include "tests/fake/store_world.h"

#include <stdio.h>

static void a_locked_version_cannot_be_removed(struct world *w)
{
    static const enum store_lock_mode modes[] = { STORE_LOCK_GOVERNANCE, STORE_LOCK_COMPLIANCE };
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        struct err e = ERR_INIT;
        struct store_lock lock = lock_for(modes[i], 3600000);
        struct store_info put = world_put_locked(w, "x", "locked", lock), head;
        assert_int_equal(put.lock.mode, modes[i]);
        assert_true(put.lock.retain_until_ms >= lock.retain_until_ms);
        assert_true(put.lock.retain_until_ms < lock.retain_until_ms + 1000);
        assert_int_equal(store_delete(w->store, world_key(w, "x"), put.version, &e), ERR_DENIED);
        err_clear(&e);
        assert_ok(store_delete(w->store, world_key(w, "x"), NULL, &e)); /* hiding is always allowed */
        assert_string_equal(world_text(w, "x", put.version), "locked");
        world_put(w, "x", "newer");
        assert_string_equal(world_text(w, "x", put.version), "locked");
        assert_ok(store_head(w->store, world_key(w, "x"), put.version, &head, &e));
        assert_int_equal(head.lock.mode, put.lock.mode);
        assert_int_equal(head.lock.retain_until_ms, put.lock.retain_until_ms);
    }
}

static void a_lock_is_extended_but_not_shortened(struct world *w)
{
    struct err e = ERR_INIT;
    struct store_info put = world_put_locked(w, "x", "locked", lock_for(STORE_LOCK_COMPLIANCE, 3600000)),
                      head;
    struct store_lock longer = lock_for(STORE_LOCK_COMPLIANCE, 7200000),
                      shorter = lock_for(STORE_LOCK_COMPLIANCE, 60000);
    struct store_lock weaker = lock_for(STORE_LOCK_GOVERNANCE, 7200000), none = { .mode = STORE_LOCK_NONE };
    assert_int_equal(store_set_lock(w->store, world_key(w, "x"), put.version, &shorter, &e), ERR_DENIED);
    assert_int_equal(store_set_lock(w->store, world_key(w, "x"), put.version, &weaker, &e), ERR_DENIED);
    assert_int_equal(store_set_lock(w->store, world_key(w, "x"), put.version, &none, &e), ERR_DENIED);
    err_clear(&e);
    assert_ok(store_set_lock(w->store, world_key(w, "x"), put.version, &longer, &e));
    assert_ok(store_set_lock(w->store, world_key(w, "x"), put.version, &longer, &e));
    assert_ok(store_head(w->store, world_key(w, "x"), put.version, &head, &e));
    assert_true(head.lock.retain_until_ms >= longer.retain_until_ms);
    assert_int_equal(store_set_lock(w->store, world_key(w, "x"), put.version, &shorter, &e), ERR_DENIED);
}

static void a_lock_is_set_on_one_version_later(struct world *w)
{
    struct err e = ERR_INIT;
    struct store_info one = world_put(w, "x", "one"), two = world_put(w, "x", "two");
    struct store_lock lock = lock_for(STORE_LOCK_COMPLIANCE, 3600000);
    assert_ok(store_set_lock(w->store, world_key(w, "x"), one.version, &lock, &e));
    assert_int_equal(store_delete(w->store, world_key(w, "x"), one.version, &e), ERR_DENIED);
    err_clear(&e);
    assert_ok(store_delete(w->store, world_key(w, "x"), two.version, &e));
    assert_string_equal(world_text(w, "x", NULL), "one");
    assert_int_equal(store_set_lock(w->store, world_key(w, "x"), two.version, &lock, &e), ERR_NOT_FOUND);
    assert_int_equal(store_set_lock(w->store, world_key(w, "y"), NULL, &lock, &e), ERR_NOT_FOUND);
    struct store_info three = world_put(w, "x", "three");
    err_clear(&e);
    assert_ok(store_set_lock(w->store, world_key(w, "x"), NULL, &lock, &e)); /* the latest */
    assert_int_equal(store_delete(w->store, world_key(w, "x"), three.version, &e), ERR_DENIED);
}

static void a_legal_hold_stays_until_it_is_lifted(struct world *w)
{
    struct err e = ERR_INIT;
    struct store_lock hold = { .legal_hold = true }, lifted = { .legal_hold = false };
    struct store_info put = world_put_locked(w, "x", "held", hold), head;
    assert_true(put.lock.legal_hold);
    assert_int_equal(store_delete(w->store, world_key(w, "x"), put.version, &e), ERR_DENIED);
    err_clear(&e);
    assert_ok(store_set_lock(w->store, world_key(w, "x"), put.version, &lifted, &e));
    assert_ok(store_head(w->store, world_key(w, "x"), put.version, &head, &e));
    assert_false(head.lock.legal_hold);
    assert_ok(store_set_lock(w->store, world_key(w, "x"), put.version, &hold, &e));
    assert_int_equal(store_delete(w->store, world_key(w, "x"), put.version, &e), ERR_DENIED);
    err_clear(&e);
    assert_ok(store_set_lock(w->store, world_key(w, "x"), put.version, &lifted, &e));
    assert_ok(store_delete(w->store, world_key(w, "x"), put.version, &e));
}

static void a_lock_that_has_ended_holds_nothing(struct world *w)
{
    enum { POLLS = 400, POLL_MS = 20 };
    struct store_info put = world_put_locked(w, "x", "soon free", lock_for(STORE_LOCK_COMPLIANCE, 300));
    struct err e = ERR_INIT;
    int polls = 0;
    while (store_delete(w->store, world_key(w, "x"), put.version, &e) == ERR_DENIED && polls++ < POLLS) {
        err_clear(&e);
        clock_real.sleep_ms(&clock_real, POLL_MS);
    }
    assert_true(polls > 0 && polls < POLLS);
    assert_int_equal(e.code, OK);
    assert_string_equal(world_text(w, "x", put.version), "(not found)");
}

static void malformed_locks_are_refused(struct world *w)
{
    static const struct store_lock locks[] = {
        { .mode = STORE_LOCK_COMPLIANCE, .retain_until_ms = 1000 },
        { .mode = STORE_LOCK_COMPLIANCE },
        { .mode = STORE_LOCK_NONE, .retain_until_ms = 4102444800000 },
        { .mode = 7, .retain_until_ms = 4102444800000 },
    };
    struct err e = ERR_INIT;
    for (size_t i = 0; i < ARRAY_LEN(locks); i++) {
        struct store_put_options options = { .lock = locks[i] };
        assert_int_equal(store_put(w->store, world_key(w, "x"), "x", 1, &options, NULL, &e), ERR_USAGE);
        assert_int_equal(store_set_lock(w->store, world_key(w, "x"), NULL, &locks[i], &e), ERR_USAGE);
    }
}

static void a_bucket_without_object_lock_refuses_locks(struct world *w)
{
    struct err e = ERR_INIT;
    struct store_place plain = w->place;
    struct store_put_options locked = { .lock = lock_for(STORE_LOCK_COMPLIANCE, 3600000) };
    struct store_facts facts;
    struct store_info info;
    CLEANUP(store_closep) struct store *s = NULL;
    snprintf(plain.bucket, sizeof(plain.bucket), "plain-%.50s", w->place.bucket);
    assert_ok(store_make_bucket(&plain, &w->credentials, false, &e));
    assert_ok(store_open(&plain, &w->credentials, &s, &e));
    assert_ok(store_facts(s, &facts, &e));
    assert_true(facts.versioned);
    assert_false(facts.lockable);
    assert_int_equal(store_put(s, "x", "x", 1, &locked, NULL, &e), ERR_DENIED);
    assert_int_equal(store_head(s, "x", NULL, &info, &e), ERR_NOT_FOUND);
    err_clear(&e);
    assert_ok(store_put(s, "x", "x", 1, NULL, NULL, &e));
    assert_int_equal(store_set_lock(s, "x", NULL, &locked.lock, &e), ERR_DENIED);
    assert_int_equal(store_make_bucket(&plain, &w->credentials, true, &e), ERR_CONFLICT);
}

static const struct world_row rows[] = {
    { "a locked version can be hidden but not removed", a_locked_version_cannot_be_removed, WORLD_ALL },
    { "a lock is extended but not shortened, weakened or dropped", a_lock_is_extended_but_not_shortened,
      WORLD_ALL },
    { "a lock set later holds for that version alone", a_lock_is_set_on_one_version_later, WORLD_ALL },
    { "a legal hold stays until it is lifted", a_legal_hold_stays_until_it_is_lifted, WORLD_ALL },
    { "a lock that has ended holds nothing", a_lock_that_has_ended_holds_nothing, WORLD_ALL },
    { "malformed locks are refused", malformed_locks_are_refused, WORLD_ALL },
    { "a bucket without object lock refuses locks", a_bucket_without_object_lock_refuses_locks, WORLD_KEPT },
};

int main(void)
{
    return world_run("store locks", rows, ARRAY_LEN(rows));
}
