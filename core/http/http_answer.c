#include "core/http/http_client.h"

#include <stdio.h>
#include <string.h>

/* What a stranger wrote, fit for one line of an error text. */
void http_printable(const char *text, size_t n, char *out, size_t out_bytes)
{
    size_t k = 0;
    for (size_t i = 0; i < n && k + 1 < out_bytes; i++)
        out[k++] = text[i] >= ' ' && text[i] <= '~' ? text[i] : ' ';
    out[k] = '\0';
}

const char *http_header(const struct http_response *r, const char *name, char *out, size_t out_bytes)
{
    size_t name_n = strlen(name);
    for (const char *line = buf_text(&r->headers); *line;) {
        size_t n = strcspn(line, "\n");
        if (n > name_n + 1 && strncmp(line, name, name_n) == 0 && line[name_n] == ':') {
            size_t value_n = n - name_n - 2;
            if (value_n >= out_bytes)
                return NULL; /* half a value is worse than none */
            memcpy(out, line + name_n + 2, value_n);
            out[value_n] = '\0';
            return out;
        }
        line += n + (line[n] == '\n');
    }
    return NULL;
}

enum err_code http_code_of_status(int status)
{
    switch (status) {
    case 404:
        return ERR_NOT_FOUND;
    case 409:
    case 412:
        return ERR_CONFLICT;
    case 401:
    case 403:
        return ERR_DENIED;
    case 429:
    case 500:
    case 502:
    case 503:
    case 504:
        return ERR_RETRY;
    default:
        return status >= 200 && status <= 299 ? OK : ERR_USAGE;
    }
}

enum err_code http_check(const struct http_response *r, struct err *e)
{
    char said[200];
    enum err_code code = http_code_of_status(r->status);
    if (code == OK)
        return OK;
    http_printable(buf_text(&r->body), r->body.len, said, sizeof(said));
    IGNORE(err_set(e, code, "HTTP %d%s%s", r->status, said[0] ? ": " : "", said));
    e->cause = r->status;
    return code;
}

void http_encode(const char *text, bool keep_slash, struct buf *out)
{
    for (const unsigned char *s = (const unsigned char *)text; *s; s++) {
        bool plain = (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9') ||
                     *s == '-' || *s == '_' || *s == '.' || *s == '~' || (*s == '/' && keep_slash);
        if (plain)
            buf_add_byte(out, *s);
        else
            buf_addf(out, "%%%02X", *s);
    }
}
