/* /v1/health, /v1/queues, /v1/nodes. */
#include "scheduler/routes.h"

#include "scheduler/text_json.h"
#include "scheduler/view.h"

/* Answers while the state is away: that it does not lead then is the news. */
enum err_code route_health(struct api *a, struct state *s, const struct request *q, struct reply *r,
                           struct err *e)
{
    (void)s, (void)q, (void)e;
    r->json = json_pack("{s:s,s:s,s:b,s:I,s:s}", "cluster", a->cluster->name, "region", a->cluster->region,
                        "leader", lead_token(a->lead) != 0, "since_ms", (json_int_t)a->started_ms, "version",
                        API_VERSION);
    return OK;
}

static enum err_code waiting_in(struct state *s, const char *queue, int64_t *out, struct err *e)
{
    char set[JOB_KEY_BYTES];

    return state_count(s, moves_queue_set(queue, set), out, e);
}

enum err_code route_queues(struct api *a, struct state *s, const struct request *q, struct reply *r,
                           struct err *e)
{
    CLEANUP(fleet_done) struct fleet fleet = { .nodes = NULL };
    json_t *list = json_array();

    (void)q;
    r->json = json_object();
    json_object_set_new(r->json, "queues", list);
    if (view_fleet(s, a->cluster, &fleet, e))
        return e->code;
    for (size_t i = 0; i < fleet.queue_count; i++) {
        const struct fleet_queue *row = &fleet.queues[i];
        int64_t waiting = 0;
        if (waiting_in(s, row->name, &waiting, e))
            return e->code;
        json_array_append_new(list,
                              json_pack("{s:s,s:I,s:I,s:I,s:I,s:I}", "name", row->name, "priority",
                                        (json_int_t)row->priority, "slots_max", (json_int_t)row->slots_max,
                                        "slots_used", (json_int_t)row->used, "active", (json_int_t)row->jobs,
                                        "waiting", (json_int_t)waiting));
    }
    return OK;
}

enum err_code route_nodes(struct api *a, struct state *s, const struct request *q, struct reply *r,
                          struct err *e)
{
    CLEANUP(fleet_done) struct fleet fleet = { .nodes = NULL };
    json_t *list = json_array();

    (void)q;
    r->json = json_object();
    json_object_set_new(r->json, "nodes", list);
    if (view_fleet(s, a->cluster, &fleet, e))
        return e->code;
    for (size_t i = 0; i < fleet.node_count; i++) {
        const struct fleet_node *row = &fleet.nodes[i];
        json_array_append_new(list, json_pack("{s:s,s:I,s:I,s:I,s:I}", "name", row->name, "slots",
                                              (json_int_t)row->slots, "slots_used", (json_int_t)row->used,
                                              "slots_free", (json_int_t)fleet_node_free(row), "jobs",
                                              (json_int_t)row->jobs));
    }
    return OK;
}
