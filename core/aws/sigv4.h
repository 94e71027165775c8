/*
 * sigv4.h - AWS Signature Version 4 (AWS, "Authenticating Requests (AWS Signature Version 4)").
 *
 * The query is signed as it is sent: the caller builds it with sigv4_query() and sends those very bytes. So
 * is the path for S3, encoded once and never normalised. Other services have it signed in another form than
 * it is sent in, which `path_normalised` and `path_encoded_again` ask for. libcurl's own signer is not used:
 * in the versions that Debian carries it sorts headers and queries wrongly.
 *
 * Pure functions; secrets are read here and go no further than the HMAC.
 */
#ifndef CORE_AWS_SIGV4_H
#define CORE_AWS_SIGV4_H

#include "base/buf.h"
#include "core/crypto/secret.h"
#include "core/http/http.h"

#define SIGV4_UNSIGNED_PAYLOAD "UNSIGNED-PAYLOAD"
#define SIGV4_CHUNKED_PAYLOAD "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"

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
    const char *method, *path, *query; /* as they are sent; query "" for none */
    bool path_normalised;    /* "." and ".." resolved, slashes that repeat dropped (RFC 3986, 5.2.4) */
    bool path_encoded_again; /* all but "/" of what is sent */
    const struct http_header *headers; /* all that are to be signed: host, x-amz-date and the rest; the values
                                          of a name that comes twice are joined in their order */
    size_t header_count;
    const char *payload_hash; /* hex, or SIGV4_UNSIGNED_PAYLOAD, or SIGV4_CHUNKED_PAYLOAD */
};

/* The value of the Authorization header. */
enum err_code sigv4_sign(const struct sigv4_request *q, struct buf *out, struct err *e);

/*
 * The body of a request whose payload hash is SIGV4_CHUNKED_PAYLOAD (AWS, "Signature Calculations for the
 * Authorization Header: Transferring Payload in Multiple Chunks"): chunks of `chunk_bytes`, each with a
 * signature that goes on from the one before, the first from the request's own; and an empty one last.
 * `authorization` is what sigv4_sign() gave.
 */
enum err_code sigv4_chunks(const struct sigv4_request *q, const char *authorization, const void *data,
                           size_t n, size_t chunk_bytes, struct buf *out, struct err *e);
size_t sigv4_chunks_bytes(size_t n, size_t chunk_bytes); /* how long that will be */

#endif
