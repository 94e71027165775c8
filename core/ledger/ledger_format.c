#include "core/ledger/ledger_format.h"

#include "base/text.h"
#include "core/crypto/dsse.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char ledger_no_hash[SHA256_HEX_BYTES] =
    "0000000000000000000000000000000000000000000000000000000000000000";
static const char head_type[] = "application/vnd.sovrun.head+json";

/* ---- names ---- */

static const struct {
    const char *folder, *ending;
} kinds[] = { [LEDGER_SEGMENT] = { "segment/", ".jsonl" }, [LEDGER_HEAD] = { "head/", ".json" } };

enum { NAME_BYTES = 64 };

static void make_name(enum ledger_kind kind, int64_t seq, int64_t token, char out[NAME_BYTES])
{
    snprintf(out, NAME_BYTES, "%012" PRId64 "-%" PRId64 "%s", seq, token, kinds[kind].ending);
}

void ledger_folder(const char *prefix, enum ledger_kind kind, char out[STORE_KEY_BYTES])
{
    snprintf(out, STORE_KEY_BYTES, "%s%s%s", prefix, *prefix ? "/" : "", kinds[kind].folder);
}

void ledger_key(const char *prefix, enum ledger_kind kind, int64_t seq, int64_t token,
                char out[STORE_KEY_BYTES])
{
    char name[NAME_BYTES];

    make_name(kind, seq, token, name);
    ledger_folder(prefix, kind, out);
    size_t n = strlen(out);
    snprintf(out + n, STORE_KEY_BYTES - n, "%s", name);
}

bool ledger_name_parse(enum ledger_kind kind, const char *name, int64_t *out_seq, int64_t *out_token)
{
    char *end = NULL, again[NAME_BYTES];
    int64_t seq = strtoll(name, &end, 10);
    int64_t token = *end == '-' ? strtoll(end + 1, &end, 10) : 0;

    if (seq < 1 || token < 1)
        return false;
    make_name(kind, seq, token, again); /* so that one pair has one name */
    if (strcmp(again, name) != 0)
        return false;
    *out_seq = seq;
    *out_token = token;
    return true;
}

/* ---- heads ---- */

enum err_code ledger_head_write(const struct ledger_signed *h, const char *cluster, int64_t wall_ms,
                                const struct signer *signer, struct buf *out, struct err *e)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(LEDGER_HEAD_BYTES_MAX);
    char segment[STORE_KEY_BYTES], when[CLOCK_TEXT_BYTES];

    ledger_key("", LEDGER_SEGMENT, h->first, h->token, segment);
    CLEANUP(json_donep)
    json_t *j = json_pack("{s:s,s:s,s:s,s:s,s:I,s:s,s:I}", "cluster", cluster, "hash", h->hash, "prev",
                          h->prev, "segment", segment, "seq", (json_int_t)h->seq, "time",
                          clock_format(wall_ms, when), "token", (json_int_t)h->token);
    if (!j)
        return err_set(e, ERR_USAGE, "the cluster's name is not UTF-8");
    if (json_canonical(j, &payload, e))
        return err_wrap(e, "head");
    return dsse_sign(signer, head_type, payload.data, payload.len, out, e);
}

static bool is_hash(const char *text)
{
    return strspn(text, "0123456789abcdef") == SHA256_HEX_BYTES - 1 && strlen(text) == SHA256_HEX_BYTES - 1;
}

enum err_code ledger_head_parse(const void *payload, size_t n, const char *cluster, struct ledger_signed *out,
                                struct err *e)
{
    static const char what[] = "head";
    const char *segment_folder = kinds[LEDGER_SEGMENT].folder;
    CLEANUP(json_donep) json_t *j = NULL;
    struct ledger_signed h = { .seq = 0 };
    const char *whose, *segment, *hash, *prev;
    int64_t segment_token;

    if (json_parse(payload, n, what, &j, e) || json_get_text(j, what, "cluster", &whose, e) ||
        json_get_text(j, what, "segment", &segment, e) || json_get_text(j, what, "hash", &hash, e) ||
        json_get_text(j, what, "prev", &prev, e) || json_get_i64(j, what, "seq", &h.seq, e) ||
        json_get_i64(j, what, "token", &h.token, e))
        return e->code;
    if (strcmp(whose, cluster) != 0)
        return err_set(e, ERR_CORRUPT, "it belongs to cluster '%.64s', not to '%s'", whose, cluster);
    if (!is_hash(hash) || !is_hash(prev))
        return err_set(e, ERR_CORRUPT, "its hash or prev is no SHA-256");
    if (!text_starts(segment, segment_folder) ||
        !ledger_name_parse(LEDGER_SEGMENT, segment + strlen(segment_folder), &h.first, &segment_token) ||
        segment_token != h.token)
        return err_set(e, ERR_CORRUPT, "its segment '%.64s' is not one of its writer's", segment);
    if (h.seq < h.first || h.seq - h.first >= LEDGER_BATCH_MAX)
        return err_set(e, ERR_CORRUPT, "record %" PRId64 " cannot end a segment that begins at %" PRId64,
                       h.seq, h.first);
    if ((h.first == 1) != (strcmp(prev, ledger_no_hash) == 0))
        return err_set(e, ERR_CORRUPT, "record %" PRId64 " cannot build on hash %.64s", h.first, prev);
    memcpy(h.hash, hash, sizeof(h.hash));
    memcpy(h.prev, prev, sizeof(h.prev));
    *out = h;
    return OK;
}

/* The envelope as dsse_sign() would have written it: a signature covers the payload alone, so white space or
 * another key id around it could be changed unseen. */
static enum err_code check_envelope(const void *bytes, size_t n, const struct buf *payload,
                                    const uint8_t key[SIGN_PUBLIC_BYTES], struct err *e)
{
    CLEANUP(buf_done) struct buf body = BUF_INIT(2 * LEDGER_HEAD_BYTES_MAX);
    CLEANUP(buf_done) struct buf raw = BUF_INIT(SIGN_BYTES), sig = BUF_INIT(2 * SIGN_BYTES);
    CLEANUP(buf_done) struct buf again = BUF_INIT(LEDGER_HEAD_BYTES_MAX);
    CLEANUP(json_donep) json_t *given = NULL;
    char key_id[SIGN_KEY_ID_BYTES];

    if (json_parse(bytes, n, "head", &given, e))
        return e->code;
    const json_t *first = json_array_get(json_object_get(given, "signatures"), 0);
    if (base64_decode(json_text_or(first, "sig", ""), &raw, e))
        return e->code;
    base64_encode(raw.data, raw.len, &sig);
    base64_encode(payload->data, payload->len, &body);
    sign_key_id(key, key_id);
    CLEANUP(json_donep)
    json_t *right = json_pack("{s:s,s:s,s:[{s:s,s:s}]}", "payload", buf_text(&body), "payloadType", head_type,
                              "signatures", "keyid", key_id, "sig", buf_text(&sig));
    if (json_canonical(right, &again, e))
        return e->code;
    if (again.len != n || memcmp(again.data, bytes, n) != 0)
        return err_set(e, ERR_CORRUPT, "its envelope was changed around what is signed");
    return OK;
}

enum err_code ledger_head_read(const void *bytes, size_t n, const char *cluster, int64_t seq, int64_t token,
                               const uint8_t (*keys)[SIGN_PUBLIC_BYTES], size_t count,
                               struct ledger_signed *out, struct err *e)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(LEDGER_HEAD_BYTES_MAX);
    struct ledger_signed h = { .seq = 0 };
    size_t k = 0;

    if (count == 0)
        return err_set(e, ERR_USAGE, "no key is trusted");
    while (k < count && dsse_open(bytes, n, head_type, &keys[k], 1, &payload, e))
        k++;
    if (k == count)
        return err_set(e, ERR_CORRUPT, "it is not signed by a key that we trust");
    if (check_envelope(bytes, n, &payload, keys[k], e) ||
        ledger_head_parse(payload.data, payload.len, cluster, &h, e))
        return e->code == ERR_CORRUPT ? e->code : err_set(e, ERR_CORRUPT, "its envelope is malformed");
    if (h.seq != seq || h.token != token)
        return err_set(e, ERR_CORRUPT, "it was signed as the head of record %" PRId64 " under token %" PRId64,
                       h.seq, h.token);
    *out = h;
    return OK;
}

/* ---- segments ---- */

static bool fault_at(struct ledger_fault *f, int64_t seq, const char *fmt, ...) PRINTF_LIKE(3, 4);
static bool fault_at(struct ledger_fault *f, int64_t seq, const char *fmt, ...)
{
    va_list ap;

    f->seq = seq;
    va_start(ap, fmt);
    vsnprintf(f->why, sizeof(f->why), fmt, ap);
    va_end(ap);
    return false;
}

static bool cut_lines(const struct buf *bytes, struct ledger_segment *out, struct ledger_fault *fault)
{
    const char *at = (const char *)bytes->data;
    size_t left = bytes->len;

    for (out->count = 0; left > 0; out->count++) {
        const char *end = memchr(at, '\n', left);
        if (!end)
            return fault_at(fault, 0, "its last line is cut off");
        if (out->count == ARRAY_LEN(out->line))
            return fault_at(fault, 0, "it has more than %d records", LEDGER_BATCH_MAX);
        struct ledger_line *line = &out->line[out->count];
        line->text = at;
        line->n = (size_t)(end - at);
        sha256_hex(line->text, line->n, line->hash);
        left -= line->n + 1;
        at = end + 1;
    }
    return true;
}

enum err_code ledger_record_parse(const struct ledger_line *line, json_t **out, struct err *e)
{
    if (line->n > LEDGER_RECORD_BYTES_MAX)
        return err_set(e, ERR_CORRUPT, "a record of %zu bytes", line->n);
    return json_parse(line->text, line->n, "record", out, e);
}

static int64_t seq_of(const struct ledger_line *line)
{
    CLEANUP(json_donep) json_t *record = NULL;
    struct err e = ERR_INIT;

    return ledger_record_parse(line, &record, &e) ? 0 : json_i64_or(record, "seq", 0);
}

/* Line `at` is not record `seq`, whose hash is known to be `hash`: what has happened to it? */
static bool name_fault(const struct ledger_segment *s, size_t at, size_t count_due, int64_t seq,
                       const char *hash, struct ledger_fault *fault)
{
    int64_t found = seq_of(&s->line[at]);

    if (s->count > count_due)
        return fault_at(fault, seq, "a record too many stands behind record %" PRId64, seq);
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(s->line[i].hash, hash) == 0)
            return fault_at(fault, seq,
                            "record %" PRId64 " was moved: record %" PRId64 " stands in its place", seq,
                            found);
    if (s->count < count_due && found != seq)
        return fault_at(fault, seq, "record %" PRId64 " is missing", seq);
    return fault_at(fault, seq,
                    "record %" PRId64 " was changed: what follows it expects hash %.16s..., it has %.16s...",
                    seq, hash, s->line[at].hash);
}

bool ledger_segment_check(const struct buf *bytes, const struct ledger_signed *head,
                          struct ledger_segment *out, struct ledger_fault *fault)
{
    size_t count_due = (size_t)(head->seq - head->first + 1);
    char want[SHA256_HEX_BYTES];
    struct err e = ERR_INIT;

    if (!cut_lines(bytes, out, fault))
        return false;
    memcpy(want, head->hash, sizeof(want));
    size_t left = out->count;
    for (int64_t seq = head->seq; seq >= head->first; seq--, left--) {
        CLEANUP(json_donep) json_t *record = NULL;
        int64_t stated;
        if (left == 0)
            return fault_at(fault, seq, "record %" PRId64 " is missing", seq);
        const struct ledger_line *line = &out->line[left - 1];
        if (strcmp(line->hash, want) != 0)
            return name_fault(out, left - 1, count_due, seq, want, fault);
        if (ledger_record_parse(line, &record, &e) || json_get_i64(record, "record", "seq", &stated, &e) ||
            json_copy_text(record, "record", "prev", want, sizeof(want), &e))
            return fault_at(fault, seq, "record %" PRId64 " is signed, and is none: %.150s", seq, e.text);
        if (stated != seq)
            return fault_at(fault, seq, "record %" PRId64 " is signed, and calls itself %" PRId64, seq,
                            stated);
    }
    if (left > 0)
        return fault_at(fault, head->first, "a record too many stands before record %" PRId64, head->first);
    if (strcmp(want, head->prev) != 0)
        return fault_at(fault, head->first, "record %" PRId64 " builds on another hash than its head says",
                        head->first);
    return true;
}
