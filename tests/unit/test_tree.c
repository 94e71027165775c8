/*
 * The fixed tree, with p ranks played by one process: the same bits for every p, and the slices where they
 * belong.
 */
#include "base/mem.h"
#include "base/rng.h"
#include "tests/test.h"
#include "trainer/tree.h"

#include <math.h>
#include <string.h>

enum { LEAVES = 16, SLICE = 37, COUNT = LEAVES * SLICE };

static float value(size_t leaf, size_t i)
{
    return ldexpf(rng_f32(rng_key(3, leaf), i) - 0.5f, (int)rng_below(rng_key(4, leaf), i, 24));
}

static float sum_of(size_t i, size_t first, size_t count)
{
    if (count == 1)
        return value(first, i);
    volatile float left = sum_of(i, first, count / 2), right = sum_of(i, first + count / 2, count / 2);
    return left + right;
}

/* What one rank has after its own leaves. */
static void sum_own_leaves(struct device *d, int rank, int ranks, float *out)
{
    struct err e = ERR_INIT;
    CLEANUP(tree_closep) struct tree *t = NULL;
    struct slice_range own = leaves_of_rank(rank, ranks, LEAVES);

    assert_ok(tree_open(d, own.count, COUNT, true, &t, &e));
    tree_start(t);
    for (size_t leaf = own.first; leaf < own.first + own.count; leaf++) {
        float *v = tree_next(t);
        for (size_t i = 0; i < COUNT; i++)
            v[i] = value(leaf, i);
        tree_push(t);
    }
    memcpy(out, tree_result(t), COUNT * sizeof(float));
}

/* Recursive halving as comm.c does it, all ranks in one process: [first, first + count) is what a rank still
 * has. */
static void halve(float (*data)[COUNT], int ranks)
{
    static float before[LEAVES][COUNT];
    size_t first[LEAVES] = { 0 }, count = COUNT;

    for (int bit = 1; bit < ranks; bit <<= 1) {
        memcpy(before, data, sizeof(before));
        count /= 2;
        for (int r = 0; r < ranks; r++) {
            first[r] += r & bit ? count : 0;
            for (size_t i = first[r]; i < first[r] + count; i++)
                data[r][i] = before[r][i] + before[r ^ bit][i];
        }
    }
    for (int r = 0; r < ranks; r++) {
        struct slice_range own = slices_of_rank(r, ranks, LEAVES);
        assert_int_equal(own.first * SLICE, first[r]);
        assert_int_equal(own.count * SLICE, count);
    }
}

static void the_sum_has_the_same_bits_on_any_number_of_ranks(void **state)
{
    int ranks = *(const int *)*state;
    static float data[LEAVES][COUNT];
    struct err e = ERR_INIT;
    CLEANUP(device_closep) struct device *d = NULL;
    size_t not_in_sequence = 0;

    assert_ok(device_open("cpu", &d, &e));
    for (int r = 0; r < ranks; r++)
        sum_own_leaves(d, r, ranks, data[r]);
    halve(data, ranks);
    for (size_t i = 0; i < COUNT; i++) {
        float want = sum_of(i, 0, LEAVES), got = data[rank_of_slice(i / SLICE, ranks, LEAVES)][i];
        assert_memory_equal(&got, &want, sizeof(want));
        volatile float in_sequence = 0;
        for (size_t leaf = 0; leaf < LEAVES; leaf++)
            in_sequence = in_sequence + value(leaf, i);
        not_in_sequence += want != in_sequence;
    }
    assert_true(not_in_sequence > COUNT / 10); // else any order would do, and the test says nothing
}

static void every_slice_has_one_owner(void **state)
{
    for (int ranks = 1; ranks <= LEAVES; ranks *= 2) {
        int owners[LEAVES] = { 0 };
        for (int r = 0; r < ranks; r++) {
            struct slice_range own = slices_of_rank(r, ranks, LEAVES);
            for (size_t s = own.first; s < own.first + own.count; s++) {
                owners[s]++;
                assert_int_equal(rank_of_slice(s, ranks, LEAVES), r);
            }
        }
        for (size_t s = 0; s < LEAVES; s++)
            assert_int_equal(owners[s], 1);
    }
    (void)state;
}

/* By hand: rank 1 = 001 keeps an upper half first, so it ends at 100 = 4 of 8. */
static void slices_lie_at_the_reversed_bits(void **state)
{
    const size_t want[] = { 0, 4, 2, 6, 1, 5, 3, 7 };
    for (int r = 0; r < 8; r++)
        assert_int_equal(slices_of_rank(r, 8, 8).first, want[r]);
    assert_int_equal(slices_of_rank(1, 2, 8).first, 4);
    assert_int_equal(slices_of_rank(1, 2, 8).count, 4);
    assert_int_equal(leaves_of_rank(1, 2, 8).first, 4);
    assert_int_equal(leaves_of_rank(3, 4, 8).first, 6);
    (void)state;
}

static void doubles_are_summed_in_the_same_tree(void **state)
{
    const double tiny = 0x1p-53;
    const double values[] = { 1, tiny, tiny, tiny }; // (1 + t) + (t + t) = 1 + 2^-52; from the left: 1
    assert_true(tree_sum_f64(values, 4) == 1 + 0x1p-52);
    assert_true(tree_sum_f64(values, 1) == 1);
    (void)state;
}

static void a_tree_may_be_used_again(void **state)
{
    struct err e = ERR_INIT;
    CLEANUP(device_closep) struct device *d = NULL;
    CLEANUP(tree_closep) struct tree *t = NULL;
    assert_ok(device_open("cpu", &d, &e));
    assert_ok(tree_open(d, 4, 1, true, &t, &e));
    for (int round = 0; round < 2; round++) {
        tree_start(t);
        for (int leaf = 0; leaf < 4; leaf++) {
            *tree_next(t) = (float)(leaf + 1);
            tree_push(t);
        }
        assert_true(*tree_result(t) == 10);
    }
    (void)state;
}

static void the_last_leaf_may_come_in_parts(void **state)
{
    struct err e = ERR_INIT;
    CLEANUP(device_closep) struct device *d = NULL;
    assert_ok(device_open("cpu", &d, &e));
    for (int leaves = 1; leaves <= 8; leaves *= 2) {
        CLEANUP(tree_closep) struct tree *whole = NULL, *parts = NULL;
        enum { N = 10 };
        assert_ok(tree_open(d, (size_t)leaves, N, true, &whole, &e));
        assert_ok(tree_open(d, (size_t)leaves, N, true, &parts, &e));
        for (int round = 0; round < 2; round++) {
            tree_start(whole);
            tree_start(parts);
            for (int leaf = 0; leaf < leaves; leaf++) {
                float *a = tree_next(whole), *b = tree_next(parts);
                for (int i = 0; i < N; i++)
                    a[i] = b[i] = 1.0f / (float)(3 + leaf + i);
                tree_push(whole);
                if (leaf + 1 < leaves)
                    tree_push(parts);
            }
            tree_push_part(parts, 7, 3);
            assert_memory_equal(tree_result_place(parts) + 7, tree_result(whole) + 7, 3 * sizeof(float));
            tree_push_part(parts, 2, 5);
            tree_push_part(parts, 0, 2);
            assert_memory_equal(tree_result(parts), tree_result(whole), N * sizeof(float));
        }
    }
    (void)state;
}

int main(void)
{
    static const int ranks[] = { 1, 2, 4, 8, 16 };
    static const char *const names[] = { "1 rank: the tree's bits", "2 ranks: the tree's bits",
                                         "4 ranks: the tree's bits", "8 ranks: the tree's bits",
                                         "16 ranks: the tree's bits" };
    struct CMUnitTest tests[ARRAY_LEN(ranks) + 5] = {
        cmocka_unit_test(every_slice_has_one_owner),
        cmocka_unit_test(slices_lie_at_the_reversed_bits),
        cmocka_unit_test(doubles_are_summed_in_the_same_tree),
        cmocka_unit_test(a_tree_may_be_used_again),
        cmocka_unit_test(the_last_leaf_may_come_in_parts),
    };
    for (size_t i = 0; i < ARRAY_LEN(ranks); i++)
        tests[5 + i] = (struct CMUnitTest){ names[i], the_sum_has_the_same_bits_on_any_number_of_ranks, NULL,
                                            NULL, (void *)&ranks[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
