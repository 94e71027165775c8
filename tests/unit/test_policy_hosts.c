/* Hosts against patterns, the clouds that are known by name, and documents that are none. */
#include "tests/policy_sample.h"
#include "tests/test.h"

#include "base/mem.h"
#include "core/policy/endpoint.h"
#include "core/policy/presets.h"

#include <string.h>

/* ---- hosts ---- */

static const struct host_row {
    const char *pattern, *url;
    bool fits;
} host_rows[] = {
    { "a.b", "https://a.b", true },
    { "a.b", "https://a.b:443", true },
    { "a.b:443", "https://a.b", true },
    { "a.b", "http://a.b", true },
    { "a.b:443", "http://a.b", false },
    { "a.b:8443", "https://a.b:8443", true },
    { "a.b", "https://a.b:8443", false },
    { "*.b", "https://a.b", false },
    { "*.c.b", "https://a.c.b", true },
    { "*.c.b", "https://x.a.c.b", true },
    { "*.c.b", "https://c.b", false },
    { "*.c.b", "https://ac.b", false },
    { "*.a.b", "https://xa.b", false },
    { "a.b", "https://a.b/", false },
    { "a.b", "https://u@a.b", false },
    { "a.b", "https://a.b#x", false },
    { "a.b", "https://a.b\\@x", false },
    { "a.b", "https://a..b", false },
    { "a.b", "https://.a.b", false },
    { "a.b", "https://a.b:0", false },
    { "a.b", "https://a.b:65536", false },
    { "a.b", "https://a.b:", false },
    { "a.b", "https://a.b:443:443", false },
    { "2001:db8::1", "https://[2001:db8::1]", false },
    { "[2001:db8::1]", "https://[2001:db8::1]", true },
    { "[2001:db8::1]:8", "https://[2001:db8::1]:8", true },
    { "a.b", "https://\xd0\xb0.b", false },
};

static void a_host_fits_its_pattern_alone(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(host_rows); i++) {
        struct endpoint at;
        bool fits = endpoint_parse(host_rows[i].url, &at) && endpoint_fits(host_rows[i].pattern, &at);
        if (fits != host_rows[i].fits)
            fail_msg("'%s' and '%s'", host_rows[i].pattern, host_rows[i].url);
    }
}

/* ---- the presets ---- */

static void presets_are_whole(void **state)
{
    (void)state;
    for (int i = PROVIDER_S3 + 1; policy_provider_names[i]; i++) {
        CLEANUP(buf_done) struct buf regions = BUF_INIT(1024);
        preset_regions(i, &regions);
        assert_true(regions.len > 0);
        assert_null(preset_find(i, "us-east-1"));
        assert_null(preset_find(i, ""));
    }
    assert_string_equal(preset_find(2, "eusc-de-east-1")->endpoint, "s3.eusc-de-east-1.amazonaws.eu");
}

/* ---- documents ---- */

#define HEAD "version: 1\nname: p\n"
#define FOUR(n) "10." n ".0.0/24, 10." n ".1.0/24, 10." n ".2.0/24, 10." n ".3.0/24, "
#define SEVENTEEN FOUR("0") FOUR("1") FOUR("2") FOUR("3") "10.9.0.0/24"
#define REGION "regions: [{ name: here, provider: local, region: local }]\n"

static const struct document_row {
    const char *text, *says; /* `says` NULL: taken */
} document_rows[] = {
    { HEAD, NULL }, /* and allows nothing */
    { POLICY_SAMPLE, NULL },
    { "name: p\n", "version: must be given" },
    { "version: 2\nname: p\n", "version: must be" },
    { HEAD "region: []\n", ":3: region: no such setting; did you mean 'regions'?" },
    { HEAD "regions: [{ name: a, provider: aws-eusc, region: us-east-1 }]\n",
      "has no region 'us-east-1'; it has eusc-de-east-1" },
    { HEAD "regions: [{ name: a, provider: aws, region: eu-west-2 }]\n", "provider: must be" },
    { HEAD "regions: [{ name: a, provider: s3, region: x }]\n", "an object store needs its endpoints" },
    { HEAD "regions: [{ name: a, provider: s3, region: x, endpoints: [\"https://h\"] }]\n",
      "must be HOST, HOST:PORT" },
    { HEAD "regions: [{ name: a, provider: s3, region: x, endpoints: [H] }]\n", "in lower case" },
    { HEAD "regions: [{ name: a, provider: s3, region: x, endpoints: [\"*.*\"] }]\n", "must be HOST" },
    { HEAD "regions: [{ name: a, provider: s3, region: x, endpoints: [\"*.eu\"] }]\n", "must be HOST" },
    { HEAD "regions: [{ name: a, provider: s3, region: x, endpoints: [h], ranges: [0.0.0.0/0] }]\n",
      "guards nothing" },
    { HEAD "regions: [{ name: a, provider: s3, region: x, endpoints: [h], ranges: [\"::/0\"] }]\n",
      "guards nothing" },
    { HEAD "regions: [{ name: a, provider: s3, region: x, endpoints: [h], ranges: [10.0.0.1/8] }]\n",
      "bits set behind" },
    { HEAD "regions: [{ name: a, provider: local, region: x, networks: [10.20.0.0/16, \"fd00:20::/64\"] }]\n",
      NULL },
    { HEAD "regions: [{ name: a, provider: local, region: x, networks: [eth1] }]\n",
      ":3: regions[0].networks[0]: must be an address range" },
    { HEAD "regions: [{ name: a, provider: local, region: x, networks: [10.20.0.1/16] }]\n",
      "bits set behind" },
    { HEAD "regions: [{ name: a, provider: local, region: x, networks: [10.20.0.0/33] }]\n", "0 to 32 bits" },
    { HEAD "regions: [{ name: a, provider: local, region: x, networks: [0.0.0.0/0] }]\n", "guards nothing" },
    { HEAD "regions: [{ name: a, provider: local, region: x, networks: [" SEVENTEEN "] }]\n", "at most 16" },
    { HEAD "regions: [{ name: a, provider: local, region: x, network: [10.0.0.0/8] }]\n",
      "did you mean 'networks'?" },
    { HEAD "regions: [{ name: a, provider: local, region: x, ranges: [10.0.0.0/8] }]\n",
      "neither endpoints nor ranges" },
    { HEAD REGION "buckets: [{ name: b, region: there, purposes: [data] }]\n",
      ":4: buckets[0]: bucket 'b' lies in region 'there'" },
    { HEAD REGION "buckets: [{ name: b, region: here }]\n", "is for nothing" },
    { HEAD REGION
      "buckets: [{ name: b, region: here, purposes: [data] }, { name: b, region: here, purposes: [data] }]\n",
      "'b' is described twice" },
    { HEAD "regions: [{ name: a, provider: local, region: x }, { name: a, provider: local, region: y }]\n",
      "described twice" },
    { HEAD "locks: { retain_min: 2d, retain_max: 1d }\n", "retain_max is below retain_min" },
    { HEAD "locks: { min: compliance }\n", "a lock needs a time to hold" },
    { HEAD "environments: [{ name: a, queues: [q] }, { name: b, queues: [q] }]\n",
      "queue 'q' is in another environment" },
    { HEAD "environments: [{ name: a, buckets: [b] }]\n", "bucket 'b' is none of those above" },
    { HEAD "exports: [{ who: [a], kinds: [model], to: [moon] }]\n", "'moon' is none of the regions" },
    { HEAD "tls: { pins: [{ host: h, sha256: AAAA }] }\n", "base64 of 32 bytes" },
    { HEAD "keys: { providers: [vault] }\n", "must be file, pkcs11 or kms" },
};

static void a_document_is_read_strictly(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(document_rows); i++) {
        CLEANUP(freep) struct policy *p = mem_new(sizeof(*p));
        struct err e = ERR_INIT;
        enum err_code code =
            policy_read("policy.yaml", document_rows[i].text, strlen(document_rows[i].text), p, &e);
        bool taken = !document_rows[i].says;
        if (code != (taken ? OK : ERR_USAGE) || (!taken && !strstr(e.text, document_rows[i].says)))
            fail_msg("%zu: %s: '%s' lacks '%s'", i, err_name(code), e.text,
                     taken ? "" : document_rows[i].says);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_host_fits_its_pattern_alone),
        cmocka_unit_test(presets_are_whole),
        cmocka_unit_test(a_document_is_read_strictly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
