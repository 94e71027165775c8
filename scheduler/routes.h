/*
 * routes.h - the HTTP API as a table: method, path, handler. No socket, no libmicrohttpd.
 *
 * A request has been authenticated and read whole; its path is matched segment by segment ("{id}" takes one),
 * and its handler fills the reply or returns an error, which becomes the reply by one rule (api_status_of()).
 * So a test calls routes_answer() as the server does. The wire is said in core/api/api.h.
 *
 * Threads: a request's own; handlers share `api` (nothing in it changes but `stopping` and the lead's token)
 * and borrow a state handle each.
 */
#ifndef SCHEDULER_ROUTES_H
#define SCHEDULER_ROUTES_H

#include "core/api/api.h"
#include "core/cluster/cluster.h"
#include "scheduler/audit.h"
#include "scheduler/handles.h"
#include "scheduler/lead.h"
#include "scheduler/moves.h"

#include <stdatomic.h>

enum { REQUEST_PATH_BYTES = 256, REQUEST_QUERY_MAX = 16, REQUEST_VALUE_BYTES = 128, ROUTES_LOOK_MS = 200 };

/* What handlers stand on. All borrowed. */
struct api {
    const struct cluster *cluster;
    const struct clock *clock;
    const struct lead *lead;
    struct handles *handles;
    const struct audit_counts *counts; /* NULL: nobody counts */
    int64_t started_ms;                /* wall */
    atomic_bool stopping;              /* whoever waits for news answers at once */
};

struct request_query {
    char name[REQUEST_VALUE_BYTES], value[REQUEST_VALUE_BYTES];
};
struct request {
    const char *method, *path; /* the path without the query, as it was sent */
    char user[JOB_USER_BYTES];
    struct request_query query[REQUEST_QUERY_MAX];
    size_t query_count;
    const void *body;
    size_t body_bytes;
    char id[REQUEST_PATH_BYTES]; /* what stood for {id} */
};

struct reply {
    int status;
    json_t *json; /* owned; NULL: `text` is the answer */
    struct buf text;
    const char *content_type; /* of `text`; NULL: JSON */
    bool is_log;              /* text, and the three below as headers */
    int64_t attempt, next;
    bool over;
};
#define REPLY_INIT                                                                                           \
    {                                                                                                        \
        .status = 200, .text = BUF_INIT(API_ANSWER_BYTES_MAX)                                                \
    }
void reply_done(struct reply *r);

typedef enum err_code route_fn(struct api *a, struct state *s, const struct request *q, struct reply *r,
                               struct err *e);
struct route {
    const char *method, *path;
    route_fn *handle;
    bool stateless; /* gets no state handle: answers while the state is away */
};

/* Which route, and what stood for {id}. ERR_NOT_FOUND: no such path; ERR_USAGE: another method. */
enum err_code routes_match(const char *method, const char *path, const struct route **out,
                           char out_id[REQUEST_PATH_BYTES], struct err *e);
/* Never fails: an error is an answer too. Wherever there is json, it becomes `text`. */
void routes_answer(struct api *a, struct request *q, struct reply *r);
void routes_answer_error(const struct err *e, int status, struct reply *r); /* status 0: the code's */

/* A query's value, or `otherwise` where it is not given. ERR_USAGE: not a number from min to max. */
enum err_code request_i64(const struct request *q, const char *name, int64_t min, int64_t max,
                          int64_t otherwise, int64_t *out, struct err *e);
const char *request_text(const struct request *q, const char *name, const char *otherwise);

/* A body that is an object of members among `names` (NULL-terminated); no body is an empty one. */
enum err_code request_body(const struct request *q, const char *const *names, json_t **out, struct err *e);

/* An event of this user's into the ledger's outbox, on disk before it returns. `job` "": of none. */
enum err_code routes_record(const struct api *a, struct state *s, const char *user, const char *event,
                            const char *job, json_t *data, struct err *e);

/* The handlers: route_*.c. */
route_fn route_submit, route_list, route_show, route_watch, route_cancel, route_why, route_logs, route_health,
    route_queues, route_nodes, route_metrics, route_keys, route_key_create, route_key_rewrap,
    route_key_destroy, route_export;

#endif
