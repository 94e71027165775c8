#include "core/store/s3_xml.h"

#include "base/num.h"
#include "base/text.h"

#include <expat.h>
#include <stdio.h>
#include <string.h>

struct reader {
    XML_Parser parser;
    char path[S3_XML_PATH_BYTES];
    int depth;
    struct buf text; /* of the element that opened last */
    s3_xml_fn *each;
    void *context;
    struct err *e;
    enum err_code code; /* of what ended the reading early */
};

static void stop(struct reader *r, enum err_code code)
{
    r->code = code;
    XML_StopParser(r->parser, XML_FALSE);
}

static void XMLCALL on_open(void *user, const XML_Char *name, const XML_Char **attributes)
{
    struct reader *r = user;
    (void)attributes;
    const char *colon = strrchr(name, ':');
    const char *plain = colon ? colon + 1 : name;
    size_t used = strlen(r->path);
    if (r->depth >= S3_XML_DEPTH_MAX || used + 1 + strlen(plain) >= sizeof(r->path)) {
        stop(r, err_set(r->e, ERR_CORRUPT, "the answer is nested too deeply"));
        return;
    }
    snprintf(r->path + used, sizeof(r->path) - used, "%s%s", used ? "/" : "", plain);
    r->depth++;
    buf_reset(&r->text);
}

static void XMLCALL on_text(void *user, const XML_Char *text, int n)
{
    struct reader *r = user;
    buf_add(&r->text, text, (size_t)n);
    if (r->text.full)
        stop(r, err_set(r->e, ERR_CORRUPT, "'%s' is longer than %d bytes", r->path, S3_XML_TEXT_BYTES));
}

static void XMLCALL on_close(void *user, const XML_Char *name)
{
    struct reader *r = user;
    (void)name;
    if (r->code) /* an empty element opens and closes in one step */
        return;
    enum err_code code = r->each(r->context, r->path, buf_text(&r->text), r->e);
    if (code) {
        stop(r, code);
        return;
    }
    char *slash = strrchr(r->path, '/');
    *(slash ? slash : r->path) = '\0';
    r->depth--;
    buf_reset(&r->text);
}

/* Entities of the document's own could grow without bound or name files; S3 has none. */
static void XMLCALL on_doctype(void *user, const XML_Char *name, const XML_Char *sysid, const XML_Char *pubid,
                               int has_internal_subset)
{
    struct reader *r = user;
    (void)name;
    (void)sysid;
    (void)pubid;
    (void)has_internal_subset;
    stop(r, err_set(r->e, ERR_CORRUPT, "the answer declares a document type"));
}

enum err_code s3_xml_read(const void *data, size_t n, s3_xml_fn *each, void *context, struct err *e)
{
    struct reader r = {
        .parser = XML_ParserCreate("UTF-8"),
        .text = BUF_INIT(S3_XML_TEXT_BYTES),
        .each = each,
        .context = context,
        .e = e,
    };
    invariant(r.parser != NULL && n <= INT32_MAX);
    XML_SetUserData(r.parser, &r);
    XML_SetElementHandler(r.parser, on_open, on_close);
    XML_SetCharacterDataHandler(r.parser, on_text);
    XML_SetStartDoctypeDeclHandler(r.parser, on_doctype);
    enum err_code code = OK;
    if (XML_Parse(r.parser, n ? data : "", (int)n, 1) != XML_STATUS_OK)
        code = r.code
                   ? r.code
                   : err_set(e, ERR_CORRUPT, "the answer is no XML: %s in line %lu",
                             XML_ErrorString(XML_GetErrorCode(r.parser)), XML_GetCurrentLineNumber(r.parser));
    XML_ParserFree(r.parser);
    buf_done(&r.text);
    return code;
}

/* ---- errors ---- */

static void copy_printable(char *out, size_t out_bytes, const char *text)
{
    size_t i = 0;
    for (; text[i] && i + 1 < out_bytes; i++)
        out[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : ' ';
    out[i] = '\0';
}

struct error_reader {
    struct s3_error *out;
    bool is_error;
};

static enum err_code error_element(void *context, const char *path, const char *text, struct err *e)
{
    struct error_reader *r = context;
    (void)e;
    r->is_error = r->is_error || strcmp(path, "Error") == 0;
    if (strcmp(path, "Error/Code") == 0)
        copy_printable(r->out->code, sizeof(r->out->code), text);
    else if (strcmp(path, "Error/Message") == 0)
        copy_printable(r->out->message, sizeof(r->out->message), text);
    else if (strcmp(path, "Error/RequestId") == 0)
        copy_printable(r->out->request_id, sizeof(r->out->request_id), text);
    else if (strcmp(path, "Error/Region") == 0)
        copy_printable(r->out->region, sizeof(r->out->region), text);
    return OK;
}

bool s3_xml_error(const void *data, size_t n, struct s3_error *out)
{
    struct err ignored = ERR_INIT;
    struct error_reader r = { .out = out };
    *out = (struct s3_error){ .code = "" };
    return s3_xml_read(data, n, error_element, &r, &ignored) == OK && r.is_error;
}

/* ---- pages ---- */

struct page_reader {
    store_each_fn *each;
    void *context;
    struct store_info entry;
    bool is_page, has_truncated, more;
};

/* %XX; S3 also writes a space as '+'. */
static enum err_code decode_key(const char *text, char out[STORE_KEY_BYTES], struct err *e)
{
    size_t n = 0;
    for (const char *s = text; *s; s++) {
        uint8_t byte = *s == '+' ? ' ' : (uint8_t)*s;
        if (*s == '%') {
            char hex[3] = { s[1], s[1] ? s[2] : '\0', '\0' };
            if (hex_decode(hex, &byte, 1, e) || byte == 0)
                return err_set(e, ERR_CORRUPT, "a listed key is encoded wrongly");
            s += 2;
        }
        if (n + 1 >= STORE_KEY_BYTES)
            return err_set(e, ERR_CORRUPT, "a listed key is longer than %d bytes", STORE_KEY_BYTES - 1);
        out[n++] = (char)byte;
    }
    out[n] = '\0';
    return OK;
}

static enum err_code parse_flag(const char *path, const char *text, bool *out, struct err *e)
{
    if (parse_bool(text, out, e))
        return err_set(e, ERR_CORRUPT, "'%s' must be true or false", path);
    return OK;
}

static enum err_code parse_time(const char *path, const char *text, int64_t *out, struct err *e)
{
    if (clock_parse(text, out, e))
        return err_set(e, ERR_CORRUPT, "'%s' must be a time", path);
    return OK;
}

static enum err_code entry_field(struct page_reader *r, const char *path, const char *field, const char *text,
                                 struct err *e)
{
    struct store_info *entry = &r->entry;
    if (strcmp(field, "Key") == 0)
        return decode_key(text, entry->key, e);
    if (strcmp(field, "VersionId") == 0)
        return text_copy(entry->version, sizeof(entry->version), text, "a listed version id", e);
    if (strcmp(field, "LastModified") == 0)
        return parse_time(path, text, &entry->modified_ms, e);
    if (strcmp(field, "IsLatest") == 0)
        return parse_flag(path, text, &entry->is_latest, e);
    if (strcmp(field, "Size") == 0 && parse_u64(text, &entry->bytes, e))
        return err_set(e, ERR_CORRUPT, "'%s' must be a size", path);
    return OK;
}

static enum err_code entry_ends(struct page_reader *r, bool is_marker, struct err *e)
{
    struct store_info entry = r->entry;
    r->entry = (struct store_info){ .bytes = 0 };
    entry.is_delete_marker = is_marker;
    if (!entry.key[0])
        return err_set(e, ERR_CORRUPT, "a listed object has no key");
    return r->each(r->context, &entry, e);
}

static enum err_code page_element(void *context, const char *path, const char *text, struct err *e)
{
    static const struct {
        const char *path;
        bool is_marker, is_latest;
    } entries[] = {
        { "ListBucketResult/Contents", false, true },
        { "ListVersionsResult/Version", false, false },
        { "ListVersionsResult/DeleteMarker", true, false },
    };
    struct page_reader *r = context;
    for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
        size_t n = strlen(entries[i].path);
        if (!text_starts(path, entries[i].path))
            continue;
        if (path[n] == '/')
            return entry_field(r, path, path + n + 1, text, e);
        if (path[n] != '\0')
            continue;
        r->entry.is_latest = r->entry.is_latest || entries[i].is_latest;
        return entry_ends(r, entries[i].is_marker, e);
    }
    if (strcmp(path, "ListBucketResult") == 0 || strcmp(path, "ListVersionsResult") == 0)
        r->is_page = true;
    if (strcmp(path, "ListBucketResult/IsTruncated") == 0 ||
        strcmp(path, "ListVersionsResult/IsTruncated") == 0) {
        r->has_truncated = true;
        return parse_flag(path, text, &r->more, e);
    }
    return OK;
}

enum err_code s3_xml_page(const void *data, size_t n, store_each_fn *each, void *context, bool *out_more,
                          struct err *e)
{
    struct page_reader r = { .each = each, .context = context };
    enum err_code code = s3_xml_read(data, n, page_element, &r, e);
    if (code)
        return code;
    if (!r.is_page || !r.has_truncated) /* not an empty list: no list */
        return err_set(e, ERR_CORRUPT, "the answer is no list of objects");
    *out_more = r.more;
    return OK;
}

/* ---- one element ---- */

struct text_reader {
    const char *path;
    char *out;
    size_t out_bytes;
    bool right_root;
};

static enum err_code text_element(void *context, const char *path, const char *text, struct err *e)
{
    struct text_reader *r = context;
    size_t root = strcspn(r->path, "/");
    if (strlen(path) == root && strncmp(path, r->path, root) == 0)
        r->right_root = true;
    return strcmp(path, r->path) == 0 ? text_copy(r->out, r->out_bytes, text, path, e) : OK;
}

enum err_code s3_xml_text(const void *data, size_t n, const char *path, char *out, size_t out_bytes,
                          struct err *e)
{
    struct text_reader r = { .path = path, .out = out, .out_bytes = out_bytes };
    out[0] = '\0';
    if (s3_xml_read(data, n, text_element, &r, e))
        return e->code;
    if (!r.right_root)
        return err_set(e, ERR_CORRUPT, "the answer is no %.*s", (int)strcspn(path, "/"), path);
    return OK;
}

void s3_xml_escape(const char *text, struct buf *out)
{
    for (; *text; text++) {
        const char *entity = *text == '&'   ? "&amp;"
                             : *text == '<' ? "&lt;"
                             : *text == '>' ? "&gt;"
                             : *text == '"' ? "&quot;"
                                            : NULL;
        if (entity)
            buf_add_text(out, entity);
        else
            buf_add_byte(out, (uint8_t)*text);
    }
}
