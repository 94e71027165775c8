/* /v1/health, /v1/metrics, /v1/queues, /v1/nodes. */
#include "scheduler/routes.h"

#include "scheduler/text_json.h"
#include "scheduler/view.h"

#include <inttypes.h>

/* Answers while the state is away: that it does not lead then is the news. */
enum err_code route_health(struct api *a, struct state *s, const struct request *q, struct reply *r,
                           struct err *e)
{
    (void)s, (void)q, (void)e;
    r->json =
        json_pack("{s:s,s:s,s:b,s:I,s:s,s:I}", "cluster", a->cluster->name, "region", a->cluster->region,
                  "leader", lead_token(a->lead) != 0, "since_ms", (json_int_t)a->started_ms, "version",
                  API_VERSION, "egress_refused", (json_int_t)(a->counts ? audit_refused(a->counts) : 0));
    return OK;
}

/* The text form that Prometheus reads. Every program and kind has its line, at 0 too: who watches for a
 * change needs something to compare with. */
enum err_code route_metrics(struct api *a, struct state *s, const struct request *q, struct reply *r,
                            struct err *e)
{
    (void)s, (void)q, (void)e;
    buf_addf(&r->text,
             "# HELP sovrun_leader Does this scheduler lead?\n# TYPE sovrun_leader gauge\n"
             "sovrun_leader %d\n"
             "# HELP sovrun_ledger_events_total Events that this scheduler wrote to the ledger.\n"
             "# TYPE sovrun_ledger_events_total counter\nsovrun_ledger_events_total %" PRIu64 "\n"
             "# HELP sovrun_egress_refused_total Connections that the guard refused, as recorded in the "
             "ledger.\n# TYPE sovrun_egress_refused_total counter\n",
             lead_token(a->lead) != 0, a->counts ? (uint64_t)atomic_load(&a->counts->events) : 0);
    for (size_t p = 0; p < EGRESS_PROGRAM_COUNT; p++)
        for (size_t k = 0; k < EGRESS_KIND_COUNT; k++)
            buf_addf(&r->text, "sovrun_egress_refused_total{program=\"%s\",kind=\"%s\"} %" PRIu64 "\n",
                     egress_programs[p], http_refusal_names[k],
                     a->counts ? (uint64_t)atomic_load(&a->counts->refused[p][k]) : 0);
    r->content_type = "text/plain; version=0.0.4; charset=utf-8";
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
