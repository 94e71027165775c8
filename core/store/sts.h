/*
 * sts.h - credentials for a while and for few things: AssumeRole of the Security Token Service, with a
 * session policy.
 *
 * What a session may do is what its role and its session policy both allow (AWS, "AssumeRole"; Ceph RGW has
 * it, too). So a job's ranks get no more than their own prefixes, whatever the credentials that asked could
 * do.
 */
#ifndef CORE_STORE_STS_H
#define CORE_STORE_STS_H

#include "base/clock.h"
#include "core/store/store.h"

enum {
    STS_POLICY_BYTES_MAX = 2048, /* the service's own limit */
    STS_ROLE_BYTES = 256,
    STS_SESSION_MS_MIN = 15 * 60 * 1000, /* the service's own limits */
    STS_SESSION_MS_MAX = 12 * 3600 * 1000
};

struct sts_request {
    const char *role;         /* "arn:aws:iam:::role/sovrun-ranks" */
    const char *session_name; /* stands in the service's logs: 2 to 64 of [A-Za-z0-9_=,.@-] */
    const char *policy;       /* compact JSON */
    int64_t duration_ms;
};

/* `place` says where the service is, who may sign its certificate and how long it may take (deadline_ms); its
 * bucket is not looked at. Tried again where that may help, for at most place->patience_ms. ERR_DENIED: the
 * service says no. ERR_USAGE: what no service would take. *out is the caller's. */
enum err_code sts_assume_role(const struct store_place *place, const struct store_credentials *own,
                              const struct sts_request *q, const struct clock *clock,
                              struct store_session *out, struct err *e);

#endif
