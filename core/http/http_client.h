/*
 * http_client.h - inside core/http: one libcurl handle for one origin, and the two halves of a request.
 *
 * http.c makes the handle and guards it, http_request.c sets a request up and turns what became of it into an
 * error, http_pool.c lets many handles run at once, http_answer.c reads answers. http_do() is begin, perform,
 * end.
 */
#ifndef CORE_HTTP_HTTP_CLIENT_H
#define CORE_HTTP_HTTP_CLIENT_H

#include "core/http/http.h"

#include <curl/curl.h>

enum { PLACE_BYTES = 300 };

/* Where an answer goes while it comes in. */
struct http_sink {
    CURL *curl;
    struct http_response *r;
};
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
    struct curl_slist *headers; /* of the request under way */
    struct http_sink sink;
};

/* `q` and `r` are borrowed until http_end(), which must follow where this is OK. The response is reset. */
enum err_code http_begin(struct http_client *c, const struct http_request *q, struct http_response *r,
                         struct err *e);
enum err_code http_end(struct http_client *c, CURLcode code, const struct http_request *q,
                       struct http_response *r, struct err *e);
void http_let_go(struct http_client *c); /* in place of http_end(): nobody wants to know */

bool http_is_clean(const char *text); /* no control characters */
void http_printable(const char *text, size_t n, char *out,
                    size_t out_bytes); /* a stranger's, fit for one line */

#endif
