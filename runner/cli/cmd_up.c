/* up, down: the services of an embedded cluster. */
#include "runner/cli/cli.h"
#include "runner/cli/commands.h"
#include "runner/cli/print.h"
#include "runner/cli/services.h"

#include <inttypes.h>

static json_t *fact_json(const struct service_fact *f)
{
    if (f->pid == 0)
        return json_null();
    return json_pack("{s:i,s:b}", "pid", (int)f->pid, "started", (int)f->started);
}

static enum err_code up_run(struct cli *c, const struct arguments *a, const void *settings, struct err *e)
{
    struct services_up up;
    (void)a;
    (void)settings;
    if (services_up(c, false, &up, e))
        return e->code;
    bool started = up.redis.started || up.scheduler.started;
    if (c->json) {
        CLEANUP(json_donep)
        json_t *doc =
            json_pack("{s:s,s:s,s:b,s:o,s:o}", "home", c->home, "socket", up.socket, "started", (int)started,
                      "redis", fact_json(&up.redis), "scheduler", fact_json(&up.scheduler));
        return print_json(doc, e);
    }
    return print_line(e, "%s: home %s, scheduler %d at unix:%s", started ? "up" : "already up", c->home,
                      (int)up.scheduler.pid, up.socket);
}

const struct cmd cmd_up = {
    .name = "up",
    .args = "",
    .help = "start a cluster on this machine: private Redis, store, keys, scheduler",
    .more = "Makes the home folder where there is none. Starts only what does not run; returns when the "
            "scheduler answers.",
    .run = up_run,
};

static enum err_code down_run(struct cli *c, const struct arguments *a, const void *settings, struct err *e)
{
    struct services_down down;
    (void)a;
    (void)settings;
    if (services_down(c, &down, e))
        return e->code;
    bool any = down.scheduler || down.redis || down.supervisors;
    if (c->json) {
        CLEANUP(json_donep)
        json_t *doc = json_pack("{s:s,s:b,s:b,s:I,s:I}", "home", c->home, "scheduler", (int)down.scheduler,
                                "redis", (int)down.redis, "attempts", (json_int_t)down.supervisors, "killed",
                                (json_int_t)down.killed);
        return print_json(doc, e);
    }
    if (!any)
        return print_line(e, "nothing was running in %s", c->home);
    if (down.killed)
        cli_say("%" PRId64 " process(es) did not end by themselves and were killed", down.killed);
    if (down.supervisors)
        return print_line(e, "down: %" PRId64 " running job(s) stopped; they go on at the next up",
                          down.supervisors);
    return print_line(e, "down");
}

const struct cmd cmd_down = {
    .name = "down",
    .args = "",
    .help = "stop what `up` started; running jobs go on at the next up",
    .more = "Running jobs are asked to make a checkpoint and return to the queue. Nothing is left running.",
    .run = down_run,
};
