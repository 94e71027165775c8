/*
 * post.h - one signed POST to a service of AWS's kind that is not S3: the key service, the session service.
 *
 * One try. What its answer means, and whether it is sent again, is the caller's to know.
 */
#ifndef CORE_AWS_POST_H
#define CORE_AWS_POST_H

#include "core/crypto/secret.h"
#include "core/http/http.h"

struct aws_post {
    const char *host, *region, *service;
    const struct secret *access_key, *secret_key, *session_token; /* the last may be NULL */
    int64_t now_ms;                                               /* by the service's clock */
    const char *content_type;
    const char *target; /* x-amz-target; NULL: none */
    const struct buf *body;
    int64_t timeout_ms; /* 0: the client's own */
};
/* Errors are those of http_do(): any answer is OK. */
enum err_code aws_post(struct http_client *http, const struct aws_post *p, struct http_response *r,
                       struct err *e);

#endif
