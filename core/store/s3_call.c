#include "core/store/s3.h"

#include "base/text.h"
#include "core/crypto/crypto.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    TARGET_BYTES_MAX = 8 * 1024,
    AUTHORIZATION_BYTES_MAX = 2 * 1024,
    CHUNK_BYTES = 64 * 1024,
    BYTES_A_MS_AT_LEAST = 1024 /* about 1 MiB/s: a store slower than that counts as hung */
};

static const char sse_header[] = "x-amz-server-side-encryption",
                  sse_key_header[] = "x-amz-server-side-encryption-aws-kms-key-id";

void s3_param(struct s3_call *call, const char *name, const char *value)
{
    invariant(call->param_count < ARRAY_LEN(call->params));
    call->params[call->param_count++] = (struct sigv4_param){ name, value };
}

void s3_header(struct s3_call *call, const char *name, const char *value)
{
    invariant(call->header_count < ARRAY_LEN(call->headers));
    call->headers[call->header_count++] = (struct http_header){ name, value };
}

enum err_code s3_parse_date(const char *text, int64_t *out_ms, struct err *e)
{
    struct tm tm = { .tm_sec = 0 };
    const char *end = strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &tm); /* programs here keep the C locale */
    if (!end || *end)
        return err_set(e, ERR_CORRUPT, "'%.40s' is no HTTP date", text);
    *out_ms = (int64_t)timegm(&tm) * 1000;
    return OK;
}

int64_t s3_round_up(int64_t ms)
{
    return (ms + 999) / 1000 * 1000;
}

const char *s3_format_until(int64_t ms, char out[CLOCK_TEXT_BYTES])
{
    return clock_format(s3_round_up(ms), out);
}

void s3_lock_headers(struct s3_call *call, const struct store_lock *lock, struct s3_lock_texts *texts)
{
    if (lock->mode != STORE_LOCK_NONE) {
        s3_header(call, "x-amz-object-lock-mode",
                  lock->mode == STORE_LOCK_COMPLIANCE ? "COMPLIANCE" : "GOVERNANCE");
        s3_header(call, "x-amz-object-lock-retain-until-date",
                  s3_format_until(lock->retain_until_ms, texts->until));
    }
    if (lock->legal_hold)
        s3_header(call, "x-amz-object-lock-legal-hold", "ON");
}

enum err_code s3_version_of(const struct http_response *r, char out[STORE_VERSION_BYTES], struct err *e)
{
    char version[STORE_VERSION_BYTES];
    const char *given = http_header(r, "x-amz-version-id", version, sizeof(version));
    return text_copy(out, STORE_VERSION_BYTES, given ? given : "null", "the version id", e);
}

void s3_sse_headers(const struct store_s3 *s, struct s3_call *call)
{
    if (s->place.sse == STORE_SSE_NONE)
        return;
    s3_header(call, sse_header, s->place.sse == STORE_SSE_KMS ? "aws:kms" : "AES256");
    if (s->place.sse_key[0])
        s3_header(call, sse_key_header, s->place.sse_key);
    if (s->sse_context[0])
        s3_header(call, "x-amz-server-side-encryption-context", s->sse_context);
}

enum err_code s3_sse_was_kept(const struct store_s3 *s, const struct http_response *r, struct err *e)
{
    char how[32] = "", key[STORE_SSE_KEY_BYTES] = "";
    const char *asked = s->place.sse == STORE_SSE_KMS ? "aws:kms" : "AES256";
    if (s->place.sse == STORE_SSE_NONE)
        return OK;
    if (!http_header(r, sse_header, how, sizeof(how)) || strcmp(how, asked) != 0)
        return err_set(e, ERR_DENIED, "the store was asked to encrypt by '%s' and says that it did by '%s'",
                       asked, how[0] ? how : "nothing");
    if (s->place.sse_key[0] &&
        (!http_header(r, sse_key_header, key, sizeof(key)) || strcmp(key, s->place.sse_key) != 0))
        return err_set(e, ERR_DENIED,
                       "the store was asked to encrypt under key '%s' and says that it did under '%s'",
                       s->place.sse_key, key);
    return OK;
}

/* ---- signing ---- */

void s3_signed_done(struct s3_signed *c)
{
    buf_done(&c->path);
    buf_done(&c->query);
    buf_done(&c->authorization);
    buf_done(&c->target);
    buf_done(&c->chunks);
}

static void add(struct s3_signed *c, const char *name, const char *value)
{
    c->headers[c->count++] = (struct http_header){ name, value };
}

static void build_path(const struct store_s3 *s, const struct s3_call *call, struct buf *out)
{
    buf_add_byte(out, '/');
    if (s->path_style)
        buf_add_text(out, s->bucket);
    if (s->path_style && call->key)
        buf_add_byte(out, '/');
    if (call->key)
        http_encode(call->key, true, out);
}

/* Over TLS the payload's hash is left out: hashing costs more than everything else, and TLS guards the bytes.
 */
static void choose_payload_hash(const struct store_s3 *s, const struct s3_call *call, struct s3_signed *c)
{
    int how = s->place.payload;
    bool chunks = how == STORE_PAYLOAD_CHUNKS && call->is_object && call->body_bytes > 0;
    if (how == STORE_PAYLOAD_UNSIGNED || (s->tls && how == STORE_PAYLOAD_AUTO) || chunks)
        snprintf(c->payload_hash, sizeof(c->payload_hash), "%s",
                 chunks ? SIGV4_CHUNKED_PAYLOAD : SIGV4_UNSIGNED_PAYLOAD);
    else
        sha256_hex(call->body_bytes ? call->body : "", call->body_bytes, c->payload_hash);
    if (!chunks)
        return;
    snprintf(c->plain_bytes, sizeof(c->plain_bytes), "%zu", call->body_bytes);
    add(c, "content-encoding", "aws-chunked");
    add(c, "x-amz-decoded-content-length", c->plain_bytes);
}

static enum err_code sign_call(const struct store_s3 *s, const struct s3_call *call, struct s3_signed *c,
                               struct err *e)
{
    int64_t now_ms = s3_server_now_ms(s);
    build_path(s, call, &c->path);
    if (sigv4_query(call->params, call->param_count, &c->query, e))
        return e->code;
    choose_payload_hash(s, call, c);
    clock_format_s3(now_ms, c->date);
    for (size_t i = 0; i < call->header_count; i++)
        add(c, call->headers[i].name, call->headers[i].value);
    add(c, "host", s->host);
    add(c, "x-amz-date", c->date);
    add(c, "x-amz-content-sha256", c->payload_hash);
    if (s->session.session_token)
        add(c, "x-amz-security-token", secret_bytes(s->session.session_token));
    struct sigv4_request signing = {
        .access_key = s->session.access_key,
        .secret_key = s->session.secret_key,
        .region = s->region,
        .service = "s3",
        .time_ms = now_ms,
        .method = call->method,
        .path = buf_text(&c->path),
        .query = buf_text(&c->query),
        .headers = c->headers,
        .header_count = c->count,
        .payload_hash = c->payload_hash,
    };
    if (sigv4_sign(&signing, &c->authorization, e))
        return e->code;
    if (strcmp(c->payload_hash, SIGV4_CHUNKED_PAYLOAD) == 0 &&
        sigv4_chunks(&signing, buf_text(&c->authorization), call->body, call->body_bytes, CHUNK_BYTES,
                     &c->chunks, e))
        return e->code;
    add(c, "authorization", buf_text(&c->authorization));
    buf_addf(&c->target, "%s%s%s", buf_text(&c->path), c->query.len ? "?" : "", buf_text(&c->query));
    if (buf_check(&c->path, "the path", e))
        return e->code;
    return buf_check(&c->target, "the path and query", e);
}

/* Never beyond store_until(). */
static enum err_code time_for(const struct store_s3 *s, uint64_t bytes, int64_t *out_ms, struct err *e)
{
    int64_t ms = s->options.deadline_ms + (int64_t)(bytes / BYTES_A_MS_AT_LEAST);
    int64_t until_ms = s->base.until_ms; /* another thread may set it meanwhile */
    if (until_ms != 0)
        ms = MIN(ms, until_ms - s->options.clock->mono_ms(s->options.clock));
    if (ms <= 0)
        return err_set(e, ERR_RETRY, "%s: no time is left for another call", s->host);
    *out_ms = ms;
    return OK;
}

enum err_code s3_sign(struct store_s3 *s, struct s3_call *call, size_t answer_bytes, struct s3_signed *c,
                      struct http_request *out, struct err *e)
{
    int64_t timeout_ms;
    s3_session_keep(s);
    call->session = s->session_number;
    *c = (struct s3_signed){
        .path = BUF_INIT(TARGET_BYTES_MAX),
        .query = BUF_INIT(TARGET_BYTES_MAX),
        .authorization = BUF_INIT(AUTHORIZATION_BYTES_MAX),
        .target = BUF_INIT(TARGET_BYTES_MAX),
        .chunks = BUF_INIT(sigv4_chunks_bytes(call->body_bytes, CHUNK_BYTES)),
    };
    if (time_for(s, MAX(call->body_bytes, answer_bytes), &timeout_ms, e) || sign_call(s, call, c, e))
        return e->code;
    *out = (struct http_request){
        .method = call->method,
        .target = buf_text(&c->target),
        .headers = c->headers,
        .header_count = c->count,
        .body = c->chunks.len ? c->chunks.data : call->body,
        .body_bytes = c->chunks.len ? c->chunks.len : call->body_bytes,
        .timeout_ms = timeout_ms,
    };
    return OK;
}

static enum err_code send_once(struct store_s3 *s, struct s3_call *call, struct http_response *r,
                               struct err *e)
{
    CLEANUP(s3_signed_done) struct s3_signed c = { .count = 0 };
    struct http_request q;
    if (s3_sign(s, call, r->body.max, &c, &q, e))
        return e->code;
    return http_do(s->http, &q, r, e);
}

/* ---- answers ---- */

/* What S3's own codes mean where the status alone would mislead. */
static const struct {
    const char *code;
    enum err_code meaning;
} s3_codes[] = {
    { "AccessDenied", ERR_DENIED },
    { "BadDigest", ERR_RETRY }, /* the bytes were damaged on the way */
    { "XAmzContentSHA256Mismatch", ERR_RETRY },
    { "XAmzContentChecksumMismatch", ERR_RETRY },
    { "IncompleteBody", ERR_RETRY },
    { "RequestTimeout", ERR_RETRY },
    { "SlowDown", ERR_RETRY },
    { "ServiceUnavailable", ERR_RETRY },
    { "InternalError", ERR_RETRY },
    { "OperationAborted", ERR_RETRY }, /* somebody changes the same bucket at the same time */
    { "NoSuchUpload",
      ERR_RETRY }, /* aborted, or completed by a try whose answer was lost: put again, whole */
    { "NoSuchKey", ERR_NOT_FOUND },
    { "NoSuchBucket", ERR_NOT_FOUND },
    { "NoSuchVersion", ERR_NOT_FOUND },
    { "ExpiredToken", ERR_DENIED },
    { "InvalidToken", ERR_DENIED },
    { "PermanentRedirect", ERR_DENIED },
    { "AuthorizationHeaderMalformed", ERR_DENIED }, /* the bucket is in another region */
    { "QuotaExceeded", ERR_LIMIT },
    { "EntityTooLarge", ERR_LIMIT },
};

static enum err_code meaning_of(const char *code, int status)
{
    for (size_t i = 0; i < ARRAY_LEN(s3_codes); i++)
        if (strcmp(code, s3_codes[i].code) == 0)
            return s3_codes[i].meaning;
    enum err_code meaning = http_code_of_status(status);
    return meaning ? meaning : ERR_CORRUPT; /* an <Error> under 200: what follows decides nothing */
}

static enum err_code refuse(const struct store_s3 *s, const struct http_response *r,
                            const struct s3_error *said, struct err *e)
{
    char id[128];
    const char *request_id =
        said->request_id[0] ? said->request_id : http_header(r, "x-amz-request-id", id, sizeof(id));
    enum err_code code = meaning_of(said->code, r->status);
    IGNORE(err_set(e, code, "%s says HTTP %d%s%s%s%s (request %s)", s->host, r->status,
                   said->code[0] ? " " : "", said->code, said->message[0] ? ": " : "", said->message,
                   request_id ? request_id : "without id"));
    e->cause = r->status;
    return code;
}

/* The server's clock, where it says that ours is off by too much. The answer to a HEAD cannot say so, and
 * some services say no more than AccessDenied: there a refusal by a server whose clock is far from what was
 * signed means it. */
static bool adopt_clock(struct store_s3 *s, const struct http_response *r, const struct s3_error *said)
{
    enum { FORBIDDEN = 403, FAR_MS = 5 * 60 * 1000 };
    struct err ignored = ERR_INIT;
    char date[64];
    int64_t theirs = 0;
    bool told = strcmp(said->code, "RequestTimeTooSkewed") == 0,
         silent = r->status == FORBIDDEN && (!said->code[0] || strcmp(said->code, "AccessDenied") == 0);
    if (!(told || silent) || !http_header(r, "date", date, sizeof(date)) ||
        s3_parse_date(date, &theirs, &ignored))
        return false;
    int64_t skew_ms = theirs - s->options.clock->wall_ms(s->options.clock);
    if (silent && llabs(skew_ms - s->skew_ms) < FAR_MS)
        return false;
    s->skew_ms = skew_ms;
    return true;
}

/* To the last step of a put in parts S3 may say 200 at first, and fail afterwards: in the document. */
static bool is_fine(const struct s3_call *call, const struct http_response *r, struct s3_error *said)
{
    bool failed = r->status < 200 || r->status > 299;
    if (failed || strcmp(call->method, "POST") == 0)
        failed = s3_xml_error(r->body.data, r->body.len, said) || failed;
    return !failed;
}

/* Credentials that are over are waited for like a store that is away, where others may come. */
static enum err_code refuse_session(struct store_s3 *s, const struct s3_call *call, bool *out_again,
                                    struct err *e)
{
    *out_again = s3_session_newer(s, call);
    e->code = ERR_RETRY;
    return err_wrap(e, "the credentials are over%s", *out_again ? "" : ", and there are no newer ones yet");
}

enum err_code s3_judge(struct store_s3 *s, const struct s3_call *call, const struct http_response *r,
                       bool *out_again, char out_code[64], struct err *e)
{
    struct s3_error said = { .code = "" };
    *out_again = false;
    if (out_code)
        out_code[0] = '\0';
    if (is_fine(call, r, &said))
        return OK;
    *out_again = adopt_clock(s, r, &said);
    if (out_code)
        memcpy(out_code, said.code, sizeof(said.code));
    IGNORE(refuse(s, r, &said, e));
    if (!*out_again && s->renew && s3_session_is_over(s, said.code, r->status))
        return refuse_session(s, call, out_again, e);
    return e->code;
}

enum err_code s3_do(struct store_s3 *s, struct s3_call *call, struct http_response *r, char out_code[64],
                    struct err *e)
{
    for (int tries = 0;; tries++) {
        bool again;
        if (send_once(s, call, r, e)) {
            if (out_code)
                out_code[0] = '\0';
            return e->code;
        }
        enum err_code code = s3_judge(s, call, r, &again, out_code, e);
        if (code == OK || tries == S3_AGAIN_TRIES || !again)
            return code;
        err_clear(e);
    }
}

enum err_code s3_do_again(struct store_s3 *s, struct s3_call *call, struct http_response *r,
                          char out_code[64], struct err *e)
{
    enum { TRIES = 4, BASE_MS = 100, MS_MAX = 2000 };
    for (int failures = 1;; failures++) {
        enum err_code code = s3_do(s, call, r, out_code, e);
        int64_t pause = store_backoff_ms(BASE_MS, MS_MAX, failures), left = 0;
        struct err late = ERR_INIT;
        if (code != ERR_RETRY || failures == TRIES || time_for(s, 0, &left, &late) || left <= pause)
            return code;
        err_clear(e);
        s->options.clock->sleep_ms(s->options.clock, pause);
    }
}
