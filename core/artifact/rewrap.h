/*
 * rewrap.h - the data key of an artifact, and rotation: wrapping it again under another key-encryption key.
 *
 * A manifest lies under lock and cannot change. So a data key that was wrapped again stands in a note beside
 * it:
 *
 *     .../checkpoint/STEP-ATTEMPT-TOKEN.json              the manifest, with the key as it was wrapped first
 *     .../checkpoint/STEP-ATTEMPT-TOKEN.rewrapped-0001    a note: DSSE, type
 * application/vnd.sovrun.rewrap+json
 *
 * Notes are numbered; the newest that verifies and unwraps counts, then the ones before it, then the
 * manifest's own. A note is locked as long as the artifact's parts still are. The data key itself never
 * changes, so no part is touched; and once the old key-encryption key is destroyed, what was not wrapped
 * again is gone for good.
 */
#ifndef CORE_ARTIFACT_REWRAP_H
#define CORE_ARTIFACT_REWRAP_H

#include "core/artifact/artifact.h"

enum { REWRAP_NOTES_MAX = 9999, REWRAP_TRIED_MAX = 8, REWRAP_BYTES_MAX = 32 * 1024 };

/* The data key of `a`. ERR_NOT_FOUND: its key-encryption key is gone (destroyed). ERR_CORRUPT: nothing that
 * is there opens under this cluster's keys. */
enum err_code artifact_unwrap(struct store *s, struct keys *k, const struct artifact_trust *trust,
                              const struct artifact *a, struct secret **out, struct err *e);

/* Make sure that `a` opens with the newest version of key `name` alone. *out_done false: it does already, or
 * it is wrapped by a key of another name. Called again it changes nothing, so what was interrupted is just
 * repeated. */
enum err_code artifact_rewrap(struct store *s, struct keys *k, const struct signer *signer,
                              const struct artifact_trust *trust, const struct artifact *a, const char *name,
                              bool *out_done, struct err *e);

/* Is this the key of a manifest, under whatever prefix and job: .../checkpoint/N-N-N.json or
 * .../model/N-N-N.json? Pure. */
bool artifact_is_manifest_key(const char *key);

/* The text inside a note. ERR_CORRUPT: malformed, or of another manifest. */
enum err_code rewrap_from_text(const void *text, size_t n, const char *manifest_key,
                               char out_wrapped[KEYS_WRAPPED_BYTES_MAX], struct err *e);

#endif
