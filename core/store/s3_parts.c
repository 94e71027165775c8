#include "core/store/s3.h"

#include "base/mem.h"
#include "core/store/crc32c.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    PARTS_MAX = 10000,
    ETAG_BYTES = 128,
    UPLOAD_ID_BYTES = 512,
    COMPLETE_BYTES_MAX = 4 << 20,
    PART_ANSWER_BYTES = 64 * 1024
};

struct part {
    char etag[ETAG_BYTES], crc[CRC32C_TEXT_BYTES];
};

struct upload {
    struct store_s3 *s;
    const char *key;
    char id[UPLOAD_ID_BYTES];
    struct part *parts;
    size_t count;
};

static void upload_done(struct upload *u)
{
    free(u->parts);
}

/* The lock goes along for the stores that take it here; whether this one did is read back later. */
static enum err_code begin(struct upload *u, const struct store_put_options *options, struct err *e)
{
    CLEANUP(http_response_done) struct http_response r = HTTP_RESPONSE_INIT(S3_ANSWER_BYTES_MAX);
    struct s3_lock_texts texts;
    struct s3_call call = { .method = "POST", .key = u->key };
    s3_param(&call, "uploads", "");
    s3_header(&call, "content-type",
              options->content_type ? options->content_type : "application/octet-stream");
    s3_header(&call, "x-amz-checksum-algorithm", "CRC32C");
    s3_lock_headers(&call, &options->lock, &texts);
    s3_sse_headers(u->s, &call);
    if (s3_do_again(u->s, &call, &r, NULL, e) ||
        s3_xml_text(r.body.data, r.body.len, "InitiateMultipartUploadResult/UploadId", u->id, sizeof(u->id),
                    e))
        return err_wrap(e, "begin an upload in parts");
    if (!u->id[0])
        return err_set(e, ERR_CORRUPT, "begin an upload in parts: the answer has no upload id");
    return OK;
}

/* ---- the parts, several at once ---- */

struct sending {
    struct upload *u;
    const uint8_t *data;
    size_t bytes;
};

static enum err_code prepare_part(void *context, size_t index, struct s3_call *call,
                                  struct s3_flow_room *room, size_t *out_answer_bytes, struct err *e)
{
    struct sending *sending = context;
    struct upload *u = sending->u;
    size_t part_bytes = u->s->options.part_bytes, from = index * part_bytes;
    size_t n = MIN(part_bytes, sending->bytes - from);
    (void)e;
    call->method = "PUT";
    call->key = u->key;
    call->body = sending->data + from;
    call->body_bytes = n;
    call->is_object = true;
    snprintf(room->number, sizeof(room->number), "%zu", index + 1);
    s3_param(call, "partNumber", room->number);
    s3_param(call, "uploadId", u->id);
    s3_header(call, "x-amz-checksum-crc32c", crc32c_text(sending->data + from, n, u->parts[index].crc));
    *out_answer_bytes = PART_ANSWER_BYTES;
    return OK;
}

static enum err_code take_part(void *context, size_t index, struct http_response *r, struct err *e)
{
    struct upload *u = ((struct sending *)context)->u;
    struct part *part = &u->parts[index];
    if (!http_header(r, "etag", part->etag, sizeof(part->etag)))
        return err_set(e, ERR_CORRUPT, "part %zu of %zu: the answer has no ETag", index + 1, u->count);
    return OK;
}

static enum err_code complete(struct upload *u, char out_version[STORE_VERSION_BYTES], struct err *e)
{
    CLEANUP(http_response_done) struct http_response r = HTTP_RESPONSE_INIT(S3_ANSWER_BYTES_MAX);
    CLEANUP(buf_done) struct buf body = BUF_INIT(COMPLETE_BYTES_MAX);
    char key[2 * STORE_KEY_BYTES];
    buf_add_text(&body, "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    for (size_t i = 0; i < u->count; i++) {
        buf_addf(&body, "<Part><PartNumber>%zu</PartNumber><ETag>", i + 1);
        s3_xml_escape(u->parts[i].etag, &body);
        buf_addf(&body, "</ETag><ChecksumCRC32C>%s</ChecksumCRC32C></Part>", u->parts[i].crc);
    }
    buf_add_text(&body, "</CompleteMultipartUpload>");
    if (buf_check(&body, "the list of parts", e))
        return e->code;
    struct s3_call call = { .method = "POST", .key = u->key, .body = body.data, .body_bytes = body.len };
    s3_param(&call, "uploadId", u->id);
    s3_header(&call, "content-type", "application/xml");
    if (s3_do_again(u->s, &call, &r, NULL, e))
        return err_wrap(e, "complete the upload in parts");
    if (s3_xml_text(r.body.data, r.body.len, "CompleteMultipartUploadResult/Key", key, sizeof(key), e))
        return err_wrap(e, "complete the upload in parts");
    return s3_version_of(&r, out_version, e);
}

/* What it frees is the store's room only: a failure changes nothing for us. */
static void abort_upload(struct upload *u)
{
    CLEANUP(http_response_done) struct http_response r = HTTP_RESPONSE_INIT(S3_ANSWER_BYTES_MAX);
    struct err ignored = ERR_INIT;
    struct s3_call call = { .method = "DELETE", .key = u->key };
    s3_param(&call, "uploadId", u->id);
    IGNORE(s3_do_again(u->s, &call, &r, NULL, &ignored));
}

static enum err_code put_all(struct upload *u, const uint8_t *data, size_t n,
                             char out_version[STORE_VERSION_BYTES], struct err *e)
{
    struct sending sending = { u, data, n };
    const struct s3_flow flow = {
        .count = u->count, .context = &sending, .prepare = prepare_part, .take = take_part
    };
    if (s3_flow_run(u->s, &flow, e))
        return err_wrap(e, "one of %zu parts", u->count);
    return complete(u, out_version, e);
}

enum err_code s3_put_parts(struct store_s3 *s, const char *key, const void *data, size_t n,
                           const struct store_put_options *options, char out_version[STORE_VERSION_BYTES],
                           struct err *e)
{
    CLEANUP(upload_done) struct upload u = { .s = s, .key = key };
    u.count = (n + s->options.part_bytes - 1) / s->options.part_bytes;
    if (u.count > PARTS_MAX)
        return err_set(e, ERR_LIMIT, "%zu parts; %d are the most", u.count, PARTS_MAX);
    u.parts = mem_array(u.count, sizeof(u.parts[0]));
    if (begin(&u, options, e))
        return e->code;
    enum err_code code = put_all(&u, data, n, out_version, e);
    if (code)
        abort_upload(&u);
    return code;
}
