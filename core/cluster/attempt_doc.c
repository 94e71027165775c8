/*
 * One list of members, written once for each direction. Every member must be there, and no other: an old
 * supervisor and a new trainer shall notice each other. No error quotes a value, as any of them may be a
 * secret in the wrong place.
 */
#include "core/cluster/attempt_doc.h"

#include "base/text.h"

#include <inttypes.h>
#include <string.h>

enum {
    DOC_VERSION = 5,
    DOC_MEMBERS = 19,
    STORE_MEMBERS = 17,
    SESSION_MEMBERS = 4,
    GUARD_MEMBERS = 3,
    STATE_MEMBERS = 5,
    EARLIER_MEMBERS = 3,
    FROM_MEMBERS = 3
};
static const char doc_name[] = "attempt document";

static void store_done(struct attempt_store *s)
{
    store_session_done(&s->session);
}

void attempt_doc_done(struct attempt_doc *d)
{
    store_done(&d->data);
    store_done(&d->models);
    store_done(&d->from.at);
    secret_free(d->from.data_key);
    secret_free(d->state_password);
    secret_free(d->data_key);
    secret_free(d->signing_seed);
    for (size_t i = 0; i < d->earlier_count; i++)
        secret_free(d->earlier[i].key);
    *d = (struct attempt_doc){ .state_password = NULL };
}

/* ---- writing ---- */

/* base64, or null where there is none. The copies are wiped; jansson's is when it is freed (json.h). */
static json_t *secret_to_json(const struct secret *s)
{
    CLEANUP(buf_wipe) struct buf text = BUF_INIT(2 * SECRET_BYTES_MAX);
    if (!s)
        return json_null();
    base64_encode(secret_bytes(s), secret_len(s), &text);
    return json_stringn(buf_text(&text), text.len);
}

static json_t *ranges_to_json(const struct http_range *ranges, size_t count)
{
    json_t *list = json_array();
    char text[HTTP_RANGE_TEXT_BYTES];
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_string(http_range_format(&ranges[i], text)));
    return list;
}

static json_t *guard_to_json(const struct http_guard *g)
{
    return json_pack("{s:o, s:b, s:s}", "ranges", ranges_to_json(g->ranges, g->range_count), "tls_required",
                     g->tls_required, "pin", g->pin);
}

json_t *attempt_doc_session_to_json(const struct store_session *s)
{
    return json_pack("{s:o, s:o, s:o, s:I}", "access_key", secret_to_json(s->access_key), "secret_key",
                     secret_to_json(s->secret_key), "session_token", secret_to_json(s->session_token),
                     "expires_ms", (json_int_t)s->expires_ms);
}

static json_t *store_to_json(const struct attempt_store *s)
{
    const struct store_place *p = &s->place;
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:I, s:I, s:s, s:s, s:s, s:s, s:o, s:o}",
                     "kind", store_kind_names[p->kind], "bucket", p->bucket, "root", p->root, "endpoint",
                     p->endpoint, "region", p->region, "ca_file", p->ca_file, "cert_file", p->cert_file,
                     "key_file", p->key_file, "path_style", p->path_style, "patience_ms",
                     (json_int_t)p->patience_ms, "deadline_ms", (json_int_t)p->deadline_ms, "payload",
                     store_payload_names[p->payload], "sse", store_sse_names[p->sse], "sse_key", p->sse_key,
                     "sse_context", p->sse_context, "guard", guard_to_json(&p->guard), "session",
                     attempt_doc_session_to_json(&s->session));
}

static json_t *from_to_json(const struct attempt_doc *d)
{
    if (!d->spec.model.from[0])
        return json_null();
    return json_pack("{s:o, s:s, s:o}", "at", store_to_json(&d->from.at), "version", d->from.version,
                     "data_key", secret_to_json(d->from.data_key));
}

static json_t *state_to_json(const struct attempt_doc *d)
{
    const struct state_config *s = &d->state;
    return json_pack("{s:s, s:s, s:I, s:b, s:o}", "address", s->address, "cluster", s->cluster, "timeout_ms",
                     (json_int_t)s->timeout_ms, "durability_dev", s->durability_dev, "password",
                     secret_to_json(d->state_password));
}

static json_t *earlier_to_json(const struct attempt_doc *d)
{
    json_t *list = json_array();
    for (size_t i = 0; i < d->earlier_count; i++)
        json_array_append_new(list, json_pack("{s:I, s:I, s:o}", "attempt", (json_int_t)d->earlier[i].attempt,
                                              "token", (json_int_t)d->earlier[i].token, "data_key",
                                              secret_to_json(d->earlier[i].key)));
    return list;
}

const struct secret *attempt_doc_key(const struct attempt_doc *d, int64_t attempt, int64_t token)
{
    if (attempt == d->attempt && token == d->token)
        return d->data_key;
    for (size_t i = 0; i < d->earlier_count; i++)
        if (d->earlier[i].attempt == attempt && d->earlier[i].token == token)
            return d->earlier[i].key;
    return NULL;
}

enum err_code attempt_doc_to_text(const struct attempt_doc *d, struct buf *out, struct err *e)
{
    CLEANUP(json_donep)
    json_t *j =
        json_pack("{s:i, s:s, s:s, s:s, s:I, s:I, s:o, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s, "
                  "s:o, s:{s:s, s:I}}",
                  "version", DOC_VERSION, "cluster", d->cluster, "region", d->region, "job", d->job,
                  "attempt", (json_int_t)d->attempt, "token", (json_int_t)d->token, "spec",
                  job_spec_to_json(&d->spec), "spec_digest", d->spec_digest, "dataset_digest",
                  d->dataset_digest, "data", store_to_json(&d->data), "models", store_to_json(&d->models),
                  "from", from_to_json(d), "networks", ranges_to_json(d->networks.ranges, d->networks.count),
                  "state", state_to_json(d), "earlier", earlier_to_json(d), "data_key",
                  secret_to_json(d->data_key), "wrapped_key", d->wrapped_key, "signing_seed",
                  secret_to_json(d->signing_seed), "first_plan", "digest", d->first_plan_digest, "epoch",
                  (json_int_t)d->first_plan_epoch);
    if (!j)
        return err_set(e, ERR_USAGE, "%s: a member is not UTF-8", doc_name);
    if (json_canonical(j, out, e))
        return err_wrap(e, "%s", doc_name);
    return OK;
}

/* ---- reading ---- */

/* One object of the document: where it is, and what errors call it. */
struct part {
    const json_t *object;
    const char *what;
    struct err *e;
};

static enum err_code read_text(const struct part *p, const char *name, char *out, size_t out_bytes)
{
    return json_copy_text(p->object, p->what, name, out, out_bytes, p->e);
}

static enum err_code read_i64(const struct part *p, const char *name, int64_t min, int64_t *out)
{
    if (json_get_i64(p->object, p->what, name, out, p->e))
        return p->e->code;
    if (*out < min)
        return err_set(p->e, ERR_CORRUPT, "%s: '%s' must be at least %" PRId64, p->what, name, min);
    return OK;
}

static enum err_code read_choice(const struct part *p, const char *name, const char *const *names, int *out)
{
    const char *text;
    if (json_get_text(p->object, p->what, name, &text, p->e))
        return p->e->code;
    for (int i = 0; names[i]; i++)
        if (strcmp(names[i], text) == 0) {
            *out = i;
            return OK;
        }
    return err_set(p->e, ERR_CORRUPT, "%s: '%s' is none that is known", p->what, name);
}

static enum err_code read_digest(const struct part *p, const char *name, char out[65])
{
    uint8_t bytes[SHA256_BYTES];
    struct err quiet = ERR_INIT;
    if (read_text(p, name, out, SHA256_HEX_BYTES))
        return p->e->code;
    if (hex_decode(out, bytes, sizeof(bytes), &quiet))
        return err_set(p->e, ERR_CORRUPT, "%s: '%s' must be 64 hex digits", p->what, name);
    return OK;
}

/* `bytes` 0: of any length. Null gives NULL where `optional`. */
static enum err_code read_secret(const struct part *p, const char *name, size_t bytes, bool optional,
                                 struct secret **out)
{
    CLEANUP(buf_wipe) struct buf plain = BUF_INIT(SECRET_BYTES_MAX);
    struct err quiet = ERR_INIT;
    const char *text;
    if (optional && json_is_null(json_object_get(p->object, name))) {
        *out = NULL;
        return OK;
    }
    if (json_get_text(p->object, p->what, name, &text, p->e))
        return p->e->code;
    if (base64_decode(text, &plain, &quiet) || plain.len == 0 || (bytes && plain.len != bytes))
        return err_set(p->e, ERR_CORRUPT, "%s: '%s' must be base64 of %s", p->what, name,
                       bytes ? "32 bytes" : "a secret");
    *out = secret_new(plain.data, plain.len);
    return OK;
}

/* The member `name` as a part with exactly `members` members. */
static enum err_code enter(const struct part *p, const char *name, const char *what, size_t members,
                           struct part *out)
{
    json_t *object;
    if (json_get_object(p->object, p->what, name, &object, p->e))
        return p->e->code;
    if (json_object_size(object) > members)
        return err_set(p->e, ERR_CORRUPT, "%s: holds a member that this version does not know", what);
    *out = (struct part){ object, what, p->e };
    return OK;
}

enum err_code attempt_doc_session_from_json(const json_t *j, struct store_session *out, struct err *e)
{
    CLEANUP(store_session_done) struct store_session s = { .access_key = NULL };
    const struct part p = { j, "attempt document's session", e };
    if (json_object_size(j) > SESSION_MEMBERS)
        return err_set(e, ERR_CORRUPT, "%s: holds a member that this version does not know", p.what);
    if (read_secret(&p, "access_key", 0, true, &s.access_key) ||
        read_secret(&p, "secret_key", 0, true, &s.secret_key) ||
        read_secret(&p, "session_token", 0, true, &s.session_token) ||
        read_i64(&p, "expires_ms", 0, &s.expires_ms))
        return e->code;
    store_session_move(&s, out);
    return OK;
}

/* At most HTTP_RANGES_MAX of them. */
static enum err_code read_ranges(const struct part *p, const char *name, struct http_range *out,
                                 size_t *out_count)
{
    json_t *ranges, *item;
    struct err quiet = ERR_INIT;
    size_t i;
    if (json_get_array(p->object, p->what, name, &ranges, p->e))
        return p->e->code;
    if (json_array_size(ranges) > HTTP_RANGES_MAX)
        return err_set(p->e, ERR_CORRUPT, "%s: more than %d in '%s'", p->what, HTTP_RANGES_MAX, name);
    json_array_foreach(ranges, i, item)
    {
        if (!json_is_string(item) || http_range_parse(json_string_value(item), &out[i], &quiet))
            return err_set(p->e, ERR_CORRUPT, "%s: '%s' holds what is no address range", p->what, name);
    }
    *out_count = json_array_size(ranges);
    return OK;
}

static enum err_code read_guard(const struct part *store, struct http_guard *out)
{
    static const char what[] = "attempt document's guard";
    struct part p = *store;
    size_t count = 0;
    if (enter(store, "guard", what, GUARD_MEMBERS, &p) || read_ranges(&p, "ranges", out->ranges, &count) ||
        json_get_bool(p.object, what, "tls_required", &out->tls_required, p.e) ||
        read_text(&p, "pin", out->pin, sizeof(out->pin)))
        return store->e->code;
    out->range_count = (uint32_t)count;
    return OK;
}

static enum err_code read_store(const struct part *doc, const char *name, const char *what,
                                struct attempt_store *out)
{
    struct store_place *place = &out->place;
    json_t *session;
    struct part p = *doc;
    if (enter(doc, name, what, STORE_MEMBERS, &p) ||
        read_choice(&p, "kind", store_kind_names, &place->kind) ||
        read_text(&p, "bucket", place->bucket, sizeof(place->bucket)) ||
        read_text(&p, "root", place->root, sizeof(place->root)) ||
        read_text(&p, "endpoint", place->endpoint, sizeof(place->endpoint)) ||
        read_text(&p, "region", place->region, sizeof(place->region)) ||
        read_text(&p, "ca_file", place->ca_file, sizeof(place->ca_file)) ||
        read_text(&p, "cert_file", place->cert_file, sizeof(place->cert_file)) ||
        read_text(&p, "key_file", place->key_file, sizeof(place->key_file)) ||
        read_guard(&p, &place->guard) ||
        json_get_bool(p.object, p.what, "path_style", &place->path_style, p.e) ||
        read_i64(&p, "patience_ms", 0, &place->patience_ms) ||
        read_i64(&p, "deadline_ms", 0, &place->deadline_ms) ||
        read_choice(&p, "payload", store_payload_names, &place->payload) ||
        read_choice(&p, "sse", store_sse_names, &place->sse) ||
        read_text(&p, "sse_key", place->sse_key, sizeof(place->sse_key)) ||
        read_text(&p, "sse_context", place->sse_context, sizeof(place->sse_context)) ||
        json_get_object(p.object, p.what, "session", &session, p.e))
        return doc->e->code;
    return attempt_doc_session_from_json(session, &out->session, doc->e);
}

/* Exactly where the spec has one. */
static enum err_code read_from(const struct part *doc, struct attempt_doc *d)
{
    struct part p = *doc;
    bool none = json_is_null(json_object_get(doc->object, "from"));
    if (none != (d->spec.model.from[0] == '\0'))
        return err_set(doc->e, ERR_CORRUPT, "%s: 'from' and the spec's model.from do not go together",
                       doc->what);
    if (none)
        return OK;
    if (enter(doc, "from", "attempt document's from", FROM_MEMBERS, &p) ||
        read_store(&p, "at", "attempt document's model.from", &d->from.at) ||
        read_text(&p, "version", d->from.version, sizeof(d->from.version)) ||
        read_secret(&p, "data_key", DATA_KEY_BYTES, true, &d->from.data_key))
        return doc->e->code;
    return OK;
}

static enum err_code read_state(const struct part *doc, struct attempt_doc *d)
{
    struct part p = *doc;
    if (enter(doc, "state", "attempt document's state", STATE_MEMBERS, &p) ||
        read_text(&p, "address", d->state.address, sizeof(d->state.address)) ||
        read_text(&p, "cluster", d->state.cluster, sizeof(d->state.cluster)) ||
        read_i64(&p, "timeout_ms", 0, &d->state.timeout_ms) ||
        json_get_bool(p.object, p.what, "durability_dev", &d->state.durability_dev, p.e) ||
        read_secret(&p, "password", 0, true, &d->state_password))
        return doc->e->code;
    return OK;
}

static enum err_code read_earlier(const struct part *doc, struct attempt_doc *d)
{
    static const char what[] = "attempt document's earlier keys";
    json_t *list, *item;
    size_t i;
    if (json_get_array(doc->object, doc->what, "earlier", &list, doc->e))
        return doc->e->code;
    if (json_array_size(list) > ATTEMPT_KEYS_MAX)
        return err_set(doc->e, ERR_CORRUPT, "%s: more than %d", what, ATTEMPT_KEYS_MAX);
    json_array_foreach(list, i, item)
    {
        struct attempt_key *k = &d->earlier[i];
        const struct part p = { item, what, doc->e };
        d->earlier_count++;
        if (!json_is_object(item) || json_object_size(item) > EARLIER_MEMBERS)
            return err_set(doc->e, ERR_CORRUPT, "%s: 'earlier' holds what is none", what);
        if (read_i64(&p, "attempt", 1, &k->attempt) || read_i64(&p, "token", 1, &k->token) ||
            read_secret(&p, "data_key", DATA_KEY_BYTES, false, &k->key))
            return doc->e->code;
    }
    return OK;
}

static enum err_code read_keys(const struct part *doc, struct attempt_doc *d)
{
    if (read_earlier(doc, d) || read_secret(doc, "data_key", DATA_KEY_BYTES, false, &d->data_key) ||
        read_text(doc, "wrapped_key", d->wrapped_key, sizeof(d->wrapped_key)) ||
        read_secret(doc, "signing_seed", SIGN_PUBLIC_BYTES, false, &d->signing_seed))
        return doc->e->code;
    return OK;
}

static enum err_code read_job(const struct part *doc, struct attempt_doc *d)
{
    enum { PLAN_MEMBERS = 2 };
    json_t *spec;
    struct part plan = *doc;
    if (read_text(doc, "cluster", d->cluster, sizeof(d->cluster)) ||
        read_text(doc, "region", d->region, sizeof(d->region)) ||
        read_text(doc, "job", d->job, sizeof(d->job)) || read_i64(doc, "attempt", 1, &d->attempt) ||
        read_i64(doc, "token", 1, &d->token) ||
        json_get_object(doc->object, doc->what, "spec", &spec, doc->e) ||
        job_spec_from_json(spec, &d->spec, doc->e) || read_digest(doc, "spec_digest", d->spec_digest) ||
        read_digest(doc, "dataset_digest", d->dataset_digest) ||
        enter(doc, "first_plan", "attempt document's first plan", PLAN_MEMBERS, &plan) ||
        read_digest(&plan, "digest", d->first_plan_digest) ||
        read_i64(&plan, "epoch", 0, &d->first_plan_epoch))
        return doc->e->code;
    if (!job_id_is_valid(d->job))
        return err_set(doc->e, ERR_CORRUPT, "%s: 'job' must be a job's id", doc->what);
    return OK;
}

static enum err_code read_version(const struct part *doc)
{
    int64_t version;
    if (json_get_i64(doc->object, doc->what, "version", &version, doc->e))
        return doc->e->code;
    if (version != DOC_VERSION)
        return err_set(doc->e, ERR_CORRUPT, "%s: has version %" PRId64 ", and this program knows %d",
                       doc->what, version, DOC_VERSION);
    if (json_object_size(doc->object) > DOC_MEMBERS)
        return err_set(doc->e, ERR_CORRUPT, "%s: holds a member that this version does not know", doc->what);
    return OK;
}

enum err_code attempt_doc_from_text(const void *text, size_t n, struct attempt_doc *out, struct err *e)
{
    CLEANUP(json_donep) json_t *j = NULL;
    CLEANUP(attempt_doc_done) struct attempt_doc d = { .state_password = NULL };
    struct err quiet = ERR_INIT;
    if (n > ATTEMPT_DOC_BYTES_MAX)
        return err_set(e, ERR_LIMIT, "%s: larger than %d bytes", doc_name, ATTEMPT_DOC_BYTES_MAX);
    /* The parser's error quotes what it stumbled over. */
    if (json_parse(text, n, doc_name, &j, &quiet)) {
        explicit_bzero(&quiet, sizeof(quiet));
        return err_set(e, ERR_CORRUPT, "%s: is cut off or no JSON (%zu bytes)", doc_name, n);
    }
    const struct part doc = { j, doc_name, e };
    if (read_version(&doc) || read_job(&doc, &d) ||
        read_store(&doc, "data", "attempt document's data", &d.data) ||
        read_store(&doc, "models", "attempt document's models", &d.models) || read_from(&doc, &d) ||
        read_ranges(&doc, "networks", d.networks.ranges, &d.networks.count) || read_state(&doc, &d) ||
        read_keys(&doc, &d))
        return e->code;
    *out = d;
    d = (struct attempt_doc){ .state_password = NULL };
    return OK;
}
