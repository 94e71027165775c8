/*
 * Keeping few: whole checkpoints go with every version of theirs, second versions of those that stay go too,
 * and never one that a manifest names. Second versions are made as they come about: by a put whose answer was
 * lost.
 */
#include "tests/fake/small_job.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

#define FOLDER "credit/261122-k3m9qz/checkpoint/"

static int begin(void **state)
{
    struct small_job *j = small_job_new();
    j->doc.spec.checkpoint.deadline_ms = 60000; /* time for a second try */
    *state = j;
    return 0;
}

static int end(void **state)
{
    small_job_free(*state);
    return 0;
}

/* ---- helpers ---- */

/* A checkpoint, saved through a store of which the answer to call `lost` is lost (0: none), and which is
 * tried again. The manifest's key, in one of a few buffers used in turn. */
static const char *save(struct small_job *j, int64_t step, int lost)
{
    static const struct store_retry_rule rule = { .tries = 3 };
    static char keys[8][STORE_KEY_BYTES];
    static size_t turn;
    struct store *fault = store_fault_new(j->store), *retry = store_retry_new(fault, &rule, &clock_real);
    CLEANUP(json_donep) json_t *meta = json_pack("{s:I}", "epoch", (json_int_t)step);
    char *key = keys[turn++ % ARRAY_LEN(keys)];
    struct err e = ERR_INIT;

    if (lost)
        store_fault_at(fault, lost, ERR_RETRY, true);
    j->place.store = retry;
    assert_ok(small_job_save(j, step, meta, key, &e));
    j->place.store = j->store;
    store_close(retry);
    return key;
}

struct seen {
    const char *part; /* of a key; "" counts all */
    int count;
    struct store_info newest, oldest;
};
static enum err_code count_one(void *context, const struct store_info *info, struct err *e)
{
    struct seen *s = context;
    (void)e;
    if (!strstr(info->key, s->part))
        return OK;
    if (s->count++ == 0)
        s->newest = *info;
    s->oldest = *info;
    return OK;
}
static struct seen look(struct small_job *j, const char *part)
{
    struct seen s = { .part = part };
    struct err e = ERR_INIT;
    assert_ok(store_list_versions(j->store, "", count_one, &s, &e));
    return s;
}
static int count(struct small_job *j, const char *part)
{
    return look(j, part).count;
}

static const char *part_key(const char *manifest, int part)
{
    static char key[STORE_KEY_BYTES];
    snprintf(key, sizeof(key), "%.*s/part-%04d.sealed", (int)(strlen(manifest) - strlen(".json")), manifest,
             part);
    return key;
}

static void load(struct small_job *j, const char *manifest, struct artifact *out)
{
    struct artifact_trust trust = { .count = 1 };
    struct err e = ERR_INIT;
    memcpy(trust.public_key[0], j->signer.public_key, SIGN_PUBLIC_BYTES);
    assert_ok(artifact_load(j->store, manifest, &trust, out, &e));
}

static void assert_whole(struct small_job *j, const char *manifest)
{
    CLEANUP(artifact_done) struct artifact a = { .parts = NULL };
    struct err e = ERR_INIT;
    load(j, manifest, &a);
    assert_ok(artifact_verify(j->store, attempt_doc_key(&j->doc, a.attempt, a.token), &a, &e));
}

enum { WHOLE = 1 + SMALL_LEAVES };

/* ---- what is there twice ---- */

static void a_second_version_of_a_kept_part_goes(void **state)
{
    struct small_job *j = *state;
    for (int part = 0; part < SMALL_LEAVES; part++) {
        const char *key = save(j, part + 1, part + 1);
        assert_int_equal(count(j, part_key(key, part)), 2);
        checkpoint_prune(&j->place, key, SMALL_LEAVES);
        assert_int_equal(count(j, ""), (part + 1) * WHOLE);
        assert_whole(j, key);
    }
}

/* The answer that came may be that of the first put, where the one that was lost took effect later. */
static void the_version_that_is_named_stays_wherever_it_stands(void **state)
{
    struct small_job *j = *state;
    const char *key = save(j, 1, 0), *part = part_key(key, 2);
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(1 << 20);
    struct err e = ERR_INIT;

    assert_ok(store_get(j->store, part, NULL, 0, UINT64_MAX, &bytes, NULL, &e));
    for (int i = 0; i < 3; i++)
        assert_ok(store_put(j->store, part, bytes.data, bytes.len, NULL, NULL, &e));
    assert_int_equal(count(j, part), 4);
    checkpoint_prune(&j->place, key, 1);
    assert_int_equal(count(j, part), 1);
    assert_whole(j, key);
}

static void of_several_kept_ones_each_is_looked_at(void **state)
{
    struct small_job *j = *state;
    const char *first = save(j, 1, 2);
    small_job_next_attempt(j);
    const char *second = save(j, 2, 3), *newest = save(j, 3, 0);
    checkpoint_prune(&j->place, newest, 3);
    assert_int_equal(count(j, ""), 3 * WHOLE);
    assert_whole(j, first);
    assert_whole(j, second);
}

static void a_locked_one_goes_once_it_is_free(void **state)
{
    struct small_job *j = *state;
    struct store_lock hold = { .legal_hold = true };
    struct err e = ERR_INIT;
    const char *key = save(j, 1, 1), *part = part_key(key, 0);
    const struct store_info second = look(j, part).oldest;

    assert_ok(store_set_lock(j->store, part, second.version, &hold, &e));
    checkpoint_prune(&j->place, key, 1);
    assert_int_equal(count(j, part), 2);
    hold.legal_hold = false;
    assert_ok(store_set_lock(j->store, part, second.version, &hold, &e));
    checkpoint_prune(&j->place, key, 1);
    assert_int_equal(count(j, part), 1);
    assert_whole(j, key);
}

static void locks_hold_both(void **state)
{
    struct small_job *j = *state;
    j->doc.spec.checkpoint.lock = STORE_LOCK_COMPLIANCE;
    j->doc.spec.checkpoint.retain_ms = 3600000;
    const char *old = save(j, 1, 1), *key = save(j, 2, 2);
    checkpoint_prune(&j->place, key, 1);
    assert_int_equal(count(j, ""), 2 * WHOLE + 2);
    assert_whole(j, old);
    assert_whole(j, key);
}

static void where_the_named_version_is_gone_the_other_stays(void **state)
{
    struct small_job *j = *state;
    CLEANUP(artifact_done) struct artifact a = { .parts = NULL };
    struct err e = ERR_INIT;
    const char *key = save(j, 1, 1), *part = part_key(key, 0);

    load(j, key, &a);
    assert_ok(store_put(j->store, part, "x", 1, NULL, NULL, &e)); /* still two that are not named */
    assert_ok(store_delete(j->store, part, a.parts[0].version, &e));
    checkpoint_prune(&j->place, key, 1);
    assert_int_equal(count(j, part), 2);
}

static void of_a_manifest_that_does_not_verify_nothing_is_removed(void **state)
{
    struct small_job *j = *state;
    struct err e = ERR_INIT;
    const char *old = save(j, 1, 1), *key = save(j, 2, 2);
    assert_ok(store_put(j->store, old, "{}", 2, NULL, NULL, &e));
    assert_ok(store_put(j->store, key, "{}", 2, NULL, NULL, &e));
    checkpoint_prune(&j->place, key, 1);
    assert_int_equal(count(j, ""), 2 * WHOLE + 4);
}

static void what_is_no_part_is_not_ours(void **state)
{
    struct small_job *j = *state;
    static const char *const others[] = {
        FOLDER "000000000002-0001-1795000001000/readme",
        FOLDER "000000000001-0001-1795000001000/readme",
        FOLDER "000000000001-0001-17950000010000/part-0000.sealed", /* a longer token */
        FOLDER "notes/part-0000.sealed",
        "credit/261122-zzzzzz/checkpoint/000000000001-0001-1795000001000/part-0000.sealed",
    };
    struct err e = ERR_INIT;
    const char *old = save(j, 1, 0), *key = save(j, 2, 0);

    assert_non_null(strstr(old, "000000000001-0001-1795000001000"));
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        for (int twice = 0; twice < 2; twice++)
            assert_ok(store_put(j->store, others[i], "x", 1, NULL, NULL, &e));
    checkpoint_prune(&j->place, key, 1);
    assert_int_equal(count(j, ""), WHOLE + 2 * (int)ARRAY_LEN(others));
}

/* ---- what goes ---- */

static void an_old_one_goes_with_all_its_versions(void **state)
{
    struct small_job *j = *state;
    struct err e = ERR_INIT;
    char note[STORE_KEY_BYTES];
    const char *old = save(j, 1, SMALL_LEAVES + 1); /* the manifest's answer */
    assert_int_equal(count(j, old), 2);
    const char *older = save(j, 0, 1);

    snprintf(note, sizeof(note), "%.*s.rewrapped-0001", (int)(strlen(old) - strlen(".json")), old);
    for (int twice = 0; twice < 2; twice++)
        assert_ok(store_put(j->store, note, "x", 1, NULL, NULL, &e));
    assert_ok(store_delete(j->store, part_key(older, 1), NULL, &e)); /* hidden: a marker more */
    const char *newest = save(j, 2, 0);
    checkpoint_prune(&j->place, newest, 1);
    assert_int_equal(count(j, ""), WHOLE);
    assert_whole(j, newest);
}

static void a_manifest_that_cannot_go_keeps_its_parts(void **state)
{
    struct small_job *j = *state;
    struct store_lock hold = { .legal_hold = true };
    struct err e = ERR_INIT;
    const char *old = save(j, 1, SMALL_LEAVES + 1);
    const struct store_info first = look(j, old).oldest;

    assert_ok(store_set_lock(j->store, old, first.version, &hold, &e));
    const char *newest = save(j, 2, 0);
    checkpoint_prune(&j->place, newest, 1);
    assert_whole(j, old);
    hold.legal_hold = false;
    assert_ok(store_set_lock(j->store, old, first.version, &hold, &e));
    checkpoint_prune(&j->place, newest, 1);
    assert_int_equal(count(j, ""), WHOLE);
}

/* Whatever call fails: what is kept stays whole, and a later call brings the rest to its end. */
static void failing(struct small_job *j, bool torn)
{
    struct store *fault = store_fault_new(j->store);
    int failures = 0;
    for (int64_t nth = 1;; nth++) {
        const char *old = save(j, nth * 10, (int)(nth % WHOLE) + 1);
        const char *kept = save(j, nth * 10 + 1, 1), *newest = save(j, nth * 10 + 2, 2);
        store_fault_at(fault, nth, nth % 2 ? ERR_RETRY : ERR_DENIED, torn);
        j->place.store = fault;
        checkpoint_prune(&j->place, newest, 2);
        j->place.store = j->store;
        assert_whole(j, kept);
        assert_whole(j, newest);
        const bool all = count(j, FOLDER) == 2 * WHOLE;
        failures += !all;
        store_fault_at(fault, 0, OK, false);
        checkpoint_prune(&j->place, newest, 2);
        /* Parts whose manifest went and that did not themselves wait for the next attempt's sweep. */
        small_job_next_attempt(j);
        (void)checkpoint_sweep(&j->place);
        assert_int_equal(count(j, FOLDER), 2 * WHOLE);
        assert_int_equal(count(j, old), 0);
        if (all && nth > 3 * WHOLE)
            break;
        assert_true(nth < 1000);
    }
    assert_true(failures > WHOLE);
    store_close(fault);
}

static void a_failure_leaves_what_is_kept(void **state)
{
    failing(*state, false);
}

static void a_failure_amid_a_list_does_too(void **state)
{
    failing(*state, true);
}

static void the_oldest_go_first(void **state)
{
    struct small_job *j = *state;
    const char *key = NULL;
    enum { SAVED = 70, A_CALL = 64 };
    for (int i = 1; i <= SAVED; i++)
        key = save(j, i, 0);
    checkpoint_prune(&j->place, key, 1);
    assert_int_equal(count(j, ""), (SAVED - A_CALL) * WHOLE);
    assert_int_equal(count(j, FOLDER "000000000064-"), 0);
    checkpoint_prune(&j->place, key, 1);
    assert_int_equal(count(j, ""), WHOLE);
}

#define ROW(name, fn)                                                                                        \
    {                                                                                                        \
        name, fn, begin, end, NULL                                                                           \
    }
int main(void)
{
    static const struct CMUnitTest rows[] = {
        ROW("a second version of a kept part goes", a_second_version_of_a_kept_part_goes),
        ROW("the version that is named stays, wherever it stands",
            the_version_that_is_named_stays_wherever_it_stands),
        ROW("of several kept ones, each is looked at", of_several_kept_ones_each_is_looked_at),
        ROW("a locked one goes once it is free", a_locked_one_goes_once_it_is_free),
        ROW("locks hold both", locks_hold_both),
        ROW("where the named version is gone, the other stays",
            where_the_named_version_is_gone_the_other_stays),
        ROW("of a manifest that does not verify, nothing is removed",
            of_a_manifest_that_does_not_verify_nothing_is_removed),
        ROW("what is no part is not ours", what_is_no_part_is_not_ours),
        ROW("an old one goes with all its versions", an_old_one_goes_with_all_its_versions),
        ROW("a manifest that cannot go keeps its parts", a_manifest_that_cannot_go_keeps_its_parts),
        ROW("a failure leaves what is kept", a_failure_leaves_what_is_kept),
        ROW("a failure amid a list does, too", a_failure_amid_a_list_does_too),
        ROW("the oldest go first", the_oldest_go_first),
    };
    return cmocka_run_group_tests(rows, NULL, NULL);
}
