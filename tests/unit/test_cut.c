/* Where shards end: every record in one shard, sizes as asked, and boundaries that stay where nothing
 * changed. */
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/rng.h"
#include "runner/cli/cut.h"
#include "runner/cli/stage.h"
#include "tests/test.h"

#include <string.h>

enum { LINES = 20000, EACH = 4096, SHARDS_MAX = 4096 };

/* Lines of 1 to 120 letters that follow from their number. */
static size_t make_line(uint64_t number, char out[128])
{
    size_t n = 1 + (size_t)rng_below(11, number, 120);
    for (size_t i = 0; i < n; i++)
        out[i] = (char)('a' + rng_below(rng_key(12, number), i, 26));
    out[n] = '\n';
    return n + 1;
}

/* The hash of each shard's lines. */
struct shards {
    uint64_t hash[SHARDS_MAX], bytes[SHARDS_MAX];
    size_t count;
};

struct edit {
    uint64_t at; /* line; what happens there: */
    bool insert, remove, change;
};

static void cut_lines(const struct cut_plan *plan, const struct edit *edit, uint64_t lines,
                      struct shards *out)
{
    struct cut c = cut_new(plan);
    uint64_t hash = 0, bytes = 0;

    memset(out, 0, sizeof(*out));
    for (uint64_t i = 0; i < lines; i++) {
        char line[128];
        uint64_t here[2] = { i, UINT64_MAX };
        if (edit && i == edit->at && edit->remove)
            continue;
        if (edit && i == edit->at && edit->change)
            here[0] = i + 1000000;
        if (edit && i == edit->at && edit->insert)
            here[1] = i + 2000000;
        for (int k = 0; k < 2 && here[k] != UINT64_MAX; k++) {
            size_t n = make_line(here[k], line);
            hash = rng_key(hash, here[k]);
            bytes += n;
            if (cut_take(&c, line, n, 1)) {
                assert_true(out->count < SHARDS_MAX);
                out->hash[out->count] = hash;
                out->bytes[out->count++] = bytes;
                hash = bytes = 0;
            }
        }
    }
    if (bytes > 0) {
        out->hash[out->count] = hash;
        out->bytes[out->count++] = bytes;
    }
}

static size_t not_in(const struct shards *now, const struct shards *before)
{
    size_t fresh = 0;
    for (size_t i = 0; i < now->count; i++) {
        bool found = false;
        for (size_t k = 0; k < before->count && !found; k++)
            found = now->hash[i] == before->hash[k];
        fresh += !found;
    }
    return fresh;
}

/* ---- content ---- */

static void sizes_are_about_what_was_asked(void **state)
{
    (void)state;
    static const struct cut_plan plan = { .mode = CUT_CONTENT, .each = EACH };
    struct shards *s = mem_new(sizeof(*s));
    uint64_t all = 0;
    cut_lines(&plan, NULL, LINES, s);
    for (size_t i = 0; i < s->count; i++) {
        all += s->bytes[i];
        assert_true(s->bytes[i] >= EACH / 4 || i + 1 == s->count);
        assert_true(s->bytes[i] < EACH * 4 + 128);
    }
    assert_in_range(all / s->count, EACH * 3 / 4, EACH * 5 / 4);
    free(s);
}

/* One line inserted, removed or changed, anywhere: a few shards differ, all others are the very same. */
static void an_edit_moves_few_boundaries(void **state)
{
    (void)state;
    static const struct cut_plan plan = { .mode = CUT_CONTENT, .each = EACH };
    struct shards *before = mem_new(sizeof(*before)), *now = mem_new(sizeof(*now));
    size_t worst = 0, sum = 0, tries = 0;
    cut_lines(&plan, NULL, LINES, before);
    for (uint64_t at = 0; at < LINES; at += 97)
        for (int kind = 0; kind < 3; kind++) {
            struct edit edit = { .at = at, .insert = kind == 0, .remove = kind == 1, .change = kind == 2 };
            cut_lines(&plan, &edit, LINES, now);
            size_t fresh = not_in(now, before);
            assert_true(fresh > 0 || kind == 1); /* a removed line may have been a shard's first boundary */
            worst = MAX(worst, fresh);
            sum += fresh;
            tries++;
        }
    assert_true(before->count > 200);
    assert_true(worst <= 12);
    assert_true(sum <= tries * 2);
    free(before);
    free(now);
}

static void appended_lines_change_the_end_alone(void **state)
{
    (void)state;
    static const struct cut_plan plan = { .mode = CUT_CONTENT, .each = EACH };
    struct shards *before = mem_new(sizeof(*before)), *now = mem_new(sizeof(*now));
    cut_lines(&plan, NULL, LINES, before);
    cut_lines(&plan, NULL, LINES + 10, now);
    assert_true(not_in(now, before) <= 2);
    for (size_t i = 0; i + 1 < before->count; i++)
        assert_true(before->hash[i] == now->hash[i]);
    free(before);
    free(now);
}

/* Four lines and a blank one: text ends its shards there while they are below twice the size. */
static void text_is_cut_between_paragraphs(void **state)
{
    (void)state;
    static const struct cut_plan plan = { .mode = CUT_CONTENT, .each = EACH, .paragraphs = true };
    struct cut c = cut_new(&plan);
    size_t cuts = 0;
    uint64_t bytes = 0;
    for (uint64_t i = 0; i < LINES; i++) {
        char line[128];
        size_t n = i % 5 == 4 ? 1 : make_line(i, line);
        if (i % 5 == 4)
            line[0] = '\n';
        bytes += n;
        if (!cut_take(&c, line, n, 1))
            continue;
        assert_true(i % 5 == 4 || bytes >= 2 * (uint64_t)EACH);
        cuts++;
        bytes = 0;
    }
    assert_true(cuts > 100);
}

static void a_text_without_paragraphs_is_cut_too(void **state)
{
    (void)state;
    static const struct cut_plan plan = { .mode = CUT_CONTENT, .each = EACH, .paragraphs = true };
    struct shards *s = mem_new(sizeof(*s));
    cut_lines(&plan, NULL, LINES, s);
    for (size_t i = 0; i < s->count; i++)
        assert_true(s->bytes[i] <= EACH * 4 + 128);
    free(s);
}

/* ---- counts ---- */

static void counted_shards_have_their_count(void **state)
{
    (void)state;
    for (uint64_t records = 1; records < 100; records++)
        for (uint64_t each = 1; each < 20; each++) {
            struct cut_plan plan = { .mode = CUT_COUNT, .each = each };
            struct cut c = cut_new(&plan);
            uint64_t left = records, shards = 0;
            while (left > 0) { /* several at once, as tokens come */
                uint64_t n = MIN(MIN(cut_room(&c), left), (uint64_t)7);
                left -= n;
                shards += cut_take(&c, "xxxxxxx", (size_t)n, n);
            }
            assert_int_equal(shards, records / each);
        }
}

static void equal_shards_are_as_many_as_asked(void **state)
{
    (void)state;
    for (uint64_t records = 1; records < 100; records++)
        for (uint64_t shards = 1; shards <= records && shards < 20; shards++) {
            struct cut_plan plan = { .mode = CUT_EQUAL, .records = records, .shards = shards };
            struct cut c = cut_new(&plan);
            uint64_t ended = 0, in_it = 0;
            for (uint64_t i = 0; i < records; i++) {
                in_it++;
                if (cut_take(&c, "x", 1, 1)) {
                    assert_int_equal(in_it, cut_share(records, shards, ended));
                    ended++;
                    in_it = 0;
                }
            }
            assert_int_equal(ended, shards);
        }
}

/* ---- which cut it is ---- */

static void shards_are_equal_but_for_one_record(void **state)
{
    (void)state;
    for (uint64_t records = 1; records < 200; records++)
        for (uint64_t shards = 1; shards <= records && shards < 20; shards++) {
            uint64_t sum = 0, least = records, most = 0;
            for (uint64_t i = 0; i < shards; i++) {
                uint64_t n = cut_share(records, shards, i);
                sum += n;
                least = MIN(least, n);
                most = MAX(most, n);
            }
            assert_int_equal(sum, records);
            assert_true(most - least <= 1 && least > 0);
        }
}

static void the_cut_follows_from_what_is_asked(void **state)
{
    enum { BIG = STAGE_SMALL_BYTES + 1 };
    static const struct {
        const char *name;
        enum records_format format;
        uint64_t records, bytes;
        int64_t shards, shard_records, shard_bytes;
        struct cut_plan want;
    } rows[] = {
        { "a small CSV is cut into 8",
          RECORDS_CSV,
          1000,
          9,
          0,
          0,
          0,
          { .mode = CUT_EQUAL, .records = 1000, .shards = 8 } },
        { "or as many as are asked for",
          RECORDS_CSV,
          1000,
          9,
          3,
          0,
          0,
          { .mode = CUT_EQUAL, .records = 1000, .shards = 3 } },
        { "none is empty", RECORDS_CSV, 5, 9, 0, 0, 0, { .mode = CUT_EQUAL, .records = 5, .shards = 5 } },
        { "a large one by its content",
          RECORDS_CSV,
          1000,
          BIG,
          0,
          0,
          0,
          { .mode = CUT_CONTENT, .each = 16 << 20 } },
        { "unless a number is asked for",
          RECORDS_CSV,
          1000,
          BIG,
          3,
          0,
          0,
          { .mode = CUT_EQUAL, .records = 1000, .shards = 3 } },
        { "records each", RECORDS_CSV, 1000, 9, 0, 100, 0, { .mode = CUT_COUNT, .each = 100 } },
        { "about so many bytes", RECORDS_CSV, 1000, 9, 0, 0, 5000, { .mode = CUT_CONTENT, .each = 5000 } },
        { "text by its paragraphs",
          RECORDS_TEXT,
          10,
          9,
          0,
          0,
          0,
          { .mode = CUT_CONTENT, .each = 16 << 20, .paragraphs = true } },
        { "tokens by their number", RECORDS_TOKENS, 10, 20, 0, 0, 5000, { .mode = CUT_COUNT, .each = 2500 } },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct stage_options o = { .shards = rows[i].shards,
                                   .shard_records = rows[i].shard_records,
                                   .shard_bytes = rows[i].shard_bytes };
        struct stage_facts f = {
            .format = rows[i].format, .records = rows[i].records, .bytes = rows[i].bytes, .token_bytes = 2
        };
        struct cut_plan got = stage_plan(&f, &o);
        const struct cut_plan *want = &rows[i].want;
        if (got.mode != want->mode || got.records != want->records || got.shards != want->shards ||
            got.each != want->each || got.paragraphs != want->paragraphs)
            fail_msg("%s", rows[i].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_about_what_was_asked),
        cmocka_unit_test(an_edit_moves_few_boundaries),
        cmocka_unit_test(appended_lines_change_the_end_alone),
        cmocka_unit_test(text_is_cut_between_paragraphs),
        cmocka_unit_test(a_text_without_paragraphs_is_cut_too),
        cmocka_unit_test(counted_shards_have_their_count),
        cmocka_unit_test(equal_shards_are_as_many_as_asked),
        cmocka_unit_test(shards_are_equal_but_for_one_record),
        cmocka_unit_test(the_cut_follows_from_what_is_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
