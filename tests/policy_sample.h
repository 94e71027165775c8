/*
 * policy_sample.h - one whole policy for tests, every part of it used.
 */
#ifndef TESTS_POLICY_SAMPLE_H
#define TESTS_POLICY_SAMPLE_H

/* Lines are counted by tests: add at the end of a section only. */
#define POLICY_SAMPLE                                                                                        \
    "version: 1\n"                                                                                           \
    "name: bank\n"                                                                                           \
    "regions:\n"                                                                                             \
    "  - { name: eu, provider: aws-eusc, region: eusc-de-east-1, ranges: [10.20.0.0/16, 2001:db8::/32] }\n"  \
    "  - { name: paris, provider: outscale, region: eu-west-2, ranges: [192.0.2.0/24] }\n"                   \
    "  - { name: house, provider: s3, region: berlin-1, endpoints: [\"s3.house:7443\", \"*.kms.house\"], "   \
    "ranges: [10.30.0.0/16] }\n"                                                                             \
    "  - { name: here, provider: local, region: local }\n"                                                   \
    "buckets:\n"                                                                                             \
    "  - { name: bank-data, region: eu, purposes: [data], classes: [public, personal] }\n"                   \
    "  - { name: models, region: eu, purposes: [models], classes: [public, personal] }\n"                    \
    "  - { name: paris-models, region: paris, purposes: [models], classes: [public, personal] }\n"           \
    "  - { name: dev-data, region: house, purposes: [data], classes: [public, internal] }\n"                 \
    "  - { name: dev-models, region: house, purposes: [models], classes: [public] }\n"                       \
    "  - { name: evidence, region: eu, purposes: [evidence] }\n"                                             \
    "keys: { providers: [pkcs11, kms], names: [bank, dev], arns: "                                           \
    "[\"arn:aws-eusc:kms:eusc-de-east-1:1:key/*\"] }\n"                                                      \
    "locks: { min: governance, retain_min: 30d, retain_max: 400d }\n"                                        \
    "tls: { required: true, authority: true, client_certificate: [s3], pins: [{ host: s3.house, sha256: "    \
    "\"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\" }] }\n"                                                \
    "environments:\n"                                                                                        \
    "  - { name: prod, queues: [research], buckets: [bank-data, models, paris-models], classes: [public, "   \
    "personal], "                                                                                            \
    "keys: [bank] }\n"                                                                                       \
    "  - { name: dev, queues: [scratch], buckets: [dev-data, dev-models], classes: [public], keys: [dev] "   \
    "}\n"                                                                                                    \
    "exports:\n"                                                                                             \
    "  - { who: [\"role:admin\", eva], kinds: [metrics, report], to: [house, outside] }\n"

#endif
