/*
 * Credentials that end: newer ones are taken up before that, and in the middle of whatever is under way.
 */
#include "tests/unit/s3_scene.h"

enum { MINUTE_MS = 60 * 1000 };

/* Whoever renews: gives token "tN" for the Nth time that it has a new one. */
struct source {
    int asked, given;
    bool has_newer;
    int64_t lasts_ms;
};

static enum err_code give(void *context, struct store_session *out, struct err *e)
{
    struct source *s = context;
    char token[16];
    s->asked++;
    if (!s->has_newer)
        return err_set(e, ERR_RETRY, "none yet");
    s->given++;
    snprintf(token, sizeof(token), "t%d", s->given);
    *out = (struct store_session){ secret_new("AK2", 3), secret_new(scene_secret, strlen(scene_secret)),
                                   secret_new(token, strlen(token)), 1795356750000 + s->lasts_ms };
    return OK;
}

static struct scene scene_with(const struct http_fake_reply *replies, size_t count, struct source *source,
                               int64_t expires_in_ms)
{
    struct scene scene = scene_open(replies, count);
    struct store_s3 *s = (struct store_s3 *)scene.s;
    s->session.session_token = secret_new("t0", 2);
    s->session.expires_ms = expires_in_ms ? 1795356750000 + expires_in_ms : 0;
    s->renew = source ? give : NULL;
    s->renew_context = source;
    return scene;
}

static bool sent_token(struct scene *scene, int nth, const char *token)
{
    char header[64];
    snprintf(header, sizeof(header), "x-amz-security-token: %s\r\n", token);
    return strstr(http_fake_request(scene->server, nth), header) != NULL;
}

static void an_expired_token_is_renewed_and_the_call_goes_on(void **state)
{
    static const struct http_fake_reply replies[] = { FAIL("400 Bad Request", ERROR_OF("ExpiredToken", "")),
                                                      SAY(EMPTY) };
    (void)state;
    struct source source = { .has_newer = true };
    struct err e = ERR_INIT;
    struct scene scene = scene_with(replies, ARRAY_LEN(replies), &source, 0);
    use_clock(&scene, 100);
    assert_ok(store_put(scene.s, "a", "x", 1, NULL, NULL, &e));
    assert_true(sent_token(&scene, 0, "t0"));
    assert_true(sent_token(&scene, 1, "t1"));
    assert_non_null(strstr(http_fake_request(scene.server, 1), "Credential=AK2/"));
    assert_int_equal(source.asked, 1);
    scene_close(&scene);
}

static void without_newer_ones_it_is_a_matter_of_time(void **state)
{
    static const struct http_fake_reply replies[] = { FAIL("400 Bad Request",
                                                           ERROR_OF("ExpiredToken", "over")) };
    (void)state;
    struct source source = { .has_newer = false };
    struct err e = ERR_INIT;
    struct scene scene = scene_with(replies, ARRAY_LEN(replies), &source, 0);
    use_clock(&scene, 100);
    assert_int_equal(store_put(scene.s, "a", "x", 1, NULL, NULL, &e), ERR_RETRY);
    assert_non_null(strstr(e.text, "the credentials are over, and there are no newer ones yet"));
    assert_non_null(strstr(e.text, "ExpiredToken: over"));
    err_clear(&e);
    assert_int_equal(store_put(scene.s, "a", "x", 1, NULL, NULL, &e), ERR_RETRY);
    assert_int_equal(source.asked, 1); /* not at every turn: the clock stands still */
    source.has_newer = true;
    scene.clock.mono += 3000;
    err_clear(&e);
    assert_int_equal(store_put(scene.s, "a", "x", 1, NULL, NULL, &e),
                     ERR_RETRY); /* newer ones are refused, too */
    assert_int_equal(source.asked, 2);
    scene_close(&scene);
}

static void with_nobody_to_ask_it_is_a_denial(void **state)
{
    static const struct http_fake_reply replies[] = { FAIL("400 Bad Request", ERROR_OF("ExpiredToken", "")) };
    (void)state;
    struct err e = ERR_INIT;
    struct scene scene = scene_with(replies, ARRAY_LEN(replies), NULL, 0);
    use_clock(&scene, 100);
    assert_int_equal(store_put(scene.s, "a", "x", 1, NULL, NULL, &e), ERR_DENIED);
    scene_close(&scene);
}

/* Five minutes ahead, so that no call meets the end at all. */
static void they_are_renewed_ahead_of_their_end(void **state)
{
    static const struct http_fake_reply replies[] = { SAY(EMPTY) };
    (void)state;
    struct source source = { .has_newer = true, .lasts_ms = 60 * MINUTE_MS };
    struct err e = ERR_INIT;
    struct scene scene = scene_with(replies, ARRAY_LEN(replies), &source, 6 * MINUTE_MS);
    use_clock(&scene, 100);
    assert_ok(store_put(scene.s, "a", "x", 1, NULL, NULL, &e));
    assert_int_equal(source.asked, 0);
    scene.clock.wall += 2 * MINUTE_MS;
    assert_ok(store_put(scene.s, "a", "x", 1, NULL, NULL, &e));
    assert_ok(store_put(scene.s, "a", "x", 1, NULL, NULL, &e));
    assert_int_equal(source.asked, 1);
    assert_true(sent_token(&scene, 0, "t0") && sent_token(&scene, 1, "t1") && sent_token(&scene, 2, "t1"));
    scene_close(&scene);
}

/* By the server's clock, as its times are: ours is a day behind. */
static void their_end_is_by_the_servers_clock(void **state)
{
    static const struct http_fake_reply replies[] = {
        { HTTP_FAKE_CLOSE,
          "HTTP/1.1 403 No\r\nDate: Mon, 23 Nov 2026 14:12:30 GMT\r\n\r\n" ERROR_OF("RequestTimeTooSkewed",
                                                                                    "") },
        SAY(EMPTY),
    };
    (void)state;
    struct source source = { .has_newer = true, .lasts_ms = 100 * 60 * MINUTE_MS };
    struct err e = ERR_INIT;
    struct scene scene = scene_with(replies, ARRAY_LEN(replies), &source, 24 * 60 * MINUTE_MS);
    use_clock(&scene, 100);
    assert_ok(store_put(scene.s, "a", "x", 1, NULL, NULL, &e));
    assert_true(sent_token(&scene, 0, "t0") && sent_token(&scene, 1, "t1"));
    scene_close(&scene);
}

/* What says no more than that access is denied means it, until the session's own end. */
static void a_denial_is_their_end_only_behind_it(void **state)
{
    static const struct http_fake_reply replies[] = {
        FAIL("403 Forbidden", ERROR_OF("AccessDenied", "")),
        { HTTP_FAKE_CLOSE,
          "HTTP/1.1 403 Forbidden\r\nDate: Sun, 22 Nov 2026 15:12:30 GMT\r\n\r\n" ERROR_OF("AccessDenied",
                                                                                           "") },
        SAY(EMPTY),
    };
    (void)state;
    struct source source = { .has_newer = false };
    struct err e = ERR_INIT;
    struct scene scene = scene_with(replies, ARRAY_LEN(replies), &source, 60 * MINUTE_MS);
    use_clock(&scene, 100);
    assert_int_equal(store_put(scene.s, "a", "x", 1, NULL, NULL, &e), ERR_DENIED);
    err_clear(&e);
    scene.clock.wall += 60 * MINUTE_MS; /* asked ahead of the call, and there was none */
    struct store_s3 *s = (struct store_s3 *)scene.s;
    s->renew_not_before_ms = scene.clock.mono + 1; /* between that and the answer */
    assert_int_equal(store_put(scene.s, "a", "x", 1, NULL, NULL, &e), ERR_RETRY);
    err_clear(&e);
    scene.clock.mono += 3000;
    source.has_newer = true;
    assert_ok(store_put(scene.s, "a", "x", 1, NULL, NULL, &e));
    scene_close(&scene);
}

/* A HEAD is refused without a word: a GET of one byte has it. */
static void a_head_is_asked_again_with_words(void **state)
{
    static const struct http_fake_reply replies[] = {
        FAIL("400 Bad Request", ""),
        FAIL("400 Bad Request", ERROR_OF("ExpiredToken", "")),
        { HTTP_FAKE_CLOSE,
          "HTTP/1.1 206 Partial\r\n" DATE "Content-Range: bytes 0-0/3\r\nContent-Length: 1\r\n\r\na" },
        SAY(HEAD_OF(3, "")),
    };
    (void)state;
    struct source source = { .has_newer = true };
    struct store_info info;
    struct err e = ERR_INIT;
    struct scene scene = scene_with(replies, ARRAY_LEN(replies), &source, 0);
    use_clock(&scene, 100);
    assert_ok(store_head(scene.s, "a", "v1", &info, &e));
    assert_int_equal(info.bytes, 3);
    assert_int_equal(http_fake_count(scene.server), 4);
    assert_true(text_starts(http_fake_request(scene.server, 3), "HEAD /bucket/a?versionId=v1 "));
    scene_close(&scene);
}

static void a_head_that_is_over_is_no_missing_version(void **state)
{
    static const struct http_fake_reply replies[] = { FAIL("400 Bad Request", ""),
                                                      FAIL("400 Bad Request", ERROR_OF("ExpiredToken", "")) };
    (void)state;
    struct source source = { .has_newer = false };
    struct store_info info;
    struct err e = ERR_INIT;
    struct scene scene = scene_with(replies, ARRAY_LEN(replies), &source, 0);
    use_clock(&scene, 100);
    assert_int_equal(store_head(scene.s, "a", "v1", &info, &e), ERR_RETRY);
    assert_non_null(strstr(e.text, "the credentials are over"));
    scene_close(&scene);
}

/* As it is without temporary credentials, too. */
static void a_head_of_no_version_stays_that(void **state)
{
    static const struct http_fake_reply replies[] = {
        FAIL("400 Bad Request", ""), FAIL("400 Bad Request", ERROR_OF("InvalidArgument", ""))
    };
    (void)state;
    struct source source = { .has_newer = true };
    struct store_info info;
    struct err e = ERR_INIT;
    struct scene scene = scene_with(replies, ARRAY_LEN(replies), &source, 0);
    use_clock(&scene, 100);
    assert_int_equal(store_head(scene.s, "a", "v1", &info, &e), ERR_NOT_FOUND);
    assert_int_equal(source.asked, 0);
    scene_close(&scene);
}

static void an_upload_in_parts_goes_on_under_newer_ones(void **state)
{
    static const struct http_fake_reply replies[] = {
        CUT("<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"),
        SAY(HEAD_OF(0, "ETag: \"1\"\r\n")),
        FAIL("400 Bad Request", ERROR_OF("ExpiredToken", "")),
        SAY(HEAD_OF(0, "ETag: \"3\"\r\n")),
        SAY(HEAD_OF(0, "ETag: \"2\"\r\n")),
        CUT("<CompleteMultipartUploadResult><Key>a</Key></CompleteMultipartUploadResult>"),
    };
    (void)state;
    struct source source = { .has_newer = true };
    struct err e = ERR_INIT;
    struct scene scene = scene_with(replies, ARRAY_LEN(replies), &source, 0);
    use_clock(&scene, 4);
    assert_ok(store_put(scene.s, "a", "0123456789", 10, NULL, NULL, &e));
    assert_int_equal(http_fake_count(scene.server), 6);
    assert_true(sent_token(&scene, 2, "t0") && sent_token(&scene, 3, "t1") && sent_token(&scene, 4, "t1"));
    assert_true(text_starts(http_fake_request(scene.server, 4),
                            "PUT /bucket/a?partNumber=2&uploadId=u HTTP/1.1\r\n"));
    assert_int_equal(source.asked, 1);
    scene_close(&scene);
}

static enum err_code count_one(void *context, size_t index, struct buf *body, struct err *e)
{
    (void)index;
    (void)e;
    *(size_t *)context += body->len;
    return OK;
}

static void many_reads_go_on_under_newer_ones(void **state)
{
    static const struct http_fake_reply replies[] = {
        { HTTP_FAKE_CLOSE,
          "HTTP/1.1 206 Partial\r\n" DATE "Content-Range: bytes 0-2/3\r\nContent-Length: 3\r\n\r\nabc" },
        FAIL("400 Bad Request", ERROR_OF("ExpiredToken", "")),
        { HTTP_FAKE_CLOSE,
          "HTTP/1.1 206 Partial\r\n" DATE "Content-Range: bytes 0-2/3\r\nContent-Length: 3\r\n\r\nabc" },
    };
    static const struct store_read reads[] = { { "a", "v1", 0, 3 },
                                               { "b", "v1", 0, 3 },
                                               { "c", "v1", 0, 3 } };
    (void)state;
    struct source source = { .has_newer = true };
    struct err e = ERR_INIT;
    size_t bytes = 0;
    struct scene scene = scene_with(replies, ARRAY_LEN(replies), &source, 0);
    use_clock(&scene, 100);
    assert_ok(store_get_many(scene.s, reads, ARRAY_LEN(reads), count_one, &bytes, &e));
    assert_int_equal(bytes, 9);
    assert_int_equal(source.asked, 1);
    scene_close(&scene);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_expired_token_is_renewed_and_the_call_goes_on),
        cmocka_unit_test(without_newer_ones_it_is_a_matter_of_time),
        cmocka_unit_test(with_nobody_to_ask_it_is_a_denial),
        cmocka_unit_test(they_are_renewed_ahead_of_their_end),
        cmocka_unit_test(their_end_is_by_the_servers_clock),
        cmocka_unit_test(a_denial_is_their_end_only_behind_it),
        cmocka_unit_test(a_head_is_asked_again_with_words),
        cmocka_unit_test(a_head_that_is_over_is_no_missing_version),
        cmocka_unit_test(a_head_of_no_version_stays_that),
        cmocka_unit_test(an_upload_in_parts_goes_on_under_newer_ones),
        cmocka_unit_test(many_reads_go_on_under_newer_ones),
    };
    return cmocka_run_group_tests_name("s3 session", tests, NULL, NULL);
}
