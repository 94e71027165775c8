/*
 * policy.h - where data may be and who may use it: one document, denied by default, and pure decisions about
 * it.
 *
 * policy.yaml says which regions there are (provider, endpoint host, region: never a prefix of a region's
 * name, since those lie: eu-west-2 is London at one provider and Paris at another), which bucket lies in
 * which of them and may hold what, which keys wrap, how long objects are locked, what TLS must be, and which
 * queues may use which of it. What it does not name is denied. docs/POLICY.md explains the document;
 * policy_file.c reads it.
 *
 * Decisions are functions of plain structs: no file, no socket, no clock, so the same question has the same
 * answer at submission, at launch and in a test. A decision lists every rule that was looked at, its verdict,
 * the line of the document that decided, and what would satisfy it. All denials are listed; the first one
 * gives the decision its name.
 *
 *     data_staged   data.train is in the store, not a file of the submitting machine
 *
 *     bucket        the buckets of data.train, checkpoint.to and model.from are the cluster's, and the
 * policy's
 *
 *     purpose       data comes from a bucket for data; checkpoints go to one for models; model.from is in one
 *                   for either
 *
 *     region        each bucket's store is at an endpoint of the bucket's region, and says that region
 *
 *     data_bucket   a dataset's shards lie in the bucket that the job names
 *
 *     data_class    that bucket may hold data of that class
 *
 *     environment   the queue's environment may use these buckets, this class and this key
 *
 *     key           the provider and the name of the key that wraps data keys
 *
 *     lock          checkpoints are locked at least so, in a mode that the region's provider has
 *
 *     retain        for at least so long, and no longer than the cap (a lock cannot be taken back)
 *
 *     tls           the stores are reached by TLS, by a named authority, with a client certificate
 *
 *     networks      ranks on several hosts talk by what can be pinned to the networks of the data's region
 *
 * A new rule is a function and a row in policy.c's table.
 */
#ifndef CORE_POLICY_POLICY_H
#define CORE_POLICY_POLICY_H

#include "core/conf/conf.h"
#include "core/http/guard.h"
#include "core/job/dataset.h"
#include "core/job/job_spec.h"
#include "core/keys/keys.h"
#include "core/store/store.h"

enum {
    POLICY_REGIONS_MAX = 16,
    POLICY_ENDPOINTS_MAX = 8,
    POLICY_BUCKETS_MAX = 128,
    POLICY_ENVIRONMENTS_MAX = 8,
    POLICY_EXPORTS_MAX = 16,
    POLICY_NAMES_MAX = 32,
    POLICY_PINS_MAX = 8,
    POLICY_CLASSES_MAX = 4,
    POLICY_PURPOSES_MAX = 3,
    POLICY_NAME_BYTES = 64,
    POLICY_HOST_BYTES = 256,
    POLICY_RULE_BYTES = 32,
    POLICY_RULES_MAX = 16,
    POLICY_WHERE_BYTES = 192,
    POLICY_REASON_BYTES = 512
};

enum policy_purpose { PURPOSE_DATA, PURPOSE_MODELS, PURPOSE_EVIDENCE };
extern const char *const policy_purpose_names[]; /* "data", "models", "evidence", NULL */

enum policy_service { SERVICE_S3, SERVICE_KMS };
extern const char *const policy_service_names[]; /* "s3", "kms", NULL */

enum policy_kind { EXPORT_METRICS, EXPORT_REPORT, EXPORT_MODEL };
extern const char *const policy_kind_names[]; /* "metrics", "report", "model", NULL */

/* What one provider's object lock can do. A row of the presets (presets.c). */
struct policy_quirks {
    bool compliance, governance, legal_hold;
    int64_t retain_max_days; /* 0: no limit of its own */
};

struct policy_region {
    char name[POLICY_NAME_BYTES];
    int provider; /* index into policy_provider_names */
    char region[POLICY_NAME_BYTES], country[8];
    char endpoints[POLICY_ENDPOINTS_MAX][POLICY_HOST_BYTES]; /* "host", "host:port", "*.host" */
    size_t endpoint_count;
    struct http_range ranges[HTTP_RANGES_MAX]; /* none: loopback only */
    size_t range_count;
    struct http_range networks[HTTP_RANGES_MAX]; /* between ranks on several hosts; none: any */
    size_t network_count;
    int64_t line; /* of the document; 0: not given. Likewise below. */
};
struct policy_bucket {
    char name[STORE_BUCKET_BYTES], region[POLICY_NAME_BYTES];
    int purposes[POLICY_PURPOSES_MAX]; /* enum policy_purpose */
    size_t purpose_count;
    int classes[POLICY_CLASSES_MAX]; /* enum data_class; none: holds no data sets */
    size_t class_count;
    int64_t line;
};
struct policy_keys {
    int providers[3]; /* enum keys_provider */
    size_t provider_count;
    char names[POLICY_NAMES_MAX][KEYS_NAME_BYTES]; /* none: any of the provider's */
    size_t name_count;
    char arns[KEYS_ARNS_MAX][KEYS_ARN_BYTES];
    size_t arn_count;
    int64_t line;
};
struct policy_locks {
    int min; /* enum store_lock_mode */
    int64_t retain_min_ms, retain_max_ms;
    int64_t line;
};
struct policy_tls {
    bool required, authority;
    int client_certificate[2]; /* enum policy_service */
    size_t client_certificate_count;
    struct policy_pin {
        char host[POLICY_HOST_BYTES], sha256[HTTP_PIN_BYTES];
    } pins[POLICY_PINS_MAX];
    size_t pin_count;
    int64_t line;
};
struct policy_environment {
    char name[POLICY_NAME_BYTES];
    char queues[POLICY_NAMES_MAX][POLICY_NAME_BYTES];
    char buckets[POLICY_NAMES_MAX][STORE_BUCKET_BYTES];
    char keys[POLICY_NAMES_MAX][KEYS_NAME_BYTES];
    int classes[POLICY_CLASSES_MAX];
    size_t queue_count, bucket_count, key_count, class_count;
    int64_t line;
};
struct policy_export {
    char who[POLICY_NAMES_MAX][POLICY_NAME_BYTES]; /* users, or "role:admin" */
    size_t who_count;
    int kinds[3]; /* enum policy_kind */
    size_t kind_count;
    char to[POLICY_NAMES_MAX][POLICY_NAME_BYTES]; /* regions by name, or POLICY_OUTSIDE */
    size_t to_count;
    int64_t line;
};

struct policy {
    int64_t version;
    char name[POLICY_NAME_BYTES];
    struct policy_region regions[POLICY_REGIONS_MAX];
    size_t region_count;
    struct policy_bucket buckets[POLICY_BUCKETS_MAX];
    size_t bucket_count;
    struct policy_keys keys;
    struct policy_locks locks;
    struct policy_tls tls;
    struct policy_environment environments[POLICY_ENVIRONMENTS_MAX];
    size_t environment_count; /* none: every queue may use all of it */
    struct policy_export exports[POLICY_EXPORTS_MAX];
    size_t export_count;
    /* Not in the document: */
    char file[128];  /* its name, for reasons */
    char digest[65]; /* SHA-256 of its bytes */
};
extern const struct conf_field policy_fields[];
extern const char *const policy_provider_names[]; /* "local", "s3", then the presets; NULL */

/* The document, checked: names that refer to nothing, regions that their provider does not have, endpoints
 * that are no host, a cap below the minimum are ERR_USAGE with file and line. `file` names it in reasons.
 * Presets are filled in. */
enum err_code policy_read(const char *file, const void *text, size_t n, struct policy *out, struct err *e);
enum err_code policy_read_file(const char *path, struct policy *out, struct err *e);

/* ---- decisions ---- */

enum policy_answer { POLICY_NOT_ASKED, POLICY_ALLOWED, POLICY_DENIED };
struct policy_finding {
    char rule[POLICY_RULE_BYTES];
    enum policy_answer answer;
    char where[POLICY_WHERE_BYTES];   /* "policy.yaml:12: buckets 'data'" */
    char reason[POLICY_REASON_BYTES]; /* of a denial: what, and what would satisfy it; of what was not asked:
                                         why */
};
struct policy_decision {
    bool allowed;
    char rule[POLICY_RULE_BYTES];     /* of the first denial; "" where allowed */
    char reason[POLICY_REASON_BYTES]; /* its place in the document and its reason */
    struct policy_finding findings[POLICY_RULES_MAX];
    size_t finding_count;
};

/* Where one of the cluster's buckets is, as its configuration says. Borrowed. */
struct policy_place {
    const char *bucket;
    int kind;             /* enum store_kind */
    const char *endpoint; /* "https://host:port"; "" for a dir store */
    const char *region;
    const char *sts_endpoint; /* where sessions come from, if not from the store's own endpoint; "" then */
    const char *sse_key; /* the key that the store itself encrypts under; "": none that is ours to choose */
    bool authority, client_certificate;
};
struct policy_question {
    const struct job_spec *spec;
    const struct dataset *dataset; /* NULL: not read yet, so what only it can tell is not asked */
    int provider;                  /* enum keys_provider */
    const struct policy_place *places;
    size_t place_count;
    const char *transport; /* launch.transport; NULL: all ranks are on one host */
};
void policy_admit(const struct policy *p, const struct policy_question *q, struct policy_decision *out);

/* What an Open MPI btl list can do: only tcp keeps to networks that it is told. */
enum policy_transport { TRANSPORT_ONE_HOST, TRANSPORT_TCP, TRANSPORT_OTHER };
enum policy_transport policy_transport_of(const char *btl);

/* The cluster itself: every place, the ledger's bucket, the key provider and its endpoint ("" for none). */
struct policy_cluster {
    const struct policy_place *places;
    size_t place_count;
    const char *ledger_bucket;
    int provider;
    const char *kms_endpoint, *kms_region;
    bool kms_authority, kms_client_certificate;
};
void policy_check_cluster(const struct policy *p, const struct policy_cluster *c,
                          struct policy_decision *out);

/* What the store says of a bucket, against what the policy says of it. */
void policy_check_facts(const struct policy *p, const char *bucket, const struct store_facts *facts,
                        struct policy_decision *out);

/* May data of that class lie in that bucket? For staging, before there is a job. */
void policy_check_staging(const struct policy *p, const char *bucket, enum data_class data_class,
                          struct policy_decision *out);

/* Where a file is that somebody holds: in none of the regions, since nothing of ours keeps it in one. */
#define POLICY_OUTSIDE "outside"
/* May `user`, whose role is `role`, take something of that kind to region `to`, or POLICY_OUTSIDE? The place
 * in the document is that of the row that lets him, or that comes nearest to it. */
void policy_check_export(const struct policy *p, const char *user, const char *role, enum policy_kind kind,
                         const char *to, struct policy_decision *out);

/* How an endpoint ("https://host:port") of a region (the provider's name for it) may be reached. False, and
 * *out allows loopback alone, where the policy has no such region with it. */
bool policy_guard(const struct policy *p, const char *endpoint, const char *region, struct http_guard *out);

/* The region that a bucket lies in, or NULL. Borrowed. */
const struct policy_region *policy_region_of_bucket(const struct policy *p, const char *bucket);

/* OK, or ERR_DENIED "denied by policy rule lock: policy.yaml:12: locks: ...". */
enum err_code policy_verdict(const struct policy_decision *d, struct err *e);
json_t *policy_decision_json(const struct policy *p,
                             const struct policy_decision *d); /* for people and the ledger */

#endif
