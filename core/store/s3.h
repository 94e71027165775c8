/*
 * s3.h - inside the s3 backend: its handle, and one signed call. Private to core/store and its tests.
 *
 * s3_flow.c sends many calls at once, each tried again by itself; s3_many.c reads many objects through it.
 * store_s3.c turns the operations on objects into calls, s3_parts.c puts in parts, s3_bucket.c opens, makes
 * and describes the bucket; s3_call.c signs a call, sends it and turns its answer into an error where it is
 * one.
 */
#ifndef CORE_STORE_S3_H
#define CORE_STORE_S3_H

#include "core/crypto/crypto.h"
#include "core/http/http_pool.h"
#include "core/aws/sigv4.h"
#include "core/store/s3_xml.h"
#include "core/store/store_ops.h"

struct s3_options {
    size_t part_bytes;         /* larger puts go in parts of so much */
    int page_keys;             /* entries a page of a list */
    int64_t deadline_ms;       /* of one transfer, beside what its bytes may take */
    size_t connections;        /* at once, where there is much to do */
    const struct clock *clock; /* for signatures and pauses */
};
extern const struct s3_options s3_options_default;

struct store_s3 {
    struct store base;
    struct http_client *http;
    struct http_pool *pool;           /* NULL until many calls are made at once */
    struct http_options pool_options; /* with copies of what they point to */
    char origin[400];
    struct store_place place; /* files and guard, for the pool; payload and encryption */
    char sse_context[4 * STORE_SSE_CONTEXT_BYTES / 3 + 4]; /* in base64 */
    struct store_session session;                          /* what calls are signed with */
    uint32_t session_number;                               /* grows as it is renewed */
    store_renew_fn *renew;                                 /* may be NULL */
    void *renew_context;
    int64_t renew_not_before_ms; /* monotonic */
    char host[384];              /* as in the Host header */
    char bucket[STORE_BUCKET_BYTES], region[64];
    bool path_style, tls;
    int64_t skew_ms; /* the server's clock minus ours, once it has complained */
    struct s3_options options;
};

extern const struct store_ops store_s3_ops;
enum err_code s3_bucket_facts(struct store *base, struct store_facts *out, struct err *e);

/* The backend bare, without retries. */
enum err_code s3_open(const struct store_place *place, const struct store_credentials *credentials,
                      const struct s3_options *options, struct store **out, struct err *e);

enum { S3_CALL_HEADERS_MAX = 12, S3_ANSWER_BYTES_MAX = 16 << 20 };

struct s3_call {
    const char *method;
    const char *key; /* NULL: the bucket itself */
    struct sigv4_param params[SIGV4_PARAMS_MAX];
    size_t param_count;
    struct http_header headers[S3_CALL_HEADERS_MAX]; /* beside those of the signature */
    size_t header_count;
    const void *body;
    size_t body_bytes;
    bool is_object;   /* the body is an object's, or a part of one */
    uint32_t session; /* that it was signed with: filled by s3_sign() */
};
void s3_param(struct s3_call *call, const char *name, const char *value); /* borrowed */
void s3_header(struct s3_call *call, const char *name, const char *value);

/* What one try sends: everything that its header texts point into. */
struct s3_signed {
    struct http_header headers[S3_CALL_HEADERS_MAX + 6];
    size_t count;
    char date[CLOCK_TEXT_BYTES], payload_hash[SHA256_HEX_BYTES];
    struct buf path, query, authorization, target;
    struct buf chunks; /* the body as it is sent, where it is signed in chunks */
    char plain_bytes[24];
};

void s3_signed_done(struct s3_signed *c);
/* One try of a call, ready for http_do() or a pool; `call` and `c` must outlive it. */
enum err_code s3_sign(struct store_s3 *s, struct s3_call *call, size_t answer_bytes, struct s3_signed *c,
                      struct http_request *out, struct err *e);
/* What the answer to `call` means, in words as s3_do() has them. *out_again: the server's clock was taken
 * over, or newer credentials; to send the call again at once is worth a try. */
enum err_code s3_judge(struct store_s3 *s, const struct s3_call *call, const struct http_response *r,
                       bool *out_again, char out_code[64], struct err *e);
enum { S3_AGAIN_TRIES = 3 }; /* for such reasons, of one call */

/* s3_session.c. Before a call: newer credentials where the present ones end soon. */
void s3_session_keep(struct store_s3 *s);
/* After a refusal: are the credentials over, by S3's code or by their own end? */
bool s3_session_is_over(const struct store_s3 *s, const char *code, int status);
/* Newer ones than those that `call` was signed with; false: there are none yet. */
bool s3_session_newer(struct store_s3 *s, const struct s3_call *call);
int64_t
s3_server_now_ms(const struct store_s3 *s); /* the wall clock as the server has it, as far as is known */

/* Sends it; the answer is a 2xx, and no error inside one, or else there is an error whose text holds S3's own
 * code, message and request id. e->cause is the status; `out_code` (may be NULL) S3's code, "" where it gave
 * none. */
enum err_code s3_do(struct store_s3 *s, struct s3_call *call, struct http_response *r, char out_code[64],
                    struct err *e);

/* The same, tried a few times where that may help: for the steps of a put, which as a whole is costly to
 * repeat. */
enum err_code s3_do_again(struct store_s3 *s, struct s3_call *call, struct http_response *r,
                          char out_code[64], struct err *e);

/* "Sun, 22 Nov 2026 14:12:30 GMT" -> ms. */
enum err_code s3_parse_date(const char *text, int64_t *out_ms, struct err *e);
/* Many calls at once. A task is prepared anew for each try, and told of its answer; what broke off half way
 * is told, too, so that the next try may go on from there. */
enum { S3_FLOW_TRIES = 6 };
struct s3_flow_room { /* a try's own texts: live as long as it */
    char text[96], number[32];
};
struct s3_flow {
    size_t count; /* of tasks */
    void *context;
    int64_t patience_ms; /* a task is tried so long, and waits are told; 0: S3_FLOW_TRIES times */
    enum err_code (*prepare)(void *context, size_t task, struct s3_call *call, struct s3_flow_room *room,
                             size_t *out_answer_bytes, struct err *e);
    enum err_code (*take)(void *context, size_t task, struct http_response *r,
                          struct err *e);                                   /* status 2xx */
    void (*broke_off)(void *context, size_t task, struct http_response *r); /* may be NULL */
};
enum err_code s3_flow_run(struct store_s3 *s, const struct s3_flow *f, struct err *e);

enum err_code s3_abort_uploads(struct store *base, const char *prefix, int64_t before_ms, size_t *out_aborted,
                               struct err *e);
enum err_code s3_get_many(struct store *base, const struct store_read *reads, size_t count,
                          store_read_fn *each, void *context, struct err *e);

/* S3 keeps whole seconds; a lock is never shorter than asked. */
int64_t s3_round_up(int64_t ms);
const char *s3_format_until(int64_t ms, char out[CLOCK_TEXT_BYTES]);

/* Adds the headers that lock a new object; their texts live in `texts`. */
struct s3_lock_texts {
    char until[CLOCK_TEXT_BYTES];
};
void s3_lock_headers(struct s3_call *call, const struct store_lock *lock, struct s3_lock_texts *texts);

/* Adds the headers that ask for the place's encryption of a new object. */
void s3_sse_headers(const struct store_s3 *s, struct s3_call *call);
/* ERR_DENIED where the answer to a HEAD does not show it. */
enum err_code s3_sse_was_kept(const struct store_s3 *s, const struct http_response *r, struct err *e);

/* A put in parts; what was begun is aborted where it fails. The lock is set by the caller, afterwards: some
 * stores drop it here. */
enum err_code s3_put_parts(struct store_s3 *s, const char *key, const void *data, size_t n,
                           const struct store_put_options *options, char out_version[STORE_VERSION_BYTES],
                           struct err *e);

/* x-amz-version-id, "null" where the bucket has no versions. */
enum err_code s3_version_of(const struct http_response *r, char out[STORE_VERSION_BYTES], struct err *e);

#endif
