/*
 * bench_store.c - one run of the S3 client, to be timed as a whole process beside others (bench_store.py).
 *
 *     bench_store get|put|seal ENDPOINT REGION BUCKET PREFIX COUNT BYTES CONNECTIONS
 *
 * get: read PREFIX/0 to PREFIX/COUNT-1, each of BYTES, at once over CONNECTIONS. put: write them. seal: seal
 * each first, as checkpoints are. Keys are in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. Payload hashes are
 * left out, as over TLS.
 */
#include "base/mem.h"
#include "base/num.h"
#include "base/rng.h"
#include "core/seal/seal.h"
#include "core/store/s3.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct bench {
    struct store *store;
    const char *bucket, *prefix;
    size_t count, bytes;
    char (*keys)[128];
    uint8_t *plain;          /* `bytes` of it, the same for every object */
    struct secret *data_key; /* NULL: not sealed */
    struct buf *sealed;      /* of each task under way */
    uint64_t got;
};

static enum err_code count_bytes(void *context, size_t index, struct buf *body, struct err *e)
{
    struct bench *b = context;
    (void)index, (void)e;
    b->got += body->len;
    return OK;
}

static enum err_code get_all(struct bench *b, struct err *e)
{
    CLEANUP(freep) struct store_read *reads = mem_array(b->count, sizeof(*reads));
    for (size_t i = 0; i < b->count; i++)
        reads[i] = (struct store_read){ b->keys[i], NULL, 0, b->bytes };
    if (b->store->ops->get_many(b->store, reads, b->count, count_bytes, b, e))
        return e->code;
    if (b->got != (uint64_t)b->count * b->bytes)
        return err_set(e, ERR_CORRUPT, "%llu bytes came", (unsigned long long)b->got);
    return OK;
}

static enum err_code prepare_put(void *context, size_t task, struct s3_call *call, struct s3_flow_room *room,
                                 size_t *out_answer_bytes, struct err *e)
{
    struct bench *b = context;
    (void)room;
    call->method = "PUT";
    call->key = b->keys[task];
    call->body = b->plain;
    call->body_bytes = b->bytes;
    *out_answer_bytes = 4096;
    if (!b->data_key)
        return OK;
    const struct seal_context c = { "bench",        "local",        "261122-k3m9qz",
                                    "checkpoint/1", (uint32_t)task, (uint32_t)b->count,
                                    b->bucket,      b->keys[task],  b->bytes };
    struct buf *sealed = &b->sealed[task];
    *sealed = (struct buf)BUF_INIT(STORE_OBJECT_BYTES_MAX);
    if (seal_object(b->data_key, &c, b->plain, sealed, e))
        return e->code;
    call->body = sealed->data;
    call->body_bytes = sealed->len;
    return OK;
}

static enum err_code take_put(void *context, size_t task, struct http_response *r, struct err *e)
{
    struct bench *b = context;
    (void)r, (void)e;
    if (b->data_key)
        buf_done(&b->sealed[task]);
    return OK;
}

static enum err_code put_all(struct bench *b, struct err *e)
{
    const struct s3_flow flow = { .count = b->count, .context = b, .prepare = prepare_put, .take = take_put };
    b->plain = mem_array(b->bytes, 1);
    for (size_t i = 0; i + 8 <= b->bytes; i += 8) {
        uint64_t word = rng_u64(7, i);
        memcpy(b->plain + i, &word, 8);
    }
    b->sealed = mem_array(b->count, sizeof(*b->sealed));
    return s3_flow_run((struct store_s3 *)b->store, &flow, e);
}

static enum err_code run(char **argv, struct err *e)
{
    struct bench b = { .bucket = argv[4], .prefix = argv[5] };
    struct store_place place = { .kind = STORE_S3, .path_style = true };
    struct s3_options options = s3_options_default;
    int64_t count, bytes, connections;
    const char *id = getenv("AWS_ACCESS_KEY_ID"), *key = getenv("AWS_SECRET_ACCESS_KEY");
    if (parse_i64(argv[6], &count, e) || parse_i64(argv[7], &bytes, e) || parse_i64(argv[8], &connections, e))
        return e->code;
    snprintf(place.endpoint, sizeof(place.endpoint), "%s", argv[2]);
    snprintf(place.region, sizeof(place.region), "%s", argv[3]);
    snprintf(place.bucket, sizeof(place.bucket), "%s", argv[4]);
    CLEANUP(secret_freep) struct secret *access = secret_new(id ? id : "x", strlen(id ? id : "x"));
    CLEANUP(secret_freep) struct secret *secret = secret_new(key ? key : "x", strlen(key ? key : "x"));
    const struct store_credentials credentials = { .access_key = access, .secret_key = secret };
    options.connections = (size_t)connections;
    place.payload = STORE_PAYLOAD_UNSIGNED;
    if (s3_open(&place, &credentials, &options, &b.store, e))
        return e->code;
    b.count = (size_t)count;
    b.bytes = (size_t)bytes;
    b.keys = mem_array(b.count, sizeof(*b.keys));
    for (size_t i = 0; i < b.count; i++)
        snprintf(b.keys[i], sizeof(b.keys[i]), "%s/%zu", b.prefix, i);
    if (strcmp(argv[1], "seal") == 0)
        b.data_key = secret_random(FLOE_KEY_BYTES);
    enum err_code code = strcmp(argv[1], "get") == 0 ? get_all(&b, e) : put_all(&b, e);
    store_close(b.store);
    secret_free(b.data_key);
    free(b.keys);
    free(b.plain);
    free(b.sealed);
    return code;
}

int main(int argc, char **argv)
{
    struct err e = ERR_INIT;
    if (argc != 9) {
        fprintf(stderr,
                "usage: bench_store get|put|seal ENDPOINT REGION BUCKET PREFIX COUNT BYTES CONNECTIONS\n");
        return 2;
    }
    if (run(argv, &e)) {
        fprintf(stderr, "bench_store: %s\n", e.text);
        return 1;
    }
    return 0;
}
