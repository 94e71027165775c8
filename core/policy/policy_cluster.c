/* The questions beside that of one job: the cluster itself, what a store says, staging, exports, the guard.
 */
#include "core/policy/ruling.h"

#include <stdio.h>
#include <string.h>

static bool all_places(const struct ruling *r, const struct policy_cluster *c,
                       bool (*fits)(const struct ruling *r, const struct policy_place *place))
{
    for (size_t i = 0; i < c->place_count; i++)
        if (!fits(r, &c->places[i]))
            return false;
    return true;
}

static bool place_is_listed(const struct ruling *r, const struct policy_place *place)
{
    if (policy_bucket_named(r->p, place->bucket))
        return true;
    return deny(
        r,
        "bucket '%s' is configured and not in the policy: have it added under buckets, or take it out of the "
        "stores",
        place->bucket);
}

/* A service is a host of one of the regions, as a store is. */
static bool service_fits(const struct ruling *r, const char *what, const char *endpoint,
                         const char *region_name)
{
    struct endpoint e;
    for (size_t i = 0; i < r->p->region_count; i++) {
        const struct policy_region *region = &r->p->regions[i];
        if (strcmp(region->region, region_name) == 0 && endpoint_parse(endpoint, &e) &&
            region_has_endpoint(region, &e))
            return true;
    }
    return deny(
        r,
        "the %s is configured at '%.150s' in region '%.60s', which is no endpoint of any region: have it "
        "added to the region's endpoints",
        what, endpoint, region_name);
}

static bool kms_fits(const struct ruling *r, const struct policy_cluster *c)
{
    if (!rule_provider(r, c->provider))
        return false;
    return c->provider != KEYS_KMS || service_fits(r, "key service", c->kms_endpoint, c->kms_region);
}

/* A key of the store's own encryption is as much a key as ours. */
static bool sse_key_fits(const struct ruling *r, const struct policy_place *place)
{
    bool fits = place->sse_key[0] == '\0';
    for (size_t i = 0; i < r->p->keys.arn_count; i++)
        fits = fits || keys_arn_fits(r->p->keys.arns[i], place->sse_key);
    if (fits)
        return true;
    return deny(
        r, "bucket '%s' is to be encrypted by its store under key '%.200s', which keys.arns does not allow",
        place->bucket, place->sse_key);
}

static bool session_service_fits(const struct ruling *r, const struct policy_place *place)
{
    return !place->sts_endpoint[0] || service_fits(r, "session service", place->sts_endpoint, place->region);
}

static bool session_service_is_safe(const struct ruling *r, const struct policy_place *place)
{
    struct endpoint e;
    if (place->sts_endpoint[0] && r->p->tls.required && (!endpoint_parse(place->sts_endpoint, &e) || !e.tls))
        return deny(r, "the session service is reached without TLS: use https://");
    return true;
}

static bool kms_is_safe(const struct ruling *r, const struct policy_cluster *c)
{
    const struct policy_tls *tls = &r->p->tls;
    struct endpoint e;
    if (c->provider != KEYS_KMS)
        return true;
    if (tls->required && (!endpoint_parse(c->kms_endpoint, &e) || !e.tls))
        return deny(r, "the key service is reached without TLS: use https://");
    if (tls->authority && !c->kms_authority)
        return deny(
            r, "the key service is reached by any of the system's authorities: name its own (keys.ca_file)");
    if (has_int(tls->client_certificate, tls->client_certificate_count, SERVICE_KMS) &&
        !c->kms_client_certificate)
        return deny(r, "the key service is reached without a certificate of ours: name one (keys.cert_file)");
    return true;
}

void policy_check_cluster(const struct policy *p, const struct policy_cluster *c, struct policy_decision *out)
{
    decision_begin(out);
    struct ruling r = ruling_begin(p, out, "bucket");
    (void)all_places(&r, c, place_is_listed);
    decision_add(out);
    r = ruling_begin(p, out, "purpose");
    (void)rule_purpose(&r, "ledger.bucket", c->ledger_bucket, PURPOSE_EVIDENCE);
    decision_add(out);
    r = ruling_begin(p, out, "region");
    (void)(all_places(&r, c, rule_region) && all_places(&r, c, session_service_fits));
    decision_add(out);
    r = ruling_begin(p, out, "key");
    (void)(kms_fits(&r, c) && all_places(&r, c, sse_key_fits));
    decision_add(out);
    r = ruling_begin(p, out, "tls");
    (void)(all_places(&r, c, rule_tls) && all_places(&r, c, session_service_is_safe) && kms_is_safe(&r, c));
    decision_add(out);
}

/* ---- what a store says of itself ---- */

static bool location_fits(const struct ruling *r, const char *bucket, const struct store_facts *facts)
{
    const struct policy_bucket *b = policy_bucket_named(r->p, bucket);
    const struct policy_region *region = b ? policy_region_named(r->p, b->region) : NULL;
    if (!region)
        return deny(r, "bucket '%s' is not in the policy", bucket);
    ruling_at(r, region->line, "regions", region->name);
    if (strcmp(facts->location, region->region) != 0)
        return deny(r,
                    "the store says that bucket '%s' lies in '%.60s', and the policy has it in '%s': nothing "
                    "is put there "
                    "or read from it",
                    bucket, facts->location, region->region);
    return true;
}

static bool keeping_fits(const struct ruling *r, const char *bucket, const struct store_facts *facts)
{
    const struct policy_bucket *b = policy_bucket_named(r->p, bucket);
    bool models = b && has_int(b->purposes, b->purpose_count, PURPOSE_MODELS);
    ruling_at(r, r->p->locks.line, "locks", NULL);
    if (!facts->versioned)
        return deny(r, "bucket '%s' keeps no versions: enable versioning", bucket);
    if (models && r->p->locks.min != STORE_LOCK_NONE && !facts->lockable)
        return deny(r,
                    "bucket '%s' has no object lock, and the policy requires locks: make it with object lock",
                    bucket);
    if (facts->default_lock.mode != STORE_LOCK_NONE &&
        facts->default_lock.retain_until_ms > r->p->locks.retain_max_ms)
        return deny(r, "bucket '%s' locks everything by default for longer than locks.retain_max allows",
                    bucket);
    return true;
}

void policy_check_facts(const struct policy *p, const char *bucket, const struct store_facts *facts,
                        struct policy_decision *out)
{
    decision_begin(out);
    struct ruling r = ruling_begin(p, out, "region");
    (void)location_fits(&r, bucket, facts);
    decision_add(out);
    r = ruling_begin(p, out, "lock");
    (void)keeping_fits(&r, bucket, facts);
    decision_add(out);
}

/* ---- staging and exports ---- */

void policy_check_staging(const struct policy *p, const char *bucket, enum data_class data_class,
                          struct policy_decision *out)
{
    decision_begin(out);
    struct ruling r = ruling_begin(p, out, "bucket");
    if (!policy_bucket_named(p, bucket))
        (void)deny(&r, "bucket '%s' is not in the policy: use one that is, or have it added under buckets",
                   bucket);
    decision_add(out);
    r = ruling_begin(p, out, "purpose");
    (void)rule_purpose(&r, "the target", bucket, PURPOSE_DATA);
    decision_add(out);
    r = ruling_begin(p, out, "data_class");
    (void)rule_class(&r, bucket, data_class, "this would put");
    decision_add(out);
}

/* How many of who, what and where a row lets: all three, or it does not let it. */
enum { EXPORT_FITS = 3 };
static int export_fit(const struct policy_export *x, const char *user, const char *role,
                      enum policy_kind kind, const char *to)
{
    char as_role[POLICY_NAME_BYTES];
    snprintf(as_role, sizeof(as_role), "role:%.50s", role);
    return (HAS_TEXT(x->who, x->who_count, user) || HAS_TEXT(x->who, x->who_count, as_role)) +
           has_int(x->kinds, x->kind_count, (int)kind) + HAS_TEXT(x->to, x->to_count, to);
}

void policy_check_export(const struct policy *p, const char *user, const char *role, enum policy_kind kind,
                         const char *to, struct policy_decision *out)
{
    decision_begin(out);
    const struct ruling r = ruling_begin(p, out, "export");
    const char *what = policy_kind_names[kind];
    int best = 0;
    ruling_at(&r, 0, "exports", NULL);
    for (size_t i = 0; i < p->export_count; i++) {
        int fit = export_fit(&p->exports[i], user, role, kind, to);
        if (fit > best) {
            best = fit;
            ruling_at(&r, p->exports[i].line, "exports", NULL);
        }
    }
    if (best < EXPORT_FITS)
        (void)deny(&r,
                   "no row lets '%.60s' (role %.30s) take '%s' to '%.60s'; { who: [%.60s], kinds: [%s], to: "
                   "[%.60s] } would",
                   user, role, what, to, user, what, to);
    decision_add(out);
}

/* ---- the guard ---- */

static const char *pin_of(const struct policy *p, const char *host)
{
    for (size_t i = 0; i < p->tls.pin_count; i++)
        if (strcmp(p->tls.pins[i].host, host) == 0)
            return p->tls.pins[i].sha256;
    return "";
}

bool policy_guard(const struct policy *p, const char *endpoint, const char *name, struct http_guard *out)
{
    struct endpoint e;
    memset(out, 0, sizeof(*out));
    out->tls_required = p->tls.required;
    if (!endpoint_parse(endpoint, &e))
        return false;
    for (size_t i = 0; i < p->region_count; i++) {
        const struct policy_region *region = &p->regions[i];
        if (strcmp(region->region, name) != 0 || !region_has_endpoint(region, &e))
            continue;
        memcpy(out->ranges, region->ranges, region->range_count * sizeof(region->ranges[0]));
        out->range_count = (uint32_t)region->range_count;
        snprintf(out->pin, sizeof(out->pin), "%s", pin_of(p, e.host));
        return true;
    }
    return false;
}

enum err_code policy_verdict(const struct policy_decision *d, struct err *e)
{
    return d->allowed ? OK : err_set(e, ERR_DENIED, "denied by policy rule %s: %s", d->rule, d->reason);
}

json_t *policy_decision_json(const struct policy *p, const struct policy_decision *d)
{
    static const char *const answers[] = { "not asked", "allowed", "denied" };
    json_t *list = json_array();
    for (size_t i = 0; i < d->finding_count; i++) {
        const struct policy_finding *v = &d->findings[i];
        json_t *row = json_pack("{s:s,s:s,s:s,s:s}", "rule", v->rule, "answer", answers[v->answer], "where",
                                v->where, "reason", v->reason);
        json_array_append_new(list,
                              row ? row
                                  : json_pack("{s:s,s:s}", "rule", v->rule, "answer", answers[v->answer]));
    }
    return json_pack("{s:b,s:s,s:s,s:s,s:o}", "allowed", (int)d->allowed, "rule", d->rule, "policy", p->name,
                     "sha256", p->digest, "findings", list);
}
