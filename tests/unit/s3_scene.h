/*
 * s3_scene.h - an s3 handle on a fake server and a clock that stands still, and texts of answers, for the
 * tests of the s3 backend.
 */
#ifndef TESTS_UNIT_S3_SCENE_H
#define TESTS_UNIT_S3_SCENE_H

#include "base/clock.h"
#include "base/text.h"
#include "core/store/s3.h"
#include "tests/fake/http_fake.h"
#include "tests/test.h"

#include <stdio.h>
#include <string.h>

#define DATE "Date: Sun, 22 Nov 2026 14:12:30 GMT\r\nLast-Modified: Sun, 22 Nov 2026 14:12:30 GMT\r\n"
#define HEAD_OF(n, more)                                                                                     \
    "HTTP/1.1 200 OK\r\n" DATE "x-amz-version-id: v1\r\n" more "Content-Length: " #n "\r\n\r\n"
#define LOCKED(until)                                                                                        \
    "x-amz-object-lock-mode: COMPLIANCE\r\nx-amz-object-lock-retain-until-date: " until "\r\n"
#define EMPTY HEAD_OF(0, "")
#define SAY(text)                                                                                            \
    {                                                                                                        \
        HTTP_FAKE_SAY, text                                                                                  \
    }
#define CUT(text)                                                                                            \
    {                                                                                                        \
        HTTP_FAKE_CLOSE, "HTTP/1.1 200 OK\r\n" DATE "\r\n" text                                              \
    } /* the body ends with the connection */
#define FAIL(status, text)                                                                                   \
    {                                                                                                        \
        HTTP_FAKE_CLOSE, "HTTP/1.1 " status "\r\n" DATE "x-amz-request-id: tx7\r\n\r\n" text                 \
    }
#define ERROR_OF(code, message)                                                                              \
    "<?xml version=\"1.0\"?><Error><Code>" code "</Code><Message>" message                                   \
    "</Message><RequestId>tx7</RequestId></Error>"

static const char scene_secret[] = "very-secret-key-0123456789";

/* A handle on the fake, with a clock that stands still. */
struct scene {
    struct http_fake *server;
    struct store *s;
    struct clock_fake clock;
};

static inline struct scene scene_open(const struct http_fake_reply *replies, size_t count)
{
    struct err e = ERR_INIT;
    struct scene scene = { .clock = clock_fake_at(1795356750000) }; /* 2026-11-22T14:12:30Z */
    struct store_place place = {
        .kind = STORE_S3, .bucket = "bucket", .region = "eu-test-1", .path_style = true
    };
    struct secret *access = secret_new("AK", 2), *secret = secret_new(scene_secret, strlen(scene_secret));
    struct store_credentials credentials = { .access_key = access, .secret_key = secret };
    scene.server = http_fake_start(replies, count, NULL);
    snprintf(place.endpoint, sizeof(place.endpoint), "%s", http_fake_origin(scene.server));
    assert_ok(s3_open(&place, &credentials, &s3_options_default, &scene.s, &e));
    secret_free(access);
    secret_free(secret);
    return scene;
}

/* The handle keeps the clock's address: set once the scene has its place. */
static inline void use_clock(struct scene *scene, size_t part_bytes)
{
    struct store_s3 *s = (struct store_s3 *)scene->s;
    s->options.clock = &scene->clock.base;
    s->options.part_bytes = part_bytes;
    s->options.connections = 1; /* the fake takes one at a time */
}

static inline void scene_close(struct scene *scene)
{
    for (int i = 0; i < http_fake_count(scene->server); i++)
        assert_null(strstr(http_fake_request(scene->server, i), scene_secret));
    store_close(scene->s);
    http_fake_stop(scene->server);
}

/* Behind any clock that runs these tests. */
static inline struct store_put_options locked_until_2100(void)
{
    return (struct store_put_options){
        .lock = { .mode = STORE_LOCK_COMPLIANCE, .retain_until_ms = 4102444800000 },
    };
}

static inline enum err_code put_ten_locked(struct store *s, struct err *e)
{
    struct store_put_options o = locked_until_2100();
    return store_put(s, "a", "0123456789", 10, &o, NULL, e);
}

static inline enum err_code put_five_locked(struct store *s, struct err *e)
{
    struct store_put_options o = locked_until_2100();
    return store_put(s, "a", "12345", 5, &o, NULL, e);
}

#endif
