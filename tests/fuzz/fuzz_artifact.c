/* Any bytes as a manifest: as its text, refused or read and then written as the same; as a signed envelope,
 * refused; as what an envelope holds, given back, but not once a byte of the envelope was changed. */
#include "core/artifact/artifact_json.h"
#include "core/crypto/dsse.h"
#include "tests/fuzz/replay.h"

#include <string.h>

enum { BYTES_MAX = 1024 * 1024 };

static void read_text(const uint8_t *data, size_t n)
{
    struct err e = ERR_INIT;
    CLEANUP(artifact_done) struct artifact a = { 0 }, again = { 0 };
    CLEANUP(buf_done) struct buf first = BUF_INIT(BYTES_MAX), second = BUF_INIT(BYTES_MAX);
    char key[STORE_KEY_BYTES];

    if (artifact_from_text(data, n, &a, &e)) {
        invariant(e.code == ERR_CORRUPT || e.code == ERR_LIMIT);
        invariant(!a.parts && !a.meta && strstr(e.text, "artifact manifest"));
        return;
    }
    invariant(a.part_count >= 1 && a.part_count <= ARTIFACT_PARTS_MAX && a.step >= 0);
    IGNORE(artifact_part_key(&a, a.part_count - 1, key, &e)); /* the prefix may be too long for a key */
    if (artifact_to_text(&a, &first, &e))
        return;
    invariant(artifact_from_text(first.data, first.len, &again, &e) == OK);
    invariant(artifact_to_text(&again, &second, &e) == OK);
    invariant(first.len == second.len && memcmp(first.data, second.data, first.len) == 0);
}

static void signer_of(const char *seed32, struct signer *out)
{
    struct err e = ERR_INIT;
    CLEANUP(secret_freep) struct secret *seed = secret_new(seed32, 32);
    invariant(signer_from_seed(seed, out, &e) == OK);
}

static enum err_code open_envelope(const struct signer *s, const void *text, size_t n, struct buf *out)
{
    struct err e = ERR_INIT;
    uint8_t keys[1][SIGN_PUBLIC_BYTES];
    memcpy(keys[0], s->public_key, SIGN_PUBLIC_BYTES);
    return dsse_open(text, n, ARTIFACT_PAYLOAD_TYPE, (const uint8_t(*)[SIGN_PUBLIC_BYTES])keys, 1, out, &e);
}

/* A changed byte may leave the meaning as it is (white space, a key's id): then the payload is the same. */
static void sign_and_change(const struct signer *s, const uint8_t *data, size_t n)
{
    struct err e = ERR_INIT;
    CLEANUP(buf_done)
    struct buf envelope = BUF_INIT(2 * BYTES_MAX),
               payload = BUF_INIT(BYTES_MAX), changed = BUF_INIT(BYTES_MAX);

    if (n < 2 || dsse_sign(s, ARTIFACT_PAYLOAD_TYPE, data, n, &envelope, &e))
        return;
    invariant(open_envelope(s, envelope.data, envelope.len, &payload) == OK);
    invariant(payload.len == n && memcmp(payload.data, data, n) == 0);
    envelope.data[(size_t)data[0] * envelope.len / 256] ^= (uint8_t)(data[1] ? data[1] : 1);
    enum err_code code = open_envelope(s, envelope.data, envelope.len, &changed);
    invariant(code == ERR_CORRUPT || (changed.len == n && memcmp(changed.data, data, n) == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct signer s;
    CLEANUP(buf_done) struct buf payload = BUF_INIT(BYTES_MAX);

    read_text(data, n);
    signer_of("0123456789abcdef0123456789abcdef", &s);
    invariant(open_envelope(&s, data, n, &payload) == ERR_CORRUPT && payload.len == 0);
    sign_and_change(&s, data, n);
    signer_done(&s);
    return 0;
}

REPLAY_MAIN("artifact")
