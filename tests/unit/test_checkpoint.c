/*
 * Checkpoints: saved whole or not at all, found from the newest down, restored to the bit.
 */
#include "tests/fake/small_job.h"

#include "base/mem.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

static const char folder[] = "credit/261122-k3m9qz/checkpoint/";

static int begin(void **state)
{
    *state = small_job_new();
    return 0;
}

static int end(void **state)
{
    small_job_free(*state);
    return 0;
}

/* ---- helpers ---- */

static enum err_code try_save(struct small_job *j, int64_t step, char key[STORE_KEY_BYTES], struct err *e)
{
    CLEANUP(json_donep) json_t *meta = json_pack("{s:I}", "epoch", (json_int_t)step);
    return small_job_save(j, step, meta, key, e);
}

/* The manifest's key, in one of a few buffers used in turn. */
static const char *save(struct small_job *j, int64_t step)
{
    static char keys[8][STORE_KEY_BYTES];
    static size_t turn;
    struct err e = ERR_INIT;
    char *key = keys[turn++ % ARRAY_LEN(keys)];

    assert_ok(try_save(j, step, key, &e));
    return key;
}

static void note_rejected(void *context, const char *manifest_key, const char *why)
{
    buf_addf(context, "%s: %s\n", manifest_key + strlen(folder), why);
}

struct found {
    bool found;
    struct artifact artifact;
    size_t passed_over;
    struct buf rejected;
};
static void found_done(struct found *f)
{
    artifact_done(&f->artifact);
    buf_done(&f->rejected);
}

static struct found find(struct small_job *j, const char *before)
{
    struct err e = ERR_INIT;
    struct found f = { .rejected = BUF_INIT(1 << 16) };
    assert_ok(checkpoint_find(&j->place, j->comm, before, &f.found, &f.artifact, &f.passed_over,
                              note_rejected, &f.rejected, &e));
    return f;
}

static void assert_found(struct small_job *j, const char *key)
{
    CLEANUP(found_done) struct found f = find(j, "");
    assert_true(f.found);
    assert_string_equal(f.artifact.manifest_key, key);
}

static void overwrite(struct small_job *j, const char *key, const void *data, size_t n)
{
    struct err e = ERR_INIT;
    assert_ok(store_put(j->store, key, data, n, NULL, NULL, &e));
}

static void garble(struct small_job *j, const char *key)
{
    overwrite(j, key, "{}", 2);
}

static enum err_code count_one(void *context, const struct store_info *info, struct err *e)
{
    (void)e;
    if (!info->is_delete_marker)
        ++*(int *)context;
    return OK;
}

static int object_count(struct small_job *j)
{
    struct err e = ERR_INIT;
    int count = 0;
    assert_ok(store_list_versions(j->store, "", count_one, &count, &e));
    return count;
}

static bool is_there(struct small_job *j, const char *key)
{
    struct err e = ERR_INIT;
    struct store_info info;
    return store_head(j->store, key, NULL, &info, &e) == OK;
}

/* ---- saving and restoring ---- */

static void what_is_saved_comes_back_to_the_bit(void **state)
{
    struct small_job *j = *state;
    struct err e = ERR_INIT;

    small_job_train(j, 1, 3);
    uint64_t at_three = small_job_digest(j);
    const char *key = save(j, 3);
    small_job_train(j, 4, 6);
    uint64_t at_six = small_job_digest(j);

    small_job_next_attempt(j);
    assert_true(small_job_digest(j) != at_three);
    CLEANUP(found_done) struct found f = find(j, "");
    assert_true(f.found);
    assert_string_equal(f.artifact.manifest_key, key);
    assert_int_equal(f.artifact.step, 3);
    assert_int_equal(f.artifact.attempt, 1);
    assert_int_equal(json_i64_or(f.artifact.meta, "epoch", 0), 3);
    assert_ok(checkpoint_restore(&j->place, j->comm, &f.artifact, j->step, &e));
    assert_true(small_job_digest(j) == at_three);
    small_job_train(j, 4, 6);
    assert_true(small_job_digest(j) == at_six);
}

static void nothing_saved_is_nothing_found(void **state)
{
    CLEANUP(found_done) struct found f = find(*state, "");
    assert_false(f.found);
    assert_int_equal(f.passed_over, 0);
    assert_string_equal(buf_text(&f.rejected), "");
}

static void the_largest_step_is_the_newest(void **state)
{
    struct small_job *j = *state;
    save(j, 90);
    const char *newest = save(j, 1000);
    save(j, 200);
    assert_found(j, newest);
}

static void of_one_step_the_last_attempt_is_the_newest(void **state)
{
    struct small_job *j = *state;
    save(j, 5);
    small_job_next_attempt(j);
    assert_found(j, save(j, 5));
}

/* ---- what cannot be used ---- */

static void a_garbled_manifest_is_passed_over(void **state)
{
    struct small_job *j = *state;
    const char *good = save(j, 1), *bad = save(j, 2);

    garble(j, bad);
    CLEANUP(found_done) struct found f = find(j, "");
    assert_true(f.found);
    assert_string_equal(f.artifact.manifest_key, good);
    assert_int_equal(f.passed_over, 1);
    assert_non_null(strstr(buf_text(&f.rejected), bad + strlen(folder)));
}

static void what_is_too_large_for_a_manifest_is_passed_over(void **state)
{
    struct small_job *j = *state;
    const char *good = save(j, 1), *bad = save(j, 2);
    size_t n = 33 << 20;
    CLEANUP(freep) char *large = mem_new(n);

    overwrite(j, bad, large, n);
    assert_found(j, good);
}

static void when_none_can_be_used_each_is_reported(void **state)
{
    struct small_job *j = *state;
    garble(j, save(j, 1));
    garble(j, save(j, 2));
    CLEANUP(found_done) struct found f = find(j, "");
    assert_false(f.found);
    assert_int_equal(f.passed_over, 2); /* more than none: the caller must not start anew in silence */
    assert_non_null(strstr(buf_text(&f.rejected), "000000000001-"));
    assert_non_null(strstr(buf_text(&f.rejected), "000000000002-"));
}

/* Restoring the newest fails as corrupt; the one before it works. */
static void falls_back(struct small_job *j, const char *good, const char *why)
{
    struct err e = ERR_INIT;
    CLEANUP(found_done) struct found first = find(j, ""), second = find(j, first.artifact.manifest_key);

    assert_int_equal(checkpoint_restore(&j->place, j->comm, &first.artifact, j->step, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.text, why));
    assert_non_null(strstr(e.text, first.artifact.manifest_key));
    assert_true(second.found);
    assert_string_equal(second.artifact.manifest_key, good);
    err_clear(&e);
    assert_ok(checkpoint_restore(&j->place, j->comm, &second.artifact, j->step, &e));
}

static void a_missing_part_makes_it_fall_back(void **state)
{
    struct small_job *j = *state;
    struct err e = ERR_INIT;
    const char *good = save(j, 1);
    save(j, 2);
    CLEANUP(found_done) struct found f = find(j, "");
    assert_ok(store_delete(j->store, f.artifact.parts[2].key, f.artifact.parts[2].version, &e));
    falls_back(j, good, "part 2");
}

/* Another object's bytes under the name and the version of a part: what a bit flipped on disk looks like. */
static void a_changed_part_makes_it_fall_back(void **state)
{
    struct small_job *j = *state;
    const char *good = save(j, 1), *bad = save(j, 2);
    struct err e = ERR_INIT;
    CLEANUP(found_done) struct found f = find(j, "");
    struct artifact *a = &f.artifact;
    struct store_lock none = { .mode = STORE_LOCK_NONE };

    a->parts[1].sha256[0] = a->parts[1].sha256[0] == '0' ? '1' : '0';
    assert_ok(artifact_commit(j->store, &j->signer, a, &none, &e));
    assert_string_equal(a->manifest_key, bad);
    falls_back(j, good, "part-0001.sealed: its SHA-256");
}

static void a_destroyed_key_is_like_a_changed_part(void **state)
{
    struct small_job *j = *state;
    struct err e = ERR_INIT;
    save(j, 1);
    small_job_next_attempt(j);
    CLEANUP(found_done) struct found f = find(j, "");
    small_job_forget_keys(j);
    assert_int_equal(checkpoint_restore(&j->place, j->comm, &f.artifact, j->step, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.text, "what attempt 1 sealed"));
}

static void one_that_appears_meanwhile_is_not_mistaken(void **state)
{
    struct small_job *j = *state;
    const char *good = save(j, 1), *bad = save(j, 2);
    save(j, 3); /* by an attempt that did not know yet that it was over */
    CLEANUP(found_done) struct found f = find(j, bad);
    assert_true(f.found);
    assert_string_equal(f.artifact.manifest_key, good);
}

static void before_the_oldest_there_is_none(void **state)
{
    struct small_job *j = *state;
    CLEANUP(found_done) struct found f = find(j, save(j, 1));
    assert_false(f.found);
}

/* ---- what is not ours ---- */

static void expect_rejected(struct small_job *j, const char *why)
{
    CLEANUP(found_done) struct found f = find(j, "");
    assert_false(f.found);
    assert_non_null(strstr(buf_text(&f.rejected), why));
}

static void another_jobs_manifest_is_not_ours(void **state)
{
    struct small_job *j = *state;
    struct err e = ERR_INIT;
    char theirs[STORE_KEY_BYTES], here[STORE_KEY_BYTES];
    CLEANUP(buf_done) struct buf text = BUF_INIT(1 << 20);

    memcpy(j->doc.job, "261122-zzzzzz", 14);
    snprintf(theirs, sizeof(theirs), "%s", save(j, 1));
    memcpy(j->doc.job, "261122-k3m9qz", 14);
    assert_ok(store_get(j->store, theirs, NULL, 0, UINT64_MAX, &text, NULL, &e));
    snprintf(here, sizeof(here), "%s%s", folder, strrchr(theirs, '/') + 1);
    overwrite(j, here, text.data, text.len);
    expect_rejected(j, "261122-zzzzzz");
}

static void another_datasets_checkpoint_is_not_ours(void **state)
{
    struct small_job *j = *state;
    save(j, 1);
    j->doc.dataset_digest[0] = 'c';
    expect_rejected(j, "another version of the dataset");
}

static void another_clusters_checkpoint_is_not_ours(void **state)
{
    struct small_job *j = *state;
    save(j, 1);
    j->doc.cluster[0] = 'u';
    expect_rejected(j, "another job or cluster");
}

static void another_cut_is_not_ours(void **state)
{
    struct small_job *j = *state;
    save(j, 1);
    j->doc.spec.train.leaves = 2 * SMALL_LEAVES;
    expect_rejected(j, "4 parts where the job has 8 leaves");
}

static void anothers_signature_is_not_ours(void **state)
{
    struct small_job *j = *state;
    struct err e = ERR_INIT;
    CLEANUP(secret_freep) struct secret *seed = secret_random(32);
    save(j, 1);
    signer_done(&j->signer);
    assert_ok(signer_from_seed(seed, &j->signer, &e));
    expect_rejected(j, "no signature by a key that we trust");
}

/* ---- when the store is away ---- */

static void a_store_that_is_away_is_never_no_checkpoint(void **state)
{
    struct small_job *j = *state;
    struct store *faulty = store_fault_new(j->store);
    struct buf rejected = BUF_INIT(1 << 16);
    int failures = 0;

    save(j, 1);
    j->place.store = faulty;
    for (int nth = 1;; nth++) {
        struct err e = ERR_INIT;
        struct artifact a = { 0 };
        bool found = false;
        size_t passed_over = 0;
        store_fault_at(faulty, nth, ERR_RETRY, false);
        enum err_code code =
            checkpoint_find(&j->place, j->comm, "", &found, &a, &passed_over, note_rejected, &rejected, &e);
        artifact_done(&a);
        if (code == OK)
            break;
        assert_int_equal(code, ERR_RETRY);
        assert_false(found);
        failures++;
    }
    assert_true(failures >= 2); /* the list, and the manifest */
    assert_int_equal(rejected.len, 0);
    store_close(faulty);
    j->place.store = j->store;
}

/* Whatever call fails, and whether it had its effect or not: afterwards there is a whole checkpoint, the old
 * or the new; and a save that failed for sure leaves nothing behind. */
static void failing_saves(struct small_job *j, bool torn)
{
    struct store *faulty = store_fault_new(j->store);
    uint64_t old_digest, new_digest;
    enum err_code code = ERR_RETRY;

    small_job_train(j, 1, 1);
    old_digest = small_job_digest(j);
    save(j, 1);
    int objects = object_count(j);
    small_job_train(j, 2, 2);
    new_digest = small_job_digest(j);
    j->place.store = faulty;
    for (int nth = 1; code != OK; nth++) {
        struct err e = ERR_INIT, quiet = ERR_INIT;
        char key[STORE_KEY_BYTES] = "";
        store_fault_at(faulty, nth, ERR_RETRY, torn);
        code = try_save(j, 2, key, &e);
        store_fault_at(faulty, 0, OK, false);
        if (code != OK && !torn && nth <= SMALL_LEAVES)
            assert_int_equal(object_count(j), objects);
        CLEANUP(found_done) struct found f = find(j, "");
        assert_true(f.found);
        assert_ok(checkpoint_restore(&j->place, j->comm, &f.artifact, j->step, &quiet));
        assert_true(small_job_digest(j) == (f.artifact.step == 2 ? new_digest : old_digest));
        assert_true(code != OK || f.artifact.step == 2);
        small_job_next_attempt(j);
        small_job_train(j, 1, 2);
    }
    j->place.store = j->store;
    store_close(faulty);
}

static void a_save_that_fails_leaves_the_checkpoint_before_it(void **state)
{
    failing_saves(*state, false);
}

static void a_save_of_unknown_end_is_whole_or_nothing(void **state)
{
    failing_saves(*state, true);
}

/* ---- keeping few ---- */

static void old_ones_go(void **state)
{
    struct small_job *j = *state;
    const char *keys[5];

    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        keys[i] = save(j, (int64_t)i + 1);
    checkpoint_prune(&j->place, keys[4], 3);
    assert_int_equal(object_count(j), 3 * (1 + SMALL_LEAVES)); /* with their parts */
    assert_true(is_there(j, keys[2]) && is_there(j, keys[3]) && is_there(j, keys[4]));
}

static void what_stands_behind_the_saved_one_does_not_push_it_out(void **state)
{
    struct small_job *j = *state;
    const char *good = save(j, 10), *passed_over = save(j, 30);

    garble(j, passed_over);
    small_job_next_attempt(j);
    const char *saved = save(j, 20);
    checkpoint_prune(&j->place, saved, 1);
    assert_true(is_there(j, saved));
    assert_true(is_there(j, passed_over));
    assert_false(is_there(j, good));
    assert_found(j, saved);
}

static void locked_ones_stay(void **state)
{
    struct small_job *j = *state;
    j->doc.spec.checkpoint.lock = STORE_LOCK_COMPLIANCE;
    j->doc.spec.checkpoint.retain_ms = 3600000;
    const char *locked = save(j, 1);
    j->doc.spec.checkpoint.lock = STORE_LOCK_NONE;
    const char *open = save(j, 2), *newest = save(j, 3);

    checkpoint_prune(&j->place, newest, 1);
    assert_true(is_there(j, locked));
    assert_false(is_there(j, open));
    assert_int_equal(object_count(j), 2 * (1 + SMALL_LEAVES));
}

static void what_a_killed_attempt_left_is_swept(void **state)
{
    struct small_job *j = *state;
    struct err e = ERR_INIT;
    const char *whole = save(j, 1), *without = save(j, 2);

    assert_ok(store_delete(j->store, without, NULL, &e)); /* hidden is not enough ... */
    assert_int_equal(checkpoint_sweep(&j->place), 0);     /* ... and nothing of our own attempt is swept */
    CLEANUP(found_done) struct found f = find(j, "");
    assert_string_equal(f.artifact.manifest_key, whole);
    small_job_next_attempt(j);
    overwrite(j, "credit/261122-k3m9qz/checkpoint/000000000002-0001-1795000000500/part-0000.sealed", "x", 1);
    overwrite(j, "credit/261122-k3m9qz/checkpoint/000000000002-0001-1795000000500/part-0001.sealed", "x", 1);
    overwrite(j, "credit/261122-k3m9qz/checkpoint/000000000003-0002-1795000002000/part-0000.sealed", "x", 1);
    overwrite(j, "credit/261122-k3m9qz/model/000000000009-0001-1795000000500/part-0000.sealed", "x", 1);
    overwrite(j, "credit/261122-k3m9qz/checkpoint/notes/part-0000.sealed", "x", 1);
    overwrite(j, "credit/261122-zzzzzz/checkpoint/000000000002-0001-1795000000500/part-0000.sealed", "x", 1);
    int objects = object_count(j);
    assert_int_equal(checkpoint_sweep(&j->place), 3);
    assert_int_equal(object_count(j), objects - 3);
    CLEANUP(found_done) struct found still = find(j, "");
    assert_ok(checkpoint_restore(&j->place, j->comm, &still.artifact, j->step, &e));
}

/* ---- where they go ---- */

static const struct place_row {
    const char *name, *uri, *want; /* NULL: refused */
} place_rows[] = {
    { "a bucket alone is no prefix", "s3://models", "" },
    { "a bucket and a slash is no prefix", "s3://models/", "" },
    { "a prefix loses its last slash", "s3://models/a/b/", "a/b" },
    { "an empty segment is refused", "s3://models/a//b", NULL },
    { "another scheme is refused", "http://models/a", NULL },
    { "no bucket is refused", "s3:///a", NULL },
};

static void prefixes(void **state)
{
    const struct place_row *row = *state;
    struct err e = ERR_INIT;
    char prefix[STORE_KEY_BYTES] = "?";

    if (row->want) {
        assert_ok(checkpoint_prefix(row->uri, prefix, &e));
        assert_string_equal(prefix, row->want);
    } else {
        assert_int_equal(checkpoint_prefix(row->uri, prefix, &e), ERR_USAGE);
        assert_true(text_starts(e.text, "checkpoint.to"));
    }
}

#define ROW(name, fn)                                                                                        \
    {                                                                                                        \
        name, fn, begin, end, NULL                                                                           \
    }
static const struct CMUnitTest rows[] = {
    ROW("what is saved comes back to the bit", what_is_saved_comes_back_to_the_bit),
    ROW("nothing saved is nothing found", nothing_saved_is_nothing_found),
    ROW("the largest step is the newest", the_largest_step_is_the_newest),
    ROW("of one step, the last attempt's is the newest", of_one_step_the_last_attempt_is_the_newest),
    ROW("a garbled manifest is passed over, and reported", a_garbled_manifest_is_passed_over),
    ROW("what is too large for a manifest is passed over", what_is_too_large_for_a_manifest_is_passed_over),
    ROW("when none can be used each is reported", when_none_can_be_used_each_is_reported),
    ROW("a missing part: the one before it", a_missing_part_makes_it_fall_back),
    ROW("a changed part: the one before it", a_changed_part_makes_it_fall_back),
    ROW("a destroyed key is like a changed part", a_destroyed_key_is_like_a_changed_part),
    ROW("one that appears meanwhile is not mistaken for the next",
        one_that_appears_meanwhile_is_not_mistaken),
    ROW("before the oldest there is none", before_the_oldest_there_is_none),
    ROW("another job's manifest is not ours", another_jobs_manifest_is_not_ours),
    ROW("another dataset's checkpoint is not ours", another_datasets_checkpoint_is_not_ours),
    ROW("another cluster's checkpoint is not ours", another_clusters_checkpoint_is_not_ours),
    ROW("another number of leaves is not ours", another_cut_is_not_ours),
    ROW("another's signature is not ours", anothers_signature_is_not_ours),
    ROW("a store that is away is never 'no checkpoint'", a_store_that_is_away_is_never_no_checkpoint),
    ROW("a save that fails leaves the one before it, and no parts",
        a_save_that_fails_leaves_the_checkpoint_before_it),
    ROW("a save of unknown end is whole or nothing", a_save_of_unknown_end_is_whole_or_nothing),
    ROW("old ones go, with their parts", old_ones_go),
    ROW("one that was passed over does not push out a good one",
        what_stands_behind_the_saved_one_does_not_push_it_out),
    ROW("locked ones stay", locked_ones_stay),
    ROW("what a killed attempt left is swept, and nothing else", what_a_killed_attempt_left_is_swept),
};

int main(void)
{
    static struct CMUnitTest places[ARRAY_LEN(place_rows)];
    for (size_t i = 0; i < ARRAY_LEN(place_rows); i++)
        places[i] = (struct CMUnitTest){ place_rows[i].name, prefixes, NULL, NULL, (void *)&place_rows[i] };
    int failed = cmocka_run_group_tests(rows, NULL, NULL);
    return failed + cmocka_run_group_tests(places, NULL, NULL);
}
