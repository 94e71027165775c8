#include "trainer/begin_from.h"

#include "core/artifact/model_read.h"
#include "core/artifact/rewrap.h"
#include "trainer/model_load.h"

#include <string.h>

static enum err_code read_artifact(const struct begin_place *p, const char *key, struct buf *out,
                                   struct err *e)
{
    CLEANUP(artifact_done) struct artifact a = { 0 };
    struct artifact_trust trust = { .count = 1 };

    memcpy(trust.public_key[0], p->signer->public_key, SIGN_PUBLIC_BYTES);
    if (artifact_load(p->store, key, &trust, &a, e))
        return e->code;
    if (strcmp(a.manifest_version, p->doc->from.version) != 0)
        return err_set(e, ERR_CORRUPT, "the manifest was replaced since this attempt began");
    if (!p->doc->from.data_key)
        return err_set(e, ERR_CORRUPT, "its data key is not in the attempt's document");
    return model_read(p->store, p->doc->from.data_key, &a, out, e);
}

/* No file of this model's tensors is larger: its output matrix may be there twice, and a mask in each block
 * (GPT-2's: context x context bytes or floats). */
static uint64_t largest_file(const struct model *m)
{
    enum { HEADER = 64 << 20, MASK = 4 * 2048 * 2048 };
    return 2 * sizeof(float) * m->params.count + m->config.layers * MASK + HEADER;
}

static enum err_code read_file(const struct begin_place *p, struct buf *out, struct err *e)
{
    const char *version = p->doc->from.version;
    char bucket[STORE_BUCKET_BYTES], key[STORE_KEY_BYTES];

    if (!version[0])
        return err_set(e, ERR_USAGE,
                       "it could not be had any more when this attempt began, and there is no "
                       "checkpoint to go on from");
    if (store_uri_parse(p->doc->spec.model.from, bucket, key, e))
        return e->code;
    if (artifact_is_manifest_key(key))
        return read_artifact(p, key, out, e);
    return store_get(p->store, key, version, 0, UINT64_MAX, out, NULL, e);
}

static enum err_code load(const struct begin_place *p, const struct model *m, const json_t *description,
                          float *params, struct begun *out, struct err *e)
{
    CLEANUP(buf_wipe) struct buf file = BUF_INIT(MIN((uint64_t)STORE_OBJECT_BYTES_MAX, largest_file(m)));
    CLEANUP(tensors_done) struct tensors t = { 0 };
    struct model_load_notes notes;

    if (read_file(p, &file, e) == ERR_LIMIT)
        return err_set(e, ERR_USAGE, "more than %zu bytes, which no file of this model has", file.max);
    if (e->code || tensors_read(file.data, file.len, &t, e) || model_load_check(&t, description, e) ||
        model_load(m, &t, params, &notes, e))
        return e->code;
    memcpy(out->version, p->doc->from.version, sizeof(out->version));
    sha256_hex(file.data, file.len, out->sha256);
    out->bytes = file.len;
    out->positions = notes.positions;
    return OK;
}

/* What is wrong with the file will be wrong the next time, too. */
static void blame_the_spec(const char *uri, struct err *e)
{
    if (e->code == ERR_NOT_FOUND || e->code == ERR_CORRUPT)
        e->code = ERR_USAGE;
    IGNORE(err_wrap(e, "model.from: %s", uri));
}

enum err_code begin_from(const struct begin_place *p, const struct model *m, const json_t *description,
                         float *params, struct begun *out, struct err *e)
{
    struct begun begun = { .bytes = 0 };
    size_t padded = m->params.padded;

    if (p->comm->rank == 0 && load(p, m, description, params, &begun, e))
        blame_the_spec(p->doc->spec.model.from, e);
    if (comm_agree(p->comm, e) || comm_broadcast(p->comm, &begun, sizeof(begun), 0, e))
        return e->code;
    for (size_t first = 0; first < padded; first += BEGIN_PIECE_FLOATS) {
        size_t n = MIN((size_t)BEGIN_PIECE_FLOATS, padded - first);
        if (comm_broadcast(p->comm, params + first, n * sizeof(*params), 0, e))
            return err_wrap(e, "spread what model.from holds");
    }
    *out = begun;
    return OK;
}
