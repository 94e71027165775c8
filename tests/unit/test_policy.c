/* Decisions: one question a row, with one thing changed from a job that is allowed. */
#include "tests/policy_sample.h"
#include "tests/test.h"

#include "base/mem.h"
#include "core/policy/policy.h"

#include <stdio.h>
#include <string.h>

#define EUSC "https://s3.eusc-de-east-1.amazonaws.eu"
#define DAY_MS 86400000ll

struct world {
    struct policy policy;
    struct job_spec spec;
    struct dataset dataset;
    bool dataset_known;
    int provider;
    struct policy_place places[6];
    size_t place_count;
};

static struct world *world_new(void)
{
    struct world *w = mem_new(sizeof(*w));
    struct err e = ERR_INIT;
    assert_ok(policy_read("conf/policy.yaml", POLICY_SAMPLE, strlen(POLICY_SAMPLE), &w->policy, &e));
    const struct policy_place places[] = {
        { "bank-data", STORE_S3, EUSC, "eusc-de-east-1", "", "", true, true },
        { "models", STORE_S3, EUSC, "eusc-de-east-1", "", "", true, true },
        { "paris-models", STORE_S3, "https://oos.eu-west-2.outscale.com", "eu-west-2", "", "", true, true },
        { "dev-data", STORE_S3, "https://s3.house:7443", "berlin-1", "", "", true, true },
        { "dev-models", STORE_S3, "https://s3.house:7443", "berlin-1", "", "", true, true },
        { "unlisted", STORE_S3, EUSC, "eusc-de-east-1", "", "", true, true },
    };
    memcpy(w->places, places, sizeof(places));
    w->place_count = ARRAY_LEN(places);
    snprintf(w->spec.queue, sizeof(w->spec.queue), "research");
    snprintf(w->spec.data.train, sizeof(w->spec.data.train), "s3://bank-data/credit");
    snprintf(w->spec.checkpoint.to, sizeof(w->spec.checkpoint.to), "s3://models/credit");
    snprintf(w->spec.checkpoint.key, sizeof(w->spec.checkpoint.key), "bank");
    w->spec.checkpoint.lock = STORE_LOCK_COMPLIANCE;
    w->spec.checkpoint.retain_ms = 30 * DAY_MS;
    snprintf(w->dataset.name, sizeof(w->dataset.name), "german-credit");
    snprintf(w->dataset.bucket, sizeof(w->dataset.bucket), "bank-data");
    w->dataset.data_class = CLASS_PERSONAL;
    w->dataset_known = true;
    w->provider = KEYS_PKCS11;
    return w;
}

static struct policy_decision ask(const struct world *w)
{
    struct policy_decision d;
    const struct policy_question q = {
        .spec = &w->spec,
        .dataset = w->dataset_known ? &w->dataset : NULL,
        .provider = w->provider,
        .places = w->places,
        .place_count = w->place_count,
    };
    policy_admit(&w->policy, &q, &d);
    return d;
}

static void set(char *to, const char *text)
{
    memcpy(to, text, strlen(text) + 1);
}
static void models_at(struct world *w, const char *uri)
{
    set(w->spec.checkpoint.to, uri);
}

static void nothing(struct world *w)
{
    (void)w;
}
static void least_lock(struct world *w)
{
    w->spec.checkpoint.lock = STORE_LOCK_GOVERNANCE;
}
static void longest_retention(struct world *w)
{
    w->spec.checkpoint.retain_ms = 400 * DAY_MS;
}
static void unknown_dataset(struct world *w)
{
    w->dataset_known = false;
}
static void no_environments(struct world *w)
{
    w->policy.environment_count = 0;
    set(w->spec.queue, "any");
}
static void any_key(struct world *w)
{
    w->policy.keys.name_count = 0;
    w->policy.environment_count = 0;
    set(w->spec.checkpoint.key, "other");
}
static void in_dev(struct world *w)
{
    set(w->spec.queue, "scratch");
    set(w->spec.data.train, "s3://dev-data/x");
    set(w->dataset.bucket, "dev-data");
    models_at(w, "s3://dev-models/x");
    set(w->spec.checkpoint.key, "dev");
    w->dataset.data_class = CLASS_PUBLIC;
}
static void upper_case_host(struct world *w)
{
    w->places[0].endpoint = "https://S3.EUSC-DE-EAST-1.amazonaws.eu";
}
static void port_said(struct world *w)
{
    w->places[0].endpoint = EUSC ":443";
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
    models_at(w, "s3://elsewhere/credit");
}
static void no_bucket_at_all(struct world *w)
{
    w->spec.checkpoint.to[0] = '\0';
}
static void known_beginning(struct world *w)
{
    models_at(w, "s3://models-2/credit");
}
static void unlisted_bucket(struct world *w)
{
    models_at(w, "s3://unlisted/credit");
}
static void no_place(struct world *w)
{
    w->place_count = 0;
}
static void data_from_models(struct world *w)
{
    set(w->spec.data.train, "s3://models/x");
    set(w->dataset.bucket, "models");
}
static void models_to_data(struct world *w)
{
    models_at(w, "s3://bank-data/x");
}
static void wrong_region(struct world *w)
{
    w->places[1].region = "us-east-1";
}
static void region_that_begins_alike(struct world *w)
{
    w->places[1].region = "eusc-de-east-11";
}
/* eu-west-2 is Paris at OUTSCALE and London at AWS. */
static void london_for_paris(struct world *w)
{
    w->places[2].endpoint = "https://s3.eu-west-2.amazonaws.com";
}
static void london(struct world *w)
{
    models_at(w, "s3://paris-models/x");
    london_for_paris(w);
}
static void evil_ending(struct world *w)
{
    w->places[0].endpoint = EUSC ".evil.example";
}
static void evil_beginning(struct world *w)
{
    w->places[0].endpoint = "https://evils3.eusc-de-east-1.amazonaws.eu";
}
static void evil_below(struct world *w)
{
    w->places[0].endpoint = "https://x.s3.eusc-de-east-1.amazonaws.eu";
}
static void evil_user(struct world *w)
{
    w->places[0].endpoint = "https://s3.eusc-de-east-1.amazonaws.eu@evil.example";
}
static void evil_dot(struct world *w)
{
    w->places[0].endpoint = EUSC ".";
}
static void evil_port(struct world *w)
{
    w->places[0].endpoint = EUSC ":8443";
}
static void an_address(struct world *w)
{
    w->places[0].endpoint = "https://10.20.0.1";
}
static void a_v6_address(struct world *w)
{
    w->places[0].endpoint = "https://[2001:db8::1]";
}
static void a_folder(struct world *w)
{
    w->places[0].kind = STORE_DIR;
}
static void shards_elsewhere(struct world *w)
{
    set(w->dataset.bucket, "dev-data");
}
static void other_class(struct world *w)
{
    w->dataset.data_class = CLASS_PSEUDONYMIZED;
}
static void models_may_not(struct world *w)
{
    w->policy.buckets[1].class_count = 1;
}
static void keys_in_files(struct world *w)
{
    w->provider = KEYS_FILE;
}
static void unlisted_key(struct world *w)
{
    set(w->spec.checkpoint.key, "other");
}
static void queue_of_nobody(struct world *w)
{
    set(w->spec.queue, "other");
}
static void dev_queue(struct world *w)
{
    set(w->spec.queue, "scratch");
}
static void dev_models(struct world *w)
{
    models_at(w, "s3://dev-models/x");
    w->dataset.data_class = CLASS_PUBLIC;
}
static void dev_key(struct world *w)
{
    set(w->spec.checkpoint.key, "dev");
}
static void personal_in_dev(struct world *w)
{
    in_dev(w);
    w->dataset.data_class = CLASS_INTERNAL;
    w->policy.buckets[4].classes[w->policy.buckets[4].class_count++] = CLASS_INTERNAL;
}
static void no_lock(struct world *w)
{
    w->spec.checkpoint.lock = STORE_LOCK_NONE;
    w->spec.checkpoint.retain_ms = 30 * DAY_MS;
}
static void governance_at_outscale(struct world *w)
{
    models_at(w, "s3://paris-models/x");
    w->spec.checkpoint.lock = STORE_LOCK_GOVERNANCE;
}
static void too_short(struct world *w)
{
    w->spec.checkpoint.retain_ms--;
}
static void too_long(struct world *w)
{
    w->spec.checkpoint.retain_ms = 400 * DAY_MS + 1;
}
static void beyond_the_provider(struct world *w)
{
    w->policy.regions[0].provider = 5; /* stackit keeps a year */
    assert_string_equal(policy_provider_names[5], "stackit");
    w->spec.checkpoint.retain_ms = 366 * DAY_MS;
}
static void without_tls(struct world *w)
{
    w->places[0].endpoint = "http://s3.eusc-de-east-1.amazonaws.eu";
}
static void without_authority(struct world *w)
{
    w->places[1].authority = false;
}
static void without_certificate(struct world *w)
{
    w->places[1].client_certificate = false;
}

static void paris_for_nothing(struct world *w)
{
    w->policy.buckets[2].purpose_count = 0;
}
static void paris_without_tls(struct world *w)
{
    w->places[2].endpoint = "http://oos.eu-west-2.outscale.com";
}

static const struct row {
    const char *name;
    void (*change)(struct world *w);
    const char *rule, *says; /* `rule` NULL: allowed */
} rows[] = {
    { "a job that keeps to all of it", nothing, NULL, NULL },
    { "the least lock will do", least_lock, NULL, NULL },
    { "as long as the cap will do", longest_retention, NULL, NULL },
    { "a dataset that was not read is not asked about", unknown_dataset, NULL, NULL },
    { "without environments every queue may", no_environments, NULL, NULL },
    { "without names every key may", any_key, NULL, NULL },
    { "a job of the other environment", in_dev, NULL, NULL },
    { "a host's case does not matter", upper_case_host, NULL, NULL },
    { "the scheme's own port may be said", port_said, NULL, NULL },
    { "a file of the client", file_on_the_client, "data_staged", "stage it" },
    { "data from nobody's bucket", foreign_data_bucket, "bucket",
      "data.train: bucket 'elsewhere' is none of this cluster's" },
    { "models to nobody's bucket", foreign_model_bucket, "bucket", "checkpoint.to: bucket 'elsewhere'" },
    { "models to nowhere", no_bucket_at_all, "bucket", "checkpoint.to:" },
    { "a bucket that begins alike", known_beginning, "bucket", "'models-2'" },
    { "a bucket that the policy does not list", unlisted_bucket, "bucket",
      "'unlisted' is not in the policy" },
    { "a cluster without buckets", no_place, "bucket", "none of this cluster's" },
    { "data from a bucket for models", data_from_models, "purpose", "policy.yaml:10: buckets 'models'" },
    { "models to a bucket for data", models_to_data, "purpose", "is not for models" },
    { "another region", wrong_region, "region",
      "policy.yaml:4: regions 'eu': bucket 'models' is configured in region 'us-east-1'" },
    { "a region that begins alike", region_that_begins_alike, "region", "'eusc-de-east-11'" },
    { "London for Paris: one region's name, two providers", london, "region",
      "'https://s3.eu-west-2.amazonaws.com', which is no endpoint of region 'paris'" },
    { "a host with an ending of its own", evil_ending, "region", "evil.example" },
    { "a host with a beginning of its own", evil_beginning, "region", "evils3" },
    { "a host below an exact one", evil_below, "region", "x.s3" },
    { "a host behind a user", evil_user, "region", "no endpoint" },
    { "a host with a dot at its end", evil_dot, "region", "no endpoint" },
    { "a host at another port", evil_port, "region", ":8443" },
    { "an address in place of the host", an_address, "region", "10.20.0.1" },
    { "an address of version 6", a_v6_address, "region", "no endpoint" },
    { "a folder in place of the service", a_folder, "region", "configured as a dir store" },
    { "shards elsewhere", shards_elsewhere, "data_bucket", "'dev-data'" },
    { "a class that the bucket may not hold", other_class, "data_class",
      "pseudonymized data, which bucket 'bank-data' may not hold" },
    { "a model of a class that its bucket may not hold", models_may_not, "data_class",
      "a model of dataset 'german-credit'" },
    { "keys in files", keys_in_files, "key", "policy.yaml:15: keys: the cluster's key provider is 'file'" },
    { "a key that is not listed", unlisted_key, "key", "'other', which keys.names does not list" },
    { "a queue of no environment", queue_of_nobody, "environment", "queue 'other' is in none" },
    { "the production's data from development", dev_queue, "environment",
      "environment 'dev', which may not use bucket 'bank-data'" },
    { "development's bucket from production", dev_models, "environment",
      "environment 'prod', which may not use bucket 'dev-models'" },
    { "development's key in production", dev_key, "environment", "may not use key 'dev'" },
    { "a class that the environment may not train on", personal_in_dev, "environment",
      "may not train on internal data" },
    { "no lock", no_lock, "lock",
      "policy.yaml:16: locks: checkpoint.lock is none, but at least governance is required" },
    { "a mode that the provider does not have", governance_at_outscale, "lock",
      "set checkpoint.lock: compliance" },
    { "a millisecond too short", too_short, "retain",
      "at least 30d is required: set checkpoint.retain: 30d" },
    { "a millisecond beyond the cap", too_long, "retain", "at most 400d is allowed" },
    { "longer than the provider keeps", beyond_the_provider, "retain", "at most 365d" },
    { "without TLS", without_tls, "tls", "without TLS" },
    { "any authority", without_authority, "tls", "name its own (ca_file)" },
    { "no certificate of ours", without_certificate, "tls", "without a certificate of ours" },
};

static const struct from_row {
    const char *name;
    void (*change)(struct world *w);
    const char *rule, *says, *from; /* `from`: model.from */
} from_rows[] = {
    { "from one of our models", nothing, NULL, NULL, "s3://models/j/model/1.json" },
    { "from a model that lies beside data", nothing, NULL, NULL, "s3://bank-data/gpt2.safetensors" },
    { "from nobody's bucket", nothing, "bucket", "model.from: bucket 'elsewhere'", "s3://elsewhere/x" },
    { "from what is no URI", nothing, "bucket", "model.from:", "gpt2.safetensors" },
    { "from a bucket for neither", paris_for_nothing, "purpose", "model.from: bucket",
      "s3://paris-models/x" },
    { "from development", nothing, "environment", "not use bucket 'dev-models'", "s3://dev-models/x" },
    { "from London for Paris", london_for_paris, "region", "no endpoint of region", "s3://paris-models/x" },
    { "from where there is no TLS", paris_without_tls, "tls", "without TLS", "s3://paris-models/x" },
};

static void admit(const struct row *row, const char *from)
{
    CLEANUP(freep) struct world *w = world_new();
    row->change(w);
    set(w->spec.model.from, from);
    const struct policy_decision d = ask(w);
    if (!row->rule) {
        if (!d.allowed)
            fail_msg("%s: %s", d.rule, d.reason);
        assert_string_equal(d.rule, "");
        return;
    }
    assert_false(d.allowed);
    assert_string_equal(d.rule, row->rule);
    if (!strstr(d.reason, row->says))
        fail_msg("'%s' lacks '%s'", d.reason, row->says);
}
static void admits(void **state)
{
    admit(*state, "");
}
static void begins(void **state)
{
    const struct from_row *r = *state;
    admit(&(struct row){ r->name, r->change, r->rule, r->says }, r->from);
}
static void every_denial_is_listed_and_the_first_decides(void **state)
{
    CLEANUP(freep) struct world *w = world_new();
    (void)state;
    no_lock(w);
    w->spec.checkpoint.retain_ms = 0;
    unlisted_key(w);
    unknown_dataset(w);
    const struct policy_decision d = ask(w);
    assert_string_equal(d.rule, "key");
    size_t denied = 0, open = 0;
    for (size_t i = 0; i < d.finding_count; i++) {
        denied += d.findings[i].answer == POLICY_DENIED;
        open += d.findings[i].answer == POLICY_NOT_ASKED;
        assert_true(d.findings[i].where[0] != '\0');
    }
    assert_int_equal(denied, 4); /* key, environment (its keys), lock, retain */
    assert_int_equal(open, 3);   /* what only the dataset can tell; networks, as none are named */
    assert_int_equal(d.finding_count, 12);
}

static void a_decision_says_which_policy_it_is_of(void **state)
{
    CLEANUP(freep) struct world *w = world_new();
    const struct policy_decision d = ask(w);
    CLEANUP(json_donep) json_t *doc = policy_decision_json(&w->policy, &d);
    (void)state;
    assert_int_equal(strlen(w->policy.digest), 64);
    assert_string_equal(json_text_or(doc, "sha256", ""), w->policy.digest);
    assert_string_equal(json_text_or(doc, "policy", ""), "bank");
    assert_string_equal(w->policy.file, "policy.yaml");
}

/* ---- the guard ---- */

static void a_guard_is_its_regions(void **state)
{
    CLEANUP(freep) struct world *w = world_new();
    struct http_guard g;
    (void)state;
    assert_true(policy_guard(&w->policy, EUSC, "eusc-de-east-1", &g));
    assert_true(http_guard_allows_text(&g, "10.20.255.1") && http_guard_allows_text(&g, "2001:db8::1"));
    assert_false(http_guard_allows_text(&g, "10.30.0.1") || http_guard_allows_text(&g, "127.0.0.1"));
    assert_true(g.tls_required);
    assert_string_equal(g.pin, "");
    assert_true(policy_guard(&w->policy, "https://s3.house:7443", "berlin-1", &g));
    assert_string_equal(g.pin, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    assert_true(http_guard_allows_text(&g, "10.30.0.1"));
}

static void what_no_region_has_is_reached_on_loopback_at_most(void **state)
{
    static const char *const strangers[] = {
        "https://s3.evil",   EUSC ".evil",          EUSC /* of another region */,
        "https://kms.house", "ftp://s3.house:7443", ""
    };
    CLEANUP(freep) struct world *w = world_new();
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(strangers); i++) {
        struct http_guard g;
        assert_false(policy_guard(&w->policy, strangers[i], i % 2 ? "eusc-de-east-1" : "berlin-1", &g));
        assert_false(http_guard_allows_text(&g, "10.20.0.1"));
        assert_true(http_guard_allows_text(&g, "127.0.0.1"));
    }
}

/* ---- what a store says, staging, exports ---- */

static const struct facts_row {
    const char *name, *bucket;
    struct store_facts facts;
    const char *rule; /* NULL: allowed */
} facts_rows[] = {
    { "as the policy has it",
      "models",
      { .location = "eusc-de-east-1", .versioned = true, .lockable = true },
      NULL },
    { "in another place than it says",
      "models",
      { .location = "us-east-1", .versioned = true, .lockable = true },
      "region" },
    { "in no place", "models", { .location = "", .versioned = true, .lockable = true }, "region" },
    { "without versions", "models", { .location = "eusc-de-east-1", .lockable = true }, "lock" },
    { "models without object lock", "models", { .location = "eusc-de-east-1", .versioned = true }, "lock" },
    { "data without object lock", "bank-data", { .location = "eusc-de-east-1", .versioned = true }, NULL },
    { "locked by default beyond the cap",
      "models",
      { .location = "eusc-de-east-1",
        .versioned = true,
        .lockable = true,
        .default_lock = { .mode = STORE_LOCK_COMPLIANCE, .retain_until_ms = 1825 * DAY_MS } },
      "lock" },
    { "a bucket of nobody",
      "unlisted",
      { .location = "eusc-de-east-1", .versioned = true, .lockable = true },
      "region" },
};

static void reads_back(void **state)
{
    const struct facts_row *row = *state;
    CLEANUP(freep) struct world *w = world_new();
    struct policy_decision d;
    policy_check_facts(&w->policy, row->bucket, &row->facts, &d);
    assert_string_equal(d.rule, row->rule ? row->rule : "");
    assert_int_equal(d.allowed, !row->rule);
}

static void staging_asks_for_place_and_class(void **state)
{
    static const struct {
        const char *bucket;
        enum data_class class;
        const char *rule;
    } cases[] = {
        { "bank-data", CLASS_PERSONAL, "" },          { "bank-data", CLASS_PSEUDONYMIZED, "data_class" },
        { "models", CLASS_PUBLIC, "purpose" },        { "evidence", CLASS_PUBLIC, "purpose" },
        { "nowhere", CLASS_PUBLIC, "bucket" },        { "dev-data", CLASS_INTERNAL, "" },
        { "dev-data", CLASS_PERSONAL, "data_class" },
    };
    CLEANUP(freep) struct world *w = world_new();
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct policy_decision d;
        policy_check_staging(&w->policy, cases[i].bucket, cases[i].class, &d);
        assert_string_equal(d.rule, cases[i].rule);
    }
}

static void nothing_leaves_but_what_a_row_lets_out(void **state)
{
    static const struct {
        const char *user, *role;
        enum policy_kind kind;
        const char *to;
        bool allowed;
    } cases[] = {
        { "eva", "auditor", EXPORT_METRICS, "outside", true },
        { "root", "admin", EXPORT_REPORT, "house", true },
        { "eva", "auditor", EXPORT_MODEL, "outside", false },
        { "bob", "engineer", EXPORT_METRICS, "outside", false },
        { "eva", "auditor", EXPORT_METRICS, "paris", false },
    };
    CLEANUP(freep) struct world *w = world_new();
    struct policy_decision d;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        policy_check_export(&w->policy, cases[i].user, cases[i].role, cases[i].kind, cases[i].to, &d);
        assert_int_equal(d.allowed, cases[i].allowed);
    }
    /* The row that comes nearest, and what would be enough. */
    char nearest[64];
    snprintf(nearest, sizeof(nearest), ":%d: exports", (int)w->policy.exports[0].line);
    policy_check_export(&w->policy, "eva", "auditor", EXPORT_MODEL, "outside", &d);
    assert_non_null(strstr(d.reason, nearest));
    assert_non_null(strstr(d.reason, "{ who: [eva], kinds: [model], to: [outside] } would"));
    assert_string_equal(d.rule, "export");
    w->policy.export_count = 0;
    policy_check_export(&w->policy, "root", "admin", EXPORT_METRICS, "house", &d);
    assert_false(d.allowed);
    assert_non_null(strstr(d.reason, ": exports: no row lets 'root' (role admin)"));
}

#define ADD_ROWS(list, fn)                                                                                   \
    for (size_t i_ = 0; i_ < ARRAY_LEN(list); i_++)                                                          \
        tests[count++] = (struct CMUnitTest)                                                                 \
        {                                                                                                    \
            (list)[i_].name, fn, NULL, NULL, (void *)(uintptr_t) & (list)[i_]                                \
        }

int main(void)
{
    static const struct CMUnitTest whole[] = {
        cmocka_unit_test(every_denial_is_listed_and_the_first_decides),
        cmocka_unit_test(a_decision_says_which_policy_it_is_of),
        cmocka_unit_test(a_guard_is_its_regions),
        cmocka_unit_test(what_no_region_has_is_reached_on_loopback_at_most),
        cmocka_unit_test(staging_asks_for_place_and_class),
        cmocka_unit_test(nothing_leaves_but_what_a_row_lets_out),
    };
    static struct CMUnitTest
        tests[ARRAY_LEN(rows) + ARRAY_LEN(from_rows) + ARRAY_LEN(facts_rows) + ARRAY_LEN(whole)];
    size_t count = 0;
    ADD_ROWS(rows, admits);
    ADD_ROWS(from_rows, begins);
    ADD_ROWS(facts_rows, reads_back);
    memcpy(&tests[count], whole, sizeof(whole));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
