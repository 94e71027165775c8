#include "runner/cli/data_place.h"

#include "base/clock.h"
#include "core/job/job.h"

#include <pwd.h>
#include <string.h>

enum { EVENT_BYTES_MAX = 64 * 1024 };

void data_place_done(struct data_place *p)
{
    cluster_free(p->cluster);
}

static enum err_code open_store(void *context, struct store **out, struct err *e)
{
    const struct data_place *p = context;
    return cluster_open_store(p->cluster, p->bucket, out, e);
}

void data_place_in(struct cluster *cluster, const char *bucket, const char *prefix, struct data_place *out)
{
    out->cluster = cluster;
    if (out->bucket != bucket)
        snprintf(out->bucket, sizeof(out->bucket), "%s", bucket);
    if (out->prefix != prefix)
        snprintf(out->prefix, sizeof(out->prefix), "%s", prefix);
    snprintf(out->uri, sizeof(out->uri), "s3://%s/%s", out->bucket, out->prefix);
    out->target = (struct stage_target){
        .open = open_store, .context = out, .bucket = out->bucket, .prefix = out->prefix
    };
}

enum err_code data_place_open(const struct cli *c, const char *uri, struct data_place *out, struct err *e)
{
    if (store_uri_parse(uri, out->bucket, out->prefix, e))
        return e->code;
    for (size_t n = strlen(out->prefix); n > 0 && out->prefix[n - 1] == '/'; n--)
        out->prefix[n - 1] = '\0';
    if (!out->prefix[0])
        return err_set(e, ERR_USAGE, "'%s' must name a place in the bucket, as in s3://%s/NAME/v1", uri,
                       out->bucket);
    if (cli_cluster(c, &out->cluster, e))
        return e->code;
    data_place_in(out->cluster, out->bucket, out->prefix, out);
    return OK;
}

/* ---- into the ledger, by the state's outbox ---- */

void data_actor(char *out, size_t bytes)
{
    const struct passwd *user = getpwuid(geteuid());
    if (user)
        snprintf(out, bytes, "user:%s", user->pw_name);
    else
        snprintf(out, bytes, "user:uid-%u", (unsigned)geteuid());
}

static enum err_code record(const struct data_place *p, const char *event, json_t *data, struct err *e)
{
    CLEANUP(state_closep) struct state *state = NULL;
    CLEANUP(state_tx_freep) struct state_tx *tx = state_tx_new();
    CLEANUP(buf_done) struct buf text = BUF_INIT(EVENT_BYTES_MAX);
    char actor[DATASET_NAME_BYTES];

    invariant(data != NULL);
    data_actor(actor, sizeof(actor));
    if (job_event_text(actor, event, "", clock_wall_ms(), data, &text, e) || buf_check(&text, "event", e) ||
        cluster_open_state(p->cluster, &state, e))
        return err_wrap(e, "record '%s'", event);
    state_tx_append(tx, JOB_OUTBOX, text.data, text.len);
    if (state_commit(state, tx, e))
        return err_wrap(e, "record '%s'", event);
    return OK;
}

/* Kinds and counts; what the values are stands nowhere. */
static json_t *findings_json(const struct stage_facts *f)
{
    enum { NAMED_MAX = 100 };
    json_t *list = json_array();
    for (size_t i = 0; i < f->finding_count && i < NAMED_MAX; i++)
        json_array_append_new(list,
                              json_pack("{s:s,s:s,s:I}", "column", f->findings[i].column, "kind",
                                        f->findings[i].kind, "count", (json_int_t)f->findings[i].count));
    return list;
}

enum err_code data_record_override(const struct data_place *p, const struct stage_facts *f,
                                   const struct stage_options *o, struct err *e)
{
    CLEANUP(json_donep)
    json_t *data =
        json_pack("{s:s,s:s,s:s,s:s,s:s,s:o}", "uri", p->uri, "class", data_class_names[o->data_class],
                  "class_needed", data_class_names[f->class_needed], "reason", o->override_reason,
                  "source_sha256", f->sha256, "findings", findings_json(f));
    return record(p, "data.override", data, e);
}

enum err_code data_record_staged(const struct data_place *p, const struct stage_facts *f,
                                 const struct stage_options *o, const struct stage_result *r, struct err *e)
{
    CLEANUP(json_donep)
    json_t *data = json_pack("{s:s,s:s,s:s,s:s,s:s,s:I,s:I,s:s,s:s,s:o}", "uri", p->uri, "class",
                             data_class_names[o->data_class], "owner", o->owner ? o->owner : "", "basis",
                             o->basis ? o->basis : "", "digest", r->digest, "records", (json_int_t)r->records,
                             "shards", (json_int_t)r->shards, "format", records_format_names[f->format],
                             "source_sha256", f->sha256, "findings", findings_json(f));
    return record(p, "data.staged", data, e);
}
