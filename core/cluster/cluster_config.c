/*
 * The tables of sovrun.yaml, and what no table can say: that a bucket lies in one store only, that names do
 * not repeat, that nothing leaves the cluster's region, and that paths mean the same in every program.
 */
#include "core/cluster/cluster_paths.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "core/cluster/cluster.h"
#include "core/cluster/cluster_policy.h"
#include "core/cluster/session_policy.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { SECOND_MS = 1000, HOUR_MS = 3600 * SECOND_MS, DAYS_MAX = 36500 };
#define DAY_MS (24.0 * HOUR_MS)

static const char *const durability_names[] = { "always", "dev", NULL };
enum { DURABILITY_DEV = 1 };

/* clang-format off */
static const struct conf_field state_fields[] = {
    CONF_TEXT(cluster_state, address, "unix:run/redis.sock", "unix:PATH or HOST:PORT of the Redis"),
    CONF_TEXT(cluster_state, password_file, "", "file (0600) with the Redis password; empty: none"),
    CONF_CHOICE(cluster_state, durability, "always", durability_names,
                "always: refuse a Redis that could lose writes; dev: take any"),
    CONF_BOOL(cluster_state, embedded, "false", "`sovrun up` starts and stops this Redis itself"),
    CONF_END,
};

static const struct conf_field api_fields[] = {
    CONF_TEXT(cluster_api, socket, "run/api.sock",
              "Unix socket of the scheduler; callers are known by their uid"),
    CONF_TEXT(cluster_api, listen, "",
              "address of the HTTP API, as 127.0.0.1:0 (a free port); empty: no TCP"),
    CONF_TEXT(cluster_api, token_file, "run/token", "file (0600) with the API's token"),
    CONF_END,
};

static const struct conf_field user_name = {
    .name = "user", .kind = CONF_KIND_NAME, .size = CLUSTER_USER_BYTES, .required = true,
    .min = 1, .max = CLUSTER_USER_BYTES - 1, .help = "login name; token: whoever shows the API's token",
};

static const struct conf_field roles_fields[] = {
    CONF_LIST(cluster_roles, admin, admin_count, CLUSTER_USERS_MAX, NULL, &user_name,
              "who manages keys, queues and nodes; none: root and the scheduler's own user"),
    CONF_LIST(cluster_roles, auditor, auditor_count, CLUSTER_USERS_MAX, NULL, &user_name,
              "who reads all and changes nothing"),
    CONF_END,
};

static const struct conf_field bucket_name = {
    .name = "bucket", .kind = CONF_KIND_NAME, .size = STORE_BUCKET_BYTES, .required = true,
    .min = 1, .max = STORE_BUCKET_BYTES - 1, .help = "bucket name",
};

static const struct conf_field context_pair = {
    .name = "pair", .kind = CONF_KIND_TEXT, .size = CLUSTER_PAIR_BYTES, .required = true,
    .min = 3, .max = CLUSTER_PAIR_BYTES - 1, .help = "NAME=VALUE",
};

static const struct conf_field store_fields[] = {
    CONF_LIST(cluster_store, buckets, bucket_count, CLUSTER_BUCKETS_MAX, NULL, &bucket_name,
              "the buckets it holds"),
    CONF_CHOICE(cluster_store, kind, "dir", store_kind_names, "dir: files on this host; s3: an S3 service"),
    CONF_TEXT(cluster_store, root, "store", "dir: the folder that holds the buckets' folders"),
    CONF_TEXT(cluster_store, endpoint, "", "s3: https://HOST[:PORT]"),
    CONF_TEXT(cluster_store, region, "", "its region; empty: the cluster's. Another one is refused"),
    CONF_TEXT(cluster_store, ca_file, "", "s3: PEM file of the authority to trust; empty: the system's"),
    CONF_TEXT(cluster_store, cert_file, "", "s3: PEM file of our client certificate; empty: none"),
    CONF_TEXT(cluster_store, key_file, "", "s3: PEM file (0600) with its key"),
    CONF_TEXT(cluster_store, credentials_file, "",
              "s3: YAML file (0600): access_key, secret_key, session_token, expires"),
    CONF_CHOICE(cluster_store, payload, "auto", store_payload_names,
                "s3: what of the bytes is signed: auto: nothing over TLS, else hash; hash; chunks; unsigned"),
    CONF_CHOICE(cluster_store, sse, "none", store_sse_names,
                "s3: encryption by the store, beneath ours: s3: by its own keys; kms: by sse_key. It is read back"),
    CONF_TEXT(cluster_store, sse_key, "", "s3: ARN of that key, as the store says it; the policy must allow it"),
    CONF_LIST(cluster_store, sse_context, sse_context_count, CLUSTER_CONTEXT_MAX, NULL, &context_pair,
              "s3: context of that key's use: no secret, as it stands in the key service's logs"),
    CONF_BOOL(cluster_store, path_style, "false", "s3: ENDPOINT/BUCKET/KEY rather than BUCKET.ENDPOINT/KEY"),
    CONF_TEXT(cluster_store, role, "",
              "s3: ARN of a role; ranks get sessions of it, for their own prefixes alone; empty: the file's own"),
    CONF_TEXT(cluster_store, sts_endpoint, "",
              "s3: https://HOST[:PORT] of the service that gives them; empty: endpoint"),
    CONF_DURATION(cluster_store, session_ms, "session", "1h", STS_SESSION_MS_MIN, STS_SESSION_MS_MAX,
                  "s3: how long one lasts; the next one comes when half of it is over"),
    CONF_DURATION(cluster_store, patience_ms, "patience", "2m", SECOND_MS, HOUR_MS,
                  "a rank waits so long for a store that is away, before its attempt ends"),
    CONF_DURATION(cluster_store, deadline_ms, "deadline", "30s", SECOND_MS, HOUR_MS,
                  "s3: of one transfer, and 1 s more for each MiB; then it is cut off and tried again"),
    CONF_END,
};

static const struct conf_field keys_fields[] = {
    CONF_CHOICE(keys_config, provider, "file", keys_provider_names,
                "who wraps data keys: file is for development; pkcs11: an HSM; kms: an AWS-compatible service"),
    CONF_TEXT(keys_config, dir, "keys", "file: the folder of the key-encryption keys"),
    CONF_TEXT(keys_config, module, "", "pkcs11: the whole path of the HSM's module"),
    CONF_TEXT(keys_config, token, "", "pkcs11: label of the token"),
    CONF_CHOICE(keys_config, mechanism, "auto", keys_mechanism_names,
                "pkcs11: gcm (AES-GCM), wrap (AES key wrap with padding); auto: gcm where the token has it"),
    CONF_TEXT(keys_config, pin_file, "", "pkcs11: file (0600) with the user's PIN"),
    CONF_NAME(keys_config, pin_credential, "", "pkcs11: or the systemd credential that holds it"),
    CONF_TEXT(keys_config, endpoint, "", "kms: https://HOST[:PORT]"),
    CONF_TEXT(keys_config, region, "", "kms: its region; empty: the cluster's. Another one is refused"),
    CONF_NAME(keys_config, alias_prefix, "sovrun", "kms: version N of key NAME is alias/PREFIX-NAME-vN"),
    CONF_TEXT(keys_config, ca_file, "", "kms: PEM file of the authority to trust; empty: the system's"),
    CONF_TEXT(keys_config, cert_file, "", "kms: PEM file of our client certificate; empty: none"),
    CONF_TEXT(keys_config, key_file, "", "kms: PEM file (0600) with its key"),
    CONF_TEXT(keys_config, credentials_file, "",
              "kms: YAML file (0600): access_key, secret_key, session_token"),
    CONF_END,
};

static const struct conf_field ledger_fields[] = {
    CONF_NAME(cluster_ledger, bucket, "evidence", "bucket of the audit ledger"),
    CONF_TEXT(cluster_ledger, prefix, "ledger", "key prefix in that bucket"),
    CONF_CHOICE(cluster_ledger, lock, "none", store_lock_names, "object lock of the ledger's objects"),
    CONF_DURATION(cluster_ledger, retain_ms, "retain", "0", 0, DAYS_MAX * DAY_MS,
                  "how long they stay locked"),
    CONF_END,
};

static const struct conf_field queue_fields[] = {
    CONF_NAME_REQUIRED(cluster_queue, name, "name of the queue"),
    CONF_INT(cluster_queue, priority, "0", -1000, 1000, "added to the priority of its jobs"),
    CONF_INT(cluster_queue, slots_max, "0", 0, 1e6, "slots that its jobs may hold at once; 0: no limit"),
    CONF_END,
};

static const struct conf_field node_fields[] = {
    CONF_NAME_REQUIRED(cluster_node, name, "name of the node"),
    CONF_INT(cluster_node, slots, "1", 1, 65536, "ranks that run on it at once"),
    CONF_END,
};

static const struct conf_field timing_fields[] = {
    CONF_DURATION(cluster_timing, leader_lease_ms, "leader_lease", "5s", SECOND_MS, HOUR_MS,
                  "a scheduler that is silent for so long is replaced"),
    CONF_DURATION(cluster_timing, attempt_lease_ms, "attempt_lease", "10s", SECOND_MS, HOUR_MS,
                  "a supervisor that cannot reach the state for so long ends its ranks"),
    CONF_DURATION(cluster_timing, stop_grace_ms, "stop_grace", "30s", 0, HOUR_MS,
                  "from SIGTERM, which asks for a checkpoint, to SIGKILL"),
    CONF_END,
};

static const struct conf_field fence_range = {
    .name = "range", .kind = CONF_KIND_TEXT, .size = HTTP_RANGE_TEXT_BYTES, .required = true,
    .min = 1, .max = HTTP_RANGE_TEXT_BYTES - 1, .help = "address range",
};

static const struct conf_field launch_fields[] = {
    CONF_TEXT(cluster_launch, mpirun, "mpirun", "the MPI launcher"),
    CONF_TEXT(cluster_launch, trainer, "", "the trainer; empty: sovrun-trainer beside the running program"),
    CONF_TEXT(cluster_launch, transport, "self,vader",
              "Open MPI's btl list: self,vader or, over hosts, self,tcp"),
    CONF_BOOL(cluster_launch, oversubscribe, "false", "more ranks than cores are fine"),
    CONF_CHOICE(cluster_launch, fence, "auto", fence_mode_names,
                "a kernel fence around ranks: auto: where there can be one; required: no ranks without it; off"),
    CONF_LIST(cluster_launch, fence_allow, fence_allow_count, CLUSTER_FENCE_MAX, NULL, &fence_range,
              "ranges that it lets through beside those of the stores: an HSM in the network, say"),
    CONF_SIZE(cluster_launch, log_bytes_max, "log_bytes_max", "64MiB", 4096, 1e12,
              "of the log of one attempt"),
    CONF_END,
};

const struct conf_field cluster_fields[] = {
    CONF_NAME_REQUIRED(cluster, name, "name of the cluster; part of every sealed object: never change it"),
    CONF_NAME_REQUIRED(cluster, region, "region that data may not leave; part of every sealed object, too"),
    CONF_SECTION(cluster, state, state_fields, "where the shared state is"),
    CONF_SECTION(cluster, api, api_fields, "how the scheduler is reached"),
    CONF_SECTION(cluster, roles, roles_fields, "who may do more than run jobs"),
    CONF_LIST(cluster, stores, store_count, CLUSTER_STORES_MAX, store_fields, NULL, "where the buckets are"),
    CONF_SECTION(cluster, keys, keys_fields, "who wraps the data keys"),
    CONF_TEXT(cluster, signing_key, "keys/signing.pem",
              "Ed25519 key (PEM, 0600); its public half is *.pub.pem"),
    CONF_NAME(cluster, default_data_bucket, "data", "where plain files are staged"),
    CONF_SECTION(cluster, ledger, ledger_fields, "the audit ledger"),
    { "policy", CONF_KIND_TEXT, CONF_AT(cluster, policy_file), false, "policy.yaml", 1,
      CONF_TEXT_MAX(cluster, policy_file),
      .help = "the policy: where data may be, under which keys, who may use it (sovrun config explain policy)" },
    CONF_LIST(cluster, queues, queue_count, CLUSTER_QUEUES_MAX, queue_fields, NULL,
              "queues; none: one, 'default'"),
    CONF_LIST(cluster, nodes, node_count, CLUSTER_NODES_MAX, node_fields, NULL, "nodes that run jobs"),
    CONF_SECTION(cluster, timing, timing_fields, "leases and patience"),
    CONF_SECTION(cluster, launch, launch_fields, "how ranks are started"),
    CONF_END,
};
/* clang-format on */

/* ---- paths ---- */

enum err_code cluster_home_path(const char *home, char out[CLUSTER_PATH_BYTES], struct err *e)
{
    char here[CLUSTER_PATH_BYTES] = "";
    if (home[0] == '\0')
        return err_set(e, ERR_USAGE, "the home folder has no name");
    if (home[0] != '/' && !getcwd(here, sizeof(here)))
        return err_errno(e, "home '%s': current folder", home);
    while (text_starts(home, "./"))
        home += 2;
    CLEANUP(freep)
    char *whole = strcmp(home, ".") == 0 || home[0] == '\0' ? mem_text(here) : path_join(here, home);
    for (size_t n = strlen(whole); n > 1 && whole[n - 1] == '/'; n--)
        whole[n - 1] = '\0';
    return text_copy(out, CLUSTER_PATH_BYTES, whole, "home folder", e);
}

/* In place: relative to home becomes absolute; "" stays, as it means that there is none. */
static enum err_code make_absolute(const char *home, char *path, size_t path_bytes, const char *what,
                                   struct err *e)
{
    if (path[0] == '\0' || path[0] == '/')
        return OK;
    CLEANUP(freep) char *whole = path_join(home, path);
    return text_copy(path, path_bytes, whole, what, e);
}

/* connect() takes no longer one. Here the message can say which setting it is. */
static enum err_code check_socket(const char *path, const char *what, struct err *e)
{
    if (strlen(path) > CLUSTER_SOCKET_PATH_MAX)
        return err_set(
            e, ERR_USAGE,
            "%s: '%s' has %zu bytes, and the path of a Unix socket has at most %d; choose a shorter home "
            "folder, or reach it through a short symbolic link",
            what, path, strlen(path), CLUSTER_SOCKET_PATH_MAX);
    return OK;
}

enum err_code cluster_check_sockets(const char *home, struct err *e)
{
    CLEANUP(freep) char *redis = path_join(home, "run/redis.sock");
    CLEANUP(freep) char *api = path_join(home, "run/api.sock");
    if (check_socket(redis, "home", e) || check_socket(api, "home", e))
        return e->code;
    return OK;
}

static enum err_code resolve_state(struct cluster *c, struct err *e)
{
    static const char scheme[] = "unix:";
    if (!text_starts(c->state.address, scheme))
        return OK;
    CLEANUP(freep) char *path = path_join(c->home, c->state.address + strlen(scheme));
    CLEANUP(freep) char *whole = mem_printf("%s%s", scheme, path);
    if (check_socket(path, "state.address", e))
        return e->code;
    return text_copy(c->state.address, sizeof(c->state.address), whole, "state.address", e);
}

static enum err_code resolve_paths(struct cluster *c, struct err *e)
{
    const struct {
        char *path;
        size_t bytes;
        const char *what;
    } rows[] = {
        { c->state.password_file, sizeof(c->state.password_file), "state.password_file" },
        { c->api.socket, sizeof(c->api.socket), "api.socket" },
        { c->api.token_file, sizeof(c->api.token_file), "api.token_file" },
        { c->keys.dir, sizeof(c->keys.dir), "keys.dir" },
        { c->keys.module, sizeof(c->keys.module), "keys.module" },
        { c->keys.pin_file, sizeof(c->keys.pin_file), "keys.pin_file" },
        { c->keys.ca_file, sizeof(c->keys.ca_file), "keys.ca_file" },
        { c->keys.cert_file, sizeof(c->keys.cert_file), "keys.cert_file" },
        { c->keys.key_file, sizeof(c->keys.key_file), "keys.key_file" },
        { c->keys.credentials_file, sizeof(c->keys.credentials_file), "keys.credentials_file" },
        { c->signing_key, sizeof(c->signing_key), "signing_key" },
        { c->policy_file, sizeof(c->policy_file), "policy" },
        { c->launch.trainer, sizeof(c->launch.trainer), "launch.trainer" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (make_absolute(c->home, rows[i].path, rows[i].bytes, rows[i].what, e))
            return e->code;
    for (size_t i = 0; i < c->store_count; i++) {
        struct cluster_store *s = &c->stores[i];
        if (make_absolute(c->home, s->root, sizeof(s->root), "stores.root", e) ||
            make_absolute(c->home, s->ca_file, sizeof(s->ca_file), "stores.ca_file", e) ||
            make_absolute(c->home, s->cert_file, sizeof(s->cert_file), "stores.cert_file", e) ||
            make_absolute(c->home, s->key_file, sizeof(s->key_file), "stores.key_file", e) ||
            make_absolute(c->home, s->credentials_file, sizeof(s->credentials_file),
                          "stores.credentials_file", e))
            return e->code;
    }
    /* A bare name is looked up on PATH. */
    if (strchr(c->launch.mpirun, '/') &&
        make_absolute(c->home, c->launch.mpirun, sizeof(c->launch.mpirun), "launch.mpirun", e))
        return e->code;
    if (check_socket(c->api.socket, "api.socket", e))
        return e->code;
    return resolve_state(c, e);
}

/* ---- checks ---- */

/* Where a setting stands in its file, and what is wrong with it. */
struct checker {
    const struct conf_doc *doc;
    struct err *e;
};

static enum err_code refuse(const struct checker *k, const char *path, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
static enum err_code refuse(const struct checker *k, const char *path, const char *fmt, ...)
{
    CLEANUP(buf_done) struct buf where = BUF_INIT(2048);
    CLEANUP(buf_done) struct buf text = BUF_INIT(2048);
    va_list ap;
    va_start(ap, fmt);
    buf_addv(&text, fmt, ap);
    va_end(ap);
    return err_set(k->e, ERR_USAGE, "%s: %s", conf_where(k->doc, path, &where), buf_text(&text));
}

/* Which store holds a bucket; NULL: none. */
static const struct cluster_store *find_store(const struct cluster *c, size_t store_count, const char *bucket)
{
    for (size_t i = 0; i < store_count; i++)
        for (size_t b = 0; b < c->stores[i].bucket_count; b++)
            if (strcmp(c->stores[i].buckets[b], bucket) == 0)
                return &c->stores[i];
    return NULL;
}

const struct cluster_store *cluster_find_store(const struct cluster *c, const char *bucket)
{
    return find_store(c, c->store_count, bucket);
}

bool cluster_is_ledgers(const struct cluster *c, const char *bucket, const char *key)
{
    size_t n = strlen(c->ledger.prefix);
    while (n > 0 && c->ledger.prefix[n - 1] == '/')
        n--;
    if (strcmp(bucket, c->ledger.bucket) != 0 || strncmp(key, c->ledger.prefix, n) != 0)
        return false;
    return n == 0 || key[n] == '/' || key[n] == '\0';
}

static enum err_code check_buckets(const struct checker *k, const struct cluster *c, size_t i)
{
    const struct cluster_store *s = &c->stores[i];
    char path[64];
    snprintf(path, sizeof(path), "stores[%zu].buckets", i);
    if (s->bucket_count == 0)
        return refuse(k, path, "a store needs at least one bucket");
    for (size_t b = 0; b < s->bucket_count; b++) {
        bool twice = find_store(c, i, s->buckets[b]) != NULL;
        for (size_t other = 0; other < b; other++)
            twice = twice || strcmp(s->buckets[other], s->buckets[b]) == 0;
        if (twice)
            return refuse(k, path, "bucket '%s' is named twice; it can be in one store only", s->buckets[b]);
    }
    return OK;
}

static enum err_code check_store(const struct checker *k, const struct cluster *c, size_t i)
{
    CLEANUP(buf_done) struct buf policy = BUF_INIT(STS_POLICY_BYTES_MAX);
    const struct cluster_store *s = &c->stores[i];
    struct err bad = ERR_INIT;
    char path[64];
    snprintf(path, sizeof(path), "stores[%zu]", i);
    if (s->kind == STORE_MEM)
        return refuse(k, path, "kind 'mem' lives in one process only; use dir or s3");
    if (s->kind == STORE_DIR && s->root[0] == '\0')
        return refuse(k, path, "a dir store needs 'root'");
    if (s->kind == STORE_S3 && s->endpoint[0] == '\0')
        return refuse(k, path, "an s3 store needs 'endpoint'");
    if (s->kind == STORE_S3 && s->credentials_file[0] == '\0')
        return refuse(k, path, "an s3 store needs 'credentials_file'");
    if (s->kind != STORE_S3 && s->role[0])
        return refuse(k, path, "'role' is for kind s3: folders know no roles");
    if (s->kind != STORE_S3 && (s->sse != STORE_SSE_NONE || s->payload != STORE_PAYLOAD_AUTO))
        return refuse(k, path, "'sse' and 'payload' are for kind s3");
    if ((s->sse == STORE_SSE_KMS) != (s->sse_key[0] != '\0'))
        return refuse(k, path, "sse 'kms' needs 'sse_key', and no other takes one");
    if (s->sse != STORE_SSE_KMS && s->sse_context_count > 0)
        return refuse(k, path, "'sse_context' is for sse 'kms'");
    for (size_t n = 0; n < s->sse_context_count; n++)
        if (s->sse_context[n][0] == '=' || !strchr(s->sse_context[n], '='))
            return refuse(k, path, "sse_context: '%s' is no NAME=VALUE", s->sse_context[n]);
    if (s->sts_endpoint[0] && !s->role[0])
        return refuse(k, path, "'sts_endpoint' needs a 'role'");
    if (s->role[0] && session_policy(s->role, "b", "p", "", REACH_READ_BELOW, &policy, &bad))
        return refuse(k, path, "role: %s", bad.text);
    if (strcmp(s->region, c->region) != 0)
        return refuse(k, path, "region '%s' is not the cluster's ('%s')", s->region, c->region);
    return check_buckets(k, c, i);
}

static enum err_code check_keys(const struct checker *k, const struct cluster *c)
{
    const struct keys_config *keys = &c->keys;
    if (keys->provider == KEYS_PKCS11 && (!keys->module[0] || !keys->token[0]))
        return refuse(k, "keys", "provider 'pkcs11' needs 'module' and 'token'");
    if (keys->provider == KEYS_PKCS11 && (keys->pin_file[0] != '\0') == (keys->pin_credential[0] != '\0'))
        return refuse(k, "keys", "provider 'pkcs11' needs one of 'pin_file' and 'pin_credential'");
    if (keys->provider == KEYS_KMS && (!keys->endpoint[0] || !keys->credentials_file[0]))
        return refuse(k, "keys", "provider 'kms' needs 'endpoint' and 'credentials_file'");
    if (keys->provider == KEYS_KMS && strcmp(keys->region, c->region) != 0)
        return refuse(k, "keys.region", "region '%s' is not the cluster's ('%s')", keys->region, c->region);
    return OK;
}

static enum err_code check_names(const struct checker *k, const char *what, const char *names, size_t stride,
                                 size_t count)
{
    char path[64];
    for (size_t i = 1; i < count; i++)
        for (size_t other = 0; other < i; other++)
            if (strcmp(names + i * stride, names + other * stride) == 0) {
                snprintf(path, sizeof(path), "%s[%zu].name", what, i);
                return refuse(k, path, "'%s' is named twice", names + i * stride);
            }
    return OK;
}

static enum err_code check_fence(const struct checker *k, const struct cluster_launch *l)
{
    struct http_range range;
    struct err bad = ERR_INIT;
    char path[64];
    for (size_t i = 0; i < l->fence_allow_count; i++)
        if (http_range_parse(l->fence_allow[i], &range, &bad)) {
            snprintf(path, sizeof(path), "launch.fence_allow[%zu]", i);
            return refuse(k, path, "%s", bad.text);
        }
    return OK;
}

static enum err_code check(const struct conf_doc *doc, const struct cluster *c, struct err *e)
{
    const struct checker k = { doc, e };
    for (size_t i = 0; i < c->store_count; i++)
        if (check_store(&k, c, i))
            return e->code;
    if (check_keys(&k, c))
        return e->code;
    if (!cluster_find_store(c, c->default_data_bucket))
        return refuse(&k, "default_data_bucket", "bucket '%s' belongs to none of the stores",
                      c->default_data_bucket);
    if (!cluster_find_store(c, c->ledger.bucket))
        return refuse(&k, "ledger.bucket", "bucket '%s' belongs to none of the stores", c->ledger.bucket);
    if (c->ledger.lock != STORE_LOCK_NONE && c->ledger.retain_ms == 0)
        return refuse(&k, "ledger.retain", "a lock needs a time to retain");
    if (check_fence(&k, &c->launch))
        return e->code;
    if (c->node_count == 0)
        return refuse(&k, "nodes", "at least one node is needed");
    if (check_names(&k, "nodes", c->nodes[0].name, sizeof(c->nodes[0]), c->node_count) ||
        check_names(&k, "queues", c->queues[0].name, sizeof(c->queues[0]), c->queue_count))
        return e->code;
    return OK;
}

/* What the file left out and a table's default cannot say. */
static void complete(struct cluster *c)
{
    for (size_t i = 0; i < c->store_count; i++)
        if (c->stores[i].region[0] == '\0')
            memcpy(c->stores[i].region, c->region, sizeof(c->region));
    if (c->queue_count == 0) {
        c->queue_count = 1;
        snprintf(c->queues[0].name, sizeof(c->queues[0].name), "default");
    }
    if (c->keys.region[0] == '\0')
        memcpy(c->keys.region, c->region, sizeof(c->keys.region));
}

/* ---- loading ---- */

static enum err_code load_file(const char *file, struct cluster *c, struct err *e)
{
    CLEANUP(conf_freep) struct conf_doc *doc = NULL;
    char home[CLUSTER_PATH_BYTES];
    memcpy(home, c->home, sizeof(home));
    if (conf_parse_file(file, &doc, e) || conf_bind(doc, cluster_fields, c, e))
        return e->code;
    memcpy(c->home, home, sizeof(home));
    complete(c);
    return check(doc, c, e);
}

/* What the policy decides about the configuration itself, and what of it the rest of the program goes by. */
static enum err_code load_policy(struct cluster *c, struct err *e)
{
    if (!file_exists(c->policy_file))
        return err_set(e, ERR_DENIED,
                       "there is no policy '%s', and without one nothing is allowed; docs/POLICY.md says "
                       "what stands in it",
                       c->policy_file);
    if (policy_read_file(c->policy_file, &c->policy, e) || cluster_check_policy(c, e))
        return e->code;
    c->keys.kms_required = true;
    for (size_t i = 0; i < c->policy.keys.provider_count; i++)
        c->keys.kms_required = c->keys.kms_required && c->policy.keys.providers[i] != KEYS_FILE;
    _Static_assert(sizeof(c->keys.arns) == sizeof(c->policy.keys.arns), "copied whole");
    memcpy(c->keys.arns, c->policy.keys.arns, sizeof(c->keys.arns));
    c->keys.arn_count = c->policy.keys.arn_count;
    if (c->keys.provider == KEYS_KMS)
        policy_guard(&c->policy, c->keys.endpoint, c->keys.region, &c->keys.guard);
    return OK;
}

enum err_code cluster_load(const char *home, const char *config_file, struct cluster **out, struct err *e)
{
    CLEANUP(cluster_freep) struct cluster *c = mem_new(sizeof(*c));
    if (cluster_home_path(home, c->home, e))
        return e->code;
    CLEANUP(freep) char *own = path_join(c->home, "sovrun.yaml");
    const char *file = config_file ? config_file : own;
    if (!file_exists(file))
        return err_set(e, ERR_NOT_FOUND, "there is no '%s'; `sovrun up --home %s` makes a cluster", file,
                       home);
    if (load_file(file, c, e))
        return e->code;
    if (resolve_paths(c, e))
        return err_wrap(e, "%s", file);
    if (load_policy(c, e))
        return e->code;
    *out = TAKE(c);
    return OK;
}

void cluster_free(struct cluster *c)
{
    free(c);
}

bool cluster_is_dev(const struct cluster *c)
{
    return c->state.durability == DURABILITY_DEV;
}
