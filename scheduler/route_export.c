/*
 * /v1/exports: may the caller take a model out of the store, as a file? Asked before anything is opened.
 *
 * What is taken is told by its signed manifest and not by the caller; who takes it by the socket or the
 * token. A yes stands in the outbox before it is given: what cannot be recorded is not allowed.
 */
#include "scheduler/routes.h"

#include "core/artifact/rewrap.h"
#include "scheduler/role.h"
#include "scheduler/text_json.h"

#include <stdio.h>
#include <string.h>

static enum err_code load(const struct api *a, const char *uri, struct artifact *out, struct err *e)
{
    CLEANUP(store_closep) struct store *store = NULL;
    struct artifact_trust trust = { .count = 1 };
    char bucket[STORE_BUCKET_BYTES], key[STORE_KEY_BYTES];

    if (store_uri_parse(uri, bucket, key, e))
        return err_wrap(e, "'manifest'");
    if (!artifact_is_manifest_key(key))
        return err_set(e, ERR_USAGE, "'manifest': '%.200s' is no manifest of a checkpoint or a model", uri);
    if (cluster_open_store(a->cluster, bucket, &store, e) ||
        cluster_public_key(a->cluster, trust.public_key[0], e))
        return e->code;
    return artifact_load(store, key, &trust, out, e);
}

static json_t *describe(const struct api *a, const struct request *q, const char *uri,
                        const struct artifact *of, const struct policy_decision *d)
{
    const bool whole = of->kind == ARTIFACT_MODEL && of->part_count == 1;
    json_t *data = json_object();

    json_object_set_new(data, "artifact", json_string(artifact_kind_names[of->kind]));
    json_object_set_new(data, "attempt", json_integer(of->attempt));
    json_object_set_new(data, "kind", json_string(policy_kind_names[EXPORT_MODEL]));
    json_object_set_new(data, "manifest", text_json(uri));
    json_object_set_new(data, "policy_sha256", json_string(a->cluster->policy.digest));
    json_object_set_new(data, "reason", text_json(d->allowed ? d->findings[0].where : d->reason));
    json_object_set_new(data, "role", json_string(role_names[role_of(a->cluster, q->user)]));
    json_object_set_new(data, "rule", json_string(d->findings[0].rule));
    json_object_set_new(data, "sha256", json_string(whole ? of->parts[0].plain_sha256 : ""));
    json_object_set_new(data, "step", json_integer(of->step));
    json_object_set_new(data, "to", json_string(POLICY_OUTSIDE));
    json_object_set_new(data, "version", text_json(of->manifest_version));
    return data;
}

enum err_code route_export(struct api *a, struct state *s, const struct request *q, struct reply *r,
                           struct err *e)
{
    static const char *const members[] = { "manifest", NULL };
    CLEANUP(json_donep) json_t *body = NULL;
    CLEANUP(artifact_done) struct artifact of = { .parts = NULL };
    struct policy_decision d;
    struct err unrecorded = ERR_INIT;
    const char *uri;

    if (request_body(q, members, &body, e))
        return e->code;
    uri = json_text_or(body, "manifest", "");
    if (load(a, uri, &of, e))
        return e->code;
    policy_check_export(&a->cluster->policy, q->user, role_names[role_of(a->cluster, q->user)], EXPORT_MODEL,
                        POLICY_OUTSIDE, &d);
    CLEANUP(json_donep) json_t *data = describe(a, q, uri, &of, &d);
    if (policy_verdict(&d, e)) { /* where it cannot be recorded it is still a refusal */
        IGNORE(routes_record(a, s, q->user, "export.refused", of.job, data, &unrecorded));
        return e->code;
    }
    if (routes_record(a, s, q->user, "export.allowed", of.job, data, e))
        return e->code;
    r->json = json_pack("{s:s,s:O}", "job", of.job, "export", data);
    return OK;
}
