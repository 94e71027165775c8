/*
 * What verification knows and trusts, and what looks like tampering and is none. The tampering itself is in
 * test_ledger_tamper.c.
 */
#include "tests/unit/ledger_hands.h"

static void older_writers_remains(void **state)
{
    /* From where token 7 went on although token 8 had opened: behind, at, and beyond token 8's own end. */
    static const struct {
        int64_t late_from, late_to;
    } lates[] = { { 13, 13 }, { 13, 14 }, { 13, 19 } };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lates); i++) {
        struct ledger_small s = small_open();
        const struct ledger_config old_config = small_config("one", 7), new_config = small_config("one", 8);
        struct ledger *old = NULL, *new = NULL;
        struct err e = ERR_INIT;
        assert_ok(ledger_open(&old_config, s.store, &s.signer, &s.clock.base, &old, &e));
        assert_ok(ledger_open(&new_config, s.store, &s.signer, &s.clock.base, &new, &e));
        assert_ok(small_append(new, 13, 14, "job.placed", &e));
        assert_ok(small_append(old, lates[i].late_from, lates[i].late_to, "job.failed", &e));
        assert_ok(small_append(new, 15, 16, "job.placed", &e));
        struct ledger_report r = small_verify(s.store, &s, NULL);
        if (!r.ok)
            fail_msg("%s: %s", r.bad_key, r.why);
        assert_int_equal(r.records, 16);
        assert_int_equal(r.superseded, 1);
        ledger_close(old);
        ledger_close(new);
        new = NULL; /* and a third goes on from the newer one's end */
        const struct ledger_config third = small_config("one", 9);
        assert_ok(ledger_open(&third, s.store, &s.signer, &s.clock.base, &new, &e));
        assert_ok(small_append(new, 17, 17, "job.done", &e));
        ledger_close(new);
        r = small_verify(s.store, &s, NULL);
        assert_true(r.ok);
        assert_int_equal(r.records, 17);
        small_close(&s);
    }
}

static void unfinished_segment(void **state)
{
    struct ledger_small s = small_open();

    (void)state;
    place(&s, "audit/one/segment/000000000013-7.jsonl", "{}\n", 3);
    struct ledger_report r = small_verify(s.store, &s, NULL);
    assert_true(r.ok);
    assert_int_equal(r.records, 12);
    assert_int_equal(r.superseded, 1);
    small_close(&s);
}

static void known_middle(void **state)
{
    struct ledger_small s = small_open();
    struct ledger_head known = { .seq = 0 };
    struct lines l = lines_of(&s, SEGMENT_4);

    (void)state;
    for (size_t i = 0; i < l.count; i++) {
        known.seq = 4 + (int64_t)i;
        sha256_hex(l.line[i], strlen(l.line[i]), known.hash);
        assert_true(small_verify(s.store, &s, &known).ok);
        known.hash[0] = known.hash[0] == '0' ? '1' : '0';
        assert_false(small_verify(s.store, &s, &known).ok);
        free(l.line[i]);
    }
    known.seq = 0; /* nothing is known */
    assert_true(small_verify(s.store, &s, &known).ok);
    small_close(&s);
}

static void keys_that_are_trusted(void **state)
{
    struct ledger_small s = small_open();
    const struct ledger_trust both = small_trust(&s.stranger, &s.signer), none = { .count = 0 };
    const struct ledger_trust stranger = small_trust(&s.stranger, NULL);
    struct ledger_report r;
    struct err e = ERR_INIT;

    (void)state;
    assert_ok(ledger_verify(s.store, "one", "audit/one", &both, NULL, NULL, NULL, &r, &e));
    assert_true(r.ok);
    assert_ok(ledger_verify(s.store, "one", "audit/one", &stranger, NULL, NULL, NULL, &r, &e));
    assert_false(r.ok);
    assert_int_equal(ledger_verify(s.store, "one", "audit/one", &none, NULL, NULL, NULL, &r, &e), ERR_USAGE);
    small_close(&s);
}

/* One byte of one object, each in turn. */
static void every_byte_counts(void **state)
{
    static const char *const keys[] = { SEGMENT_4, HEAD_8, HEAD_12 };
    struct ledger_small s = small_open();

    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(keys); k++) {
        CLEANUP(buf_done) struct buf bytes = BUF_INIT(BYTES_MAX);
        fetch(s.store, keys[k], &bytes);
        for (size_t i = 0; i < bytes.len; i += 7) {
            bytes.data[i] ^= 0x20;
            place(&s, keys[k], bytes.data, bytes.len);
            bytes.data[i] ^= 0x20;
            if (small_verify(s.store, &s, NULL).ok)
                fail_msg("byte %zu of %s may be changed", i, keys[k]);
        }
        place(&s, keys[k], bytes.data, bytes.len);
    }
    assert_true(small_verify(s.store, &s, NULL).ok);
    small_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        { "a deposed writer's late records are superseded, wherever they end", older_writers_remains, NULL,
          NULL, NULL },
        { "a segment without a head does not count", unfinished_segment, NULL, NULL, NULL },
        { "a record known from elsewhere must be in the chain", known_middle, NULL, NULL, NULL },
        { "any trusted key will do, and none is a mistake", keys_that_are_trusted, NULL, NULL, NULL },
        { "no byte may be changed", every_byte_counts, NULL, NULL, NULL },
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
