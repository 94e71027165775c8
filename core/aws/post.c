#include "core/aws/post.h"

#include "base/clock.h"
#include "core/aws/sigv4.h"
#include "core/crypto/crypto.h"

enum { HEADERS = 6, AUTHORIZATION_BYTES_MAX = 2048 };

enum err_code aws_post(struct http_client *http, const struct aws_post *p, struct http_response *r,
                       struct err *e)
{
    CLEANUP(buf_done) struct buf authorization = BUF_INIT(AUTHORIZATION_BYTES_MAX);
    char date[CLOCK_TEXT_BYTES], hash[SHA256_HEX_BYTES];
    struct http_header headers[HEADERS] = {
        { "host", p->host },
        { "x-amz-date", clock_format_s3(p->now_ms, date) },
        { "content-type", p->content_type },
    };
    size_t count = 3;
    if (p->target)
        headers[count++] = (struct http_header){ "x-amz-target", p->target };
    if (p->session_token)
        headers[count++] = (struct http_header){ "x-amz-security-token", secret_bytes(p->session_token) };
    sha256_hex(p->body->data, p->body->len, hash);
    const struct sigv4_request signing = {
        .access_key = p->access_key,
        .secret_key = p->secret_key,
        .region = p->region,
        .service = p->service,
        .time_ms = p->now_ms,
        .method = "POST",
        .path = "/",
        .path_normalised = true,
        .path_encoded_again = true,
        .query = "",
        .headers = headers,
        .header_count = count,
        .payload_hash = hash,
    };
    if (sigv4_sign(&signing, &authorization, e))
        return e->code;
    headers[count++] = (struct http_header){ "authorization", buf_text(&authorization) };
    const struct http_request q = {
        .method = "POST",
        .target = "/",
        .headers = headers,
        .header_count = count,
        .body = p->body->data,
        .body_bytes = p->body->len,
        .timeout_ms = p->timeout_ms,
    };
    return http_do(http, &q, r, e);
}
