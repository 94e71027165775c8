#include "core/api/api.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/text.h"
#include "core/crypto/secret.h"

#include <inttypes.h>
#include <string.h>

/* One table both ways: the scheduler answers with the status, the client trusts the code in the body first.
 */
static const int status_of[ERR_CODE_COUNT] = {
    [OK] = 200,         [ERR_USAGE] = 400,  [ERR_NOT_FOUND] = 404, [ERR_CONFLICT] = 409,
    [ERR_DENIED] = 403, [ERR_LIMIT] = 413,  [ERR_RETRY] = 503,     [ERR_CORRUPT] = 500,
    [ERR_IO] = 500,     [ERR_DEVICE] = 500, [ERR_CANCELED] = 503,
};

int api_status_of(enum err_code code)
{
    return (unsigned)code < ERR_CODE_COUNT ? status_of[code] : 500;
}

void api_error_body(const struct err *error, struct buf *out)
{
    struct err ignored = ERR_INIT;
    CLEANUP(json_donep)
    json_t *doc = json_pack("{s:{s:s,s:s}}", "error", "code", err_name(error->code), "text", error->text);
    /* A text with bytes that are no UTF-8 (a file name, say) cannot stand in JSON; the code still can. */
    if (!doc)
        doc = json_pack("{s:{s:s,s:s}}", "error", "code", err_name(error->code), "text", "(not printable)");
    IGNORE(json_canonical(doc, out, &ignored));
}

struct api_client {
    struct http_client *http;
    struct secret *token;
    char *url;
};

enum err_code api_open(const char *url, const struct secret *token, struct api_client **out, struct err *e)
{
    static const char unix_prefix[] = "unix:";
    CLEANUP(api_closep) struct api_client *c = mem_new(sizeof(*c));
    struct http_options options = { .origin = url, .connect_timeout_ms = 3000, .request_timeout_ms = 15000 };

    c->url = mem_text(url);
    if (text_starts(url, unix_prefix)) {
        options.unix_socket = url + strlen(unix_prefix);
        options.origin = "http://scheduler";
    }
    if (token)
        c->token = secret_copy(token);
    if (http_open(&options, &c->http, e))
        return err_wrap(e, "scheduler at %s", url);
    *out = TAKE(c);
    return OK;
}

void api_close(struct api_client *c)
{
    if (!c)
        return;
    http_close(c->http);
    secret_free(c->token);
    free(c->url);
    free(c);
}

/* The error that an answer states; without a body that says so, the status speaks. */
static enum err_code answer_error(const struct http_response *r, struct err *e)
{
    struct err ignored = ERR_INIT;
    CLEANUP(json_donep) json_t *doc = NULL;

    if (json_parse(r->body.data, r->body.len, "error answer", &doc, &ignored) == OK) {
        const json_t *error = json_object_get(doc, "error");
        enum err_code code = err_from_name(json_text_or(error, "code", ""));
        if (code != OK)
            return err_set(e, code, "%s", json_text_or(error, "text", "(no text)"));
    }
    return http_check(r, e);
}

static enum err_code call(struct api_client *c, const char *method, const char *target,
                          const struct buf *body, int64_t timeout_ms, struct http_response *r, struct err *e)
{
    struct http_header headers[2];
    size_t count = 0;
    CLEANUP(buf_wipe) struct buf bearer = BUF_INIT(SECRET_BYTES_MAX);

    if (c->token) {
        buf_add_text(&bearer, "Bearer ");
        buf_add(&bearer, secret_bytes(c->token), secret_len(c->token));
        headers[count++] = (struct http_header){ "authorization", buf_text(&bearer) };
    }
    if (body)
        headers[count++] = (struct http_header){ "content-type", "application/json" };
    struct http_request request = {
        .method = method,
        .target = target,
        .headers = headers,
        .header_count = count,
        .body = body ? body->data : NULL,
        .body_bytes = body ? body->len : 0,
        .timeout_ms = timeout_ms,
    };
    if (http_do(c->http, &request, r, e)) {
        if (e->code == ERR_RETRY)
            return err_wrap(e, "the scheduler at %s does not answer (is it up? `sovrun up` starts one)",
                            c->url);
        return err_wrap(e, "scheduler at %s", c->url);
    }
    return r->status / 100 == 2 ? OK : answer_error(r, e);
}

enum err_code api_call(struct api_client *c, const char *method, const char *target, const json_t *body,
                       json_t **out, struct err *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(API_BODY_BYTES_MAX);
    CLEANUP(http_response_done) struct http_response answer = HTTP_RESPONSE_INIT(API_ANSWER_BYTES_MAX);

    if (body && json_canonical(body, &text, e))
        return err_wrap(e, "request to the scheduler");
    if (call(c, method, target, body ? &text : NULL, API_WAIT_MS_MAX + 15000, &answer, e))
        return e->code;
    return json_parse(answer.body.data, answer.body.len, "the scheduler's answer", out, e);
}

enum err_code api_logs(struct api_client *c, const char *job, int64_t attempt, int64_t offset,
                       int64_t wait_ms, struct buf *out, int64_t *out_next, bool *out_over, struct err *e)
{
    char target[256], next[NUM_TEXT_BYTES], over[8];
    CLEANUP(http_response_done) struct http_response answer = HTTP_RESPONSE_INIT(API_ANSWER_BYTES_MAX);
    int64_t next_offset;

    if (!text_is_name(job, 64)) /* it goes into a path as it stands */
        return err_set(e, ERR_USAGE, "'%.64s' is no job's id", job);
    snprintf(target, sizeof(target),
             "/v1/jobs/%s/logs?attempt=%" PRId64 "&offset=%" PRId64 "&wait_ms=%" PRId64, job, attempt, offset,
             wait_ms);
    if (call(c, "GET", target, NULL, wait_ms + 15000, &answer, e))
        return e->code;
    if (!http_header(&answer, "x-sovrun-next", next, sizeof(next)) || parse_i64(next, &next_offset, e))
        return err_set(e, ERR_CORRUPT, "the scheduler's answer lacks x-sovrun-next");
    buf_add(out, answer.body.data, answer.body.len);
    if (buf_check(out, "log", e))
        return e->code;
    *out_next = next_offset;
    *out_over = http_header(&answer, "x-sovrun-over", over, sizeof(over)) && strcmp(over, "true") == 0;
    return OK;
}
