#include "core/policy/ruling.h"

#include "core/policy/presets.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- verdicts ---- */

bool deny(const struct ruling *r, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(r->v->reason, sizeof(r->v->reason), fmt, ap);
    va_end(ap);
    r->v->answer = POLICY_DENIED;
    return false;
}

bool ruling_not_asked(const struct ruling *r, const char *why)
{
    r->v->answer = POLICY_NOT_ASKED;
    snprintf(r->v->reason, sizeof(r->v->reason), "%s", why);
    return true;
}

void ruling_at(const struct ruling *r, int64_t line, const char *section, const char *name)
{
    char number[24] = "";
    if (line > 0)
        snprintf(number, sizeof(number), ":%" PRId64, line);
    snprintf(r->v->where, sizeof(r->v->where), "%.80s%s: %s%s%.60s%s", r->p->file, number, section,
             name ? " '" : "", name ? name : "", name ? "'" : "");
}

struct ruling ruling_begin(const struct policy *p, struct policy_decision *d, const char *name)
{
    invariant(d->finding_count < POLICY_RULES_MAX);
    struct policy_finding *v = &d->findings[d->finding_count++];
    memset(v, 0, sizeof(*v));
    snprintf(v->rule, sizeof(v->rule), "%s", name);
    v->answer = POLICY_ALLOWED;
    snprintf(v->where, sizeof(v->where), "%.100s", p->file);
    return (struct ruling){ p, v };
}

void decision_begin(struct policy_decision *d)
{
    memset(d, 0, sizeof(*d));
    d->allowed = true;
}

/* The first denial gives the decision its name. */
void decision_add(struct policy_decision *d)
{
    const struct policy_finding *v = &d->findings[d->finding_count - 1];
    if (v->answer != POLICY_DENIED || !d->allowed)
        return;
    d->allowed = false;
    memcpy(d->rule, v->rule, sizeof(d->rule));
    snprintf(d->reason, sizeof(d->reason), "%s: %.300s", v->where, v->reason);
}

/* ---- looking things up ---- */

const struct policy_bucket *policy_bucket_named(const struct policy *p, const char *name)
{
    for (size_t i = 0; i < p->bucket_count; i++)
        if (strcmp(p->buckets[i].name, name) == 0)
            return &p->buckets[i];
    return NULL;
}

const struct policy_region *policy_region_named(const struct policy *p, const char *name)
{
    for (size_t i = 0; i < p->region_count; i++)
        if (strcmp(p->regions[i].name, name) == 0)
            return &p->regions[i];
    return NULL;
}

const struct policy_region *policy_region_of_bucket(const struct policy *p, const char *bucket)
{
    const struct policy_bucket *b = policy_bucket_named(p, bucket);
    return b ? policy_region_named(p, b->region) : NULL;
}

const struct policy_place *policy_place_of(const struct policy_place *places, size_t count,
                                           const char *bucket)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(places[i].bucket, bucket) == 0)
            return &places[i];
    return NULL;
}

bool has_int(const int *list, size_t count, int wanted)
{
    for (size_t i = 0; i < count; i++)
        if (list[i] == wanted)
            return true;
    return false;
}

bool has_text(const char *list, size_t stride, size_t count, const char *wanted)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(list + i * stride, wanted) == 0)
            return true;
    return false;
}

bool region_has_endpoint(const struct policy_region *r, const struct endpoint *e)
{
    for (size_t i = 0; i < r->endpoint_count; i++)
        if (endpoint_fits(r->endpoints[i], e))
            return true;
    return false;
}

/* ---- rules that several questions share ---- */

bool rule_purpose(const struct ruling *r, const char *setting, const char *bucket,
                  enum policy_purpose purpose)
{
    const struct policy_bucket *b = policy_bucket_named(r->p, bucket);
    if (!b) /* told by the rule `bucket` */
        return ruling_not_asked(r, "the bucket is not known");
    ruling_at(r, b->line, "buckets", bucket);
    if (has_int(b->purposes, b->purpose_count, (int)purpose))
        return true;
    return deny(r, "%s: bucket '%s' is not for %s: use one whose purposes say so", setting, bucket,
                policy_purpose_names[purpose]);
}

/* Provider, endpoint and region, all three: a region's name alone says little. */
bool rule_region(const struct ruling *r, const struct policy_place *place)
{
    const struct policy_bucket *b = place ? policy_bucket_named(r->p, place->bucket) : NULL;
    const struct policy_region *region = b ? policy_region_named(r->p, b->region) : NULL;
    struct endpoint e;
    if (!region)
        return ruling_not_asked(r, "the bucket is not known");
    ruling_at(r, region->line, "regions", region->name);
    if (strcmp(place->region, region->region) != 0)
        return deny(r, "bucket '%s' is configured in region '%.60s', and the policy has it in '%s' (%s)",
                    place->bucket, place->region, region->region, region->name);
    if ((place->kind == STORE_S3) != (region->provider != PROVIDER_LOCAL))
        return deny(r, "bucket '%s' is configured as a %s store, and its region '%s' is of provider %s",
                    place->bucket, store_kind_names[place->kind], region->name,
                    policy_provider_names[region->provider]);
    if (place->kind != STORE_S3)
        return true;
    if (!endpoint_parse(place->endpoint, &e) || !region_has_endpoint(region, &e))
        return deny(
            r,
            "bucket '%s' is configured at '%.150s', which is no endpoint of region '%s': use one of its "
            "endpoints, or have this one added",
            place->bucket, place->endpoint, region->name);
    return true;
}

bool rule_class(const struct ruling *r, const char *bucket, enum data_class class, const char *what)
{
    const struct policy_bucket *b = policy_bucket_named(r->p, bucket);
    if (!b)
        return ruling_not_asked(r, "the bucket is not known");
    ruling_at(r, b->line, "buckets", bucket);
    if (has_int(b->classes, b->class_count, (int)class))
        return true;
    return deny(r, "%s %s data, which bucket '%s' may not hold: use a bucket whose classes list it", what,
                data_class_names[class], bucket);
}

bool rule_provider(const struct ruling *r, int provider)
{
    ruling_at(r, r->p->keys.line, "keys", NULL);
    if (has_int(r->p->keys.providers, r->p->keys.provider_count, provider))
        return true;
    return deny(
        r,
        "the cluster's key provider is '%s', which keys.providers does not list: configure one that it does",
        keys_provider_names[provider]);
}

bool rule_tls(const struct ruling *r, const struct policy_place *place)
{
    const struct policy_tls *tls = &r->p->tls;
    struct endpoint e;
    ruling_at(r, tls->line, "tls", NULL);
    if (!place || place->kind != STORE_S3)
        return true;
    if (tls->required && (!endpoint_parse(place->endpoint, &e) || !e.tls))
        return deny(r, "bucket '%s' is reached at '%.150s', without TLS: use https://", place->bucket,
                    place->endpoint);
    if (tls->authority && !place->authority)
        return deny(r, "bucket '%s' is reached by any of the system's authorities: name its own (ca_file)",
                    place->bucket);
    if (has_int(tls->client_certificate, tls->client_certificate_count, SERVICE_S3) &&
        !place->client_certificate)
        return deny(r, "bucket '%s' is reached without a certificate of ours: name one (cert_file, key_file)",
                    place->bucket);
    return true;
}
