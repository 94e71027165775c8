#include "tests/unit/cluster_scene.h"

/* ---- an embedded home ---- */

static mode_t mode_of(const char *home, const char *name)
{
    CLEANUP(freep) char *path = path_join(home, name);
    struct stat st;
    if (stat(path, &st) != 0)
        fail_msg("there is no '%s'", path);
    return st.st_mode & 07777;
}

static void a_new_home_has_all_that_a_cluster_needs(void **state)
{
    CLEANUP(freep) char *home = path_join(*state, "home");
    CLEANUP(cluster_freep) struct cluster *c = NULL;
    struct err e = ERR_INIT;
    assert_ok(cluster_init_home(home, &e));
    assert_int_equal(mode_of(home, "."), 0700);
    static const char *const folders[] = { "keys", "store", "redis", "run", "log", "attempts" };
    for (size_t i = 0; i < ARRAY_LEN(folders); i++)
        assert_int_equal(mode_of(home, folders[i]), 0700);
    assert_int_equal(mode_of(home, "sovrun.yaml"), 0600);
    assert_int_equal(mode_of(home, "keys/demo.v1.key"), 0600);
    assert_int_equal(mode_of(home, "keys/signing.pem"), 0600);
    assert_int_equal(mode_of(home, "keys/signing.pub.pem"), 0644);
    assert_int_equal(mode_of(home, "run/token"), 0600);
    assert_ok(cluster_load(home, NULL, &c, &e));
    assert_string_equal(c->name, "embedded");
    assert_true(c->state.embedded && c->launch.oversubscribe);
    assert_int_equal(c->node_count, 1);
    assert_true(c->nodes[0].slots >= 8);
    assert_int_equal(c->queue_count, 2);
}

static void its_paths_are_absolute(void **state)
{
    CLEANUP(freep) char *home = path_join(*state, "./home//");
    CLEANUP(cluster_freep) struct cluster *c = NULL;
    struct err e = ERR_INIT;
    assert_ok(cluster_init_home(home, &e));
    assert_ok(cluster_load(home, NULL, &c, &e));
    const char *paths[] = { c->home,     c->api.socket,  c->api.token_file,
                            c->keys.dir, c->signing_key, c->stores[0].root };
    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        assert_int_equal(paths[i][0], '/');
    assert_int_equal(strncmp(c->state.address, "unix:/", 6), 0);
    assert_int_not_equal(c->home[strlen(c->home) - 1], '/');
    assert_string_equal(c->launch.mpirun, "mpirun"); /* looked up on PATH */
    assert_string_equal(c->state.password_file, ""); /* none stays none */
}

static void a_bucket_that_is_away_is_tried_again(void **state)
{
    CLEANUP(freep) char *folder = path_join(*state, "store/models");
    CLEANUP(freep) char *elsewhere = path_join(*state, "store/models.away");
    CLEANUP(cluster_freep) struct cluster *c = NULL;
    struct store *s = NULL;
    struct err e = ERR_INIT;
    assert_ok(cluster_init_home(*state, &e));
    assert_ok(cluster_load(*state, NULL, &c, &e));
    assert_int_equal(rename(folder, elsewhere), 0);
    assert_int_equal(cluster_open_store(c, "models", &s, &e), ERR_RETRY);
    assert_non_null(strstr(e.text, "mounted"));
    assert_non_null(strstr(e.text, folder));
}

static void what_it_names_can_be_opened(void **state)
{
    CLEANUP(cluster_freep) struct cluster *c = NULL;
    CLEANUP(keys_closep) struct keys *keys = NULL;
    CLEANUP(signer_done) struct signer signer = { 0 };
    CLEANUP(secret_freep) struct secret *password = NULL;
    uint8_t public_key[SIGN_PUBLIC_BYTES];
    struct err e = ERR_INIT;
    assert_ok(cluster_init_home(*state, &e));
    assert_ok(cluster_load(*state, NULL, &c, &e));
    static const char *const buckets[] = { "data", "models", "evidence" };
    for (size_t i = 0; i < ARRAY_LEN(buckets); i++) {
        CLEANUP(store_closep) struct store *s = NULL;
        struct store_facts facts;
        assert_ok(cluster_open_store(c, buckets[i], &s, &e));
        assert_ok(store_facts(s, &facts, &e));
        assert_true(facts.versioned && facts.lockable);
        assert_string_equal(facts.location, "local");
    }
    assert_ok(cluster_open_keys(c, &keys, &e));
    assert_true(keys_has(keys, "demo"));
    assert_ok(cluster_signer(c, &signer, &e));
    assert_ok(cluster_public_key(c, public_key, &e));
    assert_memory_equal(public_key, signer.public_key, SIGN_PUBLIC_BYTES);
    assert_ok(cluster_state_password(c, &password, &e));
    assert_null(password);
}

static void read_file(const char *home, const char *name, struct buf *out)
{
    CLEANUP(freep) char *path = path_join(home, name);
    struct err e = ERR_INIT;
    buf_reset(out);
    assert_ok(file_read(path, out, &e));
}

static void making_it_again_changes_nothing(void **state)
{
    static const char *const files[] = { "sovrun.yaml", "keys/demo.v1.key", "keys/signing.pem",
                                         "keys/signing.pub.pem", "run/token" };
    struct buf before[ARRAY_LEN(files)];
    CLEANUP(buf_done) struct buf after = BUF_INIT(65536);
    struct err e = ERR_INIT;
    assert_ok(cluster_init_home(*state, &e));
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        before[i] = (struct buf)BUF_INIT(65536);
        read_file(*state, files[i], &before[i]);
        assert_true(before[i].len > 0);
    }
    assert_ok(cluster_init_home(*state, &e));
    assert_int_equal(e.code, OK);
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        read_file(*state, files[i], &after);
        assert_int_equal(after.len, before[i].len);
        assert_memory_equal(after.data, before[i].data, after.len);
        buf_done(&before[i]);
    }
}

static void what_is_missing_is_made_again(void **state)
{
    CLEANUP(freep) char *public_key = path_join(*state, "keys/signing.pub.pem");
    CLEANUP(freep) char *token = path_join(*state, "run/token");
    CLEANUP(cluster_freep) struct cluster *c = NULL;
    CLEANUP(signer_done) struct signer signer = { 0 };
    uint8_t read_back[SIGN_PUBLIC_BYTES];
    struct err e = ERR_INIT;
    assert_ok(cluster_init_home(*state, &e));
    assert_ok(file_remove(public_key, &e));
    assert_ok(file_remove(token, &e));
    assert_ok(cluster_init_home(*state, &e));
    assert_int_equal(mode_of(*state, "run/token"), 0600);
    assert_ok(cluster_load(*state, NULL, &c, &e));
    assert_ok(cluster_signer(c, &signer, &e));
    assert_ok(cluster_public_key(c, read_back, &e));
    assert_memory_equal(read_back, signer.public_key, SIGN_PUBLIC_BYTES);
}

static void a_lost_signing_key_is_not_replaced(void **state)
{
    CLEANUP(freep) char *key = path_join(*state, "keys/signing.pem");
    CLEANUP(cluster_freep) struct cluster *c = NULL;
    CLEANUP(signer_done) struct signer signer = { 0 };
    CLEANUP(secret_freep) struct secret *seed = secret_random(SIGN_PUBLIC_BYTES);
    CLEANUP(buf_done) struct buf pem = BUF_INIT(4096);
    struct err e = ERR_INIT;
    assert_ok(cluster_init_home(*state, &e));
    assert_ok(file_remove(key, &e));
    assert_int_equal(cluster_init_home(*state, &e), ERR_NOT_FOUND);
    assert_non_null(strstr(e.text, key));
    assert_false(file_exists(key));
    err_clear(&e);
    assert_ok(sign_private_pem(seed, &pem, &e));
    assert_ok(file_write(key, pem.data, pem.len, 0600, &e));
    assert_int_equal(cluster_init_home(*state, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.text, "another key's"));
    err_clear(&e);
    assert_ok(cluster_load(*state, NULL, &c, &e));
    assert_int_equal(cluster_signer(c, &signer, &e), ERR_CORRUPT);
}

static void the_ledgers_place_is_known(void **state)
{
    static const struct {
        const char *prefix, *bucket, *key;
        bool want;
    } rows[] = {
        { "ledger", "evidence", "ledger", true },
        { "ledger", "evidence", "ledger/head", true },
        { "ledger", "evidence", "ledger-of-mine", false },
        { "ledger", "evidence", "other", false },
        { "ledger", "models", "ledger", false },
        { "ledger/", "evidence", "ledger", true },
        { "", "evidence", "anything", true },
        { "a/b", "evidence", "a", false },
    };
    CLEANUP(cluster_freep) struct cluster *c = NULL;
    struct err e = ERR_INIT;
    assert_ok(cluster_init_home(*state, &e));
    assert_ok(cluster_load(*state, NULL, &c, &e));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        snprintf(c->ledger.prefix, sizeof(c->ledger.prefix), "%s", rows[i].prefix);
        assert_int_equal(cluster_is_ledgers(c, rows[i].bucket, rows[i].key), rows[i].want);
    }
}

static void no_secret_stands_in_the_configuration(void **state)
{
    CLEANUP(buf_done) struct buf config = BUF_INIT(65536);
    CLEANUP(buf_done) struct buf secret = BUF_INIT(65536);
    static const char *const files[] = { "keys/demo.v1.key", "run/token" };
    struct err e = ERR_INIT;
    assert_ok(cluster_init_home(*state, &e));
    read_file(*state, "sovrun.yaml", &config);
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        read_file(*state, files[i], &secret);
        secret.data[16] = '\0';
        assert_null(strstr(buf_text(&config), buf_text(&secret)));
    }
}

static void a_home_too_long_for_sockets_is_refused_with_what_to_do(void **state)
{
    char name[101];
    memset(name, 'h', 100);
    name[100] = '\0';
    CLEANUP(freep) char *home = path_join(*state, name);
    struct err e = ERR_INIT;
    assert_int_equal(cluster_init_home(home, &e), ERR_USAGE);
    assert_non_null(strstr(e.text, "at most 107; choose a shorter home folder"));
    assert_false(file_exists(home));
}

static void the_longest_home_that_fits_is_taken(void **state)
{
    enum { SOCKET_PATH_MAX = 107 };
    char here[512], name[128];
    struct err e = ERR_INIT;
    assert_non_null(getcwd(here, sizeof(here)));
    size_t base = strlen(here) + 1 + strlen(*state) + 1, rest = base + strlen("/run/redis.sock");
    assert_true(rest < SOCKET_PATH_MAX);
    size_t n = SOCKET_PATH_MAX - rest;
    memset(name, 'h', n + 1);
    name[n + 1] = '\0';
    CLEANUP(freep) char *too_long = path_join(*state, name);
    assert_int_equal(cluster_init_home(too_long, &e), ERR_USAGE);
    name[n] = '\0';
    CLEANUP(freep) char *fits = path_join(*state, name);
    assert_ok(cluster_init_home(fits, &e));
}

static void a_home_that_is_none_says_how_to_make_one(void **state)
{
    CLEANUP(cluster_freep) struct cluster *c = NULL;
    struct err e = ERR_INIT;
    assert_int_equal(cluster_load(*state, NULL, &c, &e), ERR_NOT_FOUND);
    assert_non_null(strstr(e.text, "sovrun up --home"));
    assert_null(c);
}

/* ---- the configuration ---- */

static const struct row {
    const char *name;
    const char *text;
    const char *error; /* NULL: taken */
} rows[] = {
    { "the least that is one", HEAD STORES NODES, NULL },
    { "no name", "region: eu-1\n" STORES NODES, "name: must be given" },
    { "no stores", HEAD NODES, "default_data_bucket: bucket 'data' belongs to none of the stores" },
    { "no nodes", HEAD STORES, "nodes: at least one node is needed" },
    { "ranges that a fence lets through",
      HEAD STORES NODES "launch: { fence_allow: [10.1.0.0/16, 2001:db8::/32] }\n", NULL },
    { "what is no range", HEAD STORES NODES "launch: { fence_allow: [10.1.0.0/16, 10.1.2.0/16] }\n",
      ":6: launch.fence_allow[1]: '10.1.2.0/16' has bits set behind its prefix" },
    { "an unknown setting", HEAD STORES NODES "lunch: {}\n",
      ":6: lunch: no such setting; did you mean 'launch'?" },
    { "a bucket in two stores",
      HEAD "stores:\n  - { buckets: [data, evidence] }\n  - { buckets: [data] }\n" NODES,
      ":5: stores[1].buckets: bucket 'data' is named twice" },
    { "a bucket twice in one store", HEAD "stores:\n  - { buckets: [data, evidence, data] }\n" NODES,
      "stores[0].buckets: bucket 'data' is named twice" },
    { "a store without buckets", HEAD "stores:\n  - { root: store }\n" NODES, "needs at least one bucket" },
    { "a store in memory", HEAD "stores:\n  - { kind: mem, buckets: [data, evidence] }\n" NODES,
      "stores[0]: kind 'mem' lives in one process only" },
    { "a store in another region",
      HEAD "stores:\n  - { kind: s3, endpoint: \"https://s3\", region: us-1, credentials_file: c, buckets: "
           "[data, evidence] }\n" NODES,
      "stores[0]: region 'us-1' is not the cluster's ('eu-1')" },
    { "s3 without an endpoint",
      HEAD "stores:\n  - { kind: s3, credentials_file: c, buckets: [data, evidence] }\n" NODES,
      "an s3 store needs 'endpoint'" },
    { "s3 without credentials",
      HEAD "stores:\n  - { kind: s3, endpoint: \"https://s3\", buckets: [data, evidence] }\n" NODES,
      "an s3 store needs 'credentials_file'" },
    { "a role that is none",
      HEAD "stores:\n  - { kind: s3, endpoint: \"https://s3\", credentials_file: c, buckets: [data, "
           "evidence], role: ranks }\n" NODES,
      "stores[0]: role: 'ranks' is no ARN of a role" },
    { "a service for sessions of no role",
      HEAD "stores:\n  - { kind: s3, endpoint: \"https://s3\", credentials_file: c, buckets: [data, "
           "evidence], sts_endpoint: \"https://sts\" }\n" NODES,
      "stores[0]: 'sts_endpoint' needs a 'role'" },
    { "a session that is too short",
      HEAD "stores:\n  - { kind: s3, endpoint: \"https://s3\", credentials_file: c, buckets: [data, "
           "evidence], role: \"arn:aws:iam:::role/r\", session: 5m }\n" NODES,
      "session" },
    { "encryption by kms without its key",
      HEAD "stores:\n  - { kind: s3, endpoint: \"https://s3\", credentials_file: c, buckets: [data, "
           "evidence], sse: kms }\n" NODES,
      "sse 'kms' needs 'sse_key'" },
    { "a key for no encryption",
      HEAD "stores:\n  - { kind: s3, endpoint: \"https://s3\", credentials_file: c, buckets: [data, "
           "evidence], sse_key: \"arn:aws:kms:eu-1:1:key/k\" }\n" NODES,
      "sse 'kms' needs 'sse_key', and no other takes one" },
    { "a context for no key",
      HEAD "stores:\n  - { kind: s3, endpoint: \"https://s3\", credentials_file: c, buckets: [data, "
           "evidence], sse: s3, sse_context: [a=b] }\n" NODES,
      "'sse_context' is for sse 'kms'" },
    { "a context that is no pair",
      HEAD "stores:\n  - { kind: s3, endpoint: \"https://s3\", credentials_file: c, buckets: [data, "
           "evidence], sse: kms, sse_key: \"arn:aws:kms:eu-1:1:key/k\", sse_context: [abc] }\n" NODES,
      "sse_context: 'abc' is no NAME=VALUE" },
    { "a role for folders",
      HEAD "stores:\n  - { role: \"arn:aws:iam:::role/r\", buckets: [data, evidence] }\n" NODES,
      "'role' is for kind s3" },
    { "encryption by a folder", HEAD "stores:\n  - { sse: s3, buckets: [data, evidence] }\n" NODES,
      "'sse' and 'payload' are for kind s3" },
    { "a ledger in no bucket", HEAD STORES NODES "ledger: { bucket: audit }\n",
      ":6: ledger.bucket: bucket 'audit' belongs to none of the stores" },
    { "a lock without a time", HEAD STORES NODES "ledger: { lock: compliance }\n",
      "a lock needs a time to retain" },
    { "a node twice", HEAD STORES "nodes: [{ name: n1 }, { name: n1 }]\n",
      "nodes[1].name: 'n1' is named twice" },
    { "a queue twice", HEAD STORES NODES "queues: [{ name: q }, { name: q }]\n",
      "queues[1].name: 'q' is named twice" },
    { "a node without slots", HEAD STORES "nodes: [{ name: n1, slots: 0 }]\n", "slots: must be from 1" },
    { "a lease too short", HEAD STORES NODES "timing: { attempt_lease: 10ms }\n",
      "timing.attempt_lease: must be" },
    { "a socket too long",
      HEAD STORES NODES "api: { socket: "
                        "/a/path/of/a/socket/that/is/longer/than/any/unix/system/would/take/it/in/its/"
                        "address/since/bsd/four/point/two/x.sock }\n",
      "api.socket: '/a/path" },
};

static void configuration(void **state)
{
    const struct row *r = *state;
    char folder[] = "build/test-cluster-XXXXXX";
    CLEANUP(cluster_freep) struct cluster *c = NULL;
    struct err e = ERR_INIT;
    assert_ok(dir_make("build", 0755, &e));
    assert_non_null(mkdtemp(folder));
    write_home(folder, r->text);
    enum err_code code = cluster_load(folder, NULL, &c, &e);
    nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    if (r->error) {
        assert_int_equal(code, ERR_USAGE);
        if (!strstr(e.text, r->error))
            fail_msg("'%s' lacks '%s'", e.text, r->error);
        return;
    }
    if (code)
        fail_msg("%s", e.text);
    assert_string_equal(c->queues[0].name, "default");
    assert_int_equal(c->timing.attempt_lease_ms, 10000);
    assert_string_equal(c->stores[0].region, "eu-1");
}

static void another_file_is_read_where_it_is_given(void **state)
{
    CLEANUP(freep) char *file = path_join(*state, "other.yaml");
    CLEANUP(cluster_freep) struct cluster *c = NULL;
    struct err e = ERR_INIT;
    write_home(*state, HEAD STORES NODES);
    write_text(*state, "other.yaml", HEAD STORES NODES "policy: other-policy.yaml\n", 0600);
    write_text(*state, "other-policy.yaml",
               POLICY(LOCAL) "keys: { providers: [file] }\nlocks: { retain_max: 5d }\n", 0600);
    assert_ok(cluster_load(*state, file, &c, &e));
    assert_string_equal(c->region, "eu-1");
    assert_int_equal(c->policy.locks.retain_max_ms, 5 * 86400000ll);
}

/* ---- the policy ---- */

static const struct denied_row {
    const char *name, *config, *policy, *says;
} denied_rows[] = {
    { "no policy: nothing is allowed", HEAD STORES NODES, NULL, "without one nothing is allowed" },
    { "a bucket that it does not list", HEAD "stores: [{ buckets: [data, evidence, more] }]\n" NODES,
      POLICY(LOCAL) "keys: { providers: [file] }\n", "bucket 'more' is configured and not in the policy" },
    { "a ledger that lies among the data", HEAD STORES NODES "ledger: { bucket: data }\n",
      POLICY(LOCAL) "keys: { providers: [file] }\n", "bucket 'data' is not for evidence" },
    { "a region that it has otherwise", HEAD STORES NODES,
      POLICY("{ name: here, provider: local, region: eu-2 }") "keys: { providers: [file] }\n",
      "policy.yaml:3: regions 'here': bucket 'data' is configured in region 'eu-1', and the policy has it in "
      "'eu-2'" },
    { "a folder where it has a service", HEAD STORES NODES, POLICY(REMOTE) "keys: { providers: [file] }\n",
      "is configured as a dir store" },
    { "an endpoint that is none of the region's",
      HEAD "stores: [{ kind: s3, endpoint: \"https://s3.evil\", credentials_file: c, buckets: [data, "
           "evidence] }]\n" NODES,
      POLICY(REMOTE) "keys: { providers: [file] }\n",
      "'https://s3.evil', which is no endpoint of region 'here'" },
    { "keys in files, where it wants another provider", HEAD STORES NODES,
      POLICY(LOCAL) "keys: { providers: [pkcs11] }\n",
      "key provider is 'file', which keys.providers does not list" },
    { "any keys, where it names no provider", HEAD STORES NODES, POLICY(LOCAL),
      "keys.providers does not list" },
    { "a store without its authority",
      HEAD "stores: [{ kind: s3, endpoint: \"https://s3\", credentials_file: c, buckets: [data, evidence] "
           "}]\n" NODES,
      POLICY(REMOTE) "keys: { providers: [file] }\ntls: { authority: true }\n", "name its own (ca_file)" },
    { "a store that is shown no certificate",
      HEAD "stores: [{ kind: s3, endpoint: \"https://s3\", credentials_file: c, buckets: [data, evidence] "
           "}]\n" NODES,
      POLICY(REMOTE) "keys: { providers: [file] }\ntls: { client_certificate: [s3] }\n",
      "without a certificate of ours" },
    { "a session service at another host",
      HEAD
      "stores: [{ kind: s3, endpoint: \"https://s3\", credentials_file: c, buckets: [data, evidence], role: "
      "\"arn:aws:iam:::role/r\", sts_endpoint: \"https://sts.evil\" }]\n" NODES,
      POLICY(REMOTE) "keys: { providers: [file] }\n",
      "the session service is configured at 'https://sts.evil'" },
    { "a store's own key that it does not allow",
      HEAD "stores: [{ kind: s3, endpoint: \"https://s3\", credentials_file: c, buckets: [data, evidence], "
           "sse: kms, "
           "sse_key: \"arn:aws:kms:us-1:1:key/k\" }]\n" NODES,
      POLICY(REMOTE) "keys: { providers: [file], arns: [\"arn:aws:kms:eu-1:1:key/*\"] }\n",
      "under key 'arn:aws:kms:us-1:1:key/k', which keys.arns does not allow" },
    { "a key service at another host",
      HEAD STORES NODES "keys: { provider: kms, endpoint: \"https://kms.evil\", credentials_file: c }\n",
      POLICY(LOCAL
             ", { name: far, provider: s3, region: eu-1, endpoints: [kms] }") "keys: { providers: [kms] }\n",
      "'https://kms.evil' in region 'eu-1', which is no endpoint of any region" },
};

static void a_configuration_beside_its_policy_is_denied(void **state)
{
    const struct denied_row *r = *state;
    char folder[] = "build/test-cluster-XXXXXX";
    CLEANUP(cluster_freep) struct cluster *c = NULL;
    struct err e = ERR_INIT;
    assert_ok(dir_make("build", 0755, &e));
    assert_non_null(mkdtemp(folder));
    write_text(folder, "sovrun.yaml", r->config, 0600);
    if (r->policy)
        write_text(folder, "policy.yaml", r->policy, 0600);
    enum err_code code = cluster_load(folder, NULL, &c, &e);
    nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    if (code != ERR_DENIED || !strstr(e.text, r->says))
        fail_msg("%s: '%s' lacks '%s'", err_name(code), e.text, r->says);
}

int main(void)
{
    static const struct CMUnitTest own[] = {
        WITH_FOLDER(a_new_home_has_all_that_a_cluster_needs),
        WITH_FOLDER(its_paths_are_absolute),
        WITH_FOLDER(what_it_names_can_be_opened),
        WITH_FOLDER(a_bucket_that_is_away_is_tried_again),
        WITH_FOLDER(making_it_again_changes_nothing),
        WITH_FOLDER(what_is_missing_is_made_again),
        WITH_FOLDER(a_lost_signing_key_is_not_replaced),
        WITH_FOLDER(the_ledgers_place_is_known),
        WITH_FOLDER(no_secret_stands_in_the_configuration),
        WITH_FOLDER(a_home_too_long_for_sockets_is_refused_with_what_to_do),
        WITH_FOLDER(the_longest_home_that_fits_is_taken),
        WITH_FOLDER(a_home_that_is_none_says_how_to_make_one),
        WITH_FOLDER(another_file_is_read_where_it_is_given),
    };
    static struct CMUnitTest tests[ARRAY_LEN(own) + ARRAY_LEN(rows) + ARRAY_LEN(denied_rows)];
    size_t denied_at = ARRAY_LEN(own) + ARRAY_LEN(rows);
    memcpy(tests, own, sizeof(own));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        tests[ARRAY_LEN(own) + i] =
            (struct CMUnitTest){ rows[i].name, configuration, NULL, NULL, (void *)&rows[i] };
    for (size_t i = 0; i < ARRAY_LEN(denied_rows); i++)
        tests[denied_at + i] =
            (struct CMUnitTest){ denied_rows[i].name, a_configuration_beside_its_policy_is_denied, NULL, NULL,
                                 (void *)&denied_rows[i] };
    return cmocka_run_group_tests_name("cluster", tests, NULL, NULL);
}
