/*
 * The s3 backend against answers that a real store gives too seldom to wait for: dropped locks, lists that
 * make no sense, failures inside a success. One call a row.
 */
#include "tests/unit/s3_scene.h"

static enum err_code ignore_entry(void *context, const struct store_info *info, struct err *e)
{
    (void)context, (void)info, (void)e;
    return OK;
}

static enum err_code do_head(struct store *s, struct err *e)
{
    struct store_info info;
    return store_head(s, "a", NULL, &info, e);
}

static enum err_code do_head_version(struct store *s, struct err *e)
{
    struct store_info info;
    return store_head(s, "a", "v1", &info, e);
}

static enum err_code do_get(struct store *s, struct err *e)
{
    CLEANUP(buf_done) struct buf body = BUF_INIT(10);
    return store_get(s, "a", NULL, 0, UINT64_MAX, &body, NULL, e);
}

static enum err_code do_range(struct store *s, struct err *e)
{
    CLEANUP(buf_done) struct buf body = BUF_INIT(10);
    enum err_code code = store_get(s, "a", NULL, 2, 3, &body, NULL, e);
    if (code == OK)
        assert_string_equal(buf_text(&body), "234");
    return code;
}

static enum err_code do_list(struct store *s, struct err *e)
{
    return store_list(s, "p", NULL, ignore_entry, NULL, e);
}

static enum err_code do_list_versions(struct store *s, struct err *e)
{
    return store_list_versions(s, "p", ignore_entry, NULL, e);
}

static enum err_code do_put(struct store *s, struct err *e)
{
    struct store_info info;
    return store_put(s, "a", "12345", 5, NULL, &info, e);
}

static enum err_code do_delete(struct store *s, struct err *e)
{
    return store_delete(s, "a", "v1", e);
}

static enum err_code do_facts(struct store *s, struct err *e)
{
    struct store_facts facts;
    return store_facts(s, &facts, e);
}

/* The answer to a part. Parts come over several connections, and the server takes one at a time: so it closes
 * each. */
#define PART(n)                                                                                              \
    {                                                                                                        \
        HTTP_FAKE_CLOSE, HEAD_OF(0, "ETag: \"" n "\"\r\n")                                                   \
    }

enum { REPLIES_MAX = 8 };

static const struct row {
    const char *name;
    enum err_code (*call)(struct store *s, struct err *e);
    struct http_fake_reply replies[REPLIES_MAX];
    enum err_code want;
    const char *text; /* in the error */
} rows[] = {
    { "S3's code, message and request id are told",
      do_get,
      { FAIL("404 Not Found", ERROR_OF("NoSuchKey", "The key is not there")) },
      ERR_NOT_FOUND,
      "NoSuchKey: The key is not there (request tx7)" },
    { "a missing bucket is not found",
      do_list,
      { FAIL("404 Not Found", ERROR_OF("NoSuchBucket", "")) },
      ERR_NOT_FOUND,
      "NoSuchBucket" },
    { "SlowDown is to be tried again",
      do_get,
      { FAIL("503 Slow", ERROR_OF("SlowDown", "")) },
      ERR_RETRY,
      "SlowDown" },
    { "a time-out of the request is to be tried again though its status is 400",
      do_get,
      { FAIL("400 Bad", ERROR_OF("RequestTimeout", "")) },
      ERR_RETRY,
      "RequestTimeout" },
    { "bytes damaged on the way are to be sent again",
      do_put,
      { FAIL("400 Bad", ERROR_OF("BadDigest", "")) },
      ERR_RETRY,
      "BadDigest" },
    { "an expired token is denied though its status is 400",
      do_get,
      { FAIL("400 Bad", ERROR_OF("ExpiredToken", "")) },
      ERR_DENIED,
      "ExpiredToken" },
    { "a full quota is a limit",
      do_put,
      { FAIL("403 No", ERROR_OF("QuotaExceeded", "")) },
      ERR_LIMIT,
      "QuotaExceeded" },
    { "a wrong signature is denied",
      do_get,
      { FAIL("403 No", ERROR_OF("SignatureDoesNotMatch", "")) },
      ERR_DENIED,
      "SignatureDoesNotMatch" },
    { "a locked version is not deleted",
      do_delete,
      { FAIL("403 No", ERROR_OF("AccessDenied", "forbidden by object lock")) },
      ERR_DENIED,
      "forbidden by object lock" },
    { "deleting what is gone is fine", do_delete, { FAIL("404 No", ERROR_OF("NoSuchVersion", "")) }, OK, "" },
    { "deleting in a bucket that is gone is not",
      do_delete,
      { FAIL("404 No", ERROR_OF("NoSuchBucket", "")) },
      ERR_NOT_FOUND,
      "NoSuchBucket" },
    { "a bucket elsewhere is denied",
      do_get,
      { SAY("HTTP/1.1 301 Moved\r\nx-amz-bucket-region: us-east-1\r\nLocation: "
            "http://us.example/\r\nContent-Length: 0\r\n\r\n") },
      ERR_DENIED,
      "http://us.example/" },
    { "a temporary redirect is denied",
      do_put,
      { SAY("HTTP/1.1 307 Temporary\r\nLocation: http://us.example/\r\nContent-Length: 0\r\n\r\n") },
      ERR_DENIED,
      "redirect" },
    { "a gateway's page is a failure by its status",
      do_get,
      { FAIL("502 Bad Gateway", "<html>oops</html>") },
      ERR_RETRY,
      "HTTP 502" },
    { "an unknown version is not found though the status is 400",
      do_head_version,
      { SAY("HTTP/1.1 400 Bad\r\n" DATE "\r\n") },
      ERR_NOT_FOUND,
      "no such version" },
    { "a delete marker's version is not found",
      do_head_version,
      { SAY("HTTP/1.1 405 No\r\n" DATE "\r\n") },
      ERR_NOT_FOUND,
      "no such version" },
    { "a malformed request without a version stays one",
      do_head,
      { SAY("HTTP/1.1 400 Bad\r\n" DATE "\r\n") },
      ERR_USAGE,
      "HTTP 400" },

    { "a lock mode that nobody knows is corrupt",
      do_head,
      { SAY(HEAD_OF(5, "x-amz-object-lock-mode: MAYBE\r\n")) },
      ERR_CORRUPT,
      "MAYBE" },
    { "a lock without its end is corrupt",
      do_head,
      { SAY(HEAD_OF(5, "x-amz-object-lock-mode: COMPLIANCE\r\n")) },
      ERR_CORRUPT,
      "end" },
    { "a head without a size is corrupt",
      do_head,
      { SAY("HTTP/1.1 200 OK\r\n" DATE "\r\n") },
      ERR_CORRUPT,
      "Content-Length" },
    { "a head without a date is corrupt",
      do_head,
      { SAY("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n") },
      ERR_CORRUPT,
      "Last-Modified" },

    { "the right range is taken",
      do_range,
      { SAY("HTTP/1.1 206 Partial\r\n" DATE "Content-Range: bytes 2-4/10\r\nContent-Length: 3\r\n\r\n234") },
      OK,
      "" },
    { "a store that ignores ranges is put up with", do_range, { SAY(HEAD_OF(10, "") "0123456789") }, OK, "" },
    { "another range than asked for is corrupt",
      do_range,
      { SAY("HTTP/1.1 206 Partial\r\n" DATE "Content-Range: bytes 1-3/10\r\nContent-Length: 3\r\n\r\n123") },
      ERR_CORRUPT,
      "asked for 3 bytes from 2" },
    { "a shorter range than there is is corrupt",
      do_range,
      { SAY("HTTP/1.1 206 Partial\r\n" DATE "Content-Range: bytes 2-3/10\r\nContent-Length: 2\r\n\r\n23") },
      ERR_CORRUPT,
      "asked for 3 bytes" },
    { "a range without its header is corrupt",
      do_range,
      { SAY("HTTP/1.1 206 Partial\r\n" DATE "Content-Length: 3\r\n\r\n234") },
      ERR_CORRUPT,
      "Content-Range" },
    { "an object cut short is to be tried again",
      do_get,
      { { HTTP_FAKE_CLOSE, "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 9\r\n\r\n1234" } },
      ERR_RETRY,
      "" },

    { "a list that is none is corrupt and not empty",
      do_list,
      { CUT("<html></html>") },
      ERR_CORRUPT,
      "no list" },
    { "an empty answer is no empty list", do_list, { CUT("") }, ERR_CORRUPT, "no XML" },
    { "a list cut short is corrupt",
      do_list,
      { CUT("<ListBucketResult><IsTruncated>false</IsTruncated>") },
      ERR_CORRUPT,
      "no XML" },
    { "a list that does not say whether it is whole is corrupt",
      do_list,
      { CUT("<ListBucketResult></ListBucketResult>") },
      ERR_CORRUPT,
      "no list" },
    { "an empty list is one",
      do_list,
      { CUT("<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>") },
      OK,
      "" },
    { "a list that says 'more' and gives nothing would never end",
      do_list,
      { CUT("<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>") },
      ERR_CORRUPT,
      "lists nothing" },
    { "a list that comes back to where it was would never end",
      do_list,
      { CUT("<ListBucketResult><IsTruncated>true</IsTruncated><Contents><Key>p1</Key></Contents></"
            "ListBucketResult>") },
      ERR_CORRUPT,
      "out of order" },
    { "a key outside the prefix is corrupt",
      do_list,
      { CUT("<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>q</Key></Contents></"
            "ListBucketResult>") },
      ERR_CORRUPT,
      "out of order" },
    { "versions that come back would never end",
      do_list_versions,
      { CUT("<ListVersionsResult><IsTruncated>true</IsTruncated><Version><Key>p1</Key><VersionId>v</"
            "VersionId></Version>"
            "</ListVersionsResult>") },
      ERR_CORRUPT,
      "out of order" },
    { "a document type is refused",
      do_list,
      { CUT("<!DOCTYPE a [<!ENTITY b "
            "\"c\">]><ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>") },
      ERR_CORRUPT,
      "document type" },
    { "a failing list is an error",
      do_list,
      { FAIL("500 Oops", ERROR_OF("InternalError", "")) },
      ERR_RETRY,
      "InternalError" },

    { "a lock that was kept is believed after reading it back",
      put_five_locked,
      { SAY(EMPTY), SAY(HEAD_OF(5, LOCKED("2100-01-01T00:00:00Z"))) },
      OK,
      "" },
    { "a lock that was dropped is set again",
      put_five_locked,
      { SAY(EMPTY), SAY(HEAD_OF(5, "")), SAY(EMPTY), SAY(HEAD_OF(5, LOCKED("2100-01-01T00:00:00.000Z"))) },
      OK,
      "" },
    { "a lock that is dropped always fails the put",
      put_five_locked,
      { SAY(EMPTY), SAY(HEAD_OF(5, "")), SAY(EMPTY), SAY(HEAD_OF(5, "")), SAY(EMPTY) },
      ERR_DENIED,
      "did not keep the lock" },
    { "a lock that ends too early fails the put",
      put_five_locked,
      { SAY(EMPTY), SAY(HEAD_OF(5, LOCKED("2099-12-31T23:59:59Z"))), SAY(EMPTY),
        SAY(HEAD_OF(5, LOCKED("2099-12-31T23:59:59Z"))), SAY(EMPTY) },
      ERR_DENIED,
      "read back 2099-12-31" },
    { "a bucket without object lock denies the put",
      put_five_locked,
      { FAIL("400 Bad", ERROR_OF("InvalidRequest", "Bucket is missing Object Lock Configuration")) },
      ERR_DENIED,
      "cannot keep a lock" },
    { "a version that was put and is not there yet is to be tried again",
      put_five_locked,
      { SAY(EMPTY), SAY("HTTP/1.1 404 No\r\n" DATE "Content-Length: 0\r\n\r\n"), SAY(EMPTY) },
      ERR_RETRY,
      "not there yet" },
    { "a refusal without words by a server whose clock is ours is one",
      do_head,
      { SAY("HTTP/1.1 403 No\r\n" DATE "Content-Length: 0\r\n\r\n") },
      ERR_DENIED,
      "HTTP 403" },
    { "by one whose clock is far from ours it is about the time: signed anew, once",
      do_head,
      { SAY("HTTP/1.1 403 No\r\nDate: Sun, 22 Nov 2026 22:12:30 GMT\r\nContent-Length: 0\r\n\r\n"),
        SAY(HEAD_OF(5, "")) },
      OK,
      "" },
    { "and stays one where that did not help",
      do_head,
      { SAY("HTTP/1.1 403 No\r\nDate: Sun, 22 Nov 2026 06:12:30 GMT\r\nContent-Length: 0\r\n\r\n"),
        SAY("HTTP/1.1 403 No\r\nDate: Sun, 22 Nov 2026 06:12:30 GMT\r\nContent-Length: 0\r\n\r\n") },
      ERR_DENIED,
      "HTTP 403" },
    { "a size other than what was put is corrupt",
      do_put,
      { SAY(EMPTY), SAY(HEAD_OF(4, "")) },
      ERR_CORRUPT,
      "5 bytes were put" },

    { "a failure inside the success of the last step is one",
      put_ten_locked,
      { CUT("<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"),
        PART("1"), PART("2"), PART("3"), CUT(ERROR_OF("AccessDenied", "")), SAY(EMPTY) },
      ERR_DENIED,
      "complete the upload" },
    { "one that passes is tried again, and the upload completed",
      put_ten_locked,
      { CUT("<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"),
        PART("1"), PART("2"), PART("3"), CUT(ERROR_OF("InternalError", "")),
        CUT("<CompleteMultipartUploadResult><Key>a</Key></CompleteMultipartUploadResult>"),
        SAY(HEAD_OF(10, LOCKED("2100-01-01T00:00:00Z"))) },
      OK,
      "" },
    { "an upload that is gone is to be put again, whole",
      put_ten_locked,
      { CUT("<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"),
        PART("1"), FAIL("404 No", ERROR_OF("NoSuchUpload", "")), SAY(EMPTY) },
      ERR_RETRY,
      "NoSuchUpload" },
    { "a part without its ETag fails the put",
      put_ten_locked,
      { CUT("<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"),
        { HTTP_FAKE_CLOSE, EMPTY },
        { HTTP_FAKE_CLOSE, EMPTY },
        { HTTP_FAKE_CLOSE, EMPTY } },
      ERR_CORRUPT,
      "the answer has no ETag" },
    { "an upload without an id is not begun",
      put_ten_locked,
      { CUT("<InitiateMultipartUploadResult></InitiateMultipartUploadResult>") },
      ERR_CORRUPT,
      "no upload id" },
    { "facts that cannot be read are no facts",
      do_facts,
      { CUT("<LocationConstraint>eu</LocationConstraint>"), CUT("<html></html>") },
      ERR_CORRUPT,
      "versioning" },
};

static void one_call(void **state)
{
    const struct row *row = *state;
    struct err e = ERR_INIT;
    size_t count = 1;
    while (count < REPLIES_MAX && row->replies[count].text)
        count++;
    struct scene scene = scene_open(row->replies, count);
    use_clock(&scene, row->call == put_ten_locked ? 4 : 100);
    enum err_code code = row->call(scene.s, &e);
    if (code != row->want)
        fail_msg("%s, not %s: %s", err_name(code), err_name(row->want), e.text);
    if (!strstr(e.text, row->text))
        fail_msg("'%s' does not tell of '%s'", e.text, row->text);
    assert_null(strstr(e.text, scene_secret));
    scene_close(&scene);
}

int main(void)
{
    static struct CMUnitTest tests[ARRAY_LEN(rows)];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        tests[i] = (struct CMUnitTest){ rows[i].name, one_call, NULL, NULL, (void *)&rows[i] };
    return _cmocka_run_group_tests("s3 answers", tests, ARRAY_LEN(tests), NULL, NULL);
}
