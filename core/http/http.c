#include "core/http/http_client.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum { CONNECT_TIMEOUT_MS = 5000, REQUEST_TIMEOUT_MS = 60000, PEM_BYTES_MAX = 64 * 1024 };
enum { STALL_S = 60 }; /* not a byte for so long: a time-out, however far away the deadline is */

/* libcurl counts its users in a global of its own; that is the one thing to do once a process. */
static void curl_begin(void)
{
    invariant(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
}

bool http_is_clean(const char *text)
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
    if (!host || !*host || !http_is_clean(origin) || strpbrk(host, "/?#@\\ ") ||
        strlen(origin) >= PLACE_BYTES)
        return err_set(e, ERR_USAGE, "'%.200s' is no origin: http://HOST:PORT or https://HOST:PORT is one",
                       http_is_clean(origin) ? origin : "(unprintable)");
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
