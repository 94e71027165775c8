/*
 * sigv4.h - AWS Signature Version 4 (AWS, "Authenticating Requests (AWS Signature Version 4)").
 *
 * The path and the query are signed as they are sent: encoded once, never normalised, the query sorted. So
 * the caller encodes the path, builds the query with sigv4_query() and sends those very bytes. libcurl's own signer is
 * not used: in the versions that Debian carries it sorts headers and queries wrongly.
 *
 * Pure functions; secrets are read here and go no further than the HMAC.
 */
#ifndef CORE_AWS_SIGV4_H
#define CORE_AWS_SIGV4_H

#include "base/buf.h"
#include "core/crypto/secret.h"
#include "core/http/http.h"

#define SIGV4_UNSIGNED_PAYLOAD "UNSIGNED-PAYLOAD"

enum { SIGV4_HEADERS_MAX = 24, SIGV4_PARAMS_MAX = 12 };

struct sigv4_param {
    const char *name, *value; /* plain text; "" for a valueless one such as ?uploads */
};

/* "name=value&..." in the order that is signed. */
enum err_code sigv4_query(const struct sigv4_param *params, size_t count, struct buf *out, struct err *e);

struct sigv4_request {
    const struct secret *access_key, *secret_key;
    const char *region, *service;
    int64_t time_ms;
    const char *method, *path, *query; /* path and query encoded; query "" for none */
    const struct http_header
        *headers; /* all that are to be signed: host, x-amz-date and the rest, each name once */
    size_t header_count;
    const char *payload_hash; /* hex, or SIGV4_UNSIGNED_PAYLOAD */
};

/* The value of the Authorization header. */
enum err_code sigv4_sign(const struct sigv4_request *q, struct buf *out, struct err *e);

#endif
