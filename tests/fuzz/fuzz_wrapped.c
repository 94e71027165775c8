/* Any text as a wrapped key: refused, or described by facts that are in bounds; and never a key without its
 * KEK. */
#include "base/text.h"
#include "core/keys/keys.h"
#include "tests/fuzz/replay.h"

#include <string.h>

static void describe(const char *text)
{
    struct err e = ERR_INIT;
    struct keys_facts facts;
    enum err_code code = keys_describe(text, &facts, &e);
    invariant(code == OK || code == ERR_CORRUPT);
    if (code == OK) {
        invariant(text_is_name(facts.key, sizeof(facts.key) - 1) && facts.version >= 1);
        invariant(strnlen(facts.provider, sizeof(facts.provider)) < sizeof(facts.provider));
    }
}

static void unwrap(const char *text)
{
    static const struct keys_config config = { .provider = KEYS_FILE, .dir = "build/no-keys-here" };
    static const struct keys_context context = { .pair = { { "job", "a" } }, .count = 1 };
    struct err e = ERR_INIT;
    struct secret *key = NULL;
    CLEANUP(keys_closep) struct keys *k = NULL;
    invariant(keys_open(&config, NULL, &k, &e) == OK);
    enum err_code code = keys_unwrap(k, text, &context, &key, &e);
    invariant((code == ERR_CORRUPT || code == ERR_NOT_FOUND) && !key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(64 * 1024);
    buf_add(&text, data, n);
    if (text.full)
        return 0;
    describe(buf_text(&text));
    unwrap(buf_text(&text));
    return 0;
}

REPLAY_MAIN("wrapped")
