/* policy selftest: what may not happen is tried, and seen not to happen. */
#include "base/clock.h"
#include "base/mem.h"
#include "core/cluster/egress.h"
#include "core/job/job.h"
#include "runner/cli/cli.h"
#include "runner/cli/commands.h"
#include "runner/cli/print.h"
#include "runner/cli/refusals.h"
#include "runner/cli/selftest.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { REPORT_BYTES_MAX = 16 << 20, EVENT_BYTES_MAX = 16 * 1024 };

struct selftest_settings {
    struct opt_list buckets;
    const char *foreign;
    bool allow_untried, no_record;
};

/* ---- what is tried ---- */

static bool is_wanted(const struct selftest_settings *s, const char *bucket)
{
    for (size_t i = 0; i < s->buckets.count; i++)
        if (strcmp(s->buckets.items[i], bucket) == 0)
            return true;
    return s->buckets.count == 0;
}

static enum err_code check_buckets(const struct cluster *c, const struct selftest_settings *s, struct err *e)
{
    struct store_place place;
    for (size_t i = 0; i < s->buckets.count; i++)
        if (cluster_place(c, s->buckets.items[i], &place, e))
            return err_wrap(e, "--bucket");
    return OK;
}

static void try_all(struct selftest *t, const struct selftest_settings *s)
{
    const struct cluster *c = t->cluster;
    selftest_client(t);
    selftest_key_service(t);
    for (size_t i = 0; i < c->store_count; i++) {
        bool first = true;
        for (size_t b = 0; b < c->stores[i].bucket_count; b++) {
            const char *bucket = c->stores[i].buckets[b];
            if (!is_wanted(s, bucket))
                continue;
            if (first)
                selftest_endpoint(t, bucket);
            first = false;
            selftest_bucket(t, bucket);
            selftest_sweep(t, bucket);
        }
    }
}

/* ---- what is said ---- */

static const enum print_colour colours[] = {
    [SELFTEST_REFUSED] = COLOUR_GOOD, [SELFTEST_ALLOWED] = COLOUR_BAD, [SELFTEST_UNTRIED] = COLOUR_BUSY,
    [SELFTEST_NOTED] = COLOUR_NONE,   [SELFTEST_NONE] = COLOUR_DIM,
};
static const char *const words[] = {
    [SELFTEST_REFUSED] = "ok",  [SELFTEST_ALLOWED] = "ALLOWED", [SELFTEST_UNTRIED] = "not tried",
    [SELFTEST_NOTED] = "noted", [SELFTEST_NONE] = "-",
};

static enum err_code show(const struct selftest *t, struct err *e)
{
    static const char *const headings[] = { "", "ACT", "PLACE", "EXPECTED", "OBSERVED", "EVIDENCE", NULL };
    CLEANUP(print_table_done) struct print_table table = print_table_new(headings);
    char when[CLOCK_TEXT_BYTES];
    for (size_t i = 0; i < t->row_count; i++) {
        const struct selftest_row *r = &t->rows[i];
        print_cell(&table, colours[r->outcome], "%s", words[r->outcome]);
        print_text_cell(&table, r->act);
        print_text_cell(&table, r->place);
        print_text_cell(&table, r->expected);
        print_text_cell(&table, r->observed);
        print_text_cell(&table, r->evidence);
    }
    if (print_table_out(&table, e))
        return e->code;
    for (size_t i = 0; i < t->left_count; i++) {
        const struct selftest_left *l = &t->left[i];
        if (print_line(e, "left: s3://%s/%s version %s%s%s", l->bucket, l->key, l->version,
                       l->until_ms ? ", locked until " : "",
                       l->until_ms ? clock_format(l->until_ms, when) : ""))
            return e->code;
    }
    if (t->left_count && print_line(e, "What is left is removed by a later selftest, once its lock is over."))
        return e->code;
    return print_line(e, "%zu refused, %zu ALLOWED, %zu not tried, %zu noted",
                      selftest_count(t, SELFTEST_REFUSED), selftest_count(t, SELFTEST_ALLOWED),
                      selftest_count(t, SELFTEST_UNTRIED), selftest_count(t, SELFTEST_NOTED));
}

/* ---- the ledger ---- */

static enum err_code record(const struct cluster *c, const json_t *report, const char *digest, struct err *e)
{
    CLEANUP(state_closep) struct state *s = NULL;
    CLEANUP(state_tx_freep) struct state_tx *tx = state_tx_new();
    CLEANUP(buf_done) struct buf text = BUF_INIT(EVENT_BYTES_MAX);
    CLEANUP(json_donep)
    json_t *data = json_pack("{s:O,s:O,s:O,s:s}", "policy_sha256", json_object_get(report, "policy_sha256"),
                             "scratch", json_object_get(report, "scratch"), "summary",
                             json_object_get(report, "summary"), "report_sha256", digest);
    char actor[REFUSALS_ACTOR_BYTES];
    refusals_actor(actor);
    if (job_event_text(actor, "policy.selftest", "", clock_wall_ms(), data, &text, e) ||
        cluster_open_state(c, &s, e))
        return e->code;
    state_tx_append(tx, JOB_OUTBOX, text.data, text.len);
    return state_commit(s, tx, e);
}

static enum err_code tell(struct cli *c, const struct selftest *t, const struct selftest_settings *s,
                          struct err *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(REPORT_BYTES_MAX);
    char digest[SHA256_HEX_BYTES];
    struct err unrecorded = ERR_INIT;
    CLEANUP(json_donep) json_t *report = selftest_report(t, t->cluster->policy.digest, clock_wall_ms());
    if (json_canonical(report, &text, e))
        return e->code;
    sha256_hex(text.data, text.len, digest);
    const bool recorded = !s->no_record && record(t->cluster, report, digest, &unrecorded) == OK;
    if (unrecorded.code) {
        cli_say("the selftest is not in the ledger: %s", unrecorded.text);
        c->status = cli_exit_of(unrecorded.code);
    }
    if (!c->json)
        return show(t, e);
    CLEANUP(json_donep)
    json_t *doc =
        json_pack("{s:O,s:s,s:b}", "report", report, "report_sha256", digest, "recorded", (int)recorded);
    return print_json(doc, e);
}

static enum err_code selftest_run(struct cli *c, const struct arguments *a, const void *settings,
                                  struct err *e)
{
    const struct selftest_settings *s = settings;
    CLEANUP(cluster_freep) struct cluster *cluster = NULL;
    CLEANUP(selftest_done) struct selftest t = { .folder = NULL };
    (void)a;
    if (s->foreign && (!strchr(s->foreign, '/') || s->foreign[0] == '/'))
        return err_set(e, ERR_USAGE, "--foreign '%s': BUCKET/KEY of an object in another region", s->foreign);
    if (cli_cluster(c, &cluster, e) || check_buckets(cluster, s, e) ||
        selftest_begin(&t, cluster, s->foreign, e))
        return e->code;
    try_all(&t, s);
    http_on_refusal(egress_on_refusal, c->egress); /* from now on a refusal is none of the acts */
    if (tell(c, &t, s, e))
        return e->code;
    if (selftest_count(&t, SELFTEST_ALLOWED))
        c->status = CLI_DENIED;
    else if (selftest_count(&t, SELFTEST_UNTRIED) && !s->allow_untried)
        c->status = CLI_FAILED;
    return OK;
}

static const struct opt selftest_options[] = {
    OPT_LIST_ROW(selftest_settings, buckets, "bucket", 'b', "BUCKET",
                 "only this bucket and its store; may be repeated [all of them]"),
    OPT_TEXT_ROW(selftest_settings, foreign, "foreign", 'f', "BUCKET/KEY",
                 "an object in another region, which must not be copied here"),
    OPT_FLAG_ROW(selftest_settings, allow_untried, "allow-untried", 0,
                 "exit 0 also where an act could not be tried"),
    OPT_FLAG_ROW(selftest_settings, no_record, "no-record", 0, "write nothing into the ledger"),
    OPT_END,
};
const struct cmd cmd_policy_selftest = {
    .name = "policy selftest",
    .args = "",
    .help = "try every forbidden act for real, and see that it is refused",
    .more =
        "Writes only below " SELFTEST_PREFIX " in each bucket, under locks of 90 s, and removes what no lock "
        "holds any more. Exit codes: 0 all refused; 3 something forbidden succeeded; 1 something could not "
        "be "
        "tried. What is tried, and how, is in docs/SOVEREIGNTY.md.",
    .options = selftest_options,
    .settings_bytes = sizeof(struct selftest_settings),
    .run = selftest_run,
};
