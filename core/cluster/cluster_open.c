#include "core/cluster/cluster_paths.h"
#include "core/json/json.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

enum {
    PEM_BYTES_MAX = 4096,
    CREDENTIAL_BYTES = 4096,
    CREDENTIALS_FILE_BYTES_MAX = 16 * 1024,
    STATE_TIMEOUT_MS = 2000
};

/* ---- stores ---- */

/* The pairs as the JSON object that the store's key service takes; checked when they were loaded. */
static enum err_code sse_context_of(const struct cluster_store *s, char out[STORE_SSE_CONTEXT_BYTES],
                                    struct err *e)
{
    CLEANUP(json_donep) json_t *context = json_object();
    CLEANUP(buf_done) struct buf text = BUF_INIT(STORE_SSE_CONTEXT_BYTES - 1);
    out[0] = '\0';
    for (size_t i = 0; i < s->sse_context_count; i++) {
        const char *pair = s->sse_context[i], *value = strchr(pair, '=') + 1;
        CLEANUP(freep) char *name = mem_printf("%.*s", (int)(value - pair - 1), pair);
        json_object_set_new(context, name, json_string(value));
    }
    if (s->sse_context_count > 0 && json_canonical(context, &text, e))
        return err_wrap(e, "store's sse_context");
    return text_copy(out, STORE_SSE_CONTEXT_BYTES, buf_text(&text), "store's sse_context", e);
}

enum err_code cluster_place(const struct cluster *c, const char *bucket, struct store_place *out,
                            struct err *e)
{
    const struct cluster_store *s = cluster_find_store(c, bucket);
    struct store_place p = { 0 };
    if (!s)
        return err_set(e, ERR_DENIED, "bucket '%s' belongs to none of the cluster's stores", bucket);
    p.kind = s->kind;
    p.path_style = s->path_style;
    p.patience_ms = s->patience_ms;
    p.deadline_ms = s->deadline_ms;
    p.payload = s->payload;
    p.sse = s->sse;
    if (text_copy(p.bucket, sizeof(p.bucket), bucket, "bucket", e) ||
        text_copy(p.root, sizeof(p.root), s->root, "store's root", e) ||
        text_copy(p.endpoint, sizeof(p.endpoint), s->endpoint, "store's endpoint", e) ||
        text_copy(p.region, sizeof(p.region), s->region, "store's region", e) ||
        text_copy(p.ca_file, sizeof(p.ca_file), s->ca_file, "store's ca_file", e) ||
        text_copy(p.cert_file, sizeof(p.cert_file), s->cert_file, "store's cert_file", e) ||
        text_copy(p.key_file, sizeof(p.key_file), s->key_file, "store's key_file", e) ||
        text_copy(p.sse_key, sizeof(p.sse_key), s->sse_key, "store's sse_key", e) ||
        sse_context_of(s, p.sse_context, e))
        return e->code;
    if (p.kind == STORE_S3)
        policy_guard(&c->policy, p.endpoint, p.region, &p.guard);
    *out = p;
    return OK;
}

struct credentials_text {
    char access_key[CREDENTIAL_BYTES], secret_key[CREDENTIAL_BYTES], session_token[CREDENTIAL_BYTES];
    char expires[CLOCK_TEXT_BYTES];
};
static const struct conf_field credentials_fields[] = {
    CONF_TEXT_REQUIRED(credentials_text, access_key, "access key id"),
    CONF_TEXT_REQUIRED(credentials_text, secret_key, "secret access key"),
    CONF_TEXT(credentials_text, session_token, "", "session token"),
    CONF_TEXT(credentials_text, expires, "", "when they end, as 2026-11-22T10:15:00Z"),
    CONF_END,
};

static void credentials_text_wipe(struct credentials_text *t)
{
    explicit_bzero(t, sizeof(*t));
}

static struct secret *secret_of(const char *text)
{
    return text[0] ? secret_new(text, strlen(text)) : NULL;
}

/* A reader's error may quote what it read. Here that could be a key, so its text stays here. */
static enum err_code read_credentials(const char *file, struct store_session *out, struct err *e)
{
    CLEANUP(buf_wipe) struct buf text = BUF_INIT(CREDENTIALS_FILE_BYTES_MAX);
    CLEANUP(conf_freep) struct conf_doc *doc = NULL;
    CLEANUP(credentials_text_wipe) struct credentials_text t = { 0 };
    struct err quiet = ERR_INIT;
    if (file_read_private(file, &text, e))
        return err_wrap(e, "credentials");
    enum err_code code = conf_parse(file, text.data, text.len, &doc, &quiet);
    int64_t expires_ms = 0;
    if (code == OK)
        code = conf_bind(doc, credentials_fields, &t, &quiet);
    if (code == OK && t.expires[0])
        code = clock_parse(t.expires, &expires_ms, &quiet);
    explicit_bzero(&quiet, sizeof(quiet));
    if (code)
        return err_set(e, ERR_USAGE,
                       "credentials '%s': must be YAML with access_key, secret_key and, where there are "
                       "such, session_token "
                       "and expires (a UTC time)",
                       file);
    out->access_key = secret_of(t.access_key);
    out->secret_key = secret_of(t.secret_key);
    out->session_token = secret_of(t.session_token);
    out->expires_ms = expires_ms;
    return OK;
}

enum err_code cluster_credentials(const struct cluster *c, const char *bucket, struct store_session *out,
                                  struct err *e)
{
    const struct cluster_store *s = cluster_find_store(c, bucket);
    if (!s)
        return err_set(e, ERR_DENIED, "bucket '%s' belongs to none of the cluster's stores", bucket);
    if (s->kind == STORE_S3)
        return read_credentials(s->credentials_file, out, e);
    *out = (struct store_session){ .access_key = NULL };
    return OK;
}

/* Whoever rotates the credentials writes their file anew. */
static enum err_code read_again(void *context, struct store_session *out, struct err *e)
{
    const struct cluster_store *s = context;
    return read_credentials(s->credentials_file, out, e);
}

enum err_code cluster_open_place(const struct store_place *place, const struct store_credentials *credentials,
                                 struct store **out, struct err *e)
{
    enum err_code code = store_open(place, credentials, out, e);
    if (code != ERR_NOT_FOUND)
        return code;
    const struct err none = *e;
    return err_set(e, ERR_RETRY, "%s; is its disk mounted?", none.text);
}

enum err_code cluster_open_store(const struct cluster *c, const char *bucket, struct store **out,
                                 struct err *e)
{
    CLEANUP(store_session_done) struct store_session own = { .access_key = NULL };
    struct store_place place = { .kind = STORE_DIR };
    if (cluster_place(c, bucket, &place, e) || cluster_credentials(c, bucket, &own, e))
        return e->code;
    place.patience_ms = 0;
    struct store_credentials lent = store_lend(&own);
    lent.renew = read_again;
    lent.renew_context = (void *)cluster_find_store(c, bucket); /* only read */
    return cluster_open_place(&place, place.kind == STORE_S3 ? &lent : NULL, out, e);
}

/* ---- keys and state ---- */

/* NULL where the provider needs none. */
static enum err_code read_pin(const struct keys_config *k, struct secret **out, struct err *e)
{
    const char *folder = getenv("CREDENTIALS_DIRECTORY");
    if (k->provider != KEYS_PKCS11)
        return OK;
    if (k->pin_credential[0] && !folder)
        return err_set(
            e, ERR_NOT_FOUND,
            "keys.pin_credential: CREDENTIALS_DIRECTORY is not set; systemd sets it for a service with "
            "LoadCredential=%s:...",
            k->pin_credential);
    CLEANUP(freep)
    char *path = k->pin_credential[0] ? path_join(folder, k->pin_credential) : mem_text(k->pin_file);
    if (secret_from_file(path, out, e))
        return err_wrap(e, "PIN of the HSM's token");
    return OK;
}

enum err_code cluster_open_keys(const struct cluster *c, struct keys **out, struct err *e)
{
    CLEANUP(secret_freep) struct secret *pin = NULL;
    CLEANUP(store_session_done) struct store_session own = { .access_key = NULL };
    if (read_pin(&c->keys, &pin, e) ||
        (c->keys.provider == KEYS_KMS && read_credentials(c->keys.credentials_file, &own, e)))
        return e->code;
    const struct keys_secrets secrets = { pin, own.access_key, own.secret_key, own.session_token };
    return keys_open(&c->keys, &secrets, out, e);
}

void cluster_state_config(const struct cluster *c, struct state_config *out)
{
    *out = (struct state_config){ .timeout_ms = STATE_TIMEOUT_MS, .durability_dev = cluster_is_dev(c) };
    _Static_assert(sizeof(out->address) == sizeof(c->state.address) &&
                       sizeof(out->cluster) == sizeof(c->name),
                   "copied whole");
    memcpy(out->address, c->state.address, sizeof(out->address));
    memcpy(out->cluster, c->name, sizeof(out->cluster));
}

enum err_code cluster_state_password(const struct cluster *c, struct secret **out, struct err *e)
{
    if (c->state.password_file[0])
        return secret_from_file(c->state.password_file, out, e);
    *out = NULL;
    return OK;
}

enum err_code cluster_open_state(const struct cluster *c, struct state **out, struct err *e)
{
    CLEANUP(secret_freep) struct secret *password = NULL;
    struct state_config config;
    cluster_state_config(c, &config);
    if (cluster_state_password(c, &password, e))
        return err_wrap(e, "password of the state");
    return state_open(&config, password, out, e);
}

/* ---- the signing key ---- */

/* What one key signs and another one checks would be refused much later, and far from here. */
static enum err_code check_halves(const struct cluster *c, const struct signer *signer, struct err *e)
{
    uint8_t told[SIGN_PUBLIC_BYTES];
    if (cluster_public_key(c, told, e)) {
        if (e->code != ERR_NOT_FOUND)
            return e->code;
        err_clear(e);
        return OK; /* not made yet */
    }
    if (memcmp(told, signer->public_key, sizeof(told)) != 0)
        return err_set(e, ERR_CORRUPT, "the .pub.pem beside it is another key's");
    return OK;
}

enum err_code cluster_signer(const struct cluster *c, struct signer *out, struct err *e)
{
    CLEANUP(secret_freep) struct secret *pem = NULL;
    CLEANUP(secret_freep) struct secret *seed = NULL;
    CLEANUP(signer_done) struct signer s = { 0 };
    if (secret_from_file(c->signing_key, &pem, e) || sign_private_from_pem(pem, &seed, e) ||
        signer_from_seed(seed, &s, e) || check_halves(c, &s, e))
        return err_wrap(e, "signing key '%s'", c->signing_key);
    *out = s;
    s = (struct signer){ 0 };
    return OK;
}

char *cluster_public_key_path(const struct cluster *c)
{
    static const char ending[] = ".pem";
    size_t n = strlen(c->signing_key);
    if (text_ends(c->signing_key, ending))
        n -= strlen(ending);
    return mem_printf("%.*s.pub.pem", (int)n, c->signing_key);
}

enum err_code cluster_public_key(const struct cluster *c, uint8_t out[SIGN_PUBLIC_BYTES], struct err *e)
{
    CLEANUP(freep) char *path = cluster_public_key_path(c);
    CLEANUP(buf_done) struct buf pem = BUF_INIT(PEM_BYTES_MAX);
    if (file_read(path, &pem, e))
        return err_wrap(e, "public key");
    if (sign_public_from_pem(buf_text(&pem), out, e))
        return err_wrap(e, "public key '%s'", path);
    return OK;
}
