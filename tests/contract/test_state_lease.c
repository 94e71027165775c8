/*
 * The contract of core/state/lease.h: who holds a lease, for how long, and whose commits pass. Rows that let
 * time pass turn the hands of the clock on mem; on Redis they wait, with short leases.
 */
#include "tests/contract/state_rows.h"

enum { LONG_MS = 60000, SHORT_MS = 150 };

static struct lease take(struct state *s, const char *name, const char *owner, int64_t ttl_ms)
{
    struct lease l;
    struct err e = ERR_INIT;

    assert_ok(lease_take(s, name, owner, ttl_ms, &l, &e));
    return l;
}

static enum err_code fenced_put(struct state *s, const char *lease, int64_t token, const char *text)
{
    struct err e = ERR_INIT;
    struct state_tx *tx = state_tx_new();

    state_tx_fence(tx, lease, token);
    state_tx_put_text(tx, "fenced", text);
    return commit_freeing(s, tx, &e);
}

static void one_holder(struct fixture *f)
{
    struct err e = ERR_INIT;
    struct lease a = take(f->s, "leader", "host-a:1", LONG_MS), b = { .token = -7 };

    assert_int_equal(lease_take(f->s, "leader", "host-b:1", LONG_MS, &b, &e), ERR_CONFLICT);
    assert_non_null(strstr(e.text, "host-a:1"));
    assert_int_equal(b.token, -7);
    assert_true(a.token > 0);
    assert_string_equal(a.name, "leader");
    assert_string_equal(a.owner, "host-a:1");
    assert_true(lease_left_ms(&a) > LONG_MS - 5000 && lease_left_ms(&a) <= LONG_MS);
    (void)take(f->s, "another", "host-b:1", LONG_MS);
}

static void same_owner_again(struct fixture *f)
{
    struct err e = ERR_INIT;
    struct lease first = take(f->s, "leader", "a", LONG_MS), second = take(f->s, "leader", "a", LONG_MS);

    assert_true(second.token > first.token);
    assert_int_equal(fenced_put(f->s, "leader", first.token, "x"), ERR_DENIED);
    assert_int_equal(fenced_put(f->s, "leader", second.token, "x"), OK);
    assert_int_equal(lease_renew(f->s, &first, &e), ERR_DENIED);
    assert_ok(lease_renew(f->s, &second, &e));
}

static void expires_by_itself(struct fixture *f)
{
    struct err e = ERR_INIT;
    struct lease a = take(f->s, "leader", "a", SHORT_MS);
    struct lease_facts facts;

    assert_ok(lease_look(f->s, "leader", &facts, &e));
    assert_true(facts.held && facts.left_ms > 0 && facts.left_ms <= SHORT_MS);
    assert_string_equal(facts.owner, "a");
    pass_ms(f, SHORT_MS + 20);
    assert_ok(lease_look(f->s, "leader", &facts, &e));
    assert_false(facts.held);
    assert_int_equal(facts.left_ms, 0);
    assert_string_equal(facts.owner, "");
    assert_int_equal(facts.token, a.token);
    assert_int_equal(lease_left_ms(&a), 0);
    struct lease b = take(f->s, "leader", "b", LONG_MS);
    assert_true(b.token > a.token);
    assert_int_equal(lease_renew(f->s, &a, &e), ERR_DENIED);
    assert_non_null(strstr(e.text, "'b'"));
}

static void renewed_it_lives(struct fixture *f)
{
    struct err e = ERR_INIT;
    struct lease a = take(f->s, "leader", "a", 2 * SHORT_MS), b;

    for (int i = 0; i < 3; i++) {
        pass_ms(f, SHORT_MS);
        assert_ok(lease_renew(f->s, &a, &e));
        assert_true(lease_left_ms(&a) > 0 && lease_left_ms(&a) <= 2 * SHORT_MS);
    }
    assert_int_equal(lease_take(f->s, "leader", "b", LONG_MS, &b, &e), ERR_CONFLICT);
    assert_int_equal(fenced_put(f->s, "leader", a.token, "x"), OK);
}

static void late_but_nobody_came(struct fixture *f)
{
    struct err e = ERR_INIT;
    struct lease a = take(f->s, "leader", "a", SHORT_MS), b;
    int64_t token = a.token;

    pass_ms(f, SHORT_MS + 20);
    assert_int_equal(fenced_put(f->s, "leader", token, "late"), OK);
    a.ttl_ms = LONG_MS;
    assert_ok(lease_renew(f->s, &a, &e));
    assert_int_equal(a.token, token);
    assert_true(lease_left_ms(&a) > 0);
    assert_int_equal(lease_take(f->s, "leader", "b", LONG_MS, &b, &e), ERR_CONFLICT);
}

static void sleeper_is_refused(struct fixture *f)
{
    struct err e = ERR_INIT;
    struct lease a = take(f->s, "leader", "a", SHORT_MS);

    assert_int_equal(fenced_put(f->s, "leader", a.token, "by a"), OK);
    pass_ms(f, SHORT_MS + 20);
    struct lease b = take(f->s, "leader", "b", LONG_MS);
    assert_int_equal(fenced_put(f->s, "leader", b.token, "by b"), OK);
    a.good_until_mono_ms += LONG_MS; /* it has not noticed */
    assert_int_equal(fenced_put(f->s, "leader", a.token, "by a, late"), ERR_DENIED);
    assert_value(f->s, "fenced", "by b");
    assert_int_equal(lease_renew(f->s, &a, &e), ERR_DENIED);
    assert_int_equal(lease_left_ms(&a), 0);
    assert_ok(lease_release(f->s, &a, &e)); /* no longer its own, and does no harm */
    assert_int_equal(fenced_put(f->s, "leader", b.token, "by b again"), OK);
    assert_ok(lease_renew(f->s, &b, &e));
}

static void tokens_grow(struct fixture *f)
{
    struct err e = ERR_INIT;
    int64_t last = 0, now = 0;

    assert_ok(state_now(f->s, &now, &e));
    for (int i = 0; i < 50; i++) { /* faster than the clock */
        struct lease l = take(f->s, "leader", "a", 1);
        assert_true(l.token > last);
        last = l.token;
    }
    pass_ms(f, 5);
    for (int i = 0; i < 9; i++) {
        struct lease l = take(f->s, "leader", i % 2 ? "odd" : "even", 1);
        assert_true(l.token > last);
        assert_true(l.token >= now);
        last = l.token;
        if (i % 3 == 0)
            assert_ok(lease_release(f->s, &l, &e));
        else if (i % 3 == 1)
            assert_ok(lease_break(f->s, "leader", l.token, &e));
        else
            pass_ms(f, 5);
    }
}

static void released_it_is_free(struct fixture *f)
{
    struct err e = ERR_INIT;
    struct lease a = take(f->s, "leader", "a", LONG_MS);
    struct lease_facts facts;
    int64_t token = a.token;

    assert_ok(lease_release(f->s, &a, &e));
    assert_int_equal(lease_left_ms(&a), 0);
    assert_int_equal(fenced_put(f->s, "leader", token, "after release"), ERR_DENIED);
    assert_int_equal(lease_renew(f->s, &a, &e), ERR_DENIED);
    assert_ok(lease_look(f->s, "leader", &facts, &e));
    assert_false(facts.held);
    struct lease b = take(f->s, "leader", "b", LONG_MS);
    assert_true(b.token > token);
    assert_ok(lease_release(f->s, &a, &e));
    assert_ok(lease_look(f->s, "leader", &facts, &e));
    assert_true(facts.held);
    assert_string_equal(facts.owner, "b");
}

static void broken_by_others(struct fixture *f)
{
    struct err e = ERR_INIT;
    struct lease a = take(f->s, "attempt/1", "a", LONG_MS);
    struct lease_facts facts;

    assert_int_equal(lease_break(f->s, "attempt/1", a.token + 1, &e), ERR_CONFLICT);
    assert_int_equal(lease_break(f->s, "attempt/1", a.token - 1, &e), ERR_CONFLICT);
    assert_int_equal(lease_break(f->s, "never-taken", 0, &e), ERR_CONFLICT);
    assert_int_equal(lease_break(f->s, "never-taken", 1, &e), ERR_CONFLICT);
    assert_int_equal(fenced_put(f->s, "attempt/1", a.token, "alive"), OK);
    assert_ok(lease_break(f->s, "attempt/1", a.token, &e));
    assert_int_equal(fenced_put(f->s, "attempt/1", a.token, "from the dead"), ERR_DENIED);
    assert_int_equal(lease_renew(f->s, &a, &e), ERR_DENIED);
    assert_int_equal(lease_break(f->s, "attempt/1", a.token, &e), ERR_CONFLICT);
    assert_value(f->s, "fenced", "alive");
    assert_ok(lease_look(f->s, "attempt/1", &facts, &e));
    assert_false(facts.held);
    assert_true(take(f->s, "attempt/1", "b", LONG_MS).token > a.token);
}

static void expired_can_be_broken(struct fixture *f)
{
    struct err e = ERR_INIT;
    struct lease a = take(f->s, "attempt/1", "a", SHORT_MS);

    pass_ms(f, SHORT_MS + 20);
    assert_ok(lease_break(f->s, "attempt/1", a.token, &e));
    assert_int_equal(fenced_put(f->s, "attempt/1", a.token, "late"), ERR_DENIED);
    assert_int_equal(lease_renew(f->s, &a, &e), ERR_DENIED);
}

static void never_taken(struct fixture *f)
{
    struct err e = ERR_INIT;
    struct lease_facts facts = { .held = true, .token = 7 };
    struct lease none = { .name = "never-taken", .ttl_ms = LONG_MS };

    assert_ok(lease_look(f->s, "never-taken", &facts, &e));
    assert_false(facts.held);
    assert_int_equal(facts.token, 0);
    assert_int_equal(facts.left_ms, 0);
    assert_int_equal(fenced_put(f->s, "never-taken", 0, "x"), ERR_DENIED);
    assert_int_equal(fenced_put(f->s, "never-taken", 1, "x"), ERR_DENIED);
    assert_int_equal(lease_renew(f->s, &none, &e), ERR_DENIED);
    assert_ok(lease_release(f->s, &none, &e));
    assert_ok(lease_look(f->s, "never-taken", &facts, &e));
    assert_int_equal(facts.token, 0);
}

static void several_fences(struct fixture *f)
{
    struct err e = ERR_INIT;
    struct lease a = take(f->s, "leader", "a", LONG_MS), b = take(f->s, "attempt/1", "b", LONG_MS);
    const struct {
        int64_t a, b;
        enum err_code want;
        const char *named;
    } tries[] = {
        { a.token, b.token, OK, "" },
        { a.token - 1, b.token, ERR_DENIED, "leader" },
        { a.token, b.token + 1, ERR_DENIED, "attempt/1" },
    };
    for (size_t i = 0; i < ARRAY_LEN(tries); i++) {
        struct state_tx *tx = state_tx_new();
        err_clear(&e);
        state_tx_fence(tx, "leader", tries[i].a);
        state_tx_put_text(tx, "x", "x");
        state_tx_fence(tx, "attempt/1", tries[i].b);
        assert_int_equal(commit_freeing(f->s, tx, &e), tries[i].want);
        assert_non_null(strstr(e.text, tries[i].named));
    }
    assert_int_equal(version_of(f->s, "x"), 1);
}

static void other_clusters_lease(struct fixture *f)
{
    char other[80];
    snprintf(other, sizeof(other), "o-%s", f->cluster);
    struct state *o = open_state(f, other);
    struct lease here = take(f->s, "leader", "a", LONG_MS);
    struct lease there = take(o, "leader", "b", LONG_MS);

    assert_int_equal(fenced_put(f->s, "leader", here.token, "x"), OK);
    assert_int_equal(fenced_put(o, "leader", there.token, "x"), OK);
    state_close(o);
}

static void seen_by_other_handles(struct fixture *f)
{
    struct err e = ERR_INIT;
    struct lease a = take(f->s, "leader", "a", LONG_MS), b;
    struct state *o = open_state(f, f->cluster);

    assert_int_equal(lease_take(o, "leader", "b", LONG_MS, &b, &e), ERR_CONFLICT);
    assert_int_equal(fenced_put(o, "leader", a.token, "x"), OK);
    assert_ok(lease_break(o, "leader", a.token, &e));
    state_close(o);
    assert_int_equal(lease_renew(f->s, &a, &e), ERR_DENIED);
}

static void malformed(struct fixture *f)
{
    char long_owner[LEASE_OWNER_BYTES + 1];
    struct err e = ERR_INIT;
    struct lease l;
    struct lease_facts facts;

    memset(long_owner, 'o', sizeof(long_owner) - 1);
    long_owner[sizeof(long_owner) - 1] = '\0';
    assert_int_equal(lease_take(f->s, "l", long_owner, LONG_MS, &l, &e), ERR_USAGE);
    assert_int_equal(lease_take(f->s, "l", "", LONG_MS, &l, &e), ERR_USAGE);
    assert_int_equal(lease_take(f->s, "l", "a\nb", LONG_MS, &l, &e), ERR_USAGE);
    assert_int_equal(lease_take(f->s, "", "a", LONG_MS, &l, &e), ERR_USAGE);
    assert_int_equal(lease_take(f->s, "l", "a", 0, &l, &e), ERR_USAGE);
    assert_int_equal(lease_take(f->s, "l", "a", LEASE_TTL_MS_MAX + 1, &l, &e), ERR_USAGE);
    assert_int_equal(lease_look(f->s, "", &facts, &e), ERR_USAGE);
    long_owner[LEASE_OWNER_BYTES - 1] = '\0';
    assert_string_equal(take(f->s, "l", long_owner, LONG_MS).owner, long_owner);
    assert_ok(lease_look(f->s, "l", &facts, &e));
    assert_string_equal(facts.owner, long_owner);
}

static const struct row rows[] = {
    { "one owner holds a lease; the other is told who", one_holder },
    { "the same owner gets it again, with a larger token, and the older one counts no more",
      same_owner_again },
    { "a lease expires by itself, and the next holder's token is larger", expires_by_itself },
    { "a renewed lease lives on", renewed_it_lives },
    { "an expired lease that nobody took still counts, and is renewed", late_but_nobody_came },
    { "a holder that slept past its time is refused, changes nothing, and harms nobody", sleeper_is_refused },
    { "tokens grow through release, break and expiry, and stand above the clock", tokens_grow },
    { "a released lease is free, and its holder's commits are refused", released_it_is_free },
    { "a broken lease ends its holder's commits; a wrong token breaks nothing", broken_by_others },
    { "an expired lease can be broken, which ends it for good", expired_can_be_broken },
    { "a lease never taken has no holder and no token, and fences refuse", never_taken },
    { "of several fences each must hold, and the stale one is named", several_fences },
    { "leases of two clusters do not meet", other_clusters_lease },
    { "other handles see the lease, and may write under its token", seen_by_other_handles },
    { "malformed names, owners and times are refused", malformed },
};

int main(void)
{
    return run_rows(rows, ARRAY_LEN(rows), 0);
}
