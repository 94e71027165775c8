#include "core/ledger/ledger.h"

#include "base/mem.h"
#include "base/text.h"
#include "core/ledger/ledger_format.h"

#include <inttypes.h>
#include <string.h>

struct ledger {
    struct ledger_config config;
    struct store *store;
    const struct signer *signer;
    const struct clock *clock;
    struct ledger_head head;
    struct {
        size_t count; /* 0: none is open */
        char hash[SHA256_HEX_BYTES];
    } failed; /* the batch that may or may not lie in the store */
};

/* ---- open ---- */

struct newest {
    size_t folder_bytes;
    int64_t seq, token; /* 0: none */
};

/* A deposed writer may have gone further under its older token, so the token decides first. */
static enum err_code keep_newest(void *context, const struct store_info *info, struct err *e)
{
    struct newest *n = context;
    int64_t seq, token;

    (void)e;
    if (!ledger_name_parse(LEDGER_HEAD, info->key + n->folder_bytes, &seq, &token))
        return OK; /* not ours; verification tells it */
    if (token > n->token || (token == n->token && seq > n->seq)) {
        n->seq = seq;
        n->token = token;
    }
    return OK;
}

static enum err_code read_head(const struct ledger *l, const struct newest *n, struct ledger_signed *out,
                               struct err *e)
{
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(LEDGER_HEAD_BYTES_MAX);
    char key[STORE_KEY_BYTES];

    ledger_key(l->config.prefix, LEDGER_HEAD, n->seq, n->token, key);
    if (store_get(l->store, key, NULL, 0, UINT64_MAX, &bytes, NULL, e))
        return e->code;
    if (ledger_head_read(bytes.data, bytes.len, l->config.cluster, n->seq, n->token, &l->signer->public_key,
                         1, out, e))
        return err_wrap(e, "'%s'", key);
    return OK;
}

static enum err_code read_last_record(struct ledger *l, const struct ledger_signed *h, struct err *e)
{
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(LEDGER_SEGMENT_BYTES_MAX);
    CLEANUP(freep) struct ledger_segment *segment = mem_new(sizeof(*segment));
    CLEANUP(json_donep) json_t *record = NULL;
    struct ledger_fault fault;
    struct ledger_head head = { .seq = h->seq, .token = h->token };
    char key[STORE_KEY_BYTES];

    ledger_key(l->config.prefix, LEDGER_SEGMENT, h->first, h->token, key);
    if (store_get(l->store, key, NULL, 0, UINT64_MAX, &bytes, NULL, e))
        return e->code;
    if (!ledger_segment_check(&bytes, h, segment, &fault))
        return err_set(e, ERR_CORRUPT, "'%s': %s", key, fault.why);
    if (ledger_record_parse(&segment->line[segment->count - 1], &record, e) ||
        json_copy_text(record, "record", "source", head.source, sizeof(head.source), e))
        return err_wrap(e, "'%s'", key);
    memcpy(head.hash, h->hash, sizeof(head.hash));
    l->head = head;
    return OK;
}

static enum err_code read_end(struct ledger *l, struct err *e)
{
    char folder[STORE_KEY_BYTES];
    struct newest newest = { .seq = 0 };
    struct ledger_signed head = { .seq = 0 };

    ledger_folder(l->config.prefix, LEDGER_HEAD, folder);
    newest.folder_bytes = strlen(folder);
    if (store_list(l->store, folder, NULL, keep_newest, &newest, e))
        return e->code;
    if (newest.seq == 0)
        return OK;
    if (newest.token > l->config.token)
        return err_set(e, ERR_DENIED, "token %" PRId64 " has written already; ours is %" PRId64, newest.token,
                       l->config.token);
    return read_head(l, &newest, &head, e) || read_last_record(l, &head, e) ? e->code : OK;
}

enum err_code ledger_open(const struct ledger_config *config, struct store *store,
                          const struct signer *signer, const struct clock *clock, struct ledger **out,
                          struct err *e)
{
    CLEANUP(ledger_closep) struct ledger *l = mem_new(sizeof(*l));

    l->config = *config;
    l->store = store;
    l->signer = signer;
    l->clock = clock;
    memcpy(l->head.hash, ledger_no_hash, sizeof(l->head.hash));
    if (!config->cluster[0] || config->token < 1 || config->retain_ms < 0 ||
        (config->lock_mode != STORE_LOCK_NONE && config->retain_ms == 0))
        return err_set(e, ERR_USAGE, "ledger: a cluster, a token, and a time for the lock are needed");
    if (read_end(l, e))
        return err_wrap(e, "ledger '%s'", config->prefix);
    *out = TAKE(l);
    return OK;
}

void ledger_close(struct ledger *l)
{
    free(l);
}

void ledger_head(const struct ledger *l, struct ledger_head *out)
{
    *out = l->head;
}

/* ---- append ---- */

/* Reals have no canonical form: 0.1 prints in several ways. What is nested too deeply to be read again is
 * refused alike. */
static bool has_real(const json_t *j, int levels_left)
{
    const char *name;
    json_t *child;
    size_t i;

    if (json_is_real(j) || levels_left == 0)
        return true;
    json_object_foreach((json_t *)j, name, child)
    {
        if (has_real(child, levels_left - 1))
            return true;
    }
    json_array_foreach((json_t *)j, i, child)
    {
        if (has_real(child, levels_left - 1))
            return true;
    }
    return false;
}

static enum err_code check_event(const struct ledger_event *event, struct err *e)
{
    size_t source_bytes = strnlen(event->source, LEDGER_SOURCE_BYTES);

    if (source_bytes == 0 || source_bytes == LEDGER_SOURCE_BYTES)
        return err_set(e, ERR_USAGE, "its source must have 1 to %d bytes", LEDGER_SOURCE_BYTES - 1);
    if (!*event->event || !*event->actor)
        return err_set(e, ERR_USAGE, "it says not what happened, or not who did it");
    if (event->data && (!json_is_object(event->data) || has_real(event->data, JSON_DEPTH_MAX - 1)))
        return err_set(e, ERR_USAGE, "its data must be an object of texts and integers, not nested deeply");
    return OK;
}

/* One line, without its newline. */
static enum err_code make_line(const struct ledger_event *event, const struct ledger_head *before,
                               struct buf *out, struct err *e)
{
    char when[CLOCK_TEXT_BYTES];

    if (check_event(event, e))
        return e->code;
    CLEANUP(json_donep) json_t *data = event->data ? json_incref(event->data) : json_object();
    CLEANUP(json_donep)
    json_t *record =
        json_pack("{s:s,s:O,s:s,s:s,s:s,s:I,s:s,s:s}", "actor", event->actor, "data", data, "event",
                  event->event, "job", event->job, "prev", before->hash, "seq", (json_int_t)before->seq + 1,
                  "source", event->source, "time", clock_format(event->time_ms, when));
    if (!record)
        return err_set(e, ERR_USAGE, "it holds text that is not UTF-8");
    return json_canonical(record, out, e); /* on one line: JSON writes a newline in text as \n */
}

/* The segment's bytes, and the head as it will be. */
static enum err_code make_segment(const struct ledger *l, const struct ledger_event *events, size_t count,
                                  struct buf *out, struct ledger_head *out_head, struct err *e)
{
    struct ledger_head head = l->head;

    head.token = l->config.token;
    for (size_t i = 0; i < count; i++) {
        CLEANUP(buf_done) struct buf line = BUF_INIT(LEDGER_RECORD_BYTES_MAX);
        if (make_line(&events[i], &head, &line, e))
            return err_wrap(e, "event %zu", i + 1);
        sha256_hex(line.data, line.len, head.hash);
        head.seq++;
        buf_add(out, line.data, line.len);
        buf_add_byte(out, '\n');
    }
    if (text_copy(head.source, sizeof(head.source), events[count - 1].source, "the source", e) ||
        buf_check(out, "the segment", e))
        return e->code;
    *out_head = head;
    return OK;
}

static enum err_code put(struct ledger *l, enum ledger_kind kind, int64_t seq, const struct buf *bytes,
                         struct err *e)
{
    const char *type = kind == LEDGER_HEAD ? "application/json" : "application/jsonl";
    struct store_put_options options = { .content_type = type };
    char key[STORE_KEY_BYTES];

    if (l->config.lock_mode != STORE_LOCK_NONE) {
        options.lock.mode = (enum store_lock_mode)l->config.lock_mode;
        options.lock.retain_until_ms = l->clock->wall_ms(l->clock) + l->config.retain_ms;
    }
    ledger_key(l->config.prefix, kind, seq, l->config.token, key);
    return store_put(l->store, key, bytes->data, bytes->len, &options, NULL, e);
}

static enum err_code write_batch(struct ledger *l, const struct buf *segment, const struct ledger_head *head,
                                 struct err *e)
{
    CLEANUP(buf_done) struct buf envelope = BUF_INIT(LEDGER_HEAD_BYTES_MAX);
    struct ledger_signed h = { .first = l->head.seq + 1, .seq = head->seq, .token = l->config.token };

    memcpy(h.hash, head->hash, sizeof(h.hash));
    memcpy(h.prev, l->head.hash, sizeof(h.prev));
    if (ledger_head_write(&h, l->config.cluster, l->clock->wall_ms(l->clock), l->signer, &envelope, e))
        return e->code;
    /* The head last: a segment without one does not count. */
    if (put(l, LEDGER_SEGMENT, h.first, segment, e) || put(l, LEDGER_HEAD, h.seq, &envelope, e))
        return e->code;
    return OK;
}

enum err_code ledger_append(struct ledger *l, const struct ledger_event *events, size_t count, struct err *e)
{
    CLEANUP(buf_done) struct buf segment = BUF_INIT(LEDGER_SEGMENT_BYTES_MAX);
    struct ledger_head head = { .seq = 0 };

    if (count < 1 || count > LEDGER_BATCH_MAX)
        return err_set(e, ERR_USAGE, "ledger append: %zu events; 1 to %d are allowed", count,
                       LEDGER_BATCH_MAX);
    if (make_segment(l, events, count, &segment, &head, e))
        return err_wrap(e, "ledger append");
    /* The failed batch may lie in the store, or arrive late: other records under its names would fork the
     * chain. */
    if (l->failed.count && (l->failed.count != count || strcmp(l->failed.hash, head.hash) != 0))
        return err_set(e, ERR_CONFLICT, "ledger append: %zu events failed before; they come first, alone",
                       l->failed.count);
    if (write_batch(l, &segment, &head, e)) {
        l->failed.count = count;
        memcpy(l->failed.hash, head.hash, sizeof(l->failed.hash));
        return err_wrap(e, "ledger append");
    }
    l->failed.count = 0;
    l->head = head;
    return OK;
}
