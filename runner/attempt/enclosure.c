#include "runner/attempt/enclosure.h"

#include "base/fit.h"
#include "base/text.h"
#include "core/cluster/cluster_policy.h"

#include <stdio.h>
#include <string.h>

#define RESOLV_CONF "/etc/resolv.conf"

/* ---- the networks ---- */

static enum err_code find_networks(const struct cluster *c, const struct job *job, struct networks *out,
                                   struct err *e)
{
    struct network_pins pins;
    struct networks all = { .count = 0 };
    if (policy_transport_of(c->launch.transport) == TRANSPORT_ONE_HOST)
        return OK;
    cluster_networks(c, &job->spec, &all);
    *out = networks_for_mpi(&all);
    if (out->count == 0) /* where it names others only, policy_admit() said no */
        return OK;
    return networks_pin(out, &pins, e) ? err_wrap(e, "denied by policy rule networks") : OK;
}

/* ---- whom it lets through ---- */

static enum err_code allow_store(const struct cluster *c, const char *uri, struct fence_list *l,
                                 bool *io_names, struct err *e)
{
    char bucket[STORE_BUCKET_BYTES], key[STORE_KEY_BYTES];
    struct store_place place;
    if (store_uri_parse(uri, bucket, key, e) || cluster_place(c, bucket, &place, e))
        return e->code;
    if (place.kind == STORE_S3) {
        fence_allow_guard(l, &place.guard);
        *io_names = *io_names || place.guard.range_count > 0;
    }
    return OK;
}

static enum err_code allow_all(const struct cluster *c, const struct job *job,
                               const struct networks *networks, struct fence_list *l, struct err *e)
{
    const char *address = c->state.address;
    struct http_range range;
    bool names = false;
    fence_allow_local(l);
    for (size_t i = 0; i < networks->count; i++)
        fence_allow(l, &networks->ranges[i], 0);
    for (size_t i = 0; i < c->launch.fence_allow_count; i++) {
        if (http_range_parse(c->launch.fence_allow[i], &range, e))
            return e->code;
        fence_allow(l, &range, 0);
    }
    if (c->keys.provider == KEYS_KMS) {
        fence_allow_guard(l, &c->keys.guard);
        names = c->keys.guard.range_count > 0;
    }
    if (allow_store(c, job->spec.data.train, l, &names, e) ||
        allow_store(c, job->spec.checkpoint.to, l, &names, e))
        return e->code;
    if (!text_starts(address, "unix:") && !text_starts(address, "mem:")) {
        names = true;
        if (fence_allow_place(l, address, e))
            return err_wrap(e, "state.address");
    }
    if (names)
        fence_allow_resolvers(l, RESOLV_CONF);
    return OK;
}

/* ---- the fence ---- */

enum err_code enclosure_make(const struct cluster *c, const struct job *job, int64_t attempt,
                             struct enclosure *out, struct err *e)
{
    struct err missing = ERR_INIT;
    if (find_networks(c, job, &out->networks, e))
        return e->code;
    if (c->launch.fence == FENCE_OFF) {
        snprintf(out->why, sizeof(out->why), "launch.fence: off");
        return OK;
    }
    if (allow_all(c, job, &out->networks, &out->allowed, e))
        return err_wrap(e, "fence");
    if (fence_open(job->id, attempt, &out->allowed, &out->fence, &missing) == OK)
        return OK;
    text_fit(out->why, sizeof(out->why), missing.text);
    if (c->launch.fence == FENCE_REQUIRED)
        return err_set(e, ERR_DENIED, "launch.fence: required, and there can be none here: %.800s",
                       missing.text);
    return OK;
}

void enclosure_done(struct enclosure *n)
{
    fence_close(n->fence);
    n->fence = NULL;
}

int enclosure_join(const struct enclosure *n)
{
    return n->fence ? fence_join_fd(n->fence) : -1;
}

/* ---- what the ledger hears ---- */

json_t *enclosure_json(const struct enclosure *n)
{
    char text[FENCE_TEXT_BYTES];
    json_t *allowed;
    if (!n->fence)
        return json_pack("{s:b,s:s}", "present", 0, "why",
                         n->why[0] ? n->why : "the attempt did not come to it");
    allowed = json_array();
    for (size_t i = 0; i < n->allowed.count; i++)
        json_array_append_new(allowed, json_string(fence_entry_format(&n->allowed.entries[i], text)));
    return json_pack("{s:b,s:s,s:o}", "present", 1, "kind", "cgroup-bpf", "allowed", allowed);
}

void enclosure_count(struct enclosure *n, struct egress *q)
{
    struct fence_refused now;
    struct egress_refusal r;
    struct err ignored = ERR_INIT;
    if (!n->fence || fence_refusals(n->fence, &now, &ignored) || now.count <= n->told)
        return;
    egress_from_http(EGRESS_TRAINER, EGRESS_NO_RANK, clock_wall_ms(),
                     &(struct http_refusal){ HTTP_REFUSED_ADDRESS, "kernel fence", now.last }, &r);
    r.count = (int64_t)(now.count - n->told);
    n->told = now.count;
    egress_add(q, &r);
}
