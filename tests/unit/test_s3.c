/*
 * The s3 backend in courses of several calls: what it sends, and in which order.
 */
#include "tests/unit/s3_scene.h"

static void an_upload_that_fails_is_aborted(void **state)
{
    static const struct http_fake_reply replies[] = {
        CUT("<InitiateMultipartUploadResult><UploadId>u/1</UploadId></InitiateMultipartUploadResult>"),
        SAY(HEAD_OF(0, "ETag: \"1\"\r\n")),
        FAIL("403 No", ERROR_OF("AccessDenied", "")),
        SAY(EMPTY),
    };
    (void)state;
    struct err e = ERR_INIT;
    struct scene scene = scene_open(replies, ARRAY_LEN(replies));
    use_clock(&scene, 4);
    assert_int_equal(put_ten_locked(scene.s, &e), ERR_DENIED);
    assert_int_equal(http_fake_count(scene.server), 4);
    assert_true(text_starts(http_fake_request(scene.server, 0), "POST /bucket/a?uploads= HTTP/1.1\r\n"));
    assert_true(text_starts(http_fake_request(scene.server, 2),
                            "PUT /bucket/a?partNumber=2&uploadId=u%2F1 HTTP/1.1\r\n"));
    assert_true(
        text_starts(http_fake_request(scene.server, 3), "DELETE /bucket/a?uploadId=u%2F1 HTTP/1.1\r\n"));
    scene_close(&scene);
}

static void a_part_is_tried_again_alone(void **state)
{
    static const struct http_fake_reply replies[] = {
        CUT("<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"),
        SAY(HEAD_OF(0, "ETag: \"1\"\r\n")),
        FAIL("503 Slow", ERROR_OF("SlowDown", "")),
        SAY(HEAD_OF(0, "ETag: \"3\"\r\n")), /* the others do not wait for it */
        { HTTP_FAKE_RESET, "" },
        SAY(HEAD_OF(0, "ETag: \"2\"\r\n")),
        { HTTP_FAKE_CLOSE,
          "HTTP/1.1 200 OK\r\n" DATE "x-amz-version-id: v1\r\n\r\n<CompleteMultipartUploadResult><Key>a</Key>"
          "<ETag></ETag></CompleteMultipartUploadResult>" },
        SAY(HEAD_OF(10, LOCKED("2100-01-01T00:00:00Z"))),
    };
    (void)state;
    struct err e = ERR_INIT;
    struct scene scene = scene_open(replies, ARRAY_LEN(replies));
    use_clock(&scene, 4);
    assert_ok(put_ten_locked(scene.s, &e));
    assert_int_equal(http_fake_count(scene.server), 8);
    const char *complete = http_fake_request(scene.server, 6);
    assert_non_null(strstr(complete, "<Part><PartNumber>2</PartNumber><ETag>&quot;2&quot;</ETag>"));
    assert_non_null(
        strstr(http_fake_request(scene.server, 3), "\r\n\r\n89")); /* the last part is what is left */
    scene_close(&scene);
}

static void an_unlocked_version_is_not_left_behind(void **state)
{
    static const struct http_fake_reply replies[] = {
        SAY(EMPTY), SAY(HEAD_OF(5, "")), SAY(EMPTY), SAY(HEAD_OF(5, "")), SAY(EMPTY),
    };
    (void)state;
    struct err e = ERR_INIT;
    struct scene scene = scene_open(replies, ARRAY_LEN(replies));
    use_clock(&scene, 100);
    assert_int_equal(put_five_locked(scene.s, &e), ERR_DENIED);
    assert_true(text_starts(http_fake_request(scene.server, 2),
                            "PUT /bucket/a?retention=&versionId=v1 HTTP/1.1\r\n"));
    assert_non_null(strstr(http_fake_request(scene.server, 2),
                           "<RetainUntilDate>2100-01-01T00:00:00.000Z</RetainUntilDate>"));
    assert_true(
        text_starts(http_fake_request(scene.server, 4), "DELETE /bucket/a?versionId=v1 HTTP/1.1\r\n"));
    scene_close(&scene);
}

static void the_clock_is_corrected(void **state)
{
    static const struct http_fake_reply replies[] = {
        { HTTP_FAKE_CLOSE,
          "HTTP/1.1 403 No\r\nDate: Mon, 23 Nov 2026 15:12:30 GMT\r\n\r\n" ERROR_OF("RequestTimeTooSkewed",
                                                                                    "") },
        SAY(EMPTY),
        SAY(EMPTY),
        { HTTP_FAKE_CLOSE,
          "HTTP/1.1 403 No\r\nDate: Mon, 23 Nov 2026 15:12:30 GMT\r\n\r\n" ERROR_OF("RequestTimeTooSkewed",
                                                                                    "") },
    };
    (void)state;
    struct err e = ERR_INIT;
    struct scene scene = scene_open(replies, ARRAY_LEN(replies));
    use_clock(&scene, 100);
    assert_ok(store_put(scene.s, "a", "x", 1, NULL, NULL, &e));
    assert_ok(store_put(scene.s, "a", "x", 1, NULL, NULL, &e));
    assert_non_null(strstr(http_fake_request(scene.server, 0), "x-amz-date: 20261122T141230Z\r\n"));
    assert_non_null(strstr(http_fake_request(scene.server, 1), "x-amz-date: 20261123T151230Z\r\n"));
    assert_non_null(
        strstr(http_fake_request(scene.server, 2), "x-amz-date: 20261123T151230Z\r\n")); /* and it is kept */
    assert_int_equal(store_put(scene.s, "a", "x", 1, NULL, NULL, &e), ERR_DENIED);       /* not for ever */
    assert_int_equal(http_fake_count(scene.server), 3 + 1 + S3_AGAIN_TRIES);
    scene_close(&scene);
}

static void what_is_sent_is_signed_and_hashed(void **state)
{
    static const struct http_fake_reply replies[] = { SAY(EMPTY) };
    (void)state;
    struct err e = ERR_INIT;
    struct scene scene = scene_open(replies, 1);
    use_clock(&scene, 100);
    assert_ok(store_put(scene.s, "a b/ä%", "123456789", 9, NULL, NULL, &e));
    const char *put = http_fake_request(scene.server, 0);
    assert_true(text_starts(put, "PUT /bucket/a%20b/%C3%A4%25 HTTP/1.1\r\n"));
    assert_non_null(
        strstr(put,
               "x-amz-content-sha256: 15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225\r\n"));
    assert_non_null(strstr(put, "x-amz-checksum-crc32c: 4waSgw==\r\n"));
    assert_non_null(
        strstr(put,
               "authorization: AWS4-HMAC-SHA256 Credential=AK/20261122/eu-test-1/s3/aws4_request, "
               "SignedHeaders=content-type;host;x-amz-checksum-crc32c;x-amz-content-sha256;x-amz-date, "));
    scene_close(&scene);
}

static void places_are_checked_when_opened(void **state)
{
    static const struct {
        struct store_place place;
        bool with_keys;
        enum err_code want;
    } cases[] = {
        { { .bucket = "bucket", .endpoint = "http://127.0.0.1:1", .region = "eu-test-1" }, true, OK },
        { { .bucket = "bucket", .endpoint = "http://127.0.0.1:1", .region = "" }, true, ERR_USAGE },
        { { .bucket = "bucket", .endpoint = "http://127.0.0.1:1", .region = "a/b" }, true, ERR_USAGE },
        { { .bucket = "bucket", .endpoint = "", .region = "eu-test-1" }, true, ERR_USAGE },
        { { .bucket = "bucket", .endpoint = "127.0.0.1", .region = "eu-test-1" }, true, ERR_USAGE },
        { { .bucket = "bucket", .endpoint = "http://h/path", .region = "eu-test-1" }, true, ERR_USAGE },
        { { .bucket = "bucket", .endpoint = "http://127.0.0.1:1", .region = "eu-test-1" }, false, ERR_USAGE },
        { { .bucket = "Bucket", .endpoint = "http://127.0.0.1:1", .region = "eu-test-1" }, true, ERR_USAGE },
        { { .bucket = "a.bucket", .endpoint = "https://h", .region = "eu-test-1" }, true, ERR_USAGE },
        { { .bucket = "a.bucket", .endpoint = "https://h", .region = "eu-test-1", .path_style = true },
          true,
          OK },
    };
    (void)state;
    struct secret *key = secret_new("k", 1);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err e = ERR_INIT;
        struct store_place place = cases[i].place;
        struct store_credentials keys = { .access_key = key, .secret_key = cases[i].with_keys ? key : NULL };
        CLEANUP(store_closep) struct store *s = NULL;
        place.kind = STORE_S3;
        assert_int_equal(store_open(&place, &keys, &s, &e), cases[i].want);
    }
    secret_free(key);
}

static void a_date_is_read_or_refused(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    int64_t ms = 7;
    assert_ok(s3_parse_date("Sun, 22 Nov 2026 14:12:30 GMT", &ms, &e));
    assert_int_equal(ms, 1795356750000);
    static const char *const bad[] = { "", "2026-11-22T14:12:30Z", "Sun, 22 Nov 2026 14:12:30 CET",
                                       "Sun, 22 Nov 2026 14:12:30 GMT+1" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(s3_parse_date(bad[i], &ms, &e), ERR_CORRUPT);
    assert_int_equal(ms, 1795356750000);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_upload_that_fails_is_aborted),
        cmocka_unit_test(a_part_is_tried_again_alone),
        cmocka_unit_test(an_unlocked_version_is_not_left_behind),
        cmocka_unit_test(the_clock_is_corrected),
        cmocka_unit_test(what_is_sent_is_signed_and_hashed),
        cmocka_unit_test(places_are_checked_when_opened),
        cmocka_unit_test(a_date_is_read_or_refused),
    };
    return cmocka_run_group_tests_name("s3", tests, NULL, NULL);
}
