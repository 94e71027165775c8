/*
 * document.h - gather what the ranks of an attempt need: places, credentials, keys, the plan's digest.
 *
 * This is where an attempt's data key is made. The policy is asked once more, as it may have changed since
 * the job was placed.
 */
#ifndef RUNNER_ATTEMPT_DOCUMENT_H
#define RUNNER_ATTEMPT_DOCUMENT_H

#include "core/cluster/attempt_doc.h"

/* Adds the document's text to `out`, which the caller wipes; *out_key says whose key was used. ERR_DENIED:
 * the policy or the key provider. ERR_USAGE: the spec names a key or bucket that cannot be. ERR_RETRY: the
 * state, the store of the checkpoints or the key service is away; it has tried for less than the attempt's lease. */
enum err_code document_make(const struct cluster *c, struct state *s, const struct job *job, int64_t attempt,
                            int64_t token, struct buf *out, struct keys_facts *out_key, struct err *e);

#endif
