#include "base/mem.h"
#include "base/rng.h"
#include "core/crypto/crypto.h"
#include "core/keys/keys_ops.h"
#include "core/keys/pkcs11_token.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/*
 * A KEK version is an AES-256 key object of the token with the label NAME.vN, made inside it and never
 * leaving it (CKA_SENSITIVE, not CKA_EXTRACTABLE). Wrapped bytes begin with the mechanism:
 *
 *     1  IV (12) || AES-256-GCM of the data key (32) || tag (16); associated data: keys_bound_bytes()
 *     2  AES key wrap with padding (RFC 5649) of data key (32) || SHA-256 of keys_bound_bytes() (32), for
 * tokens without GCM: wrapping is authenticated, and what it is bound to lies inside
 */

enum {
    WITH_GCM = 1,
    WITH_WRAP = 2,
    GCM_BYTES = AEAD_IV_BYTES + DATA_KEY_BYTES + AEAD_TAG_BYTES,
    INNER_BYTES = DATA_KEY_BYTES + SHA256_BYTES,
    WRAP_BYTES_MAX = INNER_BYTES + 16,
    LABEL_BYTES = KEYS_NAME_BYTES + 24,
    FIND_AT_ONCE = 64,
};

struct keys_pkcs11 {
    struct keys keys;
    struct token *token;
    uint8_t with; /* for new wrappings */
};

static struct keys_pkcs11 *of(struct keys *k)
{
    return (struct keys_pkcs11 *)k;
}

static void pkcs11_close(struct keys *k)
{
    token_close(of(k)->token);
    free(k);
}

static enum err_code choose_mechanism(struct keys_pkcs11 *p, int asked, struct err *e)
{
    bool gcm = token_has_mechanism(p->token, CKM_AES_GCM, CKF_ENCRYPT | CKF_DECRYPT);
    bool wrap = token_has_mechanism(p->token, CKM_AES_KEY_WRAP_PAD, CKF_WRAP | CKF_UNWRAP);
    if (gcm && asked != KEYS_MECHANISM_WRAP)
        p->with = WITH_GCM;
    else if (wrap && asked != KEYS_MECHANISM_GCM)
        p->with = WITH_WRAP;
    else
        return err_set(e, ERR_USAGE,
                       "the HSM's token has neither AES-GCM nor AES key wrap with padding (keys.mechanism "
                       "is '%s')",
                       keys_mechanism_names[asked]);
    return OK;
}

static enum err_code pkcs11_open(const struct keys_config *config, const struct keys_secrets *secrets,
                                 struct keys **out, struct err *e)
{
    struct keys_pkcs11 *p = mem_new(sizeof(*p));
    if (token_open(config->module, config->token, secrets->pin, &p->token, e) ||
        choose_mechanism(p, config->mechanism, e)) {
        pkcs11_close(&p->keys);
        return e->code;
    }
    *out = &p->keys;
    return OK;
}

/* ---- key objects ---- */

/* Every secret key object, or those with one label. */
struct finding {
    const char *label; /* NULL: all */
    CK_OBJECT_HANDLE found[KEYS_LIST_MAX / 100];
    CK_ULONG count;
};

static CK_RV find_step(const struct token_session *s, void *context)
{
    struct finding *f = context;
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_ATTRIBUTE wanted[] = {
        { CKA_CLASS, &class, sizeof(class) },
        { CKA_LABEL, (void *)(uintptr_t)f->label, f->label ? strlen(f->label) : 0 },
    };
    CK_ULONG got = 0;
    f->count = 0;
    CK_RV rv = s->f->C_FindObjectsInit(s->handle, wanted, f->label ? 2 : 1);
    if (rv != CKR_OK)
        return rv;
    do {
        CK_ULONG room = MIN((CK_ULONG)FIND_AT_ONCE, (CK_ULONG)ARRAY_LEN(f->found) - f->count);
        rv = s->f->C_FindObjects(s->handle, f->found + f->count, room, &got);
        f->count += rv == CKR_OK ? got : 0;
    } while (rv == CKR_OK && got > 0 && f->count < ARRAY_LEN(f->found));
    CK_RV ended = s->f->C_FindObjectsFinal(s->handle);
    return rv != CKR_OK ? rv : ended;
}

static const char *label_of(const struct keys_use *use, char out[LABEL_BYTES])
{
    snprintf(out, LABEL_BYTES, "%s.v%" PRId64, use->name, use->version);
    return out;
}

static enum err_code find_one(struct keys_pkcs11 *p, const struct keys_use *use, CK_OBJECT_HANDLE *out,
                              struct err *e)
{
    CLEANUP(freep) struct finding *f = mem_new(sizeof(*f));
    char label[LABEL_BYTES];
    f->label = label_of(use, label);
    if (token_run(p->token, "find a key", find_step, f, e))
        return e->code;
    if (f->count == 0)
        return err_set(e, ERR_NOT_FOUND, "the HSM's token has no key '%s'", label);
    if (f->count > 1)
        return err_set(e, ERR_CONFLICT,
                       "the HSM's token has %lu keys '%s': remove the ones that do not belong there",
                       f->count, label);
    *out = f->found[0];
    return OK;
}

struct label_question {
    CK_OBJECT_HANDLE object;
    char label[LABEL_BYTES];
};

/* "" where it is too long to be one of ours. */
static CK_RV label_step(const struct token_session *s, void *context)
{
    struct label_question *q = context;
    CK_ATTRIBUTE label = { CKA_LABEL, q->label, sizeof(q->label) - 1 };
    CK_RV rv = s->f->C_GetAttributeValue(s->handle, q->object, &label, 1);
    bool fits = rv == CKR_OK && label.ulValueLen < sizeof(q->label);
    q->label[fits ? label.ulValueLen : 0] = '\0';
    return rv == CKR_BUFFER_TOO_SMALL || rv == CKR_ATTRIBUTE_TYPE_INVALID ? CKR_OK : rv;
}

static enum err_code pkcs11_list(struct keys *k, keys_each_fn *each, void *context, struct err *e)
{
    CLEANUP(freep) struct finding *f = mem_new(sizeof(*f));
    char name[KEYS_NAME_BYTES];
    int64_t version;
    if (token_run(of(k)->token, "list the keys", find_step, f, e))
        return e->code;
    if (f->count == ARRAY_LEN(f->found))
        return err_set(e, ERR_LIMIT, "the HSM's token has more than %zu keys", ARRAY_LEN(f->found) - 1);
    for (CK_ULONG i = 0; i < f->count; i++) {
        struct label_question q = { .object = f->found[i] };
        if (token_run(of(k)->token, "read a key's label", label_step, &q, e))
            return e->code;
        if (keys_label_parse(q.label, name, &version) && each(context, name, version, e))
            return e->code;
    }
    return OK;
}

static CK_RV create_step(const struct token_session *s, void *context)
{
    char *label = context;
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_ULONG bytes = AEAD_KEY_BYTES;
    CK_MECHANISM generate = { CKM_AES_KEY_GEN, NULL, 0 };
    CK_OBJECT_HANDLE key;
    CK_ATTRIBUTE attributes[] = {
        { CKA_LABEL, label, strlen(label) },      { CKA_ID, label, strlen(label) },
        { CKA_TOKEN, &yes, sizeof(yes) },         { CKA_PRIVATE, &yes, sizeof(yes) },
        { CKA_SENSITIVE, &yes, sizeof(yes) },     { CKA_EXTRACTABLE, &no, sizeof(no) },
        { CKA_ENCRYPT, &yes, sizeof(yes) },       { CKA_DECRYPT, &yes, sizeof(yes) },
        { CKA_WRAP, &yes, sizeof(yes) },          { CKA_UNWRAP, &yes, sizeof(yes) },
        { CKA_VALUE_LEN, &bytes, sizeof(bytes) },
    };
    return s->f->C_GenerateKey(s->handle, &generate, attributes, ARRAY_LEN(attributes), &key);
}

static enum err_code pkcs11_create(struct keys *k, const char *name, struct err *e)
{
    int64_t newest = 0;
    char label[LABEL_BYTES];
    if (keys_newest(k, name, &newest, e) && e->code != ERR_NOT_FOUND)
        return e->code;
    err_clear(e);
    const struct keys_use next = { .name = name, .version = newest + 1 };
    label_of(&next, label);
    if (token_run(of(k)->token, "make a key", create_step, label, e))
        return e->code;
    CK_OBJECT_HANDLE
    made; /* labels need not be unique to a token: two of one name are told now, not at the first use */
    return find_one(of(k), &next, &made, e);
}

static CK_RV destroy_step(const struct token_session *s, void *context)
{
    return s->f->C_DestroyObject(s->handle, *(CK_OBJECT_HANDLE *)context);
}

static enum err_code pkcs11_destroy(struct keys *k, const char *name, int64_t version, struct err *e)
{
    const struct keys_use use = { .name = name, .version = version };
    CK_OBJECT_HANDLE key;
    if (find_one(of(k), &use, &key, e) || token_run(of(k)->token, "destroy a key", destroy_step, &key, e))
        return e->code;
    if (find_one(of(k), &use, &key, e) == OK)
        return err_set(e, ERR_IO,
                       "the HSM's token says that it destroyed '%s.v%" PRId64 "', and still has it", name,
                       version);
    if (e->code != ERR_NOT_FOUND)
        return e->code;
    err_clear(e);
    return OK;
}

/* Some tokens say of bytes that do not authenticate no more than that something failed; it is what was asked.
 */
static enum err_code not_ours(struct err *e)
{
    if (e->cause == CKR_GENERAL_ERROR || e->cause == CKR_FUNCTION_FAILED)
        return err_set(e, ERR_CORRUPT, "another context, another key, or altered");
    return e->code;
}

/* ---- GCM ---- */

struct gcm {
    CK_OBJECT_HANDLE key;
    const struct buf *bound;
    uint8_t iv[AEAD_IV_BYTES];
    uint8_t in[DATA_KEY_BYTES + AEAD_TAG_BYTES], out[DATA_KEY_BYTES + AEAD_TAG_BYTES];
    CK_ULONG in_bytes, out_bytes;
    bool encrypt;
};

static CK_RV gcm_step(const struct token_session *s, void *context)
{
    struct gcm *g = context;
    CK_GCM_PARAMS params = {
        .pIv = g->iv,
        .ulIvLen = sizeof(g->iv),
        .ulIvBits = 8 * sizeof(g->iv),
        .pAAD = g->bound->data,
        .ulAADLen = g->bound->len,
        .ulTagBits = 8 * AEAD_TAG_BYTES,
    };
    CK_MECHANISM mechanism = { CKM_AES_GCM, &params, sizeof(params) };
    g->out_bytes = sizeof(g->out);
    CK_RV rv = g->encrypt ? s->f->C_EncryptInit(s->handle, &mechanism, g->key)
                          : s->f->C_DecryptInit(s->handle, &mechanism, g->key);
    if (rv != CKR_OK)
        return rv;
    return g->encrypt ? s->f->C_Encrypt(s->handle, g->in, g->in_bytes, g->out, &g->out_bytes)
                      : s->f->C_Decrypt(s->handle, g->in, g->in_bytes, g->out, &g->out_bytes);
}

static enum err_code gcm_wrap(struct keys_pkcs11 *p, CK_OBJECT_HANDLE key, const struct buf *bound,
                              const struct secret *data_key, struct buf *out, struct err *e)
{
    struct gcm g = { .key = key, .bound = bound, .in_bytes = DATA_KEY_BYTES, .encrypt = true };
    memcpy(g.in, secret_bytes(data_key), DATA_KEY_BYTES);
    random_bytes(g.iv, sizeof(g.iv));
    enum err_code code = token_run(p->token, "wrap a data key", gcm_step, &g, e);
    explicit_bzero(g.in, sizeof(g.in));
    if (code)
        return code;
    if (g.out_bytes != DATA_KEY_BYTES + AEAD_TAG_BYTES)
        return err_set(e, ERR_CORRUPT, "the HSM's token gave %lu bytes for a wrapped key", g.out_bytes);
    buf_add_byte(out, WITH_GCM);
    buf_add(out, g.iv, sizeof(g.iv));
    buf_add(out, g.out, g.out_bytes);
    return buf_check(out, "wrapped key", e);
}

static enum err_code gcm_unwrap(struct keys_pkcs11 *p, CK_OBJECT_HANDLE key, const struct buf *bound,
                                const uint8_t *wrapped, size_t n, struct secret **out_key, struct err *e)
{
    struct gcm g = { .key = key, .bound = bound, .in_bytes = DATA_KEY_BYTES + AEAD_TAG_BYTES };
    if (n != GCM_BYTES)
        return err_set(e, ERR_CORRUPT, "a wrapped key has %d bytes, not %zu", GCM_BYTES, n);
    memcpy(g.iv, wrapped, sizeof(g.iv));
    memcpy(g.in, wrapped + sizeof(g.iv), g.in_bytes);
    enum err_code code = token_run(p->token, "unwrap a data key", gcm_step, &g, e);
    if (code == OK && g.out_bytes != DATA_KEY_BYTES)
        code = err_set(e, ERR_CORRUPT, "another context, another key, or altered");
    if (code == OK)
        *out_key = secret_new(g.out, DATA_KEY_BYTES);
    explicit_bzero(g.out, sizeof(g.out));
    return code ? not_ours(e) : OK;
}

/* ---- AES key wrap with padding ---- */

/* The data key and what it is bound to enter and leave the token as a session object. */
struct wrapping {
    CK_OBJECT_HANDLE key;
    uint8_t inner[INNER_BYTES], wrapped[WRAP_BYTES_MAX];
    CK_ULONG inner_bytes, wrapped_bytes;
};

static CK_MECHANISM wrap_mechanism = { CKM_AES_KEY_WRAP_PAD, NULL, 0 };

static CK_RV wrap_step(const struct token_session *s, void *context)
{
    struct wrapping *w = context;
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_GENERIC_SECRET;
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_OBJECT_HANDLE inner;
    CK_ATTRIBUTE attributes[] = {
        { CKA_CLASS, &class, sizeof(class) }, { CKA_KEY_TYPE, &type, sizeof(type) },
        { CKA_TOKEN, &no, sizeof(no) },       { CKA_EXTRACTABLE, &yes, sizeof(yes) },
        { CKA_SENSITIVE, &no, sizeof(no) },   { CKA_VALUE, w->inner, sizeof(w->inner) },
    };
    CK_RV rv = s->f->C_CreateObject(s->handle, attributes, ARRAY_LEN(attributes), &inner);
    if (rv != CKR_OK)
        return rv;
    w->wrapped_bytes = sizeof(w->wrapped);
    rv = s->f->C_WrapKey(s->handle, &wrap_mechanism, w->key, inner, w->wrapped, &w->wrapped_bytes);
    s->f->C_DestroyObject(s->handle, inner);
    return rv;
}

static CK_RV unwrap_step(const struct token_session *s, void *context)
{
    struct wrapping *w = context;
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_GENERIC_SECRET;
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_OBJECT_HANDLE inner;
    CK_ATTRIBUTE attributes[] = {
        { CKA_CLASS, &class, sizeof(class) }, { CKA_KEY_TYPE, &type, sizeof(type) },
        { CKA_TOKEN, &no, sizeof(no) },       { CKA_EXTRACTABLE, &yes, sizeof(yes) },
        { CKA_SENSITIVE, &no, sizeof(no) },
    };
    CK_RV rv = s->f->C_UnwrapKey(s->handle, &wrap_mechanism, w->key, w->wrapped, w->wrapped_bytes, attributes,
                                 ARRAY_LEN(attributes), &inner);
    if (rv != CKR_OK)
        return rv;
    CK_ATTRIBUTE value = { CKA_VALUE, w->inner, sizeof(w->inner) };
    rv = s->f->C_GetAttributeValue(s->handle, inner, &value, 1);
    w->inner_bytes = rv == CKR_OK ? value.ulValueLen : 0;
    s->f->C_DestroyObject(s->handle, inner);
    return rv == CKR_BUFFER_TOO_SMALL ? CKR_WRAPPED_KEY_INVALID : rv;
}

static enum err_code pad_wrap(struct keys_pkcs11 *p, CK_OBJECT_HANDLE key, const struct buf *bound,
                              const struct secret *data_key, struct buf *out, struct err *e)
{
    struct wrapping w = { .key = key };
    memcpy(w.inner, secret_bytes(data_key), DATA_KEY_BYTES);
    sha256(bound->data, bound->len, w.inner + DATA_KEY_BYTES);
    enum err_code code = token_run(p->token, "wrap a data key", wrap_step, &w, e);
    explicit_bzero(w.inner, sizeof(w.inner));
    if (code)
        return code;
    buf_add_byte(out, WITH_WRAP);
    buf_add(out, w.wrapped, w.wrapped_bytes);
    return buf_check(out, "wrapped key", e);
}

static enum err_code pad_unwrap(struct keys_pkcs11 *p, CK_OBJECT_HANDLE key, const struct buf *bound,
                                const uint8_t *wrapped, size_t n, struct secret **out_key, struct err *e)
{
    struct wrapping w = { .key = key, .wrapped_bytes = n };
    uint8_t hash[SHA256_BYTES];
    if (n == 0 || n > sizeof(w.wrapped))
        return err_set(e, ERR_CORRUPT, "a wrapped key has at most %zu bytes, not %zu", sizeof(w.wrapped), n);
    memcpy(w.wrapped, wrapped, n);
    sha256(bound->data, bound->len, hash);
    enum err_code code = token_run(p->token, "unwrap a data key", unwrap_step, &w, e);
    if (code == OK &&
        (w.inner_bytes != INNER_BYTES || !crypto_equal(w.inner + DATA_KEY_BYTES, hash, sizeof(hash))))
        code = err_set(e, ERR_CORRUPT, "another context, another key, or altered");
    if (code == OK)
        *out_key = secret_new(w.inner, DATA_KEY_BYTES);
    explicit_bzero(w.inner, sizeof(w.inner));
    return code ? not_ours(e) : OK;
}

/* ---- use ---- */

static enum err_code prepare(struct keys *k, const struct keys_use *use, CK_OBJECT_HANDLE *out_key,
                             struct buf *bound, struct err *e)
{
    keys_bound_bytes(k->ops->name, use, bound);
    if (buf_check(bound, "key context", e))
        return e->code;
    return find_one(of(k), use, out_key, e);
}

static enum err_code wrap(struct keys *k, const struct keys_use *use, const struct secret *data_key,
                          struct buf *out, struct err *e)
{
    CLEANUP(buf_done) struct buf bound = BUF_INIT(KEYS_BOUND_BYTES_MAX);
    CK_OBJECT_HANDLE key = 0;
    if (prepare(k, use, &key, &bound, e))
        return e->code;
    return (of(k)->with == WITH_GCM ? gcm_wrap : pad_wrap)(of(k), key, &bound, data_key, out, e);
}

static enum err_code pkcs11_generate(struct keys *k, const struct keys_use *use, struct secret **out_key,
                                     struct buf *out, struct err *e)
{
    CLEANUP(secret_freep) struct secret *data_key = secret_random(DATA_KEY_BYTES);
    if (wrap(k, use, data_key, out, e))
        return e->code;
    *out_key = TAKE(data_key);
    return OK;
}

static enum err_code pkcs11_unwrap(struct keys *k, const struct keys_use *use, const void *wrapped, size_t n,
                                   struct secret **out_key, struct err *e)
{
    CLEANUP(buf_done) struct buf bound = BUF_INIT(KEYS_BOUND_BYTES_MAX);
    const uint8_t *raw = wrapped;
    CK_OBJECT_HANDLE key = 0;
    if (n < 1 || (raw[0] != WITH_GCM && raw[0] != WITH_WRAP))
        return err_set(e, ERR_CORRUPT, "a wrapped key of no mechanism that is known");
    if (prepare(k, use, &key, &bound, e))
        return e->code;
    return (raw[0] == WITH_GCM ? gcm_unwrap : pad_unwrap)(of(k), key, &bound, raw + 1, n - 1, out_key, e);
}

static enum err_code pkcs11_rewrap(struct keys *k, const struct keys_use *from, const void *wrapped, size_t n,
                                   const struct keys_use *to, struct buf *out, struct err *e)
{
    CLEANUP(secret_freep) struct secret *data_key = NULL;
    if (pkcs11_unwrap(k, from, wrapped, n, &data_key, e) || wrap(k, to, data_key, out, e))
        return e->code;
    return OK;
}

const struct keys_ops keys_pkcs11_ops = {
    .name = "pkcs11",
    .is_kms = true,
    .open = pkcs11_open,
    .close = pkcs11_close,
    .create = pkcs11_create,
    .list = pkcs11_list,
    .destroy = pkcs11_destroy,
    .generate = pkcs11_generate,
    .unwrap = pkcs11_unwrap,
    .rewrap = pkcs11_rewrap,
};
