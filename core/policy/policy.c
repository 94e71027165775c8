#include "core/policy/ruling.h"

#include "base/text.h"
#include "core/policy/presets.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- one job ---- */

struct question {
    const struct policy_question *q;
    char data[STORE_BUCKET_BYTES], models[STORE_BUCKET_BYTES]; /* "": not an object's URI */
    char from[STORE_BUCKET_BYTES];                             /* that, or it begins with nothing */
    char problem[256];                                         /* why one of them is none */
};

static const struct policy_place *place_of(const struct question *q, const char *bucket)
{
    return policy_place_of(q->q->places, q->q->place_count, bucket);
}

static const char *bucket_of(const char *uri, const char *setting, char out[STORE_BUCKET_BYTES],
                             struct question *q)
{
    char key[STORE_KEY_BYTES];
    struct err e = ERR_INIT;
    if (store_uri_parse(uri, out, key, &e)) {
        out[0] = '\0';
        snprintf(q->problem, sizeof(q->problem), "%s: %.200s", setting, e.text);
    }
    return out;
}

static bool is_staged(const struct ruling *r, const struct question *q)
{
    if (text_starts(q->q->spec->data.train, "s3://"))
        return true;
    return deny(
        r,
        "data.train is '%.200s', which is not in the store: stage it (`sovrun data stage`), or let `sovrun "
        "submit` do so",
        q->q->spec->data.train);
}

static bool bucket_is_known(const struct ruling *r, const struct question *q, const char *setting,
                            const char *bucket)
{
    if (!place_of(q, bucket))
        return deny(r, "%s: bucket '%s' is none of this cluster's: name one of its stores' buckets", setting,
                    bucket);
    const struct policy_bucket *b = policy_bucket_named(r->p, bucket);
    ruling_at(r, b ? b->line : 0, "buckets", bucket);
    if (!b)
        return deny(r,
                    "%s: bucket '%s' is not in the policy: use one that is, or have it added under buckets",
                    setting, bucket);
    return true;
}

static bool buckets_known(const struct ruling *r, const struct question *q)
{
    if (q->problem[0])
        return deny(r, "%s", q->problem);
    return bucket_is_known(r, q, "data.train", q->data) &&
           bucket_is_known(r, q, "checkpoint.to", q->models) &&
           (!q->from[0] || bucket_is_known(r, q, "model.from", q->from));
}

/* A model that was brought in lies beside data; one that was made here lies with the others. */
static bool from_fits(const struct ruling *r, const struct question *q)
{
    const struct policy_bucket *b = policy_bucket_named(r->p, q->from);
    if (b && has_int(b->purposes, b->purpose_count, (int)PURPOSE_DATA))
        return true;
    return rule_purpose(r, "model.from", q->from, PURPOSE_MODELS);
}

static bool purposes_fit(const struct ruling *r, const struct question *q)
{
    return rule_purpose(r, "data.train", q->data, PURPOSE_DATA) &&
           rule_purpose(r, "checkpoint.to", q->models, PURPOSE_MODELS) && (!q->from[0] || from_fits(r, q));
}

static bool regions_fit(const struct ruling *r, const struct question *q)
{
    return rule_region(r, place_of(q, q->data)) && rule_region(r, place_of(q, q->models)) &&
           (!q->from[0] || rule_region(r, place_of(q, q->from)));
}

static bool data_in_bucket(const struct ruling *r, const struct question *q)
{
    const struct dataset *d = q->q->dataset;
    if (!d)
        return ruling_not_asked(r, "the dataset has not been read");
    if (strcmp(q->data, d->bucket) == 0)
        return true;
    return deny(
        r, "dataset '%s' in bucket '%s' says that its shards lie in bucket '%s': stage it where it is used",
        d->name, q->data, d->bucket);
}

/* Models remember what they were trained on, so their bucket answers for the class, too. */
static bool class_fits(const struct ruling *r, const struct question *q)
{
    const struct dataset *d = q->q->dataset;
    char what[DATASET_NAME_BYTES + 64];
    if (!d)
        return ruling_not_asked(r, "the dataset has not been read");
    snprintf(what, sizeof(what), "dataset '%s' holds", d->name);
    if (!rule_class(r, q->data, d->data_class, what))
        return false;
    snprintf(what, sizeof(what), "a model of dataset '%s' is made of", d->name);
    return rule_class(r, q->models, d->data_class, what);
}

static const struct policy_environment *environment_of(const struct policy *p, const char *queue)
{
    for (size_t i = 0; i < p->environment_count; i++)
        if (HAS_TEXT(p->environments[i].queues, p->environments[i].queue_count, queue))
            return &p->environments[i];
    return NULL;
}

static bool environment_fits(const struct ruling *r, const struct question *q)
{
    const struct job_spec *spec = q->q->spec;
    if (r->p->environment_count == 0)
        return true;
    const struct policy_environment *env = environment_of(r->p, spec->queue);
    if (!env)
        return deny(
            r, "queue '%.60s' is in none of the environments: use another queue, or have it added to one",
            spec->queue);
    ruling_at(r, env->line, "environments", env->name);
    const char *const buckets[] = { q->data, q->models, q->from };
    for (size_t i = 0; i < ARRAY_LEN(buckets); i++)
        if (buckets[i][0] && !HAS_TEXT(env->buckets, env->bucket_count, buckets[i]))
            return deny(r, "queue '%.60s' is in environment '%s', which may not use bucket '%s'", spec->queue,
                        env->name, buckets[i]);
    if (!HAS_TEXT(env->keys, env->key_count, spec->checkpoint.key))
        return deny(r, "queue '%.60s' is in environment '%s', which may not use key '%.60s'", spec->queue,
                    env->name, spec->checkpoint.key);
    if (!q->q->dataset)
        return ruling_not_asked(r, "queue, buckets and key fit; the dataset has not been read");
    if (!has_int(env->classes, env->class_count, (int)q->q->dataset->data_class))
        return deny(r, "queue '%.60s' is in environment '%s', which may not train on %s data", spec->queue,
                    env->name, data_class_names[q->q->dataset->data_class]);
    return true;
}

static bool key_fits(const struct ruling *r, const struct question *q)
{
    const char *name = q->q->spec->checkpoint.key;
    if (!rule_provider(r, q->q->provider))
        return false;
    if (r->p->keys.name_count == 0 || HAS_TEXT(r->p->keys.names, r->p->keys.name_count, name))
        return true;
    return deny(r, "checkpoint.key is '%.60s', which keys.names does not list: use one that it does", name);
}

/* Whole units, exact: "30d", "36h", "90s", "1500ms". */
static const char *exact_duration(int64_t ms, char out[32])
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = { { "d", 86400000 }, { "h", 3600000 }, { "m", 60000 }, { "s", 1000 }, { "ms", 1 } };
    size_t i = 0;
    while (ms % units[i].ms != 0)
        i++;
    snprintf(out, 32, "%lld%s", (long long)(ms / units[i].ms), units[i].unit);
    return out;
}

/* What the provider of the models' bucket can do. All, where the bucket is not known: told elsewhere. */
static struct policy_quirks quirks_of(const struct policy *p, const char *bucket)
{
    const struct policy_bucket *b = policy_bucket_named(p, bucket);
    const struct policy_region *region = b ? policy_region_named(p, b->region) : NULL;
    return preset_quirks(region ? region->provider : PROVIDER_S3);
}

static bool lock_fits(const struct ruling *r, const struct question *q)
{
    int asked = q->q->spec->checkpoint.lock;
    const struct policy_quirks can = quirks_of(r->p, q->models);
    ruling_at(r, r->p->locks.line, "locks", NULL);
    if (asked < r->p->locks.min)
        return deny(r, "checkpoint.lock is %s, but at least %s is required: set checkpoint.lock: %s",
                    store_lock_names[asked], store_lock_names[r->p->locks.min],
                    store_lock_names[r->p->locks.min]);
    if ((asked == STORE_LOCK_COMPLIANCE && !can.compliance) ||
        (asked == STORE_LOCK_GOVERNANCE && !can.governance))
        return deny(r, "checkpoint.lock is %s, which the provider of bucket '%s' does not have%s",
                    store_lock_names[asked], q->models,
                    can.compliance ? ": set checkpoint.lock: compliance" : "");
    return true;
}

static bool retention_fits(const struct ruling *r, const struct question *q)
{
    static const int64_t day_ms = 86400000;
    char asked[32], bound[32];
    int64_t retain_ms = q->q->spec->checkpoint.retain_ms;
    const struct policy_quirks can = quirks_of(r->p, q->models);
    exact_duration(retain_ms, asked);
    ruling_at(r, r->p->locks.line, "locks", NULL);
    if (retain_ms < r->p->locks.retain_min_ms)
        return deny(r, "checkpoint.retain is %s, but at least %s is required: set checkpoint.retain: %s",
                    asked, exact_duration(r->p->locks.retain_min_ms, bound), bound);
    if (retain_ms > r->p->locks.retain_max_ms)
        return deny(
            r,
            "checkpoint.retain is %s, but at most %s is allowed (locks.retain_max): a lock cannot be taken "
            "back; set checkpoint.retain: %s",
            asked, exact_duration(r->p->locks.retain_max_ms, bound), bound);
    if (can.retain_max_days && retain_ms > can.retain_max_days * day_ms)
        return deny(r, "checkpoint.retain is %s, and the provider of bucket '%s' keeps at most %" PRId64 "d",
                    asked, q->models, can.retain_max_days);
    return true;
}

static bool tls_fits(const struct ruling *r, const struct question *q)
{
    return rule_tls(r, place_of(q, q->data)) && rule_tls(r, place_of(q, q->models)) &&
           (!q->from[0] || rule_tls(r, place_of(q, q->from)));
}

enum policy_transport policy_transport_of(const char *btl)
{
    static const char *const inside[] = { "self", "vader", "sm" };
    enum policy_transport found = TRANSPORT_ONE_HOST;
    for (const char *at = btl; *at; at += *at == ',') {
        size_t n = strcspn(at, ",");
        bool is_inside = false;
        for (size_t i = 0; i < ARRAY_LEN(inside); i++)
            is_inside = is_inside || (strlen(inside[i]) == n && memcmp(at, inside[i], n) == 0);
        if (n == strlen("tcp") && memcmp(at, "tcp", n) == 0)
            found = TRANSPORT_TCP;
        else if (!is_inside)
            return TRANSPORT_OTHER;
        at += n;
    }
    return found;
}

static bool has_ipv4(const struct http_range *ranges, size_t count)
{
    char text[HTTP_RANGE_TEXT_BYTES];
    for (size_t i = 0; i < count; i++)
        if (!strchr(http_range_format(&ranges[i], text), ':'))
            return true;
    return false;
}

/* What a host has of them is seen where the ranks are started. */
static bool networks_fit(const struct ruling *r, const struct question *q)
{
    const struct policy_region *region = policy_region_of_bucket(r->p, q->data);
    const char *transport = q->q->transport ? q->q->transport : "";
    enum policy_transport can = policy_transport_of(transport);
    ruling_at(r, region ? region->line : 0, "regions", region ? region->name : NULL);
    if (!region || region->network_count == 0)
        return ruling_not_asked(r, "the data's region names no networks for ranks");
    if (can == TRANSPORT_ONE_HOST)
        return ruling_not_asked(r, "all ranks are on one host (launch.transport)");
    if (can == TRANSPORT_OTHER)
        return deny(r,
                    "launch.transport is '%.60s', and of what goes beyond a host only tcp keeps to networks: "
                    "set launch.transport: \"self,vader,tcp\"",
                    transport);
    if (!has_ipv4(region->networks, region->network_count))
        return deny(r,
                    "launch.transport is '%.60s', and Open MPI's tcp can be pinned to IPv4 networks alone: "
                    "add one to `networks`",
                    transport);
    return true;
}

static const struct rule {
    const char *name;
    bool (*allows)(const struct ruling *r, const struct question *q);
} rules[] = {
    { "data_staged", is_staged },
    { "bucket", buckets_known },
    { "purpose", purposes_fit },
    { "region", regions_fit },
    { "data_bucket", data_in_bucket },
    { "data_class", class_fits },
    { "key", key_fits },
    { "environment", environment_fits },
    { "lock", lock_fits },
    { "retain", retention_fits },
    { "tls", tls_fits },
    { "networks", networks_fit },
};

void policy_admit(const struct policy *p, const struct policy_question *asked, struct policy_decision *out)
{
    struct question q = { .q = asked };
    bucket_of(asked->spec->data.train, "data.train", q.data, &q);
    bucket_of(asked->spec->checkpoint.to, "checkpoint.to", q.models, &q);
    if (asked->spec->model.from[0])
        bucket_of(asked->spec->model.from, "model.from", q.from, &q);
    decision_begin(out);
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        const struct ruling r = ruling_begin(p, out, rules[i].name);
        (void)rules[i].allows(&r, &q);
        decision_add(out);
    }
}
