#include "core/crypto/dsse.h"

#include "base/text.h"
#include "core/json/json.h"

#include <string.h>

enum { DSSE_SIGNATURES_MAX = 16, DSSE_BYTES_MAX = 64 << 20 };

/* Pre-authentication encoding: what is signed says its own type and length. */
static void pae(const char *type, const void *payload, size_t n, struct buf *out)
{
    buf_addf(out, "DSSEv1 %zu %s %zu ", strlen(type), type, n);
    buf_add(out, payload, n);
}

enum err_code dsse_sign(const struct signer *s, const char *type, const void *payload, size_t n,
                        struct buf *out, struct err *e)
{
    CLEANUP(buf_done) struct buf message = BUF_INIT(DSSE_BYTES_MAX);
    CLEANUP(buf_done) struct buf body = BUF_INIT(2 * (size_t)DSSE_BYTES_MAX);
    CLEANUP(buf_done) struct buf sig = BUF_INIT(2 * SIGN_BYTES);
    uint8_t signature[SIGN_BYTES];

    pae(type, payload, n, &message);
    if (buf_check(&message, "signed payload", e) || sign(s, message.data, message.len, signature, e))
        return e->code;
    base64_encode(payload, n, &body);
    base64_encode(signature, sizeof(signature), &sig);
    CLEANUP(json_donep)
    json_t *envelope = json_pack("{s:s,s:s,s:[{s:s,s:s}]}", "payload", buf_text(&body), "payloadType", type,
                                 "signatures", "keyid", s->key_id, "sig", buf_text(&sig));
    return json_canonical(envelope, out, e);
}

static bool signed_by(const json_t *signatures, const uint8_t *public_key, const struct buf *message)
{
    struct err ignored = ERR_INIT;
    for (size_t i = 0; i < json_array_size(signatures); i++) {
        CLEANUP(buf_done) struct buf sig = BUF_INIT(2 * SIGN_BYTES);
        const char *text = json_text_or(json_array_get(signatures, i), "sig", "");
        if (base64_decode(text, &sig, &ignored) == OK && sig.len == SIGN_BYTES &&
            sign_verify(public_key, message->data, message->len, sig.data, &ignored) == OK)
            return true;
    }
    return false;
}

enum err_code dsse_open(const void *envelope, size_t n, const char *type,
                        const uint8_t (*public_keys)[SIGN_PUBLIC_BYTES], size_t count,
                        struct buf *out_payload, struct err *e)
{
    static const char what[] = "signed envelope";
    CLEANUP(json_donep) json_t *doc = NULL;
    CLEANUP(buf_done) struct buf payload = BUF_INIT(DSSE_BYTES_MAX);
    CLEANUP(buf_done) struct buf message = BUF_INIT(DSSE_BYTES_MAX);
    const char *stated_type, *body;
    json_t *signatures;

    if (json_parse(envelope, n, what, &doc, e) || json_get_text(doc, what, "payloadType", &stated_type, e) ||
        json_get_text(doc, what, "payload", &body, e) ||
        json_get_array(doc, what, "signatures", &signatures, e)) {
        e->code = ERR_CORRUPT; /* also where it is too large or too deep */
        return e->code;
    }
    if (strcmp(stated_type, type) != 0)
        return err_set(e, ERR_CORRUPT, "signed envelope: its type is not %s", type);
    if (json_array_size(signatures) > DSSE_SIGNATURES_MAX)
        return err_set(e, ERR_CORRUPT, "signed envelope: more than %d signatures", DSSE_SIGNATURES_MAX);
    if (base64_decode(body, &payload, e))
        return err_set(e, ERR_CORRUPT, "signed envelope: its payload is no base64");
    pae(type, payload.data, payload.len, &message);
    for (size_t k = 0; k < count; k++)
        if (signed_by(signatures, public_keys[k], &message)) {
            buf_add(out_payload, payload.data, payload.len);
            return buf_check(out_payload, what, e);
        }
    return err_set(e, ERR_CORRUPT, "signed envelope: no signature by a key that we trust");
}
