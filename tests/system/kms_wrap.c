/* kms_wrap ENDPOINT REGION - a data key of our kms provider as JSON, for an independent client to open: the
 * service's blob, the encryption context, the key's ARN and the SHA-256 of the data key. For
 * tests/system/test_keys.py. */
#include "base/text.h"
#include "core/crypto/crypto.h"
#include "core/json/json.h"
#include "core/keys/keys_ops.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct keys_context context = { .pair = { { "cluster", "eu-1" }, { "job", "261122-k3m9qz" } },
                                             .count = 2 };

/* The wrapped bytes: u16be length of the ARN, ARN, blob. */
static enum err_code print_parts(const char *wrapped, const struct secret *key, struct err *e)
{
    CLEANUP(json_donep) json_t *doc = NULL;
    CLEANUP(buf_done) struct buf raw = BUF_INIT(KEYS_WRAPPED_RAW_MAX);
    CLEANUP(buf_done) struct buf bound = BUF_INIT(KEYS_BOUND_BYTES_MAX);
    CLEANUP(buf_done) struct buf out = BUF_INIT(16 * 1024);
    char hash[SHA256_HEX_BYTES], bound_hash[SHA256_HEX_BYTES], blob[2 * KEYS_WRAPPED_RAW_MAX + 1];
    if (json_parse(wrapped, strlen(wrapped), "wrapped", &doc, e) ||
        base64_decode(json_text_or(doc, "wrapped", ""), &raw, e))
        return e->code;
    size_t arn_n = (size_t)raw.data[0] << 8 | raw.data[1];
    hex_encode(raw.data + 2 + arn_n, raw.len - 2 - arn_n, blob);
    sha256_hex(secret_bytes(key), secret_len(key), hash);
    keys_bound_bytes("kms", &(struct keys_use){ "demo", 1, &context }, &bound);
    sha256_hex(bound.data, bound.len, bound_hash);
    CLEANUP(json_donep)
    json_t *told =
        json_pack("{s:s,s:s,s:s%,s:{s:s,s:s,s:s}}", "blob", blob, "key_sha256", hash, "arn", raw.data + 2,
                  arn_n, "context", "cluster", "eu-1", "job", "261122-k3m9qz", "sovrun-bound", bound_hash);
    if (json_canonical(told, &out, e))
        return e->code;
    puts(buf_text(&out));
    return OK;
}

int main(int argc, char **argv)
{
    CLEANUP(keys_closep) struct keys *keys = NULL;
    CLEANUP(secret_freep) struct secret *key = NULL;
    CLEANUP(secret_freep) struct secret *id = secret_new("AKIDTEST", 8);
    CLEANUP(secret_freep) struct secret *secret = secret_new("test-secret-key", 15);
    CLEANUP(buf_done) struct buf wrapped = BUF_INIT(KEYS_WRAPPED_BYTES_MAX);
    const struct keys_secrets secrets = { .access_key = id, .secret_key = secret };
    struct keys_config config = { .provider = KEYS_KMS, .arns = { "arn:aws:kms:*:*:key/*" }, .arn_count = 1 };
    struct err e = ERR_INIT;
    if (argc != 3)
        return 2;
    snprintf(config.endpoint, sizeof(config.endpoint), "%s", argv[1]);
    snprintf(config.region, sizeof(config.region), "%s", argv[2]);
    snprintf(config.alias_prefix, sizeof(config.alias_prefix), "cli%d", (int)getpid());
    if (keys_open(&config, &secrets, &keys, &e) || keys_create(keys, "demo", &e) ||
        keys_generate(keys, "demo", &context, &key, &wrapped, &e) ||
        print_parts(buf_text(&wrapped), key, &e)) {
        fprintf(stderr, "kms_wrap: %s\n", e.text);
        return 1;
    }
    return 0;
}
