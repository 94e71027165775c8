#include "core/keys/kms_call.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/text.h"
#include "core/aws/post.h"
#include "core/crypto/crypto.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { TRIES = 5, PAUSE_MS = 100, PAUSE_MS_MAX = 2000, CALL_MS = 10000, REQUEST_BYTES_MAX = 64 * 1024 };

struct kms {
    struct http_client *http;
    char host[256], region[64];
    struct secret *access_key, *secret_key, *session_token;
    int64_t skew_ms; /* the service's clock minus ours, once it has complained */
};

static struct secret *copy_or_null(const struct secret *s)
{
    return s ? secret_copy(s) : NULL;
}

enum err_code kms_open(const struct keys_config *config, const struct keys_secrets *secrets, struct kms **out,
                       struct err *e)
{
    CLEANUP(kms_closep) struct kms *k = mem_new(sizeof(*k));
    const struct http_options http = {
        .origin = config->endpoint,
        .ca_file = config->ca_file[0] ? config->ca_file : NULL,
        .cert_file = config->cert_file[0] ? config->cert_file : NULL,
        .key_file = config->key_file[0] ? config->key_file : NULL,
        .guard = &config->guard,
        .request_timeout_ms = CALL_MS,
    };
    if (!config->endpoint[0] || !config->region[0])
        return err_set(e, ERR_USAGE, "keys.endpoint and keys.region say where the key service is");
    if (!secrets->access_key || !secrets->secret_key)
        return err_set(e, ERR_USAGE,
                       "the key service needs an access key and a secret key: keys.credentials_file");
    if (http_open(&http, &k->http, e))
        return e->code;
    snprintf(k->host, sizeof(k->host), "%s", strstr(config->endpoint, "://") + 3);
    snprintf(k->region, sizeof(k->region), "%s", config->region);
    k->access_key = secret_copy(secrets->access_key);
    k->secret_key = secret_copy(secrets->secret_key);
    k->session_token = copy_or_null(secrets->session_token);
    *out = TAKE(k);
    return OK;
}

void kms_close(struct kms *k)
{
    if (!k)
        return;
    http_close(k->http);
    secret_free(k->access_key);
    secret_free(k->secret_key);
    secret_free(k->session_token);
    free(k);
}

/* ---- one try ---- */

static enum err_code send_once(struct kms *k, const char *target, const struct buf *body,
                               struct http_response *r, struct err *e)
{
    const struct aws_post p = {
        .host = k->host,
        .region = k->region,
        .service = "kms",
        .access_key = k->access_key,
        .secret_key = k->secret_key,
        .session_token = k->session_token,
        .now_ms = clock_wall_ms() + k->skew_ms,
        .content_type = "application/x-amz-json-1.1",
        .target = target,
        .body = body,
    };
    return aws_post(k->http, &p, r, e);
}

/* ---- answers ---- */

static const struct {
    const char *type;
    enum err_code code;
} meanings[] = {
    { "ThrottlingException", ERR_RETRY },          { "LimitExceededException", ERR_LIMIT },
    { "KMSInternalException", ERR_RETRY },         { "DependencyTimeoutException", ERR_RETRY },
    { "KeyUnavailableException", ERR_RETRY },      { "InternalFailure", ERR_RETRY },
    { "ServiceUnavailable", ERR_RETRY },           { "NotFoundException", ERR_NOT_FOUND },
    { "DisabledException", ERR_NOT_FOUND },        { "KMSInvalidStateException", ERR_NOT_FOUND },
    { "AlreadyExistsException", ERR_CONFLICT },    { "InvalidCiphertextException", ERR_CORRUPT },
    { "IncorrectKeyException", ERR_CORRUPT },      { "AccessDeniedException", ERR_DENIED },
    { "UnrecognizedClientException", ERR_DENIED }, { "InvalidSignatureException", ERR_DENIED },
    { "ExpiredTokenException", ERR_DENIED },       { "IncompleteSignature", ERR_DENIED },
};

enum err_code kms_meaning(const char *type, int status)
{
    const char *mark = strchr(type, '#');
    if (mark)
        type = mark + 1;
    for (size_t i = 0; i < ARRAY_LEN(meanings); i++)
        if (strcmp(type, meanings[i].type) == 0)
            return meanings[i].code;
    enum err_code code = http_code_of_status(status);
    return code == OK || code == ERR_NOT_FOUND ? ERR_CORRUPT
                                               : code; /* a 404 without the service's word is no key's */
}

/* What a stranger wrote, fit for one line of an error text. */
static void clean(char *text)
{
    for (; *text; text++)
        if (*text < ' ' || *text > '~')
            *text = ' ';
}

struct refusal {
    char type[96], message[256], id[96];
};

static void read_refusal(const struct http_response *r, struct refusal *out)
{
    CLEANUP(json_donep) json_t *doc = NULL;
    struct err ignored = ERR_INIT;
    memset(out, 0, sizeof(*out));
    if (json_parse(r->body.data, r->body.len, "answer", &doc, &ignored) == OK && json_is_object(doc)) {
        const char *message = json_text_or(doc, "message", json_text_or(doc, "Message", ""));
        snprintf(out->type, sizeof(out->type), "%s", json_text_or(doc, "__type", ""));
        snprintf(out->message, sizeof(out->message), "%s", message);
    }
    if (!http_header(r, "x-amzn-requestid", out->id, sizeof(out->id)))
        snprintf(out->id, sizeof(out->id), "without id");
    clean(out->type);
    clean(out->message);
    clean(out->id);
}

static bool adopt_clock(struct kms *k, const struct http_response *r, const struct refusal *said)
{
    enum { OFF_BY_MS = 60000 };
    char date[64];
    struct tm tm = { .tm_sec = 0 };
    bool about_time = strstr(said->type, "InvalidSignature") || strstr(said->type, "RequestExpired") ||
                      strstr(said->message, "Signature expired") || strstr(said->message, "not yet current");
    const char *end = about_time && http_header(r, "date", date, sizeof(date))
                          ? strptime(date, "%a, %d %b %Y %H:%M:%S GMT", &tm)
                          : NULL;
    if (!end || *end)
        return false;
    int64_t skew_ms = (int64_t)timegm(&tm) * 1000 - clock_wall_ms();
    if (skew_ms - k->skew_ms < OFF_BY_MS && k->skew_ms - skew_ms < OFF_BY_MS)
        return false;
    k->skew_ms = skew_ms;
    return true;
}

static enum err_code refuse(const struct kms *k, const char *action, int status, const struct refusal *said,
                            struct err *e)
{
    IGNORE(err_set(e, kms_meaning(said->type, status), "%s says HTTP %d %s to %s%s%s (request %s)", k->host,
                   status, said->type[0] ? said->type : "without a reason", action,
                   said->message[0] ? ": " : "", said->message, said->id));
    e->cause = status;
    return e->code;
}

static enum err_code try_once(struct kms *k, const char *action, const char *target, const struct buf *body,
                              struct http_response *r, struct err *e)
{
    struct refusal said;
    for (int clock_tries = 0;; clock_tries++) {
        if (send_once(k, target, body, r, e))
            return e->code;
        if (r->status >= 200 && r->status <= 299)
            return OK;
        read_refusal(r, &said);
        if (clock_tries > 0 || !adopt_clock(k, r, &said))
            return refuse(k, action, r->status, &said, e);
    }
}

/* Full jitter, so that many ranks that failed together do not come back together. */
static void pause_after(int failures)
{
    uint64_t random;
    int64_t longest = MIN((int64_t)PAUSE_MS << failures, (int64_t)PAUSE_MS_MAX);
    random_bytes(&random, sizeof(random));
    clock_real.sleep_ms(&clock_real, (int64_t)(random % (uint64_t)(longest + 1)));
}

static void response_wipe(struct http_response *r)
{
    buf_wipe(&r->body); /* a plaintext key may be in it */
    http_response_done(r);
}

enum err_code kms_call(struct kms *k, const char *action, const json_t *request, json_t **out, struct err *e)
{
    CLEANUP(buf_wipe) struct buf body = BUF_INIT(REQUEST_BYTES_MAX);
    CLEANUP(response_wipe) struct http_response r = HTTP_RESPONSE_INIT(KMS_ANSWER_BYTES_MAX);
    char target[64];
    snprintf(target, sizeof(target), "TrentService.%s", action);
    if (json_canonical(request, &body, e))
        return e->code;
    for (int failures = 1;; failures++) {
        enum err_code code = try_once(k, action, target, &body, &r, e);
        if (code == OK)
            break;
        if (code != ERR_RETRY)
            return code;
        if (failures == TRIES)
            return err_wrap(e, "gave up after %d tries", failures);
        err_clear(e);
        pause_after(failures);
    }
    json_t *answer = NULL;
    struct err quiet = ERR_INIT; /* a parser's error may quote what it read */
    if (!out)
        return OK;
    if (json_parse(r.body.data, r.body.len, "answer", &answer, &quiet) || !json_is_object(answer)) {
        json_decref(answer);
        return err_set(e, ERR_CORRUPT, "%s: the answer to %s is no JSON object", k->host, action);
    }
    *out = answer;
    return OK;
}
