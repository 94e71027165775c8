#include "base/mem.h"
#include "base/num.h"
#include "base/text.h"
#include "core/store/crc32c.h"
#include "core/store/s3.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { ERROR_ANSWER_BYTES = 64 * 1024, S3_CODE_BYTES = 64 };

const struct s3_options s3_options_default = {
    .part_bytes = STORE_PART_BYTES,
    .page_keys = 1000,
    .deadline_ms = 30000,
    .connections = 8,
    .clock = &clock_real,
};

static struct store_s3 *of(struct store *s)
{
    return (struct store_s3 *)s;
}

/* ---- head ---- */

static enum err_code read_lock(const struct http_response *r, struct store_lock *out, struct err *e)
{
    char mode[32], until[64], hold[16];
    struct store_lock lock = { .mode = STORE_LOCK_NONE };
    if (http_header(r, "x-amz-object-lock-mode", mode, sizeof(mode))) {
        bool compliance = strcmp(mode, "COMPLIANCE") == 0;
        if (!compliance && strcmp(mode, "GOVERNANCE") != 0)
            return err_set(e, ERR_CORRUPT, "unknown lock mode '%s'", mode);
        lock.mode = compliance ? STORE_LOCK_COMPLIANCE : STORE_LOCK_GOVERNANCE;
        if (!http_header(r, "x-amz-object-lock-retain-until-date", until, sizeof(until)) ||
            clock_parse(until, &lock.retain_until_ms, e))
            return err_set(e, ERR_CORRUPT, "a lock without a readable end");
    }
    lock.legal_hold =
        http_header(r, "x-amz-object-lock-legal-hold", hold, sizeof(hold)) && strcmp(hold, "ON") == 0;
    *out = lock;
    return OK;
}

/* What the headers of a HEAD or GET say; the size is the caller's to find. */
static enum err_code read_info(const struct http_response *r, const char *key, struct store_info *out,
                               struct err *e)
{
    char date[64];
    struct store_info info = { .bytes = 0 };
    snprintf(info.key, sizeof(info.key), "%s", key);
    if (s3_version_of(r, info.version, e) || read_lock(r, &info.lock, e))
        return e->code;
    if (!http_header(r, "last-modified", date, sizeof(date)))
        return err_set(e, ERR_CORRUPT, "the answer has no Last-Modified");
    if (s3_parse_date(date, &info.modified_ms, e))
        return e->code;
    *out = info;
    return OK;
}

/* A version id that the store cannot even read, or that is a delete marker's, names no object. */
static enum err_code not_there(enum err_code code, const char *version, struct err *e)
{
    enum { BAD_REQUEST = 400, NOT_ALLOWED = 405 };
    if (code == ERR_USAGE && version && (e->cause == BAD_REQUEST || e->cause == NOT_ALLOWED))
        return err_set(e, ERR_NOT_FOUND, "there is no such version");
    return code;
}

/* patiently: as a step of a put. of_new: of what has just been put. */
enum head_how { HEAD_ONCE, HEAD_PATIENTLY, HEAD_OF_NEW };

/* The answer to a HEAD has no words. Where it may mean that a session is over, a GET of one byte tells: it
 * takes up newer credentials (true: ask again), or says that there are none yet. */
static bool was_for_its_session(struct store_s3 *s, const struct s3_call *head, struct err *e)
{
    enum { BAD_REQUEST = 400, FORBIDDEN = 403 };
    CLEANUP(http_response_done) struct http_response r = HTTP_RESPONSE_INIT(ERROR_ANSWER_BYTES);
    struct s3_call get = *head;
    struct err said = ERR_INIT;
    if (!s->renew || !s->session.session_token || (e->cause != BAD_REQUEST && e->cause != FORBIDDEN))
        return false;
    get.method = "GET";
    s3_header(&get, "range", "bytes=0-0");
    if (s3_do(s, &get, &r, NULL, &said) == ERR_RETRY)
        *e = said;
    return head->session != s->session_number;
}

static enum err_code ask_head(struct store_s3 *s, struct s3_call *call, enum head_how how,
                              struct http_response *r, struct err *e)
{
    enum err_code code = (how == HEAD_ONCE ? s3_do : s3_do_again)(s, call, r, NULL, e);
    if (!code || !was_for_its_session(s, call, e))
        return e->code;
    err_clear(e);
    return (how == HEAD_ONCE ? s3_do : s3_do_again)(s, call, r, NULL, e);
}

static enum err_code head(struct store_s3 *s, const char *key, const char *version, enum head_how how,
                          struct store_info *out, struct err *e)
{
    CLEANUP(http_response_done) struct http_response r = HTTP_RESPONSE_INIT(ERROR_ANSWER_BYTES);
    char length[32];
    struct store_info info;
    struct s3_call call = { .method = "HEAD", .key = key };
    if (version)
        s3_param(&call, "versionId", version);
    enum err_code code = ask_head(s, &call, how, &r, e);
    if (code)
        return not_there(code, version, e);
    if (read_info(&r, key, &info, e) || (how == HEAD_OF_NEW && s3_sse_was_kept(s, &r, e)))
        return e->code;
    if (!http_header(&r, "content-length", length, sizeof(length)) || parse_u64(length, &info.bytes, e))
        return err_set(e, ERR_CORRUPT, "the answer has no readable Content-Length");
    info.is_latest = version == NULL;
    *out = info;
    return OK;
}

static enum err_code s3_head(struct store *s, const char *key, const char *version, struct store_info *out,
                             struct err *e)
{
    return head(of(s), key, version, HEAD_ONCE, out, e);
}

/* ---- locks ---- */

/* A bucket without object lock refuses the request as such: what it means is that there will be no lock. */
static enum err_code no_lock_here(enum err_code code, const char *s3_code, struct err *e)
{
    if (code != ERR_USAGE || strcmp(s3_code, "InvalidRequest") != 0)
        return code;
    e->code = ERR_DENIED;
    return err_wrap(e, "the bucket cannot keep a lock");
}

static enum err_code put_setting(struct store_s3 *s, const char *key, const char *version,
                                 const char *setting, const char *xml, struct err *e)
{
    CLEANUP(http_response_done) struct http_response r = HTTP_RESPONSE_INIT(ERROR_ANSWER_BYTES);
    char crc[CRC32C_TEXT_BYTES], s3_code[S3_CODE_BYTES];
    struct s3_call call = { .method = "PUT", .key = key, .body = xml, .body_bytes = strlen(xml) };
    s3_param(&call, setting, "");
    if (version)
        s3_param(&call, "versionId", version);
    s3_header(&call, "content-type", "application/xml");
    s3_header(&call, "x-amz-checksum-crc32c", crc32c_text(xml, strlen(xml), crc));
    return no_lock_here(s3_do_again(s, &call, &r, s3_code, e), s3_code, e);
}

static enum err_code put_retention(struct store_s3 *s, const char *key, const char *version,
                                   const struct store_lock *lock, struct err *e)
{
    char xml[256], until[CLOCK_TEXT_BYTES];
    snprintf(xml, sizeof(xml),
             "<Retention xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Mode>%s</Mode>"
             "<RetainUntilDate>%s</RetainUntilDate></Retention>",
             lock->mode == STORE_LOCK_COMPLIANCE ? "COMPLIANCE" : "GOVERNANCE",
             s3_format_until(lock->retain_until_ms, until));
    return put_setting(s, key, version, "retention", xml, e);
}

static enum err_code put_legal_hold(struct store_s3 *s, const char *key, const char *version, bool on,
                                    struct err *e)
{
    char xml[128];
    snprintf(xml, sizeof(xml),
             "<LegalHold xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Status>%s</Status></LegalHold>",
             on ? "ON" : "OFF");
    return put_setting(s, key, version, "legal-hold", xml, e);
}

static enum err_code s3_set_lock(struct store *base, const char *key, const char *version,
                                 const struct store_lock *lock, struct err *e)
{
    struct store_s3 *s = of(base);
    struct store_info info;
    struct store_lock rounded = *lock; /* as it will be kept: to the same end again is no shortening */
    rounded.retain_until_ms = s3_round_up(lock->retain_until_ms);
    if (head(s, key, version, HEAD_ONCE, &info, e) ||
        store_lock_may_change(&info.lock, &rounded, s3_server_now_ms(s), e))
        return e->code;
    if (lock->mode != STORE_LOCK_NONE && put_retention(s, key, info.version, lock, e))
        return e->code;
    if (lock->legal_hold != info.lock.legal_hold && put_legal_hold(s, key, info.version, lock->legal_hold, e))
        return e->code;
    char at[STORE_VERSION_BYTES];
    memcpy(at, info.version, sizeof(at));
    if (head(s, key, at, HEAD_PATIENTLY, &info, e))
        return e->code;
    if (!lock->legal_hold && info.lock.legal_hold)
        return err_set(e, ERR_DENIED, "the store did not lift the legal hold");
    return store_lock_was_kept(lock, &info.lock, e);
}

/* ---- put ---- */

static enum err_code put_whole(struct store_s3 *s, const char *key, const void *data, size_t n,
                               const struct store_put_options *options, char out_version[STORE_VERSION_BYTES],
                               struct err *e)
{
    CLEANUP(http_response_done) struct http_response r = HTTP_RESPONSE_INIT(ERROR_ANSWER_BYTES);
    struct s3_lock_texts texts;
    char crc[CRC32C_TEXT_BYTES], s3_code[S3_CODE_BYTES];
    struct s3_call call = { .method = "PUT", .key = key, .body = data, .body_bytes = n, .is_object = true };
    s3_header(&call, "content-type",
              options->content_type ? options->content_type : "application/octet-stream");
    s3_header(&call, "x-amz-checksum-crc32c", crc32c_text(data, n, crc));
    s3_lock_headers(&call, &options->lock, &texts);
    s3_sse_headers(s, &call);
    bool locked = options->lock.mode != STORE_LOCK_NONE || options->lock.legal_hold;
    enum err_code code = s3_do(s, &call, &r, s3_code, e);
    if (code)
        return locked ? no_lock_here(code, s3_code, e) : code;
    return s3_version_of(&r, out_version, e);
}

/* HEAD of a version that was just put. A store that does not see it yet is behind itself: that passes. */
static enum err_code head_of_new(struct store_s3 *s, const char *key, const char *version,
                                 struct store_info *out, struct err *e)
{
    enum err_code code = head(s, key, version, HEAD_OF_NEW, out, e);
    if (code != ERR_NOT_FOUND)
        return code;
    e->code = ERR_RETRY;
    return err_wrap(e, "version %s was put and is not there yet", version);
}

/* Upload in parts drops the lock on some stores, and silently: what HEAD does not show is set now. */
static enum err_code make_sure_of_lock(struct store_s3 *s, const char *key, const char *version,
                                       const struct store_lock *asked, struct store_info *info, struct err *e)
{
    struct err missing = ERR_INIT;
    if (head_of_new(s, key, version, info, e))
        return e->code;
    if (store_lock_was_kept(asked, &info->lock, &missing) == OK)
        return OK;
    if (asked->mode != STORE_LOCK_NONE && put_retention(s, key, version, asked, e))
        return e->code;
    if (asked->legal_hold && put_legal_hold(s, key, version, true, e))
        return e->code;
    if (head(s, key, version, HEAD_PATIENTLY, info, e))
        return e->code;
    return store_lock_was_kept(asked, &info->lock, e);
}

static enum err_code s3_remove(struct store *base, const char *key, const char *version, struct err *e);

static enum err_code s3_put(struct store *base, const char *key, const void *data, size_t n,
                            const struct store_put_options *options, struct store_info *out, struct err *e)
{
    struct store_s3 *s = of(base);
    struct store_info info = { .bytes = 0 };
    char version[STORE_VERSION_BYTES];
    bool locked = options->lock.mode != STORE_LOCK_NONE || options->lock.legal_hold;
    bool in_parts = n > s->options.part_bytes;
    if (in_parts ? s3_put_parts(s, key, data, n, options, version, e)
                 : put_whole(s, key, data, n, options, version, e))
        return e->code;
    bool asked = locked || s->place.sse != STORE_SSE_NONE;
    if (!out && !asked)
        return OK;
    if (locked ? make_sure_of_lock(s, key, version, &options->lock, &info, e)
               : head_of_new(s, key, version, &info, e)) {
        /* Without its lock or encryption it must not stay behind as if it were what was asked for. */
        struct err ignored = ERR_INIT;
        if (asked)
            IGNORE(s3_remove(base, key, version, &ignored));
        return e->code;
    }
    if (info.bytes != n)
        return err_set(e, ERR_CORRUPT, "%zu bytes were put and the store says that there are %" PRIu64, n,
                       info.bytes);
    info.is_latest = true;
    if (out)
        *out = info;
    return OK;
}

/* ---- get ---- */

/* "bytes 3-6/10" or, where the range lay behind the end, "bytes *\/10". */
static bool parse_content_range(const char *text, uint64_t *out_first, uint64_t *out_whole)
{
    struct err e = ERR_INIT;
    char first[32] = "";
    const char *slash = strchr(text, '/');
    if (!slash || !text_starts(text, "bytes ") || parse_u64(slash + 1, out_whole, &e))
        return false;
    text += strlen("bytes ");
    size_t n = strcspn(text, "-/");
    if (n == 1 && *text == '*')
        return true;
    if (n >= sizeof(first))
        return false;
    memcpy(first, text, n);
    return parse_u64(first, out_first, &e) == OK;
}

/* The whole object where a part was asked for is an answer too: cut it. */
static enum err_code cut_to_range(struct http_response *r, uint64_t offset, uint64_t length,
                                  uint64_t *out_whole, struct err *e)
{
    enum { PARTIAL = 206 };
    char range[96];
    uint64_t first = 0;
    *out_whole = r->body.len;
    if (r->status != PARTIAL) {
        buf_drop_front(&r->body, MIN(offset, r->body.len));
        if (r->body.len > length) {
            r->body.len = length;
            r->body.data[length] = '\0';
        }
        return OK;
    }
    if (!http_header(r, "content-range", range, sizeof(range)) ||
        !parse_content_range(range, &first, out_whole))
        return err_set(e, ERR_CORRUPT, "the answer to a range has no readable Content-Range");
    uint64_t due = offset < *out_whole ? MIN(length, *out_whole - offset) : 0;
    if (first != offset || r->body.len != due)
        return err_set(e, ERR_CORRUPT, "asked for %" PRIu64 " bytes from %" PRIu64 ", got %zu from %" PRIu64,
                       due, offset, r->body.len, first);
    return OK;
}

/* Without copying where the caller's buffer is still empty. */
static enum err_code hand_over(struct http_response *r, struct buf *body, struct err *e)
{
    size_t max = body->max;
    if (r->body.len > max - body->len)
        return err_set(e, ERR_LIMIT, "%zu bytes do not fit into what is left of %zu", r->body.len, max);
    if (body->len > 0) {
        buf_add(body, r->body.data, r->body.len);
        return OK;
    }
    buf_move(body, &r->body);
    body->max = max;
    return OK;
}

/* GET of [offset, offset + length) with length > 0. */
static enum err_code get_range(struct store_s3 *s, const char *key, const char *version, uint64_t offset,
                               uint64_t length, struct buf *body, struct store_info *out, bool *out_behind,
                               struct err *e)
{
    enum { RANGE_BEHIND_END = 416 };
    /* Room for an error's text also where the caller has room for little. */
    size_t room = MAX(MIN(length, body->max - body->len), (uint64_t)ERROR_ANSWER_BYTES);
    CLEANUP(http_response_done) struct http_response r = HTTP_RESPONSE_INIT(room);
    struct s3_call call = { .method = "GET", .key = key };
    char range[64];
    bool to_end = length > UINT64_MAX - offset;
    if (to_end)
        snprintf(range, sizeof(range), "bytes=%" PRIu64 "-", offset);
    else
        snprintf(range, sizeof(range), "bytes=%" PRIu64 "-%" PRIu64, offset, offset + length - 1);
    if (offset > 0 || !to_end)
        s3_header(&call, "range", range);
    if (version)
        s3_param(&call, "versionId", version);
    enum err_code code = s3_do(s, &call, &r, NULL, e);
    *out_behind = code && e->cause == RANGE_BEHIND_END;
    if (code)
        return *out_behind ? OK : not_there(code, version, e);
    uint64_t whole;
    if (read_info(&r, key, out, e) || cut_to_range(&r, offset, length, &whole, e))
        return e->code;
    out->bytes = whole;
    return hand_over(&r, body, e);
}

static enum err_code s3_get(struct store *base, const char *key, const char *version, uint64_t offset,
                            uint64_t length, struct buf *body, struct store_info *out, struct err *e)
{
    bool behind = true;
    if (length > 0 && offset <= INT64_MAX &&
        get_range(of(base), key, version, offset, length, body, out, &behind, e))
        return e->code;
    err_clear(e);
    if (behind) /* no bytes there: what is left to tell is the size */
        return head(of(base), key, version, HEAD_ONCE, out, e);
    out->is_latest = version == NULL;
    return OK;
}

/* ---- lists ---- */

/* Pages must go forward, or a list would never end. */
struct page {
    char key[STORE_KEY_BYTES], version[STORE_VERSION_BYTES]; /* of the last entry */
    const char *prefix;
    bool versions;
    store_each_fn *each;
    void *context;
    int64_t count;
};

static enum err_code page_entry(void *context, const struct store_info *info, struct err *e)
{
    struct page *p = context;
    int order = strcmp(info->key, p->key);
    bool forward = order > 0 || (order == 0 && p->versions && strcmp(info->version, p->version) != 0);
    if (!forward || !text_starts(info->key, p->prefix))
        return err_set(e, ERR_CORRUPT, "the store lists '%.200s' out of order", info->key);
    memcpy(p->key, info->key, sizeof(p->key));
    memcpy(p->version, info->version, sizeof(p->version));
    p->count++;
    return p->each(p->context, info, e);
}

static enum err_code one_page(struct store_s3 *s, struct page *p, bool *out_more, struct err *e)
{
    CLEANUP(http_response_done) struct http_response r = HTTP_RESPONSE_INIT(S3_ANSWER_BYTES_MAX);
    struct s3_call call = { .method = "GET" };
    char keys[16];
    int64_t before = p->count;
    snprintf(keys, sizeof(keys), "%d", s->options.page_keys);
    s3_param(&call, p->versions ? "versions" : "list-type", p->versions ? "" : "2");
    s3_param(&call, "encoding-type", "url");
    s3_param(&call, "max-keys", keys);
    s3_param(&call, "prefix", p->prefix);
    if (p->key[0])
        s3_param(&call, p->versions ? "key-marker" : "start-after", p->key);
    if (p->versions && p->version[0])
        s3_param(&call, "version-id-marker", p->version);
    if (s3_do(s, &call, &r, NULL, e))
        return e->code;
    enum err_code code = s3_xml_page(r.body.data, r.body.len, page_entry, p, out_more, e);
    if (code)
        return code;
    if (*out_more && p->count == before)
        return err_set(e, ERR_CORRUPT, "the store says that there is more and lists nothing");
    return OK;
}

static enum err_code all_pages(struct store_s3 *s, struct page *p, struct err *e)
{
    for (bool more = true; more;) {
        enum err_code code = one_page(s, p, &more, e);
        if (code)
            return code;
    }
    return OK;
}

static enum err_code s3_list(struct store *s, const char *prefix, const char *after, store_each_fn *each,
                             void *context, struct err *e)
{
    struct page p = { .prefix = prefix, .each = each, .context = context };
    snprintf(p.key, sizeof(p.key), "%s", after);
    return all_pages(of(s), &p, e);
}

static enum err_code s3_list_versions(struct store *s, const char *prefix, const char *after_key,
                                      const char *after_version, store_each_fn *each, void *context,
                                      struct err *e)
{
    struct page p = { .prefix = prefix, .versions = true, .each = each, .context = context };
    snprintf(p.key, sizeof(p.key), "%s", after_key);
    snprintf(p.version, sizeof(p.version), "%s", after_version);
    return all_pages(of(s), &p, e);
}

/* ---- delete, facts, close ---- */

static enum err_code s3_remove(struct store *base, const char *key, const char *version, struct err *e)
{
    CLEANUP(http_response_done) struct http_response r = HTTP_RESPONSE_INIT(ERROR_ANSWER_BYTES);
    char s3_code[S3_CODE_BYTES];
    struct s3_call call = { .method = "DELETE", .key = key };
    if (version)
        s3_param(&call, "versionId", version);
    enum err_code code = not_there(s3_do(of(base), &call, &r, s3_code, e), version, e);
    if (code != ERR_NOT_FOUND || strcmp(s3_code, "NoSuchBucket") == 0)
        return code;
    err_clear(e);
    return OK;
}

static void s3_close(struct store *base)
{
    struct store_s3 *s = of(base);
    http_close(s->http);
    http_pool_close(s->pool);
    store_session_done(&s->session);
    free(s);
}

const struct store_ops store_s3_ops = {
    .name = "s3",
    .put = s3_put,
    .get = s3_get,
    .get_many = s3_get_many,
    .head = s3_head,
    .list = s3_list,
    .list_versions = s3_list_versions,
    .remove = s3_remove,
    .abort_uploads = s3_abort_uploads,
    .set_lock = s3_set_lock,
    .facts = s3_bucket_facts,
    .close = s3_close,
};
