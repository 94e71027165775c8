#include "runner/cli/models.h"

#include "base/mem.h"
#include "core/artifact/model_file.h"
#include "core/artifact/rewrap.h"
#include "runner/cli/client.h"

#include <inttypes.h>
#include <string.h>

void models_done(struct models *m)
{
    store_close(m->store);
    cluster_free(m->cluster);
    m->store = NULL;
    m->cluster = NULL;
}

static enum err_code ask_place(const struct cli *c, struct models *m, struct err *e)
{
    CLEANUP(api_closep) struct api_client *api = NULL;
    CLEANUP(json_donep) json_t *shown = NULL;

    if (client_open(c, &api, e))
        return e->code;
    if (client_job(api, "GET", m->job, "", &shown, e)) {
        if (e->code == ERR_RETRY)
            return err_wrap(e, "where the job's model lies is not known (--prefix s3://BUCKET/PREFIX, its "
                               "checkpoint.to, says it "
                               "without a scheduler)");
        return e->code;
    }
    snprintf(m->name, sizeof(m->name), "%s", client_text(shown, NULL, "name"));
    return store_uri_parse(client_text(shown, "checkpoint", "to"), m->bucket, m->prefix, e);
}

enum err_code models_open(const struct cli *c, const char *job, const char *prefix_uri, struct models *out,
                          struct err *e)
{
    CLEANUP(models_done) struct models m = { .trust = { .count = 1 } };

    if (client_check_job(job, e) || cli_cluster(c, &m.cluster, e))
        return e->code;
    snprintf(m.job, sizeof(m.job), "%s", job);
    if (prefix_uri ? store_uri_parse(prefix_uri, m.bucket, m.prefix, e) : ask_place(c, &m, e))
        return e->code;
    for (size_t n = strlen(m.prefix); n > 0 && m.prefix[n - 1] == '/'; n--)
        m.prefix[n - 1] = '\0';
    if (cluster_public_key(m.cluster, m.trust.public_key[0], e) ||
        cluster_open_store(m.cluster, m.bucket, &m.store, e))
        return e->code;
    *out = m;
    m.store = NULL;
    m.cluster = NULL;
    return OK;
}

enum err_code models_each(const struct models *m, enum artifact_kind kind, models_each_fn *each,
                          void *context, struct err *e)
{
    CLEANUP(freep) char(*keys)[STORE_KEY_BYTES] = NULL;
    size_t count = 0;

    if (artifact_list(m->store, m->prefix, m->job, kind, MODELS_MAX, &keys, &count, e))
        return e->code;
    for (size_t i = 0; i < count; i++) {
        CLEANUP(artifact_done) struct artifact a = { .parts = NULL };
        struct err said = ERR_INIT;
        enum err_code code = artifact_load(m->store, keys[i], &m->trust, &a, &said);
        if (code == ERR_NOT_FOUND) /* an old checkpoint that was removed while we looked */
            continue;
        if (code != OK && code != ERR_CORRUPT) {
            *e = said;
            return e->code;
        }
        if (each(context, keys[i], code ? NULL : &a, said.text, e))
            return e->code;
    }
    return OK;
}

enum err_code models_unwrap(const struct models *m, const struct artifact *a, struct secret **out,
                            struct err *e)
{
    CLEANUP(keys_closep) struct keys *keys = NULL;
    if (cluster_open_keys(m->cluster, &keys, e))
        return e->code;
    return artifact_unwrap(m->store, keys, &m->trust, a, out, e);
}

enum err_code models_final_file(const struct models *m, const struct artifact *a, struct buf *out,
                                struct err *e)
{
    CLEANUP(secret_freep) struct secret *key = NULL;
    char sha256[SHA256_HEX_BYTES];

    if (a->part_count != 1)
        return err_set(e, ERR_CORRUPT, "manifest %s: a model has one part, not %zu", a->manifest_key,
                       a->part_count);
    if (models_unwrap(m, a, &key, e) || artifact_get_part(m->store, key, a, 0, out, e))
        return e->code;
    sha256_hex(out->data, out->len, sha256);
    if (strcmp(sha256, a->parts[0].plain_sha256) != 0)
        return err_set(e, ERR_CORRUPT, "%s: what is inside has another SHA-256 than its manifest says",
                       a->parts[0].key);
    return OK;
}

/* ---- a model out of a checkpoint ---- */

/* Every slice's `params`, one behind the other: the model's vector, with its padding. */
static enum err_code join_params(const struct models *m, const struct artifact *a, struct buf *out,
                                 struct err *e)
{
    CLEANUP(secret_freep) struct secret *key = NULL;

    if (models_unwrap(m, a, &key, e))
        return e->code;
    for (size_t i = 0; i < a->part_count; i++) {
        CLEANUP(buf_wipe) struct buf file = BUF_INIT(STORE_OBJECT_BYTES_MAX);
        CLEANUP(tensors_done) struct tensors t = { .list = NULL };
        if (artifact_get_part(m->store, key, a, i, &file, e) || tensors_read(file.data, file.len, &t, e))
            return err_wrap(e, "part %zu", i);
        const struct tensor *params = tensors_find(&t, "params");
        if (!params || params->type != TENSOR_F32)
            return err_set(e, ERR_CORRUPT, "part %zu holds no 'params'", i);
        buf_add(out, params->data, params->bytes);
    }
    return buf_check(out, "the model's parameters", e);
}

/* One row of meta.tensors: {"name","dims","first"} in floats of the vector. */
static enum err_code read_tensor(const json_t *row, const struct buf *vector, struct tensor *out,
                                 struct err *e)
{
    static const char what[] = "checkpoint meta: tensors";
    struct tensor t = { .type = TENSOR_F32 };
    uint64_t count = 1, floats = vector->len / sizeof(float);
    int64_t first;
    json_t *dims;

    if (json_copy_text(row, what, "name", t.name, sizeof(t.name), e) ||
        json_get_i64(row, what, "first", &first, e) || json_get_array(row, what, "dims", &dims, e))
        return e->code;
    t.dim_count = json_array_size(dims);
    if (t.dim_count < 1 || t.dim_count > TENSOR_DIMS_MAX)
        return err_set(e, ERR_CORRUPT, "%s: '%s' has %zu dimensions", what, t.name, t.dim_count);
    for (size_t d = 0; d < t.dim_count; d++) {
        json_int_t n = json_integer_value(json_array_get(dims, d));
        if (n < 1 || (uint64_t)n > floats || count > floats / (uint64_t)n)
            return err_set(e, ERR_CORRUPT, "%s: '%s' is larger than the checkpoint", what, t.name);
        t.dims[d] = (uint64_t)n;
        count *= (uint64_t)n;
    }
    if (first < 0 || (uint64_t)first > floats - count)
        return err_set(e, ERR_CORRUPT, "%s: '%s' lies outside the checkpoint", what, t.name);
    t.data = vector->data + (uint64_t)first * sizeof(float);
    t.bytes = count * sizeof(float);
    *out = t;
    return OK;
}

enum err_code models_checkpoint_file(const struct models *m, const struct artifact *a, struct buf *out,
                                     struct err *e)
{
    CLEANUP(buf_wipe) struct buf vector = BUF_INIT(STORE_OBJECT_BYTES_MAX);
    CLEANUP(json_donep) json_t *metadata = NULL;
    json_t *rows, *file;

    if (json_get_array(a->meta, "checkpoint meta", "tensors", &rows, e) ||
        json_get_object(a->meta, "checkpoint meta", "file", &file, e) ||
        model_file_metadata(file, &metadata, e) || join_params(m, a, &vector, e))
        return e->code;
    size_t count = json_array_size(rows);
    if (count < 1 || count > TENSORS_MAX)
        return err_set(e, ERR_CORRUPT, "checkpoint meta: %zu tensors", count);
    CLEANUP(freep) struct tensor *tensors = mem_array(count, sizeof(*tensors));
    for (size_t i = 0; i < count; i++)
        if (read_tensor(json_array_get(rows, i), &vector, &tensors[i], e))
            return e->code;
    return tensors_write(tensors, count, metadata, out, e);
}
