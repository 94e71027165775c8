#include "base/mem.h"
#include "base/text.h"
#include "core/crypto/crypto.h"
#include "core/keys/keys_ops.h"
#include "core/keys/kms_call.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/*
 * Version N of KEK NAME is the key that the alias alias/PREFIX-NAME-vN points to. An alias can be pointed
 * elsewhere later, so it is used to find a key and never to open anything: wrapped bytes carry the key's ARN,
 *
 *     u16be length of the ARN || ARN || the service's ciphertext blob
 *
 * and every ARN, ours or the service's, must fit one of the allowed patterns and be in the configured region.
 */

enum {
    PAGE_KEYS = 100,
    PAGES_MAX = 1000,
    ALIAS_BYTES = 256,
    CIPHERTEXT_BYTES_MAX = 1536,
    WINDOW_DAYS_MIN = 7
};
static const char what[] = "the key service's answer";

struct keys_kms {
    struct keys keys;
    struct kms *kms;
    struct keys_config config;
};

static struct keys_kms *of(struct keys *k)
{
    return (struct keys_kms *)k;
}

static void kms_provider_close(struct keys *k)
{
    kms_close(of(k)->kms);
    free(k);
}

static enum err_code kms_provider_open(const struct keys_config *config, const struct keys_secrets *secrets,
                                       struct keys **out, struct err *e)
{
    if (!config->alias_prefix[0] || !text_is_name(config->alias_prefix, sizeof(config->alias_prefix) - 1))
        return err_set(e, ERR_USAGE, "keys.alias_prefix must be a name of a-z 0-9 - _ .");
    struct keys_kms *k = mem_new(sizeof(*k));
    k->config = *config;
    if (kms_open(config, secrets, &k->kms, e)) {
        kms_provider_close(&k->keys);
        return e->code;
    }
    *out = &k->keys;
    return OK;
}

/* ---- whose key it is ---- */

static enum err_code check_arn(const struct keys_kms *k, const char *arn, struct err *e)
{
    char here[KEYS_ARN_BYTES];
    bool fits = false;
    for (size_t i = 0; i < k->config.arn_count; i++)
        fits = fits || keys_arn_fits(k->config.arns[i], arn);
    if (!fits)
        return err_set(e, ERR_DENIED,
                       "key '%.190s' fits none of the ARNs that the policy allows: use another key, or "
                       "have it added",
                       arn);
    snprintf(here, sizeof(here), "arn:*:kms:%.60s:*:key/*", k->config.region);
    if (!keys_arn_fits(here, arn))
        return err_set(e, ERR_DENIED, "key '%.190s' is not a key of region '%s'", arn, k->config.region);
    return OK;
}

static enum err_code arn_of_answer(const struct keys_kms *k, const json_t *answer, const char *member,
                                   char out[KEYS_ARN_BYTES], struct err *e)
{
    if (json_copy_text(answer, what, member, out, KEYS_ARN_BYTES, e))
        return e->code;
    return check_arn(k, out, e);
}

static const char *alias_of(const struct keys_kms *k, const char *name, int64_t version,
                            char out[ALIAS_BYTES])
{
    snprintf(out, ALIAS_BYTES, "alias/%s-%s-v%" PRId64, k->config.alias_prefix, name, version);
    return out;
}

/* "alias/PREFIX-NAME-vN" as "NAME.vN"; false: another alias. */
static bool parse_alias(const struct keys_kms *k, const char *alias, char out_name[KEYS_NAME_BYTES],
                        int64_t *out_version)
{
    char begin[ALIAS_BYTES], label[KEYS_NAME_BYTES + 24];
    snprintf(begin, sizeof(begin), "alias/%s-", k->config.alias_prefix);
    const char *rest = text_starts(alias, begin) ? alias + strlen(begin) : NULL, *dash = NULL;
    for (const char *at = rest ? strstr(rest, "-v") : NULL; at; at = strstr(at + 1, "-v"))
        dash = at;
    if (!dash || strlen(rest) >= sizeof(label))
        return false;
    snprintf(label, sizeof(label), "%.*s.v%s", (int)(dash - rest), rest, dash + 2);
    return keys_label_parse(label, out_name, out_version);
}

/* The key behind an alias or an ARN: allowed, and whether it may be used. */
static enum err_code describe(const struct keys_kms *k, const char *id, char out[KEYS_ARN_BYTES],
                              char out_state[40], struct err *e)
{
    CLEANUP(json_donep) json_t *answer = NULL;
    json_t *metadata;
    CLEANUP(json_donep) json_t *request = json_pack("{s:s}", "KeyId", id);
    if (kms_call(k->kms, "DescribeKey", request, &answer, e) ||
        json_get_object(answer, what, "KeyMetadata", &metadata, e) ||
        arn_of_answer(k, metadata, "Arn", out, e))
        return err_wrap(e, "%s", id);
    snprintf(out_state, 40, "%s", json_text_or(metadata, "KeyState", "of no state"));
    return OK;
}

/* A key that is disabled or waits to be deleted counts as destroyed, whatever the service would still do with
 * it. */
static enum err_code find_usable(const struct keys_kms *k, const char *id, char out[KEYS_ARN_BYTES],
                                 struct err *e)
{
    char state[40];
    if (describe(k, id, out, state, e))
        return e->code;
    if (strcmp(state, "Enabled") != 0)
        return err_set(e, ERR_NOT_FOUND, "%s: key %s is %s", id, out, state);
    return OK;
}

static enum err_code find_arn(const struct keys_kms *k, const char *name, int64_t version,
                              char out[KEYS_ARN_BYTES], struct err *e)
{
    char alias[ALIAS_BYTES];
    return find_usable(k, alias_of(k, name, version, alias), out, e);
}

/* ---- list, create, destroy ---- */

static enum err_code list_page(struct keys_kms *k, const json_t *answer, keys_each_fn *each, void *context,
                               struct err *e)
{
    json_t *aliases, *item;
    size_t i;
    char name[KEYS_NAME_BYTES];
    int64_t version;
    if (json_get_array(answer, what, "Aliases", &aliases, e))
        return e->code;
    json_array_foreach(aliases, i, item)
    {
        if (parse_alias(k, json_text_or(item, "AliasName", ""), name, &version) &&
            each(context, name, version, e))
            return e->code;
    }
    return OK;
}

static enum err_code kms_list(struct keys *base, keys_each_fn *each, void *context, struct err *e)
{
    struct keys_kms *k = of(base);
    CLEANUP(json_donep) json_t *request = json_pack("{s:i}", "Limit", PAGE_KEYS);
    for (int page = 0; page < PAGES_MAX; page++) {
        CLEANUP(json_donep) json_t *answer = NULL;
        if (kms_call(k->kms, "ListAliases", request, &answer, e) || list_page(k, answer, each, context, e))
            return e->code;
        const char *next = json_text_or(answer, "NextMarker", "");
        if (!json_is_true(json_object_get(answer, "Truncated")) || !next[0])
            return OK;
        json_object_set_new(request, "Marker", json_string(next));
    }
    return err_set(e, ERR_LIMIT, "the key service has more than %d aliases", PAGES_MAX * PAGE_KEYS);
}

static enum err_code kms_create(struct keys *base, const char *name, struct err *e)
{
    struct keys_kms *k = of(base);
    CLEANUP(json_donep) json_t *made = NULL;
    char arn[KEYS_ARN_BYTES], alias[ALIAS_BYTES];
    int64_t newest = 0;
    json_t *metadata;
    if (keys_newest(base, name, &newest, e) && e->code != ERR_NOT_FOUND)
        return e->code;
    err_clear(e);
    CLEANUP(json_donep)
    json_t *create = json_pack("{s:s,s:s,s:s}", "Description", alias_of(k, name, newest + 1, alias),
                               "KeyUsage", "ENCRYPT_DECRYPT", "KeySpec", "SYMMETRIC_DEFAULT");
    if (kms_call(k->kms, "CreateKey", create, &made, e) ||
        json_get_object(made, what, "KeyMetadata", &metadata, e) || arn_of_answer(k, metadata, "Arn", arn, e))
        return e->code;
    CLEANUP(json_donep) json_t *name_it = json_pack("{s:s,s:s}", "AliasName", alias, "TargetKeyId", arn);
    if (kms_call(k->kms, "CreateAlias", name_it, NULL, e))
        return err_wrap(e, "key %s was made and has no alias %s yet", arn, alias);
    return OK;
}

/* Disabled at once; gone for good after the shortest time that the service allows. The alias goes last: while
 * it is there, what was interrupted can be done again, from wherever it stopped. */
static enum err_code kms_destroy(struct keys *base, const char *name, int64_t version, struct err *e)
{
    struct keys_kms *k = of(base);
    char arn[KEYS_ARN_BYTES], alias[ALIAS_BYTES], state[40];
    if (describe(k, alias_of(k, name, version, alias), arn, state, e))
        return e->code;
    /* By the id alone: not every service takes the whole ARN here. */
    const char *id = strrchr(arn, '/') ? strrchr(arn, '/') + 1 : arn;
    CLEANUP(json_donep) json_t *key = json_pack("{s:s}", "KeyId", id);
    CLEANUP(json_donep)
    json_t *schedule = json_pack("{s:s,s:i}", "KeyId", id, "PendingWindowInDays", WINDOW_DAYS_MIN);
    CLEANUP(json_donep) json_t *unname = json_pack("{s:s}", "AliasName", alias);
    bool pending = strcmp(state, "PendingDeletion") == 0;
    if ((strcmp(state, "Enabled") == 0 && kms_call(k->kms, "DisableKey", key, NULL, e)) ||
        (!pending && kms_call(k->kms, "ScheduleKeyDeletion", schedule, NULL, e)) ||
        kms_call(k->kms, "DeleteAlias", unname, NULL, e))
        return err_wrap(e, "%s", arn);
    return OK;
}

/* ---- data keys ---- */

/* The pairs in the clear, for the service's log; and a hash of all that the key is bound to, name and version
 * too, so that nothing rests on how a service joins names and values. */
static enum err_code context_json(const struct keys_use *use, json_t **out, struct err *e)
{
    CLEANUP(buf_done) struct buf bound = BUF_INIT(KEYS_BOUND_BYTES_MAX);
    const struct keys_context *c = use->context;
    char hash[SHA256_HEX_BYTES];
    keys_bound_bytes(keys_kms_ops.name, use, &bound);
    if (buf_check(&bound, "key context", e))
        return e->code;
    sha256_hex(bound.data, bound.len, hash);
    *out = json_object();
    for (size_t i = 0; i < c->count; i++)
        json_object_set_new(*out, c->pair[i].name, json_string(c->pair[i].value));
    json_object_set_new(*out, "sovrun-bound", json_string(hash));
    return OK;
}

static enum err_code blob_of(const json_t *answer, const char *member, struct buf *out, struct err *e)
{
    const char *text;
    struct err quiet = ERR_INIT;
    if (json_get_text(answer, what, member, &text, e))
        return e->code;
    if (base64_decode(text, out, &quiet) || out->len == 0)
        return err_set(e, ERR_CORRUPT, "%s: '%s' is no base64 of at most %zu bytes", what, member, out->max);
    return OK;
}

static enum err_code plaintext_of(const json_t *answer, struct secret **out, struct err *e)
{
    CLEANUP(buf_wipe) struct buf plain = BUF_INIT(SECRET_BYTES_MAX);
    if (blob_of(answer, "Plaintext", &plain, e))
        return e->code;
    *out = secret_new(plain.data, plain.len);
    return OK;
}

static enum err_code add_wrapped(const char *arn, const struct buf *blob, struct buf *out, struct err *e)
{
    size_t n = strlen(arn);
    buf_add_byte(out, (uint8_t)(n >> 8));
    buf_add_byte(out, (uint8_t)n);
    buf_add(out, arn, n);
    buf_add(out, blob->data, blob->len);
    return buf_check(out, "wrapped key", e);
}

static enum err_code take_wrapped(const struct keys_kms *k, const void *wrapped, size_t n,
                                  char arn[KEYS_ARN_BYTES], struct buf *base64, struct err *e)
{
    const uint8_t *raw = wrapped;
    size_t arn_n = n >= 2 ? (size_t)raw[0] << 8 | raw[1] : 0;
    if (arn_n == 0 || arn_n >= KEYS_ARN_BYTES || n <= 2 + arn_n || memchr(raw + 2, '\0', arn_n))
        return err_set(e, ERR_CORRUPT, "a wrapped key without its key's ARN");
    memcpy(arn, raw + 2, arn_n);
    arn[arn_n] = '\0';
    base64_encode(raw + 2 + arn_n, n - 2 - arn_n, base64);
    if (buf_check(base64, "wrapped key", e))
        return e->code;
    return check_arn(k, arn, e);
}

static enum err_code same_arn(const char *asked, const char *got, struct err *e)
{
    if (strcmp(asked, got) != 0)
        return err_set(e, ERR_DENIED, "the key service used key %s where %s was asked for", got, asked);
    return OK;
}

static enum err_code kms_generate(struct keys *base, const struct keys_use *use, struct secret **out_key,
                                  struct buf *out, struct err *e)
{
    struct keys_kms *k = of(base);
    CLEANUP(json_donep) json_t *answer = NULL;
    CLEANUP(buf_done) struct buf blob = BUF_INIT(CIPHERTEXT_BYTES_MAX);
    CLEANUP(secret_freep) struct secret *key = NULL;
    char arn[KEYS_ARN_BYTES], used[KEYS_ARN_BYTES];
    CLEANUP(json_donep) json_t *bound = NULL;
    if (context_json(use, &bound, e) || find_arn(k, use->name, use->version, arn, e))
        return e->code;
    CLEANUP(json_donep)
    json_t *request =
        json_pack("{s:s,s:s,s:O}", "KeyId", arn, "KeySpec", "AES_256", "EncryptionContext", bound);
    if (kms_call(k->kms, "GenerateDataKey", request, &answer, e) ||
        arn_of_answer(k, answer, "KeyId", used, e) || same_arn(arn, used, e) ||
        blob_of(answer, "CiphertextBlob", &blob, e) || plaintext_of(answer, &key, e) ||
        add_wrapped(arn, &blob, out, e))
        return e->code;
    *out_key = TAKE(key);
    return OK;
}

static enum err_code kms_unwrap(struct keys *base, const struct keys_use *use, const void *wrapped, size_t n,
                                struct secret **out_key, struct err *e)
{
    struct keys_kms *k = of(base);
    CLEANUP(json_donep) json_t *answer = NULL;
    CLEANUP(buf_done) struct buf base64 = BUF_INIT(2 * CIPHERTEXT_BYTES_MAX);
    CLEANUP(secret_freep) struct secret *key = NULL;
    char arn[KEYS_ARN_BYTES], used[KEYS_ARN_BYTES];
    CLEANUP(json_donep) json_t *bound = NULL;
    if (context_json(use, &bound, e) || take_wrapped(k, wrapped, n, arn, &base64, e) ||
        find_usable(k, arn, used, e))
        return e->code;
    CLEANUP(json_donep)
    json_t *request = json_pack("{s:s,s:s,s:O}", "KeyId", arn, "CiphertextBlob", buf_text(&base64),
                                "EncryptionContext", bound);
    if (kms_call(k->kms, "Decrypt", request, &answer, e) || arn_of_answer(k, answer, "KeyId", used, e) ||
        same_arn(arn, used, e) || plaintext_of(answer, &key, e))
        return e->code;
    *out_key = TAKE(key);
    return OK;
}

static enum err_code kms_rewrap(struct keys *base, const struct keys_use *from, const void *wrapped, size_t n,
                                const struct keys_use *to, struct buf *out, struct err *e)
{
    struct keys_kms *k = of(base);
    CLEANUP(json_donep) json_t *answer = NULL;
    CLEANUP(buf_done) struct buf base64 = BUF_INIT(2 * CIPHERTEXT_BYTES_MAX);
    CLEANUP(buf_done) struct buf blob = BUF_INIT(CIPHERTEXT_BYTES_MAX);
    char source[KEYS_ARN_BYTES], target[KEYS_ARN_BYTES], used[KEYS_ARN_BYTES];
    CLEANUP(json_donep) json_t *bound_from = NULL;
    CLEANUP(json_donep) json_t *bound_to = NULL;
    if (context_json(from, &bound_from, e) || context_json(to, &bound_to, e) ||
        take_wrapped(k, wrapped, n, source, &base64, e) || find_usable(k, source, used, e) ||
        find_arn(k, to->name, to->version, target, e))
        return e->code;
    CLEANUP(json_donep)
    json_t *request = json_pack("{s:s,s:s,s:O,s:s,s:O}", "CiphertextBlob", buf_text(&base64), "SourceKeyId",
                                source, "SourceEncryptionContext", bound_from, "DestinationKeyId", target,
                                "DestinationEncryptionContext", bound_to);
    if (kms_call(k->kms, "ReEncrypt", request, &answer, e) || arn_of_answer(k, answer, "KeyId", used, e) ||
        same_arn(target, used, e) || blob_of(answer, "CiphertextBlob", &blob, e) ||
        add_wrapped(target, &blob, out, e))
        return e->code;
    return OK;
}

const struct keys_ops keys_kms_ops = {
    .name = "kms",
    .is_kms = true,
    .open = kms_provider_open,
    .close = kms_provider_close,
    .create = kms_create,
    .list = kms_list,
    .destroy = kms_destroy,
    .generate = kms_generate,
    .unwrap = kms_unwrap,
    .rewrap = kms_rewrap,
};
