/*
 * keys_world.h - a key provider for a test, with key "demo" and one data key under it. The HSM and the key
 * service are those that tests/softhsm.sh and tests/moto.sh started; where there is none, the setup says so
 * and the test is skipped.
 */
#ifndef TESTS_KEYS_WORLD_H
#define TESTS_KEYS_WORLD_H

#include "tests/test.h"

#include "core/keys/keys.h"

struct keys_world {
    struct keys_config config;
    struct keys_secrets secrets; /* owned copies */
    struct keys *keys;
    struct buf wrapped; /* of `data_key`, under "demo", bound to keys_world_context */
    struct secret *data_key;
    bool skipped;
};
extern const struct keys_context keys_world_context;

int keys_world_file(void **state);
int keys_world_hsm(void **state);      /* AES-GCM */
int keys_world_hsm_wrap(void **state); /* AES key wrap with padding */
int keys_world_kms(void **state);
int keys_world_end(void **state);

/* At the head of a test: skips it where there is no such provider here. */
struct keys_world *keys_world_of(void **state);

void assert_unwraps(struct keys_world *s, const char *wrapped);
void assert_unwrap_fails(struct keys_world *s, const char *wrapped, const struct keys_context *c,
                         enum err_code want);
void assert_facts(const struct buf *wrapped, const char *key, int64_t version);

#endif
