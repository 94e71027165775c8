/*
 * kms_call.h - one call of an AWS-compatible key service: JSON 1.1 over HTTPS, signed. Private to core/keys.
 *
 * A call is tried again where the service says that it may help (throttling, its own failures, a key that is
 * not ready yet); what it refuses is final. Where it says that our clock is off, its own is taken from the
 * answer's date and the call signed again.
 */
#ifndef CORE_KEYS_KMS_CALL_H
#define CORE_KEYS_KMS_CALL_H

#include "core/json/json.h"
#include "core/keys/keys.h"

enum { KMS_ANSWER_BYTES_MAX = 1 << 20 };

struct kms;
enum err_code kms_open(const struct keys_config *config, const struct keys_secrets *secrets, struct kms **out,
                       struct err *e);
void kms_close(struct kms *k);
DEFINE_CLEANUP_PTR(struct kms, kms_close)

/* `action` as "Decrypt"; `request` is borrowed; `out` NULL: an action that answers with nothing.
 * ERR_NOT_FOUND: no such key, or one that is pending deletion or disabled (destroyed). ERR_CORRUPT: the
 * ciphertext is not of that key and context. ERR_DENIED, ERR_RETRY as said. The texts name the host, the
 * service's own error and its request id. The answer may hold a plaintext key: its owner wipes it by freeing
 * it (json.h). */
enum err_code kms_call(struct kms *k, const char *action, const json_t *request, json_t **out, struct err *e);

/* What a refusal means, from the service's error type ("NotFoundException", also with a namespace in front:
 * "a.b#X") and HTTP status. Pure. */
enum err_code kms_meaning(const char *type, int status);

#endif
