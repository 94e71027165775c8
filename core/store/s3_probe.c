#include "core/store/s3_probe.h"

#include "base/mem.h"
#include "base/text.h"
#include "core/store/crc32c.h"
#include "core/store/s3.h"

#include <stdio.h>
#include <string.h>

enum { ANSWER_BYTES = 64 * 1024, PART_BYTES = 5 << 20 /* S3's least */ };

struct s3_probe {
    struct store *store; /* bare, without retries */
};

enum err_code s3_probe_open(const struct store_place *place, const struct store_credentials *credentials,
                            struct s3_probe **out, struct err *e)
{
    struct s3_options options = s3_options_default;
    struct store *s = NULL;
    options.part_bytes = PART_BYTES;
    if (s3_open(place, credentials, &options, &s, e))
        return e->code;
    struct s3_probe *p = mem_new(sizeof(*p));
    p->store = s;
    *out = p;
    return OK;
}

void s3_probe_close(struct s3_probe *p)
{
    if (!p)
        return;
    store_close(p->store);
    free(p);
}

static struct store_s3 *of(struct s3_probe *p)
{
    return (struct store_s3 *)p->store;
}

/* Was there an answer? Then what it says is no failure of ours. */
static enum err_code take_answer(enum err_code code, const struct http_response *r, const char *s3_code,
                                 struct s3_said *out, struct err *e)
{
    enum { ERRORS = 400 };
    struct s3_said said = { .status = r->status };
    struct err ignored = ERR_INIT;
    char date[64];
    if (code && r->status < ERRORS)
        return e->code;
    snprintf(said.code, sizeof(said.code), "%s", s3_code);
    if (code)
        memcpy(said.text, e->text, sizeof(said.text));
    else
        snprintf(said.text, sizeof(said.text), "HTTP %d", r->status);
    if (http_header(r, "date", date, sizeof(date)))
        IGNORE(s3_parse_date(date, &said.date_ms, &ignored));
    if (!code && !http_header(r, "x-amz-version-id", said.version, sizeof(said.version)))
        said.version[0] = '\0';
    err_clear(e);
    *out = said;
    return OK;
}

static enum err_code ask(struct s3_probe *p, struct s3_call *call, struct s3_said *out, struct err *e)
{
    CLEANUP(http_response_done) struct http_response r = HTTP_RESPONSE_INIT(ANSWER_BYTES);
    char s3_code[64] = "";
    return take_answer(s3_do(of(p), call, &r, s3_code, e), &r, s3_code, out, e);
}

enum err_code s3_probe_delete(struct s3_probe *p, const char *key, const char *version, bool bypass,
                              struct s3_said *out, struct err *e)
{
    struct s3_call call = { .method = "DELETE", .key = key };
    s3_param(&call, "versionId", version);
    if (bypass)
        s3_header(&call, "x-amz-bypass-governance-retention", "true");
    return ask(p, &call, out, e);
}

enum err_code s3_probe_retain(struct s3_probe *p, const char *key, const char *version,
                              enum store_lock_mode mode, int64_t until_ms, bool bypass, struct s3_said *out,
                              struct err *e)
{
    char xml[256], until[CLOCK_TEXT_BYTES], crc[CRC32C_TEXT_BYTES];
    int n = snprintf(xml, sizeof(xml),
                     "<Retention xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Mode>%s</Mode>"
                     "<RetainUntilDate>%s</RetainUntilDate></Retention>",
                     mode == STORE_LOCK_COMPLIANCE ? "COMPLIANCE" : "GOVERNANCE",
                     s3_format_until(until_ms, until));
    struct s3_call call = { .method = "PUT", .key = key, .body = xml, .body_bytes = (size_t)n };
    s3_param(&call, "retention", "");
    s3_param(&call, "versionId", version);
    s3_header(&call, "content-type", "application/xml");
    s3_header(&call, "x-amz-checksum-crc32c", crc32c_text(xml, (size_t)n, crc));
    if (bypass)
        s3_header(&call, "x-amz-bypass-governance-retention", "true");
    return ask(p, &call, out, e);
}

enum err_code s3_probe_put(struct s3_probe *p, const char *key, const void *data, size_t n,
                           const struct store_lock *lock, bool if_absent, struct s3_said *out, struct err *e)
{
    struct s3_lock_texts texts;
    char crc[CRC32C_TEXT_BYTES];
    struct s3_call call = { .method = "PUT", .key = key, .body = data, .body_bytes = n };
    s3_header(&call, "content-type", "application/octet-stream");
    s3_header(&call, "x-amz-checksum-crc32c", crc32c_text(data, n, crc));
    if (lock)
        s3_lock_headers(&call, lock, &texts);
    if (if_absent)
        s3_header(&call, "if-none-match", "*");
    return ask(p, &call, out, e);
}

enum err_code s3_probe_copy(struct s3_probe *p, const char *source, const char *key, struct s3_said *out,
                            struct err *e)
{
    CLEANUP(buf_done) struct buf from = BUF_INIT(3 * (STORE_KEY_BYTES + STORE_BUCKET_BYTES));
    struct s3_call call = { .method = "PUT", .key = key };
    buf_add_byte(&from, '/');
    http_encode(source, true, &from);
    if (buf_check(&from, "the source of the copy", e))
        return e->code;
    s3_header(&call, "x-amz-copy-source", buf_text(&from));
    return ask(p, &call, out, e);
}

enum err_code s3_probe_put_parts(struct s3_probe *p, const char *key, const struct store_lock *lock,
                                 struct s3_said *out, struct err *e)
{
    const size_t n = PART_BYTES + 1;
    CLEANUP(freep) uint8_t *data = mem_new(n);
    const struct store_put_options options = { .lock = *lock };
    struct s3_said said = { .status = 200 };
    if (s3_put_parts(of(p), key, data, n, &options, said.version, e)) {
        if (e->cause < 400)
            return e->code;
        said.status = e->cause;
        memcpy(said.text, e->text, sizeof(said.text));
        err_clear(e);
    }
    *out = said;
    return OK;
}

enum err_code s3_probe_location(struct s3_probe *p, struct s3_said *out, struct err *e)
{
    struct s3_call call = { .method = "GET" };
    s3_param(&call, "location", "");
    return ask(p, &call, out, e);
}
