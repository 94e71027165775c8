/*
 * session_policy.h - the least that an attempt's ranks need of a bucket, as an IAM policy for their session.
 *
 * Reading: the objects below one prefix, their versions, and the list of them; or one object alone, or those
 * whose keys begin alike, as an artifact's do (core/artifact/artifact.h). Writing: what is below a prefix,
 * too, can be put, locked, and removed; never a lock weakened (no bypass), never the bucket's own settings
 * touched. Everything else in the bucket, and every other bucket, stays out of reach of a rank, whatever it
 * runs. Where the store encrypts under a key of its key service (`sse_key`, an ARN; "": none), that key may
 * be used, too. Only a session of AWS's is told so (its role's account has 12 digits): Ceph takes no policy
 * that speaks of keys. Pure.
 */
#ifndef CORE_CLUSTER_SESSION_POLICY_H
#define CORE_CLUSTER_SESSION_POLICY_H

#include "base/buf.h"
#include "base/err.h"

enum session_reach {
    REACH_READ_BELOW,
    REACH_WRITE_BELOW,
    REACH_READ_ONE,   /* `prefix` is the object's key */
    REACH_READ_ALIKE, /* keys begin with it */
};

/* Compact JSON for things below "arn:PARTITION:s3:::BUCKET/PREFIX/"; the partition is that of `role`'s ARN.
 * ERR_USAGE: `role` is no ARN, or the prefix holds what a policy would take for a pattern ("*", "?", "$"). */
enum err_code session_policy(const char *role, const char *bucket, const char *prefix, const char *sse_key,
                             enum session_reach reach, struct buf *out, struct err *e);

#endif
