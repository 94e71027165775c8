#include "core/cluster/session_doc.h"

#include "base/mem.h"
#include "base/rng.h"
#include "base/text.h"

#include <inttypes.h>
#include <string.h>

enum { AAD_BYTES_MAX = 1024 };
static const char purpose[] = "sovrun renewed sessions 1";
static const char *const use_names[SESSION_USES] = { "data", "models", "from" };

static struct aead *open_aead(const struct session_owner *o)
{
    uint8_t key[AEAD_KEY_BYTES];
    hkdf_expand_sha256(secret_bytes(o->data_key), secret_len(o->data_key), purpose, strlen(purpose), key,
                       sizeof(key));
    struct aead *a = aead_new(key);
    explicit_bzero(key, sizeof(key));
    return a;
}

/* Names hold no line ends. */
static void build_aad(const struct session_owner *o, struct buf *out)
{
    buf_addf(out, "%s\n%s\n%s\n%" PRId64 "\n%" PRId64, purpose, o->cluster, o->job, o->attempt, o->token);
}

enum err_code session_doc_seal(const struct session_owner *owner,
                               const struct store_session sessions[SESSION_USES], struct buf *out,
                               struct err *e)
{
    CLEANUP(json_donep) json_t *doc = json_object();
    CLEANUP(buf_wipe)
    struct buf plain = BUF_INIT(SESSION_DOC_BYTES_MAX), sealed = BUF_INIT(SESSION_DOC_BYTES_MAX);
    CLEANUP(buf_done) struct buf aad = BUF_INIT(AAD_BYTES_MAX);
    CLEANUP(aead_freep) struct aead *a = open_aead(owner);
    uint8_t iv[AEAD_IV_BYTES], tag[AEAD_TAG_BYTES];
    for (int i = 0; i < SESSION_USES; i++)
        json_object_set_new(doc, use_names[i], attempt_doc_session_to_json(&sessions[i]));
    if (json_canonical(doc, &plain, e))
        return err_wrap(e, "renewed sessions");
    random_bytes(iv, sizeof(iv));
    build_aad(owner, &aad);
    aead_seal(a, iv, aad.data, aad.len, plain.data, plain.len, plain.data, tag);
    buf_add(&sealed, iv, sizeof(iv));
    buf_add(&sealed, plain.data, plain.len);
    buf_add(&sealed, tag, sizeof(tag));
    base64_encode(sealed.data, sealed.len, out);
    return buf_check(out, "renewed sessions", e);
}

/* Unsealed, in place. */
static enum err_code unseal(const struct session_owner *owner, struct buf *sealed, struct buf *out,
                            struct err *e)
{
    CLEANUP(buf_done) struct buf aad = BUF_INIT(AAD_BYTES_MAX);
    CLEANUP(aead_freep) struct aead *a = open_aead(owner);
    if (sealed->len < AEAD_IV_BYTES + AEAD_TAG_BYTES)
        return err_set(e, ERR_CORRUPT, "cut off");
    uint8_t *cipher = sealed->data + AEAD_IV_BYTES;
    size_t n = sealed->len - AEAD_IV_BYTES - AEAD_TAG_BYTES;
    build_aad(owner, &aad);
    if (aead_open(a, sealed->data, aad.data, aad.len, cipher, n, cipher + n, cipher, e))
        return e->code;
    buf_add(out, cipher, n);
    return OK;
}

enum err_code session_doc_open(const struct session_owner *owner, const char *text, enum session_use use,
                               struct store_session *out, struct err *e)
{
    static const char what[] = "renewed sessions";
    CLEANUP(buf_wipe)
    struct buf sealed = BUF_INIT(SESSION_DOC_BYTES_MAX), plain = BUF_INIT(SESSION_DOC_BYTES_MAX);
    CLEANUP(json_donep) json_t *doc = NULL;
    json_t *one;
    struct err quiet = ERR_INIT; /* a parser's error may quote what it read */
    if (base64_decode(text, &sealed, &quiet) || unseal(owner, &sealed, &plain, &quiet) ||
        json_parse(plain.data, plain.len, what, &doc, &quiet))
        return err_set(e, ERR_CORRUPT, "%s: are not this attempt's, or were changed", what);
    if (json_get_object(doc, what, use_names[use], &one, e))
        return e->code;
    return attempt_doc_session_from_json(one, out, e);
}
