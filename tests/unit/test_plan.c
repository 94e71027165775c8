/* The plan of an epoch: what holds of every one, and one that is known to the byte. */
#include "base/mem.h"
#include "base/rng.h"
#include "core/job/plan.h"
#include "tests/test.h"

#include <stdlib.h>
#include <string.h>

/* ---- properties, over many shapes of data ---- */

static const struct shape {
    const char *name;
    size_t shards;
    uint64_t records_max; /* of a shard; drawn from 0 .. records_max, or all the same */
    bool same;
    uint32_t leaves;
} shapes[] = {
    { "one shard, one leaf", 1, 10, true, 1 },
    { "one shard, many leaves", 1, 1000, true, 64 },
    { "one record a leaf", 1, 8, true, 8 },
    { "one record a leaf, and nearly two", 1, 15, true, 8 },
    { "as many shards as leaves, all alike", 8, 125, true, 8 },
    { "more shards than leaves", 100, 50, false, 8 },
    { "more leaves than shards", 3, 5000, false, 1024 },
    { "many tiny shards, some of them empty", 500, 2, false, 16 },
    { "one record a shard", 64, 1, true, 4 },
    { "uneven shards", 37, 100000, false, 256 },
};

struct epoch {
    uint64_t *records;
    size_t shards;
    uint64_t total;
    struct plan plan;
};

static void epoch_done(struct epoch *x)
{
    free(x->records);
    plan_done(&x->plan);
}

static struct epoch epoch_of(const struct shape *s, int64_t seed, int64_t number)
{
    struct epoch x = { .records = mem_array(s->shards, sizeof(uint64_t)), .shards = s->shards };
    struct err e = ERR_INIT;
    for (size_t i = 0; i < s->shards; i++) {
        x.records[i] = s->same ? s->records_max : rng_below(7, i, s->records_max + 1);
        x.total += x.records[i];
    }
    assert_ok(plan_make(x.records, s->shards, seed, number, s->leaves, &x.plan, &e));
    return x;
}

static void record_is_used_once_or_left_out(void **state)
{
    const struct shape *s = *state;
    CLEANUP(epoch_done) struct epoch x = epoch_of(s, 1, 0);
    CLEANUP(freep) uint64_t *starts = mem_array(x.shards + 1, sizeof(uint64_t));
    for (size_t i = 0; i < x.shards; i++)
        starts[i + 1] = starts[i] + x.records[i];
    CLEANUP(freep) uint8_t *used = mem_array(x.total, 1);
    uint64_t used_count = 0;
    for (uint32_t i = 0; i < x.plan.leaf_start[x.plan.leaves]; i++) {
        const struct plan_segment *seg = &x.plan.segments[i];
        assert_true(seg->shard < x.shards);
        assert_true(seg->count > 0 && seg->first + seg->count <= x.records[seg->shard]);
        for (uint64_t r = 0; r < seg->count; r++) {
            assert_int_equal(used[starts[seg->shard] + seg->first + r]++, 0);
            used_count++;
        }
    }
    assert_int_equal(used_count + x.plan.left_out, x.total);
    assert_true(x.plan.left_out < x.plan.leaves);
}

static void every_leaf_has_the_same_number(void **state)
{
    const struct shape *s = *state;
    CLEANUP(epoch_done) struct epoch x = epoch_of(s, 1, 0);
    assert_int_equal(x.plan.leaf_start[0], 0);
    assert_int_equal(x.plan.records_per_leaf, x.total / s->leaves);
    for (uint32_t leaf = 0; leaf < s->leaves; leaf++) {
        uint64_t sum = 0;
        for (uint32_t i = x.plan.leaf_start[leaf]; i < x.plan.leaf_start[leaf + 1]; i++)
            sum += x.plan.segments[i].count;
        assert_int_equal(sum, x.plan.records_per_leaf);
    }
}

/* No shard is cut more than it must be: by leaves, and once by the start of the ring. */
static void segments_are_few(void **state)
{
    const struct shape *s = *state;
    CLEANUP(epoch_done) struct epoch x = epoch_of(s, 1, 0);
    assert_true(x.plan.leaf_start[s->leaves] <= s->shards + s->leaves);
}

static void same_inputs_give_the_same_plan(void **state)
{
    const struct shape *s = *state;
    CLEANUP(epoch_done) struct epoch x = epoch_of(s, 5, 3);
    CLEANUP(epoch_done) struct epoch y = epoch_of(s, 5, 3);
    char a[65], b[65];
    plan_digest(&x.plan, a);
    plan_digest(&y.plan, b);
    assert_string_equal(a, b);
}

/* ---- what changes it ---- */

static const struct shape hundred = { "", 100, 50, false, 8 };

static void seed_epoch_and_leaves_change_the_plan(void **state)
{
    (void)state;
    struct shape fewer = hundred;
    fewer.leaves = 4;
    CLEANUP(epoch_done) struct epoch base = epoch_of(&hundred, 1, 0);
    CLEANUP(epoch_done) struct epoch epoch = epoch_of(&hundred, 1, 1);
    CLEANUP(epoch_done) struct epoch seed = epoch_of(&hundred, 2, 0);
    CLEANUP(epoch_done) struct epoch leaves = epoch_of(&fewer, 1, 0);
    const struct plan *plans[] = { &base.plan, &epoch.plan, &seed.plan, &leaves.plan };
    char digest[ARRAY_LEN(plans)][65];
    for (size_t i = 0; i < ARRAY_LEN(plans); i++) {
        plan_digest(plans[i], digest[i]);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(digest[i], digest[j]);
    }
    assert_true(base.plan.segments[0].shard != epoch.plan.segments[0].shard ||
                base.plan.segments[1].shard != epoch.plan.segments[1].shard);
}

/* The record that the run of `records` records starts behind: with one shard, all that is left out. */
static uint64_t first_record(const struct plan *p)
{
    return p->segments[0].first;
}

static void one_shard_leaves_out_others_each_epoch(void **state)
{
    (void)state;
    static const struct shape one = { "", 1, 1003, true, 8 };
    enum { EPOCHS = 64 };
    bool left_out_ever[1003] = { false };
    size_t different = 0;
    for (int64_t n = 0; n < EPOCHS; n++) {
        CLEANUP(epoch_done) struct epoch x = epoch_of(&one, 1, n);
        assert_int_equal(x.plan.left_out, 3);
        for (uint64_t i = 1; i <= 3; i++)
            left_out_ever[(first_record(&x.plan) + 1003 - i) % 1003] = true;
    }
    for (size_t i = 0; i < ARRAY_LEN(left_out_ever); i++)
        different += left_out_ever[i];
    assert_true(different > 2 * EPOCHS);
}

/* ---- one plan by hand ---- */

/* These two were computed apart from this code, in Python, from the formulas in base/rng.h and plan.h. */
static void small_plan_is_known(void **state)
{
    (void)state;
    static const uint64_t records[] = { 5, 0, 7, 6 };
    CLEANUP(plan_done) struct plan p = { .segments = NULL };
    CLEANUP(buf_done) struct buf text = BUF_INIT(4096);
    struct err e = ERR_INIT;
    char digest[65];
    assert_ok(plan_make(records, ARRAY_LEN(records), 1, 2, 4, &p, &e));
    CLEANUP(json_donep) json_t *j = plan_to_json(&p);
    assert_ok(json_canonical(j, &text, &e));
    assert_string_equal(buf_text(&text),
                        "{\"epoch\":2,\"leaves\":[[[3,4,2],[2,0,2]],[[2,2,4]],[[2,6,1],"
                        "[0,0,3]],[[0,3,2],[3,0,2]]],\"left_out\":2,\"records_per_leaf\":4,\"seed\":1}");
    plan_digest(&p, digest);
    assert_string_equal(digest, "3d46a8917edfebf0496c3e18d2a612d3c34c5a11b1ef91cb48d90d554c37d871");
}

static void large_plan_is_known(void **state)
{
    (void)state;
    static const struct shape large = { "", 65536, 1000, false, 1024 };
    CLEANUP(epoch_done) struct epoch x = epoch_of(&large, 42, 7);
    char digest[65];
    plan_digest(&x.plan, digest);
    assert_string_equal(digest, "e6e2826a227da73a4ad81dc218b032e5ca3c147ab4ad37f1fcbb20471440f117");
}

/* ---- a dataset's plan ---- */

static void holdout_is_left_to_evaluation(void **state)
{
    (void)state;
    struct dataset_shard shards[3];
    memset(shards, 0, sizeof(shards));
    shards[0].records = 10;
    shards[1].records = 1;
    shards[2].records = 25;
    const struct dataset d = { .name = "d", .shards = shards, .shard_count = 3 };
    CLEANUP(plan_done) struct plan p = { .segments = NULL };
    struct err e = ERR_INIT;
    const struct plan_rule rule = { .holdout = 0.2, .seed = 1, .leaves = 2 };
    assert_ok(plan_for_dataset(&d, &rule, 0, &p, &e));
    assert_int_equal(p.records_per_leaf * 2 + p.left_out, 8 + 1 + 20);
    static const uint64_t ends[] = { 8, 1, 20 };
    for (uint32_t i = 0; i < p.leaf_start[2]; i++)
        assert_true(p.segments[i].first + p.segments[i].count <= ends[p.segments[i].shard]);
}

static void plan_too_small_names_the_dataset(void **state)
{
    (void)state;
    struct dataset_shard shard;
    memset(&shard, 0, sizeof(shard));
    shard.records = 7;
    const struct dataset d = { .name = "tiny", .shards = &shard, .shard_count = 1 };
    struct plan p = { .seed = 77 };
    struct err e = ERR_INIT;
    const struct plan_rule rule = { .seed = 1, .leaves = 8 }, of_tokens = { .context = 3, .leaves = 4 };
    assert_int_equal(plan_for_dataset(&d, &rule, 0, &p, &e), ERR_USAGE);
    assert_string_equal(
        e.text, "plan epoch 0 of dataset 'tiny': 7 training records cannot be dealt to 8 leaves: lower "
                "train.leaves");
    err_clear(&e);
    assert_int_equal(plan_for_dataset(&d, &of_tokens, 0, &p, &e), ERR_USAGE);
    assert_string_equal(e.text, "plan epoch 0 of dataset 'tiny': in sequences of 3 tokens (a smaller "
                                "model.context makes more): 2 training records cannot be dealt "
                                "to 4 leaves: lower train.leaves");
    assert_int_equal(p.seed, 77);
}

static void sequences_take_a_token_more_than_they_read(void **state)
{
    (void)state;
    static const struct {
        uint64_t records, context, want;
    } rows[] = { { 0, 0, 0 }, { 7, 0, 7 }, { 0, 4, 0 }, { 1, 1, 0 }, { 2, 1, 1 },
                 { 8, 4, 1 }, { 9, 4, 2 }, { 4, 4, 0 }, { 5, 4, 1 }, { UINT64_MAX, 1, UINT64_MAX - 1 } };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(dataset_examples(rows[i].records, rows[i].context), rows[i].want);
}

/* ---- what is refused ---- */

static void senseless_plans_are_refused(void **state)
{
    (void)state;
    static const uint64_t some[] = { 8, 8 }, none[] = { 0, 0 }, huge[] = { DATASET_RECORDS_MAX, 1 },
                          wrap[] = { UINT64_MAX, 9 };
    static const struct {
        const uint64_t *records;
        size_t shards;
        int64_t epoch;
        uint32_t leaves;
        enum err_code want;
    } cases[] = {
        { some, 2, 0, 16, OK },        { some, 2, 0, 17, ERR_USAGE },   { some, 2, 0, 0, ERR_USAGE },
        { some, 2, -1, 1, ERR_USAGE }, { some, 0, 0, 1, ERR_USAGE },    { NULL, 0, 0, 1, ERR_USAGE },
        { none, 2, 0, 1, ERR_USAGE },  { huge, 1, 0, 1, OK },           { huge, 2, 0, 1, ERR_LIMIT },
        { wrap, 2, 0, 1, ERR_LIMIT },  { some, 2, 0, 1025, ERR_LIMIT }, { some, 65537, 0, 1, ERR_LIMIT },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP(plan_done) struct plan p = { .segments = NULL };
        struct err e = ERR_INIT;
        assert_int_equal(plan_make(cases[i].records, cases[i].shards, 1, cases[i].epoch, cases[i].leaves, &p,
                                   &e),
                         cases[i].want);
    }
}

int main(void)
{
    static const struct {
        const char *name;
        CMUnitTestFunction test;
    } properties[] = {
        { "each record is used once or left out", record_is_used_once_or_left_out },
        { "every leaf has the same number", every_leaf_has_the_same_number },
        { "segments are few", segments_are_few },
        { "the same inputs give the same plan", same_inputs_give_the_same_plan },
    };
    static const struct CMUnitTest singles[] = {
        cmocka_unit_test(seed_epoch_and_leaves_change_the_plan),
        cmocka_unit_test(one_shard_leaves_out_others_each_epoch),
        cmocka_unit_test(small_plan_is_known),
        cmocka_unit_test(large_plan_is_known),
        cmocka_unit_test(holdout_is_left_to_evaluation),
        cmocka_unit_test(sequences_take_a_token_more_than_they_read),
        cmocka_unit_test(plan_too_small_names_the_dataset),
        cmocka_unit_test(senseless_plans_are_refused),
    };
    static struct CMUnitTest tests[ARRAY_LEN(singles) + ARRAY_LEN(properties) * ARRAY_LEN(shapes)];
    size_t n = 0;
    for (size_t p = 0; p < ARRAY_LEN(properties); p++)
        for (size_t i = 0; i < ARRAY_LEN(shapes); i++)
            tests[n++] = (struct CMUnitTest){ mem_printf("%s: %s", properties[p].name, shapes[i].name),
                                              properties[p].test, NULL, NULL, (void *)&shapes[i] };
    for (size_t i = 0; i < ARRAY_LEN(singles); i++)
        tests[n++] = singles[i];
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    for (size_t i = 0; i < ARRAY_LEN(properties) * ARRAY_LEN(shapes); i++)
        free((void *)tests[i].name);
    return failed;
}
