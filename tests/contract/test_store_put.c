/*
 * Puts as a place asks for them: what of the bytes is signed, and what the store encrypts by itself. On a
 * real service, which checks every signature and keeps every key.
 */
#include "base/mem.h"
#include "core/store/s3.h"
#include "tests/fake/store_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 64 * 1024 };

static struct store *open_as(struct world *w, const struct store_place *place)
{
    struct store *s = NULL;
    struct err e = ERR_INIT;
    assert_ok(store_open(place, &w->credentials, &s, &e));
    return s;
}

static void put_and_read(struct store *s, const char *key, size_t n, const struct store_put_options *options)
{
    CLEANUP(freep) uint8_t *data = mem_new(n + 1);
    CLEANUP(buf_done) struct buf body = BUF_INIT(n + 1);
    struct store_info info;
    struct err e = ERR_INIT;
    for (size_t i = 0; i < n; i++)
        data[i] = (uint8_t)(i * 31 + i / 251);
    assert_ok(store_put(s, key, data, n, options, &info, &e));
    assert_int_equal(info.bytes, n);
    assert_ok(store_get(s, key, info.version, 0, UINT64_MAX, &body, NULL, &e));
    assert_int_equal(body.len, n);
    assert_true(n == 0 || memcmp(body.data, data, n) == 0);
}

static void try_payload(struct world *w, int payload)
{
    static const size_t sizes[] = { 0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, STORE_PART_BYTES + 5 };
    struct store_place place = w->place;
    place.payload = payload;
    CLEANUP(store_closep) struct store *s = open_as(w, &place);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        put_and_read(s, world_key(w, "a b/ä%+"), sizes[i], NULL);
}

static void a_hash_of_all_is_signed(struct world *w)
{
    try_payload(w, STORE_PAYLOAD_HASH);
}

static void chunks_are_signed(struct world *w)
{
    try_payload(w, STORE_PAYLOAD_CHUNKS);
}

static void nothing_is_signed(struct world *w)
{
    try_payload(w, STORE_PAYLOAD_UNSIGNED);
}

static void chunks_and_locks_go_together(struct world *w)
{
    const struct store_put_options locked = { .lock = lock_for(STORE_LOCK_COMPLIANCE, 5000) };
    struct store_place place = w->place;
    place.payload = STORE_PAYLOAD_CHUNKS;
    CLEANUP(store_closep) struct store *s = open_as(w, &place);
    put_and_read(s, world_key(w, "locked"), 2 * CHUNK + 7, &locked);
}

/* ---- encryption by the store ---- */

static struct store_place with_key(const struct world *w)
{
    struct store_place place = w->place;
    const char *key = getenv("SOVRUN_TEST_S3_SSE_KEY");
    if (!key)
        skip();
    place.sse = STORE_SSE_KMS;
    snprintf(place.sse_key, sizeof(place.sse_key), "%s", key);
    snprintf(place.sse_context, sizeof(place.sse_context), "{\"project\":\"credit\"}");
    return place;
}

static void shows(struct store *s, const char *object, const char *header, const char *want)
{
    struct store_s3 *s3 = (struct store_s3 *)s->below;
    CLEANUP(http_response_done) struct http_response r = HTTP_RESPONSE_INIT(4096);
    struct s3_call call = { .method = "HEAD", .key = object };
    struct err e = ERR_INIT;
    char text[600] = "";
    assert_ok(s3_do(s3, &call, &r, NULL, &e));
    http_header(&r, header, text, sizeof(text));
    assert_string_equal(text, want);
}

static void the_store_encrypts_under_the_key_that_it_was_told(struct world *w)
{
    const struct store_put_options locked = { .lock = lock_for(STORE_LOCK_COMPLIANCE, 5000) };
    const struct store_place place = with_key(w);
    CLEANUP(store_closep) struct store *s = open_as(w, &place);
    put_and_read(s, world_key(w, "whole"), 1000, NULL);
    put_and_read(s, world_key(w, "locked"), 1000, &locked);
    put_and_read(s, world_key(w, "parts"), STORE_PART_BYTES + 5, &locked);
    const char *const keys[] = { "whole", "locked", "parts" };
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        shows(s, world_key(w, keys[i]), "x-amz-server-side-encryption", "aws:kms");
        shows(s, world_key(w, keys[i]), "x-amz-server-side-encryption-aws-kms-key-id", place.sse_key);
    }
    put_and_read(w->store, world_key(w, "plain"), 10, NULL);
    shows(w->store, world_key(w, "plain"), "x-amz-server-side-encryption", "");
}

static void a_key_that_it_does_not_have_fails_the_put(struct world *w)
{
    struct store_place place = with_key(w);
    struct err e = ERR_INIT;
    place.sse_key[strlen(place.sse_key) - 1]++;
    CLEANUP(store_closep) struct store *s = open_as(w, &place);
    assert_int_not_equal(store_put(s, world_key(w, "a"), "x", 1, NULL, NULL, &e), OK);
    assert_string_equal(world_text(w, "a", NULL), "(not found)");
}

/* This service takes the request for its own keys and does nothing about it: that is seen, and nothing stays.
 */
static void what_it_does_not_do_is_seen(struct world *w)
{
    struct store_place place = with_key(w);
    struct err e = ERR_INIT;
    place.sse = STORE_SSE_S3;
    place.sse_key[0] = place.sse_context[0] = '\0';
    CLEANUP(store_closep) struct store *s = open_as(w, &place);
    assert_int_equal(store_put(s, world_key(w, "a"), "x", 1, NULL, NULL, &e), ERR_DENIED);
    assert_non_null(strstr(e.text, "asked to encrypt by 'AES256'"));
    assert_string_equal(world_text(w, "a", NULL), "(not found)");
}

static void a_place_that_contradicts_itself_is_refused(struct world *w)
{
    struct store_place places[3];
    for (size_t i = 0; i < ARRAY_LEN(places); i++)
        places[i] = w->place;
    places[0].sse = STORE_SSE_KMS;
    snprintf(places[1].sse_key, sizeof(places[1].sse_key), "k");
    snprintf(places[2].sse_context, sizeof(places[2].sse_context), "{}");
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        struct store *s = NULL;
        struct err e = ERR_INIT;
        assert_int_equal(store_open(&places[i], &w->credentials, &s, &e), ERR_USAGE);
    }
}

int main(void)
{
    static const struct world_row rows[] = {
        { "a hash of all is signed", a_hash_of_all_is_signed, WORLD_S3 },
        { "chunks are signed", chunks_are_signed, WORLD_S3 },
        { "nothing is signed", nothing_is_signed, WORLD_S3 },
        { "chunks and locks go together", chunks_and_locks_go_together, WORLD_S3 },
        { "the store encrypts under the key that it was told",
          the_store_encrypts_under_the_key_that_it_was_told, WORLD_S3 },
        { "a key that it does not have fails the put", a_key_that_it_does_not_have_fails_the_put, WORLD_S3 },
        { "what it does not do is seen", what_it_does_not_do_is_seen, WORLD_S3 },
        { "a place that contradicts itself is refused", a_place_that_contradicts_itself_is_refused,
          WORLD_S3 },
    };
    return world_run("store put", rows, ARRAY_LEN(rows));
}
