/*
 * attempt_doc_sample.h - one whole attempt document for tests, every member of it set.
 */
#ifndef TESTS_ATTEMPT_DOC_SAMPLE_H
#define TESTS_ATTEMPT_DOC_SAMPLE_H

#include "core/cluster/attempt_doc.h"

#include <string.h>

#define SAMPLE_DATA_KEY "kkkkKKKKkkkkKKKKkkkkKKKKkkkkKKKK"
#define SAMPLE_EARLIER_KEY "eeeeEEEEeeeeEEEEeeeeEEEEeeeeEEEE"
#define SAMPLE_FROM_KEY "ffffFFFFffffFFFFffffFFFFffffFFFF"
#define SAMPLE_SEED "ssssSSSSssssSSSSssssSSSSssssSSSS"
#define SAMPLE_PASSWORD "pass word \"quoted\""
#define SAMPLE_SECRET_KEY "wJalrXUtnFEMI-EXAMPLEKEY"

static inline struct secret *sample_secret(const char *text)
{
    return secret_new(text, strlen(text));
}

static inline enum err_code sample_spec(struct job_spec *out, struct err *e)
{
    static const char text[] = "name: credit-risk\n"
                               "task: train\n"
                               "model: { kind: gpt, layers: 1, heads: 2, width: 16, context: 8,\n"
                               "  from: \"s3://models/gpt2.safetensors\" }\n"
                               "data: { train: \"s3://data/german\", format: tokens }\n"
                               "resources: { ranks: 2 }\n"
                               "checkpoint: { to: \"s3://models/credit\", key: demo }\n";
    CLEANUP(conf_freep) struct conf_doc *doc = NULL;
    if (conf_parse("job.yaml", text, sizeof(text) - 1, &doc, e) || job_spec_from_doc(doc, out, e))
        return e->code;
    return OK;
}

/* The caller calls attempt_doc_done(). */
static inline enum err_code sample_doc(struct attempt_doc *d, struct err *e)
{
    *d = (struct attempt_doc){
        .cluster = "embedded",
        .region = "local",
        .job = "261122-k3m9qz",
        .attempt = 2,
        .token = 7,
        .data = { .place = { .kind = STORE_S3,
                             .bucket = "data",
                             .endpoint = "https://s3.example",
                             .region = "local",
                             .ca_file = "/etc/ca.pem",
                             .cert_file = "/etc/us.pem",
                             .key_file = "/etc/us.key",
                             .guard = { .ranges = { { { [10] = 0xff, [11] = 0xff, [12] = 10, [13] = 1 },
                                                      112 },
                                                    { { 0x20, 0x01, 0x0d, 0xb8 }, 32 } },
                                        .range_count = 2,
                                        .tls_required = true,
                                        .pin = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=" },
                             .path_style = true,
                             .payload = STORE_PAYLOAD_CHUNKS,
                             .sse = STORE_SSE_KMS,
                             .sse_key = "arn:aws:kms:eu-1:1:key/k",
                             .sse_context = "{\"project\":\"credit\"}",
                             .patience_ms = 120000,
                             .deadline_ms = 30000 } },
        .models = { .place = { .kind = STORE_DIR,
                               .bucket = "models",
                               .root = "/home/x/store",
                               .region = "local" } },
        .from = { .at = { .place = { .kind = STORE_DIR,
                                     .bucket = "models",
                                     .root = "/home/x/store",
                                     .region = "local" } },
                  .version = "v1" },
        .networks = { .ranges = { { { [10] = 0xff, [11] = 0xff, [12] = 10, [13] = 20 }, 112 } }, .count = 1 },
        .state = { .address = "unix:/home/x/run/redis.sock",
                   .cluster = "embedded",
                   .timeout_ms = 2000,
                   .durability_dev = true },
        .earlier = { { .attempt = 1, .token = 5 } },
        .earlier_count = 1,
        .wrapped_key = "{\"provider\":\"file\"}",
        .first_plan_epoch = 3,
    };
    memset(d->spec_digest, 'a', 64);
    memset(d->dataset_digest, 'b', 64);
    memset(d->first_plan_digest, 'c', 64);
    d->data.session.expires_ms = 1795356750000;
    d->data.session.access_key = sample_secret("AKIAEXAMPLE");
    d->data.session.secret_key = sample_secret(SAMPLE_SECRET_KEY);
    d->state_password = sample_secret(SAMPLE_PASSWORD);
    d->data_key = sample_secret(SAMPLE_DATA_KEY);
    d->earlier[0].key = sample_secret(SAMPLE_EARLIER_KEY);
    d->from.data_key = sample_secret(SAMPLE_FROM_KEY);
    d->signing_seed = sample_secret(SAMPLE_SEED);
    return sample_spec(&d->spec, e);
}

#endif
