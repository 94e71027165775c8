/* policy.yaml: its tables, what no table can say, and the lines that reasons speak of. */
#include "core/policy/policy.h"

#include "base/file.h"
#include "base/text.h"
#include "core/crypto/crypto.h"
#include "core/policy/endpoint.h"
#include "core/policy/presets.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { V4_MAPPED_BITS = 96 };
#define DAY_MS 86400000.0
#define RETAIN_MS_MAX (36500 * DAY_MS) // a hundred years

const char *const policy_purpose_names[] = { "data", "models", "evidence", NULL };
const char *const policy_service_names[] = { "s3", "kms", NULL };
const char *const policy_kind_names[] = { "metrics", "report", "model", NULL };

static enum err_code parse_range(const char *text, void *member, struct err *e)
{
    struct err why = ERR_INIT;
    if (http_range_parse(text, member, &why))
        return err_set(e, ERR_USAGE, "must be an address range: %s", why.text);
    const struct http_range *range = member;
    if (range->bits == 0 || (range->bits == V4_MAPPED_BITS && text_ends(text, "/0")))
        return err_set(e, ERR_USAGE, "must not be every address there is: that guards nothing");
    return OK;
}

static void print_range(const void *member, struct buf *out)
{
    char text[HTTP_RANGE_TEXT_BYTES];
    buf_add_text(out, http_range_format(member, text));
}

/* clang-format off */
#define NAMES(bytes, help_) \
    { .name = "name", .kind = CONF_KIND_TEXT, .size = (bytes), .min = 1, .max = (bytes) - 1, .help = (help_) }
#define CHOICES(names_, help_) \
    { .name = "choice", .kind = CONF_KIND_CHOICE, .size = sizeof(int), .choices = (names_), .help = (help_) }
static const struct conf_field name_element = NAMES(POLICY_NAME_BYTES, "a name");
static const struct conf_field bucket_element = NAMES(STORE_BUCKET_BYTES, "a bucket's name");
static const struct conf_field key_element = NAMES(KEYS_NAME_BYTES, "a key's name");
static const struct conf_field host_element = NAMES(POLICY_HOST_BYTES, "HOST, HOST:PORT or *.HOST");
static const struct conf_field arn_element = NAMES(
    KEYS_ARN_BYTES, "arn:PARTITION:kms:REGION:ACCOUNT:key/ID, a field or the end of the last may be *");
static const struct conf_field class_element = CHOICES(data_class_names, "a class of data");
static const struct conf_field purpose_element = CHOICES(policy_purpose_names, "what a bucket is for");
static const struct conf_field provider_element = CHOICES(keys_provider_names, "a key provider");
static const struct conf_field service_element = CHOICES(policy_service_names, "a service");
static const struct conf_field kind_element = CHOICES(policy_kind_names, "what may leave");
static const struct conf_field range_element = {
    .name = "range", .kind = CONF_KIND_CUSTOM, .size = sizeof(struct http_range),
    .parse = parse_range, .print = print_range,
    .help = "10.1.0.0/16, 192.0.2.7, 2001:db8::/32",
};

static const struct conf_field region_fields[] = {
    CONF_NAME_REQUIRED(policy_region, name, "what the rest of the document calls it"),
    CONF_CHOICE(policy_region, provider, "s3", policy_provider_names,
                "whose it is: local (a folder), s3 (an object store of your own), or a sovereign cloud by name"),
    CONF_TEXT_REQUIRED(policy_region, region, "the provider's own name for it"),
    CONF_TEXT(policy_region, country, "", "where that is, for the evidence"),
    CONF_LIST(policy_region, endpoints, endpoint_count, POLICY_ENDPOINTS_MAX, NULL, &host_element,
              "its hosts; none: the provider's own, where it is known by name"),
    CONF_LIST(policy_region, ranges, range_count, HTTP_RANGES_MAX, NULL, &range_element,
              "the addresses at which they may be found; none: this machine alone"),
    CONF_LIST(policy_region, networks, network_count, HTTP_RANGES_MAX, NULL, &range_element,
              "over which the ranks of a job on its data may talk, where they are on several hosts; none: any"),
    CONF_END,
};
static const struct conf_field bucket_fields[] = {
    CONF_NAME_REQUIRED(policy_bucket, name, "the bucket"),
    CONF_NAME_REQUIRED(policy_bucket, region, "the name of the region that it lies in"),
    CONF_LIST(policy_bucket, purposes, purpose_count, POLICY_PURPOSES_MAX, NULL, &purpose_element, "what it is for"),
    CONF_LIST(policy_bucket, classes, class_count, POLICY_CLASSES_MAX, NULL, &class_element,
              "the data that may lie in it, or be trained on for it; none: no data at all"),
    CONF_END,
};
static const struct conf_field keys_fields[] = {
    CONF_LIST(policy_keys, providers, provider_count, 3, NULL, &provider_element,
              "who may wrap data keys; none: nobody"),
    CONF_LIST(policy_keys, names, name_count, POLICY_NAMES_MAX, NULL, &key_element,
              "which keys; none: any of theirs"),
    CONF_LIST(policy_keys, arns, arn_count, KEYS_ARNS_MAX, NULL, &arn_element,
              "kms: what their ARNs must fit; none: no key"),
    CONF_END,
};
static const struct conf_field locks_fields[] = {
    CONF_CHOICE(policy_locks, min, "none", store_lock_names, "the least object lock of checkpoints and models"),
    CONF_DURATION(policy_locks, retain_min_ms, "retain_min", "0", 0, RETAIN_MS_MAX,
              "the least time that it must hold"),
    CONF_DURATION(policy_locks, retain_max_ms, "retain_max", "3650d", 0, RETAIN_MS_MAX,
                  "the longest: a COMPLIANCE lock that was a slip of the pen cannot be taken back"),
    CONF_END,
};
static const struct conf_field pin_fields[] = {
    CONF_TEXT_REQUIRED(policy_pin, host, "the host"),
    CONF_TEXT_REQUIRED(policy_pin, sha256, "base64 of the SHA-256 of its public key (SubjectPublicKeyInfo)"),
    CONF_END,
};
static const struct conf_field tls_fields[] = {
    CONF_BOOL(policy_tls, required, "false",
              "TLS to this machine itself, too; beyond it there is nothing else anyway"),
    CONF_BOOL(policy_tls, authority, "false", "only by an authority that the configuration names (ca_file)"),
    CONF_LIST(policy_tls, client_certificate, client_certificate_count, 2, NULL, &service_element,
              "the services that must be shown a certificate of ours"),
    CONF_LIST(policy_tls, pins, pin_count, POLICY_PINS_MAX, pin_fields, NULL,
              "hosts whose key must be that very one"),
    CONF_END,
};
static const struct conf_field environment_fields[] = {
    CONF_NAME_REQUIRED(policy_environment, name, "dev, prod, ..."),
    CONF_LIST(policy_environment, queues, queue_count, POLICY_NAMES_MAX, NULL, &name_element,
              "the queues whose jobs are in it"),
    CONF_LIST(policy_environment, buckets, bucket_count, POLICY_NAMES_MAX, NULL, &bucket_element,
              "the buckets that they may use"),
    CONF_LIST(policy_environment, classes, class_count, POLICY_CLASSES_MAX, NULL, &class_element,
              "the data that they may train on"),
    CONF_LIST(policy_environment, keys, key_count, POLICY_NAMES_MAX, NULL, &key_element,
              "the keys that may wrap their data keys"),
    CONF_END,
};
static const struct conf_field export_fields[] = {
    CONF_LIST(policy_export, who, who_count, POLICY_NAMES_MAX, NULL, &name_element, "users, or role:NAME"),
    CONF_LIST(policy_export, kinds, kind_count, 3, NULL, &kind_element, "what they may take out"),
    CONF_LIST(policy_export, to, to_count, POLICY_NAMES_MAX, NULL, &name_element,
              "the regions that it may go to; or outside"),
    CONF_END,
};
const struct conf_field policy_fields[] = {
    { "version", CONF_KIND_INT, CONF_AT(policy, version), true, NULL, 1, 1, .help = "of the document's form: 1" },
    CONF_NAME_REQUIRED(policy, name, "what it is called in evidence"),
    CONF_LIST(policy, regions, region_count, POLICY_REGIONS_MAX, region_fields, NULL, "where data may be"),
    CONF_LIST(policy, buckets, bucket_count, POLICY_BUCKETS_MAX, bucket_fields, NULL, "what lies where"),
    CONF_SECTION(policy, keys, keys_fields, "who wraps data keys"),
    CONF_SECTION(policy, locks, locks_fields, "how checkpoints and models are kept"),
    CONF_SECTION(policy, tls, tls_fields, "how services are reached"),
    CONF_LIST(policy, environments, environment_count, POLICY_ENVIRONMENTS_MAX, environment_fields, NULL,
              "dev, prod ...: kept apart by queue; none: every queue may use all of it"),
    CONF_LIST(policy, exports, export_count, POLICY_EXPORTS_MAX, export_fields, NULL,
              "what may leave, by whom, to where; none: nothing"),
    CONF_END,
};
/* clang-format on */

/* ---- checks ---- */

struct reader {
    const struct conf_doc *doc;
    struct policy *p;
    struct err *e;
};

static enum err_code refuse(const struct reader *r, const char *path, const char *fmt, ...) PRINTF_LIKE(3, 4);
static enum err_code refuse(const struct reader *r, const char *path, const char *fmt, ...)
{
    CLEANUP(buf_done) struct buf where = BUF_INIT(2048);
    CLEANUP(buf_done) struct buf text = BUF_INIT(2048);
    va_list ap;
    va_start(ap, fmt);
    buf_addv(&text, fmt, ap);
    va_end(ap);
    return err_set(r->e, ERR_USAGE, "%s: %s", conf_where(r->doc, path, &where), buf_text(&text));
}

static const struct policy_region *region_called(const struct policy *p, const char *name)
{
    for (size_t i = 0; i < p->region_count; i++)
        if (strcmp(p->regions[i].name, name) == 0)
            return &p->regions[i];
    return NULL;
}

static bool bucket_named(const struct policy *p, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(p->buckets[i].name, name) == 0)
            return true;
    return false;
}

static enum err_code fill_preset(const struct reader *r, struct policy_region *region, const char *path)
{
    CLEANUP(buf_done) struct buf names = BUF_INIT(1024);
    if (!preset_is_one(region->provider))
        return OK;
    const struct preset *preset = preset_find(region->provider, region->region);
    preset_regions(region->provider, &names);
    if (!preset)
        return refuse(r, path, "provider '%s' has no region '%s'; it has %s",
                      policy_provider_names[region->provider], region->region, buf_text(&names));
    if (region->endpoint_count == 0)
        snprintf(region->endpoints[region->endpoint_count++], POLICY_HOST_BYTES, "%s", preset->endpoint);
    if (!region->country[0])
        snprintf(region->country, sizeof(region->country), "%s", preset->country);
    return OK;
}

static enum err_code check_region(const struct reader *r, size_t i)
{
    struct policy_region *region = &r->p->regions[i];
    char path[64];
    snprintf(path, sizeof(path), "regions[%zu]", i);
    region->line = conf_line(r->doc, path);
    if (region_called(r->p, region->name) != region)
        return refuse(r, path, "region '%s' is described twice", region->name);
    if (region->provider == PROVIDER_LOCAL && (region->endpoint_count || region->range_count))
        return refuse(r, path, "a folder of this machine (provider local) has neither endpoints nor ranges");
    if (fill_preset(r, region, path))
        return r->e->code;
    if (region->provider != PROVIDER_LOCAL && region->endpoint_count == 0)
        return refuse(r, path, "an object store needs its endpoints");
    for (size_t k = 0; k < region->endpoint_count; k++) {
        snprintf(path, sizeof(path), "regions[%zu].endpoints[%zu]", i, k);
        if (!endpoint_pattern_is_valid(region->endpoints[k]))
            return refuse(r, path, "must be HOST, HOST:PORT or *.HOST, in lower case, not '%.200s'",
                          region->endpoints[k]);
    }
    return OK;
}

static enum err_code check_bucket(const struct reader *r, size_t i)
{
    struct policy_bucket *b = &r->p->buckets[i];
    char path[64];
    snprintf(path, sizeof(path), "buckets[%zu]", i);
    b->line = conf_line(r->doc, path);
    if (bucket_named(r->p, i, b->name))
        return refuse(r, path, "bucket '%s' is described twice", b->name);
    if (!region_called(r->p, b->region))
        return refuse(r, path, "bucket '%s' lies in region '%s', which is none of those above", b->name,
                      b->region);
    if (b->purpose_count == 0)
        return refuse(r, path, "bucket '%s' is for nothing: purposes: [data, models, evidence]", b->name);
    return OK;
}

/* A queue in two environments would be in both, or in neither. */
static bool queue_in_another(const struct policy *p, size_t environment, const char *queue)
{
    for (size_t i = 0; i < environment; i++)
        for (size_t k = 0; k < p->environments[i].queue_count; k++)
            if (strcmp(p->environments[i].queues[k], queue) == 0)
                return true;
    return false;
}

static enum err_code check_environment(const struct reader *r, size_t i)
{
    struct policy_environment *env = &r->p->environments[i];
    char path[64];
    snprintf(path, sizeof(path), "environments[%zu]", i);
    env->line = conf_line(r->doc, path);
    for (size_t k = 0; k < i; k++)
        if (strcmp(r->p->environments[k].name, env->name) == 0)
            return refuse(r, path, "environment '%s' is described twice", env->name);
    for (size_t k = 0; k < env->queue_count; k++)
        if (queue_in_another(r->p, i, env->queues[k]))
            return refuse(r, path, "queue '%s' is in another environment already", env->queues[k]);
    for (size_t k = 0; k < env->bucket_count; k++)
        if (!bucket_named(r->p, r->p->bucket_count, env->buckets[k]))
            return refuse(r, path, "bucket '%s' is none of those above", env->buckets[k]);
    return OK;
}

static enum err_code check_export(const struct reader *r, size_t i)
{
    struct policy_export *x = &r->p->exports[i];
    char path[64];
    snprintf(path, sizeof(path), "exports[%zu]", i);
    x->line = conf_line(r->doc, path);
    for (size_t k = 0; k < x->to_count; k++)
        if (strcmp(x->to[k], POLICY_OUTSIDE) != 0 && !region_called(r->p, x->to[k]))
            return refuse(r, path, "'%s' is none of the regions above, nor outside", x->to[k]);
    return OK;
}

static enum err_code check_pins(const struct reader *r)
{
    char path[64];
    for (size_t i = 0; i < r->p->tls.pin_count; i++) {
        CLEANUP(buf_done) struct buf raw = BUF_INIT(SHA256_BYTES);
        struct err quiet = ERR_INIT;
        snprintf(path, sizeof(path), "tls.pins[%zu]", i);
        if (base64_decode(r->p->tls.pins[i].sha256, &raw, &quiet) || raw.len != SHA256_BYTES)
            return refuse(r, path, "sha256 must be the base64 of 32 bytes");
        if (!endpoint_pattern_is_valid(r->p->tls.pins[i].host) || r->p->tls.pins[i].host[0] == '*')
            return refuse(r, path, "host must be one host, in lower case");
    }
    return OK;
}

static enum err_code check(const struct reader *r)
{
    struct policy *p = r->p;
    p->keys.line = conf_line(r->doc, "keys");
    p->locks.line = conf_line(r->doc, "locks");
    p->tls.line = conf_line(r->doc, "tls");
    for (size_t i = 0; i < p->region_count; i++)
        if (check_region(r, i))
            return r->e->code;
    for (size_t i = 0; i < p->bucket_count; i++)
        if (check_bucket(r, i))
            return r->e->code;
    for (size_t i = 0; i < p->environment_count; i++)
        if (check_environment(r, i))
            return r->e->code;
    for (size_t i = 0; i < p->export_count; i++)
        if (check_export(r, i))
            return r->e->code;
    if (p->locks.retain_max_ms < p->locks.retain_min_ms)
        return refuse(r, "locks", "retain_max is below retain_min");
    if (p->locks.min != STORE_LOCK_NONE && p->locks.retain_min_ms == 0)
        return refuse(r, "locks", "a lock needs a time to hold: retain_min");
    return check_pins(r);
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

enum err_code policy_read(const char *file, const void *text, size_t n, struct policy *out, struct err *e)
{
    CLEANUP(conf_freep) struct conf_doc *doc = NULL;
    if (conf_parse(file, text, n, &doc, e) || conf_bind(doc, policy_fields, out, e))
        return e->code;
    snprintf(out->file, sizeof(out->file), "%s", base_name(file));
    sha256_hex(text, n, out->digest);
    return check(&(struct reader){ doc, out, e });
}

enum err_code policy_read_file(const char *path, struct policy *out, struct err *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(CONF_BYTES_MAX);
    if (conf_read_file(path, &text, e))
        return e->code;
    return policy_read(path, text.data, text.len, out, e);
}
