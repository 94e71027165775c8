/* The documents of configs/policies: every file of the folder is taken, and each decides what its comments
 * say. */
#include "tests/test.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/mem.h"
#include "core/policy/policy.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#define FOLDER "configs/policies/"
#define DAY_MS 86400000ll
#define EUSC "https://s3.eusc-de-east-1.amazonaws.eu"

/* ---- jobs ---- */

static const struct policy_place here[] = {
    { "data", STORE_DIR, "", "local", "", "", false, false },
    { "models", STORE_DIR, "", "local", "", "", false, false },
};
static const struct policy_place halls[] = {
    { "patients", STORE_S3, "https://s3.north.example:7443", "hall-north", "", "", true, true },
    { "models-north", STORE_S3, "https://s3.north.example:7443", "hall-north", "", "", true, true },
    { "open-data", STORE_S3, "https://s3.south.example:7443", "hall-south", "", "", true, true },
    { "models-south", STORE_S3, "https://s3.south.example:7443", "hall-south", "", "", true, true },
};
static const struct policy_place eusc[] = {
    { "acme-train", STORE_S3, EUSC, "eusc-de-east-1", "", "", false, false },
    { "acme-models", STORE_S3, EUSC, "eusc-de-east-1", "", "", false, false },
};
static const struct policy_place frankfurt[] = {
    { "acme-train", STORE_S3, "https://s3.eu-central-1.amazonaws.com", "eu-central-1", "", "", false, false },
    { "acme-models", STORE_S3, EUSC, "eusc-de-east-1", "", "", false, false },
};
static const struct policy_place two[] = {
    { "prod-data", STORE_S3, "https://s3.fr-par.scw.cloud", "fr-par", "", "", false, false },
    { "prod-models", STORE_S3, "https://s3.fr-par.scw.cloud", "fr-par", "", "", false, false },
    { "dev-data", STORE_S3, "https://s3.gra.io.cloud.ovh.net", "gra", "", "", false, false },
    { "dev-models", STORE_S3, "https://s3.gra.io.cloud.ovh.net", "gra", "", "", false, false },
};

static const struct row {
    const char *name, *file;
    const struct policy_place *places;
    size_t place_count;
    const char *train, *to, *queue, *key;
    int provider, data_class, lock;
    int64_t retain_days;
    const char *rule; /* that denies; NULL: allowed */
} rows[] = {
#define HERE here, ARRAY_LEN(here), "s3://data/x", "s3://models/x"
    { "embedded: a try-out", "embedded.yaml", HERE, "any", "demo", KEYS_FILE, CLASS_PERSONAL, STORE_LOCK_NONE,
      0, NULL },
    { "embedded: a lock for a day", "embedded.yaml", HERE, "any", "demo", KEYS_FILE, CLASS_PERSONAL,
      STORE_LOCK_COMPLIANCE, 1, NULL },
    { "embedded: no longer than that", "embedded.yaml", HERE, "any", "demo", KEYS_FILE, CLASS_PERSONAL,
      STORE_LOCK_COMPLIANCE, 2, "retain" },
    { "embedded: keys in files alone", "embedded.yaml", HERE, "any", "demo", KEYS_PKCS11, CLASS_PERSONAL,
      STORE_LOCK_NONE, 0, "key" },
#define HALLS(train, to) halls, ARRAY_LEN(halls), "s3://" train "/x", "s3://" to "/x"
    { "on-prem: patients in the north", "on-prem-ceph.yaml", HALLS("patients", "models-north"), "any",
      "clinic", KEYS_PKCS11, CLASS_PERSONAL, STORE_LOCK_COMPLIANCE, 90, NULL },
    { "on-prem: their model does not go south", "on-prem-ceph.yaml", HALLS("patients", "models-south"), "any",
      "clinic", KEYS_PKCS11, CLASS_PERSONAL, STORE_LOCK_COMPLIANCE, 90, "data_class" },
    { "on-prem: open data stays in the south", "on-prem-ceph.yaml", HALLS("open-data", "models-south"), "any",
      "open", KEYS_PKCS11, CLASS_PUBLIC, STORE_LOCK_COMPLIANCE, 90, NULL },
    { "on-prem: governance is not enough", "on-prem-ceph.yaml", HALLS("patients", "models-north"), "any",
      "clinic", KEYS_PKCS11, CLASS_PERSONAL, STORE_LOCK_GOVERNANCE, 90, "lock" },
    { "on-prem: no keys in files", "on-prem-ceph.yaml", HALLS("patients", "models-north"), "any", "clinic",
      KEYS_FILE, CLASS_PERSONAL, STORE_LOCK_COMPLIANCE, 90, "key" },
#define EUSC_JOB(places) places, ARRAY_LEN(places), "s3://acme-train/x", "s3://acme-models/x"
    { "eusc: inside", "aws-eusc.yaml", EUSC_JOB(eusc), "any", "train", KEYS_KMS, CLASS_PERSONAL,
      STORE_LOCK_COMPLIANCE, 30, NULL },
    { "eusc: Frankfurt is another provider's region", "aws-eusc.yaml", EUSC_JOB(frankfurt), "any", "train",
      KEYS_KMS, CLASS_PERSONAL, STORE_LOCK_COMPLIANCE, 30, "region" },
    { "eusc: another key", "aws-eusc.yaml", EUSC_JOB(eusc), "any", "test", KEYS_KMS, CLASS_PERSONAL,
      STORE_LOCK_COMPLIANCE, 30, "key" },
    { "eusc: a slip of the pen", "aws-eusc.yaml", EUSC_JOB(eusc), "any", "train", KEYS_KMS, CLASS_PERSONAL,
      STORE_LOCK_COMPLIANCE, 4000, "retain" },
#define TWO(train, to) two, ARRAY_LEN(two), "s3://" train "/x", "s3://" to "/x"
    { "dev-prod: production", "dev-prod.yaml", TWO("prod-data", "prod-models"), "nightly", "prod",
      KEYS_PKCS11, CLASS_PERSONAL, STORE_LOCK_GOVERNANCE, 1, NULL },
    { "dev-prod: a trial", "dev-prod.yaml", TWO("dev-data", "dev-models"), "trial", "dev", KEYS_PKCS11,
      CLASS_PUBLIC, STORE_LOCK_GOVERNANCE, 1, NULL },
    { "dev-prod: a trial on production's data", "dev-prod.yaml", TWO("prod-data", "dev-models"), "trial",
      "dev", KEYS_PKCS11, CLASS_PUBLIC, STORE_LOCK_GOVERNANCE, 1, "environment" },
    { "dev-prod: a trial under production's key", "dev-prod.yaml", TWO("dev-data", "dev-models"), "trial",
      "prod", KEYS_PKCS11, CLASS_PUBLIC, STORE_LOCK_GOVERNANCE, 1, "environment" },
    { "dev-prod: internal data lies there, and is not trained on", "dev-prod.yaml",
      TWO("dev-data", "dev-models"), "trial", "dev", KEYS_PKCS11, CLASS_INTERNAL, STORE_LOCK_GOVERNANCE, 1,
      "environment" },
    { "dev-prod: a queue of no environment", "dev-prod.yaml", TWO("dev-data", "dev-models"), "other", "dev",
      KEYS_PKCS11, CLASS_PUBLIC, STORE_LOCK_GOVERNANCE, 1, "environment" },
};

static struct policy *read_example(const char *name)
{
    CLEANUP(freep) char *path = path_join(FOLDER, name);
    struct policy *p = mem_new(sizeof(*p));
    struct err e = ERR_INIT;
    assert_ok(policy_read_file(path, p, &e));
    return p;
}

static void decides(void **state)
{
    const struct row *row = *state;
    CLEANUP(freep) struct policy *p = read_example(row->file);
    CLEANUP(freep) struct job_spec *spec = mem_new(sizeof(*spec));
    CLEANUP(freep) struct policy_decision *d = mem_new(sizeof(*d));
    struct dataset dataset = { .data_class = (enum data_class)row->data_class };
    char key[STORE_KEY_BYTES];
    struct err e = ERR_INIT;

    snprintf(dataset.name, sizeof(dataset.name), "x");
    assert_ok(store_uri_parse(row->train, dataset.bucket, key, &e));
    snprintf(spec->data.train, sizeof(spec->data.train), "%s", row->train);
    snprintf(spec->checkpoint.to, sizeof(spec->checkpoint.to), "%s", row->to);
    snprintf(spec->checkpoint.key, sizeof(spec->checkpoint.key), "%s", row->key);
    snprintf(spec->queue, sizeof(spec->queue), "%s", row->queue);
    spec->checkpoint.lock = row->lock;
    spec->checkpoint.retain_ms = row->retain_days * DAY_MS;
    const struct policy_question q = {
        .spec = spec,
        .dataset = &dataset,
        .provider = row->provider,
        .places = row->places,
        .place_count = row->place_count,
    };
    policy_admit(p, &q, d);
    if (d->allowed != !row->rule || strcmp(d->rule, row->rule ? row->rule : "") != 0)
        fail_msg("'%s': %s", d->rule, d->reason);
}

/* ---- exports and guards ---- */

static const struct export_row {
    const char *file, *user, *role, *to;
    enum policy_kind kind;
    bool allowed;
} export_rows[] = {
    { "embedded.yaml", "root", "admin", "here", EXPORT_METRICS, false },
    { "embedded.yaml", "root", "admin", "outside", EXPORT_MODEL, true },
    { "embedded.yaml", "token", "engineer", "outside", EXPORT_MODEL, false },
    { "aws-eusc.yaml", "eva", "admin", "outside", EXPORT_METRICS, true },
    { "aws-eusc.yaml", "eva", "admin", "outside", EXPORT_MODEL, false },
    { "aws-eusc.yaml", "eva", "user", "outside", EXPORT_METRICS, false },
    { "on-prem-ceph.yaml", "eva", "admin", "south", EXPORT_REPORT, true },
    { "on-prem-ceph.yaml", "eva", "admin", "outside", EXPORT_REPORT, false },
    { "dev-prod.yaml", "eva", "user", "outside", EXPORT_REPORT, true },
    { "dev-prod.yaml", "eva", "user", "gravelines", EXPORT_MODEL, false },
    { "dev-prod.yaml", "adam", "admin", "gravelines", EXPORT_MODEL, true },
};

static void lets_out_what_it_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(export_rows); i++) {
        const struct export_row *x = &export_rows[i];
        CLEANUP(freep) struct policy *p = read_example(x->file);
        CLEANUP(freep) struct policy_decision *d = mem_new(sizeof(*d));
        policy_check_export(p, x->user, x->role, x->kind, x->to, d);
        if (d->allowed != x->allowed)
            fail_msg("%s: %s to %s", x->file, x->user, x->to);
    }
}

static const struct guard_row {
    const char *file, *endpoint, *region;
    bool known;
    uint32_t ranges;
} guard_rows[] = {
    { "embedded.yaml", EUSC, "eusc-de-east-1", false, 0 },
    { "aws-eusc.yaml", EUSC, "eusc-de-east-1", true, 2 },
    { "aws-eusc.yaml", EUSC, "eu-central-1", false, 0 },
    { "aws-eusc.yaml", "https://acme-train.s3.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1", true, 2 },
    { "aws-eusc.yaml", "https://kms.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1", true, 2 },
    { "aws-eusc.yaml", "https://kms.eu-central-1.amazonaws.com", "eusc-de-east-1", false, 0 },
    { "on-prem-ceph.yaml", "https://s3.north.example:7443", "hall-north", true, 2 },
    { "on-prem-ceph.yaml", "https://s3.north.example:7443", "hall-south", false, 0 },
    { "on-prem-ceph.yaml", "https://s3.north.example", "hall-north", false, 0 },
    { "dev-prod.yaml", "https://s3.fr-par.scw.cloud", "fr-par", true, 1 },
    { "dev-prod.yaml", "https://s3.nl-ams.scw.cloud", "nl-ams", false, 0 },
};

static void guards_what_it_names(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(guard_rows); i++) {
        const struct guard_row *x = &guard_rows[i];
        CLEANUP(freep) struct policy *p = read_example(x->file);
        struct http_guard guard;
        bool known = policy_guard(p, x->endpoint, x->region, &guard);
        if (known != x->known || guard.range_count != x->ranges)
            fail_msg("%s: %s: %d, %u ranges", x->file, x->endpoint, known, guard.range_count);
    }
}

/* ---- the folder ---- */

static bool is_asked(const char *file)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (strcmp(rows[i].file, file) == 0)
            return true;
    return false;
}

static void every_file_is_a_policy_and_is_asked(void **state)
{
    (void)state;
    size_t count = 0;
    DIR *folder = opendir(FOLDER);
    assert_non_null(folder);
    for (const struct dirent *entry = readdir(folder); entry; entry = readdir(folder)) {
        if (entry->d_name[0] == '.')
            continue;
        CLEANUP(freep) struct policy *p = read_example(entry->d_name);
        assert_true(p->region_count > 0);
        if (!is_asked(entry->d_name))
            fail_msg("no row of this test asks %s", entry->d_name);
        count++;
    }
    closedir(folder);
    assert_int_equal(count, 4);
}

int main(void)
{
    static const struct CMUnitTest whole[] = {
        cmocka_unit_test(every_file_is_a_policy_and_is_asked),
        cmocka_unit_test(lets_out_what_it_says),
        cmocka_unit_test(guards_what_it_names),
    };
    static struct CMUnitTest tests[ARRAY_LEN(rows) + ARRAY_LEN(whole)];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        tests[i] = (struct CMUnitTest){ rows[i].name, decides, NULL, NULL, (void *)(uintptr_t)&rows[i] };
    memcpy(&tests[ARRAY_LEN(rows)], whole, sizeof(whole));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
