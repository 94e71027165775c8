/*
 * http.h - one HTTP request at a time to one fixed place. libcurl ends here.
 *
 * A client is made for one origin (scheme, host, port, or a Unix socket) and speaks to no other: a redirect
 * is returned as ERR_DENIED with the place it pointed to, never followed; proxies in the environment are
 * ignored; only http and https are spoken, https from TLS 1.2 with the system's or the given authority, http
 * to this machine alone. Every address is asked of the guard (guard.h) after the name was resolved and again
 * once connected. Every request has a deadline and a largest answer; a minute without a byte ends it too.
 * Connections are kept alive between the requests of one client.
 *
 * Any HTTP status is a success of this module; http_check() turns one into an error where the caller wants
 * that. Not retried here: whoever knows what is safe to repeat does (core/store/store_retry.c, for one).
 *
 * Threads: one client, one thread.
 */
#ifndef CORE_HTTP_HTTP_H
#define CORE_HTTP_HTTP_H

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "core/http/guard.h"

#include <stdint.h>

struct http_options {
    const char *origin;               /* "http://127.0.0.1:7480"; with unix_socket the host is a name only */
    const char *unix_socket;          /* path; NULL for TCP */
    const char *ca_file;              /* PEM; NULL: the system's authorities */
    const char *cert_file, *key_file; /* PEM: who we are, where the server asks; the key 0600. NULL: nobody */
    const struct http_guard *guard;   /* copied; NULL: loopback only */
    int64_t connect_timeout_ms, request_timeout_ms; /* 0: 5 s and 60 s */
};

struct http_client;
enum err_code http_open(const struct http_options *o, struct http_client **out, struct err *e);
void http_close(struct http_client *c);
DEFINE_CLEANUP_PTR(struct http_client, http_close)

struct http_header {
    const char *name, *value;
};

struct http_request {
    const char *method; /* "GET", "PUT", "POST", "DELETE", "HEAD" */
    const char *target; /* path and query, already encoded: sent as it is, byte for byte */
    const struct http_header *headers;
    size_t header_count;
    const void *body; /* borrowed */
    size_t body_bytes;
    int64_t timeout_ms; /* 0: the client's */
};

enum { HTTP_HEADER_BYTES_MAX = 64 * 1024 };

struct http_response {
    int status;
    struct buf headers; /* "name: value\n", names in lower case */
    struct buf body;    /* its max is set by the caller before the call */
};
#define HTTP_RESPONSE_INIT(body_max)                                                                         \
    {                                                                                                        \
        0, BUF_INIT(HTTP_HEADER_BYTES_MAX), BUF_INIT(body_max)                                               \
    }
void http_response_done(struct http_response *r);

/* ERR_RETRY: no connection, reset, time-out (the text names the host). ERR_DENIED: an address outside the
 * guard, a redirect, a certificate that does not verify, ours not taken; each is told to the observer of
 * refusals, too. ERR_LIMIT: the answer exceeds body.max. ERR_CORRUPT: the answer is not HTTP. The response is
 * reset first. */
enum err_code http_do(struct http_client *c, const struct http_request *q, struct http_response *r,
                      struct err *e);

/* A response header's value, borrowed, or NULL. `name` in lower case. Copies into out. */
const char *http_header(const struct http_response *r, const char *name, char *out, size_t out_bytes);

/* Status 2xx: OK. 404: NOT_FOUND, 409 and 412: CONFLICT, 401 and 403: DENIED, 429, 500, 502 to 504: RETRY,
 * else USAGE. */
enum err_code http_check(const struct http_response *r, struct err *e);
enum err_code http_code_of_status(int status); /* the same table, for those who write their own text */

/* RFC 3986: everything but unreserved characters becomes %XX (upper case); '/' stays where keep_slash. */
void http_encode(const char *text, bool keep_slash, struct buf *out);

#endif
