/* audit verify, tail: the ledger, proved and read. Both read the store alone; a scheduler need not be up. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/stop.h"
#include "core/job/job.h"
#include "core/ledger/ledger.h"
#include "runner/cli/cli.h"
#include "runner/cli/client.h"
#include "runner/cli/commands.h"
#include "runner/cli/print.h"
#include "runner/cli/utf8.h"

#include <inttypes.h>
#include <poll.h>
#include <string.h>

enum { WAITING_MAX = 10000, HEAD_BYTES_MAX = 4096, TAIL_DEFAULT = 20, TAIL_MAX = 100000, FOLLOW_MS = 1000 };
static const char head_key[] = "ledger/head"; /* in the state, written by the scheduler */

struct audit {
    struct cluster *cluster; /* owned */
    struct store *store;     /* owned */
    struct ledger_trust trust;
};

static void audit_done(struct audit *a)
{
    store_close(a->store);
    cluster_free(a->cluster);
}

static enum err_code audit_open(const struct cli *c, struct audit *out, struct err *e)
{
    out->trust.count = 1;
    if (cli_cluster(c, &out->cluster, e) || cluster_public_key(out->cluster, out->trust.public_key[0], e) ||
        cluster_open_store(out->cluster, out->cluster->ledger.bucket, &out->store, e))
        return e->code;
    return OK;
}

static enum err_code prove(const struct audit *a, const struct ledger_head *expected, ledger_each_fn *each,
                           void *context, struct ledger_report *out, struct err *e)
{
    if (ledger_verify(a->store, a->cluster->name, a->cluster->ledger.prefix, &a->trust, expected, each,
                      context, out, e))
        return err_wrap(e, "read the ledger");
    return OK;
}

/* ---- verify ---- */

/* The last head as the state remembers it: without it nobody could tell that the chain's end was cut off. */
static enum err_code read_head(struct state *s, struct ledger_head *out, struct err *e)
{
    static const char what[] = "ledger/head in the state";
    CLEANUP(buf_done) struct buf text = BUF_INIT(HEAD_BYTES_MAX);
    CLEANUP(json_donep) json_t *doc = NULL;

    if (state_get(s, head_key, &text, NULL, e) || json_parse(text.data, text.len, what, &doc, e))
        return e->code;
    if (json_get_i64(doc, what, "seq", &out->seq, e) ||
        json_copy_text(doc, what, "hash", out->hash, sizeof(out->hash), e) ||
        json_get_i64(doc, what, "token", &out->token, e))
        return e->code;
    return OK;
}

/* What the state knows of the ledger. */
struct beside {
    bool answers, has_head;
    struct ledger_head head;
    int64_t waiting; /* events in the outbox: on their way */
};

static enum err_code count_entry(void *context, const char *id, const void *data, size_t n, struct err *e)
{
    (void)id, (void)data, (void)n, (void)e;
    ++*(int64_t *)context;
    return OK;
}

/* A state that is away is no failure: the ledger proves itself, but for its end. */
static enum err_code ask_state(const struct cluster *c, struct beside *out, struct err *e)
{
    CLEANUP(state_closep) struct state *s = NULL;
    struct beside b = { .waiting = 0 };

    if (cluster_open_state(c, &s, e) == OK && read_head(s, &b.head, e) == OK)
        b.has_head = true;
    if (e->code != OK && e->code != ERR_RETRY && e->code != ERR_NOT_FOUND && e->code != ERR_IO)
        return e->code;
    b.answers = s && (b.has_head || e->code == ERR_NOT_FOUND);
    err_clear(e);
    if (b.answers && state_read(s, JOB_OUTBOX, NULL, WAITING_MAX, count_entry, &b.waiting, e))
        return e->code;
    *out = b;
    return OK;
}

static json_t *report_json(const struct ledger_report *r, const struct beside *b)
{
    json_t *last = r->last.seq ? json_pack("{s:I,s:s,s:I}", "seq", (json_int_t)r->last.seq, "hash",
                                           r->last.hash, "token", (json_int_t)r->last.token)
                               : json_null();
    json_t *bad =
        r->ok ? json_null()
              : json_pack("{s:I,s:s,s:s}", "seq", (json_int_t)r->bad_seq, "key", r->bad_key, "why", r->why);
    return json_pack("{s:b,s:I,s:I,s:I,s:I,s:b,s:I,s:o,s:o}", "ok", (int)r->ok, "records",
                     (json_int_t)r->records, "segments", (json_int_t)r->segments, "heads",
                     (json_int_t)r->heads, "superseded", (json_int_t)r->superseded, "end_known",
                     (int)b->has_head, "waiting", (json_int_t)b->waiting, "last", last, "bad", bad);
}

static enum err_code tell(const struct ledger_report *r, const struct beside *b, struct err *e)
{
    if (!r->ok)
        return print_line(e, "BAD: %s%s%s", r->why, r->bad_key[0] ? "\n  object: " : "", r->bad_key);
    if (print_line(e,
                   "ok: %" PRId64 " records in %" PRId64 " segments, each signed and chained; last %" PRId64
                   " %.16s",
                   r->records, r->segments, r->last.seq, r->last.hash))
        return e->code;
    if (!b->has_head)
        cli_say("%s, so whether records are missing at the end cannot be told",
                b->answers ? "the state knows no head yet" : "the state does not answer");
    if (b->waiting)
        cli_say("%" PRId64 " events are on their way to the ledger", b->waiting);
    return OK;
}

static enum err_code verify_run(struct cli *c, const struct arguments *a, const void *settings, struct err *e)
{
    CLEANUP(audit_done) struct audit audit = { .store = NULL };
    struct ledger_report report;
    struct beside beside = { .waiting = 0 };
    (void)a;
    (void)settings;

    /* The state first: the ledger may only be ahead of it. */
    if (audit_open(c, &audit, e) || ask_state(audit.cluster, &beside, e) ||
        prove(&audit, beside.has_head ? &beside.head : NULL, NULL, NULL, &report, e))
        return e->code;
    if (report.ok && report.records == 0 && !beside.answers)
        return err_set(
            e, ERR_RETRY,
            "the ledger is empty and the state does not answer: nothing is proved; start the services "
            "(`sovrun up`) and ask again");
    c->status = report.ok ? CLI_DONE : CLI_FAILED;
    if (!c->json)
        return tell(&report, &beside, e);
    CLEANUP(json_donep) json_t *doc = report_json(&report, &beside);
    return print_json(doc, e);
}

const struct cmd cmd_audit_verify = {
    .name = "audit verify",
    .args = "",
    .help = "prove that the audit trail is whole: hashes, signatures, order, end",
    .more =
        "Recomputes everything from the store. Exit code 1, and the first bad record named, where it is not.",
    .run = verify_run,
};

/* ---- tail ---- */

struct tail_settings {
    bool follow;
    int64_t count;
    const char *job;
};

struct tail {
    const char *job;   /* NULL: all */
    int64_t after;     /* records up to this one were shown */
    size_t max, count; /* of the newest, in a ring */
    size_t first;
    json_t **ring; /* owned, and each in it */
};

static void tail_done(struct tail *t)
{
    for (size_t i = 0; i < t->count; i++)
        json_decref(t->ring[(t->first + i) % t->max]);
    free(t->ring);
    t->ring = NULL;
    t->count = t->first = 0;
}

static enum err_code keep(void *context, const json_t *record, const char *hash, struct err *e)
{
    struct tail *t = context;
    (void)hash;
    (void)e;
    if (json_i64_or(record, "seq", 0) <= t->after ||
        (t->job && strcmp(t->job, json_text_or(record, "job", "")) != 0))
        return OK;
    if (t->count == t->max) {
        json_decref(t->ring[t->first]);
        t->first = (t->first + 1) % t->max;
        t->count--;
    }
    t->ring[(t->first + t->count++) % t->max] = json_incref((json_t *)record);
    return OK;
}

static enum err_code show_record(const json_t *record, struct err *e)
{
    CLEANUP(buf_done) struct buf data = BUF_INIT(LEDGER_RECORD_BYTES_MAX * 2);
    CLEANUP(buf_done) struct buf line = BUF_INIT(LEDGER_RECORD_BYTES_MAX * 4);
    const char *job = json_text_or(record, "job", "");
    const json_t *members = json_object_get(record, "data");
    size_t width = print_terminal_width(STDOUT_FILENO);

    if (json_object_size(members) && json_canonical(members, &data, e))
        return e->code;
    CLEANUP(freep)
    char *text = mem_printf("%6" PRId64 "  %s  %-22s %-13s  %s  %s", json_i64_or(record, "seq", 0),
                            json_text_or(record, "time", "?"), json_text_or(record, "event", "?"),
                            job[0] ? job : "-", json_text_or(record, "actor", "?"), buf_text(&data));
    utf8_fit(text, width ? width : SIZE_MAX, &line);
    buf_add_byte(&line, '\n');
    return print_out(&line, e);
}

/* The newest of what was not shown yet. */
static enum err_code take_newest(const struct audit *a, struct tail *t, struct err *e)
{
    struct ledger_report report;
    t->ring = mem_array(t->max, sizeof(json_t *));
    if (prove(a, NULL, keep, t, &report, e))
        return e->code;
    if (!report.ok)
        return err_set(e, ERR_CORRUPT, "the ledger is not whole: %s (`sovrun audit verify` says more)",
                       report.why);
    t->after = MAX(t->after, report.last.seq);
    return OK;
}

static enum err_code show_newest(const struct audit *a, struct tail *t, struct err *e)
{
    enum err_code code = take_newest(a, t, e);
    for (size_t i = 0; i < t->count && code == OK; i++)
        code = show_record(t->ring[(t->first + i) % t->max], e);
    tail_done(t);
    return code;
}

static enum err_code any_object(void *context, const struct store_info *info, struct err *e)
{
    char *last = context;
    (void)e;
    memcpy(last, info->key, STORE_KEY_BYTES);
    return OK;
}

/* The newest head's key: where it is the same as before there is nothing new to prove. */
static enum err_code newest_head(const struct audit *a, char io_last[STORE_KEY_BYTES], struct err *e)
{
    char under[STORE_KEY_BYTES];
    snprintf(under, sizeof(under), "%s/head/", a->cluster->ledger.prefix);
    return store_list(a->store, under, io_last[0] ? io_last : NULL, any_object, io_last, e);
}

static enum err_code follow(const struct audit *a, struct tail *t, struct err *e)
{
    char shown[STORE_KEY_BYTES] = "", now[STORE_KEY_BYTES] = "";
    while (!stop_asked()) { /* until a signal */
        struct pollfd stop = { .fd = stop_fd(), .events = POLLIN };
        if (newest_head(a, now, e))
            return e->code;
        if (strcmp(now, shown) != 0 && show_newest(a, t, e))
            return e->code;
        memcpy(shown, now, sizeof(shown));
        t->max = TAIL_MAX; /* what comes from now on is all shown */
        poll(&stop, 1, FOLLOW_MS);
    }
    return OK;
}

static enum err_code tail_json(const struct audit *a, struct tail *t, struct err *e)
{
    CLEANUP(json_donep) json_t *doc = json_object();
    json_t *list = json_array();
    json_object_set_new(doc, "records", list);
    if (take_newest(a, t, e))
        return e->code;
    for (size_t i = 0; i < t->count; i++)
        json_array_append(list, t->ring[(t->first + i) % t->max]);
    return print_json(doc, e);
}

static enum err_code tail_run(struct cli *c, const struct arguments *a, const void *settings, struct err *e)
{
    const struct tail_settings *s = settings;
    CLEANUP(audit_done) struct audit audit = { .store = NULL };
    CLEANUP(tail_done) struct tail t = { .job = s->job, .max = s->count ? (size_t)s->count : TAIL_DEFAULT };
    (void)a;

    if (c->json && s->follow)
        return err_set(e, ERR_USAGE, "--json gives one document, so it does not go with --follow");
    if ((s->job && client_check_job(s->job, e)) || audit_open(c, &audit, e))
        return e->code;
    stop_init();
    if (c->json)
        return tail_json(&audit, &t, e);
    return s->follow ? follow(&audit, &t, e) : show_newest(&audit, &t, e);
}

static const struct opt tail_options[] = {
    OPT_FLAG_ROW(tail_settings, follow, "follow", 'f', "stay, and show what comes"),
    OPT_INT_ROW(tail_settings, count, "lines", 'n', "N", 1, TAIL_MAX, "the newest N records [20]"),
    OPT_TEXT_ROW(tail_settings, job, "job", 'j', "JOB", "of one job only"),
    OPT_END,
};
const struct cmd cmd_audit_tail = {
    .name = "audit tail",
    .args = "",
    .help = "the newest records of the audit trail, verified",
    .options = tail_options,
    .settings_bytes = sizeof(struct tail_settings),
    .run = tail_run,
};
