/*
 * The s3 backend against a real S3 service, where the contract's rows would not reach: small pages, uploads
 * in parts, a clock that is wrong, both styles of address.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "core/store/s3.h"
#include "tests/fake/store_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PART = 5 << 20 }; /* the least that S3 takes for all parts but the last */

static struct world w;

static int open_world(void **state)
{
    (void)state;
    world_open(&w, WORLD_S3);
    if (w.why_not)
        fprintf(stderr, "%s: %s\n", w.name, w.why_not);
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    world_close(&w);
    return 0;
}

static int row_begins(void **state)
{
    (void)state;
    if (!w.why_not)
        world_row_begins(&w);
    return 0;
}

static int row_ends(void **state)
{
    (void)state;
    world_row_ends(&w);
    return 0;
}

static void skip_without_s3(void)
{
    if (w.why_not)
        skip();
}

/* The row's store, but opened bare and with these options. */
static void reopen(const struct s3_options *options)
{
    struct err e = ERR_INIT;
    store_close(TAKE(w.store));
    assert_ok(s3_open(&w.place, &w.credentials, options, &w.store, &e));
}

static void lists_come_in_small_pages(void **state)
{
    (void)state;
    skip_without_s3();
    struct err e = ERR_INIT;
    struct s3_options small = s3_options_default;
    small.page_keys = 3;
    reopen(&small);
    for (int i = 0; i < 10; i++) {
        char key[16];
        snprintf(key, sizeof(key), "%d%s", i % 5, i % 2 ? "/ä +%" : "");
        world_put(&w, key, i < 5 ? "1" : "2");
    }
    assert_ok(store_delete(w.store, world_key(&w, "3/ä +%"), NULL, &e));
    assert_string_equal(world_list(&w, "", NULL), "0 0/ä +% 1 1/ä +% 2 2/ä +% 3 4 4/ä +%");
    assert_string_equal(world_list(&w, "", "1"), "1/ä +% 2 2/ä +% 3 4 4/ä +%");
    for (int i = 0; i < 6; i++)
        world_put(&w, "many", "3");
    assert_string_equal(world_list_versions(&w, "many"), "many:3 many:3 many:3 many:3 many:3 many:3");
    assert_string_equal(world_list_versions(&w, "3"), "3:2 3/ä +%:gone 3/ä +%:1");
}

static uint8_t *pattern(size_t n)
{
    uint8_t *data = mem_new(n);
    for (size_t i = 0; i < n; i++)
        data[i] = (uint8_t)(i * 2654435761u >> 13);
    return data;
}

static void expect_content(const char *version, const uint8_t *data, size_t n)
{
    struct err e = ERR_INIT;
    CLEANUP(buf_done) struct buf body = BUF_INIT(n), piece = BUF_INIT(100);
    assert_ok(store_get(w.store, world_key(&w, "big"), version, 0, UINT64_MAX, &body, NULL, &e));
    assert_int_equal(body.len, n);
    assert_memory_equal(body.data, data, n);
    assert_ok(store_get(w.store, world_key(&w, "big"), version, PART - 50, 100, &piece, NULL,
                        &e)); /* over a seam */
    assert_int_equal(piece.len, MIN(n - (PART - 50), (size_t)100));
    assert_memory_equal(piece.data, data + PART - 50, piece.len);
}

static void an_upload_in_parts_keeps_its_lock(void **state)
{
    static const size_t sizes[] = { PART + 1, 2 * PART, 2 * PART + 12345 };
    (void)state;
    skip_without_s3();
    struct s3_options parts = s3_options_default;
    parts.part_bytes = PART;
    reopen(&parts);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct err e = ERR_INIT;
        CLEANUP(freep) uint8_t *data = pattern(sizes[i]);
        struct store_put_options o = { .lock = lock_for(STORE_LOCK_COMPLIANCE, 3600000) };
        struct store_info put, head;
        o.lock.legal_hold = i == 1;
        assert_ok(store_put(w.store, world_key(&w, "big"), data, sizes[i], &o, &put, &e));
        assert_int_equal(put.bytes, sizes[i]);
        assert_ok(store_head(w.store, world_key(&w, "big"), put.version, &head, &e));
        assert_int_equal(head.lock.mode, STORE_LOCK_COMPLIANCE);
        assert_true(head.lock.retain_until_ms >= o.lock.retain_until_ms);
        assert_int_equal(head.lock.legal_hold, i == 1);
        assert_int_equal(store_delete(w.store, world_key(&w, "big"), put.version, &e), ERR_DENIED);
        expect_content(put.version, data, sizes[i]);
    }
}

static void what_is_larger_than_a_part_goes_in_parts(void **state)
{
    (void)state;
    skip_without_s3();
    struct err e = ERR_INIT;
    size_t n = STORE_PART_BYTES + 1;
    CLEANUP(freep) uint8_t *data = pattern(n);
    struct store_info put;
    assert_ok(store_put(w.store, world_key(&w, "big"), data, n, NULL, &put, &e));
    assert_int_equal(put.lock.mode, STORE_LOCK_NONE);
    expect_content(NULL, data, n);
    assert_ok(store_delete(w.store, world_key(&w, "big"), put.version, &e));
}

static void a_wrong_clock_is_corrected(void **state)
{
    (void)state;
    skip_without_s3();
    struct err e = ERR_INIT;
    struct clock_fake slow = clock_fake_at(clock_wall_ms() - 2 * 3600000);
    struct s3_options o = s3_options_default;
    o.clock = &slow.base;
    reopen(&o);
    struct store_info locked = world_put_locked(&w, "x", "one", lock_for(STORE_LOCK_COMPLIANCE, 3600000));
    assert_string_equal(world_text(&w, "x", NULL), "one");
    /* "Not before its end" is judged by the store's clock, not by ours. */
    struct store_lock shorter = lock_for(STORE_LOCK_COMPLIANCE, 60000);
    assert_int_equal(store_set_lock(w.store, world_key(&w, "x"), locked.version, &shorter, &e), ERR_DENIED);
    store_close(TAKE(w.store)); /* before its clock goes */
}

static void a_wrong_key_is_denied_and_not_told(void **state)
{
    static const char wrong[] = "wrong-secret-key-123";
    (void)state;
    skip_without_s3();
    struct err e = ERR_INIT;
    struct secret *secret = secret_new(wrong, strlen(wrong));
    struct store_credentials credentials = { .access_key = w.credentials.access_key, .secret_key = secret };
    struct store *s = NULL;
    struct store_facts facts;
    assert_ok(store_open(&w.place, &credentials, &s, &e));
    assert_int_equal(store_facts(s, &facts, &e), ERR_DENIED);
    assert_non_null(strstr(e.text, "HTTP 403")); /* the words differ from service to service */
    assert_null(strstr(e.text, wrong));
    assert_null(strstr(e.text, secret_bytes(w.credentials.access_key)));
    store_close(s);
    secret_free(secret);
}

static void the_bucket_may_stand_in_the_host_name(void **state)
{
    (void)state;
    skip_without_s3();
    const char *port = strrchr(w.place.endpoint, ':');
    if (!text_starts(w.place.endpoint, "http://127.0.0.1:") || !port)
        skip(); /* some other service: no name of its own is known */
    struct err e = ERR_INIT;
    struct store_place hosted = w.place;
    hosted.path_style = false;
    snprintf(hosted.endpoint, sizeof(hosted.endpoint), "http://localhost%s", port);
    world_put(&w, "a b/ä", "one");
    store_close(TAKE(w.store));
    assert_ok(store_open(&hosted, &w.credentials, &w.store, &e));
    assert_string_equal(world_text(&w, "a b/ä", NULL), "one");
    world_put(&w, "c", "two");
    assert_string_equal(world_list(&w, "", NULL), "a b/ä c");
}

/* As in production: an authority of our own, and payloads that TLS guards rather than a hash. */
static void over_tls_only_the_given_authority_is_believed(void **state)
{
    (void)state;
    skip_without_s3();
    const char *endpoint = getenv("SOVRUN_TEST_S3_TLS_ENDPOINT"), *ca_file = getenv("SOVRUN_TEST_S3_CA_FILE");
    if (!endpoint || !ca_file)
        skip();
    struct err e = ERR_INIT;
    struct store_place tls = w.place;
    struct store_info info;
    CLEANUP(store_closep) struct store *stranger = NULL;
    snprintf(tls.endpoint, sizeof(tls.endpoint), "%s", endpoint);
    assert_ok(store_open(&tls, &w.credentials, &stranger, &e));
    assert_int_equal(store_head(stranger, world_key(&w, "x"), NULL, &info, &e), ERR_DENIED);
    assert_non_null(strstr(e.text, "certificate"));
    err_clear(&e);
    snprintf(tls.ca_file, sizeof(tls.ca_file), "%s", ca_file);
    store_close(TAKE(w.store));
    assert_ok(store_open(&tls, &w.credentials, &w.store, &e));
    struct store_info put = world_put_locked(&w, "x", "one", lock_for(STORE_LOCK_COMPLIANCE, 3600000));
    assert_string_equal(world_text(&w, "x", put.version), "one");
    assert_string_equal(world_list(&w, "", NULL), "x");
    assert_int_equal(store_delete(w.store, world_key(&w, "x"), put.version, &e), ERR_DENIED);
}

static void the_content_type_and_an_empty_object_are_put(void **state)
{
    (void)state;
    skip_without_s3();
    struct err e = ERR_INIT;
    struct store_put_options o = { .content_type = "application/json" };
    struct store_info info;
    assert_ok(store_put(w.store, world_key(&w, "x"), NULL, 0, &o, &info, &e));
    assert_int_equal(info.bytes, 0);
    assert_string_equal(world_text(&w, "x", NULL), "");
}

/* One that was begun and then forgotten, as a kill leaves it. */
static void an_upload_that_nobody_completed_is_given_up(void **state)
{
    (void)state;
    skip_without_s3();
    struct err e = ERR_INIT;
    struct store *bare = NULL;
    size_t aborted = 77;
    CLEANUP(http_response_done) struct http_response r = HTTP_RESPONSE_INIT(S3_ANSWER_BYTES_MAX);
    struct s3_call begin = { .method = "POST", .key = world_key(&w, "left") };
    s3_param(&begin, "uploads", "");
    assert_ok(s3_open(&w.place, &w.credentials, &s3_options_default, &bare, &e));
    assert_ok(s3_do((struct store_s3 *)bare, &begin, &r, NULL, &e));
    store_close(bare);
    assert_ok(store_abort_uploads(w.store, world_key(&w, "other"), clock_wall_ms() + 60000, &aborted, &e));
    assert_int_equal(aborted, 0);
    assert_ok(store_abort_uploads(w.store, world_key(&w, "left"), clock_wall_ms() - 3600000, &aborted, &e));
    assert_int_equal(aborted, 0); /* it is younger than that */
    assert_ok(store_abort_uploads(w.store, world_key(&w, "left"), clock_wall_ms() + 60000, &aborted, &e));
    assert_int_equal(aborted, 1);
    assert_ok(store_abort_uploads(w.store, world_key(&w, "left"), clock_wall_ms() + 60000, &aborted, &e));
    assert_int_equal(aborted, 0);
}

#define ROW(f) cmocka_unit_test_setup_teardown(f, row_begins, row_ends)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        ROW(lists_come_in_small_pages),
        ROW(an_upload_in_parts_keeps_its_lock),
        ROW(what_is_larger_than_a_part_goes_in_parts),
        ROW(a_wrong_clock_is_corrected),
        ROW(a_wrong_key_is_denied_and_not_told),
        ROW(the_bucket_may_stand_in_the_host_name),
        ROW(over_tls_only_the_given_authority_is_believed),
        ROW(an_upload_that_nobody_completed_is_given_up),
        ROW(the_content_type_and_an_empty_object_are_put),
    };
    return cmocka_run_group_tests_name("store s3", tests, open_world, close_world);
}
