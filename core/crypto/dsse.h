/*
 * dsse.h - the DSSE envelope (secure-systems-lab/dsse, protocol v1): a typed payload and its Ed25519
 * signature.
 *
 * JSON {"payload": base64, "payloadType": type, "signatures": [{"keyid", "sig": base64}]}; what is signed
 * is the pre-authentication encoding "DSSEv1 " len(type) " " type " " len(body) " " body.
 */
#ifndef CORE_CRYPTO_DSSE_H
#define CORE_CRYPTO_DSSE_H

#include "core/crypto/crypto.h"

enum err_code dsse_sign(const struct signer *s, const char *type, const void *payload, size_t n,
                        struct buf *out, struct err *e);

/* The payload, if one signature is by one of the `count` keys. ERR_CORRUPT otherwise, or where the type
 * differs. */
enum err_code dsse_open(const void *envelope, size_t n, const char *type,
                        const uint8_t (*public_keys)[SIGN_PUBLIC_BYTES], size_t count,
                        struct buf *out_payload, struct err *e);

#endif
