#include "trainer/saver.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "trainer/beside.h"

#include <stdatomic.h>
#include <string.h>

/* LATE: after its deadline, a rank that works has come. MANIFEST: rank 0 has so long for it at least, even
 * where the step in which the last part came up lasted longer than the deadline. */
enum { LATE_MS = 3000, TIDY_MS = 5000, MANIFEST_MS = 30000 };

enum phase { PHASE_IDLE, PHASE_PARTS, PHASE_MANIFEST };
enum mark { MARK_FAILED, MARK_BUSY, MARK_READY }; /* the smallest counts */
enum { TENSORS = 3 };
static const char *const tensor_names[TENSORS] = { "params", "moment1", "moment2" };

struct saver {
    struct checkpoint_place place;
    struct comm *comm;
    struct step *step;
    struct device *device;
    struct slice_range own;
    size_t count;    /* floats of one tensor of one slice */
    float *snapshot; /* owned, the device's pinned: own.count slices of TENSORS tensors of `count` floats */
    struct beside *beside;
    enum phase phase; /* the same on all ranks */

    /* Of the checkpoint under way. The thread's while it works; `given_up` and `handed_over` are for it to
     * look at. */
    int64_t slack_ms; /* of saver_begin() */
    int64_t until_ms;
    struct store_lock lock;
    struct artifact artifact;
    struct artifact_part *own_parts;
    size_t next; /* the first of the own parts that is not up */
    atomic_bool given_up, handed_over;
    struct err failure;
    bool late; /* the thread still worked when it ought to have given up by itself */

    /* Of saver_tidy(). */
    char saved_key[STORE_KEY_BYTES];
    int64_t keep;
    bool sweep;
};

enum err_code saver_open(const struct checkpoint_place *place, struct comm *comm, struct step *step,
                         bool polite, struct saver **out, struct err *e)
{
    CLEANUP(saver_closep) struct saver *s = mem_new(sizeof(*s));

    s->place = *place;
    s->comm = comm;
    s->step = step;
    s->device = step_device(step);
    s->own = step_own_slices(step);
    s->count = step_slice(step, s->own.first).count;
    s->own_parts = mem_array(s->own.count, sizeof(*s->own_parts));
    if (device_alloc_pinned(s->device, s->own.count * s->count, TENSORS * sizeof(float),
                            (void **)&s->snapshot, e))
        return err_wrap(e, "copy of %zu parameters and their moments", s->own.count * s->count);
    if (beside_open(polite, &s->beside, e))
        return e->code;
    *out = TAKE(s);
    return OK;
}

bool saver_idle(const struct saver *s)
{
    return s->phase == PHASE_IDLE;
}

int64_t saver_step(const struct saver *s)
{
    return s->artifact.step;
}

/* ---- in the thread ---- */

static enum err_code put_slice(struct saver *s, size_t i, struct err *e)
{
    CLEANUP(buf_done) struct buf file = BUF_INIT(STORE_OBJECT_BYTES_MAX);
    struct tensor tensors[TENSORS];
    size_t slice = s->own.first + i;

    for (size_t t = 0; t < TENSORS; t++) {
        tensors[t] = (struct tensor){ .type = TENSOR_F32,
                                      .dims = { s->count },
                                      .dim_count = 1,
                                      .data = s->snapshot + (i * TENSORS + t) * s->count,
                                      .bytes = s->count * sizeof(float) };
        snprintf(tensors[t].name, sizeof(tensors[t].name), "%s", tensor_names[t]);
    }
    if (tensors_write(tensors, TENSORS, NULL, &file, e))
        return err_wrap(e, "slice %zu of the state (more train.leaves make smaller slices)", slice);
    return artifact_put_part(s->place.store, s->place.doc->data_key, &s->artifact, slice, file.data, file.len,
                             &s->lock, &s->own_parts[i], e);
}

static void put_parts(void *context)
{
    struct saver *s = context;
    while (s->failure.code == OK && s->next < s->own.count && !atomic_load(&s->given_up) &&
           !atomic_load(&s->handed_over) && put_slice(s, s->next, &s->failure) == OK)
        s->next++;
}

static void put_manifest(void *context)
{
    struct saver *s = context;
    IGNORE(artifact_commit(s->place.store, s->place.signer, &s->artifact, &s->lock, &s->failure));
}

static void tidy(void *context)
{
    struct saver *s = context;
    checkpoint_prune(&s->place, s->saved_key, s->keep);
    size_t removed = s->sweep ? checkpoint_sweep(&s->place) : 0;
    if (removed)
        log_info("checkpoint.swept", "parts=%zu", removed);
}

/* ---- beginning ---- */

/* What a device could not copy is no checkpoint: nothing of it is put. */
static enum err_code copy_slices(struct saver *s, struct err *e)
{
    for (size_t i = 0; i < s->own.count; i++) {
        float *to = s->snapshot + i * TENSORS * s->count;
        if (step_copy_slice(s->step, s->own.first + i, to, to + s->count, to + 2 * s->count, e))
            return e->code;
    }
    return OK;
}

void saver_begin(struct saver *s, int64_t at_step, json_t *meta, int64_t slack_ms)
{
    const struct job_spec *spec = &s->place.doc->spec;

    invariant(saver_idle(s));
    s->until_ms = clock_mono_ms() + spec->checkpoint.deadline_ms; /* the same on all ranks, about */
    s->slack_ms = slack_ms;
    store_until(s->place.store, clock_mono_ms() + TIDY_MS); /* it may still tidy up: not for long */
    beside_wait(s->beside);
    s->lock = checkpoint_lock(spec, clock_wall_ms());
    checkpoint_describe(&s->place, ARTIFACT_CHECKPOINT, at_step, &s->artifact);
    s->artifact.meta = meta;
    s->artifact.part_count = (size_t)spec->train.leaves;
    s->artifact.parts = mem_array(s->artifact.part_count, sizeof(*s->artifact.parts));
    memset(s->own_parts, 0, s->own.count * sizeof(*s->own_parts));
    err_clear(&s->failure);
    s->late = false;
    s->next = 0;
    atomic_store(&s->given_up, false);
    IGNORE(copy_slices(s, &s->failure));
    store_until(s->place.store, s->until_ms);
    comm_until(s->comm, s->until_ms + LATE_MS + slack_ms);
    s->phase = PHASE_PARTS;
    beside_start(s->beside, put_parts, s);
}

/* ---- from phase to phase ---- */

/* Every rank's parts, gathered in rank order, into slice order. */
static enum err_code gather_parts(struct saver *s, struct err *e)
{
    struct artifact *a = &s->artifact;
    CLEANUP(freep) struct artifact_part *all = mem_array(a->part_count, sizeof(*all));

    if (comm_gather(s->comm, s->own_parts, s->own.count * sizeof(*all), all, e))
        return e->code;
    invariant(a->parts != NULL); /* of saver_begin() */
    for (int rank = 0; rank < s->comm->size; rank++) {
        struct slice_range r = slices_of_rank(rank, s->comm->size, a->part_count);
        memcpy(&a->parts[r.first], &all[(size_t)rank * r.count], r.count * sizeof(*all));
    }
    return OK;
}

static void become_idle(struct saver *s)
{
    store_until(s->place.store, 0);
    comm_until(s->comm, 0);
    artifact_done(&s->artifact);
    s->artifact = (struct artifact){ .parts = NULL };
    s->phase = PHASE_IDLE;
}

/* Of a checkpoint that will never be: a disk that is full must not be filled further by each try. */
static void remove_parts(struct saver *s)
{
    struct err ignored = ERR_INIT;

    store_until(s->place.store, clock_mono_ms() + TIDY_MS);
    for (size_t i = 0; i < s->own.count; i++)
        if (s->own_parts[i].key[0])
            IGNORE(store_delete(s->place.store, s->own_parts[i].key, s->own_parts[i].version, &ignored));
}

/* Without a manifest it never was. One that rank 0 may have put names the parts: they stay. */
static enum err_code failed(struct saver *s, struct err *e)
{
    long long at_step = (long long)s->artifact.step;

    if (s->phase == PHASE_PARTS && !s->comm->broken)
        remove_parts(s);
    become_idle(s);
    return err_wrap(e, "checkpoint at step %lld", at_step);
}

/* All parts are up, on all ranks. */
static enum err_code begin_manifest(struct saver *s, struct err *e)
{
    if (gather_parts(s, e))
        return failed(s, e);
    s->phase = PHASE_MANIFEST;
    s->until_ms = MAX(s->until_ms, clock_mono_ms() + MANIFEST_MS);
    store_until(s->place.store, s->until_ms);
    comm_until(s->comm, s->until_ms + LATE_MS + s->slack_ms);
    if (s->comm->rank == 0)
        beside_start(s->beside, put_manifest, s);
    return OK;
}

/* Rank 0 has put the manifest. */
static enum err_code conclude(struct saver *s, struct saver_result *out, struct err *e)
{
    memcpy(out->key, s->artifact.manifest_key, sizeof(out->key));
    if (comm_broadcast(s->comm, out->key, sizeof(out->key), 0, e))
        return failed(s, e);
    out->committed = true;
    out->step = s->artifact.step;
    become_idle(s);
    return OK;
}

/* A rank that works gives up at the deadline by itself, and says what it was at. One that has not come a
 * moment later does not work. */
static enum err_code meet_and_agree(struct saver *s, struct err *e)
{
    struct err e_meet = ERR_INIT;

    if (comm_meet(s->comm, MAX(s->until_ms, clock_mono_ms()) + LATE_MS, &e_meet)) {
        if (e->code == OK)
            *e = e_meet;
        return e->code;
    }
    return comm_agree(s->comm, e);
}

/* Who waits does the rest itself: the thread is polite, and would be so on a busy machine while a stop's time
 * runs out. */
static void take_over(struct saver *s)
{
    atomic_store(&s->handed_over, true);
    beside_wait(s->beside);
    atomic_store(&s->handed_over, false);
    if (s->phase == PHASE_PARTS && s->failure.code == OK)
        put_parts(s);
}

/* The thread's work is over, on all ranks: how did it go? One that hangs for good does so here, and the
 * others meet without it. What the thread met since it was told to give up is our own doing. */
static enum err_code settle(struct saver *s, struct err *e)
{
    take_over(s);
    if (s->late)
        IGNORE(err_set(e, ERR_RETRY, "its upload went on for %d s behind the deadline", LATE_MS / 1000));
    else if (!atomic_load(&s->given_up))
        *e = s->failure;
    return meet_and_agree(s, e) ? failed(s, e) : OK;
}

static void give_up(struct saver *s)
{
    atomic_store(&s->given_up, true);
    store_until(s->place.store, 1);
}

int64_t saver_mark(struct saver *s)
{
    if (saver_idle(s))
        return MARK_READY;
    if (beside_done(s->beside))
        return s->failure.code == OK ? MARK_READY : MARK_FAILED;
    s->late = clock_mono_ms() >= s->until_ms + LATE_MS;
    return s->late ? MARK_FAILED : MARK_BUSY;
}

enum err_code saver_hear(struct saver *s, int64_t mark_min, struct saver_result *out, struct err *e)
{
    *out = (struct saver_result){ .committed = false };
    if (saver_idle(s) || mark_min == MARK_BUSY)
        return OK;
    if (mark_min == MARK_READY)
        return s->phase == PHASE_PARTS ? begin_manifest(s, e) : conclude(s, out, e);
    if (!beside_done(s->beside))
        give_up(s);
    IGNORE(settle(s, e));
    invariant(e->code != OK); /* one of us said so */
    return e->code;
}

enum err_code saver_finish(struct saver *s, struct saver_result *out, struct err *e)
{
    *out = (struct saver_result){ .committed = false };
    if (saver_idle(s))
        return OK;
    if (s->phase == PHASE_PARTS && (settle(s, e) || begin_manifest(s, e)))
        return e->code;
    return settle(s, e) ? e->code : conclude(s, out, e);
}

void saver_hurry(struct saver *s, int64_t within_ms)
{
    if (saver_idle(s))
        return;
    s->until_ms = MIN(s->until_ms, clock_mono_ms() + within_ms);
    store_until(s->place.store, s->until_ms);
}

void saver_tidy(struct saver *s, const char *saved_key, int64_t keep, bool sweep)
{
    invariant(saver_idle(s));
    beside_wait(s->beside);
    snprintf(s->saved_key, sizeof(s->saved_key), "%s", saved_key);
    s->keep = keep;
    s->sweep = sweep;
    store_until(s->place.store, 0);
    beside_start(s->beside, tidy, s);
}

void saver_close(struct saver *s)
{
    if (!s)
        return;
    if (s->phase == PHASE_PARTS)
        give_up(s);
    else
        store_until(s->place.store, clock_mono_ms() + TIDY_MS);
    beside_close(s->beside);
    if (s->phase == PHASE_PARTS && !s->comm->broken)
        remove_parts(s);
    if (!saver_idle(s))
        become_idle(s);
    free(s->own_parts);
    device_free_pinned(s->device, s->snapshot);
    free(s);
}
