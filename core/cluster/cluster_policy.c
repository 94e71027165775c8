#include "core/cluster/cluster_policy.h"

#include "base/clock.h"
#include "base/mem.h"

#include <string.h>

enum { PLACES_MAX = CLUSTER_STORES_MAX * CLUSTER_BUCKETS_MAX };

static size_t fill_places(const struct cluster *c, struct policy_place *out)
{
    size_t count = 0;
    for (size_t i = 0; i < c->store_count; i++) {
        const struct cluster_store *s = &c->stores[i];
        for (size_t b = 0; b < s->bucket_count; b++)
            out[count++] = (struct policy_place){
                .bucket = s->buckets[b],
                .kind = s->kind,
                .endpoint = s->endpoint,
                .region = s->region,
                .sts_endpoint = s->sts_endpoint,
                .sse_key = s->sse_key,
                .authority = s->ca_file[0] != '\0',
                .client_certificate = s->cert_file[0] != '\0',
            };
    }
    return count;
}

void cluster_admit(const struct cluster *c, const struct job_spec *spec, const struct dataset *dataset,
                   struct policy_decision *out)
{
    CLEANUP(freep) struct policy_place *places = mem_array(PLACES_MAX, sizeof(*places));
    const struct policy_question q = {
        .spec = spec,
        .dataset = dataset,
        .provider = c->keys.provider,
        .places = places,
        .place_count = fill_places(c, places),
        .transport = c->launch.transport,
    };
    policy_admit(&c->policy, &q, out);
}

void cluster_networks(const struct cluster *c, const struct job_spec *spec, struct networks *out)
{
    char bucket[STORE_BUCKET_BYTES], key[STORE_KEY_BYTES];
    struct err ignored = ERR_INIT;
    const struct policy_region *region = NULL;

    out->count = 0;
    if (store_uri_parse(spec->data.train, bucket, key, &ignored) == OK)
        region = policy_region_of_bucket(&c->policy, bucket);
    if (!region)
        return;
    out->count = region->network_count;
    memcpy(out->ranges, region->networks, sizeof(out->ranges));
}

enum err_code cluster_check_policy(const struct cluster *c, struct err *e)
{
    CLEANUP(freep) struct policy_place *places = mem_array(PLACES_MAX, sizeof(*places));
    struct policy_decision d;
    const struct policy_cluster asked = {
        .places = places,
        .place_count = fill_places(c, places),
        .ledger_bucket = c->ledger.bucket,
        .provider = c->keys.provider,
        .kms_endpoint = c->keys.endpoint,
        .kms_region = c->keys.region,
        .kms_authority = c->keys.ca_file[0] != '\0',
        .kms_client_certificate = c->keys.cert_file[0] != '\0',
    };
    policy_check_cluster(&c->policy, &asked, &d);
    return policy_verdict(&d, e);
}

enum err_code cluster_check_bucket(const struct cluster *c, const char *bucket, struct store_facts *out,
                                   struct err *e)
{
    CLEANUP(store_closep) struct store *store = NULL;
    struct store_facts facts = { .versioned = false };
    struct policy_decision d;
    if (cluster_open_store(c, bucket, &store, e))
        return e->code;
    store_until(store, clock_mono_ms() + c->timing.attempt_lease_ms / 4);
    if (store_facts(store, &facts, e))
        return e->code;
    policy_check_facts(&c->policy, bucket, &facts, &d);
    *out = facts;
    return policy_verdict(&d, e);
}

json_t *cluster_facts_json(const char *bucket, const struct store_facts *facts)
{
    return json_pack("{s:s,s:s,s:b,s:b,s:s,s:I}", "bucket", bucket, "location", facts->location, "versioned",
                     (int)facts->versioned, "lockable", (int)facts->lockable, "default_lock",
                     store_lock_names[facts->default_lock.mode], "default_retain_ms",
                     (json_int_t)facts->default_lock.retain_until_ms);
}
