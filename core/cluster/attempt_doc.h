/*
 * attempt_doc.h - all that the ranks of one attempt need, on rank 0's standard input.
 *
 * The supervisor writes it, rank 0 reads it whole and broadcasts it: so no secret stands in arguments,
 * environment or on disk. JSON, version 5; secrets are base64 members of it and nowhere else. Both sides wipe
 * the text when they have parsed it.
 */
#ifndef CORE_CLUSTER_ATTEMPT_DOC_H
#define CORE_CLUSTER_ATTEMPT_DOC_H

#include "core/cluster/cluster.h"
#include "core/cluster/networks.h"
#include "core/job/attempt.h"
#include "core/job/job.h"

enum { ATTEMPT_DOC_BYTES_MAX = 16 << 20, ATTEMPT_KEYS_MAX = 64 };

struct attempt_store {
    struct store_place place;
    struct store_session session; /* what it begins with: session_doc.h */
};
/* The data key of an earlier attempt, whose checkpoints can so be opened: the supervisor asks the HSM or the
 * key service, once an attempt, and no rank does. */
struct attempt_key {
    int64_t attempt, token;
    struct secret *key;
};
struct attempt_doc {
    char cluster[64], region[64];
    char job[JOB_ID_BYTES];
    int64_t attempt, token;
    struct job_spec spec;
    char spec_digest[65], dataset_digest[65];
    struct attempt_store data, models; /* the buckets of data.train and checkpoint.to */
    struct attempt_from {              /* of model.from, where the spec has one */
        struct attempt_store at;
        char version[STORE_VERSION_BYTES]; /* of the file or the manifest; "": it could not be had any more */
        struct secret *data_key;           /* of a manifest's parts; NULL: a plain file */
    } from;
    struct networks networks; /* over which the ranks may talk, where they are on several hosts */
    struct state_config state;
    struct secret *state_password; /* may be NULL */
    struct attempt_key earlier[ATTEMPT_KEYS_MAX];
    size_t earlier_count;
    struct secret *data_key; /* this attempt's, and its wrapped form */
    char wrapped_key[KEYS_WRAPPED_BYTES_MAX];
    struct secret *signing_seed;
    char first_plan_digest[65]; /* of the plan of the epoch that the scheduler planned: the trainer's must be
                                   the same */
    int64_t first_plan_epoch;
};
void attempt_doc_done(struct attempt_doc *d);
/* Borrowed; NULL: neither this attempt's nor one of the earlier. */
const struct secret *attempt_doc_key(const struct attempt_doc *d, int64_t attempt, int64_t token);
enum err_code attempt_doc_to_text(const struct attempt_doc *d, struct buf *out,
                                  struct err *e); /* wipe it: buf_wipe() */
enum err_code attempt_doc_from_text(const void *text, size_t n, struct attempt_doc *out, struct err *e);

/* One session's part of it: its secrets in base64. */
json_t *attempt_doc_session_to_json(const struct store_session *s);
enum err_code attempt_doc_session_from_json(const json_t *j, struct store_session *out, struct err *e);

#endif
