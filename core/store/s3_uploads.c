/* Uploads in parts that were begun and never completed: what a killed process leaves, unseen by every list,
 * and paid for. */
#include "core/store/s3.h"

#include "base/mem.h"
#include "base/text.h"

#include <string.h>

enum { UPLOADS_MAX = 1000, UPLOAD_ID_BYTES = 512 };

struct upload {
    char key[STORE_KEY_BYTES], id[UPLOAD_ID_BYTES];
    int64_t begun_ms;
};
struct uploads {
    struct upload *list; /* UPLOADS_MAX of them */
    size_t count;
    struct upload next; /* as it is read */
    bool is_list;
};

static enum err_code take_element(void *context, const char *path, const char *text, struct err *e)
{
    struct uploads *u = context;
    if (strcmp(path, "ListMultipartUploadsResult") == 0)
        u->is_list = true;
    else if (strcmp(path, "ListMultipartUploadsResult/Upload/Key") == 0)
        return text_copy(u->next.key, sizeof(u->next.key), text, "a listed key", e);
    else if (strcmp(path, "ListMultipartUploadsResult/Upload/UploadId") == 0)
        return text_copy(u->next.id, sizeof(u->next.id), text, "a listed upload id", e);
    else if (strcmp(path, "ListMultipartUploadsResult/Upload/Initiated") == 0)
        return clock_parse(text, &u->next.begun_ms, e);
    else if (strcmp(path, "ListMultipartUploadsResult/Upload") == 0 && u->count < UPLOADS_MAX) {
        u->list[u->count++] = u->next;
        u->next = (struct upload){ .begun_ms = INT64_MAX };
    }
    return OK;
}

static enum err_code list_uploads(struct store_s3 *s, const char *prefix, struct uploads *out, struct err *e)
{
    CLEANUP(http_response_done) struct http_response r = HTTP_RESPONSE_INIT(S3_ANSWER_BYTES_MAX);
    struct s3_call call = { .method = "GET" };
    s3_param(&call, "uploads", "");
    s3_param(&call, "prefix", prefix);
    if (s3_do_again(s, &call, &r, NULL, e) || s3_xml_read(r.body.data, r.body.len, take_element, out, e))
        return e->code;
    if (!out->is_list)
        return err_set(e, ERR_CORRUPT, "the answer is no list of uploads");
    return OK;
}

static enum err_code abort_one(struct store_s3 *s, const struct upload *u, struct err *e)
{
    CLEANUP(http_response_done) struct http_response r = HTTP_RESPONSE_INIT(S3_ANSWER_BYTES_MAX);
    struct s3_call call = { .method = "DELETE", .key = u->key };
    s3_param(&call, "uploadId", u->id);
    if (s3_do_again(s, &call, &r, NULL, e) == ERR_NOT_FOUND)
        err_clear(e); /* somebody else was faster */
    return e->code;
}

enum err_code s3_abort_uploads(struct store *base, const char *prefix, int64_t before_ms, size_t *out_aborted,
                               struct err *e)
{
    struct store_s3 *s = (struct store_s3 *)base;
    CLEANUP(freep) struct upload *list = mem_array(UPLOADS_MAX, sizeof(*list));
    struct uploads u = { .list = list, .next = { .begun_ms = INT64_MAX } };
    *out_aborted = 0;
    err_clear(e);
    if (list_uploads(s, prefix, &u, e))
        return e->code;
    for (size_t i = 0; i < u.count; i++) {
        if (list[i].begun_ms >= before_ms || !text_starts(list[i].key, prefix))
            continue;
        if (abort_one(s, &list[i], e))
            return e->code;
        ++*out_aborted;
    }
    return OK;
}
