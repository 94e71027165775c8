#include "core/store/s3.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/text.h"
#include "core/store/crc32c.h"

#include <stdio.h>
#include <string.h>

enum { ANSWER_BYTES = 64 * 1024, CODE_BYTES = 64, CONNECT_MS = 5000 };

/* ---- facts ---- */

static enum err_code ask(struct store_s3 *s, const char *setting, struct http_response *r,
                         char out_code[CODE_BYTES], struct err *e)
{
    struct s3_call call = { .method = "GET" };
    s3_param(&call, setting, "");
    return s3_do(s, &call, r, out_code, e);
}

static enum err_code read_location(struct store_s3 *s, struct store_facts *out, struct err *e)
{
    CLEANUP(http_response_done) struct http_response r = HTTP_RESPONSE_INIT(ANSWER_BYTES);
    if (ask(s, "location", &r, NULL, e) ||
        s3_xml_text(r.body.data, r.body.len, "LocationConstraint", out->location, sizeof(out->location), e))
        return err_wrap(e, "location");
    if (!out->location[0]) /* how AWS writes its first region */
        snprintf(out->location, sizeof(out->location), "us-east-1");
    return OK;
}

static enum err_code read_versioning(struct store_s3 *s, struct store_facts *out, struct err *e)
{
    CLEANUP(http_response_done) struct http_response r = HTTP_RESPONSE_INIT(ANSWER_BYTES);
    char status[32];
    if (ask(s, "versioning", &r, NULL, e) ||
        s3_xml_text(r.body.data, r.body.len, "VersioningConfiguration/Status", status, sizeof(status), e))
        return err_wrap(e, "versioning");
    out->versioned = strcmp(status, "Enabled") == 0;
    return OK;
}

static enum err_code parse_period(const char *days, const char *years, int64_t *out_ms, struct err *e)
{
    static const int64_t day_ms = 24 * 3600 * 1000;
    int64_t n;
    if (parse_i64(days[0] ? days : years, &n, e) || n < 0 || n > 36500)
        return err_set(e, ERR_CORRUPT, "the default retention has no readable period");
    *out_ms = n * (days[0] ? day_ms : 365 * day_ms);
    return OK;
}

static enum err_code parse_lock_settings(const struct http_response *r, struct store_facts *out,
                                         struct err *e)
{
    static const char retention[] = "ObjectLockConfiguration/Rule/DefaultRetention";
    char path[96], enabled[32], mode[32], days[16], years[16];
    const struct {
        const char *name;
        char *out;
        size_t out_bytes;
    } fields[] = {
        { "Mode", mode, sizeof(mode) },
        { "Days", days, sizeof(days) },
        { "Years", years, sizeof(years) },
    };
    if (s3_xml_text(r->body.data, r->body.len, "ObjectLockConfiguration/ObjectLockEnabled", enabled,
                    sizeof(enabled), e))
        return e->code;
    out->lockable = strcmp(enabled, "Enabled") == 0;
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        snprintf(path, sizeof(path), "%s/%s", retention, fields[i].name);
        if (s3_xml_text(r->body.data, r->body.len, path, fields[i].out, fields[i].out_bytes, e))
            return e->code;
    }
    if (!mode[0])
        return OK;
    out->default_lock.mode = strcmp(mode, "COMPLIANCE") == 0 ? STORE_LOCK_COMPLIANCE : STORE_LOCK_GOVERNANCE;
    return parse_period(days, years, &out->default_lock.retain_until_ms, e);
}

static enum err_code read_lock_settings(struct store_s3 *s, struct store_facts *out, struct err *e)
{
    CLEANUP(http_response_done) struct http_response r = HTTP_RESPONSE_INIT(ANSWER_BYTES);
    char s3_code[CODE_BYTES];
    enum err_code code = ask(s, "object-lock", &r, s3_code, e);
    if (code && strcmp(s3_code, "ObjectLockConfigurationNotFoundError") == 0) {
        err_clear(e);
        return OK;
    }
    if (code || parse_lock_settings(&r, out, e))
        return err_wrap(e, "object lock");
    return OK;
}

enum err_code s3_bucket_facts(struct store *base, struct store_facts *out, struct err *e)
{
    struct store_s3 *s = (struct store_s3 *)base;
    struct store_facts facts = { .versioned = false };
    if (read_location(s, &facts, e) || read_versioning(s, &facts, e) || read_lock_settings(s, &facts, e))
        return e->code;
    *out = facts;
    return OK;
}

/* ---- open ---- */

static enum err_code check_place(const struct store_place *place, const struct store_credentials *credentials,
                                 struct err *e)
{
    if (!place->endpoint[0])
        return err_set(e, ERR_USAGE, "an s3 store needs an endpoint");
    /* Left out, it would silently mean a region on another continent. */
    if (!place->region[0] || !text_is_name(place->region, sizeof(place->region) - 1))
        return err_set(e, ERR_USAGE, "an s3 store needs its region's name");
    if (!credentials || !credentials->access_key || !credentials->secret_key)
        return err_set(e, ERR_USAGE, "an s3 store needs an access key and a secret key");
    if ((place->sse == STORE_SSE_KMS) != (place->sse_key[0] != '\0') ||
        (place->sse_context[0] && place->sse != STORE_SSE_KMS))
        return err_set(e, ERR_USAGE, "encryption by kms needs its key, and no other takes one, or a context");
    if (!place->path_style && strchr(place->bucket, '.') && text_starts(place->endpoint, "https://"))
        return err_set(e, ERR_USAGE,
                       "bucket '%s' has a dot in its name, so no certificate fits its host: use path_style",
                       place->bucket);
    return OK;
}

/* scheme://bucket.host, or as it is. */
static void build_origin(const struct store_place *place, char *out, size_t out_bytes)
{
    size_t scheme = text_starts(place->endpoint, "https://") ? strlen("https://") : strlen("http://");
    if (place->path_style)
        snprintf(out, out_bytes, "%s", place->endpoint);
    else
        snprintf(out, out_bytes, "%.*s%s.%s", (int)scheme, place->endpoint, place->bucket,
                 place->endpoint + scheme);
}

/* NULL where it cannot be one. */
static struct store_s3 *open_handle(const struct store_place *place,
                                    const struct store_credentials *credentials,
                                    const struct s3_options *options, struct err *e)
{
    struct http_client *client = NULL;
    char origin[400];
    if (check_place(place, credentials, e))
        return NULL;
    build_origin(place, origin, sizeof(origin));
    struct http_options http = {
        .origin = origin,
        .ca_file = place->ca_file[0] ? place->ca_file : NULL,
        .cert_file = place->cert_file[0] ? place->cert_file : NULL,
        .key_file = place->key_file[0] ? place->key_file : NULL,
        .guard = &place->guard,
        .connect_timeout_ms = CONNECT_MS,
    };
    if (http_open(&http, &client, e))
        return NULL;
    struct store_s3 *s = mem_new(sizeof(*s));
    s->base.ops = &store_s3_ops;
    snprintf(s->base.name, sizeof(s->base.name), "s3://%s", place->bucket);
    s->http = client;
    s->place = *place;
    snprintf(s->origin, sizeof(s->origin), "%s", origin);
    s->pool_options = http;
    s->pool_options.origin = s->origin;
    s->pool_options.ca_file = place->ca_file[0] ? s->place.ca_file : NULL;
    s->pool_options.cert_file = place->cert_file[0] ? s->place.cert_file : NULL;
    s->pool_options.key_file = place->key_file[0] ? s->place.key_file : NULL;
    s->pool_options.guard = &s->place.guard;
    s->tls = text_starts(origin, "https://");
    snprintf(s->host, sizeof(s->host), "%s", strstr(origin, "://") + 3);
    memcpy(s->bucket, place->bucket, sizeof(s->bucket));
    memcpy(s->region, place->region, sizeof(s->region));
    s->path_style = place->path_style;
    s->session.access_key = secret_copy(credentials->access_key);
    s->session.secret_key = secret_copy(credentials->secret_key);
    s->session.session_token = credentials->session_token ? secret_copy(credentials->session_token) : NULL;
    s->session.expires_ms = credentials->expires_ms;
    s->renew = credentials->renew;
    s->renew_context = credentials->renew_context;
    CLEANUP(buf_done) struct buf context = BUF_INIT(sizeof(s->sse_context) - 1);
    base64_encode(place->sse_context, strlen(place->sse_context), &context);
    memcpy(s->sse_context, buf_text(&context), context.len + 1);
    s->options = *options;
    if (place->deadline_ms > 0)
        s->options.deadline_ms = place->deadline_ms;
    return s;
}

enum err_code s3_open(const struct store_place *place, const struct store_credentials *credentials,
                      const struct s3_options *options, struct store **out, struct err *e)
{
    struct store_s3 *s = open_handle(place, credentials, options, e);
    if (!s)
        return e->code;
    *out = &s->base;
    return OK;
}

static enum err_code open_by_default(const struct store_place *place,
                                     const struct store_credentials *credentials, struct store **out,
                                     struct err *e)
{
    return s3_open(place, credentials, &s3_options_default, out, e);
}

/* ---- make ---- */

static enum err_code put_bucket(struct store_s3 *s, const char *setting, const char *xml, bool object_lock,
                                char out_code[CODE_BYTES], struct err *e)
{
    CLEANUP(http_response_done) struct http_response r = HTTP_RESPONSE_INIT(ANSWER_BYTES);
    char crc[CRC32C_TEXT_BYTES];
    struct s3_call call = { .method = "PUT", .body = xml, .body_bytes = strlen(xml) };
    if (setting)
        s3_param(&call, setting, "");
    if (setting)
        s3_header(&call, "x-amz-checksum-crc32c", crc32c_text(xml, strlen(xml), crc));
    if (xml[0])
        s3_header(&call, "content-type", "application/xml");
    if (object_lock)
        s3_header(&call, "x-amz-bucket-object-lock-enabled", "true");
    return s3_do_again(s, &call, &r, out_code, e);
}

/* Ours already: no failure. What it is like is read back afterwards anyway. */
static enum err_code create(struct store_s3 *s, bool object_lock, struct err *e)
{
    char xml[256] = "", s3_code[CODE_BYTES];
    if (strcmp(s->region, "us-east-1") != 0) /* the one that must not be named */
        snprintf(xml, sizeof(xml),
                 "<CreateBucketConfiguration "
                 "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><LocationConstraint>%s"
                 "</LocationConstraint></CreateBucketConfiguration>",
                 s->region);
    enum err_code code = put_bucket(s, NULL, xml, object_lock, s3_code, e);
    if (code == OK || strcmp(s3_code, "BucketAlreadyOwnedByYou") == 0) {
        err_clear(e);
        return OK;
    }
    return code;
}

static enum err_code enable_versioning(struct store_s3 *s, struct err *e)
{
    static const char xml[] = "<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
                              "<Status>Enabled</Status></VersioningConfiguration>";
    return put_bucket(s, "versioning", xml, false, NULL, e);
}

/* Some stores ignore the lock when a bucket is created and take it afterwards. */
static enum err_code enable_lock(struct store_s3 *s, struct err *e)
{
    static const char xml[] = "<ObjectLockConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
                              "<ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>";
    return put_bucket(s, "object-lock", xml, false, NULL, e);
}

static enum err_code check_fit(struct store_s3 *s, const struct store_facts *facts, bool object_lock,
                               struct err *e)
{
    if (strcmp(facts->location, s->region) != 0)
        return err_set(e, ERR_CONFLICT, "it is there already, in '%s' and not in '%s'", facts->location,
                       s->region);
    if (!facts->versioned)
        return err_set(e, ERR_CONFLICT, "it keeps no versions");
    if (object_lock && !facts->lockable)
        return err_set(e, ERR_CONFLICT, "it is there without object lock");
    return OK;
}

static enum err_code make_bucket(const struct store_place *place, const struct store_credentials *credentials,
                                 bool object_lock, struct err *e)
{
    struct store_s3 *s = open_handle(place, credentials, &s3_options_default, e);
    if (!s)
        return e->code;
    CLEANUP(store_closep) struct store *base = &s->base;
    struct store_facts facts = { .versioned = false };
    enum err_code code = s3_bucket_facts(base, &facts, e);
    if (code && code != ERR_NOT_FOUND)
        return code;
    if (code) { /* ours to make, and so ours to set up; what was there before is only looked at */
        err_clear(e);
        if (create(s, object_lock, e) || enable_versioning(s, e) || s3_bucket_facts(base, &facts, e))
            return e->code;
        if (object_lock && !facts.lockable && (enable_lock(s, e) || s3_bucket_facts(base, &facts, e)))
            return e->code;
    }
    return check_fit(s, &facts, object_lock, e);
}

const struct store_backend store_s3_backend = { .open = open_by_default, .make_bucket = make_bucket };
