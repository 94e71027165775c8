#include "scheduler/audit.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "core/job/job.h"
#include "scheduler/text_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void audit_done(struct audit *a)
{
    ledger_close(a->ledger);
    a->ledger = NULL;
}

/* ---- reading the outbox ---- */

struct entry {
    char source[STATE_ID_BYTES];
    json_t *doc; /* owned; what the event borrows its texts from */
    struct ledger_event event;
};

struct batch {
    const struct audit *audit;
    struct entry *list; /* LEDGER_BATCH_MAX */
    size_t count;
    size_t first_new; /* what stands before it is in the ledger already */
    char head_source[64];
};

static void batch_done(struct batch *b)
{
    for (size_t i = 0; i < b->count; i++)
        json_decref(b->list[i].doc);
    free(b->list);
}

static bool has_reals(const json_t *j)
{
    const char *name;
    json_t *child;
    size_t i;

    json_object_foreach((json_t *)j, name, child) if (has_reals(child)) return true;
    json_array_foreach((json_t *)j, i, child) if (has_reals(child)) return true;
    return json_is_real(j);
}

static enum err_code read_event(json_t *doc, struct ledger_event *out, struct err *e)
{
    static const char what[] = "outbox entry";

    if (json_get_text(doc, what, "actor", &out->actor, e) ||
        json_get_text(doc, what, "event", &out->event, e) || json_get_text(doc, what, "job", &out->job, e) ||
        json_get_i64(doc, what, "time_ms", &out->time_ms, e) ||
        json_get_object(doc, what, "data", &out->data, e))
        return e->code;
    if (out->time_ms < 0 || !out->event[0] || has_reals(out->data))
        return err_set(e, ERR_CORRUPT, "%s has no form that the ledger can hold", what);
    return OK;
}

/* Its bytes are gone with the outbox; their digest stays. */
static void stand_in(const struct batch *b, struct entry *entry, const void *data, size_t n, const char *why)
{
    const struct clock *clock = b->audit->clock;
    char digest[SHA256_HEX_BYTES];

    sha256_hex(data, n, digest);
    json_decref(entry->doc);
    entry->doc = json_pack("{s:{s:I,s:o,s:s}}", "data", "bytes", (json_int_t)n, "problem", text_json(why),
                           "sha256", digest);
    invariant(entry->doc);
    entry->event = (struct ledger_event){
        .actor = "scheduler",
        .event = "outbox.malformed",
        .job = "",
        .time_ms = clock->wall_ms(clock),
        .data = json_object_get(entry->doc, "data"),
    };
}

static enum err_code add_entry(void *context, const char *id, const void *data, size_t n, struct err *e)
{
    struct batch *b = context;
    struct err bad = ERR_INIT;

    if (b->count == LEDGER_BATCH_MAX)
        return OK;
    struct entry *entry = &b->list[b->count];
    if (text_copy(entry->source, sizeof(entry->source), id, "outbox id", e))
        return e->code;
    if (json_parse(data, n, "outbox entry", &entry->doc, &bad) ||
        read_event(entry->doc, &entry->event, &bad)) {
        log_error("audit.malformed", "id=%s %s", id, bad.text);
        stand_in(b, entry, data, n, bad.text);
    }
    entry->event.source = entry->source;
    b->count++;
    if (strcmp(entry->source, b->head_source) == 0)
        b->first_new = b->count;
    return OK;
}

/* ---- writing ---- */

static enum err_code open_ledger(struct audit *a, int64_t token, struct err *e)
{
    const struct cluster_ledger *settings = &a->cluster->ledger;
    struct ledger_config config = { .token = token,
                                    .lock_mode = settings->lock,
                                    .retain_ms = settings->retain_ms };

    if (a->ledger && a->token == token)
        return OK;
    audit_done(a);
    if (text_copy(config.cluster, sizeof(config.cluster), a->cluster->name, "cluster name", e) ||
        text_copy(config.prefix, sizeof(config.prefix), settings->prefix, "ledger prefix", e) ||
        ledger_open(&config, a->store, a->signer, a->clock, &a->ledger, e))
        return err_wrap(e, "open the ledger");
    a->token = token;
    return OK;
}

static int index_of(const char *const *names, const char *name)
{
    for (int i = 0; names[i]; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    return -1;
}

static void count_event(struct audit_counts *c, const struct ledger_event *event)
{
    atomic_fetch_add(&c->events, 1);
    if (strcmp(event->event, EGRESS_EVENT) != 0)
        return;
    const int program = index_of(egress_programs, json_text_or(event->data, "program", ""));
    const int kind = index_of(http_refusal_names, json_text_or(event->data, "kind", ""));
    const int64_t times = json_i64_or(event->data, "count", 1);
    if (program >= 0 && kind >= 0 && times > 0)
        atomic_fetch_add(&c->refused[program][kind], (uint64_t)times);
}

uint64_t audit_refused(const struct audit_counts *c)
{
    uint64_t sum = 0;

    for (size_t p = 0; p < EGRESS_PROGRAM_COUNT; p++)
        for (size_t k = 0; k < EGRESS_KIND_COUNT; k++)
            sum += atomic_load(&c->refused[p][k]);
    return sum;
}

static enum err_code append(struct audit *a, const struct batch *b, struct err *e)
{
    const size_t count = b->count - b->first_new;

    if (count == 0)
        return OK;
    CLEANUP(freep) struct ledger_event *events = mem_array(count, sizeof(*events));
    for (size_t i = 0; i < count; i++)
        events[i] = b->list[b->first_new + i].event;
    if (ledger_append(a->ledger, events, count, e)) {
        if (e->code != ERR_RETRY)
            audit_done(a); /* what it believes of the chain may be wrong: read it again */
        return err_wrap(e, "append to the ledger");
    }
    for (size_t i = 0; i < count && a->counts; i++)
        count_event(a->counts, &events[i]);
    return OK;
}

static enum err_code drop(struct audit *a, const struct batch *b, struct err *e)
{
    CLEANUP(state_tx_freep) struct state_tx *tx = state_tx_new();
    CLEANUP(buf_done) struct buf text = BUF_INIT(4096);
    CLEANUP(json_donep) json_t *doc = NULL;
    struct ledger_head head;

    ledger_head(a->ledger, &head);
    doc = json_pack("{s:s,s:I,s:s,s:I}", "hash", head.hash, "seq", (json_int_t)head.seq, "source",
                    head.source, "token", (json_int_t)head.token);
    if (json_canonical(doc, &text, e))
        return e->code;
    state_tx_fence(tx, JOB_LEADER_LEASE, a->token);
    state_tx_put(tx, AUDIT_HEAD_KEY, text.data, text.len);
    state_tx_drop(tx, JOB_OUTBOX, b->list[b->count - 1].source);
    if (state_commit(a->state, tx, e))
        return err_wrap(e, "clear the outbox");
    return OK;
}

enum err_code audit_step(struct audit *a, int64_t token, size_t *out_count, struct err *e)
{
    CLEANUP(batch_done) struct batch b = { .audit = a };
    struct ledger_head head;

    if (open_ledger(a, token, e))
        return e->code;
    ledger_head(a->ledger, &head);
    memcpy(b.head_source, head.source, sizeof(b.head_source));
    b.list = mem_array(LEDGER_BATCH_MAX, sizeof(*b.list));
    if (state_read(a->state, JOB_OUTBOX, NULL, LEDGER_BATCH_MAX, add_entry, &b, e))
        return e->code;
    if (b.count && (append(a, &b, e) || drop(a, &b, e)))
        return e->code;
    *out_count = b.count;
    return OK;
}
