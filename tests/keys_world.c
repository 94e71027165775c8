#include "tests/keys_world.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"

#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

const struct keys_context keys_world_context = {
    .pair = { { "cluster", "eu-1" }, { "job", "261122-k3m9qz" }, { "attempt", "2" } },
    .count = 3,
};

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st, (void)kind, (void)where;
    return remove(path);
}

static struct keys_world *world_new(int provider)
{
    struct keys_world *s = mem_new(sizeof(*s));
    s->config.provider = provider;
    s->wrapped = (struct buf)BUF_INIT(KEYS_WRAPPED_BYTES_MAX);
    return s;
}

/* The handle, the key and the data key. */
static int world_begin(struct keys_world *s, void **state)
{
    struct err e = ERR_INIT;
    *state = s;
    if (keys_open(&s->config, &s->secrets, &s->keys, &e) || keys_create(s->keys, "demo", &e) ||
        keys_generate(s->keys, "demo", &keys_world_context, &s->data_key, &s->wrapped, &e)) {
        print_error("%s\n", e.text);
        return -1;
    }
    return 0;
}

static int world_skip(struct keys_world *s, void **state)
{
    s->skipped = true;
    *state = s;
    return 0;
}

struct keys_world *keys_world_of(void **state)
{
    struct keys_world *s = *state;
    if (s->skipped)
        skip();
    return s;
}

int keys_world_file(void **state)
{
    struct err e = ERR_INIT;
    struct keys_world *s = world_new(KEYS_FILE);
    snprintf(s->config.dir, sizeof(s->config.dir), "build/test-keys-XXXXXX");
    if (dir_make("build", 0755, &e) || !mkdtemp(s->config.dir))
        return -1;
    return world_begin(s, state);
}

static int hsm(void **state, int mechanism)
{
    struct keys_world *s = world_new(KEYS_PKCS11);
    const char *module = getenv("SOVRUN_TEST_HSM_MODULE"), *token = getenv("SOVRUN_TEST_HSM_TOKEN"),
               *pin_file = getenv("SOVRUN_TEST_HSM_PIN_FILE");
    struct secret *pin = NULL;
    struct err e = ERR_INIT;
    if (!module || !token || !pin_file)
        return world_skip(s, state);
    if (secret_from_file(pin_file, &pin, &e))
        return -1;
    s->secrets.pin = pin;
    snprintf(s->config.module, sizeof(s->config.module), "%s", module);
    snprintf(s->config.token, sizeof(s->config.token), "%s", token);
    s->config.mechanism = mechanism;
    return world_begin(s, state);
}

int keys_world_hsm(void **state)
{
    return hsm(state, KEYS_MECHANISM_GCM);
}

int keys_world_hsm_wrap(void **state)
{
    return hsm(state, KEYS_MECHANISM_WRAP);
}

/* Aliases of its own, so that nobody else's keys are seen. */
int keys_world_kms(void **state)
{
    struct keys_world *s = world_new(KEYS_KMS);
    const char *endpoint = getenv("SOVRUN_TEST_KMS_ENDPOINT"), *region = getenv("SOVRUN_TEST_KMS_REGION"),
               *account = getenv("SOVRUN_TEST_KMS_ACCOUNT");
    uint32_t random;
    if (!endpoint || !region || !account)
        return world_skip(s, state);
    random_bytes(&random, sizeof(random));
    snprintf(s->config.endpoint, sizeof(s->config.endpoint), "%s", endpoint);
    snprintf(s->config.region, sizeof(s->config.region), "%s", region);
    snprintf(s->config.alias_prefix, sizeof(s->config.alias_prefix), "t%08x", random);
    snprintf(s->config.arns[0], KEYS_ARN_BYTES, "arn:aws:kms:%s:%s:key/*", region, account);
    s->config.arn_count = 1;
    s->secrets.access_key = secret_new("AKIDTEST", 8);
    s->secrets.secret_key = secret_new("test-secret-key", 15);
    return world_begin(s, state);
}

/* What a test left in a token or service goes with it. */
struct left {
    char names[256][KEYS_NAME_BYTES];
    int64_t versions[256];
    size_t count;
};

static enum err_code note_left(void *context, const char *name, int64_t version, struct err *e)
{
    struct left *l = context;
    (void)e;
    if (l->count < ARRAY_LEN(l->names)) {
        snprintf(l->names[l->count], KEYS_NAME_BYTES, "%s", name);
        l->versions[l->count++] = version;
    }
    return OK;
}

static void destroy_all(struct keys *k)
{
    CLEANUP(freep) struct left *l = mem_new(sizeof(*l));
    struct err ignored = ERR_INIT;
    if (k && keys_list(k, note_left, l, &ignored) == OK)
        for (size_t i = 0; i < l->count; i++)
            IGNORE(keys_destroy(k, l->names[i], l->versions[i], &ignored));
}

int keys_world_end(void **state)
{
    struct keys_world *s = *state;
    destroy_all(s->keys);
    if (s->config.provider == KEYS_FILE)
        nftw(s->config.dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    keys_close(s->keys);
    secret_free((struct secret *)(uintptr_t)s->secrets.pin);
    secret_free((struct secret *)(uintptr_t)s->secrets.access_key);
    secret_free((struct secret *)(uintptr_t)s->secrets.secret_key);
    secret_free(s->data_key);
    buf_done(&s->wrapped);
    free(s);
    return 0;
}

void assert_unwraps(struct keys_world *s, const char *wrapped)
{
    struct err e = ERR_INIT;
    CLEANUP(secret_freep) struct secret *again = NULL;
    assert_ok(keys_unwrap(s->keys, wrapped, &keys_world_context, &again, &e));
    assert_true(secret_equal(again, s->data_key));
}

void assert_unwrap_fails(struct keys_world *s, const char *wrapped, const struct keys_context *c,
                         enum err_code want)
{
    struct err e = ERR_INIT;
    struct secret *key = NULL;
    enum err_code code = keys_unwrap(s->keys, wrapped, c, &key, &e);
    if (code != want)
        fail_msg("%s, not %s: %s", err_name(code), err_name(want), e.text);
    assert_null(key);
}

void assert_facts(const struct buf *wrapped, const char *key, int64_t version)
{
    struct err e = ERR_INIT;
    struct keys_facts facts;
    assert_ok(keys_describe(buf_text(wrapped), &facts, &e));
    assert_string_equal(facts.key, key);
    assert_int_equal(facts.version, version);
}
