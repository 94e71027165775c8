#include "scheduler/serve.h"

#include "base/log.h"
#include "base/mem.h"

#include <inttypes.h>
#include <microhttpd.h>
#include <stdio.h>
#include <string.h>

enum { STATUS_UNKNOWN_CALLER = 401, SERVE_STACK_BYTES = 2 << 20, DROPPED_BYTES_MAX = 4 * API_BODY_BYTES_MAX };

struct serve {
    struct api *api;
    const struct auth *auth;
    bool over_tcp;
    struct MHD_Daemon *daemon;
    atomic_int under_way;
};

/* One request, from its head to its answer. */
struct exchange {
    struct request request;
    struct buf body;
    struct err refused; /* code OK: not */
    int refused_status; /* 0: the code's */
    size_t dropped;     /* bytes of a body that nobody will read */
};

/* ---- the head ---- */

static enum MHD_Result add_query(void *context, enum MHD_ValueKind kind, const char *name, const char *value)
{
    struct exchange *x = context;
    struct request *q = &x->request;

    (void)kind;
    value = value ? value : "";
    if (q->query_count == REQUEST_QUERY_MAX || strlen(name) >= REQUEST_VALUE_BYTES ||
        strlen(value) >= REQUEST_VALUE_BYTES) {
        IGNORE(err_set(&x->refused, ERR_USAGE, "the query has more or longer values than this API knows"));
        return MHD_NO;
    }
    struct request_query *row = &q->query[q->query_count++];
    memcpy(row->name, name, strlen(name) + 1);
    memcpy(row->value, value, strlen(value) + 1);
    return MHD_YES;
}

static enum err_code know_caller(const struct serve *s, struct MHD_Connection *c, struct exchange *x)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);

    if (s->over_tcp)
        return auth_bearer(s->auth, MHD_lookup_connection_value(c, MHD_HEADER_KIND, "authorization"),
                           x->request.user, &x->refused);
    return auth_peer(s->auth, info ? info->connect_fd : -1, x->request.user, &x->refused);
}

static void check_length(struct MHD_Connection *c, struct exchange *x)
{
    const char *text = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "content-length");

    /* libmicrohttpd has checked its form, and that the body is no longer. */
    if (text && strtoull(text, NULL, 10) > API_BODY_BYTES_MAX)
        IGNORE(err_set(&x->refused, ERR_LIMIT, "the body has %.20s bytes; at most %d are read", text,
                       API_BODY_BYTES_MAX));
}

static struct exchange *begin(struct serve *s, struct MHD_Connection *c)
{
    struct exchange *x = mem_new(sizeof(*x));

    atomic_fetch_add(&s->under_way, 1);
    x->body = (struct buf)BUF_INIT(API_BODY_BYTES_MAX);
    if (know_caller(s, c, x)) {
        x->refused_status = STATUS_UNKNOWN_CALLER;
        return x;
    }
    check_length(c, x);
    if (x->refused.code == OK)
        MHD_get_connection_values(c, MHD_GET_ARGUMENT_KIND, add_query, x);
    return x;
}

/* ---- the body ---- */

/* False: this caller has sent more than enough; hang up. */
static bool take_body(struct exchange *x, const void *data, size_t n)
{
    if (x->refused.code == OK) {
        buf_add(&x->body, data, n);
        if (!x->body.full)
            return true;
        IGNORE(err_set(&x->refused, ERR_LIMIT, "the body has more than %d bytes", API_BODY_BYTES_MAX));
        buf_done(&x->body);
    }
    /* Read on for a while: who is still writing would not see an answer. */
    x->dropped += n;
    return x->dropped <= DROPPED_BYTES_MAX;
}

/* ---- the answer ---- */

static void add_number(struct MHD_Response *response, const char *name, int64_t value)
{
    char text[24];

    snprintf(text, sizeof(text), "%" PRId64, value);
    MHD_add_response_header(response, name, text);
}

static enum MHD_Result send_reply(struct MHD_Connection *c, struct reply *r)
{
    /* The text's memory goes along. */
    struct MHD_Response *response =
        MHD_create_response_from_buffer(r->text.len, r->text.data, MHD_RESPMEM_MUST_FREE);

    if (!response)
        return MHD_NO;
    r->text = (struct buf)BUF_INIT(0);
    MHD_add_response_header(response, "content-type", r->content_type ? r->content_type : "application/json");
    MHD_add_response_header(response, "cache-control", "no-store");
    MHD_add_response_header(response, "x-content-type-options", "nosniff");
    if (r->status == STATUS_UNKNOWN_CALLER)
        MHD_add_response_header(response, "www-authenticate", "Bearer");
    if (r->is_log) {
        add_number(response, "x-sovrun-attempt", r->attempt);
        add_number(response, "x-sovrun-next", r->next);
        MHD_add_response_header(response, "x-sovrun-over", r->over ? "true" : "false");
    }
    enum MHD_Result result = MHD_queue_response(c, (unsigned)r->status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result answer(const struct serve *s, struct MHD_Connection *c, struct exchange *x,
                              const char *method, const char *path)
{
    CLEANUP(reply_done) struct reply r = REPLY_INIT;

    if (x->refused.code) {
        routes_answer_error(&x->refused, x->refused_status, &r);
        return send_reply(c, &r);
    }
    x->request.method = method;
    x->request.path = path;
    x->request.body = x->body.data;
    x->request.body_bytes = x->body.len;
    routes_answer(s->api, &x->request, &r);
    return send_reply(c, &r);
}

/* ---- libmicrohttpd's callbacks ---- */

/* Called once with the head, then for each piece of the body, then once more. */
static enum MHD_Result on_request(void *context, struct MHD_Connection *c, const char *url,
                                  const char *method, const char *version, const char *data, size_t *io_bytes,
                                  void **io_exchange)
{
    struct serve *s = context;
    struct exchange *x = *io_exchange;

    (void)version;
    if (!x) {
        *io_exchange = begin(s, c);
        return MHD_YES;
    }
    if (*io_bytes) {
        size_t n = *io_bytes;
        *io_bytes = 0;
        return take_body(x, data, n) ? MHD_YES : MHD_NO;
    }
    return answer(s, c, x, method, url);
}

static void on_completed(void *context, struct MHD_Connection *c, void **io_exchange,
                         enum MHD_RequestTerminationCode code)
{
    struct serve *s = context;
    struct exchange *x = *io_exchange;

    (void)c, (void)code;
    if (!x)
        return;
    buf_done(&x->body);
    free(x);
    *io_exchange = NULL;
    atomic_fetch_sub(&s->under_way, 1);
}

static void on_message(void *context, const char *fmt, va_list ap)
{
    char text[512];

    (void)context;
    vsnprintf(text, sizeof(text), fmt, ap);
    text[strcspn(text, "\n")] = '\0';
    log_debug("api.http", "%s", text);
}

/* ---- start and stop ---- */

enum err_code serve_start(struct api *api, const struct auth *auth, int listen_fd, bool over_tcp,
                          struct serve **out, struct err *e)
{
    struct serve *s = mem_new(sizeof(*s));
    const unsigned flags = MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL |
                           MHD_USE_ITC | MHD_USE_ERROR_LOG;

    s->api = api;
    s->auth = auth;
    s->over_tcp = over_tcp;
    s->daemon =
        MHD_start_daemon(flags, 0, NULL, NULL, on_request, s, MHD_OPTION_EXTERNAL_LOGGER, on_message, NULL,
                         MHD_OPTION_LISTEN_SOCKET, listen_fd, MHD_OPTION_NOTIFY_COMPLETED, on_completed, s,
                         MHD_OPTION_CONNECTION_LIMIT, (unsigned)SERVE_CONNECTIONS_MAX,
                         MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)SERVE_SILENCE_S,
                         MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)SERVE_HEAD_BYTES_MAX,
                         MHD_OPTION_THREAD_STACK_SIZE, (size_t)SERVE_STACK_BYTES, MHD_OPTION_END);
    if (!s->daemon) {
        close(listen_fd);
        free(s);
        return err_set(e, ERR_IO, "the HTTP server does not start");
    }
    *out = s;
    return OK;
}

void serve_stop(struct serve *s)
{
    enum { LOOK_MS = 10 };

    if (!s)
        return;
    MHD_socket fd = MHD_quiesce_daemon(s->daemon);
    for (int64_t spent = 0; atomic_load(&s->under_way) && spent < SERVE_STOP_MS; spent += LOOK_MS)
        clock_real.sleep_ms(&clock_real, LOOK_MS);
    MHD_stop_daemon(s->daemon);
    if (fd != MHD_INVALID_SOCKET)
        close(fd);
    free(s);
}
