#include "core/http/http.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum {
    CONNECT_TIMEOUT_MS = 5000,
    REQUEST_TIMEOUT_MS = 60000,
    PLACE_BYTES = 300,
    TARGET_BYTES_MAX = 16 * 1024,
    PEM_BYTES_MAX = 64 * 1024
};
enum { STALL_S = 60 }; /* not a byte for so long: a time-out, however far away the deadline is */

struct http_client {
    CURL *curl;
    char *origin;
    char place[PLACE_BYTES]; /* for error texts: the origin, and the socket where there is one */
    int64_t request_timeout_ms;
    struct http_guard guard;
    bool tls, unix_socket;
    char refused[HTTP_ADDRESS_BYTES]; /* the last address that the guard refused in this request; "": none */
    bool refused_plain;               /* because of the scheme, not the address */
    bool let_through;                 /* another address of the same name was fine */
    char detail[CURL_ERROR_SIZE];
};

/* libcurl counts its users in a global of its own; that is the one thing to do once a process. */
static void curl_begin(void)
{
    invariant(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
}

static bool is_clean(const char *text)
{
    for (const unsigned char *s = (const unsigned char *)text; *s; s++)
        if (*s < 0x20 || *s == 0x7f)
            return false;
    return true;
}

/* Scheme, host and perhaps a port: no user, path or query could be meant by one place. */
static enum err_code check_origin(const char *origin, struct err *e)
{
    const char *host = text_starts(origin, "http://")    ? origin + strlen("http://")
                       : text_starts(origin, "https://") ? origin + strlen("https://")
                                                         : NULL;
    if (!host || !*host || !is_clean(origin) || strpbrk(host, "/?#@\\ ") || strlen(origin) >= PLACE_BYTES)
        return err_set(e, ERR_USAGE, "'%.200s' is no origin: http://HOST:PORT or https://HOST:PORT is one",
                       is_clean(origin) ? origin : "(unprintable)");
    return OK;
}

static bool set_fixed_options(CURL *curl)
{
    /* Not followed, not proxied, not compressed, not cached, nothing but what was asked for. */
    return curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_PROXY, "") == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_USERAGENT, "sovrun") == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)STALL_S) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, 256L * 1024) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_UPLOAD_BUFFERSIZE, 1024L * 1024) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) == CURLE_OK;
}

/* ---- the guard, as libcurl asks for it ---- */

static void note_refused(struct http_client *c, const char *address, bool plain)
{
    snprintf(c->refused, sizeof(c->refused), "%s", address);
    c->refused_plain = plain;
    http_refuse(
        &(struct http_refusal){ plain ? HTTP_REFUSED_PLAIN : HTTP_REFUSED_ADDRESS, c->place, address });
}

/* Behind the name service and right before connect(): the very address that would be connected to. */
static curl_socket_t open_socket(void *user, curlsocktype purpose, struct curl_sockaddr *a)
{
    struct http_client *c = user;
    char text[HTTP_ADDRESS_BYTES];
    bool plain = !c->tls && !http_is_loopback(&a->addr);
    (void)purpose;
    if (!(c->unix_socket && a->family == AF_UNIX)) {
        if (plain || !http_guard_allows(&c->guard, &a->addr)) {
            note_refused(c, http_address_format(&a->addr, text), plain);
            return CURL_SOCKET_BAD;
        }
    }
    c->let_through = true;
    return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

/* Connected, or about to use a connection again: the peer as the kernel names it. */
static int check_peer(void *user, char *peer, char *local, int peer_port, int local_port)
{
    struct http_client *c = user;
    (void)local, (void)peer_port, (void)local_port;
    if (c->unix_socket || http_guard_allows_text(&c->guard, peer))
        return CURL_PREREQFUNC_OK;
    note_refused(c, peer, false);
    c->let_through = false;
    return CURL_PREREQFUNC_ABORT;
}

static bool set_guard(struct http_client *c, const struct http_options *o)
{
    char pin[HTTP_PIN_BYTES + 16];
    if (o->guard)
        c->guard = *o->guard;
    snprintf(pin, sizeof(pin), "sha256//%s", c->guard.pin);
    return curl_easy_setopt(c->curl, CURLOPT_OPENSOCKETFUNCTION, open_socket) == CURLE_OK &&
           curl_easy_setopt(c->curl, CURLOPT_OPENSOCKETDATA, c) == CURLE_OK &&
           curl_easy_setopt(c->curl, CURLOPT_PREREQFUNCTION, check_peer) == CURLE_OK &&
           curl_easy_setopt(c->curl, CURLOPT_PREREQDATA, c) == CURLE_OK &&
           (!c->guard.pin[0] || curl_easy_setopt(c->curl, CURLOPT_PINNEDPUBLICKEY, pin) == CURLE_OK);
}

/* libcurl copies the key and keeps it as long as the handle; our own copy is wiped. */
static enum err_code set_identity(struct http_client *c, const struct http_options *o, struct err *e)
{
    CLEANUP(buf_wipe) struct buf key = BUF_INIT(PEM_BYTES_MAX);
    if (!o->cert_file && !o->key_file)
        return OK;
    if (!o->cert_file || !o->key_file)
        return err_set(e, ERR_USAGE, "a client certificate needs its key, and a key its certificate");
    if (access(o->cert_file, R_OK) != 0)
        return err_errno(e, "client certificate '%s'", o->cert_file);
    if (file_read_private(o->key_file, &key, e))
        return err_wrap(e, "key of the client certificate");
    struct curl_blob blob = { key.data, key.len, CURL_BLOB_COPY };
    if (curl_easy_setopt(c->curl, CURLOPT_SSLCERT, o->cert_file) != CURLE_OK ||
        curl_easy_setopt(c->curl, CURLOPT_SSLKEY_BLOB, &blob) != CURLE_OK)
        return err_set(e, ERR_USAGE, "%s: this libcurl (%s) takes no client certificate", c->place,
                       curl_version());
    return OK;
}

static bool set_given_options(struct http_client *c, const struct http_options *o)
{
    long connect_ms = (long)(o->connect_timeout_ms ? o->connect_timeout_ms : CONNECT_TIMEOUT_MS);
    return curl_easy_setopt(c->curl, CURLOPT_CONNECTTIMEOUT_MS, connect_ms) == CURLE_OK &&
           curl_easy_setopt(c->curl, CURLOPT_ERRORBUFFER, c->detail) == CURLE_OK &&
           (!o->unix_socket ||
            curl_easy_setopt(c->curl, CURLOPT_UNIX_SOCKET_PATH, o->unix_socket) == CURLE_OK) &&
           (!o->ca_file || (curl_easy_setopt(c->curl, CURLOPT_CAINFO, o->ca_file) == CURLE_OK &&
                            curl_easy_setopt(c->curl, CURLOPT_CAPATH, NULL) == CURLE_OK));
}

enum err_code http_open(const struct http_options *o, struct http_client **out, struct err *e)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    CLEANUP(http_closep) struct http_client *c = NULL;
    if (check_origin(o->origin, e))
        return e->code;
    if (o->connect_timeout_ms < 0 || o->request_timeout_ms < 0)
        return err_set(e, ERR_USAGE, "a time-out must not be negative");
    if (o->ca_file && access(o->ca_file, R_OK) != 0)
        return err_errno(e, "authority file '%s'", o->ca_file);
    pthread_once(&once, curl_begin);
    c = mem_new(sizeof(*c));
    c->curl = curl_easy_init();
    c->origin = mem_text(o->origin);
    c->request_timeout_ms = o->request_timeout_ms ? o->request_timeout_ms : REQUEST_TIMEOUT_MS;
    c->tls = text_starts(o->origin, "https://");
    c->unix_socket = o->unix_socket != NULL;
    snprintf(c->place, sizeof(c->place), "%s%s%.100s", o->origin, o->unix_socket ? " at " : "",
             o->unix_socket ? o->unix_socket : "");
    if (!c->curl || !set_fixed_options(c->curl) || !set_given_options(c, o) || !set_guard(c, o))
        return err_set(e, ERR_USAGE, "%s: this libcurl (%s) lacks something", c->place, curl_version());
    if (c->guard.tls_required && !c->tls && !c->unix_socket) {
        http_refuse(&(struct http_refusal){ HTTP_REFUSED_PLAIN, c->place, "TLS is required" });
        return err_set(e, ERR_DENIED, "%s: the policy requires TLS: https://", c->place);
    }
    if (set_identity(c, o, e))
        return e->code;
    *out = TAKE(c);
    return OK;
}

void http_close(struct http_client *c)
{
    if (!c)
        return;
    curl_easy_cleanup(c->curl);
    free(c->origin);
    free(c);
}

void http_response_done(struct http_response *r)
{
    buf_done(&r->headers);
    buf_done(&r->body);
}

/* ---- one request ---- */

struct headers {
    struct curl_slist *list;
};

/* Overwritten: a token may be among them. */
static void headers_done(struct headers *h)
{
    for (struct curl_slist *line = h->list; line; line = line->next)
        explicit_bzero(line->data, strlen(line->data));
    curl_slist_free_all(h->list);
}

static void add_header(struct headers *h, const char *line)
{
    struct curl_slist *longer = curl_slist_append(h->list, line);
    invariant(longer != NULL); /* memory */
    h->list = longer;
}

static bool is_token(const char *name)
{
    return *name &&
           name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")] == '\0';
}

/* A line break in a value would be another header, or another request. */
static enum err_code build_headers(const struct http_request *q, struct headers *h, struct err *e)
{
    bool typed = false;
    for (size_t i = 0; i < q->header_count; i++) {
        const struct http_header *header = &q->headers[i];
        if (!is_token(header->name) || !is_clean(header->value))
            return err_set(e, ERR_USAGE, "header '%.60s' is malformed",
                           is_clean(header->name) ? header->name : "");
        /* libcurl takes "name;" for an empty value. */
        CLEANUP(freep)
        char *line = *header->value ? mem_printf("%s: %s", header->name, header->value)
                                    : mem_printf("%s;", header->name);
        add_header(h, line);
        explicit_bzero(line, strlen(line));
        typed = typed || strcasecmp(header->name, "content-type") == 0;
    }
    if (!typed)
        add_header(h, "Content-Type:"); /* none, rather than the one of a web form */
    add_header(h, "Expect:");
    return OK;
}

static enum err_code check_request(const struct http_request *q, struct err *e)
{
    if (!is_token(q->method))
        return err_set(e, ERR_USAGE, "'%.20s' is no method", is_clean(q->method) ? q->method : "");
    size_t n = strlen(q->target);
    if (q->target[0] != '/' || n > TARGET_BYTES_MAX || !is_clean(q->target) || strchr(q->target, ' ') ||
        strchr(q->target, '#'))
        return err_set(e, ERR_USAGE,
                       "the request's path must start with '/', be encoded and at most %d bytes long",
                       TARGET_BYTES_MAX);
    return OK;
}

/* Room for the whole body at once, rather than by doubling: a large one would be copied twice over. */
static void expect_body(CURL *curl, struct buf *body)
{
    curl_off_t length = -1;
    if (curl_easy_getinfo(curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length) == CURLE_OK && length > 0 &&
        (uint64_t)length <= body->max)
        buf_reserve(body, (size_t)length);
}

/* Where an answer goes while it comes in. */
struct sink {
    CURL *curl;
    struct http_response *r;
};

static size_t take_body(char *data, size_t size, size_t n, void *user)
{
    const struct sink *sink = user;
    struct http_response *r = sink->r;
    if (r->body.len == 0)
        expect_body(sink->curl, &r->body);
    buf_add(&r->body, data, size * n);
    return r->body.full ? 0 : size * n;
}

/* "Name: value\r\n" -> "name: value\n". A new status line, as after a 100, starts over. */
static size_t take_header(char *data, size_t size, size_t n, void *user)
{
    struct http_response *r = user;
    size_t length = size * n, end = length, colon;
    while (end > 0 &&
           (data[end - 1] == '\n' || data[end - 1] == '\r' || data[end - 1] == ' ' || data[end - 1] == '\t'))
        end--;
    if (end >= 5 && memcmp(data, "HTTP/", 5) == 0)
        buf_reset(&r->headers);
    const char *at = memchr(data, ':', end);
    if (!at)
        return length;
    colon = (size_t)(at - data);
    for (size_t i = 0; i < colon; i++)
        buf_add_byte(&r->headers,
                     (uint8_t)(data[i] >= 'A' && data[i] <= 'Z' ? data[i] + ('a' - 'A') : data[i]));
    buf_add_text(&r->headers, ": ");
    for (colon++; colon < end && (data[colon] == ' ' || data[colon] == '\t');)
        colon++;
    for (; colon < end; colon++)
        if (data[colon] != '\0')
            buf_add_byte(&r->headers, (uint8_t)data[colon]);
    buf_add_byte(&r->headers, '\n');
    return r->headers.full ? 0 : length;
}

/* Method and body. HEAD must be known to libcurl, or it would wait for a body. */
static bool set_body(CURL *curl, const struct http_request *q)
{
    bool head = strcmp(q->method, "HEAD") == 0;
    bool with_body = q->body_bytes > 0 || strcmp(q->method, "PUT") == 0 || strcmp(q->method, "POST") == 0;
    if (curl_easy_setopt(curl, CURLOPT_NOBODY, 0L) || curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L))
        return false;
    if (head)
        return curl_easy_setopt(curl, CURLOPT_NOBODY, 1L) == CURLE_OK;
    if (with_body && (curl_easy_setopt(curl, CURLOPT_POST, 1L) ||
                      curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->body_bytes) ||
                      curl_easy_setopt(curl, CURLOPT_POSTFIELDS, q->body_bytes ? q->body : "")))
        return false;
    return true;
}

static bool set_request(struct http_client *c, const struct http_request *q, const struct headers *h,
                        struct sink *sink)
{
    int64_t timeout_ms = q->timeout_ms ? q->timeout_ms : c->request_timeout_ms;
    bool head = strcmp(q->method, "HEAD") == 0;
    return set_body(c->curl, q) && curl_easy_setopt(c->curl, CURLOPT_URL, c->origin) == CURLE_OK &&
           curl_easy_setopt(c->curl, CURLOPT_REQUEST_TARGET, q->target) == CURLE_OK &&
           curl_easy_setopt(c->curl, CURLOPT_CUSTOMREQUEST, head ? NULL : q->method) == CURLE_OK &&
           curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, h->list) == CURLE_OK &&
           curl_easy_setopt(c->curl, CURLOPT_TIMEOUT_MS, (long)timeout_ms) == CURLE_OK &&
           curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, take_body) == CURLE_OK &&
           curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, sink) == CURLE_OK &&
           curl_easy_setopt(c->curl, CURLOPT_HEADERFUNCTION, take_header) == CURLE_OK &&
           curl_easy_setopt(c->curl, CURLOPT_HEADERDATA, sink->r) == CURLE_OK;
}

/* The guard's own no, in words that say what to do. */
static enum err_code refused_address(const struct http_client *c, struct err *e)
{
    if (c->refused_plain)
        return err_set(e, ERR_DENIED,
                       "%s: %s is another machine, and without TLS nothing leaves this one: use https://",
                       c->place, c->refused);
    return err_set(
        e, ERR_DENIED,
        "%s: its address %s is outside the ranges that the policy allows for it; nothing was sent there",
        c->place, c->refused);
}

static enum err_code refused_tls(const struct http_client *c, enum http_refusal_kind kind, const char *detail,
                                 struct err *e)
{
    http_refuse(&(struct http_refusal){ kind, c->place, detail });
    return err_set(e, ERR_DENIED, "%s: %s: %s", c->place,
                   kind == HTTP_REFUSED_CLIENT ? "it does not take our certificate"
                                               : "its certificate does not verify",
                   detail);
}

/* TLS 1.3 tells the client only after the handshake, as an alert in place of an answer. */
static bool is_client_alert(const char *detail)
{
    static const char *const alerts[] = { "alert certificate required", "alert bad certificate",
                                          "alert unknown ca",           "alert certificate expired",
                                          "alert certificate unknown",  "alert access denied" };
    for (size_t i = 0; i < ARRAY_LEN(alerts); i++)
        if (strstr(detail, alerts[i]))
            return true;
    return false;
}

/* A certificate whose signature is not its authority's, though it says so: libcurl 7.88 has no word of its
 * own for it, and shows the innermost of OpenSSL's. */
static bool is_forged(CURLcode code, const char *detail)
{
    static const char *const words[] = { "asn1 encoding routines", "rsa routines",
                                         "certificate verify failed" };
    for (size_t i = 0; code == CURLE_SSL_CONNECT_ERROR && i < ARRAY_LEN(words); i++)
        if (strstr(detail, words[i]))
            return true;
    return false;
}

static enum err_code failed(const struct http_client *c, CURLcode code, const struct http_request *q,
                            const struct http_response *r, struct err *e)
{
    const char *detail = c->detail[0] ? c->detail : curl_easy_strerror(code);
    if (c->refused[0] && !c->let_through)
        return refused_address(c, e);
    if (is_client_alert(detail))
        return refused_tls(c, HTTP_REFUSED_CLIENT, detail, e);
    if (is_forged(code, detail))
        return refused_tls(c, HTTP_REFUSED_CERTIFICATE, detail, e);
    if (r->body.full)
        return err_set(e, ERR_LIMIT, "%s: the answer is larger than %zu bytes", c->place, r->body.max);
    if (r->headers.full)
        return err_set(e, ERR_LIMIT, "%s: the answer's headers are larger than %zu bytes", c->place,
                       r->headers.max);
    switch (code) {
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
        return refused_tls(c, HTTP_REFUSED_CERTIFICATE, detail, e);
    case CURLE_SSL_CERTPROBLEM:
        return err_set(e, ERR_USAGE, "%s: our own certificate or key cannot be used: %s", c->place, detail);
    case CURLE_SSL_CACERT_BADFILE:
        return err_set(e, ERR_USAGE, "%s: the authority file cannot be used: %s", c->place, detail);
    case CURLE_OPERATION_TIMEDOUT:
        return err_set(e, ERR_RETRY, "%s: time-out: %s", c->place, detail);
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_BAD_CONTENT_ENCODING:
        return err_set(e, ERR_CORRUPT, "%s: the answer to %s is not HTTP: %s", c->place, q->method, detail);
    case CURLE_URL_MALFORMAT:
    case CURLE_BAD_FUNCTION_ARGUMENT:
    case CURLE_UNKNOWN_OPTION:
    case CURLE_NOT_BUILT_IN:
        return err_set(e, ERR_USAGE, "%s: %s", c->place, detail);
    default:
        return err_set(e, ERR_RETRY, "%s: %s", c->place, detail);
    }
}

/* What a stranger wrote, fit for one line of an error text. */
static void printable(const char *text, size_t n, char *out, size_t out_bytes)
{
    size_t k = 0;
    for (size_t i = 0; i < n && k + 1 < out_bytes; i++)
        out[k++] = text[i] >= ' ' && text[i] <= '~' ? text[i] : ' ';
    out[k] = '\0';
}

static enum err_code refuse_redirect(const struct http_client *c, const struct http_response *r,
                                     struct err *e)
{
    enum { NOT_MODIFIED = 304 };
    char to[512], clean[256];
    if (r->status < 300 || r->status > 399 || r->status == NOT_MODIFIED)
        return OK;
    bool told = http_header(r, "location", to, sizeof(to)) != NULL;
    printable(told ? to : "", told ? strlen(to) : 0, clean, sizeof(clean));
    http_refuse(&(struct http_refusal){ HTTP_REFUSED_REDIRECT, c->place, clean });
    enum err_code code =
        err_set(e, ERR_DENIED, "%s answers with a redirect (HTTP %d) to '%s', which is not followed",
                c->place, r->status, told ? clean : "a place it does not name");
    e->cause = r->status;
    return code;
}

enum err_code http_do(struct http_client *c, const struct http_request *q, struct http_response *r,
                      struct err *e)
{
    CLEANUP(headers_done) struct headers h = { .list = NULL };
    struct sink sink = { .curl = c->curl, .r = r };
    long status = 0;
    r->status = 0;
    buf_reset(&r->headers);
    buf_reset(&r->body);
    if (check_request(q, e) || build_headers(q, &h, e))
        return err_wrap(e, "%s", c->place);
    c->detail[0] = c->refused[0] = '\0';
    c->let_through = false;
    if (!set_request(c, q, &h, &sink))
        return err_set(e, ERR_USAGE, "%s: this libcurl (%s) lacks something", c->place, curl_version());
    CURLcode code = curl_easy_perform(c->curl);
    /* The list and the body are the caller's and ours: libcurl must not keep them. */
    curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, NULL);
    curl_easy_setopt(c->curl, CURLOPT_POSTFIELDS, NULL);
    if (code != CURLE_OK)
        return failed(c, code, q, r, e);
    curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &status);
    r->status = (int)status;
    return refuse_redirect(c, r, e);
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
    printable(buf_text(&r->body), r->body.len, said, sizeof(said));
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
