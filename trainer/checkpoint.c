#include "trainer/checkpoint.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "trainer/tree.h"

#include <stdio.h>
#include <string.h>

enum { SWEEP_MAX = 4096, CHECKPOINTS_MAX = 4096 };

enum err_code checkpoint_prefix(const char *uri, char out[STORE_KEY_BYTES], struct err *e)
{
    char bucket[STORE_BUCKET_BYTES];
    if (store_uri_parse(uri, bucket, out, e))
        return err_wrap(e, "checkpoint.to");
    size_t n = strlen(out);
    while (n && out[n - 1] == '/')
        out[--n] = '\0';
    return OK;
}

static void copy_text(char *out, size_t bytes, const char *text)
{
    struct err ignored = ERR_INIT;
    invariant(text_copy(out, bytes, text, "text", &ignored) == OK); /* same sizes on both sides */
}

void checkpoint_describe(const struct checkpoint_place *p, enum artifact_kind kind, int64_t step,
                         struct artifact *out)
{
    *out = (struct artifact){
        .kind = kind,
        .step = step,
        .attempt = p->doc->attempt,
        .token = p->doc->token,
        .created_ms = clock_wall_ms(),
    };
    copy_text(out->cluster, sizeof(out->cluster), p->doc->cluster);
    copy_text(out->region, sizeof(out->region), p->doc->region);
    copy_text(out->job, sizeof(out->job), p->doc->job);
    copy_text(out->bucket, sizeof(out->bucket), p->doc->models.place.bucket);
    copy_text(out->prefix, sizeof(out->prefix), p->prefix);
    copy_text(out->wrapped_key, sizeof(out->wrapped_key), p->doc->wrapped_key);
    copy_text(out->dataset_digest, sizeof(out->dataset_digest), p->doc->dataset_digest);
    copy_text(out->spec_digest, sizeof(out->spec_digest), p->doc->spec_digest);
}

struct store_lock checkpoint_lock(const struct job_spec *spec, int64_t now_ms)
{
    struct store_lock lock = { .mode = (enum store_lock_mode)spec->checkpoint.lock };
    if (lock.mode != STORE_LOCK_NONE)
        lock.retain_until_ms = now_ms + spec->checkpoint.retain_ms;
    return lock;
}

/* ---- restoring ---- */

static enum err_code belongs_here(const struct checkpoint_place *p, const struct artifact *a, struct err *e)
{
    if (strcmp(a->job, p->doc->job) != 0 || strcmp(a->cluster, p->doc->cluster) != 0)
        return err_set(e, ERR_CORRUPT, "it is of another job or cluster");
    if (strcmp(a->dataset_digest, p->doc->dataset_digest) != 0)
        return err_set(e, ERR_CORRUPT, "it was trained on another version of the dataset");
    if (a->part_count != (size_t)p->doc->spec.train.leaves)
        return err_set(e, ERR_CORRUPT, "it has %zu parts where the job has %lld leaves", a->part_count,
                       (long long)p->doc->spec.train.leaves);
    return OK;
}

static void trust_signer(const struct signer *signer, struct artifact_trust *out)
{
    *out = (struct artifact_trust){ .count = 1 };
    memcpy(out->public_key[0], signer->public_key, SIGN_PUBLIC_BYTES);
}

/* What rank 0's search came to. */
struct search {
    char key[STORE_KEY_BYTES]; /* "": none */
    size_t rejected;
};

/* By name and not by place in the list: another attempt that still ends may add to it. Names of one job
 * differ in their order of time alone. */
static enum err_code search(const struct checkpoint_place *p, const char *before, struct search *out,
                            checkpoint_rejected_fn *rejected, void *context, struct err *e)
{
    CLEANUP(freep) char(*keys)[STORE_KEY_BYTES] = NULL;
    struct artifact_trust trust;
    size_t count;

    trust_signer(p->signer, &trust);
    if (artifact_list(p->store, p->prefix, p->doc->job, ARTIFACT_CHECKPOINT, CHECKPOINTS_MAX, &keys, &count,
                      e))
        return e->code;
    for (size_t i = 0; i < count; i++) {
        CLEANUP(artifact_done) struct artifact a = { 0 };
        if (before[0] && strcmp(keys[i], before) >= 0)
            continue;
        if (artifact_load(p->store, keys[i], &trust, &a, e) == OK && belongs_here(p, &a, e) == OK) {
            memcpy(out->key, keys[i], STORE_KEY_BYTES);
            return OK;
        }
        if (e->code != ERR_CORRUPT && e->code != ERR_NOT_FOUND)
            return e->code; /* the store is away: that is no reason to start from scratch */
        rejected(context, keys[i], e->text);
        out->rejected++;
        err_clear(e);
    }
    return OK;
}

enum err_code checkpoint_find(const struct checkpoint_place *p, struct comm *comm, const char *before,
                              bool *out_found, struct artifact *out, size_t *io_passed_over,
                              checkpoint_rejected_fn *rejected, void *context, struct err *e)
{
    struct search found = { .key = "" };
    struct artifact_trust trust;
    struct artifact a = { 0 };

    if (comm->rank == 0)
        IGNORE(search(p, before, &found, rejected, context, e));
    if (comm_agree(comm, e) || comm_broadcast(comm, &found, sizeof(found), 0, e))
        return err_wrap(e, "looking for checkpoints");
    if (found.key[0]) {
        trust_signer(p->signer, &trust);
        IGNORE(artifact_load(p->store, found.key, &trust, &a, e));
        if (comm_agree(comm, e)) {
            artifact_done(&a);
            return e->code;
        }
    }
    *out = a;
    *out_found = found.key[0] != '\0';
    *io_passed_over += found.rejected;
    return OK;
}

static enum err_code take_floats(const struct tensors *t, const char *name, float *into, size_t count,
                                 struct err *e)
{
    const struct tensor *tensor = tensors_find(t, name);
    if (!tensor || tensor->type != TENSOR_F32 || tensor->bytes != count * sizeof(float))
        return err_set(e, ERR_CORRUPT, "tensor '%s' is missing or of another size", name);
    memcpy(into, tensor->data, tensor->bytes);
    return OK;
}

static enum err_code restore_slice(const struct checkpoint_place *p, const struct secret *data_key,
                                   const struct artifact *a, struct step *step, size_t slice, struct err *e)
{
    CLEANUP(buf_done) struct buf file = BUF_INIT(STORE_OBJECT_BYTES_MAX);
    CLEANUP(tensors_done) struct tensors t = { 0 };
    struct step_slice s = step_slice(step, slice);

    if (artifact_get_part(p->store, data_key, a, slice, &file, e))
        return e->code;
    if (tensors_read(file.data, file.len, &t, e) || take_floats(&t, "params", s.params, s.count, e) ||
        take_floats(&t, "moment1", s.moment1, s.count, e) ||
        take_floats(&t, "moment2", s.moment2, s.count, e))
        return err_wrap(e, "part %zu", slice);
    return OK;
}

static enum err_code restore_own(const struct checkpoint_place *p, const struct artifact *a,
                                 struct step *step, struct err *e)
{
    const struct secret *data_key = attempt_doc_key(p->doc, a->attempt, a->token);
    struct slice_range range = step_own_slices(step);

    if (!data_key)
        return err_set(e, ERR_NOT_FOUND,
                       "no key of ours opens what attempt %lld sealed: its key-encryption key was "
                       "destroyed, or is another cluster's",
                       (long long)a->attempt);
    for (size_t i = 0; i < range.count; i++)
        if (restore_slice(p, data_key, a, step, range.first + i, e))
            return e->code;
    return OK;
}

enum err_code checkpoint_restore(const struct checkpoint_place *p, struct comm *comm,
                                 const struct artifact *a, struct step *step, struct err *e)
{
    if (restore_own(p, a, step, e) == ERR_NOT_FOUND)
        e->code = ERR_CORRUPT; /* the key that sealed it was destroyed: an older one may have another */
    if (comm_agree(comm, e))
        return err_wrap(e, "restore %s", a->manifest_key);
    return step_spread(step, e);
}

/* ---- keeping few ---- */

void checkpoint_prune(const struct checkpoint_place *p, const char *saved_key, int64_t keep)
{
    struct artifact_trust trust;
    struct err ignored = ERR_INIT; /* what stays now goes another time */

    trust_signer(p->signer, &trust);
    IGNORE(artifact_prune(p->store, saved_key, (size_t)keep, &trust, &ignored));
}

/* An attempt before this one may have been killed amid an upload in parts. */
static void abort_uploads(const struct checkpoint_place *p)
{
    struct err ignored = ERR_INIT;
    char under[STORE_KEY_BYTES];
    size_t aborted;
    if (snprintf(under, sizeof(under), "%s%s%s/", p->prefix, p->prefix[0] ? "/" : "", p->doc->job) <
        (int)sizeof(under))
        IGNORE(store_abort_uploads(p->store, under, p->began_ms, &aborted, &ignored));
}

size_t checkpoint_sweep(const struct checkpoint_place *p)
{
    size_t removed, sum = 0;

    abort_uploads(p);
    for (enum artifact_kind kind = ARTIFACT_CHECKPOINT; kind <= ARTIFACT_MODEL; kind++) {
        struct err ignored = ERR_INIT;
        if (artifact_sweep(p->store, p->prefix, p->doc->job, kind, p->doc->token, SWEEP_MAX, &removed,
                           &ignored) == OK)
            sum += removed;
    }
    return sum;
}
