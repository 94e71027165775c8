#include "scheduler/routes.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"

#include <inttypes.h>
#include <string.h>

static const struct route routes[] = {
    { "POST", "/v1/jobs", route_submit, false },
    { "GET", "/v1/jobs", route_list, false },
    { "GET", "/v1/jobs/{id}", route_show, false },
    { "GET", "/v1/jobs/{id}/watch", route_watch, false },
    { "POST", "/v1/jobs/{id}/cancel", route_cancel, false },
    { "GET", "/v1/jobs/{id}/why", route_why, false },
    { "GET", "/v1/jobs/{id}/logs", route_logs, false },
    { "GET", "/v1/health", route_health, true },
    { "GET", "/v1/queues", route_queues, false },
    { "GET", "/v1/nodes", route_nodes, false },
    { "GET", "/v1/keys", route_keys, true },
    { "POST", "/v1/keys/{id}/create", route_key_create, false },
    { "POST", "/v1/keys/{id}/rewrap", route_key_rewrap, false },
    { "POST", "/v1/keys/{id}/destroy", route_key_destroy, false },
    { "POST", "/v1/exports", route_export, false },
    { "GET", "/v1/metrics", route_metrics, true },
};

enum { STATUS_NOT_FOUND = 404, STATUS_NO_METHOD = 405, ACTOR_BYTES = JOB_USER_BYTES + 8 };

void reply_done(struct reply *r)
{
    json_decref(r->json);
    r->json = NULL;
    buf_done(&r->text);
}

/* Both from behind a slash. Length of the segment, up to the next slash. */
static bool path_matches(const char *pattern, const char *path, char out_id[REQUEST_PATH_BYTES])
{
    static const char hole[] = "{id}";

    for (;;) {
        size_t want = strcspn(pattern, "/"), have = strcspn(path, "/");
        if (want == strlen(hole) && memcmp(pattern, hole, want) == 0) {
            if (have == 0 || have >= REQUEST_PATH_BYTES)
                return false;
            memcpy(out_id, path, have);
            out_id[have] = '\0';
        } else if (want != have || memcmp(pattern, path, want) != 0) {
            return false;
        }
        pattern += want;
        path += have;
        if (!*pattern || !*path)
            return *pattern == *path;
        pattern++;
        path++;
    }
}

enum err_code routes_match(const char *method, const char *path, const struct route **out,
                           char out_id[REQUEST_PATH_BYTES], struct err *e)
{
    char id[REQUEST_PATH_BYTES] = "";
    bool path_known = false;

    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        if (!path_matches(routes[i].path, path, id))
            continue;
        path_known = true;
        if (strcmp(method, routes[i].method) != 0)
            continue;
        *out = &routes[i];
        memcpy(out_id, id, sizeof(id));
        return OK;
    }
    if (!path_known)
        return err_set(e, ERR_NOT_FOUND, "there is no '%.100s' in this API", path);
    return err_set(e, ERR_USAGE, "'%.100s' does not understand %.20s", path, method);
}

const char *request_text(const struct request *q, const char *name, const char *otherwise)
{
    for (size_t i = 0; i < q->query_count; i++)
        if (strcmp(q->query[i].name, name) == 0)
            return q->query[i].value;
    return otherwise;
}

enum err_code request_i64(const struct request *q, const char *name, int64_t min, int64_t max,
                          int64_t otherwise, int64_t *out, struct err *e)
{
    const char *text = request_text(q, name, NULL);
    int64_t v = otherwise;

    if (text && (parse_i64(text, &v, e) || v < min || v > max))
        return err_set(e, ERR_USAGE, "%s must be a number from %" PRId64 " to %" PRId64 ", not '%.40s'", name,
                       min, max, text);
    *out = v;
    return OK;
}

enum err_code request_body(const struct request *q, const char *const *names, json_t **out, struct err *e)
{
    CLEANUP(json_donep) json_t *body = NULL;
    const char *name;
    json_t *value;
    if (q->body_bytes == 0)
        body = json_object();
    else if (json_parse(q->body, q->body_bytes, "request", &body, e))
        return e->code = ERR_USAGE;
    if (!json_is_object(body))
        return err_set(e, ERR_USAGE, "request: must be an object");
    json_object_foreach(body, name, value)
    {
        bool known = false;
        for (size_t i = 0; names[i]; i++)
            known = known || strcmp(names[i], name) == 0;
        if (!known)
            return err_set(e, ERR_USAGE, "request: there is no member '%.40s'", name);
    }
    *out = TAKE(body);
    return OK;
}

enum err_code routes_record(const struct api *a, struct state *s, const char *user, const char *event,
                            const char *job, json_t *data, struct err *e)
{
    const struct moves m = { .state = s, .cluster = a->cluster, .clock = a->clock, .lead = a->lead };
    CLEANUP(state_tx_freep) struct state_tx *tx = state_tx_new();
    char actor[ACTOR_BYTES];
    snprintf(actor, sizeof(actor), "user:%s", user);
    if (moves_fence(&m, tx, e) || moves_event(&m, tx, actor, event, job, data, e) || state_commit(s, tx, e))
        return err_wrap(e, "record %s in the ledger", event);
    return OK;
}

void routes_answer_error(const struct err *e, int status, struct reply *r)
{
    json_decref(r->json);
    r->json = NULL;
    buf_reset(&r->text);
    r->is_log = false;
    r->content_type = NULL;
    r->status = status ? status : api_status_of(e->code);
    api_error_body(e, &r->text);
}

static enum err_code answer(struct api *a, const struct route *route, const struct request *q,
                            struct reply *r, struct err *e)
{
    struct state *s = NULL;

    if (!route->stateless && handles_take(a->handles, &s, e))
        return e->code;
    enum err_code code = route->handle(a, s, q, r, e);
    handles_give(a->handles, s);
    if (code)
        return code;
    if (r->json && json_canonical(r->json, &r->text, e))
        return err_wrap(e, "answer");
    return buf_check(&r->text, "answer", e);
}

void routes_answer(struct api *a, struct request *q, struct reply *r)
{
    const struct route *route;
    struct err e = ERR_INIT;
    int status = 0;

    if (routes_match(q->method, q->path, &route, q->id, &e))
        status = e.code == ERR_USAGE ? STATUS_NO_METHOD : STATUS_NOT_FOUND;
    else if (answer(a, route, q, r, &e) == OK)
        return;
    log_debug("api.refused", "%s %.100s: %s", q->method, q->path, e.text);
    routes_answer_error(&e, status, r);
}
