/*
 * artifact.h - checkpoints and models in the store: sealed parts, and one signed manifest that makes them
 * exist.
 *
 *     PREFIX/JOB/checkpoint/STEP-ATTEMPT-TOKEN/part-0000.sealed   (and more parts)
 *     PREFIX/JOB/checkpoint/STEP-ATTEMPT-TOKEN.json               the manifest
 *     PREFIX/JOB/model/STEP-ATTEMPT-TOKEN/part-0000.sealed
 *     PREFIX/JOB/model/STEP-ATTEMPT-TOKEN.json
 *
 * (STEP 12 digits, ATTEMPT 4, TOKEN 13, so byte order is order of time.) Keys are never used twice. Parts
 * are written first, by whichever rank; the manifest last, by rank 0: what has no manifest does not exist.
 * The manifest is a DSSE envelope over canonical JSON, type application/vnd.sovrun.artifact+json: who,
 * which step, the wrapped data key, every part by key, version, length, SHA-256 and the lock as it was read
 * back, and free `meta` (text and integers: positions, metrics, encodings).
 *
 * A checkpoint's parts are safetensors files of state slices; their number and cut depend on the spec
 * alone, never on the number of ranks. A model has one part: the final safetensors file. Restoring reads
 * manifests from the newest down and takes the first whose signature and parts verify; an error while
 * listing is an error, never "no checkpoint".
 */
#ifndef CORE_ARTIFACT_ARTIFACT_H
#define CORE_ARTIFACT_ARTIFACT_H

#include "core/artifact/tensors.h"
#include "core/crypto/crypto.h"
#include "core/keys/keys.h"
#include "core/seal/seal.h"
#include "core/store/store.h"

enum { ARTIFACT_PARTS_MAX = 4096, ARTIFACT_NAME_BYTES = 64, ARTIFACT_TRUST_MAX = 8 };
enum artifact_kind { ARTIFACT_CHECKPOINT, ARTIFACT_MODEL };
extern const char *const artifact_kind_names[]; /* "checkpoint", "model" */

struct artifact_part {
    char key[STORE_KEY_BYTES], version[STORE_VERSION_BYTES];
    uint64_t plain_bytes, sealed_bytes;
    char sha256[SHA256_HEX_BYTES];       /* of the sealed bytes */
    char plain_sha256[SHA256_HEX_BYTES]; /* of what is inside */
    struct store_lock lock;              /* as read back */
};

struct artifact {
    enum artifact_kind kind;
    char cluster[64], region[64], job[64];
    int64_t step, attempt, token, created_ms;
    char bucket[STORE_BUCKET_BYTES], prefix[STORE_KEY_BYTES]; /* PREFIX, without JOB */
    char wrapped_key[KEYS_WRAPPED_BYTES_MAX];
    char dataset_digest[SHA256_HEX_BYTES], spec_digest[SHA256_HEX_BYTES];
    struct artifact_part *parts; /* owned */
    size_t part_count;
    json_t *meta; /* owned object */
    /* Known once it has been stored or read: */
    char manifest_key[STORE_KEY_BYTES], manifest_version[STORE_VERSION_BYTES];
};
void artifact_done(struct artifact *a);

/* "checkpoint/000000000120-0002-1795356957229" and the keys that follow from it. `a` needs kind, prefix,
 * job, step, attempt, token. */
enum err_code artifact_name(const struct artifact *a, char out[ARTIFACT_NAME_BYTES], struct err *e);
enum err_code artifact_part_key(const struct artifact *a, size_t part, char out[STORE_KEY_BYTES],
                                struct err *e);

/* Seal one part and put it, with the lock. Fills *out. Any rank may call it for its own parts. */
enum err_code artifact_put_part(struct store *s, const struct secret *data_key, const struct artifact *a,
                                size_t part, const void *plain, size_t n, const struct store_lock *lock,
                                struct artifact_part *out, struct err *e);
/* Sign and put the manifest, with the lock; fills manifest_key and manifest_version. From here on the
 * artifact exists. */
enum err_code artifact_commit(struct store *s, const struct signer *signer, struct artifact *a,
                              const struct store_lock *lock, struct err *e);

struct artifact_trust {
    uint8_t public_key[ARTIFACT_TRUST_MAX][SIGN_PUBLIC_BYTES];
    size_t count;
};
/* One manifest, its signature and its form verified. ERR_CORRUPT otherwise. */
enum err_code artifact_load(struct store *s, const char *manifest_key, const struct artifact_trust *trust,
                            struct artifact *out, struct err *e);

/* The manifests of a job, newest (largest step, then attempt, then token) first: keys only. At most `max`. */
enum err_code artifact_list(struct store *s, const char *prefix, const char *job, enum artifact_kind kind,
                            size_t max, char (**out_keys)[STORE_KEY_BYTES], size_t *out_count, struct err *e);

/* Remove parts that no manifest names, left behind by attempts before `token` that ended amid a save: at most
 * `max` of them, as far as their locks allow. */
enum err_code artifact_sweep(struct store *s, const char *prefix, const char *job, enum artifact_kind kind,
                             int64_t token, size_t max, size_t *out_removed, struct err *e);

/* Keep the artifact whose manifest is at `saved_key` and the keep - 1 before it. Of those before them, the
 * oldest first and at most 64 a call, remove every version of manifest, notes and parts. Of those kept,
 * remove the versions of parts that their manifests do not name: a put whose answer was lost and that was
 * tried again leaves one. All of it as far as locks allow; what cannot be removed is left for another call,
 * and what stands behind `saved_key` is neither counted nor touched. An error is one of listing: then all is
 * as it was.
 */
enum err_code artifact_prune(struct store *s, const char *saved_key, size_t keep,
                             const struct artifact_trust *trust, struct err *e);

/* What the data key of a job's artifacts is bound to (rewrap.h unwraps it). Borrows. */
void artifact_key_context(const char *cluster, const char *region, const char *job, struct keys_context *out);

/* Fetch part i by its version, check length and hash, open the seal. */
enum err_code artifact_get_part(struct store *s, const struct secret *data_key, const struct artifact *a,
                                size_t part, struct buf *out, struct err *e);

/* Everything about it is as the manifest says: each part is there, its hash, its seal, its lock not shorter
 * than recorded. */
enum err_code artifact_verify(struct store *s, const struct secret *data_key, const struct artifact *a,
                              struct err *e);

#endif
