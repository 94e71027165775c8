#include "core/store/sts.h"

#include "core/aws/post.h"
#include "core/http/http.h"
#include "core/store/s3.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BODY_BYTES_MAX = 16 * 1024,
    ANSWER_BYTES_MAX = 64 * 1024,
    TEXT_BYTES = 4096,
    CONNECT_MS = 5000,
    DEADLINE_MS = 10000,
    BASE_MS = 100,
    PAUSE_MS_MAX = 2000
};

struct sts {
    struct http_client *http;
    const struct store_place *place;
    const struct store_credentials *own;
    const struct clock *clock;
    const char *host;
    int64_t skew_ms; /* the server's clock minus ours, once it has complained */
};

static void sts_done(struct sts *s)
{
    http_close(s->http);
}

/* ---- one try ---- */

static void add_field(struct buf *out, const char *name, const char *value)
{
    buf_addf(out, "%s%s=", out->len ? "&" : "", name);
    http_encode(value, false, out);
}

static enum err_code build_body(const struct sts_request *q, struct buf *out, struct err *e)
{
    char seconds[32];
    snprintf(seconds, sizeof(seconds), "%" PRId64, q->duration_ms / 1000);
    add_field(out, "Action", "AssumeRole");
    add_field(out, "Version", "2011-06-15");
    add_field(out, "RoleArn", q->role);
    add_field(out, "RoleSessionName", q->session_name);
    add_field(out, "DurationSeconds", seconds);
    add_field(out, "Policy", q->policy);
    return buf_check(out, "the request for a session", e);
}

static enum err_code send_once(struct sts *s, const struct buf *body, struct http_response *r, struct err *e)
{
    const struct aws_post p = {
        .host = s->host,
        .region = s->place->region,
        .service = "sts",
        .access_key = s->own->access_key,
        .secret_key = s->own->secret_key,
        .session_token = s->own->session_token,
        .now_ms = s->clock->wall_ms(s->clock) + s->skew_ms,
        .content_type = "application/x-www-form-urlencoded; charset=utf-8",
        .body = body,
        .timeout_ms = s->place->deadline_ms > 0 ? s->place->deadline_ms : DEADLINE_MS,
    };
    return aws_post(s->http, &p, r, e);
}

/* ---- answers ---- */

static const struct {
    const char *code;
    enum err_code meaning;
} meanings[] = {
    { "Throttling", ERR_RETRY },
    { "ServiceUnavailable", ERR_RETRY },
    { "InternalFailure", ERR_RETRY },
    { "AccessDenied", ERR_DENIED },
    { "ExpiredToken", ERR_DENIED },
    { "NoSuchEntity", ERR_DENIED }, /* no such role */
    { "NoSuchRole", ERR_DENIED },
    { "RegionDisabledException", ERR_DENIED },
    { "MalformedPolicyDocument", ERR_USAGE },
    { "PackedPolicyTooLarge", ERR_USAGE },
    { "ValidationError", ERR_USAGE },
};

/* <ErrorResponse><Error>... of the service itself, or the bare <Error> of a store that answers in its place.
 */
static enum err_code refuse(const struct sts *s, const struct http_response *r, struct err *e)
{
    struct s3_error said = { .code = "" };
    struct err ignored = ERR_INIT;
    enum err_code code = http_code_of_status(r->status);
    if (!s3_xml_error(r->body.data, r->body.len, &said)) {
        IGNORE(s3_xml_text(r->body.data, r->body.len, "ErrorResponse/Error/Code", said.code,
                           sizeof(said.code), &ignored));
        IGNORE(s3_xml_text(r->body.data, r->body.len, "ErrorResponse/Error/Message", said.message,
                           sizeof(said.message), &ignored));
        IGNORE(s3_xml_text(r->body.data, r->body.len, "ErrorResponse/RequestId", said.request_id,
                           sizeof(said.request_id), &ignored));
    }
    for (size_t i = 0; i < ARRAY_LEN(meanings); i++)
        if (strcmp(said.code, meanings[i].code) == 0)
            code = meanings[i].meaning;
    if (code == ERR_NOT_FOUND || code == OK)
        code = ERR_DENIED; /* there is no such service, or no such role: no session either way */
    IGNORE(err_set(e, code, "%s says HTTP %d%s%s%s%s (request %s)", s->host, r->status,
                   said.code[0] ? " " : "", said.code, said.message[0] ? ": " : "", said.message,
                   said.request_id[0] ? said.request_id : "without id"));
    e->cause = r->status;
    return code;
}

/* A refusal by a server whose clock is far from ours may mean that. */
static bool adopt_clock(struct sts *s, const struct http_response *r)
{
    enum { FAR_MS = 5 * 60 * 1000 };
    struct err ignored = ERR_INIT;
    char date[64];
    int64_t theirs;
    if (!http_header(r, "date", date, sizeof(date)) || s3_parse_date(date, &theirs, &ignored))
        return false;
    int64_t skew_ms = theirs - s->clock->wall_ms(s->clock);
    if (llabs(skew_ms - s->skew_ms) < FAR_MS)
        return false;
    s->skew_ms = skew_ms;
    return true;
}

static enum err_code try_once(struct sts *s, const struct buf *body, struct http_response *r, struct err *e)
{
    for (int tries = 0;; tries++) {
        if (send_once(s, body, r, e))
            return e->code;
        if (r->status >= 200 && r->status <= 299)
            return OK;
        if (tries > 0 || !adopt_clock(s, r))
            return refuse(s, r, e);
    }
}

static enum err_code send(struct sts *s, const struct buf *body, struct http_response *r, struct err *e)
{
    int64_t until_ms = s->clock->mono_ms(s->clock) + s->place->patience_ms;
    for (int failures = 1;; failures++) {
        enum err_code code = try_once(s, body, r, e);
        int64_t pause_ms = store_backoff_ms(BASE_MS, PAUSE_MS_MAX, failures);
        if (code != ERR_RETRY || s->clock->mono_ms(s->clock) + pause_ms >= until_ms)
            return code;
        err_clear(e);
        s->clock->sleep_ms(s->clock, pause_ms);
    }
}

/* ---- the session ---- */

static enum err_code read_field(const struct http_response *r, const char *name, char *out, size_t out_bytes,
                                struct err *e)
{
    char path[96];
    struct err quiet = ERR_INIT; /* a parser's error may quote what it read */
    snprintf(path, sizeof(path), "AssumeRoleResponse/AssumeRoleResult/Credentials/%s", name);
    if (s3_xml_text(r->body.data, r->body.len, path, out, out_bytes, &quiet) || !out[0])
        return err_set(e, ERR_CORRUPT, "the answer has no readable %s", name);
    return OK;
}

static enum err_code read_secret(const struct http_response *r, const char *name, struct secret **out,
                                 struct err *e)
{
    char text[TEXT_BYTES];
    enum err_code code = read_field(r, name, text, sizeof(text), e);
    if (code == OK)
        *out = secret_new(text, strlen(text));
    explicit_bzero(text, sizeof(text));
    return code;
}

static enum err_code read_session(const struct http_response *r, struct store_session *out, struct err *e)
{
    CLEANUP(store_session_done) struct store_session s = { .access_key = NULL };
    char until[64];
    if (read_secret(r, "AccessKeyId", &s.access_key, e) ||
        read_secret(r, "SecretAccessKey", &s.secret_key, e) ||
        read_secret(r, "SessionToken", &s.session_token, e) ||
        read_field(r, "Expiration", until, sizeof(until), e))
        return e->code;
    if (clock_parse(until, &s.expires_ms, e))
        return err_set(e, ERR_CORRUPT, "the answer has no readable Expiration");
    store_session_move(&s, out);
    return OK;
}

static void response_wipe(struct http_response *r)
{
    buf_wipe(&r->body);
    http_response_done(r);
}

static enum err_code check(const struct store_place *place, const struct sts_request *q, struct err *e)
{
    if (!place->endpoint[0] || !place->region[0])
        return err_set(e, ERR_USAGE, "a session needs an endpoint and its region");
    if (strlen(q->policy) > STS_POLICY_BYTES_MAX)
        return err_set(e, ERR_LIMIT, "the session's policy has %zu bytes; %d are the most", strlen(q->policy),
                       STS_POLICY_BYTES_MAX);
    if (q->duration_ms < STS_SESSION_MS_MIN || q->duration_ms > STS_SESSION_MS_MAX)
        return err_set(e, ERR_USAGE, "a session lasts from 15 minutes to 12 hours");
    return OK;
}

static enum err_code assume(struct sts *s, const struct sts_request *q, struct store_session *out,
                            struct err *e)
{
    CLEANUP(buf_done) struct buf body = BUF_INIT(BODY_BYTES_MAX);
    CLEANUP(response_wipe) struct http_response r = HTTP_RESPONSE_INIT(ANSWER_BYTES_MAX);
    const struct http_options options = {
        .origin = s->place->endpoint,
        .ca_file = s->place->ca_file[0] ? s->place->ca_file : NULL,
        .cert_file = s->place->cert_file[0] ? s->place->cert_file : NULL,
        .key_file = s->place->key_file[0] ? s->place->key_file : NULL,
        .guard = &s->place->guard,
        .connect_timeout_ms = CONNECT_MS,
    };
    if (check(s->place, q, e) || http_open(&options, &s->http, e))
        return e->code;
    s->host = strstr(s->place->endpoint, "://") + 3; /* http_open() has looked */
    if (build_body(q, &body, e) || send(s, &body, &r, e))
        return e->code;
    return read_session(&r, out, e);
}

enum err_code sts_assume_role(const struct store_place *place, const struct store_credentials *own,
                              const struct sts_request *q, const struct clock *clock,
                              struct store_session *out, struct err *e)
{
    CLEANUP(sts_done) struct sts s = { .place = place, .own = own, .clock = clock };
    if (assume(&s, q, out, e))
        return err_wrap(e, "assume role '%s'", q->role);
    return OK;
}
