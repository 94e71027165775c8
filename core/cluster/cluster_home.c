/*
 * A whole embedded cluster in one folder. Each step makes what is missing and leaves what is there, so it can
 * be run again after a crash, or twice at once: files appear whole or not at all (file_create), and who comes
 * second is content.
 */
#include "core/cluster/cluster_paths.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

#define DEMO_KEY "demo"
enum { CONFIG_BYTES_MAX = 16 * 1024, SLOTS_MIN = 8, TOKEN_BYTES = 32, PEM_BYTES_MAX = 4096 };

static const char config_head[] =
    "# An embedded cluster: everything on this host. `sovrun config explain cluster` lists every setting.\n"
    "# Relative paths are relative to this file's folder. Secrets stand in files of their own (0600), never "
    "here.\n"
    "\n"
    "# Both names are sealed into every checkpoint. Never change them once a job has run.\n"
    "name: embedded\n"
    "region: local\n"
    "\n"
    "# `sovrun up` starts this Redis, with every write on disk before it is acknowledged.\n"
    "state: { address: \"unix:run/redis.sock\", durability: always, embedded: true }\n"
    "\n"
    "api: { socket: run/api.sock, listen: \"127.0.0.1:0\", token_file: run/token }\n"
    "\n"
    "stores:\n"
    "  - { kind: dir, root: store, buckets: [data, models, evidence] }\n"
    "default_data_bucket: data      # where plain files are staged\n"
    "\n"
    "# What may be where, under which keys: nothing that it does not name.\n"
    "policy: policy.yaml\n"
    "\n"
    "# Keys in files are for development. In production a KMS or an HSM holds them: see keys.providers in "
    "the policy.\n"
    "keys: { provider: file, dir: keys }\n"
    "signing_key: keys/signing.pem\n"
    "\n"
    "ledger: { bucket: evidence, prefix: ledger }\n"
    "\n"
    "queues:\n"
    "  - { name: default }\n"
    "  - { name: research }\n"
    "\n"
    "# Slots are ranks at once. More of them than cores are fine to try things, and slow.\n";

static const char config_tail[] =
    "\n"
    "timing: { leader_lease: 5s, attempt_lease: 10s, stop_grace: 30s }\n"
    "launch: { transport: \"self,vader\", oversubscribe: true, log_bytes_max: 64MiB }\n";

static const char policy_text[] =
    "# What this cluster may do; nothing else is allowed. `sovrun config explain policy` lists every "
    "setting,\n"
    "# `sovrun policy check JOB.yaml` says what it makes of a job.\n"
    "version: 1\n"
    "name: embedded\n"
    "\n"
    "# Folders of this machine, and no address beyond it.\n"
    "regions:\n"
    "  - { name: here, provider: local, region: local }\n"
    "\n"
    "buckets:\n"
    "  - { name: data, region: here, purposes: [data], classes: [public, "
    "internal, pseudonymized, personal] }\n"
    "  - { name: models, region: here, purposes: [models], classes: [public, "
    "internal, pseudonymized, personal] }\n"
    "  - { name: evidence, region: here, purposes: [evidence] }\n"
    "\n"
    "keys: { providers: [file, pkcs11] }\n"
    "locks: { min: none, retain_max: 3650d }\n"
    "\n"
    "# Who may take what out: without a row, nobody. A file is `outside`, whoever holds it: nothing keeps "
    "it\n"
    "# in a region. This cluster's own user is its admin (roles in sovrun.yaml) and may fetch its models.\n"
    "exports:\n"
    "  - { who: [\"role:admin\"], kinds: [model], to: [outside] }\n";

/* Fine where somebody else was faster. */
static enum err_code create(const char *path, const void *data, size_t n, mode_t mode, struct err *e)
{
    if (file_create(path, data, n, mode, e) && e->code != ERR_CONFLICT)
        return e->code;
    err_clear(e);
    return OK;
}

static enum err_code make_folders(const char *home, struct err *e)
{
    static const char *const folders[] = { "keys", "store", "redis", "run", "log", "attempts" };
    if (dir_make(home, 0700, e))
        return e->code;
    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        CLEANUP(freep) char *path = path_join(home, folders[i]);
        if (dir_make(path, 0700, e))
            return e->code;
    }
    return OK;
}

static enum err_code write_policy(const char *home, struct err *e)
{
    CLEANUP(freep) char *path = path_join(home, "policy.yaml");
    return file_exists(path) ? OK : create(path, policy_text, strlen(policy_text), 0600, e);
}

static enum err_code write_config(const char *home, struct err *e)
{
    CLEANUP(freep) char *path = path_join(home, "sovrun.yaml");
    CLEANUP(buf_done) struct buf text = BUF_INIT(CONFIG_BYTES_MAX);
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (file_exists(path))
        return OK;
    buf_add_text(&text, config_head);
    buf_addf(&text, "nodes:\n  - { name: local, slots: %ld }\n", MAX(cores, (long)SLOTS_MIN));
    buf_add_text(&text, config_tail);
    if (buf_check(&text, "sovrun.yaml", e))
        return e->code;
    return create(path, text.data, text.len, 0600, e);
}

/* ---- secrets ---- */

static enum err_code make_key(const struct cluster *c, struct err *e)
{
    CLEANUP(keys_closep) struct keys *keys = NULL;
    /* Where the policy forbids keys in files there is nothing to make. */
    if (c->keys.provider != KEYS_FILE || c->keys.kms_required)
        return OK;
    if (dir_make(c->keys.dir, 0700, e) || cluster_open_keys(c, &keys, e))
        return e->code;
    if (keys_has(keys, DEMO_KEY))
        return OK;
    if (keys_create(keys, DEMO_KEY, e) && !keys_has(keys, DEMO_KEY))
        return e->code;
    err_clear(e);
    return OK;
}

static enum err_code make_private_key(const struct cluster *c, struct err *e)
{
    CLEANUP(secret_freep) struct secret *seed = NULL;
    CLEANUP(buf_wipe) struct buf pem = BUF_INIT(PEM_BYTES_MAX);
    if (file_exists(c->signing_key))
        return OK;
    seed = secret_random(SIGN_PUBLIC_BYTES);
    if (sign_private_pem(seed, &pem, e))
        return e->code;
    return create(c->signing_key, pem.data, pem.len, 0600, e);
}

/* A new key could sign nothing that goes on with what the old one signed. */
static enum err_code check_signing_key(const struct cluster *c, const char *public_path, struct err *e)
{
    CLEANUP(signer_done) struct signer signer = { 0 };
    if (!file_exists(c->signing_key))
        return err_set(e, ERR_NOT_FOUND,
                       "the signing key '%s' is gone, and '%s' is still there: put the key back. Without it "
                       "nothing can go "
                       "on with this cluster's ledger and checkpoints",
                       c->signing_key, public_path);
    return cluster_signer(c, &signer, e);
}

static enum err_code make_signing_key(const struct cluster *c, struct err *e)
{
    CLEANUP(freep) char *path = cluster_public_key_path(c);
    CLEANUP(signer_done) struct signer signer = { 0 };
    CLEANUP(buf_done) struct buf pem = BUF_INIT(PEM_BYTES_MAX);
    /* The public half first: the private one is made before it. */
    if (file_exists(path))
        return check_signing_key(c, path, e);
    if (make_private_key(c, e) || cluster_signer(c, &signer, e) ||
        sign_public_pem(signer.public_key, &pem, e))
        return e->code;
    return create(path, pem.data, pem.len, 0644, e);
}

static enum err_code make_token(const struct cluster *c, struct err *e)
{
    uint8_t bytes[TOKEN_BYTES];
    char line[2 * TOKEN_BYTES + 2]; /* hex, newline, NUL */
    if (c->api.token_file[0] == '\0' || file_exists(c->api.token_file))
        return OK;
    random_bytes(bytes, sizeof(bytes));
    hex_encode(bytes, sizeof(bytes), line);
    line[2 * TOKEN_BYTES] = '\n';
    enum err_code code = create(c->api.token_file, line, 2 * TOKEN_BYTES + 1, 0600, e);
    explicit_bzero(bytes, sizeof(bytes));
    explicit_bzero(line, sizeof(line));
    return code;
}

/* ---- buckets ---- */

/* Of dir stores only: a bucket in S3 belongs to whoever runs that. Lockable, as a lock cannot be added later.
 */
static enum err_code make_buckets(const struct cluster *c, const struct cluster_store *s, struct err *e)
{
    struct store_place place;
    if (s->kind != STORE_DIR)
        return OK;
    if (dir_make(s->root, 0700, e))
        return e->code;
    for (size_t i = 0; i < s->bucket_count; i++)
        if (cluster_place(c, s->buckets[i], &place, e) || store_make_bucket(&place, NULL, true, e))
            return err_wrap(e, "bucket '%s'", s->buckets[i]);
    return OK;
}

static enum err_code make_contents(const struct cluster *c, struct err *e)
{
    if (make_key(c, e) || make_signing_key(c, e) || make_token(c, e))
        return e->code;
    for (size_t i = 0; i < c->store_count; i++)
        if (make_buckets(c, &c->stores[i], e))
            return e->code;
    return OK;
}

enum err_code cluster_init_home(const char *home, struct err *e)
{
    CLEANUP(cluster_freep) struct cluster *c = NULL;
    char path[CLUSTER_PATH_BYTES];
    if (cluster_home_path(home, path, e) || cluster_check_sockets(path, e))
        return e->code;
    if (make_folders(path, e) || write_policy(path, e) || write_config(path, e) ||
        cluster_load(path, NULL, &c, e) || make_contents(c, e))
        return err_wrap(e, "set up '%s'", path);
    return OK;
}
