/*
 * session_doc.h - newer credentials on their way to the ranks of a running attempt.
 *
 * The attempt document (attempt_doc.h) has the credentials that an attempt begins with. Those that end are
 * renewed by the supervisor, which puts the next ones into the state, sealed (AES-256-GCM) under a key that
 * is derived from the attempt's data key and bound to cluster, job, attempt and fencing token: the state, and
 * whoever reads it, sees no secret, and no other attempt can open them. A rank takes them up when its own
 * near their end, in the middle of a transfer too, whatever the other ranks are at.
 */
#ifndef CORE_CLUSTER_SESSION_DOC_H
#define CORE_CLUSTER_SESSION_DOC_H

#include "core/cluster/attempt_doc.h"

enum { SESSION_DOC_BYTES_MAX = 64 * 1024 };
/* SESSION_FROM: where the spec has a model.from. */
enum session_use { SESSION_DATA, SESSION_MODELS, SESSION_FROM, SESSION_USES };

/* Whose they are; `data_key` is borrowed. */
struct session_owner {
    const char *cluster, *job;
    int64_t attempt, token;
    const struct secret *data_key;
};
/* Adds base64 of iv, ciphertext and tag. */
enum err_code session_doc_seal(const struct session_owner *owner,
                               const struct store_session sessions[SESSION_USES], struct buf *out,
                               struct err *e);
/* One of them. ERR_CORRUPT: sealed for somebody else, or changed. */
enum err_code session_doc_open(const struct session_owner *owner, const char *text, enum session_use use,
                               struct store_session *out, struct err *e);

#endif
