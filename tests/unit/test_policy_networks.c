/* The rule `networks`: what ranks on several hosts may talk by. */
#include "tests/test.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "core/policy/policy.h"

#include <stdio.h>
#include <string.h>

static const char document[] =
    "version: 1\n"
    "name: p\n"
    "regions:\n"
    "  - { name: here, provider: local, region: local }\n"
    "  - { name: there, provider: local, region: local, networks: [10.99.0.0/16] }\n"
    "buckets:\n"
    "  - { name: data, region: here, purposes: [data], classes: [public] }\n"
    "  - { name: models, region: there, purposes: [models], classes: [public] }\n"
    "keys: { providers: [file] }\n";

static const struct row {
    const char *name, *networks[2], *transport;
    enum policy_answer answer;
    const char *says;
} rows[] = {
    { "none are named", { NULL }, "self,tcp", POLICY_NOT_ASKED, "names no networks" },
    { "ranks on one host need none", { "10.20.0.0/16" }, "self,vader", POLICY_NOT_ASKED, "on one host" },
    { "as by default", { "10.20.0.0/16" }, NULL, POLICY_NOT_ASKED, "on one host" },
    { "tcp is pinned", { "10.20.0.0/16", "fd00:20::/64" }, "self,vader,tcp", POLICY_ALLOWED, "" },
    { "another fabric is not",
      { "10.20.0.0/16" },
      "self,vader,uct",
      POLICY_DENIED,
      "only tcp keeps to networks" },
    { "nor all but one", { "10.20.0.0/16" }, "^openib", POLICY_DENIED, "only tcp keeps to networks" },
    { "nor a name that begins alike", { "10.20.0.0/16" }, "self,tcp2", POLICY_DENIED, "only tcp" },
    { "version 6 alone cannot be", { "fd00:20::/64" }, "self,tcp", POLICY_DENIED, "IPv4 networks alone" },
};

static void decides(void **state)
{
    static const struct policy_place places[] = { { .bucket = "data", .endpoint = "", .region = "local" },
                                                  { .bucket = "models", .endpoint = "", .region = "local" } };
    const struct row *row = *state;
    CLEANUP(freep) struct policy *p = mem_new(sizeof(*p));
    CLEANUP(freep) struct job_spec *spec = mem_new(sizeof(*spec));
    CLEANUP(freep) struct policy_decision *d = mem_new(sizeof(*d));
    struct err e = ERR_INIT;
    assert_ok(policy_read("policy.yaml", document, sizeof(document) - 1, p, &e));
    struct policy_region *here = &p->regions[0];
    for (size_t i = 0; i < ARRAY_LEN(row->networks) && row->networks[i]; i++)
        assert_ok(http_range_parse(row->networks[i], &here->networks[here->network_count++], &e));
    snprintf(spec->data.train, sizeof(spec->data.train), "s3://data/x");
    snprintf(spec->checkpoint.to, sizeof(spec->checkpoint.to), "s3://models/x");
    const struct policy_question q = { .spec = spec,
                                       .provider = KEYS_FILE,
                                       .places = places,
                                       .place_count = ARRAY_LEN(places),
                                       .transport = row->transport };
    policy_admit(p, &q, d);
    const struct policy_finding *f = &d->findings[d->finding_count - 1];
    assert_string_equal(f->rule, "networks");
    assert_int_equal(f->answer, row->answer);
    assert_string_equal(d->rule, row->answer == POLICY_DENIED ? "networks" : "");
    assert_string_equal(f->where, "policy.yaml:4: regions 'here'");
    if (!strstr(f->reason, row->says))
        fail_msg("'%s' lacks '%s'", f->reason, row->says);
}

int main(void)
{
    static struct CMUnitTest tests[ARRAY_LEN(rows)];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        tests[i] = (struct CMUnitTest){ rows[i].name, decides, NULL, NULL, (void *)&rows[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
