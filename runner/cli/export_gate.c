#include "runner/cli/export_gate.h"

#include "base/mem.h"
#include "runner/cli/client.h"
#include "runner/cli/refusals.h"
#include "runner/cli/service_parts.h"
#include "runner/cli/services.h"

static enum err_code ask(const struct cli *c, const struct models *m, const struct artifact *a, struct err *e)
{
    CLEANUP(api_closep) struct api_client *api = NULL;
    CLEANUP(json_donep) json_t *answer = NULL;
    CLEANUP(freep) char *uri = mem_printf("s3://%s/%s", m->bucket, a->manifest_key);
    CLEANUP(json_donep) json_t *body = json_pack("{s:s}", "manifest", uri);

    if (client_open(c, &api, e) == OK && api_call(api, "POST", "/v1/exports", body, &answer, e) == OK)
        return OK;
    if (e->code == ERR_RETRY)
        return err_wrap(e, "taking a model out needs the scheduler's word and its record in the ledger");
    return e->code;
}

static bool is_down(const struct cli *c, const struct models *m)
{
    struct proc_id id;
    return !c->url && m->cluster->state.embedded && !service_listener(m->cluster->api.socket, &id);
}

static void unclaim(struct services_claim *claim)
{
    services_unclaim(claim);
}

/* The services as they were before: down, if nobody else came to need them. */
static void leave(struct cli *c, struct services_claim *claim)
{
    struct err e = ERR_INIT;
    struct services_down down;
    bool last = false;

    refusals_tell(c); /* while there is a state to tell */
    if (services_leave(c, claim, &last, &e) == OK && last)
        IGNORE(services_down(c, &down, &e));
    if (e.code)
        cli_say("the services could not be stopped: %s", e.text);
}

static enum err_code ask_by_a_visit(struct cli *c, const struct models *m, const struct artifact *a,
                                    struct err *e)
{
    CLEANUP(unclaim) struct services_claim claim = SERVICES_CLAIM_INIT;
    struct services_up up;

    if (services_claim(c, &claim, e) || services_up(c, true, &up, e))
        return err_wrap(e, "start the services, to ask whether a model may be taken out");
    IGNORE(ask(c, m, a, e));
    leave(c, &claim);
    return e->code;
}

enum err_code export_gate(struct cli *c, const struct models *m, const struct artifact *a, struct err *e)
{
    return is_down(c, m) ? ask_by_a_visit(c, m, a, e) : ask(c, m, a, e);
}
