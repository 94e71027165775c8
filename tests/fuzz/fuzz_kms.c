/* What a key service, or whoever altered a manifest, may send: an error's name and status; an ARN against a
 * pattern; a wrapped key. The last goes as far as it goes without a connection: no ARN is allowed, so none is
 * ever asked for. The input is three lines: a type or a pattern, an ARN, the wrapped key. */
#include "base/mem.h"
#include "core/keys/keys.h"
#include "core/keys/kms_call.h"
#include "tests/fuzz/replay.h"

#include <stdlib.h>
#include <string.h>

/* The line at *at, ended; *at moves behind it. */
static char *next_line(char **at)
{
    char *line = *at, *end = strchr(line, '\n');
    *at = end ? end + 1 : line + strlen(line);
    if (end)
        *end = '\0';
    return line;
}

static void try_meaning(const char *type)
{
    static const int statuses[] = { 0, 200, 301, 400, 403, 404, 429, 500, 503, 999 };
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        invariant(kms_meaning(type, statuses[i]) != OK);
        /* That a key is gone is only ever the service's own word. */
        invariant(kms_meaning("", statuses[i]) != ERR_NOT_FOUND);
    }
}

static size_t colons(const char *text)
{
    size_t count = 0;
    for (; *text; text++)
        count += *text == ':';
    return count;
}

static void try_arn(const char *pattern, const char *arn)
{
    static const char account[] = "arn:aws:kms:eu-1:111122223333:key/*";
    invariant(!keys_arn_fits("", arn));
    if (keys_arn_fits(account, arn))
        invariant(strncmp(arn, account, strlen(account) - 1) == 0);
    if (keys_arn_fits(pattern, arn))
        invariant(colons(pattern) == colons(arn));
}

static void try_wrapped(const char *wrapped)
{
    static const struct keys_context context = { { { "cluster", "c" }, { "job", "j" } }, 2 };
    CLEANUP(secret_freep) struct secret *key = NULL;
    CLEANUP(secret_freep) struct secret *access = secret_new("fuzz", 4);
    CLEANUP(keys_closep) struct keys *k = NULL;
    const struct keys_secrets secrets = { .access_key = access, .secret_key = access };
    struct keys_config config = {
        .provider = KEYS_KMS,
        .endpoint = "https://127.0.0.1:9",
        .region = "eu-1",
        .alias_prefix = "sovrun",
    };
    struct err e = ERR_INIT;
    invariant(keys_open(&config, &secrets, &k, &e) == OK);
    invariant(keys_unwrap(k, wrapped, &context, &key, &e) != OK && key == NULL);
    invariant(e.code == ERR_CORRUPT || e.code == ERR_DENIED);
    invariant(e.text[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    CLEANUP(freep) char *text = mem_new(n + 1);
    char *at = text;
    if (n > 0)
        memcpy(text, data, n);
    const char *first = next_line(&at), *second = next_line(&at);
    try_meaning(first);
    try_arn(first, second);
    try_wrapped(at);
    return 0;
}

REPLAY_MAIN("kms")
