#include "core/keys/keys.h"

#include "base/num.h"
#include "base/text.h"
#include "core/json/json.h"
#include "core/keys/keys_ops.h"

#include <inttypes.h>
#include <string.h>

const char *const keys_provider_names[] = {
    [KEYS_FILE] = "file",
    [KEYS_PKCS11] = "pkcs11",
    [KEYS_KMS] = "kms",
    NULL,
};
const char *const keys_mechanism_names[] = {
    [KEYS_MECHANISM_AUTO] = "auto",
    [KEYS_MECHANISM_GCM] = "gcm",
    [KEYS_MECHANISM_WRAP] = "wrap",
    NULL,
};

static const struct keys_ops *const providers[] = {
    [KEYS_FILE] = &keys_file_ops,
    [KEYS_PKCS11] = &keys_pkcs11_ops,
    [KEYS_KMS] = &keys_kms_ops,
};

enum { CONTEXT_NAME_BYTES_MAX = 64, CONTEXT_VALUE_BYTES_MAX = 4096, WRAPPED_MEMBERS = 4 };

/* A wrapped text, taken apart. */
struct wrapped {
    struct keys_facts facts;
    struct buf bytes;
};

static void wrapped_done(struct wrapped *w)
{
    buf_done(&w->bytes);
}

enum err_code keys_open(const struct keys_config *config, const struct keys_secrets *secrets,
                        struct keys **out, struct err *e)
{
    static const struct keys_secrets none;
    if (config->provider < 0 || (size_t)config->provider >= ARRAY_LEN(providers))
        return err_set(e, ERR_USAGE, "there is no key provider %d", config->provider);
    const struct keys_ops *ops = providers[config->provider];
    struct keys *k = NULL;
    if (ops->open(config, secrets ? secrets : &none, &k, e))
        return err_wrap(e, "key provider '%s'", ops->name);
    k->ops = ops;
    k->kms_required = config->kms_required;
    *out = k;
    return OK;
}

void keys_close(struct keys *k)
{
    if (k)
        k->ops->close(k);
}

/* ---- what is checked once for every provider ---- */

static enum err_code check_policy(const struct keys *k, struct err *e)
{
    if (k->kms_required && !k->ops->is_kms)
        return err_set(e, ERR_DENIED, "the policy asks for keys in a KMS or HSM; provider '%s' is not one",
                       k->ops->name);
    return OK;
}

static enum err_code check_name(const char *name, struct err *e)
{
    if (!text_is_name(name, KEYS_NAME_BYTES - 1))
        return err_set(e, ERR_USAGE,
                       "'%.80s' is no key name: 1 to %d of a-z 0-9 - _ . after a letter or digit", name,
                       KEYS_NAME_BYTES - 1);
    return OK;
}

static enum err_code check_context(const struct keys_context *c, struct err *e)
{
    if (c->count > KEYS_CONTEXT_MAX)
        return err_set(e, ERR_LIMIT, "a key context has at most %d pairs, not %zu", KEYS_CONTEXT_MAX,
                       c->count);
    for (size_t i = 0; i < c->count; i++) {
        size_t name_n = strlen(c->pair[i].name);
        if (name_n == 0 || name_n > CONTEXT_NAME_BYTES_MAX)
            return err_set(e, ERR_USAGE, "a name in a key context has 1 to %d bytes", CONTEXT_NAME_BYTES_MAX);
        if (strlen(c->pair[i].value) > CONTEXT_VALUE_BYTES_MAX)
            return err_set(e, ERR_LIMIT, "key context '%s' has more than %d bytes", c->pair[i].name,
                           CONTEXT_VALUE_BYTES_MAX);
        for (size_t j = 0; j < i; j++)
            if (strcmp(c->pair[i].name, c->pair[j].name) == 0)
                return err_set(e, ERR_USAGE, "key context '%s' is given twice", c->pair[i].name);
    }
    return OK;
}

static void add_field(struct buf *out, const char *text)
{
    buf_add_u32be(out, (uint32_t)strlen(text));
    buf_add_text(out, text);
}

void keys_bound_bytes(const char *provider, const struct keys_use *use, struct buf *out)
{
    const struct keys_context *context = use->context;
    bool used[KEYS_CONTEXT_MAX] = { false };
    buf_add_text(out, "sovrun-wrap-v1");
    add_field(out, provider);
    add_field(out, use->name);
    buf_add_u32be(out, 8);
    buf_add_u64be(out, (uint64_t)use->version);
    for (size_t n = 0; n < context->count; n++) {
        size_t least = context->count;
        for (size_t i = 0; i < context->count; i++)
            if (!used[i] &&
                (least == context->count || strcmp(context->pair[i].name, context->pair[least].name) < 0))
                least = i;
        used[least] = true;
        add_field(out, context->pair[least].name);
        add_field(out, context->pair[least].value);
    }
}

/* ---- labels ---- */

bool keys_label_parse(const char *label, char out_name[KEYS_NAME_BYTES], int64_t *out_version)
{
    const char *dot = NULL;
    struct err e = ERR_INIT;
    int64_t version;
    for (const char *at = strstr(label, ".v"); at; at = strstr(at + 1, ".v"))
        dot = at;
    if (!dot || dot[2] == '0' || dot == label || dot - label >= KEYS_NAME_BYTES ||
        parse_i64(dot + 2, &version, &e) || version < 1)
        return false;
    memcpy(out_name, label, (size_t)(dot - label));
    out_name[dot - label] = '\0';
    *out_version = version;
    return text_is_name(out_name, KEYS_NAME_BYTES - 1);
}

int64_t keys_version_of(const char *label, const char *name)
{
    char found[KEYS_NAME_BYTES];
    int64_t version;
    return keys_label_parse(label, found, &version) && strcmp(found, name) == 0 ? version : 0;
}

bool keys_arn_fits(const char *pattern, const char *arn)
{
    enum { FIELDS = 6 };
    for (int field = 0; field < FIELDS; field++) {
        bool last = field == FIELDS - 1;
        size_t p = last ? strlen(pattern) : strcspn(pattern, ":"), a = last ? strlen(arn) : strcspn(arn, ":");
        bool any = p == 1 && pattern[0] == '*';
        bool begins =
            last && p > 0 && pattern[p - 1] == '*' && a >= p - 1 && strncmp(pattern, arn, p - 1) == 0;
        if (a == 0 || !(any || begins || (p == a && strncmp(pattern, arn, p) == 0)))
            return false;
        if (last)
            return !strchr(arn, ':');
        if (pattern[p] != ':' || arn[a] != ':')
            return false;
        pattern += p + 1;
        arn += a + 1;
    }
    return false;
}

/* ---- the wrapped text ---- */

static enum err_code wrapped_format(const char *provider, const char *name, int64_t version,
                                    const struct buf *raw, struct buf *out, struct err *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(KEYS_WRAPPED_BYTES_MAX);
    CLEANUP(buf_done) struct buf base64 = BUF_INIT(KEYS_WRAPPED_BYTES_MAX);
    base64_encode(raw->data, raw->len, &base64);
    if (buf_check(&base64, "wrapped key", e))
        return e->code;
    CLEANUP(json_donep)
    json_t *doc = json_pack("{s:s, s:s, s:I, s:s}", "provider", provider, "key", name, "version",
                            (json_int_t)version, "wrapped", buf_text(&base64));
    invariant(doc != NULL);
    if (json_canonical(doc, &text, e))
        return e->code;
    buf_add(out, text.data, text.len);
    return buf_check(out, "wrapped key", e);
}

static enum err_code parse_facts(const json_t *doc, struct keys_facts *out, struct err *e)
{
    static const char what[] = "wrapped key";
    if (json_copy_text(doc, what, "provider", out->provider, sizeof(out->provider), e) ||
        json_copy_text(doc, what, "key", out->key, sizeof(out->key), e) ||
        json_get_i64(doc, what, "version", &out->version, e))
        return e->code;
    if (!text_is_name(out->key, sizeof(out->key) - 1) || out->version < 1)
        return err_set(e, ERR_CORRUPT, "%s: no key name or version", what);
    return OK;
}

/* Whatever is wrong with the text is ERR_CORRUPT: a program wrote it. */
static enum err_code wrapped_parse(const char *text, struct wrapped *out, struct err *e)
{
    CLEANUP(json_donep) json_t *doc = NULL;
    CLEANUP(wrapped_done) struct wrapped w = { .bytes = BUF_INIT(KEYS_WRAPPED_RAW_MAX) };
    const char *base64;
    size_t n = strnlen(text, KEYS_WRAPPED_BYTES_MAX + 1);
    if (n > KEYS_WRAPPED_BYTES_MAX)
        return err_set(e, ERR_CORRUPT, "wrapped key: longer than %d bytes", KEYS_WRAPPED_BYTES_MAX);
    if (json_parse(text, n, "wrapped key", &doc, e) || parse_facts(doc, &w.facts, e) ||
        json_get_text(doc, "wrapped key", "wrapped", &base64, e)) {
        e->code = ERR_CORRUPT;
        return e->code;
    }
    if (json_object_size(doc) != WRAPPED_MEMBERS)
        return err_set(e, ERR_CORRUPT, "wrapped key: it has members that do not belong there");
    if (base64_decode(base64, &w.bytes, e)) {
        e->code = ERR_CORRUPT;
        return err_wrap(e, "wrapped key: 'wrapped'");
    }
    *out = w;
    w.bytes = (struct buf)BUF_INIT(0);
    return OK;
}

enum err_code keys_describe(const char *wrapped, struct keys_facts *out, struct err *e)
{
    CLEANUP(wrapped_done) struct wrapped w = { .bytes = BUF_INIT(0) };
    if (wrapped_parse(wrapped, &w, e))
        return e->code;
    *out = w.facts;
    return OK;
}

/* ---- use ---- */

enum err_code keys_create(struct keys *k, const char *name, struct err *e)
{
    if (check_policy(k, e) || check_name(name, e) || k->ops->create(k, name, e))
        return err_wrap(e, "create key '%.80s'", name);
    return OK;
}

/* The largest version of one name. */
struct newest {
    const char *name;
    int64_t version;
};

static enum err_code take_newest(void *context, const char *name, int64_t version, struct err *e)
{
    struct newest *n = context;
    (void)e;
    if (strcmp(name, n->name) == 0)
        n->version = MAX(n->version, version);
    return OK;
}

enum err_code keys_newest(struct keys *k, const char *name, int64_t *out_version, struct err *e)
{
    struct newest n = { .name = name };
    if (check_policy(k, e) || check_name(name, e) || k->ops->list(k, take_newest, &n, e))
        return err_wrap(e, "look for key '%.80s'", name);
    if (n.version == 0)
        return err_set(e, ERR_NOT_FOUND, "there is no key '%s' at provider '%s'", name, k->ops->name);
    *out_version = n.version;
    return OK;
}

bool keys_has(struct keys *k, const char *name)
{
    struct err e = ERR_INIT;
    int64_t version;
    return keys_newest(k, name, &version, &e) == OK;
}

enum err_code keys_list(struct keys *k, keys_each_fn *each, void *context, struct err *e)
{
    if (check_policy(k, e) || k->ops->list(k, each, context, e))
        return err_wrap(e, "list the keys");
    return OK;
}

enum err_code keys_destroy(struct keys *k, const char *name, int64_t version, struct err *e)
{
    if (check_policy(k, e) || check_name(name, e) || k->ops->destroy(k, name, version, e))
        return err_wrap(e, "destroy version %" PRId64 " of key '%.80s'", version, name);
    return OK;
}

enum err_code keys_generate(struct keys *k, const char *name, const struct keys_context *context,
                            struct secret **out_key, struct buf *out_wrapped, struct err *e)
{
    CLEANUP(secret_freep) struct secret *data_key = NULL;
    CLEANUP(buf_done) struct buf raw = BUF_INIT(KEYS_WRAPPED_RAW_MAX);
    struct keys_use use = { .name = name, .context = context };
    if (check_policy(k, e) || check_name(name, e) || check_context(context, e) ||
        keys_newest(k, name, &use.version, e) || k->ops->generate(k, &use, &data_key, &raw, e) ||
        buf_check(&raw, "wrapped key", e))
        return err_wrap(e, "make a data key under '%.80s'", name);
    if (secret_len(data_key) != DATA_KEY_BYTES)
        return err_set(e, ERR_CORRUPT, "make a data key under '%s': the provider gave %zu bytes", name,
                       secret_len(data_key));
    if (wrapped_format(k->ops->name, name, use.version, &raw, out_wrapped, e))
        return err_wrap(e, "make a data key under '%s'", name);
    *out_key = TAKE(data_key);
    return OK;
}

/* A wrapped text of this provider, taken apart. */
static enum err_code take_apart(struct keys *k, const char *wrapped, const struct keys_context *context,
                                struct wrapped *out, struct err *e)
{
    if (check_policy(k, e) || check_context(context, e) || wrapped_parse(wrapped, out, e))
        return e->code;
    if (strcmp(out->facts.provider, k->ops->name) != 0)
        return err_set(e, ERR_CORRUPT, "it is of provider '%s', not '%s'", out->facts.provider, k->ops->name);
    return OK;
}

enum err_code keys_unwrap(struct keys *k, const char *wrapped, const struct keys_context *context,
                          struct secret **out_key, struct err *e)
{
    CLEANUP(wrapped_done) struct wrapped w = { .bytes = BUF_INIT(0) };
    CLEANUP(secret_freep) struct secret *data_key = NULL;
    if (take_apart(k, wrapped, context, &w, e))
        return err_wrap(e, "unwrap a data key");
    const struct keys_use use = { w.facts.key, w.facts.version, context };
    if (k->ops->unwrap(k, &use, w.bytes.data, w.bytes.len, &data_key, e))
        return err_wrap(e, "unwrap a data key of '%s' version %" PRId64, w.facts.key, w.facts.version);
    if (secret_len(data_key) != DATA_KEY_BYTES)
        return err_set(e, ERR_CORRUPT, "unwrap a data key: it has %zu bytes", secret_len(data_key));
    *out_key = TAKE(data_key);
    return OK;
}

enum err_code keys_rewrap(struct keys *k, const char *wrapped, const struct keys_context *context,
                          const char *name, struct buf *out_wrapped, struct err *e)
{
    CLEANUP(wrapped_done) struct wrapped w = { .bytes = BUF_INIT(0) };
    CLEANUP(buf_done) struct buf raw = BUF_INIT(KEYS_WRAPPED_RAW_MAX);
    struct keys_use to = { .name = name, .context = context };
    if (check_name(name, e) || take_apart(k, wrapped, context, &w, e) || keys_newest(k, name, &to.version, e))
        return err_wrap(e, "wrap again under '%.80s'", name);
    const struct keys_use from = { w.facts.key, w.facts.version, context };
    if (k->ops->rewrap(k, &from, w.bytes.data, w.bytes.len, &to, &raw, e) ||
        buf_check(&raw, "wrapped key", e) ||
        wrapped_format(k->ops->name, name, to.version, &raw, out_wrapped, e))
        return err_wrap(e, "wrap again under '%.80s'", name);
    return OK;
}
