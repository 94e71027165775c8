/* policy check, show: what the policy makes of a job, and what it says. Both read files; no scheduler need be
 * up. */
#include "base/mem.h"
#include "core/cluster/cluster_policy.h"
#include "runner/cli/cli.h"
#include "runner/cli/commands.h"
#include "runner/cli/print.h"

#include <stdio.h>
#include <string.h>

/* ---- check ---- */

struct check_settings {
    const char *data_class;
    struct opt_list sets;
};

static enum err_code read_spec(const char *file, const struct opt_list *sets, struct job_spec *out,
                               struct err *e)
{
    CLEANUP(conf_freep) struct conf_doc *doc = NULL;
    if (conf_parse_file(file, &doc, e))
        return e->code;
    for (size_t i = 0; i < sets->count; i++)
        if (conf_set(doc, sets->items[i], e))
            return e->code;
    return job_spec_from_doc(doc, out, e);
}

static enum err_code class_by_name(const char *name, enum data_class *out, struct err *e)
{
    for (int i = 0; data_class_names[i]; i++)
        if (strcmp(data_class_names[i], name) == 0) {
            *out = (enum data_class)i;
            return OK;
        }
    return err_set(e, ERR_USAGE, "--data-class '%s': must be public, internal, pseudonymized or personal",
                   name);
}

/* The dataset as it is staged, or as --data-class says that it will be. False, with a word, where it is not
 * known. */
static bool find_dataset(const struct cluster *c, const struct job_spec *spec, const char *data_class,
                         struct dataset *out, struct err *e)
{
    CLEANUP(store_closep) struct store *store = NULL;
    char bucket[STORE_BUCKET_BYTES], prefix[STORE_KEY_BYTES], digest[65];
    struct err why = ERR_INIT;
    bool in_store = store_uri_parse(spec->data.train, bucket, prefix, &why) == OK;
    if (data_class) {
        snprintf(out->name, sizeof(out->name), "(--data-class)");
        snprintf(out->bucket, sizeof(out->bucket), "%s", in_store ? bucket : c->default_data_bucket);
        return class_by_name(data_class, &out->data_class, e) == OK;
    }
    if (in_store && cluster_open_store(c, bucket, &store, &why) == OK &&
        dataset_load(store, prefix, out, digest, &why) == OK)
        return true;
    cli_say("the dataset could not be read, so its class is not asked about (--data-class says it): %s",
            why.text);
    return false;
}

static enum err_code print_verdicts(const struct policy_decision *d, struct err *e)
{
    static const char *const answers[] = { "not asked", "allowed", "DENIED" };
    static const enum print_colour colours[] = { COLOUR_NONE, COLOUR_GOOD, COLOUR_BAD };
    static const char *const headings[] = { "RULE", "ANSWER", "WHERE", "WHY", NULL };
    CLEANUP(print_table_done) struct print_table t = print_table_new(headings);
    for (size_t i = 0; i < d->finding_count; i++) {
        const struct policy_finding *f = &d->findings[i];
        print_text_cell(&t, f->rule);
        print_cell(&t, colours[f->answer], "%s", answers[f->answer]);
        print_text_cell(&t, f->where);
        print_text_cell(&t, f->reason);
    }
    if (print_table_out(&t, e))
        return e->code;
    return d->allowed ? print_line(e, "allowed") : print_line(e, "denied by rule %s: %s", d->rule, d->reason);
}

static enum err_code check_run(struct cli *c, const struct arguments *a, const void *settings, struct err *e)
{
    const struct check_settings *s = settings;
    CLEANUP(cluster_freep) struct cluster *cluster = NULL;
    CLEANUP(freep) struct job_spec *spec = mem_new(sizeof(*spec));
    CLEANUP(freep) struct policy_decision *d = mem_new(sizeof(*d));
    CLEANUP(dataset_done) struct dataset dataset = { .columns = NULL };

    if (read_spec(a->list[0], &s->sets, spec, e) || cli_cluster(c, &cluster, e))
        return e->code;
    bool known = find_dataset(cluster, spec, s->data_class, &dataset, e);
    if (e->code)
        return e->code;
    cluster_admit(cluster, spec, known ? &dataset : NULL, d);
    c->status = d->allowed ? CLI_DONE : CLI_DENIED;
    if (!c->json)
        return print_verdicts(d, e);
    CLEANUP(json_donep) json_t *doc = policy_decision_json(&cluster->policy, d);
    return print_json(doc, e);
}

static const struct opt check_options[] = {
    OPT_TEXT_ROW(check_settings, data_class, "data-class", 'c', "CLASS",
                 "as if the dataset were of that class"),
    OPT_LIST_ROW(check_settings, sets, "set", 's', "KEY=VALUE", "change the job's file, as in submit"),
    OPT_END,
};
const struct cmd cmd_policy_check = {
    .name = "policy check",
    .args = "JOB.yaml",
    .args_min = 1,
    .args_max = 1,
    .help = "may this job run here: every rule, where it stands, and what would satisfy it",
    .more = "Submits nothing and needs no scheduler. Exit code 0: allowed; 3: denied. A data.train that is "
            "still a plain "
            "file is denied by data_staged, as submit stages it first.",
    .options = check_options,
    .settings_bytes = sizeof(struct check_settings),
    .run = check_run,
};

/* ---- show ---- */

static json_t *policy_json(const struct policy *p)
{
    json_t *doc = conf_to_json(policy_fields, p);
    json_object_set_new(doc, "sha256", json_string(p->digest));
    return doc;
}

static void join(char list[][POLICY_HOST_BYTES], size_t count, struct buf *out)
{
    for (size_t i = 0; i < count; i++)
        buf_addf(out, "%s%s", i ? " " : "", list[i]);
}

static void join_ranges(const struct http_range *ranges, size_t count, struct buf *out)
{
    char text[HTTP_RANGE_TEXT_BYTES];
    for (size_t i = 0; i < count; i++)
        buf_addf(out, "%s%s", i ? " " : "", http_range_format(&ranges[i], text));
}

static enum err_code print_regions(struct policy *p, struct err *e)
{
    static const char *const headings[] = { "REGION",    "PROVIDER",  "NAME THERE", "COUNTRY",
                                            "ENDPOINTS", "ADDRESSES", "NETWORKS",   NULL };
    CLEANUP(print_table_done) struct print_table t = print_table_new(headings);
    for (size_t i = 0; i < p->region_count; i++) {
        struct policy_region *r = &p->regions[i];
        CLEANUP(buf_done) struct buf hosts = BUF_INIT(4096);
        CLEANUP(buf_done) struct buf ranges = BUF_INIT(4096);
        CLEANUP(buf_done) struct buf networks = BUF_INIT(4096);
        join(r->endpoints, r->endpoint_count, &hosts);
        join_ranges(r->ranges, r->range_count, &ranges);
        join_ranges(r->networks, r->network_count, &networks);
        print_text_cell(&t, r->name);
        print_text_cell(&t, policy_provider_names[r->provider]);
        print_text_cell(&t, r->region);
        print_text_cell(&t, r->country[0] ? r->country : "-");
        print_text_cell(&t, hosts.len ? buf_text(&hosts) : "-");
        print_text_cell(&t, ranges.len ? buf_text(&ranges) : "this machine");
        print_text_cell(&t, networks.len ? buf_text(&networks) : "any");
    }
    return print_table_out(&t, e);
}

static enum err_code print_buckets(const struct policy *p, struct err *e)
{
    static const char *const headings[] = { "BUCKET", "REGION", "FOR", "CLASSES", NULL };
    CLEANUP(print_table_done) struct print_table t = print_table_new(headings);
    for (size_t i = 0; i < p->bucket_count; i++) {
        const struct policy_bucket *b = &p->buckets[i];
        CLEANUP(buf_done) struct buf purposes = BUF_INIT(256);
        CLEANUP(buf_done) struct buf classes = BUF_INIT(256);
        for (size_t k = 0; k < b->purpose_count; k++)
            buf_addf(&purposes, "%s%s", k ? " " : "", policy_purpose_names[b->purposes[k]]);
        for (size_t k = 0; k < b->class_count; k++)
            buf_addf(&classes, "%s%s", k ? " " : "", data_class_names[b->classes[k]]);
        print_text_cell(&t, b->name);
        print_text_cell(&t, b->region);
        print_text_cell(&t, buf_text(&purposes));
        print_text_cell(&t, classes.len ? buf_text(&classes) : "none");
    }
    return print_table_out(&t, e);
}

static enum err_code show_run(struct cli *c, const struct arguments *a, const void *settings, struct err *e)
{
    CLEANUP(cluster_freep) struct cluster *cluster = NULL;
    (void)a, (void)settings;
    if (cli_cluster(c, &cluster, e))
        return e->code;
    if (c->json) {
        CLEANUP(json_donep) json_t *doc = policy_json(&cluster->policy);
        return print_json(doc, e);
    }
    if (print_line(e, "policy %s, sha256:%s", cluster->policy.name, cluster->policy.digest) ||
        print_regions(&cluster->policy, e) || print_line(e, "%s", "") || print_buckets(&cluster->policy, e))
        return e->code;
    return OK;
}

const struct cmd cmd_policy_show = {
    .name = "policy show",
    .args = "",
    .help = "the policy, with what it takes from the clouds that it knows by name",
    .run = show_run,
};
