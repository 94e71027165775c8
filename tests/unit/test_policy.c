/* Admission: one question a row, with one thing changed from a job that is allowed. */
#include "core/policy/policy.h"
#include "tests/test.h"

#include <string.h>

enum { NOT_KEYS_FILE = KEYS_FILE + 1 }; /* a provider that is no folder of files */

struct world {
    struct policy policy;
    struct job_spec spec;
    struct dataset dataset;
    bool dataset_known;
    int provider;
    const char *buckets[3];
    size_t bucket_count;
};

/* Allowed under a strict policy: personal data, locked for 30 days, keys in an HSM. */
static struct world strict_world(void)
{
    struct world w = {
        .policy = { .kms_required = true,
                    .data_classes = { CLASS_PUBLIC, CLASS_PERSONAL },
                    .data_class_count = 2,
                    .lock_min = STORE_LOCK_GOVERNANCE,
                    .retain_min_ms = 30ll * 24 * 60 * 60 * 1000,
                    .buckets = { "models", "bank-data" },
                    .bucket_count = 2 },
        .spec = { .data = { .train = "s3://bank-data/credit" },
                  .checkpoint = { .to = "s3://models/credit",
                                  .lock = STORE_LOCK_COMPLIANCE,
                                  .retain_ms = 30ll * 24 * 60 * 60 * 1000 } },
        .dataset = { .name = "german-credit", .bucket = "bank-data", .data_class = CLASS_PERSONAL },
        .dataset_known = true,
        .provider = NOT_KEYS_FILE,
        .buckets = { "bank-data", "models", "scratch" },
        .bucket_count = 3,
    };
    return w;
}

static struct policy_decision ask(const struct world *w)
{
    struct policy_decision d = { .rule = "before", .reason = "before" };
    policy_admit(&w->policy, &w->spec, w->dataset_known ? &w->dataset : NULL, (enum keys_provider)w->provider,
                 w->buckets, w->bucket_count, &d);
    return d;
}

static void set(char *to, const char *text)
{
    memcpy(to, text, strlen(text) + 1);
}

static void nothing(struct world *w)
{
    (void)w;
}
static void exact_lock(struct world *w)
{
    w->spec.checkpoint.lock = STORE_LOCK_GOVERNANCE;
}
static void longer_retention(struct world *w)
{
    w->spec.checkpoint.retain_ms++;
}
static void unknown_dataset(struct world *w)
{
    w->dataset_known = false;
    w->policy.data_class_count = 0;
}
static void any_cluster_bucket(struct world *w)
{
    w->policy.bucket_count = 0;
    set(w->spec.checkpoint.to, "s3://scratch/credit");
}
static void file_on_the_client(struct world *w)
{
    set(w->spec.data.train, "file://credit.csv");
}
static void foreign_data_bucket(struct world *w)
{
    set(w->spec.data.train, "s3://elsewhere/credit");
    set(w->dataset.bucket, "elsewhere");
}
static void foreign_model_bucket(struct world *w)
{
    w->policy.bucket_count = 0;
    set(w->spec.checkpoint.to, "s3://elsewhere/credit");
}
static void foreign_bucket_that_the_policy_lists(struct world *w)
{
    set(w->policy.buckets[0], "elsewhere");
    set(w->spec.checkpoint.to, "s3://elsewhere/credit");
}
static void bucket_with_a_known_beginning(struct world *w)
{
    set(w->spec.checkpoint.to, "s3://models-2/credit");
}
static void no_cluster_bucket(struct world *w)
{
    w->bucket_count = 0;
}
static void unlisted_bucket(struct world *w)
{
    set(w->spec.checkpoint.to, "s3://scratch/credit");
}
static void no_bucket_at_all(struct world *w)
{
    w->spec.checkpoint.to[0] = '\0';
}
static void shards_elsewhere(struct world *w)
{
    set(w->dataset.bucket, "scratch");
}
static void other_class(struct world *w)
{
    w->dataset.data_class = CLASS_PSEUDONYMIZED;
}
static void no_class(struct world *w)
{
    w->policy.data_class_count = 0;
}
static void keys_in_files(struct world *w)
{
    w->provider = KEYS_FILE;
}
static void keys_in_files_allowed(struct world *w)
{
    w->provider = KEYS_FILE;
    w->policy.kms_required = false;
}
static void no_lock(struct world *w)
{
    w->spec.checkpoint.lock = STORE_LOCK_NONE;
    w->spec.checkpoint.retain_ms = 0;
}
static void weaker_lock(struct world *w)
{
    w->spec.checkpoint.lock = STORE_LOCK_GOVERNANCE;
    w->policy.lock_min = STORE_LOCK_COMPLIANCE;
}
static void short_retention(struct world *w)
{
    w->spec.checkpoint.retain_ms = 36ll * 60 * 60 * 1000;
}
static void retention_short_by_a_hair(struct world *w)
{
    w->spec.checkpoint.retain_ms--;
}
static void everything_wrong(struct world *w)
{
    foreign_data_bucket(w);
    other_class(w);
    keys_in_files(w);
    no_lock(w);
}

static const struct row {
    const char *name;
    void (*change)(struct world *w);
    const char *rule, *reason; /* NULL: allowed */
} rows[] = {
    { "a job that fits is allowed", nothing, NULL, NULL },
    { "the least lock is enough", exact_lock, NULL, NULL },
    { "more retention is fine", longer_retention, NULL, NULL },
    { "an unread dataset is not asked for its class", unknown_dataset, NULL, NULL },
    { "without a list, the cluster's buckets are allowed", any_cluster_bucket, NULL, NULL },
    { "keys in files are allowed where the policy does not mind", keys_in_files_allowed, NULL, NULL },
    { "a file of the client is not in the store", file_on_the_client, "data_staged",
      "data.train is 'file://credit.csv', which is not in the store: stage it (`sovrun data stage`), or let "
      "`sovrun "
      "submit` do so" },
    { "a bucket that the cluster does not name is denied for data", foreign_data_bucket, "bucket",
      "data.train: bucket 'elsewhere' is none of this cluster's: name one of its stores' buckets" },
    { "a bucket that the cluster does not name is denied for models", foreign_model_bucket, "bucket",
      "checkpoint.to: bucket 'elsewhere' is none of this cluster's: name one of its stores' buckets" },
    { "being on the policy's list does not make a bucket the cluster's", foreign_bucket_that_the_policy_lists,
      "bucket",
      "checkpoint.to: bucket 'elsewhere' is none of this cluster's: name one of its stores' buckets" },
    { "a bucket's name is compared whole", bucket_with_a_known_beginning, "bucket",
      "checkpoint.to: bucket 'models-2' is none of this cluster's: name one of its stores' buckets" },
    { "a cluster without buckets allows none", no_cluster_bucket, "bucket",
      "data.train: bucket 'bank-data' is none of this cluster's: name one of its stores' buckets" },
    { "a bucket that the policy does not list is denied", unlisted_bucket, "bucket",
      "checkpoint.to: bucket 'scratch' is not among the policy's buckets: use one of them, or have it "
      "added" },
    { "what names no bucket is denied", no_bucket_at_all, "bucket",
      "checkpoint.to: '' is no object URI: s3://BUCKET/KEY is one" },
    { "a manifest cannot point at another bucket", shards_elsewhere, "data_bucket",
      "dataset 'german-credit' in bucket 'bank-data' says that its shards lie in bucket 'scratch': stage it "
      "where it is "
      "used" },
    { "a class that the cluster may not hold is denied", other_class, "data_class",
      "dataset 'german-credit' holds pseudonymized data, which this cluster may not train on: use a cluster "
      "that may, or "
      "data of a class that its policy lists" },
    { "an empty list of classes allows none", no_class, "data_class",
      "dataset 'german-credit' holds personal data, which this cluster may not train on: use a cluster that "
      "may, or data "
      "of a class that its policy lists" },
    { "keys in files are denied where a KMS is required", keys_in_files, "kms_required",
      "the cluster's key provider is 'file', but the policy requires a KMS or an HSM: configure one under "
      "keys.provider" },
    { "no lock is denied where one is required", no_lock, "lock_min",
      "checkpoint.lock is none, but the policy requires at least governance: set checkpoint.lock: "
      "governance" },
    { "a weaker lock is denied", weaker_lock, "lock_min",
      "checkpoint.lock is governance, but the policy requires at least compliance: set checkpoint.lock: "
      "compliance" },
    { "short retention is denied", short_retention, "retain_min",
      "checkpoint.retain is 36h, but the policy requires at least 30d: set checkpoint.retain: 30d" },
    { "retention short by a millisecond is short", retention_short_by_a_hair, "retain_min",
      "checkpoint.retain is 2591999999ms, but the policy requires at least 30d: set checkpoint.retain: 30d" },
    { "the first rule that says no is the answer", everything_wrong, "bucket",
      "data.train: bucket 'elsewhere' is none of this cluster's: name one of its stores' buckets" },
};

static void job_is_judged(void **state)
{
    const struct row *r = *state;
    struct world w = strict_world();
    r->change(&w);
    struct policy_decision d = ask(&w);
    assert_int_equal(d.allowed, r->rule == NULL);
    assert_string_equal(d.rule, r->rule ? r->rule : "");
    assert_string_equal(d.reason, r->reason ? r->reason : "");
}

/* ---- the settings ---- */

static enum err_code policy_of(const char *text, struct policy *out, struct err *e)
{
    CLEANUP(conf_freep) struct conf_doc *doc = NULL;
    if (conf_parse("policy.yaml", text, strlen(text), &doc, e))
        return e->code;
    return conf_bind(doc, policy_fields, out, e);
}

static void defaults_allow_what_the_cluster_names(void **state)
{
    (void)state;
    struct world w = strict_world();
    struct err e = ERR_INIT;
    assert_ok(policy_of("{}", &w.policy, &e));
    keys_in_files(&w);
    no_lock(&w);
    for (int c = CLASS_PUBLIC; c <= CLASS_PERSONAL; c++) {
        w.dataset.data_class = (enum data_class)c;
        assert_true(ask(&w).allowed);
    }
    foreign_data_bucket(&w);
    assert_false(ask(&w).allowed);
}

static void settings_are_read(void **state)
{
    (void)state;
    struct policy p;
    struct err e = ERR_INIT;
    assert_ok(
        policy_of("kms_required: true\ndata_classes: [personal]\nlock_min: compliance\nretain_min: 30d\n"
                  "buckets: [bank-data, models]\n",
                  &p, &e));
    assert_true(p.kms_required);
    assert_int_equal(p.data_class_count, 1);
    assert_int_equal(p.data_classes[0], CLASS_PERSONAL);
    assert_int_equal(p.lock_min, STORE_LOCK_COMPLIANCE);
    assert_int_equal(p.retain_min_ms, 30ll * 24 * 60 * 60 * 1000);
    assert_int_equal(p.bucket_count, 2);
    assert_string_equal(p.buckets[1], "models");
}

static void empty_list_of_classes_stays_empty(void **state)
{
    (void)state;
    struct policy p;
    struct err e = ERR_INIT;
    assert_ok(policy_of("data_classes: []\n", &p, &e));
    assert_int_equal(p.data_class_count, 0);
}

static void misspelt_setting_is_refused(void **state)
{
    (void)state;
    struct policy p;
    struct err e = ERR_INIT;
    assert_int_equal(policy_of("kms_requierd: true\n", &p, &e), ERR_USAGE);
    assert_string_equal(e.text, "policy.yaml:1: kms_requierd: no such setting; did you mean 'kms_required'?");
    assert_int_equal(policy_of("data_classes: [personnel]\n", &p, &e), ERR_USAGE);
}

int main(void)
{
    static const struct CMUnitTest singles[] = {
        cmocka_unit_test(defaults_allow_what_the_cluster_names),
        cmocka_unit_test(settings_are_read),
        cmocka_unit_test(empty_list_of_classes_stays_empty),
        cmocka_unit_test(misspelt_setting_is_refused),
    };
    static struct CMUnitTest tests[ARRAY_LEN(singles) + ARRAY_LEN(rows)];
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        tests[n++] = (struct CMUnitTest){ rows[i].name, job_is_judged, NULL, NULL, (void *)&rows[i] };
    for (size_t i = 0; i < ARRAY_LEN(singles); i++)
        tests[n++] = singles[i];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
