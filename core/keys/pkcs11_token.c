#include "core/keys/pkcs11_token.h"

#include "base/mem.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

enum { SLOTS_MAX = 256, LABEL_BYTES = 32 };

struct token {
    CK_FUNCTION_LIST *f;
    struct secret *pin; /* owned: a token that was away wants it again */
    char label[LABEL_BYTES + 1];
    struct token_session session;
    bool is_open;
};

/* ---- what return values mean ---- */

static const struct {
    CK_RV rv;
    const char *name;
    enum err_code code;
} meanings[] = {
    { CKR_PIN_INCORRECT, "the PIN is wrong; it was tried once and is not tried again", ERR_DENIED },
    { CKR_PIN_LOCKED, "the PIN is locked: the HSM's security officer must reset it", ERR_DENIED },
    { CKR_PIN_EXPIRED, "the PIN has expired", ERR_DENIED },
    { CKR_PIN_INVALID, "the PIN has a form that the token does not take", ERR_DENIED },
    { CKR_PIN_LEN_RANGE, "the PIN has a length that the token does not take", ERR_DENIED },
    { CKR_KEY_FUNCTION_NOT_PERMITTED, "the key may not be used for that", ERR_DENIED },
    { CKR_ACTION_PROHIBITED, "the token prohibits that", ERR_DENIED },
    { CKR_TOKEN_WRITE_PROTECTED, "the token is write-protected", ERR_DENIED },
    { CKR_ENCRYPTED_DATA_INVALID, "another context, another key, or altered", ERR_CORRUPT },
    { CKR_ENCRYPTED_DATA_LEN_RANGE, "another context, another key, or altered", ERR_CORRUPT },
    { CKR_WRAPPED_KEY_INVALID, "another context, another key, or altered", ERR_CORRUPT },
    { CKR_WRAPPED_KEY_LEN_RANGE, "another context, another key, or altered", ERR_CORRUPT },
    { CKR_DEVICE_MEMORY, "the token is full", ERR_LIMIT },
    { CKR_HOST_MEMORY, "the module has no memory left", ERR_LIMIT },
    { CKR_DEVICE_ERROR, "the device reports a failure", ERR_RETRY },
    { CKR_DEVICE_REMOVED, "the device was removed", ERR_RETRY },
    { CKR_TOKEN_NOT_PRESENT, "the token is not there", ERR_RETRY },
    { CKR_SESSION_HANDLE_INVALID, "the session is gone", ERR_RETRY },
    { CKR_SESSION_CLOSED, "the session is gone", ERR_RETRY },
    { CKR_SESSION_COUNT, "the token has no session left", ERR_RETRY },
    { CKR_USER_NOT_LOGGED_IN, "the login is gone", ERR_RETRY },
    { CKR_FUNCTION_FAILED, "the function failed", ERR_RETRY },
    { CKR_GENERAL_ERROR, "the module failed", ERR_RETRY },
    { CKR_MECHANISM_INVALID, "the token does not know the mechanism", ERR_USAGE },
};

static enum err_code failed(const struct token *t, const char *what, CK_RV rv, struct err *e)
{
    const char *name = "failed";
    enum err_code code = ERR_IO;
    for (size_t i = 0; i < ARRAY_LEN(meanings); i++)
        if (meanings[i].rv == rv) {
            name = meanings[i].name;
            code = meanings[i].code;
        }
    IGNORE(err_set(e, code, "HSM token '%s': %s: %s (PKCS#11 0x%lx)", t->label, what, name, rv));
    e->cause = (int)rv;
    return code;
}

static bool is_lost(CK_RV rv)
{
    return rv == CKR_SESSION_HANDLE_INVALID || rv == CKR_SESSION_CLOSED || rv == CKR_DEVICE_REMOVED ||
           rv == CKR_TOKEN_NOT_PRESENT || rv == CKR_USER_NOT_LOGGED_IN || rv == CKR_CRYPTOKI_NOT_INITIALIZED;
}

/* ---- the module ---- */

static enum err_code load(struct token *t, const char *module, struct err *e)
{
    if (module[0] != '/')
        return err_set(e, ERR_USAGE, "the HSM's module '%s' must be given by its whole path", module);
    void *library = dlopen(module, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!library)
        return err_set(e, ERR_NOT_FOUND, "the HSM's module cannot be loaded: %s", dlerror());
    CK_C_GetFunctionList get_list = NULL;
    void *symbol = dlsym(library, "C_GetFunctionList");
    memcpy(&get_list, &symbol, sizeof(get_list)); /* C knows no cast from data to function */
    if (!get_list || get_list(&t->f) != CKR_OK || !t->f)
        return err_set(e, ERR_USAGE, "'%s' is no PKCS#11 module", module);
    CK_C_INITIALIZE_ARGS arguments = { .flags = CKF_OS_LOCKING_OK };
    CK_RV rv = t->f->C_Initialize(&arguments);
    if (rv != CKR_OK && rv != CKR_CRYPTOKI_ALREADY_INITIALIZED)
        return failed(t, "initialise the module", rv, e);
    return OK;
}

/* Labels are padded with blanks to 32 bytes, without an end. */
static bool has_label(const CK_UTF8CHAR *padded, const char *label)
{
    size_t n = strlen(label);
    for (size_t i = n; i < LABEL_BYTES; i++)
        if (padded[i] != ' ')
            return false;
    return n <= LABEL_BYTES && memcmp(padded, label, n) == 0;
}

static enum err_code find_slot(struct token *t, CK_SLOT_ID *out, struct err *e)
{
    CK_SLOT_ID slots[SLOTS_MAX];
    CK_ULONG count = SLOTS_MAX;
    size_t found = 0;
    CK_RV rv = t->f->C_GetSlotList(CK_TRUE, slots, &count);
    if (rv != CKR_OK)
        return failed(t, "list the slots", rv, e);
    for (CK_ULONG i = 0; i < count; i++) {
        CK_TOKEN_INFO info;
        if (t->f->C_GetTokenInfo(slots[i], &info) == CKR_OK && has_label(info.label, t->label)) {
            *out = slots[i];
            found++;
        }
    }
    if (found > 1)
        return err_set(e, ERR_USAGE, "the HSM has %zu tokens '%s': their labels must differ", found,
                       t->label);
    if (found == 0)
        return err_set(e, ERR_RETRY,
                       "HSM token '%s' is not there: is the device connected, and keys.token right?",
                       t->label);
    return OK;
}

/* ---- the session ---- */

static void end_session(struct token *t)
{
    if (t->is_open)
        t->f->C_CloseSession(t->session.handle);
    t->is_open = false;
}

static enum err_code begin_session(struct token *t, struct err *e)
{
    struct token_session s = { .f = t->f };
    if (find_slot(t, &s.slot, e))
        return e->code;
    CK_RV rv = t->f->C_OpenSession(s.slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &s.handle);
    if (rv != CKR_OK)
        return failed(t, "open a session", rv, e);
    t->session = s;
    t->is_open = true;
    /* PKCS#11 wants it writable and does not write to it. */
    rv = t->f->C_Login(s.handle, CKU_USER, (CK_UTF8CHAR *)secret_bytes(t->pin), secret_len(t->pin));
    if (rv == CKR_OK || rv == CKR_USER_ALREADY_LOGGED_IN)
        return OK;
    end_session(t);
    return failed(t, "log in", rv, e);
}

enum err_code token_open(const char *module, const char *label, const struct secret *pin, struct token **out,
                         struct err *e)
{
    CLEANUP(token_closep) struct token *t = NULL;
    if (!label[0] || strlen(label) > LABEL_BYTES)
        return err_set(e, ERR_USAGE, "keys.token: an HSM token's label has 1 to %d bytes", LABEL_BYTES);
    if (!pin)
        return err_set(e, ERR_USAGE, "an HSM token needs its PIN: keys.pin_file or keys.pin_credential");
    t = mem_new(sizeof(*t));
    snprintf(t->label, sizeof(t->label), "%s", label);
    t->pin = secret_copy(pin);
    if (load(t, module, e) || begin_session(t, e))
        return e->code;
    *out = TAKE(t);
    return OK;
}

void token_close(struct token *t)
{
    if (!t)
        return;
    end_session(t);
    secret_free(t->pin);
    free(t);
}

enum err_code token_run(struct token *t, const char *what, token_step *step, void *context, struct err *e)
{
    CK_RV rv = t->is_open ? step(&t->session, context) : CKR_SESSION_CLOSED;
    if (is_lost(rv)) {
        end_session(t);
        if (begin_session(t, e))
            return err_wrap(e, "%s", what);
        rv = step(&t->session, context);
    }
    return rv == CKR_OK ? OK : failed(t, what, rv, e);
}

bool token_has_mechanism(struct token *t, CK_MECHANISM_TYPE type, CK_FLAGS flags)
{
    CK_MECHANISM_INFO info;
    return t->f->C_GetMechanismInfo(t->session.slot, type, &info) == CKR_OK && (info.flags & flags) == flags;
}
