#include "core/http/http_client.h"

#include "base/mem.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

enum { TARGET_BYTES_MAX = 16 * 1024 };

void http_response_done(struct http_response *r)
{
    buf_done(&r->headers);
    buf_done(&r->body);
}

/* ---- one request ---- */

/* Overwritten: a token may be among them. */
static void drop_headers(struct http_client *c)
{
    for (struct curl_slist *line = c->headers; line; line = line->next)
        explicit_bzero(line->data, strlen(line->data));
    curl_slist_free_all(c->headers);
    c->headers = NULL;
}

static void add_header(struct http_client *c, const char *line)
{
    struct curl_slist *longer = curl_slist_append(c->headers, line);
    invariant(longer != NULL); /* memory */
    c->headers = longer;
}

static bool is_token(const char *name)
{
    return *name &&
           name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")] == '\0';
}

/* A line break in a value would be another header, or another request. */
static enum err_code build_headers(struct http_client *c, const struct http_request *q, struct err *e)
{
    bool typed = false;
    for (size_t i = 0; i < q->header_count; i++) {
        const struct http_header *header = &q->headers[i];
        if (!is_token(header->name) || !http_is_clean(header->value))
            return err_set(e, ERR_USAGE, "header '%.60s' is malformed",
                           http_is_clean(header->name) ? header->name : "");
        /* libcurl takes "name;" for an empty value. */
        CLEANUP(freep)
        char *line = *header->value ? mem_printf("%s: %s", header->name, header->value)
                                    : mem_printf("%s;", header->name);
        add_header(c, line);
        explicit_bzero(line, strlen(line));
        typed = typed || strcasecmp(header->name, "content-type") == 0;
    }
    if (!typed)
        add_header(c, "Content-Type:"); /* none, rather than the one of a web form */
    add_header(c, "Expect:");
    return OK;
}

static enum err_code check_request(const struct http_request *q, struct err *e)
{
    if (!is_token(q->method))
        return err_set(e, ERR_USAGE, "'%.20s' is no method", http_is_clean(q->method) ? q->method : "");
    size_t n = strlen(q->target);
    if (q->target[0] != '/' || n > TARGET_BYTES_MAX || !http_is_clean(q->target) || strchr(q->target, ' ') ||
        strchr(q->target, '#'))
        return err_set(e, ERR_USAGE,
                       "the request's path must start with '/', be encoded and at most %d bytes long",
                       TARGET_BYTES_MAX);
    return OK;
}

/* Room for the whole body at once, rather than by doubling: a large one would be copied twice over. */
static void expect_body(CURL *curl, struct buf *body)
{
    curl_off_t length = -1;
    if (curl_easy_getinfo(curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length) == CURLE_OK && length > 0 &&
        (uint64_t)length <= body->max)
        buf_reserve(body, (size_t)length);
}

static size_t take_body(char *data, size_t size, size_t n, void *user)
{
    const struct http_sink *sink = user;
    struct http_response *r = sink->r;
    if (r->body.len == 0)
        expect_body(sink->curl, &r->body);
    buf_add(&r->body, data, size * n);
    return r->body.full ? 0 : size * n;
}

/* "Name: value\r\n" -> "name: value\n". A new status line, as after a 100, starts over. */
static size_t take_header(char *data, size_t size, size_t n, void *user)
{
    struct http_response *r = user;
    size_t length = size * n, end = length, colon;
    while (end > 0 &&
           (data[end - 1] == '\n' || data[end - 1] == '\r' || data[end - 1] == ' ' || data[end - 1] == '\t'))
        end--;
    if (end >= 5 && memcmp(data, "HTTP/", 5) == 0)
        buf_reset(&r->headers);
    const char *at = memchr(data, ':', end);
    if (!at)
        return length;
    colon = (size_t)(at - data);
    for (size_t i = 0; i < colon; i++)
        buf_add_byte(&r->headers,
                     (uint8_t)(data[i] >= 'A' && data[i] <= 'Z' ? data[i] + ('a' - 'A') : data[i]));
    buf_add_text(&r->headers, ": ");
    for (colon++; colon < end && (data[colon] == ' ' || data[colon] == '\t');)
        colon++;
    for (; colon < end; colon++)
        if (data[colon] != '\0')
            buf_add_byte(&r->headers, (uint8_t)data[colon]);
    buf_add_byte(&r->headers, '\n');
    return r->headers.full ? 0 : length;
}

/* Method and body. HEAD must be known to libcurl, or it would wait for a body. */
static bool set_body(CURL *curl, const struct http_request *q)
{
    bool head = strcmp(q->method, "HEAD") == 0;
    bool with_body = q->body_bytes > 0 || strcmp(q->method, "PUT") == 0 || strcmp(q->method, "POST") == 0;
    if (curl_easy_setopt(curl, CURLOPT_NOBODY, 0L) || curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L))
        return false;
    if (head)
        return curl_easy_setopt(curl, CURLOPT_NOBODY, 1L) == CURLE_OK;
    if (with_body && (curl_easy_setopt(curl, CURLOPT_POST, 1L) ||
                      curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->body_bytes) ||
                      curl_easy_setopt(curl, CURLOPT_POSTFIELDS, q->body_bytes ? q->body : "")))
        return false;
    return true;
}

static bool set_request(struct http_client *c, const struct http_request *q)
{
    int64_t timeout_ms = q->timeout_ms ? q->timeout_ms : c->request_timeout_ms;
    bool head = strcmp(q->method, "HEAD") == 0;
    return set_body(c->curl, q) && curl_easy_setopt(c->curl, CURLOPT_URL, c->origin) == CURLE_OK &&
           curl_easy_setopt(c->curl, CURLOPT_REQUEST_TARGET, q->target) == CURLE_OK &&
           curl_easy_setopt(c->curl, CURLOPT_CUSTOMREQUEST, head ? NULL : q->method) == CURLE_OK &&
           curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, c->headers) == CURLE_OK &&
           curl_easy_setopt(c->curl, CURLOPT_TIMEOUT_MS, (long)timeout_ms) == CURLE_OK &&
           curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, take_body) == CURLE_OK &&
           curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, &c->sink) == CURLE_OK &&
           curl_easy_setopt(c->curl, CURLOPT_HEADERFUNCTION, take_header) == CURLE_OK &&
           curl_easy_setopt(c->curl, CURLOPT_HEADERDATA, c->sink.r) == CURLE_OK;
}

/* The guard's own no, in words that say what to do. */
static enum err_code refused_address(const struct http_client *c, struct err *e)
{
    if (c->refused_plain)
        return err_set(e, ERR_DENIED,
                       "%s: %s is another machine, and without TLS nothing leaves this one: use https://",
                       c->place, c->refused);
    return err_set(
        e, ERR_DENIED,
        "%s: its address %s is outside the ranges that the policy allows for it; nothing was sent there",
        c->place, c->refused);
}

static enum err_code refused_tls(const struct http_client *c, enum http_refusal_kind kind, const char *detail,
                                 struct err *e)
{
    http_refuse(&(struct http_refusal){ kind, c->place, detail });
    return err_set(e, ERR_DENIED, "%s: %s: %s", c->place,
                   kind == HTTP_REFUSED_CLIENT ? "it does not take our certificate"
                                               : "its certificate does not verify",
                   detail);
}

/* TLS 1.3 tells the client only after the handshake, as an alert in place of an answer. */
static bool is_client_alert(const char *detail)
{
    static const char *const alerts[] = { "alert certificate required", "alert bad certificate",
                                          "alert unknown ca",           "alert certificate expired",
                                          "alert certificate unknown",  "alert access denied" };
    for (size_t i = 0; i < ARRAY_LEN(alerts); i++)
        if (strstr(detail, alerts[i]))
            return true;
    return false;
}

/* A certificate whose signature is not its authority's, though it says so: libcurl 7.88 has no word of its
 * own for it, and shows the innermost of OpenSSL's. */
static bool is_forged(CURLcode code, const char *detail)
{
    static const char *const words[] = { "asn1 encoding routines", "rsa routines",
                                         "certificate verify failed" };
    for (size_t i = 0; code == CURLE_SSL_CONNECT_ERROR && i < ARRAY_LEN(words); i++)
        if (strstr(detail, words[i]))
            return true;
    return false;
}

static enum err_code failed(const struct http_client *c, CURLcode code, const struct http_request *q,
                            const struct http_response *r, struct err *e)
{
    const char *detail = c->detail[0] ? c->detail : curl_easy_strerror(code);
    if (c->refused[0] && !c->let_through)
        return refused_address(c, e);
    if (is_client_alert(detail))
        return refused_tls(c, HTTP_REFUSED_CLIENT, detail, e);
    if (is_forged(code, detail))
        return refused_tls(c, HTTP_REFUSED_CERTIFICATE, detail, e);
    if (r->body.full)
        return err_set(e, ERR_LIMIT, "%s: the answer is larger than %zu bytes", c->place, r->body.max);
    if (r->headers.full)
        return err_set(e, ERR_LIMIT, "%s: the answer's headers are larger than %zu bytes", c->place,
                       r->headers.max);
    switch (code) {
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
        return refused_tls(c, HTTP_REFUSED_CERTIFICATE, detail, e);
    case CURLE_SSL_CERTPROBLEM:
        return err_set(e, ERR_USAGE, "%s: our own certificate or key cannot be used: %s", c->place, detail);
    case CURLE_SSL_CACERT_BADFILE:
        return err_set(e, ERR_USAGE, "%s: the authority file cannot be used: %s", c->place, detail);
    case CURLE_OPERATION_TIMEDOUT:
        return err_set(e, ERR_RETRY, "%s: time-out: %s", c->place, detail);
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_BAD_CONTENT_ENCODING:
        return err_set(e, ERR_CORRUPT, "%s: the answer to %s is not HTTP: %s", c->place, q->method, detail);
    case CURLE_URL_MALFORMAT:
    case CURLE_BAD_FUNCTION_ARGUMENT:
    case CURLE_UNKNOWN_OPTION:
    case CURLE_NOT_BUILT_IN:
        return err_set(e, ERR_USAGE, "%s: %s", c->place, detail);
    default:
        return err_set(e, ERR_RETRY, "%s: %s", c->place, detail);
    }
}

static enum err_code refuse_redirect(const struct http_client *c, const struct http_response *r,
                                     struct err *e)
{
    enum { NOT_MODIFIED = 304 };
    char to[512], clean[256];
    if (r->status < 300 || r->status > 399 || r->status == NOT_MODIFIED)
        return OK;
    bool told = http_header(r, "location", to, sizeof(to)) != NULL;
    http_printable(told ? to : "", told ? strlen(to) : 0, clean, sizeof(clean));
    http_refuse(&(struct http_refusal){ HTTP_REFUSED_REDIRECT, c->place, clean });
    enum err_code code =
        err_set(e, ERR_DENIED, "%s answers with a redirect (HTTP %d) to '%s', which is not followed",
                c->place, r->status, told ? clean : "a place it does not name");
    e->cause = r->status;
    return code;
}

void http_let_go(struct http_client *c)
{
    /* The list and the body are the caller's and ours: libcurl must not keep them. */
    curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, NULL);
    curl_easy_setopt(c->curl, CURLOPT_POSTFIELDS, NULL);
    drop_headers(c);
}

enum err_code http_begin(struct http_client *c, const struct http_request *q, struct http_response *r,
                         struct err *e)
{
    r->status = 0;
    buf_reset(&r->headers);
    buf_reset(&r->body);
    c->sink = (struct http_sink){ c->curl, r };
    c->detail[0] = c->refused[0] = '\0';
    c->let_through = false;
    if (check_request(q, e) || build_headers(c, q, e)) {
        drop_headers(c);
        return err_wrap(e, "%s", c->place);
    }
    if (set_request(c, q))
        return OK;
    http_let_go(c);
    return err_set(e, ERR_USAGE, "%s: this libcurl (%s) lacks something", c->place, curl_version());
}

enum err_code http_end(struct http_client *c, CURLcode code, const struct http_request *q,
                       struct http_response *r, struct err *e)
{
    long status = 0;
    http_let_go(c);
    if (code != CURLE_OK)
        return failed(c, code, q, r, e);
    curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &status);
    r->status = (int)status;
    return refuse_redirect(c, r, e);
}

enum err_code http_do(struct http_client *c, const struct http_request *q, struct http_response *r,
                      struct err *e)
{
    if (http_begin(c, q, r, e))
        return e->code;
    return http_end(c, curl_easy_perform(c->curl), q, r, e);
}
