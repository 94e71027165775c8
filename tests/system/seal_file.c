/*
 * seal_file.c - for test_open_sealed.sh: seal or open one file with core/seal, as tools/open_sealed.py does.
 *
 *     seal_file seal|open CONTEXT.json KEY IN OUT
 */
#include "base/file.h"
#include "base/text.h"
#include "core/json/json.h"
#include "core/seal/seal.h"

#include <stdio.h>
#include <string.h>

enum { FILE_BYTES_MAX = 64 * 1024 * 1024 };

static enum err_code read_context(const char *path, json_t **out_doc, struct seal_context *out, struct err *e)
{
    static const char what[] = "context";
    CLEANUP(buf_done) struct buf text = BUF_INIT(64 * 1024);
    CLEANUP(json_donep) json_t *doc = NULL;
    int64_t part, part_count, plain_bytes;
    if (file_read(path, &text, e) || json_parse(text.data, text.len, what, &doc, e) ||
        json_get_text(doc, what, "cluster", &out->cluster, e) ||
        json_get_text(doc, what, "region", &out->region, e) ||
        json_get_text(doc, what, "job", &out->job, e) ||
        json_get_text(doc, what, "artifact", &out->artifact, e) ||
        json_get_i64(doc, what, "part", &part, e) || json_get_i64(doc, what, "part_count", &part_count, e) ||
        json_get_text(doc, what, "bucket", &out->bucket, e) ||
        json_get_text(doc, what, "key", &out->key, e) ||
        json_get_i64(doc, what, "plain_bytes", &plain_bytes, e))
        return e->code;
    out->part = (uint32_t)part;
    out->part_count = (uint32_t)part_count;
    out->plain_bytes = (uint64_t)plain_bytes;
    *out_doc = TAKE(doc); /* holds the texts */
    return OK;
}

static enum err_code read_key(const char *path, struct secret **out, struct err *e)
{
    uint8_t bytes[FLOE_KEY_BYTES];
    CLEANUP(secret_freep) struct secret *text = NULL;
    if (secret_from_file(path, &text, e) || hex_decode(secret_bytes(text), bytes, sizeof(bytes), e))
        return e->code;
    *out = secret_new(bytes, sizeof(bytes));
    return OK;
}

static enum err_code run(char **argv, struct err *e)
{
    struct seal_context c = { .part = 0 };
    CLEANUP(json_donep) json_t *doc = NULL;
    CLEANUP(secret_freep) struct secret *key = NULL;
    CLEANUP(buf_done) struct buf in = BUF_INIT(FILE_BYTES_MAX);
    CLEANUP(buf_done) struct buf out = BUF_INIT(FILE_BYTES_MAX);
    if (read_context(argv[2], &doc, &c, e) || read_key(argv[3], &key, e) || file_read(argv[4], &in, e))
        return e->code;
    bool seal = strcmp(argv[1], "seal") == 0;
    if (seal && in.len != c.plain_bytes)
        return err_set(e, ERR_USAGE, "plain_bytes is not the length of '%s'", argv[4]);
    if (seal ? seal_object(key, &c, in.data, &out, e) : open_object(key, &c, in.data, in.len, &out, e))
        return e->code;
    return file_write(argv[5], out.data, out.len, 0600, e);
}

int main(int argc, char **argv)
{
    struct err e = ERR_INIT;
    if (argc != 6) {
        fprintf(stderr, "usage: seal_file seal|open CONTEXT.json KEY IN OUT\n");
        return 2;
    }
    if (run(argv, &e)) {
        fprintf(stderr, "seal_file: %s\n", e.text);
        return 1;
    }
    return 0;
}
