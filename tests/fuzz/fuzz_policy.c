/* Any text as a policy: refused with its place, or taken; and then each question gets an answer that hangs
 * together, the same one twice. */
#include "core/policy/policy.h"
#include "base/mem.h"
#include "tests/fuzz/replay.h"

#include <stdio.h>
#include <string.h>

static const struct policy_place places[] = {
    { "bank-data", STORE_S3, "https://s3.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1", "", "", true, true },
    { "models", STORE_S3, "https://s3.house:7443", "berlin-1", "", "", true, false },
    { "data", STORE_DIR, "", "local", "", "", false, false },
};
static const struct {
    const char *endpoint, *region;
} ends[] = {
    { "https://s3.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1" },
    { "https://s3.house:7443", "berlin-1" },
    { "http://127.0.0.1:9000", "x" },
    { "https://[2001:db8::1]:8", "x" },
    { "https://u@s3.house", "berlin-1" },
    { "", "" },
};

/* Denied: by the first rule that says so, with a reason. Allowed: by none. */
static void check_decision(const struct policy *p, const struct policy_decision *d)
{
    CLEANUP(json_donep) json_t *doc = policy_decision_json(p, d);
    struct err e = ERR_INIT;
    const char *first = "";
    invariant(doc != NULL && d->finding_count > 0 && d->finding_count <= POLICY_RULES_MAX);
    for (size_t i = d->finding_count; i-- > 0;) {
        const struct policy_finding *f = &d->findings[i];
        invariant(f->rule[0] && memchr(f->reason, '\0', sizeof(f->reason)) &&
                  memchr(f->where, '\0', sizeof(f->where)));
        invariant((f->answer == POLICY_ALLOWED) == (f->reason[0] == '\0'));
        first = f->answer == POLICY_DENIED ? f->rule : first;
    }
    invariant(strcmp(first, d->rule) == 0 && d->allowed == (first[0] == '\0'));
    invariant(d->allowed == (d->reason[0] == '\0'));
    invariant(policy_verdict(d, &e) == (d->allowed ? OK : ERR_DENIED));
}

static void ask_job(const struct policy *p, const struct job_spec *spec, const struct dataset *dataset)
{
    CLEANUP(freep) struct policy_decision *d = mem_new(2 * sizeof(*d));
    const struct policy_question q = {
        .spec = spec,
        .dataset = dataset,
        .provider = KEYS_FILE,
        .places = places,
        .place_count = ARRAY_LEN(places),
        .transport = dataset ? "self,vader,tcp" : "self,uct",
    };
    policy_admit(p, &q, &d[0]);
    policy_admit(p, &q, &d[1]);
    check_decision(p, &d[0]);
    invariant(memcmp(&d[0], &d[1], sizeof(d[0])) == 0);
    invariant(p->bucket_count > 0 || !d[0].allowed);
}

static void ask_jobs(const struct policy *p)
{
    CLEANUP(freep) struct job_spec *spec = mem_new(sizeof(*spec));
    struct dataset dataset = { .data_class = CLASS_PERSONAL, .name = "x", .bucket = "data" };
    snprintf(spec->data.train, sizeof(spec->data.train), "s3://data/x");
    snprintf(spec->checkpoint.to, sizeof(spec->checkpoint.to), "s3://models/x");
    snprintf(spec->checkpoint.key, sizeof(spec->checkpoint.key), "demo");
    snprintf(spec->queue, sizeof(spec->queue), "research");
    spec->checkpoint.retain_ms = 86400000;
    ask_job(p, spec, NULL);
    ask_job(p, spec, &dataset);
    spec->checkpoint.lock = STORE_LOCK_COMPLIANCE;
    snprintf(spec->data.train, sizeof(spec->data.train), "file://x.csv");
    ask_job(p, spec, &dataset);
}

static void ask_the_rest(const struct policy *p)
{
    CLEANUP(freep) struct policy_decision *d = mem_new(sizeof(*d));
    const struct store_facts facts = { .location = "eusc-de-east-1", .versioned = true };
    const struct policy_cluster cluster = {
        .places = places,
        .place_count = ARRAY_LEN(places),
        .ledger_bucket = "evidence",
        .provider = KEYS_KMS,
        .kms_endpoint = "https://kms.house",
        .kms_region = "berlin-1",
    };
    policy_check_cluster(p, &cluster, d);
    check_decision(p, d);
    policy_check_facts(p, "models", &facts, d);
    check_decision(p, d);
    policy_check_staging(p, "data", CLASS_INTERNAL, d);
    check_decision(p, d);
    policy_check_export(p, "eva", "admin", EXPORT_MODEL, "outside", d);
    check_decision(p, d);
    invariant(p->export_count > 0 || !d->allowed);
}

static void ask_guards(const struct policy *p)
{
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        struct http_guard guard;
        bool known = policy_guard(p, ends[i].endpoint, ends[i].region, &guard);
        invariant(guard.range_count <= HTTP_RANGES_MAX && guard.tls_required == p->tls.required);
        invariant(known || (guard.range_count == 0 && !guard.pin[0]));
        invariant(!known || (ends[i].endpoint[0] && !strchr(ends[i].endpoint, '@')));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    CLEANUP(freep) struct policy *p = mem_new(sizeof(*p));
    struct err e = ERR_INIT;
    if (policy_read("conf/p.yaml", data, n, p, &e)) {
        invariant(e.code == ERR_USAGE || e.code == ERR_LIMIT);
        invariant(strncmp(e.text, "conf/p.yaml:", 12) == 0);
        return 0;
    }
    ask_jobs(p);
    ask_the_rest(p);
    ask_guards(p);
    return 0;
}

REPLAY_MAIN("policy")
