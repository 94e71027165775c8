#include "core/policy/policy.h"

#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct conf_field class_element = {
    .name = "class",
    .kind = CONF_KIND_CHOICE,
    .size = sizeof(int),
    .choices = data_class_names,
};
static const struct conf_field bucket_element = {
    .name = "bucket",
    .kind = CONF_KIND_NAME,
    .size = STORE_BUCKET_BYTES,
    .max = STORE_BUCKET_BYTES - 1,
};
#define RETAIN_MS_MAX (36500 * 86400000.0) // a hundred years

/* clang-format off */
const struct conf_field policy_fields[] = {
    CONF_BOOL(policy, kms_required, "false", "refuse data keys that are wrapped by files"),
    { "data_classes", CONF_KIND_LIST, CONF_AT(policy, data_classes), false,
      "[public, internal, pseudonymized, personal]", 0, POLICY_CLASSES_MAX, .element = &class_element,
      .count_offset = offsetof(struct policy, data_class_count), .stride = sizeof(int),
      .help = "what this cluster may train on" },
    CONF_CHOICE(policy, lock_min, "none", store_lock_names, "least object lock of checkpoints and models"),
    CONF_DURATION(policy, retain_min_ms, "retain_min", "0", 0, RETAIN_MS_MAX,
                  "least time that the lock must hold"),
    CONF_LIST(policy, buckets, bucket_count, POLICY_BUCKETS_MAX, NULL, &bucket_element,
              "the buckets that jobs may use; none: all of the cluster's"),
    CONF_END,
};
/* clang-format on */

struct question {
    const struct policy *policy;
    const struct job_spec *spec;
    const struct dataset *dataset; /* may be NULL */
    enum keys_provider provider;
    const char *const *buckets;
    size_t bucket_count;
};

/* The reason for a no; returns false so that a rule reads `return deny(...)`. */
static bool deny(struct policy_decision *out, const char *fmt, ...) PRINTF_LIKE(2, 3);
static bool deny(struct policy_decision *out, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(out->reason, sizeof(out->reason), fmt, ap);
    va_end(ap);
    return false;
}

static bool is_staged(const struct question *q, struct policy_decision *out)
{
    if (text_starts(q->spec->data.train, "s3://"))
        return true;
    return deny(
        out,
        "data.train is '%.200s', which is not in the store: stage it (`sovrun data stage`), or let `sovrun "
        "submit` do so",
        q->spec->data.train);
}

static bool bucket_allowed(const struct question *q, const char *setting, const char *uri,
                           struct policy_decision *out)
{
    char bucket[STORE_BUCKET_BYTES], key[STORE_KEY_BYTES];
    struct err e = ERR_INIT;
    bool named = false, listed = q->policy->bucket_count == 0;
    if (store_uri_parse(uri, bucket, key, &e))
        return deny(out, "%s: %.400s", setting, e.text);
    for (size_t i = 0; i < q->bucket_count; i++)
        named |= strcmp(q->buckets[i], bucket) == 0;
    for (size_t i = 0; i < q->policy->bucket_count; i++)
        listed |= strcmp(q->policy->buckets[i], bucket) == 0;
    if (!named)
        return deny(out, "%s: bucket '%s' is none of this cluster's: name one of its stores' buckets",
                    setting, bucket);
    if (!listed)
        return deny(out,
                    "%s: bucket '%s' is not among the policy's buckets: use one of them, or have it added",
                    setting, bucket);
    return true;
}

static bool buckets_allowed(const struct question *q, struct policy_decision *out)
{
    return bucket_allowed(q, "data.train", q->spec->data.train, out) &&
           bucket_allowed(q, "checkpoint.to", q->spec->checkpoint.to, out);
}

static bool data_in_bucket(const struct question *q, struct policy_decision *out)
{
    char bucket[STORE_BUCKET_BYTES], key[STORE_KEY_BYTES];
    struct err e = ERR_INIT;
    if (!q->dataset)
        return true;
    if (store_uri_parse(q->spec->data.train, bucket, key, &e))
        return deny(out, "data.train: %.400s", e.text);
    if (strcmp(bucket, q->dataset->bucket) == 0)
        return true;
    return deny(
        out, "dataset '%s' in bucket '%s' says that its shards lie in bucket '%s': stage it where it is used",
        q->dataset->name, bucket, q->dataset->bucket);
}

static bool class_allowed(const struct question *q, struct policy_decision *out)
{
    if (!q->dataset)
        return true;
    for (size_t i = 0; i < q->policy->data_class_count; i++)
        if (q->policy->data_classes[i] == (int)q->dataset->data_class)
            return true;
    return deny(
        out,
        "dataset '%s' holds %s data, which this cluster may not train on: use a cluster that may, or data of "
        "a class that its policy lists",
        q->dataset->name, data_class_names[q->dataset->data_class]);
}

static bool keys_allowed(const struct question *q, struct policy_decision *out)
{
    if (!q->policy->kms_required || q->provider != KEYS_FILE)
        return true;
    return deny(
        out,
        "the cluster's key provider is 'file', but the policy requires a KMS or an HSM: configure one under "
        "keys.provider");
}

static bool lock_allowed(const struct question *q, struct policy_decision *out)
{
    if (q->spec->checkpoint.lock >= q->policy->lock_min)
        return true;
    return deny(out, "checkpoint.lock is %s, but the policy requires at least %s: set checkpoint.lock: %s",
                store_lock_names[q->spec->checkpoint.lock], store_lock_names[q->policy->lock_min],
                store_lock_names[q->policy->lock_min]);
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

static bool retention_allowed(const struct question *q, struct policy_decision *out)
{
    char asked[32], least[32];
    if (q->spec->checkpoint.retain_ms >= q->policy->retain_min_ms)
        return true;
    exact_duration(q->spec->checkpoint.retain_ms, asked);
    exact_duration(q->policy->retain_min_ms, least);
    return deny(out,
                "checkpoint.retain is %s, but the policy requires at least %s: set checkpoint.retain: %s",
                asked, least, least);
}

static const struct rule {
    const char *name;
    bool (*allows)(const struct question *q, struct policy_decision *out);
} rules[] = {
    { "data_staged", is_staged },        { "bucket", buckets_allowed },    { "data_bucket", data_in_bucket },
    { "data_class", class_allowed },     { "kms_required", keys_allowed }, { "lock_min", lock_allowed },
    { "retain_min", retention_allowed },
};

void policy_admit(const struct policy *policy, const struct job_spec *spec, const struct dataset *dataset,
                  enum keys_provider provider, const char *const *cluster_buckets,
                  size_t cluster_bucket_count, struct policy_decision *out)
{
    const struct question q = {
        .policy = policy,
        .spec = spec,
        .dataset = dataset,
        .provider = provider,
        .buckets = cluster_buckets,
        .bucket_count = cluster_bucket_count,
    };
    memset(out, 0, sizeof(*out));
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        if (rules[i].allows(&q, out))
            continue;
        snprintf(out->rule, sizeof(out->rule), "%s", rules[i].name);
        return;
    }
    out->allowed = true;
}
