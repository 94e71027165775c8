/* Any text as a note of a key that was wrapped again: corrupt, or of this very manifest. And as a key: is it
 * a manifest's? */
#include "base/mem.h"
#include "core/artifact/rewrap.h"
#include "tests/fuzz/replay.h"

#include <string.h>

#define MANIFEST "credit/261122-psm3fz/checkpoint/000000000100-0001-1795358567612.json"

static void try_note(const uint8_t *data, size_t n)
{
    char wrapped[KEYS_WRAPPED_BYTES_MAX];
    struct keys_facts facts;
    struct err e = ERR_INIT;
    if (rewrap_from_text(data, n, MANIFEST, wrapped, &e)) {
        invariant(e.code == ERR_CORRUPT && e.text[0]);
        return;
    }
    invariant(memchr(wrapped, '\0', sizeof(wrapped)) != NULL);
    invariant(rewrap_from_text(data, n, MANIFEST "x", wrapped, &e) == ERR_CORRUPT);
    err_clear(&e);
    invariant(keys_describe(wrapped, &facts, &e) == OK || e.code == ERR_CORRUPT);
}

static void try_key(const uint8_t *data, size_t n)
{
    CLEANUP(freep) char *key = mem_new(n + 1);
    memcpy(key, data, n);
    size_t length = strlen(key);
    if (artifact_is_manifest_key(key))
        invariant(length > 5 && strcmp(key + length - 5, ".json") == 0 &&
                  (strstr(key, "/checkpoint/") || strstr(key, "/model/")));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n > 0) {
        try_note(data, n);
        try_key(data, n);
    }
    return 0;
}

REPLAY_MAIN("rewrap")
