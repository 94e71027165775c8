/*
 * How a ledger is verified. All heads are read and checked by themselves. The newest token's last head ends
 * the chain that counts; from it each head's `prev` leads to the one before, back to record 1. Then the
 * segments are read forwards, each proven by its head. Heads beside the chain must be what a deposed writer
 * leaves: of an older token than the one that wrote their place in the chain. What a chain's own writer could
 * not have left is a forgery by somebody with the key.
 */
#include "core/ledger/ledger.h"

#include "base/mem.h"
#include "core/ledger/ledger_format.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct known_head {
    struct ledger_signed signed_head;
    bool counts;
};

struct name {
    int64_t seq, token;
};

struct names {
    enum ledger_kind kind;
    size_t folder_bytes, count, size;
    struct name *name;
    char strange[STORE_KEY_BYTES]; /* the first key that is none of ours */
};

struct verifier {
    struct store *store;
    const char *cluster, *prefix;
    const struct ledger_trust *trust;
    const struct ledger_head *expected; /* NULL: none */
    ledger_each_fn *each;
    void *context;
    struct known_head *heads; /* by (seq, token) */
    size_t head_count;
    size_t beside; /* index of the first head that judge_heads_beside() has not come to */
    struct ledger_report r;
};

/* ---- faults ---- */

/* The verdict is a result, not an error: returns OK. */
static enum err_code bad(struct verifier *v, int64_t seq, const char *key, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
static enum err_code bad(struct verifier *v, int64_t seq, const char *key, const char *fmt, ...)
{
    va_list ap;

    v->r.ok = false;
    v->r.bad_seq = seq;
    snprintf(v->r.bad_key, sizeof(v->r.bad_key), "%s", key);
    va_start(ap, fmt);
    vsnprintf(v->r.why, sizeof(v->r.why), fmt, ap);
    va_end(ap);
    return OK;
}

/* An object that is not there, too large or damaged is the ledger's fault; a store that does not answer is
 * not. */
static bool is_fault(enum err_code code)
{
    return code == ERR_NOT_FOUND || code == ERR_LIMIT || code == ERR_CORRUPT;
}

static enum err_code read_object(struct verifier *v, const char *key, int64_t seq, struct buf *out,
                                 struct err *e)
{
    enum err_code code = store_get(v->store, key, NULL, 0, UINT64_MAX, out, NULL, e);

    if (code == ERR_NOT_FOUND)
        return bad(v, seq, key, "'%.160s' is missing", key);
    if (is_fault(code))
        return bad(v, seq, key, "%.240s", e->text);
    return code;
}

/* ---- names ---- */

static enum err_code add_name(void *context, const struct store_info *info, struct err *e)
{
    struct names *n = context;
    int64_t seq, token;

    if (!ledger_name_parse(n->kind, info->key + n->folder_bytes, &seq, &token)) {
        if (!n->strange[0])
            memcpy(n->strange, info->key, sizeof(n->strange));
        return OK;
    }
    if (n->count == STORE_LIST_MAX)
        return err_set(e, ERR_LIMIT, "more than %d objects", STORE_LIST_MAX);
    if (n->count == n->size) {
        n->size = n->size ? n->size * 2 : 64;
        n->name = mem_grow(n->name, n->size, sizeof(*n->name));
    }
    n->name[n->count++] = (struct name){ .seq = seq, .token = token };
    return OK;
}

static void names_done(struct names *n)
{
    free(n->name);
}

static enum err_code list_names(struct verifier *v, struct names *n, struct err *e)
{
    char folder[STORE_KEY_BYTES];

    ledger_folder(v->prefix, n->kind, folder);
    n->folder_bytes = strlen(folder);
    if (store_list(v->store, folder, NULL, add_name, n, e))
        return e->code;
    if (n->strange[0])
        return bad(v, 0, n->strange, "'%.160s' is no name that the ledger gives", n->strange);
    return OK;
}

/* ---- heads ---- */

static int by_seq_and_token(const void *a, const void *b)
{
    const struct ledger_signed *x = &((const struct known_head *)a)->signed_head;
    const struct ledger_signed *y = &((const struct known_head *)b)->signed_head;

    if (x->seq != y->seq)
        return x->seq < y->seq ? -1 : 1;
    return x->token < y->token ? -1 : x->token > y->token;
}

static enum err_code read_one_head(struct verifier *v, int64_t seq, int64_t token, struct ledger_signed *out,
                                   struct err *e)
{
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(LEDGER_HEAD_BYTES_MAX);
    char key[STORE_KEY_BYTES];

    ledger_key(v->prefix, LEDGER_HEAD, seq, token, key);
    enum err_code code = read_object(v, key, 0, &bytes, e);
    if (code || !v->r.ok)
        return code;
    if (ledger_head_read(bytes.data, bytes.len, v->cluster, seq, token, v->trust->public_key, v->trust->count,
                         out, e)) {
        IGNORE(err_wrap(e, "head '%.100s'", key));
        return bad(v, 0, key, "%.250s", e->text);
    }
    return OK;
}

static enum err_code read_heads(struct verifier *v, struct err *e)
{
    CLEANUP(names_done) struct names n = { .kind = LEDGER_HEAD };

    if (list_names(v, &n, e))
        return e->code;
    v->heads = mem_array(n.count, sizeof(*v->heads));
    for (size_t i = 0; i < n.count && v->r.ok; i++) {
        if (read_one_head(v, n.name[i].seq, n.name[i].token, &v->heads[i].signed_head, e))
            return e->code;
        v->head_count++;
    }
    qsort(v->heads, v->head_count, sizeof(*v->heads), by_seq_and_token);
    return OK;
}

static struct known_head *newest_head(struct verifier *v)
{
    struct known_head *top = NULL;

    for (size_t i = 0; i < v->head_count; i++) { /* seq grows, so >= takes a token's last */
        struct known_head *h = &v->heads[i];
        if (!top || h->signed_head.token >= top->signed_head.token)
            top = h;
    }
    return top;
}

/* Index of the first head whose record is not before `seq`. */
static size_t first_head_at(const struct verifier *v, int64_t seq)
{
    size_t from = 0, to = v->head_count;

    while (from < to) {
        size_t mid = from + (to - from) / 2;
        if (v->heads[mid].signed_head.seq < seq)
            from = mid + 1;
        else
            to = mid;
    }
    return from;
}

/* The head that `h` builds on: its hash, and no newer token. NULL, and the verdict, where there is none. */
static struct known_head *head_before(struct verifier *v, const struct ledger_signed *h)
{
    struct known_head *found = NULL;
    size_t i = first_head_at(v, h->first - 1), begun = i;
    char key[STORE_KEY_BYTES];

    for (; i < v->head_count && v->heads[i].signed_head.seq == h->first - 1; i++) {
        const struct ledger_signed *p = &v->heads[i].signed_head;
        if (strcmp(p->hash, h->prev) == 0 && p->token <= h->token)
            found = &v->heads[i];
    }
    if (found)
        return found;
    ledger_key(v->prefix, LEDGER_HEAD, h->seq, h->token, key);
    if (i == begun)
        IGNORE(bad(v, 0, key, "the head of record %" PRId64 " is missing: record %" PRId64 " builds on it",
                   h->first - 1, h->first));
    else
        IGNORE(bad(v, h->first, key,
                   "record %" PRId64 " builds on another record %" PRId64 " than the one that is signed: "
                   "the chain is forked",
                   h->first, h->first - 1));
    return NULL;
}

static void find_chain(struct verifier *v)
{
    struct known_head *h = newest_head(v);

    while (h) { /* seq falls each time */
        h->counts = true;
        h = h->signed_head.first > 1 ? head_before(v, &h->signed_head) : NULL;
    }
}

/* ---- records ---- */

/* Heads beside the chain whose record lies in this segment. */
static void judge_heads_beside(struct verifier *v, const struct ledger_signed *chain,
                               const struct ledger_segment *s)
{
    char key[STORE_KEY_BYTES];

    for (; v->beside < v->head_count && v->heads[v->beside].signed_head.seq <= chain->seq && v->r.ok;
         v->beside++) {
        const struct ledger_signed *h = &v->heads[v->beside].signed_head;
        bool agrees = h->seq >= chain->first && strcmp(s->line[h->seq - chain->first].hash, h->hash) == 0;
        if (v->heads[v->beside].counts || agrees || h->token < chain->token)
            continue;
        ledger_key(v->prefix, LEDGER_HEAD, h->seq, h->token, key);
        IGNORE(bad(v, h->seq, key,
                   "record %" PRId64 " was signed twice under token %" PRId64 ", with different hashes: the "
                   "chain is forked",
                   h->seq, h->token));
    }
}

static void check_expected(struct verifier *v, const struct ledger_signed *chain,
                           const struct ledger_segment *s, const char *key)
{
    const struct ledger_head *x = v->expected;

    if (!x || x->seq < chain->first || x->seq > chain->seq)
        return;
    if (strcmp(s->line[x->seq - chain->first].hash, x->hash) != 0)
        IGNORE(bad(v, x->seq, key,
                   "record %" PRId64 " is not the one that was known: its hash is %.16s..., not %.16s...",
                   x->seq, s->line[x->seq - chain->first].hash, x->hash));
}

static enum err_code give_records(struct verifier *v, const struct ledger_segment *s, struct err *e)
{
    for (size_t i = 0; i < s->count; i++) {
        CLEANUP(json_donep) json_t *record = NULL;
        if (ledger_record_parse(&s->line[i], &record, e))
            return e->code;
        if (i + 1 == s->count)
            snprintf(v->r.last.source, sizeof(v->r.last.source), "%s", json_text_or(record, "source", ""));
        if (v->each && v->each(v->context, record, s->line[i].hash, e))
            return e->code;
    }
    return OK;
}

static enum err_code verify_segment(struct verifier *v, const struct ledger_signed *h,
                                    struct ledger_segment *s, struct err *e)
{
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(LEDGER_SEGMENT_BYTES_MAX);
    struct ledger_fault fault;
    char key[STORE_KEY_BYTES];

    ledger_key(v->prefix, LEDGER_SEGMENT, h->first, h->token, key);
    enum err_code code = read_object(v, key, h->first, &bytes, e);
    if (code || !v->r.ok)
        return code;
    if (!ledger_segment_check(&bytes, h, s, &fault))
        return bad(v, fault.seq, key, "%s", fault.why);
    judge_heads_beside(v, h, s);
    check_expected(v, h, s, key);
    if (!v->r.ok)
        return OK;
    v->r.records += (int64_t)s->count;
    v->r.segments++;
    v->r.heads++;
    v->r.last.seq = h->seq;
    v->r.last.token = h->token;
    memcpy(v->r.last.hash, h->hash, sizeof(v->r.last.hash));
    return give_records(v, s, e);
}

static enum err_code verify_records(struct verifier *v, struct err *e)
{
    CLEANUP(freep) struct ledger_segment *segment = mem_new(sizeof(*segment));

    for (size_t i = 0; i < v->head_count && v->r.ok; i++)
        if (v->heads[i].counts && verify_segment(v, &v->heads[i].signed_head, segment, e))
            return e->code;
    const struct ledger_head *x = v->expected;
    if (v->r.ok && x && x->seq > v->r.last.seq)
        return bad(v, v->r.last.seq + 1, "",
                   "the end was cut off: record %" PRId64 " was known, the chain ends at %" PRId64, x->seq,
                   v->r.last.seq);
    return OK;
}

static enum err_code count_segments_beside(struct verifier *v, struct err *e)
{
    CLEANUP(names_done) struct names n = { .kind = LEDGER_SEGMENT };

    if (list_names(v, &n, e))
        return e->code;
    v->r.superseded = (int64_t)n.count - v->r.segments;
    return OK;
}

enum err_code ledger_verify(struct store *store, const char *cluster, const char *prefix,
                            const struct ledger_trust *trust, const struct ledger_head *expected,
                            ledger_each_fn *each, void *context, struct ledger_report *out, struct err *e)
{
    struct verifier v = {
        .store = store,
        .cluster = cluster,
        .prefix = prefix,
        .trust = trust,
        .expected = expected,
        .each = each,
        .context = context,
        .r = { .ok = true },
    };
    struct err first = ERR_INIT;
    enum err_code code;

    if (trust->count < 1 || trust->count > LEDGER_TRUST_MAX)
        return err_set(e, ERR_USAGE, "ledger verify: %zu trusted keys; 1 to %d are needed", trust->count,
                       LEDGER_TRUST_MAX);
    memcpy(v.r.last.hash, ledger_no_hash, sizeof(v.r.last.hash));
    code = read_heads(&v, &first);
    if (code == OK && v.r.ok)
        find_chain(&v);
    if (code == OK && v.r.ok)
        code = verify_records(&v, &first);
    if (code == OK && v.r.ok)
        code = count_segments_beside(&v, &first);
    free(v.heads);
    if (code != OK) {
        *e = first;
        return err_wrap(e, "ledger verify '%s'", prefix);
    }
    *out = v.r;
    return OK;
}
