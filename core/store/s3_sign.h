/*
 * s3_sign.h - AWS Signature Version 4 as S3 takes it (AWS, "Authenticating Requests (AWS Signature Version
 * 4)").
 *
 * The path and the query are signed as they are sent: encoded once, never normalised, the query sorted. So
 * the caller builds both with s3_path() and s3_query() and sends those very bytes. libcurl's own signer is
 * not used: in the versions that Debian carries it sorts headers and queries wrongly.
 *
 * Pure functions; secrets are read here and go no further than the HMAC.
 */
#ifndef CORE_STORE_S3_SIGN_H
#define CORE_STORE_S3_SIGN_H

#include "base/buf.h"
#include "core/crypto/secret.h"
#include "core/http/http.h"

#define S3_UNSIGNED_PAYLOAD "UNSIGNED-PAYLOAD"

enum { S3_SIGNED_HEADERS_MAX = 24, S3_PARAMS_MAX = 12 };

struct s3_param {
    const char *name, *value; /* plain text; "" for a valueless one such as ?uploads */
};

/* "name=value&..." in the order that is signed. */
enum err_code s3_query(const struct s3_param *params, size_t count, struct buf *out, struct err *e);

struct s3_signing {
    const struct secret *access_key, *secret_key;
    const char *region, *service;
    int64_t time_ms;
    const char *method, *path, *query; /* path and query encoded; query "" for none */
    const struct http_header
        *headers; /* all that are to be signed: host, x-amz-date and the rest, each name once */
    size_t header_count;
    const char *payload_hash; /* hex, or S3_UNSIGNED_PAYLOAD */
};

/* The value of the Authorization header. */
enum err_code s3_sign(const struct s3_signing *q, struct buf *out, struct err *e);

#endif
