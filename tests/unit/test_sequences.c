/* Token shards as a language model reads them: numbers, sequences, documents; through shards and loader. */
#include "tests/test.h"

#include "base/mem.h"
#include "core/crypto/crypto.h"
#include "trainer/loader.h"
#include "trainer/sequences.h"

#include <stdio.h>
#include <string.h>

static void numbers_are_little_endian(void **state)
{
    (void)state;
    static const uint8_t bytes[] = { 0x01, 0x00, 0xff, 0x02, 0x00, 0x01, 0x00, 0x00 };
    struct err e = ERR_INIT;
    int32_t out[4];
    assert_ok(sequence_tokens(bytes, 4, 2, 1000, out, &e));
    assert_int_equal(out[0], 1);
    assert_int_equal(out[1], 0x2ff);
    assert_int_equal(out[2], 256);
    assert_int_equal(out[3], 0);
    assert_ok(sequence_tokens(bytes, 2, 4, (size_t)0x02ff0001 + 1, out, &e));
    assert_int_equal(out[0], 0x02ff0001);
    assert_int_equal(out[1], 256);
}

static void a_token_that_there_is_not_is_named(void **state)
{
    (void)state;
    static const uint8_t bytes[] = { 0, 0, 7, 0, 0xff, 0xff, 0xff, 0xff };
    struct err e = ERR_INIT;
    int32_t out[2];
    assert_int_equal(sequence_tokens(bytes, 2, 2, 7, out, &e), ERR_CORRUPT);
    assert_string_equal(e.text, "token 1 is number 7, and there are 7");
    err_clear(&e);
    assert_int_equal(sequence_tokens(bytes + 4, 1, 4, 1 << 18, out, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.text, "4294967295"));
}

static void documents_begin_with_the_end_before_them(void **state)
{
    (void)state;
    enum { END = 9, T = 4 };
    static const int32_t text[] = { 1, 2, END, 3, END, END, 4, 5, 6 };
    static const struct {
        int64_t end;
        int32_t starts[2][T];
    } rows[] = {
        { END, { { 0, 0, 2, 2 }, { 0, 1, 1, 1 } } },
        { -1, { { 0, 0, 0, 0 }, { 0, 0, 0, 0 } } },
    };
    for (size_t r = 0; r < ARRAY_LEN(rows); r++)
        for (size_t i = 0; i < 2; i++) {
            int32_t tokens[T], labels[T], starts[T];
            sequence_take(text, i, T, rows[r].end, tokens, labels, starts);
            assert_memory_equal(tokens, text + i * T, sizeof(tokens));
            assert_memory_equal(labels, text + i * T + 1, sizeof(labels));
            assert_memory_equal(starts, rows[r].starts[i], sizeof(starts));
        }
}

/* ---- through shards and loader ---- */

enum { SHARDS = 3, TOKENS = 47, CONTEXT = 4, LEAVES = 2, SEQUENCES = 11 /* of a shard */ };

struct setup {
    struct store *store;
    struct dataset d;
    struct spec_data spec;
    struct shards *shards;
};

/* Token t of shard s is 100 s + t. */
static void put_shard(struct setup *s, size_t i, size_t tokens)
{
    struct err e = ERR_INIT;
    struct dataset_shard *shard = &s->d.shards[i];
    struct store_info info;
    uint8_t bytes[2 * TOKENS];

    for (size_t t = 0; t < tokens; t++) {
        bytes[2 * t] = (uint8_t)((100 * i + t) & 0xff);
        bytes[2 * t + 1] = (uint8_t)((100 * i + t) >> 8);
    }
    snprintf(shard->key, sizeof(shard->key), "d/shard-%zu.tokens", i);
    assert_ok(store_put(s->store, shard->key, bytes, 2 * tokens, NULL, &info, &e));
    memcpy(shard->version, info.version, sizeof(shard->version));
    shard->bytes = 2 * tokens;
    shard->records = tokens;
    sha256_hex(bytes, 2 * tokens, shard->sha256);
}

static int setup(void **state)
{
    struct err e = ERR_INIT;
    struct setup *s = mem_new(sizeof(*s));
    struct store_place place = { .kind = STORE_MEM, .bucket = "data", .region = "eu" };

    assert_ok(store_open(&place, NULL, &s->store, &e));
    s->d = (struct dataset){ .format = "tokens", .token_bytes = 2, .shard_count = SHARDS };
    s->d.shards = mem_array(SHARDS, sizeof(*s->d.shards));
    for (size_t i = 0; i < SHARDS; i++)
        put_shard(s, i, TOKENS);
    s->shards = shards_new(s->store, &s->d, &s->spec, 1 << 20);
    shards_set_vocabulary(s->shards, 300);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct setup *s = *state;
    shards_free(s->shards);
    dataset_done(&s->d);
    store_close(s->store);
    free(s);
    return 0;
}

static void an_epoch_reads_each_sequence_once(void **state)
{
    struct setup *s = *state;
    struct err e = ERR_INIT;
    CLEANUP(loader_closep) struct loader *l = NULL;
    const struct loader_config config = {
        .seed = 5, .leaves = LEAVES, .own = { 0, LEAVES }, .leaf_batch = 3, .holdout = 0.2, .context = CONTEXT
    };
    assert_ok(loader_open(&config, &s->d, s->shards, &l, &e));
    assert_int_equal(loader_steps_per_epoch(l), 5); /* 9 of 11 a shard, 27; 13 a leaf, 3 a step */
    for (int64_t epoch = 0; epoch < 2; epoch++) {
        int seen[SHARDS][SEQUENCES] = { 0 }, sum = 0;
        for (int64_t i = 1; i <= 5; i++) {
            const struct batch *b;
            assert_ok(loader_step(l, epoch * 5 + i, &b, &e));
            for (size_t leaf = 0; leaf < LEAVES; leaf++)
                for (size_t n = 0; n < b[leaf].n; n++) {
                    const int32_t *t = b[leaf].tokens + n * CONTEXT, *labels = b[leaf].labels + n * CONTEXT;
                    assert_int_equal(b[leaf].length, CONTEXT);
                    assert_int_equal(t[0] % 100 % CONTEXT, 0);
                    for (int k = 0; k < CONTEXT; k++) {
                        assert_int_equal(t[k], t[0] + k);
                        assert_int_equal(labels[k], t[k] + 1);
                    }
                    seen[t[0] / 100][t[0] % 100 / CONTEXT]++;
                }
        }
        for (size_t shard = 0; shard < SHARDS; shard++)
            for (size_t n = 0; n < SEQUENCES; n++) {
                assert_true(seen[shard][n] <= (n < 9)); /* the tail is held out */
                sum += seen[shard][n];
            }
        assert_int_equal(sum, 26); /* one of 27 is left over */
    }
}

static void a_token_outside_the_vocabulary_stops(void **state)
{
    struct setup *s = *state;
    struct err e = ERR_INIT;
    struct shard_tokens t;
    shards_set_vocabulary(s->shards, 200);
    assert_ok(shards_tokens(s->shards, 1, &t, &e));
    assert_int_equal(t.count, TOKENS);
    assert_int_equal(shards_tokens(s->shards, 2, &t, &e), ERR_CORRUPT);
    assert_string_equal(e.text, "shard d/shard-2.tokens: token 0 is number 200, and there are 200");
}

static void a_shard_of_another_length_is_corrupt(void **state)
{
    struct setup *s = *state;
    struct err e = ERR_INIT;
    struct shard_tokens t;
    s->d.shards[0].records = TOKENS - 1;
    assert_int_equal(shards_tokens(s->shards, 0, &t, &e), ERR_CORRUPT);
    assert_string_equal(e.text, "shard d/shard-0.tokens: 94 bytes are not the 46 tokens of its manifest");
}

static void what_does_not_fit_is_read_again(void **state)
{
    struct setup *s = *state;
    struct err e = ERR_INIT;
    CLEANUP(shards_freep) struct shards *small = shards_new(s->store, &s->d, &s->spec, 4 * TOKENS);
    struct shard_tokens t;
    shards_set_vocabulary(small, 300);
    for (size_t round = 0; round < 2; round++)
        for (size_t i = 0; i < SHARDS; i++) {
            assert_ok(shards_tokens(small, i, &t, &e));
            assert_int_equal(t.tokens[3], (int)(100 * i + 3));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_little_endian),
        cmocka_unit_test(a_token_that_there_is_not_is_named),
        cmocka_unit_test(documents_begin_with_the_end_before_them),
        cmocka_unit_test_setup_teardown(an_epoch_reads_each_sequence_once, setup, teardown),
        cmocka_unit_test_setup_teardown(a_token_outside_the_vocabulary_stops, setup, teardown),
        cmocka_unit_test_setup_teardown(a_shard_of_another_length_is_corrupt, setup, teardown),
        cmocka_unit_test_setup_teardown(what_does_not_fit_is_read_again, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
