#include "core/policy/endpoint.h"

#include "base/num.h"
#include "base/text.h"

#include <string.h>

enum { HTTP_PORT = 80, HTTPS_PORT = 443, PORT_MAX = 65535 };

/* Letters, digits, '-', '.', no empty label; or an IPv6 address by its own letters. Lower case. */
static bool is_host(const char *host, size_t n)
{
    bool colons = memchr(host, ':', n) != NULL;
    if (n == 0 || n >= POLICY_HOST_BYTES || host[0] == '.' || host[n - 1] == '.' || host[0] == '-')
        return false;
    for (size_t i = 0; i < n; i++) {
        char c = host[i];
        bool plain =
            (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || (!colons && c == '-') || c == ':';
        if (!plain || (c == '.' && host[i + 1] == '.'))
            return false;
    }
    return true;
}

/* "host", "host:port", "[v6]:port"; *out_port 0 where there is none. */
static bool split(const char *text, char out_host[POLICY_HOST_BYTES], int *out_port)
{
    struct err ignored = ERR_INIT;
    bool bracketed = text[0] == '[';
    const char *end = bracketed ? strchr(text, ']') : text + strcspn(text, ":");
    if (!end)
        return false;
    const char *host = text + bracketed, *rest = end + bracketed;
    size_t n = (size_t)(end - host);
    int64_t port = 0;
    if (!is_host(host, n) || (memchr(host, ':', n) != NULL) != bracketed)
        return false;
    if (*rest && (*rest != ':' || parse_i64(rest + 1, &port, &ignored) || port < 1 || port > PORT_MAX))
        return false;
    memcpy(out_host, host, n);
    out_host[n] = '\0';
    *out_port = (int)port;
    return true;
}

bool endpoint_parse(const char *url, struct endpoint *out)
{
    static const char http[] = "http://", https[] = "https://";
    char lower[POLICY_HOST_BYTES + 16];
    bool tls = text_starts(url, https);
    if (!tls && !text_starts(url, http))
        return false;
    const char *text = url + (tls ? strlen(https) : strlen(http));
    size_t n = strlen(text);
    if (n >= sizeof(lower))
        return false;
    for (size_t i = 0; i <= n; i++)
        lower[i] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] + ('a' - 'A') : text[i]);
    if (!split(lower, out->host, &out->port))
        return false;
    out->tls = tls;
    if (out->port == 0)
        out->port = tls ? HTTPS_PORT : HTTP_PORT;
    return true;
}

/* Below a single label lies everybody: "*.eu" is no one's host. */
bool endpoint_pattern_is_valid(const char *pattern)
{
    char host[POLICY_HOST_BYTES];
    int port;
    bool below = text_starts(pattern, "*.");
    return split(below ? pattern + 2 : pattern, host, &port) && (!below || strchr(host, '.') != NULL);
}

bool endpoint_fits(const char *pattern, const struct endpoint *at)
{
    char host[POLICY_HOST_BYTES];
    int port;
    bool below = text_starts(pattern, "*.");
    if (!endpoint_pattern_is_valid(pattern) || !split(below ? pattern + 2 : pattern, host, &port))
        return false;
    if (port == 0)
        port = at->tls ? HTTPS_PORT : HTTP_PORT;
    if (port != at->port)
        return false;
    if (!below)
        return strcmp(host, at->host) == 0;
    size_t h = strlen(host), n = strlen(at->host);
    return n > h + 1 && at->host[n - h - 1] == '.' && strcmp(at->host + n - h, host) == 0;
}
