#include "core/cluster/cluster_paths.h"

#include "base/text.h"

static enum err_code assume(const struct cluster *c, const struct cluster_store *s, const char *bucket,
                            const struct sts_request *q, int64_t timeout_ms, struct store_session *out,
                            struct err *e)
{
    CLEANUP(store_session_done) struct store_session own = { .access_key = NULL };
    struct store_place place;
    if (cluster_place(c, bucket, &place, e) || cluster_credentials(c, bucket, &own, e))
        return e->code;
    if (s->sts_endpoint[0]) {
        if (text_copy(place.endpoint, sizeof(place.endpoint), s->sts_endpoint, "sts_endpoint", e))
            return e->code;
        policy_guard(&c->policy, place.endpoint, place.region, &place.guard);
    }
    place.patience_ms = 0;
    place.deadline_ms = timeout_ms;
    const struct store_credentials lent = store_lend(&own);
    return sts_assume_role(&place, &lent, q, &clock_real, out, e);
}

const char *cluster_role(const struct cluster *c, const char *bucket)
{
    const struct cluster_store *s = cluster_find_store(c, bucket);
    return s ? s->role : "";
}

enum err_code cluster_session(const struct cluster *c, const char *bucket, const char *prefix,
                              enum session_reach reach, const char *name, int64_t timeout_ms,
                              struct store_session *out, struct err *e)
{
    CLEANUP(buf_done) struct buf policy = BUF_INIT(STS_POLICY_BYTES_MAX);
    const struct cluster_store *s = cluster_find_store(c, bucket);
    if (!s || !s->role[0])
        return cluster_credentials(c, bucket, out, e);
    if (session_policy(s->role, bucket, prefix, s->sse_key, reach, &policy, e))
        return err_wrap(e, "session for bucket '%s'", bucket);
    const struct sts_request q = {
        .role = s->role, .session_name = name, .policy = buf_text(&policy), .duration_ms = s->session_ms
    };
    if (assume(c, s, bucket, &q, timeout_ms, out, e))
        return err_wrap(e, "session for bucket '%s'", bucket);
    return OK;
}
