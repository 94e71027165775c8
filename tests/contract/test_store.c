/*
 * The contract of core/store, tried in every place: each row runs on dir, mem and s3 unless it names fewer.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "tests/fake/store_world.h"

#include <stdio.h>
#include <string.h>

/* ---- objects ---- */

static void what_is_put_is_what_is_got(struct world *w)
{
    static const size_t sizes[] = { 0, 1, 4096, 300000 };
    struct err e = ERR_INIT;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        CLEANUP(buf_done) struct buf data = BUF_INIT(sizes[i]), got = BUF_INIT(sizes[i] + 5);
        struct store_info put, head, get;
        for (size_t k = 0; k < sizes[i]; k++)
            buf_add_byte(&data, (uint8_t)(k * 31 + i));
        buf_add_text(&got, "front");
        assert_ok(store_put(w->store, world_key(w, "x"), data.data, data.len, NULL, &put, &e));
        assert_ok(store_get(w->store, world_key(w, "x"), NULL, 0, UINT64_MAX, &got, &get, &e));
        assert_ok(store_head(w->store, world_key(w, "x"), NULL, &head, &e));
        assert_int_equal(got.len, sizes[i] + 5);
        assert_memory_equal(got.data, "front", 5); /* what was in the buffer stays in front */
        if (sizes[i])
            assert_memory_equal(got.data + 5, data.data, sizes[i]);
        assert_string_equal(put.key, world_key(w, "x"));
        assert_string_equal(put.version, head.version);
        assert_string_equal(put.version, get.version);
        assert_int_equal(put.bytes, sizes[i]);
        assert_int_equal(head.bytes, sizes[i]);
        assert_int_equal(get.bytes, sizes[i]);
        assert_int_equal(put.modified_ms, head.modified_ms);
        assert_true(head.modified_ms > clock_wall_ms() - 3600000 &&
                    head.modified_ms < clock_wall_ms() + 3600000);
        assert_int_equal(head.lock.mode, STORE_LOCK_NONE);
        assert_true(head.is_latest);
    }
}

static void every_put_makes_a_version(struct world *w)
{
    struct store_info one = world_put(w, "x", "one"), two = world_put(w, "x", "two"),
                      three = world_put(w, "x", "two");
    assert_string_not_equal(one.version, two.version);
    assert_string_not_equal(two.version, three.version);
    assert_string_equal(world_text(w, "x", NULL), "two");
    assert_string_equal(world_text(w, "x", one.version), "one");
    assert_string_equal(world_text(w, "x", three.version), "two");
    struct err e = ERR_INIT;
    struct store_info head;
    assert_ok(store_head(w->store, world_key(w, "x"), one.version, &head, &e));
    assert_string_equal(head.version, one.version);
    assert_string_equal(world_list_versions(w, ""), "x:two x:two x:one");
}

static void a_range_gives_its_bytes(struct world *w)
{
    static const struct {
        uint64_t offset, length;
        const char *want;
    } ranges[] = {
        { 0, UINT64_MAX, "0123456789" },
        { 0, 10, "0123456789" },
        { 0, 1, "0" },
        { 3, 4, "3456" },
        { 9, 1, "9" },
        { 9, 100, "9" },
        { 10, 1, "" },
        { 11, 1, "" },
        { 4, 0, "" },
        { 4, UINT64_MAX, "456789" },
        { UINT64_MAX, UINT64_MAX, "" },
        { 1, UINT64_MAX - 1, "123456789" },
        { UINT64_MAX - 1, 1, "" },
    };
    struct store_info old = world_put(w, "x", "0123456789");
    world_put(w, "x", "other");
    for (size_t i = 0; i < ARRAY_LEN(ranges); i++) {
        CLEANUP(buf_done) struct buf body = BUF_INIT(100);
        struct store_info info;
        struct err e = ERR_INIT;
        assert_ok(store_get(w->store, world_key(w, "x"), old.version, ranges[i].offset, ranges[i].length,
                            &body, &info, &e));
        assert_string_equal(buf_text(&body), ranges[i].want);
        assert_int_equal(info.bytes, 10);
        assert_string_equal(info.version, old.version);
    }
}

static void an_empty_object_has_ranges_too(struct world *w)
{
    struct err e = ERR_INIT;
    CLEANUP(buf_done) struct buf body = BUF_INIT(100);
    struct store_info info;
    world_put(w, "x", "");
    assert_ok(store_get(w->store, world_key(w, "x"), NULL, 0, 5, &body, &info, &e));
    assert_ok(store_get(w->store, world_key(w, "x"), NULL, 7, UINT64_MAX, &body, &info, &e));
    assert_int_equal(body.len, 0);
    assert_int_equal(info.bytes, 0);
}

static void a_small_buffer_is_a_limit(struct world *w)
{
    struct err e = ERR_INIT;
    CLEANUP(buf_done) struct buf body = BUF_INIT(9);
    world_put(w, "x", "0123456789");
    buf_add_text(&body, "ab");
    assert_int_equal(store_get(w->store, world_key(w, "x"), NULL, 0, UINT64_MAX, &body, NULL, &e), ERR_LIMIT);
    assert_string_equal(buf_text(&body), "ab");
    err_clear(&e);
    CLEANUP(buf_done) struct buf fits = BUF_INIT(9);
    buf_add_text(&fits, "ab");
    assert_ok(store_get(w->store, world_key(w, "x"), NULL, 3, UINT64_MAX, &fits, NULL, &e));
    assert_string_equal(buf_text(&fits), "ab3456789");
}

/* ---- many at once ---- */

enum { MANY = 60 };
struct gathered {
    char text[MANY][16];
    size_t count;
    size_t end_after; /* 0: never */
};

static enum err_code gather(void *context, size_t index, struct buf *body, struct err *e)
{
    struct gathered *g = context;
    assert_true(index < MANY && g->text[index][0] == '\0'); /* each once */
    snprintf(g->text[index], sizeof(g->text[index]), "%s", buf_text(body));
    if (++g->count == g->end_after)
        return err_set(e, ERR_CANCELED, "enough");
    return OK;
}

static void many_reads_come_each_once_with_its_own_bytes(struct world *w)
{
    struct store_read reads[MANY];
    struct store_info info[MANY];
    char names[MANY][16], texts[MANY][16];
    struct gathered g = { .count = 0 };
    struct err e = ERR_INIT;
    for (size_t i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof(names[i]), "many-%zu", i);
        snprintf(texts[i], sizeof(texts[i]), "object %zu", i);
        info[i] = world_put(w, names[i], texts[i]);
        /* Every third one from its middle. */
        reads[i] =
            (struct store_read){ info[i].key, info[i].version, i % 3 ? 0 : 7, i % 3 ? strlen(texts[i]) : 2 };
        world_put(w, names[i], "a later version");
    }
    assert_ok(store_get_many(w->store, reads, MANY, gather, &g, &e));
    assert_int_equal(g.count, MANY);
    for (size_t i = 0; i < MANY; i++) {
        char want[16];
        snprintf(want, sizeof(want), "%.*s", (int)reads[i].length, texts[i] + reads[i].offset);
        assert_string_equal(g.text[i], want);
    }
    assert_ok(store_get_many(w->store, reads, 0, gather, &g, &e));
}

static void one_of_many_that_is_not_there_is_told_by_its_key(struct world *w)
{
    struct store_info there = world_put(w, "there", "text");
    char absent[STORE_KEY_BYTES];
    struct gathered g = { .count = 0 };
    struct err e = ERR_INIT;
    snprintf(absent, sizeof(absent), "%s", world_key(w, "absent"));
    const struct store_read reads[] = { { there.key, there.version, 0, 4 }, { absent, NULL, 0, 4 } };
    assert_int_equal(store_get_many(w->store, reads, 2, gather, &g, &e), ERR_NOT_FOUND);
    assert_non_null(strstr(e.text, "absent"));
}

static void who_takes_many_may_end_it(struct world *w)
{
    struct store_info there = world_put(w, "there", "text");
    struct store_read reads[MANY];
    struct gathered g = { .end_after = 5 };
    struct err e = ERR_INIT;
    for (size_t i = 0; i < MANY; i++)
        reads[i] = (struct store_read){ there.key, there.version, 0, 4 };
    assert_int_equal(store_get_many(w->store, reads, MANY, gather, &g, &e), ERR_CANCELED);
    assert_string_equal(e.text, "enough");
    assert_int_equal(g.count, 5);
    assert_string_equal(world_text(w, "there", NULL), "text"); /* the handle goes on */
    g = (struct gathered){ .count = 0 };
    assert_ok(store_get_many(w->store, reads, MANY, gather, &g, &e));
}

static void what_is_not_there_is_not_found(struct world *w)
{
    struct err e = ERR_INIT;
    struct store_info info = { .bytes = 77 };
    CLEANUP(buf_done) struct buf body = BUF_INIT(100);
    assert_int_equal(store_get(w->store, world_key(w, "none"), NULL, 0, 1, &body, &info, &e), ERR_NOT_FOUND);
    assert_non_null(strstr(e.text, "none"));
    assert_int_equal(store_head(w->store, world_key(w, "none"), NULL, &info, &e), ERR_NOT_FOUND);
    world_put(w, "x", "one");
    struct store_info other = world_put(w, "y", "two");
    assert_int_equal(store_head(w->store, world_key(w, "x"), other.version, &info, &e), ERR_NOT_FOUND);
    assert_int_equal(store_get(w->store, world_key(w, "x"), other.version, 0, 1, &body, &info, &e),
                     ERR_NOT_FOUND);
    assert_int_equal(store_head(w->store, world_key(w, "x/y"), NULL, &info, &e), ERR_NOT_FOUND);
    assert_int_equal(info.bytes, 77); /* outputs change only on success */
    err_clear(&e);
    assert_ok(store_delete(w->store, world_key(w, "x"), other.version, &e));
    assert_string_equal(world_text(w, "x", NULL), "one");
}

static void malformed_keys_are_refused(struct world *w)
{
    static const char *const keys[] = {
        "",         "/",        "/a",    "a/",       "a//b",         ".",
        "..",       "a/..",     "../a",  "a/./b",    "a\nb",         "a\x7f",
        "a\x01",    "\xc2\x85", "a\xff", "\xc0\xaf", "\xed\xa0\x80", "\xf5\x80\x80\x80",
        "\xe2\x82",
    };
    struct err e = ERR_INIT;
    struct store_info info;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        assert_int_equal(store_put(w->store, keys[i], "x", 1, NULL, NULL, &e), ERR_USAGE);
        assert_int_equal(store_head(w->store, keys[i], NULL, &info, &e), ERR_USAGE);
        assert_int_equal(store_delete(w->store, keys[i], NULL, &e), ERR_USAGE);
    }
    char longest[STORE_KEY_BYTES + 1];
    memset(longest, 'a', sizeof(longest));
    longest[STORE_KEY_BYTES] = '\0';
    assert_int_equal(store_put(w->store, longest, "x", 1, NULL, NULL, &e), ERR_USAGE);
    assert_int_equal(store_head(w->store, "a", "", &info, &e), ERR_USAGE);
    assert_int_equal(store_head(w->store, "a", "a b", &info, &e), ERR_USAGE);
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

struct key_list {
    char *keys[64];
    size_t count;
};

static enum err_code add_key(void *context, const struct store_info *info, struct err *e)
{
    struct key_list *l = context;
    (void)e;
    assert_true(l->count < ARRAY_LEN(l->keys));
    l->keys[l->count++] = mem_text(info->key);
    return OK;
}

/* A segment of n bytes, then `rest`. */
static char *long_key(size_t n, const char *unit, const char *rest)
{
    struct buf b = BUF_INIT(4096);
    while (b.len < n)
        buf_add_text(&b, unit);
    buf_add_text(&b, rest);
    char *key = mem_text(buf_text(&b));
    buf_done(&b);
    return key;
}

static void awkward_keys_are_kept_apart(struct world *w)
{
    static const char *const plain[] = {
        "a",         "a/b",        "a-b",      "a.b",  "a b",         "a+b",  "a%b",   "a%2Fb",   "a%2fb",
        "a%20b",     "A",          "a@",       "@",    "@/a",         "a/@",  "a/@/b", "+",       "a+/b",
        "..a",       "a..",        ".hidden",  "...",  "~",           "*",    "?",     "#",       "?versions",
        "a&b=c;d",   "\"quoted\"", "<a>&amp;", "it's", "back\\slash", "a:b",  "!$(),", "[]{}|^`", "ä",
        "a\xcc\x88", "€/ß",        "日本語",   "😀",    "bucket.txt",  "lock",
    };
    struct key_list want = { .count = 0 }, got = { .count = 0 };
    struct err e = ERR_INIT;
    for (size_t i = 0; i < ARRAY_LEN(plain); i++)
        want.keys[want.count++] = mem_text(world_key(w, plain[i]));
    static const struct {
        size_t n;
        const char *unit, *rest;
    } grown[] = {
        { 200, "s", "" },   { 239, "s", "" }, { 240, "s", "" },   { 241, "s", "" },
        { 255, "s", "/x" }, { 256, "s", "" }, { 600, "s", "/x" }, { 600, "s", "-x" },
        { 600, "s", "" },   { 240, "ä", "" }, { 480, "€", "/x" }, { 990, "😀", "" },
    };
    for (size_t i = 0; i < ARRAY_LEN(grown); i++) {
        CLEANUP(freep) char *key = long_key(grown[i].n, grown[i].unit, grown[i].rest);
        want.keys[want.count++] = mem_text(world_key(w, key));
    }
    qsort(want.keys, want.count, sizeof(want.keys[0]), by_bytes);
    for (size_t i = 0; i < want.count; i++)
        assert_ok(store_put(w->store, want.keys[i], want.keys[i], strlen(want.keys[i]), NULL, NULL, &e));
    assert_ok(store_list(w->store, w->prefix, NULL, add_key, &got, &e));
    assert_int_equal(got.count, want.count);
    for (size_t i = 0; i < want.count; i++) {
        CLEANUP(buf_done) struct buf body = BUF_INIT(2000);
        assert_string_equal(got.keys[i], want.keys[i]);
        assert_ok(store_get(w->store, want.keys[i], NULL, 0, UINT64_MAX, &body, NULL, &e));
        assert_string_equal(buf_text(&body), want.keys[i]);
        free(want.keys[i]);
        free(got.keys[i]);
    }
}

static void what_is_put_is_there_for_another(struct world *w)
{
    struct store_info put = world_put_locked(w, "x", "one", lock_for(STORE_LOCK_COMPLIANCE, 3600000));
    store_close(w->store);
    w->store = world_another(w);
    struct err e = ERR_INIT;
    struct store_info head;
    assert_string_equal(world_text(w, "x", NULL), "one");
    assert_ok(store_head(w->store, world_key(w, "x"), NULL, &head, &e));
    assert_string_equal(head.version, put.version);
    assert_int_equal(head.lock.retain_until_ms, put.lock.retain_until_ms);
    assert_int_equal(store_delete(w->store, world_key(w, "x"), put.version, &e), ERR_DENIED);
}

/* ---- lists ---- */

static void a_list_is_in_byte_order(struct world *w)
{
    static const char *const keys[] = { "b", "a/b", "a", "a-b", "a.b", "a0", "a/a/z", "B", "a/b/c", "ab" };
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        world_put(w, keys[i], "x");
    assert_string_equal(world_list(w, "", NULL), "B a a-b a.b a/a/z a/b a/b/c a0 ab b");
    assert_string_equal(world_list(w, "a/", NULL), "a/a/z a/b a/b/c");
    assert_string_equal(world_list(w, "a/b", NULL), "a/b a/b/c");
    assert_string_equal(world_list(w, "a", NULL), "a a-b a.b a/a/z a/b a/b/c a0 ab");
    assert_string_equal(world_list(w, "a/b/", NULL), "a/b/c");
    assert_string_equal(world_list(w, "c", NULL), "");
    assert_string_equal(world_list(w, "c/d/e", NULL), "");
    assert_string_equal(world_list(w, "b/", NULL), "");
    assert_string_equal(world_list(w, "", "a/b"), "a/b/c a0 ab b");
    assert_string_equal(world_list(w, "", "a/b/"), "a/b/c a0 ab b");
    assert_string_equal(world_list(w, "", "a/a"), "a/a/z a/b a/b/c a0 ab b");
    assert_string_equal(world_list(w, "a/", "a/a/z"), "a/b a/b/c");
    assert_string_equal(world_list(w, "a/", "b"), "");
    assert_string_equal(world_list(w, "a/", "B"), "a/a/z a/b a/b/c");
    assert_string_equal(world_list(w, "", "zzz"), "");
}

static void deleted_keys_are_not_listed(struct world *w)
{
    struct err e = ERR_INIT;
    struct store_info b;
    world_put(w, "a", "1");
    b = world_put(w, "b", "1");
    world_put(w, "b", "2");
    world_put(w, "c/d", "1");
    assert_ok(store_delete(w->store, world_key(w, "b"), NULL, &e));
    assert_string_equal(world_list(w, "", NULL), "a c/d");
    assert_string_equal(world_text(w, "b", NULL), "(not found)");
    assert_string_equal(world_text(w, "b", b.version), "1");
    assert_string_equal(world_list_versions(w, ""), "a:1 b:gone b:2 b:1 c/d:1");
    world_put(w, "b", "3");
    assert_string_equal(world_list(w, "", NULL), "a b c/d");
    assert_string_equal(world_list_versions(w, "b"), "b:3 b:gone b:2 b:1");
}

struct find {
    struct store_info info;
    bool marker;
};

static enum err_code find_marker(void *context, const struct store_info *info, struct err *e)
{
    struct find *f = context;
    (void)e;
    if (info->is_delete_marker == f->marker)
        f->info = *info;
    return OK;
}

static void removing_the_marker_brings_the_object_back(struct world *w)
{
    struct err e = ERR_INIT;
    struct find f = { .marker = true };
    struct store_info info;
    world_put(w, "x", "one");
    assert_ok(store_delete(w->store, world_key(w, "x"), NULL, &e));
    assert_ok(store_list_versions(w->store, world_key(w, "x"), find_marker, &f, &e));
    assert_true(f.info.is_latest);
    assert_int_equal(store_head(w->store, world_key(w, "x"), f.info.version, &info, &e), ERR_NOT_FOUND);
    err_clear(&e);
    assert_ok(store_delete(w->store, world_key(w, "x"), f.info.version, &e));
    assert_string_equal(world_text(w, "x", NULL), "one");
}

static void a_removed_version_is_gone_for_good(struct world *w)
{
    struct err e = ERR_INIT;
    struct store_info one = world_put(w, "d/x", "one"), two = world_put(w, "d/x", "two");
    assert_ok(store_delete(w->store, world_key(w, "d/x"), two.version, &e));
    assert_string_equal(world_text(w, "d/x", NULL), "one");
    assert_string_equal(world_text(w, "d/x", two.version), "(not found)");
    assert_ok(store_delete(w->store, world_key(w, "d/x"), two.version, &e));
    assert_ok(store_delete(w->store, world_key(w, "d/x"), one.version, &e));
    assert_string_equal(world_list_versions(w, ""), "");
    world_put(w, "d/x", "three");
    assert_string_equal(world_list_versions(w, ""), "d/x:three");
}

static void deleting_what_is_not_there_is_fine(struct world *w)
{
    struct err e = ERR_INIT;
    assert_ok(store_delete(w->store, world_key(w, "none"), NULL, &e));
    assert_ok(store_delete(w->store, world_key(w, "none"), NULL, &e));
    assert_string_equal(world_list(w, "", NULL), "");
}

struct counter {
    int count, fail_at;
    char last[STORE_KEY_BYTES];
};

static enum err_code count_in_order(void *context, const struct store_info *info, struct err *e)
{
    struct counter *c = context;
    if (++c->count == c->fail_at)
        return c->fail_at % 2 ? ERR_CONFLICT : err_set(e, ERR_RETRY, "my own reason");
    assert_true(strcmp(c->last, info->key) <= 0);
    snprintf(c->last, sizeof(c->last), "%s", info->key);
    return OK;
}

static void the_callers_failure_ends_a_list(struct world *w)
{
    struct err e = ERR_INIT;
    for (int i = 0; i < 5; i++) {
        char key[16];
        snprintf(key, sizeof(key), "k%d", i);
        world_put(w, key, "x");
    }
    struct counter quiet = { .fail_at = 3 }, loud = { .fail_at = 2 }, versions = { .fail_at = 2 };
    assert_int_equal(store_list(w->store, w->prefix, NULL, count_in_order, &quiet, &e), ERR_CONFLICT);
    assert_int_equal(quiet.count, 3);
    assert_int_equal(store_list(w->store, w->prefix, NULL, count_in_order, &loud, &e), ERR_RETRY);
    assert_int_equal(loud.count, 2); /* and it is not tried again */
    assert_string_equal(e.text, "my own reason");
    assert_int_equal(store_list_versions(w->store, w->prefix, count_in_order, &versions, &e), ERR_RETRY);
    assert_int_equal(versions.count, 2);
}

static void a_list_goes_beyond_one_page(struct world *w)
{
    enum { KEYS = 1100 };
    struct err e = ERR_INIT;
    struct counter list = { .count = 0 }, versions = { .count = 0 };
    for (int i = 0; i < KEYS; i++) {
        char key[32];
        snprintf(key, sizeof(key), "p%d/%d", i % 7, i);
        assert_ok(store_put(w->store, world_key(w, key), "x", 1, NULL, NULL, &e));
    }
    assert_ok(store_list(w->store, w->prefix, NULL, count_in_order, &list, &e));
    assert_int_equal(list.count, KEYS);
    assert_ok(store_list_versions(w->store, w->prefix, count_in_order, &versions, &e));
    assert_int_equal(versions.count, KEYS);
}

/* ---- the bucket ---- */

static void the_facts_are_read_back(struct world *w)
{
    struct err e = ERR_INIT;
    struct store_facts facts;
    assert_ok(store_facts(w->store, &facts, &e));
    assert_string_equal(facts.location, w->place.region);
    assert_true(facts.versioned);
    assert_true(facts.lockable);
    assert_int_equal(facts.default_lock.mode, STORE_LOCK_NONE);
}

static void making_a_bucket_again_is_fine_if_it_fits(struct world *w)
{
    struct err e = ERR_INIT;
    struct store_place elsewhere = w->place;
    assert_ok(store_make_bucket(&w->place, &w->credentials, true, &e));
    assert_ok(store_make_bucket(&w->place, &w->credentials, false, &e));
    snprintf(elsewhere.region, sizeof(elsewhere.region), "elsewhere-1");
    assert_int_equal(store_make_bucket(&elsewhere, &w->credentials, true, &e), ERR_CONFLICT);
}

static void a_bucket_that_is_not_there_is_not_found(struct world *w)
{
    struct err e = ERR_INIT;
    struct store_place none = w->place;
    struct counter list = { .count = 0 };
    CLEANUP(store_closep) struct store *s = NULL;
    snprintf(none.bucket, sizeof(none.bucket), "none-%.50s", w->place.bucket);
    if (store_open(&none, &w->credentials, &s, &e) == OK)
        assert_int_equal(store_list(s, "", NULL, count_in_order, &list, &e), ERR_NOT_FOUND);
    assert_int_equal(e.code, ERR_NOT_FOUND);
}

static const struct world_row rows[] = {
    { "what is put is what is got", what_is_put_is_what_is_got, WORLD_ALL },
    { "every put makes a version, and the older stay readable", every_put_makes_a_version, WORLD_ALL },
    { "a range gives its bytes and the whole size", a_range_gives_its_bytes, WORLD_ALL },
    { "an empty object has ranges too", an_empty_object_has_ranges_too, WORLD_ALL },
    { "a buffer that is too small is a limit and keeps what it held", a_small_buffer_is_a_limit, WORLD_ALL },
    { "many reads come each once with its own bytes", many_reads_come_each_once_with_its_own_bytes,
      WORLD_ALL },
    { "one of many that is not there is told by its key", one_of_many_that_is_not_there_is_told_by_its_key,
      WORLD_ALL },
    { "who takes many may end it", who_takes_many_may_end_it, WORLD_ALL },
    { "what is not there is not found", what_is_not_there_is_not_found, WORLD_ALL },
    { "malformed keys and version ids are refused", malformed_keys_are_refused, WORLD_ALL },
    { "awkward keys are kept apart and listed as they are", awkward_keys_are_kept_apart, WORLD_ALL },
    { "what is put is there for another handle, with its lock", what_is_put_is_there_for_another,
      WORLD_KEPT },
    { "a list is in byte order, below its prefix, behind its start", a_list_is_in_byte_order, WORLD_ALL },
    { "deleted keys are not listed, their versions are", deleted_keys_are_not_listed, WORLD_ALL },
    { "removing the marker brings the object back", removing_the_marker_brings_the_object_back, WORLD_ALL },
    { "a removed version is gone for good, the one before is the latest", a_removed_version_is_gone_for_good,
      WORLD_ALL },
    { "deleting what is not there is fine", deleting_what_is_not_there_is_fine, WORLD_ALL },
    { "the caller's failure ends a list and comes back as it is", the_callers_failure_ends_a_list,
      WORLD_ALL },
    { "a list goes beyond one page", a_list_goes_beyond_one_page, WORLD_ALL },
    { "the facts are read back", the_facts_are_read_back, WORLD_ALL },
    { "making a bucket again is fine if it fits", making_a_bucket_again_is_fine_if_it_fits, WORLD_KEPT },
    { "a bucket that is not there is not found", a_bucket_that_is_not_there_is_not_found, WORLD_KEPT },
};

int main(void)
{
    return world_run("store", rows, ARRAY_LEN(rows));
}
