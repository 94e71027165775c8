/*
 * document.h - gather what the ranks of an attempt need: places, credentials, keys, the plan's digest.
 *
 * This is where an attempt's data key is made. The policy is asked once more, as it may have changed since
 * the job was placed.
 */
#ifndef RUNNER_ATTEMPT_DOCUMENT_H
#define RUNNER_ATTEMPT_DOCUMENT_H

#include "core/cluster/attempt_doc.h"

#include "runner/attempt/sessions.h"

/* What stands in the ledger about it. */
struct document_facts {
    struct keys_facts key; /* whose data key was made; version 0: none */
    json_t *readback;      /* owned: what the stores say of the job's buckets, held against the policy */
};
static inline void document_facts_done(struct document_facts *f)
{
    json_decref(f->readback);
    *f = (struct document_facts){ .readback = NULL };
}

/* Adds the document's text to `out`, which the caller wipes; *facts is filled as far as it came. ERR_DENIED:
 * the policy, what a store says of a bucket, or the key provider. ERR_USAGE: the spec names a key or bucket
 * that cannot be. ERR_RETRY: the state, a store or the key service is away; it has tried for less than the
 * attempt's lease. *sessions, which the caller ends, are those that the document begins with. */
enum err_code document_make(const struct cluster *c, struct state *s, const struct job *job, int64_t attempt,
                            int64_t token, struct buf *out, struct sessions *sessions,
                            struct document_facts *facts, struct err *e);

#endif
