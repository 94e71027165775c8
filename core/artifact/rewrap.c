#include "core/artifact/rewrap.h"

#include "base/clock.h"
#include "base/num.h"
#include "base/text.h"
#include "core/crypto/dsse.h"

#include <stdio.h>
#include <string.h>

#define REWRAP_PAYLOAD_TYPE "application/vnd.sovrun.rewrap+json"
enum { VERSION = 1, MEMBERS = 4, NUMBER_DIGITS = 4 };
static const char what[] = "rewrapped key";

/* ---- names ---- */

static bool all_digits(const char *text, size_t n)
{
    return n > 0 && strspn(text, "0123456789") >= n;
}

/* N-N-N.json */
static bool is_manifest_name(const char *name)
{
    for (int field = 0; field < 3; field++) {
        size_t n = strspn(name, "0123456789");
        if (!all_digits(name, n))
            return false;
        name += n;
        if (field < 2 && *name++ != '-')
            return false;
    }
    return strcmp(name, ".json") == 0;
}

bool artifact_is_manifest_key(const char *key)
{
    const char *slash = strrchr(key, '/');
    if (!slash || !is_manifest_name(slash + 1))
        return false;
    for (int kind = 0; artifact_kind_names[kind]; kind++) {
        size_t n = strlen(artifact_kind_names[kind]), before = (size_t)(slash - key);
        if (before > n && strncmp(slash - n, artifact_kind_names[kind], n) == 0 &&
            slash[-(ptrdiff_t)n - 1] == '/')
            return true;
    }
    return false;
}

/* ".../STEP-ATTEMPT-TOKEN.rewrapped-" */
static enum err_code note_prefix(const struct artifact *a, char out[STORE_KEY_BYTES], struct err *e)
{
    size_t n = strlen(a->manifest_key) - strlen(".json");
    int length = snprintf(out, STORE_KEY_BYTES, "%.*s.rewrapped-", (int)n, a->manifest_key);
    if (length < 0 || length + NUMBER_DIGITS >= STORE_KEY_BYTES)
        return err_set(e, ERR_LIMIT, "the artifact's key is too long for a note beside it");
    return OK;
}

/* The newest notes of one artifact, oldest first. */
struct notes {
    char prefix[STORE_KEY_BYTES];
    int64_t numbers[REWRAP_TRIED_MAX];
    size_t count;
};

static enum err_code add_note(void *context, const struct store_info *info, struct err *e)
{
    struct notes *n = context;
    struct err ignored = ERR_INIT;
    int64_t number;
    const char *digits = info->key + strlen(n->prefix);
    (void)e;
    if (strlen(digits) != NUMBER_DIGITS || !all_digits(digits, NUMBER_DIGITS))
        return OK; /* not ours */
    digits += strspn(digits, "0");
    if (!*digits || parse_i64(digits, &number, &ignored))
        return OK;
    if (n->count == REWRAP_TRIED_MAX)
        memmove(n->numbers, n->numbers + 1, --n->count * sizeof(n->numbers[0]));
    n->numbers[n->count++] = number;
    return OK;
}

static enum err_code list_notes(struct store *s, const struct artifact *a, struct notes *out, struct err *e)
{
    memset(out, 0, sizeof(*out));
    if (note_prefix(a, out->prefix, e) || store_list(s, out->prefix, NULL, add_note, out, e))
        return err_wrap(e, "keys of %s that were wrapped again", a->manifest_key);
    return OK;
}

static void note_key(const struct notes *n, int64_t number, char out[STORE_KEY_BYTES])
{
    snprintf(out, STORE_KEY_BYTES, "%.*s%04d", STORE_KEY_BYTES - NUMBER_DIGITS - 1, n->prefix, (int)number);
}

/* ---- notes ---- */

static enum err_code note_to_text(const struct artifact *a, const char *wrapped, struct buf *out,
                                  struct err *e)
{
    CLEANUP(json_donep)
    json_t *doc = json_pack("{s:i,s:s,s:s,s:I}", "version", VERSION, "manifest", a->manifest_key,
                            "wrapped_key", wrapped, "created_ms", (json_int_t)clock_wall_ms());
    invariant(doc != NULL);
    return json_canonical(doc, out, e);
}

enum err_code rewrap_from_text(const void *text, size_t n, const char *manifest_key,
                               char out_wrapped[KEYS_WRAPPED_BYTES_MAX], struct err *e)
{
    CLEANUP(json_donep) json_t *doc = NULL;
    const char *manifest;
    int64_t version, created_ms;
    if (json_parse(text, n, what, &doc, e) || json_get_i64(doc, what, "version", &version, e) ||
        json_get_i64(doc, what, "created_ms", &created_ms, e) ||
        json_get_text(doc, what, "manifest", &manifest, e) ||
        json_copy_text(doc, what, "wrapped_key", out_wrapped, KEYS_WRAPPED_BYTES_MAX, e)) {
        e->code = ERR_CORRUPT;
        return e->code;
    }
    if (version != VERSION || json_object_size(doc) != MEMBERS)
        return err_set(e, ERR_CORRUPT, "%s: of a form that this version does not know", what);
    if (strcmp(manifest, manifest_key) != 0)
        return err_set(e, ERR_CORRUPT, "%s: it is of another artifact", what);
    return OK;
}

static enum err_code read_note(struct store *s, const char *key, const struct artifact_trust *trust,
                               const struct artifact *a, char out_wrapped[KEYS_WRAPPED_BYTES_MAX],
                               struct err *e)
{
    CLEANUP(buf_done) struct buf envelope = BUF_INIT(REWRAP_BYTES_MAX);
    CLEANUP(buf_done) struct buf payload = BUF_INIT(REWRAP_BYTES_MAX);
    if (store_get(s, key, NULL, 0, UINT64_MAX, &envelope, NULL, e)) {
        if (e->code == ERR_LIMIT || e->code == ERR_NOT_FOUND)
            e->code = ERR_CORRUPT;
        return e->code;
    }
    if (dsse_open(envelope.data, envelope.len, REWRAP_PAYLOAD_TYPE, trust->public_key, trust->count, &payload,
                  e) ||
        rewrap_from_text(payload.data, payload.len, a->manifest_key, out_wrapped, e)) {
        e->code = ERR_CORRUPT;
        return err_wrap(e, "%s", key);
    }
    return OK;
}

/* ---- unwrapping ---- */

static bool is_final(enum err_code code)
{
    return code != ERR_CORRUPT && code != ERR_NOT_FOUND;
}

/* The newest wrapping that opens: its text, and the data key. */
static enum err_code open_newest(struct store *s, struct keys *k, const struct artifact_trust *trust,
                                 const struct artifact *a, struct notes *notes,
                                 char out_wrapped[KEYS_WRAPPED_BYTES_MAX], struct secret **out, struct err *e)
{
    struct keys_context context;
    struct err first = ERR_INIT; /* what kept the newest from opening */
    char key[STORE_KEY_BYTES];
    artifact_key_context(a->cluster, a->region, a->job, &context);
    if (list_notes(s, a, notes, e))
        return e->code;
    for (size_t i = notes->count; i-- > 0;) {
        note_key(notes, notes->numbers[i], key);
        enum err_code code = read_note(s, key, trust, a, out_wrapped, e);
        if (code == OK)
            code = keys_unwrap(k, out_wrapped, &context, out, e);
        if (code == OK || is_final(code))
            return code;
        if (!first.code)
            first = *e;
        err_clear(e);
    }
    memcpy(out_wrapped, a->wrapped_key, KEYS_WRAPPED_BYTES_MAX);
    if (keys_unwrap(k, out_wrapped, &context, out, e) == OK || is_final(e->code))
        return e->code;
    if (first.code)
        *e = first;
    return e->code;
}

enum err_code artifact_unwrap(struct store *s, struct keys *k, const struct artifact_trust *trust,
                              const struct artifact *a, struct secret **out, struct err *e)
{
    char wrapped[KEYS_WRAPPED_BYTES_MAX];
    struct notes notes;
    if (open_newest(s, k, trust, a, &notes, wrapped, out, e))
        return err_wrap(e, "data key of %s", a->manifest_key);
    return OK;
}

/* ---- wrapping again ---- */

/* As long as the parts are kept from being removed. */
static struct store_lock lock_of(const struct artifact *a)
{
    enum { SOON_MS = 60000 }; /* what ends by then is not worth a lock, and may be over before it is set */
    struct store_lock lock = { .mode = STORE_LOCK_NONE };
    for (size_t i = 0; i < a->part_count; i++)
        if (a->parts[i].lock.retain_until_ms > lock.retain_until_ms)
            lock = a->parts[i].lock;
    if (lock.retain_until_ms <= clock_wall_ms() + SOON_MS)
        lock = (struct store_lock){ .mode = STORE_LOCK_NONE };
    lock.legal_hold = false;
    return lock;
}

static enum err_code put_note(struct store *s, const struct signer *signer, const struct artifact *a,
                              const struct notes *notes, const char *wrapped, struct err *e)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(REWRAP_BYTES_MAX);
    CLEANUP(buf_done) struct buf envelope = BUF_INIT(REWRAP_BYTES_MAX);
    const struct store_put_options options = { .lock = lock_of(a), .content_type = "application/json" };
    int64_t number = notes->count ? notes->numbers[notes->count - 1] + 1 : 1;
    char key[STORE_KEY_BYTES];
    if (number > REWRAP_NOTES_MAX)
        return err_set(e, ERR_LIMIT, "%s was wrapped again %d times, which is as often as it goes",
                       a->manifest_key, REWRAP_NOTES_MAX);
    note_key(notes, number, key);
    if (note_to_text(a, wrapped, &payload, e) ||
        dsse_sign(signer, REWRAP_PAYLOAD_TYPE, payload.data, payload.len, &envelope, e) ||
        store_put(s, key, envelope.data, envelope.len, &options, NULL, e))
        return e->code;
    return OK;
}

enum err_code artifact_rewrap(struct store *s, struct keys *k, const struct signer *signer,
                              const struct artifact_trust *trust, const struct artifact *a, const char *name,
                              bool *out_done, struct err *e)
{
    char wrapped[KEYS_WRAPPED_BYTES_MAX];
    CLEANUP(secret_freep) struct secret *data_key = NULL;
    CLEANUP(buf_done) struct buf again = BUF_INIT(KEYS_WRAPPED_BYTES_MAX - 1);
    struct keys_context context;
    struct keys_facts facts;
    struct notes notes;
    int64_t newest;
    if (keys_describe(a->wrapped_key, &facts, e))
        return err_wrap(e, "%s", a->manifest_key);
    *out_done = false;
    if (strcmp(facts.key, name) != 0)
        return OK;
    if (keys_newest(k, name, &newest, e) || open_newest(s, k, trust, a, &notes, wrapped, &data_key, e) ||
        keys_describe(wrapped, &facts, e))
        return err_wrap(e, "wrap the key of %s again", a->manifest_key);
    if (facts.version == newest)
        return OK;
    artifact_key_context(a->cluster, a->region, a->job, &context);
    if (keys_rewrap(k, wrapped, &context, name, &again, e) ||
        put_note(s, signer, a, &notes, buf_text(&again), e))
        return err_wrap(e, "wrap the key of %s again", a->manifest_key);
    *out_done = true;
    return OK;
}
