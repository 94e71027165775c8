#include "trainer/checkpoint.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "trainer/tree.h"

#include <stdio.h>
#include <string.h>

enum { PART_BYTES_MAX = STORE_OBJECT_BYTES_MAX, SWEEP_MAX = 4096, CHECKPOINTS_MAX = 4096 };
enum { LATE_MS = 3000, TIDY_MS = 5000 };

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

/* ---- saving ---- */

static void slice_tensors(const struct step_slice *s, struct tensor out[3])
{
    const float *data[3] = { s->params, s->moment1, s->moment2 };
    static const char *const names[3] = { "params", "moment1", "moment2" };
    for (int i = 0; i < 3; i++) {
        out[i] = (struct tensor){ .type = TENSOR_F32,
                                  .dims = { s->count },
                                  .dim_count = 1,
                                  .data = data[i],
                                  .bytes = s->count * sizeof(float) };
        copy_text(out[i].name, sizeof(out[i].name), names[i]);
    }
}

static enum err_code put_slice(const struct checkpoint_place *p, const struct artifact *a, struct step *step,
                               size_t slice, const struct store_lock *lock, struct artifact_part *out,
                               struct err *e)
{
    CLEANUP(buf_done) struct buf file = BUF_INIT(PART_BYTES_MAX);
    struct step_slice s = step_slice(step, slice);
    struct tensor tensors[3];

    slice_tensors(&s, tensors);
    if (tensors_write(tensors, 3, NULL, &file, e))
        return err_wrap(e, "slice %zu of the state (more train.leaves make smaller slices)", slice);
    return artifact_put_part(p->store, p->doc->data_key, a, slice, file.data, file.len, lock, out, e);
}

/* A rank that works gives up at the deadline by itself, and says what it was at. One that has not come a
 * moment later does not work. */
static enum err_code meet_and_agree(struct comm *comm, int64_t until_ms, struct err *e)
{
    struct err e_meet = ERR_INIT;

    if (comm_meet(comm, until_ms + LATE_MS, &e_meet)) {
        if (e->code == OK)
            *e = e_meet;
        return e->code;
    }
    return comm_agree(comm, e);
}

/* Every rank's parts, gathered in rank order, into slice order. */
static enum err_code gather_parts(struct comm *comm, const struct artifact_part *own,
                                  struct slice_range range, struct artifact *a, struct err *e)
{
    CLEANUP(freep) struct artifact_part *all = mem_array(a->part_count, sizeof(*all));

    if (comm_gather(comm, own, range.count * sizeof(*own), all, e))
        return e->code;
    for (int rank = 0; rank < comm->size; rank++) {
        struct slice_range r = slices_of_rank(rank, comm->size, a->part_count);
        memcpy(&a->parts[r.first], &all[(size_t)rank * r.count], r.count * sizeof(*all));
    }
    return OK;
}

/* Of a checkpoint that will never be: a disk that is full must not be filled further by each try. */
static void remove_parts(const struct checkpoint_place *p, const struct artifact_part *parts, size_t count)
{
    struct err ignored = ERR_INIT;
    for (size_t i = 0; i < count; i++)
        if (parts[i].key[0])
            IGNORE(store_delete(p->store, parts[i].key, parts[i].version, &ignored));
}

/* This rank's parts, told to all: OK only where every rank has put its own in time. */
static enum err_code put_own(const struct checkpoint_place *p, struct comm *comm, struct step *step,
                             const struct artifact *a, const struct store_lock *lock, int64_t until_ms,
                             struct artifact_part *own, struct err *e)
{
    struct slice_range range = step_own_slices(step);

    for (size_t i = 0; i < range.count && e->code == OK; i++)
        IGNORE(put_slice(p, a, step, range.first + i, lock, &own[i], e));
    return meet_and_agree(comm, until_ms, e);
}

static enum err_code save_parts(const struct checkpoint_place *p, struct comm *comm, struct step *step,
                                struct artifact *a, int64_t until_ms, struct err *e)
{
    struct slice_range range = step_own_slices(step);
    CLEANUP(freep) struct artifact_part *own = mem_array(range.count, sizeof(*own));
    struct store_lock lock = checkpoint_lock(&p->doc->spec, clock_wall_ms());

    if (put_own(p, comm, step, a, &lock, until_ms, own, e)) {
        if (!comm->broken) {
            store_until(p->store, clock_mono_ms() + TIDY_MS);
            remove_parts(p, own, range.count);
        }
        return e->code;
    }
    if (gather_parts(comm, own, range, a, e))
        return e->code;
    if (comm->rank == 0)
        IGNORE(artifact_commit(p->store, p->signer, a, &lock, e));
    return meet_and_agree(comm, until_ms, e);
}

enum err_code checkpoint_save(const struct checkpoint_place *p, struct comm *comm, struct step *step,
                              int64_t at_step, json_t *meta, char out_key[STORE_KEY_BYTES], struct err *e)
{
    CLEANUP(artifact_done) struct artifact a = { 0 };
    int64_t until_ms = clock_mono_ms() + p->doc->spec.checkpoint.deadline_ms;

    checkpoint_describe(p, ARTIFACT_CHECKPOINT, at_step, &a);
    a.meta = json_incref(meta);
    a.part_count = (size_t)p->doc->spec.train.leaves;
    a.parts = mem_array(a.part_count, sizeof(*a.parts));
    store_until(p->store, until_ms);
    enum err_code code = save_parts(p, comm, step, &a, until_ms, e);
    store_until(p->store, 0);
    if (code)
        return err_wrap(e, "checkpoint at step %lld", (long long)at_step);
    memcpy(out_key, a.manifest_key, STORE_KEY_BYTES);
    return comm_broadcast(comm, out_key, STORE_KEY_BYTES, 0, e);
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
    CLEANUP(buf_done) struct buf file = BUF_INIT(PART_BYTES_MAX);
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
        IGNORE(store_abort_uploads(p->store, under, clock_wall_ms(), &aborted, &ignored));
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
