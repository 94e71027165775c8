/*
 * pkcs11_token.h - one logged-in session with one token of an HSM. Private to core/keys.
 *
 * Opening loads the module, finds the token by its label and logs in with the PIN, once: a wrong PIN is
 * ERR_DENIED and is never tried again, since tokens lock themselves after a few. A session that the token has
 * lost is opened anew, once a call, by token_run(). The module stays loaded until the process ends: others
 * may use it, too.
 *
 * Threads: one token handle, one thread; the module is told to lock for itself.
 */
#ifndef CORE_KEYS_PKCS11_TOKEN_H
#define CORE_KEYS_PKCS11_TOKEN_H

#include "core/keys/keys.h"

#include <p11-kit/pkcs11.h>

struct token;
enum err_code token_open(const char *module, const char *label, const struct secret *pin, struct token **out,
                         struct err *e);
void token_close(struct token *t);
DEFINE_CLEANUP_PTR(struct token, token_close)

/* What a step sees. */
struct token_session {
    CK_FUNCTION_LIST *f;
    CK_SESSION_HANDLE handle;
    CK_SLOT_ID slot;
};

/* Runs `step`; where it says that the session is gone (CKR_SESSION_HANDLE_INVALID, a token that was pulled
 * and is back,
 * ...), once more in a new one. e->cause is the CK_RV of a failure. */
typedef CK_RV token_step(const struct token_session *s, void *context);
enum err_code token_run(struct token *t, const char *what, token_step *step, void *context, struct err *e);

bool token_has_mechanism(struct token *t, CK_MECHANISM_TYPE type, CK_FLAGS flags);

#endif
