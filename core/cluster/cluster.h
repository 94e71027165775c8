/*
 * cluster.h - one cluster's configuration, and opening what it names.
 *
 * HOME/sovrun.yaml says where the state, the stores, the keys, the queues and the nodes are. Every program
 * loads it the same way; relative paths are relative to HOME. No secret stands in it: it names files (0600)
 * that hold them. cluster_init_home() writes a whole embedded cluster (private Redis, dir store, file keys)
 * for `sovrun up` and `sovrun run`.
 *
 *     HOME/sovrun.yaml                                     HOME/store/BUCKET/
 *     HOME/keys/NAME.vN.key, signing.pem, signing.pub.pem  HOME/redis/
 *     HOME/run/api.sock, api.port, token, redis.sock, ...  HOME/log/
 *                                                          HOME/attempts/JOB.N/
 *
 * docs/FORMATS.md has all of it.
 */
#ifndef CORE_CLUSTER_CLUSTER_H
#define CORE_CLUSTER_CLUSTER_H

#include "core/conf/conf.h"
#include "core/crypto/crypto.h"
#include "core/cluster/fence.h"
#include "core/cluster/session_policy.h"
#include "core/keys/keys.h"
#include "core/policy/policy.h"
#include "core/state/state.h"
#include "core/store/store.h"
#include "core/store/sts.h"

enum {
    CLUSTER_STORES_MAX = 32,
    CLUSTER_BUCKETS_MAX = 16,
    CLUSTER_QUEUES_MAX = 32,
    CLUSTER_NODES_MAX = 1024,
    CLUSTER_FENCE_MAX = 16,
    CLUSTER_PATH_BYTES = 512,
    CLUSTER_USERS_MAX = 64,
    CLUSTER_USER_BYTES = 64,
    CLUSTER_CONTEXT_MAX = 8,
    CLUSTER_PAIR_BYTES = 96
};

struct cluster_store {
    char buckets[CLUSTER_BUCKETS_MAX][STORE_BUCKET_BYTES];
    size_t bucket_count;
    int kind;                      /* enum store_kind */
    char root[CLUSTER_PATH_BYTES]; /* dir */
    char endpoint[256], region[64], ca_file[CLUSTER_PATH_BYTES], cert_file[CLUSTER_PATH_BYTES],
        key_file[CLUSTER_PATH_BYTES], credentials_file[CLUSTER_PATH_BYTES]; /* s3 */
    bool path_style;
    int64_t patience_ms, deadline_ms; /* as in struct store_place */
    char role[STS_ROLE_BYTES];        /* "": ranks use the credentials as they are in the file */
    char sts_endpoint[256];           /* "": the endpoint */
    int64_t session_ms;               /* how long a session of that role lasts */
    int payload, sse;                 /* enum store_payload, enum store_sse */
    char sse_key[STORE_SSE_KEY_BYTES];
    char sse_context[CLUSTER_CONTEXT_MAX][CLUSTER_PAIR_BYTES]; /* "name=value" */
    size_t sse_context_count;
};
struct cluster_queue {
    char name[64];
    int64_t priority;  /* added to the jobs' own */
    int64_t slots_max; /* at once over all its jobs; 0: no limit */
};
struct cluster_node {
    char name[64];
    int64_t slots;
};
struct cluster_state {
    char address[256]; /* "unix:run/redis.sock" */
    char password_file[CLUSTER_PATH_BYTES];
    int durability; /* "always" | "dev" */
    bool embedded;  /* `sovrun up` starts and stops this Redis */
};
struct cluster_api {
    char socket[CLUSTER_PATH_BYTES];
    char listen[64]; /* "127.0.0.1:0": a free port, written to run/api.port; "": no TCP */
    char token_file[CLUSTER_PATH_BYTES];
};
struct cluster_roles {
    char admin[CLUSTER_USERS_MAX][CLUSTER_USER_BYTES], auditor[CLUSTER_USERS_MAX][CLUSTER_USER_BYTES];
    size_t admin_count, auditor_count;
};
struct cluster_ledger {
    char bucket[STORE_BUCKET_BYTES], prefix[256];
    int lock; /* enum store_lock_mode */
    int64_t retain_ms;
};
struct cluster_timing {
    int64_t leader_lease_ms, attempt_lease_ms, stop_grace_ms;
};
struct cluster_launch {
    char mpirun[CLUSTER_PATH_BYTES];  /* "mpirun" */
    char trainer[CLUSTER_PATH_BYTES]; /* "" : sovrun-trainer beside the running program */
    char transport[64]; /* Open MPI's btl list: "self,vader" on one host, "self,tcp" over hosts */
    bool oversubscribe;
    int fence;                                                  /* enum fence_mode */
    char fence_allow[CLUSTER_FENCE_MAX][HTTP_RANGE_TEXT_BYTES]; /* ranges, beside the stores' own */
    size_t fence_allow_count;
    uint64_t log_bytes_max; /* of one attempt */
};
struct cluster {
    char home[CLUSTER_PATH_BYTES]; /* absolute; not in the file */
    char name[64], region[64];
    struct cluster_state state;
    struct cluster_api api;
    struct cluster_roles roles;
    struct cluster_store stores[CLUSTER_STORES_MAX];
    size_t store_count;
    struct keys_config keys;
    char signing_key[CLUSTER_PATH_BYTES];         /* PEM, 0600; its public half beside it as .pub.pem */
    char default_data_bucket[STORE_BUCKET_BYTES]; /* where `run` and `submit` stage plain files */
    struct cluster_ledger ledger;
    char policy_file[CLUSTER_PATH_BYTES];
    struct policy policy; /* read from it */
    struct cluster_queue queues[CLUSTER_QUEUES_MAX];
    size_t queue_count;
    struct cluster_node nodes[CLUSTER_NODES_MAX];
    size_t node_count;
    struct cluster_timing timing;
    struct cluster_launch launch;
};
extern const struct conf_field cluster_fields[];

/* HOME/sovrun.yaml (or config_file where not NULL), checked; paths made absolute. The struct is large: from
 * the heap. */
enum err_code cluster_load(const char *home, const char *config_file, struct cluster **out, struct err *e);
void cluster_free(struct cluster *c);
DEFINE_CLEANUP_PTR(struct cluster, cluster_free)

/* Folders (0700), sovrun.yaml, keys, buckets data, models, evidence: whatever is missing; what is there is
 * left as it is. */
enum err_code cluster_init_home(const char *home, struct err *e);

/* Which store holds a bucket: ERR_DENIED "bucket 'x' belongs to none of the cluster's stores". */
enum err_code cluster_place(const struct cluster *c, const char *bucket, struct store_place *out,
                            struct err *e);
/* A place in the store that is the ledger's alone: an object of anybody else there would spoil the audit
 * trail. */
bool cluster_is_ledgers(const struct cluster *c, const char *bucket, const char *key);
/* The place's credentials as its file has them now (NULLs for dir). */
enum err_code cluster_credentials(const struct cluster *c, const char *bucket, struct store_session *out,
                                  struct err *e);

/* The role that its ranks' sessions are of; "": none. */
const char *cluster_role(const struct cluster *c, const char *bucket);
/* Credentials for an attempt's ranks, for what `reach` says of bucket and prefix alone: where the store has a
 * role, a session of it that may do no more (session_policy.h); else what its file has now.
 * `name` stands in the service's logs. One call of at most timeout_ms. */
enum err_code cluster_session(const struct cluster *c, const char *bucket, const char *prefix,
                              enum session_reach reach, const char *name, int64_t timeout_ms,
                              struct store_session *out, struct err *e);

/* A bucket that is configured and not there is away, as a disk that is not mounted: ERR_RETRY. A store by its
 * bucket's name is not waited for with the place's patience, only tried a few times: whoever asks has a loop
 * or a user of its own to come back to. */
enum err_code cluster_open_store(const struct cluster *c, const char *bucket, struct store **out,
                                 struct err *e);
enum err_code cluster_open_place(const struct store_place *place, const struct store_credentials *credentials,
                                 struct store **out, struct err *e);
enum err_code cluster_open_keys(const struct cluster *c, struct keys **out, struct err *e);
enum err_code cluster_open_state(const struct cluster *c, struct state **out, struct err *e);
void cluster_state_config(const struct cluster *c,
                          struct state_config *out); /* what cluster_open_state() opens */
enum err_code cluster_state_password(const struct cluster *c, struct secret **out,
                                     struct err *e); /* NULL: none */
enum err_code cluster_signer(const struct cluster *c, struct signer *out, struct err *e);
enum err_code cluster_public_key(const struct cluster *c, uint8_t out[SIGN_PUBLIC_BYTES], struct err *e);

#endif
