/*
 * checkpoint.h - what a job's checkpoints are: finding, restoring and keeping them. saver.h saves them.
 *
 * A checkpoint has one part for each slice of the parameter vector (params.h): a safetensors file with
 * `params`, `moment1` and `moment2` of that slice. So its cut depends on train.leaves alone, and any number
 * of ranks can restore it. Each rank seals and puts the parts of its own slices; rank 0 then signs and puts
 * the manifest: from there on it exists. Restoring goes from the newest manifest down; one that does not
 * verify, or one of whose parts does not, is passed over and reported by its key.
 *
 * Finding and restoring are collective: every rank returns the same code and text.
 */
#ifndef TRAINER_CHECKPOINT_H
#define TRAINER_CHECKPOINT_H

#include "core/artifact/artifact.h"
#include "core/cluster/attempt_doc.h"
#include "trainer/comm.h"
#include "trainer/step.h"

struct checkpoint_place {
    const struct attempt_doc *doc;
    struct store *store; /* the bucket of checkpoint.to */
    const struct signer *signer;
    char prefix[STORE_KEY_BYTES]; /* of checkpoint.to */
    int64_t began_ms;             /* this attempt, by the wall: older uploads are nobody's any more */
};
/* "s3://bucket/prefix" of the spec, without a slash at the end. */
enum err_code checkpoint_prefix(const char *uri, char out[STORE_KEY_BYTES], struct err *e);

/* What a new artifact of this attempt has in common; parts and meta are the caller's to add. */
void checkpoint_describe(const struct checkpoint_place *p, enum artifact_kind kind, int64_t step,
                         struct artifact *out);
struct store_lock checkpoint_lock(const struct job_spec *spec, int64_t now_ms);

/* Called on rank 0 for each checkpoint that was passed over, with the reason. */
typedef void checkpoint_rejected_fn(void *context, const char *manifest_key, const char *why);

/* The newest manifest older than the one at `before` ("": the newest of all) that is signed by us and belongs
 * to this job and dataset: before the model is made, since `meta` says how. *out_found false: there is none.
 * *io_passed_over grows by those that were rejected on the way. The artifact is the same on every rank. */
enum err_code checkpoint_find(const struct checkpoint_place *p, struct comm *comm, const char *before,
                              bool *out_found, struct artifact *out, size_t *io_passed_over,
                              checkpoint_rejected_fn *rejected, void *context, struct err *e);
/* Its parts into `step`. ERR_CORRUPT: pass it over and look for the one before; the state of `step` is then
 * unspecified. A part or its key that is gone counts as that. */
enum err_code checkpoint_restore(const struct checkpoint_place *p, struct comm *comm,
                                 const struct artifact *a, struct step *step, struct err *e);

/* Rank 0, after a save: keep the checkpoint at `saved_key` and the keep - 1 before it, remove every version
 * of those that are older, and of those kept the versions of parts that no manifest names (artifact_prune()),
 * as far as their locks allow, best effort. What stands behind it (checkpoints that were passed over, or
 * another attempt's) is not counted and not touched. */
void checkpoint_prune(const struct checkpoint_place *p, const char *saved_key, int64_t keep);

/* Rank 0: remove the parts that earlier attempts of this job put and no manifest names, as far as their locks
 * allow, best effort. How many that were. */
size_t checkpoint_sweep(const struct checkpoint_place *p);

#endif
