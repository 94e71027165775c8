/*
 * api.h - the wire between `sovrun` and the scheduler, defined once: paths, JSON, errors, and a client.
 *
 *     POST /v1/jobs                  {"file","spec","set":[...],"key"}   201 {"job":{...}}
 *                                    key: repeats give the same job
 *     GET  /v1/jobs?state=&limit=    {"jobs":[...]}                      newest first
 *     GET  /v1/jobs/ID               {"job","attempts","pulse","lease","seen"}
 *     GET  /v1/jobs/ID/watch?seen=N&wait_ms=M
 *                                    the same, when its "seen" is another than N or the time is up
 *     POST /v1/jobs/ID/cancel        {"job"}
 *     GET  /v1/jobs/ID/why           {"state","reason","ahead","ahead_jobs","needs","free","free_total",
 *                                    "backoff_ms"}
 *     GET  /v1/jobs/ID/logs?attempt=N&offset=B&wait_ms=M
 *                                    text; headers x-sovrun-attempt, x-sovrun-next: offset,
 *                                    x-sovrun-over: true at the end
 *     GET  /v1/health                {"cluster","region","leader","since_ms","version","egress_refused"}
 *     GET  /v1/metrics               text, as Prometheus reads it
 *     POST /v1/exports               {"manifest"}                        {"job","export"}: recorded, and
 *                                    allowed by the policy; asked before a model is opened for a file
 *     GET  /v1/queues  /v1/nodes     {"queues":[...]} {"nodes":[...]}
 *
 * Errors are {"error":{"code","text"}} with `code` an err_name(); HTTP status by api_status_of(). On the
 * Unix socket the caller is known by its uid; over TCP by `authorization: Bearer TOKEN`. Examples:
 * docs/FORMATS.md.
 */
#ifndef CORE_API_API_H
#define CORE_API_API_H

#include "core/http/http.h"
#include "core/json/json.h"

#define API_VERSION "1"
enum {
    API_BODY_BYTES_MAX = 2 << 20,
    API_ANSWER_BYTES_MAX = 32 << 20,
    API_LIST_MAX = 1000,
    API_WAIT_MS_MAX = 30000,
    API_LOG_CHUNK_BYTES = 256 << 10,
};

int api_status_of(enum err_code code); /* USAGE 400, DENIED 403, NOT_FOUND 404, CONFLICT 409, ... */
void api_error_body(const struct err *error, struct buf *out); /* the JSON above */

struct api_client;
/* url: "unix:/path/api.sock" or "http://127.0.0.1:4711"; `token` (may be NULL) is copied. */
struct secret;
enum err_code api_open(const char *url, const struct secret *token, struct api_client **out, struct err *e);
void api_close(struct api_client *c);
DEFINE_CLEANUP_PTR(struct api_client, api_close)

/* One call. `body` may be NULL. A JSON error answer becomes the err it says. ERR_RETRY: nobody answers ("is
 * the scheduler up?"). */
enum err_code api_call(struct api_client *c, const char *method, const char *target, const json_t *body,
                       json_t **out, struct err *e);
/* The logs call: text chunk and the two headers. */
enum err_code api_logs(struct api_client *c, const char *job, int64_t attempt, int64_t offset,
                       int64_t wait_ms, struct buf *out, int64_t *out_next, bool *out_over, struct err *e);

#endif
