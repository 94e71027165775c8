#include "runner/cli/refusals.h"

#include "core/cluster/egress.h"
#include "runner/cli/cli.h"

#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>

void refusals_watch(struct cli *c)
{
    c->egress = egress_new(EGRESS_SOVRUN, &clock_real);
    http_on_refusal(egress_on_refusal, c->egress);
}

void refusals_actor(char out[REFUSALS_ACTOR_BYTES])
{
    const struct passwd *user = getpwuid(geteuid());
    if (user)
        snprintf(out, REFUSALS_ACTOR_BYTES, "user:%.64s", user->pw_name);
    else
        snprintf(out, REFUSALS_ACTOR_BYTES, "user:uid-%u", (unsigned)geteuid());
}

static enum err_code tell(struct cli *c, struct err *e)
{
    CLEANUP(cluster_freep) struct cluster *cluster = NULL;
    CLEANUP(state_closep) struct state *s = NULL;
    char actor[REFUSALS_ACTOR_BYTES];
    struct egress_teller teller = { .actor = actor, .job = "" };
    refusals_actor(actor);
    if (cli_cluster(c, &cluster, e) || cluster_open_state(cluster, &s, e))
        return e->code;
    return egress_tell(c->egress, s, &teller, e);
}

void refusals_tell(struct cli *c)
{
    struct err e = ERR_INIT;
    if (egress_waiting(c->egress) > 0 && tell(c, &e))
        cli_say("%zu kind(s) of refused connection are not in the ledger: %s", egress_waiting(c->egress),
                e.text);
}

void refusals_done(struct cli *c)
{
    http_on_refusal(NULL, NULL);
    egress_free(c->egress);
    c->egress = NULL;
}
